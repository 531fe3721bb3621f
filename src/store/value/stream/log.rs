//! The entries of a stream: nodes in the order of their identifiers, and what is remembered of entries that are gone.
//!
//! Entries are only ever added behind the last identifier that was given out, and removed anywhere. Bytes are counted
//! along. Bounds: one entry's texts are below 1 GiB together; a node takes entries while it is within the thresholds.

use crate::store::value::Thresholds;
use crate::store::value::listpack::{At, Pack, PackBuf};
use crate::store::value::stream::chunked::Chunked;
use crate::store::value::stream::cursor::{Cursor, Direction};
use crate::store::value::stream::id::StreamId;
use crate::store::value::stream::node::{self, EntryHead, Head};
use std::fmt;

/// Most bytes of a node, and of the texts of one entry.
pub const NODE_BYTES_MAX: usize = 1 << 30;

/// How the identifier of a new entry comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`: the time, or behind the last one if the clock is not ahead of it.
    Auto {
        /// Unix ms.
        now_ms: u64,
    },
    /// `<ms>-*`: the first sequence number of that ms that is still free.
    InMs(u64),
    /// This one.
    Exactly(StreamId),
}

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The greatest identifier of all is taken.
    Exhausted,
    /// The identifier is not greater than the last one.
    NotGreater,
    /// The texts are longer than a node may be.
    TooLarge,
}

/// A stream's counts and identifiers beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The last identifier given out, whether its entry is still there or not.
    pub last_id: StreamId,
    /// The smallest identifier of an entry; `0-0` without entries.
    pub first_id: StreamId,
    /// The greatest identifier that was deleted one by one, not by trimming; `0-0` if none was.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
}

/// Entries and marks of a stream; see the module.
#[derive(Default)]
pub struct Log {
    pub(super) nodes: Chunked<PackBuf>,
    pub(super) marks: Marks,
    pub(super) length: u64,
    /// Bytes that the allocator holds for the nodes' listpacks.
    pub(super) packs_bytes: usize,
    /// In the first node, of this master, all entries up to this element are deleted: who removes the oldest entries one
    /// by one does not have to pass them each time.
    pub(super) passed: Option<(StreamId, At)>,
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Log").field("marks", &self.marks).field("nodes", &self.nodes).finish()
    }
}

impl Clone for Log {
    fn clone(&self) -> Self {
        let nodes = self.nodes.clone();
        // Copies have no room to spare.
        let packs_bytes = nodes.iter().map(|(_, node)| node.capacity_bytes()).sum();
        Self { nodes, packs_bytes, ..*self }
    }
}

impl Log {
    /// No entries yet.
    pub const fn new() -> Self {
        let marks = Marks {
            last_id: StreamId::MIN,
            first_id: StreamId::MIN,
            max_deleted_id: StreamId::MIN,
            entries_added: 0,
        };
        Self { nodes: Chunked::new(), marks, length: 0, packs_bytes: 0, passed: None }
    }

    /// Takes over nodes in ascending order; none if one of them is not what it should be, overlaps another, or lies
    /// behind `last_id`. The first identifier is found anew.
    pub fn from_nodes(nodes: impl IntoIterator<Item = (StreamId, PackBuf)>, marks: Marks) -> Option<Self> {
        let mut log = Self { marks, ..Self::default() };
        let mut before = None;
        for (master, node) in nodes {
            let pack = node.as_pack();
            if !node::check(pack, master) || before.is_some_and(|before| before >= master) {
                return None;
            }
            before = node::last_id(pack, master).or(Some(master));
            let live = Head::of(pack)?.live;
            if live == 0 {
                // Redis may keep a node of nothing but deleted entries; there is nothing in it to keep.
                continue;
            }
            log.length += live;
            log.packs_bytes += node.capacity_bytes();
            log.nodes.insert(master, node);
        }
        log.update_first();
        (log.last_entry_id().unwrap_or_default() <= marks.last_id).then_some(log)
    }

    /// Entries.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Counts and identifiers.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How many nodes there are.
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes and their masters, ascending: what a dump holds.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, &PackBuf)> {
        self.nodes.iter()
    }

    /// The same from the first on whose master is not before `master`.
    pub fn nodes_from(&self, master: StreamId) -> impl Iterator<Item = (StreamId, &PackBuf)> {
        self.nodes.iter_from(master)
    }

    /// Puts the nodes of another log behind its own; false, and nothing is done, if they do not all come behind, or if
    /// the marks are others, but for the first identifier.
    pub fn append(&mut self, mut other: Self) -> bool {
        let first_id = self.marks.first_id;
        let last = self.nodes.last().and_then(|last| self.nodes.at(last));
        let last_id = last.and_then(|(master, node)| node::last_id(node.as_pack(), master));
        let first = other.nodes.first().and_then(|first| other.nodes.at(first)).map(|(master, _)| master);
        if (Marks { first_id, ..other.marks }) != self.marks || (first.is_some() && first <= last_id) {
            return false;
        }
        while let Some((master, node)) = other.nodes.pop_first() {
            self.packs_bytes += node.capacity_bytes();
            self.nodes.insert(master, node);
        }
        let was_empty = self.length == 0;
        self.length += other.length;
        if was_empty {
            self.update_first();
        }
        true
    }

    /// Bytes that the allocator holds. O(1).
    pub fn heap_bytes(&self) -> usize {
        self.packs_bytes + self.nodes.heap_bytes()
    }

    /// A walk over the entries from `start` to `end`, both included.
    pub fn cursor(&self, start: StreamId, end: StreamId, direction: Direction) -> Cursor<'_> {
        Cursor::new(&self.nodes, start, end, direction)
    }

    /// A walk that finds exactly the entry `id`, or nothing.
    pub fn entry(&self, id: StreamId) -> Cursor<'_> {
        self.cursor(id, id, Direction::Forward)
    }

    /// The smallest identifier of an entry.
    pub fn first_entry_id(&self) -> Option<StreamId> {
        self.cursor(StreamId::MIN, StreamId::MAX, Direction::Forward).next_id()
    }

    /// The greatest identifier of an entry; [`Marks::last_id`] may be beyond it.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.cursor(StreamId::MIN, StreamId::MAX, Direction::Backward).next_id()
    }

    /// Adds an entry of these pairs of field and value, at least one.
    ///
    /// # Errors
    /// See [`AddError`]; nothing is changed then.
    pub fn add<'p>(
        &mut self,
        id: NewId,
        pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
        bounds: &Thresholds,
    ) -> Result<StreamId, AddError> {
        let id = self.resolve(id)?;
        let texts_bytes: usize = pairs.clone().map(|(field, value)| field.len() + value.len()).sum();
        if texts_bytes > NODE_BYTES_MAX {
            return Err(AddError::TooLarge);
        }
        self.push(id, pairs, texts_bytes, bounds);
        self.length += 1;
        self.marks.entries_added = self.marks.entries_added.wrapping_add(1);
        self.marks.last_id = id;
        if self.length == 1 {
            self.marks.first_id = id;
        }
        Ok(id)
    }

    /// The identifier that a new entry gets.
    fn resolve(&self, id: NewId) -> Result<StreamId, AddError> {
        let last_id = self.marks.last_id;
        let behind_last = last_id.next().ok_or(AddError::Exhausted)?;
        let id = match id {
            NewId::Auto { now_ms } if now_ms > last_id.ms => StreamId::new(now_ms, 0),
            NewId::Auto { .. } => behind_last,
            NewId::InMs(ms) if ms != last_id.ms => StreamId::new(ms, 0),
            NewId::InMs(ms) if ms == behind_last.ms => behind_last,
            NewId::InMs(_) => return Err(AddError::NotGreater),
            NewId::Exactly(id) => id,
        };
        if id > last_id { Ok(id) } else { Err(AddError::NotGreater) }
    }

    /// Puts an entry behind all others: into the last node, or a new one if that is full.
    fn push<'p>(
        &mut self,
        id: StreamId,
        pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
        texts_bytes: usize,
        bounds: &Thresholds,
    ) {
        if let Some((master, node)) = self.nodes.last().and_then(|last| self.nodes.at_mut(last))
            && let Some(head) = Head::of(node.as_pack())
            && takes(node, &head, texts_bytes, bounds)
        {
            let (before_bytes, before_len) = (node.capacity_bytes(), node.bytes_len());
            let same = node::count_in(node, &head, pairs.clone());
            let moved = node.bytes_len() != before_len;
            node::push_entry(node, master, id, same, pairs);
            self.packs_bytes = self.packs_bytes - before_bytes + node.capacity_bytes();
            if moved {
                self.passed = None;
            }
            return;
        }
        let mut node = node::with_head(pairs.clone());
        node::push_entry(&mut node, id, id, true, pairs);
        self.packs_bytes += node.capacity_bytes();
        self.nodes.insert(id, node);
    }

    /// Deletes an entry, if it is there.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let (place, passed) = (self.nodes.floor(id), self.passed);
        let Some((master, node)) = place.and_then(|place| self.nodes.at_mut(place)) else {
            return false;
        };
        let Some((head, entry)) = find(node, master, id, passed) else {
            return false;
        };
        let (before_bytes, before_len) = (node.capacity_bytes(), node.bytes_len());
        if head.live <= 1 {
            self.nodes.remove(master);
            self.packs_bytes -= before_bytes;
            self.passed = None;
        } else {
            node::flag_deleted(node, &entry);
            node::set_counts(node, head.live - 1, head.deleted + 1);
            self.packs_bytes = self.packs_bytes - before_bytes + node.capacity_bytes();
            if node.bytes_len() != before_len {
                self.passed = None;
            }
        }
        self.length -= 1;
        self.marks.max_deleted_id = self.marks.max_deleted_id.max(id);
        if id == self.marks.first_id || self.length == 0 {
            self.update_first();
        }
        true
    }

    /// Finds the first identifier anew.
    pub(super) fn update_first(&mut self) {
        let first = self.first_live();
        self.passed = first.map(|(master, end, _)| (master, end));
        self.marks.first_id = match first {
            Some((_, _, id)) => id,
            None => self.first_entry_id().unwrap_or_default(),
        };
    }

    /// The first entry that is not deleted, if it is in the first node: the node's master, the end of what stands before
    /// the entry, and its identifier.
    fn first_live(&self) -> Option<(StreamId, At, StreamId)> {
        let (master, node) = self.nodes.at(self.nodes.first()?)?;
        let pack = node.as_pack();
        let head = Head::of(pack)?;
        let mut end = begin(pack, master, &head, self.passed)?;
        loop {
            let entry = EntryHead::of(pack, master, &head, pack.next(end)?)?;
            if !entry.is_deleted() {
                return Some((master, end, entry.id));
            }
            end = entry.end(pack)?;
        }
    }

    /// Sets the marks that XSETID sets.
    pub fn set_marks(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        self.marks.last_id = last_id;
        if let Some(entries_added) = entries_added {
            self.marks.entries_added = entries_added;
        }
        if let Some(max_deleted_id) = max_deleted_id {
            self.marks.max_deleted_id = max_deleted_id;
        }
    }

    /// Whether an entry behind `id`, or `id` itself, was deleted one by one while there are entries before the deleted
    /// one: then counting entries says nothing about how many follow.
    pub fn has_gap_from(&self, id: StreamId) -> bool {
        let Marks { first_id, max_deleted_id, .. } = self.marks;
        self.length > 0
            && max_deleted_id != StreamId::MIN
            && first_id <= max_deleted_id
            && id <= max_deleted_id
    }

    /// How many entries were ever added up to `id`, where that is certain.
    pub fn count_up_to(&self, id: StreamId) -> Option<u64> {
        let Marks { last_id, first_id, max_deleted_id, entries_added } = self.marks;
        if entries_added == 0 {
            return Some(0);
        }
        if id == last_id || self.length == 0 && id < last_id {
            return Some(entries_added);
        }
        let unbroken = max_deleted_id == StreamId::MIN || max_deleted_id < first_id;
        if id > last_id || id > first_id || !unbroken {
            return None;
        }
        // Saturating: XSETID and RESTORE may say that fewer entries were added than there are.
        let gone = entries_added.saturating_sub(self.length);
        Some(if id == first_id { gone + 1 } else { gone })
    }

    #[cfg(test)]
    pub(super) fn validate(&self) {
        let again =
            Self::from_nodes(self.nodes.iter().map(|(master, node)| (master, node.clone())), self.marks);
        let again = again.expect("every node is sound");
        assert_eq!(again.length, self.length);
        assert_eq!(self.first_entry_id().unwrap_or_default(), self.marks.first_id);
        let packs_bytes: usize = self.nodes.iter().map(|(_, node)| node.capacity_bytes()).sum();
        assert_eq!(packs_bytes, self.packs_bytes);
        self.nodes.validate();
        if let Some((_, passed)) = self.passed {
            let unaided = Self { passed: None, ..self.clone() };
            let (_, end, _) = unaided.first_live().expect("the first node is not empty");
            assert!(passed <= end);
            assert_eq!(self.first_live(), unaided.first_live());
        }
    }
}

/// Whether the node has room for one more entry within the bounds.
fn takes(node: &PackBuf, head: &Head, texts_bytes: usize, bounds: &Thresholds) -> bool {
    let max_bytes = match bounds.stream_node_max_bytes {
        0 => NODE_BYTES_MAX,
        bytes => bytes.min(NODE_BYTES_MAX),
    };
    let max_entries = match bounds.stream_node_max_entries {
        0 => u64::MAX,
        entries => entries as u64,
    };
    node.bytes_len() + texts_bytes < max_bytes && head.live + head.deleted < max_entries
}

/// The end of the head, or of the deleted entries that are known to follow it.
pub(super) fn begin(
    pack: Pack<'_>,
    master: StreamId,
    head: &Head,
    passed: Option<(StreamId, At)>,
) -> Option<At> {
    match passed {
        Some((known, end)) if known == master => Some(end),
        _ => head.end(pack),
    }
}

/// The entry `id` of the node, if it is there and not deleted.
fn find(
    node: &PackBuf,
    master: StreamId,
    id: StreamId,
    passed: Option<(StreamId, At)>,
) -> Option<(Head, EntryHead)> {
    let pack = node.as_pack();
    let head = Head::of(pack)?;
    let mut end = begin(pack, master, &head, passed)?;
    loop {
        let entry = EntryHead::of(pack, master, &head, pack.next(end)?)?;
        if entry.id >= id {
            return (entry.id == id && !entry.is_deleted()).then_some((head, entry));
        }
        end = entry.end(pack)?;
    }
}
