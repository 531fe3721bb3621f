//! `churn`: values of mixed and drifting sizes, several times the memory limit: does resident memory stay near it?
//!
//! Sizes are log-normal between 50 B and 16 KB; their centre moves up and back down during the run, so that memory freed at
//! one size is wanted at another. That is what tears an allocator's pages apart.

use std::{
    f64::consts::TAU,
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    Options,
    client::{Client, Tally},
    report::{Table, mebibytes, title, verdict},
    server::{Probe, Server},
    system::{Kind, System},
    traces::Random,
    wire::Expiry,
};

const LIMIT_BYTES: u64 = 256 << 20;
/// Bytes written, as a multiple of the limit.
const TIMES: u64 = 8;
const KEYS: u64 = 2_000_000;
const LEAST_BYTES: f64 = 50.0;
const MOST_BYTES: f64 = 16_384.0;
/// Median size at the start and the end, and in the middle of the run.
const CENTRES_BYTES: (f64, f64) = (150.0, 1500.0);
/// Standard deviation of the logarithm of the size.
const SPREAD: f64 = 1.2;
const BATCH: u64 = 50;
const SEED: u64 = 40;
/// Resident memory may be at most this multiple of `maxmemory`.
const GOAL: f64 = 1.10;

/// Churns each system and prints the peak of its resident memory.
pub fn run(options: &Options) -> io::Result<()> {
    let times = if options.quick { TIMES / 4 } else { TIMES };
    title(&format!("Churn: {times} × 256 MB of mixed sizes through maxmemory 256 MB"));
    let systems = System::available(&options.chosen(&[Kind::Larder, Kind::Redis, Kind::Memcached]));
    let mut table = Table::new(&["system", "peak RSS / limit", "RSS at end MB", "refused", "items", "SETs"]);
    let mut verdicts = Vec::new();
    for system in &systems {
        let server = Server::start(system, Some(LIMIT_BYTES), 0)?;
        let mut client = Client::connect(&server)?;
        let (tally, peak_bytes) = churn(&server, &mut client, times * LIMIT_BYTES)?;
        let ratio = peak_bytes as f64 / LIMIT_BYTES as f64;
        table.row(vec![
            system.name.to_owned(),
            format!("{ratio:.3}"),
            mebibytes(server.probe().resident_bytes()?),
            (tally.out_of_memory + tally.other).to_string(),
            client.items()?.to_string(),
            tally.stored.to_string(),
        ]);
        if system.kind == Kind::Larder {
            verdicts.push(("peak of resident memory / maxmemory:", ratio, GOAL));
            verdicts.push(("SETs refused:", (tally.out_of_memory + tally.other) as f64, 0.0));
        }
    }
    table.print();
    verdicts.into_iter().for_each(|(what, measured, goal)| verdict(what, measured, goal));
    Ok(())
}

fn churn(server: &Server, client: &mut Client, total_bytes: u64) -> io::Result<(Tally, u64)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (probe, stopped) = (server.probe(), &stop);
        let watcher = scope.spawn(move || peak(probe, stopped));
        let written = write(client, total_bytes);
        stop.store(true, Ordering::Relaxed);
        let peak_bytes = watcher.join().map_err(|_| io::Error::other("the watcher panicked"))?;
        Ok((written?, peak_bytes?))
    })
}

fn write(client: &mut Client, total_bytes: u64) -> io::Result<Tally> {
    let mut random = Random::seeded(SEED);
    let mut tally = Tally::default();
    let value = vec![b'v'; MOST_BYTES as usize];
    let mut written = 0;
    while written < total_bytes {
        let progress = written as f64 / total_bytes as f64;
        for _ in 0..BATCH {
            let size = size(&mut random, progress);
            client.set(random.below(KEYS), &value[..size], Expiry::Never);
            written += size as u64;
        }
        client.flush(|_, answer| tally.count(answer))?;
    }
    Ok(tally)
}

/// A log-normal size; its centre is at its highest when `progress` is one half.
fn size(random: &mut Random, progress: f64) -> usize {
    let climb = 1.0 - (2.0 * progress - 1.0).abs();
    let centre = CENTRES_BYTES.0.ln() + climb * (CENTRES_BYTES.1 / CENTRES_BYTES.0).ln();
    let normal = (-2.0 * (1.0 - random.unit()).ln()).sqrt() * (TAU * random.unit()).cos();
    (centre + SPREAD * normal).exp().clamp(LEAST_BYTES, MOST_BYTES) as usize
}

fn peak(probe: Probe, stop: &AtomicBool) -> io::Result<u64> {
    let mut peak_bytes = 0;
    while !stop.load(Ordering::Relaxed) {
        peak_bytes = peak_bytes.max(probe.resident_bytes()?);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(peak_bytes.max(probe.resident_bytes()?))
}
