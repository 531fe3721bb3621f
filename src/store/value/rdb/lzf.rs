//! LZF, the compression that Redis uses for strings: unfolding alone, as nothing is compressed here.
//!
//! A byte below 32 says that so many bytes and one more follow as they are; another one names a length (three bits, or
//! these and a byte) and a distance back (thirteen bits) from which as many bytes and two more are taken.

/// Unfolds bytes that are to become exactly `length` long; nothing if they do not.
pub fn unfold(mut bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    // No byte stands for more than this, so that a wrong length is seen before anything is allocated for it.
    const MOST_A_BYTE: usize = 132;
    if length / MOST_A_BYTE > bytes.len() {
        return None;
    }
    let mut out: Vec<u8> = Vec::with_capacity(length);
    while let Some((&control, rest)) = bytes.split_first() {
        bytes = rest;
        if control < 32 {
            let (literal, rest) = bytes.split_at_checked(usize::from(control) + 1)?;
            out.extend_from_slice(literal);
            bytes = rest;
        } else {
            let mut count = usize::from(control >> 5) + 2;
            if control >> 5 == 7 {
                let (&more, rest) = bytes.split_first()?;
                count += usize::from(more);
                bytes = rest;
            }
            let (&low, rest) = bytes.split_first()?;
            bytes = rest;
            let distance = (usize::from(control & 0x1F) << 8 | usize::from(low)) + 1;
            let mut from = out.len().checked_sub(distance)?;
            if out.len() + count > length {
                return None;
            }
            // What is taken may reach into what it makes.
            while count > 0 {
                let part = count.min(out.len() - from);
                out.extend_from_within(from..from + part);
                from += part;
                count -= part;
            }
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::unfold;

    #[test]
    fn compressed_bytes_unfold() {
        assert_eq!(unfold(b"\x00a", 1).as_deref(), Some(&b"a"[..]));
        assert_eq!(unfold(b"\x02abc\x20\x02", 6).as_deref(), Some(&b"abcabc"[..]));
        // One byte, repeated by reaching into what is being made.
        assert_eq!(unfold(b"\x00a\xe0\x5b\x00", 101).as_deref(), Some(&[b'a'; 101][..]));
        let broken: [(&[u8], usize); 8] = [
            (b"\x02ab", 3),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 4),
            (b"\x00a\x20\x01", 4),
            (b"\x00a", 2),
            (b"\x01ab", 1),
            (b"\x00a\xe0\xff\x00", 5),
            (b"", usize::MAX),
        ];
        for (bytes, length) in broken {
            assert_eq!(unfold(bytes, length), None, "{bytes:x?}");
        }
    }
}
