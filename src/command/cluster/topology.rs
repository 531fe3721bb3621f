//! CLUSTER SLOTS, SHARDS and NODES: what clients route by. Made once for every table, protocol and side that clients may be
//! on, so that every node sends the same bytes for the same table; only NODES differs, in the word `myself`, and what shows that a node is not
//! heard of, which SHARDS and NODES then are made anew for.
//!
//! Every node is a master of its own ranges and has no replicas; slots are listed ascending, neighbours of one owner as
//! one range; a host is never empty. Nothing is sent that is not the whole map: a client would keep the rest of it.

use std::fmt::Write;
use std::io::IoSlice;

use bytes::Bytes;

use super::{is_leased, leased, my_id};
use crate::cluster::id::NodeId;
use crate::cluster::place::NO_OWNER;
use crate::cluster::plan;
use crate::cluster::route::{RENDERED_KINDS, View};
use crate::cluster::table::{Member, Side, Table};
use crate::command::context::Cx;
use crate::hub::Hub;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::{Proto, Reply};

/// What is kept with a view, by its place there; the first two take one more place for RESP3. The first three are kept
/// once more, [`OUTSIDE`] places on, as clients outside see them.
const SLOTS: usize = 0;
const SHARDS: usize = 2;
const NODES: usize = 4;
const DISPLACED: usize = 5;
const DIGEST: usize = 6;
const OUTSIDE: usize = 7;
const _: () = assert!(DIGEST < OUTSIDE && NODES + OUTSIDE < RENDERED_KINDS);

/// What the parameter cluster-port is above the clients' port unless it is set.
const BUS_PORT_OFFSET: u16 = 10_000;

/// Pieces of a reply that are read at once.
const PIECES: usize = 8;

pub(super) fn slots(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    leased(cx)?;
    let view = cx.hub.cluster.routes.view();
    whole(&view.table)?;
    let (proto, side) = (cx.reply.proto(), cx.session.side);
    let made = view.rendered[of(SLOTS, proto, side)]
        .get_or_init(|| encoded(proto, |reply| write_slots(reply, &view.table, side)));
    cx.reply.raw_shared(made.clone());
    Ok(())
}

pub(super) fn shards(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    leased(cx)?;
    let view = cx.hub.cluster.routes.view();
    whole(&view.table)?;
    let silent = silent_members(cx.hub, &view.table);
    let (proto, side) = (cx.reply.proto(), cx.session.side);
    if !silent.is_empty() {
        write_shards(cx.reply, &view.table, side, &silent);
        return Ok(());
    }
    let made = view.rendered[of(SHARDS, proto, side)]
        .get_or_init(|| encoded(proto, |reply| write_shards(reply, &view.table, side, &[])));
    cx.reply.raw_shared(made.clone());
    Ok(())
}

pub(super) fn nodes(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    super::member(cx)?;
    let view = cx.hub.cluster.routes.view();
    let me = my_id(cx.hub, &view);
    let side = cx.session.side;
    let mut silent = silent_members(cx.hub, &view.table);
    if view.table.member(me).is_none() {
        let mut text = stranger(cx, me);
        text.push_str(&node_lines(&view.table, side, me, &silent));
        cx.reply.verbatim("txt", text.as_bytes());
        return Ok(());
    }
    // Without a lease the map may be an old one, and this node cannot serve its part.
    if !is_leased(cx) {
        silent.push(me);
    }
    if silent.is_empty() {
        let at = of(NODES, Proto::Resp2, side);
        let text = view.rendered[at].get_or_init(|| node_lines(&view.table, side, me, &[]).into());
        cx.reply.verbatim("txt", text);
    } else {
        cx.reply.verbatim("txt", node_lines(&view.table, side, me, &silent).as_bytes());
    }
    Ok(())
}

/// Slots that are not where the placement rule wants them.
pub(super) fn displaced(view: &View) -> u64 {
    let count = |table: &Table| if table.runs.is_empty() { 0 } else { plan::displaced(table) as u64 };
    once(view, DISPLACED, count)
}

/// The table's digest, by which people see that two nodes have the same.
pub(super) fn digest(view: &View) -> u64 {
    once(view, DIGEST, Table::digest)
}

/// A number that is found out once for every table.
fn once(view: &View, kind: usize, find: impl FnOnce(&Table) -> u64) -> u64 {
    let made = view.rendered[kind].get_or_init(|| Bytes::copy_from_slice(&find(&view.table).to_le_bytes()));
    made.as_ref().try_into().map_or(0, u64::from_le_bytes)
}

/// Members that this node does not hear of, by the order of the table.
pub(super) fn silent_members(hub: &Hub, table: &Table) -> Vec<NodeId> {
    let vitals = hub.cluster.vitals();
    let silent = vitals.peers.iter().filter(|peer| !peer.alive && table.member(peer.id).is_some());
    silent.map(|peer| peer.id).collect()
}

/// The version that gave a member the last of its slots: its epoch. 0 without slots.
pub(super) fn epoch_of(table: &Table, place: usize) -> u64 {
    table.runs.iter().filter(|run| run.owner as usize == place).map(|run| run.epoch).max().unwrap_or(0)
}

/// Whether every slot has an owner.
pub(super) fn is_whole(table: &Table) -> bool {
    !table.runs.is_empty() && table.runs.iter().all(|run| run.owner != NO_OWNER)
}

fn whole(table: &Table) -> Result<(), Error> {
    if is_whole(table) { Ok(()) } else { Err(Error::ClusterDown) }
}

fn of(kind: usize, proto: Proto, side: Side) -> usize {
    kind + usize::from(proto == Proto::Resp3) + if side == Side::Outside { OUTSIDE } else { 0 }
}

/// What `write` writes in this protocol.
fn encoded(proto: Proto, write: impl FnOnce(&mut Reply)) -> Bytes {
    let mut reply = Reply::new(proto);
    write(&mut reply);
    let mut bytes = Vec::with_capacity(reply.pending_bytes());
    while !reply.is_empty() {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let filled = reply.slices(&mut slices);
        let start = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        reply.advance(bytes.len() - start);
    }
    Bytes::from(bytes)
}

/// Ranges of slots with one owner each, ascending; neighbours have different owners.
fn ranges(table: &Table) -> Vec<(u16, u16, &Member)> {
    let mut ranges: Vec<(u16, u16, &Member)> = Vec::new();
    for run in &table.runs {
        let Some(owner) = table.members.get(run.owner as usize) else { continue };
        match ranges.last_mut() {
            Some((_, end, before)) if before.id == owner.id && *end + 1 == run.start => *end = run.end,
            _ => ranges.push((run.start, run.end, owner)),
        }
    }
    ranges
}

fn write_slots(reply: &mut Reply, table: &Table, side: Side) {
    let ranges = ranges(table);
    reply.array(ranges.len());
    for (start, end, owner) in ranges {
        reply.array(3);
        reply.integer(start.into());
        reply.integer(end.into());
        reply.array(4);
        let (host, port) = owner.client.seen_from(side);
        reply.bulk_str(host);
        reply.integer(port.into());
        reply.bulk_display(owner.id);
        match owner.client.hostname_from(side) {
            None => reply.map(0),
            Some(name) => {
                reply.map(1);
                reply.bulk_str("hostname");
                reply.bulk_str(name);
            }
        }
    }
}

fn write_shards(reply: &mut Reply, table: &Table, side: Side, silent: &[NodeId]) {
    reply.array(table.members.len());
    for member in &table.members {
        let ranges = table.ranges_of(member.id);
        reply.map(2);
        reply.bulk_str("slots");
        reply.array(2 * ranges.len());
        for (start, end) in ranges {
            reply.integer(start.into());
            reply.integer(end.into());
        }
        reply.bulk_str("nodes");
        reply.array(1);
        let (host, port) = member.client.seen_from(side);
        let hostname = member.client.hostname_from(side);
        reply.map(7 + usize::from(hostname.is_some()));
        reply.bulk_str("id");
        reply.bulk_display(member.id);
        reply.bulk_str("port");
        reply.integer(port.into());
        reply.bulk_str("ip");
        reply.bulk_str(host);
        reply.bulk_str("endpoint");
        reply.bulk_str(host);
        if let Some(hostname) = hostname {
            reply.bulk_str("hostname");
            reply.bulk_str(hostname);
        }
        reply.bulk_str("role");
        reply.bulk_str("master");
        reply.bulk_str("replication-offset");
        reply.integer(0);
        reply.bulk_str("health");
        reply.bulk_str(if silent.contains(&member.id) { "fail" } else { "online" });
    }
}

/// The lines of all members, in the table's order, each ended.
fn node_lines(table: &Table, side: Side, me: NodeId, silent: &[NodeId]) -> String {
    let mut text = String::new();
    for (place, member) in table.members.iter().enumerate() {
        let Member { id, client, peer, .. } = member;
        let myself = if *id == me { "myself," } else { "" };
        let (fails, link) = if silent.contains(id) {
            (",fail?", if *id == me { "connected" } else { "disconnected" })
        } else {
            ("", "connected")
        };
        let (host, port) = client.seen_from(side);
        let hostname = client.hostname_from(side).map_or(String::new(), |name| format!(",{name}"));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{id} {host}:{port}@{}{hostname} {myself}master{fails} - 0 0 {} {link}",
            peer.port(),
            epoch_of(table, place)
        );
        for (start, end) in table.ranges_of(*id) {
            let _ = if start == end { write!(text, " {start}") } else { write!(text, " {start}-{end}") };
        }
        text.push('\n');
    }
    text
}

/// The line of a node that is no member yet: clients take the address that they have connected to.
fn stranger(cx: &mut Cx<'_>, me: NodeId) -> String {
    let config = cx.worker.config();
    let bus = match config.cluster_port {
        0 => config.port.saturating_add(BUS_PORT_OFFSET),
        port => port,
    };
    let port = match cx.session.side {
        Side::Inside => config.port,
        Side::Outside if config.cluster_announce_outside_port != 0 => config.cluster_announce_outside_port,
        Side::Outside => config.cluster_outside_port,
    };
    format!("{me} :{port}@{bus} myself,master - 0 0 0 connected\n")
}
