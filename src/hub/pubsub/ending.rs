//! Shard channels whose slots leave this node: their subscriptions end, and the subscribers are told by an unsolicited
//! `sunsubscribe`, so that they subscribe again where the slot is now.
//!
//! Clients of the gateway keep theirs: what is published to a shard channel anywhere comes to every gateway.

use std::sync::atomic::Ordering;

use super::{Kind, PubSub};
use crate::base::slot::Slot;
use crate::config::types::OutputLimits;
use crate::hub::clients::{OutputLimit, Pushed, flag};
use crate::hub::message::Message;

impl PubSub {
    /// Ends the subscriptions to shard channels for whose slots `is_lost` says yes; how many. No command that subscribes
    /// may be inside these slots any more, and none may enter before this returns. `now_ms` is Unix time.
    pub fn end_shards(&self, is_lost: impl Fn(Slot) -> bool, limits: &OutputLimits, now_ms: u64) -> usize {
        if self.len(Kind::Shard) == 0 {
            return 0;
        }
        let limit: OutputLimit = limits.pubsub.into();
        let mut ended = 0;
        for (name, clients) in self.shard_channels(is_lost) {
            for client in clients.iter().filter(|client| !client.has(flag::GATEWAY)) {
                // Who has ended it itself meanwhile was answered.
                if !self.unsubscribe(Kind::Shard, &name, client) {
                    continue;
                }
                ended += 1;
                let left = client.subscriptions[Kind::Shard as usize].load(Ordering::Relaxed);
                let elements: [&[u8]; 2] = [b"sunsubscribe", &name];
                let message = Message::new(&elements).with_number(left.into());
                match client.push_message(&message, limit, now_ms) {
                    Pushed::ToList => client.wake_listed(),
                    Pushed::Queued | Pushed::Gone | Pushed::TooMuch => {}
                }
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::base::slot::slot_of;
    use crate::config::types::OutputLimits;
    use crate::hub::clients::{Client, flag};
    use crate::hub::pubsub::{Kind, PubSub};

    fn pushed(client: &Client) -> String {
        let mut text = String::new();
        client.drain_outbox(|frame| text.push_str(&String::from_utf8_lossy(&frame)));
        text
    }

    #[test]
    fn subscribers_of_a_lost_slot_are_told_and_nobody_else() {
        let pubsub = PubSub::default();
        let limits = OutputLimits::default();
        let [one, two, three] = [(); 3].map(|()| Client::detached(0));
        let gateway: Arc<Client> = Client::detached(0);
        gateway.set(flag::GATEWAY, true);
        // Clients of tests share one id: each has names of its own.
        for (client, names) in [
            (&one, ["{a}1", "{b}1"]),
            (&two, ["{a}2", "{a}3"]),
            (&three, ["{b}2", "{b}3"]),
            (&gateway, ["{a}4", "{b}4"]),
        ] {
            names.iter().for_each(|name| assert!(pubsub.subscribe(Kind::Shard, name.as_bytes(), client)));
        }
        assert!(pubsub.subscribe(Kind::Channel, b"{a}1", &one));
        three.set_protocol(3, drop);
        let lost = slot_of(b"{a}");
        assert_eq!(pubsub.end_shards(|slot| slot == lost, &limits, 0), 3);
        assert_eq!(pushed(&one), "*3\r\n$12\r\nsunsubscribe\r\n$4\r\n{a}1\r\n:1\r\n");
        let of_two = pushed(&two);
        assert!(of_two.contains("{a}2") && of_two.contains("{a}3") && of_two.ends_with(":0\r\n"), "{of_two}");
        assert_eq!((pushed(&three), pushed(&gateway)), (String::new(), String::new()));
        assert!(!two.has(flag::PUBSUB) && one.has(flag::PUBSUB));
        assert_eq!(pubsub.publish_shard(b"{a}1", b"m", &limits, 0), 0);
        assert_eq!(pubsub.publish_shard(b"{a}4", b"m", &limits, 0), 1, "the gateway's client");
        assert_eq!(pubsub.publish(b"{a}1", b"m", &limits, 0), 1, "a channel is no shard channel");
        assert_eq!(pubsub.end_shards(|_| true, &limits, 0), 3);
        let of_three = pushed(&three);
        assert!(
            of_three.starts_with(">3\r\n$12\r\nsunsubscribe\r\n") && of_three.ends_with(":0\r\n"),
            "{of_three}"
        );
        assert_eq!(pubsub.len(Kind::Shard), 2);
    }
}
