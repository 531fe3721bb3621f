//! Patterns, found by what they begin with: of many patterns only those are compared with a channel whose literal
//! beginning is the channel's.
//!
//! The list of patterns is locked for a look-up only, never while messages are queued.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use smallvec::{Array, SmallVec};

use super::topics::{Names, Topic};
use crate::base::glob;
use crate::base::lock::RwLock;

/// Patterns with their subscribers.
#[derive(Default)]
pub struct Patterns {
    index: RwLock<Index>,
    count: AtomicUsize,
}

#[derive(Default)]
struct Index {
    by_beginning: HashMap<Box<[u8]>, Alike, ahash::RandomState>,
    /// How many beginnings there are of each length.
    lengths: BTreeMap<usize, usize>,
}

/// Patterns that begin alike.
type Alike = HashMap<Box<[u8]>, Arc<Topic>, ahash::RandomState>;

/// The bytes of a pattern before the first that is special.
fn beginning(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..end.unwrap_or(pattern.len())]
}

/// Whether a pattern may match some text that begins with `begin`. May say yes where it does not.
pub fn can_match(pattern: &[u8], begin: &[u8]) -> bool {
    let known = beginning(pattern);
    if known.len() == pattern.len() || known.len() >= begin.len() {
        known.starts_with(begin)
    } else {
        begin.starts_with(known)
    }
}

impl Patterns {
    /// Whether there are any: one relaxed load.
    #[inline]
    pub fn any(&self) -> bool {
        self.len() != 0
    }

    /// Number of different patterns.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nothing is left of patterns that nobody is subscribed to any more.
    #[cfg(test)]
    pub fn is_clean(&self) -> bool {
        let index = self.index.read();
        index.by_beginning.len() == index.by_beginning.values().filter(|alike| !alike.is_empty()).count()
            && index.lengths.values().sum::<usize>() == index.by_beginning.len()
    }

    /// Appends the patterns that match a channel.
    pub fn collect_matching<A: Array<Item = Arc<Topic>>>(&self, channel: &[u8], into: &mut SmallVec<A>) {
        let index = self.index.read();
        for &length in index.lengths.keys().take_while(|&&length| length <= channel.len()) {
            let Some(alike) = index.by_beginning.get(&channel[..length]) else { continue };
            into.extend(alike.values().filter(|topic| glob::matches(topic.name(), channel, false)).cloned());
        }
    }
}

impl Names for Patterns {
    fn find(&self, name: &[u8]) -> Option<Arc<Topic>> {
        let index = self.index.read();
        index.by_beginning.get(beginning(name))?.get(name).cloned()
    }

    fn obtain(&self, name: &[u8]) -> Arc<Topic> {
        if let Some(topic) = self.find(name) {
            return topic;
        }
        let Index { by_beginning, lengths } = &mut *self.index.write();
        let begin = beginning(name);
        let alike = by_beginning.entry(begin.into()).or_default();
        // Somebody else may have been first.
        if let Some(topic) = alike.get(name) {
            return Arc::clone(topic);
        }
        if alike.is_empty() {
            *lengths.entry(begin.len()).or_default() += 1;
        }
        let topic = Arc::new(Topic::new(name));
        alike.insert(name.into(), Arc::clone(&topic));
        self.count.fetch_add(1, Ordering::Relaxed);
        topic
    }

    fn forget(&self, topic: &Arc<Topic>) {
        let Index { by_beginning, lengths } = &mut *self.index.write();
        let begin = beginning(topic.name());
        let Some(alike) = by_beginning.get_mut(begin) else { return };
        if !alike.get(topic.name()).is_some_and(|known| Arc::ptr_eq(known, topic)) {
            return;
        }
        alike.remove(topic.name());
        self.count.fetch_sub(1, Ordering::Relaxed);
        if !alike.is_empty() {
            return;
        }
        by_beginning.remove(begin);
        if let Some(count) = lengths.get_mut(&begin.len()) {
            *count -= 1;
            if *count == 0 {
                lengths.remove(&begin.len());
            }
        }
    }
}
