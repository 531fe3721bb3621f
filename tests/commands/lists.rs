//! Lists: every option and every error of every command, packed and in chunks, and clients that wait for elements.
//! Expected replies are those of Redis 7.4.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols, wait_until};

/// Runs a script over both protocols, each time on an empty server, with lists packed and with lists in chunks.
#[track_caller]
fn check(script: &str) {
    for size in ["-2", "1", "3"] {
        both_protocols(&["--list-max-listpack-size", size], |_, client| client.check_all(script));
    }
}

#[test]
fn push_and_pop() {
    check(
        r#"
        LPUSH k a                   => 1
        RPUSH k b c                 => 3
        LPUSH k x y                 => 5
        LRANGE k 0 -1               => ["y", "x", "a", "b", "c"]
        LLEN k                      => 5
        TYPE k                      => list
        LPOP k                      => "y"
        RPOP k                      => "c"
        LPOP k 2                    => ["x", "a"]
        RPOP k 0                    => []
        RPOP k 5                    => ["b"]
        EXISTS k                    => 0
        LLEN k                      => 0
        LPOP k                      => nil
        RPOP k 1                    => nil
        LPUSHX k a                  => 0
        RPUSHX k a                  => 0
        EXISTS k                    => 0
        RPUSH k 1                   => 1
        LPUSHX k 2 -3               => 3
        RPUSHX k "" "\x00\r\n"      => 5
        LRANGE k 0 -1               => ["-3", "2", "1", "", "\x00\r\n"]
        RPOP k 2                    => ["\x00\r\n", ""]
        SET s v                     => OK
        LPUSH s a                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        RPUSH s a                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        LPUSHX s a                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        RPUSHX s a                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        LPOP s                      => -WRONGTYPE Operation against a key holding the wrong kind of value
        RPOP s 0                    => -WRONGTYPE Operation against a key holding the wrong kind of value
        LLEN s                      => -WRONGTYPE Operation against a key holding the wrong kind of value
        GET k                       => -WRONGTYPE Operation against a key holding the wrong kind of value
        LPOP k -1                   => -ERR value is out of range, must be positive
        RPOP k x                    => -ERR value is out of range, must be positive
        LPOP s -1                   => -ERR value is out of range, must be positive
        LPOP k 1 1                  => -ERR wrong number of arguments for 'lpop' command
        RPOP k 1 1                  => -ERR wrong number of arguments for 'rpop' command
        LPUSH k                     => -ERR wrong number of arguments for 'lpush' command
        RPUSH k                     => -ERR wrong number of arguments for 'rpush' command
        LPUSHX k                    => -ERR wrong number of arguments for 'lpushx' command
        RPUSHX k                    => -ERR wrong number of arguments for 'rpushx' command
        LLEN                        => -ERR wrong number of arguments for 'llen' command
        DEL k                       => 1
        "#,
    );
}

#[test]
fn ranges_and_indexes() {
    check(
        r#"
        RPUSH k a b c d e           => 5
        LRANGE k 0 0                => ["a"]
        LRANGE k 1 3                => ["b", "c", "d"]
        LRANGE k -2 -1              => ["d", "e"]
        LRANGE k -100 100           => ["a", "b", "c", "d", "e"]
        LRANGE k 3 1                => []
        LRANGE k 5 9                => []
        LRANGE k -9223372036854775808 9223372036854775807 => ["a", "b", "c", "d", "e"]
        LRANGE none 0 -1            => []
        LRANGE k x 1                => -ERR value is not an integer or out of range
        LRANGE none 0 x             => -ERR value is not an integer or out of range
        LINDEX k 0                  => "a"
        LINDEX k -1                 => "e"
        LINDEX k 4                  => "e"
        LINDEX k 5                  => nil
        LINDEX k -6                 => nil
        LINDEX k x                  => -ERR value is not an integer or out of range
        LINDEX none x               => nil
        LSET k 0 A                  => OK
        LSET k -1 E                 => OK
        LSET k 2 ""                 => OK
        LRANGE k 0 -1               => ["A", "b", "", "d", "E"]
        LSET k 5 x                  => -ERR index out of range
        LSET k -6 x                 => -ERR index out of range
        LSET k x x                  => -ERR value is not an integer or out of range
        LSET none x x               => -ERR no such key
        LTRIM k 1 -2                => OK
        LRANGE k 0 -1               => ["b", "", "d"]
        LTRIM k 0 100               => OK
        LTRIM none 0 1              => OK
        LTRIM k x 1                 => -ERR value is not an integer or out of range
        LLEN k                      => 3
        LTRIM k 2 1                 => OK
        EXISTS k                    => 0
        SET s v                     => OK
        LRANGE s 0 1                => -WRONGTYPE Operation against a key holding the wrong kind of value
        LINDEX s 0                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        LSET s 0 x                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        LTRIM s 0 1                 => -WRONGTYPE Operation against a key holding the wrong kind of value
        LRANGE s 0                  => -ERR wrong number of arguments for 'lrange' command
        LINDEX s                    => -ERR wrong number of arguments for 'lindex' command
        LSET s 0                    => -ERR wrong number of arguments for 'lset' command
        LTRIM s 0                   => -ERR wrong number of arguments for 'ltrim' command
        "#,
    );
}

#[test]
fn elements_by_their_value() {
    check(
        r#"
        RPUSH k a b a c 7 a         => 6
        LINSERT k BEFORE a x        => 7
        LINSERT k after 7 y         => 8
        LRANGE k 0 -1               => ["x", "a", "b", "a", "c", "7", "y", "a"]
        LINSERT k before none z     => -1
        LINSERT none before a z     => 0
        LINSERT k between a z       => -ERR syntax error
        LREM k 1 a                  => 1
        LRANGE k 0 -1               => ["x", "b", "a", "c", "7", "y", "a"]
        LREM k -1 a                 => 1
        LRANGE k 0 -1               => ["x", "b", "a", "c", "7", "y"]
        LREM k 0 nobody             => 0
        LREM k 0 7                  => 1
        RPUSH k a a                 => 7
        LREM k 0 a                  => 3
        LRANGE k 0 -1               => ["x", "b", "c", "y"]
        LREM none 0 a               => 0
        LREM k x a                  => -ERR value is not an integer or out of range
        LREM k -9223372036854775808 a => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        LTRIM k 0 0                 => OK
        LREM k -5 x                 => 1
        EXISTS k                    => 0
        SET s v                     => OK
        LINSERT s before a b        => -WRONGTYPE Operation against a key holding the wrong kind of value
        LREM s 0 a                  => -WRONGTYPE Operation against a key holding the wrong kind of value
        LINSERT s before a          => -ERR wrong number of arguments for 'linsert' command
        LREM s 0                    => -ERR wrong number of arguments for 'lrem' command
        "#,
    );
}

#[test]
fn positions() {
    check(
        r#"
        RPUSH k a b c 1 2 3 c c     => 8
        LPOS k a                    => 0
        LPOS k c                    => 2
        LPOS k 3                    => 5
        LPOS k none                 => nil
        LPOS none a                 => nil
        LPOS k c RANK 1             => 2
        LPOS k c RANK 2             => 6
        LPOS k c RANK 4             => nil
        LPOS k c RANK -1            => 7
        LPOS k c rank -2            => 6
        LPOS k c COUNT 0            => [2, 6, 7]
        LPOS k c COUNT 2            => [2, 6]
        LPOS k c COUNT 100          => [2, 6, 7]
        LPOS k c COUNT 0 RANK 2     => [6, 7]
        LPOS k c COUNT 2 RANK -1    => [7, 6]
        LPOS k none COUNT 2         => []
        LPOS none c COUNT 0 RANK 2  => []
        LPOS k a COUNT 0 MAXLEN 1   => [0]
        LPOS k c COUNT 0 MAXLEN 1   => []
        LPOS k c COUNT 0 MAXLEN 3   => [2]
        LPOS k c COUNT 0 MAXLEN 3 RANK -1 => [7, 6]
        LPOS k c COUNT 0 MAXLEN 7 RANK 2  => [6]
        LPOS k c MAXLEN 0           => 2
        LPOS k c RANK 0             => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
        LPOS k c RANK -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        LPOS k c RANK x             => -ERR value is not an integer or out of range
        LPOS k c COUNT -1           => -ERR COUNT can't be negative
        LPOS k c COUNT x            => -ERR COUNT can't be negative
        LPOS k c MAXLEN -1          => -ERR MAXLEN can't be negative
        LPOS k c COUNT              => -ERR syntax error
        LPOS k c JUNK 1             => -ERR syntax error
        SET s v                     => OK
        LPOS s c RANK 0             => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
        LPOS s c                    => -WRONGTYPE Operation against a key holding the wrong kind of value
        LPOS k                      => -ERR wrong number of arguments for 'lpos' command
        "#,
    );
}

#[test]
fn moves() {
    check(
        r#"
        RPUSH a 1 2 3 4             => 4
        RPOPLPUSH a b               => "4"
        LMOVE a b LEFT RIGHT        => "1"
        LMOVE a b left left         => "2"
        LRANGE a 0 -1               => ["3"]
        LRANGE b 0 -1               => ["2", "4", "1"]
        LMOVE a b RIGHT LEFT        => "3"
        EXISTS a                    => 0
        LMOVE a b LEFT LEFT         => nil
        RPOPLPUSH a b               => nil
        LMOVE b b LEFT RIGHT        => "3"
        LMOVE b b LEFT LEFT         => "2"
        RPOPLPUSH b b               => "3"
        LRANGE b 0 -1               => ["3", "2", "4", "1"]
        RPUSH one x                 => 1
        RPOPLPUSH one one           => "x"
        LLEN one                    => 1
        SET s v                     => OK
        LMOVE b s LEFT LEFT         => -WRONGTYPE Operation against a key holding the wrong kind of value
        LMOVE s b LEFT LEFT         => -WRONGTYPE Operation against a key holding the wrong kind of value
        RPOPLPUSH b s               => -WRONGTYPE Operation against a key holding the wrong kind of value
        RPOPLPUSH s b               => -WRONGTYPE Operation against a key holding the wrong kind of value
        LMOVE none s LEFT LEFT      => nil
        LLEN b                      => 4
        LMOVE b a UP LEFT           => -ERR syntax error
        LMOVE s a LEFT DOWN         => -ERR syntax error
        LMOVE b a LEFT              => -ERR wrong number of arguments for 'lmove' command
        RPOPLPUSH b                 => -ERR wrong number of arguments for 'rpoplpush' command
        "#,
    );
}

#[test]
fn pops_from_several() {
    check(
        r#"
        RPUSH b 1 2 3 4 5           => 5
        RPUSH c x                   => 1
        LMPOP 1 b LEFT              => ["b", ["1"]]
        LMPOP 2 none b RIGHT COUNT 2 => ["b", ["5", "4"]]
        LMPOP 3 none b c left count 100 => ["b", ["2", "3"]]
        EXISTS b                    => 0
        LMPOP 3 none b c left count 100 => ["c", ["x"]]
        LMPOP 2 none b LEFT         => nil
        SET s v                     => OK
        LMPOP 2 none s LEFT         => -WRONGTYPE Operation against a key holding the wrong kind of value
        LMPOP 0 b LEFT              => -ERR numkeys should be greater than 0
        LMPOP x b LEFT              => -ERR numkeys should be greater than 0
        LMPOP -1 b LEFT             => -ERR numkeys should be greater than 0
        LMPOP 5 b LEFT              => -ERR syntax error
        LMPOP 9223372036854775807 b LEFT => -ERR syntax error
        LMPOP 1 b UP                => -ERR syntax error
        LMPOP 1 b LEFT COUNT        => -ERR syntax error
        LMPOP 1 b LEFT JUNK 1       => -ERR syntax error
        LMPOP 1 b LEFT COUNT 1 COUNT 2 => -ERR syntax error
        LMPOP 1 b LEFT COUNT 0      => -ERR count should be greater than 0
        LMPOP 1 b LEFT COUNT x      => -ERR count should be greater than 0
        LMPOP 1 b                   => -ERR wrong number of arguments for 'lmpop' command
        "#,
    );
}

#[test]
fn waiting_commands_find_what_is_there() {
    check(
        r#"
        RPUSH b 1 2 3 4 5 6 7       => 7
        BLPOP none b 0              => ["b", "1"]
        BRPOP b none 1.5            => ["b", "7"]
        BLMPOP 0 2 none b LEFT COUNT 2 => ["b", ["2", "3"]]
        BRPOPLPUSH b c 0            => "6"
        BLMOVE b c LEFT RIGHT 0     => "4"
        LRANGE c 0 -1               => ["6", "4"]
        BLPOP none 0.001            => nil
        BRPOP none none 0.001       => nil
        BLMPOP 0.001 1 none LEFT    => nil
        BLMOVE none c LEFT LEFT 0.001 => nil
        BRPOPLPUSH none c 0.001     => nil
        MULTI                       => OK
        BLPOP none 0                => QUEUED
        BRPOP none 0                => QUEUED
        BLMPOP 0 1 none LEFT        => QUEUED
        BLMOVE none c LEFT LEFT 0   => QUEUED
        BRPOPLPUSH none c 0         => QUEUED
        BLPOP c 0                   => QUEUED
        EXEC                        => [nil, nil, nil, nil, nil, ["c", "6"]]
        SET s v                     => OK
        BLPOP s 0                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        BRPOP none s 0              => -WRONGTYPE Operation against a key holding the wrong kind of value
        BLMPOP 0 1 s LEFT           => -WRONGTYPE Operation against a key holding the wrong kind of value
        BLMOVE s c LEFT LEFT 0      => -WRONGTYPE Operation against a key holding the wrong kind of value
        BRPOPLPUSH s c 0            => -WRONGTYPE Operation against a key holding the wrong kind of value
        BLPOP c x                   => -ERR timeout is not a float or out of range
        BLPOP c 0x7FFFFFFFFFFFFF    => -ERR timeout is out of range
        BLPOP c inf                 => -ERR timeout is out of range
        BLPOP c nan                 => -ERR timeout is not a float or out of range
        BLPOP c 0x1                 => ["c", "4"]
        RPUSH c 4                   => 1
        BRPOP c -1                  => -ERR timeout is negative
        BRPOP c -inf                => -ERR timeout is negative
        BLMPOP -1 1 c LEFT          => -ERR timeout is negative
        BLMPOP x 0 c LEFT           => -ERR numkeys should be greater than 0
        BLMPOP 0 0 c LEFT           => -ERR numkeys should be greater than 0
        BLMPOP 0 1 c UP             => -ERR syntax error
        BLMOVE c c UP LEFT x        => -ERR syntax error
        BLMOVE c c LEFT LEFT x      => -ERR timeout is not a float or out of range
        BRPOPLPUSH c c x            => -ERR timeout is not a float or out of range
        BLPOP 0                     => -ERR wrong number of arguments for 'blpop' command
        BRPOP 0                     => -ERR wrong number of arguments for 'brpop' command
        BLMPOP 0 1 c                => -ERR wrong number of arguments for 'blmpop' command
        BLMOVE a b LEFT LEFT        => -ERR wrong number of arguments for 'blmove' command
        BRPOPLPUSH a b              => -ERR wrong number of arguments for 'brpoplpush' command
        "#,
    );
}

#[test]
fn the_null_of_a_wait_in_vain_is_that_of_arrays() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for line in ["BLPOP k 0.001", "BRPOPLPUSH k j 0.001", "BLMOVE k j LEFT LEFT 0.001", "LPOP k 1"] {
        client.line(line);
        assert_eq!(client.last_raw(), b"*-1\r\n", "{line}");
    }
    client.line("LPOP k");
    assert_eq!(client.last_raw(), b"$-1\r\n");
}

/// Sends a request that waits, and waits until it does.
fn begin(server: &Server, line: &str) -> Client {
    let mut control = server.connect();
    let blocked = |control: &mut Client| {
        let page = control.line("INFO clients").text();
        let count = page.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        count.and_then(|count| count.parse::<usize>().ok()).unwrap_or(0)
    };
    let before = blocked(&mut control);
    let mut client = server.connect();
    client.send_raw(format!("{line}\r\n").as_bytes());
    wait_until("the client waits", || blocked(&mut control) > before);
    client
}

/// What INFO says of a command.
fn counted(client: &mut Client, command: &str) -> String {
    let page = client.line("INFO commandstats").text();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")).map(str::to_owned));
    let line = line.unwrap_or_default();
    let fields: Vec<&str> = line.split(',').collect();
    format!("{} {}", fields[0], fields[fields.len() - 1])
}

#[test]
fn a_command_that_waits_is_counted_once_it_is_answered() {
    let server = Server::start(&[]);
    let mut control = server.connect();
    let mut client = begin(&server, "BLPOP k 0");
    assert_eq!(counted(&mut control, "blpop"), " ");
    control.check("LPUSH k a", "1");
    assert_eq!(client.receive().to_string(), r#"["k", "a"]"#);
    assert_eq!(counted(&mut control, "blpop"), "1 failed_calls=0");
    client.line("BLPOP k 0.001");
    assert_eq!(counted(&mut control, "blpop"), "2 failed_calls=0");
    let id = client.line("CLIENT ID");
    client.send_raw(b"BLPOP k 0\r\n");
    wait_until("the client is released", || {
        control.line(&format!("CLIENT UNBLOCK {id} ERROR")) == Frame::Integer(1)
    });
    assert!(client.receive().to_string().starts_with("-UNBLOCKED"));
    assert_eq!(counted(&mut control, "blpop"), "3 failed_calls=1");
}

#[test]
fn whoever_waits_is_served_in_order() {
    let server = Server::start(&["--threads", "2"]);
    let mut pusher = server.connect();
    let mut first = begin(&server, "BLPOP k 0");
    let mut second = begin(&server, "BRPOP other k 0");
    let mut third = begin(&server, "BLMPOP 0 1 k LEFT COUNT 10");
    pusher.check("RPUSH k a b c d", "4");
    assert_eq!(first.receive().to_string(), r#"["k", "a"]"#);
    assert_eq!(second.receive().to_string(), r#"["k", "d"]"#);
    assert_eq!(third.receive().to_string(), r#"["k", ["b", "c"]]"#);
    pusher.check("EXISTS k", "0");
}

#[test]
fn a_key_that_is_due_already_serves_nobody() {
    let server = Server::start(&[]);
    let mut pusher = server.connect();
    let mut popper = begin(&server, "BLPOP k 0");
    pusher.check_all(
        r#"
        DEBUG SET-ACTIVE-EXPIRE 0   => OK
        MULTI                       => OK
        RPUSH k gone                => QUEUED
        PEXPIRE k 10                => QUEUED
        DEBUG SLEEP 0.05            => QUEUED
        EXEC                        => [1, 1, OK]
        RPUSH k here                => 1
        "#,
    );
    assert_eq!(popper.receive().to_string(), r#"["k", "here"]"#);
}

#[test]
fn a_move_serves_whoever_waits_for_its_destination() {
    let server = Server::start(&[]);
    let mut pusher = server.connect();
    let mut last = begin(&server, "BLPOP c 0");
    let mut second = begin(&server, "BRPOPLPUSH b c 0");
    let mut first = begin(&server, "BLMOVE a b LEFT RIGHT 0");
    pusher.check("LPUSH a x", "1");
    assert_eq!(first.receive().to_string(), "\"x\"");
    assert_eq!(second.receive().to_string(), "\"x\"");
    assert_eq!(last.receive().to_string(), r#"["c", "x"]"#);
    pusher.check("EXISTS a b c", "0");
}

#[test]
fn a_move_to_a_key_of_another_type_fails_when_it_is_served() {
    let server = Server::start(&[]);
    let mut pusher = server.connect();
    let mut mover = begin(&server, "BLMOVE a s LEFT RIGHT 0");
    let mut popper = begin(&server, "BLPOP a 0");
    pusher.check("SET s v", "OK");
    pusher.check("LPUSH a x", "1");
    assert!(mover.receive().to_string().starts_with("-WRONGTYPE"));
    assert_eq!(popper.receive().to_string(), r#"["a", "x"]"#);
}

#[test]
fn encodings_follow_the_size() {
    both_protocols(&["--list-max-listpack-size", "4"], |_, client| {
        client.check_all(
            r#"
            CONFIG SET list-max-listpack-size 4 => OK
            RPUSH k a b c d         => 4
            OBJECT ENCODING k       => "listpack"
            RPUSH k e               => 5
            OBJECT ENCODING k       => "quicklist"
            LPOP k 4                => ["a", "b", "c", "d"]
            OBJECT ENCODING k       => "listpack"
            LPUSH k d               => 2
            COPY k j                => 1
            LRANGE j 0 -1           => ["d", "e"]
            CONFIG SET list-max-listpack-size 1 => OK
            LSET k 0 x              => OK
            OBJECT ENCODING k       => "quicklist"
            COPY k j REPLACE        => 1
            LRANGE j 0 -1           => ["x", "e"]
            RENAME j i              => OK
            RPUSH i f               => 3
            LRANGE i 0 -1           => ["x", "e", "f"]
            LRANGE k 0 -1           => ["x", "e"]
            "#,
        );
    });
}

#[test]
fn long_lists_and_long_elements_are_whole() {
    both_protocols(&[], |_, client| {
        let texts: Vec<String> = (0..20_000).map(|number| format!("element {number}")).collect();
        for part in texts.chunks(1000) {
            let request: Vec<&str> =
                ["RPUSH", "k"].into_iter().chain(part.iter().map(String::as_str)).collect();
            client.cmd(&request);
        }
        client.check("LLEN k", "20000");
        client.check("LINDEX k 12345", "\"element 12345\"");
        client.check("LRANGE k 9999 10001", r#"["element 9999", "element 10000", "element 10001"]"#);
        client.check("LPOS k \"element 19999\"", "19999");
        let everything = client.line("LRANGE k 0 -1");
        assert!(everything.items().iter().zip(&texts).all(|(frame, text)| frame.text() == *text));
        let large = vec![b'x'; 3_000_000];
        assert_eq!(client.cmd(&[&b"LSET"[..], b"k", b"5", &large]).to_string(), "OK");
        assert_eq!(client.line("LINDEX k 5"), Frame::Bulk(large));
        client.check("LTRIM k 6 7", "OK");
        client.check("LRANGE k 0 -1", r#"["element 6", "element 7"]"#);
    });
}

#[test]
fn a_change_breaks_a_transaction_that_watches_the_key() {
    let server = Server::start(&[]);
    let (mut watcher, mut other) = (server.connect(), server.connect());
    let changes = [
        "LPUSH k x",
        "RPUSHX k x",
        "LPOP k",
        "RPOP k 2",
        "LSET k 0 x",
        "LINSERT k BEFORE b x",
        "LREM k 0 b",
        "LTRIM k 0 -1",
        "RPOPLPUSH k k",
        "LMOVE k j LEFT LEFT",
        "LMPOP 1 k LEFT",
        "BLPOP k 0",
    ];
    let others = [
        "LRANGE k 0 -1",
        "LPOP k 0",
        "LINSERT k BEFORE none x",
        "LREM k 0 none",
        "LSET k 10 x",
        "LPOS k a",
        "LLEN k",
    ];
    let lines = changes.iter().map(|line| (line, "nil")).chain(others.iter().map(|line| (line, "[PONG]")));
    for (line, expected) in lines {
        other.line("DEL k j");
        other.check("RPUSH k a b c", "3");
        watcher.check("WATCH k", "OK");
        other.line(line);
        watcher.check("MULTI", "OK");
        watcher.check("PING", "QUEUED");
        let outcome = watcher.line("EXEC").to_string();
        assert_eq!(outcome, expected, "{line}");
    }
}

#[test]
fn reads_and_changes_are_counted_as_redis_counts_them() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("RPUSH k a b c d e f g h a", "9");
    for (line, expected) in [
        ("LRANGE k 0 -1", [1, 0, 0]),
        ("LLEN none", [0, 1, 0]),
        ("LINDEX k 0", [1, 0, 0]),
        ("LPOS none x", [0, 1, 0]),
        ("LPUSH k 1 2 3", [0, 0, 3]),
        ("LPOP k 2", [0, 0, 2]),
        ("LPOP none", [0, 0, 0]),
        ("LTRIM k 1 -2", [0, 0, 2]),
        ("LSET k 0 x", [0, 0, 1]),
        ("LREM k 0 none", [0, 0, 0]),
        ("LREM k 0 b", [0, 0, 1]),
        ("LINSERT k BEFORE c b", [0, 0, 1]),
        ("RPOPLPUSH k j", [0, 0, 1]),
        ("LMOVE k k LEFT RIGHT", [0, 0, 1]),
        ("LMPOP 2 none k LEFT COUNT 2", [0, 0, 2]),
        ("BLPOP none k 0", [0, 0, 1]),
    ] {
        let before = super::strings::counts(&mut client);
        client.line(line);
        let after = super::strings::counts(&mut client);
        let counted: Vec<i64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(counted, expected, "{line}");
    }
}
