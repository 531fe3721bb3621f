//! Lists: strings in an order, added and taken at both ends.
//!
//! A list is one listpack while it fits the bound of a chunk, and a row of such chunks beyond; see [`quick`]. It turns
//! into chunks before it grows too large, and back once it has shrunk to half the bound, as in Redis 7.2 and later.
//!
//! Never: knows why it is changed; who takes the last element removes the key.

pub mod quick;

use crate::store::prefetch;
use crate::store::value::list::quick::{Quick, QuickIter};
use crate::store::value::listpack::{self, Element, Pack, PackBuf, Wanted};
use crate::store::value::{Collection, Form, Thresholds, ValueType};

/// Most bytes of a chunk whose bound counts elements.
const COUNTED_BYTES_MAX: usize = 8192;
/// Bytes of a chunk by `list-max-listpack-size` from -1 to -5.
const LEVELS: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The head: index 0.
    Left,
    /// The tail: index -1.
    Right,
}

/// A list, for changing.
#[derive(Clone, Debug)]
pub enum List {
    /// All in one listpack.
    Packed(PackBuf),
    /// A row of listpacks.
    Chunks(Box<Quick>),
}

/// A list, for reading.
#[derive(Clone, Copy, Debug)]
pub enum ListRef<'a> {
    /// All in one listpack.
    Packed(Pack<'a>),
    /// A row of listpacks.
    Chunks(&'a Quick),
}

/// Chunks of these sizes lie in the allocator's pages singly or in pairs, and each page run has a header of 128 bytes.
/// A seventh smaller they share a run of seven pages: a list of elements of 24 bytes takes 1 % less.
const ALONE_BYTES: [usize; 3] = [4096, 8192, 16_384];

/// What a list in one piece may hold, by `list-max-listpack-size`, and each of its chunks once it is in several.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::value) struct Limit {
    bytes: usize,
    /// At most `bytes`.
    chunk_bytes: usize,
    count: usize,
}

impl Limit {
    fn of(thresholds: &Thresholds) -> Self {
        let size = thresholds.list_max_listpack_size;
        if size < 0 {
            let level = usize::try_from(size.unsigned_abs() - 1).unwrap_or(usize::MAX).min(LEVELS.len() - 1);
            Self::new(LEVELS[level], usize::MAX)
        } else {
            Self::new(COUNTED_BYTES_MAX, usize::try_from(size).unwrap_or(usize::MAX).max(1))
        }
    }

    fn new(bytes: usize, count: usize) -> Self {
        let chunk_bytes = if ALONE_BYTES.contains(&bytes) { bytes / 8 * 7 } else { bytes };
        Self { bytes, chunk_bytes, count }
    }

    /// Whether a list of so many bytes and elements may be in one piece.
    fn allows(self, bytes: usize, count: usize) -> bool {
        bytes <= self.bytes && count <= self.count
    }

    /// Whether a chunk may have so many bytes and elements. `room` bytes are allocated for it: what was the list while that
    /// was in one piece is filled up.
    fn allows_chunk(self, bytes: usize, count: usize, room: usize) -> bool {
        bytes <= self.chunk_bytes.max(room.min(self.bytes)) && count <= self.count
    }

    fn halved(self) -> Self {
        Self { bytes: self.bytes / 2, chunk_bytes: self.chunk_bytes / 2, count: self.count / 2 }
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// A list without elements.
    pub fn new() -> Self {
        Self::Packed(PackBuf::new())
    }

    /// A list of the elements of these packs, in this order: packed if it is a single small one.
    pub fn from_packs(packs: impl IntoIterator<Item = PackBuf>, thresholds: &Thresholds) -> Self {
        let mut quick = Quick::default();
        packs.into_iter().for_each(|pack| quick.push_chunk(pack));
        let mut list = Self::Chunks(Box::new(quick));
        list.pack(Limit::of(thresholds));
        list
    }

    /// Adds all elements of another list at the tail, in its packs.
    pub fn append(&mut self, other: Self) {
        let mut quick = std::mem::take(self).into_chunks();
        other.into_chunks().into_packs().for_each(|pack| quick.push_chunk(pack));
        *self = Self::Chunks(quick);
    }

    fn into_chunks(self) -> Box<Quick> {
        match self {
            Self::Chunks(quick) => quick,
            Self::Packed(buf) => {
                let mut quick = Box::new(Quick::default());
                if !buf.as_pack().is_empty() {
                    quick.push_chunk(buf);
                }
                quick
            }
        }
    }

    /// The reading side.
    #[inline]
    pub fn as_ref(&self) -> ListRef<'_> {
        match self {
            Self::Packed(buf) => ListRef::Packed(buf.as_pack()),
            Self::Chunks(quick) => ListRef::Chunks(quick),
        }
    }

    /// Brings what leads to both ends, and then these, into the cache, one step a call; false if that was the last one.
    #[inline]
    pub fn prefetch_ends(&self, step: usize) -> bool {
        match (self, step) {
            (Self::Packed(buf), _) => {
                buf.prefetch_front();
                buf.prefetch_back();
                false
            }
            (Self::Chunks(quick), 0) => {
                prefetch::bring_whole(&**quick);
                true
            }
            (Self::Chunks(quick), step) => quick.prefetch_ends(step - 1),
        }
    }

    /// Adds elements at one end, one after the other: the last one is the outermost.
    #[inline]
    pub fn push<'t>(
        &mut self,
        end: End,
        texts: impl Iterator<Item = &'t [u8]> + Clone,
        thresholds: &Thresholds,
    ) {
        let limit = Limit::of(thresholds);
        let (count, bytes) =
            texts.clone().fold((0, 0), |(count, bytes), text| (count + 1, bytes + text.len()));
        self.expect(count, bytes, limit);
        match (self, end) {
            (Self::Packed(buf), End::Left) => texts.for_each(|text| buf.push_front(text)),
            (Self::Packed(buf), End::Right) => texts.for_each(|text| buf.push_back(text)),
            (Self::Chunks(quick), end) => texts.for_each(|text| quick.push(end, text, limit)),
        }
    }

    /// Takes the element at one end out and hands it to `emit` before it goes; false if there is none.
    #[inline]
    pub fn take(&mut self, end: End, thresholds: &Thresholds, emit: impl FnOnce(Element<'_>)) -> bool {
        let (taken, is_short) = match self {
            Self::Packed(buf) => (take_end(buf, end, emit), false),
            Self::Chunks(quick) => (quick.take(end, emit), quick.is_short()),
        };
        if is_short {
            self.settle(thresholds);
        }
        taken
    }

    /// Removes up to `count` elements from one end.
    #[inline]
    pub fn pop(&mut self, end: End, count: usize, thresholds: &Thresholds) {
        let start = match end {
            End::Left => 0,
            End::Right => self.as_ref().len().saturating_sub(count),
        };
        self.remove_range(start, count, thresholds);
    }

    /// Removes up to `count` elements from index `start` on.
    pub fn remove_range(&mut self, start: usize, count: usize, thresholds: &Thresholds) {
        match self {
            Self::Packed(buf) => {
                if let Some(at) = buf.as_pack().seek(start as i64) {
                    buf.remove(at, count);
                }
            }
            Self::Chunks(quick) => quick.remove_range(start, count),
        }
        self.settle(thresholds);
    }

    /// Keeps `count` elements from index `start` on.
    pub fn trim(&mut self, start: usize, count: usize, thresholds: &Thresholds) {
        let end = start.saturating_add(count);
        self.remove_range(end, usize::MAX, thresholds);
        self.remove_range(0, start, thresholds);
    }

    /// Puts `text` in the place of the element of this index; negative ones count from the tail. False if there is none.
    pub fn set(&mut self, index: i64, text: &[u8], thresholds: &Thresholds) -> bool {
        let limit = Limit::of(thresholds);
        self.expect(1, text.len(), limit);
        let found = match self {
            Self::Packed(buf) => match buf.as_pack().seek(index) {
                Some(at) => {
                    buf.replace(at, text);
                    true
                }
                None => false,
            },
            Self::Chunks(quick) => quick.set(index, text, limit),
        };
        self.settle(thresholds);
        found
    }

    /// Adds `text` next to the first element that is `pivot`, on its right side or its left. False without such a one.
    pub fn insert(&mut self, pivot: &[u8], side: End, text: &[u8], thresholds: &Thresholds) -> bool {
        let limit = Limit::of(thresholds);
        self.expect(1, text.len(), limit);
        match self {
            Self::Packed(buf) => {
                let pack = buf.as_pack();
                let Some(at) = pack.first().and_then(|first| pack.find(first, pivot, 0)) else {
                    return false;
                };
                match side {
                    End::Left => buf.insert_before(at, text),
                    End::Right => buf.insert_after(at, text),
                };
                true
            }
            Self::Chunks(quick) => quick.insert(pivot, side, text, limit),
        }
    }

    /// Removes up to `count` elements that are `text`, the first ones from this end; says how many.
    pub fn remove(&mut self, text: &[u8], from: End, count: usize, thresholds: &Thresholds) -> usize {
        let removed = match self {
            Self::Packed(buf) => remove_from(buf, Wanted::of(text), from, count),
            Self::Chunks(quick) => quick.remove(text, from, count, Limit::of(thresholds)),
        };
        self.settle(thresholds);
        removed
    }

    /// Turns into chunks if elements of so many bytes would not fit one.
    #[inline]
    fn expect(&mut self, count: usize, bytes: usize, limit: Limit) {
        if let Self::Packed(buf) = self
            && !limit.allows(buf.bytes_len().saturating_add(bytes), buf.as_pack().len() + count)
        {
            let mut quick = Quick::default();
            quick.push_chunk(std::mem::take(buf));
            *self = Self::Chunks(Box::new(quick));
        }
    }

    /// After elements were removed: a single chunk that is half empty is packed again.
    #[inline]
    fn settle(&mut self, thresholds: &Thresholds) {
        if matches!(self, Self::Chunks(_)) {
            self.pack(Limit::of(thresholds).halved());
        }
    }

    /// Packs what is one chunk within the bound.
    fn pack(&mut self, limit: Limit) {
        if let Self::Chunks(quick) = self
            && let Some(buf) = quick.take_only(limit)
        {
            *self = Self::Packed(buf);
        }
    }
}

/// Takes the element at one end of a pack out and hands it to `emit` before it goes; false if there is none.
#[inline]
fn take_end(buf: &mut PackBuf, end: End, emit: impl FnOnce(Element<'_>)) -> bool {
    match end {
        End::Left => buf.take_front(emit),
        End::Right => buf.take_back(emit),
    }
}

/// Removes up to `count` elements that are `wanted`, the first ones from one end; says how many.
fn remove_from(buf: &mut PackBuf, wanted: Wanted<'_>, from: End, count: usize) -> usize {
    let mut removed = 0;
    let mut next = match from {
        End::Left => buf.as_pack().first(),
        End::Right => buf.as_pack().last(),
    };
    while let Some(at) = next
        && removed < count
    {
        let pack = buf.as_pack();
        let found = wanted.is(pack.get(at));
        // What lies before an element stays where it is when that is removed.
        let before = if from == End::Right { pack.prev(at) } else { None };
        let behind = if found {
            removed += 1;
            buf.remove(at, 1)
        } else {
            pack.next(at)
        };
        next = if from == End::Right { before } else { behind };
    }
    removed
}

impl<'a> ListRef<'a> {
    /// How many elements there are.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(pack) => pack.len(),
            Self::Chunks(quick) => quick.len(),
        }
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            Self::Chunks(quick) => quick.len() == 0,
        }
    }

    /// The element of this index; negative ones count from the tail.
    pub fn get(self, index: i64) -> Option<Element<'a>> {
        match self {
            Self::Packed(pack) => pack.seek(index).map(|at| pack.get(at)),
            Self::Chunks(quick) => quick.get(index),
        }
    }

    /// All elements, from either end.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        match self {
            Self::Packed(pack) => Iter::Packed(pack.iter()),
            Self::Chunks(quick) => Iter::Chunks(quick.iter()),
        }
    }

    /// The elements from this index on. Only those are walked that share its chunk.
    #[inline]
    pub fn iter_from(self, start: usize) -> Iter<'a> {
        match self {
            Self::Packed(pack) => match pack.seek(start as i64) {
                Some(at) => Iter::Packed(pack.iter_from(at)),
                None => Iter::Packed(Pack::of(b"").iter()),
            },
            Self::Chunks(quick) => Iter::Chunks(quick.iter_from(start)),
        }
    }

    /// Calls `visit` with up to `count` elements from index `start` on. For replies of many elements: going through an
    /// iterator costs twice as much an element.
    #[inline]
    pub fn visit(self, start: usize, count: usize, mut visit: impl FnMut(Element<'a>)) {
        match self {
            Self::Packed(pack) => {
                if let Some(at) = pack.seek(start as i64) {
                    pack.visit(at, count, visit);
                }
            }
            Self::Chunks(quick) => quick.visit(start, count, &mut visit),
        }
    }

    /// The packs that the list is made of, in order.
    pub fn packs(self) -> impl Iterator<Item = Pack<'a>> {
        let (one, many) = match self {
            Self::Packed(pack) => (Some(pack), None),
            Self::Chunks(quick) => (None, Some(quick.packs())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl Collection for List {
    type Ref<'a> = ListRef<'a>;
    const TYPE: ValueType = ValueType::List;

    #[inline]
    fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Packed(buf) => buf.capacity_bytes(),
            Self::Chunks(quick) => quick.heap_bytes(),
        }
    }

    #[inline]
    fn packed(&self) -> Option<(Form, &[u8])> {
        match self {
            Self::Packed(buf) => Some((Form::List, buf.as_pack().bytes())),
            Self::Chunks(_) => None,
        }
    }

    #[inline]
    fn into_packed(self) -> Option<Vec<u8>> {
        match self {
            Self::Packed(buf) => Some(buf.into_vec()),
            Self::Chunks(_) => None,
        }
    }

    #[inline]
    fn from_packed(_: Form, bytes: Vec<u8>) -> Self {
        Self::Packed(PackBuf::from_vec(bytes))
    }

    fn check(form: Form, bytes: &[u8]) -> bool {
        form == Form::List && Pack::check(bytes).is_some_and(|pack| !pack.is_empty())
    }

    fn shrink(&mut self) {
        if let Self::Packed(buf) = self {
            buf.shrink();
        }
    }

    #[inline]
    fn reference(&self) -> ListRef<'_> {
        self.as_ref()
    }

    #[inline]
    fn packed_reference(_: Form, bytes: &[u8]) -> ListRef<'_> {
        ListRef::Packed(Pack::of(bytes))
    }

    fn encoding(reference: ListRef<'_>) -> &'static str {
        match reference {
            ListRef::Packed(_) => "listpack",
            ListRef::Chunks(_) => "quicklist",
        }
    }
}

/// The elements of a list in order, from either end.
#[derive(Clone, Debug)]
pub enum Iter<'a> {
    /// Of one pack.
    Packed(listpack::Iter<'a>),
    /// Of a row of packs.
    Chunks(QuickIter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Self::Packed(iter) => iter.next(),
            Self::Chunks(iter) => iter.next(),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(iter) => iter.next_back(),
            Self::Chunks(iter) => iter.next_back(),
        }
    }
}

#[cfg(test)]
mod tests;
