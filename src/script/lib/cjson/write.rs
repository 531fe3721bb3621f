//! The walk of `cjson.encode` over tables: one frame of its own for each table that is open, none of the native stack.
//!
//! A table that holds no other is written in one go; one that does is walked step by step, since what a table's own
//! walk calls may not walk another without using the native stack.

use super::super::args::{Args, Problem, Steps, type_name};
use super::super::{DEPTH_MAX, TOO_LONG, number};
use super::{InvalidNumbers, Settings};
use mlua::{Error, Function, Table, Value};

/// One table that is being written.
enum Frame {
    Array { table: Table, next: i32, length: i32 },
    Object { table: Table, key: Value, is_first: bool },
}

/// What a table is, before it is written.
struct Survey {
    /// The highest index, where all keys are indexes from 1 on: it is written as an array unless this is below 1.
    length: Option<i32>,
    /// Whether a value is a table.
    holds_tables: bool,
}

/// A text that is being written.
pub(super) struct Writer<'a> {
    settings: Settings,
    /// Lua's own `next`.
    next: &'a Function,
    out: Vec<u8>,
    max_bytes: usize,
    steps: Steps<'a>,
    frames: Vec<Frame>,
}

impl<'a> Writer<'a> {
    /// A writer for the call `args`, which walks by `next`.
    pub(super) fn new(args: &Args<'a>, settings: Settings, next: &'a Function) -> Self {
        let (max_bytes, steps) = (args.output_max(), args.steps());
        Self { settings, next, out: Vec::new(), max_bytes, steps, frames: Vec::new() }
    }

    /// The text of `value`.
    ///
    /// # Errors
    /// It holds what has no text, or too much.
    pub(super) fn text_of(mut self, value: &Value) -> Result<Vec<u8>, Problem> {
        self.value(value)?;
        while let Some(frame) = self.frames.last_mut() {
            match frame {
                Frame::Array { next, length, .. } if *next >= *length => {
                    self.out.push(b']');
                    self.frames.pop();
                }
                Frame::Array { table, next, .. } => {
                    *next += 1;
                    if *next > 1 {
                        self.out.push(b',');
                    }
                    let value: Value = table.raw_get(i64::from(*next))?;
                    self.value(&value)?;
                }
                Frame::Object { .. } => self.next_pair()?,
            }
        }
        Ok(self.out)
    }

    fn next_pair(&mut self) -> Result<(), Problem> {
        let Some(Frame::Object { table, key, is_first }) = self.frames.last_mut() else {
            return Ok(());
        };
        let (next, value): (Value, Value) = self.next.call((&*table, std::mem::take(key)))?;
        if next.is_nil() {
            self.out.push(b'}');
            self.frames.pop();
            return Ok(());
        }
        if !std::mem::take(is_first) {
            self.out.push(b',');
        }
        key.clone_from(&next);
        self.key(&next)?;
        self.value(&value)
    }

    fn value(&mut self, value: &Value) -> Result<(), Problem> {
        self.steps.step()?;
        match value {
            Value::Table(table) => return self.table(table),
            Value::String(text) => write_string(&text.as_bytes(), &mut self.out),
            Value::Integer(number) => self.number(*number as f64, value)?,
            Value::Number(number) => self.number(*number, value)?,
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            _ => return Err(refused(value, "type not supported")),
        }
        if self.out.len() > self.max_bytes { Err(Problem::Text(TOO_LONG.to_owned())) } else { Ok(()) }
    }

    fn number(&mut self, number: f64, value: &Value) -> Result<(), Problem> {
        match self.settings.encode_invalid_numbers {
            _ if number.is_finite() => {}
            InvalidNumbers::Refused => return Err(refused(value, "must not be NaN or Inf")),
            InvalidNumbers::Taken if number.is_nan() => {
                self.out.extend_from_slice(b"nan");
                return Ok(());
            }
            InvalidNumbers::Taken => {}
            InvalidNumbers::Null => {
                self.out.extend_from_slice(b"null");
                return Ok(());
            }
        }
        number::write_general(number, self.settings.encode_number_precision, &mut self.out);
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<(), Problem> {
        match key {
            Value::String(text) => write_string(&text.as_bytes(), &mut self.out),
            Value::Integer(_) | Value::Number(_) => {
                self.out.push(b'"');
                self.value(key)?;
                self.out.push(b'"');
            }
            _ => return Err(refused(key, "table key must be a number or string")),
        }
        self.out.push(b':');
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), Problem> {
        let depth = self.frames.len() + 1;
        if depth > self.settings.encode_max_depth.min(DEPTH_MAX) {
            return Err(Problem::Text(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        let survey = self.survey(table)?;
        if let Some(length) = survey.length.filter(|length| *length > 0) {
            self.out.push(b'[');
            self.frames.push(Frame::Array { table: table.clone(), next: 0, length });
            return Ok(());
        }
        self.out.push(b'{');
        if survey.holds_tables {
            self.frames.push(Frame::Object { table: table.clone(), key: Value::Nil, is_first: true });
            return Ok(());
        }
        let mut is_first = true;
        let mut problem = None;
        let walked = table.for_each(|key: Value, value: Value| {
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            self.key(&key).and_then(|()| self.value(&value)).map_err(|why| {
                problem = Some(why);
                // Ends the walk; `problem` says why.
                Error::StackError
            })
        });
        match problem {
            Some(why) => return Err(why),
            None => walked?,
        }
        self.out.push(b'}');
        Ok(())
    }

    fn survey(&self, table: &Table) -> Result<Survey, Problem> {
        let mut highest = 0_i32;
        let mut items = 0_i64;
        let mut is_array = true;
        let mut holds_tables = false;
        table.for_each(|key: Value, value: Value| {
            holds_tables |= value.is_table();
            let index = match key {
                Value::Integer(index) => index as f64,
                Value::Number(index) => index,
                _ => 0.0,
            };
            if index < 1.0 || index.trunc() != index {
                is_array = false;
                return Ok(());
            }
            items += 1;
            if index > f64::from(highest) {
                // An index that no 32 bits hold makes a negative length, and so an object: as in Redis.
                highest = if index <= f64::from(i32::MAX) { index as i32 } else { i32::MIN };
            }
            Ok(())
        })?;
        if !is_array {
            return Ok(Survey { length: None, holds_tables });
        }
        let Settings { encode_sparse_ratio: ratio, encode_sparse_safe: safe, .. } = self.settings;
        let is_sparse = ratio > 0 && i64::from(highest) > items * i64::from(ratio) && highest > safe;
        if is_sparse && !self.settings.encode_sparse_convert {
            return Err(Problem::Text("Cannot serialise table: excessively sparse array".to_owned()));
        }
        Ok(Survey { length: (!is_sparse).then_some(highest), holds_tables })
    }
}

fn refused(value: &Value, reason: &str) -> Problem {
    Problem::Text(format!("Cannot serialise {}: {reason}", type_name(value)))
}

/// Appends `text` as a JSON string; bytes that are no UTF-8 stay as they are.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(plain) = rest.iter().position(|byte| is_escaped(*byte)) {
        let (before, behind) = rest.split_at(plain);
        out.extend_from_slice(before);
        let (escaped, behind) = behind.split_first().unwrap_or((&0, &[]));
        write_escape(*escaped, out);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, 0..=31 | b'"' | b'/' | b'\\' | 127)
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        8 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        12 => b'f',
        b'\r' => b'r',
        b'"' | b'/' | b'\\' => byte,
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}
