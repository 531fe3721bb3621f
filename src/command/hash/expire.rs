//! HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT, HPERSIST: when fields are due is set and taken away.
//!
//! The answer for a field: -2 if it is not there; of HEXPIRE and its kind 0 if the condition does not hold, 1 if the due
//! time was set, 2 if it has passed already, which removes the field; of HPERSIST -1 if the field is never due, else 1.

use smallvec::SmallVec;

use crate::command::context::Cx;
use crate::command::hash::{
    CHANGED_KEY, FIELDS, KEY_AND_FIELDS, NOT_POSITIVE, due_ms, fields, only_hash, tell,
};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::{Group, Handler, Spec};
use crate::command::typed::Create;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::hash::Hash;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    setter(
        "hexpire",
        hexpire,
        "Has fields go after so many seconds.",
        &[Arg::key("key", 0), Arg::integer("seconds"), CONDITION, FIELDS],
    ),
    setter(
        "hpexpire",
        hpexpire,
        "Has fields go after so many milliseconds.",
        &[Arg::key("key", 0), Arg::integer("milliseconds"), CONDITION, FIELDS],
    ),
    setter(
        "hexpireat",
        hexpireat,
        "Has fields go at a Unix time in seconds.",
        &[Arg::key("key", 0), Arg::unix_time("unix-time-seconds"), CONDITION, FIELDS],
    ),
    setter(
        "hpexpireat",
        hpexpireat,
        "Has fields go at a Unix time in milliseconds.",
        &[Arg::key("key", 0), Arg::unix_time("unix-time-milliseconds"), CONDITION, FIELDS],
    ),
    Spec::new("hpersist", hpersist)
        .arity(-5)
        .flags(WRITE | FAST)
        .keys(CHANGED_KEY)
        .group(Group::Hash)
        .since("7.4.0")
        .complexity("O(N), N the number of fields.")
        .summary("Has fields stay that were to go.")
        .args(KEY_AND_FIELDS)
        .reply(Shape::Array(&Shape::Integer))
        .finish(),
];

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
)
.optional();

const fn setter(name: &'static str, handler: Handler, summary: &'static str, args: &'static [Arg]) -> Spec {
    Spec::new(name, handler)
        .arity(-6)
        .flags(WRITE | DENYOOM | FAST)
        .keys(CHANGED_KEY)
        .group(Group::Hash)
        .since("7.4.0")
        .complexity("O(N), N the number of fields.")
        .summary(summary)
        .args(args)
        .reply(Shape::Array(&Shape::Integer))
        .finish()
}

/// Answers of a request.
type Answers = SmallVec<[i64; 16]>;

const NO_FIELD: i64 = -2;
const NO_DUE_TIME: i64 = -1;
const NOT_MET: i64 = 0;
const DONE: i64 = 1;
const GONE: i64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    Nx,
    Xx,
    Gt,
    Lt,
}

impl Condition {
    fn named(word: &[u8]) -> Option<Self> {
        let all = [("nx", Self::Nx), ("xx", Self::Xx), ("gt", Self::Gt), ("lt", Self::Lt)];
        let found = all.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, condition)| condition)
    }

    /// Whether a field that is due at `present_ms` may be given `due_ms`; no due time counts as later than any.
    fn holds(self, present_ms: Option<u64>, due_ms: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Nx => present_ms.is_none(),
            Self::Xx => present_ms.is_some(),
            Self::Gt => present_ms.is_some_and(|present_ms| due_ms > present_ms),
            Self::Lt => present_ms.is_none_or(|present_ms| due_ms < present_ms),
        }
    }
}

fn hexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "hexpire", 1000, cx.now_ms)
}

fn hpexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "hpexpire", 1, cx.now_ms)
}

fn hexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "hexpireat", 1000, 0)
}

fn hpexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "hpexpireat", 1, 0)
}

/// Sets the due time `args[2]` × `unit_ms` after `base_ms`.
fn set_due(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    command: &'static str,
    unit_ms: i64,
    base_ms: u64,
) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    only_hash(cx, &key)?;
    let due_ms = due_ms(&args[2], unit_ms, base_ms, command)?;
    let condition = Condition::named(&args[3]);
    let at = if condition.is_some() { 4 } else { 3 };
    let fields = fields(args, at, "ERR Parameter `numFields` should be greater than 0")?;
    let condition = condition.unwrap_or(Condition::Always);
    let edited = cx.edit::<Hash, _>(&key, Create::No, |hash, _| {
        let each = |field| set_field_due(hash, field, condition, due_ms, now_ms);
        let answers: Answers = fields.iter().map(each).collect();
        let changed = answers.iter().any(|answer| [DONE, GONE].contains(answer));
        Edited::when(changed, answers)
    })?;
    let Some((answers, fate)) = edited else {
        write_answers(cx, &Answers::from_elem(NO_FIELD, fields.len()));
        return Ok(());
    };
    let count = |wanted: i64| answers.iter().filter(|&&answer| answer == wanted).count() as u64;
    let (done, gone) = (count(DONE), count(GONE));
    if done + gone > 0 {
        cx.data.dirty += done + gone;
        tell(cx, if gone > 0 { "hdel" } else { "hexpire" }, fate, &key);
    }
    write_answers(cx, &answers);
    Ok(())
}

/// Gives a field a due time if the condition holds; one that has passed removes it.
fn set_field_due(hash: &mut Hash, field: &[u8], condition: Condition, due_ms: u64, now_ms: u64) -> i64 {
    match hash.as_ref().due_ms(field, now_ms) {
        None => NO_FIELD,
        Some(present_ms) if !condition.holds(present_ms, due_ms) => NOT_MET,
        Some(_) if due_ms <= now_ms => {
            hash.remove(field, now_ms);
            GONE
        }
        Some(_) => {
            hash.set_due(field, Some(due_ms));
            DONE
        }
    }
}

fn hpersist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    only_hash(cx, &key)?;
    let fields = fields(args, 2, NOT_POSITIVE)?;
    let edited = cx.edit::<Hash, _>(&key, Create::No, |hash, _| {
        let each = |field| match hash.as_ref().due_ms(field, now_ms) {
            None => NO_FIELD,
            Some(None) => NO_DUE_TIME,
            Some(Some(_)) => {
                hash.set_due(field, None);
                DONE
            }
        };
        let answers: Answers = fields.iter().map(each).collect();
        Edited::when(answers.contains(&DONE), answers)
    })?;
    let Some((answers, fate)) = edited else {
        write_answers(cx, &Answers::from_elem(NO_FIELD, fields.len()));
        return Ok(());
    };
    if answers.contains(&DONE) {
        cx.data.dirty += 1;
        tell(cx, "hpersist", fate, &key);
    }
    write_answers(cx, &answers);
    Ok(())
}

fn write_answers(cx: &mut Cx<'_>, answers: &[i64]) {
    cx.reply.array(answers.len());
    answers.iter().for_each(|&answer| cx.reply.integer(answer));
}
