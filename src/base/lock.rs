//! The only mutex type. A panic while it is held does not poison it: the panicking command is at fault, not the data
//! of everybody else. Guards must never live across an await (`clippy::await_holding_lock` is denied).

/// A mutual-exclusion lock; see the module for the rules.
pub type Mutex<T> = parking_lot::Mutex<T>;
/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = parking_lot::MutexGuard<'a, T>;
