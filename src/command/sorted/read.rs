//! ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT, ZLEXCOUNT: what is known of members, and how many there are.

use crate::command::context::Cx;
use crate::command::sorted::{KEY, lex_range, score_range};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY};
use crate::command::spec::key_spec::{ACCESS, RO};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::sorted::{SortedSet, SortedSetRef};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("zcard", zcard)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(1).")
        .summary("Returns how many members a sorted set has.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zscore", zscore)
        .arity(3)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(1).")
        .summary("Returns the score of a member.")
        .args(&[Arg::key("key", 0), Arg::string("member")])
        .reply(Shape::DoubleOrNull)
        .finish(),
    Spec::new("zmscore", zmscore)
        .arity(-3)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("6.2.0")
        .complexity("O(N), N the number of members asked for.")
        .summary("Returns the scores of members, null for each that is not there.")
        .args(&[Arg::key("key", 0), Arg::string("member").multiple()])
        .reply(Shape::Array(&Shape::DoubleOrNull))
        .finish(),
    Spec::new("zrank", zrank)
        .arity(-3)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("2.0.0")
        .complexity("O(log(N)), N the size of the sorted set.")
        .summary("Returns how many members come before one, lowest scores first.")
        .history(&[("7.2.0", "The option `WITHSCORE` came.")])
        .args(RANK_ARGS)
        .reply(RANK_REPLY)
        .finish(),
    Spec::new("zrevrank", zrevrank)
        .arity(-3)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("2.0.0")
        .complexity("O(log(N)), N the size of the sorted set.")
        .summary("Returns how many members come before one, highest scores first.")
        .history(&[("7.2.0", "The option `WITHSCORE` came.")])
        .args(RANK_ARGS)
        .reply(RANK_REPLY)
        .finish(),
    Spec::new("zcount", zcount)
        .arity(4)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("2.0.0")
        .complexity("O(log(N)), N the size of the sorted set.")
        .summary("Counts the members whose scores are in a range.")
        .args(&[Arg::key("key", 0), Arg::double("min"), Arg::double("max")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("zlexcount", zlexcount)
        .arity(4)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("2.8.9")
        .complexity("O(log(N)), N the size of the sorted set.")
        .summary("Counts the members between two, where all scores are equal.")
        .args(&[Arg::key("key", 0), Arg::string("min"), Arg::string("max")])
        .reply(Shape::Integer)
        .finish(),
];

const RANK_ARGS: &[Arg] = &[
    Arg::key("key", 0),
    Arg::string("member"),
    Arg::flag("withscore", "WITHSCORE").optional().since("7.2.0"),
];

const RANK_REPLY: Shape =
    Shape::OneOf(&[Shape::Integer, Shape::Null, Shape::Tuple(&[Shape::Integer, Shape::Double])]);

/// The set under a key, for reading.
fn find<'d>(cx: &'d mut Cx<'_>, key: &[u8]) -> Result<Option<SortedSetRef<'d>>, Error> {
    let key = cx.data.key(key);
    cx.data.read_value::<SortedSet>(&key)
}

fn zcard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let count = find(cx, &args[1])?.map_or(0, SortedSetRef::len);
    cx.reply.integer(count as i64);
    Ok(())
}

fn zscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    match find(cx, &args[1])?.and_then(|set| set.score(&args[2])) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

fn zmscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let set = cx.data.read_value::<SortedSet>(&key)?;
    cx.reply.array(args.len() - 2);
    for member in args.from(2).iter() {
        match set.and_then(|set| set.score(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn zrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    rank(cx, args, "zrank")
}

fn zrevrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    rank(cx, args, "zrevrank")
}

fn rank(cx: &mut Cx<'_>, args: Args<'_>, command: &'static str) -> Result<(), Error> {
    let with_score = match args.len() {
        3 => false,
        4 if args[3].eq_ignore_ascii_case(b"withscore") => true,
        4 => return Err(Error::Syntax),
        _ => return Err(Error::wrong_arity(command)),
    };
    let set = find(cx, &args[1])?;
    let len = set.map_or(0, SortedSetRef::len);
    match set.and_then(|set| set.rank(&args[2])) {
        Some((rank, score)) => {
            let rank = if command == "zrank" { rank } else { len - 1 - rank };
            if with_score {
                cx.reply.array(2);
            }
            cx.reply.integer(rank as i64);
            if with_score {
                cx.reply.double(score);
            }
        }
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
    }
    Ok(())
}

fn zcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let range = score_range(&args[2], &args[3])?;
    let count = find(cx, &args[1])?.map_or(0, |set| set.span_of_scores(&range).len());
    cx.reply.integer(count as i64);
    Ok(())
}

fn zlexcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let range = lex_range(&args[2], &args[3])?;
    let count = find(cx, &args[1])?.map_or(0, |set| set.span_of_members(&range).len());
    cx.reply.integer(count as i64);
    Ok(())
}
