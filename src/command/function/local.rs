//! A worker's interpreter for functions, and what it has loaded of the node's libraries.
//!
//! It is made with the first library that the worker needs, loads a library when a function of it is first called, and
//! forgets libraries that are gone when it next looks for a function. An interpreter that may be damaged is replaced, and
//! libraries are loaded again.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use tracing::{debug, info, warn};

use crate::base::clock::Clock;
use crate::base::limits::LIBRARY_LOAD_MAX_MS;
use crate::command::context::Cx;
use crate::hub::Hub;
use crate::hub::functions::{Function, Libraries as Known, Library};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::{Proto, Reply};
use crate::script::failure::Failure;
use crate::script::host::{Host, LogLevel, Stop};
use crate::script::library::{Libraries, Registered};
use crate::script::metadata;

/// A function that can be run now.
pub struct Ready {
    library: Arc<Library>,
    at: usize,
    /// What the interpreter knows it by.
    pub number: i64,
}

impl Ready {
    /// What is known of the function.
    ///
    /// # Errors
    /// [`NOT_FOUND`], which is never seen: the function was found there.
    pub fn function(&self) -> Result<&Function, Error> {
        self.library.functions.get(self.at).ok_or(NOT_FOUND)
    }
}

/// There is no function of this name.
pub const NOT_FOUND: Error = Error::Fixed("ERR Function not found");

/// Memory of an interpreter is told of when it has changed by so much, in bytes.
const TOLD_STEP_BYTES: i64 = 32 << 10;

/// The numbers of a library's functions, in the order in which it registers them.
type Numbers = Vec<i64>;

/// See the module.
#[derive(Default)]
pub struct Local {
    interpreter: Option<Libraries>,
    known: Arc<Known>,
    /// What is loaded, by the library's number.
    loaded: HashMap<u64, Numbers, RandomState>,
    told_bytes: i64,
    /// Where commands of functions reply to; empty between runs.
    pub reply: Reply,
}

impl Local {
    /// The function of this name, loaded.
    ///
    /// # Errors
    /// There is none, or its library cannot be loaded.
    pub fn find(&mut self, cx: &mut Cx<'_>, name: &[u8]) -> Result<Ready, Error> {
        self.look(cx);
        let (library, at) = self.known.find(name).ok_or(NOT_FOUND)?;
        let library = Arc::clone(library);
        // Made first: it may be a new one, which has loaded nothing.
        self.interpreter(cx)?;
        if !self.loaded.contains_key(&library.number) {
            let registered = self.load(cx, &library.source)?.1;
            let is_same =
                registered.iter().map(|one| &one.name).eq(library.functions.iter().map(|one| &one.name));
            let numbers = registered.iter().map(|function| function.number).collect();
            if !is_same {
                // What a library registers must not depend on when it is loaded.
                self.forget(numbers);
                return Err(Error::err(format_args!("Library '{}' registers other functions", library.name)));
            }
            self.loaded.insert(library.number, numbers);
        }
        let number = self.loaded.get(&library.number).and_then(|numbers| numbers.get(at).copied());
        Ok(Ready { library, at, number: number.ok_or(NOT_FOUND)? })
    }

    /// Takes notice of changed libraries.
    fn look(&mut self, cx: &Cx<'_>) {
        if self.known.version() == cx.hub.functions.version() {
            return;
        }
        self.known = cx.hub.functions.current();
        let left: Vec<u64> = self.known.iter().map(|library| library.number).collect();
        let gone: Vec<u64> = self.loaded.keys().filter(|number| !left.contains(number)).copied().collect();
        for number in gone {
            let numbers = self.loaded.remove(&number).unwrap_or_default();
            self.forget(numbers);
        }
    }

    fn forget(&mut self, numbers: Numbers) {
        if let Some(interpreter) = &mut self.interpreter {
            interpreter.forget(numbers.into_iter());
        }
    }

    /// The interpreter; a new one if there is none, or if it may be damaged.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn interpreter(&mut self, cx: &mut Cx<'_>) -> Result<&mut Libraries, Error> {
        let limit_bytes = cx.worker.config().lua_memory_limit as usize;
        if self.interpreter.as_mut().is_some_and(|old| old.engine().is_spoiled()) {
            self.interpreter = None;
        }
        if self.interpreter.is_none() {
            self.loaded.clear();
            self.interpreter = Some(Libraries::new(limit_bytes).map_err(error_of)?);
        }
        let Some(interpreter) = &mut self.interpreter else { return Err(Error::OutOfMemory) };
        interpreter.engine().set_limit(limit_bytes);
        Ok(interpreter)
    }

    /// Loads a library that may not be known to the node yet; gives its name and what it has registered.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn load(&mut self, cx: &mut Cx<'_>, source: &[u8]) -> Result<(String, Vec<Registered>), Error> {
        let read = metadata::read(source).map_err(Error::err)?;
        if !read.engine.eq_ignore_ascii_case("lua") {
            return Err(Error::err(format_args!("Engine '{}' not found", read.engine)));
        }
        let clock = cx.worker.clock.clone();
        let until_ns = clock.mono_ns().saturating_add(LIBRARY_LOAD_MAX_MS * 1_000_000);
        let mut host = Loading { clock, until_ns };
        let registered = self.interpreter(cx)?.load(&mut host, read.code).map_err(Error::err)?;
        Ok((read.name, registered))
    }

    /// Keeps what was loaded, now that the node knows the library by this number.
    pub fn keep(&mut self, number: u64, registered: &[Registered]) {
        self.loaded.insert(number, registered.iter().map(|function| function.number).collect());
    }

    /// Forgets what was loaded in vain.
    pub fn discard(&mut self, registered: &[Registered]) {
        self.forget(registered.iter().map(|function| function.number).collect());
    }

    /// After a run: tells of the interpreter's memory.
    pub fn settle(&mut self, hub: &Hub) {
        let used_bytes = self.interpreter.as_mut().map_or(0, |interpreter| interpreter.engine().used_bytes());
        let change = used_bytes as i64 - self.told_bytes;
        if change.abs() >= TOLD_STEP_BYTES || used_bytes == 0 {
            self.told_bytes += change;
            hub.functions.note_interpreter(change);
        }
    }

    /// Drops the interpreter with all that it has loaded.
    pub fn clear(&mut self) {
        self.loaded.clear();
        self.interpreter = None;
    }
}

/// A failure as an error that nobody has counted.
pub fn error_of(failure: Failure) -> Error {
    Error::Custom(String::from_utf8_lossy(&failure.line).into_owned())
}

/// The server, as a library sees it that loads: it can log, and must be quick.
struct Loading {
    clock: Clock,
    until_ns: u64,
}

impl Host for Loading {
    fn call(&mut self, _: Args<'_>, reply: &mut Vec<u8>) -> Result<(), Stop> {
        reply.extend_from_slice(b"-ERR redis.call/pcall can only be called inside a script invocation\r\n");
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Stop> {
        if self.clock.mono_ns() < self.until_ns {
            Ok(())
        } else {
            Err(Stop { error: "ERR FUNCTION LOAD timeout".into() })
        }
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        let message = String::from_utf8_lossy(message);
        match level {
            LogLevel::Debug | LogLevel::Verbose => debug!("library: {message}"),
            LogLevel::Notice => info!("library: {message}"),
            LogLevel::Warning => warn!("library: {message}"),
        }
    }

    fn set_resp(&mut self, _: Proto) {}

    fn may_call(&mut self, _: Args<'_>) -> Option<bool> {
        None
    }

    fn entropy(&mut self) -> u32 {
        0
    }
}
