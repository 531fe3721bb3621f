//! Fuzz target: payloads of RESTORE, values that travel between nodes, and strings that may be HyperLogLogs.
//!
//! Whatever bytes arrive, nothing panics; what is accepted is written in either dialect and read again as a value of
//! the same type, which takes as many bytes the next time among our own.
#![no_main]

use larder::persist::dump;
use larder::store::value::rdb::{self, Dialect};
use larder::store::value::{Thresholds, Value, hll};
use libfuzzer_sys::fuzz_target;

fn written(value: &Value, dialect: Dialect) -> Vec<u8> {
    let mut bytes = Vec::new();
    rdb::encode(value.as_ref(), dialect, &mut bytes);
    bytes
}

fuzz_target!(|input: &[u8]| {
    let thresholds = Thresholds::default();
    let _ = dump::read(input, &thresholds);
    if let Ok(value) = rdb::decode(input, &thresholds) {
        let bytes = written(&value, Dialect::Own);
        let back = rdb::decode(&bytes, &thresholds).expect("what is written is read");
        assert_eq!(back.value_type(), value.value_type());
        assert_eq!(written(&back, Dialect::Own).len(), bytes.len());
        let back = dump::read(&dump::write(value.as_ref()), &thresholds).expect("a payload of our own");
        assert_eq!(back.value_type(), value.value_type());
        if let Value::Str(bytes) = &value {
            use_as_hyperloglog(bytes.to_vec());
        }
    }
});

fn use_as_hyperloglog(mut bytes: Vec<u8>) {
    let sparse_max = Thresholds::default().hll_sparse_max_bytes;
    if hll::encoding(&bytes).is_none() {
        return;
    }
    let is_sound = hll::count(&bytes).is_ok();
    assert_eq!(hll::registers(&bytes).is_ok(), is_sound);
    for (index, value) in [(0, 1), (8191, 32), (16383, 51), (8190, 2)] {
        if hll::raise(&mut bytes, index, value, sparse_max).is_err() {
            return;
        }
    }
    assert_eq!(hll::to_dense(&mut bytes).is_ok(), hll::count(&bytes).is_ok());
}
