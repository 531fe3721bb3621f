//! LPUSH, RPUSH, LPUSHX, RPUSHX.

use crate::command::context::Cx;
use crate::command::list::{KEY, push_event};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{INSERT, KeySpec, RW};
use crate::command::spec::{Group, Handler, Spec};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::list::{End, List};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    row(
        "lpush",
        lpush,
        "1.0.0",
        SINCE_240,
        "Adds elements at the head of a list, which is created without one.",
    ),
    row(
        "rpush",
        rpush,
        "1.0.0",
        SINCE_240,
        "Adds elements at the tail of a list, which is created without one.",
    ),
    row("lpushx", lpushx, "2.2.0", SINCE_400, "Adds elements at the head of a list that is there."),
    row("rpushx", rpushx, "2.2.0", SINCE_400, "Adds elements at the tail of a list that is there."),
];

type History = &'static [(&'static str, &'static str)];

const SINCE_240: History = &[("2.4.0", "Takes several elements.")];
const SINCE_400: History = &[("4.0.0", "Takes several elements.")];
const KEYS: &[KeySpec] = &[KEY.flags(RW | INSERT)];
const ARGS: &[Arg] = &[Arg::key("key", 0), Arg::string("element").multiple()];

const fn row(
    name: &'static str,
    handler: Handler,
    since: &'static str,
    history: History,
    summary: &'static str,
) -> Spec {
    Spec::new(name, handler)
        .arity(-3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(KEYS)
        .group(Group::List)
        .since(since)
        .complexity("O(1) for each element added.")
        .summary(summary)
        .history(history)
        .args(ARGS)
        .reply(Shape::Integer)
        .finish()
}

fn lpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Left, Create::Yes)
}

fn rpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Right, Create::Yes)
}

fn lpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Left, Create::No)
}

fn rpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    push(cx, args, End::Right, Create::No)
}

fn push(cx: &mut Cx<'_>, args: Args<'_>, end: End, create: Create) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let elements = args.from(2);
    let pushed = cx.edit::<List, _>(&key, create, |list, thresholds| {
        list.push(end, elements.iter(), thresholds);
        Edited::yes(list.as_ref().len())
    })?;
    let Some((length, _)) = pushed else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.data.dirty += elements.len() as u64;
    cx.data.event(Class::List, push_event(end), key.bytes);
    cx.reply.integer(length as i64);
    Ok(())
}
