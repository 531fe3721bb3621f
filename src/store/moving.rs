//! Slots that move from one keyspace to another while clients write, flush, expire and evict: at the end both sides are
//! equal. For tests alone; every run is decided by its seed, which stands in the name of the thread that panics.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::arrival::{Arrival, ArrivalError};
use super::carry::{Malformed, PART_BYTES, Record};
use super::db::{Db, Due, NewString};
use super::departure::{CLEARED_A_STEP, Departure, Export};
use super::entry;
use super::index::Position;
use super::key::Layout;
use super::keyspace::Keyspace;
use super::policy::Policy;
use super::typed::{EditError, Edited};
use super::value::hash::{FieldDue, Hash};
use super::value::list::{End, List};
use super::value::listpack::Element;
use super::value::set::Set;
use super::value::sorted::{AddOptions, SortedSet};
use super::value::stream::{NewId, Stream, StreamId};
use super::value::{Thresholds, ValueRef, ValueType, rdb};
use super::walk::Step;
use crate::base::rng::Rng;
use crate::base::slot::{Slot, slot_of};

pub(super) const START_MS: u64 = 1_800_000_000_000;
/// Tags of keys that move, that stay, and that the target has of its own.
pub(super) const MOVING: [&str; 4] = ["{a}", "{b}", "{c}", "{d}"];
const STAYING: &str = "{stays}";
const OWN: &str = "{own}";
const OWN_KEYS: usize = 40;

pub(super) fn moving_slots() -> Vec<Slot> {
    MOVING.iter().map(|tag| slot_of(tag.as_bytes())).collect()
}

pub(super) fn keyspace(shard_bits: u32, policy: Policy, seed: u64) -> Keyspace {
    Keyspace::new(Layout::seeded(shard_bits, seed), policy, 0, seed)
}

pub(super) fn set(keyspace: &Keyspace, key: &[u8], value: &[u8], due: Due, now_ms: u64) {
    let key = keyspace.layout().key(key);
    let mut shard = keyspace.lock(key.shard);
    let db = shard.db(0);
    let found = db.find(&key, now_ms);
    let new = NewString { bytes: value, raw: false };
    db.set_string(&key, found, new, due, now_ms).expect("the arena is not full");
}

pub(super) fn remove(keyspace: &Keyspace, key: &[u8], now_ms: u64) {
    let key = keyspace.layout().key(key);
    let mut shard = keyspace.lock(key.shard);
    if let Some(found) = shard.db(0).find(&key, now_ms) {
        shard.db(0).remove(key.hashed, found);
    }
}

pub(super) type Entries = HashMap<Vec<u8>, (Vec<u8>, Option<u64>, bool)>;

/// What a keyspace holds in slots, hidden or not, due or not.
pub(super) fn entries(keyspace: &Keyspace, slots: &[Slot]) -> Entries {
    let mut entries = Entries::new();
    for &slot in slots {
        let mut shard = keyspace.lock(keyspace.layout().shard_of(slot));
        let db = shard.db(0);
        for handle in db.index.handles(keyspace.layout().slot_in_shard(slot)) {
            let found = db.found_at(handle).expect("it is in the index").1;
            let value = (content(db.value(found)), db.due_ms(found), db.is_raw(found));
            entries.insert(db.key_of(handle).to_vec(), value);
        }
    }
    entries
}

/// What a value holds, in an order that does not depend on its form.
fn content(value: ValueRef<'_>) -> Vec<u8> {
    let joined = |parts: &[Vec<u8>]| [value.value_type().name().as_bytes(), &parts.join(&b'|')].concat();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    match value {
        ValueRef::Str(bytes) => return bytes.to_vec(),
        ValueRef::List(list) => {
            parts.extend(list.iter().map(|element| element.to_vec()));
            return joined(&parts);
        }
        ValueRef::Set(set) => parts.extend(set.iter().map(|member| member.to_vec())),
        ValueRef::SortedSet(set) => {
            let part = |(member, score): (Element<'_>, f64)| {
                [member.to_vec(), score.to_le_bytes().to_vec()].concat()
            };
            parts.extend(set.iter().map(part));
        }
        ValueRef::Hash(hash) => hash.for_each_field(|field, value, due_ms| {
            parts.push([field.to_vec(), value.to_vec(), due_ms.unwrap_or(0).to_le_bytes().to_vec()].concat());
        }),
        ValueRef::Stream(_) => {
            let mut dump = Vec::new();
            rdb::encode(value, rdb::Dialect::Own, &mut dump);
            return dump;
        }
    }
    parts.sort();
    joined(&parts)
}

fn each_shard(keyspace: &Keyspace, mut visit: impl FnMut(&mut Db)) {
    (0..keyspace.shards()).for_each(|shard| visit(keyspace.lock(shard).db(0)));
}

pub(super) fn flush(keyspace: &Keyspace) {
    keyspace.lock_set(keyspace.all()).iter_mut().for_each(|shard| drop(shard.take(0)));
}

/// Delivers one frame.
fn deliver(arrival: &mut Arrival, target: &Keyspace, frame: &[u8], now_ms: u64) -> Result<(), ArrivalError> {
    let mut rest = frame;
    while !rest.is_empty() {
        rest = &rest[arrival.apply(target, rest, now_ms)?..];
    }
    Ok(())
}

/// Sends all that there is, at once.
pub(super) fn drain(
    departure: &mut Departure,
    arrival: &mut Arrival,
    source: &Keyspace,
    target: &Keyspace,
    now_ms: u64,
) {
    let mut export = Export::default();
    loop {
        let more = departure.walk_step(source, now_ms, &mut export)
            | departure.change_step(source, now_ms, &mut export);
        if !more && export.is_empty() {
            return;
        }
        let mut frame = Vec::new();
        export.fill(&mut frame, usize::MAX);
        deliver(arrival, target, &frame, now_ms).expect("it is applied");
    }
}

/// A move under way.
struct World {
    source: Keyspace,
    target: Keyspace,
    departure: Departure,
    arrival: Arrival,
    export: Export,
    wire: VecDeque<Vec<u8>>,
    rng: Rng,
    now_ms: u64,
    keys: u64,
    /// Entries vanish from the target by eviction.
    evicts: bool,
    overruns: u64,
    restarts: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let policies = [Policy::AllkeysLru, Policy::AllkeysLfu, Policy::VolatileTtl, Policy::AllkeysRandom];
        let mut one = |salt: u64| keyspace(rng.below(3) as u32, policies[rng.below(4) as usize], seed ^ salt);
        let (source, target) = (one(0), one(1 << 40));
        let slots = moving_slots();
        for number in 0..OWN_KEYS {
            set(&target, format!("{OWN}{number}").as_bytes(), b"own", Due::Never, START_MS);
        }
        Self {
            departure: Departure::begin(&source, &slots).expect("no feed is open"),
            arrival: Arrival::begin(&target, &slots).expect("the slots are empty"),
            source,
            target,
            export: Export::default(),
            wire: VecDeque::new(),
            now_ms: START_MS,
            keys: 10 + rng.below(2000),
            evicts: rng.below(4) == 0,
            rng,
            overruns: 0,
            restarts: 0,
        }
    }

    /// A few keys are longer than an entry holds, fewer longer than a record holds.
    fn key(&mut self) -> Vec<u8> {
        let number = self.rng.below(self.keys);
        let tag = if number.is_multiple_of(9) { STAYING } else { MOVING[number as usize % MOVING.len()] };
        let length = match number {
            3 => PART_BYTES + 77,
            5 => PART_BYTES * 2,
            _ if number.is_multiple_of(50) => 400,
            _ => 0,
        };
        format!("{tag}{number}{}", "x".repeat(length)).into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        let max = match self.rng.below(400) {
            0 => PART_BYTES as u64 * 3,
            1..=20 => 9000,
            _ => 150,
        };
        let length = self.rng.below(max) as usize;
        vec![self.rng.next_u64() as u8; length]
    }

    fn due(&mut self) -> Due {
        match self.rng.below(6) {
            0..=2 => Due::Never,
            3 => Due::Keep,
            4 => Due::At(self.now_ms + 1 + self.rng.below(3000)),
            _ => Due::At(self.now_ms + 3_600_000),
        }
    }

    /// Adds something to a collection, or begins one.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let (now_ms, number, bounds) = (self.now_ms, self.rng.below(300), Thresholds::default());
        let key = self.source.layout().key(key);
        let mut shard = self.source.lock(key.shard);
        let db = shard.db(0);
        let found = db.find(&key, now_ms);
        let (name, kind) = (number.to_string().into_bytes(), key.hashed.hash % 5);
        let edited = match kind {
            0 => db.edit_value::<List, _>(&key, found, now_ms, |list| {
                if number.is_multiple_of(3) {
                    list.pop(End::Left, 2, &bounds);
                } else {
                    list.push(End::Right, [value, &name].into_iter(), &bounds);
                }
                Edited::yes(())
            }),
            1 => db.edit_value::<Set, _>(&key, found, now_ms, |set| {
                Edited::when(set.add(&[&name[..], &value[..value.len().min(100)]].concat(), &bounds), ())
            }),
            2 => db.edit_value::<SortedSet, _>(&key, found, now_ms, |set| {
                set.add(&name, number as f64, AddOptions::default(), &bounds);
                Edited::yes(())
            }),
            3 => db.edit_value::<Hash, _>(&key, found, now_ms, |hash| {
                let due = if number.is_multiple_of(5) {
                    FieldDue::At(now_ms + 1_000_000 + number)
                } else {
                    FieldDue::Never
                };
                hash.set(&name, value, due, &bounds, now_ms);
                Edited::yes(())
            }),
            _ => db.edit_value::<Box<Stream>, _>(&key, found, now_ms, |stream| {
                let id = NewId::Exactly(StreamId { ms: now_ms, seq: stream.log().length() });
                Edited::when(stream.log_mut().add(id, [(&name[..], value)].into_iter(), &bounds).is_ok(), ())
            }),
        };
        if let (Err(EditError::WrongType), Some(found)) = (edited, found) {
            db.remove(key.hashed, found);
        }
    }

    fn write(&mut self) {
        let (key, value, due, now_ms) = (self.key(), self.value(), self.due(), self.now_ms);
        let choice = self.rng.below(20);
        if choice < 6 {
            return self.add(&key, &value);
        }
        if choice < 12 {
            set(&self.source, &key, &value, due, now_ms);
            return;
        }
        let key = self.source.layout().key(&key);
        let mut shard = self.source.lock(key.shard);
        let db = shard.db(0);
        let found = db.find(&key, now_ms);
        let is_string = found.is_none_or(|found| db.value_type(found) == ValueType::String);
        match (choice, found) {
            (12..=14, _) if !is_string => {}
            (12..=13, _) => {
                db.edit_string(&key, found, now_ms, |buffer| buffer.append(&value)).expect("room");
            }
            (14, Some(found)) => {
                let same: Vec<u8> = db.string(found).iter().map(|byte| !byte).collect();
                db.overwrite(&key, found, &same, now_ms);
            }
            (15..=16, Some(found)) => {
                let due_ms = if let Due::At(due_ms) = due { Some(due_ms) } else { None };
                db.set_due(&key, found, due_ms).expect("room");
            }
            (17, Some(found)) => db.touch(found, now_ms),
            (_, Some(found)) => db.remove(key.hashed, found),
            _ => {}
        }
    }

    /// What happens seldom.
    fn disturb(&mut self) {
        let Self { rng, now_ms, .. } = self;
        match rng.below(40) {
            0..=14 => *now_ms += rng.below(400),
            15..=19 => each_shard(&self.source, |db| {
                db.expire(*now_ms, 50);
            }),
            20..=23 => each_shard(&self.target, |db| {
                db.expire(*now_ms, 50);
            }),
            24..=28 => each_shard(&self.source, |db| {
                db.evict(rng);
            }),
            29..=32 if self.evicts => each_shard(&self.target, |db| {
                db.evict(rng);
            }),
            33..=34 => each_shard(&self.source, |db| {
                db.compact_slice(true);
            }),
            35..=36 => each_shard(&self.target, |db| {
                db.compact_slice(true);
            }),
            37 => flush(&self.source),
            38 if rng.below(4) == 0 => {
                self.source
                    .lock_set(self.source.all())
                    .iter_mut()
                    .for_each(|shard| shard.swap(0, 1, *now_ms));
            }
            39 if rng.below(4) == 0 => {
                flush(&self.target);
                assert!(self.arrival.is_disturbed(&self.target));
                self.restart();
            }
            _ => {}
        }
    }

    /// As after a connection that broke, or a flush of the target: from the beginning.
    fn restart(&mut self) {
        self.restarts += 1;
        while !self.arrival.clear_step(&self.target) {}
        self.wire.clear();
        self.export = Export::default();
        let slots = moving_slots();
        let begun = Departure::begin(&self.source, &slots);
        assert!(begun.is_none(), "the slots have a feed");
        let departure =
            std::mem::replace(&mut self.departure, Departure::begin(&self.source, &[]).expect("none"));
        self.overruns += departure.overruns();
        departure.end(&self.source);
        self.departure = Departure::begin(&self.source, &slots).expect("the feeds were closed");
        self.arrival = Arrival::begin(&self.target, &slots).expect("they were emptied");
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..=69 => self.write(),
            70..=75 => {
                self.departure.walk_step(&self.source, self.now_ms, &mut self.export);
            }
            76..=83 => {
                self.departure.change_step(&self.source, self.now_ms, &mut self.export);
            }
            84..=89 => {
                let mut frame = Vec::new();
                self.export.fill(&mut frame, 1 + self.rng.below(200_000) as usize);
                self.wire.push_back(frame);
            }
            90..=95 => {
                if let Some(frame) = self.wire.pop_front() {
                    deliver(&mut self.arrival, &self.target, &frame, self.now_ms).expect("it is applied");
                }
            }
            _ => self.disturb(),
        }
    }

    /// What clients of the target see of it: its own keys alone.
    fn check_hidden(&self) {
        let (mut counted, mut walked, mut with_due) = (0, 0, 0);
        let mut rng = Rng::seeded(1);
        each_shard(&self.target, |db| {
            counted += db.entries();
            with_due += db.entries_with_due();
            let mut next = Some(Step::default());
            while let Some(step) = next {
                next = db
                    .walk(step, 10, (0, None), |key| {
                        assert!(key.starts_with(OWN.as_bytes()), "a hidden key is listed");
                        walked += 1;
                    })
                    .0;
            }
            let random = db.random_key(&mut rng, 0);
            assert!(random.is_none_or(|key| key.starts_with(OWN.as_bytes())), "a hidden key is chosen");
            db.validate();
        });
        assert_eq!((counted, with_due), (walked, 0));
        assert!(self.evicts || self.restarts > 0 || counted == OWN_KEYS);
        each_shard(&self.source, |db| db.validate());
    }

    fn check_equal(&self) {
        let slots = moving_slots();
        let (source, mut target) = (entries(&self.source, &slots), entries(&self.target, &slots));
        let lag_ms = self.now_ms - START_MS;
        let live = |due_ms: Option<u64>| due_ms.is_none_or(|due_ms| due_ms > self.now_ms);
        for (key, (value, due_ms, raw)) in &source {
            let name = String::from_utf8_lossy(&key[..key.len().min(20)]);
            match target.remove(key) {
                Some((other, other_due_ms, other_raw)) if live(*due_ms) || live(other_due_ms) => {
                    let (due_ms, other_due_ms) = (due_ms.unwrap_or(0), other_due_ms.unwrap_or(0));
                    assert!(other_due_ms >= due_ms, "{name} lives less long");
                    assert!(other_due_ms <= due_ms + lag_ms, "{name} lives longer than it travelled");
                    assert_eq!(due_ms == 0, other_due_ms == 0);
                    assert!(*value == other && *raw == other_raw, "{name} has another value");
                }
                None if live(*due_ms) => assert!(self.evicts, "{name} is lost"),
                _ => {}
            }
        }
        target.retain(|_, (_, due_ms, _)| live(*due_ms));
        assert_eq!(target.len(), 0, "keys that are gone came back");
    }

    fn finish(mut self) {
        let frames = std::mem::take(&mut self.wire);
        for frame in frames {
            deliver(&mut self.arrival, &self.target, &frame, self.now_ms).expect("it is applied");
        }
        let mut frame = Vec::new();
        while self.export.fill(&mut frame, usize::MAX) {}
        deliver(&mut self.arrival, &self.target, &frame, self.now_ms).expect("it is applied");
        drain(&mut self.departure, &mut self.arrival, &self.source, &self.target, self.now_ms);
        assert_eq!((self.departure.changes_left(&self.source), self.departure.is_walking()), (0, false));
        self.check_equal();
        self.check_hidden();
        let Self { source, target, departure, arrival, now_ms, .. } = self;
        let before = target.entries(0);
        let moved = entries(&target, &moving_slots()).len();
        departure.end(&source);
        arrival.complete(&target);
        assert_eq!(target.entries(0), before + moved);
        clear(&source, now_ms);
        each_shard(&target, |db| db.validate());
        assert!((0..source.shards()).all(|shard| source.lock(shard).db(0).attention.is_none()));
        assert!((0..target.shards()).all(|shard| target.lock(shard).db(0).attention.is_none()));
    }
}

/// Empties the moved slots: silently, but for transactions that watch.
fn clear(source: &Keyspace, now_ms: u64) {
    let slots = moving_slots();
    let (held, removals, others) = (entries(source, &slots), source.removals(), source.entries(0));
    let flag = Arc::new(AtomicBool::new(false));
    let watched = held.keys().next().cloned();
    if let Some(key) = &watched {
        source.lock(source.layout().key(key).shard).db(0).watch(key, Arc::clone(&flag));
    }
    for &slot in &slots {
        while !source.clear_slot(slot, 7) {}
    }
    assert_eq!((source.removals(), source.entries(0)), (removals, others - held.len()));
    if let Some(key) = &watched {
        assert!(flag.load(Ordering::Relaxed), "a watched key went without a word");
        remove(source, key, now_ms);
        source.lock(source.layout().key(key).shard).db(0).unwatch(key, &flag);
    }
    each_shard(source, |db| db.validate());
}

#[test]
fn both_sides_are_equal_whatever_happens_during_the_move() {
    let seeds: Vec<_> = (0..24)
        .map(|seed| {
            let thread = std::thread::Builder::new().name(format!("seed {seed}"));
            let run = move || {
                let mut world = World::new(seed);
                let check_every = 100 + world.rng.below(600);
                for step in 0..5_000 {
                    world.step();
                    if step % check_every == 0 {
                        world.check_hidden();
                    }
                }
                let counts = (world.overruns + world.departure.overruns(), world.restarts);
                world.finish();
                counts
            };
            thread
                .spawn(run)
                .expect("a thread starts")
                .join()
                .unwrap_or_else(|_| panic!("seed {seed} failed"))
        })
        .collect();
    assert!(seeds.iter().any(|&(overruns, _)| overruns > 0), "no feed overran");
    assert!(seeds.iter().any(|&(_, restarts)| restarts > 0), "no move began again");
}

#[test]
fn clients_on_other_threads_lose_nothing() {
    let (source, target) = (keyspace(2, Policy::AllkeysLru, 1), keyspace(1, Policy::AllkeysLru, 2));
    let name = |number: u64| format!("{}{number}", MOVING[number as usize % MOVING.len()]).into_bytes();
    for number in 0..20_000 {
        set(&source, &name(number), b"before", Due::Never, START_MS);
    }
    let slots = moving_slots();
    let mut departure = Departure::begin(&source, &slots).expect("no feed is open");
    let mut arrival = Arrival::begin(&target, &slots).expect("the slots are empty");
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let source = &source;
            scope.spawn(move || {
                let mut rng = Rng::seeded(seed);
                for round in 0..40_000u64 {
                    let key = name(rng.below(30_000));
                    match rng.below(5) {
                        0 => remove(source, &key, START_MS),
                        _ => set(source, &key, &round.to_le_bytes(), Due::Never, START_MS),
                    }
                }
            });
        }
        drain(&mut departure, &mut arrival, &source, &target, START_MS);
    });
    drain(&mut departure, &mut arrival, &source, &target, START_MS);
    assert!(entries(&source, &slots) == entries(&target, &slots));
}

/// A source with one entry that takes several parts, and what the move sends of it, record by record.
fn parts() -> (Keyspace, Vec<Vec<u8>>) {
    let source = keyspace(0, Policy::AllkeysLru, 1);
    let key = format!("{}{}", MOVING[0], "k".repeat(PART_BYTES / 2));
    let value: Vec<u8> = (0..PART_BYTES * 2).map(|at| (at / 251) as u8).collect();
    set(&source, key.as_bytes(), &value, Due::At(START_MS + 5000), START_MS);
    let mut departure = Departure::begin(&source, &moving_slots()).expect("no feed is open");
    let mut export = Export::default();
    while departure.walk_step(&source, START_MS, &mut export) {}
    departure.end(&source);
    let mut records = Vec::new();
    while !export.is_empty() {
        let mut record = Vec::new();
        export.fill(&mut record, 1);
        records.push(record);
    }
    (source, records)
}

#[test]
fn parts_are_put_together_or_refused() {
    let (source, records) = parts();
    assert_eq!(records.len(), 3);
    let target = keyspace(1, Policy::AllkeysLru, 2);
    let mut arrival = Arrival::begin(&target, &moving_slots()).expect("the slots are empty");
    let mut absent = Vec::new();
    Record::Absent { key: MOVING[1].as_bytes() }.encode_into(&mut absent);
    let torn = Err(ArrivalError::Torn);
    for at in 0..records.len() {
        let mut send = |record: &[u8]| arrival.apply(&target, record, START_MS + 70).map(drop);
        // A part without a beginning, one too many, and something in between.
        if at > 0 {
            assert_eq!(send(&absent), Ok(()));
            assert_eq!(send(&records[at]), torn);
        }
        records[..=at].iter().for_each(|record| assert_eq!(send(record), Ok(())));
        if at + 1 == records.len() {
            assert_eq!(send(&records[at]), torn);
        }
        if at == 1 {
            assert_eq!(send(&records[0]), Ok(()), "it begins again");
            assert_eq!(send(&records[1]), Ok(()));
            assert_eq!(send(&records[1]), torn, "longer than it said");
        }
    }
    let mut expected = entries(&source, &moving_slots());
    expected.values_mut().for_each(|entry| entry.1 = entry.1.map(|due_ms| due_ms + 70));
    assert!(entries(&target, &moving_slots()) == expected);
    each_shard(&target, |db| db.validate());
}

#[test]
fn nothing_is_written_outside_the_slots_that_arrive() {
    let target = keyspace(1, Policy::AllkeysLru, 2);
    set(&target, b"{d}", b"there", Due::Never, START_MS);
    assert_eq!(Arrival::begin(&target, &moving_slots()).err(), Some(slot_of(b"{d}")), "not empty");
    let slots = [slot_of(b"{a}"), slot_of(b"{b}")];
    let mut arrival = Arrival::begin(&target, &slots).expect("the slots are empty");
    assert_eq!(Arrival::begin(&target, &slots[..1]).err(), Some(slots[0]), "it arrives already");
    let other = Arrival::begin(&target, &[slot_of(b"{c}")]).expect("the slot is empty");
    for tag in ["{d}", "{c}"] {
        let mut frame = Vec::new();
        Record::Absent { key: tag.as_bytes() }.encode_into(&mut frame);
        let slot = slot_of(tag.as_bytes());
        assert_eq!(arrival.apply(&target, &frame, START_MS), Err(ArrivalError::Foreign(slot)));
    }
    let mut clear = Vec::new();
    Record::Clear { slot: slot_of(b"{d}") }.encode_into(&mut clear);
    assert_eq!(arrival.apply(&target, &clear, START_MS), Err(ArrivalError::Foreign(slot_of(b"{d}"))));
    let version = Err(ArrivalError::Malformed(Malformed::Version));
    assert_eq!(arrival.apply(&target, &[0xFF], START_MS), version);
    // Once it is owned, what comes late is refused.
    let mut late = Vec::new();
    Record::Absent { key: b"{a}" }.encode_into(&mut late);
    assert_eq!(arrival.apply(&target, &late, START_MS), Ok(late.len()));
    target.show_slot(slots[0]);
    assert_eq!(arrival.apply(&target, &late, START_MS), Err(ArrivalError::Foreign(slots[0])));
    other.complete(&target);
    arrival.complete(&target);
    assert_eq!(target.entries(0), 1);
}

#[test]
fn without_room_nothing_arrives_under_noeviction() {
    let (_, records) = parts();
    let target = keyspace(0, Policy::NoEviction, 2);
    target.set_limit_bytes(target.used_bytes() + 10_000);
    let mut arrival = Arrival::begin(&target, &moving_slots()).expect("the slots are empty");
    set(&target, OWN.as_bytes(), &[7; 30_000], Due::Never, START_MS);
    assert_eq!(arrival.apply(&target, &records[0], START_MS), Err(ArrivalError::OutOfMemory));
    while !arrival.clear_step(&target) {}
    // With eviction the same goes through; hidden entries may be evicted.
    let target = keyspace(0, Policy::AllkeysLru, 2);
    target.set_limit_bytes(target.used_bytes() + 4_000_000);
    let mut arrival = Arrival::begin(&target, &moving_slots()).expect("the slots are empty");
    for _ in 0..3 {
        records.iter().for_each(|record| {
            arrival.apply(&target, record, START_MS).expect("it is applied");
        });
    }
    assert_eq!(entries(&target, &moving_slots()).len(), 1);
    while target.lock(0).db(0).evict(&mut Rng::seeded(1)).is_some() {}
    assert_eq!(entries(&target, &moving_slots()).len(), 0);
    each_shard(&target, |db| db.validate());
}

#[test]
fn what_was_hot_stays_hot() {
    let (source, target) = (keyspace(0, Policy::AllkeysLru, 1), keyspace(0, Policy::AllkeysLru, 2));
    let (hot, cold) = (b"{a}hot", b"{a}cold");
    set(&source, hot, b"v", Due::Never, START_MS - 90_000);
    let key = source.layout().key(hot);
    let mut shard = source.lock(0);
    let found = shard.db(0).peek(&key).expect("it was set");
    (0..3).for_each(|_| shard.db(0).touch(found, START_MS - 60_000));
    drop(shard);
    // The queue's other entries go first, and the hot one to the main queue.
    (0..100).for_each(|number| set(&source, format!("{number}").as_bytes(), b"v", Due::Never, START_MS));
    for _ in 0..50 {
        source.lock(0).db(0).evict(&mut Rng::seeded(1));
    }
    set(&source, cold, b"v", Due::Never, START_MS);
    let mut departure = Departure::begin(&source, &moving_slots()).expect("no feed is open");
    let mut arrival = Arrival::begin(&target, &moving_slots()).expect("the slots are empty");
    drain(&mut departure, &mut arrival, &source, &target, START_MS);
    let traits = |keyspace: &Keyspace, key: &[u8]| {
        let mut shard = keyspace.lock(0);
        let db = shard.db(0);
        let found = db.peek(&keyspace.layout().key(key)).expect("it is there");
        (entry::queue(db.arena.slot(found.handle)), db.frequency(found), db.idle_seconds(found, START_MS))
    };
    assert_eq!(traits(&source, hot).0, entry::Queue::Main);
    assert_eq!(traits(&source, hot).2, 60);
    for key in [&hot[..], cold] {
        assert_eq!(traits(&source, key), traits(&target, key));
    }
}

#[test]
fn a_hidden_slot_is_silent_and_keeps_its_counts() {
    let keyspace = keyspace(0, Policy::AllkeysLru, 1);
    let slot = slot_of(MOVING[0].as_bytes());
    let number = keyspace.layout().slot_in_shard(slot);
    for at in 0..1000 {
        let due = if at % 2 == 0 { Due::At(START_MS + 10) } else { Due::Never };
        set(&keyspace, format!("{}{at}", MOVING[0]).as_bytes(), b"v", due, START_MS);
    }
    keyspace.hide_slot(slot);
    keyspace.hide_slot(slot);
    let counts = |keyspace: &Keyspace| {
        let mut shard = keyspace.lock(0);
        (shard.db(0).entries(), shard.db(0).entries_with_due(), shard.db(0).slot_entries(number))
    };
    assert_eq!(counts(&keyspace), (0, 0, 0));
    // Half of them expire; the owner counts that, not this node.
    assert_eq!(keyspace.lock(0).db(0).expire(START_MS + 10, 2000), 500);
    assert_eq!(keyspace.removals(), Default::default());
    keyspace.show_slot(slot);
    assert_eq!(counts(&keyspace), (500, 0, 500));
    // Emptying it step by step takes as many steps as were allowed for.
    keyspace.hide_slot(slot);
    assert!(!keyspace.clear_slot(slot, 100));
    let left = keyspace.lock(0).db(0).index.slot_len(number);
    assert!((390..=400).contains(&left), "{left} left");
    while !keyspace.clear_slot(slot, CLEARED_A_STEP) {}
    keyspace.show_slot(slot);
    assert!(keyspace.lock(0).db(0).attention.is_none());
    let mut handles = Vec::new();
    assert_eq!(keyspace.lock(0).db(0).index.scan(number, Position::default(), 10, &mut handles), None);
    assert!(handles.is_empty());
}
