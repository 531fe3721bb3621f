//! The state file `cluster.state`: what a voter must not forget, and who the node is, in one small file.
//!
//! It is replaced as a whole (a new file, fsync, rename, fsync of the directory), so that a crash leaves either the old
//! one or the new one. A file that is not ours, of another format, or damaged is never guessed at: the start fails and
//! says so. The directory is locked as long as the file is open: two processes never share an id.
//!
//! Format: magic, format version (u32, little endian), the state by postcard, FNV-1a of all that (u64, little endian).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

use crate::base::limits::{CLUSTER_LOG_MAX, CLUSTER_STATE_MAX_BYTES};
use crate::cluster::id::NodeId;
use crate::cluster::table::{Change, Table};

use super::types::{Entry, LogId, Membership, SnapshotMeta, Vote};

/// Name of the file within the data directory.
pub const STATE_FILE: &str = "cluster.state";
/// Name that it is written under before it takes the place of the old one.
const STATE_FILE_NEW: &str = "cluster.state.new";
/// What the file begins with.
const MAGIC: [u8; 8] = *b"LARDERCS";
/// The format that is written, and the only one that is read.
const FORMAT: u32 = 2;
/// Magic and format.
const HEAD_BYTES: usize = MAGIC.len() + 4;
/// Checksum.
const TAIL_BYTES: usize = 8;

/// Highest index and term that are believed.
pub(super) const COUNT_MAX: u64 = u64::MAX / 2;

/// A table as of an entry of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Of which entry, and who the voters were.
    pub meta: SnapshotMeta,
    /// The table.
    pub table: Table,
}

/// Everything that a node keeps. The log's entries follow one another and begin behind `purged`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The node's id.
    pub node: NodeId,
    /// Its last process's number.
    pub incarnation: u64,
    /// The generation of the agreement that all below belongs to.
    pub generation: u32,
    /// The vote given last.
    pub vote: Option<Vote>,
    /// The last entry known to be agreed; may lag behind.
    pub committed: Option<LogId>,
    /// The last entry that is in the snapshot only.
    pub purged: Option<LogId>,
    /// The entries behind it.
    pub log: Vec<Entry>,
    /// The table as of some entry.
    pub kept: Option<Kept>,
}

impl State {
    /// Index of the first entry of the log.
    pub fn first(&self) -> u64 {
        self.purged.as_ref().map_or(0, |purged| purged.index.saturating_add(1))
    }

    /// The last entry, in the log or before it.
    pub fn last(&self) -> Option<LogId> {
        self.log.last().map(|entry| entry.log_id).or(self.purged)
    }

    /// Begins with this node as the only voter and `table` as what it has agreed on.
    pub fn found_alone(&mut self, table: Table) {
        let vote = Vote::new(1, self.node);
        let last = LogId::new(vote.leader_id, 0);
        let alone = openraft::Membership::new_with_defaults(vec![BTreeSet::from([self.node])], []);
        let meta =
            SnapshotMeta { last_log_id: Some(last), last_membership: Membership::new(Some(last), alone) };
        self.vote = Some(vote);
        self.purged = Some(last);
        self.committed = Some(last);
        self.kept = Some(Kept { meta, table });
    }

    fn validate(&self) -> Result<(), &'static str> {
        if [self.purged, self.committed].into_iter().flatten().any(|id| !is_countable(&id)) {
            return Err("its log has no end");
        }
        let mut last = self.purged;
        for (entry, index) in self.log.iter().zip(self.first()..) {
            if entry.log_id.index != index || Some(entry.log_id) <= last {
                return Err("its log has a gap");
            }
            last = Some(entry.log_id);
        }
        if self.log.len() > CLUSTER_LOG_MAX {
            return Err("its log is too long");
        }
        let kept = self.kept.as_ref();
        if kept.and_then(|kept| kept.meta.last_log_id) < self.purged {
            return Err("its log does not reach back to its table");
        }
        if kept.is_some_and(|kept| kept.table.validate().is_err()) || !self.log.iter().all(is_sound) {
            return Err("its table is not sound");
        }
        Ok(())
    }
}

/// Whether terms and indexes can be counted on from this entry: no cluster lives to see others.
pub(super) fn is_countable(id: &LogId) -> bool {
    id.index <= COUNT_MAX && id.leader_id.term <= COUNT_MAX
}

/// Whether an entry can be taken in: a change that carries a table must carry a sound one, a list of voters is not empty.
pub(super) fn is_sound(entry: &Entry) -> bool {
    match &entry.payload {
        EntryPayload::Blank => true,
        EntryPayload::Normal(proposal) => match &proposal.0 {
            Change::Reform { table, .. } => table.validate().is_ok(),
            _ => true,
        },
        EntryPayload::Membership(voters) => {
            let sets = voters.get_joint_config();
            (1..=2).contains(&sets.len()) && sets.iter().all(|set| !set.is_empty())
        }
    }
}

/// The state as the file holds it.
pub(super) fn encode(state: &State) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(4096);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    let mut bytes = postcard::to_extend(state, bytes).map_err(|error| error.to_string())?;
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    Ok(bytes)
}

/// The state that a file holds.
fn decode(bytes: &[u8]) -> Result<State, String> {
    if bytes.len() < HEAD_BYTES + TAIL_BYTES || bytes[..MAGIC.len()] != MAGIC {
        return Err("it is no state file of larder".to_owned());
    }
    let (body, tail) = bytes.split_at(bytes.len() - TAIL_BYTES);
    let mut format = [0; 4];
    format.copy_from_slice(&body[MAGIC.len()..HEAD_BYTES]);
    let format = u32::from_le_bytes(format);
    if format != FORMAT {
        return Err(format!("its format is {format}, this build reads {FORMAT}"));
    }
    if checksum(body).to_le_bytes() != tail {
        return Err("it is damaged: the checksum is wrong".to_owned());
    }
    let state: State =
        postcard::from_bytes(&body[HEAD_BYTES..]).map_err(|error| format!("it cannot be read: {error}"))?;
    state.validate()?;
    Ok(state)
}

/// Whether `bytes` are a state file that a node would start with; never panics, whatever they are.
///
/// # Errors
/// Says why not.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    decode(bytes).map(|_| ())
}

/// As [`check`], for bytes that lack what surrounds the state in a file.
///
/// # Errors
/// Says why not.
pub fn check_body(body: &[u8]) -> Result<(), String> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len() + TAIL_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(body);
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    check(&bytes)
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// A locked data directory with the state file in it.
pub(super) struct StateFile {
    path: PathBuf,
    new_path: PathBuf,
    /// Holds the lock; what is renamed within is made durable through it.
    dir: File,
}

impl StateFile {
    /// Locks a directory, which is made where it is missing, and reads the file in it.
    ///
    /// # Errors
    /// Another process holds it, it cannot be used, or its file is not a sound state; the text names the path.
    pub fn open(dir: &Path) -> Result<(Self, Option<State>), String> {
        let failed = |error: io::Error| format!("data directory {}: {error}", dir.display());
        fs::create_dir_all(dir).map_err(failed)?;
        let handle = File::open(dir).map_err(failed)?;
        rustix::fs::flock(&handle, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |error| match error {
                rustix::io::Errno::WOULDBLOCK => {
                    format!("data directory {}: another larder uses this directory", dir.display())
                }
                other => failed(other.into()),
            },
        )?;
        let path = dir.join(STATE_FILE);
        let state = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{}: {error}", path.display())),
            Ok(meta) if meta.len() > CLUSTER_STATE_MAX_BYTES as u64 => {
                return Err(format!("{}: it is no state file of larder: too large", path.display()));
            }
            Ok(_) => {
                let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let state = decode(&bytes).map_err(|error| {
                    format!("{}: {error}; remove the file to join as a new node", path.display())
                })?;
                Some(state)
            }
        };
        Ok((Self { path, new_path: dir.join(STATE_FILE_NEW), dir: handle }, state))
    }

    /// Replaces the file; returns when that will survive a power failure. Blocks.
    ///
    /// # Errors
    /// The text names the path. The old file is still in place, unless only the last step failed.
    pub fn write(&self, bytes: &[u8]) -> Result<(), String> {
        let write = || {
            let mut file = File::create(&self.new_path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&self.new_path, &self.path)?;
            self.dir.sync_all()
        };
        write().map_err(|error: io::Error| format!("{}: {error}", self.path.display()))
    }
}
