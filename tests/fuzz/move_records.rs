//! Fuzz target: the records of slots on the move.
//!
//! Whatever bytes arrive, nothing panics, what is accepted encodes to the same bytes, nothing lands outside the slot
//! that arrives, and giving the move up leaves nothing behind.
#![no_main]

use larder::base::slot::slot_of;
use larder::store::arrival::Arrival;
use larder::store::carry::Record;
use larder::store::key::Layout;
use larder::store::keyspace::Keyspace;
use larder::store::policy::Policy;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

const NOW_MS: u64 = 1_800_000_000_000;
const LIMIT_BYTES: u64 = 16 << 20;

static KEYSPACE: OnceLock<Keyspace> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let keyspace = KEYSPACE
        .get_or_init(|| Keyspace::new(Layout::seeded(0, 1), Policy::AllkeysLru, LIMIT_BYTES, 1));
    let slots = [slot_of(b""), slot_of(b"a")];
    let mut arrival = Arrival::begin(keyspace, &slots).expect("the slots are empty");
    let mut rest = input;
    while let Ok((record, length)) = Record::decode(rest) {
        let mut again = Vec::new();
        record.encode_into(&mut again);
        assert_eq!(&rest[..length], again);
        rest = &rest[length..];
    }
    let mut rest = input;
    while !rest.is_empty() {
        match arrival.apply(keyspace, rest, NOW_MS) {
            Ok(done) => rest = &rest[done..],
            Err(_) => break,
        }
    }
    assert_eq!(keyspace.entries(0), 0, "what arrives is hidden");
    while !arrival.clear_step(keyspace) {}
    assert_eq!(keyspace.entries(0), 0);
});
