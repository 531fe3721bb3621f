//! Requests of one client for one key take effect in the order sent, whatever happens to the key's slot meanwhile.

use crate::support::client::{Client, encode};
use crate::support::frame::Frame;
use crate::{gateway, start};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Clients at once, each with keys of its own.
const CLIENTS: usize = 4;
/// Keys of one client.
const KEYS: usize = 40;
/// Requests that are sent at once, and again before the first of them are answered.
const BATCH: usize = 600;
/// What every request appends: its number, so wide.
const WIDTH: usize = 8;

/// What one client has sent and heard.
#[derive(Default)]
struct Course {
    sent: usize,
    heard: usize,
    wrong: Vec<String>,
}

fn key(client: usize, request: usize) -> String {
    format!("o:{client}:{}", request % KEYS)
}

/// Appends numbers to its keys, one batch always under way behind the one that is being answered.
fn append(address: SocketAddr, number: usize, stop: &AtomicBool) -> Course {
    let mut client = Client::connect(address).expect("the gateway");
    let mut course = Course::default();
    loop {
        let goes_on = !stop.load(Ordering::Relaxed);
        if goes_on {
            let batch = course.sent..course.sent + BATCH;
            let wire: Vec<u8> = batch
                .flat_map(|request| encode(&["APPEND", &key(number, request), &format!("{request:>WIDTH$}")]))
                .collect();
            client.send_raw(&wire);
            course.sent += BATCH;
        }
        let until = if goes_on { course.sent.saturating_sub(BATCH) } else { course.sent };
        while course.heard < until {
            let expected = (course.heard / KEYS + 1) * WIDTH;
            let reply = client.reply();
            if reply != Frame::Integer(expected as i64) {
                course.wrong.push(format!("request {}: {reply} for {expected}", course.heard));
            }
            course.heard += 1;
        }
        if !goes_on {
            return course;
        }
    }
}

#[test]
fn requests_for_a_key_take_effect_in_order_while_slots_move() {
    let mut cluster = start(&[]);
    let address = gateway(&cluster, 0);
    let stop = AtomicBool::new(false);
    let courses: Vec<Course> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let stop = &stop;
                    move || append(address, number, stop)
                })
            })
            .collect();
        for leaves in [2, 3] {
            cluster.join();
            cluster.wait_ok();
            assert_eq!(cluster.stop(leaves), Some(0), "a drained node ends in order");
            cluster.wait_ok();
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("it goes on")).collect()
    });
    for (number, course) in courses.iter().enumerate() {
        let wrong = &course.wrong;
        assert!(
            wrong.is_empty(),
            "client {number}: {} of {} replies, such as {:?}",
            wrong.len(),
            course.heard,
            &wrong[..wrong.len().min(5)]
        );
        assert!(course.heard > 10 * BATCH, "client {number} has heard {} replies only", course.heard);
        let mut client = Client::connect(address).expect("the gateway");
        for first in 0..KEYS {
            let requests = (first..course.sent).step_by(KEYS);
            let expected: String = requests.map(|request| format!("{request:>WIDTH$}")).collect();
            assert_eq!(
                client.cmd(&["GET", &key(number, first)]).text(),
                expected,
                "client {number}, key {first}"
            );
        }
    }
}
