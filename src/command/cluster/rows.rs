//! The rows of CLUSTER's subcommands. Names and numbers are Redis's; DRAIN, REFORM and GETSLOTMIGRATIONS are not in
//! Redis 7.

use super::{keys, state, topology, wishes};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, Flags, LOADING, NO_ASYNC_LOADING, NOSCRIPT, STALE};
use crate::command::spec::{Draft, Group, Handler, Spec};
use crate::resp::shape::Shape;

/// All of them.
pub const SUBCOMMANDS: &[Spec] = &[
    Spec::new("slots", topology::slots)
        .arity(2)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("O(N), N the number of ranges; once for every version of the slot table.")
        .summary("Gives all slots, ascending: each range with its node's host, port and id.")
        .history(&[
            ("4.0.0", "Node ids came."),
            ("7.0.0", "A fourth element came, with what else is known of a node's address."),
        ])
        .deprecated("7.0.0", "`CLUSTER SHARDS`")
        .reply(Shape::Array(&Shape::Tuple(&[Shape::Integer, Shape::Integer, SLOT_OWNER])))
        .finish(),
    Spec::new("shards", topology::shards)
        .arity(2)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("7.0.0")
        .complexity("O(N), N the number of nodes; once for every version of the slot table.")
        .summary("Gives every node with its slots; each node is a shard of its own.")
        .reply(Shape::Array(&Shape::Map(&Shape::Bulk, &Shape::Array(&Shape::Any))))
        .finish(),
    Spec::new("nodes", topology::nodes)
        .arity(2)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("O(N), N the number of nodes; once for every version of the slot table.")
        .summary("Lists the nodes, a line each: id, address, flags, master, ping, pong, epoch, link, slots.")
        .reply(Shape::Verbatim)
        .finish(),
    Spec::new("info", state::info)
        .arity(2)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("O(N), N the number of nodes.")
        .summary("Tells in `field:value` lines how the cluster is doing, as this node sees it.")
        .reply(Shape::Verbatim)
        .finish(),
    Spec::new("myid", state::my_id)
        .arity(2)
        .flags(STALE)
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("O(1).")
        .summary("Gives the node's id.")
        .reply(Shape::Bulk)
        .finish(),
    Spec::new("myshardid", state::my_id)
        .arity(2)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("7.2.0")
        .complexity("O(1).")
        .summary("Gives the id of the node's shard, which is the node's own.")
        .reply(Shape::Bulk)
        .finish(),
    Spec::new("keyslot", keys::slot_of_key)
        .arity(3)
        .flags(STALE)
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("O(N), N the length of the key.")
        .summary("Gives the slot that a key is in.")
        .args(&[Arg::string("key")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("countkeysinslot", keys::count)
        .arity(3)
        .flags(STALE)
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("O(1).")
        .summary("Counts the keys of one of this node's slots; 0 for others'.")
        .args(&[Arg::integer("slot")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("getkeysinslot", keys::list)
        .arity(4)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("3.0.0")
        .complexity("O(N), N the number of keys asked for.")
        .summary("Gives up to so many keys of one of this node's slots; none for others'.")
        .args(&[Arg::integer("slot"), Arg::integer("count")])
        .reply(Shape::Array(&Shape::Bulk))
        .finish(),
    Spec::new("slot-stats", keys::stats)
        .arity(-4)
        .flags(STALE | LOADING)
        .tips(&["nondeterministic_output", "request_policy:all_shards"])
        .group(Group::Cluster)
        .since("8.2.0")
        .complexity("O(N log N), N the number of slots asked for.")
        .summary("Gives for slots of this node how many keys each has: those of a range, or the fullest.")
        .args(&[Arg::one_of("filter", &[SLOTS_RANGE, SLOTS_ORDER])])
        .reply(Shape::Array(&Shape::Tuple(&[Shape::Integer, Shape::Map(&Shape::Bulk, &Shape::Integer)])))
        .finish(),
    Spec::new("links", state::links)
        .arity(2)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("7.0.0")
        .complexity("O(N), N the number of nodes.")
        .summary("Gives the links to other nodes.")
        .reply(Shape::Array(&Shape::Map(&Shape::Bulk, &Shape::Any)))
        .finish(),
    about_node("replicas", state::replicas, "5.0.0", "Lists the replicas of a node: none so far.", NODE_LINES)
        .finish(),
    about_node("slaves", state::replicas, "3.0.0", "Lists the replicas of a node: none so far.", NODE_LINES)
        .deprecated("5.0.0", "`CLUSTER REPLICAS`")
        .finish(),
    about_node(
        "count-failure-reports",
        state::failure_reports,
        "3.0.0",
        "Counts reports that a node failed: 0, as its lease decides, not what others say.",
        Shape::Integer,
    )
    .finish(),
    admin("bumpepoch", state::bump_epoch, 2, "3.0.0", "Gives the epoch, which is the slot table's version.")
        .tips(VARYING)
        .reply(Shape::Simple)
        .finish(),
    Spec::new("getslotmigrations", state::migrations)
        .arity(2)
        .flags(STALE)
        .tips(VARYING)
        .group(Group::Cluster)
        .since("9.0.0")
        .complexity("O(N), N the number of moves.")
        .summary("Gives the moves of slots that this node is source or target of, with their progress.")
        .reply(Shape::Array(&Shape::Map(&Shape::Bulk, &Shape::Any)))
        .finish(),
    admin(
        "drain",
        wishes::drain,
        -2,
        "0.1.0",
        "Has a node, or else this one, give its slots to the others and leave; begun when it answers, not done.",
    )
    .args(&[Arg::string("node-id").optional()])
    .reply(Shape::Ok)
    .finish(),
    admin(
        "reform",
        wishes::reform,
        2,
        "0.1.0",
        "Forms the cluster anew from this node's slot table, after most voters were lost for good.",
    )
    .reply(Shape::Ok)
    .finish(),
    refused("addslots", -3, "3.0.0", &[Arg::integer("slot").multiple()]),
    refused("addslotsrange", -4, "7.0.0", RANGES),
    refused("delslots", -3, "3.0.0", &[Arg::integer("slot").multiple()]),
    refused("delslotsrange", -4, "7.0.0", RANGES),
    refused("failover", -2, "3.0.0", &[Arg::one_of("options", FAILOVER).optional()]),
    refused("flushslots", 2, "3.0.0", &[]),
    refused("forget", 3, "3.0.0", NODE_ID),
    refused(
        "meet",
        -4,
        "3.0.0",
        &[
            Arg::string("ip"),
            Arg::integer("port"),
            Arg::integer("cluster_bus_port").optional().since("4.0.0"),
        ],
    ),
    refused("replicate", 3, "3.0.0", NODE_ID),
    base("reset", wishes::refuse, -2, ADMIN | STALE | NOSCRIPT, "3.0.0", REFUSED)
        .args(&[Arg::one_of("hard_soft", RESET).optional()])
        .reply(Shape::Nothing)
        .finish(),
    refused("saveconfig", 2, "3.0.0", &[]),
    refused("set-config-epoch", 3, "3.0.0", &[Arg::integer("config-epoch")]),
    refused("setslot", -4, "3.0.0", &[Arg::integer("slot"), Arg::one_of("subcommand", SETSLOT)]),
    base("help", wishes::help, 2, LOADING | STALE, "5.0.0", "Prints the subcommands and what they do.")
        .reply(Shape::Array(&Shape::Simple))
        .finish(),
];

const VARYING: &[&str] = &["nondeterministic_output"];
const REFUSED: &str = "Refused: slots are placed by the cluster itself.";

/// Host, port, id, and what else is known of the address.
const SLOT_OWNER: Shape =
    Shape::Tuple(&[Shape::Bulk, Shape::Integer, Shape::Bulk, Shape::Map(&Shape::Bulk, &Shape::Bulk)]);
const NODE_LINES: Shape = Shape::Array(&Shape::Bulk);

const NODE_ID: &[Arg] = &[Arg::string("node-id")];
const RANGES: &[Arg] =
    &[Arg::block("start-slot_end-slot", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple()];
const FAILOVER: &[Arg] = &[Arg::flag("force", "FORCE"), Arg::flag("takeover", "TAKEOVER")];
const RESET: &[Arg] = &[Arg::flag("hard", "HARD"), Arg::flag("soft", "SOFT")];
const SETSLOT: &[Arg] = &[
    Arg::string("importing").token("IMPORTING"),
    Arg::string("migrating").token("MIGRATING"),
    Arg::string("node").token("NODE"),
    Arg::flag("stable", "STABLE"),
];
const SLOTS_RANGE: Arg =
    Arg::block("slotsrange", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).token("SLOTSRANGE");
const SLOTS_ORDER: Arg = Arg::block(
    "orderby",
    &[
        Arg::string("metric"),
        Arg::integer("limit").token("LIMIT").optional(),
        Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional(),
    ],
)
.token("ORDERBY");

const fn base(
    name: &'static str,
    handler: Handler,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
) -> Draft {
    Spec::new(name, handler)
        .arity(arity)
        .flags(flags)
        .group(Group::Cluster)
        .since(since)
        .complexity("O(1).")
        .summary(summary)
}

const fn admin(
    name: &'static str,
    handler: Handler,
    arity: i32,
    since: &'static str,
    summary: &'static str,
) -> Draft {
    base(name, handler, arity, ADMIN | STALE | NO_ASYNC_LOADING, since, summary)
}

const fn about_node(
    name: &'static str,
    handler: Handler,
    since: &'static str,
    summary: &'static str,
    shape: Shape,
) -> Draft {
    base(name, handler, 3, ADMIN | STALE, since, summary).tips(VARYING).args(NODE_ID).reply(shape)
}

const fn refused(name: &'static str, arity: i32, since: &'static str, args: &'static [Arg]) -> Spec {
    admin(name, wishes::refuse, arity, since, REFUSED).args(args).reply(Shape::Nothing).finish()
}
