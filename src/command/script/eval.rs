//! EVAL EVALSHA EVAL_RO EVALSHA_RO.
//!
//! The row names the keys, so that a script begins under their shards' locks; it keeps them to its end, as EXEC does, and
//! everything that it runs sees the same time.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::execute;
use crate::command::pace::{self, Pace};
use crate::command::script::host::{Rules, Server};
use crate::command::script::local::{Local, Ready};
use crate::command::script::shebang::Promises;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{
    Flags, MAY_REPLICATE, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, SKIP_MONITOR, STALE,
};
use crate::command::spec::key_spec::{ACCESS, KeySpec, RO, RW, UPDATE};
use crate::command::spec::{Group, Handler, Spec};
use crate::hub::running::Kind;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::script::engine::{Engine, Returned, Run};
use crate::script::failure::Failure;
use crate::script::outgoing;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    row("eval", eval, "2.6.0", "Runs a script.", MAY_REPLICATE, BODY, WRITES_NOTED),
    row(
        "evalsha",
        evalsha,
        "2.6.0",
        "Runs a script that is known by its SHA1.",
        MAY_REPLICATE,
        DIGEST,
        WRITES,
    ),
    row("eval_ro", eval_ro, "7.0.0", "Runs a script that must not write.", READONLY, BODY, READS_NOTED),
    row(
        "evalsha_ro",
        evalsha_ro,
        "7.0.0",
        "Runs a script that must not write, known by its SHA1.",
        READONLY,
        DIGEST,
        READS,
    ),
];

const WRITES: &[KeySpec] = &[KeySpec::key_num(2, 0, 1, 1).flags(RW | ACCESS | UPDATE)];
/// Keys of which only the script knows what it does to them.
pub const WRITES_NOTED: &[KeySpec] = &[KeySpec::key_num(2, 0, 1, 1)
    .flags(RW | ACCESS | UPDATE)
    .notes("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")];
const READS: &[KeySpec] = &[KeySpec::key_num(2, 0, 1, 1).flags(RO | ACCESS)];
/// The same where it does not write.
pub const READS_NOTED: &[KeySpec] = &[KeySpec::key_num(2, 0, 1, 1)
    .flags(RO | ACCESS)
    .notes("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")];

const BODY: &[Arg] = &[
    Arg::string("script"),
    Arg::integer("numkeys"),
    Arg::key("key", 0).optional().multiple(),
    Arg::string("arg").optional().multiple(),
];
const DIGEST: &[Arg] = &[
    Arg::string("sha1"),
    Arg::integer("numkeys"),
    Arg::key("key", 0).optional().multiple(),
    Arg::string("arg").optional().multiple(),
];

const fn row(
    name: &'static str,
    handler: Handler,
    since: &'static str,
    summary: &'static str,
    flags: Flags,
    args: &'static [Arg],
    keys: &'static [KeySpec],
) -> Spec {
    Spec::new(name, handler)
        .arity(-3)
        .flags(flags | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS)
        .keys(keys)
        .group(Group::Scripting)
        .since(since)
        .complexity("Depends on the script.")
        .summary(summary)
        .args(args)
        .reply(Shape::Any)
        .finish()
}

fn eval(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, false, false)
}

fn evalsha(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, true, false)
}

fn eval_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, false, true)
}

fn evalsha_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, true, true)
}

/// The keys and the arguments, where `numkeys` stands at a position; `bad` is said of what is no number.
///
/// # Errors
/// The number is none, negative, or too large.
pub fn parameters(args: Args<'_>, at: usize, bad: Error) -> Result<(Args<'_>, Args<'_>), Error> {
    let count = parse_i64(&args[at]).ok_or(bad)?;
    let rest = args.from(at + 1);
    if count > rest.len() as i64 {
        return Err(Error::Fixed("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count).map_err(|_| Error::Fixed("ERR Number of keys can't be negative"))?;
    Ok((rest.up_to(count), rest.from(count)))
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, by_digest: bool, read_only: bool) -> Result<(), Error> {
    // The script is shown before what it runs.
    execute::show(cx, args);
    if by_digest && args[1].len() != 40 {
        return Err(Error::NoScript);
    }
    let parameters = parameters(args, 2, Error::NotAnInteger)?;
    let limit_bytes = cx.worker.config().lua_memory_limit as usize;
    let now_ns = cx.worker.last_ns;
    // Nothing that a script runs runs scripts: its worker's part is free to be taken out.
    let mut local = cx.worker.scripts.take().unwrap_or_default();
    let found = match by_digest {
        true => local.by_digest(cx.hub, &args[1], limit_bytes, now_ns),
        false => local.by_body(cx.hub, &args[1], limit_bytes, now_ns),
    };
    let outcome = found.and_then(|ready| {
        let rules = rules(cx, ready.promises, read_only, false)?;
        run_ready(cx, args, &mut local, &ready, (rules, parameters), limit_bytes)
    });
    local.settle(cx.hub);
    cx.worker.scripts = Some(local);
    outcome
}

fn run_ready(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    local: &mut Local,
    ready: &Ready,
    (rules, (keys, argv)): (Rules, (Args<'_>, Args<'_>)),
    limit_bytes: usize,
) -> Result<(), Error> {
    let reply = std::mem::take(&mut local.reply);
    let engine = local.engine(cx.hub, limit_bytes)?;
    let pace = Pace::new(cx, Kind::Script, &ready.name, args);
    let called = Run { name: &ready.name, keys, argv };
    let reply =
        run_with(cx, engine, (pace, rules, reply), |engine, server| engine.run(server, &ready.code, called));
    local.reply = reply;
    Ok(())
}

/// Runs a script or function and writes its reply; gives the buffer for the replies of its commands back. `held` data
/// stays locked from begin to end, and what the script changed of the session is undone.
pub fn run_with<'p>(
    cx: &mut Cx<'_>,
    engine: &mut Engine,
    (pace, rules, reply): (Pace<'p>, Rules, Reply),
    run: impl FnOnce(&mut Engine, &mut Server<'_, '_, 'p>) -> Result<Returned, Failure>,
) -> Reply {
    let (db, slot, was_held) = (cx.session.db, cx.slot, cx.data.held);
    cx.data.held = true;
    let mut server = Server::new(cx, pace, rules, reply);
    let outcome = run(engine, &mut server);
    let (reply, stopped) = server.end();
    cx.session.db = db;
    cx.data.db = db;
    cx.data.held = was_held;
    cx.slot = slot;
    if stopped != Some(pace::Stop::Again) {
        count_stopped(cx, stopped, &outcome);
        answer(cx, outcome);
    }
    reply
}

/// Counts a script that did not run to its end.
fn count_stopped(cx: &Cx<'_>, stopped: Option<pace::Stop>, outcome: &Result<Returned, Failure>) {
    let stats = &cx.worker.stats;
    let counter = match stopped {
        Some(pace::Stop::Killed) => &stats.scripts_killed,
        Some(pace::Stop::Conflict) => &stats.scripts_in_conflict,
        _ if outcome.as_ref().is_err_and(Failure::is_out_of_memory) => &stats.scripts_out_of_memory,
        _ => return,
    };
    counter.add(1);
}

/// Writes what became of a script, and counts its errors once.
fn answer(cx: &mut Cx<'_>, outcome: Result<Returned, Failure>) {
    let is_error = match outcome {
        Ok(returned) => {
            let errors = returned.write(cx.reply);
            errors.lines.iter().for_each(|line| count(cx, line));
            errors.is_error
        }
        Err(failure) => {
            outgoing::put_line(cx.reply, b'-', &failure.line);
            if !failure.counted {
                count(cx, &failure.line);
            }
            true
        }
    };
    if is_error && let Some(row) = cx.worker.stats.command(cx.entry.id) {
        row.fail();
    }
}

fn count(cx: &Cx<'_>, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    cx.hub.errors.count(line.split(' ').next().unwrap_or("ERR"));
    cx.worker.stats.error_replies.add(1);
}

/// What a script may do here and now.
///
/// # Errors
/// It may not run at all, or the command is held back.
pub fn rules(
    cx: &mut Cx<'_>,
    promises: Promises,
    read_only: bool,
    is_function: bool,
) -> Result<Rules, Error> {
    let out_of_memory = is_out_of_memory(cx)?;
    if promises.declared {
        let is_frugal = promises.allow_oom || promises.no_writes;
        if promises.no_cluster && cx.worker.clustered {
            return Err(Error::Fixed("ERR Can not run script on cluster, 'no-cluster' flag is set."));
        }
        if read_only && !promises.no_writes {
            return Err(Error::Fixed("ERR Can not execute a script with write flag using *_ro command."));
        }
        if out_of_memory && !is_frugal {
            return Err(Error::OutOfMemory);
        }
    }
    Ok(Rules {
        read_only: read_only || promises.declared && promises.no_writes,
        allow_oom: promises.declared && promises.allow_oom,
        out_of_memory,
        allow_cross_slot: !promises.declared || promises.allow_cross_slot,
        is_function,
    })
}

/// Whether memory is over its limit and nothing may be evicted. The locks are let go of meanwhile.
fn is_out_of_memory(cx: &mut Cx<'_>) -> Result<bool, Error> {
    let hub = cx.hub;
    if !hub.keyspace.is_over() {
        return Ok(false);
    }
    // EXEC has made room before it began.
    if cx.data.held {
        return Ok(true);
    }
    let shard = (cx.now_ms % hub.keyspace.shards() as u64) as usize;
    let made = cx.data.without_locks(|| hub.keyspace.make_room(shard, 0));
    execute::still_here(cx)?;
    Ok(made.is_err())
}
