//! XGROUP: consumer groups and their consumers.

use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, Flags, WRITE};
use crate::command::spec::key_spec::{DELETE, INSERT, KeySpec, RW, UPDATE};
use crate::command::spec::{Draft, Group, Handler, Spec, category};
use crate::command::stream::{Boxed, consumer_created, no_group, parse_any_id, parse_id, parse_integer};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::stream::{self, Stream, StreamId};

/// The rows.
pub const COMMANDS: &[Spec] = &[Spec::container("xgroup", SUBCOMMANDS)
    .group(Group::Stream)
    .since("5.0.0")
    .complexity("Depends on the subcommand.")
    .summary("Makes, changes and removes consumer groups and their consumers.")
    .finish()];

const SUBCOMMANDS: &[Spec] = &[
    row("create", create, -5, WRITE | DENYOOM)
        .keys(&[KEY.flags(RW | INSERT)])
        .since("5.0.0")
        .complexity("O(1).")
        .summary("Makes a consumer group.")
        .history(&[("7.0.0", "ENTRIESREAD.")])
        .args(&[
            Arg::key("key", 0),
            GROUP,
            ID,
            Arg::flag("mkstream", "MKSTREAM").optional(),
            Arg::integer("entries-read").token("ENTRIESREAD").optional(),
        ])
        .reply(Shape::Ok)
        .finish(),
    row("setid", setid, -5, WRITE)
        .keys(&[KEY.flags(RW | UPDATE)])
        .since("5.0.0")
        .complexity("O(1).")
        .summary("Sets the ID up to which a group counts as having read.")
        .history(&[("7.0.0", "ENTRIESREAD.")])
        .args(&[Arg::key("key", 0), GROUP, ID, Arg::integer("entries-read").token("ENTRIESREAD").optional()])
        .reply(Shape::Ok)
        .finish(),
    row("destroy", destroy, 4, WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .since("5.0.0")
        .complexity("O(N), N the number of entries that are pending in the group.")
        .summary("Removes a consumer group and returns 1, or 0 if there is none.")
        .args(&[Arg::key("key", 0), GROUP])
        .reply(Shape::Integer)
        .finish(),
    row("createconsumer", createconsumer, 5, WRITE | DENYOOM)
        .keys(&[KEY.flags(RW | INSERT)])
        .since("6.2.0")
        .complexity("O(1).")
        .summary("Makes a consumer in a group and returns 1, or 0 if it is there.")
        .args(CONSUMER_ARGS)
        .reply(Shape::Integer)
        .finish(),
    row("delconsumer", delconsumer, 5, WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .since("5.0.0")
        .complexity("O(N), N the number of entries that are pending for the consumer.")
        .summary("Removes a consumer from a group and returns how many entries were pending for it.")
        .args(CONSUMER_ARGS)
        .reply(Shape::Integer)
        .finish(),
    help_row("5.0.0", Group::Stream, category::STREAM),
];

const KEY: KeySpec = KeySpec::at(2);
const GROUP: Arg = Arg::string("group");
const ID: Arg = Arg::one_of("id-selector", &[Arg::string("id"), Arg::flag("new-id", "$")]);
const CONSUMER_ARGS: &[Arg] = &[Arg::key("key", 0), GROUP, Arg::string("consumer")];

/// Most arguments that CREATE takes: with MKSTREAM and ENTRIESREAD once each.
const CREATE_ARGS_MAX: usize = 8;

const fn row(name: &'static str, handler: Handler, arity: i32, flags: Flags) -> Draft {
    Spec::new(name, handler).arity(arity).flags(flags).group(Group::Stream)
}

/// The options of CREATE and SETID.
struct Options {
    create: Create,
    entries_read: Option<u64>,
}

fn parse(args: Args<'_>, creates: bool) -> Result<Options, Error> {
    let mut options = Options { create: Create::No, entries_read: None };
    let mut words = args.from(5).iter();
    while let Some(word) = words.next() {
        if creates && word.eq_ignore_ascii_case(b"mkstream") {
            options.create = Create::Yes;
            continue;
        }
        if !word.eq_ignore_ascii_case(b"entriesread") {
            return Err(misused(args));
        }
        let number = parse_integer(words.next().ok_or_else(|| misused(args))?)?;
        if number < -1 {
            return Err(Error::Fixed("ERR value for ENTRIESREAD must be positive or -1"));
        }
        // -1: not known.
        options.entries_read = u64::try_from(number).ok();
    }
    Ok(options)
}

fn misused(args: Args<'_>) -> Error {
    Error::bad_subcommand("xgroup", &args[1])
}

/// Edits the stream; it must be there unless it may be made.
fn edit<R>(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    create: Create,
    edit: impl FnOnce(&mut Stream) -> Edited<Result<R, Error>>,
) -> Result<R, Error> {
    let key = cx.data.key(&args[2]);
    let edited = cx.edit::<Boxed, _>(&key, create, |stream, _| edit(stream).unwatched())?;
    let (outcome, _) = edited.ok_or(Error::Fixed(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    ))?;
    outcome
}

/// Edits the group; stream and group must be there.
fn edit_group<R>(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    edit_it: impl FnOnce(&mut stream::Group, StreamId) -> Edited<Result<R, Error>>,
) -> Result<R, Error> {
    let (key, group) = (&args[2], &args[3]);
    edit(cx, args, Create::No, |stream| {
        stream
            .edit_group(group, |log, group| edit_it(group, log.marks().last_id))
            .unwrap_or_else(|| Edited::no(Err(no_group(group, key))))
    })
}

/// Counts a change and says what it was.
fn changed(cx: &mut Cx<'_>, args: Args<'_>, event: &'static str) {
    cx.data.dirty += 1;
    cx.data.event(Class::Stream, event, &args[2]);
}

fn create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = parse(args, true)?;
    edit(cx, args, options.create, |stream| {
        if args.len() > CREATE_ARGS_MAX {
            return Edited::no(Err(misused(args)));
        }
        let last_id = match &args[4] {
            b"$" => Ok(stream.log().marks().last_id),
            text => parse_id(text),
        };
        let group = match last_id {
            Ok(last_id) => stream::Group::new(last_id, options.entries_read),
            Err(error) => return Edited::no(Err(error)),
        };
        if stream.add_group(&args[3], group) {
            Edited::yes(Ok(()))
        } else {
            Edited::no(Err(Error::Fixed("BUSYGROUP Consumer Group name already exists")))
        }
    })?;
    changed(cx, args, "xgroup-create");
    cx.reply.ok();
    Ok(())
}

fn setid(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = parse(args, false)?;
    edit_group(cx, args, |group, stream_last_id| {
        if args.len() != 5 && args.len() != 7 {
            return Edited::no(Err(misused(args)));
        }
        let last_id = match &args[4] {
            b"$" => Ok(stream_last_id),
            text => parse_any_id(text, 0),
        };
        let outcome = last_id.map(|last_id| group.set_id(last_id, options.entries_read));
        Edited::when(outcome.is_ok(), outcome)
    })?;
    changed(cx, args, "xgroup-setid");
    cx.reply.ok();
    Ok(())
}

fn destroy(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let removed = edit(cx, args, Create::No, |stream| {
        let removed = stream.remove_group(&args[3]);
        Edited::when(removed, Ok(removed))
    })?;
    if removed {
        changed(cx, args, "xgroup-destroy");
    }
    cx.reply.integer(i64::from(removed));
    Ok(())
}

fn createconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let now_ms = cx.now_ms;
    let created = edit_group(cx, args, |group, _| {
        let created = group.create_consumer(&args[4], now_ms).is_some();
        Edited::when(created, Ok(created))
    })?;
    if created {
        consumer_created(&mut cx.data, &args[2]);
    }
    cx.reply.integer(i64::from(created));
    Ok(())
}

fn delconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let pending = edit_group(cx, args, |group, _| {
        let pending = group.remove_consumer(&args[4]);
        Edited::when(pending.is_some(), Ok(pending))
    })?;
    if pending.is_some() {
        changed(cx, args, "xgroup-delconsumer");
    }
    cx.reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}
