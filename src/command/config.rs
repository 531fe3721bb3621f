//! CONFIG: parameters at run time, over the one table in [`crate::config::params`].

use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, LOADING, NOSCRIPT, STALE};
use crate::command::spec::{Group, Spec};
use crate::metrics::workers::Totals;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("config", SUBCOMMANDS)
    .group(Group::Server)
    .since("2.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Looks at parameters and changes them.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("get", get)
        .arity(-3)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .group(Group::Server)
        .since("2.0.0")
        .complexity("O(N), N the number of parameters times that of patterns.")
        .summary("Gives the parameters whose names match any of the patterns.")
        .history(&[("7.0.0", "Several patterns may be given.")])
        .args(&[Arg::string("parameter").multiple()])
        .reply(Shape::Map(&Shape::Bulk, &Shape::Bulk))
        .finish(),
    Spec::new("set", set)
        .arity(-4)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .group(Group::Server)
        .since("2.0.0")
        .complexity("O(N), N the number of parameters given.")
        .summary("Changes parameters, all of those given or none.")
        .history(&[("7.0.0", "Several parameters may be given.")])
        .args(&[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("resetstat", resetstat)
        .arity(2)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .group(Group::Server)
        .since("2.0.0")
        .complexity("O(1).")
        .summary("Sets the counters that INFO shows to zero.")
        .reply(Shape::Ok)
        .finish(),
    Spec::new("rewrite", rewrite)
        .arity(2)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .group(Group::Server)
        .since("2.8.0")
        .complexity("O(1).")
        .summary("Writes the parameters in use into the configuration file, keeping its comments.")
        .reply(Shape::Ok)
        .finish(),
    help_row("5.0.0", Group::Server, 0),
];

fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let patterns: Vec<&[u8]> = args.from(2).iter().collect();
    let found = cx.hub.config.get(&patterns);
    cx.reply.map(found.len());
    for (name, value) in &found {
        cx.reply.bulk_str(name);
        cx.reply.bulk_str(value);
    }
    Ok(())
}

fn set(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if !args.len().is_multiple_of(2) {
        return Err(Error::wrong_arity("config|set"));
    }
    let words: Vec<&[u8]> = args.from(2).iter().collect();
    let pairs: Vec<(&[u8], &[u8])> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    // A change may reach into every shard.
    let outcome = cx.data.without_locks(|| cx.hub.config.set(&pairs));
    outcome.map_err(|error| Error::Custom(error.to_string()))?;
    cx.worker.config.refresh();
    cx.reply.ok();
    Ok(())
}

fn resetstat(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let totals = Totals::of(cx.hub.stats());
    cx.hub.baseline.set(totals, cx.data.removals());
    cx.hub.clients.reset_counters();
    cx.hub.errors.reset();
    cx.hub.scripts.reset();
    cx.reply.ok();
    Ok(())
}

fn rewrite(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.hub.config.rewrite().map_err(|error| Error::Custom(error.to_string()))?;
    cx.reply.ok();
    Ok(())
}
