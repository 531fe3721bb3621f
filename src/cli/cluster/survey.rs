//! What all nodes of a cluster say of it: collected from CLUSTER INFO, NODES and GETSLOTMIGRATIONS.

use crate::base::slot::SLOT_COUNT;
use crate::cli::link::{Link, Target, text_of};
use crate::cli::probe::Endpoint;
use crate::resp::frame::Frame;
use std::collections::HashMap;
use std::thread;

/// Nodes that are asked at a time.
const ASKED_AT_ONCE: usize = 16;

/// `field:value` lines.
pub type Fields = HashMap<String, String>;

/// A node, by a line of CLUSTER NODES.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSeen {
    /// 40 hex digits.
    pub id: String,
    /// Host and port for clients.
    pub address: String,
    /// Whether it is the node that was asked.
    pub myself: bool,
    /// Slots, as ranges.
    pub ranges: Vec<String>,
    /// Number of slots.
    pub slots: usize,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// CLUSTER INFO.
    pub info: Fields,
    /// Keys, where it serves any.
    pub keys: Option<u64>,
    /// Bytes that count against its limit.
    pub memory_bytes: Option<u64>,
    /// Moves that it is the source of.
    pub moves: Vec<MoveTold>,
}

/// A move of slots, as its source tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveTold {
    /// Its number.
    pub id: String,
    /// First and last slot.
    pub slots: String,
    /// Id of the owner.
    pub from: String,
    /// Id of who is to own them.
    pub to: String,
    /// Keys sent.
    pub keys: u64,
    /// Keys that there are.
    pub keys_total: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Time since it began.
    pub elapsed_ms: u64,
}

impl MoveTold {
    /// How long the rest will take at the rate so far; unknown before the first key.
    pub fn left_ms(&self) -> Option<u64> {
        let rest = self.keys_total.saturating_sub(self.keys);
        self.elapsed_ms.saturating_mul(rest).checked_div(self.keys)
    }
}

/// The cluster.
#[derive(Debug, Default)]
pub struct Survey {
    /// CLUSTER INFO of the node that was asked.
    pub info: Fields,
    /// The nodes, and what each says of itself or why it says nothing.
    pub nodes: Vec<(NodeSeen, Result<Told, String>)>,
}

impl Survey {
    /// Asks the target, and then all nodes that it names.
    pub fn take(target: &Target) -> Result<Self, String> {
        let mut link = Link::open(target)?;
        let info = fields(&link.ask_text(&["CLUSTER", "INFO"])?);
        let seen = nodes(&link.ask_text(&["CLUSTER", "NODES"])?);
        let mut mine = Some(told(&mut link));
        let mut survey = Self { info, nodes: Vec::with_capacity(seen.len()) };
        for some in seen.chunks(ASKED_AT_ONCE) {
            let answers: Vec<Option<Result<Told, String>>> = thread::scope(|scope| {
                let asked: Vec<_> = some
                    .iter()
                    .map(|node| (!node.myself).then(|| scope.spawn(|| ask(target, node))))
                    .collect();
                asked.into_iter().map(|thread| thread?.join().ok()).collect()
            });
            for (node, answer) in some.iter().zip(answers) {
                let answer = answer.or_else(|| mine.take()).unwrap_or_else(|| Err(String::from("not asked")));
                survey.nodes.push((node.clone(), answer));
            }
        }
        Ok(survey)
    }

    /// A field of the asked node's CLUSTER INFO; empty where it has none.
    pub fn field(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    /// All moves under way.
    pub fn moves(&self) -> impl Iterator<Item = &MoveTold> {
        self.nodes.iter().filter_map(|(_, told)| told.as_ref().ok()).flat_map(|told| &told.moves)
    }

    /// Nodes that go by the slot table of the one that was asked, itself among them.
    pub fn agreeing(&self) -> usize {
        let table = |info: &Fields| {
            ["cluster_generation", "cluster_table_version", "cluster_table_digest"]
                .map(|name| info.get(name).cloned())
        };
        let own = table(&self.info);
        self.nodes.iter().filter(|(_, told)| told.as_ref().is_ok_and(|told| table(&told.info) == own)).count()
    }

    /// What is missing until `size` nodes serve, each with its share of slots.
    pub fn lacks(&self, size: usize) -> Option<String> {
        if self.field("cluster_state") != "ok" {
            let why = [self.field("cluster_phase"), self.field("cluster_why")].join(" ");
            return Some(format!("the node that was asked does not serve: {}", why.trim()));
        }
        if self.nodes.len() < size {
            return Some(format!("there are {} nodes of {size}", self.nodes.len()));
        }
        let version = self.field("cluster_table_version");
        for (node, told) in &self.nodes {
            let told = match told {
                Err(why) => return Some(format!("{}: {why}", node.address)),
                Ok(told) => told,
            };
            let field = |name: &str| told.info.get(name).map_or("", String::as_str);
            if field("cluster_state") != "ok" {
                return Some(format!("{} does not serve: it is {}", node.address, field("cluster_phase")));
            }
            if field("cluster_table_version") != version {
                return Some(format!("{} has another version of the slot table", node.address));
            }
        }
        let (moves, displaced) = (self.field("cluster_moves"), self.field("cluster_slots_displaced"));
        (moves != "0" || displaced != "0")
            .then(|| format!("{displaced} slots are not where they should be, {moves} moves are under way"))
    }
}

fn ask(target: &Target, node: &NodeSeen) -> Result<Told, String> {
    let (host, port) = node.address.rsplit_once(':').unwrap_or((&node.address, ""));
    let port = port.parse().map_err(|_| format!("'{}' is no address", node.address))?;
    let endpoint = Endpoint::Tcp(host.to_owned(), port);
    told(&mut Link::open(&Target { endpoint, ..target.clone() })?)
}

fn told(link: &mut Link) -> Result<Told, String> {
    let info = fields(&link.ask_text(&["CLUSTER", "INFO"])?);
    let moves = moves(&link.ask(&["CLUSTER", "GETSLOTMIGRATIONS"])?);
    // A node without a lease says nothing of its keys.
    let keys = link.ask_text(&["DBSIZE"]).ok().and_then(|keys| keys.parse().ok());
    let memory = fields(&link.ask_text(&["INFO", "memory"])?);
    let memory_bytes = memory.get("used_memory").and_then(|bytes| bytes.parse().ok());
    Ok(Told { info, keys, memory_bytes, moves })
}

fn fields(text: &str) -> Fields {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The nodes that CLUSTER NODES lists; lines that are none are left out.
pub fn nodes(text: &str) -> Vec<NodeSeen> {
    text.lines().filter_map(node).collect()
}

fn node(line: &str) -> Option<NodeSeen> {
    let words: Vec<&str> = line.split(' ').collect();
    let [id, address, flags, _, _, _, _, _, ranges @ ..] = words.as_slice() else { return None };
    let slots = |range: &&str| {
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        let (start, end): (usize, usize) = (start.parse().ok()?, end.parse().ok()?);
        (start <= end && end < SLOT_COUNT).then(|| end - start + 1)
    };
    Some(NodeSeen {
        id: (*id).to_owned(),
        address: address.split('@').next().unwrap_or_default().to_owned(),
        myself: flags.split(',').any(|flag| flag == "myself"),
        slots: ranges.iter().filter_map(slots).sum(),
        ranges: ranges.iter().map(|range| (*range).to_owned()).collect(),
    })
}

/// The moves that leave the node; those that come in are told by the other side.
fn moves(reply: &Frame) -> Vec<MoveTold> {
    let Frame::Array(moves) = reply else { return Vec::new() };
    moves.iter().filter_map(movement).collect()
}

fn movement(reply: &Frame) -> Option<MoveTold> {
    let fields: Fields = match reply {
        Frame::Array(items) => {
            items.chunks_exact(2).filter_map(|pair| text_of(&pair[0]).zip(text_of(&pair[1]))).collect()
        }
        Frame::Map(pairs) => {
            pairs.iter().filter_map(|(name, value)| text_of(name).zip(text_of(value))).collect()
        }
        _ => return None,
    };
    let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let number = |name: &str| fields.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
    (text("operation") == "EXPORT").then(|| MoveTold {
        id: text("name"),
        slots: text("slot_ranges"),
        from: text("source_node"),
        to: text("target_node"),
        keys: number("keys"),
        keys_total: number("keys_total"),
        bytes: number("bytes"),
        elapsed_ms: number("elapsed_ms"),
    })
}

#[cfg(test)]
mod tests {
    use super::{MoveTold, NodeSeen, Survey, Told, fields, nodes};

    #[test]
    fn lines_of_nodes_are_read_and_others_left_out() {
        let seen = nodes(
            "aa 10.0.0.1:7000@17000,one.example myself,master - 0 0 4 connected 0-9 20\n\
             bb ::1:7001@17001 master,fail? - 0 0 0 disconnected\nnonsense\n",
        );
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].address.as_str(), seen[0].myself, seen[0].slots), ("10.0.0.1:7000", true, 11));
        assert_eq!((seen[1].address.as_str(), seen[1].myself, seen[1].slots), ("::1:7001", false, 0));
    }

    #[test]
    fn the_rest_takes_as_long_as_the_beginning_did() {
        let mut movement = MoveTold { keys_total: 300, elapsed_ms: 50, ..MoveTold::default() };
        assert_eq!(movement.left_ms(), None);
        movement.keys = 100;
        assert_eq!(movement.left_ms(), Some(100));
    }

    #[test]
    fn a_cluster_is_complete_when_every_node_serves_one_table() {
        let info = |text: &str| fields(text);
        let good =
            "cluster_state:ok\r\ncluster_table_version:4\r\ncluster_moves:0\r\ncluster_slots_displaced:0\r\n";
        let told = |text: &str| Ok(Told { info: info(text), ..Told::default() });
        let mut survey = Survey { info: info(good), nodes: vec![(NodeSeen::default(), told(good))] };
        assert_eq!(survey.lacks(1), None);
        assert!(survey.lacks(2).is_some_and(|why| why.contains("1 nodes of 2")));
        assert_eq!(survey.agreeing(), 1);
        survey.nodes.push((NodeSeen::default(), Err("gone".to_owned())));
        assert_eq!(survey.agreeing(), 1, "one that says nothing does not agree");
        assert!(survey.lacks(2).is_some_and(|why| why.contains("gone")));
        survey.nodes[1].1 = told("cluster_state:ok\r\ncluster_table_version:3\r\n");
        assert!(survey.lacks(2).is_some_and(|why| why.contains("another version")));
        assert_eq!(survey.agreeing(), 1);
        survey.nodes[1].1 = told(good);
        assert_eq!((survey.lacks(2), survey.agreeing()), (None, 2));
        survey.info = info(&good.replace("displaced:0", "displaced:7"));
        assert!(survey.lacks(2).is_some_and(|why| why.starts_with("7 slots")));
    }
}
