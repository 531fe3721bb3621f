//! CLUSTER: the cluster as its clients and operators see it.
//!
//! Slots are placed by the cluster itself: what would place them by hand is refused with a word on what to do instead.
//! A node without a lease gives away no map and no keys, which may be those of yesterday, so that a client asks another
//! one; it still says who it is and how it is doing. On a server that is no cluster's member every subcommand is refused.

mod keys;
mod rows;
mod state;
mod topology;
mod wishes;

pub use state::slots_of;

use crate::cluster::id::NodeId;
use crate::cluster::route::View;
use crate::command::context::Cx;
use crate::command::spec::{Group, Spec};
use crate::hub::Hub;
use crate::resp::error::Error;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("cluster", rows::SUBCOMMANDS)
    .group(Group::Cluster)
    .since("3.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Tells about the cluster, its slots and its members.")
    .finish()];

/// Refuses on a server that is no cluster's member.
fn member(cx: &Cx<'_>) -> Result<(), Error> {
    if cx.in_cluster() { Ok(()) } else { Err(Error::ClusterDisabled) }
}

/// Refuses without a valid lease.
fn leased(cx: &Cx<'_>) -> Result<(), Error> {
    member(cx)?;
    if is_leased(cx) { Ok(()) } else { Err(Error::ClusterDown) }
}

fn is_leased(cx: &Cx<'_>) -> bool {
    cx.hub.cluster.routes.is_leased(cx.worker.clock.boot_ns())
}

/// This node's id: that of the table it goes by, before there is one that of its tasks.
fn my_id(hub: &Hub, view: &View) -> NodeId {
    if view.me == NodeId::default() { hub.cluster.vitals().me } else { view.me }
}
