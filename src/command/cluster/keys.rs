//! CLUSTER KEYSLOT, COUNTKEYSINSLOT, GETKEYSINSLOT and SLOT-STATS: slots and the keys in them.
//!
//! Only this node's own slots have keys to show: those that are on their way here are hidden until the table says so.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::{leased, member};
use crate::base::num::parse_i64;
use crate::base::slot::{SLOT_COUNT, Slot, slot_of};
use crate::command::context::Cx;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::store::index::Position;
use crate::store::walk::Step;

/// Entries looked at under one hold of a shard's lock.
const STEP_MAX: usize = 1024;

pub(super) fn slot_of_key(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    cx.reply.integer(slot_of(&args[2]).number().into());
    Ok(())
}

pub(super) fn count(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    leased(cx)?;
    let number = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    let slot = slot_numbered(number).ok_or(Error::Fixed("ERR Invalid slot"))?;
    let count = if is_mine(cx, slot) { entries(cx, slot.number()..=slot.number()) } else { 0 };
    cx.reply.integer(count as i64);
    Ok(())
}

pub(super) fn list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    leased(cx)?;
    let number = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    let wanted = parse_i64(&args[3]).ok_or(Error::NotAnInteger)?;
    let slot = slot_numbered(number).zip(usize::try_from(wanted).ok());
    let (slot, wanted) = slot.ok_or(Error::Fixed("ERR Invalid slot or number of keys"))?;
    if !is_mine(cx, slot) {
        cx.reply.array(0);
        return Ok(());
    }
    let Cx { hub, data, reply, now_ms, .. } = cx;
    let layout = hub.keyspace.layout();
    let (shard, within) = (layout.shard_of(slot), layout.slot_in_shard(slot));
    let mark = reply.deferred_array();
    let mut found = 0;
    let mut next = Some(Step { slot: within, position: Position::default() });
    while let Some(step) = next.filter(|step| step.slot == within && found < wanted) {
        next = data.with_shard(shard, |shard| {
            let db = shard.db_if_any(0)?;
            let count = (wanted - found).min(STEP_MAX);
            // The walk goes on to later slots: their keys are not asked for.
            let (next, _) = db.walk(step, count, (*now_ms, None), |key| {
                if found < wanted && slot_of(key) == slot {
                    reply.bulk(key);
                    found += 1;
                }
            });
            next
        });
    }
    reply.close_array(mark, found);
    Ok(())
}

fn slot_numbered(number: i64) -> Option<Slot> {
    Slot::new(u16::try_from(number).ok()?)
}

fn is_mine(cx: &Cx<'_>, slot: Slot) -> bool {
    cx.hub.cluster.routes.view().is_mine(slot)
}

/// Keys in these slots, whoever they belong to. Those that are due and not removed yet count.
pub(super) fn entries(cx: &mut Cx<'_>, slots: RangeInclusive<u16>) -> u64 {
    counts(cx, slots.filter_map(Slot::new)).iter().map(|(_, keys)| keys).sum()
}

/// The keys of each of these slots, in the order of the shards: every shard is locked once.
fn counts(cx: &mut Cx<'_>, slots: impl Iterator<Item = Slot>) -> Vec<(Slot, u64)> {
    let layout = cx.hub.keyspace.layout();
    let mut by_shard: Vec<Vec<Slot>> = vec![Vec::new(); layout.shards()];
    slots.for_each(|slot| by_shard[layout.shard_of(slot)].push(slot));
    let mut counts = Vec::new();
    for (number, slots) in by_shard.iter().enumerate().filter(|(_, slots)| !slots.is_empty()) {
        cx.data.with_shard(number, |shard| {
            let db = shard.db_if_any(0);
            let keys_in = |slot| db.as_ref().map_or(0, |db| db.slot_entries(layout.slot_in_shard(slot)));
            counts.extend(slots.iter().map(|&slot| (slot, keys_in(slot) as u64)));
        });
    }
    counts
}

/// What SLOT-STATS was asked for.
struct Wanted {
    slots: RangeInclusive<u16>,
    limit: usize,
    order: Order,
}

#[derive(Clone, Copy)]
enum Order {
    Slot,
    Fewest,
    Most,
}

pub(super) fn stats(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    leased(cx)?;
    let Wanted { slots, limit, order } = wanted(args)?;
    let view = cx.hub.cluster.routes.view();
    let mut counts = counts(cx, slots.filter_map(Slot::new).filter(|slot| view.is_mine(*slot)));
    match order {
        Order::Slot => counts.sort_unstable_by_key(|(slot, _)| *slot),
        Order::Fewest => counts.sort_unstable_by_key(|(slot, keys)| (*keys, *slot)),
        Order::Most => counts.sort_unstable_by_key(|(slot, keys)| (Reverse(*keys), *slot)),
    }
    counts.truncate(limit);
    cx.reply.array(counts.len());
    for (slot, keys) in counts {
        cx.reply.array(2);
        cx.reply.integer(slot.number().into());
        cx.reply.map(1);
        cx.reply.bulk_str("key-count");
        cx.reply.integer(keys as i64);
    }
    Ok(())
}

fn wanted(args: Args<'_>) -> Result<Wanted, Error> {
    if args.len() == 5 && args[2].eq_ignore_ascii_case(b"slotsrange") {
        const OUT: Error = Error::Fixed("ERR Invalid or out of range slot");
        let slot = |at: usize| parse_i64(&args[at]).and_then(slot_numbered).map(Slot::number).ok_or(OUT);
        let (start, end) = (slot(3)?, slot(4)?);
        if start > end {
            return Err(Error::err(format_args!(
                "Start slot number {start} is greater than end slot number {end}"
            )));
        }
        return Ok(Wanted { slots: start..=end, limit: SLOT_COUNT, order: Order::Slot });
    }
    if !args[2].eq_ignore_ascii_case(b"orderby") {
        return Err(Error::bad_subcommand("cluster", &args[1]));
    }
    if !args[3].eq_ignore_ascii_case(b"key-count") {
        return Err(Error::Fixed("ERR Unrecognized sort metric for ORDERBY: only key-count is known."));
    }
    let (mut limit, mut order) = (None, None);
    let mut rest = args.from(4).iter();
    while let Some(option) = rest.next() {
        let twice = if option.eq_ignore_ascii_case(b"limit") {
            limit.replace(limit_of(rest.next().ok_or(Error::Syntax)?)?).is_some()
        } else if option.eq_ignore_ascii_case(b"asc") {
            order.replace(Order::Fewest).is_some()
        } else if option.eq_ignore_ascii_case(b"desc") {
            order.replace(Order::Most).is_some()
        } else {
            return Err(Error::Syntax);
        };
        if twice {
            return Err(Error::Fixed("ERR Multiple filters of the same type are disallowed."));
        }
    }
    Ok(Wanted {
        slots: 0..=SLOT_COUNT as u16 - 1,
        limit: limit.unwrap_or(SLOT_COUNT),
        order: order.unwrap_or(Order::Most),
    })
}

fn limit_of(text: &[u8]) -> Result<usize, Error> {
    let limit = parse_i64(text).and_then(|limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| (1..=SLOT_COUNT).contains(limit))
        .ok_or(Error::Fixed("ERR Limit has to lie in between 1 and 16384 (maximum number of slots)."))
}
