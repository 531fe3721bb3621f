//! The agreement on the table among voters within one process: real openraft, a network that loses, delays and parts,
//! tokio's paused time. Everything random comes from a seed.

mod chaos;
mod files;
mod net;
mod rules;
mod voters;
