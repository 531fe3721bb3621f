//! Lua's patterns, matched within bounds: Lua 5.1's own matcher recurses as deep as a pattern is long, and goes on as long
//! as a pattern makes it.
//!
//! Behaves as `lstrlib.c` does, its limits and messages included. Every so many steps somebody is asked whether to go on;
//! a pattern that needs deep recursion is refused.

/// Captures of a pattern at most.
const CAPTURES_MAX: usize = 32;
/// Depth of recursion: quantifiers and captures that are open at once.
const DEPTH_MAX: usize = 400;
/// Steps between two questions.
const STEPS: u32 = 100_000;

const ESCAPE: u8 = b'%';
/// What makes a pattern more than plain text.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// Why matching ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The pattern is no pattern, or a capture is none.
    Malformed(&'static str),
    /// It was told to end.
    Stopped,
}

/// Part of the subject that a pattern's `(…)` matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// From the first position to before the second.
    Text(usize, usize),
    /// `()`: a position.
    Position(usize),
    /// It was not closed yet.
    Open(usize),
}

/// Matches one pattern against one subject.
pub struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    anchored: bool,
    captures: [Capture; CAPTURES_MAX],
    level: usize,
    depth: usize,
    steps: u32,
    go_on: &'a mut dyn FnMut() -> bool,
}

/// Where a subject matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Its first byte.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
}

type Outcome = Result<Option<usize>, Broken>;

/// Whether a pattern is plain text.
pub fn is_plain(pattern: &[u8]) -> bool {
    !until_nul(pattern).iter().any(|byte| SPECIALS.contains(byte))
}

/// A pattern ends at a NUL, as in C.
fn until_nul(pattern: &[u8]) -> &[u8] {
    &pattern[..memchr::memchr(0, pattern).unwrap_or(pattern.len())]
}

impl<'a> Matcher<'a> {
    /// A matcher; `anchors` says that a `^` in front ties the pattern to where the search begins. `go_on` is asked from
    /// time to time.
    pub fn new(
        subject: &'a [u8],
        pattern: &'a [u8],
        anchors: bool,
        go_on: &'a mut dyn FnMut() -> bool,
    ) -> Self {
        let pattern = until_nul(pattern);
        let anchored = anchors && pattern.first() == Some(&b'^');
        Self {
            subject,
            pattern: if anchored { &pattern[1..] } else { pattern },
            anchored,
            captures: [Capture::Open(0); CAPTURES_MAX],
            level: 0,
            depth: 0,
            steps: 0,
            go_on,
        }
    }

    /// Whether the pattern is tied to where the search begins.
    pub fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// The first match at or behind `from`.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn find(&mut self, from: usize) -> Result<Option<Match>, Broken> {
        for start in from..=self.subject.len() {
            if let Some(end) = self.match_at(start)? {
                return Ok(Some(Match { start, end }));
            }
            if self.anchored {
                break;
            }
        }
        Ok(None)
    }

    /// The end of a match that begins at `start`.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn match_at(&mut self, start: usize) -> Outcome {
        self.level = 0;
        self.depth = 0;
        self.run(start, 0)
    }

    /// How many captures the last match has.
    pub fn captures(&self) -> usize {
        self.level
    }

    /// A capture of the last match; without any, the first is the match as a whole.
    ///
    /// # Errors
    /// There is none, or it was not closed.
    pub fn capture(&self, index: usize, found: Match) -> Result<Capture, Broken> {
        match self.captures[..self.level].get(index) {
            None if index == 0 => Ok(Capture::Text(found.start, found.end)),
            None => Err(Broken::Malformed("invalid capture index")),
            Some(Capture::Open(_)) => Err(Broken::Malformed("unfinished capture")),
            Some(capture) => Ok(*capture),
        }
    }

    /// The pattern's byte at `at`; 0 behind its end.
    fn byte(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or(0)
    }

    fn step(&mut self) -> Result<(), Broken> {
        self.steps += 1;
        if self.steps >= STEPS {
            self.steps = 0;
            if !(self.go_on)() {
                return Err(Broken::Stopped);
            }
        }
        Ok(())
    }

    fn run(&mut self, at: usize, pattern: usize) -> Outcome {
        if self.depth >= DEPTH_MAX {
            return Err(Broken::Malformed("pattern too complex"));
        }
        self.depth += 1;
        let outcome = self.run_item(at, pattern);
        self.depth -= 1;
        outcome
    }

    fn run_item(&mut self, mut at: usize, mut item: usize) -> Outcome {
        loop {
            self.step()?;
            if item >= self.pattern.len() {
                return Ok(Some(at));
            }
            match (self.byte(item), self.byte(item + 1)) {
                (b'(', b')') => return self.open(at, item + 2, Capture::Position(at)),
                (b'(', _) => return self.open(at, item + 1, Capture::Open(at)),
                (b')', _) => return self.close(at, item + 1),
                (ESCAPE, b'b') => match self.balance(at, item + 2)? {
                    Some(end) => (at, item) = (end, item + 4),
                    None => return Ok(None),
                },
                (ESCAPE, b'f') => match self.frontier(at, item + 2)? {
                    Some(next) => item = next,
                    None => return Ok(None),
                },
                (ESCAPE, digit @ b'0'..=b'9') => match self.again(at, digit)? {
                    Some(end) => (at, item) = (end, item + 2),
                    None => return Ok(None),
                },
                (b'$', _) if item + 1 == self.pattern.len() => {
                    return Ok((at == self.subject.len()).then_some(at));
                }
                _ => {
                    let end = self.class_end(item)?;
                    let single = self.single(at, item, end);
                    match self.byte(end) {
                        b'?' => {
                            if single && let Some(found) = self.run(at + 1, end + 1)? {
                                return Ok(Some(found));
                            }
                            item = end + 1;
                        }
                        b'*' => return self.most(at, item, end),
                        b'+' => return if single { self.most(at + 1, item, end) } else { Ok(None) },
                        b'-' => return self.least(at, item, end),
                        _ if !single => return Ok(None),
                        _ => (at, item) = (at + 1, end),
                    }
                }
            }
        }
    }

    fn most(&mut self, at: usize, item: usize, end: usize) -> Outcome {
        let mut count = 0;
        while self.single(at + count, item, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(found) = self.run(at + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn least(&mut self, mut at: usize, item: usize, end: usize) -> Outcome {
        loop {
            if let Some(found) = self.run(at, end + 1)? {
                return Ok(Some(found));
            }
            if !self.single(at, item, end) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn open(&mut self, at: usize, item: usize, capture: Capture) -> Outcome {
        let Some(slot) = self.captures.get_mut(self.level) else {
            return Err(Broken::Malformed("too many captures"));
        };
        *slot = capture;
        self.level += 1;
        let found = self.run(at, item)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close(&mut self, at: usize, item: usize) -> Outcome {
        let open = self.captures[..self.level].iter().rposition(|one| matches!(one, Capture::Open(_)));
        let Some(index) = open else { return Err(Broken::Malformed("invalid pattern capture")) };
        let Capture::Open(start) = self.captures[index] else { return Ok(None) };
        self.captures[index] = Capture::Text(start, at);
        let found = self.run(at, item)?;
        if found.is_none() {
            self.captures[index] = Capture::Open(start);
        }
        Ok(found)
    }

    /// `%1`: what a capture matched, once more.
    fn again(&mut self, at: usize, digit: u8) -> Outcome {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        match self.captures[..self.level].get(index) {
            None | Some(Capture::Open(_)) => Err(Broken::Malformed("invalid capture index")),
            Some(Capture::Position(_)) => Ok(None),
            Some(Capture::Text(start, end)) => {
                let (text, rest) = (&self.subject[*start..*end], &self.subject[at..]);
                Ok(rest.starts_with(text).then_some(at + text.len()))
            }
        }
    }

    /// `%bxy`
    fn balance(&mut self, at: usize, item: usize) -> Outcome {
        let (open, close) = (self.byte(item), self.byte(item + 1));
        if open == 0 || close == 0 {
            return Err(Broken::Malformed("unbalanced pattern"));
        }
        if self.subject.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for next in at + 1..self.subject.len() {
            self.step()?;
            if self.subject[next] == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(next + 1));
                }
            } else if self.subject[next] == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: where the pattern goes on, if this is a frontier.
    fn frontier(&mut self, at: usize, item: usize) -> Outcome {
        if self.byte(item) != b'[' {
            return Err(Broken::Malformed("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(item)?;
        let before = if at == 0 { 0 } else { self.subject[at - 1] };
        let here = self.subject.get(at).copied().unwrap_or(0);
        let is_frontier = !self.in_set(before, item, end - 1) && self.in_set(here, item, end - 1);
        Ok(is_frontier.then_some(end))
    }

    /// Behind the class that begins at `item`.
    fn class_end(&self, item: usize) -> Result<usize, Broken> {
        let mut at = item + 1;
        match self.byte(item) {
            ESCAPE if at >= self.pattern.len() => Err(Broken::Malformed("malformed pattern (ends with '%')")),
            ESCAPE => Ok(at + 1),
            b'[' => {
                if self.byte(at) == b'^' {
                    at += 1;
                }
                loop {
                    if at >= self.pattern.len() {
                        return Err(Broken::Malformed("malformed pattern (missing ']')"));
                    }
                    let byte = self.byte(at);
                    at += 1;
                    if byte == ESCAPE && at < self.pattern.len() {
                        at += 1;
                    }
                    if self.byte(at) == b']' {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(at),
        }
    }

    /// Whether the subject's byte at `at` is of the class from `item` to `end`.
    fn single(&self, at: usize, item: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(at) else { return false };
        match self.byte(item) {
            b'.' => true,
            ESCAPE => in_class(byte, self.byte(item + 1)),
            b'[' => self.in_set(byte, item, end - 1),
            other => other == byte,
        }
    }

    /// Whether a byte is in the set from `[` at `item` to `]` at `end`.
    fn in_set(&self, byte: u8, item: usize, end: usize) -> bool {
        let mut at = item + 1;
        let is_negated = self.byte(at) == b'^';
        if is_negated {
            at += 1;
        }
        while at < end {
            let this = self.byte(at);
            if this == ESCAPE {
                at += 1;
                if in_class(byte, self.byte(at)) {
                    return !is_negated;
                }
            } else if self.byte(at + 1) == b'-' && at + 2 < end {
                if (this..=self.byte(at + 2)).contains(&byte) {
                    return !is_negated;
                }
                at += 2;
            } else if this == byte {
                return !is_negated;
            }
            at += 1;
        }
        is_negated
    }
}

/// `%a` and its like; a capital letter means all other bytes.
fn in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0B,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}
