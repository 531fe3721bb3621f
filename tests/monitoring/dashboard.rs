//! The Grafana dashboard: well formed, and every panel's queries give data from a Prometheus that watches a real cluster,
//! under load and with a slot move behind it. Grafana itself is not needed: it sends the same queries.

use super::alerts::{ALONE, Load, flags, ips};
use super::prometheus::{self, JOB, Prometheus};
use super::support::cluster::Cluster;
use super::support::deployed::{self, list, string};
use serde_json::Value;
use std::collections::BTreeSet;

const DASHBOARD: &str = "grafana/dashboards/larder.json";
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// Panels whose numbers are above 0 under the load of [`every_panel_has_data`]: what they count is happening.
const MOVING: &[&str] = &[
    "Nodes that answer",
    "Members",
    "Slots served",
    "Hit ratio",
    "Hit ratio by node",
    "Commands per second",
    "Commands by name",
    "Commands by node",
    "Latency",
    "Errors",
    "Network",
    "Load of workers",
    "Memory",
    "Keys",
    "Expirations",
    "Connected clients",
    "Redirects and refusals",
    "Slots by node",
    "Membership",
    "Leader",
    "Version of the slot table",
    "Leases",
    "Gossip",
    "Requests by the gateway",
    "Links of the gateway",
    "Scripts and functions",
    "Memory of scripts",
    "Messages between nodes",
];

/// Panels that have shown a move, for as long as it lasted.
const MOVED: &[&str] = &["Keys on the move", "Bytes on the move"];

/// All panels but the headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(dashboard, "/panels").iter().filter(|panel| panel["type"] != "row").collect()
}

/// A panel's queries with Grafana's variables filled in as it does; minutes are seconds, as in the rules.
fn queries(panel: &Value) -> Vec<String> {
    let fill = |query: &str| {
        query
            .replace("$__rate_interval", "5s")
            .replace("[15m]", "[15s]")
            .replace("$job", JOB)
            .replace("$instance", ".*")
    };
    let queries: Vec<String> =
        list(panel, "/targets").iter().map(|target| fill(string(target, "/expr"))).collect();
    for query in &queries {
        assert!(!query.contains('$'), "a variable that is none: {query}");
    }
    queries
}

#[test]
fn it_is_well_formed() {
    let dashboard = deployed::document(DASHBOARD);
    let mut ids = BTreeSet::new();
    let mut titles = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard, "/panels") {
        let title = string(panel, "/title");
        assert!(!title.is_empty() && titles.insert(title), "{title:?}: missing or twice");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is taken");
        let at = |field: &str| panel["gridPos"][field].as_u64().unwrap_or_else(|| panic!("{title}: {field}"));
        assert!(at("x") + at("w") <= COLUMNS && at("w") > 0 && at("h") > 0, "{title}: outside");
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "{title}: over another panel");
        }
    }
    for panel in panels(&dashboard) {
        let title = string(panel, "/title");
        assert!(string(panel, "/description").ends_with('.'), "{title}: no description");
        assert!(!string(panel, "/fieldConfig/defaults/unit").is_empty(), "{title}: no unit");
        assert!(!queries(panel).is_empty(), "{title}: no query");
        for target in list(panel, "/targets") {
            assert_eq!(string(target, "/datasource/uid"), "${datasource}", "{title}");
        }
    }
    for name in MOVING.iter().chain(MOVED) {
        assert!(titles.contains(name), "there is no panel {name:?}");
    }
    let variables: Vec<&str> =
        list(&dashboard, "/templating/list").iter().map(|one| string(one, "/name")).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
}

#[test]
fn alerts_that_it_names_exist() {
    let known: Vec<String> =
        deployed::alerts().iter().map(|alert| string(alert, "/alert").to_owned()).collect();
    let text = deployed::text(DASHBOARD);
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    let mut named = 0;
    for word in words.filter(|word| word.len() > "Larder".len() && word.starts_with("Larder")) {
        assert!(known.iter().any(|alert| alert == word), "there is no alert {word}");
        named += 1;
    }
    assert!(named > 10, "only {named} alerts are named");
}

#[test]
fn grafana_finds_its_source_and_the_dashboard() {
    let sources = deployed::document("grafana/provisioning/datasources/prometheus.yml");
    let source = &list(&sources, "/datasources")[0];
    assert_eq!(string(source, "/type"), "prometheus");
    let shipped = deployed::document("prometheus/prometheus.yml");
    // Grafana makes $__rate_interval of it.
    assert_eq!(string(source, "/jsonData/timeInterval"), string(&shipped, "/global/scrape_interval"));
    let providers = deployed::document("grafana/provisioning/dashboards/larder.yml");
    let path = string(&list(&providers, "/providers")[0], "/options/path");
    // The compose file has what these files speak of: services by their names, and folders where they are looked for.
    let compose = deployed::document("compose.yml");
    let services = compose["services"].as_object().expect("services");
    let mounts = |service: &str| format!("{:?}", list(&services[service], "/volumes"));
    assert!(mounts("grafana").contains(&format!("./grafana/dashboards:{path}")), "{}", mounts("grafana"));
    assert!(mounts("grafana").contains("./grafana/provisioning:/etc/grafana/provisioning"));
    assert!(mounts("prometheus").contains("./prometheus:/etc/prometheus"));
    assert_eq!(string(source, "/url"), "http://prometheus:9090");
    for name in list(&shipped, "/scrape_configs/0/dns_sd_configs/0/names") {
        assert!(services.contains_key(name.as_str().unwrap_or_default()), "{name} is no service");
    }
}

/// What of `titles` has no number above 0 (or, where `any` number will do, none at all).
fn silent(prometheus: &Prometheus, panels: &[&Value], any: bool) -> Vec<String> {
    let mut silent = Vec::new();
    for panel in panels {
        for query in queries(panel) {
            let numbers = prometheus.query(&query);
            if !numbers.iter().any(|number| any || *number > 0.0) {
                silent.push(format!("{}: {query}", string(panel, "/title")));
            }
        }
    }
    silent
}

fn none(silent: Vec<String>) -> Result<(), String> {
    if silent.is_empty() { Ok(()) } else { Err(silent.join("\n")) }
}

#[test]
fn every_panel_has_data() {
    if !prometheus::is_installed() {
        return;
    }
    let mut cluster = Cluster::start(3, &flags());
    let prometheus = Prometheus::start(cluster.address(0).ip());
    prometheus.watch(&ips(&cluster));
    cluster.wait_ok();
    let load = Load::start(&cluster);
    prometheus.wait_up(&ips(&cluster));
    cluster.join();
    prometheus.watch(&ips(&cluster));
    let dashboard = deployed::document(DASHBOARD);
    let named = |names: &[&str]| -> Vec<&Value> {
        panels(&dashboard).into_iter().filter(|panel| names.contains(&string(panel, "/title"))).collect()
    };
    // A move is short: what counts it must show it now, before the five seconds of a rate are over.
    prometheus.wait("a move is seen", |prometheus| none(silent(prometheus, &named(MOVED), false)));
    cluster.wait_ok();
    prometheus.wait_up(&ips(&cluster));
    prometheus.wait("every panel has data", |prometheus| none(silent(prometheus, &panels(&dashboard), true)));
    prometheus.wait("what happens is seen", |prometheus| {
        let some: Vec<String> = named(MOVING)
            .into_iter()
            .filter(|panel| {
                queries(panel).iter().all(|query| !prometheus.query(query).iter().any(|n| *n > 0.0))
            })
            .map(|panel| string(panel, "/title").to_owned())
            .collect();
        none(some)
    });
    // What the join may have set off is over, and a cluster that is well sets off nothing.
    prometheus.wait("no alert fires", |prometheus| none(prometheus.firing().into_iter().collect()));
    drop(load);
    prometheus.watch(&[]);
    prometheus.wait_for_alerts(ALONE);
}
