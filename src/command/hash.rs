//! Hashes: rows and handlers, a file for each kind of command, and what they share.
//!
//! Values go from the hash straight into the reply. A field that is due is not there for anybody; a hash whose last field
//! goes takes its key along, and whoever took the field says so by a `del` behind its own event.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::key_spec::{ACCESS, KeySpec, RO, RW, UPDATE};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::store::key::Key;
use crate::store::typed::{Edited, Fate};
use crate::store::value::ValueType;
use crate::store::value::hash::Hash;

pub mod expire;
pub mod number;
pub mod random;
pub mod read;
pub mod timed;
pub mod ttl;
pub mod write;

/// The single key of all commands, to be given its flags.
const KEY: KeySpec = KeySpec::at(1);
/// The key of commands that return what is in the hash.
const READ_KEY: &[KeySpec] = &[KEY.flags(RO | ACCESS)];
/// The key of commands that tell something about the hash.
const SEEN_KEY: &[KeySpec] = &[KEY.flags(RO)];
/// The key of commands that change what is in the hash.
const CHANGED_KEY: &[KeySpec] = &[KEY.flags(RW | UPDATE)];

const KEY_ONLY: &[Arg] = &[Arg::key("key", 0)];
const KEY_AND_FIELD: &[Arg] = &[Arg::key("key", 0), Arg::string("field")];
const KEY_AND_FIELDS: &[Arg] = &[Arg::key("key", 0), FIELDS];

/// The latest time at which a field may be due, in Unix ms: Redis keeps 46 bits.
const DUE_MAX_MS: i64 = (1 << 46) - 1;

/// `FIELDS numfields field [field …]`
const FIELDS: Arg =
    Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).token("FIELDS");

/// What Redis says of a number of fields below one, but for HEXPIRE and its kind.
const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// The fields of `FIELDS numfields field [field …]`, which stands at `at` and ends the request.
///
/// # Errors
/// The word is missing, the number is below one (`not_positive` is said then) or not that of the fields.
fn fields<'a>(args: Args<'a>, at: usize, not_positive: &'static str) -> Result<Args<'a>, Error> {
    if !args.get(at).is_some_and(|word| word.eq_ignore_ascii_case(b"fields")) {
        let text = "ERR Mandatory argument FIELDS is missing or not at the right position";
        return Err(Error::Fixed(text));
    }
    let number = args.get(at + 1).and_then(parse_i64).filter(|&number| number > 0);
    let number = number.ok_or(Error::Fixed(not_positive))?;
    let fields = args.from(at + 2);
    if usize::try_from(number) != Ok(fields.len()) {
        return Err(Error::Fixed("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(fields)
}

/// The Unix ms at which a field is due that gets `number` × `unit_ms` from `base_ms` on.
///
/// # Errors
/// Not an integer, a negative one, or beyond what may be kept, in the name of `command`.
fn due_ms(number: &[u8], unit_ms: i64, base_ms: u64, command: &'static str) -> Result<u64, Error> {
    let number = parse_i64(number).ok_or(Error::NotAnInteger)?;
    if number < 0 {
        return Err(Error::Fixed("ERR invalid expire time, must be >= 0"));
    }
    let due_ms = number.checked_mul(unit_ms).and_then(|ms| ms.checked_add_unsigned(base_ms));
    let due_ms = due_ms.filter(|&due_ms| due_ms <= DUE_MAX_MS);
    due_ms.map(i64::unsigned_abs).ok_or_else(|| Error::invalid_expire_time(command))
}

/// Refuses a key that holds another type, before the rest of a request is looked at.
///
/// # Errors
/// `WRONGTYPE`
fn only_hash(cx: &mut Cx<'_>, key: &Key<'_>) -> Result<(), Error> {
    match cx.data.find(key) {
        Some(found) if cx.data.db(key).value_type(found) != ValueType::Hash => Err(Error::WrongType),
        _ => Ok(()),
    }
}

/// Edits the hash under a key while the reply is being written; nothing without a key.
///
/// # Errors
/// As [`Cx::edit`]; what was written is taken back then.
fn edit_replying<R>(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    edit: impl FnOnce(&mut Hash, &mut Reply) -> Edited<R>,
) -> Result<Option<(R, Fate)>, Error> {
    let Some(found) = cx.data.find(key) else { return Ok(None) };
    let (mark, now_ms) = (cx.reply.checkpoint(), cx.now_ms);
    let reply = &mut *cx.reply;
    match cx.data.db(key).edit_value(key, Some(found), now_ms, |hash| edit(hash, reply)) {
        Ok(edited) => Ok(Some(edited)),
        Err(error) => {
            cx.reply.truncate_to(mark);
            Err(error.into())
        }
    }
}

/// Tells of a change and, if the key went with it, of that.
fn tell(cx: &mut Cx<'_>, event: &'static str, fate: Fate, key: &Key<'_>) {
    cx.data.event(Class::Hash, event, key.bytes);
    if fate == Fate::Removed {
        cx.data.event(Class::Generic, "del", key.bytes);
    }
}

/// Writes null for every field.
fn write_nulls(reply: &mut Reply, fields: Args<'_>) {
    reply.array(fields.len());
    fields.iter().for_each(|_| reply.null());
}
