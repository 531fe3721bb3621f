//! What the store costs without network and commands: ns an operation, the longest insertion while it grows, bytes an
//! entry, and how fast slots move.
//!
//! Times are CPU time of this thread, so that a busy machine disturbs them little (but for its caches); the longest
//! insertion is wall time. Every figure but the bytes goes through [`Keyspace::lock`], one lock an operation, single-threaded. Keys are 16
//! bytes and visited in random order; making a key is measured apart and taken off. Bytes an entry are measured in
//! fresh processes (this program starts itself), since a heap that was used before hides what growth costs.
//!
//! `cargo bench --bench store [-- times|bytes|churn|moves|large] [MILLIONS]`; without a word, everything at 1 and 10 million keys.

use std::hint::black_box;
use std::time::Instant;

use larder::base::rng::Rng;
use larder::base::slot::{SLOT_COUNT, Slot};
use larder::store::arrival::Arrival;
use larder::store::db::{Due, NewString};
use larder::store::departure::{CLEARED_A_STEP, Departure, Export};
use larder::store::key::Layout;
use larder::store::keyspace::Keyspace;
use larder::store::policy::Policy;
use larder::store::value::sorted::{AddOptions, SortedSet};
use larder::store::value::stream::{Group, Nack, NewId, Stream, StreamId};
use larder::store::value::{Thresholds, Typed, Value};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NOW_MS: u64 = 1_800_000_000_000;
const SHARD_BITS: u32 = 4;
const OPERATIONS: u64 = 4_000_000;
/// Insertions that take longer may have been interrupted.
const INTERRUPTION_NS: u64 = 20_000;
const BYTES: [u8; 4096] = [b'v'; 4096];

fn keyspace() -> Keyspace {
    Keyspace::new(Layout::seeded(SHARD_BITS, 1), Policy::AllkeysLru, 0, 1)
}

/// 16 bytes, hexadecimal.
fn key_bytes(number: u64) -> [u8; 16] {
    // Eight nibbles at a time, each into its own byte.
    let spread = |half: u64| {
        let mut wide = half & 0xFFFF_FFFF;
        wide = (wide | wide << 16) & 0x0000_FFFF_0000_FFFF;
        wide = (wide | wide << 8) & 0x00FF_00FF_00FF_00FF;
        wide = (wide | wide << 4) & 0x0F0F_0F0F_0F0F_0F0F;
        (wide + 0x6161_6161_6161_6161).to_be_bytes()
    };
    let mut key = [0; 16];
    key[..8].copy_from_slice(&spread(number >> 32));
    key[8..].copy_from_slice(&spread(number));
    key
}

fn set(keyspace: &Keyspace, number: u64, value: &[u8], due: Due) {
    let bytes = key_bytes(number);
    let key = keyspace.layout().key(&bytes);
    let mut shard = keyspace.lock(key.shard);
    let db = shard.db(0);
    let found = db.find(&key, NOW_MS);
    let new = NewString { bytes: value, raw: false };
    db.set_string(&key, found, new, due, NOW_MS).expect("the arena is not full");
}

fn get(keyspace: &Keyspace, number: u64) -> usize {
    let bytes = key_bytes(number);
    let key = keyspace.layout().key(&bytes);
    let mut shard = keyspace.lock(key.shard);
    let Some(db) = shard.db_if_any(0) else { return 0 };
    let Some(found) = db.find(&key, NOW_MS) else { return 0 };
    db.touch(found, NOW_MS);
    black_box(db.string(found)).len()
}

/// Runs `operation` on random numbers below `keys` and says what one cost in ns.
fn each(keys: u64, mut operation: impl FnMut(u64)) -> f64 {
    let mut rng = Rng::seeded(5);
    let started = cpu_ns();
    (0..OPERATIONS).for_each(|_| operation(rng.below(keys)));
    (cpu_ns() - started) as f64 / OPERATIONS as f64
}

/// How often the system took the core from this thread.
fn involuntary_switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// CPU time of this thread so far.
fn cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn times(millions: f64) {
    let keys = (millions * 1e6) as u64;
    let keyspace = keyspace();
    let mut slowest = hdrhistogram::Histogram::<u64>::new(3).expect("three digits are allowed");
    slowest.auto(true);
    let started = cpu_ns();
    let (mut switches, mut interrupted) = (involuntary_switches(), 0);
    for number in 0..keys {
        let from = Instant::now();
        set(&keyspace, number, &BYTES[..32], Due::Never);
        let ns = from.elapsed().as_nanos() as u64;
        // What takes long because another thread had the core says nothing about the store.
        if ns > INTERRUPTION_NS && std::mem::replace(&mut switches, involuntary_switches()) != switches {
            interrupted += 1;
            continue;
        }
        slowest.record(ns).expect("it grows by itself");
    }
    println!("{millions} million keys of 16 B with values of 32 B");
    println!("  insert (timed)        {:>8.0} ns", (cpu_ns() - started) as f64 / keys as f64);
    println!(
        "  insert, longest       {:>8} ns; p99.9 {} p99.99 {} p99.999 {}; {interrupted} interrupted left out",
        slowest.max(),
        slowest.value_at_quantile(0.999),
        slowest.value_at_quantile(0.9999),
        slowest.value_at_quantile(0.99999)
    );
    let baseline = each(keys, |number| {
        black_box(key_bytes(number));
    });
    let line = |name: &str, ns: f64| println!("  {name:<21} {:>8.1} ns", ns - baseline);
    let hash = each(keys, |number| {
        let bytes = key_bytes(number);
        black_box(keyspace.layout().key(black_box(&bytes)).hashed);
    });
    line("slot and hash", hash);
    let locked = each(keys, |number| {
        let bytes = key_bytes(number);
        let key = keyspace.layout().key(&bytes);
        black_box(keyspace.lock(key.shard).db(0).entries());
    });
    line("… and lock, unlock", locked);
    line("get, one hot key", each(1, |number| assert_eq!(get(&keyspace, number), 32)));
    line("get, hit", each(keys, |number| assert_eq!(get(&keyspace, number), 32)));
    line("get, miss", each(keys, |number| assert_eq!(get(&keyspace, number + keys), 0)));
    line("set, same size", each(keys, |number| set(&keyspace, number, &BYTES[..32], Due::Never)));
    let mut sizes = Rng::seeded(6);
    let other =
        each(keys, |number| set(&keyspace, number, &BYTES[..20 + sizes.below(24) as usize], Due::Never));
    line("set, other size", other);
    let mut delays = Rng::seeded(7);
    let due = each(keys, |number| {
        set(&keyspace, number, &BYTES[..32], Due::At(NOW_MS + 1 + delays.below(1000)));
    });
    line("set, with due time", due);
    expire(&keyspace);
}

fn expire(keyspace: &Keyspace) {
    let before = keyspace.entries(0);
    let started = cpu_ns();
    let mut longest_ns = 0;
    for shard in 0..keyspace.shards() {
        loop {
            let from = Instant::now();
            let more = keyspace.sweep(shard, NOW_MS + 2000, true);
            longest_ns = longest_ns.max(from.elapsed().as_nanos());
            if !more {
                break;
            }
        }
    }
    let expired = before - keyspace.entries(0);
    let ns = (cpu_ns() - started) as f64 / expired.max(1) as f64;
    println!("  expire                {ns:>8.1} ns a key; longest slice {longest_ns} ns");
}

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4096)
}

/// Resident bytes once the allocator has given back what it does not need: when they fell no more for half a second.
fn settled_resident_bytes() -> usize {
    let mut least = usize::MAX;
    let mut unchanged = 0;
    while unchanged < 5 {
        let resident = resident_bytes();
        unchanged = if resident < least { 0 } else { unchanged + 1 };
        least = least.min(resident);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    least
}

/// One line of bytes an entry, in this process.
fn bytes_of_one(value_bytes: usize, with_due: bool, keys: u64) {
    let before = resident_bytes();
    let keyspace = keyspace();
    let mut rng = Rng::seeded(9);
    for number in 0..keys {
        let due = if with_due { Due::At(NOW_MS + 1 + rng.below(86_400_000)) } else { Due::Never };
        set(&keyspace, number, &BYTES[..value_bytes], due);
    }
    // As the server's ticks do when nothing is asked of it.
    for shard in 0..keyspace.shards() {
        while keyspace.sweep(shard, NOW_MS, true) {}
    }
    let payload = (16 + value_bytes) as f64;
    let each = |bytes: usize| bytes as f64 / keys as f64 - payload;
    println!(
        "  {value_bytes:>5} B{} {:>9} keys {:>7.1} counted {:>7.1} resident",
        if with_due { ", due" } else { "     " },
        keys,
        each(keyspace.used_bytes() as usize),
        each(settled_resident_bytes() - before)
    );
}

/// A million keys overwritten ten million times with values of changing sizes, under a limit that never evicts.
fn churn() {
    let keyspace = keyspace();
    let (mut rng, keys) = (Rng::seeded(10), 1_000_000);
    let size = |rng: &mut Rng| (8 << rng.below(5)) + rng.below(64);
    let mut sizes = vec![0u64; keys];
    let before = resident_bytes();
    for round in 0..11_000_000u64 {
        let number = if round < keys as u64 { round } else { rng.below(keys as u64) };
        sizes[number as usize] = size(&mut rng);
        set(&keyspace, number, &BYTES[..sizes[number as usize] as usize], Due::Never);
        if round % 64 == 0 {
            keyspace.sweep(rng.below(keyspace.shards() as u64) as usize, NOW_MS, true);
        }
    }
    let payload = sizes.iter().sum::<u64>() as f64 / keys as f64 + 16.0;
    println!(
        "after 10 million sets of changing size: {payload:.1} B payload, {:.1} counted, {:.1} resident, {:.1} free",
        keyspace.used_bytes() as f64 / keys as f64 - payload,
        (settled_resident_bytes() - before) as f64 / keys as f64 - payload,
        keyspace.reusable_bytes() as f64 / keys as f64
    );
}

/// CPU time of one kind of step, and the longest of those that nobody interrupted.
#[derive(Default)]
struct Steps {
    runs: u64,
    cpu_ns: u64,
    longest_ns: u64,
}

impl Steps {
    fn run<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let (switches, cpu_before, from) = (involuntary_switches(), cpu_ns(), Instant::now());
        let result = step();
        let ns = from.elapsed().as_nanos() as u64;
        self.cpu_ns += cpu_ns() - cpu_before;
        self.runs += 1;
        if ns < INTERRUPTION_NS || involuntary_switches() == switches {
            self.longest_ns = self.longest_ns.max(ns);
        }
        result
    }

    fn print(&self, name: &str, keys: f64, empty: &Self) {
        let measuring_ns = empty.cpu_ns as f64 / empty.runs as f64 * self.runs as f64;
        let (each_ns, longest) = ((self.cpu_ns as f64 - measuring_ns) / keys, self.longest_ns / 1000);
        println!(
            "  {name:<21} {each_ns:>8.1} ns a key, {:>9.0} keys/s a core; longest {longest} µs",
            1e9 / each_ns
        );
    }
}

/// All slots move from one keyspace to another, 128 at a time; keys of 16 bytes with values of 200.
fn moves(millions: f64) {
    const SLOTS_A_MOVE: usize = 128;
    const FRAME_BYTES: usize = 256 * 1024;
    let keys = (millions * 1e6) as u64;
    let source = keyspace();
    let target = Keyspace::new(Layout::seeded(SHARD_BITS, 2), Policy::AllkeysLru, 0, 2);
    (0..keys).for_each(|number| set(&source, number, &BYTES[..200], Due::Never));
    let slots: Vec<Slot> = (0..SLOT_COUNT as u16).filter_map(Slot::new).collect();
    let [mut walk, mut encode, mut apply, mut clear, mut empty] = [(); 5].map(|()| Steps::default());
    (0..10_000).for_each(|_| empty.run(|| ()));
    let (mut frame, mut sent) = (Vec::new(), 0);
    for run in slots.chunks(SLOTS_A_MOVE) {
        let mut departure = Departure::begin(&source, run).expect("no feed is open");
        let mut arrival = Arrival::begin(&target, run).expect("the slots are empty");
        let mut export = Export::default();
        while departure.is_walking() {
            walk.run(|| departure.walk_step(&source, NOW_MS, &mut export));
            frame.clear();
            while encode.run(|| export.fill(&mut frame, FRAME_BYTES)) {}
            sent += frame.len();
            let mut rest = &frame[..];
            while !rest.is_empty() {
                rest = &rest[apply.run(|| arrival.apply(&target, rest, NOW_MS)).expect("it is applied")..];
            }
        }
        departure.end(&source);
        arrival.complete(&target);
        for &slot in run {
            while !clear.run(|| source.clear_slot(slot, CLEARED_A_STEP)) {}
        }
    }
    assert_eq!((source.entries(0), target.entries(0)), (0, keys as usize));
    println!("moving {millions} million keys of 16 B with values of 200 B, {} MB of records", sent >> 20);
    walk.print("walk", keys as f64, &empty);
    encode.print("take out", keys as f64, &empty);
    apply.print("decode and apply", keys as f64, &empty);
    clear.print("empty the slots", keys as f64, &empty);
}

/// How long one collection of so many elements holds its shard's lock: when it is copied, and when it moves in parts or,
/// as one that is written whole would, in one piece.
fn large(millions: f64) {
    let count = (millions * 1e6) as u64;
    let thresholds = Thresholds::default();
    let (mut ranks, mut stream) = (SortedSet::new(), Stream::new());
    let mut group = Group::new(StreamId::new(count, 0), Some(count));
    let consumers: Vec<_> = (0..10)
        .map(|number| {
            group.create_consumer(format!("consumer:{number}").as_bytes(), NOW_MS).expect("a new name")
        })
        .collect();
    for number in 0..count {
        ranks.add(&key_bytes(number), (number % 1000) as f64, AddOptions::default(), &thresholds);
        let id = StreamId::new(number + 1, 0);
        let pairs = [(&b"field"[..], &BYTES[..20])].into_iter();
        stream.log_mut().add(NewId::Exactly(id), pairs, &thresholds).expect("behind the last");
        let consumer = consumers[number as usize % consumers.len()];
        group.assign(id, Nack { delivery_ms: NOW_MS, deliveries: 1, consumer });
    }
    assert!(stream.add_group(b"readers", group));
    for (name, value) in [("sorted set", ranks.wrap()), ("stream, all pending", Box::new(stream).wrap())] {
        large_one(&format!("{name} of {millions} million"), value);
    }
}

fn large_one(name: &str, value: Value) {
    let [mut copy, mut whole, mut walk, mut apply] = [(); 4].map(|()| Steps::default());
    for _ in 0..3 {
        drop(copy.run(|| value.clone()));
        drop(whole.run(|| value.dump()));
    }
    let (source, target) = (keyspace(), keyspace());
    let key = source.layout().key(b"large");
    source.lock(key.shard).db(0).set_value(&key, None, value, Due::Never, NOW_MS).expect("room");
    for _ in 0..3 {
        let mut departure = Departure::begin(&source, &[key.slot]).expect("no feed is open");
        let mut arrival = Arrival::begin(&target, &[key.slot]).expect("the slot is empty");
        let (mut export, mut frame) = (Export::default(), Vec::new());
        while departure.is_walking() {
            walk.run(|| departure.walk_step(&source, NOW_MS, &mut export));
            frame.clear();
            while export.fill(&mut frame, usize::MAX) {}
            let mut rest = &frame[..];
            while !rest.is_empty() {
                rest = &rest[apply.run(|| arrival.apply(&target, rest, NOW_MS)).expect("it is applied")..];
            }
        }
        departure.end(&source);
        while !arrival.clear_step(&target) {}
    }
    // What takes this long is interrupted at any rate: its CPU time counts.
    println!("{name}");
    for (what, steps) in [("copied", &copy), ("written whole", &whole)] {
        println!("  {what:<21} {:>9.3} ms of CPU", steps.cpu_ns as f64 / steps.runs as f64 / 1e6);
    }
    for (what, steps) in [("a part written", &walk), ("a part taken in", &apply)] {
        println!("  {what:<21} {:>9.3} ms, the longest of {}", steps.longest_ns as f64 / 1e6, steps.runs);
    }
}

/// Runs this program again for one measurement.
fn alone(arguments: &[String]) {
    let program = std::env::current_exe().expect("this program has a path");
    let status = std::process::Command::new(program).args(arguments).status().expect("it starts");
    assert!(status.success());
}

fn bytes() {
    println!("bytes an entry beyond key (16 B) and value");
    let without = [8, 32, 100].map(|value| (value, false));
    let with = [32, 100, 300].map(|value| (value, true));
    for (value, with_due) in without.into_iter().chain(with) {
        for keys in [1_000_000, 1_100_000, 1_600_000] {
            alone(&["one", &value.to_string(), &with_due.to_string(), &keys.to_string()].map(String::from));
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| !one.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["times", millions] => times(millions.parse().expect("a number of millions")),
        ["bytes"] => bytes(),
        ["churn"] => churn(),
        ["moves", millions] => moves(millions.parse().expect("a number of millions")),
        ["large", millions] => large(millions.parse().expect("a number of millions")),
        ["one", value, with_due, keys] => bytes_of_one(
            value.parse().expect("a length"),
            with_due.parse().expect("true or false"),
            keys.parse().expect("a count"),
        ),
        _ => {
            ["1", "10"].into_iter().for_each(|millions| alone(&["times", millions].map(String::from)));
            bytes();
            alone(&["churn".to_string()]);
            alone(&["moves", "1"].map(String::from));
            alone(&["large", "1"].map(String::from));
        }
    }
}
