//! Whether a command may run on this node: its keys, or shard channels, share a slot, the slot is served here, and the
//! node's lease holds.
//!
//! Asked twice: before the locks are taken, which sends most foreign requests away at no cost, and once more under them,
//! because a slot may have been taken away in between (see [`Routes`]). Without a cluster nothing of this is asked.
//!
//! [`Routes`]: crate::cluster::route::Routes

use crate::base::limits::CLUSTER_HOLD_MAX_MS;
use crate::base::slot::{Slot, slot_of};
use crate::cluster::route::Place;
use crate::command::context::WorkerLocal;
use crate::command::gateway;
use crate::command::keys;
use crate::command::session::Session;
use crate::command::spec::Spec;
use crate::command::spec::flags::{READONLY, WRITE};
use crate::command::table::Entry;
use crate::command::txn;
use crate::hub::Hub;
use crate::hub::cluster::count;
use crate::resp::args::Args;
use crate::resp::error::Error;

/// Why a command does not run now.
#[derive(Debug)]
pub enum Stop {
    /// It is answered by an error.
    Refused(Error),
    /// Its slot is held: it waits and is tried again.
    Held,
    /// The gateway is to have it run elsewhere, or everywhere.
    Away,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// The slot that a command's keys share, if it has keys and may run here.
#[inline]
pub fn admit(
    worker: &mut WorkerLocal,
    session: &mut Session,
    entry: &Entry,
    args: Args<'_>,
) -> Result<Option<Slot>, Stop> {
    if !worker.state.clustered {
        return Ok(None);
    }
    if session.gateway {
        return gateway::admit(worker, session, entry, args);
    }
    let slot = match shared_slot(worker, session, entry, args) {
        Ok(Touch::Nothing) => return Ok(None),
        Ok(Touch::Node) => None,
        Ok(Touch::Slot(slot)) => Some(slot),
        Err(error) => {
            count(&worker.hub.cluster.counters.crossslots);
            return Err(error.into());
        }
    };
    if let (Some(ordered), Some(slot)) = (&session.ordered, slot)
        && ordered.refuses(slot)
    {
        // It was sent behind a request that was refused, and would be executed before it if the slot came back meanwhile.
        return Err(Error::SlotNotServed.into());
    }
    if !worker.state.leased {
        count(&worker.hub.cluster.counters.refusals);
        note_refusal(session, slot);
        return Err(Error::ClusterDown.into());
    }
    worker.state.touched = true;
    if slot.is_none() && waits_for_hand_over(&worker.hub, entry) {
        return Err(hold(&worker.hub, session, worker.state.now_ms));
    }
    match slot {
        Some(slot) if !worker.hub.cluster.routes.serves(slot) => {
            Err(stop(&worker.hub, session, slot, worker.state.now_ms))
        }
        _ => {
            session.held_since_ms = 0;
            Ok(slot)
        }
    }
}

/// A link of another node's gateway hears no more of the slot until it says that it has heard of the refusal.
fn note_refusal(session: &mut Session, slot: Option<Slot>) {
    if let (Some(ordered), Some(slot)) = (&mut session.ordered, slot) {
        ordered.refuse(slot);
    }
}

/// Why a command on a slot that is not served here does not run.
#[cold]
pub fn stop(hub: &Hub, session: &mut Session, slot: Slot, now_ms: u64) -> Stop {
    let stop = why_not(hub, session, slot, now_ms);
    if matches!(stop, Stop::Refused(_)) {
        note_refusal(session, Some(slot));
    }
    stop
}

fn why_not(hub: &Hub, session: &mut Session, slot: Slot, now_ms: u64) -> Stop {
    let counters = &hub.cluster.counters;
    match hub.cluster.routes.place(slot, session.side) {
        Place::Elsewhere(..) if session.gateway => Stop::Away,
        Place::Elsewhere(host, port) => {
            count(&counters.redirects);
            session.held_since_ms = 0;
            Stop::Refused(Error::Custom(format!("MOVED {} {host}:{port}", slot.number())))
        }
        Place::Nowhere => {
            count(&counters.refusals);
            Stop::Refused(Error::SlotNotServed)
        }
        // It may be served again since it was looked at; then the next try finds out.
        Place::Held | Place::Here => hold(hub, session, now_ms),
    }
}

/// Whether a command without keys changes all of them while slots are about to be handed over.
#[inline]
pub fn waits_for_hand_over(hub: &Hub, entry: &Entry) -> bool {
    hub.cluster.routes.is_holding() && (entry.spec.has(WRITE) || txn::is_exec(entry))
}

/// Holds a command back, or refuses it when it has been held for too long.
#[cold]
pub fn hold(hub: &Hub, session: &mut Session, now_ms: u64) -> Stop {
    let counters = &hub.cluster.counters;
    if session.held_since_ms == 0 {
        count(&counters.holds);
        session.held_since_ms = now_ms.max(1);
    }
    if now_ms < session.held_since_ms + CLUSTER_HOLD_MAX_MS {
        return Stop::Held;
    }
    count(&counters.refusals);
    session.held_since_ms = 0;
    Stop::Refused(Error::SlotNotServed)
}

/// Whether an error tells a client where to go, or to wait: it reaches the client as it is, even from EXEC.
pub fn is_redirect(error: &Error) -> bool {
    match error {
        Error::CrossSlot | Error::ClusterDown | Error::SlotNotServed => true,
        Error::Custom(line) => line.starts_with("MOVED "),
        _ => false,
    }
}

/// What of the node a command touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// No data.
    Nothing,
    /// Data, but no key by name.
    Node,
    /// Keys, or shard channels, of one slot.
    Slot(Slot),
}

/// What the command touches, if its keys share a slot.
pub(super) fn shared_slot(
    worker: &mut WorkerLocal,
    session: &Session,
    entry: &Entry,
    args: Args<'_>,
) -> Result<Touch, Error> {
    let spec = entry.spec;
    let only_key = spec.only_key(args);
    if only_key != 0 {
        let bytes = args.get(only_key).unwrap_or_default();
        return Ok(Touch::Slot(worker.state.ahead.slot(bytes).unwrap_or_else(|| slot_of(bytes))));
    }
    let mut slots = Slots::default();
    if txn::is_exec(entry) {
        let Some(transaction) = &session.transaction else { return Ok(Touch::Nothing) };
        for (entry, args) in &transaction.queue {
            slots.visit(entry.spec, args.as_args());
        }
    } else {
        slots.visit(spec, args);
    }
    match slots {
        Slots { differ: true, .. } => Err(Error::CrossSlot),
        Slots { first: Some(slot), .. } => Ok(Touch::Slot(slot)),
        Slots { data: true, .. } => Ok(Touch::Node),
        _ => Ok(Touch::Nothing),
    }
}

#[derive(Default)]
struct Slots {
    first: Option<Slot>,
    differ: bool,
    data: bool,
}

impl Slots {
    fn visit(&mut self, spec: &Spec, args: Args<'_>) {
        self.data |= spec.has(READONLY) || spec.has(WRITE);
        if !spec.routes() {
            return;
        }
        let before = (self.first, self.differ);
        let visited = keys::for_each_routed(spec, args, |at, _| {
            let slot = slot_of(&args[at]);
            self.differ |= *self.first.get_or_insert(slot) != slot;
        });
        if visited.is_err() {
            // The command answers with its own error.
            (self.first, self.differ) = before;
        }
    }
}
