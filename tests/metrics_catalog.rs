//! The page for Prometheus: complete, well formed, and good enough for Prometheus's own linter.

use larder::metrics::catalog::METRICS;
use larder::metrics::exporter::{DatabaseSample, Exporter, Sample, WorkerSample};
use larder::metrics::process::CpuSeconds;
use larder::metrics::workers::{Totals, WorkerStats};
use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A sample with a number in every place.
fn sample() -> Sample {
    let worker = WorkerStats::new(3);
    worker.keyspace_hits.add(11);
    worker.net_input_bytes.add(5_000_000_000);
    worker.connections_opened.add(4);
    worker.connections_closed.add(1);
    worker.busy_ns.add(1_250_000_000);
    worker.query_limit_closed.add(2);
    for ns in [800, 20_000, 7_000_000] {
        worker.command(1).expect("a row").record(ns, true);
    }
    worker.command(2).expect("a row").reject();
    Sample {
        uptime_seconds: 12.5,
        command_names: Arc::from(["ping", "get", "client|list"].map(String::from)),
        workers: vec![WorkerSample::of(&worker)],
        totals: Totals::of([&worker]),
        databases: vec![DatabaseSample { number: 0, keys: 7, expiring: 3 }],
        evicted: vec![("allkeys-lru", 9), ("volatile-ttl", 0)],
        expired: 6,
        memory_used_bytes: 123_456_789,
        memory_limit_bytes: 1 << 30,
        memory_resident_bytes: 200_000_000,
        cpu: CpuSeconds { user: 1.5, system: 0.25 },
        clients_max: 10_000,
        slowlog_len: 5,
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
        ("larder_cpu_seconds_total{mode=\"system\"}", 0.25),
    ] {
        assert_eq!(series.get(name), Some(&number), "{name}\n{page}");
    }
    assert!(!page.contains("command=\"ping\""), "a command that was never used has no series");
}

#[test]
fn promtool_has_nothing_to_say() {
    let page = Exporter::new().render(&sample());
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        println!("skipped: promtool is not installed (Debian package prometheus)");
        return;
    };
    tool.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("promtool reads");
    let output = tool.wait_with_output().expect("promtool ends");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{page}");
}
