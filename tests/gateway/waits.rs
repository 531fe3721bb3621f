//! Commands that wait, through the gateway: keys may be anywhere, and slots may move meanwhile.

use crate::support::client::{Client, encode};
use crate::support::cluster::Cluster;
use crate::support::frame::Frame;
use crate::{connect, key_of, list, start};
use std::time::{Duration, Instant};

/// So many clients wait on a node, for whatever key.
fn await_blocked(cluster: &Cluster, number: usize, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    let mut control = cluster.connect(number);
    cluster.wait(&format!("{count} clients wait at node {number}"), || {
        control.line("INFO clients").text().contains(&wanted)
    });
}

/// So many clients of all nodes' gateways wait.
fn await_waiting(cluster: &Cluster, count: usize) {
    await_waiting_at(cluster, &cluster.running(), count);
}

/// So many clients of these nodes' gateways wait.
fn await_waiting_at(cluster: &Cluster, nodes: &[usize], count: usize) {
    cluster.wait(&format!("{count} clients wait"), || {
        let blocked = nodes.iter().map(|number| {
            let clients = cluster.connect(*number).line("CLIENT LIST").text();
            let of_gateway = |line: &&str| line.contains(":6380 ") && !line.contains("name=larder-gateway");
            clients.lines().filter(of_gateway).filter(|line| line.contains(" flags=b ")).count()
        });
        blocked.sum::<usize>() == count
    });
}

/// What waits, with `@` for the key, what serves it, and the answer.
const WAITS: &[(&str, &str, &str)] = &[
    ("BLPOP {@}none @ 0", "RPUSH @ 1 2", r#"["@", "1"]"#),
    ("BRPOP @ 0", "RPUSH @ 1 2", r#"["@", "2"]"#),
    ("BLMOVE @ {@}to LEFT RIGHT 0", "RPUSH @ 1 2", r#""1""#),
    ("BRPOPLPUSH @ {@}to 0", "RPUSH @ 1 2", r#""2""#),
    ("BLMPOP 0 2 {@}none @ LEFT COUNT 2", "RPUSH @ 1 2", r#"["@", ["1", "2"]]"#),
    ("BZPOPMIN @ 0", "ZADD @ 1 a 2 b", r#"["@", "a", "1"]"#),
    ("BZPOPMAX @ 0", "ZADD @ 1 a 2 b", r#"["@", "b", "2"]"#),
    ("BZMPOP 0 1 @ MIN", "ZADD @ 1 a 2 b", r#"["@", [["a", "1"]]]"#),
    ("XREAD BLOCK 0 STREAMS @ $", "XADD @ 5-1 f v", r#"[["@", [["5-1", ["f", "v"]]]]]"#),
    ("XREADGROUP GROUP g c BLOCK 0 STREAMS @ >", "XADD @ 5-1 f v", r#"[["@", [["5-1", ["f", "v"]]]]]"#),
];

#[test]
fn a_client_waits_for_keys_of_any_node() {
    let cluster = start(&[]);
    for number in 0..3 {
        let key = key_of(&cluster, number);
        let mut client = connect(&cluster, 0);
        let mut other = connect(&cluster, 1);
        for (wait, serve, answer) in WAITS {
            let fill = |text: &str| text.replace('@', &key);
            other.check(&format!("DEL {key}"), if *wait == WAITS[0].0 { "0" } else { "1" });
            if wait.starts_with("XREADGROUP") {
                other.check(&format!("XGROUP CREATE {key} g $ MKSTREAM"), "OK");
            }
            client.send_line(&fill(wait));
            await_blocked(&cluster, number, 1);
            assert!(!other.line(&fill(serve)).is_error());
            client.expect(&fill(answer));
            // So that there is something to delete.
            other.line(&format!("SET {key} x"));
        }
        other.line(&format!("DEL {key}"));
        client.check(
            &format!("BLPOP {key} other:{key} 0"),
            "-CROSSSLOT Keys in request don't hash to the same slot",
        );
        client.check(&format!("BLPOP {key} -1"), "-ERR timeout is negative");
        client.check("MULTI", "OK");
        client.check(&format!("BLPOP {key} 0"), "QUEUED");
        client.check(&format!("SET {key} now"), "QUEUED");
        client.check("EXEC", "[nil, OK]");
        client.check(
            &format!("BLPOP {key} 0"),
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        );
        await_blocked(&cluster, number, 0);
    }
}

#[test]
fn a_wait_ends_in_time_or_when_told_to() {
    let cluster = start(&[]);
    for (number, resp3) in [(0, false), (1, false), (1, true)] {
        let key = key_of(&cluster, number);
        let mut client = connect(&cluster, 0);
        let mut other = connect(&cluster, 0);
        if resp3 {
            client = client.hello3();
        }
        for wait in
            ["BLPOP @ 0.05", "BLMOVE @ @ LEFT LEFT 0.05", "BZMPOP 0.05 1 @ MAX", "XREAD BLOCK 50 STREAMS @ $"]
        {
            let began = Instant::now();
            let reply = client.line(&wait.replace('@', &key));
            assert!(matches!(reply, Frame::Null), "{wait}: {reply}");
            assert!(began.elapsed() >= Duration::from_millis(50), "{wait} took {:?}", began.elapsed());
        }
        let id = client.line("CLIENT ID").integer();
        for (why, answer) in
            [("", "nil"), (" TIMEOUT", "nil"), (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")]
        {
            client.send_line(&format!("BLPOP {key} 0"));
            cluster.wait("the client waits", || {
                let clients = other.line("CLIENT LIST").text();
                let own =
                    clients.lines().find(|line| line.starts_with(&format!("id={id} "))).expect("it is there");
                own.contains(" flags=b ") && own.contains(" cmd=blpop ")
            });
            other.check(&format!("CLIENT UNBLOCK {id}{why}"), "1");
            client.expect(answer);
            other.check(&format!("CLIENT UNBLOCK {id}{why}"), "0");
            let clients = other.line("CLIENT LIST").text();
            let own =
                clients.lines().find(|line| line.starts_with(&format!("id={id} "))).expect("it is there");
            assert!(own.contains(" flags=N "), "{own}");
        }
        other.check(&format!("RPUSH {key} 1"), "1");
        client.check(&format!("BLPOP {key} 0"), &format!(r#"["{key}", "1"]"#));
    }
}

#[test]
fn only_the_waiting_client_is_held_up() {
    let cluster = start(&[]);
    let (here, there) = (key_of(&cluster, 0), key_of(&cluster, 1));
    for waited in [&here, &there] {
        let (mut client, mut other) = (connect(&cluster, 0), connect(&cluster, 0));
        other.check(&format!("SET {{{there}}}:s far"), "OK");
        other.check(&format!("SET {{{here}}}:s near"), "OK");
        let mut wire = encode(&["GET", &format!("{{{there}}}:s")]);
        for words in [
            vec!["BLPOP", waited, "0"],
            vec!["GET", &format!("{{{there}}}:s")],
            vec!["GET", &format!("{{{here}}}:s")],
            vec!["ECHO", "end"],
        ] {
            wire.extend(encode(&words));
        }
        client.send_raw(&wire);
        client.expect(r#""far""#);
        await_waiting(&cluster, 1);
        for _ in 0..20 {
            other.check(&format!("GET {{{there}}}:s"), r#""far""#);
        }
        other.check(&format!("RPUSH {waited} v"), "1");
        for expected in [
            format!(r#"["{waited}", "v"]"#),
            r#""far""#.to_owned(),
            r#""near""#.to_owned(),
            r#""end""#.to_owned(),
        ] {
            client.expect(&expected);
        }
    }
}

#[test]
fn nothing_is_popped_for_a_client_that_is_gone() {
    let cluster = start(&[]);
    for number in 0..2 {
        let key = key_of(&cluster, number);
        let mut other = connect(&cluster, 2);
        let gone: Vec<Client> = (0..3)
            .map(|before| {
                let mut client = connect(&cluster, 0);
                client.send_line(&format!("BLPOP {key} 0"));
                await_blocked(&cluster, number, before + 1);
                client
            })
            .collect();
        let mut client = connect(&cluster, 0);
        client.send_line(&format!("BLPOP {key} 0"));
        await_blocked(&cluster, number, 4);
        drop(gone);
        await_blocked(&cluster, number, 1);
        other.check(&format!("RPUSH {key} 1 2"), "2");
        client.expect(&format!(r#"["{key}", "1"]"#));
        other.check(&format!("LRANGE {key} 0 -1"), r#"["2"]"#);
    }
}

#[test]
fn slots_move_while_clients_wait() {
    const CLIENTS: usize = 60;
    let mut cluster = start(&[]);
    let keys: Vec<String> = (0..CLIENTS).map(|number| format!("w:{number}")).collect();
    let mut control = connect(&cluster, 0);
    for key in keys.iter().step_by(2) {
        control.check(&format!("XADD {key} 1-1 f old"), r#""1-1""#);
    }
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| connect(&cluster, 0)).collect();
    for (number, (client, key)) in clients.iter_mut().zip(&keys).enumerate() {
        match number % 4 {
            0 => client.send_line(&format!("XREAD BLOCK 0 STREAMS {key} $")),
            2 => client.send_line(&format!("XREAD BLOCK 600000 STREAMS {key} $")),
            1 => client.send_line(&format!("BLPOP {key} 0")),
            _ => client.send_line(&format!("BLPOP {key} 600")),
        }
    }
    await_waiting(&cluster, CLIENTS);
    cluster.join();
    cluster.wait_ok();
    await_waiting(&cluster, CLIENTS);
    assert_eq!(cluster.stop(2), Some(0), "a drained node ends in order");
    cluster.wait_ok();
    await_waiting(&cluster, CLIENTS);
    for (number, (client, key)) in clients.iter_mut().zip(&keys).enumerate() {
        if number % 2 == 0 {
            control.check(&format!("XADD {key} 2-1 f new"), r#""2-1""#);
            client.expect(&format!(r#"[["{key}", [["2-1", ["f", "new"]]]]]"#));
        } else {
            control.check(&format!("RPUSH {key} v"), "1");
            client.expect(&format!(r#"["{key}", "v"]"#));
        }
        client.check("PING", "PONG");
    }
}

#[test]
fn a_node_that_dies_ends_the_wait_or_the_next_owner_goes_on() {
    let mut cluster = start(&[]);
    let keys = [key_of(&cluster, 2), format!("{{{}}}:s", key_of(&cluster, 2))];
    let mut clients: Vec<Client> = (0..2).map(|_| connect(&cluster, 0)).collect();
    clients[0].send_line(&format!("BLPOP {} 0", keys[0]));
    clients[1].send_line(&format!("XREAD BLOCK 0 STREAMS {} $", keys[1]));
    await_blocked(&cluster, 2, 2);
    cluster.kill(2);
    for (client, known) in clients.iter_mut().zip(["may or may not have been executed", "CLUSTERDOWN "]) {
        let reply = client.reply();
        assert!(matches!(&reply, Frame::Error(text) if text.contains(known)), "{reply}");
    }
    cluster.wait_ok();
    for (number, key) in keys.iter().enumerate() {
        clients[number].send_line(&format!("BLPOP {key} 0"));
    }
    await_waiting(&cluster, 2);
    let mut other = connect(&cluster, 1);
    for (client, key) in clients.iter_mut().zip(&keys) {
        other.check(&format!("RPUSH {key} v"), "1");
        client.expect(&format!(r#"["{key}", "v"]"#));
    }
}

#[test]
fn a_stop_does_not_wait_for_those_who_wait() {
    let mut cluster = start(&["--cluster-drain-timeout", "0"]);
    let keys: Vec<String> = (0..2).map(|number| key_of(&cluster, number)).collect();
    let mut clients: Vec<Client> = (0..2).map(|_| connect(&cluster, 0)).collect();
    for (client, key) in clients.iter_mut().zip(&keys) {
        client.send_line(&format!("BLPOP {key} 0"));
    }
    await_blocked(&cluster, 0, 2);
    let began = Instant::now();
    assert_eq!(cluster.stop(0), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    assert!(clients.iter_mut().all(Client::is_closed_by_server));
    await_blocked(&cluster, 1, 0);
    let mut other = connect(&cluster, 1);
    assert_eq!(list(&other.line(&format!("LRANGE {} 0 -1", keys[1]))).len(), 0);
}

/// How a stopped owner ends those who wait for it: a client with `BLPOP` that something may have been popped for is told so,
/// one that only reads goes on waiting at the next owner, and what was sent to the stopped node by anybody is not done.
#[test]
fn an_owner_that_is_stopped_and_replaced_keeps_nobody_waiting() {
    // Long enough for a busy machine not to give anybody else up.
    let cluster = start(&["--cluster-node-timeout", "5000"]);
    let tag = key_of(&cluster, 2);
    let key = |name: &str| format!("{{{tag}}}:{name}");
    let mut popping = connect(&cluster, 0);
    let mut reading = connect(&cluster, 1).hello3();
    let mut timed = connect(&cluster, 0);
    // What is behind a wait in the pipeline goes on, too.
    popping.send_raw(&[encode(&["BLPOP", &key("list"), "0"]), encode(&["GET", &key("word")])].concat());
    reading.send_line(&format!("XREAD BLOCK 0 STREAMS {} $", key("stream")));
    timed.send_line(&format!("BZPOPMIN {} 600", key("ranks")));
    await_blocked(&cluster, 2, 3);
    let mut late = cluster.connect(2);
    cluster.signal(2, "STOP");
    let began = Instant::now();
    // It waits in the socket of a node that does not run.
    late.send_line(&format!("RPUSH {} late", key("list")));
    for client in [&mut popping, &mut timed] {
        let reply = client.reply().to_string();
        assert!(reply.contains("may or may not have been executed"), "{reply}");
    }
    println!("who waited to pop was answered {:?} after the owner was stopped", began.elapsed());
    popping.expect("nil");
    let mut other = connect(&cluster, 1);
    cluster
        .wait("the slot has another owner", || other.line(&format!("SET {} x", key("word"))).text() == "OK");
    popping.check(&format!("GET {}", key("word")), r#""x""#);
    await_waiting_at(&cluster, &[0, 1], 1);
    other.check(&format!("XADD {} 5-1 f v", key("stream")), r#""5-1""#);
    reading.expect(&format!(r#"{{"{}": [["5-1", ["f", "v"]]]}}"#, key("stream")));
    popping.send_line(&format!("BLPOP {} 0", key("list")));
    await_waiting_at(&cluster, &[0, 1], 1);
    cluster.signal(2, "CONT");
    // Closed without an answer, as well it may be.
    if let Ok(reply) = late.try_receive() {
        let reply = reply.to_string();
        assert!(reply.starts_with("-MOVED ") || reply.starts_with("-CLUSTERDOWN "), "{reply}");
    }
    cluster.wait_ok();
    await_waiting(&cluster, 1);
    other.check(&format!("RPUSH {} one two", key("list")), "2");
    popping.expect(&format!(r#"["{}", "one"]"#, key("list")));
    other.check(&format!("LRANGE {} 0 -1", key("list")), r#"["two"]"#);
    for client in [&mut popping, &mut reading, &mut timed] {
        client.check(&format!("GET {}", key("word")), r#""x""#);
    }
}

/// An owner that is not given up, because leases last for longer, and does not run for a while: whoever waits is served by
/// it afterwards, once.
#[test]
fn an_owner_that_pauses_serves_those_who_wait_once() {
    let cluster = start(&["--cluster-node-timeout", "60000"]);
    let key = key_of(&cluster, 2);
    let mut clients: Vec<Client> = (0..3).map(|number| connect(&cluster, number)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send_line(&format!("BLPOP {key} 0"));
        await_blocked(&cluster, 2, number + 1);
    }
    let mut other = cluster.connect(2);
    cluster.signal(2, "STOP");
    other.send_line(&format!("RPUSH {key} 1 2 3 4"));
    cluster.signal(2, "CONT");
    other.expect("4");
    for (client, element) in clients.iter_mut().zip(["1", "2", "3"]) {
        client.expect(&format!(r#"["{key}", "{element}"]"#));
        client.check(&format!("EXISTS {key}"), "1");
    }
    other.check(&format!("LRANGE {key} 0 -1"), r#"["4"]"#);
}

/// The same where it does not go on: what has a time is answered ten seconds after that at the latest, whatever it is.
#[test]
fn a_silent_owner_is_waited_for_no_longer_than_promised() {
    let cluster = start(&["--cluster-node-timeout", "60000"]);
    let key = key_of(&cluster, 2);
    let mut clients: Vec<Client> = (0..3).map(|_| connect(&cluster, 0)).collect();
    // So that there is a link to it.
    clients[0].check(&format!("EXISTS {key}"), "0");
    cluster.signal(2, "STOP");
    let began = Instant::now();
    for (client, line) in
        clients.iter_mut().zip(["BLPOP @ 0.5", "XREAD BLOCK 500 STREAMS @ 0", "RPUSH @ never"])
    {
        client.send_line(&line.replace('@', &key));
    }
    for (client, known) in clients.iter_mut().zip(["may or may not", "CLUSTERDOWN", "may or may not"]) {
        let reply = client.reply().to_string();
        assert!(reply.contains(known), "{reply}");
        println!("{known}: answered {:?} after the owner fell silent", began.elapsed());
    }
    // Others' keys are none of its business.
    let other = key_of(&cluster, 1);
    for client in &mut clients {
        client.check(&format!("EXISTS {other}"), "0");
    }
    cluster.signal(2, "CONT");
    let mut client = connect(&cluster, 1);
    // What was sent before it fell silent may have been done, but once at most.
    cluster.wait("the owner answers again", || !client.line(&format!("LLEN {key}")).is_error());
    let left = list(&client.line(&format!("LRANGE {key} 0 -1")));
    assert!(left.len() <= 1, "{left:?}");
    clients[0].check(&format!("RPUSH {key}:more x"), "1");
}
