//! The keys that changed in slots that are on the move: what their mover has to send again.
//!
//! A feed keeps names, not values: whoever takes a key out looks up what it is by then. A key that changes often stands
//! in it once. It is bounded ([`FEED_KEYS_MAX`], [`FEED_BYTES_MAX`]): beyond that it forgets all names and says
//! `overrun` once, which means that the slots must be walked again, on top of nothing.

use std::collections::HashSet;

use ahash::RandomState;

/// Keys that one feed holds at most.
pub const FEED_KEYS_MAX: usize = 16 * 1024;
/// Bytes that the keys of one feed come to at most, `KEY_COST_BYTES` for each included.
pub const FEED_BYTES_MAX: usize = 1024 * 1024;
/// Feeds that are open on one database of one shard at a time.
pub const FEEDS_MAX: usize = 8;
/// What a key costs beyond its own bytes: its allocation and its place in the set.
const KEY_COST_BYTES: usize = 48;

/// An open feed of one database in one shard; good until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedId(pub(super) u8);

/// What a feed gave out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that were set, changed or removed, in no order.
    pub keys: Vec<Box<[u8]>>,
    /// Everything was removed; the keys changed after that.
    pub flushed: bool,
    /// More changed than the feed holds: begin again with empty slots on the other side, and walk.
    pub overrun: bool,
}

/// The keys that changed since they were last taken out.
#[derive(Debug, Default)]
pub(super) struct Feed {
    changed: HashSet<Box<[u8]>, RandomState>,
    /// On their way out; a key that changes meanwhile goes into `changed` again.
    ready: Vec<Box<[u8]>>,
    bytes: usize,
    flushed: bool,
    overrun: bool,
}

impl Feed {
    /// Keys to be taken out; one at least while there is a flush or an overrun to be told.
    pub(super) fn len(&self) -> usize {
        (self.changed.len() + self.ready.len()).max(usize::from(self.flushed || self.overrun))
    }

    /// Whether this key is to be taken out, or all that there was is gone or to be walked again.
    pub(super) fn holds(&self, key: &[u8]) -> bool {
        self.flushed
            || self.overrun
            || self.changed.contains(key)
            || self.ready.iter().any(|ready| **ready == *key)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that a key changed.
    pub(super) fn record(&mut self, key: &[u8]) {
        if self.overrun || self.changed.contains(key) {
            return;
        }
        let bytes = self.bytes + key.len() + KEY_COST_BYTES;
        if bytes > FEED_BYTES_MAX || self.changed.len() + self.ready.len() == FEED_KEYS_MAX {
            self.forget();
            self.overrun = true;
            return;
        }
        self.bytes = bytes;
        self.changed.insert(key.into());
    }

    /// Notes that everything was removed.
    pub(super) fn flush(&mut self) {
        self.forget();
        self.flushed = true;
    }

    /// Notes that everything was replaced.
    pub(super) fn replace(&mut self) {
        self.forget();
        self.overrun = true;
    }

    fn forget(&mut self) {
        self.changed = HashSet::default();
        self.ready = Vec::new();
        self.bytes = 0;
    }

    /// Takes out at most `max` keys.
    pub(super) fn take(&mut self, max: usize) -> Changes {
        if self.ready.is_empty() {
            self.ready.extend(self.changed.drain());
        }
        let keys = self.ready.split_off(self.ready.len().saturating_sub(max));
        self.bytes -= keys.iter().map(|key| key.len() + KEY_COST_BYTES).sum::<usize>();
        if self.len() == 0 {
            self.forget();
        }
        Changes {
            keys,
            flushed: std::mem::take(&mut self.flushed),
            overrun: std::mem::take(&mut self.overrun),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FEED_BYTES_MAX, FEED_KEYS_MAX, Feed};

    #[test]
    fn a_key_stands_in_it_once_and_comes_out_once() {
        let mut feed = Feed::default();
        for number in 0..100u32 {
            feed.record(&(number % 10).to_le_bytes());
        }
        assert_eq!(feed.len(), 10);
        let first = feed.take(4);
        assert!(!feed.holds(&first.keys[0]) && !feed.holds(b"other"));
        assert_eq!((0..10u32).filter(|number| feed.holds(&number.to_le_bytes())).count(), 6);
        assert_eq!((first.keys.len(), feed.len()), (4, 6));
        // It changes again after it was taken out, or while it waits.
        feed.record(&first.keys[0]);
        let mut rest = feed.take(100).keys;
        rest.extend(feed.take(100).keys);
        assert!(rest.contains(&first.keys[0]));
        assert_eq!((rest.len(), feed.len(), feed.bytes()), (7, 0, 0));
    }

    #[test]
    fn too_much_is_an_overrun_told_once() {
        for key_bytes in [8, FEED_BYTES_MAX / 10] {
            let mut feed = Feed::default();
            for number in 0..=FEED_KEYS_MAX as u64 {
                let mut key = vec![0; key_bytes];
                key[..8].copy_from_slice(&number.to_le_bytes());
                feed.record(&key);
                assert!(feed.bytes() <= FEED_BYTES_MAX);
            }
            let changes = feed.take(1);
            assert!(changes.overrun && changes.keys.is_empty());
            assert_eq!(feed.len(), 0);
            feed.record(b"after");
            let changes = feed.take(1);
            assert!(!changes.overrun && changes.keys.len() == 1);
        }
    }

    #[test]
    fn a_flush_forgets_what_was_before_it() {
        let mut feed = Feed::default();
        feed.record(b"before");
        feed.flush();
        assert_eq!(feed.len(), 1, "a flush is something to be told");
        feed.record(b"after");
        assert!(feed.holds(b"before") && feed.holds(b"other"), "all is gone");
        let changes = feed.take(10);
        assert!(changes.flushed && !changes.overrun);
        assert_eq!(changes.keys, [Box::from(&b"after"[..])]);
        assert!(!feed.take(10).flushed);
    }
}
