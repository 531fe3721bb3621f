//! Seeds: the names that an operator gave, resolved again and again into addresses where nodes may be.
//!
//! A seed is an address, a name (A and AAAA records, `/etc/hosts`), either with a port or without, or the name of a
//! service that begins with `_` (SRV records, whose targets are resolved in turn). Addresses are found out anew every
//! few seconds until the node belongs to a cluster, and every minute then, because names move; none is ever stored.
//! Names that do not resolve are tried again after a pause that doubles, those of others stay, and the reason stands
//! in [`SeedStatus`] and once a minute in the log. What is resolved says where to knock, not who is there.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::proto::rr::RData;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::net::BoxFuture;
use crate::base::clock::Clock;
use crate::base::limits::{
    PEER_LOG_PERIOD_MS, SEED_ADDRESSES_MAX, SEEDS_BACKOFF_MS, SEEDS_JOINED_MS, SEEDS_JOINING_MS, SEEDS_MAX,
    SEEDS_RESOLVE_MS,
};

/// A seed as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seed {
    /// An address.
    Address(SocketAddr),
    /// A name and a port.
    Name(String, u16),
    /// The name of a service, which brings its ports with it.
    Service(String),
}

impl Seed {
    /// Reads `host`, `host:port`, an address with or without port (IPv6 with a port in brackets), or `_service._tcp.name`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let text = text.trim_ascii();
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::Address(addr));
        }
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Address(SocketAddr::new(ip, default_port)));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => {
                (host, port.parse().map_err(|_| format!("seed '{text}': no such port: '{port}'"))?)
            }
            None => (text, default_port),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(is_name) {
            return Err(format!("seed '{text}' is neither an address nor a name"));
        }
        if host.starts_with('_') {
            return Ok(Self::Service(host.to_owned()));
        }
        Ok(Self::Name(host.to_owned(), port))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

/// What turns names into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a host; the error says why there are none.
    fn host<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;

    /// The hosts and ports of a service.
    fn service<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, String>>;
}

/// The machine's name service: `/etc/hosts`, and the servers that `/etc/resolv.conf` names.
pub struct SystemResolver;

impl SystemResolver {
    /// Made for each round, so that changes to those files are seen and nothing is answered from memory.
    fn fresh() -> Result<TokioResolver, String> {
        let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = 0;
        builder.build().map_err(|error| error.to_string())
    }
}

/// The addresses of a host, or the one address that `host` is, found out on a runtime of its own: for command lines.
///
/// # Errors
/// There are none, in words.
pub fn addresses_of(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(vec![ip]);
    }
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let limit = Duration::from_millis(SEEDS_RESOLVE_MS);
    let found = runtime.block_on(async { timeout(limit, SystemResolver.host(host)).await });
    found.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

impl Resolve for SystemResolver {
    fn host<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async move {
            let found = Self::fresh()?.lookup_ip(name).await.map_err(|error| error.to_string())?;
            Ok(found.iter().take(SEED_ADDRESSES_MAX).collect())
        })
    }

    fn service<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, String>> {
        Box::pin(async move {
            let found = Self::fresh()?.srv_lookup(name).await.map_err(|error| error.to_string())?;
            let target = |data: &RData| match data {
                RData::SRV(service) => Some((service.target.to_utf8(), service.port)),
                _ => None,
            };
            Ok(found.answers().iter().filter_map(|record| target(&record.data)).take(SEEDS_MAX).collect())
        })
    }
}

/// How resolving goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedStatus {
    /// Whether all names were tried at least once.
    pub tried: bool,
    /// Addresses that are known now.
    pub addresses: usize,
    /// Why a name did not resolve at the last attempt: each with its reason.
    pub errors: Vec<String>,
}

/// Seeds that are resolved as time goes.
pub struct Seeds {
    addresses: watch::Receiver<Vec<SocketAddr>>,
    status: watch::Receiver<SeedStatus>,
}

impl Seeds {
    /// Begins to resolve `seeds`, as one of the node's tasks, which ends with the last receiver of their addresses.
    /// `joined` tells whether the node belongs to a cluster.
    pub fn start(
        seeds: Vec<Seed>,
        resolver: Arc<dyn Resolve>,
        joined: watch::Receiver<bool>,
        clock: Clock,
    ) -> Self {
        let given = seeds.iter().filter_map(|seed| match seed {
            Seed::Address(addr) => Some(*addr),
            _ => None,
        });
        let (address_sender, addresses) = watch::channel(given.collect());
        let (status_sender, status) = watch::channel(SeedStatus::default());
        let count = seeds.len().min(SEEDS_MAX);
        let names = seeds.into_iter().take(count).map(|seed| Name { seed, found: Vec::new() }).collect();
        let rounds = Rounds {
            names,
            resolver,
            addresses: address_sender,
            status: status_sender,
            clock,
            logged_ms: None,
        };
        tokio::spawn(rounds.run(joined));
        Self { addresses, status }
    }

    /// The addresses, whenever they change; sorted, each once.
    pub fn addresses(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.addresses.clone()
    }

    /// How resolving goes.
    pub fn status(&self) -> watch::Receiver<SeedStatus> {
        self.status.clone()
    }
}

struct Name {
    seed: Seed,
    /// What it resolved to when it last did.
    found: Vec<SocketAddr>,
}

struct Rounds {
    names: Vec<Name>,
    resolver: Arc<dyn Resolve>,
    addresses: watch::Sender<Vec<SocketAddr>>,
    status: watch::Sender<SeedStatus>,
    clock: Clock,
    logged_ms: Option<u64>,
}

impl Rounds {
    async fn run(mut self, mut joined: watch::Receiver<bool>) {
        let mut backoff_ms = *SEEDS_BACKOFF_MS.start();
        loop {
            let errors = self.round().await;
            let has_joined = *joined.borrow_and_update();
            let period_ms = if has_joined { SEEDS_JOINED_MS } else { SEEDS_JOINING_MS };
            let pause_ms = if errors.is_empty() { period_ms } else { backoff_ms.min(period_ms) };
            backoff_ms = match errors.is_empty() {
                true => *SEEDS_BACKOFF_MS.start(),
                false => (backoff_ms * 2).min(*SEEDS_BACKOFF_MS.end()),
            };
            self.publish(errors);
            // A node that lost its cluster looks around at once.
            let left = async {
                if joined.wait_for(|has_joined| !has_joined).await.is_err() || !has_joined {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                _ = timeout(Duration::from_millis(pause_ms), left) => {}
                () = self.addresses.closed() => return,
            }
        }
    }

    /// Resolves each name; those that fail keep what they last resolved to.
    async fn round(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for name in &mut self.names {
            let resolving = resolve(&*self.resolver, &name.seed);
            let limit = Duration::from_millis(SEEDS_RESOLVE_MS);
            match timeout(limit, resolving).await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(found) => name.found = found,
                Err(error) => errors.push(format!("{}: {error}", name.seed)),
            }
        }
        errors
    }

    fn publish(&mut self, errors: Vec<String>) {
        let all: BTreeSet<SocketAddr> =
            self.names.iter().flat_map(|name| name.found.iter().copied()).collect();
        let all: Vec<SocketAddr> = all.into_iter().take(SEED_ADDRESSES_MAX).collect();
        let now_ms = self.clock.mono_ns() / 1_000_000;
        let is_due =
            self.logged_ms.is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= PEER_LOG_PERIOD_MS);
        if !errors.is_empty() && is_due {
            self.logged_ms = Some(now_ms);
            warn!("seeds that do not resolve: {}", errors.join("; "));
        } else if errors.is_empty() && self.logged_ms.take().is_some() {
            info!("all seeds resolve again");
        }
        self.status.send_replace(SeedStatus { tried: true, addresses: all.len(), errors });
        self.addresses.send_if_modified(|shown| {
            let is_new = *shown != all;
            *shown = all;
            is_new
        });
    }
}

/// The addresses that a seed stands for now.
///
/// # Errors
/// There are none, in words.
pub async fn resolve(resolver: &dyn Resolve, seed: &Seed) -> Result<Vec<SocketAddr>, String> {
    let hosts = match seed {
        Seed::Address(addr) => return Ok(vec![*addr]),
        Seed::Name(name, port) => vec![(name.clone(), *port)],
        Seed::Service(name) => resolver.service(name).await?,
    };
    let mut found = Vec::new();
    let mut failed = None;
    for (host, port) in hosts.iter().take(SEEDS_MAX) {
        match resolver.host(host).await {
            Ok(ips) => found.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, *port))),
            Err(error) => failed = Some(error),
        }
    }
    // Of a service's targets some may be gone.
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ if found.is_empty() => Err("resolves to no address".to_owned()),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::{Resolve, Seed, Seeds};
    use crate::base::clock::Clock;
    use crate::base::lock::Mutex;
    use crate::peer::net::BoxFuture;
    use std::collections::HashMap;
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::sync::watch;

    #[derive(Default)]
    struct Names {
        hosts: Mutex<HashMap<String, Vec<IpAddr>>>,
    }

    impl Resolve for Names {
        fn host<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
            let found = self.hosts.lock().get(name).cloned().ok_or_else(|| "no such name".to_owned());
            Box::pin(async move { found })
        }

        fn service<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, String>> {
            Box::pin(async { Ok(vec![("a".to_owned(), 1), ("gone".to_owned(), 2)]) })
        }
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    /// Found by the fuzz target `peer`: a blank that is none in ASCII was cut off.
    #[test]
    fn a_name_is_ascii_as_it_stands() {
        assert!(Seed::parse("\u{a0}larder", 1).is_err());
        assert_eq!(Seed::parse(" larder\t", 1), Seed::parse("larder", 1));
    }

    #[test]
    fn seeds_are_read_as_they_are_written() {
        for (text, seed) in [
            ("10.0.0.1", Some(Seed::Address(addr("10.0.0.1:7")))),
            ("10.0.0.1:99", Some(Seed::Address(addr("10.0.0.1:99")))),
            ("::1", Some(Seed::Address(addr("[::1]:7")))),
            ("[::1]", Some(Seed::Address(addr("[::1]:7")))),
            ("[::1]:99", Some(Seed::Address(addr("[::1]:99")))),
            ("larder-0.larder", Some(Seed::Name("larder-0.larder".to_owned(), 7))),
            ("larder:99", Some(Seed::Name("larder".to_owned(), 99))),
            ("_peer._tcp.larder", Some(Seed::Service("_peer._tcp.larder".to_owned()))),
            ("larder:port", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(Seed::parse(text, 7).ok(), seed, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_resolved_again_and_again() {
        let names = Arc::new(Names::default());
        names.hosts.lock().insert("a".to_owned(), vec![[10, 0, 0, 1].into()]);
        let seeds = ["a", "b:5", "10.0.0.9:9", "_x._tcp.a"];
        let seeds = seeds.iter().filter_map(|seed| Seed::parse(seed, 7).ok()).collect();
        let joined = watch::Sender::new(false);
        let seeds = Seeds::start(seeds, names.clone(), joined.subscribe(), Clock::system());
        let (mut addresses, status) = (seeds.addresses(), seeds.status());
        assert_eq!(*addresses.borrow_and_update(), [addr("10.0.0.9:9")], "known without a name service");
        assert!(addresses.changed().await.is_ok());
        let first = ["10.0.0.1:1", "10.0.0.1:7", "10.0.0.9:9"].map(addr);
        assert_eq!(*addresses.borrow_and_update(), first);
        assert_eq!(status.borrow().errors, ["b:5: no such name"]);

        names.hosts.lock().insert("b".to_owned(), vec![[10, 0, 0, 2].into()]);
        names.hosts.lock().remove("a");
        assert!(tokio::time::timeout(Duration::from_secs(1), addresses.changed()).await.is_ok());
        assert_eq!(addresses.borrow_and_update().len(), 4, "what is gone is kept while its name fails");
        names.hosts.lock().insert("a".to_owned(), vec![[10, 0, 0, 3].into()]);
        assert!(tokio::time::timeout(Duration::from_secs(6), addresses.changed()).await.is_ok());
        assert!(addresses.borrow_and_update().contains(&addr("10.0.0.3:7")));
        assert!(status.borrow().errors.is_empty());
        joined.send_replace(true);
        names.hosts.lock().insert("a".to_owned(), vec![[10, 0, 0, 4].into()]);
        assert!(tokio::time::timeout(Duration::from_secs(66), addresses.changed()).await.is_ok());
    }
}
