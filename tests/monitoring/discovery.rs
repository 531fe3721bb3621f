//! The shipped configuration as it is, nothing in it changed, against the shipped compose file: Prometheus finds containers
//! by DNS, loses those that are gone, and fires the alert of a node that failed.
//!
//! Debian's Prometheus stands in for the image of the compose file, which cannot be pulled everywhere: it runs in the
//! network of a container that belongs to the cluster's network, with Docker's name server.

use super::prometheus::{self, Prometheus};
use super::support::docker::{Container, Engine, IMAGE, Project, with_engine};
use super::support::{deployed, tool};
use std::fs;
use std::net::IpAddr;
use std::process::Command;
use tempfile::TempDir;

/// Where Docker answers for names, in the network of each container.
const NAME_SERVER: &str = "nameserver 127.0.0.11\n";
/// Starts the words behind $1, which is what they see as /etc/resolv.conf.
const WITH_NAMES: &str = r#"mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;

/// Prometheus in the network of a container, reading the shipped files where they are.
#[track_caller]
fn start_beside(engine: &Engine, container: &str) -> Prometheus {
    let folder = TempDir::new().expect("a folder");
    let names = folder.path().join("resolv.conf");
    fs::write(&names, NAME_SERVER).expect("written");
    let process = engine.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
    let ip = engine.inspect(container).ip.expect("its address");
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{process}/ns/net"))
        .args(["unshare", "--mount", "sh", "-c", WITH_NAMES, "sh"])
        .arg(names)
        .arg("prometheus")
        .arg(format!("--config.file={}", deployed::path("prometheus/prometheus.yml").display()));
    Prometheus::run(command, folder, ip)
}

fn running(project: &Project<'_>) -> Vec<IpAddr> {
    let running = |one: &Container| (one.status == "running").then_some(one.ip).flatten();
    project.containers().iter().filter_map(running).collect()
}

#[test]
fn containers_are_found_by_name_and_missed_when_they_die() {
    if !prometheus::is_installed() || !tool::is_installed("nsenter", &["--version"]) {
        return;
    }
    with_engine("discovery::containers_are_found_by_name_and_missed_when_they_die", |engine| {
        let project = Project::new(engine, "docker/compose.yml", &[]);
        project.scale(3);
        let network = format!("{}_larder", project.name);
        let beside = format!("{}-beside", project.name);
        engine.docker(&["run", "--detach", "--rm", "--name", &beside, "--network", &network, IMAGE]);
        let prometheus = start_beside(engine, &beside);
        let nodes = running(&project);
        assert_eq!(nodes.len(), 3);
        prometheus.wait_up(&nodes);
        // Its rate needs to have seen the number before.
        prometheus.wait("the cluster serves", |prometheus| {
            let served = prometheus.query("job:larder_cluster_slots_served:sum");
            if served == [16384.0] { Ok(()) } else { Err(format!("{served:?}")) }
        });
        engine.docker(&["kill", &project.containers()[2].name]);
        prometheus.wait_up(&running(&project));
        prometheus.wait_for_alerts(&["LarderNodeGivenUp"]);
        drop(prometheus);
        engine.docker(&["kill", &beside]);
    });
}
