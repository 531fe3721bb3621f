//! Open traffic: GETs at a fixed rate, whatever the server does. A latency counts from the moment at which its request was
//! due, so that a stall is charged to every request that it held up, not to one.
//! Accuracy: about a tenth of a millisecond, the nap between two rounds.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::net::TcpStream;

use crate::{
    load::{connect, new_histogram},
    server::Server,
    wire::{Answer, Protocol, key},
};

/// Connections that the requests go to in turn.
const CONNECTIONS: usize = 8;
/// Requests per second.
const PER_SECOND: f64 = 10_000.0;
const NAP: Duration = Duration::from_micros(50);

/// Latencies in microseconds, and what went wrong.
pub struct Seen {
    /// Of requests due before the moment that was given.
    pub before_us: Histogram<u64>,
    /// Of the others.
    pub after_us: Histogram<u64>,
    /// Replies that were not a value.
    pub wrong: u64,
}

struct Lane {
    stream: TcpStream,
    input: Vec<u8>,
    unsent: Vec<u8>,
    due: VecDeque<Instant>,
}

/// Sends GETs for the keys `first..first + count` in turn until `stop` is set; tells those due before `boundary` apart.
pub fn run(
    server: &Server,
    first: u64,
    count: u64,
    boundary: Instant,
    stop: &AtomicBool,
) -> io::Result<Seen> {
    let mut seen = Seen { before_us: new_histogram(), after_us: new_histogram(), wrong: 0 };
    let mut lanes = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = connect(server.address())?;
        lanes.push(Lane { stream, input: Vec::new(), unsent: Vec::new(), due: VecDeque::new() });
    }
    let started = Instant::now();
    let mut sent: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        loop {
            let due = started + Duration::from_secs_f64(sent as f64 / PER_SECOND);
            if due > Instant::now() {
                break;
            }
            let lane = &mut lanes[sent as usize % CONNECTIONS];
            server.protocol().get(&mut lane.unsent, &key(first + sent % count));
            lane.due.push_back(due);
            sent += 1;
        }
        for lane in &mut lanes {
            lane.exchange(server.protocol(), boundary, &mut seen)?;
        }
        thread::sleep(NAP);
    }
    // What is still on the way is as late as it is now: leaving it out would hide a stall at the end.
    for due in lanes.iter().flat_map(|lane| &lane.due) {
        seen.record(*due, boundary);
    }
    Ok(seen)
}

impl Seen {
    fn record(&mut self, due: Instant, boundary: Instant) {
        let histogram = if due < boundary { &mut self.before_us } else { &mut self.after_us };
        histogram.saturating_record(due.elapsed().as_micros() as u64);
    }
}

impl Lane {
    fn exchange(&mut self, protocol: Protocol, boundary: Instant, seen: &mut Seen) -> io::Result<()> {
        if !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::Error::other("the server closed a connection")),
                Ok(read) => self.input.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut taken = 0;
        while let Some((answer, length)) = protocol.answer(&self.input[taken..])? {
            taken += length;
            let due = self.due.pop_front().ok_or_else(|| io::Error::other("a reply without a request"))?;
            seen.record(due, boundary);
            seen.wrong += u64::from(!matches!(answer, Answer::Hit(_)));
        }
        self.input.drain(..taken);
        Ok(())
    }
}
