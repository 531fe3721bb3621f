//! A writer of Prometheus's text format for what the metrics crate cannot take from outside: histograms whose counts
//! were made elsewhere, and counters with fractions.

use crate::metrics::catalog::Metric;
use crate::metrics::histogram::Distribution;
use std::fmt::Write;

/// The bounds of duration histograms, as powers of two of a microsecond: every one up to a second, then 4 s and 17 s.
const POWERS: [u32; 23] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24];

/// One page under construction.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Goes on behind what is there already.
    pub fn after(text: String) -> Self {
        Self { text }
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }

    /// Begins a family; its series must follow at once.
    pub fn family(&mut self, metric: &Metric) {
        self.line(format_args!("# HELP {} {}", metric.name, metric.help));
        self.line(format_args!("# TYPE {} {}", metric.name, metric.kind.name()));
    }

    /// One series of a counter or gauge; `values` are those of the family's labels.
    pub fn number(&mut self, metric: &Metric, values: &[&str], number: f64) {
        let labels = labels(metric, values, None);
        self.line(format_args!("{}{labels} {number}", metric.name));
    }

    /// One series of a histogram of durations.
    pub fn durations(&mut self, metric: &Metric, values: &[&str], durations: &Distribution) {
        for power in POWERS {
            let bound = (1u64 << power) as f64 / 1e6;
            let labels = labels(metric, values, Some(&bound.to_string()));
            self.line(format_args!("{}_bucket{labels} {}", metric.name, durations.up_to_us(power)));
        }
        let count = durations.count();
        let all = labels(metric, values, Some("+Inf"));
        self.line(format_args!("{}_bucket{all} {count}", metric.name));
        let labels = labels(metric, values, None);
        self.line(format_args!("{}_sum{labels} {}", metric.name, durations.sum_ns as f64 / 1e9));
        self.line(format_args!("{}_count{labels} {count}", metric.name));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

fn labels(metric: &Metric, values: &[&str], bound: Option<&str>) -> String {
    let own = metric.labels.iter().copied().zip(values.iter().copied());
    let pairs: Vec<String> = own
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::Page;
    use crate::metrics::catalog::{COMMAND_DURATION, WORKER_BUSY};
    use crate::metrics::histogram::{Distribution, Histogram};

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_all() {
        let histogram = Histogram::default();
        for ns in [500, 3_000, 3_000_000_000] {
            histogram.record(ns);
        }
        let mut durations = Distribution::default();
        histogram.add_to(&mut durations);
        let mut page = Page::default();
        page.family(&COMMAND_DURATION);
        page.durations(&COMMAND_DURATION, &["client|list"], &durations);
        let text = page.finish();
        for line in [
            "# TYPE larder_command_duration_seconds histogram",
            "larder_command_duration_seconds_bucket{command=\"client|list\",le=\"0.000001\"} 1",
            "larder_command_duration_seconds_bucket{command=\"client|list\",le=\"0.000004\"} 2",
            "larder_command_duration_seconds_bucket{command=\"client|list\",le=\"1.048576\"} 2",
            "larder_command_duration_seconds_bucket{command=\"client|list\",le=\"4.194304\"} 3",
            "larder_command_duration_seconds_bucket{command=\"client|list\",le=\"+Inf\"} 3",
            "larder_command_duration_seconds_sum{command=\"client|list\"} 3.0000035",
            "larder_command_duration_seconds_count{command=\"client|list\"} 3",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.number(&WORKER_BUSY, &["a\"b\\c\n"], 0.25);
        assert_eq!(page.finish(), "larder_worker_busy_seconds_total{worker=\"a\\\"b\\\\c\\n\"} 0.25\n");
    }
}
