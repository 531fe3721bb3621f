//! Tests of the test support itself: the reply decoder, the line splitter, the server's life.

mod support;

use std::io::Cursor;
use support::frame::Frame;
use support::line;
use support::server::{Server, both_protocols};

fn decode(wire: &str) -> String {
    let mut raw = Vec::new();
    match Frame::read(&mut Cursor::new(wire.as_bytes()), &mut raw) {
        Ok(frame) => {
            assert_eq!(raw, wire.as_bytes(), "bytes kept");
            frame.to_string()
        }
        Err(error) => format!("!{error}"),
    }
}

#[test]
fn every_kind_of_frame_prints_on_one_line() {
    for (wire, printed) in [
        ("+OK\r\n", "OK"),
        ("-ERR no\r\n", "-ERR no"),
        (":-7\r\n", "-7"),
        ("$3\r\na\n\u{1}\r\n", r#""a\n\x01""#),
        ("$0\r\n\r\n", r#""""#),
        ("$-1\r\n", "nil"),
        ("*-1\r\n", "nil"),
        ("_\r\n", "nil"),
        ("*0\r\n", "[]"),
        ("*2\r\n:1\r\n*1\r\n$1\r\na\r\n", r#"[1, ["a"]]"#),
        ("%1\r\n+k\r\n:2\r\n", "{k: 2}"),
        ("~2\r\n:1\r\n:2\r\n", "~[1, 2]"),
        (">1\r\n+p\r\n", ">[p]"),
        (",1.5\r\n", ",1.5"),
        ("#t\r\n", "#t"),
        ("(123\r\n", "(123"),
        ("=5\r\ntxt:v\r\n", r#"=txt:"v""#),
    ] {
        assert_eq!(decode(wire), printed);
    }
}

#[test]
fn a_malformed_reply_is_an_error() {
    for wire in ["", "+OK\n", "$3\r\nab\r\n", "$3\r\nabcd\r\n", "?\r\n", ":x\r\n", "*2\r\n:1\r\n", "\r\n"] {
        assert!(decode(wire).starts_with('!'), "{wire:?} gave {}", decode(wire));
    }
    let nested = "*1\r\n".repeat(100);
    assert!(decode(&nested).contains("nested too deeply"));
}

#[test]
fn a_line_splits_as_redis_splits_it() {
    let split = |text: &str| -> Vec<String> {
        line::split(text).iter().map(|argument| argument.escape_ascii().to_string()).collect()
    };
    assert_eq!(split("SET  k v"), ["SET", "k", "v"]);
    assert_eq!(split(r#"SET k "a b\x00\n\"" '\x'"#), ["SET", "k", r#"a b\x00\n\""#, r"\\x"]);
    assert_eq!(split(r#"SET k """#), ["SET", "k", ""]);
}

#[test]
fn a_server_starts_answers_and_ends() {
    both_protocols(&[], |_, client| {
        client.check_all(
            "
            SET k \"v 1\"  => OK
            GET k          => \"v 1\"
            GET none       => nil
            INCR k         => -ERR value is not an integer or out of range
            ",
        );
    });
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    client.check("PING", "PONG");
    assert!(server.terminate().success(), "{}", server.output());
    assert!(client.is_closed_by_server());
}
