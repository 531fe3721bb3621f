//! `memory`: bytes per entry beyond key and value, by growth of resident memory.
//!
//! Key counts are not powers of two on purpose: a table that doubles is at its best just before it does. The churn rows
//! overwrite every key ten times with changing sizes before they measure, which shows what the allocator loses.

use std::{io, thread, time::Duration};

use crate::{
    Options,
    client::{Client, FILL_BATCH, Tally},
    report::{Table, progress, title, verdict},
    server::Server,
    system::{Kind, System},
    traces::Random,
    wire::{Expiry, KEY_BYTES},
};

/// Value sizes and time to live of the plain rows, and the most bytes that an entry may cost beyond key and value.
const SHAPES: [(usize, Expiry, f64); 6] = [
    (8, Expiry::Never, 24.0),
    (32, Expiry::Never, 24.0),
    (100, Expiry::Never, 24.0),
    (32, Expiry::Seconds(3600), 30.0),
    (100, Expiry::Seconds(3600), 30.0),
    (300, Expiry::Seconds(3600), 30.0),
];
/// Smallest and largest value of the churn rows, time to live, goal.
const CHURN: [(u64, u64, Expiry, f64); 2] =
    [(8, 100, Expiry::Never, 24.0), (32, 300, Expiry::Seconds(3600), 30.0)];
const COUNTS: [u64; 3] = [1_000_000, 1_100_000, 1_600_000];
/// SETs per key in a churn row.
const CHURN_ROUNDS: u64 = 10;
/// How long a server may take to give back what it no longer needs.
const SETTLE: Duration = Duration::from_millis(1500);

/// Fills every system in every shape and prints a table.
pub fn run(options: &Options) -> io::Result<()> {
    title("Memory: bytes per entry beyond key and value, by resident memory");
    let systems =
        System::available(&options.chosen(&[Kind::Larder, Kind::Redis, Kind::Memcached, Kind::Pogocache]));
    let mut header = vec!["value, TTL, entries"];
    header.extend(systems.iter().map(|system| system.name));
    let mut table = Table::new(&header);
    let mut verdicts = Vec::new();
    let counts = if options.quick { &COUNTS[1..2] } else { &COUNTS[..] };
    for (value_bytes, expiry, goal) in SHAPES {
        for entries in counts {
            let label = format!("{value_bytes} B, {}, {:.1} M", ttl(expiry), *entries as f64 / 1e6);
            let measure = |system: &System| plain(system, *entries, value_bytes, expiry);
            row(&systems, label, goal, measure, &mut table, &mut verdicts)?;
        }
    }
    for (least, most, expiry, goal) in CHURN {
        let entries = if options.quick { COUNTS[0] / 10 } else { COUNTS[0] };
        let sets = entries * CHURN_ROUNDS;
        let label = format!("{least}–{most} B, {}, {:.1} M churned", ttl(expiry), sets as f64 / 1e6);
        let measure = |system: &System| churned(system, entries, sets, (least, most), expiry);
        row(&systems, label, goal, measure, &mut table, &mut verdicts)?;
    }
    table.print();
    verdicts.into_iter().for_each(|(what, measured, goal)| verdict(&what, measured, goal));
    Ok(())
}

fn ttl(expiry: Expiry) -> &'static str {
    if expiry == Expiry::Never { "no TTL" } else { "TTL" }
}

fn row(
    systems: &[System],
    label: String,
    goal: f64,
    measure: impl Fn(&System) -> io::Result<f64>,
    table: &mut Table,
    verdicts: &mut Vec<(String, f64, f64)>,
) -> io::Result<()> {
    let mut cells = vec![label.clone()];
    for system in systems {
        let overhead = measure(system)?;
        cells.push(format!("{overhead:.1}"));
        progress(&format!("{label}: {} {overhead:.1}", system.name));
        if system.kind == Kind::Larder {
            verdicts.push((format!("bytes per entry, {label}:"), overhead, goal));
        }
    }
    table.row(cells);
    Ok(())
}

fn plain(system: &System, entries: u64, value_bytes: usize, expiry: Expiry) -> io::Result<f64> {
    let server = Server::start(system, None, value_bytes)?;
    let mut client = Client::connect(&server)?;
    let before = awake(&server, &mut client)?;
    client.fill(0..entries, &vec![b'v'; value_bytes], expiry)?;
    let grown = settled(&server)?.saturating_sub(before);
    Ok(grown as f64 / entries as f64 - KEY_BYTES as f64 - value_bytes as f64)
}

fn churned(system: &System, entries: u64, sets: u64, sizes: (u64, u64), expiry: Expiry) -> io::Result<f64> {
    let server = Server::start(system, None, 0)?;
    let mut client = Client::connect(&server)?;
    let before = awake(&server, &mut client)?;
    let value = vec![b'v'; sizes.1 as usize];
    let mut held: Vec<u64> = vec![0; entries as usize];
    let mut random = Random::seeded(entries);
    let mut tally = Tally::default();
    for index in 0..sets {
        // The first pass creates every key, the others meet them in random order.
        let number = if index < entries { index } else { random.below(entries) };
        let size = sizes.0 + random.below(sizes.1 - sizes.0 + 1);
        held[number as usize] = size;
        client.set(number, &value[..size as usize], expiry);
        if (index + 1).is_multiple_of(FILL_BATCH) || index + 1 == sets {
            client.flush(|_, answer| tally.count(answer))?;
        }
    }
    if tally.stored != sets {
        return Err(io::Error::other(format!("{} refused SETs: {tally:?}", system.name)));
    }
    let grown = settled(&server)?.saturating_sub(before) as f64;
    let payload = held.iter().sum::<u64>() + entries * KEY_BYTES as u64;
    Ok((grown - payload as f64) / entries as f64)
}

/// Resident memory once a batch of GETs has been served: code and connection buffers are there, no entry is.
fn awake(server: &Server, client: &mut Client) -> io::Result<u64> {
    (0..FILL_BATCH).for_each(|number| client.get(number));
    client.flush(|_, _| ())?;
    settled(server)
}

fn settled(server: &Server) -> io::Result<u64> {
    thread::sleep(SETTLE);
    server.probe().resident_bytes()
}
