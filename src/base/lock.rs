//! The only lock types. A panic while it is held does not poison it: the panicking command is at fault, not the data
//! of everybody else. Guards must never live across an await (`clippy::await_holding_lock` is denied).

/// A mutual-exclusion lock; see the module for the rules.
pub type Mutex<T> = parking_lot::Mutex<T>;
/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = parking_lot::MutexGuard<'a, T>;
/// A lock that many may read under at once; for what is read often and replaced seldom. Same rules.
pub type RwLock<T> = parking_lot::RwLock<T>;
