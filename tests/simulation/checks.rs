//! What must hold at every step, and what must come about once all is well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use larder::base::slot::SLOT_COUNT;
use larder::cluster::id::{ClusterId, NodeId};
use larder::cluster::route::SlotSet;
use larder::cluster::table::Table;

use crate::host::Host;

/// What was seen so far.
#[derive(Default)]
pub struct Seen {
    /// Digest of every version of the table.
    digests: BTreeMap<(u32, u64), u64>,
    /// Every cluster that any node ever belonged to.
    clusters: Vec<ClusterId>,
    /// The tables that each node had when it was last looked at.
    shown: BTreeMap<String, [Arc<Table>; 2]>,
    /// The newest table.
    newest: Arc<Table>,
    /// Processes of that table.
    processes: BTreeSet<(NodeId, u64)>,
    /// Processes that left by their own will, with all keys handed over.
    left: BTreeSet<(NodeId, u64)>,
    /// Processes that left the table in another way, so that their keys are gone.
    pub deaths: u64,
}

impl Seen {
    /// Looks at all nodes between two steps.
    pub fn look(&mut self, hosts: &[Host]) {
        let mut served: Vec<(&Host, SlotSet)> = Vec::new();
        for host in hosts {
            let Some(node) = host.node() else { continue };
            if node.has_left() {
                self.left.insert((node.id(), node.incarnation()));
            }
            let tables = [node.tables().newest(), node.ground().table()];
            let shown = self.shown.entry(host.name.clone()).or_default();
            let fresh: Vec<_> =
                tables.iter().zip(shown.iter()).map(|(new, old)| !Arc::ptr_eq(new, old)).collect();
            *shown = tables.clone();
            tables.iter().zip(fresh).filter(|(_, fresh)| *fresh).for_each(|(table, _)| self.take(table));
            let routes = &node.hub().cluster.routes;
            if !routes.is_leased(node.clock().boot_ns()) {
                continue;
            }
            let own = routes.served();
            for (other, slots) in &served {
                assert!(
                    !own.intersects(slots),
                    "S1: {} and {} serve the same slots at once",
                    host.name,
                    other.name
                );
            }
            served.push((host, own));
        }
    }

    fn take(&mut self, table: &Arc<Table>) {
        if !table.cluster.is_founded() {
            return;
        }
        let digest = table.digest();
        let known = *self.digests.entry(table.stamp()).or_insert(digest);
        assert_eq!(known, digest, "S5: two tables of version {:?}", table.stamp());
        if !self.clusters.contains(&table.cluster) {
            self.clusters.push(table.cluster);
        }
        assert!(self.clusters.len() < 2, "S8: two clusters: {:?}", self.clusters);
        if table.stamp() > self.newest.stamp() {
            self.newest = Arc::clone(table);
            let processes: BTreeSet<_> =
                table.members.iter().map(|member| (member.id, member.incarnation)).collect();
            let gone = self.processes.difference(&processes);
            self.deaths += gone.filter(|process| !self.left.contains(process)).count() as u64;
            self.processes = processes;
        }
    }

    /// The newest table that any node has shown.
    pub fn newest(&self) -> &Arc<Table> {
        &self.newest
    }

    /// What is still missing once all is well; nothing if all has come about.
    pub fn missing(&self, hosts: &[Host]) -> Option<String> {
        let nodes: Vec<_> = hosts.iter().filter(|host| host.is_up()).map(Host::node).collect();
        let Some(nodes) = nodes.into_iter().collect::<Option<Vec<_>>>() else {
            return Some("a node has not started".to_owned());
        };
        let table = &self.newest;
        let ids: BTreeSet<NodeId> = nodes.iter().map(|node| node.id()).collect();
        let members: BTreeSet<NodeId> = table.members.iter().map(|member| member.id).collect();
        if ids != members {
            let outside = nodes.iter().filter(|node| !members.contains(&node.id()));
            let states = outside.map(|node| {
                let vitals = node.hub().cluster.vitals();
                let peers = vitals.peers.iter().filter(|peer| peer.alive).count();
                let table = node.tables().newest();
                format!(
                    "{} {} ({}), sees {peers}, leader {:?}, knows {:?} of {}",
                    node.id().short(),
                    vitals.phase.name(),
                    node.reason(),
                    vitals.leader.map(|leader| leader.short()),
                    table.stamp(),
                    table.cluster
                )
            });
            let states: Vec<String> = states.collect();
            return Some(format!(
                "of {} nodes {} are members; outside: {states:?}",
                ids.len(),
                members.len()
            ));
        }
        if !table.moves.is_empty() || table.owners() != table.wanted() {
            let sources = nodes.iter().map(|node| {
                let status = node.agreement().status().borrow().clone();
                format!(
                    "{} at {} sends {:?} receives {:?}, leader {:?} or {:?}, of {status:?}",
                    node.id().short(),
                    node.hub().clock.wall_ms(),
                    node.departures().progress(),
                    node.arrivals().progress(),
                    node.leader().map(|id| id.short()),
                    node.leader_heard_of().map(|id| id.short()),
                )
            });
            let sources: Vec<String> = sources.collect();
            return Some(format!(
                "slots are not where they belong; moves {:?}; nodes {sources:#?}",
                table.moves
            ));
        }
        let leaders = nodes.iter().filter(|node| node.agreement().status().borrow().is_leader).count();
        if leaders != 1 {
            return Some(format!("{leaders} leaders"));
        }
        let mut served = 0;
        for node in &nodes {
            let stamp = node.ground().table().stamp();
            if stamp != table.stamp() {
                return Some(format!("{} is at version {stamp:?} of {:?}", node.id().short(), table.stamp()));
            }
            let routes = &node.hub().cluster.routes;
            if !routes.is_leased(node.clock().boot_ns()) {
                return Some(format!("{} has no lease: {}", node.id().short(), node.reason()));
            }
            served += routes.served().len();
        }
        (served != SLOT_COUNT).then(|| format!("{served} slots are served"))
    }
}
