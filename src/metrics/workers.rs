//! What each worker counts. One writer (the worker), any number of readers; sums are made when somebody asks.
//!
//! Counters only grow, so that Prometheus sees true counters. CONFIG RESETSTAT does not reset them, which a second
//! writer could not do safely: whoever answers INFO keeps the [`Totals`] of that moment and shows what came since.

use crate::metrics::histogram::{Distribution, Histogram};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer: adding is a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `by`. Only the owning worker may call it; a second writer's additions could be lost.
    #[inline]
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// Puts another number in its place. Only the owning worker may call it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts for one command (subcommands are commands of their own).
#[derive(Debug, Default)]
pub struct CommandStats {
    calls: Count,
    busy_ns: Count,
    rejected: Count,
    failed: Count,
    longest_ns: Count,
    /// Made at the first call that is tracked: most commands are never used.
    latency: OnceLock<Box<Histogram>>,
}

impl CommandStats {
    /// Counts one execution that took `ns`; `tracked` is the parameter `latency-tracking`.
    #[inline]
    pub fn record(&self, ns: u64, tracked: bool) {
        self.calls.add(1);
        self.busy_ns.add(ns);
        if ns > self.longest_ns.get() {
            self.longest_ns.set(ns);
        }
        if tracked {
            self.latency.get_or_init(Box::default).record(ns);
        }
    }

    /// Counts a command that a gate refused before it ran (INFO's `rejected_calls`).
    pub fn reject(&self) {
        self.rejected.add(1);
    }

    /// Counts a command that ran and answered with an error (INFO's `failed_calls`).
    pub fn fail(&self) {
        self.failed.add(1);
    }
}

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $field:ident; )+) => {
        /// One worker's counters. Aligned so that two workers never write to the same cache line (nor to the pair of
        /// lines that the processor fetches at once).
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct WorkerStats {
            $( $(#[doc = $doc])+ pub $field: Count, )+
            commands: Box<[CommandStats]>,
        }

        /// The counters of one or more workers at one moment; plain numbers.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $( $(#[doc = $doc])+ pub $field: u64, )+
            /// By command, indexed by the command's dense id.
            pub commands: Vec<CommandTotals>,
        }

        impl WorkerStats {
            /// Counters at zero, with a row for each of `commands` command ids.
            pub fn new(commands: usize) -> Self {
                Self {
                    $( $field: Count::default(), )+
                    commands: std::iter::repeat_with(CommandStats::default).take(commands).collect(),
                }
            }

            /// Adds this worker's counters to `totals`, without those by command.
            pub fn add_to(&self, totals: &mut Totals) {
                $( totals.$field += self.$field.get(); )+
            }
        }

        impl Totals {
            /// What was counted after `earlier`, an older state of the same workers.
            pub fn since(&self, earlier: &Self) -> Self {
                let mut commands = self.commands.clone();
                for (row, before) in commands.iter_mut().zip(&earlier.commands) {
                    *row = row.since(before);
                }
                Self { $( $field: self.$field.saturating_sub(earlier.$field), )+ commands }
            }
        }
    };
}

counters! {
    /// Reads of keys that were there.
    keyspace_hits;
    /// Reads of keys that were not there.
    keyspace_misses;
    /// Commands executed.
    commands_processed;
    /// Keys changed by commands.
    keys_changed;
    /// Error replies sent.
    error_replies;
    /// Bytes read from clients.
    net_input_bytes;
    /// Bytes written to clients.
    net_output_bytes;
    /// Reads from sockets that gave bytes.
    reads_processed;
    /// Writes to sockets that took bytes.
    writes_processed;
    /// Connections accepted.
    connections_opened;
    /// Connections closed.
    connections_closed;
    /// Connections refused, because there were too many or protected mode forbade them.
    connections_rejected;
    /// Clients closed for having too many unsent replies.
    output_limit_closed;
    /// Clients closed for having too many unread requests.
    query_limit_closed;
    /// Scripts and functions ended by a command, or by the server's end.
    scripts_killed;
    /// Those that went over their limit of memory.
    scripts_out_of_memory;
    /// Those that had written and needed a shard that another kept.
    scripts_in_conflict;
    /// Nanoseconds spent on clients' requests, as opposed to waiting for them.
    busy_ns;
}

impl WorkerStats {
    /// The row of the command with this dense id; `None` above the number given to [`new`](Self::new).
    #[inline]
    pub fn command(&self, id: usize) -> Option<&CommandStats> {
        self.commands.get(id)
    }

    /// Connections that this worker has at the moment.
    pub fn connections(&self) -> u64 {
        // Read in this order, a connection that opens or closes in between cannot make the difference negative.
        let closed = self.connections_closed.get();
        self.connections_opened.get().saturating_sub(closed)
    }
}

/// One command's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandTotals {
    /// Executions.
    pub calls: u64,
    /// Nanoseconds that they took.
    pub busy_ns: u64,
    /// Refused before they ran.
    pub rejected: u64,
    /// Ran and answered with an error.
    pub failed: u64,
    /// The longest execution since the start, in nanoseconds; a reset cannot take it back.
    pub longest_ns: u64,
    /// How long tracked executions took.
    pub latency: Distribution,
}

impl CommandTotals {
    /// Whether the command was seen at all.
    pub fn is_used(&self) -> bool {
        self.calls + self.rejected + self.failed > 0
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            busy_ns: self.busy_ns.saturating_sub(earlier.busy_ns),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            failed: self.failed.saturating_sub(earlier.failed),
            longest_ns: self.longest_ns,
            latency: self.latency.since(&earlier.latency),
        }
    }

    fn add(&mut self, stats: &CommandStats) {
        self.calls += stats.calls.get();
        self.busy_ns += stats.busy_ns.get();
        self.rejected += stats.rejected.get();
        self.failed += stats.failed.get();
        self.longest_ns = self.longest_ns.max(stats.longest_ns.get());
        if let Some(histogram) = stats.latency.get() {
            histogram.add_to(&mut self.latency);
        }
    }
}

impl Totals {
    /// The sum over `workers`, commands included.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a WorkerStats>) -> Self {
        let mut totals = Self::default();
        for worker in workers {
            worker.add_to(&mut totals);
            let rows = totals.commands.len().max(worker.commands.len());
            totals.commands.resize_with(rows, CommandTotals::default);
            for (row, stats) in totals.commands.iter_mut().zip(&worker.commands) {
                row.add(stats);
            }
        }
        totals
    }

    /// Connections open at the moment.
    pub fn connections(&self) -> u64 {
        self.connections_opened.saturating_sub(self.connections_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Totals, WorkerStats};
    use std::sync::Arc;

    #[test]
    fn totals_add_up_over_workers_and_commands() {
        let workers = [WorkerStats::new(3), WorkerStats::new(3)];
        for worker in &workers {
            worker.keyspace_hits.add(5);
            worker.connections_opened.add(2);
            worker.connections_closed.add(1);
            let get = worker.command(1).expect("a row");
            get.record(1_000, true);
            get.record(9_000, true);
            get.fail();
        }
        workers[1].command(2).expect("a row").reject();
        assert!(workers[0].command(3).is_none());
        let totals = Totals::of(&workers);
        assert_eq!((totals.keyspace_hits, totals.connections()), (10, 2));
        let get = &totals.commands[1];
        assert_eq!((get.calls, get.busy_ns, get.failed, get.rejected), (4, 20_000, 2, 0));
        assert_eq!(get.longest_ns, 9_000);
        assert_eq!((get.latency.count(), get.latency.sum_ns), (4, 20_000));
        assert!(!totals.commands[0].is_used() && totals.commands[2].is_used());
    }

    #[test]
    fn a_reset_is_a_difference() {
        let worker = WorkerStats::new(1);
        worker.net_input_bytes.add(100);
        worker.command(0).expect("a row").record(50, true);
        let before = Totals::of([&worker]);
        worker.net_input_bytes.add(7);
        worker.command(0).expect("a row").record(60, false);
        let since = Totals::of([&worker]).since(&before);
        assert_eq!((since.net_input_bytes, since.commands[0].calls, since.commands[0].busy_ns), (7, 1, 60));
        assert!(since.commands[0].latency.is_empty());
    }

    #[test]
    fn readers_see_a_writer_without_a_lock() {
        let worker = Arc::new(WorkerStats::new(1));
        let writer = Arc::clone(&worker);
        let handle = std::thread::spawn(move || {
            for _ in 0..100_000 {
                writer.keyspace_hits.add(1);
            }
        });
        let mut last = 0;
        while last < 100_000 {
            let now = worker.keyspace_hits.get();
            assert!(now >= last);
            last = now;
        }
        handle.join().expect("the writer ends");
    }
}
