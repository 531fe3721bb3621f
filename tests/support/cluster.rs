//! A cluster of server processes for one test, each on a loopback address of its own, and a client that follows MOVED.
//!
//! Addresses are 127.A.B.N with A and B from the process and a counter, so that tests that run side by side never meet,
//! or those of a [wire](super::namespaces); ports are the defaults. Everything ends with the value that owns it.

use super::client::Client;
use super::frame::Frame;
use super::namespaces::Wire;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything that a cluster does.
const LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// Port for clients and port for nodes, on each address.
const PORT: u16 = 6379;
/// See [`PORT`].
pub const PEER_PORT: u16 = 16379;
/// Port for metrics, on the loopback address of each place of a wire.
const METRICS_PORT: &str = "9121";

static CLUSTERS: AtomicU8 = AtomicU8::new(0);

/// Some server processes that are to form a cluster. In their flags `{dir}` stands for a node's own directory, `{ip}` for
/// its address.
pub struct Cluster {
    net: [u8; 2],
    /// Where its nodes are, if not on loopback.
    wire: Option<Arc<Wire>>,
    /// The place on the wire of the next node.
    next_place: usize,
    flags: Vec<String>,
    dir: TempDir,
    nodes: Vec<Node>,
    /// Seeds beside the nodes themselves.
    foreign: Vec<String>,
}

/// One process; it may be started again under its address.
pub struct Node {
    ip: Ipv4Addr,
    /// Where on the wire it is, if there is one.
    place: usize,
    dir: PathBuf,
    starts: usize,
    child: Option<Child>,
}

impl Cluster {
    /// `count` processes that found a cluster together, started at once.
    #[track_caller]
    pub fn start(count: usize, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(flags);
        cluster.found(count);
        cluster
    }

    /// The same at places of a wire, from `place` on.
    #[track_caller]
    pub fn start_on(wire: &Arc<Wire>, place: usize, count: usize, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(flags);
        (cluster.wire, cluster.next_place) = (Some(Arc::clone(wire)), place);
        cluster.found(count);
        cluster
    }

    #[track_caller]
    fn found(&mut self, count: usize) {
        for _ in 0..count {
            self.add_address();
        }
        for number in 0..count {
            self.run(number, count);
        }
    }

    /// No process yet.
    pub fn prepare(flags: &[&str]) -> Cluster {
        let process = std::process::id();
        let net =
            [16 + (process % 224) as u8, CLUSTERS.fetch_add(1, Ordering::Relaxed) ^ (process >> 8) as u8];
        let flags = flags.iter().map(|flag| String::from(*flag)).collect();
        Cluster {
            net,
            wire: None,
            next_place: 0,
            flags,
            dir: TempDir::new().expect("a directory"),
            nodes: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// Another process, which joins; gives its number.
    pub fn join(&mut self) -> usize {
        self.join_with(&[])
    }

    /// The same with further flags, which its later starts have not.
    pub fn join_with(&mut self, flags: &[&str]) -> usize {
        let number = self.add_address();
        self.run_with(number, 1.max(self.nodes.len() - 1), flags);
        number
    }

    /// Starts process `number` as [`Self::run`] does, with further flags.
    pub fn run_with(&mut self, number: usize, expect: usize, flags: &[&str]) {
        let before = self.flags.len();
        self.flags.extend(flags.iter().map(|flag| String::from(*flag)));
        self.run(number, expect);
        self.flags.truncate(before);
    }

    /// The addresses of another cluster's processes are seeds, too.
    pub fn seed_with(&mut self, other: &Cluster) {
        self.foreign.extend(other.nodes.iter().map(|node| format!("{}:{PEER_PORT}", node.ip)));
    }

    fn add_address(&mut self) -> usize {
        let number = self.nodes.len();
        let place = self.next_place;
        self.next_place += 1;
        let ip = match &self.wire {
            Some(wire) => wire.address(place),
            None => Ipv4Addr::new(127, self.net[0], self.net[1], number as u8 + 1),
        };
        let dir = self.dir.path().join(format!("node-{number}"));
        fs::create_dir_all(&dir).expect("a directory");
        self.nodes.push(Node { ip, place, dir, starts: 0, child: None });
        number
    }

    /// Gives a node that does not run another place on the wire, and with it another address.
    pub fn relocate(&mut self, number: usize, place: usize) {
        let ip = self.wire.as_ref().expect("it is on a wire").address(place);
        let node = &mut self.nodes[number];
        assert!(node.child.is_none(), "node {number} runs");
        (node.place, node.ip) = (place, ip);
    }

    /// Starts process `number`, which has none running; `expect` nodes found the cluster if there is none.
    pub fn run(&mut self, number: usize, expect: usize) {
        let own = self.nodes.iter().map(|node| format!("{}:{PEER_PORT}", node.ip));
        let seeds: Vec<String> = self.foreign.iter().cloned().chain(own).collect();
        let flags = self.flags.clone();
        let node = &mut self.nodes[number];
        assert!(node.child.is_none(), "node {number} runs already");
        let output = File::create(node.dir.join(format!("output-{}", node.starts))).expect("a file");
        let errors = output.try_clone().expect("a file");
        node.starts += 1;
        let program = env!("CARGO_BIN_EXE_larder");
        let mut command = match &self.wire {
            Some(wire) => wire.command(node.place, program),
            None => Command::new(program),
        };
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("LARDER_")) {
            command.env_remove(name);
        }
        let child = command
            .args(["--bind", &node.ip.to_string(), "--port", &PORT.to_string()])
            .args(["--metrics-port", if self.wire.is_some() { METRICS_PORT } else { "0" }])
            .args(["--cluster-enabled", "yes", "--cluster-seeds", &seeds.join(" ")])
            .args(["--cluster-expect", &expect.to_string(), "--threads", "1", "--maxmemory", "256mb"])
            .args(flags.iter().map(|flag| {
                let flag = flag.replace("{dir}", &node.dir.display().to_string());
                flag.replace("{ip}", &node.ip.to_string())
            }))
            .current_dir(&node.dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("the server runs");
        node.child = Some(child);
    }

    /// Number of addresses that have been used.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Where a node serves clients.
    pub fn address(&self, number: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.nodes[number].ip), PORT)
    }

    /// Process id of a node.
    pub fn pid(&self, number: usize) -> u32 {
        self.nodes[number].child.as_ref().map_or(0, Child::id)
    }

    /// Numbers of the nodes that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|number| self.nodes[*number].child.is_some()).collect()
    }

    /// A connection to a node.
    #[track_caller]
    pub fn connect(&self, number: usize) -> Client {
        self.dial(number).unwrap_or_else(|error| panic!("node {number}: {error}\n{}", self.output()))
    }

    /// A connection to a node, made where the node is.
    pub fn dial(&self, number: usize) -> io::Result<Client> {
        let address = self.address(number);
        match &self.wire {
            Some(wire) => wire.at(self.nodes[number].place, || Client::connect(address)),
            None => Client::connect(address),
        }
    }

    /// Where on the wire a node is.
    pub fn place(&self, number: usize) -> usize {
        self.nodes[number].place
    }

    /// The value of a metric of a node on a wire, summed over all its labels that contain `label`.
    #[track_caller]
    pub fn metric(&self, number: usize, name: &str, label: &str) -> f64 {
        let wire = self.wire.as_ref().expect("it is on a wire");
        let page = wire.at(self.nodes[number].place, || {
            let mut stream = TcpStream::connect(format!("127.0.0.1:{METRICS_PORT}"))?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            io::read_to_string(stream)
        });
        let page = page.unwrap_or_else(|error| panic!("node {number}: {error}\n{}", self.output()));
        let lines = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// A client that knows all running nodes.
    pub fn client(&self) -> ClusterClient {
        ClusterClient::new(self.running().into_iter().map(|number| self.address(number)).collect())
    }

    /// Sends a signal by name to a node's process; returns after `STOP` once the process stands still. Its threads stop
    /// when one of them has come to take the signal, which is a while on a busy machine: until then the others run, and
    /// answer.
    #[track_caller]
    pub fn signal(&self, number: usize, name: &str) {
        let line = format!("kill -{name} {}", self.pid(number));
        let status = Command::new("sh").args(["-c", &line]).status();
        assert!(status.is_ok_and(|status| status.success()), "{line} failed");
        if name == "STOP" {
            self.wait("all threads of the process are stopped", || is_stopped(self.pid(number)));
        }
    }

    /// Ends a process as a crash would.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.nodes[number].child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// Asks a process to stop and waits until it has; gives its exit code.
    #[track_caller]
    pub fn stop(&mut self, number: usize) -> Option<i32> {
        self.signal(number, "TERM");
        self.wait_exit(number)
    }

    /// Waits for the end of a process.
    #[track_caller]
    pub fn wait_exit(&mut self, number: usize) -> Option<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let child = self.nodes[number].child.as_mut().expect("it runs");
            if let Some(status) = child.try_wait().expect("its status") {
                self.nodes[number].child = None;
                return status.code();
            }
            assert!(Instant::now() < deadline, "node {number} does not end\n{}", self.output());
            thread::sleep(PAUSE);
        }
    }

    /// A field of CLUSTER INFO of a node; empty if it does not answer.
    pub fn info(&self, number: usize, field: &str) -> String {
        let Ok(mut client) = self.dial(number) else { return String::new() };
        if client.try_send_raw(b"CLUSTER INFO\r\n").is_err() {
            return String::new();
        }
        let Ok(reply) = client.try_receive() else { return String::new() };
        let text = reply.text();
        let found =
            text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
        found.unwrap_or_default()
    }

    /// Waits until every running node says that the cluster is well and shows the same slots; gives how long it took.
    #[track_caller]
    pub fn wait_ok(&self) -> Duration {
        let running = self.running();
        self.wait(&format!("{} nodes are one cluster", running.len()), || {
            let members = running.len().to_string();
            let voters = match running.len() {
                0..=2 => 1,
                3..=6 => 3,
                _ => 5,
            };
            let well = |number: &usize| {
                self.info(*number, "cluster_state") == "ok"
                    && self.info(*number, "cluster_known_nodes") == members
                    && self.info(*number, "cluster_voters").split(',').count() == voters
            };
            running.iter().all(well) && self.agree()
        })
    }

    /// Whether all running nodes show the same slots, and no moves are under way.
    pub fn agree(&self) -> bool {
        let mut seen = self.running().into_iter().map(|number| {
            let slots = self.dial(number).ok().and_then(|mut client| {
                client.try_send_raw(b"CLUSTER SLOTS\r\n").ok()?;
                client.try_receive().ok()
            });
            (slots.map(|slots| format!("{slots:?}")), self.info(number, "cluster_moves"))
        });
        let Some(first) = seen.next() else { return true };
        first.0.is_some() && first.1 == "0" && seen.all(|other| other == first)
    }

    /// Waits for a condition; panics with what was waited for and the nodes' output. Gives how long it took.
    #[track_caller]
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}\n{}", self.output());
            thread::sleep(PAUSE);
        }
        began.elapsed()
    }

    /// What all processes have written, node by node.
    pub fn output(&self) -> String {
        let mut text = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            for start in 0..node.starts {
                let bytes = fs::read(node.dir.join(format!("output-{start}"))).unwrap_or_default();
                text.push_str(&format!(
                    "--- node {number}, start {start}\n{}",
                    String::from_utf8_lossy(&bytes)
                ));
            }
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // Both fail only when the process has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A client that follows MOVED, remembers where slots are, and tries again when a node is gone.
pub struct ClusterClient {
    seeds: Vec<SocketAddr>,
    links: HashMap<SocketAddr, Client>,
    slots: HashMap<u16, SocketAddr>,
    /// Redirections that were followed.
    pub moved: u64,
    /// Times that a node did not answer, or not with data: each with what was said.
    pub failures: Vec<String>,
}

impl ClusterClient {
    /// A client that begins at one of these nodes.
    pub fn new(seeds: Vec<SocketAddr>) -> ClusterClient {
        ClusterClient { seeds, links: HashMap::new(), slots: HashMap::new(), moved: 0, failures: Vec::new() }
    }

    /// Sends one command and follows it to its reply; tries for [`LIMIT`] at most.
    #[track_caller]
    pub fn cmd(&mut self, words: &[&str]) -> Frame {
        let began = Instant::now();
        loop {
            if let Some(reply) = self.try_cmd(words) {
                return reply;
            }
            assert!(began.elapsed() < LIMIT, "{words:?} is not answered");
            thread::sleep(PAUSE);
        }
    }

    /// Sends one command and follows its redirections; nothing if it was not answered, or only by CLUSTERDOWN.
    pub fn try_cmd(&mut self, words: &[&str]) -> Option<Frame> {
        let key = words.get(1).copied().unwrap_or_default();
        let slot = larder::base::slot::slot_of(key.as_bytes()).number();
        let any = self.seeds[self.failures.len() % self.seeds.len()];
        let mut to = self.slots.get(&slot).copied().unwrap_or(any);
        for _ in 0..16 {
            let Some(reply) = self.ask(to, words) else {
                self.failures.push(format!("{to} does not answer {words:?}"));
                self.links.remove(&to);
                self.slots.retain(|_, address| *address != to);
                return None;
            };
            match &reply {
                Frame::Error(text) if text.starts_with("MOVED ") => {
                    self.moved += 1;
                    to =
                        text.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address");
                    self.slots.insert(slot, to);
                }
                Frame::Error(text) if text.starts_with("CLUSTERDOWN") => {
                    self.failures.push(format!("{to} says {text}"));
                    self.slots.remove(&slot);
                    return None;
                }
                _ => return Some(reply),
            }
        }
        panic!("{words:?} is sent in circles");
    }

    fn ask(&mut self, to: SocketAddr, words: &[&str]) -> Option<Frame> {
        let link = match self.links.entry(to) {
            Entry::Occupied(link) => link.into_mut(),
            Entry::Vacant(place) => place.insert(Client::connect(to).ok()?),
        };
        link.try_send_raw(&super::client::encode(words)).ok()?;
        link.try_receive().ok()
    }
}

/// Whether every thread of a process is stopped.
fn is_stopped(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    // The state follows the name, which stands in parentheses and may hold any.
    let state = |stat: String| Some(stat.rsplit_once(") ")?.1.starts_with('T'));
    tasks.flatten().all(|task| {
        fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| state(stat).unwrap_or(false))
    })
}
