//! HSET, HMSET, HSETNX, HDEL, HGETDEL: fields set and removed.

use crate::command::collection::write_element;
use crate::command::context::Cx;
use crate::command::hash::{
    CHANGED_KEY, KEY, KEY_AND_FIELDS, NOT_POSITIVE, edit_replying, fields, only_hash, tell, write_nulls,
};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, INSERT, RW};
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
    Spec::new("hset", hset)
        .arity(-4)
        .flags(WRITE | DENYOOM | FAST)
        .keys(CHANGED_KEY)
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(1) for each field, O(N) for N of them.")
        .summary("Sets the values of fields and counts those that are new.")
        .history(&[("4.0.0", "Several fields at once.")])
        .args(PAIRS)
        .reply(Shape::Integer)
        .finish(),
    Spec::new("hmset", hmset)
        .arity(-4)
        .flags(WRITE | DENYOOM | FAST)
        .keys(CHANGED_KEY)
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(N), N the number of fields set.")
        .summary("Sets the values of fields.")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .args(PAIRS)
        .reply(Shape::Ok)
        .finish(),
    Spec::new("hsetnx", hsetnx)
        .arity(4)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | INSERT)])
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(1).")
        .summary("Sets the value of a field that is not there; 1 if it did, 0 if it is.")
        .args(&[Arg::key("key", 0), Arg::string("field"), Arg::string("value")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("hdel", hdel)
        .arity(-3)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(N), N the number of fields to be removed.")
        .summary("Removes fields, and the key with its last one; counts those that were there.")
        .history(&[("2.4.0", "Several fields at once.")])
        .args(&[Arg::key("key", 0), Arg::string("field").multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("hgetdel", hgetdel)
        .arity(-5)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | ACCESS | DELETE)])
        .group(Group::Hash)
        .since("8.0.0")
        .complexity("O(N), N the number of fields.")
        .summary("Returns the values of fields and removes them, and the key with its last one.")
        .args(KEY_AND_FIELDS)
        .reply(Shape::Array(&Shape::BulkOrNull))
        .finish(),
];

const PAIRS: &[Arg] =
    &[Arg::key("key", 0), Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple()];

fn hset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let added = set_fields(cx, args, "hset")?;
    cx.reply.integer(added);
    Ok(())
}

fn hmset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_fields(cx, args, "hmset")?;
    cx.reply.ok();
    Ok(())
}

/// Sets fields and says how many are new.
fn set_fields(cx: &mut Cx<'_>, args: Args<'_>, command: &'static str) -> Result<i64, Error> {
    let pairs = args.from(2);
    if !pairs.len().is_multiple_of(2) {
        return Err(Error::wrong_arity(command));
    }
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let edited = cx.edit::<Hash, _>(&key, Create::Yes, |hash, thresholds| {
        let mut added = 0;
        let mut words = pairs.iter();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            added += i64::from(hash.set(field, value, FieldDue::Never, thresholds, now_ms));
        }
        Edited::yes(added)
    })?;
    cx.data.dirty += pairs.len() as u64 / 2;
    cx.data.event(Class::Hash, "hset", key.bytes);
    Ok(edited.map_or(0, |(added, _)| added))
}

fn hsetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let (field, value) = (&args[2], &args[3]);
    let edited = cx.edit::<Hash, _>(&key, Create::Yes, |hash, thresholds| {
        if hash.as_ref().get(field, now_ms).is_some() {
            return Edited::no(false);
        }
        hash.set(field, value, FieldDue::Never, thresholds, now_ms);
        Edited::yes(true)
    })?;
    let is_set = edited.is_some_and(|(is_set, _)| is_set);
    if is_set {
        cx.data.dirty += 1;
        cx.data.event(Class::Hash, "hset", key.bytes);
    }
    cx.reply.integer(i64::from(is_set));
    Ok(())
}

fn hdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let edited = cx.edit::<Hash, _>(&key, Create::No, |hash, _| {
        let removed = args.from(2).iter().filter_map(|field| hash.remove(field, now_ms));
        let (mut touched, mut seen) = (0u64, 0u64);
        removed.for_each(|was_seen| {
            touched += 1;
            seen += u64::from(was_seen);
        });
        Edited::when(touched > 0, (touched, seen))
    })?;
    let Some(((touched, seen), fate)) = edited else {
        cx.reply.integer(0);
        return Ok(());
    };
    if touched > 0 {
        cx.data.dirty += touched;
        tell(cx, "hdel", fate, &key);
    }
    cx.reply.integer(seen as i64);
    Ok(())
}

fn hgetdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    only_hash(cx, &key)?;
    let fields = fields(args, 2, NOT_POSITIVE)?;
    let edited = edit_replying(cx, &key, |hash, reply| {
        let mut touched = 0u64;
        reply.array(fields.len());
        for field in fields.iter() {
            match hash.as_ref().get(field, now_ms) {
                Some(value) => write_element(reply, value),
                None => reply.null(),
            }
            touched += u64::from(hash.remove(field, now_ms).is_some());
        }
        Edited::when(touched > 0, touched)
    })?;
    match edited {
        None => write_nulls(cx.reply, fields),
        Some((0, _)) => {}
        Some((touched, fate)) => {
            cx.data.dirty += touched;
            tell(cx, "hdel", fate, &key);
        }
    }
    Ok(())
}
