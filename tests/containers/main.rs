//! Real containers: the shipped image and the shipped compose files on a Docker engine, as an operator would use them.
//!
//! What is measured is printed in lines that begin with `measured: `. Each test has an engine to itself; where there is
//! none and none can be started, they are skipped with a word (see `support/docker.rs`).

mod faults;
mod formation;
mod identity;
mod image;
mod names;
mod nodes;
mod outside;
mod readme;
mod scaling;
#[path = "../support/mod.rs"]
mod support;
