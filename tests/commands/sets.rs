//! Sets: every option and every error of every command. Expected replies are those of Redis 7.4.

use crate::strings::counts;
use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};
use std::collections::BTreeSet;

/// Runs a script over both protocols, each time on an empty server.
#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

/// The members of a reply, in order.
#[track_caller]
fn members(reply: &Frame) -> BTreeSet<String> {
    let listed: Vec<String> = reply.items().iter().map(Frame::text).collect();
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "{reply}");
    unique
}

#[track_caller]
fn has(client: &mut Client, line: &str, expected: &str) {
    let expected: BTreeSet<String> = expected.split_whitespace().map(str::to_owned).collect();
    assert_eq!(members(&client.line(line)), expected, "{line}");
}

const NO_SET: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn members_come_and_go() {
    check(
        r#"
        SADD k a                    => 1
        SADD k a b c b              => 2
        SCARD k                     => 3
        TYPE k                      => set
        SISMEMBER k b               => 1
        SISMEMBER k d               => 0
        SMISMEMBER k a d b          => [1, 0, 1]
        SREM k a d b                => 2
        SREM k a                    => 0
        SADD k ""                   => 1
        SISMEMBER k ""              => 1
        SREM k c "" c               => 2
        EXISTS k                    => 0
        SCARD none                  => 0
        SISMEMBER none a            => 0
        SMISMEMBER none a b         => [0, 0]
        SREM none a                 => 0
        SADD i 1 2 +3 04            => 4
        SISMEMBER i 3               => 0
        SISMEMBER i +3              => 1
        SISMEMBER i 4               => 0
        SADD t 1 EX                 => 2
        EXPIREAT t 9000000000       => 1
        SADD t 2                    => 1
        SREM t 1                    => 1
        EXPIRETIME t                => 9000000000
        SADD k                      => -ERR wrong number of arguments for 'sadd' command
        SREM k                      => -ERR wrong number of arguments for 'srem' command
        SCARD                       => -ERR wrong number of arguments for 'scard' command
        SISMEMBER k                 => -ERR wrong number of arguments for 'sismember' command
        SMISMEMBER k                => -ERR wrong number of arguments for 'smismember' command
        SMEMBERS                    => -ERR wrong number of arguments for 'smembers' command
        "#,
    );
    both_protocols(&[], |_, client| {
        has(client, "SMEMBERS none", "");
        client.check("SADD k 3 1 2", "3");
        has(client, "SMEMBERS k", "1 2 3");
        client.check("SADD k x", "1");
        has(client, "SMEMBERS k", "1 2 3 x");
        let long = "x".repeat(100);
        assert_eq!(client.cmd(&["SADD", "k", &long]), Frame::Integer(1));
        has(client, "SMEMBERS k", &format!("1 2 3 x {long}"));
    });
    let server = Server::start(&[]);
    server.connect().check("SADD k 1", "1");
    server.connect().hello3().check("SMEMBERS k", "~[\"1\"]");
}

#[test]
fn forms_are_named_as_in_redis() {
    check(
        r#"
        SADD k 1 2 3                => 3
        OBJECT ENCODING k           => "intset"
        SADD k a                    => 1
        OBJECT ENCODING k           => "listpack"
        SADD l 0123456789012345678901234567890123456789012345678901234567890123 => 1
        OBJECT ENCODING l           => "listpack"
        SADD l 01234567890123456789012345678901234567890123456789012345678901234 => 1
        OBJECT ENCODING l           => "hashtable"
        CONFIG SET set-max-intset-entries 3 => OK
        SADD m 1 2 3                => 3
        OBJECT ENCODING m           => "intset"
        SADD m 4                    => 1
        OBJECT ENCODING m           => "hashtable"
        SUNIONSTORE k k             => 4
        OBJECT ENCODING k           => "listpack"
        CONFIG SET set-max-listpack-entries 4 => OK
        SADD k e                    => 1
        OBJECT ENCODING k           => "hashtable"
        "#,
    );
}

#[test]
fn members_move() {
    check(
        r#"
        SADD a{t} 1 2 x             => 3
        SADD b{t} 2 3               => 2
        SMOVE a{t} b{t} 1           => 1
        SMOVE a{t} b{t} 1           => 0
        SMOVE a{t} b{t} 2           => 1
        SCARD b{t}                  => 3
        SMOVE a{t} a{t} x           => 1
        SMOVE a{t} a{t} y           => 0
        SMOVE a{t} new{t} x         => 1
        EXISTS a{t}                 => 0
        SMOVE a{t} b{t} x           => 0
        SISMEMBER new{t} x          => 1
        SET s{t} 1                  => OK
        SMOVE s{t} b{t} 1           => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE b{t} s{t} 1           => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE b{t} s{t} none        => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE none{t} s{t} 1        => 0
        SCARD b{t}                  => 3
        SMOVE b{t} a{t}             => -ERR wrong number of arguments for 'smove' command
        "#,
    );
}

#[test]
fn sets_are_combined() {
    both_protocols(&[], |_, client| {
        client.check("SADD a{t} 1 2 3 4 x", "5");
        client.check("SADD b{t} 2 4 x y", "4");
        client.check("SADD c{t} 4 5 x", "3");
        has(client, "SINTER a{t} b{t} c{t}", "4 x");
        has(client, "SINTER a{t}", "1 2 3 4 x");
        has(client, "SINTER a{t} none{t}", "");
        has(client, "SUNION a{t} b{t} none{t} c{t}", "1 2 3 4 5 x y");
        has(client, "SUNION none{t}", "");
        has(client, "SDIFF a{t} b{t}", "1 3");
        has(client, "SDIFF a{t} b{t} none{t} c{t}", "1 3");
        has(client, "SDIFF a{t} a{t}", "");
        has(client, "SDIFF none{t} a{t}", "");
        has(client, "SDIFF c{t}", "4 5 x");
        for (line, reply, expected) in [
            ("SINTERSTORE d{t} a{t} b{t}", "3", "2 4 x"),
            ("SUNIONSTORE d{t} d{t} c{t}", "4", "2 4 5 x"),
            ("SDIFFSTORE d{t} d{t} c{t}", "1", "2"),
            ("SINTERSTORE d{t} a{t} none{t}", "0", ""),
            ("SUNIONSTORE d{t} none{t}", "0", ""),
            ("SDIFFSTORE d{t} a{t}", "5", "1 2 3 4 x"),
        ] {
            client.check(line, reply);
            has(client, "SMEMBERS d{t}", expected);
        }
        client.check("EXPIREAT d{t} 9000000000", "1");
        client.check("SDIFFSTORE d{t} d{t}", "5");
        client.check("TTL d{t}", "-1");
        client.check("SET d{t} text", "OK");
        client.check("SINTERSTORE d{t} none{t} a{t}", "0");
        client.check("EXISTS d{t}", "0");
        client.check("SET d{t} text", "OK");
        client.check("SUNIONSTORE d{t} a{t}", "5");
        client.check("TYPE d{t}", "set");
        client.check("SET s{t} text", "OK");
        for line in [
            "SINTER a{t} s{t}",
            "SINTER none{t} s{t}",
            "SUNION s{t}",
            "SDIFF none{t} s{t}",
            "SINTERSTORE d{t} s{t}",
            "SUNIONSTORE d{t} a{t} s{t}",
            "SDIFFSTORE d{t} a{t} s{t}",
            "SINTERCARD 2 none{t} s{t}",
            "SADD s{t} a",
            "SREM s{t} a",
            "SCARD s{t}",
            "SISMEMBER s{t} a",
            "SMISMEMBER s{t} a",
            "SMEMBERS s{t}",
            "SPOP s{t}",
            "SPOP s{t} 0",
            "SRANDMEMBER s{t}",
            "SRANDMEMBER s{t} 2",
            "SSCAN s{t} 0",
        ] {
            client.check(line, NO_SET);
        }
        client.check("SCARD d{t}", "5");
    });
}

#[test]
fn differences_of_many_sets() {
    both_protocols(&[], |_, client| {
        for number in 0..600 {
            client.cmd(&["SADD", "all{t}", &format!("m{number}")]);
            client.cmd(&["SADD", &format!("part{}{{t}}", number % 6), &format!("m{number}")]);
        }
        let rest: Vec<String> = (0..100).map(|number| format!("m{}", number * 6)).collect();
        has(client, "SDIFF all{t} part1{t} part2{t} part3{t} part4{t} part5{t}", &rest.join(" "));
        has(client, "SDIFF all{t} part1{t} part2{t} part3{t} part4{t} part5{t} part0{t}", "");
        client.check("SINTERCARD 2 all{t} part3{t}", "100");
        client.check("SUNIONSTORE u{t} part0{t} part1{t}", "200");
        client.check("OBJECT ENCODING u{t}", "\"hashtable\"");
    });
}

#[test]
fn intersections_are_counted() {
    check(
        r#"
        SADD a{t} 1 2 3 x           => 4
        SADD b{t} 1 2 x             => 3
        SINTERCARD 2 a{t} b{t}      => 3
        SINTERCARD 2 a{t} b{t} LIMIT 2 => 2
        SINTERCARD 2 a{t} b{t} limit 0 => 3
        SINTERCARD 2 a{t} b{t} LIMIT 10 => 3
        SINTERCARD 1 a{t}           => 4
        SINTERCARD 2 a{t} none{t}   => 0
        SINTERCARD 1 a{t} b{t}      => -ERR syntax error
        SINTERCARD 1 a{t} LIMIT     => -ERR syntax error
        SINTERCARD 1 a{t} LIMIT -1  => -ERR LIMIT can't be negative
        SINTERCARD 1 a{t} LIMIT x   => -ERR LIMIT can't be negative
        SINTERCARD 1 a{t} junk 1    => -ERR syntax error
        SINTERCARD 0 a{t}           => -ERR numkeys should be greater than 0
        SINTERCARD x a{t}           => -ERR numkeys should be greater than 0
        SINTERCARD -1 a{t}          => -ERR numkeys should be greater than 0
        SINTERCARD 3 a{t} b{t}      => -ERR Number of keys can't be greater than number of args
        SINTERCARD 1                => -ERR wrong number of arguments for 'sintercard' command
        SINTER                      => -ERR wrong number of arguments for 'sinter' command
        SUNION                      => -ERR wrong number of arguments for 'sunion' command
        SDIFF                       => -ERR wrong number of arguments for 'sdiff' command
        SINTERSTORE d{t}            => -ERR wrong number of arguments for 'sinterstore' command
        SUNIONSTORE d{t}            => -ERR wrong number of arguments for 'sunionstore' command
        SDIFFSTORE d{t}             => -ERR wrong number of arguments for 'sdiffstore' command
        "#,
    );
}

#[test]
fn random_members_are_taken_or_shown() {
    check(
        r#"
        SPOP none                   => nil
        SRANDMEMBER none            => nil
        SRANDMEMBER none 3          => []
        SADD k a                    => 1
        SRANDMEMBER k               => "a"
        SRANDMEMBER k 5             => ["a"]
        SRANDMEMBER k -3            => ["a", "a", "a"]
        SRANDMEMBER k 0             => []
        SPOP k                      => "a"
        EXISTS k                    => 0
        SADD k a                    => 1
        SPOP k -1                   => -ERR value is out of range, must be positive
        SPOP k x                    => -ERR value is out of range, must be positive
        SPOP k 1 2                  => -ERR syntax error
        SRANDMEMBER k x             => -ERR value is not an integer or out of range
        SRANDMEMBER k -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        SRANDMEMBER k 1 2           => -ERR syntax error
        SPOP                        => -ERR wrong number of arguments for 'spop' command
        SRANDMEMBER                 => -ERR wrong number of arguments for 'srandmember' command
        "#,
    );
    let server = Server::start(&[]);
    server.connect().check("SPOP none 3", "[]");
    server.connect().check("SADD k a", "1");
    server.connect().hello3().check_all("SPOP none 3 => ~[]\nSPOP k 0 => ~[]\nSPOP k 2 => ~[\"a\"]");
    both_protocols(&[], |_, client| {
        // An intset, a listpack, a table.
        for (prefix, count) in [("", 100), ("m", 100), ("m", 1000)] {
            client.line("DEL k");
            let all: BTreeSet<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
            let mut request = vec!["SADD", "k"];
            request.extend(all.iter().map(String::as_str));
            assert_eq!(client.cmd(&request), Frame::Integer(count));
            for wanted in [1, count / 5, count / 2, count - 1, count, count + 1] {
                let reply = client.line(&format!("SRANDMEMBER k {wanted}"));
                let shown = members(&reply);
                assert_eq!(shown.len() as i64, wanted.min(count));
                assert!(shown.is_subset(&all));
                let reply = client.line(&format!("SRANDMEMBER k -{wanted}"));
                assert_eq!(reply.items().len() as i64, wanted);
                assert!(reply.items().iter().all(|member| all.contains(&member.text())));
            }
            let mut left = all.clone();
            for wanted in [1, 7, count / 2, count] {
                for member in members(&client.line(&format!("SPOP k {wanted}"))) {
                    assert!(left.remove(&member), "{member} twice");
                }
                client.check("SCARD k", &left.len().to_string());
            }
            client.check("EXISTS k", "0");
        }
    });
}

#[test]
fn sets_are_walked_in_steps() {
    both_protocols(&[], |_, client| {
        client.check("SSCAN none 0", "[\"0\", []]");
        client.check("SSCAN none 0 COUNT x", "[\"0\", []]");
        client.check("SSCAN none x", "-ERR invalid cursor");
        client.check("SADD i 1 2 3", "3");
        client.check("SSCAN i 0 COUNT 1", "[\"0\", [\"1\", \"2\", \"3\"]]");
        client.check("SSCAN i 0 MATCH 2*", "[\"0\", [\"2\"]]");
        client.check("SSCAN i 0 MATCH", "-ERR syntax error");
        client.check("SSCAN i 0 COUNT 0", "-ERR syntax error");
        client.check("SSCAN i 0 COUNT x", "-ERR value is not an integer or out of range");
        client.check("SSCAN i 0 TYPE set", "-ERR syntax error");
        client.check("SSCAN i 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN");
        let all: BTreeSet<String> = (0..2000).map(|number| format!("m{number}")).collect();
        let mut request = vec!["SADD", "k"];
        request.extend(all.iter().map(String::as_str));
        client.cmd(&request);
        let (mut seen, mut cursor, mut steps) = (Vec::new(), "0".to_owned(), 0);
        loop {
            let reply = client.cmd(&["SSCAN", "k", &cursor, "COUNT", "50"]);
            seen.extend(reply.items()[1].items().iter().map(Frame::text));
            cursor = reply.items()[0].text();
            steps += 1;
            // Members that come and go meanwhile do no harm.
            client.cmd(&["SADD", "k", &format!("other{steps}")]);
            if cursor == "0" {
                break;
            }
        }
        assert!(steps > 10, "{steps}");
        let seen: BTreeSet<String> = seen.into_iter().filter(|member| member.starts_with('m')).collect();
        assert_eq!(seen, all);
    });
}

#[test]
fn only_changes_are_counted() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("SADD k{t} 1 2 3 x", "4");
    for (line, expected) in [
        ("SADD k{t} 1 2", [0, 0, 0]),
        ("SADD k{t} 1 4 5", [0, 0, 2]),
        ("SREM k{t} 4 5 6", [0, 0, 2]),
        ("SREM k{t} 4", [0, 0, 0]),
        ("SISMEMBER k{t} 4", [1, 0, 0]),
        ("SMEMBERS none{t}", [0, 1, 0]),
        ("SINTER k{t} none{t}", [1, 1, 0]),
        ("SINTERSTORE d{t} k{t} k{t}", [2, 0, 1]),
        ("SINTERSTORE d{t} k{t} none{t}", [1, 1, 1]),
        ("SINTERSTORE d{t} k{t} none{t}", [1, 1, 0]),
        ("SUNIONSTORE d{t} k{t}", [1, 0, 1]),
        ("SMOVE k{t} d{t} x", [0, 0, 1]),
        ("SMOVE k{t} e{t} 1", [0, 0, 2]),
        ("SMOVE k{t} e{t} none", [0, 0, 0]),
        ("SPOP e{t}", [0, 0, 1]),
        ("SPOP d{t} 2", [0, 0, 2]),
        ("SPOP d{t} 0", [0, 0, 0]),
        ("SRANDMEMBER d{t}", [1, 0, 0]),
        ("SSCAN k{t} 0", [1, 0, 0]),
    ] {
        let before = counts(&mut client);
        client.line(line);
        let after = counts(&mut client);
        let counted: Vec<i64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(counted, expected, "{line}");
    }
}

#[test]
fn a_change_breaks_a_transaction_that_watches_the_key() {
    let server = Server::start(&[]);
    let (mut watcher, mut other) = (server.connect(), server.connect());
    for (line, expected) in [
        ("SADD k{t} b", "nil"),
        ("SADD k{t} a", "[PONG]"),
        ("SREM k{t} a", "nil"),
        ("SREM k{t} b", "[PONG]"),
        ("SPOP k{t}", "nil"),
        ("SPOP k{t} 0", "[PONG]"),
        ("SMOVE k{t} j{t} a", "nil"),
        ("SUNIONSTORE k{t} k{t}", "nil"),
        ("SMEMBERS k{t}", "[PONG]"),
    ] {
        other.line("DEL k{t} j{t}");
        other.check("SADD k{t} a", "1");
        watcher.check("WATCH k{t}", "OK");
        other.line(line);
        watcher.check("MULTI", "OK");
        watcher.check("PING", "QUEUED");
        assert_eq!(watcher.line("EXEC").to_string(), expected, "{line}");
    }
}
