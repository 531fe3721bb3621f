//! What the store does to keys by itself, or knows better than commands do: keys that are made, that expire, that are
//! evicted, hashes whose fields expire. Noted only while somebody asks for it, and handed out under the shard's lock or, where no command is at work,
//! by the keyspace ([`super::keyspace::Keyspace::take_told`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use super::db::Db;
use super::keyspace::{Keyspace, Shard};
use crate::base::lock::Mutex;

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was made.
    New,
    /// It was due.
    Expired,
    /// It went to make room.
    Evicted,
    /// Fields of the hash were due.
    FieldsExpired,
    /// The last of its fields was due.
    Emptied,
}

/// What happened, to which key.
pub type Telling = (Told, Box<[u8]>);

/// Tellings that wait to be taken from the keyspace at most; older ones are forgotten.
const TOLD_MAX: usize = 64 * 1024;

/// What happened while no command was at work.
#[derive(Debug, Default)]
pub(super) struct ToldKeys {
    kept: Mutex<VecDeque<(usize, Telling)>>,
    any: AtomicBool,
}

impl ToldKeys {
    /// Keeps tellings until somebody takes them.
    pub(super) fn keep(&self, told: Vec<(usize, Telling)>) {
        if told.is_empty() {
            return;
        }
        let mut kept = self.kept.lock();
        kept.extend(told);
        let surplus = kept.len().saturating_sub(TOLD_MAX);
        kept.drain(..surplus);
        self.any.store(true, Ordering::Relaxed);
    }
}

impl Shard {
    /// Has keys that are made, expire or are evicted noted from now on, or no longer.
    fn set_telling(&mut self, on: bool) {
        self.tells = on;
        self.dbs_mut().for_each(|db| db.set_telling(on));
    }

    /// What there is to be told of keys, with their databases.
    pub fn take_told(&mut self) -> Vec<(usize, Telling)> {
        let told = |(number, db): (usize, &mut Option<Box<Db>>)| {
            let told = db.as_mut().map_or_else(Vec::new, |db| db.take_told());
            told.into_iter().map(move |telling| (number, telling))
        };
        self.dbs.iter_mut().enumerate().flat_map(told).collect()
    }
}

impl Keyspace {
    /// Has keys that are made, expire or are evicted noted from now on, or no longer.
    pub fn set_telling(&self, on: bool) {
        for number in 0..self.shards() {
            self.lock(number).set_telling(on);
        }
    }

    /// What there is to be told of keys that no command has taken, with their databases.
    pub fn take_told(&self) -> VecDeque<(usize, Telling)> {
        let mut kept = self.told.kept.lock();
        self.told.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *kept)
    }

    /// Whether there is anything to be told.
    #[inline]
    pub fn has_told(&self) -> bool {
        self.told.any.load(Ordering::Relaxed)
    }
}
