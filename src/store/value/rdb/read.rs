//! Reading values, in every form that Redis ever wrote.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{container, kind, lzf, mark, streams, string, ziplist};
use crate::base::num::{IntegerText, parse_f64};
use crate::store::value::hash::{FieldDue, Hash};
use crate::store::value::list::{End, List};
use crate::store::value::listpack::{Element, Pack, PackBuf};
use crate::store::value::set::Set;
use crate::store::value::sorted::SortedSet;
use crate::store::value::text::Text;
use crate::store::value::{Collection, Form, Thresholds, Typed, Value};

/// Bytes that the compressed strings of one value may unfold to, all together.
pub const INFLATED_MAX_BYTES: usize = 512 * 1024 * 1024;
/// The latest time at which a field may be due, in Unix ms.
const FIELD_DUE_MAX_MS: u64 = (1 << 48) - 2;
/// Lengths of a score's text that stand for no text.
const SCORE_NAN: u8 = 253;
const SCORE_INFINITE: u8 = 254;
const SCORE_NEGATIVE_INFINITE: u8 = 255;

/// The bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The value that a type byte and a body are; nothing may come behind it.
///
/// # Errors
/// They are none, or an empty collection.
pub fn decode(bytes: &[u8], thresholds: &Thresholds) -> Result<Value, Malformed> {
    let mut reader = Reader::new(bytes);
    let kind = reader.byte()?;
    let value = match kind {
        kind::STRING => Value::Str(reader.string()?.into_owned().into()),
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            list(&mut reader, kind, thresholds)?.wrap()
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => set(&mut reader, kind, thresholds)?.wrap(),
        kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
            sorted_set(&mut reader, kind, thresholds)?.wrap()
        }
        kind::HASH
        | kind::HASH_ZIPMAP
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::HASH_METADATA
        | kind::HASH_LISTPACK_EX => hash(&mut reader, kind, thresholds)?.wrap(),
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            Box::new(streams::decode(&mut reader, kind)?).wrap()
        }
        _ => return Err(Malformed),
    };
    if reader.is_empty() { Ok(value) } else { Err(Malformed) }
}

/// Takes one string off the front of `bytes`, in any of its forms.
///
/// # Errors
/// There is none.
pub fn take_text(bytes: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(bytes);
    let text = reader.string()?.into_owned();
    *bytes = reader.rest;
    Ok(text)
}

/// A length's first byte and what follows it.
enum Length {
    /// A length or a number.
    Plain(u64),
    /// How a string is encoded.
    Encoded(u8),
}

/// Bytes, from which parts are taken off the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    inflated_left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, inflated_left: INFLATED_MAX_BYTES }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn any_length(&mut self) -> Result<Length, Malformed> {
        let first = self.byte()?;
        let low = first & !mark::KIND;
        Ok(Length::Plain(match first & mark::KIND {
            mark::SIX_BITS => u64::from(low),
            mark::FOURTEEN_BITS => u64::from(low) << 8 | u64::from(self.byte()?),
            mark::ENCODED => return Ok(Length::Encoded(low)),
            _ if first == mark::FOUR_BYTES => u64::from(u32::from_be_bytes(self.array()?)),
            _ if first == mark::EIGHT_BYTES => u64::from_be_bytes(self.array()?),
            _ => return Err(Malformed),
        }))
    }

    /// A number in the form of a length.
    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        match self.any_length()? {
            Length::Plain(number) => Ok(number),
            Length::Encoded(_) => Err(Malformed),
        }
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed)
    }

    /// A number of elements, each of which takes a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.length()?;
        if count > self.rest.len() { Err(Malformed) } else { Ok(count) }
    }

    /// Eight bytes, the lowest first: times in Unix ms.
    pub(super) fn ms(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let integer = |value: i64| Cow::Owned(IntegerText::new().format(value).to_vec());
        Ok(match self.any_length()? {
            Length::Plain(length) => {
                Cow::Borrowed(self.take(usize::try_from(length).map_err(|_| Malformed)?)?)
            }
            Length::Encoded(string::INT8) => integer(i64::from(i8::from_le_bytes(self.array()?))),
            Length::Encoded(string::INT16) => integer(i64::from(i16::from_le_bytes(self.array()?))),
            Length::Encoded(string::INT32) => integer(i64::from(i32::from_le_bytes(self.array()?))),
            Length::Encoded(string::LZF) => {
                let (folded, length) = (self.length()?, self.length()?);
                self.inflated_left = self.inflated_left.checked_sub(length).ok_or(Malformed)?;
                Cow::Owned(lzf::unfold(self.take(folded)?, length).ok_or(Malformed)?)
            }
            Length::Encoded(_) => return Err(Malformed),
        })
    }

    fn score(&mut self, kind: u8) -> Result<f64, Malformed> {
        let score = if kind == kind::ZSET_2 {
            f64::from_le_bytes(self.array()?)
        } else {
            match self.byte()? {
                SCORE_NAN => f64::NAN,
                SCORE_INFINITE => f64::INFINITY,
                SCORE_NEGATIVE_INFINITE => f64::NEG_INFINITY,
                length => parse_f64(self.take(usize::from(length))?).ok_or(Malformed)?,
            }
        };
        if score.is_nan() { Err(Malformed) } else { Ok(score) }
    }
}

/// A listpack that was looked at.
fn pack(bytes: &[u8]) -> Result<Pack<'_>, Malformed> {
    Pack::check(bytes).ok_or(Malformed)
}

/// A value that is not empty.
fn filled<T: Collection>(value: T) -> Result<T, Malformed> {
    if value.is_empty() { Err(Malformed) } else { Ok(value) }
}

fn list(reader: &mut Reader<'_>, kind: u8, thresholds: &Thresholds) -> Result<List, Malformed> {
    let mut packs = Vec::new();
    let nodes = if kind == kind::LIST_ZIPLIST { 1 } else { reader.count()? };
    let mut alone = List::new();
    for _ in 0..nodes {
        let form = if kind == kind::LIST_QUICKLIST_2 { reader.number()? } else { container::PACKED };
        let bytes = reader.string()?;
        match (kind, form) {
            (kind::LIST, _) => alone.push(End::Right, std::iter::once(&*bytes), thresholds),
            (kind::LIST_QUICKLIST_2, container::PLAIN) => {
                let mut node = PackBuf::new();
                node.push_back(&bytes);
                packs.push(node);
            }
            (kind::LIST_QUICKLIST_2, container::PACKED) => {
                if !pack(&bytes)?.is_empty() {
                    packs.push(PackBuf::from_vec(bytes.into_owned()));
                }
            }
            (kind::LIST_QUICKLIST_2, _) => return Err(Malformed),
            _ => {
                let mut node = PackBuf::new();
                ziplist::elements(&bytes)?.into_iter().for_each(|element| node.push_back_element(element));
                if !node.as_pack().is_empty() {
                    packs.push(node);
                }
            }
        }
    }
    filled(if kind == kind::LIST { alone } else { List::from_packs(packs, thresholds) })
}

fn set(reader: &mut Reader<'_>, kind: u8, thresholds: &Thresholds) -> Result<Set, Malformed> {
    let mut set = Set::new();
    if kind == kind::SET {
        let count = reader.count()?;
        for _ in 0..count {
            if !set.add(&reader.string()?, thresholds) {
                return Err(Malformed);
            }
        }
        return filled(set);
    }
    let bytes = reader.string()?;
    let form = if kind == kind::SET_INTSET { Form::Ints } else { Form::Set };
    if !Set::check(form, &bytes) {
        return Err(Malformed);
    }
    let packed = Set::packed_reference(form, &bytes);
    let most = if form == Form::Ints {
        thresholds.set_max_intset_entries
    } else {
        thresholds.set_max_listpack_entries
    };
    if packed.len() <= most {
        return Ok(Set::from_packed(form, bytes.into_owned()));
    }
    packed.iter().for_each(|member| {
        set.add_element(member, thresholds);
    });
    filled(set)
}

fn sorted_set(reader: &mut Reader<'_>, kind: u8, thresholds: &Thresholds) -> Result<SortedSet, Malformed> {
    let mut members: Vec<(Text, f64)> = Vec::new();
    if matches!(kind, kind::ZSET | kind::ZSET_2) {
        let count = reader.count()?;
        for _ in 0..count {
            let member = Text::from(&*reader.string()?);
            members.push((member, reader.score(kind)?));
        }
    } else {
        let bytes = reader.string()?;
        let mut add = |member: Element<'_>, score: Element<'_>| {
            let score = score.as_f64().filter(|score| !score.is_nan()).ok_or(Malformed)?;
            members.push((member.with_bytes(|bytes| Text::from(bytes)), score));
            Ok(())
        };
        if kind == kind::ZSET_ZIPLIST {
            for_pairs(ziplist::elements(&bytes)?.into_iter(), &mut add)?;
        } else {
            for_pairs(pack(&bytes)?.iter(), &mut add)?;
        }
    }
    let mut seen = HashSet::new();
    if !members.iter().all(|(member, _)| seen.insert(&**member)) {
        return Err(Malformed);
    }
    drop(seen);
    filled(SortedSet::from_members(members, thresholds))
}

/// Hands every two elements to `each`; an odd one out is an error.
fn for_pairs<'p>(
    mut elements: impl Iterator<Item = Element<'p>>,
    each: &mut impl FnMut(Element<'p>, Element<'p>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while let Some(first) = elements.next() {
        each(first, elements.next().ok_or(Malformed)?)?;
    }
    Ok(())
}

/// Adds a field that must be new.
fn add_field(
    hash: &mut Hash,
    (name, value): (&[u8], &[u8]),
    due_ms: u64,
    thresholds: &Thresholds,
) -> Result<(), Malformed> {
    let due = match due_ms {
        0 => FieldDue::Never,
        1..=FIELD_DUE_MAX_MS => FieldDue::At(due_ms),
        _ => return Err(Malformed),
    };
    // At the beginning of time, when no field is due yet.
    if hash.set(name, value, due, thresholds, 0) { Ok(()) } else { Err(Malformed) }
}

fn hash(reader: &mut Reader<'_>, kind: u8, thresholds: &Thresholds) -> Result<Hash, Malformed> {
    let mut hash = Hash::new();
    if matches!(kind, kind::HASH | kind::HASH_METADATA) {
        let first_ms = if kind == kind::HASH_METADATA { reader.ms()? } else { 0 };
        let count = reader.count()?;
        for _ in 0..count {
            let ttl = if kind == kind::HASH_METADATA { reader.number()? } else { 0 };
            let due_ms = if ttl == 0 { 0 } else { first_ms.checked_add(ttl - 1).ok_or(Malformed)? };
            let (name, value) = (reader.string()?, reader.string()?);
            add_field(&mut hash, (&name, &value), due_ms, thresholds)?;
        }
        return filled(hash);
    }
    if kind == kind::HASH_LISTPACK_EX {
        reader.ms()?;
    }
    let bytes = reader.string()?;
    let mut add = |name: Element<'_>, value: Element<'_>, due_ms: u64| {
        name.with_bytes(|name| {
            value.with_bytes(|value| add_field(&mut hash, (name, value), due_ms, thresholds))
        })
    };
    match kind {
        kind::HASH_ZIPMAP => {
            for_pairs(ziplist::zipmap(&bytes)?.into_iter(), &mut |name, value| add(name, value, 0))?;
        }
        kind::HASH_ZIPLIST => {
            for_pairs(ziplist::elements(&bytes)?.into_iter(), &mut |name, value| add(name, value, 0))?;
        }
        kind::HASH_LISTPACK => {
            for_pairs(pack(&bytes)?.iter(), &mut |name, value| add(name, value, 0))?;
        }
        _ => {
            let mut elements = pack(&bytes)?.iter();
            while let Some(name) = elements.next() {
                let value = elements.next().ok_or(Malformed)?;
                let due = elements.next().and_then(Element::as_int).ok_or(Malformed)?;
                add(name, value, u64::try_from(due).map_err(|_| Malformed)?)?;
            }
        }
    }
    filled(hash)
}
