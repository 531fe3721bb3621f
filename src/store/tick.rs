//! A worker's share of the background work: due entries, memory above the limit, sparse blocks.
//!
//! Work comes in slices of some 20 µs under one shard's lock, a bounded number a tick. While there is a backlog, ticks
//! follow each other with a millisecond for clients in between and grow to some 2.5 ms of work, so that expiry takes at
//! most about two thirds of a core, and a client waits for one tick at most.

use super::keyspace::Keyspace;

/// Slices of a tick without a backlog, and with one that lasts.
const SLICES_MIN: usize = 16;
const SLICES_MAX: usize = 128;
/// Pause between ticks without a backlog, and with one.
const PAUSE_MS: u64 = 50;
const PAUSE_BUSY_MS: u64 = 1;

/// One worker's place in the work; the shards are dealt out among the workers.
#[derive(Debug)]
pub struct Ticker {
    shard: usize,
    worker: usize,
    workers: usize,
    slices: usize,
}

impl Ticker {
    /// The share of `worker` among `workers`.
    pub fn new(worker: usize, workers: usize) -> Self {
        Self { shard: worker, worker, workers, slices: SLICES_MIN }
    }

    /// Does a bounded piece of work; gives the ms to wait before the next. Nothing is expired or evicted while
    /// `may_remove`, which is asked before each slice, says no.
    pub fn tick(&mut self, keyspace: &Keyspace, now_ms: u64, may_remove: impl Fn() -> bool) -> u64 {
        let mut idle_shards = 0;
        let own_shards = keyspace.shards().saturating_sub(self.worker).div_ceil(self.workers);
        for _ in 0..self.slices.max(own_shards) {
            if idle_shards >= own_shards {
                self.slices = SLICES_MIN;
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
        }
        if idle_shards >= own_shards {
            self.slices = SLICES_MIN;
            return PAUSE_MS;
        }
        self.slices = (self.slices * 2).min(SLICES_MAX);
        PAUSE_BUSY_MS
    }
}
