//! The arguments of one request, as ranges of the bytes that carried them: borrowed ([`Args`]) on the way through a
//! command, or owned ([`OwnedArgs`]) where they must outlive the read buffer (MULTI queues).
//!
//! Arguments are bytes; nothing here interprets them. An argument that is kept longer is copied at its exact size:
//! holding on to a piece of the read buffer would pin all of it.

use crate::base::num::IntegerText;
use smallvec::SmallVec;
use std::fmt;
use std::ops::Index;

/// Arguments whose ranges an [`OwnedArgs`] holds without an allocation of their own.
const OWNED_RANGES_INLINE: usize = 6;

/// Where one argument stands in its buffer, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range32 {
    /// Offset of the first byte.
    pub start: u32,
    /// Length.
    pub len: u32,
}

/// The arguments of a request; `args[0]` is the command name as it was sent.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [Range32],
}

impl<'a> Args<'a> {
    /// Arguments that lie in `buf` at `ranges`.
    ///
    /// # Panics
    /// Not here, but where an argument is read whose range does not lie in `buf`.
    #[inline]
    pub fn new(buf: &'a [u8], ranges: &'a [Range32]) -> Self {
        Self { buf, ranges }
    }

    /// How many there are, the command name included.
    #[inline]
    pub fn len(self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none at all.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, if there is one. Lives as long as the buffer, unlike what indexing gives.
    #[inline]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| self.slice(*range))
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        self.ranges.iter().map(move |range| self.slice(*range))
    }

    /// The arguments from `index` on; none if there are not that many.
    #[inline]
    pub fn from(self, index: usize) -> Self {
        Self { buf: self.buf, ranges: self.ranges.get(index..).unwrap_or(&[]) }
    }

    /// The first `count` arguments; all of them if there are not more.
    #[inline]
    pub fn up_to(self, count: usize) -> Self {
        Self { buf: self.buf, ranges: self.ranges.get(..count).unwrap_or(self.ranges) }
    }

    /// Total length of the arguments, in bytes.
    pub fn total_bytes(self) -> usize {
        self.ranges.iter().map(|range| range.len as usize).sum()
    }

    /// Appends the request in the form that a client sends.
    pub fn encode_into(self, out: &mut Vec<u8>) {
        let mut number = IntegerText::new();
        let mut head = |out: &mut Vec<u8>, kind: u8, count: usize| {
            out.push(kind);
            out.extend_from_slice(number.format(count as i64));
            out.extend_from_slice(b"\r\n");
        };
        head(out, b'*', self.len());
        for argument in self.iter() {
            head(out, b'$', argument.len());
            out.extend_from_slice(argument);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// A copy of the arguments alone, at their exact size: one allocation up to six arguments, two beyond.
    #[allow(clippy::wrong_self_convention)]
    pub fn to_owned(self) -> OwnedArgs {
        let mut bytes = Vec::with_capacity(self.total_bytes());
        let mut ranges = SmallVec::with_capacity(self.ranges.len());
        for argument in self.iter() {
            // Both fit: the ranges of one request lie in one buffer of at most 4 GiB and do not overlap.
            ranges.push(Range32 { start: bytes.len() as u32, len: argument.len() as u32 });
            bytes.extend_from_slice(argument);
        }
        OwnedArgs { bytes: bytes.into_boxed_slice(), ranges }
    }

    #[inline]
    fn slice(self, range: Range32) -> &'a [u8] {
        let start = range.start as usize;
        &self.buf[start..start + range.len as usize]
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// The argument at `index`.
    ///
    /// # Panics
    /// If there are not that many; arity is checked before a handler runs.
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.slice(self.ranges[index])
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter().map(<[u8]>::escape_ascii)).finish()
    }
}

/// Arguments with their own copy of the bytes.
#[derive(Clone, Debug)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    ranges: SmallVec<[Range32; OWNED_RANGES_INLINE]>,
}

impl OwnedArgs {
    /// A request made of `arguments`, as a client would send it.
    ///
    /// # Panics
    /// If they are longer than 4 GiB together.
    pub fn from_slices<A: AsRef<[u8]>>(arguments: &[A]) -> Self {
        let mut bytes = Vec::with_capacity(arguments.iter().map(|one| one.as_ref().len()).sum());
        let ranges = arguments
            .iter()
            .map(|argument| {
                let argument = argument.as_ref();
                let start = u32::try_from(bytes.len()).expect("arguments below 4 GiB");
                bytes.extend_from_slice(argument);
                let end = u32::try_from(bytes.len()).expect("arguments below 4 GiB");
                Range32 { start, len: end - start }
            })
            .collect();
        Self { bytes: bytes.into_boxed_slice(), ranges }
    }

    /// The arguments.
    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, OwnedArgs, Range32};

    #[test]
    fn arguments_are_slices_of_the_buffer() {
        let ranges =
            [Range32 { start: 4, len: 3 }, Range32 { start: 9, len: 0 }, Range32 { start: 1, len: 2 }];
        let args = Args::new(b"0123SET789", &ranges);
        assert_eq!(args.len(), 3);
        assert_eq!(&args[0], b"SET");
        assert_eq!(args.get(1), Some(&b""[..]));
        assert_eq!(args.get(3), None);
        assert_eq!(args.from(1).iter().collect::<Vec<_>>(), [&b""[..], b"12"]);
        assert!(args.from(4).is_empty());
        assert_eq!(args.up_to(1).iter().collect::<Vec<_>>(), [b"SET"]);
        assert_eq!((args.up_to(0).len(), args.up_to(4).len()), (0, 3));
        assert_eq!(args.total_bytes(), 5);
    }

    #[test]
    fn a_copy_holds_the_arguments_only() {
        let ranges: Vec<Range32> = (0..8).map(|start| Range32 { start, len: 2 }).collect();
        let owned = Args::new(b"abcdefghijkl", &ranges).from(1).to_owned();
        let expected: [&[u8]; 7] = [b"bc", b"cd", b"de", b"ef", b"fg", b"gh", b"hi"];
        assert_eq!(owned.as_args().iter().collect::<Vec<_>>(), expected);
        assert_eq!(owned.bytes.len(), 14);
        let again = OwnedArgs::from_slices(&expected);
        assert_eq!(again.as_args().iter().collect::<Vec<_>>(), expected);
    }
}
