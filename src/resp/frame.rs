//! Replies read back: what `larder ping` and the tests do with a server's answer. Not on the way of any request.
//!
//! Nesting is bounded by [`FRAME_DEPTH_MAX`](crate::base::limits::FRAME_DEPTH_MAX); a count reserves no memory.

use crate::base::limits;
use crate::base::num;

/// One reply, of either protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// `+text`
    Simple(Vec<u8>),
    /// `-line`, without the dash.
    Error(Vec<u8>),
    /// `:42`
    Integer(i64),
    /// `$length`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` and `_`
    Null,
    /// `*2`
    Array(Vec<Frame>),
    /// `%1`, in the order sent.
    Map(Vec<(Frame, Frame)>),
    /// `~2`, in the order sent.
    Set(Vec<Frame>),
    /// `>2`
    Push(Vec<Frame>),
    /// `,1.5`
    Double(f64),
    /// `#t`
    Boolean(bool),
    /// `(123`, as text.
    BigNumber(Vec<u8>),
    /// `=8`: three letters of format, and the text.
    Verbatim {
        /// `txt` or `mkd`.
        format: [u8; 3],
        /// The text without the format.
        text: Vec<u8>,
    },
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The rest of the input, while it lasts; `Ok(None)` everywhere means that it ended too early.
struct Input<'a> {
    buf: &'a [u8],
    at: usize,
}

/// Reads one reply from the start of `buf`: it and its length, or `None` if it goes on beyond.
///
/// # Errors
/// [`Malformed`] if the bytes are no reply, or one nested too deeply.
pub fn decode(buf: &[u8]) -> Result<Option<(Frame, usize)>, Malformed> {
    let mut input = Input { buf, at: 0 };
    let frame = input.frame(0)?;
    Ok(frame.map(|frame| (frame, input.at)))
}

impl<'a> Input<'a> {
    fn frame(&mut self, depth: usize) -> Result<Option<Frame>, Malformed> {
        if depth > limits::FRAME_DEPTH_MAX {
            return Err(Malformed);
        }
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let (&kind, text) = line.split_first().ok_or(Malformed)?;
        let frame = match kind {
            b'+' => Frame::Simple(text.to_vec()),
            b'-' => Frame::Error(text.to_vec()),
            b':' => Frame::Integer(num::parse_i64(text).ok_or(Malformed)?),
            b',' => Frame::Double(read_double(text)?),
            b'(' => Frame::BigNumber(text.to_vec()),
            b'#' if text == b"t" => Frame::Boolean(true),
            b'#' if text == b"f" => Frame::Boolean(false),
            b'_' if text.is_empty() => Frame::Null,
            b'$' | b'*' if text == b"-1" => Frame::Null,
            b'$' => return Ok(self.bytes(text)?.map(Frame::Bulk)),
            b'=' => return self.verbatim(text),
            b'*' => return Ok(self.frames(text, 1, depth)?.map(Frame::Array)),
            b'~' => return Ok(self.frames(text, 1, depth)?.map(Frame::Set)),
            b'>' => return Ok(self.frames(text, 1, depth)?.map(Frame::Push)),
            b'%' => return Ok(self.frames(text, 2, depth)?.map(pairs)),
            _ => return Err(Malformed),
        };
        Ok(Some(frame))
    }

    fn line(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.buf[self.at..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return Ok(None);
        };
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").map(Some).ok_or(Malformed)
    }

    fn bytes(&mut self, length: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let length = read_length(length)?;
        let rest = &self.buf[self.at..];
        if rest.len() < length.saturating_add(2) {
            return Ok(None);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Malformed);
        }
        self.at += length + 2;
        Ok(Some(rest[..length].to_vec()))
    }

    fn verbatim(&mut self, length: &[u8]) -> Result<Option<Frame>, Malformed> {
        let Some(bytes) = self.bytes(length)? else {
            return Ok(None);
        };
        match bytes.split_first_chunk() {
            Some((&format, [b':', text @ ..])) => Ok(Some(Frame::Verbatim { format, text: text.to_vec() })),
            _ => Err(Malformed),
        }
    }

    fn frames(&mut self, count: &[u8], each: usize, depth: usize) -> Result<Option<Vec<Frame>>, Malformed> {
        let count = read_length(count)?.checked_mul(each).ok_or(Malformed)?;
        let mut frames = Vec::new();
        for _ in 0..count {
            let Some(frame) = self.frame(depth + 1)? else {
                return Ok(None);
            };
            frames.push(frame);
        }
        Ok(Some(frames))
    }
}

fn read_length(text: &[u8]) -> Result<usize, Malformed> {
    let length = num::parse_i64(text).ok_or(Malformed)?;
    usize::try_from(length).map_err(|_| Malformed)
}

fn read_double(text: &[u8]) -> Result<f64, Malformed> {
    match text {
        b"nan" => Ok(f64::NAN),
        other => num::parse_f64(other).ok_or(Malformed),
    }
}

fn pairs(frames: Vec<Frame>) -> Frame {
    let mut frames = frames.into_iter();
    let mut pairs = Vec::with_capacity(frames.len() / 2);
    while let (Some(key), Some(value)) = (frames.next(), frames.next()) {
        pairs.push((key, value));
    }
    Frame::Map(pairs)
}

#[cfg(test)]
mod tests {
    use super::{Frame, Malformed, decode};

    #[test]
    fn every_kind_is_read() {
        let bulk = |text: &[u8]| Frame::Bulk(text.to_vec());
        let cases: &[(&[u8], Frame)] = &[
            (b"+OK\r\n", Frame::Simple(b"OK".to_vec())),
            (b"-ERR no\r\n", Frame::Error(b"ERR no".to_vec())),
            (b":-7\r\n", Frame::Integer(-7)),
            (b"$3\r\na\r\n\r\n", bulk(b"a\r\n")),
            (b"$-1\r\n", Frame::Null),
            (b"*-1\r\n", Frame::Null),
            (b"_\r\n", Frame::Null),
            (b",1.5\r\n", Frame::Double(1.5)),
            (b"#t\r\n", Frame::Boolean(true)),
            (b"(12\r\n", Frame::BigNumber(b"12".to_vec())),
            (b"*2\r\n:1\r\n*0\r\n", Frame::Array(vec![Frame::Integer(1), Frame::Array(vec![])])),
            (b"%1\r\n$1\r\na\r\n:1\r\n", Frame::Map(vec![(bulk(b"a"), Frame::Integer(1))])),
            (b"~1\r\n#f\r\n", Frame::Set(vec![Frame::Boolean(false)])),
            (b">1\r\n:1\r\n", Frame::Push(vec![Frame::Integer(1)])),
            (b"=6\r\ntxt:hi\r\n", Frame::Verbatim { format: *b"txt", text: b"hi".to_vec() }),
        ];
        for (bytes, frame) in cases {
            let whole = Ok(Some((frame.clone(), bytes.len())));
            assert_eq!(decode(bytes), whole, "{}", bytes.escape_ascii());
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), Ok(None), "cut at {end}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"\r\n"[..],
            b"?\r\n",
            b"+OK\n",
            b":x\r\n",
            b"$1\r\nabc",
            b"$-2\r\n",
            b"=2\r\nab\r\n",
            b"#x\r\n",
        ] {
            assert_eq!(decode(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
        assert_eq!(decode(&b"*1\r\n".repeat(100)), Err(Malformed));
    }
}
