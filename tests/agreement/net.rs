//! Voters of one process and the network between them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use larder::base::lock::Mutex;
use larder::base::rng::Rng;
use larder::cluster::id::{ClusterId, NodeId};
use larder::cluster::table::{Change, ClientAddress, Member, Outcome, Refusal, Standing, Table};
use larder::peer::raft::{Agreement, Carried, Carrier, ProposeError, Storage, Timing};

/// The node timeout of all tests, the default of the server.
pub const TIMING: Timing = Timing { node_timeout_ms: 2000 };
/// It, as a duration.
pub const TIMEOUT: Duration = Duration::from_millis(TIMING.node_timeout_ms);

/// Runs a test in paused time.
pub fn run<F: Future>(test: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.build().expect("a runtime").block_on(test)
}

/// Node number `number`.
pub fn id(number: u8) -> NodeId {
    NodeId([number; 20])
}

/// It as a member.
pub fn member(number: u8) -> Member {
    Member {
        id: id(number),
        incarnation: 1,
        client: ClientAddress { host: "127.0.0.1".to_owned(), port: 7000, ..ClientAddress::default() },
        peer: ([127, 0, 0, 1], 17000).into(),
        zone: String::new(),
        weight: 1,
        standing: Standing::Active,
    }
}

/// How the network behaves.
struct Weather {
    rng: Rng,
    nodes: BTreeMap<NodeId, Agreement>,
    /// Pairs (from, to) whose messages are lost.
    cut: BTreeSet<(NodeId, NodeId)>,
    loss_percent: u64,
    delay_ms: u64,
}

/// The network and the nodes on it.
#[derive(Clone)]
pub struct Net {
    weather: Arc<Mutex<Weather>>,
}

struct Line {
    net: Net,
    from: NodeId,
}

impl Carrier for Line {
    fn call(&self, to: NodeId, body: Vec<u8>, timeout: Duration) -> Carried {
        let (net, from) = (self.net.clone(), self.from);
        Box::pin(async move {
            net.pass(from, to, timeout).await?;
            let target = net.weather.lock().nodes.get(&to).cloned().ok_or("nobody there")?;
            let handled = tokio::spawn(async move { target.handle(&body).await });
            let answer = handled.await.map_err(|error| error.to_string())?;
            net.pass(to, from, timeout).await?;
            Ok(answer)
        })
    }
}

impl Net {
    /// A network without nodes.
    pub fn new(seed: u64) -> Self {
        let weather = Weather {
            rng: Rng::seeded(seed),
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            loss_percent: 0,
            delay_ms: 2,
        };
        Self { weather: Arc::new(Mutex::new(weather)) }
    }

    /// A network with nodes 0 to `count`, of which the first `voters` have founded a cluster of all.
    pub async fn founded(seed: u64, count: u8, voters: u8) -> Self {
        let net = Self::new(seed);
        for number in 0..count {
            net.open(Storage::memory(id(number))).await;
        }
        let ids: Vec<NodeId> = (0..voters).map(id).collect();
        let members = (0..count).map(member).collect();
        net.found(&ids, members).await;
        net
    }

    /// Has the nodes `voters`, the first of which begins, found cluster 7.
    pub async fn found(&self, voters: &[NodeId], members: Vec<Member>) {
        let first = self.nodes().into_iter().find(|node| node.id() == voters[0]).expect("it lives");
        first.begin(voters).await.expect("begun");
        let founded = self.propose(&Change::Found { cluster: ClusterId(7), members }).await;
        assert!(matches!(founded, Ok(_) | Err(Refusal::Founded)), "{founded:?}");
    }

    /// Opens a node on its storage and joins it to the network.
    pub async fn open(&self, storage: Storage) -> Agreement {
        let (from, _) = storage.identity();
        let seed = self.weather.lock().rng.next_u64();
        let line = Arc::new(Line { net: self.clone(), from });
        let agreement = Agreement::open(storage, line, TIMING, Rng::seeded(seed)).await.expect("it opens");
        self.weather.lock().nodes.insert(from, agreement.clone());
        agreement
    }

    /// Ends a node at once.
    pub async fn kill(&self, node: NodeId) {
        let gone = self.weather.lock().nodes.remove(&node);
        gone.expect("a living node").shutdown().await;
    }

    /// A living node.
    pub fn node(&self, number: u8) -> Agreement {
        self.weather.lock().nodes.get(&id(number)).cloned().expect("a living node")
    }

    /// All living nodes.
    pub fn nodes(&self) -> Vec<Agreement> {
        self.weather.lock().nodes.values().cloned().collect()
    }

    /// Loses so many of 100 messages, and delays the others by up to so long.
    pub fn storm(&self, loss_percent: u64, delay_ms: u64) {
        let mut weather = self.weather.lock();
        (weather.loss_percent, weather.delay_ms) = (loss_percent, delay_ms);
    }

    /// Loses what these nodes say to others and what others say to them.
    pub fn part(&self, side: &[NodeId]) {
        let mut weather = self.weather.lock();
        let ids: Vec<NodeId> = weather.nodes.keys().copied().collect();
        for from in &ids {
            for to in &ids {
                if side.contains(from) != side.contains(to) {
                    weather.cut.insert((*from, *to));
                }
            }
        }
    }

    /// Loses nothing any more.
    pub fn heal(&self) {
        self.weather.lock().cut.clear();
        self.storm(0, 2);
    }

    async fn pass(&self, from: NodeId, to: NodeId, timeout: Duration) -> Result<(), String> {
        let (lost, delay) = {
            let mut guard = self.weather.lock();
            let weather = &mut *guard;
            let lost = weather.rng.below(100) < weather.loss_percent || weather.cut.contains(&(from, to));
            (lost, weather.rng.below(weather.delay_ms + 1))
        };
        if lost {
            tokio::time::sleep(timeout).await;
            return Err("lost".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(delay)).await;
        Ok(())
    }

    /// The node among `within` that says that it leads, once one does.
    #[track_caller]
    pub fn leader_among(&self, within: &[NodeId]) -> impl Future<Output = Agreement> + use<> {
        let (net, within) = (self.clone(), within.to_vec());
        async move {
            let mut found = None;
            until(10 * TIMEOUT, "a leader", || {
                found = net
                    .nodes()
                    .into_iter()
                    .find(|node| within.contains(&node.id()) && node.status().borrow().is_leader);
                found.is_some()
            })
            .await;
            found.expect("a leader")
        }
    }

    /// The leader, once there is one.
    #[track_caller]
    pub fn leader(&self) -> impl Future<Output = Agreement> + use<> {
        let ids: Vec<NodeId> = self.nodes().iter().map(Agreement::id).collect();
        self.leader_among(&ids)
    }

    /// Has a change agreed on by whoever leads, however often that takes.
    pub async fn propose(&self, change: &Change) -> Outcome {
        let propose = async {
            loop {
                match self.leader().await.propose(change.clone()).await {
                    Ok(outcome) => return outcome,
                    Err(ProposeError::NotLeader { .. } | ProposeError::Lost | ProposeError::Timeout) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        tokio::time::timeout(30 * TIMEOUT, propose).await.expect("agreed on in time")
    }
}

/// A node's table.
pub fn table(node: &Agreement) -> Arc<Table> {
    node.table().borrow().clone()
}

/// Waits until something is so.
#[track_caller]
pub fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limit, wait).await.is_err() {
            panic!("{what}: not within {limit:?}, at {place}");
        }
    }
}

/// Waits until all nodes show the same table as `like`, and compares digests.
pub async fn converge(nodes: &[Agreement], like: &Agreement) {
    // Not the table that `like` has now: a change whose proposer gave up may yet come about.
    let agree = || nodes.iter().all(|node| table(node).stamp() == table(like).stamp());
    until(10 * TIMEOUT, "one table", agree).await;
    let goal = table(like);
    for node in nodes {
        assert_eq!(table(node).digest(), goal.digest(), "one version, one table: {}", node.id());
    }
}
