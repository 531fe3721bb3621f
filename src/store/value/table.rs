//! A hash table that grows and shrinks without a stall: sets, the fields of big hashes, the members of sorted sets.
//!
//! Extendible hashing: a directory over the first bits of the hash leads to segments of at most [`SEGMENT_MAX`]
//! elements. A full segment splits in two, two small neighbours become one, and no call moves more than one segment's
//! elements (once a doubling it copies the directory, 4 bytes for some 250 elements).
//!
//! Within a segment the elements lie side by side in the order of their arrival, with little room to spare; an index of
//! two bytes a slot (seven bits of the hash, nine of position) finds them. That takes about 5 bytes an element beyond
//! the element itself at any size, where one open-addressed table takes up to the element once more. A table of one
//! segment has neither directory nor list of segments.
//!
//! The table neither hashes nor compares: callers hand in hash, equality and, where elements may move, the hasher. The
//! hash must spread over all its 64 bits, as [`text_hash`] does.

mod segment;
mod wide;

use std::sync::OnceLock;

use ahash::RandomState;

pub use self::segment::SEGMENT_MAX;
use self::segment::Segment;
use self::wide::Wide;
use crate::base::rng::Rng;
use crate::store::object::size_class;
use crate::store::prefetch;

/// Bits of the hash that a scan's cursor counts in: few enough for clients that keep numbers as doubles.
const CURSOR_BITS: u32 = 48;

/// The hash of a member or field, seeded once a process from the operating system's entropy, so that nobody outside
/// can choose texts that collide.
#[inline]
pub fn text_hash(bytes: &[u8]) -> u64 {
    static SEEDS: OnceLock<RandomState> = OnceLock::new();
    SEEDS.get_or_init(RandomState::new).hash_one(bytes)
}

/// Elements by hash; see the module.
#[derive(Clone, Debug)]
pub struct Table<T> {
    /// All elements, while there is one segment; otherwise empty.
    only: Segment<T>,
    /// More than one segment.
    wide: Option<Box<Wide<T>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Table<T> {
    /// An empty table, which holds no memory.
    pub fn new() -> Self {
        Self { only: Segment::new(0, 0), wide: None }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.wide.as_ref().map_or(self.only.items.len(), |wide| wide.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the allocator holds for the table: not what the elements own.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match &self.wide {
            None => self.only.heap_bytes(),
            Some(wide) => size_class(size_of::<Wide<T>>()) + wide.heap_bytes(),
        }
    }

    /// Brings what leads to the element of this hash, and then the element, into the cache, one step a call; false if that
    /// was the last one.
    #[inline]
    pub fn prefetch(&self, hash: u64, step: usize) -> bool {
        match (&self.wide, step) {
            (None, step) => self.only.prefetch(hash, step),
            (Some(wide), 0) => {
                prefetch::bring_whole(&**wide);
                true
            }
            (Some(wide), step) => wide.prefetch(hash, step - 1),
        }
    }

    /// The element of this hash for which `eq` holds.
    #[inline]
    pub fn get(&self, hash: u64, eq: impl Fn(&T) -> bool) -> Option<&T> {
        match &self.wide {
            None => self.only.items.get(self.only.find(hash, &eq)?.1),
            Some(wide) => wide.get(hash, eq),
        }
    }

    /// The element of this hash for which `eq` holds, to be changed; its hash must stay.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, eq: impl Fn(&T) -> bool) -> Option<&mut T> {
        match &mut self.wide {
            None => {
                let (_, position) = self.only.find(hash, &eq)?;
                self.only.items.get_mut(position)
            }
            Some(wide) => wide.get_mut(hash, eq),
        }
    }

    /// Adds an element, which must not be there yet.
    pub fn insert(&mut self, hash: u64, item: T, hasher: impl Fn(&T) -> u64) {
        match &mut self.wide {
            None if self.only.items.len() < SEGMENT_MAX => {
                self.only.push(hash, item, &hasher);
            }
            None => {
                let only = std::mem::replace(&mut self.only, Segment::new(0, 0));
                self.wide.insert(Box::new(Wide::of(only))).insert(hash, item, hasher);
            }
            Some(wide) => wide.insert(hash, item, hasher),
        }
    }

    /// Takes the element of this hash for which `eq` holds out.
    pub fn remove(&mut self, hash: u64, eq: impl Fn(&T) -> bool, hasher: impl Fn(&T) -> u64) -> Option<T> {
        let Some(wide) = &mut self.wide else {
            let (slot, position) = self.only.find(hash, &eq)?;
            let (item, _) = self.only.take(slot, position, &hasher);
            if self.only.items.is_empty() {
                self.clear();
            }
            return Some(item);
        };
        let item = wide.remove(hash, eq, hasher);
        if wide.len() == 0 {
            self.clear();
        } else if let Some(only) = wide.take_only() {
            *self = Self { only, wide: None };
        }
        item
    }

    /// All elements, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.only.items.iter().chain(self.wide.iter().flat_map(|wide| wide.iter()))
    }

    /// Removes all elements and gives back all memory.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// An element at random, all with the same chance unless the table has just lost almost everything.
    pub fn random(&self, rng: &mut Rng) -> Option<&T> {
        match &self.wide {
            None => self.only.items.get(rng.below(self.only.items.len() as u64) as usize),
            Some(wide) => wide.random(rng),
        }
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
        let crowd = self.wide.as_deref().map_or(&[][..], Wide::crowd);
        let place = |item: &T| hasher(item) >> (u64::BITS - CURSOR_BITS);
        let mut at = cursor;
        let mut left = count.max(1);
        while at < SPACE {
            let Some(segment) = self.segment_of(at << (u64::BITS - CURSOR_BITS)) else { break };
            let width = SPACE >> segment.depth;
            let start = u64::from(segment.prefix) * width;
            let (end, len) = (start + width, segment.items.len());
            // So much of the segment's range as should hold what is left to emit.
            let share = if len <= left { width } else { (width / len as u64 * left as u64).max(1) };
            let stop = end.min(at + share);
            let mut emitted = 0;
            let whole = at == start && stop == end && crowd.is_empty();
            for item in segment.items.iter().chain(crowd) {
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

    #[inline]
    fn segment_of(&self, hash: u64) -> Option<&Segment<T>> {
        match &self.wide {
            None => Some(&self.only),
            Some(wide) => wide.segment_of(hash),
        }
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self, hasher: impl Fn(&T) -> u64) {
        self.only.validate(&hasher);
        if let Some(wide) = &self.wide {
            assert!(self.only.items.is_empty() && self.only.heap_bytes() == 0);
            wide.validate(hasher);
        }
    }
}

#[cfg(test)]
mod tests;
