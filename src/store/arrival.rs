//! Slots that arrive from another node, on the side that is to hold them: hidden until they are owned, filled by the
//! records of [`super::carry`], of which later ones win.
//!
//! It is told only what the other side sent, in its order, and never writes outside its own hidden slots, whatever the
//! records say. Room is made before a shard is locked, as for a client's write; one call applies [`RECORDS_A_STEP`]
//! records at most, under one hold of one shard's lock. The parts of one entry, and those of one large collection, are
//! put together at a time, outside every lock.

use super::arena::Full;
use super::carry::{Body, Malformed, Record, Traits};
use super::db::{Db, Due, NewString};
use super::departure::{CLEARED_A_STEP, MOVING_DB};
use super::entry::{self, Queue};
use super::key::Key;
use super::keyspace::{Keyspace, OutOfMemory};
use super::value::{Thresholds, Value, rdb};
use crate::base::slot::Slot;

/// Records that one call applies at most.
pub const RECORDS_A_STEP: usize = 128;
/// Bytes after which one call takes in no further record.
const BYTES_A_STEP: usize = 64 * 1024;
/// What an entry takes beside key and value, about.
const ENTRY_COST_BYTES: usize = 48;

/// Why records were not applied; what was applied before stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalError {
    /// They are no records.
    Malformed(Malformed),
    /// A part does not follow the first part of its entry, or is longer than what is left of it, or the entry is not of
    /// the slot that its first part named.
    Torn,
    /// A record is of a slot that is not arriving here.
    Foreign(Slot),
    /// There is no room and nothing may be evicted.
    OutOfMemory,
}

impl From<Malformed> for ArrivalError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<OutOfMemory> for ArrivalError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<Full> for ArrivalError {
    fn from(_: Full) -> Self {
        Self::OutOfMemory
    }
}

/// Slots on their way in. It must be ended by [`Arrival::complete`] or by [`Arrival::clear_step`] until that says so.
#[derive(Debug)]
pub struct Arrival {
    /// Ascending.
    slots: Vec<Slot>,
    /// By shard: how often it was disturbed when the slots were hidden.
    disturbances: Vec<(usize, u64)>,
    assembly: Option<Assembly>,
    growing: Option<Growing>,
    entries: u64,
}

/// A large collection that comes in parts.
#[derive(Debug)]
struct Growing {
    key: Box<[u8]>,
    value: Value,
}

/// An entry that comes in parts.
#[derive(Debug)]
struct Assembly {
    traits: Traits,
    slot: Slot,
    due_ms: Option<u64>,
    key: Vec<u8>,
    key_bytes: usize,
    value: Vec<u8>,
    value_bytes: usize,
}

impl Assembly {
    /// Room for all of an entry at once, or none.
    fn new(
        traits: Traits,
        slot: Slot,
        [key_bytes, value_bytes]: [usize; 2],
        now_ms: u64,
    ) -> Result<Self, OutOfMemory> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let reserved = key.try_reserve_exact(key_bytes).and_then(|()| value.try_reserve_exact(value_bytes));
        reserved.map_err(|_| OutOfMemory)?;
        let due_ms = traits.ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
        Ok(Self { traits, slot, due_ms, key, key_bytes, value, value_bytes })
    }

    /// Appends a part; false if it is longer than what is missing.
    fn append(&mut self, part: &[u8]) -> bool {
        let (of_key, of_value) = part.split_at(part.len().min(self.key_bytes - self.key.len()));
        if of_value.len() > self.value_bytes - self.value.len() {
            return false;
        }
        self.key.extend_from_slice(of_key);
        self.value.extend_from_slice(of_value);
        true
    }

    fn is_complete(&self) -> bool {
        self.key.len() == self.key_bytes && self.value.len() == self.value_bytes
    }
}

/// An arriving value: its bytes, or what was made of them before any lock was taken.
enum Arriving<'a> {
    Copied(&'a [u8]),
    Made(Value),
}

impl Arrival {
    /// Hides slots, which must be empty and not hidden.
    ///
    /// # Errors
    /// The first slot that is not; none is hidden then.
    pub fn begin(keyspace: &Keyspace, slots: &[Slot]) -> Result<Self, Slot> {
        let layout = keyspace.layout();
        let mut arrival =
            Self { slots: Vec::new(), disturbances: Vec::new(), assembly: None, growing: None, entries: 0 };
        let mut slots = slots.to_vec();
        slots.sort_unstable();
        for slot in slots {
            let (shard, number) = (layout.shard_of(slot), layout.slot_in_shard(slot));
            let mut guard = keyspace.lock(shard);
            let db = guard.db(MOVING_DB);
            if db.is_hidden(number) || db.slot_entries(number) > 0 {
                drop(guard);
                arrival.complete(keyspace);
                return Err(slot);
            }
            db.hide_slot(number);
            if arrival.disturbances.iter().all(|&(other, _)| other != shard) {
                arrival.disturbances.push((shard, db.disturbances()));
            }
            arrival.slots.push(slot);
        }
        Ok(arrival)
    }

    /// Applies the first of `records`; gives the bytes that are done with. To be called with the rest until there is
    /// none; 0 means that the first record takes another call.
    pub fn apply(&mut self, keyspace: &Keyspace, records: &[u8], now_ms: u64) -> Result<usize, ArrivalError> {
        let (record, length) = Record::decode(records)?;
        let unfinished = self.assembly.take();
        match record {
            Record::Entry { traits: traits @ Traits { body: Body::PartOf { .. }, .. }, key, value } => {
                let due_ms = traits.ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
                self.grow(keyspace, &keyspace.layout().key(key), traits, value, due_ms, now_ms)?;
                Ok(length)
            }
            Record::Entry { .. } | Record::Absent { .. } => {
                self.growing = None;
                self.apply_run(keyspace, records, now_ms)
            }
            Record::Clear { slot } => {
                self.growing = None;
                self.expect(keyspace, slot)?;
                Ok(if keyspace.clear_slot(slot, CLEARED_A_STEP) { length } else { 0 })
            }
            Record::First { traits, slot, key_bytes, value_bytes, part } => {
                self.expect(keyspace, slot)?;
                if !matches!(traits.body, Body::PartOf { .. }) {
                    self.growing = None;
                }
                keyspace
                    .make_room(keyspace.layout().shard_of(slot), key_bytes.saturating_add(value_bytes))?;
                let assembly = Assembly::new(traits, slot, [key_bytes, value_bytes], now_ms)?;
                self.append(keyspace, assembly, part, now_ms)?;
                Ok(length)
            }
            Record::Part { part } => {
                self.append(keyspace, unfinished.ok_or(ArrivalError::Torn)?, part, now_ms)?;
                Ok(length)
            }
        }
    }

    fn expect(&self, keyspace: &Keyspace, slot: Slot) -> Result<(), ArrivalError> {
        let number = keyspace.layout().slot_in_shard(slot);
        let mut shard = keyspace.lock(keyspace.layout().shard_of(slot));
        let hidden = shard.db_if_any(MOVING_DB).is_some_and(|db| db.is_hidden(number));
        if hidden { self.expect_own(slot) } else { Err(ArrivalError::Foreign(slot)) }
    }

    fn expect_own(&self, slot: Slot) -> Result<(), ArrivalError> {
        self.slots.binary_search(&slot).map_err(|_| ArrivalError::Foreign(slot))?;
        Ok(())
    }

    /// Appends a part; the entry is put in place once it is whole.
    fn append(
        &mut self,
        keyspace: &Keyspace,
        mut assembly: Assembly,
        part: &[u8],
        now_ms: u64,
    ) -> Result<(), ArrivalError> {
        if !assembly.append(part) {
            return Err(ArrivalError::Torn);
        }
        if !assembly.is_complete() {
            self.assembly = Some(assembly);
            return Ok(());
        }
        let Assembly { traits, slot, due_ms, key, value, .. } = assembly;
        let key = keyspace.layout().key(&key);
        if key.slot != slot {
            return Err(ArrivalError::Torn);
        }
        if matches!(traits.body, Body::PartOf { .. }) {
            return self.grow(keyspace, &key, traits, &value, due_ms, now_ms);
        }
        keyspace.make_room(key.shard, key.bytes.len() + value.len() + ENTRY_COST_BYTES)?;
        // Making a value of a million members takes a third of a second: nobody else is to wait for it.
        let value = make(traits.body, value)?;
        let mut shard = keyspace.lock(key.shard);
        self.entries += 1;
        shard.db(MOVING_DB).receive(&key, Some((traits, Arriving::Made(value))), due_ms, now_ms)
    }

    /// Puts the elements of a part to those that came before; the collection is put in place once it is whole.
    fn grow(
        &mut self,
        keyspace: &Keyspace,
        key: &Key<'_>,
        traits: Traits,
        part: &[u8],
        due_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<(), ArrivalError> {
        self.expect_own(key.slot)?;
        let Body::PartOf { is_first, is_last } = traits.body else { return Err(ArrivalError::Torn) };
        let earlier = self.growing.take().filter(|growing| !is_first && *growing.key == *key.bytes);
        let value = match earlier {
            None if is_first => Value::restore(part).ok_or(Malformed::Unknown)?,
            None => return Err(ArrivalError::Torn),
            Some(Growing { mut value, .. }) => {
                if !rdb::join(&mut value, part, &Thresholds::default()) {
                    return Err(Malformed::Unknown.into());
                }
                value
            }
        };
        // What has come so far is counted nowhere else.
        keyspace.make_room(key.shard, key.bytes.len() + value.heap_bytes() + ENTRY_COST_BYTES)?;
        if !is_last {
            self.growing = Some(Growing { key: key.bytes.into(), value });
            return Ok(());
        }
        let mut shard = keyspace.lock(key.shard);
        self.entries += 1;
        shard.db(MOVING_DB).receive(key, Some((traits, Arriving::Made(value))), due_ms, now_ms)
    }

    /// Applies entries and absences from the start of `records`, as many as are of one shard and within the bounds.
    fn apply_run(&mut self, keyspace: &Keyspace, records: &[u8], now_ms: u64) -> Result<usize, ArrivalError> {
        let mut run = Vec::with_capacity(RECORDS_A_STEP);
        let (mut done, mut wanted) = (0, 0);
        let mut shard = None;
        while run.len() < RECORDS_A_STEP && wanted < BYTES_A_STEP && done < records.len() {
            let (key, entry, length) = match Record::decode(&records[done..]) {
                Ok((Record::Entry { traits, key, value }, length))
                    if !matches!(traits.body, Body::PartOf { .. }) =>
                {
                    (key, Some((traits, value)), length)
                }
                Ok((Record::Absent { key }, length)) => (key, None, length),
                // The next call comes to it first.
                Ok(_) | Err(_) => break,
            };
            let key = keyspace.layout().key(key);
            if *shard.get_or_insert(key.shard) != key.shard {
                break;
            }
            self.expect_own(key.slot)?;
            wanted += entry.map_or(0, |(_, value)| key.bytes.len() + value.len() + ENTRY_COST_BYTES);
            run.push((key, entry));
            done += length;
        }
        let Some(shard) = shard else { return Ok(done) };
        keyspace.make_room(shard, wanted)?;
        let mut guard = keyspace.lock(shard);
        let db = guard.db(MOVING_DB);
        for (key, entry) in run {
            self.entries += u64::from(entry.is_some());
            let due_ms =
                entry.and_then(|(traits, _)| traits.ttl_ms).map(|ttl_ms| now_ms.saturating_add(ttl_ms));
            let arriving = entry.map(|(traits, value)| (traits, Arriving::Copied(value)));
            db.receive(&key, arriving, due_ms, now_ms)?;
        }
        Ok(done)
    }

    /// Whether entries that had arrived were taken away by a flush here: then the move must begin again.
    pub fn is_disturbed(&self, keyspace: &Keyspace) -> bool {
        let now = |shard| keyspace.lock(shard).db_if_any(MOVING_DB).map_or(0, |db| db.disturbances());
        self.disturbances.iter().any(|&(shard, before)| now(shard) != before)
    }

    /// Entries that arrived; one that was sent twice counts twice.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Shows the slots: they are owned now.
    pub fn complete(self, keyspace: &Keyspace) {
        self.slots.into_iter().for_each(|slot| keyspace.show_slot(slot));
    }

    /// Gives the move up: empties the slots step by step and shows those that are empty; true once all are.
    pub fn clear_step(&mut self, keyspace: &Keyspace) -> bool {
        (self.assembly, self.growing) = (None, None);
        if let Some(&slot) = self.slots.last()
            && keyspace.clear_slot(slot, CLEARED_A_STEP)
        {
            keyspace.show_slot(slot);
            self.slots.pop();
        }
        self.slots.is_empty()
    }
}

impl Db {
    /// Puts what arrived in the place of what is there, or takes it away; only in hidden slots.
    fn receive(
        &mut self,
        key: &Key<'_>,
        arriving: Option<(Traits, Arriving<'_>)>,
        due_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<(), ArrivalError> {
        if !self.is_hidden(key.hashed.slot) {
            return Err(ArrivalError::Foreign(key.slot));
        }
        let found = self.peek(key);
        let live = arriving.filter(|_| due_ms.is_none_or(|due_ms| due_ms > now_ms));
        let Some((traits, value)) = live else {
            if let Some(found) = found {
                self.remove(key.hashed, found);
            }
            return Ok(());
        };
        match (traits.body, value) {
            (Body::String, Arriving::Copied(bytes)) => {
                let due = due_ms.map_or(Due::Never, Due::At);
                self.set_string(key, found, NewString { bytes, raw: traits.raw }, due, now_ms)?;
            }
            (body, Arriving::Copied(bytes)) => {
                self.store_value(key, found, checked(body, bytes)?, due_ms, now_ms)?
            }
            (_, Arriving::Made(value @ Value::Str(_))) => {
                self.set_object(key, found, value, due_ms, traits.raw, now_ms)?;
            }
            (_, Arriving::Made(value)) => self.store_value(key, found, value, due_ms, now_ms)?,
        }
        self.weigh(key, traits, now_ms);
        Ok(())
    }

    /// Gives an entry the frequency, the last access and the queue that it had at the other node.
    fn weigh(&mut self, key: &Key<'_>, traits: Traits, now_ms: u64) {
        let Some(found) = self.peek(key) else { return };
        let accessed_ms = now_ms.saturating_sub(u64::from(traits.idle_seconds) * 1000);
        let slot = self.arena.slot_mut(found.handle);
        entry::touch(slot, super::db::access_clock(accessed_ms));
        entry::set_frequency(slot, traits.frequency);
        if traits.queue == Queue::Main && entry::queue(slot) == Queue::Small {
            self.changed = true;
            let bytes = self.footprint(found.handle);
            self.queues.remove(&mut self.arena, found.handle, bytes);
            self.queues.push(&mut self.arena, Queue::Main, found.handle, bytes);
        }
    }
}

/// What the bytes of a body stand for; a string takes them over.
fn make(body: Body, bytes: Vec<u8>) -> Result<Value, ArrivalError> {
    if body == Body::String { Ok(Value::Str(bytes.into())) } else { checked(body, &bytes) }
}

/// A value of another type than string, if its bytes prove to be one.
fn checked(body: Body, bytes: &[u8]) -> Result<Value, ArrivalError> {
    let value = match body {
        Body::Packed(form) => Value::checked(form, bytes),
        Body::String | Body::Dumped => Value::restore(bytes),
        // Not reached: parts are put together before.
        Body::PartOf { .. } => None,
    };
    value.ok_or(ArrivalError::Malformed(Malformed::Unknown))
}
