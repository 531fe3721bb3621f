//! Trimming: the oldest entries go, by number or by identifier.
//!
//! Exact trimming deletes entry by entry in the last node that it touches; approximate trimming removes whole nodes
//! only, and may be limited to so many entries.

use crate::store::value::listpack::{At, PackBuf};
use crate::store::value::stream::id::StreamId;
use crate::store::value::stream::log::{self, Log};
use crate::store::value::stream::node::{self, EntryHead, Head};

/// Which entries are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All but the last so many.
    Newest(u64),
    /// Those before this identifier.
    From(StreamId),
}

/// What to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// What is left.
    pub keep: Keep,
    /// Whole nodes only.
    pub approximate: bool,
    /// Most entries to remove; none for no bound.
    pub limit: Option<u64>,
}

impl Log {
    /// Removes entries from the start; how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let mut removed = 0;
        while let Some((master, node)) = self.nodes.first().and_then(|first| self.nodes.at(first)) {
            if let Keep::Newest(count) = trim.keep
                && self.length <= count
            {
                break;
            }
            let Some(head) = Head::of(node.as_pack()) else {
                break;
            };
            if trim.limit.is_some_and(|limit| removed + head.live > limit) {
                break;
            }
            let whole = match trim.keep {
                Keep::Newest(count) => self.length - head.live >= count,
                Keep::From(id) => node::last_id(node.as_pack(), master).is_none_or(|last| last < id),
            };
            if whole {
                self.drop_first_node(head.live);
                removed += head.live;
                continue;
            }
            if !trim.approximate {
                removed += self.trim_first_node(trim.keep);
            }
            break;
        }
        if removed > 0 {
            self.update_first();
        }
        removed
    }

    fn drop_first_node(&mut self, live: u64) {
        if let Some((_, node)) = self.nodes.pop_first() {
            self.packs_bytes -= node.capacity_bytes();
            self.length -= live;
            self.passed = None;
        }
    }

    /// Deletes entries of the first node, which keeps some, or at least deleted ones; how many.
    fn trim_first_node(&mut self, keep: Keep) -> u64 {
        let surplus = match keep {
            Keep::Newest(count) => self.length.saturating_sub(count),
            Keep::From(_) => u64::MAX,
        };
        let (first, passed) = (self.nodes.first(), self.passed);
        let Some((master, node)) = first.and_then(|first| self.nodes.at_mut(first)) else {
            return 0;
        };
        let (before_bytes, before_len) = (node.capacity_bytes(), node.bytes_len());
        let Some((head, removed)) = delete_first(node, master, (keep, surplus), passed) else {
            return 0;
        };
        if removed == head.live {
            self.drop_first_node(removed);
            return removed;
        }
        if removed > 0 {
            node::set_counts(node, head.live - removed, head.deleted + removed);
        }
        if node.bytes_len() != before_len {
            self.passed = None;
        }
        self.packs_bytes = self.packs_bytes - before_bytes + node.capacity_bytes();
        self.length -= removed;
        removed
    }
}

/// Flags up to `surplus` entries of the node as deleted, and none that is to be kept; the head as it was, and how many.
fn delete_first(
    node: &mut PackBuf,
    master: StreamId,
    (keep, surplus): (Keep, u64),
    passed: Option<(StreamId, At)>,
) -> Option<(Head, u64)> {
    let head = Head::of(node.as_pack())?;
    let mut end = log::begin(node.as_pack(), master, &head, passed)?;
    let mut removed = 0;
    while removed < surplus
        && let Some(flags_at) = node.as_pack().next(end)
    {
        let entry = EntryHead::of(node.as_pack(), master, &head, flags_at)?;
        if let Keep::From(id) = keep
            && entry.id >= id
        {
            break;
        }
        end = entry.end(node.as_pack())?;
        if !entry.is_deleted() {
            node::flag_deleted(node, &entry);
            removed += 1;
        }
    }
    Some((head, removed))
}
