//! A blocking client for everything but the throughput load: sends a batch, takes its replies, asks for figures.
//! It must never hold more than one batch outstanding; every wait is bounded by the socket's time limit.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    server::Server,
    wire::{Answer, Expiry, Protocol, broken, key, line, number},
};

/// Longest wait for a byte.
const PATIENCE: Duration = Duration::from_secs(120);
/// Commands in one batch when keys are filled in.
pub const FILL_BATCH: u64 = 500;
/// Deepest nesting of a control reply.
const DEPTH_MAX: usize = 8;

/// What a batch's replies said, added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Values found.
    pub hits: u64,
    /// Keys not found.
    pub misses: u64,
    /// Writes made.
    pub stored: u64,
    /// Writes refused for lack of memory.
    pub out_of_memory: u64,
    /// Other errors.
    pub other: u64,
}

impl Tally {
    /// Counts one reply.
    pub fn count(&mut self, answer: Answer) {
        let field = match answer {
            Answer::Hit(_) => &mut self.hits,
            Answer::Miss => &mut self.misses,
            Answer::Stored => &mut self.stored,
            Answer::OutOfMemory => &mut self.out_of_memory,
            Answer::Other => &mut self.other,
        };
        *field += 1;
    }
}

/// A reply to a control command.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A status, a number or a bulk string, as text; errors keep their `-`.
    Text(String),
    /// An array, or a map laid flat.
    List(Vec<Value>),
}

impl Value {
    /// The text, or nothing for a list.
    pub fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }
}

/// One blocking connection.
pub struct Client {
    stream: TcpStream,
    protocol: Protocol,
    out: Vec<u8>,
    input: Vec<u8>,
    /// Bytes of `input` already taken.
    taken: usize,
    pending: usize,
}

impl Client {
    /// Connects to a server.
    pub fn connect(server: &Server) -> io::Result<Self> {
        let stream = TcpStream::connect(server.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            protocol: server.protocol(),
            out: Vec::new(),
            input: Vec::new(),
            taken: 0,
            pending: 0,
        })
    }

    /// Adds a GET to the batch.
    pub fn get(&mut self, number: u64) {
        self.protocol.get(&mut self.out, &key(number));
        self.pending += 1;
    }

    /// Adds a SET to the batch.
    pub fn set(&mut self, number: u64, value: &[u8], expiry: Expiry) {
        self.protocol.set(&mut self.out, &key(number), value, expiry);
        self.pending += 1;
    }

    /// Sends the batch and hands each reply, in order, to `each`.
    pub fn flush(&mut self, mut each: impl FnMut(usize, Answer)) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        for index in 0..std::mem::take(&mut self.pending) {
            let answer = loop {
                if let Some((answer, length)) = self.protocol.answer(&self.input[self.taken..])? {
                    self.taken += length;
                    break answer;
                }
                self.receive()?;
            };
            each(index, answer);
        }
        Ok(())
    }

    /// Stores the keys `numbers` with `value`, in batches; an error if one is refused.
    pub fn fill(&mut self, numbers: std::ops::Range<u64>, value: &[u8], expiry: Expiry) -> io::Result<()> {
        let mut tally = Tally::default();
        let count = numbers.end - numbers.start;
        for number in numbers.clone() {
            self.set(number, value, expiry);
            if (number + 1 - numbers.start).is_multiple_of(FILL_BATCH) || number + 1 == numbers.end {
                self.flush(|_, answer| tally.count(answer))?;
            }
        }
        if tally.stored == count {
            Ok(())
        } else {
            Err(io::Error::other(format!("filling was refused: {tally:?}")))
        }
    }

    /// Sends one control command (RESP only) and returns its reply.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<Value> {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        self.stream.write_all(request.as_bytes())?;
        loop {
            if let Some((value, length)) = value(&self.input[self.taken..], DEPTH_MAX)? {
                self.taken += length;
                return Ok(value);
            }
            self.receive()?;
        }
    }

    /// The number of keys that the server holds.
    pub fn items(&mut self) -> io::Result<u64> {
        let wrong = |text: &str| io::Error::other(format!("no number of items in {text:?}"));
        if self.protocol == Protocol::Resp {
            let reply = self.ask(&["DBSIZE"])?;
            return reply.text().parse().map_err(|_| wrong(reply.text()));
        }
        self.stream.write_all(b"stats\r\n")?;
        let mut items = None;
        loop {
            let Some((text, length)) = line(&self.input[self.taken..])? else {
                self.receive()?;
                continue;
            };
            let text = String::from_utf8_lossy(text).into_owned();
            self.taken += length;
            if let Some(count) = text.strip_prefix("STAT curr_items ") {
                items = count.parse().ok();
            }
            if text == "END" {
                return items.ok_or_else(|| wrong("stats"));
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        self.input.drain(..std::mem::take(&mut self.taken));
        let filled = self.input.len();
        self.input.resize(filled + 65_536, 0);
        let read = self.stream.read(&mut self.input[filled..])?;
        self.input.truncate(filled + read);
        if read == 0 {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
        } else {
            Ok(())
        }
    }
}

/// The first whole reply in `input` and its length.
fn value(input: &[u8], depth_left: usize) -> io::Result<Option<(Value, usize)>> {
    let Some((line, next)) = line(input)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(line).into_owned();
    match line.first() {
        Some(b'+' | b':') => Ok(Some((Value::Text(text[1..].to_owned()), next))),
        Some(b'-') => Ok(Some((Value::Text(text), next))),
        Some(b'$' | b'*') if &line[1..] == b"-1" => Ok(Some((Value::Text(String::new()), next))),
        Some(b'$') => {
            let end = next + number(&line[1..]).ok_or_else(|| broken(input))?;
            let Some(bytes) = input.get(next..end + 2) else {
                return Ok(None);
            };
            Ok(Some((Value::Text(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()), end + 2)))
        }
        Some(b'*') if depth_left > 0 => {
            let mut at = next;
            let mut list = Vec::new();
            for _ in 0..number(&line[1..]).ok_or_else(|| broken(input))? {
                let Some((item, length)) = value(&input[at..], depth_left - 1)? else {
                    return Ok(None);
                };
                list.push(item);
                at += length;
            }
            Ok(Some((Value::List(list), at)))
        }
        _ => Err(broken(input)),
    }
}
