//! The command line: flags made from the parameter table, and small subcommands for probes and operators.
//!
//! Flags are taken as redis-server takes them: `--name value`, several values for parameters that have several, a
//! configuration file as the first word. Every error is one line that says what was expected.

pub mod cluster;
pub mod link;
pub mod logging;
pub mod probe;

use crate::base::limits::CLUSTER_NODES_MAX;
use crate::cli::cluster::{Call, Task};
use crate::cli::link::Target;
use crate::cli::probe::{Endpoint, Health, Probe};
use crate::config::file;
use crate::config::param::{self, Kind, Param};
use crate::config::params::{Config, PARAMS};
use crate::config::sources::{self, Environment, Setting};
use crate::config::store::ConfigStore;
use crate::config::types::BindAddress;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags that are not parameters.
const OWN_FLAGS: [&str; 6] =
    ["config", "check-config", "print-config", "print-parameters", "help", "version"];
/// Subcommands; they have flags of their own.
const SUBCOMMANDS: [&str; 4] = ["ping", "healthcheck", "cluster", "help"];

/// Seconds that a step of a subcommand may take unless a flag says otherwise.
const STEP_SECONDS: u64 = 5;

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server.
    Serve(ConfigStore),
    /// Print this and end.
    Print(String),
    /// Ask a running server.
    Probe(Probe),
    /// Ask the nodes of a cluster, or tell them something.
    Cluster(Call),
}

/// Reads the command line (program name first) and the environment. An error is one line for the standard error.
pub fn parse(
    arguments: impl Iterator<Item = OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Invocation, String> {
    let words = arguments.map(text).collect::<Result<Vec<String>, String>>()?;
    let environment = environment(variables)?;
    let is_subcommand = words.get(1).is_some_and(|word| SUBCOMMANDS.contains(&word.as_str()));
    let words = if is_subcommand { words } else { joined(&words)? };
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Invocation::Print(error.to_string()))
                }
                _ => Err(one_line(&error.to_string())),
            };
        }
    };
    match matches.subcommand() {
        Some(("cluster", matches)) => cluster_call(matches, &environment).map(Invocation::Cluster),
        Some((name, matches)) => probe(name, matches, &environment).map(Invocation::Probe),
        None => server(&matches, &environment),
    }
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{}: not UTF-8 text", word.to_string_lossy()))
}

/// Our variables; others may hold whatever they like.
fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Environment, String> {
    let mut ours = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("LARDER_")) else {
            continue;
        };
        ours.push((String::from(name), text(value).map_err(|why| format!("{name}: {why}"))?));
    }
    sources::environment(ours.into_iter())
}

/// Joins each parameter's flag with its values (`--bind 127.0.0.1 -::1` becomes `--bind=127.0.0.1 --bind=-::1`), so
/// that values may begin with a dash and a list ends where the next flag begins.
fn joined(words: &[String]) -> Result<Vec<String>, String> {
    let mut result = Vec::with_capacity(words.len());
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
            result.push(word.clone());
            continue;
        };
        let (name, given) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let Some(param) = param::find(name) else {
            if OWN_FLAGS.contains(&name) {
                result.push(word.clone());
                continue;
            }
            return Err(format!("--{name}: {}", param::unknown(name)));
        };
        let mut values: Vec<&str> = given.into_iter().collect();
        let wanted = if given.is_some() {
            0
        } else if param.many {
            usize::MAX
        } else {
            1
        };
        while values.len() < wanted && given.is_none() {
            match words.next_if(|next| !next.starts_with("--")) {
                Some(value) => values.push(value),
                None => break,
            }
        }
        if values.is_empty() {
            match param.kind {
                Kind::Only { value: "", .. } => values.push(""),
                _ => {
                    return Err(format!(
                        "--{}: a value is missing; expected {}",
                        param.name,
                        param.expects()
                    ));
                }
            }
        }
        result.extend(values.iter().map(|value| format!("--{}={value}", param.name)));
    }
    Ok(result)
}

/// clap's message without usage and blank lines, in one line.
fn one_line(message: &str) -> String {
    let talk = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let lines = message.lines().map(str::trim).take_while(talk);
    let kept: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let line = kept.join("; ");
    format!("{}; `larder --help` lists all flags", line.strip_prefix("error: ").unwrap_or(&line))
}

fn command() -> Command {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    let print = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("larder")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A cache server that speaks the Redis protocol")
        .after_help("Each parameter can also be set by a variable (LARDER_MAXMEMORY=1gb) or in a TOML file.")
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Configuration file (TOML), as the first word")
                .conflicts_with("config"),
        )
        .arg(file("config", "Configuration file (TOML); LARDER_CONFIG names one too"))
        .arg(file("check-config", "Check a configuration file, say what is wrong, start nothing"))
        .arg(print(
            "print-config",
            "Print the configuration that would be used, as a file, and start nothing",
        ))
        .arg(print("print-parameters", "Print the table of parameters in Markdown"))
        .args(PARAMS.iter().map(flag))
        .subcommand(probe_command("ping", "Ask a running server for a PONG"))
        .subcommand(probe_command(
            "healthcheck",
            "Exit with 0 if a running server answers and is ready, else 1",
        ))
        .subcommand(cluster_command())
}

fn flag(param: &'static Param) -> Arg {
    let fixed = matches!(param.kind, Kind::Only { .. });
    let default = if param.default.is_empty() { "\"\"" } else { param.default };
    Arg::new(param.name)
        .long(param.name)
        .action(ArgAction::Append)
        .allow_hyphen_values(true)
        .value_name(if param.many { "VALUE ..." } else { "VALUE" })
        .help_heading(param.section)
        .hide_short_help(!param.effective || fixed)
        .help(format!("{} [default: {default}]", param.doc()))
}

fn probe_command(name: &'static str, about: &'static str) -> Command {
    reaching(Command::new(name).about(about)).arg(
        Arg::new("timeout")
            .long("timeout")
            .help("Seconds that each step may take")
            .value_parser(value_parser!(u64).range(1..=3600))
            .default_value("5"),
    )
}

/// Operators' view of a cluster.
fn cluster_command() -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("As one JSON object");
    let node = Arg::new("NODE").required(true).help("Its id, the beginning of it, or host:port");
    let size = Arg::new("size")
        .long("size")
        .value_name("N")
        .value_parser(value_parser!(u64).range(1..=CLUSTER_NODES_MAX as u64))
        .default_value("1")
        .help("Nodes that there must be at least");
    let limit = Arg::new("timeout")
        .long("timeout")
        .value_name("SECONDS")
        .value_parser(value_parser!(u64).range(1..=86_400))
        .default_value("60")
        .help("Seconds after which it fails");
    Command::new("cluster")
        .about("Look after a cluster: ask one of its nodes, which knows the others")
        .subcommand_required(true)
        .subcommand(
            reaching(Command::new("status").about("Show nodes, slots, moves, leader and voters")).arg(json),
        )
        .subcommand(
            reaching(Command::new("drain").about("Have a node give its slots to the others and leave"))
                .arg(node),
        )
        .subcommand(
            reaching(Command::new("wait").about("Wait until all nodes serve, each with its share of slots"))
                .arg(size)
                .arg(limit),
        )
}

/// A subcommand with the flags that say how to reach a server.
fn reaching(command: Command) -> Command {
    let option = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    command
        .arg(option("host", "Host to connect to [default: where the configuration says the server listens]"))
        .arg(option("port", "TCP port [default: that of the configuration]").value_parser(value_parser!(u16)))
        .arg(option("unixsocket", "Path of a unix socket, instead of host and port"))
        .arg(option("password", "Password [default: that of the configuration]").allow_hyphen_values(true))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Configuration file of the server"),
        )
}

/// The file to read: by flag, by first word, by variable, in this order.
fn file_of(matches: &ArgMatches, environment: &Environment) -> Option<PathBuf> {
    let flag = matches.get_one::<PathBuf>("config");
    let word = matches.try_get_one::<PathBuf>("FILE").ok().flatten();
    flag.or(word).cloned().or_else(|| environment.file.as_ref().map(PathBuf::from))
}

fn server(matches: &ArgMatches, environment: &Environment) -> Result<Invocation, String> {
    if matches.get_flag("print-parameters") {
        return Ok(Invocation::Print(Config::markdown()));
    }
    if let Some(path) = matches.get_one::<PathBuf>("check-config") {
        sources::load(Some(path), &[], &[])?;
        return Ok(Invocation::Print(format!("{}: correct\n", path.display())));
    }
    let path = file_of(matches, environment);
    let config = sources::load(path.as_deref(), &environment.settings, &flags(matches))?;
    if matches.get_flag("print-config") {
        return Ok(Invocation::Print(file::render(&config)));
    }
    Ok(Invocation::Serve(ConfigStore::new(config, path.as_deref().map(absolute))))
}

/// The same file even if the process changes its directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The parameters that were given by flags, each once: the last value, or all values where it has several.
fn flags(matches: &ArgMatches) -> Vec<Setting> {
    let mut settings = Vec::new();
    for param in PARAMS {
        let Some(values) = matches.get_many::<String>(param.name) else {
            continue;
        };
        let values: Vec<&str> = values.map(String::as_str).collect();
        let text = match values.last() {
            Some(last) if !param.many => String::from(*last),
            _ => String::from(values.join(" ").trim()),
        };
        settings.push(Setting { param, text, origin: format!("--{}", param.name) });
    }
    settings
}

fn probe(name: &str, matches: &ArgMatches, environment: &Environment) -> Result<Probe, String> {
    let (target, config) = target(matches, environment)?;
    let readiness = match (name, config.metrics_port) {
        ("ping", _) | (_, 0) => None,
        (_, port) => Some((reachable(&config.metrics_bind), port)),
    };
    let seconds = matches.get_one::<u64>("timeout").copied().unwrap_or(STEP_SECONDS);
    Ok(Probe {
        endpoint: target.endpoint,
        password: target.password,
        timeout: Duration::from_secs(seconds),
        health: (name != "ping").then_some(Health { readiness }),
    })
}

fn cluster_call(matches: &ArgMatches, environment: &Environment) -> Result<Call, String> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(String::from("cluster: what is to be done is missing; expected status, drain or wait"));
    };
    let (target, _) = target(matches, environment)?;
    let number = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or(1);
    let task = match name {
        "drain" => Task::Drain { node: matches.get_one::<String>("NODE").cloned().unwrap_or_default() },
        "wait" => Task::Wait { size: number("size") as usize, limit: Duration::from_secs(number("timeout")) },
        _ => Task::Status { json: matches.get_flag("json") },
    };
    Ok(Call { target, task })
}

/// How to reach the server that flags or the configuration tell of; each step has the usual limit.
fn target(matches: &ArgMatches, environment: &Environment) -> Result<(Target, Config), String> {
    let path = file_of(matches, environment);
    let config = sources::load(path.as_deref(), &environment.settings, &[])?;
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let (host, port) = (given("host"), matches.get_one::<u16>("port").copied());
    let by_name = host.is_some() || port.is_some();
    let socket = given("unixsocket").or_else(|| {
        Some(config.unixsocket.clone()).filter(|path| !path.is_empty() && config.port == 0 && !by_name)
    });
    let host = host.unwrap_or_else(|| reachable(&config.bind));
    let target = Target {
        endpoint: match socket {
            Some(path) => Endpoint::Unix(PathBuf::from(path)),
            None => Endpoint::Tcp(host, port.unwrap_or(config.port)),
        },
        password: given("password").unwrap_or_else(|| String::from(config.requirepass.expose())),
        timeout: Duration::from_secs(STEP_SECONDS),
    };
    Ok((target, config))
}

/// An address at which a server on this machine that listens on `addresses` can be reached.
fn reachable(addresses: &[BindAddress]) -> String {
    let ip = match addresses.first().map(|address| address.ip) {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some(ip) => ip,
    };
    ip.to_string()
}
