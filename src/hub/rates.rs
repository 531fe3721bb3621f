//! Rates of the last second or so: what INFO calls instantaneous.
//!
//! A sample is taken at most every `SAMPLE_MS`, by whoever ticks; a rate is the difference between the newest and the
//! oldest of `SAMPLES` samples, that is over about a second and a half.

use std::collections::VecDeque;

use crate::base::lock::Mutex;

/// Samples kept.
const SAMPLES: usize = 16;
/// Least time between samples.
const SAMPLE_MS: u64 = 100;

/// Counters at one moment, or rates per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flow {
    /// Commands.
    pub commands: f64,
    /// Bytes from clients.
    pub input_bytes: f64,
    /// Bytes to clients.
    pub output_bytes: f64,
}

/// The last samples.
#[derive(Debug, Default)]
pub struct Rates {
    samples: Mutex<VecDeque<(u64, Flow)>>,
}

impl Rates {
    /// Takes a sample of the counters if the last one is old enough.
    pub fn sample(&self, now_ms: u64, counters: impl FnOnce() -> Flow) {
        let mut samples = self.samples.lock();
        if samples.back().is_some_and(|(at_ms, _)| now_ms < at_ms + SAMPLE_MS) {
            return;
        }
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now_ms, counters()));
    }

    /// Rates per second.
    pub fn now(&self) -> Flow {
        let samples = self.samples.lock();
        let (Some((from_ms, from)), Some((to_ms, to))) = (samples.front(), samples.back()) else {
            return Flow::default();
        };
        let seconds = to_ms.saturating_sub(*from_ms) as f64 / 1000.0;
        if seconds <= 0.0 {
            return Flow::default();
        }
        Flow {
            commands: (to.commands - from.commands) / seconds,
            input_bytes: (to.input_bytes - from.input_bytes) / seconds,
            output_bytes: (to.output_bytes - from.output_bytes) / seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flow, Rates};

    #[test]
    fn rates_come_from_the_window() {
        let rates = Rates::default();
        for second in 0..20u64 {
            let commands = second as f64 * 50.0;
            rates.sample(second * 1000, || Flow { commands, ..Flow::default() });
        }
        assert_eq!(rates.now().commands, 50.0);
    }
}
