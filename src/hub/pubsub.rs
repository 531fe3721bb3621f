//! Who is subscribed to which channel, pattern or shard channel, and the delivery of messages to them.
//!
//! A message is encoded once for each protocol and for each pattern that it matches, and queued to each subscriber
//! under the lock of the name alone: whoever has left a name gets nothing more by it, and who subscribes to another name
//! waits for nobody. The first few subscribers are woken at once, the others by their workers' couriers
//! (`hub::courier`). Subscribing and leaving cost the same however many others are subscribed.
//!
//! Locks here are leaves, but for those of a client's outbox: a shard of the data may be locked while a message is
//! delivered. The one exception is the switch of keyspace events ([`PubSub::may_switch`]). Counts of subscriptions live
//! in the [`Client`]; what names a connection has to give up when it ends, its session knows.

mod ending;
mod patterns;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use smallvec::SmallVec;

use crate::base::limits::COURIER_FREE;
use crate::base::lock::Mutex;
use crate::base::slot::{Slot, slot_of};
use crate::config::types::OutputLimits;
use crate::hub::clients::{Client, OutputLimit, Pushed};
use crate::hub::courier::Courier;
use crate::hub::message::Message;
use patterns::Patterns;
use topics::{Names, Topic, Topics};

/// What a name stands for; the number is the index into [`Client::subscriptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// A channel.
    Channel,
    /// All channels that match a pattern.
    Pattern,
    /// A channel that belongs to the slot of its name.
    Shard,
}

impl Kind {
    /// All of them, by their numbers.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// What the channels of keyspace events begin with.
const EVENT_CHANNELS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// A name and its subscribers.
pub type Subscribed = (Box<[u8]>, Vec<Arc<Client>>);

/// Told with true when the first subscription can match a channel of keyspace events, with false when none can.
pub type Switch = Box<dyn Fn(bool) + Send + Sync>;

/// The subscriptions of all clients; see the module.
#[derive(Default)]
pub struct PubSub {
    channels: Topics,
    patterns: Patterns,
    shards: Topics,
    /// Subscriptions that can match a channel of keyspace events.
    event_names: Mutex<usize>,
    switch: Option<Switch>,
    /// By worker.
    couriers: Box<[Courier]>,
    clients: AtomicUsize,
    published: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were given to this node's subscribers, if it had any.
    pub published: u64,
    /// Messages queued to a subscriber: each as often as somebody gets it.
    pub delivered: u64,
    /// Subscribers that were closed because they were too slow.
    pub dropped: u64,
}

impl PubSub {
    /// Nobody is subscribed. `switch` is told whether anybody can hear of keyspace events; so many workers serve
    /// clients.
    pub fn new(switch: Switch, workers: usize) -> Self {
        let couriers = std::iter::repeat_with(Courier::default).take(workers).collect();
        Self { switch: Some(switch), couriers, ..Self::default() }
    }

    /// The courier of a worker, by its number.
    pub fn courier(&self, worker: usize) -> Option<&Courier> {
        self.couriers.get(worker)
    }

    /// Subscribes a client; false if it was already.
    pub fn subscribe(&self, kind: Kind, name: &[u8], client: &Arc<Client>) -> bool {
        let is_new = self.names(kind).enter(name, client);
        if is_new {
            if client.count_subscription(kind as usize, true) {
                self.clients.fetch_add(1, Ordering::Relaxed);
            }
            self.note_event_name(kind, name, true);
        }
        is_new
    }

    /// Ends a subscription; false if there was none. Nothing is queued to the client by this name any more.
    pub fn unsubscribe(&self, kind: Kind, name: &[u8], client: &Client) -> bool {
        let was_there = self.names(kind).leave(name, client.id);
        if was_there {
            if client.count_subscription(kind as usize, false) {
                self.clients.fetch_sub(1, Ordering::Relaxed);
            }
            self.note_event_name(kind, name, false);
        }
        was_there
    }

    /// Queues a message to the subscribers of the channel and of all patterns that match it; how many get it, counting
    /// those twice that get it twice. `now_ms` is Unix time.
    pub fn publish(&self, channel: &[u8], message: &[u8], limits: &OutputLimits, now_ms: u64) -> usize {
        let limit = limits.pubsub.into();
        let mut receivers = 0;
        if let Some(topic) = self.channels.find(channel) {
            let elements: [&[u8]; 3] = [b"message", channel, message];
            receivers += self.send(&topic, &Message::new(&elements), limit, now_ms);
        }
        if self.patterns.any() {
            let mut matching: SmallVec<[Arc<Topic>; 8]> = SmallVec::new();
            self.patterns.collect_matching(channel, &mut matching);
            for topic in matching {
                let elements: [&[u8]; 4] = [b"pmessage", topic.name(), channel, message];
                receivers += self.send(&topic, &Message::new(&elements), limit, now_ms);
            }
        }
        self.count(receivers);
        receivers
    }

    /// Queues a message to the subscribers of a shard channel; how many get it. `now_ms` is Unix time.
    pub fn publish_shard(&self, channel: &[u8], message: &[u8], limits: &OutputLimits, now_ms: u64) -> usize {
        let Some(topic) = self.shards.find(channel) else {
            self.count(0);
            return 0;
        };
        let elements: [&[u8]; 3] = [b"smessage", channel, message];
        let receivers = self.send(&topic, &Message::new(&elements), limits.pubsub.into(), now_ms);
        self.count(receivers);
        receivers
    }

    fn send(&self, topic: &Topic, message: &Message<'_>, limit: OutputLimit, now_ms: u64) -> usize {
        let mut receivers = 0;
        let mut free = COURIER_FREE;
        let mut batches: SmallVec<[Vec<Arc<Client>>; 8]> = SmallVec::new();
        topic.each(|client| match client.push_message(message, limit, now_ms) {
            Pushed::Gone | Pushed::TooMuch => {}
            Pushed::Queued => receivers += 1,
            Pushed::ToList => {
                receivers += 1;
                if free > 0 || client.worker >= self.couriers.len() {
                    free = free.saturating_sub(1);
                    return client.wake_listed();
                }
                batches.resize_with(self.couriers.len(), Vec::new);
                batches[client.worker].push(Arc::clone(client));
            }
        });
        for (courier, batch) in self.couriers.iter().zip(batches) {
            if !batch.is_empty() {
                courier.add(batch);
            }
        }
        receivers
    }

    /// Counts a subscriber that was closed because it does not read what it gets.
    pub fn note_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, receivers: usize) {
        self.published.fetch_add(1, Ordering::Relaxed);
        if receivers > 0 {
            self.delivered.fetch_add(receivers as u64, Ordering::Relaxed);
        }
    }

    /// Number of clients that are subscribed to anything.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        Counts {
            published: self.published.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Number of names of a kind that somebody is subscribed to.
    pub fn len(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel => self.channels.len(),
            Kind::Pattern => self.patterns.len(),
            Kind::Shard => self.shards.len(),
        }
    }

    /// Whether nobody is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        Kind::ALL.iter().all(|&kind| self.len(kind) == 0)
    }

    /// The channels or shard channels that somebody is subscribed to, in no order; not patterns.
    pub fn active(&self, kind: Kind) -> Vec<Box<[u8]>> {
        match kind {
            Kind::Channel => self.channels.names(),
            Kind::Pattern => Vec::new(),
            Kind::Shard => self.shards.names(),
        }
    }

    /// Number of subscribers of a name.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.names(kind).find(name).map_or(0, |topic| topic.len())
    }

    /// The shard channels for whose slots `is_asked` says yes, each with its subscribers.
    pub fn shard_channels(&self, is_asked: impl Fn(Slot) -> bool) -> Vec<Subscribed> {
        let mut names = self.shards.names();
        names.retain(|name| is_asked(slot_of(name)));
        let with_members = |name: Box<[u8]>| {
            let mut members = Vec::new();
            if let Some(topic) = self.shards.find(&name) {
                topic.each(|client| members.push(Arc::clone(client)));
            }
            (name, members)
        };
        names.into_iter().map(with_members).collect()
    }

    fn names(&self, kind: Kind) -> &dyn Names {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    /// Whether a subscription to this name can match a channel of keyspace events: its beginning and its end may switch
    /// them on and off, and no shard may be locked meanwhile.
    pub fn may_switch(&self, kind: Kind, name: &[u8]) -> bool {
        match kind {
            Kind::Channel => EVENT_CHANNELS.iter().any(|begin| name.starts_with(begin)),
            Kind::Pattern => EVENT_CHANNELS.iter().any(|begin| patterns::can_match(name, begin)),
            Kind::Shard => false,
        }
    }

    /// Keeps count of the names that can match a channel of keyspace events.
    fn note_event_name(&self, kind: Kind, name: &[u8], more: bool) {
        let Some(switch) = &self.switch else { return };
        if !self.may_switch(kind, name) {
            return;
        }
        // Under the lock, so that the switch is told in order.
        let mut count = self.event_names.lock();
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
        if *count == usize::from(more) {
            switch(more);
        }
    }
}

#[cfg(test)]
mod tests;
