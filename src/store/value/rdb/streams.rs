//! Streams: nodes as they are kept, marks, groups with what is pending.
//!
//! Three forms: the first lacks the marks that came with Redis 7.0, the second one of the two times of a consumer.

use super::read::{Malformed, Reader};
use super::write::{length, text};
use super::{Dialect, kind};
use crate::store::value::listpack::{Pack, PackBuf};
use crate::store::value::stream::{Group, LoadedConsumer, Log, Marks, Stream, StreamId};

/// Bytes of an identifier.
pub(super) const ID_BYTES: usize = 16;
/// What stands for a number that is not known, or a time that never was.
pub(super) const NONE: u64 = u64::MAX;

/// Appends a stream's type byte and body.
pub(super) fn encode(stream: &Stream, dialect: Dialect, out: &mut Vec<u8>) {
    let both_times = dialect == Dialect::Own;
    out.push(if both_times { kind::STREAM_LISTPACKS_3 } else { kind::STREAM_LISTPACKS_2 });
    let (log, marks) = (stream.log(), stream.log().marks());
    length(out, log.nodes_len() as u64);
    for (master, node) in log.nodes() {
        text(out, &id_bytes(master));
        text(out, node.as_pack().bytes());
    }
    put_marks(log.length(), marks, out);
    length(out, stream.groups_len() as u64);
    for (name, group) in stream.groups() {
        text(out, name);
        encode_group(group, both_times, out);
    }
}

/// Appends a number of entries and what else is known of a stream's entries.
pub(super) fn put_marks(entries: u64, marks: &Marks, out: &mut Vec<u8>) {
    length(out, entries);
    for id in [marks.last_id, marks.first_id, marks.max_deleted_id] {
        two_lengths(id, out);
    }
    length(out, marks.entries_added);
}

/// Appends an identifier as two numbers.
pub(super) fn two_lengths(id: StreamId, out: &mut Vec<u8>) {
    length(out, id.ms);
    length(out, id.seq);
}

fn encode_group(group: &Group, both_times: bool, out: &mut Vec<u8>) {
    two_lengths(group.last_id(), out);
    length(out, group.entries_read().unwrap_or(NONE));
    length(out, group.pending_len() as u64);
    for (id, nack) in group.pending_from(StreamId::MIN) {
        out.extend_from_slice(&id_bytes(id));
        out.extend_from_slice(&nack.delivery_ms.to_le_bytes());
        length(out, nack.deliveries);
    }
    length(out, group.consumers_len() as u64);
    for consumer in group.consumers() {
        text(out, consumer.name());
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        if both_times {
            out.extend_from_slice(&consumer.active_ms.unwrap_or(NONE).to_le_bytes());
        }
        length(out, consumer.pending_len() as u64);
        consumer.pending_from(StreamId::MIN).for_each(|id| out.extend_from_slice(&id_bytes(id)));
    }
}

pub(super) fn id_bytes(id: StreamId) -> [u8; ID_BYTES] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

pub(super) fn id_of(bytes: &[u8]) -> Result<StreamId, Malformed> {
    let whole = u128::from_be_bytes(bytes.try_into().map_err(|_| Malformed)?);
    Ok(StreamId::new((whole >> 64) as u64, whole as u64))
}

/// An identifier as two numbers.
pub(super) fn two_numbers(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    Ok(StreamId::new(reader.number()?, reader.number()?))
}

/// The stream that a body of this type is.
///
/// # Errors
/// It is none.
pub(super) fn decode(reader: &mut Reader<'_>, kind: u8) -> Result<Stream, Malformed> {
    let count = reader.count()?;
    let mut nodes = Vec::new();
    for _ in 0..count {
        let master = id_of(&reader.string()?)?;
        let node = reader.string()?;
        if Pack::check(&node).is_none_or(Pack::is_empty) {
            return Err(Malformed);
        }
        nodes.push((master, PackBuf::from_vec(node.into_owned())));
    }
    let entries = reader.number()?;
    let mut marks = Marks { last_id: two_numbers(reader)?, entries_added: entries, ..Marks::default() };
    let has_marks = kind != kind::STREAM_LISTPACKS;
    if has_marks {
        // The first identifier is found in the nodes.
        two_numbers(reader)?;
        marks.max_deleted_id = two_numbers(reader)?;
        marks.entries_added = reader.number()?;
    }
    let log = Log::from_nodes(nodes, marks).ok_or(Malformed)?;
    if log.length() != entries {
        return Err(Malformed);
    }
    let mut stream = Stream::from_log(log);
    let groups = reader.count()?;
    for _ in 0..groups {
        let name = reader.string()?;
        let last_id = two_numbers(reader)?;
        let entries_read = match has_marks {
            true => Some(reader.number()?).filter(|&read| read != NONE),
            false => stream.log().count_up_to(last_id),
        };
        let group = decode_group(reader, kind, last_id, entries_read)?;
        if !stream.add_group(&name, group) {
            return Err(Malformed);
        }
    }
    Ok(stream)
}

fn decode_group(
    reader: &mut Reader<'_>,
    kind: u8,
    last_id: StreamId,
    entries_read: Option<u64>,
) -> Result<Group, Malformed> {
    let count = reader.count()?;
    let mut pending = Vec::new();
    for _ in 0..count {
        let id = id_of(reader.take(ID_BYTES)?)?;
        pending.push((id, reader.ms()?, reader.number()?));
    }
    let count = reader.count()?;
    let mut consumers = Vec::new();
    for _ in 0..count {
        let name = reader.string()?.into_owned();
        let seen_ms = reader.ms()?;
        let active_ms = if kind == kind::STREAM_LISTPACKS_3 { reader.ms()? } else { seen_ms };
        let owned = reader.count()?;
        let mut pending = Vec::new();
        for _ in 0..owned {
            pending.push(id_of(reader.take(ID_BYTES)?)?);
        }
        let active_ms = Some(active_ms).filter(|&active_ms| active_ms != NONE);
        consumers.push(LoadedConsumer { name, seen_ms, active_ms, pending });
    }
    Group::load(last_id, entries_read, pending, consumers).ok_or(Malformed)
}
