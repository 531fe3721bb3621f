//! What commands and metrics know of the cluster: the routes, a picture of how the node is doing, counters, and the
//! wishes of operators, which the node's own tasks carry out. A server without a cluster has the same, empty.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::base::limits::CLUSTER_WISHES_MAX;
use crate::base::lock::{Mutex, RwLock};
use crate::cluster::id::{ClusterId, NodeId};
use crate::cluster::route::Routes;
use crate::hub::clients::{Client, signal};
use crate::hub::gateway::GatewayCounters;
use crate::metrics::histogram::{Distribution, Histogram};

/// How far a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is no cluster.
    #[default]
    Alone,
    /// Looks for others of its name.
    Seeking,
    /// Knows the cluster and has asked to be taken in.
    Joining,
    /// Is a member and holds a lease.
    Serving,
    /// Is a member without a lease: it answers no data command.
    Unleased,
    /// Gives its slots away, then leaves.
    Draining,
    /// Has left.
    Left,
}

impl Phase {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Seeking => "seeking",
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::Unleased => "unleased",
            Self::Draining => "draining",
            Self::Left => "left",
        }
    }
}

/// Another node as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerVitals {
    /// Its id.
    pub id: NodeId,
    /// Whether it is heard of.
    pub alive: bool,
    /// When it was last heard of, in Unix ms.
    pub heard_ms: u64,
    /// The version of the table that it says it has.
    pub version: u64,
}

/// A link to or from another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkVitals {
    /// The node at its other end.
    pub node: NodeId,
    /// Whether this node made it.
    pub outgoing: bool,
    /// When it was made, in Unix ms.
    pub since_ms: u64,
    /// Bytes that wait to be sent over it.
    pub used_bytes: u64,
    /// Bytes that these take, with what buffers have to spare.
    pub allocated_bytes: u64,
}

/// A move that this node is source or target of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveVitals {
    /// The move.
    pub id: u64,
    /// First and last slot.
    pub slots: (u16, u16),
    /// The other node.
    pub peer: NodeId,
    /// Whether this node is the source.
    pub outgoing: bool,
    /// Keys sent or received.
    pub keys: u64,
    /// Bytes sent or received.
    pub bytes: u64,
    /// When it began, in Unix ms.
    pub began_ms: u64,
}

/// How the node is doing; replaced as a whole by its tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// This node.
    pub me: NodeId,
    /// Which process of it.
    pub incarnation: u64,
    /// The cluster, once it is known.
    pub cluster: ClusterId,
    /// How far the node is.
    pub phase: Phase,
    /// Why it is no further, for people; empty if there is nothing to say.
    pub why: String,
    /// Who leads the voters.
    pub leader: Option<NodeId>,
    /// Who votes on the table.
    pub voters: Vec<NodeId>,
    /// The leader's term.
    pub term: u64,
    /// The other nodes.
    pub peers: Vec<PeerVitals>,
    /// The links that stand.
    pub links: Vec<LinkVitals>,
    /// Moves that this node takes part in.
    pub moves: Vec<MoveVitals>,
    /// Links and messages of other nodes that were dropped since the start, by reason; always the same reasons.
    pub dropped: Vec<(&'static str, u64)>,
}

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $name:ident, )+) => {
        /// Counts since the start.
        #[derive(Debug, Default)]
        pub struct ClusterCounters { $( $(#[doc = $doc])+ pub $name: AtomicU64, )+ }

        impl ClusterCounters {
            /// All of them, by name.
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$( (stringify!($name), self.$name.load(Ordering::Relaxed)), )+]
            }
        }
    };
}

counters! {
    /// Leases that this node was granted.
    leases_granted,
    /// Requests for a lease that were refused or not answered.
    leases_refused,
    /// Times that this node's lease ran out.
    leases_expired,
    /// Leases that this node granted, as leader.
    grants_given,
    /// Processes that this node gave up, as leader.
    nodes_given_up,
    /// Times that this node became leader.
    leaderships,
    /// Commands answered by MOVED.
    redirects,
    /// Commands answered by CROSSSLOT.
    crossslots,
    /// Commands answered by CLUSTERDOWN.
    refusals,
    /// Commands that waited for a held slot.
    holds,
    /// Moves that were carried out, as source.
    moves_committed,
    /// Moves that were cancelled, as source.
    moves_cancelled,
    /// Keys sent in moves.
    moved_keys,
    /// Bytes sent in moves.
    moved_bytes,
    /// Messages of gossip sent to other nodes.
    gossip_sent_messages,
    /// Messages of gossip received from other nodes.
    gossip_received_messages,
    /// Bytes of gossip sent to other nodes.
    gossip_sent_bytes,
    /// Bytes of gossip received from other nodes.
    gossip_received_bytes,
}

/// Adds one to a counter.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What an operator wants of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A node is to give its slots away and leave; without an id, this one.
    Drain(Option<NodeId>),
    /// This node is to take its share again, although it was to leave.
    Stay,
    /// The voters are lost for good: go on with this node's table.
    Reform,
}

/// A wish and where its outcome goes: nothing, or why it cannot be.
pub type WishInHand = (Wish, oneshot::Sender<Result<(), String>>);

/// The cluster as the layers above see it.
#[derive(Debug)]
pub struct Cluster {
    /// What is served here, and where the rest is.
    pub routes: Arc<Routes>,
    /// Counts since the start.
    pub counters: ClusterCounters,
    /// Counts of the gateway.
    pub gateway: GatewayCounters,
    /// For how long slots were held.
    hold_times: Histogram,
    vitals: RwLock<Arc<Vitals>>,
    /// Clients whose next command waits for a held slot, by id; one entry each.
    held: Mutex<HashMap<u64, Arc<Client>>>,
    wishes: mpsc::Sender<WishInHand>,
    wished: Mutex<Option<mpsc::Receiver<WishInHand>>>,
}

impl Cluster {
    /// Without, or before there is, a cluster.
    pub fn new(routes: Routes) -> Self {
        let (wishes, wished) = mpsc::channel(CLUSTER_WISHES_MAX);
        Self {
            routes: Arc::new(routes),
            counters: ClusterCounters::default(),
            gateway: GatewayCounters::default(),
            hold_times: Histogram::default(),
            vitals: RwLock::default(),
            held: Mutex::default(),
            wishes,
            wished: Mutex::new(Some(wished)),
        }
    }

    /// Whether this server is, or wants to be, a cluster's member.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.routes.is_clustered()
    }

    /// How the node is doing.
    pub fn vitals(&self) -> Arc<Vitals> {
        Arc::clone(&self.vitals.read())
    }

    /// Replaces the picture of how the node is doing.
    pub fn set_vitals(&self, vitals: Vitals) {
        *self.vitals.write() = Arc::new(vitals);
    }

    /// Notes for how long slots of a move were held, in ns. For the node's own tasks, which share one thread.
    pub fn note_hold(&self, held_ns: u64) {
        self.hold_times.record(held_ns);
    }

    /// For how long slots were held since the start.
    pub fn hold_times(&self) -> Distribution {
        let mut times = Distribution::default();
        self.hold_times.add_to(&mut times);
        times
    }

    /// Notes that a client waits for a held slot. It also tries again by itself, so that none is forgotten.
    pub fn hold(&self, client: &Arc<Client>) {
        self.held.lock().insert(client.id, Arc::clone(client));
    }

    /// Lets all clients that wait for a held slot try again.
    pub fn release(&self) {
        for (_, client) in std::mem::take(&mut *self.held.lock()) {
            client.signal(signal::RESUME);
        }
    }

    /// Hands a wish to the node's tasks; its outcome comes out of the receiver.
    ///
    /// # Errors
    /// There are too many, or nobody to fulfil them.
    pub fn wish(&self, wish: Wish) -> Result<oneshot::Receiver<Result<(), String>>, &'static str> {
        let (outcome, receiver) = oneshot::channel();
        match self.wishes.try_send((wish, outcome)) {
            Ok(()) => Ok(receiver),
            Err(_) => Err("too many requests to the cluster are under way: try again later"),
        }
    }

    /// Where wishes come out; for the one task that fulfils them.
    pub fn take_wishes(&self) -> Option<mpsc::Receiver<WishInHand>> {
        self.wished.lock().take()
    }
}
