//! XADD and XTRIM, which share the options for trimming.

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{DENYOOM, FAST, WRITE};
use crate::command::spec::key_spec::{DELETE, RW, UPDATE};
use crate::command::spec::{Group, Spec};
use crate::command::stream::{Boxed, INVALID_ID, KEY, pairs, parse_id, parse_integer, write_id};
use crate::command::typed::Create;
use crate::hub::events::Class;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::stream::{AddError, Keep, NewId, StreamId, Trim};

/// Nodes that approximate trimming removes at most without a LIMIT.
const TRIMMED_NODES_MAX: u64 = 100;
/// Entries that it removes at most then, where nodes have no bound of entries.
const TRIMMED_DEFAULT: u64 = 10_000;
/// Entries that it removes at most then, in any case.
const TRIMMED_MAX: u64 = 1_000_000;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("xadd", xadd)
        .arity(-5)
        .flags(WRITE | DENYOOM | FAST)
        .keys(&[KEY.flags(RW | UPDATE).notes("It updates where it trims, otherwise it only inserts.")])
        .tips(&["nondeterministic_output"])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(1), and O(N) for trimming, N the number of entries removed.")
        .summary("Appends an entry to a stream, which is created without one, and returns its ID.")
        .history(&[("6.2.0", "NOMKSTREAM, MINID and LIMIT."), ("7.0.0", "IDs of the form `<ms>-*`.")])
        .args(&[
            Arg::key("key", 0),
            Arg::flag("nomkstream", "NOMKSTREAM").optional().since("6.2.0"),
            Arg::block("trim", TRIM).optional(),
            Arg::one_of("id-selector", &[Arg::flag("auto-id", "*"), Arg::string("id")]),
            Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
        ])
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("xtrim", xtrim)
        .arity(-4)
        .flags(WRITE)
        .keys(&[KEY.flags(RW | DELETE)])
        .tips(&["nondeterministic_output"])
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N), N the number of entries removed; whole nodes of entries go at once.")
        .summary("Removes the oldest entries of a stream and returns how many.")
        .history(&[("6.2.0", "MINID and LIMIT.")])
        .args(&[Arg::key("key", 0), Arg::block("trim", TRIM)])
        .reply(Shape::Integer)
        .finish(),
];

const TRIM: &[Arg] = &[
    Arg::one_of("strategy", &[Arg::flag("maxlen", "MAXLEN"), Arg::flag("minid", "MINID").since("6.2.0")]),
    Arg::one_of("operator", &[Arg::flag("equal", "="), Arg::flag("approximately", "~")]).optional(),
    Arg::string("threshold"),
    Arg::integer("count").token("LIMIT").optional().since("6.2.0"),
];

/// The options of XADD and XTRIM.
struct Options {
    /// Where the ID stands, and what it says; the end of the request if none was given.
    id_at: usize,
    id: NewId,
    create: Create,
    trim: Option<Trim>,
}

/// Reads the options from the third argument on; those of XADD end with its ID.
fn parse(cx: &mut Cx<'_>, args: Args<'_>, adds: bool) -> Result<Options, Error> {
    let mut id = NewId::Auto { now_ms: cx.now_ms };
    let mut create = Create::Yes;
    let mut keep: Option<(Keep, bool)> = None;
    let mut limit: Option<u64> = None;
    let mut at = 2;
    while at < args.len() {
        let (word, more) = (&args[at], args.len() - 1 - at);
        if adds && word == b"*" {
            break;
        } else if word.eq_ignore_ascii_case(b"maxlen") && more > 0 {
            keep = Some(parse_keep(args, &mut at, keep, |text| {
                let length = u64::try_from(parse_integer(text)?);
                Ok(Keep::Newest(length.map_err(|_| Error::err("The MAXLEN argument must be >= 0."))?))
            })?);
        } else if word.eq_ignore_ascii_case(b"minid") && more > 0 {
            keep = Some(parse_keep(args, &mut at, keep, |text| Ok(Keep::From(parse_id(text)?)))?);
        } else if word.eq_ignore_ascii_case(b"limit") && more > 0 {
            let number = u64::try_from(parse_integer(&args[at + 1])?);
            limit = Some(number.map_err(|_| Error::err("The LIMIT argument must be >= 0."))?);
            at += 1;
        } else if adds && word.eq_ignore_ascii_case(b"nomkstream") {
            create = Create::No;
        } else if adds {
            id = parse_new_id(word)?;
            break;
        } else {
            return Err(Error::Syntax);
        }
        at += 1;
    }
    let trim = trim(cx, keep, limit, adds)?;
    Ok(Options { id_at: at, id, create, trim })
}

/// Reads the operator and the threshold behind MAXLEN or MINID at `at`; leaves `at` at the threshold.
fn parse_keep(
    args: Args<'_>,
    at: &mut usize,
    present: Option<(Keep, bool)>,
    read: impl FnOnce(&[u8]) -> Result<Keep, Error>,
) -> Result<(Keep, bool), Error> {
    if present.is_some() {
        return Err(Error::Fixed(
            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ));
    }
    let operator = args.get(*at + 1).filter(|_| *at + 2 < args.len());
    let approximate = operator == Some(b"~");
    *at += if approximate || operator == Some(b"=") { 2 } else { 1 };
    Ok((read(&args[*at])?, approximate))
}

fn parse_new_id(text: &[u8]) -> Result<NewId, Error> {
    match StreamId::parse(text, 0) {
        Some(id) => Ok(NewId::Exactly(id)),
        None => StreamId::parse_open(text).map(NewId::InMs).ok_or(INVALID_ID),
    }
}

/// What to trim, with the limit that goes for it.
fn trim(
    cx: &mut Cx<'_>,
    keep: Option<(Keep, bool)>,
    limit: Option<u64>,
    adds: bool,
) -> Result<Option<Trim>, Error> {
    let Some((keep, approximate)) = keep else {
        return match limit {
            Some(1..) => Err(Error::Fixed(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            )),
            _ if !adds => {
                Err(Error::Fixed("ERR syntax error, XTRIM must be called with a trimming strategy"))
            }
            Some(_) => Err(NEEDS_APPROXIMATE),
            None => Ok(None),
        };
    };
    let limit = match limit {
        Some(_) if !approximate => return Err(NEEDS_APPROXIMATE),
        Some(0) => None,
        Some(limit) => Some(limit),
        None if approximate => Some(default_limit(cx.thresholds().stream_node_max_entries as u64)),
        None => None,
    };
    Ok(Some(Trim { keep, approximate, limit }))
}

const NEEDS_APPROXIMATE: Error =
    Error::Fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");

fn default_limit(node_entries: u64) -> u64 {
    match node_entries.saturating_mul(TRIMMED_NODES_MAX) {
        0 => TRIMMED_DEFAULT,
        limit => limit.min(TRIMMED_MAX),
    }
}

fn xadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = parse(cx, args, true)?;
    let fields_at = options.id_at + 1;
    let texts = args.len().saturating_sub(fields_at);
    if texts < 2 || texts % 2 == 1 {
        return Err(Error::wrong_arity("xadd"));
    }
    if options.id == NewId::Exactly(StreamId::MIN) {
        return Err(Error::Fixed("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = cx.data.key(&args[1]);
    let edited = cx.edit::<Boxed, _>(&key, options.create, |stream, thresholds| {
        let log = stream.log_mut();
        match log.add(options.id, pairs(args, fields_at), thresholds) {
            Ok(id) => Edited::yes(Ok((id, options.trim.map_or(0, |trim| log.trim(trim))))),
            Err(error) => Edited::no(Err(error)),
        }
    })?;
    let Some((outcome, _)) = edited else {
        cx.reply.null();
        return Ok(());
    };
    let (id, trimmed) = outcome.map_err(refusal)?;
    write_id(cx.reply, id);
    cx.data.dirty += 1;
    cx.data.event(Class::Stream, "xadd", key.bytes);
    if trimmed > 0 {
        cx.data.event(Class::Stream, "xtrim", key.bytes);
    }
    Ok(())
}

fn refusal(error: AddError) -> Error {
    Error::Fixed(match error {
        AddError::Exhausted => "ERR The stream has exhausted the last possible ID, unable to add more items",
        AddError::NotGreater => {
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        }
        AddError::TooLarge => "ERR Elements are too large to be stored",
    })
}

fn xtrim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    // Without a strategy the options were refused.
    let trim = parse(cx, args, false)?.trim.ok_or(Error::Syntax)?;
    let key = cx.data.key(&args[1]);
    let edited = cx.edit::<Boxed, _>(&key, Create::No, |stream, _| {
        let removed = stream.log_mut().trim(trim);
        Edited::when(removed > 0, removed)
    })?;
    let removed = edited.map_or(0, |(removed, _)| removed);
    if removed > 0 {
        cx.data.dirty += removed;
        cx.data.event(Class::Stream, "xtrim", key.bytes);
    }
    cx.reply.integer(removed as i64);
    Ok(())
}
