//! What tests ask the nodes in containers, each question under a short limit: a node that is paused or cut off must not
//! hold up the others.

use super::support::client::encode;
use super::support::docker::{Container, Project};
use super::support::frame::Frame;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// One command to one node, on a connection of its own; nothing if it does not answer in time.
pub fn ask(address: SocketAddr, words: &[&str]) -> Option<Frame> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT).ok()?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    stream.write_all(&encode(words)).ok()?;
    Frame::read(&mut BufReader::new(stream), &mut Vec::new()).ok()
}

/// A field of CLUSTER INFO; empty if the node does not answer.
pub fn info(address: SocketAddr, field: &str) -> String {
    let Some(reply @ (Frame::Bulk(_) | Frame::Verbatim(..))) = ask(address, &["CLUSTER", "INFO"]) else {
        return String::new();
    };
    let text = reply.text();
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.unwrap_or_default().to_owned()
}

/// Where the nodes of a project that run serve clients.
#[track_caller]
pub fn addresses(project: &Project<'_>) -> Vec<SocketAddr> {
    let running = |one: &Container| (one.status == "running").then(|| one.address()).flatten();
    project.containers().iter().filter_map(running).collect()
}

/// Whether all these nodes, and no others, are one cluster: each says that it is well, with one map and no moves.
pub fn are_one(addresses: &[SocketAddr]) -> bool {
    let count = addresses.len().to_string();
    let well = |address: &SocketAddr| {
        info(*address, "cluster_state") == "ok"
            && info(*address, "cluster_known_nodes") == count
            && info(*address, "cluster_moves") == "0"
    };
    let map = |address: &SocketAddr| ask(*address, &["CLUSTER", "SLOTS"]).map(|slots| format!("{slots}"));
    let Some(first) = addresses.first() else { return false };
    addresses.iter().all(well)
        && map(first).is_some_and(|first| addresses.iter().all(|other| map(other).as_ref() == Some(&first)))
}
