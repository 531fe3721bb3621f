//! `cjson`: JSON for scripts, with the results, settings and error texts of the library that Redis has (lua-cjson
//! 2.1.0).
//!
//! Settings belong to a library table: the one that every script finds, or one that a script made with `new`. Redis
//! keeps what a script sets in the former for the scripts that follow; the engine undoes it ([`Root::reset`]).

pub mod read;
mod write;

use self::read::{Event, Fault, Reader};
use self::write::Writer;
use super::DEPTH_MAX;
use super::args::{Args, function};
use mlua::{Function, IntoLuaMulti, Lua, LuaString, MultiValue, Result, Table, Value};
use std::cell::Cell;
use std::rc::Rc;

const NAME: &str = "cjson";
const VERSION: &str = "2.1.0";
/// Most digits that a number may be written with.
const PRECISION_MAX: i64 = 14;

/// What becomes of numbers that JSON lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InvalidNumbers {
    Refused,
    Taken,
    /// Written as `null`; numbers that are read are never so.
    Null,
}

/// What a script may set.
#[derive(Clone, Copy, Debug)]
struct Settings {
    encode_sparse_convert: bool,
    encode_sparse_ratio: i32,
    encode_sparse_safe: i32,
    encode_max_depth: usize,
    decode_max_depth: usize,
    encode_number_precision: usize,
    /// Kept for scripts that ask; no buffer outlives a call here.
    encode_keep_buffer: bool,
    encode_invalid_numbers: InvalidNumbers,
    decode_invalid_numbers: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            encode_sparse_convert: false,
            encode_sparse_ratio: 2,
            encode_sparse_safe: 10,
            encode_max_depth: 1000,
            decode_max_depth: 1000,
            encode_number_precision: 14,
            encode_keep_buffer: true,
            encode_invalid_numbers: InvalidNumbers::Refused,
            decode_invalid_numbers: true,
        }
    }
}

type Shared = Rc<Cell<Settings>>;

/// The settings of the table that [`open`] made.
#[derive(Clone)]
pub struct Root(Shared);

impl Root {
    /// Undoes what scripts have set.
    pub fn reset(&self) {
        self.0.take();
    }
}

/// The library's table. Lua's own `next` must still be a global.
///
/// # Errors
/// No memory, or no `next`.
pub fn open(lua: &Lua) -> Result<Table> {
    let settings = Shared::default();
    lua.set_app_data(Root(Rc::clone(&settings)));
    let next: Function = lua.globals().raw_get("next")?;
    library(lua, settings, next)
}

/// The settings of the table that [`open`] made last: to be asked for once, not at every turn.
pub fn root(lua: &Lua) -> Option<Root> {
    lua.app_data_ref::<Root>().map(|root| root.clone())
}

fn library(lua: &Lua, settings: Shared, next: Function) -> Result<Table> {
    let table = lua.create_table()?;
    let with = |name: &str, run: fn(&Args<'_>, &Cell<Settings>) -> Result<MultiValue>| {
        let settings = Rc::clone(&settings);
        table.raw_set(name, function(lua, move |args| run(args, &settings))?)
    };
    with("encode_sparse_array", set_sparse_array)?;
    with("encode_max_depth", set_encode_max_depth)?;
    with("decode_max_depth", set_decode_max_depth)?;
    with("encode_number_precision", set_number_precision)?;
    with("encode_keep_buffer", set_keep_buffer)?;
    with("encode_invalid_numbers", set_encode_invalid_numbers)?;
    with("decode_invalid_numbers", set_decode_invalid_numbers)?;
    let shared = Rc::clone(&settings);
    let own_next = next.clone();
    table.raw_set("encode", function(lua, move |args| encode(args, shared.get(), &own_next))?)?;
    let shared = Rc::clone(&settings);
    table.raw_set("decode", function(lua, move |args| decode(args, shared.get()))?)?;
    let fresh = move |args: &Args<'_>| library(args.lua(), Shared::default(), next.clone());
    table.raw_set("new", function(lua, fresh)?)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", NAME)?;
    table.raw_set("_VERSION", VERSION)?;
    Ok(table)
}

fn encode(args: &Args<'_>, settings: Settings, next: &Function) -> Result<LuaString> {
    match args.get(1) {
        Some(value) if args.count() == 1 => {
            let text =
                Writer::new(args, settings, next).text_of(value).map_err(|problem| problem.of(args))?;
            args.lua().create_string(text)
        }
        _ => Err(args.bad(1, "expected 1 argument")),
    }
}

fn decode(args: &Args<'_>, settings: Settings) -> Result<Value> {
    if args.count() != 1 {
        return Err(args.bad(1, "expected 1 argument"));
    }
    let text = args.string(1)?;
    let bytes = text.as_bytes();
    let fail = |fault: Fault| args.fail(&fault.to_string());
    let depth_max = settings.decode_max_depth.min(DEPTH_MAX);
    let mut reader = Reader::new(&bytes, settings.decode_invalid_numbers, depth_max).map_err(fail)?;
    let mut builder = Builder { lua: args.lua(), open: Vec::new(), result: Value::Nil };
    let mut steps = args.steps();
    loop {
        steps.step()?;
        match reader.next_event().map_err(fail)? {
            Event::Done => return Ok(builder.result),
            event => builder.take(event, reader.text())?,
        }
    }
}

/// A table that is being read, and where its next value goes.
enum Open {
    Array(Table, i64),
    Object(Table, Value),
}

/// Tables and values of what a reader tells.
struct Builder<'a> {
    lua: &'a Lua,
    open: Vec<Open>,
    result: Value,
}

impl Builder<'_> {
    fn take(&mut self, event: Event, text: &[u8]) -> Result<()> {
        match event {
            Event::Null => self.put(Value::NULL),
            Event::Boolean(is_true) => self.put(Value::Boolean(is_true)),
            Event::Number(number) => self.put(Value::Number(number)),
            Event::Text => self.put(Value::String(self.lua.create_string(text)?)),
            Event::Key => {
                let name = Value::String(self.lua.create_string(text)?);
                if let Some(Open::Object(_, key)) = self.open.last_mut() {
                    *key = name;
                }
                Ok(())
            }
            Event::Array => {
                let table = self.lua.create_table()?;
                self.put(Value::Table(table.clone()))?;
                self.open.push(Open::Array(table, 0));
                Ok(())
            }
            Event::Object => {
                let table = self.lua.create_table()?;
                self.put(Value::Table(table.clone()))?;
                self.open.push(Open::Object(table, Value::Nil));
                Ok(())
            }
            Event::End | Event::Done => {
                self.open.pop();
                Ok(())
            }
        }
    }

    fn put(&mut self, value: Value) -> Result<()> {
        match self.open.last_mut() {
            None => {
                self.result = value;
                Ok(())
            }
            Some(Open::Array(table, length)) => {
                *length += 1;
                table.raw_set(*length, value)
            }
            Some(Open::Object(table, key)) => table.raw_set(std::mem::take(key), value),
        }
    }
}

// ---- settings --------------------------------------------------------------------------------------------------

fn at_most(args: &Args<'_>, count: usize) -> Result<()> {
    if args.count() > count { Err(args.bad(count + 1, "found too many arguments")) } else { Ok(()) }
}

/// The integer that an argument sets, if there is one, from `least` to `most`.
fn integer_option(args: &Args<'_>, position: usize, least: i64, most: i64) -> Result<Option<i32>> {
    if args.is_nil(position) {
        return Ok(None);
    }
    // As C has it: the lowest 32 bits, and the complaint is always about the first argument.
    let value = args.integer(position)? as i32;
    if (least..=most).contains(&i64::from(value)) {
        return Ok(Some(value));
    }
    Err(args.bad(1, &format!("expected integer between {least} and {most}")))
}

/// Which of `names` an argument sets, if it is there; a boolean counts as 0 or 1.
fn named_option(args: &Args<'_>, position: usize, names: &[&str]) -> Result<Option<usize>> {
    match args.get(position) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Boolean(is_on)) => Ok(Some(usize::from(*is_on))),
        Some(_) => {
            let name = args.string(position)?;
            let found = names.iter().position(|known| name.as_bytes() == known.as_bytes());
            let unknown = || args.bad(position, &format!("invalid option '{}'", name.to_string_lossy()));
            found.map(Some).ok_or_else(unknown)
        }
    }
}

fn set_sparse_array(args: &Args<'_>, shared: &Cell<Settings>) -> Result<MultiValue> {
    at_most(args, 3)?;
    let mut settings = shared.get();
    if let Some(choice) = named_option(args, 1, &["off", "on"])? {
        settings.encode_sparse_convert = choice == 1;
        shared.set(settings);
    }
    if let Some(ratio) = integer_option(args, 2, 0, i64::from(i32::MAX))? {
        settings.encode_sparse_ratio = ratio;
        shared.set(settings);
    }
    if let Some(safe) = integer_option(args, 3, 0, i64::from(i32::MAX))? {
        settings.encode_sparse_safe = safe;
        shared.set(settings);
    }
    let Settings { encode_sparse_convert, encode_sparse_ratio, encode_sparse_safe, .. } = settings;
    (encode_sparse_convert, encode_sparse_ratio, encode_sparse_safe).into_lua_multi(args.lua())
}

fn set_encode_max_depth(args: &Args<'_>, shared: &Cell<Settings>) -> Result<MultiValue> {
    at_most(args, 1)?;
    let mut settings = shared.get();
    if let Some(depth) = integer_option(args, 1, 1, i64::from(i32::MAX))? {
        settings.encode_max_depth = depth.unsigned_abs() as usize;
        shared.set(settings);
    }
    settings.encode_max_depth.into_lua_multi(args.lua())
}

fn set_decode_max_depth(args: &Args<'_>, shared: &Cell<Settings>) -> Result<MultiValue> {
    at_most(args, 1)?;
    let mut settings = shared.get();
    if let Some(depth) = integer_option(args, 1, 1, i64::from(i32::MAX))? {
        settings.decode_max_depth = depth.unsigned_abs() as usize;
        shared.set(settings);
    }
    settings.decode_max_depth.into_lua_multi(args.lua())
}

fn set_number_precision(args: &Args<'_>, shared: &Cell<Settings>) -> Result<MultiValue> {
    at_most(args, 1)?;
    let mut settings = shared.get();
    if let Some(digits) = integer_option(args, 1, 1, PRECISION_MAX)? {
        settings.encode_number_precision = digits.unsigned_abs() as usize;
        shared.set(settings);
    }
    settings.encode_number_precision.into_lua_multi(args.lua())
}

fn set_keep_buffer(args: &Args<'_>, shared: &Cell<Settings>) -> Result<MultiValue> {
    at_most(args, 1)?;
    let mut settings = shared.get();
    if let Some(choice) = named_option(args, 1, &["off", "on"])? {
        settings.encode_keep_buffer = choice == 1;
        shared.set(settings);
    }
    settings.encode_keep_buffer.into_lua_multi(args.lua())
}

fn set_encode_invalid_numbers(args: &Args<'_>, shared: &Cell<Settings>) -> Result<MultiValue> {
    at_most(args, 1)?;
    let mut settings = shared.get();
    if let Some(choice) = named_option(args, 1, &["off", "on", "null"])? {
        settings.encode_invalid_numbers = match choice {
            0 => InvalidNumbers::Refused,
            1 => InvalidNumbers::Taken,
            _ => InvalidNumbers::Null,
        };
        shared.set(settings);
    }
    match settings.encode_invalid_numbers {
        InvalidNumbers::Refused => false.into_lua_multi(args.lua()),
        InvalidNumbers::Taken => true.into_lua_multi(args.lua()),
        InvalidNumbers::Null => "null".into_lua_multi(args.lua()),
    }
}

fn set_decode_invalid_numbers(args: &Args<'_>, shared: &Cell<Settings>) -> Result<MultiValue> {
    at_most(args, 1)?;
    let mut settings = shared.get();
    if let Some(choice) = named_option(args, 1, &["off", "on"])? {
        settings.decode_invalid_numbers = choice == 1;
        shared.set(settings);
    }
    settings.decode_invalid_numbers.into_lua_multi(args.lua())
}
