//! Scripts: EVAL and its like run them, SCRIPT keeps them.

pub mod eval;
pub mod host;
pub mod local;
pub mod manage;
pub mod shebang;
