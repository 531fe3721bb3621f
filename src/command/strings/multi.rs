//! MGET, MSET, MSETNX: several keys in one step, under the locks of all of them.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, INSERT, KeySpec, OW, RO, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{read, store, write_value};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::Due;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("mget", mget)
        .arity(-2)
        .flags(READONLY | FAST)
        .keys(&[KeySpec::range(1, -1, 1).flags(RO | ACCESS)])
        .tips(&["request_policy:multi_shard"])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(N), N the number of keys.")
        .summary("Returns the values of several keys, all of the same moment; null for each that has none.")
        .args(&[Arg::key("key", 0).multiple()])
        .reply(Shape::Array(&Shape::BulkOrNull))
        .finish(),
    Spec::new("mset", mset)
        .arity(-3)
        .flags(WRITE | DENYOOM)
        .keys(&[KeySpec::range(1, -1, 2).flags(OW | UPDATE)])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .group(Group::String)
        .since("1.0.1")
        .complexity("O(N), N the number of keys.")
        .summary("Sets the values of several keys in one step.")
        .args(PAIRS)
        .reply(Shape::Ok)
        .finish(),
    Spec::new("msetnx", msetnx)
        .arity(-3)
        .flags(WRITE | DENYOOM)
        .keys(&[KeySpec::range(1, -1, 2).flags(OW | INSERT)])
        .group(Group::String)
        .since("1.0.1")
        .complexity("O(N), N the number of keys.")
        .summary("Sets the values of several keys in one step, but none if any of them has one.")
        .args(PAIRS)
        .reply(Shape::Integer)
        .finish(),
];

const PAIRS: &[Arg] = &[Arg::block("data", &[Arg::key("key", 0), Arg::string("value")]).multiple()];

fn mget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    cx.reply.array(args.len() - 1);
    for bytes in args.from(1).iter() {
        let key = cx.data.key(bytes);
        // A key of another type reads as none.
        let found = read(cx, &key).unwrap_or(None);
        write_value(cx.reply, cx.data.db(&key), found);
    }
    Ok(())
}

fn mset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    check_pairs(args, "mset")?;
    set_all(cx, args)?;
    cx.reply.ok();
    Ok(())
}

fn msetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    check_pairs(args, "msetnx")?;
    for bytes in args.from(1).iter().step_by(2) {
        let key = cx.data.key(bytes);
        if cx.data.find(&key).is_some() {
            cx.reply.integer(0);
            return Ok(());
        }
    }
    set_all(cx, args)?;
    cx.reply.integer(1);
    Ok(())
}

fn check_pairs(args: Args<'_>, command: &'static str) -> Result<(), Error> {
    if args.len().is_multiple_of(2) { Err(Error::wrong_arity(command)) } else { Ok(()) }
}

/// Sets every pair; a key that is named twice gets its last value.
fn set_all(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    for at in (1..args.len()).step_by(2) {
        let key = cx.data.key(&args[at]);
        let found = cx.data.find(&key);
        store(cx, &key, found, (&args[at + 1], "set"), Due::Never)?;
    }
    Ok(())
}
