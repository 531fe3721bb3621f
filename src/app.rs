//! Composes the server from its parts and runs it; the only place that knows all of them.

pub mod cluster;
pub mod scrape;

use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::cluster::route::Routes;
use crate::command::table;
use crate::config::Config;
use crate::config::choices::EvictionPolicy;
use crate::config::store::ConfigStore;
use crate::hub::Hub;
use crate::hub::bus::Bus;
use crate::hub::clients::Clients;
use crate::hub::cluster::Cluster;
use crate::hub::events::Events;
use crate::hub::notices;
use crate::hub::resident::Resident;
use crate::hub::tracking::Tracking;
use crate::metrics::allocator;
use crate::metrics::workers::WorkerStats;
use crate::server::http::Http;
use crate::server::{Server, shutdown};
use crate::store::entry::set_due_origin;
use crate::store::key::Layout;
use crate::store::keyspace::Keyspace;
use crate::store::policy::Policy;

/// Runs the server until it is told to stop. An error is one line that says why it could not start.
pub fn run(store: Arc<ConfigStore>) -> Result<(), String> {
    let config = store.load();
    allocator::set_decay();
    let hub = build(store);
    shutdown::heed_signals(&hub).map_err(|error| format!("cannot watch for signals: {error}"))?;
    // Before any client is served, so that a port that is taken ends the start.
    let http_port = Http::bind(&config)?;
    let server = Server::start(Arc::clone(&hub), &config)?;
    let http = scrape::start(&hub, http_port)?;
    cluster::start(&hub, &config, server.local_addrs())?;
    tracing::info!(
        addresses = ?server.local_addrs(),
        threads = hub.workers.len(),
        shards = hub.keyspace.shards(),
        maxmemory_bytes = hub.keyspace.limit_bytes(),
        "ready to serve"
    );
    server.wait();
    drop(http);
    tracing::info!("stopped");
    Ok(())
}

/// The shared services for a configuration, with the listeners that carry its changes to them.
pub fn build(store: Arc<ConfigStore>) -> Arc<Hub> {
    build_with(store, Clock::system(), Rng::from_entropy())
}

/// The same by a given clock and given randomness, so that tests own both.
pub fn build_with(store: Arc<ConfigStore>, clock: Clock, mut rng: Rng) -> Arc<Hub> {
    let config = store.load();
    set_due_origin(clock.wall_ms());
    let layout = Layout::new(config.shard_count().ilog2());
    let policy = policy_of(config.maxmemory_policy);
    let keyspace = Arc::new(Keyspace::new(layout, policy, config.maxmemory.bytes(), rng.next_u64()));
    let events = Arc::new(Events::default());
    events.ask_for(&keyspace, config.notify_keyspace_events);
    follow_changes(&store, &keyspace, &events);
    let pubsub = notices::connect(&store, &keyspace, &events, &clock, config.worker_count());
    let commands = table::count();
    let tracking = Tracking::new(keyspace.shards());
    Arc::new(Hub {
        config: store,
        keyspace,
        cluster: Cluster::new(if config.is_clustered() { Routes::clustered() } else { Routes::standalone() }),
        bus: Bus::new(config.worker_count()),
        clients: Clients::new(),
        errors: Default::default(),
        rates: Default::default(),
        baseline: Default::default(),
        resident: Resident::begin(),
        slowlog: Default::default(),
        latency: Default::default(),
        orders: Default::default(),
        pubsub,
        events,
        blocked: Default::default(),
        running: Default::default(),
        scripts: Default::default(),
        functions: Default::default(),
        script_stats: Arc::new(WorkerStats::new(commands)),
        tracking,
        rests: Default::default(),
        workers: (0..config.worker_count()).map(|_| Arc::new(WorkerStats::new(commands))).collect(),
        started_ms: clock.wall_ms(),
        run_id: (0..5).map(|_| format!("{:08x}", rng.next_u64() as u32)).collect(),
        clock,
    })
}

fn follow_changes(store: &ConfigStore, keyspace: &Arc<Keyspace>, events: &Arc<Events>) {
    let (keyspace, events) = (Arc::clone(keyspace), Arc::clone(events));
    store.on_change(Box::new(move |before: &Config, after: &Config| {
        if before.maxmemory != after.maxmemory {
            keyspace.set_limit_bytes(after.maxmemory.bytes());
        }
        if before.maxmemory_policy != after.maxmemory_policy {
            keyspace.set_policy(policy_of(after.maxmemory_policy));
        }
        if before.notify_keyspace_events != after.notify_keyspace_events {
            events.ask_for(&keyspace, after.notify_keyspace_events);
        }
        Ok(())
    }));
}

/// The store's policy behind a parameter's value.
fn policy_of(policy: EvictionPolicy) -> Policy {
    match policy {
        EvictionPolicy::NoEviction => Policy::NoEviction,
        EvictionPolicy::AllKeysLru => Policy::AllkeysLru,
        EvictionPolicy::AllKeysLfu => Policy::AllkeysLfu,
        EvictionPolicy::AllKeysRandom => Policy::AllkeysRandom,
        EvictionPolicy::VolatileLru => Policy::VolatileLru,
        EvictionPolicy::VolatileLfu => Policy::VolatileLfu,
        EvictionPolicy::VolatileRandom => Policy::VolatileRandom,
        EvictionPolicy::VolatileTtl => Policy::VolatileTtl,
    }
}
