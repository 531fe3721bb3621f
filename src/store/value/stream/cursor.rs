//! Walking over a stream's entries, in either direction, within two identifiers.
//!
//! A cursor gives an identifier at a time, and then the pairs of that entry one by one, straight from the node: nothing
//! is copied or allocated. Pairs that are not asked for are passed over. Deleted entries do not show.

use crate::store::value::listpack::{At, Element, Pack, PackBuf};
use crate::store::value::stream::chunked::{Chunked, Place};
use crate::store::value::stream::id::StreamId;
use crate::store::value::stream::node::{self, EntryHead, Head};

/// Entries that are looked at from the end of the last node, for a walk that begins near it.
const NEAR_END: usize = 8;

/// Which way a cursor walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest identifier.
    Forward,
    /// From the greatest.
    Backward,
}

/// A walk over entries; see the module.
#[derive(Debug)]
pub struct Cursor<'a> {
    nodes: &'a Chunked<PackBuf>,
    /// The node to go on with.
    next: Option<Place>,
    start: StreamId,
    end: StreamId,
    direction: Direction,
    open: Option<Open<'a>>,
}

/// The node that the cursor is in.
#[derive(Debug)]
struct Open<'a> {
    master: StreamId,
    pack: Pack<'a>,
    head: Head,
    /// The last element of what was passed before: going forward the end of the head or of an entry; going backward
    /// the end of the entry that comes next.
    end: Option<At>,
    /// Pairs of the present entry that were not read yet.
    left: usize,
    /// The next field of the head, where the present entry has its fields.
    same_at: Option<At>,
    /// What comes next of the present entry: a field or a value; its last element when no pair is left.
    body_at: Option<At>,
}

impl<'a> Cursor<'a> {
    /// A walk over the entries of `nodes` from `start` to `end`, both included.
    pub(super) fn new(
        nodes: &'a Chunked<PackBuf>,
        start: StreamId,
        end: StreamId,
        direction: Direction,
    ) -> Self {
        // The node that an identifier falls into is the last one whose master is not greater.
        let next = match direction {
            _ if start > end => None,
            Direction::Forward => nodes.floor(start).or(nodes.first()),
            Direction::Backward => nodes.floor(end),
        };
        Self { nodes, next, start, end, direction, open: None }
    }

    /// Steps to the next entry and gives its identifier; none at the end, also when asked again.
    pub fn next_id(&mut self) -> Option<StreamId> {
        loop {
            if self.open.is_none() {
                self.open = self.next_node();
            }
            let open = self.open.as_mut()?;
            let Some(entry) = open.step(self.direction) else {
                self.open = None;
                continue;
            };
            if entry.is_deleted() || entry.id < self.start || entry.id > self.end {
                let beyond = match self.direction {
                    Direction::Forward => entry.id > self.end,
                    Direction::Backward => entry.id < self.start,
                };
                if beyond {
                    self.finish();
                    return None;
                }
                continue;
            }
            return Some(entry.id);
        }
    }

    /// How many pairs of the present entry [`Cursor::pair`] still gives.
    pub fn pairs(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.left)
    }

    /// The next field and value of the present entry.
    pub fn pair(&mut self) -> Option<(Element<'a>, Element<'a>)> {
        self.open.as_mut()?.pair()
    }

    fn next_node(&mut self) -> Option<Open<'a>> {
        let place = self.next?;
        self.next = match self.direction {
            Direction::Forward => self.nodes.next(place),
            Direction::Backward => self.nodes.previous(place),
        };
        let (master, node) = self.nodes.at(place)?;
        let pack = node.as_pack();
        let head = Head::of(pack)?;
        let end = match self.direction {
            // Who follows a stream reads from somewhere near its end on.
            Direction::Forward if self.next.is_none() && self.start > master => {
                near_end(pack, master, &head, self.start).or_else(|| head.end(pack))
            }
            Direction::Forward => head.end(pack),
            Direction::Backward => pack.last(),
        };
        Some(Open { master, pack, head, end, left: 0, same_at: None, body_at: None })
    }

    /// Leaves nothing to be found.
    fn finish(&mut self) {
        self.open = None;
        self.next = None;
    }
}

/// The end of the last entry before `start`, if only a few follow it.
fn near_end(pack: Pack<'_>, master: StreamId, head: &Head, start: StreamId) -> Option<At> {
    if head.live + head.deleted <= NEAR_END as u64 {
        return None;
    }
    let mut end = pack.last()?;
    for _ in 0..NEAR_END {
        let flags_at = node::entry_before(pack, end)?;
        if EntryHead::of(pack, master, head, flags_at)?.id < start {
            return Some(end);
        }
        end = pack.prev(flags_at)?;
    }
    None
}

impl<'a> Open<'a> {
    /// Steps to the next entry of this node.
    fn step(&mut self, direction: Direction) -> Option<EntryHead> {
        let flags_at = match direction {
            Direction::Forward => {
                self.pass_pairs();
                let end = self.body_at.take().or(self.end.take())?;
                self.pack.next(end)?
            }
            Direction::Backward => {
                let flags_at = node::entry_before(self.pack, self.end.take()?)?;
                self.end = self.pack.prev(flags_at);
                flags_at
            }
        };
        let entry = EntryHead::of(self.pack, self.master, &self.head, flags_at)?;
        self.left = entry.fields;
        self.same_at = (entry.flags & node::SAME_FIELDS != 0).then_some(self.head.fields_at);
        self.body_at = Some(entry.body_at);
        Some(entry)
    }

    /// Goes to the end of the present entry.
    fn pass_pairs(&mut self) {
        let elements = if self.same_at.is_some() { self.left } else { self.left * 2 };
        for _ in 0..elements {
            self.body_at = self.body_at.and_then(|at| self.pack.next(at));
        }
        self.left = 0;
    }

    fn pair(&mut self) -> Option<(Element<'a>, Element<'a>)> {
        if self.left == 0 {
            return None;
        }
        let at = self.body_at?;
        let (field, value_at) = match self.same_at {
            Some(field_at) => {
                self.same_at = self.pack.next(field_at);
                (self.pack.get(field_at), at)
            }
            None => (self.pack.get(at), self.pack.next(at)?),
        };
        self.body_at = self.pack.next(value_at);
        self.left -= 1;
        Some((field, self.pack.get(value_at)))
    }
}
