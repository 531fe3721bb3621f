//! XDEL and XSETID.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{DELETE, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::stream::{Boxed, KEY, parse_id, parse_integer};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::stream::{Log, StreamId};

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("xdel", xdel)
        .arity(-3)
        .flags(WRITE | FAST)
        .keys(&[KEY.flags(RW | DELETE)])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(1) for each entry, whatever the length of the stream.")
        .summary("Removes entries of a stream by their IDs and returns how many there were.")
        .args(&[Arg::key("key", 0), Arg::string("id").multiple()])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("xsetid", xsetid)
        .arity(-3)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | UPDATE)])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(1).")
        .summary("Sets the last ID of a stream, and what it remembers of entries that are gone.")
        .history(&[("7.0.0", "ENTRIESADDED and MAXDELETEDID.")])
        .args(&[
            Arg::key("key", 0),
            Arg::string("last-id"),
            Arg::integer("entries-added").token("ENTRIESADDED").optional().since("7.0.0"),
            Arg::string("max-deleted-id").token("MAXDELETEDID").optional().since("7.0.0"),
        ])
        .reply(Shape::Ok)
        .finish(),
];

fn xdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let key = cx.data.key(&args[1]);
    let edited = cx.edit::<Boxed, _>(&key, Create::No, |stream, _| {
        // All or nothing: whether every ID is one is known before the first entry goes.
        if let Some(error) = args.from(2).iter().find_map(|id| parse_id(id).err()) {
            return Edited::no(Err(error));
        }
        let ids = args.from(2).iter().filter_map(|id| parse_id(id).ok());
        let removed = ids.filter(|id| stream.log_mut().delete(*id)).count();
        Edited::when(removed > 0, Ok(removed))
    })?;
    let removed = edited.map_or(Ok(0), |(removed, _)| removed)?;
    if removed > 0 {
        cx.data.dirty += removed as u64;
        cx.data.event(Class::Stream, "xdel", key.bytes);
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

/// What XSETID is to set.
struct Marks {
    last_id: StreamId,
    entries_added: Option<u64>,
    max_deleted_id: Option<StreamId>,
}

fn parse_marks(args: Args<'_>) -> Result<Marks, Error> {
    let mut marks = Marks { last_id: parse_id(&args[2])?, entries_added: None, max_deleted_id: None };
    let mut options = args.from(3).iter();
    while let Some(word) = options.next() {
        let value = options.next().ok_or(Error::Syntax)?;
        if word.eq_ignore_ascii_case(b"entriesadded") {
            let number = u64::try_from(parse_integer(value)?);
            marks.entries_added =
                Some(number.map_err(|_| Error::Fixed("ERR entries_added must be positive"))?);
        } else if word.eq_ignore_ascii_case(b"maxdeletedid") {
            let id = parse_id(value)?;
            if marks.last_id < id {
                return Err(Error::Fixed(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            marks.max_deleted_id = Some(id).filter(|id| *id != StreamId::MIN);
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(marks)
}

/// Refuses marks that contradict the entries.
fn check_marks(log: &Log, marks: &Marks) -> Result<(), Error> {
    if marks.last_id < log.marks().max_deleted_id {
        return Err(Error::Fixed(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if log.last_entry_id().is_some_and(|last| marks.last_id < last) {
        return Err(Error::Fixed(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if marks.entries_added.is_some_and(|added| added < log.length()) {
        return Err(Error::Fixed(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    Ok(())
}

fn xsetid(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let marks = parse_marks(args)?;
    let key = cx.data.key(&args[1]);
    let edited = cx.edit::<Boxed, _>(&key, Create::No, |stream, _| {
        let log = stream.log_mut();
        let outcome = check_marks(log, &marks);
        if outcome.is_ok() {
            log.set_marks(marks.last_id, marks.entries_added, marks.max_deleted_id);
        }
        Edited::when(outcome.is_ok(), outcome).unwatched()
    })?;
    let (outcome, _) = edited.ok_or(Error::NoSuchKey)?;
    outcome?;
    cx.data.dirty += 1;
    cx.data.event(Class::Stream, "xsetid", key.bytes);
    cx.reply.ok();
    Ok(())
}
