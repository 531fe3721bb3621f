//! The types that openraft is used with, and the short names for them. Nothing outside `peer::raft` sees them: the rest
//! of the server knows [`super::Agreement`] alone.

use std::fmt;

use openraft::EmptyNode;
use openraft::type_config::alias;
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use serde::{Deserialize, Serialize};

use crate::cluster::id::NodeId;
use crate::cluster::table::{Change, Outcome};

use super::machine::Machine;

/// The runtime: tokio's, with election timeouts drawn from a seed, so that a simulation repeats them.
pub(super) type Rt = DeterministicRng<TokioRuntime>;

openraft::declare_raft_types!(
    /// What the voters agree on, and by which runtime.
    pub TypeConfig:
        D = Proposal,
        R = Answer,
        NodeId = NodeId,
        Node = EmptyNode,
        AsyncRuntime = Rt,
);

pub(super) type Raft = openraft::Raft<TypeConfig, Machine>;
pub(super) type LogId = alias::LogIdOf<TypeConfig>;
pub(super) type Vote = alias::VoteOf<TypeConfig>;
pub(super) type Entry = alias::EntryOf<TypeConfig>;
pub(super) type Membership = alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(super) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// A change of the table, as an entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(pub Change);

impl fmt::Display for Proposal {
    /// The kind of change alone: a table or a list of members is no line of a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Change::Found { .. } => "found",
            Change::Join(_) => "join",
            Change::Leave { .. } => "leave",
            Change::Stand { .. } => "stand",
            Change::Begin { .. } => "begin",
            Change::Commit { .. } => "commit",
            Change::Cancel { .. } => "cancel",
            Change::Reform { .. } => "reform",
        })
    }
}

/// What became of an entry; nothing for entries that are no change of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer(pub Option<Outcome>);
