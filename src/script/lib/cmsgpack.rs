//! `cmsgpack`: MessagePack for scripts, with the results and error texts of the library that Redis has (lua-cmsgpack
//! 0.4.0).

pub mod read;
mod write;

use self::read::{Fault, Item, Reader};
use self::write::Writer;
use super::args::{Args, Problem, Steps, function};
use super::{DEPTH_MAX, RESULTS_MAX};
use mlua::{Lua, LuaString, MultiValue, Result, Table, Value};

const NAME: &str = "cmsgpack";
const VERSION: &str = "lua-cmsgpack 0.4.0";
const COPYRIGHT: &str = "Copyright (C) 2012, Salvatore Sanfilippo";
const DESCRIPTION: &str = "MessagePack C implementation for Lua";

/// What a call says that would return more than `RESULTS_MAX` values.
pub(super) const TOO_MANY: &str =
    "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
/// What a call says whose bytes nest deeper than `DEPTH_MAX`.
pub(super) const TOO_DEEP: &str = "stack overflow (in function mp_decode_to_lua_array)";

/// The library's table.
///
/// # Errors
/// No memory.
pub fn open(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, pack)?)?;
    table.raw_set("unpack", function(lua, |args| unpack(args, 0, 0))?)?;
    let unpack_one = |args: &Args<'_>| {
        let offset = args.integer_or(2, 0)?;
        unpack(args, 1, offset)
    };
    table.raw_set("unpack_one", function(lua, unpack_one)?)?;
    let unpack_limit = |args: &Args<'_>| {
        let limit = args.integer(2)?;
        let offset = args.integer_or(3, 0)?;
        unpack(args, limit, offset)
    };
    table.raw_set("unpack_limit", function(lua, unpack_limit)?)?;
    for (field, text) in
        [("_NAME", NAME), ("_VERSION", VERSION), ("_COPYRIGHT", COPYRIGHT), ("_DESCRIPTION", DESCRIPTION)]
    {
        table.raw_set(field, text)?;
    }
    Ok(table)
}

fn pack(args: &Args<'_>) -> Result<LuaString> {
    if args.count() == 0 {
        return Err(args.bad(0, "MessagePack pack needs input."));
    }
    let mut writer = Writer::new(args);
    for value in args.values() {
        writer.value(value, 0).map_err(|problem| problem.of(args))?;
    }
    args.lua().create_string(writer.out)
}

/// Up to `limit` values behind `offset`, and in front of them where the next begins (-1 where none does); all values,
/// and nothing in front, where both are 0.
fn unpack(args: &Args<'_>, limit: i64, offset: i64) -> Result<MultiValue> {
    let text = args.string(1)?;
    let bytes = text.as_bytes();
    let length = bytes.len();
    let (Ok(limit), Ok(start)) = (usize::try_from(limit), usize::try_from(offset)) else {
        // The limit that Redis names is the length; numbers are the lowest 32 bits.
        let (offset, length) = (offset as i32, length as i32);
        return Err(
            args.fail(&format!("Invalid request to unpack with offset of {offset} and limit of {length}."))
        );
    };
    let Some(rest) = bytes.get(start..) else {
        return Err(args
            .fail(&format!("Start offset {} greater than input length {}.", offset as i32, length as i32)));
    };
    let is_all = limit == 0 && start == 0;
    let mut reader = Reader::new(rest);
    let mut values = MultiValue::new();
    let mut steps = args.steps();
    while reader.left() > 0 && (is_all || values.len() < limit) {
        if values.len() >= RESULTS_MAX {
            return Err(args.fail(TOO_MANY));
        }
        values.push_back(value(args.lua(), &mut reader, &mut steps).map_err(|problem| problem.of(args))?);
    }
    if !is_all {
        let next = if reader.left() == 0 { -1 } else { (length - reader.left()) as i64 };
        values.push_front(Value::Integer(next));
    }
    Ok(values)
}

/// A table that is being read.
enum Open {
    Array { table: Table, next: i64, left: u32 },
    Map { table: Table, key: Option<Value>, left: u32 },
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Text(fault.to_string())
    }
}

/// The next whole value.
fn value(lua: &Lua, reader: &mut Reader<'_>, steps: &mut Steps<'_>) -> std::result::Result<Value, Problem> {
    let mut open: Vec<Open> = Vec::new();
    loop {
        steps.step()?;
        let mut value = match reader.next_item()? {
            Item::Nil => Value::Nil,
            Item::Boolean(is_true) => Value::Boolean(is_true),
            Item::Integer(number) => Value::Integer(number),
            Item::Number(number) => Value::Number(number),
            Item::Text(text) => Value::String(lua.create_string(text)?),
            Item::Array(left) => {
                let table = lua.create_table()?;
                open.push(Open::Array { table: table.clone(), next: 1, left });
                Value::Table(table)
            }
            Item::Map(left) => {
                let table = lua.create_table()?;
                open.push(Open::Map { table: table.clone(), key: None, left });
                Value::Table(table)
            }
        };
        if open.len() > DEPTH_MAX {
            return Err(Problem::Text(TOO_DEEP.to_owned()));
        }
        // A table is put where it belongs when it is whole, since it may be the key of a map.
        let mut is_whole = !value.is_table() || open.last().is_some_and(Open::is_whole);
        if is_whole && value.is_table() {
            open.pop();
        }
        while is_whole {
            let Some(parent) = open.last_mut() else {
                return Ok(value);
            };
            parent.put(value)?;
            is_whole = parent.is_whole();
            if !is_whole {
                break;
            }
            let Some(whole) = open.pop() else { break };
            value = whole.into_value();
        }
    }
}

impl Open {
    fn is_whole(&self) -> bool {
        match self {
            Self::Array { left, .. } => *left == 0,
            Self::Map { left, key, .. } => *left == 0 && key.is_none(),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Array { table, .. } | Self::Map { table, .. } => Value::Table(table),
        }
    }

    fn put(&mut self, value: Value) -> std::result::Result<(), Problem> {
        match self {
            Self::Array { table, next, left } => {
                table.raw_set(*next, value)?;
                *next += 1;
                *left -= 1;
            }
            Self::Map { table, key, left } => match key.take() {
                None => *key = Some(value),
                Some(Value::Nil) => return Err(bare("table index is nil")),
                Some(Value::Number(number)) if number.is_nan() => return Err(bare("table index is NaN")),
                Some(key) => {
                    table.raw_set(key, value)?;
                    *left -= 1;
                }
            },
        }
        Ok(())
    }
}

/// An error of the interpreter's own, which names no line.
fn bare(text: &str) -> Problem {
    Problem::Lua(mlua::Error::RuntimeError(text.to_owned()))
}
