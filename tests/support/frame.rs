//! One reply: read from a stream, held as a value, printed on one line.
//!
//! The printed form is what tests compare with; it is the same for RESP2 and RESP3 where the meaning is the same:
//! `OK` simple string · `-ERR text` error · `42` integer · `"v\x00"` bulk string · `nil` any null · `[1, "a"]` array ·
//! `{"k": 1}` map · `~["a"]` set · `>["message", "c", "m"]` push · `,1.5` double · `#t` / `#f` boolean ·
//! `(123` big number · `=txt:"v"` verbatim string.

use std::fmt;
use std::io::{BufRead, Error, ErrorKind, Read, Result};

/// Deepest nesting that a reply may have; Redis's own replies stay below ten.
const DEPTH_MAX: usize = 32;
/// Longest line (type byte to CRLF); error texts that quote arguments are the longest.
const LINE_MAX: u64 = 64 * 1024;

/// A reply as the wire carried it.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// `+OK`
    Simple(String),
    /// `-ERR text`, without the dash.
    Error(String),
    /// `:42`
    Integer(i64),
    /// `$1`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*2`
    Array(Vec<Frame>),
    /// `%2`, in the order of the wire.
    Map(Vec<(Frame, Frame)>),
    /// `~2`, in the order of the wire.
    Set(Vec<Frame>),
    /// `>2`
    Push(Vec<Frame>),
    /// `,1.5` as written.
    Double(String),
    /// `#t`
    Boolean(bool),
    /// `(123` as written.
    BigNumber(String),
    /// `=8`: three letters of format, and the text.
    Verbatim(String, Vec<u8>),
}

impl Frame {
    /// Reads one frame and appends its bytes to `raw`.
    pub fn read(from: &mut impl BufRead, raw: &mut Vec<u8>) -> Result<Frame> {
        read_at_depth(from, raw, 0)
    }

    /// The integer; panics on anything else.
    #[track_caller]
    pub fn integer(&self) -> i64 {
        match self {
            Frame::Integer(value) => *value,
            other => panic!("expected an integer, got {other}"),
        }
    }

    /// The text of a bulk, simple or verbatim string; panics on anything else and on other than UTF-8.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Frame::Simple(text) => text.clone(),
            Frame::Bulk(bytes) | Frame::Verbatim(_, bytes) => {
                String::from_utf8(bytes.clone()).unwrap_or_else(|_| panic!("not UTF-8: {self}"))
            }
            other => panic!("expected a string, got {other}"),
        }
    }

    /// The elements of an array, set or push; panics on anything else.
    #[track_caller]
    pub fn items(&self) -> &[Frame] {
        match self {
            Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => items,
            other => panic!("expected an array, got {other}"),
        }
    }

    /// The pairs of a map, or of a flat array as RESP2 sends it; panics on anything else.
    #[track_caller]
    pub fn pairs(&self) -> Vec<(Frame, Frame)> {
        match self {
            Frame::Map(pairs) => pairs.clone(),
            Frame::Array(items) if items.len().is_multiple_of(2) => {
                items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
            }
            other => panic!("expected a map, got {other}"),
        }
    }

    /// Whether this is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Frame::Error(_))
    }
}

fn read_at_depth(from: &mut impl BufRead, raw: &mut Vec<u8>, depth: usize) -> Result<Frame> {
    if depth > DEPTH_MAX {
        return Err(invalid("nested too deeply"));
    }
    let line = read_line(from, raw)?;
    let (kind, rest) = line.split_at(1);
    let items = |from: &mut _, raw: &mut _, count: usize| -> Result<Vec<Frame>> {
        (0..count).map(|_| read_at_depth(from, raw, depth + 1)).collect()
    };
    Ok(match kind {
        "+" => Frame::Simple(rest.to_owned()),
        "-" => Frame::Error(rest.to_owned()),
        ":" => Frame::Integer(number(rest)?),
        "," => Frame::Double(rest.to_owned()),
        "(" => Frame::BigNumber(rest.to_owned()),
        "_" if rest.is_empty() => Frame::Null,
        "#" if rest == "t" || rest == "f" => Frame::Boolean(rest == "t"),
        "$" | "*" if rest == "-1" => Frame::Null,
        "$" => Frame::Bulk(read_body(from, raw, length(rest)?)?),
        "=" => verbatim(read_body(from, raw, length(rest)?)?)?,
        "*" => Frame::Array(items(from, raw, length(rest)?)?),
        "~" => Frame::Set(items(from, raw, length(rest)?)?),
        ">" => Frame::Push(items(from, raw, length(rest)?)?),
        "%" => {
            let flat = items(from, raw, 2 * length(rest)?)?;
            Frame::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        _ => return Err(invalid(&format!("not a reply: {line:?}"))),
    })
}

fn read_line(from: &mut impl BufRead, raw: &mut Vec<u8>) -> Result<String> {
    let start = raw.len();
    from.take(LINE_MAX).read_until(b'\n', raw)?;
    let line = &raw[start..];
    if line.is_empty() {
        return Err(Error::new(ErrorKind::UnexpectedEof, "connection closed"));
    }
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.is_empty() => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(invalid(&format!("bad line {:?}", String::from_utf8_lossy(line)))),
    }
}

fn read_body(from: &mut impl BufRead, raw: &mut Vec<u8>, length: usize) -> Result<Vec<u8>> {
    let start = raw.len();
    from.take(length as u64 + 2).read_to_end(raw)?;
    match raw[start..].strip_suffix(b"\r\n") {
        Some(body) if body.len() == length => Ok(body.to_vec()),
        _ => Err(invalid("string shorter or longer than announced")),
    }
}

fn verbatim(body: Vec<u8>) -> Result<Frame> {
    match (body.get(..3), body.get(3), body.get(4..)) {
        (Some(format), Some(b':'), Some(text)) => {
            Ok(Frame::Verbatim(String::from_utf8_lossy(format).into_owned(), text.to_vec()))
        }
        _ => Err(invalid("verbatim string without a format")),
    }
}

fn number(text: &str) -> Result<i64> {
    text.parse().map_err(|_| invalid(&format!("not an integer: {text:?}")))
}

fn length(text: &str) -> Result<usize> {
    text.parse().map_err(|_| invalid(&format!("not a length: {text:?}")))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message.to_owned())
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Simple(text) => out.write_str(text),
            Frame::Error(text) => write!(out, "-{text}"),
            Frame::Integer(value) => write!(out, "{value}"),
            Frame::Bulk(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Frame::Null => out.write_str("nil"),
            Frame::Array(items) => write_items(out, "[", items),
            Frame::Set(items) => write_items(out, "~[", items),
            Frame::Push(items) => write_items(out, ">[", items),
            Frame::Map(pairs) => {
                out.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(out, "{comma}{key}: {value}")?;
                }
                out.write_str("}")
            }
            Frame::Double(text) => write!(out, ",{text}"),
            Frame::Boolean(true) => out.write_str("#t"),
            Frame::Boolean(false) => out.write_str("#f"),
            Frame::BigNumber(text) => write!(out, "({text}"),
            Frame::Verbatim(format, text) => write!(out, "={format}:\"{}\"", text.escape_ascii()),
        }
    }
}

fn write_items(out: &mut fmt::Formatter<'_>, open: &str, items: &[Frame]) -> fmt::Result {
    out.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(out, "{comma}{item}")?;
    }
    out.write_str("]")
}
