//! Layer 1: the keyspace. Entries, their index, expiry and eviction, behind one lock a shard.
//!
//! It knows neither RESP nor configuration nor sockets, and never asks for the time: every call that needs it is
//! handed `now_ms`. What a mutation frees is handed back so that it can be dropped after the lock is released.
//!
//! ```text
//! keyspace  shards behind locks                              budget   how much entries may take
//! shard     sixteen databases, garbage
//! db        one database in one shard: keeps index, queues, expiry and bytes in step
//! arena     blocks of equal slots that hold the entries      entry    the bytes of one entry
//! index     slot → segments of (tag, handle)                 expiry   handles in order of their due time, in chunks
//! fields    fields of hashes that fall due
//! queues    the two FIFO queues of S3-FIFO                   fifo     one queue, as cells in groups
//! ghost     fingerprints of what was evicted
//! watch     who is told of a change; hidden slots            feed     keys that changed in slots on the move
//! departure slots that leave for another node                arrival  slots that come from one
//! expect    what a batch of commands will look at, ahead
//! told      keys that were made, expired or evicted         noted    names of all keys that changed
//! carry     an entry as it travels                        typed    values of all types in a database
//! value     the types themselves                       patch    changes within a string that keep its length
//! ```

pub mod arena;
pub mod arrival;
pub mod budget;
pub mod carry;
mod chunk;
pub mod compaction;
pub mod db;
pub mod departure;
pub mod entry;
pub mod expect;
pub mod expiry;
pub mod feed;
mod fields;
mod fifo;
pub mod ghost;
pub mod index;
pub mod key;
pub mod keyspace;
#[cfg(test)]
mod model;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod moving_large;
pub mod noted;
pub mod object;
mod patch;
pub mod policy;
mod prefetch;
pub mod queues;
mod segment;
pub mod sweep;
pub mod tick;
pub mod told;
pub mod transfer;
pub mod typed;
pub mod usage;
pub mod value;
pub mod walk;
mod watch;
