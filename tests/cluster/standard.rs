//! What redis-server 7.0 answers in cluster mode, and whether its tools take our answers. Runs where they are installed.

use std::process::Command;

use crate::nodes::{Node, cluster};
use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, free_port, wait_until};
use crate::support::tool;

/// A Redis that is a cluster of its own.
fn redis() -> Option<Server> {
    if !tool::is_installed("redis-server", &["--version"]) {
        return None;
    }
    let bus = free_port().to_string();
    let server = Server::start_program("redis-server", &["--cluster-enabled", "yes", "--cluster-port", &bus]);
    let mut client = server.connect();
    client.check("CLUSTER ADDSLOTSRANGE 0 16383", "OK");
    wait_until("Redis serves its slots", || client.line("CLUSTER INFO").text().contains("cluster_state:ok"));
    Some(server)
}

/// The kinds of the parts of a reply, and the texts of a map's keys: what two servers must agree on although their names
/// and addresses differ.
fn outline(frame: &Frame) -> String {
    let list = |items: &[Frame]| items.iter().map(outline).collect::<Vec<_>>().join(" ");
    match frame {
        Frame::Simple(_) => "simple".to_owned(),
        Frame::Error(text) => format!("-{text}"),
        Frame::Integer(_) => "integer".to_owned(),
        Frame::Bulk(text)
            if text.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'-') && !text.is_empty() =>
        {
            String::from_utf8_lossy(text).into_owned()
        }
        Frame::Bulk(_) => "bulk".to_owned(),
        Frame::Verbatim(kind, _) => format!("verbatim {kind}"),
        Frame::Array(items) => format!("[{}]", list(items)),
        Frame::Map(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| format!("{}: {}", outline(name), outline(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Replies that must be equal to the byte.
const ALIKE: &[&str] = &[
    "CLUSTER KEYSLOT {user1000}.following",
    "CLUSTER COUNTKEYSINSLOT x",
    "CLUSTER COUNTKEYSINSLOT 16384",
    "CLUSTER COUNTKEYSINSLOT -1",
    "CLUSTER COUNTKEYSINSLOT 99999999999999999999",
    "CLUSTER COUNTKEYSINSLOT 5",
    "CLUSTER GETKEYSINSLOT 1 -1",
    "CLUSTER GETKEYSINSLOT 1 x",
    "CLUSTER GETKEYSINSLOT 20000 1",
    "CLUSTER GETKEYSINSLOT x 1",
    "CLUSTER GETKEYSINSLOT 5 10",
    "CLUSTER REPLICAS nosuch",
    "CLUSTER SLAVES nosuch",
    "CLUSTER COUNT-FAILURE-REPORTS nosuch",
    "CLUSTER LINKS",
    "CLUSTER NOSUCH",
    "CLUSTER",
    "CLUSTER SLOTS x",
    "CLUSTER HELP x",
    "CLUSTER ADDSLOTS",
    "CLUSTER SETSLOT 1",
    "READONLY",
    "READWRITE",
    "ASKING",
    "SELECT 0",
    "SELECT 3",
    "SELECT 99",
    "SELECT x",
    "SWAPDB 0 1",
    "SWAPDB x 1",
    "MOVE a 1",
    "MOVE a 0",
    "SET {a}a v",
    "COPY {a}a {a}b DB 3",
    "COPY {a}a {a}b DB x",
    "COPY {a}a {a}b DB 1 foo",
    "COPY {a}a {a}b DB 0",
    "CLUSTER COUNTKEYSINSLOT 15495",
    "ROLE",
    "MULTI",
    "SELECT 3",
    "CLUSTER KEYSLOT a",
    "EXEC",
    "SENTINEL masters",
    "FLUSHALL",
];

/// Replies that must be built alike.
const BUILT_ALIKE: &[&str] = &[
    "CLUSTER SLOTS",
    "CLUSTER SHARDS",
    "CLUSTER NODES",
    "CLUSTER INFO",
    "CLUSTER MYID",
    "CLUSTER BUMPEPOCH",
];

#[test]
fn replies_are_those_of_a_redis_in_cluster_mode() {
    let Some(redis) = redis() else { return };
    let (nodes, _) = cluster(1);
    let mut bad = Vec::new();
    for resp3 in [false, true] {
        let mut our = nodes[0].connect(resp3);
        let mut their = redis.connect();
        if resp3 {
            their = their.hello3();
        }
        for line in ALIKE {
            let (our, their) = (our.line(line), their.line(line));
            if our != their {
                bad.push(format!("{line} (RESP3: {resp3})\n  ours:  {our}\n  redis: {their}"));
            }
        }
        for line in BUILT_ALIKE {
            let (our, their) = (outline(&our.line(line)), outline(&their.line(line)));
            // Redis does not know where it can be reached unless it has met somebody.
            if our.replace("bulk", "") != their.replace("bulk", "") {
                bad.push(format!("{line} (RESP3: {resp3})\n  ours:  {our}\n  redis: {their}"));
            }
        }
        fields_are_there(&mut our, &mut their);
    }
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

/// Every field of Redis's CLUSTER INFO is in ours.
fn fields_are_there(our: &mut Client, their: &mut Client) {
    let ours = our.line("CLUSTER INFO").text();
    for line in their.line("CLUSTER INFO").text().lines() {
        let name = line.split(':').next().unwrap_or_default();
        assert!(ours.lines().any(|line| line.split(':').next() == Some(name)), "no {name} in\n{ours}");
    }
}

#[track_caller]
fn redis_cli(node: &Node, arguments: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    let finished = tool::run(command.args(["-p", &node.port()]).args(arguments), b"");
    assert!(finished.status.success(), "{arguments:?}: {}", finished.all());
    finished.all()
}

#[test]
fn redis_cli_checks_the_cluster_and_finds_nothing_wrong() {
    if !tool::is_installed("redis-cli", &["--version"]) {
        return;
    }
    let (nodes, _) = cluster(3);
    let address = nodes[0].address.to_string();
    let checked = redis_cli(&nodes[0], &["--cluster", "check", &address]);
    assert!(checked.contains("All nodes agree about slots configuration"), "{checked}");
    assert!(checked.contains("All 16384 slots covered"), "{checked}");
    let told = redis_cli(&nodes[0], &["--cluster", "info", &address]);
    assert!(told.contains("0 keys in 3 masters"), "{told}");
    let called = redis_cli(&nodes[0], &["--cluster", "call", &address, "cluster", "myid"]);
    for node in &nodes {
        assert!(called.contains(&node.id.to_string()), "{called}");
    }
}
