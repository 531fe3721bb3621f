//! The two protocols as the load speaks them: writes requests, tells where a reply ends and what it says.
//!
//! It must never keep a reply's contents: framing is checked, bytes are skipped. Bound: a reply's announced length is
//! trusted only as far as the caller's buffer goes.

use std::io;

/// Bytes of every key that the benchmarks use.
pub const KEY_BYTES: usize = 16;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2.
    Resp,
    /// memcache text.
    Memcache,
}

/// When a stored key dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    Never,
    /// So many seconds from now.
    Seconds(u32),
    /// At this Unix time in milliseconds (RESP only).
    AtMs(u64),
}

/// What a reply said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A value of so many bytes.
    Hit(usize),
    /// No such key.
    Miss,
    /// The write was made.
    Stored,
    /// Refused for lack of memory.
    OutOfMemory,
    /// Any other error, or a kind of reply that GET and SET do not have.
    Other,
}

/// Key number `number`: `key:` and twelve digits.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

impl Protocol {
    /// Appends a GET.
    pub fn get(self, out: &mut Vec<u8>, key: &[u8; KEY_BYTES]) {
        match self {
            Self::Resp => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$16\r\n");
                out.extend_from_slice(key);
            }
            Self::Memcache => {
                out.extend_from_slice(b"get ");
                out.extend_from_slice(key);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a SET.
    pub fn set(self, out: &mut Vec<u8>, key: &[u8; KEY_BYTES], value: &[u8], expiry: Expiry) {
        match self {
            Self::Resp => {
                let count: &[u8] = if expiry == Expiry::Never { b"*3" } else { b"*5" };
                out.extend_from_slice(count);
                out.extend_from_slice(b"\r\n$3\r\nSET\r\n$16\r\n");
                out.extend_from_slice(key);
                out.extend_from_slice(format!("\r\n${}\r\n", value.len()).as_bytes());
                out.extend_from_slice(value);
                match expiry {
                    Expiry::Never => {}
                    Expiry::Seconds(seconds) => option(out, "EX", u64::from(seconds)),
                    Expiry::AtMs(at_ms) => option(out, "PXAT", at_ms),
                }
            }
            Self::Memcache => {
                let seconds = if let Expiry::Seconds(seconds) = expiry { seconds } else { 0 };
                out.extend_from_slice(b"set ");
                out.extend_from_slice(key);
                out.extend_from_slice(format!(" 0 {seconds} {}\r\n", value.len()).as_bytes());
                out.extend_from_slice(value);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The first reply in `input` and its length; `None` while it is incomplete.
    pub fn answer(self, input: &[u8]) -> io::Result<Option<(Answer, usize)>> {
        match self {
            Self::Resp => resp_answer(input),
            Self::Memcache => memcache_answer(input),
        }
    }
}

fn option(out: &mut Vec<u8>, name: &str, value: u64) {
    let value = value.to_string();
    out.extend_from_slice(format!("\r\n${}\r\n{name}\r\n${}\r\n{value}", name.len(), value.len()).as_bytes());
}

/// The line that `input` starts with, without its CRLF, and where the next one starts.
pub fn line(input: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return Ok(None);
    };
    if end == 0 || input[end - 1] != b'\r' {
        return Err(broken(input));
    }
    Ok(Some((&input[..end - 1], end + 1)))
}

/// A non-negative decimal number.
pub fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The error for a reply whose framing is wrong.
pub fn broken(input: &[u8]) -> io::Error {
    let start = String::from_utf8_lossy(&input[..input.len().min(80)]).into_owned();
    io::Error::new(io::ErrorKind::InvalidData, format!("the server's reply has a wrong frame: {start:?}"))
}

fn resp_answer(input: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let Some((line, next)) = line(input)? else {
        return Ok(None);
    };
    match line.first() {
        Some(b'$') if line == b"$-1" => Ok(Some((Answer::Miss, next))),
        Some(b'$') => {
            let length = number(&line[1..]).ok_or_else(|| broken(input))?;
            framed(input, next, length, 2)
        }
        Some(b'+') => Ok(Some((Answer::Stored, next))),
        Some(b'-') if line.starts_with(b"-OOM") => Ok(Some((Answer::OutOfMemory, next))),
        Some(b'-') => Ok(Some((Answer::Other, next))),
        _ => Err(broken(input)),
    }
}

fn memcache_answer(input: &[u8]) -> io::Result<Option<(Answer, usize)>> {
    let Some((line, next)) = line(input)? else {
        return Ok(None);
    };
    if line.starts_with(b"VALUE ") {
        let length =
            line.rsplit(|byte| *byte == b' ').next().and_then(number).ok_or_else(|| broken(input))?;
        return framed(input, next, length, b"\r\nEND\r\n".len());
    }
    let answer = match line {
        b"STORED" => Answer::Stored,
        b"END" => Answer::Miss,
        _ if line.starts_with(b"SERVER_ERROR out of memory") => Answer::OutOfMemory,
        _ if line.starts_with(b"SERVER_ERROR") => Answer::Other,
        _ => return Err(broken(input)),
    };
    Ok(Some((answer, next)))
}

/// A value of `length` bytes from `start`, followed by `trailer` bytes of which the last two are CRLF.
fn framed(input: &[u8], start: usize, length: usize, trailer: usize) -> io::Result<Option<(Answer, usize)>> {
    let end = start + length + trailer;
    if input.len() < end {
        return Ok(None);
    }
    if &input[end - 2..end] != b"\r\n" {
        return Err(broken(&input[start..]));
    }
    Ok(Some((Answer::Hit(length), end)))
}
