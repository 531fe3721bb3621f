//! Keyspace notifications: what happened to keys, published as messages to this node's subscribers.
//!
//! For a key that changed, `__keyspace@<db>__:<key>` gets the event's name and `__keyevent@<db>__:<event>` the key, as
//! far as `notify-keyspace-events` asks for either. While no subscription can match such a channel nothing is noted in
//! the first place. Called under the locks of shards: it must neither wait nor take another.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::base::clock::Clock;
use crate::base::num::IntegerText;
use crate::config::choices::KeyspaceEvents;
use crate::config::store::ConfigStore;
use crate::hub::events::{Change, Events};
use crate::hub::pubsub::PubSub;
use crate::store::keyspace::Keyspace;

/// Pub/sub, for so many workers, through which keyspace events are delivered.
pub fn connect(
    config: &Arc<ConfigStore>,
    keyspace: &Arc<Keyspace>,
    events: &Arc<Events>,
    clock: &Clock,
    workers: usize,
) -> Arc<PubSub> {
    let (to_switch, data) = (Arc::downgrade(events), Arc::downgrade(keyspace));
    let switch = Box::new(move |is_heard| {
        if let (Some(events), Some(keyspace)) = (to_switch.upgrade(), data.upgrade()) {
            events.hear(&keyspace, is_heard);
        }
    });
    let pubsub = Arc::new(PubSub::new(switch, workers));
    let (publisher, config, clock) = (Arc::clone(&pubsub), Arc::clone(config), clock.clone());
    events.add(Box::new(move |change| publish(&publisher, &config, clock.wall_ms(), change)));
    pubsub
}

fn publish(pubsub: &PubSub, config: &ConfigStore, now_ms: u64, change: &Change) {
    let config = config.load();
    let (asked, limits) = (config.notify_keyspace_events.0, &config.client_output_buffer_limit);
    let (event, key) = (change.event.as_bytes(), &*change.key);
    for (bit, prefix, name, message) in [
        (KeyspaceEvents::KEYSPACE, &b"__keyspace@"[..], key, event),
        (KeyspaceEvents::KEYEVENT, &b"__keyevent@"[..], event, key),
    ] {
        if asked & bit != 0 {
            let mut channel: SmallVec<[u8; 128]> = SmallVec::new();
            channel.extend_from_slice(prefix);
            channel.extend_from_slice(IntegerText::new().format(change.db as i64));
            channel.extend_from_slice(b"__:");
            channel.extend_from_slice(name);
            pubsub.publish(&channel, message, limits, now_ms);
        }
    }
}
