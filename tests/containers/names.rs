//! Names inside the image, which has no name service library: A, AAAA and SRV records from a name server of this test, which
//! Docker's own asks for whatever it does not know.

use super::nodes::are_one;
use super::support::docker::{Engine, IMAGE, PORT, with_engine};
use std::io::{Write, stderr};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// The network's addresses: its gateway, which is this side, and the containers.
const SUBNET: &str = "10.231.7.0/24";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 231, 7, 1);
const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 231, 7, 11), Ipv4Addr::new(10, 231, 7, 12)];
/// The service by which nodes find each other, and the names of its hosts.
const SERVICE: &str = "_larder._tcp.cache.test";
const HOSTS: [&str; 2] = ["one.cache.test", "two.cache.test"];
/// A name with an AAAA record alone: the machine itself.
const SIX: &str = "six.cache.test";
/// Port of other nodes, which the service's records tell.
const PEER_PORT: u16 = 16379;
/// Kinds of records.
const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
/// Longest wait for the cluster.
const LIMIT: Duration = Duration::from_secs(60);

/// A name as records hold it.
fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// What there is of a kind under a name.
fn records(name: &str, kind: u16) -> Vec<Vec<u8>> {
    let host = HOSTS.iter().position(|host| *host == name);
    match (kind, host) {
        (A, Some(host)) => vec![NODES[host].octets().to_vec()],
        (AAAA, None) if name == SIX => vec![std::net::Ipv6Addr::LOCALHOST.octets().to_vec()],
        (SRV, None) if name == SERVICE => {
            let target = |host: &&str| [&[0, 0, 0, 0], &PEER_PORT.to_be_bytes()[..], &labels(host)].concat();
            HOSTS.iter().map(target).collect()
        }
        _ => Vec::new(),
    }
}

/// The answer to a query with one question, which is all that there are; nothing to what is none.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut name = Vec::new();
    while *query.get(at)? != 0 {
        let end = at + 1 + query[at] as usize;
        name.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let found = records(&name.join("."), kind);
    let mut reply = query[..2].to_vec();
    // An answer of whoever is responsible, without an error; one question, so many records.
    reply.extend_from_slice(&[0x85, 0x80, 0, 1, 0, found.len() as u8, 0, 0, 0, 0]);
    reply.extend_from_slice(query.get(12..at + 5)?);
    for record in found {
        // The question's name, the kind, of the internet, for a second.
        reply.extend_from_slice(&[0xc0, 12]);
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
        reply.extend_from_slice(&(record.len() as u16).to_be_bytes());
        reply.extend_from_slice(&record);
    }
    Some(reply)
}

/// Answers until the test program ends.
fn serve(socket: UdpSocket) {
    thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            if let Some(reply) = answer(&query[..length]) {
                // Whoever asked asks again.
                let _ = socket.send_to(&reply, from);
            }
        }
    });
}

/// A network and its containers, which end with it.
struct Net<'e> {
    engine: &'e Engine,
    name: String,
}

impl<'e> Net<'e> {
    fn new(engine: &'e Engine) -> Net<'e> {
        let name = format!("larder-test-{}-names", std::process::id());
        engine.docker(&["network", "create", "--subnet", SUBNET, &name]);
        Net { engine, name }
    }

    fn name_of(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }

    fn start(&self, node: usize) {
        let (name, ip, server) = (self.name_of(node), NODES[node].to_string(), GATEWAY.to_string());
        let seeds = format!("LARDER_CLUSTER_SEEDS={SERVICE}");
        let run =
            ["run", "--detach", "--name", &name, "--network", &self.name, "--ip", &ip, "--dns", &server];
        let six = ["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"];
        let cluster = [
            ["--env", seeds.as_str()],
            ["--env", "LARDER_CLUSTER_EXPECT=2"],
            ["--env", "LARDER_CLUSTER_SECRET=of-this-test"],
        ];
        self.engine.docker(&[&run[..], &six, cluster.as_flattened(), &[IMAGE]].concat());
    }
}

impl Drop for Net<'_> {
    fn drop(&mut self) {
        for node in 0..NODES.len() {
            self.engine.try_docker(&["rm", "--force", &self.name_of(node)]);
        }
        self.engine.try_docker(&["network", "rm", &self.name]);
    }
}

#[test]
fn records_of_all_kinds_are_found_without_a_library() {
    with_engine("names::records_of_all_kinds_are_found_without_a_library", |engine| {
        if !engine.is_own() {
            let _ = writeln!(stderr(), "SKIPPED: port 53 is for engines of our own");
            return;
        }
        let net = Net::new(engine);
        serve(UdpSocket::bind((GATEWAY, 53)).expect("the gateway's port for names"));
        (0..NODES.len()).for_each(|node| net.start(node));
        let addresses = NODES.map(|ip| SocketAddr::new(ip.into(), PORT));
        let began = Instant::now();
        while !are_one(&addresses) {
            let logs = engine.try_docker(&["logs", &net.name_of(0)]).all();
            assert!(began.elapsed() < LIMIT, "not one cluster by {SERVICE}\n{logs}");
            thread::sleep(Duration::from_millis(20));
        }
        println!(
            "measured: two containers that know an SRV record are one cluster after {:.1?}",
            began.elapsed()
        );
        for name in [HOSTS[1], SIX] {
            let said = engine.docker(&["exec", &net.name_of(0), "/larder", "ping", "--host", name]);
            assert_eq!(said, "PONG", "{name}");
        }
        let said =
            engine.try_docker(&["exec", &net.name_of(0), "/larder", "ping", "--host", "no.cache.test"]);
        assert!(!said.status.success() && said.stderr.contains("no.cache.test"), "{}", said.all());
    });
}
