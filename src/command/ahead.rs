//! What a worker knows of the requests behind the present one: their keys, hashed, and on their way into the cache.
//!
//! A batch of pipelined look-ups waits for memory once, not once a key. The keys' hashes are kept, so that hashing ahead
//! costs nothing. A key is known again by its address: what is known is good only while the input buffer stays as it
//! is, and [`Ahead::forget`] must be called before another is executed from.

use crate::base::slot::Slot;
use crate::resp::ahead::first_arguments;
use crate::store::index::Hashed;
use crate::store::key::Key;
use crate::store::keyspace::Keyspace;

/// Requests looked ahead at once: as many as there are lines that a core can wait for, about.
const REQUESTS: usize = 16;

/// The requests ahead.
#[derive(Debug, Default)]
pub struct Ahead {
    keys: Vec<Known>,
    next: usize,
    expected: Vec<(usize, Hashed)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    address: usize,
    length: usize,
    slot: Slot,
    shard: usize,
    hashed: Hashed,
}

impl Ahead {
    /// Nothing is known any more.
    #[inline]
    pub fn forget(&mut self) {
        self.keys.clear();
        self.next = 0;
    }

    /// Looks at the requests that `input` starts with and brings what their keys lead to into the cache. Gives the bytes
    /// looked over, at least 1.
    pub fn look(&mut self, keyspace: &Keyspace, db: usize, input: &[u8]) -> usize {
        self.forget();
        self.expected.clear();
        let Self { keys, expected, .. } = self;
        let end = first_arguments(input, REQUESTS, |argument| {
            let Key { slot, shard, hashed, .. } = keyspace.layout().key(argument);
            keys.push(Known {
                address: argument.as_ptr().addr(),
                length: argument.len(),
                slot,
                shard,
                hashed,
            });
            expected.push((shard, hashed));
        });
        keyspace.expect(db, expected);
        end.max(1)
    }

    /// The key's slot, if it is one of those that were looked at ahead.
    #[inline]
    pub fn slot(&self, bytes: &[u8]) -> Option<Slot> {
        let ahead = &self.keys[self.next.min(self.keys.len())..];
        ahead
            .iter()
            .find(|known| known.address == bytes.as_ptr().addr() && known.length == bytes.len())
            .map(|known| known.slot)
    }

    /// The key, if it is one of those that were looked at ahead.
    #[inline]
    pub fn key<'a>(&mut self, bytes: &'a [u8]) -> Option<Key<'a>> {
        let at = self.keys[self.next.min(self.keys.len())..]
            .iter()
            .position(|known| known.address == bytes.as_ptr().addr() && known.length == bytes.len())?;
        let Known { slot, shard, hashed, .. } = self.keys[self.next + at];
        self.next += at + 1;
        Some(Key { bytes, slot, shard, hashed })
    }
}
