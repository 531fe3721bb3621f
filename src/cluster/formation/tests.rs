//! Cold starts of several nodes over a network that loses, repeats, delays and reorders, with nodes that restart; after
//! every step no two clusters may be known to anyone, and once faults have ended there must be one. A failure names the
//! seed that repeats it.
//!
//! Founding takes a while: it comes about when its founder reaches most of the voters that it began with, each of whom may
//! be another process by then, and not all of those who agreed know it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::super::voters::voters_for;
use super::{Formation, Memory, Message, Output, Peer, Sender, Settings, View};
use super::{PATIENCE_MS, RETRY_MS};
use crate::base::rng::Rng;
use crate::cluster::id::{ClusterId, NodeId};

/// A place where one process after the other runs.
struct Node {
    address: SocketAddr,
    durable: bool,
    id: NodeId,
    incarnation: u64,
    /// What outlasts the process if `durable`.
    remembered: Memory,
    cluster: Option<ClusterId>,
    /// The founding that its process works at.
    founding: Option<usize>,
    /// The founding that its log is of; goes with the disk.
    log: Option<usize>,
    /// None while the node is down.
    process: Option<Formation>,
}

struct World {
    now_ms: u64,
    rng: Rng,
    expect: usize,
    seeds: Vec<SocketAddr>,
    nodes: Vec<Node>,
    /// Whether the first hears and sees the second.
    linked: Vec<Vec<bool>>,
    /// Of 100 messages.
    lost: u64,
    delay_max_ms: u64,
    /// By arrival and a number: sender, receiver's place, message.
    wire: BTreeMap<(u64, u64), (Sender, usize, Message)>,
    sent: u64,
    ids: u64,
    /// What was begun: voters and members.
    begun: Vec<(Vec<NodeId>, Vec<NodeId>)>,
    /// Which of that came about.
    founded: Vec<usize>,
}

fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, place as u8 + 1], 16_379))
}

fn id(number: u64) -> NodeId {
    let mut bytes = [0; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    NodeId(bytes)
}

impl World {
    /// Nodes with the ids 1, 2 and so on, all of them seeds, all linked.
    fn new(durable: &[bool], expect: usize, seed: u64) -> Self {
        let count = durable.len();
        let mut world = Self {
            now_ms: 1_000,
            rng: Rng::seeded(seed),
            expect,
            seeds: (0..count).map(address).collect(),
            nodes: Vec::new(),
            linked: vec![vec![true; count]; count],
            lost: 0,
            delay_max_ms: 20,
            wire: BTreeMap::new(),
            sent: 0,
            ids: 0,
            begun: Vec::new(),
            founded: Vec::new(),
        };
        for (place, &durable) in durable.iter().enumerate() {
            let (address, id) = (address(place), NodeId::default());
            let node = Node {
                address,
                durable,
                id,
                incarnation: 0,
                remembered: Memory::default(),
                cluster: None,
                founding: None,
                log: None,
                process: None,
            };
            world.nodes.push(node);
            world.start(place);
        }
        world
    }

    fn start(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.incarnation += 1;
        if !node.durable || node.incarnation == 1 {
            self.ids += 1;
            // Restarts draw ids from below and above those of others.
            let number = if self.ids <= 10 { self.ids } else { 1_000 - self.rng.below(2) * 900 - self.ids };
            (node.id, node.remembered, node.cluster) = (id(number), Memory::default(), None);
            node.log = None;
        }
        node.founding = None;
        let settings = Settings {
            id: node.id,
            incarnation: node.incarnation,
            address: node.address,
            durable: node.durable,
            expect: self.expect,
            patience_ms: PATIENCE_MS,
            retry_ms: RETRY_MS,
        };
        node.process = Some(Formation::new(settings, node.remembered, self.now_ms));
    }

    fn stop(&mut self, place: usize) {
        self.nodes[place].process = None;
        self.nodes[place].founding = None;
        if !self.nodes[place].durable {
            self.nodes[place].cluster = None;
        }
    }

    fn cut(&mut self, sides: &[&[usize]]) {
        let together = |one, other| sides.iter().any(|side| side.contains(&one) && side.contains(&other));
        for (one, row) in self.linked.iter_mut().enumerate() {
            for (other, linked) in row.iter_mut().enumerate() {
                *linked = together(one, other);
            }
        }
    }

    fn heal(&mut self) {
        self.linked.iter_mut().flatten().for_each(|linked| *linked = true);
    }

    fn peers(&self, place: usize) -> Vec<Peer> {
        let seen = |other: &usize| {
            *other != place && self.linked[place][*other] && self.nodes[*other].process.is_some()
        };
        let peer = |node: &Node| Peer {
            id: node.id,
            incarnation: node.incarnation,
            address: node.address,
            founded: node.cluster,
        };
        (0..self.nodes.len()).filter(seen).map(|other| peer(&self.nodes[other])).collect()
    }

    fn obey(&mut self, place: usize, outputs: Vec<Output>) {
        for output in outputs {
            let node = &mut self.nodes[place];
            match output {
                Output::Remember(memory) => node.remembered = memory,
                Output::Join { cluster } => node.cluster = Some(cluster),
                Output::Initialise { voters, members, complete } => {
                    assert_eq!(voters[0], node.id);
                    assert_eq!(voters.len(), voters_for(members.len()).min(members.len()));
                    let is_over = |log: &usize| {
                        let before = &self.begun[*log].0;
                        2 * before.iter().filter(|id| members.contains(id)).count() <= before.len()
                    };
                    node.log = node.log.filter(|log| !complete || !is_over(log));
                    if node.log.is_none() {
                        node.log = Some(self.begun.len());
                        self.begun.push((voters, members));
                    }
                    node.founding = node.log;
                }
                Output::Send { address, message, .. } => {
                    let from = Sender { id: node.id, incarnation: node.incarnation, address: node.address };
                    let Some(to) = self.nodes.iter().position(|node| node.address == address) else {
                        continue;
                    };
                    for _ in 0..1 + u64::from(self.rng.below(20) == 0) {
                        if self.linked[to][place] && self.rng.below(100) >= self.lost {
                            self.sent += 1;
                            let at_ms = self.now_ms + 1 + self.rng.below(self.delay_max_ms);
                            self.wire.insert((at_ms, self.sent), (from, to, message));
                        }
                    }
                }
            }
        }
    }

    /// The founding of the node at `place` comes about, if that reaches enough of its voters. Who of them knows is left to
    /// chance; where nobody does, it is as if it had not.
    fn agree(&mut self, place: usize) {
        let Some(own) = self.nodes[place].founding else { return };
        let reached: Vec<usize> = (0..self.nodes.len())
            .filter(|&other| self.linked[place][other] && self.linked[other][place] || other == place)
            .filter(|&other| self.nodes[other].process.is_some())
            .collect();
        // A voter of an earlier founding who is reached may have others of it behind it.
        let logs: Vec<usize> = reached.iter().filter_map(|&other| self.nodes[other].log).collect();
        for begun in logs {
            let voters: Vec<usize> = reached
                .iter()
                .filter(|&&other| self.begun[begun].0.contains(&self.nodes[other].id))
                .filter(|&&other| self.nodes[other].log.is_none_or(|log| log == begun))
                .copied()
                .collect();
            if begun == own {
                voters.iter().for_each(|&voter| self.nodes[voter].log = Some(begun));
            }
            let have = voters.iter().filter(|&&voter| self.nodes[voter].log == Some(begun)).count();
            if 2 * have <= self.begun[begun].0.len() {
                continue;
            }
            let cluster = ClusterId(begun as u128 + 1);
            if !self.founded.contains(&begun) {
                self.founded.push(begun);
            }
            for voter in voters {
                if self.rng.below(2) == 0 && self.nodes[voter].cluster.is_none() {
                    self.nodes[voter].cluster = Some(cluster);
                }
            }
            return;
        }
    }

    /// What a founder does until it knows the cluster.
    fn pursue(&mut self, place: usize) {
        let peers = self.peers(place);
        let view = View { peers: &peers, seeds: &self.seeds };
        let node = &mut self.nodes[place];
        if let Some(cluster) = super::founded(view) {
            node.cluster = Some(cluster);
            return;
        }
        let given_up = node.process.as_mut().and_then(|process| process.give_up_founding(view));
        match given_up {
            Some(outputs) => {
                (node.founding, node.log) = (None, None);
                self.obey(place, outputs);
            }
            None => self.agree(place),
        }
    }

    /// Whatever arrives now, and now and then a look at the view; then the invariant.
    fn step(&mut self) {
        self.now_ms += 10;
        while let Some(entry) = self.wire.first_entry()
            && entry.key().0 <= self.now_ms
        {
            let (from, to, message) = entry.remove();
            self.with(to, |process, now_ms, view| process.receive(now_ms, view, from, message));
        }
        for place in 0..self.nodes.len() {
            if self.rng.below(10) == 0 {
                self.with(place, Formation::tick);
            }
        }
        let known: Vec<u128> = self.nodes.iter().filter_map(|node| node.cluster.map(|id| id.0)).collect();
        assert!(known.windows(2).all(|pair| pair[0] == pair[1]), "two clusters: {:?}", self.founded);
    }

    fn with(&mut self, place: usize, act: impl FnOnce(&mut Formation, u64, View<'_>) -> Vec<Output>) {
        let peers = self.peers(place);
        let view = View { peers: &peers, seeds: &self.seeds };
        let now_ms = self.now_ms;
        // A member does not start cold: neither does a process that finds on disk that it is one.
        let node = &mut self.nodes[place];
        if node.cluster.is_none() && node.founding.is_some() {
            self.pursue(place);
        } else if node.cluster.is_none()
            && let Some(process) = &mut node.process
        {
            let outputs = act(process, now_ms, view);
            self.obey(place, outputs);
        }
    }

    fn run_ms(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while self.now_ms < end_ms {
            self.step();
        }
    }

    fn all_in_one(&self) -> bool {
        self.nodes.iter().all(|node| node.cluster.is_some() && node.process.is_some())
    }
}

#[test]
fn a_lone_node_founds_at_once() {
    let mut world = World::new(&[false], 1, 1);
    world.seeds.clear();
    world.run_ms(500);
    assert_eq!(world.founded.len(), 1);
    assert!(world.all_in_one());
}

#[test]
fn nodes_that_see_each_other_found_one_within_seconds() {
    for count in [2, 3, 6, 10] {
        for durable in [false, true] {
            let mut world = World::new(&vec![durable; count], count, count as u64);
            world.run_ms(3_000);
            assert!(world.all_in_one(), "{count}");
            assert_eq!(world.founded.len(), 1);
            assert_eq!(world.begun[world.founded[0]].1.len(), count);
        }
    }
}

#[test]
fn overlapping_views_of_five_found_one_cluster() {
    // {1,2,3} and {3,4,5}, each with its own lowest id: the third promises once.
    let mut world = World::new(&[true; 5], 3, 5);
    world.cut(&[&[0, 1, 2], &[2, 3, 4]]);
    world.run_ms(PATIENCE_MS + 5_000);
    assert_eq!(world.founded.len(), 1, "{:?}", world.founded);
    // With nothing on disk, the third might restart: nobody may be missing.
    let mut world = World::new(&[false; 5], 3, 5);
    world.cut(&[&[0, 1, 2], &[2, 3, 4]]);
    world.run_ms(PATIENCE_MS + 5_000);
    assert_eq!(world.founded.len(), 0);
    world.heal();
    world.run_ms(5_000);
    assert!(world.all_in_one());
}

#[test]
fn halves_found_nothing_and_one_after_they_meet() {
    for durable in [false, true] {
        for expect in [3, 6] {
            let mut world = World::new(&[durable; 6], expect, 6);
            world.cut(&[&[0, 1, 2], &[3, 4, 5]]);
            world.run_ms(PATIENCE_MS + 5_000);
            assert_eq!(world.founded.len(), 0);
            world.heal();
            world.run_ms(5_000);
            assert!(world.all_in_one());
        }
    }
}

#[test]
fn a_majority_founds_after_patience_if_it_has_disks() {
    let mut world = World::new(&[true; 3], 3, 3);
    world.stop(0);
    world.run_ms(PATIENCE_MS - 1_000);
    assert_eq!(world.founded.len(), 0);
    world.run_ms(3_000);
    assert_eq!(world.founded.len(), 1);
    let mut world = World::new(&[false; 3], 3, 3);
    world.stop(0);
    world.run_ms(PATIENCE_MS + 3_000);
    assert_eq!(world.founded.len(), 0);
    let peers = world.peers(1);
    let process = world.nodes[1].process.as_ref().expect("it runs");
    let waiting = process.waiting_for(View { peers: &peers, seeds: &world.seeds });
    assert_eq!(waiting, "2 of 3 nodes seen, no node at the seeds 10.0.0.1:16379, 2 have promised");
}

#[test]
fn a_promise_outlasts_its_giver_and_ends_with_its_asker() {
    for durable in [false, true] {
        let mut world = World::new(&[durable; 3], 3, 9);
        world.stop(2);
        world.run_ms(2_000);
        assert_eq!(world.nodes[1].remembered.held.map(|held| held.asker), Some(id(1)));
        // Both restart: what is on disk holds the second until the first says that it is another process.
        world.stop(0);
        world.stop(1);
        world.start(1);
        let held = world.nodes[1].remembered.held;
        assert_eq!(held.is_some(), durable);
        world.run_ms(2_000);
        assert_eq!(world.nodes[1].remembered.held.map(|held| held.asker == id(1)).unwrap_or(false), durable);
        world.start(0);
        world.start(2);
        world.run_ms(3_000);
        assert!(world.all_in_one());
    }
}

#[test]
fn an_asker_without_disk_that_moved_is_given_up() {
    let mut world = World::new(&[false; 3], 3, 4);
    world.stop(2);
    world.run_ms(1_000);
    world.stop(0);
    world.nodes[0].address = SocketAddr::from(([10, 0, 1, 1], 16_379));
    world.seeds[0] = world.nodes[0].address;
    world.start(0);
    world.start(2);
    world.run_ms(PATIENCE_MS / 2);
    assert_eq!(world.founded.len(), 0, "its promise may still count with the asker");
    world.run_ms(PATIENCE_MS);
    assert!(world.all_in_one());
}

#[test]
fn a_late_node_joins_what_it_hears_of() {
    let mut world = World::new(&[false; 4], 3, 2);
    world.seeds.pop();
    world.stop(3);
    world.run_ms(2_000);
    assert_eq!(world.founded.len(), 1);
    world.start(3);
    world.run_ms(2_000);
    assert!(world.all_in_one());
    assert_eq!(world.founded.len(), 1);
}

/// The one that everybody had promised waited for voters that nobody would ever be again.
#[test]
fn a_founder_whose_voters_are_gone_begins_anew() {
    for is_durable in [false, true] {
        // The first founds: it has the lowest id.
        let mut world = World::new(&[is_durable, false, false], 3, 8);
        while world.begun.is_empty() {
            world.step();
        }
        assert_eq!(world.nodes[0].founding, Some(0));
        for place in [1, 2] {
            world.stop(place);
        }
        world.run_ms(PATIENCE_MS + 1_000);
        assert!(world.founded.is_empty(), "its voters may only be out of reach");
        world.start(1);
        world.run_ms(3_000);
        // As long as only one has been replaced there are two who may agree.
        assert!(world.founded.is_empty());
        assert_eq!(world.nodes[0].founding, Some(0));
        world.start(2);
        world.run_ms(5_000);
        assert!(world.all_in_one());
        assert_eq!(world.founded, [1]);
        assert!(world.nodes[0].remembered.doubtful);
    }
}

/// Parts the nodes in two; sometimes one side still hears the other, and sometimes one node is on both.
fn cut_at_random(world: &mut World, rng: &mut Rng) {
    let count = world.nodes.len();
    let side = rng.below(1 << count);
    let one_sided = rng.below(3) == 0;
    let on_both = rng.below(2 * count as u64) as usize;
    for one in 0..count {
        for other in 0..count {
            let same = side >> one & 1 == side >> other & 1;
            let both = one == on_both || other == on_both;
            world.linked[one][other] = same || both || one_sided && side >> one & 1 == 1;
        }
    }
}

/// Loss, repetition, delay, cuts, restarts; then a time without.
fn turmoil(seed: u64) {
    let mut rng = Rng::seeded(seed);
    let count = 2 + rng.below(5) as usize;
    let disks = rng.below(3);
    let durable: Vec<bool> = (0..count).map(|_| disks == 2 || disks == 1 && rng.below(2) == 0).collect();
    // Either all are expected, or all are seeds: else sets need not meet.
    let all_expected = rng.below(2) == 0;
    let expect = if all_expected { count } else { 1 + rng.below(count as u64) as usize };
    let mut world = World::new(&durable, expect, seed);
    if all_expected {
        world.seeds.truncate(1 + rng.below(count as u64) as usize);
    }
    world.lost = rng.below(60);
    world.delay_max_ms = 1 + rng.below(3_000);
    cut_at_random(&mut world, &mut rng);
    for _ in 0..rng.below(30) {
        let longest_ms = if rng.below(5) == 0 { 40_000 } else { 2_000 };
        let pause_ms = rng.below(longest_ms);
        world.run_ms(pause_ms);
        let place = rng.below(count as u64) as usize;
        match rng.below(8) {
            0 => world.heal(),
            1..=4 => cut_at_random(&mut world, &mut rng),
            _ if world.nodes[place].process.is_some() => world.stop(place),
            _ => world.start(place),
        }
    }
    world.heal();
    world.lost = 0;
    for place in 0..count {
        if world.nodes[place].process.is_none() {
            world.start(place);
        }
    }
    let settle_ms = 2 * world.delay_max_ms + 5_000;
    world.run_ms(settle_ms);
    assert!(world.all_in_one(), "nothing was founded: {:?}", world.founded);
}

#[test]
fn turmoil_never_founds_two_and_peace_founds_one() {
    for seed in 0..4_000 {
        let outcome = std::panic::catch_unwind(|| turmoil(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
