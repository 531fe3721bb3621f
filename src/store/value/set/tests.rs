//! Sets against ordered sets of byte strings, in all their forms.

use super::{Set, SetRef};
use crate::base::rng::Rng;
use crate::store::value::{Collection, Thresholds};
use std::collections::{BTreeMap, BTreeSet};

fn members(set: SetRef<'_>) -> BTreeSet<Vec<u8>> {
    let listed: Vec<Vec<u8>> = set.iter().map(|element| element.to_vec()).collect();
    let unique: BTreeSet<Vec<u8>> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len());
    unique
}

/// A member of one of several kinds: small and large integers, short and long texts.
fn member(rng: &mut Rng, kinds: u64) -> Vec<u8> {
    let number = rng.below(400);
    match rng.below(kinds) {
        0 => number.to_string().into_bytes(),
        1 => (number as i64 - 200).wrapping_mul(1 << 40).to_string().into_bytes(),
        2 => format!("member {number}").into_bytes(),
        _ => format!("{number:>70}").into_bytes(),
    }
}

#[test]
fn sets_are_what_ordered_sets_are() {
    let mut rng = Rng::seeded(9);
    let thresholds = Thresholds { set_max_intset_entries: 60, ..Thresholds::default() };
    let mut encodings = BTreeMap::new();
    for round in 0..120 {
        let (mut set, mut model) = (Set::new(), BTreeSet::new());
        let (kinds, steps) = (1 + round % 4, [20, 100, 500][round as usize % 3]);
        for _ in 0..steps {
            let member = member(&mut rng, kinds);
            if rng.below(4) == 0 {
                assert_eq!(set.remove(&member), model.remove(&member));
            } else {
                assert_eq!(set.add(&member, &thresholds), model.insert(member.clone()));
            }
            assert_eq!(set.as_ref().contains(&member), model.contains(&member));
            assert_eq!(set.as_ref().len(), model.len());
        }
        *encodings.entry(Set::encoding(set.as_ref())).or_insert(0) += 1;
        assert_eq!(members(set.as_ref()), model);
        assert_eq!(members(set.clone().as_ref()), model);
        if let Some((form, bytes)) = set.packed() {
            assert!(Set::check(form, bytes) || model.is_empty());
            assert_eq!(members(Set::packed_reference(form, bytes)), model);
        }
        let mut walked = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = set.as_ref().scan(cursor, 7, |element| walked.push(element.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        walked.sort();
        assert!(walked.iter().eq(model.iter()));
        while !model.is_empty() {
            let mut popped = None;
            assert!(set.pop(&mut rng, |element| popped = Some(element.to_vec())));
            assert!(model.remove(&popped.unwrap()));
        }
        assert!(set.is_empty() && !set.pop(&mut rng, |_| ()));
    }
    assert_eq!(encodings.len(), 3, "{encodings:?}");
}

#[test]
fn forms_change_as_in_redis() {
    let thresholds = Thresholds::default();
    let encoding = |set: &Set| Set::encoding(set.as_ref());
    let mut set = Set::new();
    (0..512).for_each(|number: i64| assert!(set.add(number.to_string().as_bytes(), &thresholds)));
    assert_eq!(encoding(&set), "intset");
    set.add(b"512", &thresholds);
    assert_eq!(encoding(&set), "hashtable");
    set.remove(b"512");
    set.settle(&thresholds);
    assert_eq!(encoding(&set), "intset");
    set.add(b"a", &thresholds);
    assert_eq!(encoding(&set), "hashtable");

    let mut set = Set::new();
    (0..127).for_each(|number: i64| assert!(set.add(number.to_string().as_bytes(), &thresholds)));
    set.add(b"a", &thresholds);
    assert_eq!((encoding(&set), set.as_ref().len()), ("listpack", 128));
    set.add(b"b", &thresholds);
    assert_eq!(encoding(&set), "hashtable");
    let mut set = Set::new();
    set.add(&[b'x'; 64], &thresholds);
    assert_eq!(encoding(&set), "listpack");
    set.add(&[b'x'; 65], &thresholds);
    assert_eq!(encoding(&set), "hashtable");

    for (count, first, expected) in
        [(512, "1", "intset"), (513, "1", "hashtable"), (128, "a", "listpack"), (129, "a", "hashtable")]
    {
        let mut set = Set::new();
        set.expect(count, first.as_bytes(), &thresholds);
        assert_eq!(encoding(&set), expected, "{count} {first}");
    }
}

#[test]
fn random_members_come_evenly() {
    let mut rng = Rng::seeded(11);
    for (prefix, count) in [("", 100), ("m", 100), ("a longer member, far longer ", 1000)] {
        let mut set = Set::new();
        (0..count).for_each(|number| {
            set.add(format!("{prefix}{number}").as_bytes(), &Thresholds::default());
        });
        let mut drawn = BTreeMap::new();
        let mut note = |member: Vec<u8>| *drawn.entry(member).or_insert(0) += 1;
        for wanted in [1, count / 10, count / 2, count - 1, count, count + 5] {
            let mut seen = BTreeSet::new();
            let found = set.as_ref().sample(wanted, &mut rng, |element| {
                assert!(seen.insert(element.to_vec()));
            });
            assert_eq!((found, seen.len()), (wanted.min(count), wanted.min(count)));
        }
        (0..count * 50).for_each(|_| note(set.as_ref().random(&mut rng).unwrap().to_vec()));
        assert_eq!(drawn.len(), count);
        assert!(drawn.values().all(|times| (10..130).contains(times)), "{drawn:?}");
        let mut first = BTreeMap::new();
        for _ in 0..count * 50 {
            set.as_ref().sample(1, &mut rng, |element| *first.entry(element.to_vec()).or_insert(0) += 1);
        }
        assert!(first.values().all(|times| (10..130).contains(times)));
    }
}
