//! One interpreter, and how scripts and functions are run on it.
//!
//! It belongs to one thread. A run leaves nothing behind that a later run could see; an interpreter that may be damaged
//! (a panic in a callback), or that stays large, reports itself [`spoiled`](Engine::is_spoiled) and is replaced by its
//! owner. Memory is bounded from the outside: what goes beyond is an error within the script.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mlua::{Error, Function, Lua, LuaOptions, StdLib, Table, Value};

use crate::resp::args::Args;
use crate::resp::reply::{Proto, Reply};
use crate::script::api;
use crate::script::failure::{self, Caught, Failure, Raised};
use crate::script::guard;
use crate::script::host::Host;
use crate::script::lib;
use crate::script::link::Link;
use crate::script::outgoing::{self, Errors};
use crate::script::parameters::{self, Parameters, Seen};
use crate::script::sandbox::{self, Parts, Sandbox};

/// Instructions between two looks at whether the script must end.
pub const HOOK_INSTRUCTIONS: u32 = 10_000;

/// The name of every script's source, as error messages have it.
const SCRIPT_SOURCE: &str = "@user_script";

/// Memory below which the interpreter is never cleaned up by force, in bytes.
const CLEAN_FROM_BYTES: usize = 8 << 20;

/// Memory beyond the libraries' up to which the collector is in no hurry, in bytes.
pub const SMALL_BYTES: usize = 2 << 20;

/// Which globals an interpreter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    /// Those of EVAL.
    Scripts,
    /// Those of libraries of functions.
    Functions,
}

/// Code that was compiled, on the engine that compiled it.
#[derive(Clone, Debug)]
pub struct Compiled {
    function: Function,
    seen: Seen,
}

impl Compiled {
    /// A function that came out of a library.
    pub fn from_function(function: Function) -> Self {
        let seen = Seen::by_function(&function);
        Self { function, seen }
    }
}

/// One run of a script or function.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// What errors call it: a script's SHA1, a function's name. Without one they do not say where they were raised.
    pub name: &'a str,
    /// Its `KEYS`, which a function has as its first parameter.
    pub keys: Args<'a>,
    /// Its `ARGV`, which a function has as its second parameter.
    pub argv: Args<'a>,
}

/// What a script returned.
pub struct Returned {
    value: Value,
    proto: Proto,
    flatten: Function,
}

impl Returned {
    /// Writes it as a reply.
    pub fn write(self, reply: &mut Reply) -> Errors {
        outgoing::write(reply, self.value, self.proto, &self.flatten)
    }

    /// The value itself.
    pub fn into_value(self) -> Value {
        self.value
    }
}

/// An interpreter; see the module.
pub struct Engine {
    lua: Lua,
    link: Rc<Link>,
    sandbox: Sandbox,
    /// Called with an error that ends a script, with the stack still there.
    handle: Function,
    /// What scripts have set in `cjson`.
    json: Option<lib::cjson::Root>,
    /// Of an interpreter for scripts.
    parameters: Option<Parameters>,
    limit_bytes: usize,
    /// Memory that it takes as it is made.
    base_bytes: usize,
    spoiled: bool,
}

impl Engine {
    /// An interpreter with bounded memory. `extend` adds to the table `redis` before that is closed.
    ///
    /// # Errors
    /// There is not even memory enough for the libraries.
    pub fn new(
        realm: Realm,
        limit_bytes: usize,
        extend: impl FnOnce(&Lua, &Table) -> Result<(), Error>,
    ) -> Result<Self, Failure> {
        Self::build(realm, limit_bytes, extend).map_err(|error| failed("", &error))
    }

    fn build(
        realm: Realm,
        limit_bytes: usize,
        extend: impl FnOnce(&Lua, &Table) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let options = LuaOptions::new().catch_rust_panics(false);
        let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, options)?;
        let link = Rc::new(Link::new());
        let api = api::table(&lua, &link, realm == Realm::Functions)?;
        extend(&lua, &api)?;
        let handle = handler(&lua, &link)?;
        let libraries = vec![
            ("cjson", lib::cjson::open(&lua)?),
            ("cmsgpack", lib::cmsgpack::open(&lua)?),
            ("struct", lib::structs::open(&lua)?),
            ("bit", lib::bit::open(&lua)?),
        ];
        let json = lib::cjson::root(&lua);
        let parts = Parts { link: &link, api: &api, libraries };
        let sandbox = sandbox::build(&lua, parts)?;
        let parameters = match realm {
            Realm::Scripts => Some(Parameters::new(&lua, &sandbox.globals)?),
            Realm::Functions => None,
        };
        lua.gc_collect()?;
        let base_bytes = lua.used_memory();
        lua.set_memory_limit(base_bytes + limit_bytes)?;
        link.limit_bytes.set(base_bytes + limit_bytes);
        lib::limit_output(&lua, limit_bytes);
        let own = Rc::clone(&link);
        lib::watch(&lua, move |lua| own.tick(lua));
        link.watch_as_usual(&lua)?;
        link.collect_seldom(&lua, true);
        Ok(Self { lua, link, sandbox, handle, json, parameters, limit_bytes, base_bytes, spoiled: false })
    }

    /// Compiles a script's source.
    ///
    /// # Errors
    /// It is no Lua; the text says where and why.
    pub fn compile(&self, source: &[u8]) -> Result<Compiled, String> {
        self.compile_named(source, SCRIPT_SOURCE)
    }

    /// Compiles source of another name: `@user_function`.
    ///
    /// # Errors
    /// As [`Engine::compile`].
    pub fn compile_named(&self, source: &[u8], name: &str) -> Result<Compiled, String> {
        match sandbox::compile(&self.lua, &self.sandbox.front, source, name) {
            Ok(function) => Ok(Compiled { function, seen: Seen::by(source) }),
            Err(error) => Err(guard::message(&error)),
        }
    }

    /// Globals of which nothing is there but these tables, by name.
    ///
    /// # Errors
    /// Out of memory.
    pub fn scarce_globals(&self, tables: &[(&str, Table)]) -> Result<Table, Error> {
        let Sandbox { guard, missing, .. } = &self.sandbox;
        let globals = self.lua.create_table()?;
        for (name, table) in tables {
            let front = guard.protect(&self.lua, table, Some(missing), Value::Boolean(false))?;
            globals.raw_set(*name, front)?;
        }
        let behind = self.lua.create_table()?;
        behind.raw_set("__index", missing)?;
        globals.set_metatable(Some(behind))?;
        Ok(globals)
    }

    /// Runs code that sees other globals while it runs. Its errors do not say where they were raised.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_within(
        &mut self,
        globals: &Table,
        host: &mut dyn Host,
        code: &Compiled,
    ) -> Result<(), Failure> {
        let Some(shown) = self.sandbox.front.metatable() else {
            self.spoiled = true;
            return Err(Failure::new("ERR the interpreter is damaged"));
        };
        let led = shown.raw_set("__index", globals);
        let none = Args::new(&[], &[]);
        let result = match led {
            Ok(()) => self.run(host, code, Run { name: "", keys: none, argv: none }),
            Err(error) => Err(failed("", &error)),
        };
        self.spoiled |= shown.raw_set("__index", &self.sandbox.globals).is_err();
        result.map(drop)
    }

    /// Runs a script, or a function in an interpreter for functions.
    ///
    /// # Errors
    /// It failed, or was ended.
    pub fn run(
        &mut self,
        host: &mut dyn Host,
        function: &Compiled,
        run: Run<'_>,
    ) -> Result<Returned, Failure> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.drive(host, function, run)));
        let stopped = self.link.close();
        let mut result = match outcome {
            Ok(Ok((true, value))) if !stopped => {
                Ok(Returned { value, proto: self.link.proto.get(), flatten: self.sandbox.flatten.clone() })
            }
            Ok(Ok((_, value))) => Err(self.failure(run.name, &value)),
            Ok(Err(error)) => Err(failed(run.name, &error)),
            Err(_) => {
                self.spoiled = true;
                Err(Failure::new(format!("ERR Error running script {}, internal error", run.name)))
            }
        };
        if let Err(failure) = &mut result {
            failure.stopped = stopped;
        }
        self.clean_up(stopped);
        result
    }

    fn drive(
        &mut self,
        host: &mut dyn Host,
        function: &Compiled,
        run: Run<'_>,
    ) -> Result<(bool, Value), Error> {
        let Self { lua, link, sandbox, handle, .. } = self;
        // What is made here is bounded by the request. Without a limit nothing of it can fail, and the interpreter need not
        // be asked in a protected call for each of it; a failure before the limit is set again leaves it to the end.
        lua.set_memory_limit(0)?;
        let Some(parameters) = &mut self.parameters else {
            let (keys, argv) = parameters::of_function(lua, function.seen, run.keys, run.argv)?;
            lua.set_memory_limit(link.limit_bytes.get())?;
            return link.lend(host, || sandbox.run.call((&function.function, &*handle, keys, argv)));
        };
        parameters.fill(lua, function.seen, run.keys, run.argv)?;
        lua.set_memory_limit(link.limit_bytes.get())?;
        link.lend(host, || sandbox.run.call((&function.function, &*handle)))
    }

    /// What the error that ended a script is told as.
    fn failure(&self, name: &str, value: &Value) -> Failure {
        match self.link.caught.take() {
            Some(caught) => caught.into_failure(name),
            // The handler was not called, or failed itself: out of memory, or an error within it.
            None => {
                let why = match value {
                    Value::String(text) => text.to_string_lossy(),
                    Value::Error(error) => guard::foreign(error),
                    _ => "execution failure".to_owned(),
                };
                Failure::new(format!("ERR Error running script {name}, {why}"))
            }
        }
    }

    /// Leaves the interpreter as the next run expects it.
    fn clean_up(&mut self, stopped: bool) {
        self.spoiled |= self.lua.set_memory_limit(self.link.limit_bytes.get()).is_err();
        self.json.iter().for_each(lib::cjson::Root::reset);
        if stopped && self.link.watch_as_usual(&self.lua).is_err() {
            self.spoiled = true;
        }
        self.link.collect_seldom(&self.lua, self.lua.used_memory() < self.base_bytes + SMALL_BYTES);
        let limit = self.base_bytes + (self.limit_bytes / 4).max(CLEAN_FROM_BYTES);
        if self.lua.used_memory() <= limit {
            return;
        }
        let is_renewed = self.parameters.as_mut().is_none_or(|one| one.renew(&self.lua).is_ok());
        if !is_renewed || self.lua.gc_collect().is_err() || self.lua.used_memory() > limit {
            self.spoiled = true;
        }
    }

    /// Whether it must be replaced before it is used again.
    pub fn is_spoiled(&self) -> bool {
        self.spoiled
    }

    /// Memory that it takes, in bytes.
    pub fn used_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// The interpreter, for what builds on it.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Changes the bound of its memory, in bytes beyond what the libraries take.
    pub fn set_limit(&mut self, limit_bytes: usize) {
        if self.limit_bytes != limit_bytes {
            self.limit_bytes = limit_bytes;
            self.link.limit_bytes.set(self.base_bytes + limit_bytes);
            self.spoiled |= self.lua.set_memory_limit(self.base_bytes + limit_bytes).is_err();
            lib::limit_output(&self.lua, limit_bytes);
        }
    }
}

/// A failure outside of the script's own code.
fn failed(name: &str, error: &Error) -> Failure {
    match Raised::find(error) {
        Some(Raised::Reply { line, counted }) => {
            Failure { line: line.clone(), counted: *counted, stopped: false }
        }
        Some(Raised::Stop(error)) => Failure::new(error.as_bytes()),
        _ => Failure::new(format!("ERR Error running script {name}, {}", guard::foreign(error))),
    }
}

/// The error handler: makes of an error, while the stack is still there, what is answered.
fn handler(lua: &Lua, link: &Rc<Link>) -> Result<Function, Error> {
    let link = Rc::clone(link);
    lua.create_function(move |lua, value: Value| {
        let (line, counted) = match value {
            Value::Error(error) => match Raised::find(&error) {
                Some(Raised::Text(text)) => ([b"ERR ", &text[..]].concat(), false),
                Some(Raised::Reply { line, counted }) => (line.clone(), *counted),
                Some(Raised::Stop(error)) => (error.as_bytes().to_vec(), false),
                None => (format!("ERR {}", guard::foreign(&error)).into_bytes(), false),
            },
            Value::Table(table) => match table.raw_get::<Value>("err")? {
                Value::String(line) => {
                    let counted = table.raw_get::<Value>("ignore_error_stats_update")?;
                    (line.as_bytes().to_vec(), counted == Value::Boolean(true))
                }
                _ => (b"ERR unknown error".to_vec(), false),
            },
            other => (format!("ERR {}", text_of(lua, other)?).into_bytes(), false),
        };
        *link.caught.borrow_mut() = Some(Caught { line, counted, place: failure::place(lua) });
        Ok(())
    })
}

/// A value as `tostring` shows it.
fn text_of(lua: &Lua, value: Value) -> Result<String, Error> {
    Ok(match value {
        Value::Nil => "nil".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            lua.coerce_string(value)?.map(|text| text.to_string_lossy()).unwrap_or_default()
        }
        other => format!("{}: {:p}", guard::type_name(&other), other.to_pointer()),
    })
}

#[cfg(test)]
mod tests;
