//! Sending to nodes by their ids: an address book over the links, and headers around what is sent.
//!
//! The book says where a node was last heard of; a wrong entry costs a failed request, never a wrong answer, because a
//! link tells who is at its other end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::frame::Class;
use super::link::{Links, Target};
use super::message::{self, Answer, Ask};
use crate::base::limits::CLUSTER_NODES_MAX;
use crate::base::lock::RwLock;
use crate::cluster::id::NodeId;

/// The post; see the module.
pub struct Post {
    links: Links,
    book: RwLock<HashMap<NodeId, SocketAddr>>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// What came behind it.
    pub tail: Vec<u8>,
}

impl Post {
    /// With an empty book.
    pub fn new(links: Links) -> Self {
        Self { links, book: RwLock::default() }
    }

    /// Notes where a node is. A full book forgets nobody who is known, and learns nobody new.
    pub fn learn(&self, id: NodeId, address: SocketAddr) {
        let mut book = self.book.write();
        if book.len() < 2 * CLUSTER_NODES_MAX || book.contains_key(&id) {
            book.insert(id, address);
        }
    }

    /// Forgets all nodes but those that `keep` wants.
    pub fn forget(&self, keep: impl Fn(&NodeId) -> bool) {
        self.book.write().retain(|id, _| keep(id));
    }

    /// Where a node is.
    pub fn address(&self, id: NodeId) -> Option<SocketAddr> {
        self.book.read().get(&id).copied()
    }

    /// Asks a node and waits for its answer.
    ///
    /// # Errors
    /// There was none, in words.
    pub async fn ask(&self, to: NodeId, ask: &Ask, tail: &[u8], timeout: Duration) -> Result<Reply, String> {
        self.ask_by(Class::Control, to, ask, tail, timeout).await
    }

    /// The same, by the links for keys that move.
    ///
    /// # Errors
    /// There was no answer, in words.
    pub async fn ask_bulk(
        &self,
        to: NodeId,
        ask: &Ask,
        tail: &[u8],
        timeout: Duration,
    ) -> Result<Reply, String> {
        self.ask_by(Class::Bulk, to, ask, tail, timeout).await
    }

    async fn ask_by(
        &self,
        class: Class,
        to: NodeId,
        ask: &Ask,
        tail: &[u8],
        timeout: Duration,
    ) -> Result<Reply, String> {
        let address =
            self.address(to).ok_or_else(|| format!("no address of node {} is known", to.short()))?;
        let target = Target::node(address, to).by(class);
        let body = self.links.call(target, message::encode(ask, tail), timeout).await;
        let body = body.map_err(|error| format!("node {} at {address}: {error}", to.short()))?;
        match message::decode::<Answer>(&body) {
            Some((answer, tail)) => Ok(Reply { answer, tail: tail.to_vec() }),
            None => Err(format!("node {} at {address} gave no answer that can be read", to.short())),
        }
    }

    /// Tells a node something that may be lost.
    pub fn tell(&self, to: NodeId, ask: &Ask, tail: &[u8]) -> bool {
        let Some(address) = self.address(to) else { return false };
        self.links.cast(Target::node(address, to), message::encode(ask, tail))
    }

    /// Tells a node what clients have published: `body` is a whole message. Waits until it is on its way.
    ///
    /// # Errors
    /// It was not sent, in words.
    pub async fn publish(&self, to: NodeId, body: Bytes) -> Result<(), String> {
        let address =
            self.address(to).ok_or_else(|| format!("no address of node {} is known", to.short()))?;
        let sent = self.links.deliver(Target::node(address, to).by(Class::Publish), body).await;
        sent.map_err(|error| format!("node {} at {address}: {error}", to.short()))
    }

    /// The links.
    pub fn links(&self) -> &Links {
        &self.links
    }
}
