//! What docker/prometheus and docker/grafana hold, against Debian's Prometheus and real clusters: the configuration loads
//! and finds every node up, every alert fires when its condition is there, every panel of the dashboard shows data.
//!
//! Prometheus reads a copy of the shipped files in which time runs faster and nodes are named in a file instead of DNS;
//! `copy` makes it, and a test here holds that nothing else differs; `discovery` runs them as they are, in containers.
//! Without Prometheus or promtool tests skip with a word, or fail under `CI=true`.

mod alerts;
mod copy;
mod dashboard;
mod discovery;
mod prometheus;
mod rules;
#[path = "../support/mod.rs"]
mod support;
