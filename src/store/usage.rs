//! What a database takes, in bytes: sums of what its parts count, no walk over entries.

use super::db::Db;

impl Db {
    /// Bytes that this database keeps resident, free slots included.
    pub fn used_bytes(&self) -> usize {
        self.arena.touched_bytes() + self.overhead_bytes() + self.objects.bytes()
    }

    /// Bytes of index, queues, expiry and feeds: what is neither key nor value nor header.
    pub fn overhead_bytes(&self) -> usize {
        self.index.bytes() + self.expiry.bytes() + self.queues.bytes() + self.attention_bytes()
    }

    /// The part of [`Db::overhead_bytes`] that due times take.
    pub fn due_bytes(&self) -> usize {
        self.expiry.bytes()
    }

    /// The part of [`Db::overhead_bytes`] that remembers evicted keys.
    pub fn ghost_bytes(&self) -> usize {
        self.queues.bytes()
    }

    /// Bytes of free slots: resident, but to be filled again before memory grows.
    pub fn reusable_bytes(&self) -> usize {
        self.index.reusable_bytes() + self.arena.touched_bytes().saturating_sub(self.arena.live_bytes())
    }

    /// Whether the index holds memory that moving its segments would give back.
    pub fn index_is_sparse(&self) -> bool {
        self.index.is_sparse()
    }
}
