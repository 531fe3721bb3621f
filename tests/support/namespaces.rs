//! Places on one wire: network namespaces, each with an address of its own, between which any direction can be cut.
//!
//! A bridge in a namespace of its own joins them, and every place knows the others' hardware addresses by heart. What
//! is cut goes, from then on, to a hardware address that nobody has: it is lost in silence, in that direction only, as
//! by a firewall that drops, and needs nothing of the kernel but namespaces, veth and bridge. A [slow](Wire::slow) wire
//! has a program in the place of the bridge that delays and loses frames, because few kernels of test machines have
//! netem. Needs root and `ip` (iproute2).
//!
//! Names have the process's id in them. All is gone with the value, a panic included; what a process that was killed
//! left behind is swept up by the next one, its processes too, and nothing else ever is.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _, stderr};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip` keeps the namespaces that have names.
const NAMED: &str = "/run/netns";
/// What all names begin with.
const PREFIX: &str = "larder-";
/// A hardware address that no place has.
const NOWHERE: &str = "02:00:00:00:ff:ff";

static WIRES: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// Some places and what joins them.
pub struct Wire {
    name: String,
    places: usize,
    /// What stands in for the bridge of a slow wire.
    switch: Option<Child>,
}

/// What a slow wire does to each frame.
#[derive(Clone, Copy)]
pub struct Weather {
    /// Time that a frame takes, in ms.
    pub delay_ms: u32,
    /// By how much more or less it may be, in ms; frames overtake each other by it.
    pub jitter_ms: u32,
    /// Frames of a hundred that are lost.
    pub loss_percent: u32,
}

/// Whether wires can be made here. Where they cannot, says so and fails under `CI=true`.
#[track_caller]
pub fn are_possible() -> bool {
    SWEPT.call_once(sweep);
    let name = format!("{PREFIX}{}-trial", std::process::id());
    // Other tests of this process may be here, too: a name of its own for each trial.
    let name = format!("{name}-{}", WIRES.fetch_add(1, Ordering::Relaxed));
    let tried = ip(&["netns", "add", &name]).and_then(|()| {
        batch(&name, "link add name trial0 type bridge\nlink add name trial1 type veth peer name trial2\n")
    });
    let removed = ip(&["netns", "del", &name]);
    let why = match tried.and(removed) {
        Ok(()) => return true,
        Err(why) => why,
    };
    let is_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "no network namespaces here, and CI=true says that there must be: {why}");
    // Not eprintln!: the test runner swallows what a passing test prints by it.
    let _ = writeln!(stderr(), "SKIPPED: no network namespaces here: {why}");
    false
}

impl Wire {
    /// A wire with so many places, nothing cut.
    #[track_caller]
    pub fn new(places: usize) -> Wire {
        let wire = Wire::lay(places);
        wire.hub("link add name bridge type bridge\nlink set bridge up\n");
        let ports: String = (0..places).map(|place| format!("link set p{place} master bridge\n")).collect();
        wire.hub(&ports);
        wire
    }

    /// A wire that delays and loses.
    #[track_caller]
    pub fn slow(places: usize, weather: Weather) -> Wire {
        let mut wire = Wire::lay(places);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/slow_wire.py");
        let Weather { delay_ms, jitter_ms, loss_percent } = weather;
        let mut child = inside(&wire.namespace("hub"), "python3")
            .arg(script)
            .args([delay_ms, jitter_ms, loss_percent].map(|number| number.to_string()))
            .args((0..places).map(|place| format!("p{place}")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let output = child.stdout.take().expect("it is piped");
        wire.switch = Some(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("it is text");
        assert_eq!(line, "ready\n", "the switch does not start");
        wire
    }

    /// Places, and an end of each in the hub.
    #[track_caller]
    fn lay(places: usize) -> Wire {
        SWEPT.call_once(sweep);
        assert!((1..=250).contains(&places), "addresses end with a number of a byte");
        let number = WIRES.fetch_add(1, Ordering::Relaxed);
        // Made before its namespaces, so that they go even if one of them cannot be made.
        let wire = Wire { name: format!("{PREFIX}{}-{number}", std::process::id()), places, switch: None };
        for name in wire.namespaces() {
            must(ip(&["netns", "add", &name]));
        }
        let mut ends = String::new();
        for place in 0..places {
            let (peer, hardware) = (wire.namespace(&place.to_string()), hardware(place));
            let _ = writeln!(
                ends,
                "link add name p{place} type veth peer name eth0 address {hardware} netns {peer}\nlink set p{place} up"
            );
        }
        wire.hub(&ends);
        for place in 0..places {
            let address = wire.address(place);
            let up = format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\n");
            wire.at_place(place, &up);
        }
        wire.mend();
        wire
    }

    /// The address of a place.
    pub fn address(&self, place: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, place as u8 + 1)
    }

    /// A command that will run at a place; its process is the program itself.
    pub fn command(&self, place: usize, program: &str) -> Command {
        inside(&self.namespace(&place.to_string()), program)
    }

    /// Moves the calling thread to a place, for good: sockets that it makes from now on are there.
    #[track_caller]
    pub fn enter(&self, place: usize) {
        let path = Path::new(NAMED).join(self.namespace(&place.to_string()));
        let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .unwrap_or_else(|error| panic!("cannot enter {}: {error}", path.display()));
    }

    /// What `work` gives at a place. It runs on a thread of its own; a panic in it is one here.
    pub fn at<T: Send>(&self, place: usize, work: impl FnOnce() -> T + Send) -> T {
        let done = thread::scope(|scope| {
            let there = scope.spawn(|| {
                self.enter(place);
                work()
            });
            there.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// From now on nothing gets from any of these places to any of those.
    #[track_caller]
    pub fn lose(&self, from: &[usize], to: &[usize]) {
        for place in from {
            self.tell(*place, to.iter().map(|other| (*other, NOWHERE.to_owned())));
        }
    }

    /// From now on nothing gets from one of these groups to the other, in neither direction.
    #[track_caller]
    pub fn part(&self, one: &[usize], other: &[usize]) {
        self.lose(one, other);
        self.lose(other, one);
    }

    /// From now on everything gets everywhere.
    #[track_caller]
    pub fn mend(&self) {
        for place in 0..self.places {
            self.tell(place, (0..self.places).map(|other| (other, hardware(other))));
        }
    }

    /// Has a place believe these hardware addresses of others.
    #[track_caller]
    fn tell(&self, place: usize, others: impl Iterator<Item = (usize, String)>) {
        let mut lines = String::new();
        for (other, hardware) in others.filter(|(other, _)| *other != place) {
            let address = self.address(other);
            let _ = writeln!(lines, "neigh replace {address} lladdr {hardware} dev eth0 nud permanent");
        }
        self.at_place(place, &lines);
    }

    #[track_caller]
    fn at_place(&self, place: usize, lines: &str) {
        must(batch(&self.namespace(&place.to_string()), lines));
    }

    #[track_caller]
    fn hub(&self, lines: &str) {
        must(batch(&self.namespace("hub"), lines));
    }

    fn namespace(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn namespaces(&self) -> Vec<String> {
        let places = (0..self.places).map(|place| self.namespace(&place.to_string()));
        places.chain([self.namespace("hub")]).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(switch) = &mut self.switch {
            // Both fail only when it has ended already.
            let _ = switch.kill();
            let _ = switch.wait();
        }
        for name in self.namespaces() {
            // It may not be there if the wire could not be made.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn hardware(place: usize) -> String {
    format!("02:00:00:00:00:{:02x}", place + 1)
}

/// A command in a namespace. Not `ip netns exec`, which mounts things and may not everywhere.
fn inside(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={NAMED}/{namespace}")).arg("--").arg(program);
    command
}

#[track_caller]
fn must(done: Result<(), String>) {
    done.unwrap_or_else(|why| panic!("{why}"));
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments:?}: {why}")) }
}

/// Lines for `ip` in a namespace, by one process.
fn batch(namespace: &str, lines: &str) -> Result<(), String> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut child = Command::new("ip")
        .args(["-n", namespace, "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ip: {error}"))?;
    let written = child.stdin.take().map(|mut pipe| pipe.write_all(lines.as_bytes()));
    let output = child.wait_with_output().map_err(|error| format!("ip: {error}"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    match written {
        Some(Ok(())) if output.status.success() => Ok(()),
        _ => Err(format!("ip -n {namespace}: {why}in\n{lines}")),
    }
}

/// Removes what processes left that were killed, with everything that still runs there.
fn sweep() {
    let Ok(entries) = fs::read_dir(NAMED) else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let is_alive = |owner: &str| PathBuf::from("/proc").join(owner).exists();
        if owner.is_none_or(|owner| owner.parse::<u32>().is_err() || is_alive(owner)) {
            continue;
        }
        let pids = Command::new("ip").args(["netns", "pids", &name]).output();
        let pids =
            pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for pid in pids.split_whitespace() {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
        // Another test program may be sweeping as well.
        let _ = ip(&["netns", "del", &name]);
    }
}
