//! INFO: the state of the server in sections of `field:value` lines, as every tool reads them.
//!
//! Order matters to some: redis-cli takes the first occurrence of a field's name in the whole text, so `used_memory:`
//! stands before its relatives and no value may hold another field's name.

mod sections;

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{LOADING, STALE};
use crate::command::spec::{Group, Spec, category};
use crate::metrics::workers::Totals;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::db::Removals;

/// The version of Redis whose commands and replies are spoken.
pub const REDIS_VERSION: &str = "7.4.0";

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::new("info", info)
    .arity(-1)
    .flags(LOADING | STALE)
    .categories(category::DANGEROUS)
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
    .group(Group::Server)
    .since("1.0.0")
    .complexity("O(1).")
    .summary("Tells about the server: memory, clients, counters, keys.")
    .history(&[("7.0.0", "Several sections may be named.")])
    .args(&[Arg::string("section").optional().multiple()])
    .reply(Shape::Verbatim)
    .finish()];

/// A section: its name, whether it is shown without being asked for, and what writes it.
struct Section {
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&mut Text, &mut Facts<'_, '_>),
}

const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", default: true, write: sections::server },
    Section { name: "clients", title: "Clients", default: true, write: sections::clients },
    Section { name: "memory", title: "Memory", default: true, write: sections::memory },
    Section { name: "persistence", title: "Persistence", default: true, write: sections::persistence },
    Section { name: "stats", title: "Stats", default: true, write: sections::stats },
    Section { name: "replication", title: "Replication", default: true, write: sections::replication },
    Section { name: "cpu", title: "CPU", default: true, write: sections::cpu },
    Section { name: "modules", title: "Modules", default: true, write: |_, _| {} },
    Section { name: "commandstats", title: "Commandstats", default: false, write: sections::commandstats },
    Section { name: "errorstats", title: "Errorstats", default: true, write: sections::errorstats },
    Section { name: "latencystats", title: "Latencystats", default: false, write: sections::latencystats },
    Section { name: "cluster", title: "Cluster", default: true, write: sections::cluster },
    Section { name: "keyspace", title: "Keyspace", default: true, write: sections::keyspace },
];

/// What the sections are written from, collected once.
struct Facts<'a, 'b> {
    cx: &'a mut Cx<'b>,
    /// Counters since the start, and since CONFIG RESETSTAT.
    totals: Totals,
    recent: Totals,
    removals: Removals,
}

/// `field:value` lines.
#[derive(Default)]
struct Text {
    text: String,
}

impl Text {
    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = std::fmt::Write::write_fmt(&mut self.text, format_args!("{name}:{value}\r\n"));
    }
}

fn info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let asked: Vec<String> =
        args.from(1).iter().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let is = |word: &str| asked.iter().any(|name| name == word);
    let everything = is("all") || is("everything");
    let default = asked.is_empty() || is("default");
    let totals = Totals::of(cx.hub.workers.iter().map(AsRef::as_ref));
    let (recent, removals) = cx.hub.baseline.since(&totals, cx.hub.keyspace.removals());
    let mut facts = Facts { cx, totals, recent, removals };
    let mut text = Text::default();
    for section in SECTIONS {
        if !(everything || default && section.default || is(section.name)) {
            continue;
        }
        if !text.text.is_empty() {
            text.text.push_str("\r\n");
        }
        text.text.push_str("# ");
        text.text.push_str(section.title);
        text.text.push_str("\r\n");
        (section.write)(&mut text, &mut facts);
    }
    facts.cx.reply.verbatim("txt", text.text.as_bytes());
    Ok(())
}
