//! `larder ping` and `larder healthcheck`: a tiny blocking client, so that a container without a shell can be probed.
//!
//! One connection, one or two commands, one time limit for all of it; never retries.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::peer::seeds::addresses_of;

/// Longest line that is read from the other side, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// Where the server listens for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Host name or address, and port.
    Tcp(String, u16),
    /// Path of a unix socket.
    Unix(PathBuf),
}

/// What is asked of a running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Password; empty for none.
    pub password: String,
    /// Limit of each step: connecting, each write, each read.
    pub timeout: Duration,
    /// For a health check: nothing is printed, a server that wants a password counts as alive, and where the page for
    /// probes is (host and port) it must say that the server is ready.
    pub health: Option<Health>,
}

/// The part of a health check beyond PING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Host and port of `/readyz`; `None` where the server has no such page.
    pub readiness: Option<(String, u16)>,
}

/// What bytes are sent over.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Probe {
    /// Asks; what to print on success, or one line that says what is wrong.
    pub fn run(&self) -> Result<&'static str, String> {
        let stream: Box<dyn Stream> = match &self.endpoint {
            Endpoint::Tcp(host, port) => Box::new(connect(host, *port, self.timeout)?),
            Endpoint::Unix(path) => Box::new(connect_unix(path, self.timeout)?),
        };
        let mut stream = BufReader::new(stream);
        if !self.password.is_empty() {
            let reply = command(&mut stream, &["AUTH", &self.password])?;
            if reply != "+OK" {
                return Err(format!("the server refuses the password: {reply}"));
            }
        }
        let reply = command(&mut stream, &["PING"])?;
        let wants_password = reply.starts_with("-NOAUTH") && self.health.is_some();
        if reply != "+PONG" && !wants_password {
            return Err(format!("the server answers PING with: {reply}"));
        }
        let Some(health) = &self.health else {
            return Ok("PONG\n");
        };
        if let Some((host, port)) = &health.readiness {
            ready(host, *port, self.timeout)?;
        }
        Ok("")
    }
}

/// Connects to the first of the host's addresses that answers; every later step has the same time limit.
pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("cannot connect to {host}:{port}: {why}");
    let addresses = addresses_of(host).map_err(|error| cannot(&error))?;
    let mut last = cannot(&"no address");
    for address in addresses {
        let attempt =
            TcpStream::connect_timeout(&SocketAddr::new(address, port), timeout).and_then(|stream| {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(stream)
            });
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => last = cannot(&error),
        }
    }
    Err(last)
}

/// Connects to a unix socket; every later step has the same time limit.
pub fn connect_unix(path: &PathBuf, timeout: Duration) -> Result<UnixStream, String> {
    UnixStream::connect(path)
        .and_then(|stream| {
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            Ok(stream)
        })
        .map_err(|error| format!("cannot connect to {}: {error}", path.display()))
}

/// Sends one command and reads the first line of its reply.
fn command(stream: &mut BufReader<Box<dyn Stream>>, words: &[&str]) -> Result<String, String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let sent = stream.get_mut().write_all(request.as_bytes());
    sent.map_err(|error| format!("cannot send to the server: {error}"))?;
    line(stream)
}

fn line(stream: &mut impl BufRead) -> Result<String, String> {
    let mut line = Vec::new();
    let read = stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    read.map_err(|error| format!("the server does not answer: {error}"))?;
    if line.is_empty() {
        return Err(String::from("the server closed the connection"));
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Asks `/readyz`. A port that nobody listens on is no error: the page may be switched off.
fn ready(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    let Ok(stream) = connect(host, port, timeout) else {
        return Ok(());
    };
    let mut stream = BufReader::new(stream);
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let sent = stream.get_mut().write_all(request.as_bytes());
    sent.map_err(|error| format!("cannot ask {host}:{port} for /readyz: {error}"))?;
    let status = line(&mut stream)?;
    if status.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(format!("the server is not ready: {}", reason(&mut stream).unwrap_or(status)))
}

/// What the page says behind its header.
fn reason(stream: &mut impl BufRead) -> Option<String> {
    let mut body = String::new();
    stream.take(LINE_BYTES_MAX).read_to_string(&mut body).ok()?;
    let (_, body) = body.split_once("\r\n\r\n")?;
    let why = body.strip_prefix("not ready: ")?.trim();
    Some(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Health, Probe};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    /// A listener that answers one connection with `reply`, once something has been read; its port.
    fn answering(reply: &'static str) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = [0; 512];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(reply.as_bytes());
        });
        port
    }

    fn probe(port: u16) -> Probe {
        Probe {
            endpoint: Endpoint::Tcp(String::from("127.0.0.1"), port),
            password: String::new(),
            timeout: Duration::from_secs(10),
            health: None,
        }
    }

    fn health(port: u16, readiness: Option<u16>) -> Probe {
        let readiness = readiness.map(|port| (String::from("127.0.0.1"), port));
        Probe { health: Some(Health { readiness }), ..probe(port) }
    }

    #[test]
    fn a_pong_is_printed_by_ping_only() {
        assert_eq!(probe(answering("+PONG\r\n")).run(), Ok("PONG\n"));
        assert_eq!(health(answering("+PONG\r\n"), None).run(), Ok(""));
    }

    #[test]
    fn other_answers_are_told() {
        let why = probe(answering("-LOADING wait\r\n")).run().expect_err("it loads");
        assert_eq!(why, "the server answers PING with: -LOADING wait");
        assert!(probe(answering("-NOAUTH Authentication required.\r\n")).run().is_err());
        assert_eq!(health(answering("-NOAUTH Authentication required.\r\n"), None).run(), Ok(""));
        let why = probe(answering("")).run().expect_err("it hangs up");
        assert!(why.contains("closed"), "{why}");
        let refusing = Probe { password: String::from("x"), ..probe(answering("-WRONGPASS no\r\n")) };
        assert!(refusing.run().is_err_and(|why| why.contains("password")));
    }

    #[test]
    fn a_server_that_is_not_ready_is_not_healthy() {
        let ready = answering("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(health(answering("+PONG\r\n"), Some(ready)).run(), Ok(""));
        let unready = answering("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        let why = health(answering("+PONG\r\n"), Some(unready)).run().expect_err("not ready");
        assert!(why.contains("503"), "{why}");
        let unready =
            answering("HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\nnot ready: seeking: nobody\n");
        let why = health(answering("+PONG\r\n"), Some(unready)).run().expect_err("not ready");
        assert_eq!(why, "the server is not ready: seeking: nobody");
    }

    #[test]
    fn nobody_listening_is_one_clear_line() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let why = probe(port).run().expect_err("nobody is there");
        assert!(why.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{why}");
        let missing = Probe { endpoint: Endpoint::Unix("/nonexistent/larder.sock".into()), ..probe(0) };
        assert!(missing.run().is_err());
    }
}
