//! The row of chunks that a long list is: listpacks, each within the bound of `list-max-listpack-size`.
//!
//! An element that is too large for a chunk has one of its own. No chunk is empty. An index is found by the chunks'
//! counts, from the nearer end, and then by walking in one chunk.
//!
//! Invariants: `len` and `pack_bytes` are the sums over all chunks; `count` is the number of elements of its pack.

use super::{End, Limit, remove_from, take_end};
use crate::store::object::size_class;
use crate::store::prefetch;
use crate::store::value::listpack::{self, At, Element, Pack, PackBuf, Wanted};
use std::collections::VecDeque;

/// What one more element may take beside its text.
const ELEMENT_OVERHEAD_BYTES: usize = 8;

#[derive(Clone, Debug)]
struct Chunk {
    pack: PackBuf,
    count: u32,
}

impl Chunk {
    fn of(pack: PackBuf) -> Self {
        let count = pack.as_pack().len() as u32;
        Self { pack, count }
    }

    fn single(text: &[u8]) -> Self {
        let mut pack = PackBuf::new();
        pack.push_back(text);
        Self { pack, count: 1 }
    }

    fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether an element of `len` bytes may be added.
    #[inline]
    fn fits(&self, len: usize, limit: Limit) -> bool {
        let bytes = self.pack.bytes_len().saturating_add(len).saturating_add(ELEMENT_OVERHEAD_BYTES);
        limit.allows_chunk(bytes, self.count() + 1, self.pack.capacity())
    }
}

/// A long list; see the module.
#[derive(Clone, Debug, Default)]
pub struct Quick {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Bytes that the allocator holds for the packs.
    pack_bytes: usize,
}

impl Quick {
    /// How many elements there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the allocator holds for this list.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        size_class(size_of::<Self>())
            + size_class(self.chunks.capacity() * size_of::<Chunk>())
            + self.pack_bytes
    }

    /// Adds all elements of a pack at the tail, as a chunk.
    pub fn push_chunk(&mut self, pack: PackBuf) {
        self.put_chunk(self.chunks.len(), Chunk::of(pack));
    }

    /// The packs in order.
    pub fn packs(&self) -> impl Iterator<Item = Pack<'_>> {
        self.chunks.iter().map(|chunk| chunk.pack.as_pack())
    }

    /// The packs in order, taken out.
    pub(super) fn into_packs(self) -> impl Iterator<Item = PackBuf> {
        self.chunks.into_iter().map(|chunk| chunk.pack)
    }

    /// The only chunk, if there is one only and it is within the bound; an empty pack if there is none.
    pub(super) fn take_only(&mut self, limit: Limit) -> Option<PackBuf> {
        match self.chunks.len() {
            0 => Some(PackBuf::new()),
            1 => {
                let only = self.chunks.front()?;
                if !limit.allows(only.pack.bytes_len(), only.count()) {
                    return None;
                }
                self.take_chunk(0).map(|chunk| chunk.pack)
            }
            _ => None,
        }
    }

    /// Brings what leads to both ends, and then these, into the cache, one step a call; false if that was the last one.
    #[inline]
    pub(super) fn prefetch_ends(&self, step: usize) -> bool {
        let (front, back) = (self.chunks.front(), self.chunks.back());
        if step == 0 {
            front.into_iter().chain(back).for_each(prefetch::bring_whole);
            return true;
        }
        if let Some(front) = front {
            front.pack.prefetch_front();
        }
        if let Some(back) = back {
            back.pack.prefetch_back();
        }
        false
    }

    /// Whether all elements are in one chunk.
    #[inline]
    pub(super) fn is_short(&self) -> bool {
        self.chunks.len() <= 1
    }

    /// Takes the element at one end out and hands it to `emit` before it goes; false if there is none.
    #[inline]
    pub(super) fn take(&mut self, end: End, emit: impl FnOnce(Element<'_>)) -> bool {
        let outer = self.outer(end);
        let left = self.edit(outer, |chunk| {
            take_end(&mut chunk.pack, end, emit).then(|| {
                chunk.count -= 1;
                chunk.count
            })
        });
        let Some(Some(left)) = left else { return false };
        self.len -= 1;
        if left == 0 {
            self.take_chunk(outer);
        }
        true
    }

    /// The number of the chunk at one end; of none if there is none.
    #[inline]
    fn outer(&self, end: End) -> usize {
        match end {
            End::Left => 0,
            End::Right => self.chunks.len().wrapping_sub(1),
        }
    }

    /// Calls `visit` with up to `count` elements from index `start` on.
    #[inline]
    pub(super) fn visit<'a>(&'a self, start: usize, count: usize, visit: &mut impl FnMut(Element<'a>)) {
        let Some((number, mut inner)) = self.locate(start) else { return };
        let mut left = count;
        for chunk in self.chunks.range(number..) {
            let pack = chunk.pack.as_pack();
            let Some(at) = pack.seek(inner as i64) else { return };
            left -= pack.visit(at, left.min(chunk.count() - inner), &mut *visit);
            if left == 0 {
                return;
            }
            inner = 0;
        }
    }

    /// Adds an element at one end.
    #[inline]
    pub(super) fn push(&mut self, end: End, text: &[u8], limit: Limit) {
        let outer = self.outer(end);
        let added = self.edit(outer, |chunk| {
            if !chunk.fits(text.len(), limit) {
                return false;
            }
            match end {
                End::Left => chunk.pack.push_front(text),
                End::Right => chunk.pack.push_back(text),
            }
            chunk.count += 1;
            true
        });
        if added == Some(true) {
            self.len += 1;
        } else {
            let at = if end == End::Left { 0 } else { self.chunks.len() };
            self.put_chunk(at, Chunk::single(text));
        }
    }

    /// The element of this index; negative ones count from the tail.
    pub(super) fn get(&self, index: i64) -> Option<Element<'_>> {
        let (chunk, inner) = self.locate(self.resolve(index)?)?;
        let pack = self.chunks.get(chunk)?.pack.as_pack();
        pack.seek(inner as i64).map(|at| pack.get(at))
    }

    fn resolve(&self, index: i64) -> Option<usize> {
        let index = if index < 0 { index.checked_add_unsigned(self.len as u64)? } else { index };
        usize::try_from(index).ok().filter(|index| *index < self.len)
    }

    /// The chunk that holds an index, and the index within it.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut left = index;
            for (number, chunk) in self.chunks.iter().enumerate() {
                if left < chunk.count() {
                    return Some((number, left));
                }
                left -= chunk.count();
            }
        } else {
            let mut first = self.len;
            for (number, chunk) in self.chunks.iter().enumerate().rev() {
                first -= chunk.count();
                if index >= first {
                    return Some((number, index - first));
                }
            }
        }
        None
    }

    /// All elements, from either end.
    pub(super) fn iter(&self) -> QuickIter<'_> {
        let nothing = Pack::of(b"").iter();
        QuickIter {
            chunks: &self.chunks,
            next: 0,
            end: self.chunks.len(),
            front: nothing.clone(),
            back: nothing,
        }
    }

    /// The elements from this index on.
    pub(super) fn iter_from(&self, start: usize) -> QuickIter<'_> {
        let mut iter = self.iter();
        if let Some((number, inner)) = self.locate(start)
            && let Some(chunk) = self.chunks.get(number)
        {
            let pack = chunk.pack.as_pack();
            iter.next = number + 1;
            iter.front = pack.seek(inner as i64).map_or(iter.front, |at| pack.iter_from(at));
        } else {
            iter.next = iter.end;
        }
        iter
    }

    /// Puts `text` in the place of the element of this index; false if there is none.
    pub(super) fn set(&mut self, index: i64, text: &[u8], limit: Limit) -> bool {
        let Some((number, inner)) = self.resolve(index).and_then(|index| self.locate(index)) else {
            return false;
        };
        let replaced = self.edit(number, |chunk| {
            let at = chunk.pack.as_pack().seek(inner as i64)?;
            if chunk.count == 1 || chunk.fits(text.len(), limit) {
                chunk.pack.replace(at, text);
                return Some(true);
            }
            chunk.pack.remove(at, 1);
            chunk.count -= 1;
            Some(false)
        });
        match replaced.flatten() {
            None => return false,
            Some(true) => {}
            Some(false) => {
                self.len -= 1;
                let at = self.chunks.get(number).and_then(|chunk| chunk.pack.as_pack().seek(inner as i64));
                self.place(number, at, text, limit);
            }
        }
        true
    }

    /// Adds `text` next to the first element that is `pivot`.
    pub(super) fn insert(&mut self, pivot: &[u8], side: End, text: &[u8], limit: Limit) -> bool {
        let found = self.chunks.iter().enumerate().find_map(|(number, chunk)| {
            let pack = chunk.pack.as_pack();
            let at = pack.find(pack.first()?, pivot, 0)?;
            Some((number, if side == End::Left { Some(at) } else { pack.next(at) }))
        });
        match found {
            Some((number, at)) => {
                self.place(number, at, text, limit);
                true
            }
            None => false,
        }
    }

    /// Removes up to `count` elements that are `text`, the first ones from one end; says how many.
    pub(super) fn remove(&mut self, text: &[u8], from: End, count: usize, limit: Limit) -> usize {
        let wanted = Wanted::of(text);
        let mut removed = 0;
        let mut left = self.chunks.len();
        let mut number = if from == End::Left { 0 } else { left.wrapping_sub(1) };
        while left > 0 && removed < count {
            left -= 1;
            let here = self.edit(number, |chunk| {
                let here = remove_from(&mut chunk.pack, wanted, from, count - removed);
                chunk.count -= here as u32;
                here
            });
            let here = here.unwrap_or(0);
            removed += here;
            self.len -= here;
            let gone = here > 0 && self.drop_if_empty(number);
            // Chunks that have lost much join; the one that joins was looked at before.
            let joined = here > 0
                && !gone
                && match from {
                    End::Left => number > 0 && self.join(number - 1, limit),
                    End::Right => self.join(number, limit),
                };
            number = match from {
                End::Left if gone || joined => number,
                End::Left => number + 1,
                End::Right => number.wrapping_sub(1),
            };
        }
        removed
    }

    /// Removes up to `count` elements from this index on.
    pub(super) fn remove_range(&mut self, start: usize, count: usize) {
        let mut left = count.min(self.len.saturating_sub(start));
        let Some((mut number, mut inner)) = self.locate(start) else {
            return;
        };
        while left > 0 {
            let removed = self.edit(number, |chunk| {
                let here = left.min(chunk.count() - inner);
                if here < chunk.count()
                    && let Some(at) = chunk.pack.as_pack().seek(inner as i64)
                {
                    chunk.pack.remove(at, here);
                }
                chunk.count -= here as u32;
                here
            });
            let Some(removed) = removed else {
                break;
            };
            left -= removed;
            self.len -= removed;
            if !self.drop_if_empty(number) {
                number += 1;
            }
            inner = 0;
        }
    }

    /// Adds an element before the one at `at` of a chunk, or behind its last one.
    fn place(&mut self, number: usize, at: Option<At>, text: &[u8], limit: Limit) {
        let first = self.chunks.get(number).and_then(|chunk| chunk.pack.as_pack().first());
        let here = self.chunks.get(number).is_some_and(|chunk| chunk.fits(text.len(), limit));
        match at {
            Some(at) if here => {
                self.add(number, |pack| {
                    pack.insert_before(at, text);
                });
            }
            None if here => self.add(number, |pack| pack.push_back(text)),
            Some(at) if Some(at) != first => {
                if let Some(behind) = self.edit(number, |chunk| chunk.split_off(at)) {
                    self.len -= behind.count();
                    self.put_chunk(number + 1, behind);
                    self.place_between(number + 1, text, limit);
                }
                self.join(number + 1, limit);
                if let Some(before) = number.checked_sub(1) {
                    self.join(before, limit);
                }
            }
            Some(_) => self.place_between(number, text, limit),
            None => self.place_between(number + 1, text, limit),
        }
    }

    /// Adds an element where chunk `number` begins: to one of its neighbours, or as a chunk.
    fn place_between(&mut self, number: usize, text: &[u8], limit: Limit) {
        let fits = |chunk: Option<&Chunk>| chunk.is_some_and(|chunk| chunk.fits(text.len(), limit));
        let before = number.wrapping_sub(1);
        if fits(self.chunks.get(before)) {
            self.add(before, |pack| pack.push_back(text));
        } else if fits(self.chunks.get(number)) {
            self.add(number, |pack| pack.push_front(text));
        } else {
            self.put_chunk(number, Chunk::single(text));
        }
    }

    /// Joins a chunk with the next one if both together are within the bound.
    fn join(&mut self, number: usize, limit: Limit) -> bool {
        let (Some(one), Some(other)) = (self.chunks.get(number), self.chunks.get(number + 1)) else {
            return false;
        };
        let bytes = one.pack.bytes_len().saturating_add(other.pack.bytes_len());
        if !limit.allows_chunk(bytes, one.count() + other.count(), one.pack.capacity()) {
            return false;
        }
        if let Some(other) = self.take_chunk(number + 1) {
            self.edit(number, |chunk| {
                chunk.pack.append(other.pack.as_pack());
                chunk.count += other.count;
            });
            self.len += other.count();
        }
        true
    }

    /// Adds one element to a chunk.
    fn add(&mut self, number: usize, how: impl FnOnce(&mut PackBuf)) {
        self.edit(number, |chunk| {
            how(&mut chunk.pack);
            chunk.count += 1;
        });
        self.len += 1;
    }

    fn put_chunk(&mut self, number: usize, chunk: Chunk) {
        if chunk.count > 0 {
            self.len += chunk.count();
            self.pack_bytes += chunk.pack.capacity_bytes();
            self.chunks.insert(number.min(self.chunks.len()), chunk);
        }
    }

    fn take_chunk(&mut self, number: usize) -> Option<Chunk> {
        let chunk = self.chunks.remove(number)?;
        self.len -= chunk.count();
        self.pack_bytes -= chunk.pack.capacity_bytes();
        if self.chunks.len() * 4 <= self.chunks.capacity() {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        Some(chunk)
    }

    fn drop_if_empty(&mut self, number: usize) -> bool {
        let empty = self.chunks.get(number).is_some_and(|chunk| chunk.count == 0);
        if empty {
            self.take_chunk(number);
        }
        empty
    }

    /// Changes one chunk and keeps the bytes in step; the number of elements is the caller's.
    #[inline]
    fn edit<R>(&mut self, number: usize, how: impl FnOnce(&mut Chunk) -> R) -> Option<R> {
        let chunk = self.chunks.get_mut(number)?;
        let before = chunk.pack.capacity();
        let result = how(chunk);
        let after = chunk.pack.capacity();
        if after != before {
            self.pack_bytes = self.pack_bytes - size_class(before) + size_class(after);
        }
        Some(result)
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        for chunk in &self.chunks {
            assert!(Pack::check(chunk.pack.as_pack().bytes()).is_some());
            assert_eq!(chunk.pack.as_pack().len(), chunk.count());
            assert!(chunk.count > 0, "an empty chunk");
        }
        assert_eq!(self.chunks.iter().map(Chunk::count).sum::<usize>(), self.len);
        assert_eq!(
            self.chunks.iter().map(|chunk| chunk.pack.capacity_bytes()).sum::<usize>(),
            self.pack_bytes
        );
    }
}

impl Chunk {
    fn split_off(&mut self, at: At) -> Self {
        let behind = Self::of(self.pack.split_off(at));
        self.count -= behind.count;
        behind
    }
}

/// The elements of a long list in order, from either end.
#[derive(Clone, Debug)]
pub struct QuickIter<'a> {
    chunks: &'a VecDeque<Chunk>,
    /// Chunks in `next..end` are untouched; what is left of those around them is in `front` and `back`.
    next: usize,
    end: usize,
    front: listpack::Iter<'a>,
    back: listpack::Iter<'a>,
}

impl<'a> Iterator for QuickIter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            if let Some(element) = self.front.next() {
                return Some(element);
            }
            if self.next >= self.end {
                return self.back.next();
            }
            self.front = self.chunks.get(self.next)?.pack.as_pack().iter();
            self.next += 1;
        }
    }
}

impl DoubleEndedIterator for QuickIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(element) = self.back.next_back() {
                return Some(element);
            }
            if self.next >= self.end {
                return self.front.next_back();
            }
            self.end -= 1;
            self.back = self.chunks.get(self.end)?.pack.as_pack().iter();
        }
    }
}
