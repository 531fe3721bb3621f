//! Inline requests: a line of words, as a person types it in telnet.
//!
//! Words are separated by blanks. In double quotes `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` mean what they mean in C and
//! any other escaped byte means itself; in single quotes only `\'` is an escape. A quote opens anywhere in a word and
//! must be closed before a blank or the end of the line. Linear in the length of the line, which the scanner bounds.

use crate::resp::args::Range32;

/// A quote was not closed, or was closed inside a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits `line` (without its line end) into words, appended to `bytes` at `ranges`.
///
/// # Errors
/// [`UnbalancedQuotes`]; what was appended then is meaningless.
pub fn split(line: &[u8], bytes: &mut Vec<u8>, ranges: &mut Vec<Range32>) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        while let [byte, tail @ ..] = rest
            && is_blank(*byte)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        ranges.push(Range32 { start: start as u32, len: (bytes.len() - start) as u32 });
    }
}

/// Reads one word; what follows it.
fn word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [] => return Ok(rest),
            // Vertical tab and form feed lead no word, but do not end one either: so it is in Redis.
            [b' ' | b'\t' | b'\n' | b'\r', ..] => return Ok(rest),
            [b'"', tail @ ..] => return closed(double_quoted(tail, bytes)?),
            [b'\'', tail @ ..] => return closed(single_quoted(tail, bytes)?),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

/// After a closing quote only a blank or the end may follow.
fn closed(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(byte) if !is_blank(*byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                bytes.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                tail
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                bytes.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                tail
            }
        };
    }
}

/// What the C locale calls a space.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::{UnbalancedQuotes, split};
    use crate::resp::args::Args;

    fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        split(line, &mut bytes, &mut ranges)?;
        Ok(Args::new(&bytes, &ranges).iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_and_quotes() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b"  \t ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  k\tv ", &[b"set", b"k", b"v"]),
            (b"\"\" ''", &[b"", b""]),
            (b"\"a b\" 'c d'", &[b"a b", b"c d"]),
            (br#""\x41\xfF\n\r\t\b\a\q\"" "#, &[b"A\xff\n\r\t\x08\x07q\""]),
            (br#""\xg1""#, &[b"xg1"]),
            (br"'it\'s \n'", &[br"it's \n"]),
            (b"ab\"c d\"", &[b"abc d"]),
            (b"ab'c d' e", &[b"abc d", b"e"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
        ];
        for (line, expected) in cases {
            let found = words(line).expect("balanced quotes");
            assert_eq!(found, *expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [&b"\""[..], b"'", b"\"a\"b", b"'a'b", b"\"a\\\"", b"'a\\'", b"x\"y"] {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{}", line.escape_ascii());
        }
    }
}
