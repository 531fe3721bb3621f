//! Cold start: how nodes that know nothing but their seeds found one cluster, and never two.
//!
//! A node that sees a founded cluster joins it. Otherwise the lowest id among the seeds that are seen asks everybody for
//! a promise, and founds the cluster when enough have promised. A node promises to one asker at a time, itself included,
//! and only these free it:
//! - the asker gives its round up: it sees a lower id, or a founded cluster;
//! - a later process of the asker's id, which has the disk of the one before, says that nothing was founded;
//! - the asker keeps nothing on disk, is not seen, and another process is at its address (or that address is no seed's
//!   any more for [`Settings::patience_ms`]): what it knew is gone with it. Others may know that it founded, so that the
//!   promises of this node count like forgotten ones from then on.
//!
//! What is enough, when `expect` nodes are to come:
//! - promises that outlast restarts (asker and giver have a data directory): from `expect` nodes, after
//!   [`Settings::patience_ms`] from a majority of them, and from a majority of the seeds. Any two such sets share a node,
//!   and that node promises once;
//! - promises that a restart forgets count for that only when nobody is missing: `expect` nodes, every seed among them.
//!   A majority would not do: the one node that two majorities share may restart in between, promise again, and found a
//!   second cluster with those who were cut off from the first.
//!
//! To found takes a while: the voters must agree on it. If most of them are certainly gone before that, with what they knew,
//! the founder gives it up ([`Formation::give_up_founding`]) and goes on as one whose promises a restart forgets. It used to
//! wait for voters that nobody would ever be again, and all others for it.
//!
//! What no protocol can tell from a first start is that every seed forgot all and is cut off from everyone who remembers.
//! Nor does this help a cluster without disks of which most have restarted: the model finds that a second can be founded
//! while one node still remembers the first, which by then has no majority and is past saving.
//!
//! `tests/model/cold_start.rs` explores the rules of promises and shows that each is needed. That a founding may be given up is
//! tried by seeds in this module's tests, where founding takes its time.
//!
//! A pure state machine: time, the view of others and messages in, [`Output`]s out. Messages may be lost, repeated,
//! delayed and reordered. It holds at most one promise a node that it sees, and never answers a message with more than
//! one message to each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::id::{ClusterId, NodeId};
use super::voters::voters_for;

/// How long a majority waits for the missing, in ms.
pub const PATIENCE_MS: u64 = 30_000;
/// How often what got no answer is sent again, in ms.
pub const RETRY_MS: u64 = 500;

/// What a node knows of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its id.
    pub id: NodeId,
    /// Which of the id's processes this is; a later one has a higher number.
    pub incarnation: u64,
    /// Where other nodes reach it.
    pub address: SocketAddr,
    /// Whether [`Output::Remember`] outlasts the process.
    pub durable: bool,
    /// How many nodes are to come before a cluster is founded (`cluster-expect`); 0 means 1.
    pub expect: usize,
    /// How long a majority waits for the missing, in ms: [`PATIENCE_MS`].
    pub patience_ms: u64,
    /// How often what got no answer is sent again, in ms: [`RETRY_MS`].
    pub retry_ms: u64,
}

/// A node that is seen alive.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Which of the id's processes it is.
    pub incarnation: u64,
    /// Where it is reached.
    pub address: SocketAddr,
    /// The cluster of our name that it is a member of, if that is founded.
    pub founded: Option<ClusterId>,
}

/// What a node sees at a moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The other nodes that are alive; those of other cluster names are left out.
    pub peers: &'a [Peer],
    /// All addresses that the seeds' names stand for; none means that this node is the only seed.
    pub seeds: &'a [SocketAddr],
}

/// What nodes say to each other before there is a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Message {
    /// Asks for a promise.
    Ask {
        /// Counts what the asker's process began.
        round: u64,
        /// Whether the asker's state outlasts its process.
        durable: bool,
    },
    /// Promises to follow the asker and nobody else.
    Promise {
        /// Which process asked.
        incarnation: u64,
        /// In which round.
        round: u64,
        /// Whether the promise outlasts both processes.
        durable: bool,
    },
    /// Frees from a promise: the asker will never count it.
    Release {
        /// Which process had asked.
        incarnation: u64,
        /// Up to which round.
        round: u64,
    },
}

/// Who sent a message, as the transport knows it.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Its id.
    pub id: NodeId,
    /// Which of the id's processes.
    pub incarnation: u64,
    /// Where it is reached.
    pub address: SocketAddr,
}

/// What the next process of a node must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    held: Option<Held>,
    /// Whether it ever took a promise back without the asker's word: that asker may have founded.
    doubtful: bool,
}

/// To whom a node has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    asker: NodeId,
    incarnation: u64,
    round: u64,
    address: SocketAddr,
    durable: bool,
}

impl Held {
    /// Whether what `asker` says of this process and round of its means that it counts no earlier promise. Only on the
    /// same disk does a later process know that.
    fn is_ended_by(&self, asker: NodeId, incarnation: u64, round: u64) -> bool {
        let later_process = incarnation > self.incarnation && self.durable;
        let same_process = incarnation == self.incarnation && round >= self.round;
        asker == self.asker && (same_process || later_process)
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put this on disk, where there is one, before anything that follows; the next process starts with it.
    Remember(Memory),
    /// Send a message; it may be lost.
    Send {
        /// Which node.
        to: NodeId,
        /// Where it is.
        address: SocketAddr,
        /// What.
        message: Message,
    },
    /// Found the cluster; this is the last output, unless that is given up.
    Initialise {
        /// Who agrees on the table: 1, 3 or 5 nodes, this one first.
        voters: Vec<NodeId>,
        /// All who promised, by id.
        members: Vec<NodeId>,
        /// Whether nobody is missing: then an earlier founding, most of whose voters are not among the members, is over.
        complete: bool,
    },
    /// Join this cluster; this is the last output.
    Join {
        /// Which.
        cluster: ClusterId,
    },
}

/// The cold start of one process, until there is a cluster.
#[derive(Clone, Debug)]
pub struct Formation {
    me: Settings,
    started_ms: u64,
    /// When what got no answer is sent again.
    retry_at_ms: u64,
    /// When the one promised to was last seen.
    asker_seen_ms: u64,
    /// Rounds that this process began.
    rounds: u64,
    memory: Memory,
    /// Who promised in the current round, and whether durably; nothing while this node does not ask.
    promises: Option<BTreeMap<NodeId, bool>>,
    /// The voters of the cluster that this node is founding, and where they are.
    founding: Vec<(NodeId, SocketAddr)>,
    done: bool,
}

impl Formation {
    /// The start of a process at `now_ms`, with what the process before was last told to remember.
    pub fn new(me: Settings, remembered: Memory, now_ms: u64) -> Self {
        Self {
            me,
            started_ms: now_ms,
            retry_at_ms: now_ms,
            asker_seen_ms: now_ms,
            rounds: 0,
            memory: remembered,
            promises: None,
            founding: Vec::new(),
            done: false,
        }
    }

    /// Gives the founding that was begun up if most of its voters are certainly gone, with all that they knew: another
    /// process is at the address of each. Nothing if it can still come about. Otherwise the caller forgets what it has
    /// begun with the voters, does this, and goes on with [`Self::tick`].
    pub fn give_up_founding(&mut self, view: View<'_>) -> Option<Vec<Output>> {
        let is_gone = |&&(id, address): &&(NodeId, SocketAddr)| {
            let is_seen = id == self.me.id || view.peers.iter().any(|peer| peer.id == id);
            !is_seen && view.peers.iter().any(|peer| peer.address == address)
        };
        let left = self.founding.len() - self.founding.iter().filter(is_gone).count();
        if self.founding.is_empty() || 2 * left > self.founding.len() {
            return None;
        }
        let mut out = Vec::new();
        self.founding.clear();
        self.done = false;
        // Others may know of it, whatever is on disks: from here on nobody may be missing.
        self.memory.doubtful = true;
        self.give_up(view, &mut out);
        Some(out)
    }

    /// Looks at the view again: call it when that changes, and every [`Settings::retry_ms`].
    pub fn tick(&mut self, now_ms: u64, view: View<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        if self.done {
            return out;
        }
        if let Some(cluster) = founded(view) {
            self.give_up(view, &mut out);
            self.done = true;
            out.push(Output::Join { cluster });
            return out;
        }
        self.forget_the_gone(now_ms, view, &mut out);
        let lowest = self.is_lowest(view);
        if self.promises.is_some() && !lowest {
            self.give_up(view, &mut out);
        } else if self.promises.is_none() && lowest && self.memory.held.is_none() {
            self.begin(now_ms, &mut out);
        }
        self.repeat(now_ms, view, &mut out);
        self.found_if_enough(now_ms, view, &mut out);
        out
    }

    /// Takes a message in.
    pub fn receive(&mut self, now_ms: u64, view: View<'_>, from: Sender, message: Message) -> Vec<Output> {
        let mut out = Vec::new();
        if self.done || from.id == self.me.id {
            return out;
        }
        match message {
            Message::Ask { round, durable } => {
                let Sender { id, incarnation, address } = from;
                let asked = Held { asker: id, incarnation, round, address, durable };
                self.asked(now_ms, view, asked, &mut out);
            }
            Message::Promise { incarnation, round, durable } => {
                let current = incarnation == self.me.incarnation && round == self.rounds;
                match &mut self.promises {
                    Some(promises) if current => {
                        promises.insert(from.id, durable);
                        self.found_if_enough(now_ms, view, &mut out);
                    }
                    // A round that was given up. Of what a later process of this id began, this one knows nothing.
                    _ if (incarnation, round) <= (self.me.incarnation, self.rounds) => {
                        let message = Message::Release { incarnation, round };
                        out.push(Output::Send { to: from.id, address: from.address, message });
                    }
                    _ => {}
                }
            }
            Message::Release { incarnation, round } => {
                if self.memory.held.is_some_and(|held| held.is_ended_by(from.id, incarnation, round)) {
                    self.hold(None, &mut out);
                }
            }
        }
        out
    }

    /// What the cold start is waiting for, for people.
    pub fn waiting_for(&self, view: View<'_>) -> String {
        let seeds = self.seeds(view);
        let seen = |seed: &&SocketAddr| {
            **seed == self.me.address || view.peers.iter().any(|peer| peer.address == **seed)
        };
        let missing: Vec<String> =
            seeds.iter().filter(|seed| !seen(seed)).map(|seed| seed.to_string()).collect();
        let mut text = format!("{} of {} nodes seen", view.peers.len() + 1, self.me.expect.max(1));
        if !missing.is_empty() {
            text.push_str(&format!(", no node at the seeds {}", missing.join(" ")));
        }
        match (&self.promises, self.memory.held) {
            (Some(promises), _) => text.push_str(&format!(", {} have promised", promises.len() + 1)),
            (None, Some(held)) => {
                text.push_str(&format!(", promised to {} at {}", held.asker.short(), held.address));
            }
            (None, None) => {}
        }
        text
    }

    fn seeds(&self, view: View<'_>) -> BTreeSet<SocketAddr> {
        if view.seeds.is_empty() {
            return BTreeSet::from([self.me.address]);
        }
        view.seeds.iter().copied().collect()
    }

    /// Whether this node is a seed, and no seed with a lower id is seen.
    fn is_lowest(&self, view: View<'_>) -> bool {
        let seeds = self.seeds(view);
        let lower = |peer: &Peer| peer.id < self.me.id && seeds.contains(&peer.address);
        seeds.contains(&self.me.address) && !view.peers.iter().any(lower)
    }

    fn hold(&mut self, held: Option<Held>, out: &mut Vec<Output>) {
        if self.memory.held != held {
            self.memory.held = held;
            out.push(Output::Remember(self.memory));
        }
    }

    /// Whether a promise of this node to an asker that is `durable` or not can count for a majority.
    fn outlasts(&self, durable: bool) -> bool {
        durable && self.is_lasting()
    }

    /// Whether what this node says outlasts its process, for all that others need to know.
    fn is_lasting(&self) -> bool {
        self.me.durable && !self.memory.doubtful
    }

    /// Begins a round, by promising to itself.
    fn begin(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        self.rounds += 1;
        let Settings { id, incarnation, address, .. } = self.me;
        let durable = self.is_lasting();
        self.hold(Some(Held { asker: id, incarnation, round: self.rounds, address, durable }), out);
        self.promises = Some(BTreeMap::new());
        self.retry_at_ms = now_ms;
    }

    /// Ends the round, so that its promises never count, and frees those who gave them. One whose promise is still on
    /// its way, or whom this does not reach, sends its promise again and is answered then.
    fn give_up(&mut self, view: View<'_>, out: &mut Vec<Output>) {
        let Some(promises) = self.promises.take() else {
            return;
        };
        self.hold(None, out);
        let message = Message::Release { incarnation: self.me.incarnation, round: self.rounds };
        for peer in view.peers.iter().filter(|peer| promises.contains_key(&peer.id)) {
            out.push(Output::Send { to: peer.id, address: peer.address, message });
        }
    }

    fn asked(&mut self, now_ms: u64, view: View<'_>, asked: Held, out: &mut Vec<Output>) {
        if founded(view).is_some() {
            return;
        }
        if self.promises.is_some() && asked.asker < self.me.id {
            self.give_up(view, out);
        }
        self.forget_the_gone(now_ms, view, out);
        let accept = match self.memory.held {
            None => true,
            // The same round, or a later one of an asker that has given the earlier one up.
            Some(held) => held.is_ended_by(asked.asker, asked.incarnation, asked.round),
        };
        if accept {
            self.asker_seen_ms = now_ms;
            self.hold(Some(asked), out);
            self.send_promise(asked, out);
        }
    }

    fn send_promise(&self, held: Held, out: &mut Vec<Output>) {
        let Held { asker, incarnation, round, address, durable } = held;
        let message = Message::Promise { incarnation, round, durable: self.outlasts(durable) };
        out.push(Output::Send { to: asker, address, message });
    }

    /// Forgets the promise to an asker whose process, and all it knew, is certainly gone. One that has a disk is asked
    /// instead, by repeating the promise.
    fn forget_the_gone(&mut self, now_ms: u64, view: View<'_>, out: &mut Vec<Output>) {
        let Some(held) = self.memory.held else {
            return;
        };
        if held.asker == self.me.id {
            if self.promises.is_none() {
                self.hold(None, out);
            }
        } else if view.peers.iter().any(|peer| peer.id == held.asker) {
            self.asker_seen_ms = now_ms;
        } else if !held.durable {
            let replaced = view.peers.iter().any(|peer| peer.address == held.address);
            let unseen_ms = now_ms.saturating_sub(self.asker_seen_ms);
            let moved = !self.seeds(view).contains(&held.address) && unseen_ms >= self.me.patience_ms;
            if replaced || moved {
                self.memory.doubtful = true;
                self.hold(None, out);
            }
        }
    }

    /// Sends again what got no answer: an asker asks those who have not promised, others repeat their promise, which
    /// finds out whether it is still wanted.
    fn repeat(&mut self, now_ms: u64, view: View<'_>, out: &mut Vec<Output>) {
        if now_ms < self.retry_at_ms {
            return;
        }
        self.retry_at_ms = now_ms + self.me.retry_ms;
        match (&self.promises, self.memory.held) {
            (Some(promises), _) => {
                let message = Message::Ask { round: self.rounds, durable: self.is_lasting() };
                for peer in view.peers.iter().filter(|peer| !promises.contains_key(&peer.id)) {
                    out.push(Output::Send { to: peer.id, address: peer.address, message });
                }
            }
            (None, Some(held)) => {
                let peer = view.peers.iter().find(|peer| peer.id == held.asker);
                let address = peer.map_or(held.address, |peer| peer.address);
                self.send_promise(Held { address, ..held }, out);
            }
            (None, None) => {}
        }
    }

    fn found_if_enough(&mut self, now_ms: u64, view: View<'_>, out: &mut Vec<Output>) {
        let Some(promises) = &self.promises else {
            return;
        };
        if founded(view).is_some() {
            return;
        }
        // Only who is still seen counts: a process that is gone can neither vote nor keep its word.
        let mut promised = vec![(self.me.id, self.me.address, self.outlasts(self.me.durable))];
        promised.extend(
            view.peers
                .iter()
                .filter_map(|peer| promises.get(&peer.id).map(|&durable| (peer.id, peer.address, durable))),
        );
        let waited_ms = now_ms.saturating_sub(self.started_ms);
        let seeds = self.seeds(view);
        let expect = self.me.expect.max(1);
        if !is_enough(&promised, &seeds, expect, waited_ms >= self.me.patience_ms) {
            return;
        }
        let complete = is_complete(&promised, &seeds, expect);
        // This node first, which has the log, then seeds, whose promise any other asker would need.
        let mut voters = promised.clone();
        voters.sort_by_key(|&(id, address, _)| (id != self.me.id, !seeds.contains(&address), id));
        voters.truncate(voters_for(promised.len()));
        let mut members: Vec<NodeId> = promised.iter().map(|&(id, ..)| id).collect();
        members.sort_unstable();
        self.done = true;
        self.founding = voters.into_iter().map(|(id, address, _)| (id, address)).collect();
        let voters = self.founding.iter().map(|(id, _)| *id).collect();
        out.push(Output::Initialise { voters, members, complete });
    }
}

/// Whether these nodes, by id, address and whether their promise outlasts a restart, may found a cluster.
fn is_enough(
    promised: &[(NodeId, SocketAddr, bool)],
    seeds: &BTreeSet<SocketAddr>,
    expect: usize,
    waited: bool,
) -> bool {
    let lasting = promised.iter().filter(|&&(_, _, durable)| durable);
    let seeds_lasting = covered(lasting.clone(), seeds);
    let majority = |of: usize| of / 2 + 1;
    let needed = if waited { majority(expect) } else { expect };
    is_complete(promised, seeds, expect)
        || (lasting.count() >= needed && seeds_lasting >= majority(seeds.len()))
}

/// Whether nobody is missing among these nodes.
fn is_complete(promised: &[(NodeId, SocketAddr, bool)], seeds: &BTreeSet<SocketAddr>, expect: usize) -> bool {
    promised.len() >= expect && covered(promised.iter(), seeds) == seeds.len()
}

/// Seeds that are among these nodes.
fn covered<'a>(
    promised: impl Iterator<Item = &'a (NodeId, SocketAddr, bool)>,
    seeds: &BTreeSet<SocketAddr>,
) -> usize {
    let addresses: BTreeSet<SocketAddr> = promised.map(|&(_, address, _)| address).collect();
    seeds.intersection(&addresses).count()
}

/// The founded cluster that most peers are members of, if any; the lowest of equals.
pub fn founded(view: View<'_>) -> Option<ClusterId> {
    let mut members: BTreeMap<u128, usize> = BTreeMap::new();
    for cluster in view.peers.iter().filter_map(|peer| peer.founded).filter(|cluster| cluster.is_founded()) {
        *members.entry(cluster.0).or_default() += 1;
    }
    members.into_iter().max_by_key(|&(id, count)| (count, std::cmp::Reverse(id))).map(|(id, _)| ClusterId(id))
}

#[cfg(test)]
mod tests;
