//! Random commands, sent alike to the server under test and to redis-server 7.0: replies must be equal byte for byte.
//!
//! Few keys and few values, so that commands meet each other's results; a share of the commands is damaged (an argument
//! dropped, doubled, replaced), so that error texts and their precedence are compared too. Deadlines lie far away or in
//! the past: nothing expires while a sequence runs, and remaining times are compared with a tolerance.
//!
//! `LARDER_TEST_SEED` repeats a run, `LARDER_TEST_COMMANDS` sets its length. Skipped where redis-server is missing.

mod events;
mod families;
mod maker;
mod scripts;
#[path = "../support/mod.rs"]
mod support;

use families::Family;
use larder::base::rng::Rng;
use maker::Maker;
use std::collections::VecDeque;
use std::env;
use support::client::Client;
use support::frame::Frame;
use support::line;
use support::server::Server;
use support::tool;

/// Commands per family and protocol, unless `LARDER_TEST_COMMANDS` says otherwise.
const COMMANDS: usize = 10_000;
/// Commands after which both servers are emptied and all connections are made anew.
const SEQUENCE: usize = 400;
/// Connections per server; more than one, so that WATCH is disturbed by others.
const CONNECTIONS: usize = 3;
/// Commands printed before a mismatch.
const HISTORY: usize = 20;
/// Mismatches printed; there is at most one a sequence.
const MISMATCHES_SHOWN: usize = 5;

/// What tells everything of a key, whatever its type.
const CONTENTS: &[&str] = &[
    "TYPE",
    "PEXPIRETIME",
    "GET",
    "HGETALL",
    "LRANGE 0 -1",
    "SMEMBERS",
    "ZRANGE 0 -1 WITHSCORES",
    "XRANGE - +",
];

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

/// Bounds that are low enough for every form of a collection to be met, the same for both servers.
const BOUNDS: &[&str] = &[
    "--hash-max-listpack-entries",
    "4",
    "--zset-max-listpack-entries",
    "4",
    "--set-max-intset-entries",
    "4",
    "--list-max-listpack-size",
    "4",
];

/// Deliberate differences; a mismatch that is not listed here is a bug.
const DIFFERENCES: &[Difference] = &[
    Difference {
        command: "OBJECT ENCODING",
        ours: "\"int\"",
        theirs: "\"embstr\"",
        reason: "INCRBYFLOAT leaves text in Redis even where it reads as an integer; here what reads as one is one",
    },
    Difference {
        command: "OBJECT ENCODING",
        ours: "\"listpack\"",
        theirs: "\"quicklist\"",
        reason: "small lists are listpacks since 7.2",
    },
    Difference {
        command: "OBJECT ENCODING",
        ours: "\"listpack\"",
        theirs: "\"hashtable\"",
        reason: "small sets are listpacks since 7.2",
    },
    Difference {
        command: "OBJECT ENCODING",
        ours: "\"listpack\"",
        theirs: "\"skiplist\"",
        reason: "SORT turns a small sorted set into a large one in Redis; here it changes nothing",
    },
    Difference {
        command: "SORT",
        ours: "\\x00",
        theirs: "",
        reason: "SORT ALPHA compares texts up to their first NUL in Redis; here all of them counts",
    },
    Difference {
        command: "SORT",
        ours: "",
        theirs: "\\x00",
        reason: "the same, where LIMIT has cut the text with the NUL off",
    },
    Difference {
        command: "L",
        ours: "-ERR value is out of range, value must between -9223372036854775807",
        theirs: "",
        reason: "since 7.2 LREM and LPOS refuse the one count that has no opposite",
    },
    Difference {
        command: "BITCOUNT",
        ours: "-ERR",
        theirs: "",
        reason: "since 7.2 the range is read before the key is looked at",
    },
    Difference {
        command: "XREAD",
        ours: "-ERR Unbalanced 'xread",
        theirs: "-ERR Unbalanced XREAD",
        reason: "since 7.2 the command's name is quoted",
    },
    Difference {
        command: "XGROUP CREATECONSUMER",
        ours: "0",
        theirs: "1",
        reason: "since 7.2 XREADGROUP makes the consumer even if it finds nothing for it",
    },
    Difference {
        command: "B",
        ours: "-ERR timeout is out of range",
        theirs: "-ERR timeout is negative",
        reason: "Redis 7.0 lets a long timeout run over",
    },
    Difference {
        command: "BITPOS",
        ours: "-ERR",
        theirs: "",
        reason: "since 7.2 the range is read before the key is looked at",
    },
];

/// How two replies to the same command are held against each other.
#[derive(Clone, Copy, PartialEq)]
enum Equal {
    Bytes,
    /// Integers that may differ by so much, such as times that were counted from each server's own now.
    Near(i64),
    /// Arrays in any order.
    AnyOrder,
    /// What is drawn at random: replies of the same kind and length.
    Drawn,
    /// Texts of the same double, of which 7.2 and later write the shortest.
    Doubles,
}

fn equality(command: &str) -> Equal {
    match command {
        "TTL" | "EXPIRETIME" => Equal::Near(2),
        "PTTL" | "PEXPIRETIME" => Equal::Near(2000),
        // Redis 7.0 counts keys that were set with a deadline in the past until it comes across them.
        "DBSIZE" => Equal::Near(2),
        "KEYS" | "HGETALL" | "HKEYS" | "HVALS" | "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "HSCAN"
        | "SSCAN" | "ZSCAN" | "SPOP" => Equal::AnyOrder,
        // Places that are equally far but for the last bit.
        "GEOSEARCH" | "GEORADIUS" | "GEORADIUSBYMEMBER" | "GEORADIUS_RO" | "GEORADIUSBYMEMBER_RO" => {
            Equal::AnyOrder
        }
        "HRANDFIELD" | "SRANDMEMBER" | "ZRANDMEMBER" => Equal::Drawn,
        name if name.starts_with('Z') || name.starts_with("BZ") => Equal::Doubles,
        _ => Equal::Bytes,
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
    let name = name_of(command);
    // A cursor that was made up is another place in another order.
    let made_up = matches!(name.as_str(), "HSCAN" | "SSCAN" | "ZSCAN")
        && command.get(2).is_some_and(|cursor| cursor != b"0");
    let how = if made_up { Equal::Drawn } else { equality(&name) };
    equal(how, ours, theirs) || is_deliberate(command, ours, theirs)
}

fn equal(how: Equal, ours: &Frame, theirs: &Frame) -> bool {
    match (how, ours, theirs) {
        (Equal::Near(by), Frame::Integer(a), Frame::Integer(b)) if *a >= 0 && *b >= 0 => {
            a.abs_diff(*b) <= by as u64
        }
        (Equal::AnyOrder, ours, theirs) => unordered(ours) == unordered(theirs),
        (Equal::Drawn, Frame::Array(a), Frame::Array(b)) => a.len() == b.len(),
        (Equal::Drawn, Frame::Bulk(_), Frame::Bulk(_)) => true,
        (Equal::Doubles, ours, theirs) => shortest(ours) == shortest(theirs),
        _ => ours == theirs,
    }
}

/// What stands in a reply, whatever the order: cursors and pairs of fields and values lose theirs, too.
fn unordered(frame: &Frame) -> (std::mem::Discriminant<Frame>, Vec<String>) {
    let mut printed: Vec<String> = match frame {
        Frame::Array(items) | Frame::Set(items) => {
            items.iter().flat_map(|item| unordered(&shortest(item)).1).collect()
        }
        Frame::Map(pairs) => pairs.iter().map(|(field, value)| format!("{field} {value}")).collect(),
        other => vec![other.to_string()],
    };
    printed.sort();
    (std::mem::discriminant(frame), printed)
}

/// Digits of a whole number from which on Redis 7.0 writes a double with an exponent, and 7.4 in full.
const EXPONENT_DIGITS: usize = 17;

/// The reply with the shortest text of every double with a fraction, or of so many digits.
fn shortest(frame: &Frame) -> Frame {
    let short = |text: &str| text.parse::<f64>().map_or_else(|_| text.to_owned(), |value| value.to_string());
    match frame {
        Frame::Array(items) => Frame::Array(items.iter().map(shortest).collect()),
        Frame::Double(text) => Frame::Double(short(text)),
        Frame::Bulk(bytes)
            if bytes.contains(&b'.') || bytes.contains(&b'+') || bytes.len() >= EXPONENT_DIGITS =>
        {
            std::str::from_utf8(bytes)
                .map_or_else(|_| frame.clone(), |text| Frame::Bulk(short(text).into_bytes()))
        }
        other => other.clone(),
    }
}

fn is_deliberate(command: &[Vec<u8>], ours: &Frame, theirs: &Frame) -> bool {
    let line = print_command(command).to_ascii_uppercase();
    // As said above, there may be a consumer more; and since 7.4 the lag is told in more cases.
    if line.starts_with("XINFO GROUPS") && beside_lag(ours) == beside_lag(theirs) {
        return true;
    }
    DIFFERENCES.iter().any(|known| {
        assert!(!known.reason.is_empty());
        line.starts_with(known.command)
            && ours.to_string().contains(known.ours)
            && theirs.to_string().contains(known.theirs)
    })
}

/// A reply of XINFO GROUPS without how many consumers there are, and without the lag.
fn beside_lag(groups: &Frame) -> Vec<Vec<(Frame, Frame)>> {
    let Frame::Array(groups) = groups else { return Vec::new() };
    let others = |group: &Frame| {
        let fields = group.pairs().into_iter();
        fields.filter(|(name, _)| !matches!(&*name.text(), "consumers" | "lag")).collect()
    };
    groups.iter().map(others).collect()
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

fn compare(family: &'static Family, resp3: bool) {
    if !tool::is_installed("redis-server", &["--version"]) {
        return;
    }
    let seed = setting("LARDER_TEST_SEED", Rng::from_entropy().next_u64() >> 32);
    let commands = setting("LARDER_TEST_COMMANDS", COMMANDS as u64) as usize;
    println!("LARDER_TEST_SEED={seed}");
    let ours = Server::start(BOUNDS);
    let theirs = Server::start_program("redis-server", BOUNDS);
    let mut maker = Maker::new(seed, family);
    let mut mismatches = Vec::new();
    for _ in 0..commands.div_ceil(SEQUENCE) {
        let mut run = Run { ours: &ours, theirs: &theirs, resp3, history: VecDeque::new() };
        let outcome = run.sequence(&mut maker).and_then(|()| run.final_state());
        mismatches.extend(outcome.err());
    }
    let shown = mismatches.len().min(MISMATCHES_SHOWN);
    assert!(
        mismatches.is_empty(),
        "LARDER_TEST_SEED={seed}: {} sequences of {} differ\n{}",
        mismatches.len(),
        family.name,
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
                for line in CONTENTS {
                    let mut command = line::split(line);
                    command.insert(1, key.clone());
                    self.step(&mut pair, "end", &command)?;
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
fn strings_answer_as_redis_does() {
    compare(&families::STRINGS, false);
    compare(&families::STRINGS, true);
}

#[test]
fn hashes_answer_as_redis_does() {
    compare(&families::HASHES, false);
    compare(&families::HASHES, true);
}

#[test]
fn lists_answer_as_redis_does() {
    compare(&families::LISTS, false);
    compare(&families::LISTS, true);
}

#[test]
fn sets_answer_as_redis_does() {
    compare(&families::SETS, false);
    compare(&families::SETS, true);
}

#[test]
fn sorted_sets_answer_as_redis_does() {
    compare(&families::SORTED_SETS, false);
    compare(&families::SORTED_SETS, true);
}

#[test]
fn bitmaps_answer_as_redis_does() {
    compare(&families::BITMAPS, false);
    compare(&families::BITMAPS, true);
}

#[test]
fn hyperloglogs_answer_as_redis_does() {
    compare(&families::HYPERLOGLOGS, false);
    compare(&families::HYPERLOGLOGS, true);
}

#[test]
fn places_answer_as_redis_does() {
    compare(&families::PLACES, false);
    compare(&families::PLACES, true);
}

#[test]
fn streams_answer_as_redis_does() {
    compare(&families::STREAMS, false);
    compare(&families::STREAMS, true);
}
