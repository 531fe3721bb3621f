//! Layer 1: the Redis protocol as bytes. Requests in ([`request`], [`inline`], [`args`]), replies out ([`reply`],
//! [`output`]), error texts ([`error`]), declared reply shapes ([`shape`]) and replies read back ([`frame`]). Knows no
//! sockets and no commands.

pub mod ahead;
pub mod args;
pub mod error;
pub mod frame;
pub mod inline;
pub mod measure;
pub mod output;
pub mod reply;
pub mod request;
pub mod shape;
