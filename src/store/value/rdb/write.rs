//! Writing values: whatever is packed goes as it is where the reader knows the form.

use super::{Dialect, container, kind, mark, streams, string};
use crate::base::num::parse_i64;
use crate::store::value::ValueRef;
use crate::store::value::hash::HashRef;
use crate::store::value::listpack::Element;
use crate::store::value::set::SetRef;
use crate::store::value::sorted::SortedSetRef;

/// Longest text that is tried as an integer of 32 bits.
const INTEGER_TEXT_MAX: usize = 11;

/// Appends a value's type byte and body.
pub fn encode(value: ValueRef<'_>, dialect: Dialect, out: &mut Vec<u8>) {
    match value {
        ValueRef::Str(bytes) => {
            out.push(kind::STRING);
            text(out, bytes);
        }
        ValueRef::List(list) => {
            out.push(kind::LIST_QUICKLIST_2);
            length(out, list.packs().count() as u64);
            for pack in list.packs() {
                length(out, container::PACKED);
                text(out, pack.bytes());
            }
        }
        ValueRef::Set(set) => encode_set(set, dialect, out),
        ValueRef::SortedSet(SortedSetRef::Packed(pack)) => {
            out.push(kind::ZSET_LISTPACK);
            text(out, pack.bytes());
        }
        ValueRef::SortedSet(set) => {
            out.push(kind::ZSET_2);
            length(out, set.len() as u64);
            for (member, score) in set.iter() {
                element(out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        ValueRef::Hash(hash) => encode_hash(hash, out),
        ValueRef::Stream(stream) => streams::encode(stream, dialect, out),
    }
}

fn encode_set(set: SetRef<'_>, dialect: Dialect, out: &mut Vec<u8>) {
    match (set, dialect) {
        (SetRef::Ints(ints), _) => {
            out.push(kind::SET_INTSET);
            text(out, &ints.to_bytes());
        }
        (SetRef::Packed(pack), Dialect::Own) => {
            out.push(kind::SET_LISTPACK);
            text(out, pack.bytes());
        }
        (set, _) => {
            out.push(kind::SET);
            length(out, set.len() as u64);
            set.iter().for_each(|member| element(out, member));
        }
    }
}

fn encode_hash(hash: HashRef<'_>, out: &mut Vec<u8>) {
    let first_due_ms = hash.next_due_ms();
    match (hash, first_due_ms) {
        (HashRef::Packed(pack), _) => {
            out.push(kind::HASH_LISTPACK);
            text(out, pack.bytes());
            return;
        }
        (HashRef::Timed(pack), Some(first_ms)) => {
            out.push(kind::HASH_LISTPACK_EX);
            out.extend_from_slice(&first_ms.to_le_bytes());
            text(out, pack.bytes());
            return;
        }
        (_, Some(first_ms)) => {
            out.push(kind::HASH_METADATA);
            out.extend_from_slice(&first_ms.to_le_bytes());
        }
        (_, None) => out.push(kind::HASH),
    }
    let mut count = 0;
    hash.for_each_field(|_, _, _| count += 1);
    length(out, count);
    hash.for_each_field(|name, value, due_ms| {
        if let Some(first_ms) = first_due_ms {
            // Counted from the first one, which is 1; 0 is for fields that are never due.
            length(out, due_ms.map_or(0, |due_ms| due_ms.saturating_sub(first_ms) + 1));
        }
        element(out, name);
        element(out, value);
    });
}

/// Appends a length or a number.
pub(super) fn length(out: &mut Vec<u8>, length: u64) {
    if length < 1 << 6 {
        out.push(mark::SIX_BITS | length as u8);
    } else if length < 1 << 14 {
        out.extend_from_slice(&[mark::FOURTEEN_BITS | (length >> 8) as u8, length as u8]);
    } else if let Ok(length) = u32::try_from(length) {
        out.push(mark::FOUR_BYTES);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(mark::EIGHT_BYTES);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string, as an integer where it is the text of a small one.
pub fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    let number = if bytes.len() <= INTEGER_TEXT_MAX { parse_i64(bytes) } else { None };
    if !number.is_some_and(|number| integer(out, number)) {
        length(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

/// Appends an element's text.
pub(super) fn element(out: &mut Vec<u8>, element: Element<'_>) {
    if !matches!(element, Element::Int(number) if integer(out, number)) {
        element.with_bytes(|bytes| text(out, bytes));
    }
}

/// Appends an integer of at most 32 bits; false if it has more.
fn integer(out: &mut Vec<u8>, number: i64) -> bool {
    let (encoding, width) = if i8::try_from(number).is_ok() {
        (string::INT8, 1)
    } else if i16::try_from(number).is_ok() {
        (string::INT16, 2)
    } else if i32::try_from(number).is_ok() {
        (string::INT32, 4)
    } else {
        return false;
    };
    out.push(mark::ENCODED | encoding);
    out.extend_from_slice(&number.to_le_bytes()[..width]);
    true
}
