//! Listpacks: many short strings and integers in one piece of bytes, in Redis's format byte for byte.
//!
//! [`Pack`] reads, from an entry's own bytes or from a buffer; [`PackBuf`] owns and edits. A pack is a header (u32 of
//! all bytes, u16 of elements, both little-endian), the elements, and one byte 0xFF. An element is its encoding with
//! the content, and the length of both once more, written so that it can be read backwards.
//!
//! Never: allocate while walking; panic, whatever the bytes are (a walk over bytes that are no pack ends early).
//! Bound: a pack is below 4 GiB; who adds to one asks [`PackBuf::has_room`] first where that could be reached.

mod buffer;

pub use buffer::{Appender, PackBuf, encoded_len};

use crate::base::num::{IntegerText, parse_f64, parse_i64};

/// Bytes before the first element.
pub const HEADER_BYTES: usize = 6;
/// Most bytes that a pack may grow to: the bound that Redis sets.
pub const PACK_BYTES_MAX: usize = 1 << 30;
/// The count in the header that says "more than fits here; walk".
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Behind the last element.
const END: u8 = 0xFF;
/// Longest length behind an element.
const BACK_BYTES_MAX: usize = 5;
/// Longest text of an `i64`.
const INTEGER_TEXT_MAX: usize = 20;

/// An element of a pack.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    /// A string.
    Bytes(&'a [u8]),
    /// A string that is the decimal text of this number.
    Int(i64),
}

impl<'a> Element<'a> {
    /// Whether the element's text is `text`.
    #[inline]
    pub fn eq_bytes(self, text: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => bytes == text,
            Self::Int(value) => text.len() <= INTEGER_TEXT_MAX && parse_i64(text) == Some(value),
        }
    }

    /// Whether two elements have the same text.
    #[inline]
    pub fn same(self, other: Element<'_>) -> bool {
        match (self, other) {
            (Self::Int(a), Element::Int(b)) => a == b,
            (Self::Bytes(a), _) => other.eq_bytes(a),
            (_, Element::Bytes(b)) => self.eq_bytes(b),
        }
    }

    /// Hands the text to `then`; a number's is written on the stack.
    #[inline]
    pub fn with_bytes<R>(self, then: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Bytes(bytes) => then(bytes),
            Self::Int(value) => then(IntegerText::new().format(value)),
        }
    }

    /// Length of the text in bytes.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Int(value) => integer_text_len(value),
        }
    }

    /// Whether the text is empty.
    #[inline]
    pub fn is_empty(self) -> bool {
        matches!(self, Self::Bytes([]))
    }

    /// The text, copied.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// The number that the text is, if it is one in canonical form.
    #[inline]
    pub fn as_int(self) -> Option<i64> {
        match self {
            Self::Bytes(bytes) => parse_i64(bytes),
            Self::Int(value) => Some(value),
        }
    }

    /// The double that the text is, read by the rules of [`parse_f64`].
    #[inline]
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Bytes(bytes) => parse_f64(bytes),
            Self::Int(value) => Some(value as f64),
        }
    }
}

impl<'a> From<&'a [u8]> for Element<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<i64> for Element<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

fn integer_text_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
    digits + usize::from(value < 0)
}

/// A text that many elements are compared with: read as a number once.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    text: &'a [u8],
    number: Option<i64>,
}

impl<'a> Wanted<'a> {
    /// Reads `text`.
    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        let number = if text.len() <= INTEGER_TEXT_MAX { parse_i64(text) } else { None };
        Self { text, number }
    }

    /// Whether the element has this text.
    #[inline]
    pub fn is(&self, element: Element<'_>) -> bool {
        match element {
            Element::Bytes(bytes) => bytes == self.text,
            Element::Int(value) => self.number == Some(value),
        }
    }
}

/// Where an element begins: its offset in bytes. Good until the pack is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(u32);

impl At {
    #[inline]
    fn of(offset: usize) -> Self {
        Self(offset as u32)
    }

    #[inline]
    fn offset(self) -> usize {
        self.0 as usize
    }
}

/// A listpack, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Pack<'a>(&'a [u8]);

impl<'a> Pack<'a> {
    /// Takes `bytes` for a pack without looking at them. Where they are none, walks end early.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Looks at every byte that has a meaning: for packs that come from outside.
    pub fn check(bytes: &'a [u8]) -> Option<Self> {
        let total = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        let count = u16::from_le_bytes(bytes.get(4..HEADER_BYTES)?.try_into().ok()?);
        if total as usize != bytes.len() || bytes.len() > PACK_BYTES_MAX || bytes.len() <= HEADER_BYTES {
            return None;
        }
        let mut at = HEADER_BYTES;
        let mut found = 0usize;
        while at < bytes.len() - 1 {
            let (_, front) = read(bytes.get(at..bytes.len() - 1)?)?;
            let (back, back_len) = back_of(front);
            if bytes.get(at + front..at + front + back_len)? != &back[..back_len] {
                return None;
            }
            at += front + back_len;
            found += 1;
        }
        let counted = count == COUNT_UNKNOWN || usize::from(count) == found;
        (at == bytes.len() - 1 && bytes[at] == END && counted).then_some(Self(bytes))
    }

    /// The pack as it is stored.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// How many elements there are; walks where the header cannot say it (from 65535 on).
    #[inline]
    pub fn len(self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    #[inline]
    fn count(self) -> u16 {
        match self.0 {
            [_, _, _, _, low, high, ..] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        }
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.len() <= HEADER_BYTES + 1
    }

    /// The offset of the byte behind the last element.
    #[inline]
    fn end(self) -> usize {
        self.0.len().saturating_sub(1).max(HEADER_BYTES)
    }

    /// The first element.
    #[inline]
    pub fn first(self) -> Option<At> {
        (!self.is_empty()).then_some(At::of(HEADER_BYTES))
    }

    /// The last element.
    #[inline]
    pub fn last(self) -> Option<At> {
        self.before(self.end())
    }

    /// The element behind this one.
    #[inline]
    pub fn next(self, at: At) -> Option<At> {
        let next = at.offset() + span(self.0.get(at.offset()..)?)?;
        (next < self.end()).then_some(At::of(next))
    }

    /// The element before this one.
    #[inline]
    pub fn prev(self, at: At) -> Option<At> {
        self.before(at.offset())
    }

    #[inline]
    fn before(self, offset: usize) -> Option<At> {
        if offset <= HEADER_BYTES {
            return None;
        }
        let (front, back_len) = read_back(self.0.get(HEADER_BYTES..offset)?)?;
        let start = offset.checked_sub(front + back_len)?;
        (start >= HEADER_BYTES).then_some(At::of(start))
    }

    /// The element that begins here; an empty string where none does.
    #[inline]
    pub fn get(self, at: At) -> Element<'a> {
        self.0.get(at.offset()..).and_then(read).map_or(Element::Bytes(b""), |(element, _)| element)
    }

    /// The element of this index; negative ones count from the end, -1 being the last.
    pub fn seek(self, index: i64) -> Option<At> {
        let known = (self.count() != COUNT_UNKNOWN).then(|| i64::from(self.count()));
        let index = match known {
            Some(count) if index >= count || index < -count => return None,
            // From the nearer end.
            Some(count) if index >= 0 && index > count / 2 => index - count,
            Some(count) if index < 0 && -index > count / 2 => index + count,
            _ => index,
        };
        if index >= 0 {
            (0..index).try_fold(self.first()?, |at, _| self.next(at))
        } else {
            (index + 1..0).try_fold(self.last()?, |at, _| self.prev(at))
        }
    }

    /// All elements, from either end.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter { bytes: self.0, front: HEADER_BYTES, back: self.end() }
    }

    /// The elements from this one on, from either end.
    #[inline]
    pub fn iter_from(self, at: At) -> Iter<'a> {
        Iter { bytes: self.0, front: at.offset(), back: self.end() }
    }

    /// Calls `visit` with up to `count` elements from the one at `at` on; says how many there were.
    #[inline]
    pub fn visit(self, at: At, count: usize, mut visit: impl FnMut(Element<'a>)) -> usize {
        let mut rest = self.0.get(at.offset()..self.end()).unwrap_or_default();
        for visited in 0..count {
            let Some((element, front)) = read(rest) else { return visited };
            rest = rest.get(front + back_len(front)..).unwrap_or_default();
            visit(element);
        }
        count
    }

    /// The first element at or behind `from` whose text is `wanted`, of every (`skip` + 1)th one.
    #[inline]
    pub fn find(self, from: At, wanted: &[u8], skip: usize) -> Option<At> {
        let wanted = Wanted::of(wanted);
        let end = self.end();
        let mut at = from.offset();
        let mut passing = 0;
        while at < end {
            let rest = self.0.get(at..end)?;
            if passing > 0 {
                passing -= 1;
                at += span(rest)?;
                continue;
            }
            let (element, front) = read(rest)?;
            if wanted.is(element) {
                return Some(At::of(at));
            }
            passing = skip;
            at += front + back_len(front);
        }
        None
    }
}

/// The elements of a pack in order, from either end.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        let (element, front) = read(self.bytes.get(self.front..self.back)?)?;
        self.front += front + back_len(front);
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (front, back_len) = read_back(self.bytes.get(self.front..self.back)?)?;
        let start = self.back.checked_sub(front + back_len)?;
        let (element, _) = read(self.bytes.get(start..self.back)?)?;
        self.back = start;
        Some(element)
    }
}

/// The element at the start of `bytes`, and how many bytes its encoding and content take.
#[inline]
fn read(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((Element::Int(i64::from(first)), 1));
    }
    if first < 0xC0 {
        let end = 1 + usize::from(first & 0x3F);
        return Some((Element::Bytes(bytes.get(1..end)?), end));
    }
    let second = *bytes.get(1)?;
    if first < 0xE0 {
        // Thirteen bits with a sign: shifted up to the sign of sixteen and back.
        let raw = u16::from_be_bytes([first & 0x1F, second]) << 3;
        return Some((Element::Int(i64::from(raw as i16 >> 3)), 2));
    }
    if first < 0xF0 {
        let end = 2 + usize::from(u16::from_be_bytes([first & 0x0F, second]));
        return Some((Element::Bytes(bytes.get(2..end)?), end));
    }
    read_wide(bytes, first)
}

/// The encodings behind 0xF0: long strings and wide integers.
fn read_wide(bytes: &[u8], first: u8) -> Option<(Element<'_>, usize)> {
    let little = |width: usize| -> Option<i64> {
        let mut wide = [0; 8];
        // At the top, so that shifting down carries the sign.
        wide[8 - width..].copy_from_slice(bytes.get(1..=width)?);
        Some(i64::from_le_bytes(wide) >> (64 - 8 * width))
    };
    match first {
        0xF0 => {
            let end = 5 + u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
            Some((Element::Bytes(bytes.get(5..end)?), end))
        }
        0xF1 => Some((Element::Int(little(2)?), 3)),
        0xF2 => Some((Element::Int(little(3)?), 4)),
        0xF3 => Some((Element::Int(little(4)?), 5)),
        0xF4 => Some((Element::Int(little(8)?), 9)),
        _ => None,
    }
}

/// All bytes of the element at the start of `bytes`, content unseen.
#[inline]
fn span(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    let front = if first < 0x80 {
        1
    } else if first < 0xC0 {
        1 + usize::from(first & 0x3F)
    } else if first < 0xE0 {
        2
    } else if first < 0xF0 {
        2 + usize::from(u16::from_be_bytes([first & 0x0F, *bytes.get(1)?]))
    } else {
        read_wide(bytes, first)?.1
    };
    Some(front + back_len(front))
}

/// How many bytes the length behind an element of `front` bytes takes. The bounds are Redis's, one short of what would
/// fit at two of them.
#[inline]
fn back_len(front: usize) -> usize {
    match front {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// The length behind an element of `front` bytes: seven bits a byte, the highest first; all but the first are marked.
#[inline]
fn back_of(front: usize) -> ([u8; BACK_BYTES_MAX], usize) {
    let len = back_len(front);
    let mut back = [0; BACK_BYTES_MAX];
    for (at, byte) in back[..len].iter_mut().enumerate() {
        let mark = if at == 0 { 0 } else { 0x80 };
        *byte = (front >> (7 * (len - 1 - at))) as u8 & 0x7F | mark;
    }
    (back, len)
}

/// Reads the length at the end of `bytes`: what it says, and how many bytes it takes itself.
#[inline]
fn read_back(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut front = 0;
    for (at, byte) in bytes.iter().rev().take(BACK_BYTES_MAX).enumerate() {
        front |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((front, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests;
