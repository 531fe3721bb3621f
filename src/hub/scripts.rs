//! The scripts that EVALSHA can run: shared by all workers, which keep what they compiled of them.
//!
//! What SCRIPT LOAD gave stays until SCRIPT FLUSH. Bodies that only EVAL gave are bounded ([`EVALUATED_MAX`]); the one
//! that was used longest ago goes. Locks: the map's is a leaf, and a script that a worker knows is found without it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::base::lock::Mutex;

/// Scripts that were only evaluated, at most; as in Redis.
pub const EVALUATED_MAX: usize = 500;

/// Memory of an entry beside the body, in bytes.
const ENTRY_BYTES: u64 = 200;

/// A script's SHA1 in lower-case hexadecimal.
pub type Digest = [u8; 40];

/// A script.
#[derive(Debug)]
pub struct Script {
    /// Its SHA1.
    pub digest: Digest,
    /// Its source.
    pub body: Box<[u8]>,
    loaded: AtomicBool,
    /// When it was used last; any clock that goes forward.
    used: AtomicU64,
    gone: AtomicBool,
}

impl Script {
    /// One that nobody knows yet.
    pub fn new(digest: Digest, body: &[u8]) -> Self {
        Self {
            digest,
            body: body.into(),
            loaded: AtomicBool::new(false),
            used: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        }
    }

    /// Its SHA1 as text.
    pub fn name(&self) -> &str {
        str::from_utf8(&self.digest).unwrap_or_default()
    }

    /// Whether it is no longer among those that EVALSHA can run.
    #[inline]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Notes that it is used.
    #[inline]
    pub fn touch(&self, now_ns: u64) {
        self.used.store(now_ns, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Known {
    scripts: HashMap<Digest, Arc<Script>>,
    /// How many of them were only evaluated.
    evaluated: usize,
    body_bytes: u64,
}

/// All scripts.
#[derive(Debug, Default)]
pub struct Scripts {
    known: Mutex<Known>,
    generation: AtomicU64,
    evicted: AtomicU64,
    interpreter_bytes: AtomicI64,
    /// Commands that are not allowed in scripts are allowed (DEBUG SET-DISABLE-DENY-SCRIPTS).
    pub allows_all: AtomicBool,
}

impl Scripts {
    /// The script of this digest.
    pub fn find(&self, digest: &Digest) -> Option<Arc<Script>> {
        self.known.lock().scripts.get(digest).map(Arc::clone)
    }

    /// Takes a script in, or gives the one that is known already; `loaded` says that it is to stay.
    pub fn insert(&self, script: Script, loaded: bool, now_ns: u64) -> Arc<Script> {
        let mut known = self.known.lock();
        let script = match known.scripts.get(&script.digest) {
            Some(script) => Arc::clone(script),
            None => {
                known.body_bytes += script.body.len() as u64;
                known.evaluated += 1;
                let script = Arc::new(script);
                known.scripts.insert(script.digest, Arc::clone(&script));
                script
            }
        };
        script.touch(now_ns);
        if loaded && !script.loaded.swap(true, Ordering::Relaxed) {
            known.evaluated -= 1;
        }
        while known.evaluated > EVALUATED_MAX {
            let oldest = known.scripts.values().filter(|one| !one.loaded.load(Ordering::Relaxed));
            let Some(oldest) = oldest.min_by_key(|one| one.used.load(Ordering::Relaxed)).map(Arc::clone)
            else {
                break;
            };
            oldest.gone.store(true, Ordering::Relaxed);
            known.scripts.remove(&oldest.digest);
            known.body_bytes -= oldest.body.len() as u64;
            known.evaluated -= 1;
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        script
    }

    /// Forgets all; gives what is to be dropped.
    pub fn flush(&self) -> impl Send + use<> {
        let known = std::mem::take(&mut *self.known.lock());
        known.scripts.values().for_each(|script| script.gone.store(true, Ordering::Relaxed));
        self.generation.fetch_add(1, Ordering::Relaxed);
        known.scripts
    }

    /// Changes with each [`Scripts::flush`]: interpreters of another generation are dropped.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.lock().scripts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> u64 {
        let known = self.known.lock();
        known.body_bytes + known.scripts.len() as u64 * ENTRY_BYTES
    }

    /// Scripts that made room for others since the start, or since [`Scripts::reset`].
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Forgets what was counted (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.evicted.store(0, Ordering::Relaxed);
    }

    /// Notes that the interpreters take so many bytes more, or less.
    pub fn note_interpreter(&self, change_bytes: i64) {
        self.interpreter_bytes.fetch_add(change_bytes, Ordering::Relaxed);
    }

    /// Memory that all interpreters take, in bytes.
    pub fn interpreter_bytes(&self) -> u64 {
        self.interpreter_bytes.load(Ordering::Relaxed).max(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, EVALUATED_MAX, Script, Scripts};

    fn digest(number: usize) -> Digest {
        let mut digest = [b'0'; 40];
        digest[..8].copy_from_slice(format!("{number:08x}").as_bytes());
        digest
    }

    fn evaluate(scripts: &Scripts, number: usize, now_ns: u64) {
        scripts.insert(Script::new(digest(number), b"return 1"), false, now_ns);
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_what_was_loaded_stays() {
        let scripts = Scripts::default();
        scripts.insert(Script::new(digest(9999), b"loaded"), true, 0);
        for number in 0..EVALUATED_MAX {
            evaluate(&scripts, number, 1 + number as u64);
        }
        evaluate(&scripts, 0, 10_000);
        let second = scripts.find(&digest(1)).expect("it is known");
        evaluate(&scripts, 7777, 10_001);
        assert!(second.is_gone() && scripts.find(&digest(1)).is_none());
        assert!(scripts.find(&digest(0)).is_some() && scripts.find(&digest(9999)).is_some());
        assert_eq!((scripts.len(), scripts.evicted()), (EVALUATED_MAX + 1, 1));
        scripts.insert(Script::new(digest(0), b"return 1"), true, 0);
        for number in 1000..2000 {
            evaluate(&scripts, number, 20_000 + number as u64);
        }
        assert!(scripts.find(&digest(0)).is_some(), "it was loaded since");
        let first = scripts.find(&digest(0)).expect("it is known");
        drop(scripts.flush());
        assert!(first.is_gone() && scripts.is_empty() && scripts.generation() == 1);
        assert_eq!(scripts.bytes(), 0);
    }
}
