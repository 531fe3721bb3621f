//! Delivery of what clients of other nodes have published: a task of each worker hands it to this node's subscribers, in
//! the order in which it came, and a little at a time, so that clients have their turns.

use std::sync::Arc;

use tokio::task::yield_now;

use crate::base::limits::{BUS_TURN_MESSAGES, BUS_TURN_RECEIVERS};
use crate::hub::Hub;
use crate::hub::bus::{Records, Scope};

/// Delivers what comes to a worker's inbox for as long as the worker runs.
pub async fn deliver(hub: Arc<Hub>, worker: usize) {
    loop {
        let (scope, arrived) = hub.bus.arrived(worker).await;
        let mut records = Records::new(&arrived);
        let mut more = true;
        while more {
            let began_ns = hub.clock.mono_ns();
            more = deliver_some(&hub, scope, &mut records);
            let took_ns = hub.clock.mono_ns().saturating_sub(began_ns);
            if let Some(stats) = hub.workers.get(worker) {
                stats.busy_ns.add(took_ns);
            }
            yield_now().await;
        }
    }
}

/// Delivers a turn's share; whether there may be more.
fn deliver_some(hub: &Hub, scope: Scope, records: &mut Records<'_>) -> bool {
    let limits = hub.config.load().client_output_buffer_limit;
    let now_ms = hub.clock.wall_ms();
    let mut receivers = 0;
    for _ in 0..BUS_TURN_MESSAGES {
        // Bytes that are no record end it, too.
        let Some((channel, message)) = records.next() else { return false };
        receivers += match scope {
            Scope::Cluster => hub.pubsub.publish(channel, message, &limits, now_ms),
            Scope::Shard => hub.pubsub.publish_shard(channel, message, &limits, now_ms),
        };
        if receivers >= BUS_TURN_RECEIVERS {
            break;
        }
    }
    true
}
