//! SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD: several sets in one step.
//!
//! Every key is looked up, and its type checked, before anything is computed, also where one that is missing has decided
//! the result already. Intersections are written member by member as they are found; a union or a difference is put
//! together first where that costs less.

use smallvec::SmallVec;

use crate::base::num::parse_i64;
use crate::command::collection::write_element;
use crate::command::context::{Cx, Data};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeySpec, OW, RO, RW, UPDATE};
use crate::command::spec::{Draft, Group, Handler, Spec};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::key::Key;
use crate::store::value::listpack::Element;
use crate::store::value::set::{Set, SetRef};
use crate::store::value::{Collection, Thresholds, Typed};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    reading("sinter", sinter)
        .complexity("O(N*M), N the number of members of the smallest set, M the number of sets.")
        .summary("Returns the members that all of several sets have.")
        .finish(),
    storing("sinterstore", sinterstore)
        .keys(&[KeySpec::at(1).flags(RW | UPDATE), SOURCES])
        .complexity("O(N*M), N the number of members of the smallest set, M the number of sets.")
        .summary("Stores the members that all of several sets have, and returns how many there are.")
        .finish(),
    Spec::new("sintercard", sintercard)
        .arity(-3)
        .flags(READONLY)
        .keys(&[KeySpec::key_num(1, 0, 1, 1).flags(RO | ACCESS)])
        .group(Group::Set)
        .since("7.0.0")
        .complexity("O(N*M), N the number of members of the smallest set, M the number of sets.")
        .summary("Counts the members that all of several sets have, up to a limit.")
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key", 0).multiple(),
            Arg::integer("limit").token("LIMIT").optional(),
        ])
        .reply(Shape::Integer)
        .finish(),
    reading("sunion", sunion)
        .complexity("O(N), N the number of members of all sets.")
        .summary("Returns the members that any of several sets has.")
        .finish(),
    storing("sunionstore", sunionstore)
        .complexity("O(N), N the number of members of all sets.")
        .summary("Stores the members that any of several sets has, and returns how many there are.")
        .finish(),
    reading("sdiff", sdiff)
        .complexity("O(N), N the number of members of all sets.")
        .summary("Returns the members of a set that none of several others has.")
        .finish(),
    storing("sdiffstore", sdiffstore)
        .complexity("O(N), N the number of members of all sets.")
        .summary(
            "Stores the members of a set that none of several others has, and returns how many there are.",
        )
        .finish(),
];

const SOURCES: KeySpec = KeySpec::range(2, -1, 1).flags(RO | ACCESS);
const READ_KEYS: &[KeySpec] = &[KeySpec::range(1, -1, 1).flags(RO | ACCESS)];
const STORE_KEYS: &[KeySpec] = &[KeySpec::at(1).flags(OW | UPDATE), SOURCES];
const READ_ARGS: &[Arg] = &[Arg::key("key", 0).multiple()];
const STORE_ARGS: &[Arg] = &[Arg::key("destination", 0), Arg::key("key", 1).multiple()];

const fn reading(name: &'static str, handler: Handler) -> Draft {
    Spec::new(name, handler)
        .arity(-2)
        .flags(READONLY)
        .keys(READ_KEYS)
        .tips(&["nondeterministic_output_order"])
        .group(Group::Set)
        .since("1.0.0")
        .args(READ_ARGS)
        .reply(Shape::Set(&Shape::Bulk))
}

const fn storing(name: &'static str, handler: Handler) -> Draft {
    Spec::new(name, handler)
        .arity(-3)
        .flags(WRITE | DENYOOM)
        .keys(STORE_KEYS)
        .group(Group::Set)
        .since("1.0.0")
        .args(STORE_ARGS)
        .reply(Shape::Integer)
}

/// Sets of a request that need no allocation.
const SETS_INLINE: usize = 8;

type Keys<'k> = SmallVec<[Key<'k>; SETS_INLINE]>;
/// The sets under a request's keys, in its order; nothing where a key is missing.
type Sets<'a> = SmallVec<[Option<SetRef<'a>>; SETS_INLINE]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Intersect,
    Unite,
    Subtract,
}

/// Looks up every key, which may remove what is due; each counts as hit or miss.
fn look_up<'k>(cx: &mut Cx<'_>, names: impl Iterator<Item = &'k [u8]>) -> Result<Keys<'k>, Error> {
    let mut keys = Keys::new();
    for name in names {
        let key = cx.data.key(name);
        cx.data.read_value::<Set>(&key)?;
        keys.push(key);
    }
    Ok(keys)
}

fn view<'a>(data: &'a Data<'_>, keys: &[Key<'_>]) -> Result<Sets<'a>, Error> {
    keys.iter().map(|key| data.view::<Set>(key)).collect()
}

/// Hands the members that all sets have to `emit`, until it wants no more.
fn intersect<'a>(sets: &Sets<'a>, mut emit: impl FnMut(Element<'a>) -> bool) {
    let mut all: SmallVec<[SetRef<'a>; SETS_INLINE]> = SmallVec::new();
    for set in sets {
        let Some(set) = set else { return };
        all.push(*set);
    }
    // The smallest is gone through, and the next smallest says no most often.
    all.sort_by_key(|set| set.len());
    let Some((first, others)) = all.split_first() else { return };
    for member in first.iter() {
        if others.iter().all(|set| set.contains_element(member)) && !emit(member) {
            return;
        }
    }
}

fn unite(sets: &Sets<'_>, thresholds: &Thresholds) -> Set {
    let mut result = Set::new();
    for set in sets.iter().flatten() {
        set.iter().for_each(|member| {
            result.add_element(member, thresholds);
        });
    }
    result
}

/// The members of the first set that no other has, found in whichever way looks at fewer members.
fn subtract(sets: &Sets<'_>, thresholds: &Thresholds) -> Set {
    let mut result = Set::new();
    let Some((Some(first), others)) = sets.split_first() else { return result };
    let others = || others.iter().flatten();
    let looked_up = first.len() * (others().count() + 1) / 2;
    let copied = first.len() + others().map(|set| set.len()).sum::<usize>();
    if looked_up <= copied {
        first.iter().filter(|member| !others().any(|set| set.contains_element(*member))).for_each(|member| {
            result.add_element(member, thresholds);
        });
        return result;
    }
    first.iter().for_each(|member| {
        result.add_element(member, thresholds);
    });
    for set in others() {
        set.iter().for_each(|member| {
            member.with_bytes(|member| result.remove(member));
        });
        if result.is_empty() {
            break;
        }
    }
    result
}

fn sinter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let keys = look_up(cx, args.from(1).iter())?;
    let sets = view(&cx.data, &keys)?;
    let mark = cx.reply.checkpoint();
    let mut count = 0;
    intersect(&sets, |member| {
        write_element(cx.reply, member);
        count += 1;
        true
    });
    cx.reply.close_set(mark, count);
    Ok(())
}

fn sunion(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_with(cx, args, Operation::Unite)
}

fn sdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_with(cx, args, Operation::Subtract)
}

fn sinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    store(cx, args, Operation::Intersect, "sinterstore")
}

fn sunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    store(cx, args, Operation::Unite, "sunionstore")
}

fn sdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    store(cx, args, Operation::Subtract, "sdiffstore")
}

fn compute(sets: &Sets<'_>, operation: Operation, thresholds: &Thresholds) -> Set {
    match operation {
        Operation::Unite => unite(sets, thresholds),
        Operation::Subtract => subtract(sets, thresholds),
        Operation::Intersect => {
            let mut result = Set::new();
            intersect(sets, |member| {
                result.add_element(member, thresholds);
                true
            });
            result
        }
    }
}

fn reply_with(cx: &mut Cx<'_>, args: Args<'_>, operation: Operation) -> Result<(), Error> {
    let keys = look_up(cx, args.from(1).iter())?;
    let thresholds = cx.thresholds();
    let sets = view(&cx.data, &keys)?;
    let result = compute(&sets, operation, &thresholds);
    let result = result.as_ref();
    cx.reply.set(result.len());
    result.iter().for_each(|member| write_element(cx.reply, member));
    Ok(())
}

fn store(cx: &mut Cx<'_>, args: Args<'_>, operation: Operation, event: &'static str) -> Result<(), Error> {
    let keys = look_up(cx, args.from(2).iter())?;
    let thresholds = cx.thresholds();
    let mut result = compute(&view(&cx.data, &keys)?, operation, &thresholds);
    let key = cx.data.key(&args[1]);
    let count = result.as_ref().len();
    if count > 0 {
        result.settle(&thresholds);
        cx.data.store_value(&key, result.wrap())?;
        cx.data.event(Class::Set, event, key.bytes);
        cx.data.dirty += 1;
    } else if cx.data.remove_key(&key) {
        cx.data.event(Class::Generic, "del", key.bytes);
        cx.data.dirty += 1;
    }
    cx.reply.integer(count as i64);
    Ok(())
}

fn sintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let numkeys = parse_i64(&args[1]).and_then(|numkeys| usize::try_from(numkeys).ok());
    let numkeys = numkeys.filter(|&numkeys| numkeys > 0).ok_or(Error::NumkeysNotPositive)?;
    if numkeys > args.len() - 2 {
        return Err(Error::Fixed("ERR Number of keys can't be greater than number of args"));
    }
    let mut limit = 0;
    let mut words = args.from(2 + numkeys).iter();
    while let Some(word) = words.next() {
        let number = words.next().filter(|_| word.eq_ignore_ascii_case(b"limit")).ok_or(Error::Syntax)?;
        let number = parse_i64(number).and_then(|number| usize::try_from(number).ok());
        limit = number.ok_or(Error::Fixed("ERR LIMIT can't be negative"))?;
    }
    let keys = look_up(cx, args.from(2).iter().take(numkeys))?;
    let sets = view(&cx.data, &keys)?;
    let mut count = 0;
    intersect(&sets, |_| {
        count += 1;
        count != limit
    });
    cx.reply.integer(count as i64);
    Ok(())
}
