//! A model of the cold start by promises: nodes that may ask, promise, give up, found, hear of a founded cluster and
//! restart, in any order, over a network in which anything that was sent may arrive at any time, again, or never. Who sees
//! whom is left open: anybody may ask, as views may differ in any way. `src/cluster/formation.rs` follows these rules;
//! this says whether they are enough, and, by leaving one out at a time, that each is needed.
//!
//! What is abstract: time (a majority never needs to wait, which is the worst case), and how a node learns that another
//! process runs where its asker did.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// Clusters that may be founded in one run; a second is the fault that is looked for, unless the first is forgotten.
const FOUNDED_MAX: u8 = 2;

/// What the nodes keep to. The model is checked with all of them, and without each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A process promises to one asker.
    OnePromise,
    /// A promise ends by its asker's word or with its asker's process.
    FreedByAsker,
    /// Promises of a round that was given up do not count.
    CurrentRound,
    /// A majority of the seeds must have promised, however few nodes are expected.
    SeedsMajority,
    /// A promise that its giver's restart forgets, or that ends with its asker's process, does not count for a majority.
    LastingMajority,
    /// Nor does any promise of a node that took one back because its asker's process was gone.
    Doubt,
    /// A promise to an asker with a disk ends with its process only if that disk says that nothing was founded.
    AskTheDisk,
}

pub struct ColdStart {
    /// The rule that is left out.
    pub without: Option<Rule>,
    /// For each node whether what it promised outlasts its process. All nodes are seeds.
    pub durable: &'static [bool],
    /// How many nodes are waited for.
    pub expect: usize,
    /// How often nodes restart.
    pub restarts: u8,
    /// Rounds that one process begins.
    pub rounds: u8,
    /// Whether it begins where the first node has founded with everybody's promise, and one other knows.
    pub founded: bool,
}

/// A round of an asker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round {
    asker: usize,
    process: u8,
    number: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    Ask(Round),
    Promise { from: usize, round: Round, lasting: bool },
    Release(Round),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    process: u8,
    rounds: u8,
    held: Option<Round>,
    /// Whether it took a promise back because its asker's process was gone.
    doubtful: bool,
    /// Who promised in the current round, and whether that outlasts restarts; nothing while it does not ask.
    promises: Option<BTreeSet<(usize, bool)>>,
    /// The cluster that it is a member of; 0 for none.
    cluster: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    nodes: Vec<Node>,
    wire: BTreeSet<Message>,
    founded: u8,
    restarts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Ask(usize),
    GiveUp(usize),
    Receive(usize, Message),
    /// It learns that its asker's process is gone, or, without the rule, just so.
    Forget(usize),
    Found(usize),
    /// It hears of the other's cluster.
    Join(usize, usize),
    Restart(usize),
}

impl ColdStart {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn is_enough(&self, promised: &BTreeSet<(usize, bool)>) -> bool {
        let majority = |of: usize| of / 2 + 1;
        let nodes = self.durable.len();
        let lasting = promised.iter().filter(|(_, lasting)| *lasting).count();
        let seeds_needed = if self.keeps(Rule::SeedsMajority) { majority(nodes) } else { 0 };
        promised.len() >= self.expect.max(nodes) || lasting >= majority(self.expect).max(seeds_needed)
    }

    /// Whether a promise of this node counts for a majority.
    fn lasts(&self, node: usize, doubtful: bool, asker: usize) -> bool {
        let forgotten = !self.durable[node] || !self.durable[asker];
        !(forgotten && self.keeps(Rule::LastingMajority) || doubtful && self.keeps(Rule::Doubt))
    }

    /// Whether by `round` its asker says that it does not count a promise to `held`. The process after one without a disk
    /// cannot say so, and has another id.
    fn ends(&self, held: Round, round: Round) -> bool {
        let later_process = round.process > held.process && self.durable[held.asker];
        let same_process = round.process == held.process && round.number >= held.number;
        round.asker == held.asker && (same_process || later_process)
    }

    fn round(&self, state: &State, asker: usize) -> Round {
        Round { asker, process: state.nodes[asker].process, number: state.nodes[asker].rounds }
    }

    /// Whether `message` does anything at `node`.
    fn matters(&self, state: &State, node: usize, message: Message) -> bool {
        let this = &state.nodes[node];
        match message {
            Message::Ask(round) => {
                let free = this.held.is_none_or(|held| held != round && self.ends(held, round));
                round.asker != node
                    && this.promises.is_none()
                    && (free || !self.keeps(Rule::OnePromise) && this.held != Some(round))
            }
            Message::Promise { from, round, .. } => {
                let mut current = self.round(state, node);
                if !self.keeps(Rule::CurrentRound) && round.number > 0 {
                    current.number = round.number;
                }
                let counted = this
                    .promises
                    .as_ref()
                    .is_none_or(|promises| promises.iter().any(|promise| promise.0 == from));
                current == round && !counted
            }
            Message::Release(round) => this.held.is_some_and(|held| self.ends(held, round)),
        }
    }

    fn receive(&self, state: &mut State, node: usize, message: Message) {
        match message {
            Message::Ask(round) => {
                let lasting = self.lasts(node, state.nodes[node].doubtful, round.asker);
                state.nodes[node].held = Some(round);
                state.wire.insert(Message::Promise { from: node, round, lasting });
            }
            Message::Promise { from, lasting, .. } => {
                if let Some(promises) = &mut state.nodes[node].promises {
                    promises.insert((from, lasting));
                }
            }
            Message::Release(_) => state.nodes[node].held = None,
        }
    }

    fn restart(&self, state: &mut State, node: usize) {
        state.restarts += 1;
        let this = &mut state.nodes[node];
        this.process += 1;
        this.rounds = 0;
        this.promises = None;
        this.held = this.held.filter(|held| self.durable[node] && held.asker != node);
        if !self.durable[node] {
            this.cluster = 0;
            this.doubtful = false;
        }
    }
}

impl Model for ColdStart {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let node = Node { process: 0, rounds: 0, held: None, doubtful: false, promises: None, cluster: 0 };
        let mut nodes = vec![node; self.durable.len()];
        if self.founded {
            for node in &mut nodes {
                node.held = Some(Round { asker: 0, process: 0, number: 1 });
            }
            nodes[0].rounds = 1;
            nodes[0].cluster = 1;
            nodes[1].cluster = 1;
        }
        vec![State { nodes, wire: BTreeSet::new(), founded: u8::from(self.founded), restarts: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (node, this) in state.nodes.iter().enumerate() {
            if state.restarts < self.restarts {
                actions.push(Action::Restart(node));
            }
            if this.cluster != 0 {
                continue;
            }
            let members = (0..state.nodes.len()).filter(|&other| state.nodes[other].cluster != 0);
            actions.extend(members.map(|other| Action::Join(node, other)));
            let messages = state.wire.iter().filter(|message| self.matters(state, node, **message));
            actions.extend(messages.map(|&message| Action::Receive(node, message)));
            match (&this.promises, this.held) {
                (Some(promises), _) => {
                    actions.push(Action::GiveUp(node));
                    if state.founded < FOUNDED_MAX && self.is_enough(promises) {
                        actions.push(Action::Found(node));
                    }
                }
                (None, Some(held)) => {
                    let asker = &state.nodes[held.asker];
                    let nothing_founded = asker.cluster == 0 || !self.keeps(Rule::AskTheDisk);
                    let known = !self.durable[held.asker] || nothing_founded;
                    if asker.process > held.process && known || !self.keeps(Rule::FreedByAsker) {
                        actions.push(Action::Forget(node));
                    }
                }
                (None, None) if this.rounds < self.rounds => actions.push(Action::Ask(node)),
                (None, None) => {}
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Ask(node) => {
                state.nodes[node].rounds += 1;
                let round = self.round(&state, node);
                state.nodes[node].held = Some(round);
                let lasting = self.lasts(node, state.nodes[node].doubtful, node);
                state.nodes[node].promises = Some(BTreeSet::from([(node, lasting)]));
                state.wire.insert(Message::Ask(round));
            }
            Action::GiveUp(node) => {
                state.wire.insert(Message::Release(self.round(&state, node)));
                state.nodes[node].promises = None;
                state.nodes[node].held = None;
            }
            Action::Receive(node, message) => self.receive(&mut state, node, message),
            Action::Forget(node) => {
                let this = &mut state.nodes[node];
                this.doubtful |= this.held.take().is_some_and(|held| !self.durable[held.asker]);
            }
            Action::Found(node) => {
                state.founded += 1;
                state.nodes[node].cluster = state.founded;
                state.nodes[node].promises = None;
            }
            Action::Join(node, other) => {
                state.nodes[node].cluster = state.nodes[other].cluster;
                state.nodes[node].promises = None;
            }
            Action::Restart(node) => self.restart(&mut state, node),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no two clusters are remembered", |_, state: &State| {
                let remembered = state.nodes.iter().map(|node| node.cluster).filter(|&cluster| cluster != 0);
                remembered.collect::<BTreeSet<u8>>().len() <= 1
            }),
            Property::sometimes("all are in one cluster", |_, state: &State| {
                state.nodes.iter().all(|node| node.cluster == 1)
            }),
            Property::sometimes("one founds after another gave up", |_, state: &State| {
                let gave_up = |message: &Message| matches!(message, Message::Release(_));
                state.founded == 1 && state.wire.iter().any(gave_up)
            }),
        ]
    }
}
