//! Entries that leave one key for another: RENAME, COPY, MOVE.
//!
//! A long value travels without being copied when its entry goes away, and shares its bytes when it is copied.

use smallvec::SmallVec;

use super::arena::Full;
use super::db::{Db, Due, Found, NewString};
use super::key::Key;
use super::value::Value;

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
    Value(Value),
}

impl Db {
    /// A copy of an entry's value and due time; a long string is shared.
    pub fn carry(&self, found: Found) -> Carried {
        let payload = if self.is_inline(found) {
            Payload::Inline(self.string(found).into())
        } else {
            Payload::Value(self.duplicate(found))
        };
        Carried { payload, due_ms: self.due_ms(found), raw: self.is_raw(found) }
    }

    /// Takes an entry away, with value and due time: nothing is copied but what is small.
    pub fn carry_off(&mut self, key: &Key<'_>, found: Found) -> Carried {
        let (due_ms, raw) = (self.due_ms(found), self.is_raw(found));
        let carried = match self.take_value(found) {
            Some(value) => Carried { payload: Payload::Value(value), due_ms, raw },
            None => self.carry(found),
        };
        self.remove(key.hashed, found);
        carried
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
            Payload::Value(value @ Value::Str(_)) => {
                self.set_object(key, found, value, carried.due_ms, carried.raw, now_ms)
            }
            Payload::Value(value) => self.set_value(key, found, value, due, now_ms),
        }
    }
}
