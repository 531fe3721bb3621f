//! Sets: a sorted row of integers, a listpack, or a hash table of members.
//!
//! A set of integers starts as an intset. The first member that is none makes it a listpack, if it is short and there are
//! few; otherwise, and beyond the thresholds, it becomes a table, and stays one: the conversions, and with them the names
//! that OBJECT ENCODING gives, are those of Redis 7.2. Adding, removing and looking up take constant time in a table.

use std::collections::HashSet;

use super::intset::{INTS_MAX, IntBuf, Ints};
use super::listpack::{Element, Pack, PackBuf};
use super::table::{Table, text_hash};
use super::text::Text;
use super::{Collection, Form, Thresholds, ValueType};
use crate::base::num::{IntegerText, parse_i64};
use crate::base::rng::Rng;
use crate::store::object::size_class;
use crate::store::prefetch;

/// Longest text of an integer.
const INTEGER_TEXT_MAX: usize = 20;
/// A share of a table's members above which going through all of them costs less than drawing.
const DRAWN_SHARE: usize = 3;

/// The members of a large set.
#[derive(Debug, Default)]
pub struct Members {
    table: Table<Text>,
    /// Allocated by long members.
    text_bytes: usize,
}

impl Clone for Members {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        for text in self.table.iter() {
            copy.insert(text_hash(text), text.clone());
        }
        copy
    }
}

impl Members {
    fn insert(&mut self, hash: u64, text: Text) {
        self.text_bytes += text.heap_bytes();
        self.table.insert(hash, text, |text| text_hash(text));
    }

    fn add(&mut self, member: &[u8]) -> bool {
        let hash = text_hash(member);
        if self.table.get(hash, |text| **text == *member).is_some() {
            return false;
        }
        self.insert(hash, Text::from(member));
        true
    }

    fn take(&mut self, hash: u64, is_it: impl Fn(&Text) -> bool) -> Option<Text> {
        let text = self.table.remove(hash, is_it, |text| text_hash(text))?;
        self.text_bytes -= text.heap_bytes();
        Some(text)
    }

    fn pop(&mut self, rng: &mut Rng) -> Option<Text> {
        let text = self.table.random(rng)?;
        let (hash, place) = (text_hash(text), std::ptr::from_ref(text).addr());
        self.take(hash, |text| std::ptr::from_ref(text).addr() == place)
    }
}

/// A set that can be changed.
#[derive(Clone, Debug)]
pub enum Set {
    /// Integers, ascending.
    Ints(IntBuf),
    /// A few short members.
    Packed(PackBuf),
    /// Anything.
    Table(Box<Members>),
}

impl Default for Set {
    fn default() -> Self {
        Self::Ints(IntBuf::default())
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// To be read.
    #[inline]
    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            Self::Ints(ints) => SetRef::Ints(ints.as_ints()),
            Self::Packed(buf) => SetRef::Packed(buf.as_pack()),
            Self::Table(members) => SetRef::Table(members),
        }
    }

    /// Brings what leads to the member of this hash, and then the member, into the cache, one step a call; false if that
    /// was the last one.
    #[inline]
    pub fn prefetch(&self, hash: u64, step: usize) -> bool {
        match (self, step) {
            (Self::Table(members), 0) => {
                prefetch::bring_whole(&**members);
                true
            }
            (Self::Table(members), step) => members.table.prefetch(hash, step - 1),
            _ => false,
        }
    }

    /// Prepares for `count` members to be added, of which `first` is the first: an empty set that would not stay small
    /// becomes a table at once, as in Redis.
    pub fn expect(&mut self, count: usize, first: &[u8], thresholds: &Thresholds) {
        let fits = match self {
            Self::Ints(ints) if ints.as_ints().is_empty() => {
                if count <= thresholds.set_max_intset_entries && integer(first).is_some() {
                    true
                } else if count <= thresholds.set_max_listpack_entries {
                    *self = Self::Packed(PackBuf::new());
                    true
                } else {
                    false
                }
            }
            Self::Ints(_) => count <= thresholds.set_max_intset_entries,
            Self::Packed(_) => count <= thresholds.set_max_listpack_entries,
            Self::Table(_) => true,
        };
        if !fits {
            self.make_table();
        }
    }

    /// Adds a member; false if it was there.
    #[inline]
    pub fn add(&mut self, member: &[u8], thresholds: &Thresholds) -> bool {
        match self {
            Self::Table(members) => members.add(member),
            Self::Ints(_) => match integer(member) {
                Some(value) => self.add_int(value, thresholds),
                None => {
                    self.leave_ints(member, thresholds);
                    self.add(member, thresholds)
                }
            },
            Self::Packed(buf) => {
                let pack = buf.as_pack();
                if pack.first().is_some_and(|first| pack.find(first, member, 0).is_some()) {
                    return false;
                }
                let fits = pack.len() < thresholds.set_max_listpack_entries
                    && member.len() <= thresholds.set_max_listpack_value
                    && buf.has_room(member.len());
                if fits {
                    buf.push_back(member);
                    return true;
                }
                self.make_table();
                self.add(member, thresholds)
            }
        }
    }

    /// Adds a member; false if it was there.
    #[inline]
    pub fn add_element(&mut self, element: Element<'_>, thresholds: &Thresholds) -> bool {
        match (&self, element) {
            (Self::Ints(_), Element::Int(value)) => self.add_int(value, thresholds),
            (_, element) => element.with_bytes(|member| self.add(member, thresholds)),
        }
    }

    fn add_int(&mut self, value: i64, thresholds: &Thresholds) -> bool {
        let Self::Ints(ints) = self else {
            return self.add(IntegerText::new().format(value), thresholds);
        };
        let added = ints.insert(value);
        let most = thresholds.set_max_intset_entries.min(INTS_MAX - 1);
        if added && ints.as_ints().len() > most {
            self.make_table();
        }
        added
    }

    /// Takes another form for a member that is no integer.
    fn leave_ints(&mut self, member: &[u8], thresholds: &Thresholds) {
        let Self::Ints(ints) = self else { return };
        let ints = ints.as_ints();
        let length = |value: i64| Element::Int(value).len();
        let longest = length(ints.get(0)).max(length(ints.get(ints.len().saturating_sub(1))));
        let fits = ints.len() < thresholds.set_max_listpack_entries
            && member.len().max(longest) <= thresholds.set_max_listpack_value;
        if !fits {
            return self.make_table();
        }
        let mut buf = PackBuf::new();
        ints.iter().for_each(|value| buf.push_back_int(value));
        *self = Self::Packed(buf);
    }

    fn make_table(&mut self) {
        if matches!(self, Self::Table(_)) {
            return;
        }
        let mut members = Box::<Members>::default();
        self.as_ref().iter().for_each(|element| {
            element.with_bytes(|member| members.insert(text_hash(member), Text::from(member)));
        });
        *self = Self::Table(members);
    }

    /// Takes a member out; false if it was not there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Table(members) => members.take(text_hash(member), |text| **text == *member).is_some(),
            Self::Ints(ints) => integer(member).is_some_and(|value| ints.remove(value)),
            Self::Packed(buf) => {
                let pack = buf.as_pack();
                let Some(at) = pack.first().and_then(|first| pack.find(first, member, 0)) else {
                    return false;
                };
                buf.remove(at, 1);
                true
            }
        }
    }

    /// Takes a random member out and hands it to `emit`; false if there is none.
    pub fn pop(&mut self, rng: &mut Rng, emit: impl FnOnce(Element<'_>)) -> bool {
        let len = self.as_ref().len();
        let index = rng.below(len as u64) as usize;
        match self {
            _ if len == 0 => return false,
            Self::Table(members) => match members.pop(rng) {
                Some(text) => emit(Element::Bytes(&text)),
                None => return false,
            },
            Self::Ints(ints) => {
                emit(Element::Int(ints.as_ints().get(index)));
                ints.remove_at(index);
            }
            Self::Packed(buf) => {
                let pack = buf.as_pack();
                let Some(at) = pack.seek(index as i64) else { return false };
                emit(pack.get(at));
                buf.remove(at, 1);
            }
        }
        true
    }

    /// Makes a set of integers alone an intset again, if the thresholds allow; for sets that are results.
    pub fn settle(&mut self, thresholds: &Thresholds) {
        let len = self.as_ref().len();
        if matches!(self, Self::Ints(_)) || len > thresholds.set_max_intset_entries {
            return;
        }
        let mut ints = IntBuf::default();
        if self.as_ref().iter().all(|element| element.as_int().is_some_and(|value| ints.insert(value))) {
            *self = Self::Ints(ints);
        }
    }
}

/// The integer that a member is, if its text is the canonical one.
#[inline]
fn integer(member: &[u8]) -> Option<i64> {
    if member.len() <= INTEGER_TEXT_MAX { parse_i64(member) } else { None }
}

/// A set, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum SetRef<'a> {
    /// Integers, ascending.
    Ints(Ints<'a>),
    /// A few short members.
    Packed(Pack<'a>),
    /// Anything.
    Table(&'a Members),
}

impl<'a> SetRef<'a> {
    /// How many members there are.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Packed(pack) => pack.len(),
            Self::Table(members) => members.table.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether this is a member.
    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            Self::Table(members) => members.table.get(text_hash(member), |text| **text == *member).is_some(),
            Self::Ints(ints) => integer(member).is_some_and(|value| ints.find(value).is_ok()),
            Self::Packed(pack) => pack.first().is_some_and(|first| pack.find(first, member, 0).is_some()),
        }
    }

    /// Whether this is a member.
    #[inline]
    pub fn contains_element(self, element: Element<'_>) -> bool {
        match (self, element) {
            (Self::Ints(ints), Element::Int(value)) => ints.find(value).is_ok(),
            (_, element) => element.with_bytes(|member| self.contains(member)),
        }
    }

    /// All members: integers ascending, others in no order.
    pub fn iter(self) -> impl Iterator<Item = Element<'a>> + Clone {
        let (ints, pack, members) = match self {
            Self::Ints(ints) => (Some(ints), None, None),
            Self::Packed(pack) => (None, Some(pack), None),
            Self::Table(members) => (None, None, Some(members)),
        };
        let ints = ints.into_iter().flat_map(|ints| ints.iter().map(Element::Int));
        let pack = pack.into_iter().flat_map(Pack::iter);
        let members = members.into_iter().flat_map(|members| members.table.iter());
        ints.chain(pack).chain(members.map(|text| Element::Bytes(text)))
    }

    /// A random member, any with about the same chance.
    pub fn random(self, rng: &mut Rng) -> Option<Element<'a>> {
        let index = rng.below(self.len() as u64) as usize;
        match self {
            Self::Ints(ints) => (!ints.is_empty()).then(|| Element::Int(ints.get(index))),
            Self::Packed(pack) => pack.seek(index as i64).map(|at| pack.get(at)),
            Self::Table(members) => members.table.random(rng).map(|text| Element::Bytes(text)),
        }
    }

    /// Hands `count` different random members to `emit`, or all if there are fewer; how many these were.
    pub fn sample(self, count: usize, rng: &mut Rng, mut emit: impl FnMut(Element<'a>)) -> usize {
        let len = self.len();
        if let Self::Table(members) = self
            && count < len / DRAWN_SHARE
        {
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let Some(text) = members.table.random(rng) else { break };
                if seen.insert(std::ptr::from_ref(text).addr()) {
                    emit(Element::Bytes(text));
                }
            }
            return seen.len();
        }
        // Each with the chance that as many as are still wanted are drawn from as many as are left.
        let mut wanted = count.min(len);
        for (passed, element) in self.iter().enumerate() {
            if wanted == 0 {
                break;
            }
            if rng.below((len - passed.min(len - 1)) as u64) < wanted as u64 {
                emit(element);
                wanted -= 1;
            }
        }
        count.min(len) - wanted
    }

    /// One step of a walk: hands about `count` members from `cursor` on (0 at the beginning) to `emit`; gives the cursor
    /// to go on with, 0 at the end. Small sets are walked in one step.
    pub fn scan(self, cursor: u64, count: usize, mut emit: impl FnMut(Element<'_>)) -> u64 {
        match self {
            Self::Table(members) => {
                members.table.scan(cursor, count, |text| text_hash(text), |text| emit(Element::Bytes(text)))
            }
            _ => {
                self.iter().for_each(emit);
                0
            }
        }
    }
}

impl Collection for Set {
    type Ref<'a> = SetRef<'a>;
    const TYPE: ValueType = ValueType::Set;

    #[inline]
    fn is_empty(&self) -> bool {
        match self {
            Self::Ints(ints) => ints.as_ints().is_empty(),
            Self::Packed(buf) => buf.as_pack().is_empty(),
            Self::Table(members) => members.table.is_empty(),
        }
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.capacity_bytes(),
            Self::Packed(buf) => buf.capacity_bytes(),
            Self::Table(members) => {
                size_class(size_of::<Members>()) + members.table.heap_bytes() + members.text_bytes
            }
        }
    }

    #[inline]
    fn packed(&self) -> Option<(Form, &[u8])> {
        match self {
            Self::Ints(ints) => Some((Form::Ints, ints.bytes())),
            Self::Packed(buf) => Some((Form::Set, buf.as_pack().bytes())),
            Self::Table(_) => None,
        }
    }

    #[inline]
    fn into_packed(self) -> Option<Vec<u8>> {
        match self {
            Self::Ints(ints) => Some(ints.into_vec()),
            Self::Packed(buf) => Some(buf.into_vec()),
            Self::Table(_) => None,
        }
    }

    #[inline]
    fn from_packed(form: Form, bytes: Vec<u8>) -> Self {
        if form == Form::Ints {
            Self::Ints(IntBuf::from_vec(bytes))
        } else {
            Self::Packed(PackBuf::from_vec(bytes))
        }
    }

    fn check(form: Form, bytes: &[u8]) -> bool {
        if form == Form::Ints {
            return Ints::check(bytes).is_some();
        }
        let Some(pack) = Pack::check(bytes).filter(|pack| !pack.is_empty()) else { return false };
        let mut seen = HashSet::new();
        pack.iter().all(|element| seen.insert(element.to_vec()))
    }

    fn shrink(&mut self) {
        match self {
            Self::Ints(ints) => ints.shrink(),
            Self::Packed(buf) => buf.shrink(),
            Self::Table(_) => {}
        }
    }

    #[inline]
    fn reference(&self) -> SetRef<'_> {
        self.as_ref()
    }

    #[inline]
    fn packed_reference(form: Form, bytes: &[u8]) -> SetRef<'_> {
        if form == Form::Ints { SetRef::Ints(Ints::of(bytes)) } else { SetRef::Packed(Pack::of(bytes)) }
    }

    fn encoding(reference: SetRef<'_>) -> &'static str {
        match reference {
            SetRef::Ints(_) => "intset",
            SetRef::Packed(_) => "listpack",
            SetRef::Table(_) => "hashtable",
        }
    }
}

#[cfg(test)]
mod tests;
