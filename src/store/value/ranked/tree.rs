//! The order of a large sorted set: a B+tree over (score, member) whose inner nodes count what lies below them.
//!
//! A leaf holds scores and members' numbers as two arrays, so that comparing scores follows no pointer; only members of
//! equal scores are compared by their bytes, for which every call is handed the [`Members`]. An inner node repeats the
//! first score and number of each child, and its count. Every node is an allocation of its own: the tree grows and
//! shrinks node by node, and no call touches more than a path of it.
//!
//! Invariants: entries ascend by score, then by member; what an inner node says of a child is exactly so; no node is
//! empty. Scores are never NaN; -0 and 0 are equal.

use super::members::Members;
use crate::store::object::size_class;
use crate::store::prefetch;

/// Entries of a leaf at most: with its length, 760 bytes.
const LEAF_MAX: usize = 63;
/// Children of an inner node at most: with their number, 1,000 bytes.
const INNER_MAX: usize = 31;
/// Nodes with fewer entries than this after a removal are filled from a neighbour, or joined with it.
const LEAF_MIN: usize = LEAF_MAX / 4;
const INNER_MIN: usize = INNER_MAX / 4;

/// Scores and numbers in a cache line.
const LINE_SCORES: usize = 8;
const LINE_NUMBERS: usize = 16;

/// Where an entry stands or would stand.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Its score.
    pub score: f64,
    /// Its member.
    pub member: &'a [u8],
}

/// What became of an entry; see [`Tree::rescore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Absent,
    Removed,
    /// The new score stands in the old one's place.
    InPlace,
}

#[derive(Clone, Debug)]
struct Leaf {
    scores: [f64; LEAF_MAX],
    ids: [u32; LEAF_MAX],
    len: u32,
}

#[derive(Clone, Debug)]
struct Inner {
    /// Of each child, its first entry and how many there are.
    scores: [f64; INNER_MAX],
    ids: [u32; INNER_MAX],
    counts: [u32; INNER_MAX],
    len: u32,
    children: [Node; INNER_MAX],
}

#[derive(Clone, Debug, Default)]
enum Node {
    /// An empty tree, and the unused cells of an inner node.
    #[default]
    Empty,
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

/// The order; see the module.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: Node,
    len: usize,
    tally: Tally,
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    leaves: usize,
    inners: usize,
}

/// How many of the first entries of `scores` and `ids` are before `key`, or, with `or_equal`, not after it.
#[inline]
fn rank_in(scores: &[f64], ids: &[u32], members: &Members, key: Key<'_>, or_equal: bool) -> usize {
    let low = scores.partition_point(|score| *score < key.score);
    let equal = match scores.get(low) {
        Some(score) if *score == key.score => scores[low..].partition_point(|score| *score == key.score),
        _ => return low,
    };
    let before = |id: &u32| {
        let member = members.text(*id);
        if or_equal { member <= key.member } else { member < key.member }
    };
    low + ids[low..low + equal].partition_point(before)
}

/// The number of indexes below `len` for which `before` holds; it holds for the first ones.
#[inline]
fn partition(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// How many entries go from the right of two neighbours to the left one, negative for the other way: all if they then
/// fit with room to spare, otherwise as many as make them even.
fn forth(left: usize, right: usize, joined_max: usize) -> isize {
    if left + right <= joined_max { right as isize } else { (right as isize - left as isize) / 2 }
}

impl Leaf {
    fn boxed() -> Box<Self> {
        Box::new(Self { scores: [0.0; LEAF_MAX], ids: [0; LEAF_MAX], len: 0 })
    }

    #[inline]
    fn len(&self) -> usize {
        self.len as usize
    }

    fn put(&mut self, at: usize, score: f64, id: u32) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        self.scores[at] = score;
        self.ids[at] = id;
        self.len += 1;
    }

    fn take(&mut self, at: usize) {
        let len = self.len();
        self.scores.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.len -= 1;
    }

    /// Where the entry of this number and score stands.
    #[inline]
    fn find(&self, score: f64, id: u32) -> Option<usize> {
        let low = self.scores[..self.len()].partition_point(|other| *other < score);
        self.ids[low..self.len()].iter().position(|other| *other == id).map(|behind| low + behind)
    }

    /// Inserts an entry; the right half if the leaf was full. At the end of the last leaf nothing is moved: what is added
    /// in order fills the leaves.
    fn insert(&mut self, members: &Members, key: Key<'_>, id: u32, is_last: bool) -> Option<Box<Self>> {
        let len = self.len();
        let at = rank_in(&self.scores[..len], &self.ids[..len], members, key, false);
        if len < LEAF_MAX {
            self.put(at, key.score, id);
            return None;
        }
        let mut right = Self::boxed();
        if is_last && at == len {
            right.put(0, key.score, id);
            return Some(right);
        }
        self.move_back(&mut right, LEAF_MAX / 2);
        match at.checked_sub(self.len()) {
            Some(behind) if behind > 0 => right.put(behind, key.score, id),
            _ => self.put(at, key.score, id),
        }
        Some(right)
    }

    /// Moves the last `count` entries to the front of `right`.
    fn move_back(&mut self, right: &mut Self, count: usize) {
        let (len, others) = (self.len(), right.len());
        right.scores.copy_within(..others, count);
        right.ids.copy_within(..others, count);
        right.scores[..count].copy_from_slice(&self.scores[len - count..len]);
        right.ids[..count].copy_from_slice(&self.ids[len - count..len]);
        self.len -= count as u32;
        right.len += count as u32;
    }

    /// Moves the first `count` entries of `right` to the end.
    fn move_forth(&mut self, right: &mut Self, count: usize) {
        let (len, others) = (self.len(), right.len());
        self.scores[len..len + count].copy_from_slice(&right.scores[..count]);
        self.ids[len..len + count].copy_from_slice(&right.ids[..count]);
        right.scores.copy_within(count..others, 0);
        right.ids.copy_within(count..others, 0);
        self.len += count as u32;
        right.len -= count as u32;
    }

    /// Removes the entry, or gives it the score `new` if that leaves it where it is.
    fn remove(&mut self, key: Key<'_>, id: u32, new: Option<f64>) -> Change {
        let Some(at) = self.find(key.score, id) else {
            return Change::Absent;
        };
        // The first entry is also known to the nodes above.
        if let Some(score) = new
            && at > 0
            && at + 1 < self.len()
            && self.scores[at - 1] < score
            && score < self.scores[at + 1]
        {
            self.scores[at] = score;
            return Change::InPlace;
        }
        self.take(at);
        Change::Removed
    }
}

impl Inner {
    fn boxed() -> Box<Self> {
        Box::new(Self {
            scores: [0.0; INNER_MAX],
            ids: [0; INNER_MAX],
            counts: [0; INNER_MAX],
            len: 0,
            children: [const { Node::Empty }; INNER_MAX],
        })
    }

    #[inline]
    fn len(&self) -> usize {
        self.len as usize
    }

    fn count(&self) -> usize {
        self.counts[..self.len()].iter().map(|count| *count as usize).sum()
    }

    /// The child that `key` belongs into, and whether `key` is before all there is.
    #[inline]
    fn child_of(&self, members: &Members, key: Key<'_>) -> (usize, bool) {
        let len = self.len();
        let rank = rank_in(&self.scores[..len], &self.ids[..len], members, key, true);
        (rank.saturating_sub(1), rank == 0)
    }

    /// Learns a child's first entry anew.
    fn learn_first(&mut self, at: usize) {
        let (score, id) = self.children[at].first();
        self.scores[at] = score;
        self.ids[at] = id;
    }

    fn put(&mut self, at: usize, child: Node) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        self.counts.copy_within(at..len, at + 1);
        self.children[at..=len].rotate_right(1);
        (self.scores[at], self.ids[at]) = child.first();
        self.counts[at] = child.count() as u32;
        self.children[at] = child;
        self.len += 1;
    }

    fn take(&mut self, at: usize) -> Node {
        let len = self.len();
        self.scores.copy_within(at + 1..len, at);
        self.ids.copy_within(at + 1..len, at);
        self.counts.copy_within(at + 1..len, at);
        self.children[at..len].rotate_left(1);
        self.len -= 1;
        std::mem::take(&mut self.children[len - 1])
    }

    /// Adds a child; the right half if the node was full.
    fn add(&mut self, at: usize, child: Node, is_last: bool) -> Option<Box<Self>> {
        let len = self.len();
        if len < INNER_MAX {
            self.put(at, child);
            return None;
        }
        let mut right = Self::boxed();
        if is_last && at == len {
            right.put(0, child);
            return Some(right);
        }
        self.move_back(&mut right, INNER_MAX / 2);
        match at.checked_sub(self.len()) {
            Some(behind) if behind > 0 => right.put(behind, child),
            _ => self.put(at, child),
        }
        Some(right)
    }

    /// Moves the last `count` children to the front of `right`.
    fn move_back(&mut self, right: &mut Self, count: usize) {
        let (len, others) = (self.len(), right.len());
        right.scores.copy_within(..others, count);
        right.ids.copy_within(..others, count);
        right.counts.copy_within(..others, count);
        right.children[..others + count].rotate_right(count);
        let from = len - count;
        right.scores[..count].copy_from_slice(&self.scores[from..len]);
        right.ids[..count].copy_from_slice(&self.ids[from..len]);
        right.counts[..count].copy_from_slice(&self.counts[from..len]);
        right.children[..count].swap_with_slice(&mut self.children[from..len]);
        self.len -= count as u32;
        right.len += count as u32;
    }

    /// Moves the first `count` children of `right` to the end.
    fn move_forth(&mut self, right: &mut Self, count: usize) {
        let (len, others) = (self.len(), right.len());
        self.scores[len..len + count].copy_from_slice(&right.scores[..count]);
        self.ids[len..len + count].copy_from_slice(&right.ids[..count]);
        self.counts[len..len + count].copy_from_slice(&right.counts[..count]);
        self.children[len..len + count].swap_with_slice(&mut right.children[..count]);
        right.scores.copy_within(count..others, 0);
        right.ids.copy_within(count..others, 0);
        right.counts.copy_within(count..others, 0);
        right.children[..others].rotate_left(count);
        self.len += count as u32;
        right.len -= count as u32;
    }

    /// Mends what a removal from a child has left: nothing, or little.
    fn mend(&mut self, at: usize, tally: &mut Tally) {
        if self.counts[at] == 0 {
            tally.drop_node(&self.take(at));
            return;
        }
        if !self.children[at].is_sparse() || self.len() == 1 {
            return;
        }
        let left = at.saturating_sub(1);
        let (head, tail) = self.children.split_at_mut(left + 1);
        match (&mut head[left], &mut tail[0]) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                match forth(left.len(), right.len(), LEAF_MAX - LEAF_MIN) {
                    count @ 0.. => left.move_forth(right, count as usize),
                    count => left.move_back(right, count.unsigned_abs()),
                }
            }
            (Node::Inner(left), Node::Inner(right)) => {
                match forth(left.len(), right.len(), INNER_MAX - INNER_MIN) {
                    count @ 0.. => left.move_forth(right, count as usize),
                    count => left.move_back(right, count.unsigned_abs()),
                }
            }
            _ => return,
        }
        self.counts[left] = self.children[left].count() as u32;
        self.counts[left + 1] = self.children[left + 1].count() as u32;
        if self.counts[left + 1] == 0 {
            tally.drop_node(&self.take(left + 1));
        } else {
            self.learn_first(left + 1);
        }
    }
}

impl Tally {
    fn drop_node(&mut self, node: &Node) {
        match node {
            Node::Empty => {}
            Node::Leaf(_) => self.leaves -= 1,
            Node::Inner(_) => self.inners -= 1,
        }
    }
}

impl Node {
    /// Brings a node into the processor's cache, all lines of what a search reads at once: it would wait for one after
    /// the other.
    #[inline]
    fn expect(&self) {
        match self {
            Self::Empty => {}
            Self::Leaf(leaf) => {
                leaf.scores.iter().step_by(LINE_SCORES).for_each(prefetch::bring_start);
                leaf.ids.iter().step_by(LINE_NUMBERS).for_each(prefetch::bring_start);
                prefetch::bring_start(&leaf.len);
            }
            Self::Inner(inner) => {
                inner.scores.iter().step_by(LINE_SCORES).for_each(prefetch::bring_start);
                inner.counts.iter().step_by(LINE_NUMBERS).for_each(prefetch::bring_start);
                prefetch::bring_start(&inner.len);
            }
        }
    }

    #[inline]
    fn first(&self) -> (f64, u32) {
        match self {
            Self::Empty => (0.0, 0),
            Self::Leaf(leaf) => (leaf.scores[0], leaf.ids[0]),
            Self::Inner(inner) => (inner.scores[0], inner.ids[0]),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Leaf(leaf) => leaf.len(),
            Self::Inner(inner) => inner.count(),
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Leaf(leaf) => leaf.len() < LEAF_MIN,
            Self::Inner(inner) => inner.len() < INNER_MIN,
        }
    }

    /// Inserts an entry; what had to be split off the node's right end.
    fn insert(
        &mut self,
        members: &Members,
        key: Key<'_>,
        id: u32,
        is_last: bool,
        tally: &mut Tally,
    ) -> Option<Self> {
        match self {
            Self::Empty => {
                let mut leaf = Leaf::boxed();
                leaf.put(0, key.score, id);
                tally.leaves += 1;
                *self = Self::Leaf(leaf);
                None
            }
            Self::Leaf(leaf) => {
                let right = leaf.insert(members, key, id, is_last)?;
                tally.leaves += 1;
                Some(Self::Leaf(right))
            }
            Self::Inner(inner) => {
                let (at, is_first) = inner.child_of(members, key);
                let is_last = is_last && at + 1 == inner.len();
                inner.children[at].expect();
                let split = inner.children[at].insert(members, key, id, is_last, tally);
                if is_first {
                    inner.learn_first(at);
                }
                let Some(right) = split else {
                    inner.counts[at] += 1;
                    return None;
                };
                inner.counts[at] = inner.children[at].count() as u32;
                let right = inner.add(at + 1, right, is_last)?;
                tally.inners += 1;
                Some(Self::Inner(right))
            }
        }
    }

    /// Removes an entry, or gives it the score `new` if that leaves it where it is.
    fn remove(
        &mut self,
        members: &Members,
        key: Key<'_>,
        id: u32,
        new: Option<f64>,
        tally: &mut Tally,
    ) -> Change {
        match self {
            Self::Empty => Change::Absent,
            Self::Leaf(leaf) => leaf.remove(key, id, new),
            Self::Inner(inner) => {
                let (at, _) = inner.child_of(members, key);
                inner.children[at].expect();
                let change = inner.children[at].remove(members, key, id, new, tally);
                if change == Change::Removed {
                    inner.counts[at] -= 1;
                    if inner.ids[at] == id && inner.counts[at] > 0 {
                        inner.learn_first(at);
                    }
                    inner.mend(at, tally);
                }
                change
            }
        }
    }
}

impl Tree {
    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that the allocator holds for the nodes.
    pub fn heap_bytes(&self) -> usize {
        self.tally.leaves * size_class(size_of::<Leaf>()) + self.tally.inners * size_class(size_of::<Inner>())
    }

    /// Inserts the member of number `id`, which is in `members` and not in the tree.
    pub fn insert(&mut self, members: &Members, id: u32) {
        let key = Key { score: members.score(id), member: members.text(id) };
        if let Some(right) = self.root.insert(members, key, id, true, &mut self.tally) {
            let mut top = Inner::boxed();
            top.put(0, std::mem::take(&mut self.root));
            top.put(1, right);
            self.tally.inners += 1;
            self.root = Node::Inner(top);
        }
        self.len += 1;
    }

    /// Removes the member of number `id`, which has in `members` the score that it has here.
    pub fn remove(&mut self, members: &Members, id: u32) {
        self.take(members, id, None);
    }

    fn take(&mut self, members: &Members, id: u32, new: Option<f64>) -> Change {
        let key = Key { score: members.score(id), member: members.text(id) };
        let change = self.root.remove(members, key, id, new, &mut self.tally);
        if change == Change::Removed {
            self.len -= 1;
            self.lower();
        }
        change
    }

    /// Drops roots that hold nothing but one child, or nothing.
    fn lower(&mut self) {
        loop {
            match &mut self.root {
                Node::Inner(inner) if inner.len() == 1 => {
                    let child = inner.take(0);
                    self.tally.drop_node(&std::mem::replace(&mut self.root, child));
                }
                Node::Inner(_) | Node::Leaf(_) if self.len == 0 => {
                    self.tally.drop_node(&std::mem::take(&mut self.root));
                }
                _ => return,
            }
        }
    }

    /// Gives the member of number `id` a new score, here and in `members`.
    pub fn rescore(&mut self, members: &mut Members, id: u32, score: f64) {
        let change = self.take(members, id, Some(score));
        members.set_score(id, score);
        if change == Change::Removed {
            self.insert(members, id);
        }
    }

    /// The member of number `old` is called `new` from now on; `members` still has it at `old`.
    pub fn rename(&mut self, members: &Members, old: u32, new: u32) {
        let key = Key { score: members.score(old), member: members.text(old) };
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Empty => return,
                Node::Leaf(leaf) => {
                    if let Some(at) = leaf.find(key.score, old) {
                        leaf.ids[at] = new;
                    }
                    return;
                }
                Node::Inner(inner) => {
                    let (at, _) = inner.child_of(members, key);
                    if inner.ids[at] == old {
                        inner.ids[at] = new;
                    }
                    inner.children[at].expect();
                    node = &mut inner.children[at];
                }
            }
        }
    }

    /// How many entries are before the member of number `id`.
    pub fn rank(&self, members: &Members, id: u32) -> usize {
        let key = Key { score: members.score(id), member: members.text(id) };
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Empty => return rank,
                Node::Leaf(leaf) => return rank + leaf.find(key.score, id).unwrap_or_default(),
                Node::Inner(inner) => {
                    let (at, _) = inner.child_of(members, key);
                    inner.children[at].expect();
                    rank += inner.counts[..at].iter().map(|count| *count as usize).sum::<usize>();
                    node = &inner.children[at];
                }
            }
        }
    }

    /// How many of the first entries `before` holds for: it holds for none behind one that it does not hold for.
    pub fn count_before(&self, before: impl Fn(f64, u32) -> bool) -> usize {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Empty => return rank,
                Node::Leaf(leaf) => {
                    return rank + partition(leaf.len(), |at| before(leaf.scores[at], leaf.ids[at]));
                }
                Node::Inner(inner) => {
                    let firsts = partition(inner.len(), |at| before(inner.scores[at], inner.ids[at]));
                    let Some(at) = firsts.checked_sub(1) else {
                        return rank;
                    };
                    inner.children[at].expect();
                    rank += inner.counts[..at].iter().map(|count| *count as usize).sum::<usize>();
                    node = &inner.children[at];
                }
            }
        }
    }

    /// The leaf with the entry of this rank, as scores and numbers, and where in it the entry stands.
    #[inline]
    pub fn select(&self, rank: usize) -> Option<(&[f64], &[u32], usize)> {
        let mut node = &self.root;
        let mut rank = rank;
        loop {
            match node {
                Node::Empty => return None,
                Node::Leaf(leaf) => {
                    let len = leaf.len();
                    return (rank < len).then_some((&leaf.scores[..len], &leaf.ids[..len], rank));
                }
                Node::Inner(inner) => {
                    let mut at = 0;
                    for count in &inner.counts[..inner.len()] {
                        let count = *count as usize;
                        if rank < count {
                            break;
                        }
                        rank -= count;
                        at += 1;
                    }
                    node = inner.children.get(at)?;
                    node.expect();
                }
            }
        }
    }

    /// Checks every invariant; for tests.
    #[cfg(test)]
    pub fn validate(&self, members: &Members) {
        let mut entries = Vec::new();
        let mut tally = Tally::default();
        let count = self.root.validate(&mut entries, &mut tally);
        assert_eq!((count, entries.len(), tally), (self.len, self.len, self.tally));
        for pair in entries.windows(2) {
            let ((low, low_id), (high, high_id)) = (pair[0], pair[1]);
            let ascends = low < high || low == high && members.text(low_id) < members.text(high_id);
            assert!(ascends, "{pair:?}");
        }
        for (score, id) in entries {
            assert_eq!(score.to_bits(), members.score(id).to_bits());
        }
    }
}

#[cfg(test)]
impl Node {
    fn validate(&self, entries: &mut Vec<(f64, u32)>, tally: &mut Tally) -> usize {
        match self {
            Self::Empty => 0,
            Self::Leaf(leaf) => {
                tally.leaves += 1;
                assert!(leaf.len() > 0);
                entries.extend((0..leaf.len()).map(|at| (leaf.scores[at], leaf.ids[at])));
                leaf.len()
            }
            Self::Inner(inner) => {
                tally.inners += 1;
                assert!(inner.len() > 0);
                for at in 0..inner.len() {
                    let before = entries.len();
                    let count = inner.children[at].validate(entries, tally);
                    assert_eq!(count, inner.counts[at] as usize);
                    assert_eq!((inner.scores[at], inner.ids[at]), entries[before]);
                }
                assert!(inner.children[inner.len()..].iter().all(|child| matches!(child, Self::Empty)));
                inner.count()
            }
        }
    }
}
