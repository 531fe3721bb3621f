//! SORT, SORT_RO: the elements of a list, a set or a sorted set, in order, or what stands under keys made of them.
//!
//! BY and GET patterns name keys that no key spec can: a request with one locks all shards ([`follows_patterns`]). In a
//! cluster such keys must be of the sorted key's slot, as can be told from the pattern alone. Looking at them counts as
//! hit or miss, not as an access.
//!
//! ALPHA compares all bytes of texts, in every locale alike; Redis stops at the first NUL unless the result is stored.

use crate::base::num::parse_i64;
use crate::base::slot::{Slot, slot_of};
use crate::command::context::Cx;
use crate::command::sort::pattern::Pattern;
use crate::command::spec::arg::Arg;
use crate::command::spec::category::{DANGEROUS, LIST, SET, SORTEDSET};
use crate::command::spec::flags::{DENYOOM, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeyFlags, KeySpec, OW, RO, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use smallvec::SmallVec;

mod pattern;
mod run;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("sort", sort)
        .arity(-2)
        .flags(WRITE | DENYOOM)
        .keys(&[SORTED, BY_PATTERN, STORED])
        .key_finder(find_keys)
        .categories_exactly(SET | SORTEDSET | LIST | DANGEROUS)
        .group(Group::Generic)
        .since("1.0.0")
        .complexity(
            "O(N+M*log(M)), N the number of elements, M of those returned; O(N) where nothing is sorted.",
        )
        .summary(
            "Sorts the elements of a list, a set or a sorted set, and returns them or stores them as a list.",
        )
        .args(&[
            Arg::key("key", 0),
            BY,
            LIMIT,
            GET,
            ORDER,
            ALPHA,
            Arg::key("destination", 2).token("STORE").optional(),
        ])
        .reply(Shape::OneOf(&[Shape::Integer, ELEMENTS]))
        .finish(),
    Spec::new("sort_ro", sort_ro)
        .arity(-2)
        .flags(READONLY)
        .keys(&[SORTED, BY_PATTERN])
        .key_finder(find_keys)
        .categories_exactly(SET | SORTEDSET | LIST | DANGEROUS)
        .group(Group::Generic)
        .since("7.0.0")
        .complexity(
            "O(N+M*log(M)), N the number of elements, M of those returned; O(N) where nothing is sorted.",
        )
        .summary("Sorts the elements of a list, a set or a sorted set, and returns them.")
        .args(&[Arg::key("key", 0), BY, LIMIT, GET, ORDER, ALPHA])
        .reply(ELEMENTS)
        .finish(),
];

const SORTED: KeySpec = KeySpec::at(1).flags(RO | ACCESS);
const BY_PATTERN: KeySpec = KeySpec::unknown().flags(RO | ACCESS).notes(
    "Keys of BY and GET: their names come from the elements, so that nothing can tell them beforehand.",
);
const STORED: KeySpec = KeySpec::unknown()
    .flags(OW | UPDATE)
    .notes("The key of STORE, which may stand anywhere among the options.");

const BY: Arg = Arg::pattern("pattern").token("BY").optional();
const GET: Arg = Arg::pattern("pattern").token("GET").optional().multiple_token();
const LIMIT: Arg =
    Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional();
const ORDER: Arg = Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional();
const ALPHA: Arg = Arg::flag("sorting", "ALPHA").optional();
const ELEMENTS: Shape = Shape::Array(&Shape::BulkOrNull);

/// Finds the sorted key and that of the last STORE.
fn find_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> bool {
    let is_sort = args.get(0).is_some_and(|name| name.eq_ignore_ascii_case(b"sort"));
    visit(1, RO | ACCESS);
    let mut stored = None;
    let mut at = 2;
    while let Some(option) = args.get(at) {
        if option.eq_ignore_ascii_case(b"limit") {
            at += 2;
        } else if option.eq_ignore_ascii_case(b"by") || option.eq_ignore_ascii_case(b"get") {
            at += 1;
        } else if is_sort && option.eq_ignore_ascii_case(b"store") && at + 1 < args.len() {
            stored = Some(at + 1);
        }
        at += 1;
    }
    if let Some(at) = stored {
        visit(at, OW | UPDATE);
    }
    true
}

/// Whether a request reads keys beside those that its key specs find, which may lie in any shard.
pub fn follows_patterns(spec: &Spec, args: Args<'_>) -> bool {
    matches!(spec.name, "sort" | "sort_ro")
        && args.iter().zip(args.from(1).iter()).skip(2).any(|(option, pattern)| {
            let has_pattern = option.eq_ignore_ascii_case(b"by") || option.eq_ignore_ascii_case(b"get");
            has_pattern && pattern.contains(&b'*')
        })
}

/// What a request asks for.
struct Options<'a> {
    descending: bool,
    alpha: bool,
    /// First element and number of elements of the result; a negative number for all.
    limit: (i64, i64),
    /// What decides the order, if not the elements.
    by: Option<Pattern<'a>>,
    /// A BY without `*` was given: the order is that of the value.
    as_stored: bool,
    /// What is returned in the place of each element.
    gets: SmallVec<[Pattern<'a>; 4]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Reads the words behind the key. `slot` is the key's in a cluster; `may_store` is whether STORE is one of them.
    fn parse(words: Args<'a>, slot: Option<Slot>, may_store: bool) -> Result<Self, Error> {
        let mut options = Self {
            descending: false,
            alpha: false,
            limit: (0, -1),
            by: None,
            as_stored: false,
            gets: SmallVec::new(),
            store: None,
        };
        let mut at = 0;
        while let Some(option) = words.get(at) {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            let (value, second) = (words.get(at + 1), words.get(at + 2));
            at += 1;
            match (value, second) {
                _ if is(b"asc") => options.descending = false,
                _ if is(b"desc") => options.descending = true,
                _ if is(b"alpha") => options.alpha = true,
                (Some(offset), Some(count)) if is(b"limit") => {
                    let integer = |text| parse_i64(text).ok_or(Error::NotAnInteger);
                    options.limit = (integer(offset)?, integer(count)?);
                    at += 2;
                }
                (Some(key), _) if may_store && is(b"store") => {
                    options.store = Some(key);
                    at += 1;
                }
                (Some(pattern), _) if is(b"by") => {
                    options.set_by(pattern, slot)?;
                    at += 1;
                }
                (Some(pattern), _) if is(b"get") => {
                    if pattern != b"#" && !is_of_slot(pattern, slot) {
                        return Err(Error::Fixed(
                            "ERR GET option of SORT denied in Cluster mode when keys formed by the pattern may be in \
                             different slots.",
                        ));
                    }
                    options.gets.push(Pattern::parse(pattern));
                    at += 1;
                }
                _ => return Err(Error::Syntax),
            }
        }
        Ok(options)
    }

    fn set_by(&mut self, pattern: &'a [u8], slot: Option<Slot>) -> Result<(), Error> {
        if !pattern.contains(&b'*') {
            self.as_stored = true;
        } else if !is_of_slot(pattern, slot) {
            return Err(Error::Fixed(
                "ERR BY option of SORT denied in Cluster mode when keys formed by the pattern may be in different \
                 slots.",
            ));
        }
        self.by = Some(Pattern::parse(pattern));
        Ok(())
    }
}

/// Whether all keys that a pattern can name are of one slot; outside a cluster this does not matter.
fn is_of_slot(pattern: &[u8], slot: Option<Slot>) -> bool {
    slot.is_none_or(|slot| pattern_slot(pattern) == Some(slot))
}

/// The slot of all keys that a pattern can name, if its hash tag, or all of it, is without wildcards.
fn pattern_slot(pattern: &[u8]) -> Option<Slot> {
    let wildcard = pattern.iter().position(|byte| b"*?[\\".contains(byte));
    let open = pattern.iter().position(|&byte| byte == b'{');
    let fixed = &pattern[..wildcard.unwrap_or(pattern.len())];
    match open.and_then(|open| fixed.get(open + 1..)) {
        Some(tag) if tag.iter().position(|&byte| byte == b'}').is_some_and(|length| length > 0) => {
            Some(slot_of(fixed))
        }
        _ if wildcard.is_none() => Some(slot_of(pattern)),
        _ => None,
    }
}

fn sort(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    parse_and_run(cx, args, true)
}

fn sort_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    parse_and_run(cx, args, false)
}

fn parse_and_run(cx: &mut Cx<'_>, args: Args<'_>, may_store: bool) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let slot = cx.hub.cluster.is_on().then_some(key.slot);
    let options = Options::parse(args.from(2), slot, may_store)?;
    run::run(cx, &key, options)
}

#[cfg(test)]
mod tests {
    use super::{find_keys, pattern_slot};
    use crate::base::slot::slot_of;
    use crate::resp::args::OwnedArgs;

    #[test]
    fn patterns_with_a_fixed_tag_have_a_slot() {
        for (pattern, tag) in
            [("{a}by*", Some("a")), ("x{tag}*->f", Some("tag")), ("whole", Some("whole")), ("{}*", None)]
        {
            assert_eq!(pattern_slot(pattern.as_bytes()), tag.map(|tag| slot_of(tag.as_bytes())), "{pattern}");
        }
        for pattern in ["by*", "*{a}", "{a*}", "{a", "?{a}*"] {
            let expected = (!pattern.contains(['*', '?'])).then(|| slot_of(pattern.as_bytes()));
            assert_eq!(pattern_slot(pattern.as_bytes()), expected, "{pattern}");
        }
    }

    #[test]
    fn the_last_store_counts() {
        for (line, expected) in [
            ("sort abc store def", &[1, 3][..]),
            ("sort abc store invalid store stillbad store def", &[1, 7]),
            ("SORT abc BY store LIMIT store store GET store", &[1]),
            ("sort abc store", &[1]),
            ("sort_ro abc store def", &[1]),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let args = OwnedArgs::from_slices(&words);
            let mut found = Vec::new();
            assert!(find_keys(args.as_args(), &mut |at, _| found.push(at)));
            assert_eq!(found, expected, "{line}");
        }
    }
}
