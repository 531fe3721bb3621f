//! One FIFO queue of entries: four bytes an entry here and one in its header, without links.
//!
//! The queue is a row of *groups*, the oldest first, and a group is an array of handles (*cells*) in the order in which
//! their entries came. An entry's header says which queue it stands in and, by a one-byte *stamp*, in which group. So an
//! entry leaves the queue by a change of its header: its cell stays, is known as stale by the header of whatever is in
//! that slot by then, and is passed over. An entry that moves to another slot gets a further cell at the end of its group,
//! which keeps its place in the order to a thirty-second part of the queue.
//!
//! Why not links to both neighbours: they took eight bytes an entry, and every removal waited for the memory of two
//! neighbours.
//!
//! Invariants: an entry of the queue has a cell in the group of its stamp, among those that are not taken yet; `live`
//! counts a group's entries, and only the youngest group may have none; there are at most [`GROUPS_MAX`] groups. A slot
//! that is used again by an entry of the same group can have two cells, which makes it older than it is, once. A group
//! holds at most half as many stale cells as entries, but for [`STALE_MIN`] and for those second cells.

use super::arena::{Arena, Handle};
use super::entry::{self, Queue};
use super::prefetch;

/// Cells of a group at least.
const CELLS_MIN: usize = 64;
/// A new group is to hold this share of the queue.
const GROUP_SHARE: usize = 32;
/// Most groups: their numbers are the stamps.
const GROUPS_MAX: usize = 250;
const NO_GROUP: u8 = u8::MAX;
/// Stale cells that are not worth clearing out.
const STALE_MIN: usize = 32;
/// How many cells ahead entries are fetched while a group is cleared out.
const AHEAD: usize = 16;

const _: () = assert!(GROUPS_MAX <= NO_GROUP as usize);

#[derive(Debug)]
struct Group {
    cells: Vec<Handle>,
    /// Cells at the front that are done with.
    taken: usize,
    /// Entries whose stamp names this group.
    live: usize,
    /// Cells it is to have before the next one is begun.
    target: usize,
    /// Cells that were there beyond one an entry when stale ones were last cleared out: second cells, as far as they do
    /// not become stale.
    doubles: usize,
    /// Stamps of the neighbours: the next older and the next younger.
    older: u8,
    younger: u8,
}

impl Group {
    /// A group without cells, younger than all others.
    fn new(target: usize, older: u8) -> Self {
        Self { cells: Vec::new(), taken: 0, live: 0, target, doubles: 0, older, younger: NO_GROUP }
    }

    fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Handle>()
    }

    fn left(&self) -> usize {
        self.cells.len() - self.taken
    }

    fn push(&mut self, handle: Handle) {
        let len = self.cells.len();
        if len == self.cells.capacity() {
            // No more than what it is to hold, and then in small steps: room in hundreds of groups adds up.
            let more =
                if len < self.target { len.max(CELLS_MIN / 4).min(self.target - len) } else { len / 16 + 16 };
            self.cells.reserve_exact(more);
        }
        self.cells.push(handle);
    }

    /// Removes stale cells if there are many.
    fn clear_if_stale(&mut self, arena: &Arena, holds: impl Fn(&[u8]) -> bool) {
        if self.left() > self.live + self.live / 2 + STALE_MIN + self.doubles {
            let (mut kept, from) = (0, self.taken);
            for at in from..self.cells.len() {
                if let Some(&ahead) = self.cells.get(at + AHEAD) {
                    arena.peek(ahead).inspect(|slot| prefetch::bring(&slot[..entry::HEADER_BYTES]));
                }
                let handle = self.cells[at];
                if arena.peek(handle).is_some_and(&holds) {
                    self.cells[kept] = handle;
                    kept += 1;
                }
            }
            self.cells.truncate(kept);
            self.taken = 0;
            if self.cells.capacity() > kept + kept / 4 {
                self.cells.shrink_to(kept + kept / 16);
            }
            self.doubles = kept.saturating_sub(self.live);
        }
    }
}

/// A queue.
#[derive(Debug)]
pub(super) struct Fifo {
    /// Which of the two it is, as the entries' headers say it.
    queue: Queue,
    /// By stamp; those that are not in the row have no cells.
    groups: Vec<Group>,
    /// Stamps of no group.
    vacant: Vec<u8>,
    oldest: u8,
    youngest: u8,
    entries: usize,
    cell_bytes: usize,
}

impl Fifo {
    /// An empty queue.
    pub(super) fn new(queue: Queue) -> Self {
        let (groups, vacant) = (Vec::new(), Vec::new());
        Self { queue, groups, vacant, oldest: NO_GROUP, youngest: NO_GROUP, entries: 0, cell_bytes: 0 }
    }

    /// Entries in it.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.cell_bytes + self.groups.capacity() * size_of::<Group>() + self.vacant.capacity()
    }

    /// Puts an entry that stands in no queue at the young end.
    pub(super) fn push(&mut self, arena: &mut Arena, handle: Handle) {
        if self.groups.get(self.youngest as usize).is_none_or(|group| group.cells.len() >= group.target) {
            self.begin_group(arena);
        }
        let slot = arena.slot_mut(handle);
        entry::set_queue(slot, self.queue);
        entry::set_stamp(slot, self.youngest);
        self.entries += 1;
        self.change(self.youngest, |group| {
            group.live += 1;
            group.push(handle);
        });
    }

    /// An entry of this queue is in another slot now; its header came along.
    pub(super) fn follow(&mut self, arena: &Arena, handle: Handle) {
        let (queue, stamp) = (self.queue, entry::stamp(arena.slot(handle)));
        self.change(stamp, |group| {
            group.push(handle);
            group.clear_if_stale(arena, |slot| is_of(slot, queue, stamp));
        });
    }

    /// Takes an entry of this queue out of it.
    pub(super) fn remove(&mut self, arena: &mut Arena, handle: Handle) {
        let slot = arena.slot_mut(handle);
        let (queue, stamp) = (self.queue, entry::stamp(slot));
        entry::set_queue(slot, Queue::None);
        self.entries -= 1;
        self.change(stamp, |group| {
            group.live -= 1;
            if group.live == 0 {
                group.cells = Vec::new();
                (group.taken, group.doubles) = (0, 0);
            } else {
                group.clear_if_stale(arena, |slot| is_of(slot, queue, stamp));
            }
        });
        if stamp != self.youngest && self.groups[stamp as usize].live == 0 {
            self.unlink(stamp);
        }
    }

    /// The oldest entry, which the caller must remove at once: its cell is done with.
    pub(super) fn oldest(&mut self, arena: &Arena) -> Option<Handle> {
        let (queue, stamp) = (self.queue, self.oldest);
        let group = self.groups.get_mut(stamp as usize)?;
        while let Some(&handle) = group.cells.get(group.taken) {
            group.taken += 1;
            if arena.peek(handle).is_some_and(|slot| is_of(slot, queue, stamp)) {
                return Some(handle);
            }
        }
        debug_assert_eq!(group.live, 0, "an entry has no cell");
        None
    }

    /// Adds a group at the young end. Where there is no stamp for it, the two neighbours that are smallest together become
    /// one.
    fn begin_group(&mut self, arena: &mut Arena) {
        if self.vacant.is_empty() && self.groups.len() == GROUPS_MAX {
            self.merge_smallest(arena);
        }
        let group = Group::new((self.entries / GROUP_SHARE).max(CELLS_MIN), self.youngest);
        let stamp = match self.vacant.pop() {
            Some(stamp) => {
                self.groups[stamp as usize] = group;
                stamp
            }
            None => {
                self.groups.push(group);
                (self.groups.len() - 1) as u8
            }
        };
        match self.groups.get_mut(self.youngest as usize) {
            Some(before) => before.younger = stamp,
            None => self.oldest = stamp,
        }
        self.youngest = stamp;
    }

    /// Takes a group without entries out of the row.
    fn unlink(&mut self, stamp: u8) {
        let Group { older, younger, .. } = self.groups[stamp as usize];
        match self.groups.get_mut(older as usize) {
            Some(group) => group.younger = younger,
            None => self.oldest = younger,
        }
        match self.groups.get_mut(younger as usize) {
            Some(group) => group.older = older,
            None => self.youngest = older,
        }
        self.change(stamp, |group| group.cells = Vec::new());
        self.vacant.push(stamp);
    }

    fn merge_smallest(&mut self, arena: &mut Arena) {
        let left = |stamp: u8| self.groups[stamp as usize].left();
        let row =
            std::iter::successors(Some(self.oldest), |&stamp| Some(self.groups[stamp as usize].younger));
        let row = row.take_while(|&stamp| self.groups[stamp as usize].younger != NO_GROUP);
        let Some(stamp) = row.min_by_key(|&stamp| left(stamp) + left(self.groups[stamp as usize].younger))
        else {
            return;
        };
        let into = self.groups[stamp as usize].younger;
        let mut cells = std::mem::take(&mut self.groups[stamp as usize].cells);
        self.cell_bytes -= cells.capacity() * size_of::<Handle>();
        cells.drain(..std::mem::take(&mut self.groups[stamp as usize].taken));
        cells.retain(|&handle| {
            let stays = arena.peek(handle).is_some_and(|slot| is_of(slot, self.queue, stamp));
            if stays {
                entry::set_stamp(arena.slot_mut(handle), into);
            }
            stays
        });
        let live = std::mem::take(&mut self.groups[stamp as usize].live);
        self.change(into, |group| {
            cells.extend_from_slice(&group.cells[group.taken..]);
            group.taken = 0;
            group.live += live;
            group.cells = cells;
        });
        self.unlink(stamp);
    }

    fn change(&mut self, stamp: u8, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(stamp as usize) else {
            debug_assert!(false, "an entry's stamp names no group");
            return;
        };
        let before = group.bytes();
        change(group);
        self.cell_bytes = self.cell_bytes + group.bytes() - before;
    }

    /// Recounts everything and gives the entries; for tests.
    #[cfg(test)]
    pub(super) fn validate(&self, arena: &Arena) -> Vec<Handle> {
        let mut all = Vec::new();
        assert_eq!(self.cell_bytes, self.groups.iter().map(Group::bytes).sum::<usize>());
        let (mut stamp, mut older, mut seen) = (self.oldest, NO_GROUP, 0);
        while let Some(group) = self.groups.get(stamp as usize) {
            assert_eq!(group.older, older);
            assert!(group.live > 0 || stamp == self.youngest);
            let valid =
                |&&handle: &&Handle| arena.peek(handle).is_some_and(|slot| is_of(slot, self.queue, stamp));
            let mut handles: Vec<Handle> = group.cells[group.taken..].iter().filter(valid).copied().collect();
            handles.sort_unstable();
            handles.dedup();
            assert_eq!(handles.len(), group.live);
            all.extend(handles);
            (older, stamp, seen) = (stamp, group.younger, seen + 1);
        }
        assert_eq!((older, seen + self.vacant.len()), (self.youngest, self.groups.len()));
        assert_eq!(all.len(), self.entries);
        all
    }
}

fn is_of(slot: &[u8], queue: Queue, stamp: u8) -> bool {
    entry::queue(slot) == queue && entry::stamp(slot) == stamp
}

#[cfg(test)]
mod tests {
    use super::{Fifo, GROUPS_MAX, STALE_MIN};
    use crate::base::rng::Rng;
    use crate::store::arena::{Arena, Handle};
    use crate::store::entry::{self, Queue};

    /// A slot in use, in no queue, with the number at its end.
    fn entry_of(arena: &mut Arena, number: u32) -> Handle {
        let handle = arena.allocate(20).expect("room");
        let slot = arena.slot_mut(handle);
        entry::reset(slot, 0);
        slot[0] |= 1;
        slot[16..20].copy_from_slice(&number.to_le_bytes());
        handle
    }

    fn number_of(arena: &Arena, handle: Handle) -> u32 {
        u32::from_le_bytes(arena.slot(handle)[16..20].try_into().expect("four bytes"))
    }

    fn drain(fifo: &mut Fifo, arena: &mut Arena) -> Vec<u32> {
        let mut numbers = Vec::new();
        while let Some(handle) = fifo.oldest(arena) {
            fifo.remove(arena, handle);
            numbers.push(number_of(arena, handle));
        }
        numbers
    }

    #[test]
    fn entries_come_out_in_the_order_in_which_they_came() {
        let (mut arena, mut fifo, mut rng) = (Arena::default(), Fifo::new(Queue::Main), Rng::seeded(1));
        let handles: Vec<Handle> = (0..30_000).map(|number| entry_of(&mut arena, number)).collect();
        let mut expected = Vec::new();
        for (number, &handle) in handles.iter().enumerate() {
            fifo.push(&mut arena, handle);
            if number % 3 != 0 {
                fifo.remove(&mut arena, handle);
            } else {
                expected.push(number as u32);
            }
        }
        fifo.validate(&arena);
        // Slots are not given back here, so that nothing stands twice.
        expected.retain(|&number| {
            let stays = rng.below(4) > 0;
            if !stays {
                fifo.remove(&mut arena, handles[number as usize]);
            }
            stays
        });
        fifo.validate(&arena);
        let cells: usize = fifo.groups.iter().map(super::Group::left).sum();
        assert!(cells <= expected.len() * 3 / 2 + fifo.groups.len() * STALE_MIN, "{cells} cells");
        assert_eq!(drain(&mut fifo, &mut arena), expected);
        assert_eq!((fifo.entries(), fifo.validate(&arena).len()), (0, 0));
    }

    /// Some entries stay for ever while others come and go: the groups they hold open are joined, in order.
    #[test]
    fn entries_that_stay_leave_stamps_for_those_that_come() {
        let (mut arena, mut fifo, mut rng) = (Arena::default(), Fifo::new(Queue::Small), Rng::seeded(2));
        let (mut staying, mut passing) = (Vec::new(), Vec::new());
        for number in 0..200_000u32 {
            let handle = entry_of(&mut arena, number);
            fifo.push(&mut arena, handle);
            if number % 500 == 0 {
                staying.push(number);
            } else {
                passing.push(handle);
            }
            if passing.len() > 2000 {
                let gone = passing.swap_remove(rng.below(2000) as usize);
                fifo.remove(&mut arena, gone);
                arena.free(gone);
            }
            if number % 20_000 == 0 {
                fifo.validate(&arena);
            }
        }
        assert_eq!(fifo.groups.len(), GROUPS_MAX);
        let cells: usize = fifo.groups.iter().map(super::Group::left).sum();
        assert!(
            cells < 2 * (fifo.entries() + GROUPS_MAX * STALE_MIN),
            "{cells} cells for {}",
            fifo.entries()
        );
        for handle in passing {
            fifo.remove(&mut arena, handle);
            arena.free(handle);
        }
        fifo.validate(&arena);
        assert_eq!(drain(&mut fifo, &mut arena), staying);
    }

    #[test]
    fn an_entry_that_moves_keeps_its_place_among_the_groups() {
        let (mut arena, mut fifo, mut rng) = (Arena::default(), Fifo::new(Queue::Main), Rng::seeded(3));
        let mut handles: Vec<Handle> = (0..10_000).map(|number| entry_of(&mut arena, number)).collect();
        handles.iter().for_each(|&handle| fifo.push(&mut arena, handle));
        for _ in 0..100_000 {
            let at = rng.below(handles.len() as u64) as usize;
            let old = handles[at];
            let new = arena.allocate(20).expect("room");
            let (header, number) = (entry::header(arena.slot(old)), number_of(&arena, old));
            entry::adopt(arena.slot_mut(new), &header);
            let slot = arena.slot_mut(new);
            slot[0] |= 1;
            slot[16..20].copy_from_slice(&number.to_le_bytes());
            arena.free(old);
            fifo.follow(&arena, new);
            handles[at] = new;
        }
        fifo.validate(&arena);
        let numbers = drain(&mut fifo, &mut arena);
        assert_eq!(numbers.len(), handles.len());
        let off = |(at, &number): (usize, &u32)| (number as usize).abs_diff(at);
        let worst = numbers.iter().enumerate().map(off).max();
        assert!(worst < Some(handles.len() / 16), "an entry is {worst:?} places from where it was");
    }
}
