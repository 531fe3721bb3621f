//! ZPOPMIN, ZPOPMAX, ZMPOP and the forms of them that wait: members from one end, removed and returned.

use smallvec::SmallVec;

use crate::command::blocking::{self, TimeoutReply, Wait};
use crate::command::context::Cx;
use crate::command::sorted::{KEY, number_from, owned, tell_removal};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{BLOCKING, FAST, NOSCRIPT, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, KeySpec, RW};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::{Proto, Reply};
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::Thresholds;
use crate::store::value::sorted::SortedSet;
use crate::store::value::text::Text;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("zpopmin", zpopmin)
        .arity(-2)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | ACCESS | DELETE)])
        .group(Group::SortedSet)
        .since("5.0.0")
        .complexity("O(log(N)*M), N the size of the sorted set, M the number of members removed.")
        .summary("Removes the members with the lowest scores and returns them.")
        .args(&[Arg::key("key", 0), Arg::integer("count").optional()])
        .reply(POPPED)
        .finish(),
    Spec::new("zpopmax", zpopmax)
        .arity(-2)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | ACCESS | DELETE)])
        .group(Group::SortedSet)
        .since("5.0.0")
        .complexity("O(log(N)*M), N the size of the sorted set, M the number of members removed.")
        .summary("Removes the members with the highest scores and returns them.")
        .args(&[Arg::key("key", 0), Arg::integer("count").optional()])
        .reply(POPPED)
        .finish(),
    Spec::new("zmpop", zmpop)
        .arity(-4)
        .flags(WRITE)
        .keys(&[KeySpec::key_num(1, 0, 1, 1).flags(RW | ACCESS | DELETE)])
        .group(Group::SortedSet)
        .since("7.0.0")
        .complexity("O(K+M*log(N)), K the number of keys, N the size of the sorted set, M the number of members removed.")
        .summary("Removes members from one end of the first of several sorted sets that is there and returns them.")
        .args(&[Arg::integer("numkeys"), Arg::key("key", 0).multiple(), WHERE, COUNT])
        .reply(POPPED_OF)
        .finish(),
    Spec::new("bzpopmin", bzpopmin)
        .arity(-3)
        .flags(WRITE | NOSCRIPT | BLOCKING | FAST)
        .keys(&[KeySpec::range(1, -2, 1).flags(RW | ACCESS | DELETE)])
        .group(Group::SortedSet)
        .since("5.0.0")
        .complexity("O(log(N)), N the size of the sorted set.")
        .summary("Removes the member with the lowest score from the first of several sorted sets that is there; waits for one.")
        .history(&[("6.0.0", "The timeout may have a fraction.")])
        .args(&[Arg::key("key", 0).multiple(), Arg::double("timeout")])
        .reply(POPPED_ONE_OF)
        .finish(),
    Spec::new("bzpopmax", bzpopmax)
        .arity(-3)
        .flags(WRITE | NOSCRIPT | BLOCKING | FAST)
        .keys(&[KeySpec::range(1, -2, 1).flags(RW | ACCESS | DELETE)])
        .group(Group::SortedSet)
        .since("5.0.0")
        .complexity("O(log(N)), N the size of the sorted set.")
        .summary("Removes the member with the highest score from the first of several sorted sets that is there; waits for one.")
        .history(&[("6.0.0", "The timeout may have a fraction.")])
        .args(&[Arg::key("key", 0).multiple(), Arg::double("timeout")])
        .reply(POPPED_ONE_OF)
        .finish(),
    Spec::new("bzmpop", bzmpop)
        .arity(-5)
        .flags(WRITE | BLOCKING)
        .keys(&[KeySpec::key_num(2, 0, 1, 1).flags(RW | ACCESS | DELETE)])
        .group(Group::SortedSet)
        .since("7.0.0")
        .complexity("O(K+M*log(N)), K the number of keys, N the size of the sorted set, M the number of members removed.")
        .summary("Removes members from one end of the first of several sorted sets that is there; waits for one.")
        .args(&[
            Arg::double("timeout"),
            Arg::integer("numkeys"),
            Arg::key("key", 0).multiple(),
            WHERE,
            COUNT,
        ])
        .reply(POPPED_OF)
        .finish(),
];

const WHERE: Arg = Arg::one_of("where", &[Arg::flag("min", "MIN"), Arg::flag("max", "MAX")]);
const COUNT: Arg = Arg::integer("count").token("COUNT").optional();

const PAIRS: Shape = Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Double]));
/// A flat array, or pairs in RESP3 where a count was given.
const POPPED: Shape =
    Shape::OneOf(&[PAIRS, Shape::Array(&Shape::Bulk), Shape::Tuple(&[Shape::Bulk, Shape::Double])]);
const POPPED_OF: Shape = Shape::OneOf(&[Shape::Null, Shape::Tuple(&[Shape::Bulk, PAIRS])]);
const POPPED_ONE_OF: Shape =
    Shape::OneOf(&[Shape::Null, Shape::Tuple(&[Shape::Bulk, Shape::Bulk, Shape::Double])]);

/// The end that members are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

/// How a reply with members looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Members and scores in one array.
    Flat,
    /// Members and scores in one array behind the key.
    FlatOfKey,
    /// Pairs in one array.
    Pairs,
    /// The key, and pairs in an array of their own.
    PairsOfKey,
}

fn zpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    pop_one(cx, args, End::Min)
}

fn zpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    pop_one(cx, args, End::Max)
}

fn pop_one(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), Error> {
    let (count, form) = match args.len() {
        2 => (1, Form::Flat),
        3 => {
            let count = number_from(&args[2], 0, Error::MustBePositive)?;
            (count, if cx.reply.proto() == Proto::Resp3 { Form::Pairs } else { Form::Flat })
        }
        _ => return Err(Error::Syntax),
    };
    if !pop(cx, &args[1], end, count, form)? {
        cx.reply.array(0);
    }
    Ok(())
}

fn zmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let request = Many::parse(args.from(1))?;
    if !request.pop(cx)? {
        cx.reply.null_array();
    }
    Ok(())
}

/// A request to pop from the first of several sets.
struct Many<'a> {
    keys: Args<'a>,
    key_count: usize,
    end: End,
    count: usize,
}

impl<'a> Many<'a> {
    /// Reads the number of keys and what follows it.
    fn parse(args: Args<'a>) -> Result<Self, Error> {
        let key_count = args.get(0).unwrap_or_default();
        let key_count = number_from(key_count, 1, Error::NumkeysNotPositive)?;
        let at = key_count.saturating_add(1);
        let end = match args.get(at) {
            Some(word) if word.eq_ignore_ascii_case(b"min") => End::Min,
            Some(word) if word.eq_ignore_ascii_case(b"max") => End::Max,
            _ => return Err(Error::Syntax),
        };
        let mut count = None;
        let mut rest = args.from(at + 1).iter();
        while let Some(word) = rest.next() {
            match rest.next() {
                Some(number) if count.is_none() && word.eq_ignore_ascii_case(b"count") => {
                    let error = Error::Fixed("ERR count should be greater than 0");
                    count = Some(number_from(number, 1, error)?);
                }
                _ => return Err(Error::Syntax),
            }
        }
        Ok(Self { keys: args.from(1), key_count, end, count: count.unwrap_or(1) })
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        self.keys.iter().take(self.key_count)
    }

    /// Pops from the first set that is there, and replies; whether one was.
    fn pop(&self, cx: &mut Cx<'_>) -> Result<bool, Error> {
        for key in self.keys() {
            if pop(cx, key, self.end, self.count, Form::PairsOfKey)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn bzpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    wait_for_one(cx, args, End::Min)
}

fn bzpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    wait_for_one(cx, args, End::Max)
}

fn wait_for_one(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), Error> {
    let last = args.len() - 1;
    let timeout_ms = blocking::timeout(&args[last])?;
    let keys: Vec<&[u8]> = args.iter().take(last).skip(1).collect();
    for key in &keys {
        if pop(cx, key, end, 1, Form::FlatOfKey)? {
            return Ok(());
        }
    }
    blocking::wait(cx, Wait { keys: &keys, timeout_ms, on_timeout: TimeoutReply::NullArray, args: None })
}

fn bzmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let request = Many::parse(args.from(2))?;
    let timeout_ms = blocking::timeout(&args[1])?;
    if request.pop(cx)? {
        return Ok(());
    }
    let keys: Vec<&[u8]> = request.keys().collect();
    blocking::wait(cx, Wait { keys: &keys, timeout_ms, on_timeout: TimeoutReply::NullArray, args: None })
}

/// Removes `count` members at most from one end of the set under a key, and replies them; false, and nothing is replied,
/// if there is no set.
fn pop(cx: &mut Cx<'_>, key: &[u8], end: End, count: usize, form: Form) -> Result<bool, Error> {
    let key = cx.data.key(key);
    let popped = cx.edit(&key, Create::No, |set: &mut SortedSet, _: &Thresholds| {
        let len = set.len();
        let count = count.min(len);
        let span = if end == End::Min { 0..count } else { len - count..len };
        let members = set.as_ref().walk_span(span.clone(), end == End::Max);
        let members: SmallVec<[(Text, f64); 1]> =
            members.map(|(member, score)| (owned(member), score)).collect();
        set.remove_span(span);
        Edited::when(count > 0, members)
    })?;
    let Some((members, fate)) = popped else {
        return Ok(false);
    };
    if !members.is_empty() {
        cx.data.dirty += members.len() as u64;
        let event = if end == End::Min { "zpopmin" } else { "zpopmax" };
        tell_removal(cx, &key, event, fate);
    }
    write(cx.reply, key.bytes, &members, form);
    Ok(true)
}

fn write(reply: &mut Reply, key: &[u8], members: &[(Text, f64)], form: Form) {
    match form {
        Form::Flat => reply.array(members.len() * 2),
        Form::Pairs => reply.array(members.len()),
        Form::FlatOfKey => {
            reply.array(1 + members.len() * 2);
            reply.bulk(key);
        }
        Form::PairsOfKey => {
            reply.array(2);
            reply.bulk(key);
            reply.array(members.len());
        }
    }
    for (member, score) in members {
        if matches!(form, Form::Pairs | Form::PairsOfKey) {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(*score);
    }
}
