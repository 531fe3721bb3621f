//! PFADD, PFCOUNT, PFMERGE and what looks into them: strings that count different elements.
//!
//! The string's format is Redis's own ([`hll`]); whatever a client wrote there is checked before it is used. A dense one
//! is changed where it stands, a sparse one (3000 bytes unless configured otherwise) is edited in a copy.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, DENYOOM, FAST, MAY_REPLICATE, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, INSERT, KeySpec, RO, RW};
use crate::command::spec::{Group, Spec};
use crate::command::strings::{KEY, find, read};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::{Due, Found, NewString};
use crate::store::key::Key;
use crate::store::value::hll::{self, Corrupted, Encoding, REGISTERS, sparse};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("pfadd", pfadd)
        .arity(-2)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | INSERT)])
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(1) for each element.")
        .summary("Adds elements to a HyperLogLog, which is created where there is none; 1 if that may change its count.")
        .args(&[Arg::key("key", 0), Arg::string("element").multiple().optional()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("pfcount", pfcount)
        .arity(-2)
        .flags(READONLY | MAY_REPLICATE)
        .keys(&[KeySpec::range(1, -1, 1).flags(RW | ACCESS).notes(
            "The count of a single key is kept in its value, so that it need not be computed the next time.",
        )])
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(N), N the number of keys; next to nothing for one key that did not change since.")
        .summary("Returns about how many different elements one or several HyperLogLogs have seen together.")
        .args(&[Arg::key("key", 0).multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("pfmerge", pfmerge)
        .arity(-2)
        .flags(WRITE | DENYOOM)
        .keys(&[KEY.flags(RW | ACCESS | INSERT), KeySpec::range(2, -1, 1).flags(RO | ACCESS)])
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(N), N the number of keys.")
        .summary("Adds to a HyperLogLog, which is created where there is none, all that others have seen.")
        .args(&[Arg::key("destkey", 0), Arg::key("sourcekey", 1).multiple().optional()])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("pfdebug", pfdebug)
        .arity(3)
        .flags(WRITE | DENYOOM | ADMIN)
        .keys(&[KeySpec::at(2).flags(RW | ACCESS)])
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(1).")
        .summary("Looks into a HyperLogLog: its encoding, its runs, its registers.")
        .system()
        .args(&[Arg::string("subcommand"), Arg::key("key", 0)])
        .reply(Shape::Any)
        .finish(),
    Spec::new("pfselftest", pfselftest)
        .arity(1)
        .flags(ADMIN)
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(1).")
        .summary("Checks that HyperLogLogs count as they should.")
        .system()
        .reply(Shape::Ok)
        .finish(),
];

const NOT_ONE: Error = Error::Fixed("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: Error = Error::Fixed("INVALIDOBJ Corrupted HLL object detected");

impl From<Corrupted> for Error {
    fn from(_: Corrupted) -> Self {
        CORRUPTED
    }
}

/// The encoding of the HyperLogLog that an entry holds.
fn encoding(cx: &mut Cx<'_>, key: &Key<'_>, found: Found) -> Result<Encoding, Error> {
    hll::encoding(cx.data.db(key).string(found)).ok_or(NOT_ONE)
}

/// Puts an edited HyperLogLog under its key.
fn put(cx: &mut Cx<'_>, key: &Key<'_>, found: Option<Found>, bytes: &[u8]) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    let new = NewString { bytes, raw: true };
    cx.data.db(key).set_string(key, found, new, Due::Keep, now_ms).map_err(|_| Error::OutOfMemory)
}

fn pfadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let elements = args.from(2);
    let found = find(cx, &key)?;
    let changes = match found {
        Some(found) if encoding(cx, &key, found)? == Encoding::Dense => {
            let now_ms = cx.now_ms;
            let db = cx.data.db(&key);
            match db.patch_with(&key, found, now_ms, |bytes| add_dense(bytes, elements)) {
                Some(changes) => changes,
                None => add_copied(cx, &key, Some(found), elements)?,
            }
        }
        found => add_copied(cx, &key, found, elements)?,
    };
    if changes > 0 {
        cx.data.dirty += changes;
        cx.data.event(Class::String, "pfadd", key.bytes);
    }
    cx.reply.integer(i64::from(changes > 0));
    Ok(())
}

/// Adds elements to a dense HyperLogLog; how many changed it.
fn add_dense(bytes: &mut [u8], elements: Args<'_>) -> u64 {
    let mut changes = 0;
    for element in elements.iter() {
        let (index, value) = hll::place(element);
        changes += u64::from(hll::raise_dense(bytes, index, value));
    }
    if changes > 0 {
        hll::invalidate(bytes);
    }
    changes
}

/// Adds elements to a copy that takes the value's place, or to a new HyperLogLog; how many changed it, a new one being
/// a change of its own.
fn add_copied(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    found: Option<Found>,
    elements: Args<'_>,
) -> Result<u64, Error> {
    let sparse_max = cx.thresholds().hll_sparse_max_bytes;
    let mut bytes = found.map_or_else(hll::empty, |found| cx.data.db(key).string(found).to_vec());
    let mut changes = u64::from(found.is_none());
    for element in elements.iter() {
        let (index, value) = hll::place(element);
        changes += u64::from(hll::raise(&mut bytes, index, value, sparse_max)?);
    }
    if changes > 0 {
        hll::invalidate(&mut bytes);
        put(cx, key, found, &bytes)?;
    }
    Ok(changes)
}

fn pfcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let count = if args.len() > 2 {
        let mut registers = Box::new([0; REGISTERS]);
        for bytes in args.from(1).iter() {
            let key = cx.data.key(bytes);
            let Some(found) = read(cx, &key)? else { continue };
            encoding(cx, &key, found)?;
            hll::merge(&mut registers, cx.data.db(&key).string(found))?;
        }
        hll::count_registers(&registers)
    } else {
        let key = cx.data.key(&args[1]);
        match read(cx, &key)? {
            Some(found) => count_one(cx, &key, found)?,
            None => 0,
        }
    };
    cx.reply.integer(count as i64);
    Ok(())
}

/// The count of one HyperLogLog, which is kept in it.
fn count_one(cx: &mut Cx<'_>, key: &Key<'_>, found: Found) -> Result<u64, Error> {
    encoding(cx, key, found)?;
    let now_ms = cx.now_ms;
    let db = cx.data.db(key);
    if let Some(count) = hll::cached(db.string(found)) {
        return Ok(count);
    }
    let count = hll::count(db.string(found))?;
    let (at, bytes) = hll::cache_of(count);
    if !db.patch(key, found, at, &bytes, now_ms) {
        let edited = db.edit_string(key, Some(found), now_ms, |string| string.write_at(at, &bytes));
        edited.map_err(|_| Error::OutOfMemory)?;
    }
    cx.data.dirty += 1;
    Ok(count)
}

fn pfmerge(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let mut registers = Box::new([0; REGISTERS]);
    let mut dense = false;
    for bytes in args.from(1).iter() {
        let key = cx.data.key(bytes);
        let Some(found) = read(cx, &key)? else { continue };
        dense |= encoding(cx, &key, found)? == Encoding::Dense;
        hll::merge(&mut registers, cx.data.db(&key).string(found))?;
    }
    let sparse_max = cx.thresholds().hll_sparse_max_bytes;
    let key = cx.data.key(&args[1]);
    let found = find(cx, &key)?;
    let mut bytes = found.map_or_else(hll::empty, |found| cx.data.db(&key).string(found).to_vec());
    if dense {
        hll::to_dense(&mut bytes)?;
    }
    for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
        hll::raise(&mut bytes, index, *value, sparse_max)?;
    }
    hll::invalidate(&mut bytes);
    put(cx, &key, found, &bytes)?;
    cx.data.dirty += 1;
    cx.data.event(Class::String, "pfadd", key.bytes);
    cx.reply.ok();
    Ok(())
}

fn pfdebug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[2]);
    let found = find(cx, &key)?.ok_or(Error::Fixed("ERR The specified key does not exist"))?;
    let present = encoding(cx, &key, found)?;
    let is = |name: &[u8]| args[1].eq_ignore_ascii_case(name);
    if is(b"encoding") {
        cx.reply.simple(present.name());
    } else if is(b"decode") {
        if present != Encoding::Sparse {
            return Err(Error::Fixed("ERR HLL encoding is not sparse"));
        }
        cx.reply.bulk_str(&sparse::decode(cx.data.db(&key).string(found)));
    } else if is(b"getreg") || is(b"todense") {
        let mut bytes = cx.data.db(&key).string(found).to_vec();
        let converted = hll::to_dense(&mut bytes)?;
        let registers = hll::registers(&bytes)?;
        if converted {
            put(cx, &key, Some(found), &bytes)?;
            cx.data.dirty += 1;
        }
        if is(b"todense") {
            cx.reply.integer(i64::from(converted));
        } else {
            cx.reply.array(REGISTERS);
            registers.iter().for_each(|register| cx.reply.integer(i64::from(*register)));
        }
    } else {
        let name = String::from_utf8_lossy(&args[1]);
        return Err(Error::err(format_args!("Unknown PFDEBUG subcommand '{name}'")));
    }
    Ok(())
}

fn pfselftest(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    if !hll::self_test() {
        return Err(Error::Fixed("ERR TESTFAILED HyperLogLogs do not count as they should"));
    }
    cx.reply.ok();
    Ok(())
}
