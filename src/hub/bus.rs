//! Messages of PUBLISH on their way between the nodes of a cluster: those of this node's clients, which the tasks among
//! nodes send to every other member, and those of other nodes, which the workers hand to this node's subscribers.
//!
//! Publishers append to one queue, so the messages of each leave in the order in which it published them; what has come
//! from one node is delivered by one worker, in the order in which it came. Records lie one behind the other in batches,
//! so that a message costs neither an allocation nor a frame of its own. Without other members a publisher pays one
//! relaxed load. Messages of SPUBLISH go to members with a gateway alone, whose clients may subscribe to shard channels of
//! any slot.
//!
//! Nobody ever waits for room: a message that finds none is lost for the other nodes, and counted. Bounds: both queues
//! hold [`BUS_QUEUE_BYTES`] each, heads of records included, which bounds their messages too; a batch holds
//! [`BUS_BATCH_BYTES`] or one message, which has [`BUS_MESSAGE_MAX_BYTES`] at most. The locks are leaves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::base::limits::{BUS_BATCH_BYTES, BUS_MESSAGE_MAX_BYTES, BUS_QUEUE_BYTES};
use crate::base::lock::Mutex;

/// What stands before a record's channel and message: their lengths, 4 bytes each.
const RECORD_HEAD_BYTES: usize = 8;

/// Published messages since the start.
#[derive(Debug, Default)]
pub struct BusCounts {
    /// Handed to a link to another node; once for each node.
    pub sent: AtomicU64,
    /// Come from other nodes.
    pub received: AtomicU64,
    /// Of this node's clients, lost for another node because it was out of reach or too slow; once for each node.
    pub dropped: AtomicU64,
    /// Come from other nodes and not delivered: there was no room, or their sender is no member, or they came late.
    pub refused: AtomicU64,
}

/// What the channels of published messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Channels of the whole cluster.
    Cluster,
    /// Shard channels.
    Shard,
}

/// Records that travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What their channels are.
    pub scope: Scope,
    /// How many there are.
    pub messages: u64,
    /// The records; [`Records`] reads them.
    pub records: Vec<u8>,
}

/// The queues; see the module.
#[derive(Debug)]
pub struct Bus {
    /// Whether there are other members.
    is_open: AtomicBool,
    /// Whether some of them have a gateway.
    has_gateways: AtomicBool,
    outgoing: Mutex<Queue<Batch>>,
    /// Told when the queue was empty and is not.
    posted: Notify,
    /// One for each worker.
    inboxes: Box<[Inbox]>,
    /// Counts since the start.
    pub counts: BusCounts,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }
}

#[derive(Debug, Default)]
struct Inbox {
    queue: Mutex<Queue<(Scope, Bytes)>>,
    came: Notify,
}

impl Bus {
    /// Closed, with an inbox for each of so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            is_open: AtomicBool::new(false),
            has_gateways: AtomicBool::new(false),
            outgoing: Mutex::default(),
            posted: Notify::new(),
            inboxes: (0..workers).map(|_| Inbox::default()).collect(),
            counts: BusCounts::default(),
        }
    }

    /// Sends a message to the subscribers of `channel` at all other members; does nothing where there are none.
    #[inline]
    pub fn publish(&self, channel: &[u8], message: &[u8]) {
        if self.is_open.load(Ordering::Relaxed) {
            self.post(Scope::Cluster, channel, message);
        }
    }

    /// Sends a message to the subscribers of a shard channel at the gateways of other members.
    #[inline]
    pub fn publish_shard(&self, channel: &[u8], message: &[u8]) {
        if self.has_gateways.load(Ordering::Relaxed) {
            self.post(Scope::Shard, channel, message);
        }
    }

    fn post(&self, scope: Scope, channel: &[u8], message: &[u8]) {
        let length = RECORD_HEAD_BYTES + channel.len() + message.len();
        if length > BUS_MESSAGE_MAX_BYTES {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = {
            let mut queue = self.outgoing.lock();
            if queue.bytes + length > BUS_QUEUE_BYTES {
                drop(queue);
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let was_empty = queue.waiting.is_empty();
            queue.bytes += length;
            match queue.waiting.back_mut() {
                Some(last) if last.scope == scope && last.records.len() + length <= BUS_BATCH_BYTES => {
                    last.append(channel, message);
                }
                _ => {
                    let mut batch = Batch::new(scope);
                    batch.append(channel, message);
                    queue.waiting.push_back(batch);
                }
            }
            was_empty
        };
        if was_empty {
            self.posted.notify_one();
        }
    }

    /// Says whether there are other members, and some with a gateway.
    pub fn set_open(&self, others: bool, gateways: bool) {
        self.is_open.store(others, Ordering::Relaxed);
        self.has_gateways.store(gateways, Ordering::Relaxed);
    }

    /// Waits for what this node's clients have published; for one task. Dropping the future loses nothing.
    pub async fn posted(&self) -> Batch {
        loop {
            if let Some(batch) = self.take_posted() {
                return batch;
            }
            self.posted.notified().await;
        }
    }

    fn take_posted(&self) -> Option<Batch> {
        let mut queue = self.outgoing.lock();
        let batch = queue.waiting.pop_front()?;
        queue.bytes -= batch.records.len();
        Some(batch)
    }

    /// Takes in the records that came from another node. All of one node must come with the same `number`, which chooses
    /// the worker that delivers them. False if there is no room.
    pub fn take_in(&self, number: u64, scope: Scope, records: Bytes) -> bool {
        let Some(at) = number.checked_rem(self.inboxes.len() as u64) else { return false };
        let Some(inbox) = self.inboxes.get(at as usize) else { return false };
        {
            let mut queue = inbox.queue.lock();
            if queue.bytes + records.len() > BUS_QUEUE_BYTES {
                return false;
            }
            queue.bytes += records.len();
            queue.waiting.push_back((scope, records));
        }
        inbox.came.notify_one();
        true
    }

    /// Waits for what other nodes have sent to this worker's inbox; for one task of it. One that has no inbox waits for
    /// ever. Dropping the future loses nothing.
    pub async fn arrived(&self, worker: usize) -> (Scope, Bytes) {
        let Some(inbox) = self.inboxes.get(worker) else { return std::future::pending().await };
        loop {
            if let Some(arrived) = inbox.take() {
                return arrived;
            }
            inbox.came.notified().await;
        }
    }
}

impl Inbox {
    fn take(&self) -> Option<(Scope, Bytes)> {
        let mut queue = self.queue.lock();
        let (scope, records) = queue.waiting.pop_front()?;
        queue.bytes -= records.len();
        Some((scope, records))
    }
}

impl Batch {
    fn new(scope: Scope) -> Self {
        Self { scope, messages: 0, records: Vec::new() }
    }

    fn append(&mut self, channel: &[u8], message: &[u8]) {
        // Both are far below 4 GiB: a message that is longer than a link takes is never appended.
        self.records.extend_from_slice(&(channel.len() as u32).to_le_bytes());
        self.records.extend_from_slice(&(message.len() as u32).to_le_bytes());
        self.records.extend_from_slice(channel);
        self.records.extend_from_slice(message);
        self.messages += 1;
    }
}

/// Reads records: channel and message of each, in order. Bytes that are none end it; whoever sent them knows the
/// cluster's secret, but may be of another version.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Of what came from another node.
    pub fn new(records: &'a [u8]) -> Self {
        Self { rest: records }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (channel_len, rest) = self.rest.split_first_chunk::<4>()?;
        let (message_len, rest) = rest.split_first_chunk::<4>()?;
        let (channel, rest) = rest.split_at_checked(u32::from_le_bytes(*channel_len) as usize)?;
        let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*message_len) as usize)?;
        self.rest = rest;
        Some((channel, message))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;

    use super::{Batch, Bus, RECORD_HEAD_BYTES, Records, Scope};
    use crate::base::limits::{BUS_BATCH_BYTES, BUS_MESSAGE_MAX_BYTES, BUS_QUEUE_BYTES};
    use crate::base::rng::Rng;

    /// What a future gives without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn open() -> Bus {
        let bus = Bus::new(2);
        bus.set_open(true, false);
        bus
    }

    #[test]
    fn a_closed_bus_takes_nothing() {
        let bus = Bus::new(2);
        bus.publish(b"c", b"m");
        assert_eq!(now(bus.posted()), None);
        bus.set_open(true, false);
        bus.publish(b"c", b"m");
        bus.publish_shard(b"c", b"m");
        assert_eq!(now(bus.posted()).map(|batch| (batch.scope, batch.messages)), Some((Scope::Cluster, 1)));
        assert_eq!(now(bus.posted()), None, "there is no gateway");
        bus.set_open(true, true);
        bus.publish(b"c", b"m");
        bus.publish_shard(b"c", b"m");
        assert_eq!(now(bus.posted()).map(|batch| batch.scope), Some(Scope::Cluster));
        assert_eq!(now(bus.posted()).map(|batch| batch.scope), Some(Scope::Shard), "in a batch of its own");
    }

    #[test]
    fn messages_come_out_in_order_and_in_few_batches() {
        let bus = open();
        for number in 0..50_000u32 {
            bus.publish(b"channel", &number.to_be_bytes());
        }
        let (mut next, mut batches) = (0u32, 0);
        while let Some(Batch { messages, records, .. }) = now(bus.posted()) {
            assert!(records.len() <= BUS_BATCH_BYTES);
            let mut read = Records::new(&records);
            let before = next;
            for (channel, message) in &mut read {
                assert_eq!((channel, message), (&b"channel"[..], &next.to_be_bytes()[..]));
                next += 1;
            }
            assert!(read.rest().is_empty() && u64::from(next - before) == messages);
            batches += 1;
        }
        assert_eq!(next, 50_000);
        let bytes = 50_000 * (RECORD_HEAD_BYTES + 7 + 4);
        assert!(batches <= bytes / BUS_BATCH_BYTES + 1, "{batches} batches for {bytes} bytes");
    }

    #[test]
    fn what_is_too_long_or_too_much_is_dropped_and_counted() {
        let bus = open();
        let dropped = || bus.counts.dropped.load(Ordering::Relaxed);
        let longest = vec![0; BUS_MESSAGE_MAX_BYTES - RECORD_HEAD_BYTES - 1];
        bus.publish(b"cc", &longest);
        assert_eq!((dropped(), now(bus.posted())), (1, None));
        let room = BUS_QUEUE_BYTES / BUS_MESSAGE_MAX_BYTES;
        for _ in 0..room + 2 {
            bus.publish(b"c", &longest);
        }
        assert_eq!(dropped(), 3, "two had no room");
        assert_eq!(std::iter::from_fn(|| now(bus.posted())).count(), room);
        bus.publish(b"c", &longest);
        assert_eq!(dropped(), 3, "there is room again");
    }

    #[test]
    fn an_inbox_keeps_order_and_its_bound() {
        let bus = open();
        let take_in = |number, records: Bytes| bus.take_in(number, Scope::Cluster, records);
        let first = Bytes::from_static(b"first");
        assert!(take_in(2, first.clone()) && bus.take_in(2, Scope::Shard, first.clone()));
        assert_eq!(now(bus.arrived(1)), None, "2 is worker 0's");
        assert_eq!(now(bus.arrived(0)), Some((Scope::Cluster, first.clone())));
        assert_eq!(now(bus.arrived(0)), Some((Scope::Shard, first.clone())));
        assert_eq!(now(bus.arrived(0)), None);
        assert_eq!(now(bus.arrived(7)), None, "there is no such worker");
        let large = Bytes::from(vec![0; BUS_QUEUE_BYTES]);
        assert!(take_in(1, large) && !take_in(1, first.clone()));
        assert!(take_in(0, first.clone()), "the other inbox has room");
        assert!(now(bus.arrived(1)).is_some() && take_in(1, first));
        assert!(!Bus::new(0).take_in(1, Scope::Cluster, Bytes::new()));
    }

    #[test]
    fn whatever_comes_is_read_without_a_panic() {
        let mut rng = Rng::seeded(7);
        let mut batch = Batch::new(Scope::Cluster);
        batch.append(b"news", b"hello");
        batch.append(b"", b"");
        assert_eq!(
            Records::new(&batch.records).collect::<Vec<_>>(),
            [(&b"news"[..], &b"hello"[..]), (b"", b"")]
        );
        for length in 0..batch.records.len() {
            let whole = Records::new(&batch.records[..length]).count();
            assert_eq!(whole, usize::from(length >= RECORD_HEAD_BYTES + 9), "cut to {length} bytes");
        }
        for _ in 0..2_000 {
            let mut bytes = batch.records.clone();
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
            let read: usize = Records::new(&bytes).map(|(c, m)| c.len() + m.len() + RECORD_HEAD_BYTES).sum();
            assert!(read <= bytes.len());
        }
    }
}
