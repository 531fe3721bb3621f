//! The parts of a command's row: one [`Spec`] is the complete documentation of one command and the only place where
//! its arity, flags, keys, access categories, arguments and reply are written down. COMMAND, COMMAND DOCS, routing,
//! locking, the gates and the README only read it.
//!
//! A row is `const` data built by chained `const fn`s and closed by [`Draft::finish`], which refuses, when the crate
//! is compiled, a row that lacks a mandatory part. Each family file exports `pub const COMMANDS: &[Spec]`:
//! ```ignore
//! pub const COMMANDS: &[Spec] = &[
//!     Spec::new("mset", mset)
//!         .arity(-3)
//!         .flags(WRITE | DENYOOM)
//!         .keys(&[KeySpec::range(1, -1, 2).flags(OW | UPDATE)])
//!         .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
//!         .group(Group::String)
//!         .since("1.0.1")
//!         .complexity("O(N), N the number of keys.")
//!         .summary("Sets several keys at once, atomically.")
//!         .args(&[Arg::block("data", &[Arg::key("key", 0), Arg::string("value")]).multiple()])
//!         .reply(Shape::Ok)
//!         .finish(),
//!     Spec::container("client", &[
//!         Spec::new("id", client_id)
//!             .arity(2)
//!             /* … as above: flags, group, since, complexity, summary, reply … */
//!             .finish(),
//!     ])
//!     .group(Group::Connection)
//!     .since("2.4.0")
//!     .complexity("Depends on the subcommand.")
//!     .summary("Commands about client connections.")
//!     .finish(),
//! ];
//! ```
//! Texts (`summary`, `complexity`, history notes) are full sentences in our own words, ending in a full stop.
//! Names and numbers (arity, flags, key specs, tips, `since`) are Redis's, checked by `tests/table.rs`.
//!
//! Rows import `spec::{Group, Spec}`, `spec::arg::Arg`, `spec::flags::{…}`, `spec::key_spec::{KeySpec, …}` and,
//! rarely, `spec::category`. A container's HELP is `docs::help_row(…)`.
//!
//! This module must never look at a request: what a row means for given arguments is `keys` and `table`.

pub mod arg;
pub mod category;
pub mod flags;
pub mod key_spec;

use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::category::Categories;
use crate::command::spec::flags::{ADMIN, BLOCKING, FAST, Flags, MOVABLEKEYS, PUBSUB, READONLY, WRITE};
use crate::command::spec::key_spec::{
    BeginSearch, FindKeys, INCOMPLETE, KeyFlags, KeySpec, NOT_KEY, VARIABLE_FLAGS,
};
use crate::resp::args::Args;
use crate::resp::error::Error;
use crate::resp::shape::Shape;

/// What runs a command. On `Ok` exactly one reply has been written to `cx.reply`; on `Err` nothing has been changed
/// or written, and the caller writes the error. `args[0]` is the command's name as sent, also for subcommands
/// (`args[1]` is then the subcommand's).
pub type Handler = fn(&mut Cx<'_>, Args<'_>) -> Result<(), Error>;

/// Finds the keys where key specs alone cannot (their flags depend on options, or their place is unknown): calls the
/// visitor with each key's position in `args` and its key flags, in the order of the arguments. Returns `false` where
/// the arguments are malformed; what was visited before then does not count.
pub type KeyFinder = fn(Args<'_>, &mut dyn FnMut(usize, KeyFlags)) -> bool;

/// The part of the documentation that a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Bitmaps.
    Bitmap,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Streams.
    Stream,
    /// Geospatial indexes.
    Geo,
    /// HyperLogLogs.
    HyperLogLog,
    /// Publish and subscribe.
    PubSub,
    /// Transactions.
    Transactions,
    /// Scripts and functions.
    Scripting,
    /// Connections.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::Geo => "geo",
            Self::HyperLogLog => "hyperloglog",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }

    /// The heading in lists for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Generic => "Keys",
            Self::String => "Strings",
            Self::Bitmap => "Bitmaps",
            Self::List => "Lists",
            Self::Hash => "Hashes",
            Self::Set => "Sets",
            Self::SortedSet => "Sorted sets",
            Self::Stream => "Streams",
            Self::Geo => "Geospatial indexes",
            Self::HyperLogLog => "HyperLogLogs",
            Self::PubSub => "Publish and subscribe",
            Self::Transactions => "Transactions",
            Self::Scripting => "Scripts",
            Self::Connection => "Connections",
            Self::Server => "Server",
            Self::Cluster => "Cluster",
        }
    }

    /// The category that a command of this group is in without saying so.
    const fn category(self) -> Categories {
        match self {
            Self::Generic => category::KEYSPACE,
            Self::String => category::STRING,
            Self::Bitmap => category::BITMAP,
            Self::List => category::LIST,
            Self::Hash => category::HASH,
            Self::Set => category::SET,
            Self::SortedSet => category::SORTEDSET,
            Self::Stream => category::STREAM,
            Self::Geo => category::GEO,
            Self::HyperLogLog => category::HYPERLOGLOG,
            Self::PubSub => category::PUBSUB,
            Self::Transactions => category::TRANSACTION,
            Self::Scripting => category::SCRIPTING,
            Self::Connection => category::CONNECTION,
            Self::Server | Self::Cluster => 0,
        }
    }
}

/// First, last and step of a command's keys as COMMAND prints them; all 0 where they cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyKeys {
    /// Position of the first key.
    pub first: i32,
    /// Position of the last key; negative counts from the end of the request.
    pub last: i32,
    /// Distance between keys.
    pub step: i32,
}

/// A finished row. Made by [`Spec::new`] or [`Spec::container`] and [`Draft::finish`].
#[derive(Clone, Copy)]
pub struct Spec {
    /// Lower-case name; for a subcommand, its own part only (`kill`, not `client|kill`).
    pub name: &'static str,
    /// What runs it; `None` for a container, which is only a prefix of its subcommands.
    pub handler: Option<Handler>,
    /// Number of arguments with the name (and for a subcommand the container's name); negative: at least.
    pub arity: i32,
    /// Command flags, with the derived `MOVABLEKEYS`.
    pub flags: Flags,
    /// Where its keys stand.
    pub key_specs: &'static [KeySpec],
    /// Finds keys that specs cannot.
    pub key_finder: Option<KeyFinder>,
    /// Position of its key where every valid request has exactly one key, always there; otherwise 0.
    pub single_key: usize,
    /// Whether all arguments are keys, and nothing else is.
    pub all_keys: bool,
    /// First, last and step as old clients want them; derived.
    pub legacy_keys: LegacyKeys,
    /// Access-control categories, with the derived ones.
    pub categories: Categories,
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// Its group.
    pub group: Group,
    /// The Redis version that brought it (our own commands: our version).
    pub since: &'static str,
    /// Its cost.
    pub complexity: &'static str,
    /// One sentence on what it does.
    pub summary: &'static str,
    /// Changes since: version, what changed.
    pub history: &'static [(&'static str, &'static str)],
    /// The version from which its use is discouraged; empty if none.
    pub deprecated_since: &'static str,
    /// What to use instead, in Markdown; empty if none.
    pub replaced_by: &'static str,
    /// A command for the system itself, not for users.
    pub system: bool,
    /// Argument tree, without the command's own words.
    pub args: &'static [Arg],
    /// Shape of its reply; `None` for a container only.
    pub reply: Option<Shape>,
    /// Subcommands.
    pub subcommands: &'static [Spec],
}

impl Spec {
    /// Starts the row of a command that `handler` runs.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a row reads from its name on, and only finish() makes it a Spec"
    )]
    pub const fn new(name: &'static str, handler: Handler) -> Draft {
        Draft::start(name, Some(handler), &[])
    }

    /// Starts the row of a command that does nothing without a subcommand. Its arity is -2 and it takes part in no
    /// category but those named or following from flags.
    pub const fn container(name: &'static str, subcommands: &'static [Spec]) -> Draft {
        let mut draft = Draft::start(name, None, subcommands);
        draft.row.arity = -2;
        draft
    }

    /// Whether all these command flags are set.
    pub const fn has(&self, flags: Flags) -> bool {
        self.flags & flags == flags
    }

    /// Whether `count` arguments, the name included, satisfy the arity.
    pub const fn accepts(&self, count: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { count == wanted } else { count >= wanted }
    }

    /// Position of a request's only key where that is known at sight, otherwise 0.
    #[inline]
    pub fn only_key(&self, args: Args<'_>) -> usize {
        if self.all_keys && args.len() == 2 && self.key_finder.is_none() { 1 } else { self.single_key }
    }

    /// Whether the slots of a request's arguments may say where it is served: those of keys, or of shard channels.
    pub const fn routes(&self) -> bool {
        !self.key_specs.is_empty() || self.key_finder.is_some()
    }

    /// Whether a request may name keys (arguments that only route, [`NOT_KEY`], are none).
    pub const fn has_keys(&self) -> bool {
        let mut at = 0;
        while at < self.key_specs.len() {
            if !self.key_specs[at].has(NOT_KEY) {
                return true;
            }
            at += 1;
        }
        self.key_finder.is_some()
    }
}

/// A row being written; only [`finish`](Self::finish) makes it a [`Spec`].
#[derive(Clone, Copy)]
pub struct Draft {
    row: Spec,
    group: Option<Group>,
    exact_categories: bool,
}

impl Draft {
    const fn start(name: &'static str, handler: Option<Handler>, subcommands: &'static [Spec]) -> Self {
        Self {
            row: Spec {
                name,
                handler,
                arity: 0,
                flags: 0,
                key_specs: &[],
                key_finder: None,
                single_key: 0,
                all_keys: false,
                legacy_keys: NO_LEGACY_KEYS,
                categories: 0,
                tips: &[],
                group: Group::Generic,
                since: "",
                complexity: "",
                summary: "",
                history: &[],
                deprecated_since: "",
                replaced_by: "",
                system: false,
                args: &[],
                reply: None,
                subcommands,
            },
            group: None,
            exact_categories: false,
        }
    }

    /// Number of arguments, the name included (for a subcommand both names); negative: at least.
    pub const fn arity(mut self, arity: i32) -> Self {
        self.row.arity = arity;
        self
    }

    /// Command flags.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.row.flags = flags;
        self
    }

    /// Key specs.
    pub const fn keys(mut self, key_specs: &'static [KeySpec]) -> Self {
        self.row.key_specs = key_specs;
        self
    }

    /// A finder, for keys whose place or flags specs cannot tell: it is then asked for all the row's keys, except
    /// that a lone plain key spec still decides [`Spec::single_key`].
    pub const fn key_finder(mut self, finder: KeyFinder) -> Self {
        self.row.key_finder = Some(finder);
        self
    }

    /// Categories beside those that follow from flags and group.
    pub const fn categories(mut self, categories: Categories) -> Self {
        self.row.categories = categories;
        self
    }

    /// Categories in place of the group's; those of the flags are added all the same.
    pub const fn categories_exactly(mut self, categories: Categories) -> Self {
        self.row.categories = categories;
        self.exact_categories = true;
        self
    }

    /// Hints for clients, such as `request_policy:all_shards` or `nondeterministic_output`.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.row.tips = tips;
        self
    }

    /// Group. Mandatory.
    pub const fn group(mut self, group: Group) -> Self {
        self.group = Some(group);
        self
    }

    /// Version that brought it. Mandatory.
    pub const fn since(mut self, since: &'static str) -> Self {
        self.row.since = since;
        self
    }

    /// Cost, a sentence. Mandatory.
    pub const fn complexity(mut self, complexity: &'static str) -> Self {
        self.row.complexity = complexity;
        self
    }

    /// What it does, one sentence. Mandatory.
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.row.summary = summary;
        self
    }

    /// Changes: version, sentence.
    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Self {
        self.row.history = history;
        self
    }

    /// Its use is discouraged since `version`; `replaced_by` says in Markdown what to use instead.
    pub const fn deprecated(mut self, version: &'static str, replaced_by: &'static str) -> Self {
        self.row.deprecated_since = version;
        self.row.replaced_by = replaced_by;
        self
    }

    /// It is for the system itself (between nodes, for tools), not for users.
    pub const fn system(mut self) -> Self {
        self.row.system = true;
        self
    }

    /// Argument tree.
    pub const fn args(mut self, args: &'static [Arg]) -> Self {
        self.row.args = args;
        self
    }

    /// Shape of the reply. Mandatory but for containers.
    pub const fn reply(mut self, shape: Shape) -> Self {
        self.row.reply = Some(shape);
        self
    }

    /// Subcommands of a command that also works alone (COMMAND); others are made by [`Spec::container`].
    pub const fn subcommands(mut self, subcommands: &'static [Spec]) -> Self {
        self.row.subcommands = subcommands;
        self
    }

    /// Closes the row: derives movable keys, first/last/step and categories.
    ///
    /// # Panics
    /// When the crate is compiled, on a row that lacks a mandatory part or contradicts itself.
    pub const fn finish(self) -> Spec {
        let mut row = self.row;
        assert!(!row.name.is_empty(), "a row needs a name");
        assert!(row.arity != 0, "a row needs .arity(…)");
        assert!(!row.since.is_empty(), "a row needs .since(…)");
        assert!(!row.complexity.is_empty(), "a row needs .complexity(…)");
        assert!(!row.summary.is_empty(), "a row needs .summary(…)");
        assert!(row.reply.is_some() == row.handler.is_some(), "a row needs .reply(…), a container none");
        assert!(row.handler.is_some() || !row.subcommands.is_empty(), "a container needs subcommands");
        assert!(row.flags & (WRITE | READONLY) != WRITE | READONLY, "a command either writes or only reads");
        assert!(row.flags & MOVABLEKEYS == 0, "MOVABLEKEYS is derived");
        match self.group {
            Some(group) => row.group = group,
            None => panic!("a row needs .group(…)"),
        }
        let (legacy, movable) = derive_legacy_keys(row.key_specs);
        row.legacy_keys = legacy;
        assert!(
            row.key_finder.is_some() || !needs_finder(row.key_specs),
            "an unknown, incomplete or variable key spec needs .key_finder(…)"
        );
        if movable {
            row.flags |= MOVABLEKEYS;
        }
        row.single_key = derive_single_key(row.key_specs);
        row.all_keys = derive_all_keys(row.key_specs);
        row.categories |= derive_categories(&row, self.exact_categories);
        row
    }
}

const NO_LEGACY_KEYS: LegacyKeys = LegacyKeys { first: 0, last: 0, step: 0 };

/// Whether some keys, or what is done with them, are beyond the specs' description.
const fn needs_finder(specs: &[KeySpec]) -> bool {
    let mut at = 0;
    while at < specs.len() {
        if matches!(specs[at].begin_search, BeginSearch::Unknown)
            || matches!(specs[at].find_keys, FindKeys::Unknown)
            || specs[at].has(INCOMPLETE)
            || specs[at].has(VARIABLE_FLAGS)
        {
            return true;
        }
        at += 1;
    }
    false
}

/// First, last and step, and whether they leave keys out, by Redis's rules: a lone plain range is taken as it is;
/// of several specs, adjoining ranges of step 1 are joined, and anything else makes the keys movable.
const fn derive_legacy_keys(specs: &[KeySpec]) -> (LegacyKeys, bool) {
    if specs.len() == 1
        && let BeginSearch::Index(first) = specs[0].begin_search
        && let FindKeys::Range { last_key, step, .. } = specs[0].find_keys
    {
        let last = absolute(first, last_key);
        return (LegacyKeys { first, last, step }, specs[0].has(INCOMPLETE));
    }
    let mut movable = false;
    let mut joined = NO_LEGACY_KEYS;
    let mut at = 0;
    while at < specs.len() {
        let spec = &specs[at];
        at += 1;
        let BeginSearch::Index(first) = spec.begin_search else {
            movable = true;
            continue;
        };
        let FindKeys::Range { last_key, step: 1, .. } = spec.find_keys else {
            movable = true;
            continue;
        };
        if joined.step != 0 && joined.last != first - 1 {
            movable = true;
            continue;
        }
        movable |= spec.has(INCOMPLETE);
        if joined.step == 0 {
            joined.first = first;
        }
        joined.last = absolute(first, last_key);
        joined.step = 1;
    }
    (joined, movable)
}

/// A last-key offset as a position: relative to `first` if not negative, else from the end as it is.
const fn absolute(first: i32, last_key: i32) -> i32 {
    if last_key >= 0 { first + last_key } else { last_key }
}

const fn derive_single_key(specs: &[KeySpec]) -> usize {
    if specs.len() == 1
        && !specs[0].has(NOT_KEY)
        && !specs[0].has(INCOMPLETE)
        && let BeginSearch::Index(first) = specs[0].begin_search
        && let FindKeys::Range { last_key: 0, .. } = specs[0].find_keys
        && first > 0
    {
        return first as usize;
    }
    0
}

const fn derive_all_keys(specs: &[KeySpec]) -> bool {
    specs.len() == 1
        && !specs[0].has(NOT_KEY)
        && !specs[0].has(INCOMPLETE)
        && matches!(specs[0].begin_search, BeginSearch::Index(1))
        && matches!(specs[0].find_keys, FindKeys::Range { last_key: -1, step: 1, limit: 0 | 1 })
}

const fn derive_categories(row: &Spec, exact: bool) -> Categories {
    let mut found = row.categories;
    if !exact && row.handler.is_some() {
        found |= row.group.category();
    }
    if row.has(WRITE) {
        found |= category::WRITE;
    }
    if row.has(READONLY) && found & category::SCRIPTING == 0 {
        found |= category::READ;
    }
    if row.has(ADMIN) {
        found |= category::ADMIN | category::DANGEROUS;
    }
    if row.has(PUBSUB) {
        found |= category::PUBSUB;
    }
    if row.has(FAST) {
        found |= category::FAST;
    }
    if row.has(BLOCKING) {
        found |= category::BLOCKING;
    }
    if found & category::FAST == 0 {
        found |= category::SLOW;
    }
    found
}
