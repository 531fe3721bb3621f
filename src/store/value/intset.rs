//! Intsets: a sorted row of different integers, all of one width, in Redis's format byte for byte.
//!
//! Width (u32: 2, 4 or 8 bytes) and number of integers (u32), then the integers, everything little-endian. The width
//! grows with the first integer that needs it and never shrinks. [`Ints`] reads, from an entry's own bytes or from a
//! buffer; [`IntBuf`] owns and edits. Whatever the bytes are, nothing panics. No bytes at all are an intset, too.

use crate::store::object::size_class;

/// Bytes before the first integer.
const HEADER_BYTES: usize = 8;
/// Most integers, as in Redis: their bytes stay below 4 GiB.
pub const INTS_MAX: usize = 1 << 30;

/// A row of integers, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Ints<'a> {
    width: usize,
    /// The integers alone.
    rows: &'a [u8],
}

impl<'a> Ints<'a> {
    /// Takes `bytes` for an intset without looking at the integers. What is cut off is not there.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Self {
        let width = match bytes.first() {
            Some(2) => 2,
            Some(4) => 4,
            _ => 8,
        };
        let rows = bytes.get(HEADER_BYTES..).unwrap_or_default();
        Self { width, rows: &rows[..rows.len() - rows.len() % width] }
    }

    /// Looks at every byte: for intsets that come from outside, which must hold something.
    pub fn check(bytes: &'a [u8]) -> Option<Self> {
        let width = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let count = u32::from_le_bytes(bytes.get(4..HEADER_BYTES)?.try_into().ok()?) as usize;
        let rows = bytes.len() - HEADER_BYTES;
        if !matches!(width, 2 | 4 | 8) || count == 0 || count.checked_mul(width) != Some(rows) {
            return None;
        }
        let ints = Self::of(bytes);
        ints.iter().zip(ints.iter().skip(1)).all(|(one, next)| one < next).then_some(ints)
    }

    /// The whole intset, copied.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.rows.len());
        bytes.extend_from_slice(&(self.width as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.rows);
        bytes
    }

    /// How many integers there are.
    #[inline]
    pub fn len(self) -> usize {
        self.rows.len() / self.width
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.rows.is_empty()
    }

    /// The integer at `index`; 0 if there is none.
    #[inline]
    pub fn get(self, index: usize) -> i64 {
        let at = index * self.width;
        self.rows.get(at..at + self.width).map_or(0, read)
    }

    /// Where an integer stands, or where it would have to.
    #[inline]
    pub fn find(self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Most integers arrive in ascending order.
        if high > 0 && value > self.get(high - 1) {
            return Err(high);
        }
        while low < high {
            let middle = (low + high) / 2;
            match self.get(middle).cmp(&value) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// All integers, ascending.
    #[inline]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone {
        self.rows.chunks_exact(self.width).map(read)
    }
}

#[inline]
fn read(bytes: &[u8]) -> i64 {
    match *bytes {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => bytes.try_into().map_or(0, i64::from_le_bytes),
    }
}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// A row of integers that can be changed.
#[derive(Clone, Debug, Default)]
pub struct IntBuf(Vec<u8>);

impl IntBuf {
    /// Takes `bytes` for an intset without looking at them.
    #[inline]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The reading side.
    #[inline]
    pub fn as_ints(&self) -> Ints<'_> {
        Ints::of(&self.0)
    }

    /// The bytes; none while the set was never added to.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The buffer.
    #[inline]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// Bytes that the allocator holds for the buffer.
    #[inline]
    pub fn capacity_bytes(&self) -> usize {
        size_class(self.0.capacity())
    }

    /// Gives back what the buffer has to spare.
    pub fn shrink(&mut self) {
        self.0.shrink_to(size_class(self.0.len()));
    }

    /// Adds an integer; false if it was there, or if there are [`INTS_MAX`].
    pub fn insert(&mut self, value: i64) -> bool {
        let Err(at) = self.as_ints().find(value) else { return false };
        if self.as_ints().len() >= INTS_MAX {
            return false;
        }
        if self.0.is_empty() {
            self.0.extend_from_slice(&(width_of(value) as u32).to_le_bytes());
            self.0.extend_from_slice(&0u32.to_le_bytes());
        }
        let width = self.as_ints().width;
        if width_of(value) > width {
            self.widen(width, width_of(value));
        }
        let width = width.max(width_of(value));
        self.reserve(width);
        let from = HEADER_BYTES + at * width;
        let end = self.0.len();
        self.0.resize(end + width, 0);
        self.0.copy_within(from..end, from + width);
        self.0[from..from + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.write_count();
        true
    }

    /// Takes an integer out; false if it was not there.
    pub fn remove(&mut self, value: i64) -> bool {
        match self.as_ints().find(value) {
            Ok(at) => {
                self.remove_at(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes the integer at an index out, if there is one.
    pub fn remove_at(&mut self, index: usize) {
        let ints = self.as_ints();
        let (count, width) = (ints.len(), ints.width);
        if index >= count {
            return;
        }
        let from = HEADER_BYTES + index * width;
        let end = HEADER_BYTES + count * width;
        self.0.copy_within(from + width..end, from);
        self.0.truncate(end - width);
        self.write_count();
    }

    /// Writes all integers with more bytes each.
    fn widen(&mut self, from: usize, to: usize) {
        let count = self.as_ints().len();
        let mut wide = Vec::with_capacity(size_class(HEADER_BYTES + (count + 1) * to));
        wide.extend_from_slice(&(to as u32).to_le_bytes());
        wide.extend_from_slice(&(count as u32).to_le_bytes());
        for row in self.0[HEADER_BYTES..].chunks_exact(from) {
            wide.extend_from_slice(&read(row).to_le_bytes()[..to]);
        }
        self.0 = wide;
    }

    /// Room for one more: a whole one of the allocator's classes.
    fn reserve(&mut self, width: usize) {
        let needed = self.0.len() + width;
        if needed > self.0.capacity() {
            self.0.reserve_exact(size_class(needed) - self.0.len());
        }
    }

    fn write_count(&mut self) {
        let count = self.as_ints().len() as u32;
        if let Some(place) = self.0.get_mut(4..HEADER_BYTES) {
            place.copy_from_slice(&count.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IntBuf, Ints};
    use crate::base::rng::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn intsets_are_what_ordered_sets_are() {
        let mut rng = Rng::seeded(5);
        for round in 0..60 {
            let (mut ints, mut model) = (IntBuf::default(), BTreeSet::new());
            let spread: u64 = [40, 1 << 16, 1 << 40][round % 3];
            for _ in 0..300 {
                let value = rng.below(spread) as i64 - (spread / 2) as i64;
                if rng.below(3) == 0 {
                    assert_eq!(ints.remove(value), model.remove(&value));
                } else {
                    assert_eq!(ints.insert(value), model.insert(value));
                }
                assert_eq!(ints.as_ints().find(value).is_ok(), model.contains(&value));
            }
            assert!(ints.as_ints().iter().eq(model.iter().copied()));
            assert_eq!(ints.as_ints().len(), model.len());
            assert_eq!(Ints::check(ints.bytes()).is_some(), !model.is_empty());
            assert_eq!(Ints::of(&ints.as_ints().to_bytes()).rows, ints.as_ints().rows);
            ints.shrink();
            assert!(ints.capacity_bytes() >= ints.bytes().len());
            while !ints.as_ints().is_empty() {
                let first = ints.as_ints().get(0);
                ints.remove_at(0);
                assert!(model.remove(&first));
            }
            assert!(model.is_empty());
        }
    }

    #[test]
    fn the_format_is_that_of_redis() {
        let mut ints = IntBuf::default();
        assert!(ints.bytes().is_empty() && ints.as_ints().is_empty());
        for value in [5, -1, 256] {
            ints.insert(value);
        }
        assert_eq!(ints.bytes(), b"\x02\0\0\0\x03\0\0\0\xff\xff\x05\0\0\x01");
        ints.insert(70_000);
        assert_eq!(ints.bytes(), b"\x04\0\0\0\x04\0\0\0\xff\xff\xff\xff\x05\0\0\0\0\x01\0\0\x70\x11\x01\0");
        ints.insert(i64::MIN);
        assert_eq!(ints.as_ints().iter().collect::<Vec<_>>(), [i64::MIN, -1, 5, 256, 70_000]);
        assert_eq!(ints.as_ints().get(99), 0);
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        for bytes in [
            &b""[..],
            b"\x02\0\0\0\0\0\0\0",
            b"\x03\0\0\0\x01\0\0\0\x01\x02\x03",
            b"\x02\0\0\0\x02\0\0\0\x01\0",
            b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0",
            b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
            b"\x02\0\0\0\xff\xff\xff\xff\x01\0",
        ] {
            assert!(Ints::check(bytes).is_none(), "{bytes:x?}");
        }
        assert!(Ints::check(b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0").is_some());
    }
}
