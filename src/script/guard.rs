//! Read-only tables for an interpreter that has none: an empty table stands before the real one, which only this module
//! knows ("backing"). Reading goes through, writing raises an error; what writes past metatables is replaced.
//!
//! A script must never get hold of a backing table: whatever is written there, all later scripts see.

use std::rc::Rc;

use mlua::{Error, Function, Lua, Table, Value, Variadic};

use crate::script::failure::Raised;
use crate::script::link::Link;

/// What is told to whoever writes to a read-only table.
const READ_ONLY: &str = "Attempt to modify a readonly table";

/// Which tables are read-only, and what stands behind them.
#[derive(Clone)]
pub struct Guard {
    /// Read-only table → backing table. Not to be given to scripts.
    pub backing: Table,
    write: Function,
}

impl Guard {
    /// Nothing is read-only yet.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(lua: &Lua) -> Result<Self, Error> {
        let write =
            lua.create_function(|lua, ()| -> Result<(), Error> { Err(Raised::here(lua, READ_ONLY)) })?;
        Ok(Self { backing: lua.create_table()?, write })
    }

    /// A read-only table before `table`; `missing` is called for what is not in it, `shown` is what `getmetatable` gives.
    ///
    /// # Errors
    /// Out of memory.
    pub fn protect(
        &self,
        lua: &Lua,
        table: &Table,
        missing: Option<&Function>,
        shown: Value,
    ) -> Result<Table, Error> {
        if let Some(missing) = missing {
            let behind = lua.create_table()?;
            behind.raw_set("__index", missing)?;
            table.set_metatable(Some(behind))?;
        }
        let front = lua.create_table()?;
        let metatable = lua.create_table()?;
        metatable.raw_set("__index", table)?;
        metatable.raw_set("__newindex", &self.write)?;
        metatable.raw_set("__metatable", shown)?;
        front.set_metatable(Some(metatable))?;
        self.backing.raw_set(&front, table)?;
        Ok(front)
    }

    fn behind(&self, table: &Table) -> Result<Option<Table>, Error> {
        self.backing.raw_get(table)
    }

    /// The functions that would write or look past metatables, by name.
    ///
    /// # Errors
    /// Out of memory.
    pub fn functions(&self, lua: &Lua, next: &Function) -> Result<Vec<(&'static str, Function)>, Error> {
        let guard = self.clone();
        let raw_set = lua.create_function(move |lua, args: Variadic<Value>| {
            let table = table_argument(lua, &args, "rawset")?;
            for position in 2..=3 {
                if args.len() < position {
                    return Err(Raised::argument(lua, position, "rawset", "value expected"));
                }
            }
            if guard.behind(&table)?.is_some() {
                return Err(Raised::text(READ_ONLY));
            }
            let key = args.get(1).cloned().unwrap_or(Value::Nil);
            match key {
                Value::Nil => return Err(Raised::text("table index is nil")),
                Value::Number(number) if number.is_nan() => return Err(Raised::text("table index is NaN")),
                _ => {}
            }
            table.raw_set(key, args.get(2).cloned().unwrap_or(Value::Nil))?;
            Ok(table)
        })?;
        let guard = self.clone();
        let raw_get = lua.create_function(move |lua, args: Variadic<Value>| {
            let table = table_argument(lua, &args, "rawget")?;
            let Some(key) = args.get(1) else {
                return Err(Raised::argument(lua, 2, "rawget", "value expected"));
            };
            let table = guard.behind(&table)?.unwrap_or(table);
            table.raw_get::<Value>(key)
        })?;
        let guard = self.clone();
        let set_metatable = lua.create_function(move |lua, args: Variadic<Value>| {
            let table = table_argument(lua, &args, "setmetatable")?;
            let metatable = match args.get(1) {
                Some(Value::Nil) => None,
                Some(Value::Table(metatable)) => Some(metatable.clone()),
                _ => return Err(Raised::argument(lua, 2, "setmetatable", "nil or table expected")),
            };
            if guard.behind(&table)?.is_some() {
                return Err(Raised::text(READ_ONLY));
            }
            if let Some(present) = table.metatable()
                && present.raw_get::<Value>("__metatable")? != Value::Nil
            {
                return Err(Raised::here(lua, "cannot change a protected metatable"));
            }
            table.set_metatable(metatable)?;
            Ok(table)
        })?;
        let (guard, plain_next) = (self.clone(), next.clone());
        let pairs = lua.create_function(move |lua, args: Variadic<Value>| {
            let table = table_argument(lua, &args, "pairs")?;
            let Some(behind) = guard.behind(&table)? else {
                return Ok((plain_next.clone(), table, Value::Nil));
            };
            // The iterator keeps the backing table to itself.
            let next = plain_next.clone();
            let walk = lua.create_function(move |_, (_, key): (Value, Value)| {
                next.call::<(Value, Value)>((&behind, key))
            })?;
            Ok((walk, table, Value::Nil))
        })?;
        Ok(vec![("rawset", raw_set), ("rawget", raw_get), ("setmetatable", set_metatable), ("pairs", pairs)])
    }
}

/// The table that is a function's first argument.
pub fn table_argument(lua: &Lua, args: &[Value], function: &str) -> Result<Table, Error> {
    match args.first() {
        Some(Value::Table(table)) => Ok(table.clone()),
        other => {
            let got = other.map_or("no value", type_name);
            Err(Raised::argument(lua, 1, function, &format!("table expected, got {got}")))
        }
    }
}

/// A value's type in Lua's words.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}

/// What scripts see of errors that they catch: the first as `pcall` gives it, the second as it is.
///
/// # Errors
/// Out of memory.
pub fn catchers(lua: &Lua, link: &Rc<Link>) -> Result<(Function, Function), Error> {
    let own = Rc::clone(link);
    let text = lua.create_function(move |lua, value: Value| {
        own.go_on(lua)?;
        match value {
            Value::Error(error) => match Raised::find(&error) {
                Some(Raised::Stop(_)) => Err(*error),
                Some(Raised::Text(text) | Raised::Reply { line: text, .. }) => {
                    lua.create_string(text).map(Value::String)
                }
                None => lua.create_string(foreign(&error)).map(Value::String),
            },
            Value::Table(table) => Ok(match table.raw_get::<Value>("err")? {
                text @ (Value::String(_) | Value::Number(_) | Value::Integer(_)) => text,
                _ => Value::Table(table),
            }),
            other => Ok(other),
        }
    })?;
    let own = Rc::clone(link);
    let value = lua.create_function(move |lua, value: Value| {
        own.go_on(lua)?;
        let Value::Error(error) = value else { return Ok(value) };
        match Raised::find(&error) {
            Some(Raised::Stop(_)) => Err(*error),
            Some(Raised::Text(text)) => lua.create_string(text).map(Value::String),
            Some(Raised::Reply { line, counted }) => error_table(lua, line, *counted).map(Value::Table),
            None => lua.create_string(foreign(&error)).map(Value::String),
        }
    })?;
    Ok((text, value))
}

/// The table by which scripts see an error reply.
///
/// # Errors
/// Out of memory.
pub fn error_table(lua: &Lua, line: &[u8], counted: bool) -> Result<Table, Error> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(line)?)?;
    if counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// The first line of an error that the interpreter itself, or its binding, raised.
pub fn foreign(error: &Error) -> String {
    message(error).lines().next().unwrap_or_default().to_owned()
}

/// All of its text.
pub fn message(error: &Error) -> String {
    let mut error = error;
    while let Error::CallbackError { cause, .. } = error {
        error = cause;
    }
    match error {
        Error::RuntimeError(text) | Error::MemoryError(text) => text.clone(),
        Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}
