//! ZUNION, ZINTER, ZDIFF, what stores their results, and ZINTERCARD: several sets as one. Plain sets take part, with a
//! score of 1 for every member.
//!
//! Inputs are read where they lie; only the result is copied. It holds each member once, and the work is that of looking
//! up every member of one input (all, for a union) in the others.

use hashbrown::HashTable;

use crate::base::num::parse_i64;
use crate::command::context::{Cx, Data};
use crate::command::sorted::{number, number_from, owned, store_members, write_entry, write_head};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeySpec, OW, RO, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::ValueRef;
use crate::store::value::listpack::Element;
use crate::store::value::set::SetRef;
use crate::store::value::sorted::{SortedSetRef, sort};
use crate::store::value::table::text_hash;
use crate::store::value::text::Text;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("zunion", zunion)
        .arity(-3)
        .flags(READONLY)
        .keys(&[SOURCES])
        .group(Group::SortedSet)
        .since("6.2.0")
        .complexity(UNION_COMPLEXITY)
        .summary("Returns the members that any of several sets has.")
        .args(&[NUMKEYS, Arg::key("key", 0).multiple(), WEIGHTS, AGGREGATE, WITHSCORES])
        .reply(MEMBERS)
        .finish(),
    Spec::new("zunionstore", zunionstore)
        .arity(-4)
        .flags(WRITE | DENYOOM)
        .keys(&[DESTINATION, STORED_SOURCES])
        .group(Group::SortedSet)
        .since("2.0.0")
        .complexity(UNION_COMPLEXITY)
        .summary("Stores the members that any of several sets has under another key; returns their number.")
        .args(&[
            Arg::key("destination", 0),
            NUMKEYS,
            Arg::key("key", 1).multiple(),
            WEIGHTS,
            AGGREGATE,
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zinter", zinter)
        .arity(-3)
        .flags(READONLY)
        .keys(&[SOURCES])
        .group(Group::SortedSet)
        .since("6.2.0")
        .complexity(INTER_COMPLEXITY)
        .summary("Returns the members that all of several sets have.")
        .args(&[NUMKEYS, Arg::key("key", 0).multiple(), WEIGHTS, AGGREGATE, WITHSCORES])
        .reply(MEMBERS)
        .finish(),
    Spec::new("zinterstore", zinterstore)
        .arity(-4)
        .flags(WRITE | DENYOOM)
        .keys(&[DESTINATION, STORED_SOURCES])
        .group(Group::SortedSet)
        .since("2.0.0")
        .complexity(INTER_COMPLEXITY)
        .summary("Stores the members that all of several sets have under another key; returns their number.")
        .args(&[
            Arg::key("destination", 0),
            NUMKEYS,
            Arg::key("key", 1).multiple(),
            WEIGHTS,
            AGGREGATE,
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zintercard", zintercard)
        .arity(-3)
        .flags(READONLY)
        .keys(&[SOURCES])
        .group(Group::SortedSet)
        .since("7.0.0")
        .complexity("O(N*K), N the size of the smallest set, K the number of sets.")
        .summary("Counts the members that all of several sets have, up to a limit.")
        .args(&[
            NUMKEYS,
            Arg::key("key", 0).multiple(),
            Arg::integer("limit").token("LIMIT").optional(),
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zdiff", zdiff)
        .arity(-3)
        .flags(READONLY)
        .keys(&[SOURCES])
        .group(Group::SortedSet)
        .since("6.2.0")
        .complexity(DIFF_COMPLEXITY)
        .summary("Returns the members of the first of several sets that none of the others has.")
        .args(&[NUMKEYS, Arg::key("key", 0).multiple(), WITHSCORES])
        .reply(MEMBERS)
        .finish(),
    Spec::new("zdiffstore", zdiffstore)
        .arity(-4)
        .flags(WRITE | DENYOOM)
        .keys(&[DESTINATION, STORED_SOURCES])
        .group(Group::SortedSet)
        .since("6.2.0")
        .complexity(DIFF_COMPLEXITY)
        .summary("Stores the members of the first of several sets that none of the others has under another key; returns their number.")
        .args(&[Arg::key("destination", 0), NUMKEYS, Arg::key("key", 1).multiple()])
        .reply(Shape::Integer)
        .finish(),
];

const SOURCES: KeySpec = KeySpec::key_num(1, 0, 1, 1).flags(RO | ACCESS);
const STORED_SOURCES: KeySpec = KeySpec::key_num(2, 0, 1, 1).flags(RO | ACCESS);
const DESTINATION: KeySpec = KeySpec::at(1).flags(OW | UPDATE);
const UNION_COMPLEXITY: &str =
    "O(N+M*log(M)), N the sizes of the sets together, M the number of members of the result.";
const INTER_COMPLEXITY: &str = "O(N*K+M*log(M)), N the size of the smallest set, K the number of sets, M the number of members of the result.";
const DIFF_COMPLEXITY: &str = "O(N*K+M*log(M)), N the size of the first set, K the number of sets, M the number of members of the result.";
const NUMKEYS: Arg = Arg::integer("numkeys");
const WEIGHTS: Arg = Arg::double("weight").token("WEIGHTS").multiple().optional();
const AGGREGATE: Arg =
    Arg::one_of("aggregate", &[Arg::flag("sum", "SUM"), Arg::flag("min", "MIN"), Arg::flag("max", "MAX")])
        .token("AGGREGATE")
        .optional();
const WITHSCORES: Arg = Arg::flag("withscores", "WITHSCORES").optional();
const MEMBERS: Shape =
    Shape::OneOf(&[Shape::Array(&Shape::Bulk), Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Double]))]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the scores that a member has in several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, score: f64, other: f64) -> f64 {
        match self {
            Self::Sum => number_or_zero(score + other),
            Self::Min if other < score => other,
            Self::Max if other > score => other,
            Self::Min | Self::Max => score,
        }
    }
}

/// Infinities that cancel each other out, and those taken zero times, come to 0.
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What may stand behind the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The members are returned.
    Returns,
    /// They are stored.
    Stores,
    /// They are counted.
    Counts,
}

/// What a command asks for beside its keys.
#[derive(Clone, Debug, PartialEq)]
struct Options {
    weights: Option<Vec<f64>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0: no limit.
    limit: usize,
}

impl Options {
    fn parse(words: Args<'_>, key_count: usize, operation: Operation, kind: Kind) -> Result<Self, Error> {
        let mut options = Self { weights: None, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let joins = operation != Operation::Diff && kind != Kind::Counts;
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let behind = words.len() - at - 1;
            if joins && behind >= key_count && is(b"weights") {
                let weights = words.from(at + 1).iter().take(key_count).map(number);
                let weights: Option<Vec<f64>> = weights.collect();
                options.weights = Some(weights.ok_or(Error::Fixed("ERR weight value is not a float"))?);
                at += key_count;
            } else if joins && behind >= 1 && is(b"aggregate") {
                options.aggregate = aggregate(&words[at + 1]).ok_or(Error::Syntax)?;
                at += 1;
            } else if kind == Kind::Returns && is(b"withscores") {
                options.with_scores = true;
            } else if kind == Kind::Counts && behind >= 1 && is(b"limit") {
                options.limit = number_from(&words[at + 1], 0, Error::Fixed("ERR LIMIT can't be negative"))?;
                at += 1;
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn aggregate(word: &[u8]) -> Option<Aggregate> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"sum") {
        Some(Aggregate::Sum)
    } else if is(b"min") {
        Some(Aggregate::Min)
    } else if is(b"max") {
        Some(Aggregate::Max)
    } else {
        None
    }
}

/// One of the sets that are combined.
#[derive(Clone, Copy)]
struct Input<'a> {
    members: Members<'a>,
    weight: f64,
}

#[derive(Clone, Copy)]
enum Members<'a> {
    None,
    Sorted(SortedSetRef<'a>),
    Plain(SetRef<'a>),
}

impl Members<'_> {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Sorted(set) => set.len(),
            Self::Plain(set) => set.len(),
        }
    }

    fn score(&self, member: Element<'_>) -> Option<f64> {
        member.with_bytes(|bytes| match self {
            Self::None => None,
            Self::Sorted(set) => set.score(bytes),
            Self::Plain(set) => set.contains(bytes).then_some(1.0),
        })
    }

    /// Calls `visit` with members and scores until it says that it is enough.
    fn visit(&self, mut visit: impl FnMut(Element<'_>, f64) -> bool) {
        match self {
            Self::None => {}
            Self::Sorted(set) => {
                let _ = set.iter().try_for_each(|(member, score)| visit(member, score).then_some(()));
            }
            Self::Plain(set) => {
                let _ = set.iter().try_for_each(|member| visit(member, 1.0).then_some(()));
            }
        }
    }
}

/// Looks the keys up, which counts as reading them; a wrong type is an error before anything else is looked at.
fn look_up(cx: &mut Cx<'_>, keys: &[&[u8]]) -> Result<(), Error> {
    for name in keys {
        let key = cx.data.key(name);
        if let Some(found) = cx.data.read(&key) {
            match cx.data.db(&key).value(found) {
                ValueRef::SortedSet(_) | ValueRef::Set(_) => {}
                _ => return Err(Error::WrongType),
            }
        }
    }
    Ok(())
}

/// The sets under keys that were looked up.
fn inputs<'d>(data: &'d Data<'_>, keys: &[&[u8]], weights: Option<&[f64]>) -> Vec<Input<'d>> {
    let members = |name: &[u8]| {
        let key = data.key(name);
        let db = data.db_if_any(&key)?;
        let found = db.find_keeping(&key, data.now_ms())?;
        match db.value(found) {
            ValueRef::SortedSet(set) => Some(Members::Sorted(set)),
            ValueRef::Set(set) => Some(Members::Plain(set)),
            _ => None,
        }
    };
    let weight = |position| weights.and_then(|weights| weights.get(position)).copied().unwrap_or(1.0);
    let inputs = keys.iter().enumerate().map(|(position, name)| Input {
        members: members(name).unwrap_or(Members::None),
        weight: weight(position),
    });
    inputs.collect()
}

/// The members of all inputs, the scores joined in the order of the inputs' sizes.
fn union(inputs: &[Input<'_>], aggregate: Aggregate) -> Vec<(Text, f64)> {
    let mut result: Vec<(Text, f64)> = Vec::new();
    let mut index: HashTable<usize> = HashTable::new();
    for input in inputs {
        input.members.visit(|member, score| {
            let score = number_or_zero(input.weight * score);
            let text = owned(member);
            let hash = text_hash(&text);
            match index.find(hash, |at| result[*at].0 == text) {
                Some(at) => result[*at].1 = aggregate.join(result[*at].1, score),
                None => {
                    index.insert_unique(hash, result.len(), |at| text_hash(&result[*at].0));
                    result.push((text, score));
                }
            }
            true
        });
    }
    result
}

/// Calls `visit` with the members that all inputs have until it says that it is enough; the first input is the smallest.
fn inter(inputs: &[Input<'_>], aggregate: Aggregate, mut visit: impl FnMut(Element<'_>, f64) -> bool) {
    let Some((first, others)) = inputs.split_first() else {
        return;
    };
    first.members.visit(|member, score| {
        let start = Some(number_or_zero(first.weight * score));
        let joined = others.iter().try_fold(start, |joined, other| {
            let score = other.members.score(member)?;
            Some(joined.map(|joined| aggregate.join(joined, other.weight * score)))
        });
        match joined.flatten() {
            Some(score) => visit(member, score),
            None => true,
        }
    });
}

/// The members of the first input that none of the others has.
fn diff(inputs: &[Input<'_>]) -> Vec<(Text, f64)> {
    let mut result = Vec::new();
    if let Some((first, others)) = inputs.split_first() {
        first.members.visit(|member, score| {
            if others.iter().all(|other| other.members.score(member).is_none()) {
                result.push((owned(member), score));
            }
            true
        });
    }
    result
}

/// The keys that stand behind their number, which is `args[at]`, and what follows them.
fn keys<'a>(args: Args<'a>, at: usize, command: &str) -> Result<(Vec<&'a [u8]>, Args<'a>), Error> {
    let count = parse_i64(args.get(at).unwrap_or_default()).ok_or(Error::NotAnInteger)?;
    if count < 1 {
        return Err(Error::Custom(format!("ERR at least 1 input key is needed for '{command}' command")));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let behind = args.from(at + 1);
    if count > behind.len() {
        return Err(Error::Syntax);
    }
    Ok((behind.iter().take(count).collect(), behind.from(count)))
}

/// Combines the sets that are named from `args[at]` on.
fn combine(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    at: usize,
    (operation, kind): (Operation, Kind),
) -> Result<(Vec<(Text, f64)>, Options), Error> {
    let (keys, words) = keys(args, at, &cx.entry.full_name)?;
    look_up(cx, &keys)?;
    let options = Options::parse(words, keys.len(), operation, kind)?;
    let mut inputs = inputs(&cx.data, &keys, options.weights.as_deref());
    if operation == Operation::Diff {
        return Ok((diff(&inputs), options));
    }
    inputs.sort_by_key(|input| input.members.len());
    let members = match operation {
        Operation::Union => union(&inputs, options.aggregate),
        _ => {
            let mut members = Vec::new();
            inter(&inputs, options.aggregate, |member, score| {
                members.push((owned(member), score));
                true
            });
            members
        }
    };
    Ok((members, options))
}

fn zunion(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_members(cx, args, Operation::Union)
}

fn zinter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_members(cx, args, Operation::Inter)
}

fn zdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_members(cx, args, Operation::Diff)
}

fn reply_members(cx: &mut Cx<'_>, args: Args<'_>, operation: Operation) -> Result<(), Error> {
    let (mut members, options) = combine(cx, args, 1, (operation, Kind::Returns))?;
    sort(&mut members);
    write_head(cx.reply, members.len(), options.with_scores);
    for (member, score) in &members {
        write_entry(cx.reply, (Element::Bytes(member), *score), options.with_scores);
    }
    Ok(())
}

fn zunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    store(cx, args, Operation::Union, "zunionstore")
}

fn zinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    store(cx, args, Operation::Inter, "zinterstore")
}

fn zdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    store(cx, args, Operation::Diff, "zdiffstore")
}

fn store(cx: &mut Cx<'_>, args: Args<'_>, operation: Operation, event: &'static str) -> Result<(), Error> {
    let (members, _) = combine(cx, args, 2, (operation, Kind::Stores))?;
    let to = cx.data.key(&args[1]);
    store_members(cx, &to, members, event)
}

fn zintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (keys, words) = keys(args, 1, &cx.entry.full_name)?;
    look_up(cx, &keys)?;
    let options = Options::parse(words, keys.len(), Operation::Inter, Kind::Counts)?;
    let mut inputs = inputs(&cx.data, &keys, None);
    inputs.sort_by_key(|input| input.members.len());
    let mut count = 0;
    inter(&inputs, options.aggregate, |_, _| {
        count += 1;
        count != options.limit
    });
    cx.reply.integer(count as i64);
    Ok(())
}
