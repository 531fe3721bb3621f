//! Lists against deques of strings, at bounds small enough that chunks split, join and vanish.

use super::{End, List, ListRef};
use crate::base::rng::Rng;
use crate::store::value::listpack::{Element, PackBuf};
use crate::store::value::{Collection, Thresholds};
use std::collections::VecDeque;

fn thresholds(list_max_listpack_size: i64) -> Thresholds {
    Thresholds { list_max_listpack_size, ..Thresholds::default() }
}

fn encoding(list: &List) -> &'static str {
    List::encoding(list.as_ref())
}

fn any_text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => vec![b'l'; rng.below(10_000) as usize],
        1..5 => rng.below(20).to_string().into_bytes(),
        _ => vec![b'a' + rng.below(4) as u8; rng.below(300) as usize],
    }
}

fn any_end(rng: &mut Rng) -> End {
    if rng.below(2) == 0 { End::Left } else { End::Right }
}

#[track_caller]
fn judge(list: &List, model: &VecDeque<Vec<u8>>, rng: &mut Rng) {
    let reading = list.as_ref();
    if let ListRef::Chunks(quick) = reading {
        quick.validate();
    }
    assert_eq!((reading.len(), reading.is_empty()), (model.len(), model.is_empty()));
    assert!(reading.iter().map(Element::to_vec).eq(model.iter().cloned()));
    assert!(reading.iter().rev().map(Element::to_vec).eq(model.iter().rev().cloned()));
    let start = rng.below(model.len() as u64 + 2) as usize;
    assert!(reading.iter_from(start).map(Element::to_vec).eq(model.iter().skip(start).cloned()));
    let (count, mut visited) = (rng.below(40) as usize, Vec::new());
    reading.visit(start, count, |element| visited.push(element.to_vec()));
    assert!(visited.iter().eq(model.iter().skip(start).take(count)));
    let index = rng.below(model.len() as u64 + 2) as i64;
    assert_eq!(reading.get(index).map(Element::to_vec).as_ref(), model.get(index as usize));
    let backwards = model.len().checked_sub(index as usize + 1).and_then(|index| model.get(index));
    assert_eq!(reading.get(-1 - index).map(Element::to_vec).as_ref(), backwards);
    let mut both = (reading.iter(), model.iter());
    for _ in 0..model.len() + 1 {
        match any_end(rng) {
            End::Left => assert_eq!(both.0.next().map(Element::to_vec).as_ref(), both.1.next()),
            End::Right => assert_eq!(both.0.next_back().map(Element::to_vec).as_ref(), both.1.next_back()),
        }
    }
}

fn step(rng: &mut Rng, list: &mut List, model: &mut VecDeque<Vec<u8>>, limits: &Thresholds) {
    let text = any_text(rng);
    let end = any_end(rng);
    let index = rng.below(model.len() as u64 + 1) as usize;
    let count = rng.below(12) as usize;
    match rng.below(20) {
        0..8 => {
            let texts: Vec<Vec<u8>> = (0..=rng.below(4)).map(|_| any_text(rng)).collect();
            list.push(end, texts.iter().map(Vec::as_slice), limits);
            for text in texts {
                if end == End::Left { model.push_front(text) } else { model.push_back(text) }
            }
        }
        8 | 9 => {
            list.pop(end, count, limits);
            for _ in 0..count {
                if end == End::Left {
                    model.pop_front()
                } else {
                    model.pop_back()
                };
            }
        }
        10 => {
            list.remove_range(index, count, limits);
            model.drain(index..(index + count).min(model.len()));
        }
        11 => {
            let mut taken = None;
            let found = list.take(end, limits, |element| taken = Some(element.to_vec()));
            assert_eq!(found, taken.is_some());
            assert_eq!(taken, if end == End::Left { model.pop_front() } else { model.pop_back() });
        }
        18 if rng.below(10) == 0 => {
            list.trim(index, count * 10, limits);
            model.truncate(index + count * 10);
            model.drain(..index);
        }
        12..15 => {
            let resolved = index as i64 - if rng.below(2) == 0 { model.len() as i64 } else { 0 };
            let found = list.set(resolved, &text, limits);
            let place = if resolved < 0 { resolved + model.len() as i64 } else { resolved };
            assert_eq!(found, (place as usize) < model.len());
            if found {
                model[place as usize] = text;
            }
        }
        15..18 => {
            let pivot = any_text(rng);
            let at = model.iter().position(|element| *element == pivot);
            assert_eq!(list.insert(&pivot, end, &text, limits), at.is_some());
            if let Some(at) = at {
                model.insert(at + usize::from(end == End::Right), text);
            }
        }
        _ => {
            let mut matching: Vec<usize> = (0..model.len()).filter(|index| model[*index] == text).collect();
            if end == End::Right {
                matching.reverse();
            }
            matching.truncate(count);
            assert_eq!(list.remove(&text, end, count, limits), matching.len());
            matching.sort_unstable();
            matching.iter().rev().for_each(|index| drop(model.remove(*index)));
        }
    }
}

#[test]
fn lists_do_as_deques() {
    for seed in 0..30 {
        let limits = thresholds([-2, -1, 3, 1, 128, -5][seed as usize % 6]);
        let mut rng = Rng::seeded(seed);
        let mut list = List::new();
        let mut model = VecDeque::new();
        for _ in 0..250 {
            step(&mut rng, &mut list, &mut model, &limits);
            if rng.below(5) == 0 {
                judge(&list, &model, &mut rng);
            }
        }
        judge(&list, &model, &mut rng);
        let packs = list.as_ref().packs().map(PackBuf::from_pack);
        judge(&List::from_packs(packs, &limits), &model, &mut rng);
    }
}

#[test]
fn lists_turn_into_chunks_and_back() {
    let limits = thresholds(-1);
    let mut list = List::new();
    let text = [b'x'; 97];
    // With its encoding each takes 100 bytes; the pack has 7 of its own.
    for _ in 0..40 {
        list.push(End::Right, std::iter::once(text.as_slice()), &limits);
    }
    assert_eq!(encoding(&list), "listpack");
    list.push(End::Left, std::iter::once(text.as_slice()), &limits);
    assert_eq!(encoding(&list), "quicklist");
    list.pop(End::Left, 1, &limits);
    list.pop(End::Right, 19, &limits);
    assert_eq!((list.as_ref().len(), encoding(&list)), (21, "quicklist"));
    list.pop(End::Right, 1, &limits);
    assert_eq!((list.as_ref().len(), encoding(&list)), (20, "listpack"));

    let limits = thresholds(4);
    let texts: Vec<&[u8]> = vec![b"a", b"b", b"c", b"d", b"e"];
    let mut list = List::new();
    list.push(End::Right, texts[..4].iter().copied(), &limits);
    assert_eq!(encoding(&list), "listpack");
    list.push(End::Right, texts[4..].iter().copied(), &limits);
    assert_eq!(encoding(&list), "quicklist");
    list.trim(1, 2, &limits);
    assert_eq!(encoding(&list), "listpack");
    assert!(list.as_ref().iter().map(Element::to_vec).eq([b"b".to_vec(), b"c".to_vec()]));
}

#[test]
fn elements_too_large_for_a_chunk_have_their_own() {
    let limits = thresholds(-1);
    let large = vec![b'l'; 100_000];
    let mut list = List::new();
    list.push(End::Left, std::iter::once(large.as_slice()), &limits);
    assert_eq!(encoding(&list), "quicklist");
    list.push(End::Left, std::iter::once(b"a".as_slice()), &limits);
    list.push(End::Right, std::iter::once(b"b".as_slice()), &limits);
    assert_eq!(list.as_ref().packs().count(), 3);
    assert!(list.insert(&large, End::Left, b"c", &limits));
    assert!(list.set(1, &large, &limits));
    assert_eq!(list.as_ref().packs().count(), 4);
    assert!(list.set(1, b"c", &limits) && list.set(2, b"d", &limits));
    assert!(list.as_ref().iter().map(Element::to_vec).eq([b"a", b"c", b"d", b"b"].map(|text| text.to_vec())));
}

#[test]
fn memory_is_that_of_the_elements() {
    let limits = Thresholds::default();
    let mut list = List::new();
    for number in 0..200_000 {
        let text = format!("element:{number:07}");
        list.push(End::Right, std::iter::once(text.as_bytes()), &limits);
    }
    let (elements, held) = (200_000 * 17, list.heap_bytes());
    assert!(held < elements * 102 / 100, "{held} bytes for {elements}");
    // The first one was the list while that was one piece; the others share runs of the allocator's pages.
    let sizes: Vec<usize> = list.as_ref().packs().map(|pack| pack.bytes().len()).collect();
    assert!(sizes[0] > 8100 && sizes[0] <= 8192 && sizes[1..].iter().all(|size| *size <= 7168));
    while !list.is_empty() {
        list.pop(End::Left, 999, &limits);
    }
    assert!(list.heap_bytes() < 100, "{} bytes for nothing", list.heap_bytes());
}
