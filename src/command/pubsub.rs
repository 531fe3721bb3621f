//! Publish and subscribe: what names a connection is subscribed to, and how messages come between its replies.
//!
//! The registry (`hub::pubsub`) knows who gets a message; here is what a connection has to give up again. Messages from
//! others lie in the client's outbox until its task writes them; [`deliver`] takes them earlier where the order
//! matters: before the confirmation that a subscription has ended, and behind the reply of the command that published.

pub mod inspect;
pub mod publish;
pub mod subscribe;

use std::collections::HashSet;
use std::sync::Arc;

use crate::command::session::{ReplyMode, Session};
use crate::hub::Hub;
use crate::hub::clients::Client;
use crate::hub::pubsub::Kind;
use crate::resp::reply::Reply;

type Names = HashSet<Box<[u8]>, ahash::RandomState>;

/// The names that one connection has subscribed to, by kind. A shard channel may have been taken away meanwhile: the
/// registry knows.
#[derive(Debug, Default)]
pub struct Subscriptions(Option<Box<[Names; 3]>>);

impl Subscriptions {
    /// Remembers a name.
    pub fn insert(&mut self, kind: Kind, name: &[u8]) {
        let names = &mut self.0.get_or_insert_default()[kind as usize];
        if !names.contains(name) {
            names.insert(name.into());
        }
    }

    /// Forgets a name.
    pub fn remove(&mut self, kind: Kind, name: &[u8]) {
        if let Some(names) = &mut self.0 {
            names[kind as usize].remove(name);
        }
    }

    /// Takes all names of a kind out.
    pub fn take(&mut self, kind: Kind) -> impl Iterator<Item = Box<[u8]>> + use<> {
        let names = self.0.as_mut().map(|names| std::mem::take(&mut names[kind as usize]));
        names.into_iter().flatten()
    }

    /// Ends at most `most` subscriptions of `client`, whose they are; whether any are left.
    pub fn give_up(&mut self, hub: &Hub, client: &Client, most: usize) -> bool {
        let Some(names) = &mut self.0 else { return false };
        let mut left = most;
        for kind in Kind::ALL {
            let names = &mut names[kind as usize];
            if names.len() <= left {
                left -= names.len();
                for name in std::mem::take(names) {
                    hub.pubsub.unsubscribe(kind, &name, client);
                }
                continue;
            }
            let some: Vec<Box<[u8]>> = names.iter().take(left).cloned().collect();
            for name in some {
                names.remove(&name);
                hub.pubsub.unsubscribe(kind, &name, client);
            }
            return true;
        }
        self.0 = None;
        false
    }
}

/// Ends all subscriptions of a session, without a word.
pub fn leave_all(hub: &Hub, session: &mut Session) {
    let client = Arc::clone(&session.client);
    session.subscriptions.give_up(hub, &client, usize::MAX);
}

/// Where a handler writes push messages: CLIENT REPLY does not silence them.
pub fn pushes<'a>(session: &'a mut Session, reply: &'a mut Reply) -> &'a mut Reply {
    if session.reply_mode == ReplyMode::On {
        return reply;
    }
    let proto = reply.proto();
    let pushed = session.pushed.get_or_insert_default();
    pushed.set_proto(proto);
    pushed
}

/// For a handler: writes what others have queued for the client, so that it stands before what the handler writes next.
pub fn deliver(session: &mut Session, reply: &mut Reply) {
    if session.client.outbox_bytes() == 0 {
        return;
    }
    let client = Arc::clone(&session.client);
    let out = pushes(session, reply);
    client.drain_outbox(|frame| out.raw_shared(frame));
}
