//! Random faults, restarts and changes of voters, by a seed: what was agreed on stays, and one version is one table.
//!
//! `LARDER_CHAOS_SEEDS=1000` runs more seeds than the few of every run; a failure names its seed. The seed decides the
//! faults and the election timeouts. It does not decide in which order tokio wakes those who watch one value, so that a
//! failure may take a few runs to come back; a build with `tokio_unstable` and a seeded runtime would repeat it exactly.

use std::collections::BTreeMap;
use std::time::Duration;

use larder::base::rng::Rng;
use larder::cluster::id::NodeId;
use larder::cluster::table::Change;
use larder::peer::raft::{Agreement, Storage};
use tokio::time::Instant;

use crate::net::{Net, TIMEOUT, converge, id, member, run, table};

/// Nodes, of which three vote at a time.
const NODES: u8 = 5;
/// Faults and changes of one seed.
const STEPS: u32 = 120;
/// Seeds of a run that asks for no more.
const SEEDS: u64 = 12;

struct Chaos {
    net: Net,
    rng: Rng,
    storages: Vec<Storage>,
    /// Digest of every version that any node has shown.
    digests: BTreeMap<u64, u64>,
    /// Who leads in a term.
    leaders: BTreeMap<u64, Vec<NodeId>>,
    /// Members whose joining was acknowledged.
    joined: Vec<u8>,
    next: u8,
    /// The latest version that was acknowledged.
    acknowledged: u64,
}

impl Chaos {
    async fn new(seed: u64) -> Self {
        let storages: Vec<Storage> = (0..NODES).map(|number| Storage::memory(id(number))).collect();
        let net = Net::new(seed);
        for storage in &storages {
            net.open(storage.clone()).await;
        }
        let ids = [id(0), id(1), id(2)];
        let members = (0..NODES).map(member).collect();
        net.found(&ids, members).await;
        Self {
            net,
            rng: Rng::seeded(seed),
            storages,
            digests: BTreeMap::new(),
            leaders: BTreeMap::new(),
            joined: Vec::new(),
            next: NODES,
            acknowledged: 1,
        }
    }

    fn any(&mut self) -> u8 {
        self.rng.below(u64::from(NODES)) as u8
    }

    fn living(&self, number: u8) -> Option<Agreement> {
        self.net.nodes().into_iter().find(|node| node.id() == id(number))
    }

    async fn step(&mut self) {
        match self.rng.below(12) {
            0 => {
                let number = self.any();
                if self.living(number).is_some() {
                    self.net.kill(id(number)).await;
                }
            }
            1 | 2 => {
                let number = self.any();
                if self.living(number).is_none() {
                    self.net.open(self.storages[number as usize].clone()).await;
                }
            }
            3 => {
                let side = [id(self.any()), id(self.any())];
                self.net.part(&side);
            }
            4 => self.net.heal(),
            5 => self.net.storm(self.rng.below(30), self.rng.below(300)),
            6 => self.adjust().await,
            7 | 8 => self.confirm().await,
            _ => self.join().await,
        }
        tokio::time::sleep(Duration::from_millis(self.rng.below(800))).await;
        self.look();
    }

    /// Somebody who says that it leads, maybe wrongly.
    fn claimant(&mut self) -> Option<Agreement> {
        let claims = |node: &Agreement| node.status().borrow().is_leader;
        let claimants: Vec<Agreement> = self.net.nodes().into_iter().filter(claims).collect();
        let at = self.rng.below(claimants.len() as u64) as usize;
        claimants.get(at).cloned()
    }

    async fn join(&mut self) {
        let Some(leader) = self.claimant() else { return };
        if self.next == u8::MAX {
            return;
        }
        let number = self.next;
        self.next += 1;
        if let Ok(Ok(version)) = leader.propose(Change::Join(member(number))).await {
            assert!(version > self.acknowledged, "a version is acknowledged once");
            self.acknowledged = version;
            self.joined.push(number);
        }
    }

    async fn confirm(&mut self) {
        let Some(leader) = self.claimant() else { return };
        let before = self.acknowledged;
        if leader.confirm().await.is_ok() {
            let version = table(&leader).version;
            assert!(
                version >= before,
                "a confirmed leader shows {version}, {before} was acknowledged before"
            );
        }
    }

    async fn adjust(&mut self) {
        let Some(leader) = self.claimant() else { return };
        let first = self.any();
        let wanted: Vec<NodeId> = (0..3).map(|at| id((first + at) % NODES)).collect();
        // Whether it works out depends on who lives; what it leaves behind must be sound anyway.
        let _ = leader.adjust_voters(&wanted).await;
    }

    fn look(&mut self) {
        for node in self.net.nodes() {
            let shown = table(&node);
            let digest = *self.digests.entry(shown.version).or_insert(shown.digest());
            assert_eq!(digest, shown.digest(), "version {} of {}", shown.version, node.id());
            let status = node.status().borrow().clone();
            let leaders = self.leaders.entry(status.term).or_default();
            if status.is_leader && !leaders.contains(&node.id()) {
                leaders.push(node.id());
            }
            assert_eq!(status.failure, None, "{}", node.id());
        }
    }

    async fn end(mut self) -> Duration {
        self.net.heal();
        for number in 0..NODES {
            if self.living(number).is_none() {
                self.net.open(self.storages[number as usize].clone()).await;
            }
        }
        let healed = Instant::now();
        let wanted = [id(0), id(1), id(2)];
        let settle = async {
            loop {
                let leader = self.net.leader().await;
                let is_settled = leader.adjust_voters(&wanted).await.is_ok() && wanted.contains(&leader.id());
                if is_settled && leader.confirm().await.is_ok() {
                    return leader;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let leader = tokio::time::timeout(10 * TIMEOUT, settle).await.expect("one leader once all is well");
        let voters: Vec<Agreement> = (0..3).map(|number| self.net.node(number)).collect();
        converge(&voters, &leader).await;
        self.look();
        let table = table(&leader);
        for number in &self.joined {
            assert!(table.member(id(*number)).is_some(), "{number} was acknowledged and is gone");
        }
        healed.elapsed()
    }
}

fn play(seed: u64) -> Duration {
    run(async {
        let mut chaos = Chaos::new(seed).await;
        for _ in 0..STEPS {
            chaos.step().await;
        }
        chaos.end().await
    })
}

#[test]
fn what_was_agreed_on_stays() {
    let asked = std::env::var("LARDER_CHAOS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let mut slowest = Duration::ZERO;
    for seed in 0..asked.unwrap_or(SEEDS) {
        let played = std::panic::catch_unwind(|| play(seed));
        let took = played.unwrap_or_else(|_| panic!("seed {seed} failed"));
        slowest = slowest.max(took);
    }
    println!("settled within {slowest:?} of virtual time after all was well");
}
