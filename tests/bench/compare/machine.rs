//! The machine under the benchmark: what it is, and how busy other processes keep the two cores in use.
//! A shared machine makes every figure worse; this says by how much it was shared.

use std::{fs, io};

use crate::server::{LOAD_CORE, Probe, SERVER_CORE, TICKS_PER_SECOND};

/// Above this share of the two cores, in percent, the figures are of little use.
const BUSY_PERCENT: f64 = 5.0;

/// CPU time of the two cores so far, and of the processes that belong to the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    all_us: f64,
    own_us: f64,
}

impl Usage {
    /// The figures now, with `server` and this process as the benchmark's own.
    pub fn now(server: Probe) -> io::Result<Self> {
        let own_us = server.cpu_us()? + Probe::own().cpu_us()?;
        let text = fs::read_to_string("/proc/stat")?;
        let cores = [format!("cpu{SERVER_CORE} "), format!("cpu{LOAD_CORE} ")];
        let used = text.lines().filter(|line| cores.iter().any(|core| line.starts_with(core.as_str())));
        Ok(Self { all_us: used.map(busy_ticks).sum::<f64>() / TICKS_PER_SECOND * 1e6, own_us })
    }

    /// Share of the two cores that other processes took since `earlier`, over `seconds`, in percent.
    pub fn others_percent(&self, earlier: &Self, seconds: f64) -> f64 {
        let others_us = (self.all_us - earlier.all_us) - (self.own_us - earlier.own_us);
        (others_us / (2.0 * seconds * 1e6) * 100.0).max(0.0)
    }
}

/// User, nice, system and stolen ticks of a `cpuN` line: time in which nothing else could run. Interrupts are left out,
/// because most of them carry the benchmark's own packets.
fn busy_ticks(line: &str) -> f64 {
    let fields: Vec<f64> = line.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    [1, 2, 3, 8].iter().filter_map(|index| fields.get(*index)).sum()
}

/// Prints how shared the machine was.
pub fn print_others(percent: f64) {
    let advice = if percent > BUSY_PERCENT { ": not quiet enough, measure again" } else { "" };
    println!("other processes took {percent:.1} % of the two cores{advice}");
}

/// Prints processor, cores, kernel and memory.
pub fn print() {
    let first = |file: &str, prefix: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(prefix)).unwrap_or_default();
        line.trim_start_matches(prefix).trim_start_matches([':', ' ', '\t']).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("processor: {}, {cores} cores", first("/proc/cpuinfo", "model name"));
    println!(
        "kernel: {}; memory: {}",
        first("/proc/sys/kernel/osrelease", ""),
        first("/proc/meminfo", "MemTotal")
    );
}
