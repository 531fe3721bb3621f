//! HyperLogLogs against plain arrays of registers, and against bytes that are none.

use super::{
    DENSE_BYTES, Encoding, HEADER_BYTES, REGISTERS, cached, count, count_registers, empty, encoding, get,
    invalidate, merge, murmur64a, place, raise, raise_dense, registers, self_test, set, sparse, to_dense,
};
use crate::base::rng::Rng;

#[test]
fn the_hash_is_the_one_that_redis_uses() {
    // Values of the reference implementation.
    assert_eq!(murmur64a(b"", 0), 0);
    let (index, value) = place(b"a");
    assert!(index < REGISTERS && value >= 1);
    // A PFADD of "a" by redis-server 7.0 writes these runs.
    let mut bytes = empty();
    raise(&mut bytes, index, value, 3000).unwrap();
    assert_eq!(sparse::decode(&bytes), format!("Z:{index} v:{value},1 Z:{}", REGISTERS - 1 - index));
}

#[test]
fn dense_registers_keep_to_themselves() {
    let mut rng = Rng::seeded(1);
    let mut packed = vec![0; DENSE_BYTES - HEADER_BYTES];
    let mut plain = vec![0; REGISTERS];
    for _ in 0..50_000 {
        let (index, value) = (rng.below(REGISTERS as u64) as usize, rng.below(64) as u8);
        set(&mut packed, index, value);
        plain[index] = value;
        let near = index.saturating_sub(2)..(index + 3).min(REGISTERS);
        near.for_each(|index| assert_eq!(get(&packed, index), plain[index]));
    }
}

#[test]
fn sparse_registers_are_what_plain_ones_are() {
    let mut rng = Rng::seeded(2);
    for sparse_max in [30, 100, 3000, usize::MAX] {
        let mut bytes = empty();
        let mut plain = [0u8; REGISTERS];
        for round in 0..4000 {
            // Few registers, so that runs touch, and mostly small values.
            let index = if round % 3 == 0 { rng.below(REGISTERS as u64) } else { rng.below(200) } as usize;
            let value = 1 + rng.below(if round % 500 == 499 { 33 } else { 4 }) as u8;
            let expected = plain[index] < value;
            assert_eq!(raise(&mut bytes, index, value, sparse_max), Ok(expected));
            plain[index] = plain[index].max(value);
            if expected && encoding(&bytes) == Some(Encoding::Sparse) {
                assert_eq!(cached(&bytes), None);
                assert!(bytes.len() <= sparse_max.max(18));
            }
        }
        assert_eq!(*registers(&bytes).unwrap(), plain);
        assert_eq!(count(&bytes), Ok(count_registers(&plain)));
        let mut dense = bytes.clone();
        to_dense(&mut dense).unwrap();
        assert_eq!((dense.len(), encoding(&dense)), (DENSE_BYTES, Some(Encoding::Dense)));
        assert_eq!(*registers(&dense).unwrap(), plain);
        assert_eq!(count(&dense), count(&bytes));
    }
}

#[test]
fn estimates_are_near() {
    assert!(self_test());
    let mut bytes = empty();
    assert_eq!((count(&bytes), cached(&bytes), bytes.len()), (Ok(0), Some(0), 18));
    invalidate(&mut bytes);
    assert_eq!(cached(&bytes), None);
}

#[test]
fn bytes_that_make_no_sense_are_refused() {
    assert_eq!(encoding(b""), None);
    assert_eq!(encoding(b"HYLL\0\0\0\0\0\0\0\0\0\0\0\0"), None);
    assert_eq!(encoding(b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"), None);
    let mut rng = Rng::seeded(3);
    for _ in 0..3000 {
        let mut bytes = empty();
        for _ in 0..rng.below(20) {
            let (index, value) = place(&rng.next_u64().to_le_bytes());
            raise(&mut bytes, index, value, 3000).unwrap();
        }
        for _ in 0..=rng.below(3) {
            let at = HEADER_BYTES + rng.below((bytes.len() - HEADER_BYTES) as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.next_u64() as u8,
                1 => bytes.truncate(at.max(HEADER_BYTES + 1)),
                _ => bytes.insert(at, rng.next_u64() as u8),
            }
        }
        let mut all = [0; REGISTERS];
        assert_eq!(count(&bytes).is_ok(), merge(&mut all, &bytes).is_ok());
        let mut other = bytes.clone();
        assert_eq!(to_dense(&mut other).is_ok(), count(&bytes).is_ok());
        for _ in 0..10 {
            let (index, value) = place(&rng.next_u64().to_le_bytes());
            if raise(&mut bytes, index, value, 3000).is_err() {
                break;
            }
        }
        raise_dense(&mut other, REGISTERS - 1, 63);
    }
}
