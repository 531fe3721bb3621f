//! Streams: entries in the order of their identifiers, and the groups that read them together.
//!
//! ```text
//! id      identifiers and their texts        node    one listpack of entries, in Redis's layout
//! log     the entries and what is known      cursor  walking over them
//!         of those that are gone             trim    removing the oldest
//! group   who has read what, and what is pending
//! chunked what both are kept in: a map by identifiers
//! ```
//!
//! A stream is never packed, and it stays when its last entry goes: its marks and groups are worth keeping. Bytes are
//! counted along, so that asking for them costs nothing.

pub mod chunked;
pub mod cursor;
pub mod group;
pub mod id;
pub mod log;
#[cfg(test)]
mod model;
pub mod node;
pub mod trim;

pub use cursor::{Cursor, Direction};
pub use group::{Consumer, ConsumerId, Group, LoadedConsumer, Nack};
pub use id::{IdText, StreamId};
pub use log::{AddError, Log, Marks, NewId};
pub use trim::{Keep, Trim};

use crate::store::object::size_class;
use crate::store::value::{Collection, Form, ValueType};
use std::fmt;

/// Nodes that are looked at to say how many nodes Redis's radix tree would have.
const RADIX_LOOKED_AT: usize = 4096;

/// A stream; see the module.
#[derive(Default)]
pub struct Stream {
    log: Log,
    /// In the order of their names.
    groups: Vec<(Box<[u8]>, Box<Group>)>,
    /// Bytes of the groups and of their names.
    groups_bytes: usize,
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").field("log", &self.log).field("groups", &self.groups).finish()
    }
}

impl Clone for Stream {
    fn clone(&self) -> Self {
        let groups = self.groups.clone();
        // Copies have no room to spare.
        let groups_bytes = groups.iter().map(|(name, group)| group_bytes(name, group)).sum();
        Self { log: self.log.clone(), groups, groups_bytes }
    }
}

fn group_bytes(name: &[u8], group: &Group) -> usize {
    size_class(name.len()) + size_class(size_of::<Group>()) + group.heap_bytes()
}

impl Stream {
    /// A stream without entries and groups.
    pub const fn new() -> Self {
        Self { log: Log::new(), groups: Vec::new(), groups_bytes: 0 }
    }

    /// A stream of these entries, without groups.
    pub fn from_log(log: Log) -> Self {
        Self { log, ..Self::default() }
    }

    /// Bytes that the allocator holds for everything in it.
    pub fn heap_bytes(&self) -> usize {
        let table = size_class(self.groups.capacity() * size_of::<(Box<[u8]>, Box<Group>)>());
        self.log.heap_bytes() + table + self.groups_bytes
    }

    /// Its entries.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its entries alone.
    pub fn into_log(self) -> Log {
        self.log
    }

    /// Its entries, to be changed.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// How many groups there are.
    pub fn groups_len(&self) -> usize {
        self.groups.len()
    }

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, &**group))
    }

    /// Where the name stands among the names, or would.
    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.groups.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        let at = self.position(name).ok()?;
        self.groups.get(at).map(|(_, group)| &**group)
    }

    /// Adds a group; false if the name is taken.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        let Err(at) = self.position(name) else {
            return false;
        };
        self.groups_bytes += group_bytes(name, &group);
        if self.groups.capacity() == 0 {
            self.groups.reserve_exact(1);
        }
        self.groups.insert(at, (name.into(), Box::new(group)));
        true
    }

    /// Adds a group behind all others; false if its name is not the greatest.
    pub fn push_group(&mut self, name: &[u8], group: Group) -> bool {
        self.position(name) == Err(self.groups.len()) && self.add_group(name, group)
    }

    /// The group at a place in the order of their names.
    pub fn group_at(&self, at: usize) -> Option<(&[u8], &Group)> {
        self.groups.get(at).map(|(name, group)| (&**name, &**group))
    }

    /// Removes a group with all that is pending in it; false if there is none.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Ok(at) = self.position(name) else {
            return false;
        };
        let (name, group) = self.groups.remove(at);
        self.groups_bytes -= group_bytes(&name, &group);
        if self.groups.is_empty() {
            self.groups = Vec::new();
        }
        true
    }

    /// Hands the entries and a group that may be changed to `edit`; none without such a group.
    pub fn edit_group<R>(&mut self, name: &[u8], edit: impl FnOnce(&Log, &mut Group) -> R) -> Option<R> {
        let at = self.position(name).ok()?;
        self.edit_group_at(at, edit)
    }

    /// The same for the group with the greatest name; none without groups.
    pub fn edit_last_group<R>(&mut self, edit: impl FnOnce(&Log, &mut Group) -> R) -> Option<R> {
        self.edit_group_at(self.groups.len().checked_sub(1)?, edit)
    }

    fn edit_group_at<R>(&mut self, at: usize, edit: impl FnOnce(&Log, &mut Group) -> R) -> Option<R> {
        let (_, group) = self.groups.get_mut(at)?;
        let before_bytes = group.heap_bytes();
        let result = edit(&self.log, group);
        self.groups_bytes = self.groups_bytes - before_bytes + group.heap_bytes();
        Some(result)
    }

    /// How many entries the group has not been given yet, where that can be said.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let Marks { first_id, max_deleted_id, entries_added, .. } = *self.log.marks();
        if entries_added == 0 || self.log.length() == 0 {
            return Some(0);
        }
        if group.last_id() < first_id && max_deleted_id < first_id {
            return i64::try_from(self.log.length()).ok();
        }
        let entries_read = match group.entries_read() {
            Some(entries_read) if !self.log.has_gap_from(group.last_id()) => entries_read,
            _ => self.log.count_up_to(group.last_id())?,
        };
        Some((entries_added as i64).wrapping_sub(entries_read as i64))
    }

    /// How many nodes Redis's radix tree would take for the stream's nodes: exact for up to 4096 of them, in proportion
    /// beyond.
    pub fn radix_nodes(&self) -> u64 {
        let total = self.log.nodes_len() as u64;
        let looked_at = total.min(RADIX_LOOKED_AT as u64);
        if total == 0 {
            return 1;
        }
        let keys = self.log.nodes().take(RADIX_LOOKED_AT).map(|(master, _)| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&master.ms.to_be_bytes());
            key[8..].copy_from_slice(&master.seq.to_be_bytes());
            key
        });
        radix_nodes(keys) * total / looked_at
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        self.log.validate();
        self.groups.iter().for_each(|(_, group)| group.validate());
        assert!(self.groups.is_sorted_by(|a, b| a.0 < b.0));
        let groups_bytes: usize = self.groups.iter().map(|(name, group)| group_bytes(name, group)).sum();
        assert_eq!(groups_bytes, self.groups_bytes);
    }
}

/// No packed bytes are a stream.
static NOTHING: Stream = Stream::new();

impl Collection for Box<Stream> {
    type Ref<'a> = &'a Stream;
    const TYPE: ValueType = ValueType::Stream;

    /// Never: a stream stays without entries.
    fn is_empty(&self) -> bool {
        false
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        size_class(size_of::<Stream>()) + Stream::heap_bytes(self)
    }

    fn packed(&self) -> Option<(Form, &[u8])> {
        None
    }

    fn into_packed(self) -> Option<Vec<u8>> {
        None
    }

    fn from_packed(_: Form, _: Vec<u8>) -> Self {
        Self::default()
    }

    fn check(_: Form, _: &[u8]) -> bool {
        false
    }

    /// There is nothing packed.
    fn shrink(&mut self) {}

    #[inline]
    fn reference(&self) -> &Stream {
        self
    }

    fn packed_reference(_: Form, _: &[u8]) -> &Stream {
        &NOTHING
    }

    fn encoding(_: &Stream) -> &'static str {
        "stream"
    }
}

/// Nodes of a compressed radix tree of ascending keys: one for each key's end, one for each byte at which keys part,
/// and one for each stretch of bytes between those.
fn radix_nodes(keys: impl Iterator<Item = [u8; 16]>) -> u64 {
    // The depths at which keys part, on the way to the key that was added last.
    let mut forks: Vec<usize> = Vec::new();
    let mut nodes = 0;
    let mut last: Option<[u8; 16]> = None;
    let stretch = |from: Option<usize>, to: usize| u64::from(to > from.map_or(0, |from| from + 1));
    for key in keys {
        if let Some(last) = last {
            let common = last.iter().zip(&key).take_while(|(a, b)| a == b).count();
            // The way to the last key is final below `common`.
            let mut below = key.len();
            while let Some(fork) = forks.pop_if(|fork| *fork >= common) {
                nodes += stretch(Some(fork), below);
                below = fork;
            }
            if below != common {
                nodes += stretch(Some(common), below) + 1;
            }
            forks.push(common);
        }
        nodes += 1;
        last = Some(key);
    }
    let mut below = 16;
    while let Some(fork) = forks.pop() {
        nodes += stretch(Some(fork), below);
        below = fork;
    }
    nodes + stretch(None, below)
}
