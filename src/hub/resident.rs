//! Holds a part of `maxmemory` back while the process is resident with much more than that.
//!
//! What entries take is counted, and is what `maxmemory` bounds; pages that are free in part, the allocator's own tables,
//! clients' buffers and scripts come on top, and a container is killed for the sum. So resident memory may exceed what it was
//! at the start by `maxmemory`, a `SHARE` of it and `FREE_BYTES`; for what it has beyond, entries are evicted. The last of
//! `maxmemory`, a `FIRST_SHARE`, is given only when the rest is full and there is room: what evictions tear apart shows only
//! then. (Values of mixed sizes that replace each other for long at 256 MB: 1.12 times `maxmemory` resident without it.)
//!
//! Never: holds back more than `MOST_SHARE` of `maxmemory`, or anything where the policy may find nothing to evict: a
//! write must not be refused for what is none of its doing. A new `maxmemory` begins with nothing held back of it; of a small
//! one, `LIMIT_MIN_BYTES`, nothing is: beside the program itself it is of no weight.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::process;
use crate::store::keyspace::Keyspace;

/// Resident memory beyond `maxmemory` that is nobody's concern: `maxmemory` divided by this,
const SHARE: u64 = 32;
/// and so many bytes.
const FREE_BYTES: u64 = 4 << 20;
/// Of a `maxmemory` below this nothing is held back.
const LIMIT_MIN_BYTES: u64 = 8 << 20;
/// At most `maxmemory` divided by this is held back,
const MOST_SHARE: u64 = 8;
/// and at first, divided by this.
const FIRST_SHARE: u64 = 16;
/// Entries have all that they may have when some were evicted, or no more than `maxmemory` divided by this is left.
const FULL_SHARE: u64 = 64;
/// Of what there is too much, one part in so many is added at each look: what is evicted leaves its pages a little later.
const RISE: u64 = 4;
/// Of what there would be room for, one part in so many is given back at each look.
const FALL: u64 = 16;

/// The part that is held back; see the module.
#[derive(Debug)]
pub struct Resident {
    base_bytes: u64,
    /// The limit at the last look,
    limit_bytes: AtomicU64,
    /// and how many entries had been evicted.
    evicted: AtomicU64,
}

impl Resident {
    /// Nothing is held back; what is resident now is the process's own.
    pub fn begin() -> Self {
        Self {
            base_bytes: process::resident_bytes(),
            limit_bytes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Looks at what is resident now and bounds the store accordingly. For one caller, a few times a second.
    pub fn look(&self, keyspace: &Keyspace) {
        let limit_bytes = keyspace.limit_bytes();
        let is_new = self.limit_bytes.swap(limit_bytes, Ordering::Relaxed) != limit_bytes;
        let before_bytes = if is_new { limit_bytes / FIRST_SHARE } else { keyspace.held_back_bytes() };
        let grown_bytes = process::resident_bytes().saturating_sub(self.base_bytes);
        let left_bytes = limit_bytes.saturating_sub(before_bytes).saturating_sub(keyspace.counted_bytes());
        // Large values are evicted while more than that share is left.
        let evicted = keyspace.removals().evicted;
        let has_evicted = self.evicted.swap(evicted, Ordering::Relaxed) != evicted;
        let is_full = has_evicted || left_bytes < limit_bytes / FULL_SHARE;
        keyspace.hold_back(limit_bytes, next(before_bytes, grown_bytes, limit_bytes, is_full));
    }
}

/// What is held back from here on, by what was so far, by how much the process has grown since its start, and by whether
/// entries have all that they may have.
fn next(held_back_bytes: u64, grown_bytes: u64, limit_bytes: u64, is_full: bool) -> u64 {
    if limit_bytes < LIMIT_MIN_BYTES {
        return 0;
    }
    let target_bytes = limit_bytes.saturating_add(limit_bytes / SHARE).saturating_add(FREE_BYTES);
    let rise = grown_bytes.saturating_sub(target_bytes) / RISE;
    let fall = if is_full { target_bytes.saturating_sub(grown_bytes).div_ceil(FALL) } else { 0 };
    (held_back_bytes + rise).saturating_sub(fall).min(limit_bytes / MOST_SHARE)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_SHARE, FREE_BYTES, LIMIT_MIN_BYTES, MOST_SHARE, SHARE, next};

    const LIMIT_BYTES: u64 = 256 << 20;

    /// Looks until nothing changes any more, at a process in which what entries may take is resident `times` over.
    fn settle(times: f64, mut held_back_bytes: u64) -> (u64, u64) {
        for _ in 0..1000 {
            let grown_bytes = ((LIMIT_BYTES - held_back_bytes) as f64 * times) as u64;
            held_back_bytes = next(held_back_bytes, grown_bytes, LIMIT_BYTES, true);
        }
        (held_back_bytes, ((LIMIT_BYTES - held_back_bytes) as f64 * times) as u64)
    }

    #[test]
    fn what_is_resident_settles_at_its_bound() {
        let target_bytes = LIMIT_BYTES + LIMIT_BYTES / SHARE + FREE_BYTES;
        for start in [0, LIMIT_BYTES / FIRST_SHARE, LIMIT_BYTES / MOST_SHARE] {
            let (held_back_bytes, grown_bytes) = settle(1.12, start);
            assert!(held_back_bytes > 0);
            assert!(grown_bytes.abs_diff(target_bytes) < 4096, "{grown_bytes} {target_bytes}");
        }
    }

    #[test]
    fn nothing_is_held_back_where_little_is_resident() {
        assert_eq!(settle(1.03, 0).0, 0);
        assert_eq!(settle(1.03, LIMIT_BYTES / MOST_SHARE).0, 0);
        assert_eq!(next(0, 0, LIMIT_BYTES, true), 0);
    }

    #[test]
    fn nothing_is_given_before_it_is_asked_for() {
        assert_eq!(next(1000, 0, LIMIT_BYTES, false), 1000);
    }

    #[test]
    fn nothing_is_held_back_of_what_is_small_beside_the_program() {
        // What was held back of a larger one is over, too; with a part held back for good, a client that fills up to 300 KB
        // and looks whether they are used waits for ever.
        assert_eq!(next(u64::MAX / 4, u64::MAX / 2, 300 << 10, false), 0);
        assert_eq!(next(1000, 64 << 20, LIMIT_MIN_BYTES - 1, false), 0);
        assert!(next(1000, 64 << 20, LIMIT_MIN_BYTES, false) > 1000);
    }

    #[test]
    fn no_more_than_a_share_is_held_back() {
        assert_eq!(settle(3.0, 0).0, LIMIT_BYTES / MOST_SHARE);
        assert_eq!(next(0, u64::MAX, u64::MAX, false), 0);
    }
}
