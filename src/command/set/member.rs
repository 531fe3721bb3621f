//! SADD, SREM, SMOVE, SISMEMBER, SMISMEMBER, SCARD, SMEMBERS, SSCAN: members by name, and all of them.

use crate::command::collection::{ScanOptions, scan_cursor, write_element, write_scan};
use crate::command::context::Cx;
use crate::command::set::KEY;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, DELETE, INSERT, KeySpec, RO, RW};
use crate::command::spec::{Group, Spec};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::{Edited, Fate};
use crate::store::value::set::Set;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("sadd", sadd)
        .arity(-3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | INSERT)])
        .group(Group::Set)
        .since("1.0.0")
        .complexity("O(1) for each member.")
        .summary("Adds members to a set, which is created where there is none; how many were new.")
        .history(&[("2.4.0", "Several members.")])
        .args(&[Arg::key("key", 0), Arg::string("member").multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("srem", srem)
        .arity(-3)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::Set)
        .since("1.0.0")
        .complexity("O(1) for each member.")
        .summary("Removes members from a set, and the key with the last one; how many were there.")
        .history(&[("2.4.0", "Several members.")])
        .args(&[Arg::key("key", 0), Arg::string("member").multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("smove", smove)
        .arity(4)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | ACCESS | DELETE), KeySpec::at(2).flags(RW | INSERT)])
        .group(Group::Set)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Moves a member from one set to another; 1 if it did, 0 if the first does not have it.")
        .args(&[Arg::key("source", 0), Arg::key("destination", 1), Arg::string("member")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("sismember", sismember)
        .arity(3)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO)])
        .group(Group::Set)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Says whether a set has a member.")
        .args(&[Arg::key("key", 0), Arg::string("member")])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("smismember", smismember)
        .arity(-3)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO | ACCESS)])
        .group(Group::Set)
        .since("6.2.0")
        .complexity("O(1) for each member.")
        .summary("Says of each of several members whether a set has it.")
        .args(&[Arg::key("key", 0), Arg::string("member").multiple()])
        .reply(Shape::Array(&Shape::Integer))
        .finish(),
    Spec::new("scard", scard)
        .arity(2)
        .flags(READONLY | FAST)
        .keys(&[KEY.flags(RO)])
        .group(Group::Set)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Returns how many members a set has, 0 without one.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("smembers", smembers)
        .arity(2)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .group(Group::Set)
        .since("1.0.0")
        .complexity("O(N), N the number of members.")
        .summary("Returns all members of a set.")
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Set(&Shape::Bulk))
        .finish(),
    Spec::new("sscan", sscan)
        .arity(-3)
        .flags(READONLY)
        .keys(&[KEY.flags(RO | ACCESS)])
        .tips(&["nondeterministic_output"])
        .group(Group::Set)
        .since("2.8.0")
        .complexity("O(1) for each call, O(N) for a whole walk, N the number of members.")
        .summary("Walks through the members of a set in steps.")
        .args(&[
            Arg::key("key", 0),
            Arg::integer("cursor"),
            Arg::pattern("pattern").token("MATCH").optional(),
            Arg::integer("count").token("COUNT").optional(),
        ])
        .reply(Shape::Tuple(&[Shape::Bulk, Shape::Array(&Shape::Bulk)]))
        .finish(),
];

fn sadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let members = args.from(2);
    let edited = cx.edit::<Set, _>(&key, Create::Yes, |set, thresholds| {
        set.expect(members.len(), &members[0], thresholds);
        let added = members.iter().filter(|member| set.add(member, thresholds)).count();
        Edited::when(added > 0, added)
    })?;
    let added = edited.map_or(0, |(added, _)| added);
    if added > 0 {
        cx.data.dirty += added as u64;
        cx.data.event(Class::Set, "sadd", key.bytes);
    }
    cx.reply.integer(added as i64);
    Ok(())
}

fn srem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let edited = cx.edit::<Set, _>(&key, Create::No, |set, _| {
        let removed = args.from(2).iter().filter(|member| set.remove(member)).count();
        Edited::when(removed > 0, removed)
    })?;
    let (removed, fate) = edited.unwrap_or((0, Fate::Untouched));
    if removed > 0 {
        cx.data.dirty += removed as u64;
        cx.data.event(Class::Set, "srem", key.bytes);
        if fate == Fate::Removed {
            cx.data.event(Class::Generic, "del", key.bytes);
        }
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

fn smove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (source, destination) = (cx.data.key(&args[1]), cx.data.key(&args[2]));
    let member = &args[3];
    cx.data.find(&destination);
    if cx.data.find(&source).is_none() {
        cx.reply.integer(0);
        return Ok(());
    }
    let has_it = cx.data.view::<Set>(&source)?.is_some_and(|set| set.contains(member));
    cx.data.view::<Set>(&destination)?;
    if !has_it || source.bytes == destination.bytes {
        cx.reply.integer(i64::from(has_it));
        return Ok(());
    }
    let edited = cx.edit::<Set, _>(&destination, Create::Yes, |set, thresholds| {
        set.expect(1, member, thresholds);
        let added = set.add(member, thresholds);
        Edited::when(added, added)
    })?;
    let left = cx.edit::<Set, _>(&source, Create::No, |set, _| Edited::when(set.remove(member), ()))?;
    cx.data.dirty += 1;
    cx.data.event(Class::Set, "srem", source.bytes);
    if left.is_some_and(|(_, fate)| fate == Fate::Removed) {
        cx.data.event(Class::Generic, "del", source.bytes);
    }
    if edited.is_some_and(|(added, _)| added) {
        cx.data.dirty += 1;
        cx.data.event(Class::Set, "sadd", destination.bytes);
    }
    cx.reply.integer(1);
    Ok(())
}

fn sismember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let has_it = cx.data.read_value::<Set>(&key)?.is_some_and(|set| set.contains(&args[2]));
    cx.reply.integer(i64::from(has_it));
    Ok(())
}

fn smismember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let set = cx.data.read_value::<Set>(&key)?;
    let members = args.from(2);
    cx.reply.array(members.len());
    for member in members.iter() {
        cx.reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn scard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let count = cx.data.read_value::<Set>(&key)?.map_or(0, |set| set.len());
    cx.reply.integer(count as i64);
    Ok(())
}

fn smembers(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let Some(set) = cx.data.read_value::<Set>(&key)? else {
        cx.reply.set(0);
        return Ok(());
    };
    cx.reply.set(set.len());
    set.iter().for_each(|member| write_element(cx.reply, member));
    Ok(())
}

fn sscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let cursor = scan_cursor(&args[2])?;
    let key = cx.data.key(&args[1]);
    let Some(set) = cx.data.read_value::<Set>(&key)? else {
        write_scan(cx.reply, |_| (0, 0));
        return Ok(());
    };
    let options = ScanOptions::parse(args.from(3), false)?;
    write_scan(cx.reply, |reply| {
        let mut written = 0;
        let next = set.scan(cursor, options.count, |member| {
            if options.lets(member) {
                write_element(reply, member);
                written += 1;
            }
        });
        (next, written)
    });
    Ok(())
}
