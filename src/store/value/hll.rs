//! HyperLogLogs: how many different elements were seen, from 16384 registers, with an error of 0.81 %.
//!
//! A HyperLogLog is a string in Redis's own format, byte for byte: `HYLL`, one byte of encoding, three of zeros, the
//! count as it was last computed (eight bytes; the highest bit says that it holds no longer), and the registers, either
//! dense (six bits each) or sparse ([`sparse`]). Clients may write any bytes into a string: whatever is read here is
//! checked on the way, and nothing panics.

pub mod sparse;

use sparse::Run;

/// Registers: the lowest 14 bits of an element's hash choose one.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Length of a dense HyperLogLog.
pub const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;
/// Bytes before the registers.
pub const HEADER_BYTES: usize = 16;

const INDEX_BITS: u32 = 14;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
/// Bits of the hash in which zeros are counted.
const RANK_BITS: usize = 64 - INDEX_BITS as usize;
const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const COUNT_AT: usize = 8;
/// The byte whose highest bit says that the count does not hold.
const STALE_AT: usize = 15;
const STALE: u8 = 1 << 7;
const HASH_SEED: u64 = 0xadc8_3b19;
/// Elements of each round of the self test.
const SELF_TEST_ELEMENTS: u64 = 20_000;

/// How the registers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// Runs of equal ones.
    Sparse,
}

impl Encoding {
    /// The name that PFDEBUG ENCODING has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Sparse => "sparse",
        }
    }
}

/// The registers of a string that looks like a HyperLogLog make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

/// Registers, a byte each: for merging.
pub type Registers = [u8; REGISTERS];

/// The encoding of a string that is a HyperLogLog by its header; nothing if it is none.
pub fn encoding(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes.get(ENCODING_AT)? {
        0 if bytes.len() == DENSE_BYTES => Some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

/// An empty HyperLogLog, sparse.
pub fn empty() -> Vec<u8> {
    let mut bytes = header(1);
    sparse::push_zeros(&mut bytes, REGISTERS);
    bytes
}

fn header(encoding: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = encoding;
    bytes
}

/// The count as it was last computed, while it holds.
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let count = u64::from_le_bytes(bytes.get(COUNT_AT..HEADER_BYTES)?.try_into().ok()?);
    (count >> 63 == 0).then_some(count)
}

/// The bytes that [`cached`] reads, and where they stand.
pub fn cache_of(count: u64) -> (usize, [u8; 8]) {
    (COUNT_AT, count.to_le_bytes())
}

/// Says that the count does not hold any longer.
pub fn invalidate(bytes: &mut [u8]) {
    if let Some(byte) = bytes.get_mut(STALE_AT) {
        *byte |= STALE;
    }
}

/// The register that an element belongs to, and the value that it must have at least.
#[inline]
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element, HASH_SEED);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// Raises one register; says whether that changed anything. A sparse HyperLogLog that would become longer than
/// `sparse_max` bytes, or that cannot hold the value, becomes dense.
///
/// # Errors
/// The registers make no sense.
pub fn raise(bytes: &mut Vec<u8>, index: usize, value: u8, sparse_max: usize) -> Result<bool, Corrupted> {
    if encoding(bytes) == Some(Encoding::Dense) {
        return Ok(raise_dense(bytes, index, value));
    }
    match sparse::raise(bytes, index, value, sparse_max)? {
        sparse::Raised::No => Ok(false),
        sparse::Raised::Yes => {
            invalidate(bytes);
            Ok(true)
        }
        sparse::Raised::TooMuch => {
            to_dense(bytes)?;
            Ok(raise_dense(bytes, index, value))
        }
    }
}

/// Raises one register of a dense HyperLogLog; says whether that changed anything.
#[inline]
pub fn raise_dense(bytes: &mut [u8], index: usize, value: u8) -> bool {
    let registers = bytes.get_mut(HEADER_BYTES..).unwrap_or_default();
    if get(registers, index) >= value {
        return false;
    }
    set(registers, index, value);
    true
}

/// Makes a HyperLogLog dense; says whether it was not.
///
/// # Errors
/// The registers make no sense.
pub fn to_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupted> {
    if encoding(bytes) == Some(Encoding::Dense) {
        return Ok(false);
    }
    let mut dense = vec![0; DENSE_BYTES];
    if let (Some(to), Some(from)) = (dense.get_mut(..HEADER_BYTES), bytes.get(..HEADER_BYTES)) {
        to.copy_from_slice(from);
    }
    dense[ENCODING_AT] = 0;
    let registers = dense.get_mut(HEADER_BYTES..).unwrap_or_default();
    sparse::walk(bytes, |run, from| {
        if let Run::Value(value, length) = run {
            (from..from + length).for_each(|index| set(registers, index, value));
        }
    })?;
    *bytes = dense;
    Ok(true)
}

/// Raises `into` to the registers of a HyperLogLog where those are greater.
///
/// # Errors
/// The registers make no sense.
pub fn merge(into: &mut Registers, bytes: &[u8]) -> Result<(), Corrupted> {
    if encoding(bytes) == Some(Encoding::Dense) {
        each_dense(bytes, |index, value| into[index] = into[index].max(value));
        return Ok(());
    }
    sparse::walk(bytes, |run, from| {
        if let Run::Value(value, length) = run {
            into[from..from + length].iter_mut().for_each(|register| *register = value.max(*register));
        }
    })
}

/// How many different elements a HyperLogLog has seen.
///
/// # Errors
/// The registers make no sense.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupted> {
    let mut histogram = [0u32; REGISTER_MAX as usize + 1];
    if encoding(bytes) == Some(Encoding::Dense) {
        each_dense(bytes, |_, value| histogram[usize::from(value)] += 1);
    } else {
        sparse::walk(bytes, |run, _| match run {
            Run::Zeros(length) => histogram[0] += length as u32,
            Run::Value(value, length) => histogram[usize::from(value)] += length as u32,
        })?;
    }
    Ok(estimate(&histogram))
}

/// How many different elements these registers have seen.
pub fn count_registers(registers: &Registers) -> u64 {
    let mut histogram = [0u32; REGISTER_MAX as usize + 1];
    for &value in registers {
        histogram[usize::from(value.min(REGISTER_MAX))] += 1;
    }
    estimate(&histogram)
}

/// The register's value in the six bits each of a dense HyperLogLog.
#[inline]
fn get(registers: &[u8], index: usize) -> u8 {
    let bit = index * REGISTER_BITS;
    let byte = |at: usize| u16::from(registers.get(at).copied().unwrap_or(0));
    let pair = byte(bit / 8) | byte(bit / 8 + 1) << 8;
    (pair >> (bit % 8)) as u8 & REGISTER_MAX
}

#[inline]
fn set(registers: &mut [u8], index: usize, value: u8) {
    let bit = index * REGISTER_BITS;
    let (at, shift) = (bit / 8, bit % 8);
    let (mask, pair) = (u16::from(REGISTER_MAX) << shift, u16::from(value & REGISTER_MAX) << shift);
    for (offset, part) in [0, 8].into_iter().enumerate() {
        if let Some(byte) = registers.get_mut(at + offset) {
            *byte = *byte & !((mask >> part) as u8) | (pair >> part) as u8;
        }
    }
}

/// Visits all registers of a dense HyperLogLog: four of them take three bytes.
fn each_dense(bytes: &[u8], mut visit: impl FnMut(usize, u8)) {
    let groups = bytes.get(HEADER_BYTES..).unwrap_or_default().chunks_exact(3);
    for (number, group) in groups.enumerate() {
        let all = u32::from_le_bytes([group[0], group[1], group[2], 0]);
        for at in 0..4 {
            visit(number * 4 + at, (all >> (at * REGISTER_BITS)) as u8 & REGISTER_MAX);
        }
    }
}

/// The value of every register, in order.
///
/// # Errors
/// The registers make no sense.
pub fn registers(bytes: &[u8]) -> Result<Box<Registers>, Corrupted> {
    let mut all = Box::new([0; REGISTERS]);
    merge(&mut all, bytes)?;
    Ok(all)
}

/// How many elements there are where so many registers have each value: the improved raw estimator of Otmar Ertl
/// ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), which needs no correction by tables.
fn estimate(histogram: &[u32; REGISTER_MAX as usize + 1]) -> u64 {
    /// 1 / (2 ln 2)
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    const ALL: f64 = REGISTERS as f64;
    let at = |value: usize| f64::from(histogram[value]);
    let mut z = ALL * tau((ALL - at(RANK_BITS + 1)) / ALL);
    for value in (1..=RANK_BITS).rev() {
        z = (z + at(value)) * 0.5;
    }
    z += ALL * sigma(at(0) / ALL);
    (ALPHA * ALL * ALL / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// MurmurHash64A by Austin Appleby, on a little-endian machine.
fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let mut words = bytes.chunks_exact(8);
    for word in words.by_ref() {
        let mut word = u64::from_le_bytes(word.try_into().unwrap_or_default()).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

/// Whether both encodings agree with each other and estimates lie where they must: what PFSELFTEST asks for. Some
/// milliseconds.
pub fn self_test() -> bool {
    let (mut sparse, mut dense) = (empty(), empty());
    let mut plain = [0u8; REGISTERS];
    if to_dense(&mut dense).is_err() {
        return false;
    }
    for number in 0..SELF_TEST_ELEMENTS {
        let (index, value) = place(&number.to_le_bytes());
        let raised = raise(&mut sparse, index, value, usize::MAX);
        if raised != Ok(raise_dense(&mut dense, index, value)) {
            return false;
        }
        plain[index] = plain[index].max(value);
        let seen = number + 1;
        if seen.is_power_of_two() || seen == SELF_TEST_ELEMENTS {
            let counts = (count(&sparse), count(&dense), count_registers(&plain));
            let (Ok(of_sparse), Ok(of_dense), of_plain) = counts else { return false };
            // Six standard errors, and some for small numbers.
            let allowed = seen / 20 + 2;
            if of_sparse != of_dense || of_dense != of_plain || of_plain.abs_diff(seen) > allowed {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests;
