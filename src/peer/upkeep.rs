//! Small standing duties of a node: being in the table as it is, hearing where others are, cleaning up, showing how it
//! stands, and carrying out operators' wishes.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::fault::Fault;
use super::frame::Class;
use super::member::{MemberState, Peer};
use super::message::{Answer, Ask};
use super::node::Node;
use super::standing::LinkState;
use crate::cluster::id::NodeId;
use crate::cluster::route::SlotSet;
use crate::cluster::table::{Change, Member, Refusal, Standing, Table};
use crate::hub::cluster::{LinkVitals, MoveVitals, PeerVitals, Phase, Vitals, Wish, WishInHand, count};

/// Longest time between looks at whether the table shows this node as it is.
const MEMBER_MS: u64 = 1_000;
/// Time between pictures of how the node stands.
const VITALS_MS: u64 = 100;
/// How long a node that has given its slots away still tells clients where they are, while any are connected. Clients
/// that learn of a move from nothing but MOVED must have sent something for one of the last slots by then. node-redis, for
/// one, lets commands for a node that is gone wait, and fails them when it hears of the new table elsewhere; at two
/// seconds one of its callers under full load, on a machine with more to do than it could, met that. (Giving the last
/// slot away by itself, so that few replies are under way when the node vanishes from the table, made it worse: hardly a
/// client has something to ask of that slot.)
const LINGER_MS: u64 = 5_000;
/// Longest that a node which leaves waits for another to vote in its place.
const REPLACED_MS: u64 = 5_000;
/// Time without a node that takes slots after which one that gives its own away goes without: all others drain, too, or
/// have died. Long enough for one that is just starting in the place of another.
const NO_TAKER_MS: u64 = 5_000;
/// Pause between steps of cleaning up: each takes some 100 µs.
const CLEAN_PAUSE_MS: u64 = 1;
/// Steps of cleaning up between pauses.
const CLEAN_STEPS: usize = 4;

/// Sees to it that the table has this process, with its present addresses and weight.
pub async fn be_member(node: Arc<Node>) {
    loop {
        drop(timeout(Duration::from_millis(MEMBER_MS), node.join.notified()).await);
        let table = node.tables().newest();
        let member = node.member();
        if !table.cluster.is_founded() || node.has_left() || table.member(node.id()) == Some(&member) {
            continue;
        }
        match node.propose(Change::Join(member)).await {
            Ok(Ok(version)) => tracing::info!("in the table since version {version}"),
            Ok(Err(Refusal::NoChange)) => node.refresh_table().await,
            Ok(Err(refusal)) => {
                node.explain(format!("the cluster does not take this node in: {refusal:?}"));
                tracing::warn!("the cluster does not take this node in: {refusal:?}");
            }
            Err(()) => tracing::debug!("nobody who leads has answered yet"),
        }
    }
}

/// Notes where other nodes are, and fetches a table that one of them says is newer.
pub async fn listen(node: Arc<Node>) {
    let mut view = node.gossip().view();
    loop {
        let present = view.borrow_and_update().clone();
        let table = node.tables().newest();
        for peer in present.alive() {
            node.post().learn(peer.id, peer.peer_addr);
        }
        node.post().forget(|id| table.member(*id).is_some() || present.peers.contains_key(id));
        let stamp = |peer: &Peer| (peer.member.table_generation as u32, peer.member.table_version);
        let newest = present.alive().max_by_key(|peer| stamp(peer));
        if let Some(peer) = newest.filter(|peer| {
            table.cluster.is_founded() && peer.member.cluster == table.cluster && stamp(peer) > table.stamp()
        }) {
            node.pull(peer.id, table.stamp()).await;
        }
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// Empties slots of what is no longer theirs, in small steps.
pub async fn clean(node: Arc<Node>) {
    loop {
        node.ground().stale.notified().await;
        let mut steps = 0;
        while node.ground().clean_step() {
            steps += 1;
            match steps % CLEAN_STEPS {
                0 => sleep(Duration::from_millis(CLEAN_PAUSE_MS)).await,
                _ => yield_now().await,
            }
        }
    }
}

/// Keeps the picture of how the node stands up to date.
pub async fn show(node: Arc<Node>) {
    let mut before = Phase::Seeking;
    loop {
        let vitals = vitals(&node);
        let phase = vitals.phase;
        if phase != before {
            let why = if vitals.why.is_empty() { String::new() } else { format!(": {}", vitals.why) };
            match phase {
                Phase::Unleased if matches!(before, Phase::Seeking | Phase::Joining) => {
                    tracing::info!("a member; waiting for a lease{why}");
                }
                Phase::Unleased => {
                    count(&node.hub().cluster.counters.leases_expired);
                    // Another node may own the slots by now, and who listens here would hear nothing of what happens there.
                    node.ground().end_shards(&SlotSet::all());
                    node.hub().lose_all_cached();
                    tracing::warn!(
                        "the lease ran out; no data command is answered until there is a new one{why}"
                    );
                }
                _ => tracing::info!(
                    "{} at table version {}{why}",
                    phase.name(),
                    node.tables().newest().version
                ),
            }
            before = phase;
        }
        announce(&node, &vitals);
        carry_over(&node);
        node.hub().cluster.set_vitals(vitals);
        sleep(Duration::from_millis(VITALS_MS)).await;
    }
}

/// Shows what gossip has cost so far among the node's counters.
fn carry_over(node: &Arc<Node>) {
    let (from, to) = (node.gossip().counters(), &node.hub().cluster.counters);
    for (from, to) in [
        (&from.sent, &to.gossip_sent_messages),
        (&from.received, &to.gossip_received_messages),
        (&from.sent_bytes, &to.gossip_sent_bytes),
        (&from.received_bytes, &to.gossip_received_bytes),
    ] {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// What of other nodes was dropped, by reason: links for breaking a rule, and gossip that could not be used.
fn dropped(node: &Arc<Node>) -> Vec<(&'static str, u64)> {
    let (faults, gossip) = (node.post().links().faults(), node.gossip().counters());
    let links = Fault::ALL.into_iter().map(|fault| (fault.name(), faults.get(fault)));
    let messages = gossip.dropped.load(Ordering::Relaxed);
    let values = gossip.malformed.load(Ordering::Relaxed);
    links.chain([("gossip_message", messages), ("gossip_values", values)]).collect()
}

/// Tells others how far this node is: which table it has, of which cluster.
fn announce(node: &Arc<Node>, vitals: &Vitals) {
    let (generation, version) = node.tables().newest().stamp();
    node.gossip().update(|member| {
        member.cluster = vitals.cluster;
        member.table_generation = u64::from(generation);
        member.table_version = version;
        member.leader = vitals.leader;
        member.state = match vitals.phase {
            Phase::Serving => MemberState::Serving,
            Phase::Draining | Phase::Left => MemberState::Draining,
            _ => MemberState::Joining,
        };
    });
}

fn vitals(node: &Arc<Node>) -> Vitals {
    let table = node.ground().table();
    let status = node.agreement().status().borrow().clone();
    let view = node.gossip().view().borrow().clone();
    let leased = node.hub().cluster.routes.is_leased(node.clock().boot_ns());
    let known = table.process(node.id(), node.incarnation());
    let phase = match known {
        _ if node.has_left() => Phase::Left,
        None if table.cluster.is_founded() => Phase::Joining,
        None => Phase::Seeking,
        Some(_) if !leased => Phase::Unleased,
        Some(member) if member.standing == Standing::Draining => Phase::Draining,
        Some(_) => Phase::Serving,
    };
    let now_ms = node.clock().wall_ms();
    let peers = view.peers.values().filter(|peer| peer.id != node.id()).map(|peer| PeerVitals {
        id: peer.id,
        alive: peer.alive,
        heard_ms: if peer.alive { now_ms } else { 0 },
        version: peer.member.table_version,
    });
    Vitals {
        me: node.id(),
        incarnation: node.incarnation(),
        cluster: table.cluster,
        phase,
        why: if phase == Phase::Serving { String::new() } else { node.reason() },
        leader: status.leader.or_else(|| node.leader_heard_of()),
        voters: if status.is_voter { status.voters } else { node.voters_heard_of() },
        term: status.term,
        peers: peers.collect(),
        links: links(node),
        moves: moves(node),
        dropped: dropped(node),
    }
}

/// The links that stand. What clients have published waits in front of its link: it counts as waiting for that.
fn links(node: &Arc<Node>) -> Vec<LinkVitals> {
    let of = |link: LinkState| {
        let has_lane = link.outgoing && link.class == Class::Publish;
        let ahead_bytes = if has_lane { node.lanes().waiting_bytes(link.node) } else { 0 };
        LinkVitals {
            node: link.node,
            outgoing: link.outgoing,
            since_ms: link.since_ms,
            used_bytes: link.used_bytes + ahead_bytes,
            allocated_bytes: link.allocated_bytes + ahead_bytes,
        }
    };
    node.post().links().standing().into_iter().map(of).collect()
}

fn moves(node: &Arc<Node>) -> Vec<MoveVitals> {
    let table = node.ground().table();
    let leaving = node.departures().progress();
    let coming = node.arrivals().progress();
    let own = table.moves.iter().filter(|movement| movement.from == node.id() || movement.to == node.id());
    own.map(|movement| {
        let outgoing = movement.from == node.id();
        let sent = leaving.get(&movement.id);
        let got = coming.iter().find(|progress| progress.id == movement.id);
        MoveVitals {
            id: movement.id,
            slots: (movement.start, movement.end),
            peer: if outgoing { movement.to } else { movement.from },
            outgoing,
            keys: sent.map(|sent| sent.keys).or(got.map(|got| got.keys)).unwrap_or(0),
            bytes: sent.map(|sent| sent.bytes).or(got.map(|got| got.bytes)).unwrap_or(0),
            began_ms: sent.map_or(0, |sent| sent.began_ms),
        }
    })
    .collect()
}

/// Carries out what operators wish for.
pub async fn fulfil(node: Arc<Node>, mut wishes: mpsc::Receiver<WishInHand>) {
    while let Some((wish, outcome)) = wishes.recv().await {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let done = match wish {
                Wish::Drain(id) => drain(&node, id.unwrap_or(node.id())).await,
                Wish::Stay => stay(&node).await,
                Wish::Reform => reform(&node).await,
            };
            if let Err(why) = &done {
                node.explain(format!("{wish:?} was not carried out: {why}"));
                tracing::warn!("{wish:?} was not carried out: {why}");
            }
            // Who no longer waits needs no answer.
            drop(outcome.send(done));
        });
    }
}

/// Has a node give its slots away; for this node itself, returns when it has left, or when nobody is there to take them.
async fn drain(node: &Arc<Node>, id: NodeId) -> Result<(), String> {
    let table = node.tables().newest();
    let member = table.member(id).ok_or("there is no such member")?;
    let incarnation = member.incarnation;
    if !has_taker(&table, id) {
        return Err("there is no other node that takes slots".to_owned());
    }
    let stand = Change::Stand { id, incarnation, standing: Standing::Draining };
    if id != node.id() {
        return agree(node, stand).await.map(drop).map_err(|why| why.to_string());
    }
    // Before it is agreed on: should the node be given up meanwhile, it joins anew with this standing.
    node.set_standing(Standing::Draining);
    match agree(node, stand).await {
        Ok(_) => {}
        Err(Disagreement::Refused(Refusal::Stale)) if !is_superseded(node) => {}
        Err(why) => {
            node.set_standing(Standing::Active);
            return Err(why.to_string());
        }
    }
    let mut gone = node.gone();
    tokio::select! {
        biased;
        left = gone.wait_for(|gone| *gone) => left.map(drop).map_err(|_| "the node is stopping".to_owned()),
        () = nobody_takes(node) => Err("no other node takes slots any more".to_owned()),
    }
}

/// Whether there is a node that could take the slots of another.
fn has_taker(table: &Table, from: NodeId) -> bool {
    let takes = |other: &Member| other.weight > 0 && other.standing == Standing::Active;
    table.members.iter().any(|other| other.id != from && takes(other))
}

/// Returns once there has been no node to take this one's slots for [`NO_TAKER_MS`].
async fn nobody_takes(node: &Arc<Node>) {
    let mut installed = node.ground().installed();
    let mut turns = async |to: bool| {
        while has_taker(&node.ground().table(), node.id()) != to {
            if installed.changed().await.is_err() {
                // The node is stopping, and says so elsewhere.
                pending::<()>().await;
            }
        }
    };
    loop {
        turns(false).await;
        if timeout(Duration::from_millis(NO_TAKER_MS), turns(true)).await.is_err() {
            return;
        }
    }
}

/// Takes the node's share again.
async fn stay(node: &Arc<Node>) -> Result<(), String> {
    if node.has_left() {
        return Err("the node has left the cluster; start it again".to_owned());
    }
    let stand = Change::Stand { id: node.id(), incarnation: node.incarnation(), standing: Standing::Active };
    if let Some(version) = agree(node, stand).await.map_err(|why| why.to_string())? {
        // Until then the table in force still says that this node drains, which `leave_when_drained` notes.
        node.wait_for_version(version).await;
    }
    node.set_standing(Standing::Active);
    Ok(())
}

/// Why a change was not agreed on.
enum Disagreement {
    /// Nobody who leads has answered.
    Silence,
    /// The table does not allow it.
    Refused(Refusal),
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("nobody who leads has answered"),
            Self::Refused(refusal) => write!(f, "the cluster refuses: {refusal:?}"),
        }
    }
}

/// Proposes a change of how a node stands; returns the version that has it, none if it stood so already.
async fn agree(node: &Arc<Node>, stand: Change) -> Result<Option<u64>, Disagreement> {
    match node.propose(stand).await {
        Ok(Ok(version)) => Ok(Some(version)),
        Ok(Err(Refusal::NoChange)) => Ok(None),
        Ok(Err(refusal)) => Err(Disagreement::Refused(refusal)),
        Err(()) => Err(Disagreement::Silence),
    }
}

/// Whether the table has a later process of this node: this one will not be taken in again.
fn is_superseded(node: &Arc<Node>) -> bool {
    node.tables().newest().member(node.id()).is_some_and(|known| known.incarnation > node.incarnation())
}

/// Leaves the table once this node is to give its slots away, whoever wished it, and has had none for `LINGER_MS`: until
/// then its clients are told by MOVED, and by the topology, where to go. Without clients it need not wait.
pub async fn leave_when_drained(node: Arc<Node>) {
    let mut installed = node.ground().installed();
    let mut empty_since_ns = None;
    loop {
        let table = node.ground().table();
        let drains = table
            .process(node.id(), node.incarnation())
            .is_some_and(|member| member.standing == Standing::Draining);
        if drains {
            node.set_standing(Standing::Draining);
        }
        let now_ns = node.clock().boot_ns();
        empty_since_ns = match empty_since_ns {
            _ if !drains || !table.ranges_of(node.id()).is_empty() => None,
            None => Some(now_ns),
            since => since,
        };
        let has_lingered =
            |since_ns: u64| now_ns >= since_ns + LINGER_MS * 1_000_000 || node.hub().clients.connected() == 0;
        if empty_since_ns.is_some_and(has_lingered) {
            leave(&node).await;
            return node.set_gone();
        }
        let pause_ms = if empty_since_ns.is_some() { VITALS_MS } else { MEMBER_MS };
        let changed = timeout(Duration::from_millis(pause_ms), installed.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
    }
}

/// Leaves the table, and waits a little until another node votes in this one's place.
async fn leave(node: &Arc<Node>) {
    node.set_left();
    let change = Change::Leave { id: node.id(), incarnation: node.incarnation() };
    while node.propose(change.clone()).await.is_err() {
        sleep(Duration::from_millis(VITALS_MS)).await;
    }
    tracing::info!("all slots are with other nodes: this one has left the cluster");
    // The others should not miss its vote, or its leadership: the leader replaces voters that are no members.
    if timeout(Duration::from_millis(REPLACED_MS), replaced(node)).await.is_err() {
        tracing::warn!("this node's vote was not taken over");
    }
}

/// Returns when the leader is another node and says that this one does not vote. Who has lost its vote is not told so.
async fn replaced(node: &Arc<Node>) {
    loop {
        if let Some(leader) = node.leader().filter(|leader| *leader != node.id()) {
            let timeout = Duration::from_millis(MEMBER_MS);
            let reply = node.post().ask(leader, &Ask::Voters, &[], timeout).await;
            match reply.map(|reply| reply.answer) {
                Ok(Answer::Voters(voters)) if !voters.is_empty() && !voters.contains(&node.id()) => return,
                Ok(_) => {}
                Err(_) => node.hear_of_leader(leader, None),
            }
        }
        sleep(Duration::from_millis(VITALS_MS)).await;
    }
}

async fn reform(node: &Arc<Node>) -> Result<(), String> {
    // Whoever else may serve has stopped once this long has passed without a leader (see the lease's rules).
    sleep(Duration::from_nanos(node.lease_ns() + node.lease_ns() / 10)).await;
    let mut table = (*node.tables().newest()).clone();
    if !table.cluster.is_founded() {
        return Err("this node has no table to go on with".to_owned());
    }
    table.moves.clear();
    let generation = node.agreement().reform(table).await?;
    tracing::warn!("the cluster goes on from this node's table in generation {generation}");
    Ok(())
}
