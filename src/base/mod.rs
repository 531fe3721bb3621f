//! Layer 0: small pure parts that every other layer may use; they know nothing of Redis commands, sockets or stores.

pub mod clock;
pub mod extended;
pub mod geo;
pub mod glob;
pub mod limits;
pub mod lock;
pub mod num;
pub mod rng;
pub mod slot;
pub mod version;
