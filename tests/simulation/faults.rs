//! What goes wrong, by a seed.
//!
//! Only what the design survives without an operator: a process without a data directory takes its vote with it, so
//! one is killed only while a majority of the voters keeps what it knows.

use std::time::Duration;

use larder::base::rng::Rng;
use larder::hub::cluster::Wish;
use larder::peer::raft::Status;

use crate::World;

/// Most machines at a time.
const HOSTS_MAX: usize = 6;
/// Fewest nodes that stay when one is to leave.
const STAY_MIN: usize = 3;
/// Longest pause between two faults, in ms.
const PAUSE_MS: u64 = 2_500;
/// Longest that a node takes to leave, in virtual time, before it is given up.
const LEAVE_MS: u64 = 30_000;

/// The faults; see the module.
pub struct Faults {
    rng: Rng,
}

impl Faults {
    /// The faults of a seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::seeded(seed ^ 0xFA17) }
    }

    fn any(&mut self, world: &World) -> usize {
        self.rng.below(world.hosts.len() as u64) as usize
    }

    /// Something happens, and some time passes.
    pub fn strike(&mut self, world: &mut World) {
        match self.rng.below(13) {
            0 => self.part(world),
            1 => self.part_one_way(world),
            2 | 3 => self.hold(world),
            4 | 5 => heal(world),
            6 | 7 => self.crash(world),
            8 | 9 => self.restart(world),
            10 => self.join(world),
            11 => self.drain(world),
            _ => self.slow_down(world),
        }
        let pause_ms = self.rng.below(PAUSE_MS);
        world.pass(pause_ms);
    }

    /// The network parts in two.
    fn part(&mut self, world: &mut World) {
        let side: Vec<bool> = world.hosts.iter().map(|_| self.rng.below(2) == 0).collect();
        let names = |wanted: bool| {
            let on_side =
                |&(host, &side): &(&crate::host::Host, &bool)| side == wanted && !host.name.is_empty();
            let hosts = world.hosts.iter().zip(&side).filter(on_side);
            hosts.map(|(host, _)| host.name.clone()).collect::<Vec<_>>()
        };
        let (left, right) = (names(true), names(false));
        world.tell(&format!("the network parts: {left:?} from {right:?}"));
        for one in &left {
            for other in &right {
                world.sim.partition(one.as_str(), other.as_str());
            }
        }
    }

    /// What one node sends does not reach another, or anybody.
    fn part_one_way(&mut self, world: &mut World) {
        let from = self.any(world);
        let to = self.any(world);
        let to_all = self.rng.below(2) == 0;
        for other in (0..world.hosts.len()).filter(|other| *other != from && (to_all || *other == to)) {
            let (from, to) = (&world.hosts[from].name, &world.hosts[other].name);
            world.tell(&format!("{from} no longer reaches {to}"));
            world.sim.partition_oneway(from.as_str(), to.as_str());
        }
    }

    /// A machine is cut off for a while, and everything sent meanwhile arrives afterwards.
    fn hold(&mut self, world: &mut World) {
        let held = self.any(world);
        let name = world.hosts[held].name.clone();
        world.tell(&format!("{name} is held back"));
        for other in (0..world.hosts.len()).filter(|other| *other != held) {
            world.sim.hold(name.as_str(), world.hosts[other].name.as_str());
        }
        let held_ms = self.rng.below(6_000);
        world.pass(held_ms);
        world.tell(&format!("{name} is released"));
        for other in (0..world.hosts.len()).filter(|other| *other != held) {
            world.sim.release(name.as_str(), world.hosts[other].name.as_str());
        }
    }

    fn crash(&mut self, world: &mut World) {
        let victim = self.any(world);
        if !world.hosts[victim].is_up() || !may_die(world, victim) {
            return;
        }
        world.tell(&format!("{} is killed", world.hosts[victim].name));
        world.hosts[victim].crash(&mut world.sim);
    }

    fn restart(&mut self, world: &mut World) {
        let number = self.any(world);
        start(world, number);
    }

    fn join(&mut self, world: &mut World) {
        if world.hosts.iter().filter(|host| !host.has_left).count() < HOSTS_MAX {
            world.add_host();
            world.tell(&format!("{} is new", world.hosts[world.hosts.len() - 1].name));
        }
    }

    /// A node leaves, in peace; nothing else goes wrong meanwhile.
    fn drain(&mut self, world: &mut World) {
        let leaver = self.any(world);
        let staying = world.hosts.iter().filter(|host| host.is_up()).count();
        let is_calm = world.seen.missing(&world.hosts).is_none();
        if !is_calm || staying <= STAY_MIN || !world.hosts[leaver].is_up() {
            return;
        }
        let Some(node) = world.hosts[leaver].node() else { return };
        // All can be well in a network that is not whole: a node that only one voter reaches gets its leases by that one,
        // but no slots from the others.
        heal(world);
        world.tell(&format!("{} is to leave", world.hosts[leaver].name));
        let Ok(mut outcome) = node.hub().cluster.wish(Wish::Drain(None)) else { return };
        drop(node);
        for _ in 0..LEAVE_MS / 100 {
            world.pass(100);
            match outcome.try_recv() {
                Ok(done) => {
                    world.tell(&format!("{} has left: {done:?}", world.hosts[leaver].name));
                    if done.is_ok() {
                        world.hosts[leaver].crash(&mut world.sim);
                        world.hosts[leaver].has_left = true;
                    }
                    return;
                }
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {}
                Err(error) => panic!("the wish was dropped: {error}"),
            }
        }
        let missing = world.seen.missing(&world.hosts);
        let table = world.hosts[leaver].node().map(|node| {
            let table = node.tables().newest();
            let member = table.member(node.id());
            let standing = member.map(|member| member.standing);
            format!("{standing:?} with {:?}, moves {:?}", table.ranges_of(node.id()), table.moves)
        });
        panic!(
            "S9: {} has not left after {LEAVE_MS} ms of peace: it is {table:?}; missing: {missing:?}",
            world.hosts[leaver].name
        );
    }

    fn slow_down(&mut self, world: &mut World) {
        let latency_ms = 1 + self.rng.below(150);
        world.tell(&format!("messages take up to {latency_ms} ms"));
        world.sim.set_max_message_latency(Duration::from_millis(latency_ms));
    }

    /// All is well from here on: everybody runs and everybody is reached.
    pub fn end(&mut self, world: &mut World) {
        heal(world);
        for number in 0..world.hosts.len() {
            start(world, number);
        }
        world.sim.set_max_message_latency(Duration::from_millis(10));
    }
}

/// Every connection works again; those that lost something are still to be found out.
fn heal(world: &mut World) {
    world.tell("the network is whole");
    for one in 0..world.hosts.len() {
        for other in one + 1..world.hosts.len() {
            let (one, other) = (&world.hosts[one].name, &world.hosts[other].name);
            world.sim.repair(one.as_str(), other.as_str());
        }
    }
}

fn start(world: &mut World, number: usize) {
    let host = &mut world.hosts[number];
    if host.is_up() || host.has_left {
        return;
    }
    host.restart(&mut world.sim);
    world.tell(&format!("{} is started again", world.hosts[number].name));
}

/// Whether a majority of the voters still keeps its votes without this node.
fn may_die(world: &World, victim: usize) -> bool {
    if world.hosts[victim].is_durable {
        return true;
    }
    let statuses = world.hosts.iter().filter_map(|host| host.node());
    let statuses = statuses.map(|node| node.agreement().status().borrow().clone());
    let leading = statuses.filter(|status: &Status| status.is_leader).max_by_key(|status| status.term);
    let Some(leading) = leading.filter(|status| status.learners.is_empty()) else { return false };
    let keeps = |voter| {
        let mut others = world.hosts.iter().enumerate().filter(|(number, _)| *number != victim);
        others.any(|(_, host)| !host.has_left && host.known_as == Some(voter))
    };
    let kept = leading.voters.iter().filter(|voter| keeps(**voter)).count();
    2 * kept > leading.voters.len()
}
