//! Voters replaced one set by another: newcomers learn the log first, then old and new voters agree on the new set, then
//! those without a vote are let go. Safe to call again and again: each call looks at what is, and goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, EmptyNode};

use crate::cluster::id::NodeId;

use super::Agreement;
use super::types::{Metrics, TypeConfig};

/// What [`Agreement::adjust_voters`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjusted {
    /// The voters were as wanted.
    Unchanged,
    /// The voters are as wanted now.
    Changed,
    /// This node is to vote no more and gave its leadership to another, who is to adjust the voters.
    GaveWay,
}

type Change = ChangeMembers<NodeId, EmptyNode>;

impl Agreement {
    /// Makes `wanted` the voters; at the leader only, one call at a time. Takes a few node timeouts at most; what is
    /// begun by then, the next call takes further.
    ///
    /// # Errors
    /// This node does not lead, another call is under way, a newcomer does not keep up, or no quorum answers.
    pub async fn adjust_voters(&self, wanted: &[NodeId]) -> Result<Adjusted, String> {
        let Ok(_adjusting) = self.shared.adjusting.try_lock() else {
            return Err("the voters are being adjusted already".to_owned());
        };
        let wanted: BTreeSet<NodeId> = wanted.iter().copied().collect();
        if wanted.is_empty() {
            return Err("there must be a voter".to_owned());
        }
        let now = self.metrics();
        let voters: BTreeSet<NodeId> = now.membership_config.voter_ids().collect();
        let is_joint = now.membership_config.get_joint_config().len() > 1;
        let strangers = learners(&now).difference(&wanted).count();
        if voters == wanted && !is_joint && strangers == 0 {
            return Ok(Adjusted::Unchanged);
        }
        if voters.contains(&self.id()) && !wanted.contains(&self.id()) {
            let heirs: Vec<NodeId> = voters.intersection(&wanted).copied().collect();
            if let Some(heir) = self.successor(&heirs) {
                self.hand_over(heir).await?;
                return Ok(Adjusted::GaveWay);
            }
        }
        if voters != wanted || is_joint {
            self.teach(&wanted).await?;
            self.change(Change::ReplaceAllVoters(wanted.clone()), true).await?;
        }
        if !wanted.contains(&self.id()) {
            let heirs: Vec<NodeId> = wanted.iter().copied().collect();
            let heir = self.successor(&heirs).ok_or("no voter keeps up to lead")?;
            self.hand_over(heir).await?;
            return Ok(Adjusted::GaveWay);
        }
        self.let_go(&wanted).await?;
        Ok(Adjusted::Changed)
    }

    /// Adds those of `wanted` that are not told the log yet as learners; returns when they have all of it.
    async fn teach(&self, wanted: &BTreeSet<NodeId>) -> Result<(), String> {
        let now = self.metrics();
        let known = now.membership_config.membership();
        let new: BTreeMap<NodeId, EmptyNode> = wanted
            .iter()
            .filter(|id| known.get_node(id).is_none())
            .map(|id| (*id, EmptyNode::new()))
            .collect();
        if !new.is_empty() {
            self.change(Change::AddNodes(new), true).await?;
        }
        let learning: Vec<NodeId> = wanted.difference(&known.voter_ids().collect()).copied().collect();
        let goal = self.metrics().last_log_index;
        let taught = self.until(|metrics| learning.iter().all(|id| reached(metrics, *id) >= goal)).await;
        if !taught {
            let now = self.metrics();
            let late = learning.iter().find(|id| reached(&now, **id) < goal);
            return Err(match late {
                Some(late) => format!("{late} does not keep up with the voters"),
                None => "this node leads no more".to_owned(),
            });
        }
        Ok(())
    }

    /// Removes learners that are not wanted. Those that live are given the time to hear that they have no vote, so that
    /// they do not ask for others' later.
    async fn let_go(&self, wanted: &BTreeSet<NodeId>) -> Result<(), String> {
        let now = self.metrics();
        let strangers: BTreeSet<NodeId> = learners(&now).difference(wanted).copied().collect();
        if strangers.is_empty() {
            return Ok(());
        }
        let goal = now.membership_config.log_id().map(|id| id.index);
        self.until(|metrics| strangers.iter().all(|id| reached(metrics, *id) >= goal)).await;
        self.change(Change::RemoveNodes(strangers), false).await
    }

    async fn change(&self, change: Change, retain: bool) -> Result<(), String> {
        let raft = self.raft();
        let changing = self.scoped(raft.change_membership(change, retain));
        match tokio::time::timeout(2 * self.shared.timing.node_timeout(), changing).await {
            Err(_) => Err("no quorum of voters answered in time".to_owned()),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err("this node does not lead".to_owned())
            }
            Ok(Err(error)) => Err(format!("the voters were not changed: {error}")),
        }
    }

    /// Who of `voters`, but for this node, has most of the log and was heard of lately.
    pub(super) fn successor(&self, voters: &[NodeId]) -> Option<NodeId> {
        let now = self.metrics();
        let lately = |id: &NodeId| {
            let heartbeat = now.heartbeat.as_ref()?.get(id)?.as_ref()?;
            Some(openraft::Instant::elapsed(&**heartbeat) <= self.shared.timing.leader_lease())
        };
        voters
            .iter()
            .filter(|id| **id != self.id() && lately(id).unwrap_or(false))
            .max_by_key(|id| reached(&now, **id))
            .copied()
    }

    /// Gives leadership to `to`; returns when it is gone.
    pub(super) async fn hand_over(&self, to: NodeId) -> Result<(), String> {
        let raft = self.raft();
        self.scoped(raft.trigger().transfer_leader(to)).await.map_err(|error| error.to_string())?;
        if self.until(|metrics| metrics.current_leader.is_some_and(|leader| leader != self.id())).await {
            Ok(())
        } else {
            Err(format!("{to} did not take over"))
        }
    }

    /// Whether the metrics come to be as `is_so` says within a node timeout.
    async fn until(&self, is_so: impl Fn(&Metrics) -> bool) -> bool {
        let mut metrics = self.raft().metrics();
        let wait = async {
            while !is_so(&metrics.borrow_watched()) {
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        let limit: Duration = self.shared.timing.node_timeout();
        tokio::time::timeout(limit, wait).await.unwrap_or(false)
    }

    fn metrics(&self) -> Metrics {
        self.raft().metrics().borrow_watched().clone()
    }
}

/// Index of the last entry that a node is known to have.
fn reached(metrics: &Metrics, id: NodeId) -> Option<u64> {
    if metrics.id == id {
        return metrics.last_log_index;
    }
    Some(metrics.replication.as_ref()?.get(&id)?.as_ref()?.index)
}

fn learners(metrics: &openraft::RaftMetrics<TypeConfig>) -> BTreeSet<NodeId> {
    metrics.membership_config.membership().learner_ids().collect()
}
