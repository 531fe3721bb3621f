//! Values that do not fit an entry's slot, each an allocation (or more) of its own: long strings, collections that
//! are not small, and everything under a key above 255 bytes.

use super::prefetch;
use super::value::Value;

/// Values larger than this are dropped on a background thread, not by the command that removes them.
pub const BACKGROUND_DROP_BYTES: usize = 1024 * 1024;

/// A value together with the key, where the key is too long for the entry.
#[derive(Debug)]
pub struct Object {
    /// The key, if the entry does not hold it.
    pub key: Option<Box<[u8]>>,
    /// The value.
    pub value: Value,
    /// Bytes that are allocated for a string beyond its length, so that it can grow in place.
    pub spare_bytes: usize,
}

impl Object {
    /// Bytes that the allocator holds for this object.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| size_class(key.len()));
        key + match &self.value {
            Value::Str(bytes) => size_class(bytes.len() + self.spare_bytes),
            value => value.heap_bytes(),
        }
    }
}

/// The bytes that jemalloc takes for an allocation of `bytes`: four classes a doubling, 16 bytes apart up to 128.
#[inline]
pub const fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    let step = bytes.next_power_of_two() / 8;
    bytes.next_multiple_of(step)
}

/// Cells of a page: 4 KiB, which is one of jemalloc's classes.
const PAGE_CELLS: usize = 64;

#[derive(Debug, Default)]
struct Page {
    /// [`PAGE_CELLS`] of them, or none while none is held.
    cells: Vec<Option<Object>>,
    held: usize,
}

/// Objects by number; numbers are reused. The table comes and goes in pages, so that growing copies nothing of note.
#[derive(Debug, Default)]
pub struct Objects {
    pages: Vec<Page>,
    vacant: Vec<u32>,
    /// Numbers below this were given out before.
    next: u32,
    pages_held: usize,
    bytes: usize,
}

impl Objects {
    /// Bytes held by all objects and their table.
    pub fn bytes(&self) -> usize {
        self.bytes + self.pages_held * PAGE_CELLS * size_of::<Option<Object>>()
    }

    /// Stores an object and says its number.
    pub fn insert(&mut self, object: Object) -> u32 {
        self.bytes += object.heap_bytes();
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let at = number as usize;
        if at / PAGE_CELLS == self.pages.len() {
            self.pages.push(Page::default());
        }
        let page = &mut self.pages[at / PAGE_CELLS];
        if page.held == 0 {
            page.cells.reserve_exact(PAGE_CELLS);
            page.cells.resize_with(PAGE_CELLS, || None);
            self.pages_held += 1;
        }
        page.held += 1;
        page.cells[at % PAGE_CELLS] = Some(object);
        number
    }

    /// Takes an object out.
    pub fn remove(&mut self, number: u32) -> Option<Object> {
        let page = self.pages.get_mut(number as usize / PAGE_CELLS)?;
        let object = page.cells.get_mut(number as usize % PAGE_CELLS)?.take()?;
        page.held -= 1;
        if page.held == 0 {
            page.cells = Vec::new();
            self.pages_held -= 1;
        }
        self.bytes -= object.heap_bytes();
        self.vacant.push(number);
        Some(object)
    }

    /// Edits an object in its place; gives what `edit` gives, and the object's bytes before and after.
    #[inline]
    pub fn edit<R>(&mut self, number: u32, edit: impl FnOnce(&mut Object) -> R) -> Option<(R, usize, usize)> {
        let page = self.pages.get_mut(number as usize / PAGE_CELLS)?;
        let object = page.cells.get_mut(number as usize % PAGE_CELLS)?.as_mut()?;
        let before = object.heap_bytes();
        let result = edit(object);
        let after = object.heap_bytes();
        self.bytes = self.bytes + after - before;
        Some((result, before, after))
    }

    /// The object of this number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Object> {
        let page = self.pages.get(number as usize / PAGE_CELLS)?;
        page.cells.get(number as usize % PAGE_CELLS)?.as_ref()
    }

    /// Brings the object of this number into the cache, but not what it owns.
    #[inline]
    pub fn prefetch(&self, number: u32) {
        let page = self.pages.get(number as usize / PAGE_CELLS);
        if let Some(cell) = page.and_then(|page| page.cells.get(number as usize % PAGE_CELLS)) {
            prefetch::bring_whole(cell);
        }
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self, entries: usize) {
        let held: Vec<&Object> = self.pages.iter().flat_map(|page| page.cells.iter().flatten()).collect();
        assert_eq!((held.len(), self.next as usize - self.vacant.len()), (entries, entries));
        assert_eq!(held.iter().map(|object| object.heap_bytes()).sum::<usize>(), self.bytes);
        assert_eq!(self.pages.iter().filter(|page| page.held > 0).count(), self.pages_held);
    }
}
