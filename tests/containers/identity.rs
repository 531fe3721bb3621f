//! Who a container is when it comes back: with the data directory of before the same node, wherever it is now.

use super::nodes::{are_one, ask, info};
use super::support::docker::{Engine, IMAGE, with_engine};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Nodes of the cluster.
const NODES: usize = 3;
/// Longest wait for the cluster.
const LIMIT: Duration = Duration::from_secs(60);

/// Containers with a volume each, on a network of their own; all of it ends with this.
struct Kept<'e> {
    engine: &'e Engine,
    /// Of the network, and what all other names begin with.
    name: String,
    strangers: usize,
}

impl<'e> Kept<'e> {
    fn new(engine: &'e Engine) -> Kept<'e> {
        let name = format!("larder-test-{}-kept", std::process::id());
        engine.docker(&["network", "create", &name]);
        Kept { engine, name, strangers: 0 }
    }

    fn name_of(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }

    fn start(&self, node: usize) {
        let name = self.name_of(node);
        let volume = format!("{name}:/data");
        let run = ["run", "--detach", "--name", &name, "--network", &self.name, "--network-alias", "larder"];
        let data = ["--volume", &volume, "--env", "LARDER_DIR=/data"];
        let cluster = [
            ["--env", "LARDER_CLUSTER_SEEDS=larder"],
            ["--env", "LARDER_CLUSTER_EXPECT=3"],
            ["--env", "LARDER_CLUSTER_SECRET=of-this-test"],
        ];
        self.engine.docker(&[&run[..], &data, cluster.as_flattened(), &[IMAGE]].concat());
    }

    fn remove(&self, node: usize) {
        self.engine.docker(&["rm", "--force", &self.name_of(node)]);
    }

    /// Somebody else on the network, who takes the lowest address that is free.
    fn stranger(&mut self) -> SocketAddr {
        let name = format!("{}-stranger-{}", self.name, self.strangers);
        self.strangers += 1;
        self.engine.docker(&["run", "--detach", "--name", &name, "--network", &self.name, IMAGE]);
        self.engine.inspect(&name).address().expect("it has one")
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let address = |node| self.engine.inspect(&self.name_of(node)).address();
        (0..NODES).filter_map(address).collect()
    }

    /// Waits until the cluster is whole; gives the nodes' ids in their order and the cluster's.
    fn whole(&self, what: &str) -> (Vec<String>, String) {
        let (began, addresses) = (Instant::now(), self.addresses());
        assert_eq!(addresses.len(), NODES);
        while !are_one(&addresses) {
            assert!(began.elapsed() < LIMIT, "{what}\n{}", self.logs());
            thread::sleep(Duration::from_millis(20));
        }
        println!("measured: {what} after {:.1?}", began.elapsed());
        let id =
            |address: &SocketAddr| ask(*address, &["CLUSTER", "MYID"]).map_or(String::new(), |id| id.text());
        (addresses.iter().map(id).collect(), info(addresses[0], "cluster_id"))
    }

    /// Where CLUSTER NODES shows nodes.
    fn shown(&self) -> BTreeSet<SocketAddr> {
        let nodes =
            ask(self.addresses()[0], &["CLUSTER", "NODES"]).map_or(String::new(), |nodes| nodes.text());
        nodes.lines().filter_map(|line| line.split([' ', '@']).nth(1)?.parse().ok()).collect()
    }

    fn logs(&self) -> String {
        let logs = |node| self.engine.try_docker(&["logs", &self.name_of(node)]).all();
        (0..NODES).map(|node| format!("--- {node}\n{}", logs(node))).collect()
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let strangers = (0..self.strangers).map(|number| format!("{}-stranger-{number}", self.name));
        for name in (0..NODES).map(|node| self.name_of(node)).chain(strangers) {
            self.engine.try_docker(&["rm", "--force", &name]);
            self.engine.try_docker(&["volume", "rm", &name]);
        }
        self.engine.try_docker(&["network", "rm", &self.name]);
    }
}

#[test]
fn a_container_is_the_same_node_under_another_address() {
    with_engine("identity::a_container_is_the_same_node_under_another_address", |engine| {
        let mut kept = Kept::new(engine);
        (0..NODES).for_each(|node| kept.start(node));
        let before = kept.whole("three containers with volumes are one cluster");

        let old = kept.addresses()[0];
        kept.remove(0);
        assert_eq!(kept.stranger(), old, "somebody else has the address");
        kept.start(0);
        let after = kept.whole("one that comes back with its volume under another address has its share");
        assert_eq!(after, before);
        assert_eq!(kept.shown(), kept.addresses().into_iter().collect());
        assert!(!kept.shown().contains(&old));

        let old = kept.addresses();
        (0..NODES).for_each(|node| kept.remove(node));
        let strangers: BTreeSet<SocketAddr> = (0..NODES).map(|_| kept.stranger()).collect();
        assert_eq!(strangers, old.into_iter().collect());
        (0..NODES).rev().for_each(|node| kept.start(node));
        let after =
            kept.whole("all that come back with their volumes under other addresses are the same cluster");
        assert_eq!(after, before);
        assert_eq!(kept.shown(), kept.addresses().into_iter().collect());
    });
}
