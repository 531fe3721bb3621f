//! The files under `docker/` that others read (Prometheus, Grafana, Kubernetes), as values.

use serde::Deserialize;
use serde_json::Value;
use serde_yaml_ng::Deserializer;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the alerting rules are.
pub const ALERTS: &str = "prometheus/rules/larder-alerts.yml";

/// A file under `docker/`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(name)
}

/// Its text.
#[track_caller]
pub fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("docker/{name}: {error}"))
}

/// The documents of a YAML (or JSON) file.
#[track_caller]
pub fn documents(name: &str) -> Vec<Value> {
    let text = text(name);
    let parsed: Result<Vec<Value>, _> = Deserializer::from_str(&text).map(Value::deserialize).collect();
    parsed.unwrap_or_else(|error| panic!("docker/{name}: {error}"))
}

/// The only document of a YAML (or JSON) file.
#[track_caller]
pub fn document(name: &str) -> Value {
    let mut documents = documents(name);
    assert_eq!(documents.len(), 1, "documents in docker/{name}");
    documents.remove(0)
}

/// A text in `value` at a path such as `/metadata/name`; empty if there is none.
pub fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// An array in `value` at a path; empty if there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The alerting rules, in their order.
#[track_caller]
pub fn alerts() -> Vec<Value> {
    let file = document(ALERTS);
    let groups = list(&file, "/groups");
    groups.iter().flat_map(|group| list(group, "/rules")).cloned().collect()
}
