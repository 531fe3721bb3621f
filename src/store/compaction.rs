//! Which slots of an arena to move, so that sparse blocks become empty and their memory goes back or serves another size
//! class. The arena's owner moves them, because it knows who refers to them.

use super::arena::{Arena, CLASS_COUNT, Handle};

/// Size classes of which one search weighs a block, and the blocks it looks at in each.
const CLASSES_WEIGHED: usize = 8;
const BLOCKS_WEIGHED: usize = 16;
/// Slots that one slice moves at most.
const MOVES_MAX: usize = 64;

/// Where the emptying of sparse blocks stands.
#[derive(Debug, Default)]
pub struct Compaction {
    /// Class at which the search goes on.
    class: usize,
    /// Block of a class at which the search begins.
    turn: usize,
    /// The block that is being emptied, and the slot to go on at.
    victim: Option<(usize, usize)>,
    /// This slice comes to the block's end.
    finished: bool,
}

impl Compaction {
    /// Puts the slots to move next into `moves`; false if there is nothing worth doing. The owner moves them and then
    /// calls [`Compaction::note`].
    pub fn next(&mut self, arena: &mut Arena, moves: &mut Vec<Handle>) -> bool {
        moves.clear();
        self.finished = false;
        let Some((block, from)) = self.victim else { return self.choose(arena) };
        moves.extend(arena.used_slots(block, from).take(MOVES_MAX));
        self.finished = moves.len() < MOVES_MAX;
        self.victim = Some((block, moves.last().map_or(from, |handle| handle.slot() + 1)));
        true
    }

    /// Says whether all slots found another place; if not, or at the block's end, another block is chosen next.
    pub fn note(&mut self, arena: &mut Arena, moved_all: bool) {
        if let Some((block, _)) = self.victim
            && (self.finished || !moved_all)
        {
            arena.unretire(block);
            self.victim = None;
        }
    }

    /// The block that nothing is put into meanwhile.
    #[cfg(test)]
    pub fn retired(&self) -> Option<usize> {
        self.victim.map(|(block, _)| block)
    }

    /// Chooses the sparsest block of some classes that could do with a block less.
    fn choose(&mut self, arena: &mut Arena) -> bool {
        let mut best: Option<(usize, usize, usize)> = None;
        let mut weighed = 0;
        for _ in 0..CLASS_COUNT {
            self.class = (self.class + 1) % CLASS_COUNT;
            let sparsest = arena.sparsest(self.class, self.turn, BLOCKS_WEIGHED);
            let Some((block, live, slots)) = sparsest else { continue };
            if best.is_none_or(|(_, least, of)| live * of < least * slots) {
                best = Some((block, live, slots));
            }
            weighed += 1;
            if weighed == CLASSES_WEIGHED {
                break;
            }
        }
        self.turn = self.turn.wrapping_add(BLOCKS_WEIGHED);
        let Some((block, _, _)) = best else { return false };
        arena.retire(block);
        self.victim = Some((block, 0));
        true
    }
}
