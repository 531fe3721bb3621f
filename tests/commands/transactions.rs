//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. Expected replies are those of Redis 7.4.

use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};

#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

#[test]
fn a_transaction_runs_as_one() {
    check(
        r#"
        MULTI                       => OK
        SET k 1                     => QUEUED
        INCR k                      => QUEUED
        GET k                       => QUEUED
        EXEC                        => [OK, 2, "2"]
        MULTI                       => OK
        EXEC                        => []
        EXEC                        => -ERR EXEC without MULTI
        DISCARD                     => -ERR DISCARD without MULTI
        "#,
    );
}

#[test]
fn an_error_within_does_not_stop_the_rest() {
    check(
        r#"
        SET k text                  => OK
        MULTI                       => OK
        INCR k                      => QUEUED
        SET k 5                     => QUEUED
        INCR k                      => QUEUED
        EXEC                        => [-ERR value is not an integer or out of range, OK, 6]
        "#,
    );
}

#[test]
fn a_command_that_cannot_be_queued_spoils_it() {
    check(
        r#"
        MULTI                       => OK
        SET k 1                     => QUEUED
        SET k                       => -ERR wrong number of arguments for 'set' command
        EXEC                        => -EXECABORT Transaction discarded because of previous errors.
        GET k                       => nil
        MULTI                       => OK
        NOSUCH                      => -ERR unknown command 'NOSUCH', with args beginning with:
        DISCARD                     => OK
        GET k                       => nil
        MULTI                       => OK
        SET k 1                     => QUEUED
        EXEC junk                   => -EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        EXEC                        => -ERR EXEC without MULTI
        "#,
    );
}

#[test]
fn nesting_and_discarding() {
    check(
        r#"
        MULTI                       => OK
        MULTI                       => -ERR MULTI calls can not be nested
        SET k 1                     => QUEUED
        WATCH k                     => -ERR WATCH inside MULTI is not allowed
        DISCARD                     => OK
        GET k                       => nil
        SELECT 1                    => OK
        MULTI                       => OK
        SELECT 2                    => QUEUED
        SET k two                   => QUEUED
        EXEC                        => [OK, OK]
        GET k                       => "two"
        RESET                       => RESET
        EXISTS k                    => 0
        "#,
    );
}

#[test]
fn a_watched_key_that_changes_stops_it() {
    for change in
        ["SET k other", "DEL k", "EXPIRE k 1000", "APPEND k x", "FLUSHALL", "SWAPDB 0 1", "RENAME k j"]
    {
        both_protocols(&[], |server, client| {
            client.check("SET k v", "OK");
            client.check("WATCH none k", "OK");
            server.connect().line(change);
            client.check("MULTI", "OK");
            client.check("SET mine 1", "QUEUED");
            client.check("EXEC", "nil");
            client.check("EXISTS mine", "0");
            client.check("FLUSHALL", "OK");
        });
    }
}

#[test]
fn a_watched_key_that_stays_does_not() {
    both_protocols(&[], |server, client| {
        client.check("SET k v", "OK");
        client.check("WATCH k", "OK");
        let mut other = server.connect();
        for line in ["GET k", "SET other v", "SET k w NX", "TOUCH k", "DEL none"] {
            other.line(line);
        }
        client.check_all(
            "
            MULTI           => OK
            SET mine 1      => QUEUED
            EXEC            => [OK]
            WATCH k         => OK
            SET k mine      => OK
            UNWATCH         => OK
            MULTI           => OK
            GET mine        => QUEUED
            EXEC            => [\"1\"]
            ",
        );
    });
}

/// A worker that ran UNWATCH inside EXEC over a watched key waited for the lock that EXEC itself held, for ever.
#[test]
fn unwatch_within_exec_does_not_wait_for_itself() {
    check(
        r#"
        SET k v                     => OK
        WATCH k                     => OK
        MULTI                       => OK
        UNWATCH                     => QUEUED
        GET k                       => QUEUED
        EXEC                        => [OK, "v"]
        "#,
    );
}

#[test]
fn transactions_that_end_leave_nothing_watched() {
    both_protocols(&[], |server, client| {
        let mut other = server.connect();
        client.check("WATCH k", "OK");
        client.check("MULTI", "OK");
        client.check("DISCARD", "OK");
        other.check("SET k changed", "OK");
        client.check("MULTI", "OK");
        client.check("EXEC", "[]");
    });
}

/// With active expiry off a due key stays in the table, so that it is EXEC itself that must see it.
#[test]
fn a_watched_key_that_falls_due_stops_it() {
    both_protocols(&[], |_, client| {
        client.check("DEBUG SET-ACTIVE-EXPIRE 0", "OK");
        client.check("SET k v PX 2000000", "OK");
        client.check("WATCH k none", "OK");
        client.check("PEXPIRE k 1", "1");
        client.check("UNWATCH", "OK");
        client.check("SET k v PX 30", "OK");
        client.check("WATCH none k", "OK");
        client.check("DEBUG SLEEP 0.05", "OK");
        client.check("MULTI", "OK");
        client.check("SET mine 1", "QUEUED");
        client.check("EXEC", "nil");
        client.check("EXISTS mine", "0");
        client.check("DEBUG SET-ACTIVE-EXPIRE 1", "OK");
    });
}

/// Whether or not it is removed, and wherever its database goes: a key that was due when it was watched has not changed.
#[test]
fn a_key_that_was_due_when_it_was_watched_does_not() {
    for between in ["PING", "EXISTS k", "FLUSHALL", "SWAPDB 0 1", "SWAPDB 0 2"] {
        both_protocols(&[], |_, client| {
            client.check("DEBUG SET-ACTIVE-EXPIRE 0", "OK");
            for line in ["SELECT 2", "SET k other PX 1", "SELECT 0", "SET k v PX 1", "DEBUG SLEEP 0.01"] {
                client.check(line, "OK");
            }
            client.check("WATCH k", "OK");
            client.line(between);
            client.check("MULTI", "OK");
            client.check("PING", "QUEUED");
            let outcome = client.line("EXEC").to_string();
            assert_eq!(outcome, "[PONG]", "{between}");
            client.check("WATCH k", "OK");
            client.check("SET k v", "OK");
            client.check("MULTI", "OK");
            client.check("EXEC", "nil");
            client.check("DEBUG SET-ACTIVE-EXPIRE 1", "OK");
        });
    }
}

#[test]
fn options_and_errors() {
    check(
        r#"
        MULTI x                     => -ERR wrong number of arguments for 'multi' command
        DISCARD x                   => -ERR wrong number of arguments for 'discard' command
        UNWATCH x                   => -ERR wrong number of arguments for 'unwatch' command
        WATCH                       => -ERR wrong number of arguments for 'watch' command
        WATCH a a b                 => OK
        UNWATCH                     => OK
        UNWATCH                     => OK
        MULTI                       => OK
        WATCH                       => -ERR wrong number of arguments for 'watch' command
        EXEC                        => -EXECABORT Transaction discarded because of previous errors.
        MULTI                       => OK
        DISCARD x                   => -ERR wrong number of arguments for 'discard' command
        EXEC                        => -EXECABORT Transaction discarded because of previous errors.
        DISCARD                     => -ERR DISCARD without MULTI
        "#,
    );
}

/// Several writers, half of them by MSET and half by EXEC over keys of many shards; readers must see one round each.
#[test]
fn nobody_sees_half_a_transaction() {
    const ROUNDS: usize = 700;
    let keys: Vec<String> = (0..8).map(|number| format!("key{number}")).collect();
    let server = Server::start(&["--threads", "2"]);
    let list = |before: &str| -> Vec<String> {
        std::iter::once(before.to_owned()).chain(keys.iter().cloned()).collect()
    };
    let write = |writer: usize| {
        let mut client = server.connect();
        for round in 0..ROUNDS {
            let value = format!("{writer}-{round}");
            client.send(&["MULTI"]);
            for at in 0..keys.len() {
                client.send(&["SET", &keys[(at * 3 + writer) % keys.len()], &value]);
            }
            client.send(&["EXEC"]);
            (0..=keys.len()).for_each(|_| drop(client.reply()));
            assert_eq!(client.reply().items().len(), keys.len());
        }
    };
    let write_at_once = |writer: usize| {
        let mut client = server.connect();
        for round in 0..ROUNDS * 4 {
            let pairs = keys.iter().flat_map(|key| [key.clone(), format!("{writer}-{round}")]);
            let request: Vec<String> = std::iter::once("MSET".to_owned()).chain(pairs).collect();
            assert_eq!(client.cmd(&request).to_string(), "OK");
        }
    };
    let read = |in_transaction: bool| {
        let mut client = server.connect();
        for _ in 0..ROUNDS * 2 {
            let values: Vec<Frame> = if in_transaction {
                client.send(&["MULTI"]);
                keys.iter().for_each(|key| client.send(&["GET", key]));
                client.send(&["EXEC"]);
                (0..=keys.len()).for_each(|_| drop(client.reply()));
                client.reply().items().to_vec()
            } else {
                client.cmd(&list("MGET")).items().to_vec()
            };
            assert!(values.iter().all(|value| *value == values[0]), "torn: {values:?}");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(1));
        scope.spawn(|| write(2));
        scope.spawn(|| write_at_once(3));
        scope.spawn(|| read(false));
        scope.spawn(|| read(true));
    });
}

/// Each client reads, adds one and writes back under WATCH: no addition may be lost, and none counted twice.
#[test]
fn watching_loses_no_update() {
    const CLIENTS: usize = 3;
    const UPDATES: usize = 150;
    const TRIES_MAX: usize = 100_000;
    let server = Server::start(&["--threads", "2"]);
    server.connect().check("SET counter 0", "OK");
    let add = || {
        let mut client = server.connect();
        let mut done = 0;
        for _ in 0..TRIES_MAX {
            client.check("WATCH counter", "OK");
            let next = client.line("GET counter").text().parse::<usize>().map(|value| value + 1);
            let next = next.unwrap_or_else(|error| panic!("{error}")).to_string();
            client.check("MULTI", "OK");
            client.cmd(&["SET", "counter", &next]);
            done += usize::from(client.line("EXEC").to_string() == "[OK]");
            if done == UPDATES {
                return;
            }
        }
        panic!("only {done} updates in {TRIES_MAX} tries");
    };
    std::thread::scope(|scope| {
        (0..CLIENTS).for_each(|_| drop(scope.spawn(add)));
    });
    server.connect().check("GET counter", &format!("\"{}\"", CLIENTS * UPDATES));
}
