//! The command table as data: what every row must satisfy, and that names and numbers are Redis's.
//!
//! Exceptions are named with their reasons; one that no longer differs fails the test too. Comparison with Redis runs
//! where `redis-server` 7.0 is installed.

mod support;

use larder::command::context::Cx;
use larder::command::keys;
use larder::command::spec::arg::{Arg, ArgType};
use larder::command::spec::category;
use larder::command::spec::flags::{DENYOOM, FLAG_NAMES, MOVABLEKEYS, NO_MANDATORY_KEYS, READONLY, WRITE};
use larder::command::spec::key_spec::{
    BeginSearch, FindKeys, KEY_FLAG_NAMES, KeySpec, NOT_KEY, OW, RO, RW, UPDATE, VARIABLE_FLAGS,
};
use larder::command::spec::{Group, Spec};
use larder::command::table::{self, Entry};
use larder::resp::args::{Args, OwnedArgs};
use larder::resp::error::Error;
use larder::resp::shape::Shape;
use std::collections::{BTreeSet, HashSet};
use std::process::Command;
use support::client::Client;
use support::frame::Frame;
use support::server::Server;
use support::tool::{self, is_installed};

/// Writes that are allowed when memory is full: they free memory, or add none.
const WRITES_WITHOUT_DENYOOM: &str = "
    del unlink expire pexpire expireat pexpireat persist rename renamenx move getdel getex flushdb
    flushall swapdb migrate xdel xtrim xreadgroup xgroup|setid xgroup|destroy xgroup|delconsumer xack
    xclaim xautoclaim zrem zremrangebyrank zremrangebyscore zremrangebylex zpopmin zpopmax zmpop
    bzpopmin bzpopmax bzmpop srem smove spop lrem ltrim lpop rpop lmpop blpop brpop blmpop hdel hgetdel
    hgetex hpersist function|delete function|flush
";

/// Commands that count as reads and yet change a key: name, how.
const READS_THAT_CHANGE: &[(&str, &str)] =
    &[("pfcount", "keeps the count in the value, to have it the next time")];

/// Rows whose arity is not the least that the argument tree says: name, why.
const ARITY_UNLIKE_TREE: &[(&str, &str)] = &[("quit", "anything may follow; it is not read")];

/// Where a row differs from redis-server 7.0 on purpose: name, what, why.
const UNLIKE_REDIS_7_0: &[(&str, &str, &str)] = &[
    ("command|getkeys", "arity", "7.2 lowered it, so that a command without arguments gets its own error"),
    ("command|getkeysandflags", "arity", "7.2 lowered it, as for GETKEYS"),
    ("zrank", "arity", "7.2 added WITHSCORE"),
    ("zrevrank", "arity", "7.2 added WITHSCORE"),
    ("scan", "tips", "7.2 added how to join the replies"),
    ("randomkey", "tips", "7.2 added how to join the replies"),
    ("config|resetstat", "tips", "7.2 added where to send it"),
    ("config|rewrite", "tips", "7.2 added where to send it"),
    ("msetnx", "tips", "later versions have none: split over nodes it would not be all or nothing"),
    ("monitor", "flags", "a feed cannot start within EXEC: refused when queued, not when run"),
];

/// All complaints at once are worth more than the first.
#[track_caller]
fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn names_are_unique_and_found_in_any_case() {
    let mut seen = HashSet::new();
    for (at, entry) in table::entries().iter().enumerate() {
        let name = entry.full_name.as_str();
        assert_eq!(entry.id, at);
        assert!(seen.insert(name), "{name} twice");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        assert!(entry.spec.name.chars().all(plain), "{name}");
        let found = table::find_full(name.to_ascii_uppercase().as_bytes()).map(|found| found.id);
        assert_eq!(found, Some(entry.id), "{name}");
    }
    assert_eq!(seen.len(), table::count());
    assert_eq!(table::commands().count(), table::command_count());
}

#[test]
fn names_that_only_resemble_a_command_are_not_found() {
    for name in [
        "",
        "comman",
        "commandd",
        "comm\u{1}nd",
        "command|",
        "|count",
        "command|count|",
        "command|nosuch",
        "@",
    ] {
        assert!(table::find_full(name.as_bytes()).is_none(), "{name:?}");
    }
    // Letters differ from other bytes in more than the bit of their case.
    for entry in table::entries() {
        for at in 0..entry.spec.name.len() {
            for bit in [0x20, 0x40, 0x80] {
                let mut name = entry.full_name.to_ascii_uppercase().into_bytes();
                let offset = name.len() - entry.spec.name.len();
                name[offset + at] ^= bit;
                let same = name.eq_ignore_ascii_case(entry.full_name.as_bytes());
                assert_eq!(table::find_full(&name).is_some_and(|found| found.id == entry.id), same);
            }
        }
    }
}

#[test]
fn texts_are_sentences() {
    let mut bad = Vec::new();
    for entry in table::entries() {
        let spec = entry.spec;
        let history = spec.history.iter().map(|(_, change)| *change);
        for text in [spec.summary, spec.complexity].into_iter().chain(history) {
            let starts = text.starts_with(|c: char| c.is_ascii_uppercase() || c == '`');
            let one_line = text.chars().all(|c| !c.is_control()) && text.trim() == text;
            if !starts || !text.ends_with('.') || !one_line {
                bad.push(format!("{}: '{text}'", entry.full_name));
            }
        }
        let versions = spec.history.iter().map(|(version, _)| *version).chain([spec.since]);
        for version in versions {
            let numbers = version.split('.').filter(|part| part.parse::<u16>().is_ok()).count();
            if numbers != 3 || version.split('.').count() != 3 {
                bad.push(format!("{}: version '{version}'", entry.full_name));
            }
        }
    }
    report(bad);
}

/// The fewest and most words that `args` stand for; `None`: no limit.
fn words(args: &[Arg]) -> (usize, Option<usize>) {
    let mut least = 0;
    let mut most = Some(0);
    for arg in args {
        let (low, high) = words_of(arg);
        least += low;
        most = most.zip(high).map(|(sum, high)| sum + high);
    }
    (least, most)
}

fn words_of(arg: &Arg) -> (usize, Option<usize>) {
    let (low, high) = match arg.kind {
        ArgType::PureToken => (0, Some(0)),
        ArgType::Block => words(arg.args),
        ArgType::OneOf => {
            let parts: Vec<_> = arg.args.iter().map(words_of).collect();
            let low = parts.iter().map(|part| part.0).min().unwrap_or(0);
            let high = parts.iter().map(|part| part.1).try_fold(0, |most, high| Some(most.max(high?)));
            (low, high)
        }
        _ => (1, Some(1)),
    };
    let token = usize::from(!arg.token.is_empty());
    let low = if arg.optional { 0 } else { low + token };
    let high = if arg.multiple { None } else { high.map(|high| high + token) };
    (low, high)
}

#[test]
fn arity_is_what_the_argument_tree_says() {
    let mut bad = Vec::new();
    for entry in table::entries() {
        let spec = entry.spec;
        let name = entry.full_name.as_str();
        let (low, high) = words(spec.args);
        let own = if entry.parent.is_some() { 2 } else { 1 };
        let fixed = high == Some(low);
        let least = if spec.handler.is_none() { 2 } else { own + low };
        let expected = if fixed && spec.subcommands.is_empty() { least as i32 } else { -(least as i32) };
        let excepted = ARITY_UNLIKE_TREE.iter().any(|(except, _)| *except == name);
        if (spec.arity == expected) == excepted {
            bad.push(format!("{name}: arity {}, arguments say {expected}", spec.arity));
        }
    }
    report(bad);
}

fn for_each_arg(args: &'static [Arg], visit: &mut impl FnMut(&'static Arg)) {
    for arg in args {
        visit(arg);
        for_each_arg(arg.args, visit);
    }
}

#[test]
fn argument_trees_are_well_formed() {
    let mut bad = Vec::new();
    for entry in table::entries() {
        for_each_arg(entry.spec.args, &mut |arg| {
            let nested = matches!(arg.kind, ArgType::OneOf | ArgType::Block);
            let complaint = if arg.name.is_empty() || arg.name.chars().any(|c| c.is_ascii_uppercase()) {
                "its name is empty or not lower case"
            } else if nested == arg.args.is_empty() {
                "a oneof or block has parts, others have none"
            } else if arg.kind == ArgType::PureToken && arg.token.is_empty() {
                "a pure token needs its token"
            } else if arg.multiple_token && arg.token.is_empty() {
                "multiple_token without token"
            } else if (arg.kind == ArgType::Key) != arg.key_spec_index.is_some() {
                "keys, and only keys, have a key spec"
            } else if arg.key_spec_index.is_some_and(|index| index >= entry.spec.key_specs.len()) {
                "its key spec does not exist"
            } else {
                return;
            };
            bad.push(format!("{}: argument '{}': {complaint}", entry.full_name, arg.name));
        });
        // A key that no argument shows would surprise a reader.
        for (index, rule) in entry.spec.key_specs.iter().enumerate() {
            // Channels that are routed by their slots are no keys.
            let mut shown = rule.find_keys == FindKeys::Unknown || rule.has(NOT_KEY);
            for_each_arg(entry.spec.args, &mut |arg| shown |= arg.key_spec_index == Some(index));
            if !shown {
                bad.push(format!("{}: no argument shows key spec {index}", entry.full_name));
            }
        }
    }
    report(bad);
}

#[test]
fn flags_and_keys_agree() {
    let mut bad = Vec::new();
    for entry in table::entries() {
        let spec = entry.spec;
        let name = entry.full_name.as_str();
        let mut complain = |text: &str| bad.push(format!("{name}: {text}"));
        let excepted = WRITES_WITHOUT_DENYOOM.split_whitespace().any(|known| known == name);
        if spec.has(WRITE) && spec.has(DENYOOM) == excepted {
            complain("a write has DENYOOM or is a listed exception, not both");
        }
        let writes = spec.key_specs.iter().any(|rule| !rule.has(RO) && !rule.has(VARIABLE_FLAGS));
        let changes = READS_THAT_CHANGE.iter().any(|(known, _)| *known == name);
        if spec.has(READONLY) && writes != changes {
            complain("a read-only command changes a key");
        }
        for (at, rule) in spec.key_specs.iter().enumerate() {
            if rule.has(NOT_KEY) {
                continue;
            }
            let optional = spec.args.iter().any(|arg| arg.optional && arg.key_spec_index == Some(at));
            if let BeginSearch::Index(index) = rule.begin_search
                && index >= spec.arity.abs()
                && !spec.has(NO_MANDATORY_KEYS)
                && !optional
            {
                complain("a key stands behind what the arity guarantees");
            }
        }
        if spec.replaced_by.is_empty() != spec.deprecated_since.is_empty() {
            complain("deprecated commands, and only they, say what replaces them");
        }
        let both = spec.categories & category::FAST != 0 && spec.categories & category::SLOW != 0;
        if both || spec.categories & (category::FAST | category::SLOW) == 0 {
            complain("a command is either fast or slow");
        }
    }
    for name in WRITES_WITHOUT_DENYOOM.split_whitespace() {
        if table::find_full(name.as_bytes()).is_none() {
            bad.push(format!("{name}: there is no such command; remove the exception"));
        }
    }
    report(bad);
}

fn handler(_: &mut Cx<'_>, _: Args<'_>) -> Result<(), Error> {
    Ok(())
}

const fn row(keys: &'static [KeySpec]) -> Spec {
    Spec::new("row", handler)
        .arity(-2)
        .keys(keys)
        .group(Group::Generic)
        .since("1.0.0")
        .complexity("O(1).")
        .summary("A row.")
        .reply(Shape::Ok)
        .finish()
}

/// MSET; EVAL; RENAME; ZUNIONSTORE; XREAD; GEORADIUS; nothing; OBJECT FREQ.
const SHAPES: &[(Spec, [i32; 3], bool)] = &[
    (row(&[KeySpec::range(1, -1, 2).flags(OW | UPDATE)]), [1, -1, 2], false),
    (row(&[KeySpec::key_num(2, 0, 1, 1).flags(RW)]), [0, 0, 0], true),
    (row(&[KeySpec::at(1).flags(RW), KeySpec::at(2).flags(OW)]), [1, 2, 1], false),
    (row(&[KeySpec::at(1).flags(OW), KeySpec::key_num(2, 0, 1, 1).flags(RO)]), [1, 1, 1], true),
    (row(&[KeySpec::keyword("STREAMS", 1).find_range(-1, 1, 2).flags(RO)]), [0, 0, 0], true),
    (
        row(&[KeySpec::at(1).flags(RO), KeySpec::keyword("STORE", 6).find_range(0, 1, 0).flags(OW)]),
        [1, 1, 1],
        true,
    ),
    (row(&[]), [0, 0, 0], false),
    (row(&[KeySpec::at(2).flags(RO)]), [2, 2, 1], false),
];

#[test]
fn first_last_and_step_follow_from_key_specs() {
    for (at, (spec, legacy, movable)) in SHAPES.iter().enumerate() {
        let keys = spec.legacy_keys;
        assert_eq!([keys.first, keys.last, keys.step], *legacy, "shape {at}");
        assert_eq!(spec.has(MOVABLEKEYS), *movable, "shape {at}");
    }
    let single: Vec<usize> = SHAPES.iter().map(|(spec, _, _)| spec.single_key).collect();
    assert_eq!(single, [0, 0, 0, 0, 0, 0, 0, 2]);
}

/// The keys of `request` by the specs of shape number `shape`, or `malformed`.
fn keys_of(shape: usize, request: &str) -> String {
    let words: Vec<&str> = request.split(' ').collect();
    let owned = OwnedArgs::from_slices(&words);
    let mut found = Vec::new();
    match keys::for_each_key(&SHAPES[shape].0, owned.as_args(), |at, _| found.push(words[at])) {
        Ok(()) => found.join(" "),
        Err(keys::Malformed) => "malformed".to_owned(),
    }
}

#[test]
fn keys_are_found_where_specs_say() {
    for (shape, request, expected) in [
        (0, "mset a 1 b 2", "a b"),
        (0, "mset a 1 b", "a b"),
        (1, "eval s 2 a b c", "a b"),
        (1, "eval s 3 a b", "malformed"),
        (1, "eval s 0", "malformed"),
        (1, "eval s -1 a", "malformed"),
        (1, "eval s 9223372036854775807 a", "malformed"),
        (1, "eval s x a", "malformed"),
        (1, "eval s", "malformed"),
        (2, "rename a b", "a b"),
        (2, "rename a", "malformed"),
        (3, "zunionstore d 2 a b weights 1 2", "d a b"),
        (4, "xread count 1 streams a b 1 2", "a b"),
        (4, "xread STREAMS streams 1", "streams"),
        (4, "xread count 1 a b", "malformed"),
        (4, "xread streams", "malformed"),
        (5, "georadius k 1 2 3 m store d", "k d"),
        (6, "ping a", ""),
        (7, "object freq k", "k"),
    ] {
        assert_eq!(keys_of(shape, request), expected, "{request}");
    }
    let one = OwnedArgs::from_slices(&["get", "k"]);
    assert_eq!(keys::first_routed(&SHAPES[2].0, one.as_args()), None);
    assert_eq!(keys::first_routed(&SHAPES[0].0, one.as_args()), Some(1));
}

fn resolve(request: &[&str]) -> String {
    match table::resolve(OwnedArgs::from_slices(request).as_args()) {
        Ok(entry) => entry.full_name.clone(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn requests_resolve_to_rows_or_to_errors_in_redis_words() {
    for (request, expected) in [
        (&["Command"][..], "command"),
        (&["command", "COUNT"], "command|count"),
        (&["command", "count", "x"], "ERR wrong number of arguments for 'command|count' command"),
        (&["command", "nosuch"], "ERR unknown subcommand 'nosuch'. Try COMMAND HELP."),
        (&["foo", "a", "b"], "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        (&["command|count"], "ERR unknown command 'command|count', with args beginning with: "),
        (&[""], "ERR unknown command '', with args beginning with: "),
    ] {
        assert_eq!(resolve(request), expected, "{request:?}");
    }
}

#[test]
fn the_list_for_people_names_every_command_once() {
    let page = table::markdown();
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("- ")).collect();
    let named: Vec<String> = table::entries().iter().filter_map(Entry::syntax).collect();
    assert_eq!(lines.len(), named.len());
    for syntax in named {
        assert_eq!(page.matches(&format!("- `{syntax}`: ")).count(), 1, "{syntax}");
    }
}

/// What COMMAND INFO says about a command, field by field, as text.
struct Described {
    fields: [(&'static str, String); 6],
}

fn set(items: impl Iterator<Item = String>) -> String {
    let items: BTreeSet<String> = items.collect();
    items.into_iter().collect::<Vec<_>>().join(" ")
}

fn ours(entry: &Entry) -> Described {
    let spec = entry.spec;
    let flags = FLAG_NAMES.iter().filter(|(bit, _)| spec.has(*bit)).map(|(_, name)| (*name).to_owned());
    let categories = category::NAMES.iter().filter(|(bit, _)| spec.categories & bit != 0);
    let keys = spec.legacy_keys;
    let rules: Vec<String> = spec.key_specs.iter().map(rule).collect();
    Described {
        fields: [
            ("arity", spec.arity.to_string()),
            ("flags", set(flags)),
            ("keys", format!("{} {} {}", keys.first, keys.last, keys.step)),
            ("categories", set(categories.map(|(_, name)| format!("@{name}")))),
            ("tips", set(spec.tips.iter().map(|tip| (*tip).to_owned()))),
            ("key specs", rules.join(" ")),
        ],
    }
}

fn rule(rule: &KeySpec) -> String {
    let flags = KEY_FLAG_NAMES.iter().filter(|(bit, _)| rule.has(*bit));
    let flags: Vec<&str> = flags.map(|(_, name)| *name).collect();
    let begin = match rule.begin_search {
        BeginSearch::Index(index) => format!(r#""index", "spec": {{"index": {index}}}"#),
        BeginSearch::Keyword { word, start_from } => {
            format!(r#""keyword", "spec": {{"keyword": "{word}", "startfrom": {start_from}}}"#)
        }
        BeginSearch::Unknown => r#""unknown", "spec": {}"#.to_owned(),
    };
    let find = match rule.find_keys {
        FindKeys::Range { last_key, step, limit } => {
            format!(r#""range", "spec": {{"lastkey": {last_key}, "keystep": {step}, "limit": {limit}}}"#)
        }
        FindKeys::KeyNum { key_num_index, first_key, step } => format!(
            r#""keynum", "spec": {{"keynumidx": {key_num_index}, "firstkey": {first_key}, "keystep": {step}}}"#
        ),
        FindKeys::Unknown => r#""unknown", "spec": {}"#.to_owned(),
    };
    let flags = flags.join(", ");
    format!(
        r#"{{"flags": ~[{flags}], "begin_search": {{"type": {begin}}}, "find_keys": {{"type": {find}}}}}"#
    )
}

fn theirs(reply: &Frame) -> Described {
    let items = reply.items();
    let texts = |frame: &Frame| set(frame.items().iter().map(Frame::text));
    let rules = items[8].items().iter().map(|rule| {
        let pairs = rule.pairs().into_iter().filter(|(name, _)| name.text() != "notes");
        Frame::Map(pairs.collect()).to_string()
    });
    Described {
        fields: [
            ("arity", items[1].integer().to_string()),
            ("flags", texts(&items[2])),
            ("keys", format!("{} {} {}", items[3].integer(), items[4].integer(), items[5].integer())),
            ("categories", texts(&items[6])),
            ("tips", texts(&items[7])),
            ("key specs", rules.collect::<Vec<_>>().join(" ")),
        ],
    }
}

fn redis() -> Option<Server> {
    is_installed("redis-server", &["--version"]).then(|| Server::start_program("redis-server", &[]))
}

#[test]
fn rows_are_those_of_redis() {
    let Some(server) = redis() else { return };
    let mut client = server.connect().hello3();
    let mut differing = BTreeSet::new();
    let mut bad = Vec::new();
    let mut known = 0;
    for entry in table::entries() {
        let name = entry.full_name.as_str();
        let reply = client.cmd(&["command", "info", name]);
        let reply = &reply.items()[0];
        if *reply == Frame::Null {
            continue;
        }
        known += 1;
        for ((field, our), (_, their)) in ours(entry).fields.iter().zip(&theirs(reply).fields) {
            if our == their {
                continue;
            }
            differing.insert((name, *field));
            if !UNLIKE_REDIS_7_0.iter().any(|(except, what, _)| *except == name && what == field) {
                bad.push(format!("{name}: {field}\n  ours:   {our}\n  redis:  {their}"));
            }
        }
    }
    assert!(known > 5, "Redis knows only {known} of our commands");
    for (name, field, _) in UNLIKE_REDIS_7_0 {
        if !differing.contains(&(*name, *field)) {
            bad.push(format!("{name}: {field} does not differ: remove the exception"));
        }
    }
    report(bad);
}

/// A request made from an argument tree: with every option, or only what must be. Numbers are 1.
fn sample(args: &[Arg], all: bool, request: &mut Vec<String>) {
    for arg in args {
        if arg.optional && !all {
            continue;
        }
        if !arg.token.is_empty() {
            request.push(arg.token.to_owned());
        }
        match arg.kind {
            ArgType::PureToken => {}
            ArgType::OneOf => sample(&arg.args[..1], all, request),
            ArgType::Block => sample(arg.args, all, request),
            ArgType::Integer | ArgType::Double | ArgType::UnixTime => request.push("1".to_owned()),
            ArgType::String | ArgType::Key | ArgType::Pattern => request.push(format!("a{}", request.len())),
        }
    }
}

/// The keys and their flags as COMMAND GETKEYSANDFLAGS replies, `none` without.
fn our_keys(request: &[String]) -> String {
    let owned = OwnedArgs::from_slices(request);
    let args = owned.as_args();
    let Ok(entry) = table::resolve_name(args) else {
        return "unknown".to_owned();
    };
    let mut found = Vec::new();
    let all = keys::for_each_key(entry.spec, args, |at, flags| {
        let names = KEY_FLAG_NAMES.iter().filter(|(bit, _)| flags & bit != 0);
        found.push(format!("{} {}", request[at], set(names.map(|(_, name)| (*name).to_owned()))));
    });
    if all.is_err() || found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

fn redis_keys(client: &mut Client, request: &[String]) -> String {
    let mut words = vec!["command".to_owned(), "getkeysandflags".to_owned()];
    words.extend_from_slice(request);
    let reply = client.cmd(&words);
    if reply.is_error() || reply.items().is_empty() {
        return "none".to_owned();
    }
    let key = |pair: &Frame| {
        let pair = pair.items();
        format!("{} {}", pair[0].text(), set(pair[1].items().iter().map(Frame::text)))
    };
    reply.items().iter().map(key).collect::<Vec<_>>().join(", ")
}

#[test]
fn keys_are_those_that_redis_finds() {
    let Some(server) = redis() else { return };
    let mut client = server.connect().hello3();
    let mut bad = Vec::new();
    for entry in table::entries() {
        let described = client.cmd(&["command", "info", &entry.full_name]);
        let unlike = UNLIKE_REDIS_7_0
            .iter()
            .any(|(name, field, _)| *name == entry.full_name && ["arity", "key specs"].contains(field));
        if described.items()[0] == Frame::Null || entry.spec.handler.is_none() || unlike {
            continue;
        }
        for all in [false, true] {
            let mut request: Vec<String> = entry.full_name.split('|').map(str::to_owned).collect();
            sample(entry.spec.args, all, &mut request);
            // Redis 7.0 refuses a request of one word before it looks at it.
            if request.len() < 2 {
                continue;
            }
            let (our, their) = (our_keys(&request), redis_keys(&mut client, &request));
            if our != their {
                bad.push(format!("{}\n  ours:  {our}\n  redis: {their}", request.join(" ")));
            }
        }
    }
    report(bad);
}

/// Requests that both servers must answer alike, to the byte.
const ASKED_OF_BOTH: &[&str] = &[
    "command info get nosuch mset client|id",
    "command info copy",
    "command info watch exec",
    "command info command|count",
    "command info object|freq",
    "command docs nosuch",
    "command list filterby aclcat nosuch",
    "command list filterby module json",
    "command list filterby pattern command|getkeysand*",
    "command list filterby nosuch x",
    "command list filterby aclcat",
    "command nosuch",
    "command count 3",
    "command getkeys nosuch a",
    "command getkeys ping a",
    "command getkeys client id",
    "command getkeys client nosuch",
    "command getkeys get a",
    "command getkeys get a b",
    "command getkeys mset a b c d",
    "command getkeys object freq a",
    "command getkeys lcs a b len",
    "command getkeysandflags set a b get",
    "command getkeysandflags set a b",
    "command getkeysandflags rename a b",
    "command getkeysandflags flushall async",
    "command getkeys migrate h 1 k 0 9 copy replace",
    "command getkeys migrate h 1 k 0 9 keys a b",
    "command getkeys memory usage k samples 5",
    "role",
    "wait 0 0",
    "wait 0 -1",
    "wait 0 x",
    "module list",
    "acl whoami",
    "acl users",
    "acl list",
    "acl getuser default",
    "acl getuser nosuch",
    "acl cat nosuch",
    "acl cat geo x",
    "cluster info",
    "slowlog get -2",
    "slowlog get x",
    "slowlog get 1 2",
    "latency history nosuch",
    "latency graph nosuch",
    "latency reset nosuch",
    "latency histogram nosuch",
    "memory usage nosuch",
    "memory usage nosuch samples -1",
    "memory usage nosuch samples x",
    "memory usage nosuch samples",
    "memory purge",
    "debug protocol string",
    "debug protocol double",
    "debug protocol bignum",
    "debug protocol null",
    "debug protocol set",
    "debug protocol map",
    "debug protocol verbatim",
    "debug protocol true",
    "debug protocol nosuch",
    "debug object nosuch",
    "debug error mine",
    "debug set-active-expire 1",
    "debug sleep 0",
    "lolwut version x",
];

#[test]
fn replies_are_those_of_redis() {
    let Some(redis) = redis() else { return };
    let ours = Server::start(&[]);
    let mut bad = Vec::new();
    for resp3 in [false, true] {
        let connect = |server: &Server| if resp3 { server.connect().hello3() } else { server.connect() };
        let (mut our, mut their) = (connect(&ours), connect(&redis));
        for line in ASKED_OF_BOTH {
            let (our, their) = (our.line(line), their.line(line));
            if our != their {
                bad.push(format!("{line} (RESP3: {resp3})\n  ours:  {our}\n  redis: {their}"));
            }
        }
    }
    report(bad);
}

#[test]
fn redis_cli_shows_our_documentation() {
    if !is_installed("redis-cli", &["--version"]) {
        return;
    }
    let server = Server::start(&[]);
    let shown = tool::run(Command::new("redis-cli").args(["-p", &server.port()]), b"help command getkeys\n");
    let entry = table::find_full(b"command|getkeys").expect("a row");
    assert!(shown.status.success(), "{}", shown.all());
    assert!(shown.stdout.contains(entry.spec.summary), "{}", shown.all());
}
