//! A node of the cluster: its parts put together, and what they ask of each other.
//!
//! Everything here runs on one thread with a runtime of its own; clients are served elsewhere and see of it only what
//! [`crate::hub::cluster`] shows. Nothing is decided here: tables are agreed on by [`Agreement`], leases granted by
//! [`Desk`], slots served by [`Ground`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::arrivals::Arrivals;
use super::bus::{Heard, Lanes};
use super::departures::Departures;
use super::desk::Desk;
use super::forming::{self, Heeded};
use super::frame::PeerHello;
use super::gossip::Gossip;
use super::ground::Ground;
use super::link::Identity;
use super::message::{Answer, Ask, Renewal, decode_table};
use super::post::Post;
use super::raft::{Agreement, ProposeError};
use super::tables::Tables;
use crate::base::clock::Clock;
use crate::base::lock::{Mutex, RwLock};
use crate::base::rng::Rng;
use crate::cluster::formation::Message;
use crate::cluster::id::NodeId;
use crate::cluster::table::{Change, Member, Outcome, Standing, Table};
use crate::cluster::voters::Elector;
use crate::hub::Hub;

/// Longest that a proposal looks for the leader.
const PROPOSE_MS: u64 = 3_000;
/// Longest that a request about the table waits for its answer.
const ANSWER_MS: u64 = 2_000;
/// Pause before something is tried again.
const RETRY_MS: u64 = 20;

/// The parts of a node; see the module.
pub struct Parts {
    /// What clients' threads share.
    pub hub: Arc<Hub>,
    /// This node as the table is to show it.
    pub member: Member,
    /// Who this node is to others.
    pub identity: watch::Sender<Identity>,
    /// Sending to others.
    pub post: Arc<Post>,
    /// Hearing of others.
    pub gossip: Gossip,
    /// Agreeing on the table.
    pub agreement: Agreement,
    /// Granting leases.
    pub desk: Arc<Desk>,
    /// Serving slots.
    pub ground: Arc<Ground>,
    /// How long a lease lasts, in ns.
    pub lease_ns: u64,
    /// Where messages about the cold start go.
    pub forming: mpsc::Sender<Heeded>,
}

/// A node; see the module.
pub struct Node {
    hub: Arc<Hub>,
    clock: Clock,
    id: NodeId,
    incarnation: u64,
    member: RwLock<Member>,
    identity: watch::Sender<Identity>,
    post: Arc<Post>,
    gossip: Gossip,
    agreement: Agreement,
    desk: Arc<Desk>,
    ground: Arc<Ground>,
    tables: Tables,
    arrivals: Arrivals,
    departures: Departures,
    heard: Heard,
    lanes: Lanes,
    lease_ns: u64,
    hint: Mutex<Hint>,
    /// Why it is no further, for people.
    reason: Mutex<String>,
    left: AtomicBool,
    /// Whether the node has left and nobody waits for it any more.
    gone: watch::Sender<bool>,
    forming: mpsc::Sender<Heeded>,
    /// Told when this node should ask to be taken in.
    pub(super) join: Notify,
}

/// Who leads and votes, by hearsay.
struct Hint {
    leader: Option<NodeId>,
    voters: Vec<NodeId>,
    /// Who passed the last request on.
    relay: Option<NodeId>,
    /// Which of the voters passes on the next one, if not that one.
    turn: usize,
    rng: Rng,
}

impl Node {
    /// A node of these parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { hub, member, identity, post, gossip, agreement, desk, ground, lease_ns, forming } = parts;
        Arc::new(Self {
            clock: hub.clock.clone(),
            arrivals: Arrivals::new(Arc::clone(&hub), Arc::clone(&ground)),
            departures: Departures::default(),
            heard: Heard::default(),
            lanes: Lanes::default(),
            tables: Tables::default(),
            hint: Mutex::new(Hint {
                leader: None,
                voters: Vec::new(),
                relay: None,
                turn: 0,
                rng: Rng::from_entropy(),
            }),
            reason: Mutex::default(),
            left: AtomicBool::new(false),
            gone: watch::Sender::new(false),
            join: Notify::new(),
            forming,
            hub,
            id: member.id,
            incarnation: member.incarnation,
            member: RwLock::new(member),
            identity,
            post,
            gossip,
            agreement,
            desk,
            ground,
            lease_ns,
        })
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Which process of the node this is.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// What clients' threads share.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Where the time comes from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sending to others.
    pub fn post(&self) -> &Arc<Post> {
        &self.post
    }

    /// Hearing of others.
    pub fn gossip(&self) -> &Gossip {
        &self.gossip
    }

    /// Agreeing on the table.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Granting leases.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Serving slots.
    pub fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// Moves towards this node.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// Moves away from this node.
    pub fn departures(&self) -> &Departures {
        &self.departures
    }

    /// What clients have published and waits to be sent.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// What was heard of other nodes' clients.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// The newest table that this node has heard of.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// How long a lease lasts.
    pub fn lease_ns(&self) -> u64 {
        self.lease_ns
    }

    /// How long a node without a lease is waited for.
    pub fn patience_ms(&self) -> u64 {
        self.lease_ns / 1_000_000
    }

    /// This node as it wants to be shown: what it drains, it goes on draining, also when it was given up meanwhile and
    /// joins anew.
    pub fn member(&self) -> Member {
        let known = self.ground.table().process(self.id(), self.incarnation()).map(|known| known.standing);
        let own = self.member.read().clone();
        Member { standing: known.unwrap_or(own.standing), ..own }
    }

    /// Notes how this node is to stand whenever the table does not know it.
    pub fn set_standing(&self, standing: Standing) {
        self.member.write().standing = standing;
    }

    /// Who this node is to others, to be changed.
    pub fn identity(&self) -> &watch::Sender<Identity> {
        &self.identity
    }

    /// The address that other nodes are told.
    pub fn peer_address(&self) -> SocketAddr {
        self.member.read().peer
    }

    /// From here on the node is reached under another address, by other nodes and by clients who were told this one.
    pub fn relocate(&self, ip: IpAddr) {
        let peer = {
            let mut member = self.member.write();
            if member.client.host == member.peer.ip().to_string() {
                member.client.host = ip.to_string();
            }
            member.peer.set_ip(ip);
            member.peer
        };
        self.identity.send_modify(|identity| identity.peer_addr = peer);
        self.gossip.update(|said| said.client_ip = Some(ip));
        self.gossip.relocate(peer);
        self.join_soon();
    }

    /// Puts a table in force if it is newer than the one that is.
    pub fn take_table(&self, table: Arc<Table>) {
        if self.tables.offer(Arc::clone(&table)) {
            for member in &table.members {
                if self.post.address(member.id).is_none() {
                    self.post.learn(member.id, member.peer);
                }
            }
            self.ground.install(table);
            self.arrivals.forget_the_ended();
        }
    }

    /// Takes in a message about the cold start; too many are lost, as any may be.
    pub fn hear_formation(&self, from: &PeerHello, message: Message) {
        let _ = self.forming.try_send((forming::sender(from), message));
    }

    /// Says why the node is no further than it is.
    pub fn explain(&self, why: String) {
        *self.reason.lock() = why;
    }

    /// Why the node is no further than it is.
    pub fn reason(&self) -> String {
        self.reason.lock().clone()
    }

    /// From here on the node is no member and does not become one.
    pub fn set_left(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// Whether the node is no member any more by its own will.
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// From here on nobody misses this node.
    pub fn set_gone(&self) {
        self.gone.send_replace(true);
    }

    /// Whether nobody misses this node.
    pub fn gone(&self) -> watch::Receiver<bool> {
        self.gone.subscribe()
    }

    /// Who was heard to lead, if the node has no better knowledge.
    pub fn leader_heard_of(&self) -> Option<NodeId> {
        self.hint.lock().leader
    }

    /// Notes who votes, by the leader's word.
    pub fn hear_of_voters(&self, voters: Vec<NodeId>) {
        self.hint.lock().voters = voters;
    }

    /// Who was heard to vote.
    pub fn voters_heard_of(&self) -> Vec<NodeId> {
        self.hint.lock().voters.clone()
    }

    /// Asks to be taken in, or shown as it now is, soon.
    pub fn join_soon(&self) {
        self.join.notify_one();
    }

    /// Who probably leads: the leader that is heard, the one that was heard of, else any voter or member.
    pub fn leader(&self) -> Option<NodeId> {
        if let Some(leader) = self.agreement.status().borrow().leader {
            return Some(leader);
        }
        let mut hint = self.hint.lock();
        if hint.leader.is_none() {
            let table = self.ground.table();
            let mut others: Vec<NodeId> = match table.members.len() {
                0 => self.gossip.view().borrow().alive().map(|peer| peer.id).collect(),
                _ => table.members.iter().map(|member| member.id).collect(),
            };
            others.retain(|id| *id != self.id());
            let at = hint.rng.below(others.len() as u64) as usize;
            hint.leader = others.get(at).copied();
        }
        hint.leader
    }

    /// Notes that a node does not lead, and who may.
    pub fn hear_of_leader(&self, not: NodeId, leader: Option<NodeId>) {
        self.hint.lock().leader = leader.filter(|leader| *leader != not && *leader != self.id());
    }

    /// A member other than this node and `but`, which may pass a request on: the one that did so last, once, and then one
    /// after the other, so that the only one that can be reached is found in as many attempts as there are.
    pub fn another_voter(&self, but: NodeId) -> Option<NodeId> {
        let table = self.ground.table();
        let mut hint = self.hint.lock();
        let all: Vec<NodeId> = match hint.voters.is_empty() {
            true => table.members.iter().map(|member| member.id).collect(),
            false => hint.voters.clone(),
        };
        let others: Vec<NodeId> = all.into_iter().filter(|id| *id != but && *id != self.id()).collect();
        if let Some(relay) = hint.relay.take().filter(|relay| others.contains(relay)) {
            return Some(relay);
        }
        hint.turn = hint.turn.wrapping_add(1);
        others.get(hint.turn.checked_rem(others.len())?).copied()
    }

    /// Notes who passed a request on.
    pub fn hear_by_way_of(&self, relay: NodeId) {
        self.hint.lock().relay = Some(relay);
    }

    /// Has a change agreed on, by whoever leads.
    ///
    /// # Errors
    /// Its fate is unknown: no leader was found in time, or it changed meanwhile.
    pub async fn propose(&self, change: Change) -> Result<Outcome, ()> {
        let deadline_ns = self.clock.boot_ns() + PROPOSE_MS * 1_000_000;
        while self.clock.boot_ns() < deadline_ns {
            // A voter that lost its vote while it was away may campaign for ever: only who leads is asked.
            if self.agreement.status().borrow().is_leader {
                match self.agreement.propose(change.clone()).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(ProposeError::Lost | ProposeError::Timeout) => return Err(()),
                    Err(ProposeError::NotLeader { leader }) => self.hint.lock().leader = leader,
                }
            }
            if let Some(leader) = self.leader().filter(|leader| *leader != self.id()) {
                let timeout = Duration::from_millis(ANSWER_MS);
                match self.post.ask(leader, &Ask::Propose(change.clone()), &[], timeout).await {
                    Ok(reply) => match reply.answer {
                        Answer::Proposed(outcome) => return Ok(outcome),
                        Answer::NotLeader(hint) => self.hear_of_leader(leader, hint),
                        _ => return Err(()),
                    },
                    Err(why) => {
                        tracing::debug!("a change was not proposed: {why}");
                        self.hear_of_leader(leader, None);
                    }
                }
            }
            sleep(Duration::from_millis(RETRY_MS)).await;
        }
        Err(())
    }

    /// Waits until a table of this version or a later one is in force; not for long, as it may never come.
    pub async fn wait_for_version(&self, version: u64) {
        let mut installed = self.ground.installed();
        let wait = installed.wait_for(|(_, installed)| *installed >= version);
        if timeout(Duration::from_millis(10 * RETRY_MS), wait).await.is_err() {
            self.refresh_table().await;
        }
    }

    /// Asks whoever probably leads for a newer table.
    pub async fn refresh_table(&self) {
        let stamp = *self.ground.installed().borrow();
        if let Some(leader) = self.leader().filter(|leader| *leader != self.id()) {
            self.pull(leader, stamp).await;
        }
        sleep(Duration::from_millis(RETRY_MS)).await;
    }

    /// Asks a node for a table that is newer than `stamp`, and puts it in force.
    pub async fn pull(&self, from: NodeId, stamp: (u32, u64)) {
        let timeout = Duration::from_millis(ANSWER_MS);
        match self.post.ask(from, &Ask::Newer { stamp }, &[], timeout).await {
            Ok(reply) if reply.answer == Answer::Table => {
                if let Some(table) = decode_table(&reply.tail) {
                    self.take_table(Arc::new(table));
                }
            }
            Ok(_) => {}
            Err(why) => tracing::debug!("no newer table: {why}"),
        }
    }

    /// Answers a request for a lease; with the tail of the answer.
    pub async fn answer_renewal(&self, renewal: Renewal) -> (Answer, Vec<u8>) {
        let (answer, table) = self.desk.renew(renewal).await;
        let encoded = table.and_then(|table| postcard::to_allocvec(&*table).ok());
        (answer, encoded.unwrap_or_default())
    }

    /// The members as candidates for a vote: those that are heard of and stay.
    pub fn candidates(&self, table: &Table) -> Vec<Elector> {
        let view = self.gossip.view().borrow().clone();
        let is_alive = |id: NodeId| id == self.id() || view.peers.get(&id).is_some_and(|peer| peer.alive);
        let elector = |member: &Member| Elector {
            id: member.id,
            zone: member.zone.clone(),
            is_fit: member.standing == Standing::Active && is_alive(member.id),
        };
        table.members.iter().map(elector).collect()
    }
}
