//! Stopping: what is in hand is finished, what is idle is closed, what does not end is cut off at the deadline.

mod support;

use std::io::ErrorKind;

use support::client::{Client, encode};
use support::frame::Frame;
use support::server::{Server, wait_until};

/// Waits until the server has closed its listeners, which is the first thing that it does when it stops.
fn wait_until_it_stops(server: &Server) {
    wait_until("the listener is closed", || Client::connect(server.address()).is_err());
}

/// A connection whose replies fill every buffer on their way, so that it cannot be drained until it reads.
fn deaf_client(server: &Server) -> Client {
    server.connect().cmd(&[b"SET".as_slice(), b"big", &vec![b'v'; 1 << 20]]);
    let mut client = server.connect();
    let id = client.line("CLIENT ID").integer();
    client.send_raw(&encode(&["GET", "big"]).repeat(100));
    let mut observer = server.connect();
    wait_until("its replies pile up", || {
        let line = observer.line(&format!("CLIENT LIST ID {id}")).text();
        line.contains(" events=rw ")
    });
    client
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
fn idle_and_half_sent_connections_do_not_hold_up_the_end() {
    let mut server = Server::start(&["--shutdown-timeout", "100000"]);
    let mut idle = server.connect();
    idle.check("PING", "PONG");
    let mut half = server.connect();
    half.check("PING", "PONG");
    half.send_raw(b"*2\r\n$3\r\nGET\r\n$1");
    assert!(server.terminate().success());
    assert!(idle.is_closed_by_server() && half.is_closed_by_server());
}

#[test]
fn replies_that_are_owed_are_written_before_the_end() {
    let mut server = Server::start(&["--shutdown-timeout", "100000", "--threads", "2"]);
    let mut deaf = deaf_client(&server);
    server.signal("TERM");
    wait_until_it_stops(&server);
    for _ in 0..100 {
        assert!(matches!(deaf.reply(), Frame::Bulk(value) if value.len() == 1 << 20));
    }
    assert!(deaf.try_receive().is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof));
    assert!(server.wait_exit().success());
}

#[test]
fn busy_clients_see_whole_replies_and_then_the_end() {
    let mut server = Server::start(&["--shutdown-timeout", "100000", "--threads", "2"]);
    let address = server.address();
    let busy: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address).expect("connects");
                let batch = encode(&["INCR", &format!("n{number}")]).repeat(16);
                let mut expected = 1;
                loop {
                    if client.try_send_raw(&batch).is_err() {
                        return expected;
                    }
                    for _ in 0..16 {
                        match client.try_receive() {
                            Ok(reply) => assert_eq!(reply, Frame::Integer(expected)),
                            Err(_) => return expected,
                        }
                        expected += 1;
                    }
                }
            })
        })
        .collect();
    let mut observer = server.connect();
    wait_until("all are at work", || {
        (0..8).all(|number| observer.line(&format!("STRLEN n{number}")).integer() > 0)
    });
    assert!(server.terminate().success());
    for client in busy {
        let expected = client.join().expect("saw its replies in order");
        // A batch is answered whole or not at all: it came in one piece and was executed in one turn.
        assert_eq!(expected % 16, 1);
    }
}

#[test]
fn the_deadline_ends_what_does_not_end_by_itself() {
    let mut server = Server::start(&["--shutdown-timeout", "1"]);
    let deaf = deaf_client(&server);
    assert!(server.terminate().success());
    assert!(is_cut_off(deaf));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut server = Server::start(&["--shutdown-timeout", "100000"]);
    let _deaf = deaf_client(&server);
    server.signal("INT");
    wait_until_it_stops(&server);
    server.signal("TERM");
    assert_eq!(server.wait_exit().code(), Some(1));
}

#[test]
fn the_shutdown_command_stops_the_server_and_answers_by_closing() {
    let mut server = Server::start(&["--shutdown-timeout", "100000"]);
    let mut client = server.connect();
    client.check_all(
        "SHUTDOWN ABORT => -ERR No shutdown in progress.
         SHUTDOWN NOSAVE SAVE => -ERR syntax error
         SHUTDOWN LATER => -ERR syntax error
         PING => PONG",
    );
    client.send(&["PING"]);
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert_eq!(client.reply().to_string(), "PONG");
    assert!(client.try_receive().is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof));
    assert!(server.wait_exit().success());
}

#[test]
fn a_stop_that_waits_can_be_taken_back() {
    for unix in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let mut flags = vec!["--shutdown-timeout", "100000", "--threads", "2"];
        if unix {
            flags.extend(["--unixsocket", path.to_str().expect("UTF-8")]);
        }
        let mut server = Server::start(&flags);
        let mut deaf = deaf_client(&server);
        deaf.send(&["SHUTDOWN", "ABORT"]);
        deaf.send(&["SHUTDOWN", "ABORT"]);
        server.signal("TERM");
        wait_until_it_stops(&server);
        for _ in 0..100 {
            assert!(matches!(deaf.reply(), Frame::Bulk(value) if value.len() == 1 << 20));
        }
        assert_eq!(deaf.reply().to_string(), "OK");
        assert_eq!(deaf.reply().to_string(), "-ERR No shutdown in progress.");
        wait_until("it listens again", || Client::connect(server.address()).is_ok());
        server.connect().check("STRLEN big", "1048576");
        deaf.check("STRLEN big", "1048576");
        assert_eq!(std::os::unix::net::UnixStream::connect(&path).is_ok(), unix);
        assert!(server.terminate().success(), "one signal is one signal again");
        assert!(deaf.is_closed_by_server());
    }
}

#[test]
fn shutdown_now_waits_for_nobody() {
    let mut server = Server::start(&["--shutdown-timeout", "100000"]);
    let deaf = deaf_client(&server);
    server.connect().send(&["SHUTDOWN", "NOW"]);
    assert!(server.wait_exit().success());
    assert!(is_cut_off(deaf));
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_one_line() {
    let server = Server::start(&[]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["--port", &server.port(), "--metrics-port", "0"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(&server.address().to_string()), "{error}");
}

#[test]
fn a_metrics_port_that_is_taken_ends_the_start_before_anyone_is_served() {
    let taken = Server::start(&[]);
    // With both ports taken, the one that is named was bound first; clients are served once theirs is.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["--port", &taken.port(), "--metrics-port", &taken.port()])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(&taken.address().to_string()) && error.contains("metrics-port"), "{error}");
}
