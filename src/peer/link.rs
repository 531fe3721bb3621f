//! Links between nodes: requests with replies, and messages without, to whoever is at an address.
//!
//! There is one connection for each address and class, made when it is first needed, made again when it has died and
//! something is to be sent, closed when it has been idle. Its requests share it and are matched to their replies by id.
//! A request fails at once when its link dies, or when the peer could not be reached and is not to be tried again yet;
//! nothing is ever sent twice. Whether a request that was lost or timed out was served is unknown.
//!
//! Everything is bounded: links, messages and bytes that wait for one, requests under way, requests being served.
//! [`Links::call`] waits for room within its timeout, [`Links::deliver`] waits until the message leaves or the link is
//! lost, [`Links::cast`] drops the message instead.
//!
//! An address is no identity: whoever needs a certain node at its end says so by [`Target::node`].

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use super::fault::{Fault, Faults};
use super::frame::{Class, Kind, PROTOCOL_MINOR, PeerHello};
use super::net::{BoxFuture, Listener, Net};
use super::outgoing::{self, Waiting};
use super::secure::{Secret, Traffic};
use super::serving::{self, Served};
use super::standing::{LinkState, Standing};
use crate::base::clock::Clock;
use crate::base::limits::{PEER_LINKS_MAX, PEER_QUEUE_BYTES, PEER_QUEUE_MAX};
use crate::base::lock::Mutex;
use crate::cluster::id::{ClusterId, NodeId};

/// Who this node is to others. When it changes, the other end of each link is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the cluster; never changes.
    pub cluster_name: String,
    /// This node's id; never changes.
    pub node_id: NodeId,
    /// Which start of the node this is; never changes.
    pub incarnation: u64,
    /// The cluster that it belongs to; not founded while it belongs to none.
    pub cluster: ClusterId,
    /// The address that others reach it by.
    pub peer_addr: SocketAddr,
}

impl Identity {
    pub(super) fn hello(&self, class: Class, dialled: SocketAddr) -> PeerHello {
        PeerHello {
            minor: PROTOCOL_MINOR,
            class,
            node_id: self.node_id,
            incarnation: self.incarnation,
            cluster: self.cluster,
            peer_addr: self.peer_addr,
            dialled,
            cluster_name: self.cluster_name.clone(),
        }
    }

    /// Whether a link to or from whoever says `theirs` may be.
    pub(super) fn check(&self, theirs: &PeerHello) -> Result<(), Fault> {
        if theirs.cluster_name != self.cluster_name {
            Err(Fault::OtherName)
        } else if theirs.node_id == self.node_id && theirs.incarnation == self.incarnation {
            Err(Fault::Myself)
        } else if theirs.cluster.is_founded() && self.cluster.is_founded() && theirs.cluster != self.cluster {
            Err(Fault::OtherCluster)
        } else {
            Ok(())
        }
    }
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The peer could not be reached, now or a moment ago; it was sent nothing. With the reason.
    Unreachable(String),
    /// The link died; the request may have been served.
    Lost,
    /// No reply in time; the request may have been served.
    Timeout,
    /// Too many links or requests here; it was sent nothing.
    Full,
    /// The peer serves too many requests already; it did not serve this one.
    Busy,
    /// Another node than the one asked for is at the address; it was sent nothing.
    OtherNode(NodeId),
    /// The body is longer than its class allows; it was sent nothing.
    TooLong,
    /// The links of this node are closed.
    Closed,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "not reachable: {reason}"),
            Self::Lost => f.write_str("the link was lost"),
            Self::Timeout => f.write_str("no reply in time"),
            Self::Full => f.write_str("too much is under way"),
            Self::Busy => f.write_str("the peer is busy"),
            Self::OtherNode(id) => write!(f, "node {} is at the address", id.short()),
            Self::TooLong => f.write_str("the message is too long"),
            Self::Closed => f.write_str("this node is shutting down"),
        }
    }
}

impl std::error::Error for LinkError {}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    addr: SocketAddr,
    node: Option<NodeId>,
    class: Class,
}

impl Target {
    /// To `node` at `addr`, and to nobody else.
    pub fn node(addr: SocketAddr, node: NodeId) -> Self {
        Self { addr, node: Some(node), class: Class::Control }
    }

    /// The same by another class of link.
    pub fn by(self, class: Class) -> Self {
        Self { class, ..self }
    }
}

/// To whichever node is at an address, by a link of control.
impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, node: None, class: Class::Control }
    }
}

/// What serves the messages of other nodes. It is called on the links' own task: it must not block.
pub trait Handler: Send + Sync + 'static {
    /// A request. The future runs as a task of its own, to its end even if the link dies.
    fn call(&self, from: &PeerHello, body: Vec<u8>) -> BoxFuture<'static, Vec<u8>>;

    /// A message without reply. Those of one link come in the order in which they were sent.
    fn cast(&self, from: &PeerHello, body: Vec<u8>);
}

/// The links of a node; cheap to clone. Needs a tokio runtime with time.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) net: Arc<dyn Net>,
    pub(super) identity: watch::Receiver<Identity>,
    pub(super) secret: Secret,
    pub(super) faults: Faults,
    control: Arc<Traffic>,
    bulk: Arc<Traffic>,
    publish: Arc<Traffic>,
    pub(super) outgoing: Mutex<HashMap<(SocketAddr, Class), Outgoing>>,
    pub(super) served: Mutex<Served>,
    pub(super) standing: Arc<Standing>,
    pub(super) clock: Clock,
    pub(super) closed: watch::Sender<bool>,
}

/// The near end of a link's task.
pub(super) struct Outgoing {
    pub(super) queue: mpsc::Sender<Waiting>,
    pub(super) room: Arc<Semaphore>,
    /// Ends a pause before the next attempt to connect.
    pub(super) retry: Arc<Notify>,
}

impl Inner {
    pub(super) fn traffic(&self, class: Class) -> &Arc<Traffic> {
        match class {
            Class::Control => &self.control,
            Class::Bulk => &self.bulk,
            Class::Publish => &self.publish,
        }
    }
}

impl Links {
    /// The links of the node that `identity` tells of; its name is the one that `secret` was made for.
    pub fn new(
        net: Arc<dyn Net>,
        identity: watch::Receiver<Identity>,
        cluster_secret: &[u8],
        clock: Clock,
    ) -> Self {
        let secret = Secret::new(cluster_secret, &identity.borrow().cluster_name);
        let inner = Inner {
            net,
            identity,
            secret,
            faults: Faults::new(clock.clone()),
            control: Arc::default(),
            bulk: Arc::default(),
            publish: Arc::default(),
            outgoing: Mutex::default(),
            served: Mutex::default(),
            standing: Arc::default(),
            clock,
            closed: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sends a request and waits for its reply, `timeout` at most, which includes connecting.
    pub async fn call(
        &self,
        to: impl Into<Target>,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let to = to.into();
        if body.len() > to.class.body_max_bytes() {
            return Err(LinkError::TooLong);
        }
        let calling = self.send(to, Kind::Call, body.into());
        tokio::time::timeout(timeout, calling).await.unwrap_or(Err(LinkError::Timeout))
    }

    /// Sends a message that has no reply, and waits until it is on its way or known to be lost. On its way is not there:
    /// it is lost all the same if the link then dies.
    ///
    /// # Errors
    /// It was not sent.
    pub async fn deliver(&self, to: impl Into<Target>, body: Bytes) -> Result<(), LinkError> {
        let to = to.into();
        if body.len() > to.class.body_max_bytes() {
            return Err(LinkError::TooLong);
        }
        self.send(to, Kind::Cast, body).await.map(drop)
    }

    async fn send(&self, to: Target, kind: Kind, body: Bytes) -> Result<Vec<u8>, LinkError> {
        let (queue, room) = self.queue(to)?;
        let permit = room.acquire_many_owned(cost(&body)).await.map_err(|_| LinkError::Closed)?;
        let (reply, replied) = oneshot::channel();
        let waiting = Waiting { kind, node: to.node, body, reply: Some(reply), _room: permit };
        if let Err(unsent) = queue.send(waiting).await {
            // The link's task ended for lack of work just now: the next one takes it.
            let (queue, _) = self.queue(to)?;
            queue.send(unsent.0).await.map_err(|_| LinkError::Lost)?;
        }
        replied.await.unwrap_or(Err(LinkError::Lost))
    }

    /// Sends a message that has no reply, or drops it: when too much waits for that link already, when the peer cannot
    /// be reached, when the link dies. Whether it was taken.
    pub fn cast(&self, to: impl Into<Target>, body: Vec<u8>) -> bool {
        let to = to.into();
        if body.len() > to.class.body_max_bytes() {
            return false;
        }
        let Ok((queue, room)) = self.queue(to) else {
            return false;
        };
        let Ok(permit) = room.try_acquire_many_owned(cost(&body)) else {
            return false;
        };
        let waiting =
            Waiting { kind: Kind::Cast, node: to.node, body: body.into(), reply: None, _room: permit };
        queue.try_send(waiting).is_ok()
    }

    /// Serves what other nodes send, until [`Links::close`].
    pub async fn serve(&self, listener: Box<dyn Listener>, handler: Arc<dyn Handler>) {
        serving::serve(self.inner.clone(), listener, handler).await;
    }

    /// Ends all links and refuses new ones.
    pub fn close(&self) {
        self.inner.closed.send_replace(true);
        self.inner.outgoing.lock().clear();
    }

    /// How often links were refused or dropped, by reason.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Bytes over links of `class`.
    pub fn traffic(&self, class: Class) -> &Traffic {
        self.inner.traffic(class)
    }

    /// Links to other nodes that there are or that are being made.
    pub fn outgoing(&self) -> usize {
        self.inner.outgoing.lock().len()
    }

    /// Links from other nodes.
    pub fn incoming(&self) -> usize {
        self.inner.served.lock().len()
    }

    /// The links that stand, in both directions.
    pub fn standing(&self) -> Vec<LinkState> {
        self.inner.standing.states()
    }

    /// The queue of the link to `to`, and the room in it; starts the link if there is none.
    fn queue(&self, to: Target) -> Result<(mpsc::Sender<Waiting>, Arc<Semaphore>), LinkError> {
        if *self.inner.closed.borrow() {
            return Err(LinkError::Closed);
        }
        let key = (to.addr, to.class);
        let mut outgoing = self.inner.outgoing.lock();
        if let Some(link) = outgoing.get(&key).filter(|link| !link.queue.is_closed()) {
            return Ok((link.queue.clone(), link.room.clone()));
        }
        if outgoing.len() >= PEER_LINKS_MAX {
            return Err(LinkError::Full);
        }
        let (queue, waiting) = mpsc::channel(PEER_QUEUE_MAX);
        let room = Arc::new(Semaphore::new(PEER_QUEUE_BYTES));
        let retry = Arc::new(Notify::new());
        let link = Outgoing { queue: queue.clone(), room: room.clone(), retry: retry.clone() };
        outgoing.insert(key, link);
        drop(outgoing);
        tokio::spawn(outgoing::run(self.inner.clone(), key, waiting, room.clone(), retry));
        Ok((queue, room))
    }
}

/// What a message takes of a queue's room; bodies are bounded far below 4 GiB.
fn cost(body: &[u8]) -> u32 {
    body.len().max(1) as u32
}
