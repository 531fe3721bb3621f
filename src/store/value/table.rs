//! A hash table that grows and shrinks without a stall: sets, the fields of big hashes, the members of sorted sets.
//!
//! Extendible hashing: a directory over the first bits of the hash leads to segments of at most [`SEGMENT_MAX`]
//! elements. A full segment splits in two, two small neighbours become one, and no call moves more than one segment's
//! elements (once a doubling it copies the directory, 4 bytes for some 250 elements).
//!
//! Within a segment the elements lie side by side in the order of their arrival, with little room to spare; an index of
//! two bytes a slot (seven bits of the hash, nine of position) finds them. That takes about 5 bytes an element beyond
//! the element itself at any size, where one open-addressed table takes up to the element once more.
//!
//! Invariants: `directory` has `2^depth` numbers (none at depth 0); the segment of a hash is the one whose `prefix` are
//! the hash's first `depth` bits; only elements that no split can separate stand in `crowd`, which is empty unless
//! hundreds of hashes agree in their first bits.
//!
//! The table neither hashes nor compares: callers hand in hash, equality and, where elements may move, the hasher. The
//! hash must spread over all its 64 bits, as [`text_hash`] does.

use std::sync::OnceLock;

use ahash::RandomState;

use crate::base::rng::Rng;
use crate::store::object::size_class;

/// Elements of a segment at most: nine bits of position, less the one that marks an index slot without an element.
pub const SEGMENT_MAX: usize = 511;
/// Two neighbours with this many elements together become one.
const MERGE_MAX: usize = SEGMENT_MAX / 2;
/// Segments that lie in one allocation.
const PAGE_SEGMENTS: usize = 512;
/// A segment with fewer elements does not shrink.
const SHRINK_MIN: usize = 16;
/// The least length of an index.
const INDEX_MIN: usize = 8;
/// The directory holds at most one number for this many elements; whoever would need more goes into the crowd.
const ELEMENTS_A_NUMBER: usize = 32;
/// Tries at a place that may be vacant before an element near it is taken.
const RANDOM_TRIES: usize = 128;
/// Bits of the hash that a scan's cursor counts in: few enough for clients that keep numbers as doubles.
const CURSOR_BITS: u32 = 48;

const POSITION_BITS: u32 = 9;
const POSITION_MASK: u16 = (1 << POSITION_BITS) - 1;
const VACANT: u16 = u16::MAX;

/// The hash of a member or field, seeded once a process from the operating system's entropy, so that nobody outside
/// can choose texts that collide.
#[inline]
pub fn text_hash(bytes: &[u8]) -> u64 {
    static SEEDS: OnceLock<RandomState> = OnceLock::new();
    SEEDS.get_or_init(RandomState::new).hash_one(bytes)
}

/// Elements by hash; see the module.
#[derive(Debug)]
pub struct Table<T> {
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

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for Table<T> {
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

impl<T> Table<T> {
    /// An empty table, which holds no memory.
    pub fn new() -> Self {
        Self {
            pages: Vec::new(),
            directory: Vec::new(),
            crowd: Vec::new(),
            depth: 0,
            deepest: 0,
            segments: 0,
            len: 0,
            segment_bytes: 0,
            frame_bytes: 0,
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the allocator holds for the table: not what the elements own.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
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

    /// The element of this hash for which `eq` holds.
    #[inline]
    pub fn get(&self, hash: u64, eq: impl Fn(&T) -> bool) -> Option<&T> {
        let segment = self.segment(self.number(hash))?;
        match segment.find(hash, &eq) {
            Some((_, position)) => segment.items.get(position),
            None => self.crowd.iter().find(|item| eq(item)),
        }
    }

    /// The element of this hash for which `eq` holds, to be changed; its hash must stay.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, eq: impl Fn(&T) -> bool) -> Option<&mut T> {
        let number = self.number(hash);
        let segment = self.pages.get_mut(number / PAGE_SEGMENTS)?.get_mut(number % PAGE_SEGMENTS)?;
        match segment.find(hash, &eq) {
            Some((_, position)) => segment.items.get_mut(position),
            None => self.crowd.iter_mut().find(|item| eq(item)),
        }
    }

    /// Adds an element, which must not be there yet.
    pub fn insert(&mut self, hash: u64, item: T, hasher: impl Fn(&T) -> u64) {
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

    /// Adds an element whose segment is full, or which is the first of all.
    fn insert_with_room_made(&mut self, hash: u64, item: T, hasher: &impl Fn(&T) -> u64) {
        if self.segments == 0 {
            self.push_segment(Segment::new(0, 0));
        }
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
    pub fn remove(&mut self, hash: u64, eq: impl Fn(&T) -> bool, hasher: impl Fn(&T) -> u64) -> Option<T> {
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
        if self.len == 0 {
            self.clear();
        } else if left <= MERGE_MAX / 2 {
            self.merge(number, &hasher);
        }
        Some(item)
    }

    /// All elements, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.pages.iter().flatten().flat_map(|segment| segment.items.iter()).chain(&self.crowd)
    }

    /// Removes all elements and gives back all memory.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// An element at random, all with the same chance unless the table has just lost almost everything.
    pub fn random(&self, rng: &mut Rng) -> Option<&T> {
        if !self.crowd.is_empty() && rng.below(self.len as u64) < self.crowd.len() as u64 {
            return self.crowd.get(rng.below(self.crowd.len() as u64) as usize);
        }
        // A place of a segment that all have the same number of: vacant ones are passed over.
        let places = if self.segments == 1 { self.len - self.crowd.len() } else { SEGMENT_MAX };
        for _ in 0..RANDOM_TRIES {
            let segment = self.segment(rng.below(self.segments as u64) as usize)?;
            if let Some(item) = segment.items.get(rng.below(places as u64) as usize) {
                return Some(item);
            }
        }
        let start = rng.below(self.segments as u64) as usize;
        let mut numbers = (start..self.segments).chain(0..start);
        let segment = numbers.find_map(|number| self.segment(number).filter(|it| !it.items.is_empty()))?;
        segment.items.get(rng.below(segment.items.len() as u64) as usize)
    }

    /// One step of a walk through all elements in the order of their hashes: calls `emit` for about `count` elements from
    /// `cursor` on (0 at the beginning) and gives the cursor to go on with, 0 at the end. Whatever is in the table from
    /// the beginning of a walk to its end is emitted exactly once, however the table grows or shrinks meanwhile.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        hasher: impl Fn(&T) -> u64,
        mut emit: impl FnMut(&T),
    ) -> u64 {
        const SPACE: u64 = 1 << CURSOR_BITS;
        let place = |item: &T| hasher(item) >> (u64::BITS - CURSOR_BITS);
        let mut at = cursor;
        let mut left = count.max(1);
        while at < SPACE {
            let Some(segment) = self.segment(self.number(at << (u64::BITS - CURSOR_BITS))) else { break };
            let width = SPACE >> segment.depth;
            let start = u64::from(segment.prefix) * width;
            let (end, len) = (start + width, segment.items.len());
            // So much of the segment's range as should hold what is left to emit.
            let share = if len <= left { width } else { (width / len as u64 * left as u64).max(1) };
            let stop = end.min(at + share);
            let mut emitted = 0;
            let whole = at == start && stop == end && self.crowd.is_empty();
            for item in segment.items.iter().chain(&self.crowd) {
                if whole || (at..stop).contains(&place(item)) {
                    emit(item);
                    emitted += 1;
                }
            }
            at = stop;
            left = left.saturating_sub(emitted);
            if left == 0 || (stop < end && emitted > 0) {
                return at % SPACE;
            }
        }
        0
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
    pub fn validate(&self, hasher: impl Fn(&T) -> u64) {
        let segments: Vec<&Segment<T>> = self.pages.iter().flatten().collect();
        assert_eq!(segments.len(), self.segments);
        assert_eq!(segments.iter().map(|it| it.items.len()).sum::<usize>() + self.crowd.len(), self.len);
        assert_eq!(segments.iter().map(|it| it.heap_bytes()).sum::<usize>(), self.segment_bytes);
        assert_eq!(self.frame_bytes, self.frame());
        assert_eq!(segments.iter().filter(|it| u32::from(it.depth) == self.depth).count(), self.deepest);
        assert_eq!(self.directory.len(), if self.depth == 0 { 0 } else { 1 << self.depth });
        for (number, segment) in segments.iter().enumerate() {
            let used = segment.index.iter().filter(|&&slot| slot != VACANT).count();
            assert_eq!(used, segment.items.len());
            for (position, item) in segment.items.iter().enumerate() {
                let hash = hasher(item);
                assert_eq!(self.number(hash), number);
                let found = segment.find(hash, &|other| std::ptr::eq(other, item));
                assert_eq!(found.map(|(_, position)| position), Some(position));
            }
        }
    }
}

/// Slots of an index for so many elements: at least a quarter of them stays vacant.
fn index_length(elements: usize) -> usize {
    (elements * 4).div_ceil(3).next_power_of_two().max(INDEX_MIN)
}

/// The elements of one part of the range of hashes.
#[derive(Clone, Debug)]
struct Segment<T> {
    items: Vec<T>,
    /// A tag of the hash and a position in `items` each, found by linear probing from the hash's last bits.
    index: Box<[u16]>,
    /// The first `depth` bits of its elements' hashes.
    prefix: u32,
    depth: u8,
}

impl<T> Segment<T> {
    fn new(prefix: u32, depth: u8) -> Self {
        Self { items: Vec::new(), index: Box::default(), prefix, depth }
    }

    /// A segment that takes so many elements without growing.
    fn with_room(prefix: u32, depth: u8, elements: usize) -> Self {
        let mut segment = Self::new(prefix, depth);
        if elements > 0 {
            segment.items.reserve_exact(fitting::<T>(elements));
            segment.index = vec![VACANT; index_length(elements)].into_boxed_slice();
        }
        segment
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        size_class(self.items.capacity() * size_of::<T>()) + size_class(size_of_val(&*self.index))
    }

    /// Slot and position of an element.
    #[inline]
    fn find(&self, hash: u64, eq: &impl Fn(&T) -> bool) -> Option<(usize, usize)> {
        let mask = self.index.len().wrapping_sub(1);
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
    fn push(&mut self, hash: u64, item: T, hasher: &impl Fn(&T) -> u64) -> usize {
        let len = self.items.len() + 1;
        let has_room = len * 4 <= self.index.len() * 3 && len <= self.items.capacity();
        let added = if has_room { 0 } else { self.grow(len, hasher) };
        self.link(hash, len - 1);
        self.items.push(item);
        added
    }

    /// Makes room for `len` elements; gives the bytes that were allocated.
    fn grow(&mut self, len: usize, hasher: &impl Fn(&T) -> u64) -> usize {
        let before = self.heap_bytes();
        if len * 4 > self.index.len() * 3 {
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

    /// Makes a new index, long enough for so many elements.
    fn reindex(&mut self, elements: usize, hasher: &impl Fn(&T) -> u64) {
        self.index = vec![VACANT; index_length(elements)].into_boxed_slice();
        for position in 0..self.items.len() {
            if let Some(item) = self.items.get(position) {
                self.link(hasher(item), position);
            }
        }
    }

    /// Takes the element at a slot and position out; gives the bytes that were given back.
    fn take(&mut self, slot: usize, position: usize, hasher: &impl Fn(&T) -> u64) -> (T, usize) {
        self.unlink(slot, hasher);
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
}

/// Seven bits of the hash that neither the directory nor the index's slots are chosen by.
#[inline]
fn tag(hash: u64) -> u16 {
    (hash >> 16) as u16 & 0x7f
}

/// Elements that the allocation for `elements` has room for, [`SEGMENT_MAX`] at most.
fn fitting<T>(elements: usize) -> usize {
    let bytes = size_class(elements.max(2) * size_of::<T>());
    (bytes / size_of::<T>().max(1)).min(SEGMENT_MAX).max(elements.min(SEGMENT_MAX))
}

#[cfg(test)]
mod tests;
