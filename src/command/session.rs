//! The state of one connection as commands see it: database, authentication, transaction, how it wants its replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::slot::Slot;
use crate::cluster::route::SlotSet;
use crate::cluster::table::Side;
use crate::command::pubsub::{self, Subscriptions};
use crate::command::table::Entry;
use crate::command::txn;
use crate::hub::Hub;
use crate::hub::clients::{Client, flag};
use crate::resp::args::OwnedArgs;
use crate::resp::reply::Reply;

/// What becomes of the connection after the present request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It is closed when its replies are written.
    AfterReply,
    /// It is closed at once.
    Now,
}

/// Whether replies are sent (CLIENT REPLY).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// All of them.
    #[default]
    On,
    /// None.
    Off,
    /// Not that of the next command.
    SkipNext,
    /// Not that of the command that is running.
    Skip,
}

/// Commands queued by MULTI.
#[derive(Default)]
pub struct Transaction {
    /// The commands, in order.
    pub queue: Vec<(&'static Entry, OwnedArgs)>,
    /// A command could not be queued: EXEC will refuse.
    pub aborted: bool,
}

/// A key that the session watches.
#[derive(Debug)]
pub struct WatchedKey {
    /// Number of its database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// It was there when it was watched: should it be due at EXEC, it has changed.
    pub was_there: bool,
}

/// Which keys CLIENT TRACKING remembers in default mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CachingMode {
    /// All that are read.
    #[default]
    All,
    /// Those of commands that CLIENT CACHING YES announces.
    OptIn,
    /// All but those of commands that CLIENT CACHING NO announces.
    OptOut,
}

/// What CLIENT TRACKING and CLIENT CACHING have chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Caching {
    /// The client tracks in default mode: what it reads is remembered.
    pub on: bool,
    /// Which of it.
    pub mode: CachingMode,
    /// CLIENT CACHING was given, for the next command or transaction.
    pub given: bool,
    /// The client's number in `hub::tracking`.
    pub number: u32,
}

impl Caching {
    /// Whether the present command's keys are remembered, given that the client tracks in default mode.
    pub fn applies(&self) -> bool {
        match self.mode {
            CachingMode::All => true,
            CachingMode::OptIn => self.given,
            CachingMode::OptOut => !self.given,
        }
    }
}

/// What a link of another node's gateway was refused, slot by slot.
#[derive(Debug, Default)]
pub struct Ordered {
    slots: SlotSet,
    any: bool,
}

impl Ordered {
    /// Something of the slot was refused.
    pub fn refuse(&mut self, slot: Slot) {
        self.slots.insert(slot);
        self.any = true;
    }

    /// Whether something of the slot was refused.
    #[inline]
    pub fn refuses(&self, slot: Slot) -> bool {
        self.any && self.slots.contains(slot)
    }

    /// The other side has heard of it.
    pub fn begin_anew(&mut self) {
        if self.any {
            *self = Self::default();
        }
    }
}

/// One connection's state; owned by its task.
pub struct Session {
    /// What others see of this connection.
    pub client: Arc<Client>,
    /// Number of the selected database.
    pub db: usize,
    /// Whether commands may be run.
    pub authenticated: bool,
    /// Set when the connection is to be closed.
    pub closing: Option<Closing>,
    /// Whether replies are sent.
    pub reply_mode: ReplyMode,
    /// Whether reads count as use of a key.
    pub no_touch: bool,
    /// Between MULTI and EXEC.
    pub transaction: Option<Transaction>,
    /// Keys watched for EXEC.
    pub watched: Vec<WatchedKey>,
    /// Since when the next command waits for a held slot, in Unix ms; 0 if it does not.
    pub held_since_ms: u64,
    /// It came by the gateway: every key is served to it, here or through another node.
    pub gateway: bool,
    /// The view by which the gateway has sent requests of it to other nodes that are not answered yet; 0 if there are none.
    /// What runs here by a later view might overtake them.
    pub owed: u64,
    /// It is a link of another node's gateway, on which what follows a refused request must not be executed before the
    /// other side has heard of it: the slots of which something was refused since it last said so.
    pub ordered: Option<Box<Ordered>>,
    /// From where it sees the cluster.
    pub side: Side,
    /// The slot whose keys the gateway watches for it at another node.
    pub watched_away: Option<Slot>,
    /// A blocking command is run again for it, by whoever changed a key.
    pub is_served: bool,
    /// What runs now was called by a script.
    pub in_script: bool,
    /// The request is run by the thread for long scripts.
    pub is_apart: bool,
    /// Its place in the queues of a blocking command that it has to try again, and when that ends (Unix ms).
    pub place_kept: Option<(u64, Option<u64>)>,
    /// What it is subscribed to.
    pub subscriptions: Subscriptions,
    /// Push messages that the command which is running has written though its reply is left out (CLIENT REPLY).
    pub pushed: Option<Box<Reply>>,
    /// Raised by whoever changes a watched key.
    pub watch_flag: Arc<AtomicBool>,
    /// Which of the keys that it reads its client may keep.
    pub caching: Caching,
}

impl Session {
    /// The state of a new connection.
    pub fn new(client: Arc<Client>, authenticated: bool) -> Self {
        Self {
            client,
            db: 0,
            authenticated,
            closing: None,
            reply_mode: ReplyMode::On,
            no_touch: false,
            transaction: None,
            watched: Vec::new(),
            held_since_ms: 0,
            gateway: false,
            owed: 0,
            ordered: None,
            side: Side::Inside,
            watched_away: None,
            is_served: false,
            in_script: false,
            is_apart: false,
            place_kept: None,
            subscriptions: Subscriptions::default(),
            pushed: None,
            watch_flag: Arc::new(AtomicBool::new(false)),
            caching: Caching::default(),
        }
    }

    /// Whether it is a subscriber that could not tell replies from messages, so that little else is allowed to it.
    pub fn only_listens(&self) -> bool {
        self.client.has(flag::PUBSUB) && self.client.protocol.load(Ordering::Relaxed) != 3
    }

    /// Whether a watched key was changed.
    pub fn watch_broken(&self) -> bool {
        self.watch_flag.load(Ordering::Relaxed)
    }
}

/// The last thing that is done with a session: nothing points to it any more. No lock may be held.
pub fn end(hub: &Hub, session: &mut Session) {
    txn::discard(hub, session);
    pubsub::leave_all(hub, session);
    hub.tracking.leave(&session.client);
}
