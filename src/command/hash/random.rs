//! HRANDFIELD, HSCAN: some of the fields.

use crate::command::collection::{
    RandomCount, ScanOptions, scan_cursor, write_element, write_repeated, write_scan,
};
use crate::command::context::Cx;
use crate::command::hash::READ_KEY;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::READONLY;
use crate::command::spec::{Group, Spec};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::{Proto, Reply};
use crate::resp::shape::Shape;
use crate::store::value::hash::Hash;
use crate::store::value::listpack::Element;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("hrandfield", hrandfield)
        .arity(-2)
        .flags(READONLY)
        .keys(READ_KEY)
        .tips(&["nondeterministic_output"])
        .group(Group::Hash)
        .since("6.2.0")
        .complexity("O(N), N the number of fields returned.")
        .summary("Returns fields at random, with their values if asked for.")
        .args(&[
            Arg::key("key", 0),
            Arg::block("options", &[Arg::integer("count"), Arg::flag("withvalues", "WITHVALUES").optional()])
                .optional(),
        ])
        .reply(Shape::OneOf(&[
            Shape::BulkOrNull,
            Shape::Array(&Shape::Bulk),
            Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Bulk])),
        ]))
        .finish(),
    Spec::new("hscan", hscan)
        .arity(-3)
        .flags(READONLY)
        .keys(READ_KEY)
        .tips(&["nondeterministic_output"])
        .group(Group::Hash)
        .since("2.8.0")
        .complexity("O(1) for every call, O(N) for a whole walk over N fields.")
        .summary("Walks over the fields in small steps; a field that stays the whole time is seen once.")
        .args(&[
            Arg::key("key", 0),
            Arg::integer("cursor"),
            Arg::pattern("pattern").token("MATCH").optional(),
            Arg::integer("count").token("COUNT").optional(),
            Arg::flag("novalues", "NOVALUES").optional(),
        ])
        .reply(Shape::Tuple(&[Shape::Bulk, Shape::Array(&Shape::Bulk)]))
        .finish(),
];

fn hrandfield(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    if args.len() > 2 {
        return random_fields(cx, args);
    }
    let field = cx.data.read_value::<Hash>(&key)?.and_then(|hash| hash.random(&mut cx.worker.rng, now_ms));
    match field {
        Some((field, _)) => write_element(cx.reply, field),
        None => cx.reply.null(),
    }
    Ok(())
}

fn random_fields(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let mut count = RandomCount::parse(&args[2])?;
    let with_values = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(Error::Syntax),
    };
    if with_values {
        count = count.in_pairs()?;
    }
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let nested = with_values && cx.reply.proto() == Proto::Resp3;
    let replies = |fields: usize| if with_values && !nested { fields * 2 } else { fields };
    let write = |reply: &mut Reply, field: Element<'_>, value: Element<'_>| {
        if nested {
            reply.array(2);
        }
        write_element(reply, field);
        if with_values {
            write_element(reply, value);
        }
    };
    let hash = cx.data.read_value::<Hash>(&key)?.filter(|hash| !hash.is_empty(now_ms));
    let rng = &mut cx.worker.rng;
    match (hash, count) {
        (None, _) => cx.reply.array(0),
        (Some(hash), RandomCount::Distinct(count)) => {
            cx.reply.array(replies(count.min(hash.len(now_ms))));
            hash.sample(count, rng, now_ms, |field, value| write(cx.reply, field, value));
        }
        (Some(hash), RandomCount::Repeated(count)) => {
            let start = cx.reply.checkpoint();
            cx.reply.array(replies(count));
            write_repeated(cx.reply, start, count, |reply| {
                if let Some((field, value)) = hash.random(rng, now_ms) {
                    write(reply, field, value);
                }
            })?;
        }
    }
    Ok(())
}

fn hscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let cursor = scan_cursor(&args[2])?;
    let (key, now_ms) = (cx.data.key(&args[1]), cx.now_ms);
    let Some(hash) = cx.data.read_value::<Hash>(&key)? else {
        write_scan(cx.reply, |_| (0, 0));
        return Ok(());
    };
    let options = ScanOptions::parse(args.from(3), true)?;
    write_scan(cx.reply, |reply| {
        let mut written = 0;
        let next = hash.scan(cursor, options.count, now_ms, |field, value| {
            if !options.lets(field) {
                return;
            }
            write_element(reply, field);
            written += 1;
            if !options.no_values {
                write_element(reply, value);
                written += 1;
            }
        });
        (next, written)
    });
    Ok(())
}
