//! A Docker engine for tests: the one that answers, or else one of their own that ends with them; compose projects on
//! it, and the containers of a project.
//!
//! An engine of our own lives in a network namespace of its own, so that its bridges and packet filters touch nobody
//! else's, and the test runs in there, too: [`with_engine`] starts the test program again inside. It needs root. The
//! engine's images are kept between runs under cargo's folder for such things; containers and networks are not.
//! One test at a time has an engine. `LARDER_TEST_IMAGE_PROFILE=checks` builds the binary by a quicker profile than the
//! shipped one.

use super::tool::{self, Finished};
use std::env;
use std::fs;
use std::io::{Write, stderr};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything that containers do.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest run of one test inside, with the first build of the binary.
const TEST_LIMIT: Duration = Duration::from_secs(1200);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Set for the test program that runs inside.
const INSIDE: &str = "LARDER_TEST_IN_OWN_NETWORK";
/// The profile that is shipped.
pub const SHIPPED: &str = "release";
/// The port of clients in a container.
pub const PORT: u16 = 6379;
/// The image under test.
pub const IMAGE: &str = "larder-under-test";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Starts an engine, and ends it with its containers once its standard input ends, however the test does. $1 is the
/// folder of its images, $2 that of everything else.
const KEEPER: &str = r#"
ip link set lo up
dockerd --bridge none --data-root "$1" --exec-root "$2/exec" --pidfile "$2/pid" --host "unix://$2/socket" >"$2/log" 2>&1 &
engine=$!
read -r _
export DOCKER_HOST="unix://$2/socket"
docker ps --all --quiet | xargs -r docker rm --force --volumes >/dev/null
kill "$engine"
wait "$engine"
"#;

/// A running engine with the image [`IMAGE`].
pub struct Engine {
    own: Option<(Child, TempDir)>,
    host: Option<String>,
}

/// Runs `body` with an engine; `test` is the whole name of the test that calls. Skips, or fails with `CI=true`, where
/// there is none and none can be started.
#[track_caller]
pub fn with_engine(test: &str, body: impl FnOnce(&Engine)) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !tool::is_installed("docker", &["--version"]) || compose_program().is_none() {
        return;
    }
    if env::var_os(INSIDE).is_some() {
        return body(&Engine::start_own());
    }
    if answers(None) {
        let engine = Engine { own: None, host: None };
        engine.build();
        return body(&engine);
    }
    if !tool::is_installed("dockerd", &["--version"])
        || !tool::is_installed("unshare", &["--net", "--mount", "true"])
    {
        return;
    }
    let program = env::current_exe().expect("the path of this test program");
    let mut again = Command::new("unshare");
    again.arg("--net").arg(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "yes");
    let finished = tool::run_for(&mut again, b"", TEST_LIMIT).unwrap_or_else(|partial| panic!("{partial}"));
    // What it measured is worth seeing when it passes, too.
    let _ = stderr().write_all(measured(&finished.all()).as_bytes());
    assert!(finished.status.success() && finished.stdout.contains("1 passed"), "{}", finished.all());
}

/// The lines that a test has marked as results.
fn measured(text: &str) -> String {
    let lines = text.lines().filter(|line| line.starts_with("measured: ") || line.starts_with("SKIPPED: "));
    lines.map(|line| format!("{line}\n")).collect()
}

fn answers(host: Option<&str>) -> bool {
    let mut command = Command::new("docker");
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    let found = command.args(["info", "--format", "{{.ServerVersion}}"]).stdin(Stdio::null()).output();
    found.is_ok_and(|output| output.status.success() && output.stdout.len() > 1)
}

/// `docker compose`, or else `docker-compose`.
pub fn compose_program() -> Option<Vec<&'static str>> {
    let newer = Command::new("docker").args(["compose", "version"]).stdin(Stdio::null()).output();
    if newer.is_ok_and(|output| output.status.success()) {
        return Some(vec!["docker", "compose"]);
    }
    tool::is_installed("docker-compose", &["version"]).then(|| vec!["docker-compose"])
}

/// The profile that the binary is built by.
pub fn profile() -> String {
    env::var("LARDER_TEST_IMAGE_PROFILE").unwrap_or_else(|_| SHIPPED.to_owned())
}

/// A path of the repository.
pub fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

impl Engine {
    #[track_caller]
    fn start_own() -> Engine {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker");
        fs::create_dir_all(&kept).expect("a folder for images");
        // Short, as the paths of sockets must be.
        let dir = tempfile::Builder::new().prefix("docker").tempdir_in("/tmp").expect("a folder");
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&kept, dir.path()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let host = format!("unix://{}/socket", dir.path().display());
        let mut engine = Engine { own: Some((keeper, dir)), host: Some(host.clone()) };
        engine.await_own(&host);
        engine.build();
        engine
    }

    #[track_caller]
    fn await_own(&mut self, host: &str) {
        let began = Instant::now();
        while !answers(Some(host)) {
            let log = self.own.as_ref().map(|(_, dir)| fs::read_to_string(dir.path().join("log")));
            assert!(began.elapsed() < LIMIT, "dockerd does not answer: {log:?}");
            thread::sleep(PAUSE);
        }
    }

    /// The shipped binary and the image of it, by the shipped script.
    #[track_caller]
    fn build(&self) {
        let mut command = Command::new(path("docker/build"));
        command.args(["--tag", IMAGE, "--profile", &profile()]).current_dir(path(""));
        let finished = tool::run_for(&mut self.at(command), b"", TEST_LIMIT);
        let finished = finished.unwrap_or_else(|partial| panic!("docker/build takes too long: {partial}"));
        assert!(finished.status.success(), "docker/build: {}", finished.all());
    }

    /// Whether it was started by the test, in a network namespace of its own.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The same command, but for this engine.
    pub fn at(&self, mut command: Command) -> Command {
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    /// Runs `docker` with these arguments; whatever it says.
    #[track_caller]
    pub fn try_docker(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new("docker");
        command.args(arguments);
        tool::run(&mut self.at(command), b"")
    }

    /// Runs `docker` with these arguments, which must succeed; gives what it printed, trimmed.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        let finished = self.try_docker(arguments);
        assert!(finished.status.success(), "docker {arguments:?}: {}", finished.all());
        finished.stdout.trim().to_owned()
    }

    /// A container, as it is now.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Container {
        let format = "{{.Name}} {{.State.StartedAt}} {{.State.Status}} \
                      {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let text = self.docker(&["inspect", "--format", format, name]);
        let mut words = text.split_whitespace();
        let mut next = || words.next().unwrap_or_default();
        Container {
            name: next().trim_start_matches('/').to_owned(),
            started: next().to_owned(),
            status: next().to_owned(),
            ip: next().parse().ok(),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some((mut keeper, _dir)) = self.own.take() {
            drop(keeper.stdin.take());
            // Fails only when it has ended already.
            let _ = keeper.wait();
        }
    }
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// When it was started, as the engine says it.
    pub started: String,
    /// `running`, `paused`, `exited` and so on.
    pub status: String,
    /// Its first address.
    pub ip: Option<IpAddr>,
}

impl Container {
    /// Where it serves clients.
    pub fn address(&self) -> Option<SocketAddr> {
        self.ip.map(|ip| SocketAddr::new(ip, PORT))
    }
}

/// A project of the shipped compose file; taken down when dropped.
pub struct Project<'e> {
    /// Where it runs.
    pub engine: &'e Engine,
    /// Its name.
    pub name: String,
    file: PathBuf,
    env: Vec<(String, String)>,
}

impl<'e> Project<'e> {
    /// Nothing runs yet. The environment is what the file's variables are.
    pub fn new(engine: &'e Engine, file: &str, env: &[(&str, &str)]) -> Project<'e> {
        let own = [("LARDER_IMAGE", IMAGE)];
        let env = own.iter().chain(env).map(|(name, value)| (String::from(*name), String::from(*value)));
        let name = format!("larder-test-{}", std::process::id());
        Project { engine, name, file: path(file), env: env.collect() }
    }

    /// A compose command, which must succeed.
    #[track_caller]
    pub fn compose(&self, arguments: &[&str]) -> Finished {
        let program = compose_program().expect("it was there before");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(["-p", &self.name, "-f"]).arg(&self.file).args(arguments);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let finished = tool::run(&mut self.engine.at(command), b"");
        assert!(finished.status.success(), "compose {arguments:?}: {}", finished.all());
        finished
    }

    /// `up` with so many nodes.
    #[track_caller]
    pub fn scale(&self, nodes: usize) {
        self.compose(&["up", "-d", "--no-build", "--scale", &format!("larder={nodes}")]);
    }

    /// The nodes' containers, by name.
    #[track_caller]
    pub fn containers(&self) -> Vec<Container> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let names = self.engine.docker(&["ps", "--all", "--filter", &project, "--format", "{{.Names}}"]);
        let mut containers: Vec<Container> = names.lines().map(|name| self.engine.inspect(name)).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        containers
    }

    /// What all nodes have written.
    pub fn logs(&self) -> String {
        let logs =
            |one: &Container| format!("--- {one:?}\n{}", self.engine.try_docker(&["logs", &one.name]).all());
        self.containers().iter().map(logs).collect()
    }

    /// Waits for a condition; panics with what was waited for and the nodes' output. Gives how long it took.
    #[track_caller]
    pub fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}\n{}", self.logs());
            thread::sleep(PAUSE);
        }
        began.elapsed()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let program = compose_program().expect("it was there before");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(["-p", &self.name, "-f"]).arg(&self.file);
        // Whatever is left goes with the engine.
        drop(self.engine.at(command).args(["down", "--volumes", "--timeout", "0"]).output());
    }
}
