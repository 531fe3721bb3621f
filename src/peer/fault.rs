//! Why a link was refused or dropped, counted by reason, and said in the log at most once a minute for each.
//!
//! Nothing that a peer sent goes into the log: only where it came from, and which rule it broke.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::warn;

use crate::base::clock::Clock;
use crate::base::limits::PEER_LOG_PERIOD_MS;
use crate::base::lock::Mutex;

/// A rule that the other end of a link broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin as nodes begin: something else was sent to this port.
    Foreign,
    /// It speaks another major version.
    Version,
    /// It belongs to a cluster of another name.
    OtherName,
    /// It does not know the secret.
    Secret,
    /// It knows name and secret, but was founded as another cluster.
    OtherCluster,
    /// The handshake was not finished in time.
    Slow,
    /// It ended in the middle of a message.
    Truncated,
    /// A message is longer than its class of link allows.
    Oversized,
    /// A frame was not sealed by the peer for this place of the stream: changed, replayed or left out.
    Tampered,
    /// A frame that was sealed rightly says what cannot be.
    Malformed,
    /// More links or handshakes than there may be at once.
    TooMany,
    /// It sent nothing for too long, though it was asked to.
    Silent,
    /// It is this node itself.
    Myself,
    /// A newer link from the same peer took its place.
    Replaced,
}

impl Fault {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 14] = [
        Self::Foreign,
        Self::Version,
        Self::OtherName,
        Self::Secret,
        Self::OtherCluster,
        Self::Slow,
        Self::Truncated,
        Self::Oversized,
        Self::Tampered,
        Self::Malformed,
        Self::TooMany,
        Self::Silent,
        Self::Myself,
        Self::Replaced,
    ];

    /// Its name as the label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::OtherName => "other_name",
            Self::Secret => "secret",
            Self::OtherCluster => "other_cluster",
            Self::Slow => "slow",
            Self::Truncated => "truncated",
            Self::Oversized => "oversized",
            Self::Tampered => "tampered",
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
            Self::Silent => "silent",
            Self::Myself => "myself",
            Self::Replaced => "replaced",
        }
    }

    /// Whether it belongs to ordinary life: it is counted, but no line in the log.
    fn is_ordinary(self) -> bool {
        matches!(self, Self::Silent | Self::Myself | Self::Replaced)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "not the protocol of nodes",
            Self::Version => "another version of the protocol",
            Self::OtherName => "another cluster-name",
            Self::Secret => "another cluster-secret",
            Self::OtherCluster => "another cluster of the same name",
            Self::Slow => "handshake not finished in time",
            Self::Truncated => "ended in the middle of a message",
            Self::Oversized => "message too long",
            Self::Tampered => "frame changed, replayed or missing",
            Self::Malformed => "malformed message",
            Self::TooMany => "too many links",
            Self::Silent => "silent for too long",
            Self::Myself => "this node itself",
            Self::Replaced => "replaced by a newer link",
        })
    }
}

/// How often each rule was broken.
#[derive(Debug)]
pub struct Faults {
    clock: Clock,
    tallies: [Tally; Fault::ALL.len()],
}

#[derive(Debug, Default)]
struct Tally {
    count: AtomicU64,
    /// When it was last logged (monotonic milliseconds), and the count then.
    logged: Mutex<Option<(u64, u64)>>,
}

impl Faults {
    /// None so far.
    pub fn new(clock: Clock) -> Self {
        Self { clock, tallies: std::array::from_fn(|_| Tally::default()) }
    }

    /// Counts `fault` of whoever is at `peer`, and logs it if it has not been for [`PEER_LOG_PERIOD_MS`].
    pub fn count(&self, fault: Fault, peer: SocketAddr) {
        let tally = &self.tallies[fault as usize];
        let count = tally.count.fetch_add(1, Ordering::Relaxed) + 1;
        if fault.is_ordinary() {
            return;
        }
        let now_ms = self.clock.mono_ns() / 1_000_000;
        let mut logged = tally.logged.lock();
        let (last_ms, last_count) = logged.unwrap_or((0, 0));
        if logged.is_none() || now_ms.saturating_sub(last_ms) >= PEER_LOG_PERIOD_MS {
            *logged = Some((now_ms, count));
            let times = count - last_count;
            warn!(%peer, reason = fault.name(), times, "link of a node dropped: {fault}");
        }
    }

    /// How often `fault` was seen.
    pub fn get(&self, fault: Fault) -> u64 {
        self.tallies[fault as usize].count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn counters_are_in_the_order_of_the_list() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index, "{fault}");
        }
    }
}
