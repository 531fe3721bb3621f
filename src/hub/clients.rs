//! Connected clients: who they are, and what one connection may do to another.
//!
//! A [`Client`] is the part of a connection that others may see: plain atomics that its owner writes and anyone reads,
//! an [outbox](Client::push) of frames made by other threads, and signals that wake the owning task. The socket and the
//! session belong to the connection task alone; nothing here reads, writes or closes a socket.
//!
//! Bounds: an outbox never grows past the output limit of its client's class: the push that would do so kills the
//! client instead. Locks here are leaves (the list of monitors comes before their outboxes): no lock of another module is
//! taken while one is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::Notify;

use crate::base::lock::Mutex;
use crate::config::types;
use crate::hub::message::Message;
use crate::hub::outbox::Outbox;
pub use crate::hub::outbox::{OutputLimit, Queued};
use crate::metrics::workers::Count;

/// Bits of [`Client::flags`].
pub mod flag {
    /// Receives every command that the server executes.
    pub const MONITOR: u32 = 1 << 0;
    /// Exempt from client eviction (`CLIENT NO-EVICT`).
    pub const NO_EVICT: u32 = 1 << 1;
    /// Its reads do not count as use of a key (`CLIENT NO-TOUCH`).
    pub const NO_TOUCH: u32 = 1 << 2;
    /// Inside MULTI.
    pub const MULTI: u32 = 1 << 3;
    /// A key that it watches has changed.
    pub const DIRTY_WATCH: u32 = 1 << 4;
    /// Waiting in a blocking command, or held back by CLIENT PAUSE.
    pub const BLOCKED: u32 = 1 << 5;
    /// Closes once its replies are written.
    pub const CLOSING: u32 = 1 << 6;
    /// Connected by a unix socket.
    pub const UNIX: u32 = 1 << 7;
    /// Subscribed to a channel or pattern: the pub/sub output limit applies.
    pub const PUBSUB: u32 = 1 << 8;
    /// Connected to the gateway.
    pub const GATEWAY: u32 = 1 << 9;
    /// It keeps a cache and is told when keys change (`CLIENT TRACKING`).
    pub const TRACKING: u32 = 1 << 10;
    /// The client to which these notices are redirected is gone.
    pub const TRACKING_BROKEN: u32 = 1 << 11;
    /// It is told of all keys under its prefixes.
    pub const TRACKING_BCAST: u32 = 1 << 12;
    /// It is not told of what it changes itself.
    pub const TRACKING_NOLOOP: u32 = 1 << 13;
}

/// Bits of [`Client::take_signals`]: why the owning task was woken.
pub mod signal {
    /// Close now, without waiting for replies to be written.
    pub const KILL: u32 = 1 << 0;
    /// The outbox has frames.
    pub const OUTBOX: u32 = 1 << 1;
    /// The server is stopping: close as soon as nothing is in hand.
    pub const DRAIN: u32 = 1 << 2;
    /// Look again: a pause has ended.
    pub const RESUME: u32 = 1 << 3;
    /// The reason for KILL: too much output that the client does not read.
    pub const OVERFLOW: u32 = 1 << 4;
}

/// The id of [`Client::last_command`] before the first command.
pub const NO_COMMAND: u32 = u32::MAX;

/// What a client calls itself; all of it is free text without spaces or control characters, and may be empty.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub library: String,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: String,
    /// The user it authenticated as.
    pub user: String,
}

/// What the acceptor knows of a new connection.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// `ip:port` of the peer, or `path:0` of the unix socket.
    pub peer: String,
    /// `ip:port` of our end, or `path:0`.
    pub local: String,
    /// Whether it came by a unix socket.
    pub unix: bool,
    /// Index of the worker that will serve it.
    pub worker: usize,
    /// File descriptor, for CLIENT LIST only.
    pub descriptor: i32,
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// The visible part of a connection.
#[derive(Debug)]
pub struct Client {
    /// Never reused.
    pub id: u64,
    /// `ip:port` of the peer, or `path:0` of the unix socket.
    pub peer: String,
    /// `ip:port` of our end, or `path:0`.
    pub local: String,
    /// Index of the worker that serves it.
    pub worker: usize,
    /// File descriptor, for CLIENT LIST only.
    pub descriptor: i32,
    /// Unix milliseconds.
    pub connected_ms: u64,
    /// Unix milliseconds of the last bytes received.
    pub active_ms: AtomicU64,
    /// Selected database.
    pub database: AtomicU32,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// Commands queued by MULTI, -1 outside of it.
    pub queued: AtomicI32,
    /// Keys watched.
    pub watched: AtomicU32,
    /// Channels, patterns and shard channels subscribed.
    pub subscriptions: [AtomicU32; 3],
    /// Who gets its notices of changed keys instead of itself; 0 for nobody.
    pub redirect: AtomicU64,
    /// Its number in `hub::tracking`; 0 as long as it has none.
    pub follower: AtomicU32,
    /// Row of the command table executed last, or [`NO_COMMAND`].
    pub last_command: AtomicU32,
    /// Bytes received and not yet executed.
    pub query_bytes: AtomicUsize,
    /// Spare capacity of the connection's own query buffer.
    pub query_free_bytes: AtomicUsize,
    /// Bytes of replies that the socket has not taken yet, outbox not included.
    pub output_bytes: AtomicUsize,
    /// Bytes received.
    pub net_input_bytes: Count,
    /// Bytes written.
    pub net_output_bytes: Count,
    /// Requests executed.
    pub commands: Count,
    flags: AtomicU32,
    signals: AtomicU32,
    labels: Mutex<Labels>,
    outbox: Outbox,
    /// Somebody will have the owner woken, as there is something in the outbox.
    is_listed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Client {
    fn new(id: u64, new: NewClient) -> Self {
        Self {
            id,
            peer: new.peer,
            local: new.local,
            worker: new.worker,
            descriptor: new.descriptor,
            connected_ms: new.now_ms,
            active_ms: AtomicU64::new(new.now_ms),
            database: AtomicU32::new(0),
            protocol: AtomicU8::new(2),
            queued: AtomicI32::new(-1),
            watched: AtomicU32::new(0),
            subscriptions: Default::default(),
            redirect: AtomicU64::new(0),
            follower: AtomicU32::new(0),
            last_command: AtomicU32::new(NO_COMMAND),
            query_bytes: AtomicUsize::new(0),
            query_free_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            net_input_bytes: Count::default(),
            net_output_bytes: Count::default(),
            commands: Count::default(),
            flags: AtomicU32::new(if new.unix { flag::UNIX } else { 0 }),
            signals: AtomicU32::new(0),
            labels: Mutex::new(Labels { user: "default".to_owned(), ..Labels::default() }),
            outbox: Outbox::default(),
            is_listed: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// A client that no socket stands behind: for tests, scripts and anything else that runs commands by itself.
    pub fn detached(now_ms: u64) -> Arc<Self> {
        Arc::new(Self::new(
            0,
            NewClient {
                peer: String::new(),
                local: String::new(),
                unix: false,
                worker: 0,
                descriptor: -1,
                now_ms,
            },
        ))
    }

    /// All bits of [`flag`] that are set.
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Whether any of `bits` is set.
    pub fn has(&self, bits: u32) -> bool {
        self.flags() & bits != 0
    }

    /// Sets or clears `bits`.
    pub fn set(&self, bits: u32, on: bool) {
        if on {
            self.flags.fetch_or(bits, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!bits, Ordering::Relaxed);
        }
    }

    /// A copy of the labels.
    pub fn labels(&self) -> Labels {
        self.labels.lock().clone()
    }

    /// Changes the labels in place.
    pub fn relabel(&self, change: impl FnOnce(&mut Labels)) {
        change(&mut self.labels.lock());
    }

    /// Raises `bits` of [`signal`] and wakes the owning task.
    pub fn signal(&self, bits: u32) {
        self.signals.fetch_or(bits, Ordering::AcqRel);
        // A task that is woken is put into a queue, no more.
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// Ends the connection from any thread; replies not yet written are dropped.
    pub fn kill(&self) {
        self.signal(signal::KILL);
    }

    /// The same, because more is queued for it than its limit allows.
    pub fn kill_for_output(&self) {
        self.signal(signal::KILL | signal::OVERFLOW);
    }

    /// Whether [`Client::kill`] was called.
    pub fn is_killed(&self) -> bool {
        self.signals.load(Ordering::Relaxed) & signal::KILL != 0
    }

    /// For the owning task: the signals raised since the last call. KILL stays raised.
    pub fn take_signals(&self) -> u32 {
        if self.signals.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.signals.fetch_and(signal::KILL, Ordering::AcqRel)
    }

    /// For the owning task: who to wake when a signal is raised. Must be called before the task first waits.
    pub fn attach(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }

    /// Queues `frame`, already encoded for this client's protocol, to be written after the replies in hand. Kills the
    /// client, and drops the frame, if its output then exceeds `limit`.
    pub fn push(&self, frame: Bytes, limit: OutputLimit, now_ms: u64) -> bool {
        self.push_with(|_| frame, limit, now_ms) == Pushed::Queued
    }

    /// The same for a message that has a frame for each protocol: the one for the protocol that the client speaks when
    /// it comes to this frame. As for [`Client::push_listed`], the caller has the owner woken.
    pub fn push_message(&self, message: &Message<'_>, limit: OutputLimit, now_ms: u64) -> Pushed {
        self.push_listed(|protocol| message.frame(protocol), limit, now_ms)
    }

    /// The same for a frame that is made once the protocol is known, and for as long as it holds; an empty one is none.
    pub fn push_with(&self, frame: impl FnOnce(u8) -> Bytes, limit: OutputLimit, now_ms: u64) -> Pushed {
        let pushed = self.push_listed(frame, limit, now_ms);
        if pushed == Pushed::ToList {
            self.wake_listed();
            return Pushed::Queued;
        }
        pushed
    }

    /// Queues the frame that `frame` gives for a protocol, 2 or 3, and leaves it to the caller to have the owner woken
    /// if the answer is [`Pushed::ToList`]: by [`Client::wake_listed`], now or later.
    pub fn push_listed(&self, frame: impl FnOnce(u8) -> Bytes, limit: OutputLimit, now_ms: u64) -> Pushed {
        if self.is_killed() {
            return Pushed::Gone;
        }
        let frame = || frame(self.protocol.load(Ordering::Relaxed));
        match self.outbox.push(frame, self.output_bytes.load(Ordering::Relaxed), limit, now_ms) {
            Queued::First => {
                self.signals.fetch_or(signal::OUTBOX, Ordering::AcqRel);
                let is_listed = self.is_listed.swap(true, Ordering::AcqRel);
                return if is_listed { Pushed::Queued } else { Pushed::ToList };
            }
            Queued::Behind => {}
            Queued::Much => self.signal(signal::OUTBOX),
            Queued::TooMuch => {
                self.kill_for_output();
                return Pushed::TooMuch;
            }
        }
        Pushed::Queued
    }

    /// Wakes the owner of an outbox that somebody was left to have looked at.
    pub fn wake_listed(&self) {
        self.is_listed.swap(false, Ordering::AcqRel);
        // Unless it has looked already.
        if self.signals.load(Ordering::Acquire) != 0 {
            self.signal(signal::OUTBOX);
        }
    }

    /// For the owning task: hands every queued frame to `sink`, in order.
    pub fn drain_outbox(&self, sink: impl FnMut(Bytes)) {
        self.outbox.drain(sink, || {});
    }

    /// For the owning task: changes the protocol to 2 or 3. What was queued for the old one goes to `sink` before.
    pub fn set_protocol(&self, protocol: u8, sink: impl FnMut(Bytes)) {
        self.outbox.drain(sink, || self.protocol.store(protocol, Ordering::Relaxed));
    }

    /// Frames and bytes queued by others.
    pub fn outbox_len(&self) -> (usize, usize) {
        (self.outbox.frames(), self.outbox.bytes())
    }

    /// Whether `total_bytes` of output break `limit`; keeps the time since which the soft limit is exceeded.
    pub fn exceeds(&self, total_bytes: u64, limit: OutputLimit, now_ms: u64) -> bool {
        self.outbox.exceeds(total_bytes, limit, now_ms)
    }

    /// Counts one subscription of a kind (an index of [`Client::subscriptions`]) more or less. Whoever has any is a
    /// subscriber; says whether that has changed.
    pub fn count_subscription(&self, kind: usize, more: bool) -> bool {
        self.outbox.locked(|| {
            let [channels, patterns, shards] = &self.subscriptions;
            let count = &self.subscriptions[kind];
            let old = count.load(Ordering::Relaxed);
            count.store(if more { old + 1 } else { old.saturating_sub(1) }, Ordering::Relaxed);
            let any = [channels, patterns, shards].iter().any(|count| count.load(Ordering::Relaxed) != 0);
            let changed = self.has(flag::PUBSUB) != any;
            self.set(flag::PUBSUB, any);
            changed
        })
    }

    /// The limit of this client's class; monitors fall under the replicas', as the normal one is no limit by default.
    pub fn output_limit(&self, limits: &types::OutputLimits) -> OutputLimit {
        let class = match self.flags() {
            flags if flags & flag::PUBSUB != 0 => limits.pubsub,
            flags if flags & flag::MONITOR != 0 => limits.replica,
            _ => limits.normal,
        };
        class.into()
    }

    /// Bytes that wait to be written, those that others have queued included.
    pub fn unsent_bytes(&self) -> u64 {
        (self.output_bytes.load(Ordering::Relaxed) + self.outbox_bytes()) as u64
    }

    /// Bytes that others have queued.
    #[inline]
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Drops every queued frame.
    pub fn clear_outbox(&self) {
        self.drain_outbox(drop);
    }
}

/// What became of a frame for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be written.
    Queued,
    /// The same, and the caller is to have the owner woken.
    ToList,
    /// The client is gone, or going.
    Gone,
    /// It was too much: the client is closed.
    TooMuch,
}

/// Which commands a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseKind {
    /// Commands that may write.
    Write,
    /// Every command.
    All,
}

/// Every connected client, and what concerns all of them.
#[derive(Debug)]
pub struct Clients {
    by_id: DashMap<u64, Arc<Client>, ahash::RandomState>,
    next_id: AtomicU64,
    connected: AtomicUsize,
    accepted: AtomicU64,
    rejected: AtomicU64,
    monitors: Mutex<Vec<Arc<Client>>>,
    monitor_count: AtomicUsize,
    paused: AtomicBool,
    pause: Mutex<Option<(PauseKind, u64)>>,
    blocked: AtomicUsize,
    /// Told whenever a client leaves.
    gone: Notify,
}

impl Default for Clients {
    fn default() -> Self {
        Self::new()
    }
}

impl Clients {
    /// No clients.
    pub fn new() -> Self {
        Self {
            by_id: DashMap::default(),
            next_id: AtomicU64::new(1),
            connected: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            monitors: Mutex::new(Vec::new()),
            monitor_count: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            pause: Mutex::new(None),
            blocked: AtomicUsize::new(0),
            gone: Notify::new(),
        }
    }

    /// Takes a new client in, unless `limit` clients are connected; counts it as accepted or rejected.
    pub fn register(&self, new: NewClient, limit: usize) -> Option<Arc<Client>> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let room = self
            .connected
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |count| (count < limit).then_some(count + 1));
        if room.is_err() {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(id, new));
        self.by_id.insert(id, Arc::clone(&client));
        Some(client)
    }

    /// Forgets a client; does nothing the second time.
    pub fn unregister(&self, client: &Client) {
        if self.by_id.remove(&client.id).is_none() {
            return;
        }
        self.set_monitor_of(client, None);
        // Whoever still holds it must not fill an outbox that nobody empties.
        client.signals.fetch_or(signal::KILL, Ordering::AcqRel);
        client.clear_outbox();
        self.set_blocked(client, false);
        self.connected.fetch_sub(1, Ordering::AcqRel);
        self.gone.notify_waiters();
    }

    /// Waits until nobody is connected.
    pub async fn all_gone(&self) {
        loop {
            let gone = self.gone.notified();
            if self.connected() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// Notes that a client waits for something other than its peer, or no longer does.
    pub fn set_blocked(&self, client: &Client, on: bool) {
        if client.has(flag::BLOCKED) != on {
            client.set(flag::BLOCKED, on);
            if on {
                self.blocked.fetch_add(1, Ordering::Relaxed);
            } else {
                self.blocked.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Number of clients that wait in a blocking command, for the end of a pause, or for a script of theirs that takes long.
    pub fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// The client with this id. One that was killed is gone for everybody, though its task may not know it yet.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.get(&id).map(|entry| Arc::clone(entry.value())).filter(|client| !client.is_killed())
    }

    /// All clients that were not killed, oldest first.
    pub fn list(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.by_id.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.retain(|client| !client.is_killed());
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// Number of clients connected.
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Acquire)
    }

    /// Connections accepted since the start, rejected ones included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections turned away because too many were connected.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Zeroes the accepted and rejected counters (CONFIG RESETSTAT).
    pub fn reset_counters(&self) {
        self.accepted.store(0, Ordering::Relaxed);
        self.rejected.store(0, Ordering::Relaxed);
    }

    /// Signals every client.
    pub fn signal_all(&self, bits: u32) {
        for client in self.list() {
            client.signal(bits);
        }
    }

    /// Starts or stops feeding executed commands to `client`.
    pub fn set_monitor(&self, client: &Arc<Client>, on: bool) {
        self.set_monitor_of(client, on.then_some(client));
    }

    fn set_monitor_of(&self, client: &Client, add: Option<&Arc<Client>>) {
        if add.is_none() && !client.has(flag::MONITOR) {
            return;
        }
        let mut monitors = self.monitors.lock();
        monitors.retain(|other| other.id != client.id);
        if let Some(client) = add {
            monitors.push(Arc::clone(client));
        }
        self.monitor_count.store(monitors.len(), Ordering::Release);
        client.set(flag::MONITOR, add.is_some());
    }

    /// Whether anyone monitors: one relaxed load, so that nobody pays when nobody does.
    pub fn has_monitors(&self) -> bool {
        self.monitor_count.load(Ordering::Relaxed) != 0
    }

    /// Number of monitoring clients.
    pub fn monitor_count(&self) -> usize {
        self.monitor_count.load(Ordering::Relaxed)
    }

    /// Queues one encoded line to every monitoring client.
    pub fn feed_monitors(&self, line: &Bytes, limit: OutputLimit, now_ms: u64) {
        // Under the lock, so that whoever has stopped monitoring gets nothing more.
        for monitor in self.monitors.lock().iter() {
            monitor.push(line.clone(), limit, now_ms);
        }
    }

    /// Holds commands back until `until_ms` (Unix milliseconds). A pause in force is only ever made longer and stricter.
    pub fn pause(&self, kind: PauseKind, until_ms: u64, now_ms: u64) {
        let mut pause = self.pause.lock();
        let merged = match *pause {
            Some((old_kind, old_until_ms)) if old_until_ms > now_ms => {
                (kind.max(old_kind), until_ms.max(old_until_ms))
            }
            _ => (kind, until_ms),
        };
        *pause = Some(merged);
        self.paused.store(true, Ordering::Release);
    }

    /// Ends the pause and wakes whoever waits for it.
    pub fn unpause(&self) {
        *self.pause.lock() = None;
        self.paused.store(false, Ordering::Release);
        self.signal_all(signal::RESUME);
    }

    /// The pause in force at `now_ms` and when it ends; one relaxed load when there is none.
    pub fn paused(&self, now_ms: u64) -> Option<(PauseKind, u64)> {
        if !self.paused.load(Ordering::Relaxed) {
            return None;
        }
        let mut pause = self.pause.lock();
        match *pause {
            Some((kind, until_ms)) if until_ms > now_ms => Some((kind, until_ms)),
            _ => {
                *pause = None;
                self.paused.store(false, Ordering::Release);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, Clients, NewClient, OutputLimit, PauseKind, flag, signal};
    use bytes::Bytes;

    fn newcomer() -> NewClient {
        NewClient {
            peer: "127.0.0.1:1".to_owned(),
            local: "127.0.0.1:2".to_owned(),
            unix: false,
            worker: 0,
            descriptor: 7,
            now_ms: 1_000,
        }
    }

    const NO_LIMIT: OutputLimit = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_ms: 0 };

    #[test]
    fn the_limit_counts_and_leaving_makes_room() {
        let clients = Clients::new();
        let first = clients.register(newcomer(), 1).expect("room for one");
        assert!(clients.register(newcomer(), 1).is_none());
        assert_eq!((clients.connected(), clients.accepted(), clients.rejected()), (1, 2, 1));
        clients.unregister(&first);
        clients.unregister(&first);
        assert_eq!(clients.connected(), 0);
        let second = clients.register(newcomer(), 1).expect("room again");
        assert!(second.id > first.id);
        assert!(clients.get(first.id).is_none());
    }

    #[test]
    fn frames_past_the_hard_limit_kill() {
        let client = Client::detached(0);
        let limit = OutputLimit { hard_bytes: 200, ..NO_LIMIT };
        assert!(client.push(Bytes::from_static(&[b'x'; 100]), limit, 0));
        assert_eq!(client.take_signals(), signal::OUTBOX);
        assert!(!client.push(Bytes::from_static(&[b'x'; 100]), limit, 0));
        assert!(client.is_killed());
        assert_eq!(client.outbox_len(), (0, 0));
        assert!(!client.push(Bytes::from_static(b"x"), limit, 0), "a dead client takes nothing");
    }

    #[test]
    fn monitors_are_counted_and_leave_with_their_connection() {
        let clients = Clients::new();
        let client = clients.register(newcomer(), 10).expect("room");
        assert!(!clients.has_monitors());
        clients.set_monitor(&client, true);
        clients.set_monitor(&client, true);
        assert_eq!(clients.monitor_count(), 1);
        clients.feed_monitors(&Bytes::from_static(b"+x\r\n"), NO_LIMIT, 0);
        assert_eq!(client.outbox_len().0, 1);
        clients.unregister(&client);
        assert!(!clients.has_monitors() && !client.has(flag::MONITOR));
        assert!(!client.push(Bytes::from_static(b"+x\r\n"), NO_LIMIT, 0));
    }

    #[test]
    fn a_pause_grows_and_ends() {
        let clients = Clients::new();
        assert_eq!(clients.paused(0), None);
        clients.pause(PauseKind::All, 100, 0);
        clients.pause(PauseKind::Write, 200, 0);
        assert_eq!(clients.paused(150), Some((PauseKind::All, 200)));
        assert_eq!(clients.paused(200), None);
        clients.pause(PauseKind::Write, 400, 300);
        assert_eq!(clients.paused(350), Some((PauseKind::Write, 400)));
        clients.unpause();
        assert_eq!(clients.paused(350), None);
    }
}
