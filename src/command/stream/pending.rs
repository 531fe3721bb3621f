//! XACK and XPENDING: entries that were delivered to a group and not acknowledged.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, RO, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::stream::{
    Boxed, KEY, no_key_or_group, parse_count, parse_end, parse_id, parse_integer, parse_start, write_id,
};
use crate::command::typed::Create;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::stream::{Consumer, Group as Readers, Nack, StreamId};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("xack", xack)
        .arity(-4)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | UPDATE)])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(log P) for each ID, P the number of pending entries.")
        .summary("Takes entries off those that are pending in a group and returns how many were.")
        .args(&[Arg::key("key", 0), Arg::string("group"), Arg::string("id").multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("xpending", xpending)
        .arity(-3)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .tips(&["nondeterministic_output"])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N), N the number of consumers, or of pending entries that are looked at.")
        .summary("Tells about the entries that are pending in a group.")
        .history(&[("6.2.0", "IDLE, and ends that are not part of the range.")])
        .args(&[
            Arg::key("key", 0),
            Arg::string("group"),
            Arg::block(
                "filters",
                &[
                    Arg::integer("min-idle-time").token("IDLE").optional().since("6.2.0"),
                    Arg::string("start"),
                    Arg::string("end"),
                    Arg::integer("count"),
                    Arg::string("consumer").optional(),
                ],
            )
            .optional(),
        ])
        .reply(Shape::OneOf(&[
            Shape::Tuple(&[
                Shape::Integer,
                Shape::BulkOrNull,
                Shape::BulkOrNull,
                Shape::ArrayOrNull(&Shape::Tuple(&[Shape::Bulk, Shape::Bulk])),
            ]),
            Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Bulk, Shape::Integer, Shape::Integer])),
        ]))
        .finish(),
];

fn xack(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let edited = cx.edit::<Boxed, _>(&key, Create::No, |stream, _| {
        let outcome = stream.edit_group(&args[2], |_, group| acknowledge(group, args.from(3)));
        let outcome = outcome.unwrap_or(Ok(0));
        Edited::when(outcome.as_ref().is_ok_and(|count| *count > 0), outcome).unwatched()
    })?;
    let acknowledged = edited.map_or(Ok(0), |(outcome, _)| outcome)?;
    cx.data.dirty += acknowledged as u64;
    cx.reply.integer(acknowledged as i64);
    Ok(())
}

/// Acknowledges all of these IDs, or none if one of them is none.
fn acknowledge(group: &mut Readers, ids: Args<'_>) -> Result<usize, Error> {
    if let Some(error) = ids.iter().find_map(|id| parse_id(id).err()) {
        return Err(error);
    }
    Ok(ids.iter().filter_map(|id| parse_id(id).ok()).filter(|id| group.acknowledge(*id)).count())
}

/// Which pending entries are asked for.
struct Filter<'a> {
    min_idle_ms: u64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

fn parse(args: Args<'_>) -> Result<Option<Filter<'_>>, Error> {
    if args.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&args.len()) {
        return Err(Error::Syntax);
    }
    let mut at = 3;
    let mut min_idle_ms = 0;
    if args[3].eq_ignore_ascii_case(b"idle") {
        // A negative idle time lets everything pass, as 0 does.
        min_idle_ms = parse_integer(&args[4])?.max(0) as u64;
        if args.len() < 8 {
            return Err(Error::Syntax);
        }
        at = 5;
    }
    let count = parse_count(&args[at + 2])?;
    let start = parse_start(&args[at])?;
    let end = parse_end(&args[at + 1])?;
    Ok(Some(Filter { min_idle_ms, start, end, count, consumer: args.get(at + 3) }))
}

fn xpending(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let filter = parse(args)?;
    let key = cx.data.key(&args[1]);
    let group = cx.data.read_value::<Boxed>(&key)?.and_then(|stream| stream.group(&args[2]));
    let group = group.ok_or_else(|| no_key_or_group(key.bytes, &args[2]))?;
    match filter {
        None => write_summary(cx.reply, group),
        Some(filter) => write_matching(cx.reply, group, &filter, cx.now_ms),
    }
    Ok(())
}

fn write_summary(reply: &mut Reply, group: &Readers) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let Some((first, last)) = group.pending_ends() else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    write_id(reply, first);
    write_id(reply, last);
    let having = group.consumers().filter(|consumer| consumer.pending_len() > 0);
    let mark = reply.deferred_array();
    let mut written = 0;
    for consumer in having {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_integer(consumer.pending_len() as i64);
        written += 1;
    }
    reply.close_array(mark, written);
}

fn write_matching(reply: &mut Reply, group: &Readers, filter: &Filter<'_>, now_ms: u64) {
    let mut out = Matching { reply, now_ms, min_idle_ms: filter.min_idle_ms, written: 0 };
    let mark = out.reply.deferred_array();
    if let Some(name) = filter.consumer {
        let consumer = group.find_consumer(name).and_then(|consumer| group.consumer(consumer));
        let ids = consumer.into_iter().flat_map(|consumer| consumer.pending_from(filter.start));
        for id in ids.take_while(|id| *id <= filter.end) {
            if out.written >= filter.count {
                break;
            }
            if let Some(nack) = group.nack(id) {
                out.write(id, consumer, &nack);
            }
        }
    } else {
        for (id, nack) in group.pending_from(filter.start).take_while(|(id, _)| *id <= filter.end) {
            if out.written >= filter.count {
                break;
            }
            out.write(id, group.consumer(nack.consumer), nack);
        }
    }
    let Matching { reply, written, .. } = out;
    reply.close_array(mark, written);
}

/// Writes pending entries that are idle for long enough.
struct Matching<'a> {
    reply: &'a mut Reply,
    now_ms: u64,
    min_idle_ms: u64,
    written: usize,
}

impl Matching<'_> {
    fn write(&mut self, id: StreamId, consumer: Option<&Consumer>, nack: &Nack) {
        let idle_ms = self.now_ms.saturating_sub(nack.delivery_ms);
        if idle_ms < self.min_idle_ms {
            return;
        }
        self.reply.array(4);
        write_id(self.reply, id);
        self.reply.bulk(consumer.map_or(b"", Consumer::name));
        self.reply.integer(idle_ms as i64);
        self.reply.integer(nack.deliveries as i64);
        self.written += 1;
    }
}
