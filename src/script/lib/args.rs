//! The arguments of a library's function, checked with the words of Lua's own libraries.

use super::{OUTPUT_MAX_BYTES, OutputMax, Watcher};
use mlua::{Error, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Result, Value};
use std::rc::Rc;

/// One call from a script: its arguments, and who called.
pub struct Args<'a> {
    lua: &'a Lua,
    values: MultiValue,
}

/// Why a call fails, told where the stack does not tell who called.
pub(super) enum Problem {
    /// With this text.
    Text(String),
    /// With what the interpreter says.
    Lua(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Lua(error)
    }
}

impl Problem {
    /// The error of the call `args`.
    pub(super) fn of(self, args: &Args<'_>) -> Error {
        match self {
            Self::Text(text) => args.fail(&text),
            Self::Lua(error) => error,
        }
    }
}

/// Steps of a call that may be many.
pub(super) struct Steps<'a> {
    lua: &'a Lua,
    left: u32,
}

impl Steps<'_> {
    /// Steps between two looks at whether the script must end.
    const BETWEEN: u32 = 4096;

    /// Takes one.
    ///
    /// # Errors
    /// The script must end.
    #[inline]
    pub(super) fn step(&mut self) -> Result<()> {
        self.left -= 1;
        if self.left == 0 { self.look() } else { Ok(()) }
    }

    #[cold]
    fn look(&mut self) -> Result<()> {
        self.left = Self::BETWEEN;
        let watcher = self.lua.app_data_ref::<Watcher>().map(|watcher| Rc::clone(&watcher.0));
        watcher.map_or(Ok(()), |look| look(self.lua))
    }
}

/// A function for scripts, of what it does with the arguments.
///
/// # Errors
/// No memory.
pub(super) fn function<R: IntoLuaMulti>(
    lua: &Lua,
    run: impl Fn(&Args<'_>) -> Result<R> + 'static,
) -> Result<Function> {
    lua.create_function(move |lua, values: MultiValue| run(&Args { lua, values }))
}

impl<'a> Args<'a> {
    /// The interpreter.
    pub fn lua(&self) -> &'a Lua {
        self.lua
    }

    /// The steps that it takes.
    pub(super) fn steps(&self) -> Steps<'a> {
        Steps { lua: self.lua, left: Steps::BETWEEN }
    }

    /// Most bytes that the call may produce.
    pub fn output_max(&self) -> usize {
        self.lua.app_data_ref::<OutputMax>().map_or(OUTPUT_MAX_BYTES, |max| max.0)
    }

    /// How many there are, trailing nils included.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// All of them.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.values.iter()
    }

    /// The one at `position`, from 1; `None` where there are fewer.
    pub fn get(&self, position: usize) -> Option<&Value> {
        self.values.get(position.checked_sub(1)?)
    }

    /// Whether there is none at `position`, or nil.
    pub fn is_nil(&self, position: usize) -> bool {
        matches!(self.get(position), None | Some(Value::Nil))
    }

    /// The string at `position`; a number is written as one.
    ///
    /// # Errors
    /// It is neither.
    pub fn string(&self, position: usize) -> Result<LuaString> {
        match self.get(position) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(number @ (Value::Integer(_) | Value::Number(_))) => {
                self.lua.coerce_string(number.clone())?.ok_or_else(|| self.bad_type(position, "string"))
            }
            _ => Err(self.bad_type(position, "string")),
        }
    }

    /// The number at `position`, or the one that the string there spells; `None` where neither is.
    ///
    /// # Errors
    /// No stack left.
    pub fn to_number(&self, position: usize) -> Result<Option<f64>> {
        match self.get(position) {
            Some(Value::Integer(number)) => Ok(Some(*number as f64)),
            Some(Value::Number(number)) => Ok(Some(*number)),
            Some(Value::String(text)) => self.lua.coerce_number(Value::String(text.clone())),
            _ => Ok(None),
        }
    }

    /// The number at `position`.
    ///
    /// # Errors
    /// There is none.
    pub fn number(&self, position: usize) -> Result<f64> {
        self.to_number(position)?.ok_or_else(|| self.bad_type(position, "number"))
    }

    /// The number at `position`, cut to an integer.
    ///
    /// # Errors
    /// There is none.
    pub fn integer(&self, position: usize) -> Result<i64> {
        Ok(to_integer(self.number(position)?))
    }

    /// The number at `position`, cut to an integer, or `default` where nothing is given.
    ///
    /// # Errors
    /// Something else is there.
    pub fn integer_or(&self, position: usize, default: i64) -> Result<i64> {
        if self.is_nil(position) { Ok(default) } else { self.integer(position) }
    }

    /// The argument at `position` is not what it must be.
    pub fn bad(&self, position: usize, text: &str) -> Error {
        // As Lua names a function: by what the caller called, which a call from C is not.
        let named = self.lua.inspect_stack(0, |debug| {
            let names = debug.names();
            (names.name.map(|name| name.into_owned()), names.name_what == Some("method"))
        });
        let (name, is_method) = named.unwrap_or_default();
        let name = name.as_deref().unwrap_or("?");
        if !is_method {
            return self.fail(&format!("bad argument #{position} to '{name}' ({text})"));
        }
        match position {
            1 => self.fail(&format!("calling '{name}' on bad self ({text})")),
            _ => self.fail(&format!("bad argument #{} to '{name}' ({text})", position.wrapping_sub(1))),
        }
    }

    /// The argument at `position` is no `expected`.
    pub fn bad_type(&self, position: usize, expected: &str) -> Error {
        let found = self.get(position).map_or("no value", type_name);
        self.bad(position, &format!("{expected} expected, got {found}"))
    }

    /// The call fails: `text`, with the line of the script that called. Not for what runs within a table's own walk,
    /// which is a call of its own: see `Problem`.
    pub fn fail(&self, text: &str) -> Error {
        let place = self.lua.inspect_stack(1, |debug| {
            let line = debug.current_line()?;
            let source = debug.source().short_src.map(|name| name.into_owned())?;
            Some(format!("{source}:{line}: "))
        });
        let place = place.flatten().unwrap_or_default();
        Error::RuntimeError(format!("{place}{text}"))
    }
}

/// What Lua calls the type of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// `number` cut to an integer; one that is beyond all, or none, is the least, as a processor has it.
pub(super) fn to_integer(number: f64) -> i64 {
    let cut = number.trunc();
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&cut) {
        cut as i64
    } else {
        i64::MIN
    }
}
