//! What scripts see: the globals, all of them read-only, and Lua's libraries without what reaches the host or takes time
//! that no hook can interrupt.
//!
//! A function is here because it is listed here. What a library's C code does wrong in Lua 5.1 (lengths that overflow,
//! loops that memory does not bound, chunks that are compiled from bytes) is replaced by code of ours.

use std::rc::Rc;

use mlua::chunk::{Chunk, ChunkMode};
use mlua::{Error, Function, Lua, Table, Value, Variadic};

use crate::script::failure::{Raised, SANDBOX_SOURCE};
use crate::script::guard::{self, Guard, type_name};
use crate::script::link::Link;
use crate::script::random::Random;
use crate::script::text;

/// Globals that are taken over as they are.
const GLOBALS: &[&str] = &[
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "rawequal",
    "select",
    "tonumber",
    "tostring",
    "type",
];
/// Functions of the library `string` that are taken over as they are.
const STRING: &[&str] = &["byte", "char", "dump", "format", "len", "lower", "reverse", "sub", "upper"];
/// Functions of the library `table` that are taken over as they are.
const TABLE: &[&str] = &["concat", "foreach", "foreachi", "getn", "maxn", "remove", "setn", "sort"];
/// Members of the library `math` that are taken over as they are.
const MATH: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp",
    "huge", "ldexp", "log", "log10", "max", "min", "mod", "modf", "pi", "pow", "rad", "sin", "sinh", "sqrt",
    "tan", "tanh",
];
/// Functions of the library `coroutine` that are taken over as they are.
const COROUTINE: &[&str] = &["create", "running", "status", "wrap", "yield"];

/// The source of what must be Lua.
const PRELUDE: &str = include_str!("prelude.lua");

/// Functions that it makes.
const MADE: usize = 8;

/// The finished sandbox.
pub struct Sandbox {
    /// Behind the globals: what the engine changes.
    pub globals: Table,
    /// The globals as scripts see them.
    pub front: Table,
    /// Puts a table's keys, or keys and values, in a row: `(table, with values)` gives the row and its length.
    pub flatten: Function,
    /// Which tables are read-only.
    pub guard: Guard,
    /// Called for globals that do not exist.
    pub missing: Function,
    /// Runs a function: `(function, error handler, parameters…)`.
    pub run: Function,
}

/// What the engine puts into the sandbox.
pub struct Parts<'a> {
    /// The way to the host.
    pub link: &'a Rc<Link>,
    /// The table `redis`, still open.
    pub api: &'a Table,
    /// Further libraries, by name.
    pub libraries: Vec<(&'static str, Table)>,
}

/// Builds the sandbox and makes it the globals of everything that is loaded afterwards.
///
/// # Errors
/// Out of memory.
pub fn build(lua: &Lua, parts: Parts<'_>) -> Result<Sandbox, Error> {
    let Parts { link, api, ref libraries, .. } = parts;
    let raw = lua.globals();
    let guard = Guard::new(lua)?;
    let globals = lua.create_table()?;
    take(&raw, &globals, GLOBALS)?;
    let next: Function = raw.get("next")?;
    for (name, function) in guard.functions(lua, &next)? {
        globals.raw_set(name, function)?;
    }
    for (name, function) in basics(lua)? {
        globals.raw_set(name, function)?;
    }
    let missing = missing(lua)?;
    let shown = lua.create_table()?;
    shown.raw_set("__index", &missing)?;
    let shown = guard.protect(lua, &shown, None, Value::Boolean(false))?;
    let front = guard.protect(lua, &globals, Some(&missing), Value::Table(shown))?;
    globals.raw_set("_G", &front)?;

    let strings = library(lua, &raw, "string", STRING)?;
    for (name, function) in text::functions(lua, link)? {
        strings.raw_set(name, function)?;
    }
    let tables = library(lua, &raw, "table", TABLE)?;
    let coroutines = library(lua, &raw, "coroutine", COROUTINE)?;
    let math = library(lua, &raw, "math", MATH)?;
    for (name, function) in random(lua, link)? {
        math.raw_set(name, function)?;
    }
    let loadstring = loadstring(lua, &front)?;
    let arguments = prelude_arguments(lua, &parts, &guard, &loadstring)?;
    lua.set_globals(front.clone())?;
    let prelude =
        lua.load(PRELUDE).set_name(SANDBOX_SOURCE).set_environment(front.clone()).into_function()?;
    let made: Variadic<Function> = prelude.call(Variadic::from_iter(arguments))?;
    let made: [Function; MADE] =
        Vec::from(made).try_into().map_err(|_| Error::runtime("the prelude is broken"))?;
    let [pcall, xpcall, resume, insert, load, gsub, unpack, flatten] = made;
    let run = raw.get("xpcall")?;
    globals.raw_set("pcall", pcall)?;
    globals.raw_set("xpcall", xpcall)?;
    coroutines.raw_set("resume", resume)?;
    tables.raw_set("insert", insert)?;
    strings.raw_set("gsub", gsub)?;
    globals.raw_set("load", load)?;
    globals.raw_set("unpack", unpack)?;
    globals.raw_set("loadstring", loadstring)?;
    let own = [("string", &strings), ("table", &tables), ("coroutine", &coroutines), ("math", &math)];
    let others = libraries.iter().map(|(name, table)| (*name, table));
    publish(lua, (&guard, &globals), own.into_iter().chain([("redis", api)]).chain(others))?;
    protect_strings(lua, &guard, &globals, &strings)?;
    Ok(Sandbox { globals, front, guard, missing, flatten, run })
}

/// What the prelude works with, in the order in which it names it.
fn prelude_arguments(
    lua: &Lua,
    parts: &Parts<'_>,
    guard: &Guard,
    loadstring: &Function,
) -> Result<Vec<Value>, Error> {
    let raw = lua.globals();
    let (raw_table, raw_coroutine): (Table, Table) = (raw.get("table")?, raw.get("coroutine")?);
    let (caught_text, caught_value) = guard::catchers(lua, parts.link)?;
    Ok(vec![
        raw.get("pcall")?,
        raw.get("xpcall")?,
        raw_coroutine.get("resume")?,
        raw_table.get("insert")?,
        Value::Table(guard.backing.clone()),
        Value::Function(caught_text),
        Value::Function(caught_value),
        raw.get("error")?,
        raw.get("type")?,
        raw.get("select")?,
        raw.get("tonumber")?,
        raw_table.get("concat")?,
        Value::Function(loadstring.clone()),
        Value::Function(text::substitute_text(lua, parts.link)?),
        Value::Function(text::substitute(lua, parts.link)?),
        raw.get("next")?,
        raw.get("unpack")?,
    ])
}

/// Makes libraries known by their names, read-only, with a clock.
fn publish<'t>(
    lua: &Lua,
    (guard, globals): (&Guard, &Table),
    libraries: impl Iterator<Item = (&'t str, &'t Table)>,
) -> Result<(), Error> {
    let clock = lua.create_table()?;
    clock.raw_set("clock", lua.create_function(|_, ()| Ok(processor_seconds()))?)?;
    let protect = |table: &Table| guard.protect(lua, table, None, Value::Boolean(false));
    globals.raw_set("os", protect(&clock)?)?;
    for (name, table) in libraries {
        globals.raw_set(name, protect(table)?)?;
    }
    // The name that Valkey has for it.
    globals.raw_set("server", globals.raw_get::<Value>("redis")?)
}

/// Methods of strings lead to the library, and nobody gets at their metatable.
fn protect_strings(lua: &Lua, guard: &Guard, globals: &Table, strings: &Table) -> Result<(), Error> {
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", strings)?;
    let shown = lua.create_table()?;
    shown.raw_set("__index", globals.raw_get::<Table>("string")?)?;
    metatable.raw_set("__metatable", guard.protect(lua, &shown, None, Value::Boolean(false))?)?;
    lua.set_type_metatable::<mlua::LuaString>(Some(metatable));
    Ok(())
}

/// Copies members by name; one that this Lua does not have is left out.
fn take(from: &Table, into: &Table, names: &[&str]) -> Result<(), Error> {
    for name in names {
        into.raw_set(*name, from.raw_get::<Value>(*name)?)?;
    }
    Ok(())
}

fn library(lua: &Lua, raw: &Table, name: &str, members: &[&str]) -> Result<Table, Error> {
    let table = lua.create_table()?;
    take(&raw.raw_get::<Table>(name)?, &table, members)?;
    Ok(table)
}

/// What answers for a global that does not exist.
fn missing(lua: &Lua) -> Result<Function, Error> {
    lua.create_function(|lua, (_, name): (Value, Value)| -> Result<(), Error> {
        let name = lua.coerce_string(name)?.map(|name| name.to_string_lossy()).unwrap_or_default();
        Err(Raised::here(lua, &format!("Script attempted to access nonexistent global variable '{name}'")))
    })
}

/// Global functions of ours.
fn basics(lua: &Lua) -> Result<Vec<(&'static str, Function)>, Error> {
    // What one script tells the collector must not matter to the next.
    let collect = lua.create_function(|lua, args: Variadic<Value>| {
        let option = match args.first() {
            None | Some(Value::Nil) => "collect".to_owned(),
            Some(value) => match lua.coerce_string(value.clone())? {
                Some(text) => text.to_string_lossy(),
                None => {
                    let why = format!("string expected, got {}", type_name(value));
                    return Err(Raised::argument(lua, 1, "collectgarbage", &why));
                }
            },
        };
        match option.as_str() {
            "count" => Ok(Value::Number(lua.used_memory() as f64 / 1024.0)),
            "collect" => {
                lua.gc_collect()?;
                Ok(Value::Number(0.0))
            }
            "step" => Ok(Value::Boolean(lua.gc_step()?)),
            "stop" | "restart" => Ok(Value::Number(0.0)),
            "setpause" | "setstepmul" => Ok(Value::Number(200.0)),
            _ => Err(Raised::argument(lua, 1, "collectgarbage", &format!("invalid option '{option}'"))),
        }
    })?;
    let info = lua.create_function(|lua, ()| Ok((lua.used_memory() / 1024) as f64))?;
    Ok(vec![("collectgarbage", collect), ("gcinfo", info)])
}

/// The integer at `index` of a function's arguments, cut to 32 bits as C does.
///
/// # Errors
/// It is no number, or missing without a default.
pub fn integer(
    lua: &Lua,
    args: &[Value],
    index: usize,
    function: &str,
    default: Option<i64>,
) -> Result<i64, Error> {
    let value = match args.get(index) {
        None | Some(Value::Nil) if default.is_some() => return Ok(default.unwrap_or_default()),
        None => {
            return Err(Raised::argument(lua, index + 1, function, "number expected, got no value"));
        }
        Some(value) => value,
    };
    match lua.coerce_number(value.clone())? {
        Some(number) => Ok((number as i64).clamp(i64::from(i32::MIN), i64::from(i32::MAX))),
        None => {
            let why = format!("number expected, got {}", type_name(value));
            Err(Raised::argument(lua, index + 1, function, &why))
        }
    }
}

/// `math.random` and `math.randomseed`.
fn random(lua: &Lua, link: &Rc<Link>) -> Result<Vec<(&'static str, Function)>, Error> {
    let own = Rc::clone(link);
    let next = lua.create_function(move |lua, args: Variadic<Value>| {
        let fraction = own.next_random(lua)?;
        let (low, high) = match args.len() {
            0 => return Ok(fraction),
            1 => (1, integer(lua, &args, 0, "random", None)?),
            2 => (integer(lua, &args, 0, "random", None)?, integer(lua, &args, 1, "random", None)?),
            _ => return Err(Raised::here(lua, "wrong number of arguments")),
        };
        if low > high {
            return Err(Raised::argument(lua, args.len(), "random", "interval is empty"));
        }
        Ok((fraction * (high - low + 1) as f64).floor() + low as f64)
    })?;
    let own = Rc::clone(link);
    let seed = lua.create_function(move |lua, args: Variadic<Value>| {
        let seed = integer(lua, &args, 0, "randomseed", None)?;
        own.random.set(Some(Random::new(seed as u32)));
        Ok(())
    })?;
    Ok(vec![("random", next), ("randomseed", seed)])
}

/// `loadstring`: source only, never bytes of compiled code.
fn loadstring(lua: &Lua, front: &Table) -> Result<Function, Error> {
    let environment = front.clone();
    lua.create_function(move |lua, args: Variadic<Value>| {
        let source = string(lua, &args, 0, "loadstring")?;
        let name = match args.get(1) {
            None | Some(Value::Nil) => source.clone(),
            Some(_) => string(lua, &args, 1, "loadstring")?,
        };
        load(lua, &environment, &source, &name)
    })
}

/// What `load` gives: a function, or nil and why there is none.
type Loaded = (Value, Value);

fn load(lua: &Lua, environment: &Table, source: &[u8], name: &[u8]) -> Result<Loaded, Error> {
    match compile(lua, environment, source, &String::from_utf8_lossy(name)) {
        Ok(function) => Ok((Value::Function(function), Value::Nil)),
        Err(error @ Error::MemoryError(_)) => Err(error),
        Err(error) => refused(lua, &guard::message(&error)),
    }
}

fn refused(lua: &Lua, why: &str) -> Result<Loaded, Error> {
    Ok((Value::Nil, Value::String(lua.create_string(why)?)))
}

/// Compiles source. The collector rests meanwhile: the parser of Lua 5.1 does not hold on to all that it uses.
///
/// # Errors
/// It is no Lua, or it is compiled code.
pub fn compile(lua: &Lua, environment: &Table, source: &[u8], name: &str) -> Result<Function, Error> {
    // A name ends where C ends it.
    let name = name.split('\0').next().unwrap_or_default();
    lua.gc_stop();
    let chunk: Chunk<'_> = lua.load(source);
    let function =
        chunk.set_name(name).set_mode(ChunkMode::Text).set_environment(environment.clone()).into_function();
    lua.gc_restart();
    function
}

/// The string at `index` of a function's arguments.
///
/// # Errors
/// There is none.
pub fn string(lua: &Lua, args: &[Value], index: usize, function: &str) -> Result<Vec<u8>, Error> {
    let Some(value) = args.get(index) else {
        return Err(Raised::argument(lua, index + 1, function, "string expected, got no value"));
    };
    match value {
        Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            Ok(lua.coerce_string(value.clone())?.map(|text| text.as_bytes().to_vec()).unwrap_or_default())
        }
        _ => {
            let why = format!("string expected, got {}", type_name(value));
            Err(Raised::argument(lua, index + 1, function, &why))
        }
    }
}

/// Seconds that the process has kept processors busy.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
