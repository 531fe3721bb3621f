//! What nodes say to each other once a link stands: a short header, encoded by `postcard`, and a tail of bytes for what is
//! encoded already (log entries, records of a move, a table).
//!
//! Whatever comes in was sent by somebody who knows the secret, but may be of another version: what cannot be decoded is
//! answered by [`Answer::Malformed`], never by a panic. The transport bounds the length of a message.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cluster::formation;
use crate::cluster::id::NodeId;
use crate::cluster::table::{Change, Outcome, Table};
use crate::hub::bus::Scope;

/// First byte of every message of this kind; gossip's is another.
const TAG: u8 = b'N';
/// Tag and length of the header.
const HEAD_BYTES: usize = 5;

/// A request for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Whose.
    pub id: NodeId,
    /// Which process of it.
    pub incarnation: u64,
    /// Generation and version of the table that it goes by.
    pub stamp: (u32, u64),
}

/// What one node asks of another, or tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// A message between voters; the tail is theirs.
    Agree,
    /// Before there is a cluster.
    Form(formation::Message),
    /// A lease, from the leader or through another voter.
    Renew(Renewal),
    /// A change of the table, from the leader.
    Propose(Change),
    /// Who votes, as far as the other knows.
    Voters,
    /// A table that is newer than this one.
    Newer {
        /// Generation and version.
        stamp: (u32, u64),
    },
    /// The tail is a table that has just been agreed on.
    Push,
    /// The sender has slots to hand over: make them ready.
    Open {
        /// The move.
        id: u64,
    },
    /// The tail is records of a move.
    Records {
        /// The move.
        id: u64,
        /// Counts the messages of a move from 0.
        sequence: u64,
    },
    /// All records of a move were sent.
    Close {
        /// The move.
        id: u64,
        /// How many messages of records there were.
        messages: u64,
    },
    /// The tail is what clients of the sender have published.
    Publish {
        /// Counts what the sender has published, from 1; higher from batch to batch.
        number: u64,
        /// How many messages the tail holds.
        messages: u64,
        /// What their channels are.
        scope: Scope,
    },
}

/// What the other node says to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The tail is the voters' own.
    Agree,
    /// Nothing more to say.
    Done,
    /// The lease lasts so long from when it was asked for.
    Leased {
        /// In ns.
        lease_ns: u64,
        /// Who votes.
        voters: Vec<NodeId>,
    },
    /// The table went by is old; the tail is the present one.
    Behind,
    /// The table does not know this process: it must join.
    Stranger,
    /// Somebody else leads, as far as is known.
    NotLeader(Option<NodeId>),
    /// What became of a change.
    Proposed(Outcome),
    /// Who votes.
    Voters(Vec<NodeId>),
    /// The tail is a newer table.
    Table,
    /// It cannot be done now; in words.
    Refused(String),
    /// The request was not understood.
    Malformed,
}

/// A header with its tail, as one message.
pub fn encode(header: &impl Serialize, tail: &[u8]) -> Vec<u8> {
    let header = postcard::to_allocvec(header).unwrap_or_default();
    let mut message = Vec::with_capacity(HEAD_BYTES + header.len() + tail.len());
    message.push(TAG);
    message.extend_from_slice(&(header.len() as u32).to_le_bytes());
    message.extend_from_slice(&header);
    message.extend_from_slice(tail);
    message
}

/// The header and the tail of a message; nothing if it is none.
pub fn decode<T: DeserializeOwned>(message: &[u8]) -> Option<(T, &[u8])> {
    let (length, rest) = message.strip_prefix(&[TAG])?.split_first_chunk::<4>()?;
    let (header, tail) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((postcard::from_bytes(header).ok()?, tail))
}

/// A table that came as a tail; nothing if it is none, or not a sound one.
pub fn decode_table(tail: &[u8]) -> Option<Table> {
    let table: Table = postcard::from_bytes(tail).ok()?;
    table.validate().ok()?;
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::{Answer, Ask, decode, decode_table, encode};

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let message = encode(&Ask::Records { id: 7, sequence: 9 }, b"tail");
        assert_eq!(decode::<Ask>(&message), Some((Ask::Records { id: 7, sequence: 9 }, &b"tail"[..])));
        for length in 0..message.len() - b"tail".len() {
            assert_eq!(decode::<Ask>(&message[..length]), None, "cut to {length} bytes");
        }
        assert_eq!(decode::<Answer>(&[255; 40]), None);
        assert_eq!(decode_table(b"no table"), None);
    }
}
