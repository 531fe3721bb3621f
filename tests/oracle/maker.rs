//! Makes random commands out of the templates of [`super::families`].

use super::families::{CHOICES, COMMON, COMPOUNDS, Family, OPTIONS, REPEATS};
use larder::base::rng::Rng;

/// One command in so many is damaged before it is sent.
const DAMAGE_ONE_IN: u64 = 8;
/// The one count that has no opposite.
const LEAST: &str = "-9223372036854775808";
/// One command in so many is of [`COMMON`].
const COMMON_ONE_IN: u64 = 5;

/// Arguments of ZRANK and ZREVRANK in 7.0, the name included.
const RANK_ARGUMENTS: usize = 3;

/// Makes commands.
pub struct Maker {
    /// The source of all choices.
    pub rng: Rng,
    family: &'static Family,
}

impl Maker {
    /// A maker of a family's commands.
    pub fn new(seed: u64, family: &'static Family) -> Maker {
        Maker { rng: Rng::seeded(seed), family }
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.below(from.len() as u64) as usize]
    }

    /// True once in so many times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.rng.below(count) == 0
    }

    /// The next command.
    pub fn command(&mut self) -> Vec<Vec<u8>> {
        let templates = if self.one_in(COMMON_ONE_IN) { COMMON } else { self.family.templates };
        let mut at = self.rng.below(templates.iter().map(|(weight, _)| weight).sum());
        let mut template = "PING";
        for (weight, candidate) in templates {
            if at < *weight {
                template = candidate;
                break;
            }
            at -= weight;
        }
        let mut arguments = Vec::new();
        self.write(template, &mut arguments);
        if self.one_in(4) {
            arguments[0].make_ascii_lowercase();
        }
        // Another score in a set of equal ones would leave ranges by members undefined.
        let is_even = arguments.iter().any(|argument| argument.starts_with(b"even"));
        if !is_even && self.one_in(DAMAGE_ONE_IN) {
            self.damage(&mut arguments);
        }
        // Where keys beside the elements decide the order, equal texts leave it open.
        let is = |word: &[u8], name: &[u8]| word.eq_ignore_ascii_case(name);
        let is_sort = is(&arguments[0], b"sort") || is(&arguments[0], b"sort_ro");
        if is_sort && arguments.iter().any(|word| is(word, b"by")) {
            arguments.retain(|word| !is(word, b"alpha"));
        }
        // A count that is refused since 7.2: what Redis 7.0 then removes would be there for the rest of a sequence.
        if is(&arguments[0], b"lrem") {
            arguments
                .iter_mut()
                .filter(|word| **word == LEAST.as_bytes())
                .for_each(|word| *word = b"-1".to_vec());
        }
        arguments
    }

    /// Appends a template's words.
    fn write(&mut self, template: &str, out: &mut Vec<Vec<u8>>) {
        for word in template.split(' ') {
            match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                Some(name) => self.fill(name, out),
                None => out.push(word.as_bytes().to_vec()),
            }
        }
    }

    /// Drops, doubles, adds or replaces an argument; the command's name stays.
    fn damage(&mut self, arguments: &mut Vec<Vec<u8>>) {
        let at = self.rng.below(arguments.len() as u64) as usize;
        let junk = self.junk();
        match self.rng.below(4) {
            0 if at > 0 => drop(arguments.remove(at)),
            1 if at > 0 => arguments.insert(at, arguments[at].clone()),
            2 if at > 0 => arguments[at] = junk,
            _ => arguments.push(junk),
        }
        // 7.2 lets one more argument follow, so that what is one too many is another error.
        if arguments[0].to_ascii_lowercase().ends_with(b"rank") {
            arguments.truncate(RANK_ARGUMENTS);
        }
        // A wait that is longer than the tests' would end them.
        if let Some(timeout) = timeout_of(arguments)
            && str::from_utf8(timeout).is_ok_and(|text| text.trim().parse().is_ok_and(|s: f64| s >= 0.0))
        {
            *timeout = b"0.01".to_vec();
        }
    }

    /// Never a small positive number: it might become a deadline that passes while the sequence runs.
    fn junk(&mut self) -> Vec<u8> {
        const JUNK: &[&str] = &[
            "",
            "junk",
            "0",
            "-1",
            "-0",
            "+700000",
            "0700000",
            " 700000",
            "700000 ",
            "1e9",
            "1.5",
            "NX",
            "XX",
            "GT",
            "LT",
            "GET",
            "KEEPTTL",
            "PERSIST",
            "EX",
            "PXAT",
            "nan",
            "inf",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "\u{0}",
            "\r\n",
        ];
        self.pick(JUNK).as_bytes().to_vec()
    }

    /// Appends what stands for `{name}`.
    fn fill(&mut self, name: &str, out: &mut Vec<Vec<u8>>) {
        match name {
            "key" => out.push(self.key()),
            "value" => out.push(self.value()),
            "junk" => out.push(self.junk()),
            "keys" => {
                for _ in 0..=self.rng.below(3) {
                    out.push(self.key());
                }
            }
            "pairs" => {
                for _ in 0..=self.rng.below(3) {
                    out.push(self.key());
                    out.push(self.value());
                }
            }
            "db" => self.push(&["0", "0", "1", "2", "15", "16", "-1", "x"], out),
            "pattern" => {
                self.push(&["*", "k*", "k?", "k[0-2]", "k[^1]", "*b*", "\\k1", "{", "", "none"], out)
            }
            "index" => {
                self.push(&["0", "1", "2", "5", "-1", "-3", "100", "-100", "9223372036854775807", "x"], out)
            }
            "offset" => self.push(&["0", "1", "3", "10", "-1", "536870912", "9223372036854775807", "x"], out),
            "integer" => self.push(
                &[
                    "1",
                    "-1",
                    "0",
                    "5",
                    "12345",
                    "9223372036854775807",
                    "-9223372036854775808",
                    "9223372036854775800",
                    "x",
                ],
                out,
            ),
            "float" => self.push(
                &[
                    "0",
                    "1.5",
                    "-1.5",
                    "0.1",
                    "3.0e3",
                    "1e-5",
                    "-0.25",
                    "5",
                    "1e17",
                    "inf",
                    "-inf",
                    "nan",
                    "1e400",
                    "0x10",
                    "-0x1.8p-3",
                    "x",
                ],
                out,
            ),
            _ => self.fill_time_or_option(name, out),
        }
    }

    fn fill_time_or_option(&mut self, name: &str, out: &mut Vec<Vec<u8>>) {
        const BAD: &[&str] =
            &["0", "-1", "x", "9223372036854775807", "-9223372036854775808", "9223372036854776", "1.0"];
        // Far apart, so that GT and LT never depend on the millisecond at which a command arrived.
        let (base, spread) = match name {
            "seconds" => (100_000, 1_000_000),
            "milliseconds" => (100_000_000, 1_000_000_000),
            "at" => (4_000_000_000, 1_000_000),
            "atms" => (4_000_000_000_000, 1_000_000_000),
            _ => return self.fill_option(name, out),
        };
        if self.one_in(8) {
            self.push(BAD, out);
        } else {
            let step = spread / 1000;
            let time = base + self.rng.below(1000) * step;
            out.push(time.to_string().into_bytes());
        }
    }

    fn fill_option(&mut self, name: &str, out: &mut Vec<Vec<u8>>) {
        if let Some((_, choices)) = CHOICES.iter().find(|(known, _)| *known == name) {
            let choice = self.pick(choices);
            return if choice.is_empty() { out.push(Vec::new()) } else { self.write(choice, out) };
        }
        if let Some((_, one, most)) = REPEATS.iter().find(|(known, ..)| *known == name) {
            for _ in 0..=self.rng.below(*most) {
                self.fill(one, out);
            }
            return;
        }
        if let Some((_, parts)) = COMPOUNDS.iter().find(|(known, _)| *known == name) {
            return self.write(parts, out);
        }
        let Some((_, most, choices)) = OPTIONS.iter().find(|(known, ..)| *known == name) else {
            panic!("no such placeholder: {name}");
        };
        for _ in 0..self.rng.below(most + 1) {
            let choice = self.pick(choices);
            self.write(choice, out);
        }
    }

    fn push(&mut self, from: &[&str], out: &mut Vec<Vec<u8>>) {
        let chosen = self.pick(from).as_bytes().to_vec();
        out.push(chosen);
    }

    fn key(&mut self) -> Vec<u8> {
        let keys = ["k0", "k1", "k2", "k3", "k4", "{tag}a", "{tag}b", "bin\u{0}\r\nkey", ""];
        self.pick(&keys).as_bytes().to_vec()
    }

    fn value(&mut self) -> Vec<u8> {
        const VALUES: &[&str] = &[
            "",
            "a",
            "ohmytext",
            "mynewtext",
            "0",
            "1",
            "10",
            "-7",
            "007",
            "1.5",
            "3.0e3",
            " 1",
            "9223372036854775806",
            "-9223372036854775808",
            "9223372036854775808",
            "12345678901234567890",
            "\u{0}\u{1}\r\n",
            "nan",
            "1e308",
            "forty-four bytes are the most that embstr c.",
            "forty-five bytes are one more than embstr can.",
        ];
        if self.one_in(20) {
            return vec![b'x'; self.rng.below(40_000) as usize];
        }
        self.pick(VALUES).as_bytes().to_vec()
    }
}

/// The timeout of a command that may wait.
fn timeout_of(arguments: &mut [Vec<u8>]) -> Option<&mut Vec<u8>> {
    match arguments[0].to_ascii_uppercase().as_slice() {
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => arguments.last_mut(),
        b"BLMPOP" | b"BZMPOP" => arguments.get_mut(1),
        _ => None,
    }
}
