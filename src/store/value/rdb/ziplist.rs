//! Ziplists and zipmaps: the packed forms that Redis used before listpacks, to be read alone.

use super::read::Malformed;
use crate::store::value::listpack::Element;

/// Bytes before a ziplist's first entry: total, offset of the last entry, number of entries.
const HEADER_BYTES: usize = 10;
/// The number of entries that says "more than fits here".
const COUNT_UNKNOWN: u16 = u16::MAX;
const END: u8 = 0xFF;
/// In an entry's first byte: the length of the one before takes four bytes more.
const LONG: u8 = 0xFE;
/// The number of a zipmap's fields from which on it says nothing.
const ZIPMAP_COUNT_MAX: u8 = 254;

/// The elements of a ziplist, all of whose bytes are checked.
pub fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, Malformed> {
    read(bytes).ok_or(Malformed)
}

fn read(bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let total = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let last = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    let count = u16::from_le_bytes(bytes.get(8..HEADER_BYTES)?.try_into().ok()?);
    let (&end, body) = bytes.split_last()?;
    if total != bytes.len() || end != END || body.len() < HEADER_BYTES {
        return None;
    }
    let mut found = Vec::new();
    let (mut at, mut before, mut length_before) = (HEADER_BYTES, HEADER_BYTES, 0);
    while at < body.len() {
        let rest = body.get(at..)?;
        let (previous, width) = previous_length(rest)?;
        let (element, taken) = entry(rest.get(width..)?)?;
        if previous != length_before {
            return None;
        }
        found.push(element);
        before = at;
        length_before = width + taken;
        at += length_before;
    }
    let counted = count == COUNT_UNKNOWN || usize::from(count) == found.len();
    (counted && last == before).then_some(found)
}

/// The length of the entry before, and how many bytes say it.
fn previous_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.first()? {
        LONG => Some((u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize, 5)),
        END => None,
        length => Some((usize::from(length), 1)),
    }
}

/// The element behind its predecessor's length, and how many bytes it takes.
fn entry(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let first = *bytes.first()?;
    let text = |from: usize, length: usize| {
        let end = from.checked_add(length)?;
        Some((Element::Bytes(bytes.get(from..end)?), end))
    };
    let integer = |width: usize| {
        let mut wide = [0; 8];
        // At the top, so that shifting down carries the sign.
        wide[8 - width..].copy_from_slice(bytes.get(1..=width)?);
        Some((Element::Int(i64::from_le_bytes(wide) >> (64 - 8 * width)), 1 + width))
    };
    match first {
        0x00..0x40 => text(1, usize::from(first)),
        0x40..0x80 => text(2, usize::from(first & 0x3F) << 8 | usize::from(*bytes.get(1)?)),
        0x80 => text(5, u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?) as usize),
        0xC0 => integer(2),
        0xD0 => integer(4),
        0xE0 => integer(8),
        0xF0 => integer(3),
        0xFE => integer(1),
        0xF1..=0xFD => Some((Element::Int(i64::from(first & 0x0F) - 1), 1)),
        _ => None,
    }
}

/// The fields and values of a zipmap, one after the other.
pub fn zipmap(bytes: &[u8]) -> Result<Vec<Element<'_>>, Malformed> {
    read_zipmap(bytes).ok_or(Malformed)
}

fn read_zipmap(bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let (&count, mut rest) = bytes.split_first()?;
    let mut found = Vec::new();
    while *rest.first()? != END {
        let (field, after) = zipmap_text(rest, false)?;
        let (value, after) = zipmap_text(after, true)?;
        found.push(Element::Bytes(field));
        found.push(Element::Bytes(value));
        rest = after;
    }
    let counted = count >= ZIPMAP_COUNT_MAX || usize::from(count) * 2 == found.len();
    (counted && rest.len() == 1).then_some(found)
}

/// A text of a zipmap, and what comes behind it; values have free bytes behind them.
fn zipmap_text(bytes: &[u8], has_free: bool) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *bytes.first()? {
        LONG => (u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize, bytes.get(5..)?),
        END => return None,
        length => (usize::from(length), bytes.get(1..)?),
    };
    let (free, rest) = if has_free { (usize::from(*rest.first()?), rest.get(1..)?) } else { (0, rest) };
    let (text, rest) = rest.split_at_checked(length)?;
    Some((text, rest.get(free..)?))
}

#[cfg(test)]
mod tests {
    use super::{elements, zipmap};
    use crate::store::value::listpack::Element;

    fn texts(found: Vec<Element<'_>>) -> Vec<Vec<u8>> {
        found.into_iter().map(Element::to_vec).collect()
    }

    #[test]
    fn ziplists_are_read() {
        // "2", "5", "Hello World", 1024, -1 (as the format's own description shows the first two).
        let bytes =
            b"\x24\0\0\0\x20\0\0\0\x05\0\x00\xf3\x02\xf6\x02\x0bHello World\x0d\xc0\x00\x04\x04\xfe\xff";
        let mut bytes = bytes.to_vec();
        bytes.push(0xFF);
        let total = bytes.len() as u32;
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes[4..8].copy_from_slice(&(total - 4).to_le_bytes());
        let found = texts(elements(&bytes).unwrap());
        assert_eq!(found, [&b"2"[..], b"5", b"Hello World", b"1024", b"-1"]);
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken.truncate(at);
            assert!(elements(&broken).is_err());
        }
        bytes[12] = 3;
        assert!(elements(&bytes).is_err());
        assert_eq!(elements(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff").unwrap().len(), 0);
    }

    #[test]
    fn zipmaps_are_read() {
        let bytes = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02world??\xff";
        assert_eq!(texts(zipmap(bytes).unwrap()), [&b"foo"[..], b"bar", b"hello", b"world"]);
        for at in 0..bytes.len() {
            assert!(zipmap(&bytes[..at]).is_err());
        }
        assert!(zipmap(b"\x01\xff").is_err());
        assert_eq!(zipmap(b"\x00\xff").unwrap().len(), 0);
    }
}
