//! Those who were to vote on a new cluster die, with all they knew, after it was begun and before it has come about.
//!
//! It used to wait for them for ever, with everybody who had promised to follow: they come back as nodes that nobody knows.

use crate::host::Host;
use crate::{FORM_MS, STEP_MS, World};

/// Seeds that each story is told with.
const SEEDS: u64 = 30;
/// Time for which the dead are gone.
const GONE_MS: u64 = 1_000;

impl World {
    /// The machine whose node has begun to found a cluster that nobody knows yet; lets time pass until there is one.
    fn founder(&mut self) -> usize {
        for _ in 0..FORM_MS / STEP_MS {
            self.step();
            let has_begun = |host: &Host| {
                let node = host.node();
                node.is_some_and(|node| !node.agreement().status().borrow().voters.is_empty())
            };
            if let Some(founder) = self.hosts.iter().position(has_begun) {
                return founder;
            }
        }
        panic!("nobody founds anything");
    }

    fn is_founded(&self) -> bool {
        let mut nodes = self.hosts.iter().filter_map(Host::node);
        nodes.any(|node| node.tables().newest().cluster.is_founded())
    }
}

/// What happens to whom once the founding has begun.
#[derive(Clone, Copy, PartialEq)]
enum Story {
    /// All other voters die.
    VotersDie,
    /// One of them does: the others agree without it.
    OneVoterDies,
    /// All die, and only the founder has a disk.
    AllDie,
}

/// Plays a story; nothing if the founder is not who it is about. Gives the time until all were one cluster, in ms.
fn play(seed: u64, story: Story, durable: &[bool]) -> Option<u64> {
    let mut world = World::of(seed, durable);
    let founder = world.founder();
    if durable.contains(&true) && !durable[founder] {
        world.hosts.iter_mut().for_each(|host| host.crash(&mut world.sim));
        return None;
    }
    assert!(!world.is_founded(), "the founding is quicker than a step");
    let others = (0..world.hosts.len()).filter(|number| *number != founder);
    let dead: Vec<usize> = match story {
        Story::VotersDie => others.collect(),
        Story::OneVoterDies => others.take(1).collect(),
        Story::AllDie => others.chain([founder]).collect(),
    };
    for number in &dead {
        world.hosts[*number].crash(&mut world.sim);
    }
    world.pass(GONE_MS);
    for number in &dead {
        world.hosts[*number].restart(&mut world.sim);
    }
    let took_ms = world.settle(FORM_MS);
    assert_eq!(world.seen.newest().members.len(), durable.len());
    world.hosts.iter_mut().for_each(|host| host.crash(&mut world.sim));
    Some(took_ms)
}

fn tell(name: &str, story: Story, durable: &[bool]) {
    let took: Vec<u64> = (0..SEEDS).filter_map(|seed| play(seed, story, durable)).collect();
    assert!(!took.is_empty(), "the founder was never who the story is about");
    println!(
        "{name}: one cluster after {} ms at most, {} times of {SEEDS}",
        took.iter().max().unwrap_or(&0),
        took.len()
    );
}

#[test]
fn a_founder_whose_voters_die_founds_with_those_who_come_after_them() {
    tell("without disks", Story::VotersDie, &[false; 3]);
    tell("the founder has a disk", Story::VotersDie, &[true, false, false]);
    tell("the founder has a disk and dies, too", Story::AllDie, &[true, false, false]);
    tell("one voter dies", Story::OneVoterDies, &[false; 3]);
    tell("of five", Story::VotersDie, &[false; 5]);
}
