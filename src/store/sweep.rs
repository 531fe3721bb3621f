//! Work that a database does in bounded slices: expiry, eviction, emptying of sparse blocks, queue rebuilding.
//!
//! Nothing here runs longer than its bound, because it runs under the shard's lock.

use smallvec::SmallVec;

use super::arena::Handle;
use super::db::{Db, Found, footprint};
use super::entry;
use super::index::{Hashed, Place};
use super::policy::Policy;
use super::segment::Pace;
use super::told::Told;
use crate::base::rng::Rng;

/// Entries that one slice of the queue rebuilding visits at most.
const REBUILD_MAX: usize = 1024;
/// Entries that are taken out of the queues, because a changed policy does not evict them, before one eviction gives up.
const UNQUEUED_MAX: usize = 256;
/// Due entries removed under one hold of a shard's lock: about 10 µs. More of them at a time do not stay in the cache
/// between the steps of [`Db::remove_batch`].
pub(super) const EXPIRED_A_SLICE: usize = 64;
/// Steps of [`super::index::Index::prefetch_way`].
const WAY_STEPS: usize = 3;
/// As much of a due entry as its header, due time and most keys take.
const DOOMED_BYTES: usize = 64;

/// An entry that is to be removed.
struct Doomed {
    handle: Handle,
    hashed: Hashed,
    /// Where the index likely has it.
    place: Option<Place>,
}

impl Db {
    /// Removes entries that are due, at most `max`; says how many.
    pub fn expire(&mut self, now_ms: u64, max: usize) -> usize {
        let mut due = std::mem::take(&mut self.handles);
        due.clear();
        let arena = &self.arena;
        self.expiry.take_due(now_ms, max, &mut due, |handle| entry::due_ms(arena.slot(handle)).unwrap_or(0));
        self.changed |= !due.is_empty();
        let pace = if due.len() == max { Pace::Many } else { Pace::Single };
        due.chunks(EXPIRED_A_SLICE).for_each(|batch| self.remove_batch(batch, pace));
        let count = due.len();
        self.handles = due;
        count
    }

    /// Removes due entries, which the expiry index has given up, as the waits for memory go side by side: first for the
    /// entries, then for what leads to them in the index, then for their tags there, at last for their handles. (A slice
    /// in which each entry was removed while the next ones were fetched, a few stages apart, took a quarter longer.)
    fn remove_batch(&mut self, due: &[Handle], pace: Pace) {
        due.iter().for_each(|&handle| self.prefetch_slot(handle, DOOMED_BYTES));
        let mut doomed: SmallVec<[Doomed; EXPIRED_A_SLICE]> = SmallVec::new();
        for &handle in due {
            let hashed = self.hashed_of(handle);
            self.index.prefetch_way(hashed, 0);
            doomed.push(Doomed { handle, hashed, place: None });
        }
        for step in 1..WAY_STEPS {
            doomed.iter().for_each(|entry| self.index.prefetch_way(entry.hashed, step));
        }
        doomed.iter().for_each(|entry| self.index.prefetch_tags(entry.hashed));
        doomed.iter_mut().for_each(|entry| entry.place = self.index.expect(entry.hashed));
        for Doomed { handle, hashed, place } in doomed {
            if let Some(place) = self.index.place_of(hashed, handle, place) {
                self.count_expired(hashed);
                self.remove_unindexed(hashed, Found { handle, place }, pace);
            }
        }
    }

    /// Removes one entry as the policy says; gives the bytes of slot and object it had, or nothing if there is no entry
    /// that may go.
    pub fn evict(&mut self, rng: &mut Rng) -> Option<usize> {
        let handle = match self.policy {
            Policy::NoEviction => None,
            Policy::AllkeysRandom => self.random_handle(rng, |slot| self.index.next_occupied(slot)),
            Policy::VolatileRandom => self.expiry.sample(rng.next_u64()),
            Policy::VolatileTtl => {
                let arena = &self.arena;
                self.expiry.earliest(|handle| entry::due_ms(arena.slot(handle)).unwrap_or(0))
            }
            _ => self.queued_victim(),
        }?;
        let queue = entry::queue(self.arena.slot(handle));
        let bytes = self.footprint(handle);
        let (hashed, found) = self.found_at(handle)?;
        self.because(Told::Evicted);
        self.remove(hashed, found);
        if !matches!(self.policy, Policy::AllkeysRandom | Policy::VolatileRandom | Policy::VolatileTtl) {
            self.queues.remember(queue, hashed.hash);
        }
        self.removals.evicted += 1;
        Some(bytes)
    }

    /// The queues' next victim. What a changed policy does not evict any more is taken out of them on the way.
    fn queued_victim(&mut self) -> Option<Handle> {
        self.changed = true;
        for _ in 0..UNQUEUED_MAX {
            let objects = &self.objects;
            let handle =
                self.queues.victim(&mut self.arena, |arena, handle| footprint(arena, objects, handle))?;
            if self.is_evictable(entry::due_ms(self.arena.slot(handle))) {
                return Some(handle);
            }
            let bytes = self.footprint(handle);
            self.queues.remove(&mut self.arena, handle, bytes);
        }
        None
    }

    /// An entry at random, about evenly, of no hidden slot; it may be due.
    pub fn random(&self, rng: &mut Rng) -> Option<Found> {
        let handle = self.random_handle(rng, |slot| self.next_shown(slot))?;
        Some(self.found_at(handle)?.1)
    }

    /// The key of an entry.
    pub fn key(&self, found: Found) -> &[u8] {
        self.key_of(found.handle)
    }

    /// Picks the fullest of a few slots, in proportion to their entries, then an entry of it. `next` gives the first slot
    /// to choose from a number on.
    fn random_handle(&self, rng: &mut Rng, next: impl Fn(u32) -> Option<u32>) -> Option<Handle> {
        const SLOTS_TRIED: usize = 8;
        let slots = self.layout.slots_per_shard() as u64;
        let mut chosen = None;
        let mut seen = 0;
        for _ in 0..SLOTS_TRIED {
            let start = rng.below(slots) as u32;
            let slot = next(start).or_else(|| next(0))?;
            let entries = self.index.slot_len(slot) as u64;
            seen += entries;
            if rng.below(seen) < entries {
                chosen = Some(slot);
            }
        }
        self.index.sample(chosen?, rng.next_u64())
    }

    /// Changes the policy. The queues are brought in line by [`Db::rebuild_slice`].
    pub fn set_policy(&mut self, policy: Policy) {
        let membership_changes = policy.is_volatile() != self.policy.is_volatile();
        self.policy = policy;
        self.queues.set_fixed(policy.is_lfu());
        if membership_changes {
            self.rebuild = Some(0);
        }
    }

    /// Brings a bounded number of entries in line with a changed policy; true while there is more to do.
    pub fn rebuild_slice(&mut self) -> bool {
        let Some(mut block) = self.rebuild else { return false };
        let mut visited = 0;
        while visited < REBUILD_MAX {
            if block >= self.arena.block_count() {
                self.rebuild = None;
                return false;
            }
            let mut handles = std::mem::take(&mut self.handles);
            handles.clear();
            handles.extend(self.arena.used_slots(block, 0));
            for &handle in &handles {
                let bytes = self.footprint(handle);
                self.requeue(handle, bytes);
            }
            visited += handles.len().max(1);
            self.handles = handles;
            block += 1;
        }
        self.rebuild = Some(block);
        true
    }

    /// Moves a bounded number of entries (if `entries` says so) or of the index's segments (if it is sparse) out of a
    /// sparse block so that its memory can be given back or serve another size class; says whether there was anything
    /// worth doing. The two take turns: neither waits until the other has found an end.
    pub fn compact_slice(&mut self, entries: bool) -> bool {
        self.index_turn = !self.index_turn;
        let index = self.index.is_sparse();
        let worthwhile = (index && self.index_turn && self.index.compact_slice())
            || (entries && self.compact_entries())
            || (index && !self.index_turn && self.index.compact_slice());
        self.changed |= worthwhile;
        worthwhile
    }

    fn compact_entries(&mut self) -> bool {
        let mut moves = std::mem::take(&mut self.handles);
        let worthwhile = self.compaction.next(&mut self.arena, &mut moves);
        let moved_all = moves.iter().all(|&handle| self.relocate(handle));
        self.compaction.note(&mut self.arena, moved_all);
        self.handles = moves;
        worthwhile
    }

    /// Moves an entry to another slot; false if there is none.
    fn relocate(&mut self, old: Handle) -> bool {
        let Some((hashed, found)) = self.found_at(old) else { return false };
        let bytes = self.entry_length(old);
        let Ok(new) = self.arena.allocate(bytes) else { return false };
        self.changed = true;
        let (footprint_before, fields_ms) = (self.footprint(old), self.fields_due(old));
        let mut copied = std::mem::take(&mut self.scratch);
        copied.clear();
        copied.extend_from_slice(&self.arena.slot(old)[..bytes]);
        let slot = self.arena.slot_mut(new);
        slot[..bytes].copy_from_slice(&copied);
        entry::set_length(slot, bytes);
        self.scratch = copied;
        if let Some(due_ms) = entry::due_ms(self.arena.slot(new)) {
            self.expiry.remove(due_ms, old);
            let arena = &self.arena;
            self.expiry.insert(due_ms, new, |handle| entry::due_ms(arena.slot(handle)).unwrap_or(0));
        }
        self.reschedule_fields(old, fields_ms, new);
        self.index.replace(hashed, found.place, new);
        let footprint = self.footprint(new);
        self.queues.relocated(&self.arena, new, footprint_before, footprint);
        // A rebuilding of the queues may have passed the block that the entry is in now.
        self.requeue(new, footprint);
        self.arena.free(old);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::EXPIRED_A_SLICE;
    use crate::store::db::{Db, Due, NewString};
    use crate::store::key::Layout;
    use crate::store::policy::Policy;

    const NOW_MS: u64 = 1_800_000_000_000;

    /// Most keys of one slot, which has a directory, and of some others fall due together; the rest stays.
    #[test]
    fn very_many_due_keys_leave_the_others_in_order() {
        let layout = Layout::seeded(0, 3);
        let mut db = Db::new(layout.clone(), Policy::AllkeysLru);
        let name = |number: u32| {
            if number.is_multiple_of(4) { format!("{number}") } else { format!("{{a}}{number}") }
        };
        for number in 0..8000 {
            let key = name(number);
            let due = if number % 7 == 0 { Due::Never } else { Due::At(NOW_MS + u64::from(number % 5)) };
            let new = NewString { bytes: b"value", raw: false };
            db.set_string(&layout.key(key.as_bytes()), None, new, due, NOW_MS).expect("room");
        }
        let mut slices = 0;
        while db.expire(NOW_MS + 5, EXPIRED_A_SLICE) == EXPIRED_A_SLICE {
            slices += 1;
            if slices % 16 == 0 {
                db.validate();
            }
        }
        db.validate();
        let lasting = 8000_usize.div_ceil(7);
        assert_eq!((db.entries(), db.removals.expired), (lasting, 8000 - lasting as u64));
        for number in (0..8000).step_by(7) {
            assert!(db.find(&layout.key(name(number).as_bytes()), NOW_MS + 5).is_some());
        }
    }
}
