//! Slots that leave for another node, on the side that holds them: walking their entries while clients go on writing,
//! sending again what changed meanwhile, and emptying the slots once they belong to somebody else.
//!
//! All of it happens in database 0, in steps under one shard's lock of at most [`ENTRIES_A_STEP`] entries and about
//! [`BYTES_A_STEP`] bytes. Values outside their entries are shared, not copied, under the lock; a client that edits one
//! before it was sent copies it. Neither walk nor feed counts as an access.
//!
//! A large collection is sent part by part (`Growing`), one part under each hold of the lock. If it changes before the
//! last part was taken, the rest is left out: what is no longer one state of it is of no use, and the feed has its name.
//!
//! Records come out of an [`Export`] in the order in which they were taken in, and the other side lets the later ones
//! win. Feeds are open before the walk begins, so whatever changes is sent after what it was before. Nothing is lost
//! when records are sent twice; if they do not arrive at all, the move begins again.

use std::collections::VecDeque;

use bytes::Bytes;

use super::arena::Handle;
use super::carry::{Body, PART_BYTES, Record, Traits};
use super::db::{Db, access_clock};
use super::entry::{self, Kind};
use super::feed::FeedId;
use super::index::Position;
use super::key::Key;
use super::keyspace::Keyspace;
use super::prefetch;
use super::typed::packed;
use super::value::{Value, rdb};
use crate::base::slot::Slot;

/// The database whose slots move: a cluster has no other.
pub const MOVING_DB: usize = 0;
/// Entries that one step of a walk takes in, about; and bytes, about.
pub const ENTRIES_A_STEP: usize = 256;
/// See [`ENTRIES_A_STEP`].
pub const BYTES_A_STEP: usize = 256 * 1024;
/// Entries that are found at once, so that their bytes come into the cache together.
const ENTRIES_A_SCAN: usize = 32;
/// Changed keys that one step looks up.
const CHANGES_A_STEP: usize = 128;
/// Entries that one step of emptying a slot removes at most.
pub const CLEARED_A_STEP: usize = 512;
/// Bytes of an entry that are brought into the cache ahead.
const PREFETCH_BYTES: usize = 256;

/// Records on their way out, in order.
#[derive(Debug, Default)]
pub struct Export {
    pieces: VecDeque<Piece>,
    /// A buffer to be used again.
    spare: Vec<u8>,
    entries: u64,
    /// Keys of large collections that were met and are still to be sent.
    large: VecDeque<Box<[u8]>>,
}

/// A large collection that is being sent in parts. Nothing is taken out of any feed meanwhile, so that its own tells
/// whether it has changed.
#[derive(Debug)]
struct Growing {
    key: Box<[u8]>,
    /// Where the next part begins; nothing if there was none yet.
    from: Option<rdb::Start>,
}

#[derive(Debug)]
enum Piece {
    Records(Vec<u8>),
    Shared(Shared),
}

/// An entry whose value is shared with the store.
#[derive(Debug)]
struct Shared {
    traits: Traits,
    slot: Slot,
    key: Box<[u8]>,
    value: Bytes,
    /// Bytes of key and value that went out.
    sent: usize,
}

impl Shared {
    /// Appends the next record of the entry; true once that was the last.
    fn encode_into(&mut self, out: &mut Vec<u8>) -> bool {
        let Self { traits, slot, key, value, sent } = self;
        let total = key.len() + value.len();
        if total <= PART_BYTES {
            Record::Entry { traits: *traits, key, value }.encode_into(out);
            return true;
        }
        // A part that holds the end of the key and the start of the value is put together, the others are slices.
        let end = total.min(*sent + PART_BYTES);
        let joined;
        let part = if *sent >= key.len() {
            &value[*sent - key.len()..end - key.len()]
        } else if end <= key.len() {
            &key[*sent..end]
        } else {
            joined = [&key[*sent..], &value[..end - key.len()]].concat();
            &joined[..]
        };
        let record = if *sent == 0 {
            let (key_bytes, value_bytes) = (key.len(), value.len());
            Record::First { traits: *traits, slot: *slot, key_bytes, value_bytes, part }
        } else {
            Record::Part { part }
        };
        record.encode_into(out);
        *sent = end;
        end == total
    }
}

impl Export {
    /// Whether there is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Entries taken in since it was made; one that was taken in twice counts twice.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Appends whole records to `out` until it holds about `bytes` (more by one step's bytes at most), or there are no
    /// more; says whether there are. Large values are copied here, outside every lock.
    pub fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        while out.len() < bytes {
            match self.pieces.front_mut() {
                None => return false,
                Some(Piece::Records(records)) => {
                    if out.is_empty() {
                        std::mem::swap(out, records);
                    } else {
                        out.extend_from_slice(records);
                        records.clear();
                    }
                    self.spare = std::mem::take(records);
                    self.pieces.pop_front();
                }
                Some(Piece::Shared(shared)) => {
                    if shared.encode_into(out) {
                        self.pieces.pop_front();
                    }
                }
            }
        }
        !self.pieces.is_empty()
    }

    fn records(&mut self) -> &mut Vec<u8> {
        if !matches!(self.pieces.back(), Some(Piece::Records(_))) {
            self.pieces.push_back(Piece::Records(std::mem::take(&mut self.spare)));
        }
        match self.pieces.back_mut() {
            Some(Piece::Records(records)) => records,
            // Not reached: such a piece was just put there.
            _ => &mut self.spare,
        }
    }
}

impl Db {
    /// Takes in about [`ENTRIES_A_STEP`] entries of a slot from `from` on, those that are due left out; says where to go
    /// on, or nothing at the slot's end.
    fn export_step(
        &mut self,
        slot: Slot,
        mut from: Position,
        now_ms: u64,
        out: &mut Export,
    ) -> Option<Position> {
        let number = self.layout.slot_in_shard(slot);
        let mut handles = std::mem::take(&mut self.handles);
        let (mut entries, mut bytes) = (0, 0);
        let next = loop {
            handles.clear();
            let next = self.index.scan(number, from, ENTRIES_A_SCAN, &mut handles);
            for &handle in &handles {
                let slot = self.arena.slot(handle);
                prefetch::bring(&slot[..slot.len().min(PREFETCH_BYTES)]);
            }
            bytes += handles.iter().map(|&handle| self.export(slot, handle, now_ms, out)).sum::<usize>();
            entries += handles.len();
            match next {
                Some(position) if entries < ENTRIES_A_STEP && bytes < BYTES_A_STEP => from = position,
                next => break next,
            }
        };
        self.handles = handles;
        next
    }

    /// Takes in one entry unless it is due; gives the bytes of its value, or 0 if it was due.
    fn export(&self, slot: Slot, handle: Handle, now_ms: u64, out: &mut Export) -> usize {
        let bytes = self.arena.slot(handle);
        let Some(traits) = traits(bytes, now_ms) else { return 0 };
        let key = self.key_of(handle);
        out.entries += 1;
        let value = match entry::kind(bytes) {
            Kind::Inline => {
                let value = entry::payload(bytes);
                Record::Entry { traits, key, value }.encode_into(out.records());
                return value.len();
            }
            Kind::Packed => {
                let (form, value) = packed(bytes);
                let traits = Traits { body: Body::Packed(form), ..traits };
                Record::Entry { traits, key, value }.encode_into(out.records());
                return value.len();
            }
            Kind::Object => self.object_of(bytes).map(|object| &object.value),
        };
        let Some(value) = value else { return 0 };
        if rdb::has_parts(value) {
            if !out.large.iter().any(|known| **known == *key) {
                out.large.push_back(key.into());
            }
            return key.len();
        }
        let (body, value) = match (value, value.packed()) {
            (Value::Str(value), _) => (Body::String, value.clone()),
            (_, Some((form, bytes))) => (Body::Packed(form), Bytes::copy_from_slice(bytes)),
            (value, None) => (Body::Dumped, value.dump().into()),
        };
        let (traits, bytes) = (Traits { body, ..traits }, value.len());
        out.pieces.push_back(Piece::Shared(Shared { traits, slot, key: key.into(), value, sent: 0 }));
        bytes
    }

    /// Takes in the next part of a large collection; says where to go on, or nothing after the last part. Whatever else
    /// the key is by now is taken in whole.
    fn export_part(
        &self,
        key: &Key<'_>,
        from: Option<rdb::Start>,
        now_ms: u64,
        out: &mut Export,
    ) -> Option<rdb::Start> {
        let found = self.find_keeping(key, now_ms);
        let bytes = found.map(|found| self.arena.slot(found.handle));
        let value = bytes.and_then(|bytes| Some((traits(bytes, now_ms)?, &self.object_of(bytes)?.value)));
        let Some((traits, value)) = value.filter(|(_, value)| rdb::has_parts(value)) else {
            self.export_key(key, now_ms, out);
            return None;
        };
        let mut part = Vec::new();
        let next = rdb::encode_part(value, from, &mut part);
        let body = Body::PartOf { is_first: from.is_none(), is_last: next.is_none() };
        let (traits, key_bytes) = (Traits { body, ..traits }, key.bytes.into());
        let shared = Shared { traits, slot: key.slot, key: key_bytes, value: part.into(), sent: 0 };
        out.pieces.push_back(Piece::Shared(shared));
        next
    }

    /// Takes in what a key is now: its entry, or that it is absent.
    fn export_key(&self, key: &Key<'_>, now_ms: u64, out: &mut Export) {
        match self.find_keeping(key, now_ms) {
            Some(found) => {
                self.export(key.slot, found.handle, now_ms, out);
            }
            None => Record::Absent { key: key.bytes }.encode_into(out.records()),
        }
    }

    /// Removes about `max` entries of a slot (its number within the shard); says whether it is empty now. Watched keys
    /// count as changed; nothing is counted as expired or evicted.
    pub fn clear_slot(&mut self, slot: u32, max: usize) -> bool {
        let mut handles = std::mem::take(&mut self.handles);
        handles.clear();
        self.index.scan(slot, Position::default(), max.max(1), &mut handles);
        for &handle in &handles {
            if let Some((hashed, found)) = self.found_at(handle) {
                self.remove(hashed, found);
            }
        }
        self.handles = handles;
        self.index.slot_len(slot) == 0
    }
}

/// What travels of an entry beside key and value; nothing if it is due.
fn traits(bytes: &[u8], now_ms: u64) -> Option<Traits> {
    let due_ms = entry::due_ms(bytes);
    if due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
        return None;
    }
    Some(Traits {
        body: Body::String,
        raw: entry::is_raw(bytes),
        ttl_ms: due_ms.map(|due_ms| due_ms - now_ms),
        queue: entry::queue(bytes),
        frequency: entry::frequency(bytes),
        idle_seconds: access_clock(now_ms).wrapping_sub(entry::access_clock(bytes)),
    })
}

/// Slots on their way out: an open feed in every shard they lie in, and what is still to be walked.
///
/// It must be ended by [`Departure::end`]: until then the shards note what changes.
#[derive(Debug)]
pub struct Departure {
    feeds: Vec<(usize, FeedId)>,
    walk: VecDeque<Slot>,
    position: Position,
    /// The feed to look at next.
    turn: usize,
    overruns: u64,
    growing: Option<Growing>,
    /// Keys of large collections whose turn comes.
    large: VecDeque<Box<[u8]>>,
}

impl Departure {
    /// Opens feeds on slots; nothing if one of them has a feed already, or a shard has as many feeds as it can.
    pub fn begin(keyspace: &Keyspace, slots: &[Slot]) -> Option<Self> {
        let layout = keyspace.layout();
        let walk = slots.iter().copied().collect();
        let mut departure = Self {
            feeds: Vec::new(),
            walk,
            position: Position::default(),
            turn: 0,
            overruns: 0,
            growing: None,
            large: VecDeque::new(),
        };
        for shard in 0..keyspace.shards() {
            let own = slots.iter().filter(|&&slot| layout.shard_of(slot) == shard);
            let numbers = own.map(|&slot| layout.slot_in_shard(slot));
            if numbers.clone().next().is_none() {
                continue;
            }
            match keyspace.lock(shard).db(MOVING_DB).open_feed(numbers) {
                Some(feed) => departure.feeds.push((shard, feed)),
                None => {
                    departure.end(keyspace);
                    return None;
                }
            }
        }
        Some(departure)
    }

    /// Takes in the next entries of the walk, or the next part of a large collection that was met; true while there is
    /// more to come.
    pub fn walk_step(&mut self, keyspace: &Keyspace, now_ms: u64, out: &mut Export) -> bool {
        if self.grow_step(keyspace, now_ms, out) {
            return self.is_walking();
        }
        let Some(&slot) = self.walk.front() else { return false };
        let mut shard = keyspace.lock(keyspace.layout().shard_of(slot));
        let next = shard.db_if_any(MOVING_DB).and_then(|db| db.export_step(slot, self.position, now_ms, out));
        self.position = next.unwrap_or_default();
        if next.is_none() {
            self.walk.pop_front();
        }
        self.large.append(&mut out.large);
        self.is_walking()
    }

    /// Takes in the next part of a large collection; false if there is none to be sent. One that has changed is left to
    /// its feed.
    fn grow_step(&mut self, keyspace: &Keyspace, now_ms: u64, out: &mut Export) -> bool {
        let next = || self.large.pop_front().map(|key| Growing { key, from: None });
        let Some(Growing { key: name, from }) = self.growing.take().or_else(next) else { return false };
        let key = keyspace.layout().key(&name);
        let feed = self.feeds.iter().find(|(shard, _)| *shard == key.shard).map(|(_, feed)| *feed);
        let mut shard = keyspace.lock(key.shard);
        let db = shard.db_if_any(MOVING_DB);
        let unchanged = db.filter(|db| feed.is_some_and(|feed| !db.feed_holds(feed, key.bytes)));
        if let Some(db) = unchanged {
            let next = db.export_part(&key, from, now_ms, out);
            self.growing = next.map(|from| Growing { key: name, from: Some(from) });
        }
        true
    }

    /// Takes in some of what changed since it was last asked, from one shard, or the next part of a large collection;
    /// false if nothing had changed in any. After
    /// an overrun or a flush that includes the emptying of the shard's slots; after an overrun they are walked again.
    pub fn change_step(&mut self, keyspace: &Keyspace, now_ms: u64, out: &mut Export) -> bool {
        if self.grow_step(keyspace, now_ms, out) {
            return true;
        }
        for _ in 0..self.feeds.len() {
            let (number, feed) = self.feeds[self.turn];
            self.turn = (self.turn + 1) % self.feeds.len();
            let mut shard = keyspace.lock(number);
            let Some(db) = shard.db_if_any(MOVING_DB).filter(|db| db.feed_len(feed) > 0) else { continue };
            let changes = db.take_changes(feed, CHANGES_A_STEP);
            if changes.flushed || changes.overrun {
                let layout = keyspace.layout();
                let slots = db.feed_slots(feed).filter_map(|slot| layout.slot_at(number, slot));
                for slot in slots {
                    Record::Clear { slot }.encode_into(out.records());
                    if changes.overrun {
                        self.walk_again(slot);
                    }
                }
                self.overruns += u64::from(changes.overrun);
            }
            for key in &changes.keys {
                db.export_key(&keyspace.layout().key(key), now_ms, out);
            }
            self.large.append(&mut out.large);
            return true;
        }
        false
    }

    fn walk_again(&mut self, slot: Slot) {
        if self.walk.front() == Some(&slot) {
            self.position = Position::default();
        } else if !self.walk.contains(&slot) {
            self.walk.push_back(slot);
        }
    }

    /// Whether entries are still to be walked, or parts of large collections to be sent. Once that is over, an overrun
    /// or a change of a large collection makes it begin again.
    pub fn is_walking(&self) -> bool {
        !self.walk.is_empty() || self.growing.is_some() || !self.large.is_empty()
    }

    /// Keys that changed and are still to be taken in.
    pub fn changes_left(&self, keyspace: &Keyspace) -> usize {
        let left = |&(shard, feed): &(usize, FeedId)| {
            keyspace.lock(shard).db_if_any(MOVING_DB).map_or(0, |db| db.feed_len(feed))
        };
        self.feeds.iter().map(left).sum()
    }

    /// How often a shard's feed overran, so that its slots were walked again.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Closes the feeds; the slots stay as they are.
    pub fn end(self, keyspace: &Keyspace) {
        for (shard, feed) in self.feeds {
            keyspace.lock(shard).db(MOVING_DB).close_feed(feed);
        }
    }
}

impl Keyspace {
    /// Removes about `max` entries of a slot (at most [`CLEARED_A_STEP`]) under one hold of its shard's lock; says
    /// whether it is empty now.
    pub fn clear_slot(&self, slot: Slot, max: usize) -> bool {
        let number = self.layout().slot_in_shard(slot);
        let mut shard = self.lock(self.layout().shard_of(slot));
        shard.db_if_any(MOVING_DB).is_none_or(|db| db.clear_slot(number, max.min(CLEARED_A_STEP)))
    }

    /// Hides a slot: what it holds is neither counted nor listed. O(1).
    pub fn hide_slot(&self, slot: Slot) {
        let number = self.layout().slot_in_shard(slot);
        self.lock(self.layout().shard_of(slot)).db(MOVING_DB).hide_slot(number);
    }

    /// Shows a slot that was hidden. O(1).
    pub fn show_slot(&self, slot: Slot) {
        let number = self.layout().slot_in_shard(slot);
        self.lock(self.layout().shard_of(slot)).db(MOVING_DB).show_slot(number);
    }
}
