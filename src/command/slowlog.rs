//! SLOWLOG, and the noting of slow commands.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::secret::{REDACTED, is_secret};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, LOADING, SKIP_SLOWLOG, STALE};
use crate::command::spec::{Group, Spec};
use crate::command::table::Entry;
use crate::hub::slowlog::{ARG_BYTES_MAX, ARGS_MAX, Slow};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// Entries that SLOWLOG GET gives when it is not told how many.
const COUNT_DEFAULT: usize = 10;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("slowlog", SUBCOMMANDS)
    .group(Group::Server)
    .since("2.2.12")
    .complexity("Depends on the subcommand.")
    .summary("Looks at the commands that took long.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("get", get)
        .arity(-2)
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .group(Group::Server)
        .since("2.2.12")
        .complexity("O(N), N the number of entries given.")
        .summary("Gives the latest slow commands: id, time, duration in microseconds, arguments, client.")
        .history(&[("4.0.0", "Added address, port and name of the client.")])
        .args(&[Arg::integer("count").optional()])
        .reply(Shape::Array(&ENTRY))
        .finish(),
    Spec::new("len", len)
        .arity(2)
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .group(Group::Server)
        .since("2.2.12")
        .complexity("O(1).")
        .summary("Counts the entries of the slow log.")
        .reply(Shape::Integer)
        .finish(),
    Spec::new("reset", reset)
        .arity(2)
        .flags(ADMIN | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .group(Group::Server)
        .since("2.2.12")
        .complexity("O(N), N the number of entries.")
        .summary("Empties the slow log.")
        .reply(Shape::Ok)
        .finish(),
    help_row("6.2.0", Group::Server, 0),
];

const ENTRY: Shape = Shape::Tuple(&[
    Shape::Integer,
    Shape::Integer,
    Shape::Integer,
    Shape::Array(&Shape::Bulk),
    Shape::Bulk,
    Shape::Bulk,
]);

fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let count = match args.get(2) {
        None => COUNT_DEFAULT,
        Some(_) if args.len() > 3 => return Err(Error::bad_subcommand("slowlog", &args[1])),
        Some(word) => match parse_i64(word) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => return Err(Error::Fixed("ERR count should be greater than or equal to -1")),
        },
    };
    let entries = cx.hub.slowlog.newest(count);
    cx.reply.array(entries.len());
    for slow in &entries {
        cx.reply.array(6);
        cx.reply.integer(slow.id as i64);
        cx.reply.integer(slow.at_seconds as i64);
        cx.reply.integer(slow.took_us as i64);
        cx.reply.array(slow.args.len());
        slow.args.iter().for_each(|arg| cx.reply.bulk(arg));
        cx.reply.bulk_str(&slow.peer);
        cx.reply.bulk_str(&slow.name);
    }
    Ok(())
}

fn len(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.hub.slowlog.entries() as i64);
    Ok(())
}

fn reset(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.hub.slowlog.reset();
    cx.reply.ok();
    Ok(())
}

/// Puts a command into the slow log if it took as long as `slowlog-log-slower-than` says.
#[inline]
pub fn note(cx: &mut Cx<'_>, entry: &Entry, args: Args<'_>, took_ns: u64) {
    let slower_than_us = cx.worker.config().slowlog_log_slower_than;
    if slower_than_us < 0 || took_ns / 1000 < slower_than_us as u64 || entry.spec.has(SKIP_SLOWLOG) {
        return;
    }
    push(cx, args, took_ns / 1000);
}

#[cold]
fn push(cx: &mut Cx<'_>, args: Args<'_>, took_us: u64) {
    let shown = args.iter().take(ARGS_MAX).enumerate();
    let mut kept: Vec<Vec<u8>> =
        shown.map(|(at, arg)| if is_secret(args, at) { REDACTED.into() } else { cut(arg) }).collect();
    if args.len() > ARGS_MAX {
        kept[ARGS_MAX - 1] = format!("... ({} more arguments)", args.len() - ARGS_MAX + 1).into_bytes();
    }
    let client = &cx.session.client;
    let slow = Slow {
        id: 0,
        at_seconds: cx.now_ms / 1000,
        took_us,
        args: kept,
        peer: client.peer.clone(),
        name: client.labels().name,
    };
    let max = cx.worker.config().slowlog_max_len as usize;
    cx.hub.slowlog.push(slow, max);
}

fn cut(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= ARG_BYTES_MAX {
        return arg.to_vec();
    }
    let mut kept = arg[..ARG_BYTES_MAX].to_vec();
    kept.extend_from_slice(format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes());
    kept
}
