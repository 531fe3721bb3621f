//! Every error that a client may see, with its exact text; Redis 7.4's wherever Redis has the error.
//!
//! The text is the line without the leading `-` and the line end; its first word is the code that INFO errorstats
//! counts. Texts never hold CR or LF on the wire: the reply writer blanks them. A handler that returns an error has
//! changed nothing and written nothing.

use crate::resp::args::Args;
use std::borrow::Cow;
use std::fmt;

/// Bytes of a request that an error quotes at most, as in Redis.
const QUOTED_MAX_BYTES: usize = 128;

/// Declares the errors whose text is fixed.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// An error that a client sees; `Display` gives its line.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Error {
            $(#[doc = concat!("`", $text, "`")] $name,)*
            /// `ERR wrong number of arguments for '<command>' command`; a subcommand reads `client|kill`.
            WrongArity(Cow<'static, str>),
            /// `ERR invalid expire time in '<command>' command`
            InvalidExpireTime(Cow<'static, str>),
            /// `ERR unknown command …`: made by [`Error::unknown_command`].
            UnknownCommand(String),
            /// `ERR unknown subcommand …`: made by [`Error::unknown_subcommand`] and [`Error::bad_subcommand`].
            UnknownSubcommand(String),
            /// `NOPERM …`: made by [`Error::no_permission_for_command`].
            NoPermission(String),
            /// `MOVED <slot> <host>:<port>`, `ASK …`: the whole line.
            Redirect(String),
            /// The request was not one; the connection is closed behind it.
            Protocol(ProtocolError),
            /// A fixed line that only one command gives, code included.
            Fixed(&'static str),
            /// A built line, code included.
            Custom(String),
        }

        impl Error {
            /// The line, where it is fixed.
            const fn fixed_text(&self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    Self::Fixed(text) => Some(text),
                    _ => None,
                }
            }
        }
    };
}

errors! {
    Syntax => "ERR syntax error",
    WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
    NotAnInteger => "ERR value is not an integer or out of range",
    NotAFloat => "ERR value is not a valid float",
    OutOfRange => "ERR value is out of range",
    MustBePositive => "ERR value is out of range, must be positive",
    NoSuchKey => "ERR no such key",
    IndexOutOfRange => "ERR index out of range",
    OffsetOutOfRange => "ERR offset is out of range",
    BitOffset => "ERR bit offset is not an integer or out of range",
    StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
    IncrementOverflow => "ERR increment or decrement would overflow",
    DecrementOverflow => "ERR decrement would overflow",
    IncrementNotFinite => "ERR increment would produce NaN or Infinity",
    TimeoutNotAFloat => "ERR timeout is not a float or out of range",
    TimeoutNotAnInteger => "ERR timeout is not an integer or out of range",
    TimeoutOutOfRange => "ERR timeout is out of range",
    Unblocked => "UNBLOCKED client unblocked via CLIENT UNBLOCK",
    TimeoutNegative => "ERR timeout is negative",
    InvalidCursor => "ERR invalid cursor",
    SameObject => "ERR source and destination objects are the same",
    KeyspaceOptions => "ERR NX and XX, GT or LT options at the same time are not compatible",
    GreaterAndLess => "ERR GT and LT options at the same time are not compatible",
    LcsOptions => "ERR If you want both the length and indexes, please just use IDX.",
    LcsTypes => "ERR The specified keys must contain string values",
    NotLfu => "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
        switching between policies at runtime LRU and LFU data will take some time to adjust.",
    IsLfu => "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
        between policies at runtime LRU and LFU data will take some time to adjust.",

    OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
    ReadOnly => "READONLY You can't write against a read only replica.",
    Loading => "LOADING Redis is loading the dataset in memory",
    BusyScript => "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    BusyFunction => "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
    TooManyScripts => "ERR too many long scripts are waiting to be run: try again later",
    NotBusy => "NOTBUSY No scripts in execution right now.",
    Unkillable => "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either \
        wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
    BusyKey => "BUSYKEY Target key name already exists.",
    NoScript => "NOSCRIPT No matching script. Please use EVAL.",
    MaxClients => "ERR max number of clients reached",

    NoAuth => "NOAUTH Authentication required.",
    NoAuthHello => "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
        AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
        the same time",
    WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
    AuthNotConfigured => "ERR AUTH <password> called without any password configured for the default user. Are you \
        sure your configuration is correct?",
    NoPermissionKey => "NOPERM No permissions to access a key",
    NoPermissionChannel => "NOPERM No permissions to access a channel",
    NoProto => "NOPROTO unsupported protocol version",
    ProtoNotAnInteger => "ERR Protocol version is not an integer or out of range",

    ExecAbort => "EXECABORT Transaction discarded because of previous errors.",
    NestedMulti => "ERR MULTI calls can not be nested",
    ExecWithoutMulti => "ERR EXEC without MULTI",
    DiscardWithoutMulti => "ERR DISCARD without MULTI",
    WatchInsideMulti => "ERR WATCH inside MULTI is not allowed",
    NotInTransaction => "ERR Command not allowed inside a transaction",
    NotFromScript => "ERR This Redis command is not allowed from script",

    DbOutOfRange => "ERR DB index is out of range",
    InvalidDbIndex => "ERR invalid DB index",
    InvalidFirstDb => "ERR invalid first DB index",
    InvalidSecondDb => "ERR invalid second DB index",
    SelectInCluster => "ERR SELECT is not allowed in cluster mode",
    SwapdbInCluster => "ERR SWAPDB is not allowed in cluster mode",
    CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot",
    TryAgain => "TRYAGAIN Multiple keys request during rehashing of slot",
    ClusterDown => "CLUSTERDOWN The cluster is down",
    SlotNotServed => "CLUSTERDOWN Hash slot not served",
    ClusterDisabled => "ERR This instance has cluster support disabled",

    NoSuchClient => "ERR No such client",
    NoSuchUser => "ERR No such user",
    ClientName => "ERR Client names cannot contain spaces, newlines or special characters.",
    InvalidCommand => "ERR Invalid command specified",
    NoKeyArguments => "ERR The command has no key arguments",
    InvalidCommandArity => "ERR Invalid number of arguments specified for command",
    InvalidCommandArguments => "ERR Invalid arguments specified for command",
    NumkeysNotPositive => "ERR numkeys should be greater than 0",
    NoConfigFile => "ERR The server is running without a config file",
    DebugRefused => "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can \
        run it from a local connection, otherwise you need to set this option in the configuration file, and then \
        restart the server.",
}

impl Error {
    /// The command (or `container|subcommand`) got too few or too many arguments.
    pub fn wrong_arity(command: impl Into<Cow<'static, str>>) -> Self {
        Self::WrongArity(command.into())
    }

    /// The command got a TTL that is zero, negative or beyond the representable time.
    pub fn invalid_expire_time(command: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidExpireTime(command.into())
    }

    /// There is no command `args[0]`; its name and first arguments are quoted, 128 bytes of each at most.
    pub fn unknown_command(args: Args<'_>) -> Self {
        let mut quoted = String::new();
        for argument in args.from(1).iter() {
            if quoted.len() >= QUOTED_MAX_BYTES {
                break;
            }
            let text = quote(argument, QUOTED_MAX_BYTES - quoted.len());
            quoted.push('\'');
            quoted.push_str(&text);
            quoted.push_str("' ");
        }
        let name = quote(args.get(0).unwrap_or_default(), QUOTED_MAX_BYTES);
        Self::UnknownCommand(format!("ERR unknown command '{name}', with args beginning with: {quoted}"))
    }

    /// The container `command` (any case) has no subcommand of that name.
    pub fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Self {
        Self::UnknownSubcommand(format!(
            "ERR unknown subcommand '{}'. Try {} HELP.",
            quote(subcommand, QUOTED_MAX_BYTES),
            command.to_ascii_uppercase()
        ))
    }

    /// The subcommand exists in other forms, but not with these arguments.
    pub fn bad_subcommand(command: &str, subcommand: &[u8]) -> Self {
        Self::UnknownSubcommand(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
            quote(subcommand, QUOTED_MAX_BYTES),
            command.to_ascii_uppercase()
        ))
    }

    /// The access rules of `user` do not include `command`.
    pub fn no_permission_for_command(user: &str, command: &str) -> Self {
        Self::NoPermission(format!("NOPERM User {user} has no permissions to run the '{command}' command"))
    }

    /// The slot is served elsewhere, for good.
    pub fn moved(slot: u16, host: &str, port: u16) -> Self {
        Self::Redirect(format!("MOVED {slot} {host}:{port}"))
    }

    /// A line built by the caller: `ERR ` is put before `text`.
    pub fn err(text: impl fmt::Display) -> Self {
        Self::Custom(format!("ERR {text}"))
    }

    /// The first word of the line (`ERR`, `WRONGTYPE`, …): what errorstats counts.
    pub fn code(&self) -> &str {
        let line = match self {
            Self::WrongArity(_) | Self::InvalidExpireTime(_) | Self::Protocol(_) => "ERR",
            Self::UnknownCommand(line)
            | Self::UnknownSubcommand(line)
            | Self::NoPermission(line)
            | Self::Redirect(line)
            | Self::Custom(line) => line,
            fixed => fixed.fixed_text().unwrap_or("ERR"),
        };
        line.split_once(' ').map_or(line, |(code, _)| code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongArity(command) => {
                write!(formatter, "ERR wrong number of arguments for '{command}' command")
            }
            Self::InvalidExpireTime(command) => {
                write!(formatter, "ERR invalid expire time in '{command}' command")
            }
            Self::Protocol(error) => write!(formatter, "ERR {error}"),
            Self::UnknownCommand(line)
            | Self::UnknownSubcommand(line)
            | Self::NoPermission(line)
            | Self::Redirect(line)
            | Self::Custom(line) => formatter.write_str(line),
            fixed => formatter.write_str(fixed.fixed_text().unwrap_or("ERR")),
        }
    }
}

impl std::error::Error for Error {}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// Bytes of a request as an error shows them: up to `max` bytes, ended early by a NUL as C would end them.
fn quote(bytes: &[u8], max: usize) -> Cow<'_, str> {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len()).min(max);
    String::from_utf8_lossy(&bytes[..end])
}

/// Why bytes are not a request. Nothing was executed; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The count line holds no number, or one beyond the limit.
    InvalidCount,
    /// A length line holds no number, a negative one, or one beyond the limit.
    InvalidLength,
    /// A bulk does not begin with `$` but with this byte.
    ExpectedBulk(u8),
    /// The count line does not end.
    TooBigCount,
    /// A length line does not end.
    TooBigLength,
    /// An inline request does not end.
    TooBigInline,
    /// The request as a whole is longer than positions can say.
    TooBigRequest,
    /// More arguments than are allowed before authentication.
    UnauthenticatedCount,
    /// A longer argument than is allowed before authentication.
    UnauthenticatedLength,
    /// A quote in an inline request is not closed.
    UnbalancedQuotes,
    /// A NUL byte in an inline request.
    NulInInline,
    /// A count or length line whose CR no LF follows.
    LineWithoutLf,
    /// A bulk that is not followed by CR LF.
    BulkWithoutCrlf,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::InvalidCount => "invalid multibulk length",
            Self::InvalidLength => "invalid bulk length",
            Self::ExpectedBulk(byte) => {
                let found = char::from(*byte);
                return write!(formatter, "Protocol error: expected '$', got '{found}'");
            }
            Self::TooBigCount => "too big mbulk count string",
            Self::TooBigLength => "too big bulk count string",
            Self::TooBigInline => "too big inline request",
            Self::TooBigRequest => "too big request",
            Self::UnauthenticatedCount => "unauthenticated multibulk length",
            Self::UnauthenticatedLength => "unauthenticated bulk length",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::NulInInline => "NUL byte in inline request",
            Self::LineWithoutLf => "expected LF after CR",
            Self::BulkWithoutCrlf => "expected CRLF after bulk",
        };
        write!(formatter, "Protocol error: {reason}")
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::{Error, ProtocolError};
    use crate::resp::args::OwnedArgs;

    #[test]
    fn built_lines_read_as_in_redis() {
        let cases = [
            (Error::wrong_arity("get"), "ERR wrong number of arguments for 'get' command"),
            (Error::invalid_expire_time("set"), "ERR invalid expire time in 'set' command"),
            (Error::unknown_subcommand("client", b"foo"), "ERR unknown subcommand 'foo'. Try CLIENT HELP."),
            (
                Error::no_permission_for_command("bob", "client|kill"),
                "NOPERM User bob has no permissions to run the 'client|kill' command",
            ),
            (Error::moved(3999, "10.0.0.1", 6379), "MOVED 3999 10.0.0.1:6379"),
            (Error::from(ProtocolError::ExpectedBulk(b'x')), "ERR Protocol error: expected '$', got 'x'"),
            (Error::OutOfMemory, "OOM command not allowed when used memory > 'maxmemory'."),
            (Error::err("so it is"), "ERR so it is"),
        ];
        for (error, line) in cases {
            assert_eq!(error.to_string(), line);
        }
    }

    #[test]
    fn an_unknown_command_quotes_at_most_128_bytes_of_arguments() {
        let line = |arguments: &[&[u8]]| {
            Error::unknown_command(OwnedArgs::from_slices(arguments).as_args()).to_string()
        };
        assert_eq!(line(&[b"foo"]), "ERR unknown command 'foo', with args beginning with: ");
        assert_eq!(
            line(&[b"foo", b"a", b"b\0c"]),
            "ERR unknown command 'foo', with args beginning with: 'a' 'b' "
        );
        let long = [b'x'; 200];
        let name = "x".repeat(128);
        assert_eq!(
            line(&[&long, &long, b"more"]),
            format!("ERR unknown command '{name}', with args beginning with: '{name}' ")
        );
        let half = "x".repeat(100);
        assert_eq!(
            line(&[b"f", &long[..100], &long[..100], b"more"]),
            format!("ERR unknown command 'f', with args beginning with: '{half}' '{}' ", "x".repeat(25))
        );
    }

    #[test]
    fn codes_are_first_words() {
        assert_eq!(Error::Syntax.code(), "ERR");
        assert_eq!(Error::WrongType.code(), "WRONGTYPE");
        assert_eq!(Error::NoAuthHello.code(), "NOAUTH");
        assert_eq!(Error::wrong_arity("get").code(), "ERR");
        assert_eq!(Error::Fixed("BUSY now").code(), "BUSY");
        assert_eq!(Error::Custom("ODD".to_owned()).code(), "ODD");
        assert_eq!(Error::from(ProtocolError::InvalidCount).code(), "ERR");
    }
}
