//! Clusters of real processes on loopback: they form by themselves, move keys, survive deaths, and never answer twice.
//!
//! Times are printed, not asserted, but for the limit within which anything must happen at all: a test must not depend
//! on how fast the machine is. `cargo bench --bench cluster` measures them.

mod support;
#[path = "cluster_processes/told.rs"]
mod told;
#[path = "cluster_processes/voters.rs"]
mod voters;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use support::client::Client;
use support::cluster::Cluster;
use support::frame::Frame;

#[test]
fn nodes_that_start_at_once_form_one_cluster() {
    let cluster = Cluster::start(3, &[]);
    let took = cluster.wait_ok();
    println!("3 nodes are one cluster after {took:?}");
    let mut client = cluster.client();
    for number in 0..500 {
        let key = format!("key:{number}");
        assert_eq!(client.cmd(&["SET", &key, "value"]), Frame::Simple("OK".to_owned()));
        assert_eq!(client.cmd(&["GET", &key]).text(), "value");
    }
    let ids: Vec<String> =
        (0..3).map(|number| cluster.connect(number).cmd(&["CLUSTER", "MYID"]).text()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn a_newcomer_takes_its_share_with_its_keys() {
    let mut cluster = Cluster::start(2, &[]);
    cluster.wait_ok();
    let mut client = cluster.client();
    let mut known = HashMap::new();
    for number in 0..20_000 {
        let (key, value) = (format!("key:{number}"), format!("value {number}"));
        client.cmd(&["SET", &key, &value, "EX", "1000"]);
        known.insert(key, value);
    }
    let began = Instant::now();
    cluster.join();
    let mut rounds = 0;
    while cluster.info(2, "cluster_state") != "ok" || !cluster.agree() {
        rounds += 1;
        for number in (0..20_000).step_by(37) {
            let (key, value) = (format!("key:{number}"), format!("value {number} in round {rounds}"));
            assert_eq!(client.cmd(&["GET", &key]).text(), known[&key]);
            client.cmd(&["SET", &key, &value, "EX", "1000"]);
            known.insert(key, value);
        }
    }
    println!("a third node has its share after {:?}, {rounds} rounds of writes", began.elapsed());
    cluster.wait_ok();
    for (key, value) in &known {
        assert_eq!(&client.cmd(&["GET", key]).text(), value, "{key}");
        let left = client.cmd(&["TTL", key]).integer();
        assert!((1..=1000).contains(&left), "{key} has {left} s to live");
    }
    assert!(client.failures.is_empty(), "{:?}", client.failures);
    let counts: Vec<i64> = (0..3).map(|number| cluster.connect(number).cmd(&["DBSIZE"]).integer()).collect();
    assert_eq!(counts.iter().sum::<i64>(), 20_000, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 5_000), "{counts:?}");
}

#[test]
fn a_node_that_stops_leaves_its_keys_to_the_others() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let mut client = cluster.client();
    for number in 0..10_000 {
        client.cmd(&["SET", &format!("key:{number}"), &number.to_string()]);
    }
    let began = Instant::now();
    assert_eq!(cluster.stop(0), Some(0));
    println!("a node left after {:?}", began.elapsed());
    cluster.wait_ok();
    for number in 0..10_000 {
        assert_eq!(client.cmd(&["GET", &format!("key:{number}")]).text(), number.to_string());
    }
}

#[test]
fn the_slots_of_a_node_that_dies_are_served_again() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let mut client = cluster.client();
    for victim in [1, 0] {
        let began = Instant::now();
        cluster.kill(victim);
        for number in 0..300 {
            let key = format!("key:{number}");
            assert_eq!(client.cmd(&["SET", &key, "after"]), Frame::Simple("OK".to_owned()));
        }
        println!("all slots are served again {:?} after the death of node {victim}", began.elapsed());
        if victim == 1 {
            cluster.run(victim, 3);
            cluster.wait_ok();
        }
    }
}

/// What Redis Cluster gets wrong (7 times of 7): a primary that was stopped, and replaced, answers what was queued.
#[test]
fn a_node_that_was_stopped_and_continued_answers_nothing_old() {
    let cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let mut client = cluster.client();
    let victim = 2;
    let id = cluster.connect(victim).cmd(&["CLUSTER", "MYID"]).text();
    let keys: Vec<String> = (0..300).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        client.cmd(&["SET", key, "old"]);
    }
    let mine = |key: &&String| !matches!(cluster.connect(victim).cmd(&["GET", key]), Frame::Error(_));
    let mine: Vec<String> = keys.iter().filter(mine).take(3).cloned().collect();
    assert!(mine.len() == 3, "node {victim} owns some keys");

    let mut waiting: Vec<_> = (0..3).map(|_| cluster.connect(victim)).collect();
    cluster.signal(victim, "STOP");
    waiting[0].send(&["GET", &mine[0]]);
    waiting[1].send(&["SET", &mine[1], "late"]);
    waiting[2].send(&["SET", &mine[2], "late", "NX"]);
    let took = cluster.wait("the others own its slots", || {
        let nodes = cluster.connect(0).cmd(&["CLUSTER", "NODES"]).text();
        !nodes.contains(&id)
    });
    println!("a stopped node is given up after {took:?}");
    for key in &mine {
        assert_eq!(client.cmd(&["SET", key, "new"]), Frame::Simple("OK".to_owned()));
    }
    cluster.signal(victim, "CONT");
    for connection in &mut waiting {
        match connection.try_receive() {
            Ok(Frame::Error(text)) => {
                assert!(text.starts_with("CLUSTERDOWN") || text.starts_with("MOVED"), "{text}");
            }
            Ok(reply) => panic!("a node without slots answered {reply:?}"),
            // It was closed without an answer.
            Err(_) => {}
        }
    }
    for key in &mine {
        assert_eq!(client.cmd(&["GET", key]).text(), "new");
    }
    cluster.wait_ok();
}

#[test]
fn all_nodes_may_stop_at_once_and_are_the_same_cluster_again() {
    let mut cluster = Cluster::start(3, &["--dir", "{dir}", "--cluster-drain-timeout", "0"]);
    cluster.wait_ok();
    let id = |cluster: &Cluster| cluster.info(0, "cluster_id");
    let ids = |cluster: &Cluster| -> Vec<String> {
        (0..3).map(|number| cluster.connect(number).cmd(&["CLUSTER", "MYID"]).text()).collect()
    };
    let before = (id(&cluster), ids(&cluster));
    assert!(!before.0.is_empty());
    for number in 0..3 {
        cluster.kill(number);
    }
    for number in 0..3 {
        cluster.run(number, 3);
    }
    println!("three nodes are the same cluster again after {:?}", cluster.wait_ok());
    assert_eq!((id(&cluster), ids(&cluster)), before);
}

/// Each of them drained until its deadline was over, waiting for others that drained, too: stopping a whole cluster took
/// `cluster-drain-timeout`.
#[test]
fn nodes_that_all_stop_do_not_wait_for_each_other() {
    let mut cluster = Cluster::start(3, &["--dir", "{dir}", "--cluster-drain-timeout", "3600"]);
    cluster.wait_ok();
    let id = cluster.info(0, "cluster_id");
    for number in 0..3 {
        cluster.signal(number, "TERM");
    }
    for number in 0..3 {
        assert_eq!(cluster.wait_exit(number), Some(0));
    }
    for number in 0..3 {
        cluster.run(number, 3);
    }
    cluster.wait_ok();
    assert_eq!(cluster.info(0, "cluster_id"), id);
}

#[test]
fn a_newcomer_joins_the_cluster_of_its_name_and_secret_alone() {
    let founded = |flags: &[&str]| {
        let cluster = Cluster::start(1, flags);
        cluster.wait_ok();
        cluster
    };
    let mut ours = founded(&["--cluster-secret", "one"]);
    let others = [
        founded(&["--cluster-secret", "two"]),
        founded(&["--cluster-secret", "one", "--cluster-name", "other"]),
    ];
    others.iter().for_each(|other| ours.seed_with(other));
    ours.join();
    ours.wait_ok();
    for other in &others {
        assert_eq!(other.info(0, "cluster_known_nodes"), "1");
        assert_ne!(ours.info(0, "cluster_id"), other.info(0, "cluster_id"));
    }
}

#[test]
fn an_operator_saves_a_cluster_that_has_lost_its_voters() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let mut client = cluster.client();
    let survivor = 1;
    for number in 0..300 {
        client.cmd(&["SET", &format!("key:{number}"), "before"]);
    }
    let kept: i64 = cluster.connect(survivor).cmd(&["DBSIZE"]).integer();
    let id = cluster.info(survivor, "cluster_id");
    cluster.kill(0);
    cluster.kill(2);
    cluster.wait("the survivor stops answering", || cluster.info(survivor, "cluster_state") == "fail");
    let refused = cluster.connect(survivor).cmd(&["GET", "key:1"]);
    assert!(matches!(&refused, Frame::Error(text) if text.starts_with("CLUSTERDOWN")), "{refused:?}");

    assert_eq!(cluster.connect(survivor).cmd(&["CLUSTER", "REFORM"]), Frame::Simple("OK".to_owned()));
    println!("one node serves all slots {:?} after REFORM", cluster.wait_ok());
    assert_eq!(cluster.info(survivor, "cluster_id"), id);
    assert_eq!(cluster.connect(survivor).cmd(&["DBSIZE"]).integer(), kept, "its own keys are still there");
    let mut client = cluster.client();
    client.cmd(&["SET", "key:1", "after"]);
    let newcomer = cluster.join();
    cluster.wait_ok();
    assert_eq!(cluster.info(newcomer, "cluster_id"), id);
    assert_eq!(client.cmd(&["GET", "key:1"]).text(), "after");
}

#[test]
fn a_witness_votes_and_holds_no_keys() {
    let mut cluster = Cluster::start(1, &[]);
    cluster.wait_ok();
    cluster.join();
    cluster.wait_ok();
    let witness = cluster.join_with(&["--cluster-weight", "0"]);
    cluster.wait_ok();
    assert_eq!(cluster.connect(witness).cmd(&["DBSIZE"]).integer(), 0);
    let mut client = cluster.client();
    cluster.kill(0);
    for number in 0..100 {
        let key = format!("key:{number}");
        assert_eq!(client.cmd(&["SET", &key, "after"]), Frame::Simple("OK".to_owned()));
    }
    assert_eq!(cluster.connect(witness).cmd(&["DBSIZE"]).integer(), 0);
}

/// The story: behind mapped ports, clients of Redis Cluster are told addresses that they cannot reach, or nodes are; here
/// the port that a client comes in by decides. What a client is told must be one map, whichever command it is told by.
#[test]
fn clients_outside_are_told_other_addresses_than_those_inside() {
    let mut cluster = Cluster::prepare(&["--cluster-outside-port", "7379"]);
    let announced = [["203.0.113.1", "7001"], ["cache.example", "7002"]];
    for [host, port] in announced {
        let flags = ["--cluster-announce-outside-host", host, "--cluster-announce-outside-port", port];
        cluster.join_with(&flags);
    }
    cluster.join();
    cluster.wait_ok();
    let inside: Vec<String> = (0..3).map(|number| cluster.address(number).to_string()).collect();
    let outside = ["203.0.113.1:7001", "cache.example:7002", &inside[2]].map(str::to_owned).to_vec();
    for number in 0..3 {
        for (port, mut told) in [(6379, inside.clone()), (7379, outside.clone())] {
            let address = SocketAddr::new(cluster.address(number).ip(), port);
            let own = told[number].clone();
            told.sort();
            for resp3 in [false, true] {
                let client = Client::connect(address).expect("it listens");
                let mut client = if resp3 { client.hello3() } else { client };
                let nodes = client.cmd(&["CLUSTER", "NODES"]).text();
                let mut shown: Vec<&str> =
                    nodes.lines().filter_map(|line| line.split([' ', '@']).nth(1)).collect();
                shown.sort();
                assert_eq!(shown, told, "by NODES at {address}");
                let (slots, shards) = (client.line("CLUSTER SLOTS"), client.line("CLUSTER SHARDS"));
                for address in &told {
                    let (host, port) = address.split_once(':').expect("a port");
                    assert!(format!("{slots}").contains(&format!("[\"{host}\", {port}, ")), "{slots}");
                    assert!(format!("{shards}").contains(&format!("\"{host}\"")), "{shards}");
                }
                for key in 0..50 {
                    if let Frame::Error(moved) = client.cmd(&["GET", &format!("key:{key}")]) {
                        let to = moved.rsplit(' ').next().unwrap_or_default().to_owned();
                        assert!(told.contains(&to) && to != own, "{moved}");
                    }
                }
            }
        }
    }
}

/// What a key holds, in an order that does not depend on its form.
fn content(client: &mut support::cluster::ClusterClient, key: &str) -> Vec<String> {
    let read: &[&str] = match client.cmd(&["TYPE", key]).text().as_str() {
        "list" => &["LRANGE", key, "0", "-1"],
        "set" => &["SMEMBERS", key],
        "hash" => &["HGETALL", key],
        "zset" => &["ZRANGE", key, "0", "-1", "WITHSCORES"],
        "stream" => &["XRANGE", key, "-", "+"],
        other => panic!("{key} is {other}"),
    };
    let mut items: Vec<String> = client.cmd(read).items().iter().map(Frame::to_string).collect();
    items.sort();
    items
}

#[test]
fn values_of_every_type_travel_and_who_waits_is_told_where_the_key_went() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let mut client = cluster.client();
    let mut known = HashMap::new();
    for number in 0..60 {
        let elements: Vec<String> =
            (0..if number % 10 == 0 { 3000 } else { 5 }).map(|at| format!("{at}-of-{number}")).collect();
        let mut fill = |command: &str, each: &dyn Fn(&String, &mut Vec<String>)| {
            let key = format!("{command}:{number}");
            let mut words = vec![command.to_owned(), key.clone()];
            if command == "XADD" {
                words.push(String::from("7-*"));
            }
            elements.iter().for_each(|element| each(element, &mut words));
            client.cmd(&words.iter().map(String::as_str).collect::<Vec<_>>());
            known.insert(key.clone(), content(&mut client, &key));
        };
        fill("RPUSH", &|element, words| words.push(element.clone()));
        fill("SADD", &|element, words| words.push(element.clone()));
        fill("HSET", &|element, words| words.extend([element.clone(), format!("value of {element}")]));
        fill("ZADD", &|element, words| words.extend([element.len().to_string(), element.clone()]));
        fill("XADD", &|element, words| words.extend([element.clone(), String::from("value")]));
    }
    let mut waiting: Vec<(usize, String, Client)> = Vec::new();
    for number in 0..20 {
        let key = format!("waited-for:{number}");
        let at = (0..3).find(|at| !cluster.connect(*at).cmd(&["LLEN", &key]).is_error()).expect("an owner");
        let mut waiter = cluster.connect(at);
        waiter.send(&["BLPOP", &key, "0"]);
        waiting.push((at, key, waiter));
    }
    for at in 0..3 {
        let here = waiting.iter().filter(|(owner, ..)| *owner == at).count();
        cluster.wait("all wait", || {
            cluster
                .connect(at)
                .cmd(&["INFO", "clients"])
                .text()
                .contains(&format!("blocked_clients:{here}\r\n"))
        });
    }
    assert_eq!(cluster.stop(0), Some(0));
    for (key, value) in &known {
        assert_eq!(&content(&mut client, key), value, "{key}");
    }
    for (at, key, waiter) in &mut waiting {
        if *at == 0 {
            let told = waiter.reply().to_string();
            assert!(told.starts_with("-MOVED "), "{key}: {told}");
        } else {
            client.cmd(&["RPUSH", key, "element"]);
            assert_eq!(waiter.reply().to_string(), format!("[\"{key}\", \"element\"]"));
        }
    }
}
