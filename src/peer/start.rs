//! Puts a node together and starts its tasks, on whatever runtime and network it is given: the machine's, or a simulated
//! one.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::desk::Desk;
use super::door::Door;
use super::forming::{self, Start};
use super::gossip::{Gossip, GossipConfig};
use super::ground::Ground;
use super::link::{Identity, Links};
use super::member;
use super::message::Ask;
use super::net::{BoxFuture, Listener, Net};
use super::node::{Node, Parts};
use super::post::Post;
use super::raft::{Agreement, Carrier, Timing, identity};
use super::seeds::{Seed, Seeds, SystemResolver};
use super::{bus, departures, leading, lessee, upkeep, whereabouts};
use crate::base::limits::CLUSTER_HEEDED_MAX;
use crate::base::rng::Rng;
use crate::cluster::id::NodeId;
use crate::cluster::table::{ClientAddress, Member, Standing};
use crate::hub::Hub;
use crate::hub::cluster::WishInHand;
use crate::hub::orders::Shutdown;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the cluster.
    pub name: String,
    /// What all its nodes know.
    pub secret: String,
    /// Addresses and names to look for other nodes at.
    pub seeds: Vec<String>,
    /// How many nodes found a cluster.
    pub expect: usize,
    /// How long a lease lasts, in ms.
    pub node_timeout_ms: u64,
    /// Where to listen for other nodes.
    pub listen: Vec<SocketAddr>,
    /// Where other nodes reach this one.
    pub peer: SocketAddr,
    /// Whether `peer`, and the host of `client`, follow the machine's own address when that changes.
    pub roams: bool,
    /// Where clients reach this one.
    pub client: ClientAddress,
    /// Failure domain.
    pub zone: String,
    /// Share of slots.
    pub weight: u64,
    /// Where the node keeps what it must remember.
    pub dir: Option<PathBuf>,
}

impl Settings {
    /// Has the node known under this address.
    pub fn place(&mut self, ip: IpAddr) {
        self.peer.set_ip(ip);
        self.client.host = ip.to_string();
    }

    /// The node as the table is to show it.
    fn member(&self, id: NodeId, incarnation: u64) -> Member {
        Member {
            id,
            incarnation,
            client: self.client.clone(),
            peer: self.peer,
            zone: self.zone.clone(),
            weight: self.weight,
            standing: Standing::Active,
        }
    }

    /// The node as others know it before it belongs to a cluster.
    fn identity(&self, node_id: NodeId, incarnation: u64) -> Identity {
        Identity {
            cluster_name: self.name.clone(),
            node_id,
            incarnation,
            cluster: Default::default(),
            peer_addr: self.peer,
        }
    }
}

/// Carries the voters' messages.
struct Voters {
    post: Arc<Post>,
}

impl Carrier for Voters {
    fn call(
        &self,
        to: NodeId,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let post = Arc::clone(&self.post);
        Box::pin(async move { post.ask(to, &Ask::Agree, &body, timeout).await.map(|reply| reply.tail) })
    }
}

/// What a node says of itself by gossip.
fn said_of(member: &Member) -> member::Member {
    member::Member {
        client_ip: member.client.host.parse().ok(),
        client_port: member.client.port,
        client_hostname: member.client.hostname.clone(),
        gateway_port: member.client.gateway_port,
        outside_host: member.client.outside_host.clone(),
        outside_port: member.client.outside_port,
        zone: member.zone.clone(),
        weight: member.weight,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

/// Starts a node. Its tasks run on the present runtime until that ends.
///
/// # Errors
/// It cannot listen, or its directory cannot be used; one line for people.
pub async fn start(
    hub: Arc<Hub>,
    settings: Settings,
    net: Arc<dyn Net>,
    mut rng: Rng,
) -> Result<Arc<Node>, String> {
    let storage = identity::open(settings.dir.as_deref(), &mut rng)?;
    let (id, incarnation) = storage.identity();
    let listeners = listen(&*net, &settings.listen).await?;
    let member = settings.member(id, incarnation);
    let (identity, identified) = watch::channel(settings.identity(id, incarnation));
    let links = Links::new(Arc::clone(&net), identified, settings.secret.as_bytes(), hub.clock.clone());
    let post = Arc::new(Post::new(links.clone()));
    let (joined, joining) = watch::channel(false);
    let seeds = settings.seeds.iter().map(|seed| Seed::parse(seed, settings.peer.port()));
    let seeds = seeds.collect::<Result<Vec<_>, _>>().map_err(|why| format!("cluster-seeds: {why}"))?;
    let seeds = Seeds::start(seeds, Arc::new(SystemResolver), joining, hub.clock.clone());
    let config = GossipConfig {
        cluster_name: settings.name.clone(),
        node_id: id,
        incarnation,
        peer_addr: settings.peer,
        seed: rng.next_u64(),
    };
    let gossip = Gossip::start(config, links.clone(), said_of(&member), seeds.addresses());
    let timing = Timing { node_timeout_ms: settings.node_timeout_ms };
    let carrier = Arc::new(Voters { post: Arc::clone(&post) });
    let agreement = Agreement::open(storage, carrier, timing, Rng::seeded(rng.next_u64())).await?;
    let lease_ns = settings.node_timeout_ms * 1_000_000;
    let desk = Desk::open(Arc::clone(&hub), agreement.clone(), lease_ns);
    let ground = Arc::new(Ground::new(Arc::clone(&hub), id));
    let (forming, heard) = mpsc::channel(CLUSTER_HEEDED_MAX);
    let wishes = hub.cluster.take_wishes().ok_or("the cluster was started already")?;
    let parts = Parts {
        hub: Arc::clone(&hub),
        member,
        identity,
        post,
        gossip,
        agreement,
        desk,
        ground,
        lease_ns,
        forming,
    };
    let node = Node::new(parts);
    // A voter that starts again knows its cluster, and looks for no other.
    let known = node.agreement().table().borrow().clone();
    node.take_table(known);
    for listener in listeners {
        let (links, door) = (links.clone(), Arc::new(Door::new(Arc::clone(&node))));
        tokio::spawn(async move { links.serve(listener, door).await });
    }
    tokio::spawn(form(
        hub,
        Start { node: Arc::clone(&node), seeds, expect: settings.expect, dir: settings.dir, heard },
    ));
    tokio::spawn(name_cluster(Arc::clone(&node), joined));
    if settings.roams {
        tokio::spawn(whereabouts::follow(Arc::clone(&node), net));
    }
    spawn_duties(&node, wishes);
    Ok(node)
}

async fn listen(net: &dyn Net, addresses: &[SocketAddr]) -> Result<Vec<Box<dyn Listener>>, String> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = net.listen(*address).await;
        listeners
            .push(listener.map_err(|error| format!("cannot listen for other nodes at {address}: {error}"))?);
    }
    Ok(listeners)
}

/// What a node does for as long as it lives.
fn spawn_duties(node: &Arc<Node>, wishes: mpsc::Receiver<WishInHand>) {
    tokio::spawn(leading::spread(Arc::clone(node)));
    tokio::spawn(leading::run(Arc::clone(node)));
    tokio::spawn(lessee::keep(Arc::clone(node)));
    tokio::spawn(departures::run(Arc::clone(node)));
    tokio::spawn(upkeep::be_member(Arc::clone(node)));
    tokio::spawn(upkeep::listen(Arc::clone(node)));
    tokio::spawn(upkeep::clean(Arc::clone(node)));
    tokio::spawn(upkeep::leave_when_drained(Arc::clone(node)));
    tokio::spawn(upkeep::show(Arc::clone(node)));
    tokio::spawn(bus::send(Arc::clone(node)));
    tokio::spawn(upkeep::fulfil(Arc::clone(node), wishes));
}

/// Forms or finds the cluster; a node that cannot keep a promise must not go on.
async fn form(hub: Arc<Hub>, start: Start) {
    if let Err(why) = forming::run(start).await {
        tracing::error!("{why}");
        hub.orders.shut_down(Shutdown::Immediate);
    }
}

/// Tells other nodes which cluster this one belongs to once it knows.
async fn name_cluster(node: Arc<Node>, joined: watch::Sender<bool>) {
    let mut tables = node.tables().follow();
    while let Ok(table) = tables.wait_for(|table| table.cluster.is_founded()).await.map(|table| table.clone())
    {
        joined.send_replace(true);
        node.identity().send_if_modified(|identity| {
            let differs = identity.cluster != table.cluster;
            identity.cluster = table.cluster;
            differs
        });
        if tables.changed().await.is_err() {
            return;
        }
    }
}
