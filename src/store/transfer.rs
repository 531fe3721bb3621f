//! Entries that leave one key for another: RENAME, COPY, MOVE.
//!
//! A long value travels without being copied when its entry goes away, and shares its bytes when it is copied.

use bytes::Bytes;
use smallvec::SmallVec;

use super::arena::Full;
use super::db::{Db, Due, Found, NewString};
use super::key::Key;
use super::object::Value;

/// A value on its way, with its due time.
#[derive(Debug)]
pub struct Carried {
    payload: Payload,
    due_ms: Option<u64>,
    raw: bool,
}

#[derive(Debug)]
enum Payload {
    Inline(SmallVec<[u8; 64]>),
    Shared(Bytes),
}

impl Carried {
    /// Bytes that the value will take at its new place, about.
    pub fn bytes(&self) -> usize {
        match &self.payload {
            Payload::Inline(bytes) => bytes.len(),
            Payload::Shared(bytes) => bytes.len(),
        }
    }
}

impl Db {
    /// A copy of an entry's value and due time.
    pub fn carry(&self, found: Found) -> Carried {
        let payload = match self.shared_string(found) {
            Some(bytes) => Payload::Shared(bytes.clone()),
            None => Payload::Inline(self.string(found).into()),
        };
        Carried { payload, due_ms: self.due_ms(found), raw: self.is_raw(found) }
    }

    /// Puts a carried value under a key, in the place of what is there.
    pub fn settle(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        carried: Carried,
        now_ms: u64,
    ) -> Result<(), Full> {
        let due = carried.due_ms.map_or(Due::Never, Due::At);
        match carried.payload {
            Payload::Inline(bytes) => {
                self.set_string(key, found, NewString { bytes: &bytes, raw: carried.raw }, due, now_ms)
            }
            Payload::Shared(bytes) => {
                self.set_object(key, found, Value::Str(bytes), carried.due_ms, carried.raw, now_ms)
            }
        }
    }
}
