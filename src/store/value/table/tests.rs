//! Tables against standard sets: random use, walks while they grow and shrink, random elements, memory.

use std::collections::{HashMap, HashSet};

use super::{SEGMENT_MAX, Table, text_hash};
use crate::base::rng::Rng;

fn hash(number: &u64) -> u64 {
    text_hash(&number.to_le_bytes())
}

fn insert(table: &mut Table<u64>, number: u64) {
    table.insert(hash(&number), number, hash);
}

fn remove(table: &mut Table<u64>, number: u64) -> Option<u64> {
    table.remove(hash(&number), |other| *other == number, hash)
}

#[test]
fn random_use_against_a_set() {
    let mut rng = Rng::seeded(21);
    let mut table = Table::new();
    let mut model = HashSet::new();
    for round in 0..6u64 {
        // It grows to some thousands, shrinks to few, and so on.
        let inserts_of_ten = if round % 2 == 0 { 9 } else { 1 };
        for _ in 0..12_000 {
            let number = rng.below(8000);
            if rng.below(10) < inserts_of_ten {
                if table.get(hash(&number), |other| *other == number).is_none() {
                    insert(&mut table, number);
                    assert!(model.insert(number));
                }
            } else {
                assert_eq!(remove(&mut table, number), model.take(&number));
            }
            assert_eq!(table.len(), model.len());
        }
        table.validate(hash);
        assert_eq!(table.iter().copied().collect::<HashSet<_>>(), model);
        assert_eq!(table.iter().count(), model.len());
    }
    for number in model {
        assert_eq!(remove(&mut table, number), Some(number));
    }
    table.validate(hash);
    assert_eq!((table.len(), table.heap_bytes()), (0, 0));
}

#[test]
fn a_scan_emits_whatever_stays_exactly_once() {
    for seed in 0..20 {
        let mut rng = Rng::seeded(seed);
        let mut table = Table::new();
        let size = 1 + rng.below(6000);
        (0..size).for_each(|number| insert(&mut table, number));
        // Those below a third stay; the others come and go, more or fewer of them as the seed says.
        let (stays, grows) = (size / 3 + 1, seed % 2 == 0);
        let mut seen = HashMap::new();
        let mut cursor = 0;
        for _ in 0..1_000_000 {
            let count = 1 + rng.below(700) as usize;
            cursor = table.scan(cursor, count, hash, |number| *seen.entry(*number).or_insert(0) += 1);
            if cursor == 0 {
                break;
            }
            for _ in 0..rng.below(400) {
                let number = stays + rng.below(if grows { 40_000 } else { size });
                if table.get(hash(&number), |other| *other == number).is_some() {
                    remove(&mut table, number);
                } else if grows {
                    insert(&mut table, number);
                }
            }
        }
        assert_eq!(cursor, 0);
        table.validate(hash);
        for number in 0..stays.min(size) {
            assert_eq!(seen.get(&number), Some(&1), "seed {seed}, {number} of {size}");
        }
    }
}

#[test]
fn a_scan_emits_about_as_many_as_asked_for() {
    let mut table = Table::new();
    (0..100_000).for_each(|number| insert(&mut table, number));
    let (mut cursor, mut calls) = (0, 0);
    loop {
        let mut emitted = 0;
        cursor = table.scan(cursor, 10, hash, |_| emitted += 1);
        assert!(emitted <= 60, "{emitted}");
        calls += 1;
        if cursor == 0 {
            break;
        }
        if calls > 300 {
            return;
        }
        assert!(cursor < 1 << 48);
    }
    panic!("only {calls} calls");
}

#[test]
fn random_elements_are_even() {
    for size in [1u64, 3, 100, 2000] {
        let mut rng = Rng::seeded(size);
        let mut table = Table::new();
        (0..size * 3).for_each(|number| insert(&mut table, number));
        (size..size * 3).for_each(|number| assert_eq!(remove(&mut table, number), Some(number)));
        let mut counts = vec![0u64; size as usize];
        let draws = size * 100;
        for _ in 0..draws {
            let number = table.random(&mut rng).copied().unwrap_or(u64::MAX);
            counts[number as usize] += 1;
        }
        // Chi-squared is about `size` with a deviation of the root of twice that.
        let squares: f64 = counts.iter().map(|&count| (count as f64 - 100.0).powi(2) / 100.0).sum();
        assert!(squares < size as f64 + 6.0 * (2.0 * size as f64).sqrt(), "{size}: {squares}");
    }
    assert_eq!(Table::<u64>::new().random(&mut Rng::seeded(1)), None);
}

#[test]
fn equal_hashes_are_kept_apart() {
    let mut table = Table::new();
    let same = |_: &u64| 0x1234_5678_9abc_def0;
    for number in 0..2000u64 {
        table.insert(same(&number), number, same);
    }
    for number in 0..2000u64 {
        assert_eq!(table.get(same(&0), |other| *other == number), Some(&number));
    }
    let mut seen = Vec::new();
    assert_eq!(table.scan(0, 10_000, same, |number| seen.push(*number)), 0);
    seen.sort_unstable();
    assert_eq!(seen, (0..2000).collect::<Vec<_>>());
    assert!(table.heap_bytes() < 2000 * 16 + 20_000, "{}", table.heap_bytes());
    for number in 0..2000u64 {
        assert!(table.random(&mut Rng::seeded(number)).is_some());
        assert_eq!(table.remove(same(&0), |other| *other == number, same), Some(number));
    }
    assert!(table.is_empty());
}

#[test]
fn elements_cost_little_beyond_themselves() {
    let mut table = Table::new();
    let hash = |item: &[u64; 3]| super::text_hash(&item[0].to_le_bytes());
    for number in 0..200_000u64 {
        let item = [number; 3];
        table.insert(hash(&item), item, hash);
        if number > SEGMENT_MAX as u64 && number.is_multiple_of(997) {
            let each = table.heap_bytes() as f64 / (number + 1) as f64;
            assert!(each < 24.0 + 11.0, "{number}: {each}");
        }
    }
}
