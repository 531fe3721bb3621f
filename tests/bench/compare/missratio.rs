//! `missratio`: miss ratios through the wire at equal `maxmemory`, by cache-aside replay of generated traces.
//!
//! A batch of 16 GETs, then one SET for every miss among them; 16 B keys, 200 B values. The last table replays a short
//! trace at full speed and at a limited rate: a policy that reads a clock gives two different ratios.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::{
    Options,
    client::{Client, Tally},
    report::{Table, mebibytes, progress, title, verdict},
    server::Server,
    system::{Kind, System},
    traces::{SPECS, Spec, Trace},
    wire::{Answer, Expiry},
};

const VALUE_BYTES: usize = 200;
const BATCH: usize = 16;
const REQUESTS: usize = 3_000_000;
const LIMIT_BYTES: u64 = 16 << 20;
/// Trace and the highest miss ratio that Larder may have on it, in percent.
const GOALS: [(&str, f64); 3] = [("zipf-0.99", 23.4), ("drifting", 25.5), ("scan", 51.1)];
/// Resident memory may be this multiple of `maxmemory`, plus [`RESIDENT_EXTRA_BYTES`].
const RESIDENT_FACTOR: f64 = 1.08;
const RESIDENT_EXTRA_BYTES: u64 = 8 << 20;
/// The replay at two rates: a small cache, so that a short trace evicts.
const RATED_LIMIT_BYTES: u64 = 4 << 20;
const RATED_REQUESTS: usize = 300_000;
const RATED_PER_SECOND: f64 = 10_000.0;
/// How far the two ratios may be apart, in percentage points.
const RATED_POINTS: f64 = 0.1;

/// What one replay found.
struct Replay {
    miss_percent: f64,
    tally: Tally,
    items: u64,
    resident_bytes: u64,
}

/// Replays every trace with a goal on every system.
pub fn run(options: &Options) -> io::Result<()> {
    title("Miss ratio through the wire, 16 MB, 200 B values");
    let kinds = [Kind::Larder, Kind::Redis, Kind::RedisLfu, Kind::Memcached, Kind::Pogocache];
    let systems = System::available(&options.chosen(&kinds));
    let requests = if options.quick { REQUESTS / 6 } else { REQUESTS };
    let mut table = Table::new(&["trace", "system", "miss %", "items", "RSS MB", "refused"]);
    let mut verdicts = Vec::new();
    for (spec, goal) in SPECS.iter().filter_map(|spec| Some((spec, goal(spec)?))) {
        let keys: Vec<u32> = Trace::new(spec).take(requests).collect();
        for system in &systems {
            let found = replay(system, &keys, LIMIT_BYTES, None)?;
            progress(&format!("{}: {} {:.2} %", spec.name, system.name, found.miss_percent));
            table.row(vec![
                spec.name.to_owned(),
                system.name.to_owned(),
                format!("{:.2}", found.miss_percent),
                found.items.to_string(),
                mebibytes(found.resident_bytes),
                found.tally.out_of_memory.to_string(),
            ]);
            if system.kind == Kind::Larder {
                verdicts.push((spec.name, found, goal));
            }
        }
    }
    table.print();
    let resident_goal = LIMIT_BYTES as f64 * RESIDENT_FACTOR + RESIDENT_EXTRA_BYTES as f64;
    if options.quick {
        println!(
            "A short replay misses more, because the cache is empty at first: the goals are for {REQUESTS} requests."
        );
    }
    for (name, found, goal) in verdicts {
        verdict(&format!("{name}, miss %:"), found.miss_percent, goal);
        verdict(
            &format!("{name}, RSS MB:"),
            found.resident_bytes as f64 / 1048576.0,
            resident_goal / 1048576.0,
        );
        verdict(&format!("{name}, SETs refused:"), found.tally.out_of_memory as f64, 0.0);
    }
    if options.quick { Ok(()) } else { rates(&systems) }
}

fn goal(spec: &Spec) -> Option<f64> {
    GOALS.iter().find(|goal| goal.0 == spec.name).map(|goal| goal.1)
}

/// The same short trace at full speed and at a limited rate.
fn rates(systems: &[System]) -> io::Result<()> {
    println!(
        "\nThe same {RATED_REQUESTS} requests at full speed and at {RATED_PER_SECOND} a second, 4 MB:\n"
    );
    let keys: Vec<u32> = Trace::new(&SPECS[1]).take(RATED_REQUESTS).collect();
    let mut table = Table::new(&["system", "full speed, miss %", "limited, miss %"]);
    let mut apart = None;
    for system in systems.iter().filter(|system| system.kind != Kind::Pogocache) {
        let full = replay(system, &keys, RATED_LIMIT_BYTES, None)?.miss_percent;
        let limited = replay(system, &keys, RATED_LIMIT_BYTES, Some(RATED_PER_SECOND))?.miss_percent;
        table.row(vec![system.name.to_owned(), format!("{full:.2}"), format!("{limited:.2}")]);
        if system.kind == Kind::Larder {
            apart = Some((full - limited).abs());
        }
    }
    table.print();
    if let Some(points) = apart {
        verdict("miss ratio at two rates, points apart:", points, RATED_POINTS);
    }
    Ok(())
}

fn replay(system: &System, keys: &[u32], limit_bytes: u64, per_second: Option<f64>) -> io::Result<Replay> {
    let server = Server::start(system, Some(limit_bytes), VALUE_BYTES)?;
    let mut client = Client::connect(&server)?;
    let value = vec![b'v'; VALUE_BYTES];
    let mut tally = Tally::default();
    let mut missed = Vec::with_capacity(BATCH);
    let started = Instant::now();
    for (index, batch) in keys.chunks(BATCH).enumerate() {
        if let Some(rate) = per_second {
            let due = started + Duration::from_secs_f64((index * BATCH) as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        batch.iter().for_each(|number| client.get(u64::from(*number)));
        client.flush(|position, answer| {
            tally.count(answer);
            if answer == Answer::Miss {
                missed.push(batch[position]);
            }
        })?;
        missed.drain(..).for_each(|number| client.set(u64::from(number), &value, Expiry::Never));
        client.flush(|_, answer| tally.count(answer))?;
    }
    Ok(Replay {
        miss_percent: tally.misses as f64 / keys.len() as f64 * 100.0,
        tally,
        items: client.items()?,
        resident_bytes: server.probe().resident_bytes()?,
    })
}
