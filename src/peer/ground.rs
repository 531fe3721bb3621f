//! The ground this node stands on: which slots it may serve, by the newest table it has and by the keys it holds.
//!
//! A slot is served when the table gives it to this node *and* its keys are those of that ownership: it came by a move
//! that arrived here whole, or it came empty and is empty here, or it has been served under the same epoch all along.
//! Whatever else lies in a slot is stale: it is emptied, in small steps, and before that the slot is not served. A slot
//! that is lost is withdrawn, and no command is inside it any more, before clients are told of its new owner; who is
//! subscribed to its shard channels is then told that this has ended.
//!
//! All of it changes under one lock, which is never held over an await and is taken before any shard's.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::base::lock::Mutex;
use crate::base::slot::{SLOT_COUNT, Slot};
use crate::cluster::id::NodeId;
use crate::cluster::route::{SlotSet, View};
use crate::cluster::table::Table;
use crate::hub::Hub;
use crate::store::departure::CLEARED_A_STEP;

/// Stale slots that are looked at in one step, as long as they are empty.
const CLEANED_A_STEP: usize = 256;

/// The ground; see the module.
pub struct Ground {
    hub: Arc<Hub>,
    me: NodeId,
    state: Mutex<State>,
    /// Generation and version of the table that is in force here.
    installed: watch::Sender<(u32, u64)>,
    /// Told when there are stale slots.
    pub stale: Notify,
}

struct State {
    view: Arc<View>,
    /// For each slot the epoch of the ownership that its keys belong to; 0 for none.
    epochs: Vec<u64>,
    /// Slots that may hold keys of no present ownership.
    stale: SlotSet,
    /// Slots held back by moves that leave from here.
    held: SlotSet,
    /// Slots that arrive, by move.
    arriving: BTreeMap<u64, Arriving>,
}

struct Arriving {
    slots: Vec<Slot>,
    complete: bool,
}

impl Ground {
    /// The ground of a node that holds no keys yet.
    pub fn new(hub: Arc<Hub>, me: NodeId) -> Self {
        let state = State {
            view: Arc::new(View::new(Arc::default(), me)),
            epochs: vec![0; SLOT_COUNT],
            stale: SlotSet::default(),
            held: SlotSet::default(),
            arriving: BTreeMap::new(),
        };
        Self {
            hub,
            me,
            state: Mutex::new(state),
            installed: watch::Sender::new((0, 0)),
            stale: Notify::new(),
        }
    }

    /// Generation and version of the table that is in force here.
    pub fn installed(&self) -> watch::Receiver<(u32, u64)> {
        self.installed.subscribe()
    }

    /// The table that is in force here.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.state.lock().view.table)
    }

    /// Puts a newer table in force; an older one changes nothing.
    pub fn install(&self, table: Arc<Table>) {
        let mut state = self.state.lock();
        if table.stamp() <= state.view.table.stamp() {
            return;
        }
        let view = Arc::new(View::new(Arc::clone(&table), self.me));
        let lost = self.lose(&mut state, &view);
        self.withdraw(&lost);
        // What is left in them is nobody's: DBSIZE and SCAN must not show it until it is gone.
        lost.iter().for_each(|slot| self.hub.keyspace.hide_slot(slot));
        if !lost.is_empty() {
            self.hub.lose_cached(|slot| lost.contains(slot));
        }
        self.hub.cluster.routes.set_holding(!state.held.is_empty());
        self.hub.cluster.routes.show(Arc::clone(&view));
        state.view = view;
        self.end_arrivals(&mut state);
        let gained = self.gain(&mut state);
        self.hub.cluster.routes.serve(&gained);
        if !state.stale.is_empty() {
            self.stale.notify_one();
        }
        drop(state);
        self.end_shards(&lost);
        self.installed.send_replace(table.stamp());
        self.hub.cluster.release();
        self.hub.blocked.try_again();
    }

    /// Ends the subscriptions to shard channels of slots that are not served here. What is taken from this node is not
    /// given back before this returns: all that changes the ground runs on one thread.
    pub fn end_shards(&self, lost: &SlotSet) {
        let limits = self.hub.config.load().client_output_buffer_limit;
        let now_ms = self.hub.clock.wall_ms();
        let ended = self.hub.pubsub.end_shards(|slot| lost.contains(slot), &limits, now_ms);
        if ended > 0 {
            tracing::debug!("{ended} subscriptions to shard channels ended with their slots");
        }
    }

    /// Slots whose keys here are no longer those of their ownership.
    fn lose(&self, state: &mut State, view: &View) -> SlotSet {
        let mut lost = SlotSet::default();
        for slot in all_slots() {
            let number = slot.number() as usize;
            let epoch = match view.table.run_of(slot.number()) {
                Some(run) if view.is_mine(slot) => run.epoch,
                _ => 0,
            };
            if state.epochs[number] != 0 && state.epochs[number] != epoch {
                state.epochs[number] = 0;
                state.held.remove(slot);
                state.stale.insert(slot);
                lost.insert(slot);
            }
        }
        lost
    }

    /// Forgets arrivals whose moves are over; what they left belongs to nobody, unless this node owns it now.
    fn end_arrivals(&self, state: &mut State) {
        let State { view, arriving, epochs, stale, .. } = state;
        let table = &view.table;
        arriving.retain(|id, arrival| {
            if table.moves.iter().any(|movement| movement.id == *id) {
                return true;
            }
            self.hub.cluster.routes.expect(&set_of(&arrival.slots), false);
            for &slot in &arrival.slots {
                let run = table.run_of(slot.number()).filter(|run| run.by_move == *id && view.is_mine(slot));
                match run {
                    Some(run) if arrival.complete => {
                        epochs[slot.number() as usize] = run.epoch;
                        self.hub.keyspace.show_slot(slot);
                    }
                    _ => stale.insert(slot),
                }
            }
            false
        });
    }

    /// Slots that may be served from now on.
    fn gain(&self, state: &mut State) -> SlotSet {
        let mut gained = SlotSet::default();
        let State { view, epochs, stale, held, arriving } = state;
        for slot in all_slots().filter(|slot| view.is_mine(*slot)) {
            let Some(run) = view.table.run_of(slot.number()) else { continue };
            let number = slot.number() as usize;
            let arrives = || arriving.values().any(|arrival| arrival.slots.contains(&slot));
            if epochs[number] != run.epoch && !stale.contains(slot) && !arrives() {
                // Whatever it was owned for, it is empty here.
                epochs[number] = run.epoch;
            }
            if epochs[number] == run.epoch && !held.contains(slot) {
                gained.insert(slot);
            }
        }
        gained
    }

    /// Empties stale slots a little; says whether there is more to do.
    pub fn clean_step(&self) -> bool {
        let mut state = self.state.lock();
        let stale: Vec<Slot> = state.stale.iter().take(CLEANED_A_STEP).collect();
        let mut mine = false;
        for slot in stale {
            let was_empty = self.hub.keyspace.clear_slot(slot, 0);
            if !was_empty && !self.hub.keyspace.clear_slot(slot, CLEARED_A_STEP) {
                break;
            }
            state.stale.remove(slot);
            self.hub.keyspace.show_slot(slot);
            mine |= state.view.is_mine(slot);
            if !was_empty {
                break;
            }
        }
        let more = !state.stale.is_empty();
        if mine {
            let gained = self.gain(&mut state);
            self.hub.cluster.routes.serve(&gained);
            drop(state);
            self.hub.cluster.release();
            self.hub.blocked.try_again();
        }
        more
    }

    /// Holds slots back: when it returns, no command is inside them, and none enters. False if one of them is not
    /// served here.
    pub fn hold(&self, slots: &SlotSet) -> bool {
        let mut state = self.state.lock();
        let served = self.hub.cluster.routes.served();
        if !slots.iter().all(|slot| served.contains(slot)) {
            return false;
        }
        slots.iter().for_each(|slot| state.held.insert(slot));
        self.hub.cluster.routes.set_holding(true);
        self.withdraw(slots);
        true
    }

    /// Serves slots again that were held back, as far as they are still this node's.
    pub fn resume(&self, slots: &SlotSet) {
        let mut state = self.state.lock();
        slots.iter().for_each(|slot| state.held.remove(slot));
        self.hub.cluster.routes.set_holding(!state.held.is_empty());
        let gained = self.gain(&mut state);
        self.hub.cluster.routes.serve(&gained);
        drop(state);
        self.hub.cluster.release();
        self.hub.blocked.try_again();
    }

    /// Makes way for slots that are to arrive by a move, and says which; nothing if the table in force has no such move
    /// to this node. They must then be emptied by [`Ground::empty_step`] before anything arrives in them.
    pub fn expect_arrival(&self, id: u64) -> Option<Vec<Slot>> {
        let mut state = self.state.lock();
        let movement = state.view.table.moves.iter().find(|movement| movement.id == id).copied()?;
        if movement.to != self.me {
            return None;
        }
        let slots: Vec<Slot> = (movement.start..=movement.end).filter_map(Slot::new).collect();
        for &slot in &slots {
            // From here on the arrival itself sees to it.
            state.stale.remove(slot);
        }
        state.arriving.insert(id, Arriving { slots: slots.clone(), complete: false });
        Some(slots)
    }

    /// Empties the slots of an arrival a little: nothing if there is no such arrival, else whether they are empty and
    /// shown, as an arrival wants them.
    pub fn empty_step(&self, id: u64) -> Option<bool> {
        let state = self.state.lock();
        let arrival = state.arriving.get(&id).filter(|arrival| !arrival.complete)?;
        let keyspace = &self.hub.keyspace;
        let empty = arrival.slots.iter().all(|&slot| keyspace.clear_slot(slot, CLEARED_A_STEP));
        if empty {
            arrival.slots.iter().for_each(|&slot| keyspace.show_slot(slot));
        }
        Some(empty)
    }

    /// Notes whether a move has arrived whole: if so once the table gives this node its slots, they are served with
    /// these keys. False if there is no such arrival.
    pub fn set_arrived(&self, id: u64, complete: bool) -> bool {
        match self.state.lock().arriving.get_mut(&id) {
            Some(arrival) => {
                if arrival.complete != complete {
                    arrival.complete = complete;
                    self.hub.cluster.routes.expect(&set_of(&arrival.slots), complete);
                }
                true
            }
            None => false,
        }
    }

    /// Takes slots out of service and waits until no command is inside them: a command looks at its slot under its
    /// shard's lock, so whoever gets the lock next is outside.
    fn withdraw(&self, slots: &SlotSet) {
        if slots.is_empty() {
            return;
        }
        self.hub.cluster.routes.withdraw(slots);
        let layout = self.hub.keyspace.layout();
        let shards = slots.iter().fold(0u64, |shards, slot| shards | 1 << layout.shard_of(slot));
        for shard in (0..layout.shards()).filter(|shard| shards >> shard & 1 != 0) {
            drop(self.hub.keyspace.lock(shard));
        }
    }
}

fn set_of(slots: &[Slot]) -> SlotSet {
    let mut set = SlotSet::default();
    slots.iter().for_each(|slot| set.insert(*slot));
    set
}

fn all_slots() -> impl Iterator<Item = Slot> {
    (0..SLOT_COUNT as u16).filter_map(Slot::new)
}
