//! SET and what it replaced (SETNX, SETEX, PSETEX, GETSET), and the reads that also write: GETEX, GETDEL.
//!
//! Options are checked completely before the key is looked at. A write replaces value and due time in one step, so
//! that no reader sees one without the other.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, INSERT, KeyFlags, OW, RW, UPDATE, VARIABLE_FLAGS};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, read, store, write_value};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::{Db, Due, Found};
use crate::store::value::ValueType;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("set", set)
        .arity(-3)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY
            .flags(RW | ACCESS | UPDATE | VARIABLE_FLAGS)
            .notes("With GET or IFEQ the present value is read, otherwise only overwritten.")])
        .key_finder(set_keys)
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Sets the value of a key, on a condition if one is given, and when it is due.")
        .history(&[
            ("2.6.12", "EX, PX, NX and XX."),
            ("6.0.0", "KEEPTTL."),
            ("6.2.0", "GET, EXAT and PXAT."),
            ("7.0.0", "NX and GET may be given together."),
            ("8.4.0", "IFEQ."),
        ])
        .args(&[
            Arg::key("key", 0),
            Arg::string("value"),
            Arg::one_of(
                "condition",
                &[
                    Arg::flag("nx", "NX"),
                    Arg::flag("xx", "XX"),
                    Arg::string("comparison-value").token("IFEQ").since("8.4.0"),
                ],
            )
            .optional()
            .since("2.6.12"),
            Arg::flag("get", "GET").optional().since("6.2.0"),
            Arg::one_of("expiration", SET_EXPIRATION).optional(),
        ])
        .reply(Shape::OneOf(&[Shape::Ok, Shape::BulkOrNull]))
        .finish(),
    Spec::new("setnx", setnx)
        .arity(3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(OW | INSERT)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Sets the value of a key that has none; 1 if it did, 0 if the key has one.")
        .deprecated("2.6.12", "`SET` with the `NX` argument")
        .args(&[Arg::key("key", 0), Arg::string("value")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("setex", setex)
        .arity(4)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(OW | UPDATE)])
        .group(Group::String)
        .since("2.0.0")
        .complexity("O(1).")
        .summary("Sets the value of a key for so many seconds.")
        .deprecated("2.6.12", "`SET` with the `EX` argument")
        .args(&[Arg::key("key", 0), Arg::integer("seconds"), Arg::string("value")])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("psetex", psetex)
        .arity(4)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(OW | UPDATE)])
        .group(Group::String)
        .since("2.6.0")
        .complexity("O(1).")
        .summary("Sets the value of a key for so many milliseconds.")
        .deprecated("2.6.12", "`SET` with the `PX` argument")
        .args(&[Arg::key("key", 0), Arg::integer("milliseconds"), Arg::string("value")])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("getset", getset)
        .arity(3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE)])
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Sets the value of a key and returns the one that it had.")
        .deprecated("6.2.0", "`SET` with the `GET` argument")
        .args(&[Arg::key("key", 0), Arg::string("value")])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("getex", getex)
        .arity(-2)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | ACCESS | UPDATE).notes("It changes when the key is due.")])
        .group(Group::String)
        .since("6.2.0")
        .complexity("O(1).")
        .summary("Returns the value of a key and changes when it is due.")
        .args(&[Arg::key("key", 0), Arg::one_of("expiration", GETEX_EXPIRATION).optional()])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("getdel", getdel)
        .arity(2)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | ACCESS | DELETE)])
        .group(Group::String)
        .since("6.2.0")
        .complexity("O(1).")
        .summary("Returns the value of a key and deletes the key.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::BulkOrNull)
        .finish(),
];

const SET_EXPIRATION: &[Arg] = &[
    Arg::integer("seconds").token("EX").since("2.6.12"),
    Arg::integer("milliseconds").token("PX").since("2.6.12"),
    Arg::unix_time("unix-time-seconds").token("EXAT").since("6.2.0"),
    Arg::unix_time("unix-time-milliseconds").token("PXAT").since("6.2.0"),
    Arg::flag("keepttl", "KEEPTTL").since("6.0.0"),
];

const GETEX_EXPIRATION: &[Arg] = &[
    Arg::integer("seconds").token("EX"),
    Arg::integer("milliseconds").token("PX"),
    Arg::unix_time("unix-time-seconds").token("EXAT"),
    Arg::unix_time("unix-time-milliseconds").token("PXAT"),
    Arg::flag("persist", "PERSIST"),
];

/// SET's key, whose flags depend on the options.
fn set_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> bool {
    let reads = |word: &[u8]| word.eq_ignore_ascii_case(b"get") || word.eq_ignore_ascii_case(b"ifeq");
    let flags = if args.from(3).iter().any(reads) { RW | ACCESS | UPDATE } else { OW | UPDATE };
    visit(1, flags);
    true
}

/// When a time option's number falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Milliseconds,
    /// EXAT: seconds since 1970.
    AtSeconds,
    /// PXAT: milliseconds since 1970.
    AtMilliseconds,
}

impl Unit {
    fn of_option(word: &[u8]) -> Option<Self> {
        let units = [
            (&b"ex"[..], Self::Seconds),
            (b"px", Self::Milliseconds),
            (b"exat", Self::AtSeconds),
            (b"pxat", Self::AtMilliseconds),
        ];
        units.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
    }

    fn is_absolute(self) -> bool {
        matches!(self, Self::AtSeconds | Self::AtMilliseconds)
    }

    /// The number as Unix ms.
    ///
    /// # Errors
    /// Not an integer; or zero, negative or beyond the representable time, in the name of `command`.
    fn due_ms(self, number: &[u8], now_ms: u64, command: &'static str) -> Result<u64, Error> {
        let number = parse_i64(number).ok_or(Error::NotAnInteger)?;
        let scale = if matches!(self, Self::Seconds | Self::AtSeconds) { 1000 } else { 1 };
        let base_ms = if self.is_absolute() { 0 } else { now_ms as i64 };
        let due_ms = if number > 0 {
            number.checked_mul(scale).and_then(|span_ms| span_ms.checked_add(base_ms))
        } else {
            None
        };
        due_ms.map(|due_ms| due_ms as u64).ok_or_else(|| Error::invalid_expire_time(command))
    }
}

/// What the options say about the due time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expiration<'a> {
    /// Nothing.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT, with its number as sent.
    Time(Unit, &'a [u8]),
}

impl<'a> Expiration<'a> {
    /// Whether `other` may follow: only the same option again, which then counts.
    fn allows(self, other: Self) -> bool {
        match (self, other) {
            (Self::Unsaid, _) => true,
            (Self::Time(unit, _), Self::Time(other, _)) => unit == other,
            _ => self == other,
        }
    }

    fn replace(&mut self, other: Expiration<'a>) -> Result<(), Error> {
        if !self.allows(other) {
            return Err(Error::Syntax);
        }
        *self = other;
        Ok(())
    }
}

/// When SET writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition<'a> {
    #[default]
    Always,
    /// NX
    IfAbsent,
    /// XX
    IfPresent,
    /// IFEQ
    IfEqual(&'a [u8]),
}

impl Condition<'_> {
    /// Whether it is fulfilled.
    ///
    /// # Errors
    /// A value is to be compared, and the key's is of another type.
    fn holds(self, db: &Db, found: Option<Found>) -> Result<bool, Error> {
        Ok(match self {
            Self::Always => true,
            Self::IfAbsent => found.is_none(),
            Self::IfPresent => found.is_some(),
            Self::IfEqual(_) if found.is_some_and(|found| db.value_type(found) != ValueType::String) => {
                return Err(Error::WrongType);
            }
            Self::IfEqual(value) => found.is_some_and(|found| db.string(found) == value),
        })
    }
}

/// SET's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SetOptions<'a> {
    condition: Condition<'a>,
    /// GET: the old value is the reply.
    get: bool,
    expiration: Expiration<'a>,
}

impl<'a> SetOptions<'a> {
    /// Reads the words behind the value, in any order.
    ///
    /// # Errors
    /// A word that is none of the options, or that does not go with those before it.
    fn parse(words: Args<'a>) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if let Some(unit) = Unit::of_option(word) {
                let number = words.next().ok_or(Error::Syntax)?;
                options.expiration.replace(Expiration::Time(unit, number))?;
            } else if is(b"nx") {
                options.require(Condition::IfAbsent)?;
            } else if is(b"xx") {
                options.require(Condition::IfPresent)?;
            } else if is(b"ifeq") && options.condition == Condition::Always {
                options.require(Condition::IfEqual(words.next().ok_or(Error::Syntax)?))?;
            } else if is(b"get") {
                options.get = true;
            } else if is(b"keepttl") {
                options.expiration.replace(Expiration::Keep)?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    fn require(&mut self, condition: Condition<'a>) -> Result<(), Error> {
        if self.condition != Condition::Always && self.condition != condition {
            return Err(Error::Syntax);
        }
        self.condition = condition;
        Ok(())
    }
}

fn set(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if args.len() > 3 {
        return set_with_options(cx, args);
    }
    let key = cx.data.key(&args[1]);
    let found = cx.data.find(&key);
    store(cx, &key, found, (&args[2], "set"), Due::Never)?;
    cx.reply.ok();
    Ok(())
}

fn set_with_options(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = SetOptions::parse(args.from(3))?;
    let due = match options.expiration {
        Expiration::Keep => Due::Keep,
        Expiration::Time(unit, number) => Due::At(unit.due_ms(number, cx.now_ms, "set")?),
        Expiration::Unsaid | Expiration::Persist => Due::Never,
    };
    let key = cx.data.key(&args[1]);
    let found = if options.get { read(cx, &key)? } else { cx.data.find(&key) };
    let writes = options.condition.holds(cx.data.db(&key), found)?;
    // The old value must be written before it is replaced; if that fails, its reply is taken back.
    let mark = cx.reply.checkpoint();
    if options.get {
        write_value(cx.reply, cx.data.db(&key), found);
    } else if writes {
        cx.reply.ok();
    } else {
        cx.reply.null();
    }
    if !writes {
        return Ok(());
    }
    store(cx, &key, found, (&args[2], "set"), due).inspect_err(|_| cx.reply.truncate_to(mark))
}

fn setnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let found = cx.data.find(&key);
    if found.is_none() {
        store(cx, &key, found, (&args[2], "set"), Due::Never)?;
    }
    cx.reply.integer(i64::from(found.is_none()));
    Ok(())
}

fn setex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_for(cx, args, Unit::Seconds, "setex")
}

fn psetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    set_for(cx, args, Unit::Milliseconds, "psetex")
}

fn set_for(cx: &mut Cx<'_>, args: Args<'_>, unit: Unit, command: &'static str) -> Result<(), Error> {
    let due_ms = unit.due_ms(&args[2], cx.now_ms, command)?;
    let key = cx.data.key(&args[1]);
    let found = cx.data.find(&key);
    store(cx, &key, found, (&args[3], "set"), Due::At(due_ms))?;
    cx.reply.ok();
    Ok(())
}

fn getset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let found = read(cx, &key)?;
    let mark = cx.reply.checkpoint();
    write_value(cx.reply, cx.data.db(&key), found);
    store(cx, &key, found, (&args[2], "set"), Due::Never).inspect_err(|_| cx.reply.truncate_to(mark))
}

fn getdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let found = read(cx, &key)?;
    let db = cx.data.db(&key);
    write_value(cx.reply, db, found);
    if let Some(found) = found {
        db.remove(key.hashed, found);
        cx.data.event(Class::Generic, "del", key.bytes);
        cx.data.dirty += 1;
    }
    Ok(())
}

/// GETEX's options: at most one kind, the last of it counts.
fn parse_getex(words: Args<'_>) -> Result<Expiration<'_>, Error> {
    let mut expiration = Expiration::Unsaid;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some(unit) = Unit::of_option(word) {
            let number = words.next().ok_or(Error::Syntax)?;
            expiration.replace(Expiration::Time(unit, number))?;
        } else if word.eq_ignore_ascii_case(b"persist") {
            expiration.replace(Expiration::Persist)?;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(expiration)
}

fn getex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let expiration = parse_getex(args.from(2))?;
    let key = cx.data.key(&args[1]);
    let Some(found) = read(cx, &key)? else {
        cx.reply.null();
        return Ok(());
    };
    let now_ms = cx.now_ms;
    let db = cx.data.db(&key);
    let due_ms = match expiration {
        Expiration::Time(unit, number) => Some(unit.due_ms(number, now_ms, "getex")?),
        Expiration::Persist if db.due_ms(found).is_some() => None,
        _ => {
            write_value(cx.reply, db, Some(found));
            return Ok(());
        }
    };
    let mark = cx.reply.checkpoint();
    write_value(cx.reply, db, Some(found));
    let event = if due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
        db.remove(key.hashed, found);
        "del"
    } else if db.set_due(&key, found, due_ms).is_err() {
        cx.reply.truncate_to(mark);
        return Err(Error::OutOfMemory);
    } else if due_ms.is_some() {
        "expire"
    } else {
        "persist"
    };
    cx.data.event(Class::Generic, event, key.bytes);
    cx.data.dirty += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Condition, Expiration, SetOptions, Unit, parse_getex, set_keys};
    use crate::command::spec::key_spec::{ACCESS, OW, RW, UPDATE};
    use crate::resp::args::OwnedArgs;
    use crate::resp::error::Error;

    fn words(line: &str) -> OwnedArgs {
        let words: Vec<&str> = line.split_whitespace().collect();
        OwnedArgs::from_slices(&words)
    }

    #[test]
    fn options_of_set_come_in_any_order() {
        let any = SetOptions::default();
        let seconds = |number| Expiration::Time(Unit::Seconds, number);
        let accepted = [
            ("", any),
            ("nx", SetOptions { condition: Condition::IfAbsent, ..any }),
            ("NX NX", SetOptions { condition: Condition::IfAbsent, ..any }),
            ("get XX", SetOptions { condition: Condition::IfPresent, get: true, ..any }),
            ("NX GET", SetOptions { condition: Condition::IfAbsent, get: true, ..any }),
            ("IFEQ nx GET", SetOptions { condition: Condition::IfEqual(b"nx"), get: true, ..any }),
            ("EX ex", SetOptions { expiration: seconds(b"ex"), ..any }),
            ("EX 1 EX 2", SetOptions { expiration: seconds(b"2"), ..any }),
            ("KEEPTTL KEEPTTL", SetOptions { expiration: Expiration::Keep, ..any }),
            ("PXAT 5", SetOptions { expiration: Expiration::Time(Unit::AtMilliseconds, b"5"), ..any }),
        ];
        for (line, expected) in accepted {
            assert_eq!(SetOptions::parse(words(line).as_args()), Ok(expected), "{line}");
        }
        for line in [
            "NX XX",
            "XX NX",
            "EX",
            "EX 1 PX 2",
            "EX 1 EXAT 2",
            "KEEPTTL EX 1",
            "EX 1 KEEPTTL",
            "PERSIST",
            "junk",
            "IFEQ",
            "IFEQ a IFEQ a",
            "IFEQ a NX",
            "XX IFEQ a",
            "GET EXAT",
        ] {
            assert_eq!(SetOptions::parse(words(line).as_args()), Err(Error::Syntax), "{line}");
        }
    }

    #[test]
    fn getex_takes_one_kind_of_expiration() {
        let accepted = [
            ("", Expiration::Unsaid),
            ("persist PERSIST", Expiration::Persist),
            ("PX 1 px 2", Expiration::Time(Unit::Milliseconds, b"2")),
        ];
        for (line, expected) in accepted {
            assert_eq!(parse_getex(words(line).as_args()), Ok(expected), "{line}");
        }
        for line in ["KEEPTTL", "PERSIST EX 1", "EX 1 PERSIST", "EX 1 PX 1", "EX", "NX", "GET"] {
            assert_eq!(parse_getex(words(line).as_args()), Err(Error::Syntax), "{line}");
        }
    }

    #[test]
    fn times_outside_the_representable_are_refused() {
        const NOW_MS: u64 = 1_800_000_000_000;
        let accepted = [
            (Unit::Seconds, "10", NOW_MS + 10_000),
            (Unit::Milliseconds, "10", NOW_MS + 10),
            (Unit::AtSeconds, "10", 10_000),
            (Unit::AtMilliseconds, "9223372036854775807", i64::MAX as u64),
        ];
        for (unit, number, expected) in accepted {
            assert_eq!(unit.due_ms(number.as_bytes(), NOW_MS, "set"), Ok(expected), "{unit:?} {number}");
        }
        let refused = [
            (Unit::Seconds, "0"),
            (Unit::AtSeconds, "-1"),
            (Unit::Seconds, "9223372036854775"),
            (Unit::AtSeconds, "9223372036854776"),
            (Unit::Milliseconds, "9223372036854775807"),
        ];
        for (unit, number) in refused {
            let error = Err(Error::invalid_expire_time("set"));
            assert_eq!(unit.due_ms(number.as_bytes(), NOW_MS, "set"), error, "{unit:?} {number}");
        }
        for number in ["", "x", "1.5", "+1", "9223372036854775808"] {
            assert_eq!(Unit::Seconds.due_ms(number.as_bytes(), NOW_MS, "set"), Err(Error::NotAnInteger));
        }
    }

    #[test]
    fn set_reads_its_key_only_with_get_or_ifeq() {
        let flags = |line: &str| {
            let mut seen = Vec::new();
            assert!(set_keys(words(line).as_args(), &mut |at, flags| seen.push((at, flags))));
            seen
        };
        assert_eq!(flags("SET get get"), [(1, OW | UPDATE)]);
        assert_eq!(flags("SET k v EX 1 get"), [(1, RW | ACCESS | UPDATE)]);
        assert_eq!(flags("SET k v ifeq a"), [(1, RW | ACCESS | UPDATE)]);
    }
}
