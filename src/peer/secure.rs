//! Authentication and encryption of a link: Noise `NNpsk0` over X25519, ChaCha20-Poly1305 and BLAKE2s, by `snow`.
//!
//! Whoever knows the cluster's secret and name is a node; nodes have no keys of their own. Each link has keys that die
//! with it, so what is recorded today stays closed when the secret leaks tomorrow. Each frame is sealed under a counter
//! that both sides keep for themselves: one that is changed, repeated, left out or taken from another link does not
//! open, and ends the link.
//!
//! Before the handshake is done a peer costs [`OPENING_BYTES`] of memory and a deadline, nothing more. The secret is not
//! stretched: someone who records a handshake can try guesses at it, so it should be long and random.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use blake2::{Blake2s256, Digest};
use bytes::{Buf, BytesMut};
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::fault::Fault;
use super::frame::{Class, GREETING_BYTES, HEADER_BYTES, Joiner, Kind, Message, check_greeting};
use super::frame::{fragments, greeting};
use super::net::Stream;
use super::standing::Backlog;
use crate::base::limits::{PEER_LONG_READ_BYTES, PEER_READ_BYTES, PEER_WRITE_BYTES};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const TAG_BYTES: usize = 16;
/// Either side's message of the handshake: a public key and a tag.
const HANDSHAKE_BYTES: usize = 32 + TAG_BYTES;
/// What either side sends before frames: the greeting and its message of the handshake.
pub const OPENING_BYTES: usize = GREETING_BYTES + HANDSHAKE_BYTES;
/// Length of a frame, in front of it.
const LENGTH_BYTES: usize = 2;

/// Why a link ended.
#[derive(Debug)]
pub enum End {
    /// The other side broke a rule.
    Fault(Fault),
    /// The other side closed it, between messages.
    Closed,
    /// Nothing was sent over it for long, and this side closed it.
    Idle,
    /// The connection failed.
    Io(io::Error),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Closed => f.write_str("closed by the other side"),
            Self::Idle => f.write_str("not needed"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// What nodes of one cluster share: made of `cluster-secret` and `cluster-name`. It has no text form.
#[derive(Clone)]
pub struct Secret {
    psk: [u8; 32],
    greeting: [u8; GREETING_BYTES],
}

impl Secret {
    /// The secret of the cluster `cluster_name`.
    pub fn new(cluster_secret: &[u8], cluster_name: &str) -> Self {
        let hash = Blake2s256::new_with_prefix(b"larder cluster-secret\0")
            .chain_update((cluster_name.len() as u64).to_be_bytes())
            .chain_update(cluster_name)
            .chain_update(cluster_secret)
            .finalize();
        Self { psk: hash.into(), greeting: greeting(cluster_name) }
    }

    fn handshake(&self, is_initiator: bool) -> Result<HandshakeState, snow::Error> {
        let builder = Builder::new(PATTERN.parse()?).psk(0, &self.psk)?.prologue(&self.greeting)?;
        if is_initiator { builder.build_initiator() } else { builder.build_responder() }
    }
}

/// Bytes that went over links, with all that encryption adds to them.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// The two directions of a link that is encrypted.
pub type Halves = (Sender<WriteHalf<Box<dyn Stream>>>, Receiver<ReadHalf<Box<dyn Stream>>>);

/// Encrypts a connection that this node made.
pub async fn initiate(
    mut stream: Box<dyn Stream>,
    secret: &Secret,
    class: Class,
    traffic: &Arc<Traffic>,
) -> Result<Halves, End> {
    let mut noise = secret.handshake(true).map_err(|_| Fault::Malformed)?;
    let mut opening = [0; OPENING_BYTES];
    opening[..GREETING_BYTES].copy_from_slice(&secret.greeting);
    noise.write_message(&[], &mut opening[GREETING_BYTES..]).map_err(|_| Fault::Malformed)?;
    stream.write_all(&opening).await?;

    let theirs = read_greeting(&mut stream).await?;
    check_greeting(&theirs, &secret.greeting)?;
    let mut answer = [0; HANDSHAKE_BYTES];
    // A peer that greets alike and then hangs up did not take our message: the secrets differ.
    read_exact(&mut stream, &mut answer).await.map_err(|end| match end {
        End::Fault(Fault::Truncated) => End::Fault(Fault::Secret),
        other => other,
    })?;
    noise.read_message(&answer, &mut []).map_err(|_| Fault::Secret)?;
    split(stream, noise, class, traffic)
}

/// Encrypts a connection that was accepted. The class is known once its first message has been read.
pub async fn respond(
    mut stream: Box<dyn Stream>,
    secret: &Secret,
    traffic: &Arc<Traffic>,
) -> Result<Halves, End> {
    let theirs = read_greeting(&mut stream).await?;
    let checked = check_greeting(&theirs, &secret.greeting);
    if matches!(checked, Err(Fault::Foreign)) {
        return Err(Fault::Foreign.into());
    }
    let mut asked = [0; HANDSHAKE_BYTES];
    read_exact(&mut stream, &mut asked).await?;
    // Said even to those who are refused, so that they can tell why.
    stream.write_all(&secret.greeting).await?;
    checked?;
    let mut noise = secret.handshake(false).map_err(|_| Fault::Malformed)?;
    noise.read_message(&asked, &mut []).map_err(|_| Fault::Secret)?;
    let mut answer = [0; HANDSHAKE_BYTES];
    noise.write_message(&[], &mut answer).map_err(|_| Fault::Malformed)?;
    stream.write_all(&answer).await?;
    split(stream, noise, Class::Control, traffic)
}

async fn read_greeting(stream: &mut Box<dyn Stream>) -> Result<[u8; GREETING_BYTES], End> {
    let mut greeting = [0; GREETING_BYTES];
    // Connections that say nothing are made by probes of all kinds: no fault.
    let count = stream.read(&mut greeting).await?;
    if count == 0 {
        return Err(End::Closed);
    }
    read_exact(stream, &mut greeting[count..]).await?;
    Ok(greeting)
}

/// A side that ends before its opening is complete was cut, or found fault with ours.
async fn read_exact(stream: &mut Box<dyn Stream>, into: &mut [u8]) -> Result<(), End> {
    match stream.read_exact(into).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Fault::Truncated.into()),
        Err(error) => Err(error.into()),
    }
}

fn split(
    stream: Box<dyn Stream>,
    noise: HandshakeState,
    class: Class,
    traffic: &Arc<Traffic>,
) -> Result<Halves, End> {
    let noise = Arc::new(noise.into_stateless_transport_mode().map_err(|_| Fault::Malformed)?);
    let (read, write) = tokio::io::split(stream);
    let sender = Sender {
        write,
        sealer: Sealer::new(noise.clone()),
        traffic: traffic.clone(),
        backlog: Arc::default(),
    };
    let receiver =
        Receiver { read, opener: Opener::new(noise, class), traffic: traffic.clone(), heard: Arc::default() };
    Ok((sender, receiver))
}

/// The sending direction of a link.
pub struct Sender<W> {
    write: W,
    sealer: Sealer,
    traffic: Arc<Traffic>,
    backlog: Arc<Backlog>,
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    /// Seals a message and sends what has become more than [`PEER_WRITE_BYTES`]. Dropping the future in between leaves
    /// the link unusable.
    pub async fn send(&mut self, kind: Kind, id: u32, body: &[u8]) -> Result<(), End> {
        for (header, part) in fragments(kind, id, body) {
            self.sealer.seal(header, part)?;
            if self.sealer.sealed.len() >= PEER_WRITE_BYTES {
                self.flush().await?;
            }
        }
        self.note_backlog();
        Ok(())
    }

    /// What waits to be sent here.
    pub fn backlog(&self) -> Arc<Backlog> {
        self.backlog.clone()
    }

    fn note_backlog(&self) {
        let Sealer { plain, sealed, .. } = &self.sealer;
        self.backlog.set_sealed(sealed.len(), sealed.capacity() + plain.capacity());
    }

    /// Counts what is sent from now on elsewhere.
    pub fn set_traffic(&mut self, traffic: Arc<Traffic>) {
        self.traffic = traffic;
    }

    /// Whether enough is sealed for a write of its own.
    pub fn is_full(&self) -> bool {
        self.sealer.sealed.len() >= PEER_WRITE_BYTES / 2
    }

    /// Sends all that is sealed.
    pub async fn flush(&mut self) -> Result<(), End> {
        self.note_backlog();
        self.write.write_all(&self.sealer.sealed).await?;
        self.write.flush().await?;
        self.traffic.sent.fetch_add(self.sealer.sealed.len() as u64, Ordering::Relaxed);
        self.sealer.release();
        self.note_backlog();
        Ok(())
    }
}

struct Sealer {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

impl Sealer {
    fn new(noise: Arc<StatelessTransportState>) -> Self {
        Self { noise, nonce: 0, plain: Vec::new(), sealed: Vec::new() }
    }

    /// Forgets what was sent, and gives back what a long message needed.
    fn release(&mut self) {
        self.sealed.clear();
        if self.sealed.capacity() > PEER_LONG_READ_BYTES {
            self.sealed = Vec::new();
            self.plain = Vec::new();
        }
    }

    /// Appends one frame to what is sealed.
    fn seal(&mut self, header: Option<[u8; HEADER_BYTES]>, part: &[u8]) -> Result<(), Fault> {
        let plain = match header {
            Some(header) => {
                self.plain.clear();
                self.plain.extend_from_slice(&header);
                self.plain.extend_from_slice(part);
                self.plain.as_slice()
            }
            None => part,
        };
        let length = plain.len() + TAG_BYTES;
        let at = self.sealed.len() + LENGTH_BYTES;
        self.sealed.extend_from_slice(&(length as u16).to_be_bytes());
        self.sealed.resize(at + length, 0);
        self.noise.write_message(self.nonce, plain, &mut self.sealed[at..]).map_err(|_| Fault::Malformed)?;
        self.nonce += 1;
        Ok(())
    }
}

/// The receiving direction of a link.
pub struct Receiver<R> {
    read: R,
    opener: Opener,
    traffic: Arc<Traffic>,
    heard: Arc<AtomicBool>,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    /// The next message. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Result<Message, End> {
        loop {
            if let Some(message) = self.opener.next()? {
                return Ok(message);
            }
            self.opener.reserve();
            let count = self.read.read_buf(&mut self.opener.input).await?;
            if count == 0 {
                let is_amid = self.opener.joiner.is_amid() || !self.opener.input.is_empty();
                return Err(if is_amid { Fault::Truncated.into() } else { End::Closed });
            }
            self.traffic.received.fetch_add(count as u64, Ordering::Relaxed);
            self.heard.store(true, Ordering::Relaxed);
        }
    }

    /// Counts what is received from now on elsewhere.
    pub fn set_traffic(&mut self, traffic: Arc<Traffic>) {
        self.traffic = traffic;
    }

    /// Becomes true whenever anything comes in.
    pub fn heard(&self) -> Arc<AtomicBool> {
        self.heard.clone()
    }

    /// Allows messages as long as those of `class`; between messages only.
    pub fn set_class(&mut self, class: Class) {
        self.opener.joiner = Joiner::new(class);
    }
}

struct Opener {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    input: BytesMut,
    plain: Vec<u8>,
    joiner: Joiner,
}

impl Opener {
    fn new(noise: Arc<StatelessTransportState>, class: Class) -> Self {
        Self { noise, nonce: 0, input: BytesMut::new(), plain: Vec::new(), joiner: Joiner::new(class) }
    }

    /// The next message of what has come in; nothing if more must come first.
    fn next(&mut self) -> Result<Option<Message>, Fault> {
        while let Some(length) = self.input.first_chunk::<LENGTH_BYTES>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if length < TAG_BYTES {
                return Err(Fault::Malformed);
            }
            let Some(frame) = self.input.get(LENGTH_BYTES..LENGTH_BYTES + length) else {
                return Ok(None);
            };
            self.plain.resize(length, 0);
            let plain =
                self.noise.read_message(self.nonce, frame, &mut self.plain).map_err(|_| Fault::Tampered)?;
            self.nonce += 1;
            let message = self.joiner.push(&self.plain[..plain])?;
            self.input.advance(LENGTH_BYTES + length);
            if message.is_some() {
                return Ok(message);
            }
        }
        self.release();
        Ok(None)
    }

    /// Room for the next read: little where nothing is known to come.
    fn reserve(&mut self) {
        let is_amid = self.joiner.is_amid() || !self.input.is_empty();
        self.input.reserve(if is_amid { PEER_LONG_READ_BYTES } else { PEER_READ_BYTES });
    }

    /// Gives back what a long message needed, once nothing waits.
    fn release(&mut self) {
        if self.input.is_empty() && !self.joiner.is_amid() && self.input.capacity() > 2 * PEER_READ_BYTES {
            self.input = BytesMut::new();
            self.plain = Vec::new();
        }
    }
}
