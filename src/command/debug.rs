//! DEBUG: for tests, and refused unless `enable-debug-command` allows it to this client.
//!
//! Only what has a meaning here exists; what looks into Redis's own structures or crashes the server does not.

mod digest;
mod reload;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::glob;
use crate::base::num::{parse_f64, parse_i64, parse_u64};
use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::object::encoding_name;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, Flags, LOADING, NOSCRIPT, STALE};
use crate::command::spec::key_spec::{KeySpec, RO};
use crate::command::spec::{Draft, Group, Handler, Spec};
use crate::config::choices::Allowed;
use crate::hub::clients::{Client, flag};
use crate::persist::dump;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::{Proto, Reply};
use crate::resp::shape::Shape;
use crate::store::db::{Due, NewString};
use crate::store::value::ValueRef;
use crate::store::walk::Step;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("debug", SUBCOMMANDS)
    .flags(FLAGS)
    .group(Group::Server)
    .since("1.0.0")
    .complexity("Depends on the subcommand.")
    .summary("For tests of the server and of clients.")
    .system()
    .finish()];

const FLAGS: Flags = ADMIN | NOSCRIPT | LOADING | STALE;
/// Longest DEBUG SLEEP.
const SLEEP_MAX_S: f64 = 3600.0;
/// Longest text of DEBUG STRINGMATCH-LEN.
const MATCHED_MAX_BYTES: i64 = 64 << 20;
/// Entries of a shard whose digests are computed between two looks at the walk.
const DIGEST_STEP: usize = 256;

const SUBCOMMANDS: &[Spec] = &[
    row("sleep", sleep, 3, "Holds this connection's worker for some seconds; others go on.")
        .args(&[Arg::double("seconds")])
        .reply(Shape::Ok)
        .finish(),
    row("object", object, 3, "Tells how a key's value is stored.")
        .keys(&[KeySpec::at(2).flags(RO)])
        .args(&[Arg::key("key", 0)])
        .reply(Shape::Simple)
        .finish(),
    row(
        "set-active-expire",
        set_active_expire,
        3,
        "Chooses whether due keys are removed before they are used.",
    )
    .args(&[Arg::integer("on")])
    .reply(Shape::Ok)
    .finish(),
    row("pause-cron", pause_cron, 3, "Chooses whether what is done from time to time rests.")
        .args(&[Arg::integer("on")])
        .reply(Shape::Ok)
        .finish(),
    row("stringmatch-len", match_length, 4, "Matches a pattern with so many letters A.")
        .args(&[Arg::integer("length"), Arg::pattern("pattern")])
        .reply(Shape::Boolean)
        .finish(),
    row("populate", populate, -3, "Sets so many keys to short values; keys that exist stay as they are.")
        .args(&[
            Arg::integer("count"),
            Arg::block("names", &[Arg::string("prefix"), Arg::integer("size").optional()]).optional(),
        ])
        .reply(Shape::Ok)
        .finish(),
    row("digest", digest, 2, "Gives 40 hex digits that depend on all keys and values.")
        .reply(Shape::Simple)
        .finish(),
    row("digest-value", digest_value, -3, "Gives 40 hex digits for each key that depend on its value.")
        .keys(&[KeySpec::range(2, -1, 1).flags(RO)])
        .args(&[Arg::key("key", 0).multiple()])
        .reply(Shape::Array(&Shape::Simple))
        .finish(),
    row("reload", reload::reload, 2, "Writes every value in RDB's format and reads it again.")
        .reply(Shape::Ok)
        .finish(),
    row("error", error, 3, "Answers with this error line.")
        .args(&[Arg::string("message")])
        .reply(Shape::Nothing)
        .finish(),
    row("log", log, 3, "Writes a line to the server's log.")
        .args(&[Arg::string("message")])
        .reply(Shape::Ok)
        .finish(),
    row("protocol", protocol, 3, "Answers with a sample of a reply type.")
        .args(&[Arg::string("type")])
        .reply(Shape::Any)
        .finish(),
    row(
        "set-disable-deny-scripts",
        set_disable_deny_scripts,
        3,
        "Chooses whether scripts may run what they must not.",
    )
    .args(&[Arg::integer("on")])
    .reply(Shape::Ok)
    .finish(),
    help_row("6.2.0", Group::Server, 0),
];

const fn row(name: &'static str, handler: Handler, arity: i32, summary: &'static str) -> Draft {
    Spec::new(name, handler)
        .arity(arity)
        .flags(FLAGS)
        .group(Group::Server)
        .since("1.0.0")
        .complexity("Depends on the arguments.")
        .summary(summary)
        .system()
}

/// Refuses clients that `enable-debug-command` does not let in.
fn permit(cx: &mut Cx<'_>) -> Result<(), Error> {
    let allowed = match cx.worker.config().enable_debug_command {
        Allowed::Yes => true,
        Allowed::No => false,
        Allowed::Local => is_local(&cx.session.client),
    };
    if allowed { Ok(()) } else { Err(Error::DebugRefused) }
}

fn is_local(client: &Client) -> bool {
    let loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    client.has(flag::UNIX) || client.peer.parse().is_ok_and(loopback)
}

fn sleep(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let seconds = parse_f64(&args[2]).ok_or(Error::NotAFloat)?;
    if !(0.0..=SLEEP_MAX_S).contains(&seconds) {
        return Err(Error::OutOfRange);
    }
    std::thread::sleep(Duration::from_secs_f64(seconds));
    cx.reply.ok();
    Ok(())
}

fn object(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let key = cx.data.key(&args[2]);
    let now_ms = cx.now_ms;
    let db = cx.data.db(&key);
    // One that is due, too: who looks here wants to know what is in memory.
    let found = db.peek(&key).ok_or(Error::NoSuchKey)?;
    cx.reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:0 lru_seconds_idle:{} entry_bytes:{}",
        encoding_name(db, found),
        serialized_length(db.value(found)),
        db.idle_seconds(found, now_ms),
        db.entry_bytes(found)
    ));
    Ok(())
}

/// Length of a string, or of another value as DUMP writes it.
fn serialized_length(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Str(bytes) => bytes.len(),
        other => dump::write(other).len(),
    }
}

fn set_active_expire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let on = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    cx.hub.keyspace.set_active_expire(on != 0);
    cx.reply.ok();
    Ok(())
}

fn pause_cron(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let on = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    cx.hub.rests.store(on != 0, Ordering::Relaxed);
    cx.reply.ok();
    Ok(())
}

fn set_disable_deny_scripts(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let on = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    cx.hub.scripts.allows_all.store(on != 0, Ordering::Relaxed);
    cx.reply.ok();
    Ok(())
}

fn match_length(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let length = parse_i64(&args[2]).filter(|length| (0..=MATCHED_MAX_BYTES).contains(length));
    let text = vec![b'A'; length.ok_or(Error::OutOfRange)? as usize];
    cx.reply.boolean(glob::matches(&args[3], &text, false));
    Ok(())
}

fn populate(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let count = parse_i64(&args[2]).filter(|&count| count >= 0).ok_or(Error::MustBePositive)?;
    let longest = cx.worker.config().proto_max_bulk_len;
    let size =
        args.get(4).map(|word| parse_u64(word).filter(|&size| size <= longest).ok_or(Error::OutOfRange));
    let size = size.transpose()?;
    if args.len() > 5 {
        return Err(Error::Syntax);
    }
    let prefix = args.get(3).unwrap_or(b"key");
    let (now_ms, number) = (cx.now_ms, cx.data.db);
    for n in 0..count {
        let name = [prefix, format!(":{n}").as_bytes()].concat();
        let mut value = format!("value:{n}").into_bytes();
        if let Some(size) = size {
            value.resize(size as usize, 0);
        }
        let key = cx.data.key(&name);
        let stored = cx.data.with_shard(key.shard, |shard| {
            let db = shard.db(number);
            if db.find(&key, now_ms).is_some() {
                return Ok(());
            }
            db.set_string(&key, None, NewString { bytes: &value, raw: false }, Due::Never, now_ms)
        });
        if stored.is_err() {
            return Err(Error::OutOfMemory);
        }
        cx.data.dirty += 1;
    }
    cx.reply.ok();
    Ok(())
}

fn digest(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let now_ms = cx.now_ms;
    let layout = cx.hub.keyspace.layout().clone();
    let mut sum = [0; 3];
    cx.data.each_shard(|_, shard| {
        let numbers: Vec<usize> = shard.dbs().map(|(number, _)| number).collect();
        for number in numbers {
            let db = shard.db(number);
            let mut next = Some(Step::default());
            while let Some(step) = next {
                let mut names: Vec<Vec<u8>> = Vec::new();
                next = db.walk(step, DIGEST_STEP, (now_ms, None), |name| names.push(name.to_vec())).0;
                for name in &names {
                    if let Some(found) = db.peek(&layout.key(name)) {
                        digest::add(&mut sum, digest::of_entry(db, found, number, name, now_ms));
                    }
                }
            }
        }
    });
    cx.reply.simple(&digest::hex(sum));
    Ok(())
}

fn digest_value(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let now_ms = cx.now_ms;
    cx.reply.array(args.len() - 2);
    for name in args.from(2).iter() {
        let key = cx.data.key(name);
        let digest = match cx.data.find(&key) {
            Some(found) => digest::of_entry(cx.data.db(&key), found, 0, b"", now_ms),
            None => [0; 3],
        };
        cx.reply.simple(&digest::hex(digest));
    }
    Ok(())
}

fn error(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let line = String::from_utf8_lossy(&args[2]).replace(['\r', '\n'], " ");
    Err(Error::Custom(line))
}

fn log(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    tracing::warn!("DEBUG LOG: {}", args[2].escape_ascii());
    cx.reply.ok();
    Ok(())
}

const PROTOCOL_TYPES: &str =
    "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";

/// The samples that Redis gives, which tests of clients and its own test suite expect to the byte.
#[expect(clippy::approx_constant, reason = "the sample only looks like π")]
fn protocol(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    permit(cx)?;
    let resp3 = cx.reply.proto() == Proto::Resp3;
    let numbers = |reply: &mut Reply| (0..3).for_each(|n| reply.integer(n));
    let reply = &mut *cx.reply;
    match args[2].to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk_str("Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(3.141),
        b"bignum" if resp3 => reply.raw(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => reply.bulk_str("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            numbers(reply);
        }
        b"set" => {
            reply.set(3);
            numbers(reply);
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.integer(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => {
            if resp3 {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk_str("Some real reply following the attribute");
        }
        b"push" if resp3 => {
            reply.push(2);
            reply.bulk_str("server-cpu-usage");
            reply.integer(42);
            reply.bulk_str("Some real reply following the push reply");
        }
        b"push" => return Err(Error::err("RESP2 is not supported by this command")),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            return Err(Error::err(format_args!(
                "Wrong protocol type name. Please use one of the following: {PROTOCOL_TYPES}"
            )));
        }
    }
    Ok(())
}
