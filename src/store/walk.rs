//! Walking a database in a stable order, in bounded steps: what SCAN, KEYS and slot listings stand on.
//!
//! The order is slot, hash prefix, tag, which depends on the key alone, so an entry that is there during the whole walk
//! is visited, whatever grows, shrinks, splits or merges in between (it may be visited twice). Hidden slots are not.
//! Nothing here removes an entry, due or not.

use super::db::{Db, Found};
use super::entry;
use super::index::Position;
use super::key::Key;
use super::value::ValueType;
use crate::base::rng::Rng;

/// Random entries looked at for one that is not due.
const RANDOM_TRIES: usize = 100;

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Step {
    /// Number of the slot within the shard.
    pub slot: u32,
    /// Place within the slot.
    pub position: Position,
}

impl Db {
    /// The key's entry unless it is due, which it may stay.
    #[cold]
    pub fn find_keeping(&self, key: &Key<'_>, now_ms: u64) -> Option<Found> {
        self.peek(key).filter(|&found| self.due_ms(found).is_none_or(|due_ms| due_ms > now_ms))
    }

    /// Visits about `count` entries from `from` on, those that are due left out, and those that are not `wanted`. Gives where to go on, nothing at the
    /// end, and the number of entries looked at.
    pub fn walk(
        &mut self,
        from: Step,
        count: usize,
        (now_ms, wanted): (u64, Option<ValueType>),
        mut visit: impl FnMut(&[u8]),
    ) -> (Option<Step>, usize) {
        let mut handles = std::mem::take(&mut self.handles);
        handles.clear();
        let mut next = Some(from);
        while let Some(step) = next
            && handles.len() < count
        {
            let Some(slot) = self.next_shown(step.slot) else {
                next = None;
                break;
            };
            let position = if slot == step.slot { step.position } else { Position::default() };
            let missing = count - handles.len();
            next = Some(match self.index.scan(slot, position, missing, &mut handles) {
                Some(position) => Step { slot, position },
                None => Step { slot: slot + 1, position: Position::default() },
            });
        }
        for &handle in &handles {
            let due_ms = entry::due_ms(self.arena.slot(handle));
            if due_ms.is_none_or(|due_ms| due_ms > now_ms)
                && wanted.is_none_or(|wanted| self.type_at(handle) == wanted)
            {
                visit(self.key_of(handle));
            }
        }
        let seen = handles.len();
        self.handles = handles;
        (next, seen)
    }

    /// The due time of an entry at random, about evenly, of all entries; nothing if it has none.
    pub fn random_due_ms(&self, rng: &mut Rng) -> Option<u64> {
        self.due_ms(self.random(rng)?)
    }

    /// An entry's key at random, about evenly, that is not due; nothing if there is none or only due ones were met.
    pub fn random_key(&self, rng: &mut Rng, now_ms: u64) -> Option<&[u8]> {
        (0..RANDOM_TRIES).find_map(|_| {
            let found = self.random(rng)?;
            self.due_ms(found).is_none_or(|due_ms| due_ms > now_ms).then(|| self.key_of(found.handle))
        })
    }
}
