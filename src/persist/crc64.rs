//! CRC-64 with the polynomial of Jones, as Redis computes it: bits reflected, nothing before and behind.

/// The polynomial, its bits reflected.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
/// Bytes that are taken at once.
const SLICES: usize = 8;

static TABLES: [[u64; 256]; SLICES] = tables();

/// For each slice what a byte at its place does to the sum.
const fn tables() -> [[u64; 256]; SLICES] {
    let mut tables = [[0; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut slice = 1;
    while slice < SLICES {
        let mut byte = 0;
        while byte < 256 {
            let sum = tables[slice - 1][byte];
            tables[slice][byte] = tables[0][(sum & 0xFF) as usize] ^ sum >> 8;
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// The checksum of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut sum = 0u64;
    let mut words = bytes.chunks_exact(SLICES);
    for word in words.by_ref() {
        let mixed = sum ^ u64::from_le_bytes(word.try_into().unwrap_or_default());
        sum = mixed
            .to_le_bytes()
            .iter()
            .enumerate()
            .fold(0, |sum, (at, byte)| sum ^ TABLES[SLICES - 1 - at][usize::from(*byte)]);
    }
    words.remainder().iter().fold(sum, |sum, byte| TABLES[0][(sum as u8 ^ byte) as usize] ^ sum >> 8)
}

#[cfg(test)]
mod tests {
    use super::{POLYNOMIAL, crc64};

    fn bit_by_bit(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |sum, byte| {
            (0..8).fold(sum ^ u64::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 })
        })
    }

    #[test]
    fn sums_are_those_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
        let bytes: Vec<u8> = (0..300).map(|at| (at * 7) as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(crc64(&bytes[..length]), bit_by_bit(&bytes[..length]));
        }
    }
}
