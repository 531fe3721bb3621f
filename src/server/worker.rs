//! A worker: one thread with a current-thread runtime that serves the connections pinned to it, from socket to store
//! and back, without handing anything to another thread.
//!
//! What a connection needs only while it is being served (the read buffer, the reply writer, the clock reading) belongs
//! to the worker and is lent to one connection at a time, so that an idle connection costs little more than its socket.
//! No borrow of it may live across an await.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;
use tracing::warn;

use crate::base::limits::{
    CLOSE_LINGER_MS, COURIER_STEP, LEAVE_STEP, READ_BYTES, SWEEP_PERIOD_MS, SWEEP_SLICES,
};
use crate::command::context::WorkerLocal;
use crate::command::pubsub::Subscriptions;
use crate::hub::Hub;
use crate::hub::clients::{Client, flag};
use crate::hub::rates::Flow;
use crate::resp::reply::Reply;
use crate::server::bus;
use crate::server::connection::{Connection, Gathering};
use crate::server::gateway::Pool;
use crate::server::listener::Handoff;
use crate::server::stream::Stream;
use crate::store::tick::Ticker;

/// What the tasks of one worker thread share.
pub struct Post {
    /// Services shared by all workers.
    pub hub: Arc<Hub>,
    /// Lent to the connection being served.
    pub desk: RefCell<Desk>,
    /// The gateway's links to other nodes.
    pub pool: Pool,
    index: usize,
    connections: Arc<AtomicUsize>,
    /// Every connection, in the order in which the sweep will look at it; those that have ended are dropped then.
    roster: RefCell<VecDeque<Weak<Client>>>,
    /// Subscriptions that have not ended yet though their connections have.
    leaving: RefCell<VecDeque<(Arc<Client>, Subscriptions)>>,
}

/// What a connection works with while it is being served; in between it holds nobody's data.
pub struct Desk {
    /// What commands need.
    pub worker: WorkerLocal,
    /// Where input is read to, as long as a connection has no unfinished request.
    pub input: Box<[u8]>,
    /// Where requests wait for those of other connections.
    pub gathering: Gathering,
    /// Where replies are written to, as long as a connection has no unsent ones.
    pub output: Reply,
}

/// The thread-independent parts of a worker, handed to its thread.
pub struct Plan {
    /// Which worker this is.
    pub index: usize,
    /// Services shared by all workers.
    pub hub: Arc<Hub>,
    /// Counts the worker's connections.
    pub connections: Arc<AtomicUsize>,
    /// Connections from the acceptor.
    pub queue: mpsc::Receiver<Handoff>,
    /// Turns true when the worker must end, connections or not.
    pub stop: watch::Receiver<bool>,
}

/// Serves connections until told to stop. Fails only if the runtime cannot be built.
pub fn run(plan: Plan) -> io::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())?;
    runtime.block_on(serve(plan));
    Ok(())
}

async fn serve(plan: Plan) {
    let Plan { index, hub, connections, mut queue, mut stop } = plan;
    let desk = Desk {
        worker: WorkerLocal::new(Arc::clone(&hub), index),
        input: vec![0; READ_BYTES].into_boxed_slice(),
        gathering: Gathering::default(),
        output: Reply::default(),
    };
    let (pool, desk) = (Pool::new(&hub), RefCell::new(desk));
    let post = Rc::new(Post {
        hub,
        desk,
        pool,
        index,
        connections,
        roster: RefCell::default(),
        leaving: RefCell::default(),
    });
    if post.hub.config.load().gateway_port != 0 {
        let post = Rc::clone(&post);
        spawn_local(async move { post.pool.look_after().await });
    }
    spawn_local(sweep(Rc::clone(&post)));
    spawn_local(tick(Rc::clone(&post)));
    if post.hub.cluster.is_on() {
        spawn_local(bus::deliver(Arc::clone(&post.hub), index));
    }
    spawn_local(deliver(Rc::clone(&post)));
    while let Some(handoff) = queue.recv().await {
        post.take(handoff);
    }
    // An error means that the sender is gone, which is an order to stop, too.
    drop(stop.wait_for(|stopped| *stopped).await);
}

impl Post {
    fn take(self: &Rc<Self>, handoff: Handoff) {
        let Handoff { socket, client, entrance } = handoff;
        self.desk.borrow().worker.state.stats.connections_opened.add(1);
        let tenure = Tenure { post: Rc::clone(self), client: Arc::clone(&client) };
        let authenticated = self.hub.config.load().requirepass.expose().is_empty();
        match Stream::register(socket) {
            Ok(stream) => {
                self.roster.borrow_mut().push_back(Arc::downgrade(&client));
                spawn_local(Connection::new(tenure, stream, authenticated, entrance));
            }
            Err(error) => warn!("cannot serve {}: {error}", client.peer),
        }
    }

    /// Ends the subscriptions of a connection that has ended; very many not at once.
    pub fn leave(&self, client: Arc<Client>, mut subscriptions: Subscriptions) {
        if subscriptions.give_up(&self.hub, &client, LEAVE_STEP) {
            self.leaving.borrow_mut().push_back((client, subscriptions));
        }
    }

    /// Ends some of the subscriptions that are left over; whether any were.
    fn leave_on(&self) -> bool {
        let Some((client, subscriptions)) = self.leaving.borrow_mut().pop_front() else { return false };
        self.leave(client, subscriptions);
        true
    }

    /// Looks at a share of the connections, so that each is seen once in [`SWEEP_SLICES`] calls, and ends those that
    /// have been idle, over their output limit, or closing, for too long.
    fn sweep_slice(&self, now_ms: u64) {
        let config = self.hub.config.load();
        let idle_ms = config.timeout.saturating_mul(1000);
        let limits = &config.client_output_buffer_limit;
        let mut roster = self.roster.borrow_mut();
        for _ in 0..roster.len().div_ceil(SWEEP_SLICES) {
            let Some(entry) = roster.pop_front() else { return };
            let Some(client) = entry.upgrade() else { continue };
            let quiet_ms = now_ms.saturating_sub(client.active_ms.load(Ordering::Relaxed));
            let may_idle = client.has(flag::MONITOR | flag::PUBSUB | flag::BLOCKED);
            if (idle_ms > 0 && quiet_ms > idle_ms && !may_idle)
                || (client.has(flag::CLOSING) && quiet_ms > CLOSE_LINGER_MS)
            {
                client.kill();
            } else if client.exceeds(client.unsent_bytes(), client.output_limit(limits), now_ms) {
                client.kill_for_output();
            }
            roster.push_back(entry);
        }
    }
}

/// A connection's place with its worker and in the registry; both end with it.
pub struct Tenure {
    /// What it shares with the other tasks of its thread.
    pub post: Rc<Post>,
    /// Its entry in the registry.
    pub client: Arc<Client>,
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.post.hub.clients.unregister(&self.client);
        self.post.connections.fetch_sub(1, Ordering::Relaxed);
        self.post.hub.workers[self.post.index].connections_closed.add(1);
    }
}

async fn sweep(post: Rc<Post>) {
    loop {
        sleep(Duration::from_millis(SWEEP_PERIOD_MS)).await;
        post.sweep_slice(post.hub.clock.wall_ms());
        if post.index == 0 {
            post.hub.resident.look(&post.hub.keyspace);
        }
        while post.leave_on() {
            yield_now().await;
        }
    }
}

/// Wakes subscribers that have something to read, a few at a time: the runtime looks for sockets that became ready
/// before it comes back here.
async fn deliver(post: Rc<Post>) {
    let Some(courier) = post.hub.pubsub.courier(post.index) else { return };
    loop {
        poll_fn(|cx| courier.poll_wake(cx, COURIER_STEP)).await;
        yield_now().await;
    }
}

/// Does this worker's share of the store's background work.
async fn tick(post: Rc<Post>) {
    let mut ticker = Ticker::new(post.index, post.hub.workers.len());
    loop {
        if post.hub.rests.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(SWEEP_PERIOD_MS)).await;
            continue;
        }
        let now_ms = post.hub.clock.wall_ms();
        let began_ns = post.hub.clock.mono_ns();
        let clock = || post.hub.clock.mono_ns();
        let may_remove = || post.hub.clients.paused(now_ms).is_none();
        let rest_ms = ticker.tick(&post.hub.keyspace, now_ms, clock, may_remove);
        if post.hub.keyspace.has_told() {
            post.hub.events.publish_told(&post.hub.keyspace);
        }
        post.hub.look_after_caches((post.index, post.hub.workers.len()), now_ms);
        let took_ns = post.hub.clock.mono_ns().saturating_sub(began_ns);
        let threshold_ms = post.hub.config.load().latency_monitor_threshold;
        post.hub.latency.note("expire-cycle", threshold_ms, took_ns, now_ms);
        post.hub.rates.sample(now_ms, || flow(&post.hub));
        match rest_ms {
            // The runtime looks for sockets that became ready before it comes back here.
            0 => yield_now().await,
            _ => sleep(Duration::from_millis(rest_ms)).await,
        }
    }
}

/// What all workers have counted so far.
fn flow(hub: &Hub) -> Flow {
    hub.stats().fold(Flow::default(), |sum, stats| Flow {
        commands: sum.commands + stats.commands_processed.get() as f64,
        input_bytes: sum.input_bytes + stats.net_input_bytes.get() as f64,
        output_bytes: sum.output_bytes + stats.net_output_bytes.get() as f64,
    })
}
