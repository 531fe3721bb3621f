//! What a node says of itself by gossip, as typed values, and how they are written and read. Pure.
//!
//! Values of other nodes are read with suspicion: they end in replies to clients and in logs. Whatever has a wrong form
//! makes the whole node unreadable, and it is left out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::base::limits::GOSSIP_VALUE_MAX_BYTES;
use crate::cluster::id::{ClusterId, NodeId};

/// How far a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// It belongs to no cluster yet, or not fully.
    #[default]
    Joining,
    /// It takes part.
    Serving,
    /// It is about to leave.
    Draining,
}

impl MemberState {
    fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Joining, Self::Serving, Self::Draining].into_iter().find(|state| state.name() == text)
    }
}

/// What a node says of itself, beside who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The address that clients are told, if it is to be another than that of `peer_addr`.
    pub client_ip: Option<IpAddr>,
    /// The port for clients.
    pub client_port: u16,
    /// The name that clients are told; may be empty.
    pub client_hostname: String,
    /// The port of the gateway; 0 if there is none.
    pub gateway_port: u16,
    /// The address or name that clients outside are told; may be empty.
    pub outside_host: String,
    /// The port that clients outside are told.
    pub outside_port: u16,
    /// Where it stands; may be empty.
    pub zone: String,
    /// Its share of the slots, in comparison with others; 0 for none.
    pub weight: u64,
    /// The version of the program.
    pub version: String,
    /// Which founding of the table it has.
    pub table_generation: u64,
    /// The version of the table that it has applied.
    pub table_version: u64,
    /// The cluster that it belongs to; not founded while it belongs to none.
    pub cluster: ClusterId,
    /// Whom it takes for the leader.
    pub leader: Option<NodeId>,
    /// How far it is.
    pub state: MemberState,
    /// Values that other parts of the node publish, by name; names as well as values are bounded as texts here are.
    pub extra: BTreeMap<String, String>,
}

/// Keys of what identifies a node.
const ID: &str = "id";
const INCARNATION: &str = "inc";
/// What stands before the names of extra values.
const EXTRA: &str = "x-";
/// Extra values of one node at most.
const EXTRAS_MAX: usize = 16;

impl Member {
    /// As values for gossip. The same keys each time, so that each value replaces its former one; an extra value that
    /// is no longer there becomes empty.
    pub fn encode(&self, id: NodeId, incarnation: u64) -> Vec<(String, String)> {
        let text = |key: &str, value: String| (key.to_owned(), value);
        let mut values = vec![
            text(ID, id.to_string()),
            text(INCARNATION, incarnation.to_string()),
            text("ip", self.client_ip.map(|ip| ip.to_string()).unwrap_or_default()),
            text("port", self.client_port.to_string()),
            text("host", self.client_hostname.clone()),
            text("gw", self.gateway_port.to_string()),
            text("ohost", self.outside_host.clone()),
            text("oport", self.outside_port.to_string()),
            text("zone", self.zone.clone()),
            text("weight", self.weight.to_string()),
            text("ver", self.version.clone()),
            text("table", format!("{}:{}", self.table_generation, self.table_version)),
            text("cluster", if self.cluster.is_founded() { self.cluster.to_string() } else { String::new() }),
            text("leader", self.leader.map(|leader| leader.to_string()).unwrap_or_default()),
            text("state", self.state.name().to_owned()),
        ];
        values.extend(self.extra.iter().map(|(key, value)| (format!("{EXTRA}{key}"), value.clone())));
        values
    }
}

/// Why a node's values are of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They have not all come yet.
    Incomplete,
    /// They have a wrong form.
    Malformed,
}

/// Reads the values of a node.
pub fn decode<'a>(
    values: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(NodeId, u64, Member), Unreadable> {
    let mut member = Member::default();
    let (mut id, mut incarnation, mut has_state) = (None, None, false);
    for (key, value) in values {
        if !is_text(value) {
            return Err(Unreadable::Malformed);
        }
        match key {
            ID => id = Some(NodeId::parse(value.as_bytes()).ok_or(Unreadable::Malformed)?),
            INCARNATION => incarnation = Some(value.parse().map_err(|_| Unreadable::Malformed)?),
            _ => {
                has_state |= key == "state";
                member.set(key, value).ok_or(Unreadable::Malformed)?;
            }
        }
    }
    match (id, incarnation) {
        (Some(id), Some(incarnation)) if has_state => Ok((id, incarnation, member)),
        _ => Err(Unreadable::Incomplete),
    }
}

impl Member {
    /// Takes one value. Keys that are not known belong to later versions.
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "ip" if value.is_empty() => self.client_ip = None,
            "ip" => self.client_ip = Some(value.parse().ok()?),
            "port" => self.client_port = value.parse().ok()?,
            "host" => self.client_hostname = value.to_owned(),
            "gw" => self.gateway_port = value.parse().ok()?,
            "ohost" => self.outside_host = value.to_owned(),
            "oport" => self.outside_port = value.parse().ok()?,
            "zone" => self.zone = value.to_owned(),
            "weight" => self.weight = value.parse().ok()?,
            "ver" => self.version = value.to_owned(),
            "table" => {
                let (generation, version) = value.split_once(':')?;
                self.table_generation = generation.parse().ok()?;
                self.table_version = version.parse().ok()?;
            }
            "cluster" if value.is_empty() => self.cluster = ClusterId(0),
            "cluster" => self.cluster = ClusterId(u128::from_str_radix(value, 16).ok()?),
            "leader" if value.is_empty() => self.leader = None,
            "leader" => self.leader = Some(NodeId::parse(value.as_bytes())?),
            "state" => self.state = MemberState::parse(value)?,
            _ => self.set_extra(key, value)?,
        }
        Some(())
    }

    fn set_extra(&mut self, key: &str, value: &str) -> Option<()> {
        let Some(name) = key.strip_prefix(EXTRA) else {
            return Some(());
        };
        if value.is_empty() {
            return Some(());
        }
        if !is_text(name) || self.extra.len() >= EXTRAS_MAX {
            return None;
        }
        self.extra.insert(name.to_owned(), value.to_owned());
        Some(())
    }
}

/// Whether `value` may stand in a line that is taken apart by blanks and commas.
fn is_text(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b'\'' | b'\\' | b'=');
    value.len() <= GOSSIP_VALUE_MAX_BYTES && value.bytes().all(is_plain)
}

/// A node as gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Which start of the node it is.
    pub incarnation: u64,
    /// The address that other nodes reach it by.
    pub peer_addr: SocketAddr,
    /// Whether it was heard of lately. A hint: leases decide.
    pub alive: bool,
    /// What it says of itself.
    pub member: Member,
}

impl Peer {
    /// Where clients reach it.
    pub fn client_addr(&self) -> SocketAddr {
        let ip = self.member.client_ip.unwrap_or(self.peer_addr.ip());
        SocketAddr::new(ip, self.member.client_port)
    }
}

#[cfg(test)]
mod tests {
    use super::{Member, MemberState, Unreadable, decode};
    use crate::base::rng::Rng;
    use crate::cluster::id::{ClusterId, NodeId};

    fn read(values: &[(String, String)]) -> Result<(NodeId, u64, Member), Unreadable> {
        decode(values.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    #[test]
    fn what_a_node_says_is_read_alike() {
        let id = NodeId::random(&mut Rng::seeded(1));
        let member = Member {
            client_ip: Some([192, 0, 2, 1].into()),
            client_port: 6379,
            client_hostname: "a.example".to_owned(),
            gateway_port: 6380,
            outside_host: "198.51.100.7".to_owned(),
            outside_port: 7001,
            zone: "west-1".to_owned(),
            weight: 1 << 40,
            version: "0.1.0".to_owned(),
            table_generation: 2,
            table_version: 77,
            cluster: ClusterId(5),
            leader: Some(NodeId::random(&mut Rng::seeded(2))),
            state: MemberState::Draining,
            extra: [("load".to_owned(), "0.5".to_owned())].into(),
        };
        assert_eq!(read(&member.encode(id, 9)), Ok((id, 9, member)));
        assert_eq!(read(&Member::default().encode(id, 9)), Ok((id, 9, Member::default())));
    }

    #[test]
    fn what_is_malformed_or_incomplete_is_told_apart() {
        let values = Member::default().encode(NodeId::default(), 1);
        for at in 0..values.len() {
            let mut fewer = values.clone();
            let (key, _) = fewer.remove(at);
            let needed = ["id", "inc", "state"].contains(&key.as_str());
            assert_eq!(read(&fewer).is_err(), needed, "{key}");
            let mut wrong = values.clone();
            wrong[at].1 = "a b".to_owned();
            assert_eq!(read(&wrong), Err(Unreadable::Malformed), "{key}");
        }
        let mut later = values;
        later.push(("tomorrow".to_owned(), "x".to_owned()));
        assert!(read(&later).is_ok());
    }
}
