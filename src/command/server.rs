//! Small questions about the server: TIME, LASTSAVE, ROLE, WAIT, MODULE, LOLWUT.
//!
//! There are no replicas, no snapshots and no modules: the answers say so in the form that clients read.

use crate::base::num::parse_i64;
use crate::base::version::LARDER_VERSION;
use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, FAST, LOADING, NOSCRIPT, READONLY, STALE};
use crate::command::spec::{Group, Spec, category};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("time", time)
        .arity(1)
        .flags(LOADING | STALE | FAST)
        .tips(&["nondeterministic_output"])
        .group(Group::Server)
        .since("2.6.0")
        .complexity("O(1).")
        .summary("Tells the server's time: Unix seconds, and the microseconds within the second.")
        .reply(Shape::Tuple(&[Shape::Bulk, Shape::Bulk]))
        .finish(),
    Spec::new("lastsave", lastsave)
        .arity(1)
        .flags(LOADING | STALE | FAST)
        .categories(category::ADMIN | category::DANGEROUS)
        .tips(&["nondeterministic_output"])
        .group(Group::Server)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Tells when the data was last on disk, in Unix seconds: never, so the server's start.")
        .reply(Shape::Integer)
        .finish(),
    Spec::new("role", role)
        .arity(1)
        .flags(NOSCRIPT | LOADING | STALE | FAST)
        .categories(category::ADMIN | category::DANGEROUS)
        .group(Group::Server)
        .since("2.8.12")
        .complexity("O(1).")
        .summary("Tells the role in replication: always a master without replicas.")
        .reply(Shape::Tuple(&[Shape::Bulk, Shape::Integer, Shape::Array(&Shape::Any)]))
        .finish(),
    Spec::new("wait", wait)
        .arity(3)
        .flags(NOSCRIPT)
        .categories_exactly(category::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .group(Group::Generic)
        .since("3.0.0")
        .complexity("O(1).")
        .summary(
            "Tells how many replicas have this connection's writes: none, as there are none, and at once.",
        )
        .args(&[Arg::integer("numreplicas"), Arg::integer("timeout")])
        .reply(Shape::Integer)
        .finish(),
    Spec::container(
        "module",
        &[
            Spec::new("list", no_modules)
                .arity(2)
                .flags(ADMIN | NOSCRIPT)
                .tips(&["nondeterministic_output_order"])
                .group(Group::Server)
                .since("4.0.0")
                .complexity("O(1).")
                .summary("Lists the loaded modules: there are none.")
                .reply(Shape::Array(&Shape::Any))
                .finish(),
            help_row("5.0.0", Group::Server, 0),
        ],
    )
    .group(Group::Server)
    .since("4.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Looks at modules; none can be loaded.")
    .finish(),
    Spec::new("lolwut", lolwut)
        .arity(-1)
        .flags(READONLY | FAST)
        .group(Group::Server)
        .since("5.0.0")
        .complexity("O(1).")
        .summary("Shows a shelf of the larder, stocked anew each time, and the version.")
        .args(&[Arg::integer("version").token("VERSION").optional()])
        .reply(Shape::Verbatim)
        .finish(),
];

fn time(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    // A script's time stands still.
    let now_us = if cx.session.in_script { cx.now_ms * 1000 } else { cx.worker.clock.wall_us() };
    cx.reply.array(2);
    cx.reply.bulk_integer((now_us / 1_000_000) as i64);
    cx.reply.bulk_integer((now_us % 1_000_000) as i64);
    Ok(())
}

fn lastsave(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.integer((cx.hub.started_ms / 1000) as i64);
    Ok(())
}

fn role(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.array(3);
    cx.reply.bulk_str("master");
    cx.reply.integer(0);
    cx.reply.array(0);
    Ok(())
}

fn wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    parse_i64(&args[1]).ok_or(Error::NotAnInteger)?;
    let timeout_ms = parse_i64(&args[2]).ok_or(Error::TimeoutNotAnInteger)?;
    if timeout_ms < 0 {
        return Err(Error::TimeoutNegative);
    }
    cx.reply.integer(0);
    Ok(())
}

fn no_modules(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.array(0);
    Ok(())
}

fn lolwut(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if args.len() > 1 {
        let is_version = args.len() == 3 && args[1].eq_ignore_ascii_case(b"version");
        if !is_version {
            return Err(Error::Syntax);
        }
        parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    }
    const GOODS: [&str; 6] = ["(_)", "[=]", "{~}", "|#|", "<o>", "   "];
    let mut text = String::new();
    for _ in 0..3 {
        for _ in 0..12 {
            text.push_str(GOODS[cx.worker.rng.below(GOODS.len() as u64) as usize]);
            text.push(' ');
        }
        text.push('\n');
        text.push_str(&"=".repeat(48));
        text.push('\n');
    }
    text.push_str("\nLarder ver. ");
    text.push_str(LARDER_VERSION);
    text.push('\n');
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}
