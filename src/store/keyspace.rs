//! All shards behind their locks, and the memory budget over them.
//!
//! Locks are taken in ascending order of shards, never two at a time but through [`Keyspace::lock_set`]. Room is made
//! before a write takes its own lock, so that a full shard can take from a fuller one without holding two.
//!
//! Memory: every shard publishes what it holds when its lock is released, and once that is `PUBLISHED_BYTES` off the
//! sum over all shards, corrects the sum too: so a write on one core seldom takes a cache line from the others. The sum
//! is compared with the budget by two atomic loads a write. Free slots in blocks count as room up to a 64th of the
//! budget (or what the first blocks of every shard come to): beyond that they count as used, until the blocks are
//! emptied. The first database has its tables from the start, and a database that was emptied keeps them: a budget that
//! is set for what comes on top of an empty keyspace has room for just that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use smallvec::SmallVec;

use super::db::Db;
use super::key::Layout;
use super::noted::{LeftOver, Noted};
use super::object::{BACKGROUND_DROP_BYTES, Object};
use super::policy::Policy;
use super::sweep::EXPIRED_A_SLICE;
use super::told::ToldKeys;
use super::usage::{Removals, Used};
use crate::base::limits::{DATABASES_MAX, SHARDS_MAX};
use crate::base::lock::{Mutex, MutexGuard};
use crate::base::rng::Rng;

/// Evictions in one slice, that is under one hold of a shard's lock.
const EVICTIONS_A_SLICE: usize = 64;
/// Slices that every write may take, and the bytes of a write that allow it one more.
const SLICES_MIN: usize = 8;
const SLICE_BYTES: usize = 256;
/// Due fields that one slice removes from hashes.
const FIELDS_A_SLICE: usize = 128;
/// Databases and objects that wait to be dropped in the background.
const DROP_QUEUE_MAX: usize = 1024;
/// Free slots count as room up to the budget divided by this; what is resident beyond the budget stays below it.
const REUSABLE_SHARE: i64 = 64;
/// A shard's sparse blocks are emptied once its free slots exceed what it uses, divided by this: a little before they
/// cease to count as room.
const SPARSE_SHARE: usize = 72;
/// Free slots of a shard that count as room however small the budget is: fewer are not worth a compaction.
const REUSABLE_MIN_BYTES: usize = 64 * 1024;

/// What one shard may hold more or less than the sum over all shards says.
const PUBLISHED_BYTES: i64 = 1024;

/// One shard: the same slots of every database.
#[derive(Debug)]
pub struct Shard {
    pub(super) dbs: [Option<Box<Db>>; DATABASES_MAX],
    layout: Layout,
    policy: Policy,
    rng: Rng,
    removals: Removals,
    /// Whether its databases note what is to be told ([`super::told`]).
    pub(super) tells: bool,
    /// Whether its databases note the keys that change ([`super::noted`]).
    pub(super) notes: bool,
    /// One bit a database that was handed out to be changed since the lock was taken.
    pub(super) touched: u16,
    /// Change of what is held that was not published yet.
    pending: Used,
}

const _: () = assert!(DATABASES_MAX <= u16::BITS as usize);

impl Shard {
    fn new(layout: Layout, policy: Policy, seed: u64) -> Self {
        Self {
            dbs: Default::default(),
            layout,
            policy,
            rng: Rng::seeded(seed),
            removals: Removals::default(),
            tells: false,
            notes: false,
            touched: 0,
            pending: Used::default(),
        }
    }

    /// A database's part in this shard, made when it is first asked for.
    #[inline]
    pub fn db(&mut self, number: usize) -> &mut Db {
        self.touched |= 1 << number;
        if self.dbs[number].is_none() {
            self.make_db(number);
        }
        self.dbs[number].as_mut().expect("it was made if it was not there")
    }

    #[cold]
    fn make_db(&mut self, number: usize) {
        let mut db = Box::new(Db::new(self.layout.clone(), self.policy));
        if self.tells {
            db.set_telling(true);
        }
        if self.notes {
            db.set_noting(true);
        }
        self.dbs[number] = Some(db);
    }

    /// A database's part if it was ever written to.
    #[inline]
    pub fn db_if_any(&mut self, number: usize) -> Option<&mut Db> {
        self.touched |= 1 << number;
        self.dbs[number].as_deref_mut()
    }

    /// A database's part if it was ever written to, to be read.
    #[inline]
    pub fn db_shared(&self, number: usize) -> Option<&Db> {
        self.dbs[number].as_deref()
    }

    /// Takes the keys out that somebody waits for ([`Db::await_key`]) and that have changed, with their databases.
    pub fn take_changed_keys(&mut self, into: &mut impl Extend<(usize, Box<[u8]>)>) {
        for (number, db) in self.dbs.iter_mut().enumerate() {
            if let Some(db) = db {
                into.extend(db.take_changed_keys().into_iter().map(|key| (number, key)));
            }
        }
    }

    /// Databases that were written to, to be changed.
    pub(super) fn dbs_mut(&mut self) -> impl Iterator<Item = &mut Box<Db>> {
        self.touched = u16::MAX;
        self.dbs.iter_mut().flatten()
    }

    /// Databases that were written to, with their numbers.
    pub fn dbs(&self) -> impl Iterator<Item = (usize, &Db)> {
        self.dbs.iter().enumerate().filter_map(|(number, db)| Some((number, db.as_deref()?)))
    }

    /// Takes a whole database away, leaving an empty one; O(1) but for watched keys. Feeds and hidden slots stay.
    pub fn take(&mut self, number: usize) -> Option<Box<Db>> {
        let mut taken = self.dbs[number].take()?;
        self.pending = self.pending - taken.published;
        taken.published = Used::default();
        self.removals = self.removals + taken.removals;
        if let Some(attention) = taken.take_attention() {
            self.db(number).adopt_attention(attention, Some(&taken), 0);
        }
        if taken.used_bytes() > 0 {
            self.begin(number);
        }
        Some(taken)
    }

    /// Makes a database's tables before an entry needs them.
    fn begin(&mut self, number: usize) {
        let db = self.db(number);
        db.changed = true;
        db.index.begin();
    }

    /// Exchanges two databases; transactions that watch a key of either are told, but not of an entry that takes no
    /// other's place and is due already.
    pub fn swap(&mut self, a: usize, b: usize, now_ms: u64) {
        let (attention_a, attention_b) = (self.db(a).take_attention(), self.db(b).take_attention());
        self.dbs.swap(a, b);
        for (number, other, attention) in [(a, b, attention_a), (b, a, attention_b)] {
            if let Some(attention) = attention {
                let aside = self.dbs[other].take();
                self.db(number).adopt_attention(attention, aside.as_deref(), now_ms);
                self.dbs[other] = aside;
            }
        }
    }

    /// Entries removed by expiry and eviction since the start.
    pub fn removals(&self) -> Removals {
        self.dbs().fold(self.removals, |sum, (_, db)| sum + db.removals)
    }

    /// Whether a database that was handed out since the lock was taken changed, or one was taken away.
    #[inline]
    fn is_changed(&self) -> bool {
        let mut touched = self.touched;
        let mut changed = self.pending != Used::default();
        while touched != 0 {
            let number = touched.trailing_zeros() as usize;
            touched &= touched - 1;
            changed |= self.dbs.get(number).is_some_and(|db| db.as_ref().is_some_and(|db| db.changed));
        }
        changed
    }

    /// What changed since the lock was taken, in bytes; the values to be dropped after it is released are collected.
    fn settle(&mut self, garbage: &mut Vec<Object>) -> Used {
        let mut delta = std::mem::take(&mut self.pending);
        // Only what was handed out can have changed.
        let mut touched = self.touched;
        while touched != 0 {
            let number = touched.trailing_zeros() as usize;
            touched &= touched - 1;
            let Some(Some(db)) = self.dbs.get_mut(number) else { continue };
            if std::mem::take(&mut db.changed) {
                let used = Used { bytes: db.used_bytes() as i64, reusable: db.reusable_bytes() as i64 };
                delta = delta + (used - std::mem::replace(&mut db.published, used));
                garbage.append(&mut db.garbage);
            }
        }
        delta
    }

    /// Evicts until `bytes` were freed or the slice is full; false if nothing may go.
    fn evict_bytes(&mut self, bytes: i64) -> bool {
        let mut freed = 0;
        for evicted in 0..EVICTIONS_A_SLICE {
            if freed >= bytes {
                break;
            }
            match self.evict() {
                Some(bytes) => freed += bytes as i64,
                None => return evicted > 0,
            }
        }
        true
    }

    /// Evicts from the database that holds most, or else from any; bytes freed, or nothing if nothing may go.
    fn evict(&mut self) -> Option<usize> {
        self.touched = u16::MAX;
        let Self { dbs, rng, .. } = self;
        let fullest = dbs.iter_mut().flatten().max_by_key(|db| db.used_bytes())?;
        fullest.evict(rng).or_else(|| dbs.iter_mut().flatten().find_map(|db| db.evict(rng)))
    }
}

#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cell {
    pub(super) shard: Mutex<Shard>,
    /// What the shard holds, in bytes; written under its lock alone.
    used: AtomicI64,
    reusable: AtomicI64,
    /// By how much the sums over all shards are behind; likewise.
    used_behind: AtomicI64,
    reusable_behind: AtomicI64,
}

/// What waits for the background thread.
#[derive(Debug)]
enum Dropped {
    Db(Box<Db>),
    Object(Object),
}

/// The whole keyspace; see the module.
#[derive(Debug)]
pub struct Keyspace {
    layout: Layout,
    pub(super) cells: Box<[Cell]>,
    used: AtomicI64,
    reusable: AtomicI64,
    /// Budget in bytes; 0 is none.
    pub(super) limit: AtomicU64,
    /// The budget less what is held back of it.
    pub(super) bound: AtomicU64,
    /// The most that was counted at a tick.
    peak: AtomicU64,
    pub(super) policy: Mutex<Policy>,
    evicts: AtomicBool,
    /// Whether due entries are removed before they are asked for; off only for tests (DEBUG SET-ACTIVE-EXPIRE).
    expires: AtomicBool,
    dropper: SyncSender<Dropped>,
    /// Databases and objects that the background thread has not dropped yet.
    drops_pending: Arc<AtomicUsize>,
    /// Bits of shards in which somebody is at work between two holds of their locks ([`Keyspace::reserve`]).
    reserved: AtomicU64,
    pub(super) told: ToldKeys,
    pub(super) left_over: LeftOver,
}

/// There is no room and nothing may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl Keyspace {
    /// A keyspace of `layout.shards()` shards, and the thread that drops what is large.
    pub fn new(layout: Layout, policy: Policy, limit_bytes: u64, seed: u64) -> Self {
        assert!(layout.shards() <= SHARDS_MAX);
        let cells = (0..layout.shards() as u64)
            .map(|number| Cell {
                shard: Mutex::new(Shard::new(layout.clone(), policy, seed ^ number)),
                used: AtomicI64::new(0),
                reusable: AtomicI64::new(0),
                used_behind: AtomicI64::new(0),
                reusable_behind: AtomicI64::new(0),
            })
            .collect();
        let drops_pending = Arc::new(AtomicUsize::new(0));
        let keyspace = Self {
            layout,
            cells,
            used: AtomicI64::new(0),
            reusable: AtomicI64::new(0),
            limit: AtomicU64::new(limit_bytes),
            bound: AtomicU64::new(limit_bytes),
            peak: AtomicU64::new(0),
            policy: Mutex::new(policy),
            evicts: AtomicBool::new(policy != Policy::NoEviction),
            expires: AtomicBool::new(true),
            dropper: spawn_dropper(Arc::clone(&drops_pending)),
            drops_pending,
            reserved: AtomicU64::new(0),
            told: ToldKeys::default(),
            left_over: LeftOver::default(),
        };
        for number in 0..keyspace.shards() {
            keyspace.lock(number).begin(0);
        }
        keyspace
    }

    /// How keys spread over shards.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.cells.len()
    }

    /// Locks one shard.
    #[inline]
    pub fn lock(&self, shard: usize) -> Guard<'_> {
        let cell = &self.cells[shard];
        Guard { keyspace: self, cell, shard: Some(cell.shard.lock()), number: shard, exact: false }
    }

    /// Locks one shard if nobody holds its lock.
    pub fn try_lock(&self, shard: usize) -> Option<Guard<'_>> {
        let cell = &self.cells[shard];
        let locked = cell.shard.try_lock()?;
        Some(Guard { keyspace: self, cell, shard: Some(locked), number: shard, exact: false })
    }

    /// Locks the shards whose bits are set, in ascending order.
    pub fn lock_set(&self, mut mask: u64) -> SmallVec<[Guard<'_>; 4]> {
        let mut guards = SmallVec::new();
        while mask != 0 {
            guards.push(self.lock(mask.trailing_zeros() as usize));
            mask &= mask - 1;
        }
        guards
    }

    /// Keeps shards for somebody who works in them for long and must not hold their locks all the time: nothing expires
    /// and nothing is evicted there, and commands that find the bit under the shard's lock go away again
    /// (`command::execute`). To be called under the shards' locks, none of which is reserved.
    pub fn reserve(&self, mask: u64) {
        self.reserved.fetch_or(mask, Ordering::Relaxed);
    }

    /// Ends that; under the shards' locks.
    pub fn end_reservation(&self, mask: u64) {
        self.reserved.fetch_and(!mask, Ordering::Relaxed);
    }

    /// The shards that are reserved: exact for those whose locks the caller holds.
    #[inline]
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// A mask of all shards.
    pub fn all(&self) -> u64 {
        u64::MAX >> (64 - self.cells.len())
    }

    /// Bytes that all entries and their structures keep resident, free slots included; exact while nobody writes.
    pub fn used_bytes(&self) -> u64 {
        self.cells.iter().map(|cell| cell.used.load(Ordering::Relaxed)).sum::<i64>().max(0) as u64
    }

    /// Bytes of free slots that will be filled before memory grows; exact while nobody writes.
    pub fn reusable_bytes(&self) -> u64 {
        self.cells.iter().map(|cell| cell.reusable.load(Ordering::Relaxed)).sum::<i64>().max(0) as u64
    }

    /// The eviction policy.
    pub fn policy(&self) -> Policy {
        *self.policy.lock()
    }

    /// Changes the eviction policy of every database.
    pub fn set_policy(&self, policy: Policy) {
        let mut current = self.policy.lock();
        *current = policy;
        if !policy.evicts_any() {
            self.bound.store(self.limit_bytes(), Ordering::Relaxed);
        }
        self.evicts.store(policy != Policy::NoEviction, Ordering::Relaxed);
        for number in 0..self.cells.len() {
            let mut shard = self.lock(number);
            shard.policy = policy;
            shard.dbs_mut().for_each(|db| db.set_policy(policy));
        }
    }

    /// Whether due entries are removed before they are asked for.
    pub fn set_active_expire(&self, on: bool) {
        self.expires.store(on, Ordering::Relaxed);
    }

    /// Databases and large values that wait to be dropped.
    pub fn drops_pending(&self) -> usize {
        self.drops_pending.load(Ordering::Relaxed)
    }

    /// Hands a database that was taken out to the background thread.
    pub fn drop_db(&self, db: Box<Db>) {
        self.drop_later(Dropped::Db(db));
    }

    fn drop_later(&self, dropped: Dropped) {
        self.drops_pending.fetch_add(1, Ordering::Relaxed);
        // A full queue means that drops come faster than one thread can do them: then whoever causes them pays.
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.dropper.try_send(dropped) {
            self.drops_pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether memory is over what entries may have of the budget, by one or two atomic loads.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.excess_bytes() > 0
    }

    /// Bytes that count against the budget: what is resident less the free slots that count as room.
    pub fn counted_bytes(&self) -> u64 {
        let used = self.used.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed) as i64;
        (used - self.room_in_blocks(if limit == 0 { used } else { limit })).max(0) as u64
    }

    /// Free slots that count as room under a budget of `base` bytes.
    #[inline]
    fn room_in_blocks(&self, base: i64) -> i64 {
        let most = (base / REUSABLE_SHARE).max((REUSABLE_MIN_BYTES * self.cells.len()) as i64);
        self.reusable.load(Ordering::Relaxed).min(most)
    }

    /// The most that [`Keyspace::counted_bytes`] was when a worker ticked.
    pub fn peak_bytes(&self) -> u64 {
        self.peak.fetch_max(self.counted_bytes(), Ordering::Relaxed).max(self.counted_bytes())
    }

    /// Bytes above what entries may have of the budget; negative is room.
    #[inline]
    fn excess_bytes(&self) -> i64 {
        let limit = self.bound.load(Ordering::Relaxed) as i64;
        if limit == 0 {
            return i64::MIN;
        }
        let used = self.used.load(Ordering::Relaxed);
        if used <= limit {
            return used - limit;
        }
        used - self.room_in_blocks(limit) - limit
    }

    /// Makes room for a write to `shard` that will add about `wanted_bytes`. No lock may be held.
    ///
    /// The work is bounded by what the write adds: if the bound is reached first, the write goes on and the next ones
    /// and the ticks evict further. It is refused only where nothing may be evicted.
    pub fn make_room(&self, shard: usize, wanted_bytes: usize) -> Result<(), OutOfMemory> {
        let wanted = wanted_bytes.min(i64::MAX as usize / 2) as i64;
        if self.excess_bytes().saturating_add(wanted) <= 0 {
            return Ok(());
        }
        if !self.evicts.load(Ordering::Relaxed) {
            return if self.is_over() { Err(OutOfMemory) } else { Ok(()) };
        }
        let limit = self.limit_bytes() as i64;
        if wanted > limit {
            return Err(OutOfMemory);
        }
        // Shards in which nothing may go; looking there is no slice.
        let reserved = self.reserved();
        let mut tried = reserved;
        let mut slices = SLICES_MIN + wanted_bytes / SLICE_BYTES;
        while slices > 0 && self.excess_bytes().saturating_add(wanted) > 0 {
            slices -= 1;
            let Some(victim) = self.victim_shard(shard, tried) else {
                // What is reserved now may give room later: the next writes pay.
                return if reserved == 0 { Err(OutOfMemory) } else { Ok(()) };
            };
            let mut guard = self.lock(victim);
            if self.reserved() >> victim & 1 != 0 {
                tried |= 1 << victim;
                continue;
            }
            guard.exact = true;
            // Free slots beyond what counts as room are won back by emptying blocks, not by evicting more.
            let fragmented = self.reusable.load(Ordering::Relaxed) > self.room_in_blocks(limit);
            let excess = self.excess_bytes().saturating_add(wanted);
            let compacted = fragmented && guard.compact_if_sparse();
            if !compacted && !guard.evict_bytes(excess) {
                tried |= 1 << victim;
                slices += 1;
            }
        }
        Ok(())
    }

    /// The shard to take from: the writer's own unless it holds much less than its share, then the fullest.
    fn victim_shard(&self, own: usize, tried: u64) -> Option<usize> {
        let used = |number: usize| self.cells[number].used.load(Ordering::Relaxed);
        let mean = self.used.load(Ordering::Relaxed) / self.cells.len() as i64;
        if tried >> own & 1 == 0 && used(own) >= mean - mean / 8 {
            return Some(own);
        }
        (0..self.cells.len()).filter(|number| tried >> number & 1 == 0).max_by_key(|&number| used(number))
    }

    /// One slice of background work on one shard: due entries and budget, if entries may be removed, sparse blocks,
    /// queues. True if there is more.
    pub fn sweep(&self, shard: usize, now_ms: u64, may_remove: bool) -> bool {
        let mut guard = self.lock(shard);
        let is_reserved = self.reserved() >> shard & 1 != 0;
        let expire = may_remove && !is_reserved && self.expires.load(Ordering::Relaxed);
        let mut backlog = false;
        let mut more = false;
        for db in guard.dbs_mut() {
            backlog |= expire && db.expire(now_ms, EXPIRED_A_SLICE) == EXPIRED_A_SLICE;
            backlog |= expire && db.expire_fields(now_ms, FIELDS_A_SLICE);
            more |= db.rebuild_slice();
        }
        // While many entries are due, most of those that would be moved out of a sparse block are about to go.
        more |= backlog || guard.compact_if_sparse();
        drop(guard);
        if may_remove && self.is_over() && self.evicts.load(Ordering::Relaxed) {
            more |= self.make_room(shard, 0).is_ok();
        }
        more
    }

    /// Entries removed by expiry and eviction since the start.
    pub fn removals(&self) -> Removals {
        let shards = (0..self.cells.len()).map(|shard| self.lock(shard).removals());
        shards.fold(Removals::default(), |sum, shard| sum + shard)
    }

    /// Entries of a database, those included that are due but not removed yet, those of hidden slots not.
    pub fn entries(&self, db: usize) -> usize {
        (0..self.cells.len()).map(|shard| self.lock(shard).db_if_any(db).map_or(0, |db| db.entries())).sum()
    }

    /// Adds what a shard gained; its lock is held.
    #[inline]
    fn publish(&self, cell: &Cell, delta: Used, exact: bool) {
        for (sum, own, behind, delta) in [
            (&self.used, &cell.used, &cell.used_behind, delta.bytes),
            (&self.reusable, &cell.reusable, &cell.reusable_behind, delta.reusable),
        ] {
            // Written under the lock alone, so that no read-modify-write is needed.
            own.store(own.load(Ordering::Relaxed) + delta, Ordering::Relaxed);
            let total = behind.load(Ordering::Relaxed) + delta;
            if total != 0 && (exact || total.abs() >= PUBLISHED_BYTES) {
                sum.fetch_add(total, Ordering::Relaxed);
                behind.store(0, Ordering::Relaxed);
            } else {
                behind.store(total, Ordering::Relaxed);
            }
        }
    }
}

impl Shard {
    /// Empties sparse blocks while free slots exceed their share of what is used; true if there is more to do.
    fn compact_if_sparse(&mut self) -> bool {
        let mut more = false;
        for db in self.dbs_mut() {
            let free = db.reusable_bytes();
            let sparse = free > REUSABLE_MIN_BYTES && free > db.used_bytes() / SPARSE_SHARE;
            if sparse || db.index_is_sparse() {
                more |= db.compact_slice(sparse);
            }
        }
        more
    }
}

/// A locked shard. When it is released, what the shard holds is published and what was removed is dropped.
#[derive(Debug)]
pub struct Guard<'a> {
    keyspace: &'a Keyspace,
    cell: &'a Cell,
    shard: Option<MutexGuard<'a, Shard>>,
    number: usize,
    /// Correct the sums over all shards however little changed.
    exact: bool,
}

impl Guard<'_> {
    /// The shard's number.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl std::ops::Deref for Guard<'_> {
    type Target = Shard;
    #[inline]
    fn deref(&self) -> &Shard {
        self.shard.as_deref().expect("a guard holds its shard until it is dropped")
    }
}

impl std::ops::DerefMut for Guard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard {
        self.shard.as_deref_mut().expect("a guard holds its shard until it is dropped")
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.exact || self.is_changed() {
            self.release_changed();
        } else {
            self.touched = 0;
        }
    }
}

impl Guard<'_> {
    /// Publishes what the shard holds, releases it, and drops what was removed.
    fn release_changed(&mut self) {
        let mut garbage = Vec::new();
        let delta = self.settle(&mut garbage);
        if self.tells {
            let told = self.take_told();
            self.keyspace.told.keep(told);
        }
        if self.notes {
            let mut noted = Noted::default();
            self.take_noted(&mut noted);
            self.keyspace.left_over.keep(&mut noted);
        }
        self.touched = 0;
        self.keyspace.publish(self.cell, delta, self.exact);
        self.shard = None;
        for object in garbage {
            if object.heap_bytes() > BACKGROUND_DROP_BYTES {
                self.keyspace.drop_later(Dropped::Object(object));
            }
        }
    }
}

fn spawn_dropper(pending: Arc<AtomicUsize>) -> SyncSender<Dropped> {
    let (sender, receiver) = sync_channel::<Dropped>(DROP_QUEUE_MAX);
    let spawned = std::thread::Builder::new().name("larder-drop".into()).spawn(move || {
        for dropped in receiver {
            match dropped {
                Dropped::Db(db) => drop(db),
                Dropped::Object(object) => drop(object),
            }
            pending.fetch_sub(1, Ordering::Relaxed);
        }
    });
    // Without the thread the receiver is gone and everything is dropped where it falls.
    drop(spawned);
    sender
}
