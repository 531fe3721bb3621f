//! This node's own lease: asked for every quarter of its length, counted from when it was asked for (R1), and granted to who
//! goes by a table since which it has lost nothing (R3). Such a lease is as good under any table that came meanwhile.
//!
//! The leader is asked directly; if it does not answer, another voter is asked to pass the request on (R11). Whoever is
//! slow to answer is not given up: requests overlap, and an answer that comes late counts from when it was asked for.
//! So on a lossy wire one answer of many is enough.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::message::{Answer, Ask, Renewal, decode_table};
use super::node::Node;
use crate::cluster::id::NodeId;
use crate::hub::cluster::count;

/// Tables taken over in one attempt before the next one waits.
const TABLES_A_RENEWAL: usize = 8;
/// Attempts under way at once: one begins each quarter of a lease, and after a whole one its answer is of no use.
const ATTEMPTS_MAX: usize = 4;

/// Keeps the lease for as long as the node lives.
pub async fn keep(node: Arc<Node>) {
    let lease = Duration::from_nanos(node.lease_ns());
    let mut attempts = JoinSet::new();
    let mut unanswered = 0;
    loop {
        let began_ns = node.clock().boot_ns();
        // What ended meanwhile has had its effect.
        while attempts.try_join_next().is_some() {}
        if attempts.len() < ATTEMPTS_MAX {
            attempts.spawn(renew(Arc::clone(&node), lease, unanswered > 0));
        }
        let Ok(first) = timeout(lease / 4, attempts.join_next()).await else {
            unanswered += 1;
            continue;
        };
        let granted = matches!(first, Some(Ok(true)));
        unanswered = 0;
        let counters = &node.hub().cluster.counters;
        count(if granted { &counters.leases_granted } else { &counters.leases_refused });
        let took = Duration::from_nanos(node.clock().boot_ns().saturating_sub(began_ns));
        // What was refused is tried again soon: a new leader may be there by then.
        let period = if granted { lease / 4 } else { lease / 20 };
        sleep(period.saturating_sub(took).max(Duration::from_millis(5))).await;
    }
}

/// Asks for the lease once, by way of another voter if told so; says whether it was granted.
async fn renew(node: Arc<Node>, lease: Duration, detour: bool) -> bool {
    for _ in 0..TABLES_A_RENEWAL {
        let asked_ns = node.clock().boot_ns();
        let stamp = *node.ground().installed().borrow();
        let renewal = Renewal { id: node.id(), incarnation: node.incarnation(), stamp };
        let Ok(Some((answer, tail))) = timeout(lease, ask(&node, renewal, lease, detour)).await else {
            return false;
        };
        let is_stranger = answer == Answer::Stranger;
        match answer {
            Answer::Leased { lease_ns, voters } => {
                node.hear_of_voters(voters);
                let is_same_generation = node.ground().installed().borrow().0 == stamp.0;
                if is_same_generation {
                    node.hub().cluster.routes.lengthen_lease(asked_ns + lease_ns);
                }
                if let Some(table) = decode_table(&tail) {
                    node.take_table(Arc::new(table));
                }
                if is_same_generation {
                    return true;
                }
            }
            Answer::Behind | Answer::Stranger => {
                if let Some(table) = decode_table(&tail) {
                    node.take_table(Arc::new(table));
                }
                if is_stranger {
                    node.join_soon();
                    return false;
                }
            }
            _ => return false,
        }
    }
    false
}

async fn ask(
    node: &Arc<Node>,
    renewal: Renewal,
    timeout: Duration,
    detour: bool,
) -> Option<(Answer, Vec<u8>)> {
    let leader = node.leader()?;
    if leader == node.id() {
        return Some(node.answer_renewal(renewal).await);
    }
    let send = async |to: NodeId| node.post().ask(to, &Ask::Renew(renewal), &[], timeout).await;
    let direct = if detour { None } else { Some(send(leader).await) };
    let reply = match direct {
        Some(Ok(reply)) => reply,
        unheard => {
            if let Some(Err(error)) = unheard {
                tracing::debug!("no lease from the leader: {error}");
                node.hear_of_leader(leader, None);
            }
            let relay = node.another_voter(leader)?;
            let reply = send(relay).await.ok()?;
            if matches!(reply.answer, Answer::Leased { .. }) {
                node.hear_by_way_of(relay);
            }
            reply
        }
    };
    if let Answer::NotLeader(hint) = reply.answer {
        node.hear_of_leader(leader, hint);
        return None;
    }
    Some((reply.answer, reply.tail))
}
