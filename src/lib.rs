//! Larder: a sharded cache server that speaks the Redis protocol.
//!
//! # Layers
//! A module uses lower layers only; siblings do not import each other (`tests/tidy.rs` holds this).
//! ```text
//! 6  app, cli, main     composes everything; the only place that knows all
//! 5  server, peer       sockets, tasks, timers: for clients, and among nodes
//! 4  command            rows, gates, families, execute: synchronous, no sockets
//! 3  hub                shared services, one file each
//! 2  cluster            what nodes decide: placement, slot table, leases, routes
//!    persist            values as bytes: the payloads of DUMP
//!    script             the host of Lua scripts
//! 1  resp, store, config, metrics
//! 0  base               clock, rng, numbers, glob, slot, lock, limits
//! ```
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

pub mod app;
pub mod base;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod config;
pub mod hub;
pub mod metrics;
pub mod peer;
pub mod persist;
pub mod resp;
pub mod script;
pub mod server;
pub mod store;
