//! Slot → segments → handles: the hash index of one database in one shard.
//!
//! Every slot has a table of its own, so counting and listing a slot's keys costs what it returns, and a slot can be
//! moved or dropped as a whole. A table is a *segment*: a packed, unordered array of (16-bit tag, handle), searched by
//! comparing tags. When it is full it is split by the next bit of the hash, under a directory (extendible hashing,
//! Fagin 1979), so the most that one insertion does is to move [`SEGMENT_MAX`] entries and, once in a doubling, to copy
//! a directory of four bytes a segment. Packed arrays grow in steps of at most a quarter: about 6.6 bytes an entry at
//! any number of entries, with no doubling.
//!
//! A scan walks (slot, hash prefix, tag) in ascending order, an order that depends on the key alone: what was there for
//! the whole of the scan is returned, whatever splits or merges in between ([`Position`]).
//!
//! The index stores no keys and no hashes: whoever splits or merges it hands in a function from handle to hash.

use super::arena::Handle;

/// Entries a segment holds before it is split; as much as is cheap to search and to split.
const SEGMENT_MAX: usize = 128;
/// Two sibling segments that hold this many together are merged.
const MERGE_MAX: usize = 64;
/// Deepest directory; a segment at this depth grows beyond [`SEGMENT_MAX`] instead.
const DEPTH_MAX: u8 = 26;
/// Capacities of a segment: six bytes each, chosen to fill jemalloc's size classes.
const CAPACITIES: [u16; 17] = [2, 5, 8, 10, 13, 16, 18, 21, 26, 32, 37, 42, 53, 64, 74, 85, 106];

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
    segment: u32,
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

#[derive(Debug, Default)]
struct Segment {
    /// `capacity` tags, then `capacity` handles as two halves each.
    cells: Box<[u16]>,
    len: u16,
}

impl Segment {
    fn capacity(&self) -> usize {
        self.cells.len() / 3
    }

    fn len(&self) -> usize {
        self.len as usize
    }

    fn tag(&self, at: usize) -> u16 {
        self.cells[at]
    }

    #[inline]
    fn handle(&self, at: usize) -> Handle {
        let base = self.capacity() + 2 * at;
        Handle::from_bits(u32::from(self.cells[base]) | u32::from(self.cells[base + 1]) << 16)
    }

    fn set(&mut self, at: usize, tag: u16, handle: Handle) {
        let base = self.capacity() + 2 * at;
        self.cells[at] = tag;
        self.cells[base] = handle.bits() as u16;
        self.cells[base + 1] = (handle.bits() >> 16) as u16;
    }

    #[inline]
    fn find(&self, tag: u16, mut is_it: impl FnMut(Handle) -> bool) -> Option<usize> {
        let tags = &self.cells[..self.len()];
        let mut chunks = tags.chunks_exact(16);
        let mut base = 0;
        for chunk in &mut chunks {
            let mut mask = 0u32;
            for (bit, &found) in chunk.iter().enumerate() {
                mask |= u32::from(found == tag) << bit;
            }
            while mask != 0 {
                let at = base + mask.trailing_zeros() as usize;
                if is_it(self.handle(at)) {
                    return Some(at);
                }
                mask &= mask - 1;
            }
            base += 16;
        }
        for (offset, &found) in chunks.remainder().iter().enumerate() {
            if found == tag && is_it(self.handle(base + offset)) {
                return Some(base + offset);
            }
        }
        None
    }

    /// Gives the cells another capacity; the entries stay.
    fn resize(&mut self, capacity: usize) {
        let mut resized = Self { cells: vec![0; capacity * 3].into_boxed_slice(), len: self.len };
        for at in 0..self.len() {
            resized.set(at, self.tag(at), self.handle(at));
        }
        *self = resized;
    }

    fn push(&mut self, tag: u16, handle: Handle) {
        if self.len() == self.capacity() {
            self.resize(capacity_for(self.len() + 1));
        }
        self.len += 1;
        self.set(self.len() - 1, tag, handle);
    }

    fn swap_remove(&mut self, at: usize) {
        let last = self.len() - 1;
        self.set(at, self.tag(last), self.handle(last));
        self.len -= 1;
        let fitting = capacity_for(self.len() + self.len() / 4);
        if fitting < self.capacity() {
            self.resize(fitting);
        }
    }

    fn bytes(&self) -> usize {
        self.cells.len() * size_of::<u16>()
    }

    fn entries(&self) -> impl Iterator<Item = (u16, Handle)> + '_ {
        (0..self.len()).map(|at| (self.tag(at), self.handle(at)))
    }
}

fn capacity_for(entries: usize) -> usize {
    if entries == 0 {
        return 0;
    }
    let step = CAPACITIES.partition_point(|&capacity| usize::from(capacity) < entries);
    CAPACITIES.get(step).map_or(entries.next_multiple_of(SEGMENT_MAX), |&capacity| usize::from(capacity))
}

#[derive(Debug)]
struct Branch {
    segment: Segment,
    depth: u8,
}

/// A slot with more entries than one segment holds.
#[derive(Debug)]
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

    fn bytes(&self) -> usize {
        self.map.capacity() * size_of::<u32>() + self.branches.capacity() * size_of::<Branch>()
    }

    /// Splits the branch that covers `hash` once and says by how many bytes the segments grew; nothing if the branch
    /// is as deep as can be.
    fn split(&mut self, hash: u64, hash_of: &mut impl FnMut(Handle) -> u64) -> Option<isize> {
        let number = self.map[self.at(hash)];
        let depth = self.branches[number as usize].depth;
        if depth == DEPTH_MAX {
            return None;
        }
        if depth == self.depth {
            self.map = self.map.iter().flat_map(|&number| [number, number]).collect();
            self.depth += 1;
        }
        let old = std::mem::take(&mut self.branches[number as usize].segment);
        let (mut low, mut high) = (Segment::default(), Segment::default());
        for (tag, handle) in old.entries() {
            let upper = hash_of(handle) >> (63 - depth) & 1 == 1;
            if upper { &mut high } else { &mut low }.push(tag, handle);
        }
        let delta = (low.bytes() + high.bytes()) as isize - old.bytes() as isize;
        self.branches[number as usize] = Branch { segment: low, depth: depth + 1 };
        let sibling = self.add(Branch { segment: high, depth: depth + 1 });
        // The branch's directory range: its upper half now leads to the sibling.
        let span = 1usize << (self.depth - depth);
        let start = self.at(hash) & !(span - 1);
        self.map[start + span / 2..start + span].fill(sibling);
        Some(delta)
    }

    fn add(&mut self, branch: Branch) -> u32 {
        match self.vacant.pop() {
            Some(number) => {
                self.branches[number as usize] = branch;
                number
            }
            None => {
                self.branches.push(branch);
                self.branches.len() as u32 - 1
            }
        }
    }

    /// Merges the branch that covers `hash` with its sibling if both are small.
    fn merge(&mut self, hash: u64) {
        let at = self.at(hash);
        let number = self.map[at];
        let depth = self.branches[number as usize].depth;
        if depth == 0 {
            return;
        }
        let span = 1usize << (self.depth - depth);
        let sibling = self.map[(at & !(span - 1)) ^ span];
        let [own, other] = [number, sibling].map(|number| &self.branches[number as usize]);
        if other.depth != depth || own.segment.len() + other.segment.len() > MERGE_MAX {
            return;
        }
        let moved = std::mem::take(&mut self.branches[sibling as usize].segment);
        for (tag, handle) in moved.entries() {
            self.branches[number as usize].segment.push(tag, handle);
        }
        self.branches[number as usize].depth = depth - 1;
        let start = at & !(2 * span - 1);
        self.map[start..start + 2 * span].fill(number);
        self.vacant.push(sibling);
    }
}

/// One slot's entries; an empty segment where there are none, so that the table takes no more than a segment.
#[derive(Debug)]
enum Table {
    One(Segment),
    Many(Box<Directory>),
}

impl Default for Table {
    fn default() -> Self {
        Self::One(Segment::default())
    }
}

/// The index of one database in one shard.
#[derive(Debug)]
pub struct Index {
    tables: Vec<Table>,
    /// One bit a slot that holds entries.
    occupied: Vec<u64>,
    entries: usize,
    bytes: usize,
}

const _: () = assert!(size_of::<Table>() <= 24);

impl Index {
    /// An index of `slots` slots; nothing is allocated before the first insertion.
    pub fn new(slots: usize) -> Self {
        Self { tables: Vec::new(), occupied: vec![0; slots.div_ceil(64)], entries: 0, bytes: 0 }
    }

    /// Entries in all slots.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes that the index holds.
    pub fn bytes(&self) -> usize {
        self.bytes + self.tables.capacity() * size_of::<Table>()
    }

    /// Entries in a slot.
    pub fn slot_len(&self, slot: u32) -> usize {
        match self.tables.get(slot as usize) {
            None => 0,
            Some(Table::One(segment)) => segment.len(),
            Some(Table::Many(directory)) => directory.entries,
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

    /// The entry of this hash for which `is_it` holds.
    #[inline]
    pub fn find(&self, key: Hashed, mut is_it: impl FnMut(Handle) -> bool) -> Option<(Place, Handle)> {
        let (number, segment) = match self.tables.get(key.slot as usize)? {
            Table::One(segment) => (0, segment),
            Table::Many(directory) => {
                let number = directory.map[directory.at(key.hash)];
                (number, &directory.branches[number as usize].segment)
            }
        };
        let at = segment.find(key.tag(), &mut is_it)?;
        Some((Place { segment: number, at: at as u32 }, segment.handle(at)))
    }

    /// Adds an entry that is not there yet.
    pub fn insert(&mut self, key: Hashed, handle: Handle, mut hash_of: impl FnMut(Handle) -> u64) {
        if self.tables.is_empty() {
            self.tables.resize_with(self.occupied.len() * 64, Table::default);
        }
        self.entries += 1;
        self.occupied[key.slot as usize / 64] |= 1 << (key.slot % 64);
        let table = &mut self.tables[key.slot as usize];
        let before = table_bytes(table);
        match table {
            Table::One(segment) if segment.len() < SEGMENT_MAX => segment.push(key.tag(), handle),
            Table::One(segment) => {
                let segment = std::mem::take(segment);
                let entries = segment.len();
                let branches = vec![Branch { segment, depth: 0 }];
                let mut directory =
                    Directory { map: vec![0], depth: 0, branches, vacant: Vec::new(), entries };
                directory_insert(&mut directory, key, handle, &mut hash_of);
                *table = Table::Many(Box::new(directory));
            }
            Table::Many(directory) => {
                // Only the touched branch and, on a split, the directory change size: count those alone.
                let delta = directory_insert(directory, key, handle, &mut hash_of);
                self.bytes = self.bytes.wrapping_add_signed(delta);
                return;
            }
        }
        self.bytes += table_bytes(table);
        self.bytes -= before;
    }

    /// Makes the entry at `place` lead to another handle.
    pub fn replace(&mut self, key: Hashed, place: Place, handle: Handle) {
        let segment = match &mut self.tables[key.slot as usize] {
            Table::One(segment) => segment,
            Table::Many(directory) => &mut directory.branches[place.segment as usize].segment,
        };
        segment.set(place.at as usize, key.tag(), handle);
    }

    /// Removes the entry at `place`.
    pub fn remove(&mut self, key: Hashed, place: Place) {
        self.entries -= 1;
        let table = &mut self.tables[key.slot as usize];
        let emptied = match table {
            Table::One(segment) => {
                self.bytes -= segment.bytes();
                segment.swap_remove(place.at as usize);
                self.bytes += segment.bytes();
                segment.len() == 0
            }
            Table::Many(directory) => {
                let before = directory.bytes();
                directory.entries -= 1;
                let segment = &mut directory.branches[place.segment as usize].segment;
                self.bytes -= segment.bytes();
                segment.swap_remove(place.at as usize);
                self.bytes += segment.bytes();
                if segment.len() <= MERGE_MAX / 2 {
                    let delta = merge_counted(directory, key.hash);
                    self.bytes = self.bytes.wrapping_add_signed(delta);
                }
                self.bytes = self.bytes + directory.bytes() - before;
                directory.entries == 0
            }
        };
        if emptied {
            self.bytes -= table_bytes(table);
            *table = Table::default();
            self.occupied[key.slot as usize / 64] &= !(1 << (key.slot % 64));
        }
    }

    /// All handles of a slot, in no order.
    pub fn handles(&self, slot: u32) -> impl Iterator<Item = Handle> + '_ {
        let (one, many) = match self.tables.get(slot as usize) {
            None => (None, None),
            Some(Table::One(segment)) => (Some(segment), None),
            Some(Table::Many(directory)) => {
                (None, Some(directory.branches.iter().map(|branch| &branch.segment)))
            }
        };
        one.into_iter()
            .chain(many.into_iter().flatten())
            .flat_map(|segment| segment.entries().map(|(_, handle)| handle))
    }

    /// A handle of the slot chosen by `random`, about evenly; none if the slot is empty.
    pub fn sample(&self, slot: u32, random: u64) -> Option<Handle> {
        match self.tables.get(slot as usize)? {
            Table::One(segment) if segment.len() == 0 => None,
            Table::One(segment) => Some(segment.handle((random % segment.len() as u64) as usize)),
            Table::Many(directory) => {
                let start = random as usize % directory.map.len();
                (0..directory.map.len())
                    .map(|step| directory.map[(start + step) % directory.map.len()])
                    .map(|number| &directory.branches[number as usize].segment)
                    .find(|segment| segment.len() > 0)
                    .map(|segment| segment.handle(((random >> 32) % segment.len() as u64) as usize))
            }
        }
    }

    /// Appends to `found` at least one entry of the slot from `from` on, if there are any, and about `count`; says where
    /// to go on, or nothing at the slot's end.
    pub fn scan(&self, slot: u32, from: Position, count: usize, found: &mut Vec<Handle>) -> Option<Position> {
        match self.tables.get(slot as usize) {
            None => None,
            Some(Table::One(segment)) => {
                // The scan began in a directory that has been merged away since: start over.
                let tag = if from.depth == 0 { from.tag } else { 0 };
                scan_segment(segment, tag, count, found).map(|tag| Position { prefix: 0, depth: 0, tag })
            }
            Some(Table::Many(directory)) => scan_directory(directory, from, count, found),
        }
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self, mut hash_of: impl FnMut(Handle) -> u64) {
        let mut entries = 0;
        for (slot, table) in self.tables.iter().enumerate() {
            let occupied = self.occupied[slot / 64] >> (slot % 64) & 1 == 1;
            assert_eq!(occupied, self.slot_len(slot as u32) > 0);
            assert_eq!(self.handles(slot as u32).count(), self.slot_len(slot as u32));
            entries += self.slot_len(slot as u32);
            if let Table::Many(directory) = table {
                for (at, &number) in directory.map.iter().enumerate() {
                    let branch = &directory.branches[number as usize];
                    for (tag, handle) in branch.segment.entries() {
                        let hash = hash_of(handle);
                        assert_eq!(tag, hash as u16);
                        assert_eq!(
                            directory.map[directory.at(hash)],
                            number,
                            "entry in the wrong branch ({at})"
                        );
                    }
                }
            }
        }
        assert_eq!(entries, self.entries);
        assert_eq!(self.tables.iter().map(table_bytes).sum::<usize>(), self.bytes);
    }
}

fn table_bytes(table: &Table) -> usize {
    match table {
        Table::One(segment) => segment.bytes(),
        Table::Many(directory) => {
            directory.bytes() + directory.branches.iter().map(|branch| branch.segment.bytes()).sum::<usize>()
        }
    }
}

/// Inserts and says by how many bytes the directory grew.
fn directory_insert(
    directory: &mut Directory,
    key: Hashed,
    handle: Handle,
    hash_of: &mut impl FnMut(Handle) -> u64,
) -> isize {
    let mut delta = -(directory.bytes() as isize);
    loop {
        let number = directory.map[directory.at(key.hash)] as usize;
        if directory.branches[number].segment.len() >= SEGMENT_MAX
            && let Some(grown) = directory.split(key.hash, hash_of)
        {
            delta += grown;
            continue;
        }
        let segment = &mut directory.branches[number].segment;
        let before = segment.bytes() as isize;
        segment.push(key.tag(), handle);
        delta += segment.bytes() as isize - before;
        directory.entries += 1;
        return delta + directory.bytes() as isize;
    }
}

/// Merges around `hash` and says by how many bytes the segments grew.
fn merge_counted(directory: &mut Directory, hash: u64) -> isize {
    let at = directory.at(hash);
    let number = directory.map[at] as usize;
    let depth = directory.branches[number].depth;
    if depth == 0 {
        return 0;
    }
    let span = 1usize << (directory.depth - depth);
    let sibling = directory.map[(at & !(span - 1)) ^ span] as usize;
    let bytes = |directory: &Directory| {
        directory.branches[number].segment.bytes() as isize
            + directory.branches[sibling].segment.bytes() as isize
    };
    let before = bytes(directory);
    directory.merge(hash);
    bytes(directory) - before
}

/// Entries of a segment with tags from `from` on, in groups of equal tags, about `count` of them; the tag to go on at.
fn scan_segment(segment: &Segment, from: u16, count: usize, found: &mut Vec<Handle>) -> Option<u16> {
    let mut rest: Vec<(u16, Handle)> = segment.entries().filter(|&(tag, _)| tag >= from).collect();
    rest.sort_unstable();
    let cut = match rest.get(count.max(1) - 1) {
        Some(&(last, _)) => rest.partition_point(|&(tag, _)| tag <= last),
        None => rest.len(),
    };
    found.extend(rest[..cut].iter().map(|&(_, handle)| handle));
    rest.get(cut).map(|&(tag, _)| tag)
}

fn scan_directory(
    directory: &Directory,
    from: Position,
    count: usize,
    found: &mut Vec<Handle>,
) -> Option<Position> {
    let wanted = found.len() + count.max(1);
    // The prefix left-aligned in 64 bits is the least hash that was not covered yet.
    let mut hash = if from.depth == 0 { 0 } else { u64::from(from.prefix) << (64 - from.depth) };
    let mut from = Some(from);
    loop {
        let branch = &directory.branches[directory.map[directory.at(hash)] as usize];
        // A branch wider than the position's prefix was merged since: its other half was not covered from this tag on.
        let tag = from.take().filter(|from| branch.depth >= from.depth).map_or(0, |from| from.tag);
        let prefix = if branch.depth == 0 { 0 } else { (hash >> (64 - branch.depth)) as u32 };
        if let Some(tag) = scan_segment(&branch.segment, tag, wanted - found.len(), found) {
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
