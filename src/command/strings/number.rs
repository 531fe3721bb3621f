//! INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT: numbers are kept as their text.
//!
//! The due time stays. A whole number whose text keeps its length is overwritten where it stands; nothing here but
//! INCRBYFLOAT allocates.

use crate::base::extended::{AddError, add_texts};
use crate::base::num::{IntegerText, parse_i64};
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{ACCESS, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, find, store};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::Due;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("incr", incr)
        .arity(2)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Adds one to the whole number that a key holds, 0 without one, and returns the sum.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("decr", decr)
        .arity(2)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Subtracts one from the whole number that a key holds, 0 without one, and returns the rest.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("incrby", incrby)
        .arity(3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Adds to the whole number that a key holds, 0 without one, and returns the sum.")
        .args(&[Arg::key("key", 0), Arg::integer("increment")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("decrby", decrby)
        .arity(3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Subtracts from the whole number that a key holds, 0 without one, and returns the rest.")
        .args(&[Arg::key("key", 0), Arg::integer("decrement")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("incrbyfloat", incrbyfloat)
        .arity(3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::String)
        .since("2.6.0")
        .complexity("O(1).")
        .summary("Adds to the decimal number that a key holds, 0 without one, and returns the sum.")
        .args(&[Arg::key("key", 0), Arg::double("increment")])
        .reply(Shape::Bulk)
        .finish(),
];

fn incr(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    add(cx, &args[1], 1)
}

fn decr(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    add(cx, &args[1], -1)
}

fn incrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let increment = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    add(cx, &args[1], increment)
}

fn decrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let decrement = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    let increment = decrement.checked_neg().ok_or(Error::DecrementOverflow)?;
    add(cx, &args[1], increment)
}

fn add(cx: &mut Cx<'_>, key: &[u8], increment: i64) -> Result<(), Error> {
    let key = cx.data.key(key);
    let found = find(cx, &key)?;
    let now_ms = cx.now_ms;
    let db = cx.data.db(&key);
    let present = found.map_or(Some(0), |found| parse_i64(db.string(found))).ok_or(Error::NotAnInteger)?;
    let sum = present.checked_add(increment).ok_or(Error::IncrementOverflow)?;
    let mut text = IntegerText::new();
    let text = text.format(sum);
    // A string that was edited becomes a plain number, which overwriting would not make it.
    let overwritten = found.is_some_and(|found| !db.is_raw(found) && db.overwrite(&key, found, text, now_ms));
    if overwritten {
        cx.data.event(Class::String, "incrby", key.bytes);
        cx.data.dirty += 1;
    } else {
        store(cx, &key, found, (text, "incrby"), Due::Keep)?;
    }
    cx.reply.integer(sum);
    Ok(())
}

fn incrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let found = find(cx, &key)?;
    let db = cx.data.db(&key);
    let present = found.map_or(&b"0"[..], |found| db.string(found));
    let sum = add_texts(present, &args[2]).map_err(|error| match error {
        AddError::NotAFloat => Error::NotAFloat,
        AddError::Infinite => Error::IncrementNotFinite,
    })?;
    store(cx, &key, found, (sum.as_bytes(), "incrbyfloat"), Due::Keep)?;
    cx.reply.bulk_str(&sum);
    Ok(())
}
