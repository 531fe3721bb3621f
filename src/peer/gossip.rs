//! Membership: who is there, by chitchat over this node's links.
//!
//! chitchat would use UDP of its own; here it uses [`Links::cast`], so that there is one port to open, one place that
//! authenticates, and nothing that can be recorded and played again. Its version is pinned to 0.11.0: 0.12 and later
//! hide the form of messages from transports that are not their own. What they brought instead, a smaller digest, is
//! done by `gossip_wire`; state machine and failure detector are the same.
//!
//! What gossip says is a hint. It finds nodes and spreads what they say of themselves; it never decides who owns what.
//! A node is known by its id: of two processes with one id the later incarnation is shown, wherever it is, and an
//! address that another node had before means nothing. Values that cannot be read, and nodes of another cluster, are
//! counted and not shown. A message that brings chitchat down (it asserts what it takes for granted) costs a restart
//! of it, not of the node.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, FailureDetectorConfig,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};
use tracing::{error, warn};

use super::frame::PeerHello;
use super::gossip_wire::{self, GOSSIP_TAG, NAME_DIGITS};
use super::link::Links;
use super::member::{self, Member, Peer, Unreadable};
use crate::base::limits::{
    CLUSTER_NODES_MAX, GOSSIP_DEAD_KEPT_MS, GOSSIP_FULL_NODES, GOSSIP_INBOX_MAX, GOSSIP_PERIOD_MS,
    GOSSIP_SEED_PERIOD_MS, GOSSIP_SEEDS_TRIED,
};
use crate::base::lock::Mutex;
use crate::base::rng::Rng;
use crate::cluster::id::{ClusterId, NodeId};

/// Restarts of chitchat that one process may make: they are part of what it calls a generation.
const RESTARTS_MAX: u64 = 255;

/// What gossip needs to know at its start.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    /// Name of the cluster.
    pub cluster_name: String,
    /// This node.
    pub node_id: NodeId,
    /// Which start of it this is: greater than at its last one, and below 2^56.
    pub incarnation: u64,
    /// The address that others reach it by, at the start.
    pub peer_addr: SocketAddr,
    /// Decides whom it talks to when; where the choice is chitchat's own it does not.
    pub seed: u64,
}

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// All nodes that are known, this one among them, dead ones for a while.
    pub peers: BTreeMap<NodeId, Peer>,
    /// A later incarnation of this very node was seen: another process has its id.
    pub superseded_by: Option<u64>,
    /// Live nodes of other clusters that were founded under the same name.
    pub foreign: usize,
}

impl View {
    /// The nodes that were heard of lately.
    pub fn alive(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().filter(|peer| peer.alive)
    }
}

/// What gossip has cost, and what it could not use.
#[derive(Debug, Default)]
pub struct GossipCounters {
    /// Bytes of messages sent, before encryption.
    pub sent_bytes: AtomicU64,
    /// Bytes of messages received, after decryption.
    pub received_bytes: AtomicU64,
    /// Messages sent.
    pub sent: AtomicU64,
    /// Messages received.
    pub received: AtomicU64,
    /// Messages that were dropped: malformed, or too many waiting.
    pub dropped: AtomicU64,
    /// Nodes whose values were found to be malformed, each time that they were read.
    pub malformed: AtomicU64,
    /// Restarts of chitchat after a panic.
    pub restarts: AtomicU64,
}

/// Gossip under way; cheap to clone. It ends by [`Gossip::shutdown`].
#[derive(Clone)]
pub struct Gossip {
    shared: Arc<Shared>,
    view: watch::Receiver<Arc<View>>,
    done: watch::Receiver<bool>,
}

struct Shared {
    config: GossipConfig,
    links: Links,
    counters: GossipCounters,
    member: watch::Sender<Member>,
    /// The address that others reach this node by.
    peer_addr: watch::Sender<SocketAddr>,
    reach: mpsc::Sender<SocketAddr>,
    stop: watch::Sender<bool>,
    inbox: Mutex<mpsc::Sender<(SocketAddr, ChitchatMessage)>>,
    /// Whom a message may speak of, once there are as many as may be.
    known: Mutex<HashSet<ChitchatId>>,
    known_count: AtomicUsize,
    rng: Mutex<Rng>,
}

impl Gossip {
    /// Begins to gossip, as one of the node's tasks. `seeds` are addresses of nodes that may be there.
    pub fn start(
        config: GossipConfig,
        links: Links,
        member: Member,
        seeds: watch::Receiver<Vec<SocketAddr>>,
    ) -> Self {
        let (reach, reached) = mpsc::channel(GOSSIP_SEEDS_TRIED);
        let shared = Arc::new(Shared {
            rng: Mutex::new(Rng::seeded(config.seed)),
            peer_addr: watch::Sender::new(config.peer_addr),
            config,
            links,
            counters: GossipCounters::default(),
            member: watch::Sender::new(member),
            reach,
            stop: watch::Sender::new(false),
            inbox: Mutex::new(mpsc::channel(1).0),
            known: Mutex::default(),
            known_count: AtomicUsize::new(0),
        });
        let (view_sender, view) = watch::channel(Arc::default());
        let (done_sender, done) = watch::channel(false);
        let task = Task { shared: shared.clone(), view: view_sender, seeds, reached };
        tokio::spawn(async move {
            task.run().await;
            done_sender.send_replace(true);
        });
        Self { shared, view, done }
    }

    /// Who is there, whenever that changes.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Changes what this node says of itself; others hear it within a few rounds.
    pub fn update(&self, change: impl FnOnce(&mut Member)) {
        self.shared.member.send_if_modified(|member| {
            let before = member.clone();
            change(member);
            *member != before
        });
    }

    /// From here on others reach this node by another address, which is a part of its name in gossip: chitchat starts
    /// anew under it. Few times in a node's life, as restarts are counted.
    pub fn relocate(&self, addr: SocketAddr) {
        self.shared.peer_addr.send_if_modified(|known| std::mem::replace(known, addr) != addr);
    }

    /// Talks to whoever is at `addr` soon, without waiting to hear of it. Dropped when many wait already.
    pub fn reach(&self, addr: SocketAddr) {
        // A full queue means that as many others are being tried.
        let _ = self.shared.reach.try_send(addr);
    }

    /// Takes a message that came by a link, if it is one of gossip.
    pub fn receive(&self, from: &PeerHello, body: &[u8]) -> bool {
        if body.first() != Some(&GOSSIP_TAG) {
            return false;
        }
        let shared = &self.shared;
        shared.counters.received.fetch_add(1, Ordering::Relaxed);
        shared.counters.received_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        let is_taken = gossip_wire::decode(body, |id| shared.may_know(id))
            .is_ok_and(|message| shared.inbox.lock().try_send((from.peer_addr, message)).is_ok());
        if !is_taken {
            shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// What it has cost so far.
    pub fn counters(&self) -> &GossipCounters {
        &self.shared.counters
    }

    /// Ends it, and waits until it has ended.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let mut done = self.done.clone();
        // An error means that its runtime is gone, and it with that.
        let _ = done.wait_for(|is_done| *is_done).await;
    }
}

impl Shared {
    /// Whether a node may be taken in, or is.
    fn may_know(&self, id: &ChitchatId) -> bool {
        self.known_count.load(Ordering::Relaxed) < CLUSTER_NODES_MAX || self.known.lock().contains(id)
    }

    /// Whether to open an exchange, in a cluster so large that not all are.
    fn opens(&self) -> bool {
        let nodes = self.known_count.load(Ordering::Relaxed) as u64;
        nodes <= GOSSIP_FULL_NODES || self.rng.lock().below(nodes) < GOSSIP_FULL_NODES
    }
}

// ---- what chitchat takes for its socket ----------------------------------------------------------------------------

struct Wire {
    shared: Arc<Shared>,
}

#[async_trait]
impl Transport for Wire {
    async fn open(&self, _listen_addr: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let (inbox, messages) = mpsc::channel(GOSSIP_INBOX_MAX);
        *self.shared.inbox.lock() = inbox;
        Ok(Box::new(WireSocket { shared: self.shared.clone(), messages }))
    }
}

struct WireSocket {
    shared: Arc<Shared>,
    messages: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
}

#[async_trait]
impl Socket for WireSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        if gossip_wire::is_opening(&message) && !self.shared.opens() {
            return Ok(());
        }
        // A message that is lost here is one of those that gossip is made to lose.
        if let Some(body) = gossip_wire::encode(&message) {
            let bytes = body.len() as u64;
            if self.shared.links.cast(to, body) {
                self.shared.counters.sent.fetch_add(1, Ordering::Relaxed);
                self.shared.counters.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.messages.recv().await.ok_or_else(|| anyhow::anyhow!("gossip was started anew"))
    }
}

// ---- the task that keeps it going ----------------------------------------------------------------------------------

/// Why chitchat no longer runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Broken,
    Moved,
}

struct Task {
    shared: Arc<Shared>,
    view: watch::Sender<Arc<View>>,
    seeds: watch::Receiver<Vec<SocketAddr>>,
    reached: mpsc::Receiver<SocketAddr>,
}

impl Task {
    async fn run(mut self) {
        let mut stop = self.shared.stop.subscribe();
        let mut moved = self.shared.peer_addr.subscribe();
        for restarts in 0..=RESTARTS_MAX {
            let Some(handle) = self.spawn(restarts).await else {
                return;
            };
            let end = tokio::select! {
                _ = stop.wait_for(|is_stopped| *is_stopped) => End::Stopped,
                _ = handle.termination_watcher() => End::Broken,
                () = self.keep(&handle) => End::Broken,
                Ok(()) = moved.changed() => End::Moved,
            };
            if end == End::Stopped {
                // It has nothing to finish: others notice by themselves.
                let _ = timeout(Duration::from_secs(1), handle.shutdown()).await;
                return;
            }
            handle.abort();
            if end == End::Moved {
                continue;
            }
            self.shared.counters.restarts.fetch_add(1, Ordering::Relaxed);
            error!(restarts, "gossip broke off at a message of another node, and starts anew");
            sleep(Duration::from_secs(1)).await;
        }
        error!("gossip has ended: it broke off too often");
    }

    async fn spawn(&self, restarts: u64) -> Option<ChitchatHandle> {
        let own = &self.shared.config;
        let peer_addr = *self.shared.peer_addr.borrow();
        let period = Duration::from_millis(GOSSIP_PERIOD_MS);
        let config = ChitchatConfig {
            chitchat_id: ChitchatId {
                node_id: own.node_id.to_string()[..NAME_DIGITS].into(),
                generation_id: own.incarnation << 8 | restarts,
                gossip_advertise_addr: peer_addr,
            },
            cluster_id: own.cluster_name.clone(),
            gossip_interval: period,
            listen_addr: peer_addr,
            // Its own resolution asks the system's resolver; seeds are reached by `keep` instead.
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig {
                initial_interval: period,
                dead_node_grace_period: Duration::from_millis(GOSSIP_DEAD_KEPT_MS),
                ..FailureDetectorConfig::default()
            },
            marked_for_deletion_grace_period: Duration::from_millis(GOSSIP_DEAD_KEPT_MS),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let values = self.shared.member.borrow().encode(own.node_id, own.incarnation);
        match chitchat::spawn_chitchat(config, values, &Wire { shared: self.shared.clone() }).await {
            Ok(handle) => Some(handle),
            Err(error) => {
                error!("gossip cannot be started: {error}");
                None
            }
        }
    }

    /// Publishes what this node says, shows who is there, and looks for others.
    async fn keep(&mut self, handle: &ChitchatHandle) {
        let mut member = self.shared.member.subscribe();
        let mut live = handle.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
        let mut rounds = interval(Duration::from_millis(GOSSIP_PERIOD_MS));
        let mut since_seed_ms = GOSSIP_SEED_PERIOD_MS;
        loop {
            tokio::select! {
                Ok(()) = live.changed() => self.look(handle).await,
                Ok(()) = member.changed() => {
                    let own = &self.shared.config;
                    let values = member.borrow_and_update().encode(own.node_id, own.incarnation);
                    handle.with_chitchat(|chitchat| publish(chitchat, &values)).await;
                    self.look(handle).await;
                }
                Some(addr) = self.reached.recv() => self.open(handle, addr),
                _ = rounds.tick() => {
                    since_seed_ms += GOSSIP_PERIOD_MS;
                    let is_alone = self.view.borrow().alive().count() < 2;
                    if is_alone || since_seed_ms >= GOSSIP_SEED_PERIOD_MS {
                        self.try_seeds(handle, is_alone);
                        since_seed_ms = 0;
                        // Dead nodes leave without a word.
                        self.look(handle).await;
                    }
                }
            }
        }
    }

    /// Opens an exchange with one of the seeds, or, while nobody is known, with as many as may be.
    fn try_seeds(&self, handle: &ChitchatHandle, is_alone: bool) {
        let own = *self.shared.peer_addr.borrow();
        let mut seeds: Vec<SocketAddr> =
            self.seeds.borrow().iter().copied().filter(|seed| *seed != own).collect();
        for _ in 0..if is_alone { GOSSIP_SEEDS_TRIED } else { 1 } {
            if seeds.is_empty() {
                return;
            }
            let at = self.shared.rng.lock().below(seeds.len() as u64) as usize;
            self.open(handle, seeds.swap_remove(at));
        }
    }

    fn open(&self, handle: &ChitchatHandle, addr: SocketAddr) {
        // It fails only when chitchat has ended, which `run` sees.
        let _ = handle.gossip(addr);
    }

    async fn look(&self, handle: &ChitchatHandle) {
        let (view, known, malformed) =
            handle.with_chitchat(|chitchat| view_of(chitchat, &self.shared.config)).await;
        self.shared.counters.malformed.fetch_add(malformed, Ordering::Relaxed);
        self.shared.known_count.store(known.len(), Ordering::Relaxed);
        *self.shared.known.lock() = known;
        let before = self.view.borrow().foreign;
        if view.foreign > before {
            warn!(nodes = view.foreign, "nodes of another cluster of the same name are kept out");
        }
        self.view.send_if_modified(|shown| {
            let is_new = **shown != view;
            if is_new {
                *shown = Arc::new(view);
            }
            is_new
        });
    }
}

/// Sets what has changed. Extra values that are gone become empty, which reads as absent.
fn publish(chitchat: &mut Chitchat, values: &[(String, String)]) {
    let state = chitchat.self_node_state();
    let gone: Vec<String> = state
        .key_values()
        .filter(|(key, _)| !values.iter().any(|(kept, _)| kept == key))
        .map(|(key, _)| key.to_owned())
        .collect();
    for key in gone {
        state.set(key, "");
    }
    for (key, value) in values {
        state.set(key, value);
    }
}

/// Who is there, all that chitchat knows of, and how many of them cannot be read.
fn view_of(chitchat: &Chitchat, own: &GossipConfig) -> (View, HashSet<ChitchatId>, u64) {
    let live: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    let mut view = View::default();
    let mut malformed = 0;
    let mut peers = Vec::new();
    for (id, state) in chitchat.node_states() {
        match read(id, state.key_values(), live.contains(id)) {
            Ok(peer) => peers.push((id.generation_id, peer)),
            Err(Unreadable::Incomplete) => {}
            Err(Unreadable::Malformed) => malformed += 1,
        }
    }
    let is_own = |peer: &Peer| peer.id == own.node_id && peer.incarnation == own.incarnation;
    let cluster =
        peers.iter().find(|(_, peer)| is_own(peer)).map_or(ClusterId(0), |(_, peer)| peer.member.cluster);
    // A process that has moved, or started gossip anew, is there several times for a while.
    peers.sort_by_key(|(generation, peer)| (peer.incarnation, peer.alive, *generation));
    for (_, peer) in peers {
        let theirs = peer.member.cluster;
        if cluster.is_founded() && theirs.is_founded() && theirs != cluster {
            view.foreign += usize::from(peer.alive);
            continue;
        }
        if peer.id == own.node_id && peer.incarnation > own.incarnation {
            view.superseded_by = view.superseded_by.max(Some(peer.incarnation));
        }
        view.peers.insert(peer.id, peer);
    }
    (view, chitchat.node_states().keys().cloned().collect(), malformed)
}

/// One node; what it says must agree with the name that it goes by.
fn read<'a>(
    id: &ChitchatId,
    values: impl Iterator<Item = (&'a str, &'a str)>,
    alive: bool,
) -> Result<Peer, Unreadable> {
    let (node_id, incarnation, member) = member::decode(values)?;
    if node_id.to_string()[..NAME_DIGITS] != *id.node_id || incarnation != id.generation_id >> 8 {
        return Err(Unreadable::Malformed);
    }
    Ok(Peer { id: node_id, incarnation, peer_addr: id.gossip_advertise_addr, alive, member })
}
