//! Every bound of every loop, queue, buffer and table, named, in one file, with the relations between them checked
//! when the crate is compiled. Parameters that an operator may change live in `config`; these may not.

/// Replies at least this long are linked into the output as shared segments, not copied.
pub const SHARED_REPLY_MIN: usize = 16 * 1024;
/// Longest inline (non-RESP) request line, as in Redis (64 KiB).
pub const INLINE_MAX: usize = 64 * 1024;
/// Most arguments that a request may have (Redis: 1024 × 1024, raised to what `INT_MAX` allows in 7.0; we keep the smaller).
pub const ARGS_MAX: usize = 1024 * 1024;
/// Most arguments before authentication, as in Redis.
pub const ARGS_MAX_UNAUTHENTICATED: usize = 10;
/// Longest bulk before authentication, as in Redis.
pub const BULK_MAX_UNAUTHENTICATED: usize = 16_384;
/// Shards at most: a lock set is a 64-bit mask.
pub const SHARDS_MAX: usize = 64;
/// Logical databases, as Redis has by default.
pub const DATABASES_MAX: usize = 16;
