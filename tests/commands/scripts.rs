//! EVAL and its like, SCRIPT: through a real server. Expected replies are those of Redis 7.

use crate::support::client::Client;
use crate::support::server::{Server, both_protocols};

#[track_caller]
fn check(script: &str) {
    both_protocols(&[], |_, client| client.check_all(script));
}

/// EVAL with keys and arguments; the reply as text.
#[track_caller]
fn eval(client: &mut Client, source: &str, keys: &[&str], argv: &[&str]) -> String {
    let count = keys.len().to_string();
    let words: Vec<&str> =
        ["EVAL", source, &count].into_iter().chain(keys.iter().chain(argv).copied()).collect();
    client.cmd(&words).to_string()
}

#[test]
fn scripts_call_commands() {
    check(
        r#"
        EVAL "return 1" 0                                       => 1
        EVAL "return {KEYS[1],KEYS[2],ARGV[1]}" 2 a b c         => ["a", "b", "c"]
        EVAL "return redis.call('SET', KEYS[1], ARGV[1])" 1 k v => OK
        EVAL "return redis.call('GET', KEYS[1])" 1 k            => "v"
        EVAL "return redis.call('GET', 'nosuch')" 0             => nil
        EVAL "redis.call('RPUSH', KEYS[1], 1, 2) return redis.call('LRANGE', KEYS[1], 0, -1)" 1 l => ["1", "2"]
        EVAL "return redis.pcall('INCR', KEYS[1])" 1 k          => -ERR value is not an integer or out of range
        EVAL "return redis.call('DBSIZE')" 0                    => 2
        EVAL "redis.call('SELECT', 3) redis.call('SET', 'x', 1) return redis.call('DBSIZE')" 0 => 1
        GET x                                                   => nil
        EVAL "return #redis.call('KEYS', '*')" 0                => 2
        "#,
    );
}

#[test]
fn arguments_are_checked() {
    check(
        r#"
        EVAL "return 1"             => -ERR wrong number of arguments for 'eval' command
        EVAL "return 1" x           => -ERR value is not an integer or out of range
        EVAL "return 1" -1          => -ERR Number of keys can't be negative
        EVAL "return 1" 1           => -ERR Number of keys can't be greater than number of args
        EVALSHA short 0             => -NOSCRIPT No matching script. Please use EVAL.
        EVALSHA 0123456789012345678901234567890123456789 0 => -NOSCRIPT No matching script. Please use EVAL.
        EVAL "x x" 0                => -ERR Error compiling script (new function): user_script:1: '=' expected near 'x'
        SCRIPT LOAD "x x"           => -ERR Error compiling script (new function): user_script:1: '=' expected near 'x'
        SCRIPT FLUSH now            => -ERR SCRIPT FLUSH only support SYNC|ASYNC option
        SCRIPT KILL                 => -NOTBUSY No scripts in execution right now.
        SCRIPT DEBUG maybe          => -ERR Use SCRIPT DEBUG YES/SYNC/NO
        "#,
    );
}

#[test]
fn scripts_that_promise_not_to_write_go_on_while_writes_are_paused() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let body = "#!lua flags=no-writes\nreturn 12";
    let digest = client.cmd(&["SCRIPT", "LOAD", body]).text();
    let library = "#!lua name=l\nredis.register_function{function_name='f', callback=function() return 13 end, flags={'no-writes'}}";
    client.cmd(&["FUNCTION", "LOAD", library]);
    client.check("CLIENT PAUSE 100000 WRITE", "OK");
    assert_eq!(client.cmd(&["EVAL", body, "0"]).integer(), 12);
    client.check(&format!("EVALSHA {digest} 0"), "12");
    client.check("FCALL f 0", "13");
    client.check("MULTI", "OK");
    client.cmd(&["EVAL", body, "0"]);
    client.check("EXEC", "[12]");
    // Others wait, and so does what tells others something.
    for line in ["EVAL \"return 1\" 0", "PUBLISH c m", "PFCOUNT none"] {
        let mut held = server.connect();
        held.send_line(line);
        crate::support::server::wait_until("it is held", || {
            client.line("INFO clients").text().contains("blocked_clients:1")
        });
        client.check("CLIENT UNPAUSE", "OK");
        assert!(!held.reply().is_error());
        client.check("CLIENT PAUSE 100000 WRITE", "OK");
    }
    client.check("CLIENT UNPAUSE", "OK");
    let refused = client.line("EVAL_RO \"return redis.call('PUBLISH', 'c', 'm')\" 0").to_string();
    assert!(refused.starts_with("-ERR Write commands are not allowed from read-only scripts."), "{refused}");
}

#[test]
fn debug_lets_scripts_do_what_they_must_not() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.check_all(
        r#"
        EVAL "return redis.call('SUBSCRIBE', 'c')" 0            => -ERR This Redis command is not allowed from script script: fa2d76c712f187fcf5e66d07e8d0bf47c3687b4b, on @user_script:1.
        DEBUG SET-DISABLE-DENY-SCRIPTS 1                        => OK
        DEBUG SET-DISABLE-DENY-SCRIPTS 0                        => OK
        "#,
    );
    assert!(client.line("SCRIPT HELP").items().len() > 10);
}

#[test]
fn scripts_are_known_by_their_digest() {
    check(
        r#"
        SCRIPT FLUSH                                            => OK
        EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0      => -NOSCRIPT No matching script. Please use EVAL.
        SCRIPT LOAD "return 1"                                  => "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0      => 1
        EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0   => 1
        SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db nosuch => [1, 0]
        EVAL "return 2" 0                                       => 2
        EVALSHA 7f923f79fe76194c868d7e1d0820de36700eb649 0      => 2
        SCRIPT FLUSH ASYNC                                      => OK
        EVALSHA 7f923f79fe76194c868d7e1d0820de36700eb649 0      => -NOSCRIPT No matching script. Please use EVAL.
        "#,
    );
}

#[test]
fn a_script_is_known_to_every_worker() {
    let server = Server::start(&["--threads", "4"]);
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    clients[0].check("SCRIPT LOAD \"return 1\"", "\"e0e1f9fabfc9d4800c877a703b823ac0578ff8db\"");
    for client in &mut clients {
        client.check("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "1");
    }
    clients[7].check("SCRIPT FLUSH", "OK");
    for client in &mut clients {
        let reply = client.cmd(&["EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"]).to_string();
        assert_eq!(reply, "-NOSCRIPT No matching script. Please use EVAL.");
    }
}

#[test]
fn read_only_scripts_do_not_write() {
    check(
        r#"
        SET k v                                                 => OK
        EVAL_RO "return redis.call('GET', KEYS[1])" 1 k         => "v"
        EVAL_RO "return redis.pcall('SET', KEYS[1], 1)" 1 k     => -ERR Write commands are not allowed from read-only scripts.
        GET k                                                   => "v"
        "#,
    );
    both_protocols(&[], |_, client| {
        let refused = "#!lua flags=no-writes\nreturn redis.pcall('SET', KEYS[1], 1)";
        let reply = eval(client, refused, &["k"], &[]);
        assert_eq!(reply, "-ERR Write commands are not allowed from read-only scripts.");
        let words = ["EVAL_RO", "#!lua\nreturn 1", "0"];
        let reply = client.cmd(&words).to_string();
        assert_eq!(reply, "-ERR Can not execute a script with write flag using *_ro command.");
    });
}

#[test]
fn within_multi_a_script_is_one_command() {
    check(
        r#"
        MULTI                                                   => OK
        SET k 1                                                 => QUEUED
        EVAL "return redis.call('INCR', KEYS[1])" 1 k           => QUEUED
        EVAL "return redis.call('INCR', 'other')" 0             => QUEUED
        EXEC                                                    => [OK, 2, 1]
        "#,
    );
}

#[test]
fn a_watched_key_that_a_script_changes_breaks_the_transaction() {
    let server = Server::start(&[]);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.check_all("WATCH k => OK\nMULTI => OK\nSET other 1 => QUEUED");
    assert_eq!(eval(&mut second, "return redis.call('SET', KEYS[1], 1)", &["k"], &[]), "OK");
    first.check("EXEC", "nil");
}

#[test]
fn a_script_wakes_whoever_waits_for_a_key() {
    let server = Server::start(&[]);
    let (mut waiter, mut pusher) = (server.connect(), server.connect());
    waiter.send_line("BLPOP list 0");
    crate::support::server::wait_until("the client waits", || {
        pusher.cmd(&["INFO", "clients"]).to_string().contains("blocked_clients:1")
    });
    assert_eq!(eval(&mut pusher, "return redis.call('RPUSH', KEYS[1], 'x')", &["list"], &[]), "1");
    waiter.expect(r#"["list", "x"]"#);
}

#[test]
fn keys_that_were_not_declared_are_reached() {
    let server = Server::start(&["--threads", "2", "--shards", "16"]);
    let mut client = server.connect();
    let source = "for i = 1, 200 do redis.call('SET', 'key:' .. i, i) end return redis.call('GET', 'key:77')";
    assert_eq!(eval(&mut client, source, &[], &[]), "\"77\"");
    client.check("DBSIZE", "200");
    assert_eq!(eval(&mut client, "return redis.call('FLUSHALL')", &[], &[]), "OK");
    client.check("DBSIZE", "0");
}

#[test]
fn errors_are_counted_once() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.check("CONFIG RESETSTAT", "OK");
    let reply = eval(&mut client, "return redis.call('SELECT', 99)", &[], &[]);
    assert!(reply.starts_with("-ERR DB index is out of range script: "), "{reply}");
    let stats = client.cmd(&["INFO", "errorstats"]).to_string();
    assert!(stats.contains("errorstat_ERR:count=1"), "{stats}");
    let stats = client.cmd(&["INFO", "commandstats"]).to_string();
    let row =
        |name: &str| stats.split("cmdstat_").find(|row| row.starts_with(name)).unwrap_or_default().to_owned();
    assert!(row("select:").contains("calls=1,") && row("select:").contains("failed_calls=1"), "{stats}");
    assert!(row("eval:").contains("calls=1,") && row("eval:").contains("failed_calls=1"), "{stats}");
}

#[test]
fn monitors_see_the_script_and_then_what_it_runs() {
    let server = Server::start(&[]);
    let (mut monitor, mut client) = (server.connect(), server.connect());
    monitor.check("MONITOR", "OK");
    eval(&mut client, "return redis.call('SET', KEYS[1], 1)", &["k"], &[]);
    let first = monitor.reply().to_string();
    let second = monitor.reply().to_string();
    assert!(first.contains("\\\"EVAL\\\"") || first.contains("\"EVAL\""), "{first}");
    assert!(second.contains(" lua] ") && second.contains("SET"), "{second}");
}

#[test]
fn bombs_leave_the_server_as_it_was() {
    let server = Server::start(&["--lua-memory-limit", "8mb"]);
    let mut client = server.connect();
    let bombs = [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "return ('x'):rep(1e9)",
        "local function f() return f() + 1 end return f()",
        "return loadstring(('('):rep(1e5))()",
        "return (('a'):rep(1e5)):find(('a?'):rep(1e5) .. 'y')",
        "redis.call('SET', 'k', ('x'):rep(1e7))",
        "return redis.call(unpack({}, 1, 1e8))",
        "error(setmetatable({}, {__tostring = function() error('again') end}))",
        "return cjson.encode(setmetatable({}, {__index = function() error('x') end}), ('x'):rep(1e9))",
        "local t = {} for i = 1, 100 do t = {t} end return cjson.decode(('['):rep(1e6))",
        "return cmsgpack.unpack(('\\x91'):rep(1e6))",
    ];
    for bomb in bombs {
        let reply = eval(&mut client, bomb, &[], &[]);
        assert!(reply.starts_with('-'), "{bomb}: {reply}");
        assert_eq!(eval(&mut client, "return 5", &[], &[]), "5", "after {bomb}");
    }
    client.check("PING", "PONG");
}

#[test]
fn many_arguments_pass_both_ways() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let source =
        "local t = {} for i = 1, 7000 do t[i] = i end return redis.call('RPUSH', KEYS[1], unpack(t))";
    assert_eq!(eval(&mut client, source, &["l"], &[]), "7000");
    assert_eq!(eval(&mut client, "return #redis.call('LRANGE', KEYS[1], 0, -1)", &["l"], &[]), "7000");
    let source = "local m = {} for i = 1, 20000 do m['f' .. i] = i end return {map = m}";
    assert_eq!(client.cmd(&["EVAL", source, "0"]).to_string().matches("\"f").count(), 20_000);
    let too_many =
        "local t = {} for i = 1, 7980 do t[i] = i end return redis.call('RPUSH', KEYS[1], unpack(t))";
    let reply = eval(&mut client, too_many, &["l2"], &[]);
    assert!(reply == "7980" || reply.starts_with('-'), "{reply}");
    assert_eq!(eval(&mut client, "return 5", &[], &[]), "5");
}

#[test]
fn evaluated_scripts_are_bounded() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for number in 1..=600 {
        assert_eq!(eval(&mut client, &format!("return {number}"), &[], &[]), number.to_string());
    }
    client.check(
        "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
        "-NOSCRIPT No matching script. Please use EVAL.",
    );
    let info = client.cmd(&["INFO", "everything"]).to_string();
    assert!(info.contains("number_of_cached_scripts:500") && info.contains("evicted_scripts:100"), "{info}");
}

#[test]
fn time_stands_still_within_a_script() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let source = "local a = redis.call('TIME') for i = 1, 1e5 do end local b = redis.call('TIME') \
        return a[1] == b[1] and a[2] == b[2]";
    assert_eq!(eval(&mut client, source, &[], &[]), "1");
}
