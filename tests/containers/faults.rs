//! What goes wrong with containers, and what the cluster promises then: slots are served again by others, nobody serves
//! a slot that another owns, and whoever comes back takes its share, under whatever address.

use super::nodes::{addresses, are_one, ask, info};
use super::support::client::encode;
use super::support::docker::{Container, IMAGE, PORT, Project, with_engine};
use super::support::frame::Frame;
use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Nodes of each cluster here.
const NODES: usize = 5;
/// How long a container is paused: several times as long as a lease.
const PAUSED: Duration = Duration::from_secs(10);
/// Keys that double owners are looked for with.
const PROBES: usize = 64;

/// A key in a slot that the node at `address` owns by its own word.
fn key_of(address: SocketAddr) -> String {
    let served = |key: &String| matches!(ask(address, &["GET", key]), Some(Frame::Null));
    (0..10_000).map(|number| format!("of-{number}")).find(served).expect("it owns some slot")
}

/// Waits until exactly these nodes are one cluster and says since when.
#[track_caller]
fn whole(project: &Project<'_>, what: &str, since: Instant, addresses: &[SocketAddr]) {
    project.wait(what, || are_one(addresses));
    println!("measured: {what} after {:.1?}", since.elapsed());
}

/// A connection that stays open while its node does not answer.
struct Line(TcpStream);

impl Line {
    fn open(address: SocketAddr) -> Line {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let mut line = Line(stream);
        line.send(&["PING"]);
        assert_eq!(format!("{}", line.receive(1)[0]), "PONG");
        line
    }

    fn send(&mut self, words: &[&str]) {
        self.0.write_all(&encode(words)).expect("it is sent");
    }

    fn receive(&mut self, count: usize) -> Vec<Frame> {
        let mut reader = BufReader::new(&self.0);
        (0..count).map(|_| Frame::read(&mut reader, &mut Vec::new()).expect("a reply")).collect()
    }
}

#[test]
fn a_killed_container_is_replaced() {
    with_engine("faults::a_killed_container_is_replaced", |engine| {
        let project = Project::new(engine, "docker/compose.yml", &[]);
        project.scale(NODES);
        let all = addresses(&project);
        project.wait("five are one", || are_one(&all));
        let before = ask(all[0], &["CLUSTER", "MYID"]).map_or(String::new(), |id| id.text());
        let began = Instant::now();
        engine.docker(&["kill", &project.containers()[0].name]);
        whole(&project, "after `docker kill` the other four serve all slots", began, &all[1..]);

        let began = Instant::now();
        project.scale(NODES);
        whole(&project, "a container in place of the dead one has its share", began, &addresses(&project));
        let seen = ask(all[1], &["CLUSTER", "NODES"]).map_or(String::new(), |nodes| nodes.text());
        assert!(!seen.contains(&before), "the dead node is still shown: {seen}");
    });
}

#[test]
fn a_paused_container_answers_nothing_old() {
    with_engine("faults::a_paused_container_answers_nothing_old", |engine| {
        let project = Project::new(engine, "docker/compose.yml", &[]);
        project.scale(NODES);
        let all = addresses(&project);
        project.wait("five are one", || are_one(&all));
        let key = key_of(all[0]);
        let mut line = Line::open(all[0]);
        line.send(&["SET", &key, "old"]);
        assert_eq!(format!("{}", line.receive(1)[0]), "OK");

        let began = Instant::now();
        let name = &project.containers()[0].name;
        engine.docker(&["pause", name]);
        line.send(&["GET", &key]);
        line.send(&["SET", &key, "late"]);
        whole(&project, "after `docker pause` the other four serve all slots", began, &all[1..]);
        let set = all[1..].iter().filter_map(|node| ask(*node, &["SET", &key, "new"]));
        assert_eq!(set.filter(|reply| format!("{reply}") == "OK").count(), 1, "one of the four owns it");
        thread::sleep(PAUSED.saturating_sub(began.elapsed()));

        let began = Instant::now();
        engine.docker(&["unpause", name]);
        for reply in line.receive(2) {
            let Frame::Error(text) = &reply else { panic!("it answers {reply}\n{}", project.logs()) };
            assert!(text.starts_with("CLUSTERDOWN") || text.starts_with("MOVED"), "{text}");
        }
        whole(&project, "the container that was paused has its share again", began, &all);
        let values: Vec<String> = all
            .iter()
            .filter_map(|node| ask(*node, &["GET", &key]))
            .filter(|reply| matches!(reply, Frame::Bulk(_)))
            .map(|reply| reply.text())
            .collect();
        assert_eq!(values, ["new"]);
    });
}

/// A network by which the test sees nodes that are cut off from each other; gone with its value.
struct Window<'p> {
    project: &'p Project<'p>,
    name: String,
}

impl<'p> Window<'p> {
    fn onto(project: &'p Project<'p>) -> Window<'p> {
        let name = format!("{}-window", project.name);
        project.engine.docker(&["network", "create", &name]);
        for one in project.containers() {
            project.engine.docker(&["network", "connect", &name, &one.name]);
        }
        Window { project, name }
    }

    /// Where the window shows a container.
    fn address(&self, one: &Container) -> SocketAddr {
        let format = format!("{{{{(index .NetworkSettings.Networks {:?}).IPAddress}}}}", self.name);
        let ip = self.project.engine.docker(&["inspect", "--format", &format, &one.name]);
        SocketAddr::new(ip.parse().expect("an address"), PORT)
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        for one in self.project.containers() {
            self.project.engine.try_docker(&["network", "disconnect", "--force", &self.name, &one.name]);
        }
        self.project.engine.try_docker(&["network", "rm", &self.name]);
    }
}

/// The containers, those first whose nodes vote on the slot table: three of five. Of the last two one votes, or none: a
/// side goes on if it has most of the voters.
fn voters_first(project: &Project<'_>) -> Vec<Container> {
    let mut containers = project.containers();
    let votes = |one: &Container| {
        let address = one.address().expect("it runs");
        let id = ask(address, &["CLUSTER", "MYID"]).expect("its id").text();
        info(address, "cluster_voters").contains(&id)
    };
    containers.sort_by_key(|one| !votes(one));
    assert_eq!(containers.iter().filter(|one| votes(one)).count(), 3);
    // One that votes is cut off, too.
    containers.swap(2, 3);
    containers
}

/// Writes a key of many slots to every node: how many accept none, one, and more than one of them.
fn owners(nodes: &[SocketAddr]) -> BTreeMap<usize, usize> {
    let mut owners = BTreeMap::new();
    for number in 0..PROBES {
        let key = format!("probe-{number}");
        let accepts =
            |node: &&SocketAddr| ask(**node, &["SET", &key, "x"]).is_some_and(|r| format!("{r}") == "OK");
        *owners.entry(nodes.iter().filter(accepts).count()).or_default() += 1;
    }
    owners
}

#[test]
fn two_of_five_that_are_cut_off_serve_nothing_and_come_back() {
    with_engine("faults::two_of_five_that_are_cut_off_serve_nothing_and_come_back", |engine| {
        let project = Project::new(engine, "docker/compose.yml", &[]);
        project.scale(NODES);
        let all = addresses(&project);
        project.wait("five are one", || are_one(&all));
        let containers = voters_first(&project);
        let window = Window::onto(&project);
        let seen: Vec<SocketAddr> = containers.iter().map(|one| window.address(one)).collect();
        assert_eq!(owners(&seen), BTreeMap::from([(1, PROBES)]));

        let network = format!("{}_larder", project.name);
        let began = Instant::now();
        for one in &containers[3..] {
            engine.docker(&["network", "disconnect", &network, &one.name]);
        }
        // From the first moment to the last, no slot has two owners.
        project.wait("the three others serve all slots", || {
            let owners = owners(&seen);
            assert!(owners.keys().all(|count| *count <= 1), "{owners:?}\n{}", project.logs());
            owners == BTreeMap::from([(1, PROBES)]) && are_one(&seen[..3])
        });
        println!("measured: three of five serve all slots {:.1?} after two were cut off", began.elapsed());
        for node in &seen[3..] {
            assert_eq!(info(*node, "cluster_state"), "fail");
            let said = ask(*node, &["GET", "probe-0"]).map_or(String::new(), |reply| format!("{reply}"));
            assert!(said.starts_with("-CLUSTERDOWN"), "{said}");
        }

        // Strangers take the addresses that have become free, so that both come back under new ones.
        let strangers = ["stranger-1", "stranger-2"].map(|name| format!("{}-{name}", project.name));
        for name in &strangers {
            engine.docker(&["run", "--detach", "--name", name, "--network", &network, IMAGE]);
        }
        let taken: Vec<SocketAddr> =
            strangers.iter().filter_map(|name| engine.inspect(name).address()).collect();
        let left: Vec<SocketAddr> = containers[3..].iter().filter_map(Container::address).collect();
        assert!(taken.iter().all(|address| left.contains(address)), "{taken:?} of {left:?}");
        let began = Instant::now();
        for one in &containers[3..] {
            engine.docker(&["network", "connect", "--alias", "larder", &network, &one.name]);
        }
        let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
        let now = containers.iter().map(|one| engine.docker(&["inspect", "--format", &format, &one.name]));
        let now: Vec<String> = now.map(|ip| format!(" {ip}:{PORT}@")).collect();
        project.wait("all five are shown where they are, with their shares", || {
            let shown = ask(seen[0], &["CLUSTER", "NODES"]).map_or(String::new(), |nodes| nodes.text());
            now.iter().all(|address| shown.contains(address)) && are_one(&seen)
        });
        println!(
            "measured: the two that were cut off have their share again, at new addresses, after {:.1?}",
            began.elapsed()
        );
        for name in &strangers {
            engine.docker(&["rm", "--force", name]);
        }
    });
}
