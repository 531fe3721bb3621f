//! The network as nodes use it among themselves: connect, listen, accept; real TCP here, simulated in tests.
//!
//! The only file of this layer that may name `tokio::net`. A connection is a stream of bytes and nothing else: who is
//! at its other end is for `secure` and `frame` to find out.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::base::limits::{PEER_BACKLOG, PEER_CONNECT_MS, PEER_KEEPALIVE_MS, PEER_SILENT_MS};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A socket that accepts connections.
pub trait Listener: Send + Sync {
    /// The next connection and the address that it comes from. Dropping the future loses no connection.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// The address that others reach this socket by, if it is bound to one.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A network.
pub trait Net: Send + Sync + 'static {
    /// Connects to `to`; fails after [`PEER_CONNECT_MS`] at the latest.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;

    /// Listens on `at`; port 0 takes a free one.
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// The address of this machine from which `to` would be reached, if there is a way. Nothing is sent.
    fn source_towards(&self, to: SocketAddr) -> Option<IpAddr>;
}

/// The machine's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNet;

impl Net for TcpNet {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let connecting = timeout(Duration::from_millis(PEER_CONNECT_MS), TcpStream::connect(to));
            let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            prepare(&stream)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            if at.is_ipv6() {
                // As for clients: a listener on `::` must not take the port from one on `0.0.0.0`.
                SockRef::from(&socket).set_only_v6(true)?;
            }
            socket.bind(at)?;
            Ok(Box::new(TcpAccept { socket: socket.listen(PEER_BACKLOG)? }) as Box<dyn Listener>)
        })
    }

    fn source_towards(&self, to: SocketAddr) -> Option<IpAddr> {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    }
}

struct TcpAccept {
    socket: TcpListener,
}

impl Listener for TcpAccept {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.socket.accept().await?;
            prepare(&stream)?;
            Ok((Box::new(stream) as Box<dyn Stream>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Small messages leave at once, and a connection whose other end is gone ends by itself: one that waits for an
/// acknowledgement after [`PEER_SILENT_MS`], one at rest by keepalive.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let period = Duration::from_millis(PEER_KEEPALIVE_MS);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(period).with_interval(period))?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(PEER_SILENT_MS)))
}
