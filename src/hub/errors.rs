//! Error replies counted by their code (INFO errorstats): off the hot path, so a registry with locks will do.
//!
//! Bound: `CODES_MAX` codes; a further one is counted under `ERRORSTATS_OVERFLOW`.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

/// Codes counted apart.
const CODES_MAX: usize = 128;
const OVERFLOW: &str = "ERRORSTATS_OVERFLOW";

/// Counts by error code.
#[derive(Debug, Default)]
pub struct ErrorCounts {
    counts: DashMap<String, AtomicU64>,
}

impl ErrorCounts {
    /// Counts one error reply of this code.
    pub fn count(&self, code: &str) {
        if let Some(count) = self.counts.get(code) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let code = if self.counts.len() < CODES_MAX { code } else { OVERFLOW };
        self.counts.entry(code.to_owned()).or_default().fetch_add(1, Ordering::Relaxed);
    }

    /// Codes and counts, by code.
    pub fn list(&self) -> Vec<(String, u64)> {
        let mut list: Vec<_> = self
            .counts
            .iter()
            .map(|entry| (entry.key().clone(), entry.value().load(Ordering::Relaxed)))
            .collect();
        list.sort();
        list
    }

    /// Forgets everything (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.counts.clear();
    }
}
