//! Who votes on the slot table: one node of a cluster of up to two, three of up to six, five of a larger one; in as many
//! zones as there are. Voters stay as long as they can: a change of voters costs a round of agreement, a needless one
//! costs safety while it is under way.

use std::collections::BTreeMap;

use super::id::NodeId;

/// A member, as far as voting goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elector {
    /// Its id.
    pub id: NodeId,
    /// Failure domain; empty for none.
    pub zone: String,
    /// Whether it lives and means to stay.
    pub is_fit: bool,
}

/// Number of voters of a cluster of so many members.
pub fn voters_for(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=6 => 3,
        _ => 5,
    }
}

/// Who should vote, ascending, given who does. As many as there should be, unless fewer members are fit: then unfit
/// voters keep their places, since a set of the same size without them would bear no more failures. Empty only if there
/// is no member.
pub fn choose(current: &[NodeId], members: &[Elector]) -> Vec<NodeId> {
    let wanted = voters_for(members.len());
    let mut chosen: Vec<&Elector> = members.iter().filter(|member| current.contains(&member.id)).collect();
    chosen.sort_by_key(|member| member.id);
    let mut spare: Vec<&Elector> =
        members.iter().filter(|member| member.is_fit && !current.contains(&member.id)).collect();
    spare.sort_by_key(|member| member.id);

    // Unfit ones go for fit ones, and before fit ones.
    while let Some(at) = chosen.iter().position(|member| !member.is_fit) {
        if chosen.len() <= wanted && spare.is_empty() {
            break;
        }
        chosen.remove(at);
        if chosen.len() < wanted
            && let Some(best) = emptiest(&spare, &chosen)
        {
            chosen.push(spare.remove(best));
        }
    }
    while chosen.len() > wanted {
        chosen.remove(fullest(&chosen));
    }
    while chosen.len() < wanted
        && let Some(best) = emptiest(&spare, &chosen)
    {
        chosen.push(spare.remove(best));
    }
    // A zone with two voters more than another gives one up to it.
    while let Some(best) = emptiest(&spare, &chosen) {
        let last = fullest(&chosen);
        if count(&chosen, &chosen[last].zone) < count(&chosen, &spare[best].zone) + 2 {
            break;
        }
        chosen[last] = spare.remove(best);
    }
    if chosen.is_empty() {
        // Nobody is fit: whoever there is.
        chosen.extend(members.iter().min_by_key(|member| member.id));
    }
    let mut ids: Vec<NodeId> = chosen.iter().map(|member| member.id).collect();
    ids.sort();
    ids
}

fn count(chosen: &[&Elector], zone: &str) -> usize {
    chosen.iter().filter(|member| member.zone == zone).count()
}

/// Which of `spare` lies in the zone with the fewest chosen; the lowest id of several.
fn emptiest(spare: &[&Elector], chosen: &[&Elector]) -> Option<usize> {
    (0..spare.len()).min_by_key(|at| (count(chosen, &spare[*at].zone), spare[*at].id))
}

/// Which of `chosen` is to go from the zone with the most of them: the highest id.
fn fullest(chosen: &[&Elector]) -> usize {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in chosen {
        *counts.entry(&member.zone).or_default() += 1;
    }
    (0..chosen.len())
        .max_by_key(|at| (counts.get(chosen[*at].zone.as_str()).copied(), chosen[*at].id))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::proptest as property;

    use super::{Elector, NodeId, choose, voters_for};

    fn id(number: u8) -> NodeId {
        NodeId([number; 20])
    }

    fn electors(zones: &[&str]) -> Vec<Elector> {
        let elector = |(number, zone): (usize, &&str)| Elector {
            id: id(number as u8),
            zone: (*zone).to_owned(),
            is_fit: true,
        };
        zones.iter().enumerate().map(elector).collect()
    }

    #[track_caller]
    fn check(current: &[u8], members: &[Elector], expected: &[u8]) {
        let current: Vec<NodeId> = current.iter().map(|number| id(*number)).collect();
        let expected: Vec<NodeId> = expected.iter().map(|number| id(*number)).collect();
        assert_eq!(choose(&current, members), expected);
    }

    #[test]
    fn there_are_one_three_or_five() {
        for (members, voters) in [(1, 1), (2, 1), (3, 3), (6, 3), (7, 5), (500, 5)] {
            assert_eq!(voters_for(members), voters, "{members} members");
        }
        check(&[], &electors(&[""; 4]), &[0, 1, 2]);
        check(&[1], &electors(&[""; 4]), &[0, 1, 2]);
        check(&[0, 1, 2, 3, 4], &electors(&[""; 6]), &[0, 1, 2]);
        check(&[1, 2, 5], &electors(&[""; 2]), &[1]);
        check(&[], &[], &[]);
    }

    #[test]
    fn the_living_stay_and_the_dead_are_replaced() {
        let mut members = electors(&[""; 5]);
        check(&[2, 3, 4], &members, &[2, 3, 4]);
        members[3].is_fit = false;
        check(&[2, 3, 4], &members, &[0, 2, 4]);
        members[0].is_fit = false;
        members[1].is_fit = false;
        check(&[2, 3, 4], &members, &[2, 3, 4]);
        for member in &mut members {
            member.is_fit = false;
        }
        check(&[], &members, &[0]);
    }

    #[test]
    fn a_single_voter_that_drains_is_replaced() {
        let mut members = electors(&[""; 2]);
        members[0].is_fit = false;
        check(&[0], &members, &[1]);
    }

    #[test]
    fn zones_are_apart() {
        check(&[], &electors(&["a", "a", "a", "b", "c"]), &[0, 3, 4]);
        check(&[0, 1, 2], &electors(&["a", "a", "a", "b", "c"]), &[0, 3, 4]);
        check(&[0, 1, 3], &electors(&["a", "a", "a", "b"]), &[0, 1, 3]);
        check(&[], &electors(&["a", "a", "a", "b", "b", "b", "c"]), &[0, 1, 3, 4, 6]);
    }

    property! {
        #[test]
        fn a_choice_is_sound_and_stays(
            members in proptest::collection::vec((0..4u8, proptest::bool::weighted(0.8)), 1..12),
            current in proptest::collection::btree_set(0..14u8, 0..6),
        ) {
            let members: Vec<Elector> = members
                .iter()
                .enumerate()
                .map(|(number, (zone, is_fit))| Elector {
                    id: id(number as u8),
                    zone: zone.to_string(),
                    is_fit: *is_fit,
                })
                .collect();
            let current: Vec<NodeId> = current.into_iter().map(id).collect();
            let chosen = choose(&current, &members);
            assert!(!chosen.is_empty() && chosen.len() <= voters_for(members.len()));
            assert!(chosen.is_sorted() && chosen.windows(2).all(|pair| pair[0] != pair[1]));
            let fit = members.iter().filter(|member| member.is_fit).count();
            let taken = members.iter().filter(|member| member.is_fit && chosen.contains(&member.id)).count();
            assert_eq!(taken, fit.min(voters_for(members.len())), "fit members vote before others");
            assert_eq!(choose(&chosen, &members), chosen, "chosen again, they stay");
        }
    }
}
