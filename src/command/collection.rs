//! What the families of collections share: elements in replies, the options of HSCAN, SSCAN and ZSCAN, counts of random
//! elements.

use crate::base::glob;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::output::Mark;
use crate::resp::reply::Reply;
use crate::store::value::listpack::Element;

/// Elements that one step of a walk looks for unless COUNT says otherwise, as in Redis.
const COUNT_DEFAULT: usize = 10;
/// The longest reply of random elements with repetitions: nothing else bounds it.
const REPEATED_MAX_BYTES: usize = 1024 * 1024 * 1024;

/// Writes an element's text as a bulk string.
#[inline]
pub fn write_element(reply: &mut Reply, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => reply.bulk(bytes),
        Element::Int(value) => reply.bulk_integer(value),
    }
}

/// The cursor of HSCAN, SSCAN or ZSCAN, which is looked at before the key is. As in Redis it may have a sign and leading
/// zeros, ends at a NUL, and is 0 if there is nothing.
///
/// # Errors
/// It is no number, or none of 64 bits.
pub fn scan_cursor(text: &[u8]) -> Result<u64, Error> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = text.get(..end).unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Ok(0),
        [sign @ (b'+' | b'-'), digits @ ..] => (*sign == b'-', digits),
        digits => (false, digits),
    };
    let add = |sum: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then_some(u64::from(digit & 0x0f))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    let number = digits.iter().try_fold(0, add).filter(|_| !digits.is_empty());
    let number = number.ok_or(Error::InvalidCursor)?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

/// The options of HSCAN, SSCAN and ZSCAN, which are looked at only if the key is there.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions<'a> {
    /// Elements to look at, about.
    pub count: usize,
    /// Leave the values of fields out.
    pub no_values: bool,
    pattern: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads the words behind the cursor; NOVALUES is for hashes.
    ///
    /// # Errors
    /// A word that is no option, or a count below one.
    pub fn parse(words: Args<'a>, of_hash: bool) -> Result<Self, Error> {
        let mut options = Self { count: COUNT_DEFAULT, no_values: false, pattern: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"count") {
                let count = words.next().ok_or(Error::Syntax)?;
                let count = parse_i64(count).ok_or(Error::NotAnInteger)?;
                options.count =
                    usize::try_from(count).ok().filter(|&count| count > 0).ok_or(Error::Syntax)?;
            } else if word.eq_ignore_ascii_case(b"match") {
                let pattern = words.next().ok_or(Error::Syntax)?;
                options.pattern = Some(pattern).filter(|&pattern| pattern != b"*");
            } else if word.eq_ignore_ascii_case(b"novalues") {
                if !of_hash {
                    return Err(Error::Fixed("ERR NOVALUES option can only be used in HSCAN"));
                }
                options.no_values = true;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether MATCH lets an element through.
    #[inline]
    pub fn lets(&self, element: Element<'_>) -> bool {
        self.pattern.is_none_or(|pattern| element.with_bytes(|text| glob::matches(pattern, text, false)))
    }
}

/// Writes the reply of a step of a walk: `step` writes the elements, and gives the cursor to go on with and how many
/// replies it has written.
pub fn write_scan(reply: &mut Reply, step: impl FnOnce(&mut Reply) -> (u64, usize)) {
    let mark = reply.checkpoint();
    let (cursor, written) = step(reply);
    let elements = reply.split_off(mark);
    reply.array(2);
    reply.bulk_integer(cursor as i64);
    reply.array(written);
    reply.append(elements);
}

/// How many random elements are wanted, and in what way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomCount {
    /// So many different ones at most.
    Distinct(usize),
    /// So many, with repetitions.
    Repeated(usize),
}

impl RandomCount {
    /// Reads the count of HRANDFIELD, SRANDMEMBER or ZRANDMEMBER.
    ///
    /// # Errors
    /// No integer, or one that cannot be negated.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        match parse_i64(text).ok_or(Error::NotAnInteger)? {
            i64::MIN => Err(Error::err(format_args!(
                "value is out of range, value must between {} and {}",
                -i64::MAX,
                i64::MAX
            ))),
            count if count < 0 => Ok(Self::Repeated(count.unsigned_abs() as usize)),
            count => Ok(Self::Distinct(count as usize)),
        }
    }

    /// The count, as it is for elements that come with another value each.
    ///
    /// # Errors
    /// Twice the count is more than a reply's length can say.
    pub fn in_pairs(self) -> Result<Self, Error> {
        let (Self::Distinct(count) | Self::Repeated(count)) = self;
        if count > i64::MAX as usize / 2 { Err(Error::OutOfRange) } else { Ok(self) }
    }
}

/// Writes `count` random elements with repetitions, each by `write`, behind a head that is written already.
///
/// # Errors
/// The reply grows beyond what one may be; it is taken back to `start`.
pub fn write_repeated(
    reply: &mut Reply,
    start: Mark,
    count: usize,
    mut write: impl FnMut(&mut Reply),
) -> Result<(), Error> {
    for _ in 0..count {
        write(reply);
        if reply.bytes_since(start) > REPEATED_MAX_BYTES {
            reply.truncate_to(start);
            return Err(Error::OutOfRange);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::scan_cursor;
    use crate::resp::error::Error;

    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"0", Some(0)),
            (b"", Some(0)),
            (b"007", Some(7)),
            (b"+7", Some(7)),
            (b"-1", Some(u64::MAX)),
            (b"7\0x", Some(7)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"+", None),
            (b" 7", None),
            (b"7 ", None),
            (b"x", None),
        ];
        for &(text, cursor) in cases {
            assert_eq!(scan_cursor(text), cursor.ok_or(Error::InvalidCursor), "{}", text.escape_ascii());
        }
    }
}
