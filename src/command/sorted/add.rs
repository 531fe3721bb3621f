//! ZADD and ZINCRBY: members and their scores.

use smallvec::SmallVec;

use crate::command::context::Cx;
use crate::command::sorted::{KEY, number};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{ACCESS, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::Thresholds;
use crate::store::value::sorted::{AddOptions, Added, SortedSet};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("zadd", zadd)
        .arity(-4)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | UPDATE)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(log(N)) for every member, N the size of the sorted set.")
        .summary("Adds members with their scores, or changes the scores of those that are there.")
        .history(&[
            ("2.4.0", "Several members at once."),
            ("3.0.2", "The options `XX`, `NX`, `CH` and `INCR` came."),
            ("6.2.0", "The options `GT` and `LT` came."),
        ])
        .args(&[
            Arg::key("key", 0),
            Arg::one_of("condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")])
                .optional()
                .since("3.0.2"),
            Arg::one_of("comparison", &[Arg::flag("gt", "GT"), Arg::flag("lt", "LT")])
                .optional()
                .since("6.2.0"),
            Arg::flag("change", "CH").optional().since("3.0.2"),
            Arg::flag("increment", "INCR").optional().since("3.0.2"),
            Arg::block("data", &[Arg::double("score"), Arg::string("member")]).multiple(),
        ])
        .reply(Shape::OneOf(&[Shape::Integer, Shape::DoubleOrNull]))
        .finish(),
    Spec::new("zincrby", zincrby)
        .arity(4)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(log(N)), N the size of the sorted set.")
        .summary("Adds to the score of a member, 0 for one that is not there, and returns the sum.")
        .args(&[Arg::key("key", 0), Arg::double("increment"), Arg::string("member")])
        .reply(Shape::DoubleOrNull)
        .finish(),
];

fn zadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    add(cx, args, AddOptions::default())
}

fn zincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    add(cx, args, AddOptions { incr: true, ..AddOptions::default() })
}

/// Reads the options that stand before the first score; where that is, and whether CH is among them.
fn options(args: Args<'_>, mut options: AddOptions) -> (AddOptions, bool, usize) {
    let (mut at, mut counts_changes) = (2, false);
    while let Some(word) = args.get(at) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"nx") {
            options.nx = true;
        } else if is(b"xx") {
            options.xx = true;
        } else if is(b"ch") {
            counts_changes = true;
        } else if is(b"incr") {
            options.incr = true;
        } else if is(b"gt") {
            options.gt = true;
        } else if is(b"lt") {
            options.lt = true;
        } else {
            break;
        }
        at += 1;
    }
    (options, counts_changes, at)
}

fn add(cx: &mut Cx<'_>, args: Args<'_>, preset: AddOptions) -> Result<(), Error> {
    let (options, counts_changes, first) = options(args, preset);
    let pairs = args.from(first);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    check(options, pairs.len() / 2)?;
    let scores = pairs.iter().step_by(2).map(|text| number(text).ok_or(Error::NotAFloat));
    let scores = scores.collect::<Result<SmallVec<[f64; 8]>, Error>>()?;
    let members = pairs.iter().skip(1).step_by(2);
    let outcome = add_members(cx, &args[1], scores.iter().copied().zip(members), options)?;
    if options.incr {
        match outcome.last {
            Added::New(score) | Added::Updated(score) | Added::Same(score) => cx.reply.double(score),
            Added::Refused | Added::NotANumber => cx.reply.null(),
        }
    } else {
        let count = if counts_changes { outcome.added + outcome.updated } else { outcome.added };
        cx.reply.integer(count);
    }
    Ok(())
}

fn check(options: AddOptions, pairs: usize) -> Result<(), Error> {
    let AddOptions { nx, xx, gt, lt, incr } = options;
    if nx && xx {
        return Err(Error::Fixed("ERR XX and NX options at the same time are not compatible"));
    }
    if nx && (gt || lt) || gt && lt {
        return Err(Error::Fixed("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if incr && pairs > 1 {
        return Err(Error::Fixed("ERR INCR option supports a single increment-element pair"));
    }
    Ok(())
}

/// What came of adding members.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How many are new.
    pub added: i64,
    /// How many got another score.
    pub updated: i64,
    last: Added,
}

/// Adds members with their scores under a key, which is made where there is none; tells of it.
///
/// # Errors
/// `WRONGTYPE`; the score that INCR comes to is not a number.
pub fn add_members<'a>(
    cx: &mut Cx<'_>,
    key: &[u8],
    members: impl Iterator<Item = (f64, &'a [u8])>,
    options: AddOptions,
) -> Result<Outcome, Error> {
    let key = cx.data.key(key);
    let create = if options.xx { Create::No } else { Create::Yes };
    let edited = cx.edit(&key, create, |set: &mut SortedSet, thresholds: &Thresholds| {
        let mut outcome = Outcome { added: 0, updated: 0, last: Added::Refused };
        for (score, member) in members {
            outcome.last = set.add(member, score, options, thresholds);
            outcome.added += i64::from(matches!(outcome.last, Added::New(_)));
            outcome.updated += i64::from(matches!(outcome.last, Added::Updated(_)));
        }
        Edited::when(outcome.added + outcome.updated > 0, outcome)
    })?;
    let Some((outcome, _)) = edited else {
        return Ok(Outcome { added: 0, updated: 0, last: Added::Refused });
    };
    if outcome.last == Added::NotANumber {
        return Err(Error::Fixed("ERR resulting score is not a number (NaN)"));
    }
    let changed = outcome.added + outcome.updated;
    if changed > 0 {
        cx.data.dirty += changed.unsigned_abs();
        cx.data.event(Class::Zset, if options.incr { "zincr" } else { "zadd" }, key.bytes);
    }
    Ok(outcome)
}
