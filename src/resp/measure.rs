//! Where a reply ends, told without reading it: for whoever passes replies on as they came. Both protocols.
//!
//! It resumes where it stopped, looks at every header once and skips the bytes of bulks; nesting costs nothing, because
//! all that is counted is how many elements are still to come. It keeps no bytes: the caller bounds the buffer. What it
//! takes for a reply may still be one that no client would read; it is only cut out, never interpreted.

use crate::base::num;

/// Longest line that is a header (or a simple reply) while its end has not come.
const LINE_MAX_BYTES: usize = 64 * 1024;

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// How far one reply has been looked at.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Bytes of it that were looked at.
    at: usize,
    /// Elements that are still to come.
    missing: u64,
}

impl Default for Measure {
    fn default() -> Self {
        Self { at: 0, missing: 1 }
    }
}

impl Measure {
    /// The length of the reply at the start of `buf`, or nothing while it goes on beyond; then `buf` must start with the
    /// same bytes at the next call. After a length the next reply is begun.
    ///
    /// # Errors
    /// [`Malformed`] if this is no reply.
    pub fn end(&mut self, buf: &[u8]) -> Result<Option<usize>, Malformed> {
        while self.missing > 0 {
            let rest = buf.get(self.at..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'\n', rest) else {
                return if rest.len() > LINE_MAX_BYTES { Err(Malformed) } else { Ok(None) };
            };
            let line = rest[..length].strip_suffix(b"\r").ok_or(Malformed)?;
            let (&kind, text) = line.split_first().ok_or(Malformed)?;
            let behind = self.at + length + 1;
            match kind {
                b'+' | b'-' | b':' | b',' | b'(' | b'#' | b'_' => self.pass(behind, 0)?,
                b'$' | b'=' | b'!' if text == b"-1" => self.pass(behind, 0)?,
                b'$' | b'=' | b'!' => {
                    let end = count(text)?.checked_add(2).and_then(|bytes| behind.checked_add(bytes));
                    let end = end.ok_or(Malformed)?;
                    if buf.len() < end {
                        return Ok(None);
                    }
                    self.pass(end, 0)?;
                }
                b'*' | b'~' | b'>' if text == b"-1" => self.pass(behind, 0)?,
                b'*' | b'~' | b'>' => self.pass(behind, count(text)? as u64)?,
                b'%' => self.pass(behind, (count(text)? as u64).checked_mul(2).ok_or(Malformed)?)?,
                _ => return Err(Malformed),
            }
        }
        let length = self.at;
        *self = Self::default();
        Ok(Some(length))
    }

    /// An element's head, or all of it, ends at `end`; `elements` are within it.
    fn pass(&mut self, end: usize, elements: u64) -> Result<(), Malformed> {
        self.at = end;
        let missing = (self.missing - 1).checked_add(elements);
        self.missing = missing.filter(|missing| *missing <= i64::MAX as u64).ok_or(Malformed)?;
        Ok(())
    }
}

/// The number of elements that the array at the start of `reply` has, and where the first begins.
pub fn array_head(reply: &[u8]) -> Option<(usize, usize)> {
    let length = memchr::memchr(b'\n', reply)?;
    let text = reply.get(1..length)?.strip_suffix(b"\r")?;
    matches!(reply.first(), Some(b'*' | b'~')).then_some(())?;
    Some((count(text).ok()?, length + 1))
}

fn count(text: &[u8]) -> Result<usize, Malformed> {
    num::parse_i64(text).and_then(|count| usize::try_from(count).ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Measure, array_head};

    #[test]
    fn every_kind_is_measured_wherever_it_is_cut() {
        for reply in [
            &b"+OK\r\n"[..],
            b"-ERR no\r\n",
            b":-7\r\n",
            b"$3\r\na\r\n\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"_\r\n",
            b",1.5\r\n",
            b"#t\r\n",
            b"*2\r\n:1\r\n*0\r\n",
            b"*2\r\n*2\r\n$1\r\na\r\n:1\r\n*1\r\n_\r\n",
            b"%1\r\n$1\r\na\r\n*1\r\n:1\r\n",
            b"~1\r\n#f\r\n",
            b"=6\r\ntxt:hi\r\n",
        ] {
            let mut stream = reply.to_vec();
            stream.extend_from_slice(b"+next\r\n");
            let mut measure = Measure::default();
            for end in 0..reply.len() {
                assert_eq!(measure.end(&stream[..end]), Ok(None), "{} cut at {end}", reply.escape_ascii());
            }
            assert_eq!(measure.end(&stream), Ok(Some(reply.len())), "{}", reply.escape_ascii());
            assert_eq!(measure.end(&stream[reply.len()..]), Ok(Some(7)), "it begins anew");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [&b"\r\n"[..], b"?\r\n", b"+OK\n", b"$x\r\n", b"$-2\r\n", b"%9223372036854775807\r\n"] {
            assert_eq!(Measure::default().end(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
        assert_eq!(Measure::default().end(&[b'+'; 70_000]), Err(Malformed), "a line without an end");
    }

    #[test]
    fn nesting_costs_nothing() {
        let mut deep = b"*1\r\n".repeat(100_000);
        deep.extend_from_slice(b":1\r\n");
        assert_eq!(Measure::default().end(&deep), Ok(Some(deep.len())));
    }

    #[test]
    fn heads_of_arrays_are_read() {
        assert_eq!(array_head(b"*12\r\n..."), Some((12, 5)));
        assert_eq!(array_head(b"$1\r\na\r\n"), None);
        assert_eq!(array_head(b"*-1\r\n"), None);
    }
}
