//! The README's commands on containers, as they stand there and in their order.

use super::support::docker::{Engine, IMAGE, compose_program, path, profile, with_engine};
use super::support::tool::{self, Finished};
use std::fs;
use std::process::Command;

/// The shell lines of the section, without their comments.
fn lines() -> Vec<String> {
    let text = fs::read_to_string(path("README.md")).expect("README.md");
    let (_, section) = text.split_once("\n## Containers\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Runs a line, with the image and the project of this test.
fn run(engine: &Engine, line: &str) -> Finished {
    let line = line.replace("docker/build", &format!("docker/build --tag {IMAGE} --profile {}", profile()));
    let compose = compose_program().expect("it was there before").join(" ");
    let mut command = Command::new("sh");
    command.args(["-c", &line.replace("docker compose", &compose)]).current_dir(path(""));
    command.env("LARDER_IMAGE", IMAGE);
    command.env("COMPOSE_PROJECT_NAME", format!("larder-test-{}", std::process::id()));
    tool::run(&mut engine.at(command), b"")
}

#[test]
fn its_commands_work() {
    if !tool::is_installed("redis-cli", &["--version"]) {
        return;
    }
    with_engine("readme::its_commands_work", |engine| {
        let lines = lines();
        let mut printed = String::new();
        let mut failed = None;
        for line in &lines {
            let finished = run(engine, line);
            if !finished.status.success() {
                failed.get_or_insert(format!("{line}: {}", finished.all()));
            }
            printed.push_str(&finished.stdout);
        }
        assert_eq!(failed, None, "{printed}");
        for part in ["5 nodes serve all slots", "state    ok", "3 nodes serve all slots", "OK\n"] {
            assert!(printed.contains(part), "no {part:?} in\n{printed}");
        }
    });
}
