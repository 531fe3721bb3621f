//! The libraries of functions that this node has: FUNCTION LOAD and its like put them in, FCALL finds functions by name.
//!
//! What is known here is text. Each thread that runs functions loads libraries into an interpreter of its own, when it
//! first needs one; the number of a library, which no other library ever has, tells it whether what it has loaded is
//! still what is meant. All libraries change together: whoever looks sees them before a change or after it.
//!
//! Bounds: [`LIBRARIES_MAX_BYTES`]. Locks: a leaf, held for as long as a map is copied.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ahash::RandomState;

use crate::base::limits::LIBRARIES_MAX_BYTES;
use crate::base::lock::Mutex;
use crate::script::flags::Flags;

/// Bytes that a library or function takes beside its texts, about.
const ENTRY_BYTES: usize = 128;

/// A function, as far as it is known outside of an interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What its author says of it.
    pub description: Option<Vec<u8>>,
    /// What it says of itself.
    pub flags: Flags,
}

/// A library.
#[derive(Debug, PartialEq, Eq)]
pub struct Library {
    /// What no other library has, earlier ones of the same name included.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Its source, first line included.
    pub source: Box<[u8]>,
    /// What it has registered.
    pub functions: Vec<Function>,
}

impl Library {
    fn bytes(&self) -> usize {
        let functions = self.functions.iter().map(|function| {
            ENTRY_BYTES + 2 * function.name.len() + function.description.as_ref().map_or(0, Vec::len)
        });
        ENTRY_BYTES + self.name.len() + self.source.len() + functions.sum::<usize>()
    }
}

/// Why libraries are not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// There is a library of this name.
    Library(String),
    /// Another library has a function of this name.
    Function(String),
    /// All together would take more than [`LIBRARIES_MAX_BYTES`].
    TooLarge,
}

/// What FUNCTION RESTORE does with the libraries that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They go.
    Flush,
    /// They stay, and none may have the name of a new one.
    Append,
    /// Those whose names the new ones have are replaced.
    Replace,
}

/// All libraries at one time.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    version: u64,
    by_name: BTreeMap<String, Arc<Library>>,
    /// Library and place within it, by the function's name in small letters.
    functions: HashMap<String, (Arc<Library>, usize), RandomState>,
    bytes: usize,
}

impl Libraries {
    /// How often libraries had changed when these were all.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The library that has the function of this name, in any case, and the function's place there.
    pub fn find(&self, name: &[u8]) -> Option<(&Arc<Library>, usize)> {
        let name = std::str::from_utf8(name).ok()?;
        let found = match self.functions.get(name) {
            Some(found) => found,
            None => self.functions.get(&name.to_ascii_lowercase())?,
        };
        Some((&found.0, found.1))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many functions they have together.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Memory that they take, about, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is a library of this name.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn remove(&mut self, name: &str) -> bool {
        let Some(library) = self.by_name.remove(name) else { return false };
        self.functions.retain(|_, (other, _)| other.number != library.number);
        self.bytes = self.bytes.saturating_sub(library.bytes());
        true
    }

    fn insert(&mut self, library: Arc<Library>) -> Result<(), Conflict> {
        let bytes = self.bytes + library.bytes();
        if bytes > LIBRARIES_MAX_BYTES {
            return Err(Conflict::TooLarge);
        }
        for (at, function) in library.functions.iter().enumerate() {
            let name = function.name.to_ascii_lowercase();
            if self.functions.insert(name, (Arc::clone(&library), at)).is_some() {
                return Err(Conflict::Function(function.name.clone()));
            }
        }
        self.bytes = bytes;
        self.by_name.insert(library.name.clone(), library);
        Ok(())
    }
}

/// The registry; see the module.
#[derive(Default)]
pub struct Functions {
    current: Mutex<Arc<Libraries>>,
    version: AtomicU64,
    last_number: AtomicU64,
    interpreter_bytes: AtomicI64,
}

impl Functions {
    /// How often libraries have changed: one relaxed load, by which a thread sees whether what it knows is still right.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// All libraries.
    pub fn current(&self) -> Arc<Libraries> {
        Arc::clone(&self.current.lock())
    }

    /// A number for a new library.
    pub fn new_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes in one library, in place of the one of its name if `replaces` says so.
    ///
    /// # Errors
    /// See [`Conflict`]; nothing has changed then.
    pub fn load(&self, library: Library, replaces: bool) -> Result<(), Conflict> {
        self.restore(vec![library], if replaces { Policy::Replace } else { Policy::Append })
    }

    /// Takes in libraries, all or none.
    ///
    /// # Errors
    /// See [`Conflict`]; nothing has changed then.
    pub fn restore(&self, libraries: Vec<Library>, policy: Policy) -> Result<(), Conflict> {
        let mut current = self.current.lock();
        let mut changed = match policy {
            Policy::Flush => Libraries { version: current.version, ..Libraries::default() },
            Policy::Append | Policy::Replace => Libraries::clone(&current),
        };
        for library in &libraries {
            if changed.has(&library.name) && policy != Policy::Replace {
                return Err(Conflict::Library(library.name.clone()));
            }
            changed.remove(&library.name);
        }
        for library in libraries {
            changed.insert(Arc::new(library))?;
        }
        self.publish(&mut current, changed);
        Ok(())
    }

    /// Takes out the library of this name; false if there is none.
    pub fn delete(&self, name: &[u8]) -> bool {
        let mut current = self.current.lock();
        let Ok(name) = std::str::from_utf8(name) else { return false };
        if !current.has(name) {
            return false;
        }
        let mut changed = Libraries::clone(&current);
        changed.remove(name);
        self.publish(&mut current, changed);
        true
    }

    /// Takes out all of them.
    pub fn flush(&self) {
        let mut current = self.current.lock();
        let changed = Libraries { version: current.version, ..Libraries::default() };
        self.publish(&mut current, changed);
    }

    /// Notes that the interpreters take so many bytes more, or less.
    pub fn note_interpreter(&self, change_bytes: i64) {
        self.interpreter_bytes.fetch_add(change_bytes, Ordering::Relaxed);
    }

    /// Memory that all interpreters take, in bytes.
    pub fn interpreter_bytes(&self) -> u64 {
        self.interpreter_bytes.load(Ordering::Relaxed).max(0) as u64
    }

    fn publish(&self, current: &mut Arc<Libraries>, mut changed: Libraries) {
        changed.version += 1;
        self.version.store(changed.version, Ordering::Relaxed);
        *current = Arc::new(changed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Conflict, Function, Functions, LIBRARIES_MAX_BYTES, Library, Policy};
    use crate::script::flags::Flags;

    fn library(functions: &Functions, name: &str, names: &[&str]) -> Library {
        let make =
            |name: &&str| Function { name: (*name).to_owned(), description: None, flags: Flags::default() };
        Library {
            number: functions.new_number(),
            name: name.to_owned(),
            source: b"source".as_slice().into(),
            functions: names.iter().map(make).collect(),
        }
    }

    #[test]
    fn libraries_come_and_go_as_a_whole() {
        let all = Functions::default();
        all.load(library(&all, "one", &["F", "g"]), false).unwrap();
        assert_eq!(all.load(library(&all, "one", &["x"]), false), Err(Conflict::Library("one".to_owned())));
        assert_eq!(
            all.load(library(&all, "two", &["h", "f"]), true),
            Err(Conflict::Function("f".to_owned()))
        );
        assert_eq!((all.current().len(), all.current().functions(), all.version()), (1, 2, 1));
        let old = all.current();
        let number = old.find(b"f").unwrap().0.number;
        all.load(library(&all, "one", &["f"]), true).unwrap();
        assert_eq!(old.find(b"f").unwrap().0.number, number, "what was taken stays as it was");
        let now = all.current();
        assert_ne!(now.find(b"F").unwrap().0.number, number);
        assert!(now.find(b"g").is_none());
        assert!(!all.delete(b"two") && all.delete(b"one"));
        let now = all.current();
        assert_eq!((now.len(), now.functions(), now.bytes(), now.version()), (0, 0, 0, all.version()));
    }

    #[test]
    fn what_is_restored_follows_the_policy() {
        let all = Functions::default();
        let names = || all.current().iter().map(|library| library.name.clone()).collect::<Vec<_>>().join(" ");
        all.load(library(&all, "a", &["f"]), false).unwrap();
        let new = || vec![library(&all, "b", &["g"]), library(&all, "a", &["h"])];
        assert_eq!(all.restore(new(), Policy::Append), Err(Conflict::Library("a".to_owned())));
        assert_eq!(names(), "a");
        all.restore(new(), Policy::Replace).unwrap();
        assert!(all.current().find(b"f").is_none() && all.current().find(b"h").is_some());
        let collides = vec![library(&all, "c", &["G"])];
        assert_eq!(all.restore(collides, Policy::Replace), Err(Conflict::Function("G".to_owned())));
        assert_eq!(names(), "a b");
        let twice = vec![library(&all, "d", &["x"]), library(&all, "e", &["X"])];
        assert_eq!(all.restore(twice, Policy::Flush), Err(Conflict::Function("X".to_owned())));
        all.restore(vec![library(&all, "d", &["x"])], Policy::Flush).unwrap();
        assert_eq!(names(), "d");
        all.flush();
        assert!(all.current().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let all = Functions::default();
        let mut large = library(&all, "large", &["f"]);
        large.source = vec![b' '; LIBRARIES_MAX_BYTES].into();
        assert_eq!(all.load(large, false), Err(Conflict::TooLarge));
        assert!(all.current().is_empty());
    }
}
