//! LCS: the longest subsequence of bytes that two values have in common.
//!
//! The classic table of lengths, of which only one row is kept; what the way back through the table needs is one bit a
//! cell. Redis keeps four bytes a cell and refuses what exceeds `proto-max-bulk-len`; the refusal is the same here,
//! since it also bounds the time, so a table takes at most an 32nd of that.

use bytes::Bytes;

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::key_spec::{ACCESS, KeySpec, RO};
use crate::command::spec::{Group, Spec};
use crate::command::strings::read;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Reply;
use crate::resp::shape::Shape;
use crate::store::db::Found;
use crate::store::key::Key;

/// The row.
pub const COMMANDS: &[Spec] = &[Spec::new("lcs", lcs)
    .arity(-3)
    .flags(READONLY)
    .keys(&[KeySpec::range(1, 1, 1).flags(RO | ACCESS)])
    .group(Group::String)
    .since("7.0.0")
    .complexity("O(N*M), N and M the lengths of the values.")
    .summary("Finds the longest subsequence of bytes that two values have in common.")
    .args(&[
        Arg::key("key1", 0),
        Arg::key("key2", 0),
        Arg::flag("len", "LEN").optional(),
        Arg::flag("idx", "IDX").optional(),
        Arg::integer("min-match-len").token("MINMATCHLEN").optional(),
        Arg::flag("withmatchlen", "WITHMATCHLEN").optional(),
    ])
    .reply(Shape::OneOf(&[Shape::Bulk, Shape::Integer, Shape::Map(&Shape::Bulk, &Shape::Any)]))
    .finish()];

/// Bytes that Redis's table takes for a cell.
const REDIS_CELL_BYTES: u64 = 4;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    /// LEN: the length alone.
    length: bool,
    /// IDX: where the parts that match stand.
    ranges: bool,
    /// WITHMATCHLEN: with the length of each.
    with_lengths: bool,
    /// MINMATCHLEN: shorter parts are left out.
    length_min: i64,
}

impl Options {
    fn parse(words: Args<'_>) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"idx") {
                options.ranges = true;
            } else if is(b"len") {
                options.length = true;
            } else if is(b"withmatchlen") {
                options.with_lengths = true;
            } else if is(b"minmatchlen") {
                let number = words.next().ok_or(Error::Syntax)?;
                options.length_min = parse_i64(number).ok_or(Error::NotAnInteger)?;
            } else {
                return Err(Error::Syntax);
            }
        }
        if options.ranges && options.length {
            return Err(Error::LcsOptions);
        }
        Ok(options)
    }
}

fn lcs(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (left, right) = (cx.data.key(&args[1]), cx.data.key(&args[2]));
    let left_found = read(cx, &left).map_err(|_| Error::LcsTypes)?;
    let right_found = read(cx, &right).map_err(|_| Error::LcsTypes)?;
    let options = Options::parse(args.from(3))?;
    // Reading the second key may remove an entry that is due, which makes the first one's place unknown.
    let left_found = if left_found.is_some() { cx.data.find(&left) } else { None };
    let lengths = (length(cx, &left, left_found), length(cx, &right, right_found));
    check_size(cx, lengths)?;
    let left = value(cx, &left, left_found);
    let right = value(cx, &right, right_found);
    if options.length {
        cx.reply.integer(common_length(&left, &right) as i64);
    } else {
        let matches = Matches::find(&left, &right)?;
        if options.ranges {
            write_ranges(cx.reply, &matches, options);
        } else {
            cx.reply.bulk(&matches.text(&left));
        }
    }
    Ok(())
}

fn length(cx: &mut Cx<'_>, key: &Key<'_>, found: Option<Found>) -> usize {
    found.map_or(0, |found| cx.data.db(key).string(found).len())
}

/// The value, empty without one; long ones are shared.
fn value(cx: &mut Cx<'_>, key: &Key<'_>, found: Option<Found>) -> Bytes {
    let Some(found) = found else {
        return Bytes::new();
    };
    let db = cx.data.db(key);
    db.shared_string(found).map_or_else(|| Bytes::copy_from_slice(db.string(found)), Bytes::clone)
}

/// Refuses what Redis refuses for its size.
fn check_size(cx: &mut Cx<'_>, (left, right): (usize, usize)) -> Result<(), Error> {
    let cells = (left as u64 + 1).saturating_mul(right as u64 + 1);
    if cells.saturating_mul(REDIS_CELL_BYTES) > cx.worker.config().proto_max_bulk_len {
        return Err(Error::Fixed(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}

/// Goes through the table row by row: `visit` gets for every cell whose bytes differ its place, and whether the length
/// above it is greater than that to its left. Returns the length of the longest common subsequence.
fn walk(left: &[u8], right: &[u8], mut visit: impl FnMut(usize, usize, bool)) -> usize {
    let mut row = vec![0u32; right.len() + 1];
    for (at_left, left_byte) in left.iter().enumerate() {
        let (mut above_left, mut beside) = (0, 0);
        for (at_right, right_byte) in right.iter().enumerate() {
            let above = row[at_right + 1];
            beside = if left_byte == right_byte {
                above_left + 1
            } else {
                visit(at_left, at_right, above > beside);
                above.max(beside)
            };
            above_left = above;
            row[at_right + 1] = beside;
        }
    }
    row[right.len()] as usize
}

fn common_length(left: &[u8], right: &[u8]) -> usize {
    walk(left, right, |_, _, _| {})
}

/// A part of both values: so many equal bytes from these positions on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    left: usize,
    right: usize,
    length: usize,
}

/// The parts that make up one longest common subsequence, from the last to the first.
#[derive(Debug, PartialEq, Eq)]
struct Matches {
    parts: Vec<Match>,
    length: usize,
}

impl Matches {
    /// Of several subsequences of the greatest length, the one that Redis finds: where both directions are as good, it
    /// goes back in the right value.
    ///
    /// # Errors
    /// The table does not fit into memory.
    fn find(left: &[u8], right: &[u8]) -> Result<Self, Error> {
        let words_a_row = right.len().div_ceil(64);
        let words = left.len() * words_a_row;
        let mut up: Vec<u64> = Vec::new();
        up.try_reserve_exact(words).map_err(|_| {
            Error::Fixed("ERR Insufficient memory, failed allocating transient memory for LCS")
        })?;
        up.resize(words, 0);
        let length = walk(left, right, |at_left, at_right, is_up| {
            up[at_left * words_a_row + at_right / 64] |= u64::from(is_up) << (at_right % 64);
        });
        let mut parts: Vec<Match> = Vec::new();
        // Whether the last part may still grow: nothing was skipped since.
        let mut open = false;
        let (mut at_left, mut at_right) = (left.len(), right.len());
        while at_left > 0 && at_right > 0 {
            let (i, j) = (at_left - 1, at_right - 1);
            if left[i] == right[j] {
                match parts.last_mut() {
                    Some(part) if open => *part = Match { left: i, right: j, length: part.length + 1 },
                    _ => parts.push(Match { left: i, right: j, length: 1 }),
                }
                open = true;
                (at_left, at_right) = (i, j);
            } else {
                open = false;
                if up[i * words_a_row + j / 64] >> (j % 64) & 1 == 1 { at_left = i } else { at_right = j }
            }
        }
        Ok(Self { parts, length })
    }

    /// The subsequence itself.
    fn text(&self, left: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.length);
        for part in self.parts.iter().rev() {
            text.extend_from_slice(&left[part.left..part.left + part.length]);
        }
        text
    }
}

fn write_ranges(reply: &mut Reply, matches: &Matches, options: Options) {
    let is_listed = |part: &&Match| part.length as i64 >= options.length_min;
    reply.map(2);
    reply.bulk_str("matches");
    reply.array(matches.parts.iter().filter(is_listed).count());
    for part in matches.parts.iter().filter(is_listed) {
        reply.array(2 + usize::from(options.with_lengths));
        for first in [part.left, part.right] {
            reply.array(2);
            reply.integer(first as i64);
            reply.integer((first + part.length - 1) as i64);
        }
        if options.with_lengths {
            reply.integer(part.length as i64);
        }
    }
    reply.bulk_str("len");
    reply.integer(matches.length as i64);
}

#[cfg(test)]
mod tests {
    use super::{Match, Matches, Options, common_length};
    use crate::resp::args::OwnedArgs;
    use crate::resp::error::Error;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    fn find(left: &str, right: &str) -> Matches {
        Matches::find(left.as_bytes(), right.as_bytes()).expect("fits")
    }

    #[test]
    fn parts_come_from_the_last_to_the_first() {
        let matches = find("ohmytext", "mynewtext");
        let expected = [Match { left: 4, right: 5, length: 4 }, Match { left: 2, right: 0, length: 2 }];
        assert_eq!(matches, Matches { parts: expected.to_vec(), length: 6 });
        assert_eq!(matches.text(b"ohmytext"), b"mytext");
    }

    #[test]
    fn where_both_ways_are_as_good_the_right_value_gives_way() {
        assert_eq!(find("ab", "ba").text(b"ab"), b"b".as_slice());
        assert_eq!(find("", "ba"), Matches { parts: vec![], length: 0 });
    }

    #[test]
    fn options_are_refused_together_or_malformed() {
        let parse = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Options::parse(OwnedArgs::from_slices(&words).as_args())
        };
        let expected = Options { ranges: true, with_lengths: true, length_min: -4, ..Options::default() };
        assert_eq!(parse("idx WITHMATCHLEN MINMATCHLEN -4"), Ok(expected));
        assert_eq!(parse("LEN IDX"), Err(Error::LcsOptions));
        assert_eq!(parse("LEN IDX junk"), Err(Error::Syntax));
        assert_eq!(parse("MINMATCHLEN"), Err(Error::Syntax));
        assert_eq!(parse("MINMATCHLEN x junk"), Err(Error::NotAnInteger));
    }

    proptest! {
        #[test]
        fn what_is_found_is_a_subsequence_of_both(left in "[abc]{0,150}", right in "[abc]{0,150}") {
            let matches = find(&left, &right);
            let text = matches.text(left.as_bytes());
            prop_assert_eq!(text.len(), matches.length);
            prop_assert_eq!(common_length(left.as_bytes(), right.as_bytes()), matches.length);
            for value in [&left, &right] {
                let mut bytes = value.bytes();
                prop_assert!(text.iter().all(|wanted| bytes.any(|byte| byte == *wanted)));
            }
        }
    }
}
