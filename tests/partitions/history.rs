//! What clients saw, and whether one register for each key can have shown it. Pure.
//!
//! Every value is written once, so that an answer tells whose write it saw. A key may be wiped at any time, because a
//! node that dies takes its keys along; but what was wiped or overwritten never comes back. The zones are those of
//! Gibbons and Korach ("Testing shared memories", 1997): a value must have been there from the first end of anything
//! that saw it until the last beginning of anything that saw it, and no two values can have been there at once.

use std::collections::{BTreeMap, BTreeSet};

/// An end of which nothing is known: the answer never came.
pub const NEVER: u64 = u64::MAX;

/// One command that a node answered with data, or did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which key.
    pub key: usize,
    /// Who answered.
    pub node: usize,
    /// Whether it wrote the value; otherwise it read it.
    pub wrote: bool,
    /// The value; nothing if the key was not there.
    pub value: Option<u64>,
    /// When it was sent, in ns.
    pub sent_ns: u64,
    /// When it was answered, in ns; [`NEVER`] for a write whose fate is unknown.
    pub answered_ns: u64,
}

/// When a value is known to have been there, or, the other way round, a time within which it was.
#[derive(Clone, Copy, Debug)]
struct Zone {
    value: Option<u64>,
    first_end: u64,
    last_start: u64,
}

impl Zone {
    fn of(value: Option<u64>, seen: &[&Seen]) -> Zone {
        let first_end = seen.iter().map(|seen| seen.answered_ns).min().unwrap_or(NEVER);
        let last_start = seen.iter().map(|seen| seen.sent_ns).max().unwrap_or(0);
        Zone { value, first_end, last_start }
    }

    /// Whether the value was there all the time from one to the other.
    fn is_forward(&self) -> bool {
        self.first_end < self.last_start
    }
}

/// What no register can have shown; empty if all is well.
pub fn faults(history: &[Seen]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, seen) in by_key(history) {
        let mut values: BTreeMap<u64, Vec<&Seen>> = BTreeMap::new();
        let mut zones = Vec::new();
        for one in &seen {
            match one.value {
                Some(value) => values.entry(value).or_default().push(one),
                // Each time that a key was not there may be another.
                None => zones.push(Zone::of(None, &[one])),
            }
        }
        for (value, seen) in values {
            match seen.iter().find(|one| one.wrote) {
                None => found.push(format!("key {key}: nobody wrote {value}: {seen:?}")),
                Some(write) => {
                    let early = seen.iter().find(|one| !one.wrote && one.answered_ns < write.sent_ns);
                    found.extend(early.map(|one| format!("key {key}: {value} read before written: {one:?}")));
                }
            }
            zones.push(Zone::of(Some(value), &seen));
        }
        found.extend(clashes(&zones).map(|(zone, other)| {
            format!("key {key}: {other:?} was there while {zone:?} was: {:?}", of_both(&seen, &zone, &other))
        }));
    }
    found
}

/// Pairs of zones of which one value cannot have been there beside the other.
fn clashes(zones: &[Zone]) -> impl Iterator<Item = (Zone, Zone)> {
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = zones.iter().partition(|zone| zone.is_forward());
    forward.sort_by_key(|zone| zone.first_end);
    let beside: Vec<(Zone, Zone)> = forward
        .windows(2)
        .filter(|pair| pair[1].first_end < pair[0].last_start)
        .map(|pair| (pair[0], pair[1]))
        .collect();
    let within = backward.into_iter().filter_map(move |zone| {
        let after = forward.partition_point(|one| one.first_end < zone.last_start);
        let around = forward[..after].last()?;
        (zone.first_end < around.last_start).then_some((*around, zone))
    });
    beside.into_iter().chain(within)
}

fn of_both(seen: &[Seen], zone: &Zone, other: &Zone) -> Vec<Seen> {
    let is_of = |one: &&Seen| one.value == zone.value || one.value.is_some() && one.value == other.value;
    seen.iter().filter(is_of).copied().collect()
}

/// Keys that a node answered for after another had already answered in its place, though nothing can have given them
/// back to it: for a history in which each key changes hands once at most.
pub fn returns(history: &[Seen]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, seen) in by_key(history) {
        let answered: Vec<Seen> = seen.into_iter().filter(|one| one.answered_ns != NEVER).collect();
        let nodes: BTreeSet<usize> = answered.iter().map(|one| one.node).collect();
        for node in nodes {
            let own = || answered.iter().filter(|one| one.node == node);
            let first_end = own().map(|one| one.answered_ns).min().unwrap_or(NEVER);
            let last = own().max_by_key(|one| one.sent_ns);
            let between = answered.iter().find(|one| {
                let ended_before = last.is_some_and(|last| one.answered_ns < last.sent_ns);
                one.node != node && first_end < one.sent_ns && ended_before
            });
            found.extend(between.map(|one| format!("key {key}: {last:?} although before it {one:?}")));
        }
    }
    found
}

fn by_key(history: &[Seen]) -> BTreeMap<usize, Vec<Seen>> {
    let mut keys: BTreeMap<usize, Vec<Seen>> = BTreeMap::new();
    history.iter().for_each(|seen| keys.entry(seen.key).or_default().push(*seen));
    keys
}

#[cfg(test)]
mod tests {
    use super::{NEVER, Seen, faults, returns};

    fn wrote(node: usize, value: u64, sent_ns: u64, answered_ns: u64) -> Seen {
        Seen { key: 0, node, wrote: true, value: Some(value), sent_ns, answered_ns }
    }

    fn read(node: usize, value: Option<u64>, sent_ns: u64, answered_ns: u64) -> Seen {
        Seen { key: 0, node, wrote: false, value, sent_ns, answered_ns }
    }

    #[test]
    fn what_a_register_can_show_is_no_fault() {
        for history in [
            vec![],
            vec![read(0, None, 0, 1), wrote(0, 1, 2, 3), read(0, Some(1), 4, 5), wrote(0, 2, 6, 7)],
            // The owner died; the next begins with nothing.
            vec![wrote(0, 1, 0, 1), read(1, None, 2, 3), wrote(1, 2, 4, 5), read(1, Some(2), 6, 7)],
            // Two writes at once, read in either order of their answers.
            vec![wrote(0, 1, 0, 10), wrote(0, 2, 0, 10), read(0, Some(1), 11, 12)],
            // A write of which nothing is known may come late, or never.
            vec![wrote(0, 1, 0, NEVER), wrote(0, 2, 1, 2), read(0, Some(2), 3, 4), read(0, Some(1), 5, 6)],
            vec![wrote(0, 1, 0, NEVER), wrote(0, 2, 1, 2), read(0, Some(2), 3, 4)],
        ] {
            assert_eq!(faults(&history), Vec::<String>::new(), "{history:?}");
        }
    }

    #[test]
    fn what_no_register_can_show_is_found() {
        for history in [
            // Overwritten, and read again.
            vec![wrote(0, 1, 0, 1), wrote(1, 2, 2, 3), read(0, Some(1), 4, 5)],
            // Wiped, and there again.
            vec![wrote(0, 1, 0, 1), read(1, None, 2, 3), read(0, Some(1), 4, 5)],
            // Two owners.
            vec![
                wrote(0, 1, 0, 1),
                wrote(1, 2, 0, 1),
                read(0, Some(1), 2, 3),
                read(1, Some(2), 2, 3),
                read(0, Some(1), 4, 5),
                read(1, Some(2), 4, 5),
            ],
            // Out of nowhere, and out of the future.
            vec![read(0, Some(7), 0, 1)],
            vec![read(0, Some(1), 0, 1), wrote(0, 1, 2, 3)],
            // Replaced by a write of which nothing is known, which was seen; and back.
            vec![wrote(0, 1, 0, 1), wrote(0, 2, 2, NEVER), read(0, Some(2), 3, 4), read(0, Some(1), 5, 6)],
        ] {
            assert_ne!(faults(&history), Vec::<String>::new(), "{history:?}");
        }
    }

    #[test]
    fn an_owner_that_answers_again_is_found() {
        let handed_over = vec![read(0, None, 0, 1), read(1, None, 2, 3), read(1, None, 4, 5)];
        assert_eq!(returns(&handed_over), Vec::<String>::new());
        let at_once = vec![read(0, None, 0, 1), read(1, None, 2, 6), read(0, None, 4, 5)];
        assert_eq!(returns(&at_once), Vec::<String>::new());
        let back = vec![read(0, None, 0, 1), read(1, None, 2, 3), read(0, None, 4, 5)];
        assert_ne!(returns(&back), Vec::<String>::new());
    }
}
