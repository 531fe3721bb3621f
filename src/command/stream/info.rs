//! XINFO: what a stream, its groups and their consumers look like from inside.

use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::key_spec::{ACCESS, KeySpec, RO};
use crate::command::spec::{Group, Spec, category};
use crate::command::stream::{Boxed, ENTRY, no_group, parse_integer, write_entries, write_entry, write_id};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::store::value::stream::{Consumer, Direction, Group as Readers, Nack, Stream, StreamId};

/// The rows.
pub const COMMANDS: &[Spec] = &[Spec::container("xinfo", SUBCOMMANDS)
    .group(Group::Stream)
    .since("5.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Looks into streams and their groups.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("consumers", consumers)
        .arity(4)
        .flags(READONLY)
        .keys(KEYS)
        .tips(&["nondeterministic_output"])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N), N the number of consumers.")
        .summary("Lists the consumers of a group.")
        .history(&[("7.2.0", "The field `inactive`; and `idle` counts from the last try.")])
        .args(&[Arg::key("key", 0), Arg::string("group")])
        .reply(Shape::Array(&Shape::Map(&Shape::Bulk, &Shape::Any)))
        .finish(),
    Spec::new("groups", groups)
        .arity(3)
        .flags(READONLY)
        .keys(KEYS)
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N), N the number of groups.")
        .summary("Lists the consumer groups of a stream.")
        .history(&[("7.0.0", "The fields `entries-read` and `lag`.")])
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Array(&Shape::Map(&Shape::Bulk, &Shape::Any)))
        .finish(),
    Spec::new("stream", stream)
        .arity(-3)
        .flags(READONLY)
        .keys(KEYS)
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N), N the number of entries, groups, consumers and pending entries shown.")
        .summary(
            "Tells about a stream; with FULL also about its groups, their consumers and what is pending.",
        )
        .history(&[
            ("6.0.0", "FULL."),
            ("7.0.0", "What is remembered of entries that are gone, and the lag of groups."),
            ("7.2.0", "The field `active-time` of consumers."),
        ])
        .args(&[
            Arg::key("key", 0),
            Arg::block(
                "full-block",
                &[Arg::flag("full", "FULL"), Arg::integer("count").token("COUNT").optional()],
            )
            .optional(),
        ])
        .reply(Shape::Map(
            &Shape::Bulk,
            &Shape::OneOf(&[Shape::Integer, Shape::BulkOrNull, ENTRY, Shape::Any]),
        ))
        .finish(),
    help_row("5.0.0", Group::Stream, category::STREAM),
];

const KEYS: &[KeySpec] = &[KeySpec::at(2).flags(RO | ACCESS)];
/// Entries and pending entries that FULL shows without a COUNT.
const COUNT_DEFAULT: usize = 10;

/// The stream under the command's key.
fn read<'a>(cx: &'a mut Cx<'_>, args: Args<'_>) -> Result<(&'a Stream, &'a mut Reply), Error> {
    let key = cx.data.key(&args[2]);
    let stream = cx.data.read_value::<Boxed>(&key)?.ok_or(Error::NoSuchKey)?;
    Ok((stream, cx.reply))
}

fn consumers(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    let (stream, reply) = read(cx, args)?;
    let group = stream.group(&args[3]).ok_or_else(|| no_group(&args[3], &args[2]))?;
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk_str("name");
        reply.bulk(consumer.name());
        count(reply, "pending", consumer.pending_len() as u64);
        count(reply, "idle", now_ms.saturating_sub(consumer.seen_ms));
        reply.bulk_str("inactive");
        reply.integer(consumer.active_ms.map_or(-1, |active_ms| now_ms as i64 - active_ms as i64));
    }
    Ok(())
}

fn groups(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (stream, reply) = read(cx, args)?;
    reply.array(stream.groups_len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk_str("name");
        reply.bulk(name);
        count(reply, "consumers", group.consumers_len() as u64);
        count(reply, "pending", group.pending_len() as u64);
        write_progress(reply, stream, group);
    }
    Ok(())
}

fn stream(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let full = parse_full(args);
    let (stream, reply) = read(cx, args)?;
    match full? {
        Some(limit) => {
            reply.map(9);
            write_marks(reply, stream);
            write_full(reply, stream, limit);
        }
        None => {
            reply.map(10);
            write_marks(reply, stream);
            count(reply, "groups", stream.groups_len() as u64);
            write_edge(reply, stream, "first-entry", Direction::Forward);
            write_edge(reply, stream, "last-entry", Direction::Backward);
        }
    }
    Ok(())
}

/// How much FULL is to show (0: all), if it is asked for.
fn parse_full(args: Args<'_>) -> Result<Option<usize>, Error> {
    let misused = || Error::bad_subcommand("xinfo", &args[1]);
    let Some(word) = args.get(3) else { return Ok(None) };
    if (args.len() != 4 && args.len() != 6) || !word.eq_ignore_ascii_case(b"full") {
        return Err(misused());
    }
    match (args.get(4), args.get(5)) {
        (Some(word), Some(number)) if word.eq_ignore_ascii_case(b"count") => {
            Ok(Some(usize::try_from(parse_integer(number)?).unwrap_or(COUNT_DEFAULT)))
        }
        (Some(_), _) => Err(misused()),
        (None, _) => Ok(Some(COUNT_DEFAULT)),
    }
}

fn count(reply: &mut Reply, name: &str, value: u64) {
    reply.bulk_str(name);
    reply.integer(value as i64);
}

fn id(reply: &mut Reply, name: &str, id: StreamId) {
    reply.bulk_str(name);
    write_id(reply, id);
}

/// Seven fields about the entries.
fn write_marks(reply: &mut Reply, stream: &Stream) {
    let marks = stream.log().marks();
    count(reply, "length", stream.log().length());
    count(reply, "radix-tree-keys", stream.log().nodes_len() as u64);
    count(reply, "radix-tree-nodes", stream.radix_nodes());
    id(reply, "last-generated-id", marks.last_id);
    id(reply, "max-deleted-entry-id", marks.max_deleted_id);
    count(reply, "entries-added", marks.entries_added);
    id(reply, "recorded-first-entry-id", marks.first_id);
}

fn write_edge(reply: &mut Reply, stream: &Stream, name: &str, direction: Direction) {
    reply.bulk_str(name);
    let mut cursor = stream.log().cursor(StreamId::MIN, StreamId::MAX, direction);
    match cursor.next_id() {
        Some(id) => write_entry(reply, id, &mut cursor),
        None => reply.null(),
    }
}

/// Three fields about what a group has read.
fn write_progress(reply: &mut Reply, stream: &Stream, group: &Readers) {
    id(reply, "last-delivered-id", group.last_id());
    reply.bulk_str("entries-read");
    match group.entries_read() {
        Some(entries_read) => reply.integer(entries_read as i64),
        None => reply.null(),
    }
    reply.bulk_str("lag");
    match stream.lag(group) {
        Some(lag) => reply.integer(lag),
        None => reply.null(),
    }
}

/// The fields `entries` and `groups` with up to `limit` elements of each list; 0: all of them.
fn write_full(reply: &mut Reply, stream: &Stream, limit: usize) {
    reply.bulk_str("entries");
    write_entries(reply, stream.log().cursor(StreamId::MIN, StreamId::MAX, Direction::Forward), limit);
    reply.bulk_str("groups");
    reply.array(stream.groups_len());
    let limit = if limit == 0 { usize::MAX } else { limit };
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk_str("name");
        reply.bulk(name);
        write_progress(reply, stream, group);
        count(reply, "pel-count", group.pending_len() as u64);
        reply.bulk_str("pending");
        reply.array(group.pending_len().min(limit));
        for (id, nack) in group.pending_from(StreamId::MIN).take(limit) {
            reply.array(4);
            write_id(reply, id);
            reply.bulk(group.consumer(nack.consumer).map_or(b"", Consumer::name));
            write_deliveries(reply, nack);
        }
        reply.bulk_str("consumers");
        reply.array(group.consumers_len());
        group.consumers().for_each(|consumer| write_consumer(reply, group, consumer, limit));
    }
}

fn write_consumer(reply: &mut Reply, group: &Readers, consumer: &Consumer, limit: usize) {
    reply.map(5);
    reply.bulk_str("name");
    reply.bulk(consumer.name());
    count(reply, "seen-time", consumer.seen_ms);
    reply.bulk_str("active-time");
    reply.integer(consumer.active_ms.map_or(-1, |active_ms| active_ms as i64));
    count(reply, "pel-count", consumer.pending_len() as u64);
    reply.bulk_str("pending");
    reply.array(consumer.pending_len().min(limit));
    for id in consumer.pending_from(StreamId::MIN).take(limit) {
        reply.array(3);
        write_id(reply, id);
        // Whatever is pending for a consumer is pending in its group.
        write_deliveries(reply, &group.nack(id).unwrap_or_default());
    }
}

fn write_deliveries(reply: &mut Reply, nack: &Nack) {
    reply.integer(nack.delivery_ms as i64);
    reply.integer(nack.deliveries as i64);
}
