//! Fuzz target: any text given as a configuration file is either refused with a message or gives a configuration that
//! survives being written and read again.
#![no_main]

use larder::config::{Config, file, sources};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut config = Config::default();
    let outcome = file::parse("fuzzed", text).and_then(|settings| sources::apply(&mut config, &settings));
    match outcome {
        Err(message) => assert!(!message.is_empty()),
        Ok(()) => {
            let written = file::render(&config);
            let mut again = Config::default();
            let read =
                file::parse("written", &written).and_then(|settings| sources::apply(&mut again, &settings));
            assert_eq!(read, Ok(()), "{written}");
            assert_eq!(again, config, "{written}");
        }
    }
});
