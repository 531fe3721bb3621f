//! LSET, LINSERT, LREM, LTRIM: they change a list in its middle.

use crate::command::context::Cx;
use crate::command::list::read::out_of_symmetric_range;
use crate::command::list::{KEY, parse_index, resolve_range, tell_removed};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, WRITE};
use crate::command::spec::key_spec::{DELETE, INSERT, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::list::{End, List};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("lset", lset)
        .arity(4)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(RW | UPDATE)])
        .group(Group::List)
        .since("1.0.0")
        .complexity("O(N), N the distance of the element from the nearer end; O(1) for the first and the last one.")
        .summary("Replaces the element of an index.")
        .args(&[Arg::key("key", 0), Arg::integer("index"), Arg::string("element")])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("linsert", linsert)
        .arity(5)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(RW | INSERT)])
        .group(Group::List)
        .since("2.2.0")
        .complexity("O(N), N the number of elements before the pivot.")
        .summary("Adds an element before or after another one and returns the length, -1 without the other one.")
        .args(&[
            Arg::key("key", 0),
            Arg::one_of("where", &[Arg::flag("before", "BEFORE"), Arg::flag("after", "AFTER")]),
            Arg::string("pivot"),
            Arg::string("element"),
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("lrem", lrem)
        .arity(4)
        .flags(WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::List)
        .since("1.0.0")
        .complexity("O(N), N the length of the list.")
        .summary("Removes equal elements, so many from the head, or from the tail with a negative count, or all with 0.")
        .args(&[Arg::key("key", 0), Arg::integer("count"), Arg::string("element")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("ltrim", ltrim)
        .arity(4)
        .flags(WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::List)
        .since("1.0.0")
        .complexity("O(N), N the number of elements removed.")
        .summary("Keeps a range of a list, both ends included, and removes the rest.")
        .args(&[Arg::key("key", 0), Arg::integer("start"), Arg::integer("stop")])
        .reply(Shape::Ok)
        .finish(),
];

fn lset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let set = cx.edit::<List, _>(&key, Create::No, |list, thresholds| {
        let outcome = match parse_index(&args[2]) {
            Ok(index) if list.set(index, &args[3], thresholds) => Ok(()),
            Ok(_) => Err(Error::IndexOutOfRange),
            Err(error) => Err(error),
        };
        Edited::when(outcome.is_ok(), outcome)
    })?;
    let (outcome, _) = set.ok_or(Error::NoSuchKey)?;
    outcome?;
    cx.data.dirty += 1;
    cx.data.event(Class::List, "lset", key.bytes);
    cx.reply.ok();
    Ok(())
}

fn linsert(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let side = if args[2].eq_ignore_ascii_case(b"after") {
        End::Right
    } else if args[2].eq_ignore_ascii_case(b"before") {
        End::Left
    } else {
        return Err(Error::Syntax);
    };
    let key = cx.data.key(&args[1]);
    let inserted = cx.edit::<List, _>(&key, Create::No, |list, thresholds| {
        if list.insert(&args[3], side, &args[4], thresholds) {
            Edited::yes(list.as_ref().len() as i64)
        } else {
            Edited::no(-1)
        }
    })?;
    let length = inserted.map_or(0, |(length, _)| length);
    if length > 0 {
        cx.data.dirty += 1;
        cx.data.event(Class::List, "linsert", key.bytes);
    }
    cx.reply.integer(length);
    Ok(())
}

fn lrem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let count = parse_index(&args[2])?;
    if count == i64::MIN {
        return Err(out_of_symmetric_range());
    }
    let from = if count < 0 { End::Right } else { End::Left };
    let most =
        if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let key = cx.data.key(&args[1]);
    let removed = cx.edit::<List, _>(&key, Create::No, |list, thresholds| {
        let removed = list.remove(&args[3], from, most, thresholds);
        Edited::when(removed > 0, removed)
    })?;
    let removed = match removed {
        Some((removed, fate)) if removed > 0 => {
            cx.data.dirty += removed as u64;
            cx.data.event(Class::List, "lrem", key.bytes);
            tell_removed(cx, &key, fate);
            removed
        }
        _ => 0,
    };
    cx.reply.integer(removed as i64);
    Ok(())
}

fn ltrim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (start, stop) = (parse_index(&args[2])?, parse_index(&args[3])?);
    let key = cx.data.key(&args[1]);
    let trimmed = cx.edit::<List, _>(&key, Create::No, |list, thresholds| {
        let length = list.as_ref().len();
        let (first, count) = resolve_range(start, stop, length);
        list.trim(first, count, thresholds);
        // A change to whoever watches the key, even if nothing was cut off.
        Edited::yes(length - count)
    })?;
    if let Some((removed, fate)) = trimmed {
        cx.data.dirty += removed as u64;
        cx.data.event(Class::List, "ltrim", key.bytes);
        tell_removed(cx, &key, fate);
    }
    cx.reply.ok();
    Ok(())
}
