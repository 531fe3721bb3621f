//! The table `redis`: what scripts and functions call the server by.

use std::rc::Rc;

use mlua::{Error, Lua, LuaString, MultiValue, Table, Value, Variadic};
use sha1::{Digest, Sha1};

use crate::base::version::REDIS_VERSION;
use crate::resp::reply::Proto;
use crate::script::failure::Raised;
use crate::script::guard::error_table;
use crate::script::host::LogLevel;
use crate::script::incoming::{self, Answer, Common};
use crate::script::link::Link;
use crate::script::number::format_g;

/// Digits by which a number becomes a command's argument.
const ARGUMENT_DIGITS: usize = 17;

const NO_ARGUMENT: &str = "Please specify at least one argument for this redis lib call";
const BAD_ARGUMENT: &str = "Lua redis lib command arguments must be strings or integers";

/// Bits that `redis.set_repl` takes.
const REPL_ALL: i64 = 3;

/// The table, complete for EVAL; `functions` says that it is for libraries of functions, which have fewer.
///
/// # Errors
/// Out of memory.
pub fn table(lua: &Lua, link: &Rc<Link>, functions: bool) -> Result<Table, Error> {
    let api = lua.create_table()?;
    commands(lua, link, &api)?;
    settings(lua, link, &api)?;
    values(lua, &api)?;
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].into_iter().enumerate() {
        api.raw_set(name, level)?;
    }
    for (name, bits) in
        [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", REPL_ALL)]
    {
        api.raw_set(name, bits)?;
    }
    let parts = REDIS_VERSION.split('.').filter_map(|part| part.parse::<u32>().ok());
    api.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    api.raw_set("REDIS_VERSION_NUM", parts.fold(0, |number, part| number << 8 | part))?;
    if !functions {
        api.raw_set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
        api.raw_set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
        api.raw_set("debug", lua.create_function(|_, ()| Ok(()))?)?;
    }
    Ok(api)
}

fn commands(lua: &Lua, link: &Rc<Link>, api: &Table) -> Result<(), Error> {
    let common = Rc::new(Common::new(lua)?);
    let (own, strings) = (Rc::clone(link), Rc::clone(&common));
    let call =
        lua.create_function(move |lua, args: MultiValue| match command(lua, &own, &strings, &args)? {
            Answer::Value(value) => Ok(value),
            Answer::Error(line) => Err(Raised::Reply { line, counted: true }.into()),
        })?;
    api.raw_set("call", call)?;
    let own = Rc::clone(link);
    let pcall = lua.create_function(move |lua, args: MultiValue| {
        let table = match command(lua, &own, &common, &args) {
            Ok(Answer::Value(value)) => return Ok(value),
            Ok(Answer::Error(line)) => error_table(lua, &line, true)?,
            Err(error) => match Raised::find(&error) {
                Some(Raised::Reply { line, counted }) => error_table(lua, line, *counted)?,
                _ => return Err(error),
            },
        };
        Ok(Value::Table(table))
    })?;
    api.raw_set("pcall", pcall)?;
    let own = Rc::clone(link);
    let may_call = lua.create_function(move |lua, args: MultiValue| {
        lay_down(&own, &args)?;
        match own.may_call(lua)? {
            Some(allowed) => Ok(allowed),
            None => Err(Raised::err("Invalid command passed to redis.acl_check_cmd()")),
        }
    })?;
    api.raw_set("acl_check_cmd", may_call)
}

/// Runs a command.
fn command(lua: &Lua, link: &Rc<Link>, common: &Common, args: &MultiValue) -> Result<Answer, Error> {
    lay_down(link, args)?;
    link.call(lua)?;
    let reply = link.reply.borrow();
    link.with_room(lua, reply.len(), || incoming::read(lua, &reply, common))
}

/// Lays a command down for the host.
fn lay_down(link: &Link, args: &MultiValue) -> Result<(), Error> {
    if args.is_empty() {
        return Err(Raised::err(NO_ARGUMENT));
    }
    let mut request = link.request.borrow_mut();
    request.clear();
    for arg in args {
        let laid_down = match arg {
            Value::String(text) => request.push(|bytes| bytes.extend_from_slice(&text.as_bytes())),
            Value::Integer(number) => request.push(|bytes| format_g(*number as f64, ARGUMENT_DIGITS, bytes)),
            Value::Number(number) => request.push(|bytes| format_g(*number, ARGUMENT_DIGITS, bytes)),
            _ => false,
        };
        if !laid_down {
            return Err(Raised::err(BAD_ARGUMENT));
        }
    }
    Ok(())
}

/// What changes how the script runs, and logging.
fn settings(lua: &Lua, link: &Rc<Link>, api: &Table) -> Result<(), Error> {
    let own = Rc::clone(link);
    let set_resp = lua.create_function(move |lua, args: Variadic<Value>| {
        let [version] = &args[..] else {
            return Err(Raised::err("redis.setresp() requires one argument."));
        };
        let proto = match number(lua, version)? as i64 {
            2 => Proto::Resp2,
            3 => Proto::Resp3,
            _ => return Err(Raised::err("RESP version must be 2 or 3.")),
        };
        own.set_resp(lua, proto)
    })?;
    api.raw_set("setresp", set_resp)?;
    let set_repl = lua.create_function(|lua, args: Variadic<Value>| {
        let [flags] = &args[..] else {
            return Err(Raised::err("redis.set_repl() requires two arguments."));
        };
        if number(lua, flags)? as i64 & !REPL_ALL != 0 {
            return Err(Raised::err(
                "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            ));
        }
        Ok(())
    })?;
    api.raw_set("set_repl", set_repl)?;
    let own = Rc::clone(link);
    let log = lua.create_function(move |lua, args: Variadic<Value>| {
        let [level, words @ ..] = &args[..] else { return Err(Raised::err(LOG_ARGUMENTS)) };
        if words.is_empty() {
            return Err(Raised::err(LOG_ARGUMENTS));
        }
        let Some(level) = lua.coerce_number(level.clone())? else {
            return Err(Raised::err("First argument must be a number (log level)."));
        };
        let level = match level as i64 {
            0 => LogLevel::Debug,
            1 => LogLevel::Verbose,
            2 => LogLevel::Notice,
            3 => LogLevel::Warning,
            _ => return Err(Raised::err("Invalid debug level.")),
        };
        let mut line = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let Some(text) = lua.coerce_string(word.clone())? else { continue };
            if at > 0 {
                line.push(b' ');
            }
            line.extend_from_slice(&text.as_bytes());
        }
        if own.is_open() { own.log(lua, level, &line) } else { Ok(()) }
    })?;
    api.raw_set("log", log)
}

const LOG_ARGUMENTS: &str = "redis.log() requires two arguments or more.";

/// A number as `lua_tonumber` reads it: what is none is 0.
fn number(lua: &Lua, value: &Value) -> Result<f64, Error> {
    Ok(lua.coerce_number(value.clone())?.unwrap_or(0.0))
}

/// What makes values and asks for nothing.
fn values(lua: &Lua, api: &Table) -> Result<(), Error> {
    let status = lua.create_function(|lua, args: Variadic<Value>| match only_string(&args) {
        Some(text) => {
            let table = lua.create_table()?;
            table.raw_set("ok", text)?;
            Ok(table)
        }
        None => error_table(lua, WRONG_TYPE, false),
    })?;
    api.raw_set("status_reply", status)?;
    let error = lua.create_function(|lua, args: Variadic<Value>| match only_string(&args) {
        Some(text) => error_table(lua, &error_line(&text.as_bytes()), false),
        None => error_table(lua, WRONG_TYPE, false),
    })?;
    api.raw_set("error_reply", error)?;
    let sha1 = lua.create_function(|lua, args: Variadic<Value>| {
        let [text] = &args[..] else { return Err(Raised::err("wrong number of arguments")) };
        let text = lua.coerce_string(text.clone())?;
        Ok(match &text {
            Some(text) => sha1_hex(&text.as_bytes()),
            None => sha1_hex(b""),
        })
    })?;
    api.raw_set("sha1hex", sha1)
}

const WRONG_TYPE: &[u8] = b"ERR wrong number or type of arguments";

fn only_string(args: &[Value]) -> Option<&LuaString> {
    match args {
        [Value::String(text)] => Some(text),
        _ => None,
    }
}

/// The line of `redis.error_reply(text)`: a single word gets a code before it.
fn error_line(text: &[u8]) -> Vec<u8> {
    let trimmed = |text: &'_ [u8]| -> Vec<u8> {
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = text.iter().position(|byte| !is_end(byte)).unwrap_or(text.len());
        let end = text.iter().rposition(|byte| !is_end(byte)).map_or(start, |at| at + 1);
        text[start..end].to_vec()
    };
    let text = trimmed(text.strip_prefix(b"-").unwrap_or(text));
    let (code, message) = match memchr::memchr(b' ', &text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (&b"ERR"[..], &text[..]),
    };
    [code, b" ", &trimmed(message)].concat()
}

/// The SHA1 of `bytes` in hexadecimal.
pub fn sha1_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(40);
    for byte in Sha1::digest(bytes) {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
