//! The gateway of real processes: a client that knows nothing of clusters is served every key by any node, in order,
//! while slots move and nodes go.

mod order;
#[path = "../support/mod.rs"]
mod support;
mod waits;

use larder::base::slot::slot_of;
use std::collections::HashSet;
use std::env;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use support::client::{Client, encode};
use support::cluster::Cluster;
use support::frame::Frame;
use support::tool;

const GATEWAY_PORT: u16 = 6380;
/// Longest wait for the gateway to serve again after a node has gone.
const HEALED: Duration = Duration::from_secs(30);

fn start(flags: &[&str]) -> Cluster {
    let port = GATEWAY_PORT.to_string();
    let flags: Vec<&str> = ["--gateway-port", &port].into_iter().chain(flags.iter().copied()).collect();
    let cluster = Cluster::start(3, &flags);
    cluster.wait_ok();
    cluster
}

fn gateway(cluster: &Cluster, number: usize) -> SocketAddr {
    SocketAddr::new(cluster.address(number).ip(), GATEWAY_PORT)
}

#[track_caller]
fn connect(cluster: &Cluster, number: usize) -> Client {
    Client::connect(gateway(cluster, number)).unwrap_or_else(|error| panic!("node {number}: {error}"))
}

/// The node that serves a key, as node 0 says.
fn owner(cluster: &Cluster, key: &str) -> SocketAddr {
    // Whatever its type is.
    match cluster.connect(0).cmd(&["EXISTS", key]) {
        Frame::Error(text) if text.starts_with("MOVED ") => {
            text.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address")
        }
        Frame::Error(text) => panic!("{text}"),
        _ => cluster.address(0),
    }
}

/// A key that a node serves.
fn key_of(cluster: &Cluster, number: usize) -> String {
    let mut keys = (0..).map(|index| format!("key:{index}"));
    keys.find(|key| owner(cluster, key) == cluster.address(number)).expect("every node has slots")
}

fn list(frame: &Frame) -> Vec<String> {
    match frame {
        Frame::Array(elements) => elements.iter().map(Frame::text).collect(),
        other => panic!("no array: {other}"),
    }
}

#[test]
fn every_key_is_served_by_any_node_in_both_protocols() {
    let cluster = start(&[]);
    for resp3 in [false, true] {
        let mut clients: Vec<Client> = (0..3).map(|number| connect(&cluster, number)).collect();
        if resp3 {
            clients = clients.into_iter().map(Client::hello3).collect();
        }
        clients[0].check("FLUSHALL", "OK");
        for index in 0..300 {
            clients[index % 3].check(&format!("SET k:{index} v{index}"), "OK");
        }
        for index in 0..300 {
            clients[(index + 1) % 3].check(&format!("GET k:{index}"), &format!("\"v{index}\""));
        }
        for client in &mut clients {
            client.check("DBSIZE", "300");
            assert!(matches!(client.cmd(&["GET", "none"]), Frame::Null));
            assert_eq!(list(&client.line("KEYS k:*")).len(), 300);
            assert!(client.line("RANDOMKEY").text().starts_with("k:"));
        }
        if resp3 {
            assert!(matches!(clients[0].line("CONFIG GET hz"), Frame::Map(_)));
        }
    }
}

#[test]
fn it_looks_like_one_server() {
    let cluster = start(&[]);
    let mut client = connect(&cluster, 1);
    let info = client.line("INFO").text();
    for line in ["redis_mode:standalone", "cluster_enabled:0", "tcp_port:6380"] {
        assert!(info.lines().any(|known| known == line), "{line} not in {info}");
    }
    assert!(client.line("HELLO").to_string().contains("standalone"));
    for line in
        ["CLUSTER SLOTS", "CLUSTER INFO", "CLUSTER NODES", "CLUSTER MYID", "CLUSTER KEYSLOT a", "READONLY"]
    {
        client.check(line, "-ERR This instance has cluster support disabled");
    }
    client.check("SELECT 0", "OK");
    assert!(client.line("SELECT 1").is_error());
    assert_eq!(list(&client.line("CONFIG GET databases"))[1], "1");
    client.check("PING", "PONG");
    assert!(client.line("CLIENT LIST").text().contains("cmd=client|list"));
}

#[test]
fn commands_of_many_keys_are_split_and_joined() {
    let cluster = start(&[]);
    for resp3 in [false, true] {
        let mut client = connect(&cluster, 2);
        if resp3 {
            client = client.hello3();
        }
        client.check("FLUSHALL", "OK");
        let keys: Vec<String> = (0..100).map(|index| format!("m:{index}")).collect();
        let mut words = vec!["MSET".to_owned()];
        words.extend(keys.iter().flat_map(|key| [key.clone(), format!("of {key}")]));
        assert_eq!(client.cmd(&words).to_string(), "OK");
        let mut words = vec!["MGET".to_owned(), "none".to_owned()];
        words.extend(keys.iter().cloned());
        let Frame::Array(found) = client.cmd(&words) else { panic!("no array") };
        assert!(matches!(found[0], Frame::Null));
        for (key, value) in keys.iter().zip(&found[1..]) {
            assert_eq!(value.text(), format!("of {key}"));
        }
        client.check("EXISTS m:1 m:2 m:3 m:1 none", "4");
        client.check("TOUCH m:1 m:2 m:3 none", "3");
        client.check("DEL m:1 m:2 none", "2");
        client.check("UNLINK m:3 m:4 m:5 none", "3");
        client.check("DBSIZE", "95");
        client.check("MGET {m}1 {m}2", "[nil, nil]");
        client.check("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command");
        client.check("MSETNX x 1 y 2", "-CROSSSLOT Keys in request don't hash to the same slot");
        client.check("MSETNX {t}x 1 {t}y 2", "1");
        client.check("RENAME {t}x {t}z", "OK");
        client.check("RENAME {t}z other", "-CROSSSLOT Keys in request don't hash to the same slot");
        client.check("DEL {t}y {t}z", "2");
        scan_sees_all(&mut client, &keys[6..]);
        client.check("FLUSHDB", "OK");
        client.check("DBSIZE", "0");
        assert!(matches!(client.line("RANDOMKEY"), Frame::Null));
    }
}

fn scan_sees_all(client: &mut Client, keys: &[String]) {
    let (mut cursor, mut seen) = ("0".to_owned(), HashSet::new());
    for _ in 0..1000 {
        let Frame::Array(reply) = client.cmd(&["SCAN", &cursor, "MATCH", "m:*", "COUNT", "7"]) else {
            panic!("no array")
        };
        seen.extend(list(&reply[1]));
        cursor = reply[0].text();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(cursor, "0", "the scan ends");
    let missing: Vec<_> = keys.iter().filter(|key| !seen.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?} were not seen");
}

#[test]
fn replies_keep_the_order_of_requests() {
    let cluster = start(&[]);
    for resp3 in [false, true] {
        let mut client = connect(&cluster, 0);
        if resp3 {
            client = client.hello3();
        }
        client.check("FLUSHALL", "OK");
        const ROUNDS: usize = 2000;
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        for index in 0..ROUNDS {
            let key = format!("o:{}", index % 50);
            let before = expected_count(index, 50);
            match index % 7 {
                5 => {
                    wire.extend(encode(&["ECHO", &format!("e{index}")]));
                    expected.push(format!("\"e{index}\""));
                }
                6 => {
                    wire.extend(encode(&["EXISTS", &key, "never"]));
                    expected.push(if before > 0 { "1" } else { "0" }.to_owned());
                }
                _ => {
                    wire.extend(encode(&["INCR", &key]));
                    expected.push((before + 1).to_string());
                }
            }
        }
        client.send_raw(&wire);
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(&client.reply().to_string(), expected, "reply {index}");
        }
    }
}

/// How often the key of request `index` was counted up before it.
fn expected_count(index: usize, keys: usize) -> usize {
    (0..index).filter(|other| other % keys == index % keys && other % 7 < 5).count()
}

#[test]
fn replies_that_are_not_wanted_are_left_out() {
    let cluster = start(&[]);
    let mut client = connect(&cluster, 0);
    let keys: Vec<String> = (0..3).map(|number| key_of(&cluster, number)).collect();
    let mut wire = Vec::new();
    for key in &keys {
        wire.extend(encode(&["CLIENT", "REPLY", "SKIP"]));
        wire.extend(encode(&["SET", key, "1"]));
        wire.extend(encode(&["GET", key]));
    }
    wire.extend(encode(&["CLIENT", "REPLY", "OFF"]));
    for key in &keys {
        wire.extend(encode(&["SET", key, "2"]));
    }
    wire.extend(encode(&["MGET", &keys[0], &keys[1], &keys[2]]));
    wire.extend(encode(&["MSETNX", &keys[0], "3", &keys[1], "3"]));
    wire.extend(encode(&["CLIENT", "REPLY", "ON"]));
    wire.extend(encode(&["MGET", &keys[0], &keys[1], &keys[2]]));
    client.send_raw(&wire);
    for _ in 0..3 {
        assert_eq!(client.reply().to_string(), "\"1\"");
    }
    assert_eq!(client.reply().to_string(), "OK");
    assert_eq!(client.reply().to_string(), "[\"2\", \"2\", \"2\"]");
}

#[test]
fn transactions_work_where_keys_share_a_slot() {
    let cluster = start(&[]);
    for number in 0..3 {
        let key = key_of(&cluster, number);
        let tagged = format!("{{{key}}}:n");
        let mut client = connect(&cluster, 0);
        let mut other = connect(&cluster, 1);
        client.check("MULTI", "OK");
        client.check(&format!("SET {key} 1"), "QUEUED");
        client.check(&format!("INCR {tagged}"), "QUEUED");
        client.check("PING", "QUEUED");
        client.check("EXEC", "[OK, 1, PONG]");
        client.check(&format!("GET {key}"), "\"1\"");
        // A watched key that is changed by somebody else.
        client.check(&format!("WATCH {key}"), "OK");
        other.check(&format!("SET {key} 2"), "OK");
        client.check("MULTI", "OK");
        client.check(&format!("SET {key} 3"), "QUEUED");
        assert!(matches!(client.line("EXEC"), Frame::Null), "node {number}");
        client.check(&format!("GET {key}"), "\"2\"");
        // One that is not, and one that is no longer watched.
        for undo in ["", "UNWATCH", "DISCARD"] {
            client.check(&format!("WATCH {key} {tagged}"), "OK");
            match undo {
                "UNWATCH" => client.check("UNWATCH", "OK"),
                "DISCARD" => {
                    client.check("MULTI", "OK");
                    client.check("DISCARD", "OK");
                }
                _ => {}
            }
            if !undo.is_empty() {
                other.check(&format!("SET {key} 5"), "OK");
            }
            client.check("MULTI", "OK");
            client.check(&format!("INCR {key}"), "QUEUED");
            let reply = client.line("EXEC");
            assert!(matches!(reply, Frame::Array(_)), "node {number} {undo}: {reply}");
        }
        client.check("EXEC", "-ERR EXEC without MULTI");
    }
    let mut client = connect(&cluster, 0);
    let keys: Vec<String> = (0..3).map(|number| key_of(&cluster, number)).collect();
    client.check("MULTI", "OK");
    client.check(&format!("SET {} 9", keys[1]), "QUEUED");
    client.check(&format!("SET {} 9", keys[2]), "QUEUED");
    client.check("EXEC", "-CROSSSLOT Keys in request don't hash to the same slot");
    client.check("MULTI", "OK");
    assert!(client.line("DBSIZE").is_error());
    client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    client.check("PING", "PONG");
}

#[test]
fn large_values_and_large_pipelines_pass() {
    let cluster = start(&[]);
    for number in 0..3 {
        let key = key_of(&cluster, number);
        let value = vec![b'a' + number as u8; 20_000_000];
        let mut client = connect(&cluster, 0).hello3();
        assert_eq!(client.cmd(&[b"SET".as_slice(), key.as_bytes(), &value]).to_string(), "OK");
        for _ in 0..3 {
            client.send(&["GET", &key]);
            client.send(&["STRLEN", &key]);
        }
        for _ in 0..3 {
            let Frame::Bulk(found) = client.reply() else { panic!("no value") };
            assert!(found == value, "the value of node {number}");
            assert_eq!(client.reply().to_string(), "20000000");
        }
    }
    // Far more than may wait at once, from a client that reads only at the end.
    let mut client = connect(&cluster, 0);
    let mut wire = Vec::new();
    for index in 0..50_000 {
        wire.extend(encode(&["SET", &format!("p:{index}"), &format!("{index}")]));
    }
    client.send_raw(&wire);
    for _ in 0..50_000 {
        assert_eq!(client.reply().to_string(), "OK");
    }
    client.check("DBSIZE", "50003");
}

/// One client that counts keys up through the gateway of node 0 for as long as `busy` says; the last number that was
/// acknowledged for each key, and errors.
fn count_up(address: SocketAddr, mut busy: impl FnMut() -> bool) -> (Vec<i64>, Vec<String>) {
    const KEYS: usize = 200;
    let mut client = Client::connect(address).expect("the gateway");
    let (mut counts, mut errors) = (vec![0; KEYS], Vec::new());
    while busy() {
        for index in 0..KEYS {
            client.send(&["INCR", &format!("c:{index}")]);
        }
        for count in &mut counts {
            match client.reply() {
                Frame::Integer(value) => {
                    assert!(value > *count, "{value} after {count}");
                    *count = value;
                }
                other => errors.push(other.to_string()),
            }
        }
    }
    (counts, errors)
}

#[test]
fn slots_move_and_nobody_notices() {
    let mut cluster = start(&[]);
    let address = gateway(&cluster, 0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (counts, errors) = std::thread::scope(|scope| {
        let load = scope.spawn(|| count_up(address, || !stop.load(std::sync::atomic::Ordering::Relaxed)));
        cluster.join();
        cluster.wait_ok();
        assert_eq!(cluster.stop(2), Some(0), "a drained node ends in order");
        cluster.wait_ok();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        load.join().unwrap_or_else(|_| panic!("the load failed\n{}", cluster.output()))
    });
    assert!(errors.is_empty(), "{} errors, such as {:?}", errors.len(), errors.first());
    let mut client = connect(&cluster, 1);
    for (index, count) in counts.iter().enumerate() {
        client.check(&format!("GET c:{index}"), &format!("\"{count}\""));
    }
}

#[test]
fn a_dead_node_is_an_error_and_then_none() {
    let mut cluster = start(&[]);
    let (here, there) = (key_of(&cluster, 0), key_of(&cluster, 2));
    let mut client = connect(&cluster, 0);
    client.check(&format!("SET {there} 1"), "OK");
    cluster.kill(2);
    let began = Instant::now();
    let mut errors = 0;
    loop {
        let reply = client.cmd(&["SET", &there, "2"]);
        let Frame::Error(text) = reply else { break };
        let known = text.starts_with("CLUSTERDOWN ") || text.contains("may or may not have been executed");
        assert!(known, "{text}");
        errors += 1;
        client.check(&format!("SET {here} 1"), "OK");
        assert!(began.elapsed() < HEALED, "not healed after {HEALED:?}, {errors} errors");
    }
    client.check(&format!("GET {there}"), "\"2\"");
    assert!(errors > 0, "a dead node does not answer");
    cluster.wait_ok();
    client.check("FLUSHALL", "OK");
    client.check("DBSIZE", "0");
}

#[test]
fn the_cluster_has_a_password() {
    let cluster = Cluster::start(3, &["--gateway-port", "6380", "--requirepass", "secret"]);
    let mut client = None;
    cluster.wait("the gateway serves", || {
        let Ok(mut found) = Client::connect(gateway(&cluster, 0)) else { return false };
        found.check("GET k", "-NOAUTH Authentication required.");
        found.check("AUTH secret", "OK");
        let served = (0..30).all(|index| !found.cmd(&["SET", &format!("k:{index}"), "v"]).is_error());
        client = Some(found);
        served
    });
    let client = client.as_mut().expect("a connection");
    client.check("DBSIZE", "30");
    let mut client = connect(&cluster, 1);
    client.cmd(&["HELLO", "3", "AUTH", "default", "secret"]);
    for index in 0..30 {
        client.check(&format!("GET k:{index}"), "\"v\"");
    }
}

#[test]
fn plain_clients_work() {
    let cluster = start(&[]);
    let address = gateway(&cluster, 1);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    if tool::is_installed("redis-cli", &["--version"]) {
        let run = |arguments: &[&str]| {
            let mut command = Command::new("redis-cli");
            tool::run(command.args(["-h", &host, "-p", &port]).args(arguments), b"").stdout
        };
        for index in 0..50 {
            assert_eq!(run(&["SET", &format!("cli:{index}"), "v"]), "OK\n");
        }
        assert_eq!(run(&["DBSIZE"]), "50\n");
        assert_eq!(run(&["--scan", "--pattern", "cli:*"]).lines().count(), 50);
        assert_eq!(run(&["-3", "MGET", "cli:1", "cli:2"]), "v\nv\n");
        assert_eq!(run(&["FLUSHALL"]), "OK\n");
    }
    let python = env::var("LARDER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if tool::is_installed(&python, &["-c", "import redis"]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/gateway.py");
        for protocol in ["2", "3"] {
            let mut command = Command::new(&python);
            let finished = tool::run(command.args([script, &host, &port, protocol]), b"");
            assert!(finished.stdout.contains("gateway: ok"), "{}", finished.all());
        }
    }
}

#[test]
fn a_client_that_leaves_or_asks_too_early_does_no_harm() {
    let cluster = start(&[]);
    let far = key_of(&cluster, 1);
    for _ in 0..50 {
        let mut client = connect(&cluster, 0);
        client.send(&["SET", &far, "x"]);
        client.send(&["WATCH", &far]);
        drop(client);
    }
    // One that sends its last request and closes its side still gets its reply.
    let mut stream = std::net::TcpStream::connect(gateway(&cluster, 0)).expect("the gateway");
    stream.write_all(&encode(&["GET", &far])).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    let mut reply = String::new();
    std::io::Read::read_to_string(&mut stream, &mut reply).expect("a reply");
    assert_eq!(reply, "$1\r\nx\r\n");
    let slot = slot_of(far.as_bytes()).number();
    let mut client = connect(&cluster, 0);
    client.send_raw(format!("SET {far} inline\r\nGET {far}\r\nQUIT\r\n").as_bytes());
    assert_eq!(client.reply().to_string(), "OK", "slot {slot}");
    assert_eq!(client.reply().to_string(), "\"inline\"");
    assert_eq!(client.reply().to_string(), "OK");
    assert!(client.is_closed_by_server());
}
