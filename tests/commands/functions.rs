//! FUNCTION and FCALL: libraries, what they may do while they load, and functions on every worker. Texts of errors are
//! compared with redis-server's in `tests/oracle`.

use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::{Server, both_protocols};

/// Loads a library of functions, each with a name and a body.
#[track_caller]
fn load(client: &mut Client, name: &str, functions: &[(&str, &str)]) {
    let source = source(name, functions);
    let reply = client.cmd(&["FUNCTION", "LOAD", "REPLACE", &source]).to_string();
    assert_eq!(reply, format!("{name:?}"), "{source}");
}

fn source(name: &str, functions: &[(&str, &str)]) -> String {
    let mut source = format!("#!lua name={name}\n");
    for (name, body) in functions {
        source.push_str(&format!("redis.register_function('{name}', function(keys, args) {body} end)\n"));
    }
    source
}

#[test]
fn a_function_runs_with_its_keys_and_arguments() {
    both_protocols(&[], |_, client| {
        load(
            client,
            "lib",
            &[
                ("set", "return redis.call('set', keys[1], args[1])"),
                ("get", "return redis.call('get', keys[1])"),
            ],
        );
        client.check_all(
            r#"
            FCALL set 1 k v             => OK
            GET k                       => "v"
            FCALL GET 1 k               => "v"
            FCALL none 0                => -ERR Function not found
            FCALL set x                 => -ERR Bad number of keys provided
            FCALL set -1                => -ERR Number of keys can't be negative
            FCALL set 2 k               => -ERR Number of keys can't be greater than number of args
            FCALL_RO get 1 k            => -ERR Can not execute a script with write flag using *_ro command.
            COMMAND GETKEYS FCALL f 1 k x => ["k"]
            "#,
        );
        let source = "#!lua name=reader\nredis.register_function{function_name='read', flags={'no-writes'}, \
            callback=function(keys) return redis.call('get', keys[1]) end}\n\
            redis.register_function{function_name='wrong', flags={'no-writes'}, \
            callback=function(keys) return redis.call('set', keys[1], '1') end}";
        client.cmd(&["FUNCTION", "LOAD", source]);
        client.check("FCALL_RO read 1 k", "\"v\"");
        let refused =
            "-ERR Write commands are not allowed from read-only scripts. script: wrong, on @user_function:3.";
        client.check("FCALL wrong 1 k", refused);
    });
}

#[test]
fn every_worker_sees_libraries_change_at_once() {
    let server = Server::start(&["--threads", "4"]);
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    for round in 0..20_usize {
        let body = format!("return {round}");
        let at = round % clients.len();
        load(&mut clients[at], "lib", &[("f", &body)]);
        for client in &mut clients {
            client.check("FCALL f 0", &round.to_string());
        }
    }
    clients[0].check("FUNCTION FLUSH ASYNC", "OK");
    for client in &mut clients {
        client.check("FCALL f 0", "-ERR Function not found");
    }
}

#[test]
fn a_library_keeps_what_it_remembers_to_itself() {
    both_protocols(&[], |_, client| {
        client.check("FUNCTION FLUSH", "OK");
        client.cmd(&[
            "FUNCTION",
            "LOAD",
            "#!lua name=a\nlocal n = 0\nredis.register_function('count', function() n = n + 1 return n end)",
        ]);
        load(client, "b", &[("peek", "return n"), ("leave", "redis.n = 5"), ("other", "math.n = 5")]);
        client.check_all(
            r#"
            FCALL count 0               => 1
            FCALL count 0               => 2
            FCALL peek 0                => -ERR user_function:2: Script attempted to access nonexistent global variable 'n' script: peek, on @user_function:2.
            FCALL leave 0               => -ERR user_function:3: Attempt to modify a readonly table script: leave, on @user_function:3.
            FCALL other 0               => -ERR user_function:4: Attempt to modify a readonly table script: other, on @user_function:4.
            "#,
        );
    });
}

#[test]
fn what_fails_to_load_leaves_everything_as_it_was() {
    both_protocols(&[], |_, client| {
        client.check("FUNCTION FLUSH", "OK");
        load(client, "lib", &[("f", "return 1")]);
        for (source, expected) in [
            (
                "#!lua name=lib\nbad script",
                "ERR Error compiling function: user_function:2: '=' expected near 'script'",
            ),
            (
                "#!lua name=lib\nredis.call('ping')",
                "ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'call'",
            ),
            (
                "#!lua name=lib\nmath.random()",
                "ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'math'",
            ),
            (
                "#!lua name=lib\nwhile true do end",
                "ERR Error registering functions: ERR FUNCTION LOAD timeout",
            ),
            (
                "#!lua name=lib\nlocal t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end",
                "ERR Error registering functions: ",
            ),
            (
                "#!lua name=lib\nlocal function f() return f() + 1 end f()",
                "ERR Error registering functions: ERR user_function:2: stack overflow",
            ),
            ("#!lua name=lib\nreturn 1", "ERR No functions registered"),
            (
                "#!lua name=other\nredis.register_function('F', function() end)",
                "ERR Function F already exists",
            ),
            (
                "#!lua name=x-y\n",
                "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
            ),
            ("#!js name=lib\n", "ERR Engine 'js' not found"),
        ] {
            let reply = client.cmd(&["FUNCTION", "LOAD", "REPLACE", source]).to_string();
            assert!(reply.starts_with(&format!("-{expected}")), "{source}\n{reply}");
            client.check("FCALL f 0", "1");
        }
        let again = source("lib", &[("g", "return 2")]);
        assert_eq!(
            client.cmd(&["FUNCTION", "LOAD", &again]).to_string(),
            "-ERR Library 'lib' already exists"
        );
        let stats = client.line("FUNCTION STATS").to_string();
        assert!(
            stats.contains("\"libraries_count\"") && stats.ends_with("1]]]") || stats.contains("1}"),
            "{stats}"
        );
    });
}

#[test]
fn libraries_are_listed_deleted_and_counted() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    load(&mut client, "beta", &[("b", "return 2")]);
    load(&mut client, "alpha", &[("a", "return 1"), ("c", "return 3")]);
    client.check_all(
        r#"
        FUNCTION LIST LIBRARYNAME AL* => [["library_name", "alpha", "engine", "LUA", "functions", [["name", "a", "description", nil, "flags", []], ["name", "c", "description", nil, "flags", []]]]]
        FUNCTION STATS              => ["running_script", nil, "engines", ["LUA", ["libraries_count", 2, "functions_count", 3]]]
        FUNCTION DELETE alpha       => OK
        FUNCTION DELETE alpha       => -ERR Library not found
        FCALL a 0                   => -ERR Function not found
        FUNCTION KILL               => -NOTBUSY No scripts in execution right now.
        FLUSHALL                    => OK
        FCALL b 0                   => 2
        "#,
    );
    let help = client.line("FUNCTION HELP");
    assert!(help.items().len() > 10, "{help}");
    let info = client.line("INFO memory").text();
    for field in ["number_of_functions:1\r", "number_of_libraries:1\r", "used_memory_functions:"] {
        assert!(info.contains(field), "{field} in {info}");
    }
}

#[test]
fn a_dump_is_restored_as_the_policy_says() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    load(&mut client, "one", &[("f", "return 1")]);
    load(&mut client, "two", &[("g", "return 2")]);
    let Frame::Bulk(payload) = client.cmd(&["FUNCTION", "DUMP"]) else { panic!("no payload") };
    let restore = |words: &[&str]| {
        let mut command = vec![b"FUNCTION".to_vec(), b"RESTORE".to_vec(), payload.clone()];
        command.extend(words.iter().map(|word| word.as_bytes().to_vec()));
        command
    };
    let (plain, replace, flush) = (restore(&[]), restore(&["REPLACE"]), restore(&["FLUSH"]));
    assert_eq!(client.cmd(&plain).to_string(), "-ERR Library one already exists");
    load(&mut client, "one", &[("f", "return 10")]);
    load(&mut client, "three", &[("h", "return 3")]);
    assert_eq!(client.cmd(&replace).to_string(), "OK");
    client.check_all("FCALL f 0 => 1\nFCALL h 0 => 3");
    assert_eq!(client.cmd(&flush).to_string(), "OK");
    client.check_all("FCALL f 0 => 1\nFCALL g 0 => 2\nFCALL h 0 => -ERR Function not found");
    client.check("FUNCTION DELETE one", "OK");
    load(&mut client, "four", &[("F", "return 4")]);
    client.check("FUNCTION DELETE two", "OK");
    assert_eq!(client.cmd(&plain).to_string(), "-ERR Function f already exists");
    client.check_all("FCALL f 0 => 4\nFCALL g 0 => -ERR Function not found");
    let cut = [b"FUNCTION".as_slice(), b"RESTORE", &payload[..payload.len() - 1]];
    assert_eq!(client.cmd(&cut).to_string(), "-ERR DUMP payload version or checksum are wrong");
}

#[test]
fn memory_that_is_short_is_for_functions_that_say_so() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let write = "callback=function(keys) return redis.call('set', keys[1], 'x') end";
    let source = format!(
        "#!lua name=lib\nredis.register_function{{function_name='plain', {write}}}\n\
        redis.register_function{{function_name='allowed', {write}, flags={{'allow-oom'}}}}\n\
        redis.register_function{{function_name='reads', callback=function() return 1 end, flags={{'no-writes'}}}}"
    );
    client.cmd(&["FUNCTION", "LOAD", &source]);
    client.check_all(
        r#"
        SET other 1                 => OK
        CONFIG SET maxmemory 1      => OK
        FCALL plain 1 k             => -OOM command not allowed when used memory > 'maxmemory'.
        FCALL reads 1 k             => 1
        FCALL allowed 1 k           => OK
        FUNCTION LOAD x             => -OOM command not allowed when used memory > 'maxmemory'.
        FUNCTION RESTORE x          => -OOM command not allowed when used memory > 'maxmemory'.
        FUNCTION FLUSH              => OK
        CONFIG SET maxmemory 0      => OK
        "#,
    );
}
