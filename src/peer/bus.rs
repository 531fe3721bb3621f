//! PUBLISH among nodes: what this node's clients have published goes to every other member, by links of their own.
//!
//! Each batch has a number, and each member a lane: a bounded queue and a task that sends one batch after the other. A
//! member that is out of reach loses what is sent meanwhile, one that is too slow what its lane does not hold; nobody
//! else waits for it. A receiver takes a batch only if it comes from a process that its table knows, and only if its
//! number is higher than that of the last one from there: what an old link still delivers when a newer one has replaced
//! it is refused. So messages of one publisher may be lost, but never come twice, nor one before an earlier one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::frame::PeerHello;
use super::message::{self, Ask};
use super::node::Node;
use crate::base::limits::{BUS_GATHER_MS, BUS_LANE_AHEAD, BUS_LANE_BYTES, BUS_LANE_MAX, CLUSTER_NODES_MAX};
use crate::base::lock::Mutex;
use crate::cluster::id::NodeId;
use crate::cluster::table::Table;
use crate::hub::bus::{Batch, BusCounts, Scope};

/// Sends what clients publish, for as long as the node lives.
pub async fn send(node: Arc<Node>) {
    let mut lanes: BTreeMap<NodeId, Lane> = BTreeMap::new();
    let mut installed = node.ground().installed();
    let mut number = 0;
    let mut has_gathered = false;
    loop {
        let bus = &node.hub().bus;
        // The more there is to send, the more goes at once.
        let gathers = !has_gathered && lanes.values().any(|lane| lane.waiting() >= BUS_LANE_AHEAD);
        tokio::select! {
            biased;
            changed = installed.changed() => {
                if changed.is_err() {
                    return;
                }
                adjust(&node, &mut lanes);
                bus.set_open(!lanes.is_empty(), lanes.values().any(|lane| lane.has_gateway));
            }
            () = sleep(Duration::from_millis(BUS_GATHER_MS)), if gathers => has_gathered = true,
            Batch { scope, messages, records } = bus.posted(), if !gathers => {
                has_gathered = false;
                number += 1;
                let body = Bytes::from(message::encode(&Ask::Publish { number, messages, scope }, &records));
                for lane in lanes.values().filter(|lane| scope == Scope::Cluster || lane.has_gateway) {
                    lane.offer(&bus.counts, &body, messages);
                }
                // However much is published, what keeps the node in the cluster has its turn.
                yield_now().await;
            }
        }
    }
}

/// The room that is left in each member's lane, as others see it.
#[derive(Debug, Default)]
pub struct Lanes {
    rooms: Mutex<BTreeMap<NodeId, Arc<Semaphore>>>,
}

impl Lanes {
    /// Bytes that wait in the lane of a member, and are not yet with its link.
    pub fn waiting_bytes(&self, to: NodeId) -> u64 {
        let rooms = self.rooms.lock();
        rooms.get(&to).map_or(0, |room| (BUS_LANE_BYTES - room.available_permits()) as u64)
    }
}

/// Gives every other member a lane, and takes it from those that are none any more.
fn adjust(node: &Arc<Node>, lanes: &mut BTreeMap<NodeId, Lane>) {
    let table = node.ground().table();
    // Others would refuse what a process sends that is no member.
    let is_member = table.process(node.id(), node.incarnation()).is_some();
    let wanted = |id: NodeId| is_member && id != node.id() && table.member(id).is_some();
    lanes.retain(|id, _| wanted(*id));
    for member in table.members.iter().filter(|member| wanted(member.id)) {
        let lane = lanes.entry(member.id).or_insert_with(|| Lane::open(node, member.id));
        lane.has_gateway = member.client.gateway_port != 0;
    }
    *node.lanes().rooms.lock() = lanes.iter().map(|(id, lane)| (*id, Arc::clone(&lane.room))).collect();
}

/// The way to one member. When it is dropped, what waits in it is still sent.
struct Lane {
    queue: mpsc::Sender<Sealed>,
    room: Arc<Semaphore>,
    /// Whether clients there may subscribe to any shard channel.
    has_gateway: bool,
}

/// A batch that waits in a lane.
struct Sealed {
    body: Bytes,
    messages: u64,
    _room: OwnedSemaphorePermit,
}

impl Lane {
    fn open(node: &Arc<Node>, to: NodeId) -> Self {
        let (queue, waiting) = mpsc::channel(BUS_LANE_MAX);
        tokio::spawn(carry(Arc::clone(node), to, waiting));
        Self { queue, room: Arc::new(Semaphore::new(BUS_LANE_BYTES)), has_gateway: false }
    }

    /// Batches that wait.
    fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    fn offer(&self, counts: &BusCounts, body: &Bytes, messages: u64) {
        let permit = Arc::clone(&self.room).try_acquire_many_owned(body.len() as u32);
        let taken = permit.is_ok_and(|room| {
            self.queue.try_send(Sealed { body: body.clone(), messages, _room: room }).is_ok()
        });
        if !taken {
            counts.dropped.fetch_add(messages, Ordering::Relaxed);
        }
    }
}

/// Sends what waits in a lane, until the lane is gone and it is empty.
async fn carry(node: Arc<Node>, to: NodeId, mut waiting: mpsc::Receiver<Sealed>) {
    let counts = &node.hub().bus.counts;
    while let Some(Sealed { body, messages, _room }) = waiting.recv().await {
        let count = match node.post().publish(to, body).await {
            Ok(()) => &counts.sent,
            Err(why) => {
                tracing::debug!("{messages} published messages are lost: {why}");
                &counts.dropped
            }
        };
        count.fetch_add(messages, Ordering::Relaxed);
    }
}

/// What was heard from each node: which process of it, and the number of its last batch.
#[derive(Debug, Default)]
pub struct Heard {
    last: Mutex<HashMap<NodeId, (u64, u64)>>,
}

impl Heard {
    /// Whether the `number`th batch of a process is to be delivered; if so, no earlier one is from now on.
    pub fn is_new(&self, table: &Table, from: &PeerHello, number: u64) -> bool {
        let is_member = from.cluster == table.cluster
            && from.cluster.is_founded()
            && table.process(from.node_id, from.incarnation).is_some();
        if !is_member {
            return false;
        }
        let mut last = self.last.lock();
        if last.len() >= CLUSTER_NODES_MAX && !last.contains_key(&from.node_id) {
            last.retain(|id, _| table.member(*id).is_some());
        }
        let known = last.entry(from.node_id).or_default();
        let is_new = (from.incarnation, number) > *known;
        if is_new {
            *known = (from.incarnation, number);
        }
        is_new
    }
}

/// Takes in the `number`th batch of another node.
pub fn take_in(node: &Node, from: &PeerHello, number: u64, (scope, messages): (Scope, u64), records: Bytes) {
    let hub = node.hub();
    // Node ids are random numbers: any 8 bytes of one spread nodes over workers.
    let spread = from.node_id.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let is_taken = node.heard().is_new(&hub.cluster.routes.view().table, from, number)
        && hub.bus.take_in(spread, scope, records);
    let counts = &hub.bus.counts;
    let count = if is_taken { &counts.received } else { &counts.refused };
    count.fetch_add(messages, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::Heard;
    use crate::cluster::id::ClusterId;
    use crate::cluster::table::tests::{member, table_of};
    use crate::peer::frame::{Class, PeerHello};

    #[test]
    fn only_members_are_heard_and_nothing_twice_or_late() {
        let table = table_of(2);
        let hello = |number: u8, incarnation: u64, cluster: ClusterId| PeerHello {
            minor: 0,
            class: Class::Publish,
            node_id: member(number).id,
            incarnation,
            cluster,
            peer_addr: ([127, 0, 0, 1], 1).into(),
            dialled: ([127, 0, 0, 1], 2).into(),
            cluster_name: String::new(),
        };
        let heard = Heard::default();
        let born = member(1).incarnation;
        let one = hello(1, born, table.cluster);
        assert!(
            heard.is_new(&table, &one, 5) && heard.is_new(&table, &one, 6) && heard.is_new(&table, &one, 9)
        );
        assert!(!heard.is_new(&table, &one, 9), "twice");
        assert!(!heard.is_new(&table, &one, 7), "late");
        assert!(
            heard.is_new(&table, &hello(0, member(0).incarnation, table.cluster), 1),
            "another counts by itself"
        );
        assert!(!heard.is_new(&table, &hello(7, born, table.cluster), 1), "no member");
        assert!(
            !heard.is_new(&table, &hello(1, born + 1, table.cluster), 99),
            "not the process that is a member"
        );
        assert!(!heard.is_new(&table, &hello(1, born, ClusterId(77)), 99), "another cluster");
        let mut later = table.clone();
        later.members.iter_mut().for_each(|known| known.incarnation += 1);
        assert!(heard.is_new(&later, &hello(1, born + 1, table.cluster), 1), "a new process begins anew");
        assert!(!heard.is_new(&later, &one, 100), "the former process");
    }
}
