//! The members of a large sorted set with their scores, each once, addressed by a dense number.
//!
//! Members lie in pages, so that growing never copies more than one page. Numbers are `0..len`: removing one moves the
//! last member into its place, so no page is ever sparse and every number is a member. It knows neither order nor index:
//! who removes must tell both of the member that moved.

use crate::store::object::size_class;
use crate::store::prefetch;
use crate::store::value::text::Text;

/// Members of a full page: 32 KiB.
const PAGE_MEMBERS: usize = 1024;
/// Members that the first page has room for at first.
const FIRST_ROOM: usize = 64;

/// A member and its score.
#[derive(Debug)]
struct Member {
    text: Text,
    score: f64,
}

/// The members; see the module.
#[derive(Debug, Default)]
pub struct Members {
    /// All full but the last; none is empty.
    pages: Vec<Vec<Member>>,
    /// Bytes on the heap of texts and pages.
    bytes: usize,
}

impl Members {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        match self.pages.last() {
            Some(last) => (self.pages.len() - 1) * PAGE_MEMBERS + last.len(),
            None => 0,
        }
    }

    /// Bytes that the allocator holds for them.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + size_class(self.pages.capacity() * size_of::<Vec<Member>>())
    }

    #[inline]
    fn at(&self, id: u32) -> &Member {
        &self.pages[id as usize / PAGE_MEMBERS][id as usize % PAGE_MEMBERS]
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
        self.pages[id as usize / PAGE_MEMBERS][id as usize % PAGE_MEMBERS].score = score;
    }

    /// Adds a member; its number is what [`Members::len`] was.
    pub fn push(&mut self, text: Text, score: f64) -> u32 {
        let id = self.len() as u32;
        self.bytes += text.heap_bytes();
        let page = self.page_with_room();
        page.push(Member { text, score });
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

    /// Takes a member out. The one of the highest number gets its number, unless it is that one.
    pub fn swap_remove(&mut self, id: u32) -> Option<(Text, f64)> {
        let last = self.pages.last_mut()?;
        let moved = last.pop()?;
        if last.is_empty() {
            self.bytes -= size_class(last.capacity() * size_of::<Member>());
            self.pages.pop();
        }
        let removed = if self.len() == id as usize {
            moved
        } else {
            let cell = &mut self.pages[id as usize / PAGE_MEMBERS][id as usize % PAGE_MEMBERS];
            std::mem::replace(cell, moved)
        };
        self.bytes -= removed.text.heap_bytes();
        Some((removed.text, removed.score))
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
    }
}
