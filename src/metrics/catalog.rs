//! Every metric that the page for Prometheus has: name, kind, labels and help. A name stands nowhere else.
//!
//! Names follow Prometheus's conventions: prefix `larder_`, base units (seconds, bytes) in the name, `_total` on
//! counters and on nothing else.

/// What a metric's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Kind {
    /// As the text format writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One family of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Full name, unit included.
    pub name: &'static str,
    /// What its numbers mean.
    pub kind: Kind,
    /// The labels of its series, in order.
    pub labels: &'static [&'static str],
    /// What it counts, in a sentence.
    pub help: &'static str,
}

macro_rules! catalog {
    ($( $constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal; )+) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )+
        /// All of them.
        pub const METRICS: &[Metric] = &[$( $constant ),+];
    };
}

catalog! {
    BUILD_INFO = Gauge "larder_build_info" ["version"] "Always 1; the label says which version is running.";
    UPTIME = Gauge "larder_uptime_seconds" [] "Time since the start of the process.";
    READY = Gauge "larder_ready" [] "Whether the server takes requests, as /readyz says: 1 or 0.";
    HITS = Counter "larder_keyspace_hits_total" [] "Reads of keys that were there.";
    MISSES = Counter "larder_keyspace_misses_total" [] "Reads of keys that were not there.";
    EVICTED = Counter "larder_evicted_keys_total" ["policy"] "Keys removed to make room, by the policy that chose them.";
    EXPIRED = Counter "larder_expired_keys_total" [] "Keys removed because their time to live was over.";
    KEYS = Gauge "larder_database_keys" ["db"] "Keys in a logical database.";
    EXPIRING_KEYS = Gauge "larder_database_expiring_keys" ["db"] "Keys with a time to live in a logical database.";
    MEMORY_USED = Gauge "larder_memory_used_bytes" [] "Memory that counts against the limit.";
    MEMORY_LIMIT = Gauge "larder_memory_limit_bytes" [] "The parameter maxmemory; 0 for no limit.";
    MEMORY_HELD_BACK = Gauge "larder_memory_held_back_bytes" []
        "What entries do not get of maxmemory, as the process holds too much physical memory beside it.";
    MEMORY_RESIDENT = Gauge "larder_memory_resident_bytes" [] "Physical memory that the process holds.";
    CPU = Counter "larder_cpu_seconds_total" ["mode"]
        "Processor time taken by the process: in its own code (user) and in the kernel for it (system).";
    CLIENTS = Gauge "larder_connected_clients" [] "Connections that are open.";
    CLIENTS_LIMIT = Gauge "larder_connected_clients_limit" [] "The parameter maxclients.";
    BLOCKED = Gauge "larder_blocked_clients" [] "Clients that wait in a blocking command, for the end of a pause, or for a script of theirs that takes long.";
    ACCEPTED = Counter "larder_connections_accepted_total" [] "Connections accepted.";
    REJECTED = Counter "larder_connections_rejected_total" []
        "Connections refused, because there were too many or protected mode forbade them.";
    LIMIT_CLOSED = Counter "larder_clients_limit_closed_total" ["limit"]
        "Clients closed because they went over a limit: unsent replies (output) or unread requests (query).";
    RECEIVED = Counter "larder_network_received_bytes_total" [] "Bytes read from clients.";
    SENT = Counter "larder_network_sent_bytes_total" [] "Bytes written to clients.";
    ERROR_REPLIES = Counter "larder_error_replies_total" [] "Error replies sent.";
    COMMANDS = Counter "larder_commands_total" ["command"] "Executions of a command.";
    COMMANDS_FAILED = Counter "larder_commands_failed_total" ["command"]
        "Executions of a command that answered with an error.";
    COMMANDS_REJECTED = Counter "larder_commands_rejected_total" ["command"]
        "Commands refused before they were executed.";
    COMMAND_DURATION = Histogram "larder_command_duration_seconds" ["command"]
        "Time that a command took to execute, without waiting for the network.";
    WORKER_BUSY = Counter "larder_worker_busy_seconds_total" ["worker"]
        "Time that a worker spent on requests; its rate is the worker's load, from 0 to 1.";
    WORKER_COMMANDS = Counter "larder_worker_commands_total" ["worker"] "Commands that a worker executed.";
    WORKER_CONNECTIONS = Gauge "larder_worker_connections" ["worker"] "Connections that a worker serves.";
    TRACKING_CLIENTS = Gauge "larder_tracking_clients" [] "Clients that are told when keys change (CLIENT TRACKING).";
    TRACKING_KEYS = Gauge "larder_tracking_keys" [] "Keys of which it is remembered which clients have read them.";
    TRACKING_ITEMS = Gauge "larder_tracking_items" [] "Clients that have read a tracked key, summed over these keys.";
    TRACKING_PREFIXES = Gauge "larder_tracking_prefixes" [] "Prefixes that clients in broadcasting mode want to hear of.";
    TRACKING_BYTES = Gauge "larder_tracking_bytes" [] "Memory of the table of tracked keys, beside maxmemory.";
    SLOWLOG_LENGTH = Gauge "larder_slowlog_length" [] "Entries in the slow log.";
    SCRIPTS = Counter "larder_scripts_total" ["kind"]
        "Scripts (EVAL and its like: script) and functions (FCALL: function) that were run.";
    SCRIPTS_STOPPED = Counter "larder_scripts_stopped_total" ["reason"]
        "Scripts and functions that did not run to their end: killed by command (killed), over lua-memory-limit (memory), or because another script kept a key that they needed after they had written (conflict).";
    SCRIPTS_LATE = Gauge "larder_scripts_late" [] "Scripts and functions that run, and have for longer than busy-reply-threshold.";
    SCRIPTS_LONGEST = Gauge "larder_scripts_longest_seconds" []
        "For how long the script or function has run that began first; 0 if none has run for a while.";
    SCRIPTS_CACHED = Gauge "larder_scripts_cached" [] "Scripts that EVALSHA can run.";
    FUNCTIONS = Gauge "larder_functions" [] "Functions of the libraries that are loaded.";
    SCRIPTS_MEMORY = Gauge "larder_scripts_memory_bytes" ["part"]
        "Memory for scripts and functions, beside maxmemory: their interpreters (interpreters) and texts (texts).";
    PUBSUB_NAMES = Gauge "larder_pubsub_names" ["kind"]
        "Names that somebody is subscribed to: of channels (channel), patterns (pattern) or shard channels (shard).";
    PUBSUB_CLIENTS = Gauge "larder_pubsub_clients" [] "Clients that are subscribed to anything.";
    PUBSUB_PUBLISHED = Counter "larder_pubsub_published_messages_total" []
        "Messages published to this node's subscribers, keyspace events among them, whether or not there were any.";
    PUBSUB_DELIVERED = Counter "larder_pubsub_delivered_messages_total" []
        "Messages queued to a subscriber, counted as often as somebody got them.";
    PUBSUB_DROPPED = Counter "larder_pubsub_dropped_clients_total" []
        "Subscribers closed because they did not read what they were sent.";
    CLUSTER_MEMBERS = Gauge "larder_cluster_members" [] "Members of the cluster by the slot table (members of a cluster only, like all that follow).";
    CLUSTER_MEMBERS_ALIVE = Gauge "larder_cluster_members_alive" [] "Members that this node hears of, itself among them.";
    CLUSTER_SERVING = Gauge "larder_cluster_serving" [] "Whether this node holds a lease and answers commands on keys: 1 or 0.";
    CLUSTER_LEADER = Gauge "larder_cluster_leader" [] "Whether this node leads those who vote on the slot table: 1 or 0.";
    CLUSTER_TERM = Gauge "larder_cluster_term" [] "Term of the leader.";
    CLUSTER_VERSION = Gauge "larder_cluster_table_version" [] "Version of the slot table that this node goes by.";
    CLUSTER_GENERATION = Gauge "larder_cluster_table_generation" [] "Times that the cluster was formed anew by an operator.";
    CLUSTER_SLOTS = Gauge "larder_cluster_slots_owned" [] "Slots that this node owns.";
    CLUSTER_LEASE = Gauge "larder_cluster_lease_seconds" [] "Time until this node's lease ends unless it is renewed.";
    CLUSTER_LEASES = Counter "larder_cluster_leases_total" ["outcome"]
        "Leases of this node: granted, refused (or not answered), expired.";
    CLUSTER_GRANTS = Counter "larder_cluster_grants_total" [] "Leases that this node granted to others and itself, as leader.";
    CLUSTER_GIVEN_UP = Counter "larder_cluster_nodes_given_up_total" [] "Nodes whose slots this node gave to others, as leader.";
    CLUSTER_LEADERSHIPS = Counter "larder_cluster_leaderships_total" [] "Times that this node became leader.";
    CLUSTER_REFUSED = Counter "larder_cluster_refused_commands_total" ["reason"]
        "Commands answered by MOVED (moved), CROSSSLOT (crossslot) or CLUSTERDOWN (down).";
    CLUSTER_HELD = Counter "larder_cluster_held_commands_total" [] "Commands that waited for a slot whose last keys were on their way.";
    CLUSTER_HOLD = Histogram "larder_cluster_hold_seconds" []
        "Time that slots were held for at the end of a move, until the table said who owns them or they were served again.";
    CLUSTER_MOVING = Gauge "larder_cluster_moves_active" [] "Moves of slots under way in the whole cluster.";
    CLUSTER_MOVES = Counter "larder_cluster_moves_total" ["outcome"]
        "Moves that this node was the source of: committed or cancelled.";
    CLUSTER_MOVED_KEYS = Counter "larder_cluster_moved_keys_total" [] "Keys that this node sent to the new owners of their slots.";
    CLUSTER_MOVED_BYTES = Counter "larder_cluster_moved_bytes_total" [] "Bytes that this node sent to the new owners of slots.";
    CLUSTER_GOSSIP_MESSAGES = Counter "larder_cluster_gossip_messages_total" ["direction"] "Messages of gossip: sent or received.";
    CLUSTER_GOSSIP_BYTES = Counter "larder_cluster_gossip_bytes_total" ["direction"] "Bytes of gossip: sent or received.";
    CLUSTER_PUBLISH = Counter "larder_cluster_publish_messages_total" ["outcome"]
        "Messages of PUBLISH between nodes: sent to another node, received, dropped (a node was out of reach or too slow) or refused (no room, or from no member).";
    GATEWAY_REQUESTS = Counter "larder_gateway_requests_total" ["where"]
        "Requests by the gateway, or parts of one: run on this node (local) or sent to another (remote).";
    GATEWAY_RETRIES = Counter "larder_gateway_retries_total" []
        "Requests by the gateway, or parts of one, that were sent once more, because their slot had moved or a node was out of reach.";
    GATEWAY_ERRORS = Counter "larder_gateway_errors_total" []
        "Requests by the gateway, or parts of one, that were given up, because no node could be reached or a link was lost.";
    GATEWAY_LINKS = Gauge "larder_gateway_links" [] "Links of the gateway to other nodes that are open.";
    CLUSTER_DROPPED = Counter "larder_cluster_dropped_total" ["reason"]
        "Links and messages of other nodes that were dropped, such as those with another secret (secret) or of another cluster.";
}

#[cfg(test)]
mod tests {
    use super::{Kind, METRICS};
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_documented_and_by_convention() {
        let mut seen = HashSet::new();
        for metric in METRICS {
            assert!(seen.insert(metric.name), "{} twice", metric.name);
            assert!(metric.name.starts_with("larder_"), "{}", metric.name);
            assert!(metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{}", metric.name);
        }
    }
}
