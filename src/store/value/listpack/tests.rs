//! Listpacks against lists of strings, and against bytes that Redis wrote.

use super::{At, Element, HEADER_BYTES, Pack, PackBuf, encoded_len};
use crate::base::rng::Rng;
use crate::store::object::size_class;

fn texts(pack: Pack<'_>) -> Vec<Vec<u8>> {
    pack.iter().map(Element::to_vec).collect()
}

fn packed(elements: &[&[u8]]) -> PackBuf {
    let mut buf = PackBuf::new();
    elements.iter().for_each(|element| buf.push_back(element));
    buf
}

/// A string or a number of any of the encodings.
fn any_element(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => (rng.next_u64() as i64).to_string().into_bytes(),
        1 => (rng.next_u64() as i32 >> rng.below(32)).to_string().into_bytes(),
        2 => rng.below(200).to_string().into_bytes(),
        3 => vec![b'x'; rng.below(5000) as usize],
        4 => vec![0xFF; rng.below(130) as usize],
        5 => b"-0".to_vec(),
        _ => vec![b'a' + rng.below(26) as u8; rng.below(20) as usize],
    }
}

#[track_caller]
fn judge(buf: &PackBuf, model: &[Vec<u8>]) {
    let pack = buf.as_pack();
    assert!(Pack::check(pack.bytes()).is_some(), "{:?}", pack.bytes());
    assert_eq!(texts(pack), model);
    assert_eq!((pack.len(), pack.is_empty()), (model.len(), model.is_empty()));
    let backwards: Vec<_> = pack.iter().rev().map(Element::to_vec).collect();
    assert!(backwards.iter().eq(model.iter().rev()));
    if let Some(at) = pack.seek(model.len() as i64 / 2) {
        let mut visited = Vec::new();
        assert_eq!(pack.visit(at, 3, |element| visited.push(element.to_vec())), visited.len());
        assert!(visited.iter().eq(model.iter().skip(model.len() / 2).take(3)));
    }
    assert_eq!(buf.bytes_len(), pack.bytes().len());
    let most = (size_class(buf.bytes_len()) * 2).max(2048);
    assert!(buf.capacity_bytes() <= most, "{} for {}", buf.capacity_bytes(), buf.bytes_len());
    for (index, text) in model.iter().enumerate() {
        for index in [index as i64, index as i64 - model.len() as i64] {
            assert_eq!(pack.seek(index).map(|at| pack.get(at).to_vec()).as_ref(), Some(text));
        }
    }
    assert_eq!(pack.seek(model.len() as i64), None);
    assert_eq!(pack.seek(-(model.len() as i64) - 1), None);
}

#[test]
fn packs_do_as_lists_of_strings() {
    for seed in 0..40 {
        let mut rng = Rng::seeded(seed);
        let mut buf = PackBuf::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for _ in 0..150 {
            step(&mut rng, &mut buf, &mut model);
            if rng.below(6) == 0 {
                judge(&buf, &model);
            }
        }
        judge(&buf, &model);
        assert_eq!(texts(Pack::of(&buf.clone().into_vec())), model, "seed {seed}");
    }
}

fn step(rng: &mut Rng, buf: &mut PackBuf, model: &mut Vec<Vec<u8>>) {
    let element = any_element(rng);
    let index = rng.below(model.len() as u64 + 1) as usize;
    let at = buf.as_pack().seek(index as i64);
    match (rng.below(15), at) {
        (0 | 1, _) => {
            buf.push_back(&element);
            model.push(element);
        }
        (2 | 3, _) => {
            buf.push_front(&element);
            model.insert(0, element);
        }
        (4, Some(at)) => {
            let placed = buf.insert_before(at, &element);
            assert!(buf.as_pack().get(placed).eq_bytes(&element));
            model.insert(index, element);
        }
        (5, Some(at)) => {
            let placed = buf.insert_after(at, &element);
            assert!(buf.as_pack().get(placed).eq_bytes(&element));
            model.insert(index + 1, element);
        }
        (6, Some(at)) => {
            buf.replace(at, &element);
            model[index] = element;
        }
        (7 | 8, Some(at)) => {
            let count = rng.below(4) as usize;
            let next = buf.remove(at, count);
            model.drain(index..(index + count).min(model.len()));
            assert_eq!(next.map(|at| buf.as_pack().get(at).to_vec()), model.get(index).cloned());
        }
        (9, Some(at)) => {
            let behind = buf.split_off(at);
            judge(&behind, &model[index..]);
            if rng.below(2) == 0 {
                buf.append(behind.as_pack());
            } else {
                model.truncate(index);
            }
        }
        (10, Some(at)) if rng.below(8) == 0 => {
            buf.truncate(at);
            model.truncate(index);
        }
        (11, _) => {
            let mut taken = None;
            assert_eq!(buf.take_back(|element| taken = Some(element.to_vec())), !model.is_empty());
            assert_eq!(taken, model.pop());
        }
        (12, _) => {
            let mut taken = None;
            assert_eq!(buf.take_front(|element| taken = Some(element.to_vec())), !model.is_empty());
            assert_eq!(taken, if model.is_empty() { None } else { Some(model.remove(0)) });
        }
        (13, _) => {
            let elements: Vec<Vec<u8>> = (0..rng.below(6)).map(|_| any_element(rng)).collect();
            buf.push_back_all(|pack| elements.iter().for_each(|element| pack.push(element)));
            model.extend(elements);
        }
        _ => search(rng, buf.as_pack(), model),
    }
}

fn search(rng: &mut Rng, pack: Pack<'_>, model: &[Vec<u8>]) {
    let (Some(first), skip) = (pack.first(), rng.below(3) as usize) else {
        return;
    };
    let wanted = match rng.below(2) {
        0 => any_element(rng),
        _ => model[rng.below(model.len() as u64) as usize].clone(),
    };
    let found = pack.find(first, &wanted, skip);
    let expected = (0..model.len()).step_by(skip + 1).find(|index| model[*index] == wanted);
    assert_eq!(found, expected.and_then(|index| pack.seek(index as i64)));
}

#[test]
fn bytes_are_those_that_redis_writes() {
    // The content of a hash that redis-server 7.0 dumped: names, and numbers at the bounds of each encoding.
    let values: [&[u8]; 22] = [
        b"0",
        b"127",
        b"128",
        b"-1",
        b"4095",
        b"4096",
        b"-4096",
        b"-4097",
        b"32767",
        b"32768",
        b"-32769",
        b"8388607",
        b"8388608",
        b"-8388609",
        b"2147483647",
        b"2147483648",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"-0",
        b"01",
        b"",
        b"hello",
    ];
    let names: Vec<[u8; 1]> = (b'a'..=b'v').map(|name| [name]).collect();
    let elements: Vec<&[u8]> =
        names.iter().zip(values).flat_map(|(name, value)| [name.as_slice(), value]).collect();
    let expected: &[u8] = b"\xb5\x00\x00\x00,\x00\x81a\x02\x00\x01\x81b\x02\x7f\x01\x81c\x02\xc0\x80\x02\
        \x81d\x02\xdf\xff\x02\x81e\x02\xcf\xff\x02\x81f\x02\xf1\x00\x10\x03\x81g\x02\xd0\x00\x02\
        \x81h\x02\xf1\xff\xef\x03\x81i\x02\xf1\xff\x7f\x03\x81j\x02\xf2\x00\x80\x00\x04\
        \x81k\x02\xf2\xff\x7f\xff\x04\x81l\x02\xf2\xff\xff\x7f\x04\x81m\x02\xf3\x00\x00\x80\x00\x05\
        \x81n\x02\xf3\xff\xff\x7f\xff\x05\x81o\x02\xf3\xff\xff\xff\x7f\x05\
        \x81p\x02\xf4\x00\x00\x00\x80\x00\x00\x00\x00\t\x81q\x02\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\t\
        \x81r\x02\xf4\x00\x00\x00\x00\x00\x00\x00\x80\t\x81s\x02\x82-0\x03\x81t\x02\x8201\x03\
        \x81u\x02\x80\x01\x81v\x02\x85hello\x06\xff";
    assert_eq!(packed(&elements).as_pack().bytes(), expected);
    assert_eq!(texts(Pack::of(expected)), elements);
}

#[test]
fn long_strings_are_written_as_redis_writes_them() {
    let (x, y, z) = ([b'x'; 63], [b'y'; 64], [b'z'; 130]);
    let mut expected = b"\x11\x01\x00\x00\x03\x00\xbf".to_vec();
    expected.extend_from_slice(&x);
    expected.extend_from_slice(b"\x40\xe0\x40");
    expected.extend_from_slice(&y);
    expected.extend_from_slice(b"\x42\xe0\x82");
    expected.extend_from_slice(&z);
    expected.extend_from_slice(b"\x01\x84\xff");
    assert_eq!(packed(&[&x, &y, &z]).as_pack().bytes(), expected);
    // One byte more than two times seven bits would need.
    let long = packed(&[&[b'x'; 16_378]]);
    assert!(long.as_pack().bytes().starts_with(b"\x09\x40\x00\x00\x01\x00\xf0\xfa\x3f\x00\x00xx"));
    assert!(long.as_pack().bytes().ends_with(b"xx\x00\xff\xff\xff"));
    assert_eq!(PackBuf::new().into_vec(), b"\x07\x00\x00\x00\x00\x00\xff");
}

#[test]
fn what_is_no_pack_is_refused_and_harms_nobody() {
    let good = packed(&[b"a", b"12345", b"-7", &[b'x'; 100], &[b'y'; 5000]]).into_vec();
    assert!(Pack::check(&good).is_some());
    for seed in 0..2000 {
        let mut rng = Rng::seeded(seed);
        let mut bytes = good.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(160) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        bytes.truncate(if rng.below(4) == 0 { rng.below(200) as usize } else { bytes.len() });
        if let Some(pack) = Pack::check(&bytes) {
            assert_eq!(pack.iter().count(), pack.iter().rev().count());
        }
        let pack = Pack::of(&bytes);
        let _ = (pack.len(), pack.iter().rev().count(), pack.seek(2), pack.seek(-2), pack.last());
        let _ = pack.first().and_then(|at| pack.find(at, b"nowhere", 1));
        let mut buf = PackBuf::from_vec(bytes);
        buf.push_back(b"z");
        buf.push_front(b"a");
        buf.remove(At::of(HEADER_BYTES + rng.below(200) as usize), 2);
        buf.replace(At::of(HEADER_BYTES + rng.below(200) as usize), b"replaced");
        let _ = buf.split_off(At::of(rng.below(300) as usize));
    }
}

#[test]
fn counts_beyond_the_header_are_walked() {
    let mut buf = PackBuf::new();
    for value in 0..65_534 {
        buf.push_back_int(value % 100);
    }
    assert_eq!((buf.as_pack().count(), buf.as_pack().len()), (65_534, 65_534));
    buf.push_back(b"one more");
    buf.push_back(b"and one");
    assert_eq!((buf.as_pack().count(), buf.as_pack().len()), (u16::MAX, 65_536));
    assert!(Pack::check(buf.as_pack().bytes()).is_some());
    let last = buf.as_pack().seek(65_535).map(|at| buf.as_pack().get(at).to_vec());
    assert_eq!(last.as_deref(), Some(b"and one".as_slice()));
    assert_eq!(buf.as_pack().seek(65_536), None);
}

#[test]
fn a_queue_moves_nothing_and_keeps_its_size() {
    for forwards in [true, false] {
        let mut buf = PackBuf::new();
        let mut capacity = 0;
        for round in 0..5000 {
            if forwards {
                buf.push_back(b"element")
            } else {
                buf.push_front(b"element")
            }
            if round >= 100 {
                let at = if forwards { buf.as_pack().first() } else { buf.as_pack().last() };
                at.and_then(|at| buf.remove(at, 1));
            }
            capacity = capacity.max(buf.capacity_bytes());
        }
        assert_eq!(buf.as_pack().len(), 100);
        assert!(capacity <= size_class(HEADER_BYTES + 1 + 101 * 9), "{capacity}");
    }
}

#[test]
fn elements_compare_as_texts() {
    let number = Element::Int(-12);
    assert!(number.eq_bytes(b"-12") && !number.eq_bytes(b"-012") && !number.eq_bytes(b"12"));
    assert!(number.same(Element::Bytes(b"-12")) && Element::Bytes(b"-12").same(number));
    assert!(!number.same(Element::Int(12)) && !Element::Bytes(b"a").same(Element::Bytes(b"b")));
    for value in [0, 9, 10, -1, -10, 99, 100, i64::MAX, i64::MIN] {
        assert_eq!(Element::Int(value).len(), value.to_string().len(), "{value}");
    }
    assert_eq!(Element::Bytes(b"1.5").as_f64(), Some(1.5));
    assert_eq!((Element::Bytes(b"17").as_int(), Element::Bytes(b"017").as_int()), (Some(17), None));
    assert!(Element::Bytes(b"").is_empty() && !Element::Int(0).is_empty());
}

#[test]
fn the_size_of_an_element_is_known_beforehand() {
    let mut rng = Rng::seeded(5);
    for _ in 0..500 {
        let element = any_element(&mut rng);
        let expected = packed(&[&element]).bytes_len() - HEADER_BYTES - 1;
        assert_eq!(encoded_len(Element::Bytes(&element)), expected);
    }
}
