//! The throughput load: a fixed number of connections, each with one batch of `pipeline` requests on the way; the next
//! batch leaves when the last reply of the one before has come, so that every server sees the same batches.
//!
//! GET to SET is 10 to 1, keys are drawn from a normal distribution over the key space (mean in its middle, a sixth of it
//! as standard deviation), values have one size. Replies are checked for their framing and counted, nothing more: the load
//! must be cheaper than the server, or it measures itself.

use std::{
    f64::consts::TAU,
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    client::Tally,
    machine::Usage,
    server::Server,
    traces::Random,
    wire::{Expiry, Protocol, key},
};

/// One in so many requests is a SET.
const SET_EVERY: usize = 11;
/// Keys drawn beforehand and used in turn.
const SAMPLES: usize = 1 << 20;
/// Decides the keys.
const SEED: u64 = 20;
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// The shape of a load.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What tables call it.
    pub name: &'static str,
    /// Connections.
    pub connections: usize,
    /// Requests on the way in each connection.
    pub pipeline: usize,
    /// Bytes of every value.
    pub value_bytes: usize,
    /// Keys in the key space.
    pub keys: u64,
}

/// What one run of a load measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Requests answered per second, in thousands.
    pub kops: f64,
    /// Server CPU time per request, in microseconds.
    pub cpu_us: f64,
    /// Latencies at 50, 99 and 99.9 %, in milliseconds.
    pub latency_ms: [f64; 3],
    /// GETs that found nothing, as a share.
    pub missed: f64,
    /// Share of the two cores that other processes took, in percent.
    pub others_percent: f64,
}

struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    input: Vec<u8>,
    filled: usize,
    outstanding: usize,
    sent_at: Instant,
}

/// What every connection draws its batches from, and adds its replies to.
struct Mix {
    protocol: Protocol,
    pipeline: usize,
    value: Vec<u8>,
    samples: Vec<u32>,
    drawn: usize,
    tally: Tally,
    latency_us: Histogram<u64>,
}

/// A load under way against one server.
pub struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    mix: Mix,
}

impl Load {
    /// Connects and sends the first batches.
    pub fn start(server: &Server, workload: &Workload) -> io::Result<Self> {
        let mut load = Self {
            poll: Poll::new()?,
            connections: Vec::with_capacity(workload.connections),
            mix: Mix {
                protocol: server.protocol(),
                pipeline: workload.pipeline,
                value: vec![b'v'; workload.value_bytes],
                samples: normal_keys(workload.keys),
                drawn: 0,
                tally: Tally::default(),
                latency_us: new_histogram(),
            },
        };
        let reply_bytes = workload.value_bytes + 64;
        for index in 0..workload.connections {
            let mut stream = connect(server.address())?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            load.poll.registry().register(&mut stream, Token(index), interest)?;
            load.connections.push(Connection {
                stream,
                unsent: Vec::new(),
                input: vec![0; workload.pipeline * reply_bytes],
                filled: 0,
                outstanding: 0,
                sent_at: Instant::now(),
            });
        }
        for connection in &mut load.connections {
            connection.send_batch(&mut load.mix)?;
        }
        Ok(load)
    }

    /// Lets the load run for so long without measuring, then measures it for `window`.
    pub fn measure(&mut self, server: &Server, warm_up: Duration, window: Duration) -> io::Result<Measured> {
        self.run_for(warm_up)?;
        self.mix.tally = Tally::default();
        self.mix.latency_us.reset();
        let (started, cpu_before) = (Instant::now(), server.probe().cpu_us()?);
        let usage_before = Usage::now(server.probe())?;
        self.run_for(window)?;
        let (elapsed, cpu_after) = (started.elapsed(), server.probe().cpu_us()?);
        let usage = Usage::now(server.probe())?;
        let tally = self.mix.tally;
        if tally.other + tally.out_of_memory > 0 {
            return Err(io::Error::other(format!("the server answered with errors: {tally:?}")));
        }
        let gets = (tally.hits + tally.misses) as f64;
        let requests = gets + tally.stored as f64;
        let at = |quantile| self.mix.latency_us.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Measured {
            kops: requests / elapsed.as_secs_f64() / 1e3,
            cpu_us: (cpu_after - cpu_before) / requests,
            latency_ms: [at(0.5), at(0.99), at(0.999)],
            missed: tally.misses as f64 / gets,
            others_percent: usage.others_percent(&usage_before, elapsed.as_secs_f64()),
        })
    }

    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        let mut events = Events::with_capacity(1024);
        while Instant::now() < until {
            self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                self.connections[event.token().0].ready(&mut self.mix)?;
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Takes what has come; sends the next batch if this one is complete.
    fn ready(&mut self, mix: &mut Mix) -> io::Result<()> {
        self.send_unsent()?;
        loop {
            let space = self.input.len() - self.filled;
            let read = match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => {
                    return Err(io::Error::other("the server closed a connection, or overran its replies"));
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.filled += read;
            self.take_replies(mix)?;
            if self.outstanding == 0 {
                self.send_batch(mix)?;
            }
            // A short read has emptied the socket: the next byte brings a new event.
            if read < space {
                return Ok(());
            }
        }
    }

    fn take_replies(&mut self, mix: &mut Mix) -> io::Result<()> {
        let (mut taken, mut replies) = (0, 0);
        while let Some((answer, length)) = mix.protocol.answer(&self.input[taken..self.filled])? {
            mix.tally.count(answer);
            taken += length;
            replies += 1;
        }
        self.input.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        if replies > self.outstanding {
            return Err(io::Error::other("the server sent more replies than it got requests"));
        }
        self.outstanding -= replies;
        let waited_us = self.sent_at.elapsed().as_micros() as u64;
        mix.latency_us.saturating_record_n(waited_us, replies as u64);
        Ok(())
    }

    fn send_batch(&mut self, mix: &mut Mix) -> io::Result<()> {
        for _ in 0..mix.pipeline {
            let key = key(u64::from(mix.samples[mix.drawn % SAMPLES]));
            mix.drawn += 1;
            if mix.drawn.is_multiple_of(SET_EVERY) {
                mix.protocol.set(&mut self.unsent, &key, &mix.value, Expiry::Never);
            } else {
                mix.protocol.get(&mut self.unsent, &key);
            }
        }
        self.outstanding = mix.pipeline;
        self.sent_at = Instant::now();
        self.send_unsent()
    }

    fn send_unsent(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.unsent) {
            Ok(sent) if sent == self.unsent.len() => self.unsent.clear(),
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A non-blocking connection without Nagle's delay.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// An empty histogram of microseconds, two significant digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_MAX_US, 2).expect("two digits and this maximum are allowed")
}

/// Key numbers from a normal distribution over `0..keys`, by Box and Muller; what falls outside is drawn again.
fn normal_keys(keys: u64) -> Vec<u32> {
    let mut random = Random::seeded(SEED);
    let (mean, deviation) = (keys as f64 / 2.0, keys as f64 / 6.0);
    let mut samples = Vec::with_capacity(SAMPLES);
    while samples.len() < SAMPLES {
        let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
        let drawn = mean + deviation * radius * (TAU * random.unit()).cos();
        if drawn >= 0.0 && drawn < keys as f64 {
            samples.push(drawn as u32);
        }
    }
    samples
}
