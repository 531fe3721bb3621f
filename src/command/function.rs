//! Functions: FUNCTION keeps libraries of them, FCALL runs one.
//!
//! What a node's libraries are is in the hub (`hub::functions`); a worker loads them into an interpreter of its own as it
//! needs them ([`local`]).

pub mod call;
pub mod dump;
pub mod list;
pub mod local;
pub mod manage;
