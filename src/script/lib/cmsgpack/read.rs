//! The pure half of `cmsgpack.unpack`: bytes in, one item at a time out. It knows no Lua, keeps nothing and allocates
//! nothing: how arrays and maps nest is for the caller to follow, and how many items one claims to have says nothing of
//! how many follow.

use std::fmt;

/// Why bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end within an item.
    Short,
    /// A byte that begins no item.
    Unknown,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Short => "Missing bytes in input.",
            Self::Unknown => "Bad data format in input.",
        })
    }
}

/// One item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Boolean(bool),
    /// An integer; an unsigned one beyond the signed is taken as signed, as Redis takes it.
    Integer(i64),
    /// A number that need not be an integer.
    Number(f64),
    /// Bytes.
    Text(&'a [u8]),
    /// An array of so many items, which follow.
    Array(u32),
    /// A map of so many pairs, which follow.
    Map(u32),
}

/// Bytes that are being read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next item.
    ///
    /// # Errors
    /// See [`Fault`]. No bytes are left to read then, or they stay unread.
    pub fn next_item(&mut self) -> Result<Item<'a>, Fault> {
        let first = self.rest.first().copied().ok_or(Fault::Short)?;
        if first == 0xc1 {
            return Err(Fault::Unknown);
        }
        self.take(1)?;
        Ok(match first {
            0x00..=0x7f | 0xe0..=0xff => Item::Integer(i64::from(first.cast_signed())),
            0x80..=0x8f => Item::Map(u32::from(first & 0x0f)),
            0x90..=0x9f => Item::Array(u32::from(first & 0x0f)),
            0xa0..=0xbf => self.text(usize::from(first & 0x1f))?,
            0xc2 => Item::Boolean(false),
            0xc3 => Item::Boolean(true),
            0xca => Item::Number(f64::from(f32::from_be_bytes(self.array()?))),
            0xcb => Item::Number(f64::from_be_bytes(self.array()?)),
            0xcc => Item::Integer(i64::from(u8::from_be_bytes(self.array()?))),
            0xcd => Item::Integer(i64::from(u16::from_be_bytes(self.array()?))),
            0xce => Item::Integer(i64::from(u32::from_be_bytes(self.array()?))),
            0xcf | 0xd3 => Item::Integer(i64::from_be_bytes(self.array()?)),
            0xd0 => Item::Integer(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => Item::Integer(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => Item::Integer(i64::from(i32::from_be_bytes(self.array()?))),
            0xd9 => {
                let length = u8::from_be_bytes(self.array()?);
                self.text(usize::from(length))?
            }
            0xda => {
                let length = u16::from_be_bytes(self.array()?);
                self.text(usize::from(length))?
            }
            0xdb => {
                let length = u32::from_be_bytes(self.array()?);
                self.text(usize::try_from(length).map_err(|_| Fault::Short)?)?
            }
            0xdc => Item::Array(u32::from(u16::from_be_bytes(self.array()?))),
            0xdd => Item::Array(u32::from_be_bytes(self.array()?)),
            0xde => Item::Map(u32::from(u16::from_be_bytes(self.array()?))),
            0xdf => Item::Map(u32::from_be_bytes(self.array()?)),
            0xc0 => Item::Nil,
            // Extensions, and what is reserved.
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => return Err(Fault::Unknown),
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?.try_into().map_err(|_| Fault::Short)
    }

    fn text(&mut self, length: usize) -> Result<Item<'a>, Fault> {
        self.take(length).map(Item::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Item, Reader};
    use proptest::{prop_assert, proptest};

    #[test]
    fn every_kind_of_item_is_read() {
        for (bytes, expected) in [
            (b"\x7f".as_slice(), Item::Integer(127)),
            (b"\xe0", Item::Integer(-32)),
            (b"\xcc\xff", Item::Integer(255)),
            (b"\xcd\x01\x00", Item::Integer(256)),
            (b"\xce\xff\xff\xff\xff", Item::Integer(4_294_967_295)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Item::Integer(-1)),
            (b"\xd0\x80", Item::Integer(-128)),
            (b"\xd1\x80\x00", Item::Integer(-32768)),
            (b"\xd2\x80\x00\x00\x00", Item::Integer(-2_147_483_648)),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Item::Integer(i64::MIN)),
            (b"\xc0", Item::Nil),
            (b"\xc2", Item::Boolean(false)),
            (b"\xc3", Item::Boolean(true)),
            (b"\xca\x3f\x00\x00\x00", Item::Number(0.5)),
            (b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00", Item::Number(0.5)),
            (b"\xa2hi", Item::Text(b"hi")),
            (b"\xd9\x02hi", Item::Text(b"hi")),
            (b"\xda\x00\x02hi", Item::Text(b"hi")),
            (b"\xdb\x00\x00\x00\x02hi", Item::Text(b"hi")),
            (b"\x93", Item::Array(3)),
            (b"\xdc\x00\x10", Item::Array(16)),
            (b"\xdd\xff\xff\xff\xff", Item::Array(u32::MAX)),
            (b"\x83", Item::Map(3)),
            (b"\xde\x00\x10", Item::Map(16)),
            (b"\xdf\x00\x00\x00\x10", Item::Map(16)),
        ] {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.next_item(), Ok(expected), "{bytes:x?}");
            assert_eq!(reader.left(), 0);
            for end in 0..bytes.len() {
                assert_eq!(
                    Reader::new(&bytes[..end]).next_item(),
                    Err(Fault::Short),
                    "{bytes:x?} up to {end}"
                );
            }
        }
        for unknown in [0xc1, 0xc4, 0xc9, 0xd4, 0xd8] {
            assert_eq!(Reader::new(&[unknown]).next_item(), Err(Fault::Unknown), "{unknown:x}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            let mut left = reader.left();
            while reader.next_item().is_ok() {
                prop_assert!(reader.left() < left);
                left = reader.left();
            }
        }
    }
}
