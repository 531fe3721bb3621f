//! For how long slots are held while nodes join and drain under load: as the nodes themselves measure it, from the moment
//! that a move's slots take no more commands until the table has them elsewhere, or they are served again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::VALUE_BYTES;
use super::support::cluster::{Cluster, ClusterClient};

/// Clients that read and write all the while, each waiting for its reply.
const CLIENTS: usize = 8;

/// What one node has measured.
struct Held {
    times: u64,
    p99_us: u64,
    most_us: u64,
}

impl Held {
    fn of(cluster: &Cluster, number: usize) -> Held {
        let figure = |name: &str| {
            cluster.info(number, &format!("cluster_stats_slot_holds{name}")).parse().unwrap_or(0)
        };
        Held { times: figure(""), p99_us: figure("_p99_us"), most_us: figure("_max_us") }
    }
}

/// So many times a fourth node joins and drains.
pub fn hold(rounds: usize, keys: usize) {
    let mut cluster = Cluster::start(3, &["--maxmemory", "2gb"]);
    cluster.wait_ok();
    super::fill(&cluster, keys, &"v".repeat(VALUE_BYTES));
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (stop, client) = (Arc::clone(&stop), cluster.client());
            thread::spawn(move || read_and_write(client, &stop, number, keys))
        })
        .collect();
    let mut held = Vec::new();
    for _ in 0..rounds {
        let node = cluster.join();
        cluster.wait("the newcomer has its share", || {
            cluster.info(node, "cluster_state") == "ok" && cluster.agree()
        });
        cluster.connect(node).check("CLUSTER DRAIN", "OK");
        cluster.wait("it has left", || cluster.info(node, "cluster_phase") == "left");
        held.push(Held::of(&cluster, node));
        cluster.kill(node);
        cluster.wait_ok();
    }
    stop.store(true, Ordering::Relaxed);
    let mut took: Vec<Duration> = Vec::new();
    let mut failures = 0;
    for client in load {
        let (some, failed) = client.join().expect("the load ends");
        took.extend(some);
        failures += failed;
    }
    took.sort();
    held.extend((0..3).map(|number| Held::of(&cluster, number)));
    let worst = |of: fn(&Held) -> u64| held.iter().map(of).max().unwrap_or(0) as f64 / 1000.0;
    println!(
        "{rounds} joins and drains under load, {keys} keys: slots were held {} times, p99 of the node with the longest \
         {:.1} ms, {:.1} ms at most",
        held.iter().map(|held| held.times).sum::<u64>(),
        worst(|held| held.p99_us),
        worst(|held| held.most_us)
    );
    let quantile = |share: f64| {
        took.get((took.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or_default()
    };
    println!(
        "{} requests of {CLIENTS} clients meanwhile: p99 {:.1?}, p99.9 {:.1?}, worst {:.1?}; {failures} failures",
        took.len(),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    );
}

/// How long each request took, and how many failed.
fn read_and_write(
    mut client: ClusterClient,
    stop: &AtomicBool,
    number: usize,
    keys: usize,
) -> (Vec<Duration>, usize) {
    let value = "w".repeat(VALUE_BYTES);
    let (mut took, mut at) = (Vec::new(), number * 1_000);
    while !stop.load(Ordering::Relaxed) {
        at = (at + 7919) % keys;
        let (key, began) = (format!("key:{at}"), Instant::now());
        match at % 4 {
            0 => client.cmd(&["SET", &key, &value]),
            _ => client.cmd(&["GET", &key]),
        };
        took.push(began.elapsed());
    }
    (took, client.failures.len())
}
