//! Leases, the leader's side: when each process was last granted one, and whose has certainly run out.
//!
//! A process serves while its lease holds, counted from when it *sent* the request (rule R1 of the cluster's design);
//! the leader gives a process up only when a lease granted at its last answer has run out on any clock whose rate is off
//! by less than a tenth (R4). A new leader knows of no grants of its predecessors and therefore waits the whole time for
//! everybody, from the moment at which it began to lead. All times are nanoseconds of the leader's own steady clock.

use std::collections::{BTreeMap, BTreeSet};

use super::id::NodeId;
use super::table::{Member, Table};

/// What a lease is lengthened by before its holder is given up: a tenth for clocks that run at different rates, and
/// this, in ns.
const MARGIN_NS: u64 = 50_000_000;

/// The grants of one leadership.
#[derive(Debug)]
pub struct Grants {
    lease_ns: u64,
    granted: BTreeMap<NodeId, Grant>,
    /// Processes that are being given up: none of them is granted a lease again, for its slots may be gone any moment.
    condemned: BTreeSet<(NodeId, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    incarnation: u64,
    at_ns: u64,
}

impl Grants {
    /// The grants of a leadership that begins at `now_ns`: everybody in the table may hold a lease from before.
    pub fn begin(table: &Table, lease_ns: u64, now_ns: u64) -> Self {
        let mut grants = Self { lease_ns, granted: BTreeMap::new(), condemned: BTreeSet::new() };
        grants.follow(table, now_ns);
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

    /// Notes that a process is granted a lease in an answer that leaves at `now_ns`; false if it may not be.
    #[must_use]
    pub fn grant(&mut self, member: &Member, now_ns: u64) -> bool {
        if self.condemned.contains(&(member.id, member.incarnation)) {
            return false;
        }
        self.granted.insert(member.id, Grant { incarnation: member.incarnation, at_ns: now_ns });
        true
    }

    /// Processes to be given up at `now_ns`. From here on they are granted nothing until the table has let them go.
    pub fn condemn(&mut self, now_ns: u64) -> Vec<(NodeId, u64)> {
        let overdue: Vec<_> = self.overdue(now_ns).collect();
        self.condemned.extend(&overdue);
        overdue
    }

    /// Takes members in that are new, as if granted now, and forgets those that are gone.
    pub fn follow(&mut self, table: &Table, now_ns: u64) {
        self.condemned.retain(|(id, incarnation)| table.process(*id, *incarnation).is_some());
        self.granted.retain(|id, grant| table.process(*id, grant.incarnation).is_some());
        for member in &table.members {
            self.granted.entry(member.id).or_insert(Grant { incarnation: member.incarnation, at_ns: now_ns });
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

#[cfg(test)]
mod tests {
    use super::super::table::tests::{member, table_of};
    use super::{Grants, MARGIN_NS};

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
        let mut table = table_of(2);
        let mut grants = Grants::begin(&table, LEASE_NS, 0);
        assert!(grants.grant(&member(0), LEASE_NS));
        assert_eq!(grants.condemn(2 * LEASE_NS), [(member(1).id, 1)]);
        assert!(!grants.grant(&member(1), 2 * LEASE_NS), "its slots may be gone");
        table
            .apply(&super::super::table::Change::Leave { id: member(1).id, incarnation: 1 })
            .expect("a member");
        grants.follow(&table, 2 * LEASE_NS);
        table.apply(&super::super::table::Change::Join(member(1))).expect("it comes back");
        grants.follow(&table, 2 * LEASE_NS);
        assert!(grants.grant(&member(1), 2 * LEASE_NS));
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
        let mut table = table_of(2);
        let mut grants = Grants::begin(&table, LEASE_NS, 0);
        let mut again = member(1);
        again.incarnation = 2;
        let late_ns = 2 * LEASE_NS;
        table.apply(&super::super::table::Change::Join(again)).expect("a new process");
        grants.follow(&table, late_ns);
        assert_eq!(grants.overdue(late_ns + LEASE_NS).collect::<Vec<_>>(), [(member(0).id, 1)]);
    }
}
