//! The CLIENT family: who is connected, under what name, and what one client may do to others.
//!
//! Another connection is only ever marked and woken ([`crate::hub::clients`]); its own task closes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::num::parse_i64;
use crate::command::connection::{is_label, set_name};
use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::session::{Closing, ReplyMode};
use crate::command::spec::arg::Arg;
use crate::command::spec::category::CONNECTION;
use crate::command::spec::flags::{ADMIN, Flags, LOADING, NOSCRIPT, STALE};
use crate::command::spec::{Group, Spec};
use crate::command::{table, tracking};
use crate::hub::blocked::Release;
use crate::hub::clients::{Client, NO_COMMAND, PauseKind, flag};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// Flags of the subcommands that concern the caller only.
pub(super) const OWN: Flags = NOSCRIPT | LOADING | STALE;
/// Flags of the subcommands that concern others.
const OTHERS: Flags = ADMIN | OWN;

/// What a connection is counted to cost beside its buffers: its task, its registry entry, its socket's bookkeeping.
const CONNECTION_BYTES: usize = 2048;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("client", SUBCOMMANDS)
    .group(Group::Connection)
    .categories_exactly(0)
    .since("2.4.0")
    .complexity("Depends on the subcommand.")
    .summary("Commands about client connections.")
    .finish()];

/// What a link of another node's gateway says at its start, and again whenever a request of it was refused because the
/// slot is elsewhere: the other requests of the slot that were sent before are refused, too, so that none overtakes.
pub const GATEWAY_CAPABILITY: &str = "larder-gateway-order";

const ON_OFF: Arg = Arg::one_of("enabled", &[Arg::flag("on", "ON"), Arg::flag("off", "OFF")]);

const TYPES: Arg = Arg::one_of(
    "client-type",
    &[
        Arg::flag("normal", "NORMAL"),
        Arg::flag("master", "MASTER"),
        Arg::flag("replica", "REPLICA"),
        Arg::flag("pubsub", "PUBSUB"),
    ],
)
.token("TYPE");

const KILL_FILTERS: &[Arg] = &[
    Arg::integer("client-id").token("ID").since("2.8.12"),
    TYPES,
    Arg::string("username").token("USER"),
    Arg::string("addr").token("ADDR").display("ip:port"),
    Arg::string("laddr").token("LADDR").display("ip:port").since("6.2.0"),
    Arg::one_of("skipme", &[Arg::flag("yes", "YES"), Arg::flag("no", "NO")]).token("SKIPME"),
    Arg::integer("maxage").token("MAXAGE").since("7.4.0"),
];

const SUBCOMMANDS: &[Spec] = &[
    Spec::new("id", id)
        .arity(2)
        .flags(OWN)
        .group(Group::Connection)
        .since("5.0.0")
        .complexity("O(1).")
        .summary("Tells the connection's id, which is never used again.")
        .reply(Shape::Integer)
        .finish(),
    Spec::new("info", info)
        .arity(2)
        .flags(OWN)
        .tips(&["nondeterministic_output"])
        .group(Group::Connection)
        .since("6.2.0")
        .complexity("O(1).")
        .summary("Describes this connection.")
        .reply(Shape::Verbatim)
        .finish(),
    Spec::new("list", list)
        .arity(-2)
        .flags(OTHERS)
        .tips(&["nondeterministic_output"])
        .group(Group::Connection)
        .since("2.4.0")
        .complexity("O(N log N), N the number of connections.")
        .summary("Describes all connections, those of a type, or those of some ids.")
        .args(&[
            TYPES.optional().since("5.0.0"),
            Arg::integer("client-id").token("ID").optional().multiple().since("6.2.0"),
        ])
        .reply(Shape::Verbatim)
        .finish(),
    Spec::new("kill", kill)
        .arity(-3)
        .flags(OTHERS)
        .group(Group::Connection)
        .since("2.4.0")
        .complexity("O(N), N the number of connections.")
        .summary("Closes the connections that match all filters, or that of an address.")
        .history(&[("2.8.12", "Added filters."), ("7.4.0", "Added the filter MAXAGE.")])
        .args(&[Arg::one_of(
            "filter",
            &[
                Arg::string("old-format").display("ip:port"),
                Arg::one_of("new-format", KILL_FILTERS).multiple(),
            ],
        )])
        .reply(Shape::OneOf(&[Shape::Ok, Shape::Integer]))
        .finish(),
    Spec::new("setname", set_own_name)
        .arity(3)
        .flags(OWN)
        .group(Group::Connection)
        .since("2.6.9")
        .complexity("O(1).")
        .summary("Names this connection; an empty name takes the name away.")
        .args(&[Arg::string("connection-name")])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("getname", get_name)
        .arity(2)
        .flags(OWN)
        .group(Group::Connection)
        .since("2.6.9")
        .complexity("O(1).")
        .summary("Tells this connection's name.")
        .reply(Shape::BulkOrNull)
        .finish(),
    Spec::new("setinfo", set_info)
        .arity(4)
        .flags(OWN)
        .group(Group::Connection)
        .since("7.2.0")
        .complexity("O(1).")
        .summary("Tells the server which library, in which version, this connection comes from.")
        .args(&[Arg::one_of(
            "attr",
            &[Arg::string("libname").token("LIB-NAME"), Arg::string("libver").token("LIB-VER")],
        )])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("no-evict", no_evict)
        .arity(3)
        .flags(OTHERS)
        .group(Group::Connection)
        .since("7.0.0")
        .complexity("O(1).")
        .summary("Exempts this connection from being closed for memory; accepted, as none ever is.")
        .args(&[ON_OFF])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("no-touch", no_touch)
        .arity(3)
        .flags(OWN)
        .group(Group::Connection)
        .since("7.2.0")
        .complexity("O(1).")
        .summary("Chooses whether this connection's commands count as use of keys for eviction.")
        .args(&[ON_OFF])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("pause", pause)
        .arity(-3)
        .flags(OTHERS)
        .group(Group::Connection)
        .since("3.0.0")
        .complexity("O(1).")
        .summary("Holds commands of all clients back for some milliseconds.")
        .history(&[("6.2.0", "Can hold back only what may write.")])
        .args(&[
            Arg::integer("timeout"),
            Arg::one_of("mode", &[Arg::flag("write", "WRITE"), Arg::flag("all", "ALL")])
                .optional()
                .since("6.2.0"),
        ])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("unpause", unpause)
        .arity(2)
        .flags(OTHERS)
        .group(Group::Connection)
        .since("6.2.0")
        .complexity("O(N), N the number of connections.")
        .summary("Lets commands that CLIENT PAUSE holds back go on.")
        .reply(Shape::Ok)
        .finish(),
    Spec::new("reply", reply)
        .arity(3)
        .flags(OWN)
        .group(Group::Connection)
        .since("3.2.0")
        .complexity("O(1).")
        .summary("Chooses whether this connection's commands are answered.")
        .args(&[Arg::one_of(
            "action",
            &[Arg::flag("on", "ON"), Arg::flag("off", "OFF"), Arg::flag("skip", "SKIP")],
        )])
        .reply(Shape::Ok)
        .finish(),
    Spec::new("unblock", unblock)
        .arity(-3)
        .flags(OTHERS)
        .group(Group::Connection)
        .since("5.0.0")
        .complexity("O(1).")
        .summary("Ends another connection's wait in a blocking command.")
        .args(&[
            Arg::integer("client-id"),
            Arg::one_of("unblock-type", &[Arg::flag("timeout", "TIMEOUT"), Arg::flag("error", "ERROR")])
                .optional(),
        ])
        .reply(Shape::Integer)
        .finish(),
    Spec::new("capa", capa)
        .arity(-3)
        .flags(OWN)
        .group(Group::Connection)
        .since("7.4.0")
        .complexity("O(1).")
        .summary("Tells what the client can do; nothing that clients say depends on it.")
        .args(&[Arg::string("capability").multiple()])
        .reply(Shape::Ok)
        .finish(),
    tracking::TRACKING,
    tracking::CACHING,
    tracking::TRACKINGINFO,
    tracking::GETREDIR,
    help_row("5.0.0", Group::Connection, CONNECTION),
];

fn id(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.integer(cx.session.client.id as i64);
    Ok(())
}

fn info(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let mut text = String::new();
    describe(cx, &cx.session.client, &mut text);
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let is =
        |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let clients = if args.len() == 4 && is(2, "type") {
        let class = Class::parse(&args[3])?;
        let mut clients = cx.hub.clients.list();
        clients.retain(|client| Class::of(client) == class);
        clients
    } else if args.len() > 3 && is(2, "id") {
        let ids = args.from(3).iter().map(|id| parse_i64(id).ok_or(Error::Fixed("ERR Invalid client ID")));
        let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
        ids.into_iter().filter_map(|id| cx.hub.clients.get(u64::try_from(id).ok()?)).collect()
    } else if args.len() == 2 {
        cx.hub.clients.list()
    } else {
        return Err(Error::Syntax);
    };
    let mut text = String::with_capacity(clients.len() * 320);
    for client in &clients {
        describe(cx, client, &mut text);
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The types that CLIENT LIST and CLIENT KILL tell apart. There are no masters and replicas here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl Class {
    fn parse(name: &[u8]) -> Result<Self, Error> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"master" => Ok(Self::Master),
            b"replica" | b"slave" => Ok(Self::Replica),
            b"pubsub" => Ok(Self::PubSub),
            _ => Err(Error::err(format_args!("Unknown client type '{}'", String::from_utf8_lossy(name)))),
        }
    }

    /// As in Redis, a monitor counts as a normal client.
    fn of(client: &Client) -> Self {
        if client.has(flag::PUBSUB) { Self::PubSub } else { Self::Normal }
    }
}

/// One line of CLIENT LIST: every value is without spaces and without `=`, as tools split at both.
fn describe(cx: &Cx<'_>, client: &Client, text: &mut String) {
    let read = |value: &std::sync::atomic::AtomicUsize| value.load(Ordering::Relaxed);
    let labels = client.labels();
    let idle_s = cx.now_ms.saturating_sub(client.active_ms.load(Ordering::Relaxed)) / 1000;
    let age_s = cx.now_ms.saturating_sub(client.connected_ms) / 1000;
    let [channels, patterns, shard_channels] = &client.subscriptions;
    let (query, query_free, output) =
        (read(&client.query_bytes), read(&client.query_free_bytes), read(&client.output_bytes));
    let (frames, outbox) = client.outbox_len();
    let unsent = output + outbox;
    let total = CONNECTION_BYTES + size_of::<Client>() + query + query_free + unsent;
    let last = client.last_command.load(Ordering::Relaxed);
    let command = match last {
        _ if client.id == cx.session.client.id => cx.entry.full_name.as_str(),
        NO_COMMAND => "NULL",
        id => table::entries().get(id as usize).map_or("NULL", |entry| entry.full_name.as_str()),
    };
    let events = if unsent > 0 { "rw" } else { "r" };
    text.push_str(&format!(
        "id={} addr={} laddr={} fd={} name={} age={age_s} idle={idle_s} flags={} db={} sub={} psub={} ssub={} \
         multi={} watch={} qbuf={query} qbuf-free={query_free} argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 \
         oll={frames} omem={unsent} tot-mem={total} events={events} cmd={command} user={} redir={} resp={} \
         lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}\n",
        client.id,
        client.peer,
        client.local,
        client.descriptor,
        labels.name,
        flag_letters(client.flags()),
        client.database.load(Ordering::Relaxed),
        channels.load(Ordering::Relaxed),
        patterns.load(Ordering::Relaxed),
        shard_channels.load(Ordering::Relaxed),
        client.queued.load(Ordering::Relaxed),
        client.watched.load(Ordering::Relaxed),
        labels.user,
        tracking::redirect_of(client),
        client.protocol.load(Ordering::Relaxed),
        labels.library,
        labels.library_version,
        client.net_input_bytes.get(),
        client.net_output_bytes.get(),
        client.commands.get(),
    ));
}

/// The letters under which Redis shows a client's flags, `N` for none.
fn flag_letters(flags: u32) -> String {
    const LETTERS: &[(u32, char)] = &[
        (flag::MONITOR, 'O'),
        (flag::PUBSUB, 'P'),
        (flag::MULTI, 'x'),
        (flag::BLOCKED, 'b'),
        (flag::TRACKING, 't'),
        (flag::TRACKING_BROKEN, 'R'),
        (flag::TRACKING_BCAST, 'B'),
        (flag::DIRTY_WATCH, 'd'),
        (flag::CLOSING, 'c'),
        (flag::UNIX, 'U'),
        (flag::NO_EVICT, 'e'),
        (flag::NO_TOUCH, 'T'),
    ];
    let letters: String =
        LETTERS.iter().filter(|(bit, _)| flags & bit != 0).map(|&(_, letter)| letter).collect();
    if letters.is_empty() { "N".to_owned() } else { letters }
}

/// What CLIENT KILL looks for; a client must match all that is set.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    class: Option<Class>,
    user: Option<String>,
    peer: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    min_age_s: Option<u64>,
    spare_self: bool,
}

impl Filter {
    fn parse(args: Args<'_>) -> Result<Self, Error> {
        let mut filter = Self { spare_self: true, ..Self::default() };
        let mut at = 2;
        while at < args.len() {
            let Some(value) = args.get(at + 1) else { return Err(Error::Syntax) };
            match args[at].to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
                    filter.id = Some(id.ok_or(Error::Fixed("ERR client-id should be greater than 0"))?);
                }
                b"maxage" => {
                    let age = parse_i64(value)
                        .ok_or(Error::Fixed("ERR maxage is not an integer or out of range"))?;
                    let age = u64::try_from(age).ok().filter(|&age| age > 0);
                    filter.min_age_s = Some(age.ok_or(Error::Fixed("ERR maxage should be greater than 0"))?);
                }
                b"type" => filter.class = Some(Class::parse(value)?),
                b"addr" => filter.peer = Some(value.to_vec()),
                b"laddr" => filter.local = Some(value.to_vec()),
                b"user" if value == b"default" => filter.user = Some("default".to_owned()),
                b"user" => {
                    let user = String::from_utf8_lossy(value);
                    return Err(Error::err(format_args!("No such user '{user}'")));
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.spare_self = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.spare_self = false,
                _ => return Err(Error::Syntax),
            }
            at += 2;
        }
        Ok(filter)
    }

    fn matches(&self, client: &Client, now_ms: u64) -> bool {
        let age_s = now_ms.saturating_sub(client.connected_ms) / 1000;
        self.id.is_none_or(|id| client.id == id)
            && self.class.is_none_or(|class| Class::of(client) == class)
            && self.user.as_ref().is_none_or(|user| client.labels().user == *user)
            && self.peer.as_ref().is_none_or(|peer| client.peer.as_bytes() == peer)
            && self.local.as_ref().is_none_or(|local| client.local.as_bytes() == local)
            && self.min_age_s.is_none_or(|min_age_s| age_s >= min_age_s)
    }
}

fn kill(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter { peer: Some(args[2].to_vec()), ..Filter::default() }
    } else {
        Filter::parse(args)?
    };
    let own_id = cx.session.client.id;
    let mut killed = 0;
    for client in matching(cx, &filter) {
        if client.id != own_id {
            client.kill();
        } else if filter.spare_self {
            continue;
        } else {
            cx.session.closing = Some(Closing::AfterReply);
        }
        killed += 1;
    }
    if !old_form {
        cx.reply.integer(killed);
    } else if killed == 0 {
        return Err(Error::NoSuchClient);
    } else {
        cx.reply.ok();
    }
    Ok(())
}

fn matching(cx: &Cx<'_>, filter: &Filter) -> Vec<Arc<Client>> {
    let mut clients = match filter.id {
        Some(id) => cx.hub.clients.get(id).into_iter().collect(),
        None => cx.hub.clients.list(),
    };
    clients.retain(|client| filter.matches(client, cx.now_ms));
    clients
}

fn set_own_name(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if !is_label(&args[2]) {
        return Err(Error::ClientName);
    }
    set_name(&cx.session.client, &args[2]);
    cx.reply.ok();
    Ok(())
}

fn get_name(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let name = cx.session.client.labels().name;
    if name.is_empty() {
        cx.reply.null()
    } else {
        cx.reply.bulk_str(&name)
    }
    Ok(())
}

fn set_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let (attribute, value) = (&args[2], &args[3]);
    let shown = String::from_utf8_lossy(attribute);
    let is_name = attribute.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !attribute.eq_ignore_ascii_case(b"lib-ver") {
        return Err(Error::err(format_args!("Unrecognized option '{shown}'")));
    }
    if !is_label(value) {
        let text = format_args!("{shown} cannot contain spaces, newlines or special characters.");
        return Err(Error::err(text));
    }
    let value = String::from_utf8_lossy(value).into_owned();
    cx.session.client.relabel(|labels| {
        let label = if is_name { &mut labels.library } else { &mut labels.library_version };
        *label = value;
    });
    cx.reply.ok();
    Ok(())
}

/// ON or OFF.
pub(super) fn switch(arg: &[u8]) -> Result<bool, Error> {
    match arg.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(Error::Syntax),
    }
}

fn no_evict(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    cx.session.client.set(flag::NO_EVICT, switch(&args[2])?);
    cx.reply.ok();
    Ok(())
}

fn no_touch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    cx.session.no_touch = switch(&args[2])?;
    cx.session.client.set(flag::NO_TOUCH, cx.session.no_touch);
    cx.reply.ok();
    Ok(())
}

fn pause(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let kind = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => PauseKind::All,
        Some(b"write") => PauseKind::Write,
        Some(_) => return Err(Error::Fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    if args.len() > 4 {
        return Err(Error::Syntax);
    }
    let timeout_ms = parse_i64(&args[2]).ok_or(Error::TimeoutNotAnInteger)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Error::TimeoutNegative)?;
    let until_ms = cx.now_ms.checked_add(timeout_ms).filter(|&until_ms| until_ms <= i64::MAX as u64);
    cx.hub.clients.pause(kind, until_ms.ok_or(Error::TimeoutNotAnInteger)?, cx.now_ms);
    cx.reply.ok();
    Ok(())
}

fn unpause(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.hub.clients.unpause();
    cx.reply.ok();
    Ok(())
}

fn reply(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    match args[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            cx.session.reply_mode = ReplyMode::On;
            cx.reply.ok();
        }
        b"off" => cx.session.reply_mode = ReplyMode::Off,
        b"skip" if cx.session.reply_mode == ReplyMode::Off => {}
        b"skip" => cx.session.reply_mode = ReplyMode::SkipNext,
        _ => return Err(Error::Syntax),
    }
    Ok(())
}

fn unblock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let why = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"timeout") => Release::Timeout,
        Some(b"error") => Release::Error,
        Some(_) => return Err(Error::Fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = parse_i64(&args[2]).ok_or(Error::NotAnInteger)?;
    // Who is held back by CLIENT PAUSE is not unblocked by this.
    let waiter = u64::try_from(id).ok().and_then(|id| cx.hub.blocked.of_client(id));
    cx.reply.integer(i64::from(waiter.is_some_and(|waiter| waiter.release(why))));
    Ok(())
}

fn capa(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if args.from(2).iter().any(|word| word == GATEWAY_CAPABILITY.as_bytes()) {
        cx.session.ordered.get_or_insert_default().begin_anew();
    }
    cx.reply.ok();
    Ok(())
}
