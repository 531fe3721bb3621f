//! SPOP and SRANDMEMBER: random members, taken out or left in.

use crate::base::num::parse_i64;
use crate::command::collection::{RandomCount, write_element, write_repeated};
use crate::command::context::Cx;
use crate::command::set::KEY;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, RO, RW};
use crate::command::spec::{Group, Spec};
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::key::Key;
use crate::store::typed::{Edited, Fate};
use crate::store::value::set::Set;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("spop", spop)
        .arity(-2)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | ACCESS | DELETE)])
        .tips(&["nondeterministic_output"])
        .group(Group::Set)
        .since("1.0.0")
        .complexity("O(N), N the number of members taken.")
        .summary("Takes one or several random members out of a set and returns them.")
        .history(&[("3.2.0", "A count.")])
        .args(&[Arg::key("key", 0), Arg::integer("count").optional().since("3.2.0")])
        .reply(Shape::OneOf(&[Shape::BulkOrNull, Shape::Set(&Shape::Bulk)]))
        .finish(),
    Spec::new("srandmember", srandmember)
        .arity(-2)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .tips(&["nondeterministic_output"])
        .group(Group::Set)
        .since("1.0.0")
        .complexity(
            "O(N), N the number of members returned; without repetitions at most the number there is.",
        )
        .summary("Returns one or several random members of a set, with repetitions if the count is negative.")
        .history(&[("2.6.0", "A count.")])
        .args(&[Arg::key("key", 0), Arg::integer("count").optional().since("2.6.0")])
        .reply(Shape::OneOf(&[Shape::BulkOrNull, Shape::Array(&Shape::Bulk)]))
        .finish(),
];

fn spop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let count = match args.get(2) {
        Some(_) if args.len() > 3 => return Err(Error::Syntax),
        Some(text) => {
            let count = parse_i64(text).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(Error::MustBePositive)?)
        }
        None => None,
    };
    let key = cx.data.key(&args[1]);
    let mark = cx.reply.checkpoint();
    let popped = pop(cx, &key, count).inspect_err(|_| cx.reply.truncate_to(mark))?;
    let Some((popped, fate)) = popped else {
        match count {
            None => cx.reply.null(),
            Some(_) => cx.reply.set(0),
        }
        return Ok(());
    };
    if popped > 0 {
        cx.data.dirty += popped as u64;
        cx.data.event(Class::Set, "spop", key.bytes);
        if fate == Fate::Removed {
            cx.data.event(Class::Generic, "del", key.bytes);
        }
    }
    Ok(())
}

/// Takes members out and writes them; how many, and what became of the key, or nothing if there is none.
fn pop(cx: &mut Cx<'_>, key: &Key<'_>, count: Option<usize>) -> Result<Option<(usize, Fate)>, Error> {
    let Some(found) = cx.data.find(key) else { return Ok(None) };
    let (reply, rng) = (&mut *cx.reply, &mut cx.worker.rng);
    let edited = cx.data.db(key).edit_value(key, Some(found), cx.now_ms, |set: &mut Set| {
        let len = set.as_ref().len();
        let wanted = count.unwrap_or(1).min(len);
        if count.is_some() {
            reply.set(wanted);
        }
        if wanted == len {
            set.as_ref().iter().for_each(|member| write_element(reply, member));
            *set = Set::new();
        } else {
            for _ in 0..wanted {
                set.pop(rng, |member| write_element(reply, member));
            }
        }
        Edited::when(wanted > 0, wanted)
    })?;
    Ok(Some(edited))
}

fn srandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let count = match args.get(2) {
        Some(_) if args.len() > 3 => return Err(Error::Syntax),
        Some(text) => Some(RandomCount::parse(text)?),
        None => None,
    };
    let key = cx.data.key(&args[1]);
    let Some(set) = cx.data.read_value::<Set>(&key)? else {
        match count {
            None => cx.reply.null(),
            Some(_) => cx.reply.array(0),
        }
        return Ok(());
    };
    let (reply, rng) = (&mut *cx.reply, &mut cx.worker.rng);
    match count {
        None => match set.random(rng) {
            Some(member) => write_element(reply, member),
            None => reply.null(),
        },
        Some(RandomCount::Distinct(count)) => {
            reply.array(count.min(set.len()));
            set.sample(count, rng, |member| write_element(reply, member));
        }
        Some(RandomCount::Repeated(count)) => {
            let start = reply.checkpoint();
            reply.array(count);
            return write_repeated(reply, start, count, |reply| {
                if let Some(member) = set.random(rng) {
                    write_element(reply, member);
                }
            });
        }
    }
    Ok(())
}
