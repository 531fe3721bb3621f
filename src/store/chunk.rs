//! A small unordered set of handles, packed: three bytes each as long as no handle needs four.
//!
//! A handle needs four once its database has more than 4096 blocks in one shard, some 250 MB; until then the expiry index
//! costs a quarter less. What a chunk holds is counted by the allocator's size classes, and its room is kept near its
//! length: a set that shrank by a quarter gives back what it no longer needs.

use super::arena::Handle;
use super::object::size_class;

/// Bytes of a narrow handle.
const NARROW: usize = 3;
const WIDE: usize = 4;
const NARROW_MAX: u32 = 1 << 24;
/// Least room that is made at once.
const GROWTH_MIN_BYTES: usize = 32;
/// Room below which the allocator's classes are coarse.
const COARSE_BYTES: usize = 128;

// A full chunk, narrow or wide, is one of the allocator's classes.
const _: () = assert!(size_class(Chunk::MAX * NARROW) == Chunk::MAX * NARROW);
const _: () = assert!(size_class(Chunk::MAX * WIDE) == Chunk::MAX * WIDE);

/// A packed set of handles.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    wide: bool,
}

impl Chunk {
    /// Handles for which room is made at most, as long as there are no more.
    pub(super) const MAX: usize = 256;

    /// A chunk that holds `handles`.
    pub(super) fn of(handles: &[Handle]) -> Self {
        let mut chunk = Self::default();
        chunk.fill(handles);
        chunk
    }

    /// Handles in it.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.width()
    }

    /// No handles in it.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that the allocator holds for it.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        if self.bytes.capacity() == 0 { 0 } else { size_class(self.bytes.capacity()) }
    }

    /// A handle by its place.
    pub(super) fn get(&self, at: usize) -> Handle {
        read(&self.bytes[at * self.width()..][..self.width()])
    }

    /// All handles.
    pub(super) fn iter(&self) -> impl Iterator<Item = Handle> + '_ {
        self.bytes.chunks_exact(self.width()).map(read)
    }

    /// Adds a handle.
    pub(super) fn push(&mut self, handle: Handle) {
        if handle.bits() >= NARROW_MAX && !self.wide {
            let handles: Vec<Handle> = self.iter().collect();
            self.wide = true;
            self.fill(&handles);
        }
        let width = self.width();
        let wanted = self.bytes.len() + width;
        if wanted > self.bytes.capacity() {
            let grown = (self.bytes.len() + self.bytes.len() / 4).clamp(GROWTH_MIN_BYTES, Self::MAX * width);
            let grown = grown.max(wanted);
            self.bytes.reserve_exact(size_class(grown) - self.bytes.len());
        }
        self.bytes.extend_from_slice(&handle.bits().to_le_bytes()[..width]);
    }

    /// Removes a handle; false if it is not there.
    pub(super) fn remove(&mut self, handle: Handle) -> bool {
        let Some(at) = self.iter().position(|other| other == handle) else { return false };
        let width = self.width();
        let last = self.bytes.len() - width;
        self.bytes.copy_within(last.., at * width);
        self.bytes.truncate(last);
        true
    }

    /// Whether so much of its room is free that tightening gives some back: a quarter, or half where classes are coarse.
    pub(super) fn is_loose(&self) -> bool {
        let (used, room) = (self.bytes.len(), self.bytes.capacity());
        room > GROWTH_MIN_BYTES && used <= if room <= COARSE_BYTES { room / 2 } else { room / 4 * 3 }
    }

    /// Gives back room beyond what a few more handles need.
    pub(super) fn tighten(&mut self) {
        let wanted = if self.bytes.is_empty() { 0 } else { size_class(self.bytes.len()) };
        self.bytes.shrink_to(wanted);
    }

    /// Moves the last `count` handles, which must be there, into `out`; its room stays.
    pub(super) fn take_last(&mut self, count: usize, out: &mut Vec<Handle>) {
        let from = self.bytes.len() - count * self.width();
        out.extend(self.bytes[from..].chunks_exact(self.width()).map(read));
        self.bytes.truncate(from);
    }

    /// Removes those of which `keep` is false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(Handle) -> bool) {
        let width = self.width();
        let mut kept = 0;
        for at in (0..self.bytes.len()).step_by(width) {
            if keep(read(&self.bytes[at..at + width])) {
                // Byte by byte: so few are not worth a call.
                for byte in at..at + width {
                    self.bytes[kept] = self.bytes[byte];
                    kept += 1;
                }
            }
        }
        self.bytes.truncate(kept);
    }

    /// Removes all; its room goes back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn fill(&mut self, handles: &[Handle]) {
        self.wide |= handles.iter().any(|handle| handle.bits() >= NARROW_MAX);
        let width = self.width();
        self.bytes = Vec::with_capacity(size_class(handles.len() * width));
        for handle in handles {
            self.bytes.extend_from_slice(&handle.bits().to_le_bytes()[..width]);
        }
    }

    #[inline]
    fn width(&self) -> usize {
        if self.wide { WIDE } else { NARROW }
    }
}

#[inline]
fn read(bytes: &[u8]) -> Handle {
    let mut bits = [0; WIDE];
    bits[..bytes.len()].copy_from_slice(bytes);
    Handle::from_bits(u32::from_le_bytes(bits))
}

#[cfg(test)]
mod tests {
    use super::{Chunk, NARROW_MAX};
    use crate::store::arena::Handle;

    fn numbers(chunk: &Chunk) -> Vec<u32> {
        let mut numbers: Vec<u32> = chunk.iter().map(Handle::bits).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn handles_that_need_four_bytes_widen_what_is_there() {
        let mut chunk = Chunk::default();
        (0..256).for_each(|number| chunk.push(Handle::from_bits(number)));
        assert_eq!((chunk.len(), chunk.heap_bytes()), (256, 768));
        let wide = [NARROW_MAX - 1, NARROW_MAX, u32::MAX - 1];
        wide.iter().for_each(|&number| chunk.push(Handle::from_bits(number)));
        assert_eq!(numbers(&chunk), (0..256).chain(wide).collect::<Vec<u32>>());
        assert!(chunk.remove(Handle::from_bits(NARROW_MAX)) && !chunk.remove(Handle::from_bits(NARROW_MAX)));
        chunk.retain(|handle| handle.bits() % 2 == 1);
        assert_eq!(chunk.len(), 129);
        assert!(chunk.is_loose());
        chunk.tighten();
        assert!(chunk.heap_bytes() <= 640, "{}", chunk.heap_bytes());
        assert_eq!(Chunk::of(&[Handle::from_bits(NARROW_MAX)]).get(0).bits(), NARROW_MAX);
        chunk.clear();
        assert_eq!((chunk.is_empty(), chunk.heap_bytes()), (true, 0));
    }
}
