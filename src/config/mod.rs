//! Configuration: one table of parameters ([`params`]) from which the file, the environment, the command line,
//! CONFIG GET / SET / REWRITE and the README are made.
//!
//! It never opens sockets, never logs and knows no command: it turns text into a [`Config`] snapshot and back, and
//! publishes snapshots through [`store::ConfigStore`]. A snapshot never changes once it is published.

pub mod choices;
pub mod container;
pub mod file;
pub mod param;
pub mod params;
pub mod sources;
pub mod store;
pub mod types;

pub use params::Config;
