//! MEMORY: what keys and the server as a whole take.
//!
//! "Used" is what counts against `maxmemory`: the entries and their structures. Buffers, code and the allocator's waste
//! are in the resident size only.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::key_spec::{KeySpec, RO};
use crate::command::spec::{Group, Handler, Spec};
use crate::hub::clients::Client;
use crate::metrics::allocator::{self, AllocatorBytes};
use crate::metrics::process;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("memory", SUBCOMMANDS)
    .group(Group::Server)
    .since("4.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Looks at what takes memory.")
    .finish()];

const ANY_SHARD: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("usage", usage)
        .arity(-3)
        .flags(READONLY)
        .keys(&[KeySpec::at(2).flags(RO)])
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(1).")
        .summary("Tells the bytes that a key and its value take, with their share of the structures.")
        .args(&[Arg::key("key", 0), Arg::integer("count").token("SAMPLES").optional()])
        .reply(Shape::OneOf(&[Shape::Integer, Shape::Null]))
        .finish(),
    row(
        "stats",
        stats,
        ANY_SHARD,
        "Tells what takes memory, in bytes.",
        Shape::Map(&Shape::Bulk, &Shape::Any),
    ),
    row("doctor", doctor, ANY_SHARD, "Tells in words whether memory is well used.", Shape::Verbatim),
    row("malloc-stats", malloc_stats, ANY_SHARD, "Gives the report of the allocator.", Shape::Verbatim),
    row(
        "purge",
        purge,
        &["request_policy:all_shards", "response_policy:all_succeeded"],
        "Gives the allocator's free pages back to the system.",
        Shape::Ok,
    ),
    help_row("4.0.0", Group::Server, 0),
];

const fn row(
    name: &'static str,
    handler: Handler,
    tips: &'static [&'static str],
    summary: &'static str,
    shape: Shape,
) -> Spec {
    Spec::new(name, handler)
        .arity(2)
        .tips(tips)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(1).")
        .summary(summary)
        .reply(shape)
        .finish()
}

fn usage(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let mut options = args.from(3).iter();
    while let Some(option) = options.next() {
        let Some(count) = options.next().filter(|_| option.eq_ignore_ascii_case(b"samples")) else {
            return Err(Error::Syntax);
        };
        // Strings are weighed, not sampled: the number only has to be one.
        if parse_i64(count).ok_or(Error::NotAnInteger)? < 0 {
            return Err(Error::Syntax);
        }
    }
    let key = cx.data.key(&args[2]);
    match cx.data.find(&key) {
        Some(found) => cx.reply.integer(cx.data.db(&key).entry_bytes(found) as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

/// Bytes of a client's requests not yet executed and replies not yet sent.
fn buffer_bytes(client: &Client) -> u64 {
    client.unsent_bytes() + client.query_bytes.load(Ordering::Relaxed) as u64
}

/// Sums over all shards.
struct Sums {
    used: u64,
    peak: u64,
    resident: u64,
    allocator: AllocatorBytes,
    /// Bytes of replies not yet sent and of requests not yet executed.
    buffers: u64,
    keys: u64,
    reusable: u64,
    /// By database: number, bytes of index and queues, bytes of due times.
    databases: Vec<(usize, u64, u64)>,
}

impl Sums {
    fn of(cx: &mut Cx<'_>) -> Self {
        let hub = cx.hub;
        let clients = hub.clients.list();
        let mut sums = Self {
            used: hub.keyspace.counted_bytes(),
            peak: hub.keyspace.peak_bytes(),
            resident: process::resident_bytes(),
            allocator: allocator::bytes(),
            buffers: clients.iter().map(|client| buffer_bytes(client)).sum(),
            keys: 0,
            reusable: hub.keyspace.reusable_bytes(),
            databases: Vec::new(),
        };
        cx.data.each_shard(|_, shard| {
            for (number, db) in shard.dbs().filter(|(_, db)| db.entries() > 0) {
                sums.keys += db.entries() as u64;
                let due = db.due_bytes() as u64;
                let main = db.overhead_bytes() as u64 - due;
                match sums.databases.iter_mut().find(|row| row.0 == number) {
                    Some(row) => *row = (number, row.1 + main, row.2 + due),
                    None => sums.databases.push((number, main, due)),
                }
            }
        });
        sums.databases.sort_unstable();
        sums
    }

    fn overhead(&self) -> u64 {
        self.databases.iter().map(|(_, main, due)| main + due).sum()
    }
}

/// One `name, value` pair of MEMORY STATS.
enum Value {
    Bytes(u64),
    Difference(i64),
    Ratio(f64),
}

/// 0 where there is nothing to divide by.
fn ratio(above: u64, below: u64) -> Value {
    Value::Ratio(if below == 0 { 0.0 } else { above as f64 / below as f64 })
}

fn percent(part: u64, whole: u64) -> Value {
    Value::Ratio(part as f64 * 100.0 / whole.max(1) as f64)
}

fn difference(above: u64, below: u64) -> Value {
    Value::Difference(above as i64 - below as i64)
}

fn stats(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let sums = Sums::of(cx);
    let (used, resident, jemalloc) = (sums.used, sums.resident, sums.allocator);
    let overhead = sums.overhead();
    let dataset = used.saturating_sub(overhead);
    let head = [
        ("peak.allocated", Value::Bytes(sums.peak)),
        ("total.allocated", Value::Bytes(used)),
        ("startup.allocated", Value::Bytes(0)),
        ("replication.backlog", Value::Bytes(0)),
        ("clients.slaves", Value::Bytes(0)),
        ("clients.normal", Value::Bytes(sums.buffers)),
        ("cluster.links", Value::Bytes(0)),
        ("aof.buffer", Value::Bytes(0)),
        ("lua.caches", Value::Bytes(0)),
        ("functions.caches", Value::Bytes(0)),
    ];
    let tail = [
        ("overhead.total", Value::Bytes(overhead)),
        ("keys.count", Value::Bytes(sums.keys)),
        ("keys.bytes-per-key", Value::Bytes(used.checked_div(sums.keys).unwrap_or(0))),
        ("dataset.bytes", Value::Bytes(dataset)),
        ("dataset.percentage", percent(dataset, used)),
        ("peak.percentage", percent(used, sums.peak)),
        ("reusable.bytes", Value::Bytes(sums.reusable)),
        ("allocator.allocated", Value::Bytes(jemalloc.allocated)),
        ("allocator.active", Value::Bytes(jemalloc.active)),
        ("allocator.resident", Value::Bytes(jemalloc.resident)),
        ("allocator-fragmentation.ratio", ratio(jemalloc.active, jemalloc.allocated)),
        ("allocator-fragmentation.bytes", difference(jemalloc.active, jemalloc.allocated)),
        ("allocator-rss.ratio", ratio(jemalloc.resident, jemalloc.active)),
        ("allocator-rss.bytes", difference(jemalloc.resident, jemalloc.active)),
        ("rss-overhead.ratio", ratio(resident, jemalloc.resident)),
        ("rss-overhead.bytes", difference(resident, jemalloc.resident)),
        ("fragmentation", ratio(resident, used)),
        ("fragmentation.bytes", difference(resident, used)),
    ];
    cx.reply.map(head.len() + sums.databases.len() + tail.len());
    head.iter().for_each(|pair| write(cx.reply, pair));
    for (number, main, due) in &sums.databases {
        cx.reply.bulk_str(&format!("db.{number}"));
        cx.reply.map(2);
        write(cx.reply, &("overhead.hashtable.main", Value::Bytes(*main)));
        write(cx.reply, &("overhead.hashtable.expires", Value::Bytes(*due)));
    }
    tail.iter().for_each(|pair| write(cx.reply, pair));
    Ok(())
}

fn write(reply: &mut Reply, (name, value): &(&str, Value)) {
    reply.bulk_str(name);
    match *value {
        Value::Bytes(bytes) => reply.integer(bytes as i64),
        Value::Difference(bytes) => reply.integer(bytes),
        Value::Ratio(ratio) => reply.double(ratio),
    }
}

fn doctor(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    /// Below this, waste that does not grow with the data hides everything else.
    const TELLING_BYTES: u64 = 5 << 20;
    let sums = Sums::of(cx);
    let limit = cx.hub.keyspace.limit_bytes();
    let mut text = String::new();
    if sums.used < TELLING_BYTES {
        text.push_str("There is too little data to judge how memory is used.\n");
    } else {
        if limit > 0 && sums.used > limit {
            text.push_str(
                "Memory is over maxmemory: writes are refused, or keys evicted, until it is not.\n",
            );
        }
        if sums.reusable > sums.used / 8 {
            let _ = writeln!(
                text,
                "{} bytes are free slots between entries; they are used before memory grows, and emptied blocks go \
                 back by and by.",
                sums.reusable
            );
        }
        if sums.resident > sums.used + sums.used / 2 {
            let _ = writeln!(
                text,
                "The process takes {} bytes for {} bytes of data; after a peak MEMORY PURGE gives free pages back.",
                sums.resident, sums.used
            );
        }
        if sums.buffers > sums.used / 2 {
            text.push_str("Clients' buffers take as much as the data; see omem and qbuf in CLIENT LIST.\n");
        }
        if text.is_empty() {
            text.push_str("Memory is well used: nothing stands out.\n");
        }
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn malloc_stats(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.verbatim("txt", allocator::report().as_bytes());
    Ok(())
}

fn purge(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    allocator::purge().map_err(|why| Error::err(format_args!("the allocator did not purge: {why}")))?;
    cx.reply.ok();
    Ok(())
}
