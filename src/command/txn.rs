//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! EXEC takes the locks of all queued commands at once, looks at the watch flag under them, and runs the queue; whoever
//! changes a watched key raises the flag under that key's lock, so nothing falls between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::context::Cx;
use crate::command::execute;
use crate::command::script::shebang::promises_not_to_write;
use crate::command::session::{ReplyMode, Session, Transaction, WatchedKey};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{
    ALLOW_BUSY, DENYOOM, FAST, LOADING, MAY_REPLICATE, NOSCRIPT, SKIP_SLOWLOG, STALE, WRITE,
};
use crate::command::spec::key_spec::{KeySpec, RO};
use crate::command::spec::{Group, Spec};
use crate::command::table::Entry;
use crate::hub::Hub;
use crate::hub::clients::flag;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::output::Mark;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("multi", multi)
        .arity(1)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .group(Group::Transactions)
        .since("1.2.0")
        .complexity("O(1).")
        .summary("Starts a transaction: the commands that follow are queued until EXEC.")
        .reply(Shape::Ok)
        .finish(),
    Spec::new("exec", exec)
        .arity(1)
        .flags(NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG)
        .group(Group::Transactions)
        .since("1.2.0")
        .complexity("Depends on the queued commands.")
        .summary("Runs the queued commands as one; nothing else is seen in between.")
        .reply(Shape::OneOf(&[Shape::Array(&Shape::Any), Shape::Null]))
        .finish(),
    Spec::new("discard", discard_command)
        .arity(1)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .group(Group::Transactions)
        .since("2.0.0")
        .complexity("O(N), N the number of queued commands.")
        .summary("Drops the queued commands and ends the transaction.")
        .reply(Shape::Ok)
        .finish(),
    Spec::new("watch", watch)
        .arity(-2)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .keys(&[KeySpec::range(1, -1, 1).flags(RO)])
        .group(Group::Transactions)
        .since("2.2.0")
        .complexity("O(1) for every key.")
        .summary("Makes the next EXEC run nothing if one of the keys changes before it.")
        .args(&[Arg::key("key", 0).multiple()])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("unwatch", unwatch)
        .arity(1)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .group(Group::Transactions)
        .since("2.2.0")
        .complexity("O(1).")
        .summary("Forgets all watched keys.")
        .reply(Shape::Ok)
        .finish(),
];

/// Whether the command is run at once inside MULTI instead of being queued.
pub fn runs_inside_multi(entry: &Entry) -> bool {
    matches!(entry.spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

/// Whether the command is EXEC.
pub fn is_exec(entry: &Entry) -> bool {
    entry.spec.name == "exec"
}

/// Whether the command is WATCH.
pub fn is_watch(entry: &Entry) -> bool {
    entry.spec.name == "watch"
}

/// Whether CLIENT PAUSE WRITE holds the command back: it may write, or tell others something; scripts, unless they have
/// promised not to.
pub fn is_held_by_pause(hub: &Hub, entry: &Entry, args: Args<'_>) -> bool {
    entry.spec.flags & (WRITE | MAY_REPLICATE) != 0 && !promises_not_to_write(hub, entry, args)
}

/// Whether the command is EXEC and CLIENT PAUSE WRITE holds back something that it would run.
pub fn is_exec_that_is_held(hub: &Hub, entry: &Entry, session: &Session) -> bool {
    let held = |transaction: &Transaction| {
        transaction.queue.iter().any(|(entry, args)| is_held_by_pause(hub, entry, args.as_args()))
    };
    is_exec(entry) && session.transaction.as_ref().is_some_and(held)
}

/// Ends a transaction and forgets the watched keys. Also the last thing that is done with a session. No lock may be
/// held.
pub fn discard(hub: &Hub, session: &mut Session) {
    if session.transaction.take().is_some() {
        session.client.set(flag::MULTI, false);
        session.client.queued.store(-1, Ordering::Relaxed);
    }
    forget_watched(hub, session);
}

fn forget_watched(hub: &Hub, session: &mut Session) {
    for watched in session.watched.drain(..) {
        let key = hub.keyspace.layout().key(&watched.key);
        let mut shard = hub.keyspace.lock(key.shard);
        if let Some(db) = shard.db_if_any(watched.db) {
            db.unwatch(&watched.key, &session.watch_flag);
        }
    }
    session.watched_away = None;
    session.watch_flag.store(false, Ordering::Relaxed);
    session.client.watched.store(0, Ordering::Relaxed);
}

fn multi(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    if cx.session.transaction.is_some() {
        return Err(Error::NestedMulti);
    }
    cx.session.transaction = Some(Transaction::default());
    cx.session.client.set(flag::MULTI, true);
    cx.session.client.queued.store(0, Ordering::Relaxed);
    cx.reply.ok();
    Ok(())
}

fn exec(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let Some(transaction) = cx.session.transaction.take() else { return Err(Error::ExecWithoutMulti) };
    cx.session.client.set(flag::MULTI, false);
    cx.session.client.queued.store(-1, Ordering::Relaxed);
    let result = run_transaction(cx, transaction);
    execute::hand_over_changes(cx);
    cx.data.unlock();
    if cx.held {
        return result;
    }
    forget_watched(cx.hub, cx.session);
    result
}

fn run_transaction(cx: &mut Cx<'_>, transaction: Transaction) -> Result<(), Error> {
    if transaction.aborted {
        return Err(Error::ExecAbort);
    }
    let grows = transaction.queue.iter().any(|(entry, _)| entry.spec.has(DENYOOM));
    if grows && cx.hub.keyspace.is_over() && cx.hub.keyspace.make_room(0, 0).is_err() {
        return Err(Error::Custom(format!(
            "EXECABORT Transaction discarded because of: {}",
            Error::OutOfMemory
        )));
    }
    let mut mask = cx.slot.map_or(0, |slot| cx.data.mask_of(slot));
    for (entry, args) in &transaction.queue {
        mask |= execute::lock_mask(&cx.data, entry, args.as_args(), true);
    }
    for watched in &cx.session.watched {
        mask |= 1 << cx.data.key(&watched.key).shard;
    }
    if mask != 0 {
        cx.data.lock_set(mask);
    }
    if let Err(error) = execute::still_here(cx) {
        if cx.held {
            cx.session.client.set(flag::MULTI, true);
            cx.session.client.queued.store(transaction.queue.len() as i32, Ordering::Relaxed);
            cx.session.transaction = Some(transaction);
        }
        return Err(error);
    }
    cx.data.held = true;
    if cx.session.watch_broken() || watched_key_is_due(cx) {
        cx.reply.null_array();
        return Ok(());
    }
    cx.reply.array(transaction.queue.len());
    let answers = cx.session.reply_mode == ReplyMode::On;
    for (entry, args) in &transaction.queue {
        let mark = cx.reply.checkpoint();
        let is_silent = answers && cx.session.reply_mode == ReplyMode::Off;
        execute::run_queued(cx, entry, args.as_args());
        if is_silent {
            keep_pushes(cx, mark);
        }
    }
    Ok(())
}

/// The transaction itself has switched replies off: what the last command has answered is taken back, but for what
/// CLIENT REPLY does not silence.
fn keep_pushes(cx: &mut Cx<'_>, mark: Mark) {
    if cx.session.reply_mode == ReplyMode::Off {
        cx.reply.truncate_to(mark);
    }
    if let Some(pushed) = cx.session.pushed.take() {
        cx.reply.append(*pushed);
    }
}

/// A watched key that has fallen due since is changed, whether or not it was removed already.
fn watched_key_is_due(cx: &mut Cx<'_>) -> bool {
    let Cx { data, session, now_ms, .. } = cx;
    session.watched.iter().any(|watched| {
        let key = data.key(&watched.key);
        let db = data.db_numbered(&key, watched.db);
        let due = db.peek(&key).and_then(|found| db.due_ms(found)).is_some_and(|due_ms| due_ms <= *now_ms);
        due && watched.was_there
    })
}

fn discard_command(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    if cx.session.transaction.is_none() {
        return Err(Error::DiscardWithoutMulti);
    }
    discard(cx.hub, cx.session);
    cx.reply.ok();
    Ok(())
}

fn watch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if cx.session.transaction.is_some() {
        return Err(Error::WatchInsideMulti);
    }
    let number = cx.session.db;
    for bytes in args.from(1).iter() {
        if cx.session.watched.iter().any(|watched| watched.db == number && &*watched.key == bytes) {
            continue;
        }
        let key = cx.data.key(bytes);
        // One that is due is removed first: that it goes is no change.
        let was_there = cx.data.find(&key).is_some();
        cx.data.db(&key).watch(bytes, Arc::clone(&cx.session.watch_flag));
        cx.session.watched.push(WatchedKey { db: number, key: bytes.into(), was_there });
    }
    cx.session.client.watched.store(cx.session.watched.len() as u32, Ordering::Relaxed);
    cx.reply.ok();
    Ok(())
}

fn unwatch(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    // Within EXEC the shards are locked already, and EXEC itself forgets what was watched.
    if !cx.data.held {
        forget_watched(cx.hub, cx.session);
    }
    cx.reply.ok();
    Ok(())
}
