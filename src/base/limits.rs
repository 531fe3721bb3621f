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
/// Longest request in bytes: positions within one are 32 bits wide.
pub const REQUEST_MAX_BYTES: usize = u32::MAX as usize;
/// Argument positions (8 bytes each) that a connection keeps room for between requests.
pub const ARGS_KEPT_MAX: usize = 1024;
/// Bytes of inline words that a connection keeps room for between requests.
pub const INLINE_WORDS_KEPT_BYTES: usize = 1024;
/// Output bytes that a connection keeps room for once its replies are drained.
pub const REPLY_KEPT_BYTES: usize = 64 * 1024;
/// Replies of unknown length at least this long get their header as a segment of its own; shorter ones are moved up.
pub const REPLY_MOVE_MAX_BYTES: usize = 16 * 1024;
/// Deepest nesting of a reply that is read back; Redis's own stay below ten.
pub const FRAME_DEPTH_MAX: usize = 32;

const _: () = assert!(INLINE_MAX < REQUEST_MAX_BYTES);
const _: () = assert!(ARGS_MAX_UNAUTHENTICATED <= ARGS_KEPT_MAX && ARGS_KEPT_MAX <= ARGS_MAX);
