//! The gateway: connections that know nothing of the cluster are served every key, by the node that has it.
//!
//! It stands in the server, not beside it: a request whose keys are all here is executed in place by the connection
//! that read it, as on the client port, and costs what it costs there. Only what goes elsewhere is handed to a
//! [`Passage`], which keeps the order of replies, and sent over a `Link` of the worker's [`Pool`]: one pipelined client
//! connection to each other node and protocol, shared by the worker's connections, so that many requests leave in one
//! write. What watches or waits there has a link of its own, so that it holds up nobody: a connection to the gateway has at
//! most two, so that there are never more than twice as many as clients.
//!
//! What it must never do: send a write again whose fate is unknown; let a reply overtake an earlier one; let two commands
//! of one connection on one slot change places when the slot moves.

mod awaited;
mod here;
mod judge;
mod link;
mod passage;
mod pool;
mod vigil;

pub use passage::{Means, Passage};
pub use pool::Pool;
