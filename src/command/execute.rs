//! The one path on which a command runs: resolve → gates → (queue, inside MULTI) → lock → handler → record.
//!
//! Synchronous: no await, no socket. The reply is in `reply` when it returns; what else is to become of the connection
//! is in the session.

use crate::base::slot::Slot;
use crate::command::ahead::Ahead;
use crate::command::blocking::{self, Parked};
use crate::command::context::{Cx, Data, WorkerLocal};
use crate::command::keys;
use crate::command::latency;
use crate::command::monitor;
use crate::command::route::{self, Stop};
use crate::command::session::{ReplyMode, Session};
use crate::command::slowlog;
use crate::command::sort;
use crate::command::spec::Group;
use crate::command::spec::flags::{ADMIN, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, SKIP_MONITOR, WRITE};
use crate::command::table::{self, Entry};
use crate::command::{gates, tracking, txn};
use crate::config::Config;
use crate::hub::Hub;
use crate::hub::clients::{OutputLimit, PauseKind};
use crate::metrics::workers::WorkerStats;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// It was answered.
    Done,
    /// Nothing happened: its slot is held, and it is to be tried again.
    Held,
    /// It waits for a key (`WorkerState::waits` says how long): the request is done with, its reply comes later.
    Waits,
    /// Nothing happened: the thread for long scripts is to run it. CLIENT REPLY SKIP has begun already.
    Apart,
    /// Nothing happened: the gateway is to have it run elsewhere, or everywhere. Whoever does so ends what CLIENT REPLY
    /// SKIP began.
    Away,
}

/// Runs one request and writes its reply.
pub fn execute(
    worker: &mut WorkerLocal,
    session: &mut Session,
    reply: &mut Reply,
    args: Args<'_>,
) -> Progress {
    let progress = run_for(worker, session, reply, args);
    if session.caching.given {
        tracking::end_announcement(session, args, progress);
    }
    progress
}

/// Runs one request and writes its reply, if its client wants one.
#[inline]
fn run_for(worker: &mut WorkerLocal, session: &mut Session, reply: &mut Reply, args: Args<'_>) -> Progress {
    if session.reply_mode == ReplyMode::On {
        let progress = answer(worker, session, reply, args);
        deliver(session, reply, progress);
        return progress;
    }
    if session.reply_mode == ReplyMode::SkipNext {
        session.reply_mode = ReplyMode::Skip;
    }
    let mark = reply.checkpoint();
    let progress = answer(worker, session, reply, args);
    if progress != Progress::Done {
        return progress;
    }
    // What switches replies on is answered itself: CLIENT REPLY ON always, RESET where they were off. The rest is taken
    // back, that of a further CLIENT REPLY SKIP too.
    match session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Skip => {
            reply.truncate_to(mark);
            session.reply_mode = ReplyMode::On;
        }
        ReplyMode::Off | ReplyMode::SkipNext => reply.truncate_to(mark),
    }
    if let Some(pushed) = session.pushed.take() {
        reply.append(*pushed);
    }
    deliver(session, reply, progress);
    progress
}

/// Writes what was queued for the client meanwhile, by itself too: it stands behind the reply of the command that
/// caused it.
#[inline]
fn deliver(session: &Session, reply: &mut Reply, progress: Progress) {
    if session.client.outbox_bytes() != 0 && progress == Progress::Done && session.closing.is_none() {
        session.client.drain_outbox(|frame| reply.raw_shared(frame));
    }
}

/// Whether CLIENT PAUSE holds this request back.
pub fn must_wait(worker: &WorkerLocal, session: &Session, args: Args<'_>) -> Option<PauseKind> {
    let (kind, _) = worker.hub.clients.paused(worker.state.now_ms)?;
    let entry = table::resolve(args).ok()?;
    match kind {
        PauseKind::All => Some(kind),
        PauseKind::Write => {
            let hub = &worker.hub;
            let is_held = txn::is_held_by_pause(hub, entry, args);
            (is_held || txn::is_exec_that_is_held(hub, entry, session)).then_some(kind)
        }
    }
}

fn answer(worker: &mut WorkerLocal, session: &mut Session, reply: &mut Reply, args: Args<'_>) -> Progress {
    let entry = match worker.state.recent.resolve(args) {
        Ok(entry) => entry,
        // A known command with too many or too few arguments counts as rejected.
        Err(error) => {
            reject(worker, session, reply, table::resolve_name(args).ok(), error);
            return Progress::Done;
        }
    };
    let slot = match gates::check(worker, session, entry, args) {
        Ok(slot) => slot,
        Err(Stop::Held) => return Progress::Held,
        Err(Stop::Away) => return Progress::Away,
        Err(Stop::Refused(error)) => {
            reject(worker, session, reply, Some(entry), error);
            return Progress::Done;
        }
    };
    if let Some(transaction) = &mut session.transaction
        && !txn::runs_inside_multi(entry)
    {
        transaction.queue.push((entry, args.to_owned()));
        session.client.queued.store(transaction.queue.len() as i32, std::sync::atomic::Ordering::Relaxed);
        reply.simple("QUEUED");
        return Progress::Done;
    }
    let progress = run(worker, session, reply, Request { entry, args, slot });
    if !worker.state.changed_keys.is_empty() {
        let waits = worker.state.waits.take();
        blocking::serve(worker);
        worker.state.waits = waits;
    }
    if matches!(progress, Progress::Waits | Progress::Apart) {
        worker.state.waits_at = Some((entry, slot));
    }
    progress
}

/// A request that has passed the gates.
#[derive(Clone, Copy)]
struct Request<'a> {
    entry: &'static Entry,
    args: Args<'a>,
    slot: Option<Slot>,
}

fn run(worker: &mut WorkerLocal, session: &mut Session, reply: &mut Reply, request: Request<'_>) -> Progress {
    let Request { entry, args, slot } = request;
    let WorkerLocal { hub, state } = worker;
    let began_ns = state.last_ns;
    let now_ms = state.now_ms;
    let mut data = Data::new(&hub.keyspace, session.db, now_ms, !session.no_touch);
    data.keeps_due = keeps_due(hub, entry, now_ms);
    data.wanted = hub.events.wanted();
    let mut cx = Cx {
        hub,
        worker: state,
        session,
        reply,
        data,
        entry,
        slot,
        held: false,
        waits: None,
        goes_apart: false,
        now_ms,
    };
    // Where they stay: guards are many words to move.
    lock(&mut cx.data, &mut cx.worker.ahead, entry, args, slot);
    // EXEC takes its locks itself, and asks then.
    let admitted = if txn::is_exec(entry) { Ok(()) } else { still_here(&mut cx) };
    let outcome = admitted.and_then(|()| call(&mut cx, entry, args));
    hand_over_changes(&mut cx);
    // A key of another type than it waits for has nothing for whoever waits.
    let is_strange = cx.session.is_served && outcome == Err(Error::WrongType);
    let waits_on = is_strange && !blocking::has_right_type(&mut cx, args);
    cx.data.unlock();
    if cx.held {
        return Progress::Held;
    }
    if cx.goes_apart {
        return Progress::Apart;
    }
    if waits_on || cx.waits.is_some() {
        if !cx.session.is_served {
            feed_monitors(&mut cx, entry, args);
        }
        cx.worker.waits = cx.waits.take();
        cx.session.client.last_command.store(entry.id as u32, std::sync::atomic::Ordering::Relaxed);
        if cx.hub.tracking.any() {
            tracking::tell(&mut cx, false);
        }
        return Progress::Waits;
    }
    finish(&mut cx, entry, args, began_ns, outcome);
    let Data { hits, misses, dirty, .. } = cx.data;
    count_keys(&cx.worker.stats, hits, misses, dirty);
    if cx.hub.tracking.any() {
        tracking::tell(&mut cx, true);
    }
    Progress::Done
}

/// Tells of what happened to keys, and notes which of them somebody waits for or has cached. To be called before shards are unlocked.
#[inline]
pub fn hand_over_changes(cx: &mut Cx<'_>) {
    if cx.data.wanted != 0 {
        let changes = cx.data.take_changes();
        cx.hub.events.publish(&changes);
    }
    if cx.hub.blocked.any() {
        cx.data.take_changed_keys(&mut cx.worker.changed_keys);
    }
    if cx.hub.tracking.any() {
        tracking::collect(cx);
    }
}

/// Counts a command that has waited in vain; `error` is what it is answered, if it is an error.
pub fn count_in_vain(worker: &mut WorkerLocal, entry: &Entry, error: Option<&Error>) {
    let tracked = worker.state.config().latency_tracking;
    let stats = &worker.state.stats;
    stats.commands_processed.add(1);
    let row = stats.command(entry.id);
    if let Some(row) = row {
        row.record(0, tracked);
    }
    if let Some(error) = error {
        worker.hub.errors.count(error.code());
        stats.error_replies.add(1);
        if let Some(row) = row {
            row.fail();
        }
    }
}

/// Runs the request of a client that waits, again.
pub fn again(worker: &mut WorkerLocal, parked: &mut Parked) -> Progress {
    let Parked { session, reply, args, entry, slot, .. } = parked;
    let request = Request { entry, args: args.as_args(), slot: *slot };
    let progress = run(worker, session, reply, request);
    worker.state.waits = None;
    progress
}

/// Asks again, under the locks, whether the command's slot is served here, and whether a script keeps its shards.
///
/// # Errors
/// It may not run: the error says where its slot is or that a script is late, or the command is marked as held.
#[inline]
pub fn still_here(cx: &mut Cx<'_>) -> Result<(), Error> {
    if cx.hub.keyspace.reserved() != 0 {
        pass_scripts(cx)?;
    }
    let stop = match cx.slot {
        Some(slot) if cx.hub.cluster.routes.serves(slot) => return Ok(()),
        Some(slot) => {
            cx.data.unlock();
            route::stop(cx.hub, cx.session, slot, cx.now_ms)
        }
        None if cx.worker.clustered && route::waits_for_hand_over(cx.hub, cx.entry) => {
            cx.data.unlock();
            route::hold(cx.hub, cx.session, cx.now_ms)
        }
        None => return Ok(()),
    };
    match stop {
        Stop::Refused(error) => Err(error),
        // Where it is now is asked when it is tried again.
        Stop::Held | Stop::Away => {
            cx.held = true;
            Err(Error::SlotNotServed)
        }
    }
}

/// Sends a command away whose shards, or, if it looks at all of them, any, are reserved by a long script.
#[cold]
fn pass_scripts(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mask = match cx.data.locked_mask() {
        0 if cx.entry.spec.has(READONLY) && !cx.entry.spec.has_keys() => cx.data.all_shards(),
        mask => mask,
    };
    if cx.hub.keyspace.reserved() & mask == 0 {
        return Ok(());
    }
    cx.data.unlock();
    if let Some(busy) = cx.hub.running.busy(mask) {
        return Err(busy);
    }
    cx.held = true;
    Err(Error::BusyScript)
}

/// Adds what a command read and changed to the worker's counters; most commands do one of the three.
#[inline]
fn count_keys(stats: &WorkerStats, hits: u64, misses: u64, changed: u64) {
    if hits > 0 {
        stats.keyspace_hits.add(hits);
    }
    if misses > 0 {
        stats.keyspace_misses.add(misses);
    }
    if changed > 0 {
        stats.keys_changed.add(changed);
    }
}

/// Runs one command of a transaction, under the transaction's locks.
pub fn run_queued(cx: &mut Cx<'_>, entry: &'static Entry, args: Args<'_>) {
    let began_ns = cx.worker.last_ns;
    let outer = std::mem::replace(&mut cx.entry, entry);
    cx.data.db = cx.session.db;
    cx.data.keeps_due = keeps_due(cx.hub, entry, cx.now_ms);
    let outcome = call(cx, entry, args);
    finish(cx, entry, args, began_ns, outcome);
    cx.entry = outer;
}

/// Whether a command must leave entries that are due where they are: nothing but a transaction that pauses and then
/// writes changes data under CLIENT PAUSE.
#[inline]
fn keeps_due(hub: &Hub, entry: &Entry, now_ms: u64) -> bool {
    hub.clients.paused(now_ms).is_some() && !entry.spec.has(WRITE)
}

#[inline]
fn call(cx: &mut Cx<'_>, entry: &'static Entry, args: Args<'_>) -> Result<(), Error> {
    let outcome = (entry.handler)(cx, args);
    if cx.session.caching.on && entry.spec.has(READONLY) {
        tracking::remember(cx, entry, args);
    }
    outcome
}

/// Shows a command to those who monitor, although its row says that it is not shown: what it runs is shown, too, and must
/// come after it.
#[inline]
pub fn show(cx: &mut Cx<'_>, args: Args<'_>) {
    if cx.hub.clients.has_monitors() {
        let limit = monitor_limit(cx.worker.config());
        monitor::feed(cx.hub, cx.session, args, limit, cx.worker.clock.wall_us());
    }
}

/// Shows a command to those who monitor.
#[inline]
fn feed_monitors(cx: &mut Cx<'_>, entry: &Entry, args: Args<'_>) {
    if cx.hub.clients.has_monitors() && !entry.spec.has(SKIP_MONITOR) && !entry.spec.has(ADMIN) {
        let limit = monitor_limit(cx.worker.config());
        monitor::feed(cx.hub, cx.session, args, limit, cx.worker.clock.wall_us());
    }
}

/// Tells monitors, writes the error, if it is one, and counts the command.
#[inline]
fn finish(cx: &mut Cx<'_>, entry: &'static Entry, args: Args<'_>, began_ns: u64, outcome: Result<(), Error>) {
    // A command that waited was shown when it began to.
    if !cx.session.is_served {
        feed_monitors(cx, entry, args);
    }
    let failed = outcome.is_err();
    if let Err(error) = outcome {
        cx.hub.errors.count(error.code());
        cx.worker.stats.error_replies.add(1);
        cx.reply.error(&error);
    }
    let ended_ns = cx.worker.clock.mono_ns();
    cx.worker.last_ns = ended_ns;
    let took_ns = ended_ns.saturating_sub(began_ns);
    cx.worker.stats.commands_processed.add(1);
    let tracked = cx.worker.config().latency_tracking;
    if let Some(row) = cx.worker.stats.command(entry.id) {
        row.record(took_ns, tracked);
        if failed {
            row.fail();
        }
    }
    cx.session.client.last_command.store(entry.id as u32, std::sync::atomic::Ordering::Relaxed);
    slowlog::note(cx, entry, args, took_ns);
    latency::note(cx, entry, took_ns);
}

/// Locks what the command's row names: the shard of its only key, the shards of its keys, or, for a command without
/// keys that writes, all of them. In a cluster no slot is taken away while its shard is locked: a command with shard
/// channels locks theirs, too.
#[inline]
fn lock<'a>(data: &mut Data<'a>, ahead: &mut Ahead, entry: &Entry, args: Args<'a>, slot: Option<Slot>) {
    let only_key = entry.spec.only_key(args);
    if only_key != 0 {
        ahead.heed(entry);
        let bytes = args.get(only_key).unwrap_or_default();
        let key = ahead.key(bytes).unwrap_or_else(|| data.key(bytes));
        data.lock_key(key);
        return;
    }
    if entry.spec.group == Group::Scripting {
        ahead.heed(entry);
        if let Some(bytes) = only_declared(entry, args) {
            let key = ahead.key(bytes).unwrap_or_else(|| data.key(bytes));
            data.lock_declared(key);
            return;
        }
    }
    let own =
        slot.filter(|_| entry.spec.routes() && !entry.spec.has_keys()).map_or(0, |slot| data.mask_of(slot));
    let mask = lock_mask(data, entry, args, false) | own;
    if mask != 0 {
        data.lock_set(mask);
    }
}

/// The key of a script or function that declares a single one: most do, and so do the commands that it runs name it.
#[inline]
fn only_declared<'a>(entry: &Entry, args: Args<'a>) -> Option<&'a [u8]> {
    let is_one = entry.spec.has_keys() && args.get(2) == Some(b"1");
    if is_one { args.get(3) } else { None }
}

/// The shards that a command touches. `held` says that the caller keeps the locks over several commands, so that one
/// which visits shard after shard needs them all.
pub fn lock_mask(data: &Data<'_>, entry: &Entry, args: Args<'_>, held: bool) -> u64 {
    let spec = entry.spec;
    if let Some(key) = args.get(spec.single_key).filter(|_| spec.single_key != 0) {
        return 1 << data.key(key).shard;
    }
    if spec.has_keys() {
        if spec.key_finder.is_some() && sort::follows_patterns(spec, args) {
            return data.all_shards();
        }
        let mut mask = 0;
        let visited = keys::for_each_key(spec, args, &mut |at, _| mask |= 1 << data.key(&args[at]).shard);
        // Malformed arguments make the handler refuse; until then it may look where it likes. A script without keys needs
        // none to begin with.
        let is_whole = visited.is_ok() || spec.has(NO_MANDATORY_KEYS);
        return if is_whole { mask } else { data.all_shards() };
    }
    let walks = spec.has(WRITE) || (held && spec.has(READONLY));
    // INFO, CLUSTER and their like look at every shard, which must not be locked out of order.
    let looks_around = held && matches!(spec.group, Group::Server | Group::Cluster);
    let looks_around = looks_around || held && tracking::arms(entry);
    if looks_around || walks && !spec.has(NOSCRIPT) { data.all_shards() } else { 0 }
}

/// A request that is refused before it runs; inside MULTI it spoils the transaction.
fn reject(
    worker: &mut WorkerLocal,
    session: &mut Session,
    reply: &mut Reply,
    entry: Option<&Entry>,
    error: Error,
) {
    worker.hub.errors.count(error.code());
    worker.state.stats.error_replies.add(1);
    if let Some(entry) = entry {
        if let Some(row) = worker.state.stats.command(entry.id) {
            row.reject();
        }
        if txn::is_exec(entry) {
            txn::discard(&worker.hub, session);
            if route::is_redirect(&error) {
                return reply.error(&error);
            }
            let why = error.to_string();
            let why = why.strip_prefix("ERR ").unwrap_or(&why);
            return reply.error(&Error::Custom(format!("EXECABORT Transaction discarded because of: {why}")));
        }
    }
    if let Some(transaction) = &mut session.transaction {
        transaction.aborted = true;
    }
    reply.error(&error);
}

/// Monitors fall under the replicas' limit: by default the normal one is none.
fn monitor_limit(config: &Config) -> OutputLimit {
    config.client_output_buffer_limit.replica.into()
}
