//! The copy of the shipped Prometheus files that tests run. It differs in this, and in nothing else:
//!
//! - nodes are found in a file that the test writes, as tests have no DNS of their own;
//! - scrapes and evaluations come every half second instead of every 15 seconds;
//! - minutes in rules are seconds: in `for`, in `[5m]` and behind `offset`. Thresholds stay as they are.

use super::support::deployed;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Time between two scrapes of a node, and between two evaluations of the rules.
const INTERVAL: &str = "500ms";
/// The files of rules, as they are named in `rule_files`.
const RULES: [&str; 2] = ["rules/larder-recorded.yml", "rules/larder-alerts.yml"];

/// Writes the copy into a folder: `prometheus.yml`, its rules, and an empty list of targets, `targets.json`.
pub fn write(folder: &Path) {
    fs::create_dir_all(folder.join("rules")).expect("a folder");
    let put = |name: &str, value: &Value| {
        fs::write(folder.join(name), value.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    put("prometheus.yml", &configuration(&deployed::document("prometheus/prometheus.yml")));
    for name in RULES {
        put(name, &faster(&deployed::document(&format!("prometheus/{name}"))));
    }
    put("targets.json", &json!([]));
}

/// The configuration with a file in the place of DNS, and shorter intervals. YAML, as all JSON is.
fn configuration(shipped: &Value) -> Value {
    let mut copy = shipped.clone();
    copy["global"]["scrape_interval"] = json!(INTERVAL);
    copy["global"]["evaluation_interval"] = json!(INTERVAL);
    let job = copy["scrape_configs"][0].as_object_mut().expect("a job");
    job.remove("dns_sd_configs").expect("nodes are found by DNS");
    job.insert("file_sd_configs".to_owned(), json!([{ "files": ["targets.json"] }]));
    copy
}

/// Rules with seconds for minutes.
fn faster(shipped: &Value) -> Value {
    let mut copy = shipped.clone();
    for group in copy["groups"].as_array_mut().expect("groups") {
        for rule in group["rules"].as_array_mut().expect("rules") {
            for field in ["expr", "for"] {
                if let Some(text) = rule.get(field).and_then(Value::as_str) {
                    rule[field] = json!(with_seconds(text));
                }
            }
        }
    }
    copy
}

/// `text` with `s` for the `m` of each whole number of minutes.
fn with_seconds(text: &str) -> String {
    let mut copy = String::new();
    let mut number = false;
    let mut word = false;
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        let ends = !rest.peek().is_some_and(|next| next.is_alphanumeric() || *next == '_');
        copy.push(if letter == 'm' && number && ends { 's' } else { letter });
        number = letter.is_ascii_digit() && (number || !word);
        word = letter.is_alphanumeric() || letter == '_' || letter == ':';
    }
    copy
}

/// Paths at which two values differ.
fn differences(at: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let added = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(added) {
                let (left, right) = (one.get(key), other.get(key));
                let null = Value::Null;
                differences(&format!("{at}/{key}"), left.unwrap_or(&null), right.unwrap_or(&null), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (left, right)) in one.iter().zip(other).enumerate() {
                differences(&format!("{at}/{index}"), left, right, found);
            }
        }
        _ if one == other => {}
        _ => found.push(at.to_owned()),
    }
}

#[test]
fn the_copy_differs_in_time_and_discovery_only() {
    let shipped = deployed::document("prometheus/prometheus.yml");
    let mut found = Vec::new();
    differences("", &shipped, &configuration(&shipped), &mut found);
    found.sort();
    let expected = [
        "/global/evaluation_interval",
        "/global/scrape_interval",
        "/scrape_configs/0/dns_sd_configs",
        "/scrape_configs/0/file_sd_configs",
    ];
    assert_eq!(found, expected);
    let folder = fs::read_dir(deployed::path("prometheus/rules")).expect("the rules");
    let names: Vec<String> =
        folder.map(|entry| format!("rules/{}", entry.expect("a file").file_name().display())).collect();
    assert!(
        names.len() == RULES.len() && names.iter().all(|name| RULES.contains(&name.as_str())),
        "{names:?}"
    );
    for name in RULES {
        let shipped = deployed::document(&format!("prometheus/{name}"));
        let mut found = Vec::new();
        differences("", &shipped, &faster(&shipped), &mut found);
        for path in &found {
            assert!(path.ends_with("/expr") || path.ends_with("/for"), "{name}: {path}");
            // Back again, minute by minute: nothing but units was touched, and nothing was in seconds before.
            let text = |value: &Value| value.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
            let (before, after) = (text(&shipped), text(&faster(&shipped)));
            assert_eq!(before.len(), after.len(), "{before}");
            let changed = before.chars().zip(after.chars()).filter(|(one, other)| one != other);
            assert!(changed.clone().count() > 0 && changed.clone().all(|pair| pair == ('m', 's')), "{after}");
        }
    }
}

#[test]
fn minutes_become_seconds_and_names_stay() {
    for (before, after) in [
        ("5m", "5s"),
        ("rate(larder_a_total[15m]) > 0.5", "rate(larder_a_total[15s]) > 0.5"),
        ("max(x offset 2m) - y{le=\"5me\"}", "max(x offset 2s) - y{le=\"5me\"}"),
        ("instance:larder_commands:rate5m", "instance:larder_commands:rate5m"),
    ] {
        assert_eq!(with_seconds(before), after);
    }
}
