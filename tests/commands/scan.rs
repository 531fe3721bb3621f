//! SCAN, KEYS, RANDOMKEY, DBSIZE while keys come and go. Expected replies are those of Redis 7.4.
//!
//! The guarantee: a key that is there for the whole of a scan is returned by it, whatever happens to others meanwhile.
//! Writers here are seeded and stop when the scans have ended, or after a bounded number of changes.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};
use larder::base::rng::Rng;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

/// One step of a scan: the next cursor and the keys.
#[track_caller]
fn step(client: &mut Client, cursor: &str, options: &str) -> (String, Vec<String>) {
    let reply = client.line(&format!("SCAN {cursor} {options}"));
    let [next, keys] = reply.items() else { panic!("SCAN {cursor} {options}: {reply}") };
    (next.text(), keys.items().iter().map(Frame::text).collect())
}

/// A whole scan: the keys it returned, and in how many steps. Panics beyond `steps_max`.
#[track_caller]
fn scan(client: &mut Client, options: &str, steps_max: usize) -> (Vec<String>, usize) {
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    for steps in 1..=steps_max {
        let (next, keys) = step(client, &cursor, options);
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            return (found, steps);
        }
    }
    panic!("SCAN {options} goes on after {steps_max} steps");
}

/// Sets `key:0` and so on in requests of a thousand keys.
fn fill(client: &mut Client, prefix: &str, keys: usize) {
    for first in (0..keys).step_by(1_000) {
        let names: Vec<String> =
            (first..keys.min(first + 1_000)).map(|number| format!("{prefix}{number}")).collect();
        let pairs = names.iter().flat_map(|name| [name.as_str(), "v"]);
        let request: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
        assert_eq!(client.cmd(&request).to_string(), "OK");
    }
}

#[test]
fn options_and_errors() {
    check(
        r#"
        SCAN 0                      => ["0", []]
        MSET one 1 two 2            => OK
        SCAN 0 MATCH one            => ["0", ["one"]]
        SCAN 0 match t* count 100   => ["0", ["two"]]
        SCAN 0 MATCH x MATCH one    => ["0", ["one"]]
        SCAN 0 COUNT 1 COUNT 1000 MATCH one => ["0", ["one"]]
        SCAN 0 TYPE string MATCH one => ["0", ["one"]]
        SCAN 0 TYPE list            => ["0", []]
        SCAN 0 TYPE hash            => ["0", []]
        SCAN 0 MATCH                => -ERR syntax error
        SCAN 0 COUNT                => -ERR syntax error
        SCAN 0 TYPE                 => -ERR syntax error
        SCAN 0 COUNT 0              => -ERR syntax error
        SCAN 0 COUNT -1             => -ERR syntax error
        SCAN 0 COUNT x              => -ERR value is not an integer or out of range
        SCAN 0 COUNT 9223372036854775808 => -ERR value is not an integer or out of range
        SCAN 0 JUNK 1               => -ERR syntax error
        SCAN x                      => -ERR invalid cursor
        SCAN 1x                     => -ERR invalid cursor
        SCAN ""                     => -ERR invalid cursor
        SCAN " 0"                   => -ERR invalid cursor
        SCAN 18446744073709551616   => -ERR invalid cursor
        SCAN x COUNT x              => -ERR invalid cursor
        SCAN                        => -ERR wrong number of arguments for 'scan' command
        KEYS                        => -ERR wrong number of arguments for 'keys' command
        KEYS a b                    => -ERR wrong number of arguments for 'keys' command
        RANDOMKEY x                 => -ERR wrong number of arguments for 'randomkey' command
        DBSIZE x                    => -ERR wrong number of arguments for 'dbsize' command
        "#,
    );
}

#[test]
fn a_made_up_cursor_is_a_place_like_any_other() {
    both_protocols(&[], |_, client| {
        fill(client, "key:", 100);
        for cursor in ["1", "42", "4294967296", "9223372036854775807", "18446744073709551615"] {
            let (_, keys) = step(client, cursor, "COUNT 1000");
            assert!(keys.len() <= 100, "{cursor}");
        }
    });
}

#[test]
fn databases_are_scanned_apart() {
    both_protocols(&[], |_, client| {
        fill(client, "zero:", 300);
        client.check("SELECT 7", "OK");
        fill(client, "seven:", 200);
        let (keys, _) = scan(client, "COUNT 7", 1_000);
        assert!(keys.len() == 200 && keys.iter().all(|key| key.starts_with("seven:")));
        assert_eq!(client.line("KEYS *").items().len(), 200);
        assert!(client.line("RANDOMKEY").text().starts_with("seven:"));
        client.check("DBSIZE", "200");
        client.check("SELECT 0", "OK");
        client.check("DBSIZE", "300");
    });
}

/// EXEC holds the locks that these commands would take one by one.
#[test]
fn everything_can_be_walked_within_a_transaction() {
    check(
        r#"
        SET k v                     => OK
        MULTI                       => OK
        SCAN 0                      => QUEUED
        KEYS *                      => QUEUED
        RANDOMKEY                   => QUEUED
        DBSIZE                      => QUEUED
        SELECT 5                    => QUEUED
        DBSIZE                      => QUEUED
        EXEC                        => [["0", ["k"]], ["k"], "k", 1, OK, 0]
        "#,
    );
}

/// With active expiry off, due keys stay in the table: they are shown to nobody.
#[test]
fn due_keys_are_left_out() {
    both_protocols(&[], |_, client| {
        client.check("DEBUG SET-ACTIVE-EXPIRE 0", "OK");
        fill(client, "key:", 50);
        for number in 0..50 {
            client.check(&format!("SET due:{number} v PX 1"), "OK");
        }
        client.check("DEBUG SLEEP 0.01", "OK");
        client.check("DBSIZE", "100");
        let (keys, _) = scan(client, "", 1_000);
        assert!(keys.len() == 50 && keys.iter().all(|key| key.starts_with("key:")), "{keys:?}");
        assert_eq!(client.line("KEYS *").items().len(), 50);
        for _ in 0..20 {
            assert!(client.line("RANDOMKEY").text().starts_with("key:"));
        }
        client.check("DEBUG SET-ACTIVE-EXPIRE 1", "OK");
    });
}

#[test]
fn a_tag_with_many_keys_is_scanned_in_small_steps() {
    const KEYS: usize = 200_000;
    const LEFT: usize = 1_000;
    let server = Server::start(&["--threads", "2"]);
    let mut client = server.connect();
    fill(&mut client, "{tag}:", KEYS);
    let mut seen = HashSet::new();
    let (mut cursor, mut steps, mut most) = ("0".to_owned(), 0, 0);
    loop {
        let (next, keys) = step(&mut client, &cursor, "COUNT 10");
        most = most.max(keys.len());
        steps += 1;
        seen.extend(keys);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), KEYS);
    // A step may return a few more than COUNT where tags of the hash are equal.
    assert!(most <= 20, "{most} keys in a step");
    assert!(steps <= KEYS / 10 + 1, "{steps} steps");
    for first in (LEFT..KEYS).step_by(1_000) {
        let names = (first..first + 1_000).map(|number| format!("{{tag}}:{number}"));
        let request: Vec<String> = std::iter::once("DEL".to_owned()).chain(names).collect();
        assert_eq!(client.cmd(&request).integer(), 1_000);
    }
    let (keys, _) = scan(&mut client, "COUNT 10", LEFT);
    assert_eq!(keys.into_iter().collect::<HashSet<_>>().len(), LEFT);
}

/// Adds and removes keys until told to stop: grows to thousands, shrinks to none, and so on.
fn churn(server: &Server, seed: u64, stop: &AtomicBool) {
    const CHANGES_MAX: usize = 400_000;
    const BATCH: usize = 50;
    let mut client = server.connect();
    let mut rng = Rng::seeded(seed);
    for round in 0..CHANGES_MAX / BATCH {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let grows = round / 60 % 2 == 0;
        for _ in 0..BATCH {
            let key = format!("churn:{seed}:{}", rng.below(20_000));
            match (grows, rng.below(20)) {
                (_, 0) => client.send(&["RENAME", &key, &format!("churn:{seed}:x")]),
                (true, _) => client.send(&["SET", &key, "v"]),
                (false, _) => client.send(&["DEL", &key]),
            }
        }
        for _ in 0..BATCH {
            client.reply();
        }
    }
}

#[test]
fn what_stays_is_found_while_others_come_and_go() {
    const STAYING: usize = 3_000;
    const SCANS: usize = 6;
    let server = Server::start(&["--threads", "2"]);
    let mut client = server.connect();
    fill(&mut client, "stay:", STAYING / 2);
    fill(&mut client, "{one}stay:", STAYING / 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 1..=2 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || churn(server, seed, stop));
        }
        for number in 0..SCANS {
            let options = ["COUNT 10", "COUNT 100", "COUNT 1 MATCH *stay:*"][number % 3];
            let (keys, _) = scan(&mut client, options, 100_000);
            let staying: HashSet<&String> = keys.iter().filter(|key| key.contains("stay:")).collect();
            assert_eq!(staying.len(), STAYING, "scan {number}");
            assert!(keys.iter().all(|key| key.contains("stay:") || key.starts_with("churn:")));
        }
        stop.store(true, Ordering::Relaxed);
    });
}
