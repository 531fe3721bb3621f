//! A client's socket, TCP or unix, behind the few calls that a connection needs. All of them poll: none blocks, none
//! allocates, and a call that would block registers the task to be woken.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::base::limits::CLOSE_DISCARD_MAX;

/// An accepted socket that no worker has taken yet; non-blocking.
#[derive(Debug)]
pub enum Accepted {
    /// By TCP.
    Tcp(std::net::TcpStream),
    /// By a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A socket that belongs to a worker's reactor.
#[derive(Debug)]
pub enum Stream {
    /// By TCP.
    Tcp(TcpStream),
    /// By a unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Registers an accepted socket with the reactor of the calling thread's runtime.
    pub fn register(accepted: Accepted) -> io::Result<Self> {
        Ok(match accepted {
            Accepted::Tcp(socket) => Self::Tcp(TcpStream::from_std(socket)?),
            Accepted::Unix(socket) => Self::Unix(UnixStream::from_std(socket)?),
        })
    }

    /// Reads into `buffer`, from its start; 0 bytes mean that the peer has finished sending.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        use tokio::io::AsyncRead;
        let mut buffer = ReadBuf::new(buffer);
        ready!(match self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, &mut buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Appends to `buffer` within its spare capacity, which must not be empty; 0 bytes mean that the peer has finished
    /// sending.
    pub fn poll_read_append(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        // The futures hold no state of their own, so making one for each poll costs nothing.
        match self {
            Self::Tcp(socket) => pin!(socket.read_buf(buffer)).poll(cx),
            Self::Unix(socket) => pin!(socket.read_buf(buffer)).poll(cx),
        }
    }

    /// Writes some of `slices`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, slices) {
            // write(2) is measurably cheaper than writev(2) with one element.
            (Self::Tcp(socket), [slice]) => Pin::new(socket).poll_write(cx, slice),
            (Self::Unix(socket), [slice]) => Pin::new(socket).poll_write(cx, slice),
            (Self::Tcp(socket), slices) => Pin::new(socket).poll_write_vectored(cx, slices),
            (Self::Unix(socket), slices) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    /// Ends our side and throws away what the peer has sent already: closing a socket with unread input makes the
    /// kernel answer with a reset, which can destroy the replies that are still on their way.
    pub fn finish(&self) {
        let socket = match self {
            Self::Tcp(socket) => SockRef::from(socket),
            Self::Unix(socket) => SockRef::from(socket),
        };
        if socket.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let mut scratch = [MaybeUninit::<u8>::uninit(); 4096];
        for _ in 0..CLOSE_DISCARD_MAX / scratch.len() {
            match socket.recv(&mut scratch) {
                Ok(length) if length > 0 => {}
                _ => return,
            }
        }
    }
}
