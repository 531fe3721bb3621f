//! XCLAIM and XAUTOCLAIM: pending entries change hands.
//!
//! A pending entry whose entry was deleted is nobody's to claim: it is taken off the list instead.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, WRITE};
use crate::command::spec::key_spec::{DELETE, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::stream::{
    ENTRY, KEY, consumer_created, consumer_or_new, edit, no_key_or_group, parse_id, parse_start, quoted,
    write_entry, write_id,
};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::stream::{ConsumerId, Cursor, Group as Readers, Log, Nack, StreamId};

/// Pending entries that XAUTOCLAIM looks at for each that it may claim.
const LOOKED_AT_FACTOR: usize = 10;
/// Entries that XAUTOCLAIM claims at most without COUNT.
const COUNT_DEFAULT: usize = 100;
/// The greatest COUNT that Redis takes.
const COUNT_MAX: i64 = i64::MAX / 16;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("xclaim", xclaim)
        .arity(-6)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | UPDATE)])
        .tips(&["nondeterministic_output"])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(log P) for each ID, P the number of pending entries.")
        .summary("Hands pending entries over to a consumer and returns them.")
        .args(&[
            Arg::key("key", 0),
            Arg::string("group"),
            Arg::string("consumer"),
            Arg::string("min-idle-time"),
            Arg::string("id").multiple(),
            Arg::integer("ms").token("IDLE").optional(),
            Arg::unix_time("unix-time-milliseconds").token("TIME").optional(),
            Arg::integer("count").token("RETRYCOUNT").optional(),
            Arg::flag("force", "FORCE").optional(),
            JUST_ID,
            Arg::string("lastid").token("LASTID").optional(),
        ])
        .reply(CLAIMED)
        .finish(),
    Spec::new("xautoclaim", xautoclaim)
        .arity(-6)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | DELETE)])
        .tips(&["nondeterministic_output"])
        .group(Group::Stream)
        .since("6.2.0")
        .complexity("O(N log P), N the COUNT, P the number of pending entries.")
        .summary("Hands entries that are pending for long over to a consumer and returns them.")
        .history(&[("7.0.0", "The reply has the IDs of deleted entries, which are pending no more.")])
        .args(&[
            Arg::key("key", 0),
            Arg::string("group"),
            Arg::string("consumer"),
            Arg::string("min-idle-time"),
            Arg::string("start"),
            Arg::integer("count").token("COUNT").optional(),
            JUST_ID,
        ])
        .reply(Shape::Tuple(&[Shape::Bulk, CLAIMED, Shape::Array(&Shape::Bulk)]))
        .finish(),
];

const JUST_ID: Arg = Arg::flag("justid", "JUSTID").optional();
const CLAIMED: Shape = Shape::OneOf(&[Shape::Array(&ENTRY), Shape::Array(&Shape::Bulk)]);

/// How entries are claimed.
struct Claim {
    /// Only entries that were delivered that long ago.
    min_idle_ms: u64,
    /// Unix ms that is to count as the last delivery.
    delivery_ms: u64,
    /// What the number of deliveries is set to.
    deliveries: Option<u64>,
    /// Entries that are not pending become so.
    force: bool,
    /// The reply has IDs only, and the deliveries are not counted.
    just_id: bool,
    /// Up to where the group counts as having read, if that is ahead.
    last_id: StreamId,
    now_ms: u64,
}

impl Claim {
    fn parse_min_idle(text: &[u8], refusal: &'static str) -> Result<u64, Error> {
        Ok(parse_i64(text).ok_or(Error::Fixed(refusal))?.max(0) as u64)
    }

    fn new(min_idle_ms: u64, now_ms: u64) -> Self {
        Self {
            min_idle_ms,
            delivery_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
            now_ms,
        }
    }

    /// Reads the options behind the IDs of XCLAIM.
    fn parse_options(&mut self, args: Args<'_>) -> Result<(), Error> {
        let mut options = args.iter();
        let number = |text: &[u8], refusal| parse_i64(text).ok_or(Error::Fixed(refusal));
        while let Some(word) = options.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"force") {
                self.force = true;
            } else if is(b"justid") {
                self.just_id = true;
            } else if is(b"idle") && options.len() > 0 {
                let text = options.next().unwrap_or_default();
                let idle_ms = number(text, "ERR Invalid IDLE option argument for XCLAIM")?;
                self.deliver_at((self.now_ms as i64).wrapping_sub(idle_ms));
            } else if is(b"time") && options.len() > 0 {
                let text = options.next().unwrap_or_default();
                self.deliver_at(number(text, "ERR Invalid TIME option argument for XCLAIM")?);
            } else if is(b"retrycount") && options.len() > 0 {
                let text = options.next().unwrap_or_default();
                let count = number(text, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                self.deliveries = u64::try_from(count).ok();
            } else if is(b"lastid") && options.len() > 0 {
                self.last_id = parse_id(options.next().unwrap_or_default())?;
            } else {
                let word = quoted(word);
                return Err(Error::err(format!("Unrecognized XCLAIM option '{word}'")));
            }
        }
        Ok(())
    }

    /// Sets the last delivery; what lies in the future, by the client's clock or a slip, counts as now.
    fn deliver_at(&mut self, at_ms: i64) {
        self.delivery_ms = u64::try_from(at_ms).map_or(self.now_ms, |at_ms| at_ms.min(self.now_ms));
    }

    fn is_idle(&self, nack: &Nack) -> bool {
        self.now_ms.saturating_sub(nack.delivery_ms) >= self.min_idle_ms
    }
}

/// What came of claiming.
#[derive(Default)]
struct Outcome {
    /// The consumer was made.
    created: bool,
    /// Entries that changed hands or are pending no more; and the group's ID, if it moved.
    changes: u64,
}

impl Outcome {
    fn edited(self) -> Edited<Result<Self, Error>> {
        Edited::when(self.created || self.changes > 0, Ok(self)).unwatched()
    }
}

/// Claims a pending entry, or a new one, and writes it.
fn claim_entry(
    reply: &mut Reply,
    group: &mut Readers,
    entry: (StreamId, &mut Cursor<'_>),
    nack: Option<Nack>,
    consumer: ConsumerId,
    claim: &Claim,
) {
    let (id, cursor) = entry;
    let counted = nack.map_or(1, |nack| nack.deliveries).wrapping_add(u64::from(!claim.just_id));
    let deliveries = claim.deliveries.unwrap_or(counted);
    group.assign(id, Nack { delivery_ms: claim.delivery_ms, deliveries, consumer });
    if let Some(consumer) = group.consumer_mut(consumer) {
        consumer.active_ms = Some(claim.now_ms);
    }
    if claim.just_id {
        write_id(reply, id);
    } else {
        write_entry(reply, id, cursor);
    }
}

fn xclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (group, now_ms) = (&args[2], cx.now_ms);
    let key = cx.data.key(&args[1]);
    let reply = &mut *cx.reply;
    let found = cx.data.find(&key).is_some();
    if !found {
        return Err(no_key_or_group(key.bytes, group));
    }
    let (outcome, _) = edit(&mut cx.data, &key, |stream| {
        let edited = stream.edit_group(group, |log, group| match parse_claim(args, now_ms) {
            Ok((claim, ids)) => claim_ids(reply, log, group, &args[3], ids, &claim).edited(),
            Err(error) => Edited::no(Err(error)),
        });
        edited.unwrap_or_else(|| Edited::no(Err(no_key_or_group(key.bytes, group))))
    })?;
    let outcome = outcome?;
    if outcome.created {
        consumer_created(&mut cx.data, key.bytes);
    }
    cx.data.dirty += outcome.changes;
    Ok(())
}

/// How to claim, and the IDs: all arguments that are some, up to the first option.
fn parse_claim(args: Args<'_>, now_ms: u64) -> Result<(Claim, impl Iterator<Item = StreamId>), Error> {
    let min_idle_ms = Claim::parse_min_idle(&args[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    let mut claim = Claim::new(min_idle_ms, now_ms);
    let ids = args.from(5).iter().map_while(|text| parse_id(text).ok());
    claim.parse_options(args.from(5 + ids.clone().count()))?;
    Ok((claim, ids))
}

fn claim_ids(
    reply: &mut Reply,
    log: &Log,
    group: &mut Readers,
    consumer: &[u8],
    ids: impl Iterator<Item = StreamId>,
    claim: &Claim,
) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.changes += u64::from(group.raise_id(claim.last_id));
    let mark = reply.deferred_array();
    let mut written = 0;
    if let Some((consumer, created)) = consumer_or_new(group, consumer, claim.now_ms) {
        outcome.created = created;
        for id in ids {
            let nack = group.nack(id);
            let mut cursor = log.entry(id);
            if cursor.next_id().is_none() {
                outcome.changes += u64::from(group.acknowledge(id));
                continue;
            }
            let may = match &nack {
                Some(nack) => claim.is_idle(nack),
                None => claim.force,
            };
            if may {
                claim_entry(reply, group, (id, &mut cursor), nack, consumer, claim);
                outcome.changes += 1;
                written += 1;
            }
        }
    }
    reply.close_array(mark, written);
    outcome
}

/// How XAUTOCLAIM claims, from which ID on, and how many entries at most.
fn parse_auto(args: Args<'_>, now_ms: u64) -> Result<(Claim, StreamId, usize), Error> {
    let min_idle_ms = Claim::parse_min_idle(&args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = parse_start(&args[5])?;
    let mut claim = Claim::new(min_idle_ms, now_ms);
    let mut count = COUNT_DEFAULT;
    let mut options = args.from(6).iter();
    while let Some(word) = options.next() {
        if word.eq_ignore_ascii_case(b"count") && options.len() > 0 {
            let number = parse_i64(options.next().unwrap_or_default());
            let number = number.filter(|number| (1..=COUNT_MAX).contains(number));
            count = number.ok_or(Error::Fixed("ERR COUNT must be > 0"))? as usize;
        } else if word.eq_ignore_ascii_case(b"justid") {
            claim.just_id = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok((claim, start, count))
}

fn xautoclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (claim, start, count) = parse_auto(args, cx.now_ms)?;
    let group = &args[2];
    let key = cx.data.key(&args[1]);
    let reply = &mut *cx.reply;
    if cx.data.find(&key).is_none() {
        return Err(no_key_or_group(key.bytes, group));
    }
    let (outcome, _) = edit(&mut cx.data, &key, |stream| {
        let edited = stream.edit_group(group, |log, group| {
            claim_from(reply, log, group, &args[3], (start, count), &claim).edited()
        });
        edited.unwrap_or_else(|| Edited::no(Err(no_key_or_group(key.bytes, group))))
    })?;
    let outcome = outcome?;
    if outcome.created {
        consumer_created(&mut cx.data, key.bytes);
    }
    cx.data.dirty += outcome.changes;
    Ok(())
}

/// Claims up to `count` of the pending entries from `start` on; deleted ones count as well.
fn claim_from(
    reply: &mut Reply,
    log: &Log,
    group: &mut Readers,
    consumer: &[u8],
    (start, count): (StreamId, usize),
    claim: &Claim,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mark = reply.checkpoint();
    let (mut written, mut deleted) = (0, Vec::new());
    let mut from = Some(start);
    if let Some((consumer, created)) = consumer_or_new(group, consumer, claim.now_ms) {
        outcome.created = created;
        let mut left_to_look_at = count.saturating_mul(LOOKED_AT_FACTOR);
        while left_to_look_at > 0 && written + deleted.len() < count {
            left_to_look_at -= 1;
            let Some((id, nack)) = next_pending(group, from) else {
                from = None;
                break;
            };
            from = id.next();
            let mut cursor = log.entry(id);
            if cursor.next_id().is_none() {
                group.acknowledge(id);
                deleted.push(id);
            } else if claim.is_idle(&nack) {
                claim_entry(reply, group, (id, &mut cursor), Some(nack), consumer, claim);
                written += 1;
            }
        }
    }
    outcome.changes = (written + deleted.len()) as u64;
    // What was claimed stands behind the ID to go on from, which is known only now.
    let claimed = reply.split_off(mark);
    reply.array(3);
    write_id(reply, next_pending(group, from).map(|(id, _)| id).unwrap_or_default());
    reply.array(written);
    reply.append(claimed);
    reply.array(deleted.len());
    deleted.into_iter().for_each(|id| write_id(reply, id));
    outcome
}

/// The first pending entry from `from` on.
fn next_pending(group: &Readers, from: Option<StreamId>) -> Option<(StreamId, Nack)> {
    group.pending_from(from?).next().map(|(id, nack)| (id, *nack))
}
