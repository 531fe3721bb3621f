//! Libraries of functions in an interpreter: how one is loaded, and what it registers.
//!
//! While a library loads, its code sees nothing but a table `redis` of its own, with `register_function`; its functions
//! see all the globals of a function, once they are run. So the globals' table is led elsewhere for the time of loading,
//! and always led back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use ahash::RandomState;
use mlua::{Error, Function, Lua, Table, Value, Variadic};

use crate::resp::error::Error as Refusal;
use crate::script::engine::{Compiled, Engine, Realm};
use crate::script::failure::{Failure, Raised};
use crate::script::flags::Flags;
use crate::script::host::Host;
use crate::script::metadata;

/// The name of a library's source, as error messages have it.
const SOURCE: &str = "@user_function";

/// What libraries find in `redis` while they load, of what functions find there later.
const SHARED: &[&str] =
    &["log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM"];

/// Functions that are held on to from outside at most: the interpreter has few references to lend.
const CALLED_MAX: usize = 512;

/// Functions that one library may register.
const FUNCTIONS_MAX: usize = 100_000;

/// A function that a library has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What [`Libraries::function`] knows it by.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// What its author says of it.
    pub description: Option<Vec<u8>>,
    /// What it says of itself.
    pub flags: Flags,
}

/// All functions, by number: they live in the interpreter, which has few references to lend.
struct Registry {
    functions: Table,
    next: Cell<i64>,
    /// What the library that loads has registered so far; nothing while none loads.
    loading: RefCell<Option<Vec<Registered>>>,
}

/// An interpreter for functions.
pub struct Libraries {
    engine: Engine,
    registry: Rc<Registry>,
    /// Functions that were called, by number: they need not be looked up in the interpreter.
    called: HashMap<i64, Compiled, RandomState>,
    /// The globals while a library loads.
    scarce: Table,
}

impl Libraries {
    /// An interpreter with bounded memory and no library.
    ///
    /// # Errors
    /// There is not even memory enough for what every function finds.
    pub fn new(limit_bytes: usize) -> Result<Self, Failure> {
        let mut made = None;
        let engine = Engine::new(Realm::Functions, limit_bytes, |lua, full| {
            made = Some(prepare(lua, full)?);
            Ok(())
        })?;
        let broken = || Failure::new("ERR the interpreter for functions cannot be made");
        let (registry, apis) = made.ok_or_else(broken)?;
        let scarce = engine.scarce_globals(&apis).map_err(|_| broken())?;
        Ok(Self { engine, registry, called: HashMap::default(), scarce })
    }

    /// The interpreter.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Loads a library: compiles its code and runs it once.
    ///
    /// # Errors
    /// It is no Lua, fails, or registers nothing; the text says why.
    pub fn load(&mut self, host: &mut dyn Host, code: &[u8]) -> Result<Vec<Registered>, String> {
        let compiled = self.engine.compile_named(code, SOURCE);
        let compiled = compiled.map_err(|error| format!("Error compiling function: {error}"))?;
        self.registry.loading.replace(Some(Vec::new()));
        let outcome = self.engine.run_within(&self.scarce, host, &compiled);
        let registered = self.registry.loading.take().unwrap_or_default();
        if let Err(failure) = outcome {
            self.forget(registered.iter().map(|function| function.number));
            let line = String::from_utf8_lossy(&failure.line);
            return Err(format!("Error registering functions: {line}"));
        }
        if registered.is_empty() {
            return Err("No functions registered".to_owned());
        }
        Ok(registered)
    }

    /// Forgets functions.
    pub fn forget(&mut self, numbers: impl Iterator<Item = i64>) {
        for number in numbers {
            self.called.remove(&number);
            // Taking something out needs no memory.
            let _ = self.registry.functions.raw_set(number, Value::Nil);
        }
    }

    /// A function, for [`Engine::run`].
    ///
    /// # Errors
    /// It was forgotten.
    pub fn function(&mut self, number: i64) -> Result<Compiled, Refusal> {
        if let Some(function) = self.called.get(&number) {
            return Ok(function.clone());
        }
        let Ok(Value::Function(function)) = self.registry.functions.raw_get::<Value>(number) else {
            return Err(Refusal::Fixed("ERR Function not found"));
        };
        let function = Compiled::from_function(function);
        if self.called.len() >= CALLED_MAX {
            self.called.clear();
        }
        self.called.insert(number, function.clone());
        Ok(function)
    }
}

/// What libraries find while they load, under each of its names.
type Apis = [(&'static str, Table); 2];

/// The registry, and what libraries find while they load; `full` is what functions find in `redis`.
fn prepare(lua: &Lua, full: &Table) -> Result<(Rc<Registry>, Apis), Error> {
    let functions = lua.create_table()?;
    let registry = Rc::new(Registry { functions, next: Cell::new(1), loading: RefCell::new(None) });
    let api = |name: &'static str| {
        let api = lua.create_table()?;
        for shared in SHARED {
            api.raw_set(*shared, full.raw_get::<Value>(*shared)?)?;
        }
        let own = Rc::clone(&registry);
        let register =
            move |lua: &Lua, args: Variadic<Value>| Register { lua, api: name }.register(&own, &args);
        api.raw_set("register_function", lua.create_function(register)?)?;
        Ok::<_, Error>((name, api))
    };
    let apis = [api("redis")?, api("server")?];
    Ok((registry, apis))
}

/// `register_function`, in both its forms.
struct Register<'a> {
    lua: &'a Lua,
    /// The table that it was called by; errors name it.
    api: &'static str,
}

impl Register<'_> {
    fn register(&self, registry: &Registry, args: &[Value]) -> Result<(), Error> {
        let mut loading = registry.loading.borrow_mut();
        let Some(registered) = loading.as_mut() else {
            return Err(self.refuse("@ can only be called on FUNCTION LOAD command"));
        };
        let Draft { name, description, flags, function } = match args {
            [Value::Table(named)] => self.named(named)?,
            [_] => {
                return Err(self.refuse(
                    "calling @ with a single argument is only applicable to Lua table (representing named arguments).",
                ));
            }
            [name, function] => self.placed(name, function)?,
            _ => return Err(self.refuse("wrong number of arguments to @")),
        };
        let name = metadata::verified(&name).map_err(Raised::err)?;
        // Functions are called by their names in any case.
        if registered.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
            return Err(Raised::err("Function already exists in the library"));
        }
        if registered.len() >= FUNCTIONS_MAX {
            return Err(Raised::err("too many functions in the library"));
        }
        let number = registry.next.get();
        registry.functions.raw_set(number, function)?;
        registry.next.set(number + 1);
        registered.push(Registered { number, name, description, flags });
        Ok(())
    }

    /// An error; `@` stands for the function's own name.
    fn refuse(&self, text: &str) -> Error {
        Raised::err(&text.replace('@', &format!("{}.register_function", self.api)))
    }

    /// The bytes of a string; a number is written as one.
    ///
    /// # Errors
    /// It is neither: `refusal` is the error.
    fn text(&self, value: &Value, refusal: &str) -> Result<Vec<u8>, Error> {
        let text = match value {
            Value::String(_) | Value::Integer(_) | Value::Number(_) => {
                self.lua.coerce_string(value.clone())?
            }
            _ => None,
        };
        text.map(|text| text.as_bytes().to_vec()).ok_or_else(|| self.refuse(refusal))
    }

    /// The form with a name and a function.
    fn placed(&self, name: &Value, function: &Value) -> Result<Draft, Error> {
        let name = self.text(name, "first argument to @ must be a string")?;
        let Value::Function(function) = function else {
            return Err(self.refuse("second argument to @ must be a function"));
        };
        Ok(Draft { name, description: None, flags: Flags::default(), function: function.clone() })
    }

    /// The form with a table of named arguments.
    fn named(&self, arguments: &Table) -> Result<Draft, Error> {
        let (mut name, mut description, mut function, mut flags) = (None, None, None, Flags::default());
        for pair in arguments.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let key = self.text(&key, "named argument key given to @ is not a string")?;
            match (key.to_ascii_lowercase().as_slice(), &value) {
                (b"function_name", _) => {
                    name = Some(self.text(&value, "function_name argument given to @ must be a string")?);
                }
                (b"description", _) => {
                    description =
                        Some(self.text(&value, "description argument given to @ must be a string")?);
                }
                (b"callback", Value::Function(callback)) => function = Some(callback.clone()),
                (b"callback", _) => {
                    return Err(self.refuse("callback argument given to @ must be a function"));
                }
                (b"flags", Value::Table(names)) => flags = self.flags(names)?,
                (b"flags", _) => {
                    return Err(
                        self.refuse("flags argument to @ must be a table representing function flags")
                    );
                }
                _ => return Err(self.refuse("unknown argument given to @")),
            }
        }
        let name = name.ok_or_else(|| self.refuse("@ must get a function name argument"))?;
        let function = function.ok_or_else(|| self.refuse("@ must get a callback argument"))?;
        Ok(Draft { name, description, flags, function })
    }

    fn flags(&self, names: &Table) -> Result<Flags, Error> {
        const UNKNOWN: &str = "unknown flag given";
        let mut flags = Flags::default();
        for index in 1.. {
            let name: Value = names.raw_get(index)?;
            if name.is_nil() {
                break;
            }
            let name = self.text(&name, UNKNOWN)?;
            flags.add(Flags::named(&name).ok_or_else(|| self.refuse(UNKNOWN))?);
        }
        Ok(flags)
    }
}

/// A function that is to be registered.
struct Draft {
    name: Vec<u8>,
    description: Option<Vec<u8>>,
    flags: Flags,
    function: Function,
}
