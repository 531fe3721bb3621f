//! The image by itself: what is in it, who runs it, how it ends, and what it takes of the machine.

use super::nodes::ask;
use super::support::docker::{Engine, IMAGE, SHIPPED, profile, with_engine};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Largest image, in bytes.
const IMAGE_BYTES_MAX: u64 = 15_000_000;
/// Longest wait for a container.
const LIMIT: Duration = Duration::from_secs(30);

/// A container on a network of its own; both end with it.
struct Alone<'e> {
    engine: &'e Engine,
    name: String,
    address: SocketAddr,
}

impl<'e> Alone<'e> {
    fn start(engine: &'e Engine, name: &str, options: &[&str]) -> Alone<'e> {
        let name = format!("larder-test-{}-{name}", std::process::id());
        engine.docker(&["network", "create", &name]);
        let run = ["run", "--detach", "--name", &name, "--network", &name];
        engine.docker(&[&run, options, &[IMAGE]].concat());
        let address = engine.inspect(&name).address().expect("it has an address");
        let alone = Alone { engine, name, address };
        let began = Instant::now();
        while alone.said(&["PING"]) != "PONG" {
            assert!(began.elapsed() < LIMIT, "{}", alone.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
        alone
    }

    fn said(&self, words: &[&str]) -> String {
        ask(self.address, words).map_or(String::new(), |reply| format!("{reply}"))
    }

    fn logs(&self) -> String {
        self.engine.try_docker(&["logs", &self.name]).all()
    }

    /// Sends a signal and gives the exit code.
    fn end_by(&self, signal: &str) -> String {
        self.engine.docker(&["kill", "--signal", signal, &self.name]);
        self.engine.docker(&["wait", &self.name])
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.engine.try_docker(&["rm", "--force", "--volumes", &self.name]);
        self.engine.try_docker(&["network", "rm", &self.name]);
    }
}

#[test]
fn the_image_is_small_and_behaves() {
    with_engine("image::the_image_is_small_and_behaves", |engine| {
        let bytes: u64 =
            engine.docker(&["image", "inspect", "--format", "{{.Size}}", IMAGE]).parse().expect("a size");
        println!("measured: the image has {bytes} bytes");
        assert!(bytes < IMAGE_BYTES_MAX || profile() != SHIPPED, "{bytes}");
        let user = engine.docker(&["image", "inspect", "--format", "{{.Config.User}}", IMAGE]);
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");

        let limited = ["--memory", "256m", "--cpus", "1", "--read-only", "--cap-drop", "ALL"];
        let alone = Alone::start(engine, "limited", &limited);
        let logs = alone.logs();
        assert!(logs.contains("threads=1 ") && logs.contains("maxmemory_bytes=201326592"), "{logs}");
        assert!(engine.try_docker(&["exec", &alone.name, "/larder", "healthcheck"]).status.success());
        assert_eq!(alone.end_by("TERM"), "0", "{}", alone.logs());
        drop(alone);

        let alone = Alone::start(engine, "two", &["--cpus", "2"]);
        assert!(!alone.logs().contains("threads=1 "), "{}", alone.logs());
        assert_eq!(alone.end_by("INT"), "0", "{}", alone.logs());
    });
}
