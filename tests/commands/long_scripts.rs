//! Scripts that take long: nobody waits for one who does not need its keys, they are seen whole or not at all, and they
//! can be ended.

use crate::support::client::Client;
use crate::support::server::{Server, wait_until};
use std::thread;
use std::time::Duration;

/// Runs until it is killed.
const ENDLESS: &str = "while true do end";
/// Long enough that a script lets go of its locks on the way: some 10 ms in an unoptimized build.
const BUSY_WORK: &str = "local x = 0 for i = 1, 200000 do x = x + i % 7 end";

/// Starts a script that does not end, and waits until others are told so.
fn endless(server: &Server, control: &mut Client, request: &[&str]) -> Client {
    let mut client = server.connect();
    client.send(request);
    wait_until("the script is late", || control.line("PING").to_string().starts_with("-BUSY"));
    client
}

#[test]
fn an_endless_script_holds_up_nobody_else_and_is_killed() {
    for threads in ["1", "2"] {
        let server = Server::start(&["--threads", threads, "--busy-reply-threshold", "20"]);
        let mut control = server.connect();
        control.check_all(
            r#"
            SET {a}kept 1               => OK
            SET {b}other 2              => OK
            SCRIPT KILL                 => -NOTBUSY No scripts in execution right now.
            "#,
        );
        let mut client = endless(&server, &mut control, &["EVAL", ENDLESS, "1", "{a}kept"]);
        control.check_all(
            r#"
            GET {b}other                => "2"
            INCR {b}other               => 3
            GET {a}kept                 => -BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.
            MSET {a}kept 1 {b}other 1   => -BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.
            DBSIZE                      => -BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.
            FUNCTION KILL               => -BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.
            SCRIPT KILL                 => OK
            "#,
        );
        let error = client.reply().to_string();
        assert!(error.contains("Script killed by user with SCRIPT KILL"), "{error}");
        wait_until("it has ended", || control.line("PING").to_string() == "PONG");
        control.check_all("GET {a}kept => \"1\"\nGET {b}other => \"3\"");
        client.check("EVAL \"return 7\" 0", "7");
    }
}

#[test]
fn a_script_that_catches_every_error_is_killed_all_the_same() {
    let server = Server::start(&["--busy-reply-threshold", "20"]);
    let mut control = server.connect();
    let scripts = [
        "while true do pcall(function() while true do end end) end",
        "while true do redis.pcall('GET', KEYS[1]) end",
        "local f = coroutine.wrap(function() while true do pcall(redis.call, 'GET', KEYS[1]) end end) while true do pcall(f) end",
    ];
    for script in scripts {
        let mut client = endless(&server, &mut control, &["EVAL", script, "1", "k"]);
        control.check("SCRIPT KILL", "OK");
        let reply = client.reply().to_string();
        assert!(reply.contains("killed"), "{script}: {reply}");
        wait_until("it has ended", || control.line("PING").to_string() == "PONG");
    }
}

#[test]
fn one_that_has_written_is_not_killed_but_ends_with_the_server() {
    let mut server = Server::start(&["--threads", "2", "--busy-reply-threshold", "20"]);
    // One of them is served by the thread that does not run the script.
    let mut controls = [server.connect(), server.connect()];
    controls.iter_mut().for_each(|control| control.limit_reading(Duration::from_millis(300)));
    let mut client = server.connect();
    client.send(&["EVAL", "redis.call('SET', KEYS[1], 'x') while true do end", "1", "{a}k"]);
    let mut free = None;
    wait_until("a client is told that the server is busy", || {
        free = controls.iter_mut().position(|control| {
            control.send_line("PING");
            control.try_receive().is_ok_and(|frame| frame.to_string().starts_with("-BUSY"))
        });
        free.is_some()
    });
    let control = &mut controls[free.unwrap_or_default()];
    let refused = control.line("SCRIPT KILL").to_string();
    assert!(refused.starts_with("-UNKILLABLE Sorry the script already executed write"), "{refused}");
    control.check("GET {b}other", "nil");
    control.send_line("SHUTDOWN NOSAVE");
    assert!(server.wait_exit().success());
}

#[test]
fn scripts_that_reach_for_each_others_keys_all_come_to_an_end() {
    const CLIENTS: usize = 3;
    const RUNS: usize = 12;
    let server = Server::start(&["--threads", "2"]);
    let declared = format!("redis.call('INCR', KEYS[1]) {BUSY_WORK} return redis.call('INCR', KEYS[2])");
    let undeclared = format!("redis.call('INCR', ARGV[1]) {BUSY_WORK} return redis.call('INCR', ARGV[2])");
    let halves: i64 = thread::scope(|scope| {
        let spawn = |number: usize| {
            let (server, declared, undeclared) = (&server, &declared, &undeclared);
            scope.spawn(move || {
                let mut client = server.connect();
                let mut halves = 0;
                for run in 0..RUNS {
                    let (first, second) =
                        if (number + run).is_multiple_of(2) { ("{a}", "{b}") } else { ("{b}", "{a}") };
                    let (script, count) = if run % 3 == 0 { (undeclared, "0") } else { (declared, "2") };
                    let reply = client.cmd(&["EVAL", script, count, first, second]);
                    if reply.to_string().contains("another script keeps") {
                        // Two of them had written and each needed the other's key: this one has done half.
                        client.cmd(&["INCR", second]);
                        halves += 1;
                    } else {
                        assert!(reply.integer() > 0);
                    }
                }
                halves
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(spawn).collect();
        clients.into_iter().map(|client| client.join().expect("a client panicked")).sum()
    });
    println!("{halves} of {} met another that needed their key", CLIENTS * RUNS);
    let total = CLIENTS * RUNS;
    server.connect().check_all(&format!("GET {{a}} => \"{total}\"\nGET {{b}} => \"{total}\""));
}

#[test]
fn readers_never_see_half_of_a_long_script() {
    let server = Server::start(&["--threads", "2"]);
    let script = format!("redis.call('INCR', KEYS[1]) {BUSY_WORK} redis.call('INCR', KEYS[2])");
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = server.connect();
            for _ in 0..30 {
                client.cmd(&["EVAL", &script, "2", "{a}", "{b}"]);
                client.cmd(&["EVAL", &format!("local KEYS = ARGV {script}"), "0", "{b}", "{a}"]);
                client.check_all("MULTI => OK\nINCR {a} => QUEUED");
                client.cmd(&["EVAL", BUSY_WORK, "1", "{a}"]);
                client.line("INCR {b}");
                client.line("EXEC");
            }
        });
        let mut reader = server.connect();
        let mut seen = 0;
        while !writer.is_finished() || seen == 0 {
            let pair = reader.line("MGET {a} {b}").to_string();
            let parts: Vec<&str> = pair.trim_matches(['[', ']']).split(", ").collect();
            assert_eq!(parts.first(), parts.last(), "half of a script was seen: {pair}");
            seen += 1;
        }
    });
}

#[test]
fn whoever_waits_for_a_key_is_served_when_a_long_script_ends() {
    let server = Server::start(&["--threads", "2"]);
    let mut waiting = server.connect();
    waiting.send_line("BLPOP {a}list 0");
    let mut control = server.connect();
    wait_until("it waits", || control.line("INFO clients").text().contains("blocked_clients:1"));
    let script =
        format!("redis.call('RPUSH', KEYS[1], 'one', 'two') {BUSY_WORK} return redis.call('LLEN', KEYS[1])");
    let reply = control.cmd(&["EVAL", &script, "1", "{a}list"]);
    assert_eq!(reply.integer(), 2, "nobody comes in between");
    waiting.expect(r#"["{a}list", "one"]"#);
}
