//! The request scanner: finds the arguments of one request in the bytes that a client sent.
//!
//! It resumes where it stopped (the cost of a request is linear in its bytes, however they are cut), never recurses,
//! copies nothing but the words of an inline request, allocates nothing per request in the steady state, and decides
//! on nothing that it has not seen: a hostile count or length reserves no memory. Every bound is in [`Limits`] or
//! [`crate::base::limits`]. The outcome does not depend on how the input was cut into reads.
//!
//! A request is `*count` and that many `$length` bulks, or, if its first byte is not `*`, an inline line. Redis's
//! error texts are kept; unlike Redis, bytes other than CR LF behind a line or a bulk are an error too, and so is a
//! NUL in an inline request (where Redis goes on waiting for more).

use crate::base::limits;
use crate::base::num;
use crate::resp::args::{Args, Range32};
use crate::resp::error::ProtocolError;
use crate::resp::inline;

/// What a request may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument, in bytes (`proto-max-bulk-len`).
    pub bulk_max_bytes: usize,
    /// Most arguments, the command name included.
    pub args_max: usize,
    /// Longest inline request, and longest count or length line, in bytes.
    pub inline_max_bytes: usize,
    /// Whether the connection has authenticated; before that much smaller requests are allowed.
    pub authenticated: bool,
}

impl Limits {
    /// The usual limits with this `proto-max-bulk-len`.
    pub const fn new(bulk_max_bytes: usize, authenticated: bool) -> Self {
        Self {
            bulk_max_bytes,
            args_max: limits::ARGS_MAX,
            inline_max_bytes: limits::INLINE_MAX,
            authenticated,
        }
    }
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The request goes on beyond the input: call again with the same bytes and more behind them.
    Incomplete {
        /// How many bytes are known to be missing; at least 1, and the rest of the bulk inside a bulk.
        wanted_bytes: usize,
    },
    /// A whole request; [`Scanner::args`] has its arguments until the next scan. There is at least one.
    Request {
        /// Its length.
        consumed_bytes: usize,
    },
    /// An empty line, `*0` or a negative count: skip it, answer nothing.
    Nothing {
        /// Its length.
        consumed_bytes: usize,
    },
    /// Not a request: answer the error and close.
    Error(ProtocolError),
}

/// Where the scanner stands within a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of it was seen.
    Start,
    /// In the line of an inline request.
    Inline,
    /// In the `*count` line.
    Count,
    /// In a `$length` line.
    Length,
    /// Behind the `$length` line of a bulk of `Scanner::bulk_bytes`.
    Bulk,
}

/// Scans the requests of one connection, one at a time.
#[derive(Debug)]
pub struct Scanner {
    phase: Phase,
    /// Where the present line or bulk starts.
    start: usize,
    /// Up to where the present line was searched for its end.
    searched: usize,
    /// Length of the present bulk.
    bulk_bytes: usize,
    /// Bulks still to come, the present one included.
    remaining: usize,
    ranges: Vec<Range32>,
    /// Whether the ranges lie in `words` instead of the input.
    inline: bool,
    words: Vec<u8>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

/// A way out of the scan other than a whole request.
type Stop = Scan;

const ONE_MORE: Stop = Scan::Incomplete { wanted_bytes: 1 };

impl Scanner {
    /// A scanner at the start of a request; allocates nothing.
    pub fn new() -> Self {
        Self {
            phase: Phase::Start,
            start: 0,
            searched: 0,
            bulk_bytes: 0,
            remaining: 0,
            ranges: Vec::new(),
            inline: false,
            words: Vec::new(),
        }
    }

    /// Scans one request. `buf` is all input from the first byte of that request on: after `Incomplete` the same bytes
    /// with more behind them, after anything else the bytes behind `consumed_bytes`.
    #[inline]
    pub fn scan(&mut self, buf: &[u8], limits: &Limits) -> Scan {
        let outcome = match self.phase {
            Phase::Start => self.begin(buf, limits),
            Phase::Inline => self.inline_line(buf, limits),
            Phase::Count => self.count_line(buf, limits),
            Phase::Length | Phase::Bulk => self.bulks(buf, limits),
        };
        outcome.unwrap_or_else(|stop| {
            if !matches!(stop, Scan::Incomplete { .. }) {
                self.phase = Phase::Start;
            }
            stop
        })
    }

    /// The arguments of the request that the last scan found in `buf`.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        let bytes = if self.inline { &self.words } else { buf };
        Args::new(bytes, &self.ranges)
    }

    /// Whether part of a request was scanned already.
    pub fn is_inside_request(&self) -> bool {
        self.phase != Phase::Start
    }

    #[inline]
    fn begin(&mut self, buf: &[u8], limits: &Limits) -> Result<Scan, Stop> {
        self.ranges.clear();
        self.inline = false;
        match buf.first() {
            None => Err(ONE_MORE),
            Some(b'*') => {
                self.start = 0;
                self.searched = 0;
                match short_number(buf, 0, b'*') {
                    Some((count, next)) => self.begin_bulks(buf, limits, count as i64, next),
                    None => self.count_line(buf, limits),
                }
            }
            Some(_) => {
                self.searched = 0;
                self.inline_line(buf, limits)
            }
        }
    }

    #[cold]
    fn count_line(&mut self, buf: &[u8], limits: &Limits) -> Result<Scan, Stop> {
        self.phase = Phase::Count;
        let too_long = ProtocolError::TooBigCount;
        let (text, next) = self.line(buf, limits, too_long)?;
        let count = num::parse_i64(text).ok_or(Scan::Error(ProtocolError::InvalidCount))?;
        self.begin_bulks(buf, limits, count, next)
    }

    #[inline]
    fn begin_bulks(&mut self, buf: &[u8], limits: &Limits, count: i64, next: usize) -> Result<Scan, Stop> {
        if count <= 0 {
            return Err(Scan::Nothing { consumed_bytes: next });
        }
        let count = count as usize;
        if count > limits.args_max {
            return Err(Scan::Error(ProtocolError::InvalidCount));
        }
        if !limits.authenticated && count > limits::ARGS_MAX_UNAUTHENTICATED {
            return Err(Scan::Error(ProtocolError::UnauthenticatedCount));
        }
        if self.ranges.capacity() > limits::ARGS_KEPT_MAX && count <= limits::ARGS_KEPT_MAX {
            self.ranges = Vec::with_capacity(count);
        }
        self.phase = Phase::Length;
        self.remaining = count;
        self.start = next;
        self.searched = next;
        self.bulks(buf, limits)
    }

    /// Reads bulks until the request is whole or the input ends.
    #[inline]
    fn bulks(&mut self, buf: &[u8], limits: &Limits) -> Result<Scan, Stop> {
        let mut at = self.start;
        let mut remaining = self.remaining;
        let mut inside = self.phase == Phase::Bulk;
        while remaining > 0 {
            let length = if inside {
                inside = false;
                self.bulk_bytes
            } else if let Some((length, next)) = short_number(buf, at, b'$') {
                at = next;
                length
            } else {
                let (length, next) = self.length_line(buf, limits, at, remaining)?;
                at = next;
                length
            };
            check_bulk(length, limits)?;
            let end = at + length;
            match buf.get(end..).and_then(<[u8]>::first_chunk) {
                Some(b"\r\n") => {}
                Some(_) => return Err(Scan::Error(ProtocolError::BulkWithoutCrlf)),
                None => {
                    self.stop_in_bulk(at, length, remaining);
                    return Err(missing(end + 2, buf.len()));
                }
            }
            self.ranges.push(Range32 { start: at as u32, len: length as u32 });
            at = end + 2;
            remaining -= 1;
        }
        // Offsets are 32 bits wide; what does not fit them ends here, before anyone reads it.
        if at > limits::REQUEST_MAX_BYTES {
            return Err(Scan::Error(ProtocolError::TooBigRequest));
        }
        self.phase = Phase::Start;
        Ok(Scan::Request { consumed_bytes: at })
    }

    #[cold]
    fn stop_in_bulk(&mut self, start: usize, length: usize, remaining: usize) {
        self.phase = Phase::Bulk;
        self.start = start;
        self.bulk_bytes = length;
        self.remaining = remaining;
    }

    /// The length in the line at `at`, and the position behind the line.
    #[inline(never)]
    fn length_line(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        at: usize,
        remaining: usize,
    ) -> Result<(usize, usize), Stop> {
        if self.phase != Phase::Length || self.start != at {
            self.phase = Phase::Length;
            self.start = at;
            self.searched = at;
        }
        self.remaining = remaining;
        match buf.get(self.start) {
            None => return Err(ONE_MORE),
            Some(b'$') => {}
            Some(&other) => return Err(Scan::Error(ProtocolError::ExpectedBulk(other))),
        }
        let (text, next) = self.line(buf, limits, ProtocolError::TooBigLength)?;
        let length = num::parse_i64(text).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or(Scan::Error(ProtocolError::InvalidLength))?;
        Ok((length, next))
    }

    /// The present line, from behind its type byte to its CR, and the position behind its LF.
    fn line<'a>(
        &mut self,
        buf: &'a [u8],
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<(&'a [u8], usize), Stop> {
        let found = memchr::memchr(b'\r', &buf[self.searched..]);
        let end = found.map_or(buf.len(), |offset| self.searched + offset);
        if end - self.start > limits.inline_max_bytes {
            return Err(Scan::Error(too_long));
        }
        self.searched = end;
        match (found, buf.get(end + 1)) {
            (Some(_), Some(b'\n')) => Ok((&buf[self.start + 1..end], end + 2)),
            (Some(_), Some(_)) => Err(Scan::Error(ProtocolError::LineWithoutLf)),
            _ => Err(ONE_MORE),
        }
    }

    #[cold]
    fn inline_line(&mut self, buf: &[u8], limits: &Limits) -> Result<Scan, Stop> {
        self.phase = Phase::Inline;
        let found = memchr::memchr2(b'\n', 0, &buf[self.searched..]);
        let end = found.map_or(buf.len(), |offset| self.searched + offset);
        if end > limits.inline_max_bytes {
            return Err(Scan::Error(ProtocolError::TooBigInline));
        }
        self.searched = end;
        if found.is_none() {
            return Err(ONE_MORE);
        }
        if buf[end] == 0 {
            return Err(Scan::Error(ProtocolError::NulInInline));
        }
        self.words.clear();
        self.words.shrink_to(limits::INLINE_WORDS_KEPT_BYTES);
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        inline::split(line, &mut self.words, &mut self.ranges)
            .map_err(|_| Scan::Error(ProtocolError::UnbalancedQuotes))?;
        let consumed_bytes = end + 1;
        if self.ranges.is_empty() {
            return Err(Scan::Nothing { consumed_bytes });
        }
        self.inline = true;
        self.phase = Phase::Start;
        Ok(Scan::Request { consumed_bytes })
    }
}

/// The number and the end of the line at `at`, if it begins with `kind` and holds 1 to 6 digits and CR LF: nearly every
/// line there is. `None` for everything else, lines that are cut off or wrong included.
#[inline(always)]
fn short_number(buf: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line: &[u8; 5] = buf.get(at..)?.first_chunk()?;
    let first = line[1].wrapping_sub(b'0');
    if line[0] != kind || first > 9 {
        return None;
    }
    if line[2] == b'\r' && line[3] == b'\n' {
        return Some((first as usize, at + 4));
    }
    let second = line[2].wrapping_sub(b'0');
    if first == 0 || second > 9 {
        return None;
    }
    let number = first as usize * 10 + second as usize;
    if line[3] == b'\r' && line[4] == b'\n' {
        return Some((number, at + 5));
    }
    longer_number(buf, at + 3, number)
}

/// Goes on with a number of which two digits were read, four more at most.
#[inline]
fn longer_number(buf: &[u8], at: usize, mut number: usize) -> Option<(usize, usize)> {
    let line: &[u8; 6] = buf.get(at..)?.first_chunk()?;
    for position in 0..5 {
        let digit = line[position].wrapping_sub(b'0');
        if digit > 9 {
            let ended = line[position] == b'\r' && line[position + 1] == b'\n';
            return ended.then_some((number, at + position + 2));
        }
        number = number * 10 + digit as usize;
    }
    None
}

#[inline]
fn check_bulk(length: usize, limits: &Limits) -> Result<(), Stop> {
    if length > limits.bulk_max_bytes {
        return Err(Scan::Error(ProtocolError::InvalidLength));
    }
    if !limits.authenticated && length > limits::BULK_MAX_UNAUTHENTICATED {
        return Err(Scan::Error(ProtocolError::UnauthenticatedLength));
    }
    Ok(())
}

/// The request needs `wanted` bytes in all and has `have`.
#[cold]
fn missing(wanted: usize, have: usize) -> Stop {
    if wanted > limits::REQUEST_MAX_BYTES {
        return Scan::Error(ProtocolError::TooBigRequest);
    }
    Scan::Incomplete { wanted_bytes: wanted - have }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Scan, Scanner};
    use crate::base::limits;
    use crate::resp::error::ProtocolError;
    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
    use redis_protocol::resp2::decode::decode;
    use redis_protocol::resp2::types::OwnedFrame;

    const LIMITS: Limits = Limits::new(1 << 20, true);

    /// The requests in `input`, and the error that ended them, if one did.
    type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

    /// Scans all of `input`, given to the scanner in pieces that end at `cuts` (ascending) and at its end.
    fn scan_all(input: &[u8], cuts: &[usize], limits: &Limits) -> Outcome {
        let mut scanner = Scanner::new();
        let (mut requests, mut start) = (Vec::new(), 0);
        for &end in cuts.iter().chain([&input.len()]) {
            loop {
                let buf = &input[start..end];
                match scanner.scan(buf, limits) {
                    Scan::Incomplete { wanted_bytes } => {
                        assert!(wanted_bytes > 0);
                        break;
                    }
                    Scan::Request { consumed_bytes } => {
                        let args = scanner.args(&buf[..consumed_bytes]);
                        requests.push(args.iter().map(<[u8]>::to_vec).collect());
                        start += consumed_bytes;
                    }
                    Scan::Nothing { consumed_bytes } => start += consumed_bytes,
                    Scan::Error(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    fn encode(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
            for argument in request {
                bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
                bytes.extend_from_slice(argument);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        bytes
    }

    #[test]
    fn requests_of_both_kinds_follow_each_other() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\r\nPING\n*0\r\n*-1\r\n  \r\nset k \"a b\"\r\n*1\r\n$4\r\nQUIT\r\n";
        let expected: Vec<Vec<&[u8]>> =
            vec![vec![b"GET", b"k"], vec![b"PING"], vec![b"set", b"k", b"a b"], vec![b"QUIT"]];
        let (requests, error) = scan_all(input, &[], &LIMITS);
        assert_eq!(requests, expected);
        assert_eq!(error, None);
    }

    #[test]
    fn hostile_input_is_refused_with_redis_texts() {
        let long = "1".repeat(limits::INLINE_MAX + 1);
        let cases: &[(String, &str)] = &[
            ("*abc\r\n".into(), "invalid multibulk length"),
            ("*3000000000\r\n".into(), "invalid multibulk length"),
            ("*1048577\r\n".into(), "invalid multibulk length"),
            ("*01\r\n".into(), "invalid multibulk length"),
            ("*\r\n".into(), "invalid multibulk length"),
            ("*+1\r\n".into(), "invalid multibulk length"),
            ("*1\r\n$-1\r\n".into(), "invalid bulk length"),
            ("*1\r\n$x\r\n".into(), "invalid bulk length"),
            ("*1\r\n$03\r\nabc\r\n".into(), "invalid bulk length"),
            ("*1\r\n$2000000000\r\n".into(), "invalid bulk length"),
            ("*1\r\n$99999999999999999999\r\n".into(), "invalid bulk length"),
            ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n".into(), "expected '$', got 'f'"),
            ("*1\r\n*1\r\n*1\r\n".into(), "expected '$', got '*'"),
            (format!("*{long}"), "too big mbulk count string"),
            (format!("*1\r\n${long}"), "too big bulk count string"),
            (long.clone(), "too big inline request"),
            (format!("{long}\n"), "too big inline request"),
            ("set k \"a\n".into(), "unbalanced quotes in request"),
            ("a\0b\n".into(), "NUL byte in inline request"),
            ("*1\rx".into(), "expected LF after CR"),
            ("*1\r\n$1\r\nabc".into(), "expected CRLF after bulk"),
            ("*1\r\n$1\r\na\n\r".into(), "expected CRLF after bulk"),
        ];
        for (input, text) in cases {
            let (requests, error) = scan_all(input.as_bytes(), &[], &LIMITS);
            assert!(requests.is_empty());
            let error = error.map(|error| error.to_string());
            assert_eq!(error, Some(format!("Protocol error: {text}")));
        }
    }

    #[test]
    fn less_is_allowed_before_authentication() {
        let limits = Limits::new(1 << 20, false);
        let error = |input: &[u8]| scan_all(input, &[], &limits).1;
        assert_eq!(error(b"*10\r\n"), None);
        assert_eq!(error(b"*11\r\n"), Some(ProtocolError::UnauthenticatedCount));
        assert_eq!(error(b"*1\r\n$16384\r\n"), None);
        assert_eq!(error(b"*1\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedLength));
    }

    #[test]
    fn a_bulk_says_how_much_is_missing() {
        let mut scanner = Scanner::new();
        let mut input = b"*2\r\n$3\r\nGET\r\n$1000\r\n".to_vec();
        let wanted = |wanted_bytes| Scan::Incomplete { wanted_bytes };
        assert_eq!(scanner.scan(&input, &LIMITS), wanted(1002));
        assert!(scanner.is_inside_request());
        input.extend_from_slice(&[b'x'; 1001]);
        assert_eq!(scanner.scan(&input, &LIMITS), wanted(1));
        input[1020] = b'\r';
        input.push(b'\n');
        let consumed_bytes = input.len();
        assert_eq!(scanner.scan(&input, &LIMITS), Scan::Request { consumed_bytes });
        assert!(!scanner.is_inside_request());
        assert_eq!(scanner.scan(b"", &LIMITS), wanted(1));
    }

    #[test]
    fn hostile_counts_and_giant_requests_keep_no_memory() {
        let mut scanner = Scanner::new();
        scanner.scan(b"*1000000\r\n", &LIMITS);
        assert_eq!(scanner.ranges.capacity(), 0);
        let giant = encode(&[vec![b"x".to_vec(); 10 * limits::ARGS_KEPT_MAX]]);
        let mut scanner = Scanner::new();
        scanner.scan(&giant, &LIMITS);
        assert_eq!(scanner.args(&giant).len(), 10 * limits::ARGS_KEPT_MAX);
        scanner.scan(b"*1\r\n$4\r\nPING\r\n", &LIMITS);
        assert!(scanner.ranges.capacity() <= limits::ARGS_KEPT_MAX);
    }

    fn requests() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        let argument = proptest::collection::vec(any::<u8>(), 0..150);
        proptest::collection::vec(proptest::collection::vec(argument, 1..12), 1..4)
    }

    /// Input that is nearly a request: pieces of one in any order.
    fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&str] = &[
            "*",
            "$",
            "1",
            "2",
            "12",
            "0",
            "-1",
            "\r\n",
            "\r",
            "\n",
            "\0",
            "a",
            "PING",
            " ",
            "\"",
            "'",
            "\\",
            "*1\r\n",
            "$1\r\na\r\n",
            "$2\r\n",
            "*2\r\n",
            "$100\r\n",
        ];
        proptest::collection::vec(proptest::sample::select(PIECES), 0..20)
            .prop_map(|pieces| pieces.concat().into_bytes())
    }

    fn cuts(of: usize) -> impl Strategy<Value = Vec<usize>> {
        proptest::collection::vec(0..=of, 0..6).prop_map(|mut cuts| {
            cuts.sort_unstable();
            cuts
        })
    }

    proptest! {
        #[test]
        fn requests_split_at_every_byte_are_the_same(requests in requests()) {
            let input = encode(&requests);
            let expected = (requests, None);
            prop_assert_eq!(&scan_all(&input, &[], &LIMITS), &expected);
            for cut in 0..input.len() {
                prop_assert_eq!(&scan_all(&input, &[cut], &LIMITS), &expected, "cut at {}", cut);
            }
            let all: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&scan_all(&input, &all, &LIMITS), &expected);
        }

        #[test]
        fn hostile_input_cut_anywhere_fails_the_same(
            (input, cuts) in nearly_requests().prop_flat_map(|input| {
                let cuts = cuts(input.len());
                (proptest::strategy::Just(input), cuts)
            }),
        ) {
            let small = Limits { bulk_max_bytes: 50, args_max: 5, inline_max_bytes: 10, authenticated: true };
            for limits in [&LIMITS, &small] {
                prop_assert_eq!(scan_all(&input, &cuts, limits), scan_all(&input, &[], limits));
            }
        }

        #[test]
        fn arguments_equal_those_of_an_independent_decoder(requests in requests()) {
            let input = encode(&requests);
            let (found, _) = scan_all(&input, &[], &LIMITS);
            let (mut rest, mut expected) = (&input[..], Vec::new());
            while let Ok(Some((OwnedFrame::Array(frames), length))) = decode(rest) {
                let bulk = |frame| match frame {
                    OwnedFrame::BulkString(bytes) => bytes,
                    other => panic!("not a bulk: {other:?}"),
                };
                expected.push(frames.into_iter().map(bulk).collect::<Vec<_>>());
                rest = &rest[length..];
            }
            prop_assert_eq!(found, expected);
        }
    }
}
