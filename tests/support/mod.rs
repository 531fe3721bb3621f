//! What the integration tests share: a spawned server, a blocking client, and one way to write an expectation.
//!
//! It drives the real binary over loopback and knows the protocol from its own decoder, not from the crate under
//! test, so that a wrong encoder cannot be excused by an equally wrong decoder. Every wait has a deadline; nothing
//! sleeps in the hope that something has happened meanwhile. Processes end with the value that owns them.
//!
//! `LARDER_TEST_SERVER=redis-server` runs the same tests against another server, to try the tests themselves.

// Each test program compiles this module for itself and uses a part of it.
#![allow(dead_code)]

pub mod alone;
pub mod client;
pub mod cluster;
pub mod deployed;
pub mod docker;
pub mod frame;
pub mod http;
pub mod line;
pub mod namespaces;
pub mod server;
pub mod shape;
pub mod tool;
