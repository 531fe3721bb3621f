//! A request that waits for other nodes: its parts, what became of each, and what is written behind it.

use std::net::SocketAddr;
use std::rc::Rc;

use smallvec::SmallVec;

use crate::base::slot::Slot;
use crate::command::gateway::{Join, Target};
use crate::resp::reply::Reply;
use crate::server::gateway::link::Call;

/// How far a part is.
#[derive(Debug)]
pub enum Stage {
    /// To be sent, or sent again.
    Unsent,
    /// To be sent again as soon as what stands before it, of the same slot, is done.
    Held,
    /// Sent to another node.
    Sent(Rc<Call>),
    /// This is its reply.
    Done(Vec<u8>),
}

/// A request to one node.
#[derive(Debug)]
pub struct Part {
    /// Where it goes.
    pub target: Target,
    /// Where a MOVED said that it goes.
    pub moved_to: Option<SocketAddr>,
    /// The requests, as sent.
    pub bytes: Box<[u8]>,
    /// How many they are.
    pub requests: u32,
    /// How far it is.
    pub stage: Stage,
    /// Times that it followed a MOVED.
    pub moves: u32,
    /// When it is given up, in Unix ms; 0 as long as nothing went wrong.
    pub until_ms: u64,
}

impl Part {
    /// One that is to be sent.
    pub fn new(target: Target, bytes: Box<[u8]>, requests: u32) -> Self {
        Self { target, moved_to: None, bytes, requests, stage: Stage::Unsent, moves: 0, until_ms: 0 }
    }

    /// The slot of its keys, if it is of one.
    pub fn slot(&self) -> Option<Slot> {
        match self.target {
            Target::Slot(slot) => Some(slot),
            Target::Node(_) => None,
        }
    }

    /// Its reply, if it has one.
    pub fn reply(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Done(reply) => Some(reply),
            _ => None,
        }
    }
}

/// What is special about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// WATCH on a link of its own: what fails is found out by EXEC.
    Watch,
    /// EXEC on the link that watches: where the slot or the link is gone, so are the watched keys.
    WatchedExec,
    /// A command that waits (BLPOP), on a link of its own.
    Waits,
}

/// A request that waits.
#[derive(Debug)]
pub struct Awaited {
    /// Its parts.
    pub parts: SmallVec<[Part; 1]>,
    /// How their replies become one.
    pub join: Join,
    /// Whether it may change data.
    pub writes: bool,
    /// Whether its reply is not sent (CLIENT REPLY).
    pub silent: bool,
    /// What is special about it.
    pub kind: Kind,
    /// Replies to requests behind it that are made already.
    pub behind: Reply,
}

impl Awaited {
    /// Takes the replies of calls that have simply been answered; whether all parts are done.
    pub fn settle(&mut self) -> bool {
        let mut done = true;
        for part in &mut self.parts {
            match &part.stage {
                Stage::Done(_) => {}
                Stage::Unsent | Stage::Held => done = false,
                Stage::Sent(call) => match call.take_reply() {
                    Some(reply) => part.stage = Stage::Done(reply),
                    None => done = false,
                },
            }
        }
        done
    }
}
