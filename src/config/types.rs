//! The types that parameters have: how each is parsed from words, printed as CONFIG GET does, and put into the file.
//!
//! Parsing never panics and never guesses: an error says what the argument must be, in Redis's words where Redis
//! has some. What is printed parses back to the same value.

use crate::config::container;
use crate::config::param::Kind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use toml_edit::{Array, Value as Toml};

/// A type that a parameter's field may have.
pub trait Value {
    /// Parses `text` and stores it; the value is unchanged on error. The error says what the argument must be.
    fn assign(&mut self, kind: &Kind, text: &str) -> Result<(), String>;
    /// The value as CONFIG GET shows it.
    fn print(&self, kind: &Kind) -> String;
    /// The value as the configuration file holds it.
    fn toml(&self, kind: &Kind) -> Toml {
        Toml::from(self.print(kind))
    }
    /// Which values it takes, to complete "expected …".
    fn expects(kind: &Kind) -> String;
}

/// Parses a number of bytes: digits, then nothing or one of b, k, kb, m, mb, g, gb, t, tb in any letter case
/// (k = 1000, kb = 1024 and so on, as in Redis). `None` for anything else and on overflow.
pub fn parse_memory(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        "t" => 1_000_000_000_000,
        "tb" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The shortest text that [`parse_memory`] reads back as `bytes`, with binary units only.
pub fn print_memory(bytes: u64) -> String {
    for (unit, shift) in [("tb", 40), ("gb", 30), ("mb", 20), ("kb", 10)] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A number of bytes in the file: with a unit where one fits, else a plain number.
fn toml_memory(bytes: u64) -> Toml {
    match i64::try_from(bytes) {
        Ok(number) if print_memory(bytes) == number.to_string() => Toml::from(number),
        _ => Toml::from(print_memory(bytes)),
    }
}

/// A list of strings in the file.
fn toml_list<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Toml {
    let mut list = Array::new();
    for item in items {
        list.push(item.into());
    }
    Toml::from(list)
}

fn parse_integer(kind: &Kind, text: &str) -> Result<i64, String> {
    let number: i64 =
        text.parse().map_err(|_| String::from("argument couldn't be parsed into an integer"))?;
    match *kind {
        Kind::Integer { min, max } if number < min || number > max => {
            Err(format!("argument must be between {min} and {max} inclusive"))
        }
        _ => Ok(number),
    }
}

fn expects_integer(kind: &Kind) -> String {
    match *kind {
        Kind::Integer { min, max } if max >= i64::from(i32::MAX) => format!("an integer of at least {min}"),
        Kind::Integer { min, max } => format!("an integer from {min} to {max}"),
        _ => String::from("an integer"),
    }
}

impl Value for bool {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        *self = if text.eq_ignore_ascii_case("yes") {
            true
        } else if text.eq_ignore_ascii_case("no") {
            false
        } else {
            return Err(String::from("argument must be 'yes' or 'no'"));
        };
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        String::from(if *self { "yes" } else { "no" })
    }

    fn toml(&self, _: &Kind) -> Toml {
        Toml::from(*self)
    }

    fn expects(_: &Kind) -> String {
        String::from("`yes` or `no`")
    }
}

impl Value for i64 {
    fn assign(&mut self, kind: &Kind, text: &str) -> Result<(), String> {
        *self = parse_integer(kind, text)?;
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.to_string()
    }

    fn toml(&self, _: &Kind) -> Toml {
        Toml::from(*self)
    }

    fn expects(kind: &Kind) -> String {
        expects_integer(kind)
    }
}

/// An integer, or a number of bytes where the row is of [`Kind::Memory`].
impl Value for u64 {
    fn assign(&mut self, kind: &Kind, text: &str) -> Result<(), String> {
        let Kind::Memory { min, max } = *kind else {
            *self = parse_integer(kind, text)? as u64;
            return Ok(());
        };
        let bytes = parse_memory(text).ok_or_else(|| String::from("argument must be a memory value"))?;
        if bytes < min || bytes > max {
            return Err(format!("argument must be between {min} and {max} inclusive"));
        }
        *self = bytes;
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.to_string()
    }

    fn toml(&self, kind: &Kind) -> Toml {
        match kind {
            Kind::Memory { .. } => toml_memory(*self),
            _ => Toml::from(*self as i64),
        }
    }

    fn expects(kind: &Kind) -> String {
        match *kind {
            Kind::Memory { min: 0, .. } => String::from("a memory size such as `64mb`"),
            Kind::Memory { min, .. } => {
                format!("a memory size of at least `{}`", print_memory(min))
            }
            _ => expects_integer(kind),
        }
    }
}

impl Value for u16 {
    fn assign(&mut self, kind: &Kind, text: &str) -> Result<(), String> {
        *self = parse_integer(kind, text)?
            .try_into()
            .map_err(|_| String::from("argument must be between 0 and 65535 inclusive"))?;
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.to_string()
    }

    fn toml(&self, _: &Kind) -> Toml {
        Toml::from(i64::from(*self))
    }

    fn expects(kind: &Kind) -> String {
        expects_integer(kind)
    }
}

impl Value for String {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        *self = text.to_owned();
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.clone()
    }

    fn expects(_: &Kind) -> String {
        String::from("text")
    }
}

impl Value for Vec<String> {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        *self = text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.join(" ")
    }

    fn toml(&self, _: &Kind) -> Toml {
        toml_list(self.iter().cloned())
    }

    fn expects(_: &Kind) -> String {
        String::from("words, separated by spaces or commas")
    }
}

/// Text that debug output does not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself; empty means none is set.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

impl Value for Secret {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        self.0 = text.to_owned();
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.0.clone()
    }

    fn expects(_: &Kind) -> String {
        String::from("text")
    }
}

/// A parameter that has one value only; see [`Kind::Only`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed;

impl Value for Fixed {
    fn assign(&mut self, kind: &Kind, text: &str) -> Result<(), String> {
        match *kind {
            Kind::Only { value, .. } if text.eq_ignore_ascii_case(value) => Ok(()),
            Kind::Only { value, why } => Err(format!("argument must be '{value}': {why}")),
            _ => Err(String::from("the parameter has one value only")),
        }
    }

    fn print(&self, kind: &Kind) -> String {
        match *kind {
            Kind::Only { value, .. } => String::from(value),
            _ => String::new(),
        }
    }

    fn toml(&self, kind: &Kind) -> Toml {
        match *kind {
            Kind::Only { value: "no", .. } => Toml::from(false),
            Kind::Only { value: "yes", .. } => Toml::from(true),
            _ => Toml::from(self.print(kind)),
        }
    }

    fn expects(_: &Kind) -> String {
        String::from("its one value")
    }
}

/// A bound on memory: bytes, or a percentage of what the process may use. 0 bytes means no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimit {
    bytes: u64,
    percent: Option<u8>,
}

impl MemoryLimit {
    /// A bound of this many bytes; 0 means none.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self { bytes, percent: None }
    }

    /// The bound in bytes; 0 means none. A percentage was resolved when it was parsed.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn resolve(percent: u8) -> Result<Self, String> {
        let available = container::memory_bytes().ok_or_else(|| {
            String::from(
                "a percentage needs a known amount of memory, and this system tells none; give bytes instead",
            )
        })?;
        Ok(Self { bytes: (u128::from(available) * u128::from(percent) / 100) as u64, percent: Some(percent) })
    }
}

impl Value for MemoryLimit {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        let Some(number) = text.strip_suffix('%') else {
            let bytes = parse_memory(text)
                .ok_or_else(|| String::from("argument must be a memory value or a percentage"))?;
            *self = Self::of_bytes(bytes);
            return Ok(());
        };
        match number.parse::<u8>() {
            Ok(percent @ 1..=100) => *self = Self::resolve(percent)?,
            _ => {
                return Err(String::from("percentage argument must be between 1 and 100"));
            }
        }
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.bytes.to_string()
    }

    fn toml(&self, _: &Kind) -> Toml {
        match self.percent {
            Some(percent) => Toml::from(format!("{percent}%")),
            None => toml_memory(self.bytes),
        }
    }

    fn expects(_: &Kind) -> String {
        String::from("a memory size such as `64mb`, or a percentage such as `75%`")
    }
}

/// A share of `maxmemory` for clients' buffers: bytes or a percentage, kept as written; accepted only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientsLimit(String);

impl Value for ClientsLimit {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        let share = text.strip_suffix('%').map(str::parse::<u64>);
        self.0 = match (share, parse_memory(text)) {
            (Some(Ok(0..=100)), _) => text.to_owned(),
            (Some(Ok(_)), _) => {
                return Err(String::from("percentage argument must be less or equal to 100"));
            }
            (None, Some(bytes)) => bytes.to_string(),
            _ => {
                return Err(String::from("argument must be a memory or percent value"));
            }
        };
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        self.0.clone()
    }

    fn expects(_: &Kind) -> String {
        String::from("a memory size or a percentage")
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// The address; unspecified (`0.0.0.0`, `::`) for all of its family.
    pub ip: IpAddr,
    /// Whether the start goes on without it when the machine has no such address (written `-::1`).
    pub optional: bool,
}

impl BindAddress {
    /// Parses an address, `*` (all of IPv4) or `::*` (all of IPv6), with `-` before it where it may be missing.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, optional) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let ip = match address {
            "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => address.parse().ok()?,
        };
        Some(Self { ip, optional })
    }
}

impl std::fmt::Display for BindAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dash = if self.optional { "-" } else { "" };
        write!(formatter, "{dash}{}", self.ip)
    }
}

impl Value for Vec<BindAddress> {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        let parsed: Option<Self> = text.split_whitespace().map(BindAddress::parse).collect();
        *self = parsed.ok_or_else(|| {
            String::from(
                "argument must be IP addresses, '*' or '::*', with '-' before one that may be missing",
            )
        })?;
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        let words: Vec<String> = self.iter().map(BindAddress::to_string).collect();
        words.join(" ")
    }

    fn toml(&self, _: &Kind) -> Toml {
        toml_list(self.iter().map(BindAddress::to_string))
    }

    fn expects(_: &Kind) -> String {
        String::from("IP addresses, `*` or `::*`, with `-` before one that may be missing")
    }
}

/// Permission bits, written in octal; 0 leaves them to the process's mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Value for FileMode {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 => self.0 = mode,
            _ => return Err(String::from("argument must be an octal mode from 0 to 777")),
        }
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        format!("{:o}", self.0)
    }

    fn expects(_: &Kind) -> String {
        String::from("an octal mode from `0` to `777`")
    }
}

/// Quantiles to print, in percent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Value for Percentiles {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        let mut list = Vec::new();
        for word in text.split_whitespace() {
            let percent: f64 = word
                .parse()
                .map_err(|_| String::from("Invalid latency-tracking-info-percentiles parameters"))?;
            if !(0.0..=100.0).contains(&percent) {
                return Err(String::from(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
                ));
            }
            list.push(percent);
        }
        self.0 = list;
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        let words: Vec<String> = self.0.iter().map(f64::to_string).collect();
        words.join(" ")
    }

    fn toml(&self, _: &Kind) -> Toml {
        let mut list = Array::new();
        for percent in &self.0 {
            if percent.fract() == 0.0 {
                list.push(*percent as i64);
            } else {
                list.push(*percent);
            }
        }
        Toml::from(list)
    }

    fn expects(_: &Kind) -> String {
        String::from("numbers from 0 to 100")
    }
}

/// How much unsent output a client of one class may have before it is closed. 0 means no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Closed at once when it has more than this.
    pub hard_bytes: u64,
    /// Closed when it has had more than this for `soft_seconds` without a break.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

/// [`OutputLimit`] by client class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimits {
    /// Clients that issue commands.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients with a subscription.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// The classes under the names that CONFIG GET shows, in its order.
    fn classes(&self) -> [(&'static str, OutputLimit); 3] {
        [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)]
    }
}

/// Groups of `class hard soft seconds`; classes that are not named keep what they have.
impl Value for OutputLimits {
    fn assign(&mut self, _: &Kind, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err(String::from("Wrong number of arguments in buffer limit configuration."));
        }
        let mut changed = *self;
        for group in words.chunks_exact(4) {
            let target = match group[0].to_ascii_lowercase().as_str() {
                "normal" => &mut changed.normal,
                "replica" | "slave" => &mut changed.replica,
                "pubsub" => &mut changed.pubsub,
                _ => {
                    return Err(String::from(
                        "Invalid client class specified in buffer limit configuration.",
                    ));
                }
            };
            let (Some(hard_bytes), Some(soft_bytes), Ok(soft_seconds)) =
                (parse_memory(group[1]), parse_memory(group[2]), group[3].parse::<u32>())
            else {
                return Err(String::from(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
                ));
            };
            *target = OutputLimit { hard_bytes, soft_bytes, soft_seconds: u64::from(soft_seconds) };
        }
        *self = changed;
        Ok(())
    }

    fn print(&self, _: &Kind) -> String {
        let groups = self.classes().map(|(class, limit)| {
            let OutputLimit { hard_bytes, soft_bytes, soft_seconds } = limit;
            format!("{class} {hard_bytes} {soft_bytes} {soft_seconds}")
        });
        groups.join(" ")
    }

    fn toml(&self, _: &Kind) -> Toml {
        toml_list(self.classes().map(|(class, limit)| {
            let class = if class == "slave" { "replica" } else { class };
            format!(
                "{class} {} {} {}",
                print_memory(limit.hard_bytes),
                print_memory(limit.soft_bytes),
                limit.soft_seconds
            )
        }))
    }

    fn expects(_: &Kind) -> String {
        String::from("groups of `class hard soft seconds` (class: `normal`, `replica`, `pubsub`)")
    }
}

#[cfg(test)]
mod tests {
    use super::{BindAddress, MemoryLimit, OutputLimits, Value, parse_memory, print_memory};
    use crate::config::param::Kind;

    #[test]
    fn memory_sizes_have_redis_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("1k", 1000),
            ("1KB", 1024),
            ("64mb", 64 << 20),
            ("1Gb", 1 << 30),
            ("2t", 2_000_000_000_000),
            ("7b", 7),
        ] {
            assert_eq!(parse_memory(text), Some(bytes), "{text}");
        }
        for text in ["", "mb", "-1", "1.5gb", "1 mb", "10mbs", "99999999999tb"] {
            assert_eq!(parse_memory(text), None, "{text}");
        }
    }

    #[test]
    fn printed_memory_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1536, 64 << 20, (64 << 20) + 1, 1 << 40, u64::MAX] {
            assert_eq!(parse_memory(&print_memory(bytes)), Some(bytes));
        }
        assert_eq!(print_memory(256 << 20), "256mb");
    }

    #[test]
    fn a_percentage_is_resolved_and_kept_for_the_file() {
        let mut limit = MemoryLimit::default();
        limit.assign(&Kind::Plain, "50%").expect("half of it");
        let half = limit.bytes();
        limit.assign(&Kind::Plain, "100%").expect("all of it");
        assert!(half > 0 && limit.bytes() / 2 == half);
        assert_eq!(limit.toml(&Kind::Plain).as_str(), Some("100%"));
        assert!(limit.assign(&Kind::Plain, "0%").is_err());
        assert!(limit.assign(&Kind::Plain, "101%").is_err());
        assert_eq!(limit.bytes() / 2, half);
    }

    #[test]
    fn addresses_may_be_optional_or_all() {
        let shown = |text| BindAddress::parse(text).map(|address| address.to_string());
        assert_eq!(shown("-::1").as_deref(), Some("-::1"));
        assert_eq!(shown("*").as_deref(), Some("0.0.0.0"));
        assert_eq!(shown("-::*").as_deref(), Some("-::"));
        assert_eq!(shown("localhost"), None);
    }

    #[test]
    fn output_limits_change_only_the_classes_named() {
        let mut limits = OutputLimits::default();
        limits.assign(&Kind::Plain, "normal 1mb 2mb 60 REPLICA 3 4 5").expect("two classes");
        limits.assign(&Kind::Plain, "pubsub 6 7 8").expect("one class");
        assert_eq!(limits.print(&Kind::Plain), "normal 1048576 2097152 60 slave 3 4 5 pubsub 6 7 8");
        let before = limits;
        for wrong in ["", "normal 1 2", "normal 9 9 9 master 1 2 3", "pubsub 1 2 3s", "pubsub 1 2 -3"] {
            assert!(limits.assign(&Kind::Plain, wrong).is_err(), "{wrong}");
        }
        assert_eq!(limits, before);
    }
}
