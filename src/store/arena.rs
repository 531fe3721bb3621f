//! Memory for entries: blocks of 4 to 128 KiB, each cut into slots of one size class.
//!
//! Why not the allocator's own classes: they lie up to 25 % apart, which on entries of 50–400 bytes wastes more than
//! everything else that an entry costs. Here classes are one byte apart up to 512 bytes, at most 1.6 % apart up to 4 KiB and
//! 6.3 % above. (Values of 4 to 16 KiB were jemalloc's once: after their sizes had drifted, a tenth of what they took was
//! holes in its pages that nothing could close. Here blocks are emptied.)
//! A slot is named by a [`Handle`] of four bytes (block and slot number), so that index, queues and expiry pay four
//! bytes for a reference, and the whole structure is bounds-checked safe code.
//!
//! With that many classes, what they leave free adds up where memory is small and sizes are mixed. So a class's blocks
//! grow with it (a new one is about an eighth of what the class has), and an entry may also live in a slot that is up to a sixteenth too large ([`suits`]): it goes into a free slot of a neighbouring class
//! before memory that was never touched is begun, and an entry that changes its size by a little stays where it is. Blocks of
//! the finest classes are begun only for sizes that are common here: where every size is seldom, up to 3 % apart are one
//! class, because seven hundred half empty blocks cost more than that.
//!
//! Invariants: a block holds slots of one class; `live` counts its slots in use; every block with a free slot stands in
//! its class's `partial` list exactly once, and no other block does (but for a block that is being emptied); a class's
//! `free` counts the free slots of the blocks in its list. The first byte of a free slot is 0, of a used one not (the
//! entry's kind bits).

/// Bytes of the largest block. Smaller ones than this were measured to cost 0.7 bytes an entry of 350 in the allocator's
/// own tables, and in what is left over at their ends.
pub const BLOCK_BYTES: usize = 128 * 1024;
/// Bytes of the smallest block, and the slots that every block has.
const BLOCK_BYTES_MIN: usize = 4096;
const SLOTS_MIN: usize = 4;
/// A new block is as large as the class's blocks together, divided by this.
const CLASS_SHARE: usize = 8;
/// Largest entry that lives in a block; a larger value becomes an object of its own.
pub const SLOT_BYTES_MAX: usize = 16 * 1024;
/// An entry may leave unused this share of its slot.
const SLACK_SHARE: usize = 16;
/// Smallest slot; with it, the slots of a block are counted in 12 bits.
const SLOT_BYTES_MIN: usize = 16;
const SLOT_BITS: u32 = 12;
/// Blocks that handles can name: 2^20 − 1, that is 64 GiB a database and shard.
const BLOCKS_MAX: usize = (1 << 20) - 1;
/// The granularity with which the operating system backs a block.
const PAGE_BYTES: usize = 4096;
/// Neighbouring classes in which a free slot is looked for.
const NEIGHBOURS: usize = 32;
/// Sizes count as common from this share of all memory on.
const COMMON_SHARE: usize = 64;
/// Classes of sizes that are not common, for each doubling of the size.
const COARSE_STEPS: usize = 32;
const NO_SLOT: u16 = u16::MAX;
const NO_CLASS: u16 = u16::MAX;
const NOT_PARTIAL: u32 = u32::MAX;

const _: () = assert!(SLOTS_MIN * SLOT_BYTES_MAX <= BLOCK_BYTES);
const _: () = assert!(CLASS_COUNT == class_of(SLOT_BYTES_MAX) + 1);

/// Number of size classes.
pub const CLASS_COUNT: usize = 721;

/// The name of a slot: block number and slot number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// No slot.
    pub const NONE: Self = Self(u32::MAX);

    /// The handle whose bits these are.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The handle's 32 bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    const fn new(block: u32, slot: u16) -> Self {
        Self((block << SLOT_BITS) | slot as u32)
    }

    const fn block(self) -> usize {
        (self.0 >> SLOT_BITS) as usize
    }

    /// Number of the slot within its block.
    pub const fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }
}

/// The class of entries of `bytes` (at most [`SLOT_BYTES_MAX`]).
pub const fn class_of(bytes: usize) -> usize {
    if bytes <= SLOT_BYTES_MIN {
        0
    } else if bytes <= 512 {
        bytes - SLOT_BYTES_MIN
    } else if bytes <= 1024 {
        496 + (bytes - 512).div_ceil(8)
    } else if bytes <= 2048 {
        560 + (bytes - 1024).div_ceil(16)
    } else if bytes <= 4096 {
        624 + (bytes - 2048).div_ceil(32)
    } else if bytes <= 8192 {
        688 + (bytes - 4096).div_ceil(256)
    } else {
        704 + (bytes - 8192).div_ceil(512)
    }
}

/// The slot size of a class, in bytes.
pub const fn class_bytes(class: usize) -> usize {
    if class <= 496 {
        SLOT_BYTES_MIN + class
    } else if class <= 560 {
        512 + (class - 496) * 8
    } else if class <= 624 {
        1024 + (class - 560) * 16
    } else if class <= 688 {
        2048 + (class - 624) * 32
    } else if class <= 704 {
        4096 + (class - 688) * 256
    } else {
        8192 + (class - 704) * 512
    }
}

/// Whether an entry of `bytes` may live in a slot of `slot_bytes`: the waste is bounded.
#[inline]
pub const fn suits(slot_bytes: usize, bytes: usize) -> bool {
    bytes <= slot_bytes && (slot_bytes - bytes <= slot_bytes / SLACK_SHARE || slot_bytes == SLOT_BYTES_MIN)
}

/// The larger classes whose slots suit an entry of `bytes` too.
fn neighbours(class: usize, bytes: usize) -> impl Iterator<Item = usize> {
    (class + 1..(class + 1 + NEIGHBOURS).min(CLASS_COUNT))
        .take_while(move |&class| suits(class_bytes(class), bytes))
}

/// The bytes of a block of about `bytes`, at least half of it: of the allocator's classes the one that leaves least of a
/// slot over at the end.
fn fitting(slot_bytes: usize, bytes: usize) -> usize {
    let step = bytes / 8;
    if !step.is_multiple_of(PAGE_BYTES) || bytes / 2 < SLOTS_MIN * slot_bytes {
        return bytes;
    }
    let waste = |bytes: &usize| (bytes % slot_bytes) * BLOCK_BYTES / bytes;
    (5..=8).rev().map(|steps| steps * step).min_by_key(waste).unwrap_or(bytes)
}

#[derive(Debug)]
struct Block {
    /// The slots that were ever used, one after the other; what the block has room for beyond was never touched.
    data: Vec<u8>,
    /// Bytes a slot.
    slot_bytes: u16,
    class: u16,
    /// Slots there are, slots in use, and slots that were ever used.
    slots: u16,
    live: u16,
    bump: u16,
    /// First slot of the free list, which is threaded through bytes 1–2 of the free slots.
    free: u16,
    /// Place in the class's `partial` list.
    partial_at: u32,
}

impl Block {
    fn is_full(&self) -> bool {
        self.free == NO_SLOT && self.bump == self.slots
    }

    fn has_hole(&self) -> bool {
        self.free != NO_SLOT
    }

    fn is_held(&self) -> bool {
        self.data.capacity() > 0
    }

    fn free_slots(&self) -> usize {
        (self.slots - self.live) as usize
    }

    fn touched_bytes(&self) -> usize {
        (self.bump as usize * self.slot_bytes as usize).next_multiple_of(PAGE_BYTES)
    }
}

/// The blocks of one size class that have free slots.
#[derive(Debug, Default)]
struct Class {
    partial: Vec<u32>,
    /// Free slots of the blocks in `partial`.
    free: usize,
    /// Bytes of all its blocks.
    bytes: usize,
}

/// The classes that ever had a block: most of them never have one, and a table of them all would cost as much as a thousand entries.
#[derive(Debug, Default)]
struct Classes {
    /// Place in `held` by class, or [`NO_CLASS`]; empty before the first block.
    places: Vec<u16>,
    held: Vec<Class>,
}

impl Classes {
    #[inline]
    fn get(&self, class: usize) -> Option<&Class> {
        self.held.get(*self.places.get(class)? as usize)
    }

    /// A class, made if it has had no block yet.
    #[inline]
    fn get_mut(&mut self, class: usize) -> &mut Class {
        if self.places.is_empty() {
            self.places = vec![NO_CLASS; CLASS_COUNT];
        }
        if self.places[class] == NO_CLASS {
            self.places[class] = self.held.len() as u16;
            self.held.push(Class::default());
        }
        &mut self.held[self.places[class] as usize]
    }
}

/// All blocks of one database in one shard.
#[derive(Debug, Default)]
pub struct Arena {
    blocks: Vec<Block>,
    /// Block numbers whose memory was given back.
    vacant: Vec<u32>,
    classes: Classes,
    touched_bytes: usize,
    live_bytes: usize,
    live_count: usize,
}

/// No block can be added: the handles are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Arena {
    /// Bytes of blocks that were ever written to, rounded to pages: what the arena keeps resident.
    pub fn touched_bytes(&self) -> usize {
        self.touched_bytes
    }

    /// Bytes of slots in use.
    pub fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Slots in use.
    pub fn live_count(&self) -> usize {
        self.live_count
    }

    /// A slot for `bytes`; its bytes are whatever they were, its first byte must be made non-zero by the caller.
    pub fn allocate(&mut self, bytes: usize) -> Result<Handle, Full> {
        let number = match self.block_for(bytes) {
            Some(number) => number,
            None => self.add_block(self.class_to_fill(bytes))?,
        };
        let block = &mut self.blocks[number as usize];
        let slot_bytes = block.slot_bytes as usize;
        let slot = if block.has_hole() {
            let slot = block.free;
            let at = slot as usize * slot_bytes;
            block.free = u16::from_le_bytes([block.data[at + 1], block.data[at + 2]]);
            slot
        } else {
            let slot = block.bump;
            let before = block.touched_bytes();
            block.bump += 1;
            block.data.resize(block.bump as usize * slot_bytes, 0);
            self.touched_bytes += block.touched_bytes() - before;
            slot
        };
        block.live += 1;
        let (full, class) = (block.is_full(), block.class as usize);
        self.live_bytes += slot_bytes;
        self.live_count += 1;
        self.classes.get_mut(class).free -= 1;
        if full {
            self.leave_partial(number);
        }
        Ok(Handle::new(number, slot))
    }

    /// The class in which memory that was never touched is used for an entry of `bytes`: its own, or a coarser one as
    /// long as such sizes are seldom.
    fn class_to_fill(&self, bytes: usize) -> usize {
        let own = class_of(bytes);
        let step = (bytes.next_power_of_two() / 2 / COARSE_STEPS).max(1);
        let coarse = class_of(bytes.next_multiple_of(step));
        let held = |class: usize| self.classes.get(class).map_or(0, |class| class.bytes);
        let common = held(own).max(held(coarse)) * COMMON_SHARE >= self.touched_bytes;
        if common { own } else { coarse }
    }

    /// A block with a free slot for `bytes`: a hole in the own class or one of the next, else the block that is being
    /// filled.
    #[inline]
    fn block_for(&self, bytes: usize) -> Option<u32> {
        let own_class = class_of(bytes);
        let newest = |class: usize| self.classes.get(class).and_then(|class| class.partial.last()).copied();
        let own = newest(own_class);
        if own.is_some_and(|number| self.blocks[number as usize].has_hole()) {
            return own;
        }
        let larger = neighbours(own_class, bytes)
            .filter_map(newest)
            .find(|&number| self.blocks[number as usize].has_hole());
        larger.or_else(|| newest(self.class_to_fill(bytes)))
    }

    /// Gives a slot back; the block's memory goes back with its last slot.
    pub fn free(&mut self, handle: Handle) {
        let number = handle.block() as u32;
        let block = &mut self.blocks[handle.block()];
        let slot_bytes = block.slot_bytes as usize;
        let was_full = block.is_full();
        let at = handle.slot() * slot_bytes;
        let [low, high] = block.free.to_le_bytes();
        block.data[at] = 0;
        block.data[at + 1] = low;
        block.data[at + 2] = high;
        block.free = handle.slot() as u16;
        block.live -= 1;
        self.live_bytes -= slot_bytes;
        self.live_count -= 1;
        let (empty, listed, class) = (block.live == 0, block.partial_at != NOT_PARTIAL, block.class as usize);
        if was_full {
            self.enter_partial(number);
        } else if listed {
            self.classes.get_mut(class).free += 1;
        }
        if empty {
            self.release_block(number);
        }
    }

    /// The bytes of a slot.
    #[inline]
    pub fn slot(&self, handle: Handle) -> &[u8] {
        let block = &self.blocks[handle.block()];
        let slot_bytes = block.slot_bytes as usize;
        let at = handle.slot() * slot_bytes;
        &block.data[at..at + slot_bytes]
    }

    /// The bytes of a slot that may have been given back since the handle was taken, or be another entry's by now; nothing
    /// if no entry is there.
    #[inline]
    pub fn peek(&self, handle: Handle) -> Option<&[u8]> {
        let block = self.blocks.get(handle.block())?;
        let slot_bytes = block.slot_bytes as usize;
        let at = handle.slot() * slot_bytes;
        block.data.get(at..at + slot_bytes).filter(|slot| slot[0] != 0)
    }

    /// The bytes of a slot, to be written.
    #[inline]
    pub fn slot_mut(&mut self, handle: Handle) -> &mut [u8] {
        let block = &mut self.blocks[handle.block()];
        let slot_bytes = block.slot_bytes as usize;
        let at = handle.slot() * slot_bytes;
        &mut block.data[at..at + slot_bytes]
    }

    /// Bytes of a slot.
    #[inline]
    pub fn slot_bytes(&self, handle: Handle) -> usize {
        self.blocks[handle.block()].slot_bytes as usize
    }

    /// Block numbers are below this.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The sparsest of up to `looked_at` blocks of a class (from a place that `turn` decides), with the slots in use and
    /// the slots that were ever used. Only blocks count whose entries other blocks of the class or of its neighbours could take
    /// in, and those that are so sparse that new and smaller blocks would do.
    pub fn sparsest(&self, class: usize, turn: usize, looked_at: usize) -> Option<(usize, usize, usize)> {
        let class = self.classes.get(class).filter(|class| class.free > 0)?;
        (0..looked_at.min(class.partial.len()))
            .map(|step| class.partial[(turn + step) % class.partial.len()] as usize)
            .filter(|&number| self.can_be_emptied(&self.blocks[number]))
            .map(|number| (number, self.blocks[number].live as usize, self.blocks[number].bump as usize))
            .min_by_key(|&(_, live, slots)| live * 1024 / slots)
    }

    fn can_be_emptied(&self, block: &Block) -> bool {
        let (class, live) = (block.class as usize, block.live as usize);
        // Half of what was touched is free: new blocks, which are small, would do.
        let sparse = live * 2 < block.bump as usize;
        if !sparse && block.bump < block.slots {
            return false;
        }
        let free = self.classes.get(class).map_or(0, |class| class.free);
        if free >= block.slots as usize || (sparse && block.touched_bytes() > 2 * BLOCK_BYTES_MIN) {
            return true;
        }
        let holes =
            neighbours(class, block.slot_bytes as usize).filter_map(|class| self.classes.get(class)).filter(
                |class| class.partial.last().is_some_and(|&number| self.blocks[number as usize].has_hole()),
            );
        free + holes.map(|class| class.free).sum::<usize>() >= block.slots as usize
    }

    /// Takes a block out of its class's list so that nothing new is put into it while it is being emptied.
    pub fn retire(&mut self, block: usize) {
        if self.blocks[block].partial_at != NOT_PARTIAL {
            self.leave_partial(block as u32);
        }
    }

    /// Puts a retired block that was not emptied after all back into use.
    pub fn unretire(&mut self, block: usize) {
        let own = &self.blocks[block];
        if own.is_held() && own.partial_at == NOT_PARTIAL && !own.is_full() {
            self.enter_partial(block as u32);
        }
    }

    /// The used slots of `block` with a number of at least `from`, ascending.
    pub fn used_slots(&self, block: usize, from: usize) -> impl Iterator<Item = Handle> + '_ {
        let own = &self.blocks[block];
        let slot_bytes = own.slot_bytes as usize;
        (from..own.bump as usize)
            .filter(move |slot| own.data.get(slot * slot_bytes).is_some_and(|&kind| kind != 0))
            .map(move |slot| Handle::new(block as u32, slot as u16))
    }

    fn add_block(&mut self, class: usize) -> Result<u32, Full> {
        let slot_bytes = class_bytes(class);
        let least = (SLOTS_MIN * slot_bytes).next_multiple_of(BLOCK_BYTES_MIN);
        let share = self.classes.get(class).map_or(0, |class| class.bytes) / CLASS_SHARE;
        let most = BLOCK_BYTES.min(slot_bytes << SLOT_BITS);
        let block_bytes = fitting(slot_bytes, (1 << share.max(1).ilog2()).clamp(least, most.max(least)));
        let block = Block {
            data: Vec::with_capacity(block_bytes),
            slot_bytes: slot_bytes as u16,
            class: class as u16,
            slots: (block_bytes / slot_bytes) as u16,
            live: 0,
            bump: 0,
            free: NO_SLOT,
            partial_at: NOT_PARTIAL,
        };
        let number = match self.vacant.pop() {
            Some(number) => {
                self.blocks[number as usize] = block;
                number
            }
            None if self.blocks.len() < BLOCKS_MAX => {
                self.blocks.push(block);
                self.blocks.len() as u32 - 1
            }
            None => return Err(Full),
        };
        self.classes.get_mut(class).bytes += block_bytes;
        self.enter_partial(number);
        Ok(number)
    }

    fn release_block(&mut self, number: u32) {
        if self.blocks[number as usize].partial_at != NOT_PARTIAL {
            self.leave_partial(number);
        }
        let block = &mut self.blocks[number as usize];
        self.touched_bytes -= block.touched_bytes();
        self.classes.get_mut(block.class as usize).bytes -= block.data.capacity();
        block.data = Vec::new();
        block.bump = 0;
        block.free = NO_SLOT;
        self.vacant.push(number);
    }

    fn enter_partial(&mut self, number: u32) {
        let block = &mut self.blocks[number as usize];
        let class = self.classes.get_mut(block.class as usize);
        block.partial_at = class.partial.len() as u32;
        class.partial.push(number);
        class.free += block.free_slots();
    }

    fn leave_partial(&mut self, number: u32) {
        let block = &mut self.blocks[number as usize];
        let at = std::mem::replace(&mut block.partial_at, NOT_PARTIAL) as usize;
        let class = self.classes.get_mut(block.class as usize);
        class.free -= block.free_slots();
        class.partial.swap_remove(at);
        if let Some(&moved) = class.partial.get(at) {
            self.blocks[moved as usize].partial_at = at as u32;
        }
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self, retired: Option<usize>) {
        let (mut live, mut live_bytes, mut touched) = (0, 0, 0);
        for (number, block) in self.blocks.iter().enumerate().filter(|(_, block)| block.is_held()) {
            let used = self.used_slots(number, 0).count();
            assert_eq!(used, block.live as usize);
            assert!(used > 0, "an empty block keeps its memory");
            assert!(retired == Some(number) || block.is_full() == (block.partial_at == NOT_PARTIAL));
            assert!(block.data.capacity() <= BLOCK_BYTES && block.bump <= block.slots);
            live += used;
            live_bytes += used * block.slot_bytes as usize;
            touched += block.touched_bytes();
        }
        assert_eq!((live, live_bytes, touched), (self.live_count, self.live_bytes, self.touched_bytes));
        for (number, class) in (0..CLASS_COUNT).filter_map(|number| Some((number, self.classes.get(number)?)))
        {
            let mut free = 0;
            for (at, &block) in class.partial.iter().enumerate() {
                let block = &self.blocks[block as usize];
                assert_eq!((block.class as usize, block.partial_at as usize), (number, at));
                free += block.free_slots();
            }
            assert_eq!(free, class.free);
            let own = |block: &&Block| block.class as usize == number && block.is_held();
            let bytes: usize = self.blocks.iter().filter(own).map(|block| block.data.capacity()).sum();
            assert_eq!(bytes, class.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, BLOCK_BYTES, CLASS_COUNT, SLOT_BYTES_MAX, class_bytes, class_of, suits};
    use crate::base::rng::Rng;

    #[test]
    fn classes_cover_every_size_with_little_slack() {
        for bytes in 1..=SLOT_BYTES_MAX {
            let class = class_of(bytes);
            assert!(class < CLASS_COUNT);
            let slack = class_bytes(class) - bytes;
            let share = if bytes > 4096 { 16 } else { 60 };
            assert!(bytes <= 16 || slack == 0 || slack * share <= bytes, "{bytes} wastes {slack}");
            assert!(class == 0 || class_bytes(class - 1) < bytes, "{bytes} would fit a smaller class");
        }
    }

    #[test]
    fn random_use_keeps_the_counts() {
        let mut arena = Arena::default();
        let mut rng = Rng::seeded(7);
        let mut held = Vec::new();
        for step in 0..20_000 {
            if rng.below(if step < 10_000 { 3 } else { 1 } + 1) > 0 || held.is_empty() {
                let bytes = 1 + rng.below(if step % 2 == 0 { SLOT_BYTES_MAX as u64 } else { 60 }) as usize;
                let handle = arena.allocate(bytes).unwrap();
                assert!(suits(arena.slot(handle).len(), bytes), "{bytes} in {}", arena.slot(handle).len());
                arena.slot_mut(handle).fill(1 + (step % 250) as u8);
                held.push((handle, 1 + (step % 250) as u8));
            } else {
                let (handle, byte) = held.swap_remove(rng.below(held.len() as u64) as usize);
                assert!(arena.slot(handle).iter().all(|&found| found == byte));
                arena.free(handle);
            }
        }
        arena.validate(None);
        for (handle, _) in held {
            arena.free(handle);
        }
        arena.validate(None);
        assert_eq!((arena.touched_bytes(), arena.live_count()), (0, 0));
        assert!(arena.block_count() * BLOCK_BYTES > 0);
    }
}
