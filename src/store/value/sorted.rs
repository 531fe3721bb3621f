//! Sorted sets: a listpack of members and scores in order while small, [`Ranked`] when large.
//!
//! One interface over both. What is selected by score or by bytes becomes a span of ranks first, so that counting,
//! limits, directions and removal are the same for all three. Scores are never NaN; equal scores are ordered by the
//! members' bytes. In the packed form scores are what Redis writes: integers as integers, others as their text.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use super::listpack::{self, At, Element, Pack, PackBuf};
use super::ranked::{Ranked, Walk};
use super::table::text_hash;
use super::text::Text;
use super::{Collection, Form, Thresholds, ValueType};
use crate::base::num::{DoubleText, parse_f64};
use crate::store::object::size_class;

/// A sorted set, owned.
#[derive(Clone, Debug)]
pub enum SortedSet {
    /// Members and scores, alternating, in order.
    Packed(PackBuf),
    /// The large form.
    Ranked(Box<Ranked>),
}

/// A sorted set to be read.
#[derive(Clone, Copy, Debug)]
pub enum SortedSetRef<'a> {
    /// Members and scores, alternating, in order.
    Packed(Pack<'a>),
    /// The large form.
    Ranked(&'a Ranked),
}

/// On what conditions and how a score is set, by the names of ZADD's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// NX: only a member that is not there.
    pub nx: bool,
    /// XX: only a member that is there.
    pub xx: bool,
    /// GT: a member that is there only gets a greater score.
    pub gt: bool,
    /// LT: a member that is there only gets a lesser score.
    pub lt: bool,
    /// INCR: the score is added to the present one.
    pub incr: bool,
}

/// What became of a member that was to be added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Added {
    /// It is new, with this score.
    New(f64),
    /// It has this score now.
    Updated(f64),
    /// It had this score before.
    Same(f64),
    /// The options forbid it; nothing is changed.
    Refused,
    /// The sum is not a number; nothing is changed.
    NotANumber,
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    /// The score.
    pub score: f64,
    /// Whether the score itself is outside.
    pub is_exclusive: bool,
}

/// A range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The lower end.
    pub min: ScoreBound,
    /// The upper end.
    pub max: ScoreBound,
}

impl ScoreRange {
    /// Whether a score is below the range.
    #[inline]
    fn is_above(&self, score: f64) -> bool {
        if self.min.is_exclusive { score <= self.min.score } else { score < self.min.score }
    }

    /// Whether a score is not above the range.
    #[inline]
    fn reaches(&self, score: f64) -> bool {
        if self.max.is_exclusive { score < self.max.score } else { score <= self.max.score }
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Before all members.
    Lowest,
    /// Behind all members.
    Highest,
    /// These bytes, which are inside.
    Inclusive(&'a [u8]),
    /// These bytes, which are outside.
    Exclusive(&'a [u8]),
}

/// A range of members by their bytes; of use where all scores are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexBound<'a>,
    /// The upper end.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether a member is below the range.
    #[inline]
    fn is_above(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(bytes) => member < bytes,
            LexBound::Exclusive(bytes) => member <= bytes,
        }
    }

    /// Whether a member is not above the range.
    #[inline]
    fn reaches(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Inclusive(bytes) => member <= bytes,
            LexBound::Exclusive(bytes) => member < bytes,
        }
    }
}

/// The score that an element of a pack stands for; 0 for what no sorted set wrote.
#[inline]
fn score_of(element: Element<'_>) -> f64 {
    match element {
        Element::Int(value) => value as f64,
        Element::Bytes(text) => parse_f64(text).unwrap_or_default(),
    }
}

/// How two members with scores are ordered.
#[inline]
fn order((score, member): (f64, Element<'_>), (other_score, other): (f64, &[u8])) -> Ordering {
    match score.partial_cmp(&other_score) {
        Some(Ordering::Equal) | None => member.with_bytes(|bytes| bytes.cmp(other)),
        Some(ordering) => ordering,
    }
}

/// Puts members into the order of a sorted set.
pub fn sort(members: &mut [(Text, f64)]) {
    members.sort_unstable_by(|(member, score), (other, other_score)| {
        order((*score, Element::Bytes(member)), (*other_score, other))
    });
}

impl<'a> SortedSetRef<'a> {
    /// How many members there are.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(pack) => pack.len() / 2,
            Self::Ranked(ranked) => ranked.len(),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            Self::Ranked(ranked) => ranked.is_empty(),
        }
    }

    /// The name that OBJECT ENCODING has for this form.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Ranked(_) => "skiplist",
        }
    }

    /// The score of a member.
    #[inline]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(pack) => {
                let at = pack.find(pack.first()?, member, 1)?;
                Some(score_of(pack.get(pack.next(at)?)))
            }
            Self::Ranked(ranked) => ranked.find(text_hash(member), member).map(|place| ranked.score(place)),
        }
    }

    /// How many members are before this one, and its score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(_) => {
                let mut members = self.walk(0, usize::MAX, false).enumerate();
                members.find(|(_, (other, _))| other.eq_bytes(member)).map(|(rank, (_, score))| (rank, score))
            }
            Self::Ranked(ranked) => {
                let place = ranked.find(text_hash(member), member)?;
                Some((ranked.rank(place), ranked.score(place)))
            }
        }
    }

    /// The ranks of the members whose scores are in `range`.
    pub fn span_of_scores(self, range: &ScoreRange) -> Range<usize> {
        let (start, end) = match self {
            Self::Packed(_) => {
                self.count_packed(|_, score| range.is_above(score), |_, score| range.reaches(score))
            }
            Self::Ranked(ranked) => {
                let start = ranked.count_scores(|score| range.is_above(score));
                (start, ranked.count_scores(|score| range.reaches(score)))
            }
        };
        start..end.max(start)
    }

    /// The ranks of the members in `range`, if all scores are equal; otherwise of some members.
    pub fn span_of_members(self, range: &LexRange<'_>) -> Range<usize> {
        let (start, end) = match self {
            Self::Packed(_) => self.count_packed(
                |member, _| member.with_bytes(|bytes| range.is_above(bytes)),
                |member, _| member.with_bytes(|bytes| range.reaches(bytes)),
            ),
            Self::Ranked(ranked) => {
                let start = ranked.count_members(|member| range.is_above(member));
                (start, ranked.count_members(|member| range.reaches(member)))
            }
        };
        start..end.max(start)
    }

    /// How many of the first members are below a range, and how many are not above it.
    fn count_packed(
        self,
        is_below: impl Fn(Element<'_>, f64) -> bool,
        is_not_above: impl Fn(Element<'_>, f64) -> bool,
    ) -> (usize, usize) {
        let mut start = 0;
        let mut inside = false;
        for (rank, (member, score)) in self.walk(0, usize::MAX, false).enumerate() {
            if !inside && is_below(member, score) {
                start += 1;
                continue;
            }
            inside = true;
            if !is_not_above(member, score) {
                return (start, rank);
            }
        }
        (start, self.len())
    }

    /// `count` members at most with their scores from the one of this rank on, upwards or (`is_reverse`) downwards.
    pub fn walk(self, rank: usize, count: usize, is_reverse: bool) -> Members<'a> {
        let pack = match self {
            Self::Ranked(ranked) => return Members::Ranked(ranked.walk(rank, count, is_reverse)),
            Self::Packed(pack) => pack,
        };
        let len = self.len();
        let mut iter = pack.iter();
        if rank >= len {
            return Members::Packed { iter, left: 0, is_reverse };
        }
        if is_reverse {
            // The last ones are passed over.
            (0..(len - 1 - rank) * 2).for_each(|_| {
                iter.next_back();
            });
        } else if rank > 0 {
            match pack.seek(rank as i64 * 2) {
                Some(at) => iter = pack.iter_from(at),
                None => return Members::Packed { iter, left: 0, is_reverse },
            }
        }
        let room = if is_reverse { rank + 1 } else { len - rank };
        Members::Packed { iter, left: count.min(room), is_reverse }
    }

    /// The members of a span of ranks, from its first or (`is_reverse`) its last on.
    pub fn walk_span(self, span: Range<usize>, is_reverse: bool) -> Members<'a> {
        let rank = if is_reverse { span.end.saturating_sub(1) } else { span.start };
        self.walk(rank, span.len(), is_reverse)
    }

    /// All members in order.
    pub fn iter(self) -> Members<'a> {
        self.walk(0, usize::MAX, false)
    }

    /// The member of this number, which is below [`SortedSetRef::len`], in an order without meaning: for taking members
    /// at random. O(1) in the large form.
    pub fn numbered(self, number: usize) -> Option<(Element<'a>, f64)> {
        match self {
            Self::Packed(_) => self.walk(number, 1, false).next(),
            Self::Ranked(ranked) => {
                ranked.numbered(number).map(|(member, score)| (Element::Bytes(member), score))
            }
        }
    }

    /// Calls `emit` with the members of about `count` places from `cursor` on; the next cursor, 0 at the end. What stays
    /// during a whole scan is seen exactly once; the packed form is seen at once.
    pub fn scan(self, cursor: u64, count: usize, mut emit: impl FnMut(Element<'_>, f64)) -> u64 {
        match self {
            Self::Packed(_) => {
                self.iter().for_each(|(member, score)| emit(member, score));
                0
            }
            Self::Ranked(ranked) => {
                ranked.scan(cursor, count, |member, score| emit(Element::Bytes(member), score))
            }
        }
    }
}

/// Members in order, with their scores.
#[derive(Clone, Debug)]
pub enum Members<'a> {
    /// Of the packed form.
    Packed {
        /// Members and scores.
        iter: listpack::Iter<'a>,
        /// How many members are still to come.
        left: usize,
        /// From the end on.
        is_reverse: bool,
    },
    /// Of the large form.
    Ranked(Walk<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (Element<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed { iter, left, is_reverse } => {
                *left = left.checked_sub(1)?;
                if *is_reverse {
                    let score = score_of(iter.next_back()?);
                    Some((iter.next_back()?, score))
                } else {
                    let member = iter.next()?;
                    Some((member, score_of(iter.next()?)))
                }
            }
            Self::Ranked(walk) => walk.next().map(|(member, score)| (Element::Bytes(member), score)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Packed { left, .. } => (*left, Some(*left)),
            Self::Ranked(walk) => walk.size_hint(),
        }
    }
}

impl ExactSizeIterator for Members<'_> {}

impl Default for SortedSet {
    fn default() -> Self {
        Self::new()
    }
}

impl SortedSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::Packed(PackBuf::new())
    }

    /// The set of these members, which are all different, in the form that its size asks for.
    pub fn from_members(mut members: Vec<(Text, f64)>, thresholds: &Thresholds) -> Self {
        sort(&mut members);
        let longest = members.iter().map(|(member, _)| member.len()).max().unwrap_or_default();
        if members.len() <= thresholds.zset_max_listpack_entries
            && longest <= thresholds.zset_max_listpack_value
        {
            let mut pack = PackBuf::new();
            for (member, score) in &members {
                pack.push_back(member);
                with_score(*score, |score| pack.push_back_element(score));
            }
            return Self::Packed(pack);
        }
        let mut ranked = Box::new(Ranked::new());
        for (member, score) in members {
            ranked.insert(text_hash(&member), member, score);
        }
        Self::Ranked(ranked)
    }

    /// The reading side.
    #[inline]
    pub fn as_ref(&self) -> SortedSetRef<'_> {
        match self {
            Self::Packed(pack) => SortedSetRef::Packed(pack.as_pack()),
            Self::Ranked(ranked) => SortedSetRef::Ranked(ranked),
        }
    }

    /// How many members there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    /// Sets a member's score, or adds to it, on the conditions of `options`.
    pub fn add(&mut self, member: &[u8], score: f64, options: AddOptions, thresholds: &Thresholds) -> Added {
        match self {
            Self::Ranked(ranked) => add_ranked(ranked, member, score, options),
            Self::Packed(pack) => {
                let found = pack.as_pack().first().and_then(|first| pack.as_pack().find(first, member, 1));
                let present = found.and_then(|at| pack.as_pack().next(at));
                let present = present.map(|at| score_of(pack.as_pack().get(at)));
                let added = decide(present, score, options);
                match (added, found) {
                    (Added::Updated(score), Some(at)) => {
                        pack.remove(at, 2);
                        insert_packed(pack, member, score);
                    }
                    (Added::New(score), _) => {
                        let fits = pack.as_pack().len() / 2 < thresholds.zset_max_listpack_entries
                            && member.len() <= thresholds.zset_max_listpack_value
                            && pack.has_room(member.len());
                        if fits {
                            insert_packed(pack, member, score);
                        } else {
                            let mut ranked = unpacked(pack.as_pack());
                            ranked.insert(text_hash(member), Text::from(member), score);
                            *self = Self::Ranked(ranked);
                        }
                    }
                    _ => {}
                }
                added
            }
        }
    }

    /// Removes a member; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Packed(pack) => {
                let view = pack.as_pack();
                let Some(at) = view.first().and_then(|first| view.find(first, member, 1)) else {
                    return false;
                };
                pack.remove(at, 2);
                true
            }
            Self::Ranked(ranked) => {
                let found = ranked.find(text_hash(member), member);
                found.is_some_and(|place| ranked.remove(place).is_some())
            }
        }
    }

    /// Removes the members of a span of ranks; how many there were.
    pub fn remove_span(&mut self, span: Range<usize>) -> usize {
        let before = self.len();
        let count = span.end.min(before).saturating_sub(span.start);
        match self {
            _ if count == 0 => {}
            Self::Packed(pack) => {
                if let Some(at) = pack.as_pack().seek(span.start as i64 * 2) {
                    pack.remove(at, count * 2);
                }
            }
            Self::Ranked(ranked) if count == before => **ranked = Ranked::new(),
            Self::Ranked(ranked) => {
                for _ in 0..count {
                    if let Some(place) = ranked.select(span.start) {
                        ranked.remove(place);
                    }
                }
            }
        }
        count
    }
}

/// The large form of a packed set.
fn unpacked(pack: Pack<'_>) -> Box<Ranked> {
    let mut ranked = Box::new(Ranked::new());
    for (member, score) in SortedSetRef::Packed(pack).iter() {
        member.with_bytes(|bytes| ranked.insert(text_hash(bytes), Text::from(bytes), score));
    }
    ranked
}

impl Collection for SortedSet {
    type Ref<'a> = SortedSetRef<'a>;
    const TYPE: ValueType = ValueType::SortedSet;

    fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.capacity_bytes(),
            Self::Ranked(ranked) => size_class(size_of::<Ranked>()) + ranked.heap_bytes(),
        }
    }

    fn packed(&self) -> Option<(Form, &[u8])> {
        match self {
            Self::Packed(pack) => Some((Form::SortedSet, pack.as_pack().bytes())),
            Self::Ranked(_) => None,
        }
    }

    fn into_packed(self) -> Option<Vec<u8>> {
        match self {
            Self::Packed(pack) => Some(pack.into_vec()),
            Self::Ranked(_) => None,
        }
    }

    fn from_packed(_: Form, bytes: Vec<u8>) -> Self {
        Self::Packed(PackBuf::from_vec(bytes))
    }

    fn check(form: Form, bytes: &[u8]) -> bool {
        form == Form::SortedSet && Pack::check(bytes).is_some_and(is_sorted_set)
    }

    fn shrink(&mut self) {
        if let Self::Packed(pack) = self
            && pack.capacity_bytes() > size_class(pack.bytes_len())
        {
            *pack = PackBuf::from_pack(pack.as_pack());
        }
    }

    fn reference(&self) -> SortedSetRef<'_> {
        self.as_ref()
    }

    fn packed_reference(_: Form, bytes: &[u8]) -> SortedSetRef<'_> {
        SortedSetRef::Packed(Pack::of(bytes))
    }

    fn encoding(reference: SortedSetRef<'_>) -> &'static str {
        reference.encoding_name()
    }
}

/// Whether a pack is one of different members and their scores, in order.
fn is_sorted_set(pack: Pack<'_>) -> bool {
    let mut elements = pack.iter();
    let mut members = BTreeSet::new();
    let mut last: Option<(Vec<u8>, f64)> = None;
    while let Some(member) = elements.next() {
        let Some(score) = elements.next().and_then(Element::as_f64) else {
            return false;
        };
        let ascends =
            last.is_none_or(|(last, last_score)| order((score, member), (last_score, &last)).is_gt());
        let text = member.to_vec();
        last = Some((text.clone(), score));
        if !ascends || !members.insert(text) {
            return false;
        }
    }
    !members.is_empty()
}

/// What becomes of a member whose score is `present`, if it is there.
fn decide(present: Option<f64>, score: f64, options: AddOptions) -> Added {
    let Some(present) = present else {
        return if options.xx { Added::Refused } else { Added::New(score) };
    };
    if options.nx {
        return Added::Refused;
    }
    let score = if options.incr { present + score } else { score };
    if score.is_nan() {
        return Added::NotANumber;
    }
    if options.lt && score >= present || options.gt && score <= present {
        return Added::Refused;
    }
    if score == present { Added::Same(score) } else { Added::Updated(score) }
}

fn add_ranked(ranked: &mut Ranked, member: &[u8], score: f64, options: AddOptions) -> Added {
    let hash = text_hash(member);
    let found = ranked.find(hash, member);
    let added = decide(found.map(|place| ranked.score(place)), score, options);
    match (added, found) {
        (Added::Updated(score), Some(place)) => ranked.rescore(place, score),
        (Added::New(score), _) => ranked.insert(hash, Text::from(member), score),
        _ => {}
    }
    added
}

/// Hands `then` the element that a score is kept as. As in Redis, -0 becomes 0 in this form.
fn with_score<R>(score: f64, then: impl FnOnce(Element<'_>) -> R) -> R {
    /// Whole numbers up to this are integers.
    const INTEGER_MAX: f64 = (i64::MAX / 2) as f64;
    if score.abs() <= INTEGER_MAX && score.trunc() == score {
        then(Element::Int(score as i64))
    } else {
        then(Element::Bytes(DoubleText::new().format(score)))
    }
}

/// Inserts a member that is not there.
fn insert_packed(pack: &mut PackBuf, member: &[u8], score: f64) {
    match place(pack.as_pack(), member, score) {
        Some(at) => {
            with_score(score, |score| pack.insert_before_element(at, score));
            pack.insert_before(at, member);
        }
        None => {
            pack.push_back(member);
            with_score(score, |score| pack.push_back_element(score));
        }
    }
}

/// The first member that belongs behind this one.
fn place(pack: Pack<'_>, member: &[u8], score: f64) -> Option<At> {
    // What is added in order goes to the end.
    let last_score = pack.last()?;
    let last = pack.prev(last_score)?;
    if order((score_of(pack.get(last_score)), pack.get(last)), (score, member)).is_lt() {
        return None;
    }
    let mut at = pack.first()?;
    loop {
        let score_at = pack.next(at)?;
        if order((score_of(pack.get(score_at)), pack.get(at)), (score, member)).is_gt() {
            return Some(at);
        }
        at = pack.next(score_at)?;
    }
}

#[cfg(test)]
mod tests;
