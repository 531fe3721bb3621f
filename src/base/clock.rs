//! Time: the only file that asks the machine for it.
//!
//! Everything else is handed a time, so that tests own it. Wall time is Unix milliseconds (what TTLs mean),
//! monotonic time is nanoseconds from an arbitrary origin (what durations mean). Reading the monotonic clock
//! costs a time-stamp counter read where the CPU has an invariant one (quanta), which is why a command can be timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A source of wall and monotonic time; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    monotonic: quanta::Clock,
    origin: quanta::Instant,
    manual_ms: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        let monotonic = quanta::Clock::new();
        let origin = monotonic.now();
        Self { monotonic, origin, manual_ms: None }
    }

    /// A clock that stands at `start_ms` (Unix milliseconds) until it is advanced.
    pub fn manual(start_ms: u64) -> Self {
        Self { manual_ms: Some(Arc::new(AtomicU64::new(start_ms))), ..Self::system() }
    }

    /// Moves a manual clock forward; a system clock is not affected.
    pub fn advance_ms(&self, by_ms: u64) {
        if let Some(manual) = &self.manual_ms {
            manual.fetch_add(by_ms, Ordering::Relaxed);
        }
    }

    /// Unix time in milliseconds; 0 if the machine's clock stands before 1970.
    pub fn wall_ms(&self) -> u64 {
        self.wall_us() / 1000
    }

    /// Unix time in microseconds; 0 if the machine's clock stands before 1970.
    pub fn wall_us(&self) -> u64 {
        match &self.manual_ms {
            Some(manual) => manual.load(Ordering::Relaxed) * 1000,
            None => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as u64)
            }
        }
    }

    /// Nanoseconds since the machine started, suspension included: what leases are measured by. Read from the kernel each
    /// time, so that a process that was stopped notices.
    #[inline]
    pub fn boot_ns(&self) -> u64 {
        match &self.manual_ms {
            Some(manual) => manual.load(Ordering::Relaxed) * 1_000_000,
            None => {
                let time = clock_gettime(ClockId::Boottime);
                (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
            }
        }
    }

    /// Nanoseconds since this clock was made; never goes back.
    pub fn mono_ns(&self) -> u64 {
        match &self.manual_ms {
            Some(manual) => manual.load(Ordering::Relaxed) * 1_000_000,
            None => self.monotonic.now().duration_since(self.origin).as_nanos() as u64,
        }
    }
}
