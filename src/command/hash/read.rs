//! HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN: commands that only read.

use crate::command::collection::write_element;
use crate::command::context::Cx;
use crate::command::hash::{KEY_AND_FIELD, KEY_ONLY, READ_KEY, SEEN_KEY};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY};
use crate::command::spec::{Group, Handler, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::hash::Hash;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("hget", hget)
        .arity(3)
        .flags(READONLY | FAST)
        .keys(READ_KEY)
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(1).")
        .summary("Returns the value of a field.")
        .args(KEY_AND_FIELD)
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("hmget", hmget)
        .arity(-3)
        .flags(READONLY | FAST)
        .keys(READ_KEY)
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(N), N the number of fields asked for.")
        .summary("Returns the values of fields, null for those that are not there.")
        .args(&[Arg::key("key", 0), Arg::string("field").multiple()])
        .reply(Shape::Array(&Shape::BulkOrNull))
        .finish(),
    whole(
        "hgetall",
        hgetall,
        "Returns all fields with their values.",
        Shape::Map(&Shape::Bulk, &Shape::Bulk),
    ),
    whole("hkeys", hkeys, "Returns all fields.", Shape::Array(&Shape::Bulk)),
    whole("hvals", hvals, "Returns the values of all fields.", Shape::Array(&Shape::Bulk)),
    Spec::new("hlen", hlen)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(SEEN_KEY)
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(1), and O(N) for N fields that are due and not yet removed.")
        .summary("Counts the fields of a hash.")
        .args(KEY_ONLY)
        .reply(Shape::Integer)
        .finish(),
    of_field("hexists", hexists, "2.0.0", "Says whether a field is there: 1 or 0."),
    of_field("hstrlen", hstrlen, "3.2.0", "Returns the length of a field's value in bytes, 0 without one."),
];

const fn whole(name: &'static str, handler: Handler, summary: &'static str, reply: Shape) -> Spec {
    Spec::new(name, handler)
        .arity(2)
        .flags(READONLY)
        .keys(READ_KEY)
        .tips(&["nondeterministic_output_order"])
        .group(Group::Hash)
        .since("2.0.0")
        .complexity("O(N), N the number of fields.")
        .summary(summary)
        .args(KEY_ONLY)
        .reply(reply)
        .finish()
}

const fn of_field(name: &'static str, handler: Handler, since: &'static str, summary: &'static str) -> Spec {
    Spec::new(name, handler)
        .arity(3)
        .flags(READONLY | FAST)
        .keys(SEEN_KEY)
        .group(Group::Hash)
        .since(since)
        .complexity("O(1).")
        .summary(summary)
        .args(KEY_AND_FIELD)
        .reply(Shape::Integer)
        .finish()
}

fn hget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    match cx.data.read_value::<Hash>(&key)?.and_then(|hash| hash.get(&args[2], now_ms)) {
        Some(value) => write_element(cx.reply, value),
        None => cx.reply.null(),
    }
    Ok(())
}

fn hmget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let hash = cx.data.read_value::<Hash>(&key)?;
    let fields = args.from(2);
    cx.reply.array(fields.len());
    for field in fields.iter() {
        match hash.and_then(|hash| hash.get(field, now_ms)) {
            Some(value) => write_element(cx.reply, value),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn hgetall(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let Some(hash) = cx.data.read_value::<Hash>(&key)? else {
        cx.reply.map(0);
        return Ok(());
    };
    cx.reply.map(hash.len(now_ms));
    hash.for_each(now_ms, |field, value| {
        write_element(cx.reply, field);
        write_element(cx.reply, value);
    });
    Ok(())
}

fn hkeys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    one_of_each(cx, args, true)
}

fn hvals(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    one_of_each(cx, args, false)
}

fn one_of_each(cx: &mut Cx<'_>, args: Args<'_>, names: bool) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let Some(hash) = cx.data.read_value::<Hash>(&key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(hash.len(now_ms));
    hash.for_each(now_ms, |field, value| write_element(cx.reply, if names { field } else { value }));
    Ok(())
}

fn hlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let fields = cx.data.read_value::<Hash>(&key)?.map_or(0, |hash| hash.len(now_ms));
    cx.reply.integer(fields as i64);
    Ok(())
}

fn hexists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let value = cx.data.read_value::<Hash>(&key)?.and_then(|hash| hash.get(&args[2], now_ms));
    cx.reply.integer(i64::from(value.is_some()));
    Ok(())
}

fn hstrlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let value = cx.data.read_value::<Hash>(&key)?.and_then(|hash| hash.get(&args[2], now_ms));
    cx.reply.integer(value.map_or(0, |value| value.len() as i64));
    Ok(())
}
