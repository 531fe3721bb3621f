//! A Prometheus of its own for one test, on an address that is the test's own, reading the copy of the shipped files, or
//! these themselves.
//!
//! It ends with the value that owns it. What it answers is read as it says it; an error of a query fails the test.

use super::copy;
use super::support::http;
use super::support::server::wait_until;
use super::support::tool;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where nodes show their metrics, as docker/prometheus/prometheus.yml has it.
pub const METRICS_PORT: u16 = 9121;
/// The job's name there.
pub const JOB: &str = "larder";
/// Longest wait for anything that Prometheus is to see.
const LIMIT: Duration = Duration::from_secs(90);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Port of its own pages; the address is the cluster's.
const PORT: u16 = 9090;

/// Whether Prometheus and its tool are here; says so where not.
pub fn is_installed() -> bool {
    tool::is_installed("prometheus", &["--version"]) && tool::is_installed("promtool", &["--version"])
}

/// A running Prometheus.
pub struct Prometheus {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one at an address (of loopback) and waits until it answers.
    #[track_caller]
    pub fn start(ip: IpAddr) -> Prometheus {
        let folder = TempDir::new().expect("a folder");
        copy::write(folder.path());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
        Prometheus::run(command, folder, ip)
    }

    /// Runs a command that starts one with a configuration, and waits until it answers at an address. The folder is for
    /// its data, and goes with it.
    #[track_caller]
    pub fn run(mut command: Command, folder: TempDir, ip: IpAddr) -> Prometheus {
        let log = File::create(folder.path().join("log")).expect("a file");
        let address = SocketAddr::new(ip, PORT);
        let child = command
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("prometheus runs");
        let prometheus = Prometheus { child, folder, address };
        wait_until("Prometheus answers", || {
            http::get(address, "/-/ready").is_ok_and(|(status, _)| status.contains(" 200 "))
        });
        prometheus
    }

    /// Has it scrape these nodes and no others; it sees the change of the file by itself.
    pub fn watch(&self, nodes: &[IpAddr]) {
        let targets: Vec<String> = nodes.iter().map(|ip| format!("{ip}:{METRICS_PORT}")).collect();
        let (draft, file) = (self.folder.path().join("draft"), self.folder.path().join("targets.json"));
        fs::write(&draft, json!([{ "targets": targets }]).to_string()).expect("written");
        fs::rename(draft, file).expect("in its place");
    }

    /// `data` of a reply of its API.
    #[track_caller]
    fn ask(&self, path: &str) -> Value {
        let (status, body) = http::get(self.address, path)
            .unwrap_or_else(|error| panic!("Prometheus: {error}\n{}", self.log()));
        assert!(status.contains(" 200 "), "{path}: {status}\n{body}");
        let mut reply: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        reply["data"].take()
    }

    /// Health of each target, by its instance.
    pub fn targets(&self) -> Vec<(String, String)> {
        let found = self.ask("/api/v1/targets?state=active");
        let active = found["activeTargets"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut targets: Vec<_> =
            active.iter().map(|one| (text(&one["labels"]["instance"]), text(&one["health"]))).collect();
        targets.sort();
        targets
    }

    /// What an expression gives now: the numbers of its series that are numbers, NaN being none.
    #[track_caller]
    pub fn query(&self, expression: &str) -> Vec<f64> {
        let data = self.ask(&format!("/api/v1/query?query={}", http::escape(expression)));
        let series = data["result"].as_array().cloned().unwrap_or_default();
        let numbers = series.iter().filter_map(|one| one["value"][1].as_str()?.parse().ok());
        numbers.filter(|number: &f64| !number.is_nan()).collect()
    }

    /// Names of the alerts that fire.
    #[track_caller]
    pub fn firing(&self) -> BTreeSet<String> {
        let data = self.ask("/api/v1/alerts");
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until each of `names` has fired, be it one after the other; says how long each took.
    #[track_caller]
    pub fn wait_for_alerts(&self, names: &[&str]) {
        let began = Instant::now();
        let mut missing: BTreeSet<&str> = names.iter().copied().collect();
        while !missing.is_empty() {
            for name in self.firing() {
                if missing.remove(name.as_str()) {
                    println!("measured: {name} fires after {:.1} s", began.elapsed().as_secs_f64());
                }
            }
            assert!(began.elapsed() < LIMIT, "{missing:?} do not fire; firing: {:?}", self.firing());
            thread::sleep(PAUSE);
        }
    }

    /// Waits for a condition.
    #[track_caller]
    pub fn wait(&self, what: &str, mut condition: impl FnMut(&Prometheus) -> Result<(), String>) {
        let began = Instant::now();
        while let Err(why) = condition(self) {
            assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}: {why}\n{}", self.log());
            thread::sleep(PAUSE);
        }
    }

    /// Waits until all of `nodes` are targets, no other is, and each is up.
    #[track_caller]
    pub fn wait_up(&self, nodes: &[IpAddr]) {
        let mut expected: Vec<_> =
            nodes.iter().map(|ip| (format!("{ip}:{METRICS_PORT}"), "up".to_owned())).collect();
        expected.sort();
        self.wait("all targets are up", |prometheus| {
            let found = prometheus.targets();
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
