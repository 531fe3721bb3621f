//! Fuzz target: what voters read from each other and from their state file.
//!
//! Whatever the bytes are, they are a message, a file, or refused. The file's decoder is also given bytes as if they
//! stood behind a sound head and before a sound checksum, or it would never be entered.
#![no_main]

use larder::peer::raft::{check_message, check_state_body, check_state_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = check_message(input);
    let _ = check_state_file(input);
    let _ = check_state_body(input);
});
