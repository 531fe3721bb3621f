//! The connection's own input buffer: what it keeps of unfinished requests, and how it grows.
//!
//! Bounds: as the connection's; an announced length alone reserves no memory.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tracing::info;

use super::{Connection, Next, Turn, is_over};
use crate::base::limits::{READ_BYTES, READ_MIN_BYTES, READ_OWN_BYTES};
use crate::command::context::WorkerLocal;
use crate::hub::clients::Client;
use crate::server::worker::Desk;

impl Connection {
    /// Keeps input that no request has used up yet; the connection had none before.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.input.reserve_exact(rest.len() + self.wanted_bytes.clamp(READ_OWN_BYTES, READ_BYTES));
        self.input.extend_from_slice(rest);
    }

    /// Reads more into the connection's own buffer, as long as it holds fewer than `most` bytes.
    pub(super) fn take_in(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        turn: &mut Turn,
        most: usize,
    ) -> Next {
        if self.ended || self.input.len() - self.consumed >= most {
            return Next::Wait;
        }
        if turn.reads == 0 {
            return Next::Yield;
        }
        turn.reads -= 1;
        self.make_room();
        match self.stream.poll_read_append(cx, &mut self.input) {
            Poll::Pending => self.idle(),
            Poll::Ready(Ok(length)) if length > 0 => {
                note_read(&desk.worker, &self.tenure.client, length);
                self.wanted_bytes = self.wanted_bytes.saturating_sub(length);
                self.note_input();
                self.check_input(desk)
            }
            Poll::Ready(end) => self.ended(end),
        }
    }

    /// Ends a connection that has sent more than it may without a whole request in it being executed.
    fn check_input(&self, desk: &mut Desk) -> Next {
        if !is_over(self.input.len() - self.consumed, desk.worker.state.config().client_query_buffer_limit) {
            return Next::Again;
        }
        info!("closing {}: its request exceeds client-query-buffer-limit", self.tenure.client.peer);
        desk.worker.state.stats.query_limit_closed.add(1);
        Next::End
    }

    /// Makes sure that there is room to read into: drops what is used up if that is the larger part (so that every
    /// byte is moved once on average), and grows by what is missing, but never to more than about twice what has come:
    /// an announced length alone reserves no memory.
    fn make_room(&mut self) {
        if self.consumed > self.input.len() / 2 {
            self.input.drain(..self.consumed);
            self.consumed = 0;
            if self.input.capacity() / 8 > self.input.len() + READ_BYTES {
                self.input.shrink_to(self.input.len() + READ_BYTES);
            }
        }
        let length = self.input.len();
        let spare = self.input.capacity() - length;
        if spare < READ_MIN_BYTES && spare < self.wanted_bytes.max(1) {
            let step = if self.wanted_bytes > READ_OWN_BYTES {
                self.wanted_bytes.min(length.max(READ_BYTES))
            } else {
                READ_OWN_BYTES.max(length / 2)
            };
            self.input.reserve_exact(step);
        }
    }

    /// Shows what the buffer holds in CLIENT LIST.
    pub(super) fn note_input(&self) {
        let client = &self.tenure.client;
        client.query_bytes.store(self.input.len() - self.consumed, Ordering::Relaxed);
        client.query_free_bytes.store(self.input.capacity() - self.input.len(), Ordering::Relaxed);
    }
}

/// Counts what was read.
pub(super) fn note_read(worker: &WorkerLocal, client: &Client, length: usize) {
    client.net_input_bytes.add(length as u64);
    worker.state.stats.reads_processed.add(1);
    worker.state.stats.net_input_bytes.add(length as u64);
}
