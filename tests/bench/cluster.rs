//! How long a cluster takes: to form, to serve again after a death, to give a newcomer its share under load; beside
//! Redis Cluster where redis-server is installed.
//!
//! `cargo bench --bench cluster [-- form|fail|move|hold|large|redis] [-- --rounds N] [-- --keys N] [-- --members N]
//! [-- --blocked N] [-- --watching N]`. Processes on loopback, R = 0: a
//! dead node's keys are gone and its slots are served, empty, by the others (Redis's replicas take over with the keys).
//! Medians and the worst are printed; the machine's other load counts.

#[path = "cluster/hold.rs"]
mod hold;
#[path = "../support/mod.rs"]
mod support;
#[path = "cluster/waiting.rs"]
mod waiting;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::client::{Client, encode};
use support::cluster::{Cluster, ClusterClient};
use support::frame::Frame;
use support::server::free_port;

use hold::hold;
use waiting::{Waiting, Watchers};

/// Keys that are written to see whether every slot is served: enough to meet every node many times.
const PROBES: usize = 300;
/// Bytes of a value that moves.
const VALUE_BYTES: usize = 200;
/// Writes sent in one piece while keys are put in.
const PIPELINE: usize = 500;
/// Bytes of the string in the slot that is hard to move.
const LONG_BYTES: usize = 500_000_000;
/// Members that are added to its sorted set with one command.
const MEMBERS_A_COMMAND: usize = 1_000;
/// Time between two looks at the memory of processes.
const LOOK_MS: u64 = 5;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |name: &str, default: usize| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let rounds = number("--rounds", 5);
    let only: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| ["form", "fail", "move", "hold", "large", "redis"].contains(word))
        .collect();
    let wanted = |name: &str| only.is_empty() || only.contains(&name);
    if wanted("form") {
        for nodes in [3, 5] {
            report(&format!("{nodes} nodes started at once are one cluster"), rounds, || form(nodes));
        }
    }
    if wanted("fail") {
        report("a data node is killed: all slots serve writes", rounds, || fail(false));
        report("the leader's node is killed: all slots serve writes", rounds, || fail(true));
    }
    if wanted("redis") {
        report(
            "redis-server, timeout 2000 ms: a primary is killed: all slots serve writes",
            rounds,
            redis_fail,
        );
    }
    if wanted("move") {
        grow(number("--keys", 1_000_000));
    }
    if wanted("hold") {
        hold(rounds, number("--keys", 1_000_000));
    }
    if wanted("large") {
        large(number("--members", 5_000_000), number("--blocked", 10_000), number("--watching", 1_000));
    }
}

/// Runs something some times and prints its median and its worst.
fn report(what: &str, rounds: usize, run: impl Fn() -> Option<Duration>) {
    let mut took: Vec<Duration> = (0..rounds).filter_map(|_| run()).collect();
    took.sort();
    match took.last() {
        Some(worst) => {
            println!("{what}: median {:.2?}, worst {worst:.2?} of {}", took[took.len() / 2], took.len())
        }
        None => println!("{what}: not measured"),
    }
}

fn form(nodes: usize) -> Option<Duration> {
    let cluster = Cluster::start(nodes, &[]);
    Some(cluster.wait_ok())
}

fn fail(leader: bool) -> Option<Duration> {
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let mut client = cluster.client();
    write_probes(&mut client);
    let lead = cluster.info(0, "cluster_leader");
    let is_leader = |number: &usize| cluster.connect(*number).cmd(&["CLUSTER", "MYID"]).text() == lead;
    let victim = (0..3).find(|number| is_leader(number) == leader)?;
    cluster.kill(victim);
    let began = Instant::now();
    write_probes(&mut client);
    Some(began.elapsed())
}

fn write_probes(client: &mut ClusterClient) {
    for number in 0..PROBES {
        client.cmd(&["SET", &format!("probe:{number}"), "value"]);
    }
}

/// Three primaries and three replicas of redis-server, of which one primary is killed.
fn redis_fail() -> Option<Duration> {
    let dir = tempfile::tempdir().ok()?;
    let ports: Vec<u16> = (0..6).map(|_| free_port_with_bus()).collect();
    let mut servers = Servers(ports.iter().filter_map(|port| redis(*port, dir.path())).collect());
    if servers.0.len() < 6 {
        return None;
    }
    let addresses: Vec<SocketAddr> = ports.iter().map(|port| (Ipv4Addr::LOCALHOST, *port).into()).collect();
    wait_for(|| addresses.iter().all(|address| Client::connect(*address).is_ok()))?;
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(addresses.iter().map(SocketAddr::to_string));
    create.args(["--cluster-replicas", "1", "--cluster-yes"]).stdout(Stdio::null());
    create.status().ok().filter(|status| status.success())?;
    let links = |address: &SocketAddr| {
        Client::connect(*address).ok().map(|mut client| client.cmd(&["CLUSTER", "INFO"]).text())
    };
    wait_for(|| {
        addresses.iter().all(|address| links(address).is_some_and(|info| info.contains("state:ok")))
    })?;
    // Until the replicas are in sync, there is nothing to take over.
    let synced = |address: &SocketAddr| {
        let info =
            Client::connect(*address).ok().map(|mut client| client.cmd(&["INFO", "replication"]).text());
        info.is_some_and(|info| info.contains("role:master") || info.contains("master_link_status:up"))
    };
    wait_for(|| addresses.iter().all(synced))?;
    let mut client = ClusterClient::new(addresses);
    write_probes(&mut client);
    servers.0[1].kill().ok()?;
    let began = Instant::now();
    write_probes(&mut client);
    Some(began.elapsed())
}

struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.0 {
            // Both fail only when the process has ended already.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn redis(port: u16, dir: &std::path::Path) -> Option<Child> {
    let dir = dir.join(port.to_string());
    std::fs::create_dir_all(&dir).ok()?;
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
    command.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]).current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// A free port whose bus port, 10000 above, is a port.
fn free_port_with_bus() -> u16 {
    loop {
        let port = free_port();
        if port < 55_000 {
            return port;
        }
    }
}

fn wait_for(mut condition: impl FnMut() -> bool) -> Option<()> {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > Duration::from_secs(30) {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Some(())
}

/// A fourth node joins three that hold `keys` keys, while a client reads and writes.
fn grow(keys: usize) {
    let mut cluster = Cluster::start(3, &["--maxmemory", "2gb"]);
    cluster.wait_ok();
    let value = "v".repeat(VALUE_BYTES);
    let began = Instant::now();
    fill(&cluster, keys, &value);
    println!("{keys} keys of {VALUE_BYTES} B are in after {:.2?}", began.elapsed());
    let (stop, misses) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load = {
        let (stop, misses, mut client) = (Arc::clone(&stop), Arc::clone(&misses), cluster.client());
        thread::spawn(move || {
            let (mut took, mut at) = (Vec::new(), 0usize);
            while !stop.load(Ordering::Relaxed) {
                at = (at + 7919) % keys;
                let began = Instant::now();
                let reply = match at % 4 {
                    0 => client.cmd(&["SET", &format!("key:{at}"), &value]),
                    _ => client.cmd(&["GET", &format!("key:{at}")]),
                };
                if reply == Frame::Null {
                    misses.fetch_add(1, Ordering::Relaxed);
                }
                took.push((Instant::now(), began.elapsed()));
            }
            (took, client.failures)
        })
    };
    thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    let newcomer = cluster.join();
    cluster.wait("the newcomer has its share", || {
        cluster.info(newcomer, "cluster_state") == "ok" && cluster.agree()
    });
    let moving = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (took, failures) = load.join().expect("the load ends");
    let has = cluster.connect(newcomer).cmd(&["DBSIZE"]).integer();
    println!(
        "a fourth node has its share, {has} keys, after {moving:.2?}: {:.0} keys/s; {} misses, {} failures",
        has as f64 / moving.as_secs_f64(),
        misses.load(Ordering::Relaxed),
        failures.len()
    );
    for (name, is_in) in [("before", false), ("meanwhile", true)] {
        let mut part: Vec<Duration> =
            took.iter().filter(|(at, _)| (*at > began) == is_in).map(|(_, took)| *took).collect();
        part.sort();
        let quantile =
            |share: f64| part.get(((part.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
        println!(
            "a client's requests {name}: {} of them, median {:.0?}, p99 {:.0?}, p99.9 {:.0?}, worst {:.0?}",
            part.len(),
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            quantile(1.0)
        );
    }
}

/// The slot with a string of half a gigabyte, a large sorted set, many waiting clients and as many others who listen or
/// cache moves, while others read it.
fn large(members: usize, blocked: usize, watching: usize) {
    let cluster = Cluster::start(2, &["--maxmemory", "4gb", "--maxclients", "100000"]);
    cluster.wait_ok();
    let slot = larder::base::slot::slot_of(b"large").number().to_string();
    let mut client = cluster.client();
    client.cmd(&["SET", "{large}small", "value"]);
    let source = (0..2).find(|number| !cluster.connect(*number).cmd(&["GET", "{large}small"]).is_error());
    let source = source.expect("one of them owns the slot");
    fill_large(cluster.connect(source), members);
    let mut waiting = Waiting::start(cluster.address(source), blocked);
    let mut watchers = Watchers::start(&cluster, source, watching);
    let all = format!("blocked_clients:{}\r\n", blocked + watching);
    cluster.wait("all wait", || cluster.connect(source).line("INFO clients").text().contains(&all));
    let before = [rss(&cluster, source), rss(&cluster, 1 - source)];
    let stop = Arc::new(AtomicBool::new(false));
    let readers = ["{large}small", "other"].map(|key| read_until(&stop, cluster.client(), key));
    let peaks = [peak_until(&stop, cluster.pid(source)), peak_until(&stop, cluster.pid(1 - source))];
    let began = Instant::now();
    cluster.connect(source).cmd(&["CLUSTER", "DRAIN"]);
    let told = waiting.told_moved();
    let took = began.elapsed();
    let watching = watchers.told();
    thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    let left = cluster.connect(1 - source).cmd(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).integer();
    println!(
        "{left} keys of the slot and all others are over after {took:.2?}; {told} of {blocked} waiting clients were told MOVED"
    );
    println!("{watching}");
    let held = |field: &str| cluster.info(source, &format!("cluster_stats_slot_holds{field}"));
    println!(
        "slots were held {} times, p99 {} us, {} us at most",
        held(""),
        held("_p99_us"),
        held("_max_us")
    );
    for (name, reader) in ["the slot", "another slot"].into_iter().zip(readers) {
        let worst = reader.join().expect("a reader ends");
        println!("the longest GET of {name} meanwhile: {worst:.1?}");
    }
    let [source_peak, target_peak] = peaks.map(|peak| peak.join().expect("it ends"));
    println!(
        "the source took up to {} MB more than before, the target up to {} MB more than at the end",
        source_peak.saturating_sub(before[0]) >> 20,
        target_peak.saturating_sub(rss(&cluster, 1 - source)) >> 20
    );
}

/// Puts the long string and the sorted set in, and says how large they are.
fn fill_large(mut client: Client, members: usize) {
    client.cmd(&["SETRANGE", "{large}string", &(LONG_BYTES - 1).to_string(), "x"]);
    let mut added = 0;
    while added < members {
        let upto = members.min(added + MEMBERS_A_COMMAND);
        let pairs = (added..upto).flat_map(|number| [number.to_string(), format!("member:{number:010}")]);
        let words: Vec<String> =
            ["ZADD".to_owned(), "{large}ranks".to_owned()].into_iter().chain(pairs).collect();
        client.cmd(&words);
        added = upto;
    }
    let bytes = client.cmd(&["MEMORY", "USAGE", "{large}ranks"]).integer();
    println!("a string of {} MB and a sorted set of {members} members, {} MB", LONG_BYTES >> 20, bytes >> 20);
}

/// Reads a key until told to stop; gives the longest that it took.
fn read_until(stop: &Arc<AtomicBool>, mut client: ClusterClient, key: &'static str) -> JoinHandle<Duration> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut worst = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            client.cmd(&["GET", key]);
            worst = worst.max(began.elapsed());
        }
        worst
    })
}

/// Looks at a process's memory until told to stop; gives the most that was resident, in bytes.
fn peak_until(stop: &Arc<AtomicBool>, pid: u32) -> JoinHandle<u64> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut most = 0;
        while !stop.load(Ordering::Relaxed) {
            most = most.max(rss_of(pid));
            thread::sleep(Duration::from_millis(LOOK_MS));
        }
        most
    })
}

fn rss(cluster: &Cluster, number: usize) -> u64 {
    rss_of(cluster.pid(number))
}

/// Resident memory of a process, in bytes; 0 if there is none.
fn rss_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kb| kb << 10)
}

/// Writes `key:0` and so on, many at a time, each to its owner.
fn fill(cluster: &Cluster, keys: usize, value: &str) {
    let slots = cluster.connect(0).cmd(&["CLUSTER", "SLOTS"]);
    let mut links: HashMap<String, (Client, Vec<u8>, usize)> = HashMap::new();
    let owner = |slot: i64| {
        let entry = slots.items().iter().find(|entry| {
            let entry = entry.items();
            (entry[0].integer()..=entry[1].integer()).contains(&slot)
        });
        let node = entry.expect("all slots have an owner").items()[2].items();
        format!("{}:{}", node[0].text(), node[1].integer())
    };
    let owners: Vec<String> = (0..16384).map(owner).collect();
    for number in 0..keys {
        let key = format!("key:{number}");
        let owner = &owners[larder::base::slot::slot_of(key.as_bytes()).number() as usize];
        let link = links.entry(owner.clone()).or_insert_with(|| {
            (Client::connect(owner.parse().expect("an address")).expect("a connection"), Vec::new(), 0)
        });
        link.1.extend_from_slice(&encode(&["SET", &key, value]));
        link.2 += 1;
        if link.2 == PIPELINE {
            send(link);
        }
    }
    links.values_mut().for_each(send);
}

fn send((client, bytes, count): &mut (Client, Vec<u8>, usize)) {
    client.send_raw(bytes);
    for _ in 0..*count {
        let reply = client.receive();
        assert_eq!(reply, Frame::Simple("OK".to_owned()));
    }
    bytes.clear();
    *count = 0;
}
