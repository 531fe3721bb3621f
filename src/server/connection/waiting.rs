//! A connection whose client waits in a blocking command: it reads on, to notice when the peer leaves, and executes
//! nothing until the client was served, released, or its time is up. Where it came by the gateway and its slot goes to
//! another node, it goes on waiting there.
//!
//! Session and request lie in the seat meanwhile (`hub::blocked`), where whoever changes a key runs the request. The
//! connection owns a session without rights for that time, which no request sees.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::{Connection, Next, Phase, Turn};
use crate::base::limits::{CLUSTER_HOLD_RETRY_MS, INPUT_BACKLOG_BYTES};
use crate::command::blocking::{self, Parked};
use crate::command::context::WorkerLocal;
use crate::command::execute::{Progress, count_in_vain, execute};
use crate::command::gateway::Errand;
use crate::command::session::{Closing, ReplyMode, Session};
use crate::hub::blocked::{Release, Seat, Waiter};
use crate::resp::args::OwnedArgs;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::server::worker::Desk;

/// The longest that a timer is set for; longer waits end when it does and begin again.
const TIMER_MAX_MS: u64 = 365 * 24 * 3600 * 1000;

/// A wait.
pub(super) struct Waiting {
    waiter: Arc<Waiter>,
    until_ms: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What must be tried again at once.
    again: Option<Box<Parked>>,
    /// Another thread runs the request: it is in hand, even if the peer sends nothing more.
    is_apart: bool,
}

impl Waiting {
    /// For a request that another thread runs.
    pub(super) fn apart(waiter: Arc<Waiter>) -> Self {
        Self { waiter, until_ms: None, timer: None, again: None, is_apart: true }
    }

    /// Whether another thread runs the request.
    pub(super) fn is_apart(&self) -> bool {
        self.is_apart
    }
}

impl Connection {
    /// The request that was just executed waits: leaves everything in its seat.
    #[cold]
    pub(super) fn sit_down(&mut self, worker: &mut WorkerLocal, reply: &Reply, args: OwnedArgs) {
        let (waits, at) = (worker.state.waits.take(), worker.state.waits_at.take());
        let (Some(begun), Some((entry, slot))) = (waits, at) else { return };
        let Some(waiter) = begun.waiter else { return };
        let placeholder = Session::new(Arc::clone(&self.tenure.client), false);
        let parked = Box::new(Parked {
            session: mem::replace(&mut self.session, placeholder),
            reply: Reply::new(reply.proto()),
            args: begun.args.unwrap_or(args),
            entry,
            slot,
            on_timeout: begun.on_timeout,
        });
        let left_ms = begun.until_ms.map(|until_ms| until_ms.saturating_sub(worker.state.now_ms));
        let timer = left_ms.map(|left_ms| Box::pin(sleep(Duration::from_millis(left_ms.min(TIMER_MAX_MS)))));
        worker.hub.clients.set_blocked(&self.tenure.client, true);
        let again = waiter.sit(parked).err().and_then(|parked| parked.downcast().ok());
        if again.is_some() {
            blocking::forget(&worker.hub, &waiter);
        }
        self.waiting = Some(Waiting { waiter, until_ms: begun.until_ms, timer, again, is_apart: false });
    }

    /// What the connection does while its client waits.
    pub(super) fn wait_on(&mut self, cx: &mut Context<'_>, desk: &mut Desk, turn: &mut Turn) -> Next {
        let Some(waiting) = &mut self.waiting else { return Next::Again };
        if let Some(parked) = waiting.again.take() {
            self.try_again(cx, desk, *parked);
            return Next::Again;
        }
        let mut end = waiting.waiter.end();
        if end.is_none() && waiting.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            end = match waiting.waiter.leave() {
                Seat::Waiting(parked) => Some(Seat::Released(parked, Release::Timeout)),
                other => Some(other),
            };
        }
        match end {
            Some(Seat::Served(parked)) => self.stand_up(cx, desk, parked.downcast().ok()),
            Some(Seat::Released(parked, why)) => {
                blocking::forget(&desk.worker.hub, &waiting.waiter);
                self.give_up(cx, desk, parked.downcast().ok(), why);
            }
            _ => {
                // Reads on, to notice when the peer leaves.
                let leaves = !waiting.is_apart && (self.is_draining() || self.ended);
                return if leaves { Next::End } else { self.take_in(cx, desk, turn, INPUT_BACKLOG_BYTES) };
            }
        }
        Next::Again
    }

    fn give_up(&mut self, cx: &mut Context<'_>, desk: &mut Desk, parked: Option<Box<Parked>>, why: Release) {
        let Some(mut parked) = parked else { return };
        let error = match why {
            Release::Timeout => {
                parked.on_timeout.write(&mut parked.reply);
                None
            }
            Release::Error => {
                parked.reply.error(&Error::Unblocked);
                Some(Error::Unblocked)
            }
            Release::Again => return self.try_again(cx, desk, *parked),
        };
        count_in_vain(&mut desk.worker, parked.entry, error.as_ref());
        self.stand_up(cx, desk, Some(parked));
    }

    /// The wait is over: its reply goes out.
    fn stand_up(&mut self, cx: &mut Context<'_>, desk: &mut Desk, parked: Option<Box<Parked>>) {
        self.end_wait(desk);
        let Some(parked) = parked else {
            self.phase = Phase::Dead;
            return;
        };
        let Parked { session, reply, .. } = *parked;
        self.session = session;
        self.tenure.client.commands.add(1);
        match self.session.reply_mode {
            ReplyMode::On => self.out(desk).append(reply),
            ReplyMode::Skip => self.session.reply_mode = ReplyMode::On,
            ReplyMode::Off | ReplyMode::SkipNext => {}
        }
        self.after_wait(cx, desk);
    }

    /// Runs the request as if it had just come, at its old place in the queues.
    fn try_again(&mut self, cx: &mut Context<'_>, desk: &mut Desk, parked: Parked) {
        let Some(waiting) = self.waiting.take() else { return };
        desk.worker.hub.clients.set_blocked(&self.tenure.client, false);
        desk.worker.refresh_now();
        self.session = parked.session;
        self.session.place_kept = Some((waiting.waiter.number, waiting.until_ms));
        let mut reply = Reply::new(parked.reply.proto());
        match execute(&mut desk.worker, &mut self.session, &mut reply, parked.args.as_args()) {
            Progress::Waits => self.sit_down(&mut desk.worker, &reply, parked.args),
            Progress::Held => {
                let placeholder = Session::new(Arc::clone(&self.tenure.client), false);
                let session = mem::replace(&mut self.session, placeholder);
                self.waiting =
                    Some(Waiting { again: Some(Box::new(Parked { session, ..parked })), ..waiting });
                self.pause = Some(Box::pin(sleep(Duration::from_millis(CLUSTER_HOLD_RETRY_MS))));
                desk.worker.hub.clients.set_blocked(&self.tenure.client, true);
                desk.worker.hub.cluster.hold(&self.tenure.client);
            }
            Progress::Away => {
                self.session.place_kept = None;
                let errand = Errand::moved_on(parked.entry, parked.args, waiting.until_ms);
                self.wait_away(desk, parked.slot, errand);
            }
            Progress::Done | Progress::Apart => {
                self.session.place_kept = None;
                self.out(desk).append(reply);
                self.after_wait(cx, desk);
            }
        }
    }

    fn end_wait(&mut self, desk: &mut Desk) {
        self.waiting = None;
        desk.worker.hub.clients.set_blocked(&self.tenure.client, false);
    }

    /// Where replies go now.
    pub(super) fn out<'a>(&'a mut self, desk: &'a mut Desk) -> &'a mut Reply {
        if self.unsent.is_none() && !desk.output.is_empty() {
            // A handler that panicked has left half a reply to somebody else.
            desk.output = Reply::default();
        }
        let reply = self.unsent.as_deref_mut().unwrap_or(&mut desk.output);
        reply.set_proto(self.protocol);
        reply
    }

    fn after_wait(&mut self, cx: &mut Context<'_>, desk: &mut Desk) {
        desk.worker.refresh_now();
        desk.worker.state.touched = true;
        let made = self.unsent.as_ref().map_or(desk.output.pending_bytes(), |unsent| unsent.pending_bytes());
        let limits = &desk.worker.state.config().client_output_buffer_limit;
        let hard_bytes = self.tenure.client.output_limit(limits).hard_bytes;
        self.judge(&mut desk.worker, made, hard_bytes);
        match self.session.closing {
            None => {}
            Some(Closing::AfterReply) => self.phase = Phase::Closing,
            Some(Closing::Now) => self.phase = Phase::Dead,
        }
        self.settle(cx, desk);
    }

    /// The connection ends while its client waits: takes the session back.
    pub(super) fn abandon_wait(&mut self) {
        let Some(waiting) = self.waiting.take() else { return };
        let parked = match waiting.waiter.leave() {
            Seat::Waiting(parked) | Seat::Served(parked) | Seat::Released(parked, _) => {
                parked.downcast().ok()
            }
            _ => waiting.again,
        };
        blocking::forget(&self.tenure.post.hub, &waiting.waiter);
        if let Some(parked) = parked {
            self.session = parked.session;
        }
    }
}
