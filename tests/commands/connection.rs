//! What a client does with its own connection: HELLO, AUTH, PING, ECHO, SELECT, RESET, QUIT, and the CLIENT family.
//! Expected replies are those of Redis 7.4.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols, wait_until};

#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

/// The value of `field` in the line that describes a client.
fn field(line: &str, field: &str) -> Option<String> {
    let prefix = format!("{field}=");
    line.split_whitespace().find_map(|word| word.strip_prefix(&prefix)).map(str::to_owned)
}

fn id_of(client: &mut Client) -> i64 {
    client.line("CLIENT ID").integer()
}

#[test]
fn ping_and_echo() {
    check(
        r#"
        PING                        => PONG
        PING "a b"                  => "a b"
        PING a b                    => -ERR wrong number of arguments for 'ping' command
        ECHO ""                     => ""
        ECHO "a\x00b"               => "a\x00b"
        ECHO                        => -ERR wrong number of arguments for 'echo' command
        ECHO a b                    => -ERR wrong number of arguments for 'echo' command
        "#,
    );
}

#[test]
fn hello_describes_and_switches() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (line, proto) in [("HELLO", 2), ("HELLO 3", 3), ("HELLO", 3), ("HELLO 2", 2)] {
        let pairs = client.line(line).pairs();
        let value =
            |name: &str| pairs.iter().find(|(key, _)| key.text() == name).map(|(_, value)| value.to_string());
        assert_eq!(value("server").as_deref(), Some("\"redis\""), "{line}");
        assert_eq!(value("proto"), Some(proto.to_string()), "{line}");
        assert_eq!(value("mode").as_deref(), Some("\"standalone\""));
        assert_eq!(value("role").as_deref(), Some("\"master\""));
        assert!(value("version").is_some_and(|version| version.starts_with("\"7.")));
        assert_eq!(value("modules").as_deref(), Some("[]"));
        assert!(value("id").is_some());
    }
    client.check_all(
        "
        HELLO 1                     => -NOPROTO unsupported protocol version
        HELLO 4                     => -NOPROTO unsupported protocol version
        HELLO x                     => -ERR Protocol version is not an integer or out of range
        HELLO 3 JUNK                => -ERR Syntax error in HELLO option 'JUNK'
        HELLO 3 AUTH default        => -ERR Syntax error in HELLO option 'AUTH'
        PING                        => PONG
        ",
    );
    assert!(matches!(client.line("HELLO 3 SETNAME me"), Frame::Map(_)));
    client.check("CLIENT GETNAME", "\"me\"");
    client.check("GET none", "nil");
    assert_eq!(client.last_raw(), b"_\r\n");
    client.check("RESET", "RESET");
    client.check("GET none", "nil");
    assert_eq!(client.last_raw(), b"$-1\r\n");
}

#[test]
fn a_password_stands_before_everything() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.connect();
    client.check_all(
        "
        PING                        => -NOAUTH Authentication required.
        GET k                       => -NOAUTH Authentication required.
        NOSUCH                      => -ERR unknown command 'NOSUCH', with args beginning with:
        AUTH wrong                  => -WRONGPASS invalid username-password pair or user is disabled.
        AUTH nobody secret          => -WRONGPASS invalid username-password pair or user is disabled.
        AUTH a b c                  => -ERR syntax error
        AUTH                        => -ERR wrong number of arguments for 'auth' command
        PING                        => -NOAUTH Authentication required.
        AUTH secret                 => OK
        PING                        => PONG
        RESET                       => RESET
        PING                        => -NOAUTH Authentication required.
        AUTH default secret         => OK
        PING                        => PONG
        ",
    );
    let mut other = server.connect();
    assert!(
        other.line("HELLO 3").to_string().starts_with("-NOAUTH HELLO must be called with the client already")
    );
    other.check(
        "HELLO 3 AUTH default wrong",
        "-WRONGPASS invalid username-password pair or user is disabled.",
    );
    assert!(matches!(other.line("HELLO 3 AUTH default secret"), Frame::Map(_)));
    other.check("PING", "PONG");
}

#[test]
fn auth_without_a_password_set() {
    both_protocols(&[], |_, client| {
        let reply = client.line("AUTH anything").to_string();
        assert!(reply.starts_with("-ERR AUTH <password> called without any password configured"), "{reply}");
        client.check("AUTH default anything", "OK");
    });
}

#[test]
fn quit_answers_and_closes() {
    both_protocols(&[], |server, _| {
        let mut client = server.connect();
        client.check("QUIT", "OK");
        assert!(client.is_closed_by_server());
    });
}

#[test]
fn cluster_words_are_refused_on_one_node() {
    check(
        "
        READONLY                    => -ERR This instance has cluster support disabled
        READWRITE                   => -ERR This instance has cluster support disabled
        ASKING                      => -ERR This instance has cluster support disabled
        ",
    );
}

#[test]
fn names_and_libraries() {
    both_protocols(&[], |_, client| {
        client.check_all(
            r#"
            CLIENT GETNAME              => nil
            CLIENT SETNAME worker-1     => OK
            CLIENT GETNAME              => "worker-1"
            CLIENT SETNAME "two words"  => -ERR Client names cannot contain spaces, newlines or special characters.
            CLIENT SETINFO LIB-NAME lib(py) => OK
            CLIENT SETINFO lib-ver 1.2.3 => OK
            CLIENT SETINFO LIB-NAME "a b" => -ERR LIB-NAME cannot contain spaces, newlines or special characters.
            CLIENT SETINFO JUNK x       => -ERR Unrecognized option 'JUNK'
            "#,
        );
        let line = client.line("CLIENT INFO").text();
        assert_eq!(field(&line, "name").as_deref(), Some("worker-1"));
        assert_eq!(field(&line, "lib-name").as_deref(), Some("lib(py)"));
        assert_eq!(field(&line, "lib-ver").as_deref(), Some("1.2.3"));
        assert_eq!(field(&line, "cmd").as_deref(), Some("client|info"));
        client.check("CLIENT SETNAME \"\"", "OK");
        client.check("CLIENT GETNAME", "nil");
    });
}

#[test]
fn clients_are_listed() {
    both_protocols(&[], |server, client| {
        let mut other = server.connect();
        other.check("CLIENT SETNAME other", "OK");
        let id = id_of(&mut other);
        let listed = client.line("CLIENT LIST").text();
        let line = listed.lines().find(|line| field(line, "id") == Some(id.to_string()));
        assert_eq!(line.and_then(|line| field(line, "name")).as_deref(), Some("other"));
        let picked = client.line(&format!("CLIENT LIST ID {id} 999999")).text();
        assert_eq!(picked.lines().count(), 1);
        assert!(client.line("CLIENT LIST TYPE normal").text().lines().count() >= 2);
        assert_eq!(client.line("CLIENT LIST TYPE pubsub").text(), "");
        client.check("CLIENT LIST TYPE junk", "-ERR Unknown client type 'junk'");
        client.check("CLIENT LIST ID x", "-ERR Invalid client ID");
        client.check("CLIENT LIST JUNK", "-ERR syntax error");
    });
}

#[test]
fn clients_are_killed() {
    both_protocols(&[], |server, client| {
        let mut first = server.connect();
        let id = id_of(&mut first);
        client.check(&format!("CLIENT KILL ID {id}"), "1");
        assert!(first.is_closed_by_server());
        let mut second = server.connect();
        let line = second.line("CLIENT INFO").text();
        let address = field(&line, "addr").unwrap_or_default();
        client.check(&format!("CLIENT KILL {address}"), "OK");
        assert!(second.is_closed_by_server());
        client.check("CLIENT KILL 127.0.0.1:1", "-ERR No such client");
        client.check("CLIENT KILL ID 999999", "0");
        client.check("CLIENT KILL TYPE junk", "-ERR Unknown client type 'junk'");
        client.check("PING", "PONG");
    });
}

#[test]
fn switches_of_a_connection() {
    check(
        "
        CLIENT NO-EVICT ON          => OK
        CLIENT NO-EVICT OFF         => OK
        CLIENT NO-EVICT x           => -ERR syntax error
        CLIENT NO-TOUCH ON          => OK
        CLIENT NO-TOUCH OFF         => OK
        CLIENT NO-TOUCH x           => -ERR syntax error
        CLIENT CAPA redirect        => OK
        CLIENT UNBLOCK 999999       => 0
        CLIENT UNBLOCK x            => -ERR value is not an integer or out of range
        CLIENT GETREDIR             => -1
        CLIENT JUNK                 => -ERR unknown subcommand 'JUNK'. Try CLIENT HELP.
        ",
    );
    both_protocols(&[], |_, client| {
        assert!(client.line("CLIENT HELP").items().len() > 10);
        let reply = client.line("CLIENT MAINT_NOTIFICATIONS ON");
        assert!(reply.is_error(), "{reply}");
        client.check("CLIENT TRACKING OFF", "OK");
        assert!(client.line("CLIENT CACHING YES").is_error());
        assert_eq!(client.line("CLIENT TRACKINGINFO").pairs().len(), 3);
    });
}

#[test]
fn replies_can_be_left_out() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.send(&["SET", "k", "v"]);
    client.send(&["CLIENT", "REPLY", "ON"]);
    assert_eq!(client.reply().to_string(), "OK");
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["SET", "k", "w"]);
    client.check("GET k", "\"w\"");
    client.check("CLIENT REPLY x", "-ERR syntax error");
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.check("CLIENT REPLY ON", "OK");
    client.check("PING", "PONG");
    // A second SKIP is itself skipped, and skips the next.
    for command in [&["CLIENT", "REPLY", "SKIP"][..], &["CLIENT", "REPLY", "SKIP"], &["ECHO", "left out"]] {
        client.send(command);
    }
    client.check("ECHO told", "\"told\"");
    // RESET under SKIP is left out, under OFF it is told.
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["RESET"]);
    client.check("ECHO told", "\"told\"");
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.check("RESET", "RESET");
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.send(&["PING"]);
    client.check("CLIENT REPLY ON", "OK");
}

#[test]
fn a_pause_holds_writes_until_it_is_lifted() {
    let server = Server::start(&[]);
    let (mut admin, mut writer) = (server.connect(), server.connect());
    admin.check("CLIENT PAUSE 60000 WRITE", "OK");
    writer.check("GET k", "nil");
    writer.send(&["SET", "k", "v"]);
    admin.check("GET k", "nil");
    admin.check_all("MULTI => OK\nGET k => QUEUED\nEXEC => [nil]");
    admin.check("CLIENT UNPAUSE", "OK");
    assert_eq!(writer.reply().to_string(), "OK");
    admin.check("GET k", "\"v\"");
    admin.check("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range");
    admin.check("CLIENT PAUSE -1", "-ERR timeout is negative");
    admin.check("CLIENT PAUSE 1 JUNK", "-ERR CLIENT PAUSE mode must be WRITE or ALL");
}

#[test]
fn a_monitor_sees_what_others_do() {
    let server = Server::start(&[]);
    let (mut monitor, mut client) = (server.connect(), server.connect());
    monitor.check("MONITOR", "OK");
    wait_until("the monitor is listed", || client.line("CLIENT LIST").text().contains("cmd=monitor"));
    client.check("SET k \"a \\\" b\"", "OK");
    let seen = next_about(&mut monitor, "SET");
    assert!(seen.ends_with(r#""SET" "k" "a \" b""#), "{seen}");
    assert!(seen.contains(" [0 127.0.0.1:"), "{seen}");
    client.check_all("MULTI => OK\nINCR n => QUEUED\nEXEC => [1]");
    for name in ["MULTI", "INCR", "EXEC"] {
        next_about(&mut monitor, name);
    }
    client.check("GET last", "nil");
    assert!(
        monitor.reply().to_string().contains("\"GET\" \"last\""),
        "EXEC is shown once, behind what it ran"
    );
}

/// What a monitor shows next about a command.
fn next_about(monitor: &mut Client, name: &str) -> String {
    loop {
        let seen = monitor.reply().to_string();
        if seen.contains(&format!("\"{name}\"")) {
            return seen;
        }
    }
}
