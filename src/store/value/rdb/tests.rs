//! Values of every type there and back, payloads that Redis has written, and payloads that are none.

use super::read::{Malformed, decode};
use super::{Dialect, encode, version_of};
use crate::base::rng::Rng;
use crate::store::value::hash::{FieldDue, Hash};
use crate::store::value::list::{End, List};
use crate::store::value::set::Set;
use crate::store::value::sorted::{AddOptions, SortedSet};
use crate::store::value::{Thresholds, Typed, Value, ValueRef};
use std::collections::BTreeMap;

/// Everything in a value, in an order of its own.
fn content(value: ValueRef<'_>) -> Vec<String> {
    let print = |bytes: Vec<u8>| bytes.escape_ascii().to_string();
    let mut found = Vec::new();
    match value {
        ValueRef::Str(bytes) => found.push(print(bytes.to_vec())),
        ValueRef::List(list) => return list.iter().map(|element| print(element.to_vec())).collect(),
        ValueRef::Set(set) => found.extend(set.iter().map(|member| print(member.to_vec()))),
        ValueRef::SortedSet(set) => {
            found.extend(set.iter().map(|(member, score)| format!("{} {score}", print(member.to_vec()))))
        }
        ValueRef::Hash(hash) => hash.for_each_field(|name, value, due_ms| {
            found.push(format!("{} {} {due_ms:?}", print(name.to_vec()), print(value.to_vec())))
        }),
        ValueRef::Stream(stream) => found.push(format!("{stream:?}")),
    }
    found.sort();
    found
}

fn there_and_back(value: &Value) {
    for dialect in [Dialect::Redis, Dialect::Own] {
        let mut bytes = Vec::new();
        encode(value.as_ref(), dialect, &mut bytes);
        let back = decode(&bytes, &Thresholds::default()).unwrap();
        assert_eq!(back.value_type(), value.value_type());
        assert_eq!(content(back.as_ref()), content(value.as_ref()));
        assert!(version_of(&bytes) <= super::VERSION_MAX);
        bytes.push(0);
        assert_eq!(decode(&bytes, &Thresholds::default()).err(), Some(Malformed));
    }
}

fn text(rng: &mut Rng, number: u64) -> Vec<u8> {
    match rng.below(4) {
        0 => number.to_string().into_bytes(),
        1 => format!("-{}", number << (number % 60)).into_bytes(),
        2 => format!("text {number}").into_bytes(),
        _ => format!("{number:0>width$}", width = 1 + rng.below(300) as usize).into_bytes(),
    }
}

/// A value of each type with about `count` elements.
fn values(rng: &mut Rng, count: u64) -> Vec<Value> {
    let thresholds = Thresholds::default();
    let (mut list, mut set, mut ints) = (List::new(), Set::new(), Set::new());
    let (mut sorted, mut hash, mut timed) = (SortedSet::new(), Hash::new(), Hash::new());
    for number in 0..count {
        let text = text(rng, number);
        list.push(End::Right, std::iter::once(&text[..]), &thresholds);
        set.add(&text, &thresholds);
        ints.add(number.to_string().as_bytes(), &thresholds);
        let score = [number as f64, -1.5 * number as f64, f64::INFINITY][number as usize % 3];
        sorted.add(&text, score, AddOptions::default(), &thresholds);
        hash.set(&text, b"value", FieldDue::Never, &thresholds, 0);
        let due = if number % 3 == 0 { FieldDue::Never } else { FieldDue::At(1 + rng.below(1 << 47)) };
        timed.set(&text, &text, due, &thresholds, 0);
    }
    vec![
        Value::Str(text(rng, count).into()),
        list.wrap(),
        set.wrap(),
        ints.wrap(),
        sorted.wrap(),
        hash.wrap(),
        timed.wrap(),
    ]
}

#[test]
fn values_come_back_as_they_were() {
    let mut rng = Rng::seeded(21);
    for count in [1, 2, 20, 150, 1500] {
        values(&mut rng, count).iter().for_each(there_and_back);
    }
}

#[test]
fn streams_come_back_as_they_were() {
    use crate::store::value::stream::{Group, LoadedConsumer, Log, NewId, Stream, StreamId};
    let thresholds = Thresholds::default();
    let mut log = Log::new();
    for number in 1..500 {
        let pairs = [(&b"field"[..], &b"value"[..]), (b"number", b"1")];
        log.add(NewId::Exactly(StreamId::new(number, number * 2)), pairs.into_iter(), &thresholds).unwrap();
    }
    (1..50).for_each(|number| assert!(log.delete(StreamId::new(number * 3, number * 6))));
    let mut stream = Stream::from_log(log);
    there_and_back(&Box::new(stream.clone()).wrap());
    let consumers = [("one", Some(7)), ("two", None)].map(|(name, active_ms)| LoadedConsumer {
        name: name.into(),
        seen_ms: 5,
        active_ms: active_ms.or(Some(5)),
        pending: if name == "one" { vec![StreamId::new(5, 10)] } else { Vec::new() },
    });
    let pending = [(StreamId::new(5, 10), 1_800_000_000_000, 3)];
    let group = Group::load(StreamId::new(7, 14), None, pending, consumers).unwrap();
    assert!(stream.add_group(b"group", group) && stream.add_group(b"", Group::new(StreamId::MIN, Some(0))));
    let mut bytes = Vec::new();
    let value = Box::new(stream).wrap();
    encode(value.as_ref(), Dialect::Own, &mut bytes);
    let back = decode(&bytes, &thresholds).unwrap();
    let mut again = Vec::new();
    encode(back.as_ref(), Dialect::Own, &mut again);
    assert_eq!(bytes, again);
    // What Redis 7.0 does not know of, a consumer's second time, is all that is lost there.
    bytes.clear();
    encode(value.as_ref(), Dialect::Redis, &mut bytes);
    assert_eq!((bytes[0], version_of(&bytes)), (19, 10));
    assert!(decode(&bytes, &thresholds).is_ok());
}

#[test]
fn every_form_that_redis_wrote_is_read() {
    let cases: &[(&[u8], &str, &[&str])] = &[
        (b"\x00\xc0\xf6", "string", &["-10"]),
        (b"\x00\xc1\x00\x80", "string", &["-32768"]),
        (b"\x00\xc2\xff\xff\xff\x7f", "string", &["2147483647"]),
        (b"\x00\xc3\x05\x40\x67\x00a\xe0\x5d\x00", "string", &[&"a".repeat(103)]),
        (b"\x00\x40\x03abc", "string", &["abc"]),
        (b"\x00\x80\x00\x00\x00\x03abc", "string", &["abc"]),
        (b"\x00\x81\x00\x00\x00\x00\x00\x00\x00\x03abc", "string", &["abc"]),
        (b"\x01\x02\x01b\x01a", "list", &["b", "a"]),
        (b"\x02\x02\x01b\xc0\x01", "set", &["1", "b"]),
        (b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff", "zset", &["a 1.5", "b inf", "c -inf"]),
        (b"\x04\x01\x01f\x01v", "hash", &["f v None"]),
        (b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x3f", "zset", &["a 1.5"]),
        (b"\x09\x0b\x01\x01f\x03\x01val?\xff\x00\xff", "", &[]),
        (b"\x09\x0a\x01\x01f\x03\x00val\xff", "", &[]),
        (b"\x09\x09\x01\x01f\x03\x00val\xff", "hash", &["f val None"]),
        (b"\x0a\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf2\x02\xf3\xff", "list", &["1", "2"]),
        (b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x01\0\x02\0", "set", &["1", "2"]),
        (b"\x0c\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf2\x02\xf3\xff", "zset", &["1 2"]),
        (b"\x0d\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf2\x02\xf3\xff", "hash", &["1 2 None"]),
        (b"\x0e\x01\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf2\x02\xf3\xff", "list", &["1", "2"]),
        (b"\x10\x0b\x0b\0\0\0\x02\0\x01\x01\x02\x01\xff", "hash", &["1 2 None"]),
        (b"\x11\x0b\x0b\0\0\0\x02\0\x01\x01\x02\x01\xff", "zset", &["1 2"]),
        (b"\x12\x02\x02\x0b\x0b\0\0\0\x02\0\x01\x01\x02\x01\xff\x01\x01x", "list", &["1", "2", "x"]),
        (b"\x14\x0b\x0b\0\0\0\x02\0\x01\x01\x02\x01\xff", "set", &["1", "2"]),
        (
            b"\x18\x10\x27\0\0\0\0\0\0\x02\x01\x01f\x01v\x00\x01g\x01w",
            "hash",
            &["f v Some(10000)", "g w None"],
        ),
        (b"\x19\x03\0\0\0\0\0\0\0\x0d\x0d\0\0\0\x03\0\x01\x01\x02\x01\x03\x01\xff", "hash", &["1 2 Some(3)"]),
    ];
    for (bytes, name, expected) in cases {
        match decode(bytes, &Thresholds::default()) {
            Ok(value) => {
                assert_eq!(value.value_type().name(), *name, "{bytes:x?}");
                assert_eq!(content(value.as_ref()), *expected, "{bytes:x?}");
            }
            Err(Malformed) => assert_eq!(*name, "", "{bytes:x?}"),
        }
    }
}

#[test]
fn bytes_that_are_no_value_are_refused() {
    let refused: &[&[u8]] = &[
        b"",
        b"\x06",
        b"\x08\x00",
        b"\xff\x00",
        // A length far beyond the bytes, for each kind of thing that is counted.
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\x80\xff\xff\xff\xffa",
        b"\x01\x80\xff\xff\xff\xff\x01a",
        b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x04\x80\x10\x00\x00\x00\x01a",
        b"\x00\xc3\x02\x80\xff\xff\xff\xff\x00a",
        // Empty collections.
        b"\x01\x00",
        b"\x02\x00",
        b"\x04\x00",
        b"\x05\x00",
        b"\x0b\x08\x02\0\0\0\0\0\0\0",
        b"\x10\x07\x07\0\0\0\0\0\xff",
        b"\x12\x00",
        // The same twice, a pair that is none, a score that is none, a length of its own kind.
        b"\x02\x02\x01a\x01a",
        b"\x04\x02\x01a\x01b\x01a\x01b",
        b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x7f",
        b"\x03\x01\x01a\xfd",
        b"\x11\x09\x09\0\0\0\x01\0\x01\x01\xff",
        b"\x12\x01\x03\x01a",
        b"\x00\xc4",
        b"\x01\xc0\x01",
        b"\x00\x82\x00",
        b"\x19\x03\0\0\0\0\0\0\0\x0b\x0b\0\0\0\x02\0\x01\x01\x02\x01\xff",
    ];
    for bytes in refused {
        assert_eq!(decode(bytes, &Thresholds::default()).err(), Some(Malformed), "{bytes:x?}");
    }
}

#[test]
fn damaged_bytes_do_no_harm() {
    let mut rng = Rng::seeded(22);
    let mut outcomes = BTreeMap::new();
    for value in values(&mut rng, 12).iter().chain(&values(&mut rng, 140)) {
        let mut whole = Vec::new();
        encode(value.as_ref(), if rng.below(2) == 0 { Dialect::Own } else { Dialect::Redis }, &mut whole);
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, rng.next_u64() as u8),
                    _ => bytes[at] = rng.next_u64() as u8,
                }
                if bytes.is_empty() {
                    break;
                }
            }
            let outcome = decode(&bytes, &Thresholds::default());
            *outcomes.entry(outcome.is_ok()).or_insert(0) += 1;
            if let Ok(value) = outcome {
                there_and_back(&value);
            }
        }
    }
    assert!(outcomes[&true] > 10 && outcomes[&false] > 100, "{outcomes:?}");
}
