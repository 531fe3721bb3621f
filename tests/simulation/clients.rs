//! Clients: they write and read a number per key, each higher than all before it, and follow redirections.
//!
//! A command is done in place or not at all, so what a key must show is known exactly: the last number written, or
//! nothing if a process has died since that was last seen. What was lost must not come back.

use larder::base::rng::Rng;

use crate::host::Host;

/// Keys; they spread over the slots.
const KEYS: usize = 48;
/// Redirections that one command follows.
const HOPS: usize = 3;

#[derive(Clone, Copy, Default)]
struct Expected {
    /// The last number written, as long as it is not known to be lost.
    number: Option<u64>,
    /// Deaths when it was last seen.
    deaths: u64,
}

/// The clients; see the module.
pub struct Clients {
    keys: [Expected; KEYS],
    next: u64,
    rng: Rng,
    /// Commands that were answered with data or by a change.
    pub answered: u64,
    /// Keys that were found lost.
    pub lost: u64,
}

impl Clients {
    /// Clients that begin with an empty cluster.
    pub fn new(seed: u64) -> Self {
        Self { keys: [Expected::default(); KEYS], next: 0, rng: Rng::seeded(seed), answered: 0, lost: 0 }
    }

    /// Runs one command somewhere. `deaths` are those that all tables so far tell of.
    pub fn act(&mut self, hosts: &[Host], deaths: u64) {
        let number = self.rng.below(KEYS as u64) as usize;
        let key = format!("key:{number}");
        let writes = self.rng.below(2) == 0;
        let any = self.rng.below(hosts.len() as u64) as usize;
        self.next += 1;
        let value = self.next.to_string();
        let words = if writes { vec!["SET", &key, &value] } else { vec!["GET", &key] };
        let Some((reply, name)) = ask(hosts, any, &words) else { return };
        self.answered += 1;
        let expected = &mut self.keys[number];
        if writes {
            assert_eq!(reply, "+OK\r\n", "SET {key} on {name}");
            *expected = Expected { number: Some(self.next), deaths };
            return;
        }
        let shown: Option<u64> = match reply.as_str() {
            "$-1\r\n" => None,
            _ => Some(reply.split("\r\n").nth(1).and_then(|text| text.parse().ok()).expect("a number")),
        };
        if shown == expected.number {
            expected.deaths = deaths;
            return;
        }
        let may_be_lost = shown.is_none() && deaths > expected.deaths;
        assert!(
            may_be_lost,
            "S6: {key} shows {shown:?} on {name} and not {:?}, after {} deaths in {deaths}",
            expected.number,
            deaths - expected.deaths
        );
        self.lost += 1;
        *expected = Expected { number: None, deaths };
    }
}

/// The reply of whoever serves the key, and who it is; nothing if nobody does.
fn ask<'a>(hosts: &'a [Host], first: usize, words: &[&str]) -> Option<(String, &'a str)> {
    let mut host = &hosts[first];
    for _ in 0..HOPS {
        let reply = host.ask(words)?;
        match reply.strip_prefix("-MOVED ") {
            Some(rest) => {
                let address = rest.split_whitespace().nth(1).expect("an address");
                host = hosts.iter().find(|host| host.address == address).expect("a node's address");
            }
            None if reply.starts_with("-CLUSTERDOWN ") => return None,
            None => return Some((reply, &host.name)),
        }
    }
    None
}
