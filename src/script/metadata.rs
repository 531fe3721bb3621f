//! The first line of a library: `#!<engine> name=<name>`, words and quotes as in an inline request. Pure.

use crate::resp::args::Args;
use crate::resp::inline;

/// What is told where a name has other bytes, or none.
pub const BAD_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one \
    character long";

/// Longest first line, in bytes: what an inline request may have.
const LINE_MAX_BYTES: usize = 64 * 1024;

/// A library as its first line describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// What is to run it.
    pub engine: String,
    /// Its name.
    pub name: String,
    /// What follows, from the end of the first line on, so that lines keep their numbers.
    pub code: &'a [u8],
}

/// Reads a library's first line.
///
/// # Errors
/// There is none, or it does not say what it must; the text says why.
pub fn read(source: &[u8]) -> Result<Metadata<'_>, String> {
    const INVALID: &str = "Invalid library metadata";
    if !source.starts_with(b"#!") {
        return Err("Missing library metadata".to_owned());
    }
    // A NUL ends the text as its end does.
    let end = memchr::memchr2(b'\n', 0, source).filter(|end| source[*end] == b'\n' && *end <= LINE_MAX_BYTES);
    let (line, code) = source.split_at(end.ok_or(INVALID)?);
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    inline::split(line, &mut bytes, &mut ranges).map_err(|_| INVALID)?;
    let words = Args::new(&bytes, &ranges);
    let engine = words.get(0).and_then(|word| word.get(2..)).ok_or(INVALID)?;
    let mut name = None;
    for word in words.from(1).iter() {
        match word.get(..5) {
            Some(key) if key.eq_ignore_ascii_case(b"name=") => {
                if name.replace(&word[5..]).is_some() {
                    return Err("Invalid metadata value, name argument was given multiple times".to_owned());
                }
            }
            _ => return Err(format!("Invalid metadata value given: {}", String::from_utf8_lossy(word))),
        }
    }
    let name = verified(name.ok_or("Library name was not given")?)?;
    Ok(Metadata { engine: String::from_utf8_lossy(engine).into_owned(), name, code })
}

/// The name of a library or function, if it may be one.
///
/// # Errors
/// [`BAD_NAME`]
pub fn verified(name: &[u8]) -> Result<String, &'static str> {
    let is_right = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if !is_right {
        return Err(BAD_NAME);
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{BAD_NAME, read};
    use proptest::proptest;

    #[test]
    fn first_lines_are_read_as_in_redis() {
        for line in ["#!lua name=a_1", "#!LUA nAme=\"a_1\"", "#!lua\tname='a_1'\r", "  #!lua name=a_1"] {
            let source = format!("{line}\nreturn");
            match read(source.as_bytes()) {
                Ok(read) => {
                    assert_eq!((read.name.as_str(), read.code), ("a_1", b"\nreturn".as_slice()), "{line}");
                    assert!(read.engine.eq_ignore_ascii_case("lua"));
                }
                Err(error) => assert_eq!((error.as_str(), &line[..1]), ("Missing library metadata", " ")),
            }
        }
        for (source, expected) in [
            ("", "Missing library metadata"),
            ("lua name=a\n", "Missing library metadata"),
            ("#!lua name=a", "Invalid library metadata"),
            ("#!lua\0 name=a\n", "Invalid library metadata"),
            ("#!lua name=\"a\n", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!lua name=\n", BAD_NAME),
            ("#!lua name=a-b\n", BAD_NAME),
            ("#!lua name=a name=b\n", "Invalid metadata value, name argument was given multiple times"),
            ("#!lua name=a foo=bar\n", "Invalid metadata value given: foo=bar"),
            ("#!lua name\n", "Invalid metadata value given: name"),
        ] {
            assert_eq!(read(source.as_bytes()).unwrap_err(), expected, "{source:?}");
        }
        assert_eq!(read(b"#! name=a\n").unwrap().engine, "");
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line: Vec<u8>) {
            let _ = read(&[b"#!", &line[..], b"\n"].concat());
        }
    }
}
