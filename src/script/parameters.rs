//! What a run is given: strings in a row. A function takes two tables of them, made for the call. A script finds `KEYS` and
//! `ARGV`, which stay, and are emptied and filled before each run: nothing that a script makes outlives its run but what it
//! returns, which may be one of them and is written before the next. So nobody can tell, and two tables less to make and
//! to collect are a tenth of a short script's time.
//!
//! What a script does to its tables is undone. Room that it made in them cannot be seen from outside, and is looked
//! through whenever they are emptied; so new tables are taken every `RUNS_MAX` runs.

use mlua::{Either, Error, IntoLua, Lua, LuaString, Table};

use crate::resp::args::Args;

/// Runs that use the same tables at most.
const RUNS_MAX: u32 = 64;
/// Strings beyond which a run gets a table of its own.
const KEPT_MAX: usize = 64;

/// The tables of an interpreter for scripts.
pub struct Parameters {
    globals: Table,
    keys: Table,
    argv: Table,
    runs: u32,
    is_large: bool,
}

impl Parameters {
    /// Empty tables, known in `globals`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(lua: &Lua, globals: &Table) -> Result<Self, Error> {
        let (keys, argv) = (lua.create_table()?, lua.create_table()?);
        globals.raw_set("KEYS", &keys)?;
        globals.raw_set("ARGV", &argv)?;
        Ok(Self { globals: globals.clone(), keys, argv, runs: 0, is_large: false })
    }

    /// Fills them, before a run, and undoes what the run before has left in them.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fill(&mut self, lua: &Lua, keys: Args<'_>, argv: Args<'_>) -> Result<(), Error> {
        self.empty(lua)?;
        for (name, table, words) in [("KEYS", &self.keys, keys), ("ARGV", &self.argv, argv)] {
            if words.len() > KEPT_MAX {
                self.is_large = true;
                self.globals.raw_set(name, sequence(lua, words)?)?;
                continue;
            }
            for (at, word) in words.iter().enumerate() {
                table.raw_seti(at + 1, string(word))?;
            }
        }
        Ok(())
    }

    fn empty(&mut self, lua: &Lua) -> Result<(), Error> {
        self.runs += 1;
        let is_marked = self.keys.metatable().is_some() || self.argv.metatable().is_some();
        if is_marked || self.is_large || self.runs >= RUNS_MAX {
            return self.renew(lua);
        }
        self.keys.clear()?;
        self.argv.clear()
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

/// A table of strings.
///
/// # Errors
/// Out of memory.
pub fn sequence(lua: &Lua, words: Args<'_>) -> Result<Table, Error> {
    lua.create_sequence_from(words.iter().map(string))
}

/// A string of the interpreter: text is handed to it as it is, other bytes by way of a value.
fn string(word: &[u8]) -> Either<&str, impl IntoLua> {
    match str::from_utf8(word) {
        Ok(text) => Either::Left(text),
        Err(_) => Either::Right(LuaString::wrap(word)),
    }
}
