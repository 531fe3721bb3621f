//! Layer 3: services shared by all connections, one file each; no sockets and no commands.

pub mod clients;
pub mod orders;
