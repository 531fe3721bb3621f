//! LLEN, LRANGE, LINDEX, LPOS: commands that only read.

use crate::base::num::parse_i64;
use crate::command::collection::write_element;
use crate::command::context::Cx;
use crate::command::list::{KEY, parse_index, resolve_range};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY};
use crate::command::spec::key_spec::{ACCESS, RO};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::store::value::list::{List, ListRef};
use crate::store::value::listpack::{Element, Wanted};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("llen", llen)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO)])
        .group(Group::List)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Returns the number of elements in a list, 0 without one.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("lrange", lrange)
        .arity(4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::List)
        .since("1.0.0")
        .complexity(
            "O(S+N), S the distance of the start from the nearer end, N the number of elements returned.",
        )
        .summary("Returns a range of a list, both ends included; negative indexes count from the tail.")
        .args(&[Arg::key("key", 0), Arg::integer("start"), Arg::integer("stop")])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("lindex", lindex)
        .arity(3)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::List)
        .since("1.0.0")
        .complexity(
            "O(N), N the distance of the element from the nearer end; O(1) for the first and the last one.",
        )
        .summary(
            "Returns the element of an index, or null without one; negative indexes count from the tail.",
        )
        .args(&[Arg::key("key", 0), Arg::integer("index")])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("lpos", lpos)
        .arity(-3)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::List)
        .since("6.0.6")
        .complexity("O(N), N the number of elements looked at.")
        .summary("Returns the index of an element, or those of several equal ones.")
        .args(&[
            Arg::key("key", 0),
            Arg::string("element"),
            Arg::integer("rank").token("RANK").optional(),
            Arg::integer("num-matches").token("COUNT").optional(),
            Arg::integer("len").token("MAXLEN").optional(),
        ])
        .reply(Shape::OneOf(&[Shape::Integer, Shape::Null, Shape::Array(&Shape::Integer)]))
        .finish(),
];

fn llen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let length = cx.data.read_value::<List>(&key)?.map_or(0, ListRef::len);
    cx.reply.integer(length as i64);
    Ok(())
}

fn lrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (start, stop) = (parse_index(&args[2])?, parse_index(&args[3])?);
    let key = cx.data.key(&args[1]);
    let Some(list) = cx.data.read_value::<List>(&key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let (first, count) = resolve_range(start, stop, list.len());
    cx.reply.array(count);
    list.visit(first, count, |element| write_element(cx.reply, element));
    Ok(())
}

fn lindex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let element = match cx.data.read_value::<List>(&key)? {
        Some(list) => list.get(parse_index(&args[2])?),
        None => None,
    };
    match element {
        Some(element) => write_element(cx.reply, element),
        None => cx.reply.null(),
    }
    Ok(())
}

/// What LPOS looks for.
struct Search<'a> {
    wanted: Wanted<'a>,
    /// Matches that are passed over.
    skip: usize,
    from_tail: bool,
    /// Most matches, 0 for all; without it the first one alone.
    count: Option<usize>,
    /// Most elements looked at, 0 for all.
    maxlen: usize,
}

impl<'a> Search<'a> {
    fn parse(args: Args<'a>) -> Result<Self, Error> {
        let element = args.get(2).unwrap_or_default();
        let mut search =
            Self { wanted: Wanted::of(element), skip: 0, from_tail: false, count: None, maxlen: 0 };
        let mut rest = args.from(3).iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or(Error::Syntax)?;
            if option.eq_ignore_ascii_case(b"rank") {
                let rank = parse_rank(value)?;
                search.from_tail = rank < 0;
                search.skip = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
            } else if option.eq_ignore_ascii_case(b"count") {
                search.count = Some(parse_natural(value, "ERR COUNT can't be negative")?);
            } else if option.eq_ignore_ascii_case(b"maxlen") {
                search.maxlen = parse_natural(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(search)
    }

    /// Calls `found` with the index of each match.
    fn run(&self, list: ListRef<'_>, found: impl FnMut(usize)) {
        let len = list.len();
        if self.from_tail {
            self.scan(list.iter().rev().enumerate().map(|(at, element)| (len - 1 - at, element)), found);
        } else {
            self.scan(list.iter().enumerate(), found);
        }
    }

    fn scan<'e>(&self, elements: impl Iterator<Item = (usize, Element<'e>)>, found: impl FnMut(usize)) {
        let or_all = |number: usize| if number == 0 { usize::MAX } else { number };
        elements
            .take(or_all(self.maxlen))
            .filter(|(_, element)| self.wanted.is(*element))
            .map(|(index, _)| index)
            .skip(self.skip)
            .take(or_all(self.count.unwrap_or(1)))
            .for_each(found);
    }
}

fn parse_rank(text: &[u8]) -> Result<i64, Error> {
    match parse_index(text)? {
        0 => Err(Error::Fixed(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
             start from the end of the list",
        )),
        i64::MIN => Err(out_of_symmetric_range()),
        rank => Ok(rank),
    }
}

/// The one integer without a negative is refused by name.
pub(super) fn out_of_symmetric_range() -> Error {
    Error::Fixed("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
}

fn parse_natural(text: &[u8], error: &'static str) -> Result<usize, Error> {
    parse_i64(text).and_then(|number| usize::try_from(number).ok()).ok_or(Error::Fixed(error))
}

fn lpos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let search = Search::parse(args)?;
    let key = cx.data.key(&args[1]);
    let list = cx.data.read_value::<List>(&key)?;
    if search.count.is_none() {
        let mut first = None;
        if let Some(list) = list {
            search.run(list, |index| first = Some(index));
        }
        match first {
            Some(index) => cx.reply.integer(index as i64),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    write_matches(cx.reply, &search, list);
    Ok(())
}

fn write_matches(reply: &mut Reply, search: &Search<'_>, list: Option<ListRef<'_>>) {
    let mark = reply.deferred_array();
    let mut matches = 0;
    if let Some(list) = list {
        search.run(list, |index| {
            reply.integer(index as i64);
            matches += 1;
        });
    }
    reply.close_array(mark, matches);
}
