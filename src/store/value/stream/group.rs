//! A consumer group: how far it has read, its consumers, and the entries that were delivered and not yet acknowledged.
//!
//! A pending entry stands in the group's list, with its consumer and its deliveries, and in the index of that consumer:
//! every change here keeps the two in step. Consumers have numbers, so that a pending entry names its consumer in four
//! bytes; the order of their names is kept aside. Bytes are counted along.

use crate::store::object::size_class;
use crate::store::value::stream::chunked::Chunked;
use crate::store::value::stream::id::StreamId;
use crate::store::value::stream::log::Log;
use std::collections::BTreeMap;
use std::fmt;

/// A consumer's number within its group. Good until the consumer is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// A pending entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nack {
    /// Unix ms of the last delivery.
    pub delivery_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Who it was delivered to.
    pub consumer: ConsumerId,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    pending: Chunked<()>,
    /// Unix ms at which it last tried to read or claim.
    pub seen_ms: u64,
    /// Unix ms at which it last got an entry that way, if ever.
    pub active_ms: Option<u64>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries are pending for it.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Its pending entries from `start` on, ascending.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = StreamId> {
        self.pending.iter_from(start).map(|(id, ())| id)
    }
}

/// A consumer as a dump holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedConsumer {
    /// Its name.
    pub name: Vec<u8>,
    /// As [`Consumer::seen_ms`].
    pub seen_ms: u64,
    /// As [`Consumer::active_ms`].
    pub active_ms: Option<u64>,
    /// The entries that are pending for it.
    pub pending: Vec<StreamId>,
}

/// A consumer group; see the module.
pub struct Group {
    last_id: StreamId,
    entries_read: Option<u64>,
    pending: Chunked<Nack>,
    consumers: Vec<Option<Consumer>>,
    /// Numbers that are free.
    vacant: Vec<u32>,
    /// Numbers in use, in the order of their consumers' names.
    by_name: Vec<u32>,
    names_bytes: usize,
    /// Bytes of the consumers' indexes of pending entries.
    indexes_bytes: usize,
}

impl fmt::Debug for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consumers: Vec<&Consumer> = self.consumers().collect();
        formatter
            .debug_struct("Group")
            .field("last_id", &self.last_id)
            .field("entries_read", &self.entries_read)
            .field("pending", &self.pending)
            .field("consumers", &consumers)
            .finish()
    }
}

impl Clone for Group {
    fn clone(&self) -> Self {
        let consumers = self.consumers.clone();
        // Copies have no room to spare.
        let indexes_bytes = consumers.iter().flatten().map(|consumer| consumer.pending.heap_bytes()).sum();
        Self {
            pending: self.pending.clone(),
            consumers,
            vacant: self.vacant.clone(),
            by_name: self.by_name.clone(),
            indexes_bytes,
            ..*self
        }
    }
}

impl Group {
    /// A group that has been given everything up to `last_id`; that these were `entries_read` entries, if it is known.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self {
            last_id,
            entries_read,
            pending: Chunked::new(),
            consumers: Vec::new(),
            vacant: Vec::new(),
            by_name: Vec::new(),
            names_bytes: 0,
            indexes_bytes: 0,
        }
    }

    /// A group with what a dump holds of it; none if a pending entry has no consumer or several, or a name comes twice.
    pub fn load(
        last_id: StreamId,
        entries_read: Option<u64>,
        pending: impl IntoIterator<Item = (StreamId, u64, u64)>,
        consumers: impl IntoIterator<Item = LoadedConsumer>,
    ) -> Option<Self> {
        let mut group = Self::new(last_id, entries_read);
        let mut unowned = BTreeMap::new();
        for (id, delivery_ms, deliveries) in pending {
            if unowned.insert(id, (delivery_ms, deliveries)).is_some() {
                return None;
            }
        }
        for loaded in consumers {
            let consumer = group.create_consumer(&loaded.name, loaded.seen_ms)?;
            group.consumer_mut(consumer)?.active_ms = loaded.active_ms;
            for id in loaded.pending {
                let (delivery_ms, deliveries) = unowned.remove(&id)?;
                group.assign(id, Nack { delivery_ms, deliveries, consumer });
            }
        }
        unowned.is_empty().then_some(group)
    }

    /// Bytes that the allocator holds for what is in it. O(1).
    pub fn heap_bytes(&self) -> usize {
        self.pending.heap_bytes()
            + self.indexes_bytes
            + size_class(self.consumers.capacity() * size_of::<Option<Consumer>>())
            + size_class(self.by_name.capacity() * size_of::<u32>())
            + size_class(self.vacant.capacity() * size_of::<u32>())
            + self.names_bytes
    }

    /// The last entry that it was given as a new one.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// How many entries the stream had had up to that one, where it is known.
    pub fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// Sets both, forwards or backwards.
    pub fn set_id(&mut self, last_id: StreamId, entries_read: Option<u64>) {
        self.last_id = last_id;
        self.entries_read = entries_read;
    }

    /// Moves on to `last_id`, if that is ahead; says so. The count stays as it is.
    pub fn raise_id(&mut self, last_id: StreamId) -> bool {
        let ahead = last_id > self.last_id;
        if ahead {
            self.last_id = last_id;
        }
        ahead
    }

    /// Notes that the group is given `id`, an entry of `log`.
    pub fn advance(&mut self, log: &Log, id: StreamId) {
        if id <= self.last_id {
            return;
        }
        let marks = log.marks();
        let countable = self.last_id >= marks.first_id && !log.has_gap_from(self.last_id);
        self.entries_read = match self.entries_read {
            Some(entries_read) if countable => Some(entries_read.wrapping_add(1)),
            entries_read if marks.entries_added == 0 => entries_read,
            _ => log.count_up_to(id),
        };
        self.last_id = id;
    }

    // ---- consumers ---------------------------------------------------------------------------------------------

    /// How many consumers there are.
    pub fn consumers_len(&self) -> usize {
        self.by_name.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.by_name.iter().filter_map(|number| self.consumer(ConsumerId(*number)))
    }

    /// The same from a place in that order on.
    pub fn consumers_from(&self, place: usize) -> impl Iterator<Item = &Consumer> {
        self.by_name.iter().skip(place).filter_map(|number| self.consumer(ConsumerId(*number)))
    }

    /// Where a consumer stands in that order.
    pub fn consumer_place(&self, id: ConsumerId) -> Option<usize> {
        self.position(self.consumer(id)?.name()).ok()
    }

    /// The consumer of this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        let at = self.position(name).ok()?;
        self.by_name.get(at).map(|number| ConsumerId(*number))
    }

    /// The consumer of this number.
    pub fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        self.consumers.get(id.0 as usize)?.as_ref()
    }

    /// The consumer of this number, to be changed.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.consumers.get_mut(id.0 as usize)?.as_mut()
    }

    /// Adds a consumer; none if the name is taken.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> Option<ConsumerId> {
        let Err(at) = self.position(name) else {
            return None;
        };
        let consumer =
            Consumer { name: name.into(), pending: Chunked::new(), seen_ms: now_ms, active_ms: None };
        let number = match self.vacant.pop() {
            Some(number) => {
                if let Some(place) = self.consumers.get_mut(number as usize) {
                    *place = Some(consumer);
                }
                number
            }
            None => {
                self.consumers.push(Some(consumer));
                (self.consumers.len() - 1) as u32
            }
        };
        self.by_name.insert(at, number);
        self.names_bytes += size_class(name.len());
        Some(ConsumerId(number))
    }

    /// Removes a consumer with all that is pending for it; how many entries these were.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let at = self.position(name).ok()?;
        let number = self.by_name.remove(at);
        let consumer = self.consumers.get_mut(number as usize)?.take()?;
        self.vacant.push(number);
        self.names_bytes -= size_class(name.len());
        self.indexes_bytes -= consumer.pending.heap_bytes();
        for (id, ()) in consumer.pending.iter() {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Where the name stands among the names, or would.
    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|number| {
            self.consumer(ConsumerId(*number)).map_or(&b""[..], Consumer::name).cmp(name)
        })
    }

    // ---- pending entries ---------------------------------------------------------------------------------------

    /// How many entries are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The smallest and the greatest pending entry.
    pub fn pending_ends(&self) -> Option<(StreamId, StreamId)> {
        let id = |place| self.pending.at(place).map(|(id, _)| id);
        Some((id(self.pending.first()?)?, id(self.pending.last()?)?))
    }

    /// The pending entries from `start` on, ascending.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &Nack)> {
        self.pending.iter_from(start)
    }

    /// What is known of a pending entry.
    pub fn nack(&self, id: StreamId) -> Option<Nack> {
        self.pending.get(id).copied()
    }

    /// Makes an entry pending as `nack` says, whether it was before, and for whom, or not.
    pub fn assign(&mut self, id: StreamId, nack: Nack) {
        let owner = match self.pending.insert(id, nack) {
            Some(before) if before.consumer == nack.consumer => return,
            Some(before) => Some(before.consumer),
            None => None,
        };
        if let Some(owner) = owner {
            self.edit_index(owner, |index| index.remove(id));
        }
        self.edit_index(nack.consumer, |index| index.insert(id, ()));
    }

    /// Makes an entry pending as a dump has it, for the consumer at a place in the order of names; false, and nothing is
    /// done, if there is none or the entry is pending already.
    pub fn load_pending(&mut self, id: StreamId, delivery_ms: u64, deliveries: u64, place: usize) -> bool {
        let Some(&number) = self.by_name.get(place).filter(|_| self.pending.get(id).is_none()) else {
            return false;
        };
        self.assign(id, Nack { delivery_ms, deliveries, consumer: ConsumerId(number) });
        true
    }

    fn edit_index(&mut self, consumer: ConsumerId, edit: impl FnOnce(&mut Chunked<()>) -> Option<()>) {
        if let Some(Some(consumer)) = self.consumers.get_mut(consumer.0 as usize) {
            let before_bytes = consumer.pending.heap_bytes();
            edit(&mut consumer.pending);
            self.indexes_bytes = self.indexes_bytes - before_bytes + consumer.pending.heap_bytes();
        }
    }

    /// Counts one more delivery of an entry that is pending.
    pub fn redeliver(&mut self, id: StreamId, now_ms: u64) {
        if let Some(nack) = self.pending.get_mut(id) {
            nack.delivery_ms = now_ms;
            nack.deliveries = nack.deliveries.wrapping_add(1);
        }
    }

    /// Drops an entry from what is pending; false if it was not.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(nack) = self.pending.remove(id) else {
            return false;
        };
        self.edit_index(nack.consumer, |index| index.remove(id));
        true
    }

    #[cfg(test)]
    pub(super) fn validate(&self) {
        let mut names: Vec<&[u8]> = self.consumers().map(Consumer::name).collect();
        assert_eq!(names.len(), self.consumers.iter().flatten().count());
        assert_eq!(names.iter().map(|name| size_class(name.len())).sum::<usize>(), self.names_bytes);
        assert!(names.is_sorted());
        names.dedup();
        assert_eq!(names.len() + self.vacant.len(), self.consumers.len());
        assert_eq!(self.consumers().map(Consumer::pending_len).sum::<usize>(), self.pending.len());
        let indexes_bytes: usize = self.consumers().map(|consumer| consumer.pending.heap_bytes()).sum();
        assert_eq!(indexes_bytes, self.indexes_bytes);
        self.pending.validate();
        self.consumers().for_each(|consumer| consumer.pending.validate());
        for (id, nack) in self.pending.iter() {
            let consumer = self.consumer(nack.consumer).expect("a pending entry has a consumer");
            assert!(consumer.pending.get(id).is_some());
        }
    }
}
