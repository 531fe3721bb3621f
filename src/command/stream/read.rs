//! XREAD and XREADGROUP: what is new in several streams, waiting for it if asked to, and what is pending for a consumer.
//!
//! All keys are checked before anything is written or delivered. A command that waits is run again as a whole when one
//! of its streams changes: it must come to the same result then as one that comes just now, but for `$`, which means the
//! moment at which it came first.

use crate::base::num::parse_i64;
use crate::command::blocking::{self, TimeoutReply, Wait};
use crate::command::context::Cx;
use crate::command::spec::arg::Arg;
use crate::command::spec::flags::{BLOCKING, READONLY, WRITE};
use crate::command::spec::key_spec::{ACCESS, KeyFlags, KeySpec, RO};
use crate::command::spec::{Group, Spec};
use crate::command::stream::{
    Boxed, ENTRY, consumer_created, consumer_or_new, edit, parse_count, parse_id, quoted, write_entries,
    write_entry, write_id, write_if_there,
};
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::error::Error;
use crate::resp::output::Mark;
use crate::resp::reply::{Proto, Reply};
use crate::resp::shape::Shape;
use crate::store::typed::Edited;
use crate::store::value::stream::{
    ConsumerId, Direction, Group as Readers, IdText, Log, Nack, Stream, StreamId,
};
use smallvec::SmallVec;

/// The rows.
pub const COMMANDS: &[Spec] = &[
    Spec::new("xread", xread)
        .arity(-4)
        .flags(READONLY | BLOCKING)
        .keys(&[KeySpec::keyword("STREAMS", 1).find_range(-1, 1, 2).flags(RO | ACCESS)])
        .key_finder(keys)
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N) for each stream, N the number of entries returned.")
        .summary("Returns the entries behind given IDs of several streams, and waits for some if asked to.")
        .history(&[("7.4.0", "`+` asks for the last entry.")])
        .args(&[COUNT, BLOCK, STREAMS])
        .reply(BY_STREAM)
        .finish(),
    Spec::new("xreadgroup", xreadgroup)
        .arity(-7)
        .flags(WRITE | BLOCKING)
        .keys(&[KeySpec::keyword("STREAMS", 4).find_range(-1, 1, 2).flags(RO | ACCESS)])
        .key_finder(keys)
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N log P) for each stream, N the number of entries returned, P of those pending.")
        .summary(
            "Returns entries of several streams that are new to a group, or pending for one consumer of it.",
        )
        .args(&[
            Arg::block("group-block", &[Arg::string("group"), Arg::string("consumer")]).token("GROUP"),
            COUNT,
            BLOCK,
            Arg::flag("noack", "NOACK").optional(),
            STREAMS,
        ])
        .reply(BY_STREAM)
        .finish(),
];

const COUNT: Arg = Arg::integer("count").token("COUNT").optional();
const BLOCK: Arg = Arg::integer("milliseconds").token("BLOCK").optional();
const STREAMS: Arg =
    Arg::block("streams", &[Arg::key("key", 0).multiple(), Arg::string("id").multiple()]).token("STREAMS");

const BY_STREAM: Shape = Shape::OneOf(&[
    Shape::Null,
    Shape::Array(&Shape::Tuple(&[Shape::Bulk, Shape::Array(&ENTRY)])),
    Shape::Map(&Shape::Bulk, &Shape::Array(&ENTRY)),
]);

/// Where the parts of a request stand.
pub(in crate::command) struct Layout {
    /// How long to wait, if it waits.
    pub block_at: Option<usize>,
    /// The first key.
    pub keys_at: usize,
    /// How many keys there are; as many IDs stand behind them.
    pub streams: usize,
}

/// Where the parts of a request stand, found as the command itself reads its options: the word STREAMS may also be a
/// group's name. Nothing for one that is malformed.
pub(in crate::command) fn layout(args: Args<'_>) -> Option<Layout> {
    let (mut at, mut block_at) = (1, None);
    loop {
        let word = args.get(at)?;
        if word.eq_ignore_ascii_case(b"streams") {
            let rest = args.len() - at - 1;
            let is_whole = rest > 0 && rest.is_multiple_of(2);
            return is_whole.then_some(Layout { block_at, keys_at: at + 1, streams: rest / 2 });
        }
        at += match word {
            word if word.eq_ignore_ascii_case(b"block") => {
                block_at = Some(at + 1);
                2
            }
            word if word.eq_ignore_ascii_case(b"count") => 2,
            word if word.eq_ignore_ascii_case(b"group") => 3,
            word if word.eq_ignore_ascii_case(b"noack") => 1,
            _ => return None,
        };
    }
}

fn keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> bool {
    let Some(layout) = layout(args) else { return false };
    (layout.keys_at..layout.keys_at + layout.streams).for_each(|key| visit(key, RO | ACCESS));
    true
}

/// A request's options.
#[derive(Default)]
struct Options {
    /// How long to wait, in ms; 0 for ever.
    block_ms: Option<u64>,
    /// Most entries of each stream; 0: all.
    count: usize,
    /// Where the group's name stands, the consumer's behind it.
    group_at: Option<usize>,
    no_ack: bool,
    /// Where the keys stand.
    keys_at: usize,
    /// How many there are; their IDs stand behind them.
    streams: usize,
}

impl Options {
    fn id_at(&self, stream: usize) -> usize {
        self.keys_at + self.streams + stream
    }
}

fn parse(cx: &Cx<'_>, args: Args<'_>, in_group: bool) -> Result<Options, Error> {
    let mut options = Options::default();
    let mut at = 1;
    while options.keys_at == 0 {
        let word = args.get(at).ok_or(Error::Syntax)?;
        let more = args.len() - at - 1;
        if word.eq_ignore_ascii_case(b"block") && more > 0 {
            options.block_ms = Some(parse_block(cx, &args[at + 1])?);
            at += 2;
        } else if word.eq_ignore_ascii_case(b"count") && more > 0 {
            options.count = parse_count(&args[at + 1])?;
            at += 2;
        } else if word.eq_ignore_ascii_case(b"streams") && more > 0 {
            if more % 2 == 1 {
                return Err(unbalanced(in_group));
            }
            (options.keys_at, options.streams) = (at + 1, more / 2);
        } else if word.eq_ignore_ascii_case(b"group") && more > 1 {
            if !in_group {
                return Err(only_in_group("GROUP"));
            }
            options.group_at = Some(at + 1);
            at += 3;
        } else if word.eq_ignore_ascii_case(b"noack") {
            if !in_group {
                return Err(only_in_group("NOACK"));
            }
            options.no_ack = true;
            at += 1;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(options)
}

/// Reads how long to wait.
fn parse_block(cx: &Cx<'_>, text: &[u8]) -> Result<u64, Error> {
    let block_ms = parse_i64(text).ok_or(Error::TimeoutNotAnInteger)?;
    let block_ms = u64::try_from(block_ms).map_err(|_| Error::TimeoutNegative)?;
    if block_ms > (i64::MAX as u64).saturating_sub(cx.now_ms) {
        return Err(Error::TimeoutOutOfRange);
    }
    Ok(block_ms)
}

#[cold]
fn unbalanced(in_group: bool) -> Error {
    let (command, symbol) = if in_group { ("xreadgroup", '>') } else { ("xread", '$') };
    Error::err(format!(
        "Unbalanced '{command}' list of streams: for each stream key an ID or '{symbol}' must be specified."
    ))
}

#[cold]
fn only_in_group(option: &str) -> Error {
    Error::err(format!("The {option} option is only supported by XREADGROUP. You called XREAD instead."))
}

#[cold]
fn meaningless_in_group(id: char) -> Error {
    Error::err(format!(
        "The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
         specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty result \
         set."
    ))
}

/// The reply, an array of pairs or a map, which begins with the first stream that gives something.
struct ByStream<'a> {
    reply: &'a mut Reply,
    mark: Mark,
    streams: usize,
}

impl<'a> ByStream<'a> {
    fn new(reply: &'a mut Reply) -> Self {
        let mark = reply.deferred_array();
        Self { reply, mark, streams: 0 }
    }

    /// The reply, into which the entries of this stream are to be written next.
    fn begin(&mut self, key: &[u8]) -> &mut Reply {
        self.streams += 1;
        if self.reply.proto() == Proto::Resp2 {
            self.reply.array(2);
        }
        self.reply.bulk(key);
        self.reply
    }

    /// Ends it; false if no stream gave anything, so that there is no reply yet.
    fn end(self) -> bool {
        if self.streams > 0 {
            match self.reply.proto() {
                Proto::Resp2 => self.reply.close_array(self.mark, self.streams),
                Proto::Resp3 => self.reply.close_map(self.mark, self.streams),
            }
        }
        self.streams > 0
    }
}

fn xread(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = parse(cx, args, false)?;
    // Behind which ID each stream is read.
    let mut behind: SmallVec<[StreamId; 8]> = SmallVec::new();
    for at in 0..options.streams {
        let key = cx.data.key(&args[options.keys_at + at]);
        let log = cx.data.read_value::<Boxed>(&key)?.map(Stream::log);
        behind.push(match &args[options.id_at(at)] {
            b"$" => log.map(|log| log.marks().last_id).unwrap_or_default(),
            b"+" => log.and_then(Log::last_entry_id).and_then(StreamId::previous).unwrap_or_default(),
            b">" => {
                return Err(Error::Fixed(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
                     option.",
                ));
            }
            text => parse_id(text)?,
        });
    }
    let mut replies = ByStream::new(cx.reply);
    for (at, behind) in behind.iter().enumerate() {
        let key = cx.data.key(&args[options.keys_at + at]);
        let Some(stream) = cx.data.view::<Boxed>(&key)? else { continue };
        if let Some(start) = behind.next()
            && stream.log().last_entry_id() >= Some(start)
        {
            let reply = replies.begin(key.bytes);
            write_entries(
                reply,
                stream.log().cursor(start, StreamId::MAX, Direction::Forward),
                options.count,
            );
        }
    }
    if replies.end() {
        return Ok(());
    }
    // `$` is the moment at which the command came, not the one at which it is run again.
    let resolved = || {
        let ids: Vec<IdText> = behind.iter().map(|id| IdText::of(*id)).collect();
        let word = |(at, word)| match ids.get(usize::wrapping_sub(at, options.id_at(0))) {
            Some(id) if word == b"$" => id.as_bytes(),
            _ => word,
        };
        OwnedArgs::from_slices(&args.iter().enumerate().map(word).collect::<Vec<&[u8]>>())
    };
    let has_moment = args.from(options.id_at(0)).iter().any(|id| id == b"$");
    wait(cx, args, &options, || has_moment.then(resolved))
}

/// Answers that there is nothing, after waiting for something if asked to.
fn wait(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    options: &Options,
    rewritten: impl FnOnce() -> Option<OwnedArgs>,
) -> Result<(), Error> {
    let Some(block_ms) = options.block_ms else {
        cx.reply.null_array();
        return Ok(());
    };
    let keys: SmallVec<[&[u8]; 8]> = args.from(options.keys_at).iter().take(options.streams).collect();
    let timeout_ms = Some(block_ms).filter(|block_ms| *block_ms > 0);
    let on_timeout = TimeoutReply::NullArray;
    blocking::wait(cx, Wait { keys: &keys, timeout_ms, on_timeout, args: rewritten() })
}

/// What a consumer asks for.
struct Turn<'a> {
    key: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
    /// Behind which of its pending entries; none: entries that are new to the group.
    behind: Option<StreamId>,
    count: usize,
    no_ack: bool,
    now_ms: u64,
}

/// What came of it.
#[derive(Clone, Copy, Default)]
struct Outcome {
    /// Something was written, even if it is no entry.
    served: bool,
    /// The consumer was made.
    created: bool,
}

fn xreadgroup(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Error> {
    let options = parse(cx, args, true)?;
    let group_at = options.group_at.ok_or(Error::Fixed("ERR Missing GROUP option for XREADGROUP"))?;
    let (group, consumer) = (&args[group_at], &args[group_at + 1]);
    let mut behind: SmallVec<[Option<StreamId>; 8]> = SmallVec::new();
    for at in 0..options.streams {
        let key = cx.data.key(&args[options.keys_at + at]);
        let stream = cx.data.read_value::<Boxed>(&key)?;
        if stream.and_then(|stream| stream.group(group)).is_none() {
            return Err(no_group_to_read(key.bytes, group));
        }
        behind.push(match &args[options.id_at(at)] {
            b"$" => return Err(meaningless_in_group('$')),
            b"+" => return Err(meaningless_in_group('+')),
            b">" => None,
            // Redis takes the greatest ID for `>`.
            text => Some(parse_id(text)?).filter(|id| *id != StreamId::MAX),
        });
    }
    let mut replies = ByStream::new(cx.reply);
    for (at, behind) in behind.into_iter().enumerate() {
        let key = cx.data.key(&args[options.keys_at + at]);
        let (count, no_ack, now_ms) = (options.count, options.no_ack, cx.now_ms);
        let turn = Turn { key: key.bytes, group, consumer, behind, count, no_ack, now_ms };
        let (outcome, _) = edit(&mut cx.data, &key, |stream| serve(stream, &mut replies, &turn))?;
        if outcome.created {
            consumer_created(&mut cx.data, key.bytes);
        }
        cx.data.dirty += u64::from(outcome.served);
    }
    if replies.end() {
        return Ok(());
    }
    wait(cx, args, &options, || None)
}

#[cold]
fn no_group_to_read(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (quoted(key), quoted(group));
    Error::Custom(format!(
        "NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"
    ))
}

/// Serves one stream. A mere try is no change of the stream, which would wake those who wait for it.
fn serve(stream: &mut Stream, replies: &mut ByStream<'_>, turn: &Turn<'_>) -> Edited<Outcome> {
    let edited = stream.edit_group(turn.group, |log, group| {
        let (consumer, created) = consumer_or_new(group, turn.consumer, turn.now_ms)?;
        let served = turn.behind.is_some() || log.last_entry_id() > Some(group.last_id());
        let delivered = match turn.behind {
            _ if !served => 0,
            Some(behind) => write_pending(replies.begin(turn.key), log, group, consumer, behind, turn),
            None => write_new(replies.begin(turn.key), log, group, consumer, turn),
        };
        Some(Edited::when(created || delivered > 0, Outcome { served, created }).unwatched())
    });
    edited.flatten().unwrap_or(Edited::no(Outcome::default()))
}

/// Delivers entries that are new to the group; how many.
fn write_new(
    reply: &mut Reply,
    log: &Log,
    group: &mut Readers,
    consumer: ConsumerId,
    turn: &Turn<'_>,
) -> usize {
    let start = group.last_id().next().unwrap_or(StreamId::MAX);
    let mut cursor = log.cursor(start, StreamId::MAX, Direction::Forward);
    let mark = reply.deferred_array();
    let mut delivered = 0;
    while (turn.count == 0 || delivered < turn.count)
        && let Some(id) = cursor.next_id()
    {
        group.advance(log, id);
        write_entry(reply, id, &mut cursor);
        if !turn.no_ack {
            group.assign(id, Nack { delivery_ms: turn.now_ms, deliveries: 1, consumer });
        }
        delivered += 1;
    }
    reply.close_array(mark, delivered);
    if delivered > 0
        && !turn.no_ack
        && let Some(consumer) = group.consumer_mut(consumer)
    {
        consumer.active_ms = Some(turn.now_ms);
    }
    delivered
}

/// Delivers once more what is pending for a consumer; how many entries. Those that were deleted show without fields.
fn write_pending(
    reply: &mut Reply,
    log: &Log,
    group: &mut Readers,
    consumer: ConsumerId,
    behind: StreamId,
    turn: &Turn<'_>,
) -> usize {
    let mark = reply.deferred_array();
    let mut from = behind.next();
    let mut delivered = 0;
    while (turn.count == 0 || delivered < turn.count)
        && let Some(id) = from.and_then(|from| group.consumer(consumer)?.pending_from(from).next())
    {
        if write_if_there(reply, log, id) {
            group.redeliver(id, turn.now_ms);
        } else {
            reply.array(2);
            write_id(reply, id);
            reply.null_array();
        }
        delivered += 1;
        from = id.next();
    }
    reply.close_array(mark, delivered);
    delivered
}
