//! Listening sockets: binding them, taking connections in, and turning connections away.
//!
//! Binding happens before any thread is started, so that a failure ends the start with one line. Accepting runs on a
//! thread of its own, so that a reconnect storm does not take turns from the connections being served; what it hands
//! to a worker waits in a bounded queue, and beyond that in the kernel's backlog. Nothing is read from a socket here.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::base::limits::ACCEPT_BACKOFF_MS;
use crate::config::Config;
use crate::config::types::BindAddress;
use crate::hub::Hub;
use crate::hub::clients::{Client, NewClient};
use crate::server::stream::Accepted;

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub enum Bound {
    /// By TCP.
    Tcp(std::net::TcpListener, SocketAddr),
    /// By TCP, for clients that know nothing of clusters.
    Gateway(std::net::TcpListener, SocketAddr),
    /// By TCP, for clients outside the cluster's network.
    Outside(std::net::TcpListener, SocketAddr),
    /// By a unix socket.
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

impl Bound {
    /// The TCP address for clients, with the port that was chosen if none was given.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, local) => Some(*local),
            Self::Gateway(..) | Self::Outside(..) | Self::Unix(..) => None,
        }
    }
}

/// The file of a unix socket; removed when dropped, unless another server has put its own in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // Nothing is left to be done about a file that cannot be removed while stopping.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Binds every address of the configuration. Port 0 means no TCP where there is a unix socket, and any free port
/// otherwise. The error is one line that names the address and the reason.
pub fn bind(config: &Config) -> Result<Vec<Bound>, String> {
    let mut bound = Vec::new();
    let backlog = config.tcp_backlog as i32;
    if config.port != 0 || config.unixsocket.is_empty() {
        for &address in &config.bind {
            bound.extend(bind_one(address, config.port, backlog)?);
        }
    }
    if !config.unixsocket.is_empty() {
        bound.push(bind_unix(Path::new(&config.unixsocket), config.unixsocketperm.0, backlog)?);
    }
    if bound.is_empty() {
        return Err(
            "nothing to listen on: give `bind` an address of this machine, or set `unixsocket`".to_owned()
        );
    }
    bind_more(config, &mut bound)?;
    Ok(bound)
}

/// Binds the ports of the gateway and for clients outside, if there are to be any, wherever clients are served.
fn bind_more(config: &Config, bound: &mut Vec<Bound>) -> Result<(), String> {
    for &address in &config.bind {
        if let Some((listener, local)) = bind_extra(address, config.gateway_port, config)? {
            bound.push(Bound::Gateway(listener, local));
        }
        if let Some((listener, local)) = bind_extra(address, config.cluster_outside_port, config)? {
            bound.push(Bound::Outside(listener, local));
        }
    }
    Ok(())
}

/// Binds a port beside that of clients; nothing for port 0.
fn bind_extra(
    address: BindAddress,
    port: u16,
    config: &Config,
) -> Result<Option<(std::net::TcpListener, SocketAddr)>, String> {
    if port == 0 {
        return Ok(None);
    }
    match bind_one(address, port, config.tcp_backlog as i32)? {
        Some(Bound::Tcp(listener, local)) => Ok(Some((listener, local))),
        _ => Ok(None),
    }
}

/// Binds what was bound before: TCP at these addresses, and the unix socket of the configuration.
pub(super) fn bind_again(addresses: &[SocketAddr], config: &Config) -> Result<Vec<Bound>, String> {
    let mut bound = Vec::new();
    let backlog = config.tcp_backlog as i32;
    for &address in addresses {
        bound.extend(bind_one(BindAddress { ip: address.ip(), optional: false }, address.port(), backlog)?);
    }
    if !config.unixsocket.is_empty() {
        bound.push(bind_unix(Path::new(&config.unixsocket), config.unixsocketperm.0, backlog)?);
    }
    bind_more(config, &mut bound)?;
    Ok(bound)
}

pub(super) fn bind_one(wanted: BindAddress, port: u16, backlog: i32) -> Result<Option<Bound>, String> {
    let address = SocketAddr::new(wanted.ip, port);
    match listen_tcp(address, backlog).and_then(|listener| Ok((listener.local_addr()?, listener))) {
        Ok((local, listener)) => Ok(Some(Bound::Tcp(listener, local))),
        Err(error) if is_absent(&error, wanted.optional) => {
            debug!("not listening on {address}: {error}");
            Ok(None)
        }
        Err(error) => Err(format!("cannot listen on {address}: {error}")),
    }
}

/// Whether the machine simply lacks this address (forgiven where it is marked optional) or its whole family (always).
fn is_absent(error: &io::Error, optional: bool) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRNOTAVAIL) => optional,
        Some(Errno::AFNOSUPPORT | Errno::PFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => true,
        _ => false,
    }
}

fn listen_tcp(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Otherwise `* ::*` would fail: the second would claim the first one's port.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, mode: u32, backlog: i32) -> Result<Bound, String> {
    let failed = |error: io::Error| format!("cannot listen on unix socket {}: {error}", path.display());
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let address = socket2::SockAddr::unix(path).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
    let file = SocketFile { path: path.to_owned(), inode };
    if mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    socket.listen(backlog).map_err(failed)?;
    Ok(Bound::Unix(socket.into(), file))
}

/// Removes the socket file that a dead server has left; refuses to touch a living one's, or any other kind of file.
fn remove_stale(path: &Path) -> Result<(), String> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(format!("unix socket {}: a file that is not a socket is in the way", path.display()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| format!("cannot remove the stale unix socket {}: {error}", path.display())),
        Err(error) => Err(format!("unix socket {} exists and cannot be probed: {error}", path.display())),
        Ok(_) => Err(format!("unix socket {}: another server is listening on it", path.display())),
    }
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub struct Handoff {
    /// The socket.
    pub socket: Accepted,
    /// Its entry in the registry.
    pub client: Arc<Client>,
    /// Which port it came by.
    pub entrance: Entrance,
}

/// Which kind of port a connection came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// That of clients.
    Main,
    /// The gateway.
    Gateway,
    /// That of clients outside the cluster's network.
    Outside,
}

/// The acceptor's end of one worker.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Connections that the worker has or is about to get.
    pub connections: Arc<AtomicUsize>,
    /// The worker's queue.
    pub queue: mpsc::Sender<Handoff>,
}

/// Accepts connections and spreads them over the workers; one for each listener.
pub struct Acceptor {
    hub: Arc<Hub>,
    workers: Vec<Intake>,
    next_worker: usize,
    backoff_ms: u64,
    /// Which kind of port it accepts at.
    entrance: Entrance,
}

impl Acceptor {
    /// An acceptor for these workers, of which there must be at least one.
    pub fn new(hub: Arc<Hub>, workers: Vec<Intake>) -> Self {
        assert!(!workers.is_empty());
        Self {
            hub,
            workers,
            next_worker: 0,
            backoff_ms: *ACCEPT_BACKOFF_MS.start(),
            entrance: Entrance::Main,
        }
    }

    /// Accepts until the future is dropped, which closes the listener. Fails only if the listener cannot be used at all.
    pub async fn run(mut self, bound: Bound) -> io::Result<()> {
        self.entrance = match bound {
            Bound::Tcp(..) | Bound::Unix(..) => Entrance::Main,
            Bound::Gateway(..) => Entrance::Gateway,
            Bound::Outside(..) => Entrance::Outside,
        };
        match bound {
            Bound::Tcp(listener, _) | Bound::Gateway(listener, _) | Bound::Outside(listener, _) => {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let accepted =
                        listener.accept().await.and_then(|(socket, peer)| Newcomer::tcp(socket, peer));
                    self.accepted(accepted).await;
                }
            }
            Bound::Unix(listener, file) => {
                let listener = UnixListener::from_std(listener)?;
                loop {
                    let accepted =
                        listener.accept().await.and_then(|(socket, _)| Newcomer::unix(socket, &file.path));
                    self.accepted(accepted).await;
                }
            }
        }
    }

    /// Takes a connection in, or waits a while where the system has no room for another.
    async fn accepted(&mut self, accepted: io::Result<Newcomer>) {
        match accepted {
            Ok(newcomer) => {
                self.backoff_ms = *ACCEPT_BACKOFF_MS.start();
                self.take_in(newcomer).await;
            }
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                warn!("cannot accept connections ({error}): trying again in {} ms", self.backoff_ms);
                sleep(Duration::from_millis(self.backoff_ms)).await;
                self.backoff_ms = (self.backoff_ms * 2).min(*ACCEPT_BACKOFF_MS.end());
            }
        }
    }

    async fn take_in(&mut self, newcomer: Newcomer) {
        let config = self.hub.config.load();
        if config.protected_mode && config.requirepass.expose().is_empty() && !newcomer.is_local {
            self.count_rejected();
            newcomer.turn_away(DENIED);
            return;
        }
        let worker = self.least_loaded();
        let new = NewClient {
            peer: newcomer.peer.clone(),
            local: newcomer.local.clone(),
            unix: matches!(newcomer.socket, Accepted::Unix(_)),
            worker,
            descriptor: newcomer.socket.as_fd().as_raw_fd(),
            now_ms: self.hub.clock.wall_ms(),
        };
        let Some(client) = self.hub.clients.register(new, config.maxclients as usize) else {
            self.count_rejected();
            newcomer.turn_away(TOO_MANY);
            return;
        };
        newcomer.tune(config.tcp_keepalive);
        self.hand_over(worker, Handoff { socket: newcomer.socket, client, entrance: self.entrance }).await;
    }

    /// The accepting thread is the only writer of this counter, so it may stand among any worker's.
    fn count_rejected(&self) {
        if let Some(stats) = self.hub.workers.first() {
            stats.connections_rejected.add(1);
        }
    }

    /// The worker with the fewest connections; among equals, the next in turn.
    fn least_loaded(&mut self) -> usize {
        let count = self.workers.len();
        let start = self.next_worker;
        self.next_worker = (start + 1) % count;
        (0..count)
            .map(|step| (start + step) % count)
            .min_by_key(|&index| self.workers[index].connections.load(Ordering::Relaxed))
            .unwrap_or(start)
    }

    async fn hand_over(&self, worker: usize, handoff: Handoff) {
        let intake = &self.workers[worker];
        intake.connections.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = intake.queue.send(handoff).await {
            // The worker has stopped, so the server is stopping: the socket closes here.
            intake.connections.fetch_sub(1, Ordering::Relaxed);
            self.hub.clients.unregister(&refused.0.client);
        }
    }
}

/// Errors of accept(2) that concern only the connection that was to be accepted.
fn is_peers_fault(error: &io::Error) -> bool {
    use Errno as E;
    matches!(
        Errno::from_io_error(error),
        Some(E::CONNABORTED | E::INTR | E::PROTO | E::NETDOWN | E::HOSTUNREACH | E::NETUNREACH)
    )
}

const TOO_MANY: &str = "-ERR max number of clients reached\r\n";

const DENIED: &str = "-DENIED This server is in protected mode: it has no password, so it serves only clients on its \
own machine. To admit others, give it a password (requirepass) and restart the client with it, or, where the network \
is trusted, set protected-mode to no (in the configuration, by --protected-mode no, or from this machine by CONFIG SET).\r\n";

/// A connection just accepted; its socket is non-blocking.
struct Newcomer {
    socket: Accepted,
    peer: String,
    local: String,
    is_local: bool,
}

impl Newcomer {
    fn tcp(socket: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        let local = socket.local_addr().map_or_else(|_| "?:0".to_owned(), |address| address.to_string());
        Ok(Self {
            socket: Accepted::Tcp(socket.into_std()?),
            peer: peer.to_string(),
            local,
            is_local: peer.ip().to_canonical().is_loopback(),
        })
    }

    fn unix(socket: UnixStream, path: &Path) -> io::Result<Self> {
        let name = format!("{}:0", path.display());
        let socket = Accepted::Unix(socket.into_std()?);
        Ok(Self { socket, peer: name.clone(), local: name, is_local: true })
    }

    /// Says why, if the socket takes it at once, and closes.
    fn turn_away(self, reason: &str) {
        let socket = SockRef::from(&self.socket);
        let told = (&*socket).write_all(reason.as_bytes());
        if told.is_ok() {
            // A failure leaves the peer with a bare close, which says enough.
            drop(socket.shutdown(std::net::Shutdown::Write));
        }
    }

    /// Sets the socket's options. A failure costs speed or a late notice of a dead peer, not correctness.
    fn tune(&self, keepalive_s: u64) {
        let socket = SockRef::from(&self.socket);
        if let Accepted::Tcp(tcp) = &self.socket {
            drop(tcp.set_nodelay(true));
            keep_alive(&socket, keepalive_s);
        }
    }
}

/// Has the system probe a connection that is silent for so long, and end it when nobody answers; never, for 0. A failure
/// is that of a connection that has ended already.
pub(super) fn keep_alive(socket: &SockRef<'_>, keepalive_s: u64) {
    if keepalive_s > 0 {
        // As Redis spreads it: a first probe after the interval, then three at a third of it.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive_s))
            .with_interval(Duration::from_secs((keepalive_s / 3).max(1)))
            .with_retries(3);
        drop(socket.set_tcp_keepalive(&keepalive));
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, bind};
    use crate::config::Config;
    use crate::config::types::{BindAddress, FileMode};
    use std::os::unix::fs::PermissionsExt;

    fn config(bind: &[&str]) -> Config {
        let bind = bind.iter().map(|text| BindAddress::parse(text).expect("an address")).collect();
        Config { bind, port: 0, ..Config::default() }
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let first = bind(&config(&["127.0.0.1"])).expect("any free port");
        let [Bound::Tcp(_, local)] = &first[..] else { panic!("one TCP listener") };
        let error = bind(&Config { port: local.port(), ..config(&["127.0.0.1"]) }).expect_err("taken");
        assert!(error.contains(&local.to_string()) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn an_optional_address_may_be_missing_and_others_may_not() {
        // 192.0.2.0/24 is reserved for documentation: no machine has it.
        let bound = bind(&config(&["127.0.0.1", "-192.0.2.1"])).expect("optional");
        assert_eq!(bound.len(), 1);
        assert!(bind(&config(&["127.0.0.1", "192.0.2.1"])).is_err());
        assert!(bind(&config(&["-192.0.2.1"])).is_err_and(|error| error.contains("nothing to listen on")));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("larder.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
        assert!(path.exists(), "a closed listener leaves its file");

        let unixsocket = path.to_str().expect("UTF-8").to_owned();
        let at_path = Config { unixsocket, unixsocketperm: FileMode(0o600), ..config(&["127.0.0.1"]) };
        let living = bind(&at_path).expect("replaces the stale file");
        assert_eq!(living.len(), 1, "port 0 beside a unix socket means no TCP");
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(bind(&at_path).is_err_and(|error| error.contains("another server")));
        drop(living);
        assert!(!path.exists(), "removed with its listener");

        std::fs::write(&path, b"precious").expect("writes");
        assert!(bind(&at_path).is_err_and(|error| error.contains("not a socket")));
        assert!(path.exists());
    }
}
