//! The address that this node is to be known under, where nobody has said so: found out when it starts, and again when it
//! changes, as that of a container does which is taken off its network and put back.
//!
//! It is the address from which this machine reaches others: the seeds at first, then the nodes that are heard of. The
//! name service's answers are not believed in this, as they may name this machine under another network's address.
//! A node that is cut off keeps its address, whatever other ways out this machine has: only one that is granted leases is
//! in touch with others and can tell.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};

use super::net::Net;
use super::node::Node;
use super::seeds::{self, Resolve, Seed};
use crate::base::limits::{SEEDS_BACKOFF_MS, WHEREABOUTS_LOOKS_MAX, WHEREABOUTS_MS, WHEREABOUTS_START_MS};

/// Reserved for documentation, so that nobody is there: the way to it is the way to strangers.
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// The address of this machine towards the seeds, once one of them is known; towards strangers where none is in time.
pub async fn outward(net: &dyn Net, resolver: &dyn Resolve, seeds: &[Seed]) -> Option<IpAddr> {
    let towards_seeds = async {
        loop {
            for seed in seeds {
                let found = seeds::resolve(resolver, seed).await.unwrap_or_default();
                if let Some(ip) = found.into_iter().find_map(|to| net.source_towards(to)) {
                    return ip;
                }
            }
            sleep(Duration::from_millis(*SEEDS_BACKOFF_MS.start())).await;
        }
    };
    let patience = Duration::from_millis(if seeds.is_empty() { 0 } else { WHEREABOUTS_START_MS });
    timeout(patience, towards_seeds).await.ok().or_else(|| net.source_towards(STRANGER))
}

/// Has the node known under its new address whenever it has one and others are in touch with it.
pub async fn follow(node: Arc<Node>, net: Arc<dyn Net>) {
    let mut looks = interval(Duration::from_millis(WHEREABOUTS_MS));
    // The address that was found, and the end of the lease at that time.
    let mut found: Option<(IpAddr, u64)> = None;
    loop {
        looks.tick().await;
        let before = node.peer_address().ip();
        let lease_ns = node.hub().cluster.routes.lease_until_ns();
        // The table's members, not those that gossip hears: where a stranger has taken this node's old address, answers to
        // gossip go to that one, and nobody is heard until the new address is known.
        let table = node.tables().follow().borrow().clone();
        let others = table.members.iter().filter(|member| member.id != node.id()).map(|member| member.peer);
        found = match (moved(&*net, before, others), found) {
            (Some(ip), Some((known, since_ns))) if ip == known => {
                if lease_ns > since_ns {
                    tracing::warn!("this node's address was {before} and is {ip} from now on");
                    node.relocate(ip);
                }
                found
            }
            (Some(ip), _) => Some((ip, lease_ns)),
            (None, _) => None,
        };
    }
}

/// The new address: where the way to most of the others begins, if that is not the old one.
fn moved(net: &dyn Net, before: IpAddr, others: impl Iterator<Item = SocketAddr>) -> Option<IpAddr> {
    let alike = others.filter(|other| other.is_ipv4() == before.is_ipv4());
    let mut sources: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for ip in alike.take(WHEREABOUTS_LOOKS_MAX).filter_map(|other| net.source_towards(other)) {
        *sources.entry(ip).or_default() += 1;
    }
    let (most, _) = sources.into_iter().max_by_key(|&(ip, count)| (count, ip == before))?;
    (most != before).then_some(most)
}

#[cfg(test)]
mod tests {
    use super::{STRANGER, moved, outward};
    use crate::peer::net::{BoxFuture, Listener, Net, Stream};
    use crate::peer::seeds::{Resolve, Seed};
    use std::io;
    use std::net::{IpAddr, SocketAddr};

    /// Ways by the first three bytes of an address.
    struct Ways(Vec<([u8; 3], IpAddr)>);

    impl Net for Ways {
        fn connect(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }

        fn listen(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }

        fn source_towards(&self, to: SocketAddr) -> Option<IpAddr> {
            let IpAddr::V4(to) = to.ip() else { return None };
            self.0.iter().find(|(net, _)| to.octets().starts_with(net)).map(|(_, source)| *source)
        }
    }

    /// Knows one name.
    struct One;

    impl Resolve for One {
        fn host<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
            let found =
                if name == "larder" { Ok(vec![ip("10.0.1.7")]) } else { Err("no such name".to_owned()) };
            Box::pin(async move { found })
        }

        fn service<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, String>> {
            Box::pin(async { Err("no such service".to_owned()) })
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn ways() -> Ways {
        Ways(vec![([10, 0, 1], ip("10.0.1.2")), ([10, 0, 2], ip("10.0.2.2")), ([192, 0, 2], ip("10.0.3.2"))])
    }

    #[tokio::test(start_paused = true)]
    async fn the_way_to_a_seed_tells_the_address() {
        let found = async |names: &[&str]| {
            let seeds: Vec<Seed> = names.iter().filter_map(|name| Seed::parse(name, 1).ok()).collect();
            outward(&ways(), &One, &seeds).await
        };
        assert_eq!(found(&["nobody", "larder"]).await, Some(ip("10.0.1.2")));
        assert_eq!(found(&["10.0.2.9:1"]).await, Some(ip("10.0.2.2")));
        assert_eq!(found(&["nobody"]).await, Some(ip("10.0.3.2")), "the way to strangers");
        assert_eq!(found(&[]).await, Some(ip("10.0.3.2")));
        assert_eq!(outward(&Ways(Vec::new()), &One, &[]).await, None);
        assert!(STRANGER.ip().is_ipv4());
    }

    #[test]
    fn the_way_to_most_of_the_others_tells_a_new_address() {
        let others =
            |texts: &[&str]| texts.iter().map(|text| SocketAddr::new(ip(text), 1)).collect::<Vec<_>>();
        let moved = |before: &str, to: &[&str]| moved(&ways(), ip(before), others(to).into_iter());
        assert_eq!(moved("10.0.1.2", &["10.0.2.9", "10.0.1.9"]), None);
        assert_eq!(moved("10.0.1.2", &["10.0.2.9", "10.0.2.8", "10.0.1.9"]), Some(ip("10.0.2.2")));
        assert_eq!(moved("10.0.9.9", &["10.0.1.9"]), Some(ip("10.0.1.2")));
        assert_eq!(moved("10.0.9.9", &["10.0.8.8", "::1"]), None, "no way to anybody");
        assert_eq!(moved("10.0.9.9", &[]), None);
    }
}
