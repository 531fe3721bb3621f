//! What a script returns, as a reply.
//!
//! Walks tables with a stack of its own: tables that contain themselves end where Redis ends them, at a depth of about
//! 8,000, with an error in their midst.

use mlua::{Table, Value};

use crate::resp::reply::{Proto, Reply};

/// Tables within tables that are written, as in Redis: what the interpreter's C stack holds.
const DEPTH_MAX: usize = 7_990;

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

/// Where a table is being walked.
enum Walk {
    /// The elements 1, 2, …; how many were written.
    Array { table: Table, written: usize, mark: crate::resp::output::Mark },
    /// Keys and values, or keys alone.
    Pairs { items: std::vec::IntoIter<Value> },
}

/// Writes `value`; `proto` is what the script has chosen by `redis.setresp`.
pub fn write(reply: &mut Reply, value: Value, proto: Proto) -> Errors {
    let mut errors = Errors::default();
    let mut stack: Vec<Walk> = Vec::new();
    let mut next = Some(value);
    let (start, mut tables) = (reply.checkpoint(), 0);
    loop {
        if let Some(value) = next.take() {
            tables += usize::from(value.is_table());
            if tables > TABLES_MAX || (!stack.is_empty() && reply.bytes_since(start) > REPLY_MAX_BYTES) {
                reply.truncate_to(start);
                errors.lines.clear();
                put_error(reply, b"ERR the script's reply is too large", false, &mut errors);
                return errors;
            }
            if stack.len() >= DEPTH_MAX {
                put_error(reply, b"ERR reached lua stack limit", false, &mut errors);
            } else if let Some(walk) = put(reply, value, proto, &mut errors) {
                stack.push(walk);
            }
            if stack.is_empty() {
                return errors;
            }
            errors.is_error = false;
        }
        match stack.last_mut() {
            None => return errors,
            Some(Walk::Array { table, written, mark }) => {
                match table.raw_get::<Value>((*written + 1) as f64) {
                    Ok(Value::Nil) | Err(_) => {
                        reply.close_array(*mark, *written);
                        stack.pop();
                    }
                    Ok(value) => {
                        *written += 1;
                        next = Some(value);
                    }
                }
            }
            Some(Walk::Pairs { items }) => match items.next() {
                Some(value) => next = Some(value),
                None => {
                    stack.pop();
                }
            },
        }
        if stack.is_empty() {
            return errors;
        }
    }
}

/// Writes a value, or begins to walk it.
fn put(reply: &mut Reply, value: Value, proto: Proto, errors: &mut Errors) -> Option<Walk> {
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Boolean(value) if proto == Proto::Resp3 => reply.boolean(value),
        Value::Boolean(true) => reply.integer(1),
        Value::Integer(value) => reply.integer(value),
        Value::Number(value) => reply.integer(whole(value)),
        Value::Table(table) => return put_table(reply, table, errors),
        _ => reply.null(),
    }
    None
}

/// A double as C converts it to a 64-bit integer on the machines that there are: what does not fit is the smallest.
fn whole(value: f64) -> i64 {
    if value >= -9_223_372_036_854_775_808.0 && value < 9_223_372_036_854_775_808.0 {
        value as i64
    } else {
        i64::MIN
    }
}

fn put_table(reply: &mut Reply, table: Table, errors: &mut Errors) -> Option<Walk> {
    let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
    if let Some(line) = text(field("err")) {
        let counted = matches!(field("ignore_error_stats_update"), Value::Boolean(true));
        put_error(reply, &line, counted, errors);
        return None;
    }
    if let Some(line) = text(field("ok")) {
        put_line(reply, b'+', &line);
        return None;
    }
    if let Value::Number(value) = number(field("double")) {
        reply.double(value);
        return None;
    }
    if let Value::Table(map) = field("map") {
        let items: Vec<Value> =
            map.pairs::<Value, Value>().flatten().flat_map(|(key, value)| [key, value]).collect();
        reply.map(items.len() / 2);
        return Some(Walk::Pairs { items: items.into_iter() });
    }
    if let Value::Table(set) = field("set") {
        let items: Vec<Value> = set.pairs::<Value, Value>().flatten().map(|(key, _)| key).collect();
        reply.set(items.len());
        return Some(Walk::Pairs { items: items.into_iter() });
    }
    if let Some(digits) = text(field("big_number")) {
        if reply.proto() == Proto::Resp3 {
            put_line(reply, b'(', &digits);
        } else {
            reply.bulk(&on_one_line(&digits));
        }
        return None;
    }
    if let Value::Table(parts) = field("verbatim_string") {
        let part = |name: &str| text(parts.raw_get::<Value>(name).unwrap_or(Value::Nil));
        if let (Some(format), Some(text)) = (part("format"), part("string")) {
            put_verbatim(reply, &format, &text);
            return None;
        }
    }
    Some(Walk::Array { mark: reply.deferred_array(), table, written: 0 })
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

fn put_error(reply: &mut Reply, line: &[u8], counted: bool, errors: &mut Errors) {
    put_line(reply, b'-', line);
    errors.is_error = true;
    if !counted && errors.lines.len() < ERRORS_MAX {
        errors.lines.push(line.to_vec());
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
