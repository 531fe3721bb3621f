//! Stopping: by signal, by the SHUTDOWN command, or by whoever started the server.
//!
//! In order: listeners close (a unix socket's file goes), idle connections close, the others finish what they have
//! received and write their replies, and at the deadline whoever is left is cut off. Until then SHUTDOWN ABORT from one of
//! those others takes the order back. A second signal ends the process at once.

use std::io;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::hub::Hub;
use crate::hub::clients;
use crate::hub::cluster::Wish;
use crate::hub::orders::Shutdown;

/// Turns SIGTERM and SIGINT into an order to stop, and a second one into the end of the process (exit code 1). Runs on
/// a thread of its own for the rest of the process. Fails if the handlers cannot be installed.
pub fn heed_signals(hub: &Arc<Hub>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let hub = Arc::clone(hub);
    thread::Builder::new().name("larder-signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let mut before = false;
            loop {
                let name = next().await;
                if before && hub.orders.shutdown().is_some() {
                    warn!("{name} again: ending at once");
                    process::exit(1);
                }
                before = true;
                info!("{name}: stopping");
                hub.orders.shut_down(Shutdown::Graceful);
            }
        });
    })?;
    Ok(())
}

/// A node of a cluster gives its slots and their keys to the others first, as long as `cluster-drain-timeout` lasts and
/// nobody is in a hurry; clients are served and told of the new owners meanwhile.
pub async fn leave_cluster(hub: &Hub) {
    let patience = Duration::from_secs(hub.config.load().cluster_drain_timeout);
    if !hub.cluster.is_on() || patience.is_zero() {
        return;
    }
    let outcome = match hub.cluster.wish(Wish::Drain(None)) {
        Ok(outcome) => outcome,
        Err(why) => return warn!("leaving the cluster without handing over: {why}"),
    };
    tokio::select! {
        biased;
        left = timeout(patience, outcome) => match left {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(why))) => warn!("leaving the cluster without handing over: {why}"),
            Ok(Err(_)) | Err(_) => warn!("leaving the cluster although not all was handed over in time"),
        },
        () = hub.orders.shutdown_ordered(Shutdown::Immediate) => {}
        () = hub.orders.shutdown_aborted() => match hub.cluster.wish(Wish::Stay) {
            // What becomes of it, the node's own log says.
            Ok(_) => {}
            Err(why) => warn!("the node goes on giving its slots away: {why}"),
        }
    }
}

/// Ends all connections: those with nothing in hand at once, the others when their replies are written, and what is
/// left after `shutdown-timeout`, or at an order to stop at once, in any state. Listeners must be closed already. False if the order to stop was taken back
/// before: then those that are left are served on.
pub async fn drain(hub: &Hub) -> bool {
    hub.clients.signal_all(clients::signal::DRAIN);
    let patience = Duration::from_secs(hub.config.load().shutdown_timeout);
    let drained = timeout(patience, async {
        tokio::select! {
            biased;
            () = hub.clients.all_gone() => {}
            () = hub.orders.shutdown_ordered(Shutdown::Immediate) => {}
            () = hub.orders.shutdown_aborted() => {}
        }
    });
    drop(drained.await);
    if !hub.orders.commit() {
        return false;
    }
    let left = hub.clients.connected();
    if left > 0 {
        info!("closing {left} connections that have not read all their replies");
        hub.clients.signal_all(clients::signal::KILL);
    }
    true
}
