//! Many nodes that start at once: they are one cluster soon, all hear of all, and being at rest costs little.
//!
//! `LARDER_SIM_NODES=100 cargo test --profile checks --test simulation -- --nocapture crowd` is the form that the design
//! was measured by.

use crate::host::Host;
use crate::{STEP_MS, World, asked};

/// Nodes of a run that asks for no more.
const NODES: u64 = 12;
/// Longest until all hear of all, in virtual time.
const MEET_MS: u64 = 15_000;
/// Virtual time for which the cluster is watched at rest.
const REST_MS: u64 = 10_000;
/// Bytes of gossip that a node may send in a second.
const GOSSIP_MAX: u64 = 25_000;

/// Nodes that hear of all others.
fn meet(hosts: &[Host]) -> usize {
    let all = hosts.len() - 1;
    let hears_all = |host: &&Host| {
        let vitals = host.node().map(|node| node.hub().cluster.vitals());
        vitals.is_some_and(|vitals| vitals.peers.iter().filter(|peer| peer.alive).count() == all)
    };
    hosts.iter().filter(hears_all).count()
}

/// Bytes of gossip that each node has sent.
fn sent(hosts: &[Host]) -> Vec<u64> {
    let of = |host: &Host| {
        let node = host.node().expect("it runs");
        node.gossip().counters().sent_bytes.load(std::sync::atomic::Ordering::Relaxed)
    };
    hosts.iter().map(of).collect()
}

#[test]
fn a_crowd_is_one_cluster_soon_and_rests() {
    let count = asked("LARDER_SIM_NODES").unwrap_or(NODES) as usize;
    let mut world = World::of(7, &vec![false; count]);
    let mut met_ms = 0;
    while meet(&world.hosts) < count {
        world.pass(100);
        met_ms = world.steps * STEP_MS;
        assert!(met_ms <= MEET_MS, "{} of {count} nodes hear of all", meet(&world.hosts));
    }
    // Tables of one version are compared at every step.
    let formed_ms = met_ms + world.settle(MEET_MS);
    let version = world.seen.newest().version;
    let before = sent(&world.hosts);
    world.pass(REST_MS);
    assert_eq!(world.seen.newest().version, version, "nothing happens at rest");
    let rates: Vec<u64> =
        sent(&world.hosts).iter().zip(&before).map(|(now, then)| (now - then) * 1000 / REST_MS).collect();
    let (mean, most) = (rates.iter().sum::<u64>() / count as u64, *rates.iter().max().expect("nodes"));
    println!(
        "{count} nodes: all hear of all after {met_ms} ms, one cluster with equal tables after {formed_ms} ms; \
        each sends {mean} B/s of gossip at rest, {most} at most"
    );
    assert!(most <= GOSSIP_MAX, "{most} bytes of gossip in a second");
    world.hosts.iter_mut().for_each(|host| host.crash(&mut world.sim));
}
