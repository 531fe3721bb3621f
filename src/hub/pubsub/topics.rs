//! Names, each with its subscribers, and the rule by which names come and go.
//!
//! A [`Topic`] has a lock of its own. Whoever takes the last subscriber out closes it, and only a closed topic is taken
//! out of the table; whoever finds a closed one looks again. So no lock of the table is ever held while a topic's is.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use dashmap::DashSet;

use crate::base::lock::RwLock;
use crate::hub::clients::Client;

/// Who is subscribed to one name.
pub struct Topic {
    name: Box<[u8]>,
    members: RwLock<Members>,
}

#[derive(Default)]
struct Members {
    /// By id, which is the order in which they connected.
    by_id: BTreeMap<u64, Arc<Client>>,
    /// The last has left: nobody may enter any more.
    closed: bool,
}

enum Entered {
    New,
    Already,
    Closed,
}

impl Topic {
    /// A name without subscribers.
    pub fn new(name: &[u8]) -> Self {
        Self { name: name.into(), members: RwLock::default() }
    }

    /// The channel or pattern.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Number of subscribers.
    pub fn len(&self) -> usize {
        self.members.read().by_id.len()
    }

    /// Calls `visit` with every subscriber; meanwhile nobody enters or leaves.
    pub fn each(&self, visit: impl FnMut(&Arc<Client>)) {
        self.members.read().by_id.values().for_each(visit);
    }

    fn enter(&self, client: &Arc<Client>) -> Entered {
        let mut members = self.members.write();
        if members.closed {
            return Entered::Closed;
        }
        match members.by_id.insert(client.id, Arc::clone(client)) {
            None => Entered::New,
            Some(_) => Entered::Already,
        }
    }

    /// Whether it was there, and whether it was the last.
    fn leave(&self, id: u64) -> (bool, bool) {
        let mut members = self.members.write();
        let was_there = members.by_id.remove(&id).is_some();
        let is_last = was_there && members.by_id.is_empty();
        members.closed |= is_last;
        (was_there, is_last)
    }
}

/// A table of names.
pub trait Names {
    /// The name's topic, if it has subscribers.
    fn find(&self, name: &[u8]) -> Option<Arc<Topic>>;

    /// The name's topic, a new one if there is none.
    fn obtain(&self, name: &[u8]) -> Arc<Topic>;

    /// Takes this very topic out.
    fn forget(&self, topic: &Arc<Topic>);

    /// Enters a subscriber; false if it was there already.
    fn enter(&self, name: &[u8], client: &Arc<Client>) -> bool {
        loop {
            let topic = self.obtain(name);
            match topic.enter(client) {
                Entered::New => return true,
                Entered::Already => return false,
                Entered::Closed => self.forget(&topic),
            }
        }
    }

    /// Takes a subscriber out; false if it was not there.
    fn leave(&self, name: &[u8], id: u64) -> bool {
        let Some(topic) = self.find(name) else { return false };
        let (was_there, is_last) = topic.leave(id);
        if is_last {
            self.forget(&topic);
        }
        was_there
    }
}

/// A topic under its name.
#[derive(Clone)]
struct Named(Arc<Topic>);

impl Borrow<[u8]> for Named {
    fn borrow(&self) -> &[u8] {
        &self.0.name
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

/// Channels.
#[derive(Default)]
pub struct Topics(DashSet<Named, ahash::RandomState>);

impl Topics {
    /// Number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All names, in no order.
    pub fn names(&self) -> Vec<Box<[u8]>> {
        self.0.iter().map(|named| named.key().0.name.clone()).collect()
    }
}

impl Names for Topics {
    fn find(&self, name: &[u8]) -> Option<Arc<Topic>> {
        self.0.get(name).map(|named| Arc::clone(&named.key().0))
    }

    fn obtain(&self, name: &[u8]) -> Arc<Topic> {
        loop {
            if let Some(topic) = self.find(name) {
                return topic;
            }
            let topic = Arc::new(Topic::new(name));
            if self.0.insert(Named(Arc::clone(&topic))) {
                return topic;
            }
        }
    }

    fn forget(&self, topic: &Arc<Topic>) {
        self.0.remove_if(&*topic.name, |named| Arc::ptr_eq(&named.0, topic));
    }
}
