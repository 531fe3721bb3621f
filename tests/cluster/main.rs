//! The cluster as clients see it: nodes in this process, each with its own port, whose slot table the test writes. No
//! agreement, no gossip: what is held is what a node answers for a given table, lease and state of health.

mod commands;
mod nodes;
mod operators;
mod order;
mod scripts;
mod standard;
#[path = "../support/mod.rs"]
mod support;
