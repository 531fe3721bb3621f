//! The systems that are compared: how each is started and spoken to.
//! It must never tune a peer below what its own documentation offers for one thread and no persistence.

use std::{env, io, path::PathBuf, process::Command};

use crate::wire::Protocol;

/// Larder's limit where none is to be measured.
const UNREACHED_BYTES: u64 = 12 << 30;

/// A server program and its protocol.
#[derive(Clone, Debug)]
pub struct System {
    /// Which program it is.
    pub kind: Kind,
    /// What tables call it.
    pub name: &'static str,
    /// The binary.
    program: PathBuf,
}

/// The programs that this benchmark knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The server of this repository.
    Larder,
    /// An event loop without a store, from this benchmark: what the sockets alone cost.
    Bare,
    /// redis-server, `allkeys-lru` where memory is limited.
    Redis,
    /// redis-server, `allkeys-lfu` where memory is limited.
    RedisLfu,
    /// memcached.
    Memcached,
    /// pogocache, if `LARDER_BENCH_POGOCACHE` names its binary.
    Pogocache,
}

impl Kind {
    /// Every kind, in the order in which they take turns.
    pub const ALL: [Self; 6] =
        [Self::Larder, Self::Bare, Self::Redis, Self::RedisLfu, Self::Memcached, Self::Pogocache];

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Larder => "larder",
            Self::Bare => "bare",
            Self::Redis => "redis",
            Self::RedisLfu => "redis-lfu",
            Self::Memcached => "memcached",
            Self::Pogocache => "pogocache",
        }
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Larder => env::var_os("LARDER_BENCH_LARDER")
                .or(option_env!("CARGO_BIN_EXE_larder").map(Into::into))
                .map(PathBuf::from),
            Self::Bare => env::current_exe().ok(),
            Self::Redis | Self::RedisLfu => on_path("redis-server"),
            Self::Memcached => on_path("memcached"),
            Self::Pogocache => env::var_os("LARDER_BENCH_POGOCACHE").map(PathBuf::from),
        }
        .filter(|path| path.is_file())
    }
}

impl System {
    /// Those of `kinds` that can be started here.
    pub fn available(kinds: &[Kind]) -> Vec<Self> {
        let system = |kind: &Kind| Some(Self { kind: *kind, name: kind.name(), program: kind.program()? });
        kinds.iter().filter_map(system).collect()
    }

    /// What the program says that it is, on one line; empty where it cannot say.
    pub fn version(&self) -> String {
        let output = Command::new(&self.program).arg("--version").output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// How it is spoken to.
    pub fn protocol(&self) -> Protocol {
        if self.kind == Kind::Memcached { Protocol::Memcache } else { Protocol::Resp }
    }

    /// The command that starts it on one thread at a loopback port, with at most `limit_bytes` of memory (evicting
    /// then), or without a limit. `value_bytes` is what the bare loop answers a GET with.
    pub fn command(&self, port: u16, limit_bytes: Option<u64>, value_bytes: usize) -> Vec<String> {
        let mut words = vec![self.program.display().to_string()];
        let mut add = |text: String| words.extend(text.split_whitespace().map(|word| word.replace("''", "")));
        let limit = limit_bytes.unwrap_or(0);
        match self.kind {
            Kind::Larder => {
                // Without a limit to measure, one that is never reached: what eviction keeps per entry is paid for.
                let limit = limit_bytes.unwrap_or(UNREACHED_BYTES);
                add(format!("--port {port} --bind 127.0.0.1 --threads 1 --metrics-port 0"));
                add(format!("--maxmemory {limit} --maxmemory-policy allkeys-lru"));
            }
            Kind::Bare => add(format!("{} {port} {value_bytes}", crate::bare::SUBCOMMAND)),
            Kind::Redis | Kind::RedisLfu => {
                add(format!("--port {port} --bind 127.0.0.1 --save '' --appendonly no --io-threads 1"));
                let policy = if self.kind == Kind::RedisLfu { "allkeys-lfu" } else { "allkeys-lru" };
                if limit > 0 {
                    add(format!("--maxmemory {limit} --maxmemory-policy {policy}"));
                }
            }
            Kind::Memcached => {
                let mebibytes = if limit == 0 { 16_384 } else { limit >> 20 };
                add(format!("-l 127.0.0.1 -p {port} -U 0 -t 1 -c 4096 -u root -m {mebibytes}"));
            }
            Kind::Pogocache => {
                add(format!("-h 127.0.0.1 -p {port} --threads 1 --maxconns 4096"));
                if limit > 0 {
                    add(format!("--maxmemory {limit}"));
                }
            }
        }
        words
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Keeps this process (and the threads that it starts from here on) on one core.
pub fn pin_self(core: usize) -> io::Result<()> {
    let id = std::process::id().to_string();
    let status = Command::new("taskset").args(["-a", "-c", "-p", &core.to_string(), &id]).output()?.status;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("taskset could not pin this process to core {core}")))
    }
}
