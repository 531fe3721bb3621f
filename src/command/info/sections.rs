//! The sections of INFO. Each writes its own fields from the facts that were collected once.

use std::sync::atomic::Ordering;

use crate::base::version::{LARDER_VERSION, REDIS_VERSION};
use crate::command::cluster::slots_of;
use crate::command::context::Cx;
use crate::command::info::{Facts, Text};
use crate::command::table;
use crate::config::container;
use crate::hub::clients::{Client, flag};
use crate::hub::pubsub::Kind;
use crate::metrics::{allocator, process};

/// Bytes as people read them: `1.50M`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

pub(super) fn server(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let hub = facts.cx.hub;
    let uptime_seconds = facts.cx.now_ms.saturating_sub(hub.started_ms) / 1000;
    let (clustered, by_gateway) = (facts.cx.in_cluster(), facts.cx.session.gateway);
    let config = facts.cx.worker.config();
    text.field("redis_version", REDIS_VERSION);
    text.field("larder_version", LARDER_VERSION);
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", "0");
    text.field("redis_mode", if clustered { "cluster" } else { "standalone" });
    text.field("os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    text.field("arch_bits", usize::BITS);
    text.field("multiplexing_api", "epoll");
    text.field("process_id", std::process::id());
    text.field("run_id", &hub.run_id);
    text.field("tcp_port", if by_gateway { config.gateway_port } else { config.port });
    text.field("server_time_usec", facts.cx.worker.clock.wall_us());
    text.field("uptime_in_seconds", uptime_seconds);
    text.field("uptime_in_days", uptime_seconds / 86_400);
    text.field("hz", facts.cx.worker.config().hz);
    text.field("configured_hz", facts.cx.worker.config().hz);
    text.field("io_threads_active", 0);
    text.field("worker_threads", hub.workers.len());
    text.field("shards", hub.keyspace.shards());
    text.field("executable", std::env::current_exe().unwrap_or_default().display());
    text.field("config_file", hub.config.file().unwrap_or(std::path::Path::new("")).display());
}

pub(super) fn clients(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let hub = facts.cx.hub;
    let list = hub.clients.list();
    let largest = |bytes: fn(&Client) -> usize| list.iter().map(|client| bytes(client)).max().unwrap_or(0);
    text.field("connected_clients", hub.clients.connected());
    text.field("cluster_connections", 0);
    text.field("maxclients", facts.cx.worker.config().maxclients);
    text.field(
        "client_recent_max_input_buffer",
        largest(|client| client.query_bytes.load(Ordering::Relaxed)),
    );
    text.field("client_recent_max_output_buffer", largest(|client| client.unsent_bytes() as usize));
    text.field("blocked_clients", hub.clients.blocked());
    text.field("tracking_clients", hub.tracking.totals().clients);
    text.field("pubsub_clients", list.iter().filter(|client| client.has(flag::PUBSUB)).count());
    let watching = |client: &Client| client.watched.load(Ordering::Relaxed) > 0;
    text.field("watching_clients", list.iter().filter(|client| watching(client)).count());
    text.field("clients_in_timeout_table", 0);
    let watched = |client: &Client| u64::from(client.watched.load(Ordering::Relaxed));
    text.field("total_watched_keys", list.iter().map(|client| watched(client)).sum::<u64>());
    let (awaited, heard_of_removed) = hub.blocked.keys();
    text.field("total_blocking_keys", awaited);
    text.field("total_blocking_keys_on_nokey", heard_of_removed);
}

/// 0 where there is nothing to divide by.
fn ratio(above: u64, below: u64) -> String {
    format!("{:.2}", if below == 0 { 0.0 } else { above as f64 / below as f64 })
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

fn allocator_fields(text: &mut Text, resident: u64) {
    let jemalloc = allocator::bytes();
    text.field("allocator_allocated", jemalloc.allocated);
    text.field("allocator_active", jemalloc.active);
    text.field("allocator_resident", jemalloc.resident);
    text.field("allocator_frag_ratio", ratio(jemalloc.active, jemalloc.allocated));
    text.field("allocator_frag_bytes", jemalloc.active as i64 - jemalloc.allocated as i64);
    text.field("allocator_rss_ratio", ratio(jemalloc.resident, jemalloc.active));
    text.field("allocator_rss_bytes", jemalloc.resident as i64 - jemalloc.active as i64);
    text.field("rss_overhead_ratio", ratio(resident, jemalloc.resident));
    text.field("rss_overhead_bytes", resident as i64 - jemalloc.resident as i64);
}

pub(super) fn memory(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let hub = facts.cx.hub;
    let keyspace = &hub.keyspace;
    let used = keyspace.counted_bytes();
    let resident = process::resident_bytes();
    let (mut overhead, mut entries) = (0u64, 0u64);
    facts.cx.data.each_shard(|_, shard| {
        for (_, db) in shard.dbs() {
            overhead += db.overhead_bytes() as u64;
            entries += db.entries() as u64;
        }
    });
    let buffers: u64 = hub
        .clients
        .list()
        .iter()
        .map(|client| client.unsent_bytes() + client.query_bytes.load(Ordering::Relaxed) as u64)
        .sum();
    let config = facts.cx.worker.config();
    text.field("used_memory", used);
    text.field("used_memory_human", human(used));
    text.field("used_memory_rss", resident);
    text.field("used_memory_rss_human", human(resident));
    text.field("used_memory_peak", keyspace.peak_bytes());
    text.field("used_memory_peak_human", human(keyspace.peak_bytes()));
    text.field("used_memory_peak_perc", percent(used, keyspace.peak_bytes()));
    text.field("used_memory_overhead", overhead);
    text.field("used_memory_startup", 0);
    text.field("used_memory_dataset", used.saturating_sub(overhead));
    text.field("used_memory_dataset_perc", percent(used.saturating_sub(overhead), used));
    let system = container::memory_bytes().unwrap_or(0);
    text.field("total_system_memory", system);
    text.field("total_system_memory_human", human(system));
    let scripts = &facts.cx.hub.scripts;
    text.field("used_memory_vm_eval", scripts.interpreter_bytes());
    text.field("used_memory_lua", scripts.interpreter_bytes());
    text.field("used_memory_lua_human", human(scripts.interpreter_bytes()));
    text.field("used_memory_scripts_eval", scripts.bytes());
    text.field("number_of_cached_scripts", scripts.len());
    let functions = &hub.functions;
    let libraries = functions.current();
    let texts = scripts.bytes() + libraries.bytes() as u64;
    let interpreters = scripts.interpreter_bytes() + functions.interpreter_bytes();
    text.field("number_of_functions", libraries.functions());
    text.field("number_of_libraries", libraries.len());
    text.field("used_memory_vm_functions", functions.interpreter_bytes());
    text.field("used_memory_vm_total", interpreters);
    text.field("used_memory_vm_total_human", human(interpreters));
    text.field("used_memory_functions", libraries.bytes());
    text.field("used_memory_scripts", texts);
    text.field("used_memory_scripts_human", human(texts));
    text.field("maxmemory", keyspace.limit_bytes());
    text.field("maxmemory_human", human(keyspace.limit_bytes()));
    text.field("maxmemory_policy", config.maxmemory_policy.name());
    text.field("mem_fragmentation_ratio", ratio(resident, used));
    text.field("mem_fragmentation_bytes", resident as i64 - used as i64);
    text.field("mem_reusable_bytes", keyspace.reusable_bytes());
    text.field("mem_held_back_bytes", hub.keyspace.held_back_bytes());
    text.field("mem_not_counted_for_evict", buffers);
    text.field("mem_clients_normal", buffers);
    text.field("mem_clients_slaves", 0);
    text.field("mem_replication_backlog", 0);
    text.field("mem_total_replication_buffers", 0);
    text.field("mem_allocator", "jemalloc");
    text.field("mem_bytes_per_entry", used.checked_div(entries).unwrap_or(0));
    text.field("active_defrag_running", 0);
    text.field("lazyfree_pending_objects", keyspace.drops_pending());
    text.field("lazyfreed_objects", 0);
    allocator_fields(text, resident);
}

pub(super) fn persistence(text: &mut Text, facts: &mut Facts<'_, '_>) {
    text.field("loading", 0);
    text.field("async_loading", 0);
    text.field("rdb_changes_since_last_save", facts.totals.keys_changed);
    text.field("rdb_bgsave_in_progress", 0);
    text.field("rdb_last_save_time", facts.cx.hub.started_ms / 1000);
    text.field("rdb_last_bgsave_status", "ok");
    text.field("rdb_last_bgsave_time_sec", -1);
    text.field("rdb_current_bgsave_time_sec", -1);
    text.field("aof_enabled", 0);
    text.field("aof_rewrite_in_progress", 0);
    text.field("aof_rewrite_scheduled", 0);
    text.field("aof_last_bgrewrite_status", "ok");
    text.field("aof_last_write_status", "ok");
}

pub(super) fn stats(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let hub = facts.cx.hub;
    let recent = &facts.recent;
    let rates = hub.rates.now();
    text.field("total_connections_received", hub.clients.accepted());
    text.field("total_commands_processed", recent.commands_processed);
    text.field("instantaneous_ops_per_sec", rates.commands as u64);
    text.field("total_net_input_bytes", recent.net_input_bytes);
    text.field("total_net_output_bytes", recent.net_output_bytes);
    text.field("total_net_repl_input_bytes", 0);
    text.field("total_net_repl_output_bytes", 0);
    text.field("instantaneous_input_kbps", format_args!("{:.2}", rates.input_bytes / 1024.0));
    text.field("instantaneous_output_kbps", format_args!("{:.2}", rates.output_bytes / 1024.0));
    text.field("rejected_connections", hub.clients.rejected());
    text.field("sync_full", 0);
    text.field("sync_partial_ok", 0);
    text.field("sync_partial_err", 0);
    text.field("expired_subkeys", facts.removals.expired_fields);
    text.field("expired_keys", facts.removals.expired);
    text.field("expired_stale_perc", "0.00");
    text.field("expired_time_cap_reached_count", 0);
    text.field("evicted_keys", facts.removals.evicted);
    text.field("evicted_scripts", facts.cx.hub.scripts.evicted());
    text.field("evicted_clients", 0);
    text.field("keyspace_hits", recent.keyspace_hits);
    text.field("keyspace_misses", recent.keyspace_misses);
    text.field("pubsub_channels", hub.pubsub.len(Kind::Channel));
    text.field("pubsub_patterns", hub.pubsub.len(Kind::Pattern));
    text.field("pubsubshard_channels", hub.pubsub.len(Kind::Shard));
    text.field("latest_fork_usec", 0);
    text.field("total_forks", 0);
    text.field("migrate_cached_sockets", 0);
    text.field("slave_expires_tracked_keys", 0);
    let tracked = hub.tracking.totals();
    text.field("tracking_total_keys", tracked.keys);
    text.field("tracking_total_items", tracked.items);
    text.field("tracking_total_prefixes", tracked.prefixes);
    text.field("unexpected_error_replies", 0);
    text.field("total_error_replies", recent.error_replies);
    text.field("total_reads_processed", recent.reads_processed);
    text.field("total_writes_processed", recent.writes_processed);
    text.field("client_query_buffer_limit_disconnections", recent.query_limit_closed);
    text.field("client_output_buffer_limit_disconnections", recent.output_limit_closed);
}

pub(super) fn replication(text: &mut Text, facts: &mut Facts<'_, '_>) {
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &facts.cx.hub.run_id);
    text.field("master_replid2", "0".repeat(40));
    text.field("master_repl_offset", 0);
    text.field("second_repl_offset", -1);
    text.field("repl_backlog_active", 0);
    text.field("repl_backlog_size", 0);
    text.field("repl_backlog_first_byte_offset", 0);
    text.field("repl_backlog_histlen", 0);
}

pub(super) fn cpu(text: &mut Text, _: &mut Facts<'_, '_>) {
    let cpu = process::cpu_seconds();
    text.field("used_cpu_sys", format_args!("{:.6}", cpu.system));
    text.field("used_cpu_user", format_args!("{:.6}", cpu.user));
    text.field("used_cpu_sys_children", "0.000000");
    text.field("used_cpu_user_children", "0.000000");
}

pub(super) fn commandstats(text: &mut Text, facts: &mut Facts<'_, '_>) {
    for (entry, row) in table::entries().iter().zip(&facts.recent.commands) {
        if !row.is_used() {
            continue;
        }
        let usec = row.busy_ns / 1000;
        let mean = row.busy_ns as f64 / 1000.0 / row.calls.max(1) as f64;
        text.field(
            &format!("cmdstat_{}", entry.full_name),
            format_args!(
                "calls={},usec={usec},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
                row.calls, row.rejected, row.failed
            ),
        );
    }
}

pub(super) fn errorstats(text: &mut Text, facts: &mut Facts<'_, '_>) {
    for (code, count) in facts.cx.hub.errors.list() {
        text.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latencystats(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let percentiles = facts.cx.worker.config().latency_tracking_info_percentiles.clone();
    for (entry, row) in table::entries().iter().zip(&facts.recent.commands) {
        if row.latency.is_empty() {
            continue;
        }
        let shown: Vec<String> = percentiles
            .0
            .iter()
            .map(|&percentile| {
                // A class of the histogram ends above what is in it; the longest of all is known exactly.
                let us = row.latency.quantile_us(percentile / 100.0).min(row.longest_ns as f64 / 1e3);
                format!("p{percentile}={us:.3}")
            })
            .collect();
        text.field(&format!("latency_percentiles_usec_{}", entry.full_name), shown.join(","));
    }
}

pub(super) fn cluster(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let cluster = &facts.cx.hub.cluster;
    text.field("cluster_enabled", u8::from(facts.cx.in_cluster()));
    if !facts.cx.in_cluster() {
        return;
    }
    let (view, vitals) = (cluster.routes.view(), cluster.vitals());
    let alive = 1 + vitals.peers.iter().filter(|peer| peer.alive).count();
    let left_ns = cluster.routes.lease_until_ns().saturating_sub(facts.cx.worker.clock.boot_ns());
    text.field("cluster_phase", vitals.phase.name());
    text.field("cluster_members", view.table.members.len());
    text.field("cluster_members_alive", alive);
    text.field("cluster_table_version", view.table.version);
    text.field("cluster_generation", view.table.generation);
    text.field("cluster_slots_owned", slots_of(&view.table, view.me));
    text.field("cluster_lease_ms", left_ns / 1_000_000);
    text.field("cluster_leads", u8::from(vitals.leader == Some(vitals.me)));
    text.field("cluster_moves", view.table.moves.len());
    for (name, count) in cluster.counters.list() {
        text.field(&format!("cluster_{name}"), count);
    }
}

/// Entries of a shard's part of a database that are looked at for the mean time to live.
const SAMPLES: usize = 32;

/// What is said of one database.
#[derive(Clone, Copy, Default)]
struct Counts {
    keys: u64,
    expiring: u64,
    /// Hashes that have a field with a due time.
    with_due_fields: u64,
    /// Sum over the sampled entries that have a due time, and their number.
    left_ms: u64,
    sampled: u64,
}

/// `avg_ttl` is that of a sample: 0 where so few keys have a due time that it met none.
pub(super) fn keyspace(text: &mut Text, facts: &mut Facts<'_, '_>) {
    let databases = facts.cx.worker.config().databases as usize;
    let mut counts = vec![Counts::default(); databases];
    let Cx { data, worker, now_ms, .. } = &mut *facts.cx;
    data.each_shard(|_, shard| {
        for (number, db) in shard.dbs() {
            let Some(counts) = counts.get_mut(number) else { continue };
            counts.keys += db.entries() as u64;
            counts.expiring += db.entries_with_due() as u64;
            counts.with_due_fields += db.entries_with_due_fields() as u64;
            let samples = if db.entries_with_due() > 0 { SAMPLES } else { 0 };
            for due_ms in (0..samples).filter_map(|_| db.random_due_ms(&mut worker.rng)) {
                counts.left_ms += due_ms.saturating_sub(*now_ms);
                counts.sampled += 1;
            }
        }
    });
    for (number, counts) in counts.iter().enumerate().filter(|(_, counts)| counts.keys > 0) {
        let Counts { keys, expiring, with_due_fields, .. } = counts;
        let mean_ms = counts.left_ms.checked_div(counts.sampled).unwrap_or(0);
        text.field(
            &format!("db{number}"),
            format_args!("keys={keys},expires={expiring},avg_ttl={mean_ms},subexpiry={with_due_fields}"),
        );
    }
}
