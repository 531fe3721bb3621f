//! The reply writer of one connection: RESP2 and RESP3 behind one set of methods.
//!
//! Small replies are copied into one buffer that is reused; values of at least
//! [`SHARED_REPLY_MIN`](limits::SHARED_REPLY_MIN) bytes are linked in, not copied. In the steady state a small reply
//! allocates nothing. What is pending is read as slices for a vectored write and dropped by [`Reply::advance`].
//!
//! It does not count elements: who writes `array(3)` owes three replies. It has no bound of its own: the server
//! watches [`Reply::pending_bytes`] against the output-buffer limits. It never writes a blob error (`!`): clients break.

use crate::base::limits;
use crate::base::num::{DoubleText, IntegerText};
use crate::resp::error::Error;
use crate::resp::output::{Mark, Output};
use bytes::Bytes;
use std::fmt::{self, Write};
use std::io::IoSlice;

/// Longest header: a type byte, 20 digits, CR LF.
const HEADER_MAX: usize = 23;
/// Longest value that is written in one piece with its header: of two digits, and two moves of 32 bytes.
const SHORT_MAX: usize = 64;

/// The protocol that a connection has chosen by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// Version 2, the default.
    #[default]
    Resp2,
    /// Version 3.
    Resp3,
}

/// The replies of one connection; see the module.
#[derive(Debug, Default)]
pub struct Reply {
    proto: Proto,
    out: Output,
}

impl Reply {
    /// An empty output in this protocol; allocates nothing.
    pub fn new(proto: Proto) -> Self {
        Self { proto, ..Self::default() }
    }

    /// The protocol of what is written next.
    #[inline]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Switches the protocol from here on.
    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    #[inline]
    fn is_resp3(&self) -> bool {
        self.proto == Proto::Resp3
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend(b"+OK\r\n");
    }

    /// `+text`; the text is ours and has no line end in it.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.out.extend(b"+");
        self.out.extend(text.as_bytes());
        self.out.extend(b"\r\n");
    }

    /// `-line`, with CR and LF in the line (quoted input) turned into blanks.
    #[cold]
    pub fn error(&mut self, error: &Error) {
        let mut line = OneLine(self.out.tail());
        // Writing to memory cannot fail.
        let _ = write!(line, "-{error}");
        self.out.extend(b"\r\n");
    }

    /// `:value`
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// `$length` and the bytes, copied.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if bytes.len() <= SHORT_MAX {
            return self.short_bulk(bytes);
        }
        self.out.reserve(HEADER_MAX + bytes.len() + 2);
        self.header(b'$', bytes.len() as i64);
        self.out.extend(bytes);
        self.out.extend(b"\r\n");
    }

    /// The same for a short one, by moves of fixed length alone: a third of the instructions.
    #[inline]
    fn short_bulk(&mut self, bytes: &[u8]) {
        let own = self.out.tail();
        let length = bytes.len();
        let [tens, ones] = [length / 10, length % 10].map(|digit| b'0' + digit as u8);
        if length < 10 {
            own.extend_from_slice(&[b'$', ones, b'\r', b'\n']);
        } else {
            own.extend_from_slice(&[b'$', tens, ones, b'\r', b'\n']);
        }
        extend_short(own, bytes);
        own.extend_from_slice(b"\r\n");
    }

    /// `$length` and the text.
    #[inline]
    pub fn bulk_str(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// `$length` and the decimal text of `value`.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(IntegerText::new().format(value));
    }

    /// `$length` and the bytes, linked in without a copy if there are many.
    pub fn bulk_shared(&mut self, bytes: Bytes) {
        if bytes.len() < limits::SHARED_REPLY_MIN {
            return self.bulk(&bytes);
        }
        self.header(b'$', bytes.len() as i64);
        self.out.link(bytes);
        self.out.extend(b"\r\n");
    }

    /// `$length` and what `value` displays.
    pub fn bulk_display(&mut self, value: impl fmt::Display) {
        let mark = self.checkpoint();
        // Writing to memory cannot fail.
        let _ = write!(Text(self.out.tail()), "{value}");
        let header = Header::new(b'$', self.bytes_since(mark) as i64);
        self.out.insert_header(mark, header.as_bytes());
        self.out.extend(b"\r\n");
    }

    /// The absence of a value: `$-1`, or `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        let text: &[u8] = if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" };
        self.out.extend(text);
    }

    /// The absence of an array: `*-1`, or `_` in RESP3.
    pub fn null_array(&mut self) {
        let text: &[u8] = if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" };
        self.out.extend(text);
    }

    /// The head of an array; `elements` replies follow.
    #[inline]
    pub fn array(&mut self, elements: usize) {
        self.header(b'*', elements as i64);
    }

    /// The head of a map; `pairs` keys and values follow, alternating. A flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        let header = self.map_header(pairs);
        self.out.extend(header.as_bytes());
    }

    /// The head of a set; `elements` replies follow. An array in RESP2.
    pub fn set(&mut self, elements: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.header(kind, elements as i64);
    }

    /// The head of a push message; `elements` replies follow. An array in RESP2.
    pub fn push(&mut self, elements: usize) {
        let kind = if self.is_resp3() { b'>' } else { b'*' };
        self.header(kind, elements as i64);
    }

    /// `,value`, or its text as a bulk in RESP2.
    pub fn double(&mut self, value: f64) {
        self.double_text(DoubleText::new().format(value));
    }

    /// The same for a double whose text is the caller's.
    pub fn double_text(&mut self, text: &[u8]) {
        if self.is_resp3() {
            self.out.extend(b",");
            self.out.extend(text);
            self.out.extend(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// `#t` or `#f`, `:1` or `:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match (self.is_resp3(), value) {
            (true, true) => self.out.extend(b"#t\r\n"),
            (true, false) => self.out.extend(b"#f\r\n"),
            (false, value) => self.integer(i64::from(value)),
        }
    }

    /// Text for people, marked by three letters (`txt`, `mkd`) in RESP3, a bulk in RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        if !self.is_resp3() {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.out.extend(format.as_bytes());
        self.out.extend(b":");
        self.out.extend(text);
        self.out.extend(b"\r\n");
    }

    /// Whole replies that were encoded before, copied.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend(encoded);
    }

    /// Whole replies that were encoded before (a message for many subscribers), linked in if there are many bytes.
    pub fn raw_shared(&mut self, encoded: Bytes) {
        if encoded.len() < limits::SHARED_REPLY_MIN {
            self.raw(&encoded);
        } else {
            self.out.link(encoded);
        }
    }

    /// Starts an array or map whose length is not known yet; ends with [`Reply::close_array`] or [`Reply::close_map`].
    pub fn deferred_array(&mut self) -> Mark {
        self.checkpoint()
    }

    /// Ends a deferred array: `elements` replies were written since `mark`.
    pub fn close_array(&mut self, mark: Mark, elements: usize) {
        let header = Header::new(b'*', elements as i64);
        self.out.insert_header(mark, header.as_bytes());
    }

    /// Ends a deferred map: `pairs` keys and values were written since `mark`.
    pub fn close_map(&mut self, mark: Mark, pairs: usize) {
        let header = self.map_header(pairs);
        self.out.insert_header(mark, header.as_bytes());
    }

    /// Ends a deferred set: `elements` replies were written since `mark`.
    pub fn close_set(&mut self, mark: Mark, elements: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        let header = Header::new(kind, elements as i64);
        self.out.insert_header(mark, header.as_bytes());
    }

    /// The present end of the output.
    #[inline]
    pub fn checkpoint(&self) -> Mark {
        self.out.checkpoint()
    }

    /// Drops what was written since `mark`; nothing of it may have been sent.
    ///
    /// # Panics
    /// If [`Reply::advance`] has passed `mark`.
    pub fn truncate_to(&mut self, mark: Mark) {
        self.out.truncate_to(mark);
    }

    /// Takes what was written since `mark` out; nothing of it may have been sent.
    ///
    /// # Panics
    /// If [`Reply::advance`] has passed `mark`.
    pub fn split_off(&mut self, mark: Mark) -> Self {
        Self { proto: self.proto, out: self.out.split_off(mark) }
    }

    /// Appends all that waits in `other`, of which nothing was sent yet.
    pub fn append(&mut self, other: Self) {
        self.out.append(other.out);
    }

    /// Bytes written since `mark`.
    pub fn bytes_since(&self, mark: Mark) -> usize {
        self.out.bytes_since(mark)
    }

    /// Bytes that wait to be sent.
    #[inline]
    pub fn pending_bytes(&self) -> usize {
        self.out.pending_bytes()
    }

    /// Whether nothing waits to be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Memory that is held: room for copied bytes, and the linked values.
    pub fn held_bytes(&self) -> usize {
        self.out.held_bytes()
    }

    /// Fills `slices` with pending output in order, none of it empty; how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.out.slices(slices)
    }

    /// Drops the first `sent` pending bytes; memory beyond what a connection keeps is given back.
    ///
    /// # Panics
    /// If fewer bytes are pending.
    pub fn advance(&mut self, sent: usize) {
        self.out.advance(sent);
    }

    /// Moves all that is pending to the end of `into`.
    pub fn take_into(&mut self, into: &mut Vec<u8>) {
        self.out.take_into(into);
    }

    /// Gives back all memory of an output with nothing pending; for connections that fall idle.
    pub fn release(&mut self) {
        self.out.release();
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        let digit = |unit| b'0' + (value / unit % 10) as u8;
        match value {
            0..10 => self.out.extend(&[kind, digit(1), b'\r', b'\n']),
            10..100 => {
                let header = [kind, digit(10), digit(1), b'\r', b'\n'];
                self.out.extend(&header);
            }
            100..1000 => {
                let header = [kind, digit(100), digit(10), digit(1), b'\r', b'\n'];
                self.out.extend(&header);
            }
            _ => {
                let header = Header::new(kind, value);
                self.out.extend(header.as_bytes());
            }
        }
    }

    fn map_header(&self, pairs: usize) -> Header {
        if self.is_resp3() { Header::new(b'%', pairs as i64) } else { Header::new(b'*', pairs as i64 * 2) }
    }
}

/// Appends at most [`SHORT_MAX`] bytes as two moves of fixed length, of which the second goes over the end of the first.
#[inline]
fn extend_short(own: &mut Vec<u8>, bytes: &[u8]) {
    let end = own.len() + bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<32>(), bytes.last_chunk::<32>()) {
        own.extend_from_slice(first);
        own.truncate(end - 32);
        own.extend_from_slice(last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
        own.extend_from_slice(first);
        own.truncate(end - 16);
        own.extend_from_slice(last);
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        own.extend_from_slice(first);
        own.truncate(end - 8);
        own.extend_from_slice(last);
    } else {
        bytes.iter().for_each(|byte| own.push(*byte));
    }
}

/// `<kind><value>\r\n` on the stack.
struct Header {
    bytes: [u8; HEADER_MAX],
    len: usize,
}

impl Header {
    #[inline]
    fn new(kind: u8, value: i64) -> Self {
        let mut bytes = [0; HEADER_MAX];
        bytes[0] = kind;
        let mut text = IntegerText::new();
        let digits = text.format(value);
        let end = 1 + digits.len();
        bytes[1..end].copy_from_slice(digits);
        bytes[end] = b'\r';
        bytes[end + 1] = b'\n';
        Self { bytes, len: end + 2 }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Appends text as it is.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends text with line ends blanked.
struct OneLine<'a>(&'a mut Vec<u8>);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.bytes().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Proto, Reply, SHORT_MAX};
    use crate::base::limits::{REPLY_MOVE_MAX_BYTES, SHARED_REPLY_MIN};
    use crate::resp::error::Error;
    use bytes::Bytes;
    use std::io::IoSlice;

    fn pending(reply: &Reply) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = reply.slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!(bytes.len(), reply.pending_bytes());
        bytes
    }

    /// Checks what `write` writes in both protocols.
    fn check(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
        for (proto, expected) in [(Proto::Resp2, resp2), (Proto::Resp3, resp3)] {
            let mut reply = Reply::new(proto);
            write(&mut reply);
            let found = pending(&reply);
            assert_eq!(found.escape_ascii().to_string(), expected, "{proto:?}");
        }
    }

    #[test]
    fn scalars() {
        let same = |write: fn(&mut Reply), text| check(write, text, text);
        same(Reply::ok, r"+OK\r\n");
        same(|reply| reply.simple("PONG"), r"+PONG\r\n");
        same(|reply| reply.integer(0), r":0\r\n");
        same(|reply| reply.integer(10), r":10\r\n");
        same(|reply| reply.integer(999), r":999\r\n");
        same(|reply| reply.integer(1000), r":1000\r\n");
        same(|reply| reply.integer(-1), r":-1\r\n");
        same(|reply| reply.integer(i64::MIN), r":-9223372036854775808\r\n");
        same(|reply| reply.bulk(b"a\0b"), r"$3\r\na\x00b\r\n");
        same(|reply| reply.bulk(b""), r"$0\r\n\r\n");
        for length in 0..=SHORT_MAX + 1 {
            let text: String = (0..length).map(|at| char::from(b'a' + at as u8 % 26)).collect();
            check(
                |reply| {
                    reply.bulk(text.as_bytes());
                    reply.ok();
                },
                &format!(r"${length}\r\n{text}\r\n+OK\r\n"),
                &format!(r"${length}\r\n{text}\r\n+OK\r\n"),
            );
        }
        same(|reply| reply.bulk_integer(-120), r"$4\r\n-120\r\n");
        same(|reply| reply.bulk_display(format_args!("{}-{}", 1, 2)), r"$3\r\n1-2\r\n");
        same(|reply| reply.error(&Error::Syntax), r"-ERR syntax error\r\n");
        same(|reply| reply.error(&Error::Custom("ERR a\r\nb".into())), r"-ERR a  b\r\n");
        check(Reply::null, r"$-1\r\n", r"_\r\n");
        check(Reply::null_array, r"*-1\r\n", r"_\r\n");
        check(|reply| reply.boolean(true), r":1\r\n", r"#t\r\n");
        check(|reply| reply.boolean(false), r":0\r\n", r"#f\r\n");
        check(|reply| reply.double(1.5), r"$3\r\n1.5\r\n", r",1.5\r\n");
        check(|reply| reply.double(f64::INFINITY), r"$3\r\ninf\r\n", r",inf\r\n");
        check(|reply| reply.verbatim("txt", b"hi"), r"$2\r\nhi\r\n", r"=6\r\ntxt:hi\r\n");
    }

    #[test]
    fn aggregates() {
        check(|reply| reply.array(12), r"*12\r\n", r"*12\r\n");
        check(|reply| reply.map(7), r"*14\r\n", r"%7\r\n");
        check(|reply| reply.set(2), r"*2\r\n", r"~2\r\n");
        check(|reply| reply.push(3), r"*3\r\n", r">3\r\n");
    }

    #[test]
    fn deferred_aggregates_nest() {
        let write = |reply: &mut Reply| {
            let outer = reply.deferred_array();
            reply.integer(1);
            let inner = reply.deferred_array();
            reply.integer(2);
            reply.integer(3);
            reply.close_map(inner, 1);
            let empty = reply.deferred_array();
            reply.close_set(empty, 0);
            reply.close_array(outer, 3);
        };
        check(write, r"*3\r\n:1\r\n*2\r\n:2\r\n:3\r\n*0\r\n", r"*3\r\n:1\r\n%1\r\n:2\r\n:3\r\n~0\r\n");
    }

    #[test]
    fn long_deferred_aggregates_are_not_moved() {
        let mut reply = Reply::new(Proto::Resp2);
        let big = Bytes::from(vec![b'v'; SHARED_REPLY_MIN]);
        let long = vec![b'x'; REPLY_MOVE_MAX_BYTES];
        reply.ok();
        let outer = reply.deferred_array();
        let inner = reply.deferred_array();
        reply.bulk_shared(big.clone());
        reply.bulk(&long);
        reply.close_array(inner, 2);
        reply.ok();
        reply.close_array(outer, 2);
        let mut expected = b"+OK\r\n*2\r\n*2\r\n$16384\r\n".to_vec();
        expected.extend_from_slice(&big);
        expected.extend_from_slice(b"\r\n$16384\r\n");
        expected.extend_from_slice(&long);
        expected.extend_from_slice(b"\r\n+OK\r\n");
        assert!(pending(&reply) == expected);
    }
}
