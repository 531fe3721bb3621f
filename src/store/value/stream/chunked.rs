//! A map by identifiers that are mostly added at the end and removed at the start: sorted arrays of bounded length, in
//! order. Filled from one end it wastes nothing, unlike a tree, and its bytes are known exactly.
//!
//! Invariants: no array is empty or longer than `CHUNK_MAX`; identifiers ascend throughout. A change moves the elements
//! of one array or two, and now and then the handles of the arrays on the nearer side.

use crate::store::object::size_class;
use crate::store::value::stream::id::StreamId;
use std::collections::VecDeque;
use std::fmt;

/// Longest array.
const CHUNK_MAX: usize = 128;
/// An array that is no longer than this joins a neighbour if both fit half an array.
const CHUNK_SPARSE: usize = CHUNK_MAX / 4;

/// Where an element stands; good until the map is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    chunk: usize,
    at: usize,
}

/// The map; see the module.
pub struct Chunked<V> {
    chunks: VecDeque<Vec<(StreamId, V)>>,
    len: usize,
    /// Bytes that the allocator holds for the arrays.
    chunks_bytes: usize,
}

impl<V: fmt::Debug> fmt::Debug for Chunked<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<V> Default for Chunked<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone> Clone for Chunked<V> {
    fn clone(&self) -> Self {
        let chunks = self.chunks.clone();
        let chunks_bytes = chunks.iter().map(chunk_bytes).sum();
        Self { chunks, len: self.len, chunks_bytes }
    }
}

fn chunk_bytes<T>(chunk: &Vec<T>) -> usize {
    size_class(chunk.capacity() * size_of::<T>())
}

impl<V> Chunked<V> {
    /// An empty map; allocates nothing.
    pub const fn new() -> Self {
        Self { chunks: VecDeque::new(), len: 0, chunks_bytes: 0 }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the allocator holds for it, without what the values own. O(1).
    pub fn heap_bytes(&self) -> usize {
        self.chunks_bytes + size_class(self.chunks.capacity() * size_of::<Vec<(StreamId, V)>>())
    }

    /// The place of this identifier, or else where it would be put, which may be behind the end of an array.
    fn find(&self, id: StreamId) -> Result<Place, Place> {
        let starts_before = |chunk: &Vec<(StreamId, V)>| chunk.first().is_some_and(|(first, _)| *first <= id);
        let behind = match self.chunks.back() {
            // The usual case: at the end.
            Some(last) if starts_before(last) => self.chunks.len(),
            _ => self.chunks.partition_point(starts_before),
        };
        let chunk = behind.saturating_sub(1);
        let found = self
            .chunks
            .get(chunk)
            .map_or(Err(0), |elements| elements.binary_search_by(|(known, _)| known.cmp(&id)));
        found.map(|at| Place { chunk, at }).map_err(|at| Place { chunk, at })
    }

    /// The value of this identifier.
    pub fn get(&self, id: StreamId) -> Option<&V> {
        self.find(id).ok().and_then(|place| self.at(place)).map(|(_, value)| value)
    }

    /// The value of this identifier, to be changed.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        let place = self.find(id).ok()?;
        self.at_mut(place).map(|(_, value)| value)
    }

    /// The element at a place.
    pub fn at(&self, place: Place) -> Option<(StreamId, &V)> {
        self.chunks.get(place.chunk)?.get(place.at).map(|(id, value)| (*id, value))
    }

    /// The element at a place, to be changed.
    pub fn at_mut(&mut self, place: Place) -> Option<(StreamId, &mut V)> {
        self.chunks.get_mut(place.chunk)?.get_mut(place.at).map(|(id, value)| (*id, value))
    }

    /// The place of the first element.
    pub fn first(&self) -> Option<Place> {
        (!self.is_empty()).then_some(Place { chunk: 0, at: 0 })
    }

    /// The place of the last element.
    pub fn last(&self) -> Option<Place> {
        let chunk = self.chunks.len().checked_sub(1)?;
        let at = self.chunks.get(chunk)?.len().checked_sub(1)?;
        Some(Place { chunk, at })
    }

    /// The place behind this one.
    pub fn next(&self, place: Place) -> Option<Place> {
        let at = place.at + 1;
        if at < self.chunks.get(place.chunk)?.len() {
            return Some(Place { at, ..place });
        }
        (place.chunk + 1 < self.chunks.len()).then_some(Place { chunk: place.chunk + 1, at: 0 })
    }

    /// The place before this one.
    pub fn previous(&self, place: Place) -> Option<Place> {
        if let Some(at) = place.at.checked_sub(1) {
            return Some(Place { at, ..place });
        }
        let chunk = place.chunk.checked_sub(1)?;
        let at = self.chunks.get(chunk)?.len().checked_sub(1)?;
        Some(Place { chunk, at })
    }

    /// The place of the greatest identifier up to `id`.
    pub fn floor(&self, id: StreamId) -> Option<Place> {
        match self.find(id) {
            Ok(place) => Some(place),
            Err(place) => self.previous(place),
        }
    }

    /// The place of the smallest identifier from `id` on.
    pub fn ceiling(&self, id: StreamId) -> Option<Place> {
        match self.find(id) {
            Ok(place) => Some(place),
            Err(place) if self.at(place).is_some() => Some(place),
            Err(place) => self.next(place),
        }
    }

    /// The elements from `start` on, ascending.
    pub fn iter_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &V)> {
        let mut next = self.ceiling(start);
        std::iter::from_fn(move || {
            let place = next?;
            next = self.next(place);
            self.at(place)
        })
    }

    /// All elements, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &V)> {
        self.chunks.iter().flatten().map(|(id, value)| (*id, value))
    }

    /// Puts a value under an identifier; gives the one that was there.
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let Place { chunk, at } = match self.find(id) {
            Ok(place) => {
                return self.at_mut(place).map(|(_, present)| std::mem::replace(present, value));
            }
            Err(place) => place,
        };
        self.len += 1;
        let (chunk, at) = self.make_room(chunk, at);
        if let Some(elements) = self.chunks.get_mut(chunk) {
            elements.insert(at, (id, value));
        }
        None
    }

    /// Makes room for one more element at a place; says where that is then.
    fn make_room(&mut self, chunk: usize, at: usize) -> (usize, usize) {
        let at_the_end = chunk + 1 >= self.chunks.len();
        let Some(elements) = self.chunks.get_mut(chunk) else {
            return self.add_chunk(chunk, Vec::with_capacity(1));
        };
        let len = elements.len();
        if len < CHUNK_MAX {
            let before_bytes = chunk_bytes(elements);
            if len == elements.capacity() {
                elements.reserve_exact(len.min(CHUNK_MAX - len));
            }
            self.chunks_bytes = self.chunks_bytes - before_bytes + chunk_bytes(elements);
            return (chunk, at);
        }
        if at == len && at_the_end {
            return self.add_chunk(chunk + 1, Vec::with_capacity(1));
        }
        let half = CHUNK_MAX / 2;
        let mut behind = Vec::with_capacity(CHUNK_MAX);
        behind.extend(elements.drain(half..));
        self.add_chunk(chunk + 1, behind);
        if at <= half { (chunk, at) } else { (chunk + 1, at - half) }
    }

    fn add_chunk(&mut self, chunk: usize, elements: Vec<(StreamId, V)>) -> (usize, usize) {
        self.chunks_bytes += chunk_bytes(&elements);
        if self.chunks.len() == self.chunks.capacity() {
            self.chunks.reserve_exact(self.chunks.len().max(1));
        }
        self.chunks.insert(chunk, elements);
        (chunk, 0)
    }

    /// Removes an identifier; gives its value.
    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        let place = self.find(id).ok()?;
        self.remove_at(place).map(|(_, value)| value)
    }

    /// Removes the first element.
    pub fn pop_first(&mut self) -> Option<(StreamId, V)> {
        self.remove_at(self.first()?)
    }

    fn remove_at(&mut self, place: Place) -> Option<(StreamId, V)> {
        let elements = self.chunks.get_mut(place.chunk)?;
        if place.at >= elements.len() {
            return None;
        }
        let removed = elements.remove(place.at);
        self.len -= 1;
        if elements.len() <= CHUNK_SPARSE {
            self.tidy(place.chunk);
        }
        Some(removed)
    }

    /// Drops an array that is empty, joins a sparse one with the one behind or before it, or gives back what it has to
    /// spare.
    fn tidy(&mut self, chunk: usize) {
        let len_of = |chunk: Option<usize>| {
            chunk.and_then(|chunk| self.chunks.get(chunk)).map_or(usize::MAX, Vec::len)
        };
        let len = len_of(Some(chunk));
        let fits = |other: usize| other.saturating_add(len) <= CHUNK_MAX / 2;
        if len == 0 {
            self.drop_chunk(chunk);
            if self.chunks.is_empty() {
                self.chunks = VecDeque::new();
            }
        } else if fits(len_of(Some(chunk + 1))) {
            self.join(chunk);
        } else if let Some(before) = chunk.checked_sub(1)
            && fits(len_of(Some(before)))
        {
            self.join(before);
        } else if let Some(elements) = self.chunks.get_mut(chunk)
            && elements.capacity() >= len * 4
        {
            self.chunks_bytes -= chunk_bytes(elements);
            elements.shrink_to(len * 2);
            self.chunks_bytes += chunk_bytes(elements);
        }
    }

    /// Moves the elements of the array behind this one into it.
    fn join(&mut self, chunk: usize) {
        let Some(mut behind) = self.drop_chunk(chunk + 1) else { return };
        if let Some(elements) = self.chunks.get_mut(chunk) {
            self.chunks_bytes -= chunk_bytes(elements);
            elements.reserve_exact(behind.len());
            elements.append(&mut behind);
            self.chunks_bytes += chunk_bytes(elements);
        }
    }

    fn drop_chunk(&mut self, chunk: usize) -> Option<Vec<(StreamId, V)>> {
        let elements = self.chunks.remove(chunk)?;
        self.chunks_bytes -= chunk_bytes(&elements);
        Some(elements)
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        assert!(self.chunks.iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len())));
        assert_eq!(self.chunks.iter().map(Vec::len).sum::<usize>(), self.len);
        assert_eq!(self.chunks.iter().map(chunk_bytes).sum::<usize>(), self.chunks_bytes);
        assert!(self.chunks.iter().flatten().is_sorted_by(|a, b| a.0 < b.0));
    }
}

#[cfg(test)]
mod tests {
    use super::Chunked;
    use crate::base::rng::Rng;
    use crate::store::value::stream::id::StreamId;
    use std::collections::BTreeMap;

    /// Adds at the end or anywhere, removes at the start or anywhere; `range` is how many identifiers there are.
    fn run(seed: u64, range: u64, steps: usize) {
        let mut rng = Rng::seeded(seed);
        let (mut map, mut model) = (Chunked::new(), BTreeMap::new());
        let mut last = 0;
        for step in 0..steps {
            let id = StreamId::new(rng.below(range), 0);
            // Grows for a while, then shrinks.
            let grows = (step / 1000) % 2 == 0;
            match rng.below(if grows { 4 } else { 8 }) {
                0 => {
                    last += 1;
                    let id = StreamId::new(range + last, 0);
                    assert_eq!(map.insert(id, step), model.insert(id, step));
                }
                1 | 2 => assert_eq!(map.insert(id, step), model.insert(id, step)),
                3 => assert_eq!(map.remove(id), model.remove(&id)),
                4 | 5 => assert_eq!(map.pop_first(), model.pop_first()),
                _ => {
                    let some = model.range(id..).next().map(|(id, _)| *id);
                    assert_eq!(some.and_then(|some| map.remove(some)), some.and_then(|id| model.remove(&id)));
                }
            }
            let at = |place: Option<_>| place.and_then(|place| map.at(place)).map(|(id, value)| (id, *value));
            let in_model = |found: Option<(&StreamId, &usize)>| found.map(|(id, value)| (*id, *value));
            assert_eq!(map.get(id), model.get(&id));
            assert_eq!(at(map.floor(id)), in_model(model.range(..=id).next_back()));
            assert_eq!(at(map.ceiling(id)), in_model(model.range(id..).next()));
            assert_eq!(at(map.last()), in_model(model.last_key_value()));
            if step % 64 == 0 {
                map.validate();
                map.clone().validate();
                let all: Vec<_> = map.iter_from(id).map(|(id, value)| (id, *value)).collect();
                let expected: Vec<_> = model.range(id..).map(|(id, value)| (*id, *value)).collect();
                assert_eq!(all, expected, "seed {seed} step {step}");
                let backward = std::iter::successors(map.last(), |place| map.previous(*place)).count();
                assert_eq!((backward, map.iter().count()), (model.len(), map.len()));
            }
        }
        while map.pop_first().is_some() {}
        assert_eq!((map.heap_bytes(), map.is_empty()), (0, true));
    }

    #[test]
    fn it_agrees_with_a_tree() {
        for (seed, range) in [(1, 40), (2, 3000), (3, 1 << 40)] {
            run(seed, range, 8000);
        }
    }

    #[test]
    fn filled_from_one_end_it_wastes_nothing() {
        let mut map = Chunked::new();
        for ms in 0..100_000 {
            map.insert(StreamId::new(ms, 0), ());
        }
        assert!(map.heap_bytes() < 100_000 * 17, "{}", map.heap_bytes());
        for ms in 0..99_000 {
            map.remove(StreamId::new(ms, 0));
        }
        map.validate();
        assert!(map.heap_bytes() < 1000 * 17 + 2 * 32 * 800, "{}", map.heap_bytes());
    }
}
