//! Commands that wait: who is served first, when nobody is, and how a wait ends.

use crate::support::client::Client;
use crate::support::server::Server;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until so many clients wait.
#[track_caller]
fn await_blocked(client: &mut Client, count: usize) {
    let (began, wanted) = (Instant::now(), format!("blocked_clients:{count}\r\n"));
    while !client.line("INFO clients").text().contains(&wanted) {
        assert!(began.elapsed() < LIMIT, "not {count} clients wait: {}", client.line("CLIENT LIST").text());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Clients that sent these lines, one after the other, and wait.
#[track_caller]
fn waiting(server: &Server, control: &mut Client, lines: &[&str]) -> Vec<Client> {
    let mut clients = Vec::new();
    for line in lines {
        let mut client = server.connect();
        client.send_line(line);
        clients.push(client);
        await_blocked(control, clients.len());
    }
    clients
}

#[test]
fn first_come_first_served_before_the_pusher_is_answered() {
    let server = Server::start(&[]);
    let mut control = server.connect();
    let mut clients =
        waiting(&server, &mut control, &["BLPOP a b 0", "BRPOP b a 0", "BLMOVE a out LEFT RIGHT 0"]);
    control.check_all(
        r#"
        RPUSH b 1                   => 1
        LLEN b                      => 0
        RPUSH a 2 3                 => 2
        LRANGE a 0 -1               => []
        LRANGE out 0 -1             => ["2"]
        "#,
    );
    clients[0].expect(r#"["b", "1"]"#);
    clients[1].expect(r#"["a", "3"]"#);
    clients[2].expect(r#""2""#);
    await_blocked(&mut control, 0);
}

#[test]
fn a_transaction_is_over_before_anybody_is_served() {
    let server = Server::start(&[]);
    let mut control = server.connect();
    let mut clients = waiting(&server, &mut control, &["BLPOP k 0"]);
    control.check_all(
        r#"
        MULTI                       => OK
        LPUSH k 1                   => QUEUED
        DEL k                       => QUEUED
        EXEC                        => [1, 1]
        MULTI                       => OK
        SET k v                     => QUEUED
        DEL k                       => QUEUED
        LPUSH k 2                   => QUEUED
        LPUSH k 3                   => QUEUED
        BLPOP none 0                => QUEUED
        EXEC                        => [OK, 1, 1, 2, nil]
        LRANGE k 0 -1               => ["2"]
        "#,
    );
    clients[0].expect(r#"["k", "3"]"#);
}

#[test]
fn what_is_of_another_type_serves_nobody() {
    let server = Server::start(&[]);
    let mut control = server.connect();
    let mut clients = waiting(&server, &mut control, &["BLPOP k 0", "BZPOPMIN k 0"]);
    control.check_all(
        r#"
        ZADD k 1 m                  => 1
        EXISTS k                    => 0
        SET k v                     => OK
        DEL k                       => 1
        ZADD k 1 m                  => 1
        DEL k                       => 1
        RPUSH k e                   => 1
        EXISTS k                    => 0
        "#,
    );
    clients[1].expect(r#"["k", "m", "1"]"#);
    clients[0].expect(r#"["k", "e"]"#);
}

#[test]
fn a_chain_of_moves_goes_through_at_once() {
    let server = Server::start(&[]);
    let mut control = server.connect();
    let lines = ["BLMOVE a b LEFT LEFT 0", "BLMOVE b c LEFT LEFT 0", "BLPOP c 0"];
    let mut clients = waiting(&server, &mut control, &lines);
    control.check_all(
        r#"
        RPUSH a x                   => 1
        EXISTS a b c                => 0
        "#,
    );
    clients[0].expect(r#""x""#);
    clients[1].expect(r#""x""#);
    clients[2].expect(r#"["c", "x"]"#);
}

#[test]
fn a_wait_ends_by_its_timeout_by_unblock_and_with_its_client() {
    let server = Server::start(&[]);
    let mut control = server.connect();
    control.check_all(
        r#"
        BLPOP k 0.01                => nil
        BLMOVE k l LEFT LEFT 0.01   => nil
        BLPOP k -1                  => -ERR timeout is negative
        BLPOP k x                   => -ERR timeout is not a float or out of range
        CLIENT UNBLOCK 100          => 0
        "#,
    );
    let mut clients = waiting(&server, &mut control, &["BLPOP k 0", "BLPOP k 0", "BLPOP k 100"]);
    let mut ids = Vec::new();
    for line in control.line("CLIENT LIST").text().lines().filter(|line| line.contains("flags=b")) {
        ids.extend(line.split(' ').find_map(|word| word.strip_prefix("id=")).map(str::to_owned));
    }
    assert_eq!(ids.len(), 3);
    control.check_all(&format!("CLIENT UNBLOCK {} => 1\nCLIENT UNBLOCK {} ERROR => 1", ids[0], ids[1]));
    clients[0].expect("nil");
    clients[1].expect("-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    await_blocked(&mut control, 1);
    // Both are served again, and the one that is gone takes nothing.
    drop(clients.pop());
    await_blocked(&mut control, 0);
    control.check_all(
        r#"
        RPUSH k 1                   => 1
        LLEN k                      => 1
        "#,
    );
    clients[0].check_all("LPOP k => \"1\"");
}

#[test]
fn what_follows_in_a_pipeline_waits_too() {
    let server = Server::start(&[]);
    let mut control = server.connect();
    let mut client = server.connect();
    for line in ["PING", "BLPOP k 0", "LLEN k", "ECHO end"] {
        client.send_line(line);
    }
    client.expect("PONG");
    await_blocked(&mut control, 1);
    control.check_all("RPUSH k 1 2 => 2");
    client.expect(r#"["k", "1"]"#);
    client.expect("1");
    client.expect("\"end\"");
}

#[test]
fn a_monitor_sees_a_command_when_it_begins_to_wait_and_no_more() {
    let server = Server::start(&[]);
    let (mut control, mut monitor) = (server.connect(), server.connect());
    monitor.check("MONITOR", "OK");
    let mut clients = waiting(&server, &mut control, &["BLPOP k 0"]);
    control.check("RPUSH k e", "1");
    clients[0].expect(r#"["k", "e"]"#);
    control.check("ECHO end", "\"end\"");
    let mut shown = Vec::new();
    while !shown.last().is_some_and(|line: &String| line.contains("\"end\"")) {
        let line = monitor.reply().text();
        if ["BLPOP", "RPUSH", "end"].iter().any(|word| line.contains(word)) {
            shown.push(line);
        }
    }
    let places: Vec<bool> = shown.iter().map(|line| line.contains("BLPOP")).collect();
    assert_eq!(places, [true, false, false], "{shown:?}");
}
