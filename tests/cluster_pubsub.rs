//! Pub/sub in clusters of real processes: every subscriber hears every publisher, in order and never twice, while nodes
//! come and go; shard channels follow their slots; the gateway hides all that.

mod support;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use larder::base::slot::slot_of;
use support::client::{Client, encode};
use support::cluster::Cluster;
use support::frame::Frame;

/// Messages of each publisher where nothing goes wrong.
const MESSAGES: u64 = 3_000;
/// Messages that a publisher sends before it reads replies.
const PIPELINE: u64 = 100;
/// Messages that a publisher sends at once all the while, and its pause behind them.
const BURST: u64 = 10;
const BREATH: Duration = Duration::from_millis(10);
const GATEWAY_PORT: u16 = 6380;

/// Leases that no busy machine loses: what is tested here is not what happens when they run out.
const PATIENT: [&str; 2] = ["--cluster-node-timeout", "30000"];
/// One cluster at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A text or a number as text.
fn plain(frame: &Frame) -> String {
    match frame {
        Frame::Integer(number) => number.to_string(),
        Frame::Null => "nil".to_owned(),
        other => other.text(),
    }
}

/// The elements of an array or a push as text.
fn words(frame: &Frame) -> Vec<String> {
    frame.items().iter().map(plain).collect()
}

/// A connection that has subscribed by one command to one name.
#[track_caller]
fn subscriber(mut client: Client, resp3: bool, command: &str, name: &str) -> Client {
    if resp3 {
        client = client.hello3();
    }
    subscribe(&mut client, command, name, 1);
    client
}

#[track_caller]
fn subscribe(client: &mut Client, command: &str, name: &str, count: usize) {
    client.send(&[command, name]);
    assert_eq!(words(&client.receive()), [&command.to_lowercase(), name, &count.to_string()]);
}

/// Publishes `count` numbers from `first` on, in pipelines.
fn publish(client: &mut Client, channel: &str, publisher: usize, count: u64) {
    for first in (0..count).step_by(PIPELINE as usize) {
        let mut batch = Vec::new();
        for number in first..count.min(first + PIPELINE) {
            batch.extend(encode(&["PUBLISH", channel, &format!("{publisher} {number}")]));
        }
        client.send_raw(&batch);
        for _ in first..count.min(first + PIPELINE) {
            client.reply().integer();
        }
    }
}

#[test]
fn every_subscriber_hears_every_publisher_in_order() {
    let _turn = turn();
    let cluster = Cluster::start(3, &PATIENT);
    cluster.wait_ok();
    let mut listeners = Vec::new();
    for number in 0..3 {
        listeners.push(subscriber(cluster.connect(number), false, "SUBSCRIBE", "news"));
        listeners.push(subscriber(cluster.connect(number), true, "SUBSCRIBE", "news"));
        listeners.push(subscriber(cluster.connect(number), number == 0, "PSUBSCRIBE", "n?ws"));
    }
    let publishers: Vec<JoinHandle<()>> = (0..3)
        .map(|number| {
            let mut client = cluster.connect(number);
            thread::spawn(move || publish(&mut client, "news", number, MESSAGES))
        })
        .collect();
    for listener in &mut listeners {
        let mut next = [0; 3];
        for _ in 0..3 * MESSAGES {
            let heard = words(&listener.receive());
            let (kind, text) = (heard[0].as_str(), heard.last().expect("a message"));
            match kind {
                "message" => assert_eq!(heard[1], "news"),
                _ => assert_eq!((kind, heard[1].as_str(), heard[2].as_str()), ("pmessage", "n?ws", "news")),
            }
            let (publisher, number) = text.split_once(' ').expect("two numbers");
            let next: &mut u64 = &mut next[publisher.parse::<usize>().expect("a publisher")];
            assert_eq!(number, next.to_string());
            *next += 1;
        }
    }
    publishers.into_iter().for_each(|publisher| publisher.join().expect("all was published"));
    let mut client = cluster.connect(1);
    client.check("PUBLISH news x", "3");
    client.check("PUBLISH nobody x", "0");
    client.check("PUBSUB NUMSUB news", "[\"news\", 2]");
    let ids: Vec<String> = (0..3).map(|number| cluster.connect(number).line("CLUSTER MYID").text()).collect();
    for number in 0..3 {
        let mut client = cluster.connect(number);
        cluster.wait("links to and from every other node are listed, and nothing waits", || {
            let links = client.line("CLUSTER LINKS");
            let of = |direction: &str, id: &String| {
                let wanted = [("direction", direction), ("node", id.as_str()), ("send-buffer-used", "0")];
                links.items().iter().map(Frame::pairs).any(|fields| {
                    let has = |name: &str, value: &str| {
                        fields.iter().any(|(field, known)| field.text() == name && plain(known) == value)
                    };
                    wanted.iter().all(|(name, value)| has(name, value))
                })
            };
            let others = ids.iter().filter(|id| **id != ids[number]);
            others.into_iter().all(|id| of("to", id) && of("from", id)) && !of("to", &ids[number])
        });
    }
}

/// A publisher that goes on until it is told to stop, or its node is gone.
fn publish_on(address: SocketAddr, name: usize, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    let mut client = Client::connect(address).expect("a connection");
    thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut batch = Vec::new();
            for _ in 0..BURST {
                number += 1;
                batch.extend(encode(&["PUBLISH", "news", &format!("{name} {number}")]));
            }
            if client.try_send_raw(&batch).is_err() || (0..BURST).any(|_| client.try_receive().is_err()) {
                break;
            }
            // The nodes shall not be kept from what keeps them in the cluster.
            thread::sleep(BREATH);
        }
        number
    })
}

/// What a listener has heard of each publisher: the last number, and how many.
type Heard = HashMap<usize, (u64, u64)>;

/// A listener that goes on until its node is gone, or it has heard a last word of each of so many publishers.
fn listen_on(address: SocketAddr, last_words: Arc<AtomicUsize>) -> JoinHandle<Heard> {
    let client = Client::connect(address).expect("a connection");
    let mut client = subscriber(client, true, "SUBSCRIBE", "news");
    thread::spawn(move || {
        let (mut heard, mut ended) = (Heard::new(), HashSet::new());
        while let Ok(frame) = client.try_receive() {
            let text = words(&frame).pop().expect("a message");
            if let Some(name) = text.strip_prefix("stop ") {
                ended.insert(name.to_owned());
                if ended.len() == last_words.load(Ordering::Relaxed) {
                    break;
                }
                continue;
            }
            let (publisher, number) = text.split_once(' ').expect("two numbers");
            let (publisher, number) = (publisher.parse().expect("a name"), number.parse().expect("a number"));
            let (last, count) = heard.entry(publisher).or_default();
            assert!(number > *last, "{number} of publisher {publisher} after {last}");
            (*last, *count) = (number, *count + 1);
        }
        heard
    })
}

#[test]
fn order_holds_while_nodes_join_leave_and_die() {
    let _turn = turn();
    let mut cluster = Cluster::start(3, &[]);
    cluster.wait_ok();
    let stop = Arc::new(AtomicBool::new(false));
    let last_words = Arc::new(AtomicUsize::new(usize::MAX));
    let mut publishers = Vec::new();
    let mut listeners = Vec::new();
    for number in 0..3 {
        listeners.push(listen_on(cluster.address(number), Arc::clone(&last_words)));
        publishers.push(publish_on(cluster.address(number), number, Arc::clone(&stop)));
    }
    let newcomer = cluster.join();
    cluster.wait_ok();
    listeners.push(listen_on(cluster.address(newcomer), Arc::clone(&last_words)));
    publishers.push(publish_on(cluster.address(newcomer), newcomer, Arc::clone(&stop)));
    assert_eq!(cluster.stop(1), Some(0), "it drains and leaves");
    cluster.wait_ok();
    cluster.kill(2);
    cluster.wait_ok();
    stop.store(true, Ordering::Relaxed);
    let published: Vec<u64> =
        publishers.into_iter().map(|publisher| publisher.join().expect("a publisher")).collect();
    last_words.store(cluster.running().len(), Ordering::Relaxed);
    let running = cluster.running();
    cluster.wait("all have heard a last word", || {
        for number in &running {
            cluster.connect(*number).cmd(&["PUBLISH", "news", &format!("stop {number}")]);
        }
        running.iter().all(|number| listeners[*number].is_finished())
    });
    let heard: Vec<Heard> =
        listeners.into_iter().map(|listener| listener.join().expect("in order")).collect();
    println!("published {published:?}, heard {heard:?}");
    for listener in running {
        for (publisher, published) in published.iter().enumerate() {
            let (last, count) = heard[listener].get(&publisher).copied().unwrap_or_default();
            assert!(count > 0, "{listener} heard nothing of {publisher}");
            assert!(last <= *published && count <= last);
            if listener == publisher {
                assert_eq!(last, *published, "its own node's");
            }
        }
    }
}

/// Where a channel's slot is, as node `number` says.
fn owner(cluster: &Cluster, number: usize, channel: &str) -> SocketAddr {
    match cluster.connect(number).cmd(&["SPUBLISH", channel, ""]) {
        Frame::Error(text) if text.starts_with("MOVED ") => {
            text.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address")
        }
        Frame::Integer(_) => cluster.address(number),
        other => panic!("{other}"),
    }
}

/// Shard channels, each of a slot of its own.
fn shard_channels(count: usize) -> Vec<String> {
    let mut slots = HashSet::new();
    let mut names = (0..).map(|number| format!("shard:{number}"));
    (0..count)
        .map(|_| names.find(|name| slots.insert(slot_of(name.as_bytes()))).expect("more names"))
        .collect()
}

/// The shard channels that somebody is subscribed to at a node.
fn active(cluster: &Cluster, number: usize) -> HashSet<String> {
    words(&cluster.connect(number).line("PUBSUB SHARDCHANNELS")).into_iter().collect()
}

#[test]
fn shard_channels_are_where_their_slots_are() {
    let _turn = turn();
    let cluster = Cluster::start(3, &PATIENT);
    cluster.wait_ok();
    let channels = shard_channels(64);
    let by_node = |number: usize| {
        let mut own = channels.iter().filter(|name| owner(&cluster, 0, name) == cluster.address(number));
        own.next().expect("every node has some").clone()
    };
    let [mine, other] = [by_node(0), by_node(1)];
    let moved = format!("-MOVED {} {}", slot_of(other.as_bytes()).number(), cluster.address(1));
    let mut client = cluster.connect(0);
    for command in ["SSUBSCRIBE", "SUNSUBSCRIBE"] {
        client.check(&format!("{command} {other}"), &moved);
        client.check(
            &format!("{command} {mine} {other}"),
            "-CROSSSLOT Keys in request don't hash to the same slot",
        );
    }
    client.check(&format!("SPUBLISH {other} x"), &moved);
    let hashed = format!("{{{mine}}}");
    client.send(&["SSUBSCRIBE", &format!("a{hashed}"), &format!("b{hashed}")]);
    assert_eq!(words(&client.receive()), ["ssubscribe", &format!("a{hashed}"), "1"]);
    assert_eq!(words(&client.receive()), ["ssubscribe", &format!("b{hashed}"), "2"]);
    let mut listener = subscriber(cluster.connect(0), true, "SSUBSCRIBE", &mine);
    let mut publisher = cluster.connect(0);
    publisher.check(&format!("SPUBLISH {mine} hello"), "1");
    publisher.check(&format!("PUBLISH {mine} other"), "0");
    assert_eq!(words(&listener.receive()), ["smessage", &mine, "hello"]);
    publisher.check(&format!("PUBSUB SHARDNUMSUB {mine}"), &format!("[\"{mine}\", 1]"));
    for line in ["MULTI", &format!("SPUBLISH {mine} in"), "EXEC"] {
        publisher.line(line);
    }
    assert_eq!(words(&listener.receive()), ["smessage", &mine, "in"]);
    publisher.check("MULTI", "OK");
    publisher.check(&format!("SPUBLISH {other} x"), &moved);
    assert!(publisher.line("EXEC").is_error());
    listener.send(&["SUNSUBSCRIBE"]);
    assert_eq!(words(&listener.receive()), ["sunsubscribe", &mine, "0"]);
}

/// What a subscriber of all these channels still is when it has been told what has ended.
fn kept_by(listener: &mut Client, names: &[String]) -> HashSet<String> {
    let mut left: HashSet<String> = names.iter().cloned().collect();
    for words in pushed(listener) {
        assert!(left.remove(&words[1]), "{} twice", words[1]);
        assert_eq!((words[0].as_str(), &words[2]), ("sunsubscribe", &left.len().to_string()));
    }
    left
}

/// Reads what comes before the reply to PING; each as words.
fn pushed(client: &mut Client) -> Vec<Vec<String>> {
    client.send(&["PING", "end"]);
    let mut all = Vec::new();
    loop {
        match client.receive() {
            Frame::Bulk(text) if text == b"end" => return all,
            Frame::Array(items) if items.first() == Some(&Frame::Bulk(b"pong".to_vec())) => return all,
            frame => all.push(words(&frame)),
        }
    }
}

/// How many slots a node has, as node 0 says.
fn slots_of(cluster: &Cluster, number: usize) -> i64 {
    let address = cluster.address(number).ip().to_string();
    let ranges = cluster.connect(0).line("CLUSTER SLOTS");
    let own = ranges.items().iter().filter(|range| range.items()[2].items()[0].text() == address);
    own.map(|range| 1 + range.items()[1].integer() - range.items()[0].integer()).sum()
}

#[test]
fn a_slot_that_moves_ends_its_subscriptions() {
    let _turn = turn();
    let mut cluster = Cluster::start(2, &PATIENT);
    cluster.wait_ok();
    let channels = shard_channels(200);
    let first = cluster.address(0);
    let mine: Vec<String> =
        channels.iter().filter(|name| owner(&cluster, 1, name) == first).cloned().collect();
    let mut listeners = [cluster.connect(0), cluster.connect(0).hello3()];
    for listener in &mut listeners {
        for (name, count) in mine.iter().zip(1..) {
            subscribe(listener, "SSUBSCRIBE", name, count);
        }
        subscribe(listener, "SUBSCRIBE", "stays", 1);
    }
    // Others come and go all the while; whatever they do, what they have at the end is served here.
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<JoinHandle<HashSet<String>>> = (0..2)
        .map(|number| {
            let (client, mine, stop) = (cluster.connect(0).hello3(), mine.clone(), Arc::clone(&stop));
            thread::spawn(move || come_and_go(client, &mine, number, &stop))
        })
        .collect();
    cluster.join();
    cluster.wait("the newcomer has its share", || slots_of(&cluster, 2) >= 16384 / 3 && cluster.agree());
    stop.store(true, Ordering::Relaxed);
    let kept: HashSet<String> =
        mine.iter().filter(|name| owner(&cluster, 1, name) == first).cloned().collect();
    assert!(!kept.is_empty() && kept.len() < mine.len(), "some have moved: {}", kept.len());
    let [held, same] = listeners.each_mut().map(|listener| kept_by(listener, &mine));
    assert_eq!(held, same);
    // On a machine with too much to do a slot may have gone and come back.
    assert!(held.is_subset(&kept), "{held:?} are not all served here, but {kept:?}");
    for busy in busy {
        let held = busy.join().expect("every reply is one of those that may be");
        assert!(held.is_subset(&kept), "{held:?} are not all served here");
    }
    assert_eq!(active(&cluster, 0), held);
    let gone = mine.iter().find(|name| !kept.contains(*name)).expect("one has moved");
    let stays = &held.iter().next().expect("one has stayed").clone();
    let mut publisher = cluster.connect(0);
    assert!(publisher.line(&format!("SPUBLISH {gone} x")).to_string().starts_with("-MOVED "));
    publisher.check(&format!("SPUBLISH {stays} x"), "2");
    cluster.connect(1).check("PUBLISH stays y", "0");
    for listener in &mut listeners {
        assert_eq!(words(&listener.receive()), ["smessage", stays, "x"]);
        assert_eq!(words(&listener.receive()), ["message", "stays", "y"], "it is still subscribed");
        listener.send(&["SSUBSCRIBE", gone]);
        assert!(listener.receive().to_string().starts_with("-MOVED "));
    }
    // A node that leaves gives all of them away.
    cluster.signal(0, "TERM");
    let [mut listener, _] = listeners;
    let mut left = held;
    while !left.is_empty() {
        let frame = listener.try_receive();
        let words = words(&frame.unwrap_or_else(|error| panic!("{error}: {left:?}\n{}", cluster.output())));
        assert_eq!(words[0], "sunsubscribe");
        assert!(left.remove(&words[1]), "{} twice", words[1]);
    }
    assert_eq!(cluster.wait_exit(0), Some(0));
}

/// Subscribes to and leaves shard channels, in turn, until it is told to stop; the channels that it has then.
fn come_and_go(mut client: Client, names: &[String], seed: usize, stop: &AtomicBool) -> HashSet<String> {
    let mut held = HashSet::new();
    let note = |held: &mut HashSet<String>, words: Vec<String>| match words[0].as_str() {
        "ssubscribe" => drop(held.insert(words[1].clone())),
        "sunsubscribe" => drop(held.remove(&words[1])),
        other => panic!("{other}"),
    };
    let mut turn = seed;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(BREATH / 10);
        turn += 1;
        let name = &names[turn * 7 % names.len()];
        let command = if turn.is_multiple_of(3) { "SUNSUBSCRIBE" } else { "SSUBSCRIBE" };
        client.send(&[command, name]);
        // Its own confirmation comes behind what has ended meanwhile.
        loop {
            match client.receive() {
                Frame::Error(text) => {
                    assert!(text.starts_with("MOVED ") || text.starts_with("CLUSTERDOWN "), "{text}");
                    break;
                }
                frame => {
                    let words = words(&frame);
                    let is_own = words[0].eq_ignore_ascii_case(command) && words[1] == *name;
                    note(&mut held, words);
                    if is_own {
                        break;
                    }
                }
            }
        }
    }
    pushed(&mut client).into_iter().for_each(|words| note(&mut held, words));
    held
}

fn gateway(cluster: &Cluster, number: usize) -> Client {
    let address = SocketAddr::new(cluster.address(number).ip(), GATEWAY_PORT);
    Client::connect(address).unwrap_or_else(|error| panic!("node {number}: {error}"))
}

#[test]
fn the_gateway_is_one_server_to_subscribers() {
    let _turn = turn();
    let mut cluster = Cluster::start(3, &[&PATIENT[..], &["--gateway-port", "6380"]].concat());
    cluster.wait_ok();
    let channels = shard_channels(40);
    let mut listeners: Vec<Client> = (0..3).map(|number| gateway(&cluster, number)).collect();
    listeners[1] = gateway(&cluster, 1).hello3();
    for listener in &mut listeners {
        subscribe(listener, "SUBSCRIBE", "news", 1);
        subscribe(listener, "PSUBSCRIBE", "w*", 2);
        for (name, count) in channels.iter().zip(1..) {
            subscribe(listener, "SSUBSCRIBE", name, count);
        }
    }
    let mut publisher = gateway(&cluster, 0).hello3();
    publisher.check("PUBLISH news a", "1");
    publisher.check("PUBLISH weather b", "1");
    for listener in &mut listeners {
        assert_eq!(words(&listener.receive()), ["message", "news", "a"]);
        assert_eq!(words(&listener.receive()), ["pmessage", "w*", "weather", "b"]);
    }
    publisher.check("PUBSUB CHANNELS", "[\"news\"]");
    publisher.check("PUBSUB NUMSUB news none", "[\"news\", 3, \"none\", 0]");
    publisher.check("PUBSUB NUMPAT", "3");
    assert_eq!(publisher.line("PUBSUB SHARDCHANNELS").items().len(), channels.len());
    publisher.check(&format!("PUBSUB SHARDNUMSUB {}", channels[0]), &format!("[\"{}\", 3]", channels[0]));
    shard_messages_reach(&cluster, &mut listeners, &channels, &mut publisher);
    listeners[0].check("GET a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context");
    publisher.check("MULTI", "OK");
    assert!(publisher.line("SUBSCRIBE x").is_error());
    publisher.check("DISCARD", "OK");
    // Slots move, and no subscription at the gateway ends.
    cluster.join();
    cluster.wait_ok();
    shard_messages_reach(&cluster, &mut listeners, &channels, &mut publisher);
}

/// Publishes to every shard channel, by the gateway and at its owner, and sees that all listeners hear it in order.
fn shard_messages_reach(
    cluster: &Cluster,
    listeners: &mut [Client],
    channels: &[String],
    publisher: &mut Client,
) {
    let mut direct = cluster.client();
    for name in channels {
        publisher.cmd(&["SPUBLISH", name, "by the gateway"]).integer();
        direct.cmd(&["SPUBLISH", name, "at the owner"]).integer();
        for listener in listeners.iter_mut() {
            assert_eq!(words(&listener.receive()), ["smessage", name, "by the gateway"]);
            assert_eq!(words(&listener.receive()), ["smessage", name, "at the owner"]);
        }
    }
}
