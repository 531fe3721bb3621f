//! What a script returns, as a reply.
//!
//! Walks tables with a stack of its own, holding one of them for each level: tables that contain themselves end at a depth
//! of some thousands with an error in their midst, as in Redis.

use mlua::{Function, Table, Value};

use crate::resp::output::Mark;
use crate::resp::reply::{Proto, Reply};

/// Room for tables within tables: an array takes one, a map or set three, as on the interpreter's stack in Redis. Fewer
/// than there are places for values that are held from outside.
const DEPTH_MAX: usize = 7_000;
/// What a map or a set takes of it.
const PAIRS_DEPTH: usize = 3;

/// Bytes of a reply at most: tables that hold one another many times would be written as often.
const REPLY_MAX_BYTES: usize = 512 << 20;
/// Tables in a reply at most.
const TABLES_MAX: usize = 4 << 20;

/// Errors within a reply that are reported to whoever counts them.
const ERRORS_MAX: usize = 64;

/// Lines of the errors in a reply that nobody has counted yet, and whether the whole reply is an error.
#[derive(Debug, Default)]
pub struct Errors {
    /// The lines.
    pub lines: Vec<Vec<u8>>,
    /// The reply itself is an error.
    pub is_error: bool,
}

/// A table that is being walked.
struct Walk {
    table: Table,
    written: usize,
    kind: Kind,
}

enum Kind {
    /// The elements 1, 2, … up to the first that is nil; the head goes before them.
    Array(Mark),
    /// So many elements, whose head is written.
    Row(usize),
}

/// Writes `value`; `proto` is what the script has chosen by `redis.setresp`, `flatten` the sandbox's function.
pub fn write(reply: &mut Reply, value: Value, proto: Proto, flatten: &Function) -> Errors {
    let mut writer =
        Writer { start: reply.checkpoint(), reply, proto, flatten, tables: 0, errors: Errors::default() };
    writer.run(value);
    writer.errors
}

struct Writer<'a> {
    reply: &'a mut Reply,
    start: Mark,
    proto: Proto,
    flatten: &'a Function,
    tables: usize,
    errors: Errors,
}

impl Writer<'_> {
    fn run(&mut self, value: Value) {
        if !value.is_table() {
            self.put(value);
            return;
        }
        let (mut stack, mut depth): (Vec<Walk>, usize) = (Vec::new(), 0);
        let mut next = Some(value);
        loop {
            if let Some(value) = next.take() {
                self.tables += usize::from(value.is_table());
                let is_large = !stack.is_empty() && self.reply.bytes_since(self.start) > REPLY_MAX_BYTES;
                if is_large || self.tables > TABLES_MAX {
                    return self.give_up();
                }
                if depth >= DEPTH_MAX {
                    self.error(b"ERR reached lua stack limit", false);
                } else if let Some(walk) = self.put(value) {
                    depth += walk.depth();
                    stack.push(walk);
                }
                // What is within something else is not the whole reply.
                self.errors.is_error &= stack.is_empty() && depth == 0;
            }
            let Some(walk) = stack.last_mut() else { return };
            match walk.next() {
                Some(value) => next = Some(value),
                None => {
                    if let Kind::Array(mark) = walk.kind {
                        self.reply.close_array(mark, walk.written);
                    }
                    depth -= walk.depth();
                    stack.pop();
                }
            }
        }
    }

    /// The reply is an error instead of what it was to be.
    fn give_up(&mut self) {
        self.reply.truncate_to(self.start);
        self.errors.lines.clear();
        self.error(b"ERR the script's reply is too large", false);
    }

    /// Writes a value, or begins to walk it.
    fn put(&mut self, value: Value) -> Option<Walk> {
        match value {
            Value::String(text) => self.reply.bulk(&text.as_bytes()),
            Value::Boolean(value) if self.proto == Proto::Resp3 => self.reply.boolean(value),
            Value::Boolean(true) => self.reply.integer(1),
            Value::Integer(value) => self.reply.integer(value),
            Value::Number(value) => self.reply.integer(whole(value)),
            Value::Table(table) => return self.put_table(table),
            _ => self.reply.null(),
        }
        None
    }

    fn put_table(&mut self, table: Table) -> Option<Walk> {
        let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        if let Some(line) = text(field("err")) {
            let counted = matches!(field("ignore_error_stats_update"), Value::Boolean(true));
            self.error(&line, counted);
            return None;
        }
        if let Some(line) = text(field("ok")) {
            put_line(self.reply, b'+', &line);
            return None;
        }
        if let Value::Number(value) = number(field("double")) {
            self.reply.double(value);
            return None;
        }
        if let Value::Table(map) = field("map") {
            return self.row(&map, true);
        }
        if let Value::Table(set) = field("set") {
            return self.row(&set, false);
        }
        if let Some(digits) = text(field("big_number")) {
            if self.reply.proto() == Proto::Resp3 {
                put_line(self.reply, b'(', &digits);
            } else {
                self.reply.bulk(&on_one_line(&digits));
            }
            return None;
        }
        if let Value::Table(parts) = field("verbatim_string") {
            let part = |name: &str| text(parts.raw_get::<Value>(name).unwrap_or(Value::Nil));
            if let (Some(format), Some(text)) = (part("format"), part("string")) {
                put_verbatim(self.reply, &format, &text);
                return None;
            }
        }
        Some(Walk { kind: Kind::Array(self.reply.deferred_array()), table, written: 0 })
    }

    /// Begins a map or a set.
    fn row(&mut self, table: &Table, is_map: bool) -> Option<Walk> {
        let Ok((row, len)) = self.flatten.call::<(Table, usize)>((table, is_map)) else {
            self.error(b"ERR not enough memory", false);
            return None;
        };
        if is_map {
            self.reply.map(len / 2)
        } else {
            self.reply.set(len)
        }
        Some(Walk { kind: Kind::Row(len), table: row, written: 0 })
    }

    fn error(&mut self, line: &[u8], counted: bool) {
        put_line(self.reply, b'-', line);
        self.errors.is_error = true;
        if !counted && self.errors.lines.len() < ERRORS_MAX {
            self.errors.lines.push(line.to_vec());
        }
    }
}

impl Walk {
    fn depth(&self) -> usize {
        match self.kind {
            Kind::Array(_) => 1,
            Kind::Row(_) => PAIRS_DEPTH,
        }
    }

    fn next(&mut self) -> Option<Value> {
        let value = self.table.raw_get::<Value>((self.written + 1) as f64).unwrap_or(Value::Nil);
        let is_over = match self.kind {
            Kind::Array(_) => value.is_nil(),
            Kind::Row(len) => self.written >= len,
        };
        if is_over {
            return None;
        }
        self.written += 1;
        Some(value)
    }
}

/// A double as C converts it to a 64-bit integer on the machines that there are: what does not fit is the smallest.
fn whole(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}

fn text(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn number(value: Value) -> Value {
    match value {
        Value::Integer(value) => Value::Number(value as f64),
        other => other,
    }
}

/// A line whose text is the script's: line ends in it become blanks.
pub fn put_line(reply: &mut Reply, kind: u8, text: &[u8]) {
    reply.raw(&[kind]);
    reply.raw(&on_one_line(text));
    reply.raw(b"\r\n");
}

fn on_one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect()
}

fn put_verbatim(reply: &mut Reply, format: &[u8], text: &[u8]) {
    if reply.proto() != Proto::Resp3 {
        return reply.bulk(text);
    }
    let mut head = format!("={}\r\n", text.len() + 4).into_bytes();
    head.extend((0..3).map(|at| format.get(at).copied().unwrap_or(b' ')));
    head.push(b':');
    reply.raw(&head);
    reply.raw(text);
    reply.raw(b"\r\n");
}
