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
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::io::IoSlice;

/// Longest header: a type byte, 20 digits, CR LF.
const HEADER_MAX: usize = 23;

/// The protocol that a connection has chosen by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// Version 2, the default.
    #[default]
    Resp2,
    /// Version 3.
    Resp3,
}

/// A position in the output. It holds until something before it is dropped or a header is put before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Position in the copied bytes, counted from the connection's first.
    own: u64,
    /// Number of linked segments before it, counted likewise.
    shared: u64,
}

/// A linked value: it stands before the copied byte at `at`.
#[derive(Debug)]
struct Segment {
    at: u64,
    bytes: Bytes,
}

/// The output of one connection; see the module.
#[derive(Debug, Default)]
pub struct Reply {
    proto: Proto,
    /// Copied bytes; those before `head` are written already.
    own: Vec<u8>,
    head: usize,
    /// Copied bytes that were dropped from the front of `own`, since the connection began.
    dropped: u64,
    /// Linked values in order; of the first, `shared_head` bytes are written already.
    shared: VecDeque<Segment>,
    shared_head: usize,
    /// Bytes of linked values that are not written.
    shared_pending: usize,
    /// Linked values that were written, since the connection began.
    shared_dropped: u64,
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
        self.own.extend_from_slice(b"+OK\r\n");
    }

    /// `+text`; the text is ours and has no line end in it.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.own.push(b'+');
        self.own.extend_from_slice(text.as_bytes());
        self.own.extend_from_slice(b"\r\n");
    }

    /// `-line`, with CR and LF in the line (quoted input) turned into blanks.
    #[cold]
    pub fn error(&mut self, error: &Error) {
        let mut line = OneLine(&mut self.own);
        // Writing to memory cannot fail.
        let _ = write!(line, "-{error}");
        self.own.extend_from_slice(b"\r\n");
    }

    /// `:value`
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// `$length` and the bytes, copied.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.own.reserve(HEADER_MAX + bytes.len() + 2);
        self.header(b'$', bytes.len() as i64);
        self.own.extend_from_slice(bytes);
        self.own.extend_from_slice(b"\r\n");
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
        self.link(bytes);
        self.own.extend_from_slice(b"\r\n");
    }

    /// `$length` and what `value` displays.
    pub fn bulk_display(&mut self, value: impl fmt::Display) {
        let start = self.own.len();
        // Writing to memory cannot fail.
        let _ = write!(OwnWriter(&mut self.own), "{value}");
        let header = Header::new(b'$', (self.own.len() - start) as i64);
        insert(&mut self.own, start, header.as_bytes());
        self.own.extend_from_slice(b"\r\n");
    }

    /// The absence of a value: `$-1`, or `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        let text: &[u8] = if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" };
        self.own.extend_from_slice(text);
    }

    /// The absence of an array: `*-1`, or `_` in RESP3.
    pub fn null_array(&mut self) {
        let text: &[u8] = if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" };
        self.own.extend_from_slice(text);
    }

    /// The head of an array; `elements` replies follow.
    #[inline]
    pub fn array(&mut self, elements: usize) {
        self.header(b'*', elements as i64);
    }

    /// The head of a map; `pairs` keys and values follow, alternating. A flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        let header = self.map_header(pairs);
        self.own.extend_from_slice(header.as_bytes());
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
        let mut text = DoubleText::new();
        let text = text.format(value);
        if self.is_resp3() {
            self.own.push(b',');
            self.own.extend_from_slice(text);
            self.own.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// `#t` or `#f`, `:1` or `:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match (self.is_resp3(), value) {
            (true, true) => self.own.extend_from_slice(b"#t\r\n"),
            (true, false) => self.own.extend_from_slice(b"#f\r\n"),
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
        self.own.extend_from_slice(format.as_bytes());
        self.own.push(b':');
        self.own.extend_from_slice(text);
        self.own.extend_from_slice(b"\r\n");
    }

    /// Whole replies that were encoded before, copied.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.own.extend_from_slice(encoded);
    }

    /// Whole replies that were encoded before (a message for many subscribers), linked in if there are many bytes.
    pub fn raw_shared(&mut self, encoded: Bytes) {
        if encoded.len() < limits::SHARED_REPLY_MIN {
            self.raw(&encoded);
        } else {
            self.link(encoded);
        }
    }

    /// Starts an array or map whose length is not known yet; ends with [`Reply::close_array`] or [`Reply::close_map`].
    pub fn deferred_array(&mut self) -> Mark {
        self.checkpoint()
    }

    /// Ends a deferred array: `elements` replies were written since `mark`.
    pub fn close_array(&mut self, mark: Mark, elements: usize) {
        self.insert_header(mark, &Header::new(b'*', elements as i64));
    }

    /// Ends a deferred map: `pairs` keys and values were written since `mark`.
    pub fn close_map(&mut self, mark: Mark, pairs: usize) {
        let header = self.map_header(pairs);
        self.insert_header(mark, &header);
    }

    /// Ends a deferred set: `elements` replies were written since `mark`.
    pub fn close_set(&mut self, mark: Mark, elements: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.insert_header(mark, &Header::new(kind, elements as i64));
    }

    /// The present end of the output.
    #[inline]
    pub fn checkpoint(&self) -> Mark {
        Mark {
            own: self.dropped + self.own.len() as u64,
            shared: self.shared_dropped + self.shared.len() as u64,
        }
    }

    /// Drops what was written since `mark`; nothing of it may have been sent.
    ///
    /// # Panics
    /// If [`Reply::advance`] has passed `mark`.
    pub fn truncate_to(&mut self, mark: Mark) {
        let (own, shared) = self.position(mark);
        assert!(own >= self.head, "the reply was sent already");
        self.own.truncate(own);
        for segment in self.shared.drain(shared..) {
            self.shared_pending -= segment.bytes.len();
        }
    }

    /// Bytes written since `mark`.
    pub fn bytes_since(&self, mark: Mark) -> usize {
        let (own, shared) = self.position(mark);
        let linked = self.shared.range(shared..);
        self.own.len() - own + linked.map(|segment| segment.bytes.len()).sum::<usize>()
    }

    /// Bytes that wait to be sent.
    #[inline]
    pub fn pending_bytes(&self) -> usize {
        self.own.len() - self.head + self.shared_pending
    }

    /// Whether nothing waits to be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pending_bytes() == 0
    }

    /// Memory that is held: room for copied bytes, and the linked values.
    pub fn held_bytes(&self) -> usize {
        self.own.capacity() + self.shared_pending
    }

    /// Fills `slices` with pending output in order, none of it empty; how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut at = self.head;
        let mut skip = self.shared_head;
        for segment in &self.shared {
            let end = (segment.at - self.dropped) as usize;
            for piece in [&self.own[at..end], &segment.bytes[skip..]] {
                if !piece.is_empty() {
                    let Some(slot) = slices.get_mut(filled) else {
                        return filled;
                    };
                    *slot = IoSlice::new(piece);
                    filled += 1;
                }
            }
            at = end;
            skip = 0;
        }
        if at < self.own.len()
            && let Some(slot) = slices.get_mut(filled)
        {
            *slot = IoSlice::new(&self.own[at..]);
            filled += 1;
        }
        filled
    }

    /// Drops the first `sent` pending bytes; memory beyond what a connection keeps is given back.
    ///
    /// # Panics
    /// If fewer bytes are pending.
    pub fn advance(&mut self, mut sent: usize) {
        while let Some(segment) = self.shared.front() {
            let before = (segment.at - self.dropped) as usize - self.head;
            let step = before.min(sent);
            self.head += step;
            sent -= step;
            if sent == 0 {
                break;
            }
            let rest = segment.bytes.len() - self.shared_head;
            let step = rest.min(sent);
            sent -= step;
            self.shared_pending -= step;
            self.shared_head += step;
            if step < rest {
                break;
            }
            self.shared.pop_front();
            self.shared_dropped += 1;
            self.shared_head = 0;
        }
        self.head += sent;
        assert!(self.head <= self.own.len(), "more sent than pending");
        self.reclaim();
    }

    /// Gives back all memory of an output with nothing pending; for connections that fall idle.
    pub fn release(&mut self) {
        if self.is_empty() {
            self.reclaim();
            self.own = Vec::new();
            self.shared = VecDeque::new();
        }
    }

    /// Reuses the room of bytes that were sent: at once when all were, otherwise once they are the larger half.
    fn reclaim(&mut self) {
        if self.is_empty() {
            self.dropped += self.own.len() as u64;
            self.own.clear();
            self.own.shrink_to(limits::REPLY_KEPT_BYTES);
            self.head = 0;
        } else if self.head > limits::REPLY_KEPT_BYTES && self.head > self.own.len() / 2 {
            self.own.drain(..self.head);
            self.dropped += self.head as u64;
            self.head = 0;
        }
    }

    /// Where `mark` stands in `own` and in `shared`.
    fn position(&self, mark: Mark) -> (usize, usize) {
        ((mark.own - self.dropped) as usize, (mark.shared - self.shared_dropped) as usize)
    }

    fn link(&mut self, bytes: Bytes) {
        self.shared_pending += bytes.len();
        self.shared.push_back(Segment { at: self.dropped + self.own.len() as u64, bytes });
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        if (0..10).contains(&value) {
            self.own.extend_from_slice(&[kind, b'0' + value as u8, b'\r', b'\n']);
        } else {
            self.own.extend_from_slice(Header::new(kind, value).as_bytes());
        }
    }

    fn map_header(&self, pairs: usize) -> Header {
        if self.is_resp3() { Header::new(b'%', pairs as i64) } else { Header::new(b'*', pairs as i64 * 2) }
    }

    /// Puts `header` at `mark`. Little behind it is moved up; much is left in place and the header linked in.
    fn insert_header(&mut self, mark: Mark, header: &Header) {
        let (own, shared) = self.position(mark);
        if self.own.len() - own > limits::REPLY_MOVE_MAX_BYTES {
            let bytes = Bytes::copy_from_slice(header.as_bytes());
            self.shared_pending += bytes.len();
            let at = mark.own;
            self.shared.insert(shared, Segment { at, bytes });
            return;
        }
        insert(&mut self.own, own, header.as_bytes());
        for segment in self.shared.range_mut(shared..) {
            segment.at += header.as_bytes().len() as u64;
        }
    }
}

/// Inserts a few bytes at `at`.
fn insert(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = into.len();
    into.resize(end + bytes.len(), 0);
    into.copy_within(at..end, at + bytes.len());
    into[at..at + bytes.len()].copy_from_slice(bytes);
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
struct OwnWriter<'a>(&'a mut Vec<u8>);

impl Write for OwnWriter<'_> {
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
    use super::{Proto, Reply};
    use crate::base::limits::{REPLY_KEPT_BYTES, REPLY_MOVE_MAX_BYTES, SHARED_REPLY_MIN};
    use crate::resp::error::Error;
    use bytes::Bytes;
    use proptest::prelude::{prop_assert_eq, proptest};
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
        same(|reply| reply.integer(-1), r":-1\r\n");
        same(|reply| reply.integer(i64::MIN), r":-9223372036854775808\r\n");
        same(|reply| reply.bulk(b"a\0b"), r"$3\r\na\x00b\r\n");
        same(|reply| reply.bulk(b""), r"$0\r\n\r\n");
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

    #[test]
    fn what_was_written_can_be_dropped() {
        let mut reply = Reply::new(Proto::Resp2);
        reply.ok();
        let mark = reply.checkpoint();
        reply.bulk_shared(Bytes::from(vec![0; SHARED_REPLY_MIN]));
        reply.integer(5);
        assert_eq!(reply.bytes_since(mark), SHARED_REPLY_MIN + 8 + 2 + 4);
        reply.truncate_to(mark);
        assert_eq!(pending(&reply), b"+OK\r\n");
        reply.advance(5);
        let mark = reply.checkpoint();
        reply.ok();
        reply.truncate_to(mark);
        assert!(reply.is_empty());
    }

    #[test]
    fn memory_of_a_giant_reply_is_given_back() {
        let mut reply = Reply::new(Proto::Resp2);
        reply.bulk(&vec![0; 10 * REPLY_KEPT_BYTES]);
        reply.advance(reply.pending_bytes());
        assert!(reply.held_bytes() <= 2 * REPLY_KEPT_BYTES);
        reply.ok();
        reply.release();
        assert_eq!(pending(&reply), b"+OK\r\n");
        reply.advance(5);
        reply.release();
        assert_eq!(reply.held_bytes(), 0);
    }

    #[test]
    fn a_buffer_that_never_drains_does_not_grow() {
        let mut reply = Reply::new(Proto::Resp2);
        reply.bulk(&[0; 1000]);
        for _ in 0..10_000 {
            reply.bulk(&[0; 1000]);
            reply.advance(1009);
        }
        assert!(reply.held_bytes() < 8 * REPLY_KEPT_BYTES);
    }

    proptest! {
        /// Whatever is written and however it is sent, the bytes arrive in order.
        #[test]
        fn pieces_are_sent_in_order(sizes in proptest::collection::vec((0usize..40_000, 0usize..60_000), 1..20)) {
            let (mut reply, mut expected, mut sent) = (Reply::new(Proto::Resp3), Vec::new(), Vec::new());
            for (number, (size, send)) in sizes.into_iter().enumerate() {
                let value = Bytes::from(vec![number as u8; size]);
                expected.extend_from_slice(format!("${size}\r\n").as_bytes());
                expected.extend_from_slice(&value);
                expected.extend_from_slice(b"\r\n");
                reply.bulk_shared(value);
                let send = send.min(reply.pending_bytes());
                sent.extend_from_slice(&pending(&reply)[..send]);
                reply.advance(send);
            }
            sent.extend_from_slice(&pending(&reply));
            reply.advance(reply.pending_bytes());
            prop_assert_eq!(sent, expected);
            prop_assert_eq!(reply.pending_bytes(), 0);
        }
    }
}
