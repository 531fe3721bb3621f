//! More nodes and fewer by one number, while clients work: nobody notices.

use super::nodes::{addresses, are_one, ask};
use super::support::docker::{Project, path, with_engine};
use super::support::frame::Frame;
use super::support::tool;
use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Keys that the client writes: one for each slot.
const KEYS: i64 = 16_384;
/// How much more than its share a node may have.
const UNEVEN_MAX: f64 = 1.01;

/// The client of `load.py`, which ends with its value.
struct Load {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Load {
    fn start(python: &str, address: SocketAddr) -> Load {
        let mut command = Command::new(python);
        command.arg(path("tests/containers/load.py")).arg(address.to_string());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client runs");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut load = Load { child, output };
        let mut line = String::new();
        load.output.read_line(&mut line).expect("it is text");
        assert_eq!(line.trim_end(), "filled");
        load
    }

    /// Has it look for all its keys and end.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("it is text");
        let status = self.child.wait().expect("it ends");
        println!("measured: the client meanwhile: {}", text.trim_end());
        assert!(status.success(), "{status}: {text}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Slots of each host, by CLUSTER SLOTS of one node.
fn shares(address: SocketAddr) -> HashMap<String, i64> {
    let mut shares = HashMap::new();
    let Some(Frame::Array(ranges)) = ask(address, &["CLUSTER", "SLOTS"]) else { return shares };
    for range in &ranges {
        let [start, end, owner] = range.items() else { panic!("{range}") };
        *shares.entry(owner.items()[0].text()).or_default() += end.integer() - start.integer() + 1;
    }
    shares
}

/// Scales and waits; says how long it took and that all is even.
fn scale(project: &Project<'_>, nodes: usize) {
    let began = Instant::now();
    project.scale(nodes);
    let compose = began.elapsed();
    let addresses = addresses(project);
    assert_eq!(addresses.len(), nodes, "{addresses:?}");
    project.wait(&format!("{nodes} nodes are one cluster"), || are_one(&addresses));
    println!("measured: {nodes} nodes after {:.1?}, of which compose took {compose:.1?}", began.elapsed());
    let shares = shares(addresses[0]);
    assert_eq!(shares.len(), nodes, "{shares:?}");
    let ideal = KEYS as f64 / nodes as f64;
    let most = shares.values().copied().max().unwrap_or_default() as f64;
    assert!(most <= ideal * UNEVEN_MAX, "{shares:?}");
    println!("measured: the fullest of {nodes} has {:.4} of its share", most / ideal);
}

#[test]
fn scaling_out_and_in_is_not_noticed() {
    let python = env::var("LARDER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !tool::is_installed(&python, &["-c", "import redis"]) {
        return;
    }
    with_engine("scaling::scaling_out_and_in_is_not_noticed", |engine| {
        let project = Project::new(engine, "docker/compose.yml", &[]);
        scale(&project, 5);
        let load = Load::start(&python, addresses(&project)[0]);
        scale(&project, 8);
        scale(&project, 5);
        load.finish();
        let keys = |address: SocketAddr| ask(address, &["DBSIZE"]).map_or(0, |reply| reply.integer());
        assert_eq!(addresses(&project).into_iter().map(keys).sum::<i64>(), KEYS);
    });
}
