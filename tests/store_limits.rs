//! The store at its memory limit: threads that write over it, sizes that drift under it.
//!
//! It holds the store to what the keyspace promises: what is published equals what is held, memory stays within a named
//! distance of the limit whatever is written, blocks of sizes that went out of use come back, and nobody waits forever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use larder::base::rng::Rng;
use larder::store::db::{Due, NewString};
use larder::store::key::Layout;
use larder::store::keyspace::{Keyspace, OutOfMemory};
use larder::store::policy::Policy;

const NOW_MS: u64 = 1_800_000_000_000;
const LONGEST: usize = 60_000;
const DEADLINE: Duration = Duration::from_secs(300);

fn keyspace(shard_bits: u32, limit_bytes: u64, policy: Policy) -> Keyspace {
    Keyspace::new(Layout::seeded(shard_bits, 5), policy, limit_bytes, 5)
}

/// A write as a command does it: room first, then the shard's lock.
fn set(keyspace: &Keyspace, db: usize, key: &[u8], value: &[u8], due: Due) -> Result<(), OutOfMemory> {
    let key = keyspace.layout().key(key);
    keyspace.make_room(key.shard, key.bytes.len() + value.len() + 32)?;
    let mut shard = keyspace.lock(key.shard);
    let db = shard.db(db);
    let found = db.find(&key, NOW_MS);
    db.set_string(&key, found, NewString { bytes: value, raw: false }, due, NOW_MS).map_err(|_| OutOfMemory)
}

/// Used and reusable bytes, recounted shard by shard.
fn recount(keyspace: &Keyspace) -> (u64, u64) {
    (0..keyspace.shards()).fold((0, 0), |(used, reusable), number| {
        let shard = keyspace.lock(number);
        shard.dbs().fold((used, reusable), |(used, reusable), (_, db)| {
            (used + db.used_bytes() as u64, reusable + db.reusable_bytes() as u64)
        })
    })
}

fn hammer(keyspace: &Keyspace, seed: u64, operations: usize) {
    let mut rng = Rng::seeded(seed);
    let value = vec![seed as u8; LONGEST];
    for _ in 0..operations {
        let key = format!("key:{}", rng.below(200_000));
        let db = rng.below(3) as usize;
        match rng.below(20) {
            0..=13 => {
                let longest = [100, 600, 5000, LONGEST as u64][(rng.below(100) / 33) as usize];
                let due = if rng.below(3) == 0 { Due::At(NOW_MS + rng.below(1000)) } else { Due::Never };
                let value = &value[..rng.below(longest) as usize];
                set(keyspace, db, key.as_bytes(), value, due).expect("something can be evicted");
            }
            14..=17 => {
                let key = keyspace.layout().key(key.as_bytes());
                let mut shard = keyspace.lock(key.shard);
                if let Some(found) = shard.db(db).find(&key, NOW_MS) {
                    shard.db(db).touch(found, NOW_MS);
                }
            }
            18 => {
                let key = keyspace.layout().key(key.as_bytes());
                let mut shard = keyspace.lock(key.shard);
                if let Some(found) = shard.db(db).find(&key, NOW_MS) {
                    shard.db(db).remove(key.hashed, found);
                }
            }
            _ if rng.below(1000) == 0 => {
                for mut shard in keyspace.lock_set(keyspace.all()) {
                    shard.swap(0, 1, 0);
                    if let Some(taken) = shard.take(2) {
                        keyspace.drop_db(taken);
                    }
                }
            }
            _ => {
                keyspace.sweep(rng.below(keyspace.shards() as u64) as usize, NOW_MS, true);
            }
        }
    }
}

#[test]
fn threads_over_the_limit_keep_the_counts_and_the_bound() {
    const THREADS: u64 = 4;
    const LIMIT_BYTES: u64 = 16 << 20;
    // Free slots that count as room, and what every thread may add between its look at the sum and its write.
    const BOUND_BYTES: u64 = LIMIT_BYTES + LIMIT_BYTES / 16 + THREADS * (LONGEST as u64 * 2) + (1 << 20);
    let (done, finished) = channel();
    let watched = std::thread::spawn(move || {
        let keyspace = keyspace(4, LIMIT_BYTES, Policy::AllkeysLru);
        let stop = AtomicBool::new(false);
        let highest = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut highest = 0;
                while !stop.load(Ordering::Relaxed) {
                    highest = highest.max(keyspace.used_bytes());
                    std::thread::yield_now();
                }
                highest
            });
            let threads: Vec<_> = (0..THREADS)
                .map(|seed| {
                    scope.spawn({
                        let keyspace = &keyspace;
                        move || hammer(keyspace, seed, 60_000)
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().expect("a thread ends well"));
            stop.store(true, Ordering::Relaxed);
            watcher.join().expect("the watcher ends well")
        });
        assert_eq!(recount(&keyspace), (keyspace.used_bytes(), keyspace.reusable_bytes()));
        assert!(highest <= BOUND_BYTES, "{highest} of {LIMIT_BYTES}");
        assert!(keyspace.used_bytes() > LIMIT_BYTES / 2, "{} of {LIMIT_BYTES}", keyspace.used_bytes());
        let _ = done.send(());
    });
    let ended = finished.recv_timeout(DEADLINE);
    assert!(watched.is_finished() || ended.is_ok(), "the threads do not come to an end");
    watched.join().expect("the threads end well");
}

/// Writes `rounds` values of `sizes`, looking up the bound on the way; says which share of the limit is entries.
fn churn(keyspace: &Keyspace, rng: &mut Rng, rounds: usize, sizes: std::ops::Range<u64>) -> f64 {
    let limit = keyspace.limit_bytes();
    let value = vec![1; LONGEST];
    let mut slices = 0;
    for round in 0..rounds {
        let key = format!("key:{}", rng.below(1_000_000));
        let length = sizes.start + rng.below(sizes.end - sizes.start);
        set(keyspace, 0, key.as_bytes(), &value[..length as usize], Due::Never)
            .expect("something can be evicted");
        if round % 100 == 0 {
            slices += usize::from(keyspace.sweep(rng.below(keyspace.shards() as u64) as usize, NOW_MS, true));
            let used = keyspace.used_bytes();
            assert!(used * 10 <= limit * 11, "{used} used of {limit} in round {round} of sizes {sizes:?}");
        }
    }
    let resting = rest(keyspace);
    let entries = payload_bytes(keyspace) as f64 / limit as f64;
    println!(
        "{sizes:?}: {entries:.3} of the limit is keys and values, {:.3} overhead, {:.3} free; {slices} slices had more to do, {resting} at rest",
        (keyspace.used_bytes() - keyspace.reusable_bytes()) as f64 / limit as f64 - entries,
        keyspace.reusable_bytes() as f64 / limit as f64,
    );
    entries
}

/// Does background work until there is none left, which must come; says how many slices it took.
fn rest(keyspace: &Keyspace) -> usize {
    const SLICES_MAX: usize = 200_000;
    let mut slices = 0;
    for shard in 0..keyspace.shards() {
        while keyspace.sweep(shard, NOW_MS, true) {
            slices += 1;
            assert!(slices < SLICES_MAX, "the background work does not come to an end");
        }
    }
    slices
}

/// Bytes of keys and values, and the 13 of a header.
fn payload_bytes(keyspace: &Keyspace) -> usize {
    let bytes = |number: usize| {
        let key = format!("key:{number}");
        let key = keyspace.layout().key(key.as_bytes());
        let shard = keyspace.lock(key.shard);
        let found =
            shard.dbs().find_map(|(_, db)| Some(db.string(db.peek(&key)?).len() + key.bytes.len() + 13));
        found.unwrap_or(0)
    };
    (0..1_000_000).map(bytes).sum()
}

#[test]
fn sizes_that_drift_leave_no_memory_behind() {
    for (shard_bits, limit_bytes) in [(0, 16 << 20), (4, 64 << 20)] {
        let keyspace = keyspace(shard_bits, limit_bytes, Policy::AllkeysLru);
        let mut rng = Rng::seeded(6);
        println!("{} shards, {limit_bytes} bytes", keyspace.shards());
        // Every phase replaces what the limit holds about three times.
        for sizes in [60..61, 100..101, 20..200, 20..1000, 3000..3001, 20..4000, 40..44, 20..LONGEST as u64] {
            let mean = (sizes.start + sizes.end) / 2 + 45;
            let rounds = (limit_bytes / mean * 3) as usize;
            let entries = churn(&keyspace, &mut rng, rounds, sizes.clone());
            assert!(entries > 0.8, "only {entries:.3} of the limit is keys and values with sizes {sizes:?}");
        }
        assert_eq!(recount(&keyspace), (keyspace.used_bytes(), keyspace.reusable_bytes()));
    }
}

#[test]
fn an_entry_costs_what_the_readme_says() {
    // Sizes at which slots leave much and little of a block over, counts that are not a power of two; these due times take five
    // bytes, and a few keys a slot leave the index at its dearest.
    for (entries, value_bytes, due, most) in [
        (100_000, 8, Due::Never, 20.5),
        (110_000, 32, Due::At(NOW_MS + 1), 29.0),
        (160_000, 300, Due::At(NOW_MS + 1), 29.0),
    ] {
        let keyspace = keyspace(0, 0, Policy::AllkeysLru);
        let before = keyspace.used_bytes();
        let value = vec![1; value_bytes];
        for number in 0..entries {
            let key = format!("key:{number:012}");
            set(&keyspace, 0, key.as_bytes(), &value, due).expect("there is no limit");
        }
        rest(&keyspace);
        let bytes = (keyspace.used_bytes() - before) as f64 / entries as f64 - 16.0 - value_bytes as f64;
        println!("{entries} entries of {value_bytes} bytes: {bytes:.2} bytes beside key and value");
        assert!(bytes < most, "{bytes:.2} bytes beside key and value of {value_bytes} bytes");
    }
}
