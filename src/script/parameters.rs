//! What a run is given: strings in a row. A function takes two tables of them, made for the call. A script finds `KEYS` and
//! `ARGV`, which stay, and are emptied and filled before each run: nothing that a script makes outlives its run but what it
//! returns, which may be one of them and is written before the next. So nobody can tell, and two tables less to make and
//! to collect are a tenth of a short script's time. Those that a script cannot see are left alone.
//!
//! What a script does to its tables is undone. Room that it made in them cannot be seen from outside, and is looked
//! through whenever they are emptied; so new tables are taken every `RUNS_MAX` runs.

use mlua::{Either, Error, Function, IntoLua, Lua, LuaString, Table};

use crate::resp::args::Args;

/// Runs that use the same tables at most.
const RUNS_MAX: u32 = 64;
/// Strings beyond which a run gets a table of its own.
const KEPT_MAX: usize = 64;

/// What a script may find without its name standing in the source: it is asked for by these.
const INDIRECT: [&[u8]; 3] = [b"_G", b"env", b"load"];

/// Bytes of compiled code, as this build of Lua 5.1 writes it, before the length of the source's name, and of the two line
/// numbers behind that name. A test holds it to this.
const CODE_HEAD: usize = 12;
/// Where it says how long integers and lengths are.
const CODE_SIZES: std::ops::Range<usize> = 7..9;
const CODE_LINES: usize = 8;

/// Which of the tables a script can see: those that its source names, or both, if it reaches globals by other ways. The
/// others need not be filled, and what is left in them from an earlier run stays until somebody can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    keys: bool,
    argv: bool,
}

impl Seen {
    /// By a script of this source.
    pub fn by(source: &[u8]) -> Self {
        let has = |word: &[u8]| memchr::memmem::find(source, word).is_some();
        let all = INDIRECT.into_iter().any(has);
        Self { keys: all || has(b"KEYS"), argv: all || has(b"ARGV") }
    }

    /// By a function: those for which it has parameters.
    pub fn by_function(function: &Function) -> Self {
        // One that takes any number, or is not written in Lua, sees both.
        let named = named_parameters(&function.dump(true)).unwrap_or(u8::MAX);
        Self { keys: named > 0, argv: named > 1 }
    }
}

/// How many parameters a function has by its compiled code; nothing for one that takes more than it names.
fn named_parameters(code: &[u8]) -> Option<u8> {
    if code.get(CODE_SIZES)? != [size_of::<i32>() as u8, size_of::<u64>() as u8] {
        return None;
    }
    let (length, rest) = code.get(CODE_HEAD..)?.split_first_chunk()?;
    let name_len = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    match rest.get(name_len.checked_add(CODE_LINES)?..)? {
        [_upvalues, named, 0, ..] => Some(*named),
        _ => None,
    }
}

/// One of the tables.
struct Row {
    name: &'static str,
    table: Table,
    /// A run could change it since it was emptied.
    is_used: bool,
    /// A run had one of its own in its place.
    is_replaced: bool,
}

impl Row {
    fn new(lua: &Lua, globals: &Table, name: &'static str) -> Result<Self, Error> {
        let table = lua.create_table()?;
        globals.raw_set(name, &table)?;
        Ok(Self { name, table, is_used: false, is_replaced: false })
    }

    /// Whether it can be emptied and used again.
    fn is_good(&self) -> bool {
        !self.is_replaced && self.table.metatable().is_none()
    }

    fn fill(&mut self, lua: &Lua, globals: &Table, words: Args<'_>) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_used, true) {
            self.table.clear()?;
        }
        if words.len() > KEPT_MAX {
            self.is_replaced = true;
            return globals.raw_set(self.name, sequence(lua, words)?);
        }
        for (at, word) in words.iter().enumerate() {
            self.table.raw_seti(at + 1, string(word))?;
        }
        Ok(())
    }
}

/// The tables of an interpreter for scripts.
pub struct Parameters {
    globals: Table,
    keys: Row,
    argv: Row,
    runs: u32,
}

impl Parameters {
    /// Empty tables, known in `globals`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(lua: &Lua, globals: &Table) -> Result<Self, Error> {
        let (keys, argv) = (Row::new(lua, globals, "KEYS")?, Row::new(lua, globals, "ARGV")?);
        Ok(Self { globals: globals.clone(), keys, argv, runs: 0 })
    }

    /// Fills those that the script can see, before a run, and undoes what runs before have left in them.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fill(&mut self, lua: &Lua, seen: Seen, keys: Args<'_>, argv: Args<'_>) -> Result<(), Error> {
        self.runs += 1;
        let is_good = |row: &Row, is_seen: bool| !is_seen || row.is_good();
        let are_good = is_good(&self.keys, seen.keys) && is_good(&self.argv, seen.argv);
        if !are_good || self.runs >= RUNS_MAX {
            self.renew(lua)?;
        }
        if seen.keys {
            self.keys.fill(lua, &self.globals, keys)?;
        }
        if seen.argv {
            self.argv.fill(lua, &self.globals, argv)?;
        }
        Ok(())
    }

    /// Takes new tables.
    ///
    /// # Errors
    /// Out of memory.
    pub fn renew(&mut self, lua: &Lua) -> Result<(), Error> {
        *self = Self::new(lua, &self.globals)?;
        Ok(())
    }
}

/// The tables that a function gets, nothing in the place of those that it cannot see.
///
/// # Errors
/// Out of memory.
pub fn of_function(
    lua: &Lua,
    seen: Seen,
    keys: Args<'_>,
    argv: Args<'_>,
) -> Result<(Option<Table>, Option<Table>), Error> {
    let keys = if seen.keys { Some(sequence(lua, keys)?) } else { None };
    let argv = if seen.argv { Some(sequence(lua, argv)?) } else { None };
    Ok((keys, argv))
}

/// A table of strings.
///
/// # Errors
/// Out of memory.
fn sequence(lua: &Lua, words: Args<'_>) -> Result<Table, Error> {
    lua.create_sequence_from(words.iter().map(string))
}

/// A string of the interpreter: text is handed to it as it is, other bytes by way of a value.
fn string(word: &[u8]) -> Either<&str, impl IntoLua> {
    match str::from_utf8(word) {
        Ok(text) => Either::Left(text),
        Err(_) => Either::Right(LuaString::wrap(word)),
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use mlua::{Function, Lua};

    #[test]
    fn what_a_function_can_see_is_what_it_has_parameters_for() {
        let lua = Lua::new();
        let seen = |source: &str| {
            let function: Function = lua.load(source).eval().expect("it is a function");
            let Seen { keys, argv } = Seen::by_function(&function);
            (keys, argv)
        };
        assert_eq!(seen("return function() return 1 end"), (false, false));
        assert_eq!(seen("local up = {} return function(keys) return up, keys end"), (true, false));
        assert_eq!(seen("return function(keys, argv) return argv end"), (true, true));
        assert_eq!(seen("return function(keys, argv, more) return more end"), (true, true));
        assert_eq!(seen("return function(...) return ... end"), (true, true));
        assert_eq!(seen("return function(keys, ...) return arg end"), (true, true));
        assert_eq!(seen("return print"), (true, true));
    }

    #[test]
    fn what_a_script_can_see_is_what_its_source_names() {
        let seen = |source: &str| {
            let Seen { keys, argv } = Seen::by(source.as_bytes());
            (keys, argv)
        };
        assert_eq!(seen("return redis.call('GET', KEYS[1])"), (true, false));
        assert_eq!(seen("return ARGV[1]"), (false, true));
        assert_eq!(seen("return 1"), (false, false));
        assert_eq!(seen("return _G['KE' .. 'YS']"), (true, true));
        assert_eq!(seen("return loadstring(x)()"), (true, true));
        assert_eq!(seen("return getfenv()"), (true, true));
    }
}
