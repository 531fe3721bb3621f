//! Fuzz target: whatever an authenticated peer sends, fragments, greetings, gossip and what nodes say of themselves are
//! read without a panic, within their bounds, and what is accepted is written as it was read.
//!
//! The first byte chooses the class of link and the lengths into which the rest is cut as fragments.
#![no_main]

use larder::base::limits::{CLUSTER_NODES_MAX, PEER_HELLO_MAX_BYTES};
use larder::hub::bus::Records;
use larder::peer::fault::Fault;
use larder::peer::frame::{Class, GREETING_BYTES, Joiner, PeerHello, check_greeting, fragments, greeting};
use larder::peer::message::{self, Ask};
use larder::peer::{gossip_wire, member, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let class = Class::ALL[usize::from(choice & 3) % Class::ALL.len()];
    join(class, rest, usize::from(choice >> 2) + 9);
    let read: usize = Records::new(rest).map(|(channel, message)| channel.len() + message.len()).sum();
    assert!(read <= rest.len());
    if let Some((ask, tail)) = message::decode::<Ask>(rest) {
        assert_eq!(message::decode::<Ask>(&message::encode(&ask, tail)), Some((ask, tail)));
    }
    if let Ok(hello) = PeerHello::decode(rest) {
        assert!(rest.len() <= PEER_HELLO_MAX_BYTES);
        assert_eq!(PeerHello::decode(&hello.encode()), Ok(hello));
    }
    if let Some(theirs) = rest.first_chunk::<GREETING_BYTES>() {
        let ours = greeting("larder");
        assert_eq!(check_greeting(theirs, &ours).is_ok(), *theirs == ours);
    }
    gossip(rest);
    if let Ok(text) = std::str::from_utf8(rest) {
        // Whether it is a seed or not; names are ASCII and short.
        assert!(seeds::Seed::parse(text, 1).is_err() || text.is_ascii());
        let values = text.split('\n').filter_map(|line| line.split_once('='));
        if let Ok((id, incarnation, said)) = member::decode(values) {
            let again = said.encode(id, incarnation);
            let again = member::decode(again.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            assert_eq!(again, Ok((id, incarnation, said)));
        }
    }
});

/// Cuts `wire` into fragments of `length`; each message that comes out is cut and joined once more.
fn join(class: Class, wire: &[u8], length: usize) {
    let mut joiner = Joiner::new(class);
    for fragment in wire.chunks(length) {
        match joiner.push(fragment) {
            Ok(None) => assert!(joiner.is_amid()),
            Ok(Some(message)) => {
                assert!(!joiner.is_amid() && message.body.len() <= class.body_max_bytes());
                let mut again = Joiner::new(class);
                let mut joined = None;
                for (header, part) in fragments(message.kind, message.id, &message.body) {
                    let plain = [header.as_ref().map_or(&[][..], |header| &header[..]), part].concat();
                    joined = again.push(&plain).expect("what was written is read");
                }
                assert_eq!(joined, Some(message));
            }
            Err(fault) => {
                assert!(matches!(fault, Fault::Malformed | Fault::Oversized));
                return;
            }
        }
    }
}

/// As it stands, and behind the tag, which is hard to guess.
fn gossip(rest: &[u8]) {
    let tagged = [&[gossip_wire::GOSSIP_TAG], rest].concat();
    for body in [rest, &tagged] {
        let seen = std::cell::Cell::new(0);
        let count = |_: &chitchat::ChitchatId| {
            seen.set(seen.get() + 1);
            true
        };
        if let Ok(message) = gossip_wire::decode(body, count) {
            assert!(seen.get() <= CLUSTER_NODES_MAX);
            // Not what carries a delta: chitchat asserts that it writes one as long as it was read, which it never does.
            let is_opening = gossip_wire::is_opening(&message);
            assert!(!is_opening || gossip_wire::encode(&message).is_some(), "what was read can be written");
        }
    }
}
