//! Keyspace notifications as a subscriber gets them, class by class.

use crate::support::client::Client;
use crate::support::server::{Server, both_protocols};

/// Published when a step is over, to the subscriber's own channel.
const END: &str = "PUBLISH end of-step";

/// A subscriber of all keyspace events.
#[track_caller]
fn listen(client: &mut Client) {
    for line in ["SUBSCRIBE end", "PSUBSCRIBE __key*__:*"] {
        client.send_line(line);
        client.receive();
    }
}

/// What the subscriber hears, without what all of it begins with, until the step is over.
#[track_caller]
fn heard(subscriber: &mut Client) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let frame = subscriber.receive().to_string();
        let frame = frame.trim_start_matches('>');
        if frame == r#"["message", "end", "of-step"]"# {
            return found;
        }
        let rest = frame.strip_prefix(r#"["pmessage", "__key*__:*", "__key"#).expect("an event");
        found.push(rest.replace(['"', ',', ']'], ""));
    }
}

/// Runs lines under a setting of `notify-keyspace-events`; what is heard of them.
#[track_caller]
fn step(control: &mut Client, subscriber: &mut Client, classes: &str, lines: &[&str]) -> Vec<String> {
    control.check(&format!("CONFIG SET notify-keyspace-events {classes}"), "OK");
    for line in lines {
        assert!(!control.line(line).is_error(), "{line}");
    }
    control.check(END, "1");
    heard(subscriber)
}

#[test]
fn every_class_is_delivered_where_it_is_asked_for_and_nowhere_else() {
    both_protocols(&[], |server, control| {
        let mut subscriber = server.connect();
        listen(&mut subscriber);
        let classes: &[(char, &[&str], &[&str])] = &[
            ('g', &["SET k v", "EXPIRE k 100", "DEL k"], &["expire k", "del k"]),
            ('$', &["SET k v", "APPEND k w", "DEL k"], &["set k", "append k"]),
            ('l', &["RPUSH k v", "LPOP k"], &["rpush k", "lpop k"]),
            ('s', &["SADD k m", "SREM k m"], &["sadd k", "srem k"]),
            ('h', &["HSET k f v", "HDEL k f"], &["hset k", "hdel k"]),
            ('z', &["ZADD k 1 m", "ZREM k m"], &["zadd k", "zrem k"]),
            ('t', &["XADD k * f v", "XTRIM k MAXLEN 0", "DEL k"], &["xadd k", "xtrim k"]),
            ('m', &["GET none"], &["keymiss none"]),
            ('n', &["SET k v", "SET k w", "DEL k"], &["new k"]),
        ];
        for (letter, lines, expected) in classes {
            let events = step(control, &mut subscriber, &format!("E{letter}"), lines);
            let expected: Vec<String> = expected.iter().map(|event| format!("event@0__:{event}")).collect();
            assert_eq!(events, expected, "{letter}");
            // Without K and E nothing is published at all.
            assert!(step(control, &mut subscriber, &letter.to_string(), lines).is_empty(), "{letter}");
        }
    });
}

#[test]
fn by_key_comes_before_by_event_and_both_name_the_database() {
    let server = Server::start(&["--notify-keyspace-events", "KEA"]);
    let (mut control, mut subscriber) = (server.connect(), server.connect());
    // Nobody hears of this.
    control.check("SET before v", "OK");
    listen(&mut subscriber);
    control.check_all("SELECT 3 => OK\nSET k v => OK\nMULTI => OK\nINCR n => QUEUED\nRENAME n m => QUEUED");
    control.check("EXEC", "[1, OK]");
    control.check(END, "1");
    assert_eq!(
        heard(&mut subscriber),
        [
            "space@3__:k set",
            "event@3__:set k",
            "space@3__:n incrby",
            "event@3__:incrby n",
            "space@3__:n rename_from",
            "event@3__:rename_from n",
            "space@3__:m rename_to",
            "event@3__:rename_to m",
        ]
    );
    assert_eq!(step(&mut control, &mut subscriber, "K$", &["SET k w"]), ["space@3__:k set"]);
}

#[test]
fn keys_that_expire_or_are_evicted_are_told_to_whoever_listens() {
    let server = Server::start(&["--notify-keyspace-events", "Exe"]);
    let (mut control, mut subscriber) = (server.connect(), server.connect());
    subscriber.send_line("SUBSCRIBE __keyevent@0__:expired __keyevent@0__:evicted");
    subscriber.expect(r#"["subscribe", "__keyevent@0__:expired", 1]"#);
    subscriber.expect(r#"["subscribe", "__keyevent@0__:evicted", 2]"#);
    // Nobody asks for the key again: the background work finds it.
    control.check("SET gone v PX 1", "OK");
    subscriber.expect(r#"["message", "__keyevent@0__:expired", "gone"]"#);
    control.check("CONFIG SET maxmemory 4mb maxmemory-policy allkeys-lru", "OK");
    let value = "v".repeat(1000);
    for number in 0..10_000 {
        control.send(&["SET", &format!("key:{number}"), &value]);
        control.reply();
    }
    let told = subscriber.reply().to_string();
    assert!(told.starts_with(r#"["message", "__keyevent@0__:evicted", "key:"#), "{told}");
}

#[test]
fn a_transaction_may_begin_and_end_listening() {
    let server = Server::start(&["--notify-keyspace-events", "KA"]);
    let mut client = server.connect().hello3();
    for line in ["MULTI", "SET k 1", "PSUBSCRIBE *", "SET k 2", "PUNSUBSCRIBE", "SET k 3", "EXEC", "PING"] {
        client.send_line(line);
    }
    let mut frames = Vec::new();
    while frames.last().is_none_or(|frame: &String| frame != "PONG") {
        frames.push(client.receive().to_string());
    }
    let events = frames.iter().filter(|frame| frame.contains("pmessage")).count();
    assert_eq!(events, 1, "of the second SET alone: {frames:?}");
    client.check("GET k", "\"3\"");
    client.send_line("PSUBSCRIBE *");
    client.receive();
    client.check("SET k 4", "OK");
    assert_eq!(client.receive().to_string(), r#">["pmessage", "*", "__keyspace@0__:k", "set"]"#);
}
