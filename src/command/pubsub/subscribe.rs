//! SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and what ends them. They answer by a push message for each name.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::context::Cx;
use crate::command::execute;
use crate::command::pubsub::{deliver, pushes};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{Flags, LOADING, NOSCRIPT, PUBSUB, STALE};
use crate::command::spec::key_spec::{KeySpec, NOT_KEY};
use crate::command::spec::{Draft, Group, Handler, Spec};
use crate::hub::Hub;
use crate::hub::clients::Client;
use crate::hub::pubsub::Kind;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    row("subscribe", subscribe, -2, "2.0.0")
        .complexity("O(N), N the number of channels.")
        .summary("Subscribes to channels.")
        .args(&[Arg::string("channel").multiple()])
        .reply(SUBSCRIBED)
        .finish(),
    row("unsubscribe", unsubscribe, -1, "2.0.0")
        .complexity("O(N), N the number of channels.")
        .summary("Ends subscriptions to channels; without any, to all of them.")
        .args(&[Arg::string("channel").optional().multiple()])
        .reply(UNSUBSCRIBED)
        .finish(),
    row("psubscribe", psubscribe, -2, "2.0.0")
        .complexity("O(N), N the number of patterns.")
        .summary("Subscribes to all channels that match a pattern.")
        .args(&[Arg::block("pattern", &[Arg::pattern("pattern")]).multiple()])
        .reply(SUBSCRIBED)
        .finish(),
    row("punsubscribe", punsubscribe, -1, "2.0.0")
        .complexity("O(N), N the number of patterns.")
        .summary("Ends subscriptions to patterns; without any, to all of them.")
        .args(&[Arg::pattern("pattern").optional().multiple()])
        .reply(UNSUBSCRIBED)
        .finish(),
    row("ssubscribe", ssubscribe, -2, "7.0.0")
        .keys(SHARD_CHANNELS)
        .complexity("O(N), N the number of shard channels.")
        .summary("Subscribes to shard channels, which belong to the slots of their names.")
        .args(&[Arg::string("shardchannel").multiple()])
        .reply(SUBSCRIBED)
        .finish(),
    row("sunsubscribe", sunsubscribe, -1, "7.0.0")
        .keys(SHARD_CHANNELS)
        .complexity("O(N), N the number of shard channels.")
        .summary("Ends subscriptions to shard channels; without any, to all of them.")
        .args(&[Arg::string("shardchannel").optional().multiple()])
        .reply(UNSUBSCRIBED)
        .finish(),
];

const FLAGS: Flags = PUBSUB | NOSCRIPT | LOADING | STALE;
const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::range(1, -1, 1).flags(NOT_KEY)];
const SUBSCRIBED: Shape = Shape::Push(&[Shape::Bulk, Shape::Bulk, Shape::Integer]);
const UNSUBSCRIBED: Shape = Shape::Push(&[Shape::Bulk, Shape::BulkOrNull, Shape::Integer]);

const fn row(name: &'static str, handler: Handler, arity: i32, since: &'static str) -> Draft {
    Spec::new(name, handler).arity(arity).flags(FLAGS).group(Group::PubSub).since(since)
}

fn subscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    enter(cx, args, Kind::Channel);
    Ok(())
}

fn psubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    enter(cx, args, Kind::Pattern);
    Ok(())
}

fn ssubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    // Redis takes the other two into a transaction for old clients' sake only.
    if cx.data.held {
        return Err(Error::Fixed("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    enter(cx, args, Kind::Shard);
    Ok(())
}

fn unsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    leave(cx, args, Kind::Channel);
    Ok(())
}

fn punsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    leave(cx, args, Kind::Pattern);
    Ok(())
}

fn sunsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    leave(cx, args, Kind::Shard);
    Ok(())
}

fn enter(cx: &mut Cx<'_>, args: Args<'_>, kind: Kind) {
    let word = match kind {
        Kind::Channel => "subscribe",
        Kind::Pattern => "psubscribe",
        Kind::Shard => "ssubscribe",
    };
    for name in args.from(1).iter() {
        change(cx, kind, name, |hub, client| hub.pubsub.subscribe(kind, name, client));
        cx.session.subscriptions.insert(kind, name);
        confirm(cx, word, Some(name), kind);
    }
}

/// Changes a subscription of this client. Where that may switch keyspace events on or off, shards are locked by it: a
/// transaction lets go of its own meanwhile, and what it has changed so far goes to those who listened until now.
fn change(cx: &mut Cx<'_>, kind: Kind, name: &[u8], run: impl FnOnce(&Hub, &Arc<Client>) -> bool) -> bool {
    let (hub, client) = (cx.hub, Arc::clone(&cx.session.client));
    if !cx.data.held || !hub.pubsub.may_switch(kind, name) {
        return run(hub, &client);
    }
    execute::hand_over_changes(cx);
    let changed = cx.data.without_locks(|| run(hub, &client));
    cx.data.wanted = hub.events.wanted();
    changed
}

fn leave(cx: &mut Cx<'_>, args: Args<'_>, kind: Kind) {
    let word = match kind {
        Kind::Channel => "unsubscribe",
        Kind::Pattern => "punsubscribe",
        Kind::Shard => "sunsubscribe",
    };
    if args.len() > 1 {
        for name in args.from(1).iter() {
            end(cx, kind, name);
            cx.session.subscriptions.remove(kind, name);
            confirm(cx, word, Some(name), kind);
        }
        return;
    }
    let mut ended = false;
    for name in cx.session.subscriptions.take(kind) {
        if end(cx, kind, &name) {
            confirm(cx, word, Some(&name), kind);
            ended = true;
        }
    }
    if !ended {
        confirm(cx, word, None, kind);
    }
}

/// Ends one subscription; false if there was none.
fn end(cx: &mut Cx<'_>, kind: Kind, name: &[u8]) -> bool {
    let was_there = change(cx, kind, name, |hub, client| hub.pubsub.unsubscribe(kind, name, client));
    // What came by this name goes before the word that nothing more does; within EXEC it would be taken for a reply.
    if was_there && !cx.data.held {
        deliver(cx.session, cx.reply);
    }
    was_there
}

/// Tells the client what has begun or ended, and how many subscriptions it has now: shard channels are counted apart.
fn confirm(cx: &mut Cx<'_>, word: &str, name: Option<&[u8]>, kind: Kind) {
    let counts = cx.session.client.subscriptions.each_ref().map(|count| count.load(Ordering::Relaxed));
    let [channels, patterns, shards] = counts.map(i64::from);
    let out = pushes(cx.session, cx.reply);
    out.push(3);
    out.bulk_str(word);
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.integer(if kind == Kind::Shard { shards } else { channels + patterns });
}
