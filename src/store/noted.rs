//! Names of keys that changed, for whoever keeps track of what clients have cached.
//!
//! Noted only while somebody asks for it ([`Shard::set_noting`]), once for every change of a key that is served here,
//! whatever changed it: commands, expiry, eviction, the emptying of slots. What a command changed is taken under the
//! shards' locks ([`Shard::take_noted`]); what is left when a lock is released waits with the keyspace
//! ([`Keyspace::take_noted`]), so that nothing is lost whoever held the lock.
//!
//! Every name carries a number that grows with every change that a thread makes: what one command changed in several shards
//! can be put in order again.
//!
//! Bounds: a list that would grow beyond [`NOTED_MAX_BYTES`] forgets its names and says so: then every key may have
//! changed.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::keyspace::{Keyspace, Shard};
use crate::base::lock::Mutex;

/// Bytes of one list at most, `HEAD_BYTES` for every name included.
pub const NOTED_MAX_BYTES: usize = 4 << 20;
/// What stands before every name: its length, whether the store changed the key by itself, and its number.
const HEAD_BYTES: usize = 8;
/// Buffers above this size are given back when they are emptied.
const KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    /// Changes that this thread has made.
    static CHANGES: Cell<u32> = const { Cell::new(0) };
}

/// A key that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its name.
    pub key: &'a [u8],
    /// The store changed it by itself: it expired or was evicted.
    pub by_itself: bool,
    /// Grows with every change that one thread makes; it may begin again from 0.
    pub order: u32,
}

/// Names of keys that changed, in the order in which they did.
#[derive(Debug, Default)]
pub struct Noted {
    bytes: Vec<u8>,
    overrun: bool,
}

impl Noted {
    /// Adds a name; `by_itself` says that the key expired or was evicted.
    pub(super) fn push(&mut self, key: &[u8], by_itself: bool) {
        if self.overrun {
            return;
        }
        let length = u32::try_from(key.len()).ok().filter(|length| *length < 1 << 31);
        let Some(length) = length.filter(|_| self.bytes.len() + HEAD_BYTES + key.len() <= NOTED_MAX_BYTES)
        else {
            return self.overrun();
        };
        let order = CHANGES.replace(CHANGES.get().wrapping_add(1));
        let head = u64::from(length << 1 | u32::from(by_itself)) | u64::from(order) << 32;
        self.bytes.extend_from_slice(&head.to_le_bytes());
        self.bytes.extend_from_slice(key);
    }

    fn overrun(&mut self) {
        self.bytes = Vec::new();
        self.overrun = true;
    }

    /// Takes over what another list holds, which is empty afterwards.
    pub fn append(&mut self, other: &mut Self) {
        if self.overrun || other.overrun || self.bytes.len() + other.bytes.len() > NOTED_MAX_BYTES {
            self.overrun();
        } else {
            self.bytes.extend_from_slice(&other.bytes);
        }
        other.clear();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.overrun = false;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Whether nothing changed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.overrun
    }

    /// Whether more changed than the list holds: it has no names then.
    pub fn is_overrun(&self) -> bool {
        self.overrun
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (head, behind) = rest.split_first_chunk::<HEAD_BYTES>()?;
            let head = u64::from_le_bytes(*head);
            let (key, behind) = behind.split_at_checked((head as u32 >> 1) as usize)?;
            rest = behind;
            Some(Change { key, by_itself: head & 1 != 0, order: (head >> 32) as u32 })
        })
    }
}

/// What changed and was not taken before its shard's lock was released.
#[derive(Debug, Default)]
pub(super) struct LeftOver {
    noted: Mutex<Noted>,
    any: AtomicBool,
}

impl LeftOver {
    /// Keeps names until somebody takes them.
    pub(super) fn keep(&self, noted: &mut Noted) {
        if !noted.is_empty() {
            self.noted.lock().append(noted);
            self.any.store(true, Ordering::Release);
        }
    }
}

impl Shard {
    /// Has keys that change noted from now on, or no longer.
    pub fn set_noting(&mut self, on: bool) {
        if self.notes != on {
            self.notes = on;
            self.dbs_mut().for_each(|db| db.set_noting(on));
        }
    }

    /// Adds the keys to `into` that changed since the lock was taken, of all databases: they are told by name alone.
    #[inline]
    pub fn take_noted(&mut self, into: &mut Noted) {
        let mut touched = if self.notes { self.touched } else { 0 };
        while touched != 0 {
            let number = touched.trailing_zeros() as usize;
            touched &= touched - 1;
            if let Some(Some(db)) = self.dbs.get_mut(number) {
                db.take_noted(into);
            }
        }
    }
}

impl Keyspace {
    /// Takes the names of keys that changed and that nobody took under the shard's lock.
    pub fn take_noted(&self) -> Noted {
        let mut noted = self.left_over.noted.lock();
        self.left_over.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *noted)
    }

    /// Whether there are any.
    #[inline]
    pub fn has_noted(&self) -> bool {
        self.left_over.any.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::db::{Due, NewString};
    use super::super::key::Layout;
    use super::super::keyspace::Keyspace;
    use super::super::policy::Policy;
    use super::{Change, NOTED_MAX_BYTES, Noted};

    fn names(noted: &Noted) -> Vec<(String, bool)> {
        let shown = |change: Change<'_>| (String::from_utf8_lossy(change.key).into_owned(), change.by_itself);
        noted.iter().map(shown).collect()
    }

    #[test]
    fn names_come_out_as_they_went_in() {
        let (mut noted, mut other) = (Noted::default(), Noted::default());
        assert!(noted.is_empty());
        noted.push(b"a", false);
        other.push(b"", true);
        other.push(b"long name", false);
        noted.append(&mut other);
        assert!(other.is_empty());
        assert_eq!(names(&noted), [("a".into(), false), (String::new(), true), ("long name".into(), false)]);
        assert!(noted.iter().is_sorted_by_key(|change| change.order), "one thread's changes");
        noted.clear();
        assert!(noted.is_empty());
    }

    #[test]
    fn too_many_names_are_all_names() {
        let mut noted = Noted::default();
        let key = vec![b'k'; NOTED_MAX_BYTES / 4];
        for _ in 0..4 {
            noted.push(&key, false);
        }
        assert!(noted.is_overrun() && !noted.is_empty() && noted.iter().next().is_none());
        noted.push(b"k", false);
        assert!(noted.is_overrun());
        let mut sum = Noted::default();
        sum.append(&mut noted);
        assert!(sum.is_overrun() && noted.is_empty());
    }

    fn set(keyspace: &Keyspace, db: usize, key: &[u8], due: Due, now_ms: u64) {
        let key = keyspace.layout().key(key);
        let mut shard = keyspace.lock(key.shard);
        let found = shard.db(db).find(&key, now_ms);
        shard.db(db).set_string(&key, found, NewString { bytes: b"v", raw: false }, due, now_ms).unwrap();
    }

    #[test]
    fn every_change_is_noted_and_none_is_lost_with_the_lock() {
        let keyspace = Keyspace::new(Layout::seeded(2, 1), Policy::AllkeysLru, 0, 1);
        set(&keyspace, 0, b"before", Due::Never, 1_000);
        for shard in 0..keyspace.shards() {
            keyspace.lock(shard).set_noting(true);
        }
        assert!(!keyspace.has_noted(), "nobody asked");
        set(&keyspace, 0, b"a", Due::At(2_000), 1_000);
        set(&keyspace, 3, b"b", Due::Never, 1_000);
        set(&keyspace, 0, b"a", Due::At(2_000), 1_000);
        assert!(keyspace.has_noted());
        let noted = keyspace.take_noted();
        assert_eq!(names(&noted), [("a".into(), false), ("b".into(), false), ("a".into(), false)]);
        assert!(!keyspace.has_noted());
        for shard in 0..keyspace.shards() {
            keyspace.sweep(shard, 2_000, true);
        }
        assert_eq!(names(&keyspace.take_noted()), [("a".into(), true)], "it expired");
        let key = keyspace.layout().key(b"before");
        let mut taken = Noted::default();
        {
            let mut shard = keyspace.lock(key.shard);
            let found = shard.db(0).find(&key, 2_000).unwrap();
            shard.db(0).remove(key.hashed, found);
            shard.take_noted(&mut taken);
        }
        assert_eq!(names(&taken), [("before".into(), false)]);
        assert!(!keyspace.has_noted(), "it was taken under the lock");
        keyspace.hide_slot(key.slot);
        set(&keyspace, 0, b"before", Due::Never, 1_000);
        assert!(!keyspace.has_noted(), "what is hidden is served to nobody");
        keyspace.show_slot(key.slot);
        for shard in 0..keyspace.shards() {
            keyspace.lock(shard).set_noting(false);
        }
        set(&keyspace, 0, b"a", Due::Never, 1_000);
        assert!(!keyspace.has_noted());
    }
}
