//! The state file: what it keeps over a restart, and what a node does with one that it cannot use or write.

use std::fs;
use std::path::Path;

use larder::base::rng::Rng;
use larder::cluster::id::{ClusterId, NodeId};
use larder::cluster::table::Change;
use larder::peer::raft::{ProposeError, STATE_FILE, Storage, check_state_body, check_state_file, identity};

use crate::net::{Net, TIMEOUT, converge, member, run, table, until};

fn open(dir: &Path, seed: u64) -> Result<Storage, String> {
    identity::open(Some(dir), &mut Rng::seeded(seed))
}

async fn founded(net: &Net, storages: &[Storage]) -> Vec<NodeId> {
    for storage in storages {
        net.open(storage.clone()).await;
    }
    let ids: Vec<NodeId> = storages.iter().map(|storage| storage.identity().0).collect();
    net.found(&ids, vec![member(1)]).await;
    ids
}

#[test]
fn a_node_keeps_its_id_and_counts_its_processes() {
    let dir = tempfile::tempdir().expect("a directory");
    let inner = dir.path().join("made/for/it");
    let (node, incarnation) = open(&inner, 1).expect("a new one").identity();
    assert_eq!(incarnation, 1);
    assert_eq!(open(&inner, 2).expect("the same").identity(), (node, 2));
    assert_eq!(open(&inner, 3).expect("the same").identity(), (node, 3));
    fs::remove_file(inner.join(STATE_FILE)).expect("removed");
    let (other, incarnation) = open(&inner, 4).expect("a new one").identity();
    assert!(other != node && incarnation == 1, "who forgot its votes is another");
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = open(dir.path(), 1).expect("free");
    let error = open(dir.path(), 2).map(|_| ()).expect_err("in use");
    assert!(error.contains("another larder uses this directory"), "{error}");
    drop(first);
    open(dir.path(), 3).expect("free again");
}

#[test]
fn voters_start_again_from_their_files() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a directory")).collect();
    let storages = |seed| -> Vec<Storage> {
        dirs.iter().zip(seed..).map(|(dir, seed)| open(dir.path(), seed).expect("a file")).collect()
    };
    let (ids, term) = run(async {
        let net = Net::new(1);
        let ids = founded(&net, &storages(1)).await;
        for number in 10..110 {
            net.propose(&Change::Join(member(number))).await.expect("fits");
        }
        let term = net.leader().await.status().borrow().term;
        for id in &ids {
            net.kill(*id).await;
        }
        (ids, term)
    });
    for dir in &dirs {
        let bytes = fs::read(dir.path().join(STATE_FILE)).expect("a file");
        assert!(bytes.len() < 64 * 1024, "{} bytes: the log is kept short", bytes.len());
        check_state_file(&bytes).expect("a sound file");
    }
    run(async {
        let net = Net::new(2);
        for storage in storages(10) {
            let (id, incarnation) = storage.identity();
            assert!(ids.contains(&id) && incarnation == 2);
            net.open(storage).await;
        }
        let leader = net.leader().await;
        assert!(leader.status().borrow().term > term, "the votes of earlier terms are kept");
        leader.confirm().await.expect("it leads");
        assert_eq!((table(&leader).cluster, table(&leader).members.len()), (ClusterId(7), 101));
        converge(&net.nodes(), &leader).await;
    });
}

#[test]
fn a_file_that_is_damaged_or_not_ours_stops_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(STATE_FILE);
    drop(open(dir.path(), 1).expect("a new one"));
    let sound = fs::read(&path).expect("a file");
    let mut flipped = sound.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut later = sound.clone();
    later[8] = 9;
    for (bytes, expected) in [
        (&sound[..sound.len() - 1], "damaged"),
        (&sound[..5], "no state file"),
        (&[][..], "no state file"),
        (&flipped[..], "damaged"),
        (&later[..], "format is 9"),
        (&[b'x'; 400][..], "no state file"),
    ] {
        fs::write(&path, bytes).expect("written");
        let error = open(dir.path(), 2).map(|_| ()).expect_err("not usable");
        assert!(error.contains(expected) && error.contains(STATE_FILE), "{error}");
    }
    fs::write(&path, &sound).expect("written");
    open(dir.path(), 3).expect("sound again");
}

#[test]
fn a_directory_that_cannot_be_written_stops_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    // A directory in the way of the new file stands for a full or read-only disk: root may write anywhere else.
    fs::create_dir(dir.path().join("cluster.state.new")).expect("made");
    let error = open(dir.path(), 1).map(|_| ()).expect_err("cannot be written");
    assert!(error.contains(STATE_FILE), "{error}");
    let file = dir.path().join("file");
    fs::write(&file, b"").expect("written");
    let error = open(&file, 1).map(|_| ()).expect_err("no directory");
    assert!(error.contains("data directory"), "{error}");
}

#[test]
fn a_voter_whose_disk_fails_steps_down() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a directory")).collect();
    run(async {
        let net = Net::new(3);
        let storages: Vec<Storage> =
            dirs.iter().zip(1..).map(|(dir, seed)| open(dir.path(), seed).expect("a file")).collect();
        let ids = founded(&net, &storages).await;
        let failing = net.leader().await;
        let at = ids.iter().position(|id| *id == failing.id()).expect("one of them");
        fs::create_dir(dirs[at].path().join("cluster.state.new")).expect("made");
        let outcome = failing.propose(Change::Join(member(20))).await;
        assert!(matches!(outcome, Err(ProposeError::Lost | ProposeError::Timeout)), "{outcome:?}");
        until(TIMEOUT, "it stops", || failing.status().borrow().failure.is_some()).await;
        let status = failing.status().borrow().clone();
        assert!(!status.is_leader && !status.is_voter, "{status:?}");
        assert!(status.failure.expect("a reason").contains(STATE_FILE));
        let others: Vec<NodeId> = ids.iter().copied().filter(|id| *id != failing.id()).collect();
        let next = net.leader_among(&others).await;
        next.confirm().await.expect("it leads");
        next.propose(Change::Join(member(21))).await.expect("agreed").expect("fits");
    });
}

#[test]
fn a_reform_survives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let reformed = run(async {
        let net = Net::founded(4, 3, 3).await;
        let newest = (*table(&net.leader().await)).clone();
        let survivor = net.open(open(dir.path(), 1).expect("a file")).await;
        assert_eq!(survivor.reform(newest).await, Ok(1));
        net.kill(survivor.id()).await;
        table(&survivor).digest()
    });
    run(async {
        let again = Net::new(5).open(open(dir.path(), 2).expect("a file")).await;
        again.status().wait_for(|status| status.is_leader).await.expect("it leads alone");
        again.confirm().await.expect("it leads");
        assert_eq!(table(&again).digest(), reformed);
        assert_eq!(again.status().borrow().generation, 1);
        again.propose(Change::Join(member(9))).await.expect("agreed").expect("fits");
    });
}

#[test]
fn a_log_that_ends_where_numbers_end_is_refused() {
    // Node, incarnation, generation, no vote, nothing committed; purged up to term 1 of node 2.., index 2^64 - 1.
    let mut body = [[1; 20].as_slice(), &[1, 0, 0, 0, 1, 1], &[2; 20], &[0xff; 9], &[1, 0, 0]].concat();
    let error = check_state_body(&body).expect_err("nothing can follow it");
    assert!(error.contains("no end"), "{error}");
    body.splice(46..56, [5]);
    assert!(check_state_body(&body).expect_err("no table").contains("does not reach back"));
}
