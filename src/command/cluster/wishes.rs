//! What changes the cluster: DRAIN and REFORM are handed to the node's tasks, and answered when they were taken in; what
//! becomes of them shows in CLUSTER INFO and in the log. Everything by which Redis Cluster is built by hand is refused.

use super::state::unknown;
use super::{member, my_id};
use crate::cluster::id::NodeId;
use crate::command::context::Cx;
use crate::command::docs;
use crate::hub::cluster::Wish;
use crate::resp::args::Args;
use crate::resp::error::Error;

pub(super) fn drain(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    let node = match args.get(2) {
        _ if args.len() > 3 => return Err(Error::wrong_arity("cluster|drain")),
        None => None,
        Some(text) => {
            let view = cx.hub.cluster.routes.view();
            let id = NodeId::parse(text).filter(|id| view.table.member(*id).is_some());
            let id = id.ok_or_else(|| unknown(text))?;
            (id != my_id(cx.hub, &view)).then_some(id)
        }
    };
    wish(cx, Wish::Drain(node))
}

pub(super) fn reform(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    wish(cx, Wish::Reform)
}

/// Hands a wish on. A command cannot wait, so the outcome is looked at only if it is there already.
fn wish(cx: &mut Cx<'_>, wish: Wish) -> Result<(), Error> {
    let mut outcome = cx.hub.cluster.wish(wish).map_err(Error::err)?;
    if let Ok(Err(why)) = outcome.try_recv() {
        return Err(Error::err(why));
    }
    cx.reply.ok();
    Ok(())
}

pub(super) fn help(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    docs::help(cx, args)
}

/// Subcommands that are refused, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("addslots", "by the weights of its members; see cluster-weight"),
    ("addslotsrange", "by the weights of its members; see cluster-weight"),
    ("delslots", "CLUSTER DRAIN takes a node's slots away"),
    ("delslotsrange", "CLUSTER DRAIN takes a node's slots away"),
    ("flushslots", "CLUSTER DRAIN takes a node's slots away"),
    ("failover", "and go to others when their node fails; CLUSTER DRAIN moves them away with their keys"),
    ("forget", "a node that is gone is forgotten without being told; CLUSTER DRAIN takes out one that lives"),
    ("meet", "and nodes find each other by the parameter cluster-seeds"),
    ("replicate", "and no node is another's replica"),
    ("reset", "CLUSTER DRAIN takes a node out; it joins another cluster by its parameters"),
    ("saveconfig", "which saves its state by itself, in the directory that the parameter dir names"),
    ("set-config-epoch", "whose members agree on the version of the slot table"),
    ("setslot", "with their keys; CLUSTER GETSLOTMIGRATIONS shows which are on their way"),
];

pub(super) fn refuse(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    member(cx)?;
    let name = cx.entry.spec.name;
    let instead = REFUSED.iter().find(|(refused, _)| *refused == name).map_or("", |(_, instead)| instead);
    Err(Error::err(format_args!(
        "CLUSTER {} is not supported: slots are placed by the cluster itself, {instead}",
        name.to_ascii_uppercase()
    )))
}

#[cfg(test)]
mod tests {
    use super::REFUSED;
    use crate::command::cluster::rows::SUBCOMMANDS;
    use crate::command::spec::Spec;

    #[test]
    fn every_refusal_says_what_to_do_instead() {
        let refused = |spec: &&Spec| spec.reply == Some(crate::resp::shape::Shape::Nothing);
        let rows: Vec<&str> = SUBCOMMANDS.iter().filter(refused).map(|spec| spec.name).collect();
        let words: Vec<&str> = REFUSED.iter().map(|(name, _)| *name).collect();
        assert_eq!(rows.len(), words.len());
        assert!(rows.iter().all(|name| words.contains(name)), "{rows:?} {words:?}");
    }
}
