//! BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH: as their like without a B where there is an element; otherwise the client
//! waits for one.

use crate::command::blocking::{self, TimeoutReply, Wait};
use crate::command::context::Cx;
use crate::command::list::pop::{KEY_AND_ELEMENTS, Taking};
use crate::command::list::shift::{KEYS as SHIFT_KEYS, shift};
use crate::command::list::{ENDS, parse_end, take};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{BLOCKING, DENYOOM, NOSCRIPT, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, KeySpec, RW};
use crate::command::spec::{Group, Handler, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::list::End;
use smallvec::SmallVec;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    row("blpop", blpop, "Takes the first element of the first list that has any, and waits for one if none has."),
    row("brpop", brpop, "Takes the last element of the first list that has any, and waits for one if none has."),
    Spec::new("blmpop", blmpop)
        .arity(-5)
        .flags(WRITE | BLOCKING)
        .keys(&[KeySpec::key_num(2, 0, 1, 1).flags(RW | ACCESS | DELETE)])
        .group(Group::List)
        .since("7.0.0")
        .complexity("O(N+M), N the number of keys, M the number of elements returned.")
        .summary("Takes elements from the first of several lists that has any, and waits for some if none has.")
        .args(&[
            Arg::double("timeout"),
            Arg::integer("numkeys"),
            Arg::key("key", 0).multiple(),
            Arg::one_of("where", ENDS),
            Arg::integer("count").token("COUNT").optional(),
        ])
        .reply(KEY_AND_ELEMENTS)
        .finish(),
    Spec::new("blmove", blmove)
        .arity(6)
        .flags(WRITE | DENYOOM | NOSCRIPT | BLOCKING)
        .keys(SHIFT_KEYS)
        .group(Group::List)
        .since("6.2.0")
        .complexity("O(1).")
        .summary("Takes an element from one list, adds it to another, and returns it; waits for one if there is none.")
        .args(&[
            Arg::key("source", 0),
            Arg::key("destination", 1),
            Arg::one_of("wherefrom", ENDS),
            Arg::one_of("whereto", ENDS),
            Arg::double("timeout"),
        ])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("brpoplpush", brpoplpush)
        .arity(4)
        .flags(WRITE | DENYOOM | NOSCRIPT | BLOCKING)
        .keys(SHIFT_KEYS)
        .group(Group::List)
        .since("2.2.0")
        .complexity("O(1).")
        .summary("Takes the last element of one list, adds it to another as the first; waits for one if there is none.")
        .history(HISTORY)
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
        .args(&[Arg::key("source", 0), Arg::key("destination", 1), Arg::double("timeout")])
        .reply(Shape::BulkOrNull)
        .finish(),
];

const HISTORY: &[(&str, &str)] = &[("6.0.0", "The timeout may have decimals.")];
const KEYS: &[KeySpec] = &[KeySpec::range(1, -2, 1).flags(RW | ACCESS | DELETE)];
const ARGS: &[Arg] = &[Arg::key("key", 0).multiple(), Arg::double("timeout")];
const REPLY: Shape = Shape::OneOf(&[Shape::Null, Shape::Tuple(&[Shape::Bulk, Shape::Bulk])]);

const fn row(name: &'static str, handler: Handler, summary: &'static str) -> Spec {
    Spec::new(name, handler)
        .arity(-3)
        .flags(WRITE | NOSCRIPT | BLOCKING)
        .keys(KEYS)
        .group(Group::List)
        .since("2.0.0")
        .complexity("O(N), N the number of keys.")
        .summary(summary)
        .history(HISTORY)
        .args(ARGS)
        .reply(REPLY)
        .finish()
}

fn blpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Left)
}

fn brpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Right)
}

/// The keys of a request that waits; one is the rule.
type Names<'a> = SmallVec<[&'a [u8]; 4]>;

fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), Error> {
    let last = args.len() - 1;
    let timeout_ms = blocking::timeout(&args[last])?;
    let names: Names<'_> = args.from(1).iter().take(last - 1).collect();
    for &name in &names {
        let key = cx.data.key(name);
        let taken = take(cx, &key, end, 1, |reply, _| {
            reply.array(2);
            reply.bulk(name);
        })?;
        if taken {
            return Ok(());
        }
    }
    wait(cx, &names, timeout_ms)
}

fn blmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let taking = Taking::parse(args, 2)?;
    let timeout_ms = blocking::timeout(&args[1])?;
    if taking.serve(cx)? {
        return Ok(());
    }
    let names: Names<'_> = taking.keys().collect();
    wait(cx, &names, timeout_ms)
}

fn blmove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (from, to) = (parse_end(&args[3])?, parse_end(&args[4])?);
    let timeout_ms = blocking::timeout(&args[5])?;
    shift_or_wait(cx, args, (from, to), timeout_ms)
}

fn brpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let timeout_ms = blocking::timeout(&args[3])?;
    shift_or_wait(cx, args, (End::Right, End::Left), timeout_ms)
}

fn shift_or_wait(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    (from, to): (End, End),
    timeout_ms: Option<u64>,
) -> Result<(), Error> {
    if shift(cx, args, from, to)? {
        return Ok(());
    }
    if cx.data.held {
        cx.reply.null();
        return Ok(());
    }
    // Only the source is waited for; in vain gives the null of arrays, as in Redis.
    wait(cx, &[&args[1]], timeout_ms)
}

fn wait(cx: &mut Cx<'_>, keys: &[&[u8]], timeout_ms: Option<u64>) -> Result<(), Error> {
    blocking::wait(cx, Wait { keys, timeout_ms, on_timeout: TimeoutReply::NullArray, args: None })
}
