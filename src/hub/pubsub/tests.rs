//! The registry against a naive model, and its rules one by one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert_eq, prop_oneof, proptest};

use super::{Kind, PubSub, patterns};
use crate::base::glob;
use crate::base::slot::slot_of;
use crate::config::types::{OutputLimit, OutputLimits};
use crate::hub::clients::{Client, Clients, NewClient, flag};

const NO_LIMITS: OutputLimits = {
    const NONE: OutputLimit = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 };
    OutputLimits { normal: NONE, replica: NONE, pubsub: NONE }
};

fn clients(count: usize) -> Vec<Arc<Client>> {
    let all = Clients::new();
    let new = || NewClient {
        peer: String::new(),
        local: String::new(),
        unix: false,
        worker: 0,
        descriptor: -1,
        now_ms: 0,
    };
    (0..count).filter_map(|_| all.register(new(), count)).collect()
}

fn text(client: &Client) -> String {
    let mut bytes = Vec::new();
    client.drain_outbox(|frame| bytes.extend_from_slice(&frame));
    bytes.escape_ascii().to_string()
}

#[test]
fn each_protocol_and_pattern_has_its_frame() {
    let (pubsub, clients) = (PubSub::default(), clients(2));
    clients[1].set_protocol(3, drop);
    for client in &clients {
        assert!(pubsub.subscribe(Kind::Channel, b"news", client));
        assert!(pubsub.subscribe(Kind::Pattern, b"n*", client));
        assert!(!pubsub.subscribe(Kind::Pattern, b"n*", client));
        assert!(client.has(flag::PUBSUB));
    }
    assert_eq!(pubsub.publish(b"news", b"hi", &NO_LIMITS, 0), 4);
    let frames = |kind: char| {
        format!(
            "{kind}3\\r\\n$7\\r\\nmessage\\r\\n$4\\r\\nnews\\r\\n$2\\r\\nhi\\r\\n{kind}4\\r\\n$8\\r\\npmessage\\r\\n$2\\r\\nn*\
             \\r\\n$4\\r\\nnews\\r\\n$2\\r\\nhi\\r\\n"
        )
    };
    assert_eq!(text(&clients[0]), frames('*'));
    assert_eq!(text(&clients[1]), frames('>'));
    assert!(pubsub.unsubscribe(Kind::Channel, b"news", &clients[0]));
    assert!(!pubsub.unsubscribe(Kind::Channel, b"news", &clients[0]));
    assert!(clients[0].has(flag::PUBSUB));
    assert!(pubsub.unsubscribe(Kind::Pattern, b"n*", &clients[0]));
    assert!(!clients[0].has(flag::PUBSUB));
    assert_eq!(pubsub.publish(b"news", b"hi", &NO_LIMITS, 0), 2);
    assert_eq!(text(&clients[0]), "");
    let counts = pubsub.counts();
    assert_eq!((counts.published, counts.delivered, counts.dropped), (2, 6, 0));
}

#[test]
fn who_does_not_read_is_closed_and_the_others_go_on() {
    let (pubsub, clients) = (PubSub::default(), clients(2));
    let hard_bytes = 1000;
    let pubsub_limit = OutputLimit { hard_bytes, soft_bytes: 0, soft_seconds: 0 };
    let limits = OutputLimits { pubsub: pubsub_limit, ..NO_LIMITS };
    for client in &clients {
        pubsub.subscribe(Kind::Shard, b"c", client);
    }
    let mut receivers = Vec::new();
    for _ in 0..20 {
        receivers.push(pubsub.publish_shard(b"c", &[b'x'; 100], &limits, 0));
        assert!(clients[0].outbox_bytes() as u64 <= hard_bytes);
        text(&clients[1]);
    }
    assert_eq!((receivers[0], receivers[19]), (2, 1));
    assert!(clients[0].is_killed() && !clients[1].is_killed());
}

#[test]
fn shard_channels_are_found_by_their_slots() {
    let (pubsub, clients) = (PubSub::default(), clients(2));
    pubsub.subscribe(Kind::Shard, b"{a}1", &clients[0]);
    pubsub.subscribe(Kind::Shard, b"{a}1", &clients[1]);
    pubsub.subscribe(Kind::Shard, b"{b}2", &clients[1]);
    let found = pubsub.shard_channels(|slot| slot == slot_of(b"{a}"));
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].0, found[0].1.len()), (&b"{a}1"[..], 2));
}

#[test]
fn events_are_heard_while_a_name_can_match_their_channels() {
    let heard = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&heard);
    let pubsub = PubSub::new(Box::new(move |on| told.store(usize::from(on), Ordering::Relaxed)), 1);
    let clients = clients(2);
    let is_heard = || heard.load(Ordering::Relaxed) == 1;
    let cases: &[(Kind, &[u8], bool)] = &[
        (Kind::Channel, b"news", false),
        (Kind::Channel, b"__key", false),
        (Kind::Channel, b"__keyspace@0__:k", true),
        (Kind::Channel, b"__keyevent@3__:set", true),
        (Kind::Shard, b"__keyspace@0__:k", false),
        (Kind::Pattern, b"*", true),
        (Kind::Pattern, b"__key*", true),
        (Kind::Pattern, b"__keyevent@*__:expired", true),
        (Kind::Pattern, b"_?key", true),
        (Kind::Pattern, b"user:*", false),
        (Kind::Pattern, b"__key", false),
        (Kind::Pattern, b"__keyx*", false),
    ];
    for &(kind, name, hears) in cases {
        pubsub.subscribe(kind, name, &clients[0]);
        pubsub.subscribe(kind, name, &clients[1]);
        assert_eq!(is_heard(), hears, "{}", name.escape_ascii());
        pubsub.unsubscribe(kind, name, &clients[0]);
        assert_eq!(is_heard(), hears, "{}", name.escape_ascii());
        pubsub.unsubscribe(kind, name, &clients[1]);
        assert!(!is_heard(), "{}", name.escape_ascii());
    }
    assert!(pubsub.is_empty());
}

#[test]
fn of_many_patterns_only_those_that_match_get_a_message() {
    const PATTERNS: usize = 5_000;
    let (pubsub, clients) = (PubSub::default(), clients(1));
    let pattern = |number: usize| format!("{}:{number}:*", "x".repeat(number % 7));
    for number in 0..PATTERNS {
        assert!(pubsub.subscribe(Kind::Pattern, pattern(number).as_bytes(), &clients[0]));
    }
    assert_eq!(pubsub.len(Kind::Pattern), PATTERNS);
    for number in (0..PATTERNS).step_by(97) {
        let channel = format!("{}:{number}:name", "x".repeat(number % 7));
        assert_eq!(pubsub.publish(channel.as_bytes(), b"m", &NO_LIMITS, 0), 1);
        assert!(text(&clients[0]).contains(&pattern(number)));
    }
    for number in 0..PATTERNS {
        assert!(pubsub.unsubscribe(Kind::Pattern, pattern(number).as_bytes(), &clients[0]));
    }
    assert!(pubsub.is_empty() && pubsub.patterns.is_clean());
}

#[test]
fn many_threads_come_and_go_by_one_name() {
    let pubsub = Arc::new(PubSub::default());
    let threads: Vec<_> = clients(4)
        .into_iter()
        .map(|client| {
            let pubsub = Arc::clone(&pubsub);
            std::thread::spawn(move || {
                for round in 0..500 {
                    let kind = Kind::ALL[round % 3];
                    assert!(pubsub.subscribe(kind, b"n", &client));
                    pubsub.publish(b"n", b"m", &NO_LIMITS, 0);
                    assert!(pubsub.subscribers(kind, b"n") > 0);
                    assert!(pubsub.unsubscribe(kind, b"n", &client));
                    client.clear_outbox();
                }
                client
            })
        })
        .collect();
    for thread in threads {
        let client = thread.join().expect("it ends");
        assert!(!client.has(flag::PUBSUB));
    }
    assert!(pubsub.is_empty());
}

/// What a client may do.
#[derive(Clone, Debug)]
enum Step {
    Enter(usize, Kind, &'static str),
    Leave(usize, Kind, &'static str),
    Publish(&'static str),
    PublishShard(&'static str),
}

const CLIENTS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = || prop_oneof![Just("a"), Just("ab"), Just("abc"), Just("b"), Just("")];
    let patterns = || {
        prop_oneof![Just("*"), Just("a*"), Just("ab?"), Just("[ab]*"), Just("ab"), Just("a\\b"), Just("*b")]
    };
    let who = || 0..CLIENTS;
    let topic = move || {
        prop_oneof![
            (Just(Kind::Channel), names()),
            (Just(Kind::Shard), names()),
            (Just(Kind::Pattern), patterns())
        ]
    };
    let step = prop_oneof![
        (who(), topic()).prop_map(|(who, (kind, name))| Step::Enter(who, kind, name)),
        (who(), topic()).prop_map(|(who, (kind, name))| Step::Leave(who, kind, name)),
        names().prop_map(Step::Publish),
        names().prop_map(Step::PublishShard),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is subscribed and published, counts and deliveries are those of a plain set of pairs.
    #[test]
    fn the_registry_is_a_set_of_subscriptions(steps in steps()) {
        let (pubsub, clients) = (PubSub::default(), clients(CLIENTS));
        let mut model: BTreeSet<(usize, usize, &str)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Enter(who, kind, name) => {
                    let is_new = pubsub.subscribe(kind, name.as_bytes(), &clients[who]);
                    prop_assert_eq!(is_new, model.insert((kind as usize, who, name)));
                }
                Step::Leave(who, kind, name) => {
                    let was_there = pubsub.unsubscribe(kind, name.as_bytes(), &clients[who]);
                    prop_assert_eq!(was_there, model.remove(&(kind as usize, who, name)));
                }
                Step::Publish(channel) => {
                    let receivers = pubsub.publish(channel.as_bytes(), b"m", &NO_LIMITS, 0);
                    let gets = |&&(kind, _, name): &&(usize, usize, &str)| {
                        kind == Kind::Channel as usize && name == channel
                            || kind == Kind::Pattern as usize
                                && glob::matches(name.as_bytes(), channel.as_bytes(), false)
                    };
                    prop_assert_eq!(receivers, model.iter().filter(gets).count());
                    for (who, client) in clients.iter().enumerate() {
                        let expected = model.iter().filter(gets).filter(|entry| entry.1 == who).count();
                        prop_assert_eq!(client.outbox_len().0, expected);
                    }
                }
                Step::PublishShard(channel) => {
                    let receivers = pubsub.publish_shard(channel.as_bytes(), b"m", &NO_LIMITS, 0);
                    let gets = |&&(kind, _, name): &&(usize, usize, &str)| {
                        kind == Kind::Shard as usize && name == channel
                    };
                    prop_assert_eq!(receivers, model.iter().filter(gets).count());
                }
            }
            clients.iter().for_each(|client| client.clear_outbox());
            for kind in Kind::ALL {
                let names: BTreeSet<&str> =
                    model.iter().filter(|entry| entry.0 == kind as usize).map(|entry| entry.2).collect();
                prop_assert_eq!(pubsub.len(kind), names.len());
                for (who, client) in clients.iter().enumerate() {
                    let own = model.iter().filter(|entry| entry.0 == kind as usize && entry.1 == who).count();
                    prop_assert_eq!(client.subscriptions[kind as usize].load(Ordering::Relaxed) as usize, own);
                }
            }
        }
    }

    /// A pattern that matches a text can match what the text begins with.
    #[test]
    fn beginnings_never_rule_out_what_matches(pattern in "[_ak*?\\[\\]\\\\-]{0,6}", text in "[_ak]{0,6}") {
        if glob::matches(pattern.as_bytes(), text.as_bytes(), false) {
            for end in 0..=text.len() {
                proptest::prop_assert!(patterns::can_match(pattern.as_bytes(), &text.as_bytes()[..end]));
            }
        }
    }
}
