//! INFO: the state of the server in sections of `field:value` lines, as every tool reads them.
//!
//! Order matters to some: redis-cli takes the first occurrence of a field's name in the whole text, so `used_memory:`
//! stands before its relatives and no value may hold another field's name.

mod own;
mod sections;

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{LOADING, STALE};
use crate::command::spec::{Group, Spec, category};
use crate::metrics::workers::Totals;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;
use crate::store::usage::Removals;

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

/// When a section is shown without being named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Always,
    WithAll,
    WithEverything,
}

/// A section: its name, when it is shown, and what writes it.
struct Section {
    name: &'static str,
    title: &'static str,
    shown: Shown,
    write: fn(&mut Text, &mut Facts<'_, '_>),
}

const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", shown: Shown::Always, write: sections::server },
    Section { name: "clients", title: "Clients", shown: Shown::Always, write: sections::clients },
    Section { name: "memory", title: "Memory", shown: Shown::Always, write: sections::memory },
    Section { name: "persistence", title: "Persistence", shown: Shown::Always, write: sections::persistence },
    Section { name: "stats", title: "Stats", shown: Shown::Always, write: sections::stats },
    Section { name: "replication", title: "Replication", shown: Shown::Always, write: sections::replication },
    Section { name: "cpu", title: "CPU", shown: Shown::Always, write: sections::cpu },
    Section { name: "modules", title: "Modules", shown: Shown::Always, write: |_, _| {} },
    Section {
        name: "commandstats",
        title: "Commandstats",
        shown: Shown::WithAll,
        write: sections::commandstats,
    },
    Section { name: "errorstats", title: "Errorstats", shown: Shown::Always, write: sections::errorstats },
    Section {
        name: "latencystats",
        title: "Latencystats",
        shown: Shown::WithAll,
        write: sections::latencystats,
    },
    Section { name: "cluster", title: "Cluster", shown: Shown::Always, write: sections::cluster },
    Section { name: "keyspace", title: "Keyspace", shown: Shown::Always, write: sections::keyspace },
    Section { name: "larder", title: "Larder", shown: Shown::WithEverything, write: own::write },
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
    let most = if is("everything") {
        Some(Shown::WithEverything)
    } else if is("all") {
        Some(Shown::WithAll)
    } else {
        (asked.is_empty() || is("default")).then_some(Shown::Always)
    };
    let totals = Totals::of(cx.hub.stats());
    let (recent, removals) = cx.hub.baseline.since(&totals, cx.data.removals());
    let mut facts = Facts { cx, totals, recent, removals };
    let mut text = Text::default();
    for section in SECTIONS {
        if !(most.is_some_and(|most| section.shown <= most) || is(section.name)) {
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
