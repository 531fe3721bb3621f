//! The HTTP port of a running server: collects what all parts count into one sample whenever `/metrics` is asked for.
//!
//! Collecting reads the workers' counters without a lock and takes each shard's lock once, for as long as adding up
//! a few numbers takes; it never waits for more than one lock at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::lock::Mutex;
use crate::command::cluster::slots_of;
use crate::command::table;
use crate::config::Config;
use crate::config::choices::EvictionPolicy;
use crate::hub::Hub;
use crate::hub::bus::BusCounts;
use crate::hub::cluster::{ClusterCounters, Phase};
use crate::hub::gateway::GatewayCounters;
use crate::hub::pubsub::{Kind, PubSub};
use crate::metrics::exporter::{
    ClusterCounts, ClusterSample, DatabaseSample, Exporter, PubSubSample, Sample, ScriptSample, WorkerSample,
};
use crate::metrics::process;
use crate::metrics::workers::Totals;
use crate::server::http::{Http, Page, Ready};
use crate::server::listener::Bound;
use crate::store::keyspace::Keyspace;

/// Serves the HTTP port, if one was bound, for a server that serves already.
pub fn start(hub: &Arc<Hub>, bound: Vec<Bound>) -> Result<Option<Http>, String> {
    let for_ready = Arc::clone(hub);
    let ready: Ready = Arc::new(move || readiness(&for_ready));
    Http::start(bound, page(hub), ready)
}

/// Whether clients should be sent here: not to a server that was ordered to stop, nor to a member of a cluster that has
/// not joined, holds no lease, or gives its slots away. The error says why not.
pub fn readiness(hub: &Hub) -> Result<(), String> {
    if hub.orders.shutdown().is_some() {
        return Err("stopping".to_owned());
    }
    if !hub.cluster.is_on() {
        return Ok(());
    }
    let vitals = hub.cluster.vitals();
    let phase = match vitals.phase {
        Phase::Serving if hub.cluster.routes.is_leased(hub.clock.boot_ns()) => return Ok(()),
        Phase::Serving => "no lease",
        other => other.name(),
    };
    Err(if vitals.why.is_empty() { phase.to_owned() } else { format!("{phase}: {}", vitals.why) })
}

/// Makes the page for Prometheus out of the state of `hub` at each call.
pub fn page(hub: &Arc<Hub>) -> Page {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (keyspace, for_changes) = (Arc::clone(&hub.keyspace), Arc::clone(&ledger));
    hub.config.on_change(Box::new(move |before: &Config, after: &Config| {
        if before.maxmemory_policy != after.maxmemory_policy {
            for_changes.lock().settle(keyspace.removals().evicted, before.maxmemory_policy);
        }
        Ok(())
    }));
    let names: Arc<[String]> = table::entries().iter().map(|entry| entry.full_name.clone()).collect();
    let (hub, exporter) = (Arc::clone(hub), Exporter::new());
    Arc::new(move || exporter.render(&sample(&hub, &ledger, &names)))
}

fn sample(hub: &Hub, ledger: &Mutex<Ledger>, names: &Arc<[String]>) -> Sample {
    let config = hub.config.load();
    let removals = hub.keyspace.removals();
    let evicted = {
        let mut ledger = ledger.lock();
        ledger.settle(removals.evicted, config.maxmemory_policy);
        ledger.by_policy.clone()
    };
    let totals = Totals::of(hub.stats());
    Sample {
        uptime_seconds: hub.clock.wall_ms().saturating_sub(hub.started_ms) as f64 / 1e3,
        ready: readiness(hub).is_ok(),
        scripts: scripts(hub, &totals, names),
        totals,
        command_names: Arc::clone(names),
        workers: hub.workers.iter().map(|stats| WorkerSample::of(stats)).collect(),
        databases: databases(&hub.keyspace, config.databases as usize),
        evicted: evicted.into_iter().map(|(policy, count)| (policy.name(), count)).collect(),
        expired: removals.expired,
        memory_used_bytes: hub.keyspace.used_bytes(),
        memory_limit_bytes: hub.keyspace.limit_bytes(),
        memory_held_back_bytes: hub.keyspace.held_back_bytes(),
        memory_resident_bytes: process::resident_bytes(),
        cpu: process::cpu_seconds(),
        clients_max: config.maxclients,
        clients_blocked: hub.clients.blocked() as u64,
        slowlog_len: hub.slowlog.entries() as u64,
        pubsub: pubsub(&hub.pubsub),
        tracking: hub.tracking.totals(),
        cluster: hub.cluster.is_on().then(|| cluster(hub)),
    }
}

/// Scripts and functions; what was run is what the commands that run them have counted.
fn scripts(hub: &Hub, totals: &Totals, names: &[String]) -> ScriptSample {
    let calls = |wanted: &[&str]| {
        let rows = names.iter().zip(&totals.commands);
        rows.filter(|(name, _)| wanted.contains(&name.as_str())).map(|(_, row)| row.calls).sum()
    };
    let took_ns = |began_ns: u64| hub.clock.mono_ns().saturating_sub(began_ns);
    let libraries = hub.functions.current();
    ScriptSample {
        scripts: calls(&["eval", "evalsha", "eval_ro", "evalsha_ro"]),
        functions: calls(&["fcall", "fcall_ro"]),
        late: hub.running.late() as u64,
        longest_seconds: hub.running.first_began_ns().map_or(0.0, |began_ns| took_ns(began_ns) as f64 / 1e9),
        cached: hub.scripts.len() as u64,
        loaded: libraries.functions() as u64,
        interpreter_bytes: hub.scripts.interpreter_bytes() + hub.functions.interpreter_bytes(),
        text_bytes: hub.scripts.bytes() + libraries.bytes() as u64,
    }
}

fn pubsub(pubsub: &PubSub) -> PubSubSample {
    let counts = pubsub.counts();
    PubSubSample {
        names: Kind::ALL.map(|kind| pubsub.len(kind) as u64),
        clients: pubsub.clients() as u64,
        published: counts.published,
        delivered: counts.delivered,
        dropped: counts.dropped,
    }
}

fn cluster(hub: &Hub) -> ClusterSample {
    let (view, vitals) = (hub.cluster.routes.view(), hub.cluster.vitals());
    let now_ns = hub.clock.boot_ns();
    let left_ns = hub.cluster.routes.lease_until_ns().saturating_sub(now_ns);
    ClusterSample {
        members: view.table.members.len() as u64,
        members_alive: 1 + vitals.peers.iter().filter(|peer| peer.alive).count() as u64,
        serving: left_ns > 0,
        leads: vitals.leader == Some(vitals.me),
        term: vitals.term,
        version: view.table.version,
        generation: view.table.generation.into(),
        slots_owned: slots_of(&view.table, view.me).into(),
        lease_seconds: left_ns as f64 / 1e9,
        moves_active: view.table.moves.len() as u64,
        holds: hub.cluster.hold_times(),
        counts: counts(&hub.cluster.counters, &hub.cluster.gateway, &hub.bus.counts),
        dropped: vitals.dropped.clone(),
    }
}

fn counts(counters: &ClusterCounters, gateway: &GatewayCounters, bus: &BusCounts) -> ClusterCounts {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    ClusterCounts {
        leases_granted: of(&counters.leases_granted),
        leases_refused: of(&counters.leases_refused),
        leases_expired: of(&counters.leases_expired),
        grants_given: of(&counters.grants_given),
        nodes_given_up: of(&counters.nodes_given_up),
        leaderships: of(&counters.leaderships),
        redirects: of(&counters.redirects),
        crossslots: of(&counters.crossslots),
        refusals: of(&counters.refusals),
        holds: of(&counters.holds),
        moves_committed: of(&counters.moves_committed),
        moves_cancelled: of(&counters.moves_cancelled),
        moved_keys: of(&counters.moved_keys),
        moved_bytes: of(&counters.moved_bytes),
        gossip_sent_messages: of(&counters.gossip_sent_messages),
        gossip_received_messages: of(&counters.gossip_received_messages),
        gossip_sent_bytes: of(&counters.gossip_sent_bytes),
        gossip_received_bytes: of(&counters.gossip_received_bytes),
        publish_sent: of(&bus.sent),
        publish_received: of(&bus.received),
        publish_dropped: of(&bus.dropped),
        publish_refused: of(&bus.refused),
        gateway_local: of(&gateway.local),
        gateway_remote: of(&gateway.remote),
        gateway_retries: of(&gateway.retries),
        gateway_errors: of(&gateway.errors),
        gateway_links: of(&gateway.links),
    }
}

/// Every database, empty ones too, so that a database that was emptied does not keep its last number on the page.
fn databases(keyspace: &Keyspace, count: usize) -> Vec<DatabaseSample> {
    let mut databases: Vec<DatabaseSample> =
        (0..count).map(|number| DatabaseSample { number, keys: 0, expiring: 0 }).collect();
    for shard in 0..keyspace.shards() {
        for (number, db) in keyspace.lock(shard).dbs() {
            if let Some(sum) = databases.get_mut(number) {
                sum.keys += db.entries() as u64;
                sum.expiring += db.entries_with_due() as u64;
            }
        }
    }
    databases
}

/// Says which policy evicted how many keys: the store counts them together, and the policy may change meanwhile.
#[derive(Debug, Default)]
struct Ledger {
    by_policy: Vec<(EvictionPolicy, u64)>,
    settled: u64,
}

impl Ledger {
    /// Puts what was evicted since the last call, out of `total`, on the account of `policy`.
    fn settle(&mut self, total: u64, policy: EvictionPolicy) {
        let new = total.saturating_sub(self.settled);
        self.settled = self.settled.max(total);
        match self.by_policy.iter_mut().find(|(known, _)| *known == policy) {
            Some((_, count)) => *count += new,
            None => self.by_policy.push((policy, new)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, page};
    use crate::config::Config;
    use crate::config::choices::EvictionPolicy;
    use crate::config::store::ConfigStore;
    use std::sync::Arc;

    #[test]
    fn evictions_are_put_on_the_account_of_the_policy_of_their_time() {
        let mut ledger = Ledger::default();
        ledger.settle(0, EvictionPolicy::AllKeysLru);
        ledger.settle(10, EvictionPolicy::AllKeysLru);
        ledger.settle(15, EvictionPolicy::VolatileTtl);
        ledger.settle(15, EvictionPolicy::AllKeysLru);
        ledger.settle(16, EvictionPolicy::AllKeysLru);
        assert_eq!(ledger.by_policy, [(EvictionPolicy::AllKeysLru, 11), (EvictionPolicy::VolatileTtl, 5)]);
    }

    #[test]
    fn the_page_of_an_idle_server_is_complete() {
        let hub = super::super::build(Arc::new(ConfigStore::new(Config::default(), None)));
        let page = page(&hub);
        hub.config.set(&[(b"maxmemory-policy", b"noeviction")]).expect("a policy");
        let text = page();
        for line in [
            "larder_evicted_keys_total{policy=\"allkeys-lru\"} 0",
            "larder_evicted_keys_total{policy=\"noeviction\"} 0",
            "larder_database_keys{db=\"15\"} 0",
            "larder_connected_clients 0",
            "larder_connected_clients_limit 10000",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} not in\n{text}");
        }
    }
}
