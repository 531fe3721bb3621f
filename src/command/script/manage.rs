//! SCRIPT: which scripts are known, and the end of one that runs too long.

use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::script::local::digest_of;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ALLOW_BUSY, NOSCRIPT, STALE};
use crate::command::spec::{Group, Spec, category};
use crate::hub::running::Kind;
use crate::hub::scripts::Digest;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("script", SUBCOMMANDS)
    .group(Group::Scripting)
    .since("2.6.0")
    .complexity("Depends on the subcommand.")
    .summary("Looks after the scripts that EVALSHA can run.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("debug", debug)
        .arity(3)
        .flags(NOSCRIPT)
        .group(Group::Scripting)
        .since("3.2.0")
        .complexity("O(1).")
        .summary("Refused: scripts are not debugged on a server that others use.")
        .args(&[Arg::one_of(
            "mode",
            &[Arg::flag("yes", "YES"), Arg::flag("sync", "SYNC"), Arg::flag("no", "NO")],
        )])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("exists", exists)
        .arity(-3)
        .flags(NOSCRIPT)
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .group(Group::Scripting)
        .since("2.6.0")
        .complexity("O(N), N the number of digests.")
        .summary("Tells which scripts are known.")
        .args(&[Arg::string("sha1").multiple()])
        .reply(Shape::Array(&Shape::Integer))
        .finish(),
    Spec::new("load", load)
        .arity(3)
        .flags(NOSCRIPT | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .group(Group::Scripting)
        .since("2.6.0")
        .complexity("O(N), N the length of the script.")
        .summary("Takes a script in without running it; gives its SHA1.")
        .args(&[Arg::string("script")])
        .reply(Shape::Bulk)
        .finish(),
    Spec::new("kill", kill)
        .arity(2)
        .flags(NOSCRIPT | ALLOW_BUSY)
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .group(Group::Scripting)
        .since("2.6.0")
        .complexity("O(1).")
        .summary("Ends the script that runs, unless it has written.")
        .reply(Shape::Ok)
        .finish(),
    Spec::new("flush", flush)
        .arity(-2)
        .flags(NOSCRIPT)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .group(Group::Scripting)
        .since("2.6.0")
        .complexity("O(N), N the number of scripts.")
        .summary("Forgets all scripts.")
        .history(&[("6.2.0", "The options `ASYNC` and `SYNC` came.")])
        .args(&[Arg::one_of("async", &[Arg::flag("async", "ASYNC"), Arg::flag("sync", "SYNC")])
            .since("6.2.0")
            .optional()])
        .reply(Shape::Ok)
        .finish(),
    help_row("5.0.0", Group::Scripting, category::SCRIPTING),
];

fn debug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let is = |word: &str| args[2].eq_ignore_ascii_case(word.as_bytes());
    if is("no") {
        cx.reply.ok();
        return Ok(());
    }
    if is("yes") || is("sync") {
        return Err(Error::Fixed(
            "ERR SCRIPT DEBUG is not supported: scripts run on threads that serve others",
        ));
    }
    Err(Error::Fixed("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}

fn exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let digests = args.from(2);
    cx.reply.array(digests.len());
    for digest in digests.iter() {
        let digest = Digest::try_from(digest).map(|digest| digest.map(|byte| byte.to_ascii_lowercase()));
        let is_known = digest.is_ok_and(|digest| cx.hub.scripts.find(&digest).is_some());
        cx.reply.integer(i64::from(is_known));
    }
    Ok(())
}

fn load(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let limit_bytes = cx.worker.config().lua_memory_limit as usize;
    let now_ns = cx.worker.last_ns;
    let mut local = cx.worker.scripts.take().unwrap_or_default();
    let outcome = local.load(cx.hub, &args[2], limit_bytes, now_ns);
    cx.worker.scripts = Some(local);
    outcome?;
    cx.reply.bulk(&digest_of(&args[2]));
    Ok(())
}

fn kill(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.hub.running.kill(Kind::Script)?;
    cx.reply.ok();
    Ok(())
}

fn flush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let is = |at: usize, word: &str| args[at].eq_ignore_ascii_case(word.as_bytes());
    match args.len() {
        2 => {}
        3 if is(2, "async") || is(2, "sync") => {}
        _ => return Err(Error::Fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    // Few and small: dropping them is quick either way.
    drop(cx.hub.scripts.flush());
    if let Some(local) = &mut cx.worker.scripts {
        local.forget(cx.hub);
    }
    cx.reply.ok();
    Ok(())
}
