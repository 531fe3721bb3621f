//! Programs that nobody here wrote, run against the server as their users run them: redis-cli, redis-benchmark, redis-py,
//! node-redis, ioredis.
//!
//! They must end well and say nothing on standard error; of their output only what matters is looked at, because
//! figures and layouts are theirs to change. A missing program skips its test with a word, or fails it under `CI=true`.

mod support;

use std::env;
use std::process::Command;
use std::time::Duration;
use support::client::encode;
use support::server::Server;
use support::tool::{self, Finished};

/// How long the endless displays of redis-cli are watched.
const DISPLAY_LIMIT: Duration = Duration::from_secs(4);

fn has_cli() -> bool {
    tool::is_installed("redis-cli", &["--version"])
}

fn cli(server: &Server, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &server.port()]).args(arguments);
    tool::run(&mut command, input)
}

/// Output of a run that must succeed in silence on standard error.
#[track_caller]
fn clean(what: &str, finished: Finished) -> String {
    assert!(finished.status.success() && finished.stderr.is_empty(), "{what}: {}", finished.all());
    finished.stdout
}

#[track_caller]
fn assert_has(what: &str, text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{what}: no {part:?} in\n{text}");
    }
}

fn fill(server: &Server, keys: usize) {
    let mut client = server.connect();
    for index in 0..keys {
        client.send(&["SET", &format!("key:{index}"), &"v".repeat(index % 50 + 1)]);
    }
    for _ in 0..keys {
        assert_eq!(client.reply().to_string(), "OK");
    }
}

#[test]
fn redis_cli_runs_single_commands() {
    if !has_cli() {
        return;
    }
    let server = Server::start(&[]);
    let out = |arguments: &[&str]| clean("redis-cli", cli(&server, arguments, b""));
    assert_eq!(out(&["SET", "k", "a b"]), "OK\n");
    assert_eq!(out(&["GET", "k"]), "a b\n");
    assert_eq!(out(&["--no-raw", "GET", "none"]), "(nil)\n");
    assert_eq!(out(&["-3", "GET", "none"]), "\n");
    assert_eq!(out(&["-3", "--no-raw", "INCR", "n"]), "(integer) 1\n");
    assert_eq!(out(&["-n", "3", "DBSIZE"]), "0\n");
    assert_eq!(out(&["-r", "3", "INCR", "n"]), "2\n3\n4\n");
    assert_eq!(out(&["--csv", "MGET", "k", "none"]), "\"a b\",NULL\n");
    assert_has("json", &out(&["--json", "CONFIG", "GET", "hz"]), &["{\"hz\":\"10\"}"]);
    assert_has("info", &out(&["INFO", "server"]), &["redis_version:7.", "tcp_port:"]);
    let failed = cli(&server, &["-e", "INCR", "k"], b"");
    assert!(!failed.status.success());
    assert_has("error", &failed.all(), &["ERR value is not an integer or out of range"]);
    let piped = clean("stdin", cli(&server, &["-x", "SET", "from-stdin"], b"value"));
    assert_eq!(piped, "OK\n");
}

#[test]
fn redis_cli_starts_its_shell() {
    if !has_cli() {
        return;
    }
    // On a terminal the shell reads COMMAND DOCS for its hints and aborts on a shape that it does not expect.
    let server = Server::start(&[]);
    for protocol in ["-2", "-3"] {
        let shell = format!("redis-cli -h 127.0.0.1 -p {} {protocol}", server.port());
        let mut command = Command::new("script");
        command.args(["-qec", &shell, "/dev/null"]).env("TERM", "dumb").env("HOME", server.dir());
        let text = clean("shell", tool::run(&mut command, b"PING\nHELP SET\nQUIT\n"));
        assert_has("shell", &text, &["PONG", "summary:", "since:"]);
    }
    let calls = server.connect().line("INFO commandstats").text();
    assert_has("the shell asked", &calls, &["cmdstat_command|docs:calls=2"]);
}

#[test]
fn redis_cli_scans_the_keyspace() {
    if !has_cli() {
        return;
    }
    let server = Server::start(&[]);
    fill(&server, 2000);
    let out = |arguments: &[&str]| clean(&arguments.join(" "), cli(&server, arguments, b""));
    let mut keys: Vec<String> = out(&["--scan"]).lines().map(str::to_owned).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 2000);
    assert_eq!(out(&["--scan", "--pattern", "key:77?"]).lines().count(), 10);
    assert_has("bigkeys", &out(&["--bigkeys"]), &["Sampled 2000 keys in the keyspace!", "2000 strings"]);
    assert_has("memkeys", &out(&["--memkeys"]), &["Sampled 2000 keys in the keyspace!"]);
    assert_eq!(out(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"]), "OK\n");
    assert_has("hotkeys", &out(&["--hotkeys"]), &["Sampled 2000 keys in the keyspace!"]);
}

#[test]
fn redis_cli_pipes_raw_protocol() {
    if !has_cli() {
        return;
    }
    let server = Server::start(&[]);
    let mut wire = Vec::new();
    for index in 0..5000 {
        wire.extend(encode(&["SET", &format!("pipe:{index}"), "v"]));
    }
    wire.extend(encode(&["INCR", "pipe:0"]));
    let finished = cli(&server, &["--pipe"], &wire);
    assert_has("pipe", &finished.stdout, &["errors: 1, replies: 5001"]);
    server.connect().check("DBSIZE", "5000");
}

#[test]
fn redis_cli_shows_figures() {
    if !has_cli() {
        return;
    }
    let server = Server::start(&[]);
    fill(&server, 100);
    let watch = |arguments: &[&str]| {
        // Line by line, because a display that is stopped does not flush what it has printed.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "redis-cli", "-h", "127.0.0.1", "-p", &server.port()]).args(arguments);
        match tool::run_for(&mut command, b"", DISPLAY_LIMIT) {
            Ok(finished) => clean("display", finished),
            Err(partial) => partial,
        }
    };
    assert_has("stat", &watch(&["-i", "0.1", "--stat"]), &["keys", "100 "]);
    let latency = watch(&["-i", "0.5", "--latency"]);
    let figures: Vec<f64> = latency.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(figures.len() >= 4, "latency: {latency}");
}

#[test]
fn redis_cli_monitors() {
    if !has_cli() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut command = Command::new("redis-cli");
    command.args(["-p", &server.port(), "MONITOR"]);
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| tool::run_for(&mut command, b"", DISPLAY_LIMIT));
        support::server::wait_until("the monitor is listed", || {
            client.line("CLIENT LIST").text().contains("cmd=monitor")
        });
        client.check("SET watched \"a b\"", "OK");
        watcher.join().unwrap_or_else(|_| panic!("the watcher panicked"))
    });
    let Err(partial) = seen else {
        panic!("MONITOR ended by itself");
    };
    assert_has("monitor", &partial, &["OK", r#""SET" "watched" "a b""#, "[0 127.0.0.1:"]);
}

#[test]
fn redis_benchmark_ends_without_error_or_warning() {
    if !tool::is_installed("redis-benchmark", &["--version"]) {
        return;
    }
    let server = Server::start(&[]);
    let common = ["-h", "127.0.0.1", "-p", &server.port(), "-n", "20000", "-q", "--csv"];
    for options in [
        vec!["-t", "ping,set,get,incr,mset", "-P", "16"],
        vec!["-t", "set,get", "--threads", "2", "-P", "16", "-r", "1000"],
        vec!["-t", "set,get", "-3", "-d", "1000"],
        vec!["-r", "1000", "-P", "4", "setrange", "k:__rand_int__", "3", "abc"],
    ] {
        let mut command = Command::new("redis-benchmark");
        command.args(common).args(&options);
        let text = clean(&options.join(" "), tool::run(&mut command, b""));
        assert!(!text.to_lowercase().contains("warn"), "{options:?}: {text}");
        assert!(!text.to_lowercase().contains("error"), "{options:?}: {text}");
        let rates = text.lines().filter(|line| line.starts_with('"') && !line.contains("\"rps\"")).count();
        assert!(rates >= 1, "{options:?}: {text}");
    }
}

#[test]
fn redis_py_works() {
    let python = env::var("LARDER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !tool::is_installed(&python, &["-c", "import redis"]) {
        return;
    }
    let server = Server::start(&[]);
    for script in ["redis_py.py", "redis_py_events.py"] {
        let script = format!("{}/tests/interop/{script}", env!("CARGO_MANIFEST_DIR"));
        for protocol in ["2", "3"] {
            let mut command = Command::new(&python);
            command.args([&script, &server.port(), protocol]);
            let text = clean("redis-py", tool::run(&mut command, b""));
            assert_has("redis-py", &text, &["redis-py: ok"]);
        }
    }
}

#[test]
fn clients_of_node_work() {
    if !tool::is_installed("node", &["-e", "require('redis'); require('ioredis')"]) {
        return;
    }
    let server = Server::start(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/node_events.js");
    for (client, protocol) in [("redis", "2"), ("redis", "3"), ("ioredis", "2")] {
        let mut command = Command::new("node");
        command.args([script, client, &server.port(), protocol]);
        let text = clean(client, tool::run(&mut command, b""));
        assert_has(client, &text, &[": ok"]);
    }
}
