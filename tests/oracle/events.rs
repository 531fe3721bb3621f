//! Keyspace events beside redis-server's: the same commands must tell of the same things that happened to the same keys,
//! in the same order. Redis's are read from a subscription, ours where they leave the commands.

use super::families::{self, Family};
use super::maker::Maker;
use super::support::alone::Alone;
use super::support::frame::Frame;
use super::support::line;
use super::support::server::Server;
use super::support::tool;
use super::{SEQUENCE, print_command, setting};
use larder::base::rng::Rng;
use larder::config::Config;
use larder::config::choices::KeyspaceEvents;
use larder::resp::args::OwnedArgs;
use std::sync::{Arc, Mutex, PoisonError};

/// Commands per family, unless `LARDER_TEST_COMMANDS` says otherwise.
const COMMANDS: u64 = 4000;
/// Events that are told at other times since 7.2.
const OF_CONSUMERS: [&str; 2] = ["xgroup-createconsumer", "xgroup-delconsumer"];
/// A channel for the end of a command's events.
const DONE: &str = "that was all";

/// What we tell of a command's doings.
struct Ours {
    alone: Alone,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Ours {
    fn new() -> Ours {
        let config = Config {
            notify_keyspace_events: KeyspaceEvents(KeyspaceEvents::ALL | KeyspaceEvents::KEYEVENT),
            ..Config::default()
        };
        let alone = Alone::new(config);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let listener = Box::new(move |change: &larder::hub::events::Change| {
            let told = format!("{} {} {}", change.db, change.event, change.key.escape_ascii());
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        });
        alone.hub.events.listen(&alone.hub.keyspace, listener);
        Ours { alone, heard }
    }

    fn told(&mut self, command: &[Vec<u8>]) -> Vec<String> {
        self.alone.run(&OwnedArgs::from_slices(command));
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The database, the event and the key of a message to `__keyevent@<db>__:<event>`.
fn told_of(message: &[Frame]) -> Option<String> {
    let [_, _, Frame::Bulk(channel), Frame::Bulk(key)] = message else { return None };
    let channel = String::from_utf8_lossy(channel).into_owned();
    let (db, event) = channel.strip_prefix("__keyevent@")?.split_once("__:")?;
    // Since 7.2 claiming and reading make a consumer whether or not there is anything for it.
    if OF_CONSUMERS.contains(&event) {
        return Some(String::new());
    }
    Some(format!("{db} {event} {}", key.escape_ascii()))
}

/// Whether a command may be run where nobody can wait, and tells the same of itself wherever it runs.
fn fits(command: &[Vec<u8>]) -> bool {
    !command[0].to_ascii_uppercase().starts_with(b"B") || command[0].to_ascii_uppercase().starts_with(b"BIT")
}

fn compare(family: &'static Family) {
    if !tool::is_installed("redis-server", &["--version"]) {
        return;
    }
    let seed = setting("LARDER_TEST_SEED", Rng::from_entropy().next_u64() >> 32);
    println!("LARDER_TEST_SEED={seed}");
    let theirs = Server::start_program("redis-server", &["--notify-keyspace-events", "AE"]);
    let (mut client, mut publisher, mut subscriber) = (theirs.connect(), theirs.connect(), theirs.connect());
    subscriber.line("PSUBSCRIBE __keyevent@*");
    subscriber.cmd(&["SUBSCRIBE", DONE]);
    let mut ours = Ours::new();
    let mut maker = Maker::new(seed, family);
    let mut history: Vec<String> = Vec::new();
    for number in 0..setting("LARDER_TEST_COMMANDS", COMMANDS) {
        let command = if number.is_multiple_of(SEQUENCE as u64) {
            history.clear();
            line::split("FLUSHALL")
        } else {
            maker.command()
        };
        if !fits(&command) {
            continue;
        }
        client.cmd(&command);
        publisher.cmd(&["PUBLISH", DONE, ""]);
        let mut told: Vec<String> = Vec::new();
        loop {
            let message = subscriber.reply();
            match told_of(message.items()) {
                Some(one) => told.push(one),
                None => break,
            }
        }
        history.push(print_command(&command));
        let (recent, shown) = (history.len().saturating_sub(20), ours.told(&command));
        let told: Vec<String> = told.into_iter().filter(|one| !one.is_empty()).collect();
        let of_consumers = |one: &String| OF_CONSUMERS.iter().any(|event| one.contains(event));
        let shown: Vec<String> = shown.into_iter().filter(|one| !of_consumers(one)).collect();
        assert_eq!(shown, told, "LARDER_TEST_SEED={seed}: ours, redis's\n{}", history[recent..].join("\n"));
    }
}

#[test]
fn events_of_strings_are_those_of_redis() {
    compare(&families::STRINGS);
}

#[test]
fn events_of_hashes_are_those_of_redis() {
    compare(&families::HASHES);
}

#[test]
fn events_of_lists_are_those_of_redis() {
    compare(&families::LISTS);
}

#[test]
fn events_of_sets_are_those_of_redis() {
    compare(&families::SETS);
}

#[test]
fn events_of_sorted_sets_are_those_of_redis() {
    compare(&families::SORTED_SETS);
}

#[test]
fn events_of_bitmaps_are_those_of_redis() {
    compare(&families::BITMAPS);
}

#[test]
fn events_of_hyperloglogs_are_those_of_redis() {
    compare(&families::HYPERLOGLOGS);
}

#[test]
fn events_of_places_are_those_of_redis() {
    compare(&families::PLACES);
}

#[test]
fn events_of_streams_are_those_of_redis() {
    compare(&families::STREAMS);
}
