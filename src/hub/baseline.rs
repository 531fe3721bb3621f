//! What CONFIG RESETSTAT forgets. The counters themselves only ever grow (Prometheus relies on that, and only their
//! workers may write them); what INFO shows is what came since this state was taken.

use crate::base::lock::Mutex;
use crate::metrics::workers::Totals;
use crate::store::usage::Removals;

/// The counters at the last CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub struct Baseline {
    state: Mutex<(Totals, Removals)>,
}

impl Baseline {
    /// Makes the given state the new zero.
    pub fn set(&self, totals: Totals, removals: Removals) {
        *self.state.lock() = (totals, removals);
    }

    /// What came since the last reset.
    pub fn since(&self, totals: &Totals, removals: Removals) -> (Totals, Removals) {
        let state = self.state.lock();
        (totals.since(&state.0), removals - state.1)
    }
}
