//! The latency monitor: events that took at least `latency-monitor-threshold` ms, sample by sample.
//!
//! Off the hot path: whoever measures compares with the threshold first. Bounds: names are constants of this program, and
//! an event keeps [`SAMPLES_MAX`] samples, one a second (the longest of that second), as in Redis.

use std::collections::VecDeque;

use crate::base::lock::Mutex;

/// Samples kept of an event.
pub const SAMPLES_MAX: usize = 160;

/// One second in which the event was slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix seconds.
    pub at_seconds: u64,
    /// The longest of that second.
    pub took_ms: u64,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// The longest since the last reset.
    pub longest_ms: u64,
    /// Oldest first; never empty.
    pub samples: VecDeque<Sample>,
}

impl Event {
    fn add(&mut self, sample: Sample) {
        self.longest_ms = self.longest_ms.max(sample.took_ms);
        match self.samples.back_mut() {
            Some(last) if last.at_seconds == sample.at_seconds => {
                last.took_ms = last.took_ms.max(sample.took_ms);
                return;
            }
            _ => {}
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

/// All events that were slow since the last reset.
#[derive(Debug, Default)]
pub struct Latency {
    events: Mutex<Vec<Event>>,
}

impl Latency {
    /// Adds a sample of `event` if it took as long as `threshold_ms` says; 0 means that nothing is monitored.
    #[inline]
    pub fn note(&self, event: &'static str, threshold_ms: u64, took_ns: u64, now_ms: u64) {
        if threshold_ms != 0 && took_ns / 1_000_000 >= threshold_ms {
            self.add(event, Sample { at_seconds: now_ms / 1000, took_ms: took_ns / 1_000_000 });
        }
    }

    #[cold]
    fn add(&self, name: &'static str, sample: Sample) {
        let mut events = self.events.lock();
        match events.iter_mut().find(|event| event.name == name) {
            Some(event) => event.add(sample),
            None => {
                let (longest_ms, samples) = (sample.took_ms, VecDeque::from([sample]));
                events.push(Event { name, longest_ms, samples });
            }
        }
    }

    /// Every event.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    /// The event of this name, in any case.
    pub fn event(&self, name: &[u8]) -> Option<Event> {
        self.events.lock().iter().find(|event| event.name.as_bytes().eq_ignore_ascii_case(name)).cloned()
    }

    /// Forgets the events for whose names `forget` is true; gives their number.
    pub fn reset(&self, forget: impl Fn(&str) -> bool) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|event| !forget(event.name));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Latency, SAMPLES_MAX, Sample};

    const MS: u64 = 1_000_000;

    #[test]
    fn a_second_keeps_its_longest_and_an_event_its_last_samples() {
        let latency = Latency::default();
        latency.note("command", 0, 900 * MS, 1_000);
        latency.note("command", 10, 9 * MS, 1_000);
        assert!(latency.events().is_empty());
        for (took_ms, now_ms) in [(20, 1_000), (30, 1_900), (10, 1_999), (15, 2_000)] {
            latency.note("command", 10, took_ms * MS, now_ms);
        }
        let event = latency.event(b"COMMAND").expect("an event");
        assert_eq!(event.longest_ms, 30);
        assert_eq!(
            event.samples,
            [Sample { at_seconds: 1, took_ms: 30 }, Sample { at_seconds: 2, took_ms: 15 }]
        );
        for second in 3..1_000 {
            latency.note("command", 10, 11 * MS, second * 1_000);
        }
        let event = latency.event(b"command").expect("an event");
        assert_eq!((event.samples.len(), event.longest_ms), (SAMPLES_MAX, 30));
        assert_eq!(event.samples.back(), Some(&Sample { at_seconds: 999, took_ms: 11 }));
    }

    #[test]
    fn only_what_is_named_is_forgotten() {
        let latency = Latency::default();
        latency.note("command", 1, MS, 0);
        latency.note("fast-command", 1, MS, 0);
        assert_eq!(latency.reset(|name| name == "command"), 1);
        assert_eq!(latency.reset(|name| name == "command"), 0);
        assert_eq!(latency.reset(|_| true), 1);
    }
}
