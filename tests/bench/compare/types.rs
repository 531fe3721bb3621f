//! `types`: server CPU time per command and bytes per element for hashes, lists, sets, sorted sets and streams, beside
//! redis-server.
//!
//! Each command has fresh, filled servers. The load sends a pipeline on each of its connections in turn and then takes
//! all replies, so that the server has many sockets ready at a time. It must never keep a reply: framing is checked.

use std::{
    io::{self, Read, Write},
    iter,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Options,
    report::{Table, median, progress, title, verdict},
    server::Server,
    system::{Kind, System},
    traces::Random,
    wire::{broken, line, number},
};

/// Connections, and commands that each sends at a time.
const CONNECTIONS: usize = 20;
const PIPELINE: usize = 16;
/// Keys with a short string each.
pub const STRINGS: u64 = 100_000;
/// Members of the large collections.
const MEMBERS: u64 = 1_000_000;
/// Small hashes, with so many fields each.
const HASHES: u64 = 100_000;
const FIELDS: u64 = 10;
/// Lists, with so many elements each.
const LISTS: u64 = 1000;
const ELEMENTS: u64 = 1000;
/// Lists whose memory is measured: so many that what a process touches once, half a megabyte of its program file with it,
/// is no part of an element's.
const MANY_LISTS: u64 = 10_000;
/// Elements of each list that is to be emptied: more than any server takes out while it is measured, since taking from
/// a list that is gone costs next to nothing.
const ELEMENTS_TO_TAKE: u64 = 6000;
const STREAMS: u64 = 100;
/// A library with one function, which reads a string.
const FUNCTION: &str = "#!lua name=bench
redis.register_function('get', function(keys) return redis.call('GET', keys[1]) end)";
/// The most that a command may cost as a multiple of Redis's, and a collection may take as one of Redis's.
const CPU_GOAL: f64 = 0.7;
const MEMORY_GOAL: f64 = 1.0;
const WARM_UP: Duration = Duration::from_millis(300);
const SETTLE: Duration = Duration::from_millis(1000);
const PATIENCE: Duration = Duration::from_secs(120);

/// What a server is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// Nothing at all.
    Nothing,
    /// Strings of 20 bytes under `key:<n>`, [`STRINGS`] of them.
    Strings,
    /// The same strings, and a function `get` that reads one.
    Function,
    /// Small hashes.
    Hashes,
    /// Lists.
    Lists,
    /// Ten times as many.
    ManyLists,
    /// Lists that are to be emptied.
    LongLists,
    /// A large set.
    Set,
    /// A large sorted set.
    SortedSet,
}

/// A command under load.
pub struct Work {
    /// What the table calls it.
    pub name: &'static str,
    /// What the server holds before.
    pub filling: Filling,
    /// Writes one request.
    pub command: fn(&mut Random, &mut Vec<u8>),
}

const WORKS: [Work; 12] = [
    // What none of the others can cost less than.
    Work { name: "PING", filling: Filling::Nothing, command: |_, out| write(out, &["PING"]) },
    Work {
        name: "HSET",
        filling: Filling::Hashes,
        command: |random, out| {
            let (hash, field) = (random.below(HASHES), random.below(FIELDS));
            write(out, &["HSET", &format!("hash:{hash}"), &format!("field:{field}"), "a value of 20 bytes "]);
        },
    },
    Work {
        name: "HGET",
        filling: Filling::Hashes,
        command: |random, out| {
            let (hash, field) = (random.below(HASHES), random.below(FIELDS));
            write(out, &["HGET", &format!("hash:{hash}"), &format!("field:{field}")]);
        },
    },
    Work {
        name: "LPUSH",
        filling: Filling::Nothing,
        command: |random, out| {
            write(out, &["LPUSH", &format!("list:{}", random.below(LISTS)), "an element of 24 bytes.."]);
        },
    },
    Work {
        name: "RPOP",
        filling: Filling::LongLists,
        command: |random, out| write(out, &["RPOP", &format!("list:{}", random.below(LISTS))]),
    },
    Work {
        name: "LRANGE 100",
        filling: Filling::Lists,
        command: |random, out| write(out, &["LRANGE", &format!("list:{}", random.below(LISTS)), "0", "99"]),
    },
    Work {
        name: "SADD",
        filling: Filling::Set,
        command: |random, out| {
            write(out, &["SADD", "set", &format!("member:{:08}", random.below(2 * MEMBERS))])
        },
    },
    Work {
        name: "SISMEMBER",
        filling: Filling::Set,
        command: |random, out| {
            write(out, &["SISMEMBER", "set", &format!("member:{:08}", random.below(2 * MEMBERS))]);
        },
    },
    Work {
        name: "ZADD",
        filling: Filling::SortedSet,
        command: |random, out| {
            let (score, member) = (random.below(1 << 32), random.below(MEMBERS));
            write(out, &["ZADD", "zset", &score.to_string(), &format!("member:{member:08}")]);
        },
    },
    Work {
        name: "ZRANK",
        filling: Filling::SortedSet,
        command: |random, out| {
            write(out, &["ZRANK", "zset", &format!("member:{:08}", random.below(MEMBERS))])
        },
    },
    Work {
        name: "ZRANGE 100",
        filling: Filling::SortedSet,
        command: |random, out| {
            let first = random.below(MEMBERS - 100);
            write(out, &["ZRANGE", "zset", &first.to_string(), &(first + 99).to_string()]);
        },
    },
    Work {
        name: "XADD",
        filling: Filling::Nothing,
        command: |random, out| {
            let stream = format!("stream:{}", random.below(STREAMS));
            write(out, &["XADD", &stream, "*", "sensor", "1234", "temperature", "19.8"]);
        },
    },
];

/// Runs every command and prints the tables.
pub fn run(options: &Options) -> io::Result<()> {
    let systems = measure_all(options, "Types", &WORKS, CPU_GOAL)?;
    if options.workloads.is_empty() { memory(&systems) } else { Ok(()) }
}

/// Measures the server CPU time of each command and prints the table; gives the systems.
pub fn measure_all(options: &Options, section: &str, works: &[Work], goal: f64) -> io::Result<Vec<System>> {
    title(&format!("{section}: server CPU time per command, pipeline 16, server on one core"));
    let systems = System::available(&options.chosen(&[Kind::Larder, Kind::Redis]));
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let seconds = options.seconds.unwrap_or(if options.quick { 0.7 } else { 3.0 });
    let mut header = vec!["command"];
    header.extend(systems.iter().map(|system| system.name));
    header.push("ratio");
    let mut table = Table::new(&header);
    let mut verdicts = Vec::new();
    for work in works {
        if !options.workloads.is_empty() && !options.workloads.iter().any(|name| name == work.name) {
            continue;
        }
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); systems.len()];
        for _ in 0..rounds {
            for (system, figures) in systems.iter().zip(&mut figures) {
                let cpu_us = measure(system, work, Duration::from_secs_f64(seconds))?;
                progress(&format!("{}: {} {cpu_us:.3} µs", work.name, system.name));
                figures.push(cpu_us);
            }
        }
        row(&mut table, &mut verdicts, work.name, &systems, &figures, 3, goal);
    }
    table.print();
    verdicts.into_iter().for_each(|(what, measured, goal)| verdict(&what, measured, goal));
    Ok(systems)
}

/// Bytes of resident memory that each filling takes.
fn memory(systems: &[System]) -> io::Result<()> {
    title("Types: resident memory per element");
    let mut header = vec!["filling"];
    header.extend(systems.iter().map(|system| system.name));
    header.push("ratio");
    let mut table = Table::new(&header);
    let mut verdicts = Vec::new();
    for filling in [Filling::Hashes, Filling::ManyLists, Filling::Set, Filling::SortedSet] {
        let mut figures = Vec::new();
        for system in systems {
            let server = Server::start(system, None, 0)?;
            thread::sleep(SETTLE);
            let before = server.probe().resident_bytes()?;
            let mut load = Load::connect(&server, 1)?;
            let elements = load.fill(filling)?;
            thread::sleep(SETTLE);
            let grown = server.probe().resident_bytes()?.saturating_sub(before);
            figures.push(vec![grown as f64 / elements as f64]);
        }
        let name = format!("{filling:?}, bytes per element");
        row(&mut table, &mut verdicts, &name, systems, &figures, 1, MEMORY_GOAL);
    }
    table.print();
    verdicts.into_iter().for_each(|(what, measured, goal)| verdict(&what, measured, goal));
    Ok(())
}

fn row(
    table: &mut Table,
    verdicts: &mut Vec<(String, f64, f64)>,
    name: &str,
    systems: &[System],
    figures: &[Vec<f64>],
    digits: usize,
    goal: f64,
) {
    let medians: Vec<f64> = figures.iter().map(|figures| median(figures.iter().copied())).collect();
    let mut cells = vec![name.to_owned()];
    cells.extend(medians.iter().map(|median| format!("{median:.digits$}")));
    let of = |kind| systems.iter().position(|system| system.kind == kind).map(|at| medians[at]);
    match (of(Kind::Larder), of(Kind::Redis)) {
        (Some(ours), Some(theirs)) => {
            cells.push(format!("{:.2}", ours / theirs));
            verdicts.push((format!("{name}, against redis"), ours / theirs, goal));
        }
        _ => cells.push(String::from("-")),
    }
    table.row(cells);
}

fn measure(system: &System, work: &Work, window: Duration) -> io::Result<f64> {
    let server = Server::start(system, None, 0)?;
    Load::connect(&server, 1)?.fill(work.filling)?;
    let mut load = Load::connect(&server, CONNECTIONS)?;
    let mut random = Random::seeded(7);
    load.run_for(WARM_UP, work, &mut random)?;
    let before_us = server.probe().cpu_us()?;
    let commands = load.run_for(window, work, &mut random)?;
    Ok((server.probe().cpu_us()? - before_us) / commands as f64)
}

/// Connections to one server.
struct Load {
    streams: Vec<TcpStream>,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Load {
    fn connect(server: &Server, connections: usize) -> io::Result<Self> {
        let connect = |_| {
            let stream = TcpStream::connect(server.address())?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let streams = (0..connections).map(connect).collect::<io::Result<_>>()?;
        Ok(Self { streams, out: Vec::new(), input: vec![0; 1 << 20] })
    }

    /// Sends pipelines for so long; gives the number of commands that were answered.
    fn run_for(&mut self, time: Duration, work: &Work, random: &mut Random) -> io::Result<u64> {
        let until = Instant::now() + time;
        let mut commands = 0;
        while Instant::now() < until {
            for at in 0..self.streams.len() {
                self.out.clear();
                (0..PIPELINE).for_each(|_| (work.command)(random, &mut self.out));
                self.streams[at].write_all(&self.out)?;
            }
            for at in 0..self.streams.len() {
                self.take(at, PIPELINE)?;
            }
            commands += (self.streams.len() * PIPELINE) as u64;
        }
        Ok(commands)
    }

    /// Takes so many replies.
    fn take(&mut self, at: usize, replies: usize) -> io::Result<()> {
        let (mut filled, mut taken, mut missing) = (0, 0, replies);
        while missing > 0 {
            if filled == self.input.len() {
                return Err(io::Error::other("replies are longer than expected"));
            }
            let read = self.streams[at].read(&mut self.input[filled..])?;
            if read == 0 {
                return Err(io::Error::other("the server closed the connection"));
            }
            filled += read;
            while missing > 0
                && let Some(length) = reply(&self.input[taken..filled])?
            {
                taken += length;
                missing -= 1;
            }
        }
        Ok(())
    }

    /// Fills the server; gives the number of elements.
    fn fill(&mut self, filling: Filling) -> io::Result<u64> {
        let mut random = Random::seeded(1);
        let text = "a value of 20 bytes ";
        match filling {
            Filling::Nothing => Ok(0),
            Filling::Strings => {
                let words = |key| vec![String::from("SET"), format!("key:{key}"), text.to_owned()];
                self.send_all((0..STRINGS).map(words))?;
                Ok(STRINGS)
            }
            Filling::Function => {
                let words = ["FUNCTION", "LOAD", "REPLACE", FUNCTION].map(str::to_owned);
                self.send_all(iter::once(words.to_vec()))?;
                self.fill(Filling::Strings)
            }
            Filling::Hashes => {
                let commands = (0..HASHES).map(|hash| {
                    let mut words = vec![String::from("HSET"), format!("hash:{hash}")];
                    words.extend((0..FIELDS).flat_map(|field| [format!("field:{field}"), text.to_owned()]));
                    words
                });
                self.send_all(commands)?;
                Ok(HASHES * FIELDS)
            }
            Filling::Lists => self.fill_lists(LISTS, ELEMENTS),
            Filling::ManyLists => self.fill_lists(MANY_LISTS, ELEMENTS),
            Filling::LongLists => self.fill_lists(LISTS, ELEMENTS_TO_TAKE),
            Filling::Set => {
                let words =
                    |member| vec![String::from("SADD"), String::from("set"), format!("member:{member:08}")];
                self.send_all((0..MEMBERS).map(words))?;
                Ok(MEMBERS)
            }
            Filling::SortedSet => {
                let commands = (0..MEMBERS).map(|member| {
                    let score = random.below(1 << 32).to_string();
                    vec![String::from("ZADD"), String::from("zset"), score, format!("member:{member:08}")]
                });
                self.send_all(commands)?;
                Ok(MEMBERS)
            }
        }
    }

    fn fill_lists(&mut self, lists: u64, elements: u64) -> io::Result<u64> {
        let commands = (0..lists).flat_map(|list| {
            (0..elements / 100).map(move |_| {
                let mut words = vec![String::from("RPUSH"), format!("list:{list}")];
                words.extend((0..100).map(|_| String::from("an element of 24 bytes..")));
                words
            })
        });
        self.send_all(commands)?;
        Ok(lists * elements)
    }

    fn send_all(&mut self, commands: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
        let mut pending = 0;
        self.out.clear();
        for words in commands {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            write(&mut self.out, &words);
            pending += 1;
            if pending == 200 {
                self.streams[0].write_all(&self.out)?;
                self.out.clear();
                self.take(0, std::mem::take(&mut pending))?;
            }
        }
        self.streams[0].write_all(&self.out)?;
        self.take(0, pending)
    }
}

/// Appends a request.
pub fn write(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// Length of the whole reply at the start of `input`, nothing while it is not whole.
fn reply(input: &[u8]) -> io::Result<Option<usize>> {
    let (mut at, mut missing) = (0, 1);
    while missing > 0 {
        let Some((text, length)) = line(&input[at..])? else { return Ok(None) };
        at += length;
        missing -= 1;
        match text.first() {
            Some(b'+' | b':') => {}
            Some(b'$') if &text[1..] != b"-1" => {
                at += number(&text[1..]).ok_or_else(|| broken(input))? + 2;
                if at > input.len() {
                    return Ok(None);
                }
            }
            Some(b'*') if &text[1..] != b"-1" => {
                missing += number(&text[1..]).ok_or_else(|| broken(input))?;
            }
            Some(b'$' | b'*') => {}
            _ => return Err(broken(input)),
        }
    }
    Ok(Some(at))
}
