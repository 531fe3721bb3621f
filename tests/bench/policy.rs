//! Miss ratios of the eviction policy alone, in process, beside the simulated ratios that are its goal.
//!
//! Equal keys of 16 bytes with values of 8 stand for objects of one size; the capacity is a number of entries. What is
//! printed: per trace and capacity the share of requests that missed, the goal and their ratio (1.02 is the most that
//! is accepted), once with one shard and once with sixteen that each evict for themselves; then what a hit and what a
//! miss with its insertion and eviction cost. The program exits with 1 if a goal is missed with one shard.
//!
//! `cargo bench --bench policy [-- TRACE…]` runs the named traces alone.

mod traces;

use std::process::ExitCode;

use larder::base::rng::Rng;
use larder::store::db::{Db, Due, NewString};
use larder::store::key::Layout;
use larder::store::policy::Policy;

use traces::{SPECS, Spec, Trace};

/// The server's allocator, so that costs are the server's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const REQUESTS: usize = 10_000_000;
/// Capacities in permille of the distinct keys of a trace.
const CAPACITIES: [usize; 4] = [1, 10, 100, 200];
/// Miss ratios in percent that the policy had in simulation, at [`CAPACITIES`].
const GOALS: [(&str, [f64; 4]); 6] = [
    ("zipf-0.7", [89.2, 77.6, 55.4, 45.0]),
    ("zipf-0.99", [52.4, 36.5, 21.0, 16.6]),
    ("zipf-1.1", [35.5, 21.9, 11.7, 9.4]),
    ("scan", [60.6, 50.5, 43.5, 41.9]),
    ("one-hit", [59.1, 48.5, 40.9, 39.2]),
    ("drifting", [54.5, 39.9, 23.2, 18.3]),
];
/// How far above the goal a miss ratio may lie.
const ACCEPTED: f64 = 1.02;
const NOW_MS: u64 = 1_800_000_000_000;
const VALUE: NewString<'static> = NewString { bytes: b"8 bytes.", raw: false };

/// Shards that hold a fixed number of entries each.
struct Cache {
    layout: Layout,
    shards: Vec<Db>,
    capacity: usize,
    rng: Rng,
}

impl Cache {
    fn new(shard_bits: u32, capacity: usize) -> Self {
        let layout = Layout::seeded(shard_bits, 1);
        let shards = (0..layout.shards()).map(|_| Db::new(layout.clone(), Policy::AllkeysLru)).collect();
        Self { capacity: (capacity >> shard_bits).max(1), layout, shards, rng: Rng::seeded(1) }
    }

    /// A cache-aside read: the key is stored if it is not there. True for a hit.
    fn request(&mut self, number: u32) -> bool {
        let bytes = key_bytes(number);
        let key = self.layout.key(&bytes);
        let shard = &mut self.shards[key.shard];
        if let Some(found) = shard.find(&key, NOW_MS) {
            shard.touch(found, NOW_MS);
            return true;
        }
        while shard.entries() >= self.capacity {
            shard.evict(&mut self.rng).expect("an entry can be evicted");
        }
        shard.set_string(&key, None, VALUE, Due::Never, NOW_MS).expect("the arena is not full");
        false
    }
}

/// 16 bytes, decimal.
fn key_bytes(number: u32) -> [u8; 16] {
    let mut bytes = *b"key:000000000000";
    let mut rest = number;
    let mut at = 16;
    while rest > 0 {
        at -= 1;
        bytes[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    bytes
}

fn miss_percent(trace: &[u32], shard_bits: u32, capacity: usize) -> f64 {
    let mut cache = Cache::new(shard_bits, capacity);
    let misses = trace.iter().filter(|&&number| !cache.request(number)).count();
    misses as f64 * 100.0 / trace.len() as f64
}

fn distinct(trace: &[u32]) -> usize {
    let mut seen = vec![false; trace.iter().max().map_or(0, |&max| max as usize + 1)];
    trace.iter().filter(|&&number| !std::mem::replace(&mut seen[number as usize], true)).count()
}

/// Prints a trace's lines; false if a goal is missed.
fn run(spec: &Spec, goals: [f64; 4]) -> bool {
    let trace: Vec<u32> = Trace::new(spec).take(REQUESTS).collect();
    let footprint = distinct(&trace);
    let capacities = CAPACITIES.map(|permille| footprint * permille / 1000);
    let (one, sixteen) = std::thread::scope(|scope| {
        let sixteen = scope.spawn(|| capacities.map(|capacity| miss_percent(&trace, 4, capacity)));
        (capacities.map(|capacity| miss_percent(&trace, 0, capacity)), sixteen.join().expect("it ends"))
    });
    let mut met = true;
    for (at, goal) in goals.into_iter().enumerate() {
        met &= one[at] <= goal * ACCEPTED;
        println!(
            "{:<10} {:>9} {:>5.1} % {:>8.2} {:>8.1} {:>7.3} {:>12.2} {:>7.3}",
            spec.name,
            capacities[at],
            CAPACITIES[at] as f64 / 10.0,
            one[at],
            goal,
            one[at] / goal,
            sixteen[at],
            sixteen[at] / one[at]
        );
    }
    met
}

/// What requests cost, in ns of CPU time (the machine may be busy).
fn costs() {
    const CAPACITY: u32 = 500_000;
    const ROUNDS: u32 = 3_000_000;
    let mut rng = Rng::seeded(3);
    let mut cache = Cache::new(0, CAPACITY as usize);
    (0..CAPACITY).for_each(|number| {
        cache.request(number);
    });
    let ns = |started: u64| (cpu_ns() - started) as f64 / f64::from(ROUNDS);
    let started = cpu_ns();
    let hits = (0..ROUNDS).filter(|_| cache.request(rng.below(u64::from(CAPACITY)) as u32)).count();
    println!("hit: {:.0} ns ({hits} of {ROUNDS})", ns(started));
    let started = cpu_ns();
    let hits = (0..ROUNDS).filter(|&number| cache.request(CAPACITY + number)).count();
    println!("miss, insertion, eviction: {:.0} ns ({hits} hits)", ns(started));
}

/// CPU time of this thread so far.
fn cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn main() -> ExitCode {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!("trace        entries   share   miss %     goal   ratio    16 shards   ratio");
    let mut met = true;
    for (name, goals) in GOALS {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            let spec = SPECS.iter().find(|spec| spec.name == name).expect("every goal has its trace");
            met &= run(spec, goals);
        }
    }
    costs();
    println!("{}", if met { "every goal is met" } else { "a goal is missed" });
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
