//! Which clients may have which key in their cache: one shard's part of the tracking table, oldest keys first out.
//!
//! Entries lie in chunks that never move, an index leads to them by the key's hash, and a list through them keeps the
//! order in which they were made. Whatever takes an entry out gives away who read it; clients are numbers here, and
//! numbers of clients that have gone are forgotten when a list of readers would have to grow, or with the entry.
//!
//! Cost: one cache line, and 5 to 11 bytes for the index, for a key of up to [`INLINE_MAX`] bytes with one reader; longer
//! keys lie outside, and each further reader takes four bytes. The index grows in 16 pieces, so that no call moves more
//! than a sixteenth of it.

use ahash::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

/// Entries of one chunk.
pub const CHUNK_ENTRIES: usize = 256;
/// Pieces of the index.
const PIECES: usize = 16;
/// No entry.
const NONE: u32 = u32::MAX;
/// Readers beside the first that a list begins with.
const READERS_MIN: usize = 3;

/// Longest key that lies in its entry.
pub const INLINE_MAX: usize = 30;

/// A key's name.
#[derive(Debug)]
pub enum Name {
    /// Its length, and the bytes in front.
    Inline(u8, [u8; INLINE_MAX]),
    /// A longer one.
    Heap(Box<[u8]>),
}

impl Name {
    fn new(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match bytes.get_mut(..key.len()) {
            Some(front) => {
                front.copy_from_slice(key);
                Self::Inline(key.len() as u8, bytes)
            }
            None => Self::Heap(key.into()),
        }
    }

    /// The name itself.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Self::Heap(bytes) => bytes,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Heap(bytes) => bytes.len(),
        }
    }
}

/// Entries, as they are handed over to be dropped elsewhere.
pub type Chunk = Box<[Entry]>;
/// Numbers of clients.
pub type Readers = SmallVec<[u32; 2]>;

/// Readers beside the first, ascending; behind one pointer, as few keys have any.
#[derive(Debug)]
struct Others(Vec<u32>);

/// A key and who has read it.
#[derive(Debug)]
pub struct Entry {
    key: Name,
    /// When it was made, as a number that only grows, over all parts.
    age: u64,
    more: Option<Box<Others>>,
    first: u32,
    /// The next older and the next younger entry.
    older: u32,
    younger: u32,
    slot: u16,
    used: bool,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    fn vacant() -> Self {
        Self {
            key: Name::new(&[]),
            age: 0,
            more: None,
            first: 0,
            older: NONE,
            younger: NONE,
            slot: 0,
            used: false,
        }
    }

    fn readers(&self) -> Readers {
        let more = self.more.iter().flat_map(|more| more.0.iter().copied());
        std::iter::once(self.first).chain(more).collect()
    }

    fn items(&self) -> usize {
        1 + self.more.as_ref().map_or(0, |more| more.0.len())
    }

    /// Bytes outside the entry.
    fn heap_bytes(&self) -> usize {
        let more =
            self.more.as_ref().map_or(0, |more| size_of::<Vec<u32>>() + more.0.capacity() * size_of::<u32>());
        self.key.heap_bytes() + more
    }
}

/// What a call added to or took from a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Keys.
    pub keys: isize,
    /// Readers of keys.
    pub items: isize,
}

/// An entry that was taken out.
#[derive(Debug)]
pub struct Taken {
    /// The key.
    pub key: Name,
    /// Who has read it.
    pub readers: Readers,
}

/// One shard's part of the table.
#[derive(Debug)]
pub struct Table {
    hasher: RandomState,
    index: [HashTable<u32>; PIECES],
    chunks: Vec<Chunk>,
    /// The first of the entries that are free, chained by `younger`.
    free: u32,
    oldest: u32,
    youngest: u32,
    keys: usize,
    items: usize,
    /// Bytes outside the entries.
    heap_bytes: usize,
    /// Where the sweep goes on.
    hand: u32,
}

impl Table {
    /// An empty table.
    pub fn new(hasher: RandomState) -> Self {
        Self {
            hasher,
            index: Default::default(),
            chunks: Vec::new(),
            free: NONE,
            oldest: NONE,
            youngest: NONE,
            keys: 0,
            items: 0,
            heap_bytes: 0,
            hand: 0,
        }
    }

    /// Keys in it.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Readers of keys in it.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Bytes that it takes, allocators' rounding aside.
    pub fn bytes(&self) -> usize {
        let index: usize = self.index.iter().map(HashTable::allocation_size).sum();
        self.chunks.len() * CHUNK_ENTRIES * size_of::<Entry>() + index + self.heap_bytes
    }

    /// The age of its oldest entry.
    pub fn oldest_age(&self) -> Option<u64> {
        (self.oldest != NONE).then(|| self.entry(self.oldest).age)
    }

    fn entry(&self, at: u32) -> &Entry {
        &self.chunks[at as usize / CHUNK_ENTRIES][at as usize % CHUNK_ENTRIES]
    }

    fn entry_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.chunks[at as usize / CHUNK_ENTRIES][at as usize % CHUNK_ENTRIES]
    }

    fn piece(hash: u64) -> usize {
        (hash >> 32) as usize % PIECES
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        self.index[Self::piece(hash)].find(hash, |&at| self.entry(at).key.bytes() == key).copied()
    }

    /// Notes that a client has read a key; `age` numbers a key that is new, `is_gone` tells clients that have left.
    pub fn track(
        &mut self,
        key: &[u8],
        slot: u16,
        reader: u32,
        age: impl FnOnce() -> u64,
        is_gone: impl Fn(u32) -> bool,
    ) -> Delta {
        let hash = self.hasher.hash_one(key);
        if let Some(at) = self.find(key, hash) {
            return self.add_reader(at, reader, is_gone);
        }
        let Some(at) = self.vacancy() else { return Delta::default() };
        let (older, age) = (self.youngest, age());
        let entry = self.entry_mut(at);
        let key = Name::new(key);
        let heap_bytes = key.heap_bytes();
        *entry = Entry { key, age, first: reader, older, slot, used: true, ..Entry::vacant() };
        self.heap_bytes += heap_bytes;
        match older {
            NONE => self.oldest = at,
            older => self.entry_mut(older).younger = at,
        }
        self.youngest = at;
        let Self { index, chunks, hasher, .. } = self;
        let hash_of = |&at: &u32| {
            hasher.hash_one(chunks[at as usize / CHUNK_ENTRIES][at as usize % CHUNK_ENTRIES].key.bytes())
        };
        index[Self::piece(hash)].insert_unique(hash, at, hash_of);
        self.keys += 1;
        self.items += 1;
        Delta { keys: 1, items: 1 }
    }

    fn add_reader(&mut self, at: u32, reader: u32, is_gone: impl Fn(u32) -> bool) -> Delta {
        let entry = self.entry_mut(at);
        if entry.first == reader {
            return Delta::default();
        }
        let before = (entry.items(), entry.heap_bytes());
        let fresh = || Box::new(Others(Vec::with_capacity(READERS_MIN)));
        let more = &mut entry.more.get_or_insert_with(fresh).0;
        let Err(place) = more.binary_search(&reader) else { return Delta::default() };
        if more.len() < more.capacity() {
            more.insert(place, reader);
        } else {
            more.retain(|&known| !is_gone(known));
            let place = more.partition_point(|&known| known < reader);
            more.insert(place, reader);
        }
        let items = entry.items() as isize - before.0 as isize;
        self.heap_bytes = self.heap_bytes + entry_bytes(&self.chunks, at) - before.1;
        self.items = self.items.saturating_add_signed(items);
        Delta { keys: 0, items }
    }

    /// A free entry; a new chunk of them if there is none. Nothing if the table holds as many as can be numbered.
    fn vacancy(&mut self) -> Option<u32> {
        if self.free == NONE {
            let start = self.chunks.len() * CHUNK_ENTRIES;
            let end = u32::try_from(start + CHUNK_ENTRIES).ok().filter(|&end| end < NONE)?;
            let mut chunk: Vec<Entry> = (0..CHUNK_ENTRIES).map(|_| Entry::vacant()).collect();
            for (entry, next) in chunk.iter_mut().zip(start as u32 + 1..end) {
                entry.younger = next;
            }
            self.chunks.push(chunk.into_boxed_slice());
            self.free = start as u32;
        }
        let at = self.free;
        self.free = self.entry(at).younger;
        Some(at)
    }

    /// Takes a key out, if it is there.
    pub fn take(&mut self, key: &[u8]) -> Option<Taken> {
        if self.keys == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let Self { index, chunks, .. } = self;
        let is_it =
            |&at: &u32| chunks[at as usize / CHUNK_ENTRIES][at as usize % CHUNK_ENTRIES].key.bytes() == key;
        let (at, _) = index[Self::piece(hash)].find_entry(hash, is_it).ok()?.remove();
        Some(self.unlink(at))
    }

    /// Takes the oldest key out.
    pub fn take_oldest(&mut self) -> Option<Taken> {
        (self.oldest != NONE).then(|| self.remove(self.oldest))
    }

    /// Takes out every key of the slots that `is_lost` names, the oldest first.
    pub fn take_slots(&mut self, is_lost: impl Fn(u16) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        let mut at = self.oldest;
        while at != NONE {
            let entry = self.entry(at);
            let (next, lost) = (entry.younger, is_lost(entry.slot));
            if lost {
                taken.push(self.remove(at));
            }
            at = next;
        }
        taken
    }

    /// Looks at the next `count` entries, as the hand goes round, and forgets readers that have gone, and keys whose
    /// readers all have; gives what that took away.
    pub fn sweep(&mut self, count: usize, is_gone: impl Fn(u32) -> bool) -> Delta {
        let before = (self.keys, self.items);
        let end = self.chunks.len() * CHUNK_ENTRIES;
        for _ in 0..count.min(end) {
            if self.hand as usize >= end {
                self.hand = 0;
            }
            let at = self.hand;
            self.hand += 1;
            if self.entry(at).used {
                self.forget_readers(at, &is_gone);
            }
        }
        Delta { keys: self.keys as isize - before.0 as isize, items: self.items as isize - before.1 as isize }
    }

    /// Where the sweep goes on, of how many entries.
    pub fn hand(&self) -> (usize, usize) {
        (self.hand as usize, self.chunks.len() * CHUNK_ENTRIES)
    }

    fn forget_readers(&mut self, at: u32, is_gone: &impl Fn(u32) -> bool) {
        let entry = self.entry_mut(at);
        let before = (entry.items(), entry.heap_bytes());
        if let Some(more) = &mut entry.more {
            more.0.retain(|&known| !is_gone(known));
        }
        if is_gone(entry.first) {
            match entry.more.as_mut().and_then(|more| more.0.pop()) {
                Some(other) => entry.first = other,
                None => {
                    // What `remove` takes off is what is left: the first reader.
                    entry.more = None;
                    self.heap_bytes = self.heap_bytes + entry_bytes(&self.chunks, at) - before.1;
                    self.items -= before.0 - 1;
                    self.remove(at);
                    return;
                }
            }
        }
        if entry.more.as_ref().is_some_and(|more| more.0.is_empty()) {
            entry.more = None;
        }
        let items = entry.items();
        self.heap_bytes = self.heap_bytes + entry_bytes(&self.chunks, at) - before.1;
        self.items -= before.0 - items;
    }

    /// Takes everything out at once; the entries are to be dropped elsewhere.
    pub fn take_all(&mut self) -> Vec<Chunk> {
        let chunks = std::mem::take(&mut self.chunks);
        *self = Self::new(self.hasher.clone());
        chunks
    }

    fn remove(&mut self, at: u32) -> Taken {
        let hash = self.hasher.hash_one(self.entry(at).key.bytes());
        if let Ok(found) = self.index[Self::piece(hash)].find_entry(hash, |&other| other == at) {
            found.remove();
        }
        self.unlink(at)
    }

    /// Frees an entry that is not in the index any more.
    fn unlink(&mut self, at: u32) -> Taken {
        self.heap_bytes -= entry_bytes(&self.chunks, at);
        let vacant = Entry { younger: self.free, ..Entry::vacant() };
        let entry = std::mem::replace(self.entry_mut(at), vacant);
        self.free = at;
        match entry.older {
            NONE => self.oldest = entry.younger,
            older => self.entry_mut(older).younger = entry.younger,
        }
        match entry.younger {
            NONE => self.youngest = entry.older,
            younger => self.entry_mut(younger).older = entry.older,
        }
        self.keys -= 1;
        self.items -= entry.items();
        let readers = entry.readers();
        Taken { key: entry.key, readers }
    }

    /// Recounts; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        let (mut at, mut older, mut age) = (self.oldest, NONE, 0);
        let (mut keys, mut items, mut heap_bytes) = (0, 0, 0);
        while at != NONE {
            let entry = self.entry(at);
            assert!(entry.used && entry.older == older && (keys == 0 || entry.age > age));
            let key = entry.key.bytes();
            assert_eq!(self.find(key, self.hasher.hash_one(key)), Some(at));
            assert!(
                entry.more.as_ref().is_none_or(|more| more.0.is_sorted() && !more.0.contains(&entry.first))
            );
            (keys, items, heap_bytes) = (keys + 1, items + entry.items(), heap_bytes + entry.heap_bytes());
            (age, older, at) = (entry.age, at, entry.younger);
        }
        assert_eq!(self.youngest, older);
        assert_eq!((self.keys, self.items, self.heap_bytes), (keys, items, heap_bytes));
        assert_eq!(self.index.iter().map(HashTable::len).sum::<usize>(), keys);
        let used = self.chunks.iter().flatten().filter(|entry| entry.used).count();
        assert_eq!(used, keys);
    }
}

fn entry_bytes(chunks: &[Chunk], at: u32) -> usize {
    chunks[at as usize / CHUNK_ENTRIES][at as usize % CHUNK_ENTRIES].heap_bytes()
}
