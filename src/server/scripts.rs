//! The thread that runs scripts which take long, one after the other, so that no worker stands still for one.
//!
//! What comes in are seats in which connections have left session and request (`server::connection::apart`). The
//! request is run from its beginning, as any other is; what differs is that the script may take its time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use tracing::error;

use crate::base::limits::CLUSTER_HOLD_RETRY_MS;
use crate::command::blocking::{self, Parked};
use crate::command::context::WorkerLocal;
use crate::command::execute::{self, Progress};
use crate::command::session;
use crate::hub::Hub;
use crate::hub::blocked::Waiter;

/// Runs what comes until nobody can send anything more.
pub fn run(hub: Arc<Hub>, requests: &Receiver<Arc<Waiter>>) {
    let mut worker = WorkerLocal::for_scripts(hub);
    while let Ok(waiter) = requests.recv() {
        // One that panics must not take the thread with it, nor its client believe that nothing happened.
        if catch_unwind(AssertUnwindSafe(|| serve(&mut worker, &waiter))).is_err() {
            error!("a script of {} panicked", waiter.client.peer);
            waiter.client.kill();
        }
    }
}

fn serve(worker: &mut WorkerLocal, waiter: &Waiter) {
    let Some(occupant) = waiter.take_away() else { return };
    let Ok(mut parked) = occupant.downcast::<Parked>() else { return };
    parked.session.is_apart = true;
    worker.refresh_now();
    // Another script may keep a shard that this one needs, or the slot may be about to leave.
    while execute::again(worker, &mut parked) == Progress::Held && !waiter.client.is_killed() {
        thread::sleep(Duration::from_millis(CLUSTER_HOLD_RETRY_MS));
        worker.refresh_now();
    }
    if !worker.state.changed_keys.is_empty() {
        blocking::serve(worker);
    }
    parked.session.is_apart = false;
    let orphan = waiter.bring_back(parked).and_then(|occupant| occupant.downcast::<Parked>().ok());
    if let Some(mut parked) = orphan {
        session::end(&worker.hub, &mut parked.session);
    }
}
