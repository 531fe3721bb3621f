//! The payload of FUNCTION DUMP and FUNCTION RESTORE: the sources of libraries, each behind the byte that RDB has for
//! them, and the version and checksum that every payload ends with.
//!
//! Bytes to be read may come from anybody: nothing panics, and what compressed sources unfold to is bounded.

use super::dump;
use crate::store::value::rdb::{INFLATED_MAX_BYTES, put_text, take_text};

/// RDB's byte before a library.
const LIBRARY: u8 = 245;
/// Its byte before a library in the form that no release of Redis has.
const LIBRARY_OF_OLD: u8 = 246;
/// The RDB version that has libraries.
const VERSION: u16 = 10;

/// Why a payload is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its version is not known, its checksum is wrong, or it has neither.
    Footer,
    /// A library has a form that no release of Redis wrote.
    Old,
    /// Something else than a library is in it.
    Other,
    /// A source is cut off, or unfolds to too much.
    Source,
}

/// The payload of libraries' sources.
pub fn write<'a>(sources: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    for source in sources {
        payload.push(LIBRARY);
        put_text(&mut payload, source);
    }
    dump::close(&mut payload, VERSION);
    payload
}

/// The sources in a payload.
///
/// # Errors
/// See [`Refused`].
pub fn read(payload: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    let mut rest = dump::open(payload).map_err(|_| Refused::Footer)?;
    let mut sources = Vec::new();
    let mut left_bytes = INFLATED_MAX_BYTES;
    while let Some((kind, body)) = rest.split_first() {
        match *kind {
            LIBRARY => {}
            LIBRARY_OF_OLD => return Err(Refused::Old),
            _ => return Err(Refused::Other),
        }
        rest = body;
        let source = take_text(&mut rest).map_err(|_| Refused::Source)?;
        left_bytes = left_bytes.checked_sub(source.len()).ok_or(Refused::Source)?;
        sources.push(source);
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::super::dump;
    use super::{Refused, VERSION, read, write};
    use proptest::{prop_assert_eq, proptest};

    /// FUNCTION DUMP of two libraries by redis-server 7.0.15.
    const DUMPED: &[u8] =
        b"\xf5@H#!lua name=a\nredis.register_function(\"f\",function(k,a) return {k,a} end)\xf5@H\
        #!lua name=b\nredis.register_function(\"h\",function(k,a) return {k,a} end)\xf5@H#!lua name=A\n\
        redis.register_function(\"g\",function(k,a) return {k,a} end)\n\x00a\x9bL\xb1U(\xf0_";

    #[test]
    fn what_redis_dumps_is_read_and_written() {
        let sources = read(DUMPED).unwrap();
        assert_eq!(sources.len(), 3);
        assert!(sources[1].starts_with(b"#!lua name=b\nredis."));
        assert_eq!(write(sources.iter().map(Vec::as_slice)), DUMPED);
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        assert_eq!(read(b""), Err(Refused::Footer));
        assert_eq!(read(&DUMPED[1..]), Err(Refused::Footer));
        for (body, expected) in [
            (b"\xf6\x01a".as_slice(), Refused::Old),
            (b"\x00\x01a", Refused::Other),
            (b"\xf5\x02a", Refused::Source),
            (b"\xf5", Refused::Source),
        ] {
            let mut payload = body.to_vec();
            dump::close(&mut payload, VERSION);
            assert_eq!(read(&payload), Err(expected), "{body:x?}");
        }
        let mut payload = Vec::new();
        dump::close(&mut payload, VERSION);
        assert_eq!(read(&payload), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn any_sources_come_back(sources: Vec<Vec<u8>>) {
            let payload = write(sources.iter().map(Vec::as_slice));
            prop_assert_eq!(read(&payload), Ok(sources));
        }
    }
}
