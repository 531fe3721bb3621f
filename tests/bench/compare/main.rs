//! Larder side by side with other servers: one command, tables and ratios.
//!
//! ```text
//! cargo bench --bench compare                                   everything (about half an hour)
//! cargo bench --bench compare -- --quick                        everything, small (a few minutes)
//! cargo bench --bench compare -- throughput --rounds 3          one section: throughput, memory, missratio,
//!                                                               growth, expiry, churn, types, pubsub
//! cargo bench --bench compare -- memory --systems larder,redis  only these systems
//! ```
//! It needs two cores, `taskset` and `setpriv` (util-linux), and about 3 GB of memory; peers that are installed
//! (redis-server, memcached) take part. `LARDER_BENCH_POGOCACHE` may name a pogocache binary, `LARDER_BENCH_LARDER`
//! another build of this server. Loopback only; every server is killed and every folder removed at the end.
//! It must never judge by timing in a test: goals are printed as reached or missed, and the exit code is 0 either way.
#![forbid(unsafe_code)]

mod bare;
mod churn;
mod client;
mod expiry;
mod growth;
mod load;
mod machine;
mod memory;
mod missratio;
mod paced;
mod pubsub;
mod report;
mod scripts;
mod server;
mod system;
mod throughput;
#[path = "../traces.rs"]
mod traces;
mod types;
mod wire;

use std::{io, process::ExitCode};

use clap::{Parser, ValueEnum};

use crate::system::{Kind, System};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    Throughput,
    Memory,
    Missratio,
    Growth,
    Expiry,
    Churn,
    Types,
    Pubsub,
    Scripts,
}

/// Compare Larder with other servers on this machine.
#[derive(Parser, Debug)]
pub struct Options {
    /// Sections to run; all of them if none is named
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Fewer keys, rounds and seconds: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Rounds of the throughput section
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Only these workloads of the throughput section, or commands of the sections types and scripts
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Seconds of each throughput run
    #[arg(long)]
    seconds: Option<f64>,
    /// Only these systems, by the names in the tables
    #[arg(long, value_delimiter = ',')]
    systems: Vec<String>,
    /// Given by `cargo bench`, not by `cargo test`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Those of a section's `kinds` that the command line leaves in.
    pub fn chosen(&self, kinds: &[Kind]) -> Vec<Kind> {
        let wanted =
            |kind: &Kind| self.systems.is_empty() || self.systems.iter().any(|name| name == kind.name());
        kinds.iter().copied().filter(wanted).collect()
    }
}

fn run(options: &Options) -> io::Result<()> {
    if let Some(unknown) =
        options.systems.iter().find(|name| !Kind::ALL.iter().any(|kind| kind.name() == **name))
    {
        let names = Kind::ALL.map(Kind::name).join(", ");
        return Err(io::Error::other(format!("no system is called {unknown:?}; there are {names}")));
    }
    machine::print();
    for kind in options.chosen(&[Kind::Larder, Kind::Redis, Kind::Memcached, Kind::Pogocache]) {
        let version = System::available(&[kind]).first().map(System::version);
        println!("{}: {}", kind.name(), version.as_deref().unwrap_or("not installed here, left out"));
    }
    system::pin_self(server::LOAD_CORE)?;
    let mut failed = Vec::new();
    for section in Section::value_variants() {
        if !options.sections.is_empty() && !options.sections.contains(section) {
            continue;
        }
        let outcome = match section {
            Section::Throughput => throughput::run(options),
            Section::Memory => memory::run(options),
            Section::Missratio => missratio::run(options),
            Section::Growth => growth::run(options),
            Section::Expiry => expiry::run(options),
            Section::Churn => churn::run(options),
            Section::Types => types::run(options),
            Section::Pubsub => pubsub::run(options),
            Section::Scripts => scripts::run(options),
        };
        // The sections do not need each other: one that breaks costs its own figures only.
        if let Err(error) = outcome {
            eprintln!("{section:?} broke off: {error}");
            failed.push(format!("{section:?}"));
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(format!("not measured to the end: {}", failed.join(", "))))
    }
}

/// Becomes the bare loop if the arguments say so; returns what it ended with.
fn bare_loop() -> Option<io::Result<()>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, port, value_bytes] = words.as_slice() else {
        return None;
    };
    let (Ok(port), Ok(value_bytes)) = (port.parse(), value_bytes.parse()) else {
        return None;
    };
    (name == bare::SUBCOMMAND).then(|| bare::serve(port, value_bytes))
}

fn main() -> ExitCode {
    let outcome = bare_loop().unwrap_or_else(|| {
        let options = Options::parse();
        // `cargo test --all-targets` starts this too, without `--bench`: nothing may be measured then.
        if !options.bench && options.sections.is_empty() {
            println!("Nothing measured: start it with cargo bench --bench compare.");
            return Ok(());
        }
        run(&options)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}
