//! Many real processes that start at once, each in a namespace of its own: all hear of all, all have the same table, and
//! being at rest costs each of them little on the wire.
//!
//! Only where it is asked for, as it is too much for a machine that has other things to do; the simulation has a crowd in
//! every run.
//!
//! ```text
//! LARDER_TEST_CROWD=30 cargo test --profile checks --test partitions -- --nocapture crowd
//! ```

use std::env;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::namespaces::{self, Wire};
use crate::{FLAGS, LOADED, number, say};

/// All are to hear of all within so long.
const PROMISED: Duration = Duration::from_secs(15);
/// How long the wire is watched at rest.
const REST: Duration = Duration::from_secs(20);
/// Bytes that a node may send in a second at rest: gossip, leases, voters' heartbeats; on average, without the headers.
const BYTES_MAX: f64 = 25_000.0;
/// Bytes of a frame that are Ethernet's, IP's and TCP's.
const HEADER_BYTES: f64 = 66.0;

/// Bytes that a place has sent, headers and all, and frames.
fn sent(wire: &Wire, place: usize) -> (f64, f64) {
    let table = wire.at(place, || fs::read_to_string("/proc/thread-self/net/dev")).expect("it is there");
    let line = table.lines().find_map(|line| line.trim().strip_prefix("eth0:")).expect("its link");
    let figure = |at| line.split_whitespace().nth(at).and_then(|text| text.parse().ok()).expect("a figure");
    (figure(8), figure(9))
}

/// How much more each place has sent than before, in a second: on average and at most.
fn rates(before: &[f64], after: &[f64], time: Duration) -> (f64, f64) {
    let rates: Vec<f64> =
        before.iter().zip(after).map(|(before, after)| (after - before) / time.as_secs_f64()).collect();
    (rates.iter().sum::<f64>() / rates.len() as f64, rates.iter().copied().fold(0.0, f64::max))
}

#[test]
fn a_crowd_hears_of_all_and_rests() {
    let asked = env::var("LARDER_TEST_CROWD").ok().map(|text| text.parse::<usize>().expect("a number"));
    let Some(count) = asked.filter(|_| namespaces::are_possible()) else {
        return;
    };
    let wire = Arc::new(Wire::new(count));
    let began = Instant::now();
    let cluster = Cluster::start_on(&wire, 0, count, FLAGS);
    let started = began.elapsed();
    cluster.wait("all hear of all", || {
        (0..count).all(|node| number(&cluster, node, "cluster_members_alive") == count as u64)
    });
    let met = began.elapsed();
    cluster.wait_ok();
    let formed = began.elapsed();
    assert!(met <= PROMISED * LOADED, "all hear of all after {met:?}; promised: {PROMISED:?}");
    let tables = |field: &str| -> Vec<String> { (0..count).map(|node| cluster.info(node, field)).collect() };
    let (digests, versions) = (tables("cluster_table_digest"), tables("cluster_table_version"));
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");

    let gossip = |node| cluster.metric(node, "larder_cluster_gossip_bytes_total", "\"sent\"");
    let all_sent = || -> (Vec<f64>, Vec<f64>) { (0..count).map(|place| sent(&wire, place)).unzip() };
    let all_gossip = || -> Vec<f64> { (0..count).map(gossip).collect() };
    let (from, said_before, sent_before) = (Instant::now(), all_gossip(), all_sent());
    thread::sleep(REST);
    let (sent_after, said_after, time) = (all_sent(), all_gossip(), from.elapsed());
    assert_eq!(tables("cluster_table_version"), versions, "nothing happens at rest");
    let (gossip_mean, gossip_most) = rates(&said_before, &said_after, time);
    let (on_wire, most) = rates(&sent_before.0, &sent_after.0, time);
    let (frames, _) = rates(&sent_before.1, &sent_after.1, time);
    let mean = on_wire - frames * HEADER_BYTES;
    say(&format!(
        "{count} processes: started within {started:.2?}, all hear of all after {met:.2?}, one cluster with equal tables \
         after {formed:.2?}; at rest each sends {mean:.0} B/s on average, of which gossip {gossip_mean:.0} \
         ({gossip_most:.0} at most), and {on_wire:.0} with {frames:.0} frames' headers ({most:.0} at most)"
    ));
    assert!(mean <= BYTES_MAX, "{mean:.0} bytes in a second");
}
