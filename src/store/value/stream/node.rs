//! One node of a stream: a listpack laid out byte for byte as Redis does, so that DUMP and RESTORE carry it as it is.
//!
//! ```text
//! head    live  deleted  num-fields  field …  0
//! entry   flags  ms-diff  seq-diff  [num-fields  field value …  |  value …]  lp-count
//! ```
//!
//! The head names the fields of the node's first entry. An entry with the same fields is flagged and holds only its
//! values. Identifiers are differences to the node's master, the identifier of its first entry, under which the stream
//! finds the node. `lp-count` says how many elements of the entry stand before it, for walking backwards; the zero that
//! ends the head stops that walk. Deleted entries are only flagged: the bytes go with the node.
//!
//! A node that comes from outside is [`check`]ed completely before it is used. Whatever a listpack turns out not to
//! hold ends a walk; nothing here panics on it.

use crate::store::value::listpack::{At, Pack, PackBuf};
use crate::store::value::stream::id::StreamId;

/// The entry is deleted.
pub const DELETED: i64 = 1;
/// The entry has the fields that the head names.
pub const SAME_FIELDS: i64 = 2;
/// Elements of an entry besides fields, values and their number: flags and the two differences.
const FIXED_ELEMENTS: usize = 3;

/// What a node's head says.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Entries that are not deleted.
    pub live: u64,
    /// Entries that are.
    pub deleted: u64,
    /// How many fields are named.
    pub fields: usize,
    /// The first of them, or the zero behind them if there is none.
    pub fields_at: At,
}

impl Head {
    /// Reads it.
    pub fn of(pack: Pack<'_>) -> Option<Self> {
        let live_at = pack.first()?;
        let deleted_at = pack.next(live_at)?;
        let count_at = pack.next(deleted_at)?;
        Some(Self {
            live: number(pack, live_at)?,
            deleted: number(pack, deleted_at)?,
            fields: number(pack, count_at)? as usize,
            fields_at: pack.next(count_at)?,
        })
    }

    /// The zero that ends the head; the first entry stands behind it.
    pub fn end(&self, pack: Pack<'_>) -> Option<At> {
        skip(pack, self.fields_at, self.fields)
    }
}

/// What stands before an entry's fields.
#[derive(Clone, Copy, Debug)]
pub struct EntryHead {
    /// Where it begins.
    pub flags_at: At,
    /// [`DELETED`] and [`SAME_FIELDS`].
    pub flags: i64,
    /// The entry's identifier.
    pub id: StreamId,
    /// How many pairs of field and value it has.
    pub fields: usize,
    /// The first field, or the first value if the fields are those of the head.
    pub body_at: At,
}

impl EntryHead {
    /// Reads the entry whose flags are at `flags_at`.
    pub fn of(pack: Pack<'_>, master: StreamId, head: &Head, flags_at: At) -> Option<Self> {
        let flags = pack.get(flags_at).as_int()?;
        let ms_at = pack.next(flags_at)?;
        let seq_at = pack.next(ms_at)?;
        let id = StreamId {
            ms: master.ms.wrapping_add(pack.get(ms_at).as_int()? as u64),
            seq: master.seq.wrapping_add(pack.get(seq_at).as_int()? as u64),
        };
        let mut body_at = pack.next(seq_at)?;
        let mut fields = head.fields;
        if flags & SAME_FIELDS == 0 {
            fields = number(pack, body_at)? as usize;
            body_at = pack.next(body_at)?;
        }
        Some(Self { flags_at, flags, id, fields, body_at })
    }

    /// Whether it is flagged as deleted.
    pub fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// Elements that its fields and values take.
    pub fn body_elements(&self) -> usize {
        if self.flags & SAME_FIELDS == 0 { self.fields * 2 } else { self.fields }
    }

    /// Its last element, the count that a walk backwards reads.
    pub fn end(&self, pack: Pack<'_>) -> Option<At> {
        skip(pack, self.body_at, self.body_elements())
    }
}

/// The flags of the entry whose count is at `count_at`; none at the end of the head.
pub fn entry_before(pack: Pack<'_>, count_at: At) -> Option<At> {
    let elements = number(pack, count_at)?;
    if elements == 0 {
        return None;
    }
    let mut at = count_at;
    for _ in 0..elements {
        at = pack.prev(at)?;
    }
    Some(at)
}

/// The greatest identifier in the node, whether deleted or not.
pub fn last_id(pack: Pack<'_>, master: StreamId) -> Option<StreamId> {
    let flags_at = entry_before(pack, pack.last()?)?;
    Some(EntryHead::of(pack, master, &Head::of(pack)?, flags_at)?.id)
}

/// A node whose head names the fields of `pairs` and counts one entry, which is to be pushed next.
pub fn with_head<'p>(pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>) -> PackBuf {
    let mut node = PackBuf::new();
    node.push_back_int(1);
    node.push_back_int(0);
    node.push_back_int(pairs.len() as i64);
    for (field, _) in pairs {
        node.push_back(field);
    }
    node.push_back_int(0);
    node
}

/// Counts one entry more and says whether the head names exactly the fields of `pairs`.
pub fn count_in<'p>(
    node: &mut PackBuf,
    head: &Head,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>,
) -> bool {
    let same = has_fields(node.as_pack(), head, pairs);
    set_counts(node, head.live + 1, head.deleted);
    same
}

fn has_fields<'p>(
    pack: Pack<'_>,
    head: &Head,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>,
) -> bool {
    if pairs.len() != head.fields {
        return false;
    }
    let mut at = Some(head.fields_at);
    for (field, _) in pairs {
        let Some(here) = at else {
            return false;
        };
        if !pack.get(here).eq_bytes(field) {
            return false;
        }
        at = pack.next(here);
    }
    true
}

/// Appends an entry that the head counts already; `same` leaves its fields out.
pub fn push_entry<'p>(
    node: &mut PackBuf,
    master: StreamId,
    id: StreamId,
    same: bool,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>,
) {
    let fields = pairs.len();
    node.push_back_all(|entry| {
        entry.push_int(if same { SAME_FIELDS } else { 0 });
        entry.push_int(id.ms.wrapping_sub(master.ms) as i64);
        entry.push_int(id.seq.wrapping_sub(master.seq) as i64);
        if !same {
            entry.push_int(fields as i64);
        }
        for (field, value) in pairs {
            if !same {
                entry.push(field);
            }
            entry.push(value);
        }
        let elements = if same { fields } else { fields * 2 + 1 };
        entry.push_int((elements + FIXED_ELEMENTS) as i64);
    });
}

/// Flags an entry as deleted, without counting. Its neighbours stay where they are: flags take one byte.
pub fn flag_deleted(node: &mut PackBuf, entry: &EntryHead) {
    node.replace_int(entry.flags_at, entry.flags | DELETED);
}

/// Sets the two counts of the head; what stands behind them may move.
pub fn set_counts(node: &mut PackBuf, live: u64, deleted: u64) {
    let Some(live_at) = node.as_pack().first() else {
        return;
    };
    let live_at = node.replace_int(live_at, live as i64);
    let Some(deleted_at) = node.as_pack().next(live_at) else {
        return;
    };
    if node.as_pack().get(deleted_at).as_int() != Some(deleted as i64) {
        node.replace_int(deleted_at, deleted as i64);
    }
}

/// Whether `pack`, a valid listpack, is a node of this master: whole entries, ascending, as many as the head counts.
pub fn check(pack: Pack<'_>, master: StreamId) -> bool {
    check_entries(pack, master).unwrap_or(false)
}

fn check_entries(pack: Pack<'_>, master: StreamId) -> Option<bool> {
    let head = Head::of(pack)?;
    // Every count is of elements that are there, so that no sum here overflows.
    if head.fields > pack.len() || head.live > pack.len() as u64 || head.deleted > pack.len() as u64 {
        return None;
    }
    let mut end = head.end(pack)?;
    if pack.get(end).as_int()? != 0 {
        return None;
    }
    let (mut live, mut deleted, mut before) = (0, 0, None);
    while let Some(flags_at) = pack.next(end) {
        let entry = EntryHead::of(pack, master, &head, flags_at)?;
        if !(0..=DELETED | SAME_FIELDS).contains(&entry.flags) || entry.fields > pack.len() {
            return None;
        }
        if entry.id < master || before.is_some_and(|before| before >= entry.id) {
            return None;
        }
        before = Some(entry.id);
        end = entry.end(pack)?;
        let own_number = usize::from(entry.flags & SAME_FIELDS == 0);
        if number(pack, end)? != (entry.body_elements() + own_number + FIXED_ELEMENTS) as u64 {
            return None;
        }
        *(if entry.is_deleted() { &mut deleted } else { &mut live }) += 1;
    }
    Some(live == head.live && deleted == head.deleted)
}

/// The element `count` behind `at`.
fn skip(pack: Pack<'_>, mut at: At, count: usize) -> Option<At> {
    for _ in 0..count {
        at = pack.next(at)?;
    }
    Some(at)
}

/// The element as a count.
fn number(pack: Pack<'_>, at: At) -> Option<u64> {
    u64::try_from(pack.get(at).as_int()?).ok()
}
