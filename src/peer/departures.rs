//! Moves away from this node: copy while clients go on, send what changed, hold the slots for the last of it, hand over.
//!
//! The slots are held only from when little is left to send, and for `HOLD_MS` at most until the target has all; if
//! that is not enough they are served again and it is tried later. Once the hand-over was proposed they stay held until
//! the table tells what became of it: nobody else can know whether this node still owns them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::message::{Answer, Ask};
use super::node::Node;
use crate::base::lock::Mutex;
use crate::base::slot::Slot;
use crate::cluster::route::SlotSet;
use crate::cluster::table::{Change, Move};
use crate::hub::cluster::count;
use crate::store::departure::{Departure, Export};

/// Bytes of records in one message, about.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Longest that a message of records waits for its answer.
const ANSWER_MS: u64 = 10_000;
/// Longest that slots are held before the hand-over is proposed.
const HOLD_MS: u64 = 200;
/// Changed keys that may be left when the slots are held.
const CHANGES_LEFT_MAX: usize = 256;
/// Rounds of sending changes before the slots are held all the same, and attempts to hold them.
const ROUNDS_MAX: usize = 50;
const HOLDS_MAX: usize = 10;
/// Longest that the target is asked to make the slots ready.
const OPEN_MS: u64 = 10_000;
/// Pause before something is tried again.
const RETRY_MS: u64 = 20;

/// How far the moves away from this node are.
#[derive(Default)]
pub struct Departures {
    under_way: Mutex<BTreeMap<u64, Progress>>,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Keys that were sent.
    pub keys: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// When it began, in Unix ms.
    pub began_ms: u64,
}

impl Departures {
    /// Moves under way, by id.
    pub fn progress(&self) -> BTreeMap<u64, Progress> {
        self.under_way.lock().clone()
    }
}

/// Carries out the moves that the table in force wants of this node, as they come.
pub async fn run(node: Arc<Node>) {
    let mut installed = node.ground().installed();
    loop {
        let table = node.ground().table();
        let own =
            |movement: &&Move| movement.from == node.id() && movement.from_incarnation == node.incarnation();
        for movement in table.moves.iter().filter(own) {
            let began_ms = node.hub().clock.wall_ms();
            let progress = Progress { keys: 0, bytes: 0, began_ms };
            let mut under_way = node.departures().under_way.lock();
            if let Entry::Vacant(place) = under_way.entry(movement.id) {
                place.insert(progress);
                tokio::spawn(carry(Arc::clone(&node), *movement));
            }
        }
        if installed.changed().await.is_err() {
            return;
        }
    }
}

/// One move, from its beginning to its end.
async fn carry(node: Arc<Node>, movement: Move) {
    let slots: Vec<Slot> = (movement.start..=movement.end).filter_map(Slot::new).collect();
    let mut set = SlotSet::default();
    slots.iter().for_each(|slot| set.insert(*slot));
    let counters = &node.hub().cluster.counters;
    match hand_over(&node, &movement, &slots, &set).await {
        Ok(()) => count(&counters.moves_committed),
        Err(why) => {
            count(&counters.moves_cancelled);
            tracing::info!(
                "the move of slots {}-{} to node {} is cancelled: {why}",
                movement.start,
                movement.end,
                movement.to.short()
            );
            cancel(&node, movement.id).await;
        }
    }
    // Kept until the table in force no longer has the move, lest it be begun again.
    let mut installed = node.ground().installed();
    while is_under_way(&node, movement.id) && installed.changed().await.is_ok() {}
    node.departures().under_way.lock().remove(&movement.id);
}

fn is_under_way(node: &Node, id: u64) -> bool {
    node.ground().table().moves.iter().any(|movement| movement.id == id)
}

async fn cancel(node: &Arc<Node>, id: u64) {
    while is_under_way(node, id) {
        if node.propose(Change::Cancel { id }).await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

async fn hand_over(node: &Arc<Node>, movement: &Move, slots: &[Slot], set: &SlotSet) -> Result<(), String> {
    open(node, movement).await?;
    let keyspace = &node.hub().keyspace;
    let mut departure =
        Departure::begin(keyspace, slots).ok_or("too many moves leave from the same shard at once")?;
    let mut sender = Sender {
        node,
        movement,
        export: Export::default(),
        buffer: Vec::new(),
        messages: 0,
        is_broken: false,
        held_at_ns: 0,
    };
    let outcome = send_and_hold(&mut sender, &mut departure, set).await;
    let outcome = match outcome {
        Ok(()) => settle(&sender, set).await,
        Err(why) => Err(why),
    };
    departure.end(keyspace);
    outcome
}

/// Has the target make the slots ready. It may hear of the move a little later than this node.
async fn open(node: &Arc<Node>, movement: &Move) -> Result<(), String> {
    let deadline_ns = node.clock().boot_ns() + OPEN_MS * 1_000_000;
    loop {
        let timeout = Duration::from_millis(ANSWER_MS);
        let reply = node.post().ask_bulk(movement.to, &Ask::Open { id: movement.id }, &[], timeout).await;
        let why = match reply.map(|reply| reply.answer) {
            Ok(Answer::Done) => return Ok(()),
            Ok(Answer::Refused(why)) | Err(why) => why,
            Ok(answer) => format!("unexpected answer {answer:?}"),
        };
        if node.clock().boot_ns() >= deadline_ns || !is_under_way(node, movement.id) {
            return Err(why);
        }
        sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

/// Sends everything; when it returns without an error the slots are held and the target has all their keys.
async fn send_and_hold(
    sender: &mut Sender<'_>,
    departure: &mut Departure,
    set: &SlotSet,
) -> Result<(), String> {
    let node = sender.node;
    let mut why = "scripts were at work in the slots all the time".to_owned();
    for _ in 0..HOLDS_MAX {
        sender.send_all(departure).await?;
        // A script that is inside goes on to its end, and who is not in its way is served meanwhile.
        while is_reserved(node, set) && is_under_way(node, sender.movement.id) {
            sleep(Duration::from_millis(RETRY_MS)).await;
        }
        if !node.ground().hold(set) {
            return Err("the slots are not served here".to_owned());
        }
        sender.held_at_ns = node.clock().mono_ns();
        if is_reserved(node, set) {
            sender.resume(set);
            continue;
        }
        match timeout(Duration::from_millis(HOLD_MS), sender.send_last(departure)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => why = error,
            Err(_) => why = format!("the target did not have all after {HOLD_MS} ms"),
        }
        sender.resume(set);
        if sender.is_broken {
            return Err(why);
        }
        sleep(Duration::from_millis(RETRY_MS)).await;
    }
    Err(why)
}

/// Whether a script is at work in a shard of these slots without holding its lock.
fn is_reserved(node: &Node, set: &SlotSet) -> bool {
    let keyspace = &node.hub().keyspace;
    let reserved = keyspace.reserved();
    reserved != 0 && set.iter().any(|slot| reserved >> keyspace.layout().shard_of(slot) & 1 != 0)
}

/// Proposes the hand-over until it is known what became of it; the slots are held meanwhile.
async fn settle(sender: &Sender<'_>, set: &SlotSet) -> Result<(), String> {
    let Sender { node, movement, .. } = *sender;
    while is_under_way(node, movement.id) {
        match node.propose(Change::Commit { id: movement.id }).await {
            Ok(Ok(version)) => node.wait_for_version(version).await,
            // It is over already; how, the table will say.
            Ok(Err(_)) => node.refresh_table().await,
            Err(_) => sleep(Duration::from_millis(RETRY_MS)).await,
        }
    }
    let table = node.ground().table();
    let run = table.run_of(movement.start).map(|run| run.by_move);
    sender.resume(set);
    if run == Some(movement.id) { Ok(()) } else { Err("the cluster has given it up".to_owned()) }
}

/// Records on their way to the target, in order.
struct Sender<'a> {
    node: &'a Arc<Node>,
    movement: &'a Move,
    export: Export,
    buffer: Vec<u8>,
    messages: u64,
    /// A message was lost: what the target has is unknown.
    is_broken: bool,
    /// Since when the slots are held, on the monotonic clock.
    held_at_ns: u64,
}

impl Sender<'_> {
    /// Holds the slots no longer, and notes for how long they were.
    fn resume(&self, set: &SlotSet) {
        self.node.ground().resume(set);
        self.node.hub().cluster.note_hold(self.node.clock().mono_ns().saturating_sub(self.held_at_ns));
    }

    /// Sends what is to be walked, and what changes meanwhile, until little is left.
    async fn send_all(&mut self, departure: &mut Departure) -> Result<(), String> {
        let node = Arc::clone(self.node);
        let keyspace = &node.hub().keyspace;
        for _ in 0..ROUNDS_MAX {
            while departure.is_walking() {
                departure.walk_step(keyspace, node.hub().clock.wall_ms(), &mut self.export);
                self.send(MESSAGE_BYTES).await?;
                yield_now().await;
            }
            let changes = departure.changes_left(keyspace);
            if changes <= CHANGES_LEFT_MAX && !departure.is_walking() {
                return self.send(1).await;
            }
            let mut left = changes;
            while left > 0 && departure.change_step(keyspace, node.hub().clock.wall_ms(), &mut self.export) {
                self.send(MESSAGE_BYTES).await?;
                left = left.saturating_sub(CHANGES_LEFT_MAX / 2);
                yield_now().await;
            }
            self.send(1).await?;
        }
        Ok(())
    }

    /// Sends the last changes of held slots, and that they were the last.
    async fn send_last(&mut self, departure: &mut Departure) -> Result<(), String> {
        let node = Arc::clone(self.node);
        let keyspace = &node.hub().keyspace;
        loop {
            let now_ms = node.hub().clock.wall_ms();
            let changed = departure.change_step(keyspace, now_ms, &mut self.export);
            let walked = departure.is_walking();
            if walked {
                departure.walk_step(keyspace, now_ms, &mut self.export);
            }
            self.send(if changed || walked { MESSAGE_BYTES } else { 1 }).await?;
            if !changed && !walked {
                break;
            }
        }
        self.ask(&Ask::Close { id: self.movement.id, messages: self.messages }, &[]).await
    }

    /// Sends messages as long as there are at least `least` bytes for one.
    async fn send(&mut self, least: usize) -> Result<(), String> {
        loop {
            let more = self.export.fill(&mut self.buffer, MESSAGE_BYTES);
            if self.buffer.len() < least || self.buffer.is_empty() {
                return Ok(());
            }
            let records = std::mem::take(&mut self.buffer);
            let ask = Ask::Records { id: self.movement.id, sequence: self.messages };
            self.ask(&ask, &records).await?;
            self.messages += 1;
            self.note(records.len());
            self.buffer = records;
            self.buffer.clear();
            if !more && self.export.is_empty() {
                return Ok(());
            }
        }
    }

    async fn ask(&mut self, ask: &Ask, tail: &[u8]) -> Result<(), String> {
        // Until the answer is here, what the target has is unknown.
        let broken = std::mem::replace(&mut self.is_broken, true);
        if broken {
            return Err("a message was lost".to_owned());
        }
        let timeout = Duration::from_millis(ANSWER_MS);
        let reply = self.node.post().ask_bulk(self.movement.to, ask, tail, timeout).await?;
        match reply.answer {
            Answer::Done => {
                self.is_broken = false;
                Ok(())
            }
            Answer::Refused(why) => Err(why),
            answer => Err(format!("unexpected answer {answer:?}")),
        }
    }

    fn note(&self, bytes: usize) {
        let counters = &self.node.hub().cluster.counters;
        counters.moved_bytes.fetch_add(bytes as u64, Relaxed);
        let mut under_way = self.node.departures().under_way.lock();
        if let Some(progress) = under_way.get_mut(&self.movement.id) {
            let keys = self.export.entries();
            counters.moved_keys.fetch_add(keys.saturating_sub(progress.keys), Relaxed);
            progress.keys = keys;
            progress.bytes += bytes as u64;
        }
    }
}
