//! Client-side caching in a cluster of real processes: keys of slots that leave are told of by the node that they leave,
//! the others go on being tracked there, and the gateway refuses what it cannot do.

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;

use support::client::Client;
use support::cluster::Cluster;
use support::frame::Frame;

/// Leases that no busy machine loses.
const PATIENT: [&str; 4] = ["--cluster-node-timeout", "30000", "--gateway-port", "6380"];
const GATEWAY_PORT: u16 = 6380;
/// Keys in the whole cluster.
const KEYS: usize = 400;

/// Whether a node serves a key.
fn is_here(client: &mut Client, key: &str) -> bool {
    !matches!(client.cmd(&["GET", key]), Frame::Error(text) if text.starts_with("MOVED "))
}

/// The keys that a client was told of since it was last asked; nothing among them if it was told to forget all.
fn told(client: &mut Client) -> Option<HashSet<String>> {
    client.check("PING", "PONG");
    let mut keys = HashSet::new();
    for push in client.pushes.drain(..) {
        let words = push.items();
        assert_eq!(words[0].text(), "invalidate");
        match &words[1] {
            Frame::Null => return None,
            names => keys.extend(names.items().iter().map(Frame::text)),
        }
    }
    Some(keys)
}

#[test]
fn keys_of_slots_that_leave_are_told_of_and_the_others_stay_tracked() {
    let mut cluster = Cluster::start(2, &PATIENT);
    cluster.wait_ok();
    let mut client = cluster.connect(0).hello3();
    let mut broadcast = cluster.connect(0).hello3();
    client.check("CLIENT TRACKING ON", "OK");
    broadcast.check("CLIENT TRACKING ON BCAST PREFIX key:", "OK");
    let mut writer = cluster.connect(0);
    let names: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
    let mine: Vec<&String> = names.iter().filter(|name| is_here(&mut writer, name)).collect();
    assert!(!mine.is_empty() && mine.len() < KEYS);
    mine.iter().for_each(|name| writer.check(&format!("SET {name} v"), "OK"));
    assert_eq!(told(&mut broadcast).map(|keys| keys.len()), Some(mine.len()));
    mine.iter().for_each(|name| client.check(&format!("GET {name}"), "\"v\""));
    assert_eq!(told(&mut client), Some(HashSet::new()));
    cluster.join();
    cluster.wait("the newcomer has its share", || {
        cluster.agree() && mine.iter().filter(|name| !is_here(&mut writer, name)).count() > mine.len() / 5
    });
    let kept: HashSet<String> =
        mine.iter().filter(|name| is_here(&mut writer, name)).map(|name| name.to_string()).collect();
    let gone: HashSet<String> =
        mine.iter().map(|name| name.to_string()).filter(|name| !kept.contains(name)).collect();
    assert!(!kept.is_empty());
    let heard = told(&mut client).expect("single keys");
    assert!(heard.is_superset(&gone), "{:?} went untold", gone.difference(&heard));
    assert_eq!(told(&mut broadcast), None, "whatever it has of them, it is to forget");
    // What has stayed is tracked as before.
    let still: Vec<&String> = kept.iter().filter(|name| !heard.contains(*name)).collect();
    assert!(!still.is_empty());
    for name in &still {
        writer.check(&format!("SET {name} w"), "OK");
    }
    let wanted: HashSet<String> = still.iter().map(|name| name.to_string()).collect();
    assert_eq!(told(&mut client).expect("single keys").intersection(&wanted).count(), wanted.len());
    // What has gone is tracked where it is now.
    let mut newcomer = cluster.connect(2).hello3();
    newcomer.check("CLIENT TRACKING ON", "OK");
    let found = gone.iter().find(|name| is_here(&mut newcomer, name)).expect("it has some of them");
    cluster.connect(2).check(&format!("SET {found} w"), "OK");
    assert_eq!(told(&mut newcomer), Some(HashSet::from([found.clone()])));
    // The gateway does not hear of other nodes' changes.
    let address = SocketAddr::new(cluster.address(0).ip(), GATEWAY_PORT);
    let mut outsider = Client::connect(address).expect("the gateway");
    let refusal = outsider.line("CLIENT TRACKING ON").to_string();
    assert!(refusal.starts_with("-ERR CLIENT TRACKING is not served by the gateway"), "{refusal}");
    outsider.check("CLIENT TRACKING OFF", "OK");
}
