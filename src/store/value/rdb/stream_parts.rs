//! A large stream in parts: nodes first, then groups, each with its consumers and then with what is pending in it.
//!
//! ```text
//! nodes     the body of a stream of these nodes, with the marks of the whole and no groups; the first part always is one
//! groups    STREAM_GROUPS · items, as many as there are bytes
//!   0 group     name · last identifier (two numbers) · entries read, all bits set where unknown
//!   1 consumer  name · seen, Unix ms (8 bytes) · active, Unix ms (8 bytes), all bits set where never
//!   2 pending   identifier (16 bytes) · delivery, Unix ms (8 bytes) · deliveries · place of its consumer by name
//! ```
//! Consumers and pending entries are of the last group that was named, in this part or an earlier one. Everything stands
//! in the order in which it is kept, so that the other side only ever adds at an end.
//!
//! Parts may come from anybody: what they say is checked, nothing panics, and nothing is allocated before its bytes are
//! there.

use super::kind;
use super::read::{Malformed, Reader, decode};
use super::streams::{ID_BYTES, NONE, id_bytes, id_of, put_marks, two_lengths, two_numbers};
use super::write::{length, text};
use crate::store::value::stream::node::Head;
use crate::store::value::stream::{Consumer, Group, Log, Nack, Stream, StreamId};
use crate::store::value::{Thresholds, Value};

const GROUP: u8 = 0;
const CONSUMER: u8 = 1;
const PENDING: u8 = 2;

/// Where a part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first node whose master is not before this.
    Nodes(StreamId),
    /// With the group at this place by name.
    Group(usize),
    /// With the consumer of the group, both by their places.
    Consumer(usize, usize),
    /// With what is pending in the group from this identifier on.
    Pending(usize, StreamId),
}

impl Default for Start {
    fn default() -> Self {
        Self::Nodes(StreamId::MIN)
    }
}

/// After how much a part ends; one thing fits in any case.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes.
    pub bytes: usize,
    /// Groups, consumers and pending entries.
    pub elements: usize,
}

/// Appends the part that begins at `from`; says where the next begins, nothing after the last.
pub fn encode(stream: &Stream, from: Start, bounds: Bounds, out: &mut Vec<u8>) -> Option<Start> {
    if let Start::Nodes(from) = from {
        let more = encode_nodes(stream.log(), from, bounds, out).map(Start::Nodes);
        return more.or((stream.groups_len() > 0).then_some(Start::Group(0)));
    }
    out.push(kind::STREAM_GROUPS);
    Items { bounds, elements: 0, out }.fill(stream, from)
}

/// The next nodes as a stream without groups; says where those behind them begin.
fn encode_nodes(log: &Log, from: StreamId, bounds: Bounds, out: &mut Vec<u8>) -> Option<StreamId> {
    let mut nodes = log.nodes_from(from);
    let (mut body, mut count, mut entries, mut next) = (Vec::new(), 0, 0, None);
    for (master, node) in nodes.by_ref() {
        if body.len() >= bounds.bytes {
            next = Some(master);
            break;
        }
        text(&mut body, &id_bytes(master));
        text(&mut body, node.as_pack().bytes());
        entries += Head::of(node.as_pack()).map_or(0, |head| head.live);
        count += 1;
    }
    out.push(kind::STREAM_LISTPACKS_3);
    length(out, count);
    out.extend_from_slice(&body);
    put_marks(entries, log.marks(), out);
    length(out, 0);
    next
}

/// A part of groups in the making.
struct Items<'o> {
    bounds: Bounds,
    elements: usize,
    out: &'o mut Vec<u8>,
}

impl Items<'_> {
    fn is_full(&self) -> bool {
        self.elements > 0 && (self.elements >= self.bounds.elements || self.out.len() >= self.bounds.bytes)
    }

    /// Puts items until it is full; says which is the next one. A place that leads nowhere is the end.
    fn fill(mut self, stream: &Stream, mut at: Start) -> Option<Start> {
        loop {
            at = match at {
                // Not reached: nodes are no items.
                Start::Nodes(_) => Start::Group(0),
                Start::Group(number) => {
                    let (name, group) = stream.group_at(number)?;
                    if self.is_full() {
                        return Some(at);
                    }
                    self.put_group(name, group);
                    Start::Consumer(number, 0)
                }
                Start::Consumer(number, from) => {
                    let (_, group) = stream.group_at(number)?;
                    for (place, consumer) in (from..).zip(group.consumers_from(from)) {
                        if self.is_full() {
                            return Some(Start::Consumer(number, place));
                        }
                        self.put_consumer(consumer);
                    }
                    Start::Pending(number, StreamId::MIN)
                }
                Start::Pending(number, from) => {
                    let (_, group) = stream.group_at(number)?;
                    for (id, nack) in group.pending_from(from) {
                        if self.is_full() {
                            return Some(Start::Pending(number, id));
                        }
                        self.put_pending(group, id, nack);
                    }
                    Start::Group(number + 1)
                }
            };
        }
    }

    fn put(&mut self, item: u8) {
        self.elements += 1;
        self.out.push(item);
    }

    fn put_group(&mut self, name: &[u8], group: &Group) {
        self.put(GROUP);
        text(self.out, name);
        two_lengths(group.last_id(), self.out);
        length(self.out, group.entries_read().unwrap_or(NONE));
    }

    fn put_consumer(&mut self, consumer: &Consumer) {
        self.put(CONSUMER);
        text(self.out, consumer.name());
        self.out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        self.out.extend_from_slice(&consumer.active_ms.unwrap_or(NONE).to_le_bytes());
    }

    fn put_pending(&mut self, group: &Group, id: StreamId, nack: &Nack) {
        // Not without: what is pending has a consumer.
        let Some(place) = group.consumer_place(nack.consumer) else { return };
        self.put(PENDING);
        self.out.extend_from_slice(&id_bytes(id));
        self.out.extend_from_slice(&nack.delivery_ms.to_le_bytes());
        length(self.out, nack.deliveries);
        length(self.out, place as u64);
    }
}

/// Puts the next part to those that came before.
///
/// # Errors
/// It is none, or does not follow; the stream then holds some of it.
pub fn join(whole: &mut Stream, part: &[u8]) -> Result<(), Malformed> {
    if part.first() != Some(&kind::STREAM_GROUPS) {
        let Ok(Value::Stream(nodes)) = decode(part, &Thresholds::default()) else { return Err(Malformed) };
        let is_next = nodes.groups_len() == 0 && whole.groups_len() == 0;
        return if is_next && whole.log_mut().append(nodes.into_log()) { Ok(()) } else { Err(Malformed) };
    }
    let mut reader = Reader::new(part);
    reader.byte()?;
    while !reader.is_empty() {
        let is_taken = match reader.byte()? {
            GROUP => {
                let (name, last_id) = (reader.string()?, two_numbers(&mut reader)?);
                let entries_read = Some(reader.number()?).filter(|&read| read != NONE);
                whole.push_group(&name, Group::new(last_id, entries_read))
            }
            CONSUMER => {
                let (name, seen_ms) = (reader.string()?, reader.ms()?);
                let active_ms = Some(reader.ms()?).filter(|&active_ms| active_ms != NONE);
                let add = |_: &Log, group: &mut Group| {
                    let consumer = group.create_consumer(&name, seen_ms)?;
                    group.consumer_mut(consumer)?.active_ms = active_ms;
                    Some(())
                };
                whole.edit_last_group(add).flatten().is_some()
            }
            PENDING => {
                let (id, delivery_ms) = (id_of(reader.take(ID_BYTES)?)?, reader.ms()?);
                let (deliveries, place) = (reader.number()?, reader.number()?);
                let place = usize::try_from(place).map_err(|_| Malformed)?;
                let add = |_: &Log, group: &mut Group| group.load_pending(id, delivery_ms, deliveries, place);
                whole.edit_last_group(add) == Some(true)
            }
            _ => false,
        };
        if !is_taken {
            return Err(Malformed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Start, encode, join};
    use crate::base::rng::Rng;
    use crate::store::value::rdb::streams;
    use crate::store::value::rdb::{Dialect, decode};
    use crate::store::value::stream::{Group, Log, Nack, NewId, Stream, StreamId};
    use crate::store::value::{Thresholds, Value};

    fn dump(stream: &Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        streams::encode(stream, Dialect::Own, &mut bytes);
        bytes
    }

    fn parts(stream: &Stream, bounds: Bounds) -> Vec<Vec<u8>> {
        let (mut parts, mut at) = (Vec::new(), Some(Start::default()));
        while let Some(from) = at {
            let mut part = Vec::new();
            at = encode(stream, from, bounds, &mut part);
            parts.push(part);
        }
        parts
    }

    fn joined(parts: &[Vec<u8>]) -> Option<Stream> {
        let (first, rest) = parts.split_first()?;
        let Ok(Value::Stream(mut whole)) = decode(first, &Thresholds::default()) else { return None };
        let follow = rest.iter().all(|part| join(&mut whole, part).is_ok());
        follow.then_some(*whole)
    }

    fn random_log(rng: &mut Rng) -> Log {
        let node_entries = 1 + rng.below(9) as usize;
        let bounds = Thresholds { stream_node_max_entries: node_entries, ..Thresholds::default() };
        let (mut log, mut ids) = (Log::new(), Vec::new());
        for _ in 0..rng.below(80) {
            let last = log.marks().last_id;
            let id = StreamId::new(last.ms + rng.below(3), last.seq + 1 + rng.below(1 << 33));
            let value = vec![b'v'; rng.below(60) as usize];
            let fields = [(&b"one"[..], &value[..]), (b"two", b"2")];
            let pairs = fields.into_iter().take(1 + rng.below(2) as usize).collect::<Vec<_>>();
            ids.push(log.add(NewId::Exactly(id), pairs.into_iter(), &bounds).expect("behind the last"));
        }
        ids.retain(|_| rng.below(3) == 0);
        ids.into_iter().for_each(|id| assert!(log.delete(id)));
        if rng.below(3) == 0 {
            let last_id = StreamId::new(log.marks().last_id.ms + rng.below(9), u64::MAX);
            log.set_marks(last_id, Some(rng.below(1 << 40)), Some(StreamId::new(rng.below(5), 1)));
        }
        log
    }

    fn random_group(rng: &mut Rng) -> Group {
        let last_id = StreamId::new(rng.below(90), rng.below(1 << 40));
        let entries_read = [None, Some(0), Some(rng.below(1 << 50))][rng.below(3) as usize];
        let mut group = Group::new(last_id, entries_read);
        for number in 0..rng.below(12) {
            let name = format!("{}{number}", ["consumer ", "-", ""][rng.below(3) as usize]);
            let consumer = group.create_consumer(name.as_bytes(), rng.below(1 << 41)).expect("a new name");
            let active_ms = (rng.below(2) == 0).then(|| rng.below(1 << 41));
            group.consumer_mut(consumer).expect("it was made").active_ms = active_ms;
            for _ in 0..rng.below(40) {
                let id = StreamId::new(rng.below(90), rng.below(4));
                let nack = Nack { delivery_ms: rng.below(1 << 41), deliveries: rng.below(300), consumer };
                group.assign(id, nack);
            }
            // Their numbers are given to others.
            if rng.below(5) == 0 {
                group.remove_consumer(name.as_bytes());
            }
        }
        group
    }

    fn random(rng: &mut Rng) -> Stream {
        let mut stream = Stream::from_log(random_log(rng));
        for _ in 0..rng.below(5) {
            let name = vec![b'a' + rng.below(26) as u8; rng.below(20) as usize];
            stream.add_group(&name, random_group(rng));
        }
        stream
    }

    #[test]
    fn parts_of_any_size_come_to_the_same_dump() {
        let mut longest = 0;
        for seed in 0..300 {
            let mut rng = Rng::seeded(seed);
            let stream = random(&mut rng);
            for (bytes, elements) in [(1, 1), (100, 3), (700, 20), (usize::MAX, usize::MAX)] {
                let parts = parts(&stream, Bounds { bytes, elements });
                longest = longest.max(parts.len());
                let whole =
                    joined(&parts).unwrap_or_else(|| panic!("seed {seed}: parts of {bytes} do not join"));
                whole.validate();
                assert_eq!(dump(&whole), dump(&stream), "seed {seed}, parts of {bytes} bytes");
            }
        }
        assert!(longest > 100, "{longest} parts at most");
    }

    #[test]
    fn damaged_parts_do_no_harm() {
        let (mut taken, mut refused) = (0, 0);
        for seed in 0..1_500 {
            let mut rng = Rng::seeded(seed);
            let stream = random(&mut rng);
            let mut parts = parts(&stream, Bounds { bytes: 200, elements: 10 });
            for _ in 0..=rng.below(2) {
                let one = rng.below(parts.len() as u64) as usize;
                let other = rng.below(parts.len() as u64) as usize;
                let at = rng.below(parts[one].len() as u64) as usize;
                match rng.below(6) {
                    0 => parts[one].truncate(at + 1),
                    1 => parts[one].insert(at, rng.next_u64() as u8),
                    2 => parts.swap(one, other),
                    3 => parts.insert(one, parts[other].clone()),
                    _ => parts[one][at] = rng.next_u64() as u8,
                }
            }
            match joined(&parts) {
                Some(whole) => {
                    whole.validate();
                    taken += 1;
                }
                None => refused += 1,
            }
        }
        assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
    }

    #[test]
    fn parts_that_do_not_follow_are_refused() {
        let thresholds = Thresholds { stream_node_max_entries: 1, ..Thresholds::default() };
        let mut log = Log::new();
        for ms in 1..4 {
            let pairs = [(&b"field"[..], &b"value"[..])].into_iter();
            log.add(NewId::Exactly(StreamId::new(ms, 0)), pairs, &thresholds).expect("behind the last");
        }
        let mut stream = Stream::from_log(log);
        let mut group = Group::new(StreamId::new(2, 0), Some(2));
        let consumer = group.create_consumer(b"consumer", 5).expect("a new name");
        group.assign(StreamId::new(1, 0), Nack { delivery_ms: 5, deliveries: 1, consumer });
        assert!(stream.add_group(b"group", group));
        let parts = parts(&stream, Bounds { bytes: 1, elements: 1 });
        let [first, second, third, group, consumer, pending] = parts.as_slice() else {
            panic!("{} parts", parts.len());
        };
        let follow = |parts: &[&Vec<u8>]| {
            joined(&parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>()).is_some()
        };
        assert!(follow(&[first, second, third, group, consumer, pending]));
        assert!(!follow(&[second, first]), "nodes that go back");
        assert!(!follow(&[first, first]), "the same nodes");
        assert!(!follow(&[first, group, second]), "nodes behind groups");
        assert!(!follow(&[group]), "groups alone");
        assert!(!follow(&[first, group, group]), "the same group");
        assert!(!follow(&[first, consumer]), "a consumer of no group");
        assert!(!follow(&[first, group, consumer, consumer]), "the same consumer");
        assert!(!follow(&[first, group, pending]), "an entry of no consumer");
        assert!(!follow(&[first, group, consumer, pending, pending]), "the same entry");
        assert!(!follow(&[first, &vec![200, 3]]), "an item that is none");
        stream.log_mut().set_marks(StreamId::new(9, 9), None, None);
        let later = super::tests::parts(&stream, Bounds { bytes: 1, elements: 1 });
        assert!(!follow(&[first, &later[1]]), "nodes of another state");
        assert!(!follow(&[first, &dump(&stream)]), "a stream with groups");
    }
}
