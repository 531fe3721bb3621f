//! The server as a running script sees it: commands run on the one path, under the script's own locks, with a reply of
//! their own.
//!
//! What a script may not do is refused here, in Redis's order and words, before a command touches anything. Such refusals
//! are replies like others, and counted like others.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;
use tracing::{debug, info, warn};

use crate::base::slot::{Slot, slot_of};
use crate::command::context::Cx;
use crate::command::execute;
use crate::command::keys;
use crate::command::pace::{self, Pace};
use crate::command::spec::flags::{BLOCKING, DENYOOM, MAY_REPLICATE, NOSCRIPT, WRITE};
use crate::command::table::{self, Entry};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::{Proto, Reply};
use crate::script::host::{Host, LogLevel, Stop};

const UNKNOWN: Error = Error::Fixed("ERR Unknown Redis command called from script");
const ARITY: Error = Error::Fixed("ERR Wrong number of args calling Redis command from script");
const READ_ONLY: Error = Error::Fixed("ERR Write commands are not allowed from read-only scripts.");
const NOT_LOCAL: Error = Error::Fixed("ERR Script attempted to access a non local key in a cluster node");
const OTHER_SLOT: Error =
    Error::Fixed("ERR Script attempted to access keys that do not hash to the same slot");
const DOWN: Error = Error::Fixed("ERR Script attempted to execute a command while the cluster is down");

const KILLED: &str = "ERR Script killed by user with SCRIPT KILL.";
const FUNCTION_KILLED: &str = "ERR Script killed by user with FUNCTION KILL.";
const CONFLICT: &str =
    "ERR Script accessed a key that another script keeps: declare it as a key, or call the script again";

/// What one run may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// No command that writes.
    pub read_only: bool,
    /// Memory may grow although it is over its limit.
    pub allow_oom: bool,
    /// Memory was over its limit, and nothing could be evicted, when the script began.
    pub out_of_memory: bool,
    /// Its keys may be of several slots, if all of them are served here.
    pub allow_cross_slot: bool,
    /// It is a function, not a script.
    pub is_function: bool,
}

/// The host of one run.
pub struct Server<'h, 'a, 'p> {
    /// Where the script was called from.
    pub cx: &'h mut Cx<'a>,
    pace: Pace<'p>,
    rules: Rules,
    reply: Reply,
    /// Slots that it has entered, ascending: whoever takes one of them away waits until the script has ended, so that it
    /// is asked for each once whether it is served here.
    entered: SmallVec<[Slot; 4]>,
    wrote: bool,
    /// A command runs, and the replies are exchanged.
    is_torn: bool,
    /// Why it was stopped.
    pub stopped: Option<pace::Stop>,
}

impl<'h, 'a, 'p> Server<'h, 'a, 'p> {
    /// A host over a command's context; `reply` is empty, and given back by [`Server::end`].
    pub fn new(cx: &'h mut Cx<'a>, pace: Pace<'p>, rules: Rules, mut reply: Reply) -> Self {
        reply.set_proto(Proto::Resp2);
        cx.session.in_script = true;
        // Those of the keys that it declares are locked already.
        let entered = cx.slot.into_iter().collect();
        Self { cx, pace, rules, reply, entered, wrote: false, is_torn: false, stopped: None }
    }

    fn exchange(&mut self) {
        std::mem::swap(self.cx.reply, &mut self.reply);
        self.is_torn = !self.is_torn;
    }

    /// The run is over.
    pub fn end(mut self) -> (Reply, Option<pace::Stop>) {
        // A command that panicked has left its half of a reply where the script's commands reply.
        if self.is_torn {
            self.exchange();
        }
        let Self { cx, pace, mut reply, stopped, .. } = self;
        cx.session.in_script = false;
        pace.end(cx);
        reply.advance(reply.pending_bytes());
        (reply, stopped)
    }

    /// Refuses a command: its reply is the error.
    fn refuse(&mut self, entry: Option<&Entry>, error: &Error) {
        self.cx.hub.errors.count(error.code());
        self.cx.worker.stats.error_replies.add(1);
        if let Some(row) = entry.and_then(|entry| self.cx.worker.stats.command(entry.id)) {
            row.reject();
        }
        self.reply.error(error);
    }

    fn run(&mut self, args: Args<'_>) -> Result<(), pace::Stop> {
        let Ok(entry) = table::resolve_name(args) else {
            self.refuse(None, &UNKNOWN);
            return Ok(());
        };
        if let Err(error) = self.check(entry, args) {
            self.refuse(Some(entry), &error);
            return Ok(());
        }
        let writes = entry.spec.has(WRITE) || entry.spec.has(MAY_REPLICATE);
        self.pace.before(self.cx, writes)?;
        self.wrote |= entry.spec.has(WRITE);
        let outcome = self.reach(entry, args);
        if let Ok(None) = outcome {
            // The command writes to where its context says: that is the script's reply meanwhile.
            self.exchange();
            execute::run_queued(self.cx, entry, args);
            self.exchange();
        }
        self.pace.after(self.cx);
        if let Some(error) = outcome? {
            self.refuse(Some(entry), &error);
        }
        Ok(())
    }

    /// Whether a script may run the command at all.
    fn check(&mut self, entry: &Entry, args: Args<'_>) -> Result<(), Error> {
        let spec = entry.spec;
        if !spec.accepts(args.len()) || spec.handler.is_none() {
            return Err(ARITY);
        }
        // What would block acts as in MULTI.
        let is_refused = spec.has(NOSCRIPT) && !spec.has(BLOCKING);
        if is_refused && !self.cx.hub.scripts.allows_all.load(Ordering::Relaxed) {
            return Err(Error::NotFromScript);
        }
        if (spec.has(WRITE) || spec.has(MAY_REPLICATE)) && self.rules.read_only {
            return Err(READ_ONLY);
        }
        let is_full = self.rules.out_of_memory && !self.rules.allow_oom && !self.wrote;
        if is_full && spec.has(DENYOOM) {
            return Err(Error::OutOfMemory);
        }
        if self.cx.worker.clustered && spec.has_keys() { self.check_slot(entry, args) } else { Ok(()) }
    }

    /// In a cluster: its keys must be served here, and be of the script's slot.
    fn check_slot(&mut self, entry: &Entry, args: Args<'_>) -> Result<(), Error> {
        let (mut first, mut differ) = (None, false);
        let visited = keys::for_each_key(entry.spec, args, |at, _| {
            let slot = slot_of(&args[at]);
            differ |= *first.get_or_insert(slot) != slot;
        });
        let (Ok(()), Some(slot)) = (visited, first) else { return Ok(()) };
        if !self.cx.worker.leased {
            return Err(DOWN);
        }
        self.cx.worker.touched = true;
        if differ || !self.is_here(slot) {
            return Err(NOT_LOCAL);
        }
        if !self.rules.allow_cross_slot && *self.cx.slot.get_or_insert(slot) != slot {
            return Err(OTHER_SLOT);
        }
        Ok(())
    }

    /// Locks the command's shards, those that the script did not declare as well. Gives why it cannot run all the same.
    fn reach(&mut self, entry: &Entry, args: Args<'_>) -> Result<Option<Error>, pace::Stop> {
        let wanted = execute::lock_mask(&self.cx.data, entry, args, true);
        let mut missing = wanted & !self.cx.data.locked_mask();
        while missing != 0 {
            self.pace.reach(self.cx, missing.trailing_zeros() as usize)?;
            missing &= missing - 1;
        }
        let enters = !self.cx.worker.clustered || self.enter(entry, args);
        Ok((!enters).then_some(NOT_LOCAL))
    }

    /// Asks under the locks whether the command's slots are served here, and notes them.
    fn enter(&mut self, entry: &Entry, args: Args<'_>) -> bool {
        let mut slots = SmallVec::<[Slot; 4]>::new();
        // What is malformed is refused by its handler.
        let _ = keys::for_each_key(entry.spec, args, |at, _| slots.push(slot_of(&args[at])));
        slots.into_iter().all(|slot| {
            let is_here = self.is_here(slot);
            if is_here && let Err(at) = self.entered.binary_search(&slot) {
                self.entered.insert(at, slot);
            }
            is_here
        })
    }

    fn is_here(&self, slot: Slot) -> bool {
        self.entered.binary_search(&slot).is_ok() || self.cx.hub.cluster.routes.serves(slot)
    }

    fn halt(&mut self, stop: pace::Stop) -> Stop {
        self.stopped.get_or_insert(stop);
        let error = match stop {
            pace::Stop::Conflict => CONFLICT,
            _ if self.rules.is_function => FUNCTION_KILLED,
            _ => KILLED,
        };
        Stop { error: error.into() }
    }
}

impl Host for Server<'_, '_, '_> {
    fn call(&mut self, args: Args<'_>, into: &mut Vec<u8>) -> Result<(), Stop> {
        if let Err(stop) = self.run(args) {
            return Err(self.halt(stop));
        }
        self.reply.take_into(into);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Stop> {
        match self.pace.tick(self.cx) {
            Ok(()) => Ok(()),
            Err(stop) => Err(self.halt(stop)),
        }
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        let message = String::from_utf8_lossy(message);
        match level {
            LogLevel::Debug | LogLevel::Verbose => debug!("script: {message}"),
            LogLevel::Notice => info!("script: {message}"),
            LogLevel::Warning => warn!("script: {message}"),
        }
    }

    fn set_resp(&mut self, proto: Proto) {
        self.reply.set_proto(proto);
    }

    fn may_call(&mut self, args: Args<'_>) -> Option<bool> {
        table::resolve_name(args).ok().map(|_| true)
    }

    fn entropy(&mut self) -> u32 {
        self.cx.worker.rng.next_u64() as u32
    }
}
