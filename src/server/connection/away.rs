//! A connection to the gateway some of whose requests are at other nodes: it takes their replies in, in order, and waits
//! where what comes next must wait.

use std::task::Context;

use super::{Connection, Next, Phase, Turn};
use crate::base::limits::INPUT_BACKLOG_BYTES;
use crate::base::slot::Slot;
use crate::command::gateway::Errand;
use crate::resp::reply::Reply;
use crate::server::gateway::Means;
use crate::server::worker::Desk;

impl Connection {
    /// Takes what other nodes have answered into the output.
    pub(super) fn collect(&mut self, cx: &mut Context<'_>, desk: &mut Desk) {
        let Some(passage) = &mut self.passage else { return };
        let Desk { worker, output, .. } = desk;
        if self.unsent.is_none() && !output.is_empty() {
            // As before a batch: what a handler that panicked has left.
            *output = Reply::default();
        }
        let reply = self.unsent.as_deref_mut().unwrap_or(output);
        reply.set_proto(self.protocol);
        let mut means = Means { pool: &self.tenure.post.pool, worker, session: &mut self.session };
        passage.collect(cx, &mut means, reply);
        if passage.has_lapsed() {
            self.phase = Phase::Dead;
            desk.output = Reply::default();
        }
        if self.unsent.is_none() && self.phase != Phase::Dead && !desk.output.is_empty() {
            self.send(cx, desk);
        }
    }

    /// Whether other nodes' replies are awaited.
    pub(super) fn is_owed(&self) -> bool {
        self.passage.as_ref().is_some_and(|passage| passage.is_busy())
    }

    /// What the connection does while the next request waits for others, or its client at another node; nothing if
    /// neither does.
    pub(super) fn wait_for_others(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        turn: &mut Turn,
    ) -> Option<Next> {
        let passage = self.passage.as_ref()?;
        let waits = passage.is_waiting();
        if !waits && !passage.is_stalled() {
            return None;
        }
        if waits && (self.ended || self.is_draining()) {
            // As one that waits here: nobody is to be served any more.
            return Some(Next::End);
        }
        // Reads on, to notice when the peer leaves.
        Some(self.take_in(cx, desk, turn, INPUT_BACKLOG_BYTES))
    }

    /// The client has waited here for a key whose slot went to another node: it goes on there.
    pub(super) fn wait_away(&mut self, desk: &mut Desk, slot: Option<Slot>, errand: Errand) {
        self.out(desk);
        let (Some(passage), Some(slot)) = (&mut self.passage, slot) else { return };
        let Desk { worker, output, .. } = desk;
        let reply = self.unsent.as_deref_mut().unwrap_or(output);
        let mut means = Means { pool: &self.tenure.post.pool, worker, session: &mut self.session };
        passage.wait_away(&mut means, reply, slot, errand);
        self.tenure.client.commands.add(1);
    }
}
