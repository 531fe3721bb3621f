//! Commands about the connection itself: AUTH, HELLO, PING, ECHO, QUIT, RESET, SELECT, and the cluster's READONLY,
//! READWRITE and ASKING. These change nothing, as there are neither replicas to read from nor redirections for one
//! request; without a cluster they are refused.
//!
//! There is one user, `default`; it needs a password if `requirepass` is set.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::num::parse_i64;
use crate::base::version::REDIS_VERSION;
use crate::command::context::Cx;
use crate::command::keyspace;
use crate::command::pubsub;
use crate::command::session::{Closing, ReplyMode};
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ALLOW_BUSY, FAST, Flags, LOADING, NO_AUTH, NOSCRIPT, STALE};
use crate::command::spec::{Group, Spec};
use crate::command::{tracking, txn};
use crate::hub::clients::{Client, flag};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::reply::Proto;
use crate::resp::shape::Shape;

/// Flags of the commands that are allowed in every state of a connection.
const ALWAYS: Flags = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY;

const CREDENTIALS: &[Arg] = &[Arg::string("username"), Arg::string("password")];

/// The family's rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("auth", auth)
        .arity(-2)
        .flags(ALWAYS)
        .group(Group::Connection)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Gives the password that the server asks for.")
        .history(&[("6.0.0", "Takes a user name before the password.")])
        .args(&[Arg::string("username").optional().since("6.0.0"), Arg::string("password")])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("hello", hello)
        .arity(-1)
        .flags(ALWAYS)
        .group(Group::Connection)
        .since("6.0.0")
        .complexity("O(1).")
        .summary("Chooses the protocol, and tells about the server.")
        .history(&[("6.2.0", "The protocol version may be left out.")])
        .args(&[Arg::block(
            "arguments",
            &[
                Arg::integer("protover"),
                Arg::block("auth", CREDENTIALS).token("AUTH").optional(),
                Arg::string("clientname").token("SETNAME").optional(),
            ],
        )
        .optional()])
        .reply(Shape::Map(&Shape::Bulk, &Shape::Any))
        .finish(),
    Spec::new("ping", ping)
        .arity(-1)
        .flags(FAST)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .group(Group::Connection)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Answers, which shows that the connection and the server are alive.")
        .args(&[Arg::string("message").optional()])
        .reply(Shape::OneOf(&[
            Shape::Exactly("PONG"),
            Shape::Bulk,
            Shape::Tuple(&[Shape::Bulk, Shape::Bulk]),
        ]))
        .finish(),
    Spec::new("echo", echo)
        .arity(2)
        .flags(LOADING | STALE | FAST)
        .group(Group::Connection)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Answers with its argument.")
        .args(&[Arg::string("message")])
        .reply(Shape::Bulk)
        .finish(),
    Spec::new("quit", quit)
        .arity(-1)
        .flags(ALWAYS)
        .group(Group::Connection)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Closes the connection.")
        .deprecated("7.2.0", "just closing the connection")
        .reply(Shape::Ok)
        .finish(),
    Spec::new("reset", reset)
        .arity(1)
        .flags(ALWAYS)
        .group(Group::Connection)
        .since("6.2.0")
        .complexity("O(1).")
        .summary("Makes the connection as it was when it was new.")
        .reply(Shape::Exactly("RESET"))
        .finish(),
    Spec::new("select", select)
        .arity(2)
        .flags(LOADING | STALE | FAST)
        .group(Group::Connection)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("Chooses the database that the connection's commands work on.")
        .args(&[Arg::integer("index")])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("readonly", agree_in_cluster)
        .arity(1)
        .flags(LOADING | STALE | FAST)
        .group(Group::Cluster)
        .categories_exactly(crate::command::spec::category::CONNECTION)
        .since("3.0.0")
        .complexity("O(1).")
        .summary(
            "Allows reads from a replica; changes nothing, as there are none. Refused without a cluster.",
        )
        .reply(Shape::Ok)
        .finish(),
    Spec::new("readwrite", agree_in_cluster)
        .arity(1)
        .flags(LOADING | STALE | FAST)
        .group(Group::Cluster)
        .categories_exactly(crate::command::spec::category::CONNECTION)
        .since("3.0.0")
        .complexity("O(1).")
        .summary("Forbids reads from a replica again; changes nothing. Refused without a cluster.")
        .reply(Shape::Ok)
        .finish(),
    Spec::new("asking", agree_in_cluster)
        .arity(1)
        .flags(FAST)
        .group(Group::Cluster)
        .categories_exactly(crate::command::spec::category::CONNECTION)
        .since("3.0.0")
        .complexity("O(1).")
        .summary("Announces a redirected request; changes nothing. Refused without a cluster.")
        .reply(Shape::Ok)
        .finish(),
];

fn auth(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    match args.len() {
        2 if cx.worker.config().requirepass.expose().is_empty() => return Err(Error::AuthNotConfigured),
        2 => log_in(cx, b"default", &args[1])?,
        3 => log_in(cx, &args[1], &args[2])?,
        _ => return Err(Error::Syntax),
    }
    cx.reply.ok();
    Ok(())
}

/// Lets the session in if the user exists and the password is right. A user without a password takes any.
fn log_in(cx: &mut Cx<'_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let wanted = cx.worker.config().requirepass.expose().as_bytes();
    let right = wanted.is_empty() || is_same(wanted, password);
    if user != b"default" || !right {
        return Err(Error::WrongPass);
    }
    cx.session.authenticated = true;
    Ok(())
}

/// Compares without telling by the time it takes how many bytes agree.
fn is_same(wanted: &[u8], given: &[u8]) -> bool {
    let differing =
        given.iter().enumerate().fold(0, |sum, (at, byte)| sum | (byte ^ wanted[at % wanted.len()]));
    wanted.len() == given.len() && differing == 0
}

fn hello(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let protocol = match args.get(1).map(|version| parse_i64(version).ok_or(Error::ProtoNotAnInteger)) {
        None => None,
        Some(version) => match version? {
            2 => Some(Proto::Resp2),
            3 => Some(Proto::Resp3),
            _ => return Err(Error::NoProto),
        },
    };
    let mut credentials = None;
    let mut name = None;
    let mut at = 2;
    while let Some(option) = args.get(at) {
        let left = args.len() - at - 1;
        if option.eq_ignore_ascii_case(b"auth") && left >= 2 {
            credentials = Some((&args[at + 1], &args[at + 2]));
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && left >= 1 {
            if !is_label(&args[at + 1]) {
                return Err(Error::ClientName);
            }
            name = Some(&args[at + 1]);
            at += 2;
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(Error::err(format_args!("Syntax error in HELLO option '{option}'")));
        }
    }
    if let Some((user, password)) = credentials {
        log_in(cx, user, password)?;
    }
    if !cx.session.authenticated {
        return Err(Error::NoAuthHello);
    }
    if let Some(name) = name {
        set_name(&cx.session.client, name);
    }
    if let Some(protocol) = protocol {
        speak(cx, protocol);
    }
    describe_server(cx);
    Ok(())
}

/// Changes the protocol, from the next reply on.
fn speak(cx: &mut Cx<'_>, protocol: Proto) {
    let number = if protocol == Proto::Resp3 { 3 } else { 2 };
    let client = Arc::clone(&cx.session.client);
    let out = pubsub::pushes(cx.session, cx.reply);
    client.set_protocol(number, |frame| out.raw_shared(frame));
    cx.reply.set_proto(protocol);
}

fn describe_server(cx: &mut Cx<'_>) {
    let clustered = cx.in_cluster();
    let reply = &mut *cx.reply;
    reply.map(7);
    reply.bulk_str("server");
    reply.bulk_str("redis");
    reply.bulk_str("version");
    reply.bulk_str(REDIS_VERSION);
    reply.bulk_str("proto");
    reply.integer(if reply.proto() == Proto::Resp3 { 3 } else { 2 });
    reply.bulk_str("id");
    reply.integer(cx.session.client.id as i64);
    reply.bulk_str("mode");
    reply.bulk_str(if clustered { "cluster" } else { "standalone" });
    reply.bulk_str("role");
    reply.bulk_str("master");
    reply.bulk_str("modules");
    reply.array(0);
}

/// Whether text that a client gives for itself may be shown in CLIENT LIST: no spaces, nothing unprintable.
pub fn is_label(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// Names a client; the name has passed [`is_label`], so that nothing is lost in the conversion.
pub fn set_name(client: &Client, name: &[u8]) {
    client.relabel(|labels| labels.name = String::from_utf8_lossy(name).into_owned());
}

fn ping(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let message = args.get(1);
    if args.len() > 2 {
        return Err(Error::wrong_arity("ping"));
    }
    if cx.session.client.has(flag::PUBSUB) && cx.reply.proto() == Proto::Resp2 {
        cx.reply.array(2);
        cx.reply.bulk_str("pong");
        cx.reply.bulk(message.unwrap_or_default());
        return Ok(());
    }
    match message {
        None => cx.reply.simple("PONG"),
        Some(message) => cx.reply.bulk(message),
    }
    Ok(())
}

fn echo(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    cx.reply.bulk(&args[1]);
    Ok(())
}

fn quit(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.session.closing = Some(Closing::AfterReply);
    cx.reply.ok();
    Ok(())
}

fn reset(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    txn::discard(cx.hub, cx.session);
    tracking::stop(cx);
    let client = &cx.session.client;
    cx.hub.clients.set_monitor(client, false);
    client.set(flag::NO_TOUCH | flag::NO_EVICT, false);
    client.relabel(|labels| labels.name.clear());
    cx.session.no_touch = false;
    pubsub::leave_all(cx.hub, cx.session);
    // As in Redis, the reply that CLIENT REPLY SKIP leaves out may be this one.
    if cx.session.reply_mode != ReplyMode::Skip {
        cx.session.reply_mode = ReplyMode::On;
    }
    cx.session.authenticated = cx.worker.config().requirepass.expose().is_empty();
    choose_database(cx, 0);
    speak(cx, Proto::Resp2);
    cx.reply.simple("RESET");
    Ok(())
}

fn select(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let number = keyspace::database_number(&args[1])?;
    if number != 0 && cx.hub.cluster.is_on() {
        return Err(Error::SelectInCluster);
    }
    let index = keyspace::database(cx, number)?;
    choose_database(cx, index);
    cx.reply.ok();
    Ok(())
}

fn choose_database(cx: &mut Cx<'_>, index: usize) {
    cx.session.db = index;
    cx.session.client.database.store(index as u32, Ordering::Relaxed);
}

fn agree_in_cluster(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    if !cx.in_cluster() {
        return Err(Error::ClusterDisabled);
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_label, is_same};

    #[test]
    fn passwords_are_the_same_only_if_every_byte_is() {
        assert!(is_same(b"secret", b"secret"));
        for other in [&b""[..], b"secre", b"secretsecret", b"secreT", b"Secret"] {
            assert!(!is_same(b"secret", other));
        }
    }

    #[test]
    fn labels_are_printable_and_without_spaces() {
        assert!(is_label(b"") && is_label(b"worker:1~!"));
        for label in [&b"a b"[..], b"a\n", b"\x7f", "é".as_bytes()] {
            assert!(!is_label(label));
        }
    }
}
