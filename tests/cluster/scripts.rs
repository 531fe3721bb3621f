//! Scripts in a cluster: where they run, what they may touch, and that a slot which leaves waits for them.

use larder::base::slot::{Slot, slot_of};
use larder::cluster::route::SlotSet;
use std::time::{Duration, Instant};

use crate::nodes::{Node, cluster};

/// Longest wait for anything that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A key that the node serves, and one that it does not.
fn keys_of(node: &Node) -> [String; 2] {
    let served = node.hub.cluster.routes.served();
    let find = |here: bool| {
        let fits = |key: &String| served.contains(slot_of(key.as_bytes())) == here;
        (0..).map(|number| format!("key{number}")).find(fits).expect("some key is")
    };
    [find(true), find(false)]
}

#[test]
fn scripts_run_where_their_keys_live_and_touch_no_others() {
    let (nodes, _) = cluster(2);
    let [here, away] = keys_of(&nodes[0]);
    let mut client = nodes[0].connect(false);
    let eval = "EVAL \"return redis.call('INCR', KEYS[1])\"";
    client.check(&format!("{eval} 1 {here}"), "1");
    let moved = client.line(&format!("{eval} 1 {away}")).to_string();
    assert!(moved.starts_with("-MOVED "), "{moved}");
    let crossed = client.line(&format!("{eval} 2 {here} {away}")).to_string();
    assert!(crossed.starts_with("-CROSSSLOT "), "{crossed}");
    let undeclared = "EVAL \"return redis.call('INCR', ARGV[1])\"";
    client.check(&format!("{undeclared} 0 {here}"), "2");
    for keys in ["0".to_owned(), format!("1 {here}")] {
        let foreign = client.line(&format!("{undeclared} {keys} {away}")).to_string();
        assert!(
            foreign.contains("Script attempted to access a non local key in a cluster node"),
            "{foreign}"
        );
    }
    let strict = "#!lua\nreturn redis.call('INCR', ARGV[1])";
    let other = format!("{{{here}}}x").replace(&here, "another");
    let reply = client.cmd(&["EVAL", strict, "1", &here, &other]).to_string();
    assert!(reply.starts_with("-ERR "), "a key of another slot, which is declared to be none: {reply}");
}

#[test]
fn a_slot_that_leaves_lets_a_script_come_to_its_end() {
    let (nodes, _) = cluster(2);
    let [key, _] = keys_of(&nodes[0]);
    let slot: Slot = slot_of(key.as_bytes());
    let mut leaving = SlotSet::default();
    leaving.insert(slot);
    // Long enough that it is seen at work on a machine that has other things to do.
    let work = "local n = 0 for i = 1, 30000000 do n = n + i % 7 end";
    // The keys that it declares, and one that it does not.
    let scripts = [
        (format!("redis.call('INCR', KEYS[1]) {work} return redis.call('INCR', KEYS[1])"), "1"),
        (format!("redis.call('INCR', ARGV[1]) {work} return redis.call('INCR', ARGV[1])"), "0"),
    ];
    for (round, (script, count)) in scripts.iter().enumerate() {
        let mut client = nodes[0].connect(false);
        client.send(&["EVAL", script, count, &key]);
        let began = Instant::now();
        // It has written, and lets others go by.
        while nodes[0].hub.keyspace.reserved() == 0 {
            assert!(began.elapsed() < LIMIT, "the script keeps no shard");
        }
        nodes[0].hub.cluster.routes.withdraw(&leaving);
        let reply = client.reply().to_string();
        assert_eq!(reply, (2 * round + 2).to_string(), "half of a script was done");
        nodes[0].hub.cluster.routes.serve(&leaving);
    }
}
