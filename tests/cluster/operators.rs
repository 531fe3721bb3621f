//! The cluster as its operators see it: `larder cluster …`, and what probes and Prometheus are told.

use larder::app::scrape;
use larder::cluster::table::{Change, Table};
use larder::hub::cluster::{Phase, Wish};
use larder::hub::orders::Shutdown;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::nodes::{Node, alone, cluster, founded, id, member};
use crate::support::client::Client;

/// Runs `larder cluster` with these words, at `node`.
fn larder(node: &Node, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("cluster").args(words).args(["--host", "127.0.0.1", "--port", &node.port()]);
    command.output().expect("the program runs")
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// Gives the last of the first member's slots to the second one, by a move that is under way.
fn with_a_move(table: &Table) -> Arc<Table> {
    let mut table = Table::clone(table);
    let (_, end) = table.ranges_of(id(0))[0];
    table.apply(&Change::Begin { start: end, end, from: id(0), to: id(1) }).expect("a move");
    Arc::new(table)
}

#[test]
fn status_shows_every_node_and_every_move() {
    let (nodes, table) = cluster(3);
    let table = with_a_move(&table);
    nodes.iter().for_each(|node| node.follow(&table));
    let shown = printed(&larder(&nodes[1], &["status"]));
    for node in &nodes {
        let start = &node.id.to_string()[..8];
        assert!(shown.lines().any(|line| line.starts_with(start) && line.contains("33.3 %")), "{shown}");
        assert!(shown.contains(&node.address.to_string()), "{shown}");
    }
    for part in
        ["version 2, generation 0", "3 of 3 nodes go by this table", "term 3", "1 moves are under way"]
    {
        assert!(shown.contains(part), "{part} not in\n{shown}");
    }
    let (_, end) = table.ranges_of(id(0))[0];
    assert!(shown.contains(&format!("{end}-{end}")), "{shown}");

    let json = printed(&larder(&nodes[1], &["status", "--json"]));
    assert!(json.starts_with("{\"state\":\"ok\",\"name\":\"larder\"") && json.ends_with("}\n"), "{json}");
    for part in [
        format!("\"leader\":\"{}\"", id(0)),
        "\"version\":2,\"generation\":0".to_owned(),
        "\"nodes_agreeing\":3,".to_owned(),
        format!("\"slots\":\"{end}-{end}\",\"from\":\"{}\",\"to\":\"{}\"", id(0), id(1)),
    ] {
        assert!(json.contains(&part), "{part} not in\n{json}");
    }
    assert_eq!(json.matches("\"error\":\"\"").count(), 3, "{json}");
}

#[test]
fn status_goes_on_where_a_node_does_not_answer() {
    let node = alone(0);
    // Nobody listens there: the port belongs to a node that has gone.
    let gone = alone(1).address.port();
    let table = Arc::new(founded(vec![member(0, node.address.port()), member(1, gone)]));
    node.follow(&table);
    let shown = printed(&larder(&node, &["status"]));
    assert!(shown.contains(&format!("cannot connect to 127.0.0.1:{gone}")), "{shown}");
    let said = refused(&larder(&node, &["wait", "--size", "2", "--timeout", "1"]));
    assert!(said.contains("not within 1 s") && said.contains("cannot connect"), "{said}");
}

#[test]
fn drain_names_the_node_to_the_cluster() {
    let (nodes, _) = cluster(2);
    let mut wishes = nodes[0].hub.cluster.take_wishes().expect("nobody else takes them");
    let other = nodes[1].id.to_string();
    for name in [other.clone(), other[..6].to_owned(), nodes[1].address.to_string()] {
        let said = printed(&larder(&nodes[0], &["drain", &name]));
        assert!(said.starts_with(&other), "{said}");
        assert_eq!(wishes.try_recv().expect("a wish").0, Wish::Drain(Some(nodes[1].id)));
    }
    assert!(refused(&larder(&nodes[0], &["drain", "nosuch"])).contains("no node is called 'nosuch'"));
}

#[test]
fn wait_ends_when_the_nodes_serve_with_their_share() {
    let (nodes, table) = cluster(2);
    assert_eq!(printed(&larder(&nodes[0], &["wait", "--size", "2"])), "2 nodes serve all slots\n");
    let said = refused(&larder(&nodes[0], &["wait", "--size", "3", "--timeout", "1"]));
    assert!(said.contains("there are 2 nodes of 3"), "{said}");
    nodes[1].hub.cluster.routes.end_lease();
    let said = refused(&larder(&nodes[0], &["wait", "--size", "2", "--timeout", "1"]));
    assert!(said.contains("does not serve"), "{said}");
    nodes[1].follow(&table);
    let moving = with_a_move(&table);
    nodes.iter().for_each(|node| node.follow(&moving));
    let said = refused(&larder(&nodes[0], &["wait", "--timeout", "1"]));
    assert!(said.contains("where they should be"), "{said}");
}

#[test]
fn only_a_member_that_serves_is_ready() {
    let (nodes, table) = cluster(1);
    let hub = &nodes[0].hub;
    let page = scrape::page(hub);
    let metric = || page().lines().find_map(|line| line.strip_prefix("larder_ready ").map(str::to_owned));
    assert_eq!(scrape::readiness(hub), Ok(()));
    assert_eq!(metric().as_deref(), Some("1"));
    nodes[0].set_vitals(&table, |vitals| {
        vitals.phase = Phase::Draining;
        vitals.why = "12 slots left".to_owned();
    });
    assert_eq!(scrape::readiness(hub), Err("draining: 12 slots left".to_owned()));
    assert_eq!(metric().as_deref(), Some("0"));
    nodes[0].set_vitals(&table, |_| {});
    hub.cluster.routes.end_lease();
    assert_eq!(scrape::readiness(hub), Err("no lease".to_owned()));
    hub.orders.shut_down(Shutdown::Immediate);
    assert_eq!(scrape::readiness(hub), Err("stopping".to_owned()));
}

#[test]
fn the_page_for_prometheus_has_the_members_view() {
    let (nodes, _) = cluster(2);
    let mut client: Client = nodes[1].connect(false);
    assert!(client.line("MGET {a}1 {b}1").is_error());
    let page = scrape::page(&nodes[1].hub)();
    for line in [
        "larder_cluster_members 2",
        "larder_cluster_members_alive 2",
        "larder_cluster_serving 1",
        "larder_cluster_leader 0",
        "larder_cluster_term 3",
        "larder_cluster_table_version 1",
        "larder_cluster_slots_owned 8192",
        "larder_cluster_refused_commands_total{reason=\"crossslot\"} 1",
        "larder_cluster_moves_active 0",
    ] {
        assert!(page.lines().any(|known| known == line), "{line} not in\n{page}");
    }
}
