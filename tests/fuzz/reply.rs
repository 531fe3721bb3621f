//! Fuzz target: where replies end, as the gateway tells it of what other nodes send.
//!
//! Whatever bytes arrive, nothing panics, no reply is empty or longer than what has come, and it does not matter in
//! which pieces they come; where redis-protocol sees a reply, too, both see its end in the same place.
#![no_main]

use larder::resp::measure::{Malformed, Measure, array_head};
use libfuzzer_sys::fuzz_target;
use redis_protocol::resp2::decode;

/// The lengths of the replies in `stream`, of which `piece` bytes come at a time, and how it ended.
fn lengths(stream: &[u8], piece: usize) -> (Vec<usize>, Result<(), Malformed>) {
    let (mut measure, mut found, mut begin, mut end) = (Measure::default(), Vec::new(), 0, 0);
    loop {
        match measure.end(&stream[begin..end]) {
            Ok(Some(length)) => {
                assert!(length > 0 && begin + length <= end);
                found.push(length);
                begin += length;
            }
            Ok(None) if end < stream.len() => end = (end + piece).min(stream.len()),
            outcome => return (found, outcome.map(|_| ())),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else { return };
    let whole = lengths(stream, stream.len().max(1));
    assert_eq!(lengths(stream, usize::from(piece).max(1)), whole);
    // It makes room for what is announced, so that it is asked only where all of that has come.
    if let Some(first) = whole.0.first().map(|length| &stream[..*length])
        && let Ok(Some((_, length))) = decode::decode(first)
    {
        assert_eq!(length, first.len());
    }
    if let Some((_, head)) = array_head(stream) {
        assert!(head <= stream.len());
    }
});
