//! A simulated machine: one process of a node at a time, with a clock that has a rate and an offset of its own.
//!
//! The node runs inside the simulation, under its virtual time; its commands are run in place from outside, between two
//! steps, as a worker would run them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use larder::app;
use larder::base::clock::Clock;
use larder::base::rng::Rng;
use larder::cluster::id::NodeId;
use larder::cluster::table::ClientAddress;
use larder::command::context::WorkerLocal;
use larder::command::execute::{Progress, execute};
use larder::command::session::Session;
use larder::config::Config;
use larder::config::store::ConfigStore;
use larder::hub::Hub;
use larder::hub::clients::NewClient;
use larder::hub::orders::Shutdown;
use larder::peer::node::Node;
use larder::peer::start::{Settings, start};
use larder::resp::args::OwnedArgs;
use larder::resp::reply::{Proto, Reply};
use tempfile::TempDir;
use turmoil::Sim;

use crate::net::SimNet;

/// Where nodes listen for each other.
const PEER_PORT: u16 = 17_000;
/// Where clients would be served; no socket is behind it.
const CLIENT_PORT: u16 = 6379;
/// Length of a lease, as by default.
pub const NODE_TIMEOUT_MS: u64 = 2_000;
/// What every clock shows at the start, before its offset.
const EPOCH_MS: u64 = 1_790_000_000_000;

/// A process that runs.
pub struct Process {
    /// What its workers share.
    pub hub: Arc<Hub>,
    /// The node, once it has started.
    pub node: Option<Arc<Node>>,
    worker: WorkerLocal,
    session: Session,
}

type Cell = Rc<RefCell<Option<Process>>>;

/// A machine; see the module.
pub struct Host {
    /// Its name in the simulation.
    pub name: String,
    /// The name that the table shows for clients.
    pub address: String,
    /// Whether its node keeps its state over a crash.
    pub is_durable: bool,
    /// Whether its node has left the cluster for good.
    pub has_left: bool,
    /// Who it is, or was when it crashed and will be again.
    pub known_as: Option<NodeId>,
    rate: f64,
    offset_ms: u64,
    process: Cell,
    /// Where a durable node keeps its state; goes when the machine goes.
    _dir: Option<TempDir>,
}

/// How a machine is made.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Position among the machines.
    pub number: usize,
    /// Nodes that found the cluster.
    pub expect: usize,
    /// Whether there is a data directory.
    pub is_durable: bool,
    /// Speed of its clock.
    pub rate: f64,
    /// What its clock is ahead, in ms.
    pub offset_ms: u64,
    /// Decides what the process draws.
    pub seed: u64,
}

impl Host {
    /// Adds a machine to the simulation and starts its node.
    pub fn new(sim: &mut Sim<'_>, plan: Plan) -> Self {
        let name = format!("node-{}", plan.number);
        let dir = plan.is_durable.then(|| {
            let memory = std::path::Path::new("/dev/shm");
            let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
            made.expect("a directory")
        });
        let process: Cell = Rc::default();
        let ip = sim.lookup(name.as_str());
        let seeds =
            (0..plan.expect).map(|number| format!("{}:{PEER_PORT}", sim.lookup(format!("node-{number}"))));
        let settings = Settings {
            name: "simulated".to_owned(),
            secret: "a secret".to_owned(),
            seeds: seeds.collect(),
            expect: plan.expect,
            node_timeout_ms: NODE_TIMEOUT_MS,
            listen: vec![([0, 0, 0, 0], PEER_PORT).into()],
            peer: (ip, PEER_PORT).into(),
            roams: false,
            client: ClientAddress { host: ip.to_string(), port: CLIENT_PORT, ..Default::default() },
            zone: String::new(),
            weight: 1,
            dir: dir.as_ref().map(|dir| dir.path().to_owned()),
        };
        let cell = Rc::clone(&process);
        let draws = Rc::new(RefCell::new(Rng::seeded(plan.seed)));
        sim.host(name.as_str(), move || {
            let seed = draws.borrow_mut().next_u64();
            live(Rc::clone(&cell), settings.clone(), plan, seed)
        });
        Self {
            address: format!("{ip}:{CLIENT_PORT}"),
            name,
            is_durable: plan.is_durable,
            has_left: false,
            known_as: None,
            rate: plan.rate,
            offset_ms: plan.offset_ms,
            process,
            _dir: dir,
        }
    }

    /// Brings the clock to where it stands when `elapsed` has passed.
    pub fn set_clock(&mut self, elapsed: Duration) {
        let process = self.process.borrow();
        if let Some(process) = &*process {
            let now_ms = shown_ms(elapsed, self.rate, self.offset_ms);
            process.hub.clock.advance_ms(now_ms.saturating_sub(process.hub.clock.wall_ms()));
            if let Some(node) = &process.node {
                self.known_as = Some(node.id());
            }
        }
    }

    /// Whether a process runs.
    pub fn is_up(&self) -> bool {
        self.process.borrow().is_some()
    }

    /// The node, if it runs.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.process.borrow().as_ref().and_then(|process| process.node.clone())
    }

    /// The process is killed.
    pub fn crash(&mut self, sim: &mut Sim<'_>) {
        drop(self.process.borrow_mut().take());
        sim.crash(self.name.as_str());
        if !self.is_durable {
            self.known_as = None;
        }
    }

    /// Another process is started.
    pub fn restart(&mut self, sim: &mut Sim<'_>) {
        sim.bounce(self.name.as_str());
    }

    /// The reply to a command; nothing if it is held or waits, or nobody is there.
    pub fn ask(&self, words: &[&str]) -> Option<String> {
        let mut process = self.process.borrow_mut();
        let process = process.as_mut()?;
        process.worker.refresh_now();
        let mut reply = Reply::new(Proto::Resp2);
        let request = OwnedArgs::from_slices(words);
        let progress = execute(&mut process.worker, &mut process.session, &mut reply, request.as_args());
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = reply.slices(&mut slices);
        let text: String = slices[..filled].iter().map(|slice| String::from_utf8_lossy(slice)).collect();
        match progress {
            Progress::Done => Some(text),
            Progress::Held | Progress::Away | Progress::Waits | Progress::Apart => None,
        }
    }
}

fn shown_ms(elapsed: Duration, rate: f64, offset_ms: u64) -> u64 {
    EPOCH_MS + offset_ms + (elapsed.as_millis() as f64 * rate) as u64
}

/// What a process does: it is built, starts its node, and lives until it is killed. That it stops by itself is a fault.
async fn live(cell: Cell, settings: Settings, plan: Plan, seed: u64) -> turmoil::Result {
    let mut rng = Rng::seeded(seed);
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    let clock = Clock::manual(shown_ms(elapsed, plan.rate, plan.offset_ms));
    let config = Config { cluster_enabled: true, threads: 1, ..Config::default() };
    let hub = app::build_with(Arc::new(ConfigStore::new(config, None)), clock, Rng::seeded(rng.next_u64()));
    let new = NewClient {
        peer: String::new(),
        local: String::new(),
        unix: false,
        worker: 0,
        descriptor: 0,
        now_ms: hub.clock.wall_ms(),
    };
    let client = hub.clients.register(new, 1).ok_or("nobody else is connected")?;
    let worker = WorkerLocal::new(Arc::clone(&hub), 0);
    let session = Session::new(client, true);
    *cell.borrow_mut() = Some(Process { hub: Arc::clone(&hub), node: None, worker, session });
    let node = start(Arc::clone(&hub), settings, Arc::new(SimNet), rng).await?;
    if let Some(process) = &mut *cell.borrow_mut() {
        process.node = Some(node);
    }
    hub.orders.shutdown_ordered(Shutdown::Immediate).await;
    Err("a node stopped by itself".into())
}
