//! What a node of a cluster answers to a command by the table that it is shown: where a foreign slot is, that keys
//! differ in slot, that it holds no lease, that a slot is held. No network: the table is put in place by hand.

mod support;

use larder::app;
use larder::base::slot::{Slot, slot_of};
use larder::cluster::id::{ClusterId, NodeId};
use larder::cluster::route::{SlotSet, View};
use larder::cluster::table::{Change, ClientAddress, Member, Standing, Table};
use larder::command::context::WorkerLocal;
use larder::command::execute::{Progress, execute};
use larder::command::session::Session;
use larder::config::Config;
use larder::config::store::ConfigStore;
use larder::hub::Hub;
use larder::resp::args::OwnedArgs;
use larder::resp::reply::{Proto, Reply};
use std::sync::Arc;
use support::alone::client_of;

fn member(number: u8) -> Member {
    Member {
        id: NodeId([number; 20]),
        incarnation: 1,
        client: ClientAddress {
            host: format!("10.0.0.{number}"),
            port: 7000 + u16::from(number),
            ..Default::default()
        },
        peer: ([10, 0, 0, number], 17000).into(),
        zone: String::new(),
        weight: 1,
        standing: Standing::Active,
    }
}

/// Node 1 of three, with one client.
struct Node {
    hub: Arc<Hub>,
    table: Table,
    worker: WorkerLocal,
    session: Session,
}

impl Node {
    fn new() -> Self {
        let config = Config { cluster_enabled: true, ..Config::default() };
        let hub = app::build(Arc::new(ConfigStore::new(config, None)));
        let mut table = Table::default();
        let members = (1..=3).map(member).collect();
        table.apply(&Change::Found { cluster: ClusterId(1), members }).expect("the first change");
        let client = client_of(&hub);
        let worker = WorkerLocal::new(Arc::clone(&hub), 0);
        Self { hub, table, worker, session: Session::new(client, true) }
    }

    /// A node that serves what the table gives it, under a lease.
    fn serving() -> Self {
        let node = Self::new();
        let view = Arc::new(View::new(Arc::new(node.table.clone()), member(1).id));
        let routes = &node.hub.cluster.routes;
        routes.show(Arc::clone(&view));
        let mut mine = SlotSet::default();
        (0..16384)
            .filter_map(Slot::new)
            .filter(|slot| view.is_mine(*slot))
            .for_each(|slot| mine.insert(slot));
        routes.serve(&mine);
        routes.lengthen_lease(u64::MAX);
        node
    }

    /// The owner of a key's slot.
    fn owner(&self, key: &str) -> NodeId {
        self.table.owner(slot_of(key.as_bytes()).number()).expect("an owner").id
    }

    /// A key that node `number` owns.
    fn key_of(&self, number: u8) -> String {
        let owned = |key: &String| self.owner(key) == member(number).id;
        (0..).map(|index| format!("key:{index}")).find(owned).expect("every node owns some")
    }

    /// The reply to a command; nothing if it is held or waits.
    fn ask(&mut self, words: &[&str]) -> Option<String> {
        self.worker.refresh_now();
        let mut reply = Reply::new(Proto::Resp2);
        let request = OwnedArgs::from_slices(words);
        let progress = execute(&mut self.worker, &mut self.session, &mut reply, request.as_args());
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = reply.slices(&mut slices);
        let text: String = slices[..filled].iter().map(|slice| String::from_utf8_lossy(slice)).collect();
        match progress {
            Progress::Done => Some(text),
            Progress::Held | Progress::Away | Progress::Waits | Progress::Apart => {
                assert!(text.is_empty(), "a held command has no reply, not {text}");
                None
            }
        }
    }

    fn says(&mut self, words: &[&str], expected: &str) {
        assert_eq!(self.ask(words).as_deref(), Some(expected), "{words:?}");
    }
}

fn only(key: &str) -> SlotSet {
    let mut slots = SlotSet::default();
    slots.insert(slot_of(key.as_bytes()));
    slots
}

#[test]
fn a_foreign_key_is_redirected_to_its_owner() {
    let mut node = Node::serving();
    let (mine, other) = (node.key_of(1), node.key_of(2));
    let slot = slot_of(other.as_bytes()).number();
    node.says(&["SET", &mine, "v"], "+OK\r\n");
    node.says(&["GET", &mine], "$1\r\nv\r\n");
    let moved = format!("-MOVED {slot} 10.0.0.2:7002\r\n");
    node.says(&["GET", &other], &moved);
    node.says(&["SET", &other, "v"], &moved);
    node.says(&["MGET", &other, &format!("{{{other}}}2")], &moved);
    node.says(&["PING"], "+PONG\r\n");
}

#[test]
fn keys_of_different_slots_are_refused_whoever_owns_them() {
    let mut node = Node::serving();
    let mine = node.key_of(1);
    let refused = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    node.says(&["MSET", &mine, "1", "another", "2"], refused);
    node.says(&["DEL", "a", "b"], refused);
    node.says(&["MSET", &mine, "1", &format!("{{{mine}}}x"), "2"], "+OK\r\n");
}

#[test]
fn without_a_lease_no_data_command_is_answered() {
    let mut node = Node::serving();
    let mine = node.key_of(1);
    node.says(&["SET", &mine, "v"], "+OK\r\n");
    node.hub.cluster.routes.end_lease();
    let refused = "-CLUSTERDOWN The cluster is down\r\n";
    for words in [
        &["GET", &mine][..],
        &["SET", &mine, "w"],
        &["DBSIZE"],
        &["SCAN", "0"],
        &["FLUSHALL"],
        &["SSUBSCRIBE", &mine],
        &["SPUBLISH", &mine, "m"],
    ] {
        node.says(words, refused);
    }
    node.says(&["PING"], "+PONG\r\n");
    node.says(&["PUBLISH", &mine, "m"], ":0\r\n");
    node.hub.cluster.routes.lengthen_lease(u64::MAX);
    node.says(&["GET", &mine], "$1\r\nv\r\n");
}

#[test]
fn a_node_that_knows_no_owner_says_so() {
    let mut node = Node::new();
    node.hub.cluster.routes.lengthen_lease(u64::MAX);
    node.says(&["GET", "k"], "-CLUSTERDOWN Hash slot not served\r\n");
}

#[test]
fn a_held_slot_waits_and_others_do_not() {
    let mut node = Node::serving();
    let mine = node.key_of(1);
    let other = (0..)
        .map(|index| format!("other:{index}"))
        .find(|key| node.owner(key) == member(1).id && slot_of(key.as_bytes()) != slot_of(mine.as_bytes()))
        .expect("more slots than one");
    node.says(&["SET", &mine, "v"], "+OK\r\n");
    node.hub.cluster.routes.withdraw(&only(&mine));
    assert_eq!(node.ask(&["GET", &mine]), None);
    assert_eq!(node.ask(&["GET", &mine]), None, "it goes on waiting");
    assert_eq!(node.ask(&["SSUBSCRIBE", &mine]), None, "nobody subscribes while the slot leaves");
    assert_eq!(node.ask(&["SPUBLISH", &mine, "m"]), None);
    node.says(&["SET", &other, "w"], "+OK\r\n");
    node.hub.cluster.routes.serve(&only(&mine));
    node.says(&["GET", &mine], "$1\r\nv\r\n");
}

#[test]
fn a_transaction_is_redirected_as_a_whole() {
    let mut node = Node::serving();
    let (mine, other) = (node.key_of(1), node.key_of(3));
    let slot = slot_of(other.as_bytes()).number();
    let moved = format!("-MOVED {slot} 10.0.0.3:7003\r\n");
    node.says(&["MULTI"], "+OK\r\n");
    node.says(&["SET", &mine, "v"], "+QUEUED\r\n");
    node.says(&["SET", &other, "v"], &moved);
    node.says(&["EXEC"], "-EXECABORT Transaction discarded because of previous errors.\r\n");

    node.says(&["MULTI"], "+OK\r\n");
    node.says(&["SET", &mine, "v"], "+QUEUED\r\n");
    node.hub.cluster.routes.withdraw(&only(&mine));
    assert_eq!(node.ask(&["EXEC"]), None, "held as a whole");
    let mut table = node.table.clone();
    let number = slot_of(mine.as_bytes()).number();
    let begin = Change::Begin { start: number, end: number, from: member(1).id, to: member(3).id };
    let id = table.apply(&begin).expect("a move");
    table.apply(&Change::Commit { id }).expect("its end");
    node.hub.cluster.routes.show(Arc::new(View::new(Arc::new(table), member(1).id)));
    node.says(&["EXEC"], &format!("-MOVED {number} 10.0.0.3:7003\r\n"));
    node.says(&["EXEC"], "-ERR EXEC without MULTI\r\n");
    node.says(&["DISCARD"], "-ERR DISCARD without MULTI\r\n");
}

#[test]
fn a_transaction_over_two_slots_is_refused() {
    let mut node = Node::serving();
    let mine = node.key_of(1);
    let other = (0..)
        .map(|index| format!("other:{index}"))
        .find(|key| node.owner(key) == member(1).id && slot_of(key.as_bytes()) != slot_of(mine.as_bytes()))
        .expect("more slots than one");
    node.says(&["MULTI"], "+OK\r\n");
    node.says(&["SET", &mine, "v"], "+QUEUED\r\n");
    node.says(&["SET", &other, "v"], "+QUEUED\r\n");
    node.says(&["EXEC"], "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    node.says(&["GET", &mine], "$-1\r\n");
}
