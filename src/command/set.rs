//! Sets: rows and handlers, a file for each kind of command.
//!
//! Members are written straight from the store into the reply; nothing is allocated for each.

use crate::command::spec::key_spec::KeySpec;

pub mod algebra;
pub mod member;
pub mod random;

/// The single key of most commands, to be given its flags.
const KEY: KeySpec = KeySpec::at(1);
