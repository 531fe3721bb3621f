//! What a script asks of the server around it.

use std::borrow::Cow;

use crate::resp::args::Args;
use crate::resp::reply::Proto;

/// How important a line is that a script logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `redis.LOG_DEBUG`
    Debug,
    /// `redis.LOG_VERBOSE`
    Verbose,
    /// `redis.LOG_NOTICE`
    Notice,
    /// `redis.LOG_WARNING`
    Warning,
}

/// The script must end now: nothing that it does is of use any more, and it cannot go on by catching the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The error that ends it, its code first.
    pub error: Cow<'static, str>,
}

/// The server, as a running script sees it.
pub trait Host {
    /// Runs a command and appends its reply, encoded. A command that is refused has a reply, too.
    ///
    /// # Errors
    /// The script must end; the reply does not matter.
    fn call(&mut self, args: Args<'_>, reply: &mut Vec<u8>) -> Result<(), Stop>;

    /// Called every [`HOOK_INSTRUCTIONS`](crate::script::engine::HOOK_INSTRUCTIONS) instructions, and from within what
    /// may take long by itself.
    ///
    /// # Errors
    /// The script must end.
    fn tick(&mut self) -> Result<(), Stop>;

    /// Takes a line that the script logs.
    fn log(&mut self, level: LogLevel, message: &[u8]);

    /// Replies of commands are to be encoded so from here on; a script begins with RESP2.
    fn set_resp(&mut self, proto: Proto);

    /// Whether the script's user may run a command; nothing if there is no such command.
    fn may_call(&mut self, args: Args<'_>) -> Option<bool>;

    /// A number that nobody can guess, to seed the script's random numbers with.
    fn entropy(&mut self) -> u32;
}
