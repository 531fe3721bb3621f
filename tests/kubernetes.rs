//! The manifests under docker/kubernetes: valid by Kubernetes's own schemas, offline, and of one piece with the program:
//! its parameters, its ports, its pages, the time that a stop may take.
//!
//! The schemas come with the Python package kubernetes-validate, which `.ci/run` installs; where it is missing the one test
//! that needs it skips with a word. Nothing here talks to a Kubernetes.

mod support;

use larder::config::Config;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::process::Command;
use support::deployed::{self, document, documents, list, string};
use support::tool;

const FOLDER: &str = "kubernetes";
/// What the manifests are made for: the oldest release that they work with, and one of today.
const RELEASES: [&str; 2] = ["1.30.0", "1.34.0"];
/// Seconds that are left over when a stop took as long as it may.
const RESERVE_S: i64 = 10;

/// A manifest, by its file's name.
fn name(file: &str) -> String {
    format!("{FOLDER}/{file}")
}

fn stateful_set() -> Value {
    document(&name("statefulset.yaml"))
}

/// The names of all manifests but the list of them.
fn manifests() -> BTreeSet<String> {
    let files = fs::read_dir(deployed::path(FOLDER)).expect("the folder");
    let names = files.map(|entry| entry.expect("a file").file_name().display().to_string());
    names.filter(|name| name != "kustomization.yaml").collect()
}

fn container(set: &Value) -> &Value {
    let containers = list(set, "/spec/template/spec/containers");
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// Variables of the container's environment that have a value; the others come from elsewhere and are empty here.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let variables = list(container, "/env").iter();
    variables.map(|one| (string(one, "/name").to_owned(), string(one, "/value").to_owned())).collect()
}

fn named_ports(container: &Value) -> BTreeMap<String, u64> {
    let ports = list(container, "/ports").iter();
    ports
        .map(|port| (string(port, "/name").to_owned(), port["containerPort"].as_u64().unwrap_or(0)))
        .collect()
}

#[test]
fn manifests_are_valid_by_the_schemas() {
    let python = env::var("LARDER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !tool::is_installed(&python, &["-c", "import kubernetes_validate"]) {
        return;
    }
    let validate = |files: &[String]| {
        let mut command = Command::new(&python);
        command.args(["-m", "kubernetes_validate", "--strict"]);
        command.args(RELEASES.iter().flat_map(|release| ["-k", *release]));
        let finished = tool::run(command.args(files), b"");
        (finished.status.success(), finished.all())
    };
    let paths: Vec<String> =
        manifests().iter().map(|file| deployed::path(&name(file)).display().to_string()).collect();
    let (valid, said) = validate(&paths);
    assert!(valid && !said.contains("WARN"), "{said}");
    let count: usize = manifests().iter().map(|file| documents(&name(file)).len()).sum();
    assert_eq!(said.matches(" passed for resource ").count(), count * RELEASES.len(), "{said}");

    // The schemas see mistakes: a field that is misspelt, and one of another type.
    let folder = tempfile::tempdir().expect("a folder");
    let text = deployed::text(&name("statefulset.yaml"));
    for (right, wrong) in [("readinessProbe:", "readynessProbe:"), ("replicas: 3", "replicas: three")] {
        assert!(text.contains(right));
        let file = folder.path().join("wrong.yaml");
        fs::write(&file, text.replace(right, wrong)).expect("written");
        let (valid, said) = validate(&[file.display().to_string()]);
        assert!(!valid, "{wrong} is let through: {said}");
    }
}

#[test]
fn all_are_in_the_list_and_labelled() {
    let kustomization = document(&name("kustomization.yaml"));
    let listed: BTreeSet<String> = list(&kustomization, "/resources")
        .iter()
        .map(|file| file.as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(listed, manifests());
    assert_eq!(string(&kustomization, "/images/0/name"), string(container(&stateful_set()), "/image"));
    assert_eq!(string(&kustomization, "/images/0/newTag"), env!("CARGO_PKG_VERSION"));
    for resource in manifests().iter().flat_map(|file| documents(&name(file))) {
        assert_eq!(resource["metadata"]["labels"]["app.kubernetes.io/name"], "larder", "{resource}");
    }
    // Whatever selects pods selects these.
    let labels = &stateful_set()["spec"]["template"]["metadata"]["labels"];
    let budget = document(&name("disruption-budget.yaml"));
    let policy = document(&name("network-policy.yaml"));
    let mut selectors = vec![
        stateful_set()["spec"]["selector"]["matchLabels"].clone(),
        budget["spec"]["selector"]["matchLabels"].clone(),
        policy["spec"]["podSelector"]["matchLabels"].clone(),
    ];
    selectors.extend(documents(&name("services.yaml")).iter().map(|one| one["spec"]["selector"].clone()));
    for selector in selectors {
        assert_eq!(&selector, labels);
    }
}

#[test]
fn services_and_probes_meet_ports_that_the_program_opens() {
    let set = stateful_set();
    let container = container(&set);
    let ports = named_ports(container);
    let defaults = Config::default();
    let expected = [
        ("redis", defaults.port),
        ("cluster", defaults.port + 10_000),
        ("metrics", defaults.metrics_port),
        ("gateway", environment(container)["LARDER_GATEWAY_PORT"].parse().expect("a port")),
    ];
    let expected = expected.map(|(name, port)| (name.to_owned(), u64::from(port)));
    assert_eq!(ports, BTreeMap::from(expected));
    let services = documents(&name("services.yaml"));
    for port in services.iter().flat_map(|service| list(service, "/spec/ports")) {
        assert_eq!(Some(&ports[string(port, "/targetPort")]), port["port"].as_u64().as_ref(), "{port}");
    }
    let policy = document(&name("network-policy.yaml"));
    for port in list(&policy, "/spec/ingress").iter().flat_map(|rule| list(rule, "/ports")) {
        assert!(ports.contains_key(string(port, "/port")), "{port}");
    }
    for (probe, page) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], page, "{probe}");
        assert!(ports.contains_key(string(&container[probe], "/httpGet/port")), "{probe}");
    }
    // Nodes find each other by a name that knows pods before they are ready; clients by one that does not.
    let seeds = &environment(container)["LARDER_CLUSTER_SEEDS"];
    let service =
        |name: &str| services.iter().find(|one| one["metadata"]["name"] == name).expect("a service");
    assert_eq!(service(seeds)["spec"]["clusterIP"], "None");
    assert_eq!(service(seeds)["spec"]["publishNotReadyAddresses"], true);
    assert_eq!(string(&set, "/spec/serviceName"), seeds);
    assert!(service("larder")["spec"].get("publishNotReadyAddresses").is_none());
}

#[test]
fn a_stop_has_the_time_that_it_may_take() {
    let set = stateful_set();
    let container = container(&set);
    let environment = environment(container);
    let seconds = |name: &str| environment[name].parse::<i64>().expect("seconds");
    let before = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().expect("seconds");
    let longest = before + seconds("LARDER_CLUSTER_DRAIN_TIMEOUT") + seconds("LARDER_SHUTDOWN_TIMEOUT");
    let granted = set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64();
    assert_eq!(granted, Some(longest + RESERVE_S));
}

/// The program with the environment of the container, what comes from elsewhere given by `more`.
fn program(more: &[(&str, &str)], arguments: &[&str]) -> tool::Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("LARDER_")) {
        command.env_remove(name);
    }
    for (name, value) in environment(container(&stateful_set())) {
        command.env(name, value.replace("$(POD_IP)", "10.1.2.3"));
    }
    command.envs(more.iter().copied());
    tool::run(&mut command, b"")
}

#[test]
fn its_environment_is_understood() {
    let printed = program(&[], &["--print-config"]);
    assert!(printed.status.success(), "{}", printed.all());
    let set = stateful_set();
    let variables = environment(container(&set));
    let names = variables.keys().filter_map(|name| name.strip_prefix("LARDER_"));
    let parameters: Vec<String> = names.map(|name| name.to_lowercase().replace('_', "-")).collect();
    assert!(parameters.len() > 8, "{parameters:?}");
    for parameter in parameters {
        assert!(
            printed.stdout.lines().any(|line| line.starts_with(&format!("{parameter} = "))),
            "{parameter} is no parameter\n{}",
            printed.stdout
        );
    }
    for line in ["cluster-announce-ip = \"10.1.2.3\"", "cluster-drain-timeout = 120", "dir = \"/data\""] {
        assert!(printed.stdout.lines().any(|one| one == line), "no {line} in\n{}", printed.stdout);
    }
    assert_eq!(string(container(&set), "/volumeMounts/0/mountPath"), variables["LARDER_DIR"]);
    // Founders are more than half of the nodes: two groups that cannot see each other found one cluster at most.
    let expect: u64 = variables["LARDER_CLUSTER_EXPECT"].parse().expect("a number");
    let replicas = set["spec"]["replicas"].as_u64().expect("a number");
    assert!(expect <= replicas && expect * 2 > replicas);
}

#[test]
fn nobody_runs_with_a_secret_that_is_published() {
    let secret = document(&name("secret.yaml"));
    let keys = list(container(&stateful_set()), "/env")
        .iter()
        .filter_map(|one| one.pointer("/valueFrom/secretKeyRef/key")?.as_str().map(str::to_owned))
        .collect::<Vec<_>>();
    assert_eq!(keys, ["cluster-secret", "requirepass"]);
    for key in &keys {
        assert_eq!(secret["stringData"][key.as_str()], "", "{key} is not empty");
    }
    // As it is, a node ends and says what is missing. Ports of the system's choice: it must not get as far as to use them.
    let ports = [
        ("LARDER_PORT", "0"),
        ("LARDER_METRICS_PORT", "0"),
        ("LARDER_GATEWAY_PORT", "0"),
        ("LARDER_DIR", ""),
    ];
    let refused = program(&ports, &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.all());
    assert!(refused.all().contains("cluster-secret"), "{}", refused.all());
}

#[test]
fn the_container_may_do_nothing_that_it_need_not() {
    let set = stateful_set();
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let context = &container(&set)["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["capabilities"]["drop"][0], "ALL");
    // maxmemory and threads follow from the limits, so there must be some.
    let limits = &container(&set)["resources"]["limits"];
    assert!(limits["memory"].is_string() && limits["cpu"].is_string(), "{limits}");
}
