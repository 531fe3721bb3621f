//! Requests of several connections, gathered before the first of them is executed.
//!
//! Where clients do not pipeline, each request alone would wait for the two or three lines of memory that lead to its
//! entry. So what a connection reads first is only laid down and looked at, so that those lines are on their way into the
//! cache while its neighbours read, and executed at its next turn, when all that had become ready have been read. (A million
//! keys, 50 connections, no pipeline: of 7.3 µs of a request's processor time 1.1 were such waiting.)
//!
//! Bounds: [`GATHER_BYTES`] of requests, each of [`GATHER_REQUEST_MAX_BYTES`] at most; what finds no room is executed at once, and
//! so are the next [`GATHER_ALONE_READS`] reads after a gathering that was hardly one. A request waits for others to be
//! read, never for others to come.
//!
//! Invariant: `waiting` is the number of connections that have a [`Gathered`], and without any the buffer is free.

use std::task::Context;

use super::{Connection, Next, Phase, Turn};
use crate::base::limits::{GATHER_ALONE_READS, GATHER_BYTES, GATHER_MIN, GATHER_REQUEST_MAX_BYTES};
use crate::command::context::WorkerLocal;
use crate::server::worker::Desk;

/// Where a connection's input lies.
#[derive(Debug)]
pub struct Gathered {
    start: usize,
    end: usize,
}

/// What the connections of a worker have gathered.
#[derive(Debug)]
pub struct Gathering {
    bytes: Box<[u8]>,
    used: usize,
    waiting: usize,
    /// The first of those that wait has been executed.
    is_over: bool,
    /// Reads that are executed at once, as there was nobody to wait for.
    alone: u32,
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            bytes: vec![0; GATHER_BYTES].into_boxed_slice(),
            used: 0,
            waiting: 0,
            is_over: false,
            alone: 0,
        }
    }
}

impl Gathering {
    /// Lays a connection's input down; [`Gathering::take`] or [`Gathering::leave`] is to follow. None if it is to be executed at once.
    #[inline]
    fn join(&mut self, input: &[u8]) -> Option<Gathered> {
        if input.len() > GATHER_REQUEST_MAX_BYTES {
            return None;
        }
        if self.alone > 0 {
            self.alone -= 1;
            return None;
        }
        let (start, end) = (self.used, self.used + input.len());
        self.bytes.get_mut(start..end)?.copy_from_slice(input);
        self.used = end;
        self.waiting += 1;
        Some(Gathered { start, end })
    }

    /// What was laid down, now that its turn has come. Nothing else is laid down where it lies before that was executed.
    #[inline]
    fn take(&mut self, gathered: Gathered) -> &[u8] {
        if !self.is_over {
            self.is_over = true;
            if self.waiting < GATHER_MIN {
                self.alone = GATHER_ALONE_READS;
            }
        }
        self.leave();
        &self.bytes[gathered.start..gathered.end]
    }

    /// A connection that waited waits no more.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.waiting -= 1;
        if self.waiting == 0 {
            self.used = 0;
            self.is_over = false;
        }
    }
}

impl Connection {
    /// Has what was read wait until the worker's other connections have read, if that is worth it.
    #[inline]
    pub(super) fn gather(
        &mut self,
        input: &[u8],
        gathering: &mut Gathering,
        worker: &mut WorkerLocal,
    ) -> bool {
        if self.unsent.is_some() || self.passage.is_some() {
            return false;
        }
        self.gathered = gathering.join(input);
        if self.gathered.is_none() {
            return false;
        }
        worker.state.ahead.glimpse(&worker.hub.keyspace, self.session.db, input);
        true
    }

    /// Executes what has waited.
    pub(super) fn execute_gathered(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        turn: &mut Turn,
    ) -> Next {
        let Some(gathered) = self.gathered.take() else { return Next::Again };
        let Desk { worker, output, gathering, .. } = desk;
        worker.state.ahead.glimpse_on(&worker.hub.keyspace);
        let input = gathering.take(gathered);
        // What others have sent the client meanwhile may have filled its socket, or ended it.
        let is_ready = self.phase == Phase::Open && self.unsent.is_none();
        let used = if is_ready { self.execute(input, worker, output, turn) } else { 0 };
        if used < input.len() {
            self.keep(&input[used..]);
        }
        self.settle(cx, desk);
        Next::Again
    }
}

#[cfg(test)]
mod tests {
    use super::Gathering;
    use crate::base::limits::{GATHER_ALONE_READS, GATHER_BYTES, GATHER_REQUEST_MAX_BYTES};

    #[test]
    fn inputs_stay_what_they_are_until_their_turn() {
        let mut gathering = Gathering::default();
        for _ in 0..3 {
            let texts: Vec<Vec<u8>> =
                (0..50_u8).map(|number| vec![number; usize::from(number) + 1]).collect();
            let joined: Vec<_> = texts.iter().map(|text| gathering.join(text).expect("room")).collect();
            for (text, gathered) in texts.iter().zip(joined) {
                assert_eq!(gathering.take(gathered), text);
            }
        }
    }

    #[test]
    fn what_finds_no_room_does_not_wait() {
        let mut gathering = Gathering::default();
        assert!(gathering.join(&[1; GATHER_REQUEST_MAX_BYTES + 1]).is_none());
        let most = GATHER_BYTES / GATHER_REQUEST_MAX_BYTES;
        for _ in 0..most {
            assert!(gathering.join(&[1; GATHER_REQUEST_MAX_BYTES]).is_some());
        }
        assert!(gathering.join(&[1; GATHER_REQUEST_MAX_BYTES]).is_none());
        (0..most).for_each(|_| gathering.leave());
        assert!(gathering.join(&[1]).is_some(), "the room is free again");
    }

    #[test]
    fn who_is_alone_does_not_wait_until_some_time_later() {
        let mut gathering = Gathering::default();
        let first = gathering.join(b"one").expect("room");
        assert_eq!(gathering.take(first), b"one");
        for _ in 0..GATHER_ALONE_READS {
            assert!(gathering.join(b"next").is_none());
        }
        assert!(gathering.join(b"again").is_some());
    }
}
