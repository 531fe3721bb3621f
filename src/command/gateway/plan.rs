//! A command that does not run here alone: which requests go where, and how their replies become one.
//!
//! Bounds: a part for each slot or node, so never more than there are slots.

use std::collections::HashMap;

use super::{Join, is_everywhere, is_split};
use crate::base::limits::GATEWAY_SCAN_NODES_MAX;
use crate::base::num::parse_u64;
use crate::base::slot::{Slot, slot_of};
use crate::cluster::id::NodeId;
use crate::cluster::route::View;
use crate::command::blocking;
use crate::command::keys;
use crate::command::scan::CURSOR_BITS;
use crate::command::session::Session;
use crate::command::spec::flags::WRITE;
use crate::command::table::{self, Entry};
use crate::command::txn;
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::error::Error;

/// Where a part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To whoever owns the slot.
    Slot(Slot),
    /// To this node.
    Node(NodeId),
}

/// A request to one node.
#[derive(Debug)]
pub struct PlannedPart {
    /// Where it goes.
    pub target: Target,
    /// The requests as they are sent, one behind the other.
    pub bytes: Vec<u8>,
    /// How many they are; the reply to the last is the part's.
    pub requests: u32,
}

/// What is to be done for a command.
pub enum Plan {
    /// It goes as it is to the slot's owner.
    Whole {
        /// The slot.
        slot: Slot,
        /// Whether it may change data.
        writes: bool,
    },
    /// It becomes several.
    Parts {
        /// What is sent.
        parts: Vec<PlannedPart>,
        /// How the replies become one.
        join: Join,
        /// Whether it may change data.
        writes: bool,
    },
    /// It goes to the slot's owner over a link of its own, as it may wait there.
    Wait {
        /// The slot.
        slot: Slot,
        /// Its row.
        entry: &'static Entry,
    },
    /// WATCH of keys at another node: it needs a link of its own.
    Watch {
        /// The slot of the keys.
        slot: Slot,
    },
    /// EXEC of these requests; on the link that watches, if there is one.
    Exec {
        /// MULTI, the queue, EXEC; its target is any slot if nothing has keys.
        part: PlannedPart,
        /// Whether the queue may change data.
        writes: bool,
    },
    /// It is answered at once.
    Refused(Error),
}

impl Plan {
    /// Whether nothing may be under way when it begins: what it asks for is not of one link, or ends only when somebody
    /// else does something.
    pub fn is_alone(&self) -> bool {
        match self {
            Self::Watch { .. } | Self::Exec { .. } | Self::Wait { .. } => true,
            Self::Parts { parts, .. } => parts.iter().any(|part| matches!(part.target, Target::Node(_))),
            Self::Whole { .. } | Self::Refused(_) => false,
        }
    }
}

/// Makes the plan for a command that was found not to run here alone. For EXEC the session's queue is left in place.
pub fn plan(view: &View, session: &Session, args: Args<'_>) -> Plan {
    let entry = match table::resolve(args) {
        Ok(entry) => entry,
        Err(error) => return Plan::Refused(error),
    };
    let writes = entry.spec.has(WRITE);
    if txn::is_exec(entry) {
        return exec(session);
    }
    if is_everywhere(entry) {
        return everywhere(view, entry.spec.name, args, writes);
    }
    let mut slots = Slots::default();
    let visited = keys::for_each_routed(entry.spec, args, |at, _| slots.add(slot_of(&args[at])));
    match (slots.first, visited) {
        (Some(slot), Ok(())) if txn::is_watch(entry) => Plan::Watch { slot },
        (Some(slot), Ok(())) if !slots.differ && blocking::may_wait(entry, args) => {
            Plan::Wait { slot, entry }
        }
        (Some(slot), Ok(())) if !slots.differ => Plan::Whole { slot, writes },
        (Some(_), Ok(())) if is_split(entry) => split(entry.spec.name, args, writes),
        _ => Plan::Refused(Error::CrossSlot),
    }
}

#[derive(Default)]
struct Slots {
    first: Option<Slot>,
    differ: bool,
}

impl Slots {
    fn add(&mut self, slot: Slot) {
        self.differ |= *self.first.get_or_insert(slot) != slot;
    }
}

/// One part for each slot, with the keys in their order.
fn split(name: &'static str, args: Args<'_>, writes: bool) -> Plan {
    let step = if name == "mset" { 2 } else { 1 };
    if !(args.len() - 1).is_multiple_of(step) {
        return Plan::Refused(Error::wrong_arity(name));
    }
    let mut places: HashMap<Slot, usize> = HashMap::new();
    let mut parts: Vec<(Slot, Vec<&[u8]>)> = Vec::new();
    let mut order = Vec::with_capacity((args.len() - 1) / step);
    for at in (1..args.len()).step_by(step) {
        let slot = slot_of(&args[at]);
        let place = *places.entry(slot).or_insert_with(|| {
            parts.push((slot, args.get(0).into_iter().collect()));
            parts.len() - 1
        });
        order.push(place as u16);
        parts[place].1.extend((at..at + step).filter_map(|at| args.get(at)));
    }
    let join = match name {
        "mget" => Join::Gather(order),
        "mset" => Join::AllOk,
        _ => Join::Sum,
    };
    let parts = parts.into_iter().map(|(slot, words)| part(Target::Slot(slot), &[&words])).collect();
    Plan::Parts { parts, join, writes }
}

fn part<W: AsRef<[u8]>>(target: Target, requests: &[&[W]]) -> PlannedPart {
    let mut bytes = Vec::new();
    for words in requests {
        OwnedArgs::from_slices(words).as_args().encode_into(&mut bytes);
    }
    PlannedPart { target, bytes, requests: requests.len() as u32 }
}

/// The members in the order in which a scan visits them.
fn in_order(view: &View) -> Vec<NodeId> {
    let mut ids: Vec<NodeId> = view.table.members.iter().map(|member| member.id).collect();
    ids.sort_unstable();
    ids
}

fn everywhere(view: &View, name: &str, args: Args<'_>, writes: bool) -> Plan {
    let nodes = in_order(view);
    if nodes.is_empty() {
        return Plan::Refused(Error::ClusterDown);
    }
    if name == "scan" {
        return scan(&nodes, args);
    }
    let words: Vec<&[u8]> = args.iter().collect();
    let join = match name {
        "dbsize" => Join::Sum,
        "keys" => Join::Concat,
        "randomkey" => Join::Random,
        "channels" | "shardchannels" => Join::Union,
        "numsub" | "shardnumsub" => Join::Counts,
        "numpat" => Join::Sum,
        _ => Join::AllOk,
    };
    let size: &[&[u8]] = &[b"DBSIZE"];
    let mut parts = Vec::new();
    for id in nodes {
        if join == Join::Random {
            parts.push(part(Target::Node(id), &[size]));
        }
        parts.push(part(Target::Node(id), &[&words]));
    }
    Plan::Parts { parts, join, writes }
}

/// One call of SCAN is one call to one node. The cursor says which, by its place among the members, above the bits of
/// the node's own.
fn scan(nodes: &[NodeId], args: Args<'_>) -> Plan {
    if nodes.len() > GATEWAY_SCAN_NODES_MAX {
        return Plan::Refused(Error::Fixed("ERR SCAN by the gateway is for clusters of at most 127 nodes"));
    }
    let Some(cursor) = args.get(1).and_then(parse_u64) else {
        return Plan::Refused(Error::InvalidCursor);
    };
    let node = ((cursor >> CURSOR_BITS) as usize).min(nodes.len() - 1);
    let own = (cursor & ((1 << CURSOR_BITS) - 1)).to_string();
    let mut words: Vec<&[u8]> = args.iter().collect();
    words[1] = own.as_bytes();
    let next = (node + 1 < nodes.len()).then_some((node as u64 + 1) << CURSOR_BITS);
    let join = Join::Scan { base: (node as u64) << CURSOR_BITS, next: next.unwrap_or(0) };
    Plan::Parts { parts: vec![part(Target::Node(nodes[node]), &[&words])], join, writes: false }
}

fn exec(session: &Session) -> Plan {
    let Some(transaction) = &session.transaction else {
        return Plan::Refused(Error::ExecWithoutMulti);
    };
    let mut slot = session.watched_away;
    let mut writes = false;
    let mut bytes = Vec::new();
    OwnedArgs::from_slices(&["MULTI"]).as_args().encode_into(&mut bytes);
    for (entry, args) in &transaction.queue {
        let args = args.as_args();
        writes |= entry.spec.has(WRITE);
        args.encode_into(&mut bytes);
        if slot.is_none() {
            slot = keys::first_routed(entry.spec, args).map(|at| slot_of(&args[at]));
        }
    }
    OwnedArgs::from_slices(&["EXEC"]).as_args().encode_into(&mut bytes);
    let Some(slot) = slot else { return Plan::Refused(Error::CrossSlot) };
    let requests = transaction.queue.len() as u32 + 2;
    Plan::Exec { part: PlannedPart { target: Target::Slot(slot), bytes, requests }, writes }
}
