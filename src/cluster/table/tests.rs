//! Tests of the slot table, and the tables that other tests are made of.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest as property;

use super::{Change, ClientAddress, ClusterId, Member, NodeId, Refusal, Side, Standing, Table};
use crate::base::slot::SLOT_COUNT;

/// Member number `number`, first process.
pub(crate) fn member(number: u8) -> Member {
    let client =
        ClientAddress { host: "127.0.0.1".to_owned(), port: 7000 + u16::from(number), ..Default::default() };
    Member {
        id: NodeId([number; 20]),
        incarnation: 1,
        client,
        peer: ([127, 0, 0, 1], 17000 + u16::from(number)).into(),
        zone: String::new(),
        weight: 1,
        standing: Standing::Active,
    }
}

/// A table of the first `count` members: the first has founded it, the others have joined one after another.
pub(crate) fn table_of(count: u8) -> Table {
    let mut table = Table::default();
    let found = Change::Found { cluster: ClusterId(7), members: vec![member(0)] };
    table.apply(&found).expect("the first change");
    for number in 1..count {
        table.apply(&Change::Join(member(number))).expect("a new member");
    }
    settle(&mut table);
    table
}

/// Carries out all moves that the placement rule wants.
pub(crate) fn settle(table: &mut Table) {
    while let Some(&(start, end, from, to)) = crate::cluster::plan::moves(table).first() {
        let begin = Change::Begin { start, end, from, to };
        let id = table.apply(&begin).expect("a planned move");
        table.apply(&Change::Commit { id }).expect("a move that was begun");
    }
}

#[test]
fn clients_are_told_what_is_of_use_on_their_side() {
    let mut client = ClientAddress {
        host: "10.0.0.1".to_owned(),
        port: 6379,
        hostname: "one".to_owned(),
        ..ClientAddress::default()
    };
    assert_eq!(client.seen_from(Side::Inside), ("10.0.0.1", 6379));
    assert_eq!(client.seen_from(Side::Outside), ("10.0.0.1", 6379), "no other address is announced");
    assert_eq!(client.hostname_from(Side::Outside), Some("one"));
    (client.outside_host, client.outside_port) = ("203.0.113.5".to_owned(), 7001);
    assert_eq!(client.seen_from(Side::Inside), ("10.0.0.1", 6379));
    assert_eq!(client.seen_from(Side::Outside), ("203.0.113.5", 7001));
    assert_eq!(client.hostname_from(Side::Inside), Some("one"));
    assert_eq!(client.hostname_from(Side::Outside), None, "a name of the inside");
}

#[test]
fn the_first_member_owns_everything_and_others_their_share() {
    let table = table_of(3);
    table.validate().expect("a sound table");
    let counts = table.slot_counts();
    assert_eq!(counts.iter().sum::<u32>() as usize, SLOT_COUNT);
    assert!(counts.iter().all(|count| (5461..=5462).contains(count)), "{counts:?}");
    assert_eq!(table.wanted(), table.owners());
}

#[test]
fn founders_share_the_slots_without_a_move() {
    let mut table = Table::default();
    let members = vec![member(2), member(0), member(1)];
    table.apply(&Change::Found { cluster: ClusterId(1), members }).expect("the first change");
    table.validate().expect("a sound table");
    assert!(table.slot_counts().iter().all(|count| (5461..=5462).contains(count)));
    assert_eq!(table.runs.len(), 3, "one range each");
    assert_eq!(table.apply(&Change::Found { cluster: ClusterId(2), members: vec![] }), Err(Refusal::Founded));
}

#[test]
fn who_leaves_loses_everything_to_the_others() {
    let mut table = table_of(3);
    let before = table.owners();
    table.apply(&Change::Leave { id: member(1).id, incarnation: 1 }).expect("a member");
    table.validate().expect("a sound table");
    assert_eq!(table.members.len(), 2);
    for (slot, owner) in before.iter().enumerate() {
        let now = table.owner(slot as u16).expect("an owner").id;
        assert!(*owner == 1 || now == member(*owner as u8).id, "slot {slot} moved although its owner lives");
    }
    let late = table.apply(&Change::Leave { id: member(1).id, incarnation: 1 });
    assert_eq!(late, Err(Refusal::Stale));
}

#[test]
fn a_new_process_has_none_of_the_old_ones_keys() {
    let mut table = table_of(2);
    let slot = table.ranges_of(member(1).id)[0].0;
    assert_ne!(table.run_of(slot).expect("a run").by_move, 0, "it came by a move");
    let mut again = member(1);
    again.incarnation = 2;
    let version = table.apply(&Change::Join(again.clone())).expect("a newer process");
    let run = *table.run_of(slot).expect("a run");
    assert_eq!((run.epoch, run.by_move), (version, 0));
    assert_eq!(table.apply(&Change::Join(again)), Err(Refusal::NoChange));
    assert_eq!(table.apply(&Change::Join(member(1))), Err(Refusal::Stale));
}

/// A node's word of its new address was on its way while it was told to drain; when it came it undid the order, and the
/// node waited for ever to be rid of its slots.
#[test]
fn what_a_process_says_late_does_not_undo_that_it_drains() {
    let mut table = table_of(2);
    let (id, drains) = (member(1).id, Standing::Draining);
    table.apply(&Change::Stand { id, incarnation: 1, standing: drains }).expect("a member");
    assert_eq!(table.apply(&Change::Join(member(1))), Err(Refusal::NoChange));
    let moved = Member { zone: "b".to_owned(), ..member(1) };
    table.apply(&Change::Join(moved)).expect("another zone");
    let known = table.member(id).expect("a member");
    assert_eq!((known.zone.as_str(), known.standing), ("b", drains));
    let again = Member { incarnation: 2, ..member(1) };
    table.apply(&Change::Join(again)).expect("a newer process");
    assert_eq!(table.member(id).expect("a member").standing, Standing::Active);
}

#[test]
fn a_move_is_committed_once_and_only_while_both_processes_live() {
    let mut table = table_of(2);
    let (from, to) = (member(0).id, member(1).id);
    let (start, _) = table.ranges_of(from)[0];
    let begin = Change::Begin { start, end: start + 3, from, to };
    let id = table.apply(&begin).expect("a move");
    assert_eq!(table.apply(&begin), Err(Refusal::NotMovable), "the slots are moving");
    let version = table.apply(&Change::Commit { id }).expect("a move under way");
    assert_eq!(table.apply(&Change::Commit { id }), Err(Refusal::NoSuchMove));
    let run = table.run_of(start).expect("a run");
    assert_eq!((table.owner(start).expect("an owner").id, run.epoch, run.by_move), (to, version, id));

    let begin = Change::Begin { start: start + 4, end: start + 4, from, to };
    let id = table.apply(&begin).expect("a move");
    let mut again = member(1);
    again.incarnation = 2;
    table.apply(&Change::Join(again)).expect("a newer process");
    assert_eq!(table.apply(&Change::Commit { id }), Err(Refusal::NoSuchMove));
}

#[test]
fn who_drains_is_planned_empty() {
    let mut table = table_of(3);
    let drain = Change::Stand { id: member(2).id, incarnation: 1, standing: Standing::Draining };
    table.apply(&drain).expect("a member");
    settle(&mut table);
    assert_eq!(table.slot_counts()[2], 0);
    table.validate().expect("a sound table");
}

#[test]
fn a_reform_outranks_every_version() {
    let mut table = table_of(2);
    let survivors = table_of(1);
    let version = table.version;
    let reform = Change::Reform { generation: 1, table: Box::new(survivors) };
    assert_eq!(table.apply(&reform), Ok(version + 1));
    assert_eq!((table.stamp(), table.members.len()), ((1, version + 1), 1));
    assert_eq!(table.apply(&reform), Err(Refusal::Stale));
}

fn any_change() -> impl Strategy<Value = Change> {
    let id = (0..6u8).prop_map(|number| member(number).id);
    let ids = (id, 0..6u8);
    let slots = (0..SLOT_COUNT as u16, 0..64u16);
    prop_oneof![
        (0..6u8, 1..4u64, 0..4u64).prop_map(|(number, incarnation, weight)| {
            Change::Join(Member { incarnation, weight, ..member(number) })
        }),
        (0..6u8, 1..4u64)
            .prop_map(|(number, incarnation)| Change::Leave { id: member(number).id, incarnation }),
        (0..6u8, 1..4u64, any::<bool>()).prop_map(|(number, incarnation, drains)| Change::Stand {
            id: member(number).id,
            incarnation,
            standing: if drains { Standing::Draining } else { Standing::Active },
        }),
        (slots, ids).prop_map(|((start, length), (from, to))| Change::Begin {
            start,
            end: start.saturating_add(length),
            from,
            to: member(to).id,
        }),
        (1..80u64).prop_map(|id| Change::Commit { id }),
        (1..80u64).prop_map(|id| Change::Cancel { id }),
        Just(Change::Found { cluster: ClusterId(9), members: (0..3).map(member).collect() }),
    ]
}

property! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn any_changes_leave_a_sound_table(changes in proptest::collection::vec(any_change(), 1..60)) {
        let mut table = Table::default();
        assert_eq!(table.apply(&Change::Join(member(0))), Err(Refusal::Stale), "there is no cluster yet");
        table.apply(&Change::Found { cluster: ClusterId(9), members: vec![member(0)] }).expect("the first change");
        for change in &changes {
            let before = table.clone();
            match table.apply(change) {
                Ok(version) => assert_eq!(version, before.version + 1),
                Err(_) => assert_eq!(table, before, "a refused change changes nothing"),
            }
            table.validate().unwrap_or_else(|error| panic!("{error} after {change:?}"));
            if table.members.iter().any(|member| member.weight > 0) && !table.runs.is_empty() {
                let nobodys = table.owners().iter().filter(|owner| **owner == super::NO_OWNER).count();
                assert_eq!(nobodys, 0, "a slot is nobody's although somebody takes slots, after {change:?}");
            }
        }
        let decoded: Table = postcard::from_bytes(&postcard::to_allocvec(&table).expect("encodes")).expect("decodes");
        assert_eq!((decoded.digest(), &decoded), (table.digest(), &table));
    }
}
