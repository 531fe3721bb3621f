//! Values that do not fit an entry's slot, each an allocation (or more) of its own.
//!
//! Today these are long strings and everything under a key above 255 bytes; every other data type is one more variant
//! of [`Value`] here.

use bytes::Bytes;

/// Values larger than this are dropped on a background thread, not by the command that removes them.
pub const BACKGROUND_DROP_BYTES: usize = 1024 * 1024;

/// A value outside its entry's slot.
#[derive(Debug)]
pub enum Value {
    /// A string; shared with replies that are on their way, never changed while it is.
    Str(Bytes),
}

/// A value together with the key, where the key is too long for the entry.
#[derive(Debug)]
pub struct Object {
    /// The key, if the entry does not hold it.
    pub key: Option<Box<[u8]>>,
    /// The value.
    pub value: Value,
}

impl Object {
    /// Bytes that the allocator holds for this object.
    pub fn heap_bytes(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| size_class(key.len()));
        let Value::Str(bytes) = &self.value;
        key + size_class(bytes.len()) + size_of::<Self>()
    }
}

/// The bytes that jemalloc takes for an allocation of `bytes`: four classes a doubling, 16 bytes apart up to 128.
pub fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    let step = bytes.next_power_of_two() / 8;
    bytes.next_multiple_of(step)
}

/// Objects by number; numbers are reused.
#[derive(Debug, Default)]
pub struct Objects {
    cells: Vec<Option<Object>>,
    vacant: Vec<u32>,
    bytes: usize,
}

impl Objects {
    /// Bytes held by all objects.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stores an object and says its number.
    pub fn insert(&mut self, object: Object) -> u32 {
        self.bytes += object.heap_bytes();
        match self.vacant.pop() {
            Some(number) => {
                self.cells[number as usize] = Some(object);
                number
            }
            None => {
                self.cells.push(Some(object));
                self.cells.len() as u32 - 1
            }
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, number: u32) -> Option<Object> {
        let object = self.cells.get_mut(number as usize)?.take()?;
        self.bytes -= object.heap_bytes();
        self.vacant.push(number);
        Some(object)
    }

    /// The object of this number.
    pub fn get(&self, number: u32) -> Option<&Object> {
        self.cells.get(number as usize)?.as_ref()
    }

    /// Objects held; for tests.
    #[cfg(test)]
    pub fn validate(&self, entries: usize) {
        let held: Vec<&Object> = self.cells.iter().flatten().collect();
        assert_eq!(held.len(), entries);
        assert_eq!(held.iter().map(|object| object.heap_bytes()).sum::<usize>(), self.bytes);
    }
}
