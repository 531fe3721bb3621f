//! What CLUSTER and the commands around it answer.

use larder::base::slot::slot_of;
use larder::cluster::table::{Change, Table};
use larder::hub::cluster::{LinkVitals, MoveVitals, PeerVitals, Phase, Wish};
use std::sync::Arc;

use crate::nodes::{Node, alone, cluster, founded, id, member};
use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::Server;

/// A key in a slot that `node` owns.
fn key_of(node: &Node, table: &Table) -> String {
    let mine =
        |key: &String| table.owner(slot_of(key.as_bytes()).number()).is_some_and(|owner| owner.id == node.id);
    (0..).map(|number| format!("key{number}")).find(mine).expect("some key is this node's")
}

fn text(client: &mut Client, line: &str) -> String {
    client.line(line).text()
}

/// The value of a field in `name:value` lines.
fn field(text: &str, name: &str) -> String {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| *found == name).unwrap_or_else(|| panic!("no {name} in\n{text}")).1.to_owned()
}

#[test]
fn slots_are_the_whole_map_and_the_same_from_every_node() {
    let (nodes, table) = cluster(3);
    for resp3 in [false, true] {
        let maps: Vec<Frame> = nodes.iter().map(|node| node.connect(resp3).line("CLUSTER SLOTS")).collect();
        assert!(maps.iter().all(|map| *map == maps[0]), "{maps:?}");
        let mut next = 0;
        for range in maps[0].items() {
            let range = range.items();
            assert_eq!((range.len(), range[0].integer()), (3, next));
            next = range[1].integer() + 1;
            let owner = table.owner(range[0].integer() as u16).expect("an owner");
            let metadata = if resp3 { Frame::Map(vec![]) } else { Frame::Array(vec![]) };
            let expected = [
                Frame::Bulk(b"127.0.0.1".to_vec()),
                Frame::Integer(owner.client.port.into()),
                Frame::Bulk(owner.id.to_string().into_bytes()),
                metadata,
            ];
            assert_eq!(range[2].items(), expected);
        }
        assert_eq!((next, maps[0].items().len()), (16384, 3), "each node's slots lie together");
    }
}

#[test]
fn neighbouring_ranges_of_one_owner_are_one_range() {
    let (nodes, table) = cluster(2);
    let mut table = Table::clone(&table);
    let (start, end) = table.ranges_of(id(0))[0];
    for slot in [start + 10, start + 11] {
        let begin = Change::Begin { start: slot, end: slot, from: id(0), to: id(1) };
        let movement = table.apply(&begin).expect("a move");
        table.apply(&Change::Commit { id: movement }).expect("the same");
    }
    assert_eq!(table.runs.len(), 5, "the two have different histories");
    nodes[0].follow(&Arc::new(table));
    let mut client = nodes[0].connect(false);
    let ranges: Vec<(i64, i64)> = client
        .line("CLUSTER SLOTS")
        .items()
        .iter()
        .map(|range| (range.items()[0].integer(), range.items()[1].integer()))
        .collect();
    let (start, end) = (i64::from(start), i64::from(end));
    assert!(ranges.contains(&(start + 10, start + 11)) && ranges.contains(&(start + 12, end)), "{ranges:?}");
    let nodes = text(&mut client, "CLUSTER NODES");
    assert!(nodes.contains(&format!(" {start}-{} {}-{end}\n", start + 9, start + 12)), "{nodes}");
}

#[test]
fn nodes_has_a_line_for_each_member() {
    let (nodes, table) = cluster(3);
    for (node, resp3) in nodes.iter().zip([false, true, false]) {
        let reply = node.connect(resp3).line("CLUSTER NODES");
        assert_eq!(matches!(reply, Frame::Verbatim(..)), resp3, "{reply}");
        let expected: String = table
            .members
            .iter()
            .map(|member| {
                let (start, end) = table.ranges_of(member.id)[0];
                let port = member.client.port;
                let flags = if member.id == node.id { "myself,master" } else { "master" };
                let bus = member.peer.port();
                format!("{} 127.0.0.1:{port}@{bus} {flags} - 0 0 1 connected {start}-{end}\n", member.id)
            })
            .collect();
        assert_eq!(reply.text(), expected);
    }
}

#[test]
fn host_names_are_told_where_they_are_announced() {
    let node = alone(0);
    let mut named = member(0, node.address.port());
    named.client.hostname = "larder.example".to_owned();
    // Takes no slots.
    let voter = larder::cluster::table::Member { weight: 0, ..member(1, 1) };
    let table = Arc::new(founded(vec![named, voter]));
    node.follow(&table);
    let mut client = node.connect(true);
    let slots = client.line("CLUSTER SLOTS").to_string();
    assert!(slots.contains("{\"hostname\": \"larder.example\"}"), "{slots}");
    let shards = client.line("CLUSTER SHARDS").to_string();
    assert!(shards.contains("\"hostname\": \"larder.example\", \"role\": \"master\""), "{shards}");
    let lines = text(&mut client, "CLUSTER NODES");
    let mut lines = lines.lines();
    let line = lines.next().unwrap_or_default();
    assert!(line.contains(",larder.example myself,master - 0 0 1 connected 0-16383"), "{line}");
    assert!(
        lines.next().is_some_and(|line| line.ends_with(" master - 0 0 0 connected")),
        "no slots, no tokens"
    );
}

#[test]
fn shards_are_the_nodes() {
    let (nodes, table) = cluster(2);
    for resp3 in [false, true] {
        let shards = nodes[1].connect(resp3).line("CLUSTER SHARDS");
        assert_eq!(shards.items().len(), 2);
        for (shard, member) in shards.items().iter().zip(&table.members) {
            let pairs = shard.pairs();
            assert_eq!(matches!(shard, Frame::Map(_)), resp3);
            let names: Vec<String> = pairs.iter().map(|(name, _)| name.text()).collect();
            assert_eq!(names, ["slots", "nodes"]);
            let (start, end) = table.ranges_of(member.id)[0];
            assert_eq!(pairs[0].1.items(), [Frame::Integer(start.into()), Frame::Integer(end.into())]);
            let fields = pairs[1].1.items()[0].pairs();
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}={value}", name.text())).collect();
            let expected = format!(
                "id=\"{}\" port={} ip=\"127.0.0.1\" endpoint=\"127.0.0.1\" role=\"master\" replication-offset=0 \
                 health=\"online\"",
                member.id, member.client.port
            );
            assert_eq!(fields.join(" "), expected);
        }
    }
}

#[test]
fn who_is_not_heard_of_is_marked_and_info_counts_its_slots() {
    let (nodes, table) = cluster(2);
    let mut client = nodes[0].connect(true);
    let before = text(&mut client, "CLUSTER NODES");
    nodes[0].set_vitals(&table, |vitals| {
        vitals.peers = vec![PeerVitals { id: id(1), alive: false, heard_ms: 0, version: 0 }];
    });
    let lines = text(&mut client, "CLUSTER NODES");
    assert!(lines.contains(" master,fail? - 0 0 1 disconnected "), "{lines}");
    assert!(client.line("CLUSTER SHARDS").to_string().contains("\"health\": \"fail\""));
    let info = text(&mut client, "CLUSTER INFO");
    assert_eq!(
        (field(&info, "cluster_slots_pfail"), field(&info, "cluster_members_alive")),
        ("8192".into(), "1".into())
    );
    nodes[0].set_vitals(&table, |_| {});
    assert_eq!(text(&mut client, "CLUSTER NODES"), before);
}

#[test]
fn links_that_stand_are_listed_with_what_waits() {
    let (nodes, table) = cluster(2);
    let mut client = nodes[0].connect(true);
    assert_eq!(client.line("CLUSTER LINKS").items().len(), 0);
    let link = |outgoing, used_bytes| LinkVitals {
        node: id(1),
        outgoing,
        since_ms: 1_700_000_000_000,
        used_bytes,
        allocated_bytes: used_bytes + 64,
    };
    nodes[0].set_vitals(&table, |vitals| vitals.links = vec![link(true, 0), link(false, 5)]);
    let links = client.line("CLUSTER LINKS");
    let told = links.items().iter().map(|link| {
        let fields: Vec<String> =
            link.pairs().iter().map(|(name, value)| format!("{}={value}", name.text())).collect();
        fields.join(" ")
    });
    let expected = [("to", "r", 64, 0), ("from", "rw", 69, 5)].map(|(direction, events, allocated, used)| {
        format!(
            "direction=\"{direction}\" node=\"{}\" create-time=1700000000000 events=\"{events}\" \
             send-buffer-allocated={allocated} send-buffer-used={used}",
            id(1)
        )
    });
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn without_a_lease_no_map_and_no_keys_are_given_away() {
    let (nodes, _) = cluster(2);
    let node = &nodes[0];
    let mut client = node.connect(false);
    assert_eq!(field(&text(&mut client, "CLUSTER INFO"), "cluster_state"), "ok");
    node.hub.cluster.routes.end_lease();
    for line in [
        "CLUSTER SLOTS",
        "CLUSTER SHARDS",
        "CLUSTER COUNTKEYSINSLOT 0",
        "CLUSTER GETKEYSINSLOT 0 10",
        "CLUSTER SLOT-STATS SLOTSRANGE 0 10",
    ] {
        client.check(line, "-CLUSTERDOWN The cluster is down");
    }
    let info = text(&mut client, "CLUSTER INFO");
    assert_eq!(
        (field(&info, "cluster_state"), field(&info, "cluster_lease_ms")),
        ("fail".into(), "0".into())
    );
    client.check("CLUSTER MYID", &format!("\"{}\"", node.id));
    assert!(text(&mut client, "CLUSTER NODES").contains(" myself,master,fail? "));
}

#[test]
fn a_node_that_has_not_joined_says_who_it_is() {
    let node = alone(4);
    node.hub.cluster.set_vitals(larder::hub::cluster::Vitals {
        me: node.id,
        phase: Phase::Seeking,
        why: "10.0.0.1:7000: nobody there".to_owned(),
        ..Default::default()
    });
    let mut client = node.connect(true);
    client.check("CLUSTER SLOTS", "-CLUSTERDOWN The cluster is down");
    client.check("CLUSTER MYID", &format!("\"{}\"", node.id));
    let lines = text(&mut client, "CLUSTER NODES");
    let port = node.address.port();
    assert_eq!(
        lines,
        format!("{} :{port}@{} myself,master - 0 0 0 connected\n", node.id, port.saturating_add(10_000))
    );
    let info = text(&mut client, "CLUSTER INFO");
    for (name, value) in [
        ("cluster_state", "fail"),
        ("cluster_slots_assigned", "0"),
        ("cluster_size", "0"),
        ("cluster_phase", "seeking"),
        ("cluster_why", "10.0.0.1 7000  nobody there"),
        ("cluster_slots_displaced", "0"),
    ] {
        assert_eq!(field(&info, name), value, "{name}");
    }
}

#[test]
fn info_tells_of_table_lease_and_counts_and_splits_at_the_colon() {
    let (nodes, table) = cluster(3);
    for resp3 in [false, true] {
        let mut client = nodes[2].connect(resp3);
        let info = text(&mut client, "CLUSTER INFO");
        assert!(info.lines().all(|line| line.split(':').count() == 2), "{info}");
        let owned = table.slot_counts()[2].to_string();
        let leader = id(0).to_string();
        for (name, value) in [
            ("cluster_slots_assigned", "16384"),
            ("cluster_slots_ok", "16384"),
            ("cluster_known_nodes", "3"),
            ("cluster_size", "3"),
            ("cluster_current_epoch", "1"),
            ("cluster_my_epoch", "1"),
            ("cluster_table_version", "1"),
            ("cluster_generation", "0"),
            ("cluster_leader", leader.as_str()),
            ("cluster_slots_owned", owned.as_str()),
            ("cluster_slots_served", owned.as_str()),
            ("cluster_moves", "0"),
            ("cluster_name", "larder"),
            ("cluster_stats_leases_granted", "0"),
        ] {
            assert_eq!(field(&info, name), value, "{name}");
        }
        assert_eq!(field(&info, "cluster_table_digest"), format!("{:016x}", table.digest()));
        let info = text(&mut client, "INFO");
        for (name, value) in [
            ("cluster_enabled", "1"),
            ("redis_mode", "cluster"),
            ("cluster_members", "3"),
            ("cluster_leads", "0"),
        ] {
            assert_eq!(field(&info, name), value, "{name}");
        }
    }
}

#[test]
fn keys_are_counted_and_listed_by_slot() {
    let (nodes, table) = cluster(2);
    let node = &nodes[1];
    let tag = key_of(node, &table);
    let slot = slot_of(tag.as_bytes()).number();
    for resp3 in [false, true] {
        let mut client = node.connect(resp3);
        client.check(&format!("CLUSTER KEYSLOT {tag}"), &slot.to_string());
        for number in 0..3 {
            client.check(&format!("SET {{{tag}}}{number} v"), "OK");
        }
        client.check(&format!("CLUSTER COUNTKEYSINSLOT {slot}"), "3");
        let keys = client.line(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
        let mut keys: Vec<String> = keys.items().iter().map(Frame::text).collect();
        keys.sort();
        assert_eq!(keys, [0, 1, 2].map(|number| format!("{{{tag}}}{number}")));
        let some = client.line(&format!("CLUSTER GETKEYSINSLOT {slot} 2"));
        assert_eq!(some.items().len(), 2);
        client.check(&format!("CLUSTER GETKEYSINSLOT {slot} 0"), "[]");
        let stats = client.line("CLUSTER SLOT-STATS ORDERBY key-count LIMIT 2");
        let fullest = stats.items()[0].items();
        assert_eq!((stats.items().len(), fullest[0].integer()), (2, slot.into()));
        assert_eq!(fullest[1].pairs(), [(Frame::Bulk(b"key-count".to_vec()), Frame::Integer(3))]);
        let emptiest = client.line("CLUSTER SLOT-STATS ORDERBY key-count ASC LIMIT 1");
        assert_eq!(emptiest.items()[0].items()[1].pairs()[0].1, Frame::Integer(0));
        let (start, end) = table.ranges_of(node.id)[0];
        let all = client.line(&format!("CLUSTER SLOT-STATS SLOTSRANGE {start} {end}"));
        assert_eq!(all.items().len(), usize::from(end - start) + 1);
        let foreign = table.ranges_of(nodes[0].id)[0].0;
        client.check(&format!("CLUSTER SLOT-STATS SLOTSRANGE {foreign} {foreign}"), "[]");
        client.check(&format!("CLUSTER GETKEYSINSLOT {foreign} 10"), "[]");
        client.check(&format!("CLUSTER COUNTKEYSINSLOT {foreign}"), "0");
        // Within EXEC all shards are locked already.
        client.check("MULTI", "OK");
        client.check(&format!("SET {{{tag}}}0 w"), "QUEUED");
        client.check(&format!("CLUSTER COUNTKEYSINSLOT {slot}"), "QUEUED");
        client.check(&format!("CLUSTER GETKEYSINSLOT {slot} 0"), "QUEUED");
        client.check("EXEC", "[OK, 3, []]");
        client.check_all(
            "CLUSTER SLOT-STATS SLOTSRANGE 5 4 => -ERR Start slot number 5 is greater than end slot number 4
            CLUSTER SLOT-STATS SLOTSRANGE 5 16384 => -ERR Invalid or out of range slot
            CLUSTER SLOT-STATS ORDERBY nosuch => -ERR Unrecognized sort metric for ORDERBY: only key-count is known.
            CLUSTER SLOT-STATS ORDERBY key-count LIMIT 0 => -ERR Limit has to lie in between 1 and 16384 (maximum number of slots).
            CLUSTER SLOT-STATS ORDERBY key-count LIMIT => -ERR syntax error
            CLUSTER SLOT-STATS ORDERBY key-count ASC DESC => -ERR Multiple filters of the same type are disallowed.
            CLUSTER SLOT-STATS NOSUCH x => -ERR unknown subcommand or wrong number of arguments for 'SLOT-STATS'. Try CLUSTER HELP.",
        );
    }
}

#[test]
fn moves_under_way_are_told_with_their_progress() {
    let (nodes, table) = cluster(2);
    let tag = key_of(&nodes[0], &table);
    let slot = slot_of(tag.as_bytes()).number();
    let mut client = nodes[0].connect(true);
    for number in 0..5 {
        client.check(&format!("SET {{{tag}}}{number} v"), "OK");
    }
    client.check("CLUSTER GETSLOTMIGRATIONS", "[]");
    let mut table = Table::clone(&table);
    let begin = Change::Begin { start: slot, end: slot, from: id(0), to: id(1) };
    let movement = table.apply(&begin).expect("a move");
    let table = Arc::new(table);
    nodes[0].follow(&table);
    nodes[0].set_vitals(&table, |vitals| {
        vitals.moves = vec![MoveVitals {
            id: movement,
            slots: (slot, slot),
            peer: id(1),
            outgoing: true,
            keys: 2,
            bytes: 77,
            began_ms: 1,
        }];
    });
    let moves = client.line("CLUSTER GETSLOTMIGRATIONS");
    let fields: Vec<String> =
        moves.items()[0].pairs().iter().map(|(name, value)| format!("{}={value}", name.text())).collect();
    let fields = fields.join(" ");
    for expected in [
        format!("name=\"{movement}\" operation=\"EXPORT\" slot_ranges=\"{slot}-{slot}\""),
        format!("source_node=\"{}\" target_node=\"{}\"", id(0), id(1)),
        "keys=2 keys_total=5 bytes=77".to_owned(),
    ] {
        assert!(fields.contains(&expected), "{expected} not in {fields}");
    }
    nodes[1].follow(&table);
    let moves = nodes[1].connect(false).line("CLUSTER GETSLOTMIGRATIONS").to_string();
    assert!(moves.contains("\"operation\", \"IMPORT\"") && moves.contains("\"waiting\""), "{moves}");
    assert_eq!(field(&text(&mut client, "CLUSTER INFO"), "cluster_moves"), "1");
}

#[test]
fn operators_wishes_are_handed_on() {
    let (nodes, _) = cluster(2);
    let mut wishes = nodes[0].hub.cluster.take_wishes().expect("nobody else takes them");
    let mut client = nodes[0].connect(false);
    client.check(&format!("CLUSTER DRAIN {}", id(9)), &format!("-ERR Unknown node {}", id(9)));
    for (line, expected) in [
        ("CLUSTER DRAIN".to_owned(), Wish::Drain(None)),
        (format!("CLUSTER DRAIN {}", id(0)), Wish::Drain(None)),
        (format!("CLUSTER DRAIN {}", id(1)), Wish::Drain(Some(id(1)))),
        ("CLUSTER REFORM".to_owned(), Wish::Reform),
    ] {
        client.check(&line, "OK");
        let (wish, _) = wishes.try_recv().expect("a wish");
        assert_eq!(wish, expected, "{line}");
    }
    drop(wishes);
    assert!(client.line("CLUSTER REFORM").is_error(), "nobody is there to do it");
}

/// Every subcommand with arguments that suit it.
const ALL: &[&str] = &[
    "CLUSTER SLOTS",
    "CLUSTER SHARDS",
    "CLUSTER NODES",
    "CLUSTER INFO",
    "CLUSTER MYID",
    "CLUSTER MYSHARDID",
    "CLUSTER KEYSLOT k",
    "CLUSTER COUNTKEYSINSLOT 0",
    "CLUSTER GETKEYSINSLOT 0 1",
    "CLUSTER SLOT-STATS SLOTSRANGE 0 1",
    "CLUSTER LINKS",
    "CLUSTER REPLICAS x",
    "CLUSTER SLAVES x",
    "CLUSTER COUNT-FAILURE-REPORTS x",
    "CLUSTER BUMPEPOCH",
    "CLUSTER GETSLOTMIGRATIONS",
    "CLUSTER DRAIN",
    "CLUSTER REFORM",
    "CLUSTER HELP",
];

/// Those by which a cluster is built by hand.
const BY_HAND: &[&str] = &[
    "CLUSTER ADDSLOTS 1",
    "CLUSTER ADDSLOTSRANGE 1 2",
    "CLUSTER DELSLOTS 1",
    "CLUSTER DELSLOTSRANGE 1 2",
    "CLUSTER FAILOVER",
    "CLUSTER FLUSHSLOTS",
    "CLUSTER FORGET x",
    "CLUSTER MEET 127.0.0.1 1",
    "CLUSTER REPLICATE x",
    "CLUSTER RESET",
    "CLUSTER SAVECONFIG",
    "CLUSTER SET-CONFIG-EPOCH 1",
    "CLUSTER SETSLOT 1 STABLE",
];

#[test]
fn outside_a_cluster_all_of_it_is_refused() {
    let server = Server::start(&[]);
    for mut client in [server.connect(), server.connect().hello3()] {
        for line in ALL.iter().chain(BY_HAND).chain(&["READONLY", "READWRITE", "ASKING"]) {
            client.check(line, "-ERR This instance has cluster support disabled");
        }
        client.check("CLUSTER NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.");
        client.check("CLUSTER SLOTS x", "-ERR wrong number of arguments for 'cluster|slots' command");
        client.check("CLUSTER", "-ERR wrong number of arguments for 'cluster' command");
        let info = text(&mut client, "INFO cluster");
        assert!(info.trim_end().ends_with("cluster_enabled:0"), "{info}");
    }
}

#[test]
fn what_would_build_a_cluster_by_hand_is_refused_with_a_word_on_why() {
    let (nodes, _) = cluster(1);
    for resp3 in [false, true] {
        let mut client = nodes[0].connect(resp3);
        for line in BY_HAND {
            let name = line.split(' ').nth(1).unwrap_or_default();
            let expected =
                format!("-ERR CLUSTER {name} is not supported: slots are placed by the cluster itself, ");
            let reply = client.line(line).to_string();
            assert!(reply.starts_with(&expected) && reply.len() > expected.len(), "{line}: {reply}");
        }
        client.check("CLUSTER MEET x", "-ERR wrong number of arguments for 'cluster|meet' command");
        let id = nodes[0].id;
        client.check(&format!("CLUSTER REPLICAS {id}"), "[]");
        client.check(&format!("CLUSTER SLAVES {id}"), "[]");
        client.check(&format!("CLUSTER COUNT-FAILURE-REPORTS {id}"), "0");
        client.check("CLUSTER REPLICAS nosuch", "-ERR Unknown node nosuch");
        client.check("CLUSTER BUMPEPOCH", "STILL 1");
        client.check("CLUSTER MYSHARDID", &format!("\"{id}\""));
        let help = client.line("CLUSTER HELP");
        assert!(help.items().iter().any(|line| line.text() == "SLOTS"), "{help}");
    }
}

#[test]
fn a_member_has_one_database_and_says_that_it_is_one() {
    let (nodes, table) = cluster(1);
    let key = key_of(&nodes[0], &table);
    for resp3 in [false, true] {
        let mut client = nodes[0].connect(resp3);
        client.check_all(
            "READONLY => OK
            READWRITE => OK
            ASKING => OK
            SELECT 0 => OK
            SELECT 1 => -ERR SELECT is not allowed in cluster mode
            SELECT 99 => -ERR SELECT is not allowed in cluster mode
            SELECT x => -ERR value is not an integer or out of range
            SWAPDB 0 1 => -ERR SWAPDB is not allowed in cluster mode
            MOVE k 1 => -ERR MOVE is not allowed in cluster mode
            COPY {k}a {k}b DB 1 => -ERR Copying to another database is not allowed in cluster mode
            SENTINEL masters => -ERR unknown command 'SENTINEL', with args beginning with: 'masters'",
        );
        client.check(&format!("SET {key} v"), "OK");
        client.check(&format!("COPY {key} {{{key}}}b DB 0 REPLACE"), "1");
        let databases = client.line("CONFIG GET databases").pairs();
        assert_eq!(databases[0].1.text(), "1");
        assert_eq!(client.line("CONFIG GET cluster-enabled").pairs()[0].1.text(), "yes");
        let hello = client.line("HELLO").pairs();
        let mode = hello.iter().find(|(name, _)| name.text() == "mode").expect("a mode");
        assert_eq!(mode.1.text(), "cluster");
        let role = client.line("ROLE");
        assert_eq!(role.items()[0].text(), "master");
        assert!(text(&mut client, "INFO keyspace").contains("db0:keys=2,"));
    }
}

#[test]
fn sort_follows_patterns_of_its_own_slot_only() {
    let (nodes, _) = cluster(1);
    for resp3 in [false, true] {
        let mut client = nodes[0].connect(resp3);
        client.line("DEL {a}k {a}stored");
        client.check_all(
            r#"RPUSH {a}k 1 2 3 => 3
            MSET {a}by1 20 {a}by2 30 {a}by3 0 {a}get1 200 {a}get2 100 {a}get3 30 => OK
            SORT {a}k BY {a}by* => ["3", "1", "2"]
            SORT_RO {a}k BY {a}by* GET {a}get* GET # => ["30", "3", "200", "1", "100", "2"]
            SORT {a}k BY by* => -ERR BY option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.
            SORT_RO {a}k BY *{a} => -ERR BY option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.
            SORT {a}k BY {a}by* GET get* => -ERR GET option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.
            SORT {a}k BY nosort GET # STORE {a}stored => 3
            LRANGE {a}stored 0 -1 => ["1", "2", "3"]
            SORT {a}k STORE {b}stored => -CROSSSLOT Keys in request don't hash to the same slot
            LMOVE {a}k {b}k LEFT RIGHT => -CROSSSLOT Keys in request don't hash to the same slot
            BLPOP {a}none {b}none 0 => -CROSSSLOT Keys in request don't hash to the same slot"#,
        );
    }
}
