//! Names of nodes and clusters. A node's id is 20 random bytes, shown as 40 hex digits as in Redis; it lives as long as
//! the node's data directory, or as long as the process where there is none. A cluster's id is drawn once, when it is
//! founded, and never changes: two founded clusters never become one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::rng::Rng;

/// Length of a node's id in bytes; shown as twice as many hex digits.
pub const NODE_ID_BYTES: usize = 20;

/// A node's id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; NODE_ID_BYTES]);

impl NodeId {
    /// A new id.
    pub fn random(rng: &mut Rng) -> Self {
        let mut bytes = [0; NODE_ID_BYTES];
        for chunk in bytes.chunks_mut(8) {
            let random = rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        Self(bytes)
    }

    /// The id that 40 hex digits stand for; nothing if they are none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; NODE_ID_BYTES];
        if text.len() != 2 * NODE_ID_BYTES {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let high = (digits[0] as char).to_digit(16)?;
            let low = (digits[1] as char).to_digit(16)?;
            *byte = (high << 4 | low) as u8;
        }
        Some(Self(bytes))
    }

    /// The first eight hex digits: enough to tell nodes apart in a log line.
    pub fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A founded cluster's id; 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl ClusterId {
    /// A new id, never 0.
    pub fn random(rng: &mut Rng) -> Self {
        Self(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()) | 1)
    }

    /// Whether a cluster has been founded.
    pub fn is_founded(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{NODE_ID_BYTES, NodeId};
    use crate::base::rng::Rng;

    #[test]
    fn an_id_is_its_forty_digits() {
        let id = NodeId::random(&mut Rng::seeded(1));
        let text = id.to_string();
        assert_eq!(text.len(), 2 * NODE_ID_BYTES);
        assert_eq!(NodeId::parse(text.as_bytes()), Some(id));
        assert_eq!(NodeId::parse(&text.as_bytes()[1..]), None);
        assert_eq!(NodeId::parse("g".repeat(40).as_bytes()), None);
        assert_eq!(id.short(), text[..8]);
    }
}
