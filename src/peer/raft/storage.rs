//! The log, the vote and the last table of a voter, in memory and, where there is a data directory, in its state file.
//!
//! What openraft must be able to rely on after a crash (a vote, entries, a table received whole) is in the file before it
//! is acknowledged. What follows from that anyway (how far the log is agreed, that old entries are gone) is written
//! along with the next of those. The file is written by one task at a time, off the runtime's thread, and always holds
//! the state of one instant; writers that waited meanwhile find their change already in it.
//!
//! The first failure to write is final: one line says so, every later write fails, and openraft stops the voter. A
//! process that was stopped may start again with the file as it is.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftSnapshotBuilder};

use crate::base::lock::Mutex;
use crate::cluster::id::NodeId;
use crate::cluster::table::Table;

use super::file::{Kept, State, StateFile, encode};
use super::types::{Entry, LogId, TypeConfig, Vote};

/// A node's storage; clones share it. It outlives the [`super::Agreement`] that uses it, as a disk does.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

struct Shared {
    /// The state, and how many times it was changed.
    state: Mutex<(State, u64)>,
    file: Option<Arc<StateFile>>,
    /// Which change is in the file; held by whoever writes it.
    written: tokio::sync::Mutex<u64>,
    failure: Mutex<Option<String>>,
}

impl Storage {
    /// A storage without a file, for a node with this id.
    pub fn memory(node: NodeId) -> Self {
        Self::new(State { node, incarnation: 1, ..State::default() }, None)
    }

    /// The storage of a data directory, which stays locked as long as the storage lives. Blocks: for the start only.
    ///
    /// `fresh` becomes the id of a node that the directory knows none of.
    ///
    /// # Errors
    /// The directory cannot be used, or what it holds cannot; the text says what to do.
    pub(super) fn directory(dir: &Path, fresh: NodeId) -> Result<Self, String> {
        let (file, found) = StateFile::open(dir)?;
        let mut state = found.unwrap_or_else(|| State { node: fresh, ..State::default() });
        state.incarnation += 1;
        file.write(&encode(&state)?)?;
        Ok(Self::new(state, Some(Arc::new(file))))
    }

    fn new(state: State, file: Option<Arc<StateFile>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new((state, 0)),
                file,
                written: tokio::sync::Mutex::new(0),
                failure: Mutex::new(None),
            }),
        }
    }

    /// The node's id and which of its processes this is.
    pub fn identity(&self) -> (NodeId, u64) {
        self.read(|state| (state.node, state.incarnation))
    }

    /// The generation of the agreement that the log belongs to.
    pub(super) fn generation(&self) -> u32 {
        self.read(|state| state.generation)
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state.lock().0)
    }

    /// Changes the state in memory; gives the change's number, for [`Self::flush`].
    ///
    /// # Errors
    /// The caller belongs to another generation: it was replaced and must not write any more.
    fn change(&self, generation: u32, change: impl FnOnce(&mut State)) -> io::Result<u64> {
        let mut guard = self.shared.state.lock();
        let (state, count) = &mut *guard;
        if state.generation != generation {
            return Err(io::Error::other("a later generation has taken over"));
        }
        change(state);
        *count += 1;
        Ok(*count)
    }

    /// Forgets log, vote and table, and goes on as a node that never took part in `generation`; or, given a table, as its
    /// only voter with that table agreed on. What was before stays in the file until all of that is.
    pub(super) async fn begin_generation(&self, generation: u32, table: Option<Table>) -> io::Result<()> {
        let count = {
            let mut guard = self.shared.state.lock();
            let (state, count) = &mut *guard;
            let mut next =
                State { node: state.node, incarnation: state.incarnation, generation, ..State::default() };
            if let Some(table) = table {
                next.found_alone(table);
            }
            *state = next;
            *count += 1;
            *count
        };
        self.flush(count).await
    }

    /// Returns once the file holds change number `count`; at once where there is no file.
    async fn flush(&self, count: u64) -> io::Result<()> {
        let Some(file) = &self.shared.file else { return Ok(()) };
        let mut written = self.shared.written.lock().await;
        if *written >= count {
            return Ok(());
        }
        if let Some(failure) = &*self.shared.failure.lock() {
            return Err(io::Error::other(failure.clone()));
        }
        let (bytes, holds) = {
            let guard = self.shared.state.lock();
            (encode(&guard.0), guard.1)
        };
        let file = Arc::clone(file);
        let done = match bytes {
            Ok(bytes) => tokio::task::spawn_blocking(move || file.write(&bytes))
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => {
                *written = holds;
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&self, error: String) -> io::Error {
        let mut failure = self.shared.failure.lock();
        if failure.is_none() {
            tracing::error!("the cluster's state cannot be written, this node stops voting: {error}");
            *failure = Some(error.clone());
        }
        io::Error::other(error)
    }

    /// Why the state cannot be written any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.failure.lock().clone()
    }

    /// The log of one generation, for openraft.
    pub(super) fn log(&self) -> Log {
        Log { storage: self.clone(), generation: self.generation() }
    }

    /// Keeps a table as of an entry, in memory until the next write.
    pub(super) fn keep(&self, generation: u32, kept: Kept) -> io::Result<u64> {
        self.change(generation, |state| state.kept = Some(kept))
    }

    /// Keeps a table as of an entry; returns when it is in the file.
    pub(super) async fn keep_now(&self, generation: u32, kept: Kept) -> io::Result<()> {
        let count = self.keep(generation, kept)?;
        self.flush(count).await
    }
}

/// The log of one generation.
#[derive(Clone)]
pub struct Log {
    storage: Storage,
    generation: u32,
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.storage.read(|state| {
            let from = match range.start_bound() {
                Bound::Included(index) => *index,
                Bound::Excluded(index) => index.saturating_add(1),
                Bound::Unbounded => 0,
            };
            let skipped = usize::try_from(from.saturating_sub(state.first())).unwrap_or(usize::MAX);
            let entries = state.log.iter().skip(skipped);
            entries.take_while(|entry| range.contains(&entry.log_id.index)).cloned().collect()
        }))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.storage.read(|state| state.vote))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(self
            .storage
            .read(|state| LogState { last_purged_log_id: state.purged, last_log_id: state.last() }))
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let count = self.storage.change(self.generation, |state| state.vote = Some(*vote))?;
        self.storage.flush(count).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.storage.change(self.generation, |state| state.committed = committed).map(|_| ())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        // What was agreed is in the log or in the table: a file cannot know of more.
        Ok(self.storage.read(|state| state.committed.min(state.last())))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut follows = true;
        let count = self.storage.change(self.generation, |state| {
            let next = state.first() + state.log.len() as u64;
            for (index, entry) in (next..).zip(entries) {
                follows &= entry.log_id.index == index;
                state.log.push(entry);
            }
        })?;
        if !follows {
            return Err(io::Error::other("entries that do not follow the log"));
        }
        if self.storage.shared.file.is_none() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        // Not awaited: the leader sends the entries to the others while its own disk works.
        let storage = self.storage.clone();
        tokio::spawn(async move { callback.io_completed(storage.flush(count).await) });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.storage
            .change(self.generation, |state| {
                let next = last.map_or(0, |last| last.index + 1);
                let stays = next.saturating_sub(state.first());
                state.log.truncate(usize::try_from(stays).unwrap_or(usize::MAX));
            })
            .map(|_| ())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.storage
            .change(self.generation, |state| {
                state.log.retain(|entry| entry.log_id.index > upto.index);
                state.purged = state.purged.max(Some(upto));
            })
            .map(|_| ())
    }
}

/// Makes the table of the state machine the one that the log may begin behind.
pub struct Keeper {
    pub(super) storage: Storage,
    pub(super) generation: u32,
    pub(super) kept: Kept,
}

impl RaftSnapshotBuilder<TypeConfig> for Keeper {
    type SnapshotData = Box<Table>;

    async fn build_snapshot(&mut self) -> Result<super::machine::Snapshot, io::Error> {
        // Not flushed: in the file the log still reaches back far enough, until the write that drops it brings the table.
        self.storage.keep(self.generation, self.kept.clone())?;
        Ok(super::machine::snapshot(self.kept.clone()))
    }
}
