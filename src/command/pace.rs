//! How a script goes on in time: in place under its shards' locks while it is quick; then with its shards reserved and no
//! lock held between its commands; on a thread of its own where it would hold up a worker; and to its end when it is
//! killed.
//!
//! Whoever runs a script makes a [`Pace`], calls [`Pace::tick`] every few thousand instructions, [`Pace::before`] and
//! [`Pace::after`] around each command, [`Pace::reach`] for each key, and [`Pace::end`] whatever came of it. Shards are
//! only ever added until then (two-phase locking), so a script is seen whole or not at all, although nobody waits for it.
//!
//! A script may use keys that it did not declare. Their shards are locked if that needs no waiting, else everything is
//! let go of, reserved, and taken in ascending order: nobody waits for a lock while holding another of a higher number.

use std::sync::Arc;
use std::time::Duration;

use crate::command::context::Cx;
use crate::command::execute;
use crate::hub::orders::Shutdown;
use crate::hub::running::{Kind, Run};
use crate::resp::args::Args;

/// How long a script holds its shards' locks before it reserves them instead.
const HOLD_NS: u64 = 1_000_000;
/// How long one that has not written may take on a worker before it is stopped and run on the thread for long scripts.
const IN_PLACE_NS: u64 = 5_000_000;
/// How often, and with what pause, a script that has reserved shards asks for one more that another script keeps.
const REACHES: usize = 10;
const REACH_PAUSE: Duration = Duration::from_millis(1);

/// Why a script ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was killed, or the server stops.
    Killed,
    /// It has changed nothing and is to be run again: `Cx::held` or `Cx::goes_apart` says where. What it has left in the
    /// reply is dropped.
    Again,
    /// It has changed data, and needs a shard that another script keeps.
    Conflict,
}

/// One run; see the module.
pub struct Pace<'a> {
    kind: Kind,
    name: &'a str,
    args: Args<'a>,
    began_ns: u64,
    /// Once it has taken a while.
    run: Option<Arc<Run>>,
    wrote: bool,
    /// Nothing but this script would have to be run again.
    may_restart: bool,
}

impl<'a> Pace<'a> {
    /// A run that begins now, under the locks of the keys that it declares; `name` is the function's, or the script's
    /// digest.
    pub fn new(cx: &Cx<'_>, kind: Kind, name: &'a str, args: Args<'a>) -> Self {
        // A transaction's locks are held before it begins.
        let alone = !cx.data.held && !cx.session.is_served && !cx.session.gateway;
        let may_restart = alone && cx.session.client.id != 0;
        // The clock was read when the command before it ended.
        Self { kind, name, args, began_ns: cx.worker.last_ns, run: None, wrote: false, may_restart }
    }

    /// Looks at the clock and at whether the script is to end.
    ///
    /// # Errors
    /// It is: every further call gives an error, too.
    pub fn tick(&mut self, cx: &mut Cx<'_>) -> Result<(), Stop> {
        let took_ns = cx.worker.clock.mono_ns().saturating_sub(self.began_ns);
        let run = Arc::clone(self.note(cx));
        if run.is_killed() || cx.hub.orders.shutdown() == Some(Shutdown::Immediate) {
            return Err(Stop::Killed);
        }
        if took_ns < HOLD_NS {
            return Ok(());
        }
        if took_ns >= IN_PLACE_NS && self.may_restart && !self.wrote && !cx.session.is_apart {
            cx.goes_apart = true;
            return Err(Stop::Again);
        }
        self.let_go(cx);
        let threshold_ms = cx.worker.config().busy_reply_threshold;
        if threshold_ms != 0 && took_ns / 1_000_000 >= threshold_ms {
            cx.hub.running.note_late(&run);
        }
        Ok(())
    }

    /// Before a command of the script: locks what it keeps. `writes`: it changes data, or publishes.
    ///
    /// # Errors
    /// The script was killed.
    pub fn before(&mut self, cx: &mut Cx<'_>, writes: bool) -> Result<(), Stop> {
        if writes && !self.wrote {
            if self.run.as_ref().is_some_and(|run| !run.note_write()) {
                return Err(Stop::Killed);
            }
            self.wrote = true;
        }
        cx.data.regain();
        Ok(())
    }

    /// After it: lets go of the locks again, if shards are kept without.
    pub fn after(&self, cx: &mut Cx<'_>) {
        if cx.data.kept() != 0 {
            execute::hand_over_changes(cx);
            cx.data.unlock();
        }
    }

    /// Makes sure that a shard is locked, after [`Pace::before`].
    ///
    /// # Errors
    /// Another script keeps it and does not let go of it.
    pub fn reach(&mut self, cx: &mut Cx<'_>, shard: usize) -> Result<(), Stop> {
        if cx.data.kept() == 0 && cx.data.reach(shard) {
            return Ok(());
        }
        if cx.data.kept() >> shard & 1 != 0 {
            return Ok(());
        }
        let run = Arc::clone(self.note(cx));
        self.let_go(cx);
        let keyspace = &cx.hub.keyspace;
        for attempt in 0..REACHES {
            if attempt > 0 {
                std::thread::sleep(REACH_PAUSE);
            }
            cx.data.lock_set(cx.data.kept() | 1 << shard);
            if keyspace.reserved() >> shard & 1 == 0 {
                cx.hub.running.reserve(keyspace, &run, 1 << shard);
                cx.data.keep(1 << shard);
                return Ok(());
            }
            cx.data.unlock();
        }
        if self.wrote || !self.may_restart {
            return Err(Stop::Conflict);
        }
        cx.held = true;
        Err(Stop::Again)
    }

    /// The run is over: what it kept is locked again, and nobody is kept away any more once those locks are let go of.
    pub fn end(self, cx: &mut Cx<'_>) {
        let Some(run) = self.run else { return };
        cx.data.regain();
        let kept = cx.data.keep_none();
        cx.hub.running.leave(&cx.hub.keyspace, &run);
        if kept != 0 {
            cx.hub.cluster.release();
            cx.hub.blocked.try_again();
        }
    }

    /// Has the run known to others.
    fn note(&mut self, cx: &Cx<'_>) -> &Arc<Run> {
        self.run.get_or_insert_with(|| {
            let command = self.args.iter().map(Box::from).collect();
            let run = Run::new(self.kind, self.name.to_owned(), command, self.began_ns);
            // Nobody can have killed yet what nobody knew.
            let may_go_on = !self.wrote || run.note_write();
            debug_assert!(may_go_on);
            cx.hub.running.enter(&run);
            run
        })
    }

    /// Reserves what is locked, and lets go of the locks.
    fn let_go(&mut self, cx: &mut Cx<'_>) {
        if cx.data.kept() == 0 {
            let mask = cx.data.locked_mask();
            let run = Arc::clone(self.note(cx));
            cx.hub.running.reserve(&cx.hub.keyspace, &run, mask);
            cx.data.keep(mask);
            execute::hand_over_changes(cx);
        }
        cx.data.unlock();
    }
}
