//! `scripts`: server CPU time per EVAL of short scripts and FCALL of a short function, beside redis-server; the load is
//! that of `types`.

use std::io;

use crate::{
    Options,
    types::{Filling, STRINGS, Work, measure_all, write},
};

/// The most that a script may cost as a multiple of what it costs in Redis.
const CPU_GOAL: f64 = 0.8;

const GET: &str = "return redis.call('GET', KEYS[1])";
/// How clients release a lock.
const UNLOCK: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

const WORKS: [Work; 5] = [
    Work {
        name: "EVAL GET",
        filling: Filling::Strings,
        command: |random, out| write(out, &["EVAL", GET, "1", &format!("key:{}", random.below(STRINGS))]),
    },
    Work {
        name: "FCALL GET",
        filling: Filling::Function,
        command: |random, out| write(out, &["FCALL", "get", "1", &format!("key:{}", random.below(STRINGS))]),
    },
    Work {
        name: "EVAL return 1",
        filling: Filling::Nothing,
        command: |_, out| write(out, &["EVAL", "return 1", "0"]),
    },
    Work {
        name: "EVAL unlock",
        filling: Filling::Strings,
        command: |random, out| {
            write(out, &["EVAL", UNLOCK, "1", &format!("key:{}", random.below(STRINGS)), "a token"]);
        },
    },
    Work {
        name: "EVAL loop of 10 SET",
        filling: Filling::Strings,
        command: |random, out| {
            let source = "for i = 1, 10 do redis.call('SET', KEYS[1], i) end";
            write(out, &["EVAL", source, "1", &format!("key:{}", random.below(STRINGS))]);
        },
    },
];

/// Runs every script and prints the table.
pub fn run(options: &Options) -> io::Result<()> {
    measure_all(options, "Scripts", &WORKS, CPU_GOAL).map(drop)
}
