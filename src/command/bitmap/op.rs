//! BITOP: a value made of others, bit by bit.
//!
//! The sources are read one after the other into the result, so that one more copy of the longest is all that is held.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeySpec, OW, RO, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::strings::read;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::{Due, NewString};
use crate::store::value::Value;

/// The row.
pub const COMMANDS: &[Spec] = &[Spec::new("bitop", bitop)
    .arity(-4)
    .flags(WRITE | DENYOOM)
    .keys(&[KeySpec::at(2).flags(OW | UPDATE), KeySpec::range(3, -1, 1).flags(RO | ACCESS)])
    .group(Group::Bitmap)
    .since("2.6.0")
    .complexity("O(N), N the number of bytes of all sources.")
    .summary("Combines values bit by bit, stores what comes out under a key, and returns its length.")
    .args(&[
        Arg::one_of(
            "operation",
            &[
                Arg::flag("and", "AND"),
                Arg::flag("or", "OR"),
                Arg::flag("xor", "XOR"),
                Arg::flag("not", "NOT"),
            ],
        ),
        Arg::key("destkey", 0),
        Arg::key("key", 1).multiple(),
    ])
    .reply(Shape::Integer)
    .finish()];

/// Longest result that is copied into its entry rather than kept as it is.
const COPIED_MAX_BYTES: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(word: &[u8]) -> Option<Self> {
        let names: [(&[u8], Self); 4] =
            [(b"and", Self::And), (b"or", Self::Or), (b"xor", Self::Xor), (b"not", Self::Not)];
        names.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, operation)| *operation)
    }

    /// Takes one more source into what the sources before have given; the shorter of both goes on in zeros.
    fn combine(self, sum: &mut Vec<u8>, source: &[u8]) {
        if sum.len() < source.len() {
            sum.resize(source.len(), 0);
        }
        let (head, rest) = sum.split_at_mut(source.len());
        let pairs = head.iter_mut().zip(source);
        match self {
            Self::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                rest.fill(0);
            }
            Self::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Self::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Self::Not => pairs.for_each(|(byte, other)| *byte = !other),
        }
    }
}

fn bitop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let operation = Operation::parse(&args[1]).ok_or(Error::Syntax)?;
    if operation == Operation::Not && args.len() != 4 {
        return Err(Error::Fixed("ERR BITOP NOT must be called with a single source key."));
    }
    let mut sum = Vec::new();
    for (number, source) in args.from(3).iter().enumerate() {
        let key = cx.data.key(source);
        let found = read(cx, &key)?;
        let bytes = found.map_or(&[][..], |found| cx.data.db(&key).string(found));
        if number == 0 && operation != Operation::Not {
            sum.extend_from_slice(bytes);
        } else {
            operation.combine(&mut sum, bytes);
        }
    }
    let key = cx.data.key(&args[2]);
    let found = cx.data.find(&key);
    let now_ms = cx.now_ms;
    let db = cx.data.db(&key);
    let length = sum.len();
    if length > 0 {
        let stored = if length <= COPIED_MAX_BYTES {
            let new = NewString { bytes: &sum, raw: true };
            db.set_string(&key, found, new, Due::Never, now_ms)
        } else {
            db.set_value(&key, found, Value::Str(sum.into()), Due::Never, now_ms)
        };
        stored.map_err(|_| Error::OutOfMemory)?;
        cx.data.dirty += 1;
        cx.data.event(Class::String, "set", key.bytes);
    } else if let Some(found) = found {
        db.remove(key.hashed, found);
        cx.data.dirty += 1;
        cx.data.event(Class::Generic, "del", key.bytes);
    }
    cx.reply.integer(length as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Operation;

    #[test]
    fn shorter_sources_go_on_in_zeros() {
        type Case = (Operation, &'static [u8], &'static [u8], &'static [u8]);
        let cases: [Case; 7] = [
            (Operation::And, b"\xFF\x0F\x01", b"\xAA\xFF", b"\xAA\x0F\x00"),
            (Operation::And, b"\xFF", b"\xAA\xFF", b"\xAA\x00"),
            (Operation::Or, b"\x01", b"\x80\x7F", b"\x81\x7F"),
            (Operation::Or, b"\x01\x02", b"\x80", b"\x81\x02"),
            (Operation::Xor, b"\xFF\x01", b"\x0F", b"\xF0\x01"),
            (Operation::Xor, b"", b"\x0F", b"\x0F"),
            (Operation::Not, b"", b"\x0F\x00", b"\xF0\xFF"),
        ];
        for (operation, first, second, expected) in cases {
            let mut sum = first.to_vec();
            operation.combine(&mut sum, second);
            assert_eq!(sum, expected, "{operation:?} {first:x?} {second:x?}");
        }
    }
}
