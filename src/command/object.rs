//! OBJECT: how a value is stored and how much it is used.
//!
//! IDLETIME and FREQ answer under every eviction policy (Redis refuses one of them): tools such as `redis-cli
//! --hotkeys` give up on an error. IDLETIME wraps after 18 hours, FREQ counts to 3: the policies here need no more.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::key_spec::{KeySpec, RO};
use crate::command::spec::{Group, Handler, Spec, category};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::{Db, Found};
use crate::store::value::ValueRef;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("object", SUBCOMMANDS)
    .group(Group::Generic)
    .since("2.2.3")
    .complexity("Depends on the subcommand.")
    .summary("Looks at how values are stored.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    row("encoding", encoding, "2.2.3", "Names the way in which a value is stored.", Shape::BulkOrNull),
    row("freq", freq, "4.0.0", "Tells how often a key was used lately, from 0 to 3.", Shape::OneOf(NUMBER)),
    row("idletime", idletime, "2.2.3", "Tells the seconds since a key was last used.", Shape::OneOf(NUMBER)),
    row(
        "refcount",
        refcount,
        "2.2.3",
        "Tells how many keys share a value: always one here.",
        Shape::OneOf(NUMBER),
    ),
    help_row("6.2.0", Group::Generic, category::KEYSPACE),
];

const NUMBER: &[Shape] = &[Shape::Integer, Shape::Null];
const KEY: &[KeySpec] = &[KeySpec::at(2).flags(RO)];
const ARGS: &[Arg] = &[Arg::key("key", 0)];
const TIPS: &[&str] = &["nondeterministic_output"];
/// Longest string that is stored as "embstr" in Redis; clients know the number.
const EMBSTR_MAX_BYTES: usize = 44;
/// Longest text of an integer.
const INTEGER_MAX_BYTES: usize = 20;

const fn row(
    name: &'static str,
    handler: Handler,
    since: &'static str,
    summary: &'static str,
    shape: Shape,
) -> Spec {
    Spec::new(name, handler)
        .arity(3)
        .flags(READONLY)
        .keys(KEY)
        .tips(TIPS)
        .group(Group::Generic)
        .since(since)
        .complexity("O(1).")
        .summary(summary)
        .args(ARGS)
        .reply(shape)
        .finish()
}

/// Answers null without the key, else what `answer` makes of its entry.
fn look(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    answer: impl FnOnce(&mut crate::resp::reply::Reply, &Db, Found),
) -> Result<(), Error> {
    let key = cx.data.key(&args[2]);
    match cx.data.look(&key) {
        Some(found) => answer(cx.reply, cx.data.db(&key), found),
        None => cx.reply.null(),
    }
    Ok(())
}

/// The name that Redis has for the way in which it would store this string.
pub fn encoding_name(db: &Db, found: Found) -> &'static str {
    let bytes = match db.value(found) {
        ValueRef::Str(bytes) => bytes,
        other => return other.encoding(),
    };
    if db.is_raw(found) {
        "raw"
    } else if bytes.len() <= INTEGER_MAX_BYTES && parse_i64(bytes).is_some() {
        "int"
    } else if bytes.len() <= EMBSTR_MAX_BYTES {
        "embstr"
    } else {
        "raw"
    }
}

fn encoding(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    look(cx, args, |reply, db, found| reply.bulk_str(encoding_name(db, found)))
}

fn freq(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    look(cx, args, |reply, db, found| reply.integer(i64::from(db.frequency(found))))
}

fn idletime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    look(cx, args, |reply, db, found| reply.integer(db.idle_seconds(found, now_ms) as i64))
}

fn refcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    look(cx, args, |reply, _, _| reply.integer(1))
}
