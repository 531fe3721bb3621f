//! Which node owns which slot: consistent hashing with bounded loads, the bound being the exact fair share, made sticky
//! by the table before. A pure function, so that every node computes the same table from the same log.
//!
//! What it promises for any table before and any candidates:
//! - every candidate owns exactly its quota ([`quotas`]), so the fullest is within one slot of its fair share;
//! - no more slots change their owner than that needs: those without a living owner and those above a quota;
//! - slots stay in long runs: a fresh cluster has one run a node, one join adds at most two runs a node;
//! - the order in which candidates are listed does not matter; their ids do.
//!
//! It never looks at anything but its arguments, and its result is part of what the cluster agreed on: a change here is
//! a change of protocol. Costs O(slots × log slots), under a millisecond for 500 nodes.

use crate::base::slot::SLOT_COUNT;
use std::collections::BinaryHeap;
use std::ops::Range;

/// In a table of owners: a slot that nobody owns.
pub const NO_OWNER: u16 = u16::MAX;

/// A node that may own slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node's id; no two candidates may have the same.
    pub id: [u8; 20],
    /// Its share in relation to the other candidates'; 0 owns nothing.
    pub weight: u64,
}

/// The next table: for each slot the index of its owner in `candidates`, [`NO_OWNER`] for all if no candidate has any
/// weight. `owners` is the table before, with [`SLOT_COUNT`] such indices into the same `candidates`; [`NO_OWNER`], an
/// index beyond `candidates` and a missing entry all mean that the slot has no living owner.
///
/// Only the first 65,535 candidates can own a slot, since no index reaches further.
pub fn place(owners: &[u16], candidates: &[Candidate]) -> Vec<u16> {
    let candidates = &candidates[..candidates.len().min(usize::from(NO_OWNER))];
    // From here on nodes are known by their rank on the ring, which no order of listing can change.
    let ring = ring_order(candidates);
    let quota = quotas(candidates);
    let quota: Vec<u32> = ring.iter().map(|&index| quota[index]).collect();
    if quota.iter().all(|&slots| slots == 0) {
        return vec![NO_OWNER; SLOT_COUNT];
    }
    let mut rank_of = vec![NO_OWNER; candidates.len()];
    for (rank, &index) in ring.iter().enumerate() {
        rank_of[index] = rank as u16;
    }
    let rank_at = |slot: usize| {
        let owner = owners.get(slot).copied().unwrap_or(NO_OWNER);
        rank_of.get(usize::from(owner)).copied().unwrap_or(NO_OWNER)
    };
    let mut table: Vec<u16> = (0..SLOT_COUNT).map(rank_at).collect();
    let mut need = release_surplus(&mut table, &quota);
    if table.iter().all(|&rank| rank == NO_OWNER) {
        cut_arcs(&mut table, &quota);
    } else {
        extend_neighbours(&mut table, &mut need);
        fill(&mut table, &need);
    }
    table.iter().map(|&rank| ring.get(usize::from(rank)).map_or(NO_OWNER, |&index| index as u16)).collect()
}

/// How many slots each candidate is to own: its share of all slots by weight, rounded by largest remainder, ties to the
/// first on the ring. The sum is [`SLOT_COUNT`], or 0 if no candidate has any weight.
pub fn quotas(candidates: &[Candidate]) -> Vec<u32> {
    let total: u128 = candidates.iter().map(|candidate| u128::from(candidate.weight)).sum();
    if total == 0 {
        return vec![0; candidates.len()];
    }
    let share = |index: usize| u128::from(candidates[index].weight) * SLOT_COUNT as u128;
    let mut quota: Vec<u32> = (0..candidates.len()).map(|index| (share(index) / total) as u32).collect();
    let left = SLOT_COUNT - quota.iter().sum::<u32>() as usize;
    let mut order = ring_order(candidates);
    // Stable, so that equal remainders stay in ring order. More of them are above zero than slots are left.
    order.sort_by_key(|&index| std::cmp::Reverse(share(index) % total));
    for &index in &order[..left] {
        quota[index] += 1;
    }
    quota
}

/// The candidates' indices in the order of their hashed ids.
fn ring_order(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_cached_key(|&index| (ring_position(&candidates[index].id), candidates[index].id));
    order
}

/// Where an id stands on the ring: its bytes through splitmix64's mixing, so that ids given in sequence spread.
fn ring_position(id: &[u8; 20]) -> u64 {
    id.chunks(8).fold(0, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mut mixed = (hash ^ u64::from_le_bytes(word)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// The table's maximal runs of one owner, in slot order.
fn runs(table: &[u16]) -> impl Iterator<Item = (u16, Range<usize>)> {
    let mut start = 0;
    table.chunk_by(|left, right| left == right).map(move |run| {
        let range = start..start + run.len();
        start = range.end;
        (run[0], range)
    })
}

/// Takes from every rank what it owns above its quota, and returns what each then lacks. Small runs go first and whole,
/// then one longer run is cut, at an edge that touches free slots if it has one: both keep runs few.
fn release_surplus(table: &mut [u16], quota: &[u32]) -> Vec<u32> {
    let mut owned: Vec<Vec<Range<usize>>> = vec![Vec::new(); quota.len()];
    for (rank, range) in runs(table) {
        if rank != NO_OWNER {
            owned[usize::from(rank)].push(range);
        }
    }
    let mut need = Vec::with_capacity(quota.len());
    for (mut ranges, &quota) in owned.into_iter().zip(quota) {
        let have: usize = ranges.iter().map(Range::len).sum();
        need.push(quota.saturating_sub(have as u32));
        let mut surplus = have.saturating_sub(quota as usize);
        ranges.sort_by_key(|range| (range.len(), range.start));
        for range in ranges {
            if surplus == 0 {
                break;
            }
            let taken = surplus.min(range.len());
            surplus -= taken;
            let free_before = range.start > 0 && table[range.start - 1] == NO_OWNER;
            let free_behind = table.get(range.end) == Some(&NO_OWNER);
            let cut = if free_before && !free_behind {
                range.start..range.start + taken
            } else {
                range.end - taken..range.end
            };
            table[cut].fill(NO_OWNER);
        }
    }
    need
}

/// A table that nobody owned any of: one arc a rank, in ring order.
fn cut_arcs(table: &mut [u16], quota: &[u32]) {
    let mut rest = table;
    for (rank, &slots) in quota.iter().enumerate() {
        let (arc, behind) = rest.split_at_mut(slots as usize);
        arc.fill(rank as u16);
        rest = behind;
    }
}

/// Free runs, longest first.
fn free_runs(table: &[u16]) -> Vec<Range<usize>> {
    let mut free: Vec<Range<usize>> =
        runs(table).filter(|(rank, _)| *rank == NO_OWNER).map(|(_, range)| range).collect();
    free.sort_by_key(|range| (std::cmp::Reverse(range.len()), range.start));
    free
}

/// Gives free slots to the owners beside them that lack some: no run is added by that.
fn extend_neighbours(table: &mut [u16], need: &mut [u32]) {
    for range in free_runs(table) {
        let (mut start, mut end) = (range.start, range.end);
        if let Some(rank) = start.checked_sub(1).map(|slot| table[slot]) {
            let taken = take(need, rank, end - start);
            table[start..start + taken].fill(rank);
            start += taken;
        }
        if let Some(&rank) = table.get(end) {
            let taken = take(need, rank, end - start);
            table[end - taken..end].fill(rank);
            end -= taken;
        }
        debug_assert!(start <= end);
    }
}

/// How many of `free` slots `rank` takes, off what it lacks.
fn take(need: &mut [u32], rank: u16, free: usize) -> usize {
    let need = &mut need[usize::from(rank)];
    let taken = free.min(*need as usize);
    *need -= taken as u32;
    taken
}

/// Gives the longest free runs to those that lack most, the first on the ring where they lack the same.
fn fill(table: &mut [u16], need: &[u32]) {
    let lacking = need.iter().enumerate().filter(|(_, need)| **need > 0);
    let mut lacking: BinaryHeap<(u32, std::cmp::Reverse<u16>)> =
        lacking.map(|(rank, &need)| (need, std::cmp::Reverse(rank as u16))).collect();
    for range in free_runs(table) {
        let mut rest = &mut table[range];
        while !rest.is_empty()
            && let Some((need, rank)) = lacking.pop()
        {
            let taken = rest.len().min(need as usize);
            let (run, behind) = rest.split_at_mut(taken);
            run.fill(rank.0);
            rest = behind;
            if need > taken as u32 {
                lacking.push((need - taken as u32, rank));
            }
        }
    }
}
