//! APPEND and SETRANGE: they change a part of a value and keep its due time.
//!
//! No value grows beyond `proto-max-bulk-len`, nor beyond all the memory that there is to be. What they have edited is
//! "raw" to OBJECT ENCODING, as in Redis.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{INSERT, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, find, store};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::{Due, Found, StringBuffer};
use crate::store::key::Key;

/// Gaps below this are not asked room for: the limit was checked, and the next write pays.
const GAP_MIN_BYTES: usize = 4096;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("append", append)
        .arity(3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | INSERT)])
        .group(Group::String)
        .since("2.0.0")
        .complexity("O(N), N the number of bytes appended, amortized over many calls.")
        .summary("Appends to the value of a key, which is created without one, and returns its length.")
        .args(&[Arg::key("key", 0), Arg::string("value")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("setrange", setrange)
        .arity(4)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(RW | UPDATE)])
        .group(Group::String)
        .since("2.2.0")
        .complexity("O(N), N the number of bytes written, zero bytes of a gap included.")
        .summary("Overwrites a value from an offset on, zero bytes filling a gap, and returns its length.")
        .args(&[Arg::key("key", 0), Arg::integer("offset"), Arg::string("value")])
        .reply(Shape::Integer)
        .finish(),
];

fn append(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let value = &args[2];
    let found = find(cx, &key)?;
    let length = if let Some(found) = found {
        let present = cx.data.db(&key).string(found).len();
        check_length(cx, present, value.len())?;
        edit(cx, &key, Some(found), "append", |string| string.append(value))?
    } else {
        store(cx, &key, None, (value, "append"), Due::Never)?;
        value.len()
    };
    cx.reply.integer(length as i64);
    Ok(())
}

fn setrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let offset = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    let offset = usize::try_from(offset).map_err(|_| Error::OffsetOutOfRange)?;
    let key = cx.data.key(&args[1]);
    let value = &args[3];
    let mut found = find(cx, &key)?;
    let present = found.map_or(0, |found| cx.data.db(&key).string(found).len());
    let length = if value.is_empty() {
        present
    } else {
        check_length(cx, offset, value.len())?;
        let gap = offset.saturating_sub(present);
        if gap >= GAP_MIN_BYTES {
            make_room(cx, &key, gap + value.len())?;
            found = find(cx, &key)?;
        }
        edit(cx, &key, found, "setrange", |string| string.write_at(offset, value))?
    };
    cx.reply.integer(length as i64);
    Ok(())
}

/// Edits the key's string and counts the change; its new length.
fn edit(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    found: Option<Found>,
    event: &'static str,
    how: impl FnOnce(&mut dyn StringBuffer),
) -> Result<usize, Error> {
    let now_ms = cx.now_ms;
    let length = cx.data.db(key).edit_string(key, found, now_ms, how).map_err(|_| Error::OutOfMemory)?;
    cx.data.event(Class::String, event, key.bytes);
    cx.data.dirty += 1;
    Ok(length)
}

/// Refuses a string of `before` and `added` bytes that would be longer than a request could set.
fn check_length(cx: &mut Cx<'_>, before: usize, added: usize) -> Result<(), Error> {
    let length = (before as u64).saturating_add(added as u64);
    if length > cx.worker.config().proto_max_bulk_len { Err(Error::StringTooLong) } else { Ok(()) }
}

/// Makes room for a string that grows by a gap: the room that was made for the request counted its own bytes, which say
/// nothing of it. Refuses one that grows by more than all keys together may take.
pub fn make_room(cx: &mut Cx<'_>, key: &Key<'_>, grows_bytes: usize) -> Result<(), Error> {
    let limit_bytes = cx.hub.keyspace.limit_bytes();
    if limit_bytes > 0 && grows_bytes as u64 > limit_bytes {
        return Err(Error::OutOfMemory);
    }
    cx.data.make_room(key, grows_bytes).map_err(|_| Error::OutOfMemory)
}
