//! The members of a large sorted set with their scores, each once, addressed by number.
//!
//! Members lie in pages, so that growing never copies more than one page. The number of a member that goes is given to
//! the next one that comes; when too many are vacant, members from the end are moved into such places ([`Members::spare`]),
//! so that memory shrinks with the set. It knows neither order nor index: who moves a member must tell both.
//!
//! A vacant place has NaN for a score, which no member has, and for a text the numbers of the vacant places before and
//! behind it in a list of them all. The last place is never vacant.

use crate::store::object::size_class;
use crate::store::prefetch;
use crate::store::value::text::Text;

/// Members of a full page: 32 KiB.
const PAGE_MEMBERS: usize = 1024;
/// Members that the first page has room for at first.
const FIRST_ROOM: usize = 64;
/// As many places may always be vacant; beyond them, half as many as there are members.
const VACANT_MIN: usize = 16;
/// Ends the list of vacant places.
const NONE: u32 = u32::MAX;

/// A member and its score.
#[derive(Clone, Debug)]
struct Member {
    text: Text,
    score: f64,
}

/// The members; see the module.
#[derive(Debug)]
pub struct Members {
    /// All full but the last; none is empty.
    pages: Vec<Vec<Member>>,
    /// Bytes on the heap of texts and pages.
    bytes: usize,
    /// How many places are vacant, and the first of them.
    vacant: usize,
    first_vacant: u32,
}

impl Default for Members {
    fn default() -> Self {
        Self { pages: Vec::new(), bytes: 0, vacant: 0, first_vacant: NONE }
    }
}

impl Clone for Members {
    fn clone(&self) -> Self {
        let pages = self.pages.clone();
        // Copies have no room to spare.
        let bytes_of = |pages: &[Vec<Member>]| -> usize {
            pages.iter().map(|page| size_class(page.capacity() * size_of::<Member>())).sum()
        };
        let bytes = self.bytes - bytes_of(&self.pages) + bytes_of(&pages);
        Self { pages, bytes, ..*self }
    }
}

impl Members {
    /// How many places there are, vacant ones included.
    #[inline]
    fn places(&self) -> usize {
        match self.pages.last() {
            Some(last) => (self.pages.len() - 1) * PAGE_MEMBERS + last.len(),
            None => 0,
        }
    }

    /// How many members there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.places() - self.vacant
    }

    /// Whether the numbers of members are all numbers below [`Members::len`].
    #[inline]
    pub fn is_dense(&self) -> bool {
        self.vacant == 0
    }

    /// Bytes that the allocator holds for them.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + size_class(self.pages.capacity() * size_of::<Vec<Member>>())
    }

    #[inline]
    fn at(&self, id: u32) -> &Member {
        &self.pages[id as usize / PAGE_MEMBERS][id as usize % PAGE_MEMBERS]
    }

    #[inline]
    fn at_mut(&mut self, id: u32) -> &mut Member {
        &mut self.pages[id as usize / PAGE_MEMBERS][id as usize % PAGE_MEMBERS]
    }

    /// The bytes of a member.
    ///
    /// # Panics
    /// Here and below, if there is no member of this number: numbers come from order and index, which hold no others.
    #[inline]
    pub fn text(&self, id: u32) -> &[u8] {
        &self.at(id).text
    }

    /// The score of a member.
    #[inline]
    pub fn score(&self, id: u32) -> f64 {
        self.at(id).score
    }

    /// Brings a member into the processor's cache, for a look that comes soon.
    #[inline]
    pub fn expect(&self, id: u32) {
        prefetch::bring_start(self.at(id));
    }

    /// Changes the score of a member.
    #[inline]
    pub fn set_score(&mut self, id: u32, score: f64) {
        self.at_mut(id).score = score;
    }

    /// Adds a member and says its number.
    pub fn insert(&mut self, text: Text, score: f64) -> u32 {
        self.bytes += text.heap_bytes();
        let member = Member { text, score };
        if self.first_vacant != NONE {
            let id = self.first_vacant;
            self.unlink(id);
            *self.at_mut(id) = member;
            return id;
        }
        let id = self.places() as u32;
        self.page_with_room().push(member);
        id
    }

    /// The last page, which has room.
    fn page_with_room(&mut self) -> &mut Vec<Member> {
        let page_bytes = |room: usize| size_class(room * size_of::<Member>());
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE_MEMBERS => {
                if last.len() == last.capacity() {
                    let room = (last.len() * 3 / 2).clamp(FIRST_ROOM, PAGE_MEMBERS);
                    self.bytes -= page_bytes(last.capacity());
                    last.reserve_exact(room - last.len());
                    self.bytes += page_bytes(last.capacity());
                }
            }
            full => {
                let room = if full.is_some() { PAGE_MEMBERS } else { FIRST_ROOM };
                let page = Vec::with_capacity(room);
                self.bytes += page_bytes(page.capacity());
                self.pages.push(page);
            }
        }
        let last = self.pages.len() - 1;
        &mut self.pages[last]
    }

    /// Takes a member out; its place is vacant, or gone.
    pub fn remove(&mut self, id: u32) -> (Text, f64) {
        let next = self.first_vacant;
        if next != NONE {
            let (_, behind) = self.link(next);
            self.set_link(next, id, behind);
        }
        let vacant = Member { text: link_text(NONE, next), score: f64::NAN };
        let removed = std::mem::replace(self.at_mut(id), vacant);
        self.first_vacant = id;
        self.vacant += 1;
        self.bytes -= removed.text.heap_bytes();
        self.trim();
        (removed.text, removed.score)
    }

    /// Where too many places are vacant: the last member, and a vacant place that it may be moved to.
    pub fn spare(&self) -> Option<(u32, u32)> {
        (self.vacant > VACANT_MIN + self.len() / 2).then(|| ((self.places() - 1) as u32, self.first_vacant))
    }

    /// Moves the last member to a vacant place.
    pub fn move_last(&mut self, to: u32) {
        self.unlink(to);
        if let Some(member) = self.pop() {
            *self.at_mut(to) = member;
        }
        self.trim();
    }

    /// Drops vacant places from the end.
    fn trim(&mut self) {
        while let Some(id) = self.places().checked_sub(1).map(|last| last as u32)
            && self.at(id).score.is_nan()
        {
            self.unlink(id);
            self.pop();
        }
    }

    /// Takes the last place away, and its page if it is empty then.
    fn pop(&mut self) -> Option<Member> {
        let last = self.pages.last_mut()?;
        let member = last.pop();
        if last.is_empty() {
            self.bytes -= size_class(last.capacity() * size_of::<Member>());
            self.pages.pop();
        }
        member
    }

    /// The vacant places before and behind a vacant one.
    fn link(&self, id: u32) -> (u32, u32) {
        match *self.text(id) {
            [a, b, c, d, e, f, g, h] => (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])),
            _ => (NONE, NONE),
        }
    }

    fn set_link(&mut self, id: u32, before: u32, behind: u32) {
        self.at_mut(id).text = link_text(before, behind);
    }

    /// Takes a place out of the list of vacant ones.
    fn unlink(&mut self, id: u32) {
        let (before, behind) = self.link(id);
        if before == NONE {
            self.first_vacant = behind;
        } else {
            let (first, _) = self.link(before);
            self.set_link(before, first, behind);
        }
        if behind != NONE {
            let (_, last) = self.link(behind);
            self.set_link(behind, before, last);
        }
        self.vacant -= 1;
    }

    /// Recounts everything; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        for (number, page) in self.pages.iter().enumerate() {
            let is_last = number + 1 == self.pages.len();
            assert!(page.len() == PAGE_MEMBERS || is_last && !page.is_empty());
        }
        let texts = self.pages.iter().flatten().map(|member| member.text.heap_bytes()).sum::<usize>();
        let pages = self.pages.iter().map(|page| size_class(page.capacity() * size_of::<Member>()));
        assert_eq!(self.bytes, texts + pages.sum::<usize>());
        let (mut before, mut at, mut count) = (NONE, self.first_vacant, 0);
        while at != NONE {
            assert!(self.score(at).is_nan() && self.link(at).0 == before);
            (before, at) = (at, self.link(at).1);
            count += 1;
        }
        let vacant = self.pages.iter().flatten().filter(|member| member.score.is_nan()).count();
        assert_eq!((count, vacant), (self.vacant, self.vacant));
        assert!(self.pages.iter().flatten().last().is_none_or(|member| !member.score.is_nan()));
        assert!(self.vacant <= VACANT_MIN + self.len() / 2 + 1);
    }
}

/// What stands in a vacant place.
fn link_text(before: u32, behind: u32) -> Text {
    Text::concat(&[&before.to_le_bytes(), &behind.to_le_bytes()])
}
