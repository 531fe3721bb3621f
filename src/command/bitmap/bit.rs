//! SETBIT and GETBIT: one bit.

use crate::base::num::parse_i64;
use crate::command::bitmap::{bit_offset, find_to_grow, length_of, write_at};
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, RO, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, read};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("setbit", setbit)
        .arity(4)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::Bitmap)
        .since("2.2.0")
        .complexity("O(1).")
        .summary(
            "Sets or clears a bit of a value, which grows as far as it must, and returns what the bit was.",
        )
        .args(&[Arg::key("key", 0), Arg::integer("offset"), Arg::integer("value")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("getbit", getbit)
        .arity(3)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Bitmap)
        .since("2.2.0")
        .complexity("O(1).")
        .summary("Returns a bit of a value, 0 behind its end.")
        .args(&[Arg::key("key", 0), Arg::integer("offset")])
        .reply(Shape::Integer)
        .finish(),
];

fn setbit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let offset = bit_offset(cx, &args[2], None)?;
    let value = match parse_i64(&args[3]) {
        Some(0) => 0,
        Some(1) => 1,
        _ => return Err(Error::Fixed("ERR bit is not an integer or out of range")),
    };
    let (at, mask) = place(offset);
    let key = cx.data.key(&args[1]);
    let found = find_to_grow(cx, &key, at + 1)?;
    let db = cx.data.db(&key);
    let byte = found.and_then(|found| db.string(found).get(at).copied());
    let before = byte.unwrap_or(0);
    let after = if value == 1 { before | mask } else { before & !mask };
    if byte != Some(after) {
        write_at(cx, &key, found, at, &[after])?;
        cx.data.dirty += 1;
        cx.data.event(Class::String, "setbit", key.bytes);
    } else if let Some(found) = found {
        db.mark_raw(found);
    }
    cx.reply.integer(i64::from(before & mask != 0));
    Ok(())
}

fn getbit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let offset = bit_offset(cx, &args[2], None)?;
    let (at, mask) = place(offset);
    let key = cx.data.key(&args[1]);
    let found = read(cx, &key)?;
    let db = cx.data.db(&key);
    let set = match found {
        Some(found) if at < length_of(db, Some(found)) => db.string(found)[at] & mask != 0,
        _ => false,
    };
    cx.reply.integer(i64::from(set));
    Ok(())
}

/// The byte in which a bit stands, and its mask there.
fn place(offset: u64) -> (usize, u8) {
    ((offset / 8) as usize, 0x80 >> (offset % 8))
}
