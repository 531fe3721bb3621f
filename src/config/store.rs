//! The published configuration: who reads it re-checks one atomic and never waits; CONFIG SET replaces it whole.
//!
//! A change is a transaction: every pair is checked and parsed against a copy, then the listeners apply the new
//! snapshot, and only if all agree is it published. Nothing is half changed after an error.

use crate::base::glob;
use crate::base::lock::{Mutex, RwLock};
use crate::config::file;
use crate::config::param::{self, Param};
use crate::config::params::{Config, PARAMS};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Called with the old and the new snapshot before the new one is published; an error names the parameter at fault
/// and why, and refuses the whole change. Must not call back into the store.
pub type Listener = Box<dyn Fn(&Config, &Config) -> Result<(), (&'static str, String)> + Send + Sync>;

/// Why CONFIG SET or CONFIG REWRITE did nothing. The text is what a Redis client expects to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No parameter has this name.
    Unknown(String),
    /// The value, or setting the parameter at all, is refused; nothing has changed.
    Refused {
        /// Name as the client wrote it.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// REWRITE without a file.
    NoFile,
    /// The file could not be replaced; the old one is untouched.
    Rewrite(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(formatter, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Self::Refused { name, why } => {
                write!(formatter, "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
            }
            Self::NoFile => formatter.write_str("ERR The server is running without a config file"),
            Self::Rewrite(why) => write!(formatter, "ERR Rewriting config file: {why}"),
        }
    }
}

/// The configuration in use; shared by all threads.
pub struct ConfigStore {
    version: AtomicU64,
    current: RwLock<Arc<Config>>,
    /// Held through a whole change, so that two changes do not mix.
    changing: Mutex<Vec<Listener>>,
    file: Option<PathBuf>,
}

impl fmt::Debug for ConfigStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConfigStore")
            .field("version", &self.version())
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl ConfigStore {
    /// Publishes `config`; `file` is what REWRITE writes.
    pub fn new(config: Config, file: Option<PathBuf>) -> Self {
        Self {
            version: AtomicU64::new(1),
            current: RwLock::new(Arc::new(config)),
            changing: Mutex::new(Vec::new()),
            file,
        }
    }

    /// Grows by one with every published change; starts at 1.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The snapshot in use. Takes a short read lock: hot paths keep a [`ConfigReader`] instead.
    pub fn load(&self) -> Arc<Config> {
        Arc::clone(&self.current.read())
    }

    /// A reader that keeps a snapshot and renews it when the version has changed.
    pub fn reader(self: &Arc<Self>) -> ConfigReader {
        let version = self.version();
        ConfigReader { snapshot: self.load(), store: Arc::clone(self), version }
    }

    /// The file that the configuration came from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Adds a listener to all later changes.
    pub fn on_change(&self, listener: Listener) {
        self.changing.lock().push(listener);
    }

    /// CONFIG GET: names and values of the parameters that any of the patterns matches, each name once, in the
    /// table's order. Letter case does not matter; a name given without wildcards comes back as it was written.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        let config = self.load();
        let mut found = Vec::new();
        for param in PARAMS {
            for name in param.names() {
                let matching = patterns.iter().find(|pattern| glob::matches(pattern, name.as_bytes(), true));
                let Some(pattern) = matching else { continue };
                let shown = match std::str::from_utf8(pattern) {
                    Ok(typed) if typed.eq_ignore_ascii_case(name) => typed,
                    _ => name,
                };
                found.push((String::from(shown), param.print(&config)));
            }
        }
        found
    }

    /// CONFIG SET: all of the pairs or none.
    pub fn set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), ConfigError> {
        let settings = checked(pairs)?;
        let listeners = self.changing.lock();
        let old = self.load();
        let mut new = Config::clone(&old);
        for change in &settings {
            change.apply(&mut new).map_err(|why| ConfigError::Refused { name: change.name.clone(), why })?;
        }
        for (applied, listener) in listeners.iter().enumerate() {
            if let Err((name, why)) = listener(&old, &new) {
                for earlier in listeners.iter().take(applied) {
                    // Going back to what worked before; there is nothing further to fall back to.
                    let _ = earlier(&new, &old);
                }
                let name = String::from(name);
                return Err(ConfigError::Refused { name, why });
            }
        }
        *self.current.write() = Arc::new(new);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// CONFIG REWRITE: writes what is in use into the file, keeping its comments and order.
    pub fn rewrite(&self) -> Result<(), ConfigError> {
        let path = self.file.as_deref().ok_or(ConfigError::NoFile)?;
        let _one_at_a_time = self.changing.lock();
        file::rewrite(path, &self.load()).map_err(ConfigError::Rewrite)
    }
}

/// One pair of CONFIG SET whose name is known and may be set.
struct Change<'a> {
    param: &'static Param,
    /// As the client wrote it.
    name: String,
    value: &'a [u8],
}

impl Change<'_> {
    fn apply(&self, config: &mut Config) -> Result<(), String> {
        let text =
            std::str::from_utf8(self.value).map_err(|_| String::from("argument must be UTF-8 text"))?;
        self.param.assign(config, text)
    }
}

/// Looks up what `pairs` name. The first thing wrong decides the error, as in Redis.
fn checked<'a>(pairs: &[(&[u8], &'a [u8])]) -> Result<Vec<Change<'a>>, ConfigError> {
    let mut changes: Vec<Change<'a>> = Vec::with_capacity(pairs.len());
    for &(name, value) in pairs {
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(param) = param::find(&name) else {
            return Err(ConfigError::Unknown(name));
        };
        let why = if !param.mutable {
            "can't set immutable config"
        } else if changes.iter().any(|known| known.param.name == param.name) {
            "duplicate parameter"
        } else {
            changes.push(Change { param, name, value });
            continue;
        };
        let why = String::from(why);
        return Err(ConfigError::Refused { name, why });
    }
    Ok(changes)
}

/// A snapshot that one thread keeps: [`current`](Self::current) costs one atomic load while nothing changes.
#[derive(Debug)]
pub struct ConfigReader {
    store: Arc<ConfigStore>,
    snapshot: Arc<Config>,
    version: u64,
}

impl ConfigReader {
    /// The snapshot in use.
    pub fn current(&mut self) -> &Arc<Config> {
        self.refresh();
        &self.snapshot
    }

    /// Renews the snapshot if there is a newer one; says whether there was.
    pub fn refresh(&mut self) -> bool {
        let version = self.store.version();
        if version == self.version {
            return false;
        }
        // The version is read first: a change in between is seen at the next call at the latest.
        self.snapshot = self.store.load();
        self.version = version;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, ConfigStore};
    use crate::config::params::Config;
    use std::sync::Arc;

    fn store() -> Arc<ConfigStore> {
        Arc::new(ConfigStore::new(Config::default(), None))
    }

    fn set(store: &ConfigStore, words: &[&str]) -> Result<(), String> {
        let pairs: Vec<(&[u8], &[u8])> =
            words.chunks_exact(2).map(|pair| (pair[0].as_bytes(), pair[1].as_bytes())).collect();
        store.set(&pairs).map_err(|error| error.to_string())
    }

    fn get(store: &ConfigStore, name: &str) -> String {
        store.get(&[name.as_bytes()]).remove(0).1
    }

    #[test]
    fn a_change_is_seen_by_readers_and_only_then() {
        let store = store();
        let mut reader = store.reader();
        assert!(!reader.refresh());
        set(&store, &["hz", "50", "MAXMEMORY", "1mb"]).expect("two values");
        assert!(reader.refresh());
        assert_eq!(reader.current().hz, 50);
        assert_eq!(reader.current().maxmemory.bytes(), 1 << 20);
        assert!(!reader.refresh());
    }

    #[test]
    fn a_wrong_pair_changes_nothing() {
        let store = store();
        for (words, text) in [
            (
                ["hz", "20", "nosuch", "1"],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            ),
            (
                ["hz", "20", "databases", "1"],
                "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
            ),
            (
                ["hz", "20", "HZ", "30"],
                "ERR CONFIG SET failed (possibly related to argument 'HZ') - duplicate parameter",
            ),
            (
                ["hz", "20", "maxmemory-samples", "0"],
                "ERR CONFIG SET failed (possibly related to argument 'maxmemory-samples') - argument must be between 1 and 2147483647 inclusive",
            ),
            (
                ["hash-max-listpack-entries", "1", "hash-max-ziplist-entries", "2"],
                "ERR CONFIG SET failed (possibly related to argument 'hash-max-ziplist-entries') - duplicate parameter",
            ),
        ] {
            assert_eq!(set(&store, &words), Err(String::from(text)));
        }
        assert_eq!((store.version(), get(&store, "hz")), (1, String::from("10")));
        let binary = store.set(&[(b"requirepass", b"\xff")]);
        assert!(matches!(binary, Err(ConfigError::Refused { .. })));
    }

    #[test]
    fn a_listener_can_refuse_and_earlier_ones_are_taken_back() {
        let store = store();
        let seen = Arc::new(crate::base::lock::Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        store.on_change(Box::new(move |old, new| {
            log.lock().push((old.hz, new.hz));
            Ok(())
        }));
        store.on_change(Box::new(|_, new| match new.hz {
            13 => Err(("hz", String::from("unlucky"))),
            _ => Ok(()),
        }));
        assert_eq!(
            set(&store, &["hz", "13"]),
            Err(String::from("ERR CONFIG SET failed (possibly related to argument 'hz') - unlucky"))
        );
        assert_eq!(get(&store, "hz"), "10");
        set(&store, &["hz", "14"]).expect("a lucky number");
        assert_eq!(*seen.lock(), [(10, 13), (13, 10), (10, 14)]);
    }

    #[test]
    fn get_takes_patterns_and_names_each_parameter_once() {
        let store = store();
        let found = store.get(&[b"maxmemory", b"MAXMEMORY*", b"nosuch", b"Hz", b"*of"]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "maxmemory",
                "maxmemory-policy",
                "maxmemory-samples",
                "maxmemory-eviction-tenacity",
                "Hz",
                "maxmemory-clients",
                "replicaof",
                "slaveof"
            ]
        );
    }

    #[test]
    fn rewrite_needs_a_file() {
        assert_eq!(store().rewrite(), Err(ConfigError::NoFile));
    }
}
