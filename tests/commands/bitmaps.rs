//! Bitmaps: every option and every error of every command. Expected replies are those of Redis 7.4.

use crate::strings::counts;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};

/// Runs a script over both protocols, each time on an empty server.
#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

#[test]
fn single_bits() {
    check(
        r#"
        SETBIT k 1 1                => 0
        GET k                       => "@"
        SETBIT k 1 1                => 1
        SETBIT k 1 0                => 1
        SETBIT k 7 1                => 0
        SETBIT k 9 1                => 0
        GET k                       => "\x01@"
        GETBIT k 7                  => 1
        GETBIT k 8                  => 0
        GETBIT k 9                  => 1
        GETBIT k 10                 => 0
        GETBIT k 16                 => 0
        GETBIT k 4294967295         => 0
        GETBIT none 0               => 0
        OBJECT ENCODING k           => "raw"
        SET k 12345 EXAT 9000000000 => OK
        OBJECT ENCODING k           => "int"
        GETBIT k 3                  => 1
        SETBIT k 6 1                => 0
        GET k                       => "32345"
        EXPIRETIME k                => 9000000000
        OBJECT ENCODING k           => "raw"
        SET k 1                     => OK
        SETBIT k 0 0                => 0
        OBJECT ENCODING k           => "raw"
        GET k                       => "1"

        SETBIT k 4294967296 1       => -ERR bit offset is not an integer or out of range
        SETBIT k -1 1               => -ERR bit offset is not an integer or out of range
        SETBIT k x 1                => -ERR bit offset is not an integer or out of range
        SETBIT k #1 1               => -ERR bit offset is not an integer or out of range
        SETBIT k 0 2                => -ERR bit is not an integer or out of range
        SETBIT k 0 -1               => -ERR bit is not an integer or out of range
        SETBIT k 0 x                => -ERR bit is not an integer or out of range
        SETBIT k x x                => -ERR bit offset is not an integer or out of range
        SETBIT k 0                  => -ERR wrong number of arguments for 'setbit' command
        GETBIT k 4294967296         => -ERR bit offset is not an integer or out of range
        GETBIT k -1                 => -ERR bit offset is not an integer or out of range
        GETBIT k                    => -ERR wrong number of arguments for 'getbit' command
        "#,
    );
}

#[test]
fn bits_of_long_values() {
    both_protocols(&[], |_, client| {
        for (first, bytes) in [(100_000, 12_501), (1_000_000, 125_001), (8_000_000, 1_000_001)] {
            client.line("DEL k");
            client.check(&format!("SETBIT k {first} 1"), "0");
            client.check("STRLEN k", &bytes.to_string());
            client.check(&format!("SETBIT k {first} 1"), "1");
            client.check("SETBIT k 77 1", "0");
            client.check("GETBIT k 77", "1");
            client.check("BITCOUNT k", "2");
            client.check("BITPOS k 1", "77");
            client.check("BITPOS k 1 10", &first.to_string());
            client.check("SETBIT k 77 0", "1");
            client.check(&format!("BITFIELD k SET u8 {first} 255 GET u8 {first}"), "[128, 255]");
            client.check("STRLEN k", &bytes.to_string());
        }
    });
}

#[test]
fn bits_are_counted() {
    check(
        r#"
        SET k foobar                => OK
        BITCOUNT k                  => 26
        BITCOUNT k 0 0              => 4
        BITCOUNT k 1 1              => 6
        BITCOUNT k 1 1 byte         => 6
        BITCOUNT k 5 30 BIT         => 17
        BITCOUNT k 0 -1             => 26
        BITCOUNT k -2 -1            => 7
        BITCOUNT k -100 100         => 26
        BITCOUNT k 0 -1 BIT         => 26
        BITCOUNT k 9 9 BIT          => 1
        BITCOUNT k 8 8 BIT          => 0
        BITCOUNT k -1 -2            => 0
        BITCOUNT k -200 -300        => 0
        BITCOUNT k 6 100            => 0
        BITCOUNT none               => 0
        BITCOUNT none 0 -1          => 0
        BITCOUNT k 0                => -ERR syntax error
        BITCOUNT k 0 1 hello        => -ERR syntax error
        BITCOUNT k 0 1 BIT x        => -ERR syntax error
        BITCOUNT k x 1              => -ERR value is not an integer or out of range
        BITCOUNT k 0 x hello        => -ERR value is not an integer or out of range
        BITCOUNT none 0 x           => -ERR value is not an integer or out of range
        BITCOUNT none 0 1 hello     => -ERR syntax error
        BITCOUNT                    => -ERR wrong number of arguments for 'bitcount' command
        "#,
    );
}

#[test]
fn bits_are_found() {
    check(
        r#"
        SET k "\xff\xf0\x00"        => OK
        BITPOS k 0                  => 12
        BITPOS k 1                  => 0
        BITPOS k 1 1                => 8
        BITPOS k 0 0 0              => -1
        BITPOS k 0 0 1              => 12
        BITPOS k 1 2                => -1
        BITPOS k 1 -1 -1            => -1
        BITPOS k 0 -1               => 16
        BITPOS k 1 7 15 BIT         => 7
        BITPOS k 1 12 15 bit        => -1
        BITPOS k 0 7 12 BIT         => 12
        BITPOS k 0 7 11 BIT         => -1
        BITPOS k 0 -9 -1 BIT        => 15
        BITPOS k 1 1 100 BYTE       => 8
        BITPOS k 1 2 1              => -1
        BITPOS k 1 -6 -7            => 0
        SET k "\xff\xff"            => OK
        BITPOS k 0                  => 16
        BITPOS k 0 1                => 16
        BITPOS k 0 0 -1             => -1
        BITPOS k 0 5                => -1
        SET k ""                    => OK
        BITPOS k 0                  => -1
        BITPOS k 1                  => -1
        BITPOS none 0               => 0
        BITPOS none 1               => -1
        BITPOS none 0 5 6           => 0
        BITPOS k 2                  => -ERR The bit argument must be 1 or 0.
        BITPOS k x                  => -ERR value is not an integer or out of range
        BITPOS k 0 x                => -ERR value is not an integer or out of range
        BITPOS k 0 0 x              => -ERR value is not an integer or out of range
        BITPOS k 0 0 1 hello        => -ERR syntax error
        BITPOS k 0 0 x hello        => -ERR syntax error
        BITPOS none 0 0 1 hello     => -ERR syntax error
        BITPOS k 0 0 1 BIT x        => -ERR syntax error
        BITPOS k                    => -ERR wrong number of arguments for 'bitpos' command
        "#,
    );
}

#[test]
fn values_are_combined() {
    check(
        r#"
        MSET a{t} "\xff\x0f\x01" b{t} "\xaa\xff" c{t} 1 => OK
        BITOP AND d{t} a{t} b{t}    => 3
        GET d{t}                    => "\xaa\x0f\x00"
        OBJECT ENCODING d{t}        => "raw"
        BITOP or d{t} a{t} b{t}     => 3
        GET d{t}                    => "\xff\xff\x01"
        BITOP XOR d{t} a{t} b{t}    => 3
        GET d{t}                    => "U\xf0\x01"
        BITOP XOR d{t} a{t} b{t} d{t} => 3
        GET d{t}                    => "\x00\x00\x00"
        BITOP NOT d{t} b{t}         => 2
        GET d{t}                    => "U\x00"
        BITOP NOT b{t} b{t}         => 2
        GET b{t}                    => "U\x00"
        BITOP AND d{t} a{t} none{t} => 3
        GET d{t}                    => "\x00\x00\x00"
        BITOP AND d{t} none{t} a{t} => 3
        GET d{t}                    => "\x00\x00\x00"
        BITOP OR d{t} c{t}          => 1
        GET d{t}                    => "1"
        OBJECT ENCODING d{t}        => "raw"
        SET d{t} x EXAT 9000000000  => OK
        BITOP OR d{t} d{t} none{t}  => 1
        EXPIRETIME d{t}             => -1
        BITOP OR d{t} none{t} none{t} => 0
        EXISTS d{t}                 => 0
        BITOP NOT d{t} none{t}      => 0
        BITOP NOT d{t} a{t} b{t}    => -ERR BITOP NOT must be called with a single source key.
        BITOP NAND d{t} a{t}        => -ERR syntax error
        BITOP AND d{t}              => -ERR wrong number of arguments for 'bitop' command
        "#,
    );
}

#[test]
fn fields_are_read_and_written() {
    check(
        r#"
        BITFIELD k                  => []
        EXISTS k                    => 0
        BITFIELD k GET u8 0 GET i8 100 => [0, 0]
        EXISTS k                    => 0
        BITFIELD k SET i8 0 -100    => [0]
        BITFIELD k set i8 0 101 get i8 0 get u4 2 => [-100, 101, 9]
        GET k                       => "e"
        DEL k                       => 1
        BITFIELD k SET u8 #0 65 SET u8 #1 66 SET u8 #2 67 => [0, 0, 0]
        GET k                       => "ABC"
        BITFIELD k GET u8 #1 GET u24 0 GET i63 1 => [66, 4276803, -4520977408647495680]
        BITFIELD k INCRBY u8 #0 -66 => [255]
        BITFIELD k OVERFLOW SAT INCRBY u8 #0 10 OVERFLOW FAIL INCRBY u8 #0 10 => [255, nil]
        BITFIELD k OVERFLOW fail SET u8 #1 256 GET u8 #1 => [nil, 66]
        BITFIELD k OVERFLOW FAIL OVERFLOW WRAP INCRBY u8 #0 1 => [0]
        BITFIELD n SET i64 0 -9223372036854775808 INCRBY i64 0 -1 => [0, 9223372036854775807]
        "#,
    );
    check(
        r#"
        SET k 1 EXAT 9000000000     => OK
        BITFIELD k SET u8 0 49      => [49]
        OBJECT ENCODING k           => "raw"
        EXPIRETIME k                => 9000000000
        BITFIELD new OVERFLOW FAIL SET u8 8 256 => [nil]
        GET new                     => "\x00\x00"
        BITFIELD_RO k GET u8 0 GET i4 0 => [49, 3]
        BITFIELD_RO k               => []
        BITFIELD_RO none GET i64 #5 => [0]
        BITFIELD_RO k SET u8 0 1    => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD_RO k GET u8 0 SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD_RO                 => -ERR wrong number of arguments for 'bitfield_ro' command
        BITFIELD k GET u64 0        => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD k GET i65 0        => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD k GET U8 0         => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD k GET u8 -1        => -ERR bit offset is not an integer or out of range
        BITFIELD k GET u8 #-1       => -ERR bit offset is not an integer or out of range
        BITFIELD k GET u8 4294967296 => -ERR bit offset is not an integer or out of range
        BITFIELD k GET i64 #9223372036854775807 => -ERR bit offset is not an integer or out of range
        BITFIELD k GET u8           => -ERR syntax error
        BITFIELD k SET u8 0         => -ERR syntax error
        BITFIELD k SET u8 0 x       => -ERR value is not an integer or out of range
        BITFIELD k INCRBY u8 0 x    => -ERR value is not an integer or out of range
        BITFIELD k OVERFLOW BAD GET u8 0 => -ERR Invalid OVERFLOW type specified
        BITFIELD k OVERFLOW         => -ERR syntax error
        BITFIELD k junk u8 0        => -ERR syntax error
        BITFIELD                    => -ERR wrong number of arguments for 'bitfield' command
        GET k                       => "1"
        "#,
    );
}

#[test]
fn bits_reach_as_far_as_the_longest_string() {
    both_protocols(&["--proto-max-bulk-len", "1mb"], |_, client| {
        client.check("SETBIT k 8388607 1", "0");
        client.check("STRLEN k", "1048576");
        let error = "-ERR bit offset is not an integer or out of range";
        client.check("SETBIT k 8388608 1", error);
        client.check("GETBIT k 8388608", error);
        client.check("BITFIELD k SET u8 8388608 1", error);
        client.check("BITFIELD k GET u8 #1048576", error);
    });
    both_protocols(&["--maxmemory", "32mb"], |_, client| {
        client.check("SETBIT k 800000000 1", "-OOM command not allowed when used memory > 'maxmemory'.");
        client.check("EXISTS k", "0");
    });
}

#[test]
fn a_shared_value_stays_as_it_was_sent() {
    both_protocols(&[], |_, client| {
        let value = vec![b'x'; 300_000];
        assert_eq!(client.cmd(&[&b"SET"[..], b"k", &value]).to_string(), "OK");
        client.send_raw(b"GET k\r\nSETBIT k 0 1\r\nBITFIELD k SET u8 8 255\r\nGETRANGE k 0 2\r\n");
        assert_eq!(client.reply(), Frame::Bulk(value));
        assert_eq!(client.reply(), Frame::Integer(0));
        assert_eq!(client.reply().to_string(), "[120]");
        assert_eq!(client.reply().to_string(), r#""\xf8\xffx""#);
    });
}

#[test]
fn only_changes_are_counted() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("SET k 1", "OK");
    for (line, expected) in [
        ("SETBIT new 0 0", [0, 0, 1]),
        ("SETBIT new 0 0", [0, 0, 0]),
        ("SETBIT new 0 1", [0, 0, 1]),
        ("SETBIT new 0 1", [0, 0, 0]),
        ("SETBIT new 90 0", [0, 0, 1]),
        ("GETBIT new 0", [1, 0, 0]),
        ("GETBIT none 0", [0, 1, 0]),
        ("BITCOUNT new", [1, 0, 0]),
        ("BITPOS none 0", [0, 1, 0]),
        ("BITFIELD field SET i5 0 0", [0, 0, 1]),
        ("BITFIELD field SET i5 0 0", [0, 0, 0]),
        ("BITFIELD field SET i5 0 1 SET i5 0 2", [0, 0, 2]),
        ("BITFIELD field INCRBY i5 0 1", [0, 0, 1]),
        ("BITFIELD field GET i5 0", [1, 0, 0]),
        ("BITFIELD field SET i5 90 0", [0, 0, 1]),
        ("BITFIELD_RO none GET i5 0", [0, 1, 0]),
        ("BITOP OR dest{k} k{k}", [0, 1, 0]),
        ("BITOP NOT k k", [1, 0, 1]),
    ] {
        let before = counts(&mut client);
        client.line(line);
        let after = counts(&mut client);
        let counted: Vec<i64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(counted, expected, "{line}");
    }
}

#[test]
fn a_changed_bit_breaks_a_transaction_that_watches_the_key() {
    let server = Server::start(&[]);
    let (mut watcher, mut other) = (server.connect(), server.connect());
    for (line, expected) in [
        ("SETBIT k 0 1", "nil"),
        ("SETBIT k 0 0", "[PONG]"),
        ("SETBIT k 100 0", "nil"),
        ("BITFIELD k INCRBY u8 0 1", "nil"),
        ("BITFIELD k SET u8 0 49", "[PONG]"),
        ("BITOP NOT k k", "nil"),
        ("BITOP AND k none{k} none{k}", "nil"),
    ] {
        other.check("SET k 1 EXAT 9000000000", "OK");
        watcher.check("WATCH k", "OK");
        other.line(line);
        watcher.check("MULTI", "OK");
        watcher.check("PING", "QUEUED");
        assert_eq!(watcher.line("EXEC").to_string(), expected, "{line}");
    }
}
