//! Frames that others have queued for one client, and the limit that its unsent output must keep.
//!
//! Anybody puts frames in, under a lock that is held for moments only; the client's own task takes them out. What is
//! queued costs the memory of its frames even where they are shared with other clients, so that the sum of all outboxes
//! is a bound for the memory that they hold. An outbox knows no socket and no protocol.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

use crate::base::limits::{OUTBOX_KEPT_FRAMES, OUTBOX_MUCH_BYTES};
use crate::base::lock::Mutex;
use crate::config::types;

/// An output-buffer limit: at once above `hard_bytes`, or after `soft_ms` above `soft_bytes`. Zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes above which the client is closed at once.
    pub hard_bytes: u64,
    /// Bytes above which it may stay for `soft_ms` only.
    pub soft_bytes: u64,
    /// Milliseconds that it may stay above `soft_bytes`.
    pub soft_ms: u64,
}

impl From<types::OutputLimit> for OutputLimit {
    fn from(limit: types::OutputLimit) -> Self {
        Self {
            hard_bytes: limit.hard_bytes,
            soft_bytes: limit.soft_bytes,
            soft_ms: limit.soft_seconds.saturating_mul(1000),
        }
    }
}

/// What became of a frame that was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It is the only one: the owner must be told.
    First,
    /// It is behind others, of which the owner was told, or will be.
    Behind,
    /// The same, and with it there is much: the owner must be told now.
    Much,
    /// It would have broken the limit; nothing is queued any more.
    TooMuch,
}

/// The frames; see the module.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: Mutex<VecDeque<Bytes>>,
    bytes: AtomicUsize,
    soft_since_ms: AtomicU64,
}

impl Outbox {
    /// Queues the frame that `frame` gives, which is asked for under the lock; `unsent_bytes` are counted in.
    pub fn push(
        &self,
        frame: impl FnOnce() -> Bytes,
        unsent_bytes: usize,
        limit: OutputLimit,
        now_ms: u64,
    ) -> Queued {
        let mut frames = self.frames.lock();
        let frame = frame();
        let before = self.bytes.load(Ordering::Relaxed);
        let queued = before + frame.len() + size_of::<Bytes>();
        if self.exceeds((queued + unsent_bytes) as u64, limit, now_ms) {
            self.bytes.store(0, Ordering::Relaxed);
            *frames = VecDeque::new();
            return Queued::TooMuch;
        }
        self.bytes.store(queued, Ordering::Relaxed);
        frames.push_back(frame);
        match frames.len() {
            1 => Queued::First,
            _ if before < OUTBOX_MUCH_BYTES && queued >= OUTBOX_MUCH_BYTES => Queued::Much,
            _ => Queued::Behind,
        }
    }

    /// Hands every frame to `sink`, in order, and calls `end` before anybody can queue another.
    pub fn drain(&self, sink: impl FnMut(Bytes), end: impl FnOnce()) {
        let mut frames = self.frames.lock();
        self.bytes.store(0, Ordering::Relaxed);
        frames.drain(..).for_each(sink);
        if frames.capacity() > OUTBOX_KEPT_FRAMES {
            *frames = VecDeque::new();
        }
        end();
    }

    /// Runs `change` while nobody can queue anything.
    pub fn locked<R>(&self, change: impl FnOnce() -> R) -> R {
        let _frames = self.frames.lock();
        change()
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.frames.lock().len()
    }

    /// What the frames cost, in bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether `total_bytes` of output break `limit`; keeps the time since which the soft limit is exceeded.
    pub fn exceeds(&self, total_bytes: u64, limit: OutputLimit, now_ms: u64) -> bool {
        if limit.hard_bytes != 0 && total_bytes > limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || total_bytes <= limit.soft_bytes {
            if self.soft_since_ms.load(Ordering::Relaxed) != 0 {
                self.soft_since_ms.store(0, Ordering::Relaxed);
            }
            return false;
        }
        let since_ms = self.soft_since_ms.load(Ordering::Relaxed);
        if since_ms == 0 {
            self.soft_since_ms.store(now_ms.max(1), Ordering::Relaxed);
            return false;
        }
        now_ms.saturating_sub(since_ms) > limit.soft_ms
    }
}

#[cfg(test)]
mod tests {
    use super::{Outbox, OutputLimit, Queued};
    use crate::base::limits::OUTBOX_KEPT_FRAMES;
    use bytes::Bytes;

    const NO_LIMIT: OutputLimit = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_ms: 0 };

    fn push(outbox: &Outbox, text: &'static [u8]) -> Queued {
        outbox.push(|| Bytes::from_static(text), 0, NO_LIMIT, 0)
    }

    #[test]
    fn frames_come_out_in_order_and_the_owner_is_told_once() {
        let outbox = Outbox::default();
        assert_eq!(push(&outbox, b"a"), Queued::First);
        assert_eq!(push(&outbox, b"b"), Queued::Behind);
        assert_eq!((outbox.frames(), outbox.bytes()), (2, 2 + 2 * size_of::<Bytes>()));
        let (mut text, mut ended) = (Vec::new(), false);
        outbox.drain(|frame| text.extend_from_slice(&frame), || ended = true);
        assert!(text == b"ab" && ended);
        assert_eq!((outbox.frames(), outbox.bytes()), (0, 0));
        assert_eq!(push(&outbox, b"c"), Queued::First);
    }

    #[test]
    fn room_for_a_few_frames_is_kept_and_no_more() {
        let outbox = Outbox::default();
        for _ in 0..4 * OUTBOX_KEPT_FRAMES {
            push(&outbox, b"x");
        }
        outbox.drain(drop, || {});
        assert_eq!(outbox.frames.lock().capacity(), 0);
        push(&outbox, b"x");
        outbox.drain(drop, || {});
        assert!((1..=OUTBOX_KEPT_FRAMES).contains(&outbox.frames.lock().capacity()));
    }

    #[test]
    fn what_is_unsent_counts_against_the_limit() {
        let outbox = Outbox::default();
        let limit = OutputLimit { hard_bytes: 200, ..NO_LIMIT };
        let frame = || Bytes::from_static(&[b'x'; 50]);
        assert_eq!(outbox.push(frame, 100, limit, 0), Queued::First);
        assert_eq!(outbox.push(frame, 100, limit, 0), Queued::TooMuch);
        assert_eq!((outbox.frames(), outbox.bytes()), (0, 0));
    }

    #[test]
    fn the_soft_limit_needs_time_and_forgives() {
        let outbox = Outbox::default();
        let limit = OutputLimit { hard_bytes: 0, soft_bytes: 10, soft_ms: 1_000 };
        assert!(!outbox.exceeds(50, limit, 5_000));
        assert!(!outbox.exceeds(50, limit, 6_000));
        assert!(!outbox.exceeds(5, limit, 6_500));
        assert!(!outbox.exceeds(50, limit, 7_000));
        assert!(outbox.exceeds(50, limit, 8_001));
    }
}
