//! Random commands, sent alike to the server under test and to redis-server 7.0: replies must be equal byte for byte.
//!
//! Few keys and few values, so that commands meet each other's results; a share of the commands is damaged (an argument
//! dropped, doubled, replaced), so that error texts and their precedence are compared too. Deadlines lie far away or in
//! the past: nothing expires while a sequence runs, and remaining times are compared with a tolerance.
//!
//! `LARDER_TEST_SEED` repeats a run, `LARDER_TEST_COMMANDS` sets its length. Skipped where redis-server is missing.

mod support;

use larder::base::rng::Rng;
use std::collections::VecDeque;
use std::env;
use support::client::Client;
use support::frame::Frame;
use support::line;
use support::server::Server;
use support::tool;

/// Commands per protocol, unless `LARDER_TEST_COMMANDS` says otherwise.
const COMMANDS: usize = 60_000;
/// Commands after which both servers are emptied and all connections are made anew.
const SEQUENCE: usize = 400;
/// Connections per server; more than one, so that WATCH is disturbed by others.
const CONNECTIONS: usize = 3;
/// One command in so many is damaged before it is sent.
const DAMAGE_ONE_IN: u64 = 8;
/// Commands printed before a mismatch.
const HISTORY: usize = 20;
/// Mismatches printed; there is at most one a sequence.
const MISMATCHES_SHOWN: usize = 5;

/// A reply that is meant to differ from Redis 7.0's.
struct Difference {
    /// First words of the command, upper case.
    command: &'static str,
    /// Part of our reply as printed by [`Frame`].
    ours: &'static str,
    /// Part of Redis's reply.
    theirs: &'static str,
    /// Why ours is as it is.
    reason: &'static str,
}

/// Deliberate differences; a mismatch that is not listed here is a bug. Left out of the generator because no two
/// servers need agree: RANDOMKEY, SCAN's order, OBJECT REFCOUNT/FREQ/IDLETIME, anything newer than 7.0.
const DIFFERENCES: &[Difference] = &[Difference {
    command: "OBJECT ENCODING",
    ours: "\"int\"",
    theirs: "\"embstr\"",
    reason: "INCRBYFLOAT leaves text in Redis even where it reads as an integer; here what reads as one is one",
}];

/// Weighted commands. `{name}` is replaced by one or more arguments, see [`Maker::fill`].
const TEMPLATES: &[(u64, &str)] = &[
    (30, "SET {key} {value}"),
    (20, "SET {key} {value} {setoptions}"),
    (20, "GET {key}"),
    (6, "GETDEL {key}"),
    (10, "GETEX {key} {getexoptions}"),
    (5, "GETSET {key} {value}"),
    (5, "SETNX {key} {value}"),
    (5, "SETEX {key} {seconds} {value}"),
    (5, "PSETEX {key} {milliseconds} {value}"),
    (8, "MGET {keys}"),
    (8, "MSET {pairs}"),
    (6, "MSETNX {pairs}"),
    (12, "APPEND {key} {value}"),
    (8, "STRLEN {key}"),
    (8, "GETRANGE {key} {index} {index}"),
    (4, "SUBSTR {key} {index} {index}"),
    (8, "SETRANGE {key} {offset} {value}"),
    (10, "INCR {key}"),
    (6, "DECR {key}"),
    (10, "INCRBY {key} {integer}"),
    (10, "DECRBY {key} {integer}"),
    (10, "INCRBYFLOAT {key} {float}"),
    (8, "LCS {key} {key} {lcsoptions}"),
    (8, "DEL {keys}"),
    (4, "UNLINK {keys}"),
    (6, "EXISTS {keys}"),
    (4, "TOUCH {keys}"),
    (5, "TYPE {key}"),
    (6, "RENAME {key} {key}"),
    (6, "RENAMENX {key} {key}"),
    (8, "COPY {key} {key} {copyoptions}"),
    (4, "MOVE {key} {db}"),
    (4, "KEYS {pattern}"),
    (4, "DBSIZE"),
    (10, "EXPIRE {key} {seconds} {expireoptions}"),
    (6, "PEXPIRE {key} {milliseconds} {expireoptions}"),
    (8, "EXPIREAT {key} {at} {expireoptions}"),
    (8, "PEXPIREAT {key} {atms} {expireoptions}"),
    (6, "PERSIST {key}"),
    (6, "TTL {key}"),
    (6, "PTTL {key}"),
    (6, "EXPIRETIME {key}"),
    (6, "PEXPIRETIME {key}"),
    (4, "OBJECT ENCODING {key}"),
    (1, "OBJECT {junk}"),
    (4, "SELECT {db}"),
    (1, "SWAPDB {db} {db}"),
    (1, "FLUSHDB"),
    (1, "FLUSHALL"),
    (8, "MULTI"),
    (8, "EXEC"),
    (2, "DISCARD"),
    (5, "WATCH {keys}"),
    (1, "UNWATCH"),
    (2, "PING"),
    (2, "PING {value}"),
    (2, "ECHO {value}"),
    (1, "RESET"),
    (3, "NOSUCHCOMMAND {value} {key}"),
];

/// How two replies to the same command are held against each other.
#[derive(Clone, Copy, PartialEq)]
enum Equal {
    Bytes,
    /// Integers that may differ by so much, such as times that were counted from each server's own now.
    Near(i64),
    /// Arrays in any order.
    AnyOrder,
}

fn equality(command: &str) -> Equal {
    match command {
        "TTL" | "EXPIRETIME" => Equal::Near(2),
        "PTTL" | "PEXPIRETIME" => Equal::Near(2000),
        // Redis 7.0 counts keys that were set with a deadline in the past until it comes across them.
        "DBSIZE" => Equal::Near(2),
        "KEYS" => Equal::AnyOrder,
        _ => Equal::Bytes,
    }
}

/// Makes commands.
struct Maker {
    rng: Rng,
    total_weight: u64,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        Maker { rng: Rng::seeded(seed), total_weight: TEMPLATES.iter().map(|(weight, _)| weight).sum() }
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.below(from.len() as u64) as usize]
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.rng.below(count) == 0
    }

    fn command(&mut self) -> Vec<Vec<u8>> {
        let mut at = self.rng.below(self.total_weight);
        let mut template = "PING";
        for (weight, candidate) in TEMPLATES {
            if at < *weight {
                template = candidate;
                break;
            }
            at -= weight;
        }
        let mut arguments = Vec::new();
        for word in template.split(' ') {
            match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                Some(name) => self.fill(name, &mut arguments),
                None => arguments.push(word.as_bytes().to_vec()),
            }
        }
        if self.one_in(4) {
            arguments[0].make_ascii_lowercase();
        }
        if self.one_in(DAMAGE_ONE_IN) {
            self.damage(&mut arguments);
        }
        arguments
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
        let choices: &[&str] = match name {
            "setoptions" => &[
                "NX",
                "XX",
                "GET",
                "KEEPTTL",
                "EX {seconds}",
                "PX {milliseconds}",
                "EXAT {at}",
                "PXAT {atms}",
            ],
            "getexoptions" => &["PERSIST", "EX {seconds}", "PX {milliseconds}", "EXAT {at}", "PXAT {atms}"],
            "expireoptions" => &["NX", "XX", "GT", "LT"],
            "copyoptions" => &["REPLACE", "DB {db}"],
            "lcsoptions" => &["LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN {index}"],
            other => panic!("no such placeholder: {other}"),
        };
        let most = if name == "setoptions" || name == "lcsoptions" { 3 } else { 2 };
        for _ in 0..self.rng.below(most + 1) {
            for word in self.pick(choices).split(' ') {
                match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                    Some(inner) => self.fill(inner, out),
                    None => out.push(word.as_bytes().to_vec()),
                }
            }
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

/// The same connection to both servers, and what it has queued since MULTI.
struct Pair {
    ours: Client,
    theirs: Client,
    queued: Vec<Vec<Vec<u8>>>,
}

impl Pair {
    fn connect(ours: &Server, theirs: &Server, resp3: bool) -> Pair {
        let connect = |server: &Server| {
            let client = server.connect();
            if resp3 { client.hello3() } else { client }
        };
        Pair { ours: connect(ours), theirs: connect(theirs), queued: Vec::new() }
    }

    /// Sends one command to both; both replies as printed, and whether they agree.
    fn run(&mut self, command: &[Vec<u8>]) -> (String, String, bool) {
        self.theirs.send(command);
        let (ours, theirs) = (self.ours.cmd(command), self.theirs.reply());
        let name = name_of(command);
        let same_bytes = self.ours.last_raw() == self.theirs.last_raw();
        let agree = match (&ours, &theirs) {
            (Frame::Array(a), Frame::Array(b)) if name == "EXEC" && a.len() == b.len() => {
                let each = self.queued.iter().zip(a.iter().zip(b));
                same_bytes
                    || (a.len() == self.queued.len()
                        && each.into_iter().all(|(queued, (a, b))| alike(queued, a, b)))
            }
            _ => same_bytes || (equality(&name) != Equal::Bytes && alike(command, &ours, &theirs)),
        };
        if theirs == Frame::Simple("QUEUED".to_owned()) {
            self.queued.push(command.to_vec());
        } else if matches!(name.as_str(), "EXEC" | "DISCARD" | "RESET") {
            self.queued.clear();
        }
        let excused = agree || is_deliberate(command, &ours, &theirs);
        (shorten(&ours), shorten(&theirs), excused)
    }
}

fn name_of(command: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&command[0]).to_ascii_uppercase()
}

/// Whether two replies to one command may stand for each other.
fn alike(command: &[Vec<u8>], ours: &Frame, theirs: &Frame) -> bool {
    equal(equality(&name_of(command)), ours, theirs) || is_deliberate(command, ours, theirs)
}

fn equal(how: Equal, ours: &Frame, theirs: &Frame) -> bool {
    match (how, ours, theirs) {
        (Equal::Near(by), Frame::Integer(a), Frame::Integer(b)) if *a >= 0 && *b >= 0 => {
            a.abs_diff(*b) <= by as u64
        }
        (Equal::AnyOrder, Frame::Array(a), Frame::Array(b)) => {
            let sorted = |items: &[Frame]| {
                let mut printed: Vec<String> = items.iter().map(Frame::to_string).collect();
                printed.sort();
                printed
            };
            sorted(a) == sorted(b)
        }
        _ => ours == theirs,
    }
}

fn is_deliberate(command: &[Vec<u8>], ours: &Frame, theirs: &Frame) -> bool {
    let line = print_command(command).to_ascii_uppercase();
    DIFFERENCES.iter().any(|known| {
        assert!(!known.reason.is_empty());
        line.starts_with(known.command)
            && ours.to_string().contains(known.ours)
            && theirs.to_string().contains(known.theirs)
    })
}

fn shorten(frame: &Frame) -> String {
    let mut text = frame.to_string();
    if let Some((cut, _)) = text.char_indices().nth(300) {
        text.truncate(cut);
        text.push_str("...");
    }
    text
}

fn print_command(command: &[Vec<u8>]) -> String {
    let printed: Vec<String> = command
        .iter()
        .map(|argument| match argument.iter().all(|byte| byte.is_ascii_graphic()) && !argument.is_empty() {
            true if argument.len() > 300 => format!("<{} bytes>", argument.len()),
            true => String::from_utf8_lossy(argument).into_owned(),
            false => format!("\"{}\"", argument.escape_ascii()),
        })
        .collect();
    printed.join(" ")
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn compare(resp3: bool) {
    if !tool::is_installed("redis-server", &["--version"]) {
        return;
    }
    let seed = setting("LARDER_TEST_SEED", Rng::from_entropy().next_u64() >> 32);
    let commands = setting("LARDER_TEST_COMMANDS", COMMANDS as u64) as usize;
    println!("LARDER_TEST_SEED={seed}");
    let ours = Server::start(&[]);
    let theirs = Server::start_program("redis-server", &[]);
    let mut maker = Maker::new(seed);
    let mut mismatches = Vec::new();
    for _ in 0..commands.div_ceil(SEQUENCE) {
        let mut run = Run { ours: &ours, theirs: &theirs, resp3, history: VecDeque::new() };
        let outcome = run.sequence(&mut maker).and_then(|()| run.final_state());
        mismatches.extend(outcome.err());
    }
    let shown = mismatches.len().min(MISMATCHES_SHOWN);
    assert!(
        mismatches.is_empty(),
        "LARDER_TEST_SEED={seed}: {} sequences differ\n{}",
        mismatches.len(),
        mismatches[..shown].join("\n\n")
    );
}

/// One sequence on both servers, from empty to the comparison of what is left.
struct Run<'a> {
    ours: &'a Server,
    theirs: &'a Server,
    resp3: bool,
    history: VecDeque<String>,
}

impl Run<'_> {
    fn sequence(&mut self, maker: &mut Maker) -> Result<(), String> {
        let mut pairs: Vec<Pair> =
            (0..CONNECTIONS).map(|_| Pair::connect(self.ours, self.theirs, self.resp3)).collect();
        self.step(&mut pairs[0], "setup", &line::split("FLUSHALL"))?;
        for _ in 0..SEQUENCE {
            let at = if maker.one_in(6) { maker.rng.below(CONNECTIONS as u64) as usize } else { 0 };
            let command = maker.command();
            self.step(&mut pairs[at], &at.to_string(), &command)?;
        }
        Ok(())
    }

    /// After a sequence both servers hold the same keys, values and deadlines.
    fn final_state(&mut self) -> Result<(), String> {
        let mut pair = Pair::connect(self.ours, self.theirs, false);
        for db in ["0", "1", "2", "15"] {
            self.step(&mut pair, "end", &line::split(&format!("SELECT {db}")))?;
            self.step(&mut pair, "end", &line::split("KEYS *"))?;
            for key in pair.theirs.line("KEYS *").items() {
                let Frame::Bulk(key) = key else {
                    panic!("KEYS gave {key}");
                };
                for name in ["TYPE", "GET", "PEXPIRETIME"] {
                    self.step(&mut pair, "end", &[name.as_bytes().to_vec(), key.clone()])?;
                }
            }
        }
        Ok(())
    }

    /// Sends one command to both; the error tells the difference and what went before it.
    fn step(&mut self, pair: &mut Pair, connection: &str, command: &[Vec<u8>]) -> Result<(), String> {
        let (ours, theirs, agree) = pair.run(command);
        let line = format!("[{connection}] {}", print_command(command));
        if !agree {
            let before: Vec<&str> = self.history.iter().map(String::as_str).collect();
            return Err(format!("{}\n{line}\n  ours:  {ours}\n  redis: {theirs}", before.join("\n")));
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(format!("{line}  ->  {theirs}"));
        Ok(())
    }
}

#[test]
fn random_commands_answer_as_redis_does_resp2() {
    compare(false);
}

#[test]
fn random_commands_answer_as_redis_does_resp3() {
    compare(true);
}
