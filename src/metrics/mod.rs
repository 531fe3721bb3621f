//! Metrics: plain counters that workers write, and the page that Prometheus reads.
//!
//! The hot path touches only [`workers`] and [`histogram`]: relaxed loads and stores, no read-modify-write, no lock, no
//! lookup by name. Everything else happens when somebody asks. Nothing global is installed.

pub mod allocator;
pub mod catalog;
pub mod exporter;
pub mod histogram;
pub mod process;
pub mod text;
pub mod workers;
