//! Redis's names for eviction policies, and what stands behind each of them here.

/// What is evicted when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Nothing: writes are refused.
    NoEviction,
    /// Adaptive S3-FIFO over all entries.
    #[default]
    AllkeysLru,
    /// S3-FIFO with a fixed small queue over all entries.
    AllkeysLfu,
    /// An entry at random.
    AllkeysRandom,
    /// Adaptive S3-FIFO over the entries that have a due time.
    VolatileLru,
    /// S3-FIFO with a fixed small queue over the entries that have a due time.
    VolatileLfu,
    /// An entry at random of those that have a due time.
    VolatileRandom,
    /// The entry that is due first.
    VolatileTtl,
}

impl Policy {
    /// Whether only entries with a due time may be evicted.
    pub fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }

    /// Whether every entry may be evicted.
    pub fn evicts_any(self) -> bool {
        matches!(self, Self::AllkeysLru | Self::AllkeysLfu | Self::AllkeysRandom)
    }

    /// Whether the queues have a fixed share.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::AllkeysLfu | Self::VolatileLfu)
    }
}
