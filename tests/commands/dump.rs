//! DUMP and RESTORE: options and errors, and values of every type to redis-server 7.0 and back.

use crate::strings::counts;
use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::line;
use crate::support::server::{Server, both_protocols};
use crate::support::tool::is_installed;

/// The payload of a key.
#[track_caller]
fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    match client.cmd(&["DUMP", key]) {
        Frame::Bulk(payload) => payload,
        other => panic!("DUMP {key}: {other}"),
    }
}

fn restore(client: &mut Client, key: &str, ttl: &str, payload: &[u8], options: &str) -> Frame {
    let mut request: Vec<Vec<u8>> =
        ["RESTORE", key, ttl].iter().map(|word| word.as_bytes().to_vec()).collect();
    request.push(payload.to_vec());
    request.extend(options.split_whitespace().map(|word| word.as_bytes().to_vec()));
    client.cmd(&request)
}

#[test]
fn options_and_errors() {
    both_protocols(&[], |_, client| {
        client.check("DUMP none", "nil");
        client.check("DUMP", "-ERR wrong number of arguments for 'dump' command");
        client.check("SET k bar", "OK");
        let payload = dump(client, "k");
        let mut run = |key: &str, ttl: &str, options: &str, expected: &str| {
            let reply = restore(client, key, ttl, &payload, options).to_string();
            assert_eq!(reply, expected, "RESTORE {key} {ttl} {options}");
        };
        run("k", "0", "", "-BUSYKEY Target key name already exists.");
        run("k", "x", "", "-BUSYKEY Target key name already exists.");
        run("k", "0", "REPLACE", "OK");
        run("a", "9000000000000", "absttl", "OK");
        run("b", "500000", "IDLETIME 100", "OK");
        run("c", "0", "FREQ 100 REPLACE", "OK");
        run("past", "1", "ABSTTL", "OK");
        run("k", "1", "ABSTTL REPLACE", "OK");
        run("d", "x", "", "-ERR value is not an integer or out of range");
        run("d", "-1", "", "-ERR Invalid TTL value, must be >= 0");
        run("d", "0", "IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0");
        run("d", "0", "IDLETIME x", "-ERR value is not an integer or out of range");
        run("d", "0", "FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255");
        run("d", "0", "FREQ 1 IDLETIME 1", "-ERR syntax error");
        run("d", "0", "IDLETIME", "-ERR syntax error");
        run("k", "0", "junk", "-ERR syntax error");
        let idle = client.line("OBJECT IDLETIME b").integer();
        assert!((100..200).contains(&idle), "{idle}");
        client.check("MGET k a b c d past", "[nil, \"bar\", \"bar\", \"bar\", nil, nil]");
        client.check("PEXPIRETIME a", "9000000000000");
        assert!((400_000..=500_000).contains(&client.line("PTTL b").integer()));
        client.check("TTL c", "-1");
        client.check("RESTORE d 0", "-ERR wrong number of arguments for 'restore' command");
        client.check("EXISTS d", "0");
    });
}

#[test]
fn payloads_are_checked() {
    both_protocols(&[], |_, client| {
        client.check("SADD k a b", "2");
        let payload = dump(client, "k");
        let footer = "-ERR DUMP payload version or checksum are wrong";
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 0x10;
            assert_eq!(restore(client, "x", "0", &damaged, "").to_string(), footer);
            assert_eq!(restore(client, "x", "0", &payload[..at], "").to_string(), footer);
        }
        let mut seal = |body: &[u8], version: u16| {
            let mut whole = body.to_vec();
            whole.extend_from_slice(&version.to_le_bytes());
            let sum = larder::persist::crc64::crc64(&whole);
            whole.extend_from_slice(&sum.to_le_bytes());
            restore(client, "x", "0", &whole, "REPLACE").to_string()
        };
        assert_eq!(seal(b"\x00\x01a", 10), "OK");
        assert_eq!(seal(b"\x00\x01a", 1), "OK");
        assert_eq!(seal(b"\x00\x01a", 13), footer);
        for body in [&b""[..], b"\x00", b"\x00\x05a", b"\x02\x00", b"\x02\x02\x01a\x01a", b"\x63\x01a"] {
            assert_eq!(seal(body, 10), "-ERR Bad data format", "{body:x?}");
        }
        client.check("GET x", "\"a\"");
    });
}

#[test]
fn only_changes_are_counted() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("SET k 1", "OK");
    let payload = dump(&mut client, "k");
    for (key, ttl, options, expected) in [
        ("new", "0", "", [0, 0, 1]),
        ("new", "0", "", [0, 0, 0]),
        ("new", "1", "ABSTTL", [0, 0, 0]),
        ("new", "1", "ABSTTL REPLACE", [0, 0, 1]),
        ("new", "1", "ABSTTL REPLACE", [0, 0, 0]),
    ] {
        let before = counts(&mut client);
        restore(&mut client, key, ttl, &payload, options);
        let after = counts(&mut client);
        let counted: Vec<i64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(counted, expected, "{key} {ttl} {options}");
    }
    let before = counts(&mut client);
    client.line("DUMP k");
    client.line("DUMP none");
    let after = counts(&mut client);
    assert_eq!([after[0] - before[0], after[1] - before[1], after[2] - before[2]], [1, 1, 0]);
}

/// Commands that make values of every type and size, and the command that shows one whole.
fn values() -> Vec<(Vec<String>, &'static str)> {
    let numbers = |count: usize, each: &dyn Fn(usize) -> String| -> String {
        (0..count).map(each).collect::<Vec<_>>().join(" ")
    };
    let long = "x".repeat(20_000);
    let mut all = Vec::new();
    let mut add = |command: String, shows: &'static str| all.push((vec![command], shows));
    for text in ["a", "-12", "300", "70000", "12345678901", "-9223372036854775808", "007", &long] {
        add(format!("SET k {text}"), "GET k");
    }
    for count in [1, 5, 100, 200, 3000] {
        add(format!("RPUSH k {}", numbers(count, &|n| format!("{n} text{n}"))), "LRANGE k 0 -1");
        add(format!("SADD k {}", numbers(count, &|n| n.to_string())), "SORT k ALPHA");
        add(format!("SADD k {}", numbers(count, &|n| format!("member{n}"))), "SORT k ALPHA");
        add(format!("HSET k {}", numbers(count, &|n| format!("field{n} {n}"))), "HGETALL k");
    }
    add(format!("RPUSH k a {long} {long} b {long}"), "LRANGE k 0 -1");
    add(format!("SADD k {long} b"), "SORT k ALPHA");
    add(format!("HSET k f {long}"), "HGETALL k");
    let mut stream: Vec<String> = (1..300).map(|n| format!("XADD k {n}-{n} f {n} g text{n}")).collect();
    all.push((stream.clone(), "XRANGE k - +"));
    stream.extend(
        ["XDEL k 5-5 7-7", "XGROUP CREATE k g 0", "XREADGROUP GROUP g c COUNT 5 STREAMS k >"]
            .map(str::to_owned),
    );
    all.push((stream.clone(), "XRANGE k - +"));
    all.push((stream, "XPENDING k g - + 10 c"));
    all
}

/// A reply whose order means nothing, in one order.
fn settled(reply: &Frame, shows: &str) -> String {
    if !shows.starts_with("HGETALL") {
        return reply.to_string();
    }
    let mut pairs: Vec<String> =
        reply.items().chunks(2).map(|pair| format!("{} {}", pair[0], pair[1])).collect();
    pairs.sort();
    pairs.join(" ")
}

#[test]
fn values_go_to_redis_and_come_from_there() {
    if !is_installed("redis-server", &["--version"]) {
        return;
    }
    let (ours, theirs) = (Server::start(&[]), Server::start_program("redis-server", &[]));
    let (mut our, mut their) = (ours.connect(), theirs.connect());
    for (commands, shows) in values() {
        for command in &commands {
            our.cmd(&line::split(command));
            their.cmd(&line::split(command));
        }
        let name: String = commands[commands.len() - 1].chars().take(60).collect();
        // How long ago an entry was delivered differs from call to call.
        let show = |client: &mut Client| {
            let reply = client.line(shows);
            if shows.starts_with("XPENDING") {
                return reply.items().iter().map(|entry| entry.items()[0].to_string()).collect();
            }
            settled(&reply, shows)
        };
        let expected = show(&mut their);
        assert_eq!(show(&mut our), expected, "{name}");
        let (from_us, from_them) = (dump(&mut our, "k"), dump(&mut their, "k"));
        assert_eq!(restore(&mut their, "k", "0", &from_us, "REPLACE").to_string(), "OK", "{name}");
        assert_eq!(restore(&mut our, "k", "0", &from_them, "REPLACE").to_string(), "OK", "{name}");
        assert_eq!(show(&mut our), expected, "{name}");
        assert_eq!(show(&mut their), expected, "{name}");
        our.line("DEL k");
        their.line("DEL k");
    }
}

#[test]
fn hashes_keep_the_due_times_of_their_fields() {
    both_protocols(&[], |_, client| {
        for fields in [3, 1000] {
            for number in 0..fields {
                client.cmd(&["HSET", "k", &format!("f{number}"), "v"]);
            }
            client.check("HPEXPIREAT k 9000000000000 FIELDS 2 f0 f2", "[1, 1]");
            let payload = dump(client, "k");
            assert_eq!(restore(client, "j", "0", &payload, "REPLACE").to_string(), "OK");
            client.check("HPEXPIRETIME j FIELDS 3 f0 f1 f2", "[9000000000000, -1, 9000000000000]");
            client.check("HLEN j", &fields.to_string());
            client.check("DEL k", "1");
        }
    });
}

#[test]
fn everything_reads_as_it_was_written() {
    both_protocols(&["--enable-debug-command", "yes"], |_, client| {
        for (number, (commands, _)) in values().into_iter().enumerate() {
            for command in commands {
                let command = command.replacen(" k", &format!(" k{number}"), 1);
                client.cmd(&line::split(&command));
            }
        }
        client.check("EXPIREAT k1 9000000000", "1");
        for number in 0..300 {
            client.cmd(&["ZADD", "z", &format!("{number}.5"), &format!("m{number}")]);
        }
        let before = client.line("DEBUG DIGEST");
        client.check("DEBUG RELOAD", "OK");
        assert_eq!(client.line("DEBUG DIGEST"), before);
        client.check("EXPIRETIME k1", "9000000000");
        client.check("CONFIG SET zset-max-listpack-entries 1000", "OK");
        client.check("OBJECT ENCODING z", "\"skiplist\"");
        client.check("DEBUG RELOAD", "OK");
        client.check("OBJECT ENCODING z", "\"listpack\"");
        client.check("CONFIG SET zset-max-listpack-entries 128", "OK");
        assert_eq!(client.line("DEBUG DIGEST"), before);
    });
}
