//! ZREM and ZREMRANGEBY…: members that go, by name or by range.

use std::ops::Range;

use crate::command::context::Cx;
use crate::command::sorted::{KEY, lex_range, rank_range, rank_span, score_range, tell_removal};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, WRITE};
use crate::command::spec::key_spec::{DELETE, RW};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::Thresholds;
use crate::store::value::sorted::{SortedSet, SortedSetRef};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("zrem", zrem)
        .arity(-3)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(M*log(N)), N the size of the sorted set, M the number of members to be removed.")
        .summary("Removes members and returns how many of them there were.")
        .history(&[("2.4.0", "Several members at once.")])
        .args(&[Arg::key("key", 0), Arg::string("member").multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zremrangebyrank", zremrangebyrank)
        .arity(4)
        .flags(WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::SortedSet)
        .since("2.0.0")
        .complexity("O(log(N)+M), N the size of the sorted set, M the number of members removed.")
        .summary("Removes the members of a range of ranks and returns how many there were.")
        .args(&[Arg::key("key", 0), Arg::integer("start"), Arg::integer("stop")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zremrangebyscore", zremrangebyscore)
        .arity(4)
        .flags(WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(log(N)+M), N the size of the sorted set, M the number of members removed.")
        .summary("Removes the members of a range of scores and returns how many there were.")
        .args(&[Arg::key("key", 0), Arg::double("min"), Arg::double("max")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zremrangebylex", zremrangebylex)
        .arity(4)
        .flags(WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::SortedSet)
        .since("2.8.9")
        .complexity("O(log(N)+M), N the size of the sorted set, M the number of members removed.")
        .summary(
            "Removes the members between two, where all scores are equal, and returns how many there were.",
        )
        .args(&[Arg::key("key", 0), Arg::string("min"), Arg::string("max")])
        .reply(Shape::Integer)
        .finish(),
];

fn zrem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    remove(cx, &args[1], "zrem", |set| args.from(2).iter().filter(|member| set.remove(member)).count())
}

fn zremrangebyrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let ranks = rank_range(&args[2], &args[3])?;
    remove_span(cx, &args[1], "zremrangebyrank", |set| rank_span(ranks, set.len()))
}

fn zremrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let range = score_range(&args[2], &args[3])?;
    remove_span(cx, &args[1], "zremrangebyscore", |set| set.span_of_scores(&range))
}

fn zremrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let range = lex_range(&args[2], &args[3])?;
    remove_span(cx, &args[1], "zremrangebylex", |set| set.span_of_members(&range))
}

fn remove_span(
    cx: &mut Cx<'_>,
    key: &[u8],
    event: &'static str,
    span: impl FnOnce(SortedSetRef<'_>) -> Range<usize>,
) -> Result<(), Error> {
    remove(cx, key, event, |set| {
        let span = span(set.as_ref());
        set.remove_span(span)
    })
}

/// Has `remove` take members out of the set under a key and replies how many it says they were.
fn remove(
    cx: &mut Cx<'_>,
    key: &[u8],
    event: &'static str,
    remove: impl FnOnce(&mut SortedSet) -> usize,
) -> Result<(), Error> {
    let key = cx.data.key(key);
    let edited = cx.edit(&key, Create::No, |set: &mut SortedSet, _: &Thresholds| {
        let removed = remove(set);
        Edited::when(removed > 0, removed)
    })?;
    let removed = match edited {
        Some((removed, fate)) if removed > 0 => {
            cx.data.dirty += removed as u64;
            tell_removal(cx, &key, event, fate);
            removed
        }
        _ => 0,
    };
    cx.reply.integer(removed as i64);
    Ok(())
}
