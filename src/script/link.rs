//! The way from functions that live as long as the interpreter to the [`Host`], which lives as long as one run.
//!
//! A run opens a bridge: a Lua function that borrows the host and ends with the run. What a function wants is laid down
//! in the [`Link`], the bridge is called without arguments, and the answer lies in the link. Only so does a reference that
//! a script kept from an earlier run lead nowhere, without a word of unsafe code.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::state::{GcIncParams, GcMode};
use mlua::{Error, Function, HookTriggers, Lua, VmState};

use crate::resp::args::{Args, Range32};
use crate::resp::reply::Proto;
use crate::script::engine::{HOOK_INSTRUCTIONS, SMALL_BYTES};
use crate::script::failure::{Caught, Raised};
use crate::script::host::{Host, LogLevel, Stop};
use crate::script::random::Random;

/// Buffers larger than this are given back after a run, in bytes.
const KEPT_BYTES: usize = 64 << 10;

/// Growth, in per cent, after which the collector begins anew: as Lua has it, and while there is little to go through.
const PAUSE: i32 = 200;
const PAUSE_WHILE_SMALL: i32 = 1000;

/// What a function wants of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run the command that was laid down.
    Call,
    /// Say whether it may be run.
    MayCall,
    /// Look whether the script must end.
    Tick,
    /// Log the text that was laid down.
    Log(LogLevel),
    /// Encode replies so.
    SetResp(Proto),
    /// Give a random number.
    Entropy,
}

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
    bridge: RefCell<Option<Function>>,
    order: Cell<Order>,
    /// What is laid down for the host.
    pub request: RefCell<Request>,
    /// What the host replied to a command.
    pub reply: RefCell<Vec<u8>>,
    is_seldom: Cell<bool>,
    allowed: Cell<Option<bool>>,
    entropy: Cell<u32>,
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
            bridge: RefCell::new(None),
            order: Cell::new(Order::Tick),
            request: RefCell::default(),
            reply: RefCell::default(),
            is_seldom: Cell::new(false),
            allowed: Cell::new(None),
            entropy: Cell::new(0),
            proto: Cell::new(Proto::Resp2),
            stop: RefCell::new(None),
            limit_bytes: Cell::new(usize::MAX),
            caught: RefCell::new(None),
            random: Cell::new(None),
        }
    }

    /// Opens it for a run.
    pub fn open(&self, bridge: Function) {
        self.proto.set(Proto::Resp2);
        self.random.set(None);
        self.stop.take();
        self.caught.take();
        *self.bridge.borrow_mut() = Some(bridge);
    }

    /// Closes it, and gives back what is large. Whether the run was stopped.
    pub fn close(&self) -> bool {
        self.bridge.take();
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
        self.bridge.borrow().is_some()
    }

    /// What the bridge does: hands the order to the host.
    pub fn serve(&self, host: &mut dyn Host) {
        let request = self.request.borrow();
        let outcome = match self.order.get() {
            Order::Call => {
                let mut reply = self.reply.borrow_mut();
                reply.clear();
                host.call(request.args(), &mut reply)
            }
            Order::MayCall => {
                self.allowed.set(host.may_call(request.args()));
                Ok(())
            }
            Order::Tick => host.tick(),
            Order::Log(level) => {
                host.log(level, &request.bytes);
                Ok(())
            }
            Order::SetResp(proto) => {
                self.proto.set(proto);
                host.set_resp(proto);
                Ok(())
            }
            Order::Entropy => {
                self.entropy.set(host.entropy());
                Ok(())
            }
        };
        if let Err(stop) = outcome {
            self.stop.borrow_mut().get_or_insert(stop);
        }
    }

    /// Has an order carried out.
    ///
    /// # Errors
    /// No script runs, or the script must end.
    pub fn ask(self: &Rc<Self>, lua: &Lua, order: Order) -> Result<(), Error> {
        self.go_on(lua)?;
        self.order.set(order);
        match &*self.bridge.borrow() {
            Some(bridge) => bridge.call::<()>(())?,
            None => {
                return Err(Raised::err("redis.call/pcall can only be called inside a script invocation"));
            }
        }
        self.go_on(lua)
    }

    /// Whether the script's user may run the command that was laid down.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub fn may_call(self: &Rc<Self>, lua: &Lua) -> Result<Option<bool>, Error> {
        self.ask(lua, Order::MayCall)?;
        Ok(self.allowed.get())
    }

    /// The next random number, at least 0 and below 1. Scripts that set no seed get numbers that nobody can guess, and
    /// no run sees where another one's numbers ended.
    ///
    /// # Errors
    /// The script must end.
    pub fn next_random(self: &Rc<Self>, lua: &Lua) -> Result<f64, Error> {
        let mut random = match self.random.get() {
            Some(random) => random,
            None if self.is_open() => {
                self.ask(lua, Order::Entropy)?;
                Random::new(self.entropy.get())
            }
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
        let outcome = self.ask(lua, Order::Tick);
        if outcome.is_err() && self.stop.borrow().is_none() {
            // Not even this call could be made, so deep is the stack. A script that went on from here would do so unseen.
            let error = "ERR the script's calls are nested too deep".into();
            *self.stop.borrow_mut() = Some(Stop { error });
            return self.go_on(lua);
        }
        outcome
    }

    /// Goes on unless the script must end.
    ///
    /// # Errors
    /// It must. From here on every instruction that is run fails, so that no loop that catches errors survives.
    pub fn go_on(self: &Rc<Self>, lua: &Lua) -> Result<(), Error> {
        match &*self.stop.borrow() {
            None => Ok(()),
            Some(stop) => {
                self.watch(lua, 1)?;
                Err(Raised::Stop(stop.error.clone()).into())
            }
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
