//! An entry as it travels to another node: records, one behind the other, each whole in itself.
//!
//! ```text
//! record    version (high 4 bits of a byte) · kind (low 4 bits), then
//!   1 entry   traits · key bytes · value bytes · key · value
//!   2 absent  key bytes · key                               the key is not there (any more)
//!   3 clear   slot (2 bytes, little-endian)                 the slot holds nothing (any more)
//!   4 first   traits · slot (2 bytes) · key bytes · value bytes · part bytes · part
//!   5 part    part bytes · part
//! traits    flags (bit 0 raw · bit 1 has a TTL · bits 2–3 queue · bits 4–5 frequency · bits 6–7 are 0)
//!           · body (0 string · 1 to 6 a packed value's form · 16 a value as DUMP writes it · 32 a part of one, plus 1
//!           for the first and 2 for the last) · idle seconds (2 bytes) · TTL, if it has one: ms that remain when it is sent
//! ```
//! Numbers without a width are LEB128, in as few bytes as they need. An entry of more than [`PART_BYTES`] is cut: the
//! bytes of key and value, one behind the other, go in parts that follow each other with nothing in between. A large
//! collection goes as entries of one key, one behind the other, whose elements together are its own.
//!
//! The TTL is what remains at the sending, for the other node's clock may show another time: a key may live longer by
//! the time of travel, never shorter. Idle seconds, queue and frequency go along so that what was hot stays hot.
//!
//! Decoding never panics, allocates nothing, and takes no record longer than [`RECORD_BYTES_MAX`]. What it accepts is
//! encoded to the same bytes again.

use super::entry::{FREQUENCY_MAX, Queue};
use super::value::Form;
use crate::base::slot::Slot;

/// Longest key and value together that travel in one record, and the longest part of a longer one.
pub const PART_BYTES: usize = 256 * 1024;
/// Longest record: one that names a key as long as feeds hold.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024 + 64;
/// Longest key, and longest value, as long as a request may be.
pub const BODY_BYTES_MAX: u64 = u32::MAX as u64;

const VERSION: u8 = 1;
const KIND_BITS: u32 = 4;
const ENTRY: u8 = 1;
const ABSENT: u8 = 2;
const CLEAR: u8 = 3;
const FIRST: u8 = 4;
const PART: u8 = 5;

const RAW: u8 = 1;
const HAS_TTL: u8 = 1 << 1;
const QUEUE_SHIFT: u32 = 2;
const FREQUENCY_SHIFT: u32 = 4;
const FLAGS: u8 = 0b11_1111;
const STRING: u8 = 0;
const DUMPED: u8 = 16;
const PART_OF: u8 = 32;
const IS_FIRST: u8 = 1;
const IS_LAST: u8 = 1 << 1;
const PART_OF_MAX: u8 = PART_OF | IS_FIRST | IS_LAST;

const _: () =
    assert!(super::feed::FEED_BYTES_MAX + 16 <= RECORD_BYTES_MAX && PART_BYTES + 64 <= RECORD_BYTES_MAX);

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A string.
    String,
    /// A packed value of another type.
    Packed(Form),
    /// A value of another type, as DUMP writes it, without version and checksum.
    Dumped,
    /// Some elements of a large value, written in the same way.
    PartOf {
        /// Nothing of the value came before.
        is_first: bool,
        /// The value is whole with these.
        is_last: bool,
    },
}

impl Body {
    fn number(self) -> u8 {
        match self {
            Self::String => STRING,
            Self::Packed(form) => form as u8,
            Self::Dumped => DUMPED,
            Self::PartOf { is_first, is_last } => {
                PART_OF | if is_first { IS_FIRST } else { 0 } | if is_last { IS_LAST } else { 0 }
            }
        }
    }

    fn of(number: u8) -> Result<Self, Malformed> {
        match number {
            STRING => Ok(Self::String),
            DUMPED => Ok(Self::Dumped),
            PART_OF..=PART_OF_MAX => {
                let has = |flag: u8| number & flag != 0;
                Ok(Self::PartOf { is_first: has(IS_FIRST), is_last: has(IS_LAST) })
            }
            number => Form::known(number).map(Self::Packed).ok_or(Malformed::Unknown),
        }
    }
}

/// What travels of an entry beside key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// What the value's bytes are.
    pub body: Body,
    /// OBJECT ENCODING calls it "raw".
    pub raw: bool,
    /// Ms until it is due; nothing if it never is.
    pub ttl_ms: Option<u64>,
    /// The queue it stands in.
    pub queue: Queue,
    /// Hits since it was last weighed, up to [`FREQUENCY_MAX`].
    pub frequency: u8,
    /// Seconds since the last access, as far as 16 bits can tell.
    pub idle_seconds: u16,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A key's entry.
    Entry {
        /// What it is like.
        traits: Traits,
        /// Its key.
        key: &'a [u8],
        /// Its value's bytes.
        value: &'a [u8],
    },
    /// The key is not there.
    Absent {
        /// The key.
        key: &'a [u8],
    },
    /// The slot holds nothing.
    Clear {
        /// The slot.
        slot: Slot,
    },
    /// The first part of an entry that was cut.
    First {
        /// What it is like.
        traits: Traits,
        /// Its slot.
        slot: Slot,
        /// Length of the key.
        key_bytes: usize,
        /// Length of the value.
        value_bytes: usize,
        /// The first bytes of key and value.
        part: &'a [u8],
    },
    /// Further bytes of an entry that was cut.
    Part {
        /// The bytes.
        part: &'a [u8],
    },
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They end before the record does.
    Truncated,
    /// They are of another version.
    Version,
    /// There is no such record, flag, queue, type or slot.
    Unknown,
    /// A number takes more bytes than it needs or than there are numbers.
    Number,
    /// Something is longer than it may be.
    TooLong,
}

impl Record<'_> {
    /// Appends the record's bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let head = |kind: u8| VERSION << KIND_BITS | kind;
        match self {
            Self::Entry { traits, key, value } => {
                out.push(head(ENTRY));
                traits.encode_into(out);
                number_into(out, key.len() as u64);
                number_into(out, value.len() as u64);
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
            Self::Absent { key } => {
                out.push(head(ABSENT));
                bytes_into(out, key);
            }
            Self::Clear { slot } => {
                out.push(head(CLEAR));
                out.extend_from_slice(&slot.number().to_le_bytes());
            }
            Self::First { traits, slot, key_bytes, value_bytes, part } => {
                out.push(head(FIRST));
                traits.encode_into(out);
                out.extend_from_slice(&slot.number().to_le_bytes());
                number_into(out, *key_bytes as u64);
                number_into(out, *value_bytes as u64);
                bytes_into(out, part);
            }
            Self::Part { part } => {
                out.push(head(PART));
                bytes_into(out, part);
            }
        }
    }
}

impl<'a> Record<'a> {
    /// The record at the start of `bytes`, and its length.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let mut input = Input { rest: bytes };
        let head = input.byte()?;
        if head >> KIND_BITS != VERSION {
            return Err(Malformed::Version);
        }
        let record = match head & ((1 << KIND_BITS) - 1) {
            ENTRY => {
                let traits = Traits::decode(&mut input)?;
                let (key, value) = (input.length(PART_BYTES as u64)?, input.length(PART_BYTES as u64)?);
                if key + value > PART_BYTES {
                    return Err(Malformed::TooLong);
                }
                Self::Entry { traits, key: input.take(key)?, value: input.take(value)? }
            }
            ABSENT => Self::Absent { key: input.bytes(RECORD_BYTES_MAX - 16)? },
            CLEAR => Self::Clear { slot: input.slot()? },
            FIRST => {
                let (traits, slot) = (Traits::decode(&mut input)?, input.slot()?);
                let (key_bytes, value_bytes) = (input.length(BODY_BYTES_MAX)?, input.length(BODY_BYTES_MAX)?);
                let part = input.bytes(PART_BYTES)?;
                // Two lengths of 32 bits come to less than 64 bits hold.
                if part.len() as u64 > key_bytes as u64 + value_bytes as u64 {
                    return Err(Malformed::TooLong);
                }
                Self::First { traits, slot, key_bytes, value_bytes, part }
            }
            PART => Self::Part { part: input.bytes(PART_BYTES)? },
            _ => return Err(Malformed::Unknown),
        };
        Ok((record, bytes.len() - input.rest.len()))
    }
}

impl Traits {
    fn encode_into(&self, out: &mut Vec<u8>) {
        let ttl = if self.ttl_ms.is_some() { HAS_TTL } else { 0 };
        let queue = (self.queue as u8) << QUEUE_SHIFT;
        let frequency = self.frequency.min(FREQUENCY_MAX) << FREQUENCY_SHIFT;
        let [idle_low, idle_high] = self.idle_seconds.to_le_bytes();
        out.extend_from_slice(&[
            u8::from(self.raw) | ttl | queue | frequency,
            self.body.number(),
            idle_low,
            idle_high,
        ]);
        if let Some(ttl_ms) = self.ttl_ms {
            number_into(out, ttl_ms);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (flags, body) = (input.byte()?, Body::of(input.byte()?)?);
        let queue = match flags >> QUEUE_SHIFT & 0b11 {
            0 => Queue::None,
            1 => Queue::Small,
            2 => Queue::Main,
            _ => return Err(Malformed::Unknown),
        };
        if flags & !FLAGS != 0 {
            return Err(Malformed::Unknown);
        }
        let idle_seconds = u16::from_le_bytes([input.byte()?, input.byte()?]);
        let ttl_ms = if flags & HAS_TTL != 0 { Some(input.number()?) } else { None };
        Ok(Self {
            body,
            raw: flags & RAW != 0,
            ttl_ms,
            queue,
            frequency: flags >> FREQUENCY_SHIFT & 0b11,
            idle_seconds,
        })
    }
}

fn number_into(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn bytes_into(out: &mut Vec<u8>, bytes: &[u8]) {
    number_into(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(Malformed::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }

    fn length(&mut self, max: u64) -> Result<usize, Malformed> {
        let length = self.number()?;
        if length > max {
            return Err(Malformed::TooLong);
        }
        usize::try_from(length).map_err(|_| Malformed::TooLong)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let length = self.length(max as u64)?;
        self.take(length)
    }

    fn slot(&mut self) -> Result<Slot, Malformed> {
        let number = u16::from_le_bytes([self.byte()?, self.byte()?]);
        Slot::new(number).ok_or(Malformed::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    use proptest::{collection, option, prop_assert_eq, proptest};

    use super::{Body, Malformed, PART_BYTES, Record, Traits};
    use crate::base::slot::Slot;
    use crate::store::entry::Queue;
    use crate::store::value::Form;

    fn traits() -> impl Strategy<Value = Traits> {
        let queue = prop_oneof![Just(Queue::None), Just(Queue::Small), Just(Queue::Main)];
        let body = prop_oneof![
            Just(Body::String),
            Just(Body::Dumped),
            (1..=6u8).prop_map(|number| Body::Packed(Form::of(number))),
            any::<[bool; 2]>().prop_map(|[is_first, is_last]| Body::PartOf { is_first, is_last }),
        ];
        (body, any::<bool>(), option::of(any::<u64>()), queue, 0..=3u8, any::<u16>()).prop_map(
            |(body, raw, ttl_ms, queue, frequency, idle_seconds)| Traits {
                body,
                raw,
                ttl_ms,
                queue,
                frequency,
                idle_seconds,
            },
        )
    }

    /// Encodes every kind of record from the same parts.
    fn all<'a>(traits: Traits, slot: Slot, key: &'a [u8], value: &'a [u8]) -> [Record<'a>; 5] {
        let value_bytes = value.len().max(PART_BYTES) * 3;
        [
            Record::Entry { traits, key, value },
            Record::Absent { key },
            Record::Clear { slot },
            Record::First { traits, slot, key_bytes: key.len(), value_bytes, part: value },
            Record::Part { part: value },
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            traits in traits(),
            slot in 0..16_384u16,
            key in collection::vec(any::<u8>(), 0..600),
            value in collection::vec(any::<u8>(), 0..600),
        ) {
            let slot = Slot::new(slot).expect("a slot");
            for record in all(traits, slot, &key, &value) {
                let mut bytes = Vec::new();
                record.encode_into(&mut bytes);
                for end in 0..bytes.len() {
                    prop_assert_eq!(Record::decode(&bytes[..end]), Err(Malformed::Truncated));
                }
                let length = bytes.len();
                bytes.extend_from_slice(b"what follows");
                prop_assert_eq!(Record::decode(&bytes), Ok((record, length)));
            }
        }

        #[test]
        fn what_is_decoded_is_encoded_the_same(
            head in prop_oneof![0x11..=0x15u8, any::<u8>()],
            rest in collection::vec(prop_oneof![0..6u8, any::<u8>()], 0..64),
        ) {
            let mut bytes = vec![head];
            bytes.extend(rest);
            if let Ok((record, length)) = Record::decode(&bytes) {
                let mut again = Vec::new();
                record.encode_into(&mut again);
                prop_assert_eq!(&bytes[..length], &again[..]);
            }
        }
    }

    #[test]
    fn what_is_too_long_or_unknown_is_refused() {
        let refused = |bytes: &[u8]| Record::decode(bytes).expect_err("it is no record");
        assert_eq!(refused(&[0x21]), Malformed::Version);
        assert_eq!(refused(&[0x16]), Malformed::Unknown);
        assert_eq!(refused(&[0x13, 0x00, 0x40]), Malformed::Unknown, "a slot beyond the last");
        assert_eq!(refused(&[0x15, 0x81, 0x80, 0x10]), Malformed::TooLong, "a part beyond its bound");
        assert_eq!(refused(&[0x15, 0x81, 0x00]), Malformed::Number, "a byte too many");
        assert_eq!(refused(&[&[0x15][..], &[0xFF; 10]].concat()), Malformed::Number);
        assert_eq!(refused(&[0x11, 0x0C, 0, 0, 0]), Malformed::Unknown, "a queue");
        assert_eq!(refused(&[0x11, 0x00, 7, 0, 0]), Malformed::Unknown, "a type");
        assert_eq!(refused(&[0x11, 0x40, 0, 0, 0]), Malformed::Unknown, "a flag");
        // First: a part longer than key and value say.
        assert_eq!(refused(&[0x14, 0, 0, 0, 0, 0, 0, 1, 1, 3, 1, 2, 3]), Malformed::TooLong);
    }
}
