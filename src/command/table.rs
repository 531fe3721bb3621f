//! The command table: joins the rows of all families and finds a request's row by name.
//!
//! A family is added by one line in `FAMILIES`. The index over the names is built once, on first use; a look-up
//! then neither allocates nor locks, and compares at most three machine words. Each row, subcommands included, has
//! a dense [`Entry::id`], the index into per-worker arrays of statistics.

use std::fmt::Write;
use std::sync::OnceLock;

use crate::command::context::Cx;
use crate::command::spec::{Group, Handler, Spec};
use crate::command::{
    acl, bitmap, client, cluster, config, connection, debug, docs, dump, expire, flush, function, geo, hash,
    hyperloglog, info, keyspace, latency, list, memory, monitor, object, pubsub, refused, scan, script,
    server, set, shutdown, slowlog, sort, sorted, stream, strings, txn,
};
use crate::resp::args::Args;
use crate::resp::error::Error;

/// The families' rows, in the order in which COMMAND lists them.
static FAMILIES: &[&[Spec]] = &[
    strings::read::COMMANDS,
    strings::set::COMMANDS,
    strings::number::COMMANDS,
    strings::edit::COMMANDS,
    strings::multi::COMMANDS,
    strings::lcs::COMMANDS,
    bitmap::bit::COMMANDS,
    bitmap::count::COMMANDS,
    bitmap::op::COMMANDS,
    bitmap::field::COMMANDS,
    hyperloglog::COMMANDS,
    stream::add::COMMANDS,
    stream::range::COMMANDS,
    stream::remove::COMMANDS,
    stream::read::COMMANDS,
    stream::group::COMMANDS,
    stream::pending::COMMANDS,
    stream::claim::COMMANDS,
    stream::info::COMMANDS,
    list::push::COMMANDS,
    list::read::COMMANDS,
    list::edit::COMMANDS,
    list::pop::COMMANDS,
    list::shift::COMMANDS,
    list::block::COMMANDS,
    hash::read::COMMANDS,
    hash::write::COMMANDS,
    hash::number::COMMANDS,
    hash::random::COMMANDS,
    hash::expire::COMMANDS,
    hash::ttl::COMMANDS,
    hash::timed::COMMANDS,
    set::member::COMMANDS,
    set::random::COMMANDS,
    set::algebra::COMMANDS,
    sort::COMMANDS,
    sorted::add::COMMANDS,
    sorted::remove::COMMANDS,
    sorted::read::COMMANDS,
    sorted::range::COMMANDS,
    sorted::pop::COMMANDS,
    sorted::random::COMMANDS,
    sorted::combine::COMMANDS,
    geo::add::COMMANDS,
    geo::read::COMMANDS,
    geo::search::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    info::COMMANDS,
    config::COMMANDS,
    shutdown::COMMANDS,
    keyspace::COMMANDS,
    dump::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    object::COMMANDS,
    flush::COMMANDS,
    monitor::COMMANDS,
    pubsub::subscribe::COMMANDS,
    pubsub::publish::COMMANDS,
    pubsub::inspect::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
    acl::COMMANDS,
    debug::COMMANDS,
    server::COMMANDS,
    refused::COMMANDS,
    cluster::COMMANDS,
    txn::COMMANDS,
    script::eval::COMMANDS,
    script::manage::COMMANDS,
    function::manage::COMMANDS,
    function::call::COMMANDS,
    docs::COMMANDS,
];

/// Longest command or subcommand name: what three machine words hold.
const NAME_MAX: usize = 24;

/// A row in its place in the table.
pub struct Entry {
    /// The row.
    pub spec: &'static Spec,
    /// What runs it. A container's handler only answers with an arity error; [`resolve`] never returns a container.
    pub handler: Handler,
    /// Position in the table, below [`count`]; stable while the process lives.
    pub id: usize,
    /// The name for users: `get`, `client|kill`.
    pub full_name: String,
    /// The id of the command that this is a subcommand of.
    pub parent: Option<usize>,
}

struct Table {
    entries: Vec<Entry>,
    index: Index,
    /// How many entries are commands, not subcommands.
    commands: usize,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::build(FAMILIES))
}

impl Table {
    fn build(families: &[&'static [Spec]]) -> Self {
        let mut entries = Vec::new();
        let mut commands = 0;
        for spec in families.iter().copied().flatten() {
            let parent = entries.len();
            commands += 1;
            push(&mut entries, spec, None, spec.name.to_owned());
            for sub in spec.subcommands {
                let full_name = format!("{}|{}", spec.name, sub.name);
                push(&mut entries, sub, Some(parent), full_name);
            }
        }
        let index = Index::build(&entries);
        Self { entries, index, commands }
    }
}

fn push(entries: &mut Vec<Entry>, spec: &'static Spec, parent: Option<usize>, full_name: String) {
    entries.push(Entry {
        spec,
        handler: spec.handler.unwrap_or(container),
        id: entries.len(),
        full_name,
        parent,
    });
}

/// Stands in for the handler that a container does not have.
fn container(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let name = String::from_utf8_lossy(&args[0]).to_lowercase();
    Err(Error::wrong_arity(name))
}

/// How many rows there are, subcommands included: ids are below this.
pub fn count() -> usize {
    table().entries.len()
}

/// How many commands there are, subcommands not counted: COMMAND COUNT.
pub fn command_count() -> usize {
    table().commands
}

/// All rows, each command followed by its subcommands; the position is the id.
pub fn entries() -> &'static [Entry] {
    &table().entries
}

/// The commands, without subcommands.
pub fn commands() -> impl Iterator<Item = &'static Entry> {
    entries().iter().filter(|entry| entry.parent.is_none())
}

/// The subcommands of `entry`.
pub fn subcommands(entry: &Entry) -> &'static [Entry] {
    let first = entry.id + 1;
    &entries()[first..first + entry.spec.subcommands.len()]
}

/// The command of this name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Entry> {
    find_in(TOP_LEVEL, name)
}

/// The subcommand `name`, in any case, of `parent`.
pub fn find_subcommand(parent: &Entry, name: &[u8]) -> Option<&'static Entry> {
    find_in(parent.id as u64, name)
}

/// The row of this full name: `get`, `client|kill`.
pub fn find_full(name: &[u8]) -> Option<&'static Entry> {
    let Some(bar) = memchr::memchr(b'|', name) else {
        return find(name);
    };
    find_subcommand(find(&name[..bar])?, &name[bar + 1..])
}

fn find_in(scope: u64, name: &[u8]) -> Option<&'static Entry> {
    let table = table();
    let id = table.index.find(&Key::new(scope, name)?)?;
    Some(&table.entries[id])
}

/// The row that runs this request: the subcommand's, where the command has subcommands and the request names one.
///
/// # Errors
/// Unknown command, unknown subcommand or wrong number of arguments, in Redis's words.
pub fn resolve(args: Args<'_>) -> Result<&'static Entry, Error> {
    let entry = resolve_name(args)?;
    if entry.spec.accepts(args.len()) { Ok(entry) } else { Err(Error::wrong_arity(entry.full_name.as_str())) }
}

/// The command of the last request, which is that of the next one too in most pipelines: knowing it again is a fifth of
/// the work of looking it up.
#[derive(Default)]
pub struct Recent {
    name: [u8; NAME_MAX],
    length: usize,
    entry: Option<&'static Entry>,
}

impl Recent {
    /// As [`resolve`].
    ///
    /// # Errors
    /// As [`resolve`].
    #[inline]
    pub fn resolve(&mut self, args: Args<'_>) -> Result<&'static Entry, Error> {
        match self.entry {
            Some(entry) if self.name.get(..self.length) == args.get(0) && entry.spec.accepts(args.len()) => {
                Ok(entry)
            }
            _ => self.look_up(args),
        }
    }

    fn look_up(&mut self, args: Args<'_>) -> Result<&'static Entry, Error> {
        let entry = resolve(args)?;
        let name = args.get(0).unwrap_or_default();
        // Which subcommand is meant is another argument's to say.
        if let Some(place) = self.name.get_mut(..name.len())
            && entry.parent.is_none()
            && entry.spec.subcommands.is_empty()
        {
            place.copy_from_slice(name);
            (self.length, self.entry) = (name.len(), Some(entry));
        }
        Ok(entry)
    }
}

/// As [`resolve`], without looking at the number of arguments.
///
/// # Errors
/// Unknown command or unknown subcommand.
pub fn resolve_name(args: Args<'_>) -> Result<&'static Entry, Error> {
    let Some(entry) = find(&args[0]) else {
        return Err(Error::unknown_command(args));
    };
    if entry.spec.subcommands.is_empty() || args.len() == 1 {
        return Ok(entry);
    }
    find_subcommand(entry, &args[1]).ok_or_else(|| Error::unknown_subcommand(entry.spec.name, &args[1]))
}

const TOP_LEVEL: u64 = u64::MAX;

/// A name folded to lower case and packed, with the scope that it is unique in: [`TOP_LEVEL`], or the id of the
/// command whose subcommand it is. Two keys are equal exactly if scope and name (in any case) are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    words: [u64; 3],
    /// Length of the name and scope; 0 marks a free slot of the index.
    tag: u64,
}

const FREE: Key = Key { words: [0; 3], tag: 0 };

impl Key {
    /// `None` for names that no command can have: empty or longer than [`NAME_MAX`].
    fn new(scope: u64, name: &[u8]) -> Option<Self> {
        let words = match name.len() {
            1..=3 => [
                u64::from(name[0])
                    | u64::from(name[name.len() / 2]) << 8
                    | u64::from(name[name.len() - 1]) << 16,
                0,
                0,
            ],
            4..=7 => [
                u64::from(u32::from_le_bytes(*name.first_chunk()?))
                    | u64::from(u32::from_le_bytes(*name.last_chunk()?)) << 32,
                0,
                0,
            ],
            8..=16 => [word(name.first_chunk()?), word(name.last_chunk()?), 0],
            17..=NAME_MAX => {
                [word(name.first_chunk()?), word(name[8..].first_chunk()?), word(name.last_chunk()?)]
            }
            _ => return None,
        };
        Some(Self { words: words.map(lower), tag: scope << 8 | name.len() as u64 })
    }

    fn hash(&self) -> u64 {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let mixed = self.words[0]
            ^ self.words[1].rotate_left(23)
            ^ self.words[2].rotate_left(41)
            ^ self.tag.rotate_left(11);
        let product = mixed.wrapping_mul(ODD);
        product ^ product >> 32
    }
}

fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// ASCII lower case of eight bytes at once; other bytes stay as they are.
fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // Without the top bit no byte carries into the next: each sum sets its top bit exactly if the byte is past the
    // bound.
    let low_bits = word & !HIGH;
    let from_a = low_bits + (0x80 - u64::from(b'A')) * ONES;
    let past_z = low_bits + (0x7F - u64::from(b'Z')) * ONES;
    let upper = from_a & !past_z & !word & HIGH;
    word | upper >> 2
}

/// Open addressing with linear probing, at most a quarter full, never changed once built.
struct Index {
    slots: Vec<(Key, usize)>,
}

impl Index {
    /// # Panics
    /// At the start, if two rows share a name or a name is too long: a mistake in the rows, found by every test.
    fn build(entries: &[Entry]) -> Self {
        let capacity = (entries.len() * 4).next_power_of_two();
        let mut index = Self { slots: vec![(FREE, 0); capacity] };
        for entry in entries {
            let scope = entry.parent.map_or(TOP_LEVEL, |id| id as u64);
            let Some(key) = Key::new(scope, entry.spec.name.as_bytes()) else {
                panic!("command name '{}' is empty or too long", entry.full_name);
            };
            let (slot, taken) = index.probe(&key);
            assert!(!taken, "two commands are named '{}'", entry.full_name);
            index.slots[slot] = (key, entry.id);
        }
        index
    }

    fn find(&self, key: &Key) -> Option<usize> {
        let (slot, taken) = self.probe(key);
        taken.then(|| self.slots[slot].1)
    }

    /// The slot that holds `key` (true) or would (false).
    fn probe(&self, key: &Key) -> (usize, bool) {
        let mask = self.slots.len() - 1;
        let mut at = key.hash() as usize & mask;
        loop {
            let held = &self.slots[at].0;
            if held == key {
                return (at, true);
            }
            if held.tag == 0 {
                return (at, false);
            }
            at = (at + 1) & mask;
        }
    }
}

/// The README's list of commands: a heading for each group, a line for each command and subcommand.
pub fn markdown() -> String {
    let mut groups: Vec<Group> = entries().iter().map(|entry| entry.spec.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut page = String::new();
    for group in groups {
        let heading = group.title();
        let _ = writeln!(page, "### {heading}\n");
        for entry in entries().iter().filter(|entry| entry.spec.group == group) {
            // A container does nothing by itself.
            if let Some(syntax) = entry.syntax() {
                let _ = writeln!(page, "- `{syntax}`: {}", entry.spec.summary);
            }
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

impl Entry {
    /// How the command is written, `SET key value [NX | XX]`; `None` for a container.
    pub fn syntax(&self) -> Option<String> {
        self.spec.handler?;
        let mut line = self.full_name.replace('|', " ").to_ascii_uppercase();
        for arg in self.spec.args {
            let _ = write!(line, " {}", arg.syntax());
        }
        Some(line)
    }
}
