//! What is said on a link, as bytes: the greeting before encryption, and messages after it. Pure: no sockets.
//!
//! A message is a header of [`HEADER_BYTES`] (kind, id, length) and a body. It is cut into fragments of at most
//! [`FRAGMENT_MAX_BYTES`], each of which is sealed as one Noise message; the header stands at the start of the first
//! fragment, and a message always begins with a fragment of its own. Fragments of two messages never mix, so a reader
//! holds one unfinished message at most, of the length that its class of link allows, and takes room for it only as
//! its bytes come in.
//!
//! The first message of each side is its [`PeerHello`], which it sends again when its own identity changes.

use std::net::SocketAddr;

use blake2::{Blake2s256, Digest};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::base::limits::{
    PEER_BULK_MAX_BYTES, PEER_CONTROL_MAX_BYTES, PEER_HELLO_MAX_BYTES, PEER_PUBLISH_MAX_BYTES,
};
use crate::cluster::id::{ClusterId, NodeId};

/// Major version of what nodes say to each other; those of different ones do not talk.
pub const PROTOCOL_MAJOR: u16 = 2;
/// Minor version: additions that older nodes ignore.
pub const PROTOCOL_MINOR: u16 = 1;
/// Length of the greeting in bytes.
pub const GREETING_BYTES: usize = 16;
/// Length of a message's header in bytes.
pub const HEADER_BYTES: usize = 9;
/// Longest fragment in bytes: a Noise message (65,535) less its tag.
pub const FRAGMENT_MAX_BYTES: usize = 65_535 - 16;

const MAGIC: &[u8; 6] = b"larder";

const _: () = assert!(HEADER_BYTES + PEER_HELLO_MAX_BYTES <= FRAGMENT_MAX_BYTES);
const _: () = assert!(PEER_PUBLISH_MAX_BYTES <= u32::MAX as usize);

/// What a link is for. Each class has connections of its own, so that bulk never stands before control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Gossip, agreement, leases: small and urgent.
    Control,
    /// Keys that move.
    Bulk,
    /// What clients publish. Nodes of minor version 0 refuse such links.
    Publish,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Control, Self::Bulk, Self::Publish];

    /// Longest body of a message in bytes.
    pub fn body_max_bytes(self) -> usize {
        match self {
            Self::Control => PEER_CONTROL_MAX_BYTES,
            Self::Bulk => PEER_BULK_MAX_BYTES,
            Self::Publish => PEER_PUBLISH_MAX_BYTES,
        }
    }
}

/// Who a node says that it is, once it has shown that it knows the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHello {
    /// Minor version of the protocol that it speaks.
    pub minor: u16,
    /// What this link is for; both ends say the same.
    pub class: Class,
    /// Its id.
    pub node_id: NodeId,
    /// Which start of that node it is; a later one is greater.
    pub incarnation: u64,
    /// The cluster that it belongs to; not founded while it belongs to none.
    pub cluster: ClusterId,
    /// The address that it is reached by.
    pub peer_addr: SocketAddr,
    /// The address that it dialled for this link; of an accepted one its own.
    pub dialled: SocketAddr,
    /// Name of its cluster.
    pub cluster_name: String,
}

impl PeerHello {
    /// As the body of a message.
    pub fn encode(&self) -> Vec<u8> {
        // Writing plain fields into memory cannot fail; an empty body would be refused as malformed.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads the body of a message. What follows the known fields is left to later minor versions.
    pub fn decode(body: &[u8]) -> Result<Self, Fault> {
        if body.len() > PEER_HELLO_MAX_BYTES {
            return Err(Fault::Oversized);
        }
        let (hello, _) = postcard::take_from_bytes::<Self>(body).map_err(|_| Fault::Malformed)?;
        Ok(hello)
    }
}

/// The bytes before encryption: they name the protocol, its major version and (by a short hash) the cluster's name, so
/// that a wrong one is told from a wrong secret. They are secret to nobody, and bound into the handshake.
pub fn greeting(cluster_name: &str) -> [u8; GREETING_BYTES] {
    let hash = Blake2s256::new_with_prefix(b"larder cluster-name\0").chain_update(cluster_name).finalize();
    let mut greeting = [0; GREETING_BYTES];
    greeting[..6].copy_from_slice(MAGIC);
    greeting[6..8].copy_from_slice(&PROTOCOL_MAJOR.to_be_bytes());
    greeting[8..].copy_from_slice(&hash[..8]);
    greeting
}

/// Whether whoever sent `theirs` may be a node of the cluster that `ours` was made for.
pub fn check_greeting(theirs: &[u8; GREETING_BYTES], ours: &[u8; GREETING_BYTES]) -> Result<(), Fault> {
    if theirs[..6] != ours[..6] {
        Err(Fault::Foreign)
    } else if theirs[6..8] != ours[6..8] {
        Err(Fault::Version)
    } else if theirs != ours {
        Err(Fault::OtherName)
    } else {
        Ok(())
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who the sender is.
    Hello,
    /// A request; a reply of the same id is owed.
    Call,
    /// A request's reply.
    Reply,
    /// In place of a reply: too many requests are being served.
    Busy,
    /// A message without reply.
    Cast,
    /// Asks for a sign of life.
    Ping,
    /// Is one.
    Pong,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Kind; 7] =
            [Kind::Hello, Kind::Call, Kind::Reply, Kind::Busy, Kind::Cast, Kind::Ping, Kind::Pong];
        ALL.get(usize::from(byte)).copied()
    }

    fn body_max_bytes(self, class: Class) -> usize {
        match self {
            Self::Hello => PEER_HELLO_MAX_BYTES,
            Self::Call | Self::Reply | Self::Cast => class.body_max_bytes(),
            Self::Busy | Self::Ping | Self::Pong => 0,
        }
    }
}

/// A message of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Matches a reply to its request; 0 where nothing is to be matched.
    pub id: u32,
    /// What it says.
    pub body: Vec<u8>,
}

/// The fragments of a message in order, the first as header and start of the body: joined, they are what is sealed.
pub fn fragments(
    kind: Kind,
    id: u32,
    body: &[u8],
) -> impl Iterator<Item = (Option<[u8; HEADER_BYTES]>, &[u8])> {
    let mut header = [0; HEADER_BYTES];
    header[0] = kind as u8;
    header[1..5].copy_from_slice(&id.to_be_bytes());
    header[5..].copy_from_slice(&(body.len() as u32).to_be_bytes());
    let (first, rest) = body.split_at(body.len().min(FRAGMENT_MAX_BYTES - HEADER_BYTES));
    let rest = rest.chunks(FRAGMENT_MAX_BYTES).map(|fragment| (None, fragment));
    std::iter::once((Some(header), first)).chain(rest)
}

/// Puts fragments together again.
#[derive(Debug)]
pub struct Joiner {
    class: Class,
    unfinished: Option<(Message, usize)>,
}

impl Joiner {
    /// For a link of `class`.
    pub fn new(class: Class) -> Self {
        Self { class, unfinished: None }
    }

    /// Whether a message has begun and not ended.
    pub fn is_amid(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Takes the next fragment; the message that it completes, if it does.
    pub fn push(&mut self, fragment: &[u8]) -> Result<Option<Message>, Fault> {
        let (mut message, length) = match self.unfinished.take() {
            Some((message, _)) if fragment.is_empty() => {
                drop(message);
                return Err(Fault::Malformed);
            }
            Some((mut message, length)) => {
                message.body.extend_from_slice(fragment);
                (message, length)
            }
            None => self.begin(fragment)?,
        };
        if message.body.len() > length {
            return Err(Fault::Malformed);
        }
        if message.body.len() == length {
            message.body.shrink_to_fit();
            return Ok(Some(message));
        }
        self.unfinished = Some((message, length));
        Ok(None)
    }

    fn begin(&self, fragment: &[u8]) -> Result<(Message, usize), Fault> {
        let Some((header, start)) = fragment.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Fault::Malformed);
        };
        let [kind, id @ .., l0, l1, l2, l3] = *header;
        let kind = Kind::from_byte(kind).ok_or(Fault::Malformed)?;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > kind.body_max_bytes(self.class) {
            return Err(Fault::Oversized);
        }
        Ok((Message { kind, id: u32::from_be_bytes(id), body: start.to_vec() }, length))
    }
}
