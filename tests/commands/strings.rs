//! Strings: every option and every error of every command. Expected replies are those of Redis 7.4.
//!
//! Nothing here waits for a key to fall due: due times lie far ahead or in the past.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};

/// Runs a script over both protocols, each time on an empty server.
#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

/// Milliseconds until `key` is due.
#[track_caller]
fn time_left_ms(client: &mut Client, key: &str) -> i64 {
    client.cmd(&["PTTL", key]).integer()
}

#[test]
fn get_and_set() {
    check(
        r#"
        GET k                       => nil
        SET k v                     => OK
        get k                       => "v"
        SET k "\x00\r\n bytes"      => OK
        GET k                       => "\x00\r\n bytes"
        SET k ""                    => OK
        GET k                       => ""
        SET "" empty                => OK
        GET ""                      => "empty"
        GET                         => -ERR wrong number of arguments for 'get' command
        GET k k                     => -ERR wrong number of arguments for 'get' command
        SET k                       => -ERR wrong number of arguments for 'set' command
        SET k v junk                => -ERR syntax error
        SET k v PERSIST             => -ERR syntax error
        GET k                       => ""
        "#,
    );
}

#[test]
fn set_on_a_condition() {
    check(
        r#"
        SET k 1 XX                  => nil
        GET k                       => nil
        SET k 1 nx                  => OK
        SET k 2 NX                  => nil
        SET k 2 NX NX               => nil
        SET k 2 xX                  => OK
        GET k                       => "2"
        SET k 3 NX XX               => -ERR syntax error
        SET k 3 XX NX               => -ERR syntax error

        SET k 3 IFEQ 1              => nil
        SET k 3 IFEQ 2              => OK
        SET none 3 IFEQ ""          => nil
        EXISTS none                 => 0
        SET k 4 IFEQ 3 GET          => "3"
        SET k 5 GET IFEQ 3          => "4"
        GET k                       => "4"
        SET none 1 IFEQ 1 GET       => nil
        EXISTS none                 => 0
        SET k 5 ifeq 4 EXAT 9000000000 => OK
        EXPIRETIME k                => 9000000000
        SET k 6 IFEQ                => -ERR syntax error
        SET k 6 IFEQ 5 NX           => -ERR syntax error
        SET k 6 XX IFEQ 5           => -ERR syntax error
        SET k 6 IFEQ 5 IFEQ 5       => -ERR syntax error
        GET k                       => "5"
        "#,
    );
}

#[test]
fn set_that_returns_the_old_value() {
    check(
        r#"
        SET k 1 GET                 => nil
        SET k 2 get                 => "1"
        SET k 3 NX GET              => "2"
        GET k                       => "2"
        SET k 3 GET XX              => "2"
        GET k                       => "3"
        SET none 1 XX GET           => nil
        EXISTS none                 => 0
        SET none 1 NX GET           => nil
        GET none                    => "1"
        SET k 4 GET GET EXAT 9000000000 XX => "3"
        EXPIRETIME k                => 9000000000
        SET k 5 GET EX 0            => -ERR invalid expire time in 'set' command
        GET k                       => "4"
        "#,
    );
}

#[test]
fn set_with_a_due_time() {
    check(
        r#"
        SET k v EXAT 9000000000     => OK
        EXPIRETIME k                => 9000000000
        SET k w                     => OK
        EXPIRETIME k                => -1
        SET k v PXAT 9000000000123  => OK
        PEXPIRETIME k               => 9000000000123
        SET k w KEEPTTL             => OK
        PEXPIRETIME k               => 9000000000123
        SET k w KEEPTTL KEEPTTL     => OK
        SET none w KEEPTTL          => OK
        EXPIRETIME none             => -1
        SET k v EXAT 9000000000 EXAT 9000000001 => OK
        EXPIRETIME k                => 9000000001
        SET k v PXAT 9223372036854775807 => OK
        PEXPIRETIME k               => 9223372036854775807
        SET k w PXAT 1              => OK
        GET k                       => nil
        SET k w EXAT 1              => OK
        DBSIZE                      => 1

        SET k v EX                  => -ERR syntax error
        SET k v EX 10 PX 10         => -ERR syntax error
        SET k v PX 10 EXAT 10       => -ERR syntax error
        SET k v EX 10 KEEPTTL       => -ERR syntax error
        SET k v KEEPTTL PXAT 10     => -ERR syntax error
        SET k v EX x                => -ERR value is not an integer or out of range
        SET k v EX 1.5              => -ERR value is not an integer or out of range
        SET k v EX 0                => -ERR invalid expire time in 'set' command
        SET k v PX -1               => -ERR invalid expire time in 'set' command
        SET k v EXAT 0              => -ERR invalid expire time in 'set' command
        SET k v PXAT -1             => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775807   => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775      => -ERR invalid expire time in 'set' command
        SET k v PX 9223372036854775807   => -ERR invalid expire time in 'set' command
        SET k v EXAT 9223372036854776    => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775808   => -ERR value is not an integer or out of range
        SET k v EX 0 junk           => -ERR syntax error
        SET k v NX EX 0             => -ERR invalid expire time in 'set' command
        EXISTS k                    => 0
        "#,
    );
    both_protocols(&[], |_, client| {
        for (line, low, high) in [
            ("SET k v EX 1000", 900_000, 1_000_000),
            ("SET k v PX 2000000", 1_900_000, 2_000_000),
            ("SETEX k 3000 v", 2_900_000, 3_000_000),
            ("PSETEX k 4000000 v", 3_900_000, 4_000_000),
        ] {
            client.check(line, "OK");
            let left_ms = time_left_ms(client, "k");
            assert!((low..=high).contains(&left_ms), "{line}: {left_ms}");
        }
        for (line, low, high) in
            [("GETEX k EX 1000", 900_000, 1_000_000), ("GETEX k PX 2000000", 1_900_000, 2_000_000)]
        {
            client.check(line, "\"v\"");
            let left_ms = time_left_ms(client, "k");
            assert!((low..=high).contains(&left_ms), "{line}: {left_ms}");
        }
    });
}

#[test]
fn the_older_forms_of_set() {
    check(
        r#"
        SETNX k 1                   => 1
        SETNX k 2                   => 0
        GET k                       => "1"
        SETNX k                     => -ERR wrong number of arguments for 'setnx' command
        GETSET k 2                  => "1"
        GETSET none 1               => nil
        GET none                    => "1"
        SET k 1 EXAT 9000000000     => OK
        GETSET k 2                  => "1"
        EXPIRETIME k                => -1
        GETSET k                    => -ERR wrong number of arguments for 'getset' command
        SETEX k 0 v                 => -ERR invalid expire time in 'setex' command
        SETEX k -5 v                => -ERR invalid expire time in 'setex' command
        SETEX k 9223372036854775807 v => -ERR invalid expire time in 'setex' command
        SETEX k x v                 => -ERR value is not an integer or out of range
        SETEX k 10                  => -ERR wrong number of arguments for 'setex' command
        PSETEX k 0 v                => -ERR invalid expire time in 'psetex' command
        PSETEX k 9223372036854775807 v => -ERR invalid expire time in 'psetex' command
        PSETEX k 1.0 v              => -ERR value is not an integer or out of range
        PSETEX k 10 v v             => -ERR wrong number of arguments for 'psetex' command
        GET k                       => "2"
        "#,
    );
}

#[test]
fn getex_and_getdel() {
    check(
        r#"
        GETEX none EX 10            => nil
        GETEX none EX x             => nil
        SET k v                     => OK
        GETEX k                     => "v"
        EXPIRETIME k                => -1
        GETEX k EXAT 9000000000     => "v"
        EXPIRETIME k                => 9000000000
        GETEX k                     => "v"
        EXPIRETIME k                => 9000000000
        GETEX k pxat 9000000000123  => "v"
        PEXPIRETIME k               => 9000000000123
        GETEX k PERSIST             => "v"
        EXPIRETIME k                => -1
        GETEX k PERSIST PERSIST     => "v"
        GETEX k EX                  => -ERR syntax error
        GETEX k EX 10 PERSIST       => -ERR syntax error
        GETEX k PERSIST EX 10       => -ERR syntax error
        GETEX k EX 10 PX 10         => -ERR syntax error
        GETEX k KEEPTTL             => -ERR syntax error
        GETEX k NX                  => -ERR syntax error
        GETEX k EX x                => -ERR value is not an integer or out of range
        GETEX k EX 0                => -ERR invalid expire time in 'getex' command
        GETEX k PX -1               => -ERR invalid expire time in 'getex' command
        GETEX k EXAT 9223372036854775807 => -ERR invalid expire time in 'getex' command
        GETEX                       => -ERR wrong number of arguments for 'getex' command
        EXPIRETIME k                => -1
        GETEX k EXAT 1              => "v"
        EXISTS k                    => 0
        SET k v                     => OK
        GETEX k PXAT 1              => "v"
        EXISTS k                    => 0

        GETDEL k                    => nil
        SET k v EXAT 9000000000     => OK
        GETDEL k                    => "v"
        EXISTS k                    => 0
        GETDEL k k                  => -ERR wrong number of arguments for 'getdel' command
        "#,
    );
}

#[test]
fn several_keys_at_once() {
    check(
        r#"
        MSET a 1 b 2 c 3            => OK
        MGET a none b a             => ["1", nil, "2", "1"]
        MSET a 4 a 5                => OK
        GET a                       => "5"
        SET b 2 EXAT 9000000000     => OK
        MSET b 3                    => OK
        EXPIRETIME b                => -1
        MSET a                      => -ERR wrong number of arguments for 'mset' command
        MSET a 1 b                  => -ERR wrong number of arguments for 'mset' command
        MSETNX d 1 a 1              => 0
        EXISTS d                    => 0
        MSETNX d 1 e 2 d 3          => 1
        MGET d e                    => ["3", "2"]
        MSETNX d                    => -ERR wrong number of arguments for 'msetnx' command
        MSETNX x 1 y                => -ERR wrong number of arguments for 'msetnx' command
        MGET                        => -ERR wrong number of arguments for 'mget' command
        DBSIZE                      => 5
        "#,
    );
}

#[test]
fn append_and_lengths() {
    check(
        r#"
        STRLEN k                    => 0
        APPEND k Hello              => 5
        APPEND k " World"           => 11
        GET k                       => "Hello World"
        STRLEN k                    => 11
        APPEND k ""                 => 11
        APPEND none ""              => 0
        EXISTS none                 => 1
        SET k 1 EXAT 9000000000     => OK
        APPEND k 2                  => 2
        EXPIRETIME k                => 9000000000
        INCR k                      => 13
        EXPIRETIME k                => 9000000000
        APPEND k                    => -ERR wrong number of arguments for 'append' command
        STRLEN k k                  => -ERR wrong number of arguments for 'strlen' command
        "#,
    );
}

#[test]
fn parts_of_a_string() {
    check(
        r#"
        SET k "Hello World"         => OK
        GETRANGE k 0 4              => "Hello"
        GETRANGE k 0 -1             => "Hello World"
        GETRANGE k -5 -1            => "World"
        GETRANGE k -5 -3            => "Wor"
        GETRANGE k 6 100            => "World"
        GETRANGE k 11 20            => ""
        GETRANGE k 4 2              => ""
        GETRANGE k -2 -4            => ""
        GETRANGE k 0 -100           => "H"
        GETRANGE k -9223372036854775808 9223372036854775807 => "Hello World"
        GETRANGE none 0 -1          => ""
        SUBSTR k 6 -1               => "World"
        GETRANGE k x 1              => -ERR value is not an integer or out of range
        GETRANGE k 0 x              => -ERR value is not an integer or out of range
        GETRANGE none 0 x           => -ERR value is not an integer or out of range
        GETRANGE k 0                => -ERR wrong number of arguments for 'getrange' command
        SUBSTR k 0                  => -ERR wrong number of arguments for 'substr' command

        SETRANGE k 6 Redis          => 11
        GET k                       => "Hello Redis"
        SETRANGE k 11 "!"           => 12
        SETRANGE k 14 x             => 15
        GET k                       => "Hello Redis!\x00\x00x"
        SETRANGE k 2 ""             => 15
        SETRANGE none 5 ""          => 0
        EXISTS none                 => 0
        SETRANGE none 2 x           => 3
        GET none                    => "\x00\x00x"
        SET k v EXAT 9000000000     => OK
        SETRANGE k 1 w              => 2
        EXPIRETIME k                => 9000000000
        SETRANGE k -1 x             => -ERR offset is out of range
        SETRANGE k x x              => -ERR value is not an integer or out of range
        SETRANGE k 536870912 x      => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE k 9223372036854775807 xx => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE k 9223372036854775807 "" => 2
        SETRANGE k 0                => -ERR wrong number of arguments for 'setrange' command
        GET k                       => "vw"
        "#,
    );
}

#[test]
fn whole_numbers() {
    check(
        r#"
        INCR k                      => 1
        INCR k                      => 2
        DECR k                      => 1
        DECR k                      => 0
        DECR k                      => -1
        GET k                       => "-1"
        INCRBY k 101                => 100
        DECRBY k 1                  => 99
        INCRBY k -99                => 0
        DECRBY k -9                 => 9
        INCR k                      => 10
        GET k                       => "10"
        DECR none                   => -1
        SET k 9 EXAT 9000000000     => OK
        INCR k                      => 10
        INCR k                      => 11
        EXPIRETIME k                => 9000000000

        SET k 9223372036854775806   => OK
        INCR k                      => 9223372036854775807
        INCR k                      => -ERR increment or decrement would overflow
        INCRBY k 1                  => -ERR increment or decrement would overflow
        GET k                       => "9223372036854775807"
        SET k -9223372036854775808  => OK
        DECR k                      => -ERR increment or decrement would overflow
        DECRBY k 1                  => -ERR increment or decrement would overflow
        DECRBY k -9223372036854775808 => -ERR decrement would overflow
        INCRBY k 9223372036854775808 => -ERR value is not an integer or out of range
        INCRBY k x                  => -ERR value is not an integer or out of range
        DECRBY k 1.5                => -ERR value is not an integer or out of range
        INCR                        => -ERR wrong number of arguments for 'incr' command
        DECR k 1                    => -ERR wrong number of arguments for 'decr' command
        INCRBY k                    => -ERR wrong number of arguments for 'incrby' command
        DECRBY k                    => -ERR wrong number of arguments for 'decrby' command
        GET k                       => "-9223372036854775808"
        "#,
    );
    both_protocols(&[], |_, client| {
        for text in ["", "x", " 1", "1 ", "01", "+1", "-0", "1.0", "9223372036854775808"] {
            client.cmd(&["SET", "k", text]);
            client.check("INCR k", "-ERR value is not an integer or out of range");
            assert_eq!(client.line("GET k"), Frame::Bulk(text.as_bytes().to_vec()));
        }
    });
}

#[test]
fn decimal_numbers() {
    check(
        r#"
        INCRBYFLOAT k 10.50         => "10.5"
        INCRBYFLOAT k 0.1           => "10.6"
        INCRBYFLOAT k -10.6         => "0"
        SET k 5.0e3                 => OK
        INCRBYFLOAT k 2.0e2         => "5200"
        INCRBYFLOAT k -0.25         => "5199.75"
        GET k                       => "5199.75"
        SET k 3 EXAT 9000000000     => OK
        INCRBYFLOAT k 1.1           => "4.1"
        EXPIRETIME k                => 9000000000
        INCRBYFLOAT k x             => -ERR value is not a valid float
        INCRBYFLOAT k nan           => -ERR value is not a valid float
        INCRBYFLOAT k " 1"          => -ERR value is not a valid float
        INCRBYFLOAT k inf           => -ERR increment would produce NaN or Infinity
        INCRBYFLOAT k -inf          => -ERR increment would produce NaN or Infinity
        INCRBYFLOAT k               => -ERR wrong number of arguments for 'incrbyfloat' command
        GET k                       => "4.1"
        SET k "not a number"        => OK
        INCRBYFLOAT k 1             => -ERR value is not a valid float
        SET k ""                    => OK
        INCRBYFLOAT k 1             => -ERR value is not a valid float
        "#,
    );
}

#[test]
fn longest_common_subsequence() {
    check(
        r#"
        MSET a ohmytext b mynewtext => OK
        LCS a b                     => "mytext"
        LCS a b LEN                 => 6
        LCS a none                  => ""
        LCS none none LEN           => 0
        LCS a a                     => "ohmytext"
        LCS a b LEN IDX             => -ERR If you want both the length and indexes, please just use IDX.
        LCS a b junk                => -ERR syntax error
        LCS a b MINMATCHLEN         => -ERR syntax error
        LCS a b MINMATCHLEN x       => -ERR value is not an integer or out of range
        LCS a b LEN MINMATCHLEN 4   => 6
        LCS a                       => -ERR wrong number of arguments for 'lcs' command
        "#,
    );
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("MSET a ohmytext b mynewtext", "OK");
    let script = r#"
        LCS a b IDX                 => {"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len": 6}
        LCS a b IDX MINMATCHLEN 4   => {"matches": [[[4, 7], [5, 8]]], "len": 6}
        LCS a b IDX MINMATCHLEN -1  => {"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len": 6}
        LCS a b WITHMATCHLEN idx minmatchlen 4 => {"matches": [[[4, 7], [5, 8], 4]], "len": 6}
        LCS a none IDX              => {"matches": [], "len": 0}
        "#;
    client.check_all(&script.replace("{\"", "[\"").replace("}", "]").replace("\": ", "\", "));
    server.connect().hello3().check_all(script);
}

#[test]
fn long_values_are_whole() {
    both_protocols(&[], |_, client| {
        for length in [100, 4_000, 16_383, 16_384, 300_000] {
            let value: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(client.cmd(&[&b"SET"[..], b"k", &value]).to_string(), "OK");
            assert_eq!(client.line("GET k"), Frame::Bulk(value.clone()));
            assert_eq!(client.line("GETRANGE k 1 -2"), Frame::Bulk(value[1..length - 1].to_vec()));
            assert_eq!(client.line("MGET k none k").items()[2], Frame::Bulk(value.clone()));
            // The reply of the first command must not change with the edit behind it.
            client.send_raw(b"GET k\r\nAPPEND k xyz\r\nSETRANGE k 0 abc\r\nGETDEL k\r\n");
            assert_eq!(client.reply(), Frame::Bulk(value.clone()));
            assert_eq!(client.reply(), Frame::Integer(length as i64 + 3));
            assert_eq!(client.reply(), Frame::Integer(length as i64 + 3));
            let edited = [b"abc", &value[3..], b"xyz"].concat();
            assert_eq!(client.reply(), Frame::Bulk(edited));
        }
    });
}

#[test]
fn keys_of_any_length_hold_values() {
    both_protocols(&[], |_, client| {
        for length in [1, 255, 256, 5_000, 100_000] {
            let key = "k".repeat(length);
            assert_eq!(client.cmd(&["SET", &key, "1", "EXAT", "9000000000"]).to_string(), "OK");
            assert_eq!(client.cmd(&["INCR", &key]), Frame::Integer(2));
            assert_eq!(client.cmd(&["APPEND", &key, "0"]), Frame::Integer(2));
            assert_eq!(client.cmd(&["INCRBY", &key, "1000"]), Frame::Integer(1020));
            assert_eq!(client.cmd(&["EXPIRETIME", &key]), Frame::Integer(9_000_000_000));
            assert_eq!(client.cmd(&["GETEX", &key, "PERSIST"]).to_string(), "\"1020\"");
            assert_eq!(client.cmd(&["GETDEL", &key]).to_string(), "\"1020\"");
        }
    });
}

#[test]
fn the_longest_string_is_a_parameter() {
    both_protocols(&["--proto-max-bulk-len", "1mb"], |_, client| {
        client.check("SETRANGE k 1048575 x", "1048576");
        let error = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
        client.check("APPEND k x", error);
        client.check("SETRANGE k 1048576 x", error);
        client.check("STRLEN k", "1048576");
        // The table that Redis would need: 4 × (length + 1)².
        client.check("SETRANGE a 510 x", "511");
        client.check("LCS a a LEN", "511");
        client.check("APPEND a x", "512");
        let error = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        client.check("LCS a a LEN", error);
        client.check("LCS a a", error);
    });
}

#[test]
fn a_string_that_cannot_fit_at_all_is_refused() {
    both_protocols(&["--maxmemory", "32mb"], |_, client| {
        let error = "-OOM command not allowed when used memory > 'maxmemory'.";
        client.check("SETRANGE k 100000000 x", error);
        client.check("EXISTS k", "0");
    });
}

#[test]
fn a_change_breaks_a_transaction_that_watches_the_key() {
    let server = Server::start(&[]);
    let (mut watcher, mut other) = (server.connect(), server.connect());
    let changes = [
        "SET k 5",
        "SET k 5 KEEPTTL",
        "SET k 5 PXAT 1",
        "GETSET k 5",
        "GETDEL k",
        "GETEX k PERSIST",
        "GETEX k EX 1000",
        "GETEX k EXAT 1",
        "SETEX k 1000 5",
        "MSET j 1 k 5",
        "APPEND k 5",
        "SETRANGE k 0 5",
        "INCR k",
        "INCRBY k 1000",
        "INCRBYFLOAT k 1.5",
    ];
    let others =
        ["GET k", "GETEX k", "SETNX k 5", "SET k 5 NX", "MSETNX k 5", "SETRANGE k 0 \"\"", "STRLEN k"];
    let lines = changes.iter().map(|line| (line, "nil")).chain(others.iter().map(|line| (line, "[PONG]")));
    for (line, expected) in lines {
        other.check("SET k 1 EXAT 9000000000", "OK");
        watcher.check("WATCH k", "OK");
        other.line(line);
        watcher.check("MULTI", "OK");
        watcher.check("PING", "QUEUED");
        let outcome = watcher.line("EXEC").to_string();
        assert_eq!(outcome, expected, "{line}");
    }
}

/// Hits, misses and changed keys as INFO counts them.
pub fn counts(client: &mut Client) -> [i64; 3] {
    let page = client.line("INFO").text();
    ["keyspace_hits", "keyspace_misses", "rdb_changes_since_last_save"].map(|name| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in INFO"))
    })
}

#[test]
fn reads_and_changes_are_counted_as_redis_counts_them() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("MSET k 1 j 2 text x", "OK");
    for (line, expected) in [
        ("GET k", [1, 0, 0]),
        ("GET none", [0, 1, 0]),
        ("MGET k none k", [2, 1, 0]),
        ("STRLEN k", [1, 0, 0]),
        ("GETRANGE none 0 1", [0, 1, 0]),
        ("SUBSTR k 0 1", [1, 0, 0]),
        ("LCS k none", [1, 1, 0]),
        ("SET k 1", [0, 0, 1]),
        ("SET k 1 GET", [1, 0, 1]),
        ("SET none 1 XX", [0, 0, 0]),
        ("SET none 1 XX GET", [0, 1, 0]),
        ("SET k 1 NX", [0, 0, 0]),
        ("SETNX k 1", [0, 0, 0]),
        ("GETSET k 1", [1, 0, 1]),
        ("GETEX k", [1, 0, 0]),
        ("GETEX none EX 1000", [0, 1, 0]),
        ("GETEX k EX 1000", [1, 0, 1]),
        ("GETEX k PERSIST", [1, 0, 1]),
        ("GETEX k PERSIST", [1, 0, 0]),
        ("MSET k 1 j 2", [0, 0, 2]),
        ("MSETNX k 1 i 2", [0, 0, 0]),
        ("MSETNX h 1 i 2", [0, 0, 2]),
        ("APPEND text \"\"", [0, 0, 1]),
        ("APPEND new a", [0, 0, 1]),
        ("SETRANGE text 0 \"\"", [0, 0, 0]),
        ("SETRANGE text 0 a", [0, 0, 1]),
        ("INCR k", [0, 0, 1]),
        ("INCR text", [0, 0, 0]),
        ("INCRBYFLOAT k 1", [0, 0, 1]),
        ("GETDEL none", [0, 1, 0]),
        ("GETDEL j", [1, 0, 1]),
    ] {
        let before = counts(&mut client);
        client.line(line);
        let after = counts(&mut client);
        let counted: Vec<i64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(counted, expected, "{line}");
    }
}

#[test]
fn several_keys_change_in_one_step_for_everybody() {
    const ROUNDS: usize = 2_000;
    const WRITERS: usize = 2;
    let keys: Vec<String> = (0..8).map(|number| format!("key{number}")).collect();
    let server = Server::start(&["--threads", "2"]);
    let write = |writer: usize| {
        let mut client = server.connect();
        for round in 0..ROUNDS {
            let value = format!("{writer}-{round}");
            let mut request = vec!["MSET"];
            // Each writer names the keys in another order.
            for at in 0..keys.len() {
                request.extend([keys[(at * 3 + writer) % keys.len()].as_str(), value.as_str()]);
            }
            assert_eq!(client.cmd(&request).to_string(), "OK");
        }
    };
    let read = || {
        let mut client = server.connect();
        let request: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
        for _ in 0..ROUNDS {
            let reply = client.cmd(&request);
            let values = reply.items();
            assert!(values.iter().all(|value| *value == values[0]), "torn: {reply}");
        }
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || write(writer));
            scope.spawn(read);
        }
    });
}
