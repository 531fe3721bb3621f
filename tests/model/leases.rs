//! A model of two nodes that own two slots by leases, without replicas: what a table change, a lease and a planned move
//! of a slot may do in any order, with delayed and lost messages, clocks that run apart, a change of leader and a
//! restart. It says nothing of the code; it says whether the rules that the code follows are enough, and, by leaving one
//! out at a time, that each is needed.
//!
//! What is abstract: the log is one list of tables, which whoever leads changes at once (agreement is openraft's
//! business); a node takes in any later table at any time; time is counted in ticks, a lease lasts two, and a holder's
//! clock may make it last one more.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// What a lease lasts, in ticks from when it was asked for.
const LEASE: u8 = 2;
/// How much longer a slow clock makes its holder believe in it.
const CLOCK_LAG: u8 = 1;
/// Tables that the log may come to hold.
const TABLES_MAX: usize = 5;
/// Writes of the whole run.
const WRITES_MAX: u8 = 2;

/// What the nodes keep to. The model is checked with all of them, and without each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing is served without a valid lease.
    LeaseCheck,
    /// A node is given up only after its lease and a margin for its clock.
    Margin,
    /// The holder counts its lease from when it asked.
    StampAtSend,
    /// A leader makes sure that it still leads, after the request came, before it grants.
    ConfirmedGrant,
    /// A lease is granted only to who has a table since which it has lost no slot.
    VersionInGrant,
    /// A new leader takes everybody for just granted.
    NewLeaderWaits,
    /// A slot that comes without a move begins empty, whatever is left of it from before.
    ClearBeforeServe,
    /// The owner stops serving a slot before it sends what the move commits.
    HoldBeforeCommit,
    /// The owner serves a held slot again only when the log says that the move is off.
    ResumeByLog,
    /// A table names processes: a restarted node owns nothing that its process before owned.
    Incarnation,
}

pub struct Leases {
    /// The rule that is left out.
    pub without: Option<Rule>,
    /// How far time runs.
    pub ticks: u8,
    /// How often nodes restart.
    pub restarts: u8,
    /// Whether slots are moved.
    pub moves: bool,
}

/// A slot on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Move {
    /// The version that began it.
    id: u8,
    slot: usize,
    from: usize,
}

/// One version of the slot table; its number is its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Table {
    owner: [usize; 2],
    /// The version that gave each slot to its owner.
    epoch: [u8; 2],
    /// The move that brought each slot with its keys; 0 if it came empty.
    by_move: [u8; 2],
    moving: Option<Move>,
    /// Which process of each node is meant.
    incarnation: [u8; 2],
}

/// A request for a lease on its way there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Renewal {
    None,
    Sent { at: u8, version: u8 },
    Arrived { at: u8, version: u8, leader: u8 },
    Granted { at: u8 },
}

/// What a node has of a slot, and the epoch for which it is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Kept {
    epoch: u8,
    value: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    incarnation: u8,
    /// The version that it knows; 0 for none.
    version: u8,
    /// From when its lease counts.
    lease: Option<u8>,
    renewal: Renewal,
    kept: [Kept; 2],
    /// Hidden keys of a move to it: the move's id and the value.
    staged: Option<(u8, u8)>,
    /// The move for which it holds commands.
    held: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A slot's keys.
    Keys { id: u8, value: u8 },
    /// The target has every key of this move.
    Commit { id: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    leader: u8,
    log: Vec<Table>,
    /// When the current leader last granted to each, or believes that somebody may have.
    granted: [u8; 2],
    nodes: [Node; 2],
    /// All that was ever sent: any of it may arrive at any time, again, or never.
    wire: BTreeSet<Message>,
    writes: u8,
    /// The last acknowledged write of each slot; 0 once the slot began empty again.
    acknowledged: [u8; 2],
    restarts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    NewLeader,
    Request(usize),
    LoseRequest(usize),
    /// At the leader of this number, which may have been replaced.
    Arrive(usize, u8),
    Grant(usize),
    Renew(usize),
    Apply(usize, u8),
    Write(usize, usize),
    /// Slot to the other node.
    BeginMove(usize),
    Hold(usize),
    SendKeys(usize),
    ReceiveKeys(usize, Message),
    ProposeCommit(usize),
    Commit(u8),
    Cancel,
    ResumeAlone(usize),
    /// The leader gives a node up.
    GiveUp(usize),
    Restart(usize),
    Rejoin(usize),
}

impl Leases {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn has_lease(&self, state: &State, node: usize) -> bool {
        let valid = |from: u8| state.now < from + LEASE + CLOCK_LAG;
        !self.keeps(Rule::LeaseCheck) || state.nodes[node].lease.is_some_and(valid)
    }

    fn is_meant(&self, state: &State, table: &Table, node: usize) -> bool {
        !self.keeps(Rule::Incarnation) || table.incarnation[node] == state.nodes[node].incarnation
    }

    /// Whether a command for `slot` is answered by `node` now.
    fn serves(&self, state: &State, node: usize, slot: usize) -> bool {
        let Some(table) = state.known(node) else {
            return false;
        };
        let holds = |mv: Move| mv.slot == slot && state.nodes[node].held == Some(mv.id);
        table.owner[slot] == node
            && self.is_meant(state, table, node)
            && self.has_lease(state, node)
            && !table.moving.is_some_and(holds)
    }

    /// How long after a grant the leader waits before it gives a node up.
    fn patience(&self) -> u8 {
        LEASE + if self.keeps(Rule::Margin) { CLOCK_LAG } else { 0 }
    }

    fn renewal_actions(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        match state.nodes[node].renewal {
            Renewal::None if state.nodes[node].version > 0 => actions.push(Action::Request(node)),
            Renewal::None => {}
            Renewal::Sent { .. } => {
                actions.extend((0..=state.leader).map(|leader| Action::Arrive(node, leader)));
                actions.push(Action::LoseRequest(node));
            }
            Renewal::Arrived { version, leader, .. } => {
                let leads = leader == state.leader || !self.keeps(Rule::ConfirmedGrant);
                let knows = version >= state.lost(node) || !self.keeps(Rule::VersionInGrant);
                if leads && knows && self.is_meant(state, state.newest(), node) {
                    actions.push(Action::Grant(node));
                } else {
                    actions.push(Action::LoseRequest(node));
                }
            }
            Renewal::Granted { .. } => actions.push(Action::Renew(node)),
        }
    }

    fn node_actions(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let this = &state.nodes[node];
        self.renewal_actions(state, node, actions);
        actions.extend((this.version + 1..=state.version()).map(|version| Action::Apply(node, version)));
        for slot in 0..2 {
            if state.writes < WRITES_MAX && self.serves(state, node, slot) {
                actions.push(Action::Write(node, slot));
            }
        }
        if let Some(mv) = state.known(node).and_then(|table| table.moving) {
            let holds = this.held == Some(mv.id);
            if mv.from == node && !holds && self.serves(state, node, mv.slot) {
                actions.push(Action::Hold(node));
            }
            if mv.from == node && (holds || !self.keeps(Rule::HoldBeforeCommit)) {
                actions.push(Action::SendKeys(node));
            }
            if mv.from == node && holds && !self.keeps(Rule::ResumeByLog) {
                actions.push(Action::ResumeAlone(node));
            }
            if mv.from != node {
                let keys = state
                    .wire
                    .iter()
                    .filter(|message| matches!(message, Message::Keys { id, .. } if *id == mv.id));
                actions.extend(keys.map(|&message| Action::ReceiveKeys(node, message)));
                if this.staged.is_some_and(|(id, _)| id == mv.id) {
                    actions.push(Action::ProposeCommit(node));
                }
            }
        }
        if state.restarts < self.restarts {
            actions.push(Action::Restart(node));
        }
    }

    fn leader_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.leader < 1 {
            actions.push(Action::NewLeader);
        }
        if state.log.len() >= TABLES_MAX {
            return;
        }
        let table = state.newest();
        for node in 0..2 {
            let overdue = state.now >= state.granted[node] + self.patience();
            if overdue && table.owner.contains(&node) {
                actions.push(Action::GiveUp(node));
            }
            if table.incarnation[node] != state.nodes[node].incarnation {
                actions.push(Action::Rejoin(node));
            }
        }
        match table.moving {
            None if self.moves => actions.extend((0..2).map(Action::BeginMove)),
            None => {}
            Some(mv) => {
                actions.push(Action::Cancel);
                if state.wire.contains(&Message::Commit { id: mv.id }) {
                    actions.push(Action::Commit(mv.id));
                }
            }
        }
    }

    /// A node takes a later table in: what it gained is either what a move brought, or begins empty.
    fn apply(&self, state: &mut State, node: usize, version: u8) {
        let table = state.log[usize::from(version) - 1];
        let this = &mut state.nodes[node];
        this.version = version;
        for slot in 0..2 {
            if table.owner[slot] != node || this.kept[slot].epoch == table.epoch[slot] {
                continue;
            }
            this.kept[slot].epoch = table.epoch[slot];
            match this.staged {
                Some((id, value)) if id == table.by_move[slot] => this.kept[slot].value = value,
                _ if self.keeps(Rule::ClearBeforeServe) => this.kept[slot].value = 0,
                _ => {}
            }
        }
        let current = table.moving.map(|mv| mv.id);
        this.held = this.held.filter(|&id| Some(id) == current);
        this.staged = this.staged.filter(|&(id, _)| Some(id) == current);
    }

    fn renew(&self, state: &mut State, action: Action) {
        let now = state.now;
        match action {
            Action::Request(node) => {
                let version = state.nodes[node].version;
                state.nodes[node].renewal = Renewal::Sent { at: now, version };
            }
            Action::Arrive(node, leader) => {
                if let Renewal::Sent { at, version } = state.nodes[node].renewal {
                    state.nodes[node].renewal = Renewal::Arrived { at, version, leader };
                }
            }
            Action::Grant(node) => {
                if let Renewal::Arrived { at, leader, .. } = state.nodes[node].renewal {
                    state.nodes[node].renewal = Renewal::Granted { at };
                    // What a replaced leader notes, nobody reads.
                    if leader == state.leader {
                        state.granted[node] = now;
                    }
                }
            }
            Action::Renew(node) => {
                let this = &mut state.nodes[node];
                if let Renewal::Granted { at } = this.renewal {
                    let from = if self.keeps(Rule::StampAtSend) { at } else { now };
                    this.lease = this.lease.max(Some(from));
                    this.renewal = Renewal::None;
                }
            }
            _ => {}
        }
    }
}

impl State {
    fn version(&self) -> u8 {
        self.log.len() as u8
    }

    fn newest(&self) -> &Table {
        &self.log[self.log.len() - 1]
    }

    /// The last version in which a node lost a slot; 0 for none.
    fn lost(&self, node: usize) -> u8 {
        let is_loss = |tables: &[Table]| {
            let slots = tables[0].owner.iter().zip(tables[1].owner);
            slots.into_iter().any(|(before, after)| *before == node && after != node)
        };
        self.log.windows(2).rposition(is_loss).map_or(0, |index| index as u8 + 2)
    }

    fn known(&self, node: usize) -> Option<&Table> {
        usize::from(self.nodes[node].version).checked_sub(1).map(|index| &self.log[index])
    }

    /// All that `node` owns goes to the other, empty; a move of its slots is off.
    fn give_away(&mut self, node: usize) {
        let mut table = *self.newest();
        let version = self.version() + 1;
        for slot in 0..2 {
            if table.owner[slot] == node {
                table.owner[slot] = 1 - node;
                table.epoch[slot] = version;
                table.by_move[slot] = 0;
                self.acknowledged[slot] = 0;
            }
        }
        table.moving = None;
        table.incarnation[node] = self.nodes[node].incarnation;
        self.log.push(table);
    }

    fn change(&mut self, change: impl FnOnce(&mut Table, u8)) {
        let mut table = *self.newest();
        change(&mut table, self.version() + 1);
        self.log.push(table);
    }

    fn move_a_slot(&mut self, action: Action) {
        match action {
            Action::BeginMove(slot) => self.change(|table, version| {
                table.moving = Some(Move { id: version, slot, from: table.owner[slot] });
            }),
            Action::Hold(node) => {
                self.nodes[node].held = self.known(node).and_then(|table| table.moving).map(|mv| mv.id);
            }
            Action::SendKeys(node) => {
                if let Some(mv) = self.known(node).and_then(|table| table.moving) {
                    let value = self.nodes[node].kept[mv.slot].value;
                    self.wire.insert(Message::Keys { id: mv.id, value });
                }
            }
            Action::ReceiveKeys(node, Message::Keys { id, value }) => {
                self.nodes[node].staged = Some((id, value));
            }
            Action::ProposeCommit(node) => {
                if let Some((id, _)) = self.nodes[node].staged {
                    self.wire.insert(Message::Commit { id });
                }
            }
            Action::Commit(_) => self.change(|table, version| {
                if let Some(mv) = table.moving.take() {
                    table.owner[mv.slot] = 1 - mv.from;
                    table.epoch[mv.slot] = version;
                    table.by_move[mv.slot] = mv.id;
                }
            }),
            Action::Cancel => self.change(|table, _| table.moving = None),
            Action::ResumeAlone(node) => self.nodes[node].held = None,
            _ => {}
        }
    }
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    /// Node 0 owns both slots, and both nodes have just been granted a lease.
    fn init_states(&self) -> Vec<State> {
        let table =
            Table { owner: [0, 0], epoch: [1, 1], by_move: [0, 0], moving: None, incarnation: [0, 0] };
        let node = Node {
            incarnation: 0,
            version: 1,
            lease: Some(0),
            renewal: Renewal::None,
            kept: [Kept::default(); 2],
            staged: None,
            held: None,
        };
        let mut owner = node;
        owner.kept = [Kept { epoch: 1, value: 0 }; 2];
        vec![State {
            now: 0,
            leader: 0,
            log: vec![table],
            granted: [0, 0],
            nodes: [owner, node],
            wire: BTreeSet::new(),
            writes: 0,
            acknowledged: [0, 0],
            restarts: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < self.ticks {
            actions.push(Action::Tick);
        }
        for node in 0..2 {
            self.node_actions(state, node, actions);
        }
        self.leader_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => state.now += 1,
            Action::NewLeader => {
                state.leader += 1;
                state.granted = if self.keeps(Rule::NewLeaderWaits) { [state.now; 2] } else { [0; 2] };
            }
            Action::LoseRequest(node) => state.nodes[node].renewal = Renewal::None,
            Action::Apply(node, version) => self.apply(&mut state, node, version),
            Action::Write(node, slot) => {
                state.writes += 1;
                state.nodes[node].kept[slot].value = state.writes;
                state.acknowledged[slot] = state.writes;
            }
            Action::GiveUp(node) | Action::Rejoin(node) => state.give_away(node),
            Action::Restart(node) => {
                state.restarts += 1;
                state.nodes[node] = Node {
                    incarnation: state.nodes[node].incarnation + 1,
                    version: 0,
                    lease: None,
                    renewal: Renewal::None,
                    kept: [Kept::default(); 2],
                    staged: None,
                    held: None,
                };
            }
            Action::Request(_) | Action::Arrive(..) | Action::Grant(_) | Action::Renew(_) => {
                self.renew(&mut state, action);
            }
            _ => state.move_a_slot(action),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two owners serve one slot", |model: &Leases, state: &State| {
                (0..2).all(|slot| !(0..2).all(|node| model.serves(state, node, slot)))
            }),
            Property::always(
                "no read is older than what was acknowledged",
                |model: &Leases, state: &State| {
                    (0..2).all(|node| {
                        (0..2).all(|slot| {
                            let value = state.nodes[node].kept[slot].value;
                            !model.serves(state, node, slot) || value == state.acknowledged[slot]
                        })
                    })
                },
            ),
            Property::sometimes("a survivor serves what it was given", |model: &Leases, state: &State| {
                model.serves(state, 1, 0) && state.newest().epoch[0] > 1 && state.newest().by_move[0] == 0
            }),
            Property::sometimes("a move brings a slot's value", |model: &Leases, state: &State| {
                model.serves(state, 1, 0) && state.newest().by_move[0] > 0 && state.acknowledged[0] > 0
            }),
        ]
    }
}
