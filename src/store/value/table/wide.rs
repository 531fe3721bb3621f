//! A table of many segments: the directory that leads to them, how they split and merge.
//!
//! Invariants: `directory` has `2^depth` numbers (none at depth 0); the segment of a hash is the one whose `prefix` are
//! the hash's first `depth` bits; only elements that no split can separate stand in `crowd`, which is empty unless
//! hundreds of hashes agree in their first bits.

use super::segment::{SEGMENT_MAX, Segment};
use crate::base::rng::Rng;
use crate::store::object::size_class;
use crate::store::prefetch;

/// Two neighbours with this many elements together become one.
const MERGE_MAX: usize = SEGMENT_MAX / 2;
/// Segments that lie in one allocation.
const PAGE_SEGMENTS: usize = 512;
/// The directory holds at most one number for this many elements; whoever would need more goes into the crowd.
const ELEMENTS_A_NUMBER: usize = 32;
/// Tries at a place that may be vacant before an element near it is taken.
const RANDOM_TRIES: usize = 128;

/// A table of many segments.
#[derive(Debug)]
pub(super) struct Wide<T> {
    /// [`PAGE_SEGMENTS`] each, but for the last.
    pages: Vec<Vec<Segment<T>>>,
    /// Numbers of segments by the first `depth` bits of the hash.
    directory: Vec<u32>,
    crowd: Vec<T>,
    depth: u32,
    /// Segments that have the directory's depth.
    deepest: usize,
    segments: usize,
    len: usize,
    /// Allocated by segments.
    segment_bytes: usize,
    /// Allocated by all else: counted anew when that changes, which is seldom.
    frame_bytes: usize,
}

impl<T: Clone> Clone for Wide<T> {
    /// A copy with no more room than its elements need.
    fn clone(&self) -> Self {
        let copy = |page: &Vec<Segment<T>>| {
            let mut copied = Vec::with_capacity(page.capacity());
            copied.extend(page.iter().cloned());
            copied
        };
        let pages: Vec<Vec<Segment<T>>> = self.pages.iter().map(copy).collect();
        let segment_bytes = pages.iter().flatten().map(Segment::heap_bytes).sum();
        let (directory, crowd) = (self.directory.clone(), self.crowd.clone());
        let mut copied = Self { pages, directory, crowd, segment_bytes, ..*self };
        copied.count_frame();
        copied
    }
}

impl<T> Wide<T> {
    /// A table of one segment, which has the whole range of hashes.
    pub(super) fn of(segment: Segment<T>) -> Self {
        let mut table = Self {
            pages: Vec::new(),
            directory: Vec::new(),
            crowd: Vec::new(),
            depth: 0,
            deepest: 0,
            segments: 0,
            len: segment.items.len(),
            segment_bytes: 0,
            frame_bytes: 0,
        };
        table.push_segment(segment);
        table.count_frame();
        table
    }

    /// The only segment, if there is but one and nothing else.
    pub(super) fn take_only(&mut self) -> Option<Segment<T>> {
        if self.segments > 1 || !self.crowd.is_empty() { None } else { self.take_segment(0) }
    }

    /// The segment that a hash belongs to.
    #[inline]
    pub(super) fn segment_of(&self, hash: u64) -> Option<&Segment<T>> {
        self.segment(self.number(hash))
    }

    /// Elements that no split can separate.
    pub(super) fn crowd(&self) -> &[T] {
        &self.crowd
    }

    /// Number of elements.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that the allocator holds for the table: not what the elements own.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        self.segment_bytes + self.frame_bytes
    }

    fn count_frame(&mut self) {
        self.frame_bytes = self.frame();
    }

    fn frame(&self) -> usize {
        let page = |page: &Vec<Segment<T>>| size_class(page.capacity() * size_of::<Segment<T>>());
        let full = size_class(PAGE_SEGMENTS * size_of::<Segment<T>>());
        self.pages.last().map_or(0, page)
            + self.pages.len().saturating_sub(1) * full
            + size_class(self.pages.capacity() * size_of::<Vec<Segment<T>>>())
            + size_class(self.directory.capacity() * size_of::<u32>())
            + size_class(self.crowd.capacity() * size_of::<T>())
    }

    /// As [`super::Table::prefetch`].
    #[inline]
    pub(super) fn prefetch(&self, hash: u64, step: usize) -> bool {
        let Some(segment) = self.segment_of(hash) else { return false };
        match step {
            0 => {
                prefetch::bring_whole(segment);
                true
            }
            step => segment.prefetch(hash, step - 1),
        }
    }

    /// The element of this hash for which `eq` holds.
    #[inline]
    pub(super) fn get(&self, hash: u64, eq: impl Fn(&T) -> bool) -> Option<&T> {
        let segment = self.segment(self.number(hash))?;
        match segment.find(hash, &eq) {
            Some((_, position)) => segment.items.get(position),
            None => self.crowd.iter().find(|item| eq(item)),
        }
    }

    /// The element of this hash for which `eq` holds, to be changed; its hash must stay.
    #[inline]
    pub(super) fn get_mut(&mut self, hash: u64, eq: impl Fn(&T) -> bool) -> Option<&mut T> {
        let number = self.number(hash);
        let segment = self.pages.get_mut(number / PAGE_SEGMENTS)?.get_mut(number % PAGE_SEGMENTS)?;
        match segment.find(hash, &eq) {
            Some((_, position)) => segment.items.get_mut(position),
            None => self.crowd.iter_mut().find(|item| eq(item)),
        }
    }

    /// Adds an element, which must not be there yet.
    pub(super) fn insert(&mut self, hash: u64, item: T, hasher: impl Fn(&T) -> u64) {
        self.len += 1;
        let number = self.number(hash);
        match self.segment_mut(number) {
            Some(segment) if segment.items.len() < SEGMENT_MAX => {
                let added = segment.push(hash, item, &hasher);
                self.segment_bytes += added;
            }
            _ => {
                self.insert_with_room_made(hash, item, &hasher);
                self.count_frame();
            }
        }
    }

    /// Adds an element whose segment is full.
    fn insert_with_room_made(&mut self, hash: u64, item: T, hasher: &impl Fn(&T) -> u64) {
        loop {
            let number = self.number(hash);
            let may_split = self.may_split(number);
            match self.segment_mut(number) {
                Some(segment) if segment.items.len() < SEGMENT_MAX => {
                    let added = segment.push(hash, item, hasher);
                    self.segment_bytes += added;
                    return;
                }
                Some(_) if may_split => self.split(number, hasher),
                _ => {
                    self.crowd.push(item);
                    return;
                }
            }
        }
    }

    /// Takes the element of this hash for which `eq` holds out.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        eq: impl Fn(&T) -> bool,
        hasher: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let number = self.number(hash);
        let segment = self.segment_mut(number)?;
        let Some((slot, position)) = segment.find(hash, &eq) else {
            let at = self.crowd.iter().position(&eq)?;
            self.len -= 1;
            return Some(self.crowd.swap_remove(at));
        };
        let (item, given_back) = segment.take(slot, position, &hasher);
        let left = segment.items.len();
        self.segment_bytes -= given_back;
        self.len -= 1;
        if left <= MERGE_MAX / 2 {
            self.merge(number, &hasher);
        }
        Some(item)
    }

    /// All elements, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.pages.iter().flatten().flat_map(|segment| segment.items.iter()).chain(&self.crowd)
    }

    /// An element at random, all with the same chance unless the table has just lost almost everything.
    pub(super) fn random(&self, rng: &mut Rng) -> Option<&T> {
        if !self.crowd.is_empty() && rng.below(self.len as u64) < self.crowd.len() as u64 {
            return self.crowd.get(rng.below(self.crowd.len() as u64) as usize);
        }
        // A place of a segment, of which all have the same number: vacant ones are passed over.
        for _ in 0..RANDOM_TRIES {
            let segment = self.segment(rng.below(self.segments as u64) as usize)?;
            if let Some(item) = segment.items.get(rng.below(SEGMENT_MAX as u64) as usize) {
                return Some(item);
            }
        }
        let start = rng.below(self.segments as u64) as usize;
        let mut numbers = (start..self.segments).chain(0..start);
        let segment = numbers.find_map(|number| self.segment(number).filter(|it| !it.items.is_empty()))?;
        segment.items.get(rng.below(segment.items.len() as u64) as usize)
    }

    /// The number of the segment that a hash belongs to.
    #[inline]
    fn number(&self, hash: u64) -> usize {
        let at = (hash >> 1) >> (u64::BITS - 1 - self.depth);
        self.directory.get(at as usize).map_or(0, |&number| number as usize)
    }

    #[inline]
    fn segment(&self, number: usize) -> Option<&Segment<T>> {
        self.pages.get(number / PAGE_SEGMENTS)?.get(number % PAGE_SEGMENTS)
    }

    #[inline]
    fn segment_mut(&mut self, number: usize) -> Option<&mut Segment<T>> {
        self.pages.get_mut(number / PAGE_SEGMENTS)?.get_mut(number % PAGE_SEGMENTS)
    }

    fn may_split(&self, number: usize) -> bool {
        self.segment(number).is_some_and(|segment| self.len >> segment.depth >= ELEMENTS_A_NUMBER)
    }

    /// Adds a segment and says its number.
    fn push_segment(&mut self, segment: Segment<T>) -> u32 {
        let number = self.segments;
        if number.is_multiple_of(PAGE_SEGMENTS) {
            self.pages.push(Vec::new());
        }
        if let Some(page) = self.pages.last_mut() {
            if page.len() == page.capacity() {
                // The first page grows with the table, the others are one of many.
                page.reserve_exact(if number < PAGE_SEGMENTS { page.len().max(1) } else { PAGE_SEGMENTS });
            }
            self.segment_bytes += segment.heap_bytes();
            self.deepest += usize::from(u32::from(segment.depth) == self.depth);
            page.push(segment);
            self.segments += 1;
        }
        number as u32
    }

    /// Takes a segment out; the last one gets its number.
    fn take_segment(&mut self, number: usize) -> Option<Segment<T>> {
        let mut taken = self.pages.last_mut()?.pop()?;
        if self.pages.last().is_some_and(Vec::is_empty) {
            self.pages.pop();
        }
        self.segments -= 1;
        if number < self.segments {
            self.point(taken.prefix, taken.depth, number as u32);
            std::mem::swap(&mut taken, self.segment_mut(number)?);
        }
        self.segment_bytes -= taken.heap_bytes();
        self.deepest -= usize::from(u32::from(taken.depth) == self.depth);
        Some(taken)
    }

    /// Leads the part of the directory with this prefix to a segment.
    fn point(&mut self, prefix: u32, depth: u8, number: u32) {
        let bits = self.depth - u32::from(depth);
        let start = (prefix as usize) << bits;
        if let Some(part) = self.directory.get_mut(start..start + (1 << bits)) {
            part.fill(number);
        }
    }

    /// Replaces a segment by two of half its range.
    fn split(&mut self, number: usize, hasher: &impl Fn(&T) -> u64) {
        let Some(segment) = self.segment_mut(number) else { return };
        let (prefix, depth, before) = (segment.prefix, segment.depth, segment.heap_bytes());
        let items = std::mem::take(&mut segment.items);
        if u32::from(depth) == self.depth {
            let numbers = if self.directory.is_empty() { &[0][..] } else { &self.directory[..] };
            let mut doubled = Vec::with_capacity(numbers.len() * 2);
            doubled.extend(numbers.iter().flat_map(|&number| [number, number]));
            self.directory = doubled;
            self.depth += 1;
            self.deepest = 0;
        }
        let bit = |hash: u64| hash << depth >> (u64::BITS - 1);
        let highs = items.iter().filter(|item| bit(hasher(item)) == 1).count();
        let mut low = Segment::with_room(prefix << 1, depth + 1, items.len() - highs);
        let mut high = Segment::with_room(prefix << 1 | 1, depth + 1, highs);
        for item in items {
            let hash = hasher(&item);
            // Both were made with room for theirs.
            if bit(hash) == 1 {
                high.push(hash, item, hasher)
            } else {
                low.push(hash, item, hasher)
            };
        }
        self.segment_bytes = self.segment_bytes + low.heap_bytes() - before;
        self.deepest += usize::from(u32::from(depth) + 1 == self.depth);
        if let Some(segment) = self.segment_mut(number) {
            *segment = low;
        }
        let number = self.push_segment(high);
        self.point(prefix << 1 | 1, depth + 1, number);
    }

    /// Makes one segment of this and its neighbour if both are small.
    fn merge(&mut self, number: usize, hasher: &impl Fn(&T) -> u64) {
        let Some(segment) = self.segment(number).filter(|segment| segment.depth > 0) else { return };
        let (prefix, depth, len) = (segment.prefix, segment.depth, segment.items.len());
        let at = ((prefix ^ 1) as usize) << (self.depth - u32::from(depth));
        let neighbour = self.directory.get(at).map_or(0, |&number| number as usize);
        let fits = |other: &Segment<T>| other.depth == depth && other.items.len() + len <= MERGE_MAX;
        if !self.segment(neighbour).is_some_and(fits) {
            return;
        }
        let Some(other) = self.take_segment(neighbour) else { return };
        // The neighbour's number may have gone to this very segment.
        let number = if number == self.segments { neighbour } else { number };
        let is_deepest = u32::from(depth) == self.depth;
        let Some(segment) = self.segment_mut(number) else { return };
        let mut added = 0;
        for item in other.items {
            added += segment.push(hasher(&item), item, hasher);
        }
        segment.prefix = prefix >> 1;
        segment.depth = depth - 1;
        self.segment_bytes += added;
        self.point(prefix >> 1, depth - 1, number as u32);
        self.deepest -= usize::from(is_deepest);
        while self.deepest == 0 && self.depth > 0 {
            self.halve_directory();
        }
        self.count_frame();
    }

    fn halve_directory(&mut self) {
        self.depth -= 1;
        self.directory =
            if self.depth == 0 { Vec::new() } else { self.directory.iter().step_by(2).copied().collect() };
        let depth = self.depth;
        let deepest = |segment: &&Segment<T>| u32::from(segment.depth) == depth;
        self.deepest = self.pages.iter().flatten().filter(deepest).count();
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub(super) fn validate(&self, hasher: impl Fn(&T) -> u64) {
        let segments: Vec<&Segment<T>> = self.pages.iter().flatten().collect();
        assert_eq!(segments.len(), self.segments);
        assert_eq!(segments.iter().map(|it| it.items.len()).sum::<usize>() + self.crowd.len(), self.len);
        assert_eq!(segments.iter().map(|it| it.heap_bytes()).sum::<usize>(), self.segment_bytes);
        assert_eq!(self.frame_bytes, self.frame());
        assert_eq!(segments.iter().filter(|it| u32::from(it.depth) == self.depth).count(), self.deepest);
        assert_eq!(self.directory.len(), if self.depth == 0 { 0 } else { 1 << self.depth });
        for (number, segment) in segments.iter().enumerate() {
            segment.validate(&hasher);
            assert!(segment.items.iter().all(|item| self.number(hasher(item)) == number));
        }
    }
}
