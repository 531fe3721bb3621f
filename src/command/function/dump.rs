//! FUNCTION DUMP and FUNCTION RESTORE: libraries as bytes, for other servers too, Redis among them.
//!
//! What is restored is loaded first, all of it, and only then taken in: all libraries or none.

use std::collections::HashSet;

use crate::command::context::Cx;
use crate::command::function::local::Local;
use crate::command::function::manage::{library, told, with_local};
use crate::hub::functions::{Conflict, Library, Policy};
use crate::persist::libraries::{self, Refused};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::script::library::Registered;

/// FUNCTION DUMP.
///
/// # Errors
/// None.
pub fn dump(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let all = cx.hub.functions.current();
    cx.reply.bulk(&libraries::write(all.iter().map(|library| &library.source[..])));
    Ok(())
}

/// FUNCTION RESTORE.
///
/// # Errors
/// The payload is none, a library in it cannot be loaded, or the policy forbids it.
pub fn restore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let policy = match args.get(3) {
        _ if args.len() > 4 => return Err(Error::bad_subcommand("function", &args[1])),
        None => Policy::Append,
        Some(word) => policy(word)?,
    };
    let sources = libraries::read(&args[2]).map_err(refused)?;
    with_local(cx, |cx, local| {
        let mut made = Vec::new();
        let outcome = load_all(cx, local, &sources, &mut made)
            .and_then(|new| cx.hub.functions.restore(new, policy).map_err(|conflict| told(conflict, false)));
        for (number, registered) in &made {
            match outcome {
                Ok(()) => local.keep(*number, registered),
                Err(_) => local.discard(registered),
            }
        }
        outcome
    })?;
    cx.reply.ok();
    Ok(())
}

fn policy(word: &[u8]) -> Result<Policy, Error> {
    let known = [("flush", Policy::Flush), ("append", Policy::Append), ("replace", Policy::Replace)];
    let found = known.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, policy)| policy).ok_or(Error::Fixed(
        "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
    ))
}

fn refused(why: Refused) -> Error {
    Error::Fixed(match why {
        Refused::Footer => "ERR DUMP payload version or checksum are wrong",
        Refused::Old => "ERR Pre-GA function format not supported",
        Refused::Other => "ERR given type is not a function",
        Refused::Source => "ERR Failed loading library payload",
    })
}

/// Loads libraries that must not collide with each other; `made` gets what each has registered, by its number.
fn load_all(
    cx: &mut Cx<'_>,
    local: &mut Local,
    sources: &[Vec<u8>],
    made: &mut Vec<(u64, Vec<Registered>)>,
) -> Result<Vec<Library>, Error> {
    let mut all = Vec::with_capacity(sources.len());
    let (mut names, mut functions) = (HashSet::new(), HashSet::new());
    for source in sources {
        let (name, registered) = local.load(cx, source)?;
        let new = library(cx, name, source, &registered);
        made.push((new.number, registered));
        if !names.insert(new.name.clone()) {
            return Err(told(Conflict::Library(new.name), true));
        }
        let mut own = new.functions.iter().map(|function| &function.name);
        if let Some(twice) = own.find(|name| !functions.insert(name.to_ascii_lowercase())) {
            return Err(told(Conflict::Function(twice.clone()), true));
        }
        all.push(new);
    }
    Ok(all)
}
