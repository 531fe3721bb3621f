//! The big form of a sorted set: members once, an index by member, and an order with counts.
//!
//! A look-up by member is one of a hash table; rank, selection by rank and every change go down one path of a B+tree
//! whose leaves hold the scores side by side. Nothing here ever moves more than one page, one segment of the index or a
//! path of nodes, so that no call stalls however large the set is. Index and order take some 27 bytes a member, besides
//! its text (24 bytes up to a length of 22) and its score.
//!
//! Bound: 2^32 members, which no machine of today has the memory for. Scores are never NaN; who calls sees to it.

use super::table::{Table, text_hash};
use super::text::Text;

mod members;
mod tree;

use members::Members;
use tree::Tree;

/// Members that a removal moves at most, so that memory shrinks with the set.
const MOVES_A_REMOVAL: usize = 2;
/// How many members ahead a walk asks for.
const AHEAD: usize = 6;

/// A large sorted set; see the module. A clone has the same pages, segments and nodes: filling it member by member would
/// take twenty times as long, for which COPY holds a lock.
#[derive(Clone, Debug, Default)]
pub struct Ranked {
    members: Members,
    index: Table<u32>,
    tree: Tree,
}

/// A member that was found; good until the set changes.
#[derive(Clone, Copy, Debug)]
pub struct Place(u32);

impl Ranked {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many members there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the allocator holds for it, itself not counted.
    pub fn heap_bytes(&self) -> usize {
        self.members.heap_bytes() + self.index.heap_bytes() + self.tree.heap_bytes()
    }

    /// Where a member is; `hash` is its [`text_hash`].
    #[inline]
    pub fn find(&self, hash: u64, member: &[u8]) -> Option<Place> {
        self.index.get(hash, |id| self.members.text(*id) == member).map(|id| Place(*id))
    }

    /// The score of a member that was found.
    #[inline]
    pub fn score(&self, place: Place) -> f64 {
        self.members.score(place.0)
    }

    /// How many members are before one that was found.
    #[inline]
    pub fn rank(&self, place: Place) -> usize {
        self.tree.rank(&self.members, place.0)
    }

    /// Gives a member that was found another score.
    pub fn rescore(&mut self, place: Place, score: f64) {
        self.tree.rescore(&mut self.members, place.0, score);
    }

    /// Adds a member that is not there; `hash` is its [`text_hash`].
    pub fn insert(&mut self, hash: u64, member: Text, score: f64) {
        debug_assert!(!score.is_nan());
        let id = self.members.insert(member, score);
        let members = &self.members;
        self.index.insert(hash, id, |id| text_hash(members.text(*id)));
        self.tree.insert(members, id);
    }

    /// Removes a member that was found.
    pub fn remove(&mut self, place: Place) -> Option<(Text, f64)> {
        let id = place.0;
        self.tree.remove(&self.members, id);
        let members = &self.members;
        let hasher = |id: &u32| text_hash(members.text(*id));
        self.index.remove(hasher(&id), |other| *other == id, hasher)?;
        let removed = self.members.remove(id);
        // So many that the vacant places do not become more.
        for _ in 0..MOVES_A_REMOVAL {
            let Some((last, vacant)) = self.members.spare() else { break };
            self.tree.rename(&self.members, last, vacant);
            let hash = text_hash(self.members.text(last));
            if let Some(number) = self.index.get_mut(hash, |other| *other == last) {
                *number = vacant;
            }
            self.members.move_last(vacant);
        }
        Some(removed)
    }

    /// The member of this rank.
    pub fn select(&self, rank: usize) -> Option<Place> {
        let (_, ids, at) = self.tree.select(rank)?;
        ids.get(at).map(|id| Place(*id))
    }

    /// How many members have a score for which `before` holds; it holds for the lowest ones.
    pub fn count_scores(&self, before: impl Fn(f64) -> bool) -> usize {
        self.tree.count_before(|score, _| before(score))
    }

    /// How many of the first members `before` holds for.
    pub fn count_members(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        self.tree.count_before(|_, id| before(self.members.text(id)))
    }

    /// `count` members at most from the one of this rank on, upwards or (`is_reverse`) downwards.
    pub fn walk(&self, rank: usize, count: usize, is_reverse: bool) -> Walk<'_> {
        let len = self.len();
        let left = match rank < len {
            true if is_reverse => count.min(rank + 1),
            true => count.min(len - rank),
            false => 0,
        };
        Walk { ranked: self, scores: &[], ids: &[], at: 0, rank, left, is_reverse }
    }

    /// The member of this number, which is below [`Ranked::len`], in an order without meaning: for taking members at
    /// random.
    pub fn numbered(&self, number: usize) -> Option<(&[u8], f64)> {
        let id = if self.members.is_dense() && number < self.len() {
            number as u32
        } else {
            self.select(number)?.0
        };
        Some((self.members.text(id), self.members.score(id)))
    }

    /// Calls `emit` with the members of some `count` cells from `cursor` on, in no order of use; the next cursor, 0 at the
    /// end. What stays during a whole scan is seen exactly once.
    pub fn scan(&self, cursor: u64, count: usize, mut emit: impl FnMut(&[u8], f64)) -> u64 {
        let hasher = |id: &u32| text_hash(self.members.text(*id));
        self.index.scan(cursor, count, hasher, |id| emit(self.members.text(*id), self.members.score(*id)))
    }

    /// Checks every invariant; for tests.
    #[cfg(test)]
    fn validate(&self) {
        self.members.validate();
        self.tree.validate(&self.members);
        assert_eq!((self.members.len(), self.index.len()), (self.len(), self.len()));
        for (text, score) in self.walk(0, usize::MAX, false) {
            let place = self.find(text_hash(text), text).expect("a member");
            assert_eq!(self.score(place).to_bits(), score.to_bits());
        }
    }
}

/// Members in order; made by [`Ranked::walk`].
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    ranked: &'a Ranked,
    /// The leaf that is being read.
    scores: &'a [f64],
    ids: &'a [u32],
    /// Where in it the next member stands, once there is a leaf.
    at: usize,
    /// Rank of the next member.
    rank: usize,
    left: usize,
    is_reverse: bool,
}

impl Walk<'_> {
    /// Goes to the leaf of the next member.
    #[cold]
    fn enter(&mut self) -> Option<()> {
        let (scores, ids, at) = self.ranked.tree.select(self.rank)?;
        (self.scores, self.ids, self.at) = (scores, ids, at);
        for ahead in 0..AHEAD.min(self.left) {
            self.expect(ahead);
        }
        Some(())
    }

    /// Asks for the member so many ahead, if it is of the same leaf.
    #[inline]
    fn expect(&self, ahead: usize) {
        let at = if self.is_reverse { self.at.wrapping_sub(ahead) } else { self.at + ahead };
        if let Some(id) = self.ids.get(at) {
            self.ranked.members.expect(*id);
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        if self.at >= self.ids.len() {
            self.enter()?;
        }
        let id = *self.ids.get(self.at)?;
        let score = *self.scores.get(self.at)?;
        if self.left > AHEAD {
            self.expect(AHEAD);
        }
        self.left -= 1;
        // Below the first entry of a leaf this is past its end, as behind the last one.
        self.at = if self.is_reverse { self.at.wrapping_sub(1) } else { self.at + 1 };
        self.rank = if self.is_reverse { self.rank.wrapping_sub(1) } else { self.rank + 1 };
        Some((self.ranked.members.text(id), score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Walk<'_> {}

#[cfg(test)]
mod tests {
    use super::{Ranked, Text, text_hash};
    use crate::base::rng::Rng;
    use std::collections::{BTreeMap, HashMap};

    /// A model: members and scores, and the order that follows from them.
    #[derive(Default)]
    struct Model(HashMap<Vec<u8>, f64>);

    impl Model {
        fn sorted(&self) -> Vec<(Vec<u8>, f64)> {
            let mut all: Vec<_> = self.0.iter().map(|(member, score)| (member.clone(), *score)).collect();
            all.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("no NaN").then_with(|| a.0.cmp(&b.0)));
            all
        }
    }

    fn set(ranked: &mut Ranked, member: &[u8], score: f64) {
        let hash = text_hash(member);
        match ranked.find(hash, member) {
            Some(place) => ranked.rescore(place, score),
            None => ranked.insert(hash, Text::from(member), score),
        }
    }

    fn remove(ranked: &mut Ranked, member: &[u8]) -> bool {
        let found = ranked.find(text_hash(member), member);
        found.is_some_and(|place| ranked.remove(place).is_some_and(|(text, _)| &*text == member))
    }

    fn random_score(rng: &mut Rng, kinds: u64) -> f64 {
        match rng.below(20) {
            0 => f64::INFINITY,
            1 => f64::NEG_INFINITY,
            2 => -0.0,
            3 => 0.0,
            4 => rng.next_u64() as f64 / 3.0,
            _ => rng.below(kinds) as f64 - kinds as f64 / 2.0,
        }
    }

    fn random_member(rng: &mut Rng, count: u64) -> Vec<u8> {
        let number = rng.below(count);
        // Every seventh does not fit inline.
        let tail = if number.is_multiple_of(7) { "-and-a-tail-that-is-long" } else { "" };
        format!("m{number}{tail}").into_bytes()
    }

    /// Everything that can be read is as the model says.
    fn compare(ranked: &Ranked, model: &Model, rng: &mut Rng) {
        ranked.validate();
        let sorted = model.sorted();
        let all: Vec<_> = ranked.walk(0, usize::MAX, false).map(|(m, s)| (m.to_vec(), s)).collect();
        assert_eq!(all, sorted);
        let mut back: Vec<_> = ranked
            .walk(sorted.len().wrapping_sub(1), usize::MAX, true)
            .map(|(m, s)| (m.to_vec(), s))
            .collect();
        back.reverse();
        assert_eq!(back, sorted);
        for _ in 0..20.min(sorted.len()) {
            let rank = rng.below(sorted.len() as u64) as usize;
            let (member, score) = &sorted[rank];
            let place = ranked.find(text_hash(member), member).expect("a member");
            assert_eq!((ranked.rank(place), ranked.score(place).to_bits()), (rank, score.to_bits()));
            assert_eq!(ranked.select(rank).map(|found| found.0), Some(place.0));
            let below = sorted.iter().filter(|(_, other)| other < score).count();
            assert_eq!(ranked.count_scores(|other| other < *score), below);
            let count = rng.below(90) as usize;
            let part: Vec<_> = ranked.walk(rank, count, false).map(|(m, _)| m.to_vec()).collect();
            let expected: Vec<_> = sorted[rank..].iter().take(count).map(|(m, _)| m.clone()).collect();
            assert_eq!(part, expected);
        }
        let mut seen = BTreeMap::new();
        let mut cursor = 0;
        loop {
            cursor = ranked.scan(cursor, 10, |member, _| *seen.entry(member.to_vec()).or_insert(0) += 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), sorted.len());
        assert!(seen.values().all(|times| *times == 1));
    }

    #[test]
    fn random_changes_leave_what_the_model_says() {
        for (seed, kinds) in [(1, 5), (2, 1_000), (3, 1_000_000)] {
            let mut rng = Rng::seeded(seed);
            let (mut ranked, mut model) = (Ranked::new(), Model::default());
            let empty = ranked.heap_bytes();
            // Growing, at rest, shrinking.
            for (rounds, removals) in [(4, 2), (3, 5), (6, 9)] {
                for _ in 0..rounds {
                    for _ in 0..800 {
                        let member = random_member(&mut rng, 3_000);
                        if rng.below(10) < removals {
                            assert_eq!(remove(&mut ranked, &member), model.0.remove(&member).is_some());
                        } else {
                            let score = random_score(&mut rng, kinds);
                            set(&mut ranked, &member, score);
                            model.0.insert(member, score);
                        }
                    }
                    compare(&ranked, &model, &mut rng);
                    // A clone is as good, and goes on in its place.
                    ranked = ranked.clone();
                    compare(&ranked, &model, &mut rng);
                }
            }
            for (member, _) in model.sorted() {
                assert!(remove(&mut ranked, &member));
            }
            ranked.validate();
            assert!(ranked.heap_bytes() <= empty + 1024, "{} of {empty}", ranked.heap_bytes());
        }
    }

    #[test]
    fn what_is_added_in_order_fills_the_leaves() {
        let mut ranked = Ranked::new();
        for number in 0..20_000u32 {
            let member = format!("member:{number}");
            ranked.insert(text_hash(member.as_bytes()), Text::from(member.as_bytes()), f64::from(number));
        }
        ranked.validate();
        assert!(ranked.tree.heap_bytes() < 20_000 * 13, "{}", ranked.tree.heap_bytes());
        // What Redis takes for such a member: a list node of 40 bytes or more, its text, and a cell of the hash table.
        assert!(ranked.heap_bytes() < 20_000 * 64, "{}", ranked.heap_bytes());
        for number in 0..20_000usize {
            let place = ranked.select(0).expect("there are more");
            assert_eq!(ranked.score(place), number as f64);
            ranked.remove(place);
        }
        assert!(ranked.is_empty());
        ranked.validate();
    }

    #[test]
    fn equal_scores_are_ordered_by_bytes() {
        let mut ranked = Ranked::new();
        for number in 0..5_000u32 {
            let member = number.wrapping_mul(2_654_435_761).to_be_bytes();
            ranked.insert(text_hash(&member), Text::from(&member[..]), 0.0);
        }
        ranked.validate();
        let bound = 0x8000_0000u32.to_be_bytes();
        let below = ranked.count_members(|member| member < &bound[..]);
        let walked = ranked.walk(0, usize::MAX, false).take_while(|(member, _)| *member < &bound[..]).count();
        assert_eq!(below, walked);
        assert!(below > 2_000 && below < 3_000);
    }
}
