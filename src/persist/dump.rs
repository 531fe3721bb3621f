//! The payload of DUMP and RESTORE: a value in RDB's format, the format's version (two bytes), and a checksum of both
//! (eight bytes), the lowest byte first.

use super::crc64::crc64;
use crate::store::value::rdb::{self, Dialect, Malformed, VERSION_MAX};
use crate::store::value::{Thresholds, Value, ValueRef};

/// Bytes of version and checksum.
const FOOTER_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 8;

/// Why a payload is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its version is not known, its checksum is wrong, or it has neither.
    Footer,
    /// It holds no value.
    Malformed,
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The payload of a value, in a form that Redis 7.0 takes (7.4 for hashes whose fields are due at some time).
pub fn write(value: ValueRef<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    rdb::encode(value, Dialect::Redis, &mut payload);
    let version = rdb::version_of(&payload);
    close(&mut payload, version);
    payload
}

/// Puts version and checksum behind a payload's body.
pub fn close(payload: &mut Vec<u8>, version: u16) {
    payload.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(payload);
    payload.extend_from_slice(&sum.to_le_bytes());
}

/// The body of a payload whose version and checksum are right.
///
/// # Errors
/// [`Refused::Footer`]
pub fn open(payload: &[u8]) -> Result<&[u8], Refused> {
    let body = payload.len().checked_sub(FOOTER_BYTES).ok_or(Refused::Footer)?;
    let (summed, sum) = payload.split_at(payload.len() - CHECKSUM_BYTES);
    let version = u16::from_le_bytes([summed[body], summed[body + 1]]);
    if version > VERSION_MAX || crc64(summed).to_le_bytes() != sum {
        return Err(Refused::Footer);
    }
    Ok(&payload[..body])
}

/// The value in a payload.
///
/// # Errors
/// See [`Refused`].
pub fn read(payload: &[u8], thresholds: &Thresholds) -> Result<Value, Refused> {
    Ok(rdb::decode(open(payload)?, thresholds)?)
}

#[cfg(test)]
mod tests {
    use super::{Refused, read, write};
    use crate::store::value::{Thresholds, Value, ValueRef};

    #[test]
    fn payloads_are_those_of_redis() {
        // DUMP of "bar" by redis-server 7.0.
        let expected = b"\x00\x03bar\x0a\x00";
        let payload = write(ValueRef::Str(b"bar"));
        assert_eq!(&payload[..7], expected);
        let value = read(&payload, &Thresholds::default()).unwrap();
        assert!(matches!(value, Value::Str(bytes) if bytes == "bar"));
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, &Thresholds::default()).err(), Some(Refused::Footer));
            assert_eq!(read(&payload[..at], &Thresholds::default()).err(), Some(Refused::Footer));
        }
    }
}
