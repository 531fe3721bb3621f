//! Notices of client-side caching on the wire, and their way to clients.
//!
//! Clients that speak RESP3 get `invalidate` pushes; those that speak RESP2 get messages on the channel
//! `__redis__:invalidate`, but only where another client's notices are redirected to them and they are subscribed to
//! something: to nobody else would a message without a request be bearable. A client whose notices go to one that is gone
//! is told so.
//!
//! The client whose command is being answered gets its notices straight into its output, behind its reply; all others
//! through their outboxes. What is the same for many is encoded once for each protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::target;
use crate::base::num::IntegerText;
use crate::config::types::OutputLimits;
use crate::hub::clients::{Client, Clients, OutputLimit, flag};
use crate::resp::reply::Reply;

/// Keys that one notice of lost slots names at most.
const KEYS_A_NOTICE: usize = 256;

/// What a notice takes beside its keys, and each key, about.
const FRAME_BYTES: usize = 64;
const KEY_BYTES: usize = 40;

/// To whom notices go, and how.
pub struct Audience<'a> {
    /// Where clients are found.
    pub clients: &'a Clients,
    /// The bounds of what waits to be sent.
    pub limits: OutputLimits,
    /// Unix ms.
    pub now_ms: u64,
    /// The client whose command is being answered, and its output.
    pub own: Option<(u64, &'a mut Reply)>,
}

/// Keys under one prefix, and who wants to hear of them.
pub(super) struct Broadcast<'a> {
    pub clients: Vec<Arc<Client>>,
    /// In order; and whether the store changed them by itself.
    pub keys: Vec<(&'a [u8], bool)>,
}

/// Forms in which a notice is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Push,
    Message,
}

impl Form {
    fn head(self) -> &'static [u8] {
        match self {
            Self::Push => b">2\r\n$10\r\ninvalidate\r\n",
            Self::Message => b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n",
        }
    }

    fn everything(self) -> Bytes {
        let null: &[u8] = match self {
            Self::Push => b"_\r\n",
            Self::Message => b"$-1\r\n",
        };
        [self.head(), null].concat().into()
    }

    fn keys<'k>(self, keys: impl ExactSizeIterator<Item = &'k [u8]>) -> Bytes {
        let mut frame = Vec::with_capacity(FRAME_BYTES + keys.len() * KEY_BYTES);
        frame.extend_from_slice(self.head());
        header(&mut frame, b'*', keys.len());
        for key in keys {
            header(&mut frame, b'$', key.len());
            frame.extend_from_slice(key);
            frame.extend_from_slice(b"\r\n");
        }
        frame.into()
    }
}

fn header(frame: &mut Vec<u8>, kind: u8, number: usize) {
    frame.push(kind);
    frame.extend_from_slice(IntegerText::new().format_u64(number as u64));
    frame.extend_from_slice(b"\r\n");
}

/// A notice that is encoded when it is first needed in a form.
struct Notice<F> {
    made: [Option<Bytes>; 2],
    make: F,
}

impl<F: Fn(Form) -> Bytes> Notice<F> {
    fn new(make: F) -> Self {
        Self { made: [None, None], make }
    }

    fn frame(&mut self, form: Form) -> Bytes {
        let Self { made, make } = self;
        made[usize::from(form == Form::Message)].get_or_insert_with(|| make(form)).clone()
    }
}

/// Tells clients.
pub(super) struct Teller<'t, 'a> {
    audience: &'t mut Audience<'a>,
}

impl<'t, 'a> Teller<'t, 'a> {
    pub fn new(audience: &'t mut Audience<'a>) -> Self {
        Self { audience }
    }

    /// A client is to forget a key.
    pub fn tell_key(&mut self, client: &Arc<Client>, key: &[u8]) {
        self.send(client, &mut Notice::new(|form: Form| form.keys([key].into_iter())));
    }

    /// A client is to forget keys.
    pub fn tell_keys(&mut self, client: &Arc<Client>, keys: &[Arc<[u8]>]) {
        for keys in keys.chunks(KEYS_A_NOTICE) {
            self.send(client, &mut Notice::new(|form: Form| form.keys(keys.iter().map(|key| &**key))));
        }
    }

    /// A client is to forget everything.
    pub fn tell_all(&mut self, client: &Arc<Client>) {
        self.send(client, &mut Notice::new(Form::everything));
    }

    /// Keys under a prefix changed.
    pub fn broadcast(&mut self, broadcast: &Broadcast<'_>, author: Option<u64>) {
        let Broadcast { clients, keys } = broadcast;
        let mut notice = Notice::new(|form: Form| form.keys(keys.iter().map(|(key, _)| *key)));
        for client in clients {
            if author == Some(client.id) && client.has(flag::TRACKING_NOLOOP) {
                let others: Vec<&[u8]> =
                    keys.iter().filter(|(_, by_itself)| *by_itself).map(|(key, _)| *key).collect();
                if !others.is_empty() {
                    self.send(client, &mut Notice::new(|form: Form| form.keys(others.iter().copied())));
                }
            } else {
                self.send(client, &mut notice);
            }
        }
    }

    fn send(&mut self, client: &Arc<Client>, notice: &mut Notice<impl Fn(Form) -> Bytes>) {
        let Some((target, is_other)) = target(self.audience.clients, client) else {
            return self.complain(client);
        };
        let form = |protocol: u8| match protocol {
            3.. => Some(Form::Push),
            _ => (is_other && target.has(flag::PUBSUB)).then_some(Form::Message),
        };
        if form(target.protocol.load(Ordering::Relaxed)).is_some() {
            // It may speak another protocol by the time that it comes to this.
            let frame = |protocol| form(protocol).map_or_else(Bytes::new, |form| notice.frame(form));
            self.put(&target, frame);
        }
    }

    /// The client to which notices are redirected is gone.
    fn complain(&mut self, client: &Arc<Client>) {
        client.set(flag::TRACKING_BROKEN, true);
        if client.protocol.load(Ordering::Relaxed) > 2 {
            let id = client.redirect.load(Ordering::Relaxed);
            let text = format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n");
            let text = Bytes::from(text);
            self.put(client, |protocol| if protocol > 2 { text } else { Bytes::new() });
        }
    }

    fn put(&mut self, target: &Arc<Client>, frame: impl FnOnce(u8) -> Bytes) {
        let Audience { limits, now_ms, own, .. } = &mut *self.audience;
        if let Some((id, reply)) = own
            && *id == target.id
        {
            return reply.raw_shared(frame(target.protocol.load(Ordering::Relaxed)));
        }
        let limit = limit_of(target, limits);
        target.push_with(frame, limit, *now_ms);
    }
}

/// The bound for a client's output. Who broadcasts are sent to is bounded as a subscriber where it has no other bound:
/// nothing that it asks for bounds what it is sent.
fn limit_of(target: &Client, limits: &OutputLimits) -> OutputLimit {
    let limit = target.output_limit(limits);
    if limit.hard_bytes == 0 && limit.soft_bytes == 0 && target.has(flag::TRACKING_BCAST) {
        return limits.pubsub.into();
    }
    limit
}
