//! Keyspace events that no command names: keys that are made, that expire, that are evicted, reads of what is not there;
//! and that nothing is told to nobody. What commands tell is compared with redis-server in `tests/oracle`.

mod support;

use larder::config::Config;
use larder::config::choices::KeyspaceEvents;
use larder::resp::args::OwnedArgs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use support::alone::Alone;

/// Longest wait for a key to fall due.
const LIMIT: Duration = Duration::from_secs(30);

/// A server, and what it told.
struct Told {
    alone: Alone,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Told {
    fn of(classes: u32) -> Told {
        let config = Config { notify_keyspace_events: KeyspaceEvents(classes), ..Config::default() };
        let alone = Alone::new(config);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let listener = Box::new(move |change: &larder::hub::events::Change| {
            let told = format!("{} {}", change.event, change.key.escape_ascii());
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        });
        alone.hub.events.listen(&alone.hub.keyspace, listener);
        Told { alone, heard }
    }

    fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(!self.alone.run(&OwnedArgs::from_slices(&words)), "{line}");
        self.take()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[test]
fn keys_that_are_made_and_reads_in_vain_are_told_where_asked_for() {
    let mut told = Told::of(KeyspaceEvents::ALL | KeyspaceEvents::NEW | KeyspaceEvents::MISS);
    assert_eq!(told.run("SET k v"), ["new k", "set k"]);
    assert_eq!(told.run("SET k w"), ["set k"]);
    assert_eq!(told.run("GET none"), ["keymiss none"]);
    assert_eq!(told.run("RPUSH l a b"), ["new l", "rpush l"]);
    assert_eq!(told.run("LPOP l 2"), ["lpop l", "del l"]);
    assert_eq!(told.run("COPY k copy"), ["new copy", "copy_to copy"]);
    // Without their letters neither is.
    let mut told = Told::of(KeyspaceEvents::ALL);
    assert_eq!(told.run("SET k v"), ["set k"]);
    assert!(told.run("GET none").is_empty());
}

#[test]
fn keys_that_expire_are_told_by_whoever_finds_them() {
    let mut told = Told::of(KeyspaceEvents::ALL);
    told.run("SET read v PX 1");
    let began = Instant::now();
    loop {
        match told.run("GET read").as_slice() {
            [] => assert!(began.elapsed() < LIMIT, "it never falls due"),
            found => break assert_eq!(found, ["expired read"]),
        }
        thread::sleep(Duration::from_millis(1));
    }
    // What nobody asks for is found by the background work.
    told.run("SET swept v PX 1");
    let hub = Arc::clone(&told.alone.hub);
    while told.heard.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        assert!(began.elapsed() < LIMIT, "it is never swept");
        for shard in 0..hub.keyspace.shards() {
            hub.keyspace.sweep(shard, hub.clock.wall_ms(), true);
        }
        hub.events.publish_told(&hub.keyspace);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(told.take(), ["expired swept"]);
}

#[test]
fn keys_that_are_evicted_are_told() {
    let mut told = Told::of(KeyspaceEvents::EVICTED);
    told.run("CONFIG SET maxmemory 4mb");
    let value = "v".repeat(1000);
    let mut evicted = Vec::new();
    for number in 0..100_000 {
        evicted = told.run(&format!("SET key:{number} {value}"));
        told.alone.hub.events.publish_told(&told.alone.hub.keyspace);
        evicted.extend(told.take());
        if !evicted.is_empty() {
            break;
        }
    }
    assert!(!evicted.is_empty() && evicted.iter().all(|one| one.starts_with("evicted key:")), "{evicted:?}");
}

#[test]
fn nothing_is_noted_while_nobody_is_subscribed_to_events() {
    let config =
        Config { notify_keyspace_events: KeyspaceEvents(KeyspaceEvents::ALL | 3), ..Config::default() };
    let mut alone = Alone::new(config);
    let hub = Arc::clone(&alone.hub);
    let mut run = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(!alone.run(&OwnedArgs::from_slices(&words)), "{line}");
        hub.events.wanted() != 0
    };
    for (line, is_heard) in [
        ("SET k v", false),
        ("SUBSCRIBE news __keyspace", false),
        ("PSUBSCRIBE news* user:?", false),
        ("SSUBSCRIBE __keyspace@0__:k", false),
        ("SUBSCRIBE __keyspace@0__:k", true),
        ("PSUBSCRIBE __key*", true),
        ("UNSUBSCRIBE __keyspace@0__:k", true),
        ("PUNSUBSCRIBE", false),
        ("PSUBSCRIBE *", true),
        ("RESET", false),
    ] {
        assert_eq!(run(line), is_heard, "{line}");
    }
}

#[test]
fn nothing_is_noted_while_nothing_is_asked_for() {
    let mut told = Told::of(0);
    assert!(told.run("SET k v PX 1").is_empty());
    told.run("CONFIG SET notify-keyspace-events AKE");
    assert_eq!(told.run("SET k v"), ["set k"]);
    told.run("CONFIG SET notify-keyspace-events KE");
    assert!(told.run("DEL k").is_empty());
    assert_eq!(told.alone.hub.events.wanted() & KeyspaceEvents::ALL, 0);
}
