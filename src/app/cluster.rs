//! Starts the node of a cluster beside the server, on a thread and a runtime of its own, with what the configuration says
//! of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Builder;

use crate::base::rng::Rng;
use crate::cluster::table::ClientAddress;
use crate::config::Config;
use crate::hub::Hub;
use crate::hub::orders::Shutdown;
use crate::peer::net::TcpNet;
use crate::peer::seeds::{Seed, SystemResolver};
use crate::peer::start::{Settings, start as start_node};
use crate::peer::whereabouts;

/// What is added to the clients' port where no port for nodes is given, as in Redis.
const PORT_DISTANCE: u16 = 10_000;
/// Longest host name that can be announced, as in the name service.
const HOST_MAX_BYTES: usize = 253;
/// Weight of a node whose memory is not bounded, in MiB.
const WEIGHT_UNBOUNDED: u64 = 1024;

/// Starts the node, if the server is to be one; `clients` are the addresses that clients are served at.
///
/// # Errors
/// It cannot be started, in one line for people.
pub fn start(hub: &Arc<Hub>, config: &Config, clients: &[SocketAddr]) -> Result<(), String> {
    if !config.is_clustered() {
        return Ok(());
    }
    let mut settings = settings(config, clients)?;
    let hub = Arc::clone(hub);
    let (report, started) = mpsc::sync_channel(1);
    let run = move || {
        let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(report.send(Err(format!("no runtime for the cluster: {error}")))),
        };
        runtime.block_on(async {
            if settings.roams {
                settings.place(own_ip(&settings).await);
            }
            match start_node(Arc::clone(&hub), settings, Arc::new(TcpNet), Rng::from_entropy()).await {
                Ok(_node) => {
                    drop(report.send(Ok(())));
                    // The tasks end with the process: until its last connection is closed, the node is a member.
                    hub.orders.shutdown_ordered(Shutdown::Immediate).await;
                }
                Err(why) => drop(report.send(Err(why))),
            }
        });
    };
    let spawned = thread::Builder::new().name("larder-cluster".to_owned()).spawn(run);
    spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    started.recv().unwrap_or_else(|_| Err("the cluster's thread has ended".to_owned()))
}

fn settings(config: &Config, clients: &[SocketAddr]) -> Result<Settings, String> {
    let client_port = clients.first().map_or(config.port, SocketAddr::port);
    let port = match config.cluster_port {
        0 => client_port.checked_add(PORT_DISTANCE).ok_or_else(|| {
            format!(
                "cluster-port: {client_port} + {PORT_DISTANCE} is no port; choose one with --cluster-port"
            )
        })?,
        port => port,
    };
    let listen = listen(config, clients, port);
    let is_loopback = listen.iter().all(|address| address.ip().is_loopback());
    if config.cluster_secret.expose().is_empty() && !is_loopback && !config.cluster_allow_no_secret {
        return Err("cluster-secret: nodes on other machines need one; set the same on all of them \
            (or cluster-allow-no-secret, if nobody else can reach them)"
            .to_owned());
    }
    for (name, host) in [
        ("cluster-announce-hostname", &config.cluster_announce_hostname),
        ("cluster-announce-outside-host", &config.cluster_announce_outside_host),
    ] {
        if !is_host(host) {
            return Err(format!("{name}: {host:?} is neither an address nor a host name"));
        }
    }
    let known = announced_ip(config, clients)?;
    let ip = known.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let announced = |wanted: u16, own: u16| if wanted == 0 { own } else { wanted };
    let outside_port = announced(config.cluster_announce_outside_port, config.cluster_outside_port);
    if !config.cluster_announce_outside_host.is_empty() && outside_port == 0 {
        return Err(
            "cluster-announce-outside-host: set cluster-outside-port, too, which it is for".to_owned()
        );
    }
    let weight = match u64::try_from(config.cluster_weight) {
        Ok(weight) => weight,
        Err(_) => match config.maxmemory.bytes() >> 20 {
            0 => WEIGHT_UNBOUNDED,
            mebibytes => mebibytes,
        },
    };
    Ok(Settings {
        name: config.cluster_name.clone(),
        secret: config.cluster_secret.expose().to_owned(),
        seeds: config.cluster_seeds.clone(),
        expect: config.cluster_expect as usize,
        node_timeout_ms: config.cluster_node_timeout,
        listen,
        peer: SocketAddr::new(ip, announced(config.cluster_announce_bus_port, port)),
        roams: known.is_none(),
        client: ClientAddress {
            host: ip.to_string(),
            port: announced(config.cluster_announce_port, client_port),
            hostname: config.cluster_announce_hostname.clone(),
            gateway_port: config.gateway_port,
            outside_host: config.cluster_announce_outside_host.clone(),
            outside_port,
        },
        zone: config.cluster_zone.clone(),
        weight,
        dir: (!config.dir.is_empty()).then(|| PathBuf::from(&config.dir)),
    })
}

/// Whether a text may stand for a host in replies and in what nodes tell each other; nothing may.
fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    text.len() <= HOST_MAX_BYTES && text.bytes().all(is_plain)
}

/// Where to listen for other nodes: at the addresses of `cluster-bind`, or where clients are served.
fn listen(config: &Config, clients: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut ips: Vec<IpAddr> = match config.cluster_bind.as_slice() {
        [] => clients.iter().map(SocketAddr::ip).collect(),
        addresses => addresses.iter().map(|address| address.ip).collect(),
    };
    ips.dedup();
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// The address that others are told: the announced one, or the first one that clients are served at; none where that
/// stands for all addresses and the machine's own must be found out.
fn announced_ip(config: &Config, clients: &[SocketAddr]) -> Result<Option<IpAddr>, String> {
    if config.cluster_announce_ip.is_empty() {
        return Ok(clients.iter().map(SocketAddr::ip).find(|ip| !ip.is_unspecified()));
    }
    let ip = config.cluster_announce_ip.parse();
    ip.map(Some)
        .map_err(|_| format!("cluster-announce-ip: {:?} is no IP address", config.cluster_announce_ip))
}

/// The machine's own address as the other nodes see it; loopback on a machine without a network.
async fn own_ip(settings: &Settings) -> IpAddr {
    // Seeds that cannot be read end the start a little later, with a word.
    let seeds: Vec<Seed> =
        settings.seeds.iter().filter_map(|seed| Seed::parse(seed, settings.peer.port()).ok()).collect();
    let found = whereabouts::outward(&TcpNet, &SystemResolver, &seeds).await;
    found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
