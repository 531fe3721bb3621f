//! Parts of a request whose turn it is on this node.

use std::io::IoSlice;
use std::sync::Arc;

use crate::base::limits::{REQUEST_MAX_BYTES, WRITE_SLICES};
use crate::command::execute::{Progress, execute};
use crate::command::session::Session;
use crate::command::txn;
use crate::resp::reply::{Proto, Reply};
use crate::resp::request::{Limits, Scan, Scanner};
use crate::server::gateway::awaited::Part;
use crate::server::gateway::link::is_elsewhere;
use crate::server::gateway::passage::Means;

/// Runs a part on this node, as a client of its own would; nothing if its slot is not served here now.
pub fn run_here(means: &mut Means<'_>, proto: Proto, part: &Part) -> Option<Vec<u8>> {
    let mut session = Session::new(Arc::clone(&means.session.client), true);
    session.no_touch = means.session.no_touch;
    let mut reply = Reply::new(proto);
    let mut scanner = Scanner::new();
    let limits = Limits::new(REQUEST_MAX_BYTES, true);
    means.worker.state.ahead.forget();
    let mut at = 0;
    let mut elsewhere = false;
    let mut last = Vec::new();
    while at < part.bytes.len() {
        let Scan::Request { consumed_bytes } = scanner.scan(&part.bytes[at..], &limits) else { return None };
        let progress = execute(means.worker, &mut session, &mut reply, scanner.args(&part.bytes[at..]));
        if progress != Progress::Done {
            txn::discard(&means.worker.hub, &mut session);
            return None;
        }
        at += consumed_bytes;
        last = taken(&mut reply);
        elsewhere |= is_elsewhere(&last);
    }
    (!elsewhere).then_some(last)
}

/// All that was written, as bytes.
fn taken(reply: &mut Reply) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reply.pending_bytes());
    while !reply.is_empty() {
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let filled = reply.slices(&mut slices);
        let before = bytes.len();
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        let length = bytes.len() - before;
        reply.advance(length);
    }
    bytes
}
