//! Functions of the library `string` that Lua's own C code must not run: those whose time or memory a script could make
//! grow without a bound, out of reach of the hook.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Error, Function, Lua, LuaString, Value, Variadic};

use crate::script::failure::Raised;
use crate::script::guard::type_name;
use crate::script::link::Link;
use crate::script::pattern::{self, Broken, Capture, Match, Matcher};
use crate::script::sandbox::{integer, string};

/// The functions by name; `gsub` with a replacement that is a function or a table is made of `substitute` in Lua.
///
/// # Errors
/// Out of memory.
pub fn functions(lua: &Lua, link: &Rc<Link>) -> Result<Vec<(&'static str, Function)>, Error> {
    let own = Rc::clone(link);
    let rep = lua.create_function(move |lua, args: Variadic<Value>| {
        let text = string(lua, &args, 0, "rep")?;
        let times = integer(lua, &args, 1, "rep", None)?.max(0) as usize;
        own.make_room(lua, text.len().saturating_mul(times))?;
        lua.create_string(text.repeat(if text.is_empty() { 0 } else { times }))
    })?;
    let own = Rc::clone(link);
    let find = lua.create_function(move |lua, args: Variadic<Value>| search(lua, &own, &args, true))?;
    let own = Rc::clone(link);
    let matched = lua.create_function(move |lua, args: Variadic<Value>| search(lua, &own, &args, false))?;
    let own = Rc::clone(link);
    let gmatch = lua.create_function(move |lua, args: Variadic<Value>| walk(lua, &own, &args))?;
    Ok(vec![("rep", rep), ("find", find), ("match", matched), ("gfind", gmatch.clone()), ("gmatch", gmatch)])
}

/// Runs `with` on a matcher whose patience is the script's.
fn matching<R>(
    lua: &Lua,
    link: &Rc<Link>,
    (subject, pattern, anchors): (&[u8], &[u8], bool),
    with: impl FnOnce(&mut Matcher<'_>) -> Result<R, Broken>,
) -> Result<R, Error> {
    let mut stopped = None;
    let mut go_on = || match link.tick(lua) {
        Ok(()) => true,
        Err(error) => {
            stopped = Some(error);
            false
        }
    };
    let outcome = with(&mut Matcher::new(subject, pattern, anchors, &mut go_on));
    outcome.map_err(|broken| stopped.unwrap_or_else(|| malformed(lua, broken)))
}

fn malformed(lua: &Lua, broken: Broken) -> Error {
    match broken {
        Broken::Malformed(why) => Raised::here(lua, why),
        Broken::Stopped => Raised::here(lua, "pattern too complex"),
    }
}

/// The captures of a match, each of which may be broken; without any, the match itself if `whole`.
fn captured(matcher: &Matcher<'_>, found: Match, whole: bool) -> Captures {
    let count = if matcher.captures() == 0 && whole { 1 } else { matcher.captures() };
    (0..count).map(|index| matcher.capture(index, found)).collect()
}

type Captures = Vec<Result<Capture, Broken>>;

fn value_of(lua: &Lua, subject: &[u8], capture: Result<Capture, Broken>) -> Result<Value, Error> {
    match capture.map_err(|broken| malformed(lua, broken))? {
        Capture::Text(start, end) => lua.create_string(&subject[start..end]).map(Value::String),
        Capture::Position(at) | Capture::Open(at) => Ok(Value::Number((at + 1) as f64)),
    }
}

/// `string.find` and `string.match`.
fn search(lua: &Lua, link: &Rc<Link>, args: &[Value], find: bool) -> Result<Variadic<Value>, Error> {
    let function = if find { "find" } else { "match" };
    let subject = string(lua, args, 0, function)?;
    let pattern = string(lua, args, 1, function)?;
    let from = integer(lua, args, 2, function, Some(1))?;
    let from = if from < 0 { from + subject.len() as i64 + 1 } else { from };
    let from = (from.max(1) as usize - 1).min(subject.len());
    let is_plain = matches!(args.get(3), Some(value) if !matches!(value, Value::Nil | Value::Boolean(false)));
    let position = |at: usize| Value::Number(at as f64);
    if find && (is_plain || pattern::is_plain(&pattern)) {
        return Ok(match memchr::memmem::find(&subject[from..], &pattern) {
            Some(at) => Variadic::from_iter([position(from + at + 1), position(from + at + pattern.len())]),
            None => Variadic::from_iter([Value::Nil]),
        });
    }
    let found = matching(lua, link, (&subject, &pattern, true), |matcher| {
        let Some(found) = matcher.find(from)? else { return Ok(None) };
        Ok(Some((found, captured(matcher, found, !find))))
    })?;
    let Some((found, captures)) = found else { return Ok(Variadic::from_iter([Value::Nil])) };
    let mut values = Vec::new();
    if find {
        values.extend([position(found.start + 1), position(found.end)]);
    }
    for capture in captures {
        values.push(value_of(lua, &subject, capture)?);
    }
    Ok(Variadic::from(values))
}

/// `string.gmatch`
fn walk(lua: &Lua, link: &Rc<Link>, args: &[Value]) -> Result<Function, Error> {
    let subject = string_value(lua, args, 0, "gmatch")?;
    let pattern = string_value(lua, args, 1, "gmatch")?;
    let (link, at) = (Rc::clone(link), Cell::new(0));
    lua.create_function(move |lua, ()| {
        let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
        if at.get() > subject.len() {
            return Ok(Variadic::new());
        }
        let found = matching(lua, &link, (&subject, &pattern, false), |matcher| {
            let Some(found) = matcher.find(at.get())? else { return Ok(None) };
            Ok(Some((found, captured(matcher, found, true))))
        })?;
        let Some((found, captures)) = found else {
            at.set(subject.len() + 1);
            return Ok(Variadic::new());
        };
        at.set(if found.end == found.start { found.end + 1 } else { found.end });
        captures.into_iter().map(|one| value_of(lua, &subject, one)).collect::<Result<Variadic<_>, _>>()
    })
}

fn string_value(lua: &Lua, args: &[Value], index: usize, function: &str) -> Result<LuaString, Error> {
    let bytes = string(lua, args, index, function)?;
    lua.create_string(bytes)
}

/// A substitution under way.
struct Substitution {
    subject: Vec<u8>,
    pattern: Vec<u8>,
    at: usize,
    /// Matches that may still be replaced.
    left: i64,
    replaced: usize,
    /// The match that waits for its replacement.
    pending: Option<Match>,
    result: Vec<u8>,
    ended: bool,
}

/// `string.gsub`, with a text as the replacement: `(subject, pattern, text, count)`.
///
/// # Errors
/// Out of memory.
pub fn substitute_text(lua: &Lua, link: &Rc<Link>) -> Result<Function, Error> {
    let link = Rc::clone(link);
    lua.create_function(move |lua, args: Variadic<Value>| {
        let mut work = begin(lua, &args)?;
        let text = match args.get(2) {
            Some(Value::String(_) | Value::Integer(_) | Value::Number(_)) => string(lua, &args, 2, "gsub")?,
            _ => return Err(Raised::argument(lua, 3, "gsub", "string/function/table expected")),
        };
        while let Some(captures) = work.next(lua, &link)? {
            let Some(found) = work.pending.take() else { break };
            work.expand(lua, &text, found, &captures)?;
        }
        link.make_room(lua, work.result.len())?;
        Ok((lua.create_string(&work.result)?, work.replaced as f64))
    })
}

/// Begins a substitution whose replacements come one by one: gives a function that takes the last match's replacement and
/// gives the next match's captures, and one that gives the result.
///
/// # Errors
/// Out of memory.
pub fn substitute(lua: &Lua, link: &Rc<Link>) -> Result<Function, Error> {
    let link = Rc::clone(link);
    lua.create_function(move |lua, args: Variadic<Value>| {
        let work = Rc::new(RefCell::new(begin(lua, &args)?));
        let (own, link) = (Rc::clone(&work), Rc::clone(&link));
        let step = lua.create_function(move |lua, replacement: Value| {
            let mut work = own.borrow_mut();
            work.replace(lua, replacement)?;
            match work.next(lua, &link)? {
                Some(captures) => captures
                    .into_iter()
                    .map(|one| value_of(lua, &work.subject, one))
                    .collect::<Result<Variadic<_>, _>>(),
                None => Ok(Variadic::new()),
            }
        })?;
        let finish = lua.create_function(move |lua, ()| {
            let work = work.borrow();
            Ok((lua.create_string(&work.result)?, work.replaced as f64))
        })?;
        Ok((step, finish))
    })
}

fn begin(lua: &Lua, args: &[Value]) -> Result<Substitution, Error> {
    let subject = string(lua, args, 0, "gsub")?;
    let pattern = string(lua, args, 1, "gsub")?;
    let left = integer(lua, args, 3, "gsub", Some(subject.len() as i64 + 1))?;
    Ok(Substitution {
        subject,
        pattern,
        at: 0,
        left,
        replaced: 0,
        pending: None,
        result: Vec::new(),
        ended: false,
    })
}

impl Substitution {
    /// Goes to the next match, copying what lies between; gives its captures.
    fn next(&mut self, lua: &Lua, link: &Rc<Link>) -> Result<Option<Captures>, Error> {
        link.make_room(lua, self.result.len())?;
        if self.ended || self.left <= 0 {
            self.end();
            return Ok(None);
        }
        let (at, result) = (&mut self.at, &mut self.result);
        let found = matching(lua, link, (&self.subject, &self.pattern, true), |matcher| {
            loop {
                if let Some(end) = matcher.match_at(*at)? {
                    let found = Match { start: *at, end };
                    return Ok(Some((found, captured(matcher, found, true), matcher.is_anchored())));
                }
                match self.subject.get(*at) {
                    Some(byte) if !matcher.is_anchored() => result.push(*byte),
                    _ => return Ok(None),
                }
                *at += 1;
            }
        })?;
        let Some((found, captures, is_anchored)) = found else {
            self.end();
            return Ok(None);
        };
        self.pending = Some(found);
        self.left -= 1;
        self.replaced += 1;
        self.ended = is_anchored;
        Ok(Some(captures))
    }

    fn end(&mut self) {
        self.ended = true;
        self.result.extend_from_slice(self.subject.get(self.at..).unwrap_or_default());
        self.at = self.subject.len() + 1;
    }

    /// Goes on behind a match; one that is empty keeps the byte behind it.
    fn advance(&mut self, found: Match) {
        self.at = found.end;
        if found.end == found.start {
            match self.subject.get(found.end) {
                Some(byte) => {
                    self.result.push(*byte);
                    self.at += 1;
                }
                None => self.end(),
            }
        }
    }

    /// Puts a replacement in for the last match: nil and false leave it as it is.
    fn replace(&mut self, lua: &Lua, replacement: Value) -> Result<(), Error> {
        let Some(found) = self.pending.take() else { return Ok(()) };
        match replacement {
            Value::Nil | Value::Boolean(false) => {
                self.result.extend_from_slice(&self.subject[found.start..found.end]);
            }
            Value::String(text) => self.result.extend_from_slice(&text.as_bytes()),
            value @ (Value::Integer(_) | Value::Number(_)) => {
                if let Some(text) = lua.coerce_string(value)? {
                    self.result.extend_from_slice(&text.as_bytes());
                }
            }
            other => {
                let why = format!("invalid replacement value (a {})", type_name(&other));
                return Err(Raised::here(lua, &why));
            }
        }
        self.advance(found);
        Ok(())
    }

    /// Puts a text in for a match, in which `%1` stands for a capture.
    fn expand(
        &mut self,
        lua: &Lua,
        text: &[u8],
        found: Match,
        captures: &[Result<Capture, Broken>],
    ) -> Result<(), Error> {
        let mut bytes = text.iter();
        while let Some(&byte) = bytes.next() {
            if byte != b'%' {
                self.result.push(byte);
                continue;
            }
            // C reads the terminating NUL where nothing follows.
            let next = bytes.next().copied().unwrap_or(0);
            match next {
                b'0' => self.result.extend_from_slice(&self.subject[found.start..found.end]),
                b'1'..=b'9' => match captures.get(usize::from(next - b'1')) {
                    Some(Ok(Capture::Text(start, end))) => {
                        self.result.extend_from_slice(&self.subject[*start..*end]);
                    }
                    Some(Ok(Capture::Position(at) | Capture::Open(at))) => {
                        self.result.extend_from_slice((at + 1).to_string().as_bytes());
                    }
                    Some(Err(broken)) => return Err(malformed(lua, *broken)),
                    None => return Err(Raised::here(lua, "invalid capture index")),
                },
                other => self.result.push(other),
            }
        }
        self.advance(found);
        Ok(())
    }
}
