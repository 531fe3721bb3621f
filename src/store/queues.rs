//! The two FIFO queues of S3-FIFO (Yang et al., SOSP 2023) and the adaptive share of the small one.
//!
//! A hit only raises the entry's two-bit frequency: no list moves, no clock. A key that comes back after it was evicted
//! from the small queue says that the queue was too small; one evicted from the main queue, that it was too large: the
//! target share `p` of the small queue moves as in ARC (Megiddo and Modha, FAST 2003) on these queues' ghosts. Sizes
//! are bytes, and entries much larger than the mean must be hit more often to stay. Measured on twenty traces this
//! misses 2 % more than the best of thirteen policies picked per trace; sampled LRU misses 18 % more.
//!
//! This code against the simulation that those figures come from (`tests/bench/policy.rs`: six synthetic traces of ten
//! million requests, capacities of 0.1, 1, 10 and 20 % of the keys): it misses 0.995 to 1.005 times as often. Sixteen
//! shards that evict each for itself miss 1.000 to 1.003 times as often as one, but 1.01 to 1.03 times where a shard
//! holds fewer than a hundred entries. An entry pays 5.1 to 6.5 bytes for its place (`fifo`), half a byte of queue and frequency
//! and, once something was evicted, 2.3 bytes of ghosts.

use super::arena::{Arena, Handle};
use super::entry::{self, Queue};
use super::fifo::Fifo;
use super::ghost::Ghost;

const SHARE_MIN: f64 = 0.01;
const SHARE_MAX: f64 = 0.90;
const SHARE_START: f64 = 0.10;
/// Entries looked at for one victim before the next one is taken whatever its frequency.
const WEIGHED_MAX: usize = 4096;

/// A queue and the bytes of its entries.
#[derive(Debug)]
struct List {
    fifo: Fifo,
    bytes: usize,
}

impl List {
    fn new(queue: Queue) -> Self {
        Self { fifo: Fifo::new(queue), bytes: 0 }
    }
}

/// Queues, ghosts and share of one database in one shard.
#[derive(Debug)]
pub struct Queues {
    small: List,
    main: List,
    small_ghost: Ghost,
    main_ghost: Ghost,
    /// Target share of the small queue.
    share: f64,
    /// Fixed share and a second hit needed: plain S3-FIFO, behind the LFU policies.
    fixed: bool,
}

impl Queues {
    /// Empty queues; `fixed` chooses S3-FIFO over its adaptive form.
    pub fn new(fixed: bool) -> Self {
        Self {
            small: List::new(Queue::Small),
            main: List::new(Queue::Main),
            small_ghost: Ghost::default(),
            main_ghost: Ghost::default(),
            share: SHARE_START,
            fixed,
        }
    }

    /// Chooses between the adaptive and the fixed form.
    pub fn set_fixed(&mut self, fixed: bool) {
        self.fixed = fixed;
        if fixed {
            self.share = SHARE_START;
        }
    }

    /// Entries in both queues.
    pub fn entries(&self) -> usize {
        self.small.fifo.entries() + self.main.fifo.entries()
    }

    /// Bytes that queues and ghosts take.
    pub fn bytes(&self) -> usize {
        let queues = self.small.fifo.bytes() + self.main.fifo.bytes();
        queues + self.small_ghost.bytes() + self.main_ghost.bytes()
    }

    /// Puts a new entry of `bytes` into the queue that its history says.
    pub fn admit(&mut self, arena: &mut Arena, handle: Handle, hash: u64, bytes: usize) {
        let queue = if self.small_ghost.take(hash) {
            self.widen(self.main_ghost.entries(), self.small_ghost.entries(), 1.0);
            Queue::Main
        } else if self.main_ghost.take(hash) {
            self.widen(self.small_ghost.entries(), self.main_ghost.entries(), -1.0);
            Queue::Main
        } else {
            Queue::Small
        };
        self.push(arena, queue, handle, bytes);
    }

    /// Takes an entry out of its queue, if it stands in one.
    pub fn remove(&mut self, arena: &mut Arena, handle: Handle, bytes: usize) {
        let Some(list) = self.list(entry::queue(arena.slot(handle))) else { return };
        list.bytes -= bytes;
        list.fifo.remove(arena, handle);
    }

    /// An entry moved to another slot (its header came along) and may have changed its size.
    pub fn relocated(&mut self, arena: &Arena, to: Handle, bytes_before: usize, bytes: usize) {
        let Some(list) = self.list(entry::queue(arena.slot(to))) else { return };
        list.bytes = list.bytes + bytes - bytes_before;
        list.fifo.follow(arena, to);
    }

    /// An entry changed its size where it is.
    pub fn resized(&mut self, arena: &Arena, handle: Handle, bytes_before: usize, bytes: usize) {
        if let Some(list) = self.list(entry::queue(arena.slot(handle))) {
            list.bytes = list.bytes + bytes - bytes_before;
        }
    }

    /// Chooses the next victim. The caller must remove it, and then calls [`Queues::remember`].
    pub fn victim(
        &mut self,
        arena: &mut Arena,
        footprint: impl Fn(&Arena, Handle) -> usize,
    ) -> Option<Handle> {
        let mean = (self.small.bytes + self.main.bytes) / self.entries().max(1);
        for weighed in 0.. {
            let total = self.small.bytes + self.main.bytes;
            let from_small = self.small.fifo.entries() > 0
                && (self.main.fifo.entries() == 0 || self.small.bytes as f64 >= self.share * total as f64);
            let list = if from_small { &mut self.small } else { &mut self.main };
            let handle = list.fifo.oldest(arena)?;
            let bytes = footprint(arena, handle);
            let needed = self.needed(bytes, mean, from_small);
            let frequency = entry::frequency(arena.slot(handle));
            if frequency < needed || weighed >= WEIGHED_MAX {
                return Some(handle);
            }
            self.remove(arena, handle, bytes);
            let kept = if from_small { 0 } else { frequency - needed };
            entry::set_frequency(arena.slot_mut(handle), kept);
            self.push(arena, Queue::Main, handle, bytes);
        }
        None
    }

    /// Remembers an evicted key in the ghost of the queue it left.
    pub fn remember(&mut self, queue: Queue, hash: u64) {
        let resident = self.entries();
        let (ghost, entries) = match queue {
            Queue::Small => (&mut self.small_ghost, resident * 3 / 4),
            Queue::Main => (&mut self.main_ghost, resident / 4),
            Queue::None => return,
        };
        ghost.fit(entries);
        ghost.insert(hash);
    }

    /// Puts an entry that stands in no queue at the young end of one.
    pub fn push(&mut self, arena: &mut Arena, queue: Queue, handle: Handle, bytes: usize) {
        let Some(list) = self.list(queue) else { return };
        list.bytes += bytes;
        list.fifo.push(arena, handle);
    }

    /// Hits that an entry needs to stay: more the larger it is beside the mean; plain S3-FIFO asks two of a new one.
    fn needed(&self, bytes: usize, mean: usize, from_small: bool) -> u8 {
        let by_size = if bytes <= 2 * mean {
            1
        } else if bytes <= 8 * mean {
            2
        } else {
            3
        };
        if self.fixed && from_small { by_size.max(2) } else { by_size }
    }

    fn widen(&mut self, other: usize, own: usize, sign: f64) {
        if self.fixed {
            return;
        }
        let step = (other as f64 / own.max(1) as f64).max(1.0) / self.entries().max(1) as f64;
        self.share = (self.share + sign * step).clamp(SHARE_MIN, SHARE_MAX);
    }

    fn list(&mut self, queue: Queue) -> Option<&mut List> {
        match queue {
            Queue::None => None,
            Queue::Small => Some(&mut self.small),
            Queue::Main => Some(&mut self.main),
        }
    }

    /// Recounts both queues; for tests.
    #[cfg(test)]
    pub fn validate(&self, arena: &Arena, footprint: impl Fn(&Arena, Handle) -> usize) -> usize {
        for list in [&self.small, &self.main] {
            let bytes: usize = list.fifo.validate(arena).iter().map(|&handle| footprint(arena, handle)).sum();
            assert_eq!(bytes, list.bytes);
        }
        self.entries()
    }
}
