//! Moves towards this node: slots are made ready, filled in the order of the source's messages, and declared whole.
//!
//! What arrives stays hidden until the table gives the slots to this node (see [`super::ground`]). Messages of a move
//! are numbered; one that is repeated is answered again and not applied again, one that is out of order ends the move.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::yield_now;

use super::ground::Ground;
use super::message::Answer;
use crate::base::lock::Mutex;
use crate::cluster::id::NodeId;
use crate::hub::Hub;
use crate::store::arrival::{Arrival, ArrivalError};

/// Moves towards this node.
pub struct Arrivals {
    hub: Arc<Hub>,
    ground: Arc<Ground>,
    open: Mutex<BTreeMap<u64, Arc<AsyncMutex<Inbound>>>>,
}

struct Inbound {
    from: NodeId,
    arrival: Arrival,
    /// The number of the next message of records.
    next: u64,
    bytes: u64,
}

/// How far a move towards this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The move.
    pub id: u64,
    /// Keys that have arrived.
    pub keys: u64,
    /// Bytes that have arrived.
    pub bytes: u64,
}

impl Arrivals {
    /// None yet.
    pub fn new(hub: Arc<Hub>, ground: Arc<Ground>) -> Self {
        Self { hub, ground, open: Mutex::default() }
    }

    /// How far the moves are; one that is taking something in just now is left out.
    pub fn progress(&self) -> Vec<Progress> {
        let open = self.open.lock();
        let seen = open.iter().filter_map(|(id, inbound)| {
            let inbound = inbound.try_lock().ok()?;
            Some(Progress { id: *id, keys: inbound.arrival.entries(), bytes: inbound.bytes })
        });
        seen.collect()
    }

    /// Makes the slots of a move ready.
    pub async fn open(&self, id: u64, from: NodeId) -> Answer {
        self.forget_the_ended();
        let table = self.ground.table();
        let Some(movement) = table.moves.iter().find(|movement| movement.id == id) else {
            return Answer::Refused("the move is not known here".to_owned());
        };
        if movement.from != from {
            return Answer::Refused("the move has another source".to_owned());
        }
        if !self.is_leased() {
            return Answer::Refused("the target has no lease yet".to_owned());
        }
        let Some(slots) = self.ground.expect_arrival(id) else {
            return Answer::Refused("the move does not come here".to_owned());
        };
        loop {
            match self.ground.empty_step(id) {
                Some(true) => break,
                Some(false) => yield_now().await,
                None => return Answer::Refused("the move was ended".to_owned()),
            }
        }
        match Arrival::begin(&self.hub.keyspace, &slots) {
            Ok(arrival) => {
                let inbound = Inbound { from, arrival, next: 0, bytes: 0 };
                self.open.lock().insert(id, Arc::new(AsyncMutex::new(inbound)));
                Answer::Done
            }
            Err(slot) => Answer::Refused(format!("slot {} is not ready", slot.number())),
        }
    }

    /// Takes records in.
    pub async fn records(&self, id: u64, from: NodeId, sequence: u64, records: &[u8]) -> Answer {
        let Some(inbound) = self.find(id) else { return Answer::Refused("the move is not open".to_owned()) };
        let mut inbound = inbound.lock().await;
        if inbound.from != from || sequence > inbound.next {
            return Answer::Refused("records are missing".to_owned());
        }
        if sequence < inbound.next {
            return Answer::Done;
        }
        if !self.ground.set_arrived(id, false) {
            return Answer::Refused("the move was ended".to_owned());
        }
        let mut rest = records;
        while !rest.is_empty() {
            let now_ms = self.hub.clock.wall_ms();
            match inbound.arrival.apply(&self.hub.keyspace, rest, now_ms) {
                Ok(done) => rest = &rest[done.min(rest.len())..],
                Err(error) => return refuse(error),
            }
            yield_now().await;
        }
        inbound.next += 1;
        inbound.bytes += records.len() as u64;
        Answer::Done
    }

    /// Declares a move whole.
    pub async fn close(&self, id: u64, from: NodeId, messages: u64) -> Answer {
        let Some(inbound) = self.find(id) else { return Answer::Refused("the move is not open".to_owned()) };
        let inbound = inbound.lock().await;
        if inbound.from != from || inbound.next != messages {
            return Answer::Refused("records are missing".to_owned());
        }
        if !self.is_leased() {
            return Answer::Refused("the target's lease ran out".to_owned());
        }
        if inbound.arrival.is_disturbed(&self.hub.keyspace) {
            return Answer::Refused("a flush took away what had arrived".to_owned());
        }
        if self.ground.set_arrived(id, true) {
            Answer::Done
        } else {
            Answer::Refused("the move was ended".to_owned())
        }
    }

    /// Whether this node could serve what it is about to get.
    fn is_leased(&self) -> bool {
        self.hub.cluster.routes.is_leased(self.hub.clock.boot_ns())
    }

    fn find(&self, id: u64) -> Option<Arc<AsyncMutex<Inbound>>> {
        self.open.lock().get(&id).map(Arc::clone)
    }

    /// Drops what is known of moves that the table no longer has: the ground looks after their slots.
    pub fn forget_the_ended(&self) {
        let table = self.ground.table();
        self.open.lock().retain(|id, _| table.moves.iter().any(|movement| movement.id == *id));
    }
}

fn refuse(error: ArrivalError) -> Answer {
    Answer::Refused(match error {
        ArrivalError::OutOfMemory => "there is no room: raise maxmemory or let keys be evicted".to_owned(),
        error => format!("the records cannot be applied: {error:?}"),
    })
}
