//! HINCRBY, HINCRBYFLOAT: numbers are kept as their text. A field keeps its due time.

use crate::base::extended::{self, AddError, Parsed, add_texts};
use crate::base::num::{IntegerText, parse_i64};
use crate::command::context::Cx;
use crate::command::hash::KEY;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{ACCESS, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::hash::{FieldDue, Hash};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("hincrby", hincrby)
        .arity(4)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(1).")
        .summary("Adds to the whole number that a field holds, 0 without one, and returns the sum.")
        .args(&[Arg::key("key", 0), Arg::string("field"), Arg::integer("increment")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("hincrbyfloat", hincrbyfloat)
        .arity(4)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::Hash)
        .since("2.6.0")
        .complexity("O(1).")
        .summary("Adds to the decimal number that a field holds, 0 without one, and returns the sum.")
        .args(&[Arg::key("key", 0), Arg::string("field"), Arg::double("increment")])
        .reply(Shape::Bulk)
        .finish(),
];

/// Puts `sum` of a field's present value in its place; `None` without a value.
fn change<R>(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    event: &'static str,
    sum: impl FnOnce(Option<&[u8]>, &mut dyn FnMut(&[u8])) -> Result<R, Error>,
) -> Result<R, Error> {
    let (key, now_ms, field) = (cx.data.key(&args[1]), cx.now_ms, &args[2]);
    let edited = cx.edit::<Hash, _>(&key, Create::Yes, |hash, thresholds| {
        let mut changed: smallvec::SmallVec<[u8; 32]> = smallvec::SmallVec::new();
        let mut keep = |text: &[u8]| changed.extend_from_slice(text);
        let result = match hash.as_ref().get(field, now_ms) {
            Some(present) => present.with_bytes(|present| sum(Some(present), &mut keep)),
            None => sum(None, &mut keep),
        };
        if result.is_ok() {
            hash.set(field, &changed, FieldDue::Keep, thresholds, now_ms);
        }
        Edited::when(result.is_ok(), result)
    })?;
    // There is always a hash to edit.
    let (result, _) = edited.ok_or(Error::OutOfMemory)?;
    let result = result?;
    cx.data.dirty += 1;
    cx.data.event(Class::Hash, event, key.bytes);
    Ok(result)
}

fn hincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let increment = parse_i64(&args[3]).ok_or(Error::NotAnInteger)?;
    let sum = change(cx, args, "hincrby", |present, keep| {
        let present = present.map_or(Some(0), parse_i64);
        let present = present.ok_or(Error::Fixed("ERR hash value is not an integer"))?;
        let sum = present.checked_add(increment).ok_or(Error::IncrementOverflow)?;
        keep(IntegerText::new().format(sum));
        Ok(sum)
    })?;
    cx.reply.integer(sum);
    Ok(())
}

fn hincrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let increment = &args[3];
    if extended::parse(increment).ok_or(Error::NotAFloat)? == Parsed::Infinite {
        return Err(Error::Fixed("ERR value is NaN or Infinity"));
    }
    let sum = change(cx, args, "hincrbyfloat", |present, keep| {
        let sum = add_texts(present.unwrap_or(b"0"), increment).map_err(|error| match error {
            AddError::NotAFloat => Error::Fixed("ERR hash value is not a float"),
            AddError::Infinite => Error::IncrementNotFinite,
        })?;
        keep(sum.as_bytes());
        Ok(sum)
    })?;
    cx.reply.bulk_str(&sum);
    Ok(())
}
