//! A key together with everything that is derived from it once a command: slot, shard, hash.

use ahash::RandomState;

use super::index::Hashed;
use crate::base::slot::{SLOT_COUNT, Slot, slot_of};

/// How keys spread over shards; the same for all shards of a keyspace.
#[derive(Clone, Debug)]
pub struct Layout {
    hasher: RandomState,
    shard_bits: u32,
}

impl Layout {
    /// A layout over `2^shard_bits` shards whose hashes are seeded from the operating system's entropy, so that nobody
    /// outside can choose keys that collide.
    pub fn new(shard_bits: u32) -> Self {
        Self { hasher: RandomState::new(), shard_bits }
    }

    /// A layout with chosen hash seeds; for tests and reproducible measurements.
    pub fn seeded(shard_bits: u32, seed: u64) -> Self {
        Self { hasher: RandomState::with_seeds(seed, !seed, seed.rotate_left(17), 0x6c61_7264), shard_bits }
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        1 << self.shard_bits
    }

    /// Slots of every shard.
    pub fn slots_per_shard(&self) -> usize {
        SLOT_COUNT >> self.shard_bits
    }

    /// Slot, shard and hash of a key.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        let slot = slot_of(bytes);
        let hashed = Hashed { slot: self.slot_in_shard(slot), hash: self.hash(bytes) };
        Key { bytes, slot, shard: self.shard_of(slot), hashed }
    }

    /// The shard that holds a slot: neighbouring slots lie in different shards, so that a node with a range of slots
    /// uses all of them.
    #[inline]
    pub fn shard_of(&self, slot: Slot) -> usize {
        slot.number() as usize & (self.shards() - 1)
    }

    /// The slot's number within its shard.
    #[inline]
    pub fn slot_in_shard(&self, slot: Slot) -> u32 {
        u32::from(slot.number()) >> self.shard_bits
    }

    /// The slot with a number within a shard: the reverse of [`Layout::slot_in_shard`] and [`Layout::shard_of`].
    pub fn slot_at(&self, shard: usize, slot_in_shard: u32) -> Option<Slot> {
        let number = usize::try_from(slot_in_shard).ok()?.checked_shl(self.shard_bits)? | shard;
        Slot::new(u16::try_from(number).ok()?)
    }

    /// The key's hash.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }
}

/// A key and what is derived from it.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key itself.
    pub bytes: &'a [u8],
    /// Its slot.
    pub slot: Slot,
    /// The shard of the slot.
    pub shard: usize,
    /// Its place in the shard's index.
    pub hashed: Hashed,
}
