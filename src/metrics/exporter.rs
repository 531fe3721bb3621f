//! The page for Prometheus, made from one [`Sample`] whenever it is asked for.
//!
//! Counters and gauges go through a recorder of `metrics-exporter-prometheus` that belongs to the [`Exporter`]; what
//! that crate cannot take (histograms counted by the workers, seconds with fractions) is appended by [`text`]. Nothing
//! is installed globally and nothing here is called by a command.
//!
//! [`text`]: crate::metrics::text

use crate::metrics::catalog::{self, Kind, METRICS, Metric};
use crate::metrics::histogram::Distribution;
use crate::metrics::process::CpuSeconds;
use crate::metrics::text::Page;
use crate::metrics::workers::{Totals, WorkerStats};
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::sync::Arc;

/// What the crate wants to know about the place that registers a metric; it makes no use of it.
const ORIGIN: Metadata<'static> = Metadata::new("larder", Level::INFO, None);

/// One logical database at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseSample {
    /// Its number.
    pub number: usize,
    /// Keys in it.
    pub keys: u64,
    /// Keys in it that have a time to live.
    pub expiring: u64,
}

/// One worker at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerSample {
    /// Nanoseconds spent on requests so far.
    pub busy_ns: u64,
    /// Commands executed so far.
    pub commands: u64,
    /// Connections at the moment.
    pub connections: u64,
}

impl WorkerSample {
    /// What `stats` says now.
    pub fn of(stats: &WorkerStats) -> Self {
        Self {
            busy_ns: stats.busy_ns.get(),
            commands: stats.commands_processed.get(),
            connections: stats.connections(),
        }
    }
}

/// Client-side caching at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackingSample {
    /// Clients that track.
    pub clients: u64,
    /// Keys in the table.
    pub keys: u64,
    /// Readers of keys in the table.
    pub items: u64,
    /// Prefixes that are broadcast.
    pub prefixes: u64,
    /// Bytes of the table.
    pub bytes: u64,
}

/// The whole server at one moment: all that the page shows.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Seconds since the start.
    pub uptime_seconds: f64,
    /// Whether requests are taken: what `/readyz` says.
    pub ready: bool,
    /// Counters of all workers since the start (not since CONFIG RESETSTAT: Prometheus wants counters that only grow).
    pub totals: Totals,
    /// Command names by dense id, as in `totals.commands`; subcommands as `client|list`.
    pub command_names: Arc<[String]>,
    /// The workers, in their order.
    pub workers: Vec<WorkerSample>,
    /// The logical databases that have ever had keys.
    pub databases: Vec<DatabaseSample>,
    /// Keys evicted so far, by policy name.
    pub evicted: Vec<(&'static str, u64)>,
    /// Keys expired so far.
    pub expired: u64,
    /// Bytes that count against the limit.
    pub memory_used_bytes: u64,
    /// The limit; 0 for none.
    pub memory_limit_bytes: u64,
    /// What entries do not get of the limit.
    pub memory_held_back_bytes: u64,
    /// Bytes of physical memory.
    pub memory_resident_bytes: u64,
    /// Processor time so far.
    pub cpu: CpuSeconds,
    /// The parameter maxclients.
    pub clients_max: u64,
    /// Clients that wait in a blocking command, for the end of a pause, or for a script of theirs that takes long.
    pub clients_blocked: u64,
    /// Entries in the slow log.
    pub slowlog_len: u64,
    /// Scripts and functions.
    pub scripts: ScriptSample,
    /// Publish and subscribe.
    pub pubsub: PubSubSample,
    /// Client-side caching.
    pub tracking: TrackingSample,
    /// The cluster, if the server is a member of one.
    pub cluster: Option<ClusterSample>,
}

/// Scripts and functions at one moment; how many were stopped is in [`Totals`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScriptSample {
    /// Scripts run so far.
    pub scripts: u64,
    /// Functions run so far.
    pub functions: u64,
    /// Those that run and are late.
    pub late: u64,
    /// Seconds since the one that runs for longest began; 0 without any.
    pub longest_seconds: f64,
    /// Scripts that are known by their digests.
    pub cached: u64,
    /// Functions of all libraries.
    pub loaded: u64,
    /// Bytes of interpreters.
    pub interpreter_bytes: u64,
    /// Bytes of texts.
    pub text_bytes: u64,
}

/// Publish and subscribe at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PubSubSample {
    /// Names that somebody is subscribed to: channels, patterns, shard channels.
    pub names: [u64; 3],
    /// Clients that are subscribed to anything.
    pub clients: u64,
    /// Messages published so far.
    pub published: u64,
    /// Messages queued to a subscriber so far.
    pub delivered: u64,
    /// Subscribers closed for their unread output so far.
    pub dropped: u64,
}

/// A member's view of its cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterSample {
    /// Members by the slot table.
    pub members: u64,
    /// Members heard of, this one among them.
    pub members_alive: u64,
    /// Whether a lease is held and commands on keys are answered.
    pub serving: bool,
    /// Whether this node is the leader.
    pub leads: bool,
    /// The leader's term.
    pub term: u64,
    /// Version of the slot table.
    pub version: u64,
    /// Generation of the slot table.
    pub generation: u64,
    /// Slots that this node owns.
    pub slots_owned: u64,
    /// Seconds until the lease ends.
    pub lease_seconds: f64,
    /// Moves under way in the whole cluster.
    pub moves_active: u64,
    /// For how long slots were held at the end of moves away from this node.
    pub holds: Distribution,
    /// Counts so far: of commands that were redirected and the like.
    pub counts: ClusterCounts,
    /// Links and messages of other nodes that were dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
}

/// What a member has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Leases granted to this node.
    pub leases_granted: u64,
    /// Leases refused to this node.
    pub leases_refused: u64,
    /// Leases of this node that ran out.
    pub leases_expired: u64,
    /// Leases that this node granted.
    pub grants_given: u64,
    /// Nodes given up.
    pub nodes_given_up: u64,
    /// Times that this node became leader.
    pub leaderships: u64,
    /// Commands answered by MOVED.
    pub redirects: u64,
    /// Commands answered by CROSSSLOT.
    pub crossslots: u64,
    /// Commands answered by CLUSTERDOWN.
    pub refusals: u64,
    /// Commands that waited for a held slot.
    pub holds: u64,
    /// Moves carried out.
    pub moves_committed: u64,
    /// Moves given up.
    pub moves_cancelled: u64,
    /// Keys sent.
    pub moved_keys: u64,
    /// Bytes sent in moves.
    pub moved_bytes: u64,
    /// Messages of gossip sent.
    pub gossip_sent_messages: u64,
    /// Messages of gossip received.
    pub gossip_received_messages: u64,
    /// Bytes of gossip sent.
    pub gossip_sent_bytes: u64,
    /// Bytes of gossip received.
    pub gossip_received_bytes: u64,
    /// Published messages handed to links to other nodes.
    pub publish_sent: u64,
    /// Published messages that came from other nodes.
    pub publish_received: u64,
    /// Published messages lost for another node.
    pub publish_dropped: u64,
    /// Published messages of other nodes that were not delivered.
    pub publish_refused: u64,
    /// Requests by the gateway that ran here.
    pub gateway_local: u64,
    /// Requests by the gateway that were sent to other nodes.
    pub gateway_remote: u64,
    /// Those that were sent once more.
    pub gateway_retries: u64,
    /// Those that were given up.
    pub gateway_errors: u64,
    /// The gateway's links that are open.
    pub gateway_links: u64,
}

/// Makes pages; keeps the recorder that it makes them with.
pub struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Exporter")
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Exporter {
    /// An exporter that knows the catalogue's descriptions.
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in METRICS {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    /// The page in Prometheus's text format (version 0.0.4).
    pub fn render(&self, sample: &Sample) -> String {
        self.set_server(sample);
        self.set_traffic(&sample.totals);
        self.set_scripts(sample);
        self.set_pubsub(&sample.pubsub);
        self.set_commands(sample);
        if let Some(cluster) = &sample.cluster {
            self.set_cluster(cluster);
            self.set_cluster_counts(&cluster.counts);
        }
        let mut page = Page::after(self.handle.render());
        append_seconds(&mut page, sample);
        append_durations(&mut page, sample);
        page.finish()
    }

    fn set_server(&self, sample: &Sample) {
        self.gauge(&catalog::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        self.gauge(&catalog::UPTIME, &[], sample.uptime_seconds);
        self.gauge(&catalog::READY, &[], f64::from(u8::from(sample.ready)));
        for database in &sample.databases {
            let number = database.number.to_string();
            self.gauge(&catalog::KEYS, &[&number], database.keys as f64);
            self.gauge(&catalog::EXPIRING_KEYS, &[&number], database.expiring as f64);
        }
        for (policy, count) in &sample.evicted {
            self.counter(&catalog::EVICTED, &[policy], *count);
        }
        self.counter(&catalog::EXPIRED, &[], sample.expired);
        self.gauge(&catalog::MEMORY_USED, &[], sample.memory_used_bytes as f64);
        self.gauge(&catalog::MEMORY_LIMIT, &[], sample.memory_limit_bytes as f64);
        self.gauge(&catalog::MEMORY_HELD_BACK, &[], sample.memory_held_back_bytes as f64);
        self.gauge(&catalog::MEMORY_RESIDENT, &[], sample.memory_resident_bytes as f64);
        self.gauge(&catalog::CLIENTS_LIMIT, &[], sample.clients_max as f64);
        self.gauge(&catalog::BLOCKED, &[], sample.clients_blocked as f64);
        self.gauge(&catalog::SLOWLOG_LENGTH, &[], sample.slowlog_len as f64);
        for (metric, number) in [
            (&catalog::TRACKING_CLIENTS, sample.tracking.clients),
            (&catalog::TRACKING_KEYS, sample.tracking.keys),
            (&catalog::TRACKING_ITEMS, sample.tracking.items),
            (&catalog::TRACKING_PREFIXES, sample.tracking.prefixes),
            (&catalog::TRACKING_BYTES, sample.tracking.bytes),
        ] {
            self.gauge(metric, &[], number as f64);
        }
    }

    fn set_traffic(&self, totals: &Totals) {
        self.gauge(&catalog::CLIENTS, &[], totals.connections() as f64);
        for (metric, count) in [
            (&catalog::HITS, totals.keyspace_hits),
            (&catalog::MISSES, totals.keyspace_misses),
            (&catalog::ACCEPTED, totals.connections_opened),
            (&catalog::REJECTED, totals.connections_rejected),
            (&catalog::RECEIVED, totals.net_input_bytes),
            (&catalog::SENT, totals.net_output_bytes),
            (&catalog::ERROR_REPLIES, totals.error_replies),
        ] {
            self.counter(metric, &[], count);
        }
        self.counter(&catalog::LIMIT_CLOSED, &["output"], totals.output_limit_closed);
        self.counter(&catalog::LIMIT_CLOSED, &["query"], totals.query_limit_closed);
    }

    fn set_scripts(&self, sample: &Sample) {
        let (scripts, totals) = (&sample.scripts, &sample.totals);
        self.counter(&catalog::SCRIPTS, &["script"], scripts.scripts);
        self.counter(&catalog::SCRIPTS, &["function"], scripts.functions);
        self.counter(&catalog::SCRIPTS_STOPPED, &["killed"], totals.scripts_killed);
        self.counter(&catalog::SCRIPTS_STOPPED, &["memory"], totals.scripts_out_of_memory);
        self.counter(&catalog::SCRIPTS_STOPPED, &["conflict"], totals.scripts_in_conflict);
        self.gauge(&catalog::SCRIPTS_LATE, &[], scripts.late as f64);
        self.gauge(&catalog::SCRIPTS_LONGEST, &[], scripts.longest_seconds);
        self.gauge(&catalog::SCRIPTS_CACHED, &[], scripts.cached as f64);
        self.gauge(&catalog::FUNCTIONS, &[], scripts.loaded as f64);
        self.gauge(&catalog::SCRIPTS_MEMORY, &["interpreters"], scripts.interpreter_bytes as f64);
        self.gauge(&catalog::SCRIPTS_MEMORY, &["texts"], scripts.text_bytes as f64);
    }

    fn set_pubsub(&self, pubsub: &PubSubSample) {
        for (kind, count) in ["channel", "pattern", "shard"].into_iter().zip(pubsub.names) {
            self.gauge(&catalog::PUBSUB_NAMES, &[kind], count as f64);
        }
        self.gauge(&catalog::PUBSUB_CLIENTS, &[], pubsub.clients as f64);
        self.counter(&catalog::PUBSUB_PUBLISHED, &[], pubsub.published);
        self.counter(&catalog::PUBSUB_DELIVERED, &[], pubsub.delivered);
        self.counter(&catalog::PUBSUB_DROPPED, &[], pubsub.dropped);
    }

    fn set_commands(&self, sample: &Sample) {
        for (name, row) in sample.command_names.iter().zip(&sample.totals.commands) {
            if row.is_used() {
                self.counter(&catalog::COMMANDS, &[name], row.calls);
                self.counter(&catalog::COMMANDS_FAILED, &[name], row.failed);
                self.counter(&catalog::COMMANDS_REJECTED, &[name], row.rejected);
            }
        }
        for (number, worker) in sample.workers.iter().enumerate() {
            let number = number.to_string();
            self.counter(&catalog::WORKER_COMMANDS, &[&number], worker.commands);
            self.gauge(&catalog::WORKER_CONNECTIONS, &[&number], worker.connections as f64);
        }
    }

    fn set_cluster(&self, cluster: &ClusterSample) {
        for (metric, number) in [
            (&catalog::CLUSTER_MEMBERS, cluster.members),
            (&catalog::CLUSTER_MEMBERS_ALIVE, cluster.members_alive),
            (&catalog::CLUSTER_SERVING, cluster.serving.into()),
            (&catalog::CLUSTER_LEADER, cluster.leads.into()),
            (&catalog::CLUSTER_TERM, cluster.term),
            (&catalog::CLUSTER_VERSION, cluster.version),
            (&catalog::CLUSTER_GENERATION, cluster.generation),
            (&catalog::CLUSTER_SLOTS, cluster.slots_owned),
            (&catalog::CLUSTER_MOVING, cluster.moves_active),
        ] {
            self.gauge(metric, &[], number as f64);
        }
        self.gauge(&catalog::CLUSTER_LEASE, &[], cluster.lease_seconds);
        for (reason, count) in &cluster.dropped {
            self.counter(&catalog::CLUSTER_DROPPED, &[reason], *count);
        }
    }

    fn set_cluster_counts(&self, counts: &ClusterCounts) {
        self.gauge(&catalog::GATEWAY_LINKS, &[], counts.gateway_links as f64);
        for (metric, count) in [
            (&catalog::CLUSTER_GRANTS, counts.grants_given),
            (&catalog::CLUSTER_GIVEN_UP, counts.nodes_given_up),
            (&catalog::CLUSTER_LEADERSHIPS, counts.leaderships),
            (&catalog::CLUSTER_HELD, counts.holds),
            (&catalog::CLUSTER_MOVED_KEYS, counts.moved_keys),
            (&catalog::CLUSTER_MOVED_BYTES, counts.moved_bytes),
            (&catalog::GATEWAY_RETRIES, counts.gateway_retries),
            (&catalog::GATEWAY_ERRORS, counts.gateway_errors),
        ] {
            self.counter(metric, &[], count);
        }
        for (metric, label, count) in [
            (&catalog::CLUSTER_LEASES, "granted", counts.leases_granted),
            (&catalog::CLUSTER_LEASES, "refused", counts.leases_refused),
            (&catalog::CLUSTER_LEASES, "expired", counts.leases_expired),
            (&catalog::CLUSTER_REFUSED, "moved", counts.redirects),
            (&catalog::CLUSTER_REFUSED, "crossslot", counts.crossslots),
            (&catalog::CLUSTER_REFUSED, "down", counts.refusals),
            (&catalog::CLUSTER_MOVES, "committed", counts.moves_committed),
            (&catalog::CLUSTER_MOVES, "cancelled", counts.moves_cancelled),
            (&catalog::CLUSTER_GOSSIP_MESSAGES, "sent", counts.gossip_sent_messages),
            (&catalog::CLUSTER_GOSSIP_MESSAGES, "received", counts.gossip_received_messages),
            (&catalog::CLUSTER_GOSSIP_BYTES, "sent", counts.gossip_sent_bytes),
            (&catalog::CLUSTER_GOSSIP_BYTES, "received", counts.gossip_received_bytes),
            (&catalog::CLUSTER_PUBLISH, "sent", counts.publish_sent),
            (&catalog::CLUSTER_PUBLISH, "received", counts.publish_received),
            (&catalog::CLUSTER_PUBLISH, "dropped", counts.publish_dropped),
            (&catalog::CLUSTER_PUBLISH, "refused", counts.publish_refused),
            (&catalog::GATEWAY_REQUESTS, "local", counts.gateway_local),
            (&catalog::GATEWAY_REQUESTS, "remote", counts.gateway_remote),
        ] {
            self.counter(metric, &[label], count);
        }
    }

    fn counter(&self, metric: &Metric, values: &[&str], count: u64) {
        self.recorder.register_counter(&key(metric, values), &ORIGIN).absolute(count);
    }

    fn gauge(&self, metric: &Metric, values: &[&str], number: f64) {
        self.recorder.register_gauge(&key(metric, values), &ORIGIN).set(number);
    }
}

fn key(metric: &Metric, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let pairs = metric.labels.iter().zip(values);
    let labels: Vec<Label> = pairs.map(|(label, value)| Label::new(*label, String::from(*value))).collect();
    Key::from_parts(metric.name, labels)
}

fn append_seconds(page: &mut Page, sample: &Sample) {
    page.family(&catalog::CPU);
    page.number(&catalog::CPU, &["user"], sample.cpu.user);
    page.number(&catalog::CPU, &["system"], sample.cpu.system);
    page.family(&catalog::WORKER_BUSY);
    for (number, worker) in sample.workers.iter().enumerate() {
        page.number(&catalog::WORKER_BUSY, &[&number.to_string()], worker.busy_ns as f64 / 1e9);
    }
}

fn append_durations(page: &mut Page, sample: &Sample) {
    page.family(&catalog::COMMAND_DURATION);
    for (name, row) in sample.command_names.iter().zip(&sample.totals.commands) {
        if !row.latency.is_empty() {
            page.durations(&catalog::COMMAND_DURATION, &[name], &row.latency);
        }
    }
    if let Some(cluster) = &sample.cluster {
        page.family(&catalog::CLUSTER_HOLD);
        page.durations(&catalog::CLUSTER_HOLD, &[], &cluster.holds);
    }
}
