//! One connection's way through the gateway: its requests that wait for other nodes, in order, and the replies that
//! must wait behind them.
//!
//! A reply made here while an earlier one is still awaited is cut from the connection's output and kept behind that one.
//! Requests to several nodes are under way at once, which nobody can tell apart: what concerns one slot goes to one node
//! over one link, in order. Once something goes wrong (MOVED, a link that ends, another table) nothing new is begun before
//! all that waits is settled, so that the order holds while slots move.
//!
//! Bounds: [`GATEWAY_PENDING_MAX`] requests wait; each is tried again for [`GATEWAY_RETRY_MAX_MS`].

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use tokio::time::{Sleep, sleep};

use crate::base::limits::{
    GATEWAY_MOVED_MAX, GATEWAY_PENDING_MAX, GATEWAY_RETRY_MAX_MS, GATEWAY_RETRY_MS, REQUEST_MAX_BYTES,
    SHARED_REPLY_MIN, WRITE_SLICES,
};
use crate::base::slot::Slot;
use crate::cluster::route::View;
use crate::command::context::WorkerLocal;
use crate::command::execute::{Progress, execute};
use crate::command::gateway::{Join, Plan, Target, plan};
use crate::command::session::{ReplyMode, Session};
use crate::command::txn;
use crate::hub::Hub;
use crate::hub::cluster::count;
use crate::resp::args::Args;
use crate::resp::output::Mark;
use crate::resp::reply::{Proto, Reply};
use crate::resp::request::{Limits, Scan, Scanner};
use crate::server::gateway::awaited::{Awaited, Kind, Part, Stage};
use crate::server::gateway::link::{Link, Mailbox, Outcome, is_elsewhere};
use crate::server::gateway::pool::{Pool, address_of, address_of_moved};

const OK: &[u8] = b"+OK\r\n";
const DOWN: &[u8] = b"-CLUSTERDOWN The gateway cannot reach the node that serves this slot\r\n";
const LOST: &[u8] = b"-ERR the gateway lost its link to the node that serves this slot before the reply came: the command may or may not have been executed\r\n";

/// The link on which the session's watched keys are watched.
struct Pinned {
    /// Nothing if it could not be had.
    link: Option<Rc<Link>>,
    /// The keys are not watched, or no longer: EXEC does nothing.
    broken: bool,
}

/// What the gateway needs of the connection's worker.
pub struct Means<'a> {
    /// The worker's links.
    pub pool: &'a Pool,
    /// What commands need, for parts that run here.
    pub worker: &'a mut WorkerLocal,
    /// The connection's state.
    pub session: &'a mut Session,
}

/// One connection's way through the gateway; see the module.
pub struct Passage {
    mailbox: Rc<Mailbox>,
    pending: VecDeque<Awaited>,
    /// Behind it, replies wait for those that are pending.
    mark: Option<Mark>,
    /// The table as of this batch.
    view: Option<Arc<View>>,
    /// The table that pending requests were sent by.
    stamp: (u32, u64),
    /// Nothing new is begun while something is pending.
    barrier: bool,
    /// Requests wait in the input for something here.
    stalled: bool,
    timer: Option<Pin<Box<Sleep>>>,
    pinned: Option<Pinned>,
    /// To be closed when nothing is pending.
    retiring: Option<Rc<Link>>,
    /// The node's lease ran out while a part ran here: no reply may leave.
    lapsed: bool,
    local: u64,
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.unpin();
        self.retire();
    }
}

impl Passage {
    /// For the connection whose task `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self {
            mailbox: Mailbox::new(waker),
            pending: VecDeque::new(),
            mark: None,
            view: None,
            stamp: (0, 0),
            barrier: false,
            stalled: false,
            timer: None,
            pinned: None,
            retiring: None,
            lapsed: false,
            local: 0,
        }
    }

    /// Whether replies are owed.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the next request waits for something here.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Whether the connection must end without a further reply.
    pub fn has_lapsed(&self) -> bool {
        self.lapsed
    }

    /// Before a batch: what it answers waits, if something is pending.
    pub fn begin(&mut self, hub: &Hub, reply: &Reply) {
        self.view = None;
        if self.is_busy() {
            self.mark = Some(reply.checkpoint());
            self.barrier |= self.view(hub).table.stamp() != self.stamp;
        }
    }

    /// Whether the next request must wait, so that order is kept.
    #[inline]
    pub fn must_wait(&mut self) -> bool {
        self.stalled = self.barrier || self.pending.len() >= GATEWAY_PENDING_MAX;
        self.stalled
    }

    /// A request has run here.
    #[inline]
    pub fn ran_here(&mut self, session: &Session) {
        self.local += 1;
        if session.watched_away.is_none() && self.pinned.is_some() {
            self.unpin();
        }
    }

    /// After a batch: keeps what must wait.
    pub fn finish(&mut self, hub: &Hub, reply: &mut Reply) {
        self.cut(reply);
        if self.local > 0 {
            hub.cluster.gateway.local.fetch_add(std::mem::take(&mut self.local), Ordering::Relaxed);
        }
    }

    /// Takes a request that does not run here alone; false if it must wait. `raw` is the request as it came, if it came in
    /// the form in which it may be sent on.
    pub fn take(
        &mut self,
        means: &mut Means<'_>,
        reply: &mut Reply,
        args: Args<'_>,
        raw: Option<&[u8]>,
    ) -> bool {
        let view = self.view(&means.worker.hub);
        let plan = plan(&view, means.session, args);
        let alone = matches!(plan, Plan::Watch { .. } | Plan::Exec { .. });
        if alone && self.is_busy() {
            self.barrier = true;
            self.stalled = true;
            return false;
        }
        let silent = means.session.reply_mode != ReplyMode::On;
        let (mark, before) = (reply.checkpoint(), self.pending.len());
        let taken = match plan {
            Plan::Whole { slot, writes } => self.take_whole(means, reply, (slot, writes), args, raw),
            Plan::Parts { parts, join, writes } => {
                let parts = parts
                    .into_iter()
                    .map(|part| Part::new(part.target, part.bytes.into_boxed_slice(), part.requests))
                    .collect();
                self.push(means, reply, awaited(parts, join, writes));
                true
            }
            Plan::Watch { slot } => self.take_watch(means, reply, slot, args),
            Plan::Exec { part, writes } => {
                let part = Part::new(part.target, part.bytes.into_boxed_slice(), part.requests);
                self.take_exec(means, reply, part, writes);
                true
            }
            Plan::Refused(error) => {
                means.worker.hub.errors.count(error.code());
                means.worker.state.stats.error_replies.add(1);
                reply.error(&error);
                true
            }
        };
        if taken && silent {
            // What is answered later knows that by itself.
            if self.pending.len() == before {
                reply.truncate_to(mark);
            }
            if means.session.reply_mode == ReplyMode::Skip {
                means.session.reply_mode = ReplyMode::On;
            }
        }
        taken
    }

    fn take_whole(
        &mut self,
        means: &mut Means<'_>,
        reply: &mut Reply,
        (slot, writes): (Slot, bool),
        args: Args<'_>,
        raw: Option<&[u8]>,
    ) -> bool {
        let view = self.view(&means.worker.hub);
        let owner = view.owner(slot).filter(|owner| owner.id != view.me);
        if owner.is_some_and(|owner| means.pool.link(address_of(owner), reply.proto()).is_full()) {
            self.stall_for_a_while();
            return false;
        }
        let bytes = match raw {
            Some(raw) => raw.into(),
            None => encoded(args),
        };
        let part = Part::new(Target::Slot(slot), bytes, 1);
        self.push(means, reply, awaited(smallvec![part], Join::AsIs, writes));
        true
    }

    fn take_watch(&mut self, means: &mut Means<'_>, reply: &mut Reply, slot: Slot, args: Args<'_>) -> bool {
        let view = self.view(&means.worker.hub);
        if self.pinned.is_none() {
            let owner = view.owner(slot);
            if owner.is_some_and(|owner| owner.id == view.me) {
                // It has just come here.
                self.stall_for_a_while();
                return false;
            }
            // Keys that were watched here went away with their slot.
            let owner = owner.filter(|_| means.session.watched.is_empty());
            let link = owner.map(|owner| means.pool.own_link(address_of(owner), reply.proto()));
            self.pinned = Some(Pinned { broken: link.is_none(), link });
        }
        means.session.watched_away = Some(slot);
        let link =
            self.pinned.as_ref().filter(|pinned| !pinned.broken).and_then(|pinned| pinned.link.clone());
        let Some(link) = link else {
            reply.ok();
            return true;
        };
        let mut part = Part::new(Target::Slot(slot), encoded(args), 1);
        part.stage = Stage::Sent(link.send(&self.mailbox, &part.bytes, 1));
        self.enter(
            means,
            reply,
            Awaited { kind: Kind::Watch, ..awaited(smallvec![part], Join::AsIs, false) },
        );
        self.barrier = true;
        true
    }

    fn take_exec(&mut self, means: &mut Means<'_>, reply: &mut Reply, mut part: Part, writes: bool) {
        let watched_here = !means.session.watched.is_empty();
        let pinned = self.pinned.take();
        txn::discard(&means.worker.hub, means.session);
        let Some(pinned) = pinned else {
            if watched_here {
                return reply.null_array();
            }
            return self.push(means, reply, awaited(smallvec![part], Join::AsIs, writes));
        };
        let Some(link) = pinned.link else {
            return reply.null_array();
        };
        if pinned.broken || watched_here {
            link.close();
            return reply.null_array();
        }
        part.stage = Stage::Sent(link.send(&self.mailbox, &part.bytes, part.requests));
        self.retiring = Some(link);
        let parts = smallvec![part];
        self.enter(means, reply, Awaited { kind: Kind::WatchedExec, ..awaited(parts, Join::AsIs, writes) });
        self.barrier = true;
    }

    /// Sends the parts of a request and awaits their replies.
    fn push(&mut self, means: &mut Means<'_>, reply: &mut Reply, mut awaited: Awaited) {
        let view = self.view(&means.worker.hub);
        let mut sent = true;
        for part in &mut awaited.parts {
            sent &= self.send(means, &view, reply.proto(), part);
        }
        self.enter(means, reply, awaited);
        if !sent {
            self.mailbox.trouble.set(true);
            self.barrier = true;
            self.set_timer();
        }
    }

    fn enter(&mut self, means: &Means<'_>, reply: &mut Reply, mut awaited: Awaited) {
        awaited.silent = means.session.reply_mode != ReplyMode::On;
        awaited.behind = Reply::new(reply.proto());
        self.cut(reply);
        if self.pending.is_empty() {
            self.stamp = self.view.as_ref().map_or((0, 0), |view| view.table.stamp());
        }
        self.pending.push_back(awaited);
        self.mark = Some(reply.checkpoint());
    }

    /// Keeps what was written since the mark behind the last pending request.
    fn cut(&mut self, reply: &mut Reply) {
        if let (Some(mark), Some(last)) = (self.mark.take(), self.pending.back_mut())
            && reply.bytes_since(mark) > 0
        {
            last.behind.append(reply.split_off(mark));
        }
    }

    /// Sends one part, or runs it here. False if nobody is known to send it to; then it stays unsent.
    fn send(&self, means: &mut Means<'_>, view: &View, proto: Proto, part: &mut Part) -> bool {
        let address = match part.moved_to.take() {
            Some(address) => address,
            None => {
                let member = match part.target {
                    Target::Slot(slot) => view.owner(slot),
                    Target::Node(id) => view.table.member(id),
                };
                match member {
                    None => return false,
                    Some(member) if member.id == view.me => {
                        return match run_here(means, proto, part) {
                            Some(done) => {
                                part.stage = Stage::Done(done);
                                true
                            }
                            None => false,
                        };
                    }
                    Some(member) => address_of(member),
                }
            }
        };
        count(&means.worker.hub.cluster.gateway.remote);
        let link = means.pool.link(address, proto);
        part.stage = Stage::Sent(link.send(&self.mailbox, &part.bytes, part.requests));
        true
    }

    /// Writes every reply whose turn it is, and sends again what must be.
    pub fn collect(&mut self, cx: &mut Context<'_>, means: &mut Means<'_>, out: &mut Reply) {
        let fired = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if fired {
            self.timer = None;
            self.stalled = false;
        }
        if self.is_busy() && (fired || self.mailbox.trouble.take()) {
            self.mend(means, out.proto(), fired);
        }
        while let Some(front) = self.pending.front_mut() {
            if !front.settle() {
                break;
            }
            let Some(done) = self.pending.pop_front() else { break };
            write(means.worker, done, out);
            self.stalled = self.barrier;
        }
        if self.pending.is_empty() {
            self.barrier = false;
            self.retire();
            if self.timer.is_none() {
                self.stalled = false;
            }
        }
    }

    /// Closes the link that watches, if there is one.
    fn unpin(&mut self) {
        if let Some(link) = self.pinned.take().and_then(|pinned| pinned.link) {
            link.close();
        }
    }

    fn retire(&mut self) {
        if let Some(link) = self.retiring.take() {
            link.close();
        }
    }

    fn view(&mut self, hub: &Hub) -> Arc<View> {
        Arc::clone(self.view.get_or_insert_with(|| hub.cluster.routes.view()))
    }

    fn stall_for_a_while(&mut self) {
        self.stalled = true;
        self.set_timer();
    }

    fn set_timer(&mut self) {
        if self.timer.is_none() {
            self.timer = Some(Box::pin(sleep(Duration::from_millis(GATEWAY_RETRY_MS))));
            // So that the timer is asked, which makes it wake the task.
            self.mailbox.wake();
        }
    }

    /// Looks at what was not simply answered: gives it up, or sends it again, in order; at once where a MOVED says whereto,
    /// else after a while.
    fn mend(&mut self, means: &mut Means<'_>, proto: Proto, fired: bool) {
        means.worker.refresh_now();
        let view = means.worker.hub.cluster.routes.view();
        let mut later = false;
        let mut pending = std::mem::take(&mut self.pending);
        for awaited in &mut pending {
            for part in &mut awaited.parts {
                let outcome = match &part.stage {
                    Stage::Done(_) => continue,
                    Stage::Unsent => Outcome::Unsent,
                    Stage::Sent(call) => call.take(),
                };
                part.stage = match outcome {
                    Outcome::Waiting => continue,
                    Outcome::Reply(reply) if !is_elsewhere(&reply) => Stage::Done(reply),
                    outcome => {
                        let judge = Judge { view: &view, proto, kind: awaited.kind, writes: awaited.writes };
                        if awaited.kind == Kind::Watch
                            && let Some(pinned) = &mut self.pinned
                        {
                            pinned.broken = true;
                        }
                        judge.verdict(means.worker, part, outcome)
                    }
                };
                later |= matches!(part.stage, Stage::Unsent) && part.moved_to.is_none();
            }
        }
        self.barrier = true;
        if later && !fired {
            self.set_timer();
        } else {
            self.send_again(means, &view, proto, &mut pending);
        }
        self.pending = pending;
        self.lapsed |= !means.worker.may_answer();
    }

    fn send_again(
        &mut self,
        means: &mut Means<'_>,
        view: &View,
        proto: Proto,
        pending: &mut VecDeque<Awaited>,
    ) {
        let unsent = pending.iter_mut().flat_map(|awaited| &mut awaited.parts);
        for part in unsent.filter(|part| matches!(part.stage, Stage::Unsent)) {
            count(&means.worker.hub.cluster.gateway.retries);
            if !self.send(means, view, proto, part) {
                self.set_timer();
                // What follows may be of the same slot.
                break;
            }
        }
    }
}

/// What is known when something went wrong with a part.
struct Judge<'a> {
    view: &'a View,
    proto: Proto,
    kind: Kind,
    writes: bool,
}

impl Judge<'_> {
    /// What becomes of the part: an answer, or another try.
    fn verdict(&self, worker: &WorkerLocal, part: &mut Part, outcome: Outcome) -> Stage {
        let now_ms = worker.state.now_ms;
        let errors = &worker.hub.cluster.gateway.errors;
        match (self.kind, &outcome) {
            // That the keys are not watched makes the EXEC to come do nothing.
            (Kind::Watch, _) => return Stage::Done(OK.to_vec()),
            (_, Outcome::Lost) if self.writes => {
                count(errors);
                return Stage::Done(LOST.to_vec());
            }
            (Kind::WatchedExec, _) => {
                let null: &[u8] = if self.proto == Proto::Resp3 { b"_\r\n" } else { b"*-1\r\n" };
                return Stage::Done(null.to_vec());
            }
            (Kind::Plain, _) => {}
        }
        if part.until_ms == 0 {
            part.until_ms = now_ms + GATEWAY_RETRY_MAX_MS;
        }
        if now_ms >= part.until_ms {
            count(errors);
            return Stage::Done(match outcome {
                Outcome::Reply(reply) if !reply.starts_with(b"-MOVED ") => reply,
                _ => DOWN.to_vec(),
            });
        }
        if let Outcome::Reply(reply) = &outcome
            && reply.starts_with(b"-MOVED ")
            && part.moves < GATEWAY_MOVED_MAX
        {
            part.moves += 1;
            part.moved_to = address_of_moved(self.view, reply);
        }
        Stage::Unsent
    }
}

fn awaited(parts: SmallVec<[Part; 1]>, join: Join, writes: bool) -> Awaited {
    Awaited { parts, join, writes, silent: false, kind: Kind::Plain, behind: Reply::default() }
}

fn encoded(args: Args<'_>) -> Box<[u8]> {
    let mut bytes = Vec::new();
    args.encode_into(&mut bytes);
    bytes.into_boxed_slice()
}

/// Writes the reply to a request that is done.
fn write(worker: &mut WorkerLocal, mut done: Awaited, out: &mut Reply) {
    if !done.silent {
        match (&done.join, done.parts.first_mut().map(|part| &mut part.stage)) {
            (Join::AsIs, Some(Stage::Done(reply))) if reply.len() < SHARED_REPLY_MIN => out.raw(reply),
            (Join::AsIs, Some(Stage::Done(reply))) => out.raw_shared(std::mem::take(reply).into()),
            _ => {
                let replies: Vec<&[u8]> = done.parts.iter().filter_map(Part::reply).collect();
                done.join.write(&replies, &mut worker.state.rng, out);
            }
        }
    }
    out.append(done.behind);
}

/// Runs a part on this node, as a client of its own would; nothing if its slot is not served here now.
fn run_here(means: &mut Means<'_>, proto: Proto, part: &Part) -> Option<Vec<u8>> {
    let mut session = Session::new(Arc::clone(&means.session.client), true);
    session.no_touch = means.session.no_touch;
    let mut reply = Reply::new(proto);
    let mut scanner = Scanner::new();
    let limits = Limits::new(REQUEST_MAX_BYTES, true);
    means.worker.state.ahead.forget();
    let mut at = 0;
    let mut elsewhere = false;
    let mut last = Vec::new();
    while at < part.bytes.len() {
        let Scan::Request { consumed_bytes } = scanner.scan(&part.bytes[at..], &limits) else { return None };
        let progress = execute(means.worker, &mut session, &mut reply, scanner.args(&part.bytes[at..]));
        if progress != Progress::Done {
            txn::discard(&means.worker.hub, &mut session);
            return None;
        }
        at += consumed_bytes;
        last = taken(&mut reply);
        elsewhere |= is_elsewhere(&last);
    }
    (!elsewhere).then_some(last)
}

/// All that was written, as bytes.
fn taken(reply: &mut Reply) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reply.pending_bytes());
    while !reply.is_empty() {
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let filled = reply.slices(&mut slices);
        let before = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        let length = bytes.len() - before;
        reply.advance(length);
    }
    bytes
}
