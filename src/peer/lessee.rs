//! This node's own lease: asked for every quarter of its length, counted from when it was asked for (R1), put in force
//! only under the table that it was granted for (R3).
//!
//! The leader is asked directly; if it does not answer, another voter is asked to pass the request on (R11).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::message::{Answer, Ask, Renewal, decode_table};
use super::node::Node;
use crate::hub::cluster::count;

/// Tables taken over in one attempt before the next one waits.
const TABLES_A_RENEWAL: usize = 8;

/// Keeps the lease for as long as the node lives.
pub async fn keep(node: Arc<Node>) {
    let lease = Duration::from_nanos(node.lease_ns());
    loop {
        let began_ns = node.clock().boot_ns();
        let granted = renew(&node, lease / 4).await;
        let counters = &node.hub().cluster.counters;
        count(if granted { &counters.leases_granted } else { &counters.leases_refused });
        let took = Duration::from_nanos(node.clock().boot_ns().saturating_sub(began_ns));
        // What was refused is tried again soon: a new leader may be there by then.
        let period = if granted { lease / 4 } else { lease / 20 };
        sleep(period.saturating_sub(took).max(Duration::from_millis(5))).await;
    }
}

/// Asks for the lease once; says whether it was granted.
async fn renew(node: &Arc<Node>, timeout: Duration) -> bool {
    for _ in 0..TABLES_A_RENEWAL {
        let asked_ns = node.clock().boot_ns();
        let stamp = *node.ground().installed().borrow();
        let renewal = Renewal { id: node.id(), incarnation: node.incarnation(), stamp };
        let Some((answer, tail)) = ask(node, renewal, timeout).await else { return false };
        let is_stranger = answer == Answer::Stranger;
        match answer {
            Answer::Leased { lease_ns, voters } => {
                node.hear_of_voters(voters);
                if *node.ground().installed().borrow() == stamp {
                    node.hub().cluster.routes.lengthen_lease(asked_ns + lease_ns);
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

async fn ask(node: &Arc<Node>, renewal: Renewal, timeout: Duration) -> Option<(Answer, Vec<u8>)> {
    let leader = node.leader()?;
    if leader == node.id() {
        return Some(node.answer_renewal(renewal).await);
    }
    let direct = node.post().ask(leader, &Ask::Renew(renewal), &[], timeout).await;
    let reply = match direct {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!("no lease from the leader: {error}");
            let other = node.another_voter(leader)?;
            node.post().ask(other, &Ask::Renew(renewal), &[], timeout).await.ok()?
        }
    };
    if let Answer::NotLeader(hint) = reply.answer {
        node.hear_of_leader(leader, hint);
        return None;
    }
    Some((reply.answer, reply.tail))
}
