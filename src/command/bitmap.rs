//! Bitmaps: strings as rows of bits, the first bit of a byte being its highest. Rows and handlers, a file for each kind
//! of command, and what they share.
//!
//! Bits behind the end of a string read as 0. No string grows beyond `proto-max-bulk-len` (a field of several bits may
//! reach a few bytes over its end), nor beyond all the memory that there is to be. A bit is changed where it stands:
//! nothing here copies a long string.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::strings::{edit, find};
use crate::resp::error::Error;
use crate::store::db::{Db, Found};
use crate::store::key::Key;

pub mod bit;
pub mod count;
pub mod field;
pub mod op;

/// Strings that grow by less are not asked room for: the limit was checked, and the next write pays.
const GROWTH_MIN_BYTES: usize = 4096;

/// Reads the place of a bit; `#` before the number, where `bits` says how wide a field is, counts in fields.
///
/// # Errors
/// No number, negative, or behind the longest string that there may be.
fn bit_offset(cx: &mut Cx<'_>, text: &[u8], bits: Option<u32>) -> Result<u64, Error> {
    let (number, scale) = match (text, bits) {
        ([b'#', number @ ..], Some(bits)) => (number, i64::from(bits)),
        _ => (text, 1),
    };
    let offset = parse_i64(number).and_then(|number| number.checked_mul(scale)).ok_or(Error::BitOffset)?;
    let offset = u64::try_from(offset).map_err(|_| Error::BitOffset)?;
    if offset / 8 >= cx.worker.config().proto_max_bulk_len {
        return Err(Error::BitOffset);
    }
    Ok(offset)
}

/// The key's string for a command that makes it at least `length` bytes long, with room made where it grows by many.
fn find_to_grow(cx: &mut Cx<'_>, key: &Key<'_>, length: usize) -> Result<Option<Found>, Error> {
    let found = find(cx, key)?;
    let grows = length.saturating_sub(length_of(cx.data.db(key), found));
    if grows < GROWTH_MIN_BYTES {
        return Ok(found);
    }
    edit::make_room(cx, key, grows)?;
    find(cx, key)
}

/// Length of an entry's string, 0 without one.
fn length_of(db: &Db, found: Option<Found>) -> usize {
    found.map_or(0, |found| db.string(found).len())
}

/// Writes bytes into the key's string, with zero bytes before them where it is shorter.
fn write_at(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    found: Option<Found>,
    offset: usize,
    bytes: &[u8],
) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    let db = cx.data.db(key);
    if let Some(found) = found
        && db.patch(key, found, offset, bytes, now_ms)
    {
        return Ok(());
    }
    let edited = db.edit_string(key, found, now_ms, |string| string.write_at(offset, bytes));
    edited.map(|_| ()).map_err(|_| Error::OutOfMemory)
}
