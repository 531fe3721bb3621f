//! The table of parameters: the one place where a parameter is named, described, bounded and given its default.
//!
//! Each row is a documentation comment, a field, its type and the row's properties; the macro below makes of them the
//! struct [`Config`] and the list [`PARAMS`]. A parameter that is accepted without effect is marked `.ineffective()`
//! and its documentation says what takes its place.

use crate::base::limits::{CLUSTER_NODES_MAX, DATABASES_MAX, SHARDS_MAX};
use crate::config::choices::{Allowed, AppendFsync, EvictionPolicy, KeyspaceEvents, LogFormat, LogLevel};
use crate::config::container;
use crate::config::param::{Access, Param};
use crate::config::types::{
    BindAddress, ClientsLimit, FileMode, Fixed, MemoryLimit, OutputLimits, Percentiles, Secret, Value,
};

/// Largest number that Redis takes for most integers.
const INT_MAX: i64 = i32::MAX as i64;
/// Largest number of bytes that a size may say.
const SIZE_MAX: u64 = i64::MAX as u64;
/// Smallest bound for the query buffer and for a bulk: one MiB, as in Redis.
const BULK_LIMIT_MIN: u64 = 1 << 20;
/// Smallest bound for the memory of a worker's scripts, in bytes.
const LUA_LIMIT_MIN: u64 = 1 << 20;
/// Shards for each worker when `shards` is 0: enough that two workers seldom want the same lock.
const SHARDS_PER_WORKER: usize = 8;
/// Memory that a shard has at least when `shards` is 0.
const SHARD_BYTES_MIN: u64 = 4 << 20;

macro_rules! parameters {
    ($( $section:literal { $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $row:expr; )+ } )+) => {
        /// All parameters with their values, one typed field each; an immutable snapshot once it is published.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config { $($( $(#[doc = $doc])+ pub $field: $type, )+)+ }

        /// The table, in the order of the configuration file.
        pub static PARAMS: &[Param] = &[$($(
            $row.placed($section, concat!($($doc),+), Access {
                assign: |config, kind, text| config.$field.assign(kind, text),
                print: |config, kind| config.$field.print(kind),
                toml: |config, kind| config.$field.toml(kind),
                expects: |kind| <$type as Value>::expects(kind),
            }),
        )+)+];

        impl Config {
            /// The types' own defaults, which are not the parameters' defaults.
            fn blank() -> Self {
                Self { $($( $field: <$type>::default(), )+)+ }
            }
        }
    };
}

parameters! {
    "Network" {
        /// Addresses to listen on. An address with `-` before it may be missing on this machine.
        bind: Vec<BindAddress> = Param::plain("bind", "127.0.0.1 -::1").many();
        /// TCP port for clients; 0 for none where there is a unix socket, else for any free port.
        port: u16 = Param::integer("port", 0, 65535, "6379");
        /// Path of a unix socket for clients; empty for none.
        unixsocket: String = Param::plain("unixsocket", "");
        /// Permission bits of the unix socket; 0 leaves them to the process's mask.
        unixsocketperm: FileMode = Param::plain("unixsocketperm", "0");
        /// Connections that the kernel keeps waiting to be accepted.
        tcp_backlog: u64 = Param::integer("tcp-backlog", 1, INT_MAX, "511");
        /// Seconds of silence after which the kernel probes a client's connection; 0 for never.
        tcp_keepalive: u64 = Param::integer("tcp-keepalive", 0, INT_MAX, "300").mutable();
        /// Seconds after which an idle client is closed; 0 for never.
        timeout: u64 = Param::integer("timeout", 0, INT_MAX, "0").mutable();
        /// Clients at most; further ones get an error and are closed.
        maxclients: u64 = Param::integer("maxclients", 1, 4_294_967_295, "10000").mutable();
        /// Whether clients from other machines are refused as long as no password is set and no address was chosen.
        protected_mode: bool = Param::plain("protected-mode", "yes").mutable();
        /// Password that clients must give; empty for none.
        requirepass: Secret = Param::plain("requirepass", "").mutable().secret();
    }
    "Threads" {
        /// Worker threads; 0 for one on each core that the container's CPU quota pays for.
        threads: u64 = Param::integer("threads", 0, 1024, "0");
        /// Parts of the store, each with its own lock, rounded up to a power of two; 0 for eight to a thread.
        shards: u64 = Param::integer("shards", 0, SHARDS_MAX as i64, "0");
        /// Logical databases that SELECT can choose; a member of a cluster has one.
        databases: u64 = Param::integer("databases", 1, DATABASES_MAX as i64, "16");
    }
    "Memory" {
        /// Memory for data and clients: bytes, or a percentage of the container's limit (of the machine's memory
        /// where
        /// there is no limit). 0 for no bound. When it is reached, `maxmemory-policy` decides what goes.
        maxmemory: MemoryLimit = Param::plain("maxmemory", "75%").mutable();
        /// Which keys go when memory is full. Behind the `lru` names stands Adaptive S3-FIFO, behind `lfu` S3-FIFO.
        maxmemory_policy: EvictionPolicy = Param::plain("maxmemory-policy", "allkeys-lru").mutable();
        /// Whether FLUSHALL and FLUSHDB without an argument free memory in the background.
        lazyfree_lazy_user_flush: bool = Param::plain("lazyfree-lazy-user-flush", "no").mutable();
    }
    "Data types" {
        /// Fields up to which a hash is kept packed.
        hash_max_listpack_entries: u64 = Param::integer("hash-max-listpack-entries", 0, i64::MAX, "512")
            .alias(&["hash-max-ziplist-entries"]).mutable();
        /// Longest field or value, in bytes, of a packed hash.
        hash_max_listpack_value: u64 = Param::memory("hash-max-listpack-value", 0, SIZE_MAX, "64")
            .alias(&["hash-max-ziplist-value"]).mutable();
        /// Elements of one node of a list; -1 to -5 stand for nodes of 4 to 64 KiB.
        list_max_listpack_size: i64 = Param::integer("list-max-listpack-size", i32::MIN as i64, INT_MAX, "-2")
            .alias(&["list-max-ziplist-size"]).mutable();
        /// Members up to which a set of integers is kept as one.
        set_max_intset_entries: u64 =
            Param::integer("set-max-intset-entries", 0, i64::MAX, "512").mutable();
        /// Members up to which a set is kept packed.
        set_max_listpack_entries: u64 =
            Param::integer("set-max-listpack-entries", 0, i64::MAX, "128").mutable();
        /// Longest member, in bytes, of a packed set.
        set_max_listpack_value: u64 =
            Param::memory("set-max-listpack-value", 0, SIZE_MAX, "64").mutable();
        /// Members up to which a sorted set is kept packed.
        zset_max_listpack_entries: u64 = Param::integer("zset-max-listpack-entries", 0, i64::MAX, "128")
            .alias(&["zset-max-ziplist-entries"]).mutable();
        /// Longest member, in bytes, of a packed sorted set.
        zset_max_listpack_value: u64 = Param::memory("zset-max-listpack-value", 0, SIZE_MAX, "64")
            .alias(&["zset-max-ziplist-value"]).mutable();
        /// Bytes of one node of a stream; 0 for no bound.
        stream_node_max_bytes: u64 =
            Param::memory("stream-node-max-bytes", 0, SIZE_MAX, "4096").mutable();
        /// Entries of one node of a stream; 0 for no bound.
        stream_node_max_entries: u64 =
            Param::integer("stream-node-max-entries", 0, i64::MAX, "100").mutable();
        /// Bytes up to which a HyperLogLog is kept sparse.
        hll_sparse_max_bytes: u64 =
            Param::memory("hll-sparse-max-bytes", 0, SIZE_MAX, "3000").mutable();
    }
    "Scripts" {
        /// Milliseconds after which a script that still runs is late: commands that need its keys, and commands without
        /// keys, are answered BUSY from then on, and SCRIPT KILL ends it unless it has written. 0 for never.
        busy_reply_threshold: u64 = Param::integer("busy-reply-threshold", 0, i64::MAX, "5000")
            .alias(&["lua-time-limit"]).mutable();
        /// Memory that the scripts of one worker may take, beyond which a script ends with an error.
        lua_memory_limit: u64 = Param::memory("lua-memory-limit", LUA_LIMIT_MIN, SIZE_MAX, "64mb").mutable();
    }
    "Stopping" {
        /// Seconds that a stop waits for clients to read their replies before it closes them.
        shutdown_timeout: u64 = Param::integer("shutdown-timeout", 0, INT_MAX, "10").mutable();
    }
    "Limits for a client" {
        /// Unread requests that a client may have; more closes it.
        client_query_buffer_limit: u64 =
            Param::memory("client-query-buffer-limit", BULK_LIMIT_MIN, SIZE_MAX, "1gb").mutable();
        /// Longest single argument of a request.
        proto_max_bulk_len: u64 = Param::memory("proto-max-bulk-len", BULK_LIMIT_MIN, SIZE_MAX, "512mb").mutable();
        /// Unsent replies that a client may have, by class: closed when over `hard` bytes, or over `soft` bytes for
        /// `seconds`. 0 for no bound.
        client_output_buffer_limit: OutputLimits = Param::plain(
            "client-output-buffer-limit",
            "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60",
        ).mutable().many();
        /// Unsent replies above which a client's further requests wait until it has read; 0 for no bound.
        client_output_pause: u64 = Param::memory("client-output-pause", 0, SIZE_MAX, "1mb").mutable();
        /// Keys of which it is remembered which clients have them in their caches; beyond that the oldest are
        /// forgotten, and their clients told to drop them. 0 for no bound.
        tracking_table_max_keys: u64 = Param::integer("tracking-table-max-keys", 0, i64::MAX, "1000000").mutable();
    }
    "Cluster" {
        /// Whether this server is a member of a cluster; it is, too, if `cluster-seeds` names anybody.
        cluster_enabled: bool = Param::plain("cluster-enabled", "no");
        /// Nodes to ask for the cluster: addresses or host names (all their addresses count), with the port where it
        /// is not this node's own `cluster-port`. They may name this node.
        cluster_seeds: Vec<String> = Param::plain("cluster-seeds", "").many();
        /// Nodes that found a new cluster together; whoever finds a founded one of its name joins that instead.
        cluster_expect: u64 = Param::integer("cluster-expect", 1, CLUSTER_NODES_MAX as i64, "1");
        /// Name of the cluster: nodes with different names ignore each other.
        cluster_name: String = Param::plain("cluster-name", "larder");
        /// Secret that all nodes share; it encrypts and authenticates what they say to each other.
        cluster_secret: Secret = Param::plain("cluster-secret", "").secret();
        /// Whether nodes may talk without a secret over addresses other than loopback.
        cluster_allow_no_secret: bool = Param::plain("cluster-allow-no-secret", "no");
        /// TCP port for the other nodes; 0 for `port` + 10000.
        cluster_port: u16 = Param::integer("cluster-port", 0, 65535, "0");
        /// Addresses for the other nodes; empty for those of `bind`.
        cluster_bind: Vec<BindAddress> = Param::plain("cluster-bind", "").many();
        /// Address that clients and nodes are told to reach this node at; empty for the one that others see.
        cluster_announce_ip: String = Param::plain("cluster-announce-ip", "");
        /// Client port that is announced; 0 for `port`.
        cluster_announce_port: u16 = Param::integer("cluster-announce-port", 0, 65535, "0");
        /// Port for nodes that is announced; 0 for `cluster-port`.
        cluster_announce_bus_port: u16 = Param::integer("cluster-announce-bus-port", 0, 65535, "0");
        /// Host name that is announced beside the address; empty for none.
        cluster_announce_hostname: String = Param::plain("cluster-announce-hostname", "");
        /// TCP port for clients outside the cluster's network: they are told the outside addresses of all nodes; 0 for
        /// none.
        cluster_outside_port: u16 = Param::integer("cluster-outside-port", 0, 65535, "0");
        /// Address or host name at which clients of `cluster-outside-port` reach this node; empty if they reach it as
        /// those inside do.
        cluster_announce_outside_host: String = Param::plain("cluster-announce-outside-host", "");
        /// Port at which they reach it; 0 for `cluster-outside-port`.
        cluster_announce_outside_port: u16 = Param::integer("cluster-announce-outside-port", 0, 65535, "0");
        /// Failure domain of this node, such as a rack or zone; empty for none.
        cluster_zone: String = Param::plain("cluster-zone", "");
        /// Share of slots relative to other nodes'; 0 for a node that only votes, -1 for one by `maxmemory`.
        cluster_weight: i64 = Param::integer("cluster-weight", -1, 1 << 40, "-1");
        /// Milliseconds without the leader's lease after which this node stops answering, and, a little later, is given
        /// up by the others.
        cluster_node_timeout: u64 = Param::integer("cluster-node-timeout", 500, 60_000, "2000");
        /// Seconds that a stopping node takes to give its keys to the others; 0 for not at all.
        cluster_drain_timeout: u64 = Param::integer("cluster-drain-timeout", 0, INT_MAX, "30").mutable();
        /// Directory for what a node must remember over a restart: its name and the agreed slot table, never keys.
        /// Empty for none: it comes back as a new node.
        dir: String = Param::plain("dir", "");
        /// TCP port for clients that know no clusters: every key is served there, by whichever node; 0 for none.
        gateway_port: u16 = Param::integer("gateway-port", 0, 65535, "0");
    }
    "Observation" {
        /// What is logged: this level and all that matter more. `trace`, `info`, `warn` and `off` are understood too.
        loglevel: LogLevel = Param::plain("loglevel", "notice").mutable();
        /// Log lines for people, or one JSON object a line.
        logformat: LogFormat = Param::plain("logformat", "text");
        /// File that log lines are appended to; empty for the standard output.
        logfile: String = Param::plain("logfile", "");
        /// HTTP port for Prometheus (`/metrics`) and for probes (`/healthz`, `/readyz`); 0 for none.
        metrics_port: u16 = Param::integer("metrics-port", 0, 65535, "9121");
        /// Addresses of the HTTP port.
        metrics_bind: Vec<BindAddress> = Param::plain("metrics-bind", "127.0.0.1").many();
        /// Commands that take at least this many microseconds enter the slow log; 0 for all, -1 for none.
        slowlog_log_slower_than: i64 = Param::integer("slowlog-log-slower-than", -1, i64::MAX, "10000").mutable();
        /// Entries that the slow log keeps.
        slowlog_max_len: u64 = Param::integer("slowlog-max-len", 0, i64::MAX, "128").mutable();
        /// Milliseconds from which on an event enters the latency monitor; 0 switches it off.
        latency_monitor_threshold: u64 = Param::integer("latency-monitor-threshold", 0, i64::MAX, "0").mutable();
        /// Whether a latency histogram is kept for each command.
        latency_tracking: bool = Param::plain("latency-tracking", "yes").mutable();
        /// Percentiles of the commands' latencies that INFO shows.
        latency_tracking_info_percentiles: Percentiles =
            Param::plain("latency-tracking-info-percentiles", "50 99 99.9").mutable().many();
        /// Who may use DEBUG: nobody, everybody, or clients on this machine.
        enable_debug_command: Allowed = Param::plain("enable-debug-command", "no");
    }
    "Accepted for clients and tools, without effect" {
        /// No effect: no policy samples; `lru` and `lfu` keep queues, `ttl` finds the earliest, `random` draws one.
        maxmemory_samples: u64 = Param::integer("maxmemory-samples", 1, INT_MAX, "5").mutable().ineffective();
        /// No effect: a write evicts in proportion to what it adds; background work does the rest.
        maxmemory_eviction_tenacity: u64 =
            Param::integer("maxmemory-eviction-tenacity", 0, 100, "10").mutable().ineffective();
        /// No effect: the work grows by itself with the number of expired keys, in bounded slices.
        active_expire_effort: u64 = Param::integer("active-expire-effort", 1, 10, "1").mutable().ineffective();
        /// No effect: background work comes as often as there is some, in bounded slices.
        hz: u64 = Param::integer("hz", 1, 500, "10").mutable().ineffective();
        /// Which keyspace events are published: `K` by key, `E` by event, then classes out of `g$lshzxetdmn` or `A`.
        /// While nobody is subscribed to them they cost nothing.
        notify_keyspace_events: KeyspaceEvents = Param::plain("notify-keyspace-events", "").mutable();
        /// No effect: eviction by frequency counts to three, without a logarithm.
        lfu_log_factor: u64 = Param::integer("lfu-log-factor", 0, INT_MAX, "10").mutable().ineffective();
        /// No effect: eviction by frequency ages with the queue, not with the clock.
        lfu_decay_time: u64 = Param::integer("lfu-decay-time", 0, INT_MAX, "1").mutable().ineffective();
        /// No effect: clients are bounded one by one, never evicted to make room for data.
        maxmemory_clients: ClientsLimit = Param::plain("maxmemory-clients", "0").mutable().ineffective();
        /// No effect: values are always freed outside the lock, big ones in the background.
        lazyfree_lazy_eviction: bool = Param::plain("lazyfree-lazy-eviction", "no").mutable().ineffective();
        /// No effect: values are always freed outside the lock, big ones in the background.
        lazyfree_lazy_expire: bool = Param::plain("lazyfree-lazy-expire", "no").mutable().ineffective();
        /// No effect: values are always freed outside the lock, big ones in the background.
        lazyfree_lazy_server_del: bool = Param::plain("lazyfree-lazy-server-del", "no").mutable().ineffective();
        /// No effect: values are always freed outside the lock, big ones in the background.
        lazyfree_lazy_user_del: bool = Param::plain("lazyfree-lazy-user-del", "no").mutable().ineffective();
        /// No effect: the table grows and shrinks without a pause, so there is nothing to spread.
        activerehashing: bool = Param::plain("activerehashing", "yes").mutable().ineffective();
        /// No effect: the rate of background work is `hz`, however many clients there are.
        dynamic_hz: bool = Param::plain("dynamic-hz", "yes").mutable().ineffective();
        /// No effect: lists are not compressed.
        list_compress_depth: u64 = Param::integer("list-compress-depth", 0, INT_MAX, "0").mutable().ineffective();
        /// No effect: nodes do not replicate in the way of Redis.
        replica_read_only: bool = Param::plain("replica-read-only", "yes")
            .alias(&["slave-read-only"]).mutable().ineffective();
        /// No effect: nothing is saved in the background.
        stop_writes_on_bgsave_error: bool =
            Param::plain("stop-writes-on-bgsave-error", "yes").mutable().ineffective();
        /// No effect: there is no append-only file to flush.
        appendfsync: AppendFsync = Param::plain("appendfsync", "everysec").mutable().ineffective();
        /// Always `no`: there is no append-only file.
        appendonly: Fixed = Param::only("appendonly", "no", "a cache keeps no append-only file").mutable();
        /// Always empty: nothing is saved at intervals.
        save: Fixed = Param::only("save", "", "a cache saves nothing at intervals").mutable().many();
        /// Always `no`: the allocator defragments by itself.
        activedefrag: Fixed = Param::only("activedefrag", "no", "the allocator defragments by itself").mutable();
        /// Always empty: nodes do not replicate in the way of Redis.
        replicaof: Fixed = Param::only("replicaof", "", "nodes do not replicate in the way of Redis")
            .alias(&["slaveof"]).many();
        /// Always `no`: let a supervisor or a container run the server in the background.
        daemonize: Fixed = Param::only("daemonize", "no", "let a supervisor or a container run it in the background");
    }
}

impl Default for Config {
    /// Every parameter at its default.
    fn default() -> Self {
        let mut config = Self::blank();
        for param in PARAMS {
            if let Err(why) = param.assign(&mut config, param.default) {
                // A percentage on a machine that tells no memory is the one default that can fail; no bound then.
                debug_assert!(param.default.ends_with('%'), "{}: {why}", param.name);
            }
        }
        config
    }
}

impl Config {
    /// Worker threads to start: `threads`, or the cores that this process may use.
    pub fn worker_count(&self) -> usize {
        match self.threads {
            0 => container::cores(),
            threads => threads as usize,
        }
    }

    /// Sets what follows from the other parameters: seeds make a member of a cluster, which has one database.
    pub fn reconcile(&mut self) {
        if self.is_clustered() {
            self.cluster_enabled = true;
            self.databases = 1;
        }
    }

    /// Whether this server is, or wants to be, a member of a cluster.
    pub fn is_clustered(&self) -> bool {
        self.cluster_enabled || !self.cluster_seeds.is_empty()
    }

    /// Shards of the store: a power of two, at most [`SHARDS_MAX`]; by default no more than leave each enough memory to
    /// choose well what to evict (below some 4,000 entries a shard's policy misses up to 3 % more).
    pub fn shard_count(&self) -> usize {
        let wanted = match self.shards {
            0 => self.worker_count() * SHARDS_PER_WORKER,
            shards => return (shards as usize).next_power_of_two().min(SHARDS_MAX),
        };
        let by_memory = match self.maxmemory.bytes() {
            0 => SHARDS_MAX,
            bytes => usize::try_from(bytes / SHARD_BYTES_MIN).unwrap_or(SHARDS_MAX).max(1),
        };
        let most = by_memory.min(SHARDS_MAX);
        wanted.next_power_of_two().min(1 << most.ilog2())
    }

    /// The table of parameters in Markdown, for the README.
    pub fn markdown() -> String {
        let mut text = String::new();
        let mut section = "";
        for param in PARAMS {
            if param.section != section {
                section = param.section;
                text.push_str(&format!(
                    "\n#### {section}\n\n| parameter | default | at run time | values | what it does |\n|---|---|---|---|---|\n"
                ));
            }
            let names: Vec<String> = param.names().map(|name| format!("`{name}`")).collect();
            let default = match param.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            text.push_str(&format!(
                "| {} | {default} | {} | {} | {} |\n",
                names.join(", "),
                if param.mutable { "yes" } else { "no" },
                param.expects(),
                param.doc(),
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, PARAMS};
    use std::collections::HashSet;

    #[test]
    fn rows_are_complete_and_unique() {
        let mut seen = HashSet::new();
        for param in PARAMS {
            for name in param.names() {
                assert!(seen.insert(name), "{name} twice");
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            }
            assert!(param.doc().ends_with('.'), "{}: say what it does", param.name);
            assert!(!param.expects().is_empty() && !param.section.is_empty());
            let says_so = param.doc().starts_with("No effect") || param.doc().starts_with("Always");
            assert_eq!(param.effective, !says_so, "{}: doc and row disagree", param.name);
        }
    }

    #[test]
    fn every_default_parses_and_prints_to_something_that_parses_to_the_same() {
        let defaults = Config::default();
        for param in PARAMS {
            let mut config = Config::blank();
            param.assign(&mut config, param.default).expect(param.name);
            assert_eq!(param.print(&config), param.print(&defaults), "{}", param.name);
            let printed = param.print(&config);
            param.assign(&mut config, &printed).expect(param.name);
            assert_eq!(param.print(&config), printed, "{}", param.name);
        }
    }

    #[test]
    fn zero_means_one_thread_a_core_and_shards_are_a_power_of_two() {
        let mut config = Config::default();
        assert!(config.worker_count() >= 1);
        assert!(config.shard_count().is_power_of_two());
        config.threads = 3;
        config.shards = 9;
        assert_eq!((config.worker_count(), config.shard_count()), (3, 16));
        config.shards = 0;
        assert_eq!(config.shard_count(), 32);
    }

    #[test]
    fn the_readme_table_names_every_parameter() {
        let text = Config::markdown();
        for param in PARAMS {
            assert!(text.contains(&format!("`{}`", param.name)));
        }
    }
}
