//! A blocking connection of the command-line tool to a server: one command at a time, every reply read whole. Every step
//! has a time limit and every reply a longest length; nothing is tried again.

use crate::cli::probe::{self, Endpoint, Stream};
use crate::resp::frame::{self, Frame};
use std::time::Duration;

/// Longest reply that is read, in bytes: the nodes of the largest cluster take a tenth.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// How to reach a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Password; empty for none.
    pub password: String,
    /// Limit of each step: connecting, each write, each read.
    pub timeout: Duration,
}

/// A connection.
pub struct Link {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

impl Link {
    /// Connects, and gives the password if there is one. The error is one line for people.
    pub fn open(target: &Target) -> Result<Self, String> {
        let stream: Box<dyn Stream> = match &target.endpoint {
            Endpoint::Tcp(host, port) => Box::new(probe::connect(host, *port, target.timeout)?),
            Endpoint::Unix(path) => Box::new(probe::connect_unix(path, target.timeout)?),
        };
        let mut link = Self { stream, unread: Vec::new() };
        if !target.password.is_empty() {
            let refused = |why| format!("the server refuses the password: {why}");
            link.ask(&["AUTH", &target.password]).map_err(refused)?;
        }
        Ok(link)
    }

    /// Sends a command and reads its reply; an error reply is an error.
    pub fn ask(&mut self, words: &[&str]) -> Result<Frame, String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let sent = self.stream.write_all(request.as_bytes());
        sent.map_err(|error| format!("cannot send to the server: {error}"))?;
        match self.reply()? {
            Frame::Error(line) => Err(String::from_utf8_lossy(&line).into_owned()),
            frame => Ok(frame),
        }
    }

    /// As [`Link::ask`], where the reply is text.
    pub fn ask_text(&mut self, words: &[&str]) -> Result<String, String> {
        text_of(&self.ask(words)?)
            .ok_or_else(|| String::from("the server answers with something else than text"))
    }

    fn reply(&mut self) -> Result<Frame, String> {
        loop {
            match frame::decode(&self.unread) {
                Ok(Some((frame, length))) => {
                    self.unread.drain(..length);
                    return Ok(frame);
                }
                Ok(None) if self.unread.len() < REPLY_BYTES_MAX => {}
                Ok(None) => return Err(format!("the server's reply is longer than {REPLY_BYTES_MAX} bytes")),
                Err(_) => return Err(String::from("the server's reply is none: it speaks another protocol")),
            }
            let before = self.unread.len();
            self.unread.resize(before + READ_BYTES, 0);
            let read = self.stream.read(&mut self.unread[before..]);
            self.unread.truncate(before + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(String::from("the server closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(format!("the server does not answer: {error}")),
            }
        }
    }
}

/// The text of a reply, if it is text.
pub fn text_of(frame: &Frame) -> Option<String> {
    match frame {
        Frame::Simple(text) | Frame::Bulk(text) | Frame::Verbatim { text, .. } => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
        Frame::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
