//! Layer 3: services shared by all connections, one file each; no sockets and no commands.

pub mod baseline;
pub mod blocked;
pub mod bus;
pub mod clients;
pub mod cluster;
pub mod errors;
pub mod events;
pub mod gateway;
pub mod latency;
pub mod message;
pub mod notices;
pub mod orders;
pub mod outbox;
pub mod pubsub;
pub mod rates;
pub mod running;
pub mod slowlog;

use std::sync::Arc;

use crate::base::clock::Clock;
use crate::config::store::ConfigStore;
use crate::metrics::workers::WorkerStats;
use crate::store::keyspace::Keyspace;

/// Handles to everything that connections share; no logic of its own.
pub struct Hub {
    /// Parameters.
    pub config: Arc<ConfigStore>,
    /// The data.
    pub keyspace: Arc<Keyspace>,
    /// The cluster, if this server is part of one.
    pub cluster: cluster::Cluster,
    /// What PUBLISH tells other nodes, and hears from them.
    pub bus: bus::Bus,
    /// Connected clients.
    pub clients: clients::Clients,
    /// Clients that wait in blocking commands.
    pub blocked: blocked::Blocked,
    /// Scripts that take long.
    pub running: running::Running,
    /// Who is subscribed to what.
    pub pubsub: Arc<pubsub::PubSub>,
    /// Who hears of what happens to keys.
    pub events: Arc<events::Events>,
    /// Error replies by code.
    pub errors: errors::ErrorCounts,
    /// What CONFIG RESETSTAT forgets.
    pub baseline: baseline::Baseline,
    /// Commands and bytes per second.
    pub rates: rates::Rates,
    /// Slow events.
    pub latency: latency::Latency,
    /// Slow commands.
    pub slowlog: slowlog::Slowlog,
    /// Orders to the tasks above.
    pub orders: orders::Orders,
    /// Every worker's counters, by its number.
    pub workers: Vec<Arc<WorkerStats>>,
    /// The counters of the thread that runs long scripts.
    pub script_stats: Arc<WorkerStats>,
    /// Where the time comes from.
    pub clock: Clock,
    /// When the server started, in Unix ms.
    pub started_ms: u64,
    /// 40 hex digits, new at every start.
    pub run_id: String,
}

impl Hub {
    /// The counters of every thread that runs commands.
    pub fn stats(&self) -> impl Iterator<Item = &WorkerStats> {
        self.workers.iter().chain([&self.script_stats]).map(Arc::as_ref)
    }
}
