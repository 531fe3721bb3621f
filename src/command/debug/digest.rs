//! Digests of values and whole databases, for DEBUG DIGEST and DIGEST-VALUE: equal exactly if what is stored is, whatever
//! its form; the same in every process on processors of one kind, and not Redis's.
//!
//! What has no order (sets, hashes, sorted sets by their members) is added up by XOR, so that its order plays no part.

use std::hash::Hash;

use ahash::RandomState;

use crate::store::db::{Db, Found};
use crate::store::value::ValueRef;
use crate::store::value::listpack::Element;

/// A digest: 160 of these bits are shown.
pub type Digest = [u64; 3];

/// A digest of one entry under a name.
pub fn of_entry(db: &Db, found: Found, number: usize, name: &[u8], now_ms: u64) -> Digest {
    let value = of_value(db.value(found), now_ms);
    of((number, name, value, db.due_ms(found).is_some()))
}

/// The digest as it is shown.
pub fn hex(digest: Digest) -> String {
    format!("{:016x}{:016x}{:08x}", digest[0], digest[1], digest[2] as u32)
}

/// Adds one digest to another, in whatever order.
pub fn add(sum: &mut Digest, digest: Digest) {
    sum.iter_mut().zip(digest).for_each(|(sum, part)| *sum ^= part);
}

fn of(parts: impl Hash) -> Digest {
    [1, 2, 3].map(|seed| RandomState::with_seeds(seed, 17, 42, 1 << 40).hash_one(&parts))
}

fn of_element(element: Element<'_>) -> Digest {
    element.with_bytes(|bytes| of(bytes))
}

fn of_value(value: ValueRef<'_>, now_ms: u64) -> Digest {
    let mut sum = Digest::default();
    match value {
        ValueRef::Str(bytes) => return of(bytes),
        ValueRef::List(list) => {
            for element in list.iter() {
                sum = of((sum, of_element(element)));
            }
        }
        ValueRef::Set(set) => set.iter().for_each(|member| add(&mut sum, of_element(member))),
        ValueRef::SortedSet(set) => {
            set.iter().for_each(|(member, score)| add(&mut sum, of((of_element(member), score.to_bits()))));
        }
        ValueRef::Hash(hash) => {
            hash.for_each(now_ms, |field, value| add(&mut sum, of((of_element(field), of_element(value)))));
        }
        ValueRef::Stream(stream) => {
            for (id, node) in stream.log().nodes() {
                sum = of((sum, id.ms, id.seq, node.as_pack().bytes()));
            }
        }
    }
    of((value.value_type().name(), sum))
}
