//! The commands that a cache lives on allocate nothing once buffers and blocks are there.
//!
//! Runs the one path that executes commands on this thread, without sockets, and asks the allocator how much the thread
//! has allocated. Time plays no part.

use larder::app;
use larder::command::context::WorkerLocal;
use larder::command::execute::{Progress, execute};
use larder::command::session::Session;
use larder::config::Config;
use larder::config::store::ConfigStore;
use larder::hub::clients::NewClient;
use larder::resp::args::OwnedArgs;
use larder::resp::reply::{Proto, Reply};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Times that each command runs while it is watched.
const RUNS: usize = 100;

/// A worker with one connection and nobody else.
struct Alone {
    worker: WorkerLocal,
    session: Session,
    reply: Reply,
}

impl Alone {
    fn new() -> Alone {
        let hub = app::build(Arc::new(ConfigStore::new(Config::default(), None)));
        let new = NewClient {
            peer: String::new(),
            local: String::new(),
            unix: false,
            worker: 0,
            descriptor: 0,
            now_ms: hub.clock.wall_ms(),
        };
        let client = hub.clients.register(new, 1).expect("nobody else is connected");
        Alone {
            worker: WorkerLocal::new(hub, 0),
            session: Session::new(client, true),
            reply: Reply::new(Proto::Resp2),
        }
    }

    /// Runs one command and drops its reply, which must not be an error.
    fn run(&mut self, request: &OwnedArgs) {
        self.worker.refresh_now();
        let progress = execute(&mut self.worker, &mut self.session, &mut self.reply, request.as_args());
        assert_eq!(progress, Progress::Done);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = self.reply.slices(&mut slices);
        let is_error = slices[..filled].first().is_some_and(|slice| slice.starts_with(b"-"));
        assert!(!is_error, "{request:?} failed");
        self.reply.advance(self.reply.pending_bytes());
    }
}

#[test]
fn the_usual_commands_allocate_nothing() {
    let value = "v".repeat(100);
    let large = "v".repeat(100_000);
    let requests: &[&[&str]] = &[
        &["SET", "key", &value],
        &["SET", "key", &value, "EX", "100"],
        &["SET", "key", &value, "XX", "GET", "KEEPTTL"],
        &["GET", "key"],
        &["GET", "none"],
        &["GET", "large"],
        &["MGET", "key", "none", "large", "number"],
        &["MSET", "key", &value, "other", &value],
        &["STRLEN", "key"],
        &["GETRANGE", "key", "1", "-2"],
        &["GETEX", "key", "EX", "100"],
        // Far from where the number of digits changes: that would be an entry of another size.
        &["SET", "number", "5000000"],
        &["INCR", "number"],
        &["INCR", "9"],
        &["DECRBY", "number", "1000"],
        &["SETRANGE", "key", "10", "part"],
    ];
    let mut alone = Alone::new();
    let allocated = tikv_jemalloc_ctl::thread::allocatedp::read().expect("jemalloc counts for each thread");
    let before = allocated.get();
    alone.run(&OwnedArgs::from_slices(&["SET", "large", &large]));
    let took = allocated.get() - before;
    assert!(took >= large.len() as u64, "a large value took {took} bytes: nothing is counted");
    for request in requests {
        let request = OwnedArgs::from_slices(request);
        // The first runs fill the buffers that are kept.
        for _ in 0..RUNS {
            alone.run(&request);
        }
        let before = allocated.get();
        for _ in 0..RUNS {
            alone.run(&request);
        }
        assert_eq!(allocated.get() - before, 0, "bytes allocated by {RUNS} times {request:?}");
    }
}
