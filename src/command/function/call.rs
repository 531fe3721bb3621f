//! FCALL FCALL_RO: a function of a library, run as a script is.

use crate::command::context::Cx;
use crate::command::execute;
use crate::command::function::local::{Local, Ready};
use crate::command::pace::Pace;
use crate::command::script::eval::{READS_NOTED, WRITES_NOTED, parameters, rules, run_with};
use crate::command::script::shebang::Promises;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{
    Flags as RowFlags, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, SKIP_MONITOR, STALE,
};
use crate::command::spec::key_spec::KeySpec;
use crate::command::spec::{Group, Handler, Spec};
use crate::hub::running::Kind;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::script::engine::Run;
use crate::script::flags::Flags;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    row("fcall", fcall, "Runs a function.", 0, WRITES_NOTED),
    row("fcall_ro", fcall_ro, "Runs a function that does not write.", READONLY, READS_NOTED),
];

const CALL: &[Arg] = &[
    Arg::string("function"),
    Arg::integer("numkeys"),
    Arg::key("key", 0).optional().multiple(),
    Arg::string("arg").optional().multiple(),
];

const fn row(
    name: &'static str,
    handler: Handler,
    summary: &'static str,
    flags: RowFlags,
    keys: &'static [KeySpec],
) -> Spec {
    Spec::new(name, handler)
        .arity(-3)
        .flags(flags | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS)
        .keys(keys)
        .group(Group::Scripting)
        .since("7.0.0")
        .complexity("Depends on the function.")
        .summary(summary)
        .args(CALL)
        .reply(Shape::Any)
        .finish()
}

fn fcall(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, false)
}

fn fcall_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    run(cx, args, true)
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, read_only: bool) -> Result<(), Error> {
    // The call is shown before what it runs.
    execute::show(cx, args);
    // Nothing that a function runs runs functions: its worker's part is free to be taken out.
    let mut local = cx.worker.functions.take().unwrap_or_default();
    let outcome =
        local.find(cx, &args[1]).and_then(|ready| run_ready(cx, args, &mut local, &ready, read_only));
    local.settle(cx.hub);
    cx.worker.functions = Some(local);
    outcome
}

fn run_ready(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    local: &mut Local,
    ready: &Ready,
    read_only: bool,
) -> Result<(), Error> {
    let function = ready.function()?;
    let (keys, argv) = parameters(args, 2, Error::Fixed("ERR Bad number of keys provided"))?;
    let rules = rules(cx, promises(function.flags), read_only, true)?;
    let reply = std::mem::take(&mut local.reply);
    let interpreter = local.interpreter(cx)?;
    let code = interpreter.function(ready.number)?;
    let pace = Pace::new(cx, Kind::Function, &function.name, args);
    let called = Run { name: &function.name, keys, argv };
    local.reply = run_with(cx, interpreter.engine(), (pace, rules, reply), |engine, server| {
        engine.run(server, &code, called)
    });
    Ok(())
}

/// What flags say: a function has always said something.
fn promises(flags: Flags) -> Promises {
    Promises {
        declared: true,
        no_writes: flags.has(Flags::NO_WRITES),
        allow_oom: flags.has(Flags::ALLOW_OOM),
        allow_stale: flags.has(Flags::ALLOW_STALE),
        no_cluster: flags.has(Flags::NO_CLUSTER),
        allow_cross_slot: flags.has(Flags::ALLOW_CROSS_SLOT_KEYS),
    }
}
