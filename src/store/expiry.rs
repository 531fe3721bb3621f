//! Handles in the order of their due time, in less than four bytes each while a shard is small.
//!
//! A sorted directory of small unsorted chunks: a chunk holds the handles of all entries with (due time, handle) from
//! its bound up to the next chunk's. The due times themselves stand in the entries, so whoever splits or drains a chunk
//! hands in a function from handle to due time. Entries that fall due in the order of their insertion (one TTL for all,
//! the usual case) always go to the last chunk and fill every chunk to the brim.

use std::collections::BTreeMap;

use super::arena::Handle;
use super::chunk::Chunk;

/// Two neighbours that hold this many together become one.
const MERGE_MAX: usize = 160;
/// What a directory entry costs, B-tree slack included.
const CHUNK_OVERHEAD_BYTES: usize = 72;

const _: () = assert!(size_of::<(Bound, Chunk)>() == 48);

type Bound = (u64, Handle);

/// The due-time index of one database in one shard.
#[derive(Debug)]
pub struct Expiry {
    /// Chunks by their least (due time, handle); the one at (0, 0) is always there.
    chunks: BTreeMap<Bound, Chunk>,
    /// Bound of the last chunk, so that appending needs no search for it.
    last: Bound,
    len: usize,
    /// Bytes of the chunks.
    chunk_bytes: usize,
}

const FIRST: Bound = (0, Handle::from_bits(0));

impl Default for Expiry {
    fn default() -> Self {
        Self { chunks: BTreeMap::from([(FIRST, Chunk::default())]), last: FIRST, len: 0, chunk_bytes: 0 }
    }
}

impl Expiry {
    /// Entries that have a due time.
    pub fn entries(&self) -> usize {
        self.len
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.chunk_bytes + (self.chunks.len() - 1) * CHUNK_OVERHEAD_BYTES
    }

    /// Adds an entry, which must not be there yet.
    pub fn insert(&mut self, due_ms: u64, handle: Handle, due_of: impl Fn(Handle) -> u64) {
        self.len += 1;
        let key = (due_ms, handle);
        let bound = if key >= self.last { self.last } else { self.bound_of(key) };
        let Some(chunk) = self.chunks.get_mut(&bound) else { return };
        if chunk.len() < Chunk::MAX {
            let before = chunk.heap_bytes();
            chunk.push(handle);
            self.chunk_bytes = self.chunk_bytes + chunk.heap_bytes() - before;
            return;
        }
        if bound == self.last && chunk.iter().all(|other| (due_of(other), other) < key) {
            self.add_chunk(key, &[handle]);
            return;
        }
        let mut sorted: Vec<Bound> = chunk.iter().map(|other| (due_of(other), other)).collect();
        sorted.push(key);
        sorted.sort_unstable();
        let upper = sorted[sorted.len() / 2];
        let handles: Vec<Handle> = sorted.iter().map(|&(_, handle)| handle).collect();
        let (low, high) = handles.split_at(handles.len() / 2);
        self.chunk_bytes -= chunk.heap_bytes();
        *chunk = Chunk::of(low);
        self.chunk_bytes += chunk.heap_bytes();
        self.add_chunk(upper, high);
    }

    /// Removes an entry by the due time under which it was added.
    pub fn remove(&mut self, due_ms: u64, handle: Handle) {
        let bound = self.bound_of((due_ms, handle));
        let Some(chunk) = self.chunks.get_mut(&bound) else { return };
        if !chunk.remove(handle) {
            debug_assert!(false, "an entry is not where its due time says");
            return;
        }
        self.len -= 1;
        // The chunk that is being filled keeps its room.
        if chunk.is_empty() || (chunk.is_loose() && bound != self.last) {
            self.shrink(bound);
        }
    }

    /// Moves entries that are due at `now_ms` into `due`, the earliest chunks first, until it holds `max`.
    pub fn take_due(
        &mut self,
        now_ms: u64,
        max: usize,
        due: &mut Vec<Handle>,
        due_of: impl Fn(Handle) -> u64,
    ) {
        while due.len() < max {
            let mut bounds = self.chunks.iter().filter(|(_, chunk)| !chunk.is_empty());
            let Some((&bound, _)) = bounds.next() else { return };
            if bound.0 > now_ms {
                return;
            }
            let whole = bounds.next().is_some_and(|(&(next_ms, _), _)| next_ms <= now_ms);
            let Some(chunk) = self.chunks.get_mut(&bound) else { return };
            let room = max - due.len();
            let before = due.len();
            if whole && chunk.len() > room {
                // The rest is due, too, and goes with the next call: what its room is does not matter until then.
                chunk.take_last(room, due);
                self.len -= room;
                return;
            }
            if whole {
                due.extend(chunk.iter());
                self.chunk_bytes -= chunk.heap_bytes();
                chunk.clear();
            } else {
                let mut left = room;
                chunk.retain(|handle| {
                    let take = left > 0 && due_of(handle) <= now_ms;
                    if take {
                        due.push(handle);
                        left -= 1;
                    }
                    !take
                });
            }
            self.len -= due.len() - before;
            if due.len() == before {
                return;
            }
            self.shrink(bound);
        }
    }

    /// The entries of the first chunk that holds one, if it may be due at `now_ms`.
    pub fn first_chunk(&self, now_ms: u64) -> Option<impl Iterator<Item = Handle>> {
        let (&(first_ms, _), chunk) = self.chunks.iter().find(|(_, chunk)| !chunk.is_empty())?;
        (first_ms <= now_ms).then(|| chunk.iter())
    }

    /// An entry of the chunk that falls due first, the earliest of it; none if there is no entry.
    pub fn earliest(&self, due_of: impl Fn(Handle) -> u64) -> Option<Handle> {
        let (_, chunk) = self.chunks.iter().find(|(_, chunk)| !chunk.is_empty())?;
        chunk.iter().min_by_key(|&handle| (due_of(handle), handle))
    }

    /// An entry chosen by `random`, about evenly over due times.
    pub fn sample(&self, random: u64) -> Option<Handle> {
        let (&(first_ms, _), _) = self.chunks.iter().find(|(_, chunk)| !chunk.is_empty())?;
        let span_ms = self.last.0.saturating_sub(first_ms).max(1);
        let from = (first_ms + random % span_ms, Handle::from_bits((random >> 32) as u32));
        let mut around = self.chunks.range(..=from).rev().chain(self.chunks.range(from..));
        let (_, chunk) = around.find(|(_, chunk)| !chunk.is_empty())?;
        Some(chunk.get((random >> 40) as usize % chunk.len()))
    }

    fn bound_of(&self, key: Bound) -> Bound {
        self.chunks.range(..=key).next_back().map_or(FIRST, |(&bound, _)| bound)
    }

    fn add_chunk(&mut self, bound: Bound, handles: &[Handle]) {
        let chunk = Chunk::of(handles);
        self.chunk_bytes += chunk.heap_bytes();
        self.chunks.insert(bound, chunk);
        self.last = self.last.max(bound);
    }

    /// Gives back what a sparse chunk does not need: merges it into the one before if both are small.
    fn shrink(&mut self, bound: Bound) {
        if bound == FIRST {
            if let Some(chunk) = self.chunks.get_mut(&FIRST) {
                self.chunk_bytes -= chunk.heap_bytes();
                chunk.tighten();
                self.chunk_bytes += chunk.heap_bytes();
            }
            return;
        }
        let Some(mut chunk) = self.chunks.remove(&bound) else { return };
        self.chunk_bytes -= chunk.heap_bytes();
        let before = self.bound_of(bound);
        match self.chunks.get_mut(&before) {
            // An empty chunk leaves only its range, and that to any neighbour.
            Some(earlier) if chunk.is_empty() || earlier.len() + chunk.len() <= MERGE_MAX => {
                self.chunk_bytes -= earlier.heap_bytes();
                chunk.iter().for_each(|handle| earlier.push(handle));
                self.chunk_bytes += earlier.heap_bytes();
                if self.last == bound {
                    self.last = before;
                }
            }
            _ => {
                chunk.tighten();
                self.chunk_bytes += chunk.heap_bytes();
                self.chunks.insert(bound, chunk);
            }
        }
    }

    /// Checks order and counts; for tests.
    #[cfg(test)]
    pub fn validate(&self, due_of: impl Fn(Handle) -> u64) {
        let bounds: Vec<Bound> = self.chunks.keys().copied().collect();
        assert_eq!(bounds.last(), Some(&self.last));
        let mut len = 0;
        for (at, (bound, chunk)) in self.chunks.iter().enumerate() {
            len += chunk.len();
            assert!(!chunk.is_empty() || *bound == FIRST, "an empty chunk stays");
            for handle in chunk.iter() {
                let key = (due_of(handle), handle);
                assert!(key >= *bound && bounds.get(at + 1).is_none_or(|next| key < *next), "{key:?}");
            }
        }
        assert_eq!(len, self.len);
        assert_eq!(self.chunks.values().map(Chunk::heap_bytes).sum::<usize>(), self.chunk_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Expiry;
    use crate::base::rng::Rng;
    use crate::store::arena::Handle;

    #[test]
    fn random_use_against_a_sorted_map() {
        let mut rng = Rng::seeded(11);
        let mut expiry = Expiry::default();
        let mut due_ms = vec![0u64; 5000];
        let mut model = std::collections::BTreeSet::new();
        for step in 0..60_000u64 {
            let number = rng.below(5000);
            let handle = Handle::from_bits(number as u32);
            if model.remove(&(due_ms[number as usize], number)) {
                expiry.remove(due_ms[number as usize], handle);
            } else {
                due_ms[number as usize] = step / 4 + rng.below(if step % 3 == 0 { 1 } else { 4000 });
                model.insert((due_ms[number as usize], number));
                expiry.insert(due_ms[number as usize], handle, |handle| due_ms[handle.bits() as usize]);
            }
            if step % 500 == 0 {
                let now_ms = step / 4;
                let mut due = Vec::new();
                expiry.take_due(now_ms, 200, &mut due, |handle| due_ms[handle.bits() as usize]);
                for handle in &due {
                    assert!(due_ms[handle.bits() as usize] <= now_ms);
                    assert!(model.remove(&(due_ms[handle.bits() as usize], u64::from(handle.bits()))));
                }
                assert!(due.len() == 200 || model.first().is_none_or(|&(first_ms, _)| first_ms > now_ms));
                expiry.validate(|handle| due_ms[handle.bits() as usize]);
            }
        }
        assert_eq!(expiry.entries(), model.len());
    }

    #[test]
    fn one_ttl_for_all_fills_the_chunks() {
        let mut expiry = Expiry::default();
        for number in 0..100_000u32 {
            expiry.insert(u64::from(number / 50), Handle::from_bits(number), |handle| {
                u64::from(handle.bits() / 50)
            });
        }
        assert!(expiry.bytes() < 100_000 * 7 / 2, "{}", expiry.bytes());
    }
}
