//! The PUBSUB family: who is subscribed to what on this node.

use crate::base::glob;
use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{LOADING, PUBSUB, STALE};
use crate::command::spec::{Draft, Group, Handler, Spec};
use crate::hub::pubsub::Kind;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("pubsub", SUBCOMMANDS)
    .group(Group::PubSub)
    .categories_exactly(0)
    .since("2.8.0")
    .complexity("Depends on the subcommand.")
    .summary("Commands about subscriptions.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    row("channels", channels, -2, "2.8.0")
        .complexity("O(N), N the number of channels that somebody is subscribed to.")
        .summary("Lists the channels that somebody is subscribed to, patterns left aside.")
        .args(&[Arg::pattern("pattern").optional()])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    row("numsub", numsub, -2, "2.8.0")
        .complexity("O(N), N the number of channels asked for.")
        .summary("Counts the subscribers of channels, patterns left aside.")
        .args(&[Arg::string("channel").optional().multiple()])
        .reply(COUNTED)
        .finish(),
    row("numpat", numpat, 2, "2.8.0")
        .complexity("O(1).")
        .summary("Counts the patterns that somebody is subscribed to.")
        .reply(Shape::Integer)
        .finish(),
    row("shardchannels", shardchannels, -2, "7.0.0")
        .complexity("O(N), N the number of shard channels that somebody is subscribed to.")
        .summary("Lists the shard channels that somebody is subscribed to.")
        .args(&[Arg::pattern("pattern").optional()])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    row("shardnumsub", shardnumsub, -2, "7.0.0")
        .complexity("O(N), N the number of shard channels asked for.")
        .summary("Counts the subscribers of shard channels.")
        .args(&[Arg::string("shardchannel").optional().multiple()])
        .reply(COUNTED)
        .finish(),
    help_row("6.2.0", Group::PubSub, 0),
];

/// Names and numbers in turn, flat in both protocols.
const COUNTED: Shape = Shape::Array(&Shape::OneOf(&[Shape::Bulk, Shape::Integer]));

const fn row(name: &'static str, handler: Handler, arity: i32, since: &'static str) -> Draft {
    Spec::new(name, handler).arity(arity).flags(PUBSUB | LOADING | STALE).group(Group::PubSub).since(since)
}

fn channels(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    list(cx, args, Kind::Channel)
}

fn shardchannels(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    list(cx, args, Kind::Shard)
}

fn list(cx: &mut Cx<'_>, args: Args<'_>, kind: Kind) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::bad_subcommand("pubsub", &args[1]));
    }
    let mut names = cx.hub.pubsub.active(kind);
    if let Some(pattern) = args.get(2) {
        names.retain(|name| glob::matches(pattern, name, false));
    }
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}

fn numsub(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    count(cx, args, Kind::Channel);
    Ok(())
}

fn shardnumsub(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    count(cx, args, Kind::Shard);
    Ok(())
}

fn count(cx: &mut Cx<'_>, args: Args<'_>, kind: Kind) {
    let names = args.from(2);
    cx.reply.array(2 * names.len());
    for name in names.iter() {
        cx.reply.bulk(name);
        cx.reply.integer(cx.hub.pubsub.subscribers(kind, name) as i64);
    }
}

fn numpat(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.hub.pubsub.len(Kind::Pattern) as i64);
    Ok(())
}
