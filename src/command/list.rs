//! Lists: rows and handlers, a file for each kind of command, and what they share.
//!
//! A list that loses its last element takes its key along. Elements go from the value straight into the reply; only
//! those that move to another key are copied in between.

use crate::base::num::parse_i64;
use crate::command::collection::write_element;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::key_spec::KeySpec;
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::store::key::Key;
use crate::store::typed::{Edited, Fate};
use crate::store::value::list::{End, List, ListRef};

pub mod block;
pub mod edit;
pub mod pop;
pub mod push;
pub mod read;
pub mod shift;

/// The single key of most commands, to be given its flags.
const KEY: KeySpec = KeySpec::at(1);

/// An end of a list, as an argument.
const ENDS: &[Arg] = &[Arg::flag("left", "LEFT"), Arg::flag("right", "RIGHT")];

/// Reads `LEFT` or `RIGHT`.
///
/// # Errors
/// `ERR syntax error`
fn parse_end(text: &[u8]) -> Result<End, Error> {
    if text.eq_ignore_ascii_case(b"left") {
        Ok(End::Left)
    } else if text.eq_ignore_ascii_case(b"right") {
        Ok(End::Right)
    } else {
        Err(Error::Syntax)
    }
}

/// The event of taking elements at an end.
const fn pop_event(end: End) -> &'static str {
    match end {
        End::Left => "lpop",
        End::Right => "rpop",
    }
}

/// The event of adding elements at an end.
const fn push_event(end: End) -> &'static str {
    match end {
        End::Left => "lpush",
        End::Right => "rpush",
    }
}

/// Writes up to `count` elements from one end, in the order in which they would be taken.
fn write_from(reply: &mut Reply, list: ListRef<'_>, end: End, count: usize) {
    match end {
        End::Left => list.iter().take(count).for_each(|element| write_element(reply, element)),
        End::Right => list.iter().rev().take(count).for_each(|element| write_element(reply, element)),
    }
}

/// Reads an index.
///
/// # Errors
/// `ERR value is not an integer or out of range`
fn parse_index(text: &[u8]) -> Result<i64, Error> {
    parse_i64(text).ok_or(Error::NotAnInteger)
}

/// The first index and the number of elements that a range with both ends included has in a list; negative ends count
/// from the tail.
fn resolve_range(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from_head = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
    let (start, stop) = (from_head(start).max(0), from_head(stop).min(len - 1));
    if start > stop { (0, 0) } else { (start as usize, (stop - start + 1) as usize) }
}

/// Says that elements were taken, and that the key went with the last one.
fn tell_popped(cx: &mut Cx<'_>, key: &Key<'_>, end: End, count: usize, fate: Fate) {
    cx.data.dirty += count as u64;
    cx.data.event(Class::List, pop_event(end), key.bytes);
    tell_removed(cx, key, fate);
}

/// Says that a key went with its last element, if it did.
fn tell_removed(cx: &mut Cx<'_>, key: &Key<'_>, fate: Fate) {
    if fate == Fate::Removed {
        cx.data.event(Class::Generic, "del", key.bytes);
    }
}

/// Takes up to `count` elements from one end; `write` puts what stands before them into the reply. False without the
/// key.
///
/// # Errors
/// `WRONGTYPE`, or `OOM` where what is left cannot be stored; nothing is written then.
fn take(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    end: End,
    count: usize,
    write: impl FnOnce(&mut Reply, usize),
) -> Result<bool, Error> {
    let mark = cx.reply.checkpoint();
    let thresholds = cx.thresholds();
    let reply = &mut *cx.reply;
    let outcome = cx.data.edit::<List, _>(key, Create::No, |list| {
        let count = count.min(list.as_ref().len());
        write(reply, count);
        if count == 1 {
            list.take(end, &thresholds, |element| write_element(reply, element));
            return Edited::yes(1);
        }
        write_from(reply, list.as_ref(), end, count);
        if count == 0 {
            return Edited::no(0);
        }
        list.pop(end, count, &thresholds);
        Edited::yes(count)
    });
    match outcome {
        Ok(Some((0, _))) => Ok(true),
        Ok(Some((count, fate))) => {
            tell_popped(cx, key, end, count, fate);
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(error) => {
            cx.reply.truncate_to(mark);
            Err(error)
        }
    }
}
