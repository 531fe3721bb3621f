//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. Expected replies are those of Redis 7.4.

use crate::support::server::both_protocols;

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
