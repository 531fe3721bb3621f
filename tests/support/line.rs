//! One command line in the inline syntax of Redis, split into arguments.
//!
//! `SET k "two words"`, `SET k '\x00 is not an escape here'`, `SET k "\x00\n"`. Panics on unbalanced quotes: a line is
//! always written by a test.

/// The arguments of `line`. Panics when a quote is not closed or is followed by something other than a space.
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let bytes = line.as_bytes();
    let mut arguments = Vec::new();
    let mut at = 0;
    loop {
        while at < bytes.len() && bytes[at] == b' ' {
            at += 1;
        }
        if at == bytes.len() {
            return arguments;
        }
        let (argument, next) = match bytes[at] {
            quote @ (b'"' | b'\'') => quoted(line, at + 1, quote),
            _ => plain(bytes, at),
        };
        arguments.push(argument);
        at = next;
    }
}

fn plain(bytes: &[u8], start: usize) -> (Vec<u8>, usize) {
    let length = bytes[start..].iter().take_while(|byte| **byte != b' ').count();
    (bytes[start..start + length].to_vec(), start + length)
}

fn quoted(line: &str, start: usize, quote: u8) -> (Vec<u8>, usize) {
    let bytes = line.as_bytes();
    let mut argument = Vec::new();
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' && at + 1 < bytes.len() => {
                let (byte, width) = escape(line, at + 1);
                argument.push(byte);
                at += 1 + width;
            }
            byte if byte == quote => {
                assert!(matches!(bytes.get(at + 1), None | Some(b' ')), "no space after the quote: {line}");
                return (argument, at + 1);
            }
            byte => {
                argument.push(byte);
                at += 1;
            }
        }
    }
    panic!("quote not closed: {line}");
}

/// The byte that the escape at `at` (after the backslash) stands for, and the escape's width.
fn escape(line: &str, at: usize) -> (u8, usize) {
    match line.as_bytes()[at] {
        b'x' => {
            let digits = line.get(at + 1..at + 3).unwrap_or_default();
            let byte = u8::from_str_radix(digits, 16);
            (byte.unwrap_or_else(|_| panic!("\\x needs two hex digits: {line}")), 3)
        }
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        other => (other, 1),
    }
}
