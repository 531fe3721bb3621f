//! Replies of commands as values of Lua, straight from their encoded bytes.
//!
//! The bytes come from this server's own reply writer; what is not a reply all the same becomes nil, never a panic. Depth
//! is bounded.

use mlua::{Error, Lua, LuaString, Table, Value};

use crate::base::num::{parse_f64, parse_i64};
use crate::script::guard::error_table;

/// Deepest nesting of a reply that is read; no command's comes near it.
const DEPTH_MAX: usize = 64;

/// A command's answer.
pub enum Answer {
    /// A value.
    Value(Value),
    /// The line of an error reply.
    Error(Vec<u8>),
}

/// Strings of which most replies are made: held on to, they are not looked up each time.
pub struct Common {
    /// The field of a status.
    ok: LuaString,
    /// The status `OK`.
    done: LuaString,
}

impl Common {
    /// The strings of an interpreter.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(lua: &Lua) -> Result<Self, Error> {
        Ok(Self { ok: lua.create_string("ok")?, done: lua.create_string("OK")? })
    }
}

/// Reads one reply.
///
/// # Errors
/// Out of memory.
pub fn read(lua: &Lua, bytes: &[u8], common: &Common) -> Result<Answer, Error> {
    let mut reader = Reader { lua, bytes, at: 0, common };
    if bytes.first() == Some(&b'-') {
        reader.at = 1;
        return Ok(Answer::Error(reader.line().to_vec()));
    }
    reader.value(0).map(Answer::Value)
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
    common: &'a Common,
}

impl<'a> Reader<'a> {
    /// The rest of the line, without its end.
    fn line(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
        self.at += len + 2;
        &rest[..len]
    }

    fn number(&mut self) -> i64 {
        parse_i64(self.line()).unwrap_or(0)
    }

    /// `len` bytes and a line end.
    fn bulk(&mut self, len: usize) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.at.saturating_add(len).saturating_add(2);
        rest.get(..len).unwrap_or(rest)
    }

    fn string(&mut self, bytes: &[u8]) -> Result<Value, Error> {
        self.lua.create_string(bytes).map(Value::String)
    }

    /// A table with one field.
    fn wrapped(&mut self, field: &str, value: Value) -> Result<Value, Error> {
        let table = self.lua.create_table()?;
        table.raw_set(field, value)?;
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        let Some(kind) = self.bytes.get(self.at) else { return Ok(Value::Nil) };
        self.at += 1;
        if depth > DEPTH_MAX {
            self.at = self.bytes.len();
            return Ok(Value::Nil);
        }
        match kind {
            b'$' => match usize::try_from(self.number()) {
                Ok(len) => {
                    let bytes = self.bulk(len);
                    self.string(bytes)
                }
                Err(_) => Ok(Value::Boolean(false)),
            },
            // Lua has doubles only.
            b':' => Ok(Value::Number(self.number() as f64)),
            b'+' => self.status(),
            b'-' => {
                let line = self.line();
                error_table(self.lua, line, true).map(Value::Table)
            }
            b'*' | b'>' => match usize::try_from(self.number()) {
                Ok(len) => self.array(len, depth),
                Err(_) => Ok(Value::Boolean(false)),
            },
            b'%' => self.map(depth),
            b'~' => self.set(depth),
            b'_' => {
                self.line();
                Ok(Value::Nil)
            }
            b'#' => Ok(Value::Boolean(self.line() == b"t")),
            b',' => {
                let value = parse_f64(self.line()).unwrap_or(f64::NAN);
                self.wrapped("double", Value::Number(value))
            }
            b'(' => {
                let text = self.line();
                let text = self.string(text)?;
                self.wrapped("big_number", text)
            }
            b'=' => {
                let len = usize::try_from(self.number()).unwrap_or(0);
                let bytes = self.bulk(len);
                self.verbatim(bytes)
            }
            b'|' => {
                // An attribute goes before the reply that it is about.
                self.map(depth)?;
                self.value(depth + 1)
            }
            _ => Ok(Value::Nil),
        }
    }

    fn status(&mut self) -> Result<Value, Error> {
        let (line, common) = (self.line(), self.common);
        let table = match line {
            b"OK" => self.lua.create_table_from([(&common.ok, &common.done)]),
            _ => self.lua.create_table_from([(&common.ok, self.lua.create_string(line)?)]),
        };
        table.map(Value::Table)
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<Value, Error> {
        // An element takes at least three bytes: what the bytes do not hold is not made room for.
        let table = self.lua.create_table_with_capacity(len.min(self.bytes.len() / 3), 0)?;
        for index in 1..=len {
            if self.at >= self.bytes.len() {
                break;
            }
            let value = self.value(depth + 1)?;
            table.raw_seti(index, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Error> {
        let pairs = self.number().max(0);
        let table = self.lua.create_table()?;
        for _ in 0..pairs {
            if self.at >= self.bytes.len() {
                break;
            }
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            put(&table, key, value)?;
        }
        self.wrapped("map", Value::Table(table))
    }

    fn set(&mut self, depth: usize) -> Result<Value, Error> {
        let members = self.number().max(0);
        let table = self.lua.create_table()?;
        for _ in 0..members {
            if self.at >= self.bytes.len() {
                break;
            }
            let member = self.value(depth + 1)?;
            put(&table, member, Value::Boolean(true))?;
        }
        self.wrapped("set", Value::Table(table))
    }

    fn verbatim(&mut self, bytes: &[u8]) -> Result<Value, Error> {
        let (format, text) = bytes.split_at(bytes.len().min(3));
        let table = self.lua.create_table()?;
        let text = self.string(text.strip_prefix(b":").unwrap_or(text))?;
        table.raw_set("string", text)?;
        let format = self.string(format)?;
        table.raw_set("format", format)?;
        self.wrapped("verbatim_string", Value::Table(table))
    }
}

/// Sets a field unless its key is one that tables cannot have.
fn put(table: &Table, key: Value, value: Value) -> Result<(), Error> {
    match key {
        Value::Nil => Ok(()),
        Value::Number(number) if number.is_nan() => Ok(()),
        key => table.raw_set(key, value),
    }
}
