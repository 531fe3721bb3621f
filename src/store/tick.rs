//! A worker's share of the background work: due entries, memory above the limit, sparse blocks.
//!
//! Work comes in slices of some 10 µs under one shard's lock, and as many of them make a tick as fit into half a
//! millisecond. While there is a backlog, ticks follow each other, after each of which the worker serves whoever waits;
//! after a few of them it rests for a millisecond (a timer's shortest). So a client waits for half a millisecond, and the work takes at most
//! nine tenths of a core that has nothing else to do, half of one that has. (Measured: rests alone, between longer ticks,
//! left ten million due keys 11 s to go and others a p99.9 of 12.5 ms.)

use super::keyspace::Keyspace;

/// The longest tick, but for its last slice.
const TICK_NS: u64 = 500_000;
/// Slices of a tick, however little time they take.
const SLICES_MAX: usize = 1024;
/// Ticks without a rest while a backlog lasts.
const TICKS_A_REST: u32 = 32;
/// Pause between ticks without a backlog, and the rest with one.
const PAUSE_MS: u64 = 50;
const REST_MS: u64 = 1;

/// One worker's place in the work; the shards are dealt out among the workers.
#[derive(Debug)]
pub struct Ticker {
    shard: usize,
    worker: usize,
    workers: usize,
    /// Ticks since the last rest.
    ticks: u32,
}

impl Ticker {
    /// The share of `worker` among `workers`.
    pub fn new(worker: usize, workers: usize) -> Self {
        Self { shard: worker, worker, workers, ticks: 0 }
    }

    /// Does a bounded piece of work; gives the ms to wait before the next, 0 for no longer than others are ready to be
    /// served. Nothing is expired or evicted while `may_remove`, which is asked before each slice, says no; `mono_ns` is
    /// a clock that never goes back.
    pub fn tick(
        &mut self,
        keyspace: &Keyspace,
        now_ms: u64,
        mono_ns: impl Fn() -> u64,
        may_remove: impl Fn() -> bool,
    ) -> u64 {
        let until_ns = mono_ns() + TICK_NS;
        let own_shards = keyspace.shards().saturating_sub(self.worker).div_ceil(self.workers);
        let mut idle_shards = 0;
        for _ in 0..SLICES_MAX {
            if idle_shards >= own_shards {
                self.ticks = 0;
                return PAUSE_MS;
            }
            if keyspace.sweep(self.shard, now_ms, may_remove()) {
                idle_shards = 0;
            } else {
                idle_shards += 1;
            }
            self.shard += self.workers;
            if self.shard >= keyspace.shards() {
                self.shard = self.worker;
            }
            if mono_ns() >= until_ns {
                break;
            }
        }
        self.ticks = (self.ticks + 1) % TICKS_A_REST;
        if self.ticks == 0 { REST_MS } else { 0 }
    }
}
