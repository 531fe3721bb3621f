//! How errors of scripts are told: inside the interpreter ([`Raised`]), and to whoever ran the script ([`Failure`]).

use std::borrow::Cow;
use std::fmt;

use mlua::{Error, Lua};

/// An error on its way through the interpreter that was raised by what this server gives to scripts. Scripts never see it
/// as it is: where they catch errors it is turned into the string or table that Redis has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raised {
    /// A string.
    Text(Vec<u8>),
    /// A table with the field `err`: the line of an error reply. `counted` says that the statistics know it already.
    Reply {
        /// The line, its code first.
        line: Vec<u8>,
        /// Whether the statistics know it already.
        counted: bool,
    },
    /// The end of the script, whatever it tries.
    Stop(Cow<'static, str>),
}

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Reply { line: text, .. } => {
                formatter.write_str(&String::from_utf8_lossy(text))
            }
            Self::Stop(error) => formatter.write_str(error),
        }
    }
}

impl std::error::Error for Raised {}

impl From<Raised> for Error {
    fn from(raised: Raised) -> Self {
        Self::external(raised)
    }
}

impl Raised {
    /// An error table with the code `ERR`, as functions of the table `redis` raise it.
    pub fn err(text: &str) -> Error {
        Self::Reply { line: format!("ERR {text}").into_bytes(), counted: false }.into()
    }

    /// A string with the place of the caller before it, as functions of Lua's libraries raise it.
    pub fn here(lua: &Lua, text: &str) -> Error {
        Self::Text(format!("{}{text}", caller(lua)).into_bytes()).into()
    }

    /// A string as it is.
    pub fn text(text: impl Into<Vec<u8>>) -> Error {
        Self::Text(text.into()).into()
    }

    /// `bad argument #<position> to '<function>' (<why>)`.
    pub fn argument(lua: &Lua, position: usize, function: &str, why: &str) -> Error {
        Self::here(lua, &format!("bad argument #{position} to '{function}' ({why})"))
    }

    /// What was raised, under what the interpreter wrapped around it.
    pub fn find(error: &Error) -> Option<&Self> {
        let mut error = error;
        loop {
            match error {
                Error::CallbackError { cause, .. } => error = cause,
                Error::ExternalError(inner) => return inner.downcast_ref(),
                _ => return None,
            }
        }
    }
}

/// Where the caller of the running function is: `user_script:1: `, or nothing if it is no Lua function. The sandbox's own
/// Lua is passed over.
fn caller(lua: &Lua) -> String {
    let at = |level| {
        lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let line = debug.current_line();
            (source.source.as_deref() == Some(SANDBOX_SOURCE), source.short_src.map(Cow::into_owned), line)
        })
    };
    let place = match at(1) {
        Some((true, ..)) => at(2),
        place => place,
    };
    match place {
        Some((false, Some(source), Some(line))) => format!("{source}:{line}: "),
        _ => String::new(),
    }
}

/// The name of the sandbox's own Lua.
pub const SANDBOX_SOURCE: &str = "=sandbox";

/// Levels of the stack that are searched for the script's own code.
const LEVELS_MAX: usize = 64;

/// Source and line of the script's own code that runs now: what `script: <name>, on <source>:<line>.` says.
pub fn place(lua: &Lua) -> Option<(String, usize)> {
    (1..LEVELS_MAX).find_map(|level| {
        lua.inspect_stack(level, |debug| {
            let line = debug.current_line().filter(|line| *line > 0)?;
            let source = debug.source().source?.into_owned();
            source.starts_with('@').then_some((source, line))
        })
        .flatten()
    })
}

/// An error as the handler caught it, with the stack still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// The error's line, its code first.
    pub line: Vec<u8>,
    /// The statistics know it already.
    pub counted: bool,
    /// Where the script's own code was: source and line.
    pub place: Option<(String, usize)>,
}

impl Caught {
    /// What is told of it; `name` is the script's.
    pub fn into_failure(self, name: &str) -> Failure {
        let mut line = self.line;
        if let Some((source, at)) = self.place.filter(|_| !name.is_empty()) {
            line.extend_from_slice(format!(" script: {name}, on {source}:{at}.").as_bytes());
        }
        Failure { line, counted: self.counted, stopped: false }
    }
}

/// What the interpreter says, and what this server says in its place.
const OUT_OF_MEMORY: &[u8] = b"not enough memory";

/// What ended a script before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line that the client is answered, without `-`: its code first.
    pub line: Vec<u8>,
    /// The statistics know the error already.
    pub counted: bool,
    /// The host ended it.
    pub stopped: bool,
}

impl Failure {
    /// Whether the interpreter had no memory left. A script that raises an error of the same words is taken for one.
    pub fn is_out_of_memory(&self) -> bool {
        self.line.windows(OUT_OF_MEMORY.len()).any(|part| part == OUT_OF_MEMORY)
    }

    /// A failure that nobody has counted yet.
    pub fn new(line: impl Into<Vec<u8>>) -> Self {
        Self { line: line.into(), counted: false, stopped: false }
    }
}
