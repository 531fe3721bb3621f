//! The first line of a script that says what it may do: `#!lua flags=no-writes,allow-oom`.

use crate::command::table::Entry;
use crate::hub::Hub;
use crate::hub::scripts::Digest;
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::script::flags::Flags;

/// What a script may do, or promises not to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// It said something at all: without a first line of this kind a script is treated as before there were any.
    pub declared: bool,
    /// `no-writes`
    pub no_writes: bool,
    /// `allow-oom`
    pub allow_oom: bool,
    /// `allow-stale`
    pub allow_stale: bool,
    /// `no-cluster`
    pub no_cluster: bool,
    /// `allow-cross-slot-keys`
    pub allow_cross_slot: bool,
}

impl Promises {
    /// Takes one by name; whether there is one of that name.
    pub fn set(&mut self, name: &[u8]) -> bool {
        match name {
            b"no-writes" => self.no_writes = true,
            b"allow-oom" => self.allow_oom = true,
            b"allow-stale" => self.allow_stale = true,
            b"no-cluster" => self.no_cluster = true,
            b"allow-cross-slot-keys" => self.allow_cross_slot = true,
            _ => return false,
        }
        true
    }
}

/// Reads a script's first line; gives the promises and where the code begins. The line's end belongs to the code, so that
/// its lines keep their numbers.
///
/// # Errors
/// The line is there and says something unknown.
pub fn read(body: &[u8]) -> Result<(Promises, usize), Error> {
    let mut promises = Promises::default();
    if !body.starts_with(b"#!") {
        return Ok((promises, 0));
    }
    let Some(end) = memchr::memchr(b'\n', body) else {
        return Err(Error::Fixed("ERR Invalid script shebang"));
    };
    promises.declared = true;
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let mut words = body[..end].split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let engine = words.next().unwrap_or_default();
    if engine != b"#!lua" {
        return Err(Error::err(format_args!("Unexpected engine in script shebang: {}", text(engine))));
    }
    for word in words {
        let Some(flags) = word.strip_prefix(b"flags=") else {
            return Err(Error::err(format_args!("Unknown lua shebang option: {}", text(word))));
        };
        if flags.is_empty() {
            continue;
        }
        for flag in flags.split(|byte| *byte == b',') {
            if !promises.set(flag) {
                return Err(Error::err(format_args!("Unexpected flag in script shebang: {}", text(flag))));
            }
        }
    }
    Ok((promises, end))
}

/// Whether a request runs a script or function that has promised not to write.
pub fn promises_not_to_write(hub: &Hub, entry: &Entry, args: Args<'_>) -> bool {
    let Some(what) = args.get(1) else { return false };
    let of_body = |body: &[u8]| read(body).is_ok_and(|(promises, _)| promises.no_writes);
    match entry.spec.name {
        "eval" => of_body(what),
        "evalsha" => Digest::try_from(what).is_ok_and(|digest| {
            let digest = digest.map(|byte| byte.to_ascii_lowercase());
            hub.scripts.find(&digest).is_some_and(|script| of_body(&script.body))
        }),
        "fcall" => {
            let libraries = hub.functions.current();
            let function = libraries.find(what).and_then(|(library, at)| library.functions.get(at));
            function.is_some_and(|function| function.flags.has(Flags::NO_WRITES))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn the_first_line_says_what_a_script_may_do() {
        assert_eq!(read(b"return 1").map(|(promises, at)| (promises.declared, at)), Ok((false, 0)));
        let (promises, at) = read(b"#!lua flags=no-writes,allow-oom\nreturn 1").expect("it is well formed");
        assert!(promises.no_writes && promises.allow_oom && !promises.no_cluster);
        assert_eq!(at, 31);
        assert!(read(b"#!lua flags=\nreturn 1").expect("none is fine").0.declared);
        let error = |body: &[u8]| read(body).expect_err("it is refused").to_string();
        assert_eq!(error(b"#!lua"), "ERR Invalid script shebang");
        assert_eq!(error(b"#!ruby x\n"), "ERR Unexpected engine in script shebang: #!ruby");
        assert_eq!(error(b"#!lua x=1\n"), "ERR Unknown lua shebang option: x=1");
        assert_eq!(error(b"#!lua flags=a\n"), "ERR Unexpected flag in script shebang: a");
    }
}
