//! How much entries may take: `maxmemory`, and the part of it that is held back from them at present.
//!
//! The two change together, under the policy's lock: a part of one budget may be all of another one, and where the policy
//! may find nothing to evict a write would be refused for what is none of its doing. (Once 8 GiB became 300 KB with half a
//! GiB held back still: every write was refused, or every entry evicted, until the next look at the process.)

use std::sync::atomic::Ordering;

use super::keyspace::Keyspace;

impl Keyspace {
    /// The budget in bytes; 0 is none.
    pub fn limit_bytes(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the budget; what is too much goes with the next writes and ticks. Nothing of a new one is held back.
    pub fn set_limit_bytes(&self, limit_bytes: u64) {
        let _policy = self.policy.lock();
        self.limit.store(limit_bytes, Ordering::Relaxed);
        self.bound.store(limit_bytes, Ordering::Relaxed);
    }

    /// Bytes of the budget that entries do not get.
    pub fn held_back_bytes(&self) -> u64 {
        self.limit_bytes().saturating_sub(self.bound.load(Ordering::Relaxed))
    }

    /// Keeps entries from so many bytes of a budget of `limit_bytes`, if it is still that (a share of another one may be
    /// more than all of it) and anything may be evicted. A budget does not become none by it.
    pub fn hold_back(&self, limit_bytes: u64, bytes: u64) {
        let policy = self.policy.lock();
        if self.limit_bytes() == limit_bytes {
            let bytes = if policy.evicts_any() { bytes } else { 0 };
            let bound = limit_bytes.saturating_sub(bytes).max(limit_bytes.min(1));
            self.bound.store(bound, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::key::Layout;
    use crate::store::keyspace::Keyspace;
    use crate::store::policy::Policy;

    const LARGE_BYTES: u64 = 8 << 30;
    const SMALL_BYTES: u64 = 300 << 10;

    fn keyspace(policy: Policy) -> Keyspace {
        Keyspace::new(Layout::seeded(1, 7), policy, LARGE_BYTES, 7)
    }

    #[test]
    fn what_was_held_back_of_one_budget_is_not_taken_from_the_next() {
        let keyspace = keyspace(Policy::AllkeysLru);
        keyspace.hold_back(LARGE_BYTES, LARGE_BYTES / 16);
        assert_eq!(keyspace.held_back_bytes(), LARGE_BYTES / 16);
        keyspace.set_limit_bytes(SMALL_BYTES);
        assert_eq!((keyspace.limit_bytes(), keyspace.held_back_bytes()), (SMALL_BYTES, 0));
        assert!(!keyspace.is_over() && keyspace.make_room(0, 1000).is_ok());
        // What was found out about the budget before comes too late.
        keyspace.hold_back(LARGE_BYTES, LARGE_BYTES / 8);
        assert_eq!(keyspace.held_back_bytes(), 0);
        keyspace.hold_back(SMALL_BYTES, LARGE_BYTES);
        assert_eq!(keyspace.held_back_bytes(), SMALL_BYTES - 1);
        keyspace.set_limit_bytes(0);
        keyspace.hold_back(0, 1000);
        assert!(!keyspace.is_over() && keyspace.held_back_bytes() == 0);
    }

    #[test]
    fn nothing_is_held_back_where_nothing_may_be_there_to_evict() {
        for policy in [Policy::NoEviction, Policy::VolatileLru, Policy::VolatileRandom, Policy::VolatileTtl] {
            let keyspace = keyspace(Policy::AllkeysRandom);
            keyspace.hold_back(LARGE_BYTES, LARGE_BYTES / 8);
            keyspace.set_policy(policy);
            assert_eq!(keyspace.held_back_bytes(), 0);
            keyspace.hold_back(LARGE_BYTES, LARGE_BYTES / 8);
            assert_eq!(keyspace.held_back_bytes(), 0);
        }
    }
}
