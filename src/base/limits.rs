//! Every bound of every loop, queue, buffer and table, named, in one file, with the relations between them checked
//! when the crate is compiled. Parameters that an operator may change live in `config`; these may not.

/// Replies at least this long are linked into the output as shared segments, not copied.
pub const SHARED_REPLY_MIN: usize = 16 * 1024;
/// Longest inline (non-RESP) request line, as in Redis (64 KiB).
pub const INLINE_MAX: usize = 64 * 1024;
/// Most arguments that a request may have (Redis: 1024 × 1024, raised to what `INT_MAX` allows in 7.0; we keep the smaller).
pub const ARGS_MAX: usize = 1024 * 1024;
/// Most arguments before authentication, as in Redis.
pub const ARGS_MAX_UNAUTHENTICATED: usize = 10;
/// Longest bulk before authentication, as in Redis.
pub const BULK_MAX_UNAUTHENTICATED: usize = 16_384;
/// Shards at most: a lock set is a 64-bit mask.
pub const SHARDS_MAX: usize = 64;
/// Logical databases, as Redis has by default.
pub const DATABASES_MAX: usize = 16;
/// Longest request in bytes: positions within one are 32 bits wide.
pub const REQUEST_MAX_BYTES: usize = u32::MAX as usize;
/// Argument positions (8 bytes each) that a connection keeps room for between requests.
pub const ARGS_KEPT_MAX: usize = 1024;
/// Bytes of inline words that a connection keeps room for between requests.
pub const INLINE_WORDS_KEPT_BYTES: usize = 1024;
/// Output bytes that a connection keeps room for once its replies are drained.
pub const REPLY_KEPT_BYTES: usize = 64 * 1024;
/// Replies of unknown length at least this long get their header as a segment of its own; shorter ones are moved up.
pub const REPLY_MOVE_MAX_BYTES: usize = 16 * 1024;
/// Deepest nesting of a reply that is read back; Redis's own stay below ten.
pub const FRAME_DEPTH_MAX: usize = 32;

const _: () = assert!(INLINE_MAX < REQUEST_MAX_BYTES);
const _: () = assert!(ARGS_MAX_UNAUTHENTICATED <= ARGS_KEPT_MAX && ARGS_KEPT_MAX <= ARGS_MAX);
/// Bytes of unread input thrown away before a connection is closed in order.
pub const CLOSE_DISCARD_MAX: usize = 64 * 1024;
/// Accepted sockets that may wait for one worker; when it is full the rest wait in the kernel's backlog.
pub const HANDOFF_MAX: usize = 1024;
/// First and longest pause of a listener that the system refuses another descriptor or memory.
pub const ACCEPT_BACKOFF_MS: std::ops::RangeInclusive<u64> = 5..=1000;
/// What a worker reads at once; a connection without an unfinished request reads into its worker's buffer of this size.
pub const READ_BYTES: usize = 64 * 1024;
/// Spare room below which a connection's own input buffer grows before it is read into.
pub const READ_MIN_BYTES: usize = 4 * 1024;
/// Least room by which a connection's own input buffer grows.
pub const READ_OWN_BYTES: usize = 16 * 1024;
/// Requests that a connection may have executed before others on its worker have their turn.
pub const TURN_REQUESTS: usize = 256;
/// Reads that a connection may make before others on its worker have their turn.
pub const TURN_READS: usize = 8;
/// Writes that a connection may make at once before others on its worker have their turn.
pub const TURN_WRITES: usize = 8;
/// Bytes of requests of a worker's connections that wait until others are read, too: some two hundred look-ups. By the time
/// that many more were read, the memory of the first would have left the caches again.
pub const GATHER_BYTES: usize = 8 * 1024;
/// Longest input that waits so; what is longer is a pipeline, or too long for its memory to matter.
pub const GATHER_REQUEST_MAX_BYTES: usize = 512;
/// Requests that must have met for the next ones to wait for each other.
pub const GATHER_MIN: usize = 3;
/// Reads after which it is tried again whether requests meet.
pub const GATHER_ALONE_READS: u32 = 31;
/// Unexecuted input that is taken in from a client that does not read its replies.
pub const INPUT_BACKLOG_BYTES: usize = 16 * 1024 * 1024;
/// Pieces of output that one vectored write carries at most.
pub const WRITE_SLICES: usize = 32;
/// Frames that a client's outbox keeps room for once it is empty.
pub const OUTBOX_KEPT_FRAMES: usize = 16;
/// Bytes in an outbox from which on its owner is woken out of turn.
pub const OUTBOX_MUCH_BYTES: usize = 16 * 1024;
/// Subscribers of a message that are woken at once; the rest wait for their worker's courier.
pub const COURIER_FREE: usize = 8;
/// Clients that a courier wakes before its worker looks at its sockets.
pub const COURIER_STEP: usize = 32;
/// Subscriptions that a connection which ends gives up at once; the rest go in steps of as many.
pub const LEAVE_STEP: usize = 1024;
/// A connection that is closing is cut off when its peer has read nothing for this long.
pub const CLOSE_LINGER_MS: u64 = 10_000;
/// How often a worker looks at a share of its connections for ones that it must end.
pub const SWEEP_PERIOD_MS: u64 = 100;
/// Sweeps in which every connection is looked at once.
pub const SWEEP_SLICES: usize = 10;

const _: () = assert!(
    READ_MIN_BYTES <= READ_OWN_BYTES && READ_OWN_BYTES <= READ_BYTES && READ_BYTES <= INPUT_BACKLOG_BYTES
);
/// Connections to the HTTP port that are served at once; further ones wait in the kernel's backlog.
pub const HTTP_CONNECTIONS_MAX: usize = 32;
/// Connections to the HTTP port that the kernel keeps waiting.
pub const HTTP_BACKLOG: i32 = 64;
/// Longest request line and header of a request to the HTTP port.
pub const HTTP_HEADER_MAX_BYTES: usize = 16 * 1024;
/// Most header lines of a request to the HTTP port.
pub const HTTP_HEADERS_MAX: usize = 64;
/// A connection to the HTTP port is cut when it has lasted this long, whatever it is doing.
pub const HTTP_CONNECTION_MAX_MS: u64 = 30_000;
/// Descriptors that the process needs beside its clients' and workers': listeners, log, probes and scrapes.
pub const DESCRIPTORS_RESERVED: u64 = 32;
/// Descriptors that a worker's runtime needs.
pub const DESCRIPTORS_PER_WORKER: u64 = 4;
/// Nodes of a cluster at most.
pub const CLUSTER_NODES_MAX: usize = 1024;
/// Moves of slots under way in a cluster at most.
pub const CLUSTER_MOVES_MAX: usize = 64;
/// Moves that a node is source or target of at a time.
pub const CLUSTER_MOVES_PER_NODE: usize = 2;
/// Slots of one move at most: of a million keys some eight thousand. Their commands are held for the last changes only,
/// however many slots there are; what has been sent is lost when either side dies.
pub const CLUSTER_MOVE_SLOTS: usize = 128;
/// Longest that a command waits for a held slot before it is refused.
pub const CLUSTER_HOLD_MAX_MS: u64 = 5_000;
/// A command that waits for a held slot is tried again after so long even if nobody wakes it.
pub const CLUSTER_HOLD_RETRY_MS: u64 = 20;
/// Requests with scripts that wait for the thread that runs long ones, at most; further ones are refused.
pub const SCRIPTS_APART_MAX: usize = 4096;
/// Memory that the texts of all libraries of functions may take together.
pub const LIBRARIES_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Longest that a library may take to load.
pub const LIBRARY_LOAD_MAX_MS: u64 = 500;
/// Wishes of operators to the cluster that may wait.
pub const CLUSTER_WISHES_MAX: usize = 16;
/// Longest body of a control message between nodes.
pub const PEER_CONTROL_MAX_BYTES: usize = 1024 * 1024;
/// Longest body of a message that carries keys between nodes.
pub const PEER_BULK_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Longest form of what a node says of itself when a link begins.
pub const PEER_HELLO_MAX_BYTES: usize = 512;
/// Longest body of a message that carries published messages between nodes.
pub const PEER_PUBLISH_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Links to other nodes at most: one of each class to each.
pub const PEER_LINKS_MAX: usize = 3 * CLUSTER_NODES_MAX;
/// Links from other nodes at most.
pub const PEER_SERVED_MAX: usize = 3 * CLUSTER_NODES_MAX;
/// Handshakes of accepted connections under way at once; further connections are closed.
pub const PEER_HANDSHAKES_MAX: usize = 256;
/// A handshake that takes longer is given up.
pub const PEER_HANDSHAKE_MS: u64 = 3000;
/// A connection to a node that takes longer is given up.
pub const PEER_CONNECT_MS: u64 = 1000;
/// Connections of nodes that the kernel keeps waiting.
pub const PEER_BACKLOG: u32 = 256;
/// A connection of nodes at rest is probed this often.
pub const PEER_KEEPALIVE_MS: u64 = 15_000;
/// First and longest pause before a node that could not be reached is tried again.
pub const PEER_BACKOFF_MS: std::ops::RangeInclusive<u64> = 50..=1000;
/// How often a link is looked at.
pub const PEER_TICK_MS: u64 = 500;
/// A link that owes a sign of life for this long is dropped.
pub const PEER_SILENT_MS: u64 = 3000;
/// A link to a node that nothing was sent over for this long is closed.
pub const PEER_IDLE_MS: u64 = 60_000;
/// A link from a node that nothing came over for this long is dropped.
pub const PEER_SERVED_IDLE_MS: u64 = 90_000;
/// Messages that wait for one link at most.
pub const PEER_QUEUE_MAX: usize = 1024;
/// Bytes of messages that wait for one link at most.
pub const PEER_QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// Requests of one link that wait for their replies at most.
pub const PEER_CALLS_MAX: usize = 4096;
/// Bytes of requests and replies that one link's other side has being served; more are answered as busy.
pub const PEER_SERVING_BYTES: usize = 16 * 1024 * 1024;
/// What a request counts as being served, if it is shorter: this bounds their number.
pub const PEER_SERVING_MIN_BYTES: usize = 32 * 1024;
/// What is read at once from a link where no message has begun; there are many, and most are at rest.
pub const PEER_READ_BYTES: usize = 4 * 1024;
/// What is read from a link at once amid a message; buffers that are longer are given back after it.
pub const PEER_LONG_READ_BYTES: usize = 64 * 1024;
/// Sealed bytes that are written to a link at once; one frame more at most waits.
pub const PEER_WRITE_BYTES: usize = 128 * 1024;
/// A fault of links is logged this often at most.
pub const PEER_LOG_PERIOD_MS: u64 = 60_000;

const _: () =
    assert!(PEER_CONTROL_MAX_BYTES <= PEER_BULK_MAX_BYTES && PEER_BULK_MAX_BYTES <= PEER_QUEUE_BYTES);
const _: () =
    assert!(PEER_BULK_MAX_BYTES <= PEER_SERVING_BYTES && PEER_SERVING_MIN_BYTES <= PEER_SERVING_BYTES);
const _: () = assert!(PEER_TICK_MS < PEER_SILENT_MS && PEER_IDLE_MS < PEER_SERVED_IDLE_MS);
/// Longest message of PUBLISH, channel included, that goes to other nodes; the rest of the room is for headers.
pub const BUS_MESSAGE_MAX_BYTES: usize = PEER_PUBLISH_MAX_BYTES - 1024;
/// Published messages that travel together: as many as fit, or one that is longer.
pub const BUS_BATCH_BYTES: usize = 64 * 1024;
/// Published messages that wait to be sent, or in a worker's inbox to be delivered, at most.
pub const BUS_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Batches of published messages that wait for one other node at most.
pub const BUS_LANE_MAX: usize = 32_768;
/// Batches that wait for another node before what is published gathers into larger ones.
pub const BUS_LANE_AHEAD: usize = 4;
/// How long it then gathers.
pub const BUS_GATHER_MS: u64 = 1;
/// Bytes of them at most; lanes share what they hold.
pub const BUS_LANE_BYTES: usize = 32 * 1024 * 1024;
/// Published messages that a worker delivers before others on it have their turn.
pub const BUS_TURN_MESSAGES: usize = 64;
/// Subscribers that it delivers them to before that, beside those of the last message.
pub const BUS_TURN_RECEIVERS: usize = 2048;

const _: () = assert!(PEER_PUBLISH_MAX_BYTES <= PEER_QUEUE_BYTES && PEER_PUBLISH_MAX_BYTES <= BUS_LANE_BYTES);
const _: () = assert!(BUS_BATCH_BYTES < BUS_MESSAGE_MAX_BYTES && BUS_MESSAGE_MAX_BYTES <= BUS_QUEUE_BYTES);
/// Entries of the cluster's log after which the table is kept and the log shortened.
pub const CLUSTER_LOG_KEEP: u64 = 64;
/// Entries of the cluster's log that one message carries at most.
pub const CLUSTER_LOG_BATCH: usize = 32;
/// Entries of a log that is read from a file at most.
pub const CLUSTER_LOG_MAX: usize = 65_536;
/// Longest message between voters: a table of the most nodes and runs is well under it.
pub const CLUSTER_RAFT_MESSAGE_MAX_BYTES: usize = PEER_CONTROL_MAX_BYTES;
/// Largest file that is read as the cluster's state.
pub const CLUSTER_STATE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Longest message of gossip: what chitchat makes fits a datagram.
pub const GOSSIP_MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// Compressed blocks in a message of gossip; each unfolds to 64 KiB at most.
pub const GOSSIP_BLOCKS_MAX: usize = 64;
/// Messages of gossip that have come in and wait.
pub const GOSSIP_INBOX_MAX: usize = 256;
/// How often a node gossips.
pub const GOSSIP_PERIOD_MS: u64 = 200;
/// In clusters of more nodes than this, each opens fewer exchanges, so that what gossip costs a node stays as it is.
pub const GOSSIP_FULL_NODES: u64 = 33;
/// A node that was not heard of for this long is forgotten; half of it, and others are told no more of it.
pub const GOSSIP_DEAD_KEPT_MS: u64 = 3_600_000;
/// Longest text that a node may say of itself in one value.
pub const GOSSIP_VALUE_MAX_BYTES: usize = 255;
/// Seeds that are tried at once while nobody is known.
pub const GOSSIP_SEEDS_TRIED: usize = 16;
/// A seed is tried this often once others are known, so that parts that lost each other meet again.
pub const GOSSIP_SEED_PERIOD_MS: u64 = 2000;
/// Names among the seeds at most.
pub const SEEDS_MAX: usize = 64;
/// Addresses that the seeds resolve to at most.
pub const SEED_ADDRESSES_MAX: usize = CLUSTER_NODES_MAX;
/// How often seeds are resolved while the node belongs to no cluster.
pub const SEEDS_JOINING_MS: u64 = 5000;
/// How often seeds are resolved afterwards.
pub const SEEDS_JOINED_MS: u64 = 60_000;
/// First and longest pause after seeds of which one did not resolve.
pub const SEEDS_BACKOFF_MS: std::ops::RangeInclusive<u64> = 500..=30_000;
/// A name that takes longer to resolve is given up.
pub const SEEDS_RESOLVE_MS: u64 = 5000;
/// How often a node looks whether its address has changed.
pub const WHEREABOUTS_MS: u64 = 1000;
/// How long a node that starts waits for a seed by which it can tell its own address.
pub const WHEREABOUTS_START_MS: u64 = 3000;
/// Other nodes that the way to is looked at.
pub const WHEREABOUTS_LOOKS_MAX: usize = 8;
/// Messages about the cold start that may wait; more are lost, and sent again.
pub const CLUSTER_HEEDED_MAX: usize = 1024;
/// Requests of one connection to the gateway that wait for other nodes at most.
pub const GATEWAY_PENDING_MAX: usize = 512;
/// Bytes of requests that wait for one node, on one link, at most, beside the one that exceeds it.
pub const GATEWAY_LINK_BYTES: usize = 16 * 1024 * 1024;
/// Requests that wait for one node, on one link, at most.
pub const GATEWAY_LINK_REQUESTS: usize = 65_536;
/// Longest reply that the gateway takes from another node.
pub const GATEWAY_REPLY_MAX_BYTES: usize = 1024 * 1024 * 1024;
/// A request that found no owner is tried again after so long.
pub const GATEWAY_RETRY_MS: u64 = 20;
/// A request that finds no owner for so long is given up.
pub const GATEWAY_RETRY_MAX_MS: u64 = 500;
/// Times that a request follows a MOVED at once; beyond that it waits before each.
pub const GATEWAY_MOVED_MAX: u32 = 5;
/// A connection to another node's client port that takes longer is given up.
pub const GATEWAY_CONNECT_MS: u64 = 1000;
/// A node that answers nothing on a link for so long, though it was asked, is given up.
pub const GATEWAY_SILENT_MS: u64 = 10_000;
/// The same for a node that is no longer a member.
pub const GATEWAY_GONE_MS: u64 = 500;
/// A wait at another node ends so long after that node ceased to own the slot, as this one sees it: the other says so
/// itself much sooner, if it lives, and this one may hear of the next owner later than a MOVED leads there.
pub const GATEWAY_ASTRAY_MS: u64 = 2000;
/// A link that nothing was sent over for so long is closed.
pub const GATEWAY_IDLE_MS: u64 = 60_000;
/// How often a worker looks at its links.
pub const GATEWAY_TICK_MS: u64 = 250;
/// What is read from a link at once.
pub const GATEWAY_READ_BYTES: usize = 64 * 1024;
/// Members at most for SCAN by the gateway: its cursor has no room for more.
pub const GATEWAY_SCAN_NODES_MAX: usize = 127;
