//! Clients outside the containers' network, by the shipped example: they are told addresses that they can reach, in every
//! reply that names one, and those inside are told the containers' own.

use super::nodes::{addresses, are_one, ask};
use super::support::docker::{PORT, Project, with_engine};
use super::support::frame::Frame;
use super::support::tool;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

/// Where the example publishes its nodes.
const PUBLISHED: [&str; 3] = ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"];

fn text(frame: &Frame) -> String {
    match frame {
        Frame::Integer(number) => number.to_string(),
        other => other.text(),
    }
}

/// The value under a name, in the flat list of names and values that RESP2 has for a map.
fn field<'f>(map: &'f Frame, name: &str) -> &'f Frame {
    let pair = map.items().chunks(2).find(|pair| text(&pair[0]) == name);
    &pair.unwrap_or_else(|| panic!("no {name} in {map}"))[1]
}

/// All addresses that a node names to whoever asks at `address`: by SLOTS, SHARDS, NODES and MOVED.
fn named(address: SocketAddr) -> [BTreeSet<String>; 4] {
    let reply = |words: &[&str]| ask(address, words).unwrap_or_else(|| panic!("{words:?} is not answered"));
    let pair = |host: &Frame, port: &Frame| format!("{}:{}", text(host), text(port));
    let slots = reply(&["CLUSTER", "SLOTS"]);
    let slots = slots.items().iter().map(|range| &range.items()[2]);
    let shards = reply(&["CLUSTER", "SHARDS"]);
    let shards = shards.items().iter().map(|shard| &field(shard, "nodes").items()[0]);
    let nodes = reply(&["CLUSTER", "NODES"]).text();
    let nodes = nodes.lines().filter_map(|line| line.split([' ', '@']).nth(1));
    let keys = (0..100).map(|number| reply(&["GET", &format!("key-{number}")]));
    let moved = keys.filter_map(|reply| match reply {
        Frame::Error(text) => text.strip_prefix("MOVED ")?.split(' ').nth(1).map(str::to_owned),
        _ => None,
    });
    [
        slots.map(|owner| pair(&owner.items()[0], &owner.items()[1])).collect(),
        shards.map(|node| pair(field(node, "endpoint"), field(node, "port"))).collect(),
        nodes.map(str::to_owned).collect(),
        moved.collect(),
    ]
}

#[test]
fn clients_outside_are_told_what_they_can_reach() {
    with_engine("outside::clients_outside_are_told_what_they_can_reach", |engine| {
        let project = Project::new(engine, "docker/outside.yml", &[]);
        project.compose(&["up", "-d"]);
        let inside = addresses(&project);
        project.wait("three are one", || are_one(&inside));

        let all = |addresses: &[String]| addresses.iter().cloned().collect::<BTreeSet<_>>();
        let outside: Vec<String> = PUBLISHED.map(str::to_owned).to_vec();
        for (number, published) in PUBLISHED.iter().enumerate() {
            let [slots, shards, nodes, moved] = named(published.parse().expect("an address"));
            assert_eq!([&slots, &shards, &nodes], [&all(&outside); 3]);
            let others = all(&[&outside[..number], &outside[number + 1..]].concat());
            assert_eq!(moved, others, "MOVED names the two other nodes");
        }
        let own: Vec<String> = inside.iter().map(|address| format!("{}:{PORT}", address.ip())).collect();
        for address in &inside {
            let [slots, shards, nodes, moved] = named(*address);
            assert_eq!([&slots, &shards, &nodes], [&all(&own); 3]);
            assert!(moved.is_subset(&all(&own)) && moved.len() == 2, "{moved:?}");
        }

        if tool::is_installed("redis-cli", &["--version"]) {
            let cli = |words: &[&str]| {
                let mut command = Command::new("redis-cli");
                let finished = tool::run(command.args(["-c", "-p", "7001"]).args(words), b"");
                assert!(finished.status.success(), "{words:?}: {}", finished.all());
                finished.stdout
            };
            for number in 0..20 {
                let (key, value) = (format!("key-{number}"), number.to_string());
                assert_eq!(cli(&["SET", &key, &value]), "OK\n");
                assert_eq!(cli(&["GET", &key]).trim_end(), value);
            }
        }
        let mut status = Command::new(env!("CARGO_BIN_EXE_larder"));
        let status = tool::run(status.args(["cluster", "status", "--port", "7002"]), b"").all();
        assert!(PUBLISHED.iter().all(|address| status.contains(address)), "{status}");
        assert_eq!(status.matches(" serving").count(), 4, "this node, and each of three: {status}");
    });
}
