//! Programs of others that tests drive: found or missing, run with a limit, output kept.
//!
//! A missing program skips the test with a word on standard error; with `CI=true` it fails it, because there everything
//! is supposed to be installed.

use std::env;
use std::io::{Read, Write, stderr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest run of one program.
pub const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at a running program.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// What a finished program left behind.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Both outputs, for messages.
    pub fn all(&self) -> String {
        format!("{}\n{}{}", self.status, self.stdout, self.stderr)
    }
}

/// Whether `program` runs with `probe` as its arguments. Where it does not, says so and fails under `CI=true`.
#[track_caller]
pub fn is_installed(program: &str, probe: &[&str]) -> bool {
    let found = Command::new(program)
        .args(probe)
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        assert!(
            !env::var("CI").is_ok_and(|value| value == "true"),
            "{program} {probe:?} does not run here, and CI=true says that it must"
        );
        // Not eprintln!: the test runner swallows what a passing test prints by it.
        let _ = writeln!(stderr(), "SKIPPED: {program} {probe:?} does not run here");
    }
    found
}

/// Runs `command` with `input` on its standard input until its end; panics after [`TOOL_LIMIT`].
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Finished {
    run_for(command, input, TOOL_LIMIT).unwrap_or_else(|partial| {
        panic!("{command:?} still runs after {TOOL_LIMIT:?}:\n{partial}");
    })
}

/// Runs `command` and stops it after `limit`; `Err` holds what an endless program printed until then.
#[track_caller]
pub fn run_for(command: &mut Command, input: &[u8], limit: Duration) -> Result<Finished, String> {
    let deadline = Instant::now() + limit;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let writer = feed(&mut child, input.to_vec());
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL_PAUSE),
            _ => {
                // Fails only when the program has ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let join = |thread: JoinHandle<String>| thread.join().unwrap_or_default();
    let (stdout, stderr) = (join(stdout), join(stderr));
    let _ = writer.join();
    match status {
        Some(status) => Ok(Finished { status, stdout, stderr }),
        None => Err(format!("{stdout}{stderr}")),
    }
}

fn feed(child: &mut Child, input: Vec<u8>) -> JoinHandle<()> {
    let pipe = child.stdin.take();
    thread::spawn(move || {
        if let Some(mut pipe) = pipe {
            // A program that ends without reading everything is judged by its status.
            let _ = pipe.write_all(&input);
        }
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
