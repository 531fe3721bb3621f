//! Commands that look at the whole keyspace: SCAN KEYS RANDOMKEY DBSIZE.
//!
//! They lock shard after shard, never two (inside EXEC all are locked already), a bounded number of entries at a time.
//! SCAN's cursor is a place in an order that depends on the keys alone: shard, slot, hash prefix, tag. A made-up cursor
//! is a place like any other.

use crate::base::glob;
use crate::base::num::{parse_i64, parse_u64};
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY};
use crate::command::spec::{Group, Spec, category};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::index::Position;
use crate::store::value::ValueType;
use crate::store::walk::Step;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("scan", scan)
        .arity(-2)
        .flags(READONLY)
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .group(Group::Generic)
        .since("2.8.0")
        .complexity("O(1) for every call, O(N) for a whole scan of N keys.")
        .summary("Walks over the keys in small steps; a key that stays the whole time is seen.")
        .history(&[("6.0.0", "The option `TYPE` came.")])
        .args(&[
            Arg::integer("cursor"),
            Arg::pattern("pattern").token("MATCH").optional(),
            Arg::integer("count").token("COUNT").optional(),
            Arg::string("type").token("TYPE").optional().since("6.0.0"),
        ])
        .reply(Shape::Tuple(&[Shape::Bulk, Shape::Array(&Shape::Bulk)]))
        .finish(),
    Spec::new("keys", keys)
        .arity(2)
        .flags(READONLY)
        .categories(category::DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(N), N the number of keys.")
        .summary("Lists all keys that match a pattern.")
        .args(&[Arg::pattern("pattern")])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("randomkey", randomkey)
        .arity(1)
        .flags(READONLY)
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"])
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Gives a key at random.")
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("dbsize", dbsize)
        .arity(1)
        .flags(READONLY | FAST)
        .categories_exactly(category::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .group(Group::Server)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Counts the keys of the selected database.")
        .reply(Shape::Integer)
        .finish(),
];

/// Entries that one SCAN call looks at unless COUNT says otherwise, as in Redis.
const COUNT_DEFAULT: usize = 10;
/// Entries looked at under one hold of a shard's lock.
const STEP_MAX: usize = 1024;

const TAG_BITS: u32 = 16;
const PREFIX_BITS: u32 = Position::DEPTH_MAX as u32;
/// A cursor has so many bits at most: above them the gateway notes which node it is of.
pub const CURSOR_BITS: u32 = TAG_BITS + PREFIX_BITS + 1 + 14;
const _: () = assert!(CURSOR_BITS <= 57);

/// A place in the order of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    shard: usize,
    step: Step,
}

impl Cursor {
    /// 0 is the beginning (and, in a reply, the end).
    fn encode(self, slots: u64) -> u64 {
        let Position { prefix, depth, tag } = self.step.position;
        let place = self.shard as u64 * slots + u64::from(self.step.slot);
        // A one before the prefix says how long it is; without a prefix there is none, so that 0 is the beginning.
        let marked = if depth == 0 { 0 } else { 1 << depth | u64::from(prefix) };
        (place << (PREFIX_BITS + 1) | marked) << TAG_BITS | u64::from(tag)
    }

    /// The place that a number stands for: any number gives a valid one.
    fn decode(bits: u64, slots: u64) -> Self {
        let tag = bits as u16;
        let marked = (bits >> TAG_BITS) as u32 & ((1u32 << (PREFIX_BITS + 1)) - 1);
        let depth = marked.checked_ilog2().unwrap_or(0) as u8;
        let prefix = marked & ((1u32 << depth) - 1);
        let at = bits >> (TAG_BITS + PREFIX_BITS + 1);
        let step = Step { slot: (at % slots) as u32, position: Position { prefix, depth, tag } };
        Self { shard: usize::try_from(at / slots).unwrap_or(usize::MAX), step }
    }
}

/// Walks on from `cursor` until about `count` entries were looked at; gives the place to go on, nothing at the end.
fn walk(
    cx: &mut Cx<'_>,
    mut cursor: Cursor,
    (mut count, wanted_type): (usize, Option<ValueType>),
    mut visit: impl FnMut(&[u8]),
) -> Option<Cursor> {
    let (db, now_ms, shards) = (cx.session.db, cx.now_ms, cx.hub.keyspace.shards());
    while cursor.shard < shards {
        let wanted = count.min(STEP_MAX);
        let (next, seen) = cx.data.with_shard(cursor.shard, |shard| match shard.db_if_any(db) {
            Some(db) => db.walk(cursor.step, wanted, (now_ms, wanted_type), &mut visit),
            None => (None, 0),
        });
        count = count.saturating_sub(seen);
        cursor = match next {
            Some(step) => Cursor { step, ..cursor },
            None => Cursor { shard: cursor.shard + 1, step: Step::default() },
        };
        if count == 0 {
            return (cursor.shard < shards).then_some(cursor);
        }
    }
    None
}

/// What SCAN's TYPE asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    One(ValueType),
    /// A type that there is not.
    None,
}

fn scan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let bits = parse_u64(&args[1]).ok_or(Error::InvalidCursor)?;
    let (mut pattern, mut count, mut wanted_type) = (None, COUNT_DEFAULT, Wanted::Any);
    let mut rest = args.from(2).iter();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or(Error::Syntax)?;
        if option.eq_ignore_ascii_case(b"match") {
            pattern = Some(value).filter(|&value| value != b"*");
        } else if option.eq_ignore_ascii_case(b"count") {
            let wanted = parse_i64(value).ok_or(Error::NotAnInteger)?;
            count = usize::try_from(wanted).ok().filter(|&wanted| wanted > 0).ok_or(Error::Syntax)?;
        } else if option.eq_ignore_ascii_case(b"type") {
            wanted_type = ValueType::named(value).map_or(Wanted::None, Wanted::One);
        } else {
            return Err(Error::Syntax);
        }
    }
    let slots = cx.hub.keyspace.layout().slots_per_shard() as u64;
    let mut found = KeyList::default();
    let one_type = if let Wanted::One(wanted) = wanted_type { Some(wanted) } else { None };
    let next = walk(cx, Cursor::decode(bits, slots), (count, one_type), |key| {
        if wanted_type != Wanted::None && pattern.is_none_or(|pattern| glob::matches(pattern, key, false)) {
            found.push(key);
        }
    });
    cx.reply.array(2);
    cx.reply.bulk_display(next.map_or(0, |cursor| cursor.encode(slots)));
    cx.reply.array(found.ends.len());
    found.each(|key| cx.reply.bulk(key));
    Ok(())
}

/// Keys one behind the other: the reply needs the cursor before them.
#[derive(Default)]
struct KeyList {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyList {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn each(&self, mut visit: impl FnMut(&[u8])) {
        let mut start = 0;
        for &end in &self.ends {
            visit(&self.bytes[start..end]);
            start = end;
        }
    }
}

fn keys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let pattern = &args[1];
    let all = pattern == b"*";
    let mut found = KeyList::default();
    let start = Cursor { shard: 0, step: Step::default() };
    walk(cx, start, (usize::MAX, None), |key| {
        if all || glob::matches(pattern, key, false) {
            found.push(key);
        }
    });
    cx.reply.array(found.ends.len());
    found.each(|key| cx.reply.bulk(key));
    Ok(())
}

fn randomkey(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let (number, now_ms) = (cx.session.db, cx.now_ms);
    let mut weights = Vec::with_capacity(cx.hub.keyspace.shards());
    cx.data.each_shard(|_, shard| {
        weights.push(shard.db_if_any(number).map_or(0, |db| db.entries() as u64));
    });
    // A shard in proportion to its keys; then on from there, should it have nothing but due ones.
    let mut pick = cx.worker.rng.below(weights.iter().sum());
    let first = weights.iter().position(|&weight| {
        let here = pick < weight;
        pick = pick.saturating_sub(weight);
        here
    });
    let key = (0..weights.len()).find_map(|offset| {
        let shard = (first.unwrap_or(0) + offset) % weights.len();
        let rng = &mut cx.worker.rng;
        cx.data.with_shard(shard, |shard| Some(shard.db_if_any(number)?.random_key(rng, now_ms)?.to_vec()))
    });
    match key {
        Some(key) => cx.reply.bulk(&key),
        None => cx.reply.null(),
    }
    Ok(())
}

fn dbsize(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let number = cx.session.db;
    let mut entries = 0;
    cx.data.each_shard(|_, shard| entries += shard.db_if_any(number).map_or(0, |db| db.entries()));
    cx.reply.integer(entries as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Cursor;
    use crate::base::rng::Rng;
    use crate::store::index::Position;
    use crate::store::walk::Step;

    #[test]
    fn cursors_survive_the_wire() {
        for depth in [0u8, 1, 13, Position::DEPTH_MAX] {
            let prefix = (1u32 << depth) - 1;
            let step = Step { slot: 1023, position: Position { prefix, depth, tag: u16::MAX } };
            let cursor = Cursor { shard: 15, step };
            assert_eq!(Cursor::decode(cursor.encode(1024), 1024), cursor);
        }
    }

    #[test]
    fn any_number_is_a_place() {
        let mut rng = Rng::seeded(5);
        for _ in 0..10_000 {
            let cursor = Cursor::decode(rng.next_u64(), 1024);
            let Position { prefix, depth, .. } = cursor.step.position;
            assert!(depth <= Position::DEPTH_MAX && u64::from(prefix) < 1 << depth);
        }
    }
}
