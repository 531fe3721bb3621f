//! FLUSHDB FLUSHALL SWAPDB: whole databases at once.
//!
//! All shards are locked, every one gives its database away in O(1), and what was in it is dropped after the locks are
//! released: by this command (SYNC), or on the background thread (ASYNC).

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::execute;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, WRITE};
use crate::command::spec::{Group, Handler, Spec, category};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    flusher("flushdb", flushdb, "Removes all keys of the selected database."),
    flusher("flushall", flushall, "Removes all keys of all databases."),
    Spec::new("swapdb", swapdb)
        .arity(3)
        .flags(WRITE | FAST)
        .categories_exactly(category::KEYSPACE | category::DANGEROUS)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(1), and O(N) in the number of watched keys.")
        .summary("Exchanges two databases.")
        .args(&[Arg::integer("index1"), Arg::integer("index2")])
        .reply(Shape::Ok)
        .finish(),
];

const TIPS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const HISTORY: &[(&str, &str)] =
    &[("4.0.0", "The option `ASYNC` came."), ("6.2.0", "The option `SYNC` came.")];
const HOW: &[Arg] = &[Arg::one_of(
    "flush-type",
    &[Arg::flag("async", "ASYNC").since("4.0.0"), Arg::flag("sync", "SYNC").since("6.2.0")],
)
.optional()];

const fn flusher(name: &'static str, handler: Handler, summary: &'static str) -> Spec {
    Spec::new(name, handler)
        .arity(-1)
        .flags(WRITE)
        .categories_exactly(category::KEYSPACE | category::DANGEROUS)
        .tips(TIPS)
        .group(Group::Server)
        .since("1.0.0")
        .complexity("O(1) for clients; O(N) for whoever drops the N keys.")
        .summary(summary)
        .history(HISTORY)
        .args(HOW)
        .reply(Shape::Ok)
        .finish()
}

fn flushdb(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let number = cx.session.db;
    flush(cx, args, number..number + 1)
}

fn flushall(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let databases = cx.worker.config().databases as usize;
    flush(cx, args, 0..databases)
}

fn flush(cx: &mut Cx<'_>, args: Args<'_>, numbers: std::ops::Range<usize>) -> Result<(), Error> {
    let lazily = match args.get(1) {
        _ if args.len() > 2 => return Err(Error::Syntax),
        None => cx.worker.config().lazyfree_lazy_user_flush,
        Some(how) if how.eq_ignore_ascii_case(b"async") => true,
        Some(how) if how.eq_ignore_ascii_case(b"sync") => false,
        Some(_) => return Err(Error::Syntax),
    };
    let mut taken = Vec::new();
    cx.data.each_shard(|_, shard| taken.extend(numbers.clone().filter_map(|number| shard.take(number))));
    forget_caches(cx);
    cx.data.dirty += taken.iter().map(|db| db.entries() as u64).sum::<u64>();
    // Nothing is dropped while a transaction holds the locks.
    if !lazily && !cx.data.held {
        execute::hand_over_changes(cx);
        cx.data.unlock();
        drop(taken);
    } else {
        taken.into_iter().for_each(|db| cx.hub.keyspace.drop_db(db));
    }
    cx.reply.ok();
    Ok(())
}

/// Clients that cache are to forget everything: they know keys by name alone, whatever the database. To be called under
/// all shards' locks: where nobody tracks now, nobody can have read anything since that table was of use.
fn forget_caches(cx: &mut Cx<'_>) {
    if cx.hub.tracking.any() {
        cx.worker.invalid.everything();
    } else {
        cx.hub.tracking.clear();
    }
}

fn swapdb(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if cx.hub.cluster.is_on() {
        return Err(Error::SwapdbInCluster);
    }
    let number = |text: &[u8]| parse_i64(text).and_then(|number| i32::try_from(number).ok());
    let first = number(&args[1]).ok_or(Error::InvalidFirstDb)?;
    let second = number(&args[2]).ok_or(Error::InvalidSecondDb)?;
    let databases = cx.worker.config().databases as i32;
    if !(0..databases).contains(&first) || !(0..databases).contains(&second) {
        return Err(Error::DbOutOfRange);
    }
    if first != second {
        let now_ms = cx.now_ms;
        cx.data.each_shard(|_, shard| shard.swap(first as usize, second as usize, now_ms));
        forget_caches(cx);
    }
    cx.data.dirty += 1;
    cx.reply.ok();
    Ok(())
}
