//! The parameters' closed sets: enumerations (the first name of a variant is the one printed) and event classes.

use crate::config::param::Kind;
use crate::config::types::Value;

/// An enumeration with a name for every variant; further names of a variant are synonyms.
trait Choice: Copy + PartialEq + 'static {
    /// Names and what they stand for, in the order in which errors list them.
    const NAMES: &'static [(&'static str, Self)];
}

/// The printed names, without synonyms.
fn names<T: Choice>() -> Vec<&'static str> {
    let mut seen: Vec<T> = Vec::new();
    let mut list = Vec::new();
    for &(name, choice) in T::NAMES {
        if !seen.contains(&choice) {
            seen.push(choice);
            list.push(name);
        }
    }
    list
}

impl<T: Choice> Value for T {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        match T::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some(&(_, choice)) => {
                *self = choice;
                Ok(())
            }
            None => Err(format!("argument(s) must be one of the following: {}", names::<T>().join(", "))),
        }
    }

    fn print(&self, _: &Kind) -> String {
        T::NAMES
            .iter()
            .find(|(_, choice)| choice == self)
            .map_or_else(String::new, |(name, _)| String::from(*name))
    }

    fn expects(_: &Kind) -> String {
        let quoted: Vec<String> = names::<T>().iter().map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    }
}

/// What happens to keys when memory is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Writes that need memory are refused.
    NoEviction,
    /// Any key, by recency (Adaptive S3-FIFO).
    #[default]
    AllKeysLru,
    /// Any key, by frequency (S3-FIFO).
    AllKeysLfu,
    /// Any key, at random.
    AllKeysRandom,
    /// Keys with a time to live, by recency.
    VolatileLru,
    /// Keys with a time to live, by frequency.
    VolatileLfu,
    /// Keys with a time to live, at random.
    VolatileRandom,
    /// Keys with a time to live, the one that is due first.
    VolatileTtl,
}

impl EvictionPolicy {
    /// Its name in Redis.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|&&(_, choice)| choice == self).map_or("", |&(name, _)| name)
    }

    /// Whether only keys with a time to live may go.
    pub const fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }
}

impl Choice for EvictionPolicy {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("volatile-lru", Self::VolatileLru),
        ("volatile-lfu", Self::VolatileLfu),
        ("volatile-random", Self::VolatileRandom),
        ("volatile-ttl", Self::VolatileTtl),
        ("allkeys-lru", Self::AllKeysLru),
        ("allkeys-lfu", Self::AllKeysLfu),
        ("allkeys-random", Self::AllKeysRandom),
        ("noeviction", Self::NoEviction),
    ];
}

/// How much is logged: everything of this level and of those below it in this list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Every detail.
    Debug,
    /// Much detail, a line for each connection.
    Verbose,
    /// What an operator wants to know.
    #[default]
    Notice,
    /// What an operator should look at.
    Warning,
    /// What has failed.
    Error,
    /// Nothing.
    Nothing,
}

impl Choice for LogLevel {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("debug", Self::Debug),
        ("verbose", Self::Verbose),
        ("notice", Self::Notice),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("nothing", Self::Nothing),
        ("trace", Self::Debug),
        ("info", Self::Notice),
        ("warn", Self::Warning),
        ("off", Self::Nothing),
    ];
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const NAMES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// Who may use a dangerous command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Nobody.
    #[default]
    No,
    /// Every client.
    Yes,
    /// Clients on this machine (loopback or unix socket).
    Local,
}

impl Choice for Allowed {
    const NAMES: &'static [(&'static str, Self)] =
        &[("no", Self::No), ("yes", Self::Yes), ("local", Self::Local)];
}

/// When an append-only file is flushed to disk; there is none, the parameter is accepted only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendFsync {
    /// Every second.
    #[default]
    EverySec,
    /// At every write.
    Always,
    /// When the operating system likes.
    No,
}

impl Choice for AppendFsync {
    const NAMES: &'static [(&'static str, Self)] =
        &[("everysec", Self::EverySec), ("always", Self::Always), ("no", Self::No)];
}

/// Classes of keyspace events that are published, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceEvents(pub u32);

impl KeyspaceEvents {
    /// Publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: u32 = 1;
    /// Publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: u32 = 1 << 1;
    /// Commands for any type: DEL, EXPIRE, RENAME …
    pub const GENERIC: u32 = 1 << 2;
    /// String commands.
    pub const STRING: u32 = 1 << 3;
    /// List commands.
    pub const LIST: u32 = 1 << 4;
    /// Set commands.
    pub const SET: u32 = 1 << 5;
    /// Hash commands.
    pub const HASH: u32 = 1 << 6;
    /// Sorted set commands.
    pub const ZSET: u32 = 1 << 7;
    /// Keys that expired.
    pub const EXPIRED: u32 = 1 << 8;
    /// Keys that were evicted.
    pub const EVICTED: u32 = 1 << 9;
    /// Stream commands.
    pub const STREAM: u32 = 1 << 10;
    /// Reads of keys that do not exist; not part of `A`.
    pub const MISS: u32 = 1 << 11;
    /// Modules; accepted, never published.
    pub const MODULE: u32 = 1 << 12;
    /// Keys that were created; not part of `A`.
    pub const NEW: u32 = 1 << 13;
    /// What `A` stands for.
    pub const ALL: u32 = Self::GENERIC
        | Self::STRING
        | Self::LIST
        | Self::SET
        | Self::HASH
        | Self::ZSET
        | Self::EXPIRED
        | Self::EVICTED
        | Self::STREAM
        | Self::MODULE;

    /// The members of `A`, in the order in which Redis prints them.
    const LETTERS: [(char, u32); 10] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self::LIST),
        ('s', Self::SET),
        ('h', Self::HASH),
        ('z', Self::ZSET),
        ('x', Self::EXPIRED),
        ('e', Self::EVICTED),
        ('t', Self::STREAM),
        ('d', Self::MODULE),
    ];
    /// The letters that stand outside `A`.
    const MARKS: [(char, u32); 4] =
        [('K', Self::KEYSPACE), ('E', Self::KEYEVENT), ('m', Self::MISS), ('n', Self::NEW)];

    /// Whether an event of this class is published at all.
    pub const fn publishes(self, class: u32) -> bool {
        self.0 & (Self::KEYSPACE | Self::KEYEVENT) != 0 && self.0 & class != 0
    }
}

impl Value for KeyspaceEvents {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        let mut bits = 0;
        for letter in text.chars() {
            let known = Self::LETTERS.iter().chain(&Self::MARKS).find(|(known, _)| *known == letter);
            bits |= match (letter, known) {
                ('A', _) => Self::ALL,
                (_, Some((_, bit))) => *bit,
                _ => {
                    return Err(String::from("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."));
                }
            };
        }
        self.0 = bits;
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        let mut text = String::new();
        if self.0 & Self::ALL == Self::ALL {
            text.push('A');
        } else {
            text.extend(Self::LETTERS.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(letter, _)| letter));
        }
        text.extend(Self::MARKS.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(letter, _)| letter));
        text
    }

    fn expects(_: &Kind) -> String {
        String::from("letters out of `Ag$lshzxeKEtmdn`")
    }
}

#[cfg(test)]
mod tests {
    use super::{EvictionPolicy, KeyspaceEvents, LogLevel};
    use crate::config::param::Kind;
    use crate::config::types::Value;

    #[test]
    fn synonyms_are_read_and_never_printed() {
        let mut level = LogLevel::default();
        level.assign(&Kind::Plain, "WARN").expect("a synonym");
        assert_eq!(level.print(&Kind::Plain), "warning");
        let why = level.assign(&Kind::Plain, "loud").expect_err("no such level");
        assert_eq!(
            why,
            "argument(s) must be one of the following: debug, verbose, notice, warning, error, nothing"
        );
    }

    #[test]
    fn policies_have_redis_names() {
        assert_eq!(EvictionPolicy::default().name(), "allkeys-lru");
        assert!(EvictionPolicy::VolatileTtl.is_volatile());
        assert!(!EvictionPolicy::NoEviction.is_volatile());
    }

    #[test]
    fn event_classes_print_as_redis_prints_them() {
        for (given, printed) in [
            ("KEA", "AKE"),
            ("AKEm", "AKEm"),
            ("gKE", "gKE"),
            ("$lshzxeKE", "$lshzxeKE"),
            ("Kdt", "tdK"),
            ("g$lshzxetdmKE", "AKEm"),
            ("", ""),
        ] {
            let mut events = KeyspaceEvents::default();
            events.assign(&Kind::Plain, given).expect(given);
            assert_eq!(events.print(&Kind::Plain), printed);
        }
        assert!(KeyspaceEvents::default().assign(&Kind::Plain, "KQ").is_err());
        assert!(!KeyspaceEvents(KeyspaceEvents::ALL).publishes(KeyspaceEvents::STRING));
    }
}
