//! The agreement on the slot table among 1, 3 or 5 voters: openraft behind an interface of our own.
//!
//! Every node opens one [`Agreement`]; it lies idle until the node is made a voter. Voters' messages come in by
//! [`Agreement::handle`] and go out by a [`Carrier`]; the table comes out of [`Agreement::table`], changes go in by
//! [`Agreement::propose`] at the leader. What openraft is and does stays in here.
//!
//! Invariants: a vote, an entry or a table is in the state file before anybody is told of it; a leader confirms its
//! leadership with a quorum after it was asked ([`Agreement::confirm`]), never by a clock; messages of one generation
//! (see [`Agreement::reform`]) never reach the log of another.

mod adjust;
mod file;
pub mod identity;
mod machine;
mod network;
mod serve;
mod status;
mod storage;
mod types;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use openraft::errors::{ClientWriteError, InitializeError, LinearizableReadError, RaftError};
use openraft::{Config, ReadPolicy, SnapshotPolicy};
use tokio::sync::watch;

use crate::base::limits::{CLUSTER_LOG_BATCH, CLUSTER_LOG_KEEP};
use crate::base::lock::{Mutex, RwLock};
use crate::base::rng::Rng;
use crate::cluster::id::NodeId;
use crate::cluster::table::{Change, Outcome, Table};

use machine::Machine;
use network::Network;
use types::{Proposal, Raft, Rt};

pub use adjust::Adjusted;
pub use file::{STATE_FILE, check as check_state_file, check_body as check_state_body};
pub use network::{Carried, Carrier, check as check_message};
pub use status::Status;
pub use storage::Storage;

/// Timing of elections, all from one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// `cluster-node-timeout`, in milliseconds; at least [`Timing::MIN_MS`].
    pub node_timeout_ms: u64,
}

impl Timing {
    /// Shortest node timeout that elections work with.
    pub const MIN_MS: u64 = 100;

    fn node_timeout(self) -> Duration {
        Duration::from_millis(self.node_timeout_ms.max(Self::MIN_MS))
    }

    /// How long followers take a leader for alive after its last message, and refuse others their vote.
    fn leader_lease(self) -> Duration {
        self.node_timeout() / 2
    }

    /// openraft lets a follower campaign once the leader's lease (the longest election timeout) and an election timeout
    /// have passed: here 3/4 to 1 node timeout after the last heartbeat, of which there are eight in that time.
    fn config(self) -> Config {
        let total = self.node_timeout().as_millis() as u64;
        Config {
            cluster_name: "larder".to_owned(),
            heartbeat_interval: total / 8,
            election_timeout_min: total / 4,
            election_timeout_max: total / 2,
            install_snapshot_timeout: total,
            max_payload_entries: CLUSTER_LOG_BATCH as u64,
            replication_lag_threshold: 4 * CLUSTER_LOG_KEEP,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(CLUSTER_LOG_KEEP),
            max_in_snapshot_log_to_keep: CLUSTER_LOG_KEEP / 4,
            enable_pre_vote: Some(true),
            // A leader that starts again has forgotten whom it granted leases: it must be elected anew and wait.
            enable_leader_restore: Some(false),
            backoff: "50ms 100ms 200ms ...500ms".to_owned(),
            ..Config::default()
        }
    }
}

/// Why a change was not agreed on as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// This node is not the leader; nothing was proposed.
    NotLeader {
        /// Who is, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The leader changed, or this voter stopped, meanwhile: the change may come about or not.
    Lost,
    /// No quorum answered in time: the change may come about or not.
    Timeout,
}

/// Why leadership was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmError {
    /// This node is not the leader.
    NotLeader {
        /// Who is, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// No quorum answered in time.
    NoQuorum,
}

/// A node's part in the agreement; clones share it.
#[derive(Clone)]
pub struct Agreement {
    shared: Arc<Shared>,
}

struct Shared {
    id: NodeId,
    storage: Storage,
    carrier: Arc<dyn Carrier>,
    timing: Timing,
    rng: Mutex<Rng>,
    core: RwLock<Core>,
    /// Held while the core is replaced by that of a later generation.
    replacing: tokio::sync::Mutex<()>,
    /// Held while voters are replaced.
    adjusting: tokio::sync::Mutex<()>,
    table: watch::Sender<Arc<Table>>,
    status: watch::Sender<Status>,
    /// Messages of leaders that were taken in.
    heard: Arc<AtomicU64>,
}

/// openraft of one generation, and the task that watches it.
struct Core {
    raft: Raft,
    generation: u32,
    watcher: tokio::task::AbortHandle,
}

impl Drop for Core {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Agreement {
    /// Takes up this node's part where its storage left off. Within a tokio runtime, whose tasks do the work until
    /// [`Self::shutdown`].
    ///
    /// # Errors
    /// What the storage holds does not fit together.
    pub async fn open(
        storage: Storage,
        carrier: Arc<dyn Carrier>,
        timing: Timing,
        mut rng: Rng,
    ) -> Result<Self, String> {
        let (id, _) = storage.identity();
        let table = watch::Sender::new(Arc::<Table>::default());
        let status = watch::Sender::new(Status::default());
        let heard = Arc::new(AtomicU64::new(0));
        let parts = Parts { id, storage: &storage, carrier: &carrier, timing, table: &table };
        let raft = Rt::scope(rng.next_u64(), parts.start()).await?;
        let generation = storage.generation();
        let watcher = status::watch(&raft, id, generation, timing, &storage, &status, &heard);
        let core = RwLock::new(Core { raft, generation, watcher });
        let shared = Shared {
            id,
            storage,
            carrier,
            timing,
            rng: Mutex::new(rng),
            core,
            replacing: tokio::sync::Mutex::new(()),
            adjusting: tokio::sync::Mutex::new(()),
            table,
            status,
            heard,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// The table as agreed, as far as this node has applied it: of a node that is neither voter nor learner, the last
    /// one from when it was, or the empty table. Versions never go back.
    pub fn table(&self) -> watch::Receiver<Arc<Table>> {
        self.shared.table.subscribe()
    }

    /// Who leads, who votes, and how this node stands.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Whether this node has ever been a voter or learner of this generation.
    pub async fn is_initialised(&self) -> bool {
        let raft = self.raft();
        self.scoped(raft.is_initialized()).await.unwrap_or(false)
    }

    /// Begins to agree with `voters`, this node among them, unless that has begun already. One of them will lead, and the
    /// first thing that they are to agree on is [`Change::Found`]. The other voters need do nothing but have an open
    /// [`Agreement`].
    ///
    /// # Errors
    /// This node's state cannot be written.
    pub async fn begin(&self, voters: &[NodeId]) -> Result<(), String> {
        let raft = self.raft();
        let voters: BTreeSet<NodeId> = voters.iter().copied().collect();
        match self.scoped(raft.initialize(voters)).await {
            // Not allowed: it has begun already.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(format!("the voters cannot begin: {error}")),
        }
    }

    async fn until_leader(&self) -> Result<(), String> {
        let mut status = self.status();
        let leads = status.wait_for(|status| status.is_leader);
        match tokio::time::timeout(2 * self.shared.timing.node_timeout(), leads).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err("the voters have not made this node their leader".to_owned()),
        }
    }

    /// Has a change agreed on; at the leader only. Gives what became of it once it is applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]; a change whose fate is unknown may be proposed again.
    pub async fn propose(&self, change: Change) -> Result<Outcome, ProposeError> {
        let raft = self.raft();
        let write = self.scoped(raft.client_write(Proposal(change)));
        match tokio::time::timeout(self.shared.timing.node_timeout(), write).await {
            Err(_) => Err(ProposeError::Timeout),
            Ok(Ok(response)) => response.data.0.ok_or(ProposeError::Lost),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotLeader { leader: self.other(forward.leader_id) })
            }
            Ok(Err(_)) => Err(ProposeError::Lost),
        }
    }

    /// Returns once a quorum has confirmed, after this was called, that this node leads, and all that was agreed before
    /// is applied here (rule R2). Costs the voters one heartbeat.
    ///
    /// # Errors
    /// See [`ConfirmError`]; no lease may then be granted.
    pub async fn confirm(&self) -> Result<(), ConfirmError> {
        let raft = self.raft();
        let ensure = self.scoped(raft.ensure_linearizable(ReadPolicy::ReadIndex));
        match tokio::time::timeout(self.shared.timing.node_timeout(), ensure).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(ConfirmError::NotLeader { leader: self.other(forward.leader_id) })
            }
            Ok(Err(_)) | Err(_) => Err(ConfirmError::NoQuorum),
        }
    }

    /// Gives leadership to the voter that is furthest, if this node has it; returns when it is gone.
    ///
    /// # Errors
    /// There is nobody to give it to, or it was not taken in time.
    pub async fn resign(&self) -> Result<(), String> {
        let status = self.status().borrow().clone();
        if !status.is_leader {
            return Ok(());
        }
        let to = self.successor(&status.voters).ok_or("no other voter keeps up")?;
        self.hand_over(to).await
    }

    /// Stops taking part: nothing is sent, answered or written any more.
    pub async fn shutdown(&self) {
        let raft = self.raft();
        self.shared.core.read().watcher.abort();
        let _ = self.scoped(raft.shutdown()).await;
        self.shared
            .status
            .send_modify(|status| *status = Status { failure: status.failure.take(), ..Status::default() });
    }

    /// `CLUSTER REFORM`: when the voters are lost for good, goes on from `table` with this node as the only voter, in a
    /// new generation. The operator's last resort, to be used on one surviving node, with the newest table that any
    /// survivor has: nobody can know whether the lost voters agreed on more. Old voters that come back are of the old
    /// generation; its messages are refused, and they join the new one when its leader speaks to them. Gives the
    /// generation.
    ///
    /// # Errors
    /// There is a leader, the table is not of a founded cluster, or this node's state cannot be written.
    pub async fn reform(&self, table: Table) -> Result<u32, String> {
        if let Some(leader) = self.status().borrow().leader {
            return Err(format!("the voters have a leader: {leader}"));
        }
        if !table.cluster.is_founded() {
            return Err("the table is not of a founded cluster".to_owned());
        }
        table.validate()?;
        let replacing = self.shared.replacing.lock().await;
        let generation = self.generation().max(table.generation).saturating_add(1);
        let mut reformed = Table::default();
        let change = Change::Reform { generation, table: Box::new(table) };
        reformed.apply(&change).map_err(|refusal| format!("the table cannot go on: {refusal:?}"))?;
        self.replace(generation, Some(reformed)).await?;
        drop(replacing);
        self.until_leader().await?;
        Ok(generation)
    }

    /// Forgets what was begun with voters of whom so many are gone for good that they can never agree: this node is as one
    /// that never took part. Only before anything was agreed on.
    ///
    /// # Errors
    /// A cluster is known, or this node's state cannot be written.
    pub async fn start_over(&self) -> Result<(), String> {
        if self.table().borrow().cluster.is_founded() {
            return Err("the voters have agreed already".to_owned());
        }
        let _replacing = self.shared.replacing.lock().await;
        self.replace(self.generation(), None).await
    }

    /// Stops the core and starts one of a later generation, or one that begins this one anew, in which this node alone votes if it brings a table. The
    /// caller holds `replacing`.
    async fn replace(&self, generation: u32, table: Option<Table>) -> Result<(), String> {
        let shared = &self.shared;
        let old = self.raft();
        let _ = self.scoped(old.shutdown()).await;
        shared.storage.begin_generation(generation, table).await.map_err(|error| error.to_string())?;
        let parts = Parts {
            id: shared.id,
            storage: &shared.storage,
            carrier: &shared.carrier,
            timing: shared.timing,
            table: &shared.table,
        };
        let raft = self.scoped(parts.start()).await?;
        let watcher = status::watch(
            &raft,
            shared.id,
            generation,
            shared.timing,
            &shared.storage,
            &shared.status,
            &shared.heard,
        );
        let before = self.generation();
        *shared.core.write() = Core { raft, generation, watcher };
        if generation > before {
            tracing::warn!("the agreement on the cluster goes on in generation {generation}");
        }
        Ok(())
    }

    fn raft(&self) -> Raft {
        self.shared.core.read().raft.clone()
    }

    fn generation(&self) -> u32 {
        self.shared.core.read().generation
    }

    /// Runs a future of openraft's with a seed of its own, without which it draws no election timeout.
    fn scoped<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Rt::scope(self.shared.rng.lock().next_u64(), future)
    }

    fn other(&self, leader: Option<NodeId>) -> Option<NodeId> {
        leader.filter(|leader| *leader != self.shared.id)
    }
}

/// What a core is started from.
struct Parts<'a> {
    id: NodeId,
    storage: &'a Storage,
    carrier: &'a Arc<dyn Carrier>,
    timing: Timing,
    table: &'a watch::Sender<Arc<Table>>,
}

impl Parts<'_> {
    async fn start(self) -> Result<Raft, String> {
        let failed = |error: String| format!("the agreement on the cluster cannot start: {error}");
        let config = self.timing.config().validate().map_err(|error| failed(error.to_string()))?;
        let network = Network {
            carrier: Arc::clone(self.carrier),
            generation: self.storage.generation(),
            from: self.id,
        };
        let machine = Machine::new(self.storage.clone(), self.table.clone());
        Raft::new(self.id, Arc::new(config), network, self.storage.log(), machine)
            .await
            .map_err(|error| failed(error.to_string()))
    }
}
