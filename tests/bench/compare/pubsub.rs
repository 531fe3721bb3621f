//! `pubsub`: server CPU time per message that a subscriber gets, beside redis-server.
//!
//! One publisher, a thousand subscribers of one channel. Three rhythms: the next message is published when every
//! subscriber has the one before (each delivery is then a write of its own, on any server), the same with 16 messages at
//! a time, or the next as soon as PUBLISH is answered. Every byte is waited for in the end: nothing that was not
//! delivered is counted.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    Options,
    report::{Table, median, progress, title, verdict},
    server::Server,
    system::{Kind, System},
};

const SUBSCRIBERS: usize = 1000;
const PIPELINE: usize = 16;
const MESSAGE: &[u8] = b"invalidate:user:1234:profile....";
const CHANNEL: &str = "news";
/// The most that a delivery may cost as a multiple of Redis's.
const CPU_GOAL: f64 = 0.8;
const WARM_UP: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);
/// The publisher's place among the sockets.
const PUBLISHER: Token = Token(SUBSCRIBERS);

/// When the next message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rhythm {
    Delivered,
    Pipelined,
    Answered,
}

const RHYTHMS: [(Rhythm, &str); 3] = [
    (Rhythm::Delivered, "PUBLISH to 1,000, one at a time"),
    (Rhythm::Pipelined, "PUBLISH to 1,000, 16 at a time"),
    (Rhythm::Answered, "PUBLISH to 1,000, one after the other"),
];

/// Measures both rhythms and prints the table.
pub fn run(options: &Options) -> io::Result<()> {
    title("Publish and subscribe: server CPU time per delivered message, server on one core");
    let systems = System::available(&options.chosen(&[Kind::Larder, Kind::Redis]));
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 3 });
    let seconds = options.seconds.unwrap_or(if options.quick { 0.7 } else { 3.0 });
    let mut header = vec!["what"];
    header.extend(systems.iter().map(|system| system.name));
    header.push("ratio");
    let mut table = Table::new(&header);
    let mut verdicts = Vec::new();
    for (rhythm, name) in RHYTHMS {
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); systems.len()];
        for _ in 0..rounds {
            for (system, figures) in systems.iter().zip(&mut figures) {
                let cpu_us = measure(system, rhythm, Duration::from_secs_f64(seconds))?;
                progress(&format!("{name}: {} {cpu_us:.3} µs", system.name));
                figures.push(cpu_us);
            }
        }
        let medians: Vec<f64> = figures.iter().map(|figures| median(figures.iter().copied())).collect();
        let mut cells = vec![format!("{name}, µs")];
        cells.extend(medians.iter().map(|median| format!("{median:.3}")));
        let of = |kind| systems.iter().position(|system| system.kind == kind).map(|at| medians[at]);
        match (of(Kind::Larder), of(Kind::Redis)) {
            (Some(ours), Some(theirs)) => {
                cells.push(format!("{:.2}", ours / theirs));
                verdicts.push((format!("{name}, against redis"), ours / theirs));
            }
            _ => cells.push(String::from("-")),
        }
        table.row(cells);
    }
    table.print();
    verdicts.into_iter().for_each(|(what, ratio)| verdict(&what, ratio, CPU_GOAL));
    Ok(())
}

fn measure(system: &System, rhythm: Rhythm, window: Duration) -> io::Result<f64> {
    let server = Server::start(system, None, 0)?;
    let mut load = Load::connect(&server)?;
    load.run_for(WARM_UP, rhythm)?;
    let before_us = server.probe().cpu_us()?;
    let messages = load.run_for(window, rhythm)?;
    Ok((server.probe().cpu_us()? - before_us) / (messages * SUBSCRIBERS as u64) as f64)
}

/// The subscribers and the publisher of one server.
struct Load {
    poll: Poll,
    events: Events,
    subscribers: Vec<TcpStream>,
    publisher: TcpStream,
    scratch: Vec<u8>,
    request: Vec<u8>,
    frame_bytes: u64,
    /// Bytes that subscribers have got so far.
    received_bytes: u64,
    /// Replies that the publisher has got so far.
    answered: u64,
}

impl Load {
    fn connect(server: &Server) -> io::Result<Self> {
        let poll = Poll::new()?;
        let confirmation = array(&[b"subscribe", CHANNEL.as_bytes()], b":1\r\n");
        let connect = |number: usize| -> io::Result<TcpStream> {
            let mut stream = std::net::TcpStream::connect(server.address())?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            if Token(number) != PUBLISHER {
                stream.write_all(&array(&[b"SUBSCRIBE", CHANNEL.as_bytes()], b""))?;
                stream.read_exact(&mut vec![0; confirmation.len()])?;
            }
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            Ok(stream)
        };
        let subscribers = (0..SUBSCRIBERS).map(connect).collect::<io::Result<_>>()?;
        let publisher = connect(PUBLISHER.0)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(SUBSCRIBERS + 1),
            subscribers,
            publisher,
            scratch: vec![0; 1 << 16],
            request: array(&[b"PUBLISH", CHANNEL.as_bytes(), MESSAGE], b""),
            frame_bytes: array(&[b"message", CHANNEL.as_bytes(), MESSAGE], b"").len() as u64,
            received_bytes: 0,
            answered: 0,
        })
    }

    /// Publishes for so long, and then waits until everything was delivered; gives the number of messages.
    fn run_for(&mut self, time: Duration, rhythm: Rhythm) -> io::Result<u64> {
        let until = Instant::now() + time;
        (self.received_bytes, self.answered) = (0, 0);
        let mut sent = 0;
        while Instant::now() < until {
            let count = if rhythm == Rhythm::Pipelined { PIPELINE } else { 1 };
            self.publisher.write_all(&self.request.repeat(count))?;
            sent += count as u64;
            self.await_all(sent, rhythm)?;
        }
        self.await_all(sent, Rhythm::Delivered)?;
        Ok(sent)
    }

    /// Reads until `sent` messages were answered or, by the other rhythm, delivered as well.
    fn await_all(&mut self, sent: u64, rhythm: Rhythm) -> io::Result<()> {
        let wanted_bytes = sent * SUBSCRIBERS as u64 * self.frame_bytes;
        while self.answered < sent || rhythm != Rhythm::Answered && self.received_bytes < wanted_bytes {
            self.poll.poll(&mut self.events, Some(PATIENCE))?;
            if self.events.is_empty() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "messages are missing"));
            }
            for event in &self.events {
                let token = event.token();
                let stream = self.subscribers.get_mut(token.0).unwrap_or(&mut self.publisher);
                // Less than there was room for means that there is no more.
                loop {
                    let length = match stream.read(&mut self.scratch) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(length) => length,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    };
                    if token == PUBLISHER {
                        let replies = self.scratch[..length].iter().filter(|&&byte| byte == b'\n');
                        self.answered += replies.count() as u64;
                    } else {
                        self.received_bytes += length as u64;
                    }
                    if length < self.scratch.len() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// An array of bulk strings, with one more element behind them if `last` is not empty.
fn array(elements: &[&[u8]], last: &[u8]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", elements.len() + usize::from(!last.is_empty())).into_bytes();
    for element in elements {
        out.extend_from_slice(format!("${}\r\n", element.len()).as_bytes());
        out.extend_from_slice(element);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(last);
    out
}
