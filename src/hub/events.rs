//! What commands, expiry and eviction did to keys, for whoever listens: the seam of keyspace notifications.
//!
//! Handlers say what they changed ([`Change`]) and know nobody; here it is handed to the listeners, in order, before the
//! shards are unlocked. While nobody listens, or `notify-keyspace-events` asks for nothing, a change costs one test.
//! A listener must neither wait nor take a shard's lock.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::base::lock::RwLock;
use crate::config::choices::KeyspaceEvents;

/// The classes of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Class {
    /// Commands for any type.
    Generic = KeyspaceEvents::GENERIC,
    /// String commands.
    String = KeyspaceEvents::STRING,
    /// List commands.
    List = KeyspaceEvents::LIST,
    /// Set commands.
    Set = KeyspaceEvents::SET,
    /// Hash commands.
    Hash = KeyspaceEvents::HASH,
    /// Sorted set commands.
    Zset = KeyspaceEvents::ZSET,
    /// Keys that expired.
    Expired = KeyspaceEvents::EXPIRED,
    /// Keys that were evicted.
    Evicted = KeyspaceEvents::EVICTED,
    /// Stream commands.
    Stream = KeyspaceEvents::STREAM,
    /// Reads of keys that are not there.
    Miss = KeyspaceEvents::MISS,
    /// Keys that were made.
    New = KeyspaceEvents::NEW,
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its class.
    pub class: Class,
    /// Its name, as Redis has it: `hset`, `del`, `expired`.
    pub event: &'static str,
    /// Number of the database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
}

/// One that listens.
pub type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// The listeners, and the classes that are asked for.
#[derive(Default)]
pub struct Events {
    /// Bits of [`KeyspaceEvents`]; 0 while nobody listens.
    wanted: AtomicU32,
    asked: AtomicU32,
    listeners: RwLock<Vec<Listener>>,
}

impl Events {
    /// The classes that somebody wants to hear of.
    #[inline]
    pub fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Takes over `notify-keyspace-events`.
    pub fn ask_for(&self, events: KeyspaceEvents) {
        let listeners = self.listeners.read();
        self.asked.store(events.0, Ordering::Relaxed);
        self.wanted.store(if listeners.is_empty() { 0 } else { events.0 }, Ordering::Relaxed);
    }

    /// Has a listener told of everything that is asked for from now on.
    pub fn listen(&self, listener: Listener) {
        let mut listeners = self.listeners.write();
        listeners.push(listener);
        self.wanted.store(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Tells the listeners.
    pub fn publish(&self, changes: &[Change]) {
        let listeners = self.listeners.read();
        for change in changes {
            listeners.iter().for_each(|listener| listener(change));
        }
    }
}
