//! The README keeps its word: its generated parts are what the program says, and its shell lines do what they say.
//!
//! `LARDER_TEST_WRITE_README=1 cargo test --test readme` writes them anew.

mod support;

use larder::command::table;
use larder::config::Config;
use larder::metrics::catalog::METRICS;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use support::deployed::{self, string};
use support::server::{Server, free_port, wait_until};
use support::tool;

/// Taken while the file is read or written: the tests of this program run side by side.
static README: Mutex<()> = Mutex::new(());

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// What stands between the two markers of `part`, with its place in `text`.
fn between<'a>(text: &'a str, part: &str) -> (usize, &'a str) {
    let begin = format!("<!-- {part}: begin");
    let end = format!("<!-- {part}: end -->");
    let opening = text.find(&begin).unwrap_or_else(|| panic!("README.md has no {begin}"));
    let start = opening + text[opening..].find('\n').map_or(0, |line| line + 1);
    let length = text[start..].find(&end).unwrap_or_else(|| panic!("README.md has no {end}"));
    (start, &text[start..start + length])
}

#[track_caller]
fn hold(part: &str, expected: &str) {
    let _alone = README.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(readme()).unwrap_or_else(|error| panic!("README.md: {error}"));
    let (start, found) = between(&text, part);
    if found == expected {
        return;
    }
    if env::var("LARDER_TEST_WRITE_README").is_ok() {
        let written = format!("{}{expected}{}", &text[..start], &text[start + found.len()..]);
        fs::write(readme(), written).unwrap_or_else(|error| panic!("README.md: {error}"));
        return;
    }
    let differs = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
    panic!(
        "README.md, {part}: not as the program says; LARDER_TEST_WRITE_README=1 cargo test --test readme writes it.\n\
         first difference (program, README): {differs:#?}"
    );
}

#[test]
fn parameters_are_as_in_the_table() {
    hold("parameters", &Config::markdown());
}

#[test]
fn commands_are_as_in_the_table() {
    hold("commands", &table::markdown());
}

#[test]
fn metrics_are_as_in_the_catalogue() {
    let mut text = "\n| metric | kind | labels | what it counts |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.name, metric.kind.name(), labels.join(", "));
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {} |\n", metric.help));
    }
    text.push('\n');
    hold("metrics", &text);
}

#[test]
fn alerts_are_as_in_the_rules() {
    let mut text = "\n| alert | severity | after | what is the matter |\n|---|---|---|---|\n".to_owned();
    for alert in deployed::alerts() {
        let of = |pointer: &str| string(&alert, pointer).to_owned();
        let after = if of("/for") == "0m" { "at once".to_owned() } else { of("/for") };
        let (name, severity) = (of("/alert"), of("/labels/severity"));
        text.push_str(&format!("| `{name}` | {severity} | {after} | {} |\n", of("/annotations/summary")));
    }
    text.push('\n');
    hold("alerts", &text);
}

/// The lines of all `sh` blocks, without their comments; not those of the section on containers, which
/// `tests/containers` runs.
fn shell_lines(text: &str) -> Vec<String> {
    let (before, rest) = text.split_once("\n## Containers\n").expect("a section on containers");
    let (_, after) = rest.split_once("\n## ").expect("a section behind it");
    let text = format!("{before}\n{after}");
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Whether a line belongs to the section on clusters, which is run on its own.
fn is_of_cluster(line: &str) -> bool {
    line.contains("cluster") || line.contains("-p 700")
}

/// The processes of the section on clusters.
struct Nodes(Vec<Child>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.0 {
            // Both fail only when it has ended already.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

/// A port for clients that is free, as is the one for nodes 10000 above it.
fn port_pair() -> u16 {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (0..1000)
        .map(|_| free_port())
        .map(|port| if port > 45_000 { port - 20_000 } else { port })
        // Digits as in the README's would be replaced twice.
        .find(|port| !port.to_string().contains("700") && is_free(*port) && is_free(port + 10_000))
        .unwrap_or_else(|| panic!("no free ports"))
}

/// `line` with the ports of the README replaced by such as are free here.
fn with_ports(line: &str, ports: &[u16]) -> String {
    let mut line = line.to_owned();
    for (index, port) in ports.iter().enumerate() {
        line = line.replace(&format!("1700{}", index + 1), &(port + 10_000).to_string());
        line = line.replace(&format!("700{}", index + 1), &port.to_string());
    }
    line
}

#[test]
fn its_cluster_works() {
    if !tool::is_installed("redis-cli", &["--version"]) {
        return;
    }
    let text = fs::read_to_string(readme()).unwrap_or_else(|error| panic!("README.md: {error}"));
    let mut ports: Vec<u16> = Vec::new();
    while ports.len() < 4 {
        let port = port_pair();
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    let mut nodes = Nodes(Vec::new());
    let mut printed = Vec::new();
    for line in shell_lines(&text).iter().filter(|line| is_of_cluster(line)) {
        let line = with_ports(line, &ports);
        let mut words = line.split_whitespace().filter(|word| *word != "&");
        let mut command = match words.next() {
            Some("larder") => Command::new(env!("CARGO_BIN_EXE_larder")),
            other => Command::new(other.unwrap_or_default()),
        };
        command.args(words);
        if line.ends_with('&') {
            command.stdin(Stdio::null()).stdout(Stdio::null());
            nodes.0.push(command.spawn().unwrap_or_else(|error| panic!("{line}: {error}")));
        } else {
            let finished = tool::run(&mut command, b"");
            assert!(finished.status.success(), "{line}: {}", finished.all());
            printed.push(finished.stdout);
        }
    }
    assert_eq!(nodes.0.len(), 4);
    let printed = printed.concat();
    for part in ["OK\n", "hello\n", "[OK] All 16384 slots covered."] {
        assert!(printed.contains(part), "no {part:?} in\n{printed}");
    }
    let state = |port: u16| {
        let info = ["-p", &port.to_string(), "CLUSTER", "INFO"];
        tool::run(Command::new("redis-cli").args(info), b"").stdout
    };
    wait_until("the drained node has left", || state(ports[0]).contains("cluster_known_nodes:3"));
}

/// Runs one line of the README against `server` and returns what it printed. Ports are replaced by the server's, the
/// name of our binary by its path.
fn run_line(line: &str, server: &Server) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let mut command = match program {
        "larder" => Command::new(env!("CARGO_BIN_EXE_larder")),
        other => Command::new(other),
    };
    if matches!(program, "redis-cli" | "redis-benchmark") {
        command.args(["-p", &server.port()]);
    }
    command.args(words.map(|word| if word == "FILE" { "config/larder.toml" } else { word }));
    if matches!(line, "larder ping" | "larder healthcheck") {
        command.env("LARDER_PORT", server.port()).env("LARDER_METRICS_PORT", "0");
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let finished = tool::run(&mut command, b"");
    assert!(finished.status.success(), "{line}: {}", finished.all());
    finished.stdout
}

#[test]
fn its_shell_lines_work() {
    if !tool::is_installed("redis-cli", &["--version"]) {
        return;
    }
    let text = {
        let _alone = README.lock().unwrap_or_else(PoisonError::into_inner);
        fs::read_to_string(readme()).unwrap_or_else(|error| panic!("README.md: {error}"))
    };
    let server = Server::start(&[]);
    let mut others = Vec::new();
    for line in shell_lines(&text).into_iter().filter(|line| !is_of_cluster(line)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words[0], words.get(1).copied().unwrap_or_default()) {
            ("redis-cli" | "redis-benchmark", _)
            | ("larder", "ping" | "healthcheck" | "--print-config" | "--check-config") => {
                run_line(&line, &server);
            }
            // The same flags with another port, which the support chooses.
            ("larder", "--port") => drop(Server::start(&words[3..])),
            _ => others.push(line),
        }
    }
    assert_eq!(run_line("redis-cli GET greeting", &server), "hello\n");
    // They build and test everything: .ci/run does the second, and the benchmark is no test.
    assert_eq!(others, ["cargo run --release", "tests/run"]);
}
