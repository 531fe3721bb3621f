//! What the gateway adds to a command, without a socket: whether it runs here, where it goes otherwise, how one command
//! becomes several, and how their replies become one.
//!
//! A command whose keys are all served here runs as on any connection: that costs it nothing. MGET, MSET, DEL, UNLINK,
//! EXISTS and TOUCH are split by slot, one part for each; DBSIZE, KEYS, FLUSHALL, FLUSHDB, RANDOMKEY and SCAN go to
//! every node, and so do SCRIPT LOAD and FUNCTION LOAD and what undoes them. Neither is atomic over nodes. All else needs keys of one slot. Replies of parts are not read but cut.
//!
//! A client of the gateway is subscribed where it is connected, to shard channels too: what is published to them comes to
//! every node with a gateway. What PUBSUB tells is of all nodes together; a pattern counts once for each.
//!
//! A command that waits (BLPOP) waits where its keys are. Here it does as on any connection, once all that was sent to
//! other nodes is answered; elsewhere it goes over a connection of its own, with the time that is left to it.

mod join;
mod plan;
mod wait;

pub use join::Join;
pub use plan::{Plan, PlannedPart, Target, plan};
pub use wait::{Errand, MY_ID, unblock};

use crate::base::limits::{CLUSTER_HOLD_MAX_MS, GATEWAY_RETRY_MAX_MS};
use crate::base::slot::{Slot, slot_of};
use crate::cluster::route::Place;
use crate::command::context::WorkerLocal;
use crate::command::route::{Stop, Touch, shared_slot};
use crate::command::session::Session;
use crate::command::spec::Group;
use crate::command::spec::flags::{NOSCRIPT, PUBSUB, READONLY, WRITE};
use crate::command::table::Entry;
use crate::command::txn;
use crate::hub::cluster::count;
use crate::resp::args::Args;
use crate::resp::error::Error;

/// Whether a command that has keys of several slots is split.
fn is_split(entry: &Entry) -> bool {
    matches!(entry.spec.name, "mget" | "mset" | "del" | "unlink" | "exists" | "touch")
}

/// Whether a command without keys is answered by all nodes together.
fn is_everywhere(entry: &Entry) -> bool {
    if entry.spec.group == Group::PubSub {
        return entry.full_name.starts_with("pubsub|") && entry.spec.name != "help";
    }
    if entry.spec.group == Group::Scripting {
        return matches!(
            entry.full_name.as_str(),
            "function|load"
                | "function|delete"
                | "function|flush"
                | "function|restore"
                | "script|load"
                | "script|flush"
        );
    }
    matches!(entry.spec.name, "dbsize" | "keys" | "flushall" | "flushdb" | "randomkey" | "scan")
}

/// Whether a command begins or ends subscriptions.
fn subscribes(entry: &Entry) -> bool {
    entry.spec.has(PUBSUB | NOSCRIPT)
}

/// The slot of the keys that the session watches.
fn watched_slot(session: &Session) -> Option<Slot> {
    session.watched_away.or_else(|| session.watched.first().map(|watched| slot_of(&watched.key)))
}

/// What [`route::admit`](super::route::admit) is for other connections: a command runs here, is held, or goes away.
pub(super) fn admit(
    worker: &mut WorkerLocal,
    session: &mut Session,
    entry: &Entry,
    args: Args<'_>,
) -> Result<Option<Slot>, Stop> {
    if let Some(transaction) = &session.transaction {
        if !txn::runs_inside_multi(entry) {
            return queued(entry);
        }
        if transaction.aborted || !txn::is_exec(entry) {
            return Ok(None);
        }
    } else if txn::is_exec(entry) {
        return Ok(None);
    }
    // What a subscriber may not do is refused behind this.
    if subscribes(entry) || session.only_listens() {
        return Ok(None);
    }
    let slot = match shared_slot(worker, session, entry, args) {
        Ok(Touch::Slot(slot)) => slot,
        Ok(Touch::Nothing | Touch::Node) if is_everywhere(entry) => return Err(Stop::Away),
        Ok(Touch::Nothing | Touch::Node) if txn::is_exec(entry) && session.watched_away.is_some() => {
            return Err(Stop::Away);
        }
        Ok(Touch::Nothing | Touch::Node) => return Ok(None),
        Err(_) if is_split(entry) => return Err(Stop::Away),
        Err(error) => {
            count(&worker.hub.cluster.counters.crossslots);
            return Err(error.into());
        }
    };
    if txn::is_exec(entry) || txn::is_watch(entry) {
        if watched_slot(session).is_some_and(|watched| watched != slot) {
            count(&worker.hub.cluster.counters.crossslots);
            return Err(Error::CrossSlot.into());
        }
        if session.watched_away.is_some() {
            return Err(Stop::Away);
        }
    }
    serve_here(worker, session, slot)
}

/// A command that is queued by MULTI: where it runs is asked at EXEC.
fn queued(entry: &Entry) -> Result<Option<Slot>, Stop> {
    let touches = entry.spec.has(READONLY) || entry.spec.has(WRITE);
    if touches && !entry.spec.has_keys() {
        return Err(Error::Custom(format!(
            "ERR {} is not allowed in a transaction by the gateway: it is of all nodes",
            entry.full_name.to_ascii_uppercase()
        ))
        .into());
    }
    if subscribes(entry) {
        return Err(Error::Custom(format!(
            "ERR {} is not allowed in a transaction by the gateway: another node may execute it",
            entry.full_name.to_ascii_uppercase()
        ))
        .into());
    }
    Ok(None)
}

#[inline]
fn serve_here(worker: &mut WorkerLocal, session: &mut Session, slot: Slot) -> Result<Option<Slot>, Stop> {
    let cluster = &worker.hub.cluster;
    let (patience_ms, error) = if cluster.routes.serves(slot) {
        if session.owed != 0 && session.owed != cluster.routes.generation() {
            // It may have come here while requests for it are under way: they go first.
            return Err(Stop::Held);
        }
        if worker.state.leased {
            worker.state.touched = true;
            session.held_since_ms = 0;
            return Ok(Some(slot));
        }
        (GATEWAY_RETRY_MAX_MS, Error::ClusterDown)
    } else {
        match cluster.routes.place(slot, session.side) {
            Place::Elsewhere(..) => {
                session.held_since_ms = 0;
                return Err(Stop::Away);
            }
            Place::Nowhere => (GATEWAY_RETRY_MAX_MS, Error::SlotNotServed),
            Place::Held | Place::Here => (CLUSTER_HOLD_MAX_MS, Error::SlotNotServed),
        }
    };
    let now_ms = worker.state.now_ms;
    if session.held_since_ms == 0 {
        count(&cluster.counters.holds);
        session.held_since_ms = now_ms.max(1);
    }
    if now_ms < session.held_since_ms + patience_ms {
        return Err(Stop::Held);
    }
    count(&cluster.counters.refusals);
    session.held_since_ms = 0;
    Err(error.into())
}
