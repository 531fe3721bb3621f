//! What generic commands count, signal and touch, and what they do to long keys and values. Expected replies and counts
//! are those of Redis 7.4.

use crate::strings::counts;
use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};

#[test]
fn looks_and_changes_are_counted_as_redis_counts_them() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("MSET k 1 j 2 i 3 h 4 g 5", "OK");
    for (line, expected) in [
        ("EXISTS k none k", [2, 1, 0]),
        ("TOUCH k none", [1, 1, 0]),
        ("TYPE k", [1, 0, 0]),
        ("TYPE none", [0, 1, 0]),
        ("TTL k", [1, 0, 0]),
        ("PTTL none", [0, 1, 0]),
        ("EXPIRETIME k", [1, 0, 0]),
        ("PEXPIRETIME none", [0, 1, 0]),
        ("OBJECT ENCODING k", [1, 0, 0]),
        ("OBJECT REFCOUNT none", [0, 1, 0]),
        ("EXPIRE k 1000", [0, 0, 1]),
        ("EXPIRE k 1000 NX", [0, 0, 0]),
        ("EXPIRE none 1000", [0, 0, 0]),
        ("PERSIST k", [0, 0, 1]),
        ("PERSIST k", [0, 0, 0]),
        ("PEXPIREAT j 1", [0, 0, 1]),
        ("RENAME i j", [0, 0, 1]),
        ("RENAMENX j k", [0, 0, 0]),
        ("COPY k l", [1, 0, 1]),
        ("COPY none l", [0, 1, 0]),
        ("COPY k l", [1, 0, 0]),
        ("MOVE l 1", [0, 0, 1]),
        ("MOVE none 1", [0, 0, 0]),
        ("DEL h none", [0, 0, 1]),
        ("UNLINK g none", [0, 0, 1]),
        ("SCAN 0", [0, 0, 0]),
        ("KEYS *", [0, 0, 0]),
        ("RANDOMKEY", [0, 0, 0]),
        ("DBSIZE", [0, 0, 0]),
    ] {
        let before = counts(&mut client);
        client.line(line);
        let after = counts(&mut client);
        let counted: Vec<i64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(counted, expected, "{line}");
    }
}

/// How often a key was used is counted up to 3; what only looks at a key adds nothing.
#[test]
fn only_use_counts_as_use() {
    both_protocols(&[], |_, client| {
        client.check("SET k v", "OK");
        let new = client.line("OBJECT FREQ k").integer();
        for line in
            ["EXISTS k", "TYPE k", "TTL k", "PTTL k", "EXPIRETIME k", "OBJECT ENCODING k", "MEMORY USAGE k"]
        {
            client.line(line);
            assert_eq!(client.line("OBJECT FREQ k").integer(), new, "{line}");
        }
        client.check("TOUCH k", "1");
        let touched = client.line("OBJECT FREQ k").integer();
        assert!(touched > new);
        client.check("GET k", "\"v\"");
        assert!(client.line("OBJECT FREQ k").integer() > touched);
    });
}

/// Each case: a change by another connection, and whether it stops a transaction that watches `k` and `none`.
#[test]
fn changes_are_signalled_to_watchers() {
    let changes = [
        "DEL k",
        "UNLINK none k",
        "RENAME k l",
        "RENAME other k",
        "RENAME other none",
        "RENAMENX other none",
        "COPY other k REPLACE",
        "COPY other none",
        "MOVE k 1",
        "EXPIRE k 1000",
        "PEXPIREAT k 1",
        "PERSIST k",
    ];
    let others = [
        "DEL none",
        "RENAMENX other k",
        "RENAME k k",
        "COPY other k",
        "COPY k l",
        "COPY other k DB 1",
        "MOVE other 1",
        "EXPIRE k 1000 NX",
        "PERSIST other",
        "TOUCH k",
        "EXISTS k none",
    ];
    let server = Server::start(&[]);
    let (mut watcher, mut other) = (server.connect(), server.connect());
    let lines = changes.iter().map(|line| (line, "nil")).chain(others.iter().map(|line| (line, "[PONG]")));
    for (line, expected) in lines {
        other.check("FLUSHALL", "OK");
        other.check("SET k v EXAT 9000000000", "OK");
        other.check("SET other w", "OK");
        watcher.check("WATCH k none", "OK");
        other.line(line);
        watcher.check("MULTI", "OK");
        watcher.check("PING", "QUEUED");
        let outcome = watcher.line("EXEC").to_string();
        assert_eq!(outcome, expected, "{line}");
    }
}

#[test]
fn long_keys_and_values_are_renamed_copied_and_moved_whole() {
    both_protocols(&[], |_, client| {
        for (key_bytes, value_bytes) in [(1, 1), (300, 10), (10, 5_000), (70_000, 300_000)] {
            let (from, to) = ("f".repeat(key_bytes), "t".repeat(key_bytes));
            let value = vec![b'v'; value_bytes];
            assert_eq!(client.cmd(&[b"SET", from.as_bytes(), &value]).to_string(), "OK");
            assert_eq!(client.cmd(&["EXPIREAT", &from, "9000000000"]).integer(), 1);
            assert_eq!(client.cmd(&["COPY", &from, &to]).integer(), 1);
            assert_eq!(client.cmd(&["APPEND", &from, "x"]).integer(), value_bytes as i64 + 1);
            assert_eq!(client.cmd(&["GET", &to]), Frame::Bulk(value.clone()));
            assert_eq!(client.cmd(&["RENAME", &to, &from]).to_string(), "OK");
            assert_eq!(client.cmd(&["MOVE", &from, "9"]).integer(), 1);
            assert_eq!(client.cmd(&["EXISTS", &from, &to]).integer(), 0);
            client.check("SELECT 9", "OK");
            assert_eq!(client.cmd(&["GET", &from]), Frame::Bulk(value));
            assert_eq!(client.cmd(&["EXPIRETIME", &from]).integer(), 9_000_000_000);
            assert_eq!(client.cmd(&["UNLINK", &from]).integer(), 1);
            client.check("SELECT 0", "OK");
        }
        client.check("DBSIZE", "0");
    });
}

/// The value of a field of INFO.
fn info(client: &mut Client, field: &str) -> u64 {
    let page = client.line("INFO memory").text();
    let value = page.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {field} in {page}"))
}

/// The room that a request's own bytes need says nothing of the gap that SETRANGE fills.
#[test]
fn a_gap_is_made_room_for_before_it_is_filled() {
    const LIMIT: u64 = 24 << 20;
    let server = Server::start(&["--maxmemory", "24mb", "--threads", "1"]);
    let mut client = server.connect();
    let value = "v".repeat(1_000);
    for number in 0..30_000 {
        client.send(&["SET", &format!("key:{number}"), &value]);
    }
    for _ in 0..30_000 {
        assert_eq!(client.reply().to_string(), "OK");
    }
    // In one batch, so that no tick makes room in between.
    client.send_raw(b"SETRANGE gap 8000000 x\r\nINFO memory\r\n");
    assert_eq!(client.reply().integer(), 8_000_001);
    let page = client.reply().text();
    let used = page.lines().find_map(|line| line.strip_prefix("used_memory:")).map(str::parse::<u64>);
    assert!(matches!(used, Some(Ok(used)) if used <= LIMIT + LIMIT / 100), "{used:?} of {LIMIT}");
    client.check("STRLEN gap", "8000001");
}

/// Each shard is looked at before a write is refused, and before one is let through.
#[test]
fn what_may_not_be_evicted_fills_memory_up_to_the_limit() {
    for policy in ["volatile-lru", "volatile-ttl", "noeviction"] {
        let server = Server::start(&["--maxmemory", "24mb", "--maxmemory-policy", policy]);
        let mut client = server.connect();
        let value = "v".repeat(1_000);
        let mut refused = 0;
        for number in 0..40_000 {
            client.send(&["SET", &format!("key:{number}"), &value]);
        }
        for _ in 0..40_000 {
            refused += usize::from(client.reply().is_error());
        }
        assert!(refused > 10_000, "{policy}: {refused}");
        assert!(info(&mut client, "used_memory") <= (24 << 20) + (1 << 20), "{policy}");
        client.check("SET k v", "-OOM command not allowed when used memory > 'maxmemory'.");
        client.check("GET key:0", &format!("\"{value}\""));
    }
}
