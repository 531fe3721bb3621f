//! Layer 2: what the nodes of a cluster decide, as pure functions and state machines: state and messages in, decisions
//! out. No sockets, no tasks, no clock, no randomness: every node that is given the same input comes to the same
//! decision, and the models and simulations in the tests drive the very code that serves.

pub mod formation;
pub mod id;
pub mod lease;
pub mod place;
pub mod plan;
pub mod route;
pub mod table;
pub mod voters;
