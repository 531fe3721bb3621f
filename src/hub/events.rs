//! What commands, expiry and eviction did to keys, for whoever listens: the seam of keyspace notifications.
//!
//! Handlers say what they changed ([`Change`]) and know nobody; here it is handed to the listeners, in order, before the
//! shards are unlocked. While nobody listens, or `notify-keyspace-events` asks for nothing, a change costs one test.
//! A listener must neither wait nor take a shard's lock.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::base::lock::{Mutex, RwLock};
use crate::config::choices::KeyspaceEvents;
use crate::store::keyspace::Keyspace;
use crate::store::told::{Telling, Told};

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

impl From<(usize, Telling)> for Change {
    fn from((db, (told, key)): (usize, Telling)) -> Self {
        let (class, event) = match told {
            Told::New => (Class::New, "new"),
            Told::Expired => (Class::Expired, "expired"),
            Told::Evicted => (Class::Evicted, "evicted"),
            Told::FieldsExpired => (Class::Hash, "hexpired"),
            Told::Emptied => (Class::Generic, "del"),
        };
        Self { class, event, db, key }
    }
}

/// Classes of what the store tells by itself.
pub const FROM_STORE: u32 = Class::New as u32
    | Class::Expired as u32
    | Class::Evicted as u32
    | Class::Hash as u32
    | Class::Generic as u32;

/// One that listens.
pub type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// The listeners, and the classes that are asked for.
#[derive(Default)]
pub struct Events {
    /// Bits of [`KeyspaceEvents`]; 0 while nobody listens.
    wanted: AtomicU32,
    asked: AtomicU32,
    /// Whether what the listeners are told reaches anybody.
    heard: AtomicBool,
    listeners: RwLock<Vec<Listener>>,
    /// Held by whoever decides what is wanted.
    deciding: Mutex<()>,
}

impl Events {
    /// The classes that somebody wants to hear of.
    #[inline]
    pub fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Takes over `notify-keyspace-events`.
    pub fn ask_for(&self, keyspace: &Keyspace, events: KeyspaceEvents) {
        self.decide(keyspace, || self.asked.store(events.0, Ordering::Relaxed));
    }

    /// Has a listener told of everything that is asked for from now on.
    pub fn listen(&self, keyspace: &Keyspace, listener: Listener) {
        self.add(listener);
        self.hear(keyspace, true);
    }

    /// Adds a listener that is told while [`hear`](Self::hear) says that it hears.
    pub fn add(&self, listener: Listener) {
        self.listeners.write().push(listener);
    }

    /// Says whether what the listeners are told reaches anybody.
    pub fn hear(&self, keyspace: &Keyspace, is_heard: bool) {
        self.decide(keyspace, || self.heard.store(is_heard, Ordering::Relaxed));
    }

    fn decide(&self, keyspace: &Keyspace, change: impl FnOnce()) {
        let _deciding = self.deciding.lock();
        change();
        let is_heard = self.heard.load(Ordering::Relaxed);
        let wanted = if is_heard { self.asked.load(Ordering::Relaxed) } else { 0 };
        let before = self.wanted.swap(wanted, Ordering::Relaxed);
        if (before ^ wanted) & FROM_STORE != 0 {
            keyspace.set_telling(wanted & FROM_STORE != 0);
        }
    }

    /// Tells the listeners what the store did while no command was at work.
    pub fn publish_told(&self, keyspace: &Keyspace) {
        let wanted = self.wanted();
        let changes: Vec<Change> = keyspace.take_told().into_iter().map(Change::from).collect();
        let wanted: Vec<Change> =
            changes.into_iter().filter(|change| wanted & change.class as u32 != 0).collect();
        self.publish(&wanted);
    }

    /// Tells the listeners.
    pub fn publish(&self, changes: &[Change]) {
        let listeners = self.listeners.read();
        for change in changes {
            listeners.iter().for_each(|listener| listener(change));
        }
    }
}
