//! What this server says it is.

/// The Redis version whose behaviour clients may expect; clients compare it by its numbers.
pub const REDIS_VERSION: &str = "7.4.1";
/// Our own version.
pub const LARDER_VERSION: &str = env!("CARGO_PKG_VERSION");
