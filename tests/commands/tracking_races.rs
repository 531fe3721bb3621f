//! Client-side caching under fire: whatever readers keep while others write is what the server holds once all is quiet.

use super::tracking::tracking;
use crate::support::client::Client;
use crate::support::frame::Frame;
use crate::support::server::Server;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// What one client reads, keeps and hears of.
fn read_through(mut client: Client, keys: usize, seed: usize, done: &AtomicBool) -> HashMap<String, Frame> {
    let mut cache: HashMap<String, Frame> = HashMap::new();
    let heed = |client: &mut Client, cache: &mut HashMap<String, Frame>| {
        for push in client.pushes.drain(..) {
            match &push.items()[1] {
                Frame::Null => cache.clear(),
                Frame::Array(names) => names.iter().for_each(|name| drop(cache.remove(&name.text()))),
                _ => panic!("{push}"),
            }
        }
    };
    let (mut number, mut hits) = (seed, 0);
    while !done.load(Ordering::Relaxed) {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = format!("key:{}", (number >> 33) % keys);
        if cache.contains_key(&name) && hits < 3 {
            hits += 1;
            continue;
        }
        hits = 0;
        let value = client.line(&format!("GET {name}"));
        // What came before the reply is older than it.
        heed(&mut client, &mut cache);
        cache.insert(name, value);
    }
    client.check("PING", "PONG");
    heed(&mut client, &mut cache);
    cache
}

#[test]
fn caches_hold_what_the_server_holds_once_all_is_quiet() {
    const KEYS: usize = 64;
    const WRITES: usize = 1_500;
    let server = Arc::new(Server::start(&["--threads", "4", "--tracking-table-max-keys", "50"]));
    let done = Arc::new(AtomicBool::new(false));
    let left = Arc::new(AtomicUsize::new(3));
    let modes = ["", "", "BCAST PREFIX key:", "OPTOUT"];
    let readers: Vec<_> = modes
        .iter()
        .enumerate()
        .map(|(seed, mode)| {
            let (client, done) = (tracking(&server, mode), Arc::clone(&done));
            thread::spawn(move || read_through(client, KEYS, seed, &done))
        })
        .collect();
    let writers: Vec<_> = (0..3)
        .map(|seed: usize| {
            let (server, done, left) = (Arc::clone(&server), Arc::clone(&done), Arc::clone(&left));
            thread::spawn(move || {
                let mut client = server.connect();
                for number in 0..WRITES {
                    let key = (number * 31 + seed * 7) % KEYS;
                    let next = (key + 13) % KEYS;
                    match number % 9 {
                        0 => client.line(&format!("DEL key:{key}")),
                        1 => client.line(&format!("MSET key:{key} a{number} key:{next} b{seed}")),
                        2 => client.line(&format!("SET key:{key} {number} PX 3")),
                        3 if number % 200 == 3 => client.line("FLUSHALL"),
                        _ => client.line(&format!("SET key:{key} {seed}.{number}")),
                    };
                }
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    // Whatever falls due is to have done so.
                    let began = Instant::now();
                    while !client.line("INFO keyspace").text().contains("expires=0") {
                        assert!(began.elapsed() < LIMIT, "keys that are due stay");
                        thread::sleep(Duration::from_millis(5));
                    }
                    done.store(true, Ordering::Relaxed);
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    let caches: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
    let mut client = server.connect();
    for (mode, cache) in modes.iter().zip(&caches) {
        for (name, value) in cache {
            assert_eq!(client.line(&format!("GET {name}")), *value, "{name} in the cache of {mode:?}");
        }
    }
    assert!(caches.iter().any(|cache| !cache.is_empty()), "nobody kept anything");
}
