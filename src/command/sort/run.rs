//! How SORT runs: load the elements, weigh them, sort, and write or store what is asked for.
//!
//! Elements stay where they are in their value while they are sorted; only what is stored is copied.

use crate::base::num::parse_f64;
use crate::command::context::{Cx, Data};
use crate::command::sort::Options;
use crate::command::sort::pattern::{Lookups, Word, value_under};
use crate::hub::events::Class;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::store::key::Key;
use crate::store::value::list::{End, List};
use crate::store::value::{Collection, Thresholds, Value, ValueRef};
use std::cmp::Ordering;
use std::ops::Range;

/// An element and what decides its place.
struct Item<'d> {
    element: Word<'d>,
    weight: Weight<'d>,
}

enum Weight<'d> {
    /// The element's own text.
    Itself,
    /// A number; equal ones are in the order of their elements' texts.
    Score(f64),
    /// A text from elsewhere; nothing comes first.
    Text(Option<Word<'d>>),
}

impl Item<'_> {
    fn order(&self, other: &Self) -> Ordering {
        let elements = || self.element.bytes().cmp(other.element.bytes());
        match (&self.weight, &other.weight) {
            (Weight::Score(one), Weight::Score(two)) => {
                one.partial_cmp(two).unwrap_or(Ordering::Equal).then_with(elements)
            }
            (Weight::Text(one), Weight::Text(two)) => {
                one.as_ref().map(Word::bytes).cmp(&two.as_ref().map(Word::bytes))
            }
            _ => elements(),
        }
    }
}

/// Runs a request whose options are read.
pub fn run(cx: &mut Cx<'_>, key: &Key<'_>, mut options: Options<'_>) -> Result<(), Error> {
    cx.data.read(key);
    let thresholds = cx.thresholds();
    let mut lookups = Lookups::default();
    let value = value_under(&cx.data, key);
    let is_for_good = options.store.is_some() || cx.session.in_script;
    if options.as_stored && is_for_good && matches!(value, Some(ValueRef::Set(_))) {
        // A set has no order of its own that a stored list could have, or that a script could rely on.
        (options.as_stored, options.alpha, options.by) = (false, true, None);
    }
    let outcome = match value {
        Some(value) => sorted(&cx.data, value, &options, &mut lookups),
        None => Ok(Vec::new()),
    };
    let stored = outcome.map(|items| match options.store {
        None => {
            write(cx.reply, &cx.data, &items, &options, &mut lookups);
            None
        }
        Some(destination) => {
            Some((destination, collect(&cx.data, &items, &options, &mut lookups, &thresholds)))
        }
    });
    cx.data.hits += lookups.hits;
    cx.data.misses += lookups.misses;
    match stored? {
        Some((destination, list)) => store(cx, destination, list),
        None => Ok(()),
    }
}

/// The part of the result that is wanted, of `len` elements.
fn resolve_limit((offset, count): (i64, i64), len: usize) -> Range<usize> {
    let bounded = |number: i64| usize::try_from(number).unwrap_or(0).min(len);
    let start = bounded(offset);
    let end = if count < 0 { len } else { start.saturating_add(bounded(count)).min(len) };
    start..end
}

/// The elements that are wanted, in order.
///
/// # Errors
/// `WRONGTYPE`, or a weight that is no number.
fn sorted<'d>(
    data: &'d Data<'_>,
    value: ValueRef<'d>,
    options: &Options<'_>,
    lookups: &mut Lookups,
) -> Result<Vec<Item<'d>>, Error> {
    let elements = load(value, options)?;
    let mut items = Vec::with_capacity(elements.len());
    if options.as_stored {
        items.extend(elements.into_iter().map(|element| Item { element, weight: Weight::Itself }));
        return Ok(items);
    }
    let mut failure = None;
    for element in elements {
        // Whatever one of them is, all are looked up: so Redis counts.
        match weigh(data, element, options, lookups) {
            Ok(weight) => items.push(Item { element, weight }),
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    let wanted = resolve_limit(options.limit, items.len());
    let order = |one: &Item<'_>, other: &Item<'_>| {
        if options.descending { other.order(one) } else { one.order(other) }
    };
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // Texts from elsewhere may be equal where elements are not: those stay in the order in which they were found.
    let is_total = !(options.alpha && options.by.is_some());
    if is_total && wanted.end < items.len() {
        items.select_nth_unstable_by(wanted.end, order);
        items.truncate(wanted.end);
    }
    items.sort_by(order);
    items.truncate(wanted.end);
    items.drain(..wanted.start);
    Ok(items)
}

/// The elements to be sorted: all, or just those that are wanted where their order stands already.
fn load<'d>(value: ValueRef<'d>, options: &Options<'_>) -> Result<Vec<Word<'d>>, Error> {
    let wanted = |len| if options.as_stored { resolve_limit(options.limit, len) } else { 0..len };
    let is_reverse = options.as_stored && options.descending;
    Ok(match value {
        ValueRef::List(list) => {
            let range = wanted(list.len());
            if is_reverse {
                list.iter().rev().skip(range.start).take(range.len()).map(Word::from).collect()
            } else {
                list.iter_from(range.start).take(range.len()).map(Word::from).collect()
            }
        }
        ValueRef::Set(set) => {
            let range = wanted(set.len());
            set.iter().skip(range.start).take(range.len()).map(Word::from).collect()
        }
        ValueRef::SortedSet(sorted) => {
            let range = wanted(sorted.len());
            let first = if is_reverse { sorted.len().wrapping_sub(1 + range.start) } else { range.start };
            sorted.walk(first, range.len(), is_reverse).map(|(member, _)| Word::from(member)).collect()
        }
        _ => return Err(Error::WrongType),
    })
}

fn weigh<'d>(
    data: &'d Data<'_>,
    element: Word<'d>,
    options: &Options<'_>,
    lookups: &mut Lookups,
) -> Result<Weight<'d>, Error> {
    let found = options.by.map(|by| lookups.find(data, by, element));
    Ok(match found {
        None if options.alpha => Weight::Itself,
        Some(text) if options.alpha => Weight::Text(text),
        Some(None) => Weight::Score(0.0),
        Some(Some(text)) => Weight::Score(score(text.bytes())?),
        None => Weight::Score(score(element.bytes())?),
    })
}

/// Reads a weight, as C's `strtod` would: blanks may stand before it, a NUL ends it, and nothing at all is zero.
fn score(text: &[u8]) -> Result<f64, Error> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    parse_f64(&text[blanks..]).ok_or(Error::Fixed("ERR One or more scores can't be converted into double"))
}

fn write(
    reply: &mut Reply,
    data: &Data<'_>,
    items: &[Item<'_>],
    options: &Options<'_>,
    lookups: &mut Lookups,
) {
    reply.array(items.len() * options.gets.len().max(1));
    for item in items {
        if options.gets.is_empty() {
            reply.bulk(item.element.bytes());
        }
        for &get in &options.gets {
            match lookups.find(data, get, item.element) {
                Some(text) => reply.bulk(text.bytes()),
                None => reply.null(),
            }
        }
    }
}

/// What STORE is to store: empty texts stand for what is not there.
fn collect(
    data: &Data<'_>,
    items: &[Item<'_>],
    options: &Options<'_>,
    lookups: &mut Lookups,
    thresholds: &Thresholds,
) -> List {
    let mut list = List::new();
    let mut push = |text: &[u8]| list.push(End::Right, std::iter::once(text), thresholds);
    for item in items {
        if options.gets.is_empty() {
            push(item.element.bytes());
        }
        for &get in &options.gets {
            match lookups.find(data, get, item.element) {
                Some(text) => push(text.bytes()),
                None => push(b""),
            }
        }
    }
    list
}

fn store(cx: &mut Cx<'_>, destination: &[u8], list: List) -> Result<(), Error> {
    let key = cx.data.key(destination);
    let length = list.as_ref().len();
    if list.is_empty() {
        if cx.data.remove_key(&key) {
            cx.data.dirty += 1;
            cx.data.event(Class::Generic, "del", key.bytes);
        }
    } else {
        cx.data.store_value(&key, Value::List(list))?;
        cx.data.dirty += length as u64;
        cx.data.event(Class::List, "sortstore", key.bytes);
    }
    cx.reply.integer(length as i64);
    Ok(())
}
