//! Clients that sit where the nodes are and ask each of them for the same keys, all the time, whoever owns them.
//!
//! No fault of the wire is between a node and its prober: whatever a node answers, it answered because it took itself
//! for the owner. Redirections and refusals are no answers; a write that was not answered, or by CLUSTERDOWN, may have
//! happened. What was seen is kept with its times, of one clock.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::history::{NEVER, Seen};
use crate::support::client::{self, Client};
use crate::support::cluster::Cluster;
use crate::support::frame::Frame;
use crate::support::namespaces::Wire;

/// Keys that are asked for; by chance every node of five owns some.
pub const KEYS: usize = 24;
/// Pause between two commands of a prober.
const PAUSE: Duration = Duration::from_micros(500);
/// Pause before a node that does not take connections is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// The probers of a cluster; they end with it.
pub struct Watch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    next_value: AtomicU64,
    is_over: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    /// Answers that no node may give.
    strange: Mutex<Vec<String>>,
}

impl Watch {
    /// One prober at each node that runs.
    pub fn start(wire: &Arc<Wire>, cluster: &Cluster) -> Watch {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            next_value: AtomicU64::new(1),
            is_over: AtomicBool::new(false),
            seen: Mutex::default(),
            strange: Mutex::default(),
        });
        let start = |node: usize| {
            let (shared, wire) = (Arc::clone(&shared), Arc::clone(wire));
            let (place, address) = (cluster.place(node), cluster.address(node));
            thread::spawn(move || {
                wire.enter(place);
                shared.probe(node, address);
            })
        };
        let threads = cluster.running().into_iter().map(start).collect();
        let watch = Watch { shared, threads };
        cluster.wait("every key is answered for", || watch.answered_since(0) == KEYS);
        watch
    }

    /// The time on the clock of all probers, in ns.
    pub fn now_ns(&self) -> u64 {
        self.shared.now_ns()
    }

    /// Keys that were asked for and answered since then.
    pub fn answered_since(&self, since_ns: u64) -> usize {
        let seen = self.shared.seen.lock().expect("no prober panicked");
        let recent = seen.iter().filter(|one| one.sent_ns >= since_ns && one.answered_ns != NEVER);
        recent.map(|one| one.key).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Adds what another client saw.
    pub fn add(&self, seen: Seen) {
        self.shared.seen.lock().expect("no prober panicked").push(seen);
    }

    /// A value that nobody has written.
    pub fn value(&self) -> u64 {
        self.shared.next_value.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends the probers; what was seen.
    #[track_caller]
    pub fn finish(mut self) -> Vec<Seen> {
        self.stop();
        let strange = self.shared.strange.lock().expect("no prober panicked");
        assert!(strange.is_empty(), "{strange:?}");
        let seen = std::mem::take(&mut *self.shared.seen.lock().expect("no prober panicked"));
        assert!(seen.len() > KEYS, "the probers saw next to nothing");
        seen
    }

    fn stop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for prober in self.threads.drain(..) {
            // Its panic has been printed; what is missing is noticed.
            let _ = prober.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The key of a number.
pub fn key(number: usize) -> String {
    format!("probe:{number}")
}

/// What an answer says of a key: nothing if it says nothing, else the answer's value.
///
/// # Errors
/// No node may answer so.
pub fn judge(wrote: Option<u64>, answer: &Frame) -> Result<Option<Option<u64>>, String> {
    match (wrote, answer) {
        (_, Frame::Error(text)) if text.starts_with("MOVED ") || text.starts_with("CLUSTERDOWN") => Ok(None),
        (Some(value), Frame::Simple(text)) if text == "OK" => Ok(Some(Some(value))),
        (None, Frame::Null) => Ok(Some(None)),
        (None, Frame::Bulk(_)) => match answer.text().parse() {
            Ok(value) => Ok(Some(Some(value))),
            Err(_) => Err(format!("{answer:?}")),
        },
        _ => Err(format!("{answer:?}")),
    }
}

/// The command that writes a value to a key, or reads it.
pub fn command(number: usize, write: Option<u64>) -> Vec<u8> {
    match write {
        Some(value) => client::encode(&["SET", &key(number), &value.to_string()]),
        None => client::encode(&["GET", &key(number)]),
    }
}

impl Shared {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn probe(&self, node: usize, address: SocketAddr) {
        let mut link: Option<Client> = None;
        for turn in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(PAUSE);
            let Some(mut client) = link.take().or_else(|| Client::connect(address).ok()) else {
                thread::sleep(AGAIN);
                continue;
            };
            // Written and read in turn, each key after the other.
            let number = (turn / 2) % KEYS;
            let write = (turn % 2 == 0).then(|| self.next_value.fetch_add(1, Ordering::Relaxed));
            if self.ask(&mut client, node, number, write) {
                link = Some(client);
            }
        }
    }

    /// One command; whether the connection is still good.
    fn ask(&self, client: &mut Client, node: usize, key: usize, write: Option<u64>) -> bool {
        let sent_ns = self.now_ns();
        let sent = client.try_send_raw(&command(key, write));
        let answer = sent.and_then(|()| client.try_receive());
        let mut seen =
            Seen { key, node, wrote: write.is_some(), value: write, sent_ns, answered_ns: self.now_ns() };
        let is_good = answer.is_ok();
        match answer.map(|answer| (judge(write, &answer), answer)) {
            Ok((Ok(Some(value)), _)) => seen.value = value,
            Ok((Err(strange), _)) => {
                self.strange.lock().expect("no prober panicked").push(format!("node {node}: {strange}"));
                return is_good;
            }
            // A node that is not the owner has not written; one without a lease may have.
            Ok((Ok(None), Frame::Error(text))) if text.starts_with("MOVED") => return is_good,
            _ if write.is_none() => return is_good,
            _ => seen.answered_ns = NEVER,
        }
        self.seen.lock().expect("no prober panicked").push(seen);
        is_good
    }
}
