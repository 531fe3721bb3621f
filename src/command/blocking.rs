//! Commands that wait until a key has something for them: BLPOP and its like.
//!
//! A handler that finds nothing calls [`wait`]. The client then queues up for its keys, and its connection leaves session
//! and request in a seat (`hub::blocked`). Whoever changes one of the keys runs the whole request again for it, under
//! the shards' locks and before anybody reads the changer's own reply, so that the order is Redis's: keys in the order
//! in which they changed, clients in the order in which they came.
//!
//! A request that is run again must not depend on when it first was (XREAD's `$`): its handler hands over a rewritten one.

use std::sync::Arc;

use crate::base::extended::{self, Parsed};
use crate::base::slot::Slot;
use crate::command::context::{Cx, WorkerLocal};
use crate::command::execute::{self, Progress};
use crate::command::keys;
use crate::command::session::Session;
use crate::command::spec::Group;
use crate::command::spec::flags::BLOCKING;
use crate::command::spec::flags::WRITE;
use crate::command::stream::read;
use crate::command::table::Entry;
use crate::hub::Hub;
use crate::hub::blocked::{Awaited, Seat, Waiter};
use crate::hub::clients::signal;
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::store::value::ValueType;

/// Longest wait in ms: what is longer is for ever, as far as anybody can tell.
const WAIT_MAX_MS: f64 = i64::MAX as f64;

/// What a client is told that waited in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReply {
    /// A null.
    Null,
    /// A null array.
    NullArray,
}

impl TimeoutReply {
    /// Writes it.
    pub fn write(self, reply: &mut Reply) {
        match self {
            Self::Null => reply.null(),
            Self::NullArray => reply.null_array(),
        }
    }
}

/// What a command waits for.
pub struct Wait<'a> {
    /// Any of these keys.
    pub keys: &'a [&'a [u8]],
    /// At most so long; nothing: for ever.
    pub timeout_ms: Option<u64>,
    /// What it answers then.
    pub on_timeout: TimeoutReply,
    /// The request to be run again, where it is not the one that came.
    pub args: Option<OwnedArgs>,
}

/// A wait that a handler has begun.
pub struct Begun {
    /// Where the client queues up; nothing if it did so before.
    pub waiter: Option<Arc<Waiter>>,
    /// Unix ms at which it ends.
    pub until_ms: Option<u64>,
    /// What is answered then.
    pub on_timeout: TimeoutReply,
    /// The request to be run again, where it is not the one that came.
    pub args: Option<OwnedArgs>,
}

/// What lies in a seat.
pub struct Parked {
    /// The session.
    pub session: Session,
    /// Where the reply goes.
    pub reply: Reply,
    /// The request.
    pub args: OwnedArgs,
    /// Its row.
    pub entry: &'static Entry,
    /// The slot of its keys, in a cluster.
    pub slot: Option<Slot>,
    /// What is answered when its time is up.
    pub on_timeout: TimeoutReply,
}

/// Reads a timeout: seconds, 0 for none.
///
/// # Errors
/// It is no number, too large, or negative.
pub fn timeout(text: &[u8]) -> Result<Option<u64>, Error> {
    let seconds = match extended::parse(text).ok_or(Error::TimeoutNotAFloat)? {
        Parsed::Finite(seconds) => seconds.to_f64(),
        Parsed::Infinite if text.first() == Some(&b'-') => f64::NEG_INFINITY,
        Parsed::Infinite => f64::INFINITY,
    };
    let wait_ms = (seconds * 1000.0).ceil();
    if wait_ms > WAIT_MAX_MS {
        return Err(Error::TimeoutOutOfRange);
    }
    if seconds < 0.0 {
        return Err(Error::TimeoutNegative);
    }
    Ok((seconds > 0.0).then_some(wait_ms as u64))
}

/// Where in a request that may wait its timeout stands; nothing if it has none. Streams count in ms, all others in
/// seconds.
pub fn timeout_at(entry: &Entry, args: Args<'_>) -> Option<usize> {
    if entry.spec.group == Group::Stream {
        return read::layout(args)?.block_at;
    }
    match entry.spec.name {
        "blmpop" | "bzmpop" => Some(1),
        _ => args.len().checked_sub(1),
    }
}

/// Has the client wait: to be called by a handler that has changed and written nothing, as the last thing it does. Within
/// MULTI nobody waits, and the answer is that of a wait in vain.
///
/// # Errors
/// Other nodes owe the client replies to earlier requests, by the gateway: the command is marked as held.
pub fn wait(cx: &mut Cx<'_>, wait: Wait<'_>) -> Result<(), Error> {
    if cx.data.held {
        wait.on_timeout.write(cx.reply);
        return Ok(());
    }
    if cx.session.owed != 0 {
        cx.held = true;
        return Err(Error::SlotNotServed);
    }
    let mut until_ms = wait.timeout_ms.map(|timeout_ms| cx.now_ms.saturating_add(timeout_ms));
    let place = cx.session.place_kept.take();
    if let Some((_, kept_ms)) = place {
        until_ms = kept_ms;
    }
    let waiter = if cx.session.is_served {
        None
    } else {
        Some(queue_up(cx, wait.keys, place.map(|(number, _)| number)))
    };
    cx.waits = Some(Begun { waiter, until_ms, on_timeout: wait.on_timeout, args: wait.args });
    Ok(())
}

fn queue_up(cx: &mut Cx<'_>, names: &[&[u8]], number: Option<u64>) -> Arc<Waiter> {
    let awaited = awaited_by(cx.entry);
    let db = cx.data.db;
    let mut keys: Vec<(usize, Box<[u8]>)> = Vec::with_capacity(names.len());
    for &name in names {
        if keys.iter().all(|(_, known)| **known != *name) {
            let key = cx.data.key(name);
            cx.data.db(&key).await_key(name);
            keys.push((db, name.into()));
        }
    }
    cx.hub.blocked.enter(&cx.session.client, awaited, keys, number)
}

fn awaited_by(entry: &Entry) -> Awaited {
    match entry.spec.group {
        Group::SortedSet => Awaited::SortedSet,
        Group::Stream if entry.spec.has(WRITE) => Awaited::StreamGroup,
        Group::Stream => Awaited::Stream,
        _ => Awaited::List,
    }
}

/// Takes a client out of all queues; without any lock held.
pub fn forget(hub: &Hub, waiter: &Waiter) {
    hub.blocked.remove(waiter);
    for (db, name) in &waiter.keys {
        let key = hub.keyspace.layout().key(name);
        let mut shard = hub.keyspace.lock(key.shard);
        if let Some(db) = shard.db_if_any(*db) {
            db.release_key(name);
        }
    }
}

/// Serves whoever waits for the keys that have changed since it was last called; what that changes, too. To be called
/// with no lock held.
#[cold]
pub fn serve(worker: &mut WorkerLocal) {
    // What changed the keys may have taken long (EXEC): who is served now sees the time of now.
    let batch_ms = worker.state.now_ms;
    worker.state.now_ms = worker.state.clock.wall_ms().max(batch_ms);
    while let Some(key) = worker.state.changed_keys.pop_front() {
        worker.state.serving = Some(key.1.clone());
        for awaited in Awaited::ALL {
            let mut after = 0;
            while let Some(waiter) = worker.hub.blocked.next(&key, awaited, after) {
                if !serve_one(worker, &waiter) && awaited.speaks_for_others() {
                    break;
                }
                after = waiter.number;
            }
        }
    }
    worker.state.serving = None;
    worker.state.now_ms = batch_ms;
}

/// Runs a waiting client's request again; whether it was served.
fn serve_one(worker: &mut WorkerLocal, waiter: &Waiter) -> bool {
    let mut seat = waiter.seat();
    let occupant = match &mut *seat {
        Seat::Coming => {
            *seat = Seat::Missed;
            return false;
        }
        Seat::Waiting(occupant) => occupant,
        _ => return true,
    };
    let Some(parked) = occupant.downcast_mut::<Parked>() else { return true };
    parked.session.is_served = true;
    let served = execute::again(worker, parked) == Progress::Done;
    parked.session.is_served = false;
    if !served {
        return false;
    }
    if let Seat::Waiting(occupant) = std::mem::replace(&mut *seat, Seat::Left) {
        *seat = Seat::Served(occupant);
    }
    drop(seat);
    forget(&worker.hub, waiter);
    waiter.client.signal(signal::RESUME);
    true
}

/// Whether a key holds what the command waits for, so that it is an answer that another key is of another type. That may
/// be any key, but for streams, which stay when there is nothing in them: there it is the one that has changed.
pub fn has_right_type(cx: &mut Cx<'_>, args: Args<'_>) -> bool {
    let entry = cx.entry;
    let changed = cx.worker.serving.clone();
    let (wanted, keys) = match (awaited_by(entry), &changed) {
        // What is no stream any more has lost its groups: that is an answer, too.
        (Awaited::StreamGroup, _) => return true,
        (Awaited::Stream, Some(key)) => (ValueType::Stream, vec![&**key]),
        (Awaited::Stream, None) => (ValueType::Stream, Vec::new()),
        (Awaited::List, _) => (ValueType::List, keys_of(entry, args)),
        (Awaited::SortedSet, _) => (ValueType::SortedSet, keys_of(entry, args)),
    };
    keys.iter().any(|name| {
        let key = cx.data.key(name);
        let found = cx.data.find(&key);
        found.is_some_and(|found| cx.data.db(&key).value_type(found) == wanted)
    })
}

/// Whether a request is one that waits when it finds nothing, outside MULTI.
pub fn may_wait(entry: &Entry, args: Args<'_>) -> bool {
    entry.spec.has(BLOCKING)
        && (entry.spec.group != Group::Stream || args.iter().any(|word| word.eq_ignore_ascii_case(b"block")))
}

/// The keys of a request that waits, by its row.
fn keys_of<'a>(entry: &Entry, args: Args<'a>) -> Vec<&'a [u8]> {
    let mut keys = Vec::new();
    // What is malformed did not come to wait.
    let _ = keys::for_each_key(entry.spec, args, &mut |at, _| keys.extend(args.get(at)));
    keys
}
