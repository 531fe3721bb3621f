//! The elements of one part of the range of hashes, side by side in the order of their arrival, with an index of two
//! bytes a slot that finds them. A handful of elements has none: they are looked at one after the other.
//!
//! Never: more than [`SEGMENT_MAX`] elements; whoever adds one asks first.

use crate::store::object::size_class;
use crate::store::prefetch;

/// Elements of a segment at most: nine bits of position, less the one that marks an index slot without an element.
pub const SEGMENT_MAX: usize = 511;
/// A segment with fewer elements does not shrink.
const SHRINK_MIN: usize = 16;
/// The most elements that have no index.
const UNINDEXED_MAX: usize = 4;

const POSITION_BITS: u32 = 9;
const POSITION_MASK: u16 = (1 << POSITION_BITS) - 1;
/// An index slot without an element.
const VACANT: u16 = u16::MAX;

/// An index for so many elements: at least a quarter of its slots stays vacant. A handful gets none.
fn new_index(elements: usize) -> Box<[u16]> {
    if elements <= UNINDEXED_MAX {
        return Box::default();
    }
    vec![VACANT; (elements * 4).div_ceil(3).next_power_of_two()].into_boxed_slice()
}

/// The elements of one part of the range of hashes.
#[derive(Clone, Debug)]
pub(super) struct Segment<T> {
    pub(super) items: Vec<T>,
    /// A tag of the hash and a position in `items` each, found by linear probing from the hash's last bits; empty only
    /// while there are at most [`UNINDEXED_MAX`] elements.
    index: Box<[u16]>,
    /// The first `depth` bits of its elements' hashes.
    pub(super) prefix: u32,
    pub(super) depth: u8,
}

impl<T> Segment<T> {
    pub(super) fn new(prefix: u32, depth: u8) -> Self {
        Self { items: Vec::new(), index: Box::default(), prefix, depth }
    }

    /// A segment that takes so many elements without growing.
    pub(super) fn with_room(prefix: u32, depth: u8, elements: usize) -> Self {
        let mut segment = Self::new(prefix, depth);
        if elements > 0 {
            segment.items.reserve_exact(fitting::<T>(elements));
            segment.index = new_index(elements);
        }
        segment
    }

    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        size_class(self.items.capacity() * size_of::<T>()) + size_class(size_of_val(&*self.index))
    }

    /// As [`super::Table::prefetch`].
    #[inline]
    pub(super) fn prefetch(&self, hash: u64, step: usize) -> bool {
        let mask = self.index.len().wrapping_sub(1);
        let home = hash as usize & mask;
        if step == 0 {
            self.index.get(home).inspect(|slot| prefetch::bring_start(*slot));
            return true;
        }
        let behind = self.index.get(home..).unwrap_or_default();
        let likely = behind
            .iter()
            .take_while(|entry| **entry != VACANT)
            .find(|entry| **entry >> POSITION_BITS == tag(hash))
            .map_or(0, |entry| usize::from(entry & POSITION_MASK));
        self.items.get(likely).inspect(|item| prefetch::bring_whole(*item));
        false
    }

    /// Slot and position of an element.
    #[inline]
    pub(super) fn find(&self, hash: u64, eq: &impl Fn(&T) -> bool) -> Option<(usize, usize)> {
        if self.index.is_empty() {
            return self.items.iter().position(eq).map(|position| (0, position));
        }
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = *self.index.get(slot)?;
            if entry == VACANT {
                return None;
            }
            let position = usize::from(entry & POSITION_MASK);
            if entry >> POSITION_BITS == tag(hash) && self.items.get(position).is_some_and(eq) {
                return Some((slot, position));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Adds an element; there must be fewer than [`SEGMENT_MAX`]. Gives the bytes that were allocated for it.
    #[inline]
    pub(super) fn push(&mut self, hash: u64, item: T, hasher: &impl Fn(&T) -> u64) -> usize {
        let len = self.items.len() + 1;
        let has_room = self.is_indexed_for(len) && len <= self.items.capacity();
        let added = if has_room { 0 } else { self.grow(len, hasher) };
        self.link(hash, len - 1);
        self.items.push(item);
        added
    }

    /// Whether so many elements need no longer index.
    #[inline]
    fn is_indexed_for(&self, len: usize) -> bool {
        len * 4 <= self.index.len() * 3 || (self.index.is_empty() && len <= UNINDEXED_MAX)
    }

    /// Makes room for `len` elements; gives the bytes that were allocated.
    fn grow(&mut self, len: usize, hasher: &impl Fn(&T) -> u64) -> usize {
        let before = self.heap_bytes();
        if !self.is_indexed_for(len) {
            self.reindex(len, hasher);
        }
        if len > self.items.capacity() {
            self.items.reserve_exact(fitting::<T>(len + len / 8) - self.items.len());
        }
        self.heap_bytes() - before
    }

    /// Enters an element's position into the index, which has room.
    fn link(&mut self, hash: u64, position: usize) {
        let mask = self.index.len().wrapping_sub(1);
        let mut slot = hash as usize & mask;
        while let Some(entry) = self.index.get_mut(slot) {
            if *entry == VACANT {
                *entry = tag(hash) << POSITION_BITS | position as u16;
                return;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Makes a new index, long enough for so many elements, which are no fewer than there are.
    fn reindex(&mut self, elements: usize, hasher: &impl Fn(&T) -> u64) {
        self.index = new_index(elements);
        for position in 0..self.items.len() {
            if let Some(item) = self.items.get(position) {
                self.link(hasher(item), position);
            }
        }
    }

    /// Takes the element at a slot and position out; gives the bytes that were given back.
    pub(super) fn take(&mut self, slot: usize, position: usize, hasher: &impl Fn(&T) -> u64) -> (T, usize) {
        if !self.index.is_empty() {
            self.unlink(slot, hasher);
        }
        let item = self.items.swap_remove(position);
        if let Some(moved) = self.items.get(position) {
            let mask = self.index.len().wrapping_sub(1);
            let old = self.items.len() as u16;
            let mut slot = hasher(moved) as usize & mask;
            while let Some(entry) = self.index.get_mut(slot) {
                if *entry & POSITION_MASK == old {
                    *entry = *entry & !POSITION_MASK | position as u16;
                    break;
                }
                slot = (slot + 1) & mask;
            }
        }
        let len = self.items.len();
        if len * 4 >= self.items.capacity() || self.items.capacity() < SHRINK_MIN {
            return (item, 0);
        }
        let before = self.heap_bytes();
        self.items.shrink_to(fitting::<T>(len + len / 2 + 1));
        self.reindex(len + len / 2 + 1, hasher);
        // An index that had shrunk before may be as long as it was; it is never longer.
        (item, before.saturating_sub(self.heap_bytes()))
    }

    /// Vacates a slot, and moves those behind it up that would not be found any more.
    fn unlink(&mut self, slot: usize, hasher: &impl Fn(&T) -> u64) {
        let mask = self.index.len().wrapping_sub(1);
        let mut hole = slot;
        let mut at = (slot + 1) & mask;
        while let Some(&entry) = self.index.get(at).filter(|entry| **entry != VACANT) {
            let item = self.items.get(usize::from(entry & POSITION_MASK));
            let home = item.map_or(at, |item| hasher(item) as usize & mask);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.index[hole] = entry;
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.index[hole] = VACANT;
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub(super) fn validate(&self, hasher: &impl Fn(&T) -> u64) {
        let indexed = self.index.iter().filter(|&&slot| slot != VACANT).count();
        assert!(indexed == self.items.len() || self.index.is_empty() && self.items.len() <= UNINDEXED_MAX);
        for (position, item) in self.items.iter().enumerate() {
            let found = self.find(hasher(item), &|other| std::ptr::eq(other, item));
            assert_eq!(found.map(|(_, position)| position), Some(position));
        }
    }
}

/// Seven bits of the hash that neither the directory nor the index's slots are chosen by.
#[inline]
fn tag(hash: u64) -> u16 {
    (hash >> 16) as u16 & 0x7f
}

/// Elements that the allocation for `elements` has room for, [`SEGMENT_MAX`] at most.
fn fitting<T>(elements: usize) -> usize {
    let bytes = size_class(elements.max(1) * size_of::<T>());
    (bytes / size_of::<T>().max(1)).min(SEGMENT_MAX).max(elements.min(SEGMENT_MAX))
}
