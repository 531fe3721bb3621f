//! The identifier of a stream's entry: a time in ms and a sequence number, ordered by the time first.
//!
//! Reading accepts what Redis accepts and nothing else; writing gives the one canonical text. Nothing here allocates.

use crate::base::num::{IntegerText, parse_i64, parse_u64};

/// Longest text of an identifier: two numbers of 20 digits and the dash.
const TEXT_MAX_BYTES: usize = 41;
/// Longest text that is read at all.
const READ_MAX_BYTES: usize = 127;

/// The identifier of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix ms, by the clock of the node or as the client said.
    pub ms: u64,
    /// Tells the entries of one ms apart.
    pub seq: u64,
}

impl StreamId {
    /// `0-0`, which no entry has.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The greatest identifier there is.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An identifier of these parts.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The next greater one; none behind the greatest.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The next smaller one; none before `0-0`.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Reads `<ms>-<seq>`, or `<ms>` alone, which stands for `missing_seq`.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        let (ms, seq) = split(text)?;
        let seq = match seq {
            Some(seq) => number(seq)?,
            None => missing_seq,
        };
        Some(Self { ms: number(ms)?, seq })
    }

    /// Reads the `<ms>` of `<ms>-*`, whose sequence number is still to be found.
    pub fn parse_open(text: &[u8]) -> Option<u64> {
        match split(text)? {
            (ms, Some(b"*")) => number(ms),
            _ => None,
        }
    }
}

/// The texts before and behind the first dash; the second is absent without one.
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > READ_MAX_BYTES {
        return None;
    }
    // Redis reads these as C strings, which end at a zero byte.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

/// Reads one part. Beyond canonical numbers, blanks and a sign in front and leading zeros pass, as in Redis, and a
/// negative number that is not canonical counts from the end of the range.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_u64(text) {
        return Some(value);
    }
    if parse_i64(text).is_some() {
        return None;
    }
    let blanks = text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    let value = match &digits[zeros..] {
        [] if zeros > 0 => 0,
        rest => parse_u64(rest)?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// The text of one identifier; lives on the caller's stack.
#[derive(Debug)]
pub struct IdText {
    bytes: [u8; TEXT_MAX_BYTES],
    len: usize,
}

impl IdText {
    /// The text of `id`.
    pub fn of(id: StreamId) -> Self {
        let mut text = Self { bytes: [0; TEXT_MAX_BYTES], len: 0 };
        let mut number = IntegerText::new();
        text.push(number.format_u64(id.ms));
        text.push(b"-");
        text.push(number.format_u64(id.seq));
        text
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::{IdText, StreamId};

    fn id(ms: u64, seq: u64) -> Option<StreamId> {
        Some(StreamId::new(ms, seq))
    }

    #[test]
    fn identifiers_are_read_as_redis_reads_them() {
        let cases: &[(&str, Option<StreamId>)] = &[
            ("0-0", id(0, 0)),
            ("5", id(5, 7)),
            ("5-3", id(5, 3)),
            ("18446744073709551615-18446744073709551615", Some(StreamId::MAX)),
            ("007-01", id(7, 1)),
            (" 7-+1", id(7, 1)),
            ("7-1\0rest", id(7, 1)),
            ("7--01", id(7, u64::MAX)),
            ("7--1", None),
            ("18446744073709551616-0", None),
            ("", None),
            ("-", None),
            ("-1", None),
            ("1-", None),
            ("1-x", None),
            ("1-*", None),
            ("+", None),
            ("$", None),
            ("1-2-3", None),
        ];
        for (text, expected) in cases {
            assert_eq!(StreamId::parse(text.as_bytes(), 7), *expected, "{text:?}");
        }
        assert_eq!(StreamId::parse(&[b'1'; 128], 0), None);
        assert_eq!(StreamId::parse_open(b"12-*"), Some(12));
        assert_eq!(StreamId::parse_open(b"12-1"), None);
        assert_eq!(StreamId::parse_open(b"*"), None);
    }

    #[test]
    fn neighbours_carry_between_the_parts() {
        let edge = StreamId::new(4, u64::MAX);
        assert_eq!(edge.next(), id(5, 0));
        assert_eq!(StreamId::new(5, 0).previous(), Some(edge));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert_eq!(StreamId::MIN.next(), id(0, 1));
    }

    #[test]
    fn the_text_reads_back() {
        for case in [StreamId::MIN, StreamId::new(1_700_000_000_000, 3), StreamId::MAX] {
            let text = IdText::of(case);
            assert_eq!(StreamId::parse(text.as_bytes(), 1), Some(case));
        }
        assert_eq!(IdText::of(StreamId::new(3, 0)).as_bytes(), b"3-0");
    }
}
