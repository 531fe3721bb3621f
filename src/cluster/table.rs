//! The slot table: who is a member, who owns which slots, which slots are on their way. It is the state that the voters
//! agree on; every other node holds a copy of some version of it.
//!
//! It is changed by [`Table::apply`] alone, which is a pure function of the table and the change, so that every voter
//! comes to the same table. The version counts the changes: two tables of one generation and version are equal to the
//! byte. A change that does not fit (of a node that was replaced, of a move that was cancelled) is refused and leaves
//! the table as it was; every change may therefore be proposed again when its fate is unknown.
//!
//! Invariants ([`Table::validate`]): runs are ascending, disjoint and cover all slots; owners are members; a move's slots
//! belong to its source; no slot is in two moves; no member is there twice.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::id::{ClusterId, NodeId};
use super::place::{self, Candidate, NO_OWNER};
use crate::base::limits::{CLUSTER_MOVES_MAX, CLUSTER_NODES_MAX};
use crate::base::slot::SLOT_COUNT;

/// From where a client sees the cluster: it is told addresses that are of use there.
///
/// A client's side is that of the port that it has connected to, not of the address that it comes from, which the
/// translation of addresses on the way may have made up. Whoever can reach the port for the outside can reach the outside
/// addresses, if what leads there was set up alike for all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// The network of the nodes themselves.
    #[default]
    Inside,
    /// Elsewhere: nodes are reached at mapped ports or translated addresses.
    Outside,
}

/// How clients reach a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAddress {
    /// IP address or, where `hostname` is preferred, whatever was announced; never empty.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Host name that was announced; empty for none.
    pub hostname: String,
    /// The gateway's port; 0 for none.
    pub gateway_port: u16,
    /// Address or name for clients outside; empty where they reach the node as those inside do.
    pub outside_host: String,
    /// TCP port for clients outside, if there is a host for them.
    pub outside_port: u16,
}

impl ClientAddress {
    /// Host and port for clients on that side.
    pub fn seen_from(&self, side: Side) -> (&str, u16) {
        match side {
            Side::Outside if !self.outside_host.is_empty() => (&self.outside_host, self.outside_port),
            Side::Inside | Side::Outside => (&self.host, self.port),
        }
    }

    /// The host name, where one is announced beside the address for that side.
    pub fn hostname_from(&self, side: Side) -> Option<&str> {
        let beside = self.seen_from(side).0 == self.host;
        let is_more = beside && !self.hostname.is_empty() && self.hostname != self.host;
        is_more.then_some(self.hostname.as_str())
    }
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Takes its share of slots.
    Active,
    /// Gives its slots away and will leave.
    Draining,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Which of the id's processes it is; a later one has a higher number.
    pub incarnation: u64,
    /// How clients reach it.
    pub client: ClientAddress,
    /// How nodes reach it.
    pub peer: SocketAddr,
    /// Failure domain; empty for none.
    pub zone: String,
    /// Its share of slots relative to others'; 0 for none.
    pub weight: u64,
    /// What it is doing.
    pub standing: Standing,
}

/// Consecutive slots with one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First slot.
    pub start: u16,
    /// Last slot.
    pub end: u16,
    /// Place of the owner among the members; [`NO_OWNER`] while nobody can own slots.
    pub owner: u16,
    /// The version that gave it to this owner.
    pub epoch: u64,
    /// The move by which the owner got the slots with their keys; 0 if it got them empty.
    pub by_move: u64,
}

/// Slots on their way from one member to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The version that began it: never used twice.
    pub id: u64,
    /// First slot.
    pub start: u16,
    /// Last slot.
    pub end: u16,
    /// The owner.
    pub from: NodeId,
    /// Which process of the owner: another has none of the keys.
    pub from_incarnation: u64,
    /// Who is to own them.
    pub to: NodeId,
    /// Which process of it.
    pub to_incarnation: u64,
}

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The first change of all: names the cluster and shares the slots out.
    Found {
        /// The cluster's id.
        cluster: ClusterId,
        /// The nodes that found it.
        members: Vec<Member>,
    },
    /// A member comes, comes back as a new process, or changes what it says of itself.
    Join(Member),
    /// A process is gone for good: its slots go, empty, to the others.
    Leave {
        /// Whose.
        id: NodeId,
        /// Which process.
        incarnation: u64,
    },
    /// A member gives its slots away, or takes its share again.
    Stand {
        /// Whose.
        id: NodeId,
        /// Which process.
        incarnation: u64,
        /// What it does from now on.
        standing: Standing,
    },
    /// Slots are to move, with their keys.
    Begin {
        /// First slot.
        start: u16,
        /// Last slot.
        end: u16,
        /// The owner.
        from: NodeId,
        /// Who is to own them.
        to: NodeId,
    },
    /// The target has every key: it owns the slots from now on.
    Commit {
        /// Which move.
        id: u64,
    },
    /// The move did not work out: the source keeps the slots.
    Cancel {
        /// Which move.
        id: u64,
    },
    /// An operator has formed the cluster anew after the voters were lost: this table goes on under a new generation.
    Reform {
        /// The generation, higher than all before.
        generation: u32,
        /// The table of the survivors.
        table: Box<Table>,
    },
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The cluster has its name already.
    Founded,
    /// It changes nothing.
    NoChange,
    /// There is no such member, or another process of it has taken over.
    Stale,
    /// As many nodes as may be.
    TooManyNodes,
    /// As many moves as may be under way.
    TooManyMoves,
    /// The slots are not the source's, or are moving already, or the target takes none.
    NotMovable,
    /// There is no such move (any more).
    NoSuchMove,
}

/// What became of a change: the version it made, or why it made none.
pub type Outcome = Result<u64, Refusal>;

/// The table; see the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Times that the cluster was formed anew by an operator; outranks the version.
    pub generation: u32,
    /// Number of changes so far.
    pub version: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// Members, by id.
    pub members: Vec<Member>,
    /// All slots, ascending; none until somebody can own them.
    pub runs: Vec<Run>,
    /// Moves under way, by id.
    pub moves: Vec<Move>,
}

/// One slot while a change is made.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot {
    owner: u16,
    epoch: u64,
    by_move: u64,
}

const NOBODYS: Slot = Slot { owner: NO_OWNER, epoch: 0, by_move: 0 };

impl Table {
    /// Applies a change; gives the version it made.
    ///
    /// # Errors
    /// The change does not fit; the table is as it was.
    pub fn apply(&mut self, change: &Change) -> Outcome {
        if !self.cluster.is_founded() && !matches!(change, Change::Found { .. } | Change::Reform { .. }) {
            return Err(Refusal::Stale);
        }
        match change {
            Change::Found { cluster, members } => self.found(*cluster, members)?,
            Change::Join(member) => self.join(member)?,
            Change::Leave { id, incarnation } => self.leave(*id, *incarnation)?,
            Change::Stand { id, incarnation, standing } => self.stand(*id, *incarnation, *standing)?,
            Change::Begin { start, end, from, to } => self.begin(*start, *end, *from, *to)?,
            Change::Commit { id } => self.commit(*id)?,
            Change::Cancel { id } => {
                self.take_move(*id)?;
            }
            Change::Reform { generation, table } => return self.reform(*generation, table),
        }
        self.version += 1;
        Ok(self.version)
    }

    /// Generation and version: later tables compare greater.
    pub fn stamp(&self) -> (u32, u64) {
        (self.generation, self.version)
    }

    /// A member.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.place_of(id).map(|at| &self.members[at])
    }

    /// A member, if this very process of it is the one that the table knows.
    pub fn process(&self, id: NodeId, incarnation: u64) -> Option<&Member> {
        self.member(id).filter(|member| member.incarnation == incarnation)
    }

    /// A member's place among the members.
    pub fn place_of(&self, id: NodeId) -> Option<usize> {
        self.members.binary_search_by_key(&id, |member| member.id).ok()
    }

    /// The member that owns a slot.
    pub fn owner(&self, slot: u16) -> Option<&Member> {
        self.members.get(self.run_of(slot)?.owner as usize)
    }

    /// The run that a slot is in.
    pub fn run_of(&self, slot: u16) -> Option<&Run> {
        let at = self.runs.partition_point(|run| run.end < slot);
        self.runs.get(at)
    }

    /// Every slot's owner by place among the members, [`NO_OWNER`] for none.
    pub fn owners(&self) -> Vec<u16> {
        self.slots().iter().map(|slot| slot.owner).collect()
    }

    /// Slots of a member, as ascending ranges that do not touch.
    pub fn ranges_of(&self, id: NodeId) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        let Some(place) = self.place_of(id) else { return ranges };
        for run in self.runs.iter().filter(|run| run.owner as usize == place) {
            match ranges.last_mut() {
                Some(last) if last.1 + 1 == run.start => last.1 = run.end,
                _ => ranges.push((run.start, run.end)),
            }
        }
        ranges
    }

    /// Number of slots of each member, in the members' order.
    pub fn slot_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.members.len()];
        for run in &self.runs {
            if let Some(count) = counts.get_mut(run.owner as usize) {
                *count += u32::from(run.end - run.start) + 1;
            }
        }
        counts
    }

    /// Where every slot should be, by the placement rule.
    pub fn wanted(&self) -> Vec<u16> {
        place::place(&self.owners(), &self.candidates())
    }

    /// A number that differs, in all likelihood, between tables that differ (FNV-1a of the encoded table).
    pub fn digest(&self) -> u64 {
        let encoded = postcard::to_allocvec(self).unwrap_or_default();
        encoded.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
    }

    /// Checks the invariants.
    ///
    /// # Errors
    /// Says which one does not hold.
    pub fn validate(&self) -> Result<(), String> {
        if !self.members.is_sorted_by(|a, b| a.id < b.id) || self.members.len() > CLUSTER_NODES_MAX {
            return Err("members are not in order, or too many".to_owned());
        }
        let mut next = 0usize;
        for run in &self.runs {
            if run.start as usize != next || run.end < run.start || run.end as usize >= SLOT_COUNT {
                return Err(format!("the run {}-{} does not follow slot {next}", run.start, run.end));
            }
            if run.owner != NO_OWNER && run.owner as usize >= self.members.len() {
                return Err(format!("the run {}-{} has an owner that is no member", run.start, run.end));
            }
            next = run.end as usize + 1;
        }
        if next != SLOT_COUNT && !self.runs.is_empty() {
            return Err(format!("the slots from {next} on are missing"));
        }
        self.validate_moves()
    }

    fn validate_moves(&self) -> Result<(), String> {
        if self.moves.len() > CLUSTER_MOVES_MAX {
            return Err("there are too many moves".to_owned());
        }
        let mut moving = vec![false; SLOT_COUNT];
        for movement in &self.moves {
            for slot in movement.start..=movement.end {
                let owned = self.owner(slot).is_some_and(|owner| owner.id == movement.from);
                let twice =
                    moving.get_mut(slot as usize).is_none_or(|moving| std::mem::replace(moving, true));
                if !owned || twice {
                    return Err(format!("move {} may not have slot {slot}", movement.id));
                }
            }
            if self.process(movement.to, movement.to_incarnation).is_none() {
                return Err(format!("move {} goes nowhere", movement.id));
            }
        }
        Ok(())
    }

    fn found(&mut self, cluster: ClusterId, members: &[Member]) -> Result<(), Refusal> {
        if self.cluster.is_founded() {
            return Err(Refusal::Founded);
        }
        if members.len() > CLUSTER_NODES_MAX {
            return Err(Refusal::TooManyNodes);
        }
        self.cluster = cluster;
        self.members = members.to_vec();
        self.members.sort_by_key(|member| member.id);
        self.members.dedup_by_key(|member| member.id);
        let mut slots = self.slots();
        self.adopt_orphans(&mut slots);
        self.set_slots(&slots);
        Ok(())
    }

    fn join(&mut self, member: &Member) -> Result<(), Refusal> {
        match self.members.binary_search_by_key(&member.id, |member| member.id) {
            Ok(at) => self.rejoin(at, member),
            Err(_) if self.members.len() >= CLUSTER_NODES_MAX => Err(Refusal::TooManyNodes),
            Err(at) => {
                let mut slots = self.slots();
                for slot in &mut slots {
                    if slot.owner != NO_OWNER && slot.owner as usize >= at {
                        slot.owner += 1;
                    }
                }
                self.members.insert(at, member.clone());
                self.adopt_orphans(&mut slots);
                self.set_slots(&slots);
                Ok(())
            }
        }
    }

    /// A new process of a member has none of the old one's keys: it keeps the slots, empty, under a new epoch. The same
    /// process keeps its standing: what it says of itself may have been on its way since before it was told to drain.
    fn rejoin(&mut self, at: usize, member: &Member) -> Result<(), Refusal> {
        let known = &self.members[at];
        if member.incarnation < known.incarnation {
            return Err(Refusal::Stale);
        }
        let is_new = member.incarnation > known.incarnation;
        let standing = if is_new { member.standing } else { known.standing };
        let member = Member { standing, ..member.clone() };
        if member == *known {
            return Err(Refusal::NoChange);
        }
        let id = member.id;
        self.members[at] = member;
        let mut slots = self.slots();
        if is_new {
            self.cancel_moves_of(id);
            for slot in slots.iter_mut().filter(|slot| slot.owner as usize == at) {
                (slot.epoch, slot.by_move) = (self.version + 1, 0);
            }
        }
        self.adopt_orphans(&mut slots);
        self.set_slots(&slots);
        Ok(())
    }

    fn leave(&mut self, id: NodeId, incarnation: u64) -> Result<(), Refusal> {
        let at = self.process_place(id, incarnation)?;
        let mut slots = self.slots();
        for slot in &mut slots {
            match slot.owner {
                owner if owner == NO_OWNER || (owner as usize) < at => {}
                owner if owner as usize == at => *slot = NOBODYS,
                _ => slot.owner -= 1,
            }
        }
        self.cancel_moves_of(id);
        self.members.remove(at);
        self.adopt_orphans(&mut slots);
        self.set_slots(&slots);
        Ok(())
    }

    fn stand(&mut self, id: NodeId, incarnation: u64, standing: Standing) -> Result<(), Refusal> {
        let at = self.process_place(id, incarnation)?;
        if self.members[at].standing == standing {
            return Err(Refusal::NoChange);
        }
        self.members[at].standing = standing;
        let mut slots = self.slots();
        self.adopt_orphans(&mut slots);
        self.set_slots(&slots);
        Ok(())
    }

    fn begin(&mut self, start: u16, end: u16, from: NodeId, to: NodeId) -> Result<(), Refusal> {
        if self.moves.len() >= CLUSTER_MOVES_MAX {
            return Err(Refusal::TooManyMoves);
        }
        if start > end || end as usize >= SLOT_COUNT || from == to {
            return Err(Refusal::NotMovable);
        }
        let source = self.place_of(from).ok_or(Refusal::Stale)?;
        let target = self.place_of(to).ok_or(Refusal::Stale)?;
        let slots = &self.slots()[start as usize..=end as usize];
        let busy = self.moves.iter().any(|other| other.start <= end && start <= other.end);
        if busy
            || slots.iter().any(|slot| slot.owner as usize != source)
            || self.members[target].standing != Standing::Active
        {
            return Err(Refusal::NotMovable);
        }
        self.moves.push(Move {
            id: self.version + 1,
            start,
            end,
            from,
            from_incarnation: self.members[source].incarnation,
            to,
            to_incarnation: self.members[target].incarnation,
        });
        Ok(())
    }

    fn commit(&mut self, id: u64) -> Result<(), Refusal> {
        let movement = self.take_move(id)?;
        let target = self.process_place(movement.to, movement.to_incarnation)?;
        let mut slots = self.slots();
        for slot in &mut slots[movement.start as usize..=movement.end as usize] {
            *slot = Slot { owner: target as u16, epoch: self.version + 1, by_move: id };
        }
        self.set_slots(&slots);
        Ok(())
    }

    fn reform(&mut self, generation: u32, table: &Table) -> Outcome {
        if generation <= self.generation || table.cluster != self.cluster && self.cluster.is_founded() {
            return Err(Refusal::Stale);
        }
        let version = self.version.max(table.version) + 1;
        *self = table.clone();
        self.generation = generation;
        self.version = version;
        self.moves.clear();
        Ok(version)
    }

    fn process_place(&self, id: NodeId, incarnation: u64) -> Result<usize, Refusal> {
        let at = self.place_of(id).ok_or(Refusal::Stale)?;
        if self.members[at].incarnation == incarnation { Ok(at) } else { Err(Refusal::Stale) }
    }

    fn take_move(&mut self, id: u64) -> Result<Move, Refusal> {
        let at = self.moves.iter().position(|movement| movement.id == id).ok_or(Refusal::NoSuchMove)?;
        Ok(self.moves.remove(at))
    }

    fn cancel_moves_of(&mut self, id: NodeId) {
        self.moves.retain(|movement| movement.from != id && movement.to != id);
    }

    /// Gives slots without an owner, empty, to members that take slots.
    fn adopt_orphans(&self, slots: &mut [Slot]) {
        if slots.iter().all(|slot| slot.owner != NO_OWNER) {
            return;
        }
        let owners: Vec<u16> = slots.iter().map(|slot| slot.owner).collect();
        let wanted = place::place(&owners, &self.candidates());
        for (slot, owner) in slots.iter_mut().zip(wanted) {
            if slot.owner == NO_OWNER && owner != NO_OWNER {
                *slot = Slot { owner, epoch: self.version + 1, by_move: 0 };
            }
        }
    }

    /// The members as the placement rule sees them. When all are draining, they keep what they have.
    fn candidates(&self) -> Vec<Candidate> {
        let any = self.members.iter().any(|member| member.standing == Standing::Active && member.weight > 0);
        let weight = |member: &Member| match member.standing {
            Standing::Draining if any => 0,
            _ => member.weight,
        };
        self.members.iter().map(|member| Candidate { id: member.id.0, weight: weight(member) }).collect()
    }

    fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(SLOT_COUNT);
        for run in &self.runs {
            let slot = Slot { owner: run.owner, epoch: run.epoch, by_move: run.by_move };
            slots.extend((run.start..=run.end).map(|_| slot));
        }
        slots.resize(SLOT_COUNT, NOBODYS);
        slots
    }

    fn set_slots(&mut self, slots: &[Slot]) {
        self.runs.clear();
        for (number, slot) in slots.iter().enumerate() {
            let number = number as u16;
            match self.runs.last_mut() {
                Some(run)
                    if (run.owner, run.epoch, run.by_move) == (slot.owner, slot.epoch, slot.by_move) =>
                {
                    run.end = number;
                }
                _ => self.runs.push(Run {
                    start: number,
                    end: number,
                    owner: slot.owner,
                    epoch: slot.epoch,
                    by_move: slot.by_move,
                }),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
