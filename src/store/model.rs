//! Random operations on a shard against a model that is too simple to be wrong (a hash map); for tests alone.
//!
//! Every run is decided by its seed, which stands in the name of the thread that panics. The shard's own recount
//! (`Db::validate`) runs every few operations, so that what breaks an invariant is at most that far away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::db::{Db, Due, NewString};
use super::entry;
use super::index::Position;
use super::key::Layout;
use super::keyspace::{Guard, Keyspace};
use super::policy::Policy;
use crate::base::rng::Rng;

const DBS: u64 = 3;
const POLICIES: [Policy; 8] = [
    Policy::NoEviction,
    Policy::AllkeysLru,
    Policy::AllkeysLfu,
    Policy::AllkeysRandom,
    Policy::VolatileLru,
    Policy::VolatileLfu,
    Policy::VolatileRandom,
    Policy::VolatileTtl,
];
/// Start of the tests' time: Unix ms in 2027.
const START_MS: u64 = 1_800_000_000_000;

type Entries = HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// Runs `test` once a seed, in a thread that is named after it.
fn each_seed(seeds: std::ops::Range<u64>, test: fn(u64)) {
    for seed in seeds {
        let thread = std::thread::Builder::new().name(format!("seed {seed}"));
        let joined = thread.spawn(move || test(seed)).expect("a thread starts").join();
        assert!(joined.is_ok(), "seed {seed} failed");
    }
}

/// A shard and what it should hold.
struct World {
    keyspace: Keyspace,
    model: Vec<Entries>,
    rng: Rng,
    now_ms: u64,
    /// Keys in use: few make for many overwrites, many for splits.
    keys: u64,
    value_max: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let layout = Layout::seeded(0, seed);
        let policy = POLICIES[rng.below(8) as usize];
        Self {
            keyspace: Keyspace::new(layout, policy, 0, seed),
            model: vec![Entries::new(); DBS as usize],
            keys: 20 + rng.below(3000),
            value_max: [16, 100, 1000, 20_000][rng.below(4) as usize],
            now_ms: START_MS,
            rng,
        }
    }

    fn guard(&self) -> Guard<'_> {
        self.keyspace.lock(0)
    }

    /// Most keys share one hash tag, so that one slot needs a directory; some are longer than an entry can hold.
    fn key(&mut self) -> Vec<u8> {
        let number = self.rng.below(self.keys);
        match number % 16 {
            0 => format!("{{long}}{number}{}", "x".repeat(200 + number as usize % 300)).into_bytes(),
            1..=3 => format!("key:{number}").into_bytes(),
            4 => format!("{{other}}{number}").into_bytes(),
            _ => format!("{{big}}{number}").into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let max = if self.rng.below(50) == 0 { 20_000 } else { self.value_max };
        let length = self.rng.below(max + 1) as usize;
        let byte = self.rng.next_u64() as u8;
        (0..length).map(|at| byte.wrapping_add(at as u8)).collect()
    }

    fn due_ms(&mut self) -> Option<u64> {
        match self.rng.below(8) {
            0..=3 => None,
            4..=5 => Some(self.now_ms + 3_600_000),
            6 => Some(self.now_ms + 1 + self.rng.below(20_000)),
            // Beyond what the narrow form holds.
            _ => Some(self.now_ms + (1 << 42) + self.rng.below(1000)),
        }
    }

    fn forget_due(&mut self, db: usize) {
        let now_ms = self.now_ms;
        self.model[db].retain(|_, (_, due_ms)| due_ms.is_none_or(|due_ms| due_ms > now_ms));
    }

    fn step(&mut self) {
        let db = self.rng.below(DBS) as usize;
        match self.rng.below(100) {
            0..=39 => self.set(db),
            40..=54 => self.edit(db),
            55..=59 => self.overwrite(db),
            60..=66 => self.set_due(db),
            67..=76 => self.remove(db),
            77..=86 => self.read(db),
            87 => self.now_ms += self.rng.below(4000),
            88 => self.expire(db),
            89..=92 => self.evict(db),
            93..=97 => {
                self.guard().db(db).compact_slice(true);
            }
            98 => self.change_policy(),
            _ => self.exchange(db),
        }
    }

    fn set(&mut self, db: usize) {
        let (key, value, due_ms, keep) = (self.key(), self.value(), self.due_ms(), self.rng.below(4) == 0);
        let now_ms = self.now_ms;
        self.forget_due(db);
        let kept = self.model[db].get(&key).and_then(|&(_, due_ms)| due_ms);
        let due = if keep { Due::Keep } else { due_ms.map_or(Due::Never, Due::At) };
        let mut guard = self.guard();
        let layout = self.keyspace.layout();
        let held = guard.db(db);
        let found = held.find(&layout.key(&key), now_ms);
        assert_eq!(found.is_some(), self.model[db].contains_key(&key));
        let new = NewString { bytes: &value, raw: false };
        held.set_string(&layout.key(&key), found, new, due, now_ms).expect("the arena is not full");
        drop(guard);
        self.model[db].insert(key, (value, if keep { kept } else { due_ms }));
    }

    fn edit(&mut self, db: usize) {
        let (key, value, now_ms) = (self.key(), self.value(), self.now_ms);
        let offset = (self.rng.below(2) == 0).then(|| self.rng.below(200) as usize);
        self.forget_due(db);
        let mut guard = self.keyspace.lock(0);
        let layout = self.keyspace.layout();
        let held = guard.db(db);
        let found = held.find(&layout.key(&key), now_ms);
        let length = held.edit_string(&layout.key(&key), found, now_ms, |buffer| match offset {
            Some(offset) => buffer.write_at(offset, &value),
            None => buffer.append(&value),
        });
        drop(guard);
        let entry = self.model[db].entry(key).or_default();
        match offset {
            Some(offset) => {
                entry.0.resize(entry.0.len().max(offset + value.len()), 0);
                entry.0[offset..offset + value.len()].copy_from_slice(&value);
            }
            None => entry.0.extend_from_slice(&value),
        }
        assert_eq!(length, Ok(entry.0.len()));
    }

    fn overwrite(&mut self, db: usize) {
        let (key, now_ms) = (self.key(), self.now_ms);
        self.forget_due(db);
        let mut guard = self.keyspace.lock(0);
        let key_in = self.keyspace.layout().key(&key);
        let held = guard.db(db);
        let Some(found) = held.find(&key_in, now_ms) else { return };
        let Some((value, _)) = self.model[db].get_mut(&key) else { panic!("found what was never set") };
        value.iter_mut().for_each(|byte| *byte ^= 0x55);
        if !held.overwrite(&key_in, found, value, now_ms) {
            assert!(value.len() + key.len() > 200, "a short string is overwritten in place");
            value.iter_mut().for_each(|byte| *byte ^= 0x55);
        }
    }

    fn set_due(&mut self, db: usize) {
        let (key, due_ms, now_ms) = (self.key(), self.due_ms(), self.now_ms);
        self.forget_due(db);
        let mut guard = self.keyspace.lock(0);
        let key_in = self.keyspace.layout().key(&key);
        let held = guard.db(db);
        let Some(found) = held.find(&key_in, now_ms) else { return };
        held.set_due(&key_in, found, due_ms).expect("the arena is not full");
        drop(guard);
        self.model[db].get_mut(&key).expect("found what was set").1 = due_ms;
    }

    fn remove(&mut self, db: usize) {
        let (key, now_ms) = (self.key(), self.now_ms);
        self.forget_due(db);
        let mut guard = self.keyspace.lock(0);
        let key_in = self.keyspace.layout().key(&key);
        let held = guard.db(db);
        let found = held.find(&key_in, now_ms);
        assert_eq!(found.is_some(), self.model[db].remove(&key).is_some());
        if let Some(found) = found {
            held.remove(key_in.hashed, found);
        }
    }

    fn read(&mut self, db: usize) {
        let (key, now_ms) = (self.key(), self.now_ms);
        self.forget_due(db);
        let mut guard = self.keyspace.lock(0);
        let held = guard.db(db);
        let found = held.find(&self.keyspace.layout().key(&key), now_ms);
        let read = found.map(|found| {
            held.touch(found, now_ms);
            (held.string(found).to_vec(), held.due_ms(found))
        });
        assert_eq!(read.as_ref(), self.model[db].get(&key));
    }

    fn expire(&mut self, db: usize) {
        self.forget_due(db);
        let slice = 1 + self.rng.below(50) as usize;
        let mut guard = self.keyspace.lock(0);
        while guard.db(db).expire(self.now_ms, slice) == slice {
            guard.db(db).validate();
        }
        assert_eq!(guard.db(db).entries(), self.model[db].len());
    }

    fn evict(&mut self, db: usize) {
        let (keyspace, now_ms) = (&self.keyspace, self.now_ms);
        let mut guard = keyspace.lock(0);
        let policy = keyspace.policy();
        let before = guard.db(db).entries();
        let evicted = guard.db(db).evict(&mut self.rng);
        let after = guard.db(db).entries();
        assert_eq!(before - after, usize::from(evicted.is_some()));
        if policy == Policy::NoEviction {
            assert_eq!(evicted, None);
        }
        if !policy.is_volatile() && policy != Policy::NoEviction {
            assert_eq!(evicted.is_some(), before > 0, "there was something to evict");
        }
        let held = guard.db(db);
        let rebuilding = held.rebuild.is_some();
        self.model[db].retain(|key, (_, due_ms)| {
            let found = held.peek(&keyspace.layout().key(key)).is_some();
            assert!(
                found || evicted.is_some() || due_ms.is_some_and(|due_ms| due_ms <= now_ms),
                "an entry is gone that nothing evicted"
            );
            assert!(
                found || rebuilding || !policy.is_volatile() || due_ms.is_some(),
                "evicted without due time"
            );
            found
        });
    }

    fn change_policy(&mut self) {
        self.keyspace.set_policy(POLICIES[self.rng.below(8) as usize]);
        let mut guard = self.keyspace.lock(0);
        for db in 0..DBS as usize {
            // Sometimes the rebuilding goes on during the next operations.
            if self.rng.below(3) > 0 {
                while guard.db(db).rebuild_slice() {}
            }
        }
    }

    fn exchange(&mut self, db: usize) {
        let other = self.rng.below(DBS) as usize;
        let watched: Vec<Vec<u8>> = vec![self.key(), self.key()];
        let mut guard = self.keyspace.lock(0);
        let layout = self.keyspace.layout();
        let flags: Vec<Arc<AtomicBool>> = watched.iter().map(|_| Arc::default()).collect();
        for (key, flag) in watched.iter().zip(&flags) {
            guard.db(db).watch(key, Arc::clone(flag));
        }
        if self.rng.below(4) == 0 {
            let had: Vec<bool> =
                watched.iter().map(|key| guard.db(db).peek(&layout.key(key)).is_some()).collect();
            drop(guard.take(db));
            self.model[db].clear();
            for (flag, had) in flags.iter().zip(had) {
                assert_eq!(flag.load(Ordering::Relaxed), had, "a watched key vanished");
            }
        } else if other != db {
            guard.swap(db, other, self.now_ms);
            self.model.swap(db, other);
        }
        for (key, flag) in watched.iter().zip(&flags) {
            guard.db(db).unwatch(key, flag);
        }
    }

    fn check(&mut self) {
        let mut guard = self.keyspace.lock(0);
        for (db, model) in self.model.iter().enumerate() {
            let held = guard.db(db);
            held.validate();
            for (key, (value, due_ms)) in model {
                let Some(found) = held.peek(&self.keyspace.layout().key(key)) else {
                    assert!(due_ms.is_some_and(|due_ms| due_ms <= self.now_ms), "a live entry is gone");
                    continue;
                };
                assert_eq!((held.string(found), held.due_ms(found)), (&value[..], *due_ms));
            }
            assert_eq!(scan_all(held).len(), held.entries());
        }
        drop(guard);
        let guard = self.keyspace.lock(0);
        let used: usize = guard.dbs().map(|(_, db)| db.used_bytes()).sum();
        let reusable: usize = guard.dbs().map(|(_, db)| db.reusable_bytes()).sum();
        assert_eq!(
            (self.keyspace.used_bytes(), self.keyspace.reusable_bytes()),
            (used as u64, reusable as u64),
            "what is published is not what is held"
        );
    }
}

/// Keys of a whole scan while nothing changes, each once.
fn scan_all(db: &Db) -> HashSet<Vec<u8>> {
    let mut keys = HashSet::new();
    let mut slot = db.index.next_occupied(0);
    while let Some(number) = slot {
        let mut position = Some(Position::default());
        while let Some(from) = position {
            let mut handles = Vec::new();
            position = db.index.scan(number, from, 7, &mut handles);
            for handle in handles {
                assert!(keys.insert(db.key_of(handle).to_vec()), "returned twice without a change");
            }
        }
        slot = db.index.next_occupied(number + 1);
    }
    keys
}

#[test]
fn random_operations_match_the_model() {
    each_seed(0..24, |seed| {
        let mut world = World::new(seed);
        let check_every = 1 + world.rng.below(400);
        for step in 0..6_000 {
            world.step();
            if step % check_every == 0 {
                world.check();
            }
        }
        world.check();
        for db in 0..DBS as usize {
            drop(world.guard().take(db));
        }
        let empty = Keyspace::new(world.keyspace.layout().clone(), Policy::AllkeysLru, 0, seed);
        assert_eq!(
            (world.keyspace.used_bytes(), world.keyspace.reusable_bytes()),
            (DBS * empty.used_bytes(), 0),
            "an emptied database keeps its tables and nothing else"
        );
    });
}

/// Adds or removes keys of one slot.
fn mutate(db: &mut Db, layout: &Layout, rng: &mut Rng, held: &mut BTreeMap<u64, Vec<u8>>, grow: bool) {
    if grow {
        let number = rng.next_u64() >> 20;
        let key = format!("{{one}}{number}").into_bytes();
        let found = db.find(&layout.key(&key), START_MS);
        let new = NewString { bytes: b"v", raw: false };
        db.set_string(&layout.key(&key), found, new, Due::Never, START_MS).expect("the arena is not full");
        held.insert(number, key);
    } else if let Some((&number, _)) = held.range(rng.next_u64() >> 20..).next() {
        let key = held.remove(&number).expect("it was just found");
        let key = layout.key(&key);
        let found = db.find(&key, START_MS).expect("it was set");
        db.remove(key.hashed, found);
    }
}

#[test]
fn a_scan_returns_whatever_was_there_all_along() {
    each_seed(100..140, |seed| {
        let mut rng = Rng::seeded(seed);
        let layout = Layout::seeded(0, seed);
        let mut db = Db::new(layout.clone(), Policy::AllkeysLru);
        let mut held = BTreeMap::new();
        for _ in 0..[10, 120, 300, 5000][rng.below(4) as usize] {
            mutate(&mut db, &layout, &mut rng, &mut held, true);
        }
        let slot = layout.key(b"{one}").hashed.slot;
        let (mut always, mut seen): (HashSet<Vec<u8>>, HashSet<Vec<u8>>) =
            (held.values().cloned().collect(), HashSet::new());
        let mut position = Some(Position::default());
        let mut steps = 0;
        let (grows, shrinks, count) = (rng.below(40), rng.below(60), 1 + rng.below(20) as usize);
        // Growth ends at some time, else the scan might not.
        while let Some(from) = position {
            let mut handles = Vec::new();
            position = db.index.scan(slot, from, count, &mut handles);
            seen.extend(handles.iter().map(|&handle| db.key_of(handle).to_vec()));
            for _ in 0..if steps < 400 { grows } else { 0 } {
                mutate(&mut db, &layout, &mut rng, &mut held, true);
            }
            for _ in 0..shrinks {
                mutate(&mut db, &layout, &mut rng, &mut held, false);
            }
            always.retain(|key| db.peek(&layout.key(key)).is_some());
            steps += 1;
            assert!(steps < 100_000, "the scan does not end");
        }
        db.validate();
        let missed = always.difference(&seen).count();
        assert_eq!(missed, 0, "of {} that were there all along", always.len());
    });
}

#[test]
fn a_removed_and_an_edited_value_are_dropped_after_the_lock() {
    let keyspace = Keyspace::new(Layout::seeded(0, 1), Policy::AllkeysLru, 0, 1);
    let key = keyspace.layout().key(b"k");
    let mut guard = keyspace.lock(0);
    let big = vec![7; 100_000];
    let db = guard.db(0);
    db.set_string(&key, None, NewString { bytes: &big, raw: false }, Due::Never, START_MS).expect("room");
    let found = db.find(&key, START_MS).expect("it was set");
    assert_eq!(entry::kind(db.arena.slot(found.handle)), entry::Kind::Object);
    db.remove(key.hashed, found);
    assert_eq!(db.garbage.len(), 1);
    drop(guard);
    let mut guard = keyspace.lock(0);
    assert!(guard.db(0).garbage.is_empty());
}
