//! Log lines: where they go, what they look like, and which are written. The level can be changed at run time.
//!
//! A line is written by one call to an appending file, so that lines of several threads do not mix. Lines are for
//! operators, never for control flow; nothing that a client sent as a value is logged.

use crate::config::choices::{LogFormat, LogLevel};
use crate::config::{Config, store::Listener};
use std::fs::OpenOptions;
use std::io;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Changes the level of the running log.
#[derive(Clone, Debug)]
pub struct LogControl {
    level: reload::Handle<Targets, Registry>,
}

impl LogControl {
    /// From now on, writes lines of `level` and of what matters more.
    pub fn set_level(&self, level: LogLevel) -> Result<(), String> {
        self.level.reload(filter(level)).map_err(|error| error.to_string())
    }

    /// What makes CONFIG SET loglevel take effect; to be given to `ConfigStore::on_change`.
    pub fn listener(self) -> Listener {
        Box::new(move |old, new| {
            if old.loglevel == new.loglevel {
                return Ok(());
            }
            self.set_level(new.loglevel).map_err(|why| ("loglevel", why))
        })
    }
}

/// Starts the process's log as `config` says; once in a process. An error says what cannot be opened.
pub fn start(config: &Config) -> Result<LogControl, String> {
    let writer = match config.logfile.as_str() {
        "" => BoxMakeWriter::new(io::stdout),
        path => {
            let file =
                OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                    format!("cannot open the log file {path} (parameter logfile): {error}")
                })?;
            BoxMakeWriter::new(file)
        }
    };
    let (filter, level) = reload::Layer::new(filter(config.loglevel));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    let lines = match config.logformat {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| format!("cannot start the log: {error}"))?;
    Ok(LogControl { level })
}

/// Libraries that log each message that fails; what matters of it is said by those who use them.
const TALKATIVE: &[&str] = &["openraft", "chitchat", "hickory_resolver", "hickory_net", "hickory_proto"];

fn filter(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Debug => (LevelFilter::TRACE, LevelFilter::INFO),
        LogLevel::Verbose => (LevelFilter::DEBUG, LevelFilter::OFF),
        LogLevel::Notice => (LevelFilter::INFO, LevelFilter::OFF),
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Nothing => (LevelFilter::OFF, LevelFilter::OFF),
    };
    let filter = Targets::new().with_default(ours);
    TALKATIVE.iter().fold(filter, |filter, library| filter.with_target(*library, theirs))
}
