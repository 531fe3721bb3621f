//! LATENCY: the monitor of slow events, and the distribution of every command's execution time.
//!
//! Events are noted where they are measured: commands here, the background's in the worker's tick, making room in the
//! gate for memory.

use std::fmt::Write;

use crate::command::context::Cx;
use crate::command::docs::help_row;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{ADMIN, FAST, Flags, LOADING, NOSCRIPT, STALE};
use crate::command::spec::{Group, Handler, Spec};
use crate::command::table::{self, Entry};
use crate::hub::latency::{Event, Sample};
use crate::metrics::histogram::Distribution;
use crate::metrics::workers::Totals;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// The family's rows.
pub const COMMANDS: &[Spec] = &[Spec::container("latency", SUBCOMMANDS)
    .group(Group::Server)
    .since("2.8.13")
    .complexity("Depends on the subcommand.")
    .summary("Looks at what was slow, and at how long commands take.")
    .finish()];

const FLAGS: Flags = ADMIN | NOSCRIPT | LOADING | STALE;
const TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
/// Rows of the picture that LATENCY GRAPH draws.
const GRAPH_ROWS: u64 = 8;
/// The newest samples that it draws, one a column.
const GRAPH_COLUMNS: usize = 80;

const SUBCOMMANDS: &[Spec] = &[
    look(
        "latest",
        2,
        latest,
        "O(N), N the number of events.",
        "Gives the latest sample and the longest time of every event.",
        &[],
        Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Integer, Shape::Integer, Shape::Integer])),
    ),
    look(
        "history",
        3,
        history,
        "O(N), N the number of samples.",
        "Gives the samples of an event, oldest first: time in seconds and duration in milliseconds.",
        &[Arg::string("event")],
        Shape::Array(&Shape::Tuple(&[Shape::Integer, Shape::Integer])),
    ),
    Spec::new("reset", reset)
        .arity(-2)
        .flags(FLAGS)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .group(Group::Server)
        .since("2.8.13")
        .complexity("O(1).")
        .summary("Forgets the samples of the events named, or of all; gives their number.")
        .args(&[Arg::string("event").optional().multiple()])
        .reply(Shape::Integer)
        .finish(),
    look(
        "doctor",
        2,
        doctor,
        "O(N), N the number of samples.",
        "Tells in words what was slow and what can be done about it.",
        &[],
        Shape::Verbatim,
    ),
    look(
        "graph",
        3,
        graph,
        "O(N), N the number of samples.",
        "Draws the samples of an event.",
        &[Arg::string("event")],
        Shape::Verbatim,
    ),
    Spec::new("histogram", histogram)
        .arity(-2)
        .flags(FLAGS)
        .tips(TIPS)
        .group(Group::Server)
        .since("7.0.0")
        .complexity("O(N), N the number of commands.")
        .summary("Gives, by command, how many executions lasted up to each power of two of a microsecond.")
        .args(&[Arg::string("command").optional().multiple()])
        .reply(Shape::Map(&Shape::Bulk, &Shape::Map(&Shape::Bulk, &Shape::Any)))
        .finish(),
    help_row("2.8.13", Group::Server, 0),
];

const fn look(
    name: &'static str,
    arity: i32,
    handler: Handler,
    complexity: &'static str,
    summary: &'static str,
    args: &'static [Arg],
    shape: Shape,
) -> Spec {
    Spec::new(name, handler)
        .arity(arity)
        .flags(FLAGS)
        .tips(TIPS)
        .group(Group::Server)
        .since("2.8.13")
        .complexity(complexity)
        .summary(summary)
        .args(args)
        .reply(shape)
        .finish()
}

/// Puts a command into the latency monitor if it took as long as `latency-monitor-threshold` says.
#[inline]
pub fn note(cx: &mut Cx<'_>, entry: &Entry, took_ns: u64) {
    let threshold_ms = cx.worker.config().latency_monitor_threshold;
    let event = if entry.spec.has(FAST) { "fast-command" } else { "command" };
    cx.hub.latency.note(event, threshold_ms, took_ns, cx.now_ms);
}

fn latest(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let events = cx.hub.latency.events();
    cx.reply.array(events.len());
    for event in &events {
        let last = newest(event);
        cx.reply.array(4);
        cx.reply.bulk_str(event.name);
        cx.reply.integer(last.at_seconds as i64);
        cx.reply.integer(last.took_ms as i64);
        cx.reply.integer(event.longest_ms as i64);
    }
    Ok(())
}

fn newest(event: &Event) -> Sample {
    event.samples.back().copied().unwrap_or(Sample { at_seconds: 0, took_ms: 0 })
}

fn history(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let samples = cx.hub.latency.event(&args[2]).map(|event| event.samples).unwrap_or_default();
    cx.reply.array(samples.len());
    for sample in &samples {
        cx.reply.array(2);
        cx.reply.integer(sample.at_seconds as i64);
        cx.reply.integer(sample.took_ms as i64);
    }
    Ok(())
}

fn reset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let named = args.from(2);
    let forgotten = cx.hub.latency.reset(|event| {
        args.len() == 2 || named.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes()))
    });
    cx.reply.integer(forgotten as i64);
    Ok(())
}

fn doctor(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    let threshold_ms = cx.worker.config().latency_monitor_threshold;
    let events = cx.hub.latency.events();
    let mut text = String::new();
    if threshold_ms == 0 {
        text.push_str(
            "Nothing is monitored: latency-monitor-threshold is 0. CONFIG SET latency-monitor-threshold 10 \
             notes what takes 10 ms and more.\n",
        );
    } else if events.is_empty() {
        let _ = writeln!(text, "Nothing took {threshold_ms} ms or more since the last reset.");
    }
    for event in &events {
        let count = event.samples.len() as u64;
        let mean_ms = event.samples.iter().map(|sample| sample.took_ms).sum::<u64>() / count.max(1);
        let ago_s = (cx.now_ms / 1000).saturating_sub(newest(event).at_seconds);
        let _ = writeln!(
            text,
            "{}: slow in {count} seconds, last {ago_s} s ago, {mean_ms} ms on average, {} ms at most. {}",
            event.name,
            event.longest_ms,
            advice(event.name)
        );
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn advice(event: &str) -> &'static str {
    match event {
        "command" => {
            "SLOWLOG GET shows the slow commands; use SCAN for KEYS, smaller batches, UNLINK for DEL."
        }
        "fast-command" => {
            "These do little work each: the machine is short of processor time, or a slow command holds the same \
             shard (SLOWLOG GET)."
        }
        "expire-cycle" => "Many keys fell due at once; spread their times to live.",
        "eviction-cycle" => "Memory is full and writes are large; raise maxmemory or write smaller values.",
        _ => "",
    }
}

/// A column for each sample, oldest first, as high as its share of the longest.
fn graph(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let Some(event) = cx.hub.latency.event(&args[2]) else {
        let name = String::from_utf8_lossy(&args[2]);
        return Err(Error::err(format_args!("No samples available for event '{name}'")));
    };
    let left_out = event.samples.len().saturating_sub(GRAPH_COLUMNS);
    let shown: Vec<Sample> = event.samples.iter().skip(left_out).copied().collect();
    let highest_ms = shown.iter().map(|sample| sample.took_ms).max().unwrap_or(0).max(1);
    let lowest_ms = shown.iter().map(|sample| sample.took_ms).min().unwrap_or(0);
    let mut text = format!("{} - high {highest_ms} ms, low {lowest_ms} ms\n\n", event.name);
    for row in (1..=GRAPH_ROWS).rev() {
        let height = |sample: &Sample| (sample.took_ms * GRAPH_ROWS).div_ceil(highest_ms);
        let line: String = shown.iter().map(|sample| if height(sample) >= row { '#' } else { ' ' }).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let ago_s =
        |at: Option<&Sample>| at.map_or(0, |sample| (cx.now_ms / 1000).saturating_sub(sample.at_seconds));
    let (first_s, last_s) = (ago_s(shown.first()), ago_s(shown.last()));
    let _ = writeln!(text, "{} seconds with samples, from {first_s} s ago to {last_s} s ago", shown.len());
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn histogram(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let totals = Totals::of(cx.hub.stats());
    let (recent, _) = cx.hub.baseline.since(&totals, Default::default());
    let mut wanted: Vec<&Entry> = Vec::new();
    if args.len() == 2 {
        wanted.extend(table::entries());
    }
    for name in args.from(2).iter() {
        let Some(entry) = table::find_full(name) else { continue };
        wanted.push(entry);
        wanted.extend(table::subcommands(entry));
    }
    let mark = cx.reply.deferred_array();
    let mut shown = 0;
    for entry in wanted {
        let Some(row) = recent.commands.get(entry.id).filter(|row| !row.latency.is_empty()) else { continue };
        cx.reply.bulk_str(&entry.full_name);
        write_distribution(cx, &row.latency);
        shown += 1;
    }
    cx.reply.close_map(mark, shown);
    Ok(())
}

/// Only bounds at which the count rises, as in Redis.
fn write_distribution(cx: &mut Cx<'_>, latency: &Distribution) {
    let mut rows = latency.powers_of_two();
    rows.dedup_by_key(|(_, up_to)| *up_to);
    cx.reply.map(2);
    cx.reply.bulk_str("calls");
    cx.reply.integer(latency.count() as i64);
    cx.reply.bulk_str("histogram_usec");
    cx.reply.map(rows.len());
    for (bound_us, up_to) in rows {
        cx.reply.integer(bound_us as i64);
        cx.reply.integer(up_to as i64);
    }
}
