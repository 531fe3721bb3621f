//! Key → hash tag → slot. Everything that groups keys (shards, cluster ownership, multi-key atomicity) rests on it,
//! so it must equal Redis Cluster's rule to the bit: CRC16 (XMODEM) of the hash tag, modulo 16384.

/// Number of hash slots; fixed by the cluster protocol.
pub const SLOT_COUNT: usize = 16_384;

/// A hash slot, always below [`SLOT_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, if there is one.
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < SLOT_COUNT { Some(Self(number)) } else { None }
    }

    /// The slot's number, `0..16384`.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The part of `key` that decides its slot: what stands between the first `{` and the next `}`, unless that is empty.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if !has_brace(key) {
        return key;
    }
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(length) if length > 0 => &key[open + 1..open + 1 + length],
        _ => key,
    }
}

/// Whether there may be a `{`: exact but for what follows one by borrow. Eight bytes a step, inline, because keys are
/// short and most have none: a search by call took twice the time of the checksum.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    const BRACES: u64 = ONES * b'{' as u64;
    let in_word = |word: &[u8; 8]| {
        let equal_is_zero = u64::from_le_bytes(*word) ^ BRACES;
        equal_is_zero.wrapping_sub(ONES) & !equal_is_zero & HIGHS != 0
    };
    let (words, rest) = key.as_chunks::<8>();
    words.iter().any(in_word) || rest.contains(&b'{')
}

/// The slot of `key`.
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(crc16(hash_tag(key)) & (SLOT_COUNT as u16 - 1))
}

/// CRC16/XMODEM (polynomial 0x1021, initial value 0), four bytes a step.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        crc = TABLES[3][(word[0] ^ (crc >> 8) as u8) as usize]
            ^ TABLES[2][(word[1] ^ crc as u8) as usize]
            ^ TABLES[1][word[2] as usize]
            ^ TABLES[0][word[3] as usize];
    }
    for &byte in words.remainder() {
        crc = (crc << 8) ^ TABLES[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// `TABLES[n][b]` is the CRC of byte `b` followed by `n` zero bytes.
static TABLES: [[u16; 256]; 4] = build_tables();

const fn build_tables() -> [[u16; 256]; 4] {
    let mut tables = [[0u16; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut level = 1;
    while level < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[level - 1][byte];
            tables[level][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        level += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::{crc16, hash_tag, slot_of};

    #[test]
    fn crc_matches_the_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn slots_match_an_independent_implementation() {
        for key in [
            "",
            "a",
            "foo",
            "{user1000}.following",
            "foo{}{bar}",
            "foo{{bar}}zap",
            "foo{bar}{zap}",
            "key:000000000042",
            "1234567{89}",
            "12345678{9}0123456789",
            "12345678901234567890123{}",
        ] {
            assert_eq!(
                slot_of(key.as_bytes()).number(),
                redis_protocol::redis_keyslot(key.as_bytes()),
                "{key}"
            );
        }
    }

    #[test]
    fn an_empty_tag_is_no_tag() {
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }
}
