//! HGETEX and HSETEX: values read or set together with when their fields are due.

use crate::base::num::parse_i64;
use crate::command::collection::write_element;
use crate::command::context::Cx;
use crate::command::hash::{
    FIELDS, KEY, NOT_POSITIVE, due_ms, edit_replying, fields, only_hash, tell, write_nulls,
};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::{Edited, Fate};
use crate::store::value::Thresholds;
use crate::store::value::hash::{FieldDue, Hash};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("hgetex", hgetex)
        .arity(-5)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | UPDATE).notes("It changes when fields are due.")])
        .group(Group::Hash)
        .since("8.0.0")
        .complexity("O(N), N the number of fields.")
        .summary("Returns the values of fields and changes when they are due.")
        .args(&[
            Arg::key("key", 0),
            Arg::one_of(
                "expiration",
                &[
                    Arg::integer("seconds").token("EX"),
                    Arg::integer("milliseconds").token("PX"),
                    Arg::unix_time("unix-time-seconds").token("EXAT"),
                    Arg::unix_time("unix-time-milliseconds").token("PXAT"),
                    Arg::flag("persist", "PERSIST"),
                ],
            )
            .optional(),
            FIELDS,
        ])
        .reply(Shape::Array(&Shape::BulkOrNull))
        .finish(),
    Spec::new("hsetex", hsetex)
        .arity(-6)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | UPDATE)])
        .group(Group::Hash)
        .since("8.0.0")
        .complexity("O(N), N the number of fields.")
        .summary(
            "Sets the values of fields, on a condition if one is given, and when they are due; 1 if it did.",
        )
        .args(&[
            Arg::key("key", 0),
            Arg::one_of("condition", &[Arg::flag("fnx", "FNX"), Arg::flag("fxx", "FXX")]).optional(),
            Arg::one_of(
                "expiration",
                &[
                    Arg::integer("seconds").token("EX"),
                    Arg::integer("milliseconds").token("PX"),
                    Arg::unix_time("unix-time-seconds").token("EXAT"),
                    Arg::unix_time("unix-time-milliseconds").token("PXAT"),
                    Arg::flag("keepttl", "KEEPTTL"),
                ],
            )
            .optional(),
            Arg::block(
                "fields",
                &[
                    Arg::integer("numfields"),
                    Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
                ],
            )
            .token("FIELDS"),
        ])
        .reply(Shape::Integer)
        .finish(),
];

/// EX, PX, EXAT and PXAT with the ms of their unit, and whether they count from now.
const TIMES: [(&str, i64, bool); 4] =
    [("ex", 1000, true), ("px", 1, true), ("exat", 1000, false), ("pxat", 1, false)];

/// The unit of a word that says when fields are due: its ms, and what it counts from.
fn time_word(word: &[u8], now_ms: u64) -> Option<(i64, u64)> {
    let (_, unit_ms, from_now) =
        TIMES.into_iter().find(|time| word.eq_ignore_ascii_case(time.0.as_bytes()))?;
    Some((unit_ms, if from_now { now_ms } else { 0 }))
}

/// What HGETEX does to the due times.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Never,
    At(u64),
}

fn hgetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    only_hash(cx, &key)?;
    let (change, at) = if let Some((unit_ms, base_ms)) = time_word(&args[2], now_ms) {
        (Change::At(due_ms(&args[3], unit_ms, base_ms, "hgetex")?), 4)
    } else if args[2].eq_ignore_ascii_case(b"persist") {
        (Change::Never, 3)
    } else {
        (Change::Nothing, 2)
    };
    let fields = fields(args, at, NOT_POSITIVE)?;
    let edited = edit_replying(cx, &key, |hash, reply| {
        let (mut updated, mut deleted) = (0u64, 0u64);
        reply.array(fields.len());
        for field in fields.iter() {
            match hash.as_ref().get(field, now_ms) {
                Some(value) => write_element(reply, value),
                None => reply.null(),
            }
            match (hash.as_ref().due_ms(field, now_ms), change) {
                (None, _) | (_, Change::Nothing) | (Some(None), Change::Never) => {}
                (Some(_), Change::At(due_ms)) if due_ms <= now_ms => {
                    hash.remove(field, now_ms);
                    deleted += 1;
                }
                (Some(_), change) => {
                    hash.set_due(field, if let Change::At(due_ms) = change { Some(due_ms) } else { None });
                    updated += 1;
                }
            }
        }
        Edited::when(updated + deleted > 0, (updated, deleted))
    })?;
    let Some(((updated, deleted), fate)) = edited else {
        write_nulls(cx.reply, fields);
        return Ok(());
    };
    cx.data.dirty += updated + deleted;
    if updated > 0 {
        let event = if matches!(change, Change::Never) { "hpersist" } else { "hexpire" };
        cx.data.event(Class::Hash, event, key.bytes);
    }
    if deleted > 0 {
        tell(cx, "hdel", fate, &key);
    }
    Ok(())
}

/// When HSETEX writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Always,
    /// FNX: none of the fields is there.
    NoneThere,
    /// FXX: all of them are.
    AllThere,
}

/// What stands between HSETEX's key and its end.
struct SetRequest<'a> {
    condition: Condition,
    due: Option<FieldDue>,
    /// Fields and values.
    pairs: Args<'a>,
}

impl<'a> SetRequest<'a> {
    fn parse(args: Args<'a>, now_ms: u64) -> Result<Self, Error> {
        let mut request = Self { condition: Condition::Always, due: None, pairs: args };
        // Which of the words about due times was said: the same one may be said again.
        let mut said: Option<&[u8]> = None;
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"fields") {
                request.pairs = pairs(args, at)?;
                return Ok(request);
            }
            let time = time_word(word, now_ms);
            if time.is_some() || is(b"keepttl") {
                if said.is_some_and(|before| !is(before)) {
                    let text = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
                    return Err(Error::Fixed(text));
                }
                said = Some(word);
                request.due = Some(FieldDue::Keep);
                if let Some((unit_ms, base_ms)) = time {
                    at += 1;
                    let number = args.get(at).ok_or(Error::Fixed("ERR missing expire time"))?;
                    request.due = Some(FieldDue::At(due_ms(number, unit_ms, base_ms, "hsetex")?));
                }
            } else if is(b"fnx") || is(b"fxx") {
                let condition = if is(b"fnx") { Condition::NoneThere } else { Condition::AllThere };
                if ![Condition::Always, condition].contains(&request.condition) {
                    let text = "ERR Only one of FXX or FNX arguments can be specified";
                    return Err(Error::Fixed(text));
                }
                request.condition = condition;
            } else {
                return Err(Error::err(format_args!("unknown argument: {}", String::from_utf8_lossy(word))));
            }
            at += 1;
        }
        Err(Error::wrong_arity("hsetex"))
    }

    fn fields(&self) -> impl Iterator<Item = &'a [u8]> {
        self.pairs.iter().step_by(2)
    }

    /// Sets the fields if the condition holds; says whether it did.
    fn apply(&self, hash: &mut Hash, thresholds: &Thresholds, now_ms: u64) -> Edited<bool> {
        let there = |field: &[u8]| hash.as_ref().get(field, now_ms).is_some();
        let holds = match self.condition {
            Condition::Always => true,
            Condition::NoneThere => !self.fields().any(there),
            Condition::AllThere => self.fields().all(there),
        };
        if !holds {
            return Edited::no(false);
        }
        let mut words = self.pairs.iter();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            if self.is_past(now_ms) {
                hash.remove(field, now_ms);
            } else {
                hash.set(field, value, self.due.unwrap_or(FieldDue::Never), thresholds, now_ms);
            }
        }
        Edited::yes(true)
    }

    /// Whether the fields are due already, so that they go instead of being set.
    fn is_past(&self, now_ms: u64) -> bool {
        matches!(self.due, Some(FieldDue::At(due_ms)) if due_ms <= now_ms)
    }
}

/// The fields and values behind `FIELDS numfields`, which stands at `at`.
fn pairs(args: Args<'_>, at: usize) -> Result<Args<'_>, Error> {
    if at + 3 >= args.len() {
        return Err(Error::wrong_arity("hsetex"));
    }
    let number = parse_i64(&args[at + 1]).and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|number| (1..=i32::MAX as u32).contains(number));
    let number = number.ok_or(Error::Fixed("ERR invalid number of fields"))?;
    let pairs = args.from(at + 2);
    if pairs.len() != number as usize * 2 {
        return Err(Error::wrong_arity("hsetex"));
    }
    Ok(pairs)
}

fn hsetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let request = SetRequest::parse(args, now_ms)?;
    let edited =
        cx.edit::<Hash, _>(&key, Create::Yes, |hash, thresholds| request.apply(hash, thresholds, now_ms))?;
    let Some((true, fate)) = edited else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.data.dirty += request.pairs.len() as u64 / 2;
    cx.data.event(Class::Hash, "hset", key.bytes);
    if request.is_past(now_ms) {
        // A hash that was made only to lose its fields again was never stored.
        let fate = if fate == Fate::Untouched { Fate::Removed } else { fate };
        tell(cx, "hdel", fate, &key);
    } else if matches!(request.due, Some(FieldDue::At(_))) {
        cx.data.event(Class::Hash, "hexpire", key.bytes);
    }
    cx.reply.integer(1);
    Ok(())
}
