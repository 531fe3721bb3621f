//! FUNCTION LIST and FUNCTION STATS: what libraries there are, and which function runs.

use crate::base::glob;
use crate::command::context::Cx;
use crate::hub::functions::{Function, Library};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;

/// What runs all libraries.
const ENGINE: &[u8] = b"LUA";

/// FUNCTION LIST.
///
/// # Errors
/// An argument is unknown, or given twice.
pub fn list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (mut pattern, mut with_source) = (None, false);
    let mut rest = args.from(2).iter();
    while let Some(word) = rest.next() {
        if !with_source && word.eq_ignore_ascii_case(b"withcode") {
            with_source = true;
        } else if pattern.is_none() && word.eq_ignore_ascii_case(b"libraryname") {
            pattern = Some(rest.next().ok_or(Error::Fixed("ERR library name argument was not given"))?);
        } else {
            return Err(Error::err(format_args!("Unknown argument {}", String::from_utf8_lossy(word))));
        }
    }
    let libraries = cx.hub.functions.current();
    let is_wanted = |library: &&std::sync::Arc<Library>| {
        pattern.is_none_or(|pattern| glob::matches(pattern, library.name.as_bytes(), true))
    };
    cx.reply.array(libraries.iter().filter(is_wanted).count());
    for library in libraries.iter().filter(is_wanted) {
        write_library(cx.reply, library, with_source);
    }
    Ok(())
}

fn write_library(reply: &mut Reply, library: &Library, with_source: bool) {
    reply.map(if with_source { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(ENGINE);
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    library.functions.iter().for_each(|function| write_function(reply, function));
    if with_source {
        reply.bulk(b"library_code");
        reply.bulk(&library.source);
    }
}

fn write_function(reply: &mut Reply, function: &Function) {
    reply.map(3);
    reply.bulk(b"name");
    reply.bulk(function.name.as_bytes());
    reply.bulk(b"description");
    match &function.description {
        Some(description) => reply.bulk(description),
        None => reply.null(),
    }
    reply.bulk(b"flags");
    reply.set(function.flags.names().count());
    function.flags.names().for_each(|name| reply.simple(name));
}

/// FUNCTION STATS.
///
/// # Errors
/// None.
pub fn stats(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let libraries = cx.hub.functions.current();
    cx.reply.map(2);
    cx.reply.bulk(b"running_script");
    match cx.hub.running.function() {
        None => cx.reply.null(),
        Some(run) => {
            let took_ns = cx.worker.clock.mono_ns().saturating_sub(run.began_ns);
            cx.reply.map(3);
            cx.reply.bulk(b"name");
            cx.reply.bulk(run.name.as_bytes());
            cx.reply.bulk(b"command");
            cx.reply.array(run.command.len());
            run.command.iter().for_each(|word| cx.reply.bulk(word));
            cx.reply.bulk(b"duration_ms");
            cx.reply.integer((took_ns / 1_000_000) as i64);
        }
    }
    cx.reply.bulk(b"engines");
    cx.reply.map(1);
    cx.reply.bulk(ENGINE);
    cx.reply.map(2);
    cx.reply.bulk(b"libraries_count");
    cx.reply.integer(libraries.len() as i64);
    cx.reply.bulk(b"functions_count");
    cx.reply.integer(libraries.functions() as i64);
    Ok(())
}
