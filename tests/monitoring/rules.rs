//! The rules as Prometheus's own tool sees them: they load, and `rules.test.yml` drives every alert with made-up series,
//! at the durations that are shipped.

use super::alerts::CAUSED;
use super::prometheus;
use super::support::deployed::{self, list, string};
use super::support::tool;
use larder::metrics::catalog::METRICS;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::process::Command;

/// The unit tests, for promtool.
const UNIT_TESTS: &str = "tests/monitoring/rules.test.yml";

#[track_caller]
fn promtool(words: &[&str]) -> String {
    let mut command = Command::new("promtool");
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
    let finished = tool::run(&mut command, b"");
    assert!(finished.status.success(), "{words:?}: {}", finished.all());
    finished.all()
}

#[test]
fn configuration_and_rules_load() {
    if prometheus::is_installed() {
        let said = promtool(&["check", "config", "docker/prometheus/prometheus.yml"]);
        assert!(said.contains("2 rule files found"), "{said}");
    }
}

#[test]
fn every_alert_fires_when_it_is_said_to_and_not_before() {
    if prometheus::is_installed() {
        promtool(&["test", "rules", UNIT_TESTS]);
    }
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let mut names = BTreeSet::new();
    let unit_tests = fs::read_to_string(format!("{}/{UNIT_TESTS}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{error}"));
    for alert in deployed::alerts() {
        let name = string(&alert, "/alert").to_owned();
        let summary = string(&alert, "/annotations/summary");
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: {summary}");
        let description = string(&alert, "/annotations/description");
        assert!(description.len() > 100 && description.ends_with('.'), "{name}: {description}");
        assert!(["critical", "warning"].contains(&string(&alert, "/labels/severity")), "{name}");
        assert!(string(&alert, "/for").ends_with('m'), "{name}");
        assert!(unit_tests.contains(&format!("alertname=\"{name}\"")), "{name} is not in {UNIT_TESTS}");
        names.insert(name);
    }
    let caused = CAUSED.iter().copied().flatten();
    let caused: BTreeSet<String> = caused.map(|name| String::from(*name)).collect();
    assert_eq!(names, caused);
    // Those that others name exist.
    for alert in deployed::alerts() {
        let text = string(&alert, "/annotations/description");
        for word in text.split(|letter: char| !letter.is_alphanumeric()) {
            let is_name = word.len() > "Larder".len() && word.starts_with("Larder");
            assert!(!is_name || names.contains(word), "{word}: no such alert");
        }
    }
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let files = [
        "prometheus/rules/larder-alerts.yml",
        "prometheus/rules/larder-recorded.yml",
        "grafana/dashboards/larder.json",
    ];
    let recorded = deployed::document(files[1]);
    let recorded: Vec<&str> = list(&recorded, "/groups")
        .iter()
        .flat_map(|group| list(group, "/rules"))
        .map(|rule| string(rule, "/record"))
        .collect();
    let mut used: HashMap<String, usize> = HashMap::new();
    for file in files {
        let text = deployed::text(file);
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || "_:".contains(letter)));
        for word in words.filter(|word| word.contains("larder_")) {
            let metric = word.strip_suffix("_bucket").unwrap_or(word);
            let known = METRICS.iter().any(|known| known.name == metric) || recorded.contains(&word);
            assert!(known, "docker/{file}: there is no {word}");
            *used.entry(word.to_owned()).or_default() += 1;
        }
    }
    for name in recorded {
        assert!(used[name] > 1, "{name} is computed and not used");
    }
}
