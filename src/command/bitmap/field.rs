//! BITFIELD and BITFIELD_RO: integers of 1 to 64 bits at any place of a value, read, set and added to.
//!
//! All operations are checked before the first is done. The value grows once, as far as the furthest write reaches;
//! then each operation changes the bytes that it touches, nine at most.

use smallvec::SmallVec;

use crate::base::num::parse_i64;
use crate::command::bitmap::{bit_offset, find_to_grow, length_of, write_at};
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeyFlags, RO, RW, UPDATE, VARIABLE_FLAGS};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, find, read};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::Found;
use crate::store::key::Key;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("bitfield", bitfield)
        .arity(-2)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY
            .flags(RW | ACCESS | UPDATE | VARIABLE_FLAGS)
            .notes("With GET alone the value is only read.")])
        .key_finder(bitfield_keys)
        .group(Group::Bitmap)
        .since("3.2.0")
        .complexity("O(1) for each operation.")
        .summary("Reads, sets and adds to integers of any width at any place of a value.")
        .args(&[
            Arg::key("key", 0),
            Arg::one_of(
                "operation",
                &[
                    Arg::block("get-block", PLACE).token("GET"),
                    Arg::block(
                        "write",
                        &[
                            Arg::one_of(
                                "overflow-block",
                                &[
                                    Arg::flag("wrap", "WRAP"),
                                    Arg::flag("sat", "SAT"),
                                    Arg::flag("fail", "FAIL"),
                                ],
                            )
                            .token("OVERFLOW")
                            .optional(),
                            Arg::one_of(
                                "write-operation",
                                &[
                                    Arg::block("set-block", SET).token("SET"),
                                    Arg::block("incrby-block", INCRBY).token("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .multiple()
            .optional(),
        ])
        .reply(Shape::Array(&Shape::OneOf(&[Shape::Integer, Shape::Null])))
        .finish(),
    Spec::new("bitfield_ro", bitfield_ro)
        .arity(-2)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Bitmap)
        .since("6.0.0")
        .complexity("O(1) for each operation.")
        .summary("Reads integers of any width at any place of a value.")
        .args(&[Arg::key("key", 0), Arg::block("get-block", PLACE).token("GET").multiple_token().optional()])
        .reply(Shape::Array(&Shape::Integer))
        .finish(),
];

const PLACE: &[Arg] = &[Arg::string("encoding"), Arg::integer("offset")];
const SET: &[Arg] = &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("value")];
const INCRBY: &[Arg] = &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("increment")];

/// Operations of one request that need no allocation.
const OPERATIONS_INLINE: usize = 4;
/// Bytes that a field of 64 bits may touch.
const WINDOW_BYTES: usize = 9;

/// BITFIELD's key, which is only read where nothing is written.
fn bitfield_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> bool {
    let mut words = args.from(2).iter();
    let mut writes = false;
    while let Some(word) = words.next() {
        let skipped = if word.eq_ignore_ascii_case(b"get") && words.len() >= 2 {
            2
        } else if word.eq_ignore_ascii_case(b"overflow") && words.len() >= 1 {
            1
        } else {
            writes = true;
            break;
        };
        words.nth(skipped - 1);
    }
    visit(1, if writes { RW | ACCESS | UPDATE } else { RO | ACCESS });
    true
}

/// What an integer that does not fit its field becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    /// Its lowest bits.
    Wrap,
    /// The nearest that fits.
    Saturate,
    /// It is not written.
    Fail,
}

impl Overflow {
    fn parse(word: &[u8]) -> Result<Self, Error> {
        let names: [(&[u8], Self); 3] =
            [(b"wrap", Self::Wrap), (b"sat", Self::Saturate), (b"fail", Self::Fail)];
        let found = names.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, overflow)| *overflow).ok_or(Error::Fixed("ERR Invalid OVERFLOW type specified"))
    }
}

/// A field's type: `i` or `u`, and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoding {
    signed: bool,
    /// 1 to 64; to 63 where unsigned.
    bits: u32,
}

impl Encoding {
    fn parse(text: &[u8]) -> Result<Self, Error> {
        let parsed = match text {
            [b'i', bits @ ..] => Some((true, bits, 64)),
            [b'u', bits @ ..] => Some((false, bits, 63)),
            _ => None,
        };
        parsed
            .and_then(|(signed, bits, most)| {
                let bits = parse_i64(bits).filter(|bits| (1..=most).contains(bits))?;
                Some(Self { signed, bits: bits as u32 })
            })
            .ok_or(Error::Fixed(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            ))
    }

    /// The integer that these bits stand for.
    fn decode(self, raw: u64) -> i128 {
        let unused = 64 - self.bits;
        if self.signed { i128::from((raw << unused) as i64 >> unused) } else { i128::from(raw) }
    }

    /// The least and the greatest that fit.
    fn limits(self) -> (i128, i128) {
        if self.signed {
            let half = 1i128 << (self.bits - 1);
            (-half, half - 1)
        } else {
            (0, (1i128 << self.bits) - 1)
        }
    }

    /// The integer that is written for `wanted`; none where it does not fit and is not to be written.
    fn fit(self, wanted: i128, overflow: Overflow) -> Option<i128> {
        let (least, most) = self.limits();
        if (least..=most).contains(&wanted) {
            return Some(wanted);
        }
        match overflow {
            Overflow::Wrap => Some(self.decode(wanted as u64 & mask(self.bits))),
            Overflow::Saturate => Some(wanted.clamp(least, most)),
            Overflow::Fail => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    action: Action,
    encoding: Encoding,
    /// Place of its first bit.
    offset: u64,
    overflow: Overflow,
}

impl Operation {
    /// Bytes from the beginning of the value to the end of the field.
    fn end(&self) -> usize {
        ((self.offset + u64::from(self.encoding.bits)).div_ceil(8)) as usize
    }

    /// What is replied, and what is then written, for the field's present bits; `None` twice where it does not fit.
    fn apply(&self, raw: u64) -> (Option<i64>, Option<u64>) {
        let present = self.encoding.decode(raw);
        let (wanted, replies_new) = match self.action {
            Action::Get => return (Some(present as i64), None),
            // An unsigned field takes a negative number for the great one that has the same bits.
            Action::Set(value) if !self.encoding.signed => (i128::from(value as u64), false),
            // Redis computes how far it is to the greatest in 64 bits, and so takes the least numbers for great ones.
            Action::Set(value)
                if self.overflow == Overflow::Saturate
                    && self.encoding.bits < 64
                    && i128::from(value) < self.encoding.limits().1 - i128::from(i64::MAX) =>
            {
                (self.encoding.limits().1, false)
            }
            Action::Set(value) => (i128::from(value), false),
            Action::Increment(by) => (present + i128::from(by), true),
        };
        let Some(new) = self.encoding.fit(wanted, self.overflow) else {
            return (None, None);
        };
        let replied = if replies_new { new } else { present };
        (Some(replied as i64), Some(new as u64 & mask(self.encoding.bits)))
    }
}

type Operations = SmallVec<[Operation; OPERATIONS_INLINE]>;

fn parse(cx: &mut Cx<'_>, words: Args<'_>) -> Result<Operations, Error> {
    let mut operations = Operations::new();
    let mut overflow = Overflow::Wrap;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let is = |name: &[u8], needed: usize| word.eq_ignore_ascii_case(name) && words.len() >= needed;
        let (gets, sets, adds) = (is(b"get", 2), is(b"set", 3), is(b"incrby", 3));
        if is(b"overflow", 1) {
            overflow = Overflow::parse(words.next().unwrap_or_default())?;
            continue;
        }
        if !gets && !sets && !adds {
            return Err(Error::Syntax);
        }
        let encoding = Encoding::parse(words.next().unwrap_or_default())?;
        let offset = bit_offset(cx, words.next().unwrap_or_default(), Some(encoding.bits))?;
        let action = if gets {
            Action::Get
        } else {
            let value = parse_i64(words.next().unwrap_or_default()).ok_or(Error::NotAnInteger)?;
            if sets { Action::Set(value) } else { Action::Increment(value) }
        };
        operations.push(Operation { action, encoding, offset, overflow });
    }
    Ok(operations)
}

fn bitfield(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let operations = parse(cx, args.from(2))?;
    let key = cx.data.key(&args[1]);
    let writes = operations.iter().filter(|operation| operation.action != Action::Get);
    match writes.map(Operation::end).max() {
        None => get_all(cx, &key, &operations),
        Some(length) => {
            let mark = cx.reply.checkpoint();
            run_all(cx, &key, &operations, length).inspect_err(|_| cx.reply.truncate_to(mark))
        }
    }
}

fn bitfield_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let operations = parse(cx, args.from(2))?;
    if operations.iter().any(|operation| operation.action != Action::Get) {
        return Err(Error::Fixed("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let key = cx.data.key(&args[1]);
    get_all(cx, &key, &operations)
}

fn get_all(cx: &mut Cx<'_>, key: &Key<'_>, operations: &[Operation]) -> Result<(), Error> {
    let found = read(cx, key)?;
    let db = cx.data.db(key);
    let bytes = found.map_or(&[][..], |found| db.string(found));
    cx.reply.array(operations.len());
    for operation in operations {
        let raw = get(bytes, operation.offset, operation.encoding.bits);
        cx.reply.integer(operation.encoding.decode(raw) as i64);
    }
    Ok(())
}

/// Runs operations of which at least one writes; the value becomes at least `length` bytes long.
fn run_all(cx: &mut Cx<'_>, key: &Key<'_>, operations: &[Operation], length: usize) -> Result<(), Error> {
    let mut found = find_to_grow(cx, key, length)?;
    let grows = length_of(cx.data.db(key), found) < length;
    if grows {
        write_at(cx, key, found, length - 1, &[0])?;
        found = find(cx, key)?;
    }
    let mut changes = 0;
    cx.reply.array(operations.len());
    for operation in operations {
        let bytes = found.map_or(&[][..], |found| cx.data.db(key).string(found));
        let raw = get(bytes, operation.offset, operation.encoding.bits);
        let (reply, written) = operation.apply(raw);
        match reply {
            Some(integer) => cx.reply.integer(integer),
            None => cx.reply.null(),
        }
        let Some(new) = written else { continue };
        if new != raw {
            write_field(cx, key, found, operation, new)?;
        }
        changes += u64::from(grows || new != raw);
    }
    if let Some(found) = found {
        cx.data.db(key).mark_raw(found);
    }
    if changes > 0 {
        cx.data.event(Class::String, "setbit", key.bytes);
    }
    cx.data.dirty += changes;
    Ok(())
}

/// Writes a field's bits, which lie within the value.
fn write_field(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    found: Option<Found>,
    operation: &Operation,
    new: u64,
) -> Result<(), Error> {
    let first = (operation.offset / 8) as usize;
    let touched = operation.end() - first;
    let mut window = window_at(found.map_or(&[][..], |found| cx.data.db(key).string(found)), first);
    set(&mut window, (operation.offset % 8) as u32, operation.encoding.bits, new);
    write_at(cx, key, found, first, &window[..touched])
}

/// The lowest `bits` bits, 1 to 64.
fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// The bits of a field, with zeros for what lies behind the end of `bytes`.
fn get(bytes: &[u8], offset: u64, bits: u32) -> u64 {
    let window = window_at(bytes, (offset / 8) as usize);
    let shift = 72 - (offset % 8) as u32 - bits;
    (read_window(&window) >> shift) as u64 & mask(bits)
}

/// The bytes from `first` on, with zeros for what lies behind the end.
#[inline]
fn window_at(bytes: &[u8], first: usize) -> [u8; WINDOW_BYTES] {
    let rest = bytes.get(first..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut window = [0; WINDOW_BYTES];
        window.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        window
    })
}

/// Puts the bits of a field into the bytes around it.
fn set(window: &mut [u8; WINDOW_BYTES], offset: u32, bits: u32, new: u64) {
    let shift = 72 - offset - bits;
    let others = read_window(window) & !(u128::from(mask(bits)) << shift);
    let all = others | u128::from(new) << shift;
    window.copy_from_slice(&all.to_be_bytes()[16 - WINDOW_BYTES..]);
}

#[inline]
fn read_window(window: &[u8; WINDOW_BYTES]) -> u128 {
    let mut wide = [0; 16];
    wide[16 - WINDOW_BYTES..].copy_from_slice(window);
    u128::from_be_bytes(wide)
}

#[cfg(test)]
mod tests {
    use super::{Action, Encoding, Operation, Overflow, WINDOW_BYTES, get, mask, set};
    use crate::base::rng::Rng;

    #[test]
    fn fields_are_read_back_and_their_neighbours_stay() {
        let mut rng = Rng::seeded(3);
        for _ in 0..5000 {
            let mut window = [0; WINDOW_BYTES];
            window.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
            let before = window;
            let (offset, bits) = (rng.below(8) as u32, 1 + rng.below(64) as u32);
            let new = rng.next_u64() & mask(bits);
            set(&mut window, offset, bits, new);
            assert_eq!(get(&window, u64::from(offset), bits), new);
            for at in (0..u64::from(offset)).chain(u64::from(offset + bits)..72) {
                assert_eq!(get(&window, at, 1), get(&before, at, 1), "bit {at}");
            }
        }
        assert_eq!(get(b"\xFF", 4, 8), 0xF0);
        assert_eq!(get(b"", 1 << 40, 64), 0);
    }

    #[test]
    fn integers_that_do_not_fit_are_wrapped_or_cut_or_refused() {
        let apply = |encoding: &str, raw: u64, action: Action, overflow: Overflow| {
            let encoding = Encoding::parse(encoding.as_bytes()).expect("an encoding");
            let (reply, written) = Operation { action, encoding, offset: 0, overflow }.apply(raw);
            (reply, written)
        };
        use Action::{Increment, Set};
        use Overflow::{Fail, Saturate, Wrap};
        let max = i64::MAX;
        let cases = [
            ("u8", 100, Increment(257), Wrap, (Some(101), Some(101))),
            ("u8", 100, Increment(257), Saturate, (Some(255), Some(255))),
            ("u8", 100, Increment(-257), Saturate, (Some(0), Some(0))),
            ("u8", 100, Increment(156), Fail, (None, None)),
            ("u8", 100, Set(-1), Saturate, (Some(100), Some(255))),
            ("u63", 0, Set(i64::MIN), Wrap, (Some(0), Some(0))),
            ("i8", 0x7F, Increment(1), Wrap, (Some(-128), Some(0x80))),
            ("i8", 0x80, Increment(-1), Saturate, (Some(-128), Some(0x80))),
            ("i8", 0, Set(255), Wrap, (Some(0), Some(0xFF))),
            ("i64", max as u64, Increment(1), Wrap, (Some(i64::MIN), Some(1 << 63))),
            ("i64", max as u64, Increment(max), Saturate, (Some(max), Some(max as u64))),
            ("i64", 1 << 63, Increment(i64::MIN), Wrap, (Some(0), Some(0))),
            ("i8", 0, Set(i64::MIN), Saturate, (Some(0), Some(0x7F))),
            ("i8", 0, Set(i64::MIN + 200), Saturate, (Some(0), Some(0x80))),
            ("i64", 0, Set(i64::MIN), Saturate, (Some(0), Some(1 << 63))),
            ("i1", 1, Increment(-1), Wrap, (Some(0), Some(0))),
        ];
        for (encoding, raw, action, overflow, expected) in cases {
            assert_eq!(
                apply(encoding, raw, action, overflow),
                expected,
                "{encoding} {action:?} {overflow:?}"
            );
        }
        for bad in ["", "i", "u", "i0", "i65", "u64", "I8", "8", "i+8", "i08"] {
            assert!(Encoding::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
