//! The simulated network as nodes see it: turmoil's TCP behind the node's own trait. A connection attempt ends in time,
//! as it does on the real one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use larder::base::limits::PEER_CONNECT_MS;
use larder::peer::net::{BoxFuture, Listener, Net, Stream};
use tokio::time::timeout;
use turmoil::net::{TcpListener, TcpStream};

/// The network of whichever simulated host runs it.
pub struct SimNet;

struct Accept(TcpListener);

impl Net for SimNet {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let connecting = timeout(Duration::from_millis(PEER_CONNECT_MS), TcpStream::connect(to));
            let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(at).await?;
            Ok(Box::new(Accept(listener)) as Box<dyn Listener>)
        })
    }

    /// A simulated host keeps its address.
    fn source_towards(&self, _: SocketAddr) -> Option<IpAddr> {
        None
    }
}

impl Listener for Accept {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn Stream>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
