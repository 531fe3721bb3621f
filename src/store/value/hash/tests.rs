//! Hashes against a standard map: random use in all forms, due fields, walks, samples.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{FieldDue, Hash, HashRef, is_valid};
use crate::base::rng::Rng;
use crate::store::value::{Collection, Thresholds};

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// Names and values that are integers, short and long texts.
fn text(rng: &mut Rng, names: u64, long: bool) -> Vec<u8> {
    let number = rng.below(names);
    match number % 4 {
        0 => number.to_string().into_bytes(),
        1 => format!("-{number}").into_bytes(),
        2 if long => format!("{number}{}", "x".repeat(70)).into_bytes(),
        _ => format!("field:{number}").into_bytes(),
    }
}

fn encoding(hash: &Hash) -> &'static str {
    Hash::encoding(hash.as_ref())
}

fn validate(hash: &Hash) {
    match hash {
        Hash::Packed(buf) => assert!(hash.is_empty() || is_valid(buf.as_pack().bytes(), false)),
        Hash::Timed(buf) => assert!(hash.is_empty() || is_valid(buf.as_pack().bytes(), true)),
        Hash::Table(table) => table.validate(),
    }
}

fn visible(model: &Model, now_ms: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let alive = |due_ms: &Option<u64>| due_ms.is_none_or(|due_ms| due_ms > now_ms);
    model
        .iter()
        .filter(|(_, (_, due_ms))| alive(due_ms))
        .map(|(name, (value, _))| (name.clone(), value.clone()))
        .collect()
}

fn compare(hash: &Hash, model: &Model, now_ms: u64) {
    validate(hash);
    let read: HashRef<'_> = hash.as_ref();
    let wanted = visible(model, now_ms);
    let mut found = BTreeMap::new();
    read.for_each(now_ms, |name, value| assert!(found.insert(name.to_vec(), value.to_vec()).is_none()));
    assert_eq!(found, wanted);
    assert_eq!(read.len(now_ms), wanted.len());
    assert_eq!(hash.is_empty(), model.is_empty());
    assert_eq!(read.next_due_ms(), model.values().filter_map(|(_, due_ms)| *due_ms).min());
    let mut scanned = BTreeMap::new();
    let mut cursor = 0;
    loop {
        cursor = read.scan(cursor, 10, now_ms, |name, value| {
            assert!(scanned.insert(name.to_vec(), value.to_vec()).is_none());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned, wanted);
}

fn step(hash: &mut Hash, model: &mut Model, rng: &mut Rng, now_ms: u64, (names, long): (u64, bool)) {
    let name = text(rng, names, long);
    let present = model.get(&name).cloned().filter(|(_, due_ms)| due_ms.is_none_or(|due_ms| due_ms > now_ms));
    let due_ms = now_ms + 1 + rng.below(300);
    assert_eq!(hash.as_ref().get(&name, now_ms).map(|value| value.to_vec()), present.clone().map(|it| it.0));
    assert_eq!(hash.as_ref().due_ms(&name, now_ms), present.clone().map(|it| it.1));
    match rng.below(10) {
        0..5 => {
            let value = text(rng, 1000, long);
            let (due, after_ms) = match rng.below(6) {
                0 => (FieldDue::At(due_ms), Some(due_ms)),
                1 => (FieldDue::Keep, present.as_ref().and_then(|it| it.1)),
                _ => (FieldDue::Never, None),
            };
            let is_new = hash.set(&name, &value, due, &Thresholds::default(), now_ms);
            assert_eq!(is_new, present.is_none());
            model.insert(name, (value, after_ms));
        }
        5..7 => {
            let wanted = model.remove(&name).map(|_| present.is_some());
            assert_eq!(hash.remove(&name, now_ms), wanted);
        }
        7 => {
            let due_ms = (rng.below(3) > 0).then_some(due_ms);
            assert_eq!(hash.set_due(&name, due_ms), model.contains_key(&name));
            if let Some(field) = model.get_mut(&name) {
                field.1 = due_ms;
            }
        }
        8 => {
            let max = 1 + rng.below(20) as usize;
            let removed = hash.expire_fields(now_ms, max);
            let mut due: Vec<_> = model
                .iter()
                .filter_map(|(name, (_, due_ms))| {
                    Some((due_ms.filter(|due_ms| *due_ms <= now_ms)?, name.clone()))
                })
                .collect();
            due.sort();
            assert_eq!(removed, due.len().min(max));
            // Which of those with equal due times went is the hash's choice.
            for (_, name) in due {
                let mut left = HashSet::new();
                hash.as_ref().for_each_field(|name, _, _| assert!(left.insert(name.to_vec())));
                if !left.contains(&name) {
                    model.remove(&name);
                }
            }
        }
        _ => {
            let field =
                hash.as_ref().random(rng, now_ms).map(|(name, value)| (name.to_vec(), value.to_vec()));
            let wanted = visible(model, now_ms);
            assert_eq!(field.is_none(), wanted.is_empty());
            assert!(field.is_none_or(|(name, value)| wanted.get(&name) == Some(&value)));
        }
    }
}

#[test]
fn random_use_against_a_map() {
    for seed in 0..24 {
        let mut rng = Rng::seeded(seed);
        let kind = ([20, 300, 2000][seed as usize % 3], seed % 2 == 1);
        let (mut hash, mut model) = (Hash::new(), Model::new());
        let mut now_ms = 1_000;
        for at in 0..1500 {
            now_ms += rng.below(4);
            step(&mut hash, &mut model, &mut rng, now_ms, kind);
            if at % 100 == 0 {
                compare(&hash, &model, now_ms);
            }
        }
        compare(&hash, &model, now_ms);
        compare(&hash.clone(), &model, now_ms);
        let left = model.values().filter(|(_, due_ms)| due_ms.is_none()).count();
        hash.expire_fields(u64::MAX, usize::MAX);
        assert_eq!(hash.as_ref().len(0), left);
        validate(&hash);
    }
}

#[test]
fn forms_change_as_in_redis() {
    let thresholds = Thresholds { hash_max_listpack_entries: 3, ..Thresholds::default() };
    let set = |hash: &mut Hash, name: &str, value: &str| {
        hash.set(name.as_bytes(), value.as_bytes(), FieldDue::Never, &thresholds, 5)
    };
    let mut hash = Hash::new();
    for name in ["a", "b", "c"] {
        assert!(set(&mut hash, name, "1"));
    }
    assert!(!set(&mut hash, "c", "2"));
    assert_eq!(encoding(&hash), "listpack");
    let mut timed = hash.clone();
    assert!(timed.set_due(b"b", Some(9)) && timed.set_due(b"c", Some(7)) && !timed.set_due(b"d", Some(1)));
    assert_eq!(encoding(&timed), "listpackex");
    let mut order = Vec::new();
    timed.as_ref().for_each_field(|name, _, due_ms| order.push((name.to_vec(), due_ms)));
    assert_eq!(order, [(b"c".to_vec(), Some(7)), (b"b".to_vec(), Some(9)), (b"a".to_vec(), None)]);
    assert!(set(&mut timed, "d", "4"));
    assert_eq!((encoding(&timed), timed.as_ref().next_due_ms()), ("hashtable", Some(7)));
    assert!(set(&mut hash, "d", "4"));
    assert_eq!(encoding(&hash), "hashtable");
    let mut long = Hash::new();
    assert!(set(&mut long, "a", &"x".repeat(64)));
    assert_eq!(encoding(&long), "listpack");
    assert!(!set(&mut long, "a", &"x".repeat(65)));
    assert_eq!(encoding(&long), "hashtable");
}

#[test]
fn samples_are_even_and_without_repetition() {
    for size in [10u64, 100, 2000] {
        let mut rng = Rng::seeded(size);
        let mut hash = Hash::new();
        for number in 0..size {
            let due = if number % 5 == 0 { FieldDue::At(50) } else { FieldDue::Never };
            hash.set(format!("f{number}").as_bytes(), b"v", due, &Thresholds::default(), 1);
        }
        let alive = (size - size / 5) as usize;
        for count in [0, 1, alive / 5, alive / 2, alive, alive + 7] {
            let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
            let rounds = 2000 * 10 / size.max(10);
            for _ in 0..rounds {
                let mut seen = HashSet::new();
                hash.as_ref().sample(count, &mut rng, 60, |name, _| assert!(seen.insert(name.to_vec())));
                assert_eq!(seen.len(), count.min(alive));
                seen.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
            }
            let expected = rounds as f64 * count.min(alive) as f64 / alive as f64;
            let limit = 6.0 * expected.sqrt() + 4.0;
            assert!(counts.values().all(|&seen| (seen as f64 - expected).abs() < limit), "{size} {count}");
        }
    }
}

#[test]
fn a_big_hash_costs_little_beyond_its_texts() {
    let mut hash = Hash::new();
    for number in 0..50_000u64 {
        let (name, value) = (format!("field:{number:010}"), format!("value:{number:020}"));
        hash.set(name.as_bytes(), value.as_bytes(), FieldDue::Never, &Thresholds::default(), 1);
    }
    // Redis 7.0 takes 32 for the entry, 32 for each text and at least 8 for the bucket.
    let each = hash.heap_bytes() / 50_000;
    assert!(each <= 48 + 36, "{each}");
}
