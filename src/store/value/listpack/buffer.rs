//! The editing side of listpacks: an owned one.
//!
//! Elements may be added and removed anywhere. What is free lies before and behind the pack, so that a list that is
//! used as a queue or a stack does not move its elements. The allocation is one of the allocator's classes.
//!
//! Invariant: the pack is `bytes[start..]`, header to 0xFF, and whatever lies before is free; or `bytes` is empty, and the
//! pack is one without elements.

use super::{
    At, BACK_BYTES_MAX, COUNT_UNKNOWN, END, Element, HEADER_BYTES, INTEGER_TEXT_MAX, PACK_BYTES_MAX, Pack,
    back_of, span,
};
use crate::base::num::parse_i64;
use crate::store::object::size_class;
use crate::store::prefetch;

/// Longest encoding before the content of an element.
const FRONT_BYTES_MAX: usize = 9;

/// Bytes at the ends of a pack that are brought into the cache ahead; the processor goes on from the front by itself.
const FRONT_PREFETCH_BYTES: usize = 256;
const BACK_PREFETCH_BYTES: usize = 64;

/// A pack without elements.
const EMPTY: [u8; HEADER_BYTES + 1] = [HEADER_BYTES as u8 + 1, 0, 0, 0, 0, 0, END];

/// Smaller packs are moved for an element in front, instead of keeping room there.
const FRONT_ROOM_MIN_BYTES: usize = 1024;
/// Smaller allocations are not given back in part: they may serve one edit after another.
const GIVE_BACK_MIN_BYTES: usize = 2048;

/// A listpack that can be changed.
pub struct PackBuf {
    bytes: Vec<u8>,
    /// Where the pack begins.
    start: u32,
}

impl Default for PackBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for PackBuf {
    fn clone(&self) -> Self {
        Self::from_pack(self.as_pack())
    }
}

impl std::fmt::Debug for PackBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.as_pack().iter()).finish()
    }
}

/// An element in its encoding: what stands before the content, the content, and the length behind.
struct Encoded<'a> {
    front: [u8; FRONT_BYTES_MAX],
    front_len: usize,
    content: &'a [u8],
    back: [u8; BACK_BYTES_MAX],
    back_len: usize,
}

impl<'a> Encoded<'a> {
    #[inline]
    fn of(element: Element<'a>) -> Self {
        match element {
            Element::Int(value) => Self::integer(value),
            Element::Bytes(bytes) if bytes.len() <= INTEGER_TEXT_MAX => {
                parse_i64(bytes).map_or_else(|| Self::string(bytes), Self::integer)
            }
            Element::Bytes(bytes) => Self::string(bytes),
        }
    }

    fn string(content: &'a [u8]) -> Self {
        let len = content.len();
        let mut front = [0; FRONT_BYTES_MAX];
        let front_len = match len {
            0..64 => {
                front[0] = 0x80 | len as u8;
                1
            }
            64..4096 => {
                front[0] = 0xE0 | (len >> 8) as u8;
                front[1] = len as u8;
                2
            }
            _ => {
                front[0] = 0xF0;
                front[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                5
            }
        };
        let (back, back_len) = back_of(front_len + len);
        Self { front, front_len, content, back, back_len }
    }

    fn integer(value: i64) -> Self {
        let mut front = [0; FRONT_BYTES_MAX];
        let mut wide = |mark: u8, width: usize| {
            front[0] = mark;
            front[1..=width].copy_from_slice(&value.to_le_bytes()[..width]);
            1 + width
        };
        let front_len = match value {
            0..=127 => {
                front[0] = value as u8;
                1
            }
            -4096..=4095 => {
                front[0] = 0xC0 | (value >> 8) as u8 & 0x1F;
                front[1] = value as u8;
                2
            }
            -0x8000..=0x7FFF => wide(0xF1, 2),
            -0x80_0000..=0x7F_FFFF => wide(0xF2, 3),
            -0x8000_0000..=0x7FFF_FFFF => wide(0xF3, 4),
            _ => wide(0xF4, 8),
        };
        let (back, back_len) = back_of(front_len);
        Self { front, front_len, content: b"", back, back_len }
    }

    #[inline]
    fn len(&self) -> usize {
        self.front_len + self.content.len() + self.back_len
    }

    /// Appends the element. Most have one byte before the content and one behind it.
    #[inline]
    fn append_to(&self, to: &mut Vec<u8>) {
        let (front, back) = (&self.front[..self.front_len], &self.back[..self.back_len]);
        match front {
            [one] => to.push(*one),
            more => to.extend_from_slice(more),
        }
        if !self.content.is_empty() {
            to.extend_from_slice(self.content);
        }
        match back {
            [one] => to.push(*one),
            more => to.extend_from_slice(more),
        }
    }

    /// Writes the element over the start of `to`, which is long enough.
    #[inline]
    fn write(&self, to: &mut [u8]) {
        let (front, rest) = to.split_at_mut(self.front_len);
        let (content, back) = rest.split_at_mut(self.content.len());
        front.copy_from_slice(&self.front[..self.front_len]);
        content.copy_from_slice(self.content);
        back[..self.back_len].copy_from_slice(&self.back[..self.back_len]);
    }
}

/// Adds several elements behind the last one of a pack, whose header is written once.
pub struct Appender<'b> {
    buf: &'b mut PackBuf,
    added: isize,
}

impl Appender<'_> {
    /// Adds a string.
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.push_element(Element::Bytes(text));
    }

    /// Adds an integer.
    #[inline]
    pub fn push_int(&mut self, value: i64) {
        self.push_element(Element::Int(value));
    }

    #[inline]
    fn push_element(&mut self, element: Element<'_>) {
        self.buf.put_behind(&Encoded::of(element));
        self.added += 1;
    }
}

/// How many bytes an element takes in a pack.
pub fn encoded_len(element: Element<'_>) -> usize {
    Encoded::of(element).len()
}

impl PackBuf {
    /// A pack without elements; allocates nothing yet.
    pub fn new() -> Self {
        Self { bytes: Vec::new(), start: 0 }
    }

    /// Takes `bytes` for a pack without looking at them; what is no pack at all becomes an empty one.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        if bytes.len() <= HEADER_BYTES { Self::new() } else { Self { bytes, start: 0 } }
    }

    /// A copy of a pack.
    pub fn from_pack(pack: Pack<'_>) -> Self {
        let mut bytes = Vec::with_capacity(size_class(pack.bytes().len()));
        bytes.extend_from_slice(pack.bytes());
        Self::from_vec(bytes)
    }

    /// The reading side.
    #[inline]
    pub fn as_pack(&self) -> Pack<'_> {
        match self.bytes.get(self.start as usize..) {
            Some(bytes) if !bytes.is_empty() => Pack::of(bytes),
            _ => Pack::of(&EMPTY),
        }
    }

    /// The pack's bytes alone.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.materialize(0);
        if self.start > 0 {
            self.bytes.drain(..self.start as usize);
        }
        self.bytes
    }

    /// Length of the pack in bytes.
    #[inline]
    pub fn bytes_len(&self) -> usize {
        if self.bytes.is_empty() { EMPTY.len() } else { self.bytes.len() - self.start as usize }
    }

    /// Bytes that the allocator holds for this pack.
    #[inline]
    pub fn capacity_bytes(&self) -> usize {
        size_class(self.bytes.capacity())
    }

    /// Brings the header and the first elements into the cache.
    #[inline]
    pub fn prefetch_front(&self) {
        let bytes = self.as_pack().bytes();
        prefetch::bring(&bytes[..bytes.len().min(FRONT_PREFETCH_BYTES)]);
    }

    /// Brings the header and the last elements into the cache.
    #[inline]
    pub fn prefetch_back(&self) {
        let bytes = self.as_pack().bytes();
        prefetch::bring(&bytes[..bytes.len().min(HEADER_BYTES)]);
        prefetch::bring(&bytes[bytes.len().saturating_sub(BACK_PREFETCH_BYTES)..]);
    }

    /// Bytes that were asked of the allocator for this pack.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether the pack may grow by an element of `len` bytes of text.
    pub fn has_room(&self, len: usize) -> bool {
        self.bytes_len().saturating_add(len).saturating_add(FRONT_BYTES_MAX + BACK_BYTES_MAX)
            <= PACK_BYTES_MAX
    }

    /// Adds a string behind the last element.
    #[inline]
    pub fn push_back(&mut self, text: &[u8]) {
        self.push_back_element(Element::Bytes(text));
    }

    /// Adds an integer behind the last element.
    #[inline]
    pub fn push_back_int(&mut self, value: i64) {
        self.push_back_element(Element::Int(value));
    }

    /// Adds an element behind the last one.
    #[inline]
    pub fn push_back_element(&mut self, element: Element<'_>) {
        self.put_behind(&Encoded::of(element));
        self.count(1);
    }

    /// Adds elements behind the last one: those that `add` hands to the appender.
    #[inline]
    pub fn push_back_all(&mut self, add: impl FnOnce(&mut Appender<'_>)) {
        let mut appender = Appender { buf: self, added: 0 };
        add(&mut appender);
        let added = appender.added;
        self.count(added);
    }

    /// Puts an element behind the last one, without counting it.
    #[inline]
    fn put_behind(&mut self, encoded: &Encoded<'_>) {
        if self.has_room_behind(encoded.len()) {
            self.bytes.pop();
            encoded.append_to(&mut self.bytes);
            self.bytes.push(END);
        } else {
            self.place(self.as_pack().end(), 0, encoded);
        }
    }

    /// Whether `more` bytes can be added at the end as it is.
    #[inline]
    fn has_room_behind(&self, more: usize) -> bool {
        !self.bytes.is_empty() && self.bytes.capacity() - self.bytes.len() >= more
    }

    /// Adds a string before the first element.
    #[inline]
    pub fn push_front(&mut self, text: &[u8]) {
        self.push_front_element(Element::Bytes(text));
    }

    /// Adds an element before the first one.
    #[inline]
    pub fn push_front_element(&mut self, element: Element<'_>) {
        let encoded = Encoded::of(element);
        let behind = self.start as usize + HEADER_BYTES;
        match (self.start as usize).checked_sub(encoded.len()) {
            Some(start) if behind <= self.bytes.len() => {
                self.bytes.copy_within(self.start as usize..behind, start);
                encoded.write(&mut self.bytes[start + HEADER_BYTES..behind]);
                self.start = start as u32;
            }
            _ => self.place(HEADER_BYTES, 0, &encoded),
        }
        self.count(1);
    }

    /// Takes the last element out and hands it to `emit` before it goes; false if there is none.
    #[inline]
    pub fn take_back(&mut self, emit: impl FnOnce(Element<'_>)) -> bool {
        let pack = self.as_pack();
        let Some(at) = pack.last() else { return false };
        emit(pack.get(at));
        let end = self.start as usize + at.offset();
        self.bytes.truncate(end + 1);
        if let Some(last) = self.bytes.get_mut(end) {
            *last = END;
        }
        self.count(-1);
        self.give_back();
        true
    }

    /// Takes the first element out and hands it to `emit` before it goes; false if there is none.
    #[inline]
    pub fn take_front(&mut self, emit: impl FnOnce(Element<'_>)) -> bool {
        let pack = self.as_pack();
        let Some(at) = pack.first() else { return false };
        let elements = pack.bytes().get(HEADER_BYTES..pack.end()).unwrap_or_default();
        let Some(removed) = span(elements).filter(|removed| *removed <= elements.len()) else { return false };
        emit(pack.get(at));
        // What lies before a pack is free: the header alone moves.
        let start = self.start as usize;
        self.bytes.copy_within(start..start + HEADER_BYTES, start + removed);
        self.start += removed as u32;
        self.count(-1);
        self.give_back();
        true
    }

    /// Adds a string before the element at `at`; says where it is now.
    pub fn insert_before(&mut self, at: At, text: &[u8]) -> At {
        self.insert_before_element(at, Element::Bytes(text))
    }

    /// Adds an element before the one at `at`; says where it is now.
    pub fn insert_before_element(&mut self, at: At, element: Element<'_>) -> At {
        let offset = at.offset().clamp(HEADER_BYTES, self.as_pack().end());
        self.place(offset, 0, &Encoded::of(element));
        self.count(1);
        At::of(offset)
    }

    /// Adds a string behind the element at `at`; says where it is now.
    pub fn insert_after(&mut self, at: At, text: &[u8]) -> At {
        self.insert_after_element(at, Element::Bytes(text))
    }

    /// Adds an element behind the one at `at`; says where it is now.
    pub fn insert_after_element(&mut self, at: At, element: Element<'_>) -> At {
        let end = self.as_pack().end();
        let behind = self.as_pack().next(at).map_or(end, At::offset);
        self.insert_before_element(At::of(behind), element)
    }

    /// Puts a string in the place of the element at `at`.
    pub fn replace(&mut self, at: At, text: &[u8]) -> At {
        self.replace_element(at, Element::Bytes(text))
    }

    /// Puts an integer in the place of the element at `at`.
    pub fn replace_int(&mut self, at: At, value: i64) -> At {
        self.replace_element(at, Element::Int(value))
    }

    /// Puts an element in the place of the one at `at`.
    pub fn replace_element(&mut self, at: At, element: Element<'_>) -> At {
        let rest = self.as_pack().bytes().get(at.offset()..).unwrap_or_default();
        let Some(removed) = span(rest) else {
            return at;
        };
        let encoded = Encoded::of(element);
        if encoded.len() == removed {
            let from = self.start as usize + at.offset();
            if let Some(place) = self.bytes.get_mut(from..from + removed) {
                encoded.write(place);
            }
            return at;
        }
        self.place(at.offset(), removed, &encoded);
        self.count(0);
        self.give_back();
        at
    }

    /// Removes up to `count` elements from the one at `at` on; says which one is there now.
    pub fn remove(&mut self, at: At, count: usize) -> Option<At> {
        let pack = self.as_pack();
        let end = pack.end();
        let mut to = at.offset();
        let mut removed = 0;
        while removed < count && to < end {
            let Some(len) = pack.bytes().get(to..end).and_then(span) else {
                break;
            };
            to += len;
            removed += 1;
        }
        self.cut(at.offset(), to.min(end), removed);
        (at.offset() < self.as_pack().end()).then_some(at)
    }

    /// Removes the element at `at` and all behind it.
    pub fn truncate(&mut self, at: At) {
        self.remove(at, usize::MAX);
    }

    /// Takes the element at `at` and all behind it into a pack of their own.
    pub fn split_off(&mut self, at: At) -> Self {
        let mut behind = Self::new();
        let end = self.as_pack().end();
        let mut count = 0;
        let mut to = at.offset();
        while let Some(len) = self.as_pack().bytes().get(to..end).and_then(span) {
            to += len;
            count += 1;
        }
        behind.append_bytes(self.as_pack().bytes().get(at.offset()..to.min(end)).unwrap_or_default(), count);
        self.cut(at.offset(), to.min(end), count);
        behind
    }

    /// Adds all elements of another pack behind the last one.
    pub fn append(&mut self, other: Pack<'_>) {
        let elements = other.bytes().get(HEADER_BYTES..other.end()).unwrap_or_default();
        self.append_bytes(elements, other.len());
    }

    #[inline]
    fn append_bytes(&mut self, elements: &[u8], count: usize) {
        let end = self.as_pack().end();
        if self.has_room_behind(elements.len()) {
            self.bytes.pop();
            self.bytes.extend_from_slice(elements);
            self.bytes.push(END);
        } else if let Some(gap) = self.open(end, 0, elements.len()) {
            gap.copy_from_slice(elements);
        }
        self.count(count as isize);
    }

    /// Puts an element in the place of `removed` bytes; the header is written by [`PackBuf::count`].
    fn place(&mut self, at: usize, removed: usize, element: &Encoded<'_>) {
        if let Some(gap) = self.open(at, removed, element.len()) {
            element.write(gap);
        }
    }

    /// Removes the bytes of `removed` elements.
    fn cut(&mut self, from: usize, to: usize, removed: usize) {
        if to > from {
            self.open(from, to - from, 0);
            self.count(-(removed as isize));
            self.give_back();
        }
    }

    /// Puts `added` free bytes in the place of `removed` ones; moves whichever side is the shorter one and has room.
    fn open(&mut self, at: usize, removed: usize, added: usize) -> Option<&mut [u8]> {
        self.materialize(added);
        let start = self.start as usize;
        let len = self.bytes_len();
        let tail = len.checked_sub(at + removed)?;
        let head_is_shorter = at < tail;
        if added <= removed {
            let less = removed - added;
            if head_is_shorter {
                self.bytes.copy_within(start..start + at, start + less);
                self.start += less as u32;
            } else {
                let end = self.bytes.len();
                self.bytes.copy_within(start + at + removed..end, start + at + added);
                self.bytes.truncate(end - less);
            }
        } else {
            let more = added - removed;
            let room_behind = self.bytes.capacity() - self.bytes.len();
            if start >= more && (head_is_shorter || room_behind < more) {
                self.bytes.copy_within(start..start + at, start - more);
                self.start -= more as u32;
            } else if room_behind >= more && !(head_is_shorter && Self::keeps_room_in_front(at, len)) {
                self.open_behind(at + removed, more);
            } else if start + room_behind >= more {
                self.shift(head_is_shorter && Self::keeps_room_in_front(at, len));
                return self.open(at, removed, added);
            } else {
                self.grow(len + more, head_is_shorter && Self::keeps_room_in_front(at, len));
                return self.open(at, removed, added);
            }
        }
        let from = self.start as usize + at;
        self.bytes.get_mut(from..from + added)
    }

    /// Allocates what has not been allocated yet, with room for `added` bytes.
    #[inline]
    fn materialize(&mut self, added: usize) {
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(size_class(EMPTY.len() + added));
            self.bytes.extend_from_slice(&EMPTY);
        }
    }

    fn keeps_room_in_front(at: usize, len: usize) -> bool {
        at == HEADER_BYTES && len >= FRONT_ROOM_MIN_BYTES
    }

    /// Moves what lies at `at` and behind towards the end by `more` bytes, for which there is room.
    fn open_behind(&mut self, at: usize, more: usize) {
        let from = self.start as usize + at;
        let end = self.bytes.len();
        self.bytes.resize(end + more, 0);
        self.bytes.copy_within(from..end, from + more);
    }

    /// Moves the whole pack so that all free bytes lie on one side.
    fn shift(&mut self, free_in_front: bool) {
        let len = self.bytes_len();
        let start = self.start as usize;
        let end = self.bytes.len();
        if free_in_front {
            let capacity = self.bytes.capacity();
            self.bytes.resize(capacity, 0);
            self.bytes.copy_within(start..end, capacity - len);
            self.start = (capacity - len) as u32;
        } else {
            self.bytes.copy_within(start..end, 0);
            self.bytes.truncate(len);
            self.start = 0;
        }
    }

    /// Takes the class of allocation that holds `needed` bytes, with what is free on one side.
    fn grow(&mut self, needed: usize, free_in_front: bool) {
        let capacity = size_class(needed);
        if free_in_front {
            let mut bytes = Vec::with_capacity(capacity);
            bytes.resize(capacity - self.bytes_len(), 0);
            bytes.extend_from_slice(self.as_pack().bytes());
            self.start = (capacity - self.bytes_len()) as u32;
            self.bytes = bytes;
        } else {
            if self.start > 0 {
                self.shift(false);
            }
            self.bytes.reserve_exact(capacity.saturating_sub(self.bytes.len()));
        }
    }

    /// Gives memory back once less than half of it is used.
    #[inline]
    fn give_back(&mut self) {
        let (capacity, len) = (self.bytes.capacity(), self.bytes_len());
        if len * 2 <= capacity && capacity > GIVE_BACK_MIN_BYTES && size_class(len) * 2 <= capacity {
            self.shrink();
        }
    }

    /// Gives back what the pack does not need.
    pub fn shrink(&mut self) {
        self.materialize(0);
        self.shift(false);
        self.bytes.shrink_to(size_class(self.bytes.len()));
    }

    /// Counts elements in or out, and writes the header.
    #[inline]
    fn count(&mut self, change: isize) {
        let total = (self.bytes_len() as u32).to_le_bytes();
        let header = self.bytes.get_mut(self.start as usize..);
        let Some(header) = header.and_then(<[u8]>::first_chunk_mut::<HEADER_BYTES>) else { return };
        let [total_place @ .., low, high] = header;
        *total_place = total;
        let count = u16::from_le_bytes([*low, *high]);
        if count != COUNT_UNKNOWN {
            let count = usize::from(count).saturating_add_signed(change).min(usize::from(COUNT_UNKNOWN));
            [*low, *high] = (count as u16).to_le_bytes();
        }
    }
}
