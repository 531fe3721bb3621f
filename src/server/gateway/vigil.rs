//! A client that waits at another node (BLPOP and its like): its command, the link that it has for itself meanwhile, and
//! what can end the wait here.
//!
//! The link is nobody else's, so that the wait holds up no other request; it is kept for the client's next wait. When the
//! client leaves, the link is closed, and the other node takes it out of its queues: nothing is popped for somebody who
//! is gone, but for what the other node does before it sees that. CLIENT UNBLOCK is passed on to the other node, whose
//! answer is the client's: an element that it has just popped is not lost.
//!
//! Bound: one such link for each connection to the gateway.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::num::parse_u64;
use crate::base::slot::Slot;
use crate::command::gateway::{Errand, MY_ID, unblock};
use crate::hub::Hub;
use crate::hub::blocked::{Release, Seat, Waiter};
use crate::hub::clients::Client;
use crate::resp::reply::Proto;
use crate::server::gateway::link::{Call, Link, Mailbox};
use crate::server::gateway::pool::Pool;

/// A link on which one client waits.
pub struct OwnLink {
    link: Rc<Link>,
    proto: Proto,
    /// The number by which the other node knows it, and the request for that.
    id: Option<u64>,
    asked: Rc<Call>,
}

impl Drop for OwnLink {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl OwnLink {
    /// Opens one.
    pub fn open(pool: &Pool, mailbox: &Rc<Mailbox>, address: SocketAddr, proto: Proto) -> Self {
        let link = pool.own_link(address, proto);
        let asked = link.send(mailbox, MY_ID, 1);
        Self { link, proto, id: None, asked }
    }

    /// Whether it leads there, and can be used.
    pub fn leads_to(&self, address: SocketAddr, proto: Proto) -> bool {
        self.link.address() == address && self.proto == proto && !self.link.has_ended()
    }

    /// The wait is over.
    pub fn rest(&self) {
        self.link.end_wait();
    }

    fn id(&mut self) -> Option<u64> {
        if self.id.is_none()
            && let Some(reply) = self.asked.take_reply()
        {
            self.id = reply.strip_prefix(b":").and_then(|text| parse_u64(text.strip_suffix(b"\r\n")?));
        }
        self.id
    }
}

/// A client that waits; see the module.
pub struct Vigil {
    hub: Arc<Hub>,
    waiter: Arc<Waiter>,
    errand: Errand,
    /// What each `$` in the command means.
    moments: Vec<(usize, Rc<Call>)>,
    /// When it was sent last, in Unix ms.
    sent_ms: u64,
    /// How the wait is to be ended, if it is.
    release: Option<&'static str>,
    /// What the other node says to that.
    told: Option<Rc<Call>>,
    /// The other node did not know of the wait when it was told: it is told again after a while.
    too_early: bool,
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.hub.blocked.remove(&self.waiter);
        self.hub.clients.set_blocked(&self.waiter.client, false);
    }
}

impl Vigil {
    /// The client waits from now on.
    pub fn begin(hub: &Arc<Hub>, client: &Arc<Client>, errand: Errand) -> Self {
        hub.clients.set_blocked(client, true);
        client.last_command.store(errand.entry().id as u32, Ordering::Relaxed);
        Self {
            hub: Arc::clone(hub),
            waiter: hub.blocked.enter_away(client),
            errand,
            moments: Vec::new(),
            sent_ms: 0,
            release: None,
            told: None,
            too_early: false,
        }
    }

    /// When the command was sent last, in Unix ms.
    pub fn sent_ms(&self) -> u64 {
        self.sent_ms
    }

    /// Whether its time is up.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.errand.until_ms().is_some_and(|until_ms| now_ms >= until_ms)
    }

    /// Sends the command, with what is left of its time.
    pub fn send(&mut self, own: &OwnLink, mailbox: &Rc<Mailbox>, slot: Slot, now_ms: u64) -> Rc<Call> {
        for (at, call) in std::mem::take(&mut self.moments) {
            if let Some(reply) = call.take_reply() {
                self.errand.resolve(at, &reply);
            }
        }
        (self.sent_ms, self.told, self.too_early) = (now_ms, None, false);
        own.link.wait_for(slot, self.errand.until_ms().map(|until_ms| until_ms.saturating_sub(now_ms)));
        let ask = |(at, request): (usize, Vec<u8>)| (at, own.link.send(mailbox, &request, 1));
        self.moments = self.errand.moments().into_iter().map(ask).collect();
        own.link.send(mailbox, &self.errand.request(now_ms), 1)
    }

    /// Passes CLIENT UNBLOCK on; whether that is to be tried again after a while, when `fired` says so.
    pub fn heed(&mut self, own: &mut OwnLink, pool: &Pool, mailbox: &Rc<Mailbox>, fired: bool) -> bool {
        match self.waiter.end() {
            // Whether the slot has moved, the other node says.
            Some(Seat::Released(occupant, Release::Again)) => drop(self.waiter.sit(occupant)),
            Some(Seat::Released(_, Release::Timeout)) => self.release = Some("TIMEOUT"),
            Some(Seat::Released(_, Release::Error)) => self.release = Some("ERROR"),
            _ => {}
        }
        let Some(why) = self.release else { return false };
        if let Some(told) = &self.told {
            let Some(reply) = told.take_reply() else { return false };
            self.told = None;
            self.too_early = reply == b":0\r\n";
            if !self.too_early {
                self.release = None;
            }
            return self.too_early;
        }
        if self.too_early && !fired {
            return true;
        }
        if let Some(id) = own.id() {
            let link = pool.link(own.link.address(), own.proto);
            self.told = Some(link.send(mailbox, &unblock(id, why), 1));
        }
        false
    }
}
