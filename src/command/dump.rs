//! DUMP and RESTORE: a value as bytes, and a key made of them.
//!
//! Options are checked completely before the key is looked at, the payload before the key is changed. A payload may come
//! from anybody: whatever it holds is checked ([`dump`]).

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::category;
use crate::command::spec::flags::{DENYOOM, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeySpec, OW, RO, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::hub::events::Class;
use crate::persist::dump::{self, Refused};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::{Db, Due, Found, NewString};
use crate::store::key::Key;
use crate::store::value::Value;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("dump", dump_value)
        .arity(2)
        .flags(READONLY)
        .keys(&[KeySpec::at(1).flags(RO | ACCESS)])
        .tips(&["nondeterministic_output"])
        .group(Group::Generic)
        .since("2.6.0")
        .complexity("O(N), N the size of the value.")
        .summary("Returns a value as bytes that RESTORE makes a key of, here or in Redis; null without one.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("restore", restore)
        .arity(-4)
        .flags(WRITE | DENYOOM)
        .keys(&[KeySpec::at(1).flags(OW | UPDATE)])
        .categories(category::DANGEROUS)
        .group(Group::Generic)
        .since("2.6.0")
        .complexity("O(N), N the size of the value; O(N*log(N)) for N members of a sorted set.")
        .summary("Makes a key of what DUMP has returned, here or in Redis.")
        .history(&[("3.0.0", "REPLACE."), ("5.0.0", "ABSTTL."), ("5.0.0", "IDLETIME and FREQ.")])
        .args(&[
            Arg::key("key", 0),
            Arg::integer("ttl"),
            Arg::string("serialized-value"),
            Arg::flag("replace", "REPLACE").optional().since("3.0.0"),
            Arg::flag("absttl", "ABSTTL").optional().since("5.0.0"),
            Arg::integer("seconds").token("IDLETIME").optional().since("5.0.0"),
            Arg::integer("frequency").token("FREQ").optional().since("5.0.0"),
        ])
        .reply(Shape::Ok)
        .finish(),
];

/// Greatest FREQ: Redis's counter of eight bits.
const FREQ_MAX: i64 = 255;
/// Longest string that is copied into its entry rather than kept as it is.
const COPIED_MAX_BYTES: usize = 16 * 1024;

/// RESTORE's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    replace: bool,
    /// The time is a point in time, not one from now on.
    absolute: bool,
    idle_seconds: Option<i64>,
    freq: Option<i64>,
}

impl Options {
    fn parse(words: Args<'_>) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"replace") {
                options.replace = true;
            } else if is(b"absttl") {
                options.absolute = true;
            } else if is(b"idletime") && options.freq.is_none() {
                let number = words.next().ok_or(Error::Syntax)?;
                let seconds = parse_i64(number).ok_or(Error::NotAnInteger)?;
                if seconds < 0 {
                    return Err(Error::Fixed("ERR Invalid IDLETIME value, must be >= 0"));
                }
                options.idle_seconds = Some(seconds);
            } else if is(b"freq") && options.idle_seconds.is_none() {
                let number = words.next().ok_or(Error::Syntax)?;
                let freq = parse_i64(number).ok_or(Error::NotAnInteger)?;
                if !(0..=FREQ_MAX).contains(&freq) {
                    return Err(Error::Fixed("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                }
                options.freq = Some(freq);
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

fn dump_value(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let Some(found) = cx.data.read(&key) else {
        cx.reply.null();
        return Ok(());
    };
    let payload = dump::write(cx.data.db(&key).value(found));
    cx.reply.bulk_shared(payload.into());
    Ok(())
}

fn restore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = Options::parse(args.from(4))?;
    let key = cx.data.key(&args[1]);
    let found = cx.data.find(&key);
    if found.is_some() && !options.replace {
        return Err(Error::BusyKey);
    }
    let ttl_ms = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    let ttl_ms = u64::try_from(ttl_ms).map_err(|_| Error::Fixed("ERR Invalid TTL value, must be >= 0"))?;
    let value = dump::read(&args[3], &cx.thresholds()).map_err(|refused| match refused {
        Refused::Footer => Error::Fixed("ERR DUMP payload version or checksum are wrong"),
        Refused::Malformed => Error::Fixed("ERR Bad data format"),
    })?;
    let due_ms = if options.absolute { ttl_ms } else { cx.now_ms.saturating_add(ttl_ms) };
    if ttl_ms > 0 && due_ms <= cx.now_ms {
        if cx.data.remove_key(&key) {
            cx.data.event(Class::Generic, "del", key.bytes);
            cx.data.dirty += 1;
        }
    } else {
        let due = if ttl_ms == 0 { Due::Never } else { Due::At(due_ms) };
        let now_ms = cx.now_ms;
        let db = cx.data.db(&key);
        put(db, &key, found, value, due, now_ms)?;
        db.set_use(&key, options.idle_seconds, options.freq, now_ms);
        cx.data.event(Class::Generic, "restore", key.bytes);
        cx.data.dirty += 1;
    }
    cx.reply.ok();
    Ok(())
}

/// Puts a value that was read under a key, in the place of what is there.
///
/// # Errors
/// `OOM` where the store has no room left for entries.
pub fn put(
    db: &mut Db,
    key: &Key<'_>,
    found: Option<Found>,
    value: Value,
    due: Due,
    now_ms: u64,
) -> Result<(), Error> {
    let stored = match value {
        Value::Str(bytes) if bytes.len() <= COPIED_MAX_BYTES => {
            db.set_string(key, found, NewString { bytes: &bytes, raw: false }, due, now_ms)
        }
        value => db.set_value(key, found, value, due, now_ms),
    };
    stored.map_err(|_| Error::OutOfMemory)
}
