//! Clients that wait in a blocking command: who waits for which key, in which order, and the seat in which each leaves
//! what is needed to run its command again.
//!
//! Whoever changes a key that is waited for runs the waiting commands himself, first come first served, before his own
//! reply leaves (`command::blocking`); the waiting client's task only takes the result. A seat is taken by one side at a
//! time: what lies in it belongs to whoever holds its lock.
//!
//! Locks: a shard's, then the registry's; a seat's before a shard's. The registry is never asked for a seat's lock.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ahash::RandomState;
use dashmap::DashMap;

use crate::base::lock::{Mutex, MutexGuard};
use crate::hub::clients::{Client, signal};

/// Kinds of commands that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A list that is not empty.
    List = 0,
    /// A sorted set that is not empty.
    SortedSet = 1,
    /// Entries of a stream; here everyone waits for his own.
    Stream = 2,
    /// Entries of a stream that are new to a group; that the group is gone is an answer, too.
    StreamGroup = 3,
}

impl Awaited {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::List, Self::SortedSet, Self::Stream, Self::StreamGroup];

    /// Whether one that finds nothing speaks for all others of its kind.
    pub fn speaks_for_others(self) -> bool {
        matches!(self, Self::List | Self::SortedSet)
    }
}

/// A key that is waited for: number of its database, and its name.
pub type AwaitedKey = (usize, Box<[u8]>);

/// Why a client waits no longer although nobody served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// As if its time were up.
    Timeout,
    /// With an error.
    Error,
    /// To try again by itself: where its keys are may have changed.
    Again,
}

/// What lies in a waiting client's seat.
pub enum Seat {
    /// The client is about to sit down.
    Coming,
    /// It is, but a key of its changed before it did: it must try again.
    Missed,
    /// It waits.
    Waiting(Box<dyn Any + Send>),
    /// Its request is being run by another thread.
    Away,
    /// It was served: its reply is with it.
    Served(Box<dyn Any + Send>),
    /// It is to wait no longer.
    Released(Box<dyn Any + Send>, Release),
    /// It is gone.
    Left,
}

/// One waiting client.
pub struct Waiter {
    /// Its place in the queues: lower ones come first.
    pub number: u64,
    /// Who waits.
    pub client: Arc<Client>,
    /// What it waits for.
    pub awaited: Awaited,
    /// The keys, each once.
    pub keys: Vec<AwaitedKey>,
    seat: Mutex<Seat>,
}

impl Waiter {
    /// A client that waits for nothing but its own request, which another thread runs; it is in no queue.
    pub fn apart(client: &Arc<Client>) -> Arc<Self> {
        let (client, seat) = (Arc::clone(client), Mutex::new(Seat::Coming));
        Arc::new(Self { number: 0, client, awaited: Awaited::List, keys: Vec::new(), seat })
    }

    /// For the thread that runs the request: takes it.
    pub fn take_away(&self) -> Option<Box<dyn Any + Send>> {
        let mut seat = self.seat.lock();
        match std::mem::replace(&mut *seat, Seat::Away) {
            Seat::Waiting(occupant) => Some(occupant),
            other => {
                *seat = other;
                None
            }
        }
    }

    /// Brings it back with its reply; if the client is gone, the occupant is the caller's.
    pub fn bring_back(&self, occupant: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        let mut seat = self.seat.lock();
        if !matches!(*seat, Seat::Away) {
            return Some(occupant);
        }
        *seat = Seat::Served(occupant);
        drop(seat);
        self.client.signal(signal::RESUME);
        None
    }

    /// The seat, for whoever serves.
    pub fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock()
    }

    /// Sits down.
    ///
    /// # Errors
    /// A key changed meanwhile: the client must try again, with what it came with.
    pub fn sit(&self, occupant: Box<dyn Any + Send>) -> Result<(), Box<dyn Any + Send>> {
        let mut seat = self.seat.lock();
        if matches!(*seat, Seat::Missed) {
            *seat = Seat::Left;
            return Err(occupant);
        }
        *seat = Seat::Waiting(occupant);
        Ok(())
    }

    /// Takes what lies in the seat if the wait is over.
    pub fn end(&self) -> Option<Seat> {
        let mut seat = self.seat.lock();
        match *seat {
            Seat::Served(_) | Seat::Released(..) => Some(std::mem::replace(&mut *seat, Seat::Left)),
            _ => None,
        }
    }

    /// Takes what lies in the seat, whatever it is.
    pub fn leave(&self) -> Seat {
        std::mem::replace(&mut *self.seat.lock(), Seat::Left)
    }

    /// Ends the wait of a client that nobody has served; says whether it was waiting.
    pub fn release(&self, why: Release) -> bool {
        let mut seat = self.seat.lock();
        if !matches!(*seat, Seat::Waiting(_)) {
            return false;
        }
        if let Seat::Waiting(occupant) = std::mem::replace(&mut *seat, Seat::Left) {
            *seat = Seat::Released(occupant, why);
        }
        drop(seat);
        self.client.signal(signal::RESUME);
        true
    }
}

type Queues = [BTreeMap<u64, Arc<Waiter>>; Awaited::ALL.len()];

/// Everybody who waits. `count` is of those who wait for a key of this node.
#[derive(Default)]
pub struct Blocked {
    by_key: DashMap<AwaitedKey, Queues, RandomState>,
    by_client: DashMap<u64, Arc<Waiter>, RandomState>,
    last_number: AtomicU64,
    count: AtomicUsize,
}

impl Blocked {
    /// Whether anybody waits for a key of this node.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Queues a client up for keys, behind everybody else, or at the place `number` that it had before. To be called
    /// under the locks of the keys' shards.
    pub fn enter(
        &self,
        client: &Arc<Client>,
        awaited: Awaited,
        keys: Vec<AwaitedKey>,
        number: Option<u64>,
    ) -> Arc<Waiter> {
        let number = number.unwrap_or_else(|| self.last_number.fetch_add(1, Ordering::Relaxed) + 1);
        let client = Arc::clone(client);
        let waiter = Arc::new(Waiter { number, client, awaited, keys, seat: Mutex::new(Seat::Coming) });
        for key in &waiter.keys {
            let mut queues = self.by_key.entry(key.clone()).or_default();
            queues[awaited as usize].insert(number, Arc::clone(&waiter));
        }
        self.by_client.insert(waiter.client.id, Arc::clone(&waiter));
        self.count.fetch_add(1, Ordering::Relaxed);
        waiter
    }

    /// Notes a client that waits at another node, so that it can be released here; it is in no queue, and whoever
    /// changes keys does not hear of it.
    pub fn enter_away(&self, client: &Arc<Client>) -> Arc<Waiter> {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let (client, seat) = (Arc::clone(client), Mutex::new(Seat::Waiting(Box::new(()))));
        let waiter = Arc::new(Waiter { number, client, awaited: Awaited::List, keys: Vec::new(), seat });
        self.by_client.insert(waiter.client.id, Arc::clone(&waiter));
        waiter
    }

    /// Takes a client out of the queues.
    pub fn remove(&self, waiter: &Waiter) {
        for key in &waiter.keys {
            if let Some(mut queues) = self.by_key.get_mut(key) {
                queues[waiter.awaited as usize].remove(&waiter.number);
            }
            self.by_key.remove_if(key, |_, queues| queues.iter().all(BTreeMap::is_empty));
        }
        let is_known = |_: &u64, known: &Arc<Waiter>| known.number == waiter.number;
        let was_known = self.by_client.remove_if(&waiter.client.id, is_known).is_some();
        // Who waits for no key was not counted.
        if was_known && !waiter.keys.is_empty() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The first one behind `after` that waits for a key in this way.
    pub fn next(&self, key: &AwaitedKey, awaited: Awaited, after: u64) -> Option<Arc<Waiter>> {
        let queues = self.by_key.get(key)?;
        queues[awaited as usize].range(after + 1..).next().map(|(_, waiter)| Arc::clone(waiter))
    }

    /// How many keys are waited for, and how many of them by somebody who is told when they are removed. O(keys).
    pub fn keys(&self) -> (usize, usize) {
        let hears = |queues: &Queues| !queues[Awaited::StreamGroup as usize].is_empty();
        self.by_key
            .iter()
            .fold((0, 0), |(all, hearing), queues| (all + 1, hearing + usize::from(hears(queues.value()))))
    }

    /// What the client of this id waits for, if it waits.
    pub fn of_client(&self, id: u64) -> Option<Arc<Waiter>> {
        self.by_client.get(&id).map(|waiter| Arc::clone(waiter.value()))
    }

    /// Has everybody try again by himself: slots have changed hands.
    pub fn try_again(&self) {
        if self.any() {
            let waiters: Vec<Arc<Waiter>> =
                self.by_client.iter().map(|entry| Arc::clone(entry.value())).collect();
            for waiter in waiters {
                waiter.release(Release::Again);
            }
        }
    }
}
