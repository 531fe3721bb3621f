//! What a database takes, in bytes, and what went from it: sums of what its parts count, no walk over entries.

use super::db::Db;

/// Counts that a database keeps since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Entries removed because they were due.
    pub expired: u64,
    /// Entries removed to make room.
    pub evicted: u64,
    /// Fields of hashes removed because they were due.
    pub expired_fields: u64,
}

/// Bytes that a database holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Resident, free slots included.
    pub bytes: i64,
    /// Of free slots.
    pub reusable: i64,
}

impl std::ops::Add for Removals {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            expired: self.expired + other.expired,
            evicted: self.evicted + other.evicted,
            expired_fields: self.expired_fields + other.expired_fields,
        }
    }
}

impl std::ops::Sub for Removals {
    type Output = Self;
    /// What came since `other`.
    fn sub(self, other: Self) -> Self {
        Self {
            expired: self.expired.saturating_sub(other.expired),
            evicted: self.evicted.saturating_sub(other.evicted),
            expired_fields: self.expired_fields.saturating_sub(other.expired_fields),
        }
    }
}

impl std::ops::Add for Used {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, reusable: self.reusable + other.reusable }
    }
}

impl std::ops::Sub for Used {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { bytes: self.bytes - other.bytes, reusable: self.reusable - other.reusable }
    }
}

impl Db {
    /// Bytes that this database keeps resident, free slots included.
    pub fn used_bytes(&self) -> usize {
        self.arena.touched_bytes() + self.overhead_bytes() + self.objects.bytes()
    }

    /// Bytes of index, queues, expiry and feeds: what is neither key nor value nor header.
    pub fn overhead_bytes(&self) -> usize {
        self.index.bytes() + self.due_bytes() + self.queues.bytes() + self.attention_bytes()
    }

    /// The part of [`Db::overhead_bytes`] that due times take.
    pub fn due_bytes(&self) -> usize {
        self.expiry.bytes() + self.field_expiry.bytes()
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
