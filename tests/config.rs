//! Parameters through every door: file, environment, flags, CONFIG SET; which goes first; and what a mistake says.

use larder::cli::{self, Invocation, logging};
use larder::config::param::{Kind, Param};
use larder::config::params::{Config, PARAMS};
use larder::config::store::ConfigStore;
use larder::config::{file, sources};
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

/// A value that differs from the default and that the parameter takes.
fn other_value(param: &Param) -> String {
    let chosen = match param.name {
        "bind" | "metrics-bind" | "cluster-bind" => "127.0.0.2 -::",
        "unixsocket" => "/run/larder.sock",
        "unixsocketperm" => "700",
        "requirepass" => "-p \"ss# word",
        "maxmemory" | "maxmemory-clients" => "7340033",
        "maxmemory-policy" => "volatile-ttl",
        "loglevel" => "verbose",
        "logformat" => "json",
        "logfile" => "/var/log/larder.log",
        "client-output-buffer-limit" => "normal 1 2 3 slave 4096 5 6 pubsub 7 8 9",
        "latency-tracking-info-percentiles" => "0 12.5 100",
        "notify-keyspace-events" => "g$KE",
        "enable-debug-command" => "local",
        "appendfsync" => "always",
        "cluster-seeds" => "10.0.0.1:17000 larder.cache.svc",
        "cluster-name" | "cluster-secret" | "cluster-zone" => "one of ours",
        "cluster-announce-ip" => "10.0.0.1",
        "cluster-announce-hostname" => "cache-0.cache",
        "cluster-announce-outside-host" => "cache.example.net",
        "dir" => "/var/lib/larder",
        _ => "",
    };
    if !chosen.is_empty() {
        return String::from(chosen);
    }
    match (param.kind, param.default) {
        (Kind::Integer { max, .. }, default) => {
            let default: i64 = default.parse().expect("an integer");
            let other = if default == max { default - 1 } else { default + 1 };
            other.to_string()
        }
        (Kind::Memory { .. }, _) => String::from("3145728"),
        (Kind::Only { value, .. }, _) => String::from(value),
        (Kind::Plain, "yes") => String::from("no"),
        (Kind::Plain, "no") => String::from("yes"),
        (Kind::Plain, default) => panic!("{}: give a value other than {default:?}", param.name),
    }
}

fn words(list: &[&str]) -> impl Iterator<Item = OsString> {
    let list: Vec<OsString> =
        std::iter::once("larder").chain(list.iter().copied()).map(OsString::from).collect();
    list.into_iter()
}

fn variables(list: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
    let list: Vec<(OsString, OsString)> =
        list.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    list.into_iter()
}

/// The configuration that a command line and an environment lead to.
fn served(arguments: &[&str], environment: &[(&str, &str)]) -> Result<ConfigStore, String> {
    match cli::parse(words(arguments), variables(environment))? {
        Invocation::Serve(store) => Ok(store),
        other => panic!("{arguments:?} does not serve: {other:?}"),
    }
}

fn value(store: &ConfigStore, name: &str) -> String {
    let mut found = store.get(&[name.as_bytes()]);
    assert_eq!(found.len(), 1, "CONFIG GET {name}");
    found.remove(0).1
}

/// The program itself, without our variables in its environment.
fn larder(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LARDER_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().expect("the program runs")
}

#[test]
fn every_parameter_goes_through_file_environment_flag_and_config_set() {
    let folder = tempfile::tempdir().expect("a folder");
    for param in PARAMS {
        let other = other_value(param);
        let name = param.name;

        let by_flag = served(&[&format!("--{name}={other}")], &[]).expect(name);
        assert_eq!(value(&by_flag, name), other, "--{name}");

        let by_variable = served(&[], &[(&param.variable(), &other)]).expect(name);
        assert_eq!(value(&by_variable, name), other, "{}", param.variable());

        let path = folder.path().join("larder.toml");
        fs::write(&path, format!("{name} = {}\n", param.toml(&by_flag.load()))).expect("a file");
        let by_file = served(&[path.to_str().expect("UTF-8")], &[]).expect(name);
        assert_eq!(value(&by_file, name), other, "{name} in a file");
        assert_eq!(*by_file.load(), *by_flag.load(), "{name}");

        let by_set = ConfigStore::new(Config::default(), None);
        let set = by_set.set(&[(name.as_bytes(), other.as_bytes())]);
        assert_eq!(set.is_ok(), param.mutable, "CONFIG SET {name}: {set:?}");
        if param.mutable {
            assert_eq!(*by_set.load(), *by_flag.load(), "CONFIG SET {name}");
        }
    }
}

#[test]
fn what_config_get_shows_config_set_takes() {
    let store = ConfigStore::new(Config::default(), None);
    for param in PARAMS.iter().filter(|param| param.mutable && param.name != "maxmemory") {
        let shown = value(&store, param.name);
        store.set(&[(param.name.as_bytes(), shown.as_bytes())]).expect(param.name);
    }
    assert_eq!(*store.load(), Config::default());
}

#[test]
fn flag_goes_before_environment_before_file_before_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("larder.toml");
    fs::write(&path, "hz = 20\ntimeout = 21\nmaxclients = 22\n").expect("a file");
    let path = path.to_str().expect("UTF-8");
    let environment = [("LARDER_HZ", "30"), ("LARDER_TIMEOUT", "31"), ("LARDER_CONFIG", path)];
    let store = served(&["--hz", "40"], &environment).expect("three sources");
    let all = ["hz", "timeout", "maxclients", "databases"].map(|name| value(&store, name));
    assert_eq!(all, ["40", "31", "22", "16"]);
    assert_eq!(store.file(), Some(Path::new(path)));
}

#[test]
fn flags_are_taken_as_redis_server_takes_them() {
    let line = "--port 7000 --maxmemory 64mb --maxmemory-policy allkeys-lru --threads 2 --bind 127.0.0.1 -::1 \
                --slowlog-log-slower-than -1 --client-output-buffer-limit normal 1 2 3 pubsub 4 5 6 \
                --client-output-buffer-limit slave 7 8 9 --HZ 1 --hz 50 --hash-max-ziplist-entries 9";
    let mut arguments: Vec<&str> = line.split_whitespace().collect();
    arguments.extend(["--save", "", "--appendonly", "no", "--requirepass", "-x"]);
    let store = served(&arguments, &[]).expect("all of them");
    for (name, expected) in [
        ("port", "7000"),
        ("maxmemory", "67108864"),
        ("bind", "127.0.0.1 -::1"),
        ("slowlog-log-slower-than", "-1"),
        ("client-output-buffer-limit", "normal 1 2 3 slave 7 8 9 pubsub 4 5 6"),
        ("hz", "50"),
        ("hash-max-listpack-entries", "9"),
        ("save", ""),
        ("requirepass", "-x"),
    ] {
        assert_eq!(value(&store, name), expected, "{name}");
    }
    assert!(served(&["--save", "--hz", "20"], &[]).is_ok());
}

#[test]
fn the_file_in_the_repository_is_the_printed_table() {
    let printed = larder(&["--print-config"]);
    assert!(printed.status.success());
    let kept = fs::read_to_string("config/larder.toml").expect("config/larder.toml");
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    assert!(printed == kept, "run: cargo run -- --print-config > config/larder.toml");
    let settings = file::read(Path::new("config/larder.toml")).expect("our own file");
    let mut config = Config::default();
    sources::apply(&mut config, &settings).expect("our own values");
    assert_eq!(config, Config::default());
    let checked = larder(&["--check-config", "config/larder.toml"]);
    assert!(checked.status.success());
}

#[test]
fn a_mistake_is_one_line_and_exit_code_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wrong.toml");
    fs::write(&path, "# first\nhz = 10\nmaxmemory-polcy = \"allkeys-lru\"\n").expect("a file");
    let wrong = path.to_str().expect("UTF-8");
    let cases: [(&[&str], &str); 11] = [
        (
            &["--check-config", wrong],
            "wrong.toml:3: unknown parameter 'maxmemory-polcy'; did you mean 'maxmemory-policy'?",
        ),
        (&[wrong], "wrong.toml:3: unknown parameter"),
        (&["--config", wrong, "--port", "1"], "wrong.toml:3: unknown parameter"),
        (&["--prot", "1"], "--prot: unknown parameter 'prot'; did you mean 'port'?"),
        (
            &["--port", "x"],
            "--port: argument couldn't be parsed into an integer; expected an integer from 0 to 65535, got 'x'",
        ),
        (&["--port"], "--port: a value is missing; expected an integer from 0 to 65535"),
        (&["--maxmemory", "1x"], "--maxmemory: argument must be a memory value"),
        (&["--requirepass"], "--requirepass: a value is missing"),
        (&["/nonexistent.toml"], "cannot read the configuration file /nonexistent.toml"),
        (&["--hz", "5", "6"], "cannot read the configuration file 6"),
        (&["-q"], "unexpected argument '-q'"),
    ];
    for (arguments, expected) in cases {
        let output = larder(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    let why = served(&[], &[("LARDER_HZ", "0")]).expect_err("out of range");
    assert_eq!(
        why,
        "LARDER_HZ: hz: argument must be between 1 and 500 inclusive; expected an integer from 1 to 500, got '0'"
    );
}

#[test]
fn a_wrong_password_value_is_never_shown() {
    let why =
        served(&[], &[("LARDER_REQUIREPASS", "hush")]).map(|store| format!("{:?} {:?}", store, store.load()));
    assert!(!why.expect("a password").contains("hush"));
}

#[test]
fn help_and_version_are_printed_and_name_every_flag() {
    let version = larder(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("larder {}\n", env!("CARGO_PKG_VERSION")));
    let help = larder(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for param in PARAMS {
        assert!(text.contains(&format!("--{} ", param.name)), "{}", param.name);
    }
}

/// The only test here that starts the log: a process has one.
#[test]
fn config_set_loglevel_changes_the_running_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let path = path.to_str().expect("UTF-8");
    let store =
        served(&["--loglevel", "warning", "--logformat", "json", "--logfile", path], &[]).expect("flags");
    let log = logging::start(&store.load()).expect("a log");
    store.on_change(log.listener());
    let level = |name: &str| store.set(&[(b"loglevel", name.as_bytes())]).expect("a level");
    tracing::info!("first");
    level("notice");
    tracing::info!(number = 2, "second");
    level("nothing");
    tracing::error!("third");
    level("debug");
    tracing::trace!("fourth");
    let text = fs::read_to_string(path).expect("lines");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("\"message\":\"second\",\"number\":2"), "{text}");
    assert!(lines[1].contains("\"level\":\"TRACE\"") && lines[1].contains("fourth"), "{text}");
}

#[test]
fn ping_and_healthcheck_end_with_an_exit_code() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 64];
            let read = stream.read(&mut request).expect("a request");
            assert_eq!(&request[..read], b"*1\r\n$4\r\nPING\r\n");
            stream.write_all(b"+PONG\r\n").expect("a reply");
        }
    });
    let pong = larder(&["ping", "--port", &port]);
    assert_eq!((pong.status.code(), pong.stdout.as_slice()), (Some(0), b"PONG\n".as_slice()));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("larder.toml");
    fs::write(&path, format!("port = {port}\nmetrics-port = 0\n")).expect("a file");
    let healthy = larder(&["healthcheck", "--config", path.to_str().expect("UTF-8")]);
    assert_eq!((healthy.status.code(), healthy.stdout.as_slice()), (Some(0), b"".as_slice()));
    server.join().expect("two clients");
    let gone = larder(&["ping", "--port", &port]);
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&gone.stderr).lines().count(), 1);
}
