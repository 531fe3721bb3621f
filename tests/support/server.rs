//! A server process of its own for one test: free port, own directory, gone when the value is dropped.
//!
//! The port is found by binding port 0 and letting go of it; another process may take it in between, so a server that
//! ends before it answers is started again on another port, a few times.

use super::client::Client;
use super::frame::Frame;
use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for the first PONG.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for the end after a signal.
const EXIT_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at a process or port.
const POLL_PAUSE: Duration = Duration::from_millis(5);
/// Ports tried before a start counts as failed.
const PORTS_TRIED: usize = 5;

/// The binary under test.
const OURS: &str = env!("CARGO_BIN_EXE_larder");

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
    is_ours: bool,
}

impl Server {
    /// Starts the server under test (`LARDER_TEST_SERVER`, else our own binary) with further flags, and waits until it
    /// answers. Panics with the server's output when it does not.
    #[track_caller]
    pub fn start(flags: &[&str]) -> Server {
        match env::var("LARDER_TEST_SERVER") {
            Ok(program) => Server::start_program(&program, flags),
            Err(_) => Server::start_program(OURS, flags),
        }
    }

    /// The same for a named program that takes `--port` and the flags of redis-server.
    #[track_caller]
    pub fn start_program(program: &str, flags: &[&str]) -> Server {
        let mut last = String::new();
        for _ in 0..PORTS_TRIED {
            match try_start(program, flags) {
                Ok(server) => return server,
                Err(output) => last = output,
            }
        }
        panic!("{program} {flags:?} does not start:\n{last}");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The TCP port as text, for the command lines of tools.
    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Its working directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new RESP2 connection.
    #[track_caller]
    pub fn connect(&self) -> Client {
        match Client::connect(self.address) {
            Ok(mut client) => {
                client.holds_shapes = self.is_ours;
                client
            }
            Err(error) => panic!("cannot connect to {}: {error}\n{}", self.address, self.output()),
        }
    }

    /// What it has written to its standard output and error so far.
    pub fn output(&self) -> String {
        read_output(self.dir.path())
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &line]).status();
        assert!(status.is_ok_and(|status| status.success()), "{line} failed");
    }

    /// Waits for the end of the process; panics when it takes longer than [`EXIT_LIMIT`].
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + EXIT_LIMIT;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {EXIT_LIMIT:?}:\n{}", self.output());
            thread::sleep(POLL_PAUSE);
        }
    }

    /// SIGTERM, then [`wait_exit`](Self::wait_exit).
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_exit()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_or_else(|error| panic!("no free port: {error}"), |address| address.port())
}

/// Runs `body` on a fresh server twice, over RESP2 and over RESP3.
#[track_caller]
pub fn both_protocols(flags: &[&str], body: impl Fn(&Server, &mut Client)) {
    let server = Server::start(flags);
    body(&server, &mut server.connect());
    let mut client = server.connect().hello3();
    client.check("FLUSHALL", "OK");
    body(&server, &mut client);
}

/// Waits until `condition` holds; panics with `what` after [`START_LIMIT`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + START_LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {START_LIMIT:?} in vain: {what}");
        thread::sleep(POLL_PAUSE);
    }
}

fn try_start(program: &str, flags: &[&str]) -> Result<Server, String> {
    let dir = TempDir::new().map_err(|error| format!("no temporary directory: {error}"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let output = File::create(dir.path().join("output")).map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    // What is set outside must not configure the server under test.
    let outside = env::vars().map(|(name, _)| name).filter(|name| name.starts_with("LARDER_"));
    let mut command = Command::new(program);
    for name in outside {
        command.env_remove(name);
    }
    let child = command
        .args(["--port", &address.port().to_string()])
        .args(own_flags(program))
        .args(flags)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let mut server = Server { child, address, dir, is_ours: program == OURS };
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Ok(Some(status)) = server.child.try_wait() {
            return Err(format!("{status}\n{}", server.output()));
        }
        if answers(address, server.child.id()) {
            return Ok(server);
        }
        if Instant::now() > deadline {
            return Err(format!("no PONG within {START_LIMIT:?}\n{}", server.output()));
        }
        thread::sleep(POLL_PAUSE);
    }
}

/// Whether process `pid` answers. Another process that has the port by chance is not it; where a password stands before
/// INFO, any reply counts.
fn answers(address: SocketAddr, pid: u32) -> bool {
    let Ok(mut client) = Client::connect(address) else {
        return false;
    };
    match client.try_send_raw(b"INFO server\r\n").and_then(|()| client.try_receive()) {
        Ok(Frame::Error(_)) => true,
        Ok(reply) => reply.text().lines().any(|line| line == format!("process_id:{pid}")),
        Err(_) => false,
    }
}

fn own_flags(program: &str) -> &'static [&'static str] {
    if program.ends_with("redis-server") {
        &["--save", "", "--enable-debug-command", "yes"]
    } else {
        &["--metrics-port", "0", "--enable-debug-command", "yes"]
    }
}

fn read_output(dir: &Path) -> String {
    let bytes = fs::read(dir.join("output")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
