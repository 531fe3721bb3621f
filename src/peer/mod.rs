//! Layer 5: what passes between the nodes of a cluster: authenticated links, membership, seeds, agreement.
//!
//! All of it runs as tasks on one thread with a runtime of its own, apart from the workers that serve clients. It knows
//! addresses, messages and deadlines; what the messages mean is decided by pure parts in `cluster`. Time passes through
//! `tokio::time` and sockets through [`net::Net`] alone, so that a simulation can own both.

pub mod arrivals;
pub mod bus;
pub mod departures;
pub mod desk;
pub mod door;
pub mod fault;
pub mod forming;
pub mod frame;
pub mod gossip;
pub mod gossip_wire;
pub mod ground;
pub mod leading;
pub mod lessee;
pub mod link;
pub mod member;
pub mod message;
pub mod net;
pub mod node;
mod outgoing;
pub mod post;
pub mod raft;
pub mod secure;
pub mod seeds;
mod serving;
pub mod standing;
pub mod start;
pub mod tables;
pub mod upkeep;
pub mod whereabouts;
