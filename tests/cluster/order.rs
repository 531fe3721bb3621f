//! The gateway keeps the order of one connection's requests for a key while the key's slot changes owner: the other
//! nodes are played by the test, which answers as nodes do that hear of the change at different times.

use larder::cluster::table::{Change, Table};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::nodes::{Node, founded, id, member, with_gateway};
use crate::support::client::{Client, encode};
use crate::support::frame::Frame;
use larder::base::slot::slot_of;

/// How long an answer is kept back in which something must not happen.
const QUIET: Duration = Duration::from_millis(200);
/// Longest wait for what must happen.
const LIMIT: Duration = Duration::from_secs(10);

/// What a played node does with a request.
enum Answer {
    Say(String),
    /// Ends the connection.
    Hangup,
}

fn say(text: &str) -> Answer {
    Answer::Say(format!("{text}\r\n"))
}

/// What the played nodes were asked and have executed, in that order, and whether something is waited for.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    fn note(&self, line: impl Into<String>) -> usize {
        let mut lines = self.lines.lock().expect("no panic");
        lines.push(line.into());
        self.grown.notify_all();
        lines.len()
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// How often a line is there.
    fn times(&self, line: &str) -> usize {
        self.lines().iter().filter(|found| *found == line).count()
    }

    /// Waits until a line is there; whether it came within `limit`.
    fn has(&self, line: &str, limit: Duration) -> bool {
        let lines = self.lines.lock().expect("no panic");
        let missing = |lines: &mut Vec<String>| !lines.iter().any(|found| found == line);
        !self.grown.wait_timeout_while(lines, limit, missing).expect("no panic").1.timed_out()
    }
}

type Policy = dyn Fn(&Log, &str) -> Answer + Send + Sync;

/// A member that is played: it answers every request as `policy` says, but those by which a link begins.
fn play(log: &Arc<Log>, policy: impl Fn(&Log, &str) -> Answer + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (log, policy): (_, Arc<Policy>) = (Arc::clone(log), Arc::new(policy));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (log, policy) = (Arc::clone(&log), Arc::clone(&policy));
            thread::spawn(move || converse(stream, &log, &*policy));
        }
    });
    port
}

/// Serves one connection until either side has had enough.
fn converse(stream: TcpStream, log: &Log, policy: &Policy) -> Option<()> {
    let mut output = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let request = Frame::read(&mut input, &mut Vec::new()).ok()?;
        let words: Vec<String> = request.items().iter().map(Frame::text).collect();
        let answer = match words[0].as_str() {
            "CLIENT" => say("+OK"),
            "HELLO" => say("%0"),
            _ => policy(log, &words.join(" ")),
        };
        match answer {
            Answer::Say(text) => output.write_all(text.as_bytes()).ok()?,
            Answer::Hangup => return None,
        }
    }
}

/// A node with a gateway among two members that are played, and a key of the first of these.
struct Stage {
    node: Node,
    gateway: SocketAddr,
    table: Arc<Table>,
    key: String,
    slot: u16,
}

impl Stage {
    fn new(ports: [u16; 2]) -> Stage {
        let (node, gateway) = with_gateway(0);
        let members = vec![member(0, node.address.port()), member(1, ports[0]), member(2, ports[1])];
        let table = Arc::new(founded(members));
        node.follow(&table);
        let theirs =
            |key: &String| table.owner(slot_of(key.as_bytes()).number()).map(|owner| owner.id) == Some(id(1));
        let key = (0..).map(|number| format!("k{number}")).find(theirs).expect("some key is its");
        let slot = slot_of(key.as_bytes()).number();
        Stage { node, gateway, table, key, slot }
    }

    fn connect(&self) -> Client {
        Client::connect(self.gateway).expect("the gateway")
    }

    /// Gives the slot to another member, as far as the node with the gateway knows.
    fn give_to(&self, number: u8) {
        let mut table = Table::clone(&self.table);
        let begin = Change::Begin { start: self.slot, end: self.slot, from: id(1), to: id(number) };
        let movement = table.apply(&begin).expect("a move");
        table.apply(&Change::Commit { id: movement }).expect("the same");
        self.node.follow(&Arc::new(table));
    }
}

/// Sends requests at once; a `#` in them stands for the key.
fn send(client: &mut Client, key: &str, lines: &[&str]) {
    let words = |line: &str| line.split(' ').map(|word| word.replace('#', key)).collect::<Vec<_>>();
    let wire: Vec<u8> = lines.iter().flat_map(|line| encode(&words(line))).collect();
    client.send_raw(&wire);
}

/// Where a played member's port is known only when all are there.
#[derive(Default)]
struct Port(Mutex<u16>);

impl Port {
    fn moved(&self, slot: u16) -> Answer {
        say(&format!("-MOVED {slot} 127.0.0.1:{}", self.0.lock().expect("no panic")))
    }
}

/// The slot of the key in a request, which is its second word.
fn slot_in(request: &str) -> u16 {
    slot_of(request.split(' ').nth(1).unwrap_or_default().as_bytes()).number()
}

#[test]
fn what_is_sent_on_is_not_overtaken() {
    // The first owner sends two requests on, as the slot has left it; the next owner has not heard of that yet when the
    // first comes, but has when the second would: it sends the first back, and serves from then on.
    let log = Arc::new(Log::default());
    let (first, second) = (Arc::new(Port::default()), Arc::new(Port::default()));
    let to_second = Arc::clone(&second);
    let first_port = play(&log, move |log, request| {
        log.note(format!("first: {request}"));
        to_second.moved(slot_in(request))
    });
    let to_first = Arc::clone(&first);
    let second_port = play(&log, move |log, request| match log.note(format!("second: {request}")) {
        _ if log.lines().iter().filter(|line| line.starts_with("second")).count() == 1 => {
            to_first.moved(slot_in(request))
        }
        place => {
            log.note(format!("done: {request}"));
            say(&format!(":{place}"))
        }
    });
    (*first.0.lock().expect("no panic"), *second.0.lock().expect("no panic")) = (first_port, second_port);
    let stage = Stage::new([first_port, second_port]);
    let mut client = stage.connect();
    let requests: Vec<String> = (0..5).map(|number| format!("APPEND # {number}")).collect();
    let lines: Vec<&str> = requests.iter().map(String::as_str).collect();
    send(&mut client, &stage.key, &lines);
    for number in 0..5 {
        let reply = client.reply();
        assert!(matches!(reply, Frame::Integer(_)), "request {number}: {reply}\n{:#?}", log.lines());
    }
    let done: Vec<String> = log.lines().into_iter().filter(|line| line.starts_with("done")).collect();
    let expected: Vec<String> = (0..5).map(|number| format!("done: APPEND {} {number}", stage.key)).collect();
    assert_eq!(done, expected, "{:#?}", log.lines());
}

#[test]
fn what_runs_here_does_not_overtake_what_is_under_way() {
    let log = Arc::new(Log::default());
    let owner = play(&log, |log, request| {
        log.note(request);
        // Long enough for the next request to come, and to be executed if it were.
        log.has("the next was answered", QUIET);
        say(":1")
    });
    let stage = Stage::new([owner, owner]);
    let mut client = stage.connect();
    send(&mut client, &stage.key, &["APPEND # a"]);
    assert!(log.has(&format!("APPEND {} a", stage.key), LIMIT));
    stage.give_to(0);
    send(&mut client, &stage.key, &["APPEND # bb"]);
    let mut other = Client::connect(stage.node.address).expect("the node");
    let began = Instant::now();
    while began.elapsed() < QUIET / 2 {
        if other.line(&format!("EXISTS {}", stage.key)).integer() != 0 {
            log.note("the next was answered");
            panic!("the second request was executed before the first was answered");
        }
    }
    assert_eq!((client.reply().integer(), client.reply().integer()), (1, 2));
}

#[test]
fn another_protocol_does_not_overtake() {
    let log = Arc::new(Log::default());
    let owner = play(&log, |log, request| {
        let place = log.note(request);
        if request.ends_with(" a") {
            let next = request.replace(" a", " b");
            assert!(!log.has(&next, QUIET), "the second request came before the first was answered");
        }
        say(&format!(":{place}"))
    });
    let stage = Stage::new([owner, owner]);
    let mut client = stage.connect();
    send(&mut client, &stage.key, &["APPEND # a", "HELLO 3", "APPEND # b"]);
    assert_eq!(client.reply().integer(), 1);
    assert!(matches!(client.reply(), Frame::Map(_)));
    assert_eq!(client.reply().integer(), 2);
}

#[test]
fn what_is_of_all_nodes_keeps_its_place() {
    // A write that is sent on, and a flush behind it: nothing of the write may be left.
    let log = Arc::new(Log::default());
    let second = Arc::new(Port::default());
    let to_second = Arc::clone(&second);
    let first_port = play(&log, move |log, request| {
        if request.starts_with("SET") {
            return to_second.moved(slot_in(request));
        }
        log.note(request);
        say("+OK")
    });
    let second_port = play(&log, |log, request| {
        log.note(request);
        say("+OK")
    });
    *second.0.lock().expect("no panic") = second_port;
    let stage = Stage::new([first_port, second_port]);
    let mut client = stage.connect();
    send(&mut client, &stage.key, &["SET # 1", "FLUSHALL", "SET # 2"]);
    for _ in 0..3 {
        assert_eq!(client.reply().to_string(), "OK");
    }
    let set = |value: u8| format!("SET {} {value}", stage.key);
    assert_eq!(log.lines(), [set(1), "FLUSHALL".to_owned(), "FLUSHALL".to_owned(), set(2)]);
}

#[test]
fn a_read_is_not_tried_again_behind_a_write_that_may_have_been_executed() {
    let log = Arc::new(Log::default());
    let owner = play(&log, |log, request| {
        log.note(request);
        match request {
            "GET other" => say("$-1"),
            _ if request.starts_with("GET") => {
                // By then the write behind it is on its way.
                log.has("go on", QUIET);
                Answer::Hangup
            }
            _ => say(":1"),
        }
    });
    let stage = Stage::new([owner, owner]);
    let mut client = stage.connect();
    send(&mut client, &stage.key, &["GET #", "SET # 2"]);
    for request in ["GET", "SET"] {
        let reply = client.reply();
        let known =
            matches!(&reply, Frame::Error(text) if text.contains("may or may not have been executed"));
        assert!(known, "{request}: {reply}");
    }
    assert_eq!(log.times(&format!("GET {}", stage.key)), 1, "{:#?}", log.lines());
}

#[test]
fn a_link_is_refused_what_follows_a_refusal_until_it_says_that_it_has_heard() {
    let (nodes, table) = crate::nodes::cluster(2);
    let of_first =
        |key: &String| table.owner(slot_of(key.as_bytes()).number()).map(|owner| owner.id) == Some(id(0));
    let mut keys = (0..).map(|number| format!("k{number}")).filter(of_first);
    let (key, other) = (keys.next().expect("some key is its"), keys.next().expect("and another"));
    let slot = slot_of(key.as_bytes()).number();
    let mut without = Table::clone(&table);
    let begin = Change::Begin { start: slot, end: slot, from: id(0), to: id(1) };
    let movement = without.apply(&begin).expect("a move");
    without.apply(&Change::Commit { id: movement }).expect("the same");
    let (mut link, mut plain) = (nodes[0].connect(false), nodes[0].connect(false));
    link.check("CLIENT CAPA larder-gateway-order", "OK");
    link.check(&format!("APPEND {key} a"), "1");
    nodes[0].follow(&Arc::new(without));
    for client in [&mut link, &mut plain] {
        let reply = client.line(&format!("APPEND {key} b"));
        assert!(matches!(&reply, Frame::Error(text) if text.starts_with("MOVED ")), "{reply}");
    }
    nodes[0].follow(&table);
    // The slot has come back: what was sent behind the refused request must not be executed before it.
    for _ in 0..2 {
        link.check(&format!("APPEND {key} c"), "-CLUSTERDOWN Hash slot not served");
    }
    link.check(&format!("APPEND {other} x"), "1");
    plain.check(&format!("APPEND {key} d"), "2");
    link.check("CLIENT CAPA larder-gateway-order", "OK");
    link.check(&format!("APPEND {key} b"), "3");
}
