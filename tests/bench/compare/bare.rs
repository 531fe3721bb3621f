//! The bare loop: an event loop without a store, spawned from this same executable. It counts the requests of a batch by
//! skipping over their lengths and answers with replies of the right size: what the kernel and the sockets cost before a
//! server does anything. It must never look at a key, and it makes one read and one write per batch.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

/// First argument that makes this executable the bare loop.
pub const SUBCOMMAND: &str = "bare-loop";
/// Bytes of the one buffer that all connections read into.
const BUFFER_BYTES: usize = 65_536;
const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// The start of a request whose end has not come yet.
    carry: Vec<u8>,
    /// Replies that the socket has not taken yet.
    unsent: Vec<u8>,
}

/// Serves `port` until killed; every GET is answered with `value_bytes` bytes.
pub fn serve(port: u16, value_bytes: usize) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let found = [format!("${value_bytes}\r\n").as_bytes(), &vec![b'v'; value_bytes], b"\r\n"].concat();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut out = Vec::new();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, &mut connections)?;
                continue;
            }
            let place = &mut connections[event.token().0];
            let Some(connection) = place else { continue };
            if connection.serve(&mut buffer, &mut out, &found).is_err() {
                *place = None;
            }
        }
    }
}

fn accept(poll: &Poll, listener: &TcpListener, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let token = Token(connections.len());
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        connections.push(Some(Connection { stream, carry: Vec::new(), unsent: Vec::new() }));
    }
}

impl Connection {
    /// Reads what there is, answers every whole request in one write; an error ends the connection.
    fn serve(&mut self, buffer: &mut [u8], out: &mut Vec<u8>, found: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let mut unsent = std::mem::take(&mut self.unsent);
            self.send(&mut unsent)?;
        }
        loop {
            let carried = self.carry.len();
            buffer[..carried].copy_from_slice(&self.carry);
            self.carry.clear();
            let read = match self.stream.read(&mut buffer[carried..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.carry.extend_from_slice(&buffer[..carried]);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let input = &buffer[..carried + read];
            let mut taken = 0;
            while let Some((arguments, length)) = request(&input[taken..]) {
                out.extend_from_slice(if arguments == 2 { found } else { b"+OK\r\n" });
                taken += length;
            }
            self.carry.extend_from_slice(&input[taken..]);
            self.send(out)?;
            // A short read has emptied the socket: the next byte brings a new event.
            if read < buffer.len() - carried {
                return Ok(());
            }
        }
    }

    /// Writes `out` once and empties it; what the socket does not take waits for its next event.
    fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let sent = match self.stream.write(out) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.unsent.extend_from_slice(&out[sent..]);
        out.clear();
        Ok(())
    }
}

/// Arguments and length of the first request in `input`; `None` while it is incomplete.
fn request(input: &[u8]) -> Option<(usize, usize)> {
    let (arguments, mut at) = header(input)?;
    for _ in 0..arguments {
        let (length, digits) = header(input.get(at..)?)?;
        at += digits + length + 2;
    }
    (at <= input.len()).then_some((arguments, at))
}

/// The number of a `*N` or `$N` line and the line's length.
fn header(input: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in input.iter().enumerate().skip(1) {
        match byte {
            b'\r' => return (index + 1 < input.len()).then_some((value, index + 2)),
            digit => value = value * 10 + usize::from(digit.wrapping_sub(b'0')),
        }
    }
    None
}
