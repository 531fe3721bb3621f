//! EXPIRE and its family, TTL and its family, PERSIST.
//!
//! A due time is absolute, in Unix ms. One that has passed already removes the key at once, and the answer is 1.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeySpec, RO, RW, UPDATE};
use crate::command::spec::{Group, Handler, Spec};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    setter(
        "expire",
        expire,
        "1.0.0",
        "Sets a key's time to live in seconds.",
        &[Arg::key("key", 0), Arg::integer("seconds"), CONDITION],
    ),
    setter(
        "pexpire",
        pexpire,
        "2.6.0",
        "Sets a key's time to live in milliseconds.",
        &[Arg::key("key", 0), Arg::integer("milliseconds"), CONDITION],
    ),
    setter(
        "expireat",
        expireat,
        "1.2.0",
        "Sets the Unix time in seconds at which a key goes.",
        &[Arg::key("key", 0), Arg::unix_time("unix-time-seconds"), CONDITION],
    ),
    setter(
        "pexpireat",
        pexpireat,
        "2.6.0",
        "Sets the Unix time in milliseconds at which a key goes.",
        &[Arg::key("key", 0), Arg::unix_time("unix-time-milliseconds"), CONDITION],
    ),
    getter("ttl", ttl, "1.0.0", "Gives a key's time to live in seconds."),
    getter("pttl", pttl, "2.6.0", "Gives a key's time to live in milliseconds."),
    getter("expiretime", expiretime, "7.0.0", "Gives the Unix time in seconds at which a key goes."),
    getter("pexpiretime", pexpiretime, "7.0.0", "Gives the Unix time in milliseconds at which a key goes."),
    Spec::new("persist", persist)
        .arity(2)
        .flags(WRITE | FAST)
        .keys(CHANGED_KEY)
        .group(Group::Generic)
        .since("2.2.0")
        .complexity("O(1).")
        .summary("Takes a key's time to live away.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
];

const CHANGED_KEY: &[KeySpec] = &[KeySpec::at(1).flags(RW | UPDATE)];
const READ_KEY: &[KeySpec] = &[KeySpec::at(1).flags(RO | ACCESS)];
const KEY: &[Arg] = &[Arg::key("key", 0)];
const VARYING: &[&str] = &["nondeterministic_output"];

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
)
.since("7.0.0")
.optional();

const fn setter(
    name: &'static str,
    handler: Handler,
    since: &'static str,
    summary: &'static str,
    args: &'static [Arg],
) -> Spec {
    Spec::new(name, handler)
        .arity(-3)
        .flags(WRITE | FAST)
        .keys(CHANGED_KEY)
        .group(Group::Generic)
        .since(since)
        .complexity("O(1).")
        .summary(summary)
        .history(&[("7.0.0", "The options `NX`, `XX`, `GT` and `LT` came.")])
        .args(args)
        .reply(Shape::Integer)
        .finish()
}

const fn getter(name: &'static str, handler: Handler, since: &'static str, summary: &'static str) -> Spec {
    let draft = Spec::new(name, handler)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(READ_KEY)
        .group(Group::Generic)
        .since(since)
        .complexity("O(1).")
        .summary(summary)
        .args(KEY)
        .reply(Shape::Integer);
    // What a moment later gives another answer; absolute times do not.
    if matches!(name.as_bytes()[0], b't' | b'p') && matches!(name.as_bytes()[1], b't') {
        return draft.tips(VARYING).finish();
    }
    draft.finish()
}

/// NX, XX, GT, LT.
#[derive(Clone, Copy, Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

/// An option as Redis shows it: C ends it at a NUL, and an error line loses the line breaks at its end.
fn shown(option: &[u8]) -> String {
    let end = option.iter().position(|byte| *byte == 0).unwrap_or(option.len());
    String::from_utf8_lossy(&option[..end]).trim_end_matches(['\r', '\n']).to_owned()
}

impl Condition {
    fn parse(args: Args<'_>) -> Result<Self, Error> {
        let mut condition = Self::default();
        for option in args.iter() {
            let known = match option.to_ascii_lowercase().as_slice() {
                b"nx" => &mut condition.nx,
                b"xx" => &mut condition.xx,
                b"gt" => &mut condition.gt,
                b"lt" => &mut condition.lt,
                _ => {
                    return Err(Error::err(format!("Unsupported option {}", shown(option))));
                }
            };
            *known = true;
        }
        if condition.nx && (condition.xx || condition.gt || condition.lt) {
            return Err(Error::KeyspaceOptions);
        }
        if condition.gt && condition.lt {
            return Err(Error::GreaterAndLess);
        }
        Ok(condition)
    }

    /// Whether the due time may be set where `present_ms` stands; none counts as never due.
    fn holds(self, present_ms: Option<u64>, due_ms: i64) -> bool {
        let beyond = |present_ms: u64| i128::from(due_ms) > i128::from(present_ms);
        let before = |present_ms: u64| i128::from(due_ms) < i128::from(present_ms);
        !(self.nx && present_ms.is_some()
            || self.xx && present_ms.is_none()
            || self.gt && !present_ms.is_some_and(beyond)
            || self.lt && !present_ms.is_none_or(before))
    }
}

fn expire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "expire", 1000, cx.now_ms)
}

fn pexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "pexpire", 1, cx.now_ms)
}

fn expireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "expireat", 1000, 0)
}

fn pexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_due(cx, args, "pexpireat", 1, 0)
}

/// Sets the due time `args[2]` × `unit_ms` after `base_ms`.
fn set_due(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    command: &'static str,
    unit_ms: i64,
    base_ms: u64,
) -> Result<(), Error> {
    let condition = Condition::parse(args.from(3))?;
    let value = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    let due_ms = value
        .checked_mul(unit_ms)
        .and_then(|ms| ms.checked_add(base_ms as i64))
        .ok_or_else(|| Error::invalid_expire_time(command))?;
    let key = cx.data.key(&args[1]);
    let Some(found) = cx.data.find(&key) else {
        cx.reply.integer(0);
        return Ok(());
    };
    let db = cx.data.db(&key);
    if !condition.holds(db.due_ms(found), due_ms) {
        cx.reply.integer(0);
        return Ok(());
    }
    let event = if due_ms <= cx.now_ms as i64 {
        db.remove(key.hashed, found);
        "del"
    } else {
        db.set_due(&key, found, Some(due_ms as u64)).map_err(|_| Error::OutOfMemory)?;
        "expire"
    };
    cx.data.event(Class::Generic, event, key.bytes);
    cx.data.dirty += 1;
    cx.reply.integer(1);
    Ok(())
}

fn ttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    // Rounded to the nearest second, as Redis does.
    answer_due(cx, args, |due_ms, now_ms| (due_ms.saturating_sub(now_ms) + 500) / 1000)
}

fn pttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    answer_due(cx, args, |due_ms, now_ms| due_ms.saturating_sub(now_ms))
}

fn expiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    answer_due(cx, args, |due_ms, _| (due_ms + 500) / 1000)
}

fn pexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    answer_due(cx, args, |due_ms, _| due_ms)
}

/// Answers −2 without the key, −1 without a due time, else what `shown` makes of due time and now.
fn answer_due(cx: &mut Cx<'_>, args: Args<'_>, shown: impl Fn(u64, u64) -> u64) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let answer = match cx.data.look(&key) {
        None => -2,
        Some(found) => cx.data.db(&key).due_ms(found).map_or(-1, |due_ms| shown(due_ms, cx.now_ms) as i64),
    };
    cx.reply.integer(answer);
    Ok(())
}

fn persist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let found = cx.data.find(&key);
    let db = cx.data.db(&key);
    let Some(found) = found.filter(|&found| db.due_ms(found).is_some()) else {
        cx.reply.integer(0);
        return Ok(());
    };
    db.set_due(&key, found, None).map_err(|_| Error::OutOfMemory)?;
    cx.data.event(Class::Generic, "persist", key.bytes);
    cx.data.dirty += 1;
    cx.reply.integer(1);
    Ok(())
}
