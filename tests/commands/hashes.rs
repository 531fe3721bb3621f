//! Hashes: every option and every error of every command. Expected replies are those of Redis 7.4, of HGETEX, HSETEX and
//! HGETDEL those of 8.0.

use std::collections::BTreeSet;

use crate::support::client::Client;
use crate::support::server::{both_protocols, wait_until};

/// Runs a script over both protocols, each time on an empty server.
#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(&in_protocol(client, script)));
}

/// A script, or an expected reply, with HGETALL's maps as the protocol has them.
fn in_protocol(client: &Client, script: &str) -> String {
    if client.is_resp3() {
        return script.to_owned();
    }
    let flat = |line: &str| match line.split_once('{') {
        Some((head, map)) => format!("{head}[{}", map.replace("\": ", "\", ").replace('}', "]")),
        None => line.to_owned(),
    };
    script.lines().map(flat).collect::<Vec<_>>().join("\n")
}

/// Has hashes be tables from the fifth field on.
#[track_caller]
fn small_listpacks(client: &mut Client) {
    client.check("CONFIG SET hash-max-listpack-entries 4", "OK");
}

#[test]
fn set_and_get() {
    check(
        r#"
        HSET h a 1 b two            => 2
        HSET h a 2 c ""             => 1
        HGET h a                    => "2"
        HGET h c                    => ""
        HGET h d                    => nil
        HGET none a                 => nil
        HMGET h a d b               => ["2", nil, "two"]
        HMGET none a b              => [nil, nil]
        HGETALL h                   => {"a": "2", "b": "two", "c": ""}
        HGETALL none                => {}
        HKEYS h                     => ["a", "b", "c"]
        HKEYS none                  => []
        HVALS h                     => ["2", "two", ""]
        HVALS none                  => []
        HLEN h                      => 3
        HLEN none                   => 0
        HEXISTS h a                 => 1
        HEXISTS h d                 => 0
        HEXISTS none a              => 0
        HSTRLEN h b                 => 3
        HSTRLEN h a                 => 1
        HSTRLEN h d                 => 0
        HSTRLEN none a              => 0
        TYPE h                      => hash
        OBJECT ENCODING h           => "listpack"
        HMSET h a x e y             => OK
        HGET h e                    => "y"
        HSETNX h e z                => 0
        HSETNX h f -9223372036854775808 => 1
        HSTRLEN h f                 => 20
        HGET h f                    => "-9223372036854775808"
        HSETNX n f 1                => 1
        HGETALL n                   => {"f": "1"}

        HSET h                      => -ERR wrong number of arguments for 'hset' command
        HSET h a                    => -ERR wrong number of arguments for 'hset' command
        HSET h a 1 b                => -ERR wrong number of arguments for 'hset' command
        HMSET h a 1 b               => -ERR wrong number of arguments for 'hmset' command
        HSETNX h a                  => -ERR wrong number of arguments for 'hsetnx' command
        HMGET h                     => -ERR wrong number of arguments for 'hmget' command
        "#,
    );
}

#[test]
fn removal() {
    check(
        r#"
        HSET h a 1 b 2 c 3          => 3
        HDEL h a a none             => 1
        HDEL h none                 => 0
        HDEL none a                 => 0
        EXPIREAT h 9000000000       => 1
        HDEL h b                    => 1
        EXPIRETIME h                => 9000000000
        HDEL h c d                  => 1
        EXISTS h                    => 0
        HSET h a 1 b 2 c 3          => 3
        HGETDEL h FIELDS 3 a none b => ["1", nil, "2"]
        HGETDEL h fields 2 c c      => ["3", nil]
        EXISTS h                    => 0
        HGETDEL h FIELDS 2 c d      => [nil, nil]
        HDEL h                      => -ERR wrong number of arguments for 'hdel' command
        HGETDEL h FIELDS 1          => -ERR wrong number of arguments for 'hgetdel' command
        HGETDEL h FELDS 1 a         => -ERR Mandatory argument FIELDS is missing or not at the right position
        HGETDEL h FIELDS 0 a        => -ERR Number of fields must be a positive integer
        HGETDEL h FIELDS x a        => -ERR Number of fields must be a positive integer
        HGETDEL h FIELDS 2 a        => -ERR The `numfields` parameter must match the number of arguments
        HGETDEL h FIELDS 1 a b      => -ERR The `numfields` parameter must match the number of arguments
        "#,
    );
}

#[test]
fn numbers() {
    check(
        r#"
        HINCRBY h n 5               => 5
        HINCRBY h n -7              => -2
        HGET h n                    => "-2"
        HSET h n 9223372036854775807 => 0
        HINCRBY h n 1               => -ERR increment or decrement would overflow
        HINCRBY h n -1              => 9223372036854775806
        HINCRBY h n x               => -ERR value is not an integer or out of range
        HINCRBY h n 9223372036854775808 => -ERR value is not an integer or out of range
        HSET h n "1 "               => 0
        HINCRBY h n 1               => -ERR hash value is not an integer
        HINCRBYFLOAT h n 1          => -ERR hash value is not a float
        HINCRBYFLOAT h f 10.5       => "10.5"
        HINCRBYFLOAT h f 0.1        => "10.6"
        HINCRBYFLOAT h f -10.6      => "0"
        HINCRBYFLOAT h f inf        => -ERR value is NaN or Infinity
        HINCRBYFLOAT h f nan        => -ERR value is not a valid float
        HINCRBYFLOAT h f x          => -ERR value is not a valid float
        HSET h f inf                => 0
        HINCRBYFLOAT h f 1          => -ERR increment would produce NaN or Infinity
        HGET h f                    => "inf"
        HINCRBY n f x               => -ERR value is not an integer or out of range
        EXISTS n                    => 0
        "#,
    );
}

#[test]
fn other_types_are_refused() {
    let commands = [
        "HSET s a 1",
        "HMSET s a 1",
        "HSETNX s a 1",
        "HGET s a",
        "HMGET s a b",
        "HGETALL s",
        "HKEYS s",
        "HVALS s",
        "HLEN s",
        "HEXISTS s a",
        "HDEL s a",
        "HSTRLEN s a",
        "HINCRBY s a 1",
        "HINCRBYFLOAT s a 1",
        "HRANDFIELD s",
        "HRANDFIELD s 1",
        "HSCAN s 0",
        "HEXPIRE s x FIELDS 1 a",
        "HPEXPIRE s 1 FIELDS 1 a",
        "HEXPIREAT s 1 FIELDS 1 a",
        "HPEXPIREAT s 1 FIELDS 1 a",
        "HTTL s x 1 a",
        "HPTTL s FIELDS 1 a",
        "HEXPIRETIME s FIELDS 1 a",
        "HPEXPIRETIME s FIELDS 1 a",
        "HPERSIST s x 1 a",
        "HGETEX s FIELDS 1 a",
        "HSETEX s FIELDS 1 a 1",
        "HGETDEL s x 1 a",
    ];
    both_protocols(&[], |_, client| {
        client.check("SET s v", "OK");
        for command in commands {
            client.check(command, "-WRONGTYPE Operation against a key holding the wrong kind of value");
        }
        client.check("HSET h a 1", "1");
        client.check("GET h", "-WRONGTYPE Operation against a key holding the wrong kind of value");
        client.check("SET h v", "OK");
        client.check("TYPE h", "string");
    });
}

#[test]
fn forms() {
    both_protocols(&[], |_, client| {
        small_listpacks(client);
        client.check("HSET h a 1 b 2 c 3 d 4", "4");
        client.check("OBJECT ENCODING h", "\"listpack\"");
        client.check("HSET h e 5", "1");
        client.check("OBJECT ENCODING h", "\"hashtable\"");
        client.check("HDEL h e d c b", "4");
        client.check("OBJECT ENCODING h", "\"hashtable\"");
        client.check("HGETALL h", &in_protocol(client, "{\"a\": \"1\"}"));
        client.check(&format!("HSET l a {}", "x".repeat(64)), "1");
        client.check("OBJECT ENCODING l", "\"listpack\"");
        client.check("COPY l m", "1");
        client.check(&format!("HSET l {} 1", "x".repeat(65)), "1");
        client.check("OBJECT ENCODING l", "\"hashtable\"");
        client.check("OBJECT ENCODING m", "\"listpack\"");
        client.check("COPY l m REPLACE", "1");
        client.check("HLEN m", "2");
        client.check("HPEXPIREAT h 9000000000000 FIELDS 1 a", "[1]");
        client.check("OBJECT ENCODING h", "\"hashtable\"");
        client.check("HSET t a 1 b 2", "2");
        client.check("HPEXPIREAT t 9000000000000 FIELDS 1 a", "[1]");
        client.check("OBJECT ENCODING t", "\"listpackex\"");
        client.check("HKEYS t", "[\"a\", \"b\"]");
        client.check("COPY t u", "1");
        client.check("HPEXPIRETIME u FIELDS 2 a b", "[9000000000000, -1]");
        client.check("HSET t c 3 d 4 e 5", "3");
        client.check("OBJECT ENCODING t", "\"hashtable\"");
        client.check("HPEXPIRETIME t FIELDS 3 a b c", "[9000000000000, -1, -1]");
    });
}

#[test]
fn random_fields() {
    both_protocols(&[], |_, client| {
        small_listpacks(client);
        client.check("HRANDFIELD none", "nil");
        client.check("HRANDFIELD none 3", "[]");
        client.check("HRANDFIELD none -3 WITHVALUES", "[]");
        client.check("HSET h a 1", "1");
        client.check("HRANDFIELD h", "\"a\"");
        client.check("HRANDFIELD h 0", "[]");
        client.check("HRANDFIELD h 5", "[\"a\"]");
        client.check("HRANDFIELD h -3", "[\"a\", \"a\", \"a\"]");
        let pair = if client.is_resp3() { "[[\"a\", \"1\"]]" } else { "[\"a\", \"1\"]" };
        client.check("HRANDFIELD h 2 withvalues", pair);
        client.check("HRANDFIELD h -1 WITHVALUES", pair);
        client.check("HRANDFIELD h x", "-ERR value is not an integer or out of range");
        client.check("HRANDFIELD h 1 x", "-ERR syntax error");
        client.check("HRANDFIELD h 1 WITHVALUES x", "-ERR syntax error");
        let between =
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
        client.check("HRANDFIELD h -9223372036854775808", between);
        client.check("HRANDFIELD h -9223372036854770000 WITHVALUES", "-ERR value is out of range");
        for fields in [4, 5, 40] {
            client.line("DEL h");
            for number in 0..fields {
                client.line(&format!("HSET h f{number} {number}"));
            }
            for count in [1, 2, fields - 1] {
                let frame = client.line(&format!("HRANDFIELD h {count}"));
                let seen: BTreeSet<String> = frame.items().iter().map(|field| field.text()).collect();
                assert_eq!(seen.len(), count);
                assert_eq!(client.line(&format!("HRANDFIELD h -{count}")).items().len(), count);
            }
        }
    });
}

#[test]
fn walks() {
    both_protocols(&[], |_, client| {
        client.check("HSCAN none 0", "[\"0\", []]");
        client.check("HSCAN none 0 x", "[\"0\", []]");
        client.check("HSCAN none x", "-ERR invalid cursor");
        client.check("HSET h a 1 b 2 ab 3", "3");
        client.check("HSCAN h 0", "[\"0\", [\"a\", \"1\", \"b\", \"2\", \"ab\", \"3\"]]");
        client.check("HSCAN h 0 COUNT 1 MATCH a*", "[\"0\", [\"a\", \"1\", \"ab\", \"3\"]]");
        client.check("HSCAN h 0 NOVALUES", "[\"0\", [\"a\", \"b\", \"ab\"]]");
        client.check("HSCAN h 0 COUNT 0", "-ERR syntax error");
        client.check("HSCAN h 0 COUNT x", "-ERR value is not an integer or out of range");
        client.check("HSCAN h 0 MATCH", "-ERR syntax error");
        client.check("HSCAN h 0 TYPE hash", "-ERR syntax error");
        for number in 0..2000 {
            client.line(&format!("HSET big f{number} {number}"));
        }
        let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
        loop {
            let frame = client.line(&format!("HSCAN big {cursor} COUNT 100"));
            cursor = frame.items()[0].text();
            for pair in frame.items()[1].items().chunks(2) {
                assert_eq!(pair[0].text(), format!("f{}", pair[1].text()));
                assert!(seen.insert(pair[0].text()));
            }
            calls += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 2000);
        assert!(calls > 10, "{calls}");
    });
}

#[test]
fn due_times_of_fields() {
    check(
        r#"
        HSET h a 1 b 2 c 3                              => 3
        HEXPIREAT h 9000000000 FIELDS 2 a none          => [1, -2]
        HEXPIRETIME h FIELDS 3 a b none                 => [9000000000, -1, -2]
        HPEXPIREAT h 9000000000001 FIELDS 1 a           => [1]
        HEXPIRETIME h FIELDS 1 a                        => [9000000001]
        HPEXPIRETIME h fields 1 a                       => [9000000000001]
        HPEXPIREAT h 9000000000000 NX FIELDS 2 a b      => [0, 1]
        HPEXPIREAT h 8000000000000 XX FIELDS 2 a c      => [1, 0]
        HPEXPIREAT h 8000000000000 GT FIELDS 3 a b c    => [0, 0, 0]
        HPEXPIREAT h 9100000000000 gt FIELDS 3 a b c    => [1, 1, 0]
        HPEXPIREAT h 9100000000000 LT FIELDS 3 a b c    => [0, 0, 1]
        HPEXPIREAT h 9000000000000 lt FIELDS 2 a b      => [1, 1]
        HPERSIST h FIELDS 3 a none a                    => [1, -2, -1]
        HPEXPIRETIME h FIELDS 3 a b c                   => [-1, 9000000000000, 9100000000000]
        HSET h b x                                      => 0
        HPEXPIRETIME h FIELDS 1 b                       => [-1]
        HINCRBY h c 1                                   => 4
        HINCRBYFLOAT h c 1.5                            => "5.5"
        HPEXPIRETIME h FIELDS 1 c                       => [9100000000000]
        HEXPIREAT h 0 FIELDS 2 c none                   => [2, -2]
        HEXPIRE h 0 FIELDS 1 b                          => [2]
        HKEYS h                                         => ["a"]
        HPEXPIRE h 0 NX FIELDS 1 a                      => [2]
        EXISTS h                                        => 0
        HEXPIRE h 10 FIELDS 2 a b                       => [-2, -2]
        HTTL h FIELDS 1 a                               => [-2]
        HPTTL h FIELDS 1 a                              => [-2]
        HEXPIRETIME h FIELDS 1 a                        => [-2]
        HPERSIST h FIELDS 1 a                           => [-2]
        HSET h a 1                                      => 1
        HTTL h FIELDS 2 a b                             => [-1, -2]
        HEXPIRE h 10000 FIELDS 1 a                      => [1]
        HTTL h FIELDS 1 a                               => [10000]
        HPEXPIRE h 9000500 FIELDS 1 a                   => [1]
        HTTL h FIELDS 1 a                               => [9001]
        "#,
    );
}

#[test]
fn errors_of_due_times() {
    check(
        r#"
        HSET h a 1                                      => 1
        HEXPIRE h x FIELDS 1 a                          => -ERR value is not an integer or out of range
        HEXPIRE h -1 FIELDS 1 a                         => -ERR invalid expire time, must be >= 0
        HEXPIRE h 70368744178 FIELDS 1 a                => -ERR invalid expire time in 'hexpire' command
        HPEXPIRE h 70368744177664 FIELDS 1 a            => -ERR invalid expire time in 'hpexpire' command
        HPEXPIREAT h 70368744177664 FIELDS 1 a          => -ERR invalid expire time in 'hpexpireat' command
        HPEXPIREAT h 70368744177663 FIELDS 1 a          => [1]
        HEXPIREAT h 9223372036854775807 FIELDS 1 a      => -ERR invalid expire time in 'hexpireat' command
        HEXPIRE h 1 XY FIELDS 1 a                       => -ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h 1 NX XX FIELDS 1 a                    => -ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h 1 FIELDS 0 a                          => -ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 1 FIELDS x a                          => -ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 1 FIELDS 2 a                          => -ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 1 NX FIELDS 1                         => -ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 1 FIELDS 1                            => -ERR wrong number of arguments for 'hexpire' command
        HTTL h FIELDS 1                                 => -ERR wrong number of arguments for 'httl' command
        HTTL h FELDS 1 a                                => -ERR Mandatory argument FIELDS is missing or not at the right position
        HTTL h FIELDS -1 a                              => -ERR Number of fields must be a positive integer
        HTTL h FIELDS 2 a                               => -ERR The `numfields` parameter must match the number of arguments
        HPERSIST h FIELDS 0 a                           => -ERR Number of fields must be a positive integer
        HPERSIST h FIELDS 2 a                           => -ERR The `numfields` parameter must match the number of arguments
        "#,
    );
}

#[test]
fn values_with_due_times() {
    check(
        r#"
        HSETEX h EXAT 9000000000 FIELDS 2 a 1 b 2       => 1
        HPEXPIRETIME h FIELDS 2 a b                     => [9000000000000, 9000000000000]
        HSETEX h FNX FIELDS 2 a x c 3                   => 0
        HSETEX h FXX FIELDS 2 a x c 3                   => 0
        HGETALL h                                       => {"a": "1", "b": "2"}
        HSETEX h FXX KEEPTTL FIELDS 1 a x               => 1
        HSETEX h fxx FIELDS 1 b y                       => 1
        HPEXPIRETIME h FIELDS 2 a b                     => [9000000000000, -1]
        HSETEX h FNX PXAT 9000000000005 FIELDS 1 c 3    => 1
        HPEXPIRETIME h FIELDS 1 c                       => [9000000000005]
        HSETEX h EX 1000 EX 2000 FIELDS 1 c 3           => 1
        HTTL h FIELDS 1 c                               => [2000]
        HSETEX h PX 5000000 FIELDS 1 c 3                => 1
        HTTL h FIELDS 1 c                               => [5000]
        HGETEX h FIELDS 3 a none b                      => ["x", nil, "y"]
        HGETEX h EXAT 9000000001 FIELDS 2 a b           => ["x", "y"]
        HPEXPIRETIME h FIELDS 2 a b                     => [9000000001000, 9000000001000]
        HGETEX h PERSIST FIELDS 2 a none                => ["x", nil]
        HPEXPIRETIME h FIELDS 2 a b                     => [-1, 9000000001000]
        HGETEX h EX 100 FIELDS 1 a                      => ["x"]
        HTTL h FIELDS 1 a                               => [100]
        HGETEX h PX 200000 FIELDS 1 a                   => ["x"]
        HTTL h FIELDS 1 a                               => [200]
        HGETEX h PXAT 1 FIELDS 2 a a                    => ["x", nil]
        HKEYS h                                         => ["c", "b"]
        HGETEX none EX 10 FIELDS 2 a b                  => [nil, nil]
        HSETEX h EXAT 1 FIELDS 2 b 1 c 2                => 1
        EXISTS h                                        => 0
        HSETEX h PXAT 0 FIELDS 1 b 1                    => 1
        EXISTS h                                        => 0
        HSETEX h FXX FIELDS 1 b 1                       => 0
        EXISTS h                                        => 0
        "#,
    );
}

#[test]
fn errors_of_values_with_due_times() {
    check(
        r#"
        HGETEX h FIELDS 1                               => -ERR wrong number of arguments for 'hgetex' command
        HGETEX h XFIELDX 1 a                            => -ERR Mandatory argument FIELDS is missing or not at the right position
        HGETEX h PXAT 1 1                               => -ERR Mandatory argument FIELDS is missing or not at the right position
        HGETEX h PERSIST 1 FIELDS 1 a                   => -ERR Mandatory argument FIELDS is missing or not at the right position
        HGETEX h FIELDS 2 a                             => -ERR The `numfields` parameter must match the number of arguments
        HGETEX h FIELDS 0 a                             => -ERR Number of fields must be a positive integer
        HGETEX h FIELDS 9223372036854775808 a           => -ERR Number of fields must be a positive integer
        HGETEX h EX x FIELDS 1 a                        => -ERR value is not an integer or out of range
        HGETEX h EX -1 FIELDS 1 a                       => -ERR invalid expire time, must be >= 0
        HGETEX h EXAT 70368744178 FIELDS 1 a            => -ERR invalid expire time in 'hgetex' command
        HSETEX h FIELDS 2 a b                           => -ERR wrong number of arguments for 'hsetex' command
        HSETEX h FIELDS 2 a b c                         => -ERR wrong number of arguments for 'hsetex' command
        HSETEX h FIELDS 1 a b c d                       => -ERR wrong number of arguments for 'hsetex' command
        HSETEX h FIELDS 0 a b                           => -ERR invalid number of fields
        HSETEX h FIELDS x a b                           => -ERR invalid number of fields
        HSETEX h NX FIELDS 1 a b                        => -ERR unknown argument: NX
        HSETEX h FXX FNX FIELDS 1 a b                   => -ERR Only one of FXX or FNX arguments can be specified
        HSETEX h EX 1 PX 1 FIELDS 1 a b                 => -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
        HSETEX h KEEPTTL EX 1 FIELDS 1 a b              => -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
        HSETEX h EX FIELDS 1 a b                        => -ERR value is not an integer or out of range
        HSETEX h FNX FNX FNX EX                         => -ERR missing expire time
        HSETEX h EXAT -1 FIELDS 1 a b                   => -ERR invalid expire time, must be >= 0
        HSETEX h EXAT 70368744178 FIELDS 1 a b          => -ERR invalid expire time in 'hsetex' command
        HSETEX h FNX FNX FNX FNX                        => -ERR wrong number of arguments for 'hsetex' command
        EXISTS h                                        => 0
        "#,
    );
}

/// Fields that are due are not seen, and go; so do keys whose last field goes.
#[test]
fn due_fields_go() {
    both_protocols(&[], |_, client| {
        small_listpacks(client);
        for name in ["packed", "table", "emptied"] {
            client.check(&format!("HSET {name} a 1 b 2 c 3"), "3");
        }
        client.check("HSET table d 4 e 5", "2");
        for name in ["packed", "table"] {
            client.check(&format!("HPEXPIRE {name} 1 FIELDS 2 a b"), "[1, 1]");
        }
        client.check("HPEXPIRE emptied 1 FIELDS 3 a b c", "[1, 1, 1]");
        wait_until("fields are due", || client.line("HLEN table").integer() == 3);
        client.check("HGET table a", "nil");
        client.check("HMGET packed a b c", "[nil, nil, \"3\"]");
        client.check("HGETALL packed", &in_protocol(client, "{\"c\": \"3\"}"));
        client.check("HSETNX packed a new", "1");
        client.check("HTTL packed FIELDS 2 a b", "[-1, -2]");
        client.check("HLEN packed", "2");
        wait_until("the key goes", || client.line("EXISTS emptied").integer() == 0);
        client.check("HGETDEL table FIELDS 3 a c d", "[nil, \"3\", \"4\"]");
        client.check("HGETALL table", &in_protocol(client, "{\"e\": \"5\"}"));
        client.check("DBSIZE", "2");
    });
}
