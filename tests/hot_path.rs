//! The commands that a cache lives on allocate nothing once buffers and blocks are there.
//!
//! Runs the one path that executes commands on this thread, without sockets, and asks the allocator how much the thread
//! has allocated. Time plays no part.

mod support;

use larder::config::Config;
use larder::resp::args::OwnedArgs;
use support::alone::Alone;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Times that each command runs while it is watched.
const RUNS: usize = 100;

#[test]
fn the_usual_commands_allocate_nothing() {
    let value = "v".repeat(100);
    let large = "v".repeat(100_000);
    let requests: &[&[&str]] = &[
        &["SET", "key", &value],
        // The same due time again and again: one that moves on with the clock may need new room among the due times.
        &["SET", "key", &value, "EXAT", "4102444800"],
        &["SET", "key", &value, "XX", "GET", "KEEPTTL"],
        &["GET", "key"],
        &["GET", "none"],
        &["GET", "large"],
        &["MGET", "key", "none", "large", "number"],
        &["MSET", "key", &value, "other", &value],
        &["STRLEN", "key"],
        &["GETRANGE", "key", "1", "-2"],
        &["GETEX", "key", "EXAT", "4102444800"],
        // Far from where the number of digits changes: that would be an entry of another size.
        &["SET", "number", "5000000"],
        &["INCR", "number"],
        &["INCR", "9"],
        &["DECRBY", "number", "1000"],
        &["SETRANGE", "key", "10", "part"],
    ];
    let mut alone = Alone::new(Config::default());
    let allocated = tikv_jemalloc_ctl::thread::allocatedp::read().expect("jemalloc counts for each thread");
    let before = allocated.get();
    alone.run(&OwnedArgs::from_slices(&["SET", "large", &large]));
    let took = allocated.get() - before;
    assert!(took >= large.len() as u64, "a large value took {took} bytes: nothing is counted");
    for request in requests {
        let request = OwnedArgs::from_slices(request);
        // The first runs fill the buffers that are kept.
        for _ in 0..RUNS {
            assert!(!alone.run(&request), "{request:?} failed");
        }
        let before = allocated.get();
        for _ in 0..RUNS {
            assert!(!alone.run(&request), "{request:?} failed");
        }
        assert_eq!(allocated.get() - before, 0, "bytes allocated by {RUNS} times {request:?}");
    }
}
