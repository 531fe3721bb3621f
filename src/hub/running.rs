//! Scripts that take long: which run, whose shards they keep, and which are to be killed.
//!
//! A script that is quick is unknown here: it holds its shards' locks from begin to end. One that is not lets go of the
//! locks after a while and reserves its shards instead ([`Keyspace::reserve`]), so that no thread ever waits for a
//! script: a command that gets such a shard's lock sees the reservation and goes away again, to be tried later or, once
//! the script is late (`busy-reply-threshold`), to be answered BUSY.
//!
//! Locks: the list's is a leaf. A run's bits are set and cleared under its shards' locks by the thread that runs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::base::limits::SCRIPTS_APART_MAX;
use crate::base::lock::Mutex;
use crate::hub::blocked::Waiter;
use crate::resp::error::Error;
use crate::store::keyspace::Keyspace;

/// What is run: which of the two commands kills it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body of EVAL.
    Script,
    /// A function of a library.
    Function,
}

/// A script or function that has been running for a while.
#[derive(Debug)]
pub struct Run {
    /// Which of the two.
    pub kind: Kind,
    /// The function's name, or the script's digest.
    pub name: String,
    /// The request that runs it, as FUNCTION STATS shows it.
    pub command: Vec<Box<[u8]>>,
    /// Monotonic ns at which it began.
    pub began_ns: u64,
    /// Shards that it keeps without holding their locks.
    shards: AtomicU64,
    wrote: AtomicBool,
    killed: AtomicBool,
    late: AtomicBool,
}

impl Run {
    /// One that has just been noticed.
    pub fn new(kind: Kind, name: String, command: Vec<Box<[u8]>>, began_ns: u64) -> Arc<Self> {
        Arc::new(Self {
            kind,
            name,
            command,
            began_ns,
            shards: AtomicU64::new(0),
            wrote: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            late: AtomicBool::new(false),
        })
    }

    /// Notes that it is about to change data, from where on it must not be killed; false if it was killed before.
    #[must_use]
    pub fn note_write(&self) -> bool {
        // Whoever kills looks at this in the same order: one of the two sees the other.
        self.wrote.store(true, Ordering::SeqCst);
        !self.is_killed()
    }

    /// Whether it is to end.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    fn kill(&self) -> Result<(), Error> {
        if self.wrote.load(Ordering::SeqCst) {
            return Err(Error::Unkillable);
        }
        self.killed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// All of them, and the way to the thread that runs those which would hold up a worker.
#[derive(Default)]
pub struct Running {
    runs: Mutex<Vec<Arc<Run>>>,
    /// How many are late.
    late: AtomicUsize,
    apart: Mutex<Option<SyncSender<Arc<Waiter>>>>,
}

impl Running {
    /// Opens the way to the thread that runs what is sent [`apart`](Self::send_apart); what comes out there are seats
    /// in which sessions and requests lie.
    pub fn open(&self) -> Receiver<Arc<Waiter>> {
        let (sender, receiver) = sync_channel(SCRIPTS_APART_MAX);
        *self.apart.lock() = Some(sender);
        receiver
    }

    /// Closes it: the thread ends after what it has in hand.
    pub fn close(&self) {
        *self.apart.lock() = None;
    }

    /// Has a request run by that thread; false if too many wait for it.
    pub fn send_apart(&self, waiter: Arc<Waiter>) -> bool {
        self.apart.lock().as_ref().is_some_and(|sender| sender.try_send(waiter).is_ok())
    }

    /// Takes one in.
    pub fn enter(&self, run: &Arc<Run>) {
        self.runs.lock().push(Arc::clone(run));
    }

    /// Has a run keep more shards, whose locks the caller holds and none of which is reserved.
    pub fn reserve(&self, keyspace: &Keyspace, run: &Run, mask: u64) {
        keyspace.reserve(mask);
        run.shards.fetch_or(mask, Ordering::Relaxed);
    }

    /// Ends a run; the caller holds the locks of the shards that it kept.
    pub fn leave(&self, keyspace: &Keyspace, run: &Arc<Run>) {
        keyspace.end_reservation(run.shards.swap(0, Ordering::Relaxed));
        self.runs.lock().retain(|other| !Arc::ptr_eq(other, run));
        if run.late.load(Ordering::Relaxed) {
            self.late.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes that a run has lasted for longer than it should.
    pub fn note_late(&self, run: &Run) {
        if !run.late.swap(true, Ordering::Relaxed) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many are late.
    pub fn late(&self) -> usize {
        self.late.load(Ordering::Relaxed)
    }

    /// Monotonic ns at which the one began that has run for longest.
    pub fn first_began_ns(&self) -> Option<u64> {
        self.runs.lock().iter().map(|run| run.began_ns).min()
    }

    /// Whether one is late: one relaxed load.
    #[inline]
    pub fn any_late(&self) -> bool {
        self.late.load(Ordering::Relaxed) != 0
    }

    /// What a command is answered that needs one of these shards, if a run that is late keeps it; with all bits set, if
    /// any run is late.
    pub fn busy(&self, mask: u64) -> Option<Error> {
        let runs = self.runs.lock();
        let mut late = runs.iter().filter(|run| run.late.load(Ordering::Relaxed));
        let run = late.find(|run| mask == u64::MAX || run.shards.load(Ordering::Relaxed) & mask != 0)?;
        Some(busy_with(run.kind))
    }

    /// Kills those of a kind that are late, or, if none is, the one that has run for longest.
    ///
    /// # Errors
    /// None runs, or it cannot be killed any more.
    pub fn kill(&self, kind: Kind) -> Result<(), Error> {
        let runs = self.runs.lock();
        let late: Vec<&Arc<Run>> =
            runs.iter().filter(|run| run.kind == kind && run.late.load(Ordering::Relaxed)).collect();
        if !late.is_empty() {
            let outcomes: Vec<Result<(), Error>> = late.iter().map(|run| run.kill()).collect();
            return outcomes.iter().find(|outcome| outcome.is_ok()).unwrap_or(&outcomes[0]).clone();
        }
        match runs.iter().filter(|run| run.kind == kind).min_by_key(|run| run.began_ns) {
            Some(run) => run.kill(),
            None => Err(runs.first().map_or(Error::NotBusy, |run| busy_with(run.kind))),
        }
    }

    /// The function that has been running for longest.
    pub fn function(&self) -> Option<Arc<Run>> {
        let runs = self.runs.lock();
        runs.iter().filter(|run| run.kind == Kind::Function).min_by_key(|run| run.began_ns).map(Arc::clone)
    }
}

fn busy_with(kind: Kind) -> Error {
    match kind {
        Kind::Script => Error::BusyScript,
        Kind::Function => Error::BusyFunction,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Run, Running};
    use crate::resp::error::Error;
    use crate::store::key::Layout;
    use crate::store::keyspace::Keyspace;
    use crate::store::policy::Policy;

    fn run(kind: Kind, began_ns: u64) -> std::sync::Arc<Run> {
        Run::new(kind, "name".to_owned(), Vec::new(), began_ns)
    }

    #[test]
    fn shards_are_kept_until_the_end_and_only_late_runs_are_busy() {
        let keyspace = Keyspace::new(Layout::new(3), Policy::NoEviction, 0, 1);
        let running = Running::default();
        let script = run(Kind::Script, 5);
        running.enter(&script);
        running.reserve(&keyspace, &script, 0b101);
        assert_eq!(keyspace.reserved(), 0b101);
        assert_eq!((running.busy(0b100), running.any_late()), (None, false));
        running.note_late(&script);
        running.note_late(&script);
        assert_eq!(running.busy(0b100), Some(Error::BusyScript));
        assert_eq!(running.busy(0b010), None);
        assert_eq!(running.busy(u64::MAX), Some(Error::BusyScript));
        running.leave(&keyspace, &script);
        assert_eq!((keyspace.reserved(), running.any_late()), (0, false));
    }

    #[test]
    fn what_has_written_is_not_killed_and_what_was_killed_does_not_write() {
        let running = Running::default();
        assert_eq!(running.kill(Kind::Script), Err(Error::NotBusy));
        let (first, second) = (run(Kind::Script, 1), run(Kind::Script, 2));
        running.enter(&first);
        running.enter(&second);
        assert_eq!(running.kill(Kind::Function), Err(Error::BusyScript));
        assert_eq!(running.kill(Kind::Script), Ok(()));
        assert!(first.is_killed() && !second.is_killed(), "the one that has run for longest");
        assert!(!first.note_write());
        assert!(second.note_write());
        running.note_late(&second);
        assert_eq!(running.kill(Kind::Script), Err(Error::Unkillable), "the late one is meant");
    }
}
