//! ZRANGE and its older relatives: members by rank, score or bytes, in either direction; ZRANGESTORE keeps them.

use std::ops::Range;

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::sorted::{
    KEY, lex_range, owned, rank_range, rank_span, score_range, store_members, write_members,
};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeySpec, OW, RO, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::sorted::{LexRange, ScoreRange, SortedSet, SortedSetRef};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("zrange", zrange)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity(COMPLEXITY)
        .summary("Returns the members of a range of ranks, scores or bytes.")
        .history(&[("6.2.0", "The options `REV`, `BYSCORE`, `BYLEX` and `LIMIT` came.")])
        .args(&[
            Arg::key("key", 0),
            Arg::string("start"),
            Arg::string("stop"),
            SORT_BY.since("6.2.0"),
            Arg::flag("rev", "REV").optional().since("6.2.0"),
            LIMIT.since("6.2.0"),
            WITHSCORES,
        ])
        .reply(MEMBERS)
        .finish(),
    Spec::new("zrevrange", zrevrange)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
        .complexity(COMPLEXITY)
        .summary("Returns the members of a range of ranks, highest scores first.")
        .args(&[Arg::key("key", 0), Arg::integer("start"), Arg::integer("stop"), WITHSCORES])
        .reply(MEMBERS)
        .finish(),
    Spec::new("zrangebyscore", zrangebyscore)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("1.0.5")
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
        .complexity(COMPLEXITY)
        .summary("Returns the members whose scores are in a range.")
        .history(&[("2.0.0", "The option `WITHSCORES` came.")])
        .args(&[
            Arg::key("key", 0),
            Arg::double("min"),
            Arg::double("max"),
            WITHSCORES.since("2.0.0"),
            LIMIT,
        ])
        .reply(MEMBERS)
        .finish(),
    Spec::new("zrevrangebyscore", zrevrangebyscore)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("2.2.0")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
        .complexity(COMPLEXITY)
        .summary("Returns the members whose scores are in a range, highest scores first.")
        .history(&[("2.1.6", "Both ends may be exclusive.")])
        .args(&[Arg::key("key", 0), Arg::double("max"), Arg::double("min"), WITHSCORES, LIMIT])
        .reply(MEMBERS)
        .finish(),
    Spec::new("zrangebylex", zrangebylex)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
        .complexity(COMPLEXITY)
        .summary("Returns the members between two, where all scores are equal.")
        .args(&[Arg::key("key", 0), Arg::string("min"), Arg::string("max"), LIMIT])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("zrevrangebylex", zrevrangebylex)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("2.8.9")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
        .complexity(COMPLEXITY)
        .summary("Returns the members between two, where all scores are equal, highest first.")
        .args(&[Arg::key("key", 0), Arg::string("max"), Arg::string("min"), LIMIT])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("zrangestore", zrangestore)
        .arity(-5)
        .flags(WRITE | DENYOOM)
        .keys(&[KeySpec::at(1).flags(OW | UPDATE), KeySpec::at(2).flags(RO | ACCESS)])
        .group(Group::SortedSet)
        .since("6.2.0")
        .complexity("O(log(N)+M*log(M)), N the size of the sorted set, M the number of members stored.")
        .summary("Stores the members of a range of ranks, scores or bytes under another key; returns their number.")
        .args(&[
            Arg::key("dst", 0),
            Arg::key("src", 1),
            Arg::string("min"),
            Arg::string("max"),
            SORT_BY,
            Arg::flag("rev", "REV").optional(),
            LIMIT,
        ])
        .reply(Shape::Integer)
        .finish(),
];

const COMPLEXITY: &str = "O(log(N)+M), N the size of the sorted set, M the number of members returned.";
const WITHSCORES: Arg = Arg::flag("withscores", "WITHSCORES").optional();
const LIMIT: Arg =
    Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional();
const SORT_BY: Arg =
    Arg::one_of("sortby", &[Arg::flag("byscore", "BYSCORE"), Arg::flag("bylex", "BYLEX")]).optional();
/// Members; in RESP3 each with its score in a pair, if they are asked for.
const MEMBERS: Shape =
    Shape::OneOf(&[Shape::Array(&Shape::Bulk), Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Double]))]);

/// What a range is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What the command's name says; nothing: the request may.
#[derive(Clone, Copy, Debug, Default)]
struct Preset {
    by: Option<By>,
    is_reverse: Option<bool>,
    stores: bool,
}

/// A range as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Request<'a> {
    wanted: Wanted<'a>,
    is_reverse: bool,
    with_scores: bool,
    offset: i64,
    /// Negative: no limit.
    limit: i64,
}

impl<'a> Request<'a> {
    /// Reads the ends of the range and what follows them.
    fn parse(args: Args<'a>, preset: Preset) -> Result<Self, Error> {
        let (start, stop) = (args.get(0).unwrap_or_default(), args.get(1).unwrap_or_default());
        let (mut by, mut is_reverse, mut with_scores) = (preset.by, preset.is_reverse, false);
        let (mut offset, mut limit) = (0, -1);
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if !preset.stores && is(b"withscores") {
                with_scores = true;
            } else if is(b"limit") && at + 2 < args.len() {
                offset = parse_i64(&args[at + 1]).ok_or(Error::NotAnInteger)?;
                limit = parse_i64(&args[at + 2]).ok_or(Error::NotAnInteger)?;
                at += 2;
            } else if is_reverse.is_none() && is(b"rev") {
                is_reverse = Some(true);
            } else if by.is_none() && is(b"bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && is(b"byscore") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(Error::Fixed(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(Error::Fixed("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let (min, max) = if is_reverse { (stop, start) } else { (start, stop) };
        let wanted = match by {
            By::Rank => {
                let (start, stop) = rank_range(start, stop)?;
                (offset, limit) = (0, -1);
                Wanted::Ranks(start, stop)
            }
            By::Score => Wanted::Scores(score_range(min, max)?),
            By::Lex => Wanted::Members(lex_range(min, max)?),
        };
        Ok(Self { wanted, is_reverse, with_scores, offset, limit })
    }

    /// The ranks that are meant, counted from the lowest score on.
    fn span(&self, set: SortedSetRef<'_>) -> Range<usize> {
        let len = set.len();
        let span = match &self.wanted {
            Wanted::Ranks(start, stop) => {
                let span = rank_span((*start, *stop), len);
                if self.is_reverse { len - span.end..len - span.start } else { span }
            }
            Wanted::Scores(range) => set.span_of_scores(range),
            Wanted::Members(range) => set.span_of_members(range),
        };
        // A negative offset is beyond everything, as in Redis.
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX).min(span.len());
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX).min(span.len() - offset);
        if self.is_reverse {
            let end = span.end - offset;
            end - limit..end
        } else {
            let start = span.start + offset;
            start..start + limit
        }
    }
}

fn zrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_range(cx, args, Preset::default())
}

fn zrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_range(cx, args, Preset { by: Some(By::Rank), is_reverse: Some(true), stores: false })
}

fn zrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_range(cx, args, Preset { by: Some(By::Score), is_reverse: Some(false), stores: false })
}

fn zrevrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_range(cx, args, Preset { by: Some(By::Score), is_reverse: Some(true), stores: false })
}

fn zrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_range(cx, args, Preset { by: Some(By::Lex), is_reverse: Some(false), stores: false })
}

fn zrevrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    reply_range(cx, args, Preset { by: Some(By::Lex), is_reverse: Some(true), stores: false })
}

fn reply_range(cx: &mut Cx<'_>, args: Args<'_>, preset: Preset) -> Result<(), Error> {
    let request = Request::parse(args.from(2), preset)?;
    let key = cx.data.key(&args[1]);
    match cx.data.read_value::<SortedSet>(&key)? {
        Some(set) => {
            let members = set.walk_span(request.span(set), request.is_reverse);
            write_members(cx.reply, members, request.with_scores);
        }
        None => cx.reply.array(0),
    }
    Ok(())
}

fn zrangestore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let request = Request::parse(args.from(3), Preset { stores: true, ..Preset::default() })?;
    let (to, from) = (cx.data.key(&args[1]), cx.data.key(&args[2]));
    let members = match cx.data.read_value::<SortedSet>(&from)? {
        Some(set) => {
            let members = set.walk_span(request.span(set), false);
            members.map(|(member, score)| (owned(member), score)).collect()
        }
        None => Vec::new(),
    };
    store_members(cx, &to, members, "zrangestore")
}

#[cfg(test)]
mod tests {
    use super::{By, Preset, Request};
    use crate::resp::args::OwnedArgs;
    use crate::resp::error::Error;
    use crate::store::value::Thresholds;
    use crate::store::value::sorted::SortedSet;

    fn span(line: &str, preset: Preset) -> Result<std::ops::Range<usize>, Error> {
        let members = (0..5).map(|number| (format!("m{number}").as_bytes().into(), f64::from(number)));
        let set = SortedSet::from_members(members.collect(), &Thresholds::default());
        let words: Vec<&str> = line.split(' ').collect();
        let request = OwnedArgs::from_slices(&words);
        Request::parse(request.as_args(), preset).map(|request| request.span(set.as_ref()))
    }

    #[test]
    fn ranges_become_spans_of_ranks() {
        for (line, expected) in [
            ("0 -1", 0..5),
            ("0 1 REV", 3..5),
            ("1 2 LIMIT 3 -1", 1..3),
            ("1 3 BYSCORE", 1..4),
            ("3 1 BYSCORE REV", 1..4),
            ("1 +inf BYSCORE LIMIT 1 2", 2..4),
            ("+inf 1 BYSCORE REV LIMIT 1 2", 2..4),
            ("+inf 1 BYSCORE REV LIMIT 0 -1", 1..5),
            ("1 3 BYSCORE LIMIT -1 5", 4..4),
            ("1 3 BYSCORE LIMIT 9 5", 4..4),
            ("[m1 (m3 BYLEX", 1..3),
            ("+ (m3 BYLEX REV", 4..5),
        ] {
            let found = span(line, Preset::default()).expect("well-formed");
            assert!(found == expected || found.is_empty() && expected.is_empty(), "{line}: {found:?}");
        }
    }

    #[test]
    fn what_the_name_says_the_request_may_not() {
        let scores = Preset { by: Some(By::Score), is_reverse: Some(true), stores: false };
        assert_eq!(span("3 (1", scores), Ok(2..4));
        for line in ["1 3 BYSCORE", "1 3 REV", "1 3 LIMIT 1"] {
            assert_eq!(span(line, scores), Err(Error::Syntax), "{line}");
        }
        assert_eq!(span("0 1 WITHSCORES", Preset { stores: true, ..scores }), Err(Error::Syntax));
        assert_eq!(span("0 x LIMIT 0 x", Preset::default()), Err(Error::NotAnInteger));
    }
}
