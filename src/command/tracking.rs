//! CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR: caches that clients keep, and what of them is no longer true.
//!
//! `hub::tracking` knows who has read what; here is when it is asked. What a command read is remembered, and what it
//! changed is collected, under its shards' locks ([`remember`], [`collect`]); clients are told after the reply is
//! written and the locks are released ([`tell`]), so that a client's own notices stand behind its reply, and behind
//! EXEC's after a transaction.
//!
//! A connection to the gateway cannot track: nobody tells this node what changes at others.

use crate::base::num::parse_i64;
use crate::command::client::{OWN, switch};
use crate::command::context::Cx;
use crate::command::execute::Progress;
use crate::command::keys;
use crate::command::session::{Caching, CachingMode, ReplyMode, Session};
use crate::command::spec::arg::Arg;
use crate::command::spec::{Group, Spec};
use crate::command::table::Entry;
use crate::config::Config;
use crate::hub::clients::{Client, flag};
use crate::hub::tracking::{Audience, Options};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use std::sync::atomic::Ordering;

/// CLIENT TRACKING.
pub const TRACKING: Spec = Spec::new("tracking", tracking)
    .arity(-3)
    .flags(OWN)
    .group(Group::Connection)
    .since("6.0.0")
    .complexity("O(1), and O(N) in the number of prefixes.")
    .summary("Switches notices of keys that the client has cached on or off.")
    .args(&[
        Arg::one_of("status", &[Arg::flag("on", "ON"), Arg::flag("off", "OFF")]),
        Arg::integer("client-id").token("REDIRECT").optional(),
        Arg::string("prefix").token("PREFIX").optional().multiple_token(),
        Arg::flag("bcast", "BCAST").optional(),
        Arg::flag("optin", "OPTIN").optional(),
        Arg::flag("optout", "OPTOUT").optional(),
        Arg::flag("noloop", "NOLOOP").optional(),
    ])
    .reply(Shape::Ok)
    .finish();

/// CLIENT CACHING.
pub const CACHING: Spec = Spec::new("caching", caching)
    .arity(3)
    .flags(OWN)
    .group(Group::Connection)
    .since("6.0.0")
    .complexity("O(1).")
    .summary("Chooses whether the keys of the next command or transaction are tracked.")
    .args(&[Arg::one_of("mode", &[Arg::flag("yes", "YES"), Arg::flag("no", "NO")])])
    .reply(Shape::Ok)
    .finish();

/// CLIENT TRACKINGINFO.
pub const TRACKINGINFO: Spec = Spec::new("trackinginfo", tracking_info)
    .arity(2)
    .flags(OWN)
    .group(Group::Connection)
    .since("6.2.0")
    .complexity("O(1).")
    .summary("Describes client-side caching on this connection.")
    .reply(Shape::Map(&Shape::Bulk, &Shape::Any))
    .finish();

/// CLIENT GETREDIR.
pub const GETREDIR: Spec = Spec::new("getredir", get_redir)
    .arity(2)
    .flags(OWN)
    .group(Group::Connection)
    .since("6.0.0")
    .complexity("O(1).")
    .summary("Tells which connection gets this one's notices for client-side caching; -1 without them.")
    .reply(Shape::Integer)
    .finish();

/// What CLIENT TRACKING was given behind ON or OFF.
#[derive(Default)]
struct Wanted<'a> {
    options: Options,
    optin: bool,
    optout: bool,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    fn parse(cx: &Cx<'_>, args: Args<'a>) -> Result<Self, Error> {
        let mut wanted = Self::default();
        let mut at = 3;
        while let Some(option) = args.get(at) {
            match (option.to_ascii_lowercase().as_slice(), args.get(at + 1)) {
                (b"redirect", Some(id)) => {
                    if wanted.options.redirect != 0 {
                        return Err(Error::err("A client can only redirect to a single other client"));
                    }
                    let id = parse_i64(id).ok_or(Error::NotAnInteger)?;
                    let known = u64::try_from(id).ok().filter(|&id| cx.hub.clients.get(id).is_some());
                    wanted.options.redirect =
                        known.ok_or(Error::Fixed("ERR The client ID you want redirect to does not exist"))?;
                    at += 1;
                }
                (b"prefix", Some(prefix)) => {
                    wanted.prefixes.push(prefix);
                    at += 1;
                }
                (b"bcast", _) => wanted.options.bcast = true,
                (b"optin", _) => wanted.optin = true,
                (b"optout", _) => wanted.optout = true,
                (b"noloop", _) => wanted.options.noloop = true,
                _ => return Err(Error::Syntax),
            }
            at += 1;
        }
        Ok(wanted)
    }

    fn mode(&self) -> CachingMode {
        match (self.optin, self.optout) {
            (true, _) => CachingMode::OptIn,
            (_, true) => CachingMode::OptOut,
            _ => CachingMode::All,
        }
    }

    /// Whether the options go together, and with how the client tracks already.
    fn check(&self, cx: &Cx<'_>) -> Result<(), Error> {
        let Self { options, optin, optout, prefixes } = self;
        let (client, caching) = (&cx.session.client, &cx.session.caching);
        let is = |mode| client.has(flag::TRACKING) && caching.mode == mode;
        if !options.bcast && !prefixes.is_empty() {
            return Err(Error::Fixed("ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if client.has(flag::TRACKING) && client.has(flag::TRACKING_BCAST) != options.bcast {
            return Err(Error::Fixed(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                 re-enabling it with a different mode.",
            ));
        }
        if options.bcast && (*optin || *optout) {
            return Err(Error::Fixed("ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if *optin && *optout {
            return Err(Error::Fixed("ERR You can't specify both OPTIN mode and OPTOUT mode"));
        }
        if *optin && is(CachingMode::OptOut) || *optout && is(CachingMode::OptIn) {
            return Err(Error::Fixed(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                 re-enabling it with a different mode.",
            ));
        }
        if options.bcast {
            check_prefixes(prefixes, &cx.hub.tracking.prefixes_of(client))?;
        }
        if cx.session.gateway {
            return Err(Error::Fixed(
                "ERR CLIENT TRACKING is not served by the gateway, which does not hear of changes at other nodes: \
                 connect to the nodes themselves",
            ));
        }
        Ok(())
    }
}

/// No two prefixes of a client may say the same about a key.
fn check_prefixes(prefixes: &[&[u8]], known: &[Box<[u8]>]) -> Result<(), Error> {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let refused = |new: &[u8], which: &str, other: &[u8]| {
        Err(Error::err(format_args!(
            "Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client must not overlap.",
            String::from_utf8_lossy(new),
            String::from_utf8_lossy(other)
        )))
    };
    for (at, new) in prefixes.iter().enumerate() {
        if let Some(other) = known.iter().find(|other| overlap(other, new)) {
            return refused(new, "an existing", other);
        }
        if let Some(other) = prefixes.iter().skip(at + 1).find(|other| overlap(other, new)) {
            return refused(new, "another provided", other);
        }
    }
    Ok(())
}

fn tracking(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let wanted = Wanted::parse(cx, args)?;
    if switch(&args[2])? {
        wanted.check(cx)?;
        start(cx, &wanted);
    } else {
        stop(cx);
    }
    cx.reply.ok();
    Ok(())
}

fn start(cx: &mut Cx<'_>, wanted: &Wanted<'_>) {
    if !cx.session.client.has(flag::TRACKING) {
        // What changed before is not for this client, though the table may still know it.
        collect(cx);
        tell(cx, false);
    }
    let (tracking, client) = (&cx.hub.tracking, &cx.session.client);
    let number = tracking.start(client, wanted.options);
    if wanted.options.bcast {
        let all: &[&[u8]] = &[b""];
        let prefixes = if wanted.prefixes.is_empty() { all } else { &wanted.prefixes };
        prefixes.iter().for_each(|prefix| tracking.add_prefix(client, prefix));
    }
    let given = cx.session.caching.given;
    cx.session.caching = Caching { on: !wanted.options.bcast, mode: wanted.mode(), given, number };
    // Within a transaction all of them are locked ([`arms`]).
    cx.data.each_shard(|_, shard| shard.set_noting(true));
}

/// Ends tracking, as CLIENT TRACKING OFF and RESET do.
pub fn stop(cx: &mut Cx<'_>) {
    cx.hub.tracking.stop(&cx.session.client);
    cx.session.caching = Caching::default();
}

/// Whether a command goes through all shards by itself, so that a transaction must hold them all.
pub fn arms(entry: &Entry) -> bool {
    entry.spec.name == TRACKING.name && entry.spec.group == Group::Connection
}

fn caching(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    if !cx.session.client.has(flag::TRACKING) {
        return Err(Error::err(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    }
    let (mode, refusal) = match args[2].to_ascii_lowercase().as_slice() {
        b"yes" => (
            CachingMode::OptIn,
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ),
        b"no" => (
            CachingMode::OptOut,
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ),
        _ => return Err(Error::Syntax),
    };
    if cx.session.caching.mode != mode {
        return Err(Error::Fixed(refusal));
    }
    cx.session.caching.given = true;
    cx.reply.ok();
    Ok(())
}

fn tracking_info(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let (client, caching) = (&cx.session.client, cx.session.caching);
    let mode = if client.has(flag::TRACKING) { caching.mode } else { CachingMode::All };
    let words = [
        ("on", client.has(flag::TRACKING)),
        ("off", !client.has(flag::TRACKING)),
        ("bcast", client.has(flag::TRACKING_BCAST)),
        ("optin", mode == CachingMode::OptIn),
        ("caching-yes", mode == CachingMode::OptIn && caching.given),
        ("optout", mode == CachingMode::OptOut),
        ("caching-no", mode == CachingMode::OptOut && caching.given),
        ("noloop", client.has(flag::TRACKING_NOLOOP)),
        ("broken_redirect", client.has(flag::TRACKING_BROKEN)),
    ];
    let reply = &mut *cx.reply;
    reply.map(3);
    reply.bulk_str("flags");
    reply.set(words.iter().filter(|(_, applies)| *applies).count());
    words.iter().filter(|(_, applies)| *applies).for_each(|(word, _)| reply.bulk_str(word));
    reply.bulk_str("redirect");
    reply.integer(redirect_of(client));
    reply.bulk_str("prefixes");
    let prefixes = cx.hub.tracking.prefixes_of(client);
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}

fn get_redir(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    cx.reply.integer(redirect_of(&cx.session.client));
    Ok(())
}

/// The id of the client that gets a client's notices: 0 for itself, -1 if it does not track.
pub fn redirect_of(client: &Client) -> i64 {
    if client.has(flag::TRACKING) { client.redirect.load(Ordering::Relaxed) as i64 } else { -1 }
}

/// Remembers which keys a command that only reads has read, for a client that tracks in default mode; under their
/// shards' locks. Of scripts, the commands count that they run.
pub fn remember(cx: &mut Cx<'_>, entry: &Entry, args: Args<'_>) {
    if !cx.session.caching.applies() || entry.spec.group == Group::Scripting {
        return;
    }
    // What was removed because it is due counts as changed before it was read.
    collect(cx);
    let Cx { hub, session, data, .. } = cx;
    // A command whose keys cannot be told has read none.
    let _ = keys::for_each_key(entry.spec, args, |at, _| {
        let Some(bytes) = args.get(at) else { return };
        hub.tracking.remember(session.caching.number, &data.key(bytes));
    });
}

/// The bound of the table; 0 for none.
fn max_keys(config: &Config) -> usize {
    usize::try_from(config.tracking_table_max_keys).unwrap_or(usize::MAX)
}

/// Collects what changed in the locked shards, while anybody tracks.
pub fn collect(cx: &mut Cx<'_>) {
    let Cx { hub, worker, data, .. } = cx;
    let (noted, invalid) = (&mut worker.noted, &mut worker.invalid);
    data.each_locked(|number, shard| hub.tracking.collect(number, shard, noted, invalid));
}

/// Tells clients what a command changed, what changed by itself meanwhile, and what it pushed out of the table; better with no lock held. The client's own
/// notices go behind its reply, unless replies are off or `is_answered` says that it comes later.
pub fn tell(cx: &mut Cx<'_>, is_answered: bool) {
    let Cx { hub, worker, session, reply, now_ms, .. } = cx;
    if hub.keyspace.has_noted() {
        hub.tracking.collect_left_over(&hub.keyspace, &mut worker.invalid);
    }
    hub.tracking.make_room(max_keys(worker.config()), &mut worker.invalid);
    if worker.invalid.is_empty() {
        return;
    }
    let limits = worker.config().client_output_buffer_limit;
    let direct = is_answered && session.reply_mode == ReplyMode::On;
    let own = direct.then_some((session.client.id, &mut **reply));
    let mut audience = Audience { clients: &hub.clients, limits, now_ms: *now_ms, own };
    hub.tracking.tell(&mut worker.invalid, Some(session.client.id), &mut audience);
}

/// What CLIENT CACHING has announced holds for one command other than CLIENT, or for one transaction.
#[cold]
pub fn end_announcement(session: &mut Session, args: Args<'_>, progress: Progress) {
    let ran = matches!(progress, Progress::Done | Progress::Waits);
    if ran && session.transaction.is_none() && !args[0].eq_ignore_ascii_case(b"client") {
        session.caching.given = false;
    }
}
