//! Leases, the leader's side: when each process was last granted one, and whose has certainly run out.
//!
//! A process serves while its lease holds, counted from when it *sent* the request (rule R1 of the cluster's design);
//! the leader gives a process up only when a lease granted at its last answer has run out on any clock whose rate is off
//! by less than a tenth (R4). A new leader knows of no grants of its predecessors and therefore waits the whole time for
//! everybody, from the moment at which it began to lead. All times are nanoseconds of the leader's own steady clock.
//!
//! Who asks says which table it goes by. That need not be the newest, only one since which it has lost no slot (R3): then
//! all that it serves is its own. (It had to be the very newest at first. With thirty processes on two cores tables came
//! faster than answers: nobody was granted a lease, who had none was given up, and that made more tables; four of
//! fifteen such clusters did not come to rest within a minute, and none of ten since.) What is not known of a member's
//! past counts as a loss.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::id::NodeId;
use super::table::{Member, Run, Table};

/// What a lease is lengthened by before its holder is given up: a tenth for clocks that run at different rates, and
/// this, in ns.
const MARGIN_NS: u64 = 50_000_000;

/// The grants of one leadership.
#[derive(Debug)]
pub struct Grants {
    lease_ns: u64,
    /// The newest table that was followed.
    table: Arc<Table>,
    granted: BTreeMap<NodeId, Grant>,
    /// Processes that are being given up: none of them is granted a lease again, for its slots may be gone any moment.
    condemned: BTreeSet<(NodeId, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    incarnation: u64,
    at_ns: u64,
    /// Since this table it has lost no slot.
    kept_since: (u32, u64),
}

impl Grants {
    /// The grants of a leadership that begins at `now_ns`: everybody in the table may hold a lease from before.
    pub fn begin(table: &Arc<Table>, lease_ns: u64, now_ns: u64) -> Self {
        let table = Arc::clone(table);
        let mut grants = Self { lease_ns, table, granted: BTreeMap::new(), condemned: BTreeSet::new() };
        grants.take_in(now_ns);
        grants
    }

    /// Goes on at `now_ns` with a leadership that was interrupted: nobody could renew meanwhile, so everybody is waited
    /// for anew, except who is being given up. That was proposed and may yet be agreed on, in this very leadership.
    pub fn resume(&mut self, now_ns: u64) {
        for (id, grant) in &mut self.granted {
            if !self.condemned.contains(&(*id, grant.incarnation)) {
                grant.at_ns = now_ns;
            }
        }
    }

    /// How long a lease lasts.
    pub fn lease_ns(&self) -> u64 {
        self.lease_ns
    }

    /// How long after the last grant its holder is given up.
    pub fn patience_ns(&self) -> u64 {
        self.lease_ns + self.lease_ns / 10 + MARGIN_NS
    }

    /// Whether a member that goes by the table of this stamp may serve a slot that it has lost.
    pub fn is_behind(&self, member: &Member, stamp: (u32, u64)) -> bool {
        let kept_since =
            self.granted.get(&member.id).map_or_else(|| self.table.stamp(), |grant| grant.kept_since);
        stamp.0 != kept_since.0 || stamp < kept_since
    }

    /// Notes that a process is granted a lease in an answer that leaves at `now_ns`; false if it may not be.
    #[must_use]
    pub fn grant(&mut self, member: &Member, now_ns: u64) -> bool {
        if self.condemned.contains(&(member.id, member.incarnation)) {
            return false;
        }
        match self.granted.get_mut(&member.id).filter(|grant| grant.incarnation == member.incarnation) {
            Some(grant) => {
                grant.at_ns = now_ns;
                true
            }
            None => false,
        }
    }

    /// Processes to be given up at `now_ns`. From here on they are granted nothing until the table has let them go.
    pub fn condemn(&mut self, now_ns: u64) -> Vec<(NodeId, u64)> {
        let overdue: Vec<_> = self.overdue(now_ns).collect();
        self.condemned.extend(&overdue);
        overdue
    }

    /// Goes by a later table: notes who has lost slots, takes members in that are new, as if granted now, and forgets those
    /// that are gone.
    pub fn follow(&mut self, table: &Arc<Table>, now_ns: u64) {
        if table.stamp() <= self.table.stamp() {
            return;
        }
        let before = std::mem::replace(&mut self.table, Arc::clone(table));
        let is_new_generation = before.generation != table.generation;
        for (member, has_lost) in before.members.iter().zip(losses(&before, table)) {
            if let Some(grant) = self.granted.get_mut(&member.id)
                && (is_new_generation || has_lost)
            {
                grant.kept_since = table.stamp();
            }
        }
        self.take_in(now_ns);
    }

    fn take_in(&mut self, now_ns: u64) {
        let table = Arc::clone(&self.table);
        self.condemned.retain(|(id, incarnation)| table.process(*id, *incarnation).is_some());
        self.granted.retain(|id, grant| table.process(*id, grant.incarnation).is_some());
        for member in &table.members {
            let grant = Grant { incarnation: member.incarnation, at_ns: now_ns, kept_since: table.stamp() };
            self.granted.entry(member.id).or_insert(grant);
        }
    }

    /// Processes whose leases have certainly run out.
    fn overdue(&self, now_ns: u64) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        let patience_ns = self.patience_ns();
        self.granted
            .iter()
            .filter(move |(_, grant)| now_ns >= grant.at_ns.saturating_add(patience_ns))
            .map(|(id, grant)| (*id, grant.incarnation))
    }
}

/// Which members, by place in `before`, have lost a slot between two tables. One that somebody got back meanwhile has
/// another epoch. One pass over the runs of both.
fn losses(before: &Table, after: &Table) -> Vec<bool> {
    let mut lost = vec![false; before.members.len()];
    let mut runs = after.runs.iter().peekable();
    for run in &before.runs {
        let Some(member) = before.members.get(run.owner as usize) else { continue };
        let is_kept = |now: &Run| {
            let owner = after.members.get(now.owner as usize);
            now.epoch == run.epoch && owner.is_some_and(|owner| owner.id == member.id)
        };
        while runs.next_if(|now| now.end < run.start).is_some() {}
        // The last run that touches this one may touch the next as well.
        while let Some(now) = runs.next_if(|now| now.end <= run.end) {
            lost[run.owner as usize] |= !is_kept(now);
        }
        if let Some(now) = runs.peek().filter(|now| now.start <= run.end) {
            lost[run.owner as usize] |= !is_kept(now);
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::plan::moves;
    use super::super::table::Change;
    use super::super::table::tests::{member, settle};
    use super::{Grants, MARGIN_NS, Table};

    fn table_of(count: u8) -> Arc<Table> {
        Arc::new(super::super::table::tests::table_of(count))
    }

    /// The table after a change, which the grants follow.
    fn change(grants: &mut Grants, table: &Arc<Table>, change: &Change, now_ns: u64) -> Arc<Table> {
        let mut next = Table::clone(table);
        next.apply(change).expect("a change that is due");
        let next = Arc::new(next);
        grants.follow(&next, now_ns);
        next
    }

    const LEASE_NS: u64 = 2_000_000_000;

    #[test]
    fn a_process_is_given_up_only_after_lease_and_margin() {
        let table = table_of(2);
        let mut grants = Grants::begin(&table, LEASE_NS, 100);
        let patience_ns = LEASE_NS + LEASE_NS / 10 + MARGIN_NS;
        assert_eq!(grants.overdue(99 + patience_ns).count(), 0, "a new leader waits for everybody");
        assert!(grants.grant(&member(1), 1_000));
        let overdue: Vec<_> = grants.overdue(100 + patience_ns).collect();
        assert_eq!(overdue, [(member(0).id, 1)]);
        assert_eq!(grants.overdue(1_000 + patience_ns).count(), 2);
    }

    #[test]
    fn a_process_that_is_being_given_up_is_granted_nothing() {
        let table = table_of(2);
        let mut grants = Grants::begin(&table, LEASE_NS, 0);
        assert!(grants.grant(&member(0), LEASE_NS));
        assert_eq!(grants.condemn(2 * LEASE_NS), [(member(1).id, 1)]);
        assert!(!grants.grant(&member(1), 2 * LEASE_NS), "its slots may be gone");
        let leaves = Change::Leave { id: member(1).id, incarnation: 1 };
        let without = change(&mut grants, &table, &leaves, 2 * LEASE_NS);
        assert!(!grants.grant(&member(1), 2 * LEASE_NS), "it is no member");
        let with = change(&mut grants, &without, &Change::Join(member(1)), 2 * LEASE_NS);
        assert!(grants.grant(&member(1), 2 * LEASE_NS));
        assert!(grants.is_behind(&member(1), table.stamp()), "it would serve what it had before");
        assert!(grants.is_behind(&member(1), without.stamp()));
        assert!(!grants.is_behind(&member(1), with.stamp()));
    }

    /// Thirty processes that joined at once were refused leases, because a table had come since they asked, until some
    /// were given up.
    #[test]
    fn who_has_lost_nothing_need_not_know_the_newest_table() {
        let before = table_of(2);
        let mut grants = Grants::begin(&before, LEASE_NS, 0);
        let mut table = change(&mut grants, &before, &Change::Join(member(2)), 1);
        let is_behind =
            |grants: &Grants, table: &Table| [0, 1].map(|at| grants.is_behind(&member(at), table.stamp()));
        assert_eq!(is_behind(&grants, &before), [false; 2]);
        let joined = Arc::clone(&table);
        assert!(grants.is_behind(&member(2), before.stamp()), "it was no member then");
        let &(start, end, from, to) = moves(&table).first().expect("its share is to move");
        let begun =
            Table::clone(&table).apply(&Change::Begin { start, end, from, to }).expect("a planned move");
        table = change(&mut grants, &table, &Change::Begin { start, end, from, to }, 2);
        assert_eq!(is_behind(&grants, &before), [false; 2], "nothing is lost before it is handed over");
        table = change(&mut grants, &table, &Change::Commit { id: begun }, 3);
        let source = [member(0).id == from, member(1).id == from];
        assert_eq!(is_behind(&grants, &before), source);
        assert_eq!(is_behind(&grants, &joined), source);
        assert_eq!(is_behind(&grants, &table), [false; 2]);
        assert!(!grants.is_behind(&member(2), joined.stamp()), "it has gained");
    }

    #[test]
    fn what_was_lost_and_won_back_unseen_counts_as_lost() {
        let before = table_of(2);
        let mut grants = Grants::begin(&before, LEASE_NS, 0);
        // One member leaves and comes back, and has the very same slots again; nobody looked in between.
        let mut table = Table::clone(&before);
        table.apply(&Change::Leave { id: member(1).id, incarnation: 1 }).expect("a member");
        table.apply(&Change::Join(member(1))).expect("it comes back");
        settle(&mut table);
        assert_eq!(table.ranges_of(member(1).id).len(), before.ranges_of(member(1).id).len());
        grants.follow(&Arc::new(table), 1);
        assert!(grants.is_behind(&member(1), before.stamp()));
        // A table from before comes late.
        grants.follow(&before, 2);
        assert!(grants.is_behind(&member(1), before.stamp()));
    }

    #[test]
    fn a_table_of_another_generation_is_another() {
        let before = table_of(2);
        let mut grants = Grants::begin(&before, LEASE_NS, 0);
        let reform = Change::Reform { generation: 1, table: Box::new(Table::clone(&before)) };
        let after = change(&mut grants, &before, &reform, 1);
        assert_eq!(after.generation, 1);
        assert!(grants.is_behind(&member(0), before.stamp()));
        assert!(grants.is_behind(&member(0), (2, after.version + 1)));
        assert!(!grants.is_behind(&member(0), after.stamp()));
    }

    /// Found by the simulation: a leader proposed to give a process up, lost its quorum, and forgot that; with the quorum
    /// back in the same term it granted that process a lease before its proposal was agreed on.
    #[test]
    fn an_interrupted_leadership_forgets_nobody_that_it_gives_up() {
        let table = table_of(2);
        let mut grants = Grants::begin(&table, LEASE_NS, 0);
        assert!(grants.grant(&member(0), 2 * LEASE_NS));
        let late_ns = 2 * LEASE_NS + LEASE_NS / 2;
        assert_eq!(grants.condemn(late_ns), [(member(1).id, 1)]);
        grants.resume(4 * LEASE_NS);
        grants.follow(&table, 4 * LEASE_NS);
        assert!(!grants.grant(&member(1), 4 * LEASE_NS), "its slots may be gone any moment");
        assert_eq!(
            grants.condemn(4 * LEASE_NS),
            [(member(1).id, 1)],
            "it is proposed again, and nobody else is"
        );
    }

    #[test]
    fn a_new_process_starts_anew() {
        let table = table_of(2);
        let mut grants = Grants::begin(&table, LEASE_NS, 0);
        let mut again = member(1);
        again.incarnation = 2;
        let late_ns = 2 * LEASE_NS;
        change(&mut grants, &table, &Change::Join(again), late_ns);
        assert_eq!(grants.overdue(late_ns + LEASE_NS).collect::<Vec<_>>(), [(member(0).id, 1)]);
    }
}
