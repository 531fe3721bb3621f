//! Layer 5: sockets, tasks and timers for clients. A command is executed in place on the worker that owns the
//! connection; nothing here knows what a command means.
//!
//! Threads: one that accepts and, at the end, drains; `threads` workers, each with its own runtime and connections; one
//! that runs scripts which take long.

pub mod bus;
pub mod connection;
pub mod descriptors;
pub mod gateway;
pub mod http;
pub mod listener;
pub mod scripts;
pub mod shutdown;
pub mod stream;
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::base::limits::HANDOFF_MAX;
use crate::config::Config;
use crate::hub::Hub;
use crate::hub::orders::Shutdown;
use crate::server::listener::{Acceptor, Bound, Intake};
use crate::server::worker::Plan;

/// A running server. Dropping it orders it to stop at once and waits until it has.
pub struct Server {
    hub: Arc<Hub>,
    local_addrs: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds all addresses and starts the threads. The error is one line for people; nothing is running then.
    pub fn start(hub: Arc<Hub>, config: &Config) -> Result<Self, String> {
        descriptors::provide(&hub)?;
        let bound = listener::bind(config)?;
        let local_addrs = bound.iter().filter_map(Bound::address).collect();
        let mut server = Self { hub, local_addrs, threads: Vec::new() };
        // Should a thread fail to start, the server is dropped, which stops those that have.
        server.start_threads(bound).map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(server)
    }

    fn start_threads(&mut self, bound: Vec<Bound>) -> io::Result<()> {
        let (stop, stopped) = watch::channel(false);
        let mut intakes = Vec::new();
        for index in 0..self.hub.workers.len() {
            let (sender, queue) = mpsc::channel(HANDOFF_MAX);
            let connections = Arc::new(AtomicUsize::new(0));
            intakes.push(Intake { connections: Arc::clone(&connections), queue: sender });
            let plan = Plan { index, hub: Arc::clone(&self.hub), connections, queue, stop: stopped.clone() };
            self.spawn(format!("larder-{index}"), move || worker::run(plan))?;
        }
        let (hub, requests) = (Arc::clone(&self.hub), self.hub.running.open());
        self.spawn("larder-scripts".to_owned(), move || {
            scripts::run(hub, &requests);
            Ok(())
        })?;
        let hub = Arc::clone(&self.hub);
        self.spawn("larder-accept".to_owned(), move || accept(&hub, bound, intakes, &stop))
    }

    fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let hub = Arc::clone(&self.hub);
        let thread = thread::Builder::new().name(name.clone()).spawn(move || {
            if let Err(error) = run() {
                error!("thread {name}: {error}");
                hub.orders.shut_down(Shutdown::Immediate);
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// The TCP addresses that it listens on, in the order of `bind`.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Waits until the server has stopped, for whatever reason.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.hub.orders.shut_down(Shutdown::Immediate);
            self.hub.running.close();
            self.join();
        }
    }
}

/// The accepting thread: takes connections in until the order to stop, then ends them and the workers; or goes on, if the
/// order is taken back before that is done.
fn accept(
    hub: &Arc<Hub>,
    mut bound: Vec<Bound>,
    intakes: Vec<Intake>,
    stop: &watch::Sender<bool>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let addresses: Vec<SocketAddr> = bound.iter().filter_map(Bound::address).collect();
        loop {
            let mut acceptors = JoinSet::new();
            for listener in bound {
                acceptors.spawn(Acceptor::new(Arc::clone(hub), intakes.clone()).run(listener));
            }
            let outcome = tokio::select! {
                () = hub.orders.shutdown_ordered(Shutdown::Graceful) => Ok(()),
                Some(Ok(Err(failed))) = acceptors.join_next() => Err(failed),
            };
            if outcome.is_ok() {
                shutdown::leave_cluster(hub).await;
            }
            acceptors.shutdown().await;
            if outcome.is_err() {
                hub.orders.shut_down(Shutdown::Immediate);
            }
            if shutdown::drain(hub).await {
                drop(intakes);
                stop.send_replace(true);
                hub.running.close();
                return outcome;
            }
            info!("the order to stop was taken back");
            bound = listener::bind_again(&addresses, &hub.config.load()).unwrap_or_else(|why| {
                error!("{why}: stopping after all");
                hub.orders.shut_down(Shutdown::Graceful);
                Vec::new()
            });
        }
    })
}
