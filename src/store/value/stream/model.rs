//! Streams against a plain map: random operations, everything compared after each, and the layout against Redis's bytes.

use crate::base::rng::Rng;
use crate::store::value::Thresholds;
use crate::store::value::listpack::{Pack, PackBuf};
use crate::store::value::stream::{
    AddError, Direction, Group, Keep, LoadedConsumer, Log, Marks, Nack, NewId, Stream, StreamId, Trim,
};
use std::collections::BTreeMap;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(pairs: &Pairs) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
    pairs.iter().map(|(field, value)| (&field[..], &value[..]))
}

fn read(log: &Log, start: StreamId, end: StreamId, direction: Direction) -> Vec<(StreamId, Pairs)> {
    let mut cursor = log.cursor(start, end, direction);
    let mut entries = Vec::new();
    while let Some(id) = cursor.next_id() {
        let mut pairs = Vec::with_capacity(cursor.pairs());
        // Every other entry is left unread, which must not disturb the walk.
        while entries.len() % 2 == 0
            && let Some((field, value)) = cursor.pair()
        {
            pairs.push((field.to_vec(), value.to_vec()));
        }
        entries.push((id, pairs));
    }
    assert_eq!(cursor.next_id(), None);
    entries
}

fn some_pairs(rng: &mut Rng) -> Pairs {
    let texts: [&[u8]; 6] = [b"", b"7", b"-70000", b"field", b"a rather long field", b"007"];
    let text = |rng: &mut Rng| texts[rng.below(6) as usize].to_vec();
    match rng.below(3) {
        0 => vec![(b"same".to_vec(), text(rng))],
        1 => vec![(b"same".to_vec(), text(rng)), (b"12".to_vec(), vec![b'x'; rng.below(300) as usize])],
        _ => (0..1 + rng.below(4)).map(|_| (text(rng), text(rng))).collect(),
    }
}

fn bounds(rng: &mut Rng) -> Thresholds {
    Thresholds {
        stream_node_max_bytes: [0, 200, 4096][rng.below(3) as usize],
        stream_node_max_entries: [0, 1, 5, 100][rng.below(4) as usize],
        ..Thresholds::default()
    }
}

fn some_id(rng: &mut Rng) -> StreamId {
    StreamId::new(rng.below(120), [0, 1, 2, u64::MAX][rng.below(4) as usize])
}

/// Trims stream and map and compares what is left.
fn trim(rng: &mut Rng, log: &mut Log, model: &mut BTreeMap<StreamId, Pairs>) {
    let keep = match rng.below(2) {
        0 => Keep::Newest(rng.below(model.len() as u64 + 2)),
        _ => Keep::From(some_id(rng)),
    };
    let approximate = rng.below(2) == 0;
    let limit = (rng.below(3) == 0).then(|| rng.below(30));
    let surplus = match keep {
        Keep::Newest(count) => (model.len() as u64).saturating_sub(count),
        Keep::From(id) => model.range(..id).count() as u64,
    };
    let removed = log.trim(Trim { keep, approximate, limit });
    assert!(removed <= surplus && limit.is_none_or(|limit| removed <= limit || !approximate));
    if !approximate && limit.is_none() {
        assert_eq!(removed, surplus);
    }
    for _ in 0..removed {
        model.pop_first();
    }
}

#[test]
fn entries_agree_with_a_map() {
    for seed in 0..12 {
        let mut rng = Rng::seeded(seed);
        let (mut log, mut model) = (Log::default(), BTreeMap::new());
        for step in 0..400 {
            match rng.below(10) {
                0..6 => {
                    let last = log.marks().last_id;
                    let id = match rng.below(3) {
                        0 => NewId::Auto { now_ms: rng.below(100) },
                        1 => NewId::InMs(last.ms.saturating_sub(1) + rng.below(3)),
                        _ => NewId::Exactly(StreamId::new(last.ms + rng.below(2), rng.below(4))),
                    };
                    let new = some_pairs(&mut rng);
                    match log.add(id, pairs(&new), &bounds(&mut rng)) {
                        Ok(id) => assert!(id > last && model.insert(id, new).is_none()),
                        Err(error) => assert_eq!(error, AddError::NotGreater, "{id:?} {last:?}"),
                    }
                }
                6 | 7 => {
                    let id = some_id(&mut rng);
                    let id = model.range(id..).next().map_or(id, |(id, _)| *id);
                    assert_eq!(log.delete(id), model.remove(&id).is_some());
                    assert!(log.entry(id).next_id().is_none());
                }
                8 => trim(&mut rng, &mut log, &mut model),
                _ => {
                    let (start, end) = (some_id(&mut rng), some_id(&mut rng));
                    let expected: Vec<StreamId> = if start <= end {
                        model.range(start..=end).map(|(id, _)| *id).collect()
                    } else {
                        Vec::new()
                    };
                    let ids = |direction| {
                        read(&log, start, end, direction).into_iter().map(|(id, _)| id).collect::<Vec<_>>()
                    };
                    assert_eq!(ids(Direction::Forward), expected, "seed {seed} step {step}");
                    let mut backward = ids(Direction::Backward);
                    backward.reverse();
                    assert_eq!(backward, expected, "seed {seed} step {step}");
                }
            }
            log.validate();
            assert_eq!(log.length(), model.len() as u64);
            assert_eq!(log.last_entry_id(), model.last_key_value().map(|(id, _)| *id));
        }
        log.clone().validate();
        for direction in [Direction::Forward, Direction::Backward] {
            let mut expected: Vec<_> = model.clone().into_iter().collect();
            if direction == Direction::Backward {
                expected.reverse();
            }
            for (_, pairs) in expected.iter_mut().skip(1).step_by(2) {
                pairs.clear();
            }
            assert_eq!(read(&log, StreamId::MIN, StreamId::MAX, direction), expected);
        }
    }
}

#[test]
fn a_node_has_redis_bytes() {
    // What DUMP gives in Redis after XADD x 1-1 f v, within the payload of the stream.
    let dumped =
        b"\x1d\0\0\0\x0a\0\x01\x01\0\x01\x01\x01\x81f\x02\0\x01\x02\x01\0\x01\0\x01\x81v\x02\x04\x01\xff";
    let mut log = Log::default();
    let new = vec![(b"f".to_vec(), b"v".to_vec())];
    log.add(NewId::Exactly(StreamId::new(1, 1)), pairs(&new), &Thresholds::default()).expect("it fits");
    let (master, node) = log.nodes().next().expect("one node");
    assert_eq!(master, StreamId::new(1, 1));
    assert_eq!(node.as_pack().bytes(), dumped);
}

#[test]
fn only_sound_nodes_are_taken_over() {
    let mut log = Log::default();
    for ms in 1..6 {
        let new = vec![(b"f".to_vec(), vec![b'v'; ms as usize]), (b"g".to_vec(), b"1".to_vec())];
        let new = if ms == 4 { vec![new[1].clone()] } else { new };
        log.add(NewId::Exactly(StreamId::new(ms, 0)), pairs(&new), &Thresholds::default()).expect("it fits");
    }
    assert!(log.delete(StreamId::new(3, 0)));
    let (master, node) = log.nodes().next().map(|(master, node)| (master, node.clone())).expect("one node");
    let marks = *log.marks();
    let load = |nodes: &[(StreamId, PackBuf)], marks| Log::from_nodes(nodes.iter().cloned(), marks);
    let again = load(&[(master, node.clone())], marks).expect("it is sound");
    assert_eq!((again.length(), *again.marks()), (4, marks));

    assert!(load(&[(StreamId::new(2, 0), node.clone()), (master, node.clone())], marks).is_none());
    assert!(load(&[(master, node.clone())], Marks { last_id: StreamId::new(4, 0), ..marks }).is_none());
    assert!(load(&[(master, PackBuf::new())], marks).is_none());
    let elements = node.as_pack().len();
    for at in 0..elements {
        let mut cut = node.clone();
        let at = cut.as_pack().seek(at as i64).expect("an element");
        cut.remove(at, 1);
        assert!(Pack::check(cut.as_pack().bytes()).is_some());
        let taken = load(&[(master, cut)], marks);
        assert!(taken.is_none_or(|taken| read_all(&taken) < elements), "a walk that ends");
    }
    // Any bytes that are a listpack at all are refused or walked without a panic.
    let mut rng = Rng::seeded(7);
    for _ in 0..3000 {
        let mut bytes = node.as_pack().bytes().to_vec();
        for _ in 0..1 + rng.below(2) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.below(256) as u8;
        }
        if Pack::check(&bytes).is_some()
            && let Some(mut taken) = load(&[(master, PackBuf::from_vec(bytes))], marks)
        {
            read_all(&taken);
            taken.delete(StreamId::new(2, 0));
            taken.trim(Trim { keep: Keep::Newest(1), approximate: false, limit: None });
            taken.validate();
        }
    }
}

fn read_all(log: &Log) -> usize {
    let forward = read(log, StreamId::MIN, StreamId::MAX, Direction::Forward);
    let backward = read(log, StreamId::MIN, StreamId::MAX, Direction::Backward);
    assert_eq!(forward.len(), backward.len());
    forward.len()
}

#[test]
fn groups_agree_with_a_map() {
    let names: [&[u8]; 4] = [b"alice", b"bob", b"", b"carol"];
    for seed in 0..8 {
        let mut rng = Rng::seeded(seed);
        let mut stream = Stream::new();
        assert!(stream.add_group(b"g", Group::new(StreamId::MIN, None)));
        assert!(!stream.add_group(b"g", Group::new(StreamId::MIN, None)));
        let mut model: BTreeMap<StreamId, (&[u8], u64)> = BTreeMap::new();
        for _ in 0..600 {
            let id = some_id(&mut rng);
            let name = names[rng.below(4) as usize];
            stream.edit_group(b"g", |_, group| match rng.below(8) {
                0..4 => {
                    let known = group.find_consumer(name);
                    let created = group.create_consumer(name, 5);
                    assert_ne!(known.is_some(), created.is_some());
                    let consumer = known.or(created).expect("one of them");
                    group.assign(id, Nack { delivery_ms: 5, deliveries: 1, consumer });
                    model.insert(id, (name, 1));
                }
                4 => {
                    group.redeliver(id, 9);
                    model.entry(id).and_modify(|(_, deliveries)| *deliveries += 1);
                }
                5 | 6 => assert_eq!(group.acknowledge(id), model.remove(&id).is_some()),
                _ if rng.below(8) == 0 => {
                    let before = model.len();
                    model.retain(|_, (owner, _)| *owner != name);
                    let gone = group.remove_consumer(name).unwrap_or_default();
                    assert_eq!(gone, before - model.len());
                }
                _ => {}
            });
            stream.validate();
        }
        stream.clone().validate();
        let group = stream.group(b"g").expect("it was added");
        let held: Vec<_> = group
            .pending_from(StreamId::MIN)
            .map(|(id, nack)| (id, (group.consumer(nack.consumer).expect("owned").name(), nack.deliveries)))
            .collect();
        assert_eq!(held, model.into_iter().collect::<Vec<_>>());
        assert_eq!(group.pending_ends().map(|ends| ends.0), held.first().map(|(id, _)| *id));
        reload(group);
        assert!(stream.remove_group(b"g") && !stream.remove_group(b"g"));
        assert_eq!(stream.heap_bytes(), 0);
    }
}

/// What a dump holds of a group is enough to have it again.
fn reload(group: &Group) {
    let pending: Vec<_> =
        group.pending_from(StreamId::MIN).map(|(id, nack)| (id, nack.delivery_ms, nack.deliveries)).collect();
    let consumers: Vec<_> = group
        .consumers()
        .map(|consumer| LoadedConsumer {
            name: consumer.name().to_vec(),
            seen_ms: consumer.seen_ms,
            active_ms: consumer.active_ms,
            pending: consumer.pending_from(StreamId::MIN).collect(),
        })
        .collect();
    let load = |consumers: &[LoadedConsumer]| {
        Group::load(group.last_id(), None, pending.iter().copied(), consumers.iter().cloned())
    };
    let again = load(&consumers).expect("it is sound");
    again.validate();
    assert_eq!(again.pending_len(), group.pending_len());
    let twice: Vec<_> = consumers.iter().chain(consumers.first()).cloned().collect();
    assert!(load(&twice).is_none());
    if !pending.is_empty() {
        assert!(load(&[]).is_none());
    }
}

#[test]
fn lag_is_told_where_it_is_certain() {
    let mut stream = Stream::new();
    let one = vec![(b"f".to_vec(), b"v".to_vec())];
    let add = |stream: &mut Stream, ms| {
        let id = NewId::Exactly(StreamId::new(ms, 0));
        stream.log_mut().add(id, pairs(&one), &Thresholds::default()).expect("it is greater")
    };
    stream.add_group(b"g", Group::new(StreamId::MIN, None));
    let lag = |stream: &Stream| stream.lag(stream.group(b"g").expect("there"));
    let read_one = |stream: &mut Stream| {
        stream.edit_group(b"g", |log, group| {
            let mut cursor =
                log.cursor(group.last_id().next().expect("more"), StreamId::MAX, Direction::Forward);
            if let Some(id) = cursor.next_id() {
                group.advance(log, id);
            }
            group.entries_read()
        })
    };
    assert_eq!(lag(&stream), Some(0));
    for ms in 1..6 {
        add(&mut stream, ms);
    }
    assert_eq!(lag(&stream), Some(5));
    assert_eq!(read_one(&mut stream), Some(Some(1)));
    assert_eq!(lag(&stream), Some(4));
    assert!(stream.log_mut().delete(StreamId::new(3, 0)));
    assert_eq!(lag(&stream), None);
    assert_eq!((read_one(&mut stream), lag(&stream)), (Some(None), None));
    assert_eq!((read_one(&mut stream), lag(&stream)), (Some(None), None));
    assert_eq!((read_one(&mut stream), lag(&stream)), (Some(Some(5)), Some(0)));
    add(&mut stream, 6);
    assert_eq!(lag(&stream), Some(1));
    stream.log_mut().trim(Trim { keep: Keep::Newest(0), approximate: false, limit: None });
    assert_eq!((stream.log().length(), stream.log().nodes_len(), lag(&stream)), (0, 0, Some(0)));
}

#[test]
fn radix_nodes_are_counted_as_redis_has_them() {
    let mut stream = Stream::new();
    assert_eq!(stream.radix_nodes(), 1);
    let one = vec![(b"f".to_vec(), b"v".to_vec())];
    let bounds = Thresholds { stream_node_max_entries: 1, ..Thresholds::default() };
    // As XINFO STREAM says after each XADD in Redis with nodes of one entry.
    for (ms, seq, nodes) in [(1, 0, 2), (1, 1, 4), (1, 2, 5), (2, 0, 9), (0x1_0000, 0, 13)] {
        let id = NewId::Exactly(StreamId::new(ms, seq));
        stream.log_mut().add(id, pairs(&one), &bounds).expect("it is greater");
        assert_eq!(stream.radix_nodes(), nodes, "{ms}-{seq}");
    }
}

#[test]
fn the_oldest_entries_go_one_by_one() {
    let one = vec![(b"f".to_vec(), b"v".to_vec())];
    let bounds = Thresholds { stream_node_max_bytes: 0, stream_node_max_entries: 0, ..Thresholds::default() };
    let mut log = Log::default();
    let add = |log: &mut Log| log.add(NewId::InMs(7), pairs(&one), &bounds).expect("it is greater");
    for _ in 0..300 {
        add(&mut log);
    }
    for gone in 1..400_u64 {
        // Both counts of the head grow beyond what one byte holds, at different times.
        if gone % 2 == 0 {
            add(&mut log);
        }
        let first = log.marks().first_id;
        if gone % 3 == 0 {
            assert!(log.delete(first));
        } else {
            let keep = Keep::Newest(log.length() - 1);
            assert_eq!(log.trim(Trim { keep, approximate: false, limit: None }), 1);
        }
        assert!(!log.delete(first) && log.entry(first).next_id().is_none());
        assert_eq!(log.marks().first_id, first.next().expect("another"));
        log.validate();
    }
}
