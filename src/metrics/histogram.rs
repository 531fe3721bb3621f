//! Latency distribution with a fixed relative error: log-linear classes, one writer, any number of readers.
//!
//! Durations are counted in ticks of 1/1024 µs, so that the powers of two of a microsecond, which Redis prints and
//! the Prometheus page uses as bounds, are class bounds too. Between two powers of two lie `CLASSES_PER_OCTAVE` classes of
//! equal width: a quantile is off by 1/16 (6 %) at most. Recording is a multiplication, a bit count, two loads and
//! two stores. Two writers at once would lose counts, never corrupt anything.

use std::sync::atomic::{AtomicU64, Ordering};

/// Classes between two powers of two.
const CLASSES_PER_OCTAVE: usize = 1 << OCTAVE_BITS;
const OCTAVE_BITS: u32 = 4;
/// Durations from here on (2^37 ticks, 134 s) share the last class.
const TICK_BITS_MAX: u32 = 37;
/// Number of classes of a histogram.
pub const CLASS_COUNT: usize = (TICK_BITS_MAX - OCTAVE_BITS + 1) as usize * CLASSES_PER_OCTAVE;
/// Ticks in a microsecond, as a power of two.
const MICROSECOND_BITS: u32 = 10;
/// Powers of two of a microsecond that [`Distribution::up_to_us`] can tell apart: 1 µs to 67 s.
pub const POWERS_OF_TWO: u32 = TICK_BITS_MAX - MICROSECOND_BITS;

const _: () = assert!(CLASS_COUNT == 544);

/// 1.0244 × ns, within 0.05 % of 1024 / 1000.
fn ticks(ns: u64) -> u64 {
    (ns.min(1 << 40) * 1049) >> 10
}

fn class_of(ticks: u64) -> usize {
    if ticks < CLASSES_PER_OCTAVE as u64 {
        return ticks as usize;
    }
    let exponent = ticks.ilog2();
    if exponent >= TICK_BITS_MAX {
        return CLASS_COUNT - 1;
    }
    let shift = exponent - OCTAVE_BITS;
    let within = (ticks >> shift) as usize - CLASSES_PER_OCTAVE;
    (shift as usize + 1) * CLASSES_PER_OCTAVE + within
}

/// The first tick that lies above class `class`.
fn end_of(class: usize) -> u64 {
    let octave = class / CLASSES_PER_OCTAVE;
    if octave == 0 {
        return class as u64 + 1;
    }
    let within = (class % CLASSES_PER_OCTAVE + CLASSES_PER_OCTAVE + 1) as u64;
    within << (octave - 1)
}

/// What one worker records into.
#[derive(Debug)]
pub struct Histogram {
    sum_ns: AtomicU64,
    counts: [AtomicU64; CLASS_COUNT],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { sum_ns: AtomicU64::new(0), counts: [const { AtomicU64::new(0) }; CLASS_COUNT] }
    }
}

impl Histogram {
    /// Counts one duration in nanoseconds. Only the owning worker may call it.
    #[inline]
    pub fn record(&self, ns: u64) {
        let count = &self.counts[class_of(ticks(ns))];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.sum_ns.store(self.sum_ns.load(Ordering::Relaxed).wrapping_add(ns), Ordering::Relaxed);
    }

    /// Adds what was recorded so far to `into`.
    pub fn add_to(&self, into: &mut Distribution) {
        into.sum_ns = into.sum_ns.wrapping_add(self.sum_ns.load(Ordering::Relaxed));
        for (sum, count) in into.counts_mut().iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// Recorded durations, added up over workers; plain numbers. Empty ones take no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Either empty or [`CLASS_COUNT`] long.
    counts: Vec<u64>,
    /// Sum of all durations.
    pub sum_ns: u64,
}

impl Distribution {
    fn counts_mut(&mut self) -> &mut [u64] {
        self.counts.resize(CLASS_COUNT, 0);
        &mut self.counts
    }

    /// Durations recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }

    /// Adds another distribution.
    pub fn merge(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        if other.counts.is_empty() {
            return;
        }
        for (sum, count) in self.counts_mut().iter_mut().zip(&other.counts) {
            *sum += count;
        }
    }

    /// What was recorded after `earlier`, an older state of the same distribution.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = self.clone();
        later.sum_ns = self.sum_ns.saturating_sub(earlier.sum_ns);
        for (count, before) in later.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        later
    }

    /// The duration in microseconds below which the share `quantile` (0 to 1) of all lies; 0 when there are none.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let count = self.count();
        if count == 0 {
            return 0.0;
        }
        let rank = ((quantile * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        for (class, &number) in self.counts.iter().enumerate() {
            seen += number;
            if seen >= rank {
                return end_of(class) as f64 / f64::from(1 << MICROSECOND_BITS);
            }
        }
        0.0
    }

    /// How many lasted less than 2^`power` microseconds; `power` below [`POWERS_OF_TWO`], above it: all.
    pub fn up_to_us(&self, power: u32) -> u64 {
        if power >= POWERS_OF_TWO {
            return self.count();
        }
        let first_above = class_of(1 << (MICROSECOND_BITS + power));
        self.counts.iter().take(first_above).sum()
    }

    /// What LATENCY HISTOGRAM prints: pairs of 2^n µs and how many lasted up to that, from the first that is not zero
    /// to the one that has all.
    pub fn powers_of_two(&self) -> Vec<(u64, u64)> {
        let count = self.count();
        let mut rows = Vec::new();
        for power in 0..=POWERS_OF_TWO {
            let up_to = self.up_to_us(power);
            if up_to > 0 {
                rows.push((1u64 << power, up_to));
            }
            if up_to == count {
                break;
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::{CLASS_COUNT, Distribution, Histogram, POWERS_OF_TWO, class_of, end_of};
    use crate::base::rng::Rng;

    fn of(durations_ns: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        let mut distribution = Distribution::default();
        for &ns in durations_ns {
            histogram.record(ns);
        }
        histogram.add_to(&mut distribution);
        distribution
    }

    #[test]
    fn classes_are_in_order_without_gaps_and_within_a_sixteenth() {
        for class in 0..CLASS_COUNT - 1 {
            let end = end_of(class);
            assert_eq!(class_of(end - 1), class);
            assert_eq!(class_of(end), class + 1);
        }
        let mut rng = Rng::seeded(7);
        for _ in 0..10_000 {
            let ticks = 1 + rng.below(1 << 36);
            let end = end_of(class_of(ticks));
            assert!(end > ticks && end - ticks <= ticks / 16 + 1, "{ticks} {end}");
        }
        assert_eq!(class_of(u64::MAX), CLASS_COUNT - 1);
    }

    #[test]
    fn quantiles_are_near_the_exact_ones() {
        let durations: Vec<u64> = (1..=10_000).map(|us| us * 1000).collect();
        let distribution = of(&durations);
        assert_eq!(distribution.count(), 10_000);
        for (quantile, exact) in [(0.5, 5000.0), (0.99, 9900.0), (0.999, 9990.0), (0.0, 1.0), (1.0, 10_000.0)]
        {
            let got = distribution.quantile_us(quantile);
            assert!((got / exact - 1.0).abs() < 0.07, "{quantile}: {got} against {exact}");
        }
        assert_eq!(Distribution::default().quantile_us(0.5), 0.0);
    }

    #[test]
    fn powers_of_two_begin_and_end_where_the_counts_do() {
        let distribution = of(&[900, 3_500, 3_600, 30_000]);
        assert_eq!(distribution.powers_of_two(), [(1, 1), (2, 1), (4, 3), (8, 3), (16, 3), (32, 4)]);
        assert_eq!(of(&[]).powers_of_two(), []);
        assert_eq!(of(&[u64::MAX]).powers_of_two(), [(1 << POWERS_OF_TWO, 1)]);
    }

    #[test]
    fn merging_and_subtracting_are_each_others_reverse() {
        let (a, b) = (of(&[10, 20_000]), of(&[5_000_000]));
        let mut both = a.clone();
        both.merge(&b);
        assert_eq!((both.count(), both.sum_ns), (3, 5_020_010));
        let rest = both.since(&a);
        assert_eq!((rest.count(), rest.sum_ns), (1, 5_000_000));
        assert_eq!(rest.powers_of_two(), b.powers_of_two());
        assert!(both.since(&both).is_empty());
    }
}
