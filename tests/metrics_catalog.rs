//! The page for Prometheus: complete, well formed, and good enough for Prometheus's own linter.

mod support;

use larder::metrics::catalog::METRICS;
use larder::metrics::exporter::{
    ClusterCounts, ClusterSample, DatabaseSample, Exporter, PubSubSample, Sample, ScriptSample,
    TrackingSample, WorkerSample,
};
use larder::metrics::process::CpuSeconds;
use larder::metrics::workers::{Totals, WorkerStats};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};
use std::sync::Arc;
use support::server::{Server, free_port, wait_until};
use support::{http, tool};

/// A sample with a number in every place.
fn sample() -> Sample {
    let worker = WorkerStats::new(3);
    worker.keyspace_hits.add(11);
    worker.net_input_bytes.add(5_000_000_000);
    worker.connections_opened.add(4);
    worker.connections_closed.add(1);
    worker.busy_ns.add(1_250_000_000);
    worker.query_limit_closed.add(2);
    worker.scripts_out_of_memory.add(3);
    for ns in [800, 20_000, 7_000_000] {
        worker.command(1).expect("a row").record(ns, true);
    }
    worker.command(2).expect("a row").reject();
    Sample {
        uptime_seconds: 12.5,
        ready: true,
        command_names: Arc::from(["ping", "get", "client|list"].map(String::from)),
        workers: vec![WorkerSample::of(&worker)],
        totals: Totals::of([&worker]),
        databases: vec![DatabaseSample { number: 0, keys: 7, expiring: 3 }],
        evicted: vec![("allkeys-lru", 9), ("volatile-ttl", 0)],
        expired: 6,
        memory_used_bytes: 123_456_789,
        memory_limit_bytes: 1 << 30,
        memory_held_back_bytes: 1_000_000,
        memory_resident_bytes: 200_000_000,
        cpu: CpuSeconds { user: 1.5, system: 0.25 },
        clients_max: 10_000,
        clients_blocked: 6,
        slowlog_len: 5,
        tracking: TrackingSample { clients: 31, keys: 32, items: 33, prefixes: 34, bytes: 35 },
        scripts: ScriptSample {
            scripts: 41,
            functions: 42,
            late: 1,
            longest_seconds: 7.5,
            cached: 43,
            loaded: 44,
            interpreter_bytes: 45,
            text_bytes: 46,
        },
        pubsub: PubSubSample { names: [3, 2, 1], clients: 4, published: 9, delivered: 21, dropped: 8 },
        cluster: Some(ClusterSample {
            members: 3,
            members_alive: 2,
            serving: true,
            leads: true,
            slots_owned: 5461,
            lease_seconds: 1.5,
            counts: ClusterCounts {
                leases_refused: 4,
                redirects: 17,
                gossip_received_bytes: 5_000_000_001,
                gateway_remote: 23,
                gateway_links: 2,
                publish_dropped: 12,
                ..ClusterCounts::default()
            },
            dropped: vec![("secret", 6), ("foreign", 0)],
            ..ClusterSample::default()
        }),
    }
}

/// Series and their numbers.
fn series(page: &str) -> HashMap<String, f64> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no number: {line}"));
            (String::from(name), number.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        })
        .collect()
}

#[test]
fn every_metric_of_the_catalogue_is_on_the_page_and_nothing_else() {
    let page = Exporter::new().render(&sample());
    for metric in METRICS {
        let help = format!("# HELP {} {}", metric.name, metric.help);
        let kind = format!("# TYPE {} {}", metric.name, metric.kind.name());
        for wanted in [help, kind] {
            assert_eq!(page.lines().filter(|line| *line == wanted).count(), 1, "{wanted}\n{page}");
        }
    }
    for name in series(&page).keys() {
        let known = METRICS.iter().any(|metric| {
            name.strip_prefix(metric.name).is_some_and(|rest| {
                ["", "_bucket", "_sum", "_count"].contains(&rest.split('{').next().unwrap_or(""))
            })
        });
        assert!(known, "{name} is not in the catalogue");
    }
}

#[test]
fn numbers_arrive() {
    let exporter = Exporter::new();
    exporter.render(&sample());
    let page = exporter.render(&sample());
    let series = series(&page);
    for (name, number) in [
        ("larder_keyspace_hits_total", 11.0),
        ("larder_network_received_bytes_total", 5e9),
        ("larder_connected_clients", 3.0),
        ("larder_connections_accepted_total", 4.0),
        ("larder_clients_limit_closed_total{limit=\"query\"}", 2.0),
        ("larder_evicted_keys_total{policy=\"allkeys-lru\"}", 9.0),
        ("larder_database_keys{db=\"0\"}", 7.0),
        ("larder_memory_used_bytes", 123_456_789.0),
        ("larder_commands_total{command=\"get\"}", 3.0),
        ("larder_commands_rejected_total{command=\"client|list\"}", 1.0),
        ("larder_worker_busy_seconds_total{worker=\"0\"}", 1.25),
        ("larder_command_duration_seconds_count{command=\"get\"}", 3.0),
        ("larder_command_duration_seconds_bucket{command=\"get\",le=\"0.000032\"}", 2.0),
        ("larder_uptime_seconds", 12.5),
        ("larder_ready", 1.0),
        ("larder_cpu_seconds_total{mode=\"system\"}", 0.25),
        ("larder_blocked_clients", 6.0),
        ("larder_scripts_total{kind=\"script\"}", 41.0),
        ("larder_scripts_total{kind=\"function\"}", 42.0),
        ("larder_scripts_stopped_total{reason=\"killed\"}", 0.0),
        ("larder_scripts_stopped_total{reason=\"memory\"}", 3.0),
        ("larder_scripts_late", 1.0),
        ("larder_scripts_longest_seconds", 7.5),
        ("larder_scripts_cached", 43.0),
        ("larder_functions", 44.0),
        ("larder_scripts_memory_bytes{part=\"interpreters\"}", 45.0),
        ("larder_scripts_memory_bytes{part=\"texts\"}", 46.0),
        ("larder_cluster_publish_messages_total{outcome=\"dropped\"}", 12.0),
        ("larder_tracking_clients", 31.0),
        ("larder_tracking_items", 33.0),
        ("larder_tracking_bytes", 35.0),
        ("larder_pubsub_names{kind=\"pattern\"}", 2.0),
        ("larder_pubsub_clients", 4.0),
        ("larder_pubsub_published_messages_total", 9.0),
        ("larder_pubsub_delivered_messages_total", 21.0),
        ("larder_pubsub_dropped_clients_total", 8.0),
        ("larder_cluster_members_alive", 2.0),
        ("larder_cluster_serving", 1.0),
        ("larder_cluster_slots_owned", 5461.0),
        ("larder_cluster_lease_seconds", 1.5),
        ("larder_cluster_leases_total{outcome=\"refused\"}", 4.0),
        ("larder_cluster_refused_commands_total{reason=\"moved\"}", 17.0),
        ("larder_cluster_gossip_bytes_total{direction=\"received\"}", 5_000_000_001.0),
        ("larder_gateway_requests_total{where=\"remote\"}", 23.0),
        ("larder_gateway_links", 2.0),
        ("larder_cluster_dropped_total{reason=\"secret\"}", 6.0),
    ] {
        assert_eq!(series.get(name), Some(&number), "{name}\n{page}");
    }
    assert!(!page.contains("command=\"ping\""), "a command that was never used has no series");
    let alone = Exporter::new().render(&Sample { cluster: None, ..sample() });
    assert!(
        !alone.contains("larder_cluster_"),
        "a server that is no member has none of the cluster's series"
    );
}

/// Asks Prometheus's linter about `page`; nothing where it is not installed.
fn check_with_promtool(page: &str) {
    if tool::is_installed("promtool", &["--version"]) {
        let finished = tool::run(Command::new("promtool").args(["check", "metrics"]), page.as_bytes());
        let silent = finished.stdout.trim().is_empty() && finished.stderr.trim().is_empty();
        assert!(finished.status.success() && silent, "{}\n{page}", finished.all());
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    check_with_promtool(&Exporter::new().render(&sample()));
}

/// The reply to a GET: its first line, and its body.
fn get(port: &str, path: &str) -> (String, String) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
    // The port opens when the server serves already, a moment after its first PONG.
    let mut reply = None;
    wait_until("the HTTP port answers", || {
        reply = http::get(address, path).ok();
        reply.is_some()
    });
    reply.expect("a reply")
}

fn larder(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larder")).args(arguments).output().expect("the program runs")
}

#[test]
fn a_running_server_shows_what_it_did() {
    let http = free_port().to_string();
    let server = Server::start_program(env!("CARGO_BIN_EXE_larder"), &["--metrics-port", &http]);
    let before = series(&get(&http, "/metrics").1);
    let mut client = server.connect();
    client.check("SET k v EX 100", "OK");
    client.check("SELECT 3", "OK");
    client.check("SET k v", "OK");
    for name in ["GET k", "GET missing", "GET missing", "GET", "NOSUCH"] {
        client.line(name);
    }
    let (status, page) = get(&http, "/metrics");
    assert_eq!(status, "HTTP/1.0 200 OK");
    check_with_promtool(&page);
    let after = series(&page);
    let grown = |name: &str| after.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0);
    for (name, by) in [
        ("larder_commands_total{command=\"set\"}", 2.0),
        ("larder_commands_total{command=\"get\"}", 3.0),
        ("larder_commands_rejected_total{command=\"get\"}", 1.0),
        ("larder_command_duration_seconds_count{command=\"get\"}", 3.0),
        ("larder_keyspace_hits_total", 1.0),
        ("larder_keyspace_misses_total", 2.0),
        ("larder_error_replies_total", 2.0),
        ("larder_database_keys{db=\"0\"}", 1.0),
        ("larder_database_expiring_keys{db=\"0\"}", 1.0),
        ("larder_database_keys{db=\"3\"}", 1.0),
        ("larder_database_expiring_keys{db=\"3\"}", 0.0),
    ] {
        assert_eq!(grown(name), by, "{name}\n{page}");
    }
    for name in ["larder_network_received_bytes_total", "larder_network_sent_bytes_total"] {
        assert!(grown(name) > 0.0, "{name}\n{page}");
    }
    // The connection that waited for the server's first answer may still be on the page.
    assert!(after["larder_connected_clients"] >= 1.0);
    assert!(after["larder_memory_resident_bytes"] > 1e6);
}

#[test]
fn scripts_that_run_are_killed_or_go_over_their_memory_are_seen() {
    let http = free_port().to_string();
    let flags = ["--metrics-port", &http, "--busy-reply-threshold", "50", "--lua-memory-limit", "1mb"];
    let server = Server::start_program(env!("CARGO_BIN_EXE_larder"), &flags);
    let page = || series(&get(&http, "/metrics").1);
    let before = page();
    let (mut client, mut runner, mut waiting) = (server.connect(), server.connect(), server.connect());
    let digest = client.cmd(&["SCRIPT", "LOAD", "return 1"]).text();
    client.check(&format!("EVALSHA {digest} 0"), "1");
    client.cmd(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=one\nredis.register_function('f', function() return 1 end)",
    ]);
    client.check("FCALL f 0", "1");
    assert!(client.cmd(&["EVAL", "return #string.rep('x', 50000000)", "0"]).is_error());
    waiting.send_line("BLPOP nothing 0");
    runner.send(&["EVAL", "while true do end", "0"]);
    // Who runs a script that takes long waits, too.
    wait_until("the script is late, and two clients wait", || {
        let page = page();
        page["larder_scripts_late"] == 1.0 && page["larder_blocked_clients"] == 2.0
    });
    assert!(page()["larder_scripts_longest_seconds"] >= 0.05);
    client.check("SCRIPT KILL", "OK");
    assert!(runner.receive().is_error());
    let after = page();
    let grown = |name: &str| after[name] - before[name];
    for (name, by) in [
        ("larder_scripts_total{kind=\"script\"}", 3.0),
        ("larder_scripts_total{kind=\"function\"}", 1.0),
        ("larder_scripts_stopped_total{reason=\"killed\"}", 1.0),
        ("larder_scripts_stopped_total{reason=\"memory\"}", 1.0),
        ("larder_scripts_stopped_total{reason=\"conflict\"}", 0.0),
        ("larder_scripts_late", 0.0),
        ("larder_scripts_longest_seconds", 0.0),
        ("larder_scripts_cached", 3.0),
        ("larder_functions", 1.0),
    ] {
        assert_eq!(grown(name), by, "{name}");
    }
    assert!(grown("larder_scripts_memory_bytes{part=\"interpreters\"}") > 0.0);
}

#[test]
fn probes_see_a_server_that_serves_and_a_port_that_is_taken_ends_the_start() {
    let http = free_port().to_string();
    let server = Server::start_program(env!("CARGO_BIN_EXE_larder"), &["--metrics-port", &http]);
    assert_eq!(get(&http, "/healthz").0, "HTTP/1.0 200 OK");
    assert_eq!(get(&http, "/readyz"), ("HTTP/1.0 200 OK".to_owned(), "ready\n".to_owned()));
    let healthy = larder(&["healthcheck", "--port", &server.port()]);
    assert!(healthy.status.success() && healthy.stdout.is_empty(), "{healthy:?}");

    let second = larder(&["--port", &free_port().to_string(), "--metrics-port", &http]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!((second.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{http}")), "{said}");
}
