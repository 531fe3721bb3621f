//! Gossip as it goes over links. Pure: no sockets, no clock.
//!
//! chitchat's own form of a digest takes some 50 bytes a node, and each message but one carries a digest of all nodes;
//! with hundreds of messages a second that is most of what gossip costs. Here it takes 20: ids as four bytes, numbers
//! as long as they are. The rest of a message travels as chitchat writes it.
//!
//! What comes in is bounded before chitchat sees it: nodes in a digest, and the length to which the compressed part may
//! unfold. Nodes beyond what may be known are left out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use chitchat::{ChitchatId, ChitchatMessage, Deserializable, Serializable};

use crate::base::limits::{CLUSTER_NODES_MAX, GOSSIP_BLOCKS_MAX, GOSSIP_MESSAGE_MAX_BYTES};

/// First byte of a message of gossip, which tells it from others that come by the same links.
pub const GOSSIP_TAG: u8 = b'G';
/// Length of a node's name within gossip: the first digits of its id. Its address and incarnation complete it.
pub const NAME_DIGITS: usize = 8;

/// Magic number and version of chitchat's own form, which is the same for every message.
const HEAD: [u8; 3] = [0x53, 0xb0, 0];
const SYN: u8 = 0;
const SYN_ACK: u8 = 1;
const ACK: u8 = 2;

/// A message that is not as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Whether `message` opens an exchange.
pub fn is_opening(message: &ChitchatMessage) -> bool {
    matches!(message, ChitchatMessage::Syn { .. })
}

/// The message as it goes over a link; nothing if a node in it has another name than this node gives itself.
pub fn encode(message: &ChitchatMessage) -> Option<Vec<u8>> {
    let plain = message.serialize_to_vec();
    let mut input = plain.strip_prefix(&HEAD)?;
    let kind = byte(&mut input)?;
    let mut output = vec![GOSSIP_TAG, kind];
    if matches!(kind, SYN | SYN_ACK) {
        let count = u16::from_le_bytes(array(&mut input)?);
        output.extend_from_slice(&count.to_be_bytes());
        for _ in 0..count {
            pack(&mut input, &mut output)?;
        }
    }
    output.extend_from_slice(input);
    Some(output)
}

/// Reads what came over a link. Nodes that `may_know` refuses are left out of it.
pub fn decode(body: &[u8], may_know: impl Fn(&ChitchatId) -> bool) -> Result<ChitchatMessage, Malformed> {
    decoded(body, may_know).ok_or(Malformed)
}

fn decoded(body: &[u8], may_know: impl Fn(&ChitchatId) -> bool) -> Option<ChitchatMessage> {
    if body.len() > GOSSIP_MESSAGE_MAX_BYTES {
        return None;
    }
    let mut input = body.strip_prefix(&[GOSSIP_TAG])?;
    let kind = byte(&mut input)?;
    let mut plain = HEAD.to_vec();
    plain.push(kind);
    if matches!(kind, SYN | SYN_ACK) {
        let count = u16::from_be_bytes(array(&mut input)?);
        if usize::from(count) > CLUSTER_NODES_MAX {
            return None;
        }
        let at = plain.len();
        plain.extend_from_slice(&[0, 0]);
        let mut known: u16 = 0;
        for _ in 0..count {
            let (id, numbers) = unpack(&mut input)?;
            if may_know(&id) {
                known += 1;
                id.serialize(&mut plain);
                numbers.iter().for_each(|number| number.serialize(&mut plain));
            }
        }
        plain[at..at + 2].copy_from_slice(&known.to_le_bytes());
    }
    if matches!(kind, SYN_ACK | ACK) && blocks(input)? > GOSSIP_BLOCKS_MAX {
        return None;
    }
    plain.extend_from_slice(input);
    let mut rest = plain.as_slice();
    let message = ChitchatMessage::deserialize(&mut rest).ok()?;
    rest.is_empty().then_some(message)
}

/// Moves one node of a digest from chitchat's form to ours.
fn pack(input: &mut &[u8], output: &mut Vec<u8>) -> Option<()> {
    let id = ChitchatId::deserialize(input).ok()?;
    if id.node_id.len() != NAME_DIGITS {
        return None;
    }
    output.extend_from_slice(&u32::from_str_radix(&id.node_id, 16).ok()?.to_be_bytes());
    match id.gossip_advertise_addr.ip() {
        IpAddr::V4(ip) => {
            output.push(4);
            output.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            output.push(6);
            output.extend_from_slice(&ip.octets());
        }
    }
    output.extend_from_slice(&id.gossip_advertise_addr.port().to_be_bytes());
    put_number(id.generation_id, output);
    for _ in 0..3 {
        put_number(u64::from_le_bytes(array(input)?), output);
    }
    Some(())
}

/// Reads one node of a digest: its id; heartbeat, and versions of the last collected and the last set value.
fn unpack(input: &mut &[u8]) -> Option<(ChitchatId, [u64; 3])> {
    let name = u32::from_be_bytes(array(input)?);
    let ip = match byte(input)? {
        4 => IpAddr::from(array::<4>(input)?),
        6 => IpAddr::from(array::<16>(input)?),
        _ => return None,
    };
    let port = u16::from_be_bytes(array(input)?);
    let generation_id = number(input)?;
    let numbers = [number(input)?, number(input)?, number(input)?];
    let node_id: Arc<str> = format!("{name:08x}").into();
    let gossip_advertise_addr = SocketAddr::new(ip, port);
    Some((ChitchatId { node_id, generation_id, gossip_advertise_addr }, numbers))
}

/// How many compressed blocks chitchat's form of a delta consists of; each unfolds to 64 KiB at most.
fn blocks(mut input: &[u8]) -> Option<usize> {
    let mut count = 0;
    while byte(&mut input)? != 0 {
        let length = usize::from(u16::from_le_bytes(array(&mut input)?));
        input = input.get(length..)?;
        count += 1;
    }
    Some(count)
}

fn byte(input: &mut &[u8]) -> Option<u8> {
    array::<1>(input).map(|[byte]| byte)
}

fn array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*array)
}

/// Seven bits to a byte, the lowest first; the highest bit says that more follow.
fn put_number(mut number: u64, output: &mut Vec<u8>) {
    while number >= 0x80 {
        output.push(number as u8 | 0x80);
        number >>= 7;
    }
    output.push(number as u8);
}

fn number(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(input)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{GOSSIP_TAG, Malformed, decode, encode, number, put_number};
    use chitchat::{ChitchatMessage, Deserializable, Serializable};

    /// A message of `nodes` in chitchat's own form.
    fn message(kind: u8, nodes: u16, rest: &[u8]) -> ChitchatMessage {
        let mut plain = vec![0x53, 0xb0, 0, kind];
        plain.extend_from_slice(&nodes.to_le_bytes());
        for node in 0..nodes {
            let id = chitchat::ChitchatId {
                node_id: format!("{:08x}", u32::from(node) * 77_777).into(),
                generation_id: 1_700_000_000_000,
                gossip_advertise_addr: if node % 2 == 0 {
                    ([10, 0, 0, 1], 16_379).into()
                } else {
                    ([0xfd00, 0, 0, 0, 0, 0, 0, node], 16_379).into()
                },
            };
            id.serialize(&mut plain);
            for number in [u64::from(node) * 1000, 0, u64::MAX] {
                number.serialize(&mut plain);
            }
        }
        plain.extend_from_slice(rest);
        ChitchatMessage::deserialize(&mut plain.as_slice()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_is_encoded_is_decoded_alike() {
        let syn = message(0, 100, b"\x06\x00larder");
        let body = encode(&syn).unwrap_or_default();
        assert!(body.len() < syn.serialized_len() * 3 / 4, "{} bytes", body.len());
        assert_eq!(decode(&body, |_| true), Ok(syn));
        let syn_ack = message(1, 3, &[0]);
        assert_eq!(decode(&encode(&syn_ack).unwrap_or_default(), |_| true), Ok(syn_ack));
        let known = decode(&body, |id| id.gossip_advertise_addr.is_ipv4());
        let known = encode(&known.unwrap_or(ChitchatMessage::BadCluster)).unwrap_or_default();
        assert_eq!(known.get(2..4), Some(&[0, 50][..]), "the others are left out");
    }

    #[test]
    fn what_is_cut_or_too_much_is_refused() {
        let body = encode(&message(1, 3, &[0])).unwrap_or_default();
        for length in 0..body.len() {
            assert_eq!(decode(&body[..length], |_| true), Err(Malformed), "{length}");
        }
        assert_eq!(decode(&[GOSSIP_TAG, 0, 0xff, 0xff], |_| true), Err(Malformed));
        let bomb: Vec<u8> = [GOSSIP_TAG, 2].into_iter().chain([2, 0, 0].repeat(1000)).chain([0]).collect();
        assert_eq!(decode(&bomb, |_| true), Err(Malformed));
    }

    #[test]
    fn numbers_are_as_long_as_they_need() {
        for (value, length) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            let mut bytes = Vec::new();
            put_number(value, &mut bytes);
            assert_eq!(bytes.len(), length);
            assert_eq!(number(&mut bytes.as_slice()), Some(value));
        }
        assert_eq!(number(&mut &[0xff; 10][..]), None, "more than 64 bits");
    }
}
