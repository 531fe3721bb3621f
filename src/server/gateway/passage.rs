//! One connection's way through the gateway: its requests that wait for other nodes, in order, and the replies that
//! must wait behind them.
//!
//! A reply made here while an earlier one is still awaited is cut from the connection's output and kept behind that one.
//! Requests to several nodes are under way at once, which nobody can tell apart: what concerns one slot goes to one node
//! over one link, in order.
//!
//! Requests for one key take effect in the order sent, also while its slot moves:
//! - Once something goes wrong (MOVED, a link that ends, another table, another protocol) nothing new is begun before all
//!   that waits is settled. Nothing runs here by another table than that by which requests are under way
//!   (`Session::owed`).
//! - A request that was refused is sent on when what stands before it, of the same slot, is answered, not before; what was
//!   sent behind it to the same node is refused there, too (see `Link`), and follows it.
//! - What is of all nodes (FLUSHALL, DBSIZE) begins when nothing is under way, and nothing begins before it is answered.
//! - A read whose link was lost is not tried again behind a write that may have been executed.
//!
//! A command that waits at another node does so alone, on a link of its own (see `Vigil`); what is behind it in the
//! pipeline waits.
//!
//! Bounds: [`GATEWAY_PENDING_MAX`] requests wait; each is tried again for `GATEWAY_RETRY_MAX_MS`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use tokio::time::{Sleep, sleep};

use crate::base::limits::{GATEWAY_PENDING_MAX, GATEWAY_RETRY_MAX_MS, GATEWAY_RETRY_MS, SHARED_REPLY_MIN};
use crate::base::slot::Slot;
use crate::cluster::route::{SlotSet, View};
use crate::command::context::WorkerLocal;
use crate::command::gateway::{Errand, Join, Plan, Target, plan};
use crate::command::session::{ReplyMode, Session};
use crate::command::txn;
use crate::hub::Hub;
use crate::hub::cluster::count;
use crate::resp::args::Args;
use crate::resp::output::Mark;
use crate::resp::reply::{Proto, Reply};
use crate::server::gateway::awaited::{Awaited, Kind, Part, Stage};
use crate::server::gateway::here::run_here;
use crate::server::gateway::judge::{Judge, disown_reads};
use crate::server::gateway::link::{Link, Mailbox, Outcome, is_elsewhere};
use crate::server::gateway::pool::{Pool, address_of};
use crate::server::gateway::vigil::{OwnLink, Vigil};

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
    /// The table as of this batch, and its number.
    view: Option<(u64, Arc<View>)>,
    /// The number of the table that pending requests were sent by, and the protocol.
    generation: u64,
    proto: Proto,
    /// Nothing new is begun while something is pending.
    barrier: bool,
    /// Requests wait in the input for something here.
    stalled: bool,
    /// Requests are to be sent again when others are done.
    holds: bool,
    timer: Option<Pin<Box<Sleep>>>,
    pinned: Option<Pinned>,
    /// To be closed when nothing is pending.
    retiring: Option<Rc<Link>>,
    /// The command that waits at another node, and the link for such commands. Nothing else is pending meanwhile.
    vigil: Option<Box<Vigil>>,
    own: Option<Box<OwnLink>>,
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
            generation: 0,
            proto: Proto::Resp2,
            barrier: false,
            stalled: false,
            holds: false,
            timer: None,
            pinned: None,
            retiring: None,
            vigil: None,
            own: None,
            lapsed: false,
            local: 0,
        }
    }

    /// Whether replies are owed.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the client waits at another node (BLPOP).
    pub fn is_waiting(&self) -> bool {
        self.vigil.is_some()
    }

    /// Has the next request wait until nothing is pending; false if nothing is.
    pub fn settle_first(&mut self) -> bool {
        let busy = self.is_busy();
        self.barrier |= busy;
        self.stalled |= busy;
        busy
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
            self.barrier |= hub.cluster.routes.generation() != self.generation;
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
        let alone = plan.is_alone();
        if (alone || reply.proto() != self.proto) && self.settle_first() {
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
                self.barrier |= alone;
                true
            }
            Plan::Wait { slot, entry } => {
                let errand = Errand::new(entry, args, means.worker.state.now_ms);
                self.begin_wait(means, reply, slot, errand);
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

    /// Takes a command that has waited here until its slot went to another node.
    pub fn wait_away(&mut self, means: &mut Means<'_>, reply: &mut Reply, slot: Slot, errand: Errand) {
        self.view = None;
        self.begin_wait(means, reply, slot, errand);
        if means.session.reply_mode == ReplyMode::Skip {
            means.session.reply_mode = ReplyMode::On;
        }
        self.finish(&means.worker.hub, reply);
    }

    fn begin_wait(&mut self, means: &mut Means<'_>, reply: &mut Reply, slot: Slot, errand: Errand) {
        let writes = errand.writes();
        self.vigil = Some(Box::new(Vigil::begin(&means.worker.hub, &means.session.client, errand)));
        let part = Part::new(Target::Slot(slot), Box::default(), 1);
        let waits = Awaited { kind: Kind::Waits, ..awaited(smallvec![part], Join::AsIs, writes) };
        self.push(means, reply, waits);
        self.barrier = true;
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
            sent &= self.dispatch(means, (&view, reply.proto(), awaited.kind), part);
        }
        self.enter(means, reply, awaited);
        if !sent {
            self.mailbox.trouble.set(true);
            self.barrier = true;
            self.set_timer();
        }
    }

    fn enter(&mut self, means: &mut Means<'_>, reply: &mut Reply, mut awaited: Awaited) {
        awaited.silent = means.session.reply_mode != ReplyMode::On;
        awaited.behind = Reply::new(reply.proto());
        self.cut(reply);
        if self.pending.is_empty() {
            self.generation = self.view.as_ref().map_or(0, |(generation, _)| *generation);
            self.proto = reply.proto();
            means.session.owed = self.generation;
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
    fn dispatch(
        &mut self,
        means: &mut Means<'_>,
        (view, proto, kind): (&View, Proto, Kind),
        part: &mut Part,
    ) -> bool {
        let member = match part.target {
            Target::Slot(slot) => view.owner(slot),
            Target::Node(id) => view.table.member(id),
        };
        let here = member.is_some_and(|member| member.id == view.me) && part.moved_to.is_none();
        if here && kind != Kind::Waits {
            let done = run_here(means, proto, part);
            let was_done = done.is_some();
            part.stage = done.map_or(Stage::Unsent, Stage::Done);
            return was_done;
        }
        let Some(address) = part.moved_to.take().or_else(|| member.map(address_of)) else { return false };
        count(&means.worker.hub.cluster.gateway.remote);
        if kind == Kind::Waits {
            self.send_waiting(means, (address, proto), part);
        } else {
            let link = means.pool.link(address, proto);
            part.stage = Stage::Sent(link.send(&self.mailbox, &part.bytes, part.requests));
        }
        true
    }

    /// Sends a command that waits; where its slot has come to this node meanwhile, to this node's own port.
    fn send_waiting(&mut self, means: &Means<'_>, (address, proto): (SocketAddr, Proto), part: &mut Part) {
        let (Some(vigil), Some(slot)) = (&mut self.vigil, part.slot()) else { return };
        let known = self.own.take().filter(|own| own.leads_to(address, proto));
        let own = known.unwrap_or_else(|| Box::new(OwnLink::open(means.pool, &self.mailbox, address, proto)));
        part.stage = Stage::Sent(vigil.send(&own, &self.mailbox, slot, means.worker.state.now_ms));
        self.own = Some(own);
    }

    /// Writes every reply whose turn it is, and sends again what must be.
    pub fn collect(&mut self, cx: &mut Context<'_>, means: &mut Means<'_>, out: &mut Reply) {
        let fired = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if fired {
            self.timer = None;
            self.stalled = false;
        }
        if self.is_busy() && (self.mailbox.trouble.take() || fired || self.holds) {
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
        if let (Some(vigil), Some(own), false) = (&mut self.vigil, &mut self.own, self.pending.is_empty())
            && vigil.heed(own, means.pool, &self.mailbox, fired)
        {
            self.set_timer();
        }
        if self.pending.is_empty() {
            self.barrier = false;
            self.holds = false;
            means.session.owed = 0;
            self.end_wait();
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

    fn end_wait(&mut self) {
        if self.vigil.take().is_some()
            && let Some(own) = &self.own
        {
            own.rest();
        }
    }

    fn view(&mut self, hub: &Hub) -> Arc<View> {
        let routes = &hub.cluster.routes;
        // The number first: then the table may be later than it says, which is found out, but not earlier.
        let (_, view) = self.view.get_or_insert_with(|| (routes.generation(), routes.view()));
        Arc::clone(view)
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
        let now_ms = means.worker.state.now_ms;
        let view = means.worker.hub.cluster.routes.view();
        let mut later = false;
        let mut given_up = SlotSet::default();
        let mut pending = std::mem::take(&mut self.pending);
        disown_reads(means.worker, pending.iter_mut());
        for awaited in &mut pending {
            let judge = Judge { view: &view, proto, kind: awaited.kind, writes: awaited.writes };
            for part in &mut awaited.parts {
                let outcome = match &part.stage {
                    Stage::Done(_) => continue,
                    // It has its turn, unless that before it had none in all the time that is given to either.
                    Stage::Held
                        if now_ms < part.until_ms
                            || !part.slot().is_some_and(|slot| given_up.contains(slot)) =>
                    {
                        continue;
                    }
                    Stage::Unsent | Stage::Held => Outcome::Unsent,
                    Stage::Sent(call) => call.take(),
                };
                part.stage = match outcome {
                    Outcome::Waiting => continue,
                    Outcome::Reply(reply) if !is_elsewhere(&reply) => Stage::Done(reply),
                    outcome => {
                        self.note_trouble(awaited.kind, part, &outcome, now_ms);
                        let verdict = judge.verdict(means.worker, part, outcome);
                        if let (Stage::Done(_), Some(slot)) = (&verdict, part.slot()) {
                            given_up.insert(slot);
                        }
                        verdict
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

    /// A part was not simply answered.
    fn note_trouble(&mut self, kind: Kind, part: &mut Part, outcome: &Outcome, now_ms: u64) {
        match (kind, &mut self.pinned, &self.vigil) {
            (Kind::Watch, Some(pinned), _) => pinned.broken = true,
            (Kind::Waits, _, Some(vigil)) => {
                let has_waited = now_ms >= vigil.sent_ms().saturating_add(GATEWAY_RETRY_MAX_MS);
                if has_waited && !matches!(outcome, Outcome::Unsent) {
                    // This is another trouble than the last one.
                    (part.until_ms, part.moves) = (0, 0);
                }
                if vigil.is_over(now_ms) && matches!(outcome, Outcome::Lost) {
                    // The other node was silent for long after that: another try could go on like this for ever.
                    part.until_ms = now_ms.max(1);
                }
            }
            _ => {}
        }
    }

    /// Sends what is to be sent again, each slot's requests one after the other.
    fn send_again(
        &mut self,
        means: &mut Means<'_>,
        view: &View,
        proto: Proto,
        pending: &mut VecDeque<Awaited>,
    ) {
        let mut undone = SlotSet::default();
        self.holds = false;
        for awaited in pending {
            for part in &mut awaited.parts {
                let slot = part.slot();
                if matches!(part.stage, Stage::Unsent | Stage::Held) {
                    if slot.is_some_and(|slot| undone.contains(slot)) {
                        part.stage = Stage::Held;
                        self.holds = true;
                        continue;
                    }
                    part.stage = Stage::Unsent;
                    count(&means.worker.hub.cluster.gateway.retries);
                    if !self.dispatch(means, (view, proto, awaited.kind), part) {
                        self.set_timer();
                    }
                }
                if let (Some(slot), false) = (slot, matches!(part.stage, Stage::Done(_))) {
                    undone.insert(slot);
                }
            }
        }
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
