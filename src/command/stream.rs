//! Streams: rows and handlers, a file for each kind of command, and what they share.
//!
//! A stream stays when its last entry goes. Entries are written into the reply straight from their node, as are pending
//! entries from their lists. Options are checked before or after the key is looked at as Redis does it, command by
//! command: clients see which error comes first. What groups have read is no part of what WATCH holds on to.

use crate::base::num::parse_i64;
use crate::command::collection::write_element;
use crate::command::context::Data;
use crate::command::spec::key_spec::KeySpec;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::store::key::Key;
use crate::store::typed::{Edited, Fate};
use crate::store::value::stream::{ConsumerId, Cursor, Group, IdText, Log, Stream, StreamId};
use std::borrow::Cow;

pub mod add;
pub mod claim;
pub mod group;
pub mod info;
pub mod pending;
pub mod range;
pub mod read;
pub mod remove;

/// A stream as it lies under a key.
type Boxed = Box<Stream>;

/// The single key of most commands, to be given its flags.
const KEY: KeySpec = KeySpec::at(1);

/// An entry: its identifier and its fields and values; null for those of a deleted one.
const ENTRY: Shape = Shape::Tuple(&[Shape::Bulk, Shape::ArrayOrNull(&Shape::Bulk)]);

const INVALID_ID: Error = Error::Fixed("ERR Invalid stream ID specified as stream command argument");

/// Reads an identifier; without a sequence number it has 0.
///
/// # Errors
/// It is none.
fn parse_id(text: &[u8]) -> Result<StreamId, Error> {
    StreamId::parse(text, 0).ok_or(INVALID_ID)
}

/// Reads an identifier or one of `-` and `+`, which stand for the smallest and the greatest.
fn parse_any_id(text: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        text => StreamId::parse(text, missing_seq).ok_or(INVALID_ID),
    }
}

/// Reads the start of a range; behind `(` it is not part of it.
///
/// # Errors
/// It is none, or nothing comes behind it.
fn parse_start(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            parse_id(rest)?.next().ok_or(Error::Fixed("ERR invalid start ID for the interval"))
        }
        text => parse_any_id(text, 0),
    }
}

/// Reads the end of a range; behind `(` it is not part of it.
///
/// # Errors
/// It is none, or nothing comes before it.
fn parse_end(text: &[u8]) -> Result<StreamId, Error> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => StreamId::parse(rest, u64::MAX)
            .ok_or(INVALID_ID)?
            .previous()
            .ok_or(Error::Fixed("ERR invalid end ID for the interval")),
        text => parse_any_id(text, u64::MAX),
    }
}

/// Reads any integer.
fn parse_integer(text: &[u8]) -> Result<i64, Error> {
    parse_i64(text).ok_or(Error::NotAnInteger)
}

/// Reads how many entries to give at most; a negative number counts as 0.
fn parse_count(text: &[u8]) -> Result<usize, Error> {
    Ok(usize::try_from(parse_integer(text)?.max(0)).unwrap_or(usize::MAX))
}

/// The arguments from `index` on, in pairs of field and value.
fn pairs(args: Args<'_>, index: usize) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
    let args = args.from(index);
    let argument = move |at: usize| args.get(at).unwrap_or_default();
    (0..args.len() / 2).map(move |at| (argument(at * 2), argument(at * 2 + 1)))
}

/// Edits the stream under a key, or a new one without it; in contrast to [`Cx::edit`](crate::command::context::Cx),
/// the reply may be written meanwhile.
fn edit<R>(
    data: &mut Data<'_>,
    key: &Key<'_>,
    edit: impl FnOnce(&mut Stream) -> Edited<R>,
) -> Result<(R, Fate), Error> {
    let (found, now_ms) = (data.find(key), data.now_ms());
    Ok(data.db(key).edit_value::<Boxed, R>(key, found, now_ms, |stream| edit(stream))?)
}

/// The consumer of this name, made if it is not there; and whether it was made.
fn consumer_or_new(group: &mut Group, name: &[u8], now_ms: u64) -> Option<(ConsumerId, bool)> {
    if let Some(consumer) = group.find_consumer(name) {
        if let Some(consumer) = group.consumer_mut(consumer) {
            consumer.seen_ms = now_ms;
        }
        return Some((consumer, false));
    }
    group.create_consumer(name, now_ms).map(|consumer| (consumer, true))
}

/// Says that a consumer was made, as a side effect or by XGROUP.
fn consumer_created(data: &mut Data<'_>, key: &[u8]) {
    data.dirty += 1;
    data.event(Class::Stream, "xgroup-createconsumer", key);
}

/// A name as an error shows it: up to its first zero byte, which ends a text in Redis.
fn quoted(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// There is no such key, or no such group in it.
fn no_key_or_group(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (quoted(key), quoted(group));
    Error::Custom(format!("NOGROUP No such key '{key}' or consumer group '{group}'"))
}

/// There is no such group in the stream.
fn no_group(group: &[u8], key: &[u8]) -> Error {
    let (key, group) = (quoted(key), quoted(group));
    Error::Custom(format!("NOGROUP No such consumer group '{group}' for key name '{key}'"))
}

fn write_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(IdText::of(id).as_bytes());
}

/// Writes the entry that the cursor has just stepped to.
fn write_entry(reply: &mut Reply, id: StreamId, cursor: &mut Cursor<'_>) {
    reply.array(2);
    write_id(reply, id);
    reply.array(cursor.pairs() * 2);
    while let Some((field, value)) = cursor.pair() {
        write_element(reply, field);
        write_element(reply, value);
    }
}

/// Writes what the cursor still finds, at most `count` entries (0: all), as an array.
fn write_entries(reply: &mut Reply, mut cursor: Cursor<'_>, count: usize) {
    let mark = reply.deferred_array();
    let mut written = 0;
    while (count == 0 || written < count)
        && let Some(id) = cursor.next_id()
    {
        write_entry(reply, id, &mut cursor);
        written += 1;
    }
    reply.close_array(mark, written);
}

/// Writes the entry `id` if it is there; says so.
fn write_if_there(reply: &mut Reply, log: &Log, id: StreamId) -> bool {
    let mut cursor = log.entry(id);
    let found = cursor.next_id().is_some();
    if found {
        write_entry(reply, id, &mut cursor);
    }
    found
}
