//! The pure half of `cjson.decode`: bytes in, one event at a time out. It knows no Lua, keeps a byte for each open
//! table, and never allocates more than the longest string of its input.
//!
//! What it takes is what lua-cjson takes, which is more than JSON: with invalid numbers allowed, all that C's `strtod`
//! reads; strings of any bytes; and a NUL ends the text as its end does.

use super::super::number;
use std::fmt;

/// Why a text is refused. Positions are in bytes, as lua-cjson counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something else stands where `expected` must.
    Unexpected {
        /// What would have been right.
        expected: &'static str,
        /// What is there.
        found: &'static str,
        /// Where, from 1.
        at: usize,
    },
    /// Tables nest deeper than is allowed.
    TooDeep {
        /// How deep.
        depth: usize,
        /// Bytes read.
        at: usize,
    },
    /// One of the first two bytes is NUL.
    Wide,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { expected, found, at } => {
                write!(out, "Expected {expected} but found {found} at character {at}")
            }
            Self::TooDeep { depth, at } => {
                write!(out, "Found too many nested data structures ({depth}) at character {at}")
            }
            Self::Wide => out.write_str("JSON parser does not support UTF-16 or UTF-32"),
        }
    }
}

/// What comes next in a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A string: [`Reader::text`].
    Text,
    /// The name of an object's next value: [`Reader::text`].
    Key,
    /// An array begins.
    Array,
    /// An object begins.
    Object,
    /// The innermost array or object ends.
    End,
    /// The text ends, with all that it began.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Fault(&'static str),
}

impl Token {
    /// As errors call it.
    fn name(self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Text => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Fault(text) => text,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// Where the reader stands between two events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A value must come: at the top, or behind a colon.
    Value,
    /// An array or object has just begun: it may end.
    Begun(Container),
    /// Behind a value.
    Behind,
}

/// A text that is being read.
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the last token began or went wrong.
    token_at: usize,
    string: Vec<u8>,
    open: Vec<Container>,
    place: Place,
    allows_invalid_numbers: bool,
    depth_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `text`.
    ///
    /// # Errors
    /// [`Fault::Wide`]
    pub fn new(text: &'a [u8], allows_invalid_numbers: bool, depth_max: usize) -> Result<Self, Fault> {
        if let [first, second, ..] = text
            && (*first == 0 || *second == 0)
        {
            return Err(Fault::Wide);
        }
        Ok(Self {
            text,
            at: 0,
            token_at: 0,
            string: Vec::new(),
            open: Vec::new(),
            place: Place::Value,
            allows_invalid_numbers,
            depth_max,
        })
    }

    /// The string or key that the last event was.
    pub fn text(&self) -> &[u8] {
        &self.string
    }

    /// What comes next; behind [`Event::Done`] nothing does.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn next_event(&mut self) -> Result<Event, Fault> {
        match self.place {
            Place::Value => {
                let token = self.token();
                self.value(token)
            }
            Place::Begun(Container::Array) => match self.token() {
                Token::ArrayEnd => Ok(self.ended()),
                token => self.value(token),
            },
            Place::Begun(Container::Object) => match self.token() {
                Token::ObjectEnd => Ok(self.ended()),
                token => self.key(token),
            },
            Place::Behind => self.behind(),
        }
    }

    fn unexpected(&self, expected: &'static str, token: Token) -> Fault {
        Fault::Unexpected { expected, found: token.name(), at: self.token_at + 1 }
    }

    fn value(&mut self, token: Token) -> Result<Event, Fault> {
        let event = match token {
            Token::Text => Event::Text,
            Token::Number(number) => Event::Number(number),
            Token::Boolean(is_true) => Event::Boolean(is_true),
            Token::Null => Event::Null,
            Token::ArrayBegin => return self.begin(Container::Array),
            Token::ObjectBegin => return self.begin(Container::Object),
            _ => return Err(self.unexpected("value", token)),
        };
        self.place = Place::Behind;
        Ok(event)
    }

    fn begin(&mut self, container: Container) -> Result<Event, Fault> {
        if self.open.len() >= self.depth_max {
            return Err(Fault::TooDeep { depth: self.open.len() + 1, at: self.at });
        }
        self.open.push(container);
        self.place = Place::Begun(container);
        Ok(if container == Container::Array { Event::Array } else { Event::Object })
    }

    fn ended(&mut self) -> Event {
        self.open.pop();
        self.place = Place::Behind;
        Event::End
    }

    fn key(&mut self, token: Token) -> Result<Event, Fault> {
        if token != Token::Text {
            return Err(self.unexpected("object key string", token));
        }
        match self.token() {
            Token::Colon => {
                self.place = Place::Value;
                Ok(Event::Key)
            }
            other => Err(self.unexpected("colon", other)),
        }
    }

    fn behind(&mut self) -> Result<Event, Fault> {
        let Some(container) = self.open.last().copied() else {
            return match self.token() {
                Token::End => Ok(Event::Done),
                token => Err(self.unexpected("the end", token)),
            };
        };
        match (self.token(), container) {
            (Token::ArrayEnd, Container::Array) | (Token::ObjectEnd, Container::Object) => Ok(self.ended()),
            (Token::Comma, Container::Array) => {
                let token = self.token();
                self.value(token)
            }
            (Token::Comma, Container::Object) => {
                let token = self.token();
                self.key(token)
            }
            (token, Container::Array) => Err(self.unexpected("comma or array end", token)),
            (token, Container::Object) => Err(self.unexpected("comma or object end", token)),
        }
    }

    // ---- tokens ------------------------------------------------------------------------------------------------

    /// The byte `ahead` of where the reader stands; NUL behind the end.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault(&mut self, text: &'static str) -> Token {
        self.token_at = self.at;
        Token::Fault(text)
    }

    fn token(&mut self) -> Token {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let single = match self.peek(0) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            _ => return self.long_token(),
        };
        self.at += 1;
        single
    }

    fn long_token(&mut self) -> Token {
        let rest = self.rest();
        match self.peek(0) {
            b'"' => return self.string_token(),
            b'-' | b'0'..=b'9' => {
                if !self.allows_invalid_numbers && is_invalid_number(rest) {
                    return self.fault("invalid number");
                }
                return self.number_token();
            }
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => {}
            _ => return self.fault("invalid token"),
        }
        for (word, token) in
            [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)]
        {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        if self.allows_invalid_numbers && is_invalid_number(rest) {
            return self.number_token();
        }
        self.fault("invalid token")
    }

    fn number_token(&mut self) -> Token {
        match number::read(self.rest()) {
            Some((value, length)) => {
                self.at += length;
                Token::Number(value)
            }
            None => self.fault("invalid number"),
        }
    }

    fn string_token(&mut self) -> Token {
        self.at += 1;
        self.string.clear();
        loop {
            let plain = self.rest().iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0)).count();
            self.string.extend_from_slice(&self.rest()[..plain]);
            self.at += plain;
            match self.peek(0) {
                b'"' => {
                    self.at += 1;
                    return Token::Text;
                }
                b'\\' => {}
                _ => return self.fault("unexpected end of string"),
            }
            let byte = match self.peek(1) {
                byte @ (b'"' | b'\\' | b'/') => byte,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'f' => 12,
                b'r' => b'\r',
                b'u' => {
                    let Some((code, length)) = self.code_point() else {
                        return self.fault("invalid unicode escape code");
                    };
                    self.string.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                    self.at += length;
                    continue;
                }
                _ => return self.fault("invalid escape code"),
            };
            self.string.push(byte);
            self.at += 2;
        }
    }

    /// The character of the `\u` escape here, a pair of surrogates included, and how long it is written.
    fn code_point(&self) -> Option<(char, usize)> {
        let first = self.four_digits(2)?;
        if first & 0xF800 != 0xD800 {
            return Some((char::from_u32(first)?, 6));
        }
        if first & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
            return None;
        }
        let second = self.four_digits(8)?;
        if second & 0xFC00 != 0xDC00 {
            return None;
        }
        let code = ((first & 0x3FF) << 10 | second & 0x3FF) + 0x10000;
        Some((char::from_u32(code)?, 12))
    }

    fn four_digits(&self, ahead: usize) -> Option<u32> {
        (ahead..ahead + 4).try_fold(0, |sum, at| Some(sum << 4 | char::from(self.peek(at)).to_digit(16)?))
    }
}

/// Whether a text begins as a number that `strtod` takes and JSON does not. Such a text may still be no number at all.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = match text.first() {
        Some(b'+') => return true,
        Some(b'-') => &text[1..],
        _ => text,
    };
    match text.first() {
        Some(b'0') => text.get(1).is_some_and(|second| second | 0x20 == b'x' || second.is_ascii_digit()),
        Some(first) if *first > b'9' => text
            .get(..3)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Fault, Reader};
    use proptest::{prop_assert, proptest};

    fn events(text: &[u8], strict: bool, depth_max: usize) -> Result<Vec<String>, Fault> {
        let mut reader = Reader::new(text, !strict, depth_max)?;
        let mut events = Vec::new();
        loop {
            let event = reader.next_event()?;
            events.push(match event {
                Event::Done => return Ok(events),
                Event::Text | Event::Key => format!("{event:?} {:?}", String::from_utf8_lossy(reader.text())),
                _ => format!("{event:?}"),
            });
        }
    }

    #[test]
    fn a_text_is_told_piece_by_piece() {
        let told = events(br#" {"a":[1,-2.5e1,true,null],"b":{},"c":[]} "#, true, 2).unwrap();
        let expected = "Object|Key \"a\"|Array|Number(1.0)|Number(-25.0)|Boolean(true)|Null|End|Key \"b\"|Object|End|\
            Key \"c\"|Array|End|End";
        assert_eq!(told.join("|"), expected);
        assert_eq!(events(br#""\u00e9\ud83d\ude00\n\/\u0000""#, true, 1).unwrap(), ["Text \"é😀\\n/\\0\""]);
        assert_eq!(events(b" 1\0 rest", true, 1).unwrap(), ["Number(1.0)"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("", "Expected value but found T_END at character 1"),
            ("x", "Expected value but found invalid token at character 1"),
            ("nul", "Expected value but found invalid token at character 1"),
            ("[1", "Expected comma or array end but found T_END at character 3"),
            ("[1,]", "Expected value but found T_ARR_END at character 4"),
            ("[1}", "Expected comma or array end but found T_OBJ_END at character 3"),
            ("{1:2}", "Expected object key string but found T_NUMBER at character 2"),
            ("{\"a\" 1}", "Expected colon but found T_NUMBER at character 6"),
            ("{\"a\":1,}", "Expected object key string but found T_OBJ_END at character 8"),
            ("{\"a\":1:", "Expected comma or object end but found T_COLON at character 7"),
            ("1 2", "Expected the end but found T_NUMBER at character 3"),
            ("\"abc", "Expected value but found unexpected end of string at character 5"),
            ("\"a\\x\"", "Expected value but found invalid escape code at character 3"),
            ("\"\\ud800\"", "Expected value but found invalid unicode escape code at character 2"),
            ("\"\\u12\"", "Expected value but found invalid unicode escape code at character 2"),
            ("-", "Expected value but found invalid number at character 1"),
            ("[[[", "Found too many nested data structures (3) at character 3"),
        ] {
            assert_eq!(events(text.as_bytes(), false, 2).unwrap_err().to_string(), expected, "{text}");
        }
        assert_eq!(events(b"\0\0", false, 2), Err(Fault::Wide));
    }

    #[test]
    fn numbers_that_json_lacks_are_taken_where_allowed() {
        for text in ["0x1F", "-0x1f", "+1", "01", "Infinity", "-inf", "NaN"] {
            assert!(events(text.as_bytes(), false, 1).is_ok(), "{text}");
            assert!(events(text.as_bytes(), true, 1).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(text: Vec<u8>, strict: bool) {
            if let Ok(told) = events(&text, strict, 8) {
                prop_assert!(told.len() <= text.len());
            }
        }
    }
}
