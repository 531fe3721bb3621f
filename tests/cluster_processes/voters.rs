//! Voters without disks die: what they voted, and whom for, is gone with them. One after the other they are replaced; most
//! of them at once are more than the others can make up for, and an operator says so.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::frame::Frame;

/// Time for which nothing may happen that must not.
const WATCHED: Duration = Duration::from_secs(4);

fn my_id(cluster: &Cluster, number: usize) -> String {
    cluster.connect(number).cmd(&["CLUSTER", "MYID"]).text()
}

fn ids(cluster: &Cluster) -> BTreeSet<String> {
    cluster.running().into_iter().map(|number| my_id(cluster, number)).collect()
}

/// The keys of so many that a node serves.
fn served_by(cluster: &Cluster, number: usize, count: usize) -> Vec<String> {
    let mut client = cluster.connect(number);
    let keys = (0..count).map(|key| format!("key:{key}"));
    keys.filter(|key| !client.cmd(&["EXISTS", key]).is_error()).collect()
}

/// The number of the node with this id.
fn number_of(cluster: &Cluster, id: &str) -> usize {
    let running = cluster.running();
    running.into_iter().find(|number| my_id(cluster, *number) == id).expect("it runs")
}

/// Three found a cluster, or one founds it and two come; two die, and are there again with nothing. The one that is left
/// says that it does not serve, those that came back hear of the cluster and found none of their own, and with the
/// operator's word all goes on from what the survivor has.
#[test]
fn most_voters_die_at_once_and_an_operator_decides() {
    let together = Cluster::start(3, &[]);
    let mut one_first = Cluster::prepare(&[]);
    // The founder remembers, which helps it as little: it is one vote of three.
    one_first.join_with(&["--dir", "{dir}"]);
    one_first.join();
    one_first.join();
    for mut cluster in [together, one_first] {
        cluster.wait_ok();
        let mut client = cluster.client();
        for number in 0..300 {
            client.cmd(&["SET", &format!("key:{number}"), "before"]);
        }
        let (survivor, before, cluster_id) = (0, ids(&cluster), cluster.info(0, "cluster_id"));
        let own = my_id(&cluster, survivor);
        let kept = served_by(&cluster, survivor, 300);
        assert!(!kept.is_empty());
        cluster.kill(1);
        cluster.kill(2);
        cluster.wait("the survivor serves nothing", || cluster.info(survivor, "cluster_state") == "fail");
        cluster.run(1, 3);
        cluster.run(2, 3);
        cluster.wait("those who came back have heard of the cluster", || {
            (1..3).all(|number| cluster.info(number, "cluster_id") == cluster_id)
        });
        let until = Instant::now() + WATCHED;
        while Instant::now() < until {
            for number in 0..3 {
                assert_eq!(cluster.info(number, "cluster_state"), "fail", "{}", cluster.output());
                assert_eq!(cluster.info(number, "cluster_id"), cluster_id, "{}", cluster.output());
            }
            let refused = cluster.connect(survivor).cmd(&["GET", &kept[0]]);
            assert!(matches!(&refused, Frame::Error(text) if text.starts_with("CLUSTERDOWN")), "{refused:?}");
        }
        let began = Instant::now();
        cluster.connect(survivor).check("CLUSTER REFORM", "OK");
        cluster.wait_ok();
        println!("three nodes are the cluster again {:?} after REFORM", began.elapsed());
        for number in 0..3 {
            assert_eq!(cluster.info(number, "cluster_id"), cluster_id);
            assert_eq!(cluster.info(number, "cluster_generation"), "1");
        }
        assert_eq!(my_id(&cluster, survivor), own);
        assert_eq!(ids(&cluster).intersection(&before).count(), 1, "the others are new nodes");
        let mut client = cluster.client();
        for key in &kept {
            assert_eq!(client.cmd(&["GET", key]).text(), "before", "{key} was with the survivor");
        }
        for number in 0..300 {
            let key = format!("key:{number}");
            let is_kept = kept.contains(&key);
            assert_eq!(client.cmd(&["EXISTS", &key]).integer(), i64::from(is_kept), "{key}");
            assert_eq!(client.cmd(&["SET", &key, "after"]), Frame::Simple("OK".to_owned()));
        }
        // What was decided holds: any one voter may die again.
        cluster.kill(survivor);
        cluster.wait_ok();
    }
}

/// A founder with a disk dies together with one voter of two without: it comes back with its vote, which makes a majority
/// with the survivor's, and nobody has to say anything.
#[test]
fn a_voter_with_a_disk_makes_a_majority_again() {
    let mut cluster = Cluster::prepare(&[]);
    cluster.join_with(&["--dir", "{dir}"]);
    cluster.join();
    cluster.join();
    cluster.wait_ok();
    let (founder, cluster_id) = (my_id(&cluster, 0), cluster.info(1, "cluster_id"));
    let kept = served_by(&cluster, 1, 300);
    let mut client = cluster.client();
    for key in &kept {
        client.cmd(&["SET", key, "before"]);
    }
    cluster.kill(0);
    cluster.kill(2);
    cluster.wait("the survivor serves nothing", || cluster.info(1, "cluster_state") == "fail");
    cluster.run_with(0, 3, &["--dir", "{dir}"]);
    cluster.run(2, 3);
    println!("three nodes are the cluster again after {:?}", cluster.wait_ok());
    assert_eq!(my_id(&cluster, 0), founder);
    assert_eq!(cluster.info(0, "cluster_id"), cluster_id);
    assert_eq!(cluster.info(0, "cluster_generation"), "0");
    let mut client = cluster.client();
    for key in &kept {
        assert_eq!(client.cmd(&["GET", key]).text(), "before", "{key} was with the survivor");
    }
}

/// One dies after the other, the founder among them, and comes back with nothing each time: in the end nobody is left who
/// founded the cluster, and it is the same. Then one dies after the other and none comes back, down to the last.
#[test]
fn voters_that_die_one_after_the_other_are_replaced() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let (founders, cluster_id) = (ids(&cluster), cluster.info(0, "cluster_id"));
    for victim in 0..3 {
        cluster.kill(victim);
        println!("two go on after {:?}", cluster.wait_ok());
        cluster.run(victim, 3);
        cluster.wait_ok();
        assert_eq!(cluster.info(victim, "cluster_id"), cluster_id);
        let mut client = cluster.client();
        assert_eq!(client.cmd(&["SET", "key", &victim.to_string()]).text(), "OK");
    }
    assert!(ids(&cluster).is_disjoint(&founders));
    cluster.join();
    cluster.join();
    cluster.wait_ok();
    for left in [4, 3, 2] {
        // A voter, every time.
        let voters = cluster.info(cluster.running()[0], "cluster_voters");
        let victim = number_of(&cluster, voters.split(',').next().expect("a voter"));
        cluster.kill(victim);
        println!("{left} go on after {:?}", cluster.wait_ok());
    }
    let voter = number_of(&cluster, &cluster.info(cluster.running()[0], "cluster_voters"));
    let other = cluster.running().into_iter().find(|number| *number != voter).expect("one of two");
    cluster.kill(other);
    println!("the last goes on after {:?}", cluster.wait_ok());
    assert_eq!(cluster.info(voter, "cluster_id"), cluster_id);
    assert_eq!(cluster.info(voter, "cluster_generation"), "0");
    assert_eq!(cluster.client().cmd(&["SET", "key", "last"]).text(), "OK");
}
