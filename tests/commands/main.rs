//! Command families against a running server, a file for each, over RESP2 and RESP3.

mod bitmaps;
mod blocking;
mod connection;
mod dump;
mod expiry;
mod flush;
mod functions;
mod geo;
mod hashes;
mod hyperloglog;
mod introspect;
mod keys;
mod keyspace;
mod lists;
mod long_scripts;
mod notifications;
mod pubsub;
mod scan;
mod scripts;
mod server;
mod sets;
mod sort;
mod sorted_sets;
mod stream_groups;
mod streams;
mod strings;
#[path = "../support/mod.rs"]
mod support;
mod tracking;
mod tracking_races;
mod transactions;
