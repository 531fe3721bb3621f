//! A large collection in parts, for the way to another node: each part is the body of a small collection of the same
//! type, so that it is written under a lock that others wait for, and is checked, in a moment. Groups of a stream have a
//! form of their own ([`super::stream_parts`]).
//!
//! The parts of a collection that does not change hold each of its elements once; of one that changes in between they
//! are good for nothing.

use super::stream_parts::{self, Bounds};
use super::write::{element, length, text};
use super::{container, decode, kind};
use crate::store::value::hash::{FieldDue, HashRef};
use crate::store::value::sorted::AddOptions;
use crate::store::value::{Thresholds, Value, ValueRef};

/// Bytes from which on a collection has parts.
pub const LARGE_BYTES: usize = 256 * 1024;
/// Bytes of one part, about; an element is never cut.
const PART_BYTES: usize = 64 * 1024;
/// Elements of one part, about.
const PART_ELEMENTS: usize = 1_000;

/// Where a part begins; of use while the value stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A number of elements or packs that came before, or where a walk over a table stands.
    Element(u64),
    /// A place in a stream.
    Stream(stream_parts::Start),
}

/// Whether a value goes in parts.
pub fn has_parts(value: &Value) -> bool {
    let is_able = !matches!(value, Value::Str(_)) && value.packed().is_none();
    is_able && value.heap_bytes() > LARGE_BYTES
}

/// Appends the part that begins at `from` (nothing for the first) as a type byte and a body; says where the next begins,
/// nothing after the last. Only for values that have parts. The last part may have no elements, and no bytes, where
/// they are walked in the order of their hashes.
pub fn encode_part(value: &Value, from: Option<Start>, out: &mut Vec<u8>) -> Option<Start> {
    if let Value::Stream(stream) = value {
        let from = if let Some(Start::Stream(from)) = from { from } else { stream_parts::Start::default() };
        let bounds = Bounds { bytes: PART_BYTES, elements: PART_ELEMENTS };
        return stream_parts::encode(stream, from, bounds, out).map(Start::Stream);
    }
    let from = if let Some(Start::Element(from)) = from { from } else { 0 };
    encode_elements(value, from, out).map(Start::Element)
}

fn encode_elements(value: &Value, from: u64, out: &mut Vec<u8>) -> Option<u64> {
    let mut body = Vec::new();
    let (kind, count, next) = match value.as_ref() {
        ValueRef::List(list) => {
            let mut packs = list.packs().skip(from as usize);
            let mut count = 0;
            while body.len() < PART_BYTES {
                let Some(pack) = packs.next() else { break };
                length(&mut body, container::PACKED);
                text(&mut body, pack.bytes());
                count += 1;
            }
            (kind::LIST_QUICKLIST_2, count, packs.next().map(|_| from + count))
        }
        ValueRef::SortedSet(set) => {
            let mut members = set.walk(from as usize, PART_ELEMENTS, false);
            let mut count = 0;
            while body.len() < PART_BYTES {
                let Some((member, score)) = members.next() else { break };
                element(&mut body, member);
                body.extend_from_slice(&score.to_le_bytes());
                count += 1;
            }
            let next = from + count;
            (kind::ZSET_2, count, (next < set.len() as u64).then_some(next))
        }
        ValueRef::Set(set) => {
            let (mut count, mut at) = (0, from);
            loop {
                at = set.scan(at, step(value, set.len()), |member| {
                    element(&mut body, member);
                    count += 1;
                });
                if at == 0 || is_full(count, &body) {
                    break (kind::SET, count, (at != 0).then_some(at));
                }
            }
        }
        ValueRef::Hash(hash) => encode_fields(value, hash, from, &mut body),
        ValueRef::Str(_) | ValueRef::Stream(_) => return None,
    };
    if count == 0 {
        return next;
    }
    out.push(kind);
    if kind == kind::HASH_METADATA {
        // Due times of fields count from this one.
        out.extend_from_slice(&first_due_ms(value).unwrap_or(0).to_le_bytes());
    }
    length(out, count);
    out.extend_from_slice(&body);
    next
}

fn encode_fields(value: &Value, hash: HashRef<'_>, from: u64, body: &mut Vec<u8>) -> (u8, u64, Option<u64>) {
    let first_ms = hash.next_due_ms();
    let kind = if first_ms.is_some() { kind::HASH_METADATA } else { kind::HASH };
    let (mut count, mut at) = (0, from);
    // At the beginning of time no field is due.
    let fields = hash.len(0);
    loop {
        at = hash.scan_fields(at, step(value, fields), |name, value, due_ms| {
            if let Some(first_ms) = first_ms {
                length(body, due_ms.map_or(0, |due_ms| due_ms.saturating_sub(first_ms) + 1));
            }
            element(body, name);
            element(body, value);
            count += 1;
        });
        if at == 0 || is_full(count, body) {
            return (kind, count, (at != 0).then_some(at));
        }
    }
}

fn first_due_ms(value: &Value) -> Option<u64> {
    match value.as_ref() {
        ValueRef::Hash(hash) => hash.next_due_ms(),
        _ => None,
    }
}

/// Elements that one look into a table should give: those of a part, by what one takes on average.
fn step(value: &Value, elements: usize) -> usize {
    let element_bytes = value.heap_bytes() / elements.max(1);
    (PART_BYTES / element_bytes.max(1)).clamp(1, PART_ELEMENTS)
}

fn is_full(count: u64, body: &[u8]) -> bool {
    count >= PART_ELEMENTS as u64 || body.len() >= PART_BYTES
}

/// Puts the elements of the next part to those that came before; false if it is none, or of another type.
pub fn join(whole: &mut Value, part: &[u8], thresholds: &Thresholds) -> bool {
    if part.is_empty() {
        return true;
    }
    if let Value::Stream(whole) = whole {
        return stream_parts::join(whole, part).is_ok();
    }
    let Ok(part) = decode(part, thresholds) else { return false };
    match (whole, part) {
        (Value::List(whole), Value::List(part)) => whole.append(part),
        (Value::Set(whole), Value::Set(part)) => {
            for member in part.as_ref().iter() {
                whole.add_element(member, thresholds);
            }
        }
        (Value::SortedSet(whole), Value::SortedSet(part)) => {
            for (member, score) in part.as_ref().iter() {
                member.with_bytes(|member| whole.add(member, score, AddOptions::default(), thresholds));
            }
        }
        (Value::Hash(whole), Value::Hash(part)) => part.as_ref().for_each_field(|name, value, due_ms| {
            let due = due_ms.map_or(FieldDue::Never, FieldDue::At);
            name.with_bytes(|name| value.with_bytes(|value| whole.set(name, value, due, thresholds, 0)));
        }),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{encode_part, has_parts, join};
    use crate::store::value::hash::{FieldDue, Hash};
    use crate::store::value::list::{End, List};
    use crate::store::value::rdb::{Dialect, decode, encode};
    use crate::store::value::set::Set;
    use crate::store::value::sorted::{AddOptions, SortedSet};
    use crate::store::value::{Thresholds, Typed, Value};

    /// Collections with parts, by names: of small elements, and with a few long ones.
    fn large() -> Vec<(&'static str, Value)> {
        let thresholds = Thresholds::default();
        let mut list = List::new();
        let (mut set, mut hash, mut timed) = (Set::new(), Hash::new(), Hash::new());
        let (mut sorted, mut long) = (SortedSet::new(), Hash::new());
        for number in 0..20_000_u64 {
            let name = format!("element:{number}");
            list.push(End::Right, std::iter::once(name.as_bytes()), &thresholds);
            set.add(name.as_bytes(), &thresholds);
            hash.set(name.as_bytes(), &number.to_le_bytes(), FieldDue::Never, &thresholds, 0);
            let due = if number % 3 == 0 { FieldDue::At(5_000 + number) } else { FieldDue::Never };
            timed.set(name.as_bytes(), b"v", due, &thresholds, 0);
            sorted.add(name.as_bytes(), (number % 700) as f64, AddOptions::default(), &thresholds);
            if number < 40 {
                long.set(name.as_bytes(), &vec![b'x'; 50_000], FieldDue::Never, &thresholds, 0);
            }
        }
        vec![
            ("list", list.wrap()),
            ("set", set.wrap()),
            ("hash", hash.wrap()),
            ("timed hash", timed.wrap()),
            ("sorted set", sorted.wrap()),
            ("long fields", long.wrap()),
        ]
    }

    /// A value's elements, in one order.
    fn content(value: &Value) -> Vec<String> {
        let mut all = Vec::new();
        let mut note = |parts: &[&dyn std::fmt::Debug]| all.push(format!("{parts:?}"));
        match value {
            Value::List(list) => list.as_ref().iter().for_each(|element| note(&[&element])),
            Value::Set(set) => set.as_ref().iter().for_each(|element| note(&[&element])),
            Value::SortedSet(set) => set.as_ref().iter().for_each(|(member, score)| note(&[&member, &score])),
            Value::Hash(hash) => {
                hash.as_ref().for_each_field(|name, value, due| note(&[&name, &value, &due]))
            }
            _ => {}
        }
        if !matches!(value, Value::List(_) | Value::SortedSet(_)) {
            all.sort();
        }
        all
    }

    #[test]
    fn parts_are_small_and_come_to_the_whole() {
        for (name, value) in large() {
            assert!(has_parts(&value), "{name}");
            let (mut at, mut parts, mut whole) = (None, 0, None);
            loop {
                let mut bytes = Vec::new();
                let next = encode_part(&value, at, &mut bytes);
                assert!(bytes.len() < 400_000, "{name}: {} bytes", bytes.len());
                match &mut whole {
                    None => whole = Some(decode(&bytes, &Thresholds::default()).expect("a body")),
                    Some(whole) => assert!(join(whole, &bytes, &Thresholds::default()), "{name}"),
                }
                parts += 1;
                at = next;
                if at.is_none() {
                    break;
                }
            }
            let whole = whole.expect("a part");
            assert!(parts > 3, "{name}: {parts} parts");
            assert_eq!(content(&whole), content(&value), "{name}");
            let mut again = Vec::new();
            encode(whole.as_ref(), Dialect::Own, &mut again);
            assert_eq!(content(&decode(&again, &Thresholds::default()).expect("a body")), content(&value));
        }
    }

    #[test]
    fn parts_of_different_types_do_not_join() {
        let values = large();
        let mut list = values[0].1.clone();
        let mut set = Vec::new();
        encode_part(&values[1].1, None, &mut set);
        for part in [&set[..], b"\xFFgarbage"] {
            assert!(!join(&mut list, part, &Thresholds::default()));
        }
        assert_eq!(content(&list), content(&values[0].1), "nothing has changed");
    }
}
