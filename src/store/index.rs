//! Slot → segments → handles: the hash index of one database in one shard.
//!
//! Every slot has a table of its own, so counting and listing a slot's keys costs what it returns, and a slot can be
//! moved or dropped as a whole. A table is a *segment*: a packed, unordered array of (16-bit tag, handle), searched by
//! comparing tags. When it is full it is split by the next bit of the hash, under a directory (extendible hashing,
//! Fagin 1979), so the most that one insertion does is to move `SEGMENT_MAX` entries and, once in a doubling, to copy
//! a directory of four bytes a segment.
//!
//! Segments live in an arena of their own, whose size classes let them grow in steps of a sixteenth: about 6.5 bytes an
//! entry at any number of entries, with no doubling. (Measured: in jemalloc's classes, which lie 20 % apart, the same
//! segments took 8.5 bytes an entry, a fifth of it in classes that all slots had outgrown.)
//!
//! A scan walks (slot, hash prefix, tag) in ascending order, an order that depends on the key alone: what was there for
//! the whole of the scan is returned, whatever splits or merges in between ([`Position`]).
//!
//! The index stores no keys and no hashes: whoever splits or merges it hands in a function from handle to hash.

use super::arena::{Arena, Full, Handle};
use super::compaction::Compaction;
use super::prefetch;
use super::segment::{Owner, Pace, Segment, spare};

/// Entries a segment holds before it is split; as much as is cheap to search and to split.
const SEGMENT_MAX: usize = 128;
/// Two sibling segments that hold this many together are merged.
const MERGE_MAX: usize = 64;
/// Free bytes, as a share of all and in any case, from which segments are moved together.
const SPARSE_SHARE: usize = 24;
const SPARSE_MIN_BYTES: usize = 16 * 1024;
/// Deepest directory; a segment at this depth grows on, as far as a slot of the arena goes.
const DEPTH_MAX: u8 = 26;

/// What stands in the place of a length in a [`Table`] that is a directory.
const DIRECTORY: u16 = u16::MAX;

/// A key's place in the index, computed once a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Number of the slot within its shard.
    pub slot: u32,
    /// The key's 64-bit hash: high bits choose the segment, the low 16 are the tag.
    pub hash: u64,
}

impl Hashed {
    fn tag(self) -> u16 {
        self.hash as u16
    }
}

/// Where an entry stands; good until the index is next changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    branch: u32,
    at: u32,
}

/// Where a scan of a slot goes on: at `tag` of the segment that covers `prefix`, of which `depth` bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Position {
    /// Hash prefix, right-aligned in `depth` bits.
    pub prefix: u32,
    /// Number of prefix bits, at most [`Position::DEPTH_MAX`].
    pub depth: u8,
    /// First tag that was not returned yet.
    pub tag: u16,
}

impl Position {
    /// The deepest directory there is.
    pub const DEPTH_MAX: u8 = DEPTH_MAX;
}

#[derive(Clone, Copy, Debug)]
struct Branch {
    segment: Segment,
    depth: u8,
}

/// A slot with more entries than one segment holds.
#[derive(Debug, Default)]
struct Directory {
    /// `2^depth` numbers of branches, indexed by the hash's top bits.
    map: Vec<u32>,
    depth: u8,
    branches: Vec<Branch>,
    vacant: Vec<u32>,
    entries: usize,
}

impl Directory {
    fn at(&self, hash: u64) -> usize {
        if self.depth == 0 { 0 } else { (hash >> (64 - self.depth)) as usize }
    }

    fn branch(&self, hash: u64) -> u32 {
        self.map[self.at(hash)]
    }

    fn bytes(&self) -> usize {
        self.map.capacity() * size_of::<u32>() + self.branches.capacity() * size_of::<Branch>()
    }

    fn insert(
        &mut self,
        arena: &mut Arena,
        key: Hashed,
        handle: Handle,
        hash_of: &mut impl FnMut(Handle) -> u64,
    ) -> Result<(), Full> {
        loop {
            let number = self.branch(key.hash);
            let branch = &mut self.branches[number as usize];
            if branch.segment.len() < SEGMENT_MAX || branch.depth == DEPTH_MAX {
                branch.segment.push(arena, Owner { slot: key.slot, branch: number }, key.tag(), handle)?;
                self.entries += 1;
                return Ok(());
            }
            self.split(arena, key, hash_of)?;
        }
    }

    /// Splits the branch that covers the key once.
    fn split(
        &mut self,
        arena: &mut Arena,
        key: Hashed,
        hash_of: &mut impl FnMut(Handle) -> u64,
    ) -> Result<(), Full> {
        let number = self.branch(key.hash);
        let Branch { segment: old, depth } = self.branches[number as usize];
        let upper = |hash: u64| hash >> (63 - depth) & 1 == 1;
        let sides: Vec<bool> = old.entries(arena).map(|(_, handle)| upper(hash_of(handle))).collect();
        let highs = sides.iter().filter(|&&high| high).count();
        let sibling = self.vacant.last().copied().unwrap_or(self.branches.len() as u32);
        let (low_owner, high_owner) =
            (Owner { slot: key.slot, branch: number }, Owner { slot: key.slot, branch: sibling });
        let mut low = Segment::with_room(arena, low_owner, sides.len() - highs + spare(SEGMENT_MAX / 2))?;
        let high = Segment::with_room(arena, high_owner, highs + spare(SEGMENT_MAX / 2));
        let mut high = high.inspect_err(|_| arena.free(low.cells))?;
        for (at, &is_high) in sides.iter().enumerate() {
            let (tag, handle) = old.entry(arena, at);
            let (side, owner) = if is_high { (&mut high, high_owner) } else { (&mut low, low_owner) };
            side.push(arena, owner, tag, handle)?;
        }
        arena.free(old.cells);
        if depth == self.depth {
            self.map = self.map.iter().flat_map(|&number| [number, number]).collect();
            self.depth += 1;
        }
        self.branches[number as usize] = Branch { segment: low, depth: depth + 1 };
        self.vacant.pop();
        let branch = Branch { segment: high, depth: depth + 1 };
        match self.branches.get_mut(sibling as usize) {
            Some(vacant) => *vacant = branch,
            None => self.branches.push(branch),
        }
        // The branch's directory range: its upper half now leads to the sibling.
        let span = 1usize << (self.depth - depth);
        let start = self.at(key.hash) & !(span - 1);
        self.map[start + span / 2..start + span].fill(sibling);
        Ok(())
    }

    /// Merges the branch that covers the key with its sibling if both are small.
    fn merge(&mut self, arena: &mut Arena, key: Hashed) {
        let at = self.at(key.hash);
        let number = self.map[at];
        let Branch { segment, depth } = self.branches[number as usize];
        if depth == 0 {
            return;
        }
        let span = 1usize << (self.depth - depth);
        let sibling = self.map[(at & !(span - 1)) ^ span];
        let other = self.branches[sibling as usize];
        let together = segment.len() + other.segment.len();
        if other.depth != depth || together > MERGE_MAX {
            return;
        }
        let owner = Owner { slot: key.slot, branch: number };
        let mut merged = segment;
        if together > 0 && merged.resize(arena, owner, together + spare(together)).is_err() {
            return;
        }
        for at in 0..other.segment.len() {
            let (tag, handle) = other.segment.entry(arena, at);
            // There is room: it was made for both.
            let _ = merged.push(arena, owner, tag, handle);
        }
        if other.segment.cells != Handle::NONE {
            arena.free(other.segment.cells);
        }
        self.branches[number as usize] = Branch { segment: merged, depth: depth - 1 };
        self.branches[sibling as usize].segment = Segment::EMPTY;
        let start = at & !(2 * span - 1);
        self.map[start..start + 2 * span].fill(number);
        self.vacant.push(sibling);
    }
}

/// One slot's entries: a segment, or the number of a directory.
#[derive(Clone, Copy, Debug)]
struct Table {
    segment: Segment,
}

impl Table {
    const EMPTY: Self = Self { segment: Segment::EMPTY };

    fn directory(self) -> Option<usize> {
        (self.segment.len == DIRECTORY).then_some(self.segment.cells.bits() as usize)
    }

    fn of_directory(number: usize) -> Self {
        Self { segment: Segment { cells: Handle::from_bits(number as u32), len: DIRECTORY } }
    }
}

/// The index of one database in one shard.
#[derive(Debug)]
pub struct Index {
    arena: Arena,
    tables: Vec<Table>,
    directories: Vec<Directory>,
    vacant_directories: Vec<u32>,
    directory_bytes: usize,
    compaction: Compaction,
    /// Reused for the segments to move.
    moves: Vec<Handle>,
    /// One bit a slot that holds entries.
    occupied: Vec<u64>,
    entries: usize,
}

const _: () = assert!(size_of::<Table>() == 8);

impl Index {
    /// An index of `slots` slots; nothing is allocated before the first insertion or [`Index::begin`].
    pub fn new(slots: usize) -> Self {
        Self {
            arena: Arena::default(),
            tables: Vec::new(),
            directories: Vec::new(),
            vacant_directories: Vec::new(),
            directory_bytes: 0,
            compaction: Compaction::default(),
            moves: Vec::new(),
            occupied: vec![0; slots.div_ceil(64)],
            entries: 0,
        }
    }

    /// Allocates the slots' tables.
    #[inline]
    pub fn begin(&mut self) {
        if self.tables.is_empty() {
            self.tables.resize(self.occupied.len() * 64, Table::EMPTY);
        }
    }

    /// Entries in all slots.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes that the index holds.
    pub fn bytes(&self) -> usize {
        self.arena.touched_bytes()
            + self.directory_bytes
            + self.tables.capacity() * size_of::<Table>()
            + self.directories.capacity() * size_of::<Directory>()
    }

    /// Entries in a slot.
    pub fn slot_len(&self, slot: u32) -> usize {
        match self.table(slot).directory() {
            Some(number) => self.directories[number].entries,
            None => self.table(slot).segment.len(),
        }
    }

    /// The first slot from `slot` on that holds entries.
    pub fn next_occupied(&self, slot: u32) -> Option<u32> {
        let mut word = slot as usize / 64;
        let mut bits = self.occupied.get(word)? & (u64::MAX << (slot % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(word as u32 * 64 + bits.trailing_zeros())
    }

    #[inline]
    fn table(&self, slot: u32) -> Table {
        self.tables.get(slot as usize).copied().unwrap_or(Table::EMPTY)
    }

    /// The branch and segment that a key belongs to.
    #[inline]
    fn segment(&self, key: Hashed) -> (u32, Segment) {
        let table = self.table(key.slot);
        match table.directory() {
            None => (Owner::NO_BRANCH, table.segment),
            Some(number) => {
                let directory = &self.directories[number];
                let branch = directory.branch(key.hash);
                (branch, directory.branches[branch as usize].segment)
            }
        }
    }

    /// The entry of this hash for which `is_it` holds.
    #[inline]
    pub fn find(&self, key: Hashed, is_it: impl FnMut(Handle) -> bool) -> Option<(Place, Handle)> {
        let (branch, segment) = self.segment(key);
        let (at, handle) = segment.find(&self.arena, key.tag(), is_it)?;
        Some((Place { branch, at: at as u32 }, handle))
    }

    /// Brings the first line that [`Index::prefetch`] itself will look at into the cache.
    #[inline]
    pub(super) fn prefetch_table(&self, key: Hashed) {
        if let Some(table) = self.tables.get(key.slot as usize) {
            prefetch::bring_start(table);
        }
    }

    /// Brings what [`Index::find`] will look at into the cache.
    #[inline]
    pub fn prefetch(&self, key: Hashed) {
        self.segment(key).1.prefetch(&self.arena);
    }

    /// Brings what [`Index::prefetch`] itself will look at into the cache, one step of the way: the first three do it all.
    #[inline]
    pub fn prefetch_way(&self, key: Hashed, step: usize) {
        let Some(directory) = self.table(key.slot).directory().map(|number| &self.directories[number]) else {
            return;
        };
        match step {
            0 => prefetch::bring_start(directory),
            1 => prefetch::bring_start(&directory.map[directory.at(key.hash)]),
            _ => prefetch::bring_start(&directory.branches[directory.branch(key.hash) as usize]),
        }
    }

    /// Brings what [`Index::expect`] and [`Index::remove`] will look at into the cache, but for the entry's own handle.
    #[inline]
    pub(super) fn prefetch_tags(&self, key: Hashed) {
        let (branch, segment) = self.segment(key);
        segment.prefetch_tags(&self.arena, branch);
    }

    /// The place where the key's entry likely is, the first with its tag, and its handle on its way into the cache.
    #[inline]
    pub(super) fn expect(&self, key: Hashed) -> Option<Place> {
        let (branch, segment) = self.segment(key);
        let (at, _) = segment.find(&self.arena, key.tag(), |_| true)?;
        segment.prefetch_handle(&self.arena, at);
        Some(Place { branch, at: at as u32 })
    }

    /// The place of an entry that was likely at `expected` some changes ago.
    #[inline]
    pub(super) fn place_of(&self, key: Hashed, handle: Handle, expected: Option<Place>) -> Option<Place> {
        let (branch, segment) = self.segment(key);
        let stands = |place: &Place| {
            let at = place.at as usize;
            place.branch == branch && at < segment.len() && segment.handle(&self.arena, at) == handle
        };
        expected.filter(stands).or_else(|| self.find(key, |other| other == handle).map(|(place, _)| place))
    }

    /// Adds an entry that is not there yet.
    pub fn insert(
        &mut self,
        key: Hashed,
        handle: Handle,
        mut hash_of: impl FnMut(Handle) -> u64,
    ) -> Result<(), Full> {
        self.begin();
        let Self { arena, tables, directories, .. } = self;
        let table = &mut tables[key.slot as usize];
        match table.directory() {
            None if table.segment.len() < SEGMENT_MAX => {
                let owner = Owner { slot: key.slot, branch: Owner::NO_BRANCH };
                table.segment.push(arena, owner, key.tag(), handle)?;
            }
            None => {
                self.make_directory(key)?;
                return self.insert(key, handle, hash_of);
            }
            Some(number) => {
                let directory = &mut directories[number];
                let before = directory.bytes();
                directory.insert(arena, key, handle, &mut hash_of)?;
                self.directory_bytes = self.directory_bytes + directory.bytes() - before;
            }
        }
        self.entries += 1;
        self.occupied[key.slot as usize / 64] |= 1 << (key.slot % 64);
        Ok(())
    }

    /// Puts a directory over a slot's only segment.
    fn make_directory(&mut self, key: Hashed) -> Result<(), Full> {
        let mut segment = self.tables[key.slot as usize].segment;
        let owner = Owner { slot: key.slot, branch: 0 };
        segment.resize(&mut self.arena, owner, segment.len())?;
        let directory = Directory {
            map: vec![0],
            depth: 0,
            entries: segment.len(),
            branches: vec![Branch { segment, depth: 0 }],
            vacant: Vec::new(),
        };
        self.directory_bytes += directory.bytes();
        let number = match self.vacant_directories.pop() {
            Some(number) => {
                self.directories[number as usize] = directory;
                number as usize
            }
            None => {
                self.directories.push(directory);
                self.directories.len() - 1
            }
        };
        self.tables[key.slot as usize] = Table::of_directory(number);
        Ok(())
    }

    /// Makes the entry at `place` lead to another handle.
    pub fn replace(&mut self, key: Hashed, place: Place, handle: Handle) {
        let table = self.tables[key.slot as usize];
        let segment = match table.directory() {
            None => table.segment,
            Some(number) => self.directories[number].branches[place.branch as usize].segment,
        };
        segment.set(&mut self.arena, place.at as usize, key.tag(), handle);
    }

    /// Removes the entry at `place`.
    pub(super) fn remove(&mut self, key: Hashed, place: Place, pace: Pace) {
        self.entries -= 1;
        let Self { arena, tables, directories, .. } = self;
        let table = &mut tables[key.slot as usize];
        let owner = Owner { slot: key.slot, branch: place.branch };
        let emptied = match table.directory() {
            None => {
                table.segment.swap_remove(arena, owner, place.at as usize, pace);
                table.segment.len == 0
            }
            Some(number) => {
                let directory = &mut directories[number];
                directory.entries -= 1;
                let segment = &mut directory.branches[place.branch as usize].segment;
                segment.swap_remove(arena, owner, place.at as usize, pace);
                if segment.len() <= MERGE_MAX / 2 {
                    directory.merge(arena, key);
                }
                let emptied = directory.entries == 0;
                if emptied {
                    self.directory_bytes -= directory.bytes();
                    *directory = Directory::default();
                    self.vacant_directories.push(number as u32);
                    *table = Table::EMPTY;
                }
                emptied
            }
        };
        if emptied {
            self.occupied[key.slot as usize / 64] &= !(1 << (key.slot % 64));
        }
    }

    /// All handles of a slot, in no order.
    pub fn handles(&self, slot: u32) -> impl Iterator<Item = Handle> + '_ {
        let table = self.table(slot);
        let directory = table.directory().map(|number| &self.directories[number]);
        let one = directory.is_none().then_some(table.segment);
        let many = directory
            .into_iter()
            .flat_map(|directory| directory.branches.iter().map(|branch| branch.segment));
        one.into_iter().chain(many).flat_map(|segment| segment.entries(&self.arena).map(|(_, handle)| handle))
    }

    /// A handle of the slot chosen by `random`, about evenly; none if the slot is empty.
    pub fn sample(&self, slot: u32, random: u64) -> Option<Handle> {
        let table = self.table(slot);
        let segment = match table.directory() {
            None => table.segment,
            Some(number) => {
                let directory = &self.directories[number];
                let start = random as usize % directory.map.len();
                (0..directory.map.len())
                    .map(|step| directory.map[(start + step) % directory.map.len()])
                    .map(|number| directory.branches[number as usize].segment)
                    .find(|segment| segment.len > 0)?
            }
        };
        let at = (random >> 32).checked_rem(segment.len() as u64)?;
        Some(segment.handle(&self.arena, at as usize))
    }

    /// Appends to `found` at least one entry of the slot from `from` on, if there are any, and about `count`; says where
    /// to go on, or nothing at the slot's end.
    pub fn scan(&self, slot: u32, from: Position, count: usize, found: &mut Vec<Handle>) -> Option<Position> {
        let table = self.table(slot);
        let Some(number) = table.directory() else {
            // A scan that began in a directory, which has been merged away since, starts over.
            let tag = if from.depth == 0 { from.tag } else { 0 };
            let next = scan_segment(&self.arena, table.segment, tag, count, found)?;
            return Some(Position { prefix: 0, depth: 0, tag: next });
        };
        scan_directory(&self.arena, &self.directories[number], from, count, found)
    }

    /// Bytes of free slots.
    pub fn reusable_bytes(&self) -> usize {
        self.arena.touched_bytes().saturating_sub(self.arena.live_bytes())
    }

    /// Whether so much of its memory is free (slots grow in step and leave one size class after the other) that segments
    /// should be moved together.
    pub fn is_sparse(&self) -> bool {
        self.reusable_bytes() > (self.arena.touched_bytes() / SPARSE_SHARE).max(SPARSE_MIN_BYTES)
    }

    /// Moves a bounded number of segments out of a sparse block; says whether there was anything worth doing.
    pub fn compact_slice(&mut self) -> bool {
        let mut moves = std::mem::take(&mut self.moves);
        let worthwhile = self.compaction.next(&mut self.arena, &mut moves);
        let moved_all = moves.iter().all(|&cells| self.relocate(cells));
        self.compaction.note(&mut self.arena, moved_all);
        self.moves = moves;
        worthwhile
    }

    /// Moves a segment to another place in the arena; false if there is none.
    fn relocate(&mut self, old: Handle) -> bool {
        let owner = Owner::of(&self.arena, old);
        let Self { arena, tables, directories, .. } = self;
        let table = &mut tables[owner.slot as usize];
        let segment = match table.directory() {
            None => &mut table.segment,
            Some(number) => &mut directories[number].branches[owner.branch as usize].segment,
        };
        debug_assert_eq!(segment.cells, old);
        // In its own class: moved into others, segments that were of one class would begin blocks in many.
        let room = segment.capacity(arena).min(segment.len() + 1 + spare(segment.len()));
        segment.resize(arena, owner, room).is_ok()
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self, mut hash_of: impl FnMut(Handle) -> u64) {
        let mut entries = 0;
        let mut segments = 0;
        for (slot, table) in self.tables.iter().enumerate() {
            let occupied = self.occupied[slot / 64] >> (slot % 64) & 1 == 1;
            assert_eq!(occupied, self.slot_len(slot as u32) > 0);
            assert_eq!(self.handles(slot as u32).count(), self.slot_len(slot as u32));
            entries += self.slot_len(slot as u32);
            let Some(number) = table.directory() else {
                segments += usize::from(table.segment.cells != Handle::NONE);
                continue;
            };
            let directory = &self.directories[number];
            segments +=
                directory.branches.iter().filter(|branch| branch.segment.cells != Handle::NONE).count();
            for (number, branch) in directory.branches.iter().enumerate() {
                for (tag, handle) in branch.segment.entries(&self.arena) {
                    let hash = hash_of(handle);
                    assert_eq!(tag, hash as u16);
                    assert_eq!(directory.branch(hash) as usize, number, "entry in the wrong branch");
                }
            }
        }
        assert_eq!(entries, self.entries);
        assert_eq!(segments, self.arena.live_count());
        assert_eq!(self.directories.iter().map(Directory::bytes).sum::<usize>(), self.directory_bytes);
    }
}

/// Entries of a segment with tags from `from` on, in groups of equal tags, about `count` of them; the tag to go on at.
fn scan_segment(
    arena: &Arena,
    segment: Segment,
    from: u16,
    count: usize,
    found: &mut Vec<Handle>,
) -> Option<u16> {
    let mut rest: Vec<(u16, Handle)> = segment.entries(arena).filter(|&(tag, _)| tag >= from).collect();
    rest.sort_unstable();
    let cut = match rest.get(count.max(1) - 1) {
        Some(&(last, _)) => rest.partition_point(|&(tag, _)| tag <= last),
        None => rest.len(),
    };
    found.extend(rest[..cut].iter().map(|&(_, handle)| handle));
    rest.get(cut).map(|&(tag, _)| tag)
}

fn scan_directory(
    arena: &Arena,
    directory: &Directory,
    from: Position,
    count: usize,
    found: &mut Vec<Handle>,
) -> Option<Position> {
    let wanted = found.len() + count.max(1);
    // Positions come back from clients: one that was never given out starts somewhere, but ends.
    let from = if from.depth <= DEPTH_MAX { from } else { Position::default() };
    // The prefix left-aligned in 64 bits is the least hash that was not covered yet.
    let mut hash = if from.depth == 0 { 0 } else { u64::from(from.prefix) << (64 - from.depth) };
    let mut from = Some(from);
    loop {
        let branch = &directory.branches[directory.map[directory.at(hash)] as usize];
        // A branch wider than the position's prefix was merged since: its other half was not covered from this tag on.
        let tag = from.take().filter(|from| branch.depth >= from.depth).map_or(0, |from| from.tag);
        let prefix = if branch.depth == 0 { 0 } else { (hash >> (64 - branch.depth)) as u32 };
        if let Some(tag) = scan_segment(arena, branch.segment, tag, wanted - found.len(), found) {
            return Some(Position { prefix, depth: branch.depth, tag });
        }
        let next = u64::from(prefix) + 1;
        if branch.depth == 0 || next >> branch.depth != 0 {
            return None;
        }
        hash = next << (64 - branch.depth);
        if found.len() >= wanted {
            return Some(Position { prefix: next as u32, depth: branch.depth, tag: 0 });
        }
    }
}
