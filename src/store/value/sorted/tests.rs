//! Sorted sets against a map that is sorted anew each time, in both forms.

use super::{
    AddOptions, Added, Collection, Form, LexBound, LexRange, PackBuf, ScoreBound, ScoreRange, SortedSet,
    Thresholds,
};
use crate::base::rng::Rng;
use std::collections::BTreeMap;

fn sorted(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("no NaN").then_with(|| a.0.cmp(&b.0)));
    all
}

fn all(set: &SortedSet) -> Vec<(Vec<u8>, f64)> {
    set.as_ref().iter().map(|(member, score)| (member.to_vec(), score)).collect()
}

fn random_score(rng: &mut Rng) -> f64 {
    match rng.below(12) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => -0.0,
        3 => rng.below(100) as f64 / 7.0,
        4 => rng.next_u64() as f64 * 1e10,
        _ => rng.below(12) as f64 - 6.0,
    }
}

fn random_bound(rng: &mut Rng) -> ScoreBound {
    ScoreBound { score: random_score(rng), is_exclusive: rng.below(2) == 0 }
}

fn contains(range: &ScoreRange, score: f64) -> bool {
    let above = if range.min.is_exclusive { score > range.min.score } else { score >= range.min.score };
    above && if range.max.is_exclusive { score < range.max.score } else { score <= range.max.score }
}

fn compare(set: &SortedSet, model: &BTreeMap<Vec<u8>, f64>, rng: &mut Rng) {
    let expected = sorted(model);
    assert_eq!(all(set), expected);
    let view = set.as_ref();
    assert_eq!((view.len(), view.is_empty()), (expected.len(), expected.is_empty()));
    let range = ScoreRange { min: random_bound(rng), max: random_bound(rng) };
    let span = view.span_of_scores(&range);
    let inside: Vec<_> = expected.iter().filter(|(_, score)| contains(&range, *score)).cloned().collect();
    assert_eq!(span.len(), inside.len(), "{range:?}");
    let walked = view.walk_span(span.clone(), false).map(|(member, score)| (member.to_vec(), score));
    assert_eq!(walked.collect::<Vec<_>>(), inside);
    let walked = view.walk_span(span, true).map(|(member, score)| (member.to_vec(), score));
    assert_eq!(walked.collect::<Vec<_>>(), inside.into_iter().rev().collect::<Vec<_>>());
    for (rank, (member, score)) in expected.iter().enumerate().step_by(5) {
        assert_eq!(view.rank(member), Some((rank, *score)));
        assert_eq!(view.score(member), Some(*score));
        let (numbered, numbered_score) = view.numbered(rank).expect("below the length");
        assert_eq!(model.get(&numbered.to_vec()), Some(&numbered_score));
    }
    assert_eq!(view.score(b"none"), None);
    let mut seen = 0;
    let mut cursor = 0;
    loop {
        cursor = view.scan(cursor, 5, |_, _| seen += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, expected.len());
}

#[test]
fn both_forms_do_what_the_model_does() {
    for (seed, entries) in [(1, 0), (2, 16), (3, 1000)] {
        let thresholds = Thresholds { zset_max_listpack_entries: entries, ..Thresholds::default() };
        let mut rng = Rng::seeded(seed);
        let mut set = SortedSet::new();
        let mut model = BTreeMap::new();
        for step in 0..600 {
            let number = rng.below(60);
            let member = if number.is_multiple_of(2) { number.to_string() } else { format!("m{number}") };
            let member = member.into_bytes();
            if rng.below(3) == 0 {
                assert_eq!(set.remove(&member), model.remove(&member).is_some());
            } else {
                let score = random_score(&mut rng);
                let before = model.get(&member).copied();
                match set.add(&member, score, AddOptions::default(), &thresholds) {
                    Added::New(new) => assert_eq!((before, new), (None, score)),
                    Added::Updated(new) => assert!(before.is_some_and(|old| old != new && new == score)),
                    Added::Same(same) => assert_eq!(before, Some(same)),
                    other => panic!("{other:?}"),
                }
                // An equal score (0 and -0) leaves the one that is there.
                if before != Some(score) {
                    model.insert(member, score);
                }
            }
            if step % 10 == 0 {
                compare(&set, &model, &mut rng);
            }
            if step % 100 == 99 {
                let (start, count) = (rng.below(20) as usize, rng.below(9) as usize);
                let gone: Vec<_> = sorted(&model).into_iter().skip(start).take(count).collect();
                assert_eq!(set.remove_span(start..start + count), gone.len());
                gone.iter().for_each(|(member, _)| {
                    model.remove(member);
                });
                compare(&set.clone(), &model, &mut rng);
            }
        }
        let members = model.iter().map(|(member, score)| (member.as_slice().into(), *score)).collect();
        compare(&SortedSet::from_members(members, &thresholds), &model, &mut rng);
        set.remove_span(0..usize::MAX);
        assert!(set.as_ref().is_empty());
    }
}

#[test]
fn it_turns_large_where_redis_does() {
    let thresholds = Thresholds { zset_max_listpack_entries: 4, ..Thresholds::default() };
    let mut set = SortedSet::new();
    for member in ["a", "b", "c", "d"] {
        set.add(member.as_bytes(), 1.0, AddOptions::default(), &thresholds);
    }
    assert_eq!(set.as_ref().encoding_name(), "listpack");
    set.add(b"e", 1.0, AddOptions::default(), &thresholds);
    assert_eq!(set.as_ref().encoding_name(), "skiplist");
    let mut set = SortedSet::new();
    set.add(&[b'x'; 64], 1.0, AddOptions::default(), &thresholds);
    assert_eq!(set.as_ref().encoding_name(), "listpack");
    set.add(&[b'x'; 65], 1.0, AddOptions::default(), &thresholds);
    assert_eq!((set.as_ref().encoding_name(), set.len()), ("skiplist", 2));
}

#[test]
fn options_decide() {
    let mut set = SortedSet::new();
    let base = AddOptions::default();
    let mut add = |score, options| set.add(b"m", score, options, &Thresholds::default());
    assert_eq!(add(1.0, AddOptions { xx: true, ..base }), Added::Refused);
    assert_eq!(add(f64::INFINITY, AddOptions { incr: true, gt: true, ..base }), Added::New(f64::INFINITY));
    assert_eq!(add(f64::NEG_INFINITY, AddOptions { incr: true, ..base }), Added::NotANumber);
    assert_eq!(add(2.5, AddOptions { nx: true, ..base }), Added::Refused);
    assert_eq!(add(2.5, AddOptions { gt: true, ..base }), Added::Refused);
    assert_eq!(add(2.5, AddOptions { lt: true, ..base }), Added::Updated(2.5));
    assert_eq!(add(0.5, AddOptions { incr: true, xx: true, ..base }), Added::Updated(3.0));
    assert_eq!(add(0.0, AddOptions { incr: true, ..base }), Added::Same(3.0));
    assert_eq!(add(0.0, AddOptions { incr: true, gt: true, ..base }), Added::Refused);
}

#[test]
fn packed_bytes_are_those_of_redis() {
    let mut set = SortedSet::new();
    for (member, score) in [("b", 2.0), ("7", 1.5), ("a", 2.0)] {
        set.add(member.as_bytes(), score, AddOptions::default(), &Thresholds::default());
    }
    let SortedSet::Packed(pack) = &set else { panic!("small") };
    let expected = b"\x18\0\0\0\x06\0\x07\x01\x831.5\x04\x81a\x02\x02\x01\x81b\x02\x02\x01\xff";
    assert_eq!(pack.as_pack().bytes(), expected);
}

#[test]
fn members_are_selected_by_their_bytes() {
    for entries in [0, 128] {
        let thresholds = Thresholds { zset_max_listpack_entries: entries, ..Thresholds::default() };
        let mut set = SortedSet::new();
        for member in ["a", "b", "c", "d", "10"] {
            set.add(member.as_bytes(), 0.0, AddOptions::default(), &thresholds);
        }
        let span = |min, max| set.as_ref().span_of_members(&LexRange { min, max });
        assert_eq!(span(LexBound::Lowest, LexBound::Highest), 0..5);
        assert_eq!(span(LexBound::Highest, LexBound::Lowest).len(), 0);
        assert_eq!(span(LexBound::Inclusive(b"a"), LexBound::Inclusive(b"c")), 1..4);
        assert_eq!(span(LexBound::Exclusive(b"a"), LexBound::Exclusive(b"c")), 2..3);
        assert_eq!(span(LexBound::Exclusive(b"c"), LexBound::Inclusive(b"b")).len(), 0);
        assert_eq!(span(LexBound::Lowest, LexBound::Exclusive(b"a")), 0..1);
    }
}

#[test]
fn only_sorted_sets_are_taken_for_some() {
    let check = |elements: &[&str]| {
        let mut pack = PackBuf::new();
        elements.iter().for_each(|element| pack.push_back(element.as_bytes()));
        SortedSet::check(Form::SortedSet, pack.as_pack().bytes())
    };
    assert!(check(&["a", "1", "b", "1", "c", "1.5", "d", "inf"]));
    for elements in [&["a"][..], &["a", "x"], &["b", "1", "a", "1"], &["a", "2", "b", "1"], &["a", "nan"]] {
        assert!(!check(elements), "{elements:?}");
    }
    assert!(!check(&["a", "1", "a", "2"]));
    assert!(!check(&[]));
}
