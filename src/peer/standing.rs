//! The links that stand: whom each leads to, since when, and what waits to be sent over it. CLUSTER LINKS shows them.
//!
//! A link stands from when both ends know each other until its task ends. What waits is counted as it is queued and
//! sealed: a few relaxed stores for each message, and nobody is ever waited for. There are as many as links may be
//! ([`PEER_LINKS_MAX`](crate::base::limits::PEER_LINKS_MAX) and
//! [`PEER_SERVED_MAX`](crate::base::limits::PEER_SERVED_MAX)).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::frame::Class;
use crate::base::limits::PEER_QUEUE_BYTES;
use crate::base::lock::Mutex;
use crate::cluster::id::NodeId;

/// What waits to be sent over a link.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Bytes of replies that are queued.
    queued: AtomicU64,
    /// Bytes that are sealed and not yet taken by the system.
    sealed: AtomicU64,
    /// Bytes of the buffers that messages are sealed in.
    buffers: AtomicU64,
}

impl Backlog {
    /// Notes how much is sealed, and what its buffers hold, in bytes.
    pub fn set_sealed(&self, sealed: usize, buffers: usize) {
        self.sealed.store(sealed as u64, Ordering::Relaxed);
        self.buffers.store(buffers as u64, Ordering::Relaxed);
    }

    /// Counts a message of so many bytes as queued, until what is returned is dropped.
    pub fn queue(self: &Arc<Self>, bytes: usize) -> Queued {
        self.queued.fetch_add(bytes as u64, Ordering::Relaxed);
        Queued { backlog: Arc::clone(self), bytes: bytes as u64 }
    }
}

/// A message that is queued.
pub struct Queued {
    backlog: Arc<Backlog>,
    bytes: u64,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.backlog.queued.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A link that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The node at its other end.
    pub node: NodeId,
    /// What it is for.
    pub class: Class,
    /// Whether this node made it.
    pub outgoing: bool,
    /// When it was made, in Unix ms.
    pub since_ms: u64,
    /// Bytes that wait to be sent, sealed or not.
    pub used_bytes: u64,
    /// Bytes that these take, with what buffers have to spare.
    pub allocated_bytes: u64,
}

/// One of them; `room` is what is left of an outgoing link's queue, in bytes of [`PEER_QUEUE_BYTES`].
pub struct Link {
    /// The node at its other end.
    pub node: NodeId,
    /// What it is for.
    pub class: Class,
    /// When it was made, in Unix ms.
    pub since_ms: u64,
    /// What waits, beside what lacks in `room`.
    pub backlog: Arc<Backlog>,
    /// For a link that this node made.
    pub room: Option<Arc<Semaphore>>,
}

impl Link {
    fn state(&self) -> LinkState {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let taken = self.room.as_ref().map_or(0, |room| PEER_QUEUE_BYTES - room.available_permits());
        let queued = of(&self.backlog.queued) + taken as u64;
        let sealed = of(&self.backlog.sealed);
        LinkState {
            node: self.node,
            class: self.class,
            outgoing: self.room.is_some(),
            since_ms: self.since_ms,
            used_bytes: queued + sealed,
            // Read at two moments: never less than is in use.
            allocated_bytes: queued + of(&self.backlog.buffers).max(sealed),
        }
    }
}

/// All of them.
#[derive(Default)]
pub struct Standing {
    links: Mutex<(u64, BTreeMap<u64, Link>)>,
}

impl Standing {
    /// Takes one in, until what is returned is dropped.
    pub fn enter(self: &Arc<Self>, link: Link) -> Stands {
        let mut links = self.links.lock();
        let serial = links.0;
        links.0 += 1;
        links.1.insert(serial, link);
        Stands { standing: Arc::clone(self), serial }
    }

    /// All of them as they are now, the oldest first.
    pub fn states(&self) -> Vec<LinkState> {
        self.links.lock().1.values().map(Link::state).collect()
    }
}

/// A link's place among them.
pub struct Stands {
    standing: Arc<Standing>,
    serial: u64,
}

impl Drop for Stands {
    fn drop(&mut self) {
        self.standing.links.lock().1.remove(&self.serial);
    }
}
