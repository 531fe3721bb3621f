//! Alerts that fire because what they are about is happening: real nodes are filled, flooded, paused and killed, and
//! Prometheus, reading the shipped rules with seconds for minutes, is asked what fires.

use super::prometheus::{self, METRICS_PORT, Prometheus};
use super::support::client::{Client, encode};
use super::support::cluster::{Cluster, ClusterClient};
use super::support::http;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Port for clients that know no clusters.
const GATEWAY_PORT: u16 = 6380;
/// Pause between two commands of a load.
const PACE: Duration = Duration::from_millis(4);
/// Keys that stay, so that a move has something to carry.
const KEYS: usize = 3000;

/// Alerts of nodes that are under pressure.
const UNDER_PRESSURE: &[&str] = &[
    "LarderClientsClosed",
    "LarderClientsNearLimit",
    "LarderClusterSplit",
    "LarderConnectionsRejected",
    "LarderEvictionsHurt",
    "LarderHitRatioLow",
    "LarderLatencyHigh",
    "LarderMembersUnequal",
    "LarderMemoryAboveLimit",
    "LarderMemoryResident",
    "LarderPeersRefused",
    "LarderTableBehind",
    "LarderWorkerBusy",
];
/// The alert when a script does not end.
const LATE: &[&str] = &["LarderScriptLate"];
/// Alerts when a node stands still for longer than its lease, and another's clients go on publishing.
const PAUSED: &[&str] = &["LarderLeaseLost", "LarderMessagesDropped", "LarderNodeGivenUp"];
/// Alerts when most voters have died while slots were on the move.
const WITHOUT_MAJORITY: &[&str] = &[
    "LarderClusterdownReplies",
    "LarderGatewayErrors",
    "LarderLeaderMissing",
    "LarderLeasesRefused",
    "LarderMembersMissing",
    "LarderMovesStuck",
    "LarderNodeDown",
    "LarderNotReady",
    "LarderSlotsUnserved",
];
/// The alert when leaders come and go.
const UNSTABLE: &[&str] = &["LarderLeaderUnstable"];
/// The alert when nothing is left to watch, caused by the dashboard's test.
pub const ALONE: &[&str] = &["LarderNoTargets"];
/// Alerts whose condition is caused in a real cluster.
pub const CAUSED: [&[&str]; 6] = [UNDER_PRESSURE, LATE, PAUSED, WITHOUT_MAJORITY, UNSTABLE, ALONE];
/// What every node of these tests is started with.
pub fn flags() -> Vec<&'static str> {
    vec![
        "--metrics-bind",
        "{ip}",
        "--metrics-port",
        "9121",
        "--gateway-port",
        "6380",
        "--cluster-secret",
        "one",
        "--enable-debug-command",
        "yes",
    ]
}

/// The addresses of a cluster's running nodes.
pub fn ips(cluster: &Cluster) -> Vec<IpAddr> {
    cluster.running().into_iter().map(|number| cluster.address(number).ip()).collect()
}

/// Things done again and again on threads of their own, until the value is dropped.
#[derive(Default)]
struct Background {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    fn repeat(&mut self, mut action: impl FnMut() + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                action();
                thread::sleep(PACE);
            }
        }));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}

/// Clients of a whole cluster: one that follows the slots, one at the gateways, of every kind of outcome a little.
pub struct Load {
    _background: Background,
}

impl Load {
    /// Writes keys that stay, then goes on until it is dropped.
    #[track_caller]
    pub fn start(cluster: &Cluster) -> Load {
        let mut client = cluster.client();
        for number in 0..KEYS {
            client.cmd(&["SET", &format!("key:{number}"), "a value of some length"]);
        }
        let mut background = Background::default();
        let mut turn = 0;
        background.repeat(move || {
            turn += 1;
            mixed(&mut client, turn);
        });
        let gateways: Vec<SocketAddr> =
            ips(cluster).into_iter().map(|ip| SocketAddr::new(ip, GATEWAY_PORT)).collect();
        let mut links: Vec<Option<Client>> = gateways.iter().map(|_| None).collect();
        let mut turn = 0;
        background.repeat(move || {
            turn += 1;
            let place = turn % gateways.len();
            if links[place].is_none() {
                links[place] = Client::connect(gateways[place]).ok();
            }
            let Some(link) = &mut links[place] else { return };
            let command = encode(&["GET", &format!("key:{}", turn % KEYS)]);
            // A node may be dead: then the next turn tries another connection.
            if link.try_send_raw(&command).and_then(|()| link.try_receive()).is_err() {
                links[place] = None;
            }
        });
        Load { _background: background }
    }
}

/// One command: mostly reads that hit, some that miss, writes, keys that expire soon, and two mistakes. Whether it is
/// answered is no matter here.
fn mixed(client: &mut ClusterClient, turn: usize) {
    let key = format!("key:{}", turn % KEYS);
    let short = format!("short:{turn}");
    let words: &[&str] = match turn % 16 {
        0 => &["GET", "no such key"],
        1 | 2 => &["SET", &key, "another value"],
        3 => &["SET", &short, "1", "PX", "50"],
        4 => &["INCR", &key],
        5 => &["MGET", &key, "elsewhere"],
        6 => &["EVAL", "return 1", "0"],
        7 => &["PUBLISH", "news", "a message"],
        _ => &["GET", &key],
    };
    drop(client.try_cmd(words));
}

/// A hash tag whose slot a node owns.
#[track_caller]
fn tag_of(cluster: &Cluster, number: usize) -> String {
    let mut client = cluster.connect(number);
    let mut tags = (0..1000).map(|index| format!("{{tag{index}}}"));
    tags.find(|tag| !client.cmd(&["GET", tag]).is_error()).expect("every node has slots")
}

#[track_caller]
fn set(client: &mut Client, parameter: &str, value: &str) {
    client.check(&format!("CONFIG SET {parameter} {value}"), "OK");
}

/// A node that holds far more than it may, and may evict nothing.
fn fill(cluster: &Cluster, number: usize) {
    let (mut client, tag) = (cluster.connect(number), tag_of(cluster, number));
    let value = "x".repeat(1 << 20);
    for index in 0..120 {
        assert!(!client.cmd(&["SET", &format!("{tag}:{index}"), &value]).is_error());
    }
    set(&mut client, "maxmemory-policy", "noeviction");
    set(&mut client, "maxmemory", "16mb");
}

/// A node whose reads hit for eight seconds; then it is flooded, evicts, and its reads miss.
fn flood(cluster: &Cluster, number: usize, background: &mut Background) {
    let (mut client, tag) = (cluster.connect(number), tag_of(cluster, number));
    client.cmd(&["SET", &tag, "here"]);
    let (began, mut turn) = (Instant::now(), 0);
    let value = "x".repeat(100_000);
    background.repeat(move || {
        if began.elapsed() < Duration::from_secs(8) {
            client.cmd(&["GET", &tag]);
            return;
        }
        if turn == 0 {
            set(&mut client, "maxmemory", "8mb");
        }
        turn += 1;
        client.cmd(&["SET", &format!("{tag}:{turn}"), &value]);
        client.cmd(&["GET", &format!("{tag}:none")]);
    });
}

/// A node with as many clients as it allows, others that try, and one that keeps its worker busy with long commands.
fn crowd(cluster: &Cluster, number: usize, background: &mut Background) -> Vec<Client> {
    let address = cluster.address(number);
    let mut sleeper = cluster.connect(number);
    let mut crowd: Vec<Client> = (0..28).map(|_| cluster.connect(number)).collect();
    for client in &mut crowd {
        client.check("PING", "PONG");
    }
    set(&mut crowd[0], "maxclients", "30");
    background.repeat(move || {
        sleeper.cmd(&["DEBUG", "SLEEP", "0.5"]);
    });
    background.repeat(move || {
        // Some come in for a moment; the others are told that there are too many.
        let tries: Vec<_> = (0..4).map(|_| Client::connect(address)).collect();
        drop(tries);
        thread::sleep(Duration::from_millis(200));
    });
    crowd
}

/// A client that sends a request without an end, over the limit of unread bytes.
fn talk_without_end(cluster: &Cluster, number: usize, background: &mut Background) {
    let address = cluster.address(number);
    set(&mut cluster.connect(number), "client-query-buffer-limit", "1mb");
    let mut request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n".to_vec();
    request.resize(4 << 20, b'x');
    background.repeat(move || {
        if let Ok(mut client) = Client::connect(address) {
            // It is closed while it sends: that is the point.
            drop(client.try_send_raw(&request));
        }
        thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn nodes_under_pressure() {
    if !prometheus::is_installed() {
        return;
    }
    let mut cluster = Cluster::start(3, &flags());
    let prometheus = Prometheus::start(cluster.address(0).ip());
    cluster.wait_ok();
    // One joins, so that the slot table is newer than that of the cluster which is founded below.
    cluster.join();
    cluster.wait_ok();
    prometheus.watch(&ips(&cluster));
    prometheus.wait_up(&ips(&cluster));
    let mut runner = cluster.connect(0);
    set(&mut runner, "busy-reply-threshold", "100");
    runner.send(&["EVAL", "while true do end", "0"]);
    prometheus.wait_for_alerts(LATE);
    cluster.connect(0).check("SCRIPT KILL", "OK");
    assert!(runner.receive().is_error());
    let mut background = Background::default();
    flood(&cluster, 1, &mut background);
    talk_without_end(&cluster, 1, &mut background);
    fill(&cluster, 0);
    let crowd = crowd(&cluster, 2, &mut background);
    // A node that is to join, with another secret; and one that has no seeds but itself, and founds a cluster.
    cluster.join_with(&["--cluster-secret", "two"]);
    let stray = Cluster::start(1, &flags());
    prometheus.watch(&[ips(&cluster), ips(&stray)].concat());
    prometheus.wait_for_alerts(UNDER_PRESSURE);
    drop(background);
    drop(crowd);
}

/// Which of these nodes leads, as its own page says.
#[track_caller]
fn leader(cluster: &Cluster, among: &[usize]) -> usize {
    let leads = |number: &usize| {
        let address = SocketAddr::new(cluster.address(*number).ip(), METRICS_PORT);
        http::get(address, "/metrics")
            .is_ok_and(|(_, page)| page.lines().any(|line| line == "larder_cluster_leader 1"))
    };
    let mut found = None;
    cluster.wait("there is a leader", || {
        found = among.iter().copied().find(leads);
        found.is_some()
    });
    found.unwrap_or_default()
}

/// Another node joins, and is seen to be given slots with some megabytes that take a while. Values and not keys, as these
/// are sooner written.
fn begin_moves(cluster: &mut Cluster) {
    let mut client = cluster.client();
    let value = "x".repeat(1 << 20);
    for index in 0..240 {
        client.cmd(&["SET", &format!("big:{index}"), &value]);
    }
    cluster.join();
    cluster.wait("slots move", || cluster.info(0, "cluster_moves").parse().is_ok_and(|moves: u32| moves > 0));
}

#[test]
fn nodes_that_fail() {
    if !prometheus::is_installed() {
        return;
    }
    let mut cluster = Cluster::start(3, &flags());
    let prometheus = Prometheus::start(cluster.address(0).ip());
    cluster.wait_ok();
    prometheus.watch(&ips(&cluster));
    prometheus.wait_up(&ips(&cluster));
    let load = Load::start(&cluster);

    let leading = leader(&cluster, &[0, 1, 2]);
    let paused = (leading + 1) % 3;
    cluster.signal(paused, "STOP");
    let mut publishing = Background::default();
    let mut publisher = cluster.connect(leading);
    publishing.repeat(move || drop(publisher.cmd(&["PUBLISH", "news", "a message"])));
    prometheus.wait_for_alerts(&["LarderMessagesDropped", "LarderNodeGivenUp"]);
    drop(publishing);
    cluster.signal(paused, "CONT");
    prometheus.wait_for_alerts(PAUSED);
    cluster.wait_ok();

    let first = leader(&cluster, &[0, 1, 2]);
    begin_moves(&mut cluster);
    prometheus.watch(&ips(&cluster));
    // Of three who vote, one is left; nobody can say any more that a move is done.
    cluster.kill(first);
    cluster.kill((first + 1) % 3);
    prometheus.wait_for_alerts(WITHOUT_MAJORITY);
    drop(load);
}

#[test]
fn leaders_that_fall_one_after_the_other() {
    if !prometheus::is_installed() {
        return;
    }
    // A short timeout, so that four leaders fit into fifteen seconds.
    let cluster = Cluster::start(3, &[&flags()[..], &["--cluster-node-timeout", "1000"]].concat());
    let prometheus = Prometheus::start(cluster.address(0).ip());
    cluster.wait_ok();
    prometheus.watch(&ips(&cluster));
    prometheus.wait_up(&ips(&cluster));
    prometheus.wait(UNSTABLE[0], |prometheus| {
        let fallen = leader(&cluster, &[0, 1, 2]);
        cluster.signal(fallen, "STOP");
        leader(&cluster, &[(fallen + 1) % 3, (fallen + 2) % 3]);
        cluster.signal(fallen, "CONT");
        let firing = prometheus.firing();
        if firing.contains(UNSTABLE[0]) { Ok(()) } else { Err(format!("{firing:?}")) }
    });
}
