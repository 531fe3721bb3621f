//! Publishers: one on every node, each with numbers that only grow, and a listener on every node. What is published may
//! be lost, but comes once at most, and in order.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use larder::base::rng::Rng;
use larder::hub::bus::Records;

use crate::host::Host;

/// Most messages that a publisher sends at once.
const BURST_MAX: u64 = 20;

/// A process: the name of its machine and the number of its start.
type Process = (String, u64);

/// The publishers and listeners; see the module.
pub struct Heralds {
    next: u64,
    rng: Rng,
    /// By listener and publisher the last number that was heard.
    heard: BTreeMap<(Process, Process), u64>,
    /// Messages that were heard.
    pub delivered: u64,
}

impl Heralds {
    /// Nobody has said anything.
    pub fn new(seed: u64) -> Self {
        Self { next: 0, rng: Rng::seeded(seed), heard: BTreeMap::new(), delivered: 0 }
    }

    /// Somebody publishes, and all listen.
    pub fn act(&mut self, hosts: &[Host]) {
        let any = self.rng.below(hosts.len() as u64) as usize;
        for _ in 0..self.rng.below(BURST_MAX) {
            self.publish(&hosts[any]);
        }
        hosts.iter().for_each(|host| self.listen(host));
    }

    fn publish(&mut self, host: &Host) {
        let Some(node) = host.node() else { return };
        self.next += 1;
        let message = format!("{} {} {}", host.name, node.incarnation(), self.next);
        node.hub().bus.publish(b"channel", message.as_bytes());
    }

    fn listen(&mut self, host: &Host) {
        let Some(node) = host.node() else { return };
        let listener = (host.name.clone(), node.incarnation());
        while let Some((_, records)) = now(node.hub().bus.arrived(0)) {
            let mut read = Records::new(&records);
            for (channel, message) in &mut read {
                assert_eq!(channel, b"channel");
                let text = std::str::from_utf8(message).expect("what was published is text");
                let mut words = text.split(' ');
                let name = words.next().expect("a name").to_owned();
                let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).expect("a number");
                let (publisher, number) = ((name, number()), number());
                let last = self.heard.entry((listener.clone(), publisher.clone())).or_default();
                assert!(number > *last, "S10: {listener:?} heard {number} of {publisher:?} after {last}");
                *last = number;
                self.delivered += 1;
            }
            assert!(read.rest().is_empty(), "a record is cut");
        }
    }

    /// Whether a message that is published now by every node is heard by all others; to be asked again until it is.
    pub fn all_are_heard(&mut self, hosts: &[Host], since: u64) -> bool {
        let up = || hosts.iter().filter(|host| host.node().is_some());
        up().for_each(|host| self.publish(host));
        up().for_each(|host| self.listen(host));
        up().all(|listener| {
            up().filter(|publisher| publisher.name != listener.name).all(|publisher| {
                let heard =
                    self.heard.iter().filter(|((by, of), _)| by.0 == listener.name && of.0 == publisher.name);
                heard.map(|(_, number)| *number).max().is_some_and(|number| number > since)
            })
        })
    }

    /// The number of the last message.
    pub fn published(&self) -> u64 {
        self.next
    }
}

/// What a future gives without waiting.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
