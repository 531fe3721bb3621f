//! The links that other nodes made to this one: accept, learn who it is, serve what it sends.
//!
//! Until a peer has shown that it knows the secret and said who it is, it holds one of [`PEER_HANDSHAKES_MAX`] places,
//! for [`PEER_HANDSHAKE_MS`] at most. Afterwards its requests run as tasks beside each other; those beyond
//! [`PEER_SERVING_BYTES`] are answered as busy. A link that is replaced by a newer one of the same peer ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{interval, sleep, timeout};
use tracing::{debug, error, warn};

use super::fault::Fault;
use super::frame::{Class, Kind, Message, PeerHello};
use super::link::{Handler, Identity, Inner};
use super::net::{Listener, Stream};
use super::secure::{self, End, Receiver, Sender};
use super::standing::{Backlog, Link, Queued};
use crate::base::limits::{
    PEER_BACKOFF_MS, PEER_HANDSHAKE_MS, PEER_HANDSHAKES_MAX, PEER_QUEUE_MAX, PEER_SERVED_IDLE_MS,
    PEER_SERVED_MAX, PEER_SERVING_BYTES, PEER_SERVING_MIN_BYTES, PEER_TICK_MS,
};
use crate::cluster::id::NodeId;

/// Accepts connections until all links are closed.
pub async fn serve(inner: Arc<Inner>, listener: Box<dyn Listener>, handler: Arc<dyn Handler>) {
    let mut closed = inner.closed.subscribe();
    let places = Arc::new(Semaphore::new(PEER_HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|is_closed| *is_closed) => return,
        };
        match accepted {
            Ok((stream, from)) => match places.clone().try_acquire_owned() {
                Ok(place) => {
                    tokio::spawn(admit(inner.clone(), handler.clone(), stream, from, place));
                }
                Err(_) => inner.faults.count(Fault::TooMany, from),
            },
            Err(error) => {
                warn!("no connection of a node can be accepted: {error}");
                sleep(Duration::from_millis(*PEER_BACKOFF_MS.end())).await;
            }
        }
    }
}

/// One accepted connection from its first byte to its last.
async fn admit(
    inner: Arc<Inner>,
    handler: Arc<dyn Handler>,
    stream: Box<dyn Stream>,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
) {
    let mut closed = inner.closed.subscribe();
    let serving = async {
        let greeting = timeout(Duration::from_millis(PEER_HANDSHAKE_MS), greet(&inner, stream));
        let session = greeting.await.unwrap_or(Err(Fault::Slow.into()))?;
        drop(place);
        session.run(&inner, handler).await
    };
    let end = tokio::select! {
        Err(end) = serving => end,
        _ = closed.wait_for(|is_closed| *is_closed) => return,
    };
    debug!(%from, "link of a node ended: {end}");
    if let End::Fault(fault) = end {
        inner.faults.count(fault, from);
    }
}

/// An accepted link whose other end is known.
struct Session {
    peer: PeerHello,
    identity: watch::Receiver<Identity>,
    sender: Sender<WriteHalf<Box<dyn Stream>>>,
    receiver: Receiver<ReadHalf<Box<dyn Stream>>>,
}

async fn greet(inner: &Arc<Inner>, stream: Box<dyn Stream>) -> Result<Session, End> {
    let (mut sender, mut receiver) =
        secure::respond(stream, &inner.secret, inner.traffic(Class::Control)).await?;
    let message = receiver.receive().await?;
    if message.kind != Kind::Hello {
        return Err(Fault::Malformed.into());
    }
    let peer = PeerHello::decode(&message.body)?;
    let mut identity = inner.identity.clone();
    let own = identity.borrow_and_update().clone();
    // Said even to those who are refused, so that they can tell why.
    sender.send(Kind::Hello, 0, &own.hello(peer.class, own.peer_addr).encode()).await?;
    sender.flush().await?;
    own.check(&peer)?;
    receiver.set_class(peer.class);
    let traffic = inner.traffic(peer.class);
    sender.set_traffic(traffic.clone());
    receiver.set_traffic(traffic.clone());
    Ok(Session { peer, identity, sender, receiver })
}

/// A reply on its way.
struct Reply {
    kind: Kind,
    id: u32,
    body: Vec<u8>,
    /// What its request counts as being served, until it is sent.
    _served: Option<OwnedSemaphorePermit>,
    /// It waits, until it is sent.
    _queued: Queued,
}

impl Session {
    async fn run(self, inner: &Arc<Inner>, handler: Arc<dyn Handler>) -> Result<Infallible, End> {
        let key = (self.peer.node_id, self.peer.incarnation, self.peer.class, self.peer.dialled);
        let entry = Entry::new(inner, key)?;
        let heard = self.receiver.heard();
        let (replies, waiting) = mpsc::channel(PEER_QUEUE_MAX);
        wake(inner, self.peer.peer_addr);
        let hello_to = self.peer.class;
        let backlog = self.sender.backlog();
        let _stands = inner.standing.enter(Link {
            node: self.peer.node_id,
            class: self.peer.class,
            since_ms: inner.clock.wall_ms(),
            backlog: backlog.clone(),
            room: None,
        });
        let reading = Reading {
            inner,
            handler,
            replies,
            room: Arc::new(Semaphore::new(PEER_SERVING_BYTES)),
            backlog,
            peer: self.peer,
        };
        let Entry { replaced, _place } = entry;
        tokio::select! {
            end = reading.run(self.receiver) => end,
            end = write(self.sender, waiting, self.identity, hello_to) => end,
            end = watch_over(&heard) => Err(end),
            _ = replaced => Err(Fault::Replaced.into()),
        }
    }
}

/// Lets this node's own links to the peer try again at once: it is there.
fn wake(inner: &Inner, peer_addr: SocketAddr) {
    let outgoing = inner.outgoing.lock();
    for class in Class::ALL {
        if let Some(link) = outgoing.get(&(peer_addr, class)) {
            link.retry.notify_waiters();
        }
    }
}

/// The receiving direction.
struct Reading<'a> {
    inner: &'a Inner,
    handler: Arc<dyn Handler>,
    replies: mpsc::Sender<Reply>,
    room: Arc<Semaphore>,
    backlog: Arc<Backlog>,
    peer: PeerHello,
}

impl Reading<'_> {
    async fn run(mut self, mut receiver: Receiver<ReadHalf<Box<dyn Stream>>>) -> Result<Infallible, End> {
        loop {
            let Message { kind, id, body } = receiver.receive().await?;
            match kind {
                Kind::Cast => {
                    self.handler.cast(&self.peer, body);
                    if self.peer.class == Class::Publish {
                        // However much is published, what keeps the node in the cluster has its turn.
                        yield_now().await;
                    }
                }
                Kind::Call => self.call(id, body).await?,
                Kind::Ping => self.reply(Kind::Pong, id).await?,
                Kind::Hello => self.update(&body)?,
                Kind::Reply | Kind::Busy | Kind::Pong => return Err(Fault::Malformed.into()),
            }
        }
    }

    async fn call(&self, id: u32, body: Vec<u8>) -> Result<(), End> {
        let cost = body.len().max(PEER_SERVING_MIN_BYTES) as u32;
        let Ok(served) = self.room.clone().try_acquire_many_owned(cost) else {
            return self.reply(Kind::Busy, id).await;
        };
        let serving = self.handler.call(&self.peer, body);
        let (replies, backlog) = (self.replies.clone(), self.backlog.clone());
        let body_max_bytes = self.peer.class.body_max_bytes();
        tokio::spawn(async move {
            let mut body = serving.await;
            let mut kind = Kind::Reply;
            if body.len() > body_max_bytes {
                error!(bytes = body.len(), "a reply to a node is too long, and was not sent");
                (kind, body) = (Kind::Busy, Vec::new());
            }
            let _queued = backlog.queue(body.len());
            // The link may be gone; then nobody waits.
            let _ = replies.send(Reply { kind, id, body, _served: Some(served), _queued }).await;
        });
        Ok(())
    }

    /// Waits for room: a peer that asks and does not read is not read from.
    async fn reply(&self, kind: Kind, id: u32) -> Result<(), End> {
        let reply = Reply { kind, id, body: Vec::new(), _served: None, _queued: self.backlog.queue(0) };
        self.replies.send(reply).await.map_err(|_| End::Closed)
    }

    fn update(&mut self, body: &[u8]) -> Result<(), Fault> {
        let hello = PeerHello::decode(body)?;
        let same = hello.node_id == self.peer.node_id
            && hello.incarnation == self.peer.incarnation
            && hello.class == self.peer.class;
        if !same {
            return Err(Fault::Malformed);
        }
        self.inner.identity.borrow().check(&hello)?;
        self.peer = hello;
        Ok(())
    }
}

/// The sending direction.
async fn write(
    mut sender: Sender<WriteHalf<Box<dyn Stream>>>,
    mut waiting: mpsc::Receiver<Reply>,
    mut identity: watch::Receiver<Identity>,
    class: Class,
) -> Result<Infallible, End> {
    loop {
        tokio::select! {
            biased;
            reply = waiting.recv() => match reply {
                Some(reply) => sender.send(reply.kind, reply.id, &reply.body).await?,
                None => return Err(End::Closed),
            },
            Ok(()) = identity.changed() => {
                let own = identity.borrow_and_update().clone();
                sender.send(Kind::Hello, 0, &own.hello(class, own.peer_addr).encode()).await?;
            }
        }
        while !sender.is_full()
            && let Ok(reply) = waiting.try_recv()
        {
            sender.send(reply.kind, reply.id, &reply.body).await?;
        }
        sender.flush().await?;
    }
}

/// Ends a link over which nothing has come for longer than its maker would have kept it.
async fn watch_over(heard: &AtomicBool) -> End {
    let mut ticks = interval(Duration::from_millis(PEER_TICK_MS));
    let mut idle_ms = 0;
    while idle_ms < PEER_SERVED_IDLE_MS {
        ticks.tick().await;
        idle_ms = if heard.swap(false, Ordering::Relaxed) { 0 } else { idle_ms + PEER_TICK_MS };
    }
    Fault::Silent.into()
}

type Key = (NodeId, u64, Class, SocketAddr);

/// The accepted links, each with what ends it.
#[derive(Default)]
pub struct Served {
    links: HashMap<Key, (u64, oneshot::Sender<()>)>,
    next_serial: u64,
}

impl Served {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }
}

/// A link's place among those that are served.
struct Entry {
    /// Resolves when a newer link takes the place.
    replaced: oneshot::Receiver<()>,
    _place: Place,
}

impl Entry {
    /// Takes the place of `key`, from its former holder if there is one.
    fn new(inner: &Arc<Inner>, key: Key) -> Result<Self, Fault> {
        let mut served = inner.served.lock();
        if served.links.len() >= PEER_SERVED_MAX && !served.links.contains_key(&key) {
            return Err(Fault::TooMany);
        }
        let serial = served.next_serial;
        served.next_serial += 1;
        let (ending, replaced) = oneshot::channel();
        served.links.insert(key, (serial, ending));
        Ok(Self { replaced, _place: Place { inner: inner.clone(), key, serial } })
    }
}

struct Place {
    inner: Arc<Inner>,
    key: Key,
    serial: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut served = self.inner.served.lock();
        if served.links.get(&self.key).is_some_and(|(serial, _)| *serial == self.serial) {
            served.links.remove(&self.key);
        }
    }
}
