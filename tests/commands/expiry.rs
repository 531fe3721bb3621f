//! Deadlines: set, compared, read, removed. Expected replies are those of Redis 7.4.
//!
//! Deadlines lie far ahead or in the past; one test waits for a key to fall due, by asking until it has.

use crate::support::server::{both_protocols, wait_until};

#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

#[test]
fn absolute_deadlines_are_kept_to_the_millisecond() {
    check(
        r#"
        SET k v                     => OK
        TTL k                       => -1
        PTTL k                      => -1
        EXPIRETIME k                => -1
        PEXPIRETIME k               => -1
        EXPIREAT k 4000000000       => 1
        EXPIRETIME k                => 4000000000
        PEXPIRETIME k               => 4000000000000
        PEXPIREAT k 4000000000123   => 1
        PEXPIRETIME k               => 4000000000123
        EXPIRETIME k                => 4000000000
        PERSIST k                   => 1
        PERSIST k                   => 0
        TTL k                       => -1
        TTL none                    => -2
        PTTL none                   => -2
        EXPIRETIME none             => -2
        PEXPIRETIME none            => -2
        EXPIREAT none 4000000000    => 0
        PERSIST none                => 0
        "#,
    );
}

#[test]
fn relative_deadlines_count_from_now() {
    both_protocols(&[], |_, client| {
        client.check("SET k v", "OK");
        client.check("EXPIRE k 1000", "1");
        assert!((990..=1000).contains(&client.line("TTL k").integer()));
        client.check("PEXPIRE k 500000", "1");
        assert!((490_000..=500_000).contains(&client.line("PTTL k").integer()));
        client.check("GET k", "\"v\"");
    });
}

#[test]
fn conditions_compare_with_the_present_deadline() {
    check(
        r#"
        SET k v                       => OK
        EXPIREAT k 4000000000 XX      => 0
        EXPIREAT k 4000000000 GT      => 0
        EXPIREAT k 4000000000 NX      => 1
        EXPIREAT k 4000000001 NX      => 0
        EXPIREAT k 3999999999 GT      => 0
        EXPIREAT k 4000000000 GT      => 0
        EXPIREAT k 4000000001 GT      => 1
        EXPIREAT k 4000000002 LT      => 0
        EXPIREAT k 4000000000 LT XX   => 1
        EXPIRETIME k                  => 4000000000
        PERSIST k                     => 1
        PEXPIREAT k 4000000000000 lt  => 1
        PEXPIRETIME k                 => 4000000000000
        EXPIRE k 100 NX XX            => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 100 NX GT            => -ERR NX and XX, GT or LT options at the same time are not compatible
        PEXPIRE k 100 GT LT           => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 100 JUNK             => -ERR Unsupported option JUNK
        EXPIREAT k 100 NX JUNK        => -ERR Unsupported option JUNK
        PEXPIRETIME k                 => 4000000000000
        "#,
    );
}

#[test]
fn a_deadline_that_has_passed_deletes() {
    for line in ["EXPIRE k 0", "EXPIRE k -1", "PEXPIRE k -100", "EXPIREAT k 1", "PEXPIREAT k 1000"] {
        both_protocols(&[], |_, client| {
            client.check("SET k v", "OK");
            client.check(line, "1");
            client.check("EXISTS k", "0");
            client.check("DBSIZE", "0");
        });
    }
}

#[test]
fn what_is_no_time_changes_nothing() {
    check(
        r#"
        SET k v EXAT 4000000000           => OK
        EXPIRE k x                        => -ERR value is not an integer or out of range
        EXPIRE k 1.5                      => -ERR value is not an integer or out of range
        EXPIRE k 9223372036854775807      => -ERR invalid expire time in 'expire' command
        EXPIRE k -9223372036854775808     => -ERR invalid expire time in 'expire' command
        EXPIRE k 9223372036854776         => -ERR invalid expire time in 'expire' command
        PEXPIRE k 9223372036854775807     => -ERR invalid expire time in 'pexpire' command
        EXPIREAT k 9223372036854775807    => -ERR invalid expire time in 'expireat' command
        PEXPIREAT k 9223372036854775808   => -ERR value is not an integer or out of range
        EXPIRE k                          => -ERR wrong number of arguments for 'expire' command
        PEXPIRE k                         => -ERR wrong number of arguments for 'pexpire' command
        EXPIREAT k                        => -ERR wrong number of arguments for 'expireat' command
        PEXPIREAT k                       => -ERR wrong number of arguments for 'pexpireat' command
        TTL                               => -ERR wrong number of arguments for 'ttl' command
        PERSIST                           => -ERR wrong number of arguments for 'persist' command
        EXPIRETIME k                      => 4000000000
        GET k                             => "v"
        "#,
    );
}

#[test]
fn a_key_that_falls_due_is_gone_for_every_command() {
    both_protocols(&[], |_, client| {
        client.check("SET k v PX 1", "OK");
        wait_until("the key is due", || client.line("EXISTS k").integer() == 0);
        client.check_all(
            "
            GET k       => nil
            TYPE k      => none
            TTL k       => -2
            PERSIST k   => 0
            SET k w XX  => nil
            DEL k       => 0
            APPEND k x  => 1
            TTL k       => -1
            ",
        );
    });
}

#[test]
fn keys_that_nobody_touches_are_removed_too() {
    both_protocols(&[], |_, client| {
        for index in 0..500 {
            client.check(&format!("SET key:{index} v PX 1"), "OK");
        }
        wait_until("all keys are removed", || client.line("DBSIZE").integer() == 0);
    });
}
