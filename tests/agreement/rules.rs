//! What the agreement promises: one leader in time, one order of changes, nothing agreed on or confirmed by a minority.

use std::time::Duration;

use larder::cluster::id::ClusterId;
use larder::cluster::table::{Change, Refusal, Standing};
use larder::peer::raft::{ConfirmError, ProposeError, Storage};
use tokio::time::Instant;

use crate::net::{Net, TIMEOUT, converge, id, member, run, table, until};

fn stand(number: u8, standing: Standing) -> Change {
    Change::Stand { id: id(number), incarnation: 1, standing }
}

#[test]
fn one_node_agrees_with_itself() {
    run(async {
        let net = Net::founded(1, 1, 1).await;
        let node = net.node(0);
        assert_eq!(table(&node).cluster, ClusterId(7));
        assert_eq!(node.confirm().await, Ok(()));
        assert_eq!(node.propose(Change::Join(member(1))).await, Ok(Ok(2)));
        assert_eq!(table(&node).members.len(), 2, "who proposed sees it");
        assert!(node.is_initialised().await);
    });
}

#[test]
fn voters_have_one_table() {
    for (seed, voters) in [(2, 3), (3, 5)] {
        run(async {
            let net = Net::founded(seed, voters, voters).await;
            let leader = net.leader().await;
            for number in voters..voters + 40 {
                let outcome = leader.propose(Change::Join(member(number))).await;
                assert!(matches!(outcome, Ok(Ok(_))), "{outcome:?}");
            }
            assert_eq!(leader.propose(Change::Join(member(0))).await, Ok(Err(Refusal::NoChange)));
            converge(&net.nodes(), &leader).await;
            let other = net.nodes().into_iter().find(|node| node.id() != leader.id()).expect("another");
            assert_eq!(
                other.propose(Change::Join(member(99))).await,
                Err(ProposeError::NotLeader { leader: Some(leader.id()) })
            );
            assert_eq!(other.confirm().await, Err(ConfirmError::NotLeader { leader: Some(leader.id()) }));
            let leaders = net.nodes().iter().filter(|node| node.status().borrow().is_leader).count();
            assert_eq!(leaders, 1);
        });
    }
}

#[test]
fn founding_twice_changes_nothing() {
    run(async {
        let net = Net::founded(4, 3, 3).await;
        let leader = net.leader().await;
        leader.begin(&[leader.id()]).await.expect("nothing happens");
        let again = Change::Found { cluster: ClusterId(9), members: vec![member(5)] };
        assert_eq!(leader.propose(again).await, Ok(Err(Refusal::Founded)));
        assert_eq!(table(&leader).cluster, ClusterId(7));
        assert_eq!(leader.status().borrow().voters.len(), 3);
    });
}

#[test]
fn a_dead_leader_is_followed_in_time() {
    let mut worst = Duration::ZERO;
    for seed in 0..20 {
        let voters = if seed % 2 == 0 { 3 } else { 5 };
        let took = run(async {
            let net = Net::founded(seed, voters, voters).await;
            let dead = net.leader().await;
            dead.propose(Change::Join(member(50))).await.expect("agreed").expect("fits");
            net.kill(dead.id()).await;
            let killed = Instant::now();
            let next = net.leader().await;
            until(TIMEOUT, "a confirmed leader", || next.status().borrow().is_leader).await;
            next.confirm().await.expect("it leads");
            let took = killed.elapsed();
            assert_eq!(table(&next).members.len(), voters as usize + 1, "nothing agreed on is lost");
            took
        });
        assert!(took < TIMEOUT + Duration::from_secs(1), "seed {seed}: {took:?}");
        worst = worst.max(took);
    }
    println!("20 dead leaders, followed after {worst:?} at most");
}

#[test]
fn changes_come_about_once_under_loss() {
    for seed in 0..6 {
        run(async {
            let net = Net::founded(100 + seed, 5, 5).await;
            net.storm(10, 40);
            for turn in 0..20 {
                let standing = if turn % 2 == 0 { Standing::Draining } else { Standing::Active };
                let outcome = net.propose(&stand(3, standing)).await;
                // A change whose fate was unknown may have come about before it was proposed again.
                assert!(matches!(outcome, Ok(_) | Err(Refusal::NoChange)), "{outcome:?}");
            }
            net.heal();
            let leader = net.leader().await;
            leader.confirm().await.expect("it leads");
            assert_eq!(table(&leader).version, 21, "each change made one version");
            converge(&net.nodes(), &leader).await;
        });
    }
}

#[test]
fn a_minority_agrees_on_nothing_and_confirms_nothing() {
    for seed in 0..6 {
        run(async {
            let net = Net::founded(200 + seed, 5, 5).await;
            let old = net.leader().await;
            let lonely: Vec<_> =
                net.nodes().iter().map(|node| node.id()).filter(|id| *id != old.id()).take(1).collect();
            let minority = [old.id(), lonely[0]];
            net.part(&minority);
            // Proposed while it still has reason to think that it leads, and again when it has none.
            assert_eq!(old.propose(Change::Join(member(60))).await, Err(ProposeError::Timeout));
            assert_eq!(old.confirm().await, Err(ConfirmError::NoQuorum));
            let late = old.propose(Change::Join(member(60))).await;
            assert_eq!(late, Err(ProposeError::NotLeader { leader: None }));
            let majority: Vec<_> =
                net.nodes().iter().map(|node| node.id()).filter(|id| !minority.contains(id)).collect();
            let next = net.leader_among(&majority).await;
            assert_eq!(next.propose(Change::Join(member(61))).await, Ok(Ok(2)));
            assert!(old.confirm().await.is_err());
            until(TIMEOUT, "the old leader knows", || !old.status().borrow().is_leader).await;
            assert_eq!(table(&old).version, 1);
            net.heal();
            converge(&net.nodes(), &next).await;
            let joined = table(&old);
            assert!(joined.member(id(61)).is_some() && joined.member(id(60)).is_none());
        });
    }
}

#[test]
fn a_voter_that_was_away_disturbs_nobody() {
    run(async {
        let net = Net::founded(5, 3, 3).await;
        let leader = net.leader().await;
        let away = net.nodes().into_iter().find(|node| node.id() != leader.id()).expect("a follower");
        let term = leader.status().borrow().term;
        net.part(&[away.id()]);
        tokio::time::sleep(10 * TIMEOUT).await;
        assert_eq!(away.status().borrow().leader, None, "who hears no leader names none");
        net.heal();
        until(TIMEOUT, "it hears the leader", || away.status().borrow().leader == Some(leader.id())).await;
        assert_eq!(leader.status().borrow().term, term, "the same leader in the same term");
        leader.confirm().await.expect("it leads");
    });
}

#[test]
fn who_lags_far_behind_is_given_the_table() {
    run(async {
        let net = Net::founded(6, 3, 3).await;
        let leader = net.leader().await;
        let away = net.nodes().into_iter().find(|node| node.id() != leader.id()).expect("a follower");
        net.part(&[away.id()]);
        for number in 0..200u32 {
            let standing = if number % 2 == 0 { Standing::Draining } else { Standing::Active };
            leader.propose(stand(0, standing)).await.expect("agreed").expect("fits");
        }
        net.heal();
        converge(&net.nodes(), &leader).await;
        assert_eq!(table(&away).version, 201);
    });
}

#[test]
fn a_voter_that_starts_again_remembers() {
    run(async {
        let net = Net::new(7);
        let storages: Vec<Storage> = (0..3).map(|number| Storage::memory(id(number))).collect();
        for storage in &storages {
            net.open(storage.clone()).await;
        }
        let ids = [id(0), id(1), id(2)];
        net.found(&ids, ids.iter().map(|id| member(id.0[0])).collect()).await;
        for number in 10..30 {
            net.propose(&Change::Join(member(number))).await.expect("fits");
        }
        for id in ids {
            net.kill(id).await;
        }
        for storage in &storages {
            net.open(storage.clone()).await;
        }
        let leader = net.leader().await;
        leader.confirm().await.expect("it leads");
        assert_eq!((table(&leader).cluster, table(&leader).members.len()), (ClusterId(7), 23));
        converge(&net.nodes(), &leader).await;
    });
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    run(async {
        let net = Net::founded(8, 3, 3).await;
        let node = net.node(0);
        for body in [&b""[..], b"\0", &[0xff; 300], &[0; 64]] {
            assert!(!node.handle(body).await.is_empty());
        }
        net.leader().await.confirm().await.expect("nothing came of them");
    });
}
