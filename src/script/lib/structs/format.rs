//! The format strings of `struct`, and the bytes of single numbers: pure, without Lua.
//!
//! Sizes and alignments behave as the C library's do, unusual ones included: integers of up to 32 bytes of which eight
//! count, and alignments to sizes that are no powers of two.

use std::fmt;

/// Most bytes of an integer.
const INTEGER_BYTES_MAX: usize = 32;
/// The alignment that `!` alone sets.
const ALIGNMENT_DEFAULT: usize = 8;

/// Why a format is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A number in it is too large for any size.
    Overflow,
    /// An integer of so many bytes.
    Size(usize),
    /// An alignment that is no power of two.
    Alignment(usize),
    /// A letter that means nothing.
    Option(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow => out.write_str("integral size overflow"),
            Self::Size(size) => {
                write!(out, "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}")
            }
            Self::Alignment(size) => write!(out, "alignment {size} is not a power of 2"),
            Self::Option(letter) => write!(out, "invalid format option '{}'", char::from(*letter)),
        }
    }
}

/// What an item of a format is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer.
    Integer {
        /// Whether it may be negative.
        is_signed: bool,
    },
    /// A float of four bytes.
    Single,
    /// A float of eight bytes.
    Double,
    /// A byte that means nothing.
    Padding,
    /// Bytes, as many as the size says; with size 0, as many as there are.
    Bytes,
    /// Bytes up to a NUL.
    Terminated,
    /// No item: an order of bytes, an alignment, a space, or nothing known.
    Control(u8),
}

/// One item of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: usize,
    /// How many bytes are left out in front of it.
    pub gap: usize,
}

/// A format that is being read.
#[derive(Clone, Copy, Debug)]
pub struct Format<'a> {
    rest: &'a [u8],
    is_big_endian: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    /// A format; it ends at a NUL.
    pub fn new(text: &'a [u8]) -> Self {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Self { rest: &text[..end], is_big_endian: false, alignment: 1 }
    }

    /// The next item, which stands behind `position` bytes; `None` at the end. A [`Kind::Control`] has no effect until
    /// it is handed to [`Self::control`].
    ///
    /// # Errors
    /// [`Fault::Overflow`], [`Fault::Size`]
    pub fn next(&mut self, position: usize) -> Result<Option<Item>, Fault> {
        let Some((letter, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let (kind, size) = match letter {
            b'b' | b'B' => (integer(*letter), 1),
            b'h' | b'H' => (integer(*letter), 2),
            b'l' | b'L' | b'T' => (integer(*letter), 8),
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_BYTES_MAX {
                    return Err(Fault::Size(size));
                }
                (integer(*letter), size)
            }
            b'f' => (Kind::Single, 4),
            b'd' => (Kind::Double, 8),
            b'x' => (Kind::Padding, 1),
            b'c' => (Kind::Bytes, self.number(1)?),
            b's' => (Kind::Terminated, 0),
            _ => (Kind::Control(*letter), 0),
        };
        Ok(Some(Item { kind, size, gap: self.gap(position, kind, size) }))
    }

    /// Obeys a [`Kind::Control`].
    ///
    /// # Errors
    /// [`Fault::Overflow`], [`Fault::Alignment`], [`Fault::Option`]
    pub fn control(&mut self, letter: u8) -> Result<(), Fault> {
        match letter {
            b' ' => {}
            b'>' => self.is_big_endian = true,
            b'<' => self.is_big_endian = false,
            b'!' => {
                let alignment = self.number(ALIGNMENT_DEFAULT)?;
                if !alignment.is_power_of_two() {
                    return Err(Fault::Alignment(alignment));
                }
                self.alignment = alignment;
            }
            _ => return Err(Fault::Option(letter)),
        }
        Ok(())
    }

    /// The number at the start, or `default` where there is none.
    fn number(&mut self, default: usize) -> Result<usize, Fault> {
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut number = 0_i32;
        while let Some((digit, rest)) = self.rest.split_first()
            && digit.is_ascii_digit()
        {
            let grown = number.checked_mul(10).and_then(|tens| tens.checked_add(i32::from(digit - b'0')));
            number = grown.ok_or(Fault::Overflow)?;
            self.rest = rest;
        }
        Ok(number.unsigned_abs() as usize)
    }

    fn gap(&self, position: usize, kind: Kind, size: usize) -> usize {
        if size == 0 || kind == Kind::Bytes {
            return 0;
        }
        let mask = size.min(self.alignment) - 1;
        (mask + 1).wrapping_sub(position & mask) & mask
    }

    /// Appends the bytes of an integer of `size` bytes.
    pub fn write_integer(&self, number: f64, size: usize, out: &mut Vec<u8>) {
        let little = integer_bits(number).to_le_bytes();
        let byte = |at: usize| little.get(at).copied().unwrap_or(0);
        if self.is_big_endian {
            out.extend((0..size).rev().map(byte));
        } else {
            out.extend((0..size).map(byte));
        }
    }

    /// The integer in `bytes`.
    pub fn read_integer(&self, bytes: &[u8], is_signed: bool) -> f64 {
        let push = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let bits =
            if self.is_big_endian { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) };
        if !is_signed {
            return bits as f64;
        }
        // The shift wraps at 64 as a processor's does: sizes above eight have sign bits where nobody expects them.
        let sign = u64::MAX.wrapping_shl((bytes.len() as u32).wrapping_mul(8).wrapping_sub(1));
        let bits = if bits & sign != 0 { bits | sign } else { bits };
        bits.cast_signed() as f64
    }

    /// Appends a float of four bytes.
    pub fn write_single(&self, number: f64, out: &mut Vec<u8>) {
        let single = number as f32;
        out.extend_from_slice(&if self.is_big_endian { single.to_be_bytes() } else { single.to_le_bytes() });
    }

    /// The float in four bytes; `None` where there are not four.
    pub fn read_single(&self, bytes: &[u8]) -> Option<f64> {
        let bytes = bytes.try_into().ok()?;
        Some(f64::from(if self.is_big_endian {
            f32::from_be_bytes(bytes)
        } else {
            f32::from_le_bytes(bytes)
        }))
    }

    /// Appends a float of eight bytes.
    pub fn write_double(&self, number: f64, out: &mut Vec<u8>) {
        out.extend_from_slice(&if self.is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
    }

    /// The float in eight bytes; `None` where there are not eight.
    pub fn read_double(&self, bytes: &[u8]) -> Option<f64> {
        let bytes = bytes.try_into().ok()?;
        Some(if self.is_big_endian { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) })
    }
}

fn integer(letter: u8) -> Kind {
    Kind::Integer { is_signed: letter.is_ascii_lowercase() }
}

/// The 64 bits that C makes of a number on the processors that Redis runs on.
fn integer_bits(number: f64) -> u64 {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0;
    if number.is_nan() {
        1 << 63
    } else if number < 0.0 {
        (number as i64).cast_unsigned()
    } else if number < LIMIT {
        number as u64
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Format, Item, Kind};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    /// All items of a format one behind the other, and where they end.
    fn items(text: &[u8]) -> Result<(Vec<Item>, usize), Fault> {
        let mut format = Format::new(text);
        let mut position = 0_usize;
        let mut items = Vec::new();
        while let Some(item) = format.next(position)? {
            if let Kind::Control(letter) = item.kind {
                format.control(letter)?;
            }
            position += item.gap + item.size;
            items.push(item);
        }
        Ok((items, position))
    }

    #[test]
    fn formats_are_laid_out_as_c_does() {
        for (text, end) in [
            ("bhlTd", 1 + 2 + 8 + 8 + 8),
            ("!bhlTd", 1 + 1 + 2 + 4 + 8 + 8 + 8),
            ("!2bl", 1 + 1 + 8),
            ("!4 > bi8", 1 + 3 + 8),
            ("ii3c5c", 4 + 3 + 5 + 1),
            ("b\0l", 1),
        ] {
            assert_eq!(items(text.as_bytes()).unwrap().1, end, "{text}");
        }
        assert_eq!(items(b"i99999999999"), Err(Fault::Overflow));
        assert_eq!(items(b"i33"), Err(Fault::Size(33)));
        assert_eq!(items(b"!3"), Err(Fault::Alignment(3)));
        assert_eq!(items(b"!0"), Err(Fault::Alignment(0)));
        assert_eq!(items(b"z"), Err(Fault::Option(b'z')));
    }

    proptest! {
        #[test]
        fn integers_come_back(number: i32, size in 4..9_usize, is_big: bool) {
            let mut format = Format::new(b"");
            format.control(if is_big { b'>' } else { b'<' }).unwrap();
            let mut out = Vec::new();
            format.write_integer(f64::from(number), size, &mut out);
            prop_assert_eq!(out.len(), size);
            prop_assert_eq!(format.read_integer(&out, true), f64::from(number));
            let unsigned = f64::from(number.cast_unsigned());
            format.write_integer(unsigned, size, &mut out);
            prop_assert_eq!(format.read_integer(&out[size..], false), unsigned);
        }

        #[test]
        fn floats_come_back(bits: u64, is_big: bool) {
            let mut format = Format::new(b"");
            format.control(if is_big { b'>' } else { b'<' }).unwrap();
            let number = f64::from_bits(bits);
            let mut out = Vec::new();
            format.write_double(number, &mut out);
            let back = format.read_double(&out).unwrap();
            prop_assert!(back == number || back.is_nan() && number.is_nan());
            out.clear();
            format.write_single(number, &mut out);
            let back = format.read_single(&out).unwrap();
            prop_assert!(back == f64::from(number as f32) || back.is_nan() && number.is_nan());
        }

        #[test]
        fn any_format_ends(text: Vec<u8>) {
            let _ = items(&text);
        }
    }
}
