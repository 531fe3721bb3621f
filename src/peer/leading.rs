//! What the leader does besides granting leases: gives up processes whose leases have run out, begins the moves that the
//! placement rule wants, chooses who votes, and tells everybody of each new table.
//!
//! All of it is proposed, so that a leader that is none any more does no harm; whatever fails is tried again at the next
//! turn. Turns come every `TURN_MS` and with every new table.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::desk;
use super::message::Ask;
use super::node::Node;
use super::raft::{Adjusted, Status};
use crate::cluster::id::NodeId;
use crate::cluster::plan;
use crate::cluster::table::{Change, Outcome, Table};
use crate::cluster::voters;
use crate::hub::cluster::count;

/// Longest time between turns.
const TURN_MS: u64 = 100;
/// Time between looks at who votes.
const VOTERS_MS: u64 = 500;

/// Leads whenever this node is the leader.
pub async fn run(node: Arc<Node>) {
    let mut table = node.agreement().table();
    let mut voters_at_ns = 0;
    let mut led = false;
    // The table in which nothing was to move: the rule asks all slots, and would be asked at every turn of a cluster at rest.
    let mut settled = None;
    loop {
        let status = node.agreement().status().borrow().clone();
        let present = Arc::clone(&table.borrow_and_update());
        if status.is_leader && present.cluster.is_founded() {
            if !led {
                tracing::info!(
                    "leading the cluster in term {} at table version {}",
                    status.term,
                    present.version
                );
            }
            node.desk().begin(desk::leadership(node.agreement()), &present, !led);
            led = true;
            give_up(&node, &present).await;
            if settled != Some(present.stamp()) && begin_moves(&node, &present).await == Wanted::Nothing {
                settled = Some(present.stamp());
            }
            if node.clock().boot_ns() >= voters_at_ns {
                choose_voters(&node, &status, &present);
                voters_at_ns = node.clock().boot_ns() + VOTERS_MS * 1_000_000;
            }
        } else if led {
            tracing::info!("no longer leading the cluster");
            led = false;
        }
        // A turn comes by itself, too: time alone makes leases run out.
        drop(timeout(Duration::from_millis(TURN_MS), table.changed()).await);
    }
}

/// Takes every table that is agreed on, and passes it on if this node leads.
pub async fn spread(node: Arc<Node>) {
    let mut agreed = node.agreement().table();
    loop {
        let table = Arc::clone(&agreed.borrow_and_update());
        node.take_table(Arc::clone(&table));
        if node.agreement().status().borrow().is_leader
            && let Ok(encoded) = postcard::to_allocvec(&*table)
        {
            for member in table.members.iter().filter(|member| member.id != node.id()) {
                node.post().tell(member.id, &Ask::Push, &encoded);
            }
        }
        if agreed.changed().await.is_err() {
            return;
        }
    }
}

async fn give_up(node: &Arc<Node>, table: &Arc<Table>) {
    for (id, incarnation) in node.desk().condemn(table) {
        tracing::warn!(
            "node {} has had no lease for {} ms: its slots go to the others",
            id.short(),
            node.patience_ms()
        );
        if let Ok(Ok(version)) = node.agreement().propose(Change::Leave { id, incarnation }).await {
            count(&node.hub().cluster.counters.nodes_given_up);
            tracing::warn!("node {} is out since table version {version}", id.short());
        }
    }
}

/// Whether a table wants slots to move.
#[derive(PartialEq, Eq)]
enum Wanted {
    /// None, or those that do already.
    Nothing,
    /// Some, which were begun as far as that was agreed on.
    Moves,
}

async fn begin_moves(node: &Arc<Node>, table: &Table) -> Wanted {
    let moves = plan::moves(table);
    if moves.is_empty() {
        return Wanted::Nothing;
    }
    for (start, end, from, to) in moves {
        let begun: Result<Outcome, _> =
            node.agreement().propose(Change::Begin { start, end, from, to }).await;
        if !matches!(begun, Ok(Ok(_))) {
            break;
        }
    }
    Wanted::Moves
}

/// Replaces voters in the background: it may take some node timeouts, in which leases must go on.
fn choose_voters(node: &Arc<Node>, status: &Status, table: &Table) {
    let wanted = voters::choose(&status.voters, &node.candidates(table));
    if wanted.is_empty() || wanted == status.voters && status.learners.is_empty() {
        return;
    }
    let node = Arc::clone(node);
    tokio::spawn(async move {
        match node.agreement().adjust_voters(&wanted).await {
            Ok(Adjusted::Unchanged) => {}
            Ok(Adjusted::Changed) => tracing::info!("voters are now {}", names(&wanted)),
            Ok(Adjusted::GaveWay) => tracing::info!("another voter is to lead"),
            Err(error) => tracing::debug!("the voters are not yet {}: {error}", names(&wanted)),
        }
    });
}

fn names(ids: &[NodeId]) -> String {
    ids.iter().map(|id| id.short()).collect::<Vec<_>>().join(", ")
}
