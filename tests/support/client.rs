//! A blocking client for tests, RESP2 until told otherwise.
//!
//! Never retries, never reconnects, and gives up after [`REPLY_LIMIT`], so that a test of a server that does not answer
//! fails instead of hanging. Pushes that arrive before a reply are kept in `pushes`, in order.

use super::frame::Frame;
use super::line;
use super::shape;
use std::collections::VecDeque;
use std::io::{BufReader, ErrorKind, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for one reply.
pub const REPLY_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// One connection.
pub struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    raw: Vec<u8>,
    resp3: bool,
    /// Whether each reply to [`cmd`](Self::cmd) must have the shape that the command table declares; for our own server.
    pub holds_shapes: bool,
    /// Push messages (RESP3) that came while a reply was awaited.
    pub pushes: VecDeque<Frame>,
}

impl Client {
    /// Connects; errors are those of the socket.
    pub fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        let reader = BufReader::with_capacity(64 * 1024, stream.try_clone()?);
        Ok(Client {
            stream,
            reader,
            raw: Vec::new(),
            resp3: false,
            holds_shapes: false,
            pushes: VecDeque::new(),
        })
    }

    /// From here on a reply that does not come within `limit` is an error.
    pub fn limit_reading(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("set a read timeout");
    }

    /// Switches to RESP3 by HELLO; panics when the server does not agree.
    #[track_caller]
    pub fn hello3(mut self) -> Client {
        let reply = self.cmd(&["HELLO", "3"]);
        assert!(matches!(reply, Frame::Map(_)), "HELLO 3: {reply}");
        self
    }

    /// Whether the connection speaks RESP3.
    pub fn is_resp3(&self) -> bool {
        self.resp3
    }

    /// Sends one command and waits for its reply.
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Frame {
        self.send(arguments);
        let reply = self.reply();
        self.follow(arguments, &reply);
        if self.holds_shapes {
            shape::hold(arguments, &self.raw, self.resp3);
        }
        reply
    }

    /// Keeps track of the protocol that the server speaks from here on.
    fn follow<A: AsRef<[u8]>>(&mut self, arguments: &[A], reply: &Frame) {
        let is = |at: usize, word: &[u8]| {
            arguments.get(at).is_some_and(|argument| argument.as_ref().eq_ignore_ascii_case(word))
        };
        if is(0, b"HELLO") && arguments.len() > 1 && !reply.is_error() {
            self.resp3 = is(1, b"3");
        } else if is(0, b"RESET") && !reply.is_error() {
            self.resp3 = false;
        }
    }

    /// The same with the command as one line, see [`line::split`].
    #[track_caller]
    pub fn line(&mut self, line: &str) -> Frame {
        self.cmd(&line::split(line))
    }

    /// The reply to `line` must print as `expected`, see [`Frame`].
    #[track_caller]
    pub fn check(&mut self, line: &str, expected: &str) {
        let reply = self.line(line).to_string();
        assert!(reply == expected, "{line}\n  expected: {expected}\n  got:      {reply}");
    }

    /// Each line of `script` that has ` => ` is a [`check`](Self::check), but for spaces at the end of the reply; blank
    /// lines and lines from `#` are skipped.
    #[track_caller]
    pub fn check_all(&mut self, script: &str) {
        for row in script.lines().map(str::trim) {
            if row.is_empty() || row.starts_with('#') {
                continue;
            }
            let (line, expected) = row.split_once(" => ").unwrap_or_else(|| panic!("no ` => ` in {row:?}"));
            let reply = self.line(line.trim()).to_string();
            assert!(reply.trim_end() == expected.trim(), "{row}\n  got: {reply}");
        }
    }

    /// Sends one command and does not wait.
    #[track_caller]
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        self.send_raw(&encode(arguments));
    }

    /// Sends a line's command and does not wait.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(&line::split(line));
    }

    /// The next reply must print as `expected`.
    #[track_caller]
    pub fn expect(&mut self, expected: &str) {
        let reply = self.reply().to_string();
        assert!(reply == expected, "expected: {expected}\n  got:      {reply}");
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send_raw(bytes) {
            panic!("cannot send: {error}");
        }
    }

    /// Sends bytes as they are; for connections that the server may have closed.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply that is not a push.
    #[track_caller]
    pub fn reply(&mut self) -> Frame {
        loop {
            match self.receive() {
                push @ Frame::Push(_) => self.pushes.push_back(push),
                frame => return frame,
            }
        }
    }

    /// The next frame of any kind.
    #[track_caller]
    pub fn receive(&mut self) -> Frame {
        match self.try_receive() {
            Ok(frame) => frame,
            Err(error) => panic!("no reply: {error}"),
        }
    }

    /// The next frame of any kind, or the socket's error; a closed connection is `UnexpectedEof`.
    pub fn try_receive(&mut self) -> Result<Frame> {
        self.raw.clear();
        Frame::read(&mut self.reader, &mut self.raw)
    }

    /// The bytes of the last frame received.
    pub fn last_raw(&self) -> &[u8] {
        &self.raw
    }

    /// Whether the server closes the connection, within [`REPLY_LIMIT`]; frames that come before are dropped.
    pub fn is_closed_by_server(&mut self) -> bool {
        loop {
            match self.try_receive() {
                Ok(_) => {}
                Err(error) => {
                    return matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    );
                }
            }
        }
    }

    /// Says that no more commands come; replies can still be read.
    pub fn shutdown_write(&self) {
        // The server may have closed first, which is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// A command as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let bytes = argument.as_ref();
        out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
    out
}
