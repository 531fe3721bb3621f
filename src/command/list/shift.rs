//! LMOVE, RPOPLPUSH: they move an element from one list to another, or within one.

use crate::command::context::Cx;
use crate::command::list::{ENDS, parse_end, push_event, tell_popped};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, INSERT, KeySpec, RW};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::key::Key;
use crate::store::typed::{Edited, Fate};
use crate::store::value::list::{End, List};
use smallvec::SmallVec;

/// Longest element that moves without an allocation.
const ELEMENT_INLINE_BYTES: usize = 64;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("lmove", lmove)
        .arity(5)
        .flags(WRITE | DENYOOM)
        .keys(KEYS)
        .group(Group::List)
        .since("6.2.0")
        .complexity("O(1).")
        .summary("Takes an element from one list, adds it to another, and returns it.")
        .args(&[
            Arg::key("source", 0),
            Arg::key("destination", 1),
            Arg::one_of("wherefrom", ENDS),
            Arg::one_of("whereto", ENDS),
        ])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("rpoplpush", rpoplpush)
        .arity(3)
        .flags(WRITE | DENYOOM)
        .keys(KEYS)
        .group(Group::List)
        .since("1.2.0")
        .complexity("O(1).")
        .summary("Takes the last element of one list, adds it to another as the first, and returns it.")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
        .args(&[Arg::key("source", 0), Arg::key("destination", 1)])
        .reply(Shape::BulkOrNull)
        .finish(),
];

/// The keys of these commands and of those that wait.
pub(super) const KEYS: &[KeySpec] =
    &[KeySpec::at(1).flags(RW | ACCESS | DELETE), KeySpec::at(2).flags(RW | INSERT)];

fn lmove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (from, to) = (parse_end(&args[3])?, parse_end(&args[4])?);
    if !shift(cx, args, from, to)? {
        cx.reply.null();
    }
    Ok(())
}

fn rpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if !shift(cx, args, End::Right, End::Left)? {
        cx.reply.null();
    }
    Ok(())
}

type Moved = SmallVec<[u8; ELEMENT_INLINE_BYTES]>;

/// Moves an element from the list under `args[1]` to that under `args[2]` and answers it; false if there is none.
pub(super) fn shift(cx: &mut Cx<'_>, args: Args<'_>, from: End, to: End) -> Result<bool, Error> {
    let (source, destination) = (cx.data.key(&args[1]), cx.data.key(&args[2]));
    let Some(element) = outermost(cx, &source, from)? else {
        return Ok(false);
    };
    let fate = if source.bytes == destination.bytes {
        rotate(cx, &source, &element, from, to)?
    } else {
        // First added, then taken: what cannot be added is not lost.
        cx.edit::<List, _>(&destination, Create::Yes, |list, thresholds| {
            list.push(to, std::iter::once(element.as_slice()), thresholds);
            Edited::yes(())
        })?;
        take_one(cx, &source, from)?
    };
    cx.data.event(Class::List, push_event(to), destination.bytes);
    tell_popped(cx, &source, from, 1, fate);
    cx.reply.bulk(&element);
    Ok(true)
}

/// A copy of the element at one end.
fn outermost(cx: &mut Cx<'_>, key: &Key<'_>, end: End) -> Result<Option<Moved>, Error> {
    if cx.data.find(key).is_none() {
        return Ok(None);
    }
    let Some(list) = cx.data.view::<List>(key)? else {
        return Ok(None);
    };
    let element = match end {
        End::Left => list.iter().next(),
        End::Right => list.iter().next_back(),
    };
    Ok(element.map(|element| element.with_bytes(Moved::from_slice)))
}

fn rotate(cx: &mut Cx<'_>, key: &Key<'_>, element: &[u8], from: End, to: End) -> Result<Fate, Error> {
    let rotated = cx.edit::<List, _>(key, Create::No, |list, thresholds| {
        list.pop(from, 1, thresholds);
        list.push(to, std::iter::once(element), thresholds);
        Edited::yes(())
    })?;
    Ok(rotated.map_or(Fate::Untouched, |((), fate)| fate))
}

fn take_one(cx: &mut Cx<'_>, key: &Key<'_>, end: End) -> Result<Fate, Error> {
    let taken = cx.edit::<List, _>(key, Create::No, |list, thresholds| {
        list.pop(end, 1, thresholds);
        Edited::yes(())
    })?;
    Ok(taken.map_or(Fate::Untouched, |((), fate)| fate))
}
