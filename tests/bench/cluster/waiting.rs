//! Clients by the thousand that have something to do with one slot: that wait for a key of it, listen to a shard channel, or
//! cache a key. Those that wait take one descriptor each, and no thread.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::support::client::{Client, encode};
use super::support::cluster::Cluster;
use super::support::frame::Frame;

/// Longest wait for a word.
const PATIENCE: Duration = Duration::from_secs(60);
/// A MOVED is shorter.
const LINE_MAX: usize = 128;

/// Clients with BLPOP on one key.
pub struct Waiting(Vec<TcpStream>);

impl Waiting {
    /// So many of them at a node.
    pub fn start(address: SocketAddr, count: usize) -> Waiting {
        let request = encode(&["BLPOP", "{large}queue", "0"]);
        let wait = |_| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(&request).expect("it is sent");
            stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
            stream
        };
        Waiting((0..count).map(wait).collect())
    }

    /// How many are told MOVED.
    pub fn told_moved(&mut self) -> usize {
        let mut line = [0; LINE_MAX];
        let mut told = 0;
        for stream in &mut self.0 {
            let length = stream.read(&mut line).unwrap_or(0);
            told += usize::from(line[..length].starts_with(b"-MOVED ") && line[..length].ends_with(b"\r\n"));
        }
        told
    }
}

/// Clients with XREAD, with a subscription, and with tracking.
pub struct Watchers {
    reading: Vec<Client>,
    listening: Vec<Client>,
    caching: Vec<Client>,
}

impl Watchers {
    /// So many of each kind at a node.
    pub fn start(cluster: &Cluster, number: usize, count: usize) -> Watchers {
        let each = |begin: &dyn Fn(&mut Client)| -> Vec<Client> {
            let connect = |_| {
                let mut client = cluster.connect(number);
                begin(&mut client);
                client
            };
            (0..count).map(connect).collect()
        };
        cluster.connect(number).line("XADD {large}stream * field value");
        Watchers {
            reading: each(&|client| client.send_line("XREAD BLOCK 0 STREAMS {large}stream $")),
            listening: each(&|client| {
                client.send_line("SSUBSCRIBE {large}channel");
                client.receive();
            }),
            caching: each(&|client| {
                client.line("HELLO 3");
                client.line("CLIENT TRACKING ON");
                client.line("GET {large}small");
            }),
        }
    }

    /// Who was told what.
    pub fn told(&mut self) -> String {
        let of = |clients: &mut Vec<Client>, is_told: &dyn Fn(&Frame) -> bool| {
            let told = clients.iter_mut().filter_map(|client| client.try_receive().ok()).filter(is_told);
            told.count()
        };
        let count = self.reading.len();
        let moved = of(&mut self.reading, &|frame| frame.to_string().starts_with("-MOVED "));
        let ended = of(&mut self.listening, &|frame| frame.items()[0].text() == "sunsubscribe");
        let forgot = of(&mut self.caching, &|frame| frame.items()[0].text() == "invalidate");
        format!(
            "of {count} each: {moved} with XREAD were told MOVED, {ended} subscribers sunsubscribe, {forgot} with tracking to \
             forget"
        )
    }
}
