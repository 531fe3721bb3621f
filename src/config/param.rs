//! What a row of the parameter table is made of, and how a row is looked up by a name that a person typed.
//!
//! Rows are constants; a row never holds a value, only how to read and write one in a [`Config`].

use crate::config::params::{Config, PARAMS};

/// Longest name that is compared when a near match is looked for; bounds the work that a hostile name can cause.
const NAME_COMPARED_MAX: usize = 64;

/// Which values a parameter takes, beyond what its Rust type says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Whatever its type parses.
    Plain,
    /// A decimal integer, both ends included.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A number of bytes, with Redis's units; both ends included.
    Memory {
        /// Smallest value in bytes.
        min: u64,
        /// Largest value in bytes.
        max: u64,
    },
    /// One value only: the feature behind the parameter does not exist here, and clients may still ask.
    Only {
        /// That value.
        value: &'static str,
        /// Why no other is taken, to complete "argument must be 'no': …".
        why: &'static str,
    },
}

/// How a row reads and writes its field of a [`Config`].
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Parses and stores a value given as words; an error says what the argument must be.
    pub assign: fn(&mut Config, &Kind, &str) -> Result<(), String>,
    /// The value as CONFIG GET shows it.
    pub print: fn(&Config, &Kind) -> String,
    /// The value as the configuration file holds it.
    pub toml: fn(&Config, &Kind) -> toml_edit::Value,
    /// Which values the field's type takes, for documentation and errors.
    pub expects: fn(&Kind) -> String,
}

/// One row of the parameter table.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Name as in Redis where Redis has the parameter.
    pub name: &'static str,
    /// Other names for the same field.
    pub aliases: &'static [&'static str],
    /// Heading that it stands under.
    pub section: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// Default, as words.
    pub default: &'static str,
    /// Whether CONFIG SET may change it while the server runs.
    pub mutable: bool,
    /// Whether setting it changes anything; where it does not, the documentation says so.
    pub effective: bool,
    /// Whether it takes several words on the command line (`--bind 127.0.0.1 ::1`).
    pub many: bool,
    /// Whether its value must not be shown in logs and help.
    pub secret: bool,
    documentation: &'static str,
    access: Access,
}

impl Param {
    /// A row whose type alone says which values it takes; immutable and effective until told otherwise.
    pub const fn plain(name: &'static str, default: &'static str) -> Self {
        Self::new(name, Kind::Plain, default)
    }

    /// An integer row, both ends included.
    pub const fn integer(name: &'static str, min: i64, max: i64, default: &'static str) -> Self {
        Self::new(name, Kind::Integer { min, max }, default)
    }

    /// A row that counts bytes, both ends included.
    pub const fn memory(name: &'static str, min: u64, max: u64, default: &'static str) -> Self {
        Self::new(name, Kind::Memory { min, max }, default)
    }

    /// A row that has one value only.
    pub const fn only(name: &'static str, value: &'static str, why: &'static str) -> Self {
        let mut row = Self::new(name, Kind::Only { value, why }, value);
        row.effective = false;
        row
    }

    const fn new(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            section: "",
            kind,
            default,
            mutable: false,
            effective: true,
            many: false,
            secret: false,
            documentation: "",
            access: Access {
                assign: |_, _, _| Err(String::from("row without a field")),
                print: |_, _| String::new(),
                toml: |_, _| toml_edit::Value::from(""),
                expects: |_| String::new(),
            },
        }
    }

    /// CONFIG SET may change it.
    pub const fn mutable(mut self) -> Self {
        self.mutable = true;
        self
    }

    /// It is accepted so that clients and tools that set it go on; nothing changes.
    pub const fn ineffective(mut self) -> Self {
        self.effective = false;
        self
    }

    /// It takes several words on the command line.
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }

    /// Its value must not be shown.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Other names for it.
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Puts the row into the table: its heading, its documentation and its field.
    pub(crate) const fn placed(
        mut self,
        section: &'static str,
        documentation: &'static str,
        access: Access,
    ) -> Self {
        self.section = section;
        self.documentation = documentation;
        self.access = access;
        self
    }

    /// What it does, in a sentence or two.
    pub fn doc(&self) -> &'static str {
        self.documentation.trim()
    }

    /// Parses `text` (words parted by blanks) into this parameter's field.
    pub fn assign(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.access.assign)(config, &self.kind, text)
    }

    /// The value as CONFIG GET shows it.
    pub fn print(&self, config: &Config) -> String {
        (self.access.print)(config, &self.kind)
    }

    /// The value as the configuration file holds it.
    pub fn toml(&self, config: &Config) -> toml_edit::Value {
        (self.access.toml)(config, &self.kind)
    }

    /// Which values it takes, to complete "expected …".
    pub fn expects(&self) -> String {
        match self.kind {
            Kind::Only { value: "", .. } => String::from("nothing (\"\")"),
            Kind::Only { value, .. } => format!("`{value}`"),
            _ => (self.access.expects)(&self.kind),
        }
    }

    /// The environment variable that sets it, such as `LARDER_MAXMEMORY_POLICY`.
    pub fn variable(&self) -> String {
        let mut variable = String::from("LARDER_");
        variable.push_str(&self.name.to_ascii_uppercase().replace('-', "_"));
        variable
    }

    /// Whether `name` is this row's name or one of its aliases; letter case does not matter.
    pub fn is_named(&self, name: &str) -> bool {
        self.names().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Its name, then its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The row with this name or alias; letter case does not matter.
pub fn find(name: &str) -> Option<&'static Param> {
    PARAMS.iter().find(|param| param.is_named(name))
}

/// "unknown parameter 'x'", with the nearest known name where one is near.
pub fn unknown(name: &str) -> String {
    match nearest(name) {
        Some(known) => format!("unknown parameter '{name}'; did you mean '{known}'?"),
        None => format!("unknown parameter '{name}'; `larder --print-config` lists all"),
    }
}

/// The known name with the fewest edits from `name`, if that is few enough to be a slip of the hand.
fn nearest(name: &str) -> Option<&'static str> {
    let typed = name.to_ascii_lowercase().replace('_', "-");
    if typed.len() > NAME_COMPARED_MAX {
        return None;
    }
    let allowed = (typed.len() / 3).max(2).min(typed.len() / 2);
    PARAMS
        .iter()
        .flat_map(Param::names)
        .map(|known| (edits(&typed, known), known))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, _)| distance <= allowed)
        .map(|(_, known)| known)
}

/// Insertions, deletions and replacements of bytes that turn one text into the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (taken, &byte) in from.as_bytes().iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = taken + 1;
        for (index, &other) in to.as_bytes().iter().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{edits, find, nearest, unknown};

    #[test]
    fn names_are_found_in_any_letter_case_and_by_alias() {
        assert_eq!(find("MaxMemory").map(|param| param.name), Some("maxmemory"));
        assert_eq!(find("slave-read-only").map(|param| param.name), Some("replica-read-only"));
        assert!(find("maxmemor").is_none());
    }

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_a_foreign_name_is_not() {
        assert_eq!(nearest("maxmemry"), Some("maxmemory"));
        assert_eq!(nearest("tcp_keepalive"), Some("tcp-keepalive"));
        assert_eq!(nearest("zzzzzz"), None);
        assert!(unknown("prot").contains("'port'"));
        assert!(unknown(&"x".repeat(100_000)).contains("--print-config"));
    }

    #[test]
    fn edits_counts_single_changes() {
        assert_eq!(edits("port", "port"), 0);
        assert_eq!(edits("prot", "port"), 2);
        assert_eq!(edits("", "abc"), 3);
    }
}
