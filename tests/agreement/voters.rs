//! Voters replaced, leadership handed over, and the operator's last resort.

use larder::cluster::id::NodeId;
use larder::cluster::table::{Change, Table};
use larder::peer::raft::{Adjusted, Storage};

use crate::net::{Net, TIMEOUT, converge, id, member, run, table, until};

fn ids(numbers: &[u8]) -> Vec<NodeId> {
    numbers.iter().map(|number| id(*number)).collect()
}

/// Adjusts until the voters are as wanted, whoever leads meanwhile.
async fn adjust(net: &Net, wanted: &[u8]) {
    let wanted = ids(wanted);
    let adjust = async {
        loop {
            let leader = net.leader().await;
            if leader.adjust_voters(&wanted).await == Ok(Adjusted::Unchanged) {
                return leader;
            }
            tokio::time::sleep(TIMEOUT / 8).await;
        }
    };
    let leader = tokio::time::timeout(20 * TIMEOUT, adjust).await.expect("adjusted in time");
    let status = leader.status().borrow().clone();
    assert_eq!((status.voters, status.learners), (wanted.clone(), vec![]));
    leader.confirm().await.expect("it leads");
    let voters: Vec<_> = net.nodes().into_iter().filter(|node| wanted.contains(&node.id())).collect();
    converge(&voters, &leader).await;
}

#[test]
fn voters_grow_from_one_to_three_to_five() {
    run(async {
        let net = Net::founded(1, 7, 1).await;
        adjust(&net, &[0, 1, 2]).await;
        adjust(&net, &[0, 1, 2, 3, 4]).await;
        net.kill(id(0)).await;
        net.leader().await.propose(Change::Join(member(40))).await.expect("agreed").expect("fits");
        adjust(&net, &[2, 3, 4]).await;
        adjust(&net, &[5]).await;
        assert!(net.node(5).status().borrow().is_leader);
    });
}

#[test]
fn a_dead_voter_is_replaced() {
    for seed in 0..6 {
        run(async {
            let net = Net::founded(10 + seed, 5, 3).await;
            let dead = net.leader().await.id();
            net.kill(dead).await;
            let wanted: Vec<u8> = [0, 1, 2, 3].into_iter().filter(|number| id(*number) != dead).collect();
            adjust(&net, &wanted).await;
            // The new three bear one more failure.
            net.kill(net.leader().await.id()).await;
            net.leader().await.confirm().await.expect("it leads");
        });
    }
}

#[test]
fn a_leader_that_is_to_go_gives_way() {
    for seed in 0..6 {
        run(async {
            let net = Net::founded(20 + seed, 4, 3).await;
            let leader = net.leader().await;
            let wanted: Vec<u8> =
                [0, 1, 2, 3].into_iter().filter(|number| id(*number) != leader.id()).collect();
            adjust(&net, &wanted).await;
            let status = leader.status().borrow().clone();
            assert!(!status.is_leader, "{status:?}");
        });
    }
}

#[test]
fn who_was_let_go_asks_for_no_votes() {
    run(async {
        let net = Net::founded(30, 4, 3).await;
        adjust(&net, &[0, 1, 3]).await;
        let term = net.leader().await.status().borrow().term;
        tokio::time::sleep(10 * TIMEOUT).await;
        assert_eq!(net.leader().await.status().borrow().term, term);
        let gone = net.node(2).status().borrow().clone();
        assert!(!gone.is_voter && gone.leader.is_none(), "{gone:?}");
        adjust(&net, &[0, 1, 2]).await;
    });
}

#[test]
fn a_newcomer_that_cannot_be_reached_changes_no_voters() {
    run(async {
        let net = Net::founded(40, 4, 3).await;
        net.part(&[id(3)]);
        let leader = net.leader().await;
        let error = leader.adjust_voters(&ids(&[0, 1, 3])).await.expect_err("it cannot be reached");
        assert!(error.contains("does not keep up"), "{error}");
        assert_eq!(leader.status().borrow().voters, ids(&[0, 1, 2]));
        net.heal();
        adjust(&net, &[0, 1, 3]).await;
    });
}

#[test]
fn a_leader_resigns_to_one_that_keeps_up() {
    run(async {
        let net = Net::founded(50, 3, 3).await;
        let old = net.leader().await;
        old.resign().await.expect("there are others");
        let next = net.leader().await;
        assert_ne!(next.id(), old.id());
        next.confirm().await.expect("it leads");
        let alone = Net::founded(51, 1, 1).await;
        assert!(alone.node(0).resign().await.is_err(), "nobody to give it to");
    });
}

#[test]
fn a_reform_goes_on_with_the_survivors() {
    run(async {
        let net = Net::founded(60, 4, 3).await;
        let leader = net.leader().await;
        leader.propose(Change::Join(member(40))).await.expect("agreed").expect("fits");
        let newest: Table = (*table(&leader)).clone();
        let survivor = net.node(3);
        let refused = leader.reform(newest.clone()).await.expect_err("there is a leader");
        assert!(refused.contains("have a leader"), "{refused}");

        // Two of three voters are lost with their state.
        net.kill(id(0)).await;
        net.kill(id(1)).await;
        let stale = net.node(2);
        until(2 * TIMEOUT, "no leader", || stale.status().borrow().leader.is_none()).await;
        assert!(survivor.reform(Table::default()).await.is_err(), "of no cluster");
        assert_eq!(survivor.reform(newest.clone()).await, Ok(1));
        let table_now = table(&survivor);
        assert_eq!((table_now.generation, table_now.cluster), (1, newest.cluster));
        assert!(table_now.version > newest.version);
        survivor.confirm().await.expect("it leads");

        // The last of the old voters takes part in the new generation; so does one that lost its state.
        net.open(Storage::memory(id(9))).await;
        adjust(&net, &[2, 3, 9]).await;
        assert_eq!(stale.status().borrow().generation, 1);
        assert_eq!(table(&stale).digest(), table(&survivor).digest());
    });
}
