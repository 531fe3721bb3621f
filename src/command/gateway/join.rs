//! Replies of the parts of one command, made into the one reply that the client is owed. They are cut, not read: their
//! elements go on as they came. An error among them is the answer, whatever the others say.

use std::collections::HashSet;

use crate::base::num::{parse_i64, parse_u64};
use crate::base::rng::Rng;
use crate::resp::error::Error;
use crate::resp::measure::{Measure, array_head};
use crate::resp::reply::Reply;

/// How replies become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// There is one, and it is the answer.
    AsIs,
    /// Integers are added.
    Sum,
    /// All say OK.
    AllOk,
    /// The elements of arrays, in this order of parts.
    Gather(Vec<u16>),
    /// The elements of arrays, one part behind the other.
    Concat,
    /// The elements of arrays, each once.
    Union,
    /// Arrays of the same names, each with a number behind it: the numbers are added.
    Counts,
    /// Counts of keys and a key, alternating; one of the keys, with a chance by its count.
    Random,
    /// A cursor and keys: `base` is added to the cursor, and the end is replaced by `next`.
    Scan {
        /// Which node the cursor is of.
        base: u64,
        /// Where the scan goes on when this node has no more.
        next: u64,
    },
}

impl Join {
    /// Writes the one reply. `parts` are whole replies, in the plan's order.
    pub fn write(&self, parts: &[&[u8]], rng: &mut Rng, reply: &mut Reply) {
        if let Some(error) = parts.iter().find(|part| part.first() == Some(&b'-')) {
            return reply.raw(error);
        }
        let mark = reply.checkpoint();
        if self.try_write(parts, rng, reply).is_none() {
            reply.truncate_to(mark);
            reply.error(&Error::Fixed("ERR another node sent a reply that the gateway does not understand"));
        }
    }

    fn try_write(&self, parts: &[&[u8]], rng: &mut Rng, reply: &mut Reply) -> Option<()> {
        match self {
            Self::AsIs | Self::AllOk => reply.raw(parts.first()?),
            Self::Sum => {
                let numbers: Option<Vec<i64>> = parts.iter().map(|part| integer(part)).collect();
                reply.integer(numbers?.iter().sum());
            }
            Self::Gather(order) => {
                let mut rests: Vec<&[u8]> = parts.iter().map(|part| elements(part)).collect::<Option<_>>()?;
                reply.array(order.len());
                for &place in order {
                    let rest = rests.get_mut(usize::from(place))?;
                    reply.raw(take_element(rest)?);
                }
            }
            Self::Concat => {
                let heads: Vec<(usize, usize)> =
                    parts.iter().map(|part| array_head(part)).collect::<Option<_>>()?;
                reply.array(heads.iter().map(|(count, _)| count).sum());
                for (part, (_, at)) in parts.iter().zip(heads) {
                    reply.raw(&part[at..]);
                }
            }
            Self::Union => {
                let mut seen = HashSet::new();
                let mut all = Vec::new();
                for part in parts {
                    let mut rest = elements(part)?;
                    while !rest.is_empty() {
                        let element = take_element(&mut rest)?;
                        if seen.insert(element) {
                            all.push(element);
                        }
                    }
                }
                reply.array(all.len());
                all.into_iter().for_each(|element| reply.raw(element));
            }
            Self::Counts => counts(parts, reply)?,
            Self::Random => {
                let counts: Option<Vec<i64>> = parts.iter().step_by(2).map(|part| integer(part)).collect();
                let counts: Vec<u64> = counts?.into_iter().map(|count| count.max(0) as u64).collect();
                let mut pick = rng.below(counts.iter().sum());
                let chosen = counts.iter().position(|&count| {
                    let here = pick < count;
                    pick = pick.saturating_sub(count);
                    here
                });
                reply.raw(parts.get(2 * chosen.unwrap_or(0) + 1)?);
            }
            Self::Scan { base, next } => {
                let (_, at) = array_head(parts.first()?)?;
                let mut rest = &parts[0][at..];
                let cursor = bulk(take_element(&mut rest)?).and_then(parse_u64)?;
                reply.array(2);
                reply.bulk_display(if cursor == 0 { *next } else { base | cursor });
                reply.raw(rest);
            }
        }
        Some(())
    }
}

/// Adds up numbers that stand behind the same names in all parts.
fn counts(parts: &[&[u8]], reply: &mut Reply) -> Option<()> {
    let (length, _) = array_head(parts.first()?)?;
    let mut rests: Vec<&[u8]> = parts.iter().map(|part| elements(part)).collect::<Option<_>>()?;
    reply.array(length);
    for _ in 0..length / 2 {
        let mut names = rests.iter_mut().map(take_element).collect::<Option<Vec<_>>>()?.into_iter();
        let name = names.next()?;
        if names.any(|other| other != name) {
            return None;
        }
        reply.raw(name);
        let numbers: Option<Vec<i64>> =
            rests.iter_mut().map(|rest| take_element(rest).and_then(integer)).collect();
        reply.integer(numbers?.iter().sum());
    }
    rests.iter().all(|rest| rest.is_empty()).then_some(())
}

fn integer(reply: &[u8]) -> Option<i64> {
    parse_i64(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a bulk string.
pub(super) fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b'\n', reply)? + 1;
    reply.get(at..)?.strip_suffix(b"\r\n")
}

/// The elements of an array, without its head.
fn elements(reply: &[u8]) -> Option<&[u8]> {
    array_head(reply).map(|(_, at)| &reply[at..])
}

/// Takes the first of the replies that `rest` consists of.
pub(super) fn take_element<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = Measure::default().end(rest).ok()??;
    let (element, behind) = rest.split_at(length);
    *rest = behind;
    Some(element)
}

#[cfg(test)]
mod tests {
    use super::Join;
    use crate::base::rng::Rng;
    use crate::resp::reply::{Proto, Reply};

    fn joined(join: &Join, parts: &[&str]) -> String {
        let mut reply = Reply::new(Proto::Resp2);
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        join.write(&parts, &mut Rng::seeded(1), &mut reply);
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let filled = reply.slices(&mut slices);
        slices[..filled].iter().map(|slice| String::from_utf8_lossy(slice)).collect()
    }

    #[test]
    fn parts_become_one_reply() {
        for (join, parts, expected) in [
            (Join::Sum, &[":2\r\n", ":0\r\n", ":5\r\n"][..], ":7\r\n"),
            (Join::AllOk, &["+OK\r\n", "+OK\r\n"], "+OK\r\n"),
            (
                Join::Gather(vec![0, 1, 0]),
                &["*2\r\n$1\r\na\r\n$-1\r\n", "*1\r\n$1\r\nb\r\n"],
                "*3\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n",
            ),
            (Join::Concat, &["*0\r\n", "*1\r\n$1\r\nk\r\n"], "*1\r\n$1\r\nk\r\n"),
            (
                Join::Union,
                &["*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*0\r\n", "*2\r\n$1\r\nc\r\n$1\r\na\r\n"],
                "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
            ),
            (
                Join::Counts,
                &["*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n", "*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:0\r\n"],
                "*4\r\n$1\r\na\r\n:3\r\n$1\r\nb\r\n:0\r\n",
            ),
            (Join::Counts, &["*0\r\n", "*0\r\n"], "*0\r\n"),
            (Join::Random, &[":0\r\n", "$-1\r\n", ":3\r\n", "$1\r\nk\r\n"], "$1\r\nk\r\n"),
            (Join::Random, &[":0\r\n", "$-1\r\n"], "$-1\r\n"),
            (Join::Scan { base: 8, next: 16 }, &["*2\r\n$1\r\n3\r\n*0\r\n"], "*2\r\n$2\r\n11\r\n*0\r\n"),
            (Join::Scan { base: 8, next: 16 }, &["*2\r\n$1\r\n0\r\n*0\r\n"], "*2\r\n$2\r\n16\r\n*0\r\n"),
            (Join::Sum, &[":2\r\n", "-OOM no\r\n"], "-OOM no\r\n"),
        ] {
            assert_eq!(joined(&join, parts), expected, "{join:?} {parts:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (join, parts) in [
            (Join::Sum, &["+OK\r\n"][..]),
            (Join::Gather(vec![0, 0]), &["*1\r\n:1\r\n"]),
            (Join::Concat, &[":1\r\n"]),
            (Join::Union, &["*1\r\n$1\r\na\r\n", "+OK\r\n"]),
            (Join::Counts, &["*2\r\n$1\r\na\r\n:1\r\n", "*2\r\n$1\r\nb\r\n:1\r\n"]),
            (Join::Counts, &["*2\r\n$1\r\na\r\n:1\r\n", "*0\r\n"]),
            (Join::Counts, &["*1\r\n:1\r\n"]),
            (Join::Scan { base: 0, next: 0 }, &["*0\r\n"]),
        ] {
            assert!(joined(&join, parts).starts_with("-ERR another node"), "{join:?}");
        }
    }
}
