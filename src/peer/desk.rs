//! The leader's desk, where leases are granted.
//!
//! A lease is granted only after a quorum has confirmed, since the request came in, that this node leads (R2), only to a
//! process that the table then knows, and only if it goes by that table or by one since which it has lost no slot (R3).
//! Requests that come in while a confirmation is under way share the next one. Nothing is granted before the leadership's grants have begun (R4), nor
//! to a process that is being given up.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::message::{Answer, Renewal};
use super::raft::Agreement;
use crate::base::clock::Clock;
use crate::base::limits::CLUSTER_NODES_MAX;
use crate::base::lock::Mutex;
use crate::cluster::id::NodeId;
use crate::cluster::lease::Grants;
use crate::cluster::table::Table;
use crate::hub::Hub;
use crate::hub::cluster::count;

/// The desk; see the module.
pub struct Desk {
    hub: Arc<Hub>,
    clock: Clock,
    agreement: Agreement,
    lease_ns: u64,
    /// The grants of this node's leadership, with its generation and term.
    grants: Mutex<Option<((u32, u64), Grants)>>,
    asked: mpsc::Sender<oneshot::Sender<bool>>,
}

impl Desk {
    /// A desk, and the task that confirms leadership for it.
    pub fn open(hub: Arc<Hub>, agreement: Agreement, lease_ns: u64) -> Arc<Self> {
        let (asked, asks) = mpsc::channel(CLUSTER_NODES_MAX);
        tokio::spawn(confirm(agreement.clone(), asks));
        let clock = hub.clock.clone();
        Arc::new(Self { hub, clock, agreement, lease_ns, grants: Mutex::default(), asked })
    }

    /// Begins the grants of a leadership: everybody may hold a lease from before. A leadership that has begun goes
    /// on with its grants, and waits for everybody anew if it was interrupted.
    pub fn begin(&self, leadership: (u32, u64), table: &Arc<Table>, interrupted: bool) {
        let now_ns = self.clock.boot_ns();
        match &mut *self.grants.lock() {
            Some((known, grants)) if *known == leadership => {
                if interrupted {
                    grants.resume(now_ns);
                }
            }
            grants => {
                *grants = Some((leadership, Grants::begin(table, self.lease_ns, now_ns)));
                count(&self.hub.cluster.counters.leaderships);
            }
        }
    }

    /// Processes whose leases have run out for certain; none of them is granted another.
    pub fn condemn(&self, table: &Arc<Table>) -> Vec<(NodeId, u64)> {
        let now_ns = self.clock.boot_ns();
        match &mut *self.grants.lock() {
            Some((_, grants)) => {
                grants.follow(table, now_ns);
                grants.condemn(now_ns)
            }
            None => Vec::new(),
        }
    }

    /// Grants a lease, or says why not. The newest table comes with the answer to who does not know it.
    pub async fn renew(&self, renewal: Renewal) -> (Answer, Option<Arc<Table>>) {
        let (confirmation, confirmed) = oneshot::channel();
        let asked = self.asked.send(confirmation).await.is_ok();
        if !asked || !confirmed.await.unwrap_or(false) {
            return (Answer::NotLeader(self.agreement.status().borrow().leader), None);
        }
        let leadership = leadership(&self.agreement);
        let now_ns = self.clock.boot_ns();
        let mut grants = self.grants.lock();
        // Looked at with the lock held, so that no newer one was followed.
        let table = Arc::clone(&self.agreement.table().borrow());
        let Some(member) = table.process(renewal.id, renewal.incarnation) else {
            return (Answer::Stranger, Some(table));
        };
        match &mut *grants {
            Some((known, grants)) if *known == leadership => {
                grants.follow(&table, now_ns);
                let newer = (renewal.stamp != table.stamp()).then(|| Arc::clone(&table));
                if grants.is_behind(member, renewal.stamp) {
                    (Answer::Behind, newer)
                } else if grants.grant(member, now_ns) {
                    count(&self.hub.cluster.counters.grants_given);
                    let voters = self.agreement.status().borrow().voters.clone();
                    (Answer::Leased { lease_ns: grants.lease_ns(), voters }, newer)
                } else {
                    (Answer::Refused("its lease ran out, and it is being given up".to_owned()), None)
                }
            }
            _ => (Answer::Refused("the leader has just been elected".to_owned()), None),
        }
    }
}

/// Generation and term of the leadership that there is, whoever has it.
pub fn leadership(agreement: &Agreement) -> (u32, u64) {
    let status = agreement.status();
    let status = status.borrow();
    (status.generation, status.term)
}

/// Confirms leadership for all who ask, round after round: who asks during a round waits for the next.
async fn confirm(agreement: Agreement, mut asks: mpsc::Receiver<oneshot::Sender<bool>>) {
    let mut round = Vec::new();
    while asks.recv_many(&mut round, CLUSTER_NODES_MAX).await > 0 {
        let leads = agreement.status().borrow().is_leader;
        let confirmed = leads && agreement.confirm().await.is_ok();
        for asker in round.drain(..) {
            // Who no longer waits needs no answer.
            let _ = asker.send(confirmed);
        }
    }
}
