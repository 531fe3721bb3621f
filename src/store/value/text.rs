//! Short byte strings in 24 bytes: set members, sorted-set members, records of a hash.
//!
//! Up to [`INLINE_MAX`] bytes lie in the value itself and cost no allocation and no second cache line; longer ones are
//! one allocation of exactly their length. The length never changes: whoever wants another one makes a new text.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::store::object::size_class;

/// The longest text that needs no allocation.
pub const INLINE_MAX: usize = 22;

const _: () = assert!(size_of::<Text>() == 24 && size_of::<Option<Text>>() == 24);

/// Owned bytes of a fixed length; see the module.
#[derive(Clone)]
pub struct Text(Form);

#[derive(Clone)]
enum Form {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(Box<[u8]>),
}

impl Text {
    /// The parts one behind the other.
    pub fn concat(parts: &[&[u8]]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        if len > INLINE_MAX {
            let mut heap = Vec::with_capacity(len);
            parts.iter().for_each(|part| heap.extend_from_slice(part));
            return Self(Form::Heap(heap.into_boxed_slice()));
        }
        let mut bytes = [0; INLINE_MAX];
        let mut rest = &mut bytes[..];
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        Self(Form::Inline { len: len as u8, bytes })
    }

    /// Bytes that the allocator holds for the text beyond the text itself.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Inline { .. } => 0,
            Form::Heap(bytes) => size_class(bytes.len()),
        }
    }
}

impl From<&[u8]> for Text {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self::concat(&[bytes])
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::concat(&[])
    }
}

impl Deref for Text {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Form::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Text {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Form::Inline { len, bytes } => &mut bytes[..usize::from(*len).min(INLINE_MAX)],
            Form::Heap(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::{INLINE_MAX, Text};

    #[test]
    fn every_length_is_kept_as_it_was() {
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut text = Text::from(&bytes[..]);
            assert_eq!(*text, bytes[..]);
            assert_eq!(text.heap_bytes() > 0, len > INLINE_MAX);
            assert_eq!(text.clone(), text);
            let (head, tail) = bytes.split_at(len / 3);
            assert_eq!(Text::concat(&[head, &[], tail]), text);
            text.iter_mut().for_each(|byte| *byte = !*byte);
            assert!(text.iter().zip(&bytes).all(|(new, old)| *new == !old));
        }
        assert_eq!(Text::default().len(), 0);
        assert_eq!(format!("{:?}", Text::from(&b"a\"\xff"[..])), r#""a\"\xff""#);
    }
}
