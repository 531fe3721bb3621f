//! Hashes: values by field, each with a due time of its own if it has one.
//!
//! A small hash is a listpack of fields and values; once a field has had a due time, of fields, values and due times
//! (Unix ms, 0 for none), the earliest first and those without one last. A big one is a [`HashTable`]. Nothing turns
//! back into a smaller form.
//!
//! A field that is due is not seen by those who read with the present time; [`Hash::expire_fields`] removes it.

mod fields;

use std::collections::HashSet;

pub use fields::{Field, HashTable};

use super::listpack::{At, Element, Pack, PackBuf};
use super::table::text_hash;
use super::{Collection, Form, Thresholds, ValueType};
use crate::base::num::IntegerText;
use crate::base::rng::Rng;

/// Elements of a field in a listpack without and with due times.
const PAIR: usize = 2;
const TRIPLE: usize = 3;
/// A table is walked whole, instead of asked for random fields, for a sample of more than its fields through this.
const SAMPLE_WALK_SHARE: usize = 3;

/// A hash, for changing.
#[derive(Clone, Debug)]
pub enum Hash {
    /// Fields and values.
    Packed(PackBuf),
    /// Fields, values and due times.
    Timed(PackBuf),
    /// Too large for a listpack.
    Table(Box<HashTable>),
}

/// A hash, for reading.
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> {
    /// Fields and values.
    Packed(Pack<'a>),
    /// Fields, values and due times.
    Timed(Pack<'a>),
    /// Too large for a listpack.
    Table(&'a HashTable),
}

/// What becomes of a field's due time when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldDue {
    /// It has none.
    Never,
    /// It keeps what it has; a new field has none.
    Keep,
    /// It is due at this Unix time in ms, which is not 0.
    At(u64),
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Self::Packed(PackBuf::new())
    }

    /// The reading side.
    #[inline]
    pub fn as_ref(&self) -> HashRef<'_> {
        match self {
            Self::Packed(buf) => HashRef::Packed(buf.as_pack()),
            Self::Timed(buf) => HashRef::Timed(buf.as_pack()),
            Self::Table(table) => HashRef::Table(table),
        }
    }

    /// Sets a field's value; says whether the field is new.
    pub fn set(
        &mut self,
        name: &[u8],
        value: &[u8],
        due: FieldDue,
        thresholds: &Thresholds,
        now_ms: u64,
    ) -> bool {
        let longest = thresholds.hash_max_listpack_value;
        if name.len() > longest || value.len() > longest {
            self.make_table();
        }
        match self {
            Self::Packed(_) | Self::Timed(_) => self.set_packed(name, value, due, thresholds, now_ms),
            Self::Table(table) => table.set(name, value, now_ms, |present_ms| due.after(present_ms)),
        }
    }

    fn set_packed(
        &mut self,
        name: &[u8],
        value: &[u8],
        due: FieldDue,
        thresholds: &Thresholds,
        now_ms: u64,
    ) -> bool {
        if matches!(due, FieldDue::At(_)) {
            self.make_timed();
        }
        let read = self.as_ref();
        let (found, width) = (read.find_packed(name), read.width());
        let (Self::Packed(buf) | Self::Timed(buf)) = &*self else { return false };
        let fits = buf.has_room(name.len() + value.len())
            && (found.is_some() || buf.as_pack().len() / width < thresholds.hash_max_listpack_entries);
        if !fits {
            self.make_table();
            return self.set(name, value, due, thresholds, now_ms);
        }
        match (self, found) {
            (Self::Packed(buf), Some(Place { value_at, .. })) => {
                buf.replace(value_at, value);
                false
            }
            (Self::Packed(buf), None) => {
                buf.push_back(name);
                buf.push_back(value);
                true
            }
            (Self::Timed(buf), Some(place)) => {
                let is_new = place.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
                let due_ms = due.after(place.due_ms.filter(|_| !is_new));
                if due_ms == place.due_ms {
                    buf.replace(place.value_at, value);
                } else {
                    buf.remove(place.at, TRIPLE);
                    insert_timed(buf, name, value, due_ms);
                }
                is_new
            }
            (Self::Timed(buf), None) => {
                insert_timed(buf, name, value, due.after(None));
                true
            }
            (Self::Table(_), _) => false,
        }
    }

    /// Changes when a field is due (never at 0), nothing for never; false if there is no such field.
    pub fn set_due(&mut self, name: &[u8], due_ms: Option<u64>) -> bool {
        if due_ms.is_some() {
            self.make_timed();
        }
        let found = self.as_ref().find_packed(name);
        match (self, found) {
            (Self::Table(table), _) => table.set_due(name, due_ms),
            (Self::Packed(_), found) => found.is_some(),
            (Self::Timed(buf), Some(place)) => {
                if place.due_ms != due_ms {
                    let value = buf.as_pack().get(place.value_at).to_vec();
                    buf.remove(place.at, TRIPLE);
                    insert_timed(buf, name, &value, due_ms);
                }
                true
            }
            (Self::Timed(_), None) => false,
        }
    }

    /// Removes a field; says whether it was seen, because it was not due; nothing if there was no such field.
    pub fn remove(&mut self, name: &[u8], now_ms: u64) -> Option<bool> {
        let read = self.as_ref();
        let (found, width) = (read.find_packed(name), read.width());
        match self {
            Self::Table(table) => table.remove(name, now_ms),
            Self::Packed(buf) | Self::Timed(buf) => {
                let place = found?;
                buf.remove(place.at, width);
                Some(place.due_ms.is_none_or(|due_ms| due_ms > now_ms))
            }
        }
    }

    /// Removes fields that are due, the earliest first, at most `max`; says how many.
    pub fn expire_fields(&mut self, now_ms: u64, max: usize) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Timed(buf) => {
                let pack = buf.as_pack();
                let count = due_triples(pack, now_ms).min(max);
                if let Some(first) = pack.first().filter(|_| count > 0) {
                    buf.remove(first, count * TRIPLE);
                }
                count
            }
            Self::Table(table) => table.expire(now_ms, max),
        }
    }

    /// Makes room for due times in a listpack without.
    fn make_timed(&mut self) {
        let Self::Packed(buf) = self else { return };
        let mut timed = PackBuf::new();
        let mut elements = buf.as_pack().iter();
        while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
            timed.push_back_element(name);
            timed.push_back_element(value);
            timed.push_back_int(0);
        }
        *self = Self::Timed(timed);
    }

    fn make_table(&mut self) {
        if matches!(self, Self::Table(_)) {
            return;
        }
        let mut table = Box::<HashTable>::default();
        self.as_ref().for_each_field(|name, value, due_ms| {
            name.with_bytes(|name| value.with_bytes(|value| table.set(name, value, 0, |_| due_ms)));
        });
        *self = Self::Table(table);
    }
}

impl Collection for Hash {
    type Ref<'a> = HashRef<'a>;
    const TYPE: ValueType = ValueType::Hash;

    /// Not even a field that is due is left.
    #[inline]
    fn is_empty(&self) -> bool {
        match self {
            Self::Packed(buf) | Self::Timed(buf) => buf.as_pack().is_empty(),
            Self::Table(table) => table.fields() == 0,
        }
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Packed(buf) | Self::Timed(buf) => buf.capacity_bytes(),
            Self::Table(table) => table.heap_bytes(),
        }
    }

    #[inline]
    fn packed(&self) -> Option<(Form, &[u8])> {
        match self {
            Self::Packed(buf) => Some((Form::Hash, buf.as_pack().bytes())),
            Self::Timed(buf) => Some((Form::HashDue, buf.as_pack().bytes())),
            Self::Table(_) => None,
        }
    }

    #[inline]
    fn into_packed(self) -> Option<Vec<u8>> {
        match self {
            Self::Packed(buf) | Self::Timed(buf) => Some(buf.into_vec()),
            Self::Table(_) => None,
        }
    }

    #[inline]
    fn from_packed(form: Form, bytes: Vec<u8>) -> Self {
        let buf = PackBuf::from_vec(bytes);
        if form == Form::HashDue { Self::Timed(buf) } else { Self::Packed(buf) }
    }

    fn check(form: Form, bytes: &[u8]) -> bool {
        is_valid(bytes, form == Form::HashDue)
    }

    fn shrink(&mut self) {
        if let Self::Packed(buf) | Self::Timed(buf) = self {
            buf.shrink();
        }
    }

    #[inline]
    fn reference(&self) -> HashRef<'_> {
        self.as_ref()
    }

    #[inline]
    fn packed_reference(form: Form, bytes: &[u8]) -> HashRef<'_> {
        let pack = Pack::of(bytes);
        if form == Form::HashDue { HashRef::Timed(pack) } else { HashRef::Packed(pack) }
    }

    fn encoding(reference: HashRef<'_>) -> &'static str {
        match reference {
            HashRef::Packed(_) => "listpack",
            HashRef::Timed(_) => "listpackex",
            HashRef::Table(_) => "hashtable",
        }
    }
}

impl FieldDue {
    fn after(self, present_ms: Option<u64>) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Keep => present_ms,
            Self::At(due_ms) => Some(due_ms),
        }
    }
}

/// Where a field stands in a listpack.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: At,
    value_at: At,
    due_ms: Option<u64>,
}

/// The due time that an element of a listpack says.
fn due_of(element: Element<'_>) -> Option<u64> {
    element.as_int().and_then(|due_ms| u64::try_from(due_ms).ok()).filter(|&due_ms| due_ms > 0)
}

/// Fields at the front of a listpack that are due.
fn due_triples(pack: Pack<'_>, now_ms: u64) -> usize {
    let due = pack.iter().skip(TRIPLE - 1).step_by(TRIPLE);
    due.take_while(|&element| due_of(element).is_some_and(|due_ms| due_ms <= now_ms)).count()
}

/// Adds a field behind those that are due no later.
fn insert_timed(buf: &mut PackBuf, name: &[u8], value: &[u8], due_ms: Option<u64>) {
    let later = due_ms.and_then(|due_ms| {
        let pack = buf.as_pack();
        let mut at = pack.first();
        while let Some(field) = at {
            let due_at = pack.next(field).and_then(|value| pack.next(value))?;
            if due_of(pack.get(due_at)).is_none_or(|other_ms| other_ms > due_ms) {
                break;
            }
            at = pack.next(due_at);
        }
        at
    });
    let mut text = IntegerText::new();
    let due = text.format_u64(due_ms.unwrap_or(0));
    match later {
        Some(at) => {
            let at = buf.insert_before(at, name);
            let at = buf.insert_after(at, value);
            buf.insert_after(at, due);
        }
        None => [name, value, due].into_iter().for_each(|text| buf.push_back(text)),
    }
}

impl<'a> HashRef<'a> {
    /// Fields that are not due.
    pub fn len(self, now_ms: u64) -> usize {
        match self {
            Self::Packed(pack) => pack.len() / PAIR,
            Self::Timed(pack) => pack.len() / TRIPLE - due_triples(pack, now_ms),
            Self::Table(table) => table.fields() - table.due_fields(now_ms),
        }
    }

    /// Whether every field is due.
    pub fn is_empty(self, now_ms: u64) -> bool {
        self.len(now_ms) == 0
    }

    /// When the first field is due.
    pub fn next_due_ms(self) -> Option<u64> {
        match self {
            Self::Packed(_) => None,
            Self::Timed(pack) => pack.iter().nth(TRIPLE - 1).and_then(due_of),
            Self::Table(table) => table.next_due_ms(),
        }
    }

    /// A field's value, unless it is due.
    #[inline]
    pub fn get(self, name: &[u8], now_ms: u64) -> Option<Element<'a>> {
        match self {
            Self::Packed(pack) => {
                let at = pack.find(pack.first()?, name, PAIR - 1)?;
                Some(pack.get(pack.next(at)?))
            }
            Self::Timed(pack) => {
                let place = self.find_packed(name)?;
                place.due_ms.is_none_or(|due_ms| due_ms > now_ms).then(|| pack.get(place.value_at))
            }
            Self::Table(table) => {
                let field = table.get(name).filter(|field| !field.is_due(now_ms))?;
                Some(Element::Bytes(field.value))
            }
        }
    }

    /// When a field is due: nothing if there is none or it is due, `Some(None)` for one that never is.
    pub fn due_ms(self, name: &[u8], now_ms: u64) -> Option<Option<u64>> {
        let due_ms = match self {
            Self::Packed(_) | Self::Timed(_) => self.find_packed(name)?.due_ms,
            Self::Table(table) => table.get(name)?.due_ms,
        };
        due_ms.is_none_or(|due_ms| due_ms > now_ms).then_some(due_ms)
    }

    /// Hands every field that is not due to `each`, with its value.
    #[inline]
    pub fn for_each(self, now_ms: u64, mut each: impl FnMut(Element<'a>, Element<'a>)) {
        match self {
            Self::Packed(pack) => {
                let mut elements = pack.iter();
                while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
                    each(name, value);
                }
            }
            _ => self.for_each_field(|name, value, due_ms| {
                if due_ms.is_none_or(|due_ms| due_ms > now_ms) {
                    each(name, value);
                }
            }),
        }
    }

    /// Hands every field to `each`, with its value and due time in Unix ms, also those that are due.
    pub fn for_each_field(self, mut each: impl FnMut(Element<'a>, Element<'a>, Option<u64>)) {
        match self {
            Self::Packed(pack) => {
                let mut elements = pack.iter();
                while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
                    each(name, value, None);
                }
            }
            Self::Timed(pack) => {
                let mut elements = pack.iter();
                while let (Some(name), Some(value), Some(due)) =
                    (elements.next(), elements.next(), elements.next())
                {
                    each(name, value, due_of(due));
                }
            }
            Self::Table(table) => table.iter().for_each(|field| {
                each(Element::Bytes(field.name), Element::Bytes(field.value), field.due_ms)
            }),
        }
    }

    /// A field at random that is not due, with its value.
    pub fn random(self, rng: &mut Rng, now_ms: u64) -> Option<(Element<'a>, Element<'a>)> {
        match self {
            Self::Packed(pack) | Self::Timed(pack) => {
                let (width, len) = (self.width(), self.len(now_ms));
                let due = pack.len() / width - len;
                let index = due + rng.below(len as u64) as usize;
                let at = pack.seek((index * width) as i64).filter(|_| len > 0)?;
                Some((pack.get(at), pack.get(pack.next(at)?)))
            }
            Self::Table(table) => {
                let field = table.random(rng, now_ms)?;
                Some((Element::Bytes(field.name), Element::Bytes(field.value)))
            }
        }
    }

    /// Hands `count` different fields that are not due to `each`, with their values: all if there are no more.
    pub fn sample(
        self,
        count: usize,
        rng: &mut Rng,
        now_ms: u64,
        mut each: impl FnMut(Element<'a>, Element<'a>),
    ) {
        let len = self.len(now_ms);
        let count = count.min(len);
        if let Self::Table(table) = self
            && count < len / SAMPLE_WALK_SHARE
        {
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let Some(field) = table.random(rng, now_ms) else { return };
                if seen.insert(text_hash(field.name)) {
                    each(Element::Bytes(field.name), Element::Bytes(field.value));
                }
            }
            return;
        }
        // Of those to come, every one has the same chance to be among those that are still wanted.
        let (mut left, mut wanted) = (len as u64, count as u64);
        self.for_each(now_ms, |name, value| {
            if rng.below(left) < wanted {
                each(name, value);
                wanted -= 1;
            }
            left = left.saturating_sub(1);
        });
    }

    /// One step of a walk through the fields that are not due, with their values: see
    /// [`scan`](super::table::Table::scan). A small hash is walked in one step.
    pub fn scan(
        self,
        cursor: u64,
        count: usize,
        now_ms: u64,
        mut emit: impl FnMut(Element<'_>, Element<'_>),
    ) -> u64 {
        match self {
            Self::Packed(_) | Self::Timed(_) => {
                self.for_each(now_ms, emit);
                0
            }
            Self::Table(table) => table.scan(cursor, count, now_ms, |field| {
                emit(Element::Bytes(field.name), Element::Bytes(field.value));
            }),
        }
    }

    /// The same through all fields, those that are due included, with their due times in Unix ms.
    pub fn scan_fields(
        self,
        cursor: u64,
        count: usize,
        mut emit: impl FnMut(Element<'_>, Element<'_>, Option<u64>),
    ) -> u64 {
        match self {
            Self::Packed(_) | Self::Timed(_) => {
                self.for_each_field(emit);
                0
            }
            // At the beginning of time no field is due.
            Self::Table(table) => table.scan(cursor, count, 0, |field| {
                emit(Element::Bytes(field.name), Element::Bytes(field.value), field.due_ms);
            }),
        }
    }

    /// Elements of a field in a listpack.
    #[inline]
    fn width(self) -> usize {
        if matches!(self, Self::Timed(_)) { TRIPLE } else { PAIR }
    }

    /// A field in a listpack, due or not.
    #[inline]
    fn find_packed(self, name: &[u8]) -> Option<Place> {
        match self {
            Self::Packed(pack) => {
                let at = pack.find(pack.first()?, name, PAIR - 1)?;
                Some(Place { at, value_at: pack.next(at)?, due_ms: None })
            }
            Self::Timed(pack) => {
                let at = pack.find(pack.first()?, name, TRIPLE - 1)?;
                let value_at = pack.next(at)?;
                Some(Place { at, value_at, due_ms: due_of(pack.get(pack.next(value_at)?)) })
            }
            Self::Table(_) => None,
        }
    }
}

/// Whether bytes that came from elsewhere are a hash of this form: a listpack of whole fields, none of them twice, and
/// due times (if `timed`) in order.
fn is_valid(bytes: &[u8], timed: bool) -> bool {
    let Some(pack) = Pack::check(bytes) else { return false };
    let hash = if timed { HashRef::Timed(pack) } else { HashRef::Packed(pack) };
    let elements = pack.iter().count();
    if elements == 0 || !elements.is_multiple_of(hash.width()) {
        return false;
    }
    let mut names = HashSet::new();
    let mut last_ms = 0;
    let mut valid = true;
    hash.for_each_field(|name, _, due_ms| {
        let order_ms = due_ms.unwrap_or(u64::MAX);
        valid &= names.insert(name.to_vec()) && order_ms >= last_ms;
        last_ms = order_ms;
    });
    let mut due = pack.iter().skip(TRIPLE - 1).step_by(TRIPLE);
    valid && (!timed || due.all(|element| matches!(element, Element::Int(due_ms) if due_ms >= 0)))
}

#[cfg(test)]
mod tests;
