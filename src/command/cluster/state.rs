//! CLUSTER INFO, MYID, LINKS, REPLICAS, GETSLOTMIGRATIONS and their like: how this node and its cluster are doing. All of
//! them answer without a lease too, so that an operator can ask a node why it has none.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::topology::{digest, displaced, epoch_of, is_whole, silent_members};
use super::{is_leased, member, my_id as id_of};
use crate::cluster::id::NodeId;
use crate::cluster::route::View;
use crate::cluster::table::Table;
use crate::command::context::Cx;
use crate::hub::cluster::Vitals;
use crate::resp::args::Args;
use crate::resp::error::Error;

/// `field:value` lines; clients split them at the colon.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn field(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
}

pub(super) fn my_id(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    let id = id_of(cx.hub, &cx.hub.cluster.routes.view());
    cx.reply.bulk_display(id);
    Ok(())
}

pub(super) fn info(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    let view = cx.hub.cluster.routes.view();
    let vitals = cx.hub.cluster.vitals();
    let mut lines = Lines::default();
    as_in_redis(cx, &view, &mut lines);
    of_our_own(cx, &view, &vitals, &mut lines);
    cx.reply.verbatim("txt", lines.0.as_bytes());
    Ok(())
}

fn as_in_redis(cx: &Cx<'_>, view: &View, lines: &mut Lines) {
    let table = &*view.table;
    let counts = table.slot_counts();
    let assigned: u32 = counts.iter().sum();
    let silent = silent_members(cx.hub, table);
    let slots_of = |id: &NodeId| table.place_of(*id).map_or(0, |place| counts[place]);
    let pending: u32 = silent.iter().map(slots_of).sum();
    let my_epoch = table.place_of(id_of(cx.hub, view)).map_or(0, |place| epoch_of(table, place));
    let counters = &cx.hub.cluster.counters;
    let serves = is_leased(cx) && is_whole(table);
    lines.field("cluster_state", if serves { "ok" } else { "fail" });
    lines.field("cluster_slots_assigned", assigned);
    lines.field("cluster_slots_ok", assigned - pending);
    lines.field("cluster_slots_pfail", pending);
    lines.field("cluster_slots_fail", 0);
    lines.field("cluster_known_nodes", table.members.len().max(1));
    lines.field("cluster_size", counts.iter().filter(|count| **count > 0).count());
    lines.field("cluster_current_epoch", table.version);
    lines.field("cluster_my_epoch", my_epoch);
    lines.field("cluster_stats_messages_sent", counters.gossip_sent_messages.load(Ordering::Relaxed));
    lines.field("cluster_stats_messages_received", counters.gossip_received_messages.load(Ordering::Relaxed));
    lines.field("total_cluster_links_buffer_limit_exceeded", 0);
}

fn of_our_own(cx: &mut Cx<'_>, view: &View, vitals: &Vitals, lines: &mut Lines) {
    let table = &*view.table;
    let routes = &cx.hub.cluster.routes;
    let name = one_value(&cx.worker.config().cluster_name);
    let left_ns = routes.lease_until_ns().saturating_sub(cx.worker.clock.boot_ns());
    let cluster = if table.cluster.is_founded() { table.cluster } else { vitals.cluster };
    lines.field("cluster_name", name);
    lines.field("cluster_id", cluster);
    lines.field("cluster_phase", vitals.phase.name());
    lines.field("cluster_why", one_value(&vitals.why));
    lines.field("cluster_table_version", table.version);
    lines.field("cluster_generation", table.generation);
    lines.field("cluster_table_digest", format_args!("{:016x}", digest(view)));
    lines.field("cluster_leader", vitals.leader.map_or_else(String::new, |id| id.to_string()));
    lines.field("cluster_term", vitals.term);
    let voters: Vec<String> = vitals.voters.iter().map(NodeId::to_string).collect();
    lines.field("cluster_voters", voters.join(","));
    let alive = table.members.len().saturating_sub(silent_members(cx.hub, table).len());
    lines.field("cluster_members_alive", alive);
    lines.field("cluster_lease_ms", left_ns / 1_000_000);
    lines.field("cluster_slots_owned", slots_of(table, id_of(cx.hub, view)));
    lines.field("cluster_slots_served", routes.served().len());
    lines.field("cluster_slots_displaced", displaced(view));
    lines.field("cluster_moves", table.moves.len());
    for (name, count) in cx.hub.cluster.counters.list() {
        lines.field(&format!("cluster_stats_{name}"), count);
    }
    let held = cx.hub.cluster.hold_times();
    lines.field("cluster_stats_slot_holds", held.count());
    lines.field("cluster_stats_slot_holds_p99_us", held.quantile_us(0.99).round());
    lines.field("cluster_stats_slot_holds_max_us", held.quantile_us(1.0).round());
}

/// Slots that a member owns.
pub fn slots_of(table: &Table, id: NodeId) -> u32 {
    table.place_of(id).map_or(0, |place| table.slot_counts()[place])
}

/// Text that neither ends its line nor looks like another field.
fn one_value(text: &str) -> String {
    text.replace(['\r', '\n', ':'], " ")
}

pub(super) fn links(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    let vitals = cx.hub.cluster.vitals();
    cx.reply.array(vitals.links.len());
    for link in &vitals.links {
        cx.reply.map(6);
        text(cx, "direction", if link.outgoing { "to" } else { "from" });
        text(cx, "node", link.node);
        number(cx, "create-time", link.since_ms);
        // As Redis says it: read from at any time, written to while something waits.
        text(cx, "events", if link.used_bytes > 0 { "rw" } else { "r" });
        number(cx, "send-buffer-allocated", link.allocated_bytes);
        number(cx, "send-buffer-used", link.used_bytes);
    }
    Ok(())
}

/// The member that `args[2]` names, who must be in the table.
fn named(cx: &Cx<'_>, args: Args<'_>) -> Result<NodeId, Error> {
    member(cx)?;
    let view = cx.hub.cluster.routes.view();
    let id =
        NodeId::parse(&args[2]).filter(|id| *id == id_of(cx.hub, &view) || view.table.member(*id).is_some());
    id.ok_or_else(|| unknown(&args[2]))
}

/// There is no node of this id.
pub(super) fn unknown(id: &[u8]) -> Error {
    Error::err(format_args!("Unknown node {}", String::from_utf8_lossy(id)))
}

pub(super) fn replicas(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    named(cx, args)?;
    cx.reply.array(0);
    Ok(())
}

pub(super) fn failure_reports(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    named(cx, args)?;
    cx.reply.integer(0);
    Ok(())
}

/// The table's version is the highest epoch at any time: there is nothing to bump.
pub(super) fn bump_epoch(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    let version = cx.hub.cluster.routes.view().table.version;
    cx.reply.simple(&format!("STILL {version}"));
    Ok(())
}

pub(super) fn migrations(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    let view = cx.hub.cluster.routes.view();
    let me = id_of(cx.hub, &view);
    let vitals = cx.hub.cluster.vitals();
    let mine: Vec<_> = view.table.moves.iter().filter(|other| other.from == me || other.to == me).collect();
    cx.reply.array(mine.len());
    for movement in mine {
        let outgoing = movement.from == me;
        let progress = vitals.moves.iter().find(|known| known.id == movement.id);
        let began_ms = progress.map_or(cx.now_ms, |known| known.began_ms);
        let (keys, bytes) = progress.map_or((0, 0), |known| (known.keys, known.bytes));
        // The source knows how many there are; the target has had so many, whatever is still to come.
        let all = if outgoing { super::keys::entries(cx, movement.start..=movement.end) } else { keys };
        cx.reply.map(11);
        text(cx, "name", movement.id);
        text(cx, "operation", if outgoing { "EXPORT" } else { "IMPORT" });
        text(cx, "slot_ranges", format_args!("{}-{}", movement.start, movement.end));
        text(cx, "source_node", movement.from);
        text(cx, "target_node", movement.to);
        number(cx, "create_time", began_ms / 1000);
        text(cx, "state", if progress.is_some() { "in_progress" } else { "waiting" });
        number(cx, "elapsed_ms", cx.now_ms.saturating_sub(began_ms));
        number(cx, "keys", keys);
        number(cx, "keys_total", all.max(keys));
        number(cx, "bytes", bytes);
    }
    Ok(())
}

fn text(cx: &mut Cx<'_>, name: &str, value: impl Display) {
    cx.reply.bulk_str(name);
    cx.reply.bulk_display(value);
}

fn number(cx: &mut Cx<'_>, name: &str, value: u64) {
    cx.reply.bulk_str(name);
    cx.reply.integer(value as i64);
}
