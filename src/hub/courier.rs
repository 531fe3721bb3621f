//! Clients that have something in their outboxes and are to be woken, for each worker in turn, a few at a time.
//!
//! A message for a thousand subscribers makes a thousand writes. Were all their tasks woken at once, nobody else on the
//! worker would be served before the last write. So they wait here, and the worker's courier wakes a few and then lets
//! the worker look at its sockets. What is published meanwhile is queued behind what a subscriber has not got yet, and
//! goes out with it in one write: the more there is to deliver, the less each message costs.
//!
//! A client is in the queue at most once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::base::lock::Mutex;
use crate::hub::clients::Client;

/// One worker's queue; see the module.
#[derive(Default)]
pub struct Courier(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    clients: VecDeque<Arc<Client>>,
    /// Who is to be woken when the queue is no longer empty.
    waker: Option<Waker>,
}

impl Courier {
    /// Takes all clients of `batch` over.
    pub fn add(&self, batch: Vec<Arc<Client>>) {
        let mut queue = self.0.lock();
        queue.clients.extend(batch);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// For the worker: wakes at most `most` clients; pending while there are none.
    pub fn poll_wake(&self, cx: &Context<'_>, most: usize) -> Poll<()> {
        let mut queue = self.0.lock();
        if queue.clients.is_empty() {
            queue.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = queue.clients.len().min(most);
        let some: Vec<Arc<Client>> = queue.clients.drain(..count).collect();
        drop(queue);
        some.iter().for_each(|client| client.wake_listed());
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::Courier;
    use crate::config::types::OutputLimit;
    use crate::hub::clients::{Client, Pushed, signal};
    use bytes::Bytes;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn clients_are_listed_once_and_woken_a_few_at_a_time() {
        let limit = OutputLimit::default().into();
        let courier = Courier::default();
        let (own, woken) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&own));
        let cx = Context::from_waker(&waker);
        assert_eq!(courier.poll_wake(&cx, 2), Poll::Pending);
        let clients: Vec<_> = (0..3).map(|_| Client::detached(0)).collect();
        for client in &clients {
            client.attach(Waker::from(Arc::clone(&woken)));
            let message = || Bytes::from_static(b"x");
            assert_eq!(client.push_listed(|_| message(), limit, 0), Pushed::ToList);
            assert_eq!(client.push_listed(|_| message(), limit, 0), Pushed::Queued);
            // Its task looked by itself, and more came.
            assert_eq!(client.take_signals(), signal::OUTBOX);
            client.clear_outbox();
            assert_eq!(client.push_listed(|_| message(), limit, 0), Pushed::Queued);
            courier.add(vec![Arc::clone(client)]);
        }
        assert_eq!(own.0.load(Ordering::Relaxed), 1, "the courier is woken once");
        assert_eq!(courier.poll_wake(&cx, 2), Poll::Ready(()));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(courier.poll_wake(&cx, 2), Poll::Ready(()));
        assert_eq!(woken.0.load(Ordering::Relaxed), 3);
        assert_eq!(courier.poll_wake(&cx, 2), Poll::Pending);
        assert_eq!(clients[0].take_signals(), signal::OUTBOX);
    }

    #[test]
    fn who_has_much_to_read_is_woken_at_once() {
        let limit = OutputLimit::default().into();
        let (client, woken) = (Client::detached(0), Arc::new(Woken::default()));
        client.attach(Waker::from(Arc::clone(&woken)));
        let large = || Bytes::from(vec![0; 10_000]);
        assert_eq!(client.push_listed(|_| large(), limit, 0), Pushed::ToList);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert_eq!(client.push_listed(|_| large(), limit, 0), Pushed::Queued);
        assert_eq!(client.push_listed(|_| large(), limit, 0), Pushed::Queued);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
