//! A connection: the task that reads requests, has them executed, and writes their replies.
//!
//! This is the hot path. A turn reads once, executes every complete request in place and writes once; it allocates
//! nothing and reads the clock once. Where many connections have a short request each, all are read first, and executed
//! in their next turns (`gather`). The connection owns an input buffer only while a request is unfinished, and a
//! reply writer only while the socket does not take more; otherwise it works with those of its [`Desk`].
//!
//! Bounds: a turn ends after [`TURN_REQUESTS`] requests, [`TURN_READS`] reads or [`TURN_WRITES`] writes, so that one
//! pipeline does not hold up the worker. While more than `client-output-pause` bytes of replies are unsent, no further request is executed, and
//! input is taken in only up to [`INPUT_BACKLOG_BYTES`]; beyond that the peer's own writes block. A client that never
//! reads therefore costs those two bounds and one reply. `client-query-buffer-limit` bounds an unfinished request.

mod apart;
mod away;
mod gather;
mod input;
mod waiting;

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tracing::{debug, info};

use crate::base::limits::{
    CLUSTER_HOLD_RETRY_MS, INPUT_BACKLOG_BYTES, TURN_READS, TURN_REQUESTS, TURN_WRITES, WRITE_SLICES,
};
use crate::cluster::table::Side;
use crate::command::context::WorkerLocal;
use crate::command::execute::{Progress, execute, must_wait};
use crate::command::session::{self, Closing, Session};
use crate::hub::clients::{flag, signal};
use crate::resp::args::Args;
use crate::resp::reply::{Proto, Reply};
use crate::resp::request::{Limits, Scan, Scanner};
use crate::server::gateway::{Means, Passage};
use crate::server::listener::Entrance;
use crate::server::stream::Stream;
use crate::server::worker::{Desk, Tenure};
pub use gather::Gathering;

use gather::Gathered;
use input::note_read;
use waiting::Waiting;

/// The task that serves one client; completes when the connection is to be closed.
pub struct Connection {
    stream: Stream,
    session: Session,
    scanner: Scanner,
    /// Input behind the `consumed` bytes that requests have used up; empty where there is none.
    input: Vec<u8>,
    consumed: usize,
    /// Input that waits until the worker's other connections have read.
    gathered: Option<Gathered>,
    /// If not 0, the input is the beginning of a request of which at least so many bytes are missing.
    wanted_bytes: usize,
    /// Replies that the socket has not taken yet.
    unsent: Option<Box<Reply>>,
    protocol: Proto,
    phase: Phase,
    /// The server was stopping when it last said something: close as soon as nothing is in hand.
    draining: bool,
    /// The peer sends nothing more.
    ended: bool,
    /// Set while CLIENT PAUSE holds the next request back.
    pause: Option<Pin<Box<Sleep>>>,
    /// Set while the client waits in a blocking command.
    waiting: Option<Waiting>,
    waker: Option<Waker>,
    /// What a connection to the gateway awaits from other nodes.
    passage: Option<Box<Passage>>,
    tenure: Tenure,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Serving requests.
    Open,
    /// Reads and executes nothing more; closes when its replies are written.
    Closing,
    /// Closes at once.
    Dead,
}

/// What a connection does next within its turn.
enum Next {
    /// Goes on.
    Again,
    /// Waits: a waker is registered for whatever can happen.
    Wait,
    /// Lets others have their turn first.
    Yield,
    /// Closes.
    End,
}

/// What is left of a turn.
struct Turn {
    requests: usize,
    reads: usize,
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.attach(cx);
        let post = Rc::clone(&this.tenure.post);
        let mut desk = post.desk.borrow_mut();
        let mut turn = Turn { requests: TURN_REQUESTS, reads: TURN_READS };
        loop {
            match this.advance(cx, &mut desk, &mut turn) {
                Next::Again => {}
                Next::Wait => return Poll::Pending,
                Next::Yield => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::End => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.abandon_wait();
        if self.gathered.take().is_some()
            && let Ok(mut desk) = self.tenure.post.desk.try_borrow_mut()
        {
            desk.gathering.leave();
        }
        let post = &self.tenure.post;
        post.leave(Arc::clone(&self.tenure.client), mem::take(&mut self.session.subscriptions));
        session::end(&post.hub, &mut self.session);
    }
}

impl Connection {
    /// The task for a socket that was just registered with the thread's reactor.
    pub fn new(tenure: Tenure, stream: Stream, authenticated: bool, entrance: Entrance) -> Self {
        let mut session = Session::new(Arc::clone(&tenure.client), authenticated);
        session.gateway = entrance == Entrance::Gateway;
        session.client.set(flag::GATEWAY, session.gateway);
        session.side = if entrance == Entrance::Outside { Side::Outside } else { Side::Inside };
        Self {
            stream,
            session,
            scanner: Scanner::new(),
            input: Vec::new(),
            consumed: 0,
            gathered: None,
            wanted_bytes: 0,
            unsent: None,
            protocol: Proto::Resp2,
            phase: Phase::Open,
            draining: false,
            ended: false,
            pause: None,
            waiting: None,
            waker: None,
            passage: None,
            tenure,
        }
    }

    /// Lets other threads wake this task. A task's waker stays the same, so there is work to do only once.
    fn attach(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.tenure.client.attach(cx.waker().clone());
            if self.session.gateway && self.passage.is_none() {
                self.passage = Some(Box::new(Passage::new(cx.waker().clone())));
            }
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>, desk: &mut Desk, turn: &mut Turn) -> Next {
        self.heed_signals(cx, desk);
        if self.passage.is_some() {
            self.collect(cx, desk);
        }
        if self.unsent.is_some() {
            self.send(cx, desk);
        }
        if self.gathered.is_some() {
            return self.execute_gathered(cx, desk, turn);
        }
        match (self.phase, &self.unsent) {
            (Phase::Dead, _) => return Next::End,
            (Phase::Closing, Some(_)) => {
                self.tenure.client.set(flag::CLOSING, true);
                return Next::Wait;
            }
            (Phase::Closing, None) if self.is_owed() => return Next::Wait,
            (Phase::Closing, None) => return self.finish(),
            (Phase::Open, Some(unsent))
                if is_over(unsent.pending_bytes(), desk.worker.state.config().client_output_pause) =>
            {
                return self.take_in(cx, desk, turn, INPUT_BACKLOG_BYTES);
            }
            (Phase::Open, _) => {}
        }
        if self.is_paused(cx) {
            // Reads on, to notice when the peer leaves.
            let leaves = self.is_draining() || self.ended;
            return if leaves { Next::End } else { self.take_in(cx, desk, turn, INPUT_BACKLOG_BYTES) };
        }
        if self.waiting.is_some() {
            return self.wait_on(cx, desk, turn);
        }
        if let Some(next) = self.wait_for_others(cx, desk, turn) {
            return next;
        }
        if self.consumed < self.input.len() && self.wanted_bytes == 0 {
            return self.execute_own(cx, desk, turn);
        }
        if self.ended {
            self.phase = Phase::Closing;
            return Next::Again;
        }
        if self.input.is_empty() {
            return self.read(cx, desk, turn);
        }
        self.take_in(cx, desk, turn, usize::MAX)
    }

    #[inline]
    fn heed_signals(&mut self, cx: &mut Context<'_>, desk: &mut Desk) {
        let signals = self.tenure.client.take_signals();
        if signals == 0 {
            return;
        }
        self.heed(signals, &desk.worker);
        if signals & signal::OUTBOX != 0 && self.tenure.client.outbox_bytes() != 0 {
            self.forward(cx, desk);
        }
    }

    /// Writes what others have queued.
    fn forward(&mut self, cx: &mut Context<'_>, desk: &mut Desk) {
        if self.phase != Phase::Open {
            return self.tenure.client.clear_outbox();
        }
        if self.unsent.is_none() && !desk.output.is_empty() {
            // A handler that panicked has left half a reply to somebody else.
            desk.output = Reply::default();
        }
        let out = self.unsent.as_deref_mut().unwrap_or(&mut desk.output);
        self.tenure.client.drain_outbox(|frame| out.raw_shared(frame));
        self.send(cx, desk);
    }

    fn heed(&mut self, signals: u32, worker: &WorkerLocal) {
        if signals & signal::OVERFLOW != 0 {
            self.end_for_output(worker);
        }
        if signals & signal::KILL != 0 {
            self.phase = Phase::Dead;
        }
        if signals & signal::DRAIN != 0 {
            self.draining = true;
        }
        if signals & signal::RESUME != 0 {
            self.end_pause();
        }
    }

    /// Whether CLIENT PAUSE still holds the next request back.
    fn is_paused(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.pause else { return false };
        if timer.as_mut().poll(cx).is_pending() {
            return true;
        }
        // Whether the pause was made longer meanwhile is asked before the request is executed.
        self.end_pause();
        false
    }

    fn end_pause(&mut self) {
        if self.pause.take().is_some() {
            self.tenure.post.hub.clients.set_blocked(&self.tenure.client, false);
        }
    }

    /// Nothing is in hand: reads what there is into the desk's buffer, executes what is whole, keeps the rest.
    fn read(&mut self, cx: &mut Context<'_>, desk: &mut Desk, turn: &mut Turn) -> Next {
        if turn.reads == 0 || turn.requests == 0 {
            return Next::Yield;
        }
        turn.reads -= 1;
        let Desk { worker, input, gathering, output } = desk;
        let length = match self.stream.poll_read(cx, input) {
            Poll::Pending => return self.idle(),
            Poll::Ready(Ok(length)) if length > 0 => length,
            Poll::Ready(end) => return self.ended(end),
        };
        note_read(worker, &self.tenure.client, length);
        if self.gather(&input[..length], gathering, worker) {
            return Next::Yield;
        }
        let used = self.execute(&input[..length], worker, output, turn);
        if used < length {
            self.keep(&input[used..length]);
        }
        self.settle(cx, desk);
        Next::Again
    }

    /// No input has come.
    fn idle(&mut self) -> Next {
        // Replies that the peer is slow to read are still in hand.
        let is_apart = self.waiting.as_ref().is_some_and(Waiting::is_apart);
        let in_hand = self.unsent.is_some() || self.is_owed() || is_apart;
        if self.is_draining() && !in_hand { self.finish() } else { Next::Wait }
    }

    /// Whether the server is stopping, which it may have given up since it said so.
    fn is_draining(&self) -> bool {
        self.draining && self.tenure.post.hub.orders.shutdown().is_some()
    }

    /// Closes in order: everything is sent.
    fn finish(&self) -> Next {
        self.stream.finish();
        Next::End
    }

    /// The peer has finished sending, or the connection is broken.
    #[cold]
    fn ended(&mut self, end: io::Result<usize>) -> Next {
        match end {
            Ok(_) => {
                self.ended = true;
                Next::Again
            }
            Err(error) => {
                debug!("reading from {}: {error}", self.tenure.client.peer);
                Next::End
            }
        }
    }

    /// Executes requests from the connection's own buffer.
    fn execute_own(&mut self, cx: &mut Context<'_>, desk: &mut Desk, turn: &mut Turn) -> Next {
        if turn.requests == 0 {
            return Next::Yield;
        }
        let input = mem::take(&mut self.input);
        self.consumed += self.execute(&input[self.consumed..], &mut desk.worker, &mut desk.output, turn);
        if self.consumed < input.len() {
            self.input = input;
        } else {
            self.consumed = 0;
        }
        self.settle(cx, desk);
        Next::Again
    }

    /// Executes the requests that `input` starts with, until it ends, the turn ends, the replies become too many, or
    /// the next one must wait or is none. Returns how many bytes are used up.
    fn execute(
        &mut self,
        input: &[u8],
        worker: &mut WorkerLocal,
        output: &mut Reply,
        turn: &mut Turn,
    ) -> usize {
        worker.refresh_now();
        let began_ns = worker.state.last_ns;
        let config = worker.state.config();
        let (bulk_max, pause_bytes) = (config.proto_max_bulk_len as usize, config.client_output_pause);
        let hard_bytes = self.tenure.client.output_limit(&config.client_output_buffer_limit).hard_bytes;
        self.tenure.client.active_ms.store(worker.state.now_ms, Ordering::Relaxed);
        self.wanted_bytes = 0;
        if self.unsent.is_none() && !output.is_empty() {
            // A handler that panicked has left half a reply to somebody else.
            *output = Reply::default();
        }
        let mut unsent = self.unsent.take();
        let reply = unsent.as_deref_mut().unwrap_or(output);
        reply.set_proto(self.protocol);
        if let Some(passage) = &mut self.passage {
            passage.begin(&worker.hub, reply);
        }
        let mut at = 0;
        // The first request is executed at once; what lies behind it is a pipeline, and worth a look ahead.
        let mut looked = 1;
        worker.state.ahead.forget();
        while at < input.len() && turn.requests > 0 && self.phase == Phase::Open && self.waiting.is_none() {
            if at >= looked {
                looked = at + worker.state.ahead.look(&worker.hub.keyspace, self.session.db, &input[at..]);
            }
            let limits = Limits::new(bulk_max, self.session.authenticated);
            match self.scanner.scan(&input[at..], &limits) {
                Scan::Request { consumed_bytes } => {
                    if !self.execute_one(&input[at..], consumed_bytes, worker, reply) {
                        break;
                    }
                    at += consumed_bytes;
                }
                Scan::Nothing { consumed_bytes } => at += consumed_bytes,
                Scan::Incomplete { wanted_bytes } => {
                    self.wanted_bytes = wanted_bytes;
                    break;
                }
                Scan::Error(error) => {
                    reply.error(&error.into());
                    self.phase = Phase::Closing;
                }
            }
            turn.requests -= 1;
            if is_over(reply.pending_bytes(), pause_bytes) || is_over(reply.pending_bytes(), hard_bytes) {
                break;
            }
        }
        self.protocol = reply.proto();
        if let Some(passage) = &mut self.passage {
            passage.finish(&worker.hub, reply);
        }
        let made = reply.pending_bytes();
        self.unsent = unsent;
        self.judge(worker, made, hard_bytes);
        worker.state.stats.busy_ns.add(worker.state.last_ns - began_ns);
        at
    }

    /// After a batch: whether the connection may go on, with so many bytes of replies, and whether they may leave.
    fn judge(&mut self, worker: &mut WorkerLocal, made: usize, hard_bytes: u64) {
        // As in Redis, too much is too much even if the socket were to take it.
        if hard_bytes != 0 && is_over(made + self.tenure.client.outbox_bytes(), hard_bytes) {
            self.end_for_output(worker);
        }
        if !worker.may_answer() {
            info!(
                "closing {}: the node's lease ran out before its replies could leave",
                self.tenure.client.peer
            );
            self.phase = Phase::Dead;
        }
    }

    /// Executes the request that the scanner has found at the start of `input`; false if it must wait.
    #[inline]
    fn execute_one(
        &mut self,
        input: &[u8],
        length: usize,
        worker: &mut WorkerLocal,
        reply: &mut Reply,
    ) -> bool {
        let args = self.scanner.args(input);
        if input[0] != b'*' && is_http(args) {
            info!("closing {}: it speaks HTTP", self.tenure.client.peer);
            self.phase = Phase::Dead;
            return false;
        }
        if let Some((_, until_ms)) = worker.hub.clients.paused(worker.state.now_ms)
            && must_wait(worker, &self.session, args).is_some()
        {
            let wait_ms = until_ms.saturating_sub(worker.state.now_ms);
            self.pause = Some(Box::pin(sleep(Duration::from_millis(wait_ms))));
            worker.hub.clients.set_blocked(&self.tenure.client, true);
            return false;
        }
        if self.passage.as_mut().is_some_and(|passage| passage.must_wait()) {
            return false;
        }
        match (execute(worker, &mut self.session, reply, args), &mut self.passage) {
            (Progress::Done, None) => {}
            (Progress::Waits, _) => {
                let args = args.to_owned();
                self.sit_down(worker, reply, args);
                return true;
            }
            (Progress::Apart, _) => {
                let args = args.to_owned();
                self.go_apart(worker, reply, args);
                return true;
            }
            (Progress::Done, Some(passage)) => passage.ran_here(&self.session),
            (Progress::Away, Some(passage)) => {
                let raw = (input[0] == b'*').then(|| &input[..length]);
                let pool = &self.tenure.post.pool;
                let mut means = Means { pool, worker, session: &mut self.session };
                if !passage.take(&mut means, reply, args, raw) {
                    return false;
                }
            }
            (Progress::Held | Progress::Away, passage) => {
                if passage.as_mut().is_some_and(|passage| passage.settle_first()) {
                    return false;
                }
                self.pause = Some(Box::pin(sleep(Duration::from_millis(CLUSTER_HOLD_RETRY_MS))));
                worker.hub.clients.set_blocked(&self.tenure.client, true);
                worker.hub.cluster.hold(&self.tenure.client);
                return false;
            }
        }
        self.tenure.client.commands.add(1);
        match self.session.closing {
            None => {}
            Some(Closing::AfterReply) => self.phase = Phase::Closing,
            Some(Closing::Now) => self.phase = Phase::Dead,
        }
        true
    }

    /// After requests were executed: what is left to read or to execute is noted, what there is to write is written.
    #[inline]
    fn settle(&mut self, cx: &mut Context<'_>, desk: &mut Desk) {
        self.note_input();
        if self.unsent.is_some() {
            return;
        }
        if self.phase == Phase::Dead {
            desk.output = Reply::default();
        } else if !desk.output.is_empty() {
            self.send(cx, desk);
        }
    }

    /// Writes as much as the socket takes of the unsent replies, or, where there are none, of those on the desk.
    fn send(&mut self, cx: &mut Context<'_>, desk: &mut Desk) {
        let Desk { worker, output, .. } = desk;
        let stats = &worker.state.stats;
        let reply = self.unsent.as_deref_mut().unwrap_or(output);
        let before = reply.pending_bytes();
        let outcome = write(&mut self.stream, cx, reply);
        let rest = reply.pending_bytes();
        if rest < before {
            stats.writes_processed.add(1);
            stats.net_output_bytes.add((before - rest) as u64);
            self.tenure.client.net_output_bytes.add((before - rest) as u64);
        }
        match outcome {
            Poll::Ready(Ok(())) => {
                if self.unsent.take().is_some() {
                    self.tenure.client.output_bytes.store(0, Ordering::Relaxed);
                }
            }
            Poll::Ready(Err(error)) => {
                debug!("writing to {}: {error}", self.tenure.client.peer);
                *output = Reply::default();
                self.phase = Phase::Dead;
            }
            Poll::Pending => self.hold(desk, rest, rest < before),
        }
    }

    /// The socket takes no more: keeps the rest, within the client's limit.
    #[cold]
    fn hold(&mut self, desk: &mut Desk, rest: usize, moved: bool) {
        let Desk { worker, output, .. } = desk;
        self.unsent.get_or_insert_with(|| Box::new(mem::take(output)));
        let client = &self.tenure.client;
        client.output_bytes.store(rest, Ordering::Relaxed);
        if moved {
            client.active_ms.store(worker.state.clock.wall_ms(), Ordering::Relaxed);
        }
        let limit = client.output_limit(&worker.state.config().client_output_buffer_limit);
        if client.exceeds(client.unsent_bytes(), limit, worker.state.now_ms) {
            self.end_for_output(worker);
        }
    }

    #[cold]
    fn end_for_output(&mut self, worker: &WorkerLocal) {
        info!("closing {}: its unsent replies exceed client-output-buffer-limit", self.tenure.client.peer);
        worker.state.stats.output_limit_closed.add(1);
        if self.tenure.client.has(flag::PUBSUB) {
            worker.hub.pubsub.note_dropped();
        }
        // From here on it is in no list, though other threads may look before the task has ended.
        self.tenure.client.kill();
        self.phase = Phase::Dead;
    }
}

/// Writes until nothing is pending, the socket takes no more, or the turn's share is written. In the latter cases the
/// task is woken when it may go on.
fn write(stream: &mut Stream, cx: &mut Context<'_>, reply: &mut Reply) -> Poll<io::Result<()>> {
    for _ in 0..TURN_WRITES {
        if reply.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let filled = reply.slices(&mut slices);
        let written = ready!(stream.poll_write(cx, &slices[..filled]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        reply.advance(written);
    }
    if reply.is_empty() {
        return Poll::Ready(Ok(()));
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Whether a bound, of which 0 means none, is exceeded.
fn is_over(bytes: usize, bound: u64) -> bool {
    bound != 0 && bytes as u64 > bound
}

/// Whether an inline request is the start of an HTTP request or one of its header lines. A web page may make a browser
/// send one to any port, with commands in its body.
fn is_http(args: Args<'_>) -> bool {
    args[0].eq_ignore_ascii_case(b"post") || args[0].eq_ignore_ascii_case(b"host:")
}
