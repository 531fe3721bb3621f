//! Commands of Redis that have no place here and say so: replication between servers, snapshots, moving keys by hand.
//! An error is better than a pretended success.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{
    ADMIN, ALLOW_BUSY, Flags, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, STALE, WRITE,
};
use crate::command::spec::key_spec::{ACCESS, DELETE, INCOMPLETE, KeyFlags, KeySpec, RW};
use crate::command::spec::{Group, Handler, Spec, category};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    refused(
        "replicaof",
        no_replication,
        3,
        ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING,
        "5.0.0",
        REPLICA_ARGS,
    ),
    Spec::new("slaveof", no_replication)
        .arity(3)
        .flags(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING)
        .group(Group::Server)
        .since("1.0.0")
        .complexity(COMPLEXITY)
        .summary(SUMMARY)
        .deprecated("5.0.0", "`REPLICAOF`")
        .args(REPLICA_ARGS)
        .reply(Shape::Nothing)
        .finish(),
    refused(
        "psync",
        no_replication,
        -3,
        ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI,
        "2.8.0",
        &[Arg::string("replicationid"), Arg::integer("offset"), Arg::string("option").optional().multiple()],
    ),
    refused("sync", no_replication, 1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, "1.0.0", &[]),
    Spec::new("replconf", no_replication)
        .arity(-1)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
        .group(Group::Server)
        .since("3.0.0")
        .complexity(COMPLEXITY)
        .summary(SUMMARY)
        .system()
        .args(&[Arg::string("option").optional().multiple()])
        .reply(Shape::Nothing)
        .finish(),
    refused("save", no_snapshots, 1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, "1.0.0", &[]),
    refused(
        "bgsave",
        no_snapshots,
        -1,
        ADMIN | NOSCRIPT | NO_ASYNC_LOADING,
        "1.0.0",
        &[Arg::flag("schedule", "SCHEDULE").optional().since("3.2.2")],
    ),
    refused("bgrewriteaof", no_snapshots, 1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING, "1.0.0", &[]),
    Spec::new("migrate", no_migration)
        .arity(-6)
        .flags(WRITE)
        .keys(&[
            KeySpec::at(3).flags(RW | ACCESS | DELETE),
            KeySpec::keyword("KEYS", -2).find_range(-1, 1, 0).flags(RW | ACCESS | DELETE | INCOMPLETE),
        ])
        .key_finder(migrated_keys)
        .categories(category::DANGEROUS)
        .tips(&["nondeterministic_output"])
        .group(Group::Generic)
        .since("2.6.0")
        .complexity(COMPLEXITY)
        .summary(SUMMARY)
        .args(MIGRATE_ARGS)
        .reply(Shape::Nothing)
        .finish(),
];

const COMPLEXITY: &str = "O(1).";
const SUMMARY: &str = "Refused: known only so that the error can say why.";

const REPLICA_ARGS: &[Arg] = &[Arg::one_of(
    "args",
    &[
        Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
        Arg::block("no-one", &[Arg::flag("no", "NO"), Arg::flag("one", "ONE")]),
    ],
)];

const MIGRATE_ARGS: &[Arg] = &[
    Arg::string("host"),
    Arg::integer("port"),
    Arg::one_of("key-selector", &[Arg::key("key", 0), Arg::flag("empty-string", "\"\"")]),
    Arg::integer("destination-db"),
    Arg::integer("timeout"),
    Arg::flag("copy", "COPY").optional().since("3.0.0"),
    Arg::flag("replace", "REPLACE").optional().since("3.0.0"),
    Arg::one_of(
        "authentication",
        &[
            Arg::string("password").token("AUTH").since("4.0.7"),
            Arg::block("username-password", &[Arg::string("username"), Arg::string("password")])
                .token("AUTH2")
                .since("6.0.0"),
        ],
    )
    .optional(),
    Arg::key("key", 1).token("KEYS").optional().multiple().since("3.0.6"),
];

const fn refused(
    name: &'static str,
    handler: Handler,
    arity: i32,
    flags: Flags,
    since: &'static str,
    args: &'static [Arg],
) -> Spec {
    Spec::new(name, handler)
        .arity(arity)
        .flags(flags)
        .group(Group::Server)
        .since(since)
        .complexity(COMPLEXITY)
        .summary(SUMMARY)
        .args(args)
        .reply(Shape::Nothing)
        .finish()
}

/// The key at its place, or, where that is empty, those behind KEYS; both at once name none, as in Redis.
fn migrated_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> bool {
    const FLAGS: KeyFlags = RW | ACCESS | DELETE;
    let mut at = 6;
    while at < args.len() {
        let word = args[at].to_ascii_lowercase();
        match word.as_slice() {
            b"keys" if !args[3].is_empty() => return true,
            b"keys" => {
                (at + 1..args.len()).for_each(|key| visit(key, FLAGS | INCOMPLETE));
                return true;
            }
            b"auth" => at += 2,
            b"auth2" => at += 3,
            _ => at += 1,
        }
    }
    visit(3, FLAGS);
    true
}

fn no_replication(_: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    Err(Error::Fixed("ERR replication is not supported: this server is a master without replicas"))
}

fn no_snapshots(_: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    Err(Error::Fixed("ERR saving to disk is not supported: all data is in memory only"))
}

fn no_migration(_: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    Err(Error::Fixed(
        "ERR MIGRATE is not supported: copy keys with GET, PTTL and SET, or let the client do so",
    ))
}
