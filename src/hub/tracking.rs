//! Client-side caching: who may hold which key in its cache, and telling them when it is no longer so.
//!
//! In default mode the table remembers which client has read which key ([`Tracking::remember`]); in broadcasting mode a
//! client hears of every change under its prefixes. Whoever executed a command collects what it changed under the
//! shards' locks ([`Tracking::collect`]), which takes the keys out of the table, and tells the clients once the locks
//! are released ([`Tracking::tell`]). What changed behind everybody's back (expiry, eviction, moves of slots) waits with
//! the keyspace ([`crate::store::noted`]) until a command or a worker's tick comes by.
//!
//! Why no invalidation is missed: a key is remembered under its shard's lock, after the read. A later change notes the
//! key under the same lock, so it is collected after it was remembered, and whoever collects it first takes it out of the
//! table and tells. That a client is told of a change that it has seen already does no harm.
//!
//! Bounds: `tracking-table-max-keys` keys; beyond that the oldest ones go, and their readers are told as if they had
//! changed. Clients that leave are forgotten at once in broadcasting mode, and as their keys are looked at in default
//! mode: on a change, or by the sweep that follows ([`Tracking::tidy`]). While nobody tracks, nothing is noted, and a
//! command pays one relaxed load.
//!
//! Locks are leaves and never two at a time, but for the followers' within a part's. A shard's lock may be held.

mod message;
mod prefixes;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;

use crate::base::lock::{Mutex, RwLock};
use crate::base::slot::Slot;
use crate::hub::clients::{Client, Clients, flag};
use crate::metrics::exporter::TrackingSample;
use crate::store::key::Key;
use crate::store::keyspace::{Keyspace, Shard};
use crate::store::noted::{Change, Noted};
use message::{Broadcast, Teller};
use prefixes::Prefixes;
use table::{Chunk, Delta, Table, Taken};

pub use message::Audience;

/// Keys that one command pushes out of a table that is over its bound, at least: more than most commands read.
const PUSHED_OUT_AT_ONCE: usize = 64;
/// Keys that one tick pushes out of a table that is over its bound.
const PUSHED_OUT_A_TICK: usize = 4096;
/// Entries that one tick looks at in every part for readers that have gone.
const SWEPT_A_TICK: usize = 256;
/// Chunks of dead entries that one tick drops.
const DROPPED_A_TICK: usize = 16;
/// Keys of lost slots of which a client is told one by one; beyond that it is told to drop everything.
pub const LOST_KEYS_MAX: usize = 10_000;
/// Room for so many keys is kept for the next command.
const STALE_KEPT: usize = 1024;
/// No key.
const NO_AGE: u64 = u64::MAX;

/// Prefixes of one client, in order.
type PrefixList = Vec<Box<[u8]>>;

/// How a client is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Another client's id, to which notices go; 0 for none.
    pub redirect: u64,
    /// Broadcasting mode.
    pub bcast: bool,
    /// No notices of what the client itself changes.
    pub noloop: bool,
}

/// What became invalid and is still to be told.
#[derive(Debug, Default)]
pub struct Invalid {
    /// All keys.
    all: bool,
    /// Keys that were tracked.
    keys: Vec<Stale>,
    /// Keys that changed, for clients in broadcasting mode.
    changed: Noted,
}

/// A key that was tracked and is so no longer.
#[derive(Debug)]
struct Stale {
    taken: Taken,
    /// No client has changed it.
    by_itself: bool,
    /// Among the changes of one command.
    order: u32,
}

impl Invalid {
    /// Whether there is nothing to be told.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.all && self.keys.is_empty() && self.changed.is_empty()
    }

    /// Says that all keys are gone.
    pub fn everything(&mut self) {
        self.all = true;
    }
}

#[derive(Debug)]
#[repr(align(128))]
struct Part {
    table: Mutex<Table>,
    /// Entries that a sweep has still to look at, since a client left.
    unswept: AtomicUsize,
}

/// Everything about client-side caching.
#[derive(Debug)]
pub struct Tracking {
    /// By shard.
    parts: Box<[Part]>,
    /// Age of the oldest key by shard; written under the part's lock.
    oldest: Box<[AtomicU64]>,
    next_age: AtomicU64,
    keys: AtomicUsize,
    items: AtomicUsize,
    /// Clients that track, and those of them in broadcasting mode.
    clients: AtomicUsize,
    broadcast: AtomicUsize,
    /// How often tracking was switched on, and up to which of these times it was found that nobody tracks any more.
    armed: AtomicU64,
    disarmed: AtomicU64,
    /// Everybody who has ever tracked and is connected, by number.
    followers: RwLock<HashMap<u32, Arc<Client>, RandomState>>,
    last_number: AtomicU32,
    prefixes: RwLock<Prefixes>,
    /// Prefixes by the id of the client that wants them.
    wanted: Mutex<HashMap<u64, PrefixList, RandomState>>,
    /// Entries to be dropped little by little.
    dead: Mutex<Vec<Chunk>>,
}

impl Tracking {
    /// Nobody tracks; `shards` as many as the keyspace has.
    pub fn new(shards: usize) -> Self {
        let hasher = RandomState::new();
        let part = |_| Part { table: Mutex::new(Table::new(hasher.clone())), unswept: AtomicUsize::new(0) };
        Self {
            parts: (0..shards).map(part).collect(),
            oldest: (0..shards).map(|_| AtomicU64::new(NO_AGE)).collect(),
            next_age: AtomicU64::new(0),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            broadcast: AtomicUsize::new(0),
            armed: AtomicU64::new(0),
            disarmed: AtomicU64::new(0),
            followers: RwLock::default(),
            last_number: AtomicU32::new(0),
            prefixes: RwLock::default(),
            wanted: Mutex::default(),
            dead: Mutex::default(),
        }
    }

    /// Whether anybody tracks.
    #[inline]
    pub fn any(&self) -> bool {
        self.clients.load(Ordering::Relaxed) != 0
    }

    /// Whether there is anything to be done by and by.
    #[inline]
    pub fn is_awake(&self) -> bool {
        self.armed.load(Ordering::Relaxed) != self.disarmed.load(Ordering::Relaxed)
            || !self.dead.lock().is_empty()
    }

    /// How much there is of it. O(shards).
    pub fn totals(&self) -> TrackingSample {
        TrackingSample {
            clients: self.clients.load(Ordering::Relaxed) as u64,
            keys: self.keys.load(Ordering::Relaxed) as u64,
            items: self.items.load(Ordering::Relaxed) as u64,
            prefixes: self.prefixes.read().len() as u64,
            bytes: self.parts.iter().map(|part| part.table.lock().bytes() as u64).sum(),
        }
    }

    /// Has a client track, or track in another way; gives its number. The caller then has every shard note changes
    /// ([`Shard::set_noting`]).
    pub fn start(&self, client: &Arc<Client>, options: Options) -> u32 {
        let number = self.number_of(client);
        client.redirect.store(options.redirect, Ordering::Relaxed);
        client.set(flag::TRACKING_BROKEN, false);
        client.set(flag::TRACKING_NOLOOP, options.noloop);
        if options.bcast && !client.has(flag::TRACKING_BCAST) {
            client.set(flag::TRACKING_BCAST, true);
            self.broadcast.fetch_add(1, Ordering::SeqCst);
        }
        if !client.has(flag::TRACKING) {
            client.set(flag::TRACKING, true);
            self.clients.fetch_add(1, Ordering::SeqCst);
        }
        self.armed.fetch_add(1, Ordering::SeqCst);
        number
    }

    /// The client's number; a new one for whoever has never tracked before.
    fn number_of(&self, client: &Arc<Client>) -> u32 {
        let known = client.follower.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let mut followers = self.followers.write();
        // After four billion of them numbers come again, but none that is in use.
        let number = loop {
            let number = self.last_number.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if number != 0 && !followers.contains_key(&number) {
                break number;
            }
        };
        followers.insert(number, Arc::clone(client));
        client.follower.store(number, Ordering::Relaxed);
        number
    }

    /// Has a client in broadcasting mode hear of a prefix.
    pub fn add_prefix(&self, client: &Arc<Client>, prefix: &[u8]) {
        if self.prefixes.write().add(prefix, client) {
            let mut wanted = self.wanted.lock();
            let prefixes = wanted.entry(client.id).or_default();
            let place = prefixes.partition_point(|known| **known < *prefix);
            prefixes.insert(place, prefix.into());
        }
    }

    /// The prefixes that a client in broadcasting mode hears of, in order.
    pub fn prefixes_of(&self, client: &Client) -> Vec<Box<[u8]>> {
        self.wanted.lock().get(&client.id).cloned().unwrap_or_default()
    }

    /// Has a client track no longer. What the table knows of it stays: as in Redis it counts again if the client comes
    /// back to default mode.
    pub fn stop(&self, client: &Client) {
        if client.has(flag::TRACKING_BCAST) {
            let prefixes = self.wanted.lock().remove(&client.id).unwrap_or_default();
            let mut known = self.prefixes.write();
            prefixes.iter().for_each(|prefix| known.remove(prefix, client));
            self.broadcast.fetch_sub(1, Ordering::SeqCst);
        }
        if client.has(flag::TRACKING) {
            self.clients.fetch_sub(1, Ordering::SeqCst);
        }
        let all = flag::TRACKING | flag::TRACKING_BCAST | flag::TRACKING_BROKEN | flag::TRACKING_NOLOOP;
        client.set(all, false);
    }

    /// Forgets a client whose connection ends.
    pub fn leave(&self, client: &Client) {
        let number = client.follower.swap(0, Ordering::Relaxed);
        if number == 0 {
            return;
        }
        self.stop(client);
        self.followers.write().remove(&number);
        for part in &self.parts {
            let (_, entries) = part.table.lock().hand();
            part.unswept.store(entries, Ordering::Relaxed);
        }
    }

    fn is_gone(&self, number: u32) -> bool {
        !self.followers.read().contains_key(&number)
    }

    /// Notes that a client has read a key; under the key's shard's lock, after the read.
    pub fn remember(&self, number: u32, key: &Key<'_>) {
        let Some(part) = self.parts.get(key.shard) else { return };
        let age = || self.next_age.fetch_add(1, Ordering::Relaxed);
        let is_gone = |number| self.is_gone(number);
        let delta = {
            let mut table = part.table.lock();
            let delta = table.track(key.bytes, key.slot.number(), number, age, is_gone);
            self.publish_oldest(key.shard, &table);
            delta
        };
        self.count(delta);
    }

    /// Takes some of the oldest keys out if there are more than `max_keys` (0: no bound).
    #[inline]
    pub fn make_room(&self, max_keys: usize, into: &mut Invalid) {
        if max_keys != 0 && self.keys.load(Ordering::Relaxed) > max_keys {
            self.push_out(max_keys, PUSHED_OUT_AT_ONCE, into);
        }
    }

    fn publish_oldest(&self, shard: usize, table: &Table) {
        let age = table.oldest_age().unwrap_or(NO_AGE);
        if self.oldest[shard].load(Ordering::Relaxed) != age {
            self.oldest[shard].store(age, Ordering::Relaxed);
        }
    }

    fn count(&self, delta: Delta) {
        // Two's complement: adding a negative number takes away.
        if delta.keys != 0 {
            self.keys.fetch_add(delta.keys as usize, Ordering::Relaxed);
        }
        if delta.items != 0 {
            self.items.fetch_add(delta.items as usize, Ordering::Relaxed);
        }
    }

    fn count_taken(&self, taken: &Taken) {
        self.count(Delta { keys: -1, items: -(taken.readers.len() as isize) });
    }

    /// Takes the oldest keys out while there are more than `max_keys`, at most `count`; says whether there are still more.
    fn push_out(&self, max_keys: usize, count: usize, into: &mut Invalid) -> bool {
        for _ in 0..count {
            if self.keys.load(Ordering::Relaxed) <= max_keys {
                return false;
            }
            let ages = self.oldest.iter().map(|age| age.load(Ordering::Relaxed));
            let Some((shard, _)) = ages.enumerate().min_by_key(|(_, age)| *age) else { return false };
            let taken = {
                let mut table = self.parts[shard].table.lock();
                let taken = table.take_oldest();
                self.publish_oldest(shard, &table);
                taken
            };
            let Some(taken) = taken else { return false };
            self.count_taken(&taken);
            into.keys.push(Stale { taken, by_itself: true, order: 0 });
        }
        self.keys.load(Ordering::Relaxed) > max_keys
    }

    /// Collects what changed in a shard since its lock was taken; under that lock.
    #[inline]
    pub fn collect(&self, number: usize, shard: &mut Shard, noted: &mut Noted, into: &mut Invalid) {
        shard.take_noted(noted);
        if !noted.is_empty() {
            self.sort_out(noted, |_| number, into);
        }
    }

    /// Collects what changed while nobody collected.
    pub fn collect_left_over(&self, keyspace: &Keyspace, into: &mut Invalid) {
        let mut noted = keyspace.take_noted();
        self.sort_out(&mut noted, |key| keyspace.layout().key(key).shard, into);
    }

    fn sort_out(&self, noted: &mut Noted, shard_of: impl Fn(&[u8]) -> usize, into: &mut Invalid) {
        into.all |= noted.is_overrun();
        if self.keys.load(Ordering::Relaxed) != 0 {
            for Change { key, by_itself, order } in noted.iter() {
                let shard = shard_of(key);
                let Some(part) = self.parts.get(shard) else { continue };
                let taken = {
                    let mut table = part.table.lock();
                    let taken = table.take(key);
                    if taken.is_some() {
                        self.publish_oldest(shard, &table);
                    }
                    taken
                };
                if let Some(taken) = taken {
                    self.count_taken(&taken);
                    into.keys.push(Stale { taken, by_itself, order });
                }
            }
        }
        if self.broadcast.load(Ordering::SeqCst) != 0 {
            into.changed.append(noted);
            into.all |= into.changed.is_overrun();
        }
        noted.clear();
    }

    /// Tells everybody whom it concerns; nothing is left to be told afterwards. `author` is the client whose command it
    /// was: what it changed itself is not told to it if it does not want to hear of that.
    pub fn tell(&self, invalid: &mut Invalid, author: Option<u64>, audience: &mut Audience<'_>) {
        let Invalid { all, keys, changed } = invalid;
        let mut teller = Teller::new(audience);
        if std::mem::take(all) {
            keys.clear();
            changed.clear();
            return self.tell_all(&mut teller);
        }
        keys.sort_by_key(|stale| stale.order);
        for Stale { taken, by_itself, .. } in keys.drain(..) {
            for number in &taken.readers {
                // Apart, so that the lock is not held while the client is told.
                let client = self.followers.read().get(number).map(Arc::clone);
                let Some(client) = client.filter(|client| client.has(flag::TRACKING)) else { continue };
                let looped = author == Some(client.id) && client.has(flag::TRACKING_NOLOOP) && !by_itself;
                if !client.has(flag::TRACKING_BCAST) && !looped {
                    teller.tell_key(&client, taken.key.bytes());
                }
            }
        }
        if !changed.is_empty() {
            self.broadcast(changed, author, &mut teller);
            changed.clear();
        }
        if keys.capacity() > STALE_KEPT {
            *keys = Vec::new();
        }
    }

    /// Every client is to forget everything; so does the table. In this order: what a client reads in between is told
    /// once too often, not once too seldom.
    fn tell_all(&self, teller: &mut Teller<'_, '_>) {
        self.clear();
        let mut followers: Vec<Arc<Client>> = self.followers.read().values().map(Arc::clone).collect();
        followers.sort_unstable_by_key(|client| client.id);
        for client in followers.iter().filter(|client| client.has(flag::TRACKING)) {
            teller.tell_all(client);
        }
    }

    /// Forgets which keys were read, and tells nobody.
    pub fn clear(&self) {
        if self.keys.load(Ordering::Relaxed) != 0 {
            for (number, part) in self.parts.iter().enumerate() {
                self.clear_part(number, &mut part.table.lock());
            }
        }
    }

    fn clear_part(&self, number: usize, table: &mut Table) {
        self.count(Delta { keys: -(table.keys() as isize), items: -(table.items() as isize) });
        let chunks = table.take_all();
        self.publish_oldest(number, table);
        if !chunks.is_empty() {
            self.dead.lock().extend(chunks);
        }
    }

    /// Tells clients in broadcasting mode: one message for each prefix, with its keys in order, each once.
    fn broadcast(&self, changed: &Noted, author: Option<u64>, teller: &mut Teller<'_, '_>) {
        let mut broadcasts = Vec::new();
        {
            let prefixes = self.prefixes.read();
            let mut found: Vec<(&[u8], &[u8], bool)> = Vec::new();
            for Change { key, by_itself, .. } in changed.iter() {
                prefixes.each_of(key, |prefix| found.push((prefix, key, by_itself)));
            }
            // What the store did by itself comes first of the same key, and stays.
            found.sort_unstable_by_key(|&(prefix, key, by_itself)| (prefix, key, !by_itself));
            found.dedup_by_key(|&mut (prefix, key, _)| (prefix, key));
            for keys in found.chunk_by(|one, other| one.0 == other.0) {
                let clients = keys.first().map_or(&[][..], |(prefix, ..)| prefixes.clients(prefix)).to_vec();
                let keys = keys.iter().map(|&(_, key, by_itself)| (key, by_itself)).collect();
                broadcasts.push(Broadcast { clients, keys });
            }
        }
        for broadcast in &broadcasts {
            teller.broadcast(broadcast, author);
        }
    }

    /// Tells clients that the keys of slots are served here no longer, once no command is inside them.
    pub fn lose(&self, is_lost: impl Fn(Slot) -> bool, audience: &mut Audience<'_>) {
        if !self.any() {
            return;
        }
        let mut by_client: HashMap<u32, Vec<Arc<[u8]>>, RandomState> = HashMap::default();
        let is_lost = |number| Slot::new(number).is_some_and(&is_lost);
        for (number, part) in self.parts.iter().enumerate() {
            let taken = {
                let mut table = part.table.lock();
                let taken = table.take_slots(is_lost);
                self.publish_oldest(number, &table);
                taken
            };
            for taken in taken {
                self.count_taken(&taken);
                let key: Arc<[u8]> = taken.key.bytes().into();
                for number in &taken.readers {
                    let keys = by_client.entry(*number).or_default();
                    // One more than are told one by one says that there are too many.
                    if keys.len() <= LOST_KEYS_MAX {
                        keys.push(Arc::clone(&key));
                    }
                }
            }
        }
        let mut followers: Vec<(u32, Arc<Client>)> =
            self.followers.read().iter().map(|(number, client)| (*number, Arc::clone(client))).collect();
        followers.sort_unstable_by_key(|(number, _)| *number);
        let mut teller = Teller::new(audience);
        for (number, client) in followers.iter().filter(|(_, client)| client.has(flag::TRACKING)) {
            let keys = by_client.get(number).map_or(&[][..], Vec::as_slice);
            // What a client in broadcasting mode has read is not known.
            if client.has(flag::TRACKING_BCAST) || keys.len() > LOST_KEYS_MAX {
                teller.tell_all(client);
            } else if !keys.is_empty() {
                teller.tell_keys(client, keys);
            }
        }
    }

    /// A worker's share of what is done by and by: keys beyond `max_keys` go, clients that have left are forgotten, what
    /// was cleared is dropped; and while nobody tracks, nothing is noted.
    pub fn tidy(&self, keyspace: &Keyspace, worker: (usize, usize), max_keys: usize, into: &mut Invalid) {
        if max_keys != 0 {
            self.push_out(max_keys, PUSHED_OUT_A_TICK, into);
        }
        let (worker, workers) = worker;
        for (number, part) in self.parts.iter().enumerate().skip(worker).step_by(workers.max(1)) {
            let unswept = part.unswept.load(Ordering::Relaxed);
            if unswept > 0 {
                part.unswept.store(unswept.saturating_sub(SWEPT_A_TICK), Ordering::Relaxed);
                let mut table = part.table.lock();
                let delta = table.sweep(SWEPT_A_TICK, |number| self.is_gone(number));
                self.publish_oldest(number, &table);
                drop(table);
                self.count(delta);
            }
        }
        let dead: Vec<Chunk> = {
            let mut dead = self.dead.lock();
            let rest = dead.len().saturating_sub(DROPPED_A_TICK);
            dead.split_off(rest)
        };
        drop(dead);
        self.disarm(keyspace);
    }

    /// Has nothing noted any more if nobody tracks. Whoever starts to counts itself first and then goes through all
    /// shards, so that whichever of both comes later to a shard sees what the other did.
    fn disarm(&self, keyspace: &Keyspace) {
        let armed = self.armed.load(Ordering::SeqCst);
        if self.any() || self.disarmed.load(Ordering::SeqCst) == armed {
            return;
        }
        for number in 0..keyspace.shards() {
            let mut shard = keyspace.lock(number);
            if self.clients.load(Ordering::SeqCst) != 0 {
                return;
            }
            shard.set_noting(false);
            if let Some(part) = self.parts.get(number) {
                self.clear_part(number, &mut part.table.lock());
            }
        }
        self.disarmed.store(armed, Ordering::SeqCst);
    }
}

/// The client to which notices for `client` go, and whether it is another; nothing if that is gone.
fn target(clients: &Clients, client: &Arc<Client>) -> Option<(Arc<Client>, bool)> {
    match client.redirect.load(Ordering::Relaxed) {
        0 => Some((Arc::clone(client), false)),
        id => Some((clients.get(id)?, true)),
    }
}
