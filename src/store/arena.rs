//! Memory for entries: blocks of 64 KiB, each cut into slots of one size class.
//!
//! Why not the allocator's own classes: they lie up to 25 % apart, which on entries of 50–400 bytes wastes more than
//! everything else that an entry costs. Here classes are 2 bytes apart up to 256 bytes and at most 1.6 % apart above.
//! A slot is named by a [`Handle`] of four bytes (block and slot number), so that index, queues and expiry pay four
//! bytes for a reference, and the whole structure is bounds-checked safe code.
//!
//! Invariants: a block holds slots of one class; `live` counts its slots in use; every block with a free slot stands in
//! its class's `partial` list exactly once, and no other block does (but for a block that is being emptied). The first
//! byte of a free slot is 0, of a used one not (the entry's kind bits).

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// Largest entry that lives in a block; a larger value becomes an object of its own.
pub const SLOT_BYTES_MAX: usize = 4096;
/// Smallest slot; with it, the slots of a block are counted in 12 bits.
const SLOT_BYTES_MIN: usize = 16;
const SLOT_BITS: u32 = 12;
/// Blocks that handles can name: 2^20 − 1, that is 64 GiB a database and shard.
const BLOCKS_MAX: usize = (1 << 20) - 1;
/// The granularity with which the operating system backs a block.
const PAGE_BYTES: usize = 4096;
const NO_SLOT: u16 = u16::MAX;
const NOT_PARTIAL: u32 = u32::MAX;

const _: () = assert!(BLOCK_BYTES / SLOT_BYTES_MIN <= 1 << SLOT_BITS);
const _: () = assert!(CLASS_COUNT == class_of(SLOT_BYTES_MAX) + 1);

/// Number of size classes.
pub const CLASS_COUNT: usize = 377;

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

    const fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }
}

/// The class of entries of `bytes` (at most [`SLOT_BYTES_MAX`]).
pub const fn class_of(bytes: usize) -> usize {
    if bytes <= SLOT_BYTES_MIN {
        0
    } else if bytes <= 256 {
        (bytes - SLOT_BYTES_MIN).div_ceil(2)
    } else if bytes <= 512 {
        120 + (bytes - 256).div_ceil(4)
    } else if bytes <= 1024 {
        184 + (bytes - 512).div_ceil(8)
    } else if bytes <= 2048 {
        248 + (bytes - 1024).div_ceil(16)
    } else {
        312 + (bytes - 2048).div_ceil(32)
    }
}

/// The slot size of a class, in bytes.
pub const fn class_bytes(class: usize) -> usize {
    if class <= 120 {
        SLOT_BYTES_MIN + class * 2
    } else if class <= 184 {
        256 + (class - 120) * 4
    } else if class <= 248 {
        512 + (class - 184) * 8
    } else if class <= 312 {
        1024 + (class - 248) * 16
    } else {
        2048 + (class - 312) * 32
    }
}

#[derive(Debug)]
struct Block {
    data: Box<[u8]>,
    /// Bytes a slot.
    slot_bytes: u16,
    class: u16,
    live: u16,
    /// Slots that were ever used; those from here on were never touched.
    bump: u16,
    /// First slot of the free list, which is threaded through bytes 1–2 of the free slots.
    free: u16,
    /// Place in the class's `partial` list.
    partial_at: u32,
}

impl Block {
    fn slots(&self) -> usize {
        BLOCK_BYTES / self.slot_bytes as usize
    }

    fn is_full(&self) -> bool {
        self.free == NO_SLOT && self.bump as usize == self.slots()
    }

    fn touched_bytes(&self) -> usize {
        (self.bump as usize * self.slot_bytes as usize).next_multiple_of(PAGE_BYTES).min(BLOCK_BYTES)
    }
}

/// All blocks of one database in one shard.
#[derive(Debug, Default)]
pub struct Arena {
    blocks: Vec<Block>,
    /// Block numbers whose memory was given back.
    vacant: Vec<u32>,
    partial: Vec<Vec<u32>>,
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

    /// A slot of `class`; its bytes are whatever they were, its first byte must be made non-zero by the caller.
    pub fn allocate(&mut self, class: usize) -> Result<Handle, Full> {
        if self.partial.is_empty() {
            self.partial.resize_with(CLASS_COUNT, Vec::new);
        }
        let number = match self.partial[class].last() {
            Some(&number) => number,
            None => self.add_block(class)?,
        };
        let block = &mut self.blocks[number as usize];
        let slot_bytes = block.slot_bytes as usize;
        let slot = if block.free != NO_SLOT {
            let slot = block.free;
            let at = slot as usize * slot_bytes;
            block.free = u16::from_le_bytes([block.data[at + 1], block.data[at + 2]]);
            slot
        } else {
            let slot = block.bump;
            let before = block.touched_bytes();
            block.bump += 1;
            self.touched_bytes += block.touched_bytes() - before;
            slot
        };
        block.live += 1;
        let full = block.is_full();
        self.live_bytes += slot_bytes;
        self.live_count += 1;
        if full {
            self.leave_partial(number);
        }
        Ok(Handle::new(number, slot))
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
        let empty = block.live == 0;
        self.live_bytes -= slot_bytes;
        self.live_count -= 1;
        if was_full {
            self.enter_partial(number);
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

    /// The bytes of a slot, to be written.
    #[inline]
    pub fn slot_mut(&mut self, handle: Handle) -> &mut [u8] {
        let block = &mut self.blocks[handle.block()];
        let slot_bytes = block.slot_bytes as usize;
        let at = handle.slot() * slot_bytes;
        &mut block.data[at..at + slot_bytes]
    }

    /// The slot's class.
    #[inline]
    pub fn class(&self, handle: Handle) -> usize {
        self.blocks[handle.block()].class as usize
    }

    /// Block numbers are below this.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Slots in use of a block and the most it could hold; `(0, 0)` if the block's memory was given back.
    pub fn occupancy(&self, block: usize) -> (usize, usize) {
        let block = &self.blocks[block];
        if block.data.is_empty() { (0, 0) } else { (block.live as usize, block.slots()) }
    }

    /// Free slots in the other blocks of this block's class: whether it can be emptied into them.
    pub fn has_room_elsewhere(&self, block: usize) -> bool {
        let own = &self.blocks[block];
        let mut room = 0;
        for &number in self.partial[own.class as usize].iter().rev().take(64) {
            if number as usize != block {
                let other = &self.blocks[number as usize];
                room += other.slots() - other.live as usize;
            }
        }
        room >= own.live as usize
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
        if !own.data.is_empty() && own.partial_at == NOT_PARTIAL && !own.is_full() {
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
        let block = Block {
            data: vec![0; BLOCK_BYTES].into_boxed_slice(),
            slot_bytes: class_bytes(class) as u16,
            class: class as u16,
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
        self.enter_partial(number);
        Ok(number)
    }

    fn release_block(&mut self, number: u32) {
        if self.blocks[number as usize].partial_at != NOT_PARTIAL {
            self.leave_partial(number);
        }
        let block = &mut self.blocks[number as usize];
        self.touched_bytes -= block.touched_bytes();
        block.data = Box::default();
        block.bump = 0;
        block.free = NO_SLOT;
        self.vacant.push(number);
    }

    fn enter_partial(&mut self, number: u32) {
        let block = &mut self.blocks[number as usize];
        let list = &mut self.partial[block.class as usize];
        block.partial_at = list.len() as u32;
        list.push(number);
    }

    fn leave_partial(&mut self, number: u32) {
        let block = &mut self.blocks[number as usize];
        let at = std::mem::replace(&mut block.partial_at, NOT_PARTIAL) as usize;
        let list = &mut self.partial[block.class as usize];
        list.swap_remove(at);
        if let Some(&moved) = list.get(at) {
            self.blocks[moved as usize].partial_at = at as u32;
        }
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        let (mut live, mut live_bytes, mut touched) = (0, 0, 0);
        for (number, block) in self.blocks.iter().enumerate().filter(|(_, block)| !block.data.is_empty()) {
            let used = self.used_slots(number, 0).count();
            assert_eq!(used, block.live as usize);
            assert!(used > 0, "an empty block keeps its memory");
            assert_eq!(block.is_full(), block.partial_at == NOT_PARTIAL);
            live += used;
            live_bytes += used * block.slot_bytes as usize;
            touched += block.touched_bytes();
        }
        assert_eq!((live, live_bytes, touched), (self.live_count, self.live_bytes, self.touched_bytes));
        for (class, list) in self.partial.iter().enumerate() {
            for (at, &number) in list.iter().enumerate() {
                let block = &self.blocks[number as usize];
                assert_eq!((block.class as usize, block.partial_at as usize), (class, at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, BLOCK_BYTES, CLASS_COUNT, SLOT_BYTES_MAX, class_bytes, class_of};
    use crate::base::rng::Rng;

    #[test]
    fn classes_cover_every_size_with_little_slack() {
        for bytes in 1..=SLOT_BYTES_MAX {
            let class = class_of(bytes);
            assert!(class < CLASS_COUNT);
            let slack = class_bytes(class) - bytes;
            assert!(bytes <= 16 || slack < 2 || slack * 60 <= bytes, "{bytes} wastes {slack}");
            assert!(slack < 32);
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
                let class = rng.below(8) as usize * 40;
                let handle = arena.allocate(class).unwrap();
                arena.slot_mut(handle).fill(1 + (step % 250) as u8);
                held.push((handle, class, 1 + (step % 250) as u8));
            } else {
                let (handle, class, byte) = held.swap_remove(rng.below(held.len() as u64) as usize);
                assert_eq!(arena.slot(handle).len(), class_bytes(class));
                assert!(arena.slot(handle).iter().all(|&found| found == byte));
                arena.free(handle);
            }
        }
        arena.validate();
        for (handle, _, _) in held {
            arena.free(handle);
        }
        arena.validate();
        assert_eq!((arena.touched_bytes(), arena.live_count()), (0, 0));
        assert!(arena.block_count() * BLOCK_BYTES > 0);
    }
}
