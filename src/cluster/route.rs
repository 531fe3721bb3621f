//! What a command asks before it runs: is the slot served here, and does this node's lease hold?
//!
//! The hot path reads two atomics: a bit of the slot and the end of the lease. Whoever takes a slot away clears its bit
//! and then takes and releases its shard's lock once; a command looks at the bit under that lock, so afterwards none is
//! inside. Everything else (where a foreign slot is, what the table says) is behind [`Routes::view`], read off the hot
//! path.
//!
//! A slot whose bit is clear although the view says that this node owns it is *held*: its commands wait until it is
//! served or elsewhere.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::id::NodeId;
use super::place::NO_OWNER;
use super::table::{Member, Side, Table};
use crate::base::lock::RwLock;
use crate::base::slot::{SLOT_COUNT, Slot};

const WORDS: usize = SLOT_COUNT / 64;

/// Replies that are made once for a table: by kind, protocol and side.
pub const RENDERED_KINDS: usize = 12;

/// The table as this node shows it and routes by it.
#[derive(Debug)]
pub struct View {
    /// The table.
    pub table: Arc<Table>,
    /// This node.
    pub me: NodeId,
    owners: Vec<u16>,
    /// Replies made from this view, filled by the commands that show it.
    pub rendered: [OnceLock<Bytes>; RENDERED_KINDS],
}

impl View {
    /// The view of a table from one of its nodes.
    pub fn new(table: Arc<Table>, me: NodeId) -> Self {
        let owners = table.owners();
        Self { table, me, owners, rendered: Default::default() }
    }

    /// The member that owns a slot.
    pub fn owner(&self, slot: Slot) -> Option<&Member> {
        match self.owners[slot.number() as usize] {
            NO_OWNER => None,
            at => self.table.members.get(at as usize),
        }
    }

    /// Whether this node owns the slot by the table.
    pub fn is_mine(&self, slot: Slot) -> bool {
        self.owner(slot).is_some_and(|owner| owner.id == self.me)
    }
}

/// Where a slot's commands are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Here,
    /// Here soon, or elsewhere soon: wait.
    Held,
    /// At this host and port.
    Elsewhere(String, u16),
    /// Nowhere that this node knows of.
    Nowhere,
}

/// Slots as a set, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSet([u64; WORDS]);

impl Default for SlotSet {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl SlotSet {
    /// All slots.
    pub fn all() -> Self {
        Self([u64::MAX; WORDS])
    }

    /// Adds a slot.
    pub fn insert(&mut self, slot: Slot) {
        self.0[slot.number() as usize / 64] |= 1 << (slot.number() % 64);
    }

    /// Takes a slot out.
    pub fn remove(&mut self, slot: Slot) {
        self.0[slot.number() as usize / 64] &= !(1 << (slot.number() % 64));
    }

    /// Whether a slot is in it.
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[slot.number() as usize / 64] >> (slot.number() % 64) & 1 != 0
    }

    /// Number of slots in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it has no slot.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether a slot is in both.
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(own, others)| own & others != 0)
    }

    /// Its slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..SLOT_COUNT as u16).filter_map(Slot::new).filter(|slot| self.contains(*slot))
    }
}

/// What this node serves, and for how long; see the module.
#[derive(Debug)]
pub struct Routes {
    clustered: bool,
    served: Box<[AtomicU64]>,
    /// Slots that have arrived here whole and are about to be this node's.
    expected: Box<[AtomicU64]>,
    /// End of the lease on the clock that counts suspended time; `u64::MAX` where there is no cluster.
    lease_until_ns: AtomicU64,
    /// Whether slots are held because they are about to be handed over.
    holding: AtomicBool,
    view: RwLock<Arc<View>>,
    /// How many views there were; never 0.
    generation: AtomicU64,
}

impl Routes {
    /// The routes of a server that is no cluster's member: it serves everything, for ever.
    pub fn standalone() -> Self {
        Self::with(false, u64::MAX)
    }

    /// The routes of a node that has not joined yet: it serves nothing.
    pub fn clustered() -> Self {
        Self::with(true, 0)
    }

    fn with(clustered: bool, bits: u64) -> Self {
        Self {
            clustered,
            served: (0..WORDS).map(|_| AtomicU64::new(bits)).collect(),
            expected: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            lease_until_ns: AtomicU64::new(bits),
            holding: AtomicBool::new(false),
            view: RwLock::new(Arc::new(View::new(Arc::default(), NodeId::default()))),
            generation: AtomicU64::new(1),
        }
    }

    /// Whether this server is, or wants to be, a cluster's member.
    #[inline]
    pub fn is_clustered(&self) -> bool {
        self.clustered
    }

    /// Whether the slot's commands are served here. To be asked under the lock of the slot's shard.
    #[inline]
    pub fn serves(&self, slot: Slot) -> bool {
        let number = slot.number();
        self.served[number as usize / 64].load(Ordering::Acquire) >> (number % 64) & 1 != 0
    }

    /// Whether the lease holds at `boot_ns`.
    #[inline]
    pub fn is_leased(&self, boot_ns: u64) -> bool {
        boot_ns < self.lease_until_ns.load(Ordering::Acquire)
    }

    /// Whether slots are held because they are about to be handed over: a command that changes all keys of the node
    /// waits, lest the change be lost between the two owners. To be asked under all shards' locks.
    #[inline]
    pub fn is_holding(&self) -> bool {
        self.holding.load(Ordering::Acquire)
    }

    /// Says whether slots are held; to be said before they are [withdrawn](Self::withdraw).
    pub fn set_holding(&self, holding: bool) {
        self.holding.store(holding, Ordering::Release);
    }

    /// The end of the lease, in ns of the clock that counts suspended time.
    pub fn lease_until_ns(&self) -> u64 {
        self.lease_until_ns.load(Ordering::Acquire)
    }

    /// Lengthens the lease; it never becomes shorter but by [`Routes::end_lease`].
    pub fn lengthen_lease(&self, until_ns: u64) {
        self.lease_until_ns.fetch_max(until_ns, Ordering::AcqRel);
    }

    /// Gives the lease back.
    pub fn end_lease(&self) {
        self.lease_until_ns.store(0, Ordering::Release);
    }

    /// The table that this node goes by.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// The number of the view in force; never 0. Who reads it before the view may hold a later view than it says, never
    /// an earlier one. A slot that a view gives to this node is [served](Self::serves) only when the number is the view's.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Where a slot's commands are served, for a client on that side.
    #[cold]
    pub fn place(&self, slot: Slot, side: Side) -> Place {
        let view = self.view();
        if self.serves(slot) {
            return Place::Here;
        }
        let number = slot.number();
        if self.expected[number as usize / 64].load(Ordering::Acquire) >> (number % 64) & 1 != 0 {
            // The owner may know already that it is none any more: sent back there, a client would go in circles.
            return Place::Held;
        }
        match view.owner(slot) {
            None => Place::Nowhere,
            Some(owner) if owner.id == view.me => Place::Held,
            Some(owner) => {
                let (host, port) = owner.client.seen_from(side);
                Place::Elsewhere(host.to_owned(), port)
            }
        }
    }

    /// Puts another table in place. Slots that it takes from this node must have been [withdrawn](Self::withdraw), and
    /// no command be inside them.
    pub fn show(&self, view: Arc<View>) {
        *self.view.write() = view;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Serves these slots from now on. Their keys must be in place.
    pub fn serve(&self, slots: &SlotSet) {
        for (word, bits) in self.served.iter().zip(&slots.0) {
            word.fetch_or(*bits, Ordering::AcqRel);
        }
    }

    /// No longer serves these slots. The caller then takes and releases the locks of their shards.
    pub fn withdraw(&self, slots: &SlotSet) {
        for (word, bits) in self.served.iter().zip(&slots.0) {
            word.fetch_and(!*bits, Ordering::AcqRel);
        }
    }

    /// Holds these slots' commands from now on, or no longer: they are about to be served here.
    pub fn expect(&self, slots: &SlotSet, soon: bool) {
        for (word, bits) in self.expected.iter().zip(&slots.0) {
            match soon {
                true => word.fetch_or(*bits, Ordering::AcqRel),
                false => word.fetch_and(!*bits, Ordering::AcqRel),
            };
        }
    }

    /// Slots that are served.
    pub fn served(&self) -> SlotSet {
        let mut slots = SlotSet::default();
        for (bits, word) in slots.0.iter_mut().zip(&self.served) {
            *bits = word.load(Ordering::Acquire);
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::table::Side;
    use super::super::table::tests::{member, table_of};
    use super::{Place, Routes, SlotSet, View};
    use crate::base::slot::{SLOT_COUNT, Slot};

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    #[test]
    fn a_single_server_serves_everything_for_ever() {
        let routes = Routes::standalone();
        assert!(routes.serves(slot(0)) && routes.serves(slot(16383)));
        assert!(routes.is_leased(u64::MAX - 1));
        assert_eq!(routes.served().len(), SLOT_COUNT);
    }

    #[test]
    fn a_slot_is_held_until_it_is_served_or_elsewhere() {
        let routes = Routes::clustered();
        assert_eq!(routes.place(slot(1), Side::Inside), Place::Nowhere);
        let table = Arc::new(table_of(2));
        let mine = table.ranges_of(member(0).id)[0].0;
        let other = table.ranges_of(member(1).id)[0].0;
        routes.show(Arc::new(View::new(table, member(0).id)));
        assert_eq!(routes.place(slot(mine), Side::Inside), Place::Held);
        assert_eq!(routes.place(slot(other), Side::Inside), Place::Elsewhere("127.0.0.1".to_owned(), 7001));
        let mut slots = SlotSet::default();
        let mut arrived = SlotSet::default();
        arrived.insert(slot(other));
        routes.expect(&arrived, true);
        assert_eq!(routes.place(slot(other), Side::Inside), Place::Held, "it will be here in a moment");
        routes.expect(&arrived, false);
        assert_eq!(routes.place(slot(other), Side::Inside), Place::Elsewhere("127.0.0.1".to_owned(), 7001));
        assert_eq!(
            routes.place(slot(other), Side::Outside),
            Place::Elsewhere("127.0.0.1".to_owned(), 7001),
            "it announces nothing else"
        );
        slots.insert(slot(mine));
        routes.serve(&slots);
        assert_eq!(routes.place(slot(mine), Side::Inside), Place::Here);
        routes.withdraw(&slots);
        assert_eq!(routes.place(slot(mine), Side::Inside), Place::Held);
        assert!(!routes.is_leased(0), "no lease was granted");
        routes.lengthen_lease(10);
        routes.lengthen_lease(5);
        assert!(routes.is_leased(9) && !routes.is_leased(10));
    }

    #[test]
    fn a_set_of_slots_is_what_was_put_in() {
        let mut slots = SlotSet::default();
        for number in [0, 63, 64, 16383] {
            slots.insert(slot(number));
        }
        slots.remove(slot(64));
        let numbers: Vec<u16> = slots.iter().map(Slot::number).collect();
        assert_eq!(numbers, [0, 63, 16383]);
        assert!(!slots.is_empty() && slots.len() == 3);
    }
}
