//! Publish and subscribe: who gets what, in which order, and what a subscriber may do.

use crate::support::client::Client;
use crate::support::server::{Server, both_protocols, wait_until};

/// Sends a line and holds the frames that come back, pushes among them, against `expected`.
#[track_caller]
fn exchange(client: &mut Client, line: &str, expected: &[&str]) {
    client.send_line(line);
    frames(client, expected);
}

/// The next frames, however pushes are written.
#[track_caller]
fn frames(client: &mut Client, expected: &[&str]) {
    for expected in expected {
        let frame = client.receive().to_string();
        assert_eq!(frame.trim_start_matches('>'), *expected);
    }
}

#[test]
fn messages_reach_channels_and_patterns_and_counts_are_told() {
    both_protocols(&[], |server, subscriber| {
        let mut publisher = server.connect();
        exchange(
            subscriber,
            "SUBSCRIBE a b a",
            &[r#"["subscribe", "a", 1]"#, r#"["subscribe", "b", 2]"#, r#"["subscribe", "a", 2]"#],
        );
        exchange(subscriber, "PSUBSCRIBE a* *", &[r#"["psubscribe", "a*", 3]"#, r#"["psubscribe", "*", 4]"#]);
        exchange(subscriber, "SSUBSCRIBE a", &[r#"["ssubscribe", "a", 1]"#]);
        publisher.check_all(
            r#"
            PUBLISH b 1                 => 2
            PUBLISH none 2              => 1
            SPUBLISH a 3                => 1
            SPUBLISH b 4                => 0
            PUBSUB NUMSUB a b c         => ["a", 1, "b", 1, "c", 0]
            PUBSUB NUMSUB               => []
            PUBSUB NUMPAT               => 2
            PUBSUB CHANNELS a*          => ["a"]
            PUBSUB SHARDCHANNELS        => ["a"]
            PUBSUB SHARDCHANNELS x*     => []
            PUBSUB SHARDNUMSUB a b      => ["a", 1, "b", 0]
            PUBSUB CHANNELS a b         => -ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.
            PUBSUB NUMPAT x             => -ERR wrong number of arguments for 'pubsub|numpat' command
            "#,
        );
        frames(
            subscriber,
            &[
                r#"["message", "b", "1"]"#,
                r#"["pmessage", "*", "b", "1"]"#,
                r#"["pmessage", "*", "none", "2"]"#,
                r#"["smessage", "a", "3"]"#,
            ],
        );
        exchange(
            subscriber,
            "UNSUBSCRIBE b none",
            &[r#"["unsubscribe", "b", 3]"#, r#"["unsubscribe", "none", 3]"#],
        );
        exchange(subscriber, "UNSUBSCRIBE", &[r#"["unsubscribe", "a", 2]"#]);
        exchange(subscriber, "UNSUBSCRIBE", &[r#"["unsubscribe", nil, 2]"#]);
        exchange(subscriber, "PUNSUBSCRIBE a*", &[r#"["punsubscribe", "a*", 1]"#]);
        exchange(subscriber, "PUNSUBSCRIBE", &[r#"["punsubscribe", "*", 0]"#]);
        exchange(subscriber, "SUNSUBSCRIBE", &[r#"["sunsubscribe", "a", 0]"#]);
        exchange(subscriber, "SUNSUBSCRIBE a", &[r#"["sunsubscribe", "a", 0]"#]);
        publisher.check_all("PUBLISH a 1 => 0\nSPUBLISH a 1 => 0\nPUBSUB CHANNELS => []\nPUBSUB NUMPAT => 0");
        assert!(publisher.line("PUBSUB HELP").to_string().contains("SHARDNUMSUB"));
        subscriber.check("PING", "PONG");
    });
}

#[test]
fn a_subscriber_in_resp2_may_do_little_and_in_resp3_everything() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    const ONLY: &str =
        "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    exchange(&mut client, "SUBSCRIBE a", &[r#"["subscribe", "a", 1]"#]);
    for (line, name) in [
        ("GET k", "get"),
        ("CLIENT ID", "client|id"),
        ("PUBLISH a b", "publish"),
        ("HELLO 3", "hello"),
        ("MULTI", "multi"),
        ("PUBSUB NUMPAT", "pubsub|numpat"),
    ] {
        client.check(line, &format!("-ERR Can't execute '{name}': {ONLY}"));
    }
    client.check_all(&format!(
        r#"
        EXEC            => -EXECABORT Transaction discarded because of: Can't execute 'exec': {ONLY}
        GET             => -ERR wrong number of arguments for 'get' command
        PING            => ["pong", ""]
        PING x          => ["pong", "x"]
        PING x y        => -ERR wrong number of arguments for 'ping' command
        RESET           => RESET
        PING            => PONG
        PUBSUB CHANNELS => []
        "#
    ));
    let mut client = client.hello3();
    exchange(&mut client, "SUBSCRIBE a", &[r#"["subscribe", "a", 1]"#]);
    client.check_all("SET k v => OK\nGET k => \"v\"\nPING => PONG");
    // One's own messages come behind the reply of the command that sent them.
    exchange(&mut client, "PUBLISH a m", &["1", r#"["message", "a", "m"]"#]);
    assert!(client.last_raw().starts_with(b">3"));
    assert!(!client.line("HELLO 2").is_error());
    client.check("GET k", &format!("-ERR Can't execute 'get': {ONLY}"));
    client.check("QUIT", "OK");
    assert!(client.is_closed_by_server());
    let mut other = server.connect();
    wait_until("its subscription has ended", || other.line("PUBSUB CHANNELS").to_string() == "[]");
}

#[test]
fn transactions_subscribe_publish_and_leave() {
    let server = Server::start(&[]);
    let mut client = server.connect().hello3();
    for line in ["MULTI", "SUBSCRIBE a", "PUBLISH a 1", "SSUBSCRIBE s", "PSUBSCRIBE *", "PUBLISH a 2", "EXEC"]
    {
        client.send_line(line);
    }
    frames(&mut client, &["OK", "QUEUED", "QUEUED", "QUEUED", "QUEUED", "QUEUED"]);
    let exec = client.receive().to_string();
    assert_eq!(
        exec,
        r#"[>["subscribe", "a", 1], 1, -ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client, >["psubscribe", "*", 2], 2]"#
    );
    frames(
        &mut client,
        &[r#"["message", "a", "1"]"#, r#"["message", "a", "2"]"#, r#"["pmessage", "*", "a", "2"]"#],
    );
    for line in ["MULTI", "UNSUBSCRIBE", "PUNSUBSCRIBE *", "PUBLISH a 3", "EXEC", "PING"] {
        client.send_line(line);
    }
    frames(&mut client, &["OK", "QUEUED", "QUEUED", "QUEUED"]);
    frames(&mut client, &[r#"[>["unsubscribe", "a", 1], >["punsubscribe", "*", 0], 0]"#, "PONG"]);
}

#[test]
fn what_silences_replies_does_not_silence_messages() {
    both_protocols(&[], |server, client| {
        let mut publisher = server.connect();
        client.send_line("CLIENT REPLY OFF");
        client.send_line("PING");
        exchange(client, "SUBSCRIBE a b", &[r#"["subscribe", "a", 1]"#, r#"["subscribe", "b", 2]"#]);
        client.send_line("PING");
        client.send_line("SUBSCRIBE");
        exchange(client, "UNSUBSCRIBE b", &[r#"["unsubscribe", "b", 1]"#]);
        publisher.check("PUBLISH a m", "1");
        frames(client, &[r#"["message", "a", "m"]"#]);
        exchange(client, "UNSUBSCRIBE", &[r#"["unsubscribe", "a", 0]"#]);
        client.check("CLIENT REPLY ON", "OK");
        for line in ["MULTI", "CLIENT REPLY OFF", "SUBSCRIBE a", "PING", "EXEC", "PING"] {
            client.send_line(line);
        }
        frames(client, &["OK", "QUEUED", "QUEUED", "QUEUED"]);
        // An array of as many as were queued, of which only the confirmation comes.
        client.send_line("UNSUBSCRIBE");
        client.send_line("CLIENT REPLY ON");
        let exec = client.receive().to_string().replace('>', "");
        assert_eq!(exec, r#"[["subscribe", "a", 1], ["unsubscribe", "a", 0], OK]"#);
        client.send_line("CLIENT REPLY SKIP");
        exchange(client, "PSUBSCRIBE *", &[r#"["psubscribe", "*", 1]"#]);
        exchange(client, "PUNSUBSCRIBE", &[r#"["punsubscribe", "*", 0]"#]);
    });
}

#[test]
fn subscribers_are_told_apart() {
    let server = Server::start(&[]);
    let (mut client, mut control) = (server.connect(), server.connect());
    exchange(&mut client, "SUBSCRIBE a b", &[r#"["subscribe", "a", 1]"#, r#"["subscribe", "b", 2]"#]);
    exchange(&mut client, "PSUBSCRIBE a", &[r#"["psubscribe", "a", 3]"#]);
    exchange(&mut client, "SSUBSCRIBE a", &[r#"["ssubscribe", "a", 1]"#]);
    let list = control.line("CLIENT LIST TYPE pubsub").text();
    assert_eq!(list.lines().count(), 1);
    assert!(list.contains(" flags=P ") && list.contains(" sub=2 psub=1 ssub=1 "), "{list}");
    assert!(!control.line("CLIENT LIST TYPE normal").text().contains("flags=P"));
    assert!(control.line("INFO clients").text().contains("\npubsub_clients:1\r\n"));
    let stats = control.line("INFO stats").text();
    for line in ["pubsub_channels:2", "pubsub_patterns:1", "pubsubshard_channels:1"] {
        assert!(stats.contains(&format!("\n{line}\r\n")), "{line} not in {stats}");
    }
    control.check("CLIENT KILL TYPE pubsub", "1");
    assert!(client.is_closed_by_server());
    wait_until("its subscriptions have ended", || {
        control.line("PUBSUB NUMPAT").to_string() == "0"
            && control.line("INFO stats").text().contains("pubsub_channels:0\r\npubsub_patterns:0\r\n")
    });
}

#[test]
fn publishing_is_held_while_writes_are_paused() {
    let server = Server::start(&[]);
    let (mut publisher, mut control) = (server.connect(), server.connect());
    control.check("CLIENT PAUSE 100000 WRITE", "OK");
    publisher.send_line("PUBLISH a m");
    wait_until("PUBLISH waits", || control.line("INFO clients").text().contains("\nblocked_clients:1\r\n"));
    control.check("CLIENT UNPAUSE", "OK");
    publisher.expect("0");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_the_others_get_everything() {
    const MESSAGES: usize = 200;
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let (mut slow, mut keen, mut publisher) = (server.connect(), server.connect(), server.connect());
    for client in [&mut slow, &mut keen] {
        exchange(client, "SUBSCRIBE a", &[r#"["subscribe", "a", 1]"#]);
    }
    let message = "x".repeat(100_000);
    for _ in 0..MESSAGES {
        publisher.cmd(&["PUBLISH", "a", &message]);
        assert_eq!(keen.receive().to_string().len(), 20 + message.len());
    }
    wait_until("it is gone", || publisher.line("PUBSUB NUMSUB a").to_string() == r#"["a", 1]"#);
    let stats = publisher.line("INFO stats").text();
    assert!(stats.contains("\nclient_output_buffer_limit_disconnections:1\r\n"), "{stats}");
    // What it got is the beginning, cut off somewhere.
    let mut got = 0;
    while slow.try_receive().is_ok() {
        got += 1;
    }
    assert!(got < MESSAGES, "{got}");
}

#[test]
fn many_subscribers_get_every_message_in_order() {
    const SUBSCRIBERS: usize = 60;
    const MESSAGES: usize = 300;
    let server = Server::start(&["--threads", "2"]);
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.send_line(if number % 3 == 0 { "HELLO 3" } else { "HELLO 2" });
        subscriber.receive();
        exchange(subscriber, "SUBSCRIBE a", &[r#"["subscribe", "a", 1]"#]);
    }
    let mut publishers = [server.connect(), server.connect()];
    // All at once, so that messages meet others that are not written yet.
    for number in 0..MESSAGES {
        for (at, publisher) in publishers.iter_mut().enumerate() {
            publisher.send(&["PUBLISH", "a", &format!("{at}:{number}")]);
        }
    }
    for publisher in &mut publishers {
        (0..MESSAGES).for_each(|_| publisher.expect(&SUBSCRIBERS.to_string()));
    }
    for subscriber in &mut subscribers {
        let mut next = [0; 2];
        for _ in 0..2 * MESSAGES {
            let frame = subscriber.receive().to_string();
            let message = frame.trim_start_matches('>').trim_start_matches(r#"["message", "a", ""#);
            let at = usize::from(message.starts_with('1'));
            assert_eq!(message, format!("{at}:{}\"]", next[at]));
            next[at] += 1;
        }
    }
}

#[test]
fn a_connection_that_ends_gives_up_all_that_it_was_subscribed_to() {
    const NAMES: usize = 5_000;
    let server = Server::start(&[]);
    let (mut client, mut control) = (server.connect(), server.connect());
    for command in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let mut words = vec![command.to_owned()];
        words.extend((0..NAMES).map(|number| format!("n:{number}")));
        client.send(&words);
        (0..NAMES).for_each(|_| drop(client.receive()));
    }
    let counts = |control: &mut Client| {
        let stats = control.line("INFO stats").text();
        let lines = stats.lines().filter(|line| line.starts_with("pubsub"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = |count: usize| {
        ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"].map(|name| format!("{name}:{count}"))
    };
    assert_eq!(counts(&mut control), all(NAMES));
    drop(client);
    wait_until("nothing is left", || counts(&mut control) == all(0));
}
