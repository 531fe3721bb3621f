//! `growth`: the longest single command while ten million keys are filled in, by the server's own clock.
//!
//! A table that rehashes in one go shows here and nowhere else. The client's own longest batch is printed beside it: a
//! stall outside any command would be seen there alone.

use std::{io, time::Instant};

use crate::{
    Options,
    client::{Client, FILL_BATCH, Value},
    machine::{self, Usage},
    report::{Table, mebibytes, title, verdict},
    server::Server,
    system::{Kind, System},
    wire::Expiry,
};

const KEYS: u64 = 10_000_000;
const VALUE: &[u8] = b"12345678";
/// The longest execution time that the goal allows, in microseconds.
const LONGEST_US: f64 = 1000.0;

/// Fills each system and prints what it says about its SETs.
pub fn run(options: &Options) -> io::Result<()> {
    let keys = if options.quick { KEYS / 10 } else { KEYS };
    title(&format!("Growth: the longest SET while {keys} keys are filled in"));
    let systems = System::available(&options.chosen(&[Kind::Larder, Kind::Redis]));
    let mut table = Table::new(&["system", "longest SET µs", "longest batch of 500, ms", "kops/s", "RSS MB"]);
    let mut details = Vec::new();
    let mut longest_us = None;
    let mut others: f64 = 0.0;
    for system in &systems {
        let server = Server::start(system, None, VALUE.len())?;
        let mut client = Client::connect(&server)?;
        client.ask(&["CONFIG", "SET", "latency-tracking-info-percentiles", "50 99 99.9 100"])?;
        let (started, usage) = (Instant::now(), Usage::now(server.probe())?);
        let batch_ms = fill(&mut client, keys)?;
        let seconds = started.elapsed().as_secs_f64();
        others = others.max(Usage::now(server.probe())?.others_percent(&usage, seconds));
        let kops = keys as f64 / seconds / 1e3;
        let histogram = client.ask(&["LATENCY", "HISTOGRAM", "set"])?;
        let percentiles = info_line(&mut client, "latencystats", "latency_percentiles_usec_set:")?;
        let calls = info_line(&mut client, "commandstats", "cmdstat_set:")?;
        let buckets = buckets(&histogram);
        let longest = p100(&percentiles).or(buckets.last().map(|bucket| bucket.0));
        table.row(vec![
            system.name.to_owned(),
            longest.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}")),
            format!("{batch_ms:.2}"),
            format!("{kops:.0}"),
            mebibytes(server.probe().resident_bytes()?),
        ]);
        if system.kind == Kind::Larder {
            longest_us = longest;
        }
        details.push((system.name, calls, percentiles, buckets));
    }
    table.print();
    // A command that loses its core to another process is charged for the wait.
    machine::print_others(others);
    for (name, calls, percentiles, buckets) in details {
        println!("{name}: {calls}\n{name}: {percentiles}");
        let cumulative: Vec<String> =
            buckets.iter().map(|(us, count)| format!("≤{us} µs: {count}")).collect();
        println!("{name}, SETs by execution time, cumulative: {}\n", cumulative.join("  "));
    }
    if let Some(longest) = longest_us {
        verdict("longest SET in microseconds:", longest, LONGEST_US);
    }
    Ok(())
}

/// Fills `0..keys` and returns the longest round trip of a batch in milliseconds.
fn fill(client: &mut Client, keys: u64) -> io::Result<f64> {
    let mut longest_ms: f64 = 0.0;
    for first in (0..keys).step_by(FILL_BATCH as usize) {
        let started = Instant::now();
        client.fill(first..(first + FILL_BATCH).min(keys), VALUE, Expiry::Never)?;
        longest_ms = longest_ms.max(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(longest_ms)
}

/// The line of an INFO section that starts with `prefix`; empty if there is none.
fn info_line(client: &mut Client, section: &str, prefix: &str) -> io::Result<String> {
    let reply = client.ask(&["INFO", section])?;
    let found = reply.text().lines().find(|line| line.starts_with(prefix));
    Ok(found.unwrap_or_default().trim().to_owned())
}

fn p100(percentiles: &str) -> Option<f64> {
    let field = percentiles.split([',', ':']).find_map(|field| field.strip_prefix("p100="))?;
    field.parse().ok()
}

/// Upper bound in microseconds and cumulative count of every bucket that LATENCY HISTOGRAM reports.
fn buckets(histogram: &Value) -> Vec<(f64, u64)> {
    let mut found = Vec::new();
    collect(histogram, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<(f64, u64)>) {
    let Value::List(items) = value else { return };
    for pair in items.windows(2) {
        match pair {
            [Value::Text(name), Value::List(buckets)] if name == "histogram_usec" => {
                let parse =
                    |pair: &[Value]| Some((pair[0].text().parse().ok()?, pair[1].text().parse().ok()?));
                found.extend(buckets.chunks_exact(2).filter_map(parse));
            }
            [_, inner @ Value::List(_)] => collect(inner, found),
            _ => {}
        }
    }
}
