//! LPOP, RPOP, LMPOP: they take elements from an end.

use crate::base::num::parse_i64;
use crate::command::context::Cx;
use crate::command::list::{ENDS, KEY, parse_end, take};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, KeySpec, RW};
use crate::command::spec::{Group, Handler, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::value::list::End;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    row("lpop", lpop, "Takes the first element, or several, from a list."),
    row("rpop", rpop, "Takes the last element, or several, from a list."),
    Spec::new("lmpop", lmpop)
        .arity(-4)
        .flags(WRITE)
        .keys(&[KeySpec::key_num(1, 0, 1, 1).flags(RW | ACCESS | DELETE)])
        .group(Group::List)
        .since("7.0.0")
        .complexity("O(N+M), N the number of keys, M the number of elements returned.")
        .summary("Takes elements from the first of several lists that has any.")
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key", 0).multiple(),
            Arg::one_of("where", ENDS),
            Arg::integer("count").token("COUNT").optional(),
        ])
        .reply(KEY_AND_ELEMENTS)
        .finish(),
];

const KEYS: &[KeySpec] = &[KEY.flags(RW | ACCESS | DELETE)];
const HISTORY: &[(&str, &str)] = &[("6.2.0", "Takes a `count`.")];
const ARGS: &[Arg] = &[Arg::key("key", 0), Arg::integer("count").since("6.2.0").optional()];
/// A key and what was taken from it, or null.
pub(super) const KEY_AND_ELEMENTS: Shape =
    Shape::OneOf(&[Shape::Null, Shape::Tuple(&[Shape::Bulk, Shape::Array(&Shape::Bulk)])]);

const fn row(name: &'static str, handler: Handler, summary: &'static str) -> Spec {
    Spec::new(name, handler)
        .arity(-2)
        .flags(WRITE | FAST)
        .keys(KEYS)
        .group(Group::List)
        .since("1.0.0")
        .complexity("O(N), N the number of elements returned.")
        .summary(summary)
        .history(HISTORY)
        .args(ARGS)
        .reply(Shape::OneOf(&[Shape::BulkOrNull, Shape::ArrayOrNull(&Shape::Bulk)]))
        .finish()
}

fn lpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Left, "lpop")
}

fn rpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    pop(cx, args, End::Right, "rpop")
}

fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End, name: &'static str) -> Result<(), Error> {
    if args.len() > 3 {
        return Err(Error::wrong_arity(name));
    }
    let key = cx.data.key(&args[1]);
    let Some(count) = args.get(2) else {
        if !take(cx, &key, end, 1, |_, _| {})? {
            cx.reply.null();
        }
        return Ok(());
    };
    let count =
        parse_i64(count).and_then(|count| usize::try_from(count).ok()).ok_or(Error::MustBePositive)?;
    if !take(cx, &key, end, count, |reply, taken| reply.array(taken))? {
        cx.reply.null_array();
    }
    Ok(())
}

/// What LMPOP and BLMPOP are asked for.
pub(super) struct Taking<'a> {
    keys: Args<'a>,
    numkeys: usize,
    end: End,
    count: usize,
}

impl<'a> Taking<'a> {
    /// Reads `numkeys key … <LEFT | RIGHT> [COUNT count]`, which begins at `at`.
    pub(super) fn parse(args: Args<'a>, at: usize) -> Result<Self, Error> {
        let numkeys = args.get(at).and_then(parse_i64).filter(|numkeys| *numkeys > 0);
        let numkeys = usize::try_from(numkeys.ok_or(Error::NumkeysNotPositive)?).unwrap_or(usize::MAX);
        let keys = args.from(at + 1);
        let end = parse_end(keys.get(numkeys).ok_or(Error::Syntax)?)?;
        let mut count = None;
        let mut rest = keys.from(numkeys + 1).iter();
        while let Some(option) = rest.next() {
            if count.is_some() || !option.eq_ignore_ascii_case(b"count") {
                return Err(Error::Syntax);
            }
            let number = parse_i64(rest.next().ok_or(Error::Syntax)?).filter(|number| *number > 0);
            let number = number.ok_or(Error::Fixed("ERR count should be greater than 0"))?;
            count = Some(usize::try_from(number).unwrap_or(usize::MAX));
        }
        Ok(Self { keys, numkeys, end, count: count.unwrap_or(1) })
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        self.keys.iter().take(self.numkeys)
    }

    /// Takes from the first list that has elements; false if none has.
    pub(super) fn serve(&self, cx: &mut Cx<'_>) -> Result<bool, Error> {
        for bytes in self.keys() {
            let key = cx.data.key(bytes);
            let taken = take(cx, &key, self.end, self.count, |reply, taken| {
                reply.array(2);
                reply.bulk(bytes);
                reply.array(taken);
            })?;
            if taken {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn lmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let taking = Taking::parse(args, 1)?;
    if !taking.serve(cx)? {
        cx.reply.null_array();
    }
    Ok(())
}
