//! XLEN, XRANGE, XREVRANGE: entries by their IDs.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY};
use crate::command::spec::key_spec::{ACCESS, RO};
use crate::command::spec::{Group, Spec};
use crate::command::stream::{Boxed, ENTRY, KEY, parse_count, parse_end, parse_start, write_entries};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::stream::Direction;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("xlen", xlen)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO)])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(1).")
        .summary("Returns the number of entries of a stream, 0 without one.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("xrange", xrange)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N), N the number of entries returned.")
        .summary("Returns the entries of a stream between two IDs.")
        .history(&[("6.2.0", "Ends that are not part of the range.")])
        .args(&[Arg::key("key", 0), Arg::string("start"), Arg::string("end"), COUNT])
        .reply(Shape::ArrayOrNull(&ENTRY))
        .finish(),
    Spec::new("xrevrange", xrevrange)
        .arity(-4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N), N the number of entries returned.")
        .summary("Returns the entries of a stream between two IDs, the greatest first.")
        .history(&[("6.2.0", "Ends that are not part of the range.")])
        .args(&[Arg::key("key", 0), Arg::string("end"), Arg::string("start"), COUNT])
        .reply(Shape::ArrayOrNull(&ENTRY))
        .finish(),
];

const COUNT: Arg = Arg::integer("count").token("COUNT").optional();

fn xlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let length = cx.data.read_value::<Boxed>(&key)?.map_or(0, |stream| stream.log().length());
    cx.reply.integer(length as i64);
    Ok(())
}

fn xrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    range(cx, args, Direction::Forward)
}

fn xrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    range(cx, args, Direction::Backward)
}

fn range(cx: &mut Cx<'_>, args: Args<'_>, direction: Direction) -> Result<(), Error> {
    let (start_at, end_at) = match direction {
        Direction::Forward => (2, 3),
        Direction::Backward => (3, 2),
    };
    let start = parse_start(&args[start_at])?;
    let end = parse_end(&args[end_at])?;
    let mut count = None;
    let mut options = args.from(4).iter();
    while let Some(word) = options.next() {
        let value = options.next().ok_or(Error::Syntax)?;
        if !word.eq_ignore_ascii_case(b"count") {
            return Err(Error::Syntax);
        }
        count = Some(parse_count(value)?);
    }
    let key = cx.data.key(&args[1]);
    match cx.data.read_value::<Boxed>(&key)? {
        None => cx.reply.array(0),
        Some(_) if count == Some(0) => cx.reply.null_array(),
        Some(stream) => {
            let cursor = stream.log().cursor(start, end, direction);
            write_entries(cx.reply, cursor, count.unwrap_or(0));
        }
    }
    Ok(())
}
