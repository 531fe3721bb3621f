//! Layer 4: command rows, gates, families and the one path that executes them. Synchronous; knows no sockets.

pub mod client;
pub mod config;
pub mod connection;
pub mod context;
pub mod docs;
pub mod execute;
pub mod expire;
pub mod flush;
pub mod gates;
pub mod info;
pub mod keys;
pub mod keyspace;
pub mod monitor;
pub mod object;
pub mod scan;
pub mod session;
pub mod shutdown;
pub mod slowlog;
pub mod spec;
pub mod strings;
pub mod table;
pub mod txn;
