//! Strings: rows and handlers, a file for each kind of command, and what they share.
//!
//! No command here may look at an entry's value before `only_string` has passed it. Values are copied once, from the request into the store; long ones are linked into replies
//! instead of being copied there.

use crate::command::context::Cx;
use crate::command::spec::key_spec::KeySpec;
use crate::hub::events::Class;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::store::db::{Db, Due, Found, NewString};
use crate::store::key::Key;
use crate::store::value::ValueType;

pub mod edit;
pub mod lcs;
pub mod multi;
pub mod number;
pub mod read;
pub mod set;

/// The single key of most commands, to be given its flags.
pub(super) const KEY: KeySpec = KeySpec::at(1);

/// Refuses an entry that is no string.
///
/// # Errors
/// `WRONGTYPE`
#[inline]
pub fn only_string(cx: &mut Cx<'_>, key: &Key<'_>, found: Option<Found>) -> Result<Option<Found>, Error> {
    match found {
        Some(found) if cx.data.db(key).value_type(found) != ValueType::String => Err(Error::WrongType),
        found => Ok(found),
    }
}

/// The key's string for a command that uses its value: counts as hit or miss, and as an access.
#[inline]
pub(super) fn read(cx: &mut Cx<'_>, key: &Key<'_>) -> Result<Option<Found>, Error> {
    let found = cx.data.read(key);
    only_string(cx, key, found)
}

/// The key's string for a command that changes it: neither hit nor miss.
#[inline]
pub(super) fn find(cx: &mut Cx<'_>, key: &Key<'_>) -> Result<Option<Found>, Error> {
    let found = cx.data.find(key);
    only_string(cx, key, found)
}

/// Writes an entry's string, or null without an entry.
#[inline]
fn write_value(reply: &mut Reply, db: &Db, found: Option<Found>) {
    let Some(found) = found else {
        return reply.null();
    };
    match db.shared_string(found) {
        Some(value) => reply.bulk_shared(value.clone()),
        None => reply.bulk(db.string(found)),
    }
}

/// Stores a new value under a key, counts the change and tells of it as `event`; one that is due already leaves no entry.
///
/// # Errors
/// `OOM` where the store has no room left for entries; nothing is changed then.
#[inline]
fn store(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    found: Option<Found>,
    (value, event): (&[u8], &'static str),
    due: Due,
) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    let db = cx.data.db(key);
    match due {
        Due::At(due_ms) if due_ms <= now_ms => {
            if let Some(found) = found {
                db.remove(key.hashed, found);
                cx.data.event(Class::Generic, "del", key.bytes);
            }
        }
        _ => {
            db.set_string(key, found, NewString { bytes: value, raw: false }, due, now_ms)
                .map_err(|_| Error::OutOfMemory)?;
            cx.data.event(Class::String, event, key.bytes);
            if matches!(due, Due::At(_)) {
                cx.data.event(Class::Generic, "expire", key.bytes);
            }
        }
    }
    cx.data.dirty += 1;
    Ok(())
}
