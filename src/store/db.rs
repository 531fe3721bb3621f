//! One database in one shard: keeps index, queues, expiry index, objects and byte counts in step.
//!
//! Single-threaded and time-fed; `keyspace` puts it behind the shard's lock. Values that a call replaces or removes go
//! to `garbage`, which the owner of the lock takes away and drops afterwards.
//!
//! Invariants (`Db::validate` recounts them): every used slot of the arena is in the index once, under its key's
//! hash; it is in the expiry index exactly if it has a due time; it is in a queue exactly if the policy may evict it
//! (while `rebuild` is set, at most then).

use bytes::{Bytes, BytesMut};

use super::arena::{Arena, Full, Handle, SLOT_BYTES_MAX, suits};
use super::entry::{self, Content, INLINE_KEY_MAX, Kind, Queue};
use super::expiry::Expiry;
use super::index::{Hashed, Index, Place};
use super::key::{Key, Layout};
use super::object::{Object, Objects};
use super::policy::Policy;
use super::prefetch;
use super::queues::Queues;
use super::segment::Pace;
use super::told::Told;
use super::usage::{Removals, Used};
use super::value::Value;
use super::watch::{Attention, State};
use crate::base::slot::slot_of;

/// Bytes of an entry that are brought into the cache ahead; the processor goes on with longer ones by itself.
const PREFETCH_BYTES: usize = 256;

/// A key's entry; good until the database is next changed.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub(super) handle: Handle,
    pub(super) place: Place,
}

/// What becomes of the due time when a value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It stays (an entry that is new has none).
    Keep,
    /// The entry is never due.
    Never,
    /// The entry is due at this Unix time in ms.
    At(u64),
}

/// A string to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewString<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// It was edited in place: OBJECT ENCODING calls it "raw".
    pub raw: bool,
}

/// One database in one shard; see the module.
#[derive(Debug)]
pub struct Db {
    /// Since the owner of the lock last looked, memory may have changed or garbage come to be.
    pub(super) changed: bool,
    /// What the owner of the lock last published.
    pub(super) published: Used,
    pub(super) layout: Layout,
    pub(super) arena: Arena,
    pub(super) index: Index,
    pub(super) queues: Queues,
    pub(super) expiry: Expiry,
    /// Hashes by when their first field is due ([`super::fields`]).
    pub(super) field_expiry: Expiry,
    pub(super) objects: Objects,
    pub(super) policy: Policy,
    /// Block at which the sweep that brings the queues in line with a changed policy goes on.
    pub(super) rebuild: Option<usize>,
    /// Block at which the search for sparse blocks goes on, and the block that is being emptied.
    pub(super) compaction: super::compaction::Compaction,
    /// The index comes before the entries in this slice of the emptying of sparse blocks.
    pub(super) index_turn: bool,
    pub(super) garbage: Vec<Object>,
    pub(super) removals: Removals,
    /// Whoever is told of changes, and hidden slots; none as a rule.
    pub(super) attention: Option<Box<Attention>>,
    /// Reused for due handles and for strings that are put together.
    pub(super) handles: Vec<Handle>,
    pub(super) scratch: Vec<u8>,
}

impl Db {
    /// An empty database.
    pub fn new(layout: Layout, policy: Policy) -> Self {
        Self {
            changed: true,
            published: Used::default(),
            arena: Arena::default(),
            index: Index::new(layout.slots_per_shard()),
            queues: Queues::new(policy.is_lfu()),
            expiry: Expiry::default(),
            field_expiry: Expiry::default(),
            objects: Objects::default(),
            layout,
            policy,
            rebuild: None,
            compaction: super::compaction::Compaction::default(),
            index_turn: false,
            garbage: Vec::new(),
            removals: Removals::default(),
            attention: None,
            handles: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Entries, those included that are due but not removed yet, those of hidden slots not.
    pub fn entries(&self) -> usize {
        self.index.entries() - self.hidden_counts().0
    }

    /// Entries that have a due time; those of hidden slots do not count.
    pub fn entries_with_due(&self) -> usize {
        self.expiry.entries().saturating_sub(self.hidden_counts().1)
    }

    /// Entries of a slot (its number within the shard); none if it is hidden.
    pub fn slot_entries(&self, slot: u32) -> usize {
        if self.is_hidden(slot) { 0 } else { self.index.slot_len(slot) }
    }

    /// The key's entry, whether due or not.
    #[inline]
    pub fn peek(&self, key: &Key<'_>) -> Option<Found> {
        let (place, handle) = self.index.find(key.hashed, |handle| self.key_of(handle) == key.bytes)?;
        Some(Found { handle, place })
    }

    /// Brings the part of the index that leads to the key into the cache.
    #[inline]
    pub fn prefetch_index(&self, hashed: Hashed) {
        self.index.prefetch(hashed);
    }

    /// Brings the entry that is likely the key's into the cache: the first with its tag.
    #[inline]
    pub fn prefetch_entry(&self, hashed: Hashed) -> Option<Handle> {
        let (_, handle) = self.index.find(hashed, |_| true)?;
        self.prefetch_slot(handle, PREFETCH_BYTES);
        Some(handle)
    }

    /// Brings what leads to the key's part of the index into the cache.
    #[inline]
    pub(super) fn prefetch_way(&self, hashed: Hashed) {
        self.index.prefetch_table(hashed);
    }

    /// Brings the first bytes of an entry into the cache.
    #[inline]
    pub(super) fn prefetch_slot(&self, handle: Handle, bytes: usize) {
        let slot = self.arena.slot(handle);
        prefetch::bring(&slot[..slot.len().min(bytes)]);
    }

    /// The key's entry; one that is due is removed first.
    #[inline]
    pub fn find(&mut self, key: &Key<'_>, now_ms: u64) -> Option<Found> {
        let found = self.peek(key)?;
        match entry::due_ms(self.arena.slot(found.handle)) {
            Some(due_ms) if due_ms <= now_ms => {
                self.count_expired(key.hashed);
                self.remove(key.hashed, found);
                None
            }
            _ => Some(found),
        }
    }

    /// Counts an entry that is removed because it is due; in a hidden slot its owner counts it.
    pub(super) fn count_expired(&mut self, hashed: Hashed) {
        self.removals.expired += u64::from(!self.is_hidden(hashed.slot));
        self.because(Told::Expired);
    }

    /// Notes an access to an entry: frequency and access clock.
    #[inline]
    pub fn touch(&mut self, found: Found, now_ms: u64) {
        entry::touch(self.arena.slot_mut(found.handle), access_clock(now_ms));
    }

    /// The string that an entry holds; empty if it holds another type.
    #[inline]
    pub fn string(&self, found: Found) -> &[u8] {
        let slot = self.arena.slot(found.handle);
        match entry::kind(slot) {
            Kind::Inline => entry::payload(slot),
            Kind::Object | Kind::Packed => self.shared_of(slot).map_or(&[], |bytes| bytes.as_ref()),
        }
    }

    /// The string that an entry holds if it is one of its own: to be shared without copying.
    #[inline]
    pub fn shared_string(&self, found: Found) -> Option<&Bytes> {
        let slot = self.arena.slot(found.handle);
        self.shared_of(slot)
    }

    fn shared_of(&self, slot: &[u8]) -> Option<&Bytes> {
        if entry::kind(slot) != Kind::Object {
            return None;
        }
        match &self.objects.get(entry::object(slot))?.value {
            Value::Str(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The object that an entry's value is in, if it is in one.
    pub(super) fn object_of(&self, slot: &[u8]) -> Option<&Object> {
        (entry::kind(slot) == Kind::Object).then(|| self.objects.get(entry::object(slot))).flatten()
    }

    /// Whether the string was edited in place (OBJECT ENCODING "raw").
    pub fn is_raw(&self, found: Found) -> bool {
        entry::is_raw(self.arena.slot(found.handle))
    }

    /// When an entry is due, in Unix ms.
    #[inline]
    pub fn due_ms(&self, found: Found) -> Option<u64> {
        self.due_at(found.handle)
    }

    #[inline]
    pub(super) fn due_at(&self, handle: Handle) -> Option<u64> {
        entry::due_ms(self.arena.slot(handle))
    }

    /// Seconds since the last access, as far as a clock of 16 bits can tell (it wraps after 18 hours).
    pub fn idle_seconds(&self, found: Found, now_ms: u64) -> u64 {
        u64::from(access_clock(now_ms).wrapping_sub(entry::access_clock(self.arena.slot(found.handle))))
    }

    /// Hits since the entry was last weighed, 0 to 3.
    pub fn frequency(&self, found: Found) -> u8 {
        entry::frequency(self.arena.slot(found.handle))
    }

    /// Bytes that the entry takes: slot, object, index and due-time shares.
    pub fn entry_bytes(&self, found: Found) -> usize {
        let due = if self.due_ms(found).is_some() { size_of::<Handle>() } else { 0 };
        self.footprint(found.handle) + 6 + due
    }

    /// Stores a string under a key. `found` is the key's present entry, from [`Db::find`] in this same call.
    pub fn set_string(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        new: NewString<'_>,
        due: Due,
        now_ms: u64,
    ) -> Result<(), Full> {
        let due_ms = self.due_after(found, due);
        let inline = key.bytes.len() <= INLINE_KEY_MAX
            && entry::entry_bytes(key.bytes.len(), due_ms, new.bytes.len()) <= SLOT_BYTES_MAX;
        if inline {
            let content =
                Content { kind: Kind::Inline, key: key.bytes, due_ms, payload: new.bytes, raw: new.raw };
            return self.put(key, found, content, now_ms);
        }
        self.set_object(key, found, Value::Str(Bytes::copy_from_slice(new.bytes)), due_ms, new.raw, now_ms)
    }

    /// Makes the key's string longer or overwrites a part of it: `edit` gets the present bytes (empty without an entry)
    /// in a buffer that may grow. The due time stays. Long strings are edited in place where nobody else shares them.
    pub fn edit_string(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        now_ms: u64,
        edit: impl FnOnce(&mut dyn StringBuffer),
    ) -> Result<usize, Full> {
        if let Some(found) = found
            && let Kind::Object = entry::kind(self.arena.slot(found.handle))
        {
            return self.edit_object(key, found, now_ms, edit);
        }
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.clear();
        if let Some(found) = found {
            buffer.extend_from_slice(self.string(found));
        }
        edit(&mut buffer);
        let length = buffer.len();
        if length > SLOT_BYTES_MAX {
            // Too long for an entry, whatever the key: the buffer itself becomes the value.
            let due_ms = self.due_after(found, Due::Keep);
            let value = Value::Str(Bytes::from(buffer.into_boxed_slice()));
            return self.set_object(key, found, value, due_ms, true, now_ms).map(|()| length);
        }
        let result = self.set_string(key, found, NewString { bytes: &buffer, raw: true }, Due::Keep, now_ms);
        if buffer.capacity() <= SLOT_BYTES_MAX * 2 {
            self.scratch = buffer;
        }
        result.map(|()| length)
    }

    fn edit_object(
        &mut self,
        key: &Key<'_>,
        found: Found,
        now_ms: u64,
        edit: impl FnOnce(&mut dyn StringBuffer),
    ) -> Result<usize, Full> {
        self.changed = true;
        let number = entry::object(self.arena.slot(found.handle));
        let before = self.footprint(found.handle);
        let Some(object) = self.objects.remove(number) else { return Err(Full) };
        let Value::Str(bytes) = object.value else {
            self.objects.insert(object);
            return Err(Full);
        };
        let mut buffer = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        edit(&mut buffer);
        let length = buffer.len();
        let spare_bytes = buffer.capacity() - length;
        let value = Value::Str(buffer.freeze());
        let new_number = self.objects.insert(Object { key: object.key, value, spare_bytes });
        debug_assert_eq!(number, new_number);
        let raw = Content {
            kind: Kind::Object,
            key: if key.bytes.len() <= INLINE_KEY_MAX { key.bytes } else { &[] },
            due_ms: self.due_ms(found),
            payload: &new_number.to_le_bytes(),
            raw: true,
        };
        entry::write(self.arena.slot_mut(found.handle), raw);
        entry::touch(self.arena.slot_mut(found.handle), access_clock(now_ms));
        let after = self.footprint(found.handle);
        self.queues.resized(&self.arena, found.handle, before, after);
        self.note(key.hashed.slot, key.bytes, State::Lasting, State::Lasting);
        Ok(length)
    }

    /// Overwrites bytes of the string without changing its length; false if they do not lie within it or it is shared.
    pub fn overwrite(&mut self, key: &Key<'_>, found: Found, value: &[u8], now_ms: u64) -> bool {
        let slot = self.arena.slot_mut(found.handle);
        if entry::kind(slot) != Kind::Inline || entry::payload(slot).len() != value.len() {
            return false;
        }
        entry::payload_mut(slot).copy_from_slice(value);
        entry::touch(slot, access_clock(now_ms));
        self.note(key.hashed.slot, key.bytes, State::Lasting, State::Lasting);
        true
    }

    /// Changes when an entry is due.
    pub fn set_due(&mut self, key: &Key<'_>, found: Found, due_ms: Option<u64>) -> Result<(), Full> {
        let slot = self.arena.slot(found.handle);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(entry::payload(slot));
        let (kind, raw) = (entry::kind(slot), entry::is_raw(slot));
        let stored_key = if key.bytes.len() <= INLINE_KEY_MAX { key.bytes } else { &[] };
        let content = Content { kind, key: stored_key, due_ms, payload: &scratch, raw };
        let result = if kind != Kind::Inline
            || entry::entry_bytes(stored_key.len(), due_ms, scratch.len()) <= SLOT_BYTES_MAX
        {
            self.place(key, Some(found), content, None)
        } else {
            let value = Value::Str(Bytes::copy_from_slice(&scratch));
            self.set_object(key, Some(found), value, due_ms, raw, 0)
        };
        self.scratch = scratch;
        result
    }

    /// Removes an entry.
    pub fn remove(&mut self, hashed: Hashed, found: Found) {
        let handle = found.handle;
        if let Some(due_ms) = entry::due_ms(self.arena.slot(handle)) {
            self.expiry.remove(due_ms, handle);
        }
        self.remove_unindexed(hashed, found, Pace::Single);
    }

    /// Removes an entry that is not in the expiry index any more.
    pub(super) fn remove_unindexed(&mut self, hashed: Hashed, found: Found, pace: Pace) {
        self.changed = true;
        let handle = found.handle;
        self.forget_fields(handle, self.fields_due(handle));
        if self.attention.is_some() {
            let before = State::of(self.due_ms(found));
            let key: Box<[u8]> = self.key_of(handle).into();
            self.note(hashed.slot, &key, before, State::Absent);
        }
        let bytes = self.footprint(handle);
        self.queues.remove(&mut self.arena, handle, bytes);
        self.index.remove(hashed, found.place, pace);
        let slot = self.arena.slot(handle);
        if entry::kind(slot) == Kind::Object {
            let object = self.objects.remove(entry::object(slot));
            self.garbage.extend(object);
        }
        self.arena.free(handle);
    }

    /// The key of an entry.
    #[inline]
    pub(super) fn key_of(&self, handle: Handle) -> &[u8] {
        let slot = self.arena.slot(handle);
        let key = entry::key(slot);
        if !key.is_empty() || entry::kind(slot) != Kind::Object {
            return key;
        }
        self.objects.get(entry::object(slot)).and_then(|object| object.key.as_deref()).unwrap_or(&[])
    }

    pub(super) fn hashed_of(&self, handle: Handle) -> Hashed {
        let key = self.key_of(handle);
        Hashed { slot: self.layout.slot_in_shard(slot_of(key)), hash: self.layout.hash(key) }
    }

    /// The index's entry for a handle.
    pub(super) fn found_at(&self, handle: Handle) -> Option<(Hashed, Found)> {
        let hashed = self.hashed_of(handle);
        let (place, handle) = self.index.find(hashed, |other| other == handle)?;
        Some((hashed, Found { handle, place }))
    }

    /// Bytes of its slot that the entry uses.
    pub(super) fn entry_length(&self, handle: Handle) -> usize {
        entry::length(self.arena.slot(handle))
    }

    /// Bytes of slot and object.
    pub(super) fn footprint(&self, handle: Handle) -> usize {
        footprint(&self.arena, &self.objects, handle)
    }

    /// Whether the policy may evict an entry with or without a due time.
    pub(super) fn is_evictable(&self, due_ms: Option<u64>) -> bool {
        !self.policy.is_volatile() || due_ms.is_some()
    }

    pub(super) fn due_after(&self, found: Option<Found>, due: Due) -> Option<u64> {
        match due {
            Due::Keep => found.and_then(|found| self.due_ms(found)),
            Due::Never => None,
            Due::At(due_ms) => Some(due_ms),
        }
    }

    pub(super) fn set_object(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        value: Value,
        due_ms: Option<u64>,
        raw: bool,
        now_ms: u64,
    ) -> Result<(), Full> {
        let (stored_key, own_key) = if key.bytes.len() <= INLINE_KEY_MAX {
            (key.bytes, None)
        } else {
            (&[][..], Some(key.bytes.into()))
        };
        self.changed = true;
        let number = self.objects.insert(Object { key: own_key, value, spare_bytes: 0 });
        let payload = number.to_le_bytes();
        let content = Content { kind: Kind::Object, key: stored_key, due_ms, payload: &payload, raw };
        let result = self.put(key, found, content, now_ms);
        if result.is_err() {
            self.objects.remove(number);
        }
        result
    }

    /// Stores an entry whose value is new: an access, a change, and the old value's object goes to the garbage.
    pub(super) fn put(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        content: Content<'_>,
        now_ms: u64,
    ) -> Result<(), Full> {
        let old_object = found.and_then(|found| {
            let slot = self.arena.slot(found.handle);
            (entry::kind(slot) == Kind::Object).then(|| entry::object(slot))
        });
        self.place(key, found, content, Some(access_clock(now_ms)))?;
        if let Some(number) = old_object {
            self.changed = true;
            let object = self.objects.remove(number);
            self.garbage.extend(object);
        }
        Ok(())
    }

    /// Writes an entry's bytes into its slot, or into a new one if the size class changes, and brings index, queues and
    /// expiry along.
    fn place(
        &mut self,
        key: &Key<'_>,
        found: Option<Found>,
        content: Content<'_>,
        access_clock: Option<u16>,
    ) -> Result<(), Full> {
        let length = entry::entry_bytes(content.key.len(), content.due_ms, content.payload.len());
        let Some(found) = found else {
            self.changed = true;
            let handle = self.arena.allocate(length)?;
            let slot = self.arena.slot_mut(handle);
            entry::reset(slot, access_clock.unwrap_or(0));
            entry::write(slot, content);
            self.link_new(key, handle, content.due_ms)?;
            self.reschedule_fields(handle, None, handle);
            self.note(key.hashed.slot, key.bytes, State::Absent, State::of(content.due_ms));
            return Ok(());
        };
        let old = found.handle;
        let old_slot = self.arena.slot(old);
        let (old_due_ms, old_fields_ms) = (entry::due_ms(old_slot), self.fields_due(old));
        let bytes_before = self.footprint(old);
        let new = if suits(old_slot.len(), length) { old } else { self.arena.allocate(length)? };
        if new != old {
            let header = entry::header(self.arena.slot(old));
            entry::adopt(self.arena.slot_mut(new), &header);
            self.index.replace(key.hashed, found.place, new);
            self.arena.free(old);
        }
        let slot = self.arena.slot_mut(new);
        entry::write(slot, content);
        if let Some(clock) = access_clock {
            entry::touch(slot, clock);
        }
        if (old, old_due_ms) != (new, content.due_ms) {
            self.changed = true;
            self.reschedule(old, old_due_ms, new, content.due_ms);
        }
        self.reschedule_fields(old, old_fields_ms, new);
        let bytes = self.footprint(new);
        if new != old {
            self.queues.relocated(&self.arena, new, bytes_before, bytes);
        } else if bytes != bytes_before {
            self.queues.resized(&self.arena, new, bytes_before, bytes);
        }
        if new != old || old_due_ms.is_some() != content.due_ms.is_some() {
            self.requeue(new, bytes);
        }
        self.note(key.hashed.slot, key.bytes, State::of(old_due_ms), State::of(content.due_ms));
        Ok(())
    }

    /// Moves an entry in the expiry index.
    fn reschedule(&mut self, old: Handle, old_due_ms: Option<u64>, new: Handle, due_ms: Option<u64>) {
        if let Some(due_ms) = old_due_ms {
            self.expiry.remove(due_ms, old);
        }
        if let Some(due_ms) = due_ms {
            let arena = &self.arena;
            self.expiry.insert(due_ms, new, |handle| entry::due_ms(arena.slot(handle)).unwrap_or(0));
        }
    }

    fn link_new(&mut self, key: &Key<'_>, handle: Handle, due_ms: Option<u64>) -> Result<(), Full> {
        let Self { index, arena, objects, layout, .. } = self;
        let hash_of = |handle| layout.hash(key_in(arena, objects, handle));
        index.insert(key.hashed, handle, hash_of).inspect_err(|_| arena.free(handle))?;
        if let Some(due_ms) = due_ms {
            self.expiry.insert(due_ms, handle, |handle| entry::due_ms(arena.slot(handle)).unwrap_or(0));
        }
        if self.is_evictable(due_ms) {
            let bytes = self.footprint(handle);
            self.queues.admit(&mut self.arena, handle, key.hashed.hash, bytes);
        }
        Ok(())
    }

    /// Under a volatile policy an entry enters the queues with its due time and leaves them with it.
    pub(super) fn requeue(&mut self, handle: Handle, bytes: usize) {
        let slot = self.arena.slot(handle);
        let evictable = self.is_evictable(entry::due_ms(slot));
        match (evictable, entry::queue(slot)) {
            (true, Queue::None) => self.queues.push(&mut self.arena, Queue::Small, handle, bytes),
            (false, Queue::Small | Queue::Main) => self.queues.remove(&mut self.arena, handle, bytes),
            _ => return,
        }
        self.changed = true;
    }

    /// Checks every invariant; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        self.arena.validate(self.compaction.retired());
        self.index.validate(|handle| self.hashed_of(handle).hash);
        self.expiry.validate(|handle| entry::due_ms(self.arena.slot(handle)).unwrap());
        let queued = self.queues.validate(&self.arena, |_, handle| self.footprint(handle));
        assert_eq!(self.index.entries(), self.arena.live_count());
        let used = (0..self.arena.block_count()).flat_map(|block| self.arena.used_slots(block, 0));
        self.validate_fields(used);
        let (mut with_due, mut evictable, mut objects) = (0, 0, 0);
        for block in 0..self.arena.block_count() {
            for handle in self.arena.used_slots(block, 0) {
                assert!(self.found_at(handle).is_some(), "an entry is not in the index");
                let slot = self.arena.slot(handle);
                with_due += usize::from(entry::due_ms(slot).is_some());
                evictable += usize::from(self.is_evictable(entry::due_ms(slot)));
                objects += usize::from(entry::kind(slot) == Kind::Object);
            }
        }
        self.objects.validate(objects);
        self.validate_attention();
        assert_eq!(with_due, self.expiry.entries());
        assert!(self.rebuild.is_some() || evictable == queued, "{evictable} evictable, {queued} queued");
    }
}

/// A string being edited: either kind of buffer that a value may live in.
pub trait StringBuffer {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]);
    /// Writes `bytes` at `offset`, with zero bytes before it where the string was shorter.
    fn write_at(&mut self, offset: usize, bytes: &[u8]);
}

impl StringBuffer for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.len() < end {
            self.resize(end, 0);
        }
        self[offset..end].copy_from_slice(bytes);
    }
}

impl StringBuffer for BytesMut {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.len() < end {
            self.resize(end, 0);
        }
        self[offset..end].copy_from_slice(bytes);
    }
}

/// Seconds, wrapping: what the header's access clock holds.
pub(super) fn access_clock(now_ms: u64) -> u16 {
    (now_ms / 1000) as u16
}

/// Bytes of an entry's slot and object.
pub(super) fn footprint(arena: &Arena, objects: &Objects, handle: Handle) -> usize {
    let slot = arena.slot(handle);
    match entry::kind(slot) {
        Kind::Inline | Kind::Packed => slot.len(),
        Kind::Object => slot.len() + objects.get(entry::object(slot)).map_or(0, Object::heap_bytes),
    }
}

fn key_in<'a>(arena: &'a Arena, objects: &'a Objects, handle: Handle) -> &'a [u8] {
    let slot = arena.slot(handle);
    let key = entry::key(slot);
    if !key.is_empty() || entry::kind(slot) != Kind::Object {
        return key;
    }
    objects.get(entry::object(slot)).and_then(|object| object.key.as_deref()).unwrap_or(&[])
}
