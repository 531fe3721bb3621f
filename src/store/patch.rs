//! Changes within a string that keep its length, made where it stands. They make it "raw" to OBJECT ENCODING.

use super::db::{Db, Found, access_clock};
use super::entry::{self, Kind};
use super::key::Key;
use super::watch::State;

impl Db {
    /// Overwrites bytes of the key's string from `offset` on; false, and nothing is changed, if they do not all lie within
    /// it or it is an object of its own (which [`Db::edit_string`] edits in place).
    pub fn patch(&mut self, key: &Key<'_>, found: Found, offset: usize, bytes: &[u8], now_ms: u64) -> bool {
        let patched = self.patch_with(key, found, now_ms, |string| {
            let part = string.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len()));
            part.map_or(0, |part| {
                part.copy_from_slice(bytes);
                1
            })
        });
        patched.is_some_and(|changes| changes > 0)
    }

    /// Has `edit` change bytes of the key's string; gives how many changes it says that it made, or nothing, without
    /// asking it, if the string is an object of its own.
    pub fn patch_with(
        &mut self,
        key: &Key<'_>,
        found: Found,
        now_ms: u64,
        edit: impl FnOnce(&mut [u8]) -> u64,
    ) -> Option<u64> {
        let slot = self.arena.slot_mut(found.handle);
        if entry::kind(slot) != Kind::Inline {
            return None;
        }
        let changes = edit(entry::payload_mut(slot));
        entry::touch(slot, access_clock(now_ms));
        if changes > 0 {
            entry::set_raw(slot);
            self.note(key.hashed.slot, key.bytes, State::Lasting, State::Lasting);
        }
        Some(changes)
    }

    /// Makes a string "raw" to OBJECT ENCODING, as one that an edit has left unchanged.
    pub fn mark_raw(&mut self, found: Found) {
        entry::set_raw(self.arena.slot_mut(found.handle));
    }
}
