//! What the gateway counts, over all workers; empty where there is none.

use std::sync::atomic::AtomicU64;

/// Counts since the start, and links as they are.
#[derive(Debug, Default)]
pub struct GatewayCounters {
    /// Requests that were run on this node.
    pub local: AtomicU64,
    /// Requests, or parts of one, that were sent to another node.
    pub remote: AtomicU64,
    /// Requests, or parts of one, that were sent once more, because their slot had moved or a node was out of reach.
    pub retries: AtomicU64,
    /// Requests, or parts of one, that were given up.
    pub errors: AtomicU64,
    /// Links to other nodes that are open.
    pub links: AtomicU64,
}
