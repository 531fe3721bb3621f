//! A connection whose request is a script that takes long: it leaves session and request in a seat, from which the thread
//! for such scripts takes them, and goes on when they are back, with the reply.

use std::mem;
use std::sync::Arc;

use super::Connection;
use super::waiting::Waiting;
use crate::command::blocking::{Parked, TimeoutReply};
use crate::command::context::WorkerLocal;
use crate::command::session::Session;
use crate::hub::blocked::{Seat, Waiter};
use crate::resp::args::OwnedArgs;
use crate::resp::error::Error;
use crate::resp::reply::Reply;

impl Connection {
    /// The request that was just begun is to be run by another thread.
    #[cold]
    pub(super) fn go_apart(&mut self, worker: &mut WorkerLocal, reply: &mut Reply, args: OwnedArgs) {
        let Some((entry, slot)) = worker.state.waits_at.take() else { return };
        let waiter = Waiter::apart(&self.tenure.client);
        let placeholder = Session::new(Arc::clone(&self.tenure.client), false);
        let parked = Box::new(Parked {
            session: mem::replace(&mut self.session, placeholder),
            reply: Reply::new(reply.proto()),
            args,
            entry,
            slot,
            on_timeout: TimeoutReply::Null,
        });
        // Nobody else knows the seat yet: nobody can have missed anything.
        if waiter.sit(parked).is_ok() && worker.hub.running.send_apart(Arc::clone(&waiter)) {
            worker.hub.clients.set_blocked(&self.tenure.client, true);
            self.waiting = Some(Waiting::apart(waiter));
            return;
        }
        if let Seat::Waiting(parked) = waiter.leave()
            && let Ok(parked) = parked.downcast::<Parked>()
        {
            self.session = parked.session;
        }
        reply.error(&Error::TooManyScripts);
    }
}
