//! `throughput`: server CPU time per request, requests per second and latencies, all systems in turn in every round.
//!
//! CPU time is the figure that the goals are about: on a shared machine it is steadier than throughput. Every run has a
//! fresh, prefilled server, so that no system keeps a lucky or unlucky memory layout through all rounds.

use std::{collections::HashMap, io, time::Duration};

use crate::{
    Options,
    client::Client,
    load::{Load, Measured, Workload},
    machine,
    report::{Table, median, progress, title, verdict},
    server::Server,
    system::{Kind, System},
    wire::Expiry,
};

const WORKLOADS: [Workload; 4] = [
    Workload { name: "p1-100B", connections: 50, pipeline: 1, value_bytes: 100, keys: 1_000_000 },
    Workload { name: "p16-100B", connections: 50, pipeline: 16, value_bytes: 100, keys: 1_000_000 },
    Workload { name: "p16-1KB", connections: 50, pipeline: 16, value_bytes: 1024, keys: 200_000 },
    Workload { name: "p1-1000c", connections: 1000, pipeline: 1, value_bytes: 100, keys: 1_000_000 },
];
/// Workload, peer, and the most that Larder's CPU time may be as a multiple of the peer's.
const GOALS: [(&str, Kind, f64); 4] = [
    ("p1-100B", Kind::Bare, 1.06),
    ("p16-100B", Kind::Pogocache, 0.9),
    ("p16-100B", Kind::Redis, 0.55),
    ("p16-1KB", Kind::Redis, 0.75),
];
const WARM_UP: Duration = Duration::from_millis(500);

/// Runs every workload and prints its table.
pub fn run(options: &Options) -> io::Result<()> {
    title("Throughput: GET/SET 10:1, server on one core, load on another");
    let kinds = [Kind::Larder, Kind::Bare, Kind::Redis, Kind::Memcached, Kind::Pogocache];
    let systems = System::available(&options.chosen(&kinds));
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 5 });
    let seconds = options.seconds.unwrap_or(if options.quick { 1.0 } else { 4.0 });
    let asked = &options.workloads;
    for workload in &WORKLOADS {
        let left_out = options.quick && workload.connections > 100;
        if left_out || (!asked.is_empty() && !asked.iter().any(|name| name == workload.name)) {
            continue;
        }
        let mut results: HashMap<Kind, Vec<Measured>> = HashMap::new();
        for _ in 0..rounds {
            for system in &systems {
                let measured = measure(system, workload, Duration::from_secs_f64(seconds))?;
                progress(&format!("{}: {} {:.3} µs", workload.name, system.name, measured.cpu_us));
                results.entry(system.kind).or_default().push(measured);
            }
        }
        print(workload, &systems, &results);
    }
    Ok(())
}

fn measure(system: &System, workload: &Workload, window: Duration) -> io::Result<Measured> {
    let server = Server::start(system, None, workload.value_bytes)?;
    let value = vec![b'v'; workload.value_bytes];
    if system.kind != Kind::Bare {
        Client::connect(&server)?.fill(0..workload.keys, &value, Expiry::Never)?;
    }
    let measured = Load::start(&server, workload)?.measure(&server, WARM_UP, window)?;
    if measured.missed > 0.0 {
        return Err(io::Error::other(format!("{} lost keys that were filled in", system.name)));
    }
    Ok(measured)
}

fn print(workload: &Workload, systems: &[System], results: &HashMap<Kind, Vec<Measured>>) {
    let Workload { name, connections, pipeline, value_bytes, keys } = workload;
    println!("{name}: {connections} connections, pipeline {pipeline}, {value_bytes} B values, {keys} keys");
    let figure =
        |kind: Kind, of: fn(&Measured) -> f64| results.get(&kind).map(|runs| median(runs.iter().map(of)));
    let cpu_us = |kind| figure(kind, |run| run.cpu_us);
    let mut table =
        Table::new(&["system", "CPU µs/op", "× bare", "× redis", "kops/s", "p50 ms", "p99 ms", "p99.9 ms"]);
    for system in systems {
        let ratio = |peer| match (cpu_us(system.kind), cpu_us(peer)) {
            (Some(own), Some(other)) => format!("{:.2}", own / other),
            _ => String::from("-"),
        };
        let show = |of, digits: usize| format!("{:.digits$}", figure(system.kind, of).unwrap_or(0.0));
        table.row(vec![
            system.name.to_owned(),
            show(|run| run.cpu_us, 3),
            ratio(Kind::Bare),
            ratio(Kind::Redis),
            show(|run| run.kops, 1),
            show(|run| run.latency_ms[0], 3),
            show(|run| run.latency_ms[1], 3),
            show(|run| run.latency_ms[2], 3),
        ]);
    }
    table.print();
    let shares = results.values().flatten().map(|run| run.others_percent);
    machine::print_others(shares.fold(0.0, f64::max));
    for (_, peer, at_most) in GOALS.iter().filter(|goal| goal.0 == *name) {
        if let (Some(own), Some(other)) = (cpu_us(Kind::Larder), cpu_us(*peer)) {
            verdict(&format!("{name}, CPU time against {}", peer.name()), own / other, *at_most);
        }
    }
    println!();
}
