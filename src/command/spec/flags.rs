//! Command flags and their printed names. Values are ours; names and order are Redis's.

/// Command flags: a set of bits. Plain integers, so that `WRITE | DENYOOM` is a constant expression.
pub type Flags = u32;

/// May change the data set.
pub const WRITE: Flags = 1 << 0;
/// Reads keys and changes nothing.
pub const READONLY: Flags = 1 << 1;
/// May use more memory: refused when the limit is reached and nothing can be evicted.
pub const DENYOOM: Flags = 1 << 2;
/// Administrative: kept out of MONITOR, in `@admin` and `@dangerous`.
pub const ADMIN: Flags = 1 << 3;
/// About publish and subscribe.
pub const PUBSUB: Flags = 1 << 4;
/// Not allowed in a script.
pub const NOSCRIPT: Flags = 1 << 5;
/// May make the client wait.
pub const BLOCKING: Flags = 1 << 6;
/// Allowed while data is being loaded.
pub const LOADING: Flags = 1 << 7;
/// Allowed on a node whose data may be stale.
pub const STALE: Flags = 1 << 8;
/// Not shown to MONITOR.
pub const SKIP_MONITOR: Flags = 1 << 9;
/// Not entered in the slow log.
pub const SKIP_SLOWLOG: Flags = 1 << 10;
/// Served during a slot's import without ASKING first.
pub const ASKING: Flags = 1 << 11;
/// Constant or logarithmic time.
pub const FAST: Flags = 1 << 12;
/// Allowed before authentication.
pub const NO_AUTH: Flags = 1 << 13;
/// Tells others something although it is not a write: held back where writes are. COMMAND does not print it, as in
/// Redis.
pub const MAY_REPLICATE: Flags = 1 << 14;
/// Its keys may be absent altogether.
pub const NO_MANDATORY_KEYS: Flags = 1 << 15;
/// Refused while a replica loads in the background.
pub const NO_ASYNC_LOADING: Flags = 1 << 16;
/// Not allowed in MULTI.
pub const NO_MULTI: Flags = 1 << 17;
/// Its keys cannot all be told from first, last and step. Derived by [`finish`](super::Draft::finish); never set by
/// hand.
pub const MOVABLEKEYS: Flags = 1 << 18;
/// Allowed while a script runs over its time.
pub const ALLOW_BUSY: Flags = 1 << 19;

/// Command flags in the order in which COMMAND prints them, with their printed names.
pub const FLAG_NAMES: &[(Flags, &str)] = &[
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (NOSCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_SLOWLOG, "skip_slowlog"),
    (ASKING, "asking"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (NO_ASYNC_LOADING, "no_async_loading"),
    (NO_MULTI, "no_multi"),
    (MOVABLEKEYS, "movablekeys"),
    (ALLOW_BUSY, "allow_busy"),
];
