//! Fields of hashes that fall due: which hash has one next, and their removal in bounded slices.
//!
//! A hash whose first field is due at a time stands in an index of its own under that time, as entries stand in theirs
//! under the time at which they are due themselves. Whoever stores, edits, moves or removes an entry keeps it in step
//! ([`Db::fields_due`] before, [`Db::reschedule_fields`] after), at the cost of one look at the entry's kind where it is
//! no hash.

use super::arena::{Arena, Handle};
use super::db::Db;
use super::entry::{self, Kind};
use super::expiry::Expiry;
use super::object::Objects;
use super::told::Told;
use super::typed::{Edited, Fate, packed};
use super::value::hash::{Hash, HashRef};
use super::value::{Collection, Form, Value};

/// Hashes that one slice takes fields from at most.
const HASHES_A_SLICE: usize = 16;

/// When the first field of an entry's hash is due, in Unix ms; nothing without one.
#[inline]
fn fields_due(arena: &Arena, objects: &Objects, handle: Handle) -> Option<u64> {
    let slot = arena.slot(handle);
    match entry::kind(slot) {
        Kind::Inline => None,
        Kind::Packed => {
            let (form, bytes) = packed(slot);
            (form == Form::HashDue)
                .then(|| Hash::packed_reference(form, bytes))
                .and_then(HashRef::next_due_ms)
        }
        Kind::Object => match &objects.get(entry::object(slot))?.value {
            Value::Hash(hash) => hash.as_ref().next_due_ms(),
            _ => None,
        },
    }
}

impl Db {
    /// When the first field of an entry's hash is due, in Unix ms; nothing without one.
    #[inline]
    pub(super) fn fields_due(&self, handle: Handle) -> Option<u64> {
        fields_due(&self.arena, &self.objects, handle)
    }

    /// Hashes that have a field with a due time.
    pub fn entries_with_due_fields(&self) -> usize {
        self.field_expiry.entries()
    }

    /// Brings the index in line with an entry that was stored, edited or moved: `old` is where it was, `old_ms` what
    /// [`Db::fields_due`] said there.
    #[inline]
    pub(super) fn reschedule_fields(&mut self, old: Handle, old_ms: Option<u64>, new: Handle) {
        let new_ms = self.fields_due(new);
        if (old_ms, new_ms) == (None, None) || (old, old_ms) == (new, new_ms) {
            return;
        }
        self.changed = true;
        self.forget_fields(old, old_ms);
        let Self { arena, objects, field_expiry, .. } = self;
        if let Some(new_ms) = new_ms {
            field_expiry.insert(new_ms, new, |handle| fields_due(arena, objects, handle).unwrap_or(0));
        }
    }

    /// Takes an entry out of the index, under what [`Db::fields_due`] says.
    #[inline]
    pub(super) fn forget_fields(&mut self, handle: Handle, due_ms: Option<u64>) {
        if let Some(due_ms) = due_ms {
            self.changed = true;
            self.field_expiry.remove(due_ms, handle);
        }
    }

    /// Removes fields that are due, about `max` at most, and keys whose last field goes; says whether there are more.
    pub fn expire_fields(&mut self, now_ms: u64, max: usize) -> bool {
        let mut left = max;
        for _ in 0..HASHES_A_SLICE {
            let Self { arena, objects, field_expiry, .. } = &*self;
            let due_of = |handle| fields_due(arena, objects, handle).unwrap_or(0);
            let Some(handle) = field_expiry.first_due(now_ms, due_of) else { return false };
            let removed = self.expire_fields_of(handle, now_ms, left);
            left = left.saturating_sub(removed);
            // Without room for the edited entry the next slice tries again.
            if removed == 0 {
                return false;
            }
            if left == 0 {
                break;
            }
        }
        true
    }

    fn expire_fields_of(&mut self, handle: Handle, now_ms: u64, max: usize) -> usize {
        let key: Box<[u8]> = self.key_of(handle).into();
        let key = self.layout.key(&key);
        let Some(found) = self.peek(&key) else { return 0 };
        let (clock, frequency) = {
            let slot = self.arena.slot(handle);
            (entry::access_clock(slot), entry::frequency(slot))
        };
        let edited = self.edit_value::<Hash, _>(&key, Some(found), now_ms, |hash| {
            let removed = hash.expire_fields(now_ms, max);
            Edited::when(removed > 0, removed)
        });
        let Ok((removed, fate)) = edited else { return 0 };
        // Nobody has used the hash: what the edit noted is taken back.
        if let Some(found) = self.peek(&key) {
            let slot = self.arena.slot_mut(found.handle);
            entry::touch(slot, clock);
            entry::set_frequency(slot, frequency);
        }
        if !self.is_hidden(key.hashed.slot) {
            self.removals.expired_fields += removed as u64;
        }
        self.tell(Told::FieldsExpired, key.bytes);
        if fate == Fate::Removed {
            self.tell(Told::Emptied, key.bytes);
        }
        removed
    }

    /// Recounts; for tests.
    #[cfg(test)]
    pub(super) fn validate_fields(&self, handles: impl Iterator<Item = Handle>) {
        self.field_expiry.validate(|handle| self.fields_due(handle).expect("a field with a due time"));
        let with_due = handles.filter(|&handle| self.fields_due(handle).is_some()).count();
        assert_eq!(with_due, self.field_expiry.entries());
    }
}

impl Expiry {
    /// An entry that is due at `now_ms`, about the first.
    fn first_due(&self, now_ms: u64, due_of: impl Fn(Handle) -> u64) -> Option<Handle> {
        self.first_chunk(now_ms)?.find(|&handle| due_of(handle) <= now_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::db::{Db, Due};
    use super::super::key::Layout;
    use super::super::policy::Policy;
    use super::super::told::Told;
    use super::super::typed::Edited;
    use super::super::value::hash::{FieldDue, Hash};
    use super::super::value::{Thresholds, ValueRef};
    use crate::base::rng::Rng;

    const START_MS: u64 = 1_800_000_000_000;

    type Model = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, u64>>;

    fn edit<R>(db: &mut Db, name: &[u8], now_ms: u64, run: impl FnOnce(&mut Hash) -> R) -> R {
        let layout = db.layout.clone();
        let key = layout.key(name);
        let found = db.find(&key, now_ms);
        db.edit_value::<Hash, _>(&key, found, now_ms, |hash| Edited::yes(run(hash))).expect("room").0
    }

    fn compare(db: &Db, model: &Model, now_ms: u64) {
        db.validate();
        let layout = db.layout.clone();
        let alive =
            |fields: &BTreeMap<Vec<u8>, u64>| fields.values().filter(|&&due_ms| due_ms > now_ms).count();
        for (name, fields) in model {
            let found = db.peek(&layout.key(name));
            let seen = found.map_or(0, |found| match db.value(found) {
                ValueRef::Hash(hash) => hash.len(now_ms),
                _ => 0,
            });
            assert_eq!(seen, alive(fields), "{name:?}");
        }
    }

    fn step(db: &mut Db, model: &mut Model, rng: &mut Rng, now_ms: u64) {
        let layout = db.layout.clone();
        let name = match rng.below(60) {
            number @ 0..10 => format!("{{long}}{number}{}", "x".repeat(300)).into_bytes(),
            number => format!("key:{number}").into_bytes(),
        };
        let key = layout.key(&name);
        let found = db.find(&key, now_ms);
        let field = format!("f{}", rng.below(40)).into_bytes();
        let due_ms = now_ms + 1 + rng.below(3000);
        let limits = Thresholds { hash_max_listpack_entries: 20, ..Thresholds::default() };
        match rng.below(12) {
            0..4 => {
                let due = if rng.below(3) == 0 { FieldDue::At(due_ms) } else { FieldDue::Never };
                let value = vec![b'v'; rng.below(60) as usize];
                edit(db, &name, now_ms, |hash| hash.set(&field, &value, due, &limits, now_ms));
                let due_ms = if due == FieldDue::Never { u64::MAX } else { due_ms };
                model.entry(name).or_default().insert(field, due_ms);
            }
            4..6 => {
                edit(db, &name, now_ms, |hash| {
                    let is_seen = hash.as_ref().due_ms(&field, now_ms).is_some();
                    is_seen && hash.set_due(&field, Some(due_ms))
                });
                if let Some(present) = model.get_mut(&name).and_then(|fields| fields.get_mut(&field)) {
                    *present = due_ms;
                }
            }
            6..8 => {
                edit(db, &name, now_ms, |hash| hash.remove(&field, now_ms));
                model.get_mut(&name).map(|fields| fields.remove(&field));
            }
            8 => {
                if let Some(found) = found {
                    db.remove(key.hashed, found);
                }
                model.remove(&name);
            }
            9 => {
                let Some(found) = found else { return };
                let other = format!("key:{}", rng.below(60)).into_bytes();
                let off = rng.below(2) == 0;
                let carried = if off { db.carry_off(&key, found) } else { db.carry(found) };
                let fields = model.get(&name).cloned().unwrap_or_default();
                if off {
                    model.remove(&name);
                }
                let to = layout.key(&other);
                let present = db.find(&to, now_ms);
                db.settle(&to, present, carried, now_ms).expect("room");
                model.insert(other, fields);
            }
            10 => {
                if let Some(found) = found {
                    let due_ms = (rng.below(2) == 0).then_some(now_ms + 1_000_000_000);
                    db.set_due(&key, found, due_ms).expect("room");
                }
            }
            _ => {
                db.compact_slice(true);
            }
        }
        for fields in model.values_mut() {
            fields.retain(|_, due_ms| *due_ms > now_ms);
        }
    }

    #[test]
    fn random_use_keeps_the_index_in_step() {
        for seed in 0..5 {
            let mut rng = Rng::seeded(seed);
            let mut db = Db::new(Layout::seeded(0, seed), Policy::AllkeysLru);
            let (mut model, mut now_ms) = (Model::new(), START_MS);
            for at in 0..1500u64 {
                now_ms += rng.below(10);
                step(&mut db, &mut model, &mut rng, now_ms);
                if at % 50 == 0 {
                    db.expire_fields(now_ms, 1 + rng.below(30) as usize);
                }
                if at % 100 == 0 {
                    compare(&db, &model, now_ms);
                }
                db.garbage.clear();
            }
            while db.expire_fields(u64::MAX - 1, 100) {
                db.garbage.clear();
            }
            db.validate();
            assert_eq!(db.entries_with_due_fields(), 0);
            let lasting =
                |fields: &&BTreeMap<Vec<u8>, u64>| fields.values().any(|&due_ms| due_ms == u64::MAX);
            assert_eq!(db.entries(), model.values().filter(lasting).count());
        }
    }

    #[test]
    fn whoever_listens_is_told() {
        let mut db = Db::new(Layout::seeded(0, 1), Policy::NoEviction);
        db.set_telling(true);
        for (name, field, due) in [
            (&b"stays"[..], &b"a"[..], FieldDue::Never),
            (b"stays", b"b", FieldDue::At(START_MS + 1)),
            (b"goes", b"a", FieldDue::At(START_MS + 2)),
        ] {
            edit(&mut db, name, START_MS, |hash| {
                hash.set(field, b"v", due, &Thresholds::default(), START_MS)
            });
        }
        db.take_told();
        assert!(!db.expire_fields(START_MS + 2, 100));
        let told = db.take_told();
        let told: Vec<(Told, &[u8])> = told.iter().map(|(told, key)| (*told, &**key)).collect();
        assert_eq!(
            told,
            [(Told::FieldsExpired, &b"stays"[..]), (Told::FieldsExpired, b"goes"), (Told::Emptied, b"goes")]
        );
    }

    #[test]
    fn a_slice_is_bounded() {
        let mut db = Db::new(Layout::seeded(0, 1), Policy::NoEviction);
        let layout = db.layout.clone();
        for name in 0..40 {
            let name = format!("key:{name}").into_bytes();
            edit(&mut db, &name, START_MS, |hash| {
                for field in 0..10 {
                    let field = format!("f{field}");
                    let due = FieldDue::At(START_MS + 10);
                    hash.set(field.as_bytes(), b"v", due, &Thresholds::default(), START_MS);
                }
            });
            let key = layout.key(&name);
            let found = db.peek(&key).expect("the hash");
            db.set_value(&key, Some(found), db.duplicate(found), Due::Keep, START_MS).expect("room");
        }
        assert!(!db.expire_fields(START_MS + 9, 100));
        assert_eq!(db.entries(), 40);
        assert!(db.expire_fields(START_MS + 10, 35));
        assert_eq!((db.entries(), db.removals.expired_fields), (37, 35));
        let mut slices = 0;
        while db.expire_fields(START_MS + 10, 1000) {
            slices += 1;
        }
        assert!(slices >= 2, "{slices}");
        assert_eq!((db.entries(), db.removals.expired_fields), (0, 400));
        db.validate();
    }
}
