//! Orders: what a command, or a signal, asks of the tasks above the command layer. A command records its order and goes
//! on; the task that carries it out waits here. Nothing here stops anything by itself.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// How to stop the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Serve what is in hand, until `shutdown-timeout` at the latest.
    Graceful,
    /// Close every connection at once.
    Immediate,
}

/// Orders given and not yet carried out.
#[derive(Debug, Default)]
pub struct Orders {
    shutdown: AtomicU8,
    given: Notify,
}

impl Orders {
    /// No orders.
    pub fn new() -> Self {
        Self::default()
    }

    /// Orders the server to stop. A second order can only make it faster.
    pub fn shut_down(&self, how: Shutdown) {
        let level = match how {
            Shutdown::Graceful => 1,
            Shutdown::Immediate => 2,
        };
        self.shutdown.fetch_max(level, Ordering::AcqRel);
        self.given.notify_waiters();
    }

    /// Takes an order to stop gracefully back; false if there is none, or it is carried out to its end already.
    pub fn abort(&self) -> bool {
        let aborted = self.shutdown.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        self.given.notify_waiters();
        aborted
    }

    /// For whoever stops the server: from here on the order cannot be taken back. False if it was already.
    pub fn commit(&self) -> bool {
        let given = |level| (level > 0).then_some(2);
        self.shutdown.fetch_update(Ordering::AcqRel, Ordering::Acquire, given).is_ok()
    }

    /// The order to stop, if it was given.
    pub fn shutdown(&self) -> Option<Shutdown> {
        match self.shutdown.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Shutdown::Graceful),
            _ => Some(Shutdown::Immediate),
        }
    }

    /// Waits for an order to stop that is at least as fast as `least`.
    pub async fn shutdown_ordered(&self, least: Shutdown) {
        loop {
            let given = self.given.notified();
            if self.shutdown() >= Some(least) {
                return;
            }
            given.await;
        }
    }

    /// Waits until no order to stop is in force.
    pub async fn shutdown_aborted(&self) {
        loop {
            let given = self.given.notified();
            if self.shutdown().is_none() {
                return;
            }
            given.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Orders, Shutdown};

    #[test]
    fn a_later_order_only_hastens() {
        let orders = Orders::new();
        assert_eq!(orders.shutdown(), None);
        orders.shut_down(Shutdown::Immediate);
        orders.shut_down(Shutdown::Graceful);
        assert_eq!(orders.shutdown(), Some(Shutdown::Immediate));
    }

    #[test]
    fn an_order_is_taken_back_until_it_is_carried_out() {
        let orders = Orders::new();
        assert!(!orders.abort() && !orders.commit());
        orders.shut_down(Shutdown::Graceful);
        assert!(orders.abort());
        assert_eq!(orders.shutdown(), None);
        orders.shut_down(Shutdown::Graceful);
        assert!(orders.commit() && !orders.abort());
        assert_eq!(orders.shutdown(), Some(Shutdown::Immediate));
    }
}
