//! What waits to be sent on one connection: copied bytes in one buffer that is reused, and values that are linked in
//! between them without a copy. Read as slices for a vectored write, dropped from the front as they are sent.
//!
//! It knows no protocol. Copied bytes are appended only at the end; what was sent is never moved more than once.

use crate::base::limits;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Pieces that are moved at once.
const TAKEN_SLICES: usize = 64;

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
pub struct Output {
    /// Copied bytes; those before `head` are sent already.
    own: Vec<u8>,
    head: usize,
    /// Copied bytes that were dropped from the front of `own`, since the connection began.
    dropped: u64,
    /// Linked values in order; of the first, `shared_head` bytes are sent already.
    shared: VecDeque<Segment>,
    shared_head: usize,
    /// Bytes of linked values that are not sent.
    shared_pending: usize,
    /// Linked values that were sent, since the connection began.
    shared_dropped: u64,
}

impl Output {
    /// Appends a copy of `bytes`.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
    }

    /// Makes room for that many copied bytes.
    #[inline]
    pub fn reserve(&mut self, additional_bytes: usize) {
        self.own.reserve(additional_bytes);
    }

    /// The copied bytes, to be appended to only.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.own
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
    /// If [`Output::advance`] has passed `mark`.
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

    /// Moves all that is pending to the end of `into`. Where that is empty and nothing is linked, its memory and that of the
    /// copied bytes change places.
    pub fn take_into(&mut self, into: &mut Vec<u8>) {
        if self.shared.is_empty() && self.head == 0 && into.is_empty() {
            std::mem::swap(&mut self.own, into);
            self.dropped += into.len() as u64;
            self.own.shrink_to(limits::REPLY_KEPT_BYTES);
            return;
        }
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); TAKEN_SLICES];
            let filled = self.slices(&mut slices);
            let before = into.len();
            slices[..filled].iter().for_each(|slice| into.extend_from_slice(slice));
            self.advance(into.len() - before);
        }
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

    /// Appends bytes without copying them.
    pub fn link(&mut self, bytes: Bytes) {
        self.shared_pending += bytes.len();
        self.shared.push_back(Segment { at: self.dropped + self.own.len() as u64, bytes });
    }

    /// Takes what was written since `mark` out; nothing of it may have been sent.
    ///
    /// # Panics
    /// If [`Output::advance`] has passed `mark`.
    pub fn split_off(&mut self, mark: Mark) -> Self {
        let (own, shared) = self.position(mark);
        assert!(own >= self.head, "the reply was sent already");
        let mut rest = Self { own: self.own.split_off(own), ..Self::default() };
        for segment in self.shared.drain(shared..) {
            self.shared_pending -= segment.bytes.len();
            rest.shared_pending += segment.bytes.len();
            rest.shared.push_back(Segment { at: segment.at - mark.own, ..segment });
        }
        rest
    }

    /// Appends all that waits in another output, of which nothing was sent yet.
    pub fn append(&mut self, other: Self) {
        debug_assert!(other.head == 0 && other.shared_head == 0 && other.dropped == 0);
        let base = self.dropped + self.own.len() as u64;
        self.own.extend_from_slice(&other.own);
        self.shared_pending += other.shared_pending;
        self.shared
            .extend(other.shared.into_iter().map(|segment| Segment { at: base + segment.at, ..segment }));
    }

    /// Puts `header` at `mark`. Little behind it is moved up; much is left in place and the header linked in.
    pub fn insert_header(&mut self, mark: Mark, header: &[u8]) {
        let (own, shared) = self.position(mark);
        if self.own.len() - own > limits::REPLY_MOVE_MAX_BYTES {
            let bytes = Bytes::copy_from_slice(header);
            self.shared_pending += bytes.len();
            let at = mark.own;
            self.shared.insert(shared, Segment { at, bytes });
            return;
        }
        insert(&mut self.own, own, header);
        for segment in self.shared.range_mut(shared..) {
            segment.at += header.len() as u64;
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

#[cfg(test)]
mod tests {
    use crate::base::limits::{REPLY_KEPT_BYTES, SHARED_REPLY_MIN};
    use crate::resp::reply::{Proto, Reply};
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
    fn all_that_is_pending_can_be_taken() {
        let (mut reply, mut taken) = (Reply::default(), Vec::new());
        reply.integer(1);
        reply.take_into(&mut taken);
        reply.integer(2);
        let mark = reply.checkpoint();
        reply.integer(3);
        reply.truncate_to(mark);
        reply.bulk_shared(Bytes::from(vec![b'x'; 70_000]));
        reply.advance(1);
        reply.take_into(&mut taken);
        assert!(reply.is_empty());
        assert_eq!(taken.len(), 4 + 3 + 8 + 70_000 + 2);
        assert!(taken.starts_with(b":1\r\n2\r\n$70000\r\nxx") && taken.ends_with(b"xx\r\n"));
        reply.integer(4);
        assert_eq!(pending(&reply), b":4\r\n");
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
