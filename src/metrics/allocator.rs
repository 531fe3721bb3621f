//! What the allocator says about itself: jemalloc's own statistics, and giving free memory back.
//!
//! Zeros and empty texts where jemalloc does not answer, which happens only when it is not what the program runs on.

use tikv_jemalloc_ctl::stats_print::{Options, stats_print};
use tikv_jemalloc_ctl::{Access, AsName, arenas, epoch, stats};

/// Bytes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorBytes {
    /// Handed out.
    pub allocated: u64,
    /// In pages that hold something handed out.
    pub active: u64,
    /// Physically there, the allocator's own data included.
    pub resident: u64,
    /// Address space kept without memory behind it.
    pub retained: u64,
}

/// The present numbers.
pub fn bytes() -> AllocatorBytes {
    // Statistics are those of the last epoch.
    if epoch::advance().is_err() {
        return AllocatorBytes::default();
    }
    let number = |read: Result<usize, tikv_jemalloc_ctl::Error>| read.map_or(0, |bytes| bytes as u64);
    AllocatorBytes {
        allocated: number(stats::allocated::read()),
        active: number(stats::active::read()),
        resident: number(stats::resident::read()),
        retained: number(stats::retained::read()),
    }
}

/// jemalloc's report, some thousands of bytes of text for people.
pub fn report() -> String {
    let mut text = Vec::new();
    let options = Options::default();
    // Writing to memory cannot fail.
    let _ = stats_print(&mut text, options);
    String::from_utf8_lossy(&text).into_owned()
}

/// How long freed pages stay before they go back to the system, unless `MALLOC_CONF` says otherwise at the start. Measured
/// where values of mixed sizes replace each other at 256 MB: 1.11 × the limit is resident, with the second that is compiled in
/// up to 1.15 ×.
const FREED_PAGES_MS: isize = 100;

/// Lets freed pages go back to the system sooner than compiled in; for the start of the process.
pub fn set_decay() {
    if std::env::var_os("MALLOC_CONF").is_some() {
        return;
    }
    let arenas = 0..arenas::narenas::read().unwrap_or(0);
    let names = arenas.map(|arena| format!("arena.{arena}.dirty_decay_ms\0"));
    for name in names.chain(["arenas.dirty_decay_ms\0".to_owned()]) {
        // Arenas that are not there yet refuse, and take the default when they come.
        let _ = Access::<isize>::write(name.name(), FREED_PAGES_MS);
    }
}

/// Gives free pages back to the operating system. Fails where an arena cannot be told to.
pub fn purge() -> Result<(), String> {
    let count = arenas::narenas::read().map_err(|error| error.to_string())?;
    for arena in 0..count {
        let name = format!("arena.{arena}.dirty_decay_ms\0");
        let name = name.name();
        // Pages that may stay dirty for no time at all go at once; then the former time is put back.
        let Ok(before_ms) = Access::<isize>::read(name) else { continue };
        let purged = Access::<isize>::write(name, 0);
        Access::<isize>::write(name, before_ms).and(purged).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tikv_jemalloc_ctl::{Access, AsName};

    use super::{FREED_PAGES_MS, bytes, purge, report, set_decay};

    #[test]
    fn jemalloc_answers() {
        set_decay();
        let decay_ms: isize = "arena.0.dirty_decay_ms\0".name().read().expect("the first arena is there");
        assert!(decay_ms == FREED_PAGES_MS || std::env::var_os("MALLOC_CONF").is_some());
        purge().expect("purged");
        let now = bytes();
        assert!(now.resident >= now.active && now.active >= now.allocated);
        assert!(report().contains("jemalloc"));
    }
}
