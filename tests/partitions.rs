//! Clusters of real processes, each in a network namespace of its own, whose wire is cut, one-sided, slow or lossy.
//!
//! Probers sit with every node and ask it for the same keys all the time; what all of them saw together must be what
//! one register for each key can show, and no node may answer for a slot after another has. Times are said on standard
//! error, beside what is promised. They are asserted with [`LOADED`] times the promise, so that a machine that is busy
//! otherwise fails nothing; `cargo bench --bench cluster` measures the same, and Redis beside it.
//!
//! Needs root and `ip`; skips with a word where there are no namespaces, but fails under `CI=true`.

mod support;

#[path = "partitions/crowd.rs"]
mod crowd;
#[path = "partitions/history.rs"]
mod history;
#[path = "partitions/probe.rs"]
mod probe;

use std::env;
use std::io::{Write, stderr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use history::{NEVER, Seen};
use probe::{KEYS, Watch};
use support::client::Client;
use support::cluster::Cluster;
use support::namespaces::{self, Weather, Wire};

/// What all nodes here are started with.
const FLAGS: &[&str] = &["--cluster-secret", "of all", "--protected-mode", "no"];
/// Time without a lease after which a node is given up: `cluster-node-timeout`.
const LEASE: Duration = Duration::from_millis(2000);
/// All slots are to be served again so long after a node was cut off.
const PROMISED: Duration = Duration::from_secs(4);
/// The same where the leader was cut off.
const PROMISED_LEADER: Duration = Duration::from_secs(6);
/// A node that was cut off is to have stopped answering after so long.
const PROMISED_SILENCE: Duration = Duration::from_millis(2300);
/// A busy machine may take so many times as long.
const LOADED: u32 = 2;
/// How long a fault lasts at least: what must not happen then is looked for all that time.
const FAULT: Duration = Duration::from_secs(8);
/// How long a slow wire is watched; LARDER_TEST_SLOW_SECONDS says otherwise.
const SLOW: Duration = Duration::from_secs(15);
/// How long two sides that must not found a cluster are watched.
const APART: Duration = Duration::from_secs(5);
/// Slots in all.
const SLOTS: u64 = 16384;

/// Not println!: the test runner swallows what a passing test prints by it.
fn say(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// A figure of CLUSTER INFO.
fn number(cluster: &Cluster, node: usize, field: &str) -> u64 {
    cluster.info(node, field).parse().unwrap_or(0)
}

/// Whether these nodes, and no others, serve all slots.
fn serve_all(cluster: &Cluster, nodes: &[usize]) -> bool {
    nodes.iter().map(|node| number(cluster, *node, "cluster_slots_served")).sum::<u64>() == SLOTS
}

/// Number of the leader's node, those of the other voters, and those of the rest.
fn roles(cluster: &Cluster) -> (usize, Vec<usize>, Vec<usize>) {
    let running = cluster.running();
    let id = |node: &usize| cluster.connect(*node).cmd(&["CLUSTER", "MYID"]).text();
    let ids: Vec<String> = running.iter().map(id).collect();
    let at = |id: &str| running[ids.iter().position(|other| other == id).expect("a member")];
    let leader = at(&cluster.info(0, "cluster_leader"));
    let voters = cluster.info(0, "cluster_voters");
    let voters: Vec<usize> = voters.split(',').map(at).filter(|node| *node != leader).collect();
    let rest = running.into_iter().filter(|node| *node != leader && !voters.contains(node)).collect();
    (leader, voters, rest)
}

/// What the history must not show.
#[track_caller]
fn hold(cluster: &Cluster, seen: &[Seen]) {
    let faults = history::faults(seen);
    let shown = &faults[..faults.len().min(3)];
    assert!(faults.is_empty(), "{} faults: {shown:#?}\n{}", faults.len(), cluster.output());
}

/// What it must not show of the time of a fault, in which slots leave some nodes and come back to none.
#[track_caller]
fn hold_owners(cluster: &Cluster, seen: &[Seen], from_ns: u64, to_ns: u64) {
    let during: Vec<Seen> =
        seen.iter().filter(|one| (from_ns..to_ns).contains(&one.sent_ns)).copied().collect();
    let returns = history::returns(&during);
    assert!(returns.is_empty(), "{returns:#?}\n{}", cluster.output());
}

/// When any of these nodes last answered with data what was sent before `to_ns`.
fn last_answer(seen: &[Seen], nodes: &[usize], from_ns: u64, to_ns: u64) -> Duration {
    let theirs = seen.iter().filter(|one| nodes.contains(&one.node) && one.sent_ns < to_ns);
    let ends = theirs.map(|one| one.answered_ns).filter(|end| *end != NEVER);
    Duration::from_nanos(ends.max().unwrap_or(0).saturating_sub(from_ns))
}

#[track_caller]
fn within(took: Duration, promised: Duration, what: &str) -> String {
    assert!(took <= promised * LOADED, "{what} after {took:?}; promised: {promised:?}");
    format!("{what} after {:.2} s (promised: {:.1} s)", took.as_secs_f64(), promised.as_secs_f64())
}

/// Cuts some nodes off by `cut`: the others serve all slots, those stop before, and come back when the wire is whole.
#[track_caller]
fn lose_nodes(
    name: &str,
    pick: fn(&Cluster) -> Vec<usize>,
    promised: Duration,
    cut: fn(&Wire, &[usize], &[usize]),
) {
    if !namespaces::are_possible() {
        return;
    }
    let wire = Arc::new(Wire::new(5));
    let cluster = Cluster::start_on(&wire, 0, 5, FLAGS);
    cluster.wait_ok();
    let lost = pick(&cluster);
    let kept: Vec<usize> = (0..5).filter(|node| !lost.contains(node)).collect();
    let watch = Watch::start(&wire, &cluster);

    let (cut_ns, began) = (watch.now_ns(), Instant::now());
    cut(&wire, &lost, &kept);
    // One place after the other, which takes its time where the machine is busy.
    let parted_ns = watch.now_ns();
    let served = cluster.wait("the others serve all slots", || serve_all(&cluster, &kept));
    // What the lost ones do meanwhile is the point.
    thread::sleep(FAULT.saturating_sub(began.elapsed()));
    let mend_ns = watch.now_ns();
    for node in &lost {
        assert_eq!(cluster.info(*node, "cluster_state"), "fail", "node {node} was cut off");
    }
    wire.mend();
    let healed = cluster.wait_ok();
    let whole_ns = watch.now_ns();
    cluster.wait("every key is answered for", || watch.answered_since(whole_ns) == KEYS);

    let seen = watch.finish();
    let silence = last_answer(&seen, &lost, parted_ns, mend_ns);
    hold(&cluster, &seen);
    hold_owners(&cluster, &seen, cut_ns, mend_ns);
    say(&format!(
        "{name}: {}; {}; {}; {} answers",
        within(served, promised, "all slots served again"),
        within(silence, PROMISED_SILENCE, "who was cut off answered last"),
        within(healed, LEASE + Duration::from_secs(3), "whole again"),
        seen.len(),
    ));
}

/// Two of five, a voter among them but not the leader.
fn without_leader(cluster: &Cluster) -> Vec<usize> {
    let (_, voters, rest) = roles(cluster);
    vec![voters[0], rest[0]]
}

/// Two of five, the leader among them.
fn with_leader(cluster: &Cluster) -> Vec<usize> {
    let (leader, _, rest) = roles(cluster);
    vec![leader, rest[0]]
}

/// One that has no part in leading.
fn one_of_the_rest(cluster: &Cluster) -> Vec<usize> {
    let (_, _, rest) = roles(cluster);
    vec![rest[0]]
}

#[test]
fn most_nodes_go_on_without_the_others() {
    lose_nodes("2 of 5 cut off", without_leader, PROMISED, |wire, lost, kept| wire.part(lost, kept));
}

#[test]
fn most_nodes_go_on_without_the_leader() {
    lose_nodes("2 of 5 cut off, the leader too", with_leader, PROMISED_LEADER, |wire, lost, kept| {
        wire.part(lost, kept);
    });
}

#[test]
fn a_node_that_nobody_hears_is_given_up() {
    lose_nodes("a node that hears, unheard", one_of_the_rest, PROMISED, |wire, lost, kept| {
        wire.lose(lost, kept);
    });
}

#[test]
fn a_node_that_hears_nobody_is_given_up() {
    lose_nodes("a node that is heard, deaf", one_of_the_rest, PROMISED, |wire, lost, kept| {
        wire.lose(kept, lost);
    });
}

#[test]
fn a_leader_that_nobody_hears_is_replaced() {
    let leader = |cluster: &Cluster| vec![roles(cluster).0];
    lose_nodes("a leader that hears, unheard", leader, PROMISED_LEADER, |wire, lost, kept| {
        wire.lose(lost, kept);
    });
}

/// Whom the leader cannot hear may ask for its lease by way of another voter: nothing happens at all.
#[test]
fn a_node_cut_off_from_the_leader_alone_serves_on() {
    if !namespaces::are_possible() {
        return;
    }
    let wire = Arc::new(Wire::new(5));
    let cluster = Cluster::start_on(&wire, 0, 5, FLAGS);
    cluster.wait_ok();
    let (leader, _, rest) = roles(&cluster);
    let version = number(&cluster, leader, "cluster_table_version");
    let watch = Watch::start(&wire, &cluster);
    let cut_ns = watch.now_ns();
    wire.part(&[leader], &[rest[0]]);
    let until = Instant::now() + FAULT;
    while Instant::now() < until {
        let since_ns = watch.now_ns();
        cluster.wait("every key is answered for", || watch.answered_since(since_ns) == KEYS);
    }
    assert_eq!(number(&cluster, leader, "cluster_table_version"), version, "{}", cluster.output());
    wire.mend();
    let seen = watch.finish();
    hold(&cluster, &seen);
    say(&format!(
        "a node cut off from the leader alone: no change in {FAULT:?}; no answer for {:?} at most",
        longest_gap(&seen, rest[0], cut_ns)
    ));
}

/// Longest time in which a node answered nothing with data.
fn longest_gap(seen: &[Seen], node: usize, from_ns: u64) -> Duration {
    let own = seen.iter().filter(|one| one.node == node && one.answered_ns != NEVER);
    let mut ends: Vec<u64> = own.map(|one| one.answered_ns).filter(|end| *end >= from_ns).collect();
    ends.sort_unstable();
    Duration::from_nanos(ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(NEVER))
}

/// It reaches the cluster through one voter, which it has to find: at most it is given up once, and nothing flaps.
#[test]
fn a_node_that_reaches_one_voter_alone_does_not_flap() {
    if !namespaces::are_possible() {
        return;
    }
    let wire = Arc::new(Wire::new(5));
    let cluster = Cluster::start_on(&wire, 0, 5, FLAGS);
    cluster.wait_ok();
    let (leader, voters, rest) = roles(&cluster);
    let node = rest[0];
    let others: Vec<usize> = (0..5).filter(|other| *other != node && *other != voters[0]).collect();
    let watch = Watch::start(&wire, &cluster);
    wire.part(&[node], &others);
    thread::sleep(FAULT);
    let given_up = cluster.metric(leader, "larder_cluster_nodes_given_up_total", "");
    assert!(given_up <= 1.0, "given up {given_up} times\n{}", cluster.output());
    wire.mend();
    let healed = cluster.wait_ok();
    hold(&cluster, &watch.finish());
    say(&format!(
        "a node that reaches one voter alone: given up {given_up} times; whole again after {healed:?}"
    ));
}

/// What Redis Cluster gets wrong: what waits at a primary that was stopped, and replaced, is answered when it goes on.
#[test]
fn a_stopped_node_answers_nothing_old_of_what_waits_for_it() {
    if !namespaces::are_possible() {
        return;
    }
    let wire = Arc::new(Wire::new(3));
    let cluster = Cluster::start_on(&wire, 0, 3, FLAGS);
    cluster.wait_ok();
    let (leader, voters, _) = roles(&cluster);
    let watch = Watch::start(&wire, &cluster);
    for victim in [voters[0], leader] {
        let others: Vec<usize> = (0..3).filter(|node| *node != victim).collect();
        let (stop_ns, began) = (watch.now_ns(), Instant::now());
        cluster.signal(victim, "STOP");
        let mut waiting = Vec::new();
        let mut served = None;
        // Before it is replaced, while it is, and after others have written its keys.
        while began.elapsed() < FAULT || served.is_none() {
            if served.is_none() && serve_all(&cluster, &others) {
                served = Some(began.elapsed());
            }
            let address = cluster.address(victim);
            let link =
                wire.at(cluster.place(victim), || Client::connect(address)).expect("the kernel accepts");
            waiting.push(Waiting::send(&watch, link, victim, waiting.len() % KEYS));
            thread::sleep(Duration::from_millis(50));
        }
        let continue_ns = watch.now_ns();
        cluster.signal(victim, "CONT");
        let answered =
            waiting.into_iter().map(|link| link.receive(&watch)).filter(|answered| *answered).count();
        let whole = cluster.wait_ok();
        say(&format!(
            "a {} stopped for {FAULT:?}: {}; {answered} of what waited answered with data; whole again after {whole:?}",
            if victim == leader { "leader" } else { "node" },
            within(
                served.unwrap_or_default(),
                if victim == leader { PROMISED_LEADER } else { PROMISED },
                "all slots served again"
            ),
        ));
        assert!(continue_ns > stop_ns);
    }
    hold(&cluster, &watch.finish());
}

/// A write and a read that were sent to a node that does not run.
struct Waiting {
    link: Client,
    write: Seen,
}

impl Waiting {
    fn send(watch: &Watch, mut link: Client, node: usize, key: usize) -> Waiting {
        let value = Some(watch.value());
        let sent_ns = watch.now_ns();
        let commands = [probe::command(key, None), probe::command(key, value)].concat();
        link.try_send_raw(&commands).expect("the kernel takes it");
        Waiting { link, write: Seen { key, node, wrote: true, value, sent_ns, answered_ns: NEVER } }
    }

    /// Whether anything was answered with data; it goes into the history.
    fn receive(mut self, watch: &Watch) -> bool {
        let mut has_data = false;
        for write in [None, self.write.value] {
            // Closed without an answer, as well it may be.
            let Ok(answer) = self.link.try_receive() else { break };
            if let Some(value) = probe::judge(write, &answer).expect("an answer") {
                let answered_ns = watch.now_ns();
                watch.add(Seen { wrote: write.is_some(), value, answered_ns, ..self.write });
                has_data = true;
            }
        }
        has_data
    }
}

/// Neither half is a majority of those that found a cluster together.
#[test]
fn two_halves_found_nothing_until_they_see_each_other() {
    if !namespaces::are_possible() {
        return;
    }
    let wire = Arc::new(Wire::new(6));
    wire.part(&[0, 1, 2], &[3, 4, 5]);
    let cluster = Cluster::start_on(&wire, 0, 6, FLAGS);
    let heard = |node| cluster.metric(node, "larder_cluster_gossip_messages_total", "received") > 0.0;
    cluster.wait("each half hears itself", || {
        (0..6).all(|node| number(&cluster, node, "cluster_known_nodes") == 1 && heard(node))
    });
    let until = Instant::now() + APART;
    while Instant::now() < until {
        for node in 0..6 {
            assert_eq!(number(&cluster, node, "cluster_slots_assigned"), 0, "{}", cluster.output());
        }
    }
    wire.mend();
    let took = cluster.wait_ok();
    say(&format!("two halves of six: {}", within(took, Duration::from_secs(5), "one cluster")));
}

/// A wire of a bad day is no reason to give anybody up.
#[test]
fn a_slow_and_lossy_wire_makes_nobody_fail() {
    if !namespaces::are_possible() || !support::tool::is_installed("python3", &["--version"]) {
        return;
    }
    let weather = Weather { delay_ms: 50, jitter_ms: 20, loss_percent: 5 };
    let wire = Arc::new(Wire::slow(5, weather));
    let cluster = Cluster::start_on(&wire, 0, 5, FLAGS);
    let formed = cluster.wait_ok();
    let version = number(&cluster, 0, "cluster_table_version");
    let watch = Watch::start(&wire, &cluster);
    let from_ns = watch.now_ns();
    let told = env::var("LARDER_TEST_SLOW_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = told.map_or(SLOW, Duration::from_secs);
    thread::sleep(time);
    assert_eq!(number(&cluster, 0, "cluster_table_version"), version, "{}", cluster.output());
    for node in 0..5 {
        let given_up = cluster.metric(node, "larder_cluster_nodes_given_up_total", "");
        assert!(given_up == 0.0, "node {node} gave up {given_up}\n{}", cluster.output());
    }
    let expired: f64 =
        (0..5).map(|node| cluster.metric(node, "larder_cluster_leases_total", "\"expired\"")).sum();
    let seen = watch.finish();
    hold(&cluster, &seen);
    let gap = (0..5).map(|node| longest_gap(&seen, node, from_ns)).max().unwrap_or_default();
    // Sixteen of 600 did while an answer that came after a quarter of a lease was thrown away: nodes fell silent for
    // more than a second, though nobody was given up.
    assert!(expired <= 1.0, "{expired} leases ran out in {time:?}\n{}", cluster.output());
    say(&format!(
        "50 ms ± 20 ms and 5 % lost: formed after {formed:?}; in {time:?} no table changed, {expired} leases ran \
         out, no answer of a node for {gap:?} at most"
    ));
}

/// Addresses are no identities: a node comes back elsewhere, and another cluster's node takes the place it had.
#[test]
fn addresses_change_hands_and_clusters_stay_what_they_are() {
    if !namespaces::are_possible() {
        return;
    }
    // The same name and secret: nothing but who they are keeps them apart.
    let flags = [FLAGS, &["--dir", "{dir}"]].concat();
    let wire = Arc::new(Wire::new(7));
    let mut ours = Cluster::start_on(&wire, 0, 3, &flags);
    let mut theirs = Cluster::start_on(&wire, 3, 3, &flags);
    ours.wait_ok();
    theirs.wait_ok();
    let id = |cluster: &Cluster| cluster.info(0, "cluster_id");
    let own_id = |cluster: &Cluster| cluster.connect(2).cmd(&["CLUSTER", "MYID"]).text();
    let (our_id, their_id) = (id(&ours), id(&theirs));
    assert_ne!(our_id, their_id);
    let before = (own_id(&ours), own_id(&theirs));
    write(&wire, &ours, "ours");
    write(&wire, &theirs, "theirs");

    ours.kill(2);
    ours.wait("two go on", || serve_all(&ours, &[0, 1]));
    theirs.kill(2);
    theirs.relocate(2, 2);
    theirs.run(2, 3);
    say(&format!("a node back at the address of another cluster's: whole after {:?}", theirs.wait_ok()));
    let refused = || -> f64 {
        let all = (0..2).map(|node| ours.metric(node, "larder_cluster_dropped_total", "other_cluster"));
        let all = all
            .chain((0..3).map(|node| theirs.metric(node, "larder_cluster_dropped_total", "other_cluster")));
        all.sum()
    };
    let noticed = ours.wait("the other cluster is refused", || refused() > 0.0);
    ours.wait("two serve all", || serve_all(&ours, &[0, 1]));
    theirs.wait("three serve all", || serve_all(&theirs, &[0, 1, 2]));

    ours.relocate(2, 6);
    ours.run(2, 3);
    say(&format!(
        "a node back at a new address: whole after {:?}; the other cluster was refused after {noticed:?}",
        ours.wait_ok()
    ));
    assert_eq!((id(&ours), id(&theirs)), (our_id, their_id));
    assert_eq!((own_id(&ours), own_id(&theirs)), before, "nodes keep their names");
    // A slot on its way to the one that came back is served by nobody for a moment.
    ours.wait("all slots of ours are served", || serve_all(&ours, &[0, 1, 2]));
    theirs.wait("all slots of theirs are served", || serve_all(&theirs, &[0, 1, 2]));
    for (cluster, value) in [(&ours, "ours"), (&theirs, "theirs")] {
        let found = read(&wire, cluster);
        assert!(found.iter().all(|one| one == value), "{value}: {found:?}");
        // What was with the node that died is gone, and nothing else.
        assert!(found.len() > KEYS / 4, "{value}: {found:?}");
    }
}

/// Writes keys by a client that is at the first node's place.
fn write(wire: &Wire, cluster: &Cluster, value: &str) {
    wire.at(cluster.place(0), || {
        let mut client = cluster.client();
        for number in 0..KEYS {
            assert_eq!(client.cmd(&["SET", &probe::key(number), value]).text(), "OK");
        }
    });
}

/// The values of those keys that are there.
fn read(wire: &Wire, cluster: &Cluster) -> Vec<String> {
    wire.at(cluster.place(0), || {
        let mut client = cluster.client();
        let all = (0..KEYS).map(|number| client.cmd(&["GET", &probe::key(number)]));
        all.filter(|frame| *frame != support::frame::Frame::Null).map(|frame| frame.text()).collect()
    })
}
