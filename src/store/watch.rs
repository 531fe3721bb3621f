//! Who is told when a key of a database changes, and which of its slots are not shown.
//!
//! Transactions watch keys; blocked clients wait for them; what clients have cached is kept track of by the names of all
//! keys that change ([`super::noted`]); movers of slots keep feeds of what changed in them ([`super::feed`]); slots that
//! arrive from another node are hidden until they are owned. All of it hangs on one pointer in [`Db`], which is null while there is
//! nothing of the kind: a change then costs one test.
//!
//! A hidden slot's entries are neither counted nor listed nor chosen at random ([`Db::entries`], [`Db::walk`] and the
//! like), and what expires there is not counted as expired, since the slot's owner does so. They may be evicted.
//! Invariant: `hidden_entries` and `hidden_due` are the sums over hidden slots, but for slots that were not empty when
//! they were hidden, whose share of due times is estimated.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ahash::RandomState;

use super::db::Db;
use super::feed::{Changes, FEEDS_MAX, Feed, FeedId};
use super::noted::Noted;
use super::told::{Telling, Told};

/// In a slot's byte: it is hidden. The bits below are its feed's number plus one.
const HIDDEN: u8 = 1 << 7;

const _: () = assert!(FEEDS_MAX < HIDDEN as usize);
const _: () = assert!(size_of::<Option<Box<Attention>>>() == size_of::<usize>());

/// An entry that does not exist, that has no due time, that has one: what [`Db::note`] is told of before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Lasting,
    Due,
}

impl State {
    /// The state of an entry that is there.
    pub(super) fn of(due_ms: Option<u64>) -> Self {
        if due_ms.is_some() { Self::Due } else { Self::Lasting }
    }
}

/// A key that blocked clients wait for.
#[derive(Debug, Default)]
struct AwaitedKey {
    clients: usize,
    /// It is among those that changed.
    has_changed: bool,
}

/// Watched keys, feeds and hidden slots of one database in one shard.
#[derive(Debug, Default)]
pub(super) struct Attention {
    /// The flags to raise when a key changes.
    watched: HashMap<Box<[u8]>, Vec<Arc<AtomicBool>>, RandomState>,
    /// Keys that blocked clients wait for; those of them that changed, each once, in order.
    awaited: HashMap<Box<[u8]>, AwaitedKey, RandomState>,
    changed: Vec<Box<[u8]>>,
    /// Whether keys that are made, expire or are evicted are noted; those that were; why the next one that goes does.
    tells: bool,
    told: Vec<Telling>,
    cause: Option<Told>,
    /// Whether keys that change are noted; those that did.
    notes: bool,
    noted: Noted,
    /// One byte a slot, see [`HIDDEN`]; empty while there is neither feed nor hidden slot.
    roles: Vec<u8>,
    feeds: [Option<Box<Feed>>; FEEDS_MAX],
    /// Hidden slots, and how many of their entries have a due time.
    hidden: HashMap<u32, usize, RandomState>,
    hidden_entries: usize,
    hidden_due: usize,
    /// How often all entries were taken away under hidden slots.
    disturbances: u64,
}

impl Attention {
    fn is_idle(&self) -> bool {
        !self.tells
            && !self.notes
            && self.watched.is_empty()
            && self.awaited.is_empty()
            && self.hidden.is_empty()
            && self.feeds.iter().all(Option::is_none)
    }

    fn role(&self, slot: u32) -> u8 {
        self.roles.get(slot as usize).copied().unwrap_or(0)
    }

    fn role_mut(&mut self, slot: u32, slots: usize) -> &mut u8 {
        if self.roles.is_empty() {
            self.roles.resize(slots, 0);
        }
        &mut self.roles[slot as usize]
    }

    fn bytes(&self) -> usize {
        self.roles.capacity() + self.feeds.iter().flatten().map(|feed| feed.bytes()).sum::<usize>()
    }

    /// Tells everybody whom it concerns; whether the bytes held may have changed.
    #[cold]
    fn note(&mut self, slot: u32, key: &[u8], before: State, after: State) -> bool {
        if let Some(flags) = self.watched.get(key) {
            flags.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
        }
        let noted = self.notes && self.role(slot) & HIDDEN == 0;
        if noted {
            self.noted.push(key, self.cause.is_some());
        }
        noted | self.note_apart(slot, key, before, after)
    }

    /// The same, but for who watches the key.
    fn note_apart(&mut self, slot: u32, key: &[u8], before: State, after: State) -> bool {
        if let Some(awaited) = self.awaited.get_mut(key)
            && !std::mem::replace(&mut awaited.has_changed, true)
        {
            self.changed.push(key.into());
        }
        let cause = self.cause.take();
        let told = self.tells && self.tell(cause, key, before, after);
        let role = self.role(slot);
        if role & HIDDEN != 0
            && let Some(due) = self.hidden.get_mut(&slot)
        {
            self.hidden_entries += usize::from(after != State::Absent);
            self.hidden_entries -= usize::from(before != State::Absent);
            let due_before = *due;
            *due = (due_before + usize::from(after == State::Due))
                .saturating_sub(usize::from(before == State::Due));
            self.hidden_due = self.hidden_due + *due - due_before;
        }
        let feed = usize::from(role & !HIDDEN).checked_sub(1).and_then(|feed| self.feeds[feed].as_mut());
        told | feed.is_some_and(|feed| {
            feed.record(key);
            true
        })
    }

    /// Notes what is to be told of a change; whether anything is.
    fn tell(&mut self, cause: Option<Told>, key: &[u8], before: State, after: State) -> bool {
        let told = match (before, after) {
            (State::Absent, State::Absent) => None,
            (State::Absent, _) => Some(Told::New),
            (_, State::Absent) => cause,
            _ => None,
        };
        self.told.extend(told.map(|told| (told, key.into())));
        told.is_some()
    }
}

impl Db {
    /// Says that an entry changed.
    #[inline]
    pub(super) fn note(&mut self, slot: u32, key: &[u8], before: State, after: State) {
        if let Some(attention) = &mut self.attention {
            self.changed |= attention.note(slot, key, before, after);
        }
    }

    /// Says that something beside an entry's value changed, which concerns nobody who watches the key.
    pub(super) fn note_apart(&mut self, slot: u32, key: &[u8], before: State, after: State) {
        if let Some(attention) = &mut self.attention {
            self.changed |= attention.note_apart(slot, key, before, after);
        }
    }

    fn attention(&mut self) -> &mut Attention {
        self.changed = true;
        self.attention.get_or_insert_default()
    }

    /// Lets go of what nobody needs any more.
    fn relax(&mut self) {
        self.changed = true;
        if self.attention.as_ref().is_some_and(|attention| attention.is_idle()) {
            self.attention = None;
        }
    }

    /// Bytes that feeds and the slots' bytes take.
    pub(super) fn attention_bytes(&self) -> usize {
        self.attention.as_ref().map_or(0, |attention| attention.bytes())
    }

    /// Raises `flag` when the key next changes.
    pub fn watch(&mut self, key: &[u8], flag: Arc<AtomicBool>) {
        self.attention().watched.entry(key.into()).or_default().push(flag);
    }

    /// Takes a flag back.
    pub fn unwatch(&mut self, key: &[u8], flag: &Arc<AtomicBool>) {
        let Some(attention) = &mut self.attention else { return };
        if let Some(flags) = attention.watched.get_mut(key) {
            flags.retain(|other| !Arc::ptr_eq(other, flag));
            if flags.is_empty() {
                attention.watched.remove(key);
                self.relax();
            }
        }
    }

    /// Has keys that are made, expire or are evicted noted from now on, or no longer.
    pub fn set_telling(&mut self, on: bool) {
        let attention = self.attention();
        attention.tells = on;
        attention.told.clear();
        self.relax();
    }

    /// Has keys that change noted from now on, or no longer.
    pub(super) fn set_noting(&mut self, on: bool) {
        let attention = self.attention();
        attention.notes = on;
        attention.noted = Noted::default();
        self.relax();
    }

    /// Adds the keys to `into` that changed since they were last taken.
    #[inline]
    pub(super) fn take_noted(&mut self, into: &mut Noted) {
        if let Some(attention) = &mut self.attention
            && !attention.noted.is_empty()
        {
            into.append(&mut attention.noted);
        }
    }

    /// Says why the entry goes that is removed next.
    pub(super) fn because(&mut self, cause: Told) {
        if let Some(attention) = &mut self.attention {
            attention.cause = Some(cause);
        }
    }

    /// Notes what happened to a key.
    pub(super) fn tell(&mut self, told: Told, key: &[u8]) {
        if let Some(attention) = &mut self.attention
            && attention.tells
        {
            attention.told.push((told, key.into()));
        }
    }

    /// What there is to be told since it was last taken.
    pub fn take_told(&mut self) -> Vec<Telling> {
        self.attention.as_mut().map_or_else(Vec::new, |attention| std::mem::take(&mut attention.told))
    }

    /// Notes that somebody waits for a key: whenever it changes, [`Db::take_changed_keys`] tells.
    pub fn await_key(&mut self, key: &[u8]) {
        self.attention().awaited.entry(key.into()).or_default().clients += 1;
    }

    /// Notes that one fewer waits for a key.
    pub fn release_key(&mut self, key: &[u8]) {
        let Some(attention) = &mut self.attention else { return };
        let Some(awaited) = attention.awaited.get_mut(key) else { return };
        awaited.clients -= 1;
        if awaited.clients == 0 {
            if awaited.has_changed {
                attention.changed.retain(|known| **known != *key);
            }
            attention.awaited.remove(key);
            self.relax();
        }
    }

    /// The keys that somebody waits for and that have changed since they were last taken.
    pub fn take_changed_keys(&mut self) -> Vec<Box<[u8]>> {
        let Some(attention) = &mut self.attention else { return Vec::new() };
        let changed = std::mem::take(&mut attention.changed);
        for key in &changed {
            if let Some(awaited) = attention.awaited.get_mut(key) {
                awaited.has_changed = false;
            }
        }
        changed
    }

    /// What a database that takes this one's place takes over.
    pub(super) fn take_attention(&mut self) -> Option<Box<Attention>> {
        self.attention.take()
    }

    /// Takes over watched keys, feeds and hidden slots of a database that this one replaces: raises flags of keys that
    /// either has, not due, and tells feeds and hidden slots that their entries are gone.
    pub(super) fn adopt_attention(&mut self, mut taken: Box<Attention>, other: Option<&Self>, now_ms: u64) {
        let lives = |found| self.due_ms(found).is_none_or(|due_ms| due_ms > now_ms);
        for (key, flags) in &taken.watched {
            let key = self.layout.key(key);
            if self.peek(&key).is_some_and(lives) || other.is_some_and(|db| db.peek(&key).is_some()) {
                flags.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
            }
        }
        let Attention { awaited, changed, .. } = &mut *taken;
        let here = |key: &[u8]| {
            let key = self.layout.key(key);
            self.peek(&key).is_some_and(lives) || other.is_some_and(|db| db.peek(&key).is_some())
        };
        for (key, awaited) in awaited.iter_mut().filter(|(key, awaited)| !awaited.has_changed && here(key)) {
            awaited.has_changed = true;
            changed.push(key.clone());
        }
        let empty = self.index.entries() == 0;
        taken.feeds.iter_mut().flatten().for_each(|feed| if empty { feed.flush() } else { feed.replace() });
        taken.disturbances += u64::from(!taken.hidden.is_empty());
        (taken.hidden_entries, taken.hidden_due) = (0, 0);
        for (&slot, due) in &mut taken.hidden {
            *due = self.index.handles(slot).filter(|&handle| self.due_at(handle).is_some()).count();
            taken.hidden_entries += self.index.slot_len(slot);
            taken.hidden_due += *due;
        }
        self.changed = true;
        self.attention = Some(taken);
    }

    /// Opens a feed on slots (their numbers within the shard), none of which may have one; nothing if one has, or if
    /// [`FEEDS_MAX`] are open.
    pub fn open_feed(&mut self, slots: impl Iterator<Item = u32> + Clone) -> Option<FeedId> {
        let slot_count = self.layout.slots_per_shard();
        let attention = self.attention();
        let taken = slots.clone().any(|slot| attention.role(slot) & !HIDDEN != 0);
        let number = attention.feeds.iter().position(Option::is_none).filter(|_| !taken);
        if let Some(number) = number {
            attention.feeds[number] = Some(Box::default());
            slots.for_each(|slot| *attention.role_mut(slot, slot_count) |= number as u8 + 1);
        }
        self.relax();
        number.map(|number| FeedId(number as u8))
    }

    /// The slots (their numbers within the shard) that a feed is open on, ascending.
    pub fn feed_slots(&self, feed: FeedId) -> impl Iterator<Item = u32> + '_ {
        let roles = self.attention.as_ref().map_or(&[][..], |attention| &attention.roles);
        let fed = move |&(_, &role): &(usize, &u8)| role & !HIDDEN == feed.0 + 1;
        roles.iter().enumerate().filter(fed).map(|(slot, _)| slot as u32)
    }

    /// Takes out at most `max` keys that changed in a feed's slots.
    pub fn take_changes(&mut self, feed: FeedId, max: usize) -> Changes {
        self.changed = true;
        self.feed_mut(feed).map_or_else(Changes::default, |feed| feed.take(max))
    }

    /// Keys that changed and were not taken out; one at least while there is a flush or an overrun to be told.
    pub fn feed_len(&self, feed: FeedId) -> usize {
        let feeds = self.attention.as_ref().map(|attention| &attention.feeds);
        feeds.and_then(|feeds| feeds.get(usize::from(feed.0))?.as_ref()).map_or(0, |feed| feed.len())
    }

    /// Whether a key changed and was not taken out, or all keys did.
    pub fn feed_holds(&self, feed: FeedId, key: &[u8]) -> bool {
        let feeds = self.attention.as_ref().map(|attention| &attention.feeds);
        feeds.and_then(|feeds| feeds.get(usize::from(feed.0))?.as_ref()).is_some_and(|feed| feed.holds(key))
    }

    /// Closes a feed and forgets what it holds.
    pub fn close_feed(&mut self, feed: FeedId) {
        let slots: Vec<u32> = self.feed_slots(feed).collect();
        let attention = self.attention();
        slots.into_iter().for_each(|slot| attention.roles[slot as usize] &= HIDDEN);
        attention.feeds[usize::from(feed.0)] = None;
        self.relax();
    }

    fn feed_mut(&mut self, feed: FeedId) -> Option<&mut Feed> {
        self.attention.as_mut()?.feeds.get_mut(usize::from(feed.0))?.as_deref_mut()
    }

    /// Hides a slot: O(1). Of a slot that holds entries it is only estimated how many of them have a due time.
    pub fn hide_slot(&mut self, slot: u32) {
        let slot_count = self.layout.slots_per_shard();
        let entries = self.index.slot_len(slot);
        let due = (entries as u128 * self.expiry.entries() as u128)
            .checked_div(self.index.entries() as u128)
            .unwrap_or(0) as usize;
        let attention = self.attention();
        let role = attention.role_mut(slot, slot_count);
        if *role & HIDDEN == 0 {
            *role |= HIDDEN;
            attention.hidden.insert(slot, due);
            attention.hidden_entries += entries;
            attention.hidden_due += due;
        }
    }

    /// Shows a slot that was hidden: O(1).
    pub fn show_slot(&mut self, slot: u32) {
        let entries = self.index.slot_len(slot);
        let Some(attention) = &mut self.attention else { return };
        if let Some(due) = attention.hidden.remove(&slot) {
            attention.roles[slot as usize] &= !HIDDEN;
            attention.hidden_entries -= entries;
            attention.hidden_due -= due;
            self.relax();
        }
    }

    /// Whether a slot is hidden.
    #[inline]
    pub fn is_hidden(&self, slot: u32) -> bool {
        self.attention.as_ref().is_some_and(|attention| attention.role(slot) & HIDDEN != 0)
    }

    /// How often all entries were taken away (FLUSHALL, SWAPDB) under this database's hidden slots; to be compared with
    /// what it was when a slot was hidden, for as long as it is.
    pub fn disturbances(&self) -> u64 {
        self.attention.as_ref().map_or(0, |attention| attention.disturbances)
    }

    /// Entries in hidden slots, and those of them that have a due time.
    pub(super) fn hidden_counts(&self) -> (usize, usize) {
        let counts = |attention: &Attention| (attention.hidden_entries, attention.hidden_due);
        self.attention.as_deref().map_or((0, 0), counts)
    }

    /// The first slot from `slot` on that holds entries and is not hidden.
    pub(super) fn next_shown(&self, mut slot: u32) -> Option<u32> {
        loop {
            slot = self.index.next_occupied(slot)?;
            if !self.is_hidden(slot) {
                return Some(slot);
            }
            slot += 1;
        }
    }

    /// Recounts the hidden slots; for tests.
    #[cfg(test)]
    pub(super) fn validate_attention(&self) {
        let Some(attention) = self.attention.as_deref() else { return };
        assert!(!attention.is_idle(), "attention that nobody needs");
        let hidden = |slot: usize| attention.hidden.contains_key(&(slot as u32));
        for (slot, role) in attention.roles.iter().enumerate() {
            assert_eq!(role & HIDDEN != 0, hidden(slot));
            let feed = usize::from(role & !HIDDEN).checked_sub(1);
            assert!(feed.is_none_or(|feed| attention.feeds[feed].is_some()));
        }
        let entries = attention.hidden.keys().map(|&slot| self.index.slot_len(slot)).sum::<usize>();
        let due = attention.hidden.values().sum::<usize>();
        assert_eq!((attention.hidden_entries, attention.hidden_due), (entries, due));
    }
}
