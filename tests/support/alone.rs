//! A server's inside without sockets: one worker and one connection on this thread, for tests that look at what commands
//! do rather than at what they answer.

use larder::app;
use larder::command::context::WorkerLocal;
use larder::command::execute::{Progress, execute};
use larder::command::session::Session;
use larder::config::Config;
use larder::config::store::ConfigStore;
use larder::hub::Hub;
use larder::hub::clients::{Client, NewClient};
use larder::resp::args::OwnedArgs;
use larder::resp::reply::{Proto, Reply};
use std::io::IoSlice;
use std::sync::Arc;

/// A client that no socket stands behind.
pub fn client_of(hub: &Hub) -> Arc<Client> {
    let new = NewClient {
        peer: String::new(),
        local: String::new(),
        unix: false,
        worker: 0,
        descriptor: 0,
        now_ms: hub.clock.wall_ms(),
    };
    hub.clients.register(new, 1).expect("nobody else is connected")
}

/// A worker with one connection and nobody else.
pub struct Alone {
    /// The services.
    pub hub: Arc<Hub>,
    worker: WorkerLocal,
    session: Session,
    reply: Reply,
}

impl Alone {
    /// A server of its own.
    pub fn new(config: Config) -> Alone {
        let hub = app::build(Arc::new(ConfigStore::new(config, None)));
        let session = Session::new(client_of(&hub), true);
        Alone { worker: WorkerLocal::new(Arc::clone(&hub), 0), hub, session, reply: Reply::new(Proto::Resp2) }
    }

    /// Runs one command and drops its reply; whether that was an error. Allocates nothing itself.
    pub fn run(&mut self, request: &OwnedArgs) -> bool {
        self.worker.refresh_now();
        let progress = execute(&mut self.worker, &mut self.session, &mut self.reply, request.as_args());
        assert_eq!(progress, Progress::Done, "{request:?}");
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = self.reply.slices(&mut slices);
        let is_error = slices[..filled].first().is_some_and(|slice| slice.starts_with(b"-"));
        self.reply.advance(self.reply.pending_bytes());
        is_error
    }
}
