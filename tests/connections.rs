//! Connections at their limits: clients that do not read, do not finish, are too many, idle, killed or held back.
//! Each must cost bounded memory and nobody else's service.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use support::client::{Client, encode};
use support::frame::Frame;
use support::server::{Server, wait_until};

/// Bytes of unsent replies above which the server executes nothing more (`client-output-pause`), as set in these tests.
const OUTPUT_PAUSE: usize = 1 << 20;

/// The id of a connection.
fn id_of(client: &mut Client) -> i64 {
    client.line("CLIENT ID").integer()
}

/// A field of the client `id` in CLIENT LIST, as `observer` sees it; `None` once it has gone.
fn field(observer: &mut Client, id: i64, name: &str) -> Option<String> {
    let line = observer.line(&format!("CLIENT LIST ID {id}")).text();
    let value = line.split_whitespace().find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    Some(value.to_owned())
}

fn number(observer: &mut Client, id: i64, name: &str) -> usize {
    let value = field(observer, id, name).unwrap_or_else(|| panic!("client {id} has gone"));
    value.parse().unwrap_or_else(|_| panic!("{name}={value}"))
}

/// A client with `count` GETs of a value of `size` bytes on their way, none of whose replies is read.
fn deaf_client(server: &Server, count: usize, size: usize) -> (Client, i64) {
    server.connect().cmd(&[b"SET".as_slice(), b"big", &vec![b'v'; size]]);
    let mut client = server.connect();
    let id = id_of(&mut client);
    client.send_raw(&encode(&["GET", "big"]).repeat(count));
    (client, id)
}

/// Whether the connection ends, be it in the middle of a reply.
fn is_cut_off(mut client: Client) -> bool {
    loop {
        if let Err(error) = client.try_receive() {
            return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        }
    }
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_gets_every_reply_in_the_end() {
    const COUNT: usize = 20_000;
    const SIZE: usize = 10_000;
    let server = Server::start(&["--threads", "1", "--client-output-pause", "1mb"]);
    let (mut deaf, id) = deaf_client(&server, COUNT, SIZE);
    let mut observer = server.connect();
    wait_until("its replies pile up", || number(&mut observer, id, "omem") > OUTPUT_PAUSE);
    for _ in 0..200 {
        // What it may hold beyond the bound: one reply, and the requests that wait.
        assert!(number(&mut observer, id, "omem") <= OUTPUT_PAUSE + 2 * SIZE);
        assert!(number(&mut observer, id, "qbuf") <= COUNT * 30);
        assert!(number(&mut observer, id, "tot-mem") <= 4 << 20);
        observer.check("PING", "PONG");
    }
    for _ in 0..COUNT {
        assert!(matches!(deaf.reply(), Frame::Bulk(value) if value.len() == SIZE));
    }
    deaf.check("PING", "PONG");
    wait_until("its buffers are gone", || number(&mut observer, id, "tot-mem") < 64 << 10);
}

#[test]
fn a_client_that_never_reads_can_be_killed() {
    let server = Server::start(&["--threads", "1"]);
    let (deaf, id) = deaf_client(&server, 20_000, 10_000);
    let mut observer = server.connect();
    wait_until("its replies pile up", || number(&mut observer, id, "omem") > 0);
    observer.check(&format!("CLIENT KILL ID {id}"), "1");
    wait_until("it has gone", || field(&mut observer, id, "id").is_none());
    assert!(is_cut_off(deaf));
}

#[test]
fn unsent_replies_beyond_the_hard_limit_close_the_client() {
    let limits = "normal 1mb 0 0 replica 0 0 0 pubsub 0 0 0";
    let server = Server::start(&["--client-output-buffer-limit", limits]);
    let (deaf, id) = deaf_client(&server, 1, 64 << 20);
    let mut observer = server.connect();
    wait_until("it has gone", || field(&mut observer, id, "id").is_none());
    assert!(is_cut_off(deaf));
    observer.check("STRLEN big", &(64 << 20).to_string());
}

#[test]
fn an_announced_length_reserves_no_memory_and_half_a_command_holds_nobody_up() {
    let server = Server::start(&["--threads", "1"]);
    let mut observer = server.connect();
    let mut slow = server.connect();
    let id = id_of(&mut slow);
    slow.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nabc");
    wait_until("the half has come", || number(&mut observer, id, "qbuf") > 0);
    assert!(number(&mut observer, id, "tot-mem") < 256 << 10);
    observer.check("SET other x", "OK");
    drop(slow);
    wait_until("it has gone", || field(&mut observer, id, "id").is_none());
    observer.check("STRLEN k", "0");
}

#[test]
fn a_command_cut_anywhere_is_executed_once_it_is_whole() {
    let server = Server::start(&["--threads", "1"]);
    let mut client = server.connect();
    let mut observer = server.connect();
    let id = id_of(&mut client);
    let request = encode(&["APPEND", "k", "0123456789"]);
    for cut in 1..request.len() {
        client.send_raw(&request[..cut]);
        wait_until("the first part has come", || number(&mut observer, id, "qbuf") == cut);
        client.send_raw(&request[cut..]);
        assert_eq!(client.reply().integer(), 10 * cut as i64);
    }
}

#[test]
fn a_request_beyond_the_query_buffer_limit_closes_the_client() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut client = server.connect();
    // Fails once the server has closed.
    let _ = client.try_send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n");
    for _ in 0..64 {
        if client.try_send_raw(&[b'x'; 64 << 10]).is_err() {
            break;
        }
    }
    assert!(client.is_closed_by_server());
    server.connect().check("STRLEN k", "0");
}

#[test]
fn big_values_arrive_whole_through_a_buffer_that_grows() {
    let server = Server::start(&["--threads", "1"]);
    let mut client = server.connect();
    for size in [1, 65_000, 65_536, 70_000, 1 << 20, 5_000_001] {
        let value: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        client.send_raw(&encode(&[b"SET".as_slice(), b"k", &value]));
        client.send_raw(&encode(&["GET", "k"]));
        assert_eq!(client.reply().text(), "OK");
        assert!(client.reply() == Frame::Bulk(value), "{size} bytes");
    }
}

#[test]
fn too_many_clients_are_told_so_and_room_is_made_by_leaving() {
    let server = Server::start(&["--maxclients", "3"]);
    let mut observer = server.connect();
    // The probe that saw the server start may still be connected.
    wait_until("alone", || observer.line("CLIENT LIST").text().lines().count() == 1);
    let others = [server.connect(), server.connect()];
    wait_until("all are in", || observer.line("CLIENT LIST").text().lines().count() == 3);
    let mut fourth = server.connect();
    assert_eq!(fourth.receive().to_string(), "-ERR max number of clients reached");
    assert!(fourth.is_closed_by_server());
    drop(others);
    wait_until("there is room", || observer.line("CLIENT LIST").text().lines().count() == 1);
    server.connect().check("PING", "PONG");
}

#[test]
fn maxclients_is_lowered_to_what_the_limit_of_open_files_allows() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("larder");
    let text = format!("#!/bin/sh\nulimit -n 64\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_larder"));
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).expect("executable");
    let server = Server::start_program(script.to_str().expect("UTF-8"), &["--threads", "1"]);
    let mut observer = server.connect();
    observer.check("CONFIG GET maxclients", "[\"maxclients\", \"28\"]");
    observer.check(
        "CONFIG SET maxclients 29",
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to \
         handle the specified number of clients, try with 28",
    );
    wait_until("alone", || observer.line("CLIENT LIST").text().lines().count() == 1);
    let mut others: Vec<Client> = (0..27).map(|_| server.connect()).collect();
    assert!(others.iter_mut().all(|client| client.line("PING").text() == "PONG"));
    assert_eq!(server.connect().receive().to_string(), "-ERR max number of clients reached");
    observer.check("CONFIG SET maxclients 20", "OK");
    observer.check("CONFIG SET maxclients 28", "OK");
}

#[test]
fn idle_clients_are_closed_and_monitors_are_not() {
    let server = Server::start(&["--timeout", "1"]);
    let mut monitor = server.connect();
    monitor.check("MONITOR", "OK");
    let mut idle = server.connect();
    idle.check("PING", "PONG");
    assert!(idle.is_closed_by_server());
    server.connect().check("ECHO still-here", "\"still-here\"");
    while !monitor.receive().text().contains("still-here") {}
}

#[test]
fn clients_are_killed_by_every_filter() {
    let server = Server::start(&["--threads", "2"]);
    let mut killer = server.connect();
    let victim = |server: &Server| {
        let mut client = server.connect();
        let id = id_of(&mut client);
        (client, id)
    };
    let (mut by_address, id) = victim(&server);
    let address = field(&mut killer, id, "addr").expect("connected");
    killer.check(&format!("CLIENT KILL {address}"), "OK");
    assert!(by_address.is_closed_by_server());
    killer.check(&format!("CLIENT KILL {address}"), "-ERR No such client");

    let (mut one, id) = victim(&server);
    killer.check(&format!("CLIENT KILL ID {id} USER default MAXAGE 100000"), "0");
    killer.check(&format!("CLIENT KILL ID {id} TYPE pubsub"), "0");
    killer.check(&format!("CLIENT KILL ID {id} LADDR {} TYPE normal", server.address()), "1");
    assert!(one.is_closed_by_server());

    let mut many: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut many {
        client.check("PING", "PONG");
    }
    assert_eq!(killer.line("CLIENT KILL TYPE normal SKIPME yes").integer(), 20);
    assert!(many.iter_mut().all(Client::is_closed_by_server));
    killer.check("CLIENT KILL TYPE normal SKIPME no", "1");
    assert!(killer.is_closed_by_server());
}

#[test]
fn a_monitor_sees_commands_but_no_passwords_and_no_administration() {
    let server = Server::start(&[]);
    let mut monitor = server.connect();
    monitor.check("MONITOR", "OK");
    let mut client = server.connect();
    client.line("SELECT 3");
    client.cmd(&[b"SET".as_slice(), b"k", b"\x00\"\n"]);
    client.line("AUTH user secret");
    client.line("HELLO 2 AUTH user secret");
    client.line("CONFIG GET maxclients");
    client.check_all("MULTI => OK\nINCR n => QUEUED\nEXEC => [1]");
    client.line("GET k");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line: &String| !line.ends_with("\"GET\" \"k\"")) {
        seen.push(monitor.receive().text());
    }
    let bodies: Vec<&str> =
        seen.iter().filter_map(|line| line.split_once("] ").map(|(_, body)| body)).collect();
    assert_eq!(
        bodies,
        [
            "\"SELECT\" \"3\"",
            "\"SET\" \"k\" \"\\x00\\\"\\n\"",
            "\"AUTH\" \"(redacted)\" \"(redacted)\"",
            "\"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
            "\"MULTI\"",
            "\"INCR\" \"n\"",
            "\"EXEC\"",
            "\"GET\" \"k\"",
        ]
    );
    let (time, rest) = seen[1].split_once(' ').expect("a time");
    assert!(time.split_once('.').is_some_and(|(s, us)| s.parse::<u64>().is_ok() && us.len() == 6), "{time}");
    assert!(rest.starts_with("[3 127.0.0.1:"), "{rest}");
    monitor.check("RESET", "RESET");
    client.line("GET k");
    monitor.check("PING", "PONG");
}

#[test]
fn a_monitor_that_does_not_read_is_closed_at_its_limit() {
    let limits = "normal 0 0 0 replica 256kb 0 0 pubsub 0 0 0";
    let server = Server::start(&["--client-output-buffer-limit", limits, "--threads", "2"]);
    let mut monitor = server.connect();
    let id = id_of(&mut monitor);
    monitor.check("MONITOR", "OK");
    let mut client = server.connect();
    let batch = encode(&["ECHO", &"x".repeat(10_000)]).repeat(100);
    wait_until("it has gone", || {
        client.send_raw(&batch);
        (0..100).for_each(|_| drop(client.reply()));
        field(&mut client, id, "id").is_none()
    });
    client.check("PING", "PONG");
}

#[test]
fn a_client_over_its_hard_limit_is_in_no_list_and_executes_nothing_more() {
    let server = Server::start(&["--threads", "1", "--client-output-buffer-limit", "normal 100kb 0 0"]);
    let mut observer = server.connect();
    let value = "v".repeat(60_000);
    observer.check(&format!("SET big {value}"), "OK");
    let mut greedy = server.connect();
    let id = id_of(&mut greedy);
    greedy.send_raw(&[encode(&["GET", "big"]).repeat(3), encode(&["SET", "after", "1"])].concat());
    assert!(greedy.is_closed_by_server(), "without a reply");
    assert!(field(&mut observer, id, "id").is_none());
    observer.check("EXISTS after", "0");
}

#[test]
fn a_pause_holds_writes_back_until_it_is_ended() {
    let server = Server::start(&["--threads", "2"]);
    let mut admin = server.connect();
    let mut writers: Vec<(Client, i64)> = (0..4)
        .map(|_| server.connect())
        .map(|mut client| {
            let id = id_of(&mut client);
            (client, id)
        })
        .collect();
    admin.check("CLIENT PAUSE 1000000 WRITE", "OK");
    for (client, _) in &mut writers {
        client.send(&["PING"]);
        client.send(&["INCR", "n"]);
        client.send(&["GET", "n"]);
        assert_eq!(client.reply().text(), "PONG");
    }
    for (_, id) in &writers {
        wait_until("it waits", || field(&mut admin, *id, "flags").is_some_and(|flags| flags.contains('b')));
    }
    admin.check_all("MULTI => OK\nGET n => QUEUED\nEXEC => [nil]\nCLIENT UNPAUSE => OK");
    for (client, _) in &mut writers {
        assert!((1..=4).contains(&client.reply().integer()));
        assert!(matches!(client.reply(), Frame::Bulk(_)));
    }
    admin.check("GET n", "\"4\"");
}

#[test]
fn a_pause_ends_by_itself_and_a_killed_client_does_not_outlive_it() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    let mut held = server.connect();
    let id = id_of(&mut held);
    admin.check("CLIENT PAUSE 1000000 WRITE", "OK");
    held.send(&["SET", "k", "v"]);
    wait_until("it waits", || field(&mut admin, id, "flags").is_some_and(|flags| flags.contains('b')));
    admin.check(&format!("CLIENT KILL ID {id}"), "1");
    assert!(held.is_closed_by_server());
    let mut leaving = server.connect();
    let id = id_of(&mut leaving);
    leaving.send(&["SET", "k", "v"]);
    wait_until("it waits", || field(&mut admin, id, "flags").is_some_and(|flags| flags.contains('b')));
    drop(leaving);
    wait_until("it has gone", || field(&mut admin, id, "id").is_none());
    admin.check("CLIENT UNPAUSE", "OK");
    admin.check("GET k", "nil");
    admin.check("CLIENT PAUSE 50", "OK");
    admin.check("SET k v", "OK");
}

#[test]
fn nothing_expires_and_nothing_is_evicted_under_a_pause() {
    for kind in ["WRITE", "ALL"] {
        let server = Server::start(&["--threads", "2"]);
        let mut admin = server.connect();
        let value = "v".repeat(1000);
        for number in 0..2000 {
            admin.send(&["SET", &format!("k{number}"), &value]);
        }
        (0..2000).for_each(|_| drop(admin.reply()));
        let removed = |client: &mut Client| {
            let text = client.line("INFO stats").text();
            let removed = text
                .lines()
                .filter(|line| line.starts_with("expired_keys:") || line.starts_with("evicted_keys:"));
            removed.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = removed(&mut admin);
        // Long enough between the two for several rounds of the workers' own expiry and eviction.
        let script = [
            "MULTI".to_owned(),
            "SET soon v PX 1".to_owned(),
            "SET later v PX 400".to_owned(),
            "CONFIG SET maxmemory 1mb".to_owned(),
            format!("CLIENT PAUSE 1500 {kind}"),
            "GET later".to_owned(),
        ];
        script.iter().for_each(|line| drop(admin.line(line)));
        assert_eq!(admin.line("EXEC").items().last().map(Frame::text), Some("v".to_owned()));
        if kind == "WRITE" {
            wait_until("both are due", || admin.line("EXISTS soon later").integer() == 0);
            admin.check("GET soon", "nil");
            admin.check("DBSIZE", "2002");
            assert_eq!(removed(&mut admin), before);
            admin.check("CLIENT UNPAUSE", "OK");
        } else {
            // The answers to these are those after the pause, which nobody could end.
            admin.check("EXISTS soon later", "0");
        }
        wait_until("what is too much has gone", || admin.line("DBSIZE").integer() < 1500);
    }
}

#[test]
fn replies_are_left_out_as_asked() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for command in [
        &["CLIENT", "REPLY", "OFF"][..],
        &["SET", "a", "1"],
        &["NOSUCH"],
        &["CLIENT", "REPLY", "ON"],
        &["CLIENT", "REPLY", "SKIP"],
        &["SET", "b", "1"],
        &["CLIENT", "REPLY", "SKIP"],
        &["CLIENT", "REPLY", "ON"],
        &["MGET", "a", "b"],
    ] {
        client.send(command);
    }
    assert_eq!(client.reply().to_string(), "OK", "the answer to the first CLIENT REPLY ON");
    assert_eq!(client.reply().to_string(), "OK", "and to the second, which SKIP does not skip");
    assert_eq!(client.reply().to_string(), "[\"1\", \"1\"]");
}

#[test]
fn an_error_of_protocol_comes_after_the_replies_before_it_and_closes() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send_raw(b"*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n:4\r\n*1\r\n$4\r\nPING\r\n");
    for expected in ["PONG", "PONG", "-ERR Protocol error: expected '$', got ':'"] {
        assert_eq!(client.receive().to_string(), expected);
    }
    assert!(client.try_receive().is_err() && client.is_closed_by_server());
}

#[test]
fn http_requests_are_cut_off_before_their_bodies_are_executed() {
    let server = Server::start(&[]);
    for head in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut browser = server.connect();
        browser.send_raw(format!("{head}\r\nSET stolen 1\r\n").as_bytes());
        assert!(browser.is_closed_by_server());
    }
    server.connect().check("STRLEN stolen", "0");
}

#[test]
fn all_replies_reach_a_client_that_has_finished_sending() {
    const COUNT: usize = 30_000;
    let server = Server::start(&["--threads", "1"]);
    let mut client = server.connect();
    client.send_raw(&encode(&["INCR", "n"]).repeat(COUNT));
    client.shutdown_write();
    for expected in 1..=COUNT as i64 {
        assert_eq!(client.reply().integer(), expected);
    }
    assert!(client.try_receive().is_err());
}

#[test]
fn a_long_pipeline_lets_others_have_their_turn() {
    const COUNT: i64 = 300_000;
    let server = Server::start(&["--threads", "1"]);
    let mut observer = server.connect();
    observer.check("SET n 0", "OK");
    let mut busy = server.connect();
    let work = std::thread::spawn(move || {
        // Far more than one read, and sent without waiting; what is owed stays below the bound of unsent replies.
        busy.send_raw(&encode(&["INCR", "n"]).repeat(COUNT as usize));
        (0..COUNT).for_each(|_| drop(busy.reply()));
    });
    let mut seen = Vec::new();
    while seen.last() != Some(&COUNT) {
        seen.push(observer.line("GET n").text().parse().expect("a number"));
    }
    work.join().expect("every reply has come");
    assert!(seen.iter().any(|&number| number > 0 && number < COUNT), "it was served only before and after");
}

#[test]
fn before_a_password_is_given_little_is_allowed() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.connect();
    client.check_all(
        "GET k => -NOAUTH Authentication required.
         AUTH wrong => -WRONGPASS invalid username-password pair or user is disabled.
         AUTH default wrong => -WRONGPASS invalid username-password pair or user is disabled.
         AUTH nobody secret => -WRONGPASS invalid username-password pair or user is disabled.
         HELLO 3 AUTH default wrong => -WRONGPASS invalid username-password pair or user is disabled.
         AUTH a b c => -ERR syntax error
         AUTH secret => OK
         GET k => nil
         RESET => RESET
         GET k => -NOAUTH Authentication required.
         AUTH default secret => OK
         GET k => nil",
    );
    let mut hostile = server.connect();
    hostile.send_raw(b"*100\r\n");
    assert_eq!(hostile.receive().to_string(), "-ERR Protocol error: unauthenticated multibulk length");
    assert!(hostile.is_closed_by_server());
}

#[test]
fn a_unix_socket_serves_like_tcp_and_is_removed_at_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("larder.sock");
    let name = path.to_str().expect("UTF-8");
    let mut server = Server::start(&["--unixsocket", name, "--unixsocketperm", "700"]);
    let mode = std::fs::metadata(&path).expect("it listens").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mut socket = UnixStream::connect(&path).expect("connects");
    socket.write_all(b"SET k v\r\nCLIENT INFO\r\nQUIT\r\n").expect("sends");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("replies, then the end");
    assert!(text.starts_with("+OK\r\n$") && text.ends_with("+OK\r\n"), "{text}");
    assert!(
        text.contains(&format!(" addr={name}:0 laddr={name}:0 ")) && text.contains(" flags=U "),
        "{text}"
    );
    server.connect().check("GET k", "\"v\"");
    assert!(server.terminate().success());
    assert!(!path.exists());
}
