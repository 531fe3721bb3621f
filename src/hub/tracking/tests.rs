//! The table against a naive model, and what it costs; client-side caching as a whole: no client ever holds what is
//! stale without having been told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;

use super::message::Audience;
use super::table::{INLINE_MAX, Table};
use super::{Invalid, Options, Tracking};
use crate::base::rng::Rng;
use crate::config::types::OutputLimits;
use crate::hub::clients::{Client, Clients, NewClient};
use crate::store::db::{Due, NewString};
use crate::store::key::Layout;
use crate::store::keyspace::Keyspace;
use crate::store::noted::Noted;
use crate::store::policy::Policy;

const KEYS: u64 = 40;
const NOW_MS: u64 = 1_000_000;

fn hasher() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

#[test]
fn the_table_is_a_map_in_order_of_age() {
    let (mut table, mut rng) = (Table::new(hasher()), Rng::seeded(3));
    let mut model: BTreeMap<u64, (Vec<u8>, Vec<u32>)> = BTreeMap::new();
    let mut gone = Vec::new();
    for age in 0..30_000u64 {
        // Some lie in their entries, some do not.
        let key = rng.below(400).to_string();
        let key = if key.ends_with('7') { format!("{key:0>INLINE_MAX$}7") } else { key }.into_bytes();
        let reader = rng.below(9) as u32 + 1;
        let known = model.iter().find(|(_, (known, _))| *known == key).map(|(age, _)| *age);
        match rng.below(24) {
            0..=15 => {
                let slot = key.len() as u16;
                let before = table.items();
                let delta = table.track(&key, slot, reader, || age, |reader| gone.contains(&reader));
                assert_eq!(delta.keys, isize::from(known.is_none()));
                assert_eq!(before.checked_add_signed(delta.items), Some(table.items()));
                let readers = &mut model.entry(known.unwrap_or(age)).or_insert((key, Vec::new())).1;
                if !readers.contains(&reader) {
                    readers.push(reader);
                }
                gone.retain(|other| *other != reader);
            }
            16..=18 => {
                let taken = table.take(&key);
                assert_eq!(taken.is_some(), known.is_some());
                if let (Some(taken), Some((_, readers))) = (taken, known.and_then(|age| model.remove(&age))) {
                    assert!(
                        readers.iter().all(|reader| gone.contains(reader) || taken.readers.contains(reader))
                    );
                    assert!(taken.readers.iter().all(|reader| readers.contains(reader)));
                }
            }
            19 | 20 => {
                assert_eq!(table.oldest_age(), model.keys().next().copied());
                let taken = table.take_oldest().map(|taken| taken.key.bytes().to_vec());
                assert_eq!(taken, model.pop_first().map(|(_, (key, _))| key));
            }
            21 if rng.below(50) == 0 => {
                let lost: Vec<_> =
                    table.take_slots(|slot| slot == 2).into_iter().map(|taken| taken.key).collect();
                let wanted: Vec<_> =
                    model.values().filter(|(key, _)| key.len() == 2).map(|(key, _)| key).collect();
                assert!(lost.iter().map(|key| key.bytes()).eq(wanted.iter().map(|key| key.as_slice())));
                model.retain(|_, (key, _)| key.len() != 2);
            }
            22 if rng.below(200) == 0 => {
                assert!(table.take_all().len() <= 2);
                model.clear();
            }
            _ => {
                gone.push(reader);
                table.sweep(512, |reader| gone.contains(&reader));
                for (_, readers) in model.values_mut() {
                    readers.retain(|reader| !gone.contains(reader));
                }
                model.retain(|_, (_, readers)| !readers.is_empty());
                gone.clear();
            }
        }
        assert_eq!(table.keys(), model.len());
        if age % 64 == 0 {
            table.validate();
        }
    }
    table.validate();
}

#[test]
fn a_tracked_key_costs_little() {
    const COUNT: usize = 50_000;
    let mut table = Table::new(hasher());
    for number in 0..COUNT {
        table.track(format!("user:{number:015}").as_bytes(), 0, 1, || number as u64, |_| false);
    }
    // 64 for the entry with the key in it, the rest for the index.
    let each = table.bytes() / COUNT;
    assert!(each <= 64 + 12, "{each} bytes");
    for reader in 2..=100 {
        table.track(b"user:000000000000000", 0, reader, || 0, |_| false);
    }
    let more = table.bytes() - each * COUNT;
    assert_eq!(table.take(b"user:000000000000000").map(|taken| taken.readers.len()), Some(100));
    assert!(more < 99 * 4 * 2 + COUNT, "{more} bytes for 99 more readers");
}

/// A server's store and tracking, and the clients' caches.
struct World {
    keyspace: Keyspace,
    tracking: Tracking,
    clients: Clients,
    followers: Vec<Follower>,
    /// The value of every key that is there.
    server: HashMap<Vec<u8>, u64>,
    invalid: Invalid,
    version: u64,
    max_keys: usize,
}

struct Follower {
    client: Arc<Client>,
    number: u32,
    bcast: bool,
    noloop: bool,
    on: bool,
    cache: HashMap<Vec<u8>, Option<u64>>,
    told: usize,
}

impl World {
    fn new(max_keys: usize) -> Self {
        let layout = Layout::seeded(3, 5);
        let keyspace = Keyspace::new(layout, Policy::AllkeysLru, 0, 1);
        let tracking = Tracking::new(keyspace.shards());
        Self {
            keyspace,
            tracking,
            clients: Clients::new(),
            followers: Vec::new(),
            server: HashMap::new(),
            invalid: Invalid::default(),
            version: 0,
            max_keys,
        }
    }

    fn join(&mut self, rng: &mut Rng) {
        let new = NewClient {
            peer: String::new(),
            local: String::new(),
            unix: false,
            worker: 0,
            descriptor: 0,
            now_ms: 0,
        };
        let client = self.clients.register(new, 100).expect("room");
        client.protocol.store(3, std::sync::atomic::Ordering::Relaxed);
        let (bcast, noloop) = (rng.below(3) == 0, rng.below(3) == 0);
        let follower =
            Follower { client, number: 0, bcast, noloop, on: false, cache: HashMap::new(), told: 0 };
        self.followers.push(follower);
        self.start(self.followers.len() - 1);
    }

    fn start(&mut self, at: usize) {
        let follower = &mut self.followers[at];
        let options = Options { redirect: 0, bcast: follower.bcast, noloop: follower.noloop };
        follower.number = self.tracking.start(&follower.client, options);
        follower.on = true;
        if follower.bcast {
            self.tracking.add_prefix(&follower.client, b"1");
            self.tracking.add_prefix(&follower.client, b"2");
        }
        for shard in 0..self.keyspace.shards() {
            self.keyspace.lock(shard).set_noting(true);
        }
    }

    fn stop(&mut self, at: usize) {
        let follower = &mut self.followers[at];
        self.tracking.stop(&follower.client);
        (follower.on, follower.bcast) = (false, false);
        follower.cache.clear();
    }

    fn leave(&mut self, at: usize) {
        let follower = self.followers.swap_remove(at);
        self.tracking.leave(&follower.client);
        self.clients.unregister(&follower.client);
    }

    fn read(&mut self, at: usize, name: &[u8]) {
        let Self { keyspace, tracking, followers, server, invalid, max_keys, .. } = self;
        let follower = &mut followers[at];
        let key = keyspace.layout().key(name);
        let _shard = keyspace.lock(key.shard);
        let is_mine = !follower.bcast || name.starts_with(b"1") || name.starts_with(b"2");
        if follower.on && is_mine {
            if !follower.bcast {
                tracking.remember(follower.number, &key);
                tracking.make_room(*max_keys, invalid);
            }
            follower.cache.insert(name.to_vec(), server.get(name).copied());
        }
    }

    /// Changes a key as a client's command does, or removes it; `collects` says whether whoever did it looks after it.
    fn write(&mut self, name: &[u8], sets: bool, collects: bool) {
        self.version += 1;
        let key = self.keyspace.layout().key(name);
        let mut shard = self.keyspace.lock(key.shard);
        let found = shard.db(0).find(&key, NOW_MS);
        match (sets, found) {
            (true, found) => {
                let new = NewString { bytes: b"value", raw: false };
                shard.db(0).set_string(&key, found, new, Due::Never, NOW_MS).expect("room");
                self.server.insert(name.to_vec(), self.version);
            }
            (false, Some(found)) => {
                shard.db(0).remove(key.hashed, found);
                self.server.remove(name);
            }
            (false, None) => {}
        }
        if collects {
            self.tracking.collect(key.shard, &mut shard, &mut Noted::default(), &mut self.invalid);
        }
    }

    fn tell(&mut self, author: Option<usize>) {
        let author = author.map(|at| self.followers[at].client.id);
        let limits = OutputLimits::default();
        let mut audience = Audience { clients: &self.clients, limits, now_ms: NOW_MS, own: None };
        self.tracking.tell(&mut self.invalid, author, &mut audience);
        assert!(self.invalid.is_empty());
        for follower in &mut self.followers {
            let mut frames = Vec::new();
            follower.client.drain_outbox(|frame| frames.push(frame));
            for frame in frames {
                follower.told += 1;
                match names(&frame) {
                    None => follower.cache.clear(),
                    Some(names) => names.iter().for_each(|name| {
                        follower.cache.remove(name);
                    }),
                }
            }
        }
    }

    /// Nobody holds what is stale.
    fn check(&self) {
        for follower in self.followers.iter().filter(|follower| follower.on) {
            for (name, value) in &follower.cache {
                let now = self.server.get(name).copied();
                assert_eq!(now, *value, "client {} of {}", follower.client.id, name.escape_ascii());
            }
        }
        let totals = self.tracking.totals();
        let tables = self.tracking.parts.iter().map(|part| part.table.lock());
        let (keys, items) = tables.fold((0, 0), |sum, table| (sum.0 + table.keys(), sum.1 + table.items()));
        assert_eq!((totals.keys, totals.items), (keys as u64, items as u64));
        assert_eq!(totals.clients, self.followers.iter().filter(|follower| follower.on).count() as u64);
        assert!(self.max_keys == 0 || keys <= self.max_keys, "{keys} keys");
        self.tracking.parts.iter().for_each(|part| part.table.lock().validate());
    }

    fn sweep_and_tidy(&mut self) {
        self.tracking.collect_left_over(&self.keyspace, &mut self.invalid);
        self.tracking.tidy(&self.keyspace, (0, 1), self.max_keys, &mut self.invalid);
    }
}

/// The keys that a notice names; nothing if it names all.
fn names(frame: &Bytes) -> Option<Vec<Vec<u8>>> {
    let text = frame.strip_prefix(b">2\r\n$10\r\ninvalidate\r\n").expect("a notice");
    if text == b"_\r\n" {
        return None;
    }
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end()).collect();
    Some(lines.iter().skip(2).step_by(2).filter(|line| !line.is_empty()).map(|line| line.to_vec()).collect())
}

/// Random reads, writes and everything else.
fn play(seed: u64, max_keys: usize) {
    let (mut world, mut rng) = (World::new(max_keys), Rng::seeded(seed));
    (0..4).for_each(|_| world.join(&mut rng));
    for _ in 0..1_200 {
        let name = rng.below(KEYS).to_string().into_bytes();
        let at = rng.below(world.followers.len() as u64) as usize;
        let mut author = None;
        match rng.below(100) {
            0..=49 => world.read(at, &name),
            50..=79 => {
                // Several keys by one command, perhaps one that does not hear of itself.
                for _ in 0..=rng.below(3) {
                    let name = rng.below(KEYS).to_string().into_bytes();
                    world.write(&name, rng.below(4) > 0, true);
                    if world.followers[at].noloop {
                        world.followers[at].cache.remove(&name);
                    }
                }
                author = Some(at);
            }
            80..=89 => {
                world.write(&name, rng.below(2) == 0, false);
                world.sweep_and_tidy();
            }
            90 | 91 => {
                world.invalid.everything();
                for name in (0..KEYS).map(|number| number.to_string().into_bytes()) {
                    world.write(&name, false, true);
                }
            }
            92 => {
                let lost = |slot: crate::base::slot::Slot| slot.number().is_multiple_of(3);
                let limits = OutputLimits::default();
                let mut audience = Audience { clients: &world.clients, limits, now_ms: NOW_MS, own: None };
                world.tracking.lose(lost, &mut audience);
                world.tell(None);
                let layout = world.keyspace.layout();
                let holds = |name: &Vec<u8>| lost(layout.key(name).slot);
                assert!(world.followers.iter().all(|follower| !follower.cache.keys().any(holds)));
            }
            93 if world.followers.len() < 8 => world.join(&mut rng),
            94 if world.followers.len() > 2 => world.leave(at),
            95 => world.stop(at),
            96 if !world.followers[at].on => {
                world.followers[at].bcast = rng.below(2) == 0;
                world.start(at);
            }
            _ => world.sweep_and_tidy(),
        }
        world.tell(author);
        world.check();
    }
    assert!(world.followers.iter().any(|follower| follower.told > 0));
    while !world.followers.is_empty() {
        world.leave(0);
    }
    (0..100).for_each(|_| world.sweep_and_tidy());
    world.tell(None);
    assert_eq!(world.tracking.totals().keys, 0);
    assert!(!world.tracking.is_awake() && world.tracking.followers.read().is_empty());
    world.write(b"1", true, false);
    assert!(!world.keyspace.has_noted(), "nobody tracks: nothing is noted");
}

#[test]
fn no_client_holds_what_is_stale() {
    (0..4).for_each(|seed| play(seed, 0));
}

#[test]
fn a_full_table_forgets_the_oldest_and_says_so() {
    (10..14).for_each(|seed| play(seed, 12));
    let (mut world, mut rng) = (World::new(3), Rng::seeded(1));
    while world.followers.first().is_none_or(|follower| follower.bcast) {
        world.followers.clear();
        world.join(&mut rng);
    }
    for (name, forgotten) in
        [(b"a", None), (b"b", None), (b"c", None), (b"d", Some(b"a")), (b"e", Some(b"b"))]
    {
        world.read(0, name);
        let before = world.followers[0].cache.clone();
        world.tell(None);
        let gone: Vec<_> =
            before.keys().filter(|name| !world.followers[0].cache.contains_key(*name)).collect();
        assert_eq!(
            gone,
            forgotten.iter().map(|name| name.to_vec()).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
}

#[test]
fn beyond_ten_thousand_lost_keys_one_notice_says_all() {
    let mut world = World::new(0);
    let mut rng = Rng::seeded(1);
    while world.followers.first().is_none_or(|follower| follower.bcast) {
        world.followers.clear();
        world.join(&mut rng);
    }
    for (count, all) in [(super::LOST_KEYS_MAX, false), (super::LOST_KEYS_MAX + 1, true)] {
        (0..count).for_each(|number| world.read(0, number.to_string().as_bytes()));
        let limits = OutputLimits::default();
        let mut audience = Audience { clients: &world.clients, limits, now_ms: NOW_MS, own: None };
        world.tracking.lose(|_| true, &mut audience);
        let mut frames = Vec::new();
        world.followers[0].client.drain_outbox(|frame| frames.push(frame));
        let named: usize = frames.iter().map(|frame| names(frame).map_or(0, |names| names.len())).sum();
        assert_eq!((frames.len() == 1, named), (all, if all { 0 } else { count }));
        assert_eq!(world.tracking.totals().keys, 0);
    }
}
