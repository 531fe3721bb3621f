//! PUBLISH and SPUBLISH.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, Flags, LOADING, MAY_REPLICATE, PUBSUB, STALE};
use crate::command::spec::key_spec::{KeySpec, NOT_KEY};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("publish", publish)
        .arity(3)
        .flags(FLAGS)
        .group(Group::PubSub)
        .since("2.0.0")
        .complexity(
            "O(N+M), N the number of subscribers, M the number of patterns that begin as the channel does.",
        )
        .summary("Sends a message to the subscribers of a channel.")
        .args(&[Arg::string("channel"), Arg::string("message")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("spublish", spublish)
        .arity(3)
        .flags(FLAGS)
        .keys(&[KeySpec::at(1).flags(NOT_KEY)])
        .group(Group::PubSub)
        .since("7.0.0")
        .complexity("O(N), N the number of subscribers.")
        .summary("Sends a message to the subscribers of a shard channel.")
        .args(&[Arg::string("shardchannel"), Arg::string("message")])
        .reply(Shape::Integer)
        .finish(),
];

const FLAGS: Flags = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE;

fn publish(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let limits = cx.worker.config().client_output_buffer_limit;
    let receivers = cx.hub.pubsub.publish(&args[1], &args[2], &limits, cx.now_ms);
    cx.hub.bus.publish(&args[1], &args[2]);
    cx.reply.integer(receivers as i64);
    Ok(())
}

fn spublish(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let limits = cx.worker.config().client_output_buffer_limit;
    let receivers = cx.hub.pubsub.publish_shard(&args[1], &args[2], &limits, cx.now_ms);
    cx.hub.bus.publish_shard(&args[1], &args[2]);
    cx.reply.integer(receivers as i64);
    Ok(())
}
