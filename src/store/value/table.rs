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
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
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
    pub fn heap_bytes(&self) -> usize {
        let page = |page: &Vec<Segment<T>>| size_class(page.capacity() * size_of::<Segment<T>>());
        let last = self.pages.last().map_or(0, page);
        let full = size_class(PAGE_SEGMENTS * size_of::<Segment<T>>());
        self.segment_bytes
            + last
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
        if self.segments == 0 {
            self.push_segment(Segment::new(0, 0));
        }
        loop {
            let number = self.number(hash);
            let may_split = self.may_split(number);
            match self.segment_mut(number) {
                Some(segment) if segment.items.len() < SEGMENT_MAX => {
                    let before = segment.heap_bytes();
                    segment.push(hash, item, &hasher);
                    let after = segment.heap_bytes();
                    self.segment_bytes = self.segment_bytes + after - before;
                    return;
                }
                Some(_) if may_split => self.split(number, &hasher),
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
        let before = segment.heap_bytes();
        let item = segment.take(slot, position, &hasher);
        let (after, left) = (segment.heap_bytes(), segment.items.len());
        self.segment_bytes = self.segment_bytes + after - before;
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
            if bit(hash) == 1 { high.push(hash, item, hasher) } else { low.push(hash, item, hasher) }
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
        let before = segment.heap_bytes();
        for item in other.items {
            segment.push(hasher(&item), item, hasher);
        }
        segment.prefix = prefix >> 1;
        segment.depth = depth - 1;
        let after = segment.heap_bytes();
        self.segment_bytes = self.segment_bytes + after - before;
        self.point(prefix >> 1, depth - 1, number as u32);
        self.deepest -= usize::from(is_deepest);
        while self.deepest == 0 && self.depth > 0 {
            self.halve_directory();
        }
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
#[derive(Debug)]
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

    /// Adds an element; there must be fewer than [`SEGMENT_MAX`].
    fn push(&mut self, hash: u64, item: T, hasher: &impl Fn(&T) -> u64) {
        let len = self.items.len() + 1;
        if len * 4 > self.index.len() * 3 {
            self.reindex(len, hasher);
        }
        if len > self.items.capacity() {
            self.items.reserve_exact(fitting::<T>(len + len / 8) - self.items.len());
        }
        self.link(hash, len - 1);
        self.items.push(item);
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

    /// Takes the element at a slot and position out.
    fn take(&mut self, slot: usize, position: usize, hasher: &impl Fn(&T) -> u64) -> T {
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
        if len * 4 < self.items.capacity() && self.items.capacity() >= SHRINK_MIN {
            self.items.shrink_to(fitting::<T>(len + len / 2 + 1));
            self.reindex(len + len / 2 + 1, hasher);
        }
        item
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
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{SEGMENT_MAX, Table, text_hash};
    use crate::base::rng::Rng;

    fn hash(number: &u64) -> u64 {
        text_hash(&number.to_le_bytes())
    }

    fn insert(table: &mut Table<u64>, number: u64) {
        table.insert(hash(&number), number, hash);
    }

    fn remove(table: &mut Table<u64>, number: u64) -> Option<u64> {
        table.remove(hash(&number), |other| *other == number, hash)
    }

    #[test]
    fn random_use_against_a_set() {
        let mut rng = Rng::seeded(21);
        let mut table = Table::new();
        let mut model = HashSet::new();
        for round in 0..6u64 {
            // It grows to some thousands, shrinks to few, and so on.
            let inserts_of_ten = if round % 2 == 0 { 9 } else { 1 };
            for _ in 0..12_000 {
                let number = rng.below(8000);
                if rng.below(10) < inserts_of_ten {
                    if table.get(hash(&number), |other| *other == number).is_none() {
                        insert(&mut table, number);
                        assert!(model.insert(number));
                    }
                } else {
                    assert_eq!(remove(&mut table, number), model.take(&number));
                }
                assert_eq!(table.len(), model.len());
            }
            table.validate(hash);
            assert_eq!(table.iter().copied().collect::<HashSet<_>>(), model);
            assert_eq!(table.iter().count(), model.len());
        }
        for number in model {
            assert_eq!(remove(&mut table, number), Some(number));
        }
        table.validate(hash);
        assert_eq!((table.len(), table.heap_bytes()), (0, 0));
    }

    #[test]
    fn a_scan_emits_whatever_stays_exactly_once() {
        for seed in 0..20 {
            let mut rng = Rng::seeded(seed);
            let mut table = Table::new();
            let size = 1 + rng.below(6000);
            (0..size).for_each(|number| insert(&mut table, number));
            // Those below a third stay; the others come and go, more or fewer of them as the seed says.
            let (stays, grows) = (size / 3 + 1, seed % 2 == 0);
            let mut seen = HashMap::new();
            let mut cursor = 0;
            for _ in 0..1_000_000 {
                let count = 1 + rng.below(700) as usize;
                cursor = table.scan(cursor, count, hash, |number| *seen.entry(*number).or_insert(0) += 1);
                if cursor == 0 {
                    break;
                }
                for _ in 0..rng.below(400) {
                    let number = stays + rng.below(if grows { 40_000 } else { size });
                    if table.get(hash(&number), |other| *other == number).is_some() {
                        remove(&mut table, number);
                    } else if grows {
                        insert(&mut table, number);
                    }
                }
            }
            assert_eq!(cursor, 0);
            table.validate(hash);
            for number in 0..stays.min(size) {
                assert_eq!(seen.get(&number), Some(&1), "seed {seed}, {number} of {size}");
            }
        }
    }

    #[test]
    fn a_scan_emits_about_as_many_as_asked_for() {
        let mut table = Table::new();
        (0..100_000).for_each(|number| insert(&mut table, number));
        let (mut cursor, mut calls) = (0, 0);
        loop {
            let mut emitted = 0;
            cursor = table.scan(cursor, 10, hash, |_| emitted += 1);
            assert!(emitted <= 60, "{emitted}");
            calls += 1;
            if cursor == 0 {
                break;
            }
            if calls > 300 {
                return;
            }
            assert!(cursor < 1 << 48);
        }
        panic!("only {calls} calls");
    }

    #[test]
    fn random_elements_are_even() {
        for size in [1u64, 3, 100, 2000] {
            let mut rng = Rng::seeded(size);
            let mut table = Table::new();
            (0..size * 3).for_each(|number| insert(&mut table, number));
            (size..size * 3).for_each(|number| assert_eq!(remove(&mut table, number), Some(number)));
            let mut counts = vec![0u64; size as usize];
            let draws = size * 100;
            for _ in 0..draws {
                let number = table.random(&mut rng).copied().unwrap_or(u64::MAX);
                counts[number as usize] += 1;
            }
            // Chi-squared is about `size` with a deviation of the root of twice that.
            let squares: f64 = counts.iter().map(|&count| (count as f64 - 100.0).powi(2) / 100.0).sum();
            assert!(squares < size as f64 + 6.0 * (2.0 * size as f64).sqrt(), "{size}: {squares}");
        }
        assert_eq!(Table::<u64>::new().random(&mut Rng::seeded(1)), None);
    }

    #[test]
    fn equal_hashes_are_kept_apart() {
        let mut table = Table::new();
        let same = |_: &u64| 0x1234_5678_9abc_def0;
        for number in 0..2000u64 {
            table.insert(same(&number), number, same);
        }
        for number in 0..2000u64 {
            assert_eq!(table.get(same(&0), |other| *other == number), Some(&number));
        }
        let mut seen = Vec::new();
        assert_eq!(table.scan(0, 10_000, same, |number| seen.push(*number)), 0);
        seen.sort_unstable();
        assert_eq!(seen, (0..2000).collect::<Vec<_>>());
        assert!(table.heap_bytes() < 2000 * 16 + 20_000, "{}", table.heap_bytes());
        for number in 0..2000u64 {
            assert!(table.random(&mut Rng::seeded(number)).is_some());
            assert_eq!(table.remove(same(&0), |other| *other == number, same), Some(number));
        }
        assert!(table.is_empty());
    }

    #[test]
    fn elements_cost_little_beyond_themselves() {
        let mut table = Table::new();
        let hash = |item: &[u64; 3]| super::text_hash(&item[0].to_le_bytes());
        for number in 0..200_000u64 {
            let item = [number; 3];
            table.insert(hash(&item), item, hash);
            if number > SEGMENT_MAX as u64 && number.is_multiple_of(997) {
                let each = table.heap_bytes() as f64 / (number + 1) as f64;
                assert!(each < 24.0 + 11.0, "{number}: {each}");
            }
        }
    }
}
