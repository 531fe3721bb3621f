//! SLOWLOG, and the noting of slow commands.

use crate::command::context::Cx;
use crate::command::spec::flags::SKIP_SLOWLOG;
use crate::command::table::Entry;
use crate::hub::slowlog::{ARG_BYTES_MAX, ARGS_MAX, Slow};
use crate::resp::args::Args;

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
    let mut kept: Vec<Vec<u8>> = args.iter().take(ARGS_MAX).map(cut).collect();
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
