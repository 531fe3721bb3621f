//! The protocol as a socket sees it: requests of every form, cut anywhere; bytes that are no request; both protocol
//! versions. The scanner and the reply writer have their own tests; here it is the server around them that is held to
//! its promise: an error line, a closed connection, and nobody else disturbed.

mod support;

use support::client::{Client, encode};
use support::server::{Server, both_protocols};

/// Sends `bytes` on a connection of its own; the replies until the server closes it.
fn replies_until_closed(server: &Server, bytes: &[u8]) -> Vec<String> {
    let mut client = server.connect();
    // A server that closes early may reset the connection while we still write.
    let _ = client.try_send_raw(bytes);
    let mut replies = Vec::new();
    while let Ok(frame) = client.try_receive() {
        replies.push(frame.to_string());
    }
    assert!(client.is_closed_by_server(), "still open after {}", bytes.escape_ascii());
    replies
}

#[track_caller]
fn refused(server: &Server, bytes: &[u8], reason: &str) {
    let replies = replies_until_closed(server, bytes);
    assert_eq!(replies, [format!("-ERR Protocol error: {reason}")], "{}", bytes.escape_ascii());
}

#[test]
fn what_is_no_request_is_answered_and_the_connection_closed() {
    let server = Server::start(&["--proto-max-bulk-len", "1mb"]);
    let cases: &[(&[u8], &str)] = &[
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*3000000000\r\n", "invalid multibulk length"),
        (b"*99999999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$-10\r\n", "invalid bulk length"),
        (b"*1\r\n$blabla\r\n", "invalid bulk length"),
        (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$1048577\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*1\r\n\xff\r\n", "expected '$', got '\u{ff}'"),
        (b"set x \"a\r\n", "unbalanced quotes in request"),
        (b"set x 'a'b\r\n", "unbalanced quotes in request"),
    ];
    for (bytes, reason) in cases {
        refused(&server, bytes, reason);
    }
    refused(&server, &b"*1\r\n".repeat(100_000), "expected '$', got '*'");
    let digits = "1".repeat(70_000);
    refused(&server, format!("*{digits}").as_bytes(), "too big mbulk count string");
    refused(&server, format!("*1\r\n${digits}").as_bytes(), "too big bulk count string");
    refused(&server, digits.as_bytes(), "too big inline request");
    server.connect().check("PING", "PONG");
}

/// Redis lets these pass, or waits for more.
#[test]
fn sloppy_line_ends_are_refused() {
    let server = Server::start(&[]);
    refused(&server, b"*1\r\n$4\r\nPINGxx", "expected CRLF after bulk");
    refused(&server, b"*1\r\n$4\r\nPING\n\r", "expected CRLF after bulk");
    refused(&server, b"*1\rx$4\r\nPING\r\n", "expected LF after CR");
    refused(&server, b"PING\0\r\n", "NUL byte in inline request");
}

#[test]
fn requests_before_the_bad_one_are_answered_and_none_behind_it_is() {
    let server = Server::start(&[]);
    let replies = replies_until_closed(
        &server,
        b"SET k 1\r\nINCR k\r\n*1\r\n$-1\r\nINCR k\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n",
    );
    assert_eq!(replies, ["OK", "2", "-ERR Protocol error: invalid bulk length"]);
    server.connect().check("GET k", "\"2\"");
}

#[test]
fn little_is_allowed_before_authentication() {
    let server = Server::start(&["--requirepass", "secret"]);
    refused(&server, b"*11\r\n", "unauthenticated multibulk length");
    refused(&server, b"*1\r\n$16385\r\n", "unauthenticated bulk length");
    let mut client = server.connect();
    client.check("GET k", "-NOAUTH Authentication required.");
    client.check("AUTH secret", "OK");
    let words: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let request: Vec<&str> = ["DEL"].into_iter().chain(words.iter().map(String::as_str)).collect();
    assert_eq!(client.cmd(&request).integer(), 0);
    let long = "v".repeat(100_000);
    assert_eq!(client.cmd(&["ECHO", &long]).text(), long);
}

#[test]
fn http_is_not_taken_for_inline_requests() {
    let server = Server::start(&[]);
    let replies =
        replies_until_closed(&server, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET stolen 1\r\n");
    assert_eq!(replies, [""; 0]);
    // Whether what came before is still answered does not matter.
    replies_until_closed(&server, b"PING\r\nHost: localhost\r\nSET stolen 1\r\n");
    server.connect().check("EXISTS stolen", "0");
}

#[test]
fn inline_requests_are_lines_of_words() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send_raw(
        b"\r\n\n  \r\nPING\nping \"a b\"\r\n  set k '\\'' \r\nset \"\" \"\\x00\\n\"\r\nget k\r\nget ''\r\n",
    );
    for expected in ["PONG", "\"a b\"", "OK", "OK", r#""\'""#, "\"\\x00\\n\""] {
        assert_eq!(client.reply().to_string(), expected);
    }
    client.send_raw(b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.reply().to_string(), "PONG");
}

/// Cuts the input once at every byte. That the server has seen the first part before the second is sent is known from
/// the reply to a request in front of it.
#[test]
fn requests_cut_at_every_byte_are_the_same() {
    both_protocols(&[], |_, client| {
        let batch = [
            encode(&["SET", "key", "a value of some length, so that its length has two digits"]),
            encode(&["APPEND", "key", "\r\n$5\r\n"]),
            b"get \"key\"\r\n".to_vec(),
            encode(&["MGET", "key", "none"]),
            b"\r\n".to_vec(),
            encode(&["PING", ""]),
        ]
        .concat();
        let value = r#""a value of some length, so that its length has two digits\r\n$5\r\n""#;
        let mget = format!("[{value}, nil]");
        for cut in 0..=batch.len() {
            let (first, second) = batch.split_at(cut);
            client.send_raw(&[b"PING go\r\n", first].concat());
            assert_eq!(client.reply().to_string(), "\"go\"");
            client.send_raw(second);
            for expected in ["OK", "63", value, &mget, "\"\""] {
                assert_eq!(client.reply().to_string(), expected, "cut at {cut}");
            }
        }
    });
}

#[test]
fn a_long_pipeline_is_answered_in_order() {
    both_protocols(&[], |server, client| {
        const REQUESTS: usize = 20_000;
        let mut bytes = Vec::new();
        for number in 0..REQUESTS {
            bytes.extend_from_slice(&encode(&["ECHO", &number.to_string()]));
        }
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut other = server.connect();
                other.check("PING", "PONG");
            });
            client.send_raw(&bytes);
            for number in 0..REQUESTS {
                assert_eq!(client.reply().to_string(), format!("\"{number}\""));
            }
            writer.join().expect("the other client was served");
        });
    });
}

#[test]
fn large_values_survive_small_pieces() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let request = encode(&[&b"SET"[..], b"large", &value]);
    for piece in request.chunks(16 * 1024 + 1) {
        client.send_raw(piece);
    }
    assert_eq!(client.reply().to_string(), "OK");
    client.send_raw(&[encode(&["GET", "large"]), encode(&["STRLEN", "large"])].concat());
    assert_eq!(client.reply(), support::frame::Frame::Bulk(value));
    assert_eq!(client.reply().integer(), 3_000_000);
}

/// Address space in use, in bytes: grows with what is allocated, touched or not.
fn mapped_bytes(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let status = std::fs::read_to_string(path).expect("the server's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("VmSize");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB")
}

#[test]
fn announced_sizes_alone_cost_nothing() {
    const CLIENTS: usize = 20;
    let server = Server::start(&["--threads", "1"]);
    let before = mapped_bytes(&server);
    let mut waiting: Vec<Client> = Vec::new();
    for announcement in [&b"*1048576\r\n"[..], b"*2\r\n$4\r\nECHO\r\n$536870912\r\n", b"*3\r\n$3"] {
        for _ in 0..CLIENTS {
            let mut client = server.connect();
            client.send_raw(&[b"PING\r\n", announcement].concat());
            assert_eq!(client.reply().to_string(), "PONG");
            waiting.push(client);
        }
    }
    server.connect().check("PING", "PONG");
    let grown = mapped_bytes(&server).saturating_sub(before);
    assert!(grown < 256 << 20, "{} waiting clients took {grown} bytes", waiting.len());
}

#[test]
fn each_protocol_has_its_own_forms() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut raw = |line: &str| {
        client.line(line);
        client.last_raw().escape_ascii().to_string()
    };
    assert_eq!(raw("GET none"), r"$-1\r\n");
    assert!(raw("CLIENT INFO").starts_with('$'));
    assert!(raw("HELLO 3").starts_with(r"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
    assert_eq!(raw("GET none"), r"_\r\n");
    assert!(raw("CLIENT INFO").starts_with('='));
    assert!(raw("COMMAND INFO get").contains('~'));
    assert!(raw("HELLO 4").starts_with("-NOPROTO"));
    assert_eq!(raw("GET none"), r"_\r\n");
    assert!(raw("HELLO 2").starts_with(r"*14\r\n"));
    assert_eq!(raw("GET none"), r"$-1\r\n");
}
