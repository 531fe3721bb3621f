//! Changes within a string that keep its length, made where it stands.

use super::db::{Db, Found, access_clock};
use super::entry::{self, Kind};
use super::key::Key;
use super::watch::State;

impl Db {
    /// Overwrites bytes of the key's string from `offset` on and makes it "raw" to OBJECT ENCODING; false, and nothing is
    /// changed, if they do not all lie within it or it is an object of its own (which [`Db::edit_string`] edits in place).
    pub fn patch(&mut self, key: &Key<'_>, found: Found, offset: usize, bytes: &[u8], now_ms: u64) -> bool {
        let slot = self.arena.slot_mut(found.handle);
        if entry::kind(slot) != Kind::Inline {
            return false;
        }
        let Some(part) =
            entry::payload_mut(slot).get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len()))
        else {
            return false;
        };
        part.copy_from_slice(bytes);
        entry::set_raw(slot);
        entry::touch(slot, access_clock(now_ms));
        self.note(key.hashed.slot, key.bytes, State::Lasting, State::Lasting);
        true
    }

    /// Makes a string "raw" to OBJECT ENCODING, as one that an edit has left unchanged.
    pub fn mark_raw(&mut self, found: Found) {
        entry::set_raw(self.arena.slot_mut(found.handle));
    }
}
