//! redis-rs and fred, clients that nobody here wrote, against clusters of real processes: as `tests/cluster_clients.rs`
//! does with clients in other languages.
//!
//! They write and read a key of each of the 16384 slots; no caller may see an error, none is retried here.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::RespVersion;
use fred::types::config::{Config, ReconnectPolicy, ServerConfig};
use redis::caching::CacheConfig;
use redis::cluster::{ClusterClient, cluster_pipe};
use redis::cluster_async::ClusterConnection;
use redis::{Commands, ProtocolVersion};
use support::cluster::Cluster;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Sizes of the clusters that every client is tried against.
const SIZES: [usize; 2] = [3, 5];
/// Slots in all.
const SLOTS: usize = 16384;
/// Keys that are asked for at once.
const BATCH: usize = 512;
/// Connections that fred tries for one command.
const ATTEMPTS: u32 = 16;
/// Longest that load takes to begin.
const FILL_LIMIT: Duration = Duration::from_secs(60);
/// Longest that a client's cache takes to hear of a change.
const NOTICE_LIMIT: Duration = Duration::from_secs(10);
/// How often each key is read from a client's cache.
const READS: usize = 20;

/// A key for each slot.
fn one_key_per_slot() -> Vec<String> {
    let mut found = vec![String::new(); SLOTS];
    let mut missing = SLOTS;
    for number in 0.. {
        let key = format!("k{number}");
        let place = &mut found[usize::from(larder::base::slot::slot_of(key.as_bytes()).number())];
        if place.is_empty() {
            *place = key;
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    found
}

fn value(key: &str) -> String {
    format!("v{key}")
}

fn cluster_of(nodes: usize) -> Cluster {
    let cluster = Cluster::start(nodes, &[]);
    cluster.wait_ok();
    cluster
}

/// Keys of all nodes together.
fn keys_in(cluster: &Cluster) -> i64 {
    let running = cluster.running().into_iter();
    running.map(|number| cluster.connect(number).cmd(&["DBSIZE"]).integer()).sum()
}

fn redis_rs(address: SocketAddr, protocol: ProtocolVersion) -> ClusterClient {
    let builder = ClusterClient::builder(vec![format!("redis://{address}")]);
    builder.use_protocol(protocol).build().expect("a client")
}

fn fred_client(address: SocketAddr, version: RespVersion) -> fred::clients::Client {
    let server = ServerConfig::new_clustered(vec![(address.ip().to_string(), address.port())]);
    let config = Config { server, version, ..Config::default() };
    let mut builder = fred::types::Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_constant(0, 100));
    // Of its own accord it gives a command up that three connections did not take; while slots move in many small runs
    // that is soon.
    builder.with_connection_config(|connection| connection.max_command_attempts = ATTEMPTS);
    builder.build().expect("a client")
}

/// What an asynchronous client does; each of them is cheap to clone.
trait Asynchronous: Clone + Send + 'static {
    fn set(self, key: String, value: String) -> impl Future<Output = ()> + Send;
    fn get(self, key: String) -> impl Future<Output = Option<String>> + Send;
}

impl Asynchronous for ClusterConnection {
    async fn set(mut self, key: String, value: String) {
        redis::AsyncCommands::set(&mut self, key, value).await.expect("an answer")
    }

    async fn get(mut self, key: String) -> Option<String> {
        redis::AsyncCommands::get(&mut self, key).await.expect("an answer")
    }
}

impl Asynchronous for fred::clients::Client {
    async fn set(self, key: String, value: String) {
        KeysInterface::set(&self, key, value, None, None, false).await.expect("an answer")
    }

    async fn get(self, key: String) -> Option<String> {
        KeysInterface::get(&self, key).await.expect("an answer")
    }
}

/// Writes a batch of keys at once, and reads it at once.
async fn exchange(client: &impl Asynchronous, keys: &[String]) {
    let mut writes = JoinSet::new();
    for key in keys {
        writes.spawn(client.clone().set(key.clone(), value(key)));
    }
    writes.join_all().await;
    check(client, keys).await;
}

async fn check(client: &impl Asynchronous, keys: &[String]) {
    let mut reads = JoinSet::new();
    for key in keys {
        let (client, key) = (client.clone(), key.clone());
        reads.spawn(async move { (client.get(key.clone()).await, value(&key)) });
    }
    for (found, expected) in reads.join_all().await {
        assert_eq!(found, Some(expected));
    }
}

/// Works on until told to stop, then looks for every key. Says when all keys are written.
async fn load(client: impl Asynchronous, filled: Sender<()>, is_over: Arc<AtomicBool>) {
    let keys = one_key_per_slot();
    for batch in keys.chunks(BATCH) {
        exchange(&client, batch).await;
    }
    filled.send(()).expect("the test waits");
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..200 {
            number = (number + 7919) % SLOTS;
            let key = &keys[number];
            assert_eq!(client.clone().get(key.clone()).await, Some(value(key)));
            client.clone().set(key.clone(), value(key)).await;
        }
        exchange(&client, &keys[number..(number + BATCH).min(SLOTS)]).await;
    }
    for batch in keys.chunks(BATCH) {
        check(&client, batch).await;
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

#[test]
fn redis_rs_works_with_all_slots() {
    let keys = one_key_per_slot();
    for (nodes, protocol) in SIZES.into_iter().zip([ProtocolVersion::RESP2, ProtocolVersion::RESP3]) {
        let cluster = cluster_of(nodes);
        let client = redis_rs(cluster.address(0), protocol);
        let mut link = client.get_connection().expect("a connection");
        for batch in keys.chunks(BATCH) {
            let mut pipe = cluster_pipe();
            for key in batch {
                pipe.cmd("SET").arg(key).arg(value(key));
            }
            let replies: Vec<String> = pipe.query(&mut link).expect("answers");
            assert!(replies.iter().all(|reply| reply == "OK"), "{replies:?}");
        }
        assert_eq!(keys_in(&cluster), SLOTS as i64);
        for key in keys.iter().step_by(10) {
            assert_eq!(link.get::<_, String>(key).expect("an answer"), value(key));
        }
        // Over many slots, and so over all nodes.
        let some: Vec<&String> = keys.iter().step_by(100).collect();
        let values: Vec<String> = link.mget(&some).expect("an answer");
        assert_eq!(values, some.iter().map(|key| value(key)).collect::<Vec<_>>());
        assert_eq!(link.del::<_, usize>(&some).expect("an answer"), some.len());
    }
}

#[test]
fn redis_rs_asynchronous_works_with_all_slots() {
    let keys = one_key_per_slot();
    for (nodes, protocol) in SIZES.into_iter().zip([ProtocolVersion::RESP3, ProtocolVersion::RESP2]) {
        let cluster = cluster_of(nodes);
        block_on(async {
            let client = redis_rs(cluster.address(0), protocol);
            let mut link = client.get_async_connection().await.expect("a connection");
            for batch in keys.chunks(BATCH) {
                exchange(&link, batch).await;
            }
            let mut pipe = redis::pipe();
            pipe.atomic().set("{t}1", 1).ignore().incr("{t}1", 1).ignore().get("{t}1").del("{t}1");
            let replies: (String, i64) = pipe.query_async(&mut link).await.expect("an answer");
            assert_eq!(replies, ("2".to_owned(), 1));
        });
        assert_eq!(keys_in(&cluster), SLOTS as i64);
    }
}

/// Reads until a value is there, as a cache may hear of it a moment later.
async fn await_value(link: &mut ClusterConnection, key: &str, wanted: Option<&str>) {
    let began = Instant::now();
    loop {
        let found: Option<String> = redis::AsyncCommands::get(link, key).await.expect("an answer");
        if found.as_deref() == wanted {
            return;
        }
        assert!(began.elapsed() < NOTICE_LIMIT, "{key} is {found:?}, not {wanted:?}");
    }
}

#[test]
fn redis_rs_caches_what_it_reads() {
    let keys: Vec<String> = one_key_per_slot().into_iter().step_by(400).collect();
    let cluster = cluster_of(3);
    let address = cluster.address(0);
    block_on(async {
        let builder = ClusterClient::builder(vec![format!("redis://{address}")]);
        let caching =
            builder.use_protocol(ProtocolVersion::RESP3).cache_config(CacheConfig::default()).build();
        let mut link = caching.expect("a client").get_async_connection().await.expect("a connection");
        let other = redis_rs(address, ProtocolVersion::RESP2);
        let mut other = other.get_async_connection().await.expect("a connection");
        exchange(&other, &keys).await;
        for _ in 0..READS {
            for key in &keys {
                let found: String = redis::AsyncCommands::get(&mut link, key).await.expect("an answer");
                assert_eq!(found, value(key));
            }
        }
        let counted = link.get_cache_statistics().expect("a cache");
        assert_eq!((counted.miss, counted.hit), (keys.len(), keys.len() * (READS - 1)));

        for key in &keys {
            let _: () = redis::AsyncCommands::set(&mut other, key, "changed").await.expect("an answer");
        }
        for key in &keys {
            await_value(&mut link, key, Some("changed")).await;
        }
        let _: usize = redis::AsyncCommands::del(&mut other, &keys).await.expect("an answer");
        for key in &keys {
            await_value(&mut link, key, None).await;
        }
    });
}

#[test]
fn fred_works_with_all_slots() {
    let keys = one_key_per_slot();
    for (nodes, version) in SIZES.into_iter().zip([RespVersion::RESP3, RespVersion::RESP2]) {
        let cluster = cluster_of(nodes);
        block_on(async {
            let client = fred_client(cluster.address(0), version);
            client.init().await.expect("a connection");
            for batch in keys.chunks(BATCH) {
                exchange(&client, batch).await;
            }
            client.quit().await.expect("the end");
        });
        assert_eq!(keys_in(&cluster), SLOTS as i64);
    }
}

/// The same as [`load`] by redis-rs's client that blocks.
fn load_blocking(address: SocketAddr, filled: Sender<()>, is_over: &AtomicBool) {
    let keys = one_key_per_slot();
    let mut link = redis_rs(address, ProtocolVersion::RESP3).get_connection().expect("a connection");
    for key in &keys {
        link.set::<_, _, ()>(key, value(key)).expect("an answer");
    }
    filled.send(()).expect("the test waits");
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        number = (number + 7919) % SLOTS;
        let key = &keys[number];
        assert_eq!(link.get::<_, Option<String>>(key).expect("an answer"), Some(value(key)));
        link.set::<_, _, ()>(key, value(key)).expect("an answer");
    }
    for key in &keys {
        assert_eq!(link.get::<_, Option<String>>(key).expect("an answer"), Some(value(key)));
    }
}

/// Not redis-rs's asynchronous client: in some runs its 1.8 waits for ever for an answer when a node has left, though
/// every node has answered all it was asked.
#[test]
fn no_caller_notices_a_node_that_joins_and_one_that_leaves() {
    let mut cluster = cluster_of(3);
    let address = cluster.address(0);
    let is_over = Arc::new(AtomicBool::new(false));
    let (filled, is_filled) = channel();
    let (sender, over) = (filled.clone(), Arc::clone(&is_over));
    let redis_rs = thread::spawn(move || load_blocking(address, sender, &over));
    let over = Arc::clone(&is_over);
    let fred = thread::spawn(move || {
        block_on(async {
            let client = fred_client(address, RespVersion::RESP3);
            client.init().await.expect("a connection");
            load(client, filled, over).await;
        });
    });
    for _ in 0..2 {
        is_filled.recv_timeout(FILL_LIMIT).expect("both clients write all keys");
    }
    cluster.join();
    println!("a fourth node serves after {:?}", cluster.wait_ok());
    assert_eq!(cluster.stop(1), Some(0), "{}", cluster.output());
    cluster.wait_ok();
    is_over.store(true, Ordering::Relaxed);
    redis_rs.join().expect("redis-rs sees no error");
    fred.join().expect("fred sees no error");
    assert_eq!(keys_in(&cluster), SLOTS as i64);
}
