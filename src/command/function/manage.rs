//! FUNCTION: which libraries there are. Loading, deleting and flushing; what shows them is in `list`, what carries them to
//! other servers in `dump`.

use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::function::local::Local;
use crate::command::function::{dump, list};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ALLOW_BUSY, DENYOOM, Flags, NOSCRIPT, WRITE};
use crate::command::spec::{Draft, Group, Handler, Spec, category};
use crate::hub::functions::{Conflict, Function, Library};
use crate::hub::running::Kind;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::script::library::Registered;
use crate::script::metadata;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("function", SUBCOMMANDS)
    .group(Group::Scripting)
    .categories_exactly(0)
    .since("7.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Looks after libraries of functions.")
    .finish()];

const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

const SUBCOMMANDS: &[Spec] = &[
    row("load", load, -3, WRITE | DENYOOM)
        .tips(EVERYWHERE)
        .complexity("O(N), N the length of the library's source.")
        .summary("Takes a library in; gives its name.")
        .args(&[Arg::flag("replace", "REPLACE").optional(), Arg::string("function-code")])
        .reply(Shape::Bulk)
        .finish(),
    row("delete", delete, 3, WRITE)
        .tips(EVERYWHERE)
        .complexity("O(N), N the number of functions.")
        .summary("Forgets a library and its functions.")
        .args(&[Arg::string("library-name")])
        .reply(Shape::Ok)
        .finish(),
    row("flush", flush, -2, WRITE)
        .tips(EVERYWHERE)
        .complexity("O(N), N the number of functions.")
        .summary("Forgets all libraries.")
        .args(&[Arg::one_of("async", &[Arg::flag("async", "ASYNC"), Arg::flag("sync", "SYNC")]).optional()])
        .reply(Shape::Ok)
        .finish(),
    row("kill", kill, 2, ALLOW_BUSY)
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
        .complexity("O(1).")
        .summary("Ends the function that runs, unless it has written.")
        .reply(Shape::Ok)
        .finish(),
    row("list", list::list, -2, 0)
        .tips(&["nondeterministic_output_order"])
        .complexity("O(N), N the number of functions.")
        .summary("Shows libraries, their functions and, if wanted, their sources.")
        .args(&[
            Arg::string("library-name-pattern").token("LIBRARYNAME").optional(),
            Arg::flag("withcode", "WITHCODE").optional(),
        ])
        .reply(Shape::Array(&Shape::Map(&Shape::Bulk, &Shape::Any)))
        .finish(),
    row("stats", list::stats, 2, ALLOW_BUSY)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .complexity("O(1).")
        .summary("Shows the function that runs, and how many libraries and functions there are.")
        .reply(Shape::Map(&Shape::Bulk, &Shape::Any))
        .finish(),
    row("dump", dump::dump, 2, 0)
        .complexity("O(N), N the length of all sources.")
        .summary("Gives all libraries as bytes that FUNCTION RESTORE takes.")
        .reply(Shape::Bulk)
        .finish(),
    row("restore", dump::restore, -3, WRITE | DENYOOM)
        .tips(EVERYWHERE)
        .complexity("O(N), N the length of the sources.")
        .summary("Takes in the libraries that FUNCTION DUMP gave.")
        .args(&[
            Arg::string("serialized-value"),
            Arg::one_of(
                "policy",
                &[
                    Arg::flag("flush", "FLUSH"),
                    Arg::flag("append", "APPEND"),
                    Arg::flag("replace", "REPLACE"),
                ],
            )
            .optional(),
        ])
        .reply(Shape::Ok)
        .finish(),
    help_row("7.0.0", Group::Scripting, category::SCRIPTING),
];

const fn row(name: &'static str, handler: Handler, arity: i32, flags: Flags) -> Draft {
    Spec::new(name, handler).arity(arity).flags(flags | NOSCRIPT).group(Group::Scripting).since("7.0.0")
}

/// A library for the node's registry, of what it has registered here.
pub fn library(cx: &Cx<'_>, name: String, source: &[u8], registered: &[Registered]) -> Library {
    let function = |registered: &Registered| Function {
        name: registered.name.clone(),
        description: registered.description.clone(),
        flags: registered.flags,
    };
    let functions = registered.iter().map(function).collect();
    Library { number: cx.hub.functions.new_number(), name, source: source.into(), functions }
}

/// What is told of libraries that were not taken in. FUNCTION LOAD quotes a library's name, FUNCTION RESTORE does not.
pub fn told(conflict: Conflict, quotes: bool) -> Error {
    match conflict {
        Conflict::Library(name) if quotes => Error::err(format_args!("Library '{name}' already exists")),
        Conflict::Library(name) => Error::err(format_args!("Library {name} already exists")),
        Conflict::Function(name) => Error::err(format_args!("Function {name} already exists")),
        Conflict::TooLarge => Error::Fixed("ERR libraries take too much memory"),
    }
}

/// Runs `run` with the worker's own part for functions.
pub fn with_local<T>(cx: &mut Cx<'_>, run: impl FnOnce(&mut Cx<'_>, &mut Local) -> T) -> T {
    let mut local = cx.worker.functions.take().unwrap_or_default();
    let outcome = run(cx, &mut local);
    local.settle(cx.hub);
    cx.worker.functions = Some(local);
    outcome
}

fn load(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let mut replaces = false;
    for at in 2..args.len() - 1 {
        if !args[at].eq_ignore_ascii_case(b"replace") {
            let option = String::from_utf8_lossy(&args[at]);
            return Err(Error::err(format_args!("Unknown option given: {option}")));
        }
        replaces = true;
    }
    let source = &args[args.len() - 1];
    // What is there already need not be loaded to be refused.
    let name = metadata::read(source).map_err(Error::err)?;
    if name.engine.eq_ignore_ascii_case("lua") && !replaces && cx.hub.functions.current().has(&name.name) {
        return Err(told(Conflict::Library(name.name), true));
    }
    let name = with_local(cx, |cx, local| {
        let (name, registered) = local.load(cx, source)?;
        let library = library(cx, name.clone(), source, &registered);
        let number = library.number;
        match cx.hub.functions.load(library, replaces) {
            Ok(()) => local.keep(number, &registered),
            Err(conflict) => {
                local.discard(&registered);
                return Err(told(conflict, true));
            }
        }
        Ok(name)
    })?;
    cx.reply.bulk(name.as_bytes());
    Ok(())
}

fn delete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if !cx.hub.functions.delete(&args[2]) {
        return Err(Error::Fixed("ERR Library not found"));
    }
    cx.reply.ok();
    Ok(())
}

fn flush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    match args.get(2) {
        _ if args.len() > 3 => return Err(Error::bad_subcommand("function", &args[1])),
        Some(how) if !how.eq_ignore_ascii_case(b"async") && !how.eq_ignore_ascii_case(b"sync") => {
            return Err(Error::Fixed("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
        }
        _ => {}
    }
    cx.hub.functions.flush();
    if let Some(local) = &mut cx.worker.functions {
        local.clear();
        local.settle(cx.hub);
    }
    cx.reply.ok();
    Ok(())
}

fn kill(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.hub.running.kill(Kind::Function)?;
    cx.reply.ok();
    Ok(())
}
