//! The table as openraft's state machine: agreed changes are applied in order, and whoever watches sees each version.
//!
//! Applying is a pure function, so every voter has the same table at the same entry. What watchers are shown never goes
//! back within a process, even when the voter starts over in a later generation.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias;
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use crate::cluster::table::Table;

use super::file::Kept;
use super::storage::{Keeper, Storage};
use super::types::{Answer, LogId, Membership, SnapshotMeta, TypeConfig};

/// A table as of an entry, as openraft hands it around.
pub(super) type Snapshot = alias::SnapshotOf<TypeConfig, Box<Table>>;

/// The table and the entry that it is as of.
pub struct Machine {
    storage: Storage,
    generation: u32,
    table: Arc<Table>,
    applied: Option<LogId>,
    voters: Membership,
    shown: watch::Sender<Arc<Table>>,
}

impl Machine {
    /// An empty table, to be filled from the storage by openraft, shown to those who watch `shown`.
    pub(super) fn new(storage: Storage, shown: watch::Sender<Arc<Table>>) -> Self {
        let generation = storage.generation();
        Self {
            storage,
            generation,
            table: Arc::default(),
            applied: None,
            voters: Membership::default(),
            shown,
        }
    }

    fn show(&self) {
        self.shown.send_if_modified(|shown| {
            let is_newer = shown.stamp() < self.table.stamp();
            if is_newer {
                *shown = Arc::clone(&self.table);
            }
            is_newer
        });
    }
}

/// What openraft calls a snapshot.
pub(super) fn snapshot(kept: Kept) -> Snapshot {
    Snapshot { meta: kept.meta, snapshot: Box::new(kept.table) }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Box<Table>;
    type SnapshotBuilder = Keeper;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied, self.voters.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.applied = Some(entry.log_id);
            let outcome = match entry.payload {
                EntryPayload::Blank => None,
                EntryPayload::Normal(proposal) => Some(Arc::make_mut(&mut self.table).apply(&proposal.0)),
                EntryPayload::Membership(voters) => {
                    self.voters = Membership::new(self.applied, voters);
                    None
                }
            };
            // Shown first: who proposed a change finds it in the table once it is answered.
            self.show();
            if let Some(responder) = responder {
                responder.send(Answer(outcome));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.voters.clone() };
        let kept = Kept { meta, table: (*self.table).clone() };
        Keeper { storage: self.storage.clone(), generation: self.generation, kept }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, table: Box<Table>) -> Result<(), io::Error> {
        let is_kept = self.storage.read(|state| state.kept.as_ref().is_some_and(|kept| kept.meta == *meta));
        if !is_kept {
            let kept = Kept { meta: meta.clone(), table: (*table).clone() };
            self.storage.keep_now(self.generation, kept).await?;
        }
        self.table = Arc::new(*table);
        self.applied = meta.last_log_id;
        self.voters = meta.last_membership.clone();
        self.show();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.storage.read(|state| state.kept.clone()).map(snapshot))
    }
}
