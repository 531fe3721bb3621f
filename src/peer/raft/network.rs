//! Messages between voters: openraft's requests and answers by postcard, one message each, over whatever carries them.
//!
//! A message names its sender, its receiver and the generation of the agreement. One that is malformed, meant for
//! somebody else, of another generation, or that contradicts itself is answered by a refusal and reaches nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use serde::{Deserialize, Serialize};

use crate::base::limits::{CLUSTER_LOG_BATCH, CLUSTER_RAFT_MESSAGE_MAX_BYTES};
use crate::cluster::id::NodeId;
use crate::cluster::table::Table;

use super::file::{COUNT_MAX, is_countable, is_sound};
use super::machine::Snapshot;
use super::types::{LogId, SnapshotMeta, TypeConfig, Vote};

/// What [`Carrier::call`] returns.
pub type Carried = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// Carries messages to other nodes.
pub trait Carrier: Send + Sync + 'static {
    /// Hands `body` to the [`super::Agreement::handle`] of node `to`; gives its answer. Not later than after `timeout`;
    /// the message may then have been handled or not.
    fn call(&self, to: NodeId, body: Vec<u8>, timeout: Duration) -> Carried;
}

/// A message and whom it is from and for.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    /// Generation of the agreement; the log and the terms of another mean something else.
    pub generation: u32,
    pub from: NodeId,
    pub to: NodeId,
    pub request: Request,
}

/// What a voter asks of another.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    Snapshot { vote: Vote, meta: SnapshotMeta, table: Box<Table> },
    Transfer(TransferLeaderRequest<TypeConfig>),
}

/// What it says.
#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    Snapshot(SnapshotResponse<TypeConfig>),
    Transfer(TransferLeaderResponse<TypeConfig>),
    /// Nothing was done; says why.
    Refused(String),
}

impl Request {
    /// Whether only a leader sends it.
    pub fn is_leaders(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Snapshot { .. })
    }

    /// Whether it agrees with itself; openraft trusts that it does.
    fn is_sound(&self, from: NodeId) -> bool {
        match self {
            Self::Append(append) => {
                let mut last = append.prev_log_id;
                let follow = append.entries.iter().all(|entry| {
                    let next = last.map_or(0, |last| last.index.saturating_add(1));
                    let follows = entry.log_id.index == next && Some(entry.log_id) > last;
                    last = Some(entry.log_id);
                    follows && is_sound(entry) && entry.log_id.leader_id <= append.vote.leader_id
                });
                let knows = |id: &Option<LogId>| {
                    id.is_none_or(|id| is_countable(&id) && id.leader_id <= append.vote.leader_id)
                };
                is_leader(&append.vote, from)
                    && follow
                    && append.entries.len() <= CLUSTER_LOG_BATCH
                    && knows(&append.prev_log_id)
                    && knows(&append.leader_commit)
            }
            Self::Vote(request) | Self::PreVote(request) => {
                !request.vote.committed
                    && request.vote.leader_id.term <= COUNT_MAX
                    && request.vote.leader_id.node_id == from
                    && request.last_log_id.is_none_or(|id| is_countable(&id))
            }
            Self::Snapshot { vote, meta, table } => {
                is_leader(vote, from)
                    && meta.last_log_id.is_some_and(|id| is_countable(&id) && id.leader_id <= vote.leader_id)
                    && *meta.last_membership.log_id() <= meta.last_log_id
                    && table.validate().is_ok()
            }
            Self::Transfer(request) => is_leader(request.from_leader(), from),
        }
    }
}

fn is_leader(vote: &Vote, node: NodeId) -> bool {
    vote.committed && vote.leader_id.term <= COUNT_MAX && vote.leader_id.node_id == node
}

/// Reads a message; never panics, whatever the bytes are.
///
/// # Errors
/// They are no message, or one that contradicts itself.
pub(super) fn read(body: &[u8]) -> Result<Message, String> {
    if body.len() > CLUSTER_RAFT_MESSAGE_MAX_BYTES {
        return Err(format!("a message of {} bytes", body.len()));
    }
    let (message, rest): (Message, _) =
        postcard::take_from_bytes(body).map_err(|error| format!("no message: {error}"))?;
    if !rest.is_empty() || !message.request.is_sound(message.from) {
        return Err("a message that contradicts itself".to_owned());
    }
    Ok(message)
}

/// Whether `body` is a message that a voter would look at; never panics, whatever the bytes are.
///
/// # Errors
/// Says why not.
pub fn check(body: &[u8]) -> Result<(), String> {
    read(body).map(|_| ())
}

/// A reply's bytes.
pub(super) fn write_reply(reply: &Reply) -> Vec<u8> {
    postcard::to_allocvec(reply).unwrap_or_default()
}

/// Makes the ways to other voters.
pub(super) struct Network {
    pub carrier: Arc<dyn Carrier>,
    pub generation: u32,
    pub from: NodeId,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: NodeId, _node: &EmptyNode) -> Way {
        Way { carrier: Arc::clone(&self.carrier), generation: self.generation, from: self.from, to: target }
    }
}

/// The way to one voter.
pub(super) struct Way {
    carrier: Arc<dyn Carrier>,
    generation: u32,
    from: NodeId,
    to: NodeId,
}

type Failure = RPCError<TypeConfig>;

impl Way {
    async fn call(&self, kind: RPCTypes, request: Request, option: &RPCOption) -> Result<Reply, Failure> {
        let timeout = option.soft_ttl();
        let message = Message { generation: self.generation, from: self.from, to: self.to, request };
        let body = postcard::to_allocvec(&message).map_err(|error| unreachable(&error.to_string()))?;
        let carried = tokio::time::timeout(timeout, self.carrier.call(self.to, body, timeout)).await;
        let Ok(carried) = carried else {
            return Err(Timeout { action: kind, id: self.from, target: self.to, timeout }.into());
        };
        let answer = carried.map_err(|error| unreachable(&error))?;
        match postcard::from_bytes(&answer) {
            Ok(Reply::Refused(why)) => Err(unreachable(&why)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(unreachable(&format!("no answer: {error}"))),
        }
    }
}

/// Every failure but a timeout counts as unreachable: openraft then waits before it tries again.
fn unreachable(why: &str) -> Failure {
    Unreachable::new(&io::Error::other(why.to_owned())).into()
}

fn unexpected() -> Failure {
    unreachable("an answer to something else")
}

impl RaftNetworkV2<TypeConfig> for Way {
    type SnapshotData = Box<Table>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        match self.call(RPCTypes::AppendEntries, Request::Append(rpc), &option).await? {
            Reply::Append(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        match self.call(RPCTypes::Vote, Request::Vote(rpc), &option).await? {
            Reply::Vote(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        match self.call(RPCTypes::Vote, Request::PreVote(rpc), &option).await? {
            Reply::Vote(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let request = Request::Snapshot { vote, meta: snapshot.meta, table: snapshot.snapshot };
        match self.call(RPCTypes::InstallSnapshot, request, &option).await? {
            Reply::Snapshot(reply) => Ok(reply),
            _ => Err(unexpected().into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        match self.call(RPCTypes::TransferLeader, Request::Transfer(rpc), &option).await? {
            Reply::Transfer(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }
}
