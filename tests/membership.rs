//! Who sees whom: nodes that gossip over loopback, are killed, come back elsewhere, or belong elsewhere.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder::base::clock::Clock;
use larder::base::rng::Rng;
use larder::cluster::id::{ClusterId, NodeId};
use larder::peer::fault::Fault;
use larder::peer::frame::PeerHello;
use larder::peer::gossip::{Gossip, GossipConfig, View};
use larder::peer::link::{Handler, Identity, Links};
use larder::peer::member::{Member, MemberState};
use larder::peer::net::{BoxFuture, Net, TcpNet};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

async fn within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(seconds), waiting)
        .await
        .unwrap_or_else(|_| panic!("not within {seconds} s: {what}"));
}

struct Route {
    gossip: Gossip,
}

impl Handler for Route {
    fn call(&self, _from: &PeerHello, body: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async move { body })
    }

    fn cast(&self, from: &PeerHello, body: Vec<u8>) {
        assert!(self.gossip.receive(from, &body), "nothing but gossip is sent here");
    }
}

/// A node with nothing but membership.
struct Node {
    id: NodeId,
    addr: SocketAddr,
    links: Links,
    gossip: Gossip,
}

impl Node {
    /// The node that `seed` stands for, at its `incarnation`th start, knowing the addresses `seeds`.
    async fn start(seed: u64, incarnation: u64, seeds: &[SocketAddr]) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(any_port, seed, incarnation, seeds, ClusterId(0)).await
    }

    async fn start_at(
        at: SocketAddr,
        seed: u64,
        incarnation: u64,
        seeds: &[SocketAddr],
        cluster: ClusterId,
    ) -> Self {
        let listener = TcpNet.listen(at).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let id = NodeId::random(&mut Rng::seeded(seed));
        let identity = watch::Sender::new(Identity {
            cluster_name: "larder".to_owned(),
            node_id: id,
            incarnation,
            cluster,
            peer_addr: addr,
        });
        let links = Links::new(Arc::new(TcpNet), identity.subscribe(), b"secret", Clock::system());
        let config = GossipConfig {
            cluster_name: "larder".to_owned(),
            node_id: id,
            incarnation,
            peer_addr: addr,
            seed,
        };
        let member = Member { client_port: 7000, weight: 1, cluster, ..Member::default() };
        let seeds = watch::Sender::new(seeds.to_vec());
        let gossip = Gossip::start(config, links.clone(), member, seeds.subscribe());
        let (serving, route) = (links.clone(), Arc::new(Route { gossip: gossip.clone() }));
        tokio::spawn(async move { serving.serve(listener, route).await });
        Self { id, addr, links, gossip }
    }

    fn view(&self) -> Arc<View> {
        self.gossip.view().borrow().clone()
    }

    fn sees(&self, other: &Node) -> bool {
        self.view().peers.get(&other.id).is_some_and(|peer| peer.alive && peer.peer_addr == other.addr)
    }

    /// As a process that is gone: no word to anybody.
    async fn kill(self) -> (NodeId, SocketAddr) {
        self.links.close();
        self.gossip.shutdown().await;
        (self.id, self.addr)
    }
}

async fn three() -> [Node; 3] {
    let a = Node::start(1, 10, &[]).await;
    let b = Node::start(2, 10, &[a.addr]).await;
    let c = Node::start(3, 10, &[a.addr]).await;
    within(3, "all see all", || {
        let nodes = [&a, &b, &c];
        nodes.iter().all(|node| nodes.iter().all(|other| node.sees(other)))
    })
    .await;
    [a, b, c]
}

#[test]
fn three_nodes_find_each_other_by_one_seed_and_notice_a_death() {
    run(async {
        let [a, b, c] = three().await;
        b.gossip.update(|member| {
            member.state = MemberState::Serving;
            member.table_version = 9;
            member.extra.insert("load".to_owned(), "1".to_owned());
        });
        within(3, "what b says is heard", || {
            let view = c.view();
            let member = &view.peers[&b.id].member;
            member.state == MemberState::Serving && member.table_version == 9 && member.extra.len() == 1
        })
        .await;
        b.gossip.update(|member| member.extra.clear());
        within(3, "what b takes back is gone", || c.view().peers[&b.id].member.extra.is_empty()).await;
        assert_eq!(c.view().peers[&b.id].client_addr(), SocketAddr::new(b.addr.ip(), 7000));
        let (dead, _) = b.kill().await;
        within(8, "the others notice that b is dead", || {
            [&a, &c].iter().all(|node| node.view().peers.get(&dead).is_some_and(|peer| !peer.alive))
        })
        .await;
        assert!(a.sees(&c) && c.sees(&a));
        let cost = a.gossip.counters();
        assert!(
            cost.sent_bytes.load(Ordering::Relaxed) > 0 && cost.received_bytes.load(Ordering::Relaxed) > 0
        );
        assert_eq!(cost.malformed.load(Ordering::Relaxed) + cost.dropped.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_node_that_restarts_elsewhere_is_the_same_node() {
    run(async {
        let [a, b, c] = three().await;
        let (id, old_addr) = b.kill().await;
        // Another node takes the address that it had.
        let stranger = Node::start_at(old_addr, 4, 10, &[a.addr], ClusterId(0)).await;
        let b = Node::start(2, 11, &[a.addr]).await;
        assert!(b.id == id && b.addr != old_addr);
        within(8, "both are seen as who they are", || {
            [&a, &c].iter().all(|node| node.sees(&b) && node.sees(&stranger))
        })
        .await;
        let view = a.view();
        assert_eq!((view.peers.len(), view.peers[&id].incarnation), (4, 11));
    });
}

#[test]
fn of_two_processes_with_one_id_the_older_learns_of_the_newer() {
    run(async {
        let [a, b, c] = three().await;
        let twin = Node::start(2, 11, &[a.addr]).await;
        within(5, "the older one knows", || b.view().superseded_by == Some(11)).await;
        within(5, "the others see the newer one", || a.sees(&twin) && c.sees(&twin)).await;
        assert_eq!(twin.view().superseded_by, None);
    });
}

#[test]
fn clusters_of_one_name_stay_apart() {
    run(async {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let a = Node::start_at(any_port, 1, 1, &[], ClusterId(1)).await;
        let b = Node::start_at(any_port, 2, 1, &[a.addr], ClusterId(2)).await;
        within(5, "their links are refused", || {
            a.links.faults().get(Fault::OtherCluster) > 0 && b.links.faults().get(Fault::OtherCluster) > 0
        })
        .await;
        // A node of neither that knows both must not be a bridge.
        let between = Node::start_at(any_port, 3, 1, &[a.addr, b.addr], ClusterId(0)).await;
        within(5, "it sees both", || between.sees(&a) && between.sees(&b)).await;
        within(5, "each sees it", || a.sees(&between) && b.sees(&between)).await;
        within(5, "and that the other is foreign", || a.view().foreign == 1 && b.view().foreign == 1).await;
        assert!(!a.view().peers.contains_key(&b.id) && !b.view().peers.contains_key(&a.id));
    });
}

#[test]
fn messages_that_are_no_gossip_are_counted_and_harmless() {
    run(async {
        let [a, b, _c] = three().await;
        let mut rng = Rng::seeded(7);
        for length in 1..200 {
            let mut body = vec![b'G'];
            body.extend((1..length).map(|_| rng.below(256) as u8));
            a.links.cast(b.addr, body);
        }
        within(5, "they are counted", || b.gossip.counters().dropped.load(Ordering::Relaxed) > 190).await;
        let c = Node::start(4, 1, &[b.addr]).await;
        within(5, "and b goes on", || a.sees(&c) && b.sees(&c)).await;
        assert_eq!(b.gossip.counters().restarts.load(Ordering::Relaxed), 0);
    });
}
