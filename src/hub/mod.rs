//! Layer 3: services shared by all connections, one file each; no sockets and no commands.

pub mod baseline;
pub mod blocked;
pub mod bus;
pub mod clients;
pub mod cluster;
pub mod courier;
pub mod errors;
pub mod events;
pub mod functions;
pub mod gateway;
pub mod latency;
pub mod message;
pub mod notices;
pub mod orders;
pub mod outbox;
pub mod pubsub;
pub mod rates;
pub mod resident;
pub mod running;
pub mod scripts;
pub mod slowlog;
pub mod tracking;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::base::clock::Clock;
use crate::base::slot::Slot;
use crate::config::store::ConfigStore;
use crate::metrics::workers::WorkerStats;
use crate::store::keyspace::Keyspace;

/// Handles to everything that connections share; no logic of its own but what brings two of them together.
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
    /// Scripts that EVALSHA can run.
    pub scripts: scripts::Scripts,
    /// Scripts that take long.
    pub running: running::Running,
    /// Libraries of functions.
    pub functions: functions::Functions,
    /// Who is subscribed to what.
    pub pubsub: Arc<pubsub::PubSub>,
    /// Who hears of what happens to keys.
    pub events: Arc<events::Events>,
    /// Which clients have which keys in their caches.
    pub tracking: tracking::Tracking,
    /// Error replies by code.
    pub errors: errors::ErrorCounts,
    /// What CONFIG RESETSTAT forgets.
    pub baseline: baseline::Baseline,
    /// What is held back of `maxmemory`.
    pub resident: resident::Resident,
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
    /// Workers do nothing by themselves: neither expiry nor the like. Only for tests (DEBUG PAUSE-CRON).
    pub rests: AtomicBool,
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

    /// A worker's share of what client-side caching needs from time to time; `worker` is its number and how many there
    /// are. Nearly nothing while nobody caches. No lock may be held.
    pub fn look_after_caches(&self, worker: (usize, usize), now_ms: u64) {
        if !self.tracking.is_awake() {
            return;
        }
        let max_keys = self.config.load().tracking_table_max_keys;
        let mut invalid = tracking::Invalid::default();
        self.tracking.collect_left_over(&self.keyspace, &mut invalid);
        self.tracking.tidy(
            &self.keyspace,
            worker,
            usize::try_from(max_keys).unwrap_or(usize::MAX),
            &mut invalid,
        );
        self.with_audience(now_ms, |audience| self.tracking.tell(&mut invalid, None, audience));
    }

    /// Clients that cache are to forget the keys of slots that are not served here any more, once no command is inside
    /// them. No shard's lock may be held.
    pub fn lose_cached(&self, is_lost: impl Fn(Slot) -> bool) {
        self.with_audience(self.clock.wall_ms(), |audience| self.tracking.lose(is_lost, audience));
    }

    /// Clients that cache are to forget everything: what changes from now on may not be heard of here.
    pub fn lose_all_cached(&self) {
        if self.tracking.any() {
            let mut invalid = tracking::Invalid::default();
            invalid.everything();
            let now_ms = self.clock.wall_ms();
            self.with_audience(now_ms, |audience| self.tracking.tell(&mut invalid, None, audience));
        }
    }

    fn with_audience(&self, now_ms: u64, run: impl FnOnce(&mut tracking::Audience<'_>)) {
        let limits = self.config.load().client_output_buffer_limit;
        run(&mut tracking::Audience { clients: &self.clients, limits, now_ms, own: None });
    }
}
