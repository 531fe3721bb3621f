//! Nodes in this process that go by a slot table which the test has made.

use larder::app;
use larder::cluster::id::{ClusterId, NodeId};
use larder::cluster::route::{SlotSet, View};
use larder::cluster::table::{Change, ClientAddress, Member, Standing, Table};
use larder::config::param;
use larder::config::sources::{self, Setting};
use larder::config::store::ConfigStore;
use larder::hub::Hub;
use larder::hub::cluster::{PeerVitals, Phase, Vitals};
use larder::hub::orders::Shutdown;
use larder::server::Server;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::support::client::Client;
use crate::support::server::free_port;

/// Starts that are tried: another process may take a port between its choice and its use.
const STARTS_TRIED: usize = 5;
/// What a port for nodes is above that for clients, for show: nobody listens there.
const BUS_OFFSET: u16 = 1000;

/// One node, serving.
pub struct Node {
    pub id: NodeId,
    pub hub: Arc<Hub>,
    pub address: SocketAddr,
    // Stops when it is dropped.
    server: Option<Server>,
}

impl Node {
    /// A new connection whose replies must have the shapes that the command table declares.
    #[track_caller]
    pub fn connect(&self, resp3: bool) -> Client {
        let mut client = Client::connect(self.address).expect("a connection");
        client.holds_shapes = true;
        if resp3 { client.hello3() } else { client }
    }

    /// The port as tools want it.
    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Goes by `table` from now on, serves its part and holds a lease.
    pub fn follow(&self, table: &Arc<Table>) {
        let routes = &self.hub.cluster.routes;
        routes.withdraw(&routes.served());
        let view = Arc::new(View::new(Arc::clone(table), self.id));
        let mut mine = SlotSet::default();
        for (start, end) in table.ranges_of(self.id) {
            (start..=end).filter_map(larder::base::slot::Slot::new).for_each(|slot| mine.insert(slot));
        }
        routes.show(view);
        routes.serve(&mine);
        routes.lengthen_lease(u64::MAX - 1);
        self.set_vitals(table, |_| {});
    }

    /// Says how the node is doing: serving, led by the first member, hearing of everybody, then what `change` makes of it.
    pub fn set_vitals(&self, table: &Table, change: impl FnOnce(&mut Vitals)) {
        let others = table.members.iter().filter(|member| member.id != self.id);
        let mut vitals = Vitals {
            me: self.id,
            incarnation: 1,
            cluster: table.cluster,
            phase: Phase::Serving,
            leader: table.members.first().map(|member| member.id),
            voters: table.members.iter().map(|member| member.id).collect(),
            term: 3,
            peers: others
                .map(|member| PeerVitals { id: member.id, alive: true, heard_ms: 0, version: table.version })
                .collect(),
            ..Vitals::default()
        };
        change(&mut vitals);
        self.hub.cluster.set_vitals(vitals);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.hub.orders.shut_down(Shutdown::Immediate);
        drop(self.server.take());
    }
}

/// What member number `number` is called.
pub fn id(number: u8) -> NodeId {
    NodeId([0xA0 + number; 20])
}

pub fn member(number: u8, port: u16) -> Member {
    Member {
        id: id(number),
        incarnation: 1,
        client: ClientAddress { host: "127.0.0.1".to_owned(), port, ..ClientAddress::default() },
        peer: (Ipv4Addr::LOCALHOST, port.wrapping_add(BUS_OFFSET)).into(),
        zone: String::new(),
        weight: 1,
        standing: Standing::Active,
    }
}

/// A table that these members have founded.
pub fn founded(members: Vec<Member>) -> Table {
    let mut table = Table::default();
    table.apply(&Change::Found { cluster: ClusterId(0xC1), members }).expect("the first change");
    table
}

/// Nodes that have founded a cluster and serve it.
#[track_caller]
pub fn cluster(count: u8) -> (Vec<Node>, Arc<Table>) {
    let nodes: Vec<Node> = (0..count).map(alone).collect();
    let members = nodes.iter().zip(0..).map(|(node, number)| member(number, node.address.port())).collect();
    let table = Arc::new(founded(members));
    nodes.iter().for_each(|node| node.follow(&table));
    (nodes, table)
}

/// A node that has no table yet and holds no lease.
#[track_caller]
pub fn alone(number: u8) -> Node {
    start(number, false).0
}

/// The same with a gateway, and where that is.
#[track_caller]
pub fn with_gateway(number: u8) -> (Node, SocketAddr) {
    start(number, true)
}

#[track_caller]
fn start(number: u8, with_gateway: bool) -> (Node, SocketAddr) {
    let mut last = String::new();
    for _ in 0..STARTS_TRIED {
        let gateway = if with_gateway { free_port() } else { 0 };
        match started(number, free_port(), gateway) {
            Ok(node) => return (node, SocketAddr::from((Ipv4Addr::LOCALHOST, gateway))),
            Err(why) => last = why,
        }
    }
    panic!("no node starts: {last}");
}

fn started(number: u8, port: u16, gateway: u16) -> Result<Node, String> {
    let setting = |name: &str, text: &str| Setting {
        param: param::find(name).expect("a parameter"),
        text: text.to_owned(),
        origin: "test".to_owned(),
    };
    let (port_text, gateway) = (port.to_string(), gateway.to_string());
    let settings = [
        setting("cluster-enabled", "yes"),
        setting("port", &port_text),
        setting("gateway-port", &gateway),
        setting("bind", "127.0.0.1"),
        setting("metrics-port", "0"),
        setting("threads", "1"),
    ];
    let config = sources::load(None, &[], &settings)?;
    let hub = app::build(Arc::new(ConfigStore::new(config, None)));
    hub.cluster.set_vitals(Vitals { me: id(number), phase: Phase::Seeking, ..Vitals::default() });
    let server = Server::start(Arc::clone(&hub), &hub.config.load())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(Node { id: id(number), hub, address, server: Some(server) })
}
