//! ZRANDMEMBER and ZSCAN: members in no order of use.

use std::collections::HashSet;

use crate::base::num::DoubleText;
use crate::base::rng::Rng;
use crate::command::collection::{
    RandomCount, ScanOptions, scan_cursor, write_element, write_repeated, write_scan,
};
use crate::command::context::Cx;
use crate::command::sorted::{KEY, write_entry, write_head, write_members};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::key_spec::{ACCESS, RO};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::sorted::SortedSet;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("zrandmember", zrandmember)
        .arity(-2)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .tips(&["nondeterministic_output"])
        .group(Group::SortedSet)
        .since("6.2.0")
        .complexity("O(N), N the number of members returned.")
        .summary("Returns members at random, all different, or any where the count is negative.")
        .args(&[
            Arg::key("key", 0),
            Arg::block("options", &[Arg::integer("count"), Arg::flag("withscores", "WITHSCORES").optional()])
                .optional(),
        ])
        .reply(Shape::OneOf(&[
            Shape::BulkOrNull,
            Shape::Array(&Shape::Bulk),
            Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Double])),
        ]))
        .finish(),
    Spec::new("zscan", zscan)
        .arity(-3)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .tips(&["nondeterministic_output"])
        .group(Group::SortedSet)
        .since("2.8.0")
        .complexity("O(1) for every call, O(N) for a whole scan of N members.")
        .summary("Walks over members and scores in small steps; a member that stays the whole time is seen.")
        .args(&[
            Arg::key("key", 0),
            Arg::integer("cursor"),
            Arg::pattern("pattern").token("MATCH").optional(),
            Arg::integer("count").token("COUNT").optional(),
        ])
        .reply(Shape::Tuple(&[Shape::Bulk, Shape::Array(&Shape::Bulk)]))
        .finish(),
];

fn zrandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let Some(count) = args.get(2) else {
        return one_member(cx, &args[1]);
    };
    let count = RandomCount::parse(count)?;
    let (count, with_scores) = match args.get(3) {
        None => (count, false),
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(b"withscores") => {
            (count.in_pairs()?, true)
        }
        Some(_) => return Err(Error::Syntax),
    };
    let key = cx.data.key(&args[1]);
    let Some(set) = cx.data.read_value::<SortedSet>(&key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let (len, rng) = (set.len(), &mut cx.worker.rng);
    let start = cx.reply.checkpoint();
    match count {
        RandomCount::Distinct(count) if count >= len => write_members(cx.reply, set.iter(), with_scores),
        RandomCount::Distinct(count) => {
            write_head(cx.reply, count, with_scores);
            for number in sample(rng, count, len) {
                if let Some(entry) = set.numbered(number) {
                    write_entry(cx.reply, entry, with_scores);
                }
            }
        }
        RandomCount::Repeated(count) => {
            write_head(cx.reply, count, with_scores);
            write_repeated(cx.reply, start, count, |reply| {
                if let Some(entry) = set.numbered(rng.below(len as u64) as usize) {
                    write_entry(reply, entry, with_scores);
                }
            })?;
        }
    }
    Ok(())
}

fn one_member(cx: &mut Cx<'_>, key: &[u8]) -> Result<(), Error> {
    let key = cx.data.key(key);
    let set = cx.data.read_value::<SortedSet>(&key)?;
    let chosen = set.and_then(|set| set.numbered(cx.worker.rng.below(set.len() as u64) as usize));
    match chosen {
        Some((member, _)) => write_element(cx.reply, member),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `count` different numbers below `len`, all choices as likely, in no order; `count` is not above `len`. Takes memory
/// for what it chooses only.
fn sample(rng: &mut Rng, count: usize, len: usize) -> Vec<usize> {
    let mut seen = HashSet::with_capacity(count);
    let mut chosen = Vec::with_capacity(count);
    // Floyd's way: where a number was drawn before, the newest one is taken, which cannot have been.
    for newest in len - count..len {
        let drawn = rng.below(newest as u64 + 1) as usize;
        let number = if seen.insert(drawn) { drawn } else { newest };
        seen.insert(number);
        chosen.push(number);
    }
    chosen
}

fn zscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let cursor = scan_cursor(&args[2])?;
    let key = cx.data.key(&args[1]);
    let Some(set) = cx.data.read_value::<SortedSet>(&key)? else {
        write_scan(cx.reply, |_| (0, 0));
        return Ok(());
    };
    let options = ScanOptions::parse(args.from(3), false)?;
    write_scan(cx.reply, |reply| {
        let mut written = 0;
        let next = set.scan(cursor, options.count, |member, score| {
            if options.lets(member) {
                write_element(reply, member);
                reply.bulk(DoubleText::new().format(score));
                written += 2;
            }
        });
        (next, written)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::sample;
    use crate::base::rng::Rng;
    use std::collections::HashSet;

    #[test]
    fn samples_are_different_and_even() {
        let mut rng = Rng::seeded(5);
        let mut times = [0u32; 10];
        for round in 0..4000 {
            let count = round % 11;
            let chosen = sample(&mut rng, count, 10);
            let different: HashSet<_> = chosen.iter().copied().collect();
            assert_eq!((chosen.len(), different.len()), (count, count));
            chosen.iter().for_each(|number| times[*number] += 1);
        }
        let expected = 4000 / 2;
        assert!(times.iter().all(|time| time.abs_diff(expected) < 200), "{times:?}");
    }
}
