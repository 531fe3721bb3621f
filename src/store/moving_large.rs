//! Large collections that move from one keyspace to another, part by part, while they are written, removed and flushed.
//! For tests alone.

use std::cell::Cell;

use super::arrival::{Arrival, ArrivalError};
use super::carry::{Body, Malformed, Record, Traits};
use super::db::Due;
use super::departure::{Departure, Export};
use super::entry::Queue;
use super::keyspace::Keyspace;
use super::moving::{MOVING, START_MS, drain, entries, flush, keyspace, moving_slots, remove, set};
use super::policy::Policy;
use super::typed::Edited;
use super::value::hash::{FieldDue, Hash};
use super::value::list::{End, List};
use super::value::set::Set;
use super::value::sorted::{AddOptions, SortedSet};
use super::value::stream::{Group, Log, Nack, NewId, Stream, StreamId};
use super::value::{Thresholds, Typed, Value};

/// Members of a large collection.
const MEMBERS: u64 = 30_000;
/// The longest record that a part of small elements takes.
const RECORD_BYTES: usize = 80 * 1024;

fn name(kind: &str) -> Vec<u8> {
    format!("{}{kind}", MOVING[0]).into_bytes()
}

/// One large collection of each type that has parts, by its key.
fn large() -> Vec<(Vec<u8>, Value)> {
    let thresholds = Thresholds::default();
    let (mut list, mut set, mut sorted) = (List::new(), Set::new(), SortedSet::new());
    let mut hash = Hash::new();
    for number in 0..MEMBERS {
        let member = format!("member:{number}");
        list.push(End::Right, std::iter::once(member.as_bytes()), &thresholds);
        set.add(member.as_bytes(), &thresholds);
        sorted.add(member.as_bytes(), (number / 3) as f64, AddOptions::default(), &thresholds);
        let due = if number % 2 == 0 { FieldDue::At(START_MS + 1_000 + number) } else { FieldDue::Never };
        hash.set(member.as_bytes(), b"value", due, &thresholds, START_MS);
    }
    vec![
        (name("list"), list.wrap()),
        (name("set"), set.wrap()),
        (name("sorted"), sorted.wrap()),
        (name("hash"), hash.wrap()),
        (name("stream"), Box::new(stream()).wrap()),
    ]
}

fn add_entry(stream: &mut Stream, ms: u64) {
    let id = NewId::Exactly(StreamId::new(ms, 1));
    let pairs = [(&b"field"[..], &b"value"[..])].into_iter();
    stream.log_mut().add(id, pairs, &Thresholds::default()).expect("behind the last");
}

/// Entries, some of them deleted, and a group to whose two consumers all are delivered.
fn stream() -> Stream {
    let mut stream = Stream::new();
    let mut group = Group::new(StreamId::new(MEMBERS, 1), Some(MEMBERS));
    let consumers = ["one", "two"].map(|name| group.create_consumer(name.as_bytes(), START_MS).expect("new"));
    for ms in 1..=MEMBERS {
        add_entry(&mut stream, ms);
        let nack =
            Nack { delivery_ms: START_MS + ms, deliveries: ms % 7, consumer: consumers[ms as usize % 2] };
        group.assign(StreamId::new(ms, 1), nack);
    }
    (1..MEMBERS).step_by(5).for_each(|ms| assert!(stream.log_mut().delete(StreamId::new(ms, 1))));
    assert!(
        stream.add_group(b"readers", group) && stream.add_group(b"late", Group::new(StreamId::MIN, None))
    );
    stream
}

/// A keyspace with them, and a few small entries beside them.
fn source() -> Keyspace {
    let source = keyspace(1, Policy::AllkeysLru, 1);
    for (key, value) in large() {
        let key = source.layout().key(&key);
        let due = Due::At(START_MS + 90_000);
        source.lock(key.shard).db(0).set_value(&key, None, value, due, START_MS).expect("room");
    }
    for number in 0..300 {
        set(&source, format!("{}{number}", MOVING[1]).as_bytes(), b"small", Due::Never, START_MS);
    }
    source
}

fn add_member(keyspace: &Keyspace, member: &[u8]) {
    let name = name("sorted");
    let key = keyspace.layout().key(&name);
    let mut shard = keyspace.lock(key.shard);
    let found = shard.db(0).find(&key, START_MS);
    let added = shard.db(0).edit_value(&key, found, START_MS, |set: &mut SortedSet| {
        set.add(member, 1.5, AddOptions::default(), &Thresholds::default());
        Edited::yes(())
    });
    added.expect("a sorted set");
}

fn edit_stream(keyspace: &Keyspace, edit: impl FnOnce(&mut Stream)) {
    let name = name("stream");
    let key = keyspace.layout().key(&name);
    let mut shard = keyspace.lock(key.shard);
    let found = shard.db(0).find(&key, START_MS);
    let edited = shard.db(0).edit_value(&key, found, START_MS, |stream: &mut Box<Stream>| {
        edit(stream);
        Edited::yes(())
    });
    edited.expect("a stream");
}

/// Takes steps of a walk until `until` says so; false if the walk was over before.
fn walk_until(
    departure: &mut Departure,
    source: &Keyspace,
    out: &mut Export,
    until: impl Fn(u64) -> bool,
) -> bool {
    for step in 0.. {
        if until(step) {
            return true;
        }
        if !departure.walk_step(source, START_MS, out) {
            return false;
        }
    }
    false
}

#[test]
fn they_go_in_small_records_and_arrive_whole() {
    let (source, target) = (source(), keyspace(2, Policy::AllkeysLru, 2));
    let mut departure = Departure::begin(&source, &moving_slots()).expect("no feed is open");
    let mut arrival = Arrival::begin(&target, &moving_slots()).expect("the slots are empty");
    let mut export = Export::default();
    let (mut records, mut longest) = (0, 0);
    loop {
        let more = departure.walk_step(&source, START_MS, &mut export);
        let mut frame = Vec::new();
        while export.fill(&mut frame, 1) || !frame.is_empty() {
            (records, longest) = (records + 1, longest.max(frame.len()));
            let mut rest = &frame[..];
            while !rest.is_empty() {
                rest = &rest[arrival.apply(&target, rest, START_MS).expect("records")..];
            }
            frame.clear();
        }
        if !more {
            break;
        }
    }
    assert!(longest <= RECORD_BYTES, "{longest} bytes");
    assert!(records > 30, "{records} records");
    assert_eq!(arrival.entries(), 305);
    assert!(entries(&source, &moving_slots()) == entries(&target, &moving_slots()));
    departure.end(&source);
}

#[test]
fn one_that_changes_on_its_way_arrives_as_it_is_at_last() {
    // Each of these happens in the middle of the parts, and once all parts are sent.
    let changes: [fn(&Keyspace); 7] = [
        |source| add_member(source, b"late"),
        |source| remove(source, &name("sorted"), START_MS),
        |source| set(source, &name("set"), b"a string by now", Due::Never, START_MS),
        flush,
        |source| {
            flush(source);
            add_member(source, b"alone");
        },
        |source| edit_stream(source, |stream| add_entry(stream, MEMBERS + 1)),
        |source| {
            edit_stream(source, |stream| {
                let acknowledge = |_: &Log, group: &mut Group| {
                    (1..MEMBERS).step_by(2).for_each(|ms| assert!(group.acknowledge(StreamId::new(ms, 1))));
                };
                stream.edit_group(b"readers", acknowledge).expect("a group");
                assert!(stream.remove_group(b"late"));
            });
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        for at_step in [1, 2, 5, 9, 20, 40, 80, u64::MAX] {
            let (source, target) = (source(), keyspace(0, Policy::AllkeysLru, 2));
            let mut departure = Departure::begin(&source, &moving_slots()).expect("no feed is open");
            let mut arrival = Arrival::begin(&target, &moving_slots()).expect("the slots are empty");
            let mut export = Export::default();
            let steps = Cell::new(0);
            let is_inside = walk_until(&mut departure, &source, &mut export, |step| {
                steps.set(step);
                step == at_step
            });
            assert_eq!(is_inside, at_step != u64::MAX, "after {} steps", steps.get());
            change(&source);
            let mut frame = Vec::new();
            export.fill(&mut frame, usize::MAX);
            let mut rest = &frame[..];
            while !rest.is_empty() {
                rest = &rest[arrival.apply(&target, rest, START_MS).expect("records")..];
            }
            drain(&mut departure, &mut arrival, &source, &target, START_MS);
            let slots = moving_slots();
            assert!(
                entries(&source, &slots) == entries(&target, &slots),
                "change {number} at step {at_step} makes them differ"
            );
            departure.end(&source);
        }
    }
}

#[test]
fn parts_that_do_not_follow_each_other_are_refused() {
    let target = keyspace(0, Policy::AllkeysLru, 2);
    let mut arrival = Arrival::begin(&target, &moving_slots()).expect("the slots are empty");
    let bytes_of = |value: Value| value.dump();
    let mut one = Set::new();
    one.add(b"one", &Thresholds::default());
    let mut field = Hash::new();
    field.set(b"one", b"1", FieldDue::Never, &Thresholds::default(), 0);
    let (set, hash) = (bytes_of(one.wrap()), bytes_of(field.wrap()));
    let traits = |is_first, is_last| Traits {
        body: Body::PartOf { is_first, is_last },
        raw: false,
        ttl_ms: None,
        queue: Queue::None,
        frequency: 0,
        idle_seconds: 0,
    };
    let part = |key: &str, value: &[u8], is_first: bool, is_last: bool| {
        let mut record = Vec::new();
        Record::Entry { traits: traits(is_first, is_last), key: &name(key), value }.encode_into(&mut record);
        record
    };
    let mut send = |record: &[u8]| arrival.apply(&target, record, START_MS).map(drop);
    let (torn, unknown) = (Err(ArrivalError::Torn), Err(ArrivalError::Malformed(Malformed::Unknown)));
    assert_eq!(send(&part("a", &set, false, true)), torn, "without a beginning");
    assert_eq!(send(&part("a", &set, true, false)), Ok(()));
    assert_eq!(send(&part("b", &set, false, true)), torn, "of another key");
    assert_eq!(send(&part("a", &set, false, true)), torn, "the beginning is forgotten");
    assert_eq!(send(&part("a", &set, true, false)), Ok(()));
    assert_eq!(send(&part("a", &hash, false, false)), unknown, "of another type");
    assert_eq!(send(&part("a", b"\xFFgarbage", true, true)), unknown);
    assert_eq!(send(&part("a", &set, true, true)), Ok(()));
    let mut foreign = Vec::new();
    Record::Entry { traits: traits(true, true), key: b"elsewhere", value: &set }.encode_into(&mut foreign);
    assert!(matches!(send(&foreign), Err(ArrivalError::Foreign(_))));
    assert_eq!(entries(&target, &moving_slots()).len(), 1);
}
