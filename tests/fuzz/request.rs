//! Fuzz target: whatever bytes a client sends, and however they are cut into reads, the scanner finds the same requests,
//! stays inside the input and never panics.
//!
//! The first byte chooses the lengths of the cuts and whether the connection has authenticated; the rest is the wire.
#![no_main]

use larder::resp::request::{Limits, Scan, Scanner};
use libfuzzer_sys::fuzz_target;

/// What was found at one place of the wire.
#[derive(Debug, PartialEq)]
enum Found {
    Request(Vec<Vec<u8>>, usize),
    Nothing(usize),
    Error(String),
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, wire)) = input.split_first() else {
        return;
    };
    let mut limits = Limits::new(1 << 20, choice & 1 == 0);
    if choice & 2 != 0 {
        limits.args_max = 4;
        limits.inline_max_bytes = 16;
        limits.bulk_max_bytes = 8;
    }
    let whole = scan_all(wire, usize::MAX, &limits);
    let cut = scan_all(wire, usize::from(choice >> 2) + 1, &limits);
    assert_eq!(whole, cut, "cutting the input changed what was found");
});

/// All that is found when the wire arrives in reads of `read` bytes.
fn scan_all(wire: &[u8], read: usize, limits: &Limits) -> Vec<Found> {
    let mut scanner = Scanner::new();
    let mut found = Vec::new();
    let (mut start, mut end) = (0, read.min(wire.len()));
    loop {
        let input = &wire[start..end];
        match scanner.scan(input, limits) {
            Scan::Incomplete { wanted_bytes } => {
                assert!(wanted_bytes > 0);
                if end == wire.len() {
                    return found;
                }
                end = end.saturating_add(read).min(wire.len());
            }
            Scan::Request { consumed_bytes } => {
                assert!(consumed_bytes > 0 && consumed_bytes <= input.len());
                let args = scanner.args(input);
                // An inline request is bounded by its length alone.
                let args_max = if input[0] == b'*' { limits.args_max } else { limits.inline_max_bytes };
                assert!(!args.is_empty() && args.len() <= args_max);
                found.push(Found::Request(args.iter().map(<[u8]>::to_vec).collect(), consumed_bytes));
                start += consumed_bytes;
            }
            Scan::Nothing { consumed_bytes } => {
                assert!(consumed_bytes > 0 && consumed_bytes <= input.len());
                found.push(Found::Nothing(consumed_bytes));
                start += consumed_bytes;
            }
            Scan::Error(error) => {
                found.push(Found::Error(format!("{error:?}")));
                return found;
            }
        }
    }
}
