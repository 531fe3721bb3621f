//! Links between nodes over loopback: what is refused and why, what is cut, lost and matched.
//!
//! A node here is `Links` that serve an echo. Between two nodes a proxy may stand that sees frames (their lengths are in
//! the clear) and hands them on, twice, changed or cut.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::base::clock::Clock;
use larder::base::limits::{
    PEER_BULK_MAX_BYTES, PEER_CONTROL_MAX_BYTES, PEER_PUBLISH_MAX_BYTES, PEER_TICK_MS,
};
use larder::base::lock::Mutex;
use larder::base::rng::Rng;
use larder::cluster::id::{ClusterId, NodeId};
use larder::peer::fault::Fault;
use larder::peer::frame::{Class, PeerHello};
use larder::peer::link::{Handler, Identity, LinkError, Links, Target};
use larder::peer::net::{BoxFuture, Net, TcpNet};
use larder::peer::secure::OPENING_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(10);

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Answers requests with themselves; `wait` first, if the body begins with a `w`; never, if with an `n`.
#[derive(Default)]
struct Echo {
    casts: Mutex<Vec<Vec<u8>>>,
    calls: AtomicUsize,
    from: Mutex<Option<PeerHello>>,
}

impl Handler for Echo {
    fn call(&self, from: &PeerHello, body: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        *self.from.lock() = Some(from.clone());
        self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match body.first() {
                Some(b'w') => sleep(Duration::from_millis(100)).await,
                Some(b'n') => std::future::pending().await,
                _ => {}
            }
            body
        })
    }

    fn cast(&self, _from: &PeerHello, body: Vec<u8>) {
        self.casts.lock().push(body);
    }
}

struct Node {
    links: Links,
    identity: watch::Sender<Identity>,
    echo: Arc<Echo>,
    addr: SocketAddr,
}

impl Node {
    async fn new(seed: u64) -> Self {
        Self::of("larder", b"secret", ClusterId(0), seed).await
    }

    async fn of(name: &str, secret: &[u8], cluster: ClusterId, seed: u64) -> Self {
        let listener = TcpNet.listen(any_port()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let identity = watch::Sender::new(Identity {
            cluster_name: name.to_owned(),
            node_id: NodeId::random(&mut Rng::seeded(seed)),
            incarnation: seed,
            cluster,
            peer_addr: addr,
        });
        let links = Links::new(Arc::new(TcpNet), identity.subscribe(), secret, Clock::system());
        let echo = Arc::new(Echo::default());
        let (serving, handler) = (links.clone(), echo.clone());
        tokio::spawn(async move { serving.serve(listener, handler).await });
        Self { links, identity, echo, addr }
    }

    fn id(&self) -> NodeId {
        self.identity.borrow().node_id
    }

    async fn ask(&self, to: impl Into<Target>, body: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.links.call(to, body.to_vec(), DEADLINE).await
    }

    /// Asks `other`, which must not answer, for each of them to count `faults`.
    async fn refused_by(&self, other: &Node, ours: Fault, theirs: Fault) {
        let outcome = self.ask(other.addr, b"x").await;
        assert!(matches!(outcome, Err(LinkError::Unreachable(_))), "{outcome:?}");
        eventually("both sides count it", || {
            self.links.faults().get(ours) == 1 && other.links.faults().get(theirs) == 1
        })
        .await;
        assert_eq!(other.echo.calls.load(Ordering::Relaxed), 0);
        assert_eq!(other.links.incoming(), 0);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.links.close();
    }
}

/// What the proxy does with the frames that the dialling side sends after its opening: given the frame's number and its
/// bytes, what to hand on. An empty answer ends the connection.
type Rule = Arc<dyn Fn(usize, &[u8]) -> Vec<u8> + Send + Sync>;

async fn proxy(to: SocketAddr, rule: Rule) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.unwrap();
            let rule = rule.clone();
            tokio::spawn(relay(near, far, rule));
        }
    });
    addr
}

async fn relay(near: TcpStream, far: TcpStream, rule: Rule) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let back = tokio::io::copy(&mut far_read, &mut near_write);
    let forth = async {
        let mut opening = [0; OPENING_BYTES];
        near_read.read_exact(&mut opening).await?;
        far_write.write_all(&opening).await?;
        for number in 0.. {
            let mut frame = near_read.read_u16().await?.to_be_bytes().to_vec();
            frame.resize(2 + usize::from(u16::from_be_bytes([frame[0], frame[1]])), 0);
            near_read.read_exact(&mut frame[2..]).await?;
            let passed = rule(number, &frame);
            far_write.write_all(&passed).await?;
            if passed.is_empty() {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        _ = forth => {}
        _ = back => {}
    }
}

#[test]
fn requests_share_a_link_and_find_their_replies() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        let mut calls = Vec::new();
        for number in 0..500u32 {
            let links = a.links.clone();
            // Every tenth is slow, so that replies overtake each other.
            let mut body = if number % 10 == 0 { b"w".to_vec() } else { b"q".to_vec() };
            body.extend_from_slice(&number.to_be_bytes());
            let to = b.addr;
            calls.push(tokio::spawn(async move { (links.call(to, body.clone(), DEADLINE).await, body) }));
        }
        for call in calls {
            let (reply, body) = call.await.unwrap();
            assert_eq!(reply, Ok(body));
        }
        assert_eq!((a.links.outgoing(), b.links.incoming()), (1, 1));
        let from = b.echo.from.lock().clone().unwrap();
        assert_eq!((from.node_id, from.incarnation, from.peer_addr), (a.id(), 1, a.addr));
        assert!(a.links.traffic(Class::Control).sent() > 500 && b.links.traffic(Class::Control).sent() > 500);
    });
}

/// A way to `to` on which nothing goes on from the dialling side while `is_open` is false.
async fn dam(to: SocketAddr, mut is_open: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(to).await.unwrap();
        let (mut near_read, mut near_write) = near.into_split();
        let (mut far_read, mut far_write) = far.into_split();
        let forth = async {
            let mut bytes = vec![0; 64 * 1024];
            loop {
                let count = near_read.read(&mut bytes).await?;
                // Nobody opens it any more: the test is over.
                let Ok(_) = is_open.wait_for(|is_open| *is_open).await else { return Ok(()) };
                if count == 0 {
                    return std::io::Result::Ok(());
                }
                far_write.write_all(&bytes[..count]).await?;
            }
        };
        tokio::select! {
            _ = forth => {}
            _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
        }
    });
    addr
}

#[test]
fn links_say_whom_they_lead_to_and_what_waits() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        assert!(a.links.standing().is_empty());
        let gate = watch::Sender::new(true);
        let through = dam(b.addr, gate.subscribe()).await;
        assert_eq!(a.ask(through, b"x").await, Ok(b"x".to_vec()));
        let (near, far) = (a.links.standing(), b.links.standing());
        assert_eq!((near.len(), far.len()), (1, 1));
        assert_eq!((near[0].node, near[0].outgoing, near[0].class), (b.id(), true, Class::Control));
        assert_eq!((far[0].node, far[0].outgoing, far[0].class), (a.id(), false, Class::Control));
        assert!(near[0].since_ms > 1_700_000_000_000 && far[0].since_ms >= near[0].since_ms);
        eventually("nothing waits", || a.links.standing()[0].used_bytes == 0).await;

        gate.send_replace(false);
        let mut sent = 0;
        while a.links.cast(through, vec![0; PEER_CONTROL_MAX_BYTES]) {
            sent += 1;
        }
        let queued = a.links.standing()[0].clone();
        assert_eq!(queued.used_bytes, sent * PEER_CONTROL_MAX_BYTES as u64, "nothing of it is sealed yet");
        assert!(queued.allocated_bytes >= queued.used_bytes);
        // What the sockets between the two do not hold stays, of one message a part sealed.
        let is_part_sealed = || {
            let now = &a.links.standing()[0];
            now.used_bytes > 0 && now.used_bytes % PEER_CONTROL_MAX_BYTES as u64 != 0
        };
        eventually("some of it is sealed", is_part_sealed).await;
        assert!(a.links.standing()[0].allocated_bytes >= a.links.standing()[0].used_bytes);

        gate.send_replace(true);
        eventually("all has come", || b.echo.casts.lock().len() as u64 == sent).await;
        eventually("nothing waits", || a.links.standing()[0].used_bytes == 0).await;
        a.links.close();
        eventually("no link stands", || a.links.standing().is_empty() && b.links.standing().is_empty()).await;
    });
}

#[test]
fn long_messages_are_cut_and_joined() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        for length in [0, 1, 65_509, 65_510, 65_511, 131_029, PEER_CONTROL_MAX_BYTES] {
            let body: Vec<u8> = (0..length).map(|at| at as u8 | 128).collect();
            assert!(a.ask(b.addr, &body).await == Ok(body), "{length}");
        }
        let body = vec![128; PEER_CONTROL_MAX_BYTES + 1];
        assert_eq!(a.ask(b.addr, &body).await, Err(LinkError::TooLong));
        let bulk = Target::node(b.addr, b.id()).by(Class::Bulk);
        let body = vec![128; PEER_BULK_MAX_BYTES];
        assert!(a.ask(bulk, &body).await == Ok(body));
        assert_eq!(b.links.incoming(), 2, "bulk has a link of its own");
        assert!(a.links.traffic(Class::Bulk).received() > PEER_BULK_MAX_BYTES as u64);
    });
}

#[test]
fn casts_come_in_order() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        for number in 0..200u8 {
            assert!(a.links.cast(b.addr, vec![number]));
        }
        eventually("all have come", || b.echo.casts.lock().len() == 200).await;
        assert!(b.echo.casts.lock().iter().enumerate().all(|(at, body)| body[..] == [at as u8]));
        let mut taken = 0;
        while a.links.cast(SocketAddr::from(([127, 0, 0, 1], 1)), vec![0; 100_000]) {
            taken += 1;
            assert!(taken < 1000, "a queue without bound");
        }
    });
}

#[test]
fn whoever_delivers_knows_whether_it_left() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        let to = Target::node(b.addr, b.id()).by(Class::Publish);
        for number in 0..100u8 {
            assert_eq!(a.links.deliver(to, vec![number].into()).await, Ok(()));
        }
        let longest = vec![7; PEER_PUBLISH_MAX_BYTES];
        assert_eq!(a.links.deliver(to, longest.clone().into()).await, Ok(()));
        eventually("all have come", || b.echo.casts.lock().len() == 101).await;
        let came = b.echo.casts.lock().clone();
        assert!(came.iter().take(100).enumerate().all(|(at, body)| body[..] == [at as u8]));
        assert!(came[100] == longest);
        let too_long = vec![7; PEER_PUBLISH_MAX_BYTES + 1];
        assert_eq!(a.links.deliver(to, too_long.into()).await, Err(LinkError::TooLong));
        let other = Target::node(b.addr, a.id()).by(Class::Publish);
        assert_eq!(a.links.deliver(other, vec![1].into()).await, Err(LinkError::OtherNode(b.id())));
        let nobody = Target::node(SocketAddr::from(([127, 0, 0, 1], 1)), b.id()).by(Class::Publish);
        let outcome = a.links.deliver(nobody, vec![1].into()).await;
        assert!(matches!(outcome, Err(LinkError::Unreachable(_))), "{outcome:?}");
        b.links.close();
        let mut sent = 0;
        while a.links.deliver(to, vec![1].into()).await.is_ok() {
            sent += 1;
            assert!(sent < 10_000, "nobody is there");
            sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn strangers_are_refused_and_counted() {
    run(async {
        let b = Node::of("larder", b"secret", ClusterId(7), 2).await;
        let wrong = Node::of("larder", b"guess", ClusterId(0), 1).await;
        wrong.refused_by(&b, Fault::Secret, Fault::Secret).await;
        let other = Node::of("store", b"secret", ClusterId(0), 3).await;
        other.refused_by(&b, Fault::OtherName, Fault::OtherName).await;
        let founded = Node::of("larder", b"secret", ClusterId(8), 4).await;
        founded.refused_by(&b, Fault::OtherCluster, Fault::OtherCluster).await;
        b.refused_by(&Node::of("larder", b"secret", ClusterId(7), 2).await, Fault::Myself, Fault::Myself)
            .await;
        let friend = Node::of("larder", b"secret", ClusterId(7), 5).await;
        assert_eq!(friend.ask(b.addr, b"x").await, Ok(b"x".to_vec()));
    });
}

#[test]
fn what_is_no_node_is_dropped() {
    run(async {
        let b = Node::new(2).await;
        let faults = b.links.faults();
        for (bytes, fault) in [
            (&b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"[..], Fault::Foreign),
            (&b"larder\xff\xff12345678"[..], Fault::Truncated),
            (&b"lar"[..], Fault::Truncated),
        ] {
            let before = faults.get(fault);
            let mut stream = TcpStream::connect(b.addr).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            eventually("it is counted", || faults.get(fault) == before + 1).await;
        }
        let mut stream = TcpStream::connect(b.addr).await.unwrap();
        let mut opening = b"larder\xff\xff12345678".to_vec();
        opening.resize(OPENING_BYTES, 0);
        stream.write_all(&opening).await.unwrap();
        eventually("another version is counted", || faults.get(Fault::Version) == 1).await;
        let silent = TcpStream::connect(b.addr).await.unwrap();
        eventually("a slow one is counted", || faults.get(Fault::Slow) == 1).await;
        drop(silent);
    });
}

/// Calls through a proxy with `rule`, for the serving side to count `fault`.
async fn dropped_for(rule: Rule, fault: Fault) {
    let (a, b) = (Node::new(1).await, Node::new(2).await);
    let through = proxy(b.addr, rule).await;
    let outcome = timeout(DEADLINE, async {
        loop {
            let outcome = a.ask(through, b"x").await;
            if outcome.is_err() {
                break outcome;
            }
        }
    });
    let outcome = outcome.await.expect("the link goes on");
    assert!(matches!(outcome, Err(LinkError::Lost | LinkError::Unreachable(_))), "{fault}: {outcome:?}");
    eventually("it is counted", || b.links.faults().get(fault) >= 1).await;
    eventually("the link is gone", || b.links.incoming() == 0).await;
}

#[test]
fn frames_that_are_replayed_changed_or_cut_end_the_link() {
    run(async {
        let twice = |at: usize| -> Rule {
            Arc::new(move |number, frame| if number == at { frame.repeat(2) } else { frame.to_vec() })
        };
        dropped_for(twice(0), Fault::Tampered).await;
        dropped_for(twice(3), Fault::Tampered).await;
        let changed: Rule = Arc::new(|number, frame| {
            let mut frame = frame.to_vec();
            if number == 2 {
                frame[5] ^= 1;
            }
            frame
        });
        dropped_for(changed, Fault::Tampered).await;
        let left_out: Rule = Arc::new(|number, frame| {
            // An empty frame in its place, which no sealed one is.
            if number == 2 { vec![0, 16].into_iter().chain([0; 16]).collect() } else { frame.to_vec() }
        });
        dropped_for(left_out, Fault::Tampered).await;
        let short: Rule =
            Arc::new(|number, frame| if number == 2 { vec![0, 3, 1, 2, 3] } else { frame.to_vec() });
        dropped_for(short, Fault::Malformed).await;
        let halved = Arc::new(AtomicUsize::new(0));
        let half = halved.clone();
        let cut: Rule = Arc::new(move |number, frame| match number {
            0 | 1 => frame.to_vec(),
            // The first half of a frame, then the end.
            2 if half.fetch_add(1, Ordering::Relaxed) == 0 => frame[..frame.len() / 2].to_vec(),
            _ => Vec::new(),
        });
        dropped_for_cut(cut, &halved).await;
    });
}

async fn dropped_for_cut(rule: Rule, halved: &AtomicUsize) {
    let (a, b) = (Node::new(1).await, Node::new(2).await);
    let through = proxy(b.addr, rule).await;
    assert_eq!(a.ask(through, b"x").await, Ok(b"x".to_vec()));
    let links = a.links.clone();
    let waiting = tokio::spawn(async move { links.call(through, b"cut".to_vec(), DEADLINE).await });
    eventually("half of it is handed on", || halved.load(Ordering::Relaxed) == 1).await;
    // The next frame makes the proxy hang up.
    a.links.cast(through, b"next".to_vec());
    assert_eq!(waiting.await.unwrap(), Err(LinkError::Lost));
    eventually("it is counted", || b.links.faults().get(Fault::Truncated) == 1).await;
}

#[test]
fn a_recorded_link_cannot_be_played_again() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        let record: Arc<Mutex<Vec<u8>>> = Arc::default();
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let through = listener.local_addr().unwrap();
        let (recording, to) = (record.clone(), b.addr);
        tokio::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let (mut near_read, mut near_write) = near.into_split();
            let (mut far_read, mut far_write) = TcpStream::connect(to).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut far_read, &mut near_write).await });
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = near_read.read(&mut bytes).await {
                recording.lock().extend_from_slice(&bytes[..count]);
                far_write.write_all(&bytes[..count]).await.unwrap();
            }
        });
        assert_eq!(a.ask(through, b"x").await, Ok(b"x".to_vec()));
        let record = record.lock().clone();
        assert!(record.len() > OPENING_BYTES);
        let mut replay = TcpStream::connect(b.addr).await.unwrap();
        replay.write_all(&record).await.unwrap();
        eventually("it is counted", || b.links.faults().get(Fault::Tampered) == 1).await;
        assert_eq!(b.echo.calls.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn requests_to_a_dead_peer_fail_at_once() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        let (links, to) = (a.links.clone(), b.addr);
        let waiting = tokio::spawn(async move { links.call(to, b"never".to_vec(), DEADLINE).await });
        eventually("the request is served", || b.echo.calls.load(Ordering::Relaxed) == 1).await;
        b.links.close();
        let lost = timeout(SECOND, waiting).await.expect("within a second").unwrap();
        assert_eq!(lost, Err(LinkError::Lost));
        for _ in 0..3 {
            let outcome = timeout(SECOND, a.ask(b.addr, b"x")).await.expect("within a second");
            assert!(matches!(outcome, Err(LinkError::Unreachable(_))), "{outcome:?}");
        }
        a.links.close();
        assert_eq!(a.ask(b.addr, b"x").await, Err(LinkError::Closed));
    });
}

#[test]
fn a_peer_that_returns_is_linked_again() {
    run(async {
        let a = Node::new(1).await;
        let held = TcpNet.listen(any_port()).await.unwrap();
        let addr = held.local_addr().unwrap();
        drop(held);
        assert!(matches!(a.ask(addr, b"x").await, Err(LinkError::Unreachable(_))));
        let b = Node::new(2).await;
        let echo = b.echo.clone();
        let listener = TcpNet.listen(addr).await.unwrap();
        b.identity.send_modify(|identity| identity.peer_addr = addr);
        let links = b.links.clone();
        tokio::spawn(async move { links.serve(listener, echo).await });
        // What it sends itself ends the pause of the other side.
        assert_eq!(b.ask(a.addr, b"x").await, Ok(b"x".to_vec()));
        let reaching = async {
            while a.ask(addr, b"x").await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, reaching).await.expect("it is reached");
    });
}

#[test]
fn a_request_for_another_node_is_not_sent() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        let wanted = NodeId::random(&mut Rng::seeded(9));
        let outcome = a.ask(Target::node(b.addr, wanted), b"x").await;
        assert_eq!(outcome, Err(LinkError::OtherNode(b.id())));
        assert_eq!(a.ask(Target::node(b.addr, b.id()), b"x").await, Ok(b"x".to_vec()));
        assert_eq!(b.echo.calls.load(Ordering::Relaxed), 1);
    });
}

/// An idle link was not looked at, so that slots did not move to a node that had got the address of one that had vanished
/// without a word (a machine, a container's network), for as long as a link may be idle: a minute.
#[test]
fn a_node_with_the_address_of_one_that_vanished_is_reached() {
    run(async {
        let (a, old, new) = (Node::new(1).await, Node::new(2).await, Node::new(3).await);
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let (addr, old_addr, new_addr) = (listener.local_addr().unwrap(), old.addr, new.addr);
        let (vanish, mut vanished) = watch::channel(false);
        tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(old_addr).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = vanished.wait_for(|vanished| *vanished) => {}
            }
            // The first connection stays open, and nothing comes over it any more.
            while let Ok((mut next, _)) = listener.accept().await {
                let mut far = TcpStream::connect(new_addr).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut next, &mut far).await });
            }
            drop((near, far));
        });
        assert_eq!(a.ask(Target::node(addr, old.id()), b"x").await, Ok(b"x".to_vec()));
        vanish.send_replace(true);
        // An idle link is one over which nothing went for so long: there is nothing but time to wait for.
        sleep(Duration::from_millis(3 * PEER_TICK_MS)).await;
        let reaching = async {
            while a.ask(Target::node(addr, new.id()), b"y").await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, reaching).await.expect("the new node is reached");
    });
}

#[test]
fn a_link_ends_when_its_ends_turn_out_to_be_of_two_clusters() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        assert_eq!(a.ask(b.addr, b"x").await, Ok(b"x".to_vec()));
        a.identity.send_modify(|identity| identity.cluster = ClusterId(1));
        let is_told = async {
            let of = |from: &PeerHello| from.cluster;
            while b.echo.from.lock().as_ref().map(of) != Some(ClusterId(1)) {
                assert_eq!(a.ask(b.addr, b"y").await, Ok(b"y".to_vec()), "it may join the other's");
            }
        };
        timeout(DEADLINE, is_told).await.expect("the other side is told");
        b.identity.send_modify(|identity| identity.cluster = ClusterId(2));
        eventually("the link is dropped", || b.links.incoming() == 0).await;
        assert!(a.ask(b.addr, b"z").await.is_err());
        assert!(a.links.faults().get(Fault::OtherCluster) + b.links.faults().get(Fault::OtherCluster) > 0);
    });
}

#[test]
fn a_flood_of_requests_is_answered_as_busy() {
    run(async {
        let (a, b) = (Node::new(1).await, Node::new(2).await);
        let mut calls = Vec::new();
        for _ in 0..600 {
            let (links, to) = (a.links.clone(), b.addr);
            calls.push(tokio::spawn(async move { links.call(to, b"never".to_vec(), SECOND).await }));
        }
        let mut busy = 0;
        for call in calls {
            match call.await.unwrap() {
                Err(LinkError::Busy) => busy += 1,
                Err(LinkError::Timeout) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(busy, 600 - 512);
    });
}
