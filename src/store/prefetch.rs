//! The only unsafe code of the crate: two things that the processor can do and safe Rust has no name for. It must never
//! hold anything that reads or writes through a pointer.
//!
//! *Bringing memory into the cache ahead of use.* A look-up waits for two or three lines of memory, one after the other,
//! which was 60 % of the processor time of a pipelined GET on a million keys. The look-ups of one batch do not depend on
//! each other, so their lines can come together (see [`super::keyspace::Keyspace::expect`]). Loads will not do in its
//! place: those before a locked instruction must be complete when it is executed, and every shard's lock is one.
//! Invariant: none is needed. A prefetch reads nothing as far as the program can tell, and a wrong address is no fault;
//! these are addresses of what is borrowed all the same.
//!
//! *Comparing sixteen tags at once.* What the compiler makes of a loop over them takes some 70 instructions, these take
//! less than 20; of removing a due key, with four million there, it was a seventh of all instructions. Invariant: the
//! instructions belong to every x86-64 processor, and what they work on are values, not addresses.

/// Tags that are compared at once.
pub(super) const TAGS: usize = 16;
/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Brings the lines that hold `bytes` into the cache.
#[inline(always)]
pub(super) fn bring(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        bring_line(line.as_ptr());
    }
}

/// Brings all lines that hold `bytes` into the cache, the last one, too, where they do not begin at a line's start.
#[inline(always)]
pub(super) fn bring_all(bytes: &[u8]) {
    bring(bytes);
    bytes.last().inspect(|last| bring_start(*last));
}

/// Brings the line in which a value begins into the cache.
#[inline(always)]
pub(super) fn bring_start<T>(value: &T) {
    bring_line(std::ptr::from_ref(value).cast());
}

/// Brings the first and the last line of a value into the cache: all of it, if it is two lines long or shorter.
#[inline(always)]
pub(super) fn bring_whole<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    bring_line(start);
    bring_line(start.wrapping_add(size_of::<T>().saturating_sub(1)));
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

/// One bit a tag (two bytes, little-endian), set where it is `tag`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn matches(tags: &[u8; 2 * TAGS], tag: u16) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi64x, _mm_set1_epi16,
    };
    let (words, _) = tags.as_chunks();
    let [a, b, c, d] = [0, 1, 2, 3].map(|at| i64::from_le_bytes(words[at]));
    // SAFETY: the instructions are SSE2, a part of x86-64, and their operands are values.
    let found = unsafe {
        let wanted = _mm_set1_epi16(tag.cast_signed());
        let low = _mm_cmpeq_epi16(_mm_set_epi64x(b, a), wanted);
        let high = _mm_cmpeq_epi16(_mm_set_epi64x(d, c), wanted);
        _mm_movemask_epi8(_mm_packs_epi16(low, high))
    };
    found.cast_unsigned()
}

/// One bit a tag (two bytes, little-endian), set where it is `tag`.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn matches(tags: &[u8; 2 * TAGS], tag: u16) -> u32 {
    let (pairs, _) = tags.as_chunks();
    let hit = |(lane, pair): (usize, &[u8; 2])| u32::from(u16::from_le_bytes(*pair) == tag) << lane;
    pairs.iter().enumerate().map(hit).sum()
}

#[cfg(test)]
mod tests {
    use super::{TAGS, matches};
    use crate::base::rng::Rng;

    #[test]
    fn matching_tags_have_their_bits_set() {
        let mut rng = Rng::seeded(21);
        for _ in 0..2000 {
            let tags: [u16; TAGS] = std::array::from_fn(|_| 0x7FFE + rng.below(4) as u16);
            let bytes: Vec<u8> = tags.iter().flat_map(|tag| tag.to_le_bytes()).collect();
            for wanted in [0, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
                let expected =
                    (0..TAGS).filter(|&lane| tags[lane] == wanted).map(|lane| 1u32 << lane).sum::<u32>();
                assert_eq!(matches(bytes.first_chunk().expect("sixteen tags"), wanted), expected);
            }
        }
    }
}
