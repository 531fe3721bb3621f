//! What the operating system says about this process: physical memory and processor time.
//!
//! Read from `/proc` when somebody asks; 0 where it cannot be read.

use std::fs::read_to_string;

/// Clock ticks in a second, in which `/proc` counts processor time; 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of physical memory that this process holds.
pub fn resident_bytes() -> u64 {
    read_to_string("/proc/self/status").map_or(0, |text| resident_of(&text))
}

fn resident_of(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Seconds of processor time that this process has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuSeconds {
    /// In its own code.
    pub user: f64,
    /// In the kernel on its behalf.
    pub system: f64,
}

/// Processor time so far, all threads.
pub fn cpu_seconds() -> CpuSeconds {
    read_to_string("/proc/self/stat").ok().and_then(|text| cpu_of(&text)).unwrap_or_default()
}

fn cpu_of(stat: &str) -> Option<CpuSeconds> {
    // The program's name stands in parentheses and may hold anything; the fields behind it are numbers.
    let fields = stat.rsplit_once(')')?.1;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    let (user, system) = (times.next()??, times.next()??);
    Some(CpuSeconds { user: user / TICKS_PER_SECOND, system: system / TICKS_PER_SECOND })
}

#[cfg(test)]
mod tests {
    use super::{CpuSeconds, cpu_of, cpu_seconds, resident_bytes, resident_of};

    #[test]
    fn the_files_of_proc_are_understood() {
        assert_eq!(resident_of("VmPeak:\t  9 kB\nVmRSS:\t    2048 kB\n"), 2 << 20);
        assert_eq!(resident_of("nothing"), 0);
        let stat = "7 (a) b)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 200";
        assert_eq!(cpu_of(stat), Some(CpuSeconds { user: 2.5, system: 0.5 }));
        assert_eq!(cpu_of("7 (a"), None);
    }

    #[test]
    fn this_process_has_some_of_both() {
        assert!(resident_bytes() > 100_000);
        let cpu = cpu_seconds();
        assert!(cpu.user >= 0.0 && cpu.system >= 0.0);
    }
}
