//! Whole nodes in simulated networks, under virtual time and by seeds: what must hold at every step of them.
//!
//! Three to six nodes form a cluster, take part in it and leave it while the network parts, holds back, delays and loses
//! what they send, processes are killed and started again, with and without what they had on disk, and every machine's
//! clock runs at a rate of its own (0.95 to 1.05) from a point of its own. Clients write and read all the while. Checked
//! between steps of 5 ms, by the numbers of the cluster's promises:
//!
//! - S1: no two nodes serve one slot at one instant, each by its own clock.
//! - S5: one version is one table.
//! - S6: a key never goes back, and is lost only with a process that died; what is lost does not come back.
//! - S8: there is one cluster.
//! - S9: once all is well, everything is served by one node each, where the placement wants it, under one leader, and what one
//!   node publishes reaches all.
//! - S10: what is published arrives once at most, and in the order of its publisher.
//!
//! `LARDER_SIM_SEEDS=100000 cargo test --profile checks --test simulation` runs more seeds than every run does, from
//! `LARDER_SIM_FROM` on (0 if not given); `LARDER_SIM_SEED=n` runs that one and tells its story, with what the nodes log. A failure names its
//! seed. The seed decides faults, clocks, delays, ids and timeouts. It does not decide the order in which hash maps are
//! walked or tokio wakes those who watch one value, so that a failure may take a few runs to come back.

mod checks;
mod clients;
mod crowd;
mod faults;
mod founding;
mod heralds;
mod host;
mod net;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder::base::rng::Rng;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use turmoil::{Builder, Sim};

use crate::checks::Seen;
use crate::clients::Clients;
use crate::faults::Faults;
use crate::heralds::Heralds;
use crate::host::{Host, Plan};

/// Length of a step.
const STEP_MS: u64 = 5;
/// Steps between two looks at what must hold.
const STEPS_A_LOOK: u64 = 2;
/// How long faults come, in virtual time.
const TROUBLE_MS: u64 = 25_000;
/// Longest that everything takes to come about once all is well, in virtual time.
const SETTLE_MS: u64 = 30_000;
/// Longest that the first table takes, in virtual time, while nothing goes wrong.
const FORM_MS: u64 = 20_000;
/// Longest until everybody hears everybody once all is well, in virtual time.
const HEAR_MS: u64 = 10_000;
/// Seeds of a run that asks for no more.
const SEEDS: u64 = 200;

/// One simulation.
pub struct World {
    sim: Sim<'static>,
    hosts: Vec<Host>,
    rng: Rng,
    expect: usize,
    seen: Seen,
    clients: Clients,
    heralds: Heralds,
    steps: u64,
    is_told: bool,
    /// Nobody sends anything but the nodes themselves.
    is_quiet: bool,
}

impl World {
    /// One of three to five machines, with disks and without.
    fn new(seed: u64, is_told: bool) -> Self {
        let mut world = Self::empty(seed, is_told);
        for _ in 0..world.expect {
            world.add_host();
        }
        world
    }

    /// One of these machines, each with a disk or without, and without clients.
    fn of(seed: u64, durable: &[bool]) -> Self {
        let mut world = Self::empty(seed, false);
        (world.expect, world.is_quiet) = (durable.len(), true);
        for &is_durable in durable {
            world.add_host_with(is_durable);
        }
        world
    }

    fn empty(seed: u64, is_told: bool) -> Self {
        let mut rng = Rng::seeded(seed);
        let mut builder = Builder::new();
        builder
            .simulation_duration(Duration::from_secs(3_600))
            .tick_duration(Duration::from_millis(STEP_MS))
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(Duration::from_millis(1 + rng.below(20)))
            .tcp_capacity(4096)
            .rng_seed(rng.next_u64());
        let sim = builder.build();
        let expect = 3 + rng.below(3) as usize;
        let clients = Clients::new(rng.next_u64());
        let heralds = Heralds::new(seed);
        let seen = Seen::default();
        let hosts = Vec::new();
        Self { sim, hosts, rng, expect, seen, clients, heralds, steps: 0, is_told, is_quiet: false }
    }

    /// Adds a machine whose node has never been there before.
    fn add_host(&mut self) {
        let is_durable = self.rng.below(2) == 0;
        self.add_host_with(is_durable);
    }

    fn add_host_with(&mut self, is_durable: bool) {
        let plan = Plan {
            number: self.hosts.len(),
            expect: self.expect,
            is_durable,
            rate: 0.95 + self.rng.below(101) as f64 / 1000.0,
            offset_ms: self.rng.below(7_200_000),
            seed: self.rng.next_u64(),
        };
        let host = Host::new(&mut self.sim, plan);
        self.hosts.push(host);
    }

    /// Says what happens, if that was asked for.
    fn tell(&self, what: &str) {
        if self.is_told {
            println!("{:>6} ms: {what}", self.steps * STEP_MS);
        }
    }

    /// Lets time pass.
    fn step(&mut self) {
        self.steps += 1;
        let elapsed = self.sim.elapsed() + Duration::from_millis(STEP_MS);
        for host in &mut self.hosts {
            host.set_clock(elapsed);
        }
        if let Err(error) = self.sim.step() {
            panic!("a node failed: {error}");
        }
        if self.steps.is_multiple_of(STEPS_A_LOOK) {
            self.seen.look(&self.hosts);
        }
        if self.steps.is_multiple_of(STEPS_A_LOOK) && !self.is_quiet {
            self.clients.act(&self.hosts, self.seen.deaths);
            self.heralds.act(&self.hosts);
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / STEP_MS {
            self.step();
        }
    }

    /// Lets time pass until every node hears what every other publishes.
    fn hear(&mut self) {
        let (began, since) = (self.steps, self.heralds.published());
        while !self.heralds.all_are_heard(&self.hosts, since) {
            assert!((self.steps - began) * STEP_MS < HEAR_MS, "S9: what is published does not reach all");
            self.pass(100);
        }
    }

    /// Lets time pass until nothing is missing; says how long it took, in ms.
    fn settle(&mut self, longest_ms: u64) -> u64 {
        let began = self.steps;
        loop {
            self.pass(100);
            let took_ms = (self.steps - began) * STEP_MS;
            match self.seen.missing(&self.hosts) {
                None => return took_ms,
                Some(missing) => {
                    assert!(took_ms < longest_ms, "S9: after {took_ms} ms of peace: {missing}");
                }
            }
        }
    }
}

/// What became of one seed.
struct Story {
    settled_ms: u64,
    answered: u64,
    lost: u64,
    heard: u64,
    versions: u64,
}

fn play(seed: u64, is_told: bool) -> Story {
    let mut world = World::new(seed, is_told);
    let mut faults = Faults::new(seed);
    // Every other seed lets the cluster form in peace; in the rest it forms as it can.
    if seed.is_multiple_of(2) {
        let took_ms = world.settle(FORM_MS);
        world.tell(&format!("formed after {took_ms} ms"));
    }
    let until = world.steps + TROUBLE_MS / STEP_MS;
    while world.steps < until {
        faults.strike(&mut world);
    }
    faults.end(&mut world);
    let settled_ms = world.settle(SETTLE_MS);
    world.hear();
    world.tell(&format!("settled after {settled_ms} ms"));
    let story = Story {
        settled_ms,
        answered: world.clients.answered,
        lost: world.clients.lost,
        heard: world.heralds.delivered,
        versions: world.seen.newest().version,
    };
    for host in &mut world.hosts {
        host.crash(&mut world.sim);
    }
    story
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn promises_hold_in_whatever_happens() {
    let one = asked("LARDER_SIM_SEED");
    if one.is_some() {
        // The nodes' own words; another test of this process may have set the same.
        let own = Targets::new().with_target("larder", tracing::Level::DEBUG);
        let told = tracing_subscriber::fmt::layer().without_time();
        let _ = tracing_subscriber::registry().with(told).with(own).try_init();
    }
    let from = one.or(asked("LARDER_SIM_FROM")).unwrap_or(0);
    let count = if one.is_some() { 1 } else { asked("LARDER_SIM_SEEDS").unwrap_or(SEEDS) };
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let play_some = || {
        let mut stories = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return stories;
            }
            let played = catch_unwind(AssertUnwindSafe(|| play(seed, one.is_some())));
            stories.push(
                played.unwrap_or_else(|_| panic!("seed {seed} failed: LARDER_SIM_SEED={seed} replays it")),
            );
        }
    };
    // A simulation is one thread's.
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count as usize);
    let stories: Vec<Story> = thread::scope(|scope| {
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
        players.into_iter().flat_map(|player| player.join().expect("no seed failed")).collect()
    });
    let slowest_ms = stories.iter().map(|story| story.settled_ms).max().unwrap_or(0);
    let sum = |of: fn(&Story) -> u64| stories.iter().map(of).sum::<u64>();
    let (answered, lost) = (sum(|story| story.answered), sum(|story| story.lost));
    let (versions, heard) = (sum(|story| story.versions), sum(|story| story.heard));
    println!(
        "{count} seeds in {:?}: {versions} tables, {answered} commands answered, {lost} keys lost with their nodes, \
        {heard} messages heard, settled within {slowest_ms} ms of virtual time",
        began.elapsed()
    );
    assert!(one.is_some() || answered > 500 * count, "clients were hardly served");
}
