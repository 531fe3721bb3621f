//! The checks between a resolved request and its execution, in Redis's order: the order decides which error wins.
//! A gate changes nothing but memory that the policy may free anyway.

use crate::base::slot::Slot;
use crate::command::context::WorkerLocal;
use crate::command::route::{self, Stop};
use crate::command::session::Session;
use crate::command::spec::Group;
use crate::command::spec::flags::{ALLOW_BUSY, DENYOOM, NO_AUTH, NO_MULTI, NOSCRIPT, PUBSUB};
use crate::command::table::Entry;
use crate::resp::args::Args;
use crate::resp::error::Error;

/// Entries below this size are not asked room for one by one: the limit is checked, and the next write pays.
const WANTED_MIN_BYTES: usize = 4096;

/// Runs all gates. Gives the slot that the command's keys share, in a cluster.
///
/// # Errors
/// The command is refused, or must wait.
#[inline]
pub fn check(
    worker: &mut WorkerLocal,
    session: &mut Session,
    entry: &Entry,
    args: Args<'_>,
) -> Result<Option<Slot>, Stop> {
    authenticated(session, entry)?;
    let slot = route::admit(worker, session, entry, args)?;
    memory(worker, entry, args)?;
    subscribed(session, entry)?;
    scripts(worker, session, entry)?;
    transaction(session, entry)?;
    Ok(slot)
}

fn authenticated(session: &Session, entry: &Entry) -> Result<(), Error> {
    if session.authenticated || entry.spec.has(NO_AUTH) { Ok(()) } else { Err(Error::NoAuth) }
}

/// A command that may use more memory needs room: makes it, or refuses the command.
fn memory(worker: &mut WorkerLocal, entry: &Entry, args: Args<'_>) -> Result<(), Error> {
    if !entry.spec.has(DENYOOM) {
        return Ok(());
    }
    let keyspace = &worker.hub.keyspace;
    let bytes = args.total_bytes();
    let wanted_bytes = if bytes < WANTED_MIN_BYTES { 0 } else { bytes };
    if wanted_bytes == 0 && !keyspace.is_over() {
        return Ok(());
    }
    let shard = match entry.spec.single_key {
        0 => (worker.state.now_ms % keyspace.shards() as u64) as usize,
        at => keyspace.layout().key(&args[at]).shard,
    };
    let threshold_ms = worker.state.config().latency_monitor_threshold;
    if threshold_ms == 0 {
        return keyspace.make_room(shard, wanted_bytes).map_err(|_| Error::OutOfMemory);
    }
    let began_ns = worker.state.clock.mono_ns();
    let outcome = keyspace.make_room(shard, wanted_bytes).map_err(|_| Error::OutOfMemory);
    let took_ns = worker.state.clock.mono_ns().saturating_sub(began_ns);
    worker.hub.latency.note("eviction-cycle", threshold_ms, took_ns, worker.state.now_ms);
    outcome
}

/// While a script is late, commands without keys are refused, so that people notice and can kill it, and so are those
/// that a transaction would queue. Commands with keys run unless the script keeps their shards (`execute`).
fn scripts(worker: &WorkerLocal, session: &Session, entry: &Entry) -> Result<(), Error> {
    let running = &worker.hub.running;
    if !running.any_late() || entry.spec.has(ALLOW_BUSY) {
        return Ok(());
    }
    if entry.spec.has_keys() && session.transaction.is_none() {
        return Ok(());
    }
    running.busy(u64::MAX).map_or(Ok(()), Err)
}

/// In RESP2 a subscriber could not tell replies from messages: only what answers like a message is allowed.
fn subscribed(session: &Session, entry: &Entry) -> Result<(), Error> {
    if !session.only_listens() {
        return Ok(());
    }
    match entry.spec.name {
        "ping" | "quit" | "reset" => Ok(()),
        _ if entry.spec.group == Group::PubSub && entry.spec.has(PUBSUB | NOSCRIPT) => Ok(()),
        _ => Err(Error::err(format_args!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            entry.full_name
        ))),
    }
}

fn transaction(session: &Session, entry: &Entry) -> Result<(), Error> {
    if session.transaction.is_some() && entry.spec.has(NO_MULTI) {
        return Err(Error::NotInTransaction);
    }
    Ok(())
}
