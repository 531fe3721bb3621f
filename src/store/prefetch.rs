//! The only unsafe code of the crate: asking the processor to bring memory into its cache ahead of use.
//!
//! Why: a look-up waits for two or three lines of memory, one after the other, which was 60 % of the processor time of
//! a pipelined GET on a million keys. The look-ups of one batch do not depend on each other, so their lines can come
//! together (see [`super::keyspace::Keyspace::expect`]). Loads will not do in its place: those before a locked
//! instruction must be complete when it is executed, and every shard's lock is one.
//!
//! Invariant: none is needed. A prefetch reads nothing as far as the program can tell, and a wrong address is no fault;
//! these are addresses of what is borrowed all the same.

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Brings the lines that hold `bytes` into the cache.
#[inline(always)]
pub(super) fn bring(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        bring_line(line.as_ptr());
    }
}

/// Brings the line in which a value begins into the cache.
#[inline(always)]
pub(super) fn bring_start<T>(value: &T) {
    bring_line(std::ptr::from_ref(value).cast());
}

#[inline(always)]
#[allow(unsafe_code)]
fn bring_line(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect that a program could observe, whatever the address; SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
