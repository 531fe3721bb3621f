//! Which slots should move next: the difference between the table and the placement rule, in bounded pieces.
//!
//! A pure function of the table; the leader alone acts on it. A move has few enough slots that its keys are sent within
//! a short hold; few moves are under way at a time, so that no node spends more than a share of itself on them.

use super::id::NodeId;
use super::place::NO_OWNER;
use super::table::Table;
use crate::base::limits::{CLUSTER_MOVE_SLOTS, CLUSTER_MOVES_MAX, CLUSTER_MOVES_PER_NODE};

/// The moves to begin now: first slot, last slot, source, target.
pub fn moves(table: &Table) -> Vec<(u16, u16, NodeId, NodeId)> {
    let mut room = CLUSTER_MOVES_MAX.saturating_sub(table.moves.len());
    if room == 0 {
        return Vec::new();
    }
    let owners = table.owners();
    let wanted = table.wanted();
    let moving = |slot: u16| table.moves.iter().any(|other| (other.start..=other.end).contains(&slot));
    let mut busy = vec![0; table.members.len()];
    for movement in &table.moves {
        for id in [movement.from, movement.to] {
            if let Some(place) = table.place_of(id) {
                busy[place] += 1;
            }
        }
    }
    let mut found = Vec::new();
    let mut slot = 0;
    while slot < owners.len() && room > 0 {
        let (from, to) = (owners[slot], wanted[slot]);
        let length = owners[slot..]
            .iter()
            .zip(&wanted[slot..])
            .take(CLUSTER_MOVE_SLOTS)
            .take_while(|pair| pair == &(&from, &to))
            .count();
        let (start, end) = (slot as u16, (slot + length - 1) as u16);
        slot += length;
        if from == to || from == NO_OWNER || to == NO_OWNER || (start..=end).any(moving) {
            continue;
        }
        let (source, target) = (from as usize, to as usize);
        if busy[source] >= CLUSTER_MOVES_PER_NODE || busy[target] >= CLUSTER_MOVES_PER_NODE {
            continue;
        }
        busy[source] += 1;
        busy[target] += 1;
        room -= 1;
        found.push((start, end, table.members[source].id, table.members[target].id));
    }
    found
}

/// Slots that are not where they should be.
pub fn displaced(table: &Table) -> usize {
    table.owners().iter().zip(table.wanted()).filter(|(owner, wanted)| **owner != *wanted).count()
}

#[cfg(test)]
mod tests {
    use super::super::table::Change;
    use super::super::table::tests::{member, settle, table_of};
    use super::{displaced, moves};
    use crate::base::limits::{CLUSTER_MOVE_SLOTS, CLUSTER_MOVES_PER_NODE};

    #[test]
    fn a_newcomer_gets_its_share_in_small_pieces() {
        let mut table = table_of(3);
        assert!(moves(&table).is_empty() && displaced(&table) == 0);
        table.apply(&Change::Join(member(3))).expect("a new member");
        assert_eq!(displaced(&table), 4096);
        let planned = moves(&table);
        assert!(!planned.is_empty() && planned.len() <= CLUSTER_MOVES_PER_NODE);
        for (start, end, _, to) in planned {
            assert!((end - start) as usize <= CLUSTER_MOVE_SLOTS);
            assert_eq!(to, member(3).id);
        }
        settle(&mut table);
        assert_eq!(table.slot_counts(), [4096; 4]);
    }

    #[test]
    fn what_is_moving_is_not_planned_again() {
        let mut table = table_of(2);
        table.apply(&Change::Join(member(2))).expect("a new member");
        while let Some(&(start, end, from, to)) = moves(&table).first() {
            table.apply(&Change::Begin { start, end, from, to }).expect("a planned move");
            table.validate().expect("a sound table");
        }
        assert!(!table.moves.is_empty());
    }
}
