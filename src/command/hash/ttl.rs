//! HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME: when fields are due. The answer is -2 for a field that is not there, -1 for one
//! that is never due.

use crate::command::context::Cx;
use crate::command::hash::{KEY_AND_FIELDS, NOT_POSITIVE, READ_KEY, fields};
use crate::command::spec::flags::{FAST, READONLY};
use crate::command::spec::{Draft, Group, Handler, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::hash::Hash;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    getter("httl", httl, "Returns the seconds until fields are due.").tips(VARYING).finish(),
    getter("hpttl", hpttl, "Returns the milliseconds until fields are due.").tips(VARYING).finish(),
    getter("hexpiretime", hexpiretime, "Returns the Unix times in seconds at which fields are due.").finish(),
    getter("hpexpiretime", hpexpiretime, "Returns the Unix times in milliseconds at which fields are due.")
        .finish(),
];

/// What a moment later gives another answer.
const VARYING: &[&str] = &["nondeterministic_output"];

const INTEGERS: Shape = Shape::Array(&Shape::Integer);

const fn getter(name: &'static str, handler: Handler, summary: &'static str) -> Draft {
    Spec::new(name, handler)
        .arity(-5)
        .flags(READONLY | FAST)
        .keys(READ_KEY)
        .group(Group::Hash)
        .since("7.4.0")
        .complexity("O(N), N the number of fields.")
        .summary(summary)
        .args(KEY_AND_FIELDS)
        .reply(INTEGERS)
}

/// Seconds are rounded up, as in Redis.
const fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

fn httl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    answer_due(cx, args, |due_ms, now_ms| seconds(due_ms.saturating_sub(now_ms)))
}

fn hpttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    answer_due(cx, args, |due_ms, now_ms| due_ms.saturating_sub(now_ms))
}

fn hexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    answer_due(cx, args, |due_ms, _| seconds(due_ms))
}

fn hpexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    answer_due(cx, args, |due_ms, _| due_ms)
}

/// Answers for each field what `shown` makes of its due time and now.
fn answer_due(cx: &mut Cx<'_>, args: Args<'_>, shown: impl Fn(u64, u64) -> u64) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let hash = cx.data.read_value::<Hash>(&key)?;
    let fields = fields(args, 2, NOT_POSITIVE)?;
    cx.reply.array(fields.len());
    for field in fields.iter() {
        cx.reply.integer(match hash.and_then(|hash| hash.due_ms(field, now_ms)) {
            None => -2,
            Some(None) => -1,
            Some(Some(due_ms)) => shown(due_ms, now_ms) as i64,
        });
    }
    Ok(())
}
