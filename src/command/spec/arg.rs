//! The argument tree of a row: what COMMAND DOCS prints and syntax lines are made from. It documents; it does not
//! parse.

/// The type of an argument, as COMMAND DOCS names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgType {
    /// Any bytes.
    String,
    /// A 64-bit integer.
    Integer,
    /// A floating-point number.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A point in time since 1970.
    UnixTime,
    /// Only its token.
    PureToken,
    /// Exactly one of its parts.
    OneOf,
    /// All its parts in order.
    Block,
}

impl ArgType {
    /// The name that COMMAND DOCS prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// One argument in a row's tree.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// Its name, lower case.
    pub name: &'static str,
    /// Its type.
    pub kind: ArgType,
    /// What a syntax line shows, where not the name; empty otherwise.
    pub display: &'static str,
    /// Which of the row's key specs finds it, for keys.
    pub key_spec_index: Option<usize>,
    /// The word that stands before it (or is it, for a pure token), upper case; empty if none.
    pub token: &'static str,
    /// A remark; empty if none.
    pub summary: &'static str,
    /// The version that brought it, where later than the command; empty otherwise.
    pub since: &'static str,
    /// The version from which its use is discouraged; empty if none.
    pub deprecated_since: &'static str,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// Its token is repeated with it.
    pub multiple_token: bool,
    /// The parts of a `OneOf` or a `Block`.
    pub args: &'static [Arg],
}

impl Arg {
    const fn new(name: &'static str, kind: ArgType) -> Self {
        Self {
            name,
            kind,
            display: "",
            key_spec_index: None,
            token: "",
            summary: "",
            since: "",
            deprecated_since: "",
            optional: false,
            multiple: false,
            multiple_token: false,
            args: &[],
        }
    }

    /// Any bytes.
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, ArgType::String)
    }

    /// An integer.
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgType::Integer)
    }

    /// A floating-point number.
    pub const fn double(name: &'static str) -> Self {
        Self::new(name, ArgType::Double)
    }

    /// A key that the row's key spec number `key_spec_index` finds.
    pub const fn key(name: &'static str, key_spec_index: usize) -> Self {
        let mut arg = Self::new(name, ArgType::Key);
        arg.key_spec_index = Some(key_spec_index);
        arg
    }

    /// A glob pattern.
    pub const fn pattern(name: &'static str) -> Self {
        Self::new(name, ArgType::Pattern)
    }

    /// A point in time.
    pub const fn unix_time(name: &'static str) -> Self {
        Self::new(name, ArgType::UnixTime)
    }

    /// A word that stands for itself: `Arg::flag("nx", "NX")`.
    pub const fn flag(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgType::PureToken).token(token)
    }

    /// Exactly one of `args`.
    pub const fn one_of(name: &'static str, args: &'static [Arg]) -> Self {
        let mut arg = Self::new(name, ArgType::OneOf);
        arg.args = args;
        arg
    }

    /// All of `args`, in order.
    pub const fn block(name: &'static str, args: &'static [Arg]) -> Self {
        let mut arg = Self::new(name, ArgType::Block);
        arg.args = args;
        arg
    }

    /// Puts `token` before the argument.
    pub const fn token(mut self, token: &'static str) -> Self {
        self.token = token;
        self
    }

    /// Shows `display` instead of the name in syntax lines.
    pub const fn display(mut self, display: &'static str) -> Self {
        self.display = display;
        self
    }

    /// Adds a remark.
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Names the version that brought it.
    pub const fn since(mut self, since: &'static str) -> Self {
        self.since = since;
        self
    }

    /// Names the version from which its use is discouraged.
    pub const fn deprecated_since(mut self, version: &'static str) -> Self {
        self.deprecated_since = version;
        self
    }

    /// It may be left out.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// It may be repeated.
    pub const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    /// It may be repeated, and its token with it.
    pub const fn multiple_token(mut self) -> Self {
        self.multiple = true;
        self.multiple_token = true;
        self
    }

    /// What a syntax line shows for it.
    pub const fn display_text(&self) -> &'static str {
        if self.display.is_empty() { self.name } else { self.display }
    }

    /// How it is written in a request: `[EX seconds]`, `key [key ...]`, `<ON | OFF>`.
    pub fn syntax(&self) -> String {
        let parts = |separator: &str| {
            let parts: Vec<String> = self.args.iter().map(Self::syntax).collect();
            parts.join(separator)
        };
        let value = match self.kind {
            ArgType::PureToken => self.token.to_owned(),
            ArgType::Block => parts(" "),
            ArgType::OneOf if self.optional && self.token.is_empty() && !self.multiple => parts(" | "),
            ArgType::OneOf => format!("<{}>", parts(" | ")),
            _ => self.display_text().to_owned(),
        };
        let with_token = if self.token.is_empty() || self.kind == ArgType::PureToken {
            value.clone()
        } else {
            format!("{} {value}", self.token)
        };
        let mut line = with_token.clone();
        if self.multiple {
            let repeated = if self.multiple_token { &with_token } else { &value };
            line = format!("{line} [{repeated} ...]");
        }
        if self.optional {
            line = format!("[{line}]");
        }
        line
    }
}
