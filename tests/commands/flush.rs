//! FLUSHDB, FLUSHALL, SWAPDB: outside and inside MULTI, with watchers, with data. Expected replies are those of Redis
//! 7.4.

use crate::support::client::Client;
use crate::support::server::both_protocols;

#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

#[track_caller]
fn used_memory(client: &mut Client) -> u64 {
    let text = client.line("INFO memory").text();
    let value = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    value.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("no used_memory in\n{text}"))
}

#[test]
fn options_and_errors() {
    check(
        r#"
        FLUSHALL                    => OK
        FLUSHALL SYNC               => OK
        FLUSHALL async              => OK
        FLUSHDB ASYNC               => OK
        FLUSHDB sync                => OK
        FLUSHALL JUNK               => -ERR syntax error
        FLUSHALL ASYNC SYNC         => -ERR syntax error
        FLUSHDB JUNK                => -ERR syntax error
        FLUSHDB SYNC SYNC           => -ERR syntax error
        SWAPDB 0 15                 => OK
        SWAPDB 3 3                  => OK
        SWAPDB 0                    => -ERR wrong number of arguments for 'swapdb' command
        SWAPDB 0 1 2                => -ERR wrong number of arguments for 'swapdb' command
        SWAPDB a 1                  => -ERR invalid first DB index
        SWAPDB 1 a                  => -ERR invalid second DB index
        SWAPDB a b                  => -ERR invalid first DB index
        SWAPDB 4294967296 1         => -ERR invalid first DB index
        SWAPDB 16 1                 => -ERR DB index is out of range
        SWAPDB 1 -1                 => -ERR DB index is out of range
        "#,
    );
}

#[test]
fn within_a_transaction_they_take_their_turn() {
    check(
        r#"
        SET before 1                => OK
        MULTI                       => OK
        SET a 1                     => QUEUED
        FLUSHALL                    => QUEUED
        DBSIZE                      => QUEUED
        SET b 2                     => QUEUED
        SELECT 3                    => QUEUED
        SET c 3                     => QUEUED
        SWAPDB 0 3                  => QUEUED
        GET b                       => QUEUED
        FLUSHDB                     => QUEUED
        SELECT 0                    => QUEUED
        GET c                       => QUEUED
        KEYS *                      => QUEUED
        FLUSHALL JUNK               => QUEUED
        EXEC                        => [OK, OK, 0, OK, OK, OK, OK, "2", OK, OK, "3", ["c"], -ERR syntax error]
        GET c                       => "3"
        "#,
    );
}

#[test]
fn exchanged_databases_keep_everything() {
    check(
        r#"
        SET k zero EXAT 4000000000  => OK
        SELECT 1                    => OK
        MSET k one l two            => OK
        SWAPDB 1 0                  => OK
        GET k                       => "zero"
        EXPIRETIME k                => 4000000000
        DBSIZE                      => 1
        SELECT 0                    => OK
        MGET k l                    => ["one", "two"]
        EXPIRETIME k                => -1
        "#,
    );
}

/// Each case: what stands before, what another connection does, and whether the transaction that watches `k` runs.
#[test]
fn watchers_are_told_when_their_key_changes_and_not_otherwise() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["SET k v"], "FLUSHALL", "nil"),
        (&["SET k v"], "FLUSHDB", "nil"),
        (&["SET k v"], "FLUSHALL ASYNC", "nil"),
        (&["SET other v"], "FLUSHALL", "[PONG]"),
        (&["SET k v"], "FLUSHALL JUNK", "[PONG]"),
        (&["SET k v"], "SWAPDB 0 1", "nil"),
        (&["SET k v"], "SWAPDB 1 0", "nil"),
        (&["SET k v"], "SWAPDB 1 2", "[PONG]"),
        (&["SET k v"], "SWAPDB 0 0", "[PONG]"),
        (&["SET other v"], "SWAPDB 0 1", "[PONG]"),
        (&["SELECT 1", "SET k v", "SELECT 0"], "SWAPDB 0 1", "nil"),
        (&["SELECT 1", "SET k v", "SELECT 0"], "FLUSHDB", "[PONG]"),
        (&["SELECT 1", "SET k v", "SELECT 0"], "MOVE k 1", "[PONG]"),
    ];
    for (before, change, expected) in cases {
        both_protocols(&[], |server, client| {
            for line in *before {
                client.check(line, "OK");
            }
            client.check("WATCH k", "OK");
            server.connect().line(change);
            client.check("MULTI", "OK");
            client.check("PING", "QUEUED");
            let outcome = client.line("EXEC").to_string();
            assert_eq!(outcome, *expected, "{before:?}, {change}");
        });
    }
}

#[test]
fn a_watch_outlives_the_database_it_was_made_in() {
    both_protocols(&[], |server, client| {
        let mut other = server.connect();
        for emptying in ["FLUSHALL", "SWAPDB 0 5"] {
            client.check("WATCH k", "OK");
            other.check(emptying, "OK");
            other.check("SET k v", "OK");
            client.check("MULTI", "OK");
            client.check("EXEC", "nil");
            client.check("FLUSHALL", "OK");
        }
    });
}

#[test]
fn what_was_flushed_is_not_counted_any_more() {
    both_protocols(&[], |_, client| {
        let empty = used_memory(client);
        assert!(empty > 0, "the tables of an empty keyspace are counted");
        for how in ["FLUSHALL SYNC", "FLUSHALL ASYNC", "FLUSHDB"] {
            let value = "v".repeat(5_000);
            for number in 0..200 {
                client.cmd(&["SET", &format!("key:{number}"), &value]);
            }
            assert!(used_memory(client) > empty + 1_000_000);
            client.check(how, "OK");
            assert_eq!(used_memory(client), empty, "{how}");
        }
    });
}
