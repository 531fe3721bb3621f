//! Layer 2: the host of Lua scripts, without a server around it: interpreter states, their sandbox and libraries, and how
//! values pass between Lua and the protocol. It knows no keys, no clients and no locks: commands come in as a trait.
//!
//! [`Engine`](engine::Engine) is one interpreter: a worker has one for EVAL and one for functions, because the two see
//! different globals. Whatever a script does, the engine answers with a value or a [`Failure`](failure::Failure); what it
//! breaks inside the interpreter is thrown away with the interpreter.

pub mod api;
pub mod engine;
pub mod failure;
pub mod flags;
pub mod guard;
pub mod host;
pub mod incoming;
pub mod lib;
pub mod library;
pub mod link;
pub mod metadata;
pub mod number;
pub mod outgoing;
pub mod parameters;
pub mod pattern;
pub mod random;
pub mod sandbox;
pub mod text;
