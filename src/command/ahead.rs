//! What a worker knows of the requests behind the present one: their keys, hashed, and on their way into the cache.
//!
//! A batch of pipelined look-ups waits for memory once, not once a key. The keys' hashes are kept, so that hashing ahead
//! costs nothing. A key is known again by its address: what is known is good only while the input buffer stays as it
//! is, and [`Ahead::forget`] must be called before another is executed from.

use crate::base::slot::Slot;
use crate::command::spec::Group;
use crate::command::table::Entry;
use crate::resp::ahead;
use crate::store::expect::{Aim, Depth};
use crate::store::key::Key;
use crate::store::keyspace::Keyspace;
use crate::store::value::table::text_hash;

/// Requests looked ahead at once: as many as there are lines that a core can wait for, about.
const REQUESTS: usize = 16;
/// Where a request names its key, and where a script's does, behind its text and the number of keys.
const KEY_AT: usize = 1;
const SCRIPT_KEY_AT: usize = 3;
/// Where a request names the member that it looks for under its key.
const MEMBER_AT: usize = 2;

/// The requests ahead.
#[derive(Debug, Default)]
pub struct Ahead {
    keys: Vec<Known>,
    aims: Vec<Aim>,
    next: usize,
    depth: Depth,
    is_script: bool,
    /// The requests last glimpsed, of other connections, the last one first, each with its database.
    glimpsed: [Option<(usize, Aim)>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Known {
    address: usize,
    length: usize,
    slot: Slot,
}

impl Ahead {
    /// Nothing is known any more.
    #[inline]
    pub fn forget(&mut self) {
        self.keys.clear();
        self.aims.clear();
        self.next = 0;
    }

    /// Takes a command that runs for a sign of what the next ones look at under their keys: those of a pipeline are of
    /// one kind as a rule.
    #[inline]
    pub fn heed(&mut self, entry: &Entry) {
        self.depth = match entry.spec.group {
            Group::List => Depth::Ends,
            Group::Set => Depth::Member,
            _ => Depth::Entry,
        };
        self.is_script = entry.spec.group == Group::Scripting;
    }

    /// Looks at the requests that `input` starts with and brings what their keys lead to into the cache. Gives the bytes
    /// looked over, at least 1.
    pub fn look(&mut self, keyspace: &Keyspace, db: usize, input: &[u8]) -> usize {
        self.forget();
        let wanted = self.wanted();
        let Self { keys, aims, depth, .. } = self;
        let with_member = *depth == Depth::Member;
        let end = ahead::arguments(input, REQUESTS, wanted, |argument, member| {
            let Key { slot, shard, hashed, .. } = keyspace.layout().key(argument);
            keys.push(Known { address: argument.as_ptr().addr(), length: argument.len(), slot });
            aims.push(Aim::new(shard, hashed, if with_member { text_hash(member) } else { 0 }));
        });
        keyspace.expect(db, aims, *depth);
        end.max(1)
    }

    /// Where the next requests are likely to name their key, and a member.
    #[inline]
    fn wanted(&self) -> (usize, usize) {
        (if self.is_script { SCRIPT_KEY_AT } else { KEY_AT }, MEMBER_AT)
    }

    /// Looks at a request that will be executed later, and on at those glimpsed before. Nothing is kept of its hash: many
    /// may lie between.
    #[inline]
    pub fn glimpse(&mut self, keyspace: &Keyspace, db: usize, input: &[u8]) {
        let mut aim = None;
        ahead::arguments(input, 1, self.wanted(), |argument, _| {
            let Key { shard, hashed, .. } = keyspace.layout().key(argument);
            aim = Some((db, Aim::new(shard, hashed, 0)));
        });
        self.step(keyspace, aim);
    }

    /// Looks on at what was glimpsed, if there is more to look at.
    #[inline]
    pub fn glimpse_on(&mut self, keyspace: &Keyspace) {
        if self.glimpsed.iter().any(Option::is_some) {
            self.step(keyspace, None);
        }
    }

    /// Each step brings the line that the next one starts from; meanwhile another connection is read.
    #[inline]
    fn step(&mut self, keyspace: &Keyspace, aim: Option<(usize, Aim)>) {
        let [last, before] = self.glimpsed;
        self.glimpsed = [aim, last];
        if let Some((db, aim)) = aim {
            keyspace.expect_way(db, aim);
        }
        if let Some((db, aim)) = last {
            keyspace.expect_index(db, aim);
        }
        if let Some((db, aim)) = before {
            keyspace.expect_entry(db, aim);
        }
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
        let (known, aim) = (self.keys.get(self.next + at)?, self.aims.get(self.next + at)?);
        self.next += at + 1;
        Some(Key { bytes, slot: known.slot, shard: aim.shard, hashed: aim.hashed })
    }
}
