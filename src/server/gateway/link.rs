//! A pipelined connection to another node's client port, as a client of this cluster. Requests of many connections go
//! out together; replies are cut from the stream and handed, as they came, to whoever waits for them.
//!
//! Everything happens on one worker's thread: requests are put into the link's buffer by connections, and its own task
//! writes and reads. When the link ends, each request in it learns whether a byte of it was sent: if none was, it may be
//! sent again elsewhere; otherwise its fate is unknown.
//!
//! Requests of a slot keep their order even where the slot leaves the other node and comes back to it: what it refuses
//! makes it refuse all of that slot that was sent before it is told that this side has heard of it, which the link does
//! at once ([`GATEWAY_CAPABILITY`]).
//!
//! A link on which one client waits in a blocking command is silent for as long as that lasts. It ends when the node has
//! not owned the slot for [`GATEWAY_ASTRAY_MS`], or is late by [`GATEWAY_SILENT_MS`] with its answer that time is up.
//!
//! Bounds: [`GATEWAY_LINK_BYTES`] and [`GATEWAY_LINK_REQUESTS`] waiting,
//! [`GATEWAY_REPLY_MAX_BYTES`] for a reply, [`GATEWAY_CONNECT_MS`] to connect, [`GATEWAY_SILENT_MS`] without a byte.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::debug;

use crate::base::limits::{
    GATEWAY_ASTRAY_MS, GATEWAY_CONNECT_MS, GATEWAY_GONE_MS, GATEWAY_IDLE_MS, GATEWAY_LINK_BYTES,
    GATEWAY_LINK_REQUESTS, GATEWAY_READ_BYTES, GATEWAY_REPLY_MAX_BYTES, GATEWAY_SILENT_MS, TURN_READS,
};
use crate::base::slot::Slot;
use crate::command::client::GATEWAY_CAPABILITY;
use crate::hub::Hub;
use crate::resp::args::OwnedArgs;
use crate::resp::measure::Measure;
use crate::resp::reply::Proto;
use crate::server::listener::keep_alive;

/// What a connection's requests share: who is woken, and whether something went wrong.
#[derive(Debug)]
pub struct Mailbox {
    waker: Waker,
    /// A request was not simply answered.
    pub trouble: Cell<bool>,
}

impl Mailbox {
    /// For the task behind `waker`.
    pub fn new(waker: Waker) -> Rc<Self> {
        Rc::new(Self { waker, trouble: Cell::new(false) })
    }

    /// Wakes the task.
    pub fn wake(&self) {
        self.waker.wake_by_ref();
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing yet.
    Waiting,
    /// This is the reply.
    Reply(Vec<u8>),
    /// The link ended before a byte of it was sent.
    Unsent,
    /// The link ended when it was sent, and not answered.
    Lost,
}

/// A request on its way.
#[derive(Debug)]
pub struct Call {
    mailbox: Rc<Mailbox>,
    outcome: RefCell<Outcome>,
}

impl Call {
    /// What became of it; afterwards it counts as waiting.
    pub fn take(&self) -> Outcome {
        self.outcome.replace(Outcome::Waiting)
    }

    /// The reply, if it is one that says more than where the slot is.
    pub fn take_reply(&self) -> Option<Vec<u8>> {
        let mut outcome = self.outcome.borrow_mut();
        match &mut *outcome {
            Outcome::Reply(reply) if !is_elsewhere(reply) => Some(std::mem::take(reply)),
            _ => None,
        }
    }

    /// Whether it was sent, and will not be answered.
    pub fn is_lost(&self) -> bool {
        matches!(*self.outcome.borrow(), Outcome::Lost)
    }

    fn end(&self, outcome: Outcome) {
        let plain = matches!(&outcome, Outcome::Reply(reply) if !is_elsewhere(reply));
        if !plain {
            self.mailbox.trouble.set(true);
        }
        *self.outcome.borrow_mut() = outcome;
        self.mailbox.waker.wake_by_ref();
    }
}

/// Whether a reply says that the node does not serve the slot now: then nothing was done.
pub fn is_elsewhere(reply: &[u8]) -> bool {
    reply.starts_with(b"-MOVED ") || reply.starts_with(b"-CLUSTERDOWN ")
}

/// A call in the order of the stream.
struct InFlight {
    /// Nothing for requests of the link itself.
    call: Option<Rc<Call>>,
    /// Position of its first byte in the stream.
    start: u64,
    bytes: usize,
    /// Replies that are still to come; the last is the call's, unless an earlier one says that the slot is elsewhere.
    replies: u32,
    elsewhere: Option<Vec<u8>>,
    /// It says that a refusal was heard of.
    is_notice: bool,
}

/// That a client waits at the other node.
#[derive(Clone, Copy)]
struct Patience {
    slot: Slot,
    /// When the other node says that time is up, on the monotonic clock.
    until_ns: Option<u64>,
    /// Since when the other node is not the slot's owner; 0 while it is.
    astray_ns: u64,
}

#[derive(Default)]
struct State {
    /// Bytes that were not written yet.
    out: Vec<u8>,
    /// Of these, those that were.
    written: usize,
    /// Position of the start of `out` in the stream.
    base: u64,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    waker: Option<Waker>,
    /// When something was last sent or heard, on the monotonic clock.
    used_ns: u64,
    heard_ns: u64,
    patience: Option<Patience>,
    /// The notice that a refusal was heard of is under way.
    noticed: bool,
    /// It was not written yet, and nobody else sees to that.
    unwritten: bool,
    ended: bool,
}

/// A link; see the module.
pub struct Link {
    hub: Arc<Hub>,
    address: SocketAddr,
    state: RefCell<State>,
}

impl Link {
    /// Opens a link; it takes requests from now on.
    pub fn open(hub: &Arc<Hub>, address: SocketAddr, proto: Proto) -> Rc<Self> {
        let now_ns = hub.clock.mono_ns();
        let state = State { used_ns: now_ns, heard_ns: now_ns, ..State::default() };
        let link = Rc::new(Self { hub: Arc::clone(hub), address, state: RefCell::new(state) });
        link.introduce(proto);
        hub.cluster.gateway.links.fetch_add(1, Ordering::Relaxed);
        spawn_local(run(Rc::clone(&link)));
        link
    }

    /// Where it leads.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it takes no more requests.
    pub fn has_ended(&self) -> bool {
        self.state.borrow().ended
    }

    /// Whether as much waits as may.
    pub fn is_full(&self) -> bool {
        let state = self.state.borrow();
        state.in_flight_bytes > GATEWAY_LINK_BYTES || state.in_flight.len() >= GATEWAY_LINK_REQUESTS
    }

    /// Sends `replies` whole requests. A link that has ended answers at once.
    pub fn send(&self, mailbox: &Rc<Mailbox>, bytes: &[u8], replies: u32) -> Rc<Call> {
        let call = Rc::new(Call { mailbox: Rc::clone(mailbox), outcome: RefCell::new(Outcome::Waiting) });
        let mut state = self.state.borrow_mut();
        if state.ended {
            drop(state);
            call.end(Outcome::Unsent);
            return call;
        }
        state.push(Some(Rc::clone(&call)), bytes, replies);
        if state.in_flight.len() == 1 {
            state.heard_ns = self.hub.clock.mono_ns();
        }
        let waker = if state.out.len() == bytes.len() { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        call
    }

    /// Ends the link: what waits learns so at once, before anything is sent over another.
    pub fn close(&self) {
        self.end();
        let waker = self.state.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A client waits at the other node for keys of this slot, for so long at most; before that is sent.
    pub fn wait_for(&self, slot: Slot, left_ms: Option<u64>) {
        let now_ns = self.hub.clock.mono_ns();
        let until_ns = left_ms.map(|left_ms| now_ns.saturating_add(left_ms.saturating_mul(1_000_000)));
        self.state.borrow_mut().patience = Some(Patience { slot, until_ns, astray_ns: 0 });
    }

    /// Nobody waits any more.
    pub fn end_wait(&self) {
        self.state.borrow_mut().patience = None;
    }

    /// The slot for whose keys a client waits, if one does.
    pub fn awaits(&self) -> Option<Slot> {
        self.state.borrow().patience.map(|patience| patience.slot)
    }

    /// Whether a wait is to be given up; `owned` says whether the other node is the slot's owner.
    pub fn is_waited_out(&self, now_ns: u64, owned: bool) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(patience) = &mut state.patience else { return false };
        let is_past = |since_ns: u64, for_ms: u64| now_ns.saturating_sub(since_ns) / 1_000_000 > for_ms;
        patience.astray_ns = match (owned, patience.astray_ns) {
            (true, _) => 0,
            (false, 0) => now_ns,
            (false, since_ns) => since_ns,
        };
        patience.astray_ns != 0 && is_past(patience.astray_ns, GATEWAY_ASTRAY_MS)
            || patience.until_ns.is_some_and(|until_ns| is_past(until_ns, GATEWAY_SILENT_MS))
    }

    /// Whether the link is of no more use: it has been idle, or its node silent, for too long. A node that is no longer a
    /// `member` has less time, but enough to say where its slots went.
    pub fn is_stale(&self, now_ns: u64, member: bool) -> bool {
        let state = self.state.borrow();
        let for_ms = |since_ns: u64| now_ns.saturating_sub(since_ns) / 1_000_000;
        match (state.in_flight.is_empty(), member) {
            (true, true) => for_ms(state.used_ns) > GATEWAY_IDLE_MS,
            (true, false) => true,
            (false, true) => for_ms(state.heard_ns) > GATEWAY_SILENT_MS,
            (false, false) => for_ms(state.heard_ns) > GATEWAY_GONE_MS,
        }
    }

    /// The requests by which every link begins. The other node has this one's password, or the link is of no use.
    fn introduce(&self, proto: Proto) {
        let config = self.hub.config.load();
        let password = config.requirepass.expose();
        let mut state = self.state.borrow_mut();
        let mut say = |words: &[&str]| state.say(words, false);
        match (proto, password.is_empty()) {
            (Proto::Resp3, true) => say(&["HELLO", "3"]),
            (Proto::Resp3, false) => say(&["HELLO", "3", "AUTH", "default", password]),
            (Proto::Resp2, true) => {}
            (Proto::Resp2, false) => say(&["AUTH", password]),
        }
        say(&["CLIENT", "SETNAME", "larder-gateway"]);
        say(&["CLIENT", "CAPA", GATEWAY_CAPABILITY]);
    }

    /// Writes and reads as far as the socket lets it, and within a turn; never completes but by an error.
    fn poll(&self, stream: &mut TcpStream, input: &mut Input, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        if state.ended {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        if !state.out.is_empty() {
            state.used_ns = self.hub.clock.mono_ns();
        }
        while state.written < state.out.len() {
            let State { out, written, .. } = &mut *state;
            match Pin::new(&mut *stream).poll_write(cx, &out[*written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(length)) => *written += length,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        state.forget_written();
        for _ in 0..TURN_READS {
            input.bytes.reserve(GATEWAY_READ_BYTES);
            let length = match pin!(stream.read_buf(&mut input.bytes)).poll(cx) {
                Poll::Pending => {
                    if std::mem::take(&mut state.unwritten) {
                        cx.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(length)) => length,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            };
            state.heard_ns = self.hub.clock.mono_ns();
            state.receive(input)?;
            if length < GATEWAY_READ_BYTES {
                // Most likely all there is; the socket says so if not.
                continue;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells every request that waits what is known of it.
    fn end(&self) {
        let (in_flight, sent) = {
            let mut state = self.state.borrow_mut();
            if state.ended {
                return;
            }
            state.ended = true;
            let sent = state.base + state.written as u64;
            state.out = Vec::new();
            (std::mem::take(&mut state.in_flight), sent)
        };
        self.hub.cluster.gateway.links.fetch_sub(1, Ordering::Relaxed);
        for InFlight { call, start, .. } in in_flight {
            if let Some(call) = call {
                call.end(if start >= sent { Outcome::Unsent } else { Outcome::Lost });
            }
        }
    }
}

/// What was read and not handed on yet.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    measure: Measure,
}

impl State {
    fn push(&mut self, call: Option<Rc<Call>>, bytes: &[u8], replies: u32) {
        let start = self.base + self.out.len() as u64;
        self.out.extend_from_slice(bytes);
        self.in_flight_bytes += bytes.len();
        let (bytes, elsewhere, is_notice) = (bytes.len(), None, false);
        self.in_flight.push_back(InFlight { call, start, bytes, replies, elsewhere, is_notice });
    }

    /// A request of the link itself.
    fn say(&mut self, words: &[&str], is_notice: bool) {
        let mut bytes = Vec::new();
        OwnedArgs::from_slices(words).as_args().encode_into(&mut bytes);
        self.push(None, &bytes, 1);
        if let Some(last) = self.in_flight.back_mut() {
            last.is_notice = is_notice;
        }
    }

    /// Tells the other side that a refusal of its was heard of; once for all refusals until it has been told.
    #[cold]
    fn notice(&mut self) {
        if !self.noticed {
            (self.noticed, self.unwritten) = (true, true);
            self.say(&["CLIENT", "CAPA", GATEWAY_CAPABILITY], true);
        }
    }

    fn forget_written(&mut self) {
        if self.written == self.out.len() {
            self.base += self.written as u64;
            self.out.clear();
            self.out.shrink_to(GATEWAY_READ_BYTES);
            self.written = 0;
        }
    }

    /// Hands on every whole reply.
    fn receive(&mut self, input: &mut Input) -> io::Result<()> {
        let mut at = 0;
        while at < input.bytes.len() {
            let Some(length) =
                input.measure.end(&input.bytes[at..]).map_err(|_| io::ErrorKind::InvalidData)?
            else {
                break;
            };
            self.answer(&input.bytes[at..at + length])?;
            at += length;
        }
        if at == input.bytes.len() {
            input.bytes.clear();
            input.bytes.shrink_to(2 * GATEWAY_READ_BYTES);
        } else if at > 0 {
            input.bytes.drain(..at);
        }
        if input.bytes.len() > GATEWAY_REPLY_MAX_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// One reply, to the call whose turn it is.
    fn answer(&mut self, reply: &[u8]) -> io::Result<()> {
        let Some(front) = self.in_flight.front_mut() else {
            // An answer that was not asked for, such as that the node has too many clients.
            return Err(io::Error::other(String::from_utf8_lossy(reply).trim_end().to_owned()));
        };
        front.replies -= 1;
        let (is_last, refused) = (front.replies == 0, is_elsewhere(reply));
        if !is_last && refused && front.elsewhere.is_none() {
            front.elsewhere = Some(reply.to_vec());
        }
        if refused {
            self.notice();
        }
        if !is_last {
            return Ok(());
        }
        let Some(done) = self.in_flight.pop_front() else { return Ok(()) };
        self.in_flight_bytes -= done.bytes;
        self.noticed &= !done.is_notice;
        match done.call {
            Some(call) => call.end(Outcome::Reply(done.elsewhere.unwrap_or_else(|| reply.to_vec()))),
            None if reply.starts_with(b"-") => {
                return Err(io::Error::other(String::from_utf8_lossy(reply).trim_end().to_owned()));
            }
            None => {}
        }
        Ok(())
    }
}

async fn run(link: Rc<Link>) {
    let outcome = serve(&link).await;
    if let Err(error) = outcome
        && !link.has_ended()
    {
        debug!("the gateway's link to {}: {error}", link.address);
    }
    link.end();
}

async fn serve(link: &Link) -> io::Result<()> {
    let connect = TcpStream::connect(link.address);
    let mut stream = timeout(Duration::from_millis(GATEWAY_CONNECT_MS), connect)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    // A failure costs speed only.
    drop(stream.set_nodelay(true));
    keep_alive(&SockRef::from(&stream), link.hub.config.load().tcp_keepalive);
    let mut input = Input::default();
    poll_fn(|cx| link.poll(&mut stream, &mut input, cx)).await
}
