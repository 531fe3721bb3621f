//! Everybody who has something to do with a slot is told when the slot leaves its node: who waits for a key, by MOVED; who
//! listens to a shard channel, by `sunsubscribe`; who caches a key, that it is no longer what it was. With few of each here;
//! `cargo bench --bench cluster -- large` does the same with a slot of half a gigabyte and thousands of each.

use std::fs;

use crate::support::client::Client;
use crate::support::cluster::Cluster;
use crate::support::frame::Frame;
use larder::base::slot::slot_of;

/// Leases that no busy machine loses.
const PATIENT: &[&str] = &["--cluster-node-timeout", "30000"];
/// Clients of each kind.
const POPPING: usize = 240;
const READING: usize = 60;
const LISTENING: usize = 40;
const CACHING: usize = 40;

/// What waits, with `@` for the key: by number, one after the other.
const WAITS: [&str; 4] =
    ["BLPOP @ 0", "BZPOPMIN @ 0", "BLMOVE @ {@}:to LEFT RIGHT 600", "BLMPOP 0 1 @ LEFT COUNT 2"];
const READS: [&str; 2] = ["XREAD BLOCK 0 STREAMS @ $", "XREADGROUP GROUP g c BLOCK 600000 STREAMS @ >"];

/// Names whose slots node 0 has.
fn names(cluster: &Cluster, count: usize) -> Vec<String> {
    let mut control = cluster.connect(0);
    let names = (0..).map(|number| format!("name:{number}"));
    names.filter(|name| !control.cmd(&["EXISTS", name]).is_error()).take(count).collect()
}

/// A line of the status of a node's process, in kB.
fn status_kb(cluster: &Cluster, number: usize, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.pid(number))).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Clients, each with the name that it has to do with.
type Named = Vec<(String, Client)>;

/// Each waits at node 0, by one of these lines.
fn wait_by(cluster: &Cluster, names: &[String], lines: &[&str]) -> Named {
    let wait = |(name, line): (&String, &&str)| {
        let mut client = cluster.connect(0);
        client.send_line(&line.replace('@', name));
        (name.clone(), client)
    };
    names.iter().zip(lines.iter().cycle()).map(wait).collect()
}

/// Each is subscribed to a shard channel at node 0.
fn listen(cluster: &Cluster, names: &[String]) -> Named {
    let mut listening = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let client = cluster.connect(0);
        let mut client = if number % 2 == 0 { client } else { client.hello3() };
        client.send(&["SSUBSCRIBE", name]);
        assert_eq!(client.receive().items()[0].text(), "ssubscribe");
        listening.push((name.clone(), client));
    }
    listening
}

/// Each has read a key at node 0 and wants to know when it changes.
fn cache(cluster: &Cluster, names: &[String]) -> Named {
    let mut caching = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let mut client = cluster.connect(0).hello3();
        client.check(&format!("SET {name} v"), "OK");
        let how = if number % 2 == 0 { "" } else { " BCAST PREFIX name:" };
        client.check(&format!("CLIENT TRACKING ON{how}"), "OK");
        client.check(&format!("GET {name}"), r#""v""#);
        caching.push((name.clone(), client));
    }
    caching
}

/// Reads until the client is told to forget the name, or everything.
fn hears_to_forget(client: &mut Client, name: &str) {
    loop {
        let frame = client.receive();
        let words = frame.items();
        assert_eq!(words[0].text(), "invalidate");
        if words[1] == Frame::Null || words[1].items().iter().any(|told| told.text() == name) {
            return;
        }
    }
}

#[test]
fn everybody_is_told_when_a_slot_leaves() {
    let cluster = Cluster::start(2, PATIENT);
    cluster.wait_ok();
    let names = names(&cluster, POPPING + READING + LISTENING + CACHING);
    let (popped, rest) = names.split_at(POPPING);
    let (read, rest) = rest.split_at(READING);
    let (heard, cached) = rest.split_at(LISTENING);
    let mut control = cluster.connect(0);
    for name in read {
        control.check(&format!("XGROUP CREATE {name} g $ MKSTREAM"), "OK");
    }
    let mut waiting = wait_by(&cluster, popped, &WAITS);
    waiting.extend(wait_by(&cluster, read, &READS));
    let all_wait = format!("blocked_clients:{}\r\n", waiting.len());
    cluster.wait("all wait", || control.line("INFO clients").text().contains(&all_wait));
    let mut listening = listen(&cluster, heard);
    let mut caching = cache(&cluster, cached);

    let before_kb = status_kb(&cluster, 0, "VmRSS");
    let mut operator = cluster.connect(0);
    operator.send_line("CLUSTER DRAIN");
    let owner = cluster.address(1);
    for (name, client) in &mut waiting {
        client.expect(&format!("-MOVED {} {owner}", slot_of(name.as_bytes()).number()));
    }
    for (name, client) in &mut listening {
        let frame = client.receive();
        let words: Vec<String> = frame.items().iter().map(Frame::to_string).collect();
        assert_eq!(words, ["\"sunsubscribe\"".to_owned(), format!("\"{name}\""), "0".to_owned()]);
    }
    caching.iter_mut().for_each(|(name, client)| hears_to_forget(client, name));
    operator.expect("OK");
    let held = |field: &str| cluster.info(0, &format!("cluster_stats_slot_holds{field}"));
    println!(
        "{} clients were told; slots were held {} times, p99 {} us; the source took {} kB more than before at most",
        waiting.len() + listening.len() + caching.len(),
        held(""),
        held("_p99_us"),
        status_kb(&cluster, 0, "VmHWM").saturating_sub(before_kb)
    );
    assert!(held("").parse::<u64>().is_ok_and(|times| times > 0));
    go_on(&cluster, &waiting);
}

/// They go on where they were sent to, each element to one of them.
fn go_on(cluster: &Cluster, waiting: &Named) {
    let mut other = cluster.connect(1);
    for ((name, _), line) in waiting.iter().zip(WAITS) {
        let mut client = cluster.connect(1);
        client.send_line(&line.replace('@', name));
        cluster.wait("it waits", || other.line("INFO clients").text().contains("blocked_clients:1\r\n"));
        let serve =
            if line.starts_with("BZ") { format!("ZADD {name} 1 a") } else { format!("RPUSH {name} a") };
        assert_eq!(other.line(&serve).integer(), 1);
        let reply = client.reply().to_string();
        assert!(reply.contains("\"a\"") && !reply.starts_with('-'), "{line}: {reply}");
        other.check(&format!("EXISTS {name}"), "0");
    }
}
