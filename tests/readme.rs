//! The README keeps its word: its generated parts are what the program says, and its shell lines do what they say.
//!
//! `LARDER_TEST_WRITE_README=1 cargo test --test readme` writes them anew.

mod support;

use larder::command::table;
use larder::config::Config;
use larder::metrics::catalog::METRICS;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use support::server::Server;
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

/// The lines of all `sh` blocks, without their comments.
fn shell_lines(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
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
    for line in shell_lines(&text) {
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
