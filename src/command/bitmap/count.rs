//! BITCOUNT and BITPOS: they read a range of bits, which may be named in bytes or in bits.
//!
//! Arguments are checked completely before the key is looked at, as Redis does since 7.2. Nothing here allocates.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::key_spec::{ACCESS, RO};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, read};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("bitcount", bitcount)
        .arity(-2)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Bitmap)
        .since("2.6.0")
        .complexity("O(N), N the number of bytes looked at.")
        .summary("Counts the bits that are set in a value or in a range of it.")
        .history(&[("7.0.0", "BYTE and BIT.")])
        .args(&[
            Arg::key("key", 0),
            Arg::block("range", &[Arg::integer("start"), Arg::integer("end"), UNIT]).optional(),
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("bitpos", bitpos)
        .arity(-3)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Bitmap)
        .since("2.8.7")
        .complexity("O(N), N the number of bytes looked at.")
        .summary("Finds the first bit that is set, or that is clear, in a value or in a range of it.")
        .history(&[("7.0.0", "BYTE and BIT.")])
        .args(&[
            Arg::key("key", 0),
            Arg::integer("bit"),
            Arg::block(
                "range",
                &[
                    Arg::integer("start"),
                    Arg::block("end-unit-block", &[Arg::integer("end"), UNIT]).optional(),
                ],
            )
            .optional(),
        ])
        .reply(Shape::Integer)
        .finish(),
];

const UNIT: Arg =
    Arg::one_of("unit", &[Arg::flag("byte", "BYTE"), Arg::flag("bit", "BIT")]).optional().since("7.0.0");

/// What the numbers of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// BYTE
    Byte,
    /// BIT
    Bit,
}

impl Unit {
    fn parse(word: Option<&[u8]>) -> Result<Self, Error> {
        match word {
            None => Ok(Self::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"byte") => Ok(Self::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"bit") => Ok(Self::Bit),
            Some(_) => Err(Error::Syntax),
        }
    }
}

/// A range as it was asked for; negative numbers count from the end, both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: i64,
    end: i64,
    unit: Unit,
}

impl Range {
    const WHOLE: Self = Self { start: 0, end: -1, unit: Unit::Byte };

    /// Its first bit and the one behind its last in a string of `length` bytes; none if nothing lies in it.
    fn within(self, length: usize) -> Option<(u64, u64)> {
        let units = match self.unit {
            Unit::Byte => length as i64,
            Unit::Bit => (length as i64).saturating_mul(8),
        };
        let absolute = |at: i64| if at < 0 { units.saturating_add(at).max(0) } else { at };
        let (start, end) = (absolute(self.start), absolute(self.end).min(units - 1));
        if start > end {
            return None;
        }
        let bits = if self.unit == Unit::Byte { 8 } else { 1 };
        Some((start as u64 * bits, (end as u64 + 1) * bits))
    }
}

fn bitcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let range = match args.len() {
        2 => Range::WHOLE,
        4 | 5 => {
            let start = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
            let end = parse_i64(&args[3]).ok_or(Error::NotAnInteger)?;
            Range { start, end, unit: Unit::parse(args.get(4))? }
        }
        _ => return Err(Error::Syntax),
    };
    let key = cx.data.key(&args[1]);
    let found = read(cx, &key)?;
    let bytes = found.map_or(&[][..], |found| cx.data.db(&key).string(found));
    // Two negative numbers in the wrong order: they would otherwise both be cut to the first byte.
    let empty = range.start < 0 && range.end < 0 && range.start > range.end;
    let within = if empty { None } else { range.within(bytes.len()) };
    let count = within.map_or(0, |(from, to)| count(bytes, from, to));
    cx.reply.integer(count as i64);
    Ok(())
}

fn bitpos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let bit = match parse_i64(&args[2]).ok_or(Error::NotAnInteger)? {
        0 => false,
        1 => true,
        _ => return Err(Error::Fixed("ERR The bit argument must be 1 or 0.")),
    };
    let mut range = Range::WHOLE;
    if let Some(start) = args.get(3) {
        range.start = parse_i64(start).ok_or(Error::NotAnInteger)?;
    }
    if args.len() > 6 {
        return Err(Error::Syntax);
    }
    range.unit = Unit::parse(args.get(5))?;
    let end_given = args.len() > 4;
    if let Some(end) = args.get(4) {
        range.end = parse_i64(end).ok_or(Error::NotAnInteger)?;
    }
    let key = cx.data.key(&args[1]);
    let position = match read(cx, &key)? {
        // A value that is not there is an endless row of zeros.
        None if bit => -1,
        None => 0,
        Some(found) => {
            let bytes = cx.data.db(&key).string(found);
            match range.within(bytes.len()) {
                None => -1,
                Some((from, to)) => match position(bytes, from, to, bit) {
                    Some(at) => at as i64,
                    // So is what lies behind a value, unless the range ends before.
                    None if !bit && !end_given => to as i64,
                    None => -1,
                },
            }
        }
    };
    cx.reply.integer(position);
    Ok(())
}

/// How many bits are set from bit `from` up to bit `to`, which is not included; `to` is at most the end of `bytes`.
fn count(bytes: &[u8], from: u64, to: u64) -> u64 {
    let (first, last) = ((from / 8) as usize, (to / 8) as usize);
    let head = u64::from((bytes[first] & !(0xFFu8 >> (from % 8))).count_ones());
    let tail = if to.is_multiple_of(8) { 0 } else { (bytes[last] & !(0xFFu8 >> (to % 8))).count_ones() };
    count_all(&bytes[first..last]) + u64::from(tail) - head
}

fn count_all(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mut sum = 0;
    for word in words.by_ref() {
        sum += u64::from(u64::from_ne_bytes(word.try_into().unwrap_or_default()).count_ones());
    }
    sum + words.remainder().iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The first bit of this value from bit `from` up to bit `to`, which is not included; `to` is at most the end of
/// `bytes`.
fn position(bytes: &[u8], from: u64, to: u64, bit: bool) -> Option<u64> {
    // What is looked for becomes a bit that is set.
    let flip: u8 = if bit { 0 } else { 0xFF };
    let (first, end) = ((from / 8) as usize, to.div_ceil(8) as usize);
    let head = (bytes[first] ^ flip) & (0xFFu8 >> (from % 8));
    let at = if head != 0 {
        first as u64 * 8 + u64::from(head.leading_zeros())
    } else {
        let rest = &bytes[first + 1..end];
        let skipped = equal_bytes(rest, flip);
        let byte = rest.get(skipped)? ^ flip;
        (first + 1 + skipped) as u64 * 8 + u64::from(byte.leading_zeros())
    };
    (at < to).then_some(at)
}

/// How many bytes at the beginning are `byte`.
fn equal_bytes(bytes: &[u8], byte: u8) -> usize {
    const WIDTH: usize = 32;
    let wide = [byte; WIDTH];
    let blocks = bytes.chunks_exact(WIDTH).take_while(|block| *block == wide).count() * WIDTH;
    blocks + bytes[blocks..].iter().take_while(|other| **other == byte).count()
}

#[cfg(test)]
mod tests {
    use super::{Range, Unit, count, position};
    use crate::base::rng::Rng;

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes[(at / 8) as usize] & (0x80u8 >> (at % 8)) != 0
    }

    #[test]
    fn ranges_of_bits_are_counted_and_searched() {
        let mut rng = Rng::seeded(7);
        for round in 0..2000 {
            let length = 1 + rng.below(80);
            // Mostly one value, so that a search goes far.
            let fill = if round % 2 == 0 { 0 } else { 0xFF };
            let mut bytes = vec![fill; length as usize];
            for _ in 0..rng.below(3) {
                bytes[rng.below(length) as usize] = rng.next_u64() as u8;
            }
            let from = rng.below(length * 8);
            let to = from + 1 + rng.below(length * 8 - from);
            let expected = (from..to).filter(|at| bit(&bytes, *at)).count() as u64;
            assert_eq!(count(&bytes, from, to), expected, "{bytes:x?} {from}..{to}");
            for wanted in [false, true] {
                let expected = (from..to).find(|at| bit(&bytes, *at) == wanted);
                assert_eq!(position(&bytes, from, to, wanted), expected, "{bytes:x?} {from}..{to}");
            }
        }
    }

    #[test]
    fn ranges_are_cut_to_the_string() {
        let range = |start, end, unit| Range { start, end, unit };
        let cases = [
            (Range::WHOLE, Some((0, 24))),
            (range(1, 1, Unit::Byte), Some((8, 16))),
            (range(-2, -1, Unit::Byte), Some((8, 24))),
            (range(-9, 9, Unit::Byte), Some((0, 24))),
            (range(3, 9, Unit::Byte), None),
            (range(2, 1, Unit::Byte), None),
            (range(5, 7, Unit::Bit), Some((5, 8))),
            (range(-1, -1, Unit::Bit), Some((23, 24))),
            (range(0, i64::MAX, Unit::Bit), Some((0, 24))),
            (range(i64::MIN, i64::MIN, Unit::Bit), Some((0, 1))),
            (range(i64::MAX, i64::MIN, Unit::Byte), None),
        ];
        for (range, expected) in cases {
            assert_eq!(range.within(3), expected, "{range:?}");
            assert_eq!(range.within(0), None);
        }
    }
}
