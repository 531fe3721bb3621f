//! The fields of a big hash: one record a field in a hash table, and due times in order.
//!
//! A record is field, value and due time in one text: short ones cost no allocation, longer ones a single one. The text
//! is the length of the field doubled, plus one if there is a due time (seven bits a byte, the lowest first), the due
//! time (8 bytes, little-endian), the field, the value.
//!
//! Invariant: `due` holds (due time, hash of the field) of every field that has a due time.

use std::collections::BTreeSet;

use crate::base::rng::Rng;
use crate::store::object::size_class;
use crate::store::value::table::{Table, text_hash};
use crate::store::value::text::Text;

/// What a due time costs in its tree, which is two thirds full as a rule.
const DUE_BYTES: usize = 28;
/// Random fields looked at for one that is not due.
const RANDOM_TRIES: usize = 64;
const DUE_WIDTH: usize = size_of::<u64>();
/// Longest length before a record: the length of a field takes 30 bits.
const HEAD_MAX: usize = 5;

/// A field with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// When it is due, in Unix ms.
    pub due_ms: Option<u64>,
}

impl Field<'_> {
    /// Whether the field is no longer to be seen.
    #[inline]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.due_ms.is_some_and(|due_ms| due_ms <= now_ms)
    }
}

/// A field as it is stored.
#[derive(Clone, Debug)]
struct Record(Text);

impl Record {
    fn new(field: Field<'_>) -> Self {
        let mut head = [0; HEAD_MAX];
        let mut rest = (field.name.len() as u64) << 1 | u64::from(field.due_ms.is_some());
        let mut len = 0;
        for byte in &mut head {
            *byte = rest as u8 & 0x7f;
            rest >>= 7;
            len += 1;
            if rest == 0 {
                break;
            }
            *byte |= 0x80;
        }
        let due = field.due_ms.unwrap_or(0).to_le_bytes();
        let due = if field.due_ms.is_some() { &due[..] } else { &[] };
        Self(Text::concat(&[&head[..len], due, field.name, field.value]))
    }

    /// Length of the field's name, whether it has a due time, and where that or the name begins.
    #[inline]
    fn head(&self) -> (usize, bool, usize) {
        let mut head = 0;
        for (at, &byte) in self.0.iter().take(HEAD_MAX).enumerate() {
            head |= usize::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return (head >> 1, head & 1 == 1, at + 1);
            }
        }
        (0, false, 0)
    }

    #[inline]
    fn name(&self) -> &[u8] {
        let (len, has_due, start) = self.head();
        let start = start + if has_due { DUE_WIDTH } else { 0 };
        self.0.get(start..start + len).unwrap_or_default()
    }

    #[inline]
    fn due_ms(&self) -> Option<u64> {
        let (_, has_due, _) = self.head();
        if has_due { self.field().due_ms } else { None }
    }

    #[inline]
    fn field(&self) -> Field<'_> {
        let (len, has_due, start) = self.head();
        let rest = self.0.get(start..).unwrap_or_default();
        let (due, rest) = rest.split_at_checked(if has_due { DUE_WIDTH } else { 0 }).unwrap_or_default();
        let (name, value) = rest.split_at_checked(len).unwrap_or_default();
        Field { name, value, due_ms: due.try_into().ok().map(u64::from_le_bytes) }
    }

    /// Writes value and due time over the present ones; false if they do not fit exactly.
    fn overwrite(&mut self, value: &[u8], due_ms: Option<u64>) -> bool {
        let (len, has_due, start) = self.head();
        let value_at = start + len + if has_due { DUE_WIDTH } else { 0 };
        if has_due != due_ms.is_some() || self.0.len() != value_at + value.len() {
            return false;
        }
        if let (Some(due_ms), Some(place)) = (due_ms, self.0.get_mut(start..start + DUE_WIDTH)) {
            place.copy_from_slice(&due_ms.to_le_bytes());
        }
        if let Some(place) = self.0.get_mut(value_at..) {
            place.copy_from_slice(value);
        }
        true
    }
}

fn hash(record: &Record) -> u64 {
    text_hash(record.name())
}

/// Due times in order, each with the hash of its field; takes no memory while there are none.
#[derive(Clone, Debug, Default)]
#[expect(clippy::box_collection, reason = "most hashes have none, and a pointer is less than a set")]
struct DueTimes(Option<Box<BTreeSet<(u64, u64)>>>);

impl DueTimes {
    fn first(&self) -> Option<(u64, u64)> {
        self.0.as_ref()?.first().copied()
    }

    fn count_until(&self, now_ms: u64) -> usize {
        self.0.as_ref().map_or(0, |times| times.range(..=(now_ms, u64::MAX)).count())
    }

    fn insert(&mut self, due_ms: u64, hashed: u64) {
        self.0.get_or_insert_default().insert((due_ms, hashed));
    }

    fn remove(&mut self, due_ms: u64, hashed: u64) {
        let Some(times) = &mut self.0 else { return };
        times.remove(&(due_ms, hashed));
        if times.is_empty() {
            self.0 = None;
        }
    }

    fn heap_bytes(&self) -> usize {
        let tree = size_class(size_of::<BTreeSet<(u64, u64)>>());
        self.0.as_ref().map_or(0, |times| tree + times.len() * DUE_BYTES)
    }
}

/// Fields by name; see the module.
#[derive(Clone, Debug, Default)]
pub struct HashTable {
    records: Table<Record>,
    due: DueTimes,
    /// Allocated by records.
    record_bytes: usize,
}

impl HashTable {
    /// All fields, also those that are due.
    pub fn fields(&self) -> usize {
        self.records.len()
    }

    /// Fields that are due.
    pub fn due_fields(&self, now_ms: u64) -> usize {
        self.due.count_until(now_ms)
    }

    /// When the first field is due.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| due_ms)
    }

    /// Bytes that the allocator holds.
    pub fn heap_bytes(&self) -> usize {
        size_class(size_of::<Self>()) + self.records.heap_bytes() + self.record_bytes + self.due.heap_bytes()
    }

    /// A field, due or not.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        let record = self.records.get(text_hash(name), |record| record.name() == name)?;
        Some(record.field())
    }

    /// Sets a field's value, and its due time to what `due_after` makes of the present one (that of a field that is due
    /// or not there counts as none); says whether the field is new.
    pub fn set(
        &mut self,
        name: &[u8],
        value: &[u8],
        now_ms: u64,
        due_after: impl FnOnce(Option<u64>) -> Option<u64>,
    ) -> bool {
        let hashed = text_hash(name);
        let Some(record) = self.records.get_mut(hashed, |record| record.name() == name) else {
            let due_ms = due_after(None);
            let record = Record::new(Field { name, value, due_ms });
            self.record_bytes += record.0.heap_bytes();
            self.records.insert(hashed, record, hash);
            self.reschedule(hashed, None, due_ms);
            return true;
        };
        let before_ms = record.due_ms();
        let is_new = before_ms.is_some_and(|due_ms| due_ms <= now_ms);
        let due_ms = due_after(before_ms.filter(|_| !is_new));
        if !record.overwrite(value, due_ms) {
            self.record_bytes -= record.0.heap_bytes();
            *record = Record::new(Field { name, value, due_ms });
            self.record_bytes += record.0.heap_bytes();
        }
        self.reschedule(hashed, before_ms, due_ms);
        is_new
    }

    fn reschedule(&mut self, hashed: u64, before_ms: Option<u64>, due_ms: Option<u64>) {
        if before_ms != due_ms {
            before_ms.into_iter().for_each(|due_ms| self.due.remove(due_ms, hashed));
            due_ms.into_iter().for_each(|due_ms| self.due.insert(due_ms, hashed));
        }
    }

    /// Changes when a field is due; false if there is no such field.
    pub fn set_due(&mut self, name: &[u8], due_ms: Option<u64>) -> bool {
        let Some(field) = self.get(name) else { return false };
        if field.due_ms != due_ms {
            let value = Text::from(field.value);
            self.set(name, &value, 0, |_| due_ms);
        }
        true
    }

    /// Removes a field; says whether it was seen, because it was not due; nothing if there was no such field.
    pub fn remove(&mut self, name: &[u8], now_ms: u64) -> Option<bool> {
        let hashed = text_hash(name);
        let record = self.records.remove(hashed, |record| record.name() == name, hash)?;
        self.record_bytes -= record.0.heap_bytes();
        let field = record.field();
        field.due_ms.into_iter().for_each(|due_ms| self.due.remove(due_ms, hashed));
        Some(!field.is_due(now_ms))
    }

    /// Removes fields that are due, the earliest first, at most `max`; says how many.
    pub fn expire(&mut self, now_ms: u64, max: usize) -> usize {
        let mut removed = 0;
        while removed < max {
            let Some((due_ms, hashed)) = self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms) else {
                break;
            };
            self.due.remove(due_ms, hashed);
            let is_it = |record: &Record| record.due_ms() == Some(due_ms);
            // More than one only where two fields share hash and due time.
            while let Some(record) = self.records.remove(hashed, is_it, hash) {
                self.record_bytes -= record.0.heap_bytes();
                removed += 1;
            }
        }
        removed
    }

    /// All fields, also those that are due, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.records.iter().map(Record::field)
    }

    /// A field at random that is not due, all with about the same chance.
    pub fn random(&self, rng: &mut Rng, now_ms: u64) -> Option<Field<'_>> {
        for _ in 0..RANDOM_TRIES {
            let field = self.records.random(rng)?.field();
            if !field.is_due(now_ms) {
                return Some(field);
            }
        }
        self.iter().find(|field| !field.is_due(now_ms))
    }

    /// One step of a walk: see [`Table::scan`]. Fields that are due are passed over.
    pub fn scan(&self, cursor: u64, count: usize, now_ms: u64, mut emit: impl FnMut(Field<'_>)) -> u64 {
        self.records.scan(cursor, count, hash, |record| {
            let field = record.field();
            if !field.is_due(now_ms) {
                emit(field);
            }
        })
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        self.records.validate(hash);
        let due = self.iter().filter_map(|field| Some((field.due_ms?, text_hash(field.name))));
        assert_eq!(due.collect::<BTreeSet<_>>(), *self.due.0.clone().unwrap_or_default());
        assert!(self.due.0.as_ref().is_none_or(|times| !times.is_empty()));
        assert_eq!(self.records.iter().map(|record| record.0.heap_bytes()).sum::<usize>(), self.record_bytes);
    }
}
