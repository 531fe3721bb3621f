//! One link to a peer, as a task: connect when something waits, send it, match replies, reconnect, end when idle.
//!
//! While the peer cannot be reached, what waits fails at once, and so does all that comes until the next attempt;
//! attempts are 50 ms apart at first and 1 s at last, and one is made at once when the peer itself gets in touch.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{interval, sleep, timeout};
use tracing::debug;

use super::fault::Fault;
use super::frame::{Class, Kind, PeerHello};
use super::link::{Identity, Inner, LinkError};
use super::net::Stream;
use super::secure::{self, End, Receiver, Sender};
use super::standing::Link;
use crate::base::limits::{
    PEER_BACKOFF_MS, PEER_CALLS_MAX, PEER_HANDSHAKE_MS, PEER_IDLE_MS, PEER_SILENT_MS, PEER_TICK_MS,
};
use crate::base::lock::Mutex;
use crate::cluster::id::NodeId;

/// Where whoever asks waits for the reply.
type Asker = oneshot::Sender<Result<Vec<u8>, LinkError>>;

/// A message that waits to be sent.
pub struct Waiting {
    /// A call or a cast.
    pub kind: Kind,
    /// Whom it is for, if that matters.
    pub node: Option<NodeId>,
    /// What it says.
    pub body: Bytes,
    /// Who waits for the reply to a call, or for a cast to be on its way.
    pub reply: Option<Asker>,
    /// What it takes of the queue's room, until it is sent.
    pub _room: OwnedSemaphorePermit,
}

impl Waiting {
    fn fail(self, error: LinkError) {
        if let Some(reply) = self.reply {
            // Whoever asked may have given up.
            let _ = reply.send(Err(error));
        }
    }
}

type Key = (SocketAddr, Class);

/// The task of the link `key`: until it has been idle, or all links are closed.
pub async fn run(
    inner: Arc<Inner>,
    key: Key,
    mut queue: mpsc::Receiver<Waiting>,
    room: Arc<Semaphore>,
    retry: Arc<Notify>,
) {
    let mut closed = inner.closed.subscribe();
    tokio::select! {
        () = keep(&inner, key, &mut queue, &room, &retry) => {}
        _ = closed.wait_for(|is_closed| *is_closed) => {}
    }
}

async fn keep(
    inner: &Arc<Inner>,
    key: Key,
    queue: &mut mpsc::Receiver<Waiting>,
    room: &Arc<Semaphore>,
    retry: &Notify,
) {
    let mut backoff_ms = *PEER_BACKOFF_MS.start();
    loop {
        let Ok(first) = timeout(Duration::from_millis(PEER_IDLE_MS), queue.recv()).await else {
            if leave(inner, key, queue) {
                return;
            }
            continue;
        };
        let Some(first) = first else {
            return;
        };
        let dialling = dial(inner, key);
        let dialled = timeout(Duration::from_millis(PEER_HANDSHAKE_MS), dialling);
        let end = match dialled.await.unwrap_or(Err(Fault::Slow.into())) {
            Ok(connection) => {
                let peer = connection.peer.node_id;
                debug!(to = %key.0, class = ?key.1, peer = %peer.short(), "linked");
                let stands = inner.standing.enter(connection.link(room));
                let (end, has_lasted) = connection.exchange(first, queue).await;
                drop(stands);
                if has_lasted {
                    backoff_ms = *PEER_BACKOFF_MS.start();
                }
                end
            }
            Err(end) => {
                first.fail(LinkError::Unreachable(end.to_string()));
                end
            }
        };
        if let End::Fault(fault) = end {
            inner.faults.count(fault, key.0);
        } else if matches!(end, End::Idle) {
            continue;
        }
        debug!(to = %key.0, class = ?key.1, "link ended: {end}");
        refuse(queue, &end, backoff_ms, retry).await;
        backoff_ms = (backoff_ms * 2).min(*PEER_BACKOFF_MS.end());
    }
}

/// Takes an idle link off the list, unless something has come for it meanwhile.
fn leave(inner: &Inner, key: Key, queue: &mut mpsc::Receiver<Waiting>) -> bool {
    let mut outgoing = inner.outgoing.lock();
    if !queue.is_empty() {
        return false;
    }
    // Senders that were handed out already find it closed, and ask for another.
    queue.close();
    outgoing.remove(&key);
    true
}

/// Fails what waits and what comes, for `pause_ms` or until the peer gets in touch.
async fn refuse(queue: &mut mpsc::Receiver<Waiting>, end: &End, pause_ms: u64, retry: &Notify) {
    let pause = sleep(Duration::from_millis(pause_ms));
    tokio::pin!(pause);
    loop {
        tokio::select! {
            biased;
            waiting = queue.recv() => match waiting {
                Some(waiting) => waiting.fail(LinkError::Unreachable(end.to_string())),
                None => return,
            },
            () = &mut pause => return,
            () = retry.notified() => return,
        }
    }
}

/// A link that is up.
struct Connection<'a> {
    inner: &'a Inner,
    peer: PeerHello,
    class: Class,
    to: SocketAddr,
    identity: watch::Receiver<Identity>,
    sender: Sender<WriteHalf<Box<dyn Stream>>>,
    receiver: Receiver<ReadHalf<Box<dyn Stream>>>,
}

/// Connects, encrypts, and learns who is there.
async fn dial(inner: &Arc<Inner>, (to, class): Key) -> Result<Connection<'_>, End> {
    let stream = inner.net.connect(to).await?;
    let halves = secure::initiate(stream, &inner.secret, class, inner.traffic(class)).await?;
    let (mut sender, mut receiver) = halves;
    let mut identity = inner.identity.clone();
    let hello = identity.borrow_and_update().hello(class, to).encode();
    sender.send(Kind::Hello, 0, &hello).await?;
    sender.flush().await?;
    let message = receiver.receive().await?;
    if message.kind != Kind::Hello {
        return Err(Fault::Malformed.into());
    }
    let peer = PeerHello::decode(&message.body)?;
    identity.borrow().check(&peer)?;
    Ok(Connection { inner, peer, class, to, identity, sender, receiver })
}

/// What the two directions of a link share.
struct Shared {
    /// Requests that were sent and wait for their replies.
    pending: Mutex<HashMap<u32, Asker>>,
    /// Whether anything was sent since the last tick.
    is_used: AtomicBool,
    ping: Notify,
}

impl Connection<'_> {
    /// The link as it is listed; `room` is what is left of its queue.
    fn link(&self, room: &Arc<Semaphore>) -> Link {
        Link {
            node: self.peer.node_id,
            class: self.class,
            since_ms: self.inner.clock.wall_ms(),
            backlog: self.sender.backlog(),
            room: Some(Arc::clone(room)),
        }
    }

    /// Sends `first` and what comes, until the link ends: why, and whether it had stood for a while. Whoever waits for
    /// a reply then is told.
    async fn exchange(self, first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> (End, bool) {
        let shared =
            Shared { pending: Mutex::default(), is_used: AtomicBool::new(true), ping: Notify::new() };
        let heard = self.receiver.heard();
        let has_lasted = AtomicBool::new(false);
        let peer_id = self.peer.node_id;
        let sending = Sending {
            shared: &shared,
            peer_id,
            hello_to: (self.class, self.to),
            sender: self.sender,
            next_id: 1,
        };
        let end = tokio::select! {
            Err(end) = sending.run(first, queue, self.identity.clone()) => end,
            Err(end) = receive(self.receiver, &shared, self.inner, self.peer) => end,
            end = watch_over(&shared, &heard, &has_lasted) => end,
        };
        for (_, reply) in shared.pending.lock().drain() {
            let _ = reply.send(Err(LinkError::Lost));
        }
        (end, has_lasted.into_inner())
    }
}

/// The sending direction.
struct Sending<'a> {
    shared: &'a Shared,
    peer_id: NodeId,
    hello_to: (Class, SocketAddr),
    sender: Sender<WriteHalf<Box<dyn Stream>>>,
    next_id: u32,
}

impl Sending<'_> {
    async fn run(
        mut self,
        first: Waiting,
        queue: &mut mpsc::Receiver<Waiting>,
        mut identity: watch::Receiver<Identity>,
    ) -> Result<Infallible, End> {
        self.send(first).await?;
        loop {
            while !self.sender.is_full()
                && let Ok(waiting) = queue.try_recv()
            {
                self.send(waiting).await?;
            }
            self.sender.flush().await?;
            tokio::select! {
                biased;
                waiting = queue.recv() => match waiting {
                    Some(waiting) => self.send(waiting).await?,
                    None => return Err(End::Closed),
                },
                Ok(()) = identity.changed() => {
                    let hello = identity.borrow_and_update().hello(self.hello_to.0, self.hello_to.1);
                    self.sender.send(Kind::Hello, 0, &hello.encode()).await?;
                }
                () = self.shared.ping.notified() => self.sender.send(Kind::Ping, 0, &[]).await?,
            }
        }
    }

    /// Seals one message, unless it is for another node or nobody waits for its reply any more.
    async fn send(&mut self, waiting: Waiting) -> Result<(), End> {
        if waiting.node.is_some_and(|node| node != self.peer_id) {
            // Who was here may have vanished, and another node have its address: then it gives no sign of life, and the
            // next link is to that one. An idle link is not asked for any otherwise.
            self.shared.is_used.store(true, Ordering::Relaxed);
            waiting.fail(LinkError::OtherNode(self.peer_id));
            return Ok(());
        }
        let Waiting { kind, body, mut reply, .. } = waiting;
        let mut id = 0;
        if kind == Kind::Call {
            let Some(asker) = reply.take().filter(|asker| !asker.is_closed()) else {
                return Ok(());
            };
            match self.expect(asker) {
                Some(expected) => id = expected,
                None => return Ok(()),
            }
        }
        self.shared.is_used.store(true, Ordering::Relaxed);
        self.sender.send(kind, id, &body).await?;
        if let Some(sender) = reply {
            // Whoever sent it may not wait any more.
            let _ = sender.send(Ok(Vec::new()));
        }
        Ok(())
    }

    /// Notes who waits for the reply to a request; its id, unless too many wait already.
    fn expect(&mut self, asker: Asker) -> Option<u32> {
        let mut pending = self.shared.pending.lock();
        if pending.len() >= PEER_CALLS_MAX {
            let _ = asker.send(Err(LinkError::Full));
            return None;
        }
        // At most a few thousand are in use of four thousand million.
        while pending.contains_key(&self.next_id) || self.next_id == 0 {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        pending.insert(id, asker);
        Some(id)
    }
}

/// The receiving direction.
async fn receive(
    mut receiver: Receiver<ReadHalf<Box<dyn Stream>>>,
    shared: &Shared,
    inner: &Inner,
    peer: PeerHello,
) -> Result<Infallible, End> {
    loop {
        let message = receiver.receive().await?;
        let outcome = match message.kind {
            Kind::Reply => Ok(message.body),
            Kind::Busy => Err(LinkError::Busy),
            Kind::Pong => continue,
            Kind::Hello => {
                let hello = PeerHello::decode(&message.body)?;
                if hello.node_id != peer.node_id || hello.incarnation != peer.incarnation {
                    return Err(Fault::Malformed.into());
                }
                inner.identity.borrow().check(&hello)?;
                continue;
            }
            Kind::Call | Kind::Cast | Kind::Ping => return Err(Fault::Malformed.into()),
        };
        // A reply that nobody waits for any more is dropped.
        if let Some(reply) = shared.pending.lock().remove(&message.id) {
            let _ = reply.send(outcome);
        }
    }
}

/// Asks for a sign of life where one is due, and ends a link that gives none or that is not needed.
async fn watch_over(shared: &Shared, heard: &AtomicBool, has_lasted: &AtomicBool) -> End {
    let mut ticks = interval(Duration::from_millis(PEER_TICK_MS));
    let (mut silent_ms, mut idle_ms) = (0, 0);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let is_waiting = {
            let mut pending = shared.pending.lock();
            pending.retain(|_, reply| !reply.is_closed());
            !pending.is_empty()
        };
        let is_used = shared.is_used.swap(false, Ordering::Relaxed) || is_waiting;
        idle_ms = if is_used { 0 } else { idle_ms + PEER_TICK_MS };
        if heard.swap(false, Ordering::Relaxed) {
            has_lasted.store(true, Ordering::Relaxed);
            silent_ms = 0;
        } else if is_used || silent_ms > 0 {
            silent_ms += PEER_TICK_MS;
            shared.ping.notify_one();
        }
        if silent_ms >= PEER_SILENT_MS {
            return Fault::Silent.into();
        }
        if idle_ms >= PEER_IDLE_MS {
            return End::Idle;
        }
    }
}
