//! A spawned server: started on a free loopback port in an empty folder, watched through /proc, killed when dropped.
//! It must never outlive this process: the kernel kills it when the thread that started it ends (so servers are started
//! from the main thread only), and `Drop` kills it on return and on panic.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{system::System, wire::Protocol};

/// Core that servers are pinned to; the load runs on [`LOAD_CORE`].
pub const SERVER_CORE: usize = 0;
/// Core that the load is pinned to.
pub const LOAD_CORE: usize = 1;
/// Clock ticks per second in /proc/PID/stat (`USER_HZ`, 100 on every Linux that Rust runs on but Alpha).
pub const TICKS_PER_SECOND: f64 = 100.0;
/// How long a server may take until it accepts.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Starts tried, in case another process takes the free port first.
const STARTS: usize = 3;

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    protocol: Protocol,
    _folder: TempDir,
}

impl Server {
    /// Starts `system` with at most `limit_bytes` of memory and waits until it accepts.
    pub fn start(system: &System, limit_bytes: Option<u64>, value_bytes: usize) -> io::Result<Self> {
        let mut failure = io::Error::other("not tried");
        for _ in 0..STARTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let words = system.command(port, limit_bytes, value_bytes);
            match Self::spawn(&words, port, system.protocol()) {
                Ok(server) => return Ok(server),
                Err(error) => failure = error,
            }
        }
        Err(io::Error::new(failure.kind(), format!("{} did not start: {failure}", system.name)))
    }

    fn spawn(words: &[String], port: u16, protocol: Protocol) -> io::Result<Self> {
        // Under the build folder, so that a benchmark that was killed leaves nothing outside it.
        let folders = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::tempdir_in(folders)?;
        let log = fs::File::create(folder.path().join("log"))?;
        let core = SERVER_CORE.to_string();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "-c", &core])
            .args(words)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self { child, address, protocol, _folder: folder };
        server.wait_until_accepting()?;
        Ok(server)
    }

    fn wait_until_accepting(&mut self) -> io::Result<()> {
        let until = Instant::now() + START_LIMIT;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("it ended with {status}: {}", log.trim())));
            }
            if TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it did not accept in time"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Reads figures of this process that other threads may ask for too.
    pub fn probe(&self) -> Probe {
        Probe { process: self.child.id() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a process's figures from /proc.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    process: u32,
}

impl Probe {
    /// Of this process.
    pub fn own() -> Self {
        Self { process: std::process::id() }
    }

    /// CPU time of all its threads so far, user and system, in microseconds (in steps of 10,000).
    pub fn cpu_us(self) -> io::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process))?;
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        // User and system time are the 14th and 15th fields of the line, the 12th and 13th after the name.
        match (ticks(11), ticks(12)) {
            (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND * 1e6),
            _ => Err(io::Error::other("/proc/PID/stat has a form that is not known here")),
        }
    }

    /// Resident memory now.
    pub fn resident_bytes(self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let kibibytes = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.map(|value| value * 1024).ok_or_else(|| io::Error::other("the server has ended"))
    }
}
