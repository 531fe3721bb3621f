//! Sorted sets: rows and handlers, a file for each kind of command, and what they share.
//!
//! Whatever selects members (ranks, scores, bytes) becomes a span of ranks first; replies are written from the set as it
//! lies in the store, without a copy in between. Scores are never NaN: what is read from a request is refused as one,
//! and sums and products that come to one are refused or count as 0, as Redis has it.

use crate::base::extended::{self, Parsed};
use crate::base::num::{parse_f64, parse_i64};
use crate::command::collection::write_element;
use crate::command::context::Cx;
use crate::command::spec::key_spec::KeySpec;
use crate::hub::events::Class;
use crate::resp::error::Error;
use crate::resp::reply::{Proto, Reply};
use crate::store::key::Key;
use crate::store::typed::Fate;
use crate::store::value::Typed;
use crate::store::value::listpack::Element;
use crate::store::value::sorted::{LexBound, LexRange, Members, ScoreBound, ScoreRange, SortedSet};
use crate::store::value::text::Text;

pub mod add;
pub mod combine;
pub mod pop;
pub mod random;
pub mod range;
pub mod read;
pub mod remove;

/// The single key of most commands, to be given its flags.
const KEY: KeySpec = KeySpec::at(1);

/// Reads a score or another number with a fraction: what [`parse_f64`] takes, and hexadecimal ones, as C does.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    parse_f64(text).or_else(|| hexadecimal(text).filter(|number| number.is_finite()))
}

fn hexadecimal(text: &[u8]) -> Option<f64> {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if !digits.starts_with(b"0x") && !digits.starts_with(b"0X") {
        return None;
    }
    match extended::parse(text)? {
        Parsed::Finite(number) => Some(number.to_f64()),
        Parsed::Infinite => None,
    }
}

/// Reads one end of a range of scores as C would: blanks may lead, a zero byte ends it, nothing at all is 0, what is too
/// large is infinite.
fn score_bound(text: &[u8]) -> Option<ScoreBound> {
    let (number, is_exclusive) = match text {
        [b'(', number @ ..] => (number, true),
        number => (number, false),
    };
    let number = number.split(|byte| *byte == 0).next().unwrap_or_default();
    if number.is_empty() {
        return Some(ScoreBound { score: 0.0, is_exclusive });
    }
    let number = number.trim_ascii_start();
    let score = match std::str::from_utf8(number).ok()?.parse() {
        Ok(score) => score,
        Err(_) => hexadecimal(number)?,
    };
    (!score.is_nan()).then_some(ScoreBound { score, is_exclusive })
}

/// Reads a range of scores.
///
/// # Errors
/// One end is no number.
fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, Error> {
    match (score_bound(min), score_bound(max)) {
        (Some(min), Some(max)) => Ok(ScoreRange { min, max }),
        _ => Err(Error::Fixed("ERR min or max is not a float")),
    }
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        // Only what C would see behind a sign counts.
        [b'-'] | [b'-', 0, ..] => Some(LexBound::Lowest),
        [b'+'] | [b'+', 0, ..] => Some(LexBound::Highest),
        [b'[', bytes @ ..] => Some(LexBound::Inclusive(bytes)),
        [b'(', bytes @ ..] => Some(LexBound::Exclusive(bytes)),
        _ => None,
    }
}

/// Reads a range of members.
///
/// # Errors
/// One end is neither `-` nor `+` nor begins with `[` or `(`.
fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, Error> {
    match (lex_bound(min), lex_bound(max)) {
        (Some(min), Some(max)) => Ok(LexRange { min, max }),
        _ => Err(Error::Fixed("ERR min or max not valid string range item")),
    }
}

/// Reads ranks of which negative ones count from the end.
///
/// # Errors
/// One is no integer.
fn rank_range(start: &[u8], stop: &[u8]) -> Result<(i64, i64), Error> {
    let number = |text| parse_i64(text).ok_or(Error::NotAnInteger);
    Ok((number(start)?, number(stop)?))
}

/// The span of ranks, of `len` members, that such ranks mean.
fn rank_span((start, stop): (i64, i64), len: usize) -> std::ops::Range<usize> {
    let signed = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |rank: i64| if rank < 0 { rank.saturating_add(signed) } else { rank };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(signed - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

/// Reads a whole number of at least `min`, with `error` for whatever else it is.
fn number_from(text: &[u8], min: i64, error: Error) -> Result<usize, Error> {
    let number = parse_i64(text).filter(|number| *number >= min).ok_or(error)?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// Writes the head of an array of `count` members, which with scores is twice as long in RESP2.
fn write_head(reply: &mut Reply, count: usize, with_scores: bool) {
    let is_flat = with_scores && reply.proto() == Proto::Resp2;
    reply.array(if is_flat { count * 2 } else { count });
}

/// Writes one of the members of such an array: with its score, a pair of its own in RESP3.
#[inline]
fn write_entry(reply: &mut Reply, (member, score): (Element<'_>, f64), with_scores: bool) {
    if with_scores && reply.proto() == Proto::Resp3 {
        reply.array(2);
    }
    write_element(reply, member);
    if with_scores {
        reply.double(score);
    }
}

/// Writes members, with their scores or without.
fn write_members(reply: &mut Reply, members: Members<'_>, with_scores: bool) {
    write_head(reply, members.len(), with_scores);
    for entry in members {
        write_entry(reply, entry, with_scores);
    }
}

/// Tells of a change by which members went, and of the key's end if that was all.
fn tell_removal(cx: &mut Cx<'_>, key: &Key<'_>, event: &'static str, fate: Fate) {
    cx.data.event(Class::Zset, event, key.bytes);
    if fate == Fate::Removed {
        cx.data.event(Class::Generic, "del", key.bytes);
    }
}

/// Puts the members that a command came to under a key, in the place of whatever is there, and replies their number.
/// Without any the key is removed.
pub(super) fn store_members(
    cx: &mut Cx<'_>,
    key: &Key<'_>,
    members: Vec<(Text, f64)>,
    event: &'static str,
) -> Result<(), Error> {
    let count = members.len();
    if count > 0 {
        let set = SortedSet::from_members(members, &cx.thresholds());
        cx.data.store_value(key, set.wrap())?;
        cx.data.event(Class::Zset, event, key.bytes);
        cx.data.dirty += 1;
    } else if cx.data.remove_key(key) {
        cx.data.event(Class::Generic, "del", key.bytes);
        cx.data.dirty += 1;
    }
    cx.reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

/// A member's bytes, for keeping.
fn owned(member: Element<'_>) -> Text {
    member.with_bytes(|bytes| Text::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::{number, rank_span, score_bound};
    use crate::store::value::sorted::ScoreBound;

    #[test]
    fn bounds_are_read_as_redis_reads_them() {
        let read = |text: &str| score_bound(text.as_bytes());
        let bound = |score, is_exclusive| Some(ScoreBound { score, is_exclusive });
        assert_eq!(read("1.5"), bound(1.5, false));
        assert_eq!(read("(1.5"), bound(1.5, true));
        assert_eq!(read("+inf"), bound(f64::INFINITY, false));
        assert_eq!(read("(-Infinity"), bound(f64::NEG_INFINITY, true));
        assert_eq!(read("1e999"), bound(f64::INFINITY, false));
        assert_eq!(read(""), bound(0.0, false));
        assert_eq!(read("("), bound(0.0, true));
        assert_eq!(read("\0x"), bound(0.0, false));
        assert_eq!(read("(2\0x"), bound(2.0, true));
        assert_eq!(read(" 7"), bound(7.0, false));
        assert_eq!(read("(-0x1.8p1"), bound(-3.0, true));
        for text in ["nan", "x", "7 ", " ", "((1", "[1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn scores_may_be_hexadecimal() {
        assert_eq!(number(b"0x10"), Some(16.0));
        assert_eq!(number(b"-0X.8"), Some(-0.5));
        assert_eq!(number(b"1e-3"), Some(0.001));
        for text in ["0x", "x10", "0x1p99999", "0xg", "nan", ""] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn ranks_count_from_both_ends() {
        for (start, stop, len, expected) in [
            (0, -1, 5, 0..5),
            (-2, -1, 5, 3..5),
            (1, 2, 5, 1..3),
            (3, 1, 5, 0..0),
            (5, 9, 5, 0..0),
            (-9, 0, 5, 0..1),
            (i64::MIN, i64::MAX, 5, 0..5),
            (0, i64::MIN, 5, 0..0),
            (0, -1, 0, 0..0),
        ] {
            assert_eq!(rank_span((start, stop), len), expected, "{start} {stop}");
        }
    }
}
