//! A command that waits at another node: what is sent for it, now and when it has to go on elsewhere.
//!
//! It keeps the moment at which its time is up, and sends what is left. What means the moment at which it came (`$` of
//! XREAD) is asked for on the same link just before it and put in its place when it goes on elsewhere, so that nothing
//! that is added meanwhile is missed.

use std::fmt::Write;

use super::join;
use crate::base::num::parse_u64;
use crate::command::blocking;
use crate::command::spec::Group;
use crate::command::spec::flags::WRITE;
use crate::command::stream::read;
use crate::command::table::Entry;
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::measure::array_head;

/// What is sent at least: 0 is for ever.
const LEFT_MIN_MS: u64 = 1;

/// A request for the number by which a connection is known to its node.
pub const MY_ID: &[u8] = b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";

/// A request that ends the wait of the connection of that number; `why` is TIMEOUT or ERROR.
pub fn unblock(id: u64, why: &str) -> Vec<u8> {
    encoded(&["CLIENT", "UNBLOCK", &id.to_string(), why])
}

fn encoded<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = Vec::new();
    OwnedArgs::from_slices(words).as_args().encode_into(&mut bytes);
    bytes
}

/// A command that waits; see the module.
pub struct Errand {
    entry: &'static Entry,
    args: OwnedArgs,
    until_ms: Option<u64>,
}

impl Errand {
    /// One that has just come.
    pub fn new(entry: &'static Entry, args: Args<'_>, now_ms: u64) -> Self {
        let timeout = blocking::timeout_at(entry, args).and_then(|at| args.get(at));
        // What is no timeout is an error that the other node knows.
        let timeout_ms = timeout.and_then(|text| match entry.spec.group {
            Group::Stream => parse_u64(text).filter(|timeout_ms| *timeout_ms > 0),
            _ => blocking::timeout(text).ok().flatten(),
        });
        let until_ms = timeout_ms.map(|timeout_ms| now_ms.saturating_add(timeout_ms));
        Self { entry, args: args.to_owned(), until_ms }
    }

    /// One that has waited here until its slot left.
    pub fn moved_on(entry: &'static Entry, args: OwnedArgs, until_ms: Option<u64>) -> Self {
        Self { entry, args, until_ms }
    }

    /// The command's row.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// Whether it changes data when it finds what it waits for.
    pub fn writes(&self) -> bool {
        self.entry.spec.has(WRITE)
    }

    /// Unix ms at which its time is up.
    pub fn until_ms(&self) -> Option<u64> {
        self.until_ms
    }

    /// The request as it is sent at `now_ms`.
    pub fn request(&self, now_ms: u64) -> Vec<u8> {
        let args = self.args.as_args();
        let mut words: Vec<&[u8]> = args.iter().collect();
        let mut left = String::new();
        if let Some(until_ms) = self.until_ms
            && let Some(place) = blocking::timeout_at(self.entry, args).and_then(|at| words.get_mut(at))
        {
            let left_ms = until_ms.saturating_sub(now_ms).max(LEFT_MIN_MS);
            let written = match self.entry.spec.group {
                Group::Stream => write!(left, "{left_ms}"),
                _ => write!(left, "{}.{:03}", left_ms / 1000, left_ms % 1000),
            };
            // Text grows.
            debug_assert!(written.is_ok());
            *place = left.as_bytes();
        }
        encoded(&words)
    }

    /// Where it says `$`, each with a request that tells what that means now.
    pub fn moments(&self) -> Vec<(usize, Vec<u8>)> {
        let args = self.args.as_args();
        if self.entry.spec.name != "xread" {
            return Vec::new();
        }
        let Some(layout) = read::layout(args) else { return Vec::new() };
        let keys = layout.keys_at..layout.keys_at + layout.streams;
        let pairs = keys.map(|at| (at + layout.streams, args.get(at).unwrap_or_default()));
        let moments = pairs.filter(|(at, _)| args.get(*at) == Some(b"$"));
        let last = |key: &[u8]| encoded(&[b"XREVRANGE".as_slice(), key, b"+", b"-", b"COUNT", b"1"]);
        moments.map(|(at, key)| (at, last(key))).collect()
    }

    /// Puts in place of a `$` what the reply to its request says: the last entry, or, where there is none, the start. An
    /// error leaves it as it is.
    pub fn resolve(&mut self, at: usize, reply: &[u8]) {
        let Some(id) = last_id(reply) else { return };
        let words: Vec<&[u8]> = self
            .args
            .as_args()
            .iter()
            .enumerate()
            .map(|(place, word)| if place == at { id } else { word })
            .collect();
        self.args = OwnedArgs::from_slices(&words);
    }
}

/// The identifier of the first entry in a reply of XREVRANGE.
fn last_id(reply: &[u8]) -> Option<&[u8]> {
    match array_head(reply)? {
        (0, _) => Some(b"0-0"),
        (_, at) => {
            let entry = reply.get(at..)?;
            let (_, at) = array_head(entry)?;
            join::bulk(join::take_element(&mut entry.get(at..)?)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Errand, unblock};
    use crate::command::table;
    use crate::resp::args::OwnedArgs;

    fn errand(line: &str, now_ms: u64) -> Errand {
        let args = OwnedArgs::from_slices(&line.split(' ').collect::<Vec<_>>());
        let entry = table::resolve(args.as_args()).expect("a command");
        Errand::new(entry, args.as_args(), now_ms)
    }

    fn sent(line: &str) -> String {
        let words = line.split(' ');
        let head = format!("*{}\r\n", words.clone().count());
        words.fold(head, |text, word| format!("{text}${}\r\n{word}\r\n", word.len()))
    }

    #[test]
    fn what_is_left_of_its_time_is_sent() {
        for (line, later) in [
            ("BLPOP a b 10", "BLPOP a b 7.500"),
            ("BRPOP a 0", "BRPOP a 0"),
            ("BLMOVE a b LEFT RIGHT 2.6", "BLMOVE a b LEFT RIGHT 0.100"),
            ("BRPOPLPUSH a b 1", "BRPOPLPUSH a b 0.001"),
            ("BLMPOP 3 2 a b LEFT", "BLMPOP 0.500 2 a b LEFT"),
            ("BZPOPMIN a 1e1", "BZPOPMIN a 7.500"),
            ("BZMPOP 3 1 a MIN COUNT 5", "BZMPOP 0.500 1 a MIN COUNT 5"),
            ("XREAD COUNT 1 BLOCK 3000 STREAMS block 0", "XREAD COUNT 1 BLOCK 500 STREAMS block 0"),
            ("XREAD BLOCK 0 STREAMS s 0", "XREAD BLOCK 0 STREAMS s 0"),
            (
                "XREADGROUP GROUP block block BLOCK 2600 STREAMS s >",
                "XREADGROUP GROUP block block BLOCK 100 STREAMS s >",
            ),
            ("XREAD STREAMS block 0", "XREAD STREAMS block 0"),
            ("BLPOP a nonsense", "BLPOP a nonsense"),
            ("BLPOP a -1", "BLPOP a -1"),
            ("XREAD BLOCK x STREAMS s 0", "XREAD BLOCK x STREAMS s 0"),
        ] {
            let request = errand(line, 1_000_000).request(1_002_500);
            assert_eq!(String::from_utf8_lossy(&request), sent(later), "{line}");
        }
        assert_eq!(unblock(7, "ERROR"), sent("CLIENT UNBLOCK 7 ERROR").into_bytes());
    }

    #[test]
    fn the_moment_is_put_in_place() {
        let mut errand = errand("XREAD BLOCK 0 STREAMS a b c $ 5 $", 0);
        let moments = errand.moments();
        assert_eq!(moments.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [7, 9]);
        assert_eq!(String::from_utf8_lossy(&moments[1].1), sent("XREVRANGE c + - COUNT 1"));
        errand.resolve(7, b"-WRONGTYPE it is none\r\n");
        errand.resolve(9, b"*1\r\n*2\r\n$3\r\n7-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
        assert_eq!(String::from_utf8_lossy(&errand.request(0)), sent("XREAD BLOCK 0 STREAMS a b c $ 5 7-1"));
        errand.resolve(7, b"*0\r\n");
        assert_eq!(
            String::from_utf8_lossy(&errand.request(0)),
            sent("XREAD BLOCK 0 STREAMS a b c 0-0 5 7-1")
        );
        assert!(errand.moments().is_empty());
    }
}
