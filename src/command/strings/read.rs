//! GET, STRLEN, GETRANGE, SUBSTR: commands that only read.
//!
//! They change nothing but access marks and counters, and allocate nothing.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY};
use crate::command::spec::key_spec::{ACCESS, RO};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, read, write_value};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("get", get)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Returns the value of a key, or null without one.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("strlen", strlen)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO)])
        .group(Group::String)
        .since("2.2.0")
        .complexity("O(1).")
        .summary("Returns the length of a value in bytes, 0 without one.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("getrange", getrange)
        .arity(4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::String)
        .since("2.4.0")
        .complexity("O(N), N the number of bytes returned.")
        .summary("Returns a part of a value, both ends included; negative positions count from its end.")
        .args(RANGE)
        .reply(Shape::Bulk)
        .finish(),
    Spec::new("substr", getrange)
        .arity(4)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(N), N the number of bytes returned.")
        .summary("Returns a part of a value: the former name of GETRANGE.")
        .deprecated("2.0.0", "`GETRANGE`")
        .args(RANGE)
        .reply(Shape::Bulk)
        .finish(),
];

const RANGE: &[Arg] = &[Arg::key("key", 0), Arg::integer("start"), Arg::integer("end")];

fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let found = read(cx, &key)?;
    write_value(cx.reply, cx.data.db(&key), found);
    Ok(())
}

fn strlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let length = read(cx, &key)?.map_or(0, |found| cx.data.db(&key).string(found).len());
    cx.reply.integer(length as i64);
    Ok(())
}

fn getrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let start = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    let end = parse_i64(&args[3]).ok_or(Error::NotAnInteger)?;
    let key = cx.data.key(&args[1]);
    let Some(found) = read(cx, &key)? else {
        cx.reply.bulk(b"");
        return Ok(());
    };
    let db = cx.data.db(&key);
    let range = range(start, end, db.string(found).len());
    match db.shared_string(found) {
        Some(value) => cx.reply.bulk_shared(value.slice(range)),
        None => cx.reply.bulk(&db.string(found)[range]),
    }
    Ok(())
}

/// The bytes that `start` and `end` name in a value of `length`. An end before the first byte counts as the first,
/// as in Redis.
fn range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    if length == 0 || (start < 0 && end < 0 && start > end) {
        return 0..0;
    }
    let length = length as i64;
    let absolute = |position: i64| if position < 0 { (length + position).max(0) } else { position };
    let (start, end) = (absolute(start), absolute(end).min(length - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_cut_as_redis_cuts_them() {
        let cases: &[(i64, i64, &str)] = &[
            (0, -1, "hello"),
            (0, 0, "h"),
            (1, 3, "ell"),
            (-3, -1, "llo"),
            (-3, -2, "ll"),
            (-1, -3, ""),
            (3, 1, ""),
            (5, 9, ""),
            (0, 100, "hello"),
            (-100, 1, "he"),
            (-100, -100, "h"),
            (0, -100, "h"),
            (-100, -101, ""),
            (i64::MIN, i64::MAX, "hello"),
            (i64::MAX, i64::MIN, ""),
        ];
        for &(start, end, expected) in cases {
            assert_eq!(&"hello"[range(start, end, 5)], expected, "{start} {end}");
            assert_eq!(range(start, end, 0), 0..0);
        }
    }
}
