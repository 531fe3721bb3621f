//! What a handler sees: the worker it runs on, the session it serves, the reply it writes, and the locked data.
//!
//! The data is a field of its own, so that a handler can write what it reads straight into the reply:
//! `cx.reply.bulk(cx.data.db(&key).string(found))`. Handlers never lock, never wait and never see a socket.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::base::slot::Slot;
use crate::command::ahead::Ahead;
use crate::command::blocking::Begun;
use crate::command::function::local::Local as Functions;
use crate::command::script::local::Local;
use crate::command::session::Session;
use crate::command::table::{Entry, Recent};
use crate::config::Config;
use crate::config::store::ConfigReader;
use crate::hub::Hub;
use crate::hub::blocked::AwaitedKey;
use crate::hub::events::{Change, Class};
use crate::hub::tracking::Invalid;
use crate::metrics::workers::WorkerStats;
use crate::resp::reply::Reply;
use crate::store::db::{Db, Found};
use crate::store::key::Key;
use crate::store::keyspace::{Guard, Keyspace, OutOfMemory, Shard};
use crate::store::noted::Noted;
use crate::store::usage::Removals;

/// What belongs to one worker thread: made once, lent to every command that runs on it.
pub struct WorkerLocal {
    /// The services that all workers share.
    pub hub: Arc<Hub>,
    /// The thread's own part.
    pub state: WorkerState,
}

/// The part of a [`WorkerLocal`] that nobody else touches.
pub struct WorkerState {
    /// Number of the worker.
    pub number: usize,
    /// Counters that this worker alone writes.
    pub stats: Arc<WorkerStats>,
    /// Where the time comes from.
    pub clock: Clock,
    /// The configuration as this worker last saw it.
    pub config: ConfigReader,
    /// Randomness for commands.
    pub rng: Rng,
    /// The row of the last request.
    pub recent: Recent,
    /// What is known of the requests behind the present one.
    pub ahead: Ahead,
    /// Unix ms, read once a batch: the time that all commands of a batch see.
    pub now_ms: u64,
    /// Whether this server is a cluster's member.
    pub clustered: bool,
    /// Whether the node's lease held when the batch began.
    pub leased: bool,
    /// Whether a command of the batch touched data.
    pub touched: bool,
    /// How the request waits that is to wait: taken by whoever ran it.
    pub waits: Option<Begun>,
    /// Its row, and the slot of its keys.
    pub waits_at: Option<(&'static Entry, Option<Slot>)>,
    /// Keys that somebody waits for and that have changed.
    pub changed_keys: VecDeque<AwaitedKey>,
    /// The one of them that is being looked after now.
    pub serving: Option<Box<[u8]>>,
    /// Keys that clients have cached and that have changed, still to be told of.
    pub invalid: Invalid,
    /// Lent to whoever collects them; empty in between.
    pub noted: Noted,
    /// Monotonic ns at which the last command ended (or the batch began).
    pub last_ns: u64,
    /// Its interpreter for scripts, from the first script on; taken out while one runs.
    pub scripts: Option<Box<Local>>,
    /// Its interpreter for functions, from the first library on; taken out while one runs.
    pub functions: Option<Box<Functions>>,
}

impl WorkerLocal {
    /// The worker of this number.
    pub fn new(hub: Arc<Hub>, number: usize) -> Self {
        let stats = Arc::clone(&hub.workers[number]);
        Self::with(hub, number, stats)
    }

    /// The thread that runs long scripts.
    pub fn for_scripts(hub: Arc<Hub>) -> Self {
        let (number, stats) = (hub.workers.len(), Arc::clone(&hub.script_stats));
        Self::with(hub, number, stats)
    }

    fn with(hub: Arc<Hub>, number: usize, stats: Arc<WorkerStats>) -> Self {
        let clock = hub.clock.clone();
        let state = WorkerState {
            number,
            stats,
            config: hub.config.reader(),
            rng: Rng::from_entropy(),
            recent: Recent::default(),
            ahead: Ahead::default(),
            now_ms: clock.wall_ms(),
            clustered: hub.cluster.is_on(),
            leased: false,
            touched: false,
            waits: None,
            waits_at: None,
            changed_keys: VecDeque::new(),
            serving: None,
            invalid: Invalid::default(),
            noted: Noted::default(),
            last_ns: clock.mono_ns(),
            scripts: None,
            functions: None,
            clock,
        };
        Self { hub, state }
    }

    /// Reads the clock and looks for a changed configuration: once before a batch of requests.
    #[inline]
    pub fn refresh_now(&mut self) {
        self.state.now_ms = self.state.clock.wall_ms();
        self.state.last_ns = self.state.clock.mono_ns();
        self.state.config.refresh();
        if self.state.clustered {
            self.state.leased = self.is_leased();
            self.state.touched = false;
        }
    }

    /// Whether the batch's replies may leave: a node that was stopped in the middle of a batch for longer than its lease
    /// lasts may have read, or written, what is no longer its own.
    #[inline]
    pub fn may_answer(&self) -> bool {
        !self.state.clustered || !self.state.touched || self.is_leased()
    }

    #[inline]
    fn is_leased(&self) -> bool {
        self.hub.cluster.routes.is_leased(self.state.clock.boot_ns())
    }
}

impl WorkerState {
    /// The configuration as of the last refresh.
    #[inline]
    pub fn config(&mut self) -> &Arc<Config> {
        self.config.current()
    }
}

/// Everything that a handler may use.
pub struct Cx<'a> {
    /// Shared services.
    pub hub: &'a Hub,
    /// The worker's own part.
    pub worker: &'a mut WorkerState,
    /// The connection's state.
    pub session: &'a mut Session,
    /// Where the reply goes.
    pub reply: &'a mut Reply,
    /// The locked shards.
    pub data: Data<'a>,
    /// The row of the command that is running.
    pub entry: &'static Entry,
    /// The slot that its keys share, in a cluster.
    pub slot: Option<Slot>,
    /// Its slot turned out to be held: it has done nothing and is tried again.
    pub held: bool,
    /// It has found nothing and waits.
    pub waits: Option<Begun>,
    /// It is a script that takes too long for a worker: it has done nothing, and another thread is to run it.
    pub goes_apart: bool,
    /// Unix ms; the same for a whole batch, transaction or script.
    pub now_ms: u64,
}

impl Cx<'_> {
    /// Whether the connection is to see a cluster's member: not by the gateway.
    pub fn in_cluster(&self) -> bool {
        self.hub.cluster.is_on() && !self.session.gateway
    }
}

/// The shards that are locked for a command.
#[derive(Debug)]
pub enum Locked<'a> {
    /// None: the command has no keys.
    None,
    /// The shard of its only key.
    One(Guard<'a>),
    /// Several, ascending.
    Many(SmallVec<[Guard<'a>; 4]>),
}

/// The data as a command sees it: the database of its session in the shards that are locked for it.
#[derive(Debug)]
pub struct Data<'a> {
    keyspace: &'a Keyspace,
    locked: Locked<'a>,
    /// Shards that a long script has reserved, so that it need not hold their locks between its commands; 0 for none.
    kept: u64,
    /// The key that execute has hashed already.
    known: Option<Key<'a>>,
    /// The locks are kept over several commands (EXEC).
    pub held: bool,
    /// Number of the session's database.
    pub db: usize,
    now_ms: u64,
    /// Whether reads count as use (CLIENT NO-TOUCH).
    touches: bool,
    /// Entries that are due are passed over instead of removed: the command that is running only reads, and CLIENT PAUSE
    /// forbids changes.
    pub keeps_due: bool,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys changed, as INFO's `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
    /// Classes of events that somebody listens to, as bits of `notify-keyspace-events`.
    pub(super) wanted: u32,
    /// What happened to keys, as far as it is wanted.
    pub(super) changes: Vec<Change>,
}

impl<'a> Data<'a> {
    /// Data over `locked`; `known` is a key that the command's handler is likely to ask for.
    pub fn new(keyspace: &'a Keyspace, db: usize, now_ms: u64, touches: bool) -> Self {
        Self {
            keyspace,
            locked: Locked::None,
            kept: 0,
            known: None,
            held: false,
            db,
            now_ms,
            touches,
            keeps_due: false,
            hits: 0,
            misses: 0,
            dirty: 0,
            wanted: 0,
            changes: Vec::new(),
        }
    }

    /// Unix ms, as the command sees it.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The session's database in the key's shard, if it was ever written to and the shard is locked.
    pub fn db_if_any(&self, key: &Key<'_>) -> Option<&Db> {
        let guard = match &self.locked {
            Locked::None => None,
            Locked::One(guard) => Some(guard),
            Locked::Many(guards) => {
                guards.binary_search_by_key(&key.shard, Guard::number).ok().map(|at| &guards[at])
            }
        };
        guard.filter(|guard| guard.number() == key.shard)?.db_shared(self.db)
    }

    /// Locks the shard of one key.
    #[inline]
    pub fn lock_key(&mut self, key: Key<'a>) {
        self.locked = Locked::One(self.keyspace.lock(key.shard));
        self.known = Some(key);
    }

    /// Locks the shard of the only key that a script declares: it may reach for more.
    pub fn lock_declared(&mut self, key: Key<'a>) {
        self.lock_set(1 << key.shard);
        self.known = Some(key);
    }

    /// Locks the shards whose bits are set.
    pub fn lock_set(&mut self, mask: u64) {
        self.locked = Locked::Many(self.keyspace.lock_set(mask));
    }

    /// The shards whose locks are held.
    pub fn locked_mask(&self) -> u64 {
        match &self.locked {
            Locked::None => 0,
            Locked::One(guard) => 1 << guard.number(),
            Locked::Many(guards) => guards.iter().fold(0, |mask, guard| mask | 1 << guard.number()),
        }
    }

    /// The shards that are kept without their locks.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Keeps more shards from here on, those among them whose locks are held.
    pub(super) fn keep(&mut self, mask: u64) {
        self.kept |= mask;
    }

    /// Keeps none any more, and gives those that were.
    pub(super) fn keep_none(&mut self) -> u64 {
        std::mem::take(&mut self.kept)
    }

    /// Locks what is kept and not locked.
    pub(super) fn regain(&mut self) {
        if self.kept != 0 && matches!(self.locked, Locked::None) {
            self.lock_set(self.kept);
        }
    }

    /// Locks one more shard if nobody holds its lock and nobody has reserved it; whether it is locked now.
    pub(super) fn reach(&mut self, shard: usize) -> bool {
        if self.locked_mask() >> shard & 1 != 0 {
            return true;
        }
        let Some(guard) = self.keyspace.try_lock(shard) else { return false };
        if self.keyspace.reserved() >> shard & 1 != 0 {
            return false;
        }
        let mut guards = match std::mem::replace(&mut self.locked, Locked::None) {
            Locked::None => SmallVec::new(),
            Locked::One(guard) => SmallVec::from_iter([guard]),
            Locked::Many(guards) => guards,
        };
        let at = guards.partition_point(|held| held.number() < shard);
        guards.insert(at, guard);
        self.locked = Locked::Many(guards);
        true
    }

    /// Takes the keys out that somebody waits for and that have changed, in the order in which they did, shard by shard.
    pub fn take_changed_keys(&mut self, into: &mut VecDeque<AwaitedKey>) {
        self.each_locked(|_, shard| shard.take_changed_keys(into));
    }

    /// Calls `visit` with the shards that are locked, ascending, and their numbers.
    #[inline]
    pub(super) fn each_locked(&mut self, mut visit: impl FnMut(usize, &mut Shard)) {
        match &mut self.locked {
            Locked::None => {}
            Locked::One(guard) => visit(guard.number(), guard),
            Locked::Many(guards) => guards.iter_mut().for_each(|guard| visit(guard.number(), guard)),
        }
    }

    /// Releases all locks.
    #[inline]
    pub fn unlock(&mut self) {
        self.locked = Locked::None;
    }

    /// Calls `run` with no shard locked: for what locks shards by itself. The locks of a transaction are taken again
    /// afterwards, so that others may come in between.
    pub fn without_locks<R>(&mut self, run: impl FnOnce() -> R) -> R {
        let mask = self.locked_mask();
        self.unlock();
        let result = run();
        if mask != 0 {
            self.lock_set(mask);
        }
        result
    }

    /// A mask of the shard that holds a slot.
    pub fn mask_of(&self, slot: Slot) -> u64 {
        1 << self.keyspace.layout().shard_of(slot)
    }

    /// A mask of all shards.
    pub fn all_shards(&self) -> u64 {
        self.keyspace.all()
    }

    /// Slot, shard and hash of a key.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        match &self.known {
            // A script's commands name its key by a copy.
            Some(known) if std::ptr::eq(known.bytes, bytes) || known.bytes == bytes => {
                Key { bytes, ..*known }
            }
            _ => self.keyspace.layout().key(bytes),
        }
    }

    /// The session's database in the key's shard.
    ///
    /// # Panics
    /// If the key is none of the command's keys by its row, so that its shard is not locked.
    #[inline]
    pub fn db(&mut self, key: &Key<'_>) -> &mut Db {
        self.db_numbered(key, self.db)
    }

    /// Another database in the key's shard.
    ///
    /// # Panics
    /// As [`Data::db`].
    #[inline]
    pub fn db_numbered(&mut self, key: &Key<'_>, number: usize) -> &mut Db {
        match &mut self.locked {
            Locked::One(guard) if guard.number() == key.shard => guard.db(number),
            Locked::Many(guards) => {
                let at = guards.binary_search_by_key(&key.shard, Guard::number);
                guards[at.expect("a command uses only keys that its row names")].db(number)
            }
            _ => panic!("a command uses only keys that its row names"),
        }
    }

    /// The key's entry, for reading its value: counts as hit or miss, and as an access.
    #[inline]
    pub fn read(&mut self, key: &Key<'_>) -> Option<Found> {
        let (now_ms, touches, keeps_due) = (self.now_ms, self.touches, self.keeps_due);
        let db = self.db(key);
        let found = if keeps_due { db.find_keeping(key, now_ms) } else { db.find(key, now_ms) };
        match found {
            Some(found) => {
                if touches {
                    db.touch(found, now_ms);
                }
                self.hits += 1;
            }
            None => {
                self.misses += 1;
                self.event(Class::Miss, "keymiss", key.bytes);
            }
        }
        found
    }

    /// The key's entry, for telling something about it other than its value: counts as hit or miss, not as an access.
    #[inline]
    pub fn look(&mut self, key: &Key<'_>) -> Option<Found> {
        let found = self.find(key);
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    /// Makes room for a command that turns out to need about `bytes` more than its request has. Its only key's shard is
    /// let go of meanwhile: whatever was found must be found again. Within EXEC the shards stay locked, and what is too
    /// much goes with the next write.
    ///
    /// # Errors
    /// There is no room and nothing may be evicted.
    pub fn make_room(&mut self, key: &Key<'_>, bytes: usize) -> Result<(), OutOfMemory> {
        if self.held {
            return Ok(());
        }
        self.unlock();
        let outcome = self.keyspace.make_room(key.shard, bytes);
        self.locked = Locked::One(self.keyspace.lock(key.shard));
        outcome
    }

    /// The key's entry, for changing it: neither hit nor miss, no access.
    #[inline]
    pub fn find(&mut self, key: &Key<'_>) -> Option<Found> {
        let (now_ms, keeps_due) = (self.now_ms, self.keeps_due);
        let db = self.db(key);
        if keeps_due { db.find_keeping(key, now_ms) } else { db.find(key, now_ms) }
    }

    /// Entries removed by expiry and eviction since the start.
    pub fn removals(&mut self) -> Removals {
        let mut sum = Removals::default();
        self.each_shard(|_, shard| sum = sum + shard.removals());
        sum
    }

    /// Calls `visit` with every shard, ascending: those that are locked as they are, the others each under its lock for
    /// the time of the call.
    pub fn each_shard(&mut self, mut visit: impl FnMut(usize, &mut Shard)) {
        for number in 0..self.keyspace.shards() {
            self.with_shard(number, |shard| visit(number, shard));
        }
    }

    /// Calls `visit` with one shard, locked for the time of the call if it is not yet.
    pub fn with_shard<R>(&mut self, number: usize, visit: impl FnOnce(&mut Shard) -> R) -> R {
        if let Locked::Many(guards) = &mut self.locked
            && let Ok(at) = guards.binary_search_by_key(&number, Guard::number)
        {
            return visit(&mut guards[at]);
        }
        visit(&mut self.keyspace.lock(number))
    }
}
