//! Changes within a string that keep its length, made where it stands (they make it "raw" to OBJECT ENCODING), and to
//! what is known of an entry's use.

use super::db::{Db, Found, access_clock};
use super::entry::{self, Kind};
use super::key::Key;
use super::value::Value;
use super::watch::State;

impl Db {
    /// Overwrites bytes of the key's string from `offset` on; false, and nothing is changed, if they do not all lie within
    /// it or it is shared with a reply (then [`Db::edit_string`] edits a copy).
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
    /// asking it, if the string is shared with a reply.
    pub fn patch_with(
        &mut self,
        key: &Key<'_>,
        found: Found,
        now_ms: u64,
        edit: impl FnOnce(&mut [u8]) -> u64,
    ) -> Option<u64> {
        let slot = self.arena.slot_mut(found.handle);
        let changes = match entry::kind(slot) {
            Kind::Inline => edit(entry::payload_mut(slot)),
            Kind::Object => {
                let number = entry::object(slot);
                self.objects.edit(number, |object| edit_alone(&mut object.value, edit))?.0?
            }
            Kind::Packed => return None,
        };
        let slot = self.arena.slot_mut(found.handle);
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

    /// Says when the key's entry was last used, in seconds before now, and how often, on Redis's scale from 0 to 255.
    pub fn set_use(&mut self, key: &Key<'_>, idle_seconds: Option<i64>, freq: Option<i64>, now_ms: u64) {
        let Some(found) = self.peek(key) else { return };
        let slot = self.arena.slot_mut(found.handle);
        if let Some(seconds) = idle_seconds {
            // The clock wraps: who was idle for longer was idle for as long as it can say.
            let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
            entry::set_access_clock(slot, access_clock(now_ms).wrapping_sub(seconds));
        }
        if let Some(freq) = freq {
            // A new entry starts at 5 in Redis, and it takes ten times as many hits to come to each next ten.
            entry::set_frequency(
                slot,
                match freq {
                    0..=5 => 0,
                    6..=10 => 1,
                    11..=20 => 2,
                    _ => entry::FREQUENCY_MAX,
                },
            );
        }
    }
}

/// Edits a string that nobody else holds, without copying it; nothing if somebody does.
fn edit_alone(value: &mut Value, edit: impl FnOnce(&mut [u8]) -> u64) -> Option<u64> {
    let Value::Str(bytes) = value else { return None };
    match std::mem::take(bytes).try_into_mut() {
        Ok(mut alone) => {
            let changes = edit(&mut alone);
            *bytes = alone.freeze();
            Some(changes)
        }
        Err(shared) => {
            *bytes = shared;
            None
        }
    }
}
