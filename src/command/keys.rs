//! The keys of a request, from its row: used by routing, locking, access control and COMMAND GETKEYS.
//!
//! Nothing here allocates or looks at values. Positions are indexes into the request's arguments, 0 being the
//! command's name. A request whose keys cannot be told is [`Malformed`]; the command itself then answers with its
//! own syntax error, so routing treats such a request as one without keys.

use crate::base::num::parse_i64;
use crate::command::spec::Spec;
use crate::command::spec::key_spec::{BeginSearch, FindKeys, KeyFlags, KeySpec, NOT_KEY};
use crate::resp::args::Args;

/// The arguments do not fit the row's key specs. Keys visited before do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Calls `visit` with position and flags of each key, in the order of the row's specs.
///
/// # Errors
/// [`Malformed`] when a spec finds no place, a number of keys is none or too large, or a keyword is missing.
pub fn for_each_key(
    spec: &Spec,
    args: Args<'_>,
    mut visit: impl FnMut(usize, KeyFlags),
) -> Result<(), Malformed> {
    for_each_routed(spec, args, |at, flags| {
        if flags & NOT_KEY == 0 {
            visit(at, flags);
        }
    })
}

/// The same with the arguments that are no keys and whose slots say where the command is served all the same: the
/// channels of sharded publish.
///
/// # Errors
/// As for [`for_each_key`].
pub fn for_each_routed(
    spec: &Spec,
    args: Args<'_>,
    mut key: impl FnMut(usize, KeyFlags),
) -> Result<(), Malformed> {
    if let Some(finder) = spec.key_finder {
        return if finder(args, &mut key) { Ok(()) } else { Err(Malformed) };
    }
    for rule in spec.key_specs {
        let span = span(rule, args).ok_or(Malformed)?;
        for at in (span.first..=span.last).step_by(span.step) {
            key(at, rule.flags);
        }
    }
    Ok(())
}

/// Position of the first argument that routes, `None` if there is none. For most rows a constant.
pub fn first_routed(spec: &Spec, args: Args<'_>) -> Option<usize> {
    if spec.single_key != 0 {
        return (spec.single_key < args.len()).then_some(spec.single_key);
    }
    let mut first = None;
    let found = for_each_routed(spec, args, |at, _| {
        first.get_or_insert(at);
    });
    found.ok().and(first)
}

/// Positions of one spec's keys; `first <= last < args.len()`.
struct Span {
    first: usize,
    last: usize,
    step: usize,
}

fn span(rule: &KeySpec, args: Args<'_>) -> Option<Span> {
    let begin = begin(rule.begin_search, args)?;
    let count = i64::try_from(args.len()).ok()?;
    let (first, last, step) = match rule.find_keys {
        FindKeys::Range { last_key, step, limit } => {
            let last = if last_key >= 0 {
                begin + i64::from(last_key)
            } else if limit <= 1 {
                count + i64::from(last_key)
            } else {
                begin + (count - begin) / i64::from(limit) - 1
            };
            (begin, last, step)
        }
        FindKeys::KeyNum { key_num_index, first_key, step } => {
            let at = usize::try_from(begin + i64::from(key_num_index)).ok()?;
            let keys = parse_i64(args.get(at)?)?;
            // More keys than arguments cannot be; checked here so that the product below cannot overflow.
            if !(1..=count).contains(&keys) {
                return None;
            }
            let first = begin + i64::from(first_key);
            (first, first + (keys - 1) * i64::from(step), step)
        }
        FindKeys::Unknown => return None,
    };
    (0 < first && first <= last && last < count).then_some(Span {
        first: usize::try_from(first).ok()?,
        last: usize::try_from(last).ok()?,
        step: usize::try_from(step).ok().filter(|&step| step > 0)?,
    })
}

/// Where a spec begins, as a position that may lie behind the last argument.
fn begin(search: BeginSearch, args: Args<'_>) -> Option<i64> {
    let (word, start_from) = match search {
        BeginSearch::Index(index) => return Some(i64::from(index)),
        BeginSearch::Keyword { word, start_from } => (word, start_from),
        BeginSearch::Unknown => return None,
    };
    let is_word = |&at: &usize| args[at].eq_ignore_ascii_case(word.as_bytes());
    let distance = start_from.unsigned_abs() as usize;
    let found = if start_from >= 0 {
        (distance..args.len()).find(is_word)
    } else {
        (1..=args.len().saturating_sub(distance)).rev().find(is_word)
    };
    i64::try_from(found? + 1).ok()
}
