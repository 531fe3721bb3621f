//! Cold start: carries out what [`crate::cluster::formation`] decides until there is a cluster to be a member of.
//!
//! A promise is on disk before it is given, where there is a data directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::PeerHello;
use super::member::Peer as Heard;
use super::message::Ask;
use super::node::Node;
use super::seeds::Seeds;
use crate::base::rng::Rng;
use crate::cluster::formation::{
    self, Formation, Memory, Message, Output, PATIENCE_MS, RETRY_MS, Sender, View, founded,
};
use crate::cluster::id::{ClusterId, NodeId};
use crate::cluster::table::{Change, ClientAddress, Member, Refusal, Standing};

/// Time between looks at who is there.
const TURN_MS: u64 = 100;
/// The file of the promise in the data directory.
const PROMISE_FILE: &str = "cluster.promise";

/// The file that names the cluster in the data directory.
const CLUSTER_FILE: &str = "cluster.id";

/// A message of another node that is starting, and who sent it.
pub type Heeded = (Sender, Message);

/// Who sent a message, as its link knows it.
pub fn sender(from: &PeerHello) -> Sender {
    Sender { id: from.node_id, incarnation: from.incarnation, address: from.peer_addr }
}

/// What a cold start works with.
pub struct Start {
    /// The node.
    pub node: Arc<Node>,
    /// Where to look for others.
    pub seeds: Seeds,
    /// How many nodes are to found a cluster.
    pub expect: usize,
    /// Where the promise is kept.
    pub dir: Option<PathBuf>,
    /// Messages of others.
    pub heard: mpsc::Receiver<Heeded>,
}

/// Runs until the node knows the table of its cluster.
///
/// # Errors
/// The promise cannot be read or written.
pub async fn run(mut start: Start) -> Result<(), String> {
    let node = Arc::clone(&start.node);
    let member = node.member();
    let settings = formation::Settings {
        id: node.id(),
        incarnation: node.incarnation(),
        address: member.peer,
        durable: start.dir.is_some(),
        expect: start.expect,
        patience_ms: PATIENCE_MS,
        retry_ms: RETRY_MS,
    };
    let dir = start.dir.clone();
    if let Some(cluster) = recall_cluster(dir.as_deref())? {
        // It has been a member: whoever else is there, it never founds another.
        node.explain(format!("looking for the other nodes of the cluster {cluster}"));
        join(&node, cluster).await;
        return Ok(());
    }
    let remembered = recall(dir.as_deref())?;
    let now_ms = || node.clock().boot_ns() / 1_000_000;
    let mut formation = Formation::new(settings, remembered, now_ms());
    while !node.tables().newest().cluster.is_founded() {
        let (peers, seeds) = look(&node, &start.seeds);
        let view = View { peers: &peers, seeds: &seeds };
        let outputs = match timeout(Duration::from_millis(TURN_MS), start.heard.recv()).await {
            Ok(Some((from, message))) => formation.receive(now_ms(), view, from, message),
            Ok(None) | Err(_) => formation.tick(now_ms(), view),
        };
        node.explain(formation.waiting_for(view));
        for output in outputs {
            carry_out(&start, &mut formation, output).await?;
        }
    }
    let cluster = node.tables().newest().cluster;
    remember_cluster(dir.as_deref(), cluster)
        .map_err(|error| format!("the cluster's id cannot be kept: {error}"))
}

async fn carry_out(start: &Start, formation: &mut Formation, output: Output) -> Result<(), String> {
    let node = &start.node;
    match output {
        Output::Initialise { voters, members, complete } => {
            if complete && begun_without(node, &members) {
                start_over(node).await?;
            }
            for output in found(start, formation, &voters, &members).await? {
                carry_out_at_once(start, output)?;
            }
            Ok(())
        }
        Output::Join { cluster } => {
            tracing::info!("joining the cluster {cluster}");
            join(node, cluster).await;
            Ok(())
        }
        output => carry_out_at_once(start, output),
    }
}

/// What is remembered and sent.
fn carry_out_at_once(start: &Start, output: Output) -> Result<(), String> {
    match output {
        Output::Remember(memory) => remember(start.dir.as_deref(), memory)
            .map_err(|error| format!("a promise cannot be kept: {error}")),
        Output::Send { to, address, message } => {
            start.node.post().learn(to, address);
            start.node.post().tell(to, &Ask::Form(message), &[]);
            Ok(())
        }
        Output::Initialise { .. } | Output::Join { .. } => Ok(()),
    }
}

/// Whether this node's log is of an earlier founding, most of whose voters are not among those who found now.
fn begun_without(node: &Arc<Node>, members: &[NodeId]) -> bool {
    let voters = node.agreement().status().borrow().voters.clone();
    let here = voters.iter().filter(|id| members.contains(id)).count();
    !voters.is_empty() && 2 * here <= voters.len()
}

/// Forgets what was begun with voters that are gone.
async fn start_over(node: &Arc<Node>) -> Result<(), String> {
    tracing::warn!(
        "most of those who were to vote are gone before they agreed on the founding: it begins anew"
    );
    node.agreement().start_over().await
}

/// Founds the cluster. It is tried until it succeeds, since nobody else can, as all have promised this node; or until
/// others are known to be in a founded one; or until most voters are gone for good: then it gives what is to be done.
async fn found(
    start: &Start,
    formation: &mut Formation,
    voters: &[NodeId],
    members: &[NodeId],
) -> Result<Vec<Output>, String> {
    let node = &start.node;
    let cluster = ClusterId::random(&mut Rng::from_entropy());
    tracing::info!(
        "founding the cluster {cluster} with {} nodes, {} of them voters",
        members.len(),
        voters.len()
    );
    loop {
        let view = node.gossip().view().borrow().clone();
        let known = |id: &NodeId| view.peers.get(id).map(as_member);
        let mut founders: Vec<Member> =
            members.iter().filter(|id| **id != node.id()).filter_map(known).collect();
        founders.push(node.member());
        match found_with(node, voters, cluster, founders).await {
            Ok(()) => return Ok(Vec::new()),
            Err(why) => {
                node.explain(format!("the cluster is not founded yet: {why}"));
                tracing::warn!("the cluster is not founded yet: {why}");
            }
        }
        let (peers, seeds) = look(node, &start.seeds);
        let view = View { peers: &peers, seeds: &seeds };
        if let Some(cluster) = founded(view) {
            // The voters have agreed, and this node has not heard of it.
            join(node, cluster).await;
            return Ok(Vec::new());
        }
        if let Some(outputs) = formation.give_up_founding(view) {
            start_over(node).await?;
            return Ok(outputs);
        }
        // What failed at once fails again at once.
        tokio::time::sleep(Duration::from_millis(TURN_MS)).await;
    }
}

/// Has the voters agree on the founding, by whoever of them leads.
async fn found_with(
    node: &Arc<Node>,
    voters: &[NodeId],
    cluster: ClusterId,
    members: Vec<Member>,
) -> Result<(), String> {
    node.agreement().begin(voters).await?;
    match node.propose(Change::Found { cluster, members }).await {
        Ok(Ok(_) | Err(Refusal::Founded)) => Ok(()),
        Ok(Err(refusal)) => Err(format!("{refusal:?}")),
        Err(()) => Err("no voter leads".to_owned()),
    }
}

/// Gets the table of a founded cluster from whoever has it.
async fn join(node: &Arc<Node>, cluster: ClusterId) {
    while !node.tables().newest().cluster.is_founded() {
        let view = node.gossip().view().borrow().clone();
        for peer in view.alive().filter(|peer| peer.member.cluster == cluster) {
            node.post().learn(peer.id, peer.peer_addr);
            node.pull(peer.id, (0, 0)).await;
            if node.tables().newest().cluster.is_founded() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(TURN_MS)).await;
    }
}

/// A node that was heard of as the table is to show it.
pub fn as_member(peer: &Heard) -> Member {
    Member {
        id: peer.id,
        incarnation: peer.incarnation,
        client: ClientAddress {
            host: peer.client_addr().ip().to_string(),
            port: peer.member.client_port,
            hostname: peer.member.client_hostname.clone(),
            gateway_port: peer.member.gateway_port,
            outside_host: peer.member.outside_host.clone(),
            outside_port: peer.member.outside_port,
        },
        peer: peer.peer_addr,
        zone: peer.member.zone.clone(),
        weight: peer.member.weight,
        standing: Standing::Active,
    }
}

fn look(node: &Arc<Node>, seeds: &Seeds) -> (Vec<formation::Peer>, Vec<SocketAddr>) {
    let view = node.gossip().view().borrow().clone();
    let peer = |peer: &Heard| formation::Peer {
        id: peer.id,
        incarnation: peer.incarnation,
        address: peer.peer_addr,
        founded: peer.member.cluster.is_founded().then_some(peer.member.cluster),
    };
    let peers = view.alive().filter(|peer| peer.id != node.id()).map(peer).collect();
    let addresses = seeds.addresses().borrow().clone();
    (peers, addresses)
}

fn recall(dir: Option<&Path>) -> Result<Memory, String> {
    let Some(path) = dir.map(|dir| dir.join(PROMISE_FILE)) else { return Ok(Memory::default()) };
    match fs::read(&path) {
        Ok(bytes) => postcard::from_bytes(&bytes).map_err(|_| {
            format!("{} is no promise of this version: remove the data directory", path.display())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The cluster that an earlier process of the node was a member of.
fn recall_cluster(dir: Option<&Path>) -> Result<Option<ClusterId>, String> {
    let Some(path) = dir.map(|dir| dir.join(CLUSTER_FILE)) else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => match u128::from_str_radix(text.trim(), 16) {
            Ok(cluster) if cluster != 0 => Ok(Some(ClusterId(cluster))),
            _ => Err(format!("{} names no cluster: remove the data directory", path.display())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn remember_cluster(dir: Option<&Path>, cluster: ClusterId) -> io::Result<()> {
    keep(dir, CLUSTER_FILE, format!("{cluster}\n").as_bytes())
}

fn remember(dir: Option<&Path>, memory: Memory) -> io::Result<()> {
    keep(dir, PROMISE_FILE, &postcard::to_allocvec(&memory).map_err(io::Error::other)?)
}

/// Puts a file on disk, whole or not at all: it is small and rare, so the node waits for it.
fn keep(dir: Option<&Path>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let Some(dir) = dir else { return Ok(()) };
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}.new")));
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{ClusterId, Memory, recall, recall_cluster, remember, remember_cluster};

    #[test]
    fn a_promise_is_recalled_as_it_was_given() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(recall(Some(dir.path())).expect("nothing yet"), Memory::default());
        remember(Some(dir.path()), Memory::default()).expect("written");
        assert_eq!(recall(Some(dir.path())).expect("read"), Memory::default());
        std::fs::write(dir.path().join(super::PROMISE_FILE), [9; 40]).expect("written");
        assert!(recall(Some(dir.path())).is_err());
        assert_eq!(recall(None).expect("no directory"), Memory::default());

        assert_eq!(recall_cluster(Some(dir.path())), Ok(None));
        remember_cluster(Some(dir.path()), ClusterId(77)).expect("written");
        assert_eq!(recall_cluster(Some(dir.path())), Ok(Some(ClusterId(77))));
    }
}
