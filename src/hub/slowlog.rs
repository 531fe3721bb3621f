//! The slow log: the last commands that took longer than `slowlog-log-slower-than`, newest first.
//!
//! Bounds: `slowlog-max-len` entries of at most [`ARGS_MAX`] arguments of at most [`ARG_BYTES_MAX`] bytes, as in Redis.

use std::collections::VecDeque;

use crate::base::lock::Mutex;

/// Arguments kept of a command, the last of which says how many more there were.
pub const ARGS_MAX: usize = 32;
/// Bytes kept of an argument.
pub const ARG_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug)]
pub struct Slow {
    /// Ascending over the server's life.
    pub id: u64,
    /// When it ran, in Unix seconds.
    pub at_seconds: u64,
    /// How long it took.
    pub took_us: u64,
    /// Its arguments, cut.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub peer: String,
    /// The client's name.
    pub name: String,
}

/// The log.
#[derive(Debug, Default)]
pub struct Slowlog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Slow>,
    next_id: u64,
}

impl Slowlog {
    /// Adds a command (its id is given here) and drops what is beyond `max`.
    pub fn push(&self, mut slow: Slow, max: usize) {
        let mut inner = self.inner.lock();
        slow.id = inner.next_id;
        inner.next_id += 1;
        inner.entries.push_front(slow);
        inner.entries.truncate(max);
    }

    /// The newest `count` entries.
    pub fn newest(&self, count: usize) -> Vec<Slow> {
        self.inner.lock().entries.iter().take(count).cloned().collect()
    }

    /// Entries held.
    pub fn entries(&self) -> usize {
        self.inner.lock().entries.len()
    }

    /// Drops all entries.
    pub fn reset(&self) {
        self.inner.lock().entries.clear();
    }
}
