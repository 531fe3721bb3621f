//! What becomes of a part that was not simply answered: another try, or which answer.

use crate::base::limits::{GATEWAY_MOVED_MAX, GATEWAY_RETRY_MAX_MS};
use crate::cluster::route::{SlotSet, View};
use crate::command::context::WorkerLocal;
use crate::hub::cluster::count;
use crate::resp::reply::Proto;
use crate::server::gateway::awaited::{Awaited, Kind, Part, Stage};
use crate::server::gateway::link::Outcome;
use crate::server::gateway::pool::address_of_moved;

const OK: &[u8] = b"+OK\r\n";
const DOWN: &[u8] = b"-CLUSTERDOWN The gateway cannot reach the node that serves this slot\r\n";
const LOST: &[u8] = b"-ERR the gateway lost its link to the node that serves this slot before the reply came: the command may or may not have been executed\r\n";

/// What is known when something went wrong with a part.
pub struct Judge<'a> {
    /// The table.
    pub view: &'a View,
    /// The client's protocol.
    pub proto: Proto,
    /// What is special about the request.
    pub kind: Kind,
    /// Whether it may change data.
    pub writes: bool,
}

impl Judge<'_> {
    /// What becomes of the part: an answer, or another try.
    pub fn verdict(&self, worker: &WorkerLocal, part: &mut Part, outcome: Outcome) -> Stage {
        let now_ms = worker.state.now_ms;
        let errors = &worker.hub.cluster.gateway.errors;
        match (self.kind, &outcome) {
            // That the keys are not watched makes the EXEC to come do nothing.
            (Kind::Watch, _) => return Stage::Done(OK.to_vec()),
            (_, Outcome::Lost) if self.writes => {
                count(errors);
                return Stage::Done(LOST.to_vec());
            }
            (Kind::WatchedExec, _) => {
                let null: &[u8] = if self.proto == Proto::Resp3 { b"_\r\n" } else { b"*-1\r\n" };
                return Stage::Done(null.to_vec());
            }
            (Kind::Plain | Kind::Waits, _) => {}
        }
        if part.until_ms == 0 {
            part.until_ms = now_ms + GATEWAY_RETRY_MAX_MS;
        }
        if now_ms >= part.until_ms {
            count(errors);
            return Stage::Done(match outcome {
                Outcome::Reply(reply) if !reply.starts_with(b"-MOVED ") => reply,
                _ => DOWN.to_vec(),
            });
        }
        if let Outcome::Reply(reply) = &outcome
            && reply.starts_with(b"-MOVED ")
            && part.moves < GATEWAY_MOVED_MAX
        {
            part.moves += 1;
            part.moved_to = address_of_moved(self.view, reply);
        }
        Stage::Unsent
    }
}

/// A read whose link was lost is not tried again where a write of its slot, sent behind it, may have been executed: it would
/// see what came after it. It is answered as the write is.
pub fn disown_reads<'a>(worker: &WorkerLocal, pending: impl DoubleEndedIterator<Item = &'a mut Awaited>) {
    let mut lost = SlotSet::default();
    for awaited in pending.rev() {
        for part in &mut awaited.parts {
            let (Some(slot), Stage::Sent(call)) = (part.slot(), &part.stage) else { continue };
            if !call.is_lost() {
                continue;
            }
            if awaited.writes {
                lost.insert(slot);
            } else if lost.contains(slot) {
                count(&worker.hub.cluster.gateway.errors);
                part.stage = Stage::Done(LOST.to_vec());
            }
        }
    }
}
