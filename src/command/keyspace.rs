//! Commands on keys of any type: DEL UNLINK EXISTS TOUCH TYPE RENAME RENAMENX COPY MOVE.
//!
//! Removed values are dropped after the locks are released, large ones in the background, so DEL and UNLINK are one.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, INSERT, KeySpec, OW, RM, RO, RW, UPDATE};
use crate::command::spec::{Group, Handler, Spec};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("del", del)
        .arity(-2)
        .flags(WRITE)
        .keys(&[KeySpec::range(1, -1, 1).flags(RM | DELETE)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(N), N the number of keys.")
        .summary("Removes keys and counts those that were there.")
        .args(&[Arg::key("key", 0).multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("unlink", del)
        .arity(-2)
        .flags(WRITE | FAST)
        .keys(&[KeySpec::range(1, -1, 1).flags(RM | DELETE)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .group(Group::Generic)
        .since("4.0.0")
        .complexity("O(N), N the number of keys.")
        .summary("Removes keys and counts those that were there; their memory is given back later.")
        .args(&[Arg::key("key", 0).multiple()])
        .reply(Shape::Integer)
        .finish(),
    counter(
        "exists",
        exists,
        "1.0.0",
        "Counts those of the given keys that are there; a key named twice counts twice.",
    ),
    counter("touch", touch, "3.2.1", "Marks keys as used just now and counts those that are there."),
    Spec::new("type", type_of)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(&[KeySpec::at(1).flags(RO)])
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Names the type of the value under a key.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Simple)
        .finish(),
    Spec::new("rename", rename)
        .arity(3)
        .flags(WRITE)
        .keys(RENAME_KEYS)
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Gives a value another key, in the place of what was there.")
        .args(&[Arg::key("key", 0), Arg::key("newkey", 1)])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("renamenx", renamenx)
        .arity(3)
        .flags(WRITE | FAST)
        .keys(RENAME_NX_KEYS)
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Gives a value another key unless that is taken.")
        .history(&[("3.2.0", "The same name twice no longer is an error.")])
        .args(&[Arg::key("key", 0), Arg::key("newkey", 1)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("copy", copy)
        .arity(-3)
        .flags(WRITE | DENYOOM)
        .keys(COPY_KEYS)
        .group(Group::Generic)
        .since("6.2.0")
        .complexity("O(N), N the length of a short string; long ones are shared.")
        .summary("Copies a value and its time to live to another key, or another database.")
        .args(&[
            Arg::key("source", 0),
            Arg::key("destination", 1),
            Arg::integer("destination-db").token("DB").optional(),
            Arg::flag("replace", "REPLACE").optional(),
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("move", move_to_db)
        .arity(3)
        .flags(WRITE | FAST)
        .keys(&[KeySpec::at(1).flags(RW | ACCESS | UPDATE)])
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Moves a key to another database unless it is taken there.")
        .args(&[Arg::key("key", 0), Arg::integer("db")])
        .reply(Shape::Integer)
        .finish(),
];

const RENAME_KEYS: &[KeySpec] =
    &[KeySpec::at(1).flags(RW | ACCESS | DELETE), KeySpec::at(2).flags(OW | UPDATE)];
const RENAME_NX_KEYS: &[KeySpec] =
    &[KeySpec::at(1).flags(RW | ACCESS | DELETE), KeySpec::at(2).flags(OW | INSERT)];
const COPY_KEYS: &[KeySpec] = &[KeySpec::at(1).flags(RO | ACCESS), KeySpec::at(2).flags(OW | UPDATE)];
const COUNTED_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1).flags(RO)];
const COUNTED_TIPS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const COUNTED_ARGS: &[Arg] = &[Arg::key("key", 0).multiple()];

const fn counter(name: &'static str, handler: Handler, since: &'static str, summary: &'static str) -> Spec {
    Spec::new(name, handler)
        .arity(-2)
        .flags(READONLY | FAST)
        .keys(COUNTED_KEYS)
        .tips(COUNTED_TIPS)
        .group(Group::Generic)
        .since(since)
        .complexity("O(N), N the number of keys.")
        .summary(summary)
        .args(COUNTED_ARGS)
        .reply(Shape::Integer)
        .finish()
}

fn del(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let mut removed = 0;
    for bytes in args.from(1).iter() {
        let key = cx.data.key(bytes);
        if let Some(found) = cx.data.find(&key) {
            cx.data.db(&key).remove(key.hashed, found);
            cx.data.event(Class::Generic, "del", bytes);
            removed += 1;
        }
    }
    cx.data.dirty += removed;
    cx.reply.integer(removed as i64);
    Ok(())
}

fn exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let mut present = 0;
    for bytes in args.from(1).iter() {
        let key = cx.data.key(bytes);
        present += i64::from(cx.data.look(&key).is_some());
    }
    cx.reply.integer(present);
    Ok(())
}

fn touch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let mut present = 0;
    for bytes in args.from(1).iter() {
        let key = cx.data.key(bytes);
        present += i64::from(cx.data.read(&key).is_some());
    }
    cx.reply.integer(present);
    Ok(())
}

fn type_of(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let name = match cx.data.look(&key) {
        Some(found) => cx.data.db(&key).value_type(found).name(),
        None => "none",
    };
    cx.reply.simple(name);
    Ok(())
}

fn rename(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    move_value(cx, args, true)?;
    cx.reply.ok();
    Ok(())
}

fn renamenx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let moved = move_value(cx, args, false)?;
    cx.reply.integer(i64::from(moved));
    Ok(())
}

/// Moves the value under `args[1]` to `args[2]`; false if that is taken and may not be replaced.
fn move_value(cx: &mut Cx<'_>, args: Args<'_>, replace: bool) -> Result<bool, Error> {
    let (from, to) = (cx.data.key(&args[1]), cx.data.key(&args[2]));
    if cx.data.find(&from).is_none() {
        return Err(Error::NoSuchKey);
    }
    if from.bytes == to.bytes {
        return Ok(replace);
    }
    if cx.data.find(&to).is_some() && !replace {
        return Ok(false);
    }
    // What the look at the other key removed may have moved this one's place.
    let Some(found) = cx.data.find(&from) else { return Err(Error::NoSuchKey) };
    let carried = cx.data.db(&from).carry_off(&from, found);
    let target = cx.data.find(&to);
    cx.data.db(&to).settle(&to, target, carried, cx.now_ms).map_err(|_| Error::OutOfMemory)?;
    cx.data.event(Class::Generic, "rename_from", from.bytes);
    cx.data.event(Class::Generic, "rename_to", to.bytes);
    cx.data.dirty += 1;
    Ok(true)
}

fn copy(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (from_db, mut to_db, mut replace) = (cx.session.db, cx.session.db, false);
    let mut to_other_in_cluster = false;
    let mut rest = args.from(3).iter();
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if option.eq_ignore_ascii_case(b"db") {
            let number = database_number(rest.next().ok_or(Error::Syntax)?)?;
            if cx.hub.cluster.is_on() {
                to_other_in_cluster = number != 0;
            } else {
                to_db = database(cx, number)?;
            }
        } else {
            return Err(Error::Syntax);
        }
    }
    if to_other_in_cluster {
        return Err(Error::Fixed("ERR Copying to another database is not allowed in cluster mode"));
    }
    let (from, to) = (cx.data.key(&args[1]), cx.data.key(&args[2]));
    if from_db == to_db && from.bytes == to.bytes {
        return Err(Error::SameObject);
    }
    if cx.data.read(&from).is_none() {
        cx.reply.integer(0);
        return Ok(());
    }
    let target = cx.data.db_numbered(&to, to_db).find(&to, cx.now_ms);
    if target.is_some() && !replace {
        cx.reply.integer(0);
        return Ok(());
    }
    // What the look at the other key removed may have moved this one's place. A large value is copied under its shard's
    // lock, as one state of it (`cargo bench --bench store -- large` says how long that takes).
    let Some(found) = cx.data.find(&from) else { return Err(Error::NoSuchKey) };
    let carried = cx.data.db(&from).carry(found);
    let db = cx.data.db_numbered(&to, to_db);
    db.settle(&to, target, carried, cx.now_ms).map_err(|_| Error::OutOfMemory)?;
    cx.data.event_in(to_db, Class::Generic, "copy_to", to.bytes);
    cx.data.dirty += 1;
    cx.reply.integer(1);
    Ok(())
}

fn move_to_db(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if cx.hub.cluster.is_on() {
        return Err(Error::Fixed("ERR MOVE is not allowed in cluster mode"));
    }
    let to_db = database(cx, database_number(&args[2])?)?;
    if to_db == cx.session.db {
        return Err(Error::SameObject);
    }
    let key = cx.data.key(&args[1]);
    let found = cx.data.find(&key);
    let taken = cx.data.db_numbered(&key, to_db).find(&key, cx.now_ms).is_some();
    let Some(found) = found.filter(|_| !taken) else {
        cx.reply.integer(0);
        return Ok(());
    };
    let carried = cx.data.db(&key).carry_off(&key, found);
    let db = cx.data.db_numbered(&key, to_db);
    db.settle(&key, None, carried, cx.now_ms).map_err(|_| Error::OutOfMemory)?;
    cx.data.event(Class::Generic, "move_from", key.bytes);
    cx.data.event_in(to_db, Class::Generic, "move_to", key.bytes);
    cx.data.dirty += 1;
    cx.reply.integer(1);
    Ok(())
}

/// The number of a database as SELECT, COPY and MOVE take it, whether there is such a database or not.
pub fn database_number(text: &[u8]) -> Result<i64, Error> {
    let number = parse_i64(text).ok_or(Error::NotAnInteger)?;
    if i32::try_from(number).is_err() {
        return Err(Error::Fixed("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    Ok(number)
}

/// The database of this number.
pub fn database(cx: &mut Cx<'_>, number: i64) -> Result<usize, Error> {
    let databases = cx.worker.config().databases;
    u64::try_from(number)
        .ok()
        .filter(|&number| number < databases)
        .map(|number| number as usize)
        .ok_or(Error::DbOutOfRange)
}
