//! What other nodes ask of this one: each request to the part that answers it.
//!
//! Whoever knocks knows the cluster's secret and says who it is; nothing else is taken on trust. What cannot be read is
//! answered as malformed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bus;
use super::frame::PeerHello;
use super::link::Handler;
use super::message::{self, Answer, Ask, Renewal, decode_table};
use super::net::BoxFuture;
use super::node::Node;
use super::raft::ProposeError;
use crate::cluster::id::NodeId;
use crate::cluster::table::Change;

/// The door of a node; see the module.
pub struct Door {
    node: Arc<Node>,
}

impl Door {
    /// The door of a node.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

impl Handler for Door {
    fn call(&self, from: &PeerHello, body: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        let (node, from) = (Arc::clone(&self.node), from.node_id);
        Box::pin(async move {
            let (answer, tail) = match message::decode::<Ask>(&body) {
                Some((ask, tail)) => answer(&node, from, ask, tail).await,
                None => (Answer::Malformed, Vec::new()),
            };
            message::encode(&answer, &tail)
        })
    }

    fn cast(&self, from: &PeerHello, body: Vec<u8>) {
        if self.node.gossip().receive(from, &body) {
            return;
        }
        let Some((ask, tail)) = message::decode::<Ask>(&body) else { return };
        if let Ask::Publish { number, messages, scope } = ask {
            let at = body.len() - tail.len();
            let records = Bytes::from(body).slice(at..);
            return bus::take_in(&self.node, from, number, (scope, messages), records);
        }
        match ask {
            Ask::Push => {
                if let Some(table) = decode_table(tail) {
                    self.node.take_table(Arc::new(table));
                }
            }
            Ask::Form(message) => self.node.hear_formation(from, message),
            _ => {}
        }
    }
}

async fn answer(node: &Arc<Node>, from: NodeId, ask: Ask, tail: &[u8]) -> (Answer, Vec<u8>) {
    match ask {
        Ask::Agree => (Answer::Agree, node.agreement().handle(tail).await),
        Ask::Renew(renewal) => renew(node, from, renewal).await,
        Ask::Propose(change) => (propose(node, change).await, Vec::new()),
        Ask::Newer { stamp } => newer(node, stamp),
        Ask::Open { id } => (node.arrivals().open(id, from).await, Vec::new()),
        Ask::Records { id, sequence } => {
            (node.arrivals().records(id, from, sequence, tail).await, Vec::new())
        }
        Ask::Close { id, messages } => (node.arrivals().close(id, from, messages).await, Vec::new()),
        Ask::Push | Ask::Form(_) | Ask::Publish { .. } => (Answer::Malformed, Vec::new()),
        Ask::Voters => (Answer::Voters(node.agreement().status().borrow().voters.clone()), Vec::new()),
    }
}

/// A request for a lease is passed on to the leader if this node is not it (R11), but only once.
async fn renew(node: &Arc<Node>, from: NodeId, renewal: Renewal) -> (Answer, Vec<u8>) {
    let leader = node.agreement().status().borrow().leader;
    match leader {
        Some(leader) if leader != node.id() && from == renewal.id && leader != from => {
            let timeout = Duration::from_nanos(node.lease_ns() / 4);
            match node.post().ask(leader, &Ask::Renew(renewal), &[], timeout).await {
                Ok(reply) => (reply.answer, reply.tail),
                Err(_) => (Answer::NotLeader(Some(leader)), Vec::new()),
            }
        }
        _ => node.answer_renewal(renewal).await,
    }
}

async fn propose(node: &Arc<Node>, change: Change) -> Answer {
    // What an operator's last resort does is no other node's business. A founding is, as long as there is none: whoever
    // leads voters of an unfounded cluster was made one by the node that all have promised.
    if matches!(change, Change::Reform { .. }) {
        return Answer::Malformed;
    }
    match node.agreement().propose(change).await {
        Ok(outcome) => Answer::Proposed(outcome),
        Err(ProposeError::NotLeader { leader }) => Answer::NotLeader(leader),
        Err(ProposeError::Lost | ProposeError::Timeout) => {
            Answer::Refused("what became of the change is unknown".to_owned())
        }
    }
}

fn newer(node: &Arc<Node>, stamp: (u32, u64)) -> (Answer, Vec<u8>) {
    let table = node.tables().newest();
    match postcard::to_allocvec(&*table) {
        Ok(encoded) if table.stamp() > stamp => (Answer::Table, encoded),
        _ => (Answer::Done, Vec::new()),
    }
}
