//! How the agreement stands, as far as this node knows: a digest of openraft's metrics that changes seldom.
//!
//! A leader is named only while it is heard (by a follower) or answered by a quorum (by itself): a hint that is at most
//! a node timeout old. Nothing may be decided by it that needs to be true; [`super::Agreement::confirm`] is for that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant, ServerState};
use tokio::sync::watch;

use crate::cluster::id::NodeId;

use super::Timing;
use super::storage::Storage;
use super::types::{Metrics, Raft};

/// How the agreement stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Generation, see [`super::Agreement::reform`].
    pub generation: u32,
    /// The term; of one generation and term, each node leads at most once.
    pub term: u64,
    /// The leader, as long as it is heard.
    pub leader: Option<NodeId>,
    /// Whether this node leads and a quorum answers it.
    pub is_leader: bool,
    /// Whether this node votes.
    pub is_voter: bool,
    /// Who votes, ascending; during a change of voters, old and new ones.
    pub voters: Vec<NodeId>,
    /// Who is told everything without a vote, ascending.
    pub learners: Vec<NodeId>,
    /// Index of the last entry that is applied here.
    pub applied: u64,
    /// Why this node takes no part any more although it should.
    pub failure: Option<String>,
}

/// Keeps `status` up to date, as long as the task is not aborted.
pub(super) fn watch(
    raft: &Raft,
    id: NodeId,
    generation: u32,
    timing: Timing,
    storage: &Storage,
    status: &watch::Sender<Status>,
    heard: &Arc<AtomicU64>,
) -> tokio::task::AbortHandle {
    let mut metrics = raft.metrics();
    let mut ear = Ear { heard: Arc::clone(heard), count: heard.load(Relaxed), silent: SILENT_PERIODS };
    let (storage, status) = (storage.clone(), status.clone());
    let task = async move {
        let mut period = tokio::time::interval(timing.leader_lease() / SILENT_PERIODS);
        loop {
            let latest = metrics.borrow_watched().clone();
            let next = digest(&latest, id, generation, timing, &storage, ear.hears());
            let failed = next.failure.is_some();
            status.send_if_modified(|status| {
                let differs = *status != next;
                tell(status, &next, &storage);
                *status = next;
                differs
            });
            if failed {
                return;
            }
            tokio::select! {
                biased;
                changed = metrics.changed() => if changed.is_err() { return },
                _ = period.tick() => ear.listen(),
            }
        }
    };
    tokio::spawn(task).abort_handle()
}

/// Logs what an operator wants to know of a change.
fn tell(before: &Status, now: &Status, storage: &Storage) {
    match (before.leader, now.leader) {
        (Some(was), None) if now.is_voter => {
            tracing::warn!("the voters' leader, node {}, is not heard any more", was.short());
        }
        (was, Some(is)) if was != Some(is) || before.term != now.term => {
            tracing::info!("node {} leads the voters, term {}", is.short(), now.term);
        }
        _ => {}
    }
    // A failure of the storage has had its line.
    if let Some(failure) = &now.failure
        && storage.failure().is_none()
    {
        tracing::error!("this node votes no more: {failure}");
    }
}

/// Periods without a message after which a leader counts as silent: one leader's lease in all.
const SILENT_PERIODS: u32 = 4;

/// Whether a leader's messages arrive.
struct Ear {
    heard: Arc<AtomicU64>,
    count: u64,
    silent: u32,
}

impl Ear {
    fn listen(&mut self) {
        self.silent += 1;
    }

    fn hears(&mut self) -> bool {
        let count = self.heard.load(Relaxed);
        if count != self.count {
            (self.count, self.silent) = (count, 0);
        }
        // The first period may be a short one.
        self.silent <= SILENT_PERIODS
    }
}

fn digest(
    metrics: &Metrics,
    id: NodeId,
    generation: u32,
    timing: Timing,
    storage: &Storage,
    hears: bool,
) -> Status {
    let voters: BTreeSet<NodeId> = metrics.membership_config.voter_ids().collect();
    let learners = metrics.membership_config.membership().learner_ids().collect();
    let running = metrics.running_state.is_ok();
    let alone = voters.len() == 1 && voters.contains(&id);
    let answered = metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() <= timing.node_timeout());
    let is_leader = running && metrics.state == ServerState::Leader && (alone || answered);
    let failure = match &metrics.running_state {
        Ok(()) => None,
        Err(error) => Some(storage.failure().unwrap_or_else(|| error.to_string())),
    };
    Status {
        generation,
        term: metrics.current_term,
        leader: match metrics.current_leader {
            Some(leader) if leader == id => is_leader.then_some(id),
            leader => leader.filter(|_| running && hears),
        },
        is_leader,
        is_voter: running && voters.contains(&id),
        voters: voters.into_iter().collect(),
        learners,
        applied: metrics.last_applied.map_or(0, |applied| applied.index),
        failure,
    }
}
