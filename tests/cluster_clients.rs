//! Clients that nobody here wrote, against clusters of real processes: they find every slot, follow it when it moves,
//! and none of their callers ever sees an error while a node joins and another leaves.
//!
//! A missing program skips its test with a word, or fails it under `CI=true`; `.ci/run` installs them all.

mod support;

use std::collections::HashSet;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use support::cluster::Cluster;
use support::tool;

/// Keys that redis-cli writes; the scripts write one for each of the 16384 slots.
const KEYS: usize = 10_000;

fn python() -> String {
    env::var("LARDER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn has_python() -> bool {
    tool::is_installed(&python(), &["-c", "import redis.asyncio"])
}

fn has_node() -> bool {
    tool::is_installed("node", &["-e", "require('redis'); require('ioredis')"])
}

fn has_php() -> bool {
    tool::is_installed("php", &["-r", "exit(class_exists('RedisCluster') ? 0 : 1);"])
}

/// Sizes of the clusters that every client is tried against.
const SIZES: [usize; 2] = [3, 5];

fn cluster_of(nodes: usize) -> Cluster {
    let cluster = Cluster::start(nodes, &[]);
    cluster.wait_ok();
    cluster
}

/// A client's script; all of them take their kind, an address, a protocol, what to do and how many nodes there are.
fn script(cluster: &Cluster, client: [&str; 3], protocol: &str, mode: &str) -> Command {
    let [program, file, kind] = client;
    let mut command = Command::new(if program == "python" { python() } else { program.to_owned() });
    let path = format!("{}/tests/interop/{file}", env!("CARGO_MANIFEST_DIR"));
    command.args([&path, kind, &cluster.address(0).to_string(), protocol, mode, &cluster.len().to_string()]);
    command
}

/// Output of a program that must succeed.
#[track_caller]
fn succeed(cluster: &Cluster, command: &mut Command, input: &[u8]) -> String {
    let finished = tool::run(command, input);
    assert!(finished.status.success(), "{command:?}: {}\n{}", finished.all(), cluster.output());
    finished.all()
}

#[track_caller]
fn works(clients: &[[&str; 3]]) {
    for nodes in SIZES {
        let cluster = cluster_of(nodes);
        for client in clients {
            for protocol in ["2", "3"] {
                let text = succeed(&cluster, &mut script(&cluster, *client, protocol, "all"), b"");
                assert!(text.contains(": ok"), "{text}");
            }
        }
    }
}

fn cli(cluster: &Cluster, arguments: &[&str], input: &[u8]) -> String {
    succeed(cluster, Command::new("redis-cli").args(arguments), input)
}

/// Keys of all nodes together.
fn keys(cluster: &Cluster) -> Vec<i64> {
    let running = cluster.running().into_iter();
    running.map(|number| cluster.connect(number).cmd(&["DBSIZE"]).integer()).collect()
}

#[test]
fn redis_cli_follows_every_slot_and_finds_the_cluster_in_order() {
    if !tool::is_installed("redis-cli", &["--version"]) {
        return;
    }
    SIZES.into_iter().for_each(cli_works);
}

fn cli_works(nodes: usize) {
    let cluster = cluster_of(nodes);
    let address = cluster.address(0);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let on = ["-c", "-h", &host, "-p", &port];
    let written: String = (0..KEYS).map(|number| format!("SET key:{number} v{number}\n")).collect();
    let said = cli(&cluster, &on, written.as_bytes());
    assert_eq!(said.lines().filter(|line| *line == "OK").count(), KEYS);
    let read: String = (0..KEYS).map(|number| format!("GET key:{number}\n")).collect();
    let said = cli(&cluster, &on, read.as_bytes());
    let values: HashSet<&str> = said.lines().filter(|line| line.starts_with('v')).collect();
    assert_eq!(values.len(), KEYS);
    let said = cli(&cluster, &on, b"GET {t}1\nMULTI\nSET {t}1 1\nINCR {t}1\nEXEC\n");
    assert!(said.contains("OK\nQUEUED\nQUEUED\nOK\n2"), "{said}");

    let address = address.to_string();
    let said = cli(&cluster, &["--cluster", "check", &address], b"");
    assert!(said.contains("[OK] All nodes agree about slots configuration."), "{said}");
    assert!(said.contains("[OK] All 16384 slots covered."), "{said}");
    assert!(!said.contains("[ERR]") && !said.contains("[WARNING]"), "{said}");
    let said = cli(&cluster, &["--cluster", "info", &address], b"");
    assert!(said.contains(&format!("[OK] {} keys in {nodes} masters.", KEYS + 1)), "{said}");
    let said = cli(&cluster, &["--cluster", "call", &address, "DBSIZE"], b"");
    let sizes = said.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<usize>().ok());
    assert_eq!(sizes.sum::<usize>(), KEYS + 1, "{said}");
    cli(&cluster, &["--cluster", "call", &address, "FLUSHALL"], b"");
    assert_eq!(keys(&cluster), vec![0; nodes]);
}

#[test]
fn redis_benchmark_loads_all_nodes() {
    if !tool::is_installed("redis-benchmark", &["--version"]) {
        return;
    }
    SIZES.into_iter().for_each(benchmark_works);
}

fn benchmark_works(nodes: usize) {
    let cluster = cluster_of(nodes);
    let address = cluster.address(1);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    for options in [vec!["-P", "16"], vec!["--threads", "2", "-P", "4"], vec!["-3"]] {
        let mut command = Command::new("redis-benchmark");
        command.args(["--cluster", "-h", &host, "-p", &port, "-t", "set,get,incr", "-q", "--csv"]);
        let said = succeed(&cluster, command.args(["-n", "30000", "-r", "100000"]).args(options), b"");
        assert!(said.contains(&format!("Cluster has {nodes} master nodes")), "{said}");
        assert!(!said.to_lowercase().contains("error") && !said.contains("WARN"), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with('"') && !line.contains("rps")).count(), 3);
    }
    assert!(keys(&cluster).iter().all(|count| *count > 1000), "{:?}", keys(&cluster));
}

#[test]
fn redis_py_works_with_all_slots() {
    if has_python() {
        let file = "redis_py_cluster.py";
        works(&[["python", file, "sync"], ["python", file, "asyncio"]]);
    }
}

#[test]
fn clients_of_node_work_with_all_slots() {
    if has_node() {
        works(&[["node", "node_cluster.js", "redis"], ["node", "node_cluster.js", "ioredis"]]);
    }
}

/// It speaks RESP2 only. While nodes leave it is not tried: phpredis 5.3 ends by a segmentation fault then.
#[test]
fn phpredis_works_with_all_slots() {
    if has_php() {
        for nodes in SIZES {
            let cluster = cluster_of(nodes);
            let client = ["php", "php_cluster.php", "phpredis"];
            let text = succeed(&cluster, &mut script(&cluster, client, "2", "all"), b"");
            assert!(text.contains(": ok"), "{text}");
        }
    }
}

/// A client that works until its standard input ends.
struct Load {
    child: Child,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Load {
    /// A client that has written all its keys.
    fn start(cluster: &Cluster, client: [&str; 3], protocol: &str) -> Load {
        let mut command = script(cluster, client, protocol, "load");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut load = Load { child, output, name: format!("{} over RESP{protocol}", client[2]) };
        let mut line = String::new();
        load.output.read_line(&mut line).expect("it is text");
        assert_eq!(line.trim_end(), "filled", "{}", load.name);
        load
    }

    /// Has it look for all its keys and end.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("it is text");
        let status = self.child.wait().expect("it ends");
        assert!(status.success() && text.contains(": ok"), "{}: {status}\n{text}", self.name);
        println!("{}: {}", self.name, text.trim_end().replace('\n', ", "));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn no_caller_notices_a_node_that_joins_and_one_that_leaves() {
    let mut clients = Vec::new();
    if has_python() {
        let file = "redis_py_cluster.py";
        clients.extend([(["python", file, "sync"], "2"), (["python", file, "asyncio"], "3")]);
    }
    // A command that node-redis has sent to a node that is gone waits there until it times out: only who is told of
    // every move before the node goes sees no error.
    if has_node() {
        let file = "node_cluster.js";
        clients.extend([(["node", file, "ioredis"], "2"), (["node", file, "redis"], "3")]);
    }
    let mut cluster = cluster_of(3);
    let loads: Vec<Load> =
        clients.iter().map(|(client, protocol)| Load::start(&cluster, *client, protocol)).collect();
    cluster.join();
    println!("a fourth node serves after {:?}", cluster.wait_ok());
    // The second: the first is the one that the clients were told of.
    assert_eq!(cluster.stop(1), Some(0), "{}", cluster.output());
    cluster.wait_ok();
    loads.into_iter().for_each(Load::finish);
    if !clients.is_empty() {
        assert_eq!(keys(&cluster).iter().sum::<i64>(), 16_384);
    }
}
