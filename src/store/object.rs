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

/// Cells of a chunk.
const CHUNK: usize = 128;

/// A place for an object.
#[derive(Debug)]
enum Cell {
    Used(Object),
    /// Free; the number of the next free cell, or `END`.
    Free(u32),
}

/// The end of the list of free cells.
const END: u32 = u32::MAX;

/// Objects by number; numbers are reused. Cells come in chunks, so that growth moves no object.
#[derive(Debug)]
pub struct Objects {
    chunks: Vec<Box<[Cell]>>,
    free: u32,
    bytes: usize,
}

impl Default for Objects {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: END, bytes: 0 }
    }
}

impl Objects {
    /// Bytes held by all objects.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stores an object and says its number.
    pub fn insert(&mut self, object: Object) -> u32 {
        if self.free == END {
            let first = (self.chunks.len() * CHUNK) as u32;
            let link =
                |at: u32| if at as usize + 1 < CHUNK { Cell::Free(first + at + 1) } else { Cell::Free(END) };
            self.chunks.push((0..CHUNK as u32).map(link).collect());
            self.free = first;
        }
        self.bytes += object.heap_bytes();
        let number = self.free;
        if let Some(cell) = self.cell(number)
            && let Cell::Free(next) = std::mem::replace(cell, Cell::Used(object))
        {
            self.free = next;
        }
        number
    }

    /// Takes an object out.
    pub fn remove(&mut self, number: u32) -> Option<Object> {
        let free = self.free;
        let cell = self.cell(number)?;
        if matches!(cell, Cell::Free(_)) {
            return None;
        }
        let Cell::Used(object) = std::mem::replace(cell, Cell::Free(free)) else { return None };
        self.free = number;
        self.bytes -= object.heap_bytes();
        Some(object)
    }

    /// The object of this number.
    pub fn get(&self, number: u32) -> Option<&Object> {
        match self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)? {
            Cell::Used(object) => Some(object),
            Cell::Free(_) => None,
        }
    }

    fn cell(&mut self, number: u32) -> Option<&mut Cell> {
        self.chunks.get_mut(number as usize / CHUNK)?.get_mut(number as usize % CHUNK)
    }

    /// Objects held; for tests.
    #[cfg(test)]
    pub fn validate(&self, entries: usize) {
        let cells = self.chunks.iter().flatten();
        let held: Vec<&Object> = cells
            .filter_map(|cell| if let Cell::Used(object) = cell { Some(object) } else { None })
            .collect();
        assert_eq!(held.len(), entries);
        assert_eq!(held.iter().map(|object| object.heap_bytes()).sum::<usize>(), self.bytes);
    }
}
