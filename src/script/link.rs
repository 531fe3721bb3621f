//! The way from functions that live as long as the interpreter to the [`Host`], which lives as long as one run.
//!
//! A run lends its host to the thread ([`Link::lend`]): while it lasts, functions of the interpreter find it there, and
//! nowhere before or after. So a reference that a script kept from an earlier run leads to the host of the run that uses
//! it, or nowhere, without a word of unsafe code here and without a function made for each run: one that was made in a
//! scope of the interpreter, and called by those that scripts see, cost as much as a whole command.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::state::{GcIncParams, GcMode};
use mlua::{Error, HookTriggers, Lua, VmState};
use scoped_tls_hkt::scoped_thread_local;

use crate::resp::args::{Args, Range32};
use crate::resp::reply::Proto;
use crate::script::engine::{HOOK_INSTRUCTIONS, SMALL_BYTES};
use crate::script::failure::{Caught, Raised};
use crate::script::host::{Host, LogLevel, Stop};
use crate::script::random::Random;

/// Buffers larger than this are given back after a run, in bytes.
const KEPT_BYTES: usize = 64 << 10;

/// Growth, in per cent, after which the collector begins anew: as Lua has it, and while there is little to go through. Not
/// more: what is left lying about until then, and the table of all strings above all, must not push the rest out of the
/// cache.
const PAUSE: i32 = 200;
const PAUSE_WHILE_SMALL: i32 = 400;

/// Memory of the interpreter that a byte of a reply becomes at most, in bytes: that of an error without a text, three bytes
/// in an array, is 200, and nothing else comes near it.
const MADE_PER_BYTE: usize = 96;

scoped_thread_local!(
    /// The host of the run that goes on in this thread.
    static mut HOST: for<'a> &'a mut (dyn Host + 'a)
);

/// A command's arguments, or a text, on the way to the host.
#[derive(Debug, Default)]
pub struct Request {
    bytes: Vec<u8>,
    ranges: Vec<Range32>,
}

impl Request {
    /// Forgets what was laid down.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }

    /// Lays down an argument; `write` appends its bytes. Gives false, and lays down nothing, beyond 4 GiB.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let (Ok(at), Ok(len)) = (u32::try_from(start), u32::try_from(self.bytes.len() - start)) else {
            self.bytes.truncate(start);
            return false;
        };
        self.ranges.push(Range32 { start: at, len });
        true
    }

    fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }
}

/// The link; see the module.
pub struct Link {
    /// A script runs, and its host is not busy with an order of it.
    is_open: Cell<bool>,
    /// What is laid down for the host.
    pub request: RefCell<Request>,
    /// What the host replied to a command.
    pub reply: RefCell<Vec<u8>>,
    is_seldom: Cell<bool>,
    /// How values pass in both directions: as `redis.setresp` says.
    pub proto: Cell<Proto>,
    stop: RefCell<Option<Stop>>,
    /// Memory of the interpreter at most, in bytes.
    pub limit_bytes: Cell<usize>,
    /// What the error handler made of the error that ended the script.
    pub caught: RefCell<Option<Caught>>,
    /// The script's random numbers, once it has asked for one.
    pub random: Cell<Option<Random>>,
}

impl Link {
    /// A link that leads nowhere yet.
    pub fn new() -> Self {
        Self {
            is_open: Cell::new(false),
            request: RefCell::default(),
            reply: RefCell::default(),
            is_seldom: Cell::new(false),
            proto: Cell::new(Proto::Resp2),
            stop: RefCell::new(None),
            limit_bytes: Cell::new(usize::MAX),
            caught: RefCell::new(None),
            random: Cell::new(None),
        }
    }

    /// Opens it for a run, for which it leads to `host`; [`Link::close`] is to follow, whatever becomes of the run.
    pub fn lend<R>(&self, host: &mut dyn Host, run: impl FnOnce() -> R) -> R {
        self.proto.set(Proto::Resp2);
        self.random.set(None);
        self.stop.take();
        self.caught.take();
        self.is_open.set(true);
        HOST.set(host, run)
    }

    /// Closes it, and gives back what is large. Whether the run was stopped.
    pub fn close(&self) -> bool {
        self.is_open.set(false);
        let mut request = self.request.borrow_mut();
        if request.bytes.capacity() > KEPT_BYTES || request.ranges.capacity() * 8 > KEPT_BYTES {
            *request = Request::default();
        }
        let mut reply = self.reply.borrow_mut();
        if reply.capacity() > KEPT_BYTES {
            *reply = Vec::new();
        }
        self.stop.borrow().is_some()
    }

    /// Whether a script runs.
    pub fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Has the host carry out an order.
    ///
    /// # Errors
    /// No script runs, or the script must end.
    fn ask<R>(
        self: &Rc<Self>,
        lua: &Lua,
        order: impl FnOnce(&mut dyn Host) -> Result<R, Stop>,
    ) -> Result<R, Error> {
        self.go_on(lua)?;
        // The host itself runs no scripts; if it did, they would find it away.
        if !self.is_open.replace(false) {
            return Err(Raised::err("redis.call/pcall can only be called inside a script invocation"));
        }
        let outcome = HOST.with(|host| order(host));
        self.is_open.set(true);
        outcome.map_err(|stop| {
            let ended = self.end(lua, &stop);
            self.stop.borrow_mut().get_or_insert(stop);
            ended
        })
    }

    /// Runs the command that was laid down; its reply lies in the link then.
    ///
    /// # Errors
    /// No script runs, or the script must end.
    pub fn call(self: &Rc<Self>, lua: &Lua) -> Result<(), Error> {
        self.ask(lua, |host| {
            let mut reply = self.reply.borrow_mut();
            reply.clear();
            host.call(self.request.borrow().args(), &mut reply)
        })
    }

    /// Whether the script's user may run the command that was laid down.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub fn may_call(self: &Rc<Self>, lua: &Lua) -> Result<Option<bool>, Error> {
        self.ask(lua, |host| Ok(host.may_call(self.request.borrow().args())))
    }

    /// Logs a line.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub fn log(self: &Rc<Self>, lua: &Lua, level: LogLevel, line: &[u8]) -> Result<(), Error> {
        self.ask(lua, |host| {
            host.log(level, line);
            Ok(())
        })
    }

    /// Has values pass so from here on, in both directions.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub fn set_resp(self: &Rc<Self>, lua: &Lua, proto: Proto) -> Result<(), Error> {
        self.ask(lua, |host| {
            self.proto.set(proto);
            host.set_resp(proto);
            Ok(())
        })
    }

    /// The next random number, at least 0 and below 1. Scripts that set no seed get numbers that nobody can guess, and
    /// no run sees where another one's numbers ended.
    ///
    /// # Errors
    /// The script must end.
    pub fn next_random(self: &Rc<Self>, lua: &Lua) -> Result<f64, Error> {
        let mut random = match self.random.get() {
            Some(random) => random,
            None if self.is_open() => Random::new(self.ask(lua, |host| Ok(host.entropy()))?),
            None => Random::new(0),
        };
        let fraction = random.next_fraction();
        self.random.set(Some(random));
        Ok(fraction)
    }

    /// Has the collector wait for longer before it begins anew, or as long as usual: a script that grows must not run into
    /// the limit by what could be collected, and short scripts must not pay for walking the libraries again and again.
    pub fn collect_seldom(&self, lua: &Lua, seldom: bool) {
        if self.is_seldom.replace(seldom) != seldom {
            let pause = if seldom { PAUSE_WHILE_SMALL } else { PAUSE };
            lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(pause)));
        }
    }

    /// Makes values of a reply of so many bytes. While the interpreter is not even half full, and they are certain to have
    /// room, the limit is lifted meanwhile: each value that is made under a limit is made in a protected call, with two
    /// functions for the collector to take away, which cost more than a short value itself.
    ///
    /// # Errors
    /// What `make` gives.
    pub fn with_room<R>(
        &self,
        lua: &Lua,
        bytes: usize,
        make: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        let limit_bytes = self.limit_bytes.get();
        // The table of all strings, which may double, is smaller than the strings.
        let needed_bytes = bytes.saturating_add(1).saturating_mul(MADE_PER_BYTE);
        if lua.used_memory().saturating_mul(2).saturating_add(needed_bytes) > limit_bytes {
            return make();
        }
        lua.set_memory_limit(0)?;
        let made = make();
        lua.set_memory_limit(limit_bytes)?;
        made
    }

    /// Looks whether the interpreter has room for so many bytes that are made outside of it.
    ///
    /// # Errors
    /// It has not.
    pub fn make_room(&self, lua: &Lua, bytes: usize) -> Result<(), Error> {
        if lua.used_memory().saturating_add(bytes) > self.limit_bytes.get() {
            return Err(Error::MemoryError("not enough memory".to_owned()));
        }
        Ok(())
    }

    /// Looks whether the script must end, in what may take long by itself.
    ///
    /// # Errors
    /// It must.
    pub fn tick(self: &Rc<Self>, lua: &Lua) -> Result<(), Error> {
        if !self.is_open() {
            return Ok(());
        }
        if self.is_seldom.get() && lua.used_memory() > SMALL_BYTES * 2 {
            self.collect_seldom(lua, false);
        }
        self.ask(lua, |host| host.tick())
    }

    /// Goes on unless the script must end.
    ///
    /// # Errors
    /// It must. From here on every instruction that is run fails, so that no loop that catches errors survives.
    pub fn go_on(self: &Rc<Self>, lua: &Lua) -> Result<(), Error> {
        match &*self.stop.borrow() {
            None => Ok(()),
            Some(stop) => Err(self.end(lua, stop)),
        }
    }

    /// What ends the script.
    #[cold]
    fn end(self: &Rc<Self>, lua: &Lua, stop: &Stop) -> Error {
        match self.watch(lua, 1) {
            Ok(()) => Raised::Stop(stop.error.clone()).into(),
            Err(error) => error,
        }
    }

    /// Looks every `instructions` whether the script must end, in the coroutine that runs now and those that it makes.
    ///
    /// # Errors
    /// Out of memory.
    pub fn watch(self: &Rc<Self>, lua: &Lua, instructions: u32) -> Result<(), Error> {
        let link = Rc::clone(self);
        let triggers = HookTriggers::new().every_nth_instruction(instructions);
        lua.set_global_hook(triggers, move |lua, _| {
            link.tick(lua)?;
            Ok(VmState::Continue)
        })
    }

    /// Looks every [`HOOK_INSTRUCTIONS`] again.
    ///
    /// # Errors
    /// Out of memory.
    pub fn watch_as_usual(self: &Rc<Self>, lua: &Lua) -> Result<(), Error> {
        self.watch(lua, HOOK_INSTRUCTIONS)
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}
