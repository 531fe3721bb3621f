//! `struct`: C's structures for scripts, with the results and error texts of the library that Redis has (struct 0.2).

pub mod format;

use self::format::{Fault, Format, Kind};
use super::args::{Args, function};
use super::{RESULTS_MAX, TOO_LONG};
use mlua::{Error, Lua, LuaString, MultiValue, Result, Table, Value};

/// The library's table.
///
/// # Errors
/// No memory.
pub fn open(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, pack)?)?;
    table.raw_set("unpack", function(lua, unpack)?)?;
    table.raw_set("size", function(lua, size)?)?;
    Ok(table)
}

fn fail(args: &Args<'_>, fault: Fault) -> Error {
    match fault {
        Fault::Option(_) => args.bad(1, &fault.to_string()),
        _ => args.fail(&fault.to_string()),
    }
}

fn pack(args: &Args<'_>) -> Result<LuaString> {
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut steps = args.steps();
    let mut out = Vec::new();
    let max_bytes = args.output_max();
    let mut position = 0_usize;
    let mut next = 2;
    while let Some(item) = format.next(position).map_err(|fault| fail(args, fault))? {
        steps.step()?;
        out.resize(out.len() + item.gap, 0);
        let mut size = item.size;
        match item.kind {
            Kind::Integer { .. } => format.write_integer(packed_number(args, next)?, size, &mut out),
            Kind::Single => format.write_single(packed_number(args, next)?, &mut out),
            Kind::Double => format.write_double(packed_number(args, next)?, &mut out),
            Kind::Padding => out.push(0),
            Kind::Bytes | Kind::Terminated => {
                let bytes = packed_string(args, next)?;
                let bytes = bytes.as_bytes();
                let size_given = if size == 0 { bytes.len() } else { size };
                // The argument that is named is the one behind.
                let part = bytes.get(..size_given).ok_or_else(|| args.bad(next + 1, "string too short"))?;
                if out.len() + part.len() > max_bytes {
                    return Err(args.fail(TOO_LONG));
                }
                out.extend_from_slice(part);
                size = part.len();
                if item.kind == Kind::Terminated {
                    out.push(0);
                    size += 1;
                }
            }
            Kind::Control(letter) => format.control(letter).map_err(|fault| fail(args, fault))?,
        }
        if !matches!(item.kind, Kind::Padding | Kind::Control(_)) {
            next += 1;
        }
        position = position.wrapping_add(item.gap).wrapping_add(size);
    }
    args.lua().create_string(out)
}

/// What a missing argument of `pack` is called: behind the arguments stands a nil that the library puts there.
fn missing(args: &Args<'_>, position: usize, expected: &str) -> Option<Error> {
    let is_first_missing = position == args.count() + 1;
    is_first_missing.then(|| args.bad(position, &format!("{expected} expected, got nil")))
}

fn packed_number(args: &Args<'_>, position: usize) -> Result<f64> {
    match missing(args, position, "number") {
        Some(error) => Err(error),
        None => args.number(position),
    }
}

fn packed_string(args: &Args<'_>, position: usize) -> Result<LuaString> {
    match missing(args, position, "string") {
        Some(error) => Err(error),
        None => args.string(position),
    }
}

fn unpack(args: &Args<'_>) -> Result<MultiValue> {
    const SHORT: &str = "data string too short";
    let text = args.string(1)?;
    let text = text.as_bytes();
    let data = args.string(2)?;
    let data = data.as_bytes();
    let first = args.integer_or(3, 1)?;
    if first == 0 {
        return Err(args.bad(3, "offset must be 1 or greater"));
    }
    // A negative one is beyond any data.
    let mut position = usize::try_from(first).map_or(usize::MAX, |first| first - 1);
    let mut format = Format::new(&text);
    let mut steps = args.steps();
    let mut results = MultiValue::new();
    while let Some(item) = format.next(position).map_err(|fault| fail(args, fault))? {
        steps.step()?;
        position = position.saturating_add(item.gap);
        let end = position.saturating_add(item.size);
        let bytes = data.get(position..end).ok_or_else(|| args.bad(2, SHORT))?;
        if results.len() >= RESULTS_MAX {
            return Err(args.fail("stack overflow (too many results)"));
        }
        let mut size = item.size;
        match item.kind {
            Kind::Integer { is_signed } => {
                results.push_back(Value::Number(format.read_integer(bytes, is_signed)));
            }
            Kind::Single => results.push_back(Value::Number(format.read_single(bytes).unwrap_or(0.0))),
            Kind::Double => results.push_back(Value::Number(format.read_double(bytes).unwrap_or(0.0))),
            Kind::Padding => {}
            Kind::Bytes => {
                let mut bytes = bytes;
                if size == 0 {
                    size = previous_size(args, &mut results)?;
                    let end = position.saturating_add(size);
                    bytes = data.get(position..end).ok_or_else(|| args.bad(2, SHORT))?;
                }
                results.push_back(Value::String(args.lua().create_string(bytes)?));
            }
            Kind::Terminated => {
                let rest = data.get(position..).unwrap_or_default();
                let length = memchr::memchr(0, rest).ok_or_else(|| args.fail("unfinished string in data"))?;
                results.push_back(Value::String(args.lua().create_string(&rest[..length])?));
                size = length + 1;
            }
            Kind::Control(letter) => format.control(letter).map_err(|fault| fail(args, fault))?,
        }
        position = position.saturating_add(size);
    }
    results.push_back(Value::Number(position.wrapping_add(1) as f64));
    Ok(results)
}

/// The result before, which is the size of what follows, taken away again.
fn previous_size(args: &Args<'_>, results: &mut MultiValue) -> Result<usize> {
    let number = match results.pop_back() {
        Some(value @ (Value::Number(_) | Value::Integer(_) | Value::String(_))) => {
            args.lua().coerce_number(value)?
        }
        _ => None,
    };
    let number = number.ok_or_else(|| args.fail("format 'c0' needs a previous size"))?;
    // Below 0 and not a number are beyond any data.
    Ok(if number >= 0.0 {
        number as usize
    } else if number > -1.0 {
        0
    } else {
        usize::MAX
    })
}

fn size(args: &Args<'_>) -> Result<f64> {
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut steps = args.steps();
    let mut position = 0_usize;
    while let Some(item) = format.next(position).map_err(|fault| fail(args, fault))? {
        steps.step()?;
        match item.kind {
            Kind::Terminated => return Err(args.bad(1, "option 's' has no fixed size")),
            Kind::Bytes if item.size == 0 => return Err(args.bad(1, "option 'c0' has no fixed size")),
            // A letter that is unknown is passed over here, and only here.
            Kind::Control(letter) if !letter.is_ascii_alphanumeric() => {
                format.control(letter).map_err(|fault| fail(args, fault))?;
            }
            _ => {}
        }
        position = position.wrapping_add(item.gap).wrapping_add(item.size);
    }
    Ok(position as f64)
}
