//! A segment of the index: a packed, unordered array of (16-bit tag, handle) in one slot of an arena.
//!
//! ```text
//! 0  mark: 1 for a slot's only segment, 2 for one of several     1–2  number of the slot it belongs to
//! then, with mark 2, four bytes: the branch in that slot's directory
//! then tags, two bytes each, as many as there is room for; then the handles, four bytes each
//! ```
//! Tags stand together so that looking for one is comparing a few cache lines; whose segment it is stands in front so
//! that it can be moved. In a small cache a slot holds a handful of entries: there every byte of the head and every free
//! cell costs as much as a byte of a header, so the head is short and small segments are as long as their entries.

use smallvec::SmallVec;

use super::arena::{Arena, Full, Handle, SLOT_BYTES_MAX};
use super::prefetch::{self, TAGS};

/// Bytes of an entry in a segment: tag and handle.
const CELL_BYTES: usize = 6;
/// Bytes before a segment's tags: the mark (the arena wants a byte that is not 0), the slot's number and the branch's.
const HEAD_ONE_BYTES: usize = 3;
const HEAD_BRANCH_BYTES: usize = 7;
const MARK_ONE: u8 = 1;
const MARK_BRANCH: u8 = 2;
/// Entries from which a segment is given room for more than it holds.
const SPARED_MIN: usize = 16;

/// Whose segment it is.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    /// Number of the slot within its shard.
    pub(super) slot: u32,
    /// Number of the branch in the slot's directory, or [`Owner::NO_BRANCH`].
    pub(super) branch: u32,
}

const _: () = assert!(crate::base::slot::SLOT_COUNT <= 1 << u16::BITS);

/// A packed array of (tag, handle) in the arena: head, `capacity` tags, `capacity` handles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Where it lies.
    pub(super) cells: Handle,
    /// Entries in it.
    pub(super) len: u16,
}

/// How an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// By itself: what a segment does not need is given back soon.
    Single,
    /// With very many others: a segment is made smaller only once more than half of it is free, because the next ones
    /// would make it smaller again. (Measured: a quarter of the instructions of such a removal.)
    Many,
}

impl Owner {
    /// The branch of a segment that is its slot's only one.
    pub(super) const NO_BRANCH: u32 = u32::MAX;

    /// Whose segment lies at `cells`.
    pub(super) fn of(arena: &Arena, cells: Handle) -> Self {
        let bytes = arena.slot(cells);
        let slot = u32::from(u16::from_le_bytes([bytes[1], bytes[2]]));
        let branch = match bytes[0] {
            MARK_ONE => Self::NO_BRANCH,
            _ => u32::from_le_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]),
        };
        Self { slot, branch }
    }

    fn head_bytes(self) -> usize {
        if self.branch == Self::NO_BRANCH { HEAD_ONE_BYTES } else { HEAD_BRANCH_BYTES }
    }

    fn write(self, cells: &mut [u8]) {
        cells[1..3].copy_from_slice(&(self.slot as u16).to_le_bytes());
        if self.branch == Self::NO_BRANCH {
            cells[0] = MARK_ONE;
        } else {
            cells[0] = MARK_BRANCH;
            cells[3..HEAD_BRANCH_BYTES].copy_from_slice(&self.branch.to_le_bytes());
        }
    }
}

impl Segment {
    /// No entries, no memory.
    pub(super) const EMPTY: Self = Self { cells: Handle::NONE, len: 0 };

    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    /// Entries it has room for.
    pub(super) fn capacity(self, arena: &Arena) -> usize {
        capacity_of(arena.slot(self.cells))
    }

    /// A segment with room for `entries`.
    pub(super) fn with_room(arena: &mut Arena, owner: Owner, entries: usize) -> Result<Self, Full> {
        let bytes = owner.head_bytes() + CELL_BYTES * entries;
        if bytes > SLOT_BYTES_MAX {
            return Err(Full);
        }
        let cells = arena.allocate(bytes)?;
        owner.write(arena.slot_mut(cells));
        Ok(Self { cells, len: 0 })
    }

    /// The first entry with this tag for which `is_it` holds: its place and its handle.
    #[inline]
    pub(super) fn find(
        self,
        arena: &Arena,
        tag: u16,
        mut is_it: impl FnMut(Handle) -> bool,
    ) -> Option<(usize, Handle)> {
        if self.len == 0 {
            return None;
        }
        let cells = arena.slot(self.cells);
        let len = self.len();
        let head = head_of(cells);
        let handles = cells.get(head + 2 * capacity_of(cells)..)?;
        let mut base = 0;
        while base < len {
            let from = head + 2 * base;
            // Beyond the tags there are handles: what matches there is masked out.
            let Some(tags) = cells.get(from..).and_then(|rest| rest.first_chunk()) else {
                let rest = (base..len).filter(|&at| tag_in(cells, at) == tag);
                return rest
                    .filter_map(|at| Some((at, nth_handle(handles, at)?)))
                    .find(|found| is_it(found.1));
            };
            let mut hits = prefetch::matches(tags, tag);
            if len - base < TAGS {
                hits &= (1 << (len - base)) - 1;
            }
            while hits != 0 {
                let at = base + hits.trailing_zeros() as usize;
                let handle = nth_handle(handles, at)?;
                if is_it(handle) {
                    return Some((at, handle));
                }
                hits &= hits - 1;
            }
            base += TAGS;
        }
        None
    }

    /// Brings the segment into the cache.
    #[inline]
    pub(super) fn prefetch(self, arena: &Arena) {
        if self.len != 0 {
            prefetch::bring(arena.slot(self.cells));
        }
    }

    /// Brings the tags and the last handle into the cache: of what removing an entry looks at all but its own handle, in
    /// half as many lines as the whole segment has.
    #[inline]
    pub(super) fn prefetch_tags(self, arena: &Arena, branch: u32) {
        if self.len == 0 {
            return;
        }
        let cells = arena.slot(self.cells);
        // The mark would say it, too, but it is not in the cache yet.
        let head = if branch == Owner::NO_BRANCH { HEAD_ONE_BYTES } else { HEAD_BRANCH_BYTES };
        prefetch::bring_all(&cells[..head + 2 * self.len()]);
        let room = (cells.len() - head) / CELL_BYTES;
        prefetch::bring_start(&cells[head + 2 * room + 4 * (self.len() - 1)]);
    }

    /// Brings the handle at a place into the cache.
    #[inline]
    pub(super) fn prefetch_handle(self, arena: &Arena, at: usize) {
        let cells = arena.slot(self.cells);
        prefetch::bring_start(&cells[head_of(cells) + 2 * capacity_of(cells) + 4 * at]);
    }

    /// An entry by its place.
    pub(super) fn entry(self, arena: &Arena, at: usize) -> (u16, Handle) {
        let cells = arena.slot(self.cells);
        (tag_in(cells, at), handle_in(cells, at))
    }

    pub(super) fn handle(self, arena: &Arena, at: usize) -> Handle {
        handle_in(arena.slot(self.cells), at)
    }

    pub(super) fn set(self, arena: &mut Arena, at: usize, tag: u16, handle: Handle) {
        let cells = arena.slot_mut(self.cells);
        let head = head_of(cells);
        let handle_at = head + 2 * capacity_of(cells) + 4 * at;
        cells[head + 2 * at..][..2].copy_from_slice(&tag.to_le_bytes());
        cells[handle_at..][..4].copy_from_slice(&handle.bits().to_le_bytes());
    }

    pub(super) fn entries(self, arena: &Arena) -> impl Iterator<Item = (u16, Handle)> + '_ {
        let cells = if self.len == 0 { &[] } else { arena.slot(self.cells) };
        (0..self.len()).map(|at| (tag_in(cells, at), handle_in(cells, at)))
    }

    /// Moves the entries to a segment with room for `entries` of them.
    pub(super) fn resize(&mut self, arena: &mut Arena, owner: Owner, entries: usize) -> Result<(), Full> {
        let mut resized = Self::with_room(arena, owner, entries)?;
        if self.cells != Handle::NONE {
            let (tags, handles) = (2 * self.len(), 4 * self.len());
            let old = arena.slot(self.cells);
            let from = head_of(old);
            let mut copied: SmallVec<[u8; 1024]> = SmallVec::from_slice(&old[from..from + tags]);
            let from = from + 2 * capacity_of(old);
            copied.extend_from_slice(&old[from..from + handles]);
            let new = arena.slot_mut(resized.cells);
            let to = head_of(new);
            new[to..to + tags].copy_from_slice(&copied[..tags]);
            let to = to + 2 * capacity_of(new);
            new[to..to + handles].copy_from_slice(&copied[tags..tags + handles]);
            arena.free(self.cells);
        }
        resized.len = self.len;
        *self = resized;
        Ok(())
    }

    pub(super) fn push(
        &mut self,
        arena: &mut Arena,
        owner: Owner,
        tag: u16,
        handle: Handle,
    ) -> Result<(), Full> {
        if self.cells == Handle::NONE || self.len() == capacity_of(arena.slot(self.cells)) {
            self.resize(arena, owner, self.len() + 1 + spare(self.len()))?;
        }
        self.len += 1;
        self.set(arena, self.len() - 1, tag, handle);
        Ok(())
    }

    pub(super) fn swap_remove(&mut self, arena: &mut Arena, owner: Owner, at: usize, pace: Pace) {
        let cells = arena.slot_mut(self.cells);
        let last = self.len() - 1;
        let (head, capacity) = (head_of(cells), capacity_of(cells));
        let handles = head + 2 * capacity;
        cells.copy_within(head + 2 * last..head + 2 * last + 2, head + 2 * at);
        cells.copy_within(handles + 4 * last..handles + 4 * last + 4, handles + 4 * at);
        self.len -= 1;
        let kept = match pace {
            Pace::Single => 3 * spare(last) + 1,
            Pace::Many => last + 1,
        };
        if self.len == 0 {
            arena.free(self.cells);
            *self = Self::EMPTY;
        } else if capacity - last > kept {
            // Without room for a smaller segment the larger one serves on.
            let _ = self.resize(arena, owner, last + spare(last));
        }
    }
}

/// Entries of room that a segment of `entries` is given beyond them.
pub(super) fn spare(entries: usize) -> usize {
    entries / SPARED_MIN
}

#[inline]
fn head_of(cells: &[u8]) -> usize {
    if cells[0] == MARK_ONE { HEAD_ONE_BYTES } else { HEAD_BRANCH_BYTES }
}

#[inline]
fn capacity_of(cells: &[u8]) -> usize {
    (cells.len() - head_of(cells)) / CELL_BYTES
}

#[inline]
fn tag_in(cells: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(cells, head_of(cells) + 2 * at))
}

/// The handle at a place of the handles of a segment.
#[inline(always)]
fn nth_handle(handles: &[u8], at: usize) -> Option<Handle> {
    let bytes = handles.get(4 * at..)?.first_chunk()?;
    Some(Handle::from_bits(u32::from_le_bytes(*bytes)))
}

#[inline]
fn handle_in(cells: &[u8], at: usize) -> Handle {
    let at = head_of(cells) + 2 * capacity_of(cells) + 4 * at;
    Handle::from_bits(u32::from_le_bytes(bytes_at(cells, at)))
}

/// `N` bytes, looked for once instead of one by one.
#[inline]
fn bytes_at<const N: usize>(cells: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&cells[at..at + N]);
    bytes
}
